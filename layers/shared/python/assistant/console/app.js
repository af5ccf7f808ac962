// The page's frame: sign-in, menu, language, appearance, and the screen that the address names.

import { api, key, may, session } from "./api.js";
import { Chat, currentConversation, listConversations, newConversation, openConversation, removeConversation } from "./chat.js";
import { announce, el, icon, iconButton, kept } from "./dom.js";
import { currentLanguage, errorText, setLanguage, t } from "./words.js";

const THEMES = ["system", "light", "dark"];
const theme = kept(localStorage, "theme", "system");
const root = document.getElementById("app");

/**
 * Screens beside the chat: the address `#/name` or `#/name/rest` shows what `load` gives. `open`: also without a key; `role` and
 * `area`: who finds it in the menu.
 */
const SCREENS = [
  { name: "start", group: "setup", icon: "check", label: "nav_start", role: "operator", area: "platforms", load: () => import("./start.js") },
  { name: "platforms", group: "setup", icon: "plug", label: "nav_platforms", role: "operator", area: "platforms", load: () => import("./doctor.js") },
  { name: "knowledge", group: "setup", icon: "search", label: "nav_knowledge", role: "editor", area: "knowledge", load: () => import("./knowledge.js") },
  { name: "rings", group: "setup", icon: "rings", label: "nav_rings", role: "operator", area: "rollout", load: () => import("./rings.js") },
  { name: "plugins", group: "setup", icon: "puzzle", label: "nav_plugins", role: "operator", area: "plugins", load: () => import("./plugins.js") },
  { name: "health", group: "run", icon: "pulse", label: "nav_health", role: "user", load: () => import("./health.js") },
  { name: "letters", group: "run", icon: "inbox", label: "nav_letters", role: "operator", area: "letters", load: () => import("./letters.js") },
  { name: "archive", group: "people", icon: "archive", label: "nav_archive", role: "admin", area: "conversations", load: () => import("./archive.js") },
  { name: "authorisations", group: "people", icon: "shield", label: "nav_authorisations", role: "user", load: () => import("./authorisations.js") },
  { name: "privacy", group: "people", icon: "people", label: "nav_privacy", role: "admin", area: "people", load: () => import("./privacy.js") },
  { name: "keys", group: "people", icon: "key", label: "nav_keys", role: "admin", area: "keys", load: () => import("./keys.js") },
  { name: "audit", group: "people", icon: "list", label: "nav_audit", role: "admin", area: "audit", load: () => import("./audit.js") },
  { name: "docs", group: "help", icon: "book", label: "nav_docs", open: true, role: "user", load: () => import("./docs.js") },
];
const GROUPS = ["setup", "run", "people", "help"];

