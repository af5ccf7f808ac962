// Rings: who is served, and step by step who is next. Each change names who made it and why, and can be taken back.

import { api } from "./api.js";
import { announce, el, icon, kept } from "./dom.js";
import { addWords, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    rings_intro: "New things reach people ring by ring. Every change is kept with who made it and why, and can be taken back.",
    rings_loading: "Looking…", rings_internal: "Internal", rings_department: "Department", rings_everyone: "Everyone",
    rings_served: "served", rings_waiting: "not yet served", rings_halted: "Halted: no further ring until it is resumed.", rings_nobody: "Nobody is served at the moment.",
    rings_promote: "Serve “{ring}” as well", rings_halt: "Halt", rings_resume: "Resume", rings_rollback: "Take the last change back", rings_edit: "Edit", rings_edit_ring: "Edit ring “{ring}”",
    rings_people: "People", rings_chats: "Chats", rings_share: "Share of all others", rings_model: "Model", rings_plugins: "Plug-ins", rings_capacity: "Most people that may be named",
    rings_of: "{count} of {capacity}", rings_configured: "as configured", rings_rest: "all others",
    rings_one_per_line: "One on each line, as PLATFORM:ID, for example slack:U123.", rings_commas: "Names, separated by commas. Empty: as configured.", rings_model_help: "For example openai:MODEL@BASE_URL. Empty: as configured.",
    rings_capacity_help: "0: no limit.", rings_percent: "In percent. The same people are chosen each time, so that a growing share only adds people.",
    rings_outside: "Somebody outside the rings gets", rings_word: "one polite message", rings_silence: "nothing", rings_save: "Save", rings_cancel: "Cancel",
    rings_why: "Why? (kept in the history)", rings_who: "Your name", rings_do: "Do it", rings_ask_promote: "Serve ring “{ring}” as well?", rings_ask_halt: "Halt the roll-out?",
    rings_ask_resume: "Resume the roll-out?", rings_ask_rollback: "Take the last change back?", rings_ask_outside: "Change what people outside get?",
    rings_soon: "It reaches every function within half a minute.", rings_done: "Done. It reaches every function within half a minute.",
    rings_history: "History", rings_no_history: "Nothing was changed yet. A new installation serves everyone.", rings_when: "When", rings_what: "What", rings_by: "Who", rings_reason: "Why",
  },
  "zh-CN": {
    rings_intro: "新功能一环一环地开放。每次变更都会记录是谁、为什么，并且可以撤回。",
    rings_loading: "正在查看…", rings_internal: "内部", rings_department: "部门", rings_everyone: "全公司",
    rings_served: "已开放", rings_waiting: "尚未开放", rings_halted: "已暂停：恢复之前不会推进到下一环。", rings_nobody: "目前没有对任何人开放。",
    rings_promote: "开放“{ring}”", rings_halt: "暂停", rings_resume: "恢复", rings_rollback: "撤回上一次变更", rings_edit: "编辑", rings_edit_ring: "编辑“{ring}”",
    rings_people: "人员", rings_chats: "聊天", rings_share: "其余人员的比例", rings_model: "模型", rings_plugins: "插件", rings_capacity: "最多可指定的人数",
    rings_of: "{count} / {capacity}", rings_configured: "按默认配置", rings_rest: "其余所有人",
    rings_one_per_line: "每行一个，格式为 平台:ID，例如 slack:U123。", rings_commas: "用逗号分隔。留空则按默认配置。", rings_model_help: "例如 openai:MODEL@BASE_URL。留空则按默认配置。",
    rings_capacity_help: "0 表示不限。", rings_percent: "百分比。每次选中的人相同，比例提高时只会增加人员。",
    rings_outside: "范围之外的人会收到", rings_word: "一条礼貌的说明", rings_silence: "不回复", rings_save: "保存", rings_cancel: "取消",
    rings_why: "原因（会记录在历史里）", rings_who: "你的姓名", rings_do: "确定", rings_ask_promote: "开放“{ring}”这一环？", rings_ask_halt: "暂停灰度发布？",
    rings_ask_resume: "恢复灰度发布？", rings_ask_rollback: "撤回上一次变更？", rings_ask_outside: "修改范围之外的人收到的内容？",
    rings_soon: "半分钟内在所有函数生效。", rings_done: "已完成，半分钟内在所有函数生效。",
    rings_history: "历史", rings_no_history: "还没有任何变更。新安装的助手对所有人开放。", rings_when: "时间", rings_what: "变更", rings_by: "操作人", rings_reason: "原因",
  },
});

