// The audit log: who did what, when, on what, and how it ended.

import { api } from "./api.js";
import { el } from "./dom.js";
import { badge, field, nothing, screen, select, table, textInput, when } from "./ui.js";
import { addWords, t } from "./words.js";

addWords({
  en: {
    audit_intro: "Every administrative act, noted before it happens and never changed. Nothing that people wrote is in it. It reaches back two years.", audit_who: "Who", audit_who_help: "The key's or account's id, or its beginning.", audit_what: "What",
    audit_what_help: "For example rollout, key, read conversation.", audit_outcome: "How it ended", audit_any: "any", audit_done: "done", audit_refused: "refused", audit_failed: "failed", audit_begun: "begun, no end known", audit_filter: "Filter", audit_when: "When",
    audit_target: "On what", audit_why: "Why", audit_empty: "No acts yet", audit_empty_more: "Whatever an administrator changes or reads will appear here.", audit_none: "Nothing fits the filter", audit_none_more: "Widen it, or look further back.", audit_older: "Show older",
  },
  "zh-CN": {
    audit_intro: "所有管理操作在发生之前就会记录，且不会更改。日志不包含用户写的内容，保留两年。", audit_who: "操作人", audit_who_help: "密钥或账号的编号，或其开头。", audit_what: "操作",
    audit_what_help: "例如 rollout、key、read conversation。", audit_outcome: "结果", audit_any: "不限", audit_done: "已完成", audit_refused: "被拒绝", audit_failed: "失败", audit_begun: "已开始，结果未知", audit_filter: "筛选", audit_when: "时间",
    audit_target: "对象", audit_why: "原因", audit_empty: "还没有操作", audit_empty_more: "管理员的更改和查看都会显示在这里。", audit_none: "没有符合条件的操作", audit_none_more: "请放宽条件，或查看更早的记录。", audit_older: "显示更早的",
  },
});

const OUTCOMES = ["done", "refused", "failed", "begun"];
const LOOKS = { done: "good", refused: "warn", failed: "bad", begun: "warn" };

/** The screen of the audit log. */
export default function audit({ onKeyRefused }) {
  const who = textInput("", { type: "search" });
  const what = textInput("", { type: "search" });
  const outcome = select([["", t("audit_any")], ...OUTCOMES.map((o) => [o, t(`audit_${o}`)])], "");
  const list = el("div", { "aria-live": "polite" });
  const form = el("form", { class: "filter", onsubmit: (event) => { event.preventDefault(); own.attempt(() => fill("", []), list); } },
    el("div", { class: "fields" }, field(t("audit_who"), who, t("audit_who_help")), field(t("audit_what"), what, t("audit_what_help")), field(t("audit_outcome"), outcome)),
    el("div", { class: "toolbar" }, el("button", { type: "submit", class: "secondary" }, t("audit_filter"))));
  const own = screen({ intro: t("audit_intro"), onKeyRefused, load: async () => {
    await fill("", []);
    return [form, list];
  } });

  async function fill(before, shown) {
    const asked = Object.entries({ by: who.value.trim(), what: what.value.trim(), outcome: outcome.value, before, limit: "50" }).filter(([, value]) => value);
    const { acts, cursor } = await api.get(`/api/audit?${new URLSearchParams(asked)}`);
    if (own.stopped) return;
    const all = [...shown, ...acts];
    const filtered = who.value || what.value || outcome.value;
    list.replaceChildren(all.length ? table(t("nav_audit"), [t("audit_when"), t("audit_who"), t("audit_what"), t("audit_target"), t("audit_why"), t("audit_outcome")], all.map(row)) : nothing(t(filtered ? "audit_none" : "audit_empty"), t(filtered ? "audit_none_more" : "audit_empty_more")),
      ...(cursor ? [el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => own.attempt(() => fill(cursor, all), list) }, t("audit_older")))] : []));
  }

  return own;
}

function row(act) {
  const [state, reason] = act.outcome.split(": ");
  return [when(act.at), el("code", {}, act.who), act.what, el("span", { class: "target", dir: "auto" }, act.target), el("span", { dir: "auto" }, act.why), el("span", {}, badge(OUTCOMES.includes(state) ? t(`audit_${state}`) : state, LOOKS[state] ?? ""), reason ? el("span", { class: "muted small" }, ` ${reason}`) : null)];
}
