// How a picture of meshes is painted: rounds, lines, nodes by kind and state, marks, and the way of a chosen pair.

import { labels } from "./labels.js";
import { FILLED, inner, outline } from "./signs.js";

const PULSE = 2600; // milliseconds for which a change is shown
const CHORDS = 40; // peers up to which all tunnels are drawn

export function paint(graph) {
  const { pen, canvas, camera } = graph;
  const ratio = devicePixelRatio || 1;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const scale = camera.scale * ratio;
  pen.setTransform(scale, 0, 0, scale, canvas.width / 2 - camera.x * scale, canvas.height / 2 - camera.y * scale);
  graph.thin = 1 / camera.scale;
  for (const hub of graph.hubs) drawHub(graph, hub);
  links(graph);
  drawNodes(graph);
  wayline(graph);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  labels(graph);
  const now = performance.now();
  for (const [id, since] of graph.changed) if (now - since > PULSE) graph.changed.delete(id);
  if (graph.changed.size && !graph.still.matches) graph.draw();
}

function drawHub(graph, hub) {
  const { pen } = graph;
  pen.beginPath();
  pen.arc(hub.x, hub.y, hub.radius, 0, 2 * Math.PI);
  const fill = pen.createRadialGradient(hub.x, hub.y, hub.radius * 0.2, hub.x, hub.y, hub.radius);
  fill.addColorStop(0, graph.colour("hub-in"));
  fill.addColorStop(1, graph.colour("hub-out"));
  pen.fillStyle = fill;
  pen.fill();
  pen.lineWidth = 1.4 * graph.thin;
  pen.strokeStyle = graph.colour(hub.ghost ? "faint" : "hub-line");
  pen.setLineDash(hub.ghost ? [6 * graph.thin, 5 * graph.thin] : []);
  pen.stroke();
  pen.setLineDash([]);
}

function links(graph) {
  const { pen, places } = graph;
  for (const hub of graph.hubs.filter((one) => !one.ghost)) {
    const peers = hub.members.filter((member) => !member.client && !member.bridge && places.has(member.id));
    if (peers.length > 1 && peers.length <= CHORDS) lines(graph, "chord", 1, pairs(peers), places);
  }
  const carried = new Path2D();
  for (const hub of graph.hubs) {
    for (const member of hub.members) {
      const [one, other] = [places.get(member.id), places.get(member.carrier)];
      if (!member.client || !one || !other) continue;
      carried.moveTo(one.x, one.y);
      carried.lineTo(other.x, other.y);
    }
  }
  pen.lineWidth = Math.min(1.6, 1.1 * graph.thin);
  pen.strokeStyle = graph.colour("link");
  pen.stroke(carried);
  pen.lineWidth = 2.2 * Math.min(1.3, graph.thin);
  pen.strokeStyle = graph.colour("bridge-line");
  for (const hub of graph.hubs) {
    for (const member of hub.members.filter((one) => one.bridge)) spoke(graph, places.get(member.id), hub);
    if (!hub.ghost) continue;
    pen.setLineDash([7 * graph.thin, 5 * graph.thin]);
    const spots = [...hub.bridges].map((id) => places.get(id)).filter(Boolean);
    for (const spot of spots) spoke(graph, spot, hub);
    if (!spots.length) spoke(graph, edge(hub.from, hub), hub);
    pen.setLineDash([]);
  }
}

function lines(graph, colour, width, ends) {
  const { pen, places } = graph;
  const path = new Path2D();
  for (const [one, other] of ends) {
    const [a, b] = [places.get(one.id), places.get(other.id)];
    path.moveTo(a.x, a.y);
    path.lineTo(b.x, b.y);
  }
  pen.lineWidth = width * graph.thin;
  pen.strokeStyle = graph.colour(colour);
  pen.stroke(path);
}

// From a bridge to the edge of a mesh.
function spoke(graph, spot, hub) {
  if (!spot) return;
  const to = edge(hub, spot);
  graph.pen.beginPath();
  graph.pen.moveTo(spot.x, spot.y);
  graph.pen.lineTo(to.x, to.y);
  graph.pen.stroke();
}

