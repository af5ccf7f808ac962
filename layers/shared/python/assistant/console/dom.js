// Building blocks of the page. Text becomes text nodes and nothing else, so nothing that is shown can become markup.

/** An element with attributes, `on…` listeners and children (nodes or text; null and false are left out). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const ICONS = {
  clip: "M19 11.5 12 18.6a4.4 4.4 0 0 1-6.2-6.2l7.3-7.4a2.9 2.9 0 0 1 4.1 4.1l-7 7a1.4 1.4 0 0 1-2-2l6.4-6.4",
  send: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
  stop: "M8 8h8v8H8z",
  plus: "M12 5v14M5 12h14",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 12.5 10 17 19 7.5",
  down: "M12 5v14M5.5 12.5 12 19l6.5-6.5",
  retry: "M4.5 12a7.5 7.5 0 1 0 2.4-5.5M4.5 4v4h4",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  globe: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM3.5 12h17M12 3.5c2.6 2.4 3.8 5.2 3.8 8.5s-1.2 6.1-3.8 8.5c-2.6-2.4-3.8-5.2-3.8-8.5S9.4 5.9 12 3.5z",
  chat: "M5 6.5A1.5 1.5 0 0 1 6.5 5h11A1.5 1.5 0 0 1 19 6.5v8a1.5 1.5 0 0 1-1.5 1.5H11l-4.5 3.5V16A1.5 1.5 0 0 1 5 14.5z",
  pulse: "M3 12h4l3-7 4 14 3-7h4",
  key: "M14.5 4.5a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM11 13l-7 7M6.5 17.5l2 2",
  out: "M14 5h4.5A.5.5 0 0 1 19 5.5v13a.5.5 0 0 1-.5.5H14M10 8l-4 4 4 4M6 12h9",
  alert: "M12 4 2.8 19.5h18.4zM12 10v4.5M12 17v.2",
  book: "M5 5.5A1.5 1.5 0 0 1 6.5 4H19v14H6.5A1.5 1.5 0 0 0 5 19.5zM5 19.5A1.5 1.5 0 0 0 6.5 21H19",
  plug: "M9 3v5M15 3v5M6.5 8h11v3a5.5 5.5 0 0 1-11 0zM12 16.5V21",
  rings: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
  inbox: "M4 13.5 6.5 5h11L20 13.5V19H4zM4 13.5h5l1.2 2.5h3.6l1.2-2.5h5",
  people: "M9 5a3.2 3.2 0 1 0 0 6.4A3.2 3.2 0 0 0 9 5zM3 19c.4-3.2 2.8-5 6-5s5.6 1.8 6 5M15.5 5.4a3.2 3.2 0 0 1 0 5.6M17.5 14.4c2 .6 3.2 2.2 3.5 4.6",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7",
  puzzle: "M10 4.5a2 2 0 1 1 4 0V6h4.5v4.5H17a2 2 0 1 0 0 4h1.5V19H14v-1.5a2 2 0 1 0-4 0V19H5.5v-4.5H7a2 2 0 1 0 0-4H5.5V6H10z",
  archive: "M4 5h16v4H4zM5.5 9v10h13V9M10 13h4",
  shield: "M12 3.5 5 6v5.5c0 4.4 3 7.6 7 9 4-1.4 7-4.6 7-9V6zM9 12l2.2 2.2L15.2 10",
  list: "M8.5 6.5H20M8.5 12H20M8.5 17.5H20M4.5 6.5h.01M4.5 12h.01M4.5 17.5h.01",
  edit: "M5 19h3.5L19 8.5 15.5 5 5 15.5zM13.5 7l3.5 3.5",
  play: "M8 5.5v13l10.5-6.5z",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.3 15.3 20 20",
};

/** A line icon; decorative, the control beside or around it carries the name. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" }))
    svg.setAttribute(key, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows only an icon and says `label`. */
export function iconButton(name, label, onclick, attributes = {}) {
  return el("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Says `text` once to a screen reader, without moving the focus. */
export function announce(text) {
  const region = document.getElementById("announcer");
  region.textContent = "";
  // A change in the same task as the clearing is not announced where the text is equal.
  setTimeout(() => { region.textContent = text; }, 60);
}

/** Puts `text` on the clipboard; false where the browser does not allow it. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** A random id that no other browser makes. */
export function newId() {
  // crypto.randomUUID is missing on plain http pages other than localhost.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A value kept in the browser, JSON; every method works on where storage is full or refused. */
export function kept(area, name, fallback) {
  const key = `assistant.${name}`;
  return {
    get() {
      try {
        const text = area.getItem(key);
        return text === null ? fallback : JSON.parse(text);
      } catch {
        return fallback;
      }
    },
    set(value) {
      try {
        area.setItem(key, JSON.stringify(value));
      } catch { /* Private windows may refuse; the page then forgets on reload, nothing else. */ }
    },
    clear() {
      try {
        area.removeItem(key);
      } catch { /* as above */ }
    },
  };
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
