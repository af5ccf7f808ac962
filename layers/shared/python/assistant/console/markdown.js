// Markdown to DOM nodes. The text is never given to an HTML parser: what is not known syntax stays text, links lead to http(s)
// only, images become links (a picture loaded from elsewhere would tell that server who reads what). Work grows with the length
// of the text, whatever is in it.

import { copyText, el, icon } from "./dom.js";
import { t } from "./words.js";

const DEEPEST = 8; // nesting of lists and quotes

/**
 * Shows `source` in `container`; called again with a longer source, it changes only the blocks that changed.
 * `sources`: Map of number → {title, url} for [1]-style references. `streaming`: the text goes on, so open marks are closed.
 * `top`: level of the highest heading. `resolve`: gives the address on this page for a document's relative link, or "".
 */
export function renderMarkdown(container, source, { sources = new Map(), streaming = false, top = 3, resolve = null } = {}) {
  const blocks = parseBlocks(source.replace(/\r\n?/g, "\n").split("\n"));
  const levels = [...new Set(blocks.filter((b) => b.type === "heading").map((b) => b.level))].sort();
  const before = container.markdownBlocks ?? [];
  const after = blocks.map((block, index) => {
    const last = streaming && index === blocks.length - 1;
    const level = block.type === "heading" ? Math.min(6, top + levels.indexOf(block.level)) : 0;
    return { block, last, level, key: `${block.type}|${level}|${last}|${sources.size}|${block.raw}` };
  });
  let same = 0;
  while (same < before.length && same < after.length && before[same].key === after[same].key) same += 1;
  for (const old of before.slice(same)) old.node.remove();
  for (const [index, entry] of after.entries()) {
    if (index < same) {
      entry.node = before[index].node;
    } else {
      entry.node = build(entry.block, { sources, streaming: entry.last, level: entry.level, depth: 0, resolve });
      container.append(entry.node);
    }
  }
  container.markdownBlocks = after;
}

// --- blocks ------------------------------------------------------------------------------------

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*)|)$/;

const blank = (line) => line.trim() === "";

function parseBlocks(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (blank(lines[at])) {
      at += 1;
      continue;
    }
    const start = at;
    const block = fence() ?? heading() ?? rule() ?? quote() ?? list() ?? table() ?? indented() ?? paragraph();
    block.raw = lines.slice(start, at).join("\n");
    blocks.push(block);
  }
  return blocks;

  function fence() {
    const open = FENCE.exec(lines[at]);
    if (!open) return null;
    const mark = open[1];
    const body = [];
    at += 1;
    while (at < lines.length) {
      const close = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(lines[at]);
      at += 1;
      if (close && close[1][0] === mark[0] && close[1].length >= mark.length) break;
      body.push(lines[at - 1]);
    }
    return { type: "code", language: open[2].trim().split(/\s/)[0], text: body.join("\n") };
  }

  function heading() {
    const found = HEADING.exec(lines[at]);
    if (!found) return null;
    at += 1;
    let text = (found[2] ?? "").trim();
    const bare = text.length - /#*$/.exec(text.slice(-12))[0].length; // closing marks
    if (bare === 0 || /[ \t]/.test(text[bare - 1])) text = text.slice(0, bare).trimEnd();
    return { type: "heading", level: found[1].length, text };
  }

  function rule() {
    if (!RULE.test(lines[at])) return null;
    at += 1;
    return { type: "rule" };
  }

  function quote() {
    if (!QUOTE.test(lines[at])) return null;
    const body = [];
    while (at < lines.length && !blank(lines[at])) {
      if (!QUOTE.test(lines[at]) && startsBlock(lines, at)) break;
      body.push(lines[at].replace(QUOTE, ""));
      at += 1;
    }
    return { type: "quote", lines: body };
  }

  function list() {
    const first = ITEM.exec(lines[at]);
    if (!first || RULE.test(lines[at])) return null;
    const ordered = /\d/.test(first[2]);
    const mark = ordered ? first[2].slice(-1) : first[2];
    const items = [];
    let loose = false;
    let gap = false;
    let offset = 0;
    while (at < lines.length) {
      const line = lines[at];
      if (blank(line)) {
        gap = true;
        items.at(-1).push("");
        at += 1;
        continue;
      }
      const indent = line.length - line.trimStart().length;
      if (items.length && indent >= offset) {
        loose ||= gap && items.at(-1).length > 1 && !ITEM.test(line.slice(offset));
        items.at(-1).push(line.slice(offset));
      } else {
        const item = ITEM.exec(line);
        if (item && !RULE.test(line) && (ordered ? /\d/.test(item[2]) && item[2].endsWith(mark) : item[2] === mark)) {
          loose ||= gap && items.length > 0;
          offset = item[1].length + item[2].length + (item[3] && item[3].length <= 4 ? item[3].length : 1);
          items.push([item[4] ?? ""]);
        } else if (!gap && !startsBlock(lines, at)) {
          items.at(-1).push(line.trimStart());
        } else {
          break;
        }
      }
      gap = false;
      at += 1;
    }
    return { type: "list", ordered, start: ordered ? Number.parseInt(first[2], 10) : 1, items, loose };
  }

  function table() {
    if (!isTable(lines, at)) return null;
    const head = cells(lines[at]);
    const aligns = cells(lines[at + 1]).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "end") : "start"));
    at += 2;
    const rows = [];
    while (at < lines.length && !blank(lines[at]) && !startsBlock(lines, at)) {
      const row = cells(lines[at]).slice(0, head.length);
      while (row.length < head.length) row.push("");
      rows.push(row);
      at += 1;
    }
    return { type: "table", head, aligns, rows };
  }

  function indented() {
    if (!/^(?: {4}|\t)/.test(lines[at])) return null;
    const body = [];
    while (at < lines.length && (/^(?: {4}|\t)/.test(lines[at]) || blank(lines[at]))) {
      body.push(lines[at].replace(/^(?: {4}|\t)/, ""));
      at += 1;
    }
    while (body.length && blank(body.at(-1))) body.pop();
    return { type: "code", language: "", text: body.join("\n") };
  }

  function paragraph() {
    const body = [lines[at]];
    at += 1;
    while (at < lines.length && !blank(lines[at]) && !startsBlock(lines, at)) {
      body.push(lines[at]);
      at += 1;
    }
    return { type: "paragraph", text: body.map((line) => line.trimStart()).join("\n").trimEnd() };
  }
}

