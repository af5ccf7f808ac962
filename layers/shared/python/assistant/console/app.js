// The page's frame: sign-in, menu, language, appearance, and the screen that the address names.

import { api, key } from "./api.js";
import { Chat, currentConversation, listConversations, newConversation, openConversation, removeConversation } from "./chat.js";
import { announce, el, icon, iconButton, kept } from "./dom.js";
import { currentLanguage, errorText, setLanguage, t } from "./words.js";

const THEMES = ["system", "light", "dark"];
const theme = kept(localStorage, "theme", "system");
const root = document.getElementById("app");

/** Screens beside the chat: the address `#/name` or `#/name/rest` shows what `load` gives. `open`: also without a key. */
const SCREENS = [
  { name: "start", icon: "check", label: "nav_start", load: () => import("./start.js") },
  { name: "docs", icon: "book", label: "nav_docs", load: () => import("./docs.js"), open: true },
  { name: "knowledge", icon: "search", label: "nav_knowledge", load: () => import("./knowledge.js") },
  { name: "platforms", icon: "plug", label: "nav_platforms", load: () => import("./doctor.js") },
  { name: "rings", icon: "rings", label: "nav_rings", load: () => import("./rings.js") },
  { name: "letters", icon: "inbox", label: "nav_letters", load: () => import("./letters.js") },
  { name: "health", icon: "pulse", label: "nav_health", load: () => import("./health.js") },
];

let screen = null; // what is shown now: {node, start(), stop()}
let frame = null; // the parts of the frame that change

