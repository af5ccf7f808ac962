// The doctor's report: what keeps each platform from working, and the exact fix.

import { api } from "./api.js";
import { el, icon } from "./dom.js";
import { renderMarkdown, safeUrl } from "./markdown.js";
import { addWords, clockTime, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    doctor_intro: "What was looked at on each platform, and how to mend what is not good.", doctor_loading: "Asking the platforms, this takes a few seconds…",
    doctor_reload: "Look again", doctor_at: "Looked at {time}.", doctor_ok: "works", doctor_warning: "warning", doctor_fault: "fault", doctor_unknown: "not known",
    doctor_fix: "What to do:", doctor_open: "Open the page", doctor_unconnected: "Not connected", doctor_connect: "How to connect {name}",
    doctor_empty: "The server reported nothing.", doctor_house: "The assistant itself",
  },
  "zh-CN": {
    doctor_intro: "各平台的检查结果，以及有问题时的处理办法。", doctor_loading: "正在询问各平台，需要几秒钟…",
    doctor_reload: "重新检查", doctor_at: "检查时间 {time}。", doctor_ok: "正常", doctor_warning: "警告", doctor_fault: "故障", doctor_unknown: "未知",
    doctor_fix: "处理办法：", doctor_open: "打开页面", doctor_unconnected: "未接入", doctor_connect: "怎么接入{name}",
    doctor_empty: "服务器没有报告任何内容。", doctor_house: "助手本身",
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
  const body = el("div", { class: "doctor", "aria-live": "polite" });
  const looked = el("span", {});
  const button = el("button", { type: "button", class: "quiet", onclick: () => load() }, icon("retry"), t("doctor_reload"));
  const node = el("div", { class: "panel" }, el("div", { class: "panel-head" }, el("p", { class: "muted" }, t("doctor_intro"), " ", looked), button), body);

  async function load() {
    button.disabled = true;
    if (!body.hasChildNodes()) body.replaceChildren(el("p", { class: "muted" }, t("doctor_loading")));
    try {
      const { findings = [] } = await api.get("/api/doctor", { seconds: 60 });
      if (stopped) return;
      body.replaceChildren(...show(findings));
      looked.textContent = t("doctor_at", { time: clockTime(Date.now()) });
    } catch (error) {
      if (stopped) return;
      if (error.kind === "key") onKeyRefused();
      else body.replaceChildren(el("p", { class: "verdict bad" }, icon("alert"), errorText(error)));
    } finally {
      button.disabled = false;
    }
  }

  return { node, start: load, stop() { stopped = true; } };
}

function show(findings) {
  if (!findings.length) return [el("p", { class: "nothing" }, t("doctor_empty"))];
  const groups = new Map();
  for (const finding of findings) groups.set(finding.component, [...(groups.get(finding.component) ?? []), finding]);
  const unconnected = [...groups].filter(([, found]) => found.every((f) => f.check === "connected" && f.state === "unknown")).map(([name]) => name);
  const cards = [...groups].filter(([name]) => !unconnected.includes(name)).map(([name, found]) => card(name, found));
  return [...cards, unconnected.length ? rest(unconnected) : null].filter(Boolean);
}

function card(name, found) {
  const worst = ORDER.find((state) => found.some((f) => f.state === state)) ?? "unknown";
  return el("section", { class: "doctor-card", "aria-label": nameOf(name) },
    el("div", { class: "doctor-head" }, el("h2", {}, nameOf(name)), badge(worst)),
    el("ul", {}, found.map(line)));
}

function badge(state) {
  return el("span", { class: `badge ${(LOOKS[state] ?? LOOKS.unknown)[0]}` }, t(`doctor_${state in LOOKS ? state : "unknown"}`));
}

function line(finding) {
  const [look, sign] = LOOKS[finding.state] ?? LOOKS.unknown;
  const url = safeUrl(finding.url);
  const parts = [el("p", {}, el("strong", {}, finding.check), " ", el("span", { class: "muted" }, finding.detail))];
  if (finding.fix) {
    const fix = el("div", { class: "doctor-fix body" });
    renderMarkdown(fix, `${t("doctor_fix")} ${finding.fix}`);
    parts.push(fix);
  }
  if (url) parts.push(el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, t("doctor_open"), el("span", { class: "visually-hidden" }, ` (${t("new_window")})`)));
  return el("li", {}, el("span", { class: `doctor-sign ${look}`, role: "img", "aria-label": t(`doctor_${finding.state in LOOKS ? finding.state : "unknown"}`) }, icon(sign)), el("div", {}, parts));
}

function rest(names) {
  return el("section", { class: "doctor-card", "aria-label": t("doctor_unconnected") }, el("div", { class: "doctor-head" }, el("h2", {}, t("doctor_unconnected"))),
    el("ul", { class: "doctor-links" }, names.map((name) => el("li", {}, el("a", { href: `#/docs/guides/${currentLanguage()}/connect-${name}.md` },
      t("doctor_connect", { name: NAMES[currentLanguage()][name] ?? name }))))));
}
