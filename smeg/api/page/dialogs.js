// What changes something, each behind a dialog that says what it will do.

import { choice, chosenMesh, close, field, open, place, secret } from "./dialog.js";
import { h } from "./words.js";

export { close };

export function invite(client, meshes, first) {
  const fields = [
    chosenMesh(meshes, first),
    h(
      "div",
      { class: "pair" },
      field(
        "How many may join by it",
        h("input", { name: "uses", type: "number", min: 1, max: 100000, value: 1, required: true }),
      ),
      field(
        "It is good for",
        choice(
          "expires",
          [
            ["3600", "an hour"],
            ["86400", "a day"],
            ["604800", "a week"],
            ["2592000", "30 days"],
          ],
          "86400",
        ),
      ),
    ),
    field(
      "As",
      choice("role", [
        ["peer", "peer: can be dialled"],
        ["client", "client: behind NAT, dials out"],
      ]),
    ),
    field(
      "Prefixes that it may offer",
      h("input", { name: "prefixes", placeholder: "2001:db8:1::/48 …" }),
      "Usually none.",
    ),
    h(
      "label",
      { class: "check" },
      h("input", { name: "exit", type: "checkbox" }),
      "It may lead to everything else, as an exit",
    ),
  ];
  open("Invite somebody", fields, "Make a token", async (said) => {
    const asked = {
      uses: Number(said.uses),
      expires: Number(said.expires),
      role: said.role,
      exit: said.exit === "on",
      prefixes: said.prefixes.split(/[\s,]+/).filter(Boolean),
    };
    const made = await client.ask("POST", `/meshes/${said.mesh}/invites?qr=true`, asked);
    token(made);
  });
}

function token(made) {
  secret("A token", "Token", made.token, made.qr, [
    "Who has it can join: give it only to whom it is for. On the other node: ",
    h("code", {}, "smeg-cli join-mesh FILE"),
  ]);
}

const LABEL = "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?";

export function addDevice(client, meshes, first, changed) {
  open(
    "Let a phone in",
    [
      h(
        "p",
        {},
        "Or any device with WireGuard that cannot run smeg-node. This node carries it, and all members reach it.",
      ),
      chosenMesh(meshes, first),
      field(
        "Its name",
        h("input", { name: "name", required: true, maxlength: 63, pattern: LABEL, placeholder: "phone" }),
      ),
      field(
        "It is let in for",
        choice(
          "expires",
          [
            ["86400", "a day"],
            ["2592000", "30 days"],
            ["31536000", "a year"],
          ],
          "31536000",
        ),
      ),
    ],
    "Let it in",
    async (said) => {
      const made = await client.ask("POST", `/meshes/${said.mesh}/devices?qr=true`, {
        name: said.name,
        expires: Number(said.expires),
      });
      secret(
        `${made.name} may come in`,
        "Configuration",
        made.configuration,
        made.qr,
        "Let the device's WireGuard read this. It holds the private key, which is nowhere else: whoever sees it can be that device.",
      );
      changed();
    },
  );
}

export function removeDevice(client, device, changed) {
  open(
    `Let ${device.name} in no more?`,
    [h("p", {}, "Its tunnel ends within seconds. To let it in again it needs another key.")],
    "Remove",
    async () => {
      await client.ask("DELETE", `/meshes/${device.mesh}/devices/${device.name}`);
      close();
      changed(`${device.name} is let in no more`);
    },
    true,
  );
}

export function evictDevice(client, device, changed) {
  open(
    `Evict ${device.name}?`,
    [h("p", {}, `The peer that let it in, ${device.via}, forgets it within seconds. Its key can never come back.`)],
    "Evict",
    async () => {
      await client.ask("POST", `/meshes/${device.mesh}/evictions`, { node: device.address });
      close();
      changed(`${device.name} is evicted`);
    },
    true,
  );
}

export function evict(client, world, node, changed) {
  const meshes = world.meshes.filter((mesh) => node.rows.has(mesh.id));
  open(
    `Evict ${node.name}?`,
    [
      h("p", {}, "It is removed for ever, everywhere, within seconds, and its invite is void. This cannot be undone."),
      meshes.length > 1 ? chosenMesh(meshes) : h("input", { type: "hidden", name: "mesh", value: meshes[0].id }),
      field("Why (kept in the signed eviction)", h("input", { name: "reason", maxlength: 200 })),
      field(`Type ${node.name}`, h("input", { name: "name", required: true, autocomplete: "off" })),
    ],
    "Evict",
    async (said) => {
      if (said.name !== node.name)
        throw Object.assign(new Error("That is not its name."), { hint: `type ${node.name}` });
      await client.ask("POST", `/meshes/${said.mesh}/evictions`, { node: node.id, reason: said.reason });
      close();
      changed(`${node.name} is evicted`);
    },
    true,
  );
}

