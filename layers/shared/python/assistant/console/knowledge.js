// The knowledge: what is in it, adding to it, trying it, what people asked in vain, earlier versions, and the graph.

import { api, upload } from "./api.js";
import { announce, el, icon } from "./dom.js";
import { renderMarkdown, safeUrl } from "./markdown.js";
import { table, trouble } from "./ui.js";
import { addWords, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    kb_documents: "Documents", kb_add: "Add", kb_search: "Try a question", kb_gaps: "Unanswered", kb_versions: "Versions", kb_graph: "Graph", kb_parts: "Parts of the knowledge",
    kb_loading: "Loading…", kb_filter: "Filter by title or folder", kb_shown: "Documents: {count}", kb_title: "Title", kb_folder: "Folder", kb_audience: "Who may see it", kb_passages: "Passages", kb_added: "Added",
    kb_everyone: "everyone", kb_remove: "Remove", kb_remove_this: "Remove {title}", kb_remove_ask: "Remove “{title}”?", kb_remove_more: "It is taken out of every version that can be served. This cannot be undone.",
    kb_removed: "Removed.", kb_cancel: "Cancel", kb_empty: "No documents yet", kb_empty_more: "Add files or a web page, and the assistant answers from them.", kb_none: "No document fits the filter.",
    kb_drop: "Drop files here, or", kb_choose: "choose files", kb_formats: "Markdown, text, HTML, PDF, Word, PowerPoint, Excel, CSV, or a zip of those. Up to 4 MB each; add larger ones with “assistant kb add”.",
    kb_into: "Folder", kb_into_help: "For example hr/policies. Empty: the top.", kb_who: "Who may see it", kb_who_help: "Separated by spaces: everyone, department:ID, group:ID, user:PLATFORM:ID. Empty: as the folder.",
    kb_page: "Or a web page", kb_page_add: "Add page", kb_waiting: "waiting", kb_sending: "is being read…", kb_part: "{part} sent", kb_state_added: "added", kb_state_unchanged: "was there already, unchanged", kb_too_large: "is larger than 4 MB", kb_refused: "not added: {reason}",
    kb_question: "Question", kb_ask: "Search", kb_as: "As this person", kb_as_help: "PLATFORM:USER, for example slack:U123; or audiences such as department:42, separated by spaces. Empty: what everyone may see.", kb_sure: "Good enough to answer from.", kb_unsure: "Not good enough: the assistant would say that it found nothing.",
    kb_found_none: "Nothing was found.", kb_gaps_intro: "What people asked and got no answer to, most asked first. Write a page, add it, then take the question off the list.", kb_gaps_empty: "No unanswered questions",
    kb_gaps_empty_more: "Questions for which nothing good enough is found will appear here.", kb_times: "Asked", kb_last: "Last", kb_opinions: "Thumbs on passages", kb_opinions_more: "Passages that answers were made of, those that helped least first.", kb_passage: "Passage", kb_good: "Up", kb_bad: "Down", kb_gap_done: "Done", kb_gap_this: "Done: {question}", kb_gap_closed: "Taken off the list.", kb_try: "Try it",
    kb_versions_intro: "Each change publishes a new version. An older one can be served again at any time.", kb_version: "Version", kb_published: "Published", kb_by: "By", kb_note: "Change", kb_served: "served", kb_serve: "Serve again", kb_serve_this: "Serve again: version {name}",
    kb_rolled: "Version {name} is served.", kb_versions_empty: "No version was published yet", kb_versions_empty_more: "The assistant answers from the guides it came with.", kb_entity: "Person, team, system, product…", kb_find: "Find", kb_graph_empty: "No entity begins with that",
    kb_graph_empty_more: "Load people, teams and systems with “assistant kb graph load”.", kb_around: "What is around {name}", kb_also: "Also called {names}", kb_nothing_around: "Nothing is related to it.", kb_source: "source: {source}",
  },
  "zh-CN": {
    kb_documents: "文档", kb_add: "添加", kb_search: "试问", kb_gaps: "未答上的问题", kb_versions: "版本", kb_graph: "图谱", kb_parts: "知识库的各部分",
    kb_loading: "正在载入…", kb_filter: "按标题或文件夹筛选", kb_shown: "文档：{count}", kb_title: "标题", kb_folder: "文件夹", kb_audience: "可见范围", kb_passages: "段落", kb_added: "添加时间",
    kb_everyone: "所有人", kb_remove: "删除", kb_remove_this: "删除 {title}", kb_remove_ask: "删除“{title}”？", kb_remove_more: "它会从所有可用的版本中删除，无法恢复。",
    kb_removed: "已删除。", kb_cancel: "取消", kb_empty: "还没有文档", kb_empty_more: "添加文件或网页后，助手就会根据它们回答。", kb_none: "没有符合筛选条件的文档。",
    kb_drop: "把文件拖到这里，或者", kb_choose: "选择文件", kb_formats: "支持 Markdown、文本、HTML、PDF、Word、PowerPoint、Excel、CSV 以及它们的 zip。每个不超过 4 MB，更大的请用 “assistant kb add” 添加。",
    kb_into: "文件夹", kb_into_help: "例如 hr/policies。留空表示最上层。", kb_who: "可见范围", kb_who_help: "用空格分隔：everyone、department:ID、group:ID、user:平台:ID。留空则与文件夹相同。",
    kb_page: "或者添加网页", kb_page_add: "添加网页", kb_waiting: "等待中", kb_sending: "正在读取…", kb_part: "已上传 {part}", kb_state_added: "已添加", kb_state_unchanged: "已存在，没有变化", kb_too_large: "超过 4 MB", kb_refused: "未添加：{reason}",
    kb_question: "问题", kb_ask: "检索", kb_as: "以此人的身份", kb_as_help: "格式为 平台:用户，例如 slack:U123；也可以填写 department:42 等可见范围，用空格分隔。留空表示所有人可见的内容。", kb_sure: "足以据此回答。", kb_unsure: "不够好：助手会说没有找到。",
    kb_found_none: "什么都没有找到。", kb_gaps_intro: "用户问过但没有得到回答的问题，问得最多的排在最前。写好页面并添加后，就可以从列表中移除。", kb_gaps_empty: "没有未答上的问题",
    kb_gaps_empty_more: "找不到足够好内容的问题会显示在这里。", kb_times: "次数", kb_last: "最近一次", kb_opinions: "段落评价", kb_opinions_more: "回答引用过的段落，帮助最少的排在最前。", kb_passage: "段落", kb_good: "赞", kb_bad: "踩", kb_gap_done: "已处理", kb_gap_this: "已处理：{question}", kb_gap_closed: "已从列表移除。", kb_try: "试问",
    kb_versions_intro: "每次变更都会发布新版本，随时可以恢复使用旧版本。", kb_version: "版本", kb_published: "发布时间", kb_by: "操作人", kb_note: "变更", kb_served: "使用中", kb_serve: "恢复使用", kb_serve_this: "恢复使用：版本 {name}",
    kb_rolled: "正在使用版本 {name}。", kb_versions_empty: "还没有发布过版本", kb_versions_empty_more: "助手目前根据自带的指南回答。", kb_entity: "人员、团队、系统、产品…", kb_find: "查找", kb_graph_empty: "没有以此开头的条目",
    kb_graph_empty_more: "可用 “assistant kb graph load” 导入人员、团队和系统。", kb_around: "与{name}相关的内容", kb_also: "又名 {names}", kb_nothing_around: "没有与它相关的内容。", kb_source: "来源：{source}",
  },
});