let screen = null; // what is shown now: {node, start(), stop()}
let frame = null; // the parts of the frame that change

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Sets the appearance by name, also where it follows the system: the stylesheet has each colour once for each. */
function applyTheme() {
  const wanted = theme.get();
  document.documentElement.setAttribute("data-theme", wanted === "system" ? (dark.matches ? "dark" : "light") : wanted);
}
dark.addEventListener("change", applyTheme);

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
  session.forget();
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
  const ways = el("div", { class: "ways", hidden: true });
  offerAccounts(ways);
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
        await session.load();
      } catch (error) {
        key.set(before);
        complain(errorText(error));
        return undefined;
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
    ways,
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

/** Buttons for the company accounts that one can sign in with, where there are any. */
async function offerAccounts(place) {
  let providers = [];
  try {
    ({ providers = [] } = await api.get("/api/sign-in", { withKey: false, seconds: 8 }));
  } catch { /* a key still works */ }
  if (!providers.length) return;
  place.replaceChildren(...providers.map((p) => el("a", { class: "secondary account", href: `/api/sign-in/${encodeURIComponent(p.name)}` }, icon("shield"), t("sign_in_with", { name: p.title }))),
    el("p", { class: "or muted small" }, t("sign_in_or")));
  place.hidden = false;
}

/** Why a sign-in with an account came to nothing, as the address says; taken out of it. */
function problemFromAddress() {
  const found = /^#problem=([\w-]+)$/.exec(location.hash)?.[1];
  if (!found) return "";
  history.replaceState(null, "", location.pathname);
  const words = t(`sign_in_${found.replaceAll("-", "_")}`);
  return words.startsWith("sign_in_") ? t("sign_in_provider_refused") : words;
}

// --- frame -------------------------------------------------------------------------------------

function buildFrame() {
  const closeMenu = () => menu(false);
  const list = el("ul", { class: "conversations" });
  const nav = el("div", { class: "screens" });
  const side = el(
    "nav",
    { id: "side", class: "side", "aria-label": t("menu") },
    el("div", { class: "brand" }, el("span", { class: "mark", "aria-hidden": "true" }, icon("chat")), el("span", {}, t("product")),
      iconButton("close", t("close_menu"), closeMenu, { class: "icon-button phone-only" })),
    el("button", { type: "button", class: "new", onclick: startNew }, icon("plus"), t("new_conversation")),
    el("h2", { class: "side-title" }, t("conversations")),
    list,
    nav,
    el("div", { class: "side-end" }, whoAmI(), el("button", { type: "button", class: "quiet", onclick: signOut }, icon("out"), t("sign_out"))),
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

function whoAmI() {
  const who = session.get();
  return who ? el("p", { class: "who small", dir: "auto" }, el("strong", { title: who.name }, who.id === "webchat" ? t("who_webchat") : who.name), el("span", { class: "muted" }, t(`role_${who.role}`))) : null;
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
  const line = (href, current, sign, label) => el("li", {}, el("a", { href, "aria-current": current ? "page" : null }, icon(sign), t(label)));
  frame.nav.replaceChildren(el("ul", {}, line("#/", name === "", "chat", "nav_chat")), ...GROUPS.map((group) => {
    const shown = SCREENS.filter((s) => s.group === group && may(s.role, s.area));
    return shown.length ? el("section", {}, el("h2", { class: "side-title", id: `group-${group}` }, t(`group_${group}`)),
      el("ul", { "aria-labelledby": `group-${group}` }, shown.map((s) => line(`#/${s.name}`, name === s.name, s.icon, s.label)))) : null;
  }).filter(Boolean));
  setTitle(name === "" ? items.find((item) => item.id === open)?.title || t("new_conversation") : t(SCREENS.find((s) => s.name === name).label));
}

function setTitle(title) {
  frame.title.textContent = title;
  document.title = `${title} · ${t("product")}`;
}

const restOfAddress = () => /^#\/[\w-]+\/([\w./~-]+)/.exec(location.hash)?.[1] ?? "";

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

async function signOut() {
  try {
    await session.end();
    showSignIn();
  } catch {
    showSignIn(t("sign_out_failed"));
  }
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
  const given = key.get();
  const onKeyRefused = () => { // an answer that comes late, to a request with the key before, signs nobody out
    if (frame && key.get() === given) showSignIn(t("signed_out_bad_key"));
  };
  fillMenu();
  const name = screenName();
  if (name === "") {
    screen = new Chat({
      conversation: currentConversation(),
      onKeyRefused,
      onChange: fillMenu,
    });
  } else {
    const { default: make } = await SCREENS.find((s) => s.name === name).load();
    if (screenName() !== name) return;
    screen = make({ onKeyRefused, rest: restOfAddress(), setTitle });
  }
  frame.main.replaceChildren(screen.node);
  frame.main.dataset.screen = name || "chat";
  screen.start();
  if (name !== "") frame.main.focus({ preventScroll: true });
  else if (matchMedia("(pointer: fine)").matches) screen.input.focus();
}

let shows = 0;

async function show() {
  const mine = ++shows;
  const reason = problemFromAddress();
  if (reason) {
    showSignIn(reason);
    return;
  }
  const asked = session.get() ? refresh() : session.load().catch((error) => error);
  if (!session.get()) {
    const answer = await asked;
    if (mine !== shows) return; // the address changed meanwhile, and whatever it names is being shown
    if (answer?.kind === "key" || (answer?.kind && !key.get())) {
      const given = key.get();
      if (SCREENS.find((s) => s.name === screenName())?.open && !given) showAlone();
      else showSignIn(given ? t("signed_out_bad_key") : answer.kind === "key" ? "" : errorText(answer));
      return;
    }
  }
  root.classList.remove("alone");
  screen?.stop?.();
  buildFrame();
  render();
}

/** Looks whether the role has changed since the last time. */
async function refresh() {
  const before = JSON.stringify(session.get());
  const given = key.get();
  try {
    if (JSON.stringify(await session.load()) !== before && frame) show();
  } catch (error) {
    if (error.kind === "key" && frame && key.get() === given) showSignIn(t("signed_out_bad_key"));
  }
}

addEventListener("hashchange", () => {
  if (takeKey() || !frame || root.classList.contains("alone")) show();
  else if (frame) {
    render();
    menu(false, { keepFocus: true });
  }
});
addEventListener("popstate", () => { if (frame && !location.hash) render(); });

/** Signs in with the key in the address, if there is one. */
function takeKey() {
  const before = key.get();
  if (!key.takeFromAddress()) return false;
  const now = key.get();
  if (now !== before) {
    session.forget(); // whoever it was before
    key.set(now);
  }
  return true;
}

applyTheme();
takeKey();
show();
