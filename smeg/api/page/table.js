// The members as a table that sorts and filters thousands: only the rows that are seen are in the page.

import { glyph, kindOf } from "./signs.js";
import { age, bytes, collator, h } from "./words.js";

const ROW = 30; // pixels
const SPARE = 6; // rows beyond those that are seen

const text = (name) => ({ value: (line) => line.row[name] ?? "", compare: collator.compare });
const number = (value, show) => ({ value, compare: (one, other) => one - other, show, number: true });
const NEVER = Number.MAX_SAFE_INTEGER;

export const COLUMNS = [
  {
    name: "state",
    title: "State",
    ...text("state"),
    cell: (line) => [glyph(kindOf(line.node), line.row.state), line.row.state],
  },
  { name: "name", title: "Name", ...text("name"), cell: named },
  { name: "alias", title: "Alias", ...text("alias") },
  { name: "mesh", title: "Mesh", value: (line) => line.mesh.name, compare: collator.compare },
  { name: "role", title: "Role", ...text("role") },
  {
    name: "handshake",
    title: "Handshake",
    ...number(
      (line) => line.row.handshake_age ?? NEVER,
      (value) => (value === NEVER ? "–" : age(value)),
    ),
  },
  { name: "received", title: "Received", ...number((line) => line.row.received, bytes) },
  { name: "sent", title: "Sent", ...number((line) => line.row.sent, bytes) },
  { name: "via", title: "Carried by", value: (line) => line.row.via[0]?.name ?? "", compare: collator.compare },
  { name: "address", title: "Address", ...text("address"), mono: true },
  {
    name: "endpoint",
    title: "Endpoint",
    value: (line) => line.row.endpoints[0] ?? "",
    compare: collator.compare,
    mono: true,
  },
];

function named(line) {
  const marks = ["self", "leader", "bridge", "exit"].filter((mark) => line.node.marks.has(mark));
  return [
    line.row.name,
    ...marks.map((mark) => h("span", { class: `mark ${mark}` }, mark === "self" ? "this node" : mark)),
  ];
}

