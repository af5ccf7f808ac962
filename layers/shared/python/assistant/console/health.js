// The state of the installation, from GET /health, and its figures over time.

import { api, may } from "./api.js";
import { chart } from "./charts.js";
import { el, icon, kept } from "./dom.js";
import { nothing, number, trouble } from "./ui.js";
import { addWords, clockTime, errorText, t } from "./words.js";

addWords({
  en: {
    health_title: "Health", health_checked: "Checked at {time}. Looks again every 15 seconds.", health_loading: "Looking…",
    health_all_good: "Everything works.", health_some_bad: "Some parts need attention.", health_table: "Table", health_queue: "Queue", health_secrets: "Secrets", health_model: "Model", health_component: "Part", health_state: "State",
    health_detail: "Detail", health_good: "works", health_not: "does not work", health_empty: "The server names no parts.", health_check_now: "Check now",
    figures_title: "Figures", figures_window: "Time", figures_1: "Last hour", figures_6: "Last 6 hours", figures_24: "Last day", figures_168: "Last week", figures_720: "Last 30 days", figures_local: "Counted on this machine since it was started; on AWS the same metrics come from CloudWatch.",
    figures_cloudwatch: "From CloudWatch; about a minute behind.", figures_none: "No figures yet", figures_none_more: "They appear with the first question. Ask something in the chat, or choose a longer time.", figures_ask: "To the chat",
    figures_turns: "Questions answered", figures_sessions: "Answered at once, mean", figures_ack: "Webhook answered in", figures_reply: "Visible reply after", figures_errors: "Error rate", figures_without: "Answered without a model", figures_cost: "Cost of the model", figures_satisfied: "Satisfied",
    figures_cost_more: "in the currency of the prices", figures_opinions: "thumbs up, of all thumbs", figures_goal: "goal {value}", figures_p50: "P50", figures_p99: "P99",
  },
  "zh-CN": {
    health_title: "运行状况", health_checked: "检查时间 {time}，每 15 秒自动检查。", health_loading: "正在检查…",
    health_all_good: "一切正常。", health_some_bad: "有组件需要处理。", health_table: "数据表", health_queue: "队列", health_secrets: "密钥", health_model: "模型", health_component: "组件", health_state: "状态",
    health_detail: "详情", health_good: "正常", health_not: "异常", health_empty: "服务器没有报告任何组件。", health_check_now: "立即检查",
    figures_title: "指标", figures_window: "时间范围", figures_1: "最近 1 小时", figures_6: "最近 6 小时", figures_24: "最近 1 天", figures_168: "最近 1 周", figures_720: "最近 30 天", figures_local: "本机自启动以来的统计；在 AWS 上，同样的指标来自 CloudWatch。",
    figures_cloudwatch: "来自 CloudWatch，约有一分钟延迟。", figures_none: "还没有指标", figures_none_more: "第一个问题之后就会显示。可以去聊天里提问，或选择更长的时间范围。", figures_ask: "去聊天",
    figures_turns: "已回答的问题", figures_sessions: "平均同时处理数", figures_ack: "Webhook 响应时间", figures_reply: "可见回复时间", figures_errors: "错误率", figures_without: "未使用模型的比例", figures_cost: "模型费用", figures_satisfied: "满意度",
    figures_cost_more: "以价格设置的货币计", figures_opinions: "点赞占全部评价的比例", figures_goal: "目标 {value}", figures_p50: "P50", figures_p99: "P99",
  },
});

const GOOD = new Set(["ok", "up", "ready", "healthy", "pass", "true"]);
const WINDOWS = [1, 6, 24, 168, 720];
const chosen = kept(localStorage, "figures.hours", 1);

const count = (value) => (value > 0 && value < 0.01 ? `< ${number(0.01)}` : number(value, { maximumFractionDigits: value < 10 ? 2 : 0 }));
const percent = (value) => number(value, { style: "percent", maximumFractionDigits: value < 0.1 ? 2 : 1 });
const span = (ms) => (ms < 1000 ? `${number(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms` : `${number(ms / 1000, { maximumFractionDigits: 1 })} s`);

