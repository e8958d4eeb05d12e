// One dialog at a time, as a form; and what several of them have in common.

import { byId, h } from "./words.js";

export const place = () => byId("dialog");

export function close() {
  place().close();
}

// A form: `fields` are elements, `done` is called with the form's values and may throw what the API refused.
export function open(title, fields, button, done, dangerous = false) {
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const send = button && h("button", { class: dangerous ? "danger" : "main", type: "submit" }, button);
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, title),
    fields,
    wrong,
    h(
      "p",
      { class: "buttons" },
      h("button", { type: "button", class: "cancel", onclick: close }, button ? "Cancel" : "Close"),
      send,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    wrong.hidden = true;
    try {
      await done(Object.fromEntries(new FormData(form)), form);
    } catch (error) {
      wrong.replaceChildren(error.message, error.hint ? h("small", {}, error.hint) : "");
      wrong.hidden = false;
    } finally {
      send.disabled = false;
    }
  });
  place().replaceChildren(form);
  if (!place().open) place().showModal();
  form.querySelector("input, textarea:not([readonly]), select")?.focus();
}

export const field = (label, input, note) =>
  h("label", { class: "field" }, h("span", {}, label), input, note ? h("small", {}, note) : null);
export const choice = (name, options, first) =>
  h(
    "select",
    { name },
    options.map(([value, words]) => h("option", { value, selected: value === first }, words)),
  );

export function chosenMesh(meshes, first) {
  return field(
    "Mesh",
    choice(
      "mesh",
      meshes.map((mesh) => [mesh.id, mesh.name]),
      first,
    ),
  );
}

// Something that is shown once: as a picture, and as text to be copied.
export function secret(title, name, said, qr, words) {
  const text = h("textarea", {
    class: "mono",
    readonly: true,
    rows: 5,
    "aria-label": name,
    onclick: (event) => event.target.select(),
  });
  text.value = said;
  const copy = h("button", { class: "main", type: "button" }, "Copy it");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(said);
    copy.textContent = "Copied";
  });
  const picture = qr
    ? h("img", { class: "qr", alt: `${name} as a QR code`, src: `data:image/svg+xml,${encodeURIComponent(qr)}` })
    : h("p", { class: "hint" }, "It is too long for a QR code.");
  open(title, [h("p", {}, words), picture, text, h("p", {}, copy)], null);
}
