// API keys: who holds which, a new one, another in its place, the end of one. A secret is shown once.

import { api } from "./api.js";
import { el, icon } from "./dom.js";
import { ask, badge, copyable, field, nothing, number, refuse, screen, select, show, table, textInput, when } from "./ui.js";
import { addWords, t } from "./words.js";

addWords({
  en: {
    keys_intro: "Each program or person gets a key of their own, with no more rights than it needs. A key's secret is shown once and kept nowhere.",
    keys_new: "New key", keys_empty: "No keys yet", keys_empty_more: "So far only the web chat's own key lets people in. Make one for each program, and for each person who works here.",
    keys_name: "Name", keys_name_help: "Who or what will use it.", keys_role: "Role", keys_scopes: "Scopes", keys_all: "all of the role", keys_limit: "Requests a minute", keys_limit_help: "0: no limit.", keys_days: "Days it lives", keys_days_help: "0: until it is revoked.",
    keys_person: "One person only", keys_person_help: "Id of a person of the web chat, for role User: sees and writes only their own conversations. Empty: a program that speaks for many.", keys_used: "Last used", keys_ends: "Ends", keys_no_end: "no end",
    keys_ended: "ended", keys_rotate: "Rotate", keys_rotate_this: "Rotate key {name}", keys_revoke: "Revoke", keys_revoke_this: "Revoke key {name}", keys_make: "Make the key", keys_limit_scopes: "Limit it to some areas",
    keys_scope_help: "Within its role. Nothing chosen: everything that the role may do.", keys_read: "read", keys_change: "read and change", keys_none: "no", keys_secret: "The new key's secret", keys_secret_more: "Copy it now: it cannot be shown again.",
    keys_secret_kept: "I have kept it", keys_rotate_ask: "Make another key in place of “{name}”?", keys_rotate_more: "The new one is alike in everything. The old one goes on working while its holder moves over.", keys_overlap: "Hours in which both work",
    keys_revoke_ask: "Revoke “{name}”?", keys_revoke_more: "Whoever uses it is refused within half a minute. Give hours to let them move to another key first.", keys_after: "Hours until it ends", keys_revoked: "“{name}” ends {when}.", keys_no_limit: "no limit",
    keys_role_user: "chat, and the OpenAI-compatible door", keys_role_editor: "that, and the knowledge", keys_role_operator: "chat, health, dead letters, the rings to read", keys_role_admin: "everything",
    scope_chat: "Chat", scope_knowledge: "Knowledge", scope_conversations: "Conversations of others", scope_rollout: "Rings", scope_plugins: "Plug-ins", scope_platforms: "Platforms and set-up", scope_letters: "Dead letters", scope_figures: "Figures",
    scope_people: "Privacy", scope_authorisations: "Authorisations", scope_keys: "API keys", scope_audit: "Audit log",
  },
  "zh-CN": {
    keys_intro: "每个程序或人员使用自己的密钥，权限按需最小。密钥只显示一次，不保存明文。",
    keys_new: "新建密钥", keys_empty: "还没有密钥", keys_empty_more: "目前只有网页聊天自带的密钥可以登录。请为每个程序和每位工作人员分别创建密钥。",
    keys_name: "名称", keys_name_help: "由谁或什么程序使用。", keys_role: "角色", keys_scopes: "范围", keys_all: "角色的全部权限", keys_limit: "每分钟请求数", keys_limit_help: "0 表示不限。", keys_days: "有效天数", keys_days_help: "0 表示直到吊销。",
    keys_person: "仅限一人", keys_person_help: "网页聊天中的人员编号，仅用于“用户”角色：只能看到和写入自己的对话。留空表示代表多人的程序。", keys_used: "最近使用", keys_ends: "到期", keys_no_end: "不过期",
    keys_ended: "已失效", keys_rotate: "轮换", keys_rotate_this: "轮换密钥 {name}", keys_revoke: "吊销", keys_revoke_this: "吊销密钥 {name}", keys_make: "创建密钥", keys_limit_scopes: "限制到部分范围",
    keys_scope_help: "在角色权限之内。都不选表示角色的全部权限。", keys_read: "只读", keys_change: "读写", keys_none: "无", keys_secret: "新密钥", keys_secret_more: "请现在复制，之后无法再次显示。",
    keys_secret_kept: "我已保存", keys_rotate_ask: "用新密钥替换“{name}”？", keys_rotate_more: "新密钥的设置完全相同。旧密钥在过渡期内继续有效。", keys_overlap: "两者同时有效的小时数",
    keys_revoke_ask: "吊销“{name}”？", keys_revoke_more: "半分钟内使用者就会被拒绝。填写小时数可以先让使用者换用新的密钥。", keys_after: "多少小时后失效", keys_revoked: "“{name}”将于 {when} 失效。", keys_no_limit: "不限",
    keys_role_user: "聊天以及兼容 OpenAI 的接口", keys_role_editor: "以上权限和知识库", keys_role_operator: "聊天、运行状况、死信，查看灰度发布", keys_role_admin: "全部",
    scope_chat: "聊天", scope_knowledge: "知识库", scope_conversations: "他人的对话", scope_rollout: "灰度发布", scope_plugins: "插件", scope_platforms: "平台与设置", scope_letters: "死信", scope_figures: "指标",
    scope_people: "隐私", scope_authorisations: "授权", scope_keys: "API 密钥", scope_audit: "审计日志",
  },
});

