// The doctor's report: what keeps each platform from working, and the exact fix.

import { api } from "./api.js";
import { el, icon } from "./dom.js";
import { renderMarkdown, safeUrl } from "./markdown.js";
import { copyable, trouble } from "./ui.js";
import { addWords, clockTime, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    doctor_intro: "What was looked at on each platform, and how to mend what is not good.", doctor_loading: "Asking the platforms, this takes a few seconds…",
    doctor_reload: "Look again", doctor_at: "Looked at {time}.", doctor_ok: "works", doctor_warning: "warning", doctor_fault: "fault", doctor_unknown: "not known",
    doctor_fix: "What to do:", doctor_open: "Open the page", doctor_unconnected: "Not connected", doctor_connect: "How to connect {name}",
    doctor_empty: "The server reported nothing.", doctor_house: "The assistant itself", doctor_setup: "Set-up", doctor_setup_more: "Enter these addresses where the steps say so.", doctor_callbacks: "Callback addresses", doctor_steps: "The steps", doctor_guide: "Open as a page", doctor_local: "This address cannot be reached from outside: deploy, or use the HTTPS address of a tunnel (public_url).",
    doctor_accounts: "Addresses for people's accounts", doctor_accounts_more: "Register them at each provider: the first lets people allow access from the chat, the second lets them sign in here.", doctor_consent_at: "{name}, access from the chat", doctor_sign_in_at: "{name}, sign-in here", doctor_callback: "callback address",
  },
  "zh-CN": {
    doctor_intro: "各平台的检查结果，以及有问题时的处理办法。", doctor_loading: "正在询问各平台，需要几秒钟…",
    doctor_reload: "重新检查", doctor_at: "检查时间 {time}。", doctor_ok: "正常", doctor_warning: "警告", doctor_fault: "故障", doctor_unknown: "未知",
    doctor_fix: "处理办法：", doctor_open: "打开页面", doctor_unconnected: "未接入", doctor_connect: "怎么接入{name}",
    doctor_empty: "服务器没有报告任何内容。", doctor_house: "助手本身", doctor_setup: "配置", doctor_setup_more: "按步骤把这些地址填到相应位置。", doctor_callbacks: "回调地址", doctor_steps: "步骤", doctor_guide: "在单独页面打开", doctor_local: "此地址无法从外部访问：请部署，或使用隧道的 HTTPS 地址（public_url）。",
    doctor_accounts: "账号授权地址", doctor_accounts_more: "请在各提供方登记：前者用于在聊天中授权，后者用于在此登录。", doctor_consent_at: "{name}，聊天中授权", doctor_sign_in_at: "{name}，在此登录", doctor_callback: "回调地址",
  },
});

const ORDER = ["fault", "warning", "unknown", "ok"];
const LOOKS = { ok: ["good", "check"], warning: ["warn", "alert"], fault: ["bad", "alert"], unknown: ["", "search"] };
const NAMES = {
  en: { feishu: "Feishu", dingtalk: "DingTalk", wecom: "WeCom", slack: "Slack", teams: "Microsoft Teams", webchat: "Web chat" },
  "zh-CN": { feishu: "飞书", dingtalk: "钉钉", wecom: "企业微信", slack: " Slack", teams: " Microsoft Teams", webchat: "网页聊天" },
};

const nameOf = (component) => (component === "assistant" ? t("doctor_house") : (NAMES[currentLanguage()][component] ?? component).trim());

/** The screen of the doctor. */
export default function doctor({ onKeyRefused }) {
  let stopped = false;
  let shown = false;
  const body = el("div", { class: "doctor", "aria-live": "polite" });
  const looked = el("span", {});
  const button = el("button", { type: "button", class: "quiet", onclick: () => load() }, icon("retry"), t("doctor_reload"));
  const node = el("div", { class: "panel" }, el("div", { class: "panel-head" }, el("p", { class: "muted" }, t("doctor_intro"), " ", looked), button), body);

  async function load() {
    button.disabled = true;
    if (!body.hasChildNodes()) body.replaceChildren(el("p", { class: "muted" }, t("doctor_loading")));
    try {
      // The addresses are there at once; asking every platform takes a few seconds.
      const report = api.get(`/api/doctor?language=${currentLanguage()}`, { seconds: 60 });
      report.catch(() => {});
      const setup = await api.get("/api/setup").catch(() => null);
      if (stopped) return;
      if (setup && !shown) body.replaceChildren(el("p", { class: "muted" }, t("doctor_loading")), ...accounts(setup));
      const { findings = [] } = await report;
      if (stopped) return;
      shown = true;
      body.replaceChildren(...show(findings, setup), ...(setup ? accounts(setup) : []));
      looked.textContent = t("doctor_at", { time: clockTime(Date.now()) });
    } catch (error) {
      if (stopped) return;
      if (error.kind === "key") onKeyRefused();
      else body.replaceChildren(trouble(error, load));
    } finally {
      button.disabled = false;
    }
  }

  return { node, start: load, stop() { stopped = true; } };
}

