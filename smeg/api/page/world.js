// What is known of the meshes, put together from the answers of the API: nodes, once each, and in which meshes they are.

const KEPT = 180; // samples of traffic a node
const KEPT_EVENTS = 400;

export class World {
  constructor() {
    this.status = null;
    this.meshes = [];
    this.nodes = new Map(); // by node id
    this.devices = []; // without a daemon, each behind a peer
    this.ghosts = []; // meshes that this node is not in: {name, from, bridges: [node id or name]}
    this.events = []; // newest first
    this.traffic = new Map(); // by node id: {at: [], received: [], sent: []}
    this.fetched = 0;
  }

  // `members` is a list of answers, one a mesh, in the order of `meshes`.
  take(status, meshes, members, routes, now) {
    this.status = status;
    this.meshes = meshes;
    this.fetched = now;
    const nodes = new Map();
    meshes.forEach((mesh, index) => {
      for (const row of members[index].members) {
        const node = nodes.get(row.node) ?? { id: row.node, name: row.name, rows: new Map(), marks: new Set() };
        node.rows.set(mesh.id, row);
        if (row.self) node.marks.add("self");
        if (row.leader) node.marks.add("leader");
        nodes.set(row.node, node);
      }
    });
    for (const node of nodes.values()) {
      if (node.rows.size > 1) node.marks.add("bridge");
      node.first = node.rows.values().next().value;
      node.state = worst([...node.rows.values()].map((row) => row.state));
    }
    this.nodes = nodes;
    this.devices = meshes.flatMap((mesh, index) =>
      (members[index].statics ?? []).map((row) => ({ ...row, mesh: mesh.id })),
    );
    this.ghosts = this.#beyond(routes);
    for (const node of nodes.values()) this.#sample(node, now);
  }

  // Marks who leads out of its mesh, and gives the meshes beyond.
  #beyond(routes) {
    const ids = new Map(this.meshes.map((mesh) => [mesh.name, mesh.id]));
    const found = new Map();
    for (const way of routes) {
      if (!way.node || (way.state !== "chosen" && way.state !== "standby")) continue;
      const node = this.nodes.get(way.node);
      if (way.path.length > 1) node?.marks.add("bridge");
      if (way.bridges.length >= way.path.length && way.bridges.length === 1) {
        node?.marks.add(way.prefix === "::/0" ? "exit" : "behind");
      }
      for (let step = 1; step < way.path.length; step++) {
        const name = way.path[step];
        if (ids.has(name)) continue;
        const before = way.path[step - 1];
        const ghost = found.get(name) ?? { name, from: ids.get(before) ?? before, bridges: new Set() };
        ghost.bridges.add(step === 1 ? way.node : way.bridges[step - 1]);
        found.set(name, ghost);
      }
    }
    return [...found.values()];
  }

  #sample(node, now) {
    const rows = [...node.rows.values()];
    const kept = this.traffic.get(node.id) ?? { at: [], received: [], sent: [] };
    kept.at.push(now);
    kept.received.push(rows.reduce((sum, row) => sum + row.received, 0));
    kept.sent.push(rows.reduce((sum, row) => sum + row.sent, 0));
    if (kept.at.length > KEPT) for (const list of Object.values(kept)) list.shift();
    this.traffic.set(node.id, kept);
  }

  // Bytes a second between samples; a counter that went back began anew.
  rates(id, which) {
    const kept = this.traffic.get(id);
    if (!kept) return [];
    return kept.at.slice(1).map((at, index) => {
      const passed = (at - kept.at[index]) / 1000;
      return passed > 0 ? Math.max(0, kept[which][index + 1] - kept[which][index]) / passed : 0;
    });
  }

  happened(event) {
    this.events.unshift(event);
    this.events.length = Math.min(this.events.length, KEPT_EVENTS);
  }

  get self() {
    return [...this.nodes.values()].find((node) => node.marks.has("self"));
  }

  meshName(id) {
    return this.meshes.find((mesh) => mesh.id === id)?.name ?? id;
  }
}

const ORDER = ["quarantined", "pruned", "daemon-down", "alive"];

// Of a bridge: it is alive where anybody hears it, like in the other pictures of the project.
function worst(states) {
  return ORDER.findLast((state) => states.includes(state)) ?? "alive";
}

// The fewest tunnels from one node to another: peers of a mesh reach each other, clients those whom they name in `via`.
export function wayBetween(world, from, to) {
  const before = new Map([[from, null]]);
  const queue = [from];
  while (queue.length) {
    const at = queue.shift();
    if (at === to) break;
    for (const next of neighbours(world, at, to)) {
      if (!before.has(next)) {
        before.set(next, at);
        queue.push(next);
      }
    }
  }
  if (!before.has(to)) return null;
  const way = [];
  for (let at = to; at !== null; at = before.get(at)) way.unshift(at);
  return way;
}

function neighbours(world, id, to) {
  const node = world.nodes.get(id);
  const found = [];
  for (const [mesh, row] of node.rows) {
    if (row.role === "client") {
      found.push(...row.via.map((one) => one.node));
      continue;
    }
    for (const other of world.nodes.values()) {
      const there = other.rows.get(mesh);
      if (!there || there.state === "pruned" || there.state === "quarantined") continue;
      const reached = there.role === "peer" || there.via.some((one) => one.node === id);
      if (reached && (other.id === to || other.rows.size > 1 || there.role === "peer")) found.push(other.id);
    }
  }
  return found.filter((other) => world.nodes.has(other));
}
