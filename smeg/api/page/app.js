// The page: asks the API, keeps what it answers in a World, and shows that as a picture, a table, a node and events.

import { Client, keepToken, knownToken } from "./client.js";
import { showDetail, showEvents } from "./detail.js";
import * as dialogs from "./dialogs.js";
import * as frame from "./frame.js";
import { Graph } from "./graph.js";
import { showOverview } from "./overview.js";
import { Table } from "./table.js";
import { byId, count, h } from "./words.js";
import { World, wayBetween } from "./world.js";

const EVERY = 5000; // milliseconds between two looks; twice that for thousands
const AGAIN = 2000; // until what has failed is tried again
const LATER = 400; // after an event, for those that come with it

const world = new World();
const view = { mesh: null, chosen: null };
let client = null;
let timer = 0;
let turn = 0; // of looks: what an earlier one brings after a later one is old

const graph = new Graph(byId("graph"), {
  onchoose: choose,
  onhover: (id, at) => frame.showTip(world.nodes.get(id), at),
});
const table = new Table(byId("table"), { onchoose: choose });

// What is known.

async function refresh() {
  clearTimeout(timer);
  const mine = ++turn;
  try {
    const [status, { meshes }, routes] = await Promise.all([
      client.get("/status"),
      client.get("/meshes"),
      client.get("/routes"),
    ]);
    const members = await Promise.all(
      meshes.map((mesh) => client.get(`/meshes/${mesh.id}/members`).catch(() => ({ members: [] }))),
    );
    if (mine !== turn) return;
    world.take(status, meshes, members, routes.routes, Date.now());
    if (view.mesh && !meshes.some((mesh) => mesh.id === view.mesh)) view.mesh = null;
    show();
  } catch (error) {
    if (error.status === 401) return restart("That token is not the one.");
    frame.showLive(false, error.message);
  }
  timer = setTimeout(refresh, document.hidden ? 6 * EVERY : world.nodes.size > 1000 ? 2 * EVERY : EVERY);
}