const ORDER = ["internal", "department", "everyone"];
const author = kept(localStorage, "author", "");

const nameOf = (ring) => (ORDER.includes(ring) ? t(`rings_${ring}`) : ring);

/** The screen of the rings. */
export default function rings({ onKeyRefused }) {
  let stopped = false;
  const note = el("p", { class: "verdict good", hidden: true });
  const body = el("div", { class: "rings" }, el("p", { class: "muted" }, t("rings_loading")));
  const node = el("div", { class: "panel" }, el("div", { class: "panel-head" }, el("p", { class: "muted" }, t("rings_intro"))), note, body);

  async function load() {
    try {
      const [state, { changes = [] }] = await Promise.all([api.get("/api/rollout"), api.get("/api/rollout/history")]);
      if (!stopped) body.replaceChildren(...show(state, changes));
    } catch (error) {
      if (stopped) return;
      if (error.kind === "key") onKeyRefused();
      else body.replaceChildren(el("p", { class: "verdict bad", role: "alert" }, icon("alert"), errorText(error)));
    }
  }

  function show(state, changes) {
    const reached = ORDER.indexOf(state.reached);
    const next = ORDER[reached + 1];
    const act = (label, action, question, { primary = false, disabled = false } = {}) => el("button", {
      type: "button", class: primary ? "primary" : "secondary", disabled, onclick: () => ask(question, (by) => ({ action, ...by })),
    }, label);
    return [
      state.halted ? el("p", { class: "verdict bad" }, icon("alert"), t("rings_halted")) : null,
      reached < 0 ? el("p", { class: "verdict bad" }, icon("alert"), t("rings_nobody")) : null,
      el("div", { class: "toolbar" },
        next ? act(t("rings_promote", { ring: nameOf(next) }), "promote", t("rings_ask_promote", { ring: nameOf(next) }), { primary: true, disabled: state.halted }) : null,
        state.halted
          ? el("button", { type: "button", class: "secondary", onclick: () => ask(t("rings_ask_resume"), (by) => ({ action: "set", changes: { halted: false }, ...by })) }, t("rings_resume"))
          : act(t("rings_halt"), "halt", t("rings_ask_halt")),
        act(t("rings_rollback"), "rollback", t("rings_ask_rollback"), { disabled: state.edition === 0 })),
      el("ol", { class: "ring-cards" }, state.rings.map((ring) => card(ring, ORDER.indexOf(ring.name) <= reached))),
      outside(state),
      el("h2", {}, t("rings_history")),
      history(changes),
    ].filter(Boolean);
  }

  function card(ring, served) {
    const facts = [
      [t("rings_people"), ring.capacity ? t("rings_of", { count: ring.people.length, capacity: ring.capacity }) : String(ring.people.length)],
      [t("rings_chats"), String(ring.chats.length)],
      [t("rings_share"), ring.share === 1 ? t("rings_rest") : `${Math.round(ring.share * 1000) / 10} %`],
      [t("rings_model"), ring.model || t("rings_configured")],
      [t("rings_plugins"), ring.plugins.join(", ") || t("rings_configured")],
    ];
    return el("li", { class: "doctor-card" },
      el("div", { class: "doctor-head" }, el("h2", {}, nameOf(ring.name)), el("span", { class: `badge ${served ? "good" : ""}` }, t(served ? "rings_served" : "rings_waiting"))),
      el("dl", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      el("button", { type: "button", class: "secondary", "aria-label": t("rings_edit_ring", { ring: nameOf(ring.name) }), onclick: () => edit(ring) }, t("rings_edit")));
  }

  function outside(state) {
    const choice = (value) => el("label", {}, el("input", { type: "radio", name: "outside", value, checked: state.outside === value, onchange: () =>
      ask(t("rings_ask_outside"), (by) => ({ action: "set", changes: { outside: value }, ...by }), load) }), t(`rings_${value}`));
    return el("fieldset", { class: "outside" }, el("legend", {}, t("rings_outside")), choice("word"), choice("silence"));
  }

  function history(changes) {
    if (!changes.length) return el("p", { class: "muted" }, t("rings_no_history"));
    const when = new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "short" });
    return el("div", { class: "table", role: "region", tabindex: "0", "aria-label": t("rings_history") }, el("table", {},
      el("thead", {}, el("tr", {}, ["rings_when", "rings_what", "rings_by", "rings_reason"].map((name) => el("th", { scope: "col" }, t(name))))),
      el("tbody", {}, changes.map((change) => el("tr", {}, el("td", {}, when.format(change.at * 1000)), el("td", {}, change.what), el("td", {}, change.who), el("td", {}, change.why))))));
  }

  // --- changing ------------------------------------------------------------------------------

  /** A dialog with `fields`; `make(by)` gives the change to send, or a text that says what is wrong. */
  function ask(question, make, onCancel = null, fields = []) {
    const who = el("input", { id: "rings-who", autocomplete: "name", maxlength: "200" });
    who.value = author.get();
    const why = el("input", { id: "rings-why", maxlength: "1000" });
    const problem = el("p", { class: "problem", role: "alert", hidden: true });
    let done = false;
    const dialog = el("dialog", { "aria-labelledby": "rings-ask", onclose: () => {
      dialog.remove();
      if (!done) onCancel?.();
    } }, el("form", { onsubmit: async (event) => {
      event.preventDefault();
      author.set(who.value.trim());
      try {
        await api.post("/api/rollout", make({ who: who.value.trim(), why: why.value.trim() }));
        done = true;
        dialog.close();
        note.replaceChildren(icon("check"), t("rings_done"));
        note.hidden = false;
        announce(t("rings_done"));
        await load();
      } catch (error) {
        if (error.kind === "key") {
          dialog.close();
          onKeyRefused();
          return;
        }
        problem.textContent = errorText(error);
        problem.hidden = false;
      }
    } }, el("h2", { id: "rings-ask" }, question), el("p", {}, t("rings_soon")), fields,
      el("label", { for: "rings-why" }, t("rings_why")), why, el("label", { for: "rings-who" }, t("rings_who")), who, problem,
      el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, t("rings_cancel")), el("button", { type: "submit", class: "primary" }, t("rings_do")))));
    node.append(dialog);
    dialog.showModal();
    (fields.length ? dialog.querySelector("textarea, input") : why).focus();
  }

  function edit(ring) {
    const lines = (id, values) => Object.assign(el("textarea", { id, rows: "3", spellcheck: "false", "aria-describedby": `${id}-help` }), { value: values.join("\n") });
    const people = lines("ring-people", ring.people);
    const chats = lines("ring-chats", ring.chats);
    const share = Object.assign(el("input", { id: "ring-share", type: "number", min: "0", max: "100", step: "0.1", "aria-describedby": "ring-share-help" }), { value: String(Math.round(ring.share * 1000) / 10) });
    const capacity = Object.assign(el("input", { id: "ring-capacity", type: "number", min: "0", step: "1", "aria-describedby": "ring-capacity-help" }), { value: String(ring.capacity) });
    const model = Object.assign(el("input", { id: "ring-model", spellcheck: "false", "aria-describedby": "ring-model-help" }), { value: ring.model });
    const plugins = Object.assign(el("input", { id: "ring-plugins", spellcheck: "false", "aria-describedby": "ring-plugins-help" }), { value: ring.plugins.join(", ") });
    const field = (name, input, help) => [el("label", { for: input.id }, t(name)), input, el("span", { class: "muted small", id: `${input.id}-help` }, t(help))];
    const split = (text, by) => text.split(by).map((part) => part.trim()).filter(Boolean);
    ask(t("rings_edit_ring", { ring: nameOf(ring.name) }), (by) => ({
      action: "set", ring: ring.name, ...by,
      changes: {
        people: split(people.value, /[\n,]/), chats: split(chats.value, /[\n,]/), share: Math.min(100, Number(share.value) || 0) / 100, capacity: Math.trunc(Number(capacity.value) || 0),
        model: model.value.trim(), plugins: split(plugins.value, ","),
      },
    }), null, [
      field("rings_people", people, "rings_one_per_line"), field("rings_chats", chats, "rings_one_per_line"), field("rings_share", share, "rings_percent"),
      field("rings_capacity", capacity, "rings_capacity_help"), field("rings_model", model, "rings_model_help"), field("rings_plugins", plugins, "rings_commas"),
    ].flat());
  }

  return { node, start: load, stop() { stopped = true; } };
}
