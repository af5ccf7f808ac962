// Plug-ins: what each offers, may use and is set to; those that were left out, and letting them in again.

import { api, may } from "./api.js";
import { el, icon } from "./dom.js";
import { form } from "./schema.js";
import { ask, badge, field, nothing, number, screen, textInput, when } from "./ui.js";
import { addWords, currentLanguage, t } from "./words.js";

addWords({
  en: {
    plugins_intro: "What your company has added. A plug-in that keeps failing is left out by itself, and the others go on.", plugins_contract: "Contract {api}.", plugins_empty: "No plug-ins", plugins_empty_more: "A plug-in is one Python file. Begin with “assistant plugin new NAME”.", plugins_guide: "How to write one",
    plugins_ready: "works", plugins_refused: "not loaded", plugins_quarantined: "left out", plugins_version: "version {version}", plugins_since: "Left out since {when}: {reason}", plugins_faults: "Failed {count} times in the last hour.", plugins_configure: "Configure", plugins_configure_this: "Configure {name}", plugins_restore: "Restore",
    plugins_restore_this: "Restore {name}", plugins_restore_ask: "Let “{name}” work again?", plugins_restore_more: "It is asked again at once, in every function. If it fails again, it is left out again.", plugins_why: "Why? (kept in the audit log)", plugins_save: "Save", plugins_saved: "“{name}” is set. It reaches every function within half a minute.",
    plugins_restored: "“{name}” works again.", plugins_reset: "Back to what was deployed", plugins_reset_ask: "Set “{name}” back to what was deployed?", plugins_nothing_to_set: "Nothing can be set.", plugins_settings: "Settings", plugins_menu: "Menu", plugins_menu_more: "What people find in the platform's menu and with “help”; choosing an entry is as if they had written the text.",
    plugins_menu_empty: "No entries", plugins_menu_empty_more: "Plug-ins add them with get_menu.", plugins_rights: "May use", plugins_store: "a store of its own", plugins_secrets: "secrets: {names}", plugins_tokens: "people's own access at {names}", plugins_platforms: "only on {names}", plugins_no_rights: "nothing beside the conversation",
    plugins_tools: "Tools", plugins_flows: "Forms", plugins_details: "Rights, tools and limits", plugins_limits: "{seconds} s for each call", plugins_isolated: "runs in a process of its own",
  },
  "zh-CN": {
    plugins_intro: "公司自行添加的功能。反复出错的插件会被自动停用，其他插件不受影响。", plugins_contract: "接口版本 {api}。", plugins_empty: "没有插件", plugins_empty_more: "一个插件就是一个 Python 文件，可以从 “assistant plugin new NAME” 开始。", plugins_guide: "怎么写插件",
    plugins_ready: "正常", plugins_refused: "未加载", plugins_quarantined: "已停用", plugins_version: "版本 {version}", plugins_since: "自 {when} 起停用：{reason}", plugins_faults: "最近一小时失败 {count} 次。", plugins_configure: "配置", plugins_configure_this: "配置 {name}", plugins_restore: "恢复",
    plugins_restore_this: "恢复 {name}", plugins_restore_ask: "让“{name}”重新工作？", plugins_restore_more: "它会立即在所有函数中恢复。如果再次出错，会再次停用。", plugins_why: "原因（写入审计日志）", plugins_save: "保存", plugins_saved: "“{name}”已设置，半分钟内在所有函数生效。",
    plugins_restored: "“{name}”已恢复。", plugins_reset: "恢复为部署时的设置", plugins_reset_ask: "把“{name}”恢复为部署时的设置？", plugins_nothing_to_set: "没有可以设置的内容。", plugins_settings: "设置", plugins_menu: "菜单", plugins_menu_more: "用户在平台菜单和“帮助”中看到的内容；选择一项等于发送对应的文字。",
    plugins_menu_empty: "没有菜单项", plugins_menu_empty_more: "插件通过 get_menu 添加。", plugins_rights: "可以使用", plugins_store: "自己的存储", plugins_secrets: "密钥：{names}", plugins_tokens: "用户本人在 {names} 的权限", plugins_platforms: "仅限 {names}", plugins_no_rights: "除对话外没有其他权限",
    plugins_tools: "工具", plugins_flows: "表单", plugins_details: "权限、工具与限制", plugins_limits: "每次调用 {seconds} 秒", plugins_isolated: "在独立进程中运行",
  },
});

const LOOKS = { ready: "good", refused: "bad", quarantined: "warn" };
const titleOf = (p) => p.title || p.name;
const path = (name, rest = "") => `/api/plugins/${encodeURIComponent(name)}${rest}`;