async function follow() {
  let place = "";
  const mine = client;
  while (client === mine) {
    try {
      for await (const { kind, id, data } of mine.events(place)) {
        place = id ?? place;
        frame.showLive(kind !== "away", kind === "away" ? data.message : "");
        if (kind === "there") place ||= `${data.run}:${data.next - 1}`;
        if (kind === "there" || kind === "away") continue;
        world.happened(data);
        graph.pulse(data.node);
        showEvents(byId("events"), world.events, (found) => choose(found, false));
        clearTimeout(timer);
        timer = setTimeout(refresh, LATER);
      }
    } catch (error) {
      frame.showLive(false, error.message);
    }
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

// What is shown.

function show() {
  frame.showTabs(world, view.mesh, only);
  frame.showHealth(world);
  frame.showChips(world, view.mesh, table.states, toggle);
  graph.show(world, view.mesh);
  table.show(world, view.mesh);
  filtered();
  detail();
  frame.showEmpty(world, {
    invite: () => dialogs.invite(client, world.meshes, view.mesh),
    make: () => dialogs.makeMesh(client, changed),
    join: () => dialogs.join(client, changed),
  });
  const said = world.meshes.map((mesh) => `${mesh.name}: ${mesh.alive} of ${mesh.members} members alive`);
  byId("graph").setAttribute("aria-label", said.join("; ") || "No mesh");
}

function only(mesh) {
  view.mesh = mesh;
  show();
}

function toggle(state) {
  if (!table.states.delete(state)) table.states.add(state);
  frame.showChips(world, view.mesh, table.states, toggle);
  table.arrange();
  filtered();
}

function filtered() {
  graph.matching = table.matching;
  graph.draw();
  const all = table.lines.length;
  byId("shown").textContent = table.matching
    ? `${count(table.shown.length)} of ${count(all)} shown`
    : `${count(all)} ${all === 1 ? "member" : "members"}`;
}

function detail() {
  if (!world.nodes.has(view.chosen)) return showOverview(byId("detail"), world, view.mesh, { choose, remove });
  showDetail(byId("detail"), world, view.chosen, { actions });
}

function actions(node) {
  if (node.marks.has("self"))
    return [
      h(
        "button",
        { type: "button", onclick: () => dialogs.rename(client, world, node, changed) },
        "Alias, description…",
      ),
    ];
  return [
    h("button", { type: "button", onclick: () => way(world.self?.id, node.id) }, "Way from here"),
    h("button", { type: "button", onclick: () => ping(node) }, "Ping"),
    h(
      "button",
      { type: "button", class: "danger", onclick: () => dialogs.evict(client, world, node, changed) },
      "Evict…",
    ),
  ];
}

function remove(device, own) {
  if (own) dialogs.removeDevice(client, device, changed);
  else dialogs.evictDevice(client, device, changed);
}

// What somebody does.

function choose(id, second = false) {
  if (second && id && view.chosen && id !== view.chosen) {
    way(view.chosen, id);
    return;
  }
  view.chosen = world.nodes.has(id) ? id : null;
  graph.chosen = view.chosen;
  noWay();
  table.choose(view.chosen);
  detail();
}

function noWay() {
  graph.way = [];
  byId("way").hidden = true;
  graph.draw();
}

// From here the daemon knows each step; between others it follows from who is in which mesh, and who carries whom.
async function way(from, to) {
  if (!from || from === to) return;
  let ids = wayBetween(world, from, to);
  let steps = [];
  let said = "by who is in which mesh, as this node sees it";
  if (from === world.self?.id) {
    try {
      const answer = await client.get(`/why?destination=${encodeURIComponent(world.nodes.get(to).first.address)}`);
      steps = answer.steps;
      said = answer.reached ? "as this node's interfaces are set" : answer.problem;
      if (!answer.reached) ids = null;
    } catch (error) {
      said = error.message;
    }
  }
  graph.way = ids ?? [];
  graph.draw();
  const names = (ids ?? [from, to]).map((id) => world.nodes.get(id).name);
  const list = steps.length
    ? h(
        "ol",
        {},
        steps.map((step) => h("li", {}, h("b", {}, step.to), h("small", {}, step.rule))),
      )
    : null;
  const place = byId("way");
  place.replaceChildren(
    ...[
      h("b", {}, ids ? names.join(" → ") : `No way from ${names[0]} to ${names.at(-1)}`),
      h("small", {}, said),
      list,
      h("button", { class: "icon", type: "button", "aria-label": "Close", onclick: noWay }, "×"),
    ].filter(Boolean),
  );
  place.hidden = false;
}

async function ping(node) {
  toast(`Pinging ${node.name} …`);
  try {
    const answer = await client.ask("POST", "/pings", { node: node.first.address, count: 3 });
    toast(
      answer.received
        ? `${node.name}: ${answer.received} of ${answer.sent} back, ${answer.mean_ms} ms`
        : `${node.name}: nothing came back`,
    );
  } catch (error) {
    toast(error.message);
  }
}

function changed(words) {
  toast(words);
  refresh();
}

function toast(words) {
  const made = h("p", {}, words);
  byId("toasts").append(made);
  setTimeout(() => made.remove(), 6000);
}

function more() {
  const first = view.mesh ?? world.meshes[0]?.id;
  dialogs.meshes([
    ["Make a mesh", "this node becomes its first member", () => dialogs.makeMesh(client, changed)],
    ["Join a mesh", "by a token that somebody gave you", () => dialogs.join(client, changed)],
    ...(world.meshes.length
      ? [
          [
            "Let a phone in",
            "or another device that cannot run smeg-node, behind this node",
            () => dialogs.addDevice(client, world.meshes, first, refresh),
          ],
        ]
      : []),
    ...(world.meshes.length
      ? [["Leave a mesh", "its members are told", () => dialogs.leave(client, world.meshes, first, changed)]]
      : []),
    ["Forget the token", "this page asks for it again", () => restart()],
  ]);
}

// Keys, light and dark.

const VIEWS = ["both", "picture", "table"];

function nextView() {
  const at = VIEWS.indexOf(document.body.dataset.view ?? "both");
  document.body.dataset.view = VIEWS[(at + 1) % VIEWS.length];
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("smegmesh-theme", document.documentElement.dataset.theme);
  recolour();
}

function recolour() {
  graph.recolour();
  if (view.chosen) detail();
}

const PRESSED = {
  "/": () => byId("search").focus(),
  g: () => byId("graph").focus(),
  l: () => byId("table").focus(),
  i: () => byId("invite").click(),
  t: theme,
  v: nextView,
  "?": dialogs.keys,
  p: () => view.chosen && way(world.self?.id, view.chosen),
  "+": () => graph.zoom(1.3),
  "-": () => graph.zoom(1 / 1.3),
  0: () => graph.fit(),
  Escape: () => choose(null),
};
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  if (byId("dialog").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.target === byId("graph") && STEPS[event.key]) graph.step(...STEPS[event.key]);
  else if (PRESSED[event.key]) PRESSED[event.key]();
  else return;
  event.preventDefault();
});

byId("search").addEventListener("input", (event) => {
  table.filter = event.target.value;
  table.arrange();
  filtered();
});
byId("theme").addEventListener("click", theme);
byId("help").addEventListener("click", dialogs.keys);
byId("more").addEventListener("click", more);
byId("health").addEventListener("click", () => world.status && dialogs.problems(world.status));
byId("invite").addEventListener("click", () => world.meshes.length && dialogs.invite(client, world.meshes, view.mesh));
byId("zoom").addEventListener("click", (event) =>
  ({ in: () => graph.zoom(1.3), out: () => graph.zoom(1 / 1.3), fit: () => graph.fit() })[
    event.target.dataset.zoom
  ]?.(),
);
document.addEventListener("visibilitychange", () => client && !document.hidden && refresh());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

function restart(wrong) {
  keepToken("");
  client = null;
  clearTimeout(timer);
  dialogs.askToken(begin, wrong);
}

async function begin(token) {
  const candidate = new Client(token);
  const { events } = await candidate.get("/events?last=200");
  keepToken(token);
  client = candidate;
  dialogs.close();
  world.events = events.reverse();
  showEvents(byId("events"), world.events, (found) => choose(found, false));
  await refresh();
  follow();
}

byId("dialog").addEventListener("cancel", (event) => {
  if (!client) event.preventDefault();
});
if (localStorage.getItem("smegmesh-theme"))
  document.documentElement.dataset.theme = localStorage.getItem("smegmesh-theme");
frame.showLegend();
detail();
const token = knownToken();
if (token) begin(token).catch((error) => restart(error.status === 401 ? "That token is not the one." : error.message));
else restart();
