// Dead letters: messages that failed again and again. An operator reads why, and puts them back into the queue.

import { api, may } from "./api.js";
import { announce, el, icon, iconButton } from "./dom.js";
import { ask as askIn, field, refuse, show as showIn, textInput } from "./ui.js";
import { addWords, currentLanguage, errorText, t } from "./words.js";

addWords({
  en: {
    letters_intro: "Messages that could not be answered after several tries. What was written is not shown here. Replay them once the cause is gone; each is answered in its chat.",
    letters_loading: "Looking…", letters_empty: "No dead letters", letters_empty_more: "Every message was answered. Messages that keep failing will appear here with the reason.",
    letters_reload: "Look again", letters_replay: "Replay selected ({count})", letters_replay_all: "Replay all", letters_select: "Select", letters_select_all: "Select all",
    letters_when: "When", letters_where: "Where", letters_who: "Who", letters_why: "Why", letters_trace: "Trace",
    letters_ask: "Replay {count} messages?", letters_ask_more: "They go back into the queue and are answered in their chats, as if they had just been written. People may see late answers.",
    letters_yes: "Replay", letters_no: "Cancel", letters_done: "{count} put back into the queue.", letters_missing: "{count} were no longer there.", letters_unknown: "unknown",
    letters_open: "Read", letters_open_this: "Read the message of {who}", letters_open_why: "Why do you read this message?", letters_reason: "Reason (kept in the audit log)", letters_short: "Say in a few words why.", letters_text: "Message of {who}", letters_no_text: "(no text)",
  },
  "zh-CN": {
    letters_intro: "多次尝试后仍无法回答的消息。这里不显示消息内容。原因排除后可以重新处理，回答会发送到原来的聊天里。",
    letters_loading: "正在查看…", letters_empty: "没有死信", letters_empty_more: "所有消息都已回答。反复失败的消息会连同原因显示在这里。",
    letters_reload: "重新查看", letters_replay: "重新处理所选（{count}）", letters_replay_all: "全部重新处理", letters_select: "选择", letters_select_all: "全选",
    letters_when: "时间", letters_where: "位置", letters_who: "发送者", letters_why: "原因", letters_trace: "追踪编号",
    letters_ask: "重新处理 {count} 条消息？", letters_ask_more: "它们会回到队列，像刚发出一样在各自的聊天里得到回答。用户可能会看到迟到的回答。",
    letters_yes: "重新处理", letters_no: "取消", letters_done: "{count} 条已放回队列。", letters_missing: "{count} 条已不存在。", letters_unknown: "未知",
    letters_open: "查看", letters_open_this: "查看{who}的消息", letters_open_why: "为什么要查看这条消息？", letters_reason: "理由（写入审计日志）", letters_short: "请简单说明理由。", letters_text: "{who}的消息", letters_no_text: "（无文字）",
  },
});

