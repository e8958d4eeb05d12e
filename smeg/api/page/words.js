// Numbers as people read them, and elements of the page. Text goes into the page as text, never as markup.

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; number >= 1024 && unit < units.length - 1; unit++) number /= 1024;
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const at = units.findIndex(([, length]) => seconds >= length);
  if (at < 0) return "now";
  const [unit, length] = units[at];
  const rest = at < 2 ? Math.floor((seconds % length) / units[at + 1][1]) : 0;
  return `${Math.floor(seconds / length)} ${unit}${rest ? ` ${rest} ${units[at + 1][0]}` : ""}`;
}

export const count = (number) => number.toLocaleString("en");

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

// h("button", {class: "main", onclick: f}, "text", element, …)
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

// The same order for the same text: numbers within names count as numbers.
export const collator = new Intl.Collator("en", { numeric: true });
