// What the screens are made of: a screen that loads, tables, forms in dialogs, things to copy and to keep.

import { announce, copyText, el, icon, iconButton } from "./dom.js";
import { addWords, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    ui_loading: "Loading…", ui_cancel: "Cancel", ui_close: "Close", ui_reload: "Refresh", ui_copy: "Copy {what}", ui_copied: "Copied", ui_never: "never", ui_try_again: "Try again",
    ui_older: "Older", ui_working: "Working…", ui_forbidden_title: "Not for your role", ui_failed_title: "This could not be loaded",
    ui_actions: "Actions",
  },
  "zh-CN": {
    ui_loading: "正在载入…", ui_cancel: "取消", ui_close: "关闭", ui_reload: "刷新", ui_copy: "复制{what}", ui_copied: "已复制", ui_never: "从未", ui_try_again: "重试",
    ui_older: "更早的", ui_working: "正在处理…", ui_forbidden_title: "你的角色没有这项权限", ui_failed_title: "无法载入",
    ui_actions: "操作",
  },
});

/** "3 Feb 2026, 14:05" for Unix seconds (or ms), "never" for 0. */
export function when(value, never = t("ui_never")) {
  if (!value) return never;
  return new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "short" }).format(value > 1e11 ? value : value * 1000);
}

export const number = (value, options = {}) => new Intl.NumberFormat(currentLanguage(), { maximumFractionDigits: 2, ...options }).format(value);

/**
 * A screen: an introduction, tools beside it, and a body that `load` fills. `load(body)` gives nodes, or fills the body itself.
 * What goes wrong is said in the body with a way to try again.
 */
export function screen({ intro, tools = [], load, onKeyRefused, wide = false }) {
  let stopped = false;
  const note = el("p", { class: "verdict good", hidden: true });
  const body = el("div", { class: "panel-body" });
  const reload = el("button", { type: "button", class: "quiet", onclick: () => start() }, icon("retry"), t("ui_reload"));
  const node = el("div", { class: `panel ${wide ? "wide" : ""}` }, el("div", { class: "panel-head" }, el("p", { class: "muted" }, intro), el("div", { class: "panel-tools" }, tools, reload)), note, body);

  async function start() {
    if (!body.hasChildNodes()) body.replaceChildren(el("p", { class: "muted", "data-loading": true }, t("ui_loading")));
    reload.disabled = true;
    try {
      const nodes = await load(body);
      if (!stopped && nodes) body.replaceChildren(...[nodes].flat().filter(Boolean));
    } catch (error) {
      fail(error);
    } finally {
      reload.disabled = false;
    }
  }

  function fail(error, where = body) {
    if (stopped) return;
    if (error.kind === "key") onKeyRefused();
    else if (!error.kind) throw error;
    else where.replaceChildren(trouble(error, start));
  }

  return {
    node, body, start, fail,
    stop() { stopped = true; },
    get stopped() { return stopped; },
    /** Says what was done, above the body and to a screen reader. */
    done(text) {
      note.replaceChildren(icon("check"), text);
      note.hidden = false;
      announce(text);
    },
    /** Runs `work`; what goes wrong is said in `where`. */
    async attempt(work, where = body) {
      try {
        return await work();
      } catch (error) {
        fail(error, where);
        return undefined;
      }
    },
  };
}

/** What went wrong, and the next step. */
export function trouble(error, again = null) {
  return el("div", { class: "nothing bad", role: "alert" }, icon(error.kind === "forbidden" ? "key" : "alert"),
    el("h2", {}, t(error.kind === "forbidden" ? "ui_forbidden_title" : "ui_failed_title")), el("p", {}, errorText(error)),
    again && error.kind !== "forbidden" ? el("button", { type: "button", class: "secondary", onclick: again }, icon("retry"), t("ui_try_again")) : null);
}

/** An empty state: what would stand here, and what to do. */
export const nothing = (title, more, action = null) => el("div", { class: "nothing" }, el("h2", {}, title), el("p", {}, more), action);

/**
 * A table that becomes a list of cards on a phone. `heads`: words ("" for a column of buttons); `rows`: lists of cells, each a
 * node or text. The first cell of a row names it.
 */
