// The meshes as a whole, while no node is chosen: how many live, who leads, what is offered.

import { STATES } from "./signs.js";
import { age, collator, count, h } from "./words.js";

const SERVICES = 12;

export function showOverview(place, world, only, { choose, remove }) {
  const meshes = world.meshes.filter((mesh) => !only || mesh.id === only);
  delete place.dataset.node;
  place.replaceChildren(
    ...meshes.map((mesh) => card(world, mesh, choose)),
    ...services(world, new Set(meshes.map((mesh) => mesh.id)), choose),
    ...devices(world, new Set(meshes.map((mesh) => mesh.id)), remove),
    h(
      "p",
      { class: "hint" },
      meshes.length
        ? "Choose a node in the picture or the table. With Shift, a second one shows the way between both."
        : "",
    ),
  );
}

function card(world, mesh, choose) {
  const rows = [...world.nodes.values()].map((node) => node.rows.get(mesh.id)).filter(Boolean);
  const tally = Object.keys(STATES).map((state) => [state, rows.filter((row) => row.state === state).length]);
  const clients = rows.filter((row) => row.role === "client").length;
  const leader = world.nodes.get(mesh.leader);
  const fields = [
    ["Members", `${some(rows.length - clients, "peer")}, ${some(clients, "client")}`],
    ["Leader", leader ? link(leader, choose) : "nobody"],
    ["This node", h("span", { class: "mono", title: mesh.address }, mesh.address)],
    ["Interface", `${mesh.interface} (${mesh.backend})`],
    ["State", mesh.state],
  ];
  return h(
    "div",
    { class: "mesh" },
    h("h2", {}, mesh.name),
    bar(tally, rows.length),
    h(
      "dl",
      {},
      fields.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, h("div", {}, value))]),
    ),
  );
}

// How many are in each state, as one bar; its words say the same.
function bar(tally, all) {
  const parts = tally
    .filter(([, number]) => number)
    .map(([state, number]) => {
      const part = h("span", { class: state, title: `${count(number)} ${state}` });
      part.style.flexGrow = number / all;
      return part;
    });
  const words = tally.filter(([, number]) => number).map(([state, number]) => `${count(number)} ${state}`);
  return h("div", {}, h("div", { class: "bar", "aria-hidden": "true" }, parts), h("small", {}, words.join(", ")));
}

function services(world, meshes, choose) {
  const found = [...world.nodes.values()].flatMap((node) =>
    [...node.rows]
      .filter(([mesh]) => meshes.has(mesh))
      .flatMap(([, row]) => row.services.map((service) => ({ node, service }))),
  );
  if (!found.length) return [];
  found.sort((one, other) => collator.compare(one.service.name, other.service.name));
  const more =
    found.length > SERVICES ? [h("li", { class: "hint" }, `and ${count(found.length - SERVICES)} more`)] : [];
  return [
    h("h3", {}, "Services"),
    h(
      "ul",
      { class: "services" },
      found
        .slice(0, SERVICES)
        .map(({ node, service }) =>
          h("li", {}, h("b", {}, service.name), ` ${service.protocol}/${service.port} `, link(node, choose)),
        ),
      more,
    ),
  ];
}

// Those behind this node can be let in no more; others an admin evicts.
function devices(world, meshes, remove) {
  const found = world.devices.filter((device) => meshes.has(device.mesh));
  if (!found.length) return [];
  const rows = found.map((device) => {
    const own = device.via === world.self?.name;
    const seen = device.handshake_age === null ? "" : `, seen ${age(device.handshake_age)} ago`;
    return h(
      "li",
      {},
      h("b", {}, device.name),
      ` behind ${device.via}${own ? seen : ""} `,
      h("button", { class: "plain", type: "button", onclick: () => remove(device, own) }, own ? "remove" : "evict"),
    );
  });
  return [h("h3", {}, "Devices without a daemon"), h("ul", { class: "services" }, rows)];
}

const some = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

const link = (node, choose) =>
  h("button", { class: "plain", type: "button", onclick: () => choose(node.id) }, node.first.alias || node.name);
