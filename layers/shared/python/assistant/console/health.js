// The state of the installation, from GET /health.

import { api } from "./api.js";
import { el, icon } from "./dom.js";
import { addWords, clockTime, errorText, t } from "./words.js";

addWords({
  en: {
    health_title: "Health", health_checked: "Checked at {time}. Looks again every 15 seconds.", health_loading: "Looking…",
    health_all_good: "Everything works.", health_some_bad: "Some parts need attention.", health_component: "Part", health_state: "State",
    health_detail: "Detail", health_good: "works", health_not: "does not work", health_empty: "The server names no parts.", health_check_now: "Check now",
  },
  "zh-CN": {
    health_title: "运行状况", health_checked: "检查时间 {time}，每 15 秒自动检查。", health_loading: "正在检查…",
    health_all_good: "一切正常。", health_some_bad: "有组件需要处理。", health_component: "组件", health_state: "状态",
    health_detail: "详情", health_good: "正常", health_not: "异常", health_empty: "服务器没有报告任何组件。", health_check_now: "立即检查",
  },
});

const GOOD = new Set(["ok", "up", "ready", "healthy", "pass", "true"]);

/** The health screen: {node, start, stop}. */
export default function health() {
  let timer = 0;
  let stopped = false;
  const body = el("div", { class: "panel-body", "aria-live": "polite" }, el("p", { class: "muted" }, t("health_loading")));
  const checked = el("p", { class: "muted small" });
  const node = el("div", { class: "panel" },
    el("div", { class: "panel-head" }, checked, el("button", { type: "button", class: "quiet", onclick: () => look() }, icon("retry"), t("health_check_now"))),
    body);

  async function look() {
    clearTimeout(timer);
    let parts;
    try {
      parts = report(await api.health());
    } catch (error) {
      // A bad state comes with status 503 and names the parts all the same.
      parts = error.data?.components ? report(error.data) : [el("p", { class: "verdict bad" }, icon("alert"), errorText(error))];
    }
    if (stopped) return;
    const text = parts.map((part) => part.textContent).join();
    if (body.dataset.shown !== text) body.replaceChildren(...parts);
    body.dataset.shown = text;
    checked.textContent = t("health_checked", { time: clockTime(Date.now()) });
    timer = setTimeout(() => { if (document.hidden) timer = setTimeout(look, 15000); else look(); }, 15000);
  }

  return { node, start: look, stop() { stopped = true; clearTimeout(timer); } };
}

function report(answer) {
  const rows = Object.entries(answer.components ?? {}).map(([name, value]) => {
    const state = typeof value === "object" && value !== null ? String(value.state ?? value.status ?? "") : String(value);
    const detail = typeof value === "object" && value !== null ? String(value.detail ?? value.reason ?? "") : "";
    return { name, good: GOOD.has(state.toLowerCase()), state, detail };
  });
  const good = rows.every((row) => row.good) && GOOD.has(String(answer.status ?? "ok").toLowerCase());
  const verdict = el("p", { class: `verdict ${good ? "good" : "bad"}` }, icon(good ? "check" : "alert"), t(good ? "health_all_good" : "health_some_bad"));
  if (!rows.length) return [verdict, el("p", { class: "muted" }, t("health_empty"))];
  return [verdict, el("div", { class: "table", role: "region", tabindex: "0", "aria-label": t("health_title") }, el("table", {},
    el("thead", {}, el("tr", {}, ["health_component", "health_state", "health_detail"].map((name) => el("th", { scope: "col" }, t(name))))),
    el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.name),
      el("td", {}, el("span", { class: `badge ${row.good ? "good" : "bad"}` }, t(row.good ? "health_good" : "health_not"))),
      el("td", {}, row.detail || (row.good ? "" : row.state))))))) ];
}