export function table(label, heads, rows, { ends = [] } = {}) {
  const cell = (content, column, row) => {
    const attributes = { role: column === 0 ? "rowheader" : "cell", "data-label": heads[column], class: [ends.includes(column) ? "align-end" : "", heads[column] ? "" : "acts"].join(" ").trim() || null };
    return column === 0 ? el("th", { scope: "row", dir: "auto", ...attributes }, content) : el("td", attributes, row[column]);
  };
  return el("div", { class: "table stack", role: "region", tabindex: "0", "aria-label": label }, el("table", { role: "table", "aria-label": label },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map((head, column) => (head
      ? el("th", { scope: "col", role: "columnheader", class: ends.includes(column) ? "align-end" : null }, head)
      : el("th", { scope: "col", role: "columnheader" }, el("span", { class: "visually-hidden" }, t("ui_actions"))))))),
    el("tbody", { role: "rowgroup" }, rows.map((row) => el("tr", { role: "row" }, row.map((content, column) => cell(content, column, row)))))));
}

/** A field of a form: label, control, help. The control gets an id and its description. */
export function field(label, control, help = "") {
  if (!control.id) control.id = `f${Math.random().toString(36).slice(2, 9)}`;
  if (help) control.setAttribute("aria-describedby", `${control.id}-help`);
  return el("div", { class: "one-field" }, el("label", { for: control.id }, label), control, help ? el("span", { class: "muted small", id: `${control.id}-help` }, help) : null);
}

export const textInput = (value = "", attributes = {}) => Object.assign(el("input", { class: "line", autocomplete: "off", spellcheck: "false", ...attributes }), { value });
export const area = (value = "", attributes = {}) => Object.assign(el("textarea", { class: "line", rows: "3", spellcheck: "false", ...attributes }), { value });
export function select(options, value, attributes = {}) {
  const node = el("select", { class: "line", ...attributes }, options.map(([name, label]) => el("option", { value: name }, label)));
  node.value = value;
  return node;
}
export const checkbox = (label, checked = false, attributes = {}) => {
  const box = el("input", { type: "checkbox", ...attributes });
  box.checked = checked;
  return Object.assign(el("label", { class: "check" }, box, label), { box });
};

/**
 * A question in a dialog. `fields`: nodes between the text and the buttons; `act()` does it: what it throws is shown in the
 * dialog, which stays open; whatever it gives closes it. `onEnd(done)` is called in the end.
 */
export function ask({ host, title, text = "", fields = [], label, danger = false, act, onEnd = () => {}, onKeyRefused = () => {}, large = false }) {
  let done = false;
  const id = `d${Math.random().toString(36).slice(2, 9)}`;
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const go = el("button", { type: "submit", class: danger ? "danger-button" : "primary" }, label);
  const form = el("form", { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    go.disabled = true;
    go.textContent = t("ui_working");
    problem.hidden = true;
    try {
      await act();
      done = true;
      dialog.close();
    } catch (error) {
      if (error.kind === "key") {
        dialog.close();
        onKeyRefused();
        return;
      }
      problem.textContent = error.words ?? errorText(error);
      problem.hidden = false;
    } finally {
      go.disabled = false;
      go.textContent = label;
    }
  } }, el("h2", { id }, title), text ? el("p", {}, text) : null, fields, problem,
    el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, t("ui_cancel")), go));
  const dialog = el("dialog", { "aria-labelledby": id, class: large ? "large" : null, onclose: () => { dialog.remove(); onEnd(done); } }, form);
  host.append(dialog);
  dialog.showModal();
  (dialog.querySelector("input:not([type=hidden]), textarea, select") ?? go).focus();
  return dialog;
}

/** Refuses a form's content in a dialog: `throw refuse("…")`. */
export const refuse = (words) => Object.assign(new Error(words), { kind: "refused", reason: words, words });

/** Something to look at in a dialog. */
export function show({ host, title, content, large = false }) {
  const id = `d${Math.random().toString(36).slice(2, 9)}`;
  const dialog = el("dialog", { "aria-labelledby": id, class: large ? "large" : null, onclose: () => dialog.remove() }, el("div", { class: "dialog-head" }, el("h2", { id, tabindex: "-1" }, title),
    iconButton("close", t("ui_close"), () => dialog.close())), content);
  host.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Text beside a button that copies it. */
export function copyable(text, what = "") {
  const button = iconButton("copy", t("ui_copy", { what }), async () => {
    const copied = await copyText(text);
    button.replaceChildren(icon(copied ? "check" : "copy"));
    announce(t(copied ? "ui_copied" : "copy_failed"));
  }, { class: "icon-button small" });
  return el("span", { class: "copyable" }, el("code", {}, text), button);
}

/** Hands `content` to the browser as a file. */
export function download(name, content) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const badge = (text, look = "") => el("span", { class: `badge ${look}` }, text);