export function rename(client, world, node, changed) {
  const meshes = world.meshes.filter((mesh) => node.rows.has(mesh.id));
  open(
    "This node",
    [
      meshes.length > 1 ? chosenMesh(meshes) : h("input", { type: "hidden", name: "mesh", value: meshes[0].id }),
      field(
        "Alias",
        h("input", { name: "alias", value: node.first.alias, maxlength: 63, pattern: LABEL, placeholder: node.name }),
        "Lower-case letters, digits and dashes; empty takes it back.",
      ),
      field("Description", h("input", { name: "description", value: node.first.description, maxlength: 256 })),
    ],
    "Tell the mesh",
    async (said) => {
      await client.ask("PUT", `/meshes/${said.mesh}/alias`, { alias: said.alias });
      await client.ask("PUT", `/meshes/${said.mesh}/description`, { description: said.description });
      close();
      changed("The others know within a second");
    },
  );
}

export function makeMesh(client, changed) {
  open(
    "Make a mesh",
    [
      h("p", {}, "This node becomes its first member, and holds its admin key."),
      field(
        "Name",
        h("input", { name: "name", required: true, maxlength: 63, pattern: LABEL }),
        "Lower-case letters, digits and dashes.",
      ),
    ],
    "Make it",
    async (said) => {
      await client.ask("POST", "/meshes", { name: said.name });
      close();
      changed(`${said.name} is made`);
    },
  );
}

export function join(client, changed) {
  open(
    "Join a mesh",
    [
      field(
        "Token",
        h("textarea", { name: "token", class: "mono", rows: 6, required: true, spellcheck: "false" }),
        "What an invite gave. It may take some seconds.",
      ),
    ],
    "Join",
    async (said) => {
      const joined = await client.ask("POST", "/meshes/join", { token: said.token.replace(/\s+/g, "") });
      close();
      changed(`This node is in ${joined.mesh.name}`);
    },
  );
}

export function leave(client, meshes, first, changed) {
  open(
    "Leave a mesh",
    [
      h("p", {}, "Its interface and keys are removed from this node, save those that rule over it."),
      chosenMesh(meshes, first),
    ],
    "Leave",
    async (said) => {
      const left = await client.ask("DELETE", `/meshes/${said.mesh}`);
      close();
      changed(left.keys ? `Left. Its admin keys are in ${left.keys}` : "Left");
    },
    true,
  );
}

export function meshes(actions) {
  const rows = actions.map(([words, note, act]) =>
    h("button", { class: "wide", type: "button", onclick: act }, h("b", {}, words), h("small", {}, note)),
  );
  open("Meshes", rows, null);
}

export function problems(status) {
  const rows = status.problems.map((problem) =>
    h("li", {}, h("b", {}, problem.message), problem.hint ? h("small", {}, problem.hint) : ""),
  );
  open(
    status.healthy ? "All is well" : "What is wrong",
    [
      h("ul", { class: "problems" }, rows.length ? rows : h("li", {}, "The daemon knows of no problem.")),
      h("p", { class: "hint" }, `${status.name}, smegmesh ${status.version}`),
    ],
    null,
  );
}

const KEYS = [
  ["/", "find members"],
  ["g", "to the picture"],
  ["l", "to the table"],
  ["arrows", "the next node there"],
  ["Shift + click", "the way between two nodes"],
  ["p", "the way to the chosen node"],
  ["+  −  0", "nearer, farther, all"],
  ["i", "invite"],
  ["v", "picture and table, picture, table"],
  ["t", "light or dark"],
  ["Esc", "choose nobody"],
];

export function keys() {
  open(
    "Keys",
    [
      h(
        "dl",
        { class: "keys" },
        KEYS.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]),
      ),
    ],
    null,
  );
}

export function askToken(done, wrong) {
  open(
    "smegmesh",
    [
      h(
        "p",
        {},
        "This page shows the meshes of this host's node, and changes them, for who has the token of smeg-api.",
      ),
      wrong ? h("p", { class: "wrong" }, wrong) : null,
      field(
        "Token",
        h("input", { name: "token", type: "password", required: true, autocomplete: "off" }),
        "The line in the file that smeg-api named when it started. It stays in this tab.",
      ),
    ].filter(Boolean),
    "Open",
    async (said) => done(said.token.trim()),
  );
  place().querySelector(".cancel").remove();
}
