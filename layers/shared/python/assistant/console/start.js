// First steps of an administrator: what is done, what is next, and where to do it. Looked up, not remembered.

import { api } from "./api.js";
import { listConversations } from "./chat.js";
import { el, icon, kept } from "./dom.js";
import { trouble } from "./ui.js";
import { addWords, currentLanguage, t } from "./words.js";

addWords({
  en: {
    start_intro: "From a fresh installation to an assistant that your colleagues use. Every step can be taken in any order and at any time.", start_loading: "Looking what is done…", start_progress: "{done} of {all} done", start_all_done: "Everything is set up.", start_next: "next", start_model_builtin: "In use: the built-in engine.", start_model_found: "In use: {model}.",
    start_done: "done", start_open: "open", start_unknown: "not known", start_ask: "Ask a question", start_ask_more: "The assistant knows its own guides from the start. Try “What can you do?”.", start_ask_go: "To the chat",
    start_model: "Choose a model", start_model_more: "The built-in engine quotes your documents and needs nothing. A language model writes answers in its own words.", start_model_go: "Which models there are",
    start_platform: "Connect a chat platform", start_platform_more: "Feishu, DingTalk, WeCom, Slack or Microsoft Teams. The list shows what is connected and what is missing.", start_platform_go: "To the platforms", start_platform_found: "Connected: {names}.",
    start_knowledge: "Add your knowledge", start_knowledge_more: "Drop files or enter the address of a web page. What is added answers questions within seconds.", start_knowledge_go: "To the knowledge", start_knowledge_found: "Documents of your own: {count}.",
    start_rings: "Decide who is served", start_rings_more: "A new installation serves everyone. Begin with a few people, then a department, then the whole company.", start_rings_go: "To the rings", start_rings_found: "Changes so far: {count}.",
  },
  "zh-CN": {
    start_intro: "从全新安装到同事们都在使用。每一步的先后和时间都可以自由安排。", start_loading: "正在查看完成情况…", start_progress: "已完成 {done} / {all}", start_all_done: "全部设置完成。", start_next: "下一步", start_model_builtin: "正在使用内置引擎。", start_model_found: "正在使用：{model}。",
    start_done: "已完成", start_open: "待处理", start_unknown: "未知", start_ask: "问一个问题", start_ask_more: "助手一开始就了解自己的使用指南。可以试试“你能做什么？”。", start_ask_go: "去聊天",
    start_model: "选择模型", start_model_more: "内置引擎引用文档作答，不需要任何配置；语言模型可以用自己的话回答。", start_model_go: "有哪些模型",
    start_platform: "接入聊天平台", start_platform_more: "飞书、钉钉、企业微信、Slack 或 Microsoft Teams。列表会显示已接入的平台和还缺少的内容。", start_platform_go: "查看平台", start_platform_found: "已接入：{names}。",
    start_knowledge: "添加自己的知识", start_knowledge_more: "拖入文件或填写网页地址，几秒钟后就能用来回答问题。", start_knowledge_go: "打开知识库", start_knowledge_found: "自己的文档：{count}。",
    start_rings: "决定对谁开放", start_rings_more: "新安装的助手对所有人开放。可以先从少数人开始，再到部门，最后全公司。", start_rings_go: "打开灰度发布", start_rings_found: "变更次数：{count}。",
  },
});

/** The screen of the first steps. */
export default function start({ onKeyRefused }) {
  let stopped = false;
  const body = el("div", {}, el("p", { class: "muted" }, t("start_loading")));

  async function load() {
    const looked = await Promise.all([
      look(() => api.get("/api/doctor", { seconds: 60 })),
      look(() => api.get("/api/knowledge/documents", { seconds: 30 })),
      look(() => api.get("/api/rollout")),
      look(() => api.get("/api/setup")),
    ]);
    seen.set(true);
    if (stopped) return;
    if (looked.some((answer) => answer.error?.kind === "key")) {
      onKeyRefused();
      return;
    }
    const offline = looked.every((answer) => answer.error) ? looked[0].error : null;
    body.replaceChildren(...(offline ? [trouble(offline, load)] : list(...looked)));
  }

  return { node: el("div", { class: "panel" }, el("p", { class: "muted" }, t("start_intro")), body), start: load, stop() { stopped = true; } };
}

/** What `ask` gives, or its error: one part that cannot be looked at does not hide the others. */
async function look(ask) {
  try {
    return { value: await ask() };
  } catch (error) {
    return error.kind === "missing" ? { value: {} } : { error };
  }
}

/** Whether this browser has shown the first steps. */
export const seen = kept(localStorage, "start.seen", false);

function list(doctor, knowledge, rollout, setup) {
  const connected = [...new Set((doctor.value?.findings ?? []).filter((f) => !["assistant", "webchat"].includes(f.component) && f.check !== "connected").map((f) => f.component))];
  const own = (knowledge.value?.documents ?? []).filter((d) => d.folder !== "assistant").length;
  const changes = rollout.value?.edition ?? 0;
  const state = (answer, done) => (answer.error ? "unknown" : done ? "done" : "open");
  const model = setup.value?.settings?.model ?? "";
  const steps = [
    ["ask", listConversations().length ? "done" : "open", "#/", ""],
    ["model", state(setup, model && model !== "builtin"), `#/docs/guides/${currentLanguage()}/models.md`, model === "builtin" ? t("start_model_builtin") : model ? t("start_model_found", { model }) : ""],
    ["platform", state(doctor, connected.length), "#/platforms", connected.length ? t("start_platform_found", { names: connected.join(", ") }) : ""],
    ["knowledge", state(knowledge, own), own ? "#/knowledge" : "#/knowledge/add", own ? t("start_knowledge_found", { count: own }) : ""],
    ["rings", state(rollout, changes), "#/rings", changes ? t("start_rings_found", { count: changes }) : ""],
  ];
  const finished = steps.filter(([, done]) => done === "done").length;
  const next = steps.findIndex(([, done]) => done === "open");
  return [
    el("div", { class: "progress-line" }, el("progress", { max: String(steps.length), value: String(finished), "aria-label": t("nav_start") }), el("p", { class: "muted small" }, next < 0 ? t("start_all_done") : t("start_progress", { done: finished, all: steps.length }))),
    el("ol", { class: "walk" }, steps.map(([name, done, href, found], index) => el("li", { class: `doctor-card ${index === next ? "next" : ""}`, "aria-current": index === next ? "step" : null },
      el("span", { class: `step-sign ${done}`, "aria-hidden": "true" }, done === "done" ? icon("check") : String(index + 1)),
      el("div", {}, el("div", { class: "doctor-head" }, el("h2", {}, t(`start_${name}`)), el("span", { class: `badge ${done === "done" ? "good" : ""}` }, t(`start_${done}`))),
        el("p", {}, t(`start_${name}_more`), found ? ` ${found}` : "")),
      el("a", { class: index === next ? "primary as-button" : "secondary", href }, t(`start_${name}_go`))))),
  ];
}
