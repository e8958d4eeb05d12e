// Where each node stands: a pure function of who is in which mesh, so a picture changes only where the meshes do.
//
// A mesh is a round of peers, in rings when they are many. Clients stand around the peer that carries them. Who is in
// several meshes stands between them, and meshes beyond stand outside of the bridge that leads there.

const FEW = 48; // peers that have one ring
const TURN = 2 * Math.PI;

// meshes: [{id, name, members: [{id, client, carrier, bridge}]}], each in the order in which they are to stand.
// ghosts: [{name, from, bridges}]. Gives {places: Map of id to {x, y}, hubs, size}.
export function layout(meshes, ghosts) {
  const places = new Map();
  const hubs = meshes.map((mesh) => ({ ...mesh, ...rounds(mesh) }));
  settle(hubs);
  for (const hub of hubs) {
    for (const [id, spot] of hub.spots) places.set(id, { x: hub.x + spot.x, y: hub.y + spot.y });
  }
  between(hubs, places);
  const all = [...hubs, ...beyond(hubs, ghosts, places)];
  return { places, hubs: all };
}

function rounds(mesh) {
  const own = mesh.members.filter((member) => !member.bridge);
  const carried = new Map();
  for (const member of own) {
    if (member.client) carried.set(member.carrier, [...(carried.get(member.carrier) ?? []), member.id]);
  }
  const peers = own.filter((member) => !member.client);
  const known = new Set(mesh.members.filter((member) => !member.client).map((member) => member.id));
  const lost = own.filter((member) => member.client && !known.has(member.carrier));
  const few = peers.length + lost.length <= FEW;
  const clusters = [...peers, ...lost].map((member) => {
    const around = member.client ? [] : (carried.get(member.id) ?? []);
    return { id: member.id, around, ...satellites(around.length, few) };
  });
  const spots = new Map();
  // In the middle there is room for the name.
  const area = clusters.reduce((sum, cluster) => sum + 4 * cluster.radius ** 2, 0);
  let radius = few ? Math.max(105, around(clusters, 16) / TURN) : Math.max(95, 0.36 * Math.sqrt(area / Math.PI));
  let start = 0;
  let outside = radius;
  while (start < clusters.length) {
    const ring = taken(clusters, start, radius, few);
    const room = (TURN * radius - around(ring, 0)) / ring.length;
    const most = Math.max(...ring.map((cluster) => cluster.radius));
    let length = -ring[0].radius - (few ? TURN * radius : radius) / 4;
    for (const cluster of ring) {
      const angle = (length + cluster.radius) / radius;
      length += 2 * cluster.radius + room;
      const at = { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
      spots.set(cluster.id, at);
      cluster.around.forEach((id, index) => spots.set(id, spread(at, angle, cluster.offsets[index])));
    }
    outside = radius + most;
    start += ring.length;
    const next = clusters.slice(start, start + ring.length).map((cluster) => cluster.radius);
    radius = outside + (next.length ? Math.max(...next) : 0) + 3;
  }
  return { spots, radius: outside + 22, few, carried };
}

const around = (clusters, gap) => clusters.reduce((sum, cluster) => sum + 2 * cluster.radius + gap, 0);

function taken(clusters, start, radius, few) {
  if (few) return clusters;
  let length = 0;
  let end = start;
  while (end < clusters.length && length + 2 * clusters[end].radius + 3 <= TURN * radius) {
    length += 2 * clusters[end].radius + 3;
    end++;
  }
  return clusters.slice(start, Math.max(end, start + 1));
}

// Rings of clients around one peer. Offsets are {angle, distance}.
function satellites(number, few) {
  const step = few ? 17 : 10;
  const offsets = [];
  let ring = few ? 27 : 14;
  while (offsets.length < number) {
    const most = Math.floor((TURN * ring) / step);
    const room = Math.min(number - offsets.length, most);
    // A few stand outside of their peer, seen from the middle of the mesh; many all around it.
    const apart = room > most / 2 ? TURN / room : Math.min(0.9, TURN / 2 / room);
    for (let index = 0; index < room; index++)
      offsets.push({ angle: (index - (room - 1) / 2) * apart, distance: ring });
    ring += step;
  }
  return { offsets, radius: number ? ring - step + (few ? 10 : 6) : few ? 13 : 7 };
}

const spread = (at, angle, offset) => ({
  x: at.x + offset.distance * Math.cos(angle + offset.angle),
  y: at.y + offset.distance * Math.sin(angle + offset.angle),
});

function settle(hubs) {
  const room = 150;
  if (hubs.length === 1) Object.assign(hubs[0], { x: 0, y: 0 });
  if (hubs.length === 2) {
    Object.assign(hubs[0], { x: -hubs[0].radius - room / 2, y: 0 });
    Object.assign(hubs[1], { x: hubs[1].radius + room / 2, y: 0 });
  }
  if (hubs.length < 3) return;
  const length = hubs.reduce((sum, hub) => sum + 2 * hub.radius + room, 0);
  const most = Math.max(...hubs.map((hub) => hub.radius));
  const radius = Math.max(length / TURN, (most + room / 2) / Math.sin(Math.PI / hubs.length));
  let at = -length / 4;
  for (const hub of hubs) {
    at += hub.radius + room / 2;
    hub.x = radius * Math.cos((at / length) * TURN);
    hub.y = radius * Math.sin((at / length) * TURN);
    at += hub.radius + room / 2;
  }
}

// Who is in several of the meshes, by which ones; several of one kind stand in a line across.
function between(hubs, places) {
  const homes = new Map();
  for (const hub of hubs) {
    for (const member of hub.members) {
      if (member.bridge) homes.set(member.id, [...(homes.get(member.id) ?? []), hub]);
    }
  }
  const taken = hubs.map(({ x, y, radius }) => ({ x, y, radius }));
  const kinds = Map.groupBy(homes, ([, found]) => found.map((hub) => hub.id).join(" "));
  for (const group of kinds.values()) {
    const found = group[0][1];
    const [one, other] = [found[0], found[found.length - 1]];
    const x = found.reduce((sum, hub) => sum + hub.x + toward(hub, one, other, "x"), 0) / found.length;
    const y = found.reduce((sum, hub) => sum + hub.y + toward(hub, one, other, "y"), 0) / found.length;
    const line = Math.atan2(other.y - one.y, other.x - one.x) + Math.PI / 2;
    group.forEach(([id], index) => {
      const off = (index - (group.length - 1) / 2) * 64;
      const wished = { x: x + off * Math.cos(line), y: y + off * Math.sin(line) };
      const clients = found.flatMap((hub) => hub.carried.get(id) ?? []);
      const { offsets, radius } = satellites(clients.length, true);
      const at = free(taken, wished, radius);
      places.set(id, at);
      clients.forEach((client, place) => places.set(client, spread(at, 0, offsets[place])));
    });
  }
}

// The next spot where nothing is yet, in turns around the wished one: two pairs of meshes may have one middle.
function free(taken, wished, radius) {
  let at = wished;
  const stands = (one) => Math.hypot(one.x - at.x, one.y - at.y) < one.radius + radius + 20;
  for (let turn = 1; taken.some(stands); turn++) {
    at = spread(wished, 0, { angle: turn * 2.4, distance: 24 * Math.sqrt(turn) });
  }
  taken.push({ ...at, radius });
  return at;
}

// From the middle of a hub to its edge, on the way to the other.
function toward(hub, one, other, axis) {
  const to = hub === one ? other : one;
  const length = Math.hypot(to.x - hub.x, to.y - hub.y) || 1;
  return ((to[axis] - hub[axis]) / length) * hub.radius;
}

function beyond(hubs, ghosts, places) {
  const known = new Map(hubs.map((hub) => [hub.id, hub]));
  const made = [];
  for (const ghost of ghosts) {
    const from = known.get(ghost.from) ?? hubs[0];
    if (!from) continue;
    const spots = [...ghost.bridges].map((id) => places.get(id)).filter(Boolean);
    const x = spots.reduce((sum, spot) => sum + spot.x - from.x, 0);
    const y = spots.reduce((sum, spot) => sum + spot.y - from.y, 0);
    const hub = {
      id: `beyond ${ghost.name}`,
      name: ghost.name,
      ghost: true,
      radius: 46,
      members: [],
      from,
      bridges: ghost.bridges,
    };
    let angle = x || y ? Math.atan2(y, x) : (from.angle ?? Math.atan2(from.y, from.x || 1));
    for (let turn = 0; turn < 24; turn++) {
      hub.x = from.x + (from.radius + 120) * Math.cos(angle);
      hub.y = from.y + (from.radius + 120) * Math.sin(angle);
      const free = [...hubs, ...made].every(
        (other) => Math.hypot(other.x - hub.x, other.y - hub.y) > other.radius + 70,
      );
      if (free) break;
      angle += (turn % 2 ? 1 : -1) * (turn + 1) * 0.26;
    }
    hub.angle = angle;
    known.set(ghost.name, hub);
    made.push(hub);
  }
  return made;
}
