// Names in the picture: the important ones first, each where it covers neither a node nor another name.

import { count } from "./words.js";

// Names, the important ones first, each where it covers no other.
export function labels(graph) {
  const { pen, camera } = graph;
  const taken = graph.nodes.length > 600 ? [] : graph.nodes.map((node) => box(graph, node)).filter(Boolean);
  const font = getComputedStyle(document.body).fontFamily;
  pen.textAlign = "center";
  pen.lineJoin = "round";
  for (const hub of graph.hubs) {
    const at = graph.screen(hub);
    const size = hub.ghost ? 13 : Math.min(30, Math.max(15, hub.radius * camera.scale * 0.15));
    write(graph, taken, hub.name, at.x, at.y, `650 ${size}px ${font}`, graph.colour("strong"), true, size);
    const said = hub.ghost ? "beyond" : `${count(hub.alive)} of ${count(hub.count)} alive`;
    write(graph, taken, said, at.x, at.y + size * 0.45 + 11, `12px ${font}`, graph.colour("dim"), true, 12);
  }
  const important = (node) =>
    (node.id === graph.chosen || node.id === graph.hovered ? 8 : 0) +
    (graph.way.includes(node.id) ? 6 : 0) +
    (node.marks.has("self") ? 5 : 0) +
    (node.marks.has("leader") ? 4 : 0) +
    (node.marks.has("bridge") ? 3 : 0) +
    (node.marks.has("exit") ? 2 : 0) +
    (node.state === "alive" ? 0 : 1);
  const shown = graph.nodes
    .map((node) => ({ node, weight: important(node) }))
    .filter(
      ({ weight, node }) => weight > 1 || (graph.radius * camera.scale > (graph.dense ? 9 : 4) && seen(graph, node)),
    )
    .sort((one, other) => other.weight - one.weight)
    .slice(0, 400);
  for (const { node, weight } of shown) {
    const spot = graph.places.get(node.id);
    if (!spot || (graph.matching && !graph.matching.has(node.id) && weight < 6)) continue;
    const at = graph.screen(spot);
    const colour = graph.colour(weight >= 4 ? "strong" : "text");
    const away = graph.radiusOf(node) * camera.scale + (node.marks.has("self") ? 5 : 2);
    pen.font = `${weight >= 4 ? 600 : 400} 12px ${font}`;
    beside(graph, taken, node.first.alias || node.name, at, away, colour, weight >= 5);
  }
}

// Below a node, above, right or left of it, wherever there is room.
function beside(graph, taken, text, at, away, colour, always) {
  const { pen } = graph;
  const half = pen.measureText(text).width / 2 + 2;
  const spots = [
    [0, away + 12],
    [0, -away - 5],
    [away + half + 1, 4],
    [-away - half - 1, 4],
  ];
  const free = spots.find(([x, y]) => clear(taken, [at.x + x - half, at.y + y - 11, at.x + x + half, at.y + y + 3]));
  if (!free && !always) return;
  const [x, y] = free ?? spots[0];
  write(graph, taken, text, at.x + x, at.y + y, pen.font, colour, true, 11);
}

function box(graph, node) {
  const spot = graph.places.get(node.id);
  if (!spot) return null;
  const at = graph.screen(spot);
  const half = graph.radiusOf(node) * graph.camera.scale;
  return [at.x - half, at.y - half * (node.marks.has("leader") ? 3 : 1), at.x + half, at.y + half];
}

function seen(graph, node) {
  const spot = graph.places.get(node.id);
  if (!spot) return false;
  const at = graph.screen(spot);
  return at.x > -40 && at.y > -20 && at.x < graph.canvas.clientWidth + 40 && at.y < graph.canvas.clientHeight + 20;
}

function write(graph, taken, text, x, y, font, colour, always, size) {
  const { pen } = graph;
  pen.font = font;
  const half = pen.measureText(text).width / 2 + 3;
  const box = [x - half, y - size, x + half, y + 4];
  if (!always && !clear(taken, box)) return;
  taken.push(box);
  pen.lineWidth = 4;
  pen.strokeStyle = graph.colour("ground");
  pen.strokeText(text, x, y);
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
}

const clear = (taken, box) =>
  taken.every((one) => box[2] < one[0] || box[0] > one[2] || box[3] < one[1] || box[1] > one[3]);