function applyTheme() {
  const wanted = theme.get();
  if (wanted === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", wanted);
}

function languageButton() {
  return el("button", {
    type: "button", class: "text-button", lang: currentLanguage() === "en" ? "zh-CN" : "en", "aria-label": t("switch_language"),
    onclick: () => {
      setLanguage(currentLanguage() === "en" ? "zh-CN" : "en");
      show();
      document.querySelector(".frame-tools .text-button")?.focus();
    },
  }, icon("globe"), t("other_language"));
}

function themeButton() {
  const names = { system: "system", light: "sun", dark: "moon" };
  const button = iconButton(names[theme.get()], t(`theme_${theme.get()}`), () => {
    theme.set(THEMES[(THEMES.indexOf(theme.get()) + 1) % THEMES.length]);
    applyTheme();
    const label = t(`theme_${theme.get()}`);
    button.replaceChildren(icon(names[theme.get()]));
    button.setAttribute("aria-label", label);
    button.title = label;
    announce(label);
  });
  return button;
}

// --- sign-in -----------------------------------------------------------------------------------

function showSignIn(reason = "") {
  leave();
  root.classList.add("alone");
  const problem = el("p", { class: "problem", role: "alert", id: "key-problem", hidden: !reason }, reason);
  const input = el("input", {
    id: "api-key", type: "password", autocomplete: "current-password", spellcheck: "false", autocapitalize: "off", required: true,
    "aria-describedby": "key-problem key-help",
  });
  const button = el("button", { type: "submit", class: "primary" }, t("sign_in"));
  const reveal = el("input", { type: "checkbox", id: "show-key", onchange: () => { input.type = reveal.checked ? "text" : "password"; } });
  const complain = (text) => {
    problem.textContent = text;
    problem.hidden = false;
    input.setAttribute("aria-invalid", "true");
    input.focus();
  };
  const form = el("form", {
    class: "card", novalidate: true,
    onsubmit: async (event) => {
      event.preventDefault();
      const given = input.value.trim();
      if (!given) return complain(t("key_empty"));
      if (/[^\x21-\x7e]/.test(given)) return complain(t("error_key"));
      button.disabled = true;
      button.textContent = t("signing_in");
      const before = key.get();
      key.set(given);
      try {
        await api.turns(currentConversation(), "");
      } catch (error) {
        if (error.kind !== "missing") {
          key.set(before);
          complain(errorText(error));
          return undefined;
        }
      } finally {
        button.disabled = false;
        button.textContent = t("sign_in");
      }
      return show();
    },
  },
    el("div", { class: "mark large", "aria-hidden": "true" }, icon("chat")),
    el("h1", {}, t("sign_in")),
    el("p", { class: "muted" }, t("sign_in_more")),
    el("label", { for: "api-key" }, t("key_label")),
    input,
    el("label", { class: "check", for: "show-key" }, reveal, t("key_show")),
    problem,
    button,
    el("p", { class: "muted small", id: "key-help" }, `${t("key_help")} ${t("key_kept")}`),
  );
  root.replaceChildren(el("div", { class: "sign-in" }, el("header", { class: "frame-tools" }, languageButton(), themeButton()), el("main", {}, form)));
  document.documentElement.lang = currentLanguage();
  document.title = `${t("sign_in")} · ${t("product")}`;
  input.focus();
}

// --- frame -------------------------------------------------------------------------------------

function buildFrame() {
  const closeMenu = () => menu(false);
  const list = el("ul", { class: "conversations" });
  const nav = el("ul", { class: "screens" });
  const side = el(
    "nav",
    { id: "side", class: "side", "aria-label": t("menu") },
    el("div", { class: "brand" }, el("span", { class: "mark", "aria-hidden": "true" }, icon("chat")), el("span", {}, t("product")),
      iconButton("close", t("close_menu"), closeMenu, { class: "icon-button phone-only" })),
    el("button", { type: "button", class: "new", onclick: startNew }, icon("plus"), t("new_conversation")),
    el("h2", { class: "side-title" }, t("conversations")),
    list,
    nav,
    el("div", { class: "side-end" }, el("button", { type: "button", class: "quiet", onclick: signOut }, icon("out"), t("sign_out"))),
  );
  const opener = iconButton("menu", t("open_menu"), () => menu(true), { class: "icon-button phone-only", "aria-controls": "side", "aria-expanded": "false" });
  const title = el("h1", { class: "title", dir: "auto" });
  const main = el("main", { id: "main", tabindex: "-1" });
  const shade = el("div", { class: "shade", onclick: closeMenu });
  const skip = el("a", { class: "skip", href: "#main", onclick: (event) => {
    event.preventDefault(); // the address names the screen, so the jump is made by hand
    (document.getElementById("composer-input") ?? main).focus();
  } }, t("skip"));
  root.replaceChildren(
    skip,
    side,
    shade,
    el("div", { class: "page" }, el("header", { class: "top" }, opener, title, el("div", { class: "frame-tools" }, languageButton(), themeButton())), main),
  );
  frame = { list, nav, side, opener, title, main };
  document.documentElement.lang = currentLanguage();
  phone.onchange = () => menu(false, { keepFocus: true });
  menu(false, { keepFocus: true });
}

const phone = matchMedia("(max-width: 760px)");

function menu(open, { keepFocus = false } = {}) {
  if (!frame) return;
  root.classList.toggle("menu-open", open);
  frame.side.inert = phone.matches && !open;
  frame.main.parentElement.inert = phone.matches && open;
  frame.opener.setAttribute("aria-expanded", String(open));
  if (keepFocus || !phone.matches) return;
  if (open) frame.side.querySelector("button").focus();
  else frame.opener.focus();
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && root.classList.contains("menu-open")) menu(false);
});