const BASE = "/api/knowledge";
const LARGEST = 4 * 1024 * 1024; // what one function call takes, encoded
const PARTS = ["documents", "add", "search", "gaps", "versions", "graph"];

const date = (seconds) => (seconds ? new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000) : "");
const query = (values) => {
  const given = Object.entries(values).filter(([, value]) => value);
  return given.length ? `?${new URLSearchParams(given)}` : "";
};
/** Audiences of whoever is named: a person stands for themselves and for everyone. */
const tokens = (text) => {
  const given = text.split(/\s+/).filter(Boolean).map((word) => (/^(everyone$|department:|group:|user:|ring:)/.test(word) ? word : `user:${word}`));
  return given.length ? [...new Set(["everyone", ...given])].join(" ") : "";
};
const people = (tokens) => (tokens.length === 1 && tokens[0] === "everyone" ? t("kb_everyone") : tokens.join(", "));

/** The screen of the knowledge; `rest` is the part that is shown. */
export default function knowledge({ onKeyRefused, rest }) {
  const part = PARTS.includes(rest.split("/")[0]) ? rest.split("/")[0] : "documents";
  const body = el("div", { class: "kb" });
  const tabs = el("nav", { class: "tabs", "aria-label": t("kb_parts") }, PARTS.map((name) =>
    el("a", { href: name === "documents" ? "#/knowledge" : `#/knowledge/${name}`, "aria-current": name === part ? "page" : null }, t(`kb_${name}`))));
  const state = { stopped: false };

  /** Runs `work` and shows what went wrong with it. */
  async function attempt(work, where = body) {
    try {
      return await work();
    } catch (error) {
      if (state.stopped) return undefined;
      if (error.kind === "key") onKeyRefused();
      else where.replaceChildren(trouble(error, start));
      return undefined;
    }
  }

  const start = () => {
    body.replaceChildren(el("p", { class: "muted" }, t("kb_loading")));
    tabs.scrollLeft = (tabs.querySelector("[aria-current]")?.offsetLeft ?? 0) - tabs.offsetLeft - 24;
    return attempt(() => SHOW[part](body, attempt, state));
  };
  return { node: el("div", { class: "panel" }, tabs, body), start, stop() { state.stopped = true; } };
}