/** The health screen: {node, start, stop}. */
export default function health({ onKeyRefused }) {
  let timer = 0;
  let stopped = false;
  const body = el("div", { class: "panel-body", "aria-live": "polite" }, el("p", { class: "muted" }, t("health_loading")));
  const checked = el("p", { class: "muted small" });
  const figures = el("div", { class: "figures" });
  const show = may("operator", "figures");
  const node = el("div", { class: "panel" },
    el("div", { class: "panel-head" }, checked, el("button", { type: "button", class: "quiet", onclick: () => { look(); draw(); } }, icon("retry"), t("health_check_now"))),
    body, show ? el("section", {}, el("div", { class: "section-head" }, el("h2", {}, t("figures_title")), windows()), figures) : null);

  function windows() {
    return el("div", { class: "segments", role: "group", "aria-label": t("figures_window") }, WINDOWS.map((hours) => el("button", { type: "button", "aria-pressed": String(hours === chosen.get()), onclick: (event) => {
      chosen.set(hours);
      for (const other of event.currentTarget.parentElement.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
      draw();
    } }, t(`figures_${hours}`))));
  }

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

  async function draw() {
    if (!show) return;
    if (!figures.hasChildNodes()) figures.replaceChildren(el("p", { class: "muted" }, t("health_loading")));
    try {
      const answer = await api.get(`/api/figures?hours=${chosen.get()}`, { seconds: 20 });
      if (!stopped) figures.replaceChildren(...drawn(answer));
    } catch (error) {
      if (stopped) return;
      if (error.kind === "key") onKeyRefused();
      else figures.replaceChildren(trouble(error, draw));
    }
  }

  return { node, start() { look(); return draw(); }, stop() { stopped = true; clearTimeout(timer); } };
}

function drawn({ series, whole, start, step, source }) {
  const from = el("p", { class: "muted small" }, t(`figures_${source}`));
  if (Object.values(whole).every((value) => value === null)) return [nothing(t("figures_none"), t("figures_none_more"), el("a", { class: "secondary", href: "#/" }, t("figures_ask"))), from];
  const one = (name, title, shown, more = {}) => chart({ title: t(title), lines: [{ name: t(title), values: series[name] }], start, step, shown, ...more });
  const two = (name, title, more = {}) => chart({ title: t(title), lines: [{ name: t("figures_p50"), values: series[`${name}_p50`] }, { name: t("figures_p99"), values: series[`${name}_p99`] }], start, step, shown: span, ...more });
  const goal = (value, words) => ({ limit: { value, words: t("figures_goal", { value: words }) } });
  const tile = (title, value, shown, more = "", bad = false) => el("div", { class: `tile ${bad ? "bad" : ""}` }, el("dt", {}, t(title)), el("dd", {}, value === null ? "–" : shown(value), more ? el("span", { class: "muted small" }, more) : null));
  return [
    el("dl", { class: "tiles" },
      tile("figures_turns", whole.turns, count), tile("figures_sessions", whole.sessions, count),
      tile("figures_ack", whole.ack_p99, span, `${t("figures_p99")}, ${t("figures_goal", { value: "< 500 ms" })}`, whole.ack_p99 > 500), tile("figures_reply", whole.reply_p50, span, t("figures_p50")),
      tile("figures_errors", whole.errors, percent, t("figures_goal", { value: "< 0.5 %" }), whole.errors > 0.005), tile("figures_without", whole.without_model, percent),
      tile("figures_cost", whole.cost, count, t("figures_cost_more")), tile("figures_satisfied", whole.satisfied, percent, t("figures_opinions"))),
    el("div", { class: "charts" }, one("turns", "figures_turns", count), one("sessions", "figures_sessions", count), two("ack", "figures_ack", goal(500, "500 ms")), two("reply", "figures_reply"), one("errors", "figures_errors", percent, goal(0.005, "0.5 %")),
      one("without_model", "figures_without", percent), one("cost", "figures_cost", count), one("satisfied", "figures_satisfied", percent)),
    from,
  ];
}

/** What people call the part; its own name where the page has none. */
function nameOf(part) {
  const words = t(`health_${part}`);
  return words === `health_${part}` ? part : words;
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
    el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, nameOf(row.name)),
      el("td", {}, el("span", { class: `badge ${row.good ? "good" : "bad"}` }, t(row.good ? "health_good" : "health_not"))),
      el("td", {}, row.detail || (row.good ? "" : row.state))))))) ];
}