function fillMenu() {
  const name = screenName();
  const open = name === "" ? currentConversation() : "";
  const items = listConversations();
  frame.list.replaceChildren(...(items.length ? items.map((item) => el("li", {}, el("a", {
    href: "#/", dir: "auto", "aria-current": item.id === open ? "page" : null, title: item.title,
    onclick: (event) => {
      event.preventDefault();
      openConversation(item.id);
      go("");
    },
  }, item.title || t("untitled")), iconButton("trash", t("remove_conversation", { title: item.title }), () => {
    const shown = name === "" && item.id === open;
    removeConversation(item.id);
    announce(t("removed_conversation"));
    if (shown) render();
    else fillMenu();
    frame.side.querySelector(".new").focus();
  }, { class: "icon-button small remove" }))) : [el("li", { class: "muted small" }, t("no_conversations"))]));
  frame.nav.replaceChildren(
    el("li", {}, el("a", { href: "#/", "aria-current": name === "" ? "page" : null }, icon("chat"), t("nav_chat"))),
    ...SCREENS.map((s) => el("li", {}, el("a", { href: `#/${s.name}`, "aria-current": name === s.name ? "page" : null }, icon(s.icon), t(s.label)))),
  );
  setTitle(name === "" ? items.find((item) => item.id === open)?.title || t("new_conversation") : t(SCREENS.find((s) => s.name === name).label));
}

function setTitle(title) {
  frame.title.textContent = title;
  document.title = `${title} · ${t("product")}`;
}

const restOfAddress = () => /^#\/[\w-]+\/([\w./-]+)/.exec(location.hash)?.[1] ?? "";

function screenName() {
  const name = /^#\/([\w-]+)/.exec(location.hash)?.[1] ?? "";
  return SCREENS.some((s) => s.name === name) ? name : "";
}

/** The frame for those who have no key: the screen alone, and the way to sign in. */
function showAlone() {
  screen?.stop?.();
  const title = el("h1", { class: "title", dir: "auto" });
  const main = el("main", { id: "main", tabindex: "-1" });
  root.classList.add("alone");
  root.replaceChildren(el("div", { class: "page" },
    el("header", { class: "top" }, el("span", { class: "mark", "aria-hidden": "true" }, icon("chat")), title,
      el("div", { class: "frame-tools" }, el("a", { class: "text-button", href: "#/" }, t("sign_in")), languageButton(), themeButton())),
    main));
  frame = { list: el("ul"), nav: el("ul"), side: el("nav"), opener: el("button"), title, main };
  document.documentElement.lang = currentLanguage();
  render();
}

function startNew() {
  newConversation();
  go("");
}

function signOut() {
  key.clear();
  showSignIn();
}

/** Shows the screen at `#/name`, also where it is the one that is shown. */
function go(name) {
  const address = name ? `#/${name}` : location.pathname;
  if (screenName() !== name) history.pushState(null, "", address);
  render();
  menu(false, { keepFocus: true });
}

function leave() {
  root.classList.remove("menu-open");
  screen?.stop?.();
  screen = null;
  frame = null;
}

async function render() {
  screen?.stop?.();
  screen = null;
  fillMenu();
  const name = screenName();
  if (name === "") {
    screen = new Chat({
      conversation: currentConversation(),
      onKeyRefused: () => showSignIn(t("signed_out_bad_key")),
      onChange: fillMenu,
    });
  } else {
    const { default: make } = await SCREENS.find((s) => s.name === name).load();
    if (screenName() !== name) return;
    screen = make({ onKeyRefused: () => showSignIn(t("signed_out_bad_key")), rest: restOfAddress(), setTitle });
  }
  frame.main.replaceChildren(screen.node);
  screen.start();
  if (name !== "") frame.main.focus({ preventScroll: true });
  else if (matchMedia("(pointer: fine)").matches) screen.input.focus();
}

function show() {
  if (!key.get()) {
    if (SCREENS.find((s) => s.name === screenName())?.open) showAlone();
    else showSignIn();
    return;
  }
  root.classList.remove("alone");
  screen?.stop?.();
  buildFrame();
  render();
}

addEventListener("hashchange", () => {
  if (key.takeFromAddress() || !key.get()) show();
  else if (frame) {
    render();
    menu(false, { keepFocus: true });
  }
});
addEventListener("popstate", () => { if (frame && !location.hash) render(); });

applyTheme();
key.takeFromAddress();
show();
