// One person's data: given as a file, or erased everywhere.

import { api } from "./api.js";
import { el, icon } from "./dom.js";
import { ask, download, field, number, refuse, screen, textInput } from "./ui.js";
import { addWords, t } from "./words.js";

addWords({
  en: {
    privacy_intro: "What is known about one person: turns, facts, consents, spending and what plug-ins keep. Export it for them, or erase it everywhere. Both are in the audit log.", privacy_person: "Person",
    privacy_person_help: "PLATFORM:USER, for example slack:U123 or webchat:ann. The platform's own id, as in the audit log and the list of conversations.", privacy_export: "Export", privacy_erase: "Erase…", privacy_missing: "Name the person as PLATFORM:USER, for example slack:U123.",
    privacy_reading: "Reading… {count} turns so far.", privacy_erasing: "Erasing… {count} entries so far.", privacy_found: "{turns} turns, {facts} facts and {allowed} consents of {person} are in the file.", privacy_nothing: "Nothing is known about {person}. Check the id.",
    privacy_ask: "Erase everything about {person}?", privacy_ask_more: "Turns, facts, consents (taken back at their providers), dead letters and unanswered questions are deleted. The audit log and the rings' lists stay. This cannot be undone.", privacy_type: "Enter the person once more to confirm",
    privacy_different: "This is not {person}. Enter it exactly.", privacy_do: "Erase everything", privacy_done: "Erased: {count} entries of {person}.", privacy_keep: "How long things are kept", privacy_keep_more: "Turns are deleted after {days} days, or earlier where a ring says so; set RETENTION_DAYS, or the days of a ring.", privacy_rings: "To the rings",
  },
  "zh-CN": {
    privacy_intro: "关于一个人的全部数据：对话、记忆、授权、用量以及插件保存的内容。可以为本人导出，或全部删除。两者都会写入审计日志。", privacy_person: "人员",
    privacy_person_help: "格式为 平台:用户，例如 slack:U123 或 webchat:ann，即审计日志和对话列表中的平台编号。", privacy_export: "导出", privacy_erase: "删除…", privacy_missing: "请按 平台:用户 填写，例如 slack:U123。",
    privacy_reading: "正在读取… 已有 {count} 轮对话。", privacy_erasing: "正在删除… 已删除 {count} 项。", privacy_found: "文件包含{person}的 {turns} 轮对话、{facts} 条记忆和 {allowed} 项授权。", privacy_nothing: "没有关于{person}的数据，请检查编号。",
    privacy_ask: "删除{person}的全部数据？", privacy_ask_more: "对话、记忆、授权（同时在提供方撤销）、死信和未答上的问题都会删除。审计日志和灰度名单会保留。此操作无法恢复。", privacy_type: "请再次输入人员以确认",
    privacy_different: "与{person}不一致，请准确输入。", privacy_do: "全部删除", privacy_done: "已删除{person}的 {count} 项数据。", privacy_keep: "保留期限", privacy_keep_more: "对话在 {days} 天后删除，灰度环可以设置更短的期限；由 RETENTION_DAYS 或环的天数决定。", privacy_rings: "打开灰度发布",
  },
});

/** The screen of a person's data. */
export default function privacy({ onKeyRefused }) {
  const person = textInput("", {});
  const state = el("div", { "aria-live": "polite" });
  const form = el("form", { class: "card-form doctor-card", novalidate: true, onsubmit: (event) => { event.preventDefault(); checked(save); } }, field(t("privacy_person"), person, t("privacy_person_help")),
    el("div", { class: "toolbar" }, el("button", { type: "submit", class: "primary" }, icon("download"), t("privacy_export")), el("button", { type: "button", class: "secondary danger", onclick: () => checked(erase) }, icon("trash"), t("privacy_erase"))));
  const own = screen({ intro: t("privacy_intro"), onKeyRefused, load: async () => {
    const kept = await api.get("/api/setup").then((s) => s.settings.retention_days).catch(() => 0);
    return [form, state, kept ? el("section", { class: "doctor-card" }, el("h2", {}, t("privacy_keep")), el("p", {}, t("privacy_keep_more", { days: kept })), el("p", {}, el("a", { href: "#/rings" }, t("privacy_rings")))) : null];
  } });
  const say = (text, look = "muted") => state.replaceChildren(el("p", { class: look }, text));
  const address = (cursor) => `/api/people/${encodeURIComponent(person.value.trim())}?${new URLSearchParams({ cursor })}`;

  function checked(act) {
    const good = /^[^:]+:.+$/.test(person.value.trim());
    person.toggleAttribute("aria-invalid", !good);
    if (good) return act();
    say(t("privacy_missing"), "problem");
    person.focus();
    return undefined;
  }

  const save = () => own.attempt(async () => {
    const turns = [];
    let part;
    let cursor = "";
    do {
      part = await api.get(address(cursor), { seconds: 60 });
      turns.push(...part.turns);
      cursor = part.cursor;
      say(t("privacy_reading", { count: number(turns.length) }));
    } while (cursor);
    const { about } = part;
    const who = person.value.trim();
    const counts = { turns: turns.length, facts: about.facts?.length ?? 0, allowed: Object.keys(about.allowed ?? {}).length };
    if (!turns.length && !counts.facts && !counts.allowed && !Object.keys(about.plugins ?? {}).length) return say(t("privacy_nothing", { person: who }));
    download(`${who}.json`.replace(/[^\w.-]+/g, "_"), { ...about, turns });
    return say(t("privacy_found", { person: who, ...counts }), "verdict good");
  }, state);

  function erase() {
    const who = person.value.trim();
    const again = textInput("", {});
    ask({ host: own.node, title: t("privacy_ask", { person: who }), text: t("privacy_ask_more"), label: t("privacy_do"), danger: true, onKeyRefused, fields: [field(t("privacy_type"), again)],
      act: async () => {
        if (again.value.trim() !== who) throw refuse(t("privacy_different", { person: who }));
        let count = 0;
        let cursor = "";
        do {
          const part = await api.remove(address(cursor), { seconds: 60 });
          count += part.erased;
          cursor = part.cursor;
          say(t("privacy_erasing", { count: number(count) }));
        } while (cursor);
        say(t("privacy_done", { count: number(count), person: who }), "verdict good");
      } });
  }

  return own;
}
