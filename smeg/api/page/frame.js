// What stands around the picture and the table: meshes to choose from, health, states to filter by, signs, and what to
// do where nobody is yet.

import { KINDS, STATES, glyph } from "./signs.js";
import { byId, count, h } from "./words.js";

export function showTabs(world, mesh, choose) {
  const all = world.meshes.length > 1 ? [{ id: null, name: "All", members: world.nodes.size }] : [];
  const tabs = [...all, ...world.meshes].map((one) => {
    const chosen = one.id === mesh || (!mesh && world.meshes.length === 1);
    const said = { role: "tab", type: "button", "aria-selected": String(chosen), onclick: () => choose(one.id) };
    return h("button", said, one.name, h("small", {}, count(one.members)));
  });
  byId("tabs").replaceChildren(...tabs);
}

export function showHealth(world) {
  const { healthy, problems } = world.status;
  const wrong = `! ${problems.length} ${problems.length === 1 ? "problem" : "problems"}`;
  const pill = byId("health");
  pill.className = `pill ${healthy ? "good" : "bad"}`;
  pill.textContent = healthy ? "✓ all is well" : wrong;
  byId("invite").disabled = !world.meshes.length;
}

export function showLive(there, why = "") {
  const pill = byId("live");
  pill.className = `pill ${there ? "good" : "bad"}`;
  pill.textContent = there ? "● live" : "○ away";
  pill.title = why;
}

export function showChips(world, mesh, pressed, toggle) {
  const found = new Map(Object.keys(STATES).map((state) => [state, 0]));
  for (const node of world.nodes.values()) {
    for (const [id, row] of node.rows) {
      if (!mesh || id === mesh) found.set(row.state, found.get(row.state) + 1);
    }
  }
  const chip = ([state, number]) => {
    const on = String(pressed.has(state));
    const said = {
      type: "button",
      class: "chip",
      title: STATES[state],
      "aria-pressed": on,
      onclick: () => toggle(state),
    };
    return h("button", said, glyph("peer", state, 14), `${state} `, h("b", {}, count(number)));
  };
  const chips = [...found].filter(([state, number]) => number || state === "alive" || pressed.has(state)).map(chip);
  byId("chips").replaceChildren(...chips, h("span", { id: "shown" }));
}

export function showEmpty(world, { invite, make, join }) {
  const place = byId("empty");
  const alone = world.meshes.length > 0 && world.nodes.size === 1;
  document.body.classList.toggle("meshless", !world.meshes.length);
  place.hidden = world.meshes.length > 0 && !alone;
  place.className = alone ? "alone" : "";
  const main = (words, act) => h("button", { class: "main", type: "button", onclick: act }, words);
  const buttons = alone
    ? [main("Invite somebody", invite)]
    : [main("Make a mesh", make), h("button", { type: "button", onclick: join }, "Join by a token")];
  const words = alone
    ? [h("p", {}, "This node is alone here.")]
    : [
        h("h2", {}, "This node is in no mesh yet"),
        h("p", {}, "A mesh needs no server: make one here and invite others, or join one by a token."),
      ];
  if (!place.hidden) place.replaceChildren(...words, h("p", { class: "buttons" }, buttons));
}

export function showTip(node, at) {
  const tip = byId("tip");
  tip.hidden = !node;
  if (!node) return;
  const name = h("b", {}, node.first.alias || node.name);
  tip.replaceChildren(name, ` ${node.state}`, h("div", { class: "mono" }, node.first.address));
  tip.style.left = `${Math.min(at.x + 14, byId("graph").clientWidth - 300)}px`;
  tip.style.top = `${at.y + 14}px`;
}

export function showLegend() {
  const kinds = Object.keys(KINDS).map((kind) => h("span", {}, glyph(kind, "alive", 15), kind));
  const marks = [
    h("span", {}, h("i", { class: "star" }, "★"), "leader"),
    h("span", {}, h("i", { class: "own" }, "◎"), "this node"),
  ];
  const states = Object.keys(STATES).slice(1);
  const signs = states.map((state) => h("span", {}, glyph("peer", state, 15), state));
  byId("legend").replaceChildren(...kinds, ...marks, ...signs);
}
