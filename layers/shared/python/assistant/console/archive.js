// Everybody's stored conversations, for an administrator with a reason: found, read, exported, erased. Each look is in the audit log.

import { api } from "./api.js";
import { el, icon, iconButton } from "./dom.js";
import { renderMarkdown } from "./markdown.js";
import { ask, download, field, nothing, refuse, screen, select, table, textInput, when } from "./ui.js";
import { addWords, t } from "./words.js";

addWords({
  en: {
    archive_intro: "What people wrote is theirs. Give a reason before you look; your name, the reason and the conversation go into the audit log.",
    archive_person: "Person", archive_person_help: "PLATFORM:USER, for example slack:U123. Empty: everybody.", archive_platform: "Platform", archive_any: "any", archive_words: "Words in it",
    archive_words_help: "Looks through the newest 100 turns of each conversation. Needs a reason.", archive_why: "Reason (kept in the audit log)", archive_find: "Find", archive_where: "Conversation", archive_last: "Last message",
    archive_empty: "No conversations found", archive_empty_more: "Change the filter, or wait: a conversation appears here with its first message.", archive_fresh: "Nobody has written yet", archive_fresh_more: "Conversations appear here with their first message. Try one yourself.",
    archive_chat: "To the chat", archive_more: "Show more", archive_read: "Read", archive_read_this: "Read the conversation of {person}", archive_export: "Export", archive_export_this: "Export the conversation of {person}", archive_erase: "Erase",
    archive_erase_this: "Erase the conversation of {person}", archive_ask_read: "Why do you read this conversation?", archive_ask_export: "Why do you export this conversation?", archive_ask_erase: "Erase this conversation?",
    archive_erase_more: "All of its turns and traces are deleted for everybody who wrote in it. This cannot be undone.", archive_short: "Say in a few words why.", archive_erased: "Erased: {count} entries.", archive_back: "All conversations",
    archive_of: "Conversation of {person}", archive_asked: "{person} asked", archive_answered: "Answered", archive_failed: "Not answered: {reason}", archive_no_text: "(no text)", archive_extract: "Found", archive_older: "Read on",
  },
  "zh-CN": {
    archive_intro: "用户写的内容属于用户本人。查看前请说明理由；你的身份、理由和对话编号都会写入审计日志。",
    archive_person: "人员", archive_person_help: "格式为 平台:用户，例如 slack:U123。留空表示所有人。", archive_platform: "平台", archive_any: "不限", archive_words: "包含文字",
    archive_words_help: "在每个对话最近的 100 轮中查找，需要说明理由。", archive_why: "理由（写入审计日志）", archive_find: "查找", archive_where: "对话", archive_last: "最近消息",
    archive_empty: "没有找到对话", archive_empty_more: "请修改筛选条件；对话在第一条消息之后就会出现在这里。", archive_fresh: "还没有人写过消息", archive_fresh_more: "对话在第一条消息之后就会出现在这里，可以先自己试一试。",
    archive_chat: "去聊天", archive_more: "显示更多", archive_read: "查看", archive_read_this: "查看{person}的对话", archive_export: "导出", archive_export_this: "导出{person}的对话", archive_erase: "删除",
    archive_erase_this: "删除{person}的对话", archive_ask_read: "为什么要查看这个对话？", archive_ask_export: "为什么要导出这个对话？", archive_ask_erase: "删除这个对话？",
    archive_erase_more: "其中所有人的内容和痕迹都会被删除，无法恢复。", archive_short: "请简单说明理由。", archive_erased: "已删除 {count} 项。", archive_back: "全部对话",
    archive_of: "{person}的对话", archive_asked: "{person}的提问", archive_answered: "回答", archive_failed: "没有回答：{reason}", archive_no_text: "（无文字）", archive_extract: "匹配内容", archive_older: "继续查看",
  },
});

const PLATFORMS = ["feishu", "dingtalk", "wecom", "slack", "teams", "webchat"];
const path = (id, values) => `/api/archive/${encodeURIComponent(id)}?${new URLSearchParams(values)}`;
const personOf = (c) => `${c.platform}:${c.person}`;

