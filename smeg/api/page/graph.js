// The meshes as a picture on a canvas: drawn anew only when something has changed, so that thousands of nodes cost
// nothing while nobody moves.

import { layout } from "./layout.js";
import { FILLED, inner, kindOf, outline } from "./signs.js";
import { collator, count } from "./words.js";

const PULSE = 2600; // milliseconds for which a change is shown
const CHORDS = 40; // peers up to which all tunnels are drawn

export class Graph {
  constructor(canvas, { onchoose, onhover }) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.onchoose = onchoose;
    this.onhover = onhover;
    this.camera = { x: 0, y: 0, scale: 1 };
    this.touched = false; // whether somebody has moved the picture
    this.nodes = [];
    this.hubs = [];
    this.places = new Map();
    this.chosen = null;
    this.hovered = null;
    this.way = [];
    this.matching = null; // ids that a filter leaves; null for all
    this.changed = new Map(); // id to the time of a change
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#listen();
  }

  show(world, only) {
    const meshes = world.meshes.filter((mesh) => !only || mesh.id === only);
    const shown = new Set(meshes.map((mesh) => mesh.id));
    const nodes = [...world.nodes.values()].filter((node) => [...node.rows.keys()].some((mesh) => shown.has(mesh)));
    nodes.sort((one, other) => collator.compare(one.name, other.name) || (one.id < other.id ? -1 : 1));
    const drawn = meshes.map((mesh) => ({
      id: mesh.id,
      name: mesh.name,
      alive: mesh.alive,
      count: mesh.members,
      members: nodes
        .filter((node) => node.rows.has(mesh.id))
        .map((node) => {
          const row = node.rows.get(mesh.id);
          const bridge = [...node.rows.keys()].filter((id) => shown.has(id)).length > 1;
          return { id: node.id, client: row.role === "client", carrier: row.via[0]?.node, bridge };
        }),
    }));
    const ghosts = world.ghosts.filter((ghost) => shown.has(ghost.from) || !world.meshes.some((m) => m.id === ghost.from));
    const before = this.signature;
    this.signature = `${only} ${drawn.map((mesh) => mesh.id + mesh.members.length)} ${ghosts.length}`;
    const { places, hubs } = layout(drawn, meshes.length ? ghosts : []);
    Object.assign(this, { nodes, places, hubs, world, shown });
    this.kinds = new Map(nodes.map((node) => [node.id, kindOf(node)]));
    this.dense = nodes.length > 150;
    this.radius = this.dense ? 6 : 8.5;
    if (this.signature !== before && (!this.touched || before?.split(" ")[0] !== String(only))) this.fit();
    this.draw();
  }

  fit() {
    if (!this.hubs.length || !this.canvas.clientWidth) return;
    const edges = this.hubs.map((hub) => [hub.x - hub.radius, hub.y - hub.radius, hub.x + hub.radius, hub.y + hub.radius]);
    const [left, top] = [0, 1].map((side) => Math.min(...edges.map((edge) => edge[side])));
    const [right, bottom] = [2, 3].map((side) => Math.max(...edges.map((edge) => edge[side])));
    const legend = 34;
    const width = this.canvas.clientWidth - 48;
    const height = this.canvas.clientHeight - legend - 20;
    const scale = Math.min(1.5, width / (right - left), height / (bottom - top));
    const low = legend / 2 / Math.max(scale, 0.02);
    this.camera = { x: (left + right) / 2, y: (top + bottom) / 2 + low, scale: Math.max(scale, 0.02) };
    this.touched = false;
    this.draw();
  }

  zoom(factor, at) {
    const { camera } = this;
    const before = at && this.#ground(at);
    camera.scale = Math.min(8, Math.max(0.02, camera.scale * factor));
    if (before) {
      const after = this.#ground(at);
      camera.x += before.x - after.x;
      camera.y += before.y - after.y;
    }
    this.touched = true;
    this.draw();
  }

  // Has a node pulse: something happened to it.
  pulse(id) {
    this.changed.set(id, performance.now());
    this.draw();
  }

  draw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.#paint();
    });
  }

  recolour() {
    this.colours = null;
    this.draw();
  }

  // The next node in a direction, for the keyboard.
  step(dx, dy) {
    const from = this.places.get(this.chosen) ?? { x: this.camera.x, y: this.camera.y };
    let best = null;
    let least = Infinity;
    for (const [id, spot] of this.places) {
      const [x, y] = [spot.x - from.x, spot.y - from.y];
      const along = x * dx + y * dy;
      const across = Math.abs(x * dy - y * dx);
      if (id === this.chosen || along <= 0.5 || across > along * 2) continue;
      if (along + 2 * across < least) [best, least] = [id, along + 2 * across];
    }
    if (best) this.onchoose(best, false);
  }

  #colour(name) {
    this.colours ??= new Map();
    if (!this.colours.has(name)) {
      this.colours.set(name, getComputedStyle(this.canvas).getPropertyValue(`--${name}`).trim());
    }
    return this.colours.get(name);
  }

  #resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    if (!this.touched) this.fit();
    this.draw();
  }

  #ground({ x, y }) {
    const { camera, canvas } = this;
    return {
      x: camera.x + (x - canvas.clientWidth / 2) / camera.scale,
      y: camera.y + (y - canvas.clientHeight / 2) / camera.scale,
    };
  }

  #screen({ x, y }) {
    const { camera, canvas } = this;
    return {
      x: (x - camera.x) * camera.scale + canvas.clientWidth / 2,
      y: (y - camera.y) * camera.scale + canvas.clientHeight / 2,
    };
  }

  #paint() {
    const { pen, canvas, camera } = this;
    const ratio = devicePixelRatio || 1;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const scale = camera.scale * ratio;
    pen.setTransform(scale, 0, 0, scale, canvas.width / 2 - camera.x * scale, canvas.height / 2 - camera.y * scale);
    this.thin = 1 / camera.scale;
    for (const hub of this.hubs) this.#hub(hub);
    this.#links();
    this.#nodes();
    this.#wayline();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#labels();
    const now = performance.now();
    for (const [id, since] of this.changed) if (now - since > PULSE) this.changed.delete(id);
    if (this.changed.size && !this.still.matches) this.draw();
  }

  #hub(hub) {
    const { pen } = this;
    pen.beginPath();
    pen.arc(hub.x, hub.y, hub.radius, 0, 2 * Math.PI);
    const fill = pen.createRadialGradient(hub.x, hub.y, hub.radius * 0.2, hub.x, hub.y, hub.radius);
    fill.addColorStop(0, this.#colour("hub-in"));
    fill.addColorStop(1, this.#colour("hub-out"));
    pen.fillStyle = fill;
    pen.fill();
    pen.lineWidth = 1.4 * this.thin;
    pen.strokeStyle = this.#colour(hub.ghost ? "faint" : "hub-line");
    pen.setLineDash(hub.ghost ? [6 * this.thin, 5 * this.thin] : []);
    pen.stroke();
    pen.setLineDash([]);
  }

  #links() {
    const { pen, places } = this;
    for (const hub of this.hubs.filter((one) => !one.ghost)) {
      const peers = hub.members.filter((member) => !member.client && !member.bridge && places.has(member.id));
      if (peers.length > 1 && peers.length <= CHORDS) this.#lines("chord", 1, pairs(peers), places);
    }
    const carried = new Path2D();
    for (const hub of this.hubs) {
      for (const member of hub.members) {
        const [one, other] = [places.get(member.id), places.get(member.carrier)];
        if (!member.client || !one || !other) continue;
        carried.moveTo(one.x, one.y);
        carried.lineTo(other.x, other.y);
      }
    }
    pen.lineWidth = Math.min(1.6, 1.1 * this.thin);
    pen.strokeStyle = this.#colour("link");
    pen.stroke(carried);
    pen.lineWidth = 2.2 * Math.min(1.3, this.thin);
    pen.strokeStyle = this.#colour("bridge-line");
    for (const hub of this.hubs) {
      for (const member of hub.members.filter((one) => one.bridge)) this.#spoke(places.get(member.id), hub);
      if (!hub.ghost) continue;
      pen.setLineDash([7 * this.thin, 5 * this.thin]);
      const spots = [...hub.bridges].map((id) => places.get(id)).filter(Boolean);
      for (const spot of spots) this.#spoke(spot, hub);
      if (!spots.length) this.#spoke(edge(hub.from, hub), hub);
      pen.setLineDash([]);
    }
  }

  #lines(colour, width, ends) {
    const { pen, places } = this;
    const path = new Path2D();
    for (const [one, other] of ends) {
      const [a, b] = [places.get(one.id), places.get(other.id)];
      path.moveTo(a.x, a.y);
      path.lineTo(b.x, b.y);
    }
    pen.lineWidth = width * this.thin;
    pen.strokeStyle = this.#colour(colour);
    pen.stroke(path);
  }

  // From a bridge to the edge of a mesh.
  #spoke(spot, hub) {
    if (!spot) return;
    const to = edge(hub, spot);
    this.pen.beginPath();
    this.pen.moveTo(spot.x, spot.y);
    this.pen.lineTo(to.x, to.y);
    this.pen.stroke();
  }

  #nodes() {
    const { pen } = this;
    const groups = new Map();
    for (const node of this.nodes) {
      const spot = this.places.get(node.id);
      if (!spot) continue;
      const dim = this.matching && !this.matching.has(node.id);
      const key = `${node.state} ${dim ? "dim" : ""}`;
      if (!groups.has(key)) groups.set(key, { state: node.state, dim, shapes: new Path2D(), marks: new Path2D() });
      const group = groups.get(key);
      const kind = this.kinds.get(node.id);
      const radius = this.#radiusOf(node);
      outline(group.shapes, kind, spot.x, spot.y, radius);
      inner(group.marks, node.state, spot.x, spot.y, radius);
    }
    const ground = this.#colour("ground");
    const last = [...groups.values()].sort((one, other) => FILLED.has(other.state) - FILLED.has(one.state));
    for (const { state, dim, shapes, marks } of last) {
      const colour = this.#colour(state);
      pen.globalAlpha = dim ? 0.14 : 1;
      const far = this.dense && this.thin > 1.1;
      pen.fillStyle = FILLED.has(state) || far ? colour : ground;
      pen.fill(shapes);
      pen.lineWidth = this.dense ? 1.3 : 2;
      pen.strokeStyle = FILLED.has(state) || far ? ground : colour;
      if (!FILLED.has(state) || !this.dense) pen.stroke(shapes);
      pen.strokeStyle = far ? ground : colour;
      pen.stroke(marks);
    }
    pen.globalAlpha = 1;
    for (const node of this.nodes) this.#marks(node);
  }

  #radiusOf(node) {
    const grown = node.marks.has("self") || node.marks.has("leader") || node.marks.has("bridge") ? 1.35 : 1;
    const sized = this.radius * grown * (node.first.role === "client" ? 0.74 : 1);
    if (!this.dense) return sized;
    // From far away a node is still a dot, and one that is not alive is seen among thousands.
    const least = (node.state === "alive" ? 1.5 : 3.1) * this.thin;
    return Math.max(sized, least);
  }

  #marks(node) {
    const spot = this.places.get(node.id);
    if (!spot) return;
    const { pen } = this;
    const radius = this.#radiusOf(node);
    const strong = Math.max(2, 2.2 * this.thin);
    if (node.marks.has("self")) this.#ring(spot, radius + 1.6 * strong, this.#colour("self"), strong);
    if (node.marks.has("leader")) this.#star(spot, radius);
    if (node.id === this.chosen) this.#ring(spot, radius + 3.4 * strong, this.#colour("strong"), strong);
    else if (node.id === this.hovered) this.#ring(spot, radius + 3 * strong, this.#colour("dim"), strong * 0.7);
    const since = this.changed.get(node.id);
    if (since === undefined) return;
    const passed = Math.min(1, (performance.now() - since) / PULSE);
    pen.globalAlpha = 1 - passed;
    this.#ring(spot, radius + (6 + 30 * passed) * this.thin, this.#colour(node.state), 3 * this.thin);
    pen.globalAlpha = 1;
  }

  #ring(spot, radius, colour, width) {
    const { pen } = this;
    pen.beginPath();
    pen.arc(spot.x, spot.y, radius, 0, 2 * Math.PI);
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.stroke();
  }

  // The leader's star, above it.
  #star(spot, radius) {
    const { pen } = this;
    const size = Math.max(radius * 0.85, 6.5 * this.thin);
    const y = spot.y - radius - size * 1.25;
    pen.beginPath();
    for (let corner = 0; corner < 10; corner++) {
      const angle = -Math.PI / 2 + (corner * Math.PI) / 5;
      const length = corner % 2 ? size * 0.45 : size;
      pen.lineTo(spot.x + length * Math.cos(angle), y + length * Math.sin(angle));
    }
    pen.closePath();
    pen.fillStyle = this.#colour("leader");
    pen.fill();
    pen.lineWidth = 1.2 * this.thin;
    pen.strokeStyle = this.#colour("ground");
    pen.stroke();
  }

  #wayline() {
    const { pen } = this;
    const spots = this.way.map((id) => this.places.get(id)).filter(Boolean);
    if (spots.length < 2) return;
    pen.lineJoin = "round";
    for (const [width, colour] of [[7, "ground"], [3.5, "way"]]) {
      pen.beginPath();
      spots.forEach((spot, index) => (index ? pen.lineTo(spot.x, spot.y) : pen.moveTo(spot.x, spot.y)));
      pen.lineWidth = width * this.thin;
      pen.strokeStyle = this.#colour(colour);
      pen.stroke();
    }
    pen.fillStyle = this.#colour("way");
    for (let index = 1; index < spots.length; index++) this.#arrow(spots[index - 1], spots[index]);
  }

  #arrow(from, to) {
    const { pen } = this;
    const angle = Math.atan2(to.y - from.y, to.x - from.x);
    const [x, y] = [from.x * 0.4 + to.x * 0.6, from.y * 0.4 + to.y * 0.6];
    const size = 10 * this.thin;
    pen.beginPath();
    pen.moveTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
    pen.lineTo(x + size * Math.cos(angle + 2.5), y + size * Math.sin(angle + 2.5));
    pen.lineTo(x + size * Math.cos(angle - 2.5), y + size * Math.sin(angle - 2.5));
    pen.fill();
  }

  // Names, the important ones first, each where it covers no other.
  #labels() {
    const { pen, camera } = this;
    const taken = this.nodes.length > 600 ? [] : this.nodes.map((node) => this.#box(node)).filter(Boolean);
    const font = getComputedStyle(document.body).fontFamily;
    pen.textAlign = "center";
    pen.lineJoin = "round";
    for (const hub of this.hubs) {
      const at = this.#screen(hub);
      const size = hub.ghost ? 13 : Math.min(30, Math.max(15, hub.radius * camera.scale * 0.15));
      this.#text(taken, hub.name, at.x, at.y, `650 ${size}px ${font}`, this.#colour("strong"), true, size);
      const said = hub.ghost ? "beyond" : `${count(hub.alive)} of ${count(hub.count)} alive`;
      this.#text(taken, said, at.x, at.y + size * 0.45 + 11, `12px ${font}`, this.#colour("dim"), true, 12);
    }
    const important = (node) =>
      (node.id === this.chosen || node.id === this.hovered ? 8 : 0) + (this.way.includes(node.id) ? 6 : 0) +
      (node.marks.has("self") ? 5 : 0) + (node.marks.has("leader") ? 4 : 0) + (node.marks.has("bridge") ? 3 : 0) +
      (node.marks.has("exit") ? 2 : 0) + (node.state === "alive" ? 0 : 1);
    const shown = this.nodes
      .map((node) => ({ node, weight: important(node) }))
      .filter(({ weight, node }) => weight > 1 || (this.radius * camera.scale > (this.dense ? 9 : 4) && this.#seen(node)))
      .sort((one, other) => other.weight - one.weight)
      .slice(0, 400);
    for (const { node, weight } of shown) {
      const spot = this.places.get(node.id);
      if (!spot || (this.matching && !this.matching.has(node.id) && weight < 6)) continue;
      const at = this.#screen(spot);
      const colour = this.#colour(weight >= 4 ? "strong" : "text");
      const away = this.#radiusOf(node) * camera.scale + (node.marks.has("self") ? 5 : 2);
      pen.font = `${weight >= 4 ? 600 : 400} 12px ${font}`;
      this.#beside(taken, node.first.alias || node.name, at, away, colour, weight >= 5);
    }
  }

  // Below a node, above, right or left of it, wherever there is room.
  #beside(taken, text, at, away, colour, always) {
    const { pen } = this;
    const half = pen.measureText(text).width / 2 + 2;
    const spots = [[0, away + 12], [0, -away - 5], [away + half + 1, 4], [-away - half - 1, 4]];
    const free = spots.find(([x, y]) => clear(taken, [at.x + x - half, at.y + y - 11, at.x + x + half, at.y + y + 3]));
    if (!free && !always) return;
    const [x, y] = free ?? spots[0];
    this.#text(taken, text, at.x + x, at.y + y, pen.font, colour, true, 11);
  }

  #box(node) {
    const spot = this.places.get(node.id);
    if (!spot) return null;
    const at = this.#screen(spot);
    const half = this.#radiusOf(node) * this.camera.scale;
    return [at.x - half, at.y - half * (node.marks.has("leader") ? 3 : 1), at.x + half, at.y + half];
  }

  #seen(node) {
    const spot = this.places.get(node.id);
    if (!spot) return false;
    const at = this.#screen(spot);
    return at.x > -40 && at.y > -20 && at.x < this.canvas.clientWidth + 40 && at.y < this.canvas.clientHeight + 20;
  }

  #text(taken, text, x, y, font, colour, always, size) {
    const { pen } = this;
    pen.font = font;
    const half = pen.measureText(text).width / 2 + 3;
    const box = [x - half, y - size, x + half, y + 4];
    if (!always && !clear(taken, box)) return;
    taken.push(box);
    pen.lineWidth = 4;
    pen.strokeStyle = this.#colour("ground");
    pen.strokeText(text, x, y);
    pen.fillStyle = colour;
    pen.fillText(text, x, y);
  }

  #at(event) {
    const frame = this.canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  }

  #under(at) {
    const ground = this.#ground(at);
    let best = null;
    let least = Math.max(this.radius * 1.6, 12 / this.camera.scale);
    for (const [id, spot] of this.places) {
      const length = Math.hypot(spot.x - ground.x, spot.y - ground.y);
      if (length < least) [best, least] = [id, length];
    }
    return best;
  }

  #listen() {
    const { canvas } = this;
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = { ...this.#at(event), moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const at = this.#at(event);
      if (held) {
        if (Math.hypot(at.x - held.x, at.y - held.y) > 3 || held.moved) {
          this.camera.x -= (at.x - held.x) / this.camera.scale;
          this.camera.y -= (at.y - held.y) / this.camera.scale;
          held = { ...at, moved: true };
          this.touched = true;
          this.draw();
        }
        return;
      }
      const found = this.#under(at);
      if (found === this.hovered) return;
      this.hovered = found;
      canvas.classList.toggle("over", Boolean(found));
      this.onhover(found, at);
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (held && !held.moved) this.onchoose(this.#under(this.#at(event)), event.shiftKey);
      held = null;
    });
    canvas.addEventListener("pointerleave", () => {
      this.hovered = null;
      this.onhover(null);
      this.draw();
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0015), this.#at(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.fit());
  }
}

const clear = (taken, box) =>
  taken.every((one) => box[2] < one[0] || box[0] > one[2] || box[3] < one[1] || box[1] > one[3]);

function* pairs(list) {
  for (let one = 0; one < list.length; one++) {
    for (let other = one + 1; other < list.length; other++) yield [list[one], list[other]];
  }
}

// The point of a hub's edge that is next to a spot.
function edge(hub, spot) {
  const angle = Math.atan2(spot.y - hub.y, spot.x - hub.x);
  return { x: hub.x + hub.radius * Math.cos(angle), y: hub.y + hub.radius * Math.sin(angle) };
}
