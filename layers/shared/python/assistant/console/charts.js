// Lines over time as inline SVG, each with the same figures as a table for whoever cannot see the line.

import { el } from "./dom.js";
import { addWords, currentLanguage, t } from "./words.js";

addWords({
  en: { chart_table: "As a table", chart_time: "Time", chart_nothing: "Nothing was measured in this time.", chart_says: "{title}: {summary}", chart_range: "from {least} to {most}, last {last}" },
  "zh-CN": { chart_table: "表格", chart_time: "时间", chart_nothing: "这段时间没有数据。", chart_says: "{title}：{summary}", chart_range: "最低 {least}，最高 {most}，最近 {last}" },
});

const WIDTH = 480;
const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 22;
const TOP = 8;

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A round number at or above `value`: 1, 2, 2.5, 5 times a power of ten. */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((round) => round >= value * 0.999);
}

const clock = (ms, long) => new Intl.DateTimeFormat(currentLanguage(), long ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit" }).format(ms);
const full = (ms) => new Intl.DateTimeFormat(currentLanguage(), { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(ms);

/**
 * A chart. `lines`: [{name, values}], a value for each step, null where nothing was measured; `shown(value)` writes one;
 * `limit`: a line that should not be passed, with its words.
 */
export function chart({ title, lines, start, step, shown, limit = null }) {
  const given = lines.flatMap((line) => line.values).filter((value) => value !== null);
  const head = el("figcaption", {}, el("h3", {}, title), lines.length > 1 ? el("ul", { class: "legend" }, lines.map((line, index) => el("li", { class: `series-${index}` }, line.name))) : null);
  if (!given.length) return el("figure", { class: "chart empty" }, head, el("p", { class: "muted small" }, t("chart_nothing")));
  const count = lines[0].values.length;
  const most = ceiling(Math.max(...given, limit && Math.max(...given) > limit.value / 2 ? limit.value : 0));
  const x = (index) => LEFT + (count === 1 ? 0 : (index / (count - 1)) * (WIDTH - LEFT - 6));
  const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const long = step * count > 2 * 86400;
  const last = lines.map((line) => line.values.findLast((value) => value !== null) ?? null).find((value) => value !== null);
  const summary = t("chart_range", { least: shown(Math.min(...given)), most: shown(Math.max(...given)), last: shown(last) });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": t("chart_says", { title, summary }) });
  for (const part of [0, 0.5, 1]) {
    picture.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - 6, y1: y(most * part), y2: y(most * part) }), svg("text", { class: "tick", x: LEFT - 6, y: y(most * part) + 4, "text-anchor": "end" }, shown(most * part)));
  }
  for (const [place, anchor] of [[0, "start"], [Math.floor((count - 1) / 2), "middle"], [count - 1, "end"]]) {
    picture.append(svg("text", { class: "tick", x: x(place), y: HEIGHT - 5, "text-anchor": anchor }, clock(start + place * step * 1000, long)));
  }
  if (limit && limit.value <= most) picture.append(svg("line", { class: "limit", x1: LEFT, x2: WIDTH - 6, y1: y(limit.value), y2: y(limit.value) }), svg("text", { class: "tick limit-text", x: WIDTH - 8, y: y(limit.value) - 4, "text-anchor": "end" }, limit.words));
  lines.forEach((line, index) => {
    const group = svg("g", { class: `series-${index}` });
    for (const run of runs(line.values)) {
      const points = run.map(([place, value]) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
      if (lines.length === 1) group.append(svg("path", { class: "area", d: `M${x(run[0][0]).toFixed(1)},${y(0)} L${points.join(" L")} L${x(run.at(-1)[0]).toFixed(1)},${y(0)}Z` }));
      if (run.length === 1) group.append(svg("circle", { class: "dot", cx: x(run[0][0]), cy: y(run[0][1]), r: 3 }));
      else group.append(svg("path", { class: "line-path", d: `M${points.join(" L")}` }));
    }
    picture.append(group);
  });
  const places = [...Array(count).keys()].filter((place) => lines.some((line) => line.values[place] !== null));
  const rows = el("details", { class: "more" }, el("summary", {}, t("chart_table")), el("div", { class: "table", role: "region", tabindex: "0", "aria-label": title }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("chart_time")), lines.map((line) => el("th", { scope: "col", class: "align-end" }, line.name)))),
    el("tbody", {}, places.map((place) => el("tr", {}, el("th", { scope: "row" }, full(start + place * step * 1000)), lines.map((line) => el("td", { class: "align-end" }, line.values[place] === null ? "–" : shown(line.values[place])))))))));
  return el("figure", { class: "chart" }, head, picture, rows);
}

/** The stretches of values without a gap, as [place, value] pairs. */
function runs(values) {
  const found = [];
  let run = [];
  values.forEach((value, place) => {
    if (value !== null) run.push([place, value]);
    else if (run.length) {
      found.push(run);
      run = [];
    }
  });
  return run.length ? [...found, run] : found;
}
