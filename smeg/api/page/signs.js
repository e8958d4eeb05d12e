// How a node is drawn: its kind is a shape, its state a filling and a colour, so that no colour is needed to read it.

export const STATES = {
  alive: "heard, or nothing speaks against it",
  "daemon-down": "its host says that no daemon runs",
  pruned: "not heard: it gets no traffic",
  quarantined: "waits for an admin",
};

export const KINDS = { peer: "peer", client: "client", bridge: "bridge", exit: "exit" };

export function kindOf(node) {
  if (node.marks.has("bridge")) return "bridge";
  if (node.marks.has("exit") || node.marks.has("behind")) return "exit";
  return node.first.role;
}

// Adds the outline of a kind, of a radius, to a path.
export function outline(path, kind, x, y, radius) {
  switch (kind) {
    case "bridge":
      return polygon(path, x, y, radius * 1.25, 6, 0);
    case "exit":
      return polygon(path, x, y, radius * 1.4, 3, -Math.PI / 2);
    case "client":
      return polygon(path, x, y, radius * 1.1, 4, 0);
    default:
      path.moveTo(x + radius, y);
      path.arc(x, y, radius, 0, 2 * Math.PI);
      path.closePath();
  }
}

function polygon(path, x, y, radius, corners, first) {
  for (let corner = 0; corner < corners; corner++) {
    const angle = first + (corner * 2 * Math.PI) / corners;
    const at = [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
    if (corner) path.lineTo(...at);
    else path.moveTo(...at);
  }
  path.closePath();
}

// The sign within: a half for a daemon that is down, a cross for the pruned, a bar for the quarantined.
export function inner(path, state, x, y, radius) {
  const r = radius * 0.5;
  if (state === "pruned") {
    path.moveTo(x - r, y - r);
    path.lineTo(x + r, y + r);
    path.moveTo(x + r, y - r);
    path.lineTo(x - r, y + r);
  } else if (state === "quarantined") {
    path.moveTo(x, y - r);
    path.lineTo(x, y + r);
  } else if (state === "daemon-down") {
    path.moveTo(x - r, y);
    path.lineTo(x + r, y);
  }
}

export const FILLED = new Set(["alive"]);

// The same as a small picture in the page, by the same outlines.
export function glyph(kind, state, size = 16) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "-10 -10 20 20");
  svg.setAttribute("width", size);
  svg.setAttribute("height", size);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `sign ${state}`);
  for (const [shape, draw] of [
    ["shape", outline],
    ["mark", inner],
  ]) {
    const recorded = recorder();
    draw(recorded, shape === "shape" ? kind : state, 0, 0, 6);
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", recorded.text());
    path.setAttribute("class", shape);
    svg.append(path);
  }
  return svg;
}

function recorder() {
  const said = [];
  return {
    moveTo: (x, y) => said.push(`M${x} ${y}`),
    lineTo: (x, y) => said.push(`L${x} ${y}`),
    arc: (x, y, r) => said.push(`A${r} ${r} 0 1 1 ${x - r} ${y}A${r} ${r} 0 1 1 ${x + r} ${y}`),
    closePath: () => said.push("Z"),
    text: () => said.join(""),
  };
}