/** The screen of the plug-ins. */
export default function plugins({ onKeyRefused }) {
  const change = may("admin", "plugins", true);
  const own = screen({ intro: t("plugins_intro"), onKeyRefused, load: async () => {
    const [{ api: contract, plugins: found }, menu] = await Promise.all([api.get(`/api/plugins?language=${currentLanguage()}`), api.get(`/api/menu?language=${currentLanguage()}`).catch(() => null)]);
    if (!found.length) return nothing(t("plugins_empty"), t("plugins_empty_more"), el("a", { class: "secondary", href: `#/docs/guides/${currentLanguage()}/plugins.md` }, t("plugins_guide")));
    return [el("ul", { class: "plain-cards" }, found.map(card)), menu ? entries(menu.items) : null, el("p", { class: "muted small" }, t("plugins_contract", { api: contract }), " ", el("a", { href: `#/docs/guides/${currentLanguage()}/plugins.md` }, t("plugins_guide")))];
  } });

  function card(p) {
    const settable = Object.keys(p.schema?.properties ?? {}).length > 0;
    return el("li", { class: "doctor-card", "aria-label": titleOf(p) },
      el("div", { class: "doctor-head" }, el("h2", { dir: "auto" }, titleOf(p)), p.title && p.title !== p.name ? el("code", { class: "muted small" }, p.name) : null, badge(t(`plugins_${p.state}`), LOOKS[p.state] ?? ""), p.version ? el("span", { class: "muted small" }, t("plugins_version", { version: p.version })) : null),
      p.about ? el("p", { dir: "auto" }, p.about.replaceAll("`", "")) : null,
      p.state === "quarantined" ? el("p", { class: "warn-text" }, t("plugins_since", { when: when(p.since), reason: p.reason })) : p.reason ? el("p", { class: "bad-text", dir: "auto" }, p.reason) : null,
      p.state === "ready" && p.faults ? el("p", { class: "warn-text small" }, t("plugins_faults", { count: number(p.faults) })) : null,
      (p.notes ?? []).map((note) => el("p", { class: "muted small", dir: "auto" }, note)),
      p.state === "refused" ? null : details(p),
      el("div", { class: "toolbar" },
        settable && change ? el("button", { type: "button", class: "secondary", "aria-label": t("plugins_configure_this", { name: titleOf(p) }), onclick: () => configure(p) }, icon("edit"), t("plugins_configure")) : null,
        p.state === "quarantined" ? el("button", { type: "button", class: "secondary", "aria-label": t("plugins_restore_this", { name: titleOf(p) }), onclick: () => restore(p) }, icon("retry"), t("plugins_restore")) : null,
        settable ? null : el("span", { class: "muted small" }, t("plugins_nothing_to_set"))));
  }

  function details(p) {
    const may = p.permissions ?? {};
    const rights = [may.store ? t("plugins_store") : "", may.secrets?.length ? t("plugins_secrets", { names: may.secrets.join(", ") }) : "", Object.keys(may.tokens ?? {}).length ? t("plugins_tokens", { names: Object.keys(may.tokens).join(", ") }) : "", may.platforms?.length ? t("plugins_platforms", { names: may.platforms.join(", ") }) : ""].filter(Boolean).join("; ");
    const tools = el("dd", {}, "…");
    const line = (name, value) => el("div", {}, el("dt", {}, t(name)), value instanceof Node ? value : el("dd", { dir: "auto" }, value));
    return el("details", { class: "more", ontoggle: async (event) => {
      if (!event.target.open || tools.textContent !== "…") return;
      const answer = await api.get(path(p.name), { seconds: 30 }).catch(() => null);
      tools.textContent = answer?.plugins[0]?.tools?.join(", ") || "–";
    } }, el("summary", {}, t("plugins_details")), el("dl", { class: "facts" }, line("plugins_rights", rights || t("plugins_no_rights")), line("plugins_tools", tools), line("plugins_flows", p.flows?.join(", ") || "–"),
      line("plugins_settings", [p.seconds ? t("plugins_limits", { seconds: number(p.seconds) }) : "", p.isolated ? t("plugins_isolated") : ""].filter(Boolean).join("; ") || "–")));
  }

  function configure(p) {
    const drawn = form(p.schema, p.config ?? {});
    const why = textInput("", { maxlength: "500" });
    const reset = el("button", { type: "button", class: "quiet", onclick: () => { dialog.close(); resetTo(p); } }, icon("retry"), t("plugins_reset"));
    const dialog = ask({ host: own.node, large: true, title: t("plugins_configure_this", { name: titleOf(p) }), label: t("plugins_save"), onKeyRefused, fields: [...drawn.nodes, field(t("plugins_why"), why), reset], act: async () => {
      await api.put(path(p.name, "/config"), { config: drawn.read(), why: why.value.trim() });
      own.done(t("plugins_saved", { name: titleOf(p) }));
      await own.start();
    } });
  }

  function resetTo(p) {
    ask({ host: own.node, title: t("plugins_reset_ask", { name: titleOf(p) }), label: t("plugins_reset"), danger: true, onKeyRefused, act: async () => {
      await api.remove(path(p.name, "/config"));
      own.done(t("plugins_saved", { name: titleOf(p) }));
      await own.start();
    } });
  }

  function restore(p) {
    const why = textInput("", { maxlength: "500" });
    ask({ host: own.node, title: t("plugins_restore_ask", { name: titleOf(p) }), text: t("plugins_restore_more"), label: t("plugins_restore"), onKeyRefused, fields: [field(t("plugins_why"), why)], act: async () => {
      await api.post(path(p.name, "/restore"), { why: why.value.trim() });
      own.done(t("plugins_restored", { name: titleOf(p) }));
      await own.start();
    } });
  }

  const entries = (items) => el("section", {}, el("div", { class: "section-head" }, el("h2", {}, t("plugins_menu"))), items.length
    ? el("div", {}, el("p", { class: "muted" }, t("plugins_menu_more")), el("ul", { class: "entities" }, items.map((item) => el("li", { class: "badge", dir: "auto" }, item.title, item.text && item.text !== item.title ? el("span", { class: "muted" }, ` → ${item.text}`) : null))))
    : nothing(t("plugins_menu_empty"), t("plugins_menu_empty_more")));

  return own;
}
