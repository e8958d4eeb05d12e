// One node: who it is, how it is reached, its traffic and what happened to it.

import { STATES, glyph, kindOf } from "./signs.js";
import { age, bytes, clock, h } from "./words.js";

const HISTORY = 12;
const SHORT = 12; // characters of an id that stand for a name

export function showDetail(place, world, id, { actions }) {
  const node = world.nodes.get(id);
  const focused = [...place.querySelectorAll("button")].indexOf(document.activeElement);
  if (place.dataset.node !== id) place.scrollTop = 0;
  place.dataset.node = id;
  const passed = (Date.now() - world.fetched) / 1000;
  const marks = [...node.marks].map((mark) =>
    h("span", { class: `mark ${mark}` }, { self: "this node", behind: "leads further" }[mark] ?? mark),
  );
  const parts = [
    h(
      "header",
      {},
      glyph(kindOf(node), node.state, 34),
      h(
        "div",
        {},
        h("h2", {}, node.first.alias || node.name),
        h("p", {}, h("span", { class: `state ${node.state}` }, node.state), " ", STATES[node.state]),
      ),
    ),
    marks.length ? h("p", { class: "marks" }, marks) : null,
    node.first.description ? h("p", { class: "description" }, node.first.description) : null,
    traffic(world, node),
  ];
  for (const [mesh, row] of node.rows) parts.push(inMesh(world, node, mesh, row, passed));
  parts.push(h("p", { class: "buttons" }, actions(node)));
  parts.push(history(world, node));
  place.replaceChildren(...parts.filter(Boolean));
  // What is shown anew every few seconds must not take the keyboard's place away.
  if (focused >= 0) place.querySelectorAll("button")[focused]?.focus();
}

function inMesh(world, node, mesh, row, passed) {
  const handshake =
    row.handshake_age === null ? (row.self ? null : "none yet") : `${age(row.handshake_age + passed)} ago`;
  const fields = [
    ["Address", row.address, true],
    ["Name", row.alias ? row.name : null],
    ["Role", row.role],
    ["Carried by", row.via.map((one) => one.name).join(", ")],
    ["Next carrier", row.warm?.name],
    ["Endpoints", row.endpoints.join("\n"), true],
    ["Last handshake", handshake],
    ["Received, sent", row.self ? null : `${bytes(row.received)}, ${bytes(row.sent)}`],
    ["Services", row.services.map((one) => `${one.name} ${one.protocol}/${one.port}`).join("\n")],
    ["Node id", row.node, true],
    ["WireGuard key", row.wireguard, true],
  ];
  const lines = fields
    .filter(([, value]) => value)
    .flatMap(([name, value, copied]) => [
      h("dt", {}, name),
      h(
        "dd",
        { class: copied ? "mono" : null },
        value.split("\n").map((line) => h("div", {}, h("span", { title: line }, line), copied ? copier(line) : null)),
      ),
    ]);
  return h("div", {}, world.meshes.length > 1 ? h("h3", {}, `In ${world.meshName(mesh)}`) : null, h("dl", {}, lines));
}

function copier(text) {
  return h(
    "button",
    {
      class: "copy",
      type: "button",
      title: "Copy",
      "aria-label": `Copy ${text}`,
      onclick: () => navigator.clipboard?.writeText(text),
    },
    h("span", { class: "copies" }),
  );
}

// Rates since the page was opened, received above and sent below.
function traffic(world, node) {
  if (node.marks.has("self")) return null;
  const received = world.rates(node.id, "received");
  const sent = world.rates(node.id, "sent");
  const canvas = h("canvas", {
    class: "traffic",
    width: 680,
    height: 128,
    role: "img",
    "aria-label": "Traffic since the page was opened",
  });
  const last = (list) => bytes(list.at(-1) ?? 0);
  requestAnimationFrame(() => curve(canvas, received, sent));
  return h(
    "figure",
    {},
    canvas,
    h(
      "figcaption",
      {},
      h("span", { class: "received" }, `▲ ${last(received)}/s received`),
      h("span", { class: "sent" }, `▼ ${last(sent)}/s sent`),
    ),
  );
}

function curve(canvas, received, sent) {
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const most = Math.max(1, ...received, ...sent);
  const middle = canvas.height / 2;
  pen.strokeStyle = style.getPropertyValue("--faint");
  pen.strokeRect(-1, middle, canvas.width + 2, 0);
  for (const [list, colour, up] of [
    [received, "--received", -1],
    [sent, "--sent", 1],
  ]) {
    const step = canvas.width / Math.max(1, Math.max(list.length, 24) - 1);
    const start = canvas.width - (list.length - 1) * step;
    pen.beginPath();
    pen.moveTo(start, middle);
    list.forEach((value, index) =>
      pen.lineTo(start + index * step, middle + up * Math.sqrt(value / most) * (middle - 4)),
    );
    pen.lineTo(canvas.width, middle);
    pen.globalAlpha = 0.28;
    pen.fillStyle = style.getPropertyValue(colour);
    pen.fill();
    pen.globalAlpha = 1;
    pen.lineWidth = 2.5;
    pen.strokeStyle = style.getPropertyValue(colour);
    pen.stroke();
  }
}

function history(world, node) {
  const found = world.events.filter((event) => event.node === node.id).slice(0, HISTORY);
  if (!found.length) return null;
  return h(
    "div",
    {},
    h("h3", {}, "What happened to it"),
    h(
      "ol",
      { class: "history" },
      found.map((event) =>
        h(
          "li",
          {},
          h("time", {}, clock(event.time)),
          h("span", { class: `kind ${event.kind}` }, event.kind),
          " ",
          event.text,
        ),
      ),
    ),
  );
}

export function showEvents(place, events, choose) {
  const rows = events.slice(0, 120).map((event) => {
    const name = event.name || event.node.slice(0, SHORT);
    const who = name ? h("button", { class: "plain", type: "button", onclick: () => choose(event.node) }, name) : null;
    return h(
      "li",
      {},
      h("time", {}, clock(event.time)),
      h("span", { class: `kind ${event.kind}` }, event.kind),
      h("span", {}, who, " ", event.text),
    );
  });
  place.replaceChildren(...(rows.length ? rows : [h("li", { class: "hint" }, "Nothing yet.")]));
}