function show(findings, setup) {
  if (!findings.length) return [el("p", { class: "nothing" }, t("doctor_empty"))];
  const groups = new Map();
  for (const finding of findings) groups.set(finding.component, [...(groups.get(finding.component) ?? []), finding]);
  const unconnected = [...groups].filter(([, found]) => found.every((f) => f.check === "connected" && f.state === "unknown")).map(([name]) => name);
  const cards = [...groups].filter(([name]) => !unconnected.includes(name)).map(([name, found]) => card(name, found, setup));
  return [...cards, unconnected.length ? rest(unconnected, setup) : null].filter(Boolean);
}

function card(name, found, setup) {
  const worst = ORDER.find((state) => found.some((f) => f.state === state)) ?? "unknown";
  return el("section", { class: "doctor-card", "aria-label": nameOf(name) },
    el("div", { class: "doctor-head" }, el("h2", {}, nameOf(name)), badge(worst)),
    el("ul", {}, found.map(line)), name === "assistant" || name === "webchat" ? null : setUp(name, setup));
}

/** What has to be entered where to connect the platform: its addresses to copy, and the steps. */
function setUp(name, setup) {
  const found = setup?.platforms.find((p) => p.name === name);
  const local = /^https?:\/\/(127\.|localhost|0\.0\.0\.0|\[::1?\]|10\.|192\.168\.)/.test(setup?.public_url ?? "");
  const guide = el("div", { class: "body steps-body" });
  const path = `guides/${currentLanguage()}/connect-${name}.md`;
  return el("details", { class: "more set-up", ontoggle: async (event) => {
    if (!event.target.open || guide.hasChildNodes()) return;
    guide.textContent = t("doctor_loading");
    const answer = await fetch(`/console/docs/${path}`, { credentials: "omit" }).catch(() => null);
    guide.replaceChildren();
    if (answer?.ok) renderMarkdown(guide, (await answer.text()).replace(/^---\n[\s\S]*?\n---\n/, "").replace(/^# .*\n/, ""), { top: 4 });
    else guide.append(el("p", {}, errorText({ kind: answer ? "missing" : "offline" })));
  } }, el("summary", {}, t("doctor_setup")),
    found?.callbacks.length ? el("div", {}, el("h3", {}, t("doctor_callbacks")), el("p", { class: "muted small" }, t("doctor_setup_more")), el("ul", { class: "addresses" }, found.callbacks.map((url) => el("li", {}, copyable(url, t("doctor_callback"))))), local ? el("p", { class: "warn-text small" }, t("doctor_local")) : null) : null,
    el("h3", {}, t("doctor_steps")), el("p", {}, el("a", { href: `#/docs/${path}` }, t("doctor_guide"))), guide);
}

/** Where people's accounts come back to, from the chat and from this page. */
function accounts(setup) {
  const lines = [...setup.providers.map((p) => [t("doctor_consent_at", { name: p.title }), p.redirect]), ...setup.sign_in.map((p) => [t("doctor_sign_in_at", { name: p.title }), p.redirect])];
  if (!lines.length) return [];
  return [el("section", { class: "doctor-card", "aria-label": t("doctor_accounts") }, el("div", { class: "doctor-head" }, el("h2", {}, t("doctor_accounts"))), el("p", { class: "muted small" }, t("doctor_accounts_more")),
    el("dl", { class: "addresses" }, lines.map(([name, url]) => el("div", {}, el("dt", {}, name), el("dd", {}, copyable(url, name))))))];
}

function badge(state) {
  return el("span", { class: `badge ${(LOOKS[state] ?? LOOKS.unknown)[0]}` }, t(`doctor_${state in LOOKS ? state : "unknown"}`));
}

function line(finding) {
  const [look, sign] = LOOKS[finding.state] ?? LOOKS.unknown;
  const url = safeUrl(finding.url);
  const parts = [el("p", {}, el("strong", {}, finding.title || finding.check), " ", el("span", { class: "muted" }, finding.detail))];
  if (finding.fix) {
    const fix = el("div", { class: "doctor-fix body" });
    renderMarkdown(fix, `${t("doctor_fix")} ${finding.fix}`);
    parts.push(fix);
  }
  if (url) parts.push(el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, t("doctor_open"), el("span", { class: "visually-hidden" }, ` (${t("new_window")})`)));
  return el("li", {}, el("span", { class: `doctor-sign ${look}`, role: "img", "aria-label": t(`doctor_${finding.state in LOOKS ? finding.state : "unknown"}`) }, icon(sign)), el("div", {}, parts));
}

function rest(names, setup) {
  return el("section", { class: "doctor-card", "aria-label": t("doctor_unconnected") }, el("div", { class: "doctor-head" }, el("h2", {}, t("doctor_unconnected"))),
    el("ul", { class: "unconnected" }, names.map((name) => el("li", {}, el("h3", {}, el("a", { href: `#/docs/guides/${currentLanguage()}/connect-${name}.md` },
      t("doctor_connect", { name: NAMES[currentLanguage()][name] ?? name }))), setUp(name, setup)))));
}
