// The product's guides: a list, and each of them as a page. They hold nothing secret and need no key.

import { el, icon } from "./dom.js";
import { renderMarkdown } from "./markdown.js";
import { addWords, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    docs_everybody: "For everybody", docs_admin: "For administrators", docs_engineer: "For engineers", docs_more: "More", docs_all: "All guides",
    docs_loading: "Loading…", docs_missing: "This guide does not exist. Perhaps it was renamed; look through the list.",
  },
  "zh-CN": {
    docs_everybody: "面向所有人", docs_admin: "面向管理员", docs_engineer: "面向工程师", docs_more: "更多", docs_all: "全部指南",
    docs_loading: "正在载入…", docs_missing: "没有这篇指南，也许已经改名，请在列表中查找。",
  },
});

const GROUPS = [
  ["docs_everybody", ["what-it-does", "asking", "privacy-security", "getting-help"]],
  ["docs_admin", ["connecting", "connect-feishu", "connect-dingtalk", "connect-wecom", "connect-slack", "connect-teams", "knowledge", "rollout", "troubleshooting"]],
  ["docs_engineer", ["running-locally", "deploying", "models", "plugins"]],
];

/** The guides' screen: the list, or the guide at `rest`, such as "guides/en/asking.md". */
export default function docs({ rest, setTitle }) {
  const body = el("div", {}, el("p", { class: "muted" }, t("docs_loading")));
  const stopped = new AbortController();

  async function load(path) {
    const response = await fetch(`/console/docs/${path}`, { signal: stopped.signal, credentials: "omit" });
    if (response.status === 404) throw Object.assign(new Error(), { words: t("docs_missing") });
    if (!response.ok) throw Object.assign(new Error(), { kind: "server" });
    return response;
  }

  async function start() {
    try {
      if (rest) body.replaceChildren(...guide(await (await load(rest.split("/").map(encodeURIComponent).join("/"))).text(), rest, setTitle));
      else body.replaceChildren(list(await (await load("index.json")).json()));
    } catch (error) {
      if (stopped.signal.aborted) return;
      body.replaceChildren(...(rest ? [bar(rest)] : []), el("p", { class: "verdict bad" }, icon("alert"), error.words ?? errorText(error.kind ? error : { kind: "offline" })));
    }
  }

  return { node: el("div", { class: "panel" }, body), start, stop: () => stopped.abort() };
}

function list(pages) {
  const mine = new Map(pages.map((page) => [/^guides\/([^/]+)\/(.+)\.md$/.exec(page.path), page]).filter(([m]) => m?.[1] === currentLanguage()).map(([m, page]) => [m[2], page]));
  const known = new Set(GROUPS.flatMap(([, names]) => names));
  const groups = [...GROUPS, ["docs_more", [...mine.keys()].filter((name) => !known.has(name))]];
  return el("div", { class: "guide-groups" }, groups.map(([title, names]) => {
    const found = names.filter((name) => mine.has(name));
    if (!found.length) return null;
    return el("section", {}, el("h2", {}, t(title)), el("ul", {}, found.map((name) => el("li", {}, el("a", { href: `#/docs/${mine.get(name).path}` }, mine.get(name).title)))));
  }));
}

function bar(path) {
  const language = /^guides\/([^/]+)\//.exec(path)?.[1];
  const other = language === "en" ? "zh-CN" : "en";
  return el("p", { class: "guide-bar" },
    el("a", { href: "#/docs" }, t("docs_all")),
    language ? el("a", { href: `#/docs/${path.replace(`guides/${language}/`, `guides/${other}/`)}`, lang: other, hreflang: other }, other === "en" ? "English" : "中文") : null);
}

function guide(text, path, setTitle) {
  const language = /^guides\/([^/]+)\//.exec(path)?.[1];
  const article = el("article", { class: "guide body", lang: language ?? null });
  const from = new URL(path, "https://docs.invalid/");
  renderMarkdown(article, text.replace(/^---\n[\s\S]*?\n---\n/, ""), {
    top: 2,
    resolve(address) {
      const url = new URL(address, from);
      return url.host === from.host && url.pathname.endsWith(".md") ? `#/docs${url.pathname}` : "";
    },
  });
  setTitle(article.querySelector("h2")?.textContent ?? "");
  return [bar(path), article];
}