export class Table {
  constructor(place, { onchoose }) {
    this.place = place;
    this.onchoose = onchoose;
    this.lines = [];
    this.shown = [];
    this.sort = { column: COLUMNS[1], down: false };
    this.filter = "";
    this.states = new Set();
    this.chosen = null;
    this.head = h(
      "div",
      { class: "row head", role: "row" },
      COLUMNS.map((column) => this.#header(column)),
    );
    this.body = h("div", { class: "rows", role: "rowgroup" });
    this.none = h("p", { class: "none", hidden: true }, "Nobody here is like that.");
    place.append(this.head, this.body, this.none);
    place.addEventListener("scroll", () => this.#later());
    place.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#later()).observe(place);
  }

  show(world, only) {
    const meshes = new Map(world.meshes.map((mesh) => [mesh.id, mesh]));
    this.lines = [];
    for (const node of world.nodes.values()) {
      for (const [id, row] of node.rows) {
        if (only && id !== only) continue;
        const words = [
          row.name,
          row.alias,
          row.node,
          row.address,
          row.description,
          row.wireguard,
          meshes.get(id).name,
          ...row.endpoints,
          ...row.services.map((service) => service.name),
        ];
        this.lines.push({ node, row, mesh: meshes.get(id), words: words.join("\n").toLowerCase() });
      }
    }
    this.place.classList.toggle("one-mesh", Boolean(only) || meshes.size < 2);
    this.place.classList.toggle(
      "no-alias",
      this.lines.every((line) => !line.row.alias),
    );
    this.place.classList.toggle(
      "no-via",
      this.lines.every((line) => !line.row.via.length),
    );
    this.arrange();
  }

  // Which lines are there, in which order; the ids of their nodes, or null for all.
  arrange() {
    const wanted = this.filter.toLowerCase().split(/\s+/).filter(Boolean).map(test);
    const found = this.lines.filter(
      (line) => (!this.states.size || this.states.has(line.row.state)) && wanted.every((one) => one(line)),
    );
    const { column, down } = this.sort;
    const keyed = found.map((line) => [column.value(line), line]);
    keyed.sort(
      ([one, a], [other, b]) =>
        (down ? -1 : 1) * column.compare(one, other) || collator.compare(a.row.name, b.row.name),
    );
    this.shown = keyed.map(([, line]) => line);
    this.matching = wanted.length || this.states.size ? new Set(this.shown.map((line) => line.node.id)) : null;
    this.place.setAttribute("aria-rowcount", this.shown.length + 1);
    this.none.hidden = this.shown.length > 0 || !this.lines.length;
    this.#later();
  }

  choose(id, reveal = true) {
    this.chosen = id;
    const at = this.shown.findIndex((line) => line.node.id === id);
    if (reveal && at >= 0) {
      const room = this.place.clientHeight - 2 * ROW;
      if (at * ROW < this.place.scrollTop) this.place.scrollTop = at * ROW;
      else if (at * ROW > this.place.scrollTop + room) this.place.scrollTop = at * ROW - room;
    }
    this.#later();
  }

  #header(column) {
    const title = h("button", { type: "button", tabindex: "-1", onclick: () => this.#sortBy(column) }, column.title);
    return h(
      "div",
      {
        class: `cell ${column.name}`,
        role: "columnheader",
        "aria-sort": column === this.sort.column ? "ascending" : "none",
      },
      title,
    );
  }

  #sortBy(column) {
    this.sort = {
      column,
      down: this.sort.column === column ? !this.sort.down : Boolean(column.number && column.name !== "handshake"),
    };
    [...this.head.children].forEach((cell, index) => {
      const how = COLUMNS[index] === column ? (this.sort.down ? "descending" : "ascending") : "none";
      cell.setAttribute("aria-sort", how);
    });
    this.arrange();
  }

  #later() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.#fill();
    });
  }

  #fill() {
    const first = Math.max(0, Math.floor(this.place.scrollTop / ROW) - SPARE);
    const last = Math.min(this.shown.length, Math.ceil((this.place.scrollTop + this.place.clientHeight) / ROW) + SPARE);
    this.body.style.height = `${this.shown.length * ROW}px`;
    const rows = this.shown.slice(first, last).map((line, index) => this.#line(line, first + index));
    this.body.replaceChildren(...rows);
  }

  #line(line, place) {
    const cells = COLUMNS.map((column) => {
      const value = column.value(line);
      const inside = column.cell ? column.cell(line) : [column.show ? column.show(value) : value];
      return h(
        "div",
        {
          class: `cell ${column.name}${column.mono ? " mono" : ""}${column.number ? " number" : ""}`,
          role: "gridcell",
        },
        inside,
      );
    });
    const chosen = line.node.id === this.chosen;
    const made = h(
      "div",
      { class: `row ${line.row.state}`, role: "row", "aria-rowindex": place + 2, "aria-selected": String(chosen) },
      cells,
    );
    made.addEventListener("click", (event) => this.onchoose(line.node.id, event.shiftKey));
    made.style.transform = `translateY(${place * ROW}px)`;
    return made;
  }

  #key(event) {
    const page = Math.floor(this.place.clientHeight / ROW) - 2;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !this.shown.length) return;
    event.preventDefault();
    const at = this.shown.findIndex((line) => line.node.id === this.chosen);
    const next = Math.min(this.shown.length - 1, Math.max(0, (at < 0 ? -1 : at) + by));
    this.onchoose(this.shown[next].node.id, false);
  }
}

// A word of a filter as a test of a line.
function test(word) {
  const [, field, value] = word.match(/^(state|role|mesh|is):(.+)$/) ?? [];
  if (field === "is") return (line) => line.node.marks.has(value);
  if (field === "mesh") return (line) => line.mesh.name.startsWith(value);
  if (field) return (line) => line.row[field].startsWith(value);
  return (line) => line.words.includes(word);
}