const nothing = (title, more, action = null) => el("div", { class: "nothing" }, el("h2", {}, t(title)), el("p", {}, t(more)), action);

function confirm(host, title, more, label, act) {
  const dialog = el("dialog", { "aria-labelledby": "kb-ask", onclose: () => dialog.remove() }, el("h2", { id: "kb-ask" }, title), el("p", {}, more),
    el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, t("kb_cancel")),
      el("button", { type: "button", class: "danger-button", onclick: () => { dialog.close(); act(); } }, label)));
  host.append(dialog);
  dialog.showModal();
}

const SHOW = {
  async documents(body, attempt, state) {
    const { documents } = await api.get(`${BASE}/documents`, { seconds: 30 }).catch((error) => {
      if (error.kind === "missing") return { documents: [] }; // nothing was ever added
      throw error;
    });
    if (state.stopped) return;
    if (!documents.length) {
      body.replaceChildren(nothing("kb_empty", "kb_empty_more", el("a", { class: "secondary", href: "#/knowledge/add" }, t("kb_add"))));
      return;
    }
    const filter = el("input", { type: "search", id: "kb-filter", class: "line", placeholder: t("kb_filter"), "aria-label": t("kb_filter"), oninput: () => fill() });
    const count = el("p", { class: "muted small", role: "status" });
    const list = el("div", {});
    const fill = () => {
      const wanted = filter.value.trim().toLowerCase();
      const found = documents.filter((d) => `${d.title} ${d.folder} ${d.id}`.toLowerCase().includes(wanted));
      count.textContent = t("kb_shown", { count: found.length });
      list.replaceChildren(found.length ? table(t("kb_documents"), ["kb_title", "kb_folder", "kb_audience", "kb_passages", "kb_added", ""].map((w) => w && t(w)), found.slice(0, 500).map(row), { ends: [3] }) : el("p", { class: "muted" }, t("kb_none")));
    };
    const row = (d) => {
      const url = safeUrl(d.url);
      return [url ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, d.title) : d.title, d.folder, people(d.audience), String(d.passages), date(d.added),
        el("button", { type: "button", class: "icon-button small", "aria-label": t("kb_remove_this", { title: d.title }), title: t("kb_remove"), onclick: () =>
          confirm(body, t("kb_remove_ask", { title: d.title }), t("kb_remove_more"), t("kb_remove"), () => attempt(async () => {
            await api.remove(`${BASE}/documents`, { body: { ids: [d.id] }, seconds: 60 });
            announce(t("kb_removed"));
            await SHOW.documents(body, attempt, state);
          })) }, icon("trash"))];
    };
    fill();
    body.replaceChildren(el("div", { class: "toolbar" }, filter, el("a", { class: "secondary", href: "#/knowledge/add" }, icon("plus"), t("kb_add"))), count, list);
  },

  async add(body) {
    const folder = el("input", { id: "kb-folder", class: "line", "aria-describedby": "kb-folder-help" });
    const audience = el("input", { id: "kb-audience", class: "line", spellcheck: "false", "aria-describedby": "kb-audience-help" });
    const list = el("ul", { class: "uploads", "aria-live": "polite" });
    const chooser = el("input", { type: "file", id: "kb-files", multiple: true, class: "visually-hidden", onchange: () => {
      take([...chooser.files]);
      chooser.value = "";
    } });
    const zone = el("div", { class: "drop" }, icon("download"), el("p", {}, t("kb_drop"), " ", chooser, el("label", { for: "kb-files", class: "secondary" }, t("kb_choose"))), el("p", { class: "muted small" }, t("kb_formats")));
    for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
    for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
    const line = (name) => {
      const said = el("span", { class: "muted" }, t("kb_waiting"));
      const bar = el("progress", { max: "1", value: "0", "aria-label": name, hidden: true });
      list.append(el("li", {}, el("strong", { dir: "auto" }, name), " ", said, bar));
      const say = (text, look = "muted") => {
        said.textContent = text;
        said.className = look;
        bar.hidden = true;
      };
      say.part = (part) => {
        bar.hidden = false;
        bar.value = part;
        said.textContent = part < 1 ? t("kb_part", { part: new Intl.NumberFormat(currentLanguage(), { style: "percent" }).format(part) }) : t("kb_sending");
      };
      return say;
    };
    const tell = (say, report) => {
      if (report.refused?.length) say(report.refused.map((r) => t("kb_refused", { reason: r.reason })).join(" "), "bad-text");
      else say(t(report.added?.length ? "kb_state_added" : "kb_state_unchanged"), report.added?.length ? "good-text" : "muted");
    };
    async function take(files) {
      const said = files.map((file) => line(file.name));
      for (const [index, file] of files.entries()) { // one after the other: one writer publishes at a time
        if (file.size > LARGEST) {
          said[index](t("kb_refused", { reason: t("kb_too_large") }), "bad-text");
          continue;
        }
        said[index](t("kb_sending"));
        try {
          tell(said[index], await upload(`${BASE}/files${query({ name: file.name, folder: folder.value.trim(), audience: audience.value.trim() })}`, file, said[index].part));
        } catch (error) {
          said[index](t("kb_refused", { reason: errorText(error) }), "bad-text");
        }
      }
    }
    const url = el("input", { id: "kb-url", type: "url", class: "line", placeholder: "https://" });
    const page = el("form", { class: "toolbar", novalidate: true, onsubmit: async (event) => {
      event.preventDefault();
      const address = url.value.trim();
      if (!address) return;
      const say = line(address);
      say(t("kb_sending"));
      try {
        tell(say, await api.post(`${BASE}/pages${query({ folder: folder.value.trim(), audience: audience.value.trim() })}`, { url: address }, { seconds: 60 }));
        url.value = "";
      } catch (error) {
        say(t("kb_refused", { reason: errorText(error) }), "bad-text");
      }
    } }, el("label", { for: "kb-url" }, t("kb_page")), url, el("button", { type: "submit", class: "secondary" }, t("kb_page_add")));
    body.replaceChildren(el("div", { class: "fields" },
      el("div", {}, el("label", { for: "kb-folder" }, t("kb_into")), folder, el("span", { id: "kb-folder-help", class: "muted small" }, t("kb_into_help"))),
      el("div", {}, el("label", { for: "kb-audience" }, t("kb_who")), audience, el("span", { id: "kb-audience-help", class: "muted small" }, t("kb_who_help")))), zone, page, list);
  },

  async search(body, attempt) {
    const found = el("div", { "aria-live": "polite" });
    const asked = new URLSearchParams(location.hash.split("?")[1] ?? "").get("q") ?? "";
    const question = Object.assign(el("input", { id: "kb-q", class: "line" }), { value: asked });
    const who = el("input", { id: "kb-as", class: "line", spellcheck: "false", placeholder: "everyone", "aria-describedby": "kb-as-help" });
    const look = () => attempt(async () => {
      if (!question.value.trim()) return;
      const answer = await api.get(`${BASE}/search${query({ q: question.value.trim(), audience: tokens(who.value) })}`);
      found.replaceChildren(...hits(answer));
    }, found);
    const form = el("form", { onsubmit: (event) => { event.preventDefault(); look(); } }, el("div", { class: "fields" },
      el("div", {}, el("label", { for: "kb-q" }, t("kb_question")), question),
      el("div", {}, el("label", { for: "kb-as" }, t("kb_as")), who, el("span", { id: "kb-as-help", class: "muted small" }, t("kb_as_help")))),
    el("div", { class: "toolbar" }, el("button", { type: "submit", class: "primary" }, t("kb_ask"))));
    body.replaceChildren(form, found);
    question.focus();
    if (asked) await look();
  },

  async gaps(body, attempt, state) {
    const { gaps, feedback = [] } = await api.get(`${BASE}/gaps`);
    if (state.stopped) return;
    const opinions = feedback.length ? [el("h2", {}, t("kb_opinions")), el("p", { class: "muted" }, t("kb_opinions_more")), table(t("kb_opinions"), [t("kb_passage"), t("kb_good"), t("kb_bad")], feedback.map((f) => [f.passage, String(f.good), String(f.bad)]), { ends: [1, 2] })] : [];
    if (!gaps.length) {
      body.replaceChildren(nothing("kb_gaps_empty", "kb_gaps_empty_more"), ...opinions);
      return;
    }
    const rows = gaps.map((gap) => [gap.question, String(gap.count), date(gap.asked), el("div", { class: "acts" },
      el("a", { class: "secondary", href: `#/knowledge/search?${new URLSearchParams({ q: gap.question })}` }, t("kb_try")),
      el("button", { type: "button", class: "secondary", "aria-label": t("kb_gap_this", { question: gap.question }), onclick: () => attempt(async () => {
        await api.remove(`${BASE}/gaps${query({ id: gap.id })}`);
        announce(t("kb_gap_closed"));
        await SHOW.gaps(body, attempt, state);
      }) }, t("kb_gap_done")))]);
    body.replaceChildren(el("p", { class: "muted" }, t("kb_gaps_intro")), table(t("kb_gaps"), [t("kb_question"), t("kb_times"), t("kb_last"), ""], rows, { ends: [1] }), ...opinions);
  },

  async versions(body, attempt, state) {
    const { current, versions } = await api.get(`${BASE}/versions`);
    if (state.stopped) return;
    if (!versions.length) {
      body.replaceChildren(nothing("kb_versions_empty", "kb_versions_empty_more"));
      return;
    }
    const rows = versions.map((v) => [v.name, date(v.published), v.author, v.note, String(v.documents),
      v.name === current ? el("span", { class: "badge good" }, t("kb_served")) : el("button", { type: "button", class: "secondary", "aria-label": t("kb_serve_this", { name: v.name }), onclick: () => attempt(async () => {
        await api.post(`${BASE}/rollback`, { version: v.name });
        announce(t("kb_rolled", { name: v.name }));
        await SHOW.versions(body, attempt, state);
      }) }, t("kb_serve"))]);
    body.replaceChildren(el("p", { class: "muted" }, t("kb_versions_intro")), table(t("kb_versions"), ["kb_version", "kb_published", "kb_by", "kb_note", "kb_documents", ""].map((w) => w && t(w)), rows, { ends: [4] }));
  },

  async graph(body, attempt) {
    const found = el("div", {});
    const name = el("input", { id: "kb-entity", class: "line", type: "search", placeholder: t("kb_entity"), "aria-label": t("kb_entity") });
    const look = () => attempt(async () => {
      const { entities } = await api.get(`${BASE}/graph${query({ q: name.value.trim() })}`);
      found.replaceChildren(entities.length
        ? el("ul", { class: "entities" }, entities.map((e) => el("li", {}, el("button", { type: "button", class: "secondary", onclick: () => walk(e.id) }, e.name, el("span", { class: "muted small" }, e.kind)))))
        : nothing("kb_graph_empty", "kb_graph_empty_more"));
    }, found);
    const walk = (id) => attempt(async () => {
      const seen = await api.get(`${BASE}/graph/walk${query({ entity: id })}`);
      found.replaceChildren(...around(seen, walk));
      found.querySelector("h2").focus();
    }, found);
    body.replaceChildren(el("form", { class: "toolbar", onsubmit: (event) => { event.preventDefault(); look(); } }, name, el("button", { type: "submit", class: "secondary" }, icon("search"), t("kb_find"))), found);
    await look();
  },
};

