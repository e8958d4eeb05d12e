// The meshes as a picture on a canvas: drawn anew only when something has changed, so that thousands of nodes cost
// nothing while nobody moves.

import { layout } from "./layout.js";
import { paint } from "./painting.js";
import { kindOf } from "./signs.js";
import { collator } from "./words.js";

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
    const ghosts = world.ghosts.filter(
      (ghost) => shown.has(ghost.from) || !world.meshes.some((m) => m.id === ghost.from),
    );
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
    const edges = this.hubs.map((hub) => [
      hub.x - hub.radius,
      hub.y - hub.radius,
      hub.x + hub.radius,
      hub.y + hub.radius,
    ]);
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
      paint(this);
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

  colour(name) {
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

  screen({ x, y }) {
    const { camera, canvas } = this;
    return {
      x: (x - camera.x) * camera.scale + canvas.clientWidth / 2,
      y: (y - camera.y) * camera.scale + canvas.clientHeight / 2,
    };
  }

  radiusOf(node) {
    const grown = node.marks.has("self") || node.marks.has("leader") || node.marks.has("bridge") ? 1.35 : 1;
    const sized = this.radius * grown * (node.first.role === "client" ? 0.74 : 1);
    if (!this.dense) return sized;
    // From far away a node is still a dot, and one that is not alive is seen among thousands.
    const least = (node.state === "alive" ? 1.5 : 3.1) * this.thin;
    return Math.max(sized, least);
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
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * 0.0015), this.#at(event));
      },
      { passive: false },
    );
    canvas.addEventListener("dblclick", () => this.fit());
  }
}