/** The screen of the dead letters. */
export default function letters({ onKeyRefused }) {
  const chosen = new Set();
  const body = el("div", {}, el("p", { class: "muted" }, t("letters_loading")));
  const note = el("p", { class: "verdict good", hidden: true });
  const node = el("div", { class: "panel letters" },
    el("div", { class: "panel-head" }, el("p", { class: "muted" }, t("letters_intro")), el("button", { type: "button", class: "quiet", onclick: () => load() }, icon("retry"), t("letters_reload"))),
    note, body);
  let stopped = false;

  async function load() {
    try {
      const { letters: found } = await api.get("/api/dead-letters", { seconds: 30 });
      if (!stopped) show(found ?? []);
    } catch (error) {
      fail(error);
    }
  }

  function fail(error) {
    if (stopped) return;
    if (error.kind === "key") onKeyRefused();
    else body.replaceChildren(el("p", { class: "verdict bad", role: "alert" }, icon("alert"), errorText(error)));
  }

  function show(found) {
    chosen.clear();
    if (!found.length) {
      body.replaceChildren(el("div", { class: "nothing" }, el("h2", {}, t("letters_empty")), el("p", {}, t("letters_empty_more"))));
      return;
    }
    const replay = el("button", { type: "button", class: "secondary", disabled: true, onclick: () => ask({ ids: [...chosen] }, chosen.size) }, "");
    const every = el("button", { type: "button", class: "secondary", onclick: () => ask({ all: true }, found.length) }, t("letters_replay_all"));
    const boxes = [];
    const count = () => {
      replay.disabled = chosen.size === 0;
      replay.textContent = t("letters_replay", { count: chosen.size });
      all.checked = chosen.size === found.length;
      all.indeterminate = chosen.size > 0 && chosen.size < found.length;
    };
    const all = el("input", { type: "checkbox", "aria-label": t("letters_select_all"), onchange: () => {
      const wanted = all.checked;
      for (const box of boxes) box.checked = wanted;
      for (const letter of found) chosen[wanted ? "add" : "delete"](letter.id);
      count();
    } });
    const rows = found.map((letter) => {
      const when = letter.sent_at ? new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "medium" }).format(letter.sent_at) : t("letters_unknown");
      const box = el("input", { type: "checkbox", "aria-label": `${t("letters_select")}: ${when} ${letter.reason}`, onchange: () => {
        if (box.checked) chosen.add(letter.id);
        else chosen.delete(letter.id);
        count();
      } });
      boxes.push(box);
      const cell = (label, ...content) => el("td", { role: "cell", "data-label": label ? t(label) : null }, content);
      return el("tr", { role: "row" }, cell("", box), cell("letters_when", when),
        cell("letters_where", el("span", {}, letter.platform ?? t("letters_unknown"), letter.conversation ? el("br") : null, letter.conversation ? el("code", {}, letter.conversation) : null)),
        cell("letters_who", el("code", {}, letter.sender ?? t("letters_unknown"))), cell("letters_why", el("span", { class: "reason", dir: "auto" }, letter.reason)), cell("letters_trace", el("code", {}, letter.trace ?? "")),
        may("admin", "letters") ? el("td", { role: "cell", class: "acts" }, iconButton("book", t("letters_open_this", { who: letter.sender ?? t("letters_unknown") }), () => open(letter), { class: "icon-button small" })) : null);
    });
    const heads = ["letters_when", "letters_where", "letters_who", "letters_why", "letters_trace"].map((name) => el("th", { scope: "col", role: "columnheader" }, t(name)));
    body.replaceChildren(el("div", { class: "toolbar" }, replay, every),
      el("div", { class: "table stack", role: "region", tabindex: "0", "aria-label": t("nav_letters") }, el("table", { role: "table", "aria-label": t("nav_letters") },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, el("td", { role: "cell" }, all), heads, may("admin", "letters") ? el("td", { role: "cell" }) : null)), el("tbody", { role: "rowgroup" }, rows))));
    count();
  }

  function ask(which, number) {
    const dialog = el("dialog", { "aria-labelledby": "letters-ask", onclose: () => dialog.remove() },
      el("h2", { id: "letters-ask" }, t("letters_ask", { count: number })), el("p", {}, t("letters_ask_more")),
      el("div", { class: "toolbar" },
        el("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, t("letters_no")),
        el("button", { type: "button", class: "primary", onclick: () => { dialog.close(); replayNow(which); } }, t("letters_yes"))));
    node.append(dialog);
    dialog.showModal();
  }

  function open(letter) {
    const why = textInput("", { maxlength: "500" });
    askIn({ host: node, title: t("letters_open_why"), label: t("letters_open"), onKeyRefused, fields: [field(t("letters_reason"), why)], act: async () => {
      if (why.value.trim().length < 4) throw refuse(t("letters_short"));
      const { text } = await api.get(`/api/dead-letters/${encodeURIComponent(letter.id)}?${new URLSearchParams({ why: why.value.trim() })}`, { seconds: 30 });
      showIn({ host: node, title: t("letters_text", { who: letter.sender ?? t("letters_unknown") }), content: [el("p", { class: "asked-text", dir: "auto" }, text || t("letters_no_text")), el("p", { class: "muted small" }, letter.reason)] });
    } });
  }

  async function replayNow(which) {
    try {
      const { replayed = [], missing = [] } = await api.post("/api/dead-letters/replay", which, { seconds: 60 });
      const text = [t("letters_done", { count: replayed.length }), missing.length ? t("letters_missing", { count: missing.length }) : ""].join(" ").trim();
      note.replaceChildren(icon("check"), text);
      note.hidden = false;
      announce(text);
      await load();
    } catch (error) {
      fail(error);
    }
  }

  return { node, start: load, stop() { stopped = true; } };
}