const scopeName = (scope) => (scope.endsWith(":read") ? `${t(`scope_${scope.slice(0, -5)}`)} (${t("keys_read")})` : t(`scope_${scope}`));

/** The screen of the API keys. */
export default function keys({ onKeyRefused }) {
  let areas = [];
  const own = screen({
    intro: t("keys_intro"), onKeyRefused,
    tools: [el("button", { type: "button", class: "secondary", onclick: () => make() }, icon("plus"), t("keys_new"))],
    load: async () => {
      const answer = await api.get("/api/keys");
      areas = answer.areas;
      return answer.keys.length ? list(answer.keys) : nothing(t("keys_empty"), t("keys_empty_more"), el("button", { type: "button", class: "secondary", onclick: () => make() }, icon("plus"), t("keys_new")));
    },
  });

  const list = (found) => table(t("nav_keys"), [t("keys_name"), t("keys_role"), t("keys_scopes"), t("keys_limit"), t("keys_used"), t("keys_ends"), ""], found.toSorted((a, b) => b.made - a.made).map((k) => {
    const ended = k.ends && k.ends * 1000 <= Date.now();
    return [el("span", {}, k.name, k.person ? el("span", { class: "muted small" }, ` (${k.person})`) : null, el("br"), el("code", { class: "small" }, k.id)), t(`role_${k.role}`), k.scopes.length ? k.scopes.map(scopeName).join(", ") : t("keys_all"),
      k.per_minute ? number(k.per_minute) : t("keys_no_limit"), when(k.used), ended ? badge(t("keys_ended"), "bad") : when(k.ends, t("keys_no_end")),
      ended ? "" : el("div", { class: "acts" }, el("button", { type: "button", class: "secondary", "aria-label": t("keys_rotate_this", { name: k.name }), onclick: () => rotate(k) }, t("keys_rotate")),
        el("button", { type: "button", class: "secondary danger", "aria-label": t("keys_revoke_this", { name: k.name }), onclick: () => revoke(k) }, t("keys_revoke")))];
  }));

  function make() {
    const name = textInput("", { maxlength: "100" });
    const role = select(["user", "editor", "operator", "admin"].map((r) => [r, `${t(`role_${r}`)}: ${t(`keys_role_${r}`)}`]), "user");
    const limit = textInput("600", { type: "number", min: "0" });
    const days = textInput("0", { type: "number", min: "0" });
    const person = textInput("");
    const scopes = areas.map((a) => [a, select([["", t("keys_none")], [`${a}:read`, t("keys_read")], [a, t("keys_change")]], "")]);
    const chosen = el("details", { class: "more" }, el("summary", {}, t("keys_limit_scopes")), el("p", { class: "muted small" }, t("keys_scope_help")), el("div", { class: "scopes" }, scopes.map(([a, control]) => field(t(`scope_${a}`), control))));
    ask({ host: own.node, large: true, title: t("keys_new"), label: t("keys_make"), onKeyRefused,
      fields: [field(t("keys_name"), name, t("keys_name_help")), field(t("keys_role"), role), el("div", { class: "fields" }, field(t("keys_limit"), limit, t("keys_limit_help")), field(t("keys_days"), days, t("keys_days_help"))), field(t("keys_person"), person, t("keys_person_help")), chosen],
      act: async () => {
        if (!name.value.trim()) throw refuse(t("keys_name_help"));
        const made = await api.post("/api/keys", { name: name.value.trim(), role: role.value, per_minute: Math.trunc(Number(limit.value) || 0), days: Number(days.value) || 0, person: person.value.trim(), scopes: scopes.map(([, control]) => control.value).filter(Boolean) });
        secret(made);
      } });
  }

  function secret(made) {
    const dialog = show({ host: own.node, title: t("keys_secret"), content: [el("p", {}, t("keys_secret_more")), el("p", {}, copyable(made.secret, t("keys_secret"))),
      el("div", { class: "toolbar" }, el("button", { type: "button", class: "primary", onclick: () => dialog.close() }, t("keys_secret_kept")))] });
    own.start();
  }

  function rotate(k) {
    const hours = textInput("24", { type: "number", min: "0", max: "720" });
    ask({ host: own.node, title: t("keys_rotate_ask", { name: k.name }), text: t("keys_rotate_more"), label: t("keys_rotate"), onKeyRefused, fields: [field(t("keys_overlap"), hours)],
      act: async () => secret(await api.post(`/api/keys/${encodeURIComponent(k.id)}/rotate`, { overlap: (Number(hours.value) || 0) * 3600 })) });
  }

  function revoke(k) {
    const hours = textInput("0", { type: "number", min: "0", max: "8760" });
    ask({ host: own.node, title: t("keys_revoke_ask", { name: k.name }), text: t("keys_revoke_more"), label: t("keys_revoke"), danger: true, onKeyRefused, fields: [field(t("keys_after"), hours)],
      act: async () => {
        const ended = await api.remove(`/api/keys/${encodeURIComponent(k.id)}?after=${(Number(hours.value) || 0) * 3600}`);
        own.done(t("keys_revoked", { name: k.name, when: when(ended.ends) }));
        await own.start();
      } });
  }

  return own;
}