function drawNodes(graph) {
  const { pen } = graph;
  const groups = new Map();
  for (const node of graph.nodes) {
    const spot = graph.places.get(node.id);
    if (!spot) continue;
    const dim = graph.matching && !graph.matching.has(node.id);
    const key = `${node.state} ${dim ? "dim" : ""}`;
    if (!groups.has(key)) groups.set(key, { state: node.state, dim, shapes: new Path2D(), marks: new Path2D() });
    const group = groups.get(key);
    const kind = graph.kinds.get(node.id);
    const radius = graph.radiusOf(node);
    outline(group.shapes, kind, spot.x, spot.y, radius);
    inner(group.marks, node.state, spot.x, spot.y, radius);
  }
  const ground = graph.colour("ground");
  const last = [...groups.values()].sort((one, other) => FILLED.has(other.state) - FILLED.has(one.state));
  for (const { state, dim, shapes, marks } of last) {
    const colour = graph.colour(state);
    pen.globalAlpha = dim ? 0.14 : 1;
    const far = graph.dense && graph.thin > 1.1;
    pen.fillStyle = FILLED.has(state) || far ? colour : ground;
    pen.fill(shapes);
    pen.lineWidth = graph.dense ? 1.3 : 2;
    pen.strokeStyle = FILLED.has(state) || far ? ground : colour;
    if (!FILLED.has(state) || !graph.dense) pen.stroke(shapes);
    pen.strokeStyle = far ? ground : colour;
    pen.stroke(marks);
  }
  pen.globalAlpha = 1;
  for (const node of graph.nodes) marks(graph, node);
}

function marks(graph, node) {
  const spot = graph.places.get(node.id);
  if (!spot) return;
  const { pen } = graph;
  const radius = graph.radiusOf(node);
  const strong = Math.max(2, 2.2 * graph.thin);
  if (node.marks.has("self")) ring(graph, spot, radius + 1.6 * strong, graph.colour("self"), strong);
  if (node.marks.has("leader")) star(graph, spot, radius);
  if (node.id === graph.chosen) ring(graph, spot, radius + 3.4 * strong, graph.colour("strong"), strong);
  else if (node.id === graph.hovered) ring(graph, spot, radius + 3 * strong, graph.colour("dim"), strong * 0.7);
  const since = graph.changed.get(node.id);
  if (since === undefined) return;
  const passed = Math.min(1, (performance.now() - since) / PULSE);
  pen.globalAlpha = 1 - passed;
  ring(graph, spot, radius + (6 + 30 * passed) * graph.thin, graph.colour(node.state), 3 * graph.thin);
  pen.globalAlpha = 1;
}

function ring(graph, spot, radius, colour, width) {
  const { pen } = graph;
  pen.beginPath();
  pen.arc(spot.x, spot.y, radius, 0, 2 * Math.PI);
  pen.lineWidth = width;
  pen.strokeStyle = colour;
  pen.stroke();
}

// The leader's star, above it.
function star(graph, spot, radius) {
  const { pen } = graph;
  const size = Math.max(radius * 0.85, 6.5 * graph.thin);
  const y = spot.y - radius - size * 1.25;
  pen.beginPath();
  for (let corner = 0; corner < 10; corner++) {
    const angle = -Math.PI / 2 + (corner * Math.PI) / 5;
    const length = corner % 2 ? size * 0.45 : size;
    pen.lineTo(spot.x + length * Math.cos(angle), y + length * Math.sin(angle));
  }
  pen.closePath();
  pen.fillStyle = graph.colour("leader");
  pen.fill();
  pen.lineWidth = 1.2 * graph.thin;
  pen.strokeStyle = graph.colour("ground");
  pen.stroke();
}

function wayline(graph) {
  const { pen } = graph;
  const spots = graph.way.map((id) => graph.places.get(id)).filter(Boolean);
  if (spots.length < 2) return;
  pen.lineJoin = "round";
  for (const [width, colour] of [
    [7, "ground"],
    [3.5, "way"],
  ]) {
    pen.beginPath();
    spots.forEach((spot, index) => (index ? pen.lineTo(spot.x, spot.y) : pen.moveTo(spot.x, spot.y)));
    pen.lineWidth = width * graph.thin;
    pen.strokeStyle = graph.colour(colour);
    pen.stroke();
  }
  pen.fillStyle = graph.colour("way");
  for (let index = 1; index < spots.length; index++) arrow(graph, spots[index - 1], spots[index]);
}

function arrow(graph, from, to) {
  const { pen } = graph;
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  const [x, y] = [from.x * 0.4 + to.x * 0.6, from.y * 0.4 + to.y * 0.6];
  const size = 10 * graph.thin;
  pen.beginPath();
  pen.moveTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
  pen.lineTo(x + size * Math.cos(angle + 2.5), y + size * Math.sin(angle + 2.5));
  pen.lineTo(x + size * Math.cos(angle - 2.5), y + size * Math.sin(angle - 2.5));
  pen.fill();
}

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