/** Whether the line ends a paragraph above it. */
function startsBlock(lines, at) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  if (item && item[4] && (!/\d/.test(item[2]) || Number.parseInt(item[2], 10) === 1)) return true;
  return isTable(lines, at);
}

function isTable(lines, at) {
  if (!lines[at].includes("|") || at + 1 >= lines.length || !lines[at + 1].includes("-")) return false;
  const delimiters = cells(lines[at + 1]);
  return delimiters.every((cell) => /^:?-+:?$/.test(cell)) && cells(lines[at]).length === delimiters.length;
}

function cells(line) {
  const trimmed = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  return trimmed.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

// --- nodes -------------------------------------------------------------------------------------

function build(block, how) {
  switch (block.type) {
    case "heading":
      return el(`h${how.level || 6}`, {}, inline(block.text, how));
    case "rule":
      return el("hr");
    case "code":
      return codeBlock(block);
    case "quote":
      return el("blockquote", {}, nested(block.lines, how));
    case "list":
      return listBlock(block, how);
    case "table":
      return tableBlock(block, how);
    default:
      return el("p", { class: how.sources.size && /^(?:\[\d{1,3}\]\s*)+$/.test(block.text) ? "cites" : null }, inline(block.text, how));
  }
}

function nested(lines, how) {
  const inner = { ...how, depth: how.depth + 1, level: 6 };
  if (inner.depth > DEEPEST) return [document.createTextNode(lines.join("\n"))];
  return parseBlocks(lines).map((block) => build(block, inner));
}

function listBlock(block, how) {
  const node = el(block.ordered ? "ol" : "ul", block.ordered && block.start !== 1 ? { start: String(block.start) } : {});
  for (const lines of block.items) {
    const task = /^\[([ xX])\][ \t]+/.exec(lines[0]);
    const body = task ? [lines[0].slice(task[0].length), ...lines.slice(1)] : lines;
    const item = el("li", task ? { class: "task" } : {});
    if (task) item.append(el("span", { class: "visually-hidden" }, task[1] === " " ? "☐ " : "☑ "), el("span", { class: task[1] === " " ? "box" : "box ticked", "aria-hidden": "true" }));
    for (const child of nested(body, how)) {
      // A tight list's text stands in the item itself.
      if (!block.loose && child.tagName === "P") item.append(...child.childNodes);
      else item.append(child);
    }
    node.append(item);
  }
  return node;
}

function tableBlock(block, how) {
  const row = (tag, values) =>
    el("tr", {}, values.map((value, i) => el(tag, { class: `align-${block.aligns[i]}`, ...(tag === "th" ? { scope: "col" } : {}) }, inline(value, how))));
  return el(
    "div",
    { class: "table", role: "group", tabindex: "0", "aria-label": t("table_region") },
    el("table", {}, el("thead", {}, row("th", block.head)), el("tbody", {}, block.rows.map((values) => row("td", values)))),
  );
}

function codeBlock(block) {
  const language = /^[\w+#.-]{1,24}$/.test(block.language) ? block.language : "";
  const label = el("span", { class: "visually-hidden", role: "status" });
  const button = el("button", { type: "button", class: "copy", "aria-label": t("copy_code"), title: t("copy_code") }, icon("copy"), label);
  button.addEventListener("click", async () => {
    const copied = await copyText(block.text);
    button.classList.toggle("done", copied);
    button.replaceChildren(icon(copied ? "check" : "copy"), label);
    label.textContent = t(copied ? "copied" : "copy_failed");
    setTimeout(() => {
      button.classList.remove("done");
      button.replaceChildren(icon("copy"), label);
      label.textContent = "";
    }, 2000);
  });
  return el(
    "figure",
    { class: "code" },
    el("figcaption", {}, el("span", {}, language || t("code")), button),
    el("pre", { tabindex: "0", "aria-label": language || t("code"), role: "group" }, el("code", { dir: "ltr" }, block.text)),
  );
}

// --- text in a line ----------------------------------------------------------------------------

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", hellip: "…", mdash: "—", ndash: "–" };
const WIDE = /[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]/;
const BARE_URL = /https?:\/\/[^\s<>"'`|\u3000-\u303f\uff00-\uffef]+/y;
const ANGLE_URL = /<(https?:\/\/[^\s<>]+|mailto:[^\s<>]+)>/y;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(\w{2,8}));/y;
const LINK_TARGET = /\([ \t]*(?:<([^<>\n]{0,2000})>|([^\s()]*(?:\([^\s()]*\)[^\s()]*)*))(?:[ \t]+(?:"[^"]{0,300}"|'[^']{0,300}'))?[ \t]*\)/y;
const CITATION = /\[(\d{1,3})\]/y;

/** A bare address without the punctuation of the sentence around it; a bracket stays where its partner is in the address. */
function withoutTail(url) {
  let end = url.length;
  let open = 0;
  for (const char of url) open += char === "(" ? 1 : char === ")" ? -1 : 0;
  while (end > 0) {
    const char = url[end - 1];
    if (char === ")" && open < 0) open += 1;
    else if (!".,;:!?*_~".includes(char)) break;
    end -= 1;
  }
  return url.slice(0, end);
}

/** The nodes for one run of text. */
function inline(text, how) {
  const out = []; // nodes, strings and open marks {mark, count}
  const openers = new Map(); // mark → indexes in `out`
  const noTicks = new Set(); // lengths of backtick runs known to have no partner further on
  let plain = "";
  let at = 0;

  const flush = () => {
    if (plain) out.push(plain);
    plain = "";
  };
  const put = (node) => {
    flush();
    out.push(node);
  };

  while (at < text.length) {
    const char = text[at];
    if (char === "\\" && at + 1 < text.length) {
      if (text[at + 1] === "\n") put(el("br"));
      else plain += /[!-/:-@[-`{-~]/.test(text[at + 1]) ? text[at + 1] : `\\${text[at + 1]}`;
      at += 2;
    } else if (char === "\n") {
      lineBreak();
    } else if (char === "`") {
      ticks();
    } else if (char === "*" || char === "_" || char === "~") {
      mark();
    } else if (!special(char)) {
      plain += char;
      at += 1;
    }
  }
  flush();
  return close();

  /** Links, references, addresses and entities: true where something was taken. */
  function special(char) {
    if (char === "!" && text[at + 1] === "[") return link(at + 1, true);
    if (char === "[") return cite() || link(at, false);
    if (char === "<") {
      const found = match(ANGLE_URL);
      if (!found) return false;
      put(anchor(found[1], [found[1].replace(/^mailto:/, "")]));
      at += found[0].length;
      return true;
    }
    if (char === "h" && !/[\w/]/.test(text[at - 1] ?? "")) {
      const found = match(BARE_URL);
      if (!found) return false;
      const url = withoutTail(found[0]);
      put(anchor(url, [url]));
      at += url.length;
      return true;
    }
    if (char === "&") {
      const found = match(ENTITY);
      if (!found) return false;
      const code = found[1] ? Number(found[1]) : found[2] ? Number.parseInt(found[2], 16) : -1;
      const value = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : ENTITIES[found[3]];
      if (!value) return false;
      plain += value;
      at += found[0].length;
      return true;
    }
    return false;
  }

  function match(pattern) {
    pattern.lastIndex = at;
    return pattern.exec(text);
  }

  function lineBreak() {
    const hard = plain.endsWith("  ");
    plain = plain.trimEnd();
    const previous = plain.at(-1) ?? "";
    if (hard) put(el("br"));
    else if (!(WIDE.test(previous) && WIDE.test(text[at + 1] ?? ""))) plain += " ";
    at += 1;
  }

  function ticks() {
    const run = /`+/y;
    run.lastIndex = at;
    const open = run.exec(text)[0];
    let end = -1;
    if (!noTicks.has(open.length)) {
      const closer = new RegExp(`(?<!\`)\`{${open.length}}(?!\`)`, "g");
      closer.lastIndex = at + open.length;
      end = closer.exec(text)?.index ?? -1;
      if (end < 0) noTicks.add(open.length);
    }
    if (end < 0) {
      plain += open;
      at += open.length;
      return;
    }
    let code = text.slice(at + open.length, end).replaceAll("\n", " ");
    if (code.startsWith(" ") && code.endsWith(" ") && code.trim()) code = code.slice(1, -1);
    put(el("code", { dir: "ltr" }, code));
    at = end + open.length;
  }

  function cite() {
    const found = match(CITATION);
    const source = found && how.sources.get(Number(found[1]));
    if (!source || text[at + found[0].length] === "(") return false;
    const label = t("source_n", { number: found[1], title: source.title });
    const url = safeUrl(source.url);
    const node = url
      ? el("a", { class: "cite", href: url, target: "_blank", rel: "noopener noreferrer", title: source.title, "aria-label": label }, found[1])
      : el("span", { class: "cite", title: source.title, role: "img", "aria-label": label }, found[1]);
    put(node);
    at += found[0].length;
    return true;
  }

  function link(from, image) {
    let depth = 0;
    let end = -1;
    for (let i = from; i < text.length && i < from + 600; i += 1) {
      if (text[i] === "\\") i += 1;
      else if (text[i] === "[") depth += 1;
      else if (text[i] === "]" && (depth -= 1) === 0) {
        end = i;
        break;
      }
    }
    if (end < 0 || text[end + 1] !== "(") return false;
    const label = text.slice(from + 1, end);
    LINK_TARGET.lastIndex = end + 1;
    const target = LINK_TARGET.exec(text);
    if (!target) {
      if (!how.streaming || text.indexOf(")", end) >= 0) return false;
      plain += label; // the address is still on its way
      at = text.length;
      return true;
    }
    const inLink = { ...how, streaming: false, sources: new Map(), inLink: true };
    const children = image ? [label || t("image")] : how.inLink ? [label] : inline(label, inLink);
    const address = target[1] ?? target[2];
    const here = !image && how.resolve?.(address);
    if (how.inLink) put(el("span", {}, children));
    else if (here) put(el("a", { href: here }, children));
    else put(anchor(address, children));
    at = end + 1 + target[0].length;
    return true;
  }

  /** `*`, `_` and `~~`: closes the nearest open mark of its kind, or opens one. */
  function mark() {
    const char = text[at];
    let count = 1;
    while (text[at + count] === char) count += 1;
    const before = text[at - 1] ?? " ";
    const after = text[at + count] ?? " ";
    at += count;
    const inWord = char === "_" && /\w/.test(before) && /\w/.test(after);
    if ((char === "~" && count < 2) || count > 3 || inWord) {
      plain += char.repeat(count);
      return;
    }
    flush();
    let left = char === "~" ? 2 : count;
    if (!/\s/.test(before)) {
      while (left > 0) {
        const index = openers.get(char)?.pop();
        if (index === undefined) break;
        const opener = out[index];
        const used = Math.min(2, left, opener.count);
        const children = settle(out.splice(index + 1));
        for (const [other, indexes] of openers) if (other !== char) while (indexes.length && indexes.at(-1) > index) indexes.pop();
        if (!children.length) {
          out.push(char.repeat(used));
        } else {
          out.push(el(char === "~" ? "del" : used === 2 ? "strong" : "em", {}, children));
        }
        left -= used;
        opener.count -= used;
        if (opener.count > 0) openers.get(char).push(index);
        else out.splice(index, 1, "");
      }
    }
    if (left > 0 && !/\s/.test(after)) {
      if (!openers.has(char)) openers.set(char, []);
      openers.get(char).push(out.length);
      out.push({ mark: char, count: left });
    } else if (left > 0) {
      out.push(char.repeat(left));
    }
  }

  /** Marks that found no partner become text. */
  function settle(items) {
    return items.map((item) => (item.mark ? item.mark.repeat(item.count) : item)).filter((item) => item !== "");
  }

  function close() {
    if (!how.streaming) return settle(out);
    // The partner of the last bold mark is still on its way.
    const index = openers.get("*")?.at(-1);
    if (index === undefined || out[index].count !== 2) return settle(out);
    const rest = settle(out.splice(index + 1));
    out.pop();
    return [...settle(out), ...(rest.length ? [el("strong", {}, rest)] : [])];
  }
}

/** An http(s) address (mailto for people), or "" for anything else. */
export function safeUrl(address) {
  if (!address) return "";
  try {
    const url = new URL(address, location.origin);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}

function anchor(address, children) {
  const url = safeUrl(address);
  if (!url) return el("span", {}, children);
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow", title: url }, children);
}