function hits(answer) {
  if (!answer.passages.length && !answer.facts?.length) return [el("p", { class: "muted" }, t("kb_found_none"))];
  const facts = (answer.facts ?? []).map((fact) => el("p", { class: "fact" }, fact));
  return [el("p", { class: `verdict ${answer.confident ? "good" : "bad"}` }, icon(answer.confident ? "check" : "alert"), `${t(answer.confident ? "kb_sure" : "kb_unsure")} (${answer.certainty})`), ...facts,
    el("ol", { class: "hits" }, answer.passages.map((passage) => {
      const text = el("div", { class: "body", dir: "auto" });
      renderMarkdown(text, passage.text);
      const where = [passage.path, passage.page ? t("page", { page: passage.page }) : ""].filter(Boolean).join(" · ");
      return el("li", { class: "doctor-card" }, el("h2", { dir: "auto" }, passage.title), el("p", { class: "muted small", dir: "auto" }, where), text);
    }))];
}

function around({ entity, nodes, edges }, walk) {
  const named = new Map(nodes.map((node) => [node.id, node.name]));
  const others = (entity.aliases ?? []).filter((alias) => alias !== entity.name);
  const about = [entity.kind, others.length ? t("kb_also", { names: others.join(", ") }) : "", entity.description].filter(Boolean).join(" · ");
  const step = (id) => (id === entity.id ? el("strong", {}, entity.name) : el("button", { type: "button", class: "entity", onclick: () => walk(id) }, named.get(id) ?? id));
  const lines = edges.map((edge) => el("li", {}, step(edge.subject), el("span", { class: "muted" }, ` ${edge.kind.replaceAll("_", " ")} `), step(edge.object), edge.source ? el("span", { class: "muted small" }, ` (${t("kb_source", { source: edge.source })})`) : null));
  return [el("h2", { tabindex: "-1" }, t("kb_around", { name: entity.name })), el("p", { class: "muted", dir: "auto" }, about), picture(entity, named, edges, walk),
    lines.length ? el("ul", { class: "edges" }, lines) : el("p", { class: "muted" }, t("kb_nothing_around"))].filter(Boolean);
}