/** The screen of everybody's conversations. */
export default function archive({ onKeyRefused }) {
  const person = textInput("", { type: "search" });
  const platform = select([["", t("archive_any")], ...PLATFORMS.map((p) => [p, p])], "");
  const words = textInput("", { type: "search", oninput: () => { whyField.hidden = !words.value.trim(); } });
  const why = textInput("", { maxlength: "500" });
  const whyField = field(t("archive_why"), why);
  whyField.hidden = true;
  const results = el("div", { "aria-live": "polite" });
  const form = el("form", { class: "filter", onsubmit: (event) => { event.preventDefault(); find(); } },
    el("div", { class: "fields" }, field(t("archive_person"), person, t("archive_person_help")), field(t("archive_platform"), platform), field(t("archive_words"), words, t("archive_words_help")), whyField),
    el("div", { class: "toolbar" }, el("button", { type: "submit", class: "primary" }, t("archive_find"))));
  const own = screen({ intro: t("archive_intro"), onKeyRefused, load: async () => {
    await find();
    return [form, results];
  } });

  const find = (cursor = "", before = []) => own.attempt(async () => {
    const asked = { person: person.value.trim(), platform: platform.value, words: words.value.trim(), why: why.value.trim(), cursor };
    if (asked.words && asked.why.length < 4) {
      whyField.hidden = false;
      why.setAttribute("aria-invalid", "true");
      why.focus();
      return;
    }
    why.removeAttribute("aria-invalid");
    const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value));
    const { conversations, cursor: next } = await api.get(`/api/archive?${new URLSearchParams(given)}`, { seconds: 30 });
    const all = [...before, ...conversations];
    if (own.stopped) return;
    results.replaceChildren(...(all.length ? [list(all, Boolean(asked.words))] : [empty(asked)]), ...(next ? [el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => find(next, all) }, t("archive_more")))] : []));
  }, results);

  const empty = (asked) => (asked.person || asked.platform || asked.words
    ? nothing(t("archive_empty"), t("archive_empty_more"))
    : nothing(t("archive_fresh"), t("archive_fresh_more"), el("a", { class: "secondary", href: "#/" }, t("archive_chat"))));

  const list = (found, extracts) => table(t("nav_archive"), [t("archive_person"), t("archive_where"), ...(extracts ? [t("archive_extract")] : []), t("archive_last"), ""],
    found.map((c) => [el("span", {}, c.person, el("br"), el("span", { class: "muted small" }, c.platform)), el("code", {}, c.conversation), ...(extracts ? [el("span", { dir: "auto" }, c.extract)] : []), when(c.at), el("div", { class: "acts" },
      iconButton("book", t("archive_read_this", { person: personOf(c) }), () => because(t("archive_ask_read"), t("archive_read"), (reason) => read(c, reason)), { class: "icon-button small" }),
      iconButton("download", t("archive_export_this", { person: personOf(c) }), () => because(t("archive_ask_export"), t("archive_export"), (reason) => save(c, reason)), { class: "icon-button small" }),
      iconButton("trash", t("archive_erase_this", { person: personOf(c) }), () => erase(c), { class: "icon-button small" }))]));

  function because(title, label, act, more = {}) {
    const reason = textInput(why.value, { maxlength: "500" });
    ask({ host: own.node, title, label, onKeyRefused, fields: [field(t("archive_why"), reason)], ...more, act: () => {
      if (reason.value.trim().length < 4) throw refuse(t("archive_short"));
      return act(reason.value.trim());
    } });
  }

  const erase = (c) => because(t("archive_ask_erase"), t("archive_erase"), async (reason) => {
    let count = 0;
    let cursor = "";
    do {
      const part = await api.remove(path(c.id, { why: reason, cursor }), { seconds: 60 });
      count += part.erased;
      cursor = part.cursor;
    } while (cursor);
    own.done(t("archive_erased", { count }));
    own.body.replaceChildren(form, results);
    await find();
  }, { danger: true, text: t("archive_erase_more") });

  async function save(c, reason) {
    const turns = [];
    let cursor = "";
    do {
      const part = await api.get(path(c.id, { why: reason, cursor, export: "true" }), { seconds: 60 });
      turns.push(...part.turns);
      cursor = part.cursor;
    } while (cursor);
    download(`conversation-${c.platform}-${c.person}.json`.replace(/[^\w.-]+/g, "_"), { person: personOf(c), conversation: c.conversation, turns });
  }

  async function read(c, reason) {
    const part = await api.get(path(c.id, { why: reason }), { seconds: 30 });
    const turns = el("ol", { class: "transcript" }, part.turns.map((turn) => shown(c, turn)));
    const more = el("div", { class: "toolbar" });
    const on = (cursor) => more.replaceChildren(...(cursor ? [el("button", { type: "button", class: "secondary", onclick: () => own.attempt(async () => {
      const next = await api.get(path(c.id, { why: reason, cursor }), { seconds: 30 });
      turns.append(...next.turns.map((turn) => shown(c, turn)));
      on(next.cursor);
    }, more) }, t("archive_older"))] : []));
    on(part.cursor);
    const title = el("h2", { tabindex: "-1", dir: "auto" }, t("archive_of", { person: personOf(c) }));
    own.body.replaceChildren(el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => { own.body.replaceChildren(form, results); person.focus(); } }, t("archive_back")),
      el("button", { type: "button", class: "secondary", onclick: () => save(c, reason).catch((error) => own.fail(error)) }, icon("download"), t("archive_export")),
      el("button", { type: "button", class: "secondary danger", onclick: () => erase(c) }, icon("trash"), t("archive_erase"))), title, turns, more);
    setTimeout(() => title.focus());
  }

  return own;
}

function shown(c, turn) {
  const answer = el("div", { class: "body", dir: "auto" });
  renderMarkdown(answer, turn.text || (turn.reason ? t("archive_failed", { reason: turn.reason }) : t("archive_no_text")));
  return el("li", { class: "doctor-card" }, el("p", { class: "muted small" }, `${t("archive_asked", { person: turn.user })} · ${when(turn.at)}`), el("p", { class: "asked-text", dir: "auto" }, turn.question || t("archive_no_text")),
    el("p", { class: "muted small" }, [t("archive_answered"), turn.model, turn.sources.join(", ")].filter(Boolean).join(" · ")), answer);
}