/** A star of what is around the entity; the list below it says the same to everybody. */
function picture(entity, named, edges, walk) {
  const others = [...new Set(edges.flatMap((edge) => [edge.subject, edge.object]))].filter((id) => id !== entity.id).slice(0, 14);
  if (!others.length) return null;
  const svg = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text) node.textContent = text.length > 18 ? `${text.slice(0, 17)}…` : text;
    return node;
  };
  const root = svg("svg", { viewBox: "-300 -170 600 340", class: "star", "aria-hidden": "true" });
  const places = others.map((id, index) => {
    const angle = (index / others.length) * 2 * Math.PI;
    return [id, Math.round(Math.cos(angle) * 215), Math.round(Math.sin(angle) * 130)];
  });
  for (const [, x, y] of places) root.append(svg("line", { x1: 0, y1: 0, x2: x, y2: y }));
  for (const [id, x, y] of [[entity.id, 0, 0], ...places]) {
    root.append(svg("circle", { cx: x, cy: y, r: id === entity.id ? 11 : 7, class: id === entity.id ? "centre" : "other" }));
    root.append(svg("text", { x, y: y + (y < 0 ? -14 : 24), "text-anchor": "middle", class: id === entity.id ? "" : "other" }, id === entity.id ? entity.name : named.get(id) ?? id));
    if (id !== entity.id) for (const node of [root.lastChild, root.lastChild.previousSibling]) node.addEventListener("click", () => walk(id)); // the list does the same by keyboard
  }
  return root;
}
