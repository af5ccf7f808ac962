// The files that are to go with the next message: chosen, dropped or pasted, sent ahead one after the other, shown above the
// field, and taken off again as long as the message has not gone.

import { upload } from "./api.js";
import { announce, el, icon, iconButton } from "./dom.js";
import { addWords, errorText, t } from "./words.js";

addWords({
  en: {
    attach: "Attach files", attach_list: "Files for this message", attach_drop: "Drop the files here", attach_remove: "Remove {name}", attach_retry: "Send {name} again",
    attach_added: "{name} added.", attach_ready: "{name} is ready.", attach_removed: "{name} removed.", attach_sending: "{part} sent", attach_ready_short: "ready", attach_bytes: "{count} B", attach_kb: "{count} KB", attach_mb: "{count} MB",
    attach_kinds: "Markdown, text, HTML, PDF, Word, PowerPoint, Excel and CSV; up to 4 MB each, 10 files in a message.",
    attach_no_kind: "{name}: this kind of file cannot be read. Possible are Markdown, text, HTML, PDF, Word, PowerPoint, Excel and CSV.", attach_empty: "{name} is empty.", attach_large: "{name} is larger than 4 MB. Larger files go in under Knowledge, or with “assistant kb add”.",
    attach_many: "A message takes at most 10 files; not added: {names}.", attach_total: "{name}: the files of a message may have 20 MB together.", attach_wait: "The message goes out by itself as soon as its files have arrived.", attach_failed: "Some files have not arrived. Send them again or remove them, then send the message.",
    attached: "Attached files",
  },
  "zh-CN": {
    attach: "添加文件", attach_list: "这条消息的文件", attach_drop: "把文件拖到这里", attach_remove: "移除 {name}", attach_retry: "重新上传 {name}",
    attach_added: "已添加 {name}。", attach_ready: "{name} 已就绪。", attach_removed: "已移除 {name}。", attach_sending: "已上传 {part}", attach_ready_short: "已就绪", attach_bytes: "{count} B", attach_kb: "{count} KB", attach_mb: "{count} MB",
    attach_kinds: "支持 Markdown、文本、HTML、PDF、Word、PowerPoint、Excel 和 CSV；每个不超过 4 MB，每条消息最多 10 个文件。",
    attach_no_kind: "{name}：无法读取这种文件。支持 Markdown、文本、HTML、PDF、Word、PowerPoint、Excel 和 CSV。", attach_empty: "{name} 是空文件。", attach_large: "{name} 超过 4 MB。更大的文件请在“知识库”中添加，或使用 “assistant kb add”。",
    attach_many: "每条消息最多 10 个文件，未添加：{names}。", attach_total: "{name}：一条消息的文件总共不超过 20 MB。", attach_wait: "文件上传完成后，消息会自动发送。", attach_failed: "有文件没有上传成功。请重新上传或移除，然后再发送。",
    attached: "附带的文件",
  },
});

const LARGEST = 4 * 1024 * 1024; // what one function call takes, encoded
const TOGETHER = 20 * 1024 * 1024; // what is read of one message
const MOST = 10;
const KEPT_MS = 23 * 3600 * 1000; // the server keeps a file for a day
// As the server reads them.
const ENDINGS = [".csv", ".docm", ".docx", ".htm", ".html", ".log", ".markdown", ".md", ".pdf", ".pptm", ".pptx", ".rst", ".text", ".tsv", ".txt", ".xhtml", ".xlsm", ".xlsx"];

const ending = (name) => (name.includes(".") ? `.${name.split(".").pop().toLowerCase()}` : "");

/** "12 KB". */
export function sizeText(bytes) {
  if (bytes < 1024) return t("attach_bytes", { count: bytes });
  if (bytes < 1024 * 1024) return t("attach_kb", { count: Math.round(bytes / 1024) });
  return t("attach_mb", { count: (bytes / 1024 / 1024).toFixed(1) });
}

/** Names of files under a question. */
export function attachedList(names) {
  return el("ul", { class: "attached", "aria-label": t("attached") }, names.map((name) => el("li", {}, icon("clip"), el("span", { dir: "auto" }, name))));
}

/** The name as the server takes it, with its ending. */
function shortened(name) {
  const end = ending(name);
  return name.length <= 120 ? name : `${name.slice(0, 120 - end.length)}${end}`;
}

/**
 * The tray of files. `kept`: those that were there before the page was loaded; `onChange(ready)` hears of each change, with the
 * files that have arrived, to keep them; `onProblem(words)` says why a file is not taken.
 */
export class Attachments {
  constructor({ conversation, kept, onChange, onProblem, onKeyRefused }) {
    this.path = `/api/conversations/${encodeURIComponent(conversation)}/files`;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.onKeyRefused = onKeyRefused;
    this.entries = [];
    this.sending = null;
    this.node = el("ul", { class: "tray", "aria-label": t("attach_list"), hidden: true });
    this.chooser = el("input", { type: "file", multiple: true, accept: ENDINGS.join(","), hidden: true, tabindex: "-1", onchange: () => {
      this.add([...this.chooser.files]);
      this.chooser.value = "";
    } });
    this.button = iconButton("clip", t("attach"), () => this.chooser.click(), { class: "icon-button attach", "aria-describedby": "attach-kinds" });
    this.button.title = `${t("attach")}: ${t("attach_kinds")}`;
    this.controls = [this.button, this.chooser, el("span", { id: "attach-kinds", hidden: true }, t("attach_kinds"))];
    this.restore(kept);
  }

  /** Lets files be dropped anywhere on `area` and pasted into `field`. */
  listen(area, field) {
    const sheet = el("div", { class: "drop-sheet", "aria-hidden": "true", hidden: true }, icon("clip"), t("attach_drop"));
    area.append(sheet);
    const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    let inside = 0; // entering a child is told before leaving its parent
    const show = (count) => {
      inside = Math.max(0, count);
      sheet.hidden = inside === 0;
    };
    area.addEventListener("dragenter", (event) => { if (holdsFiles(event)) { event.preventDefault(); show(inside + 1); } });
    area.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
    area.addEventListener("dragleave", (event) => { if (holdsFiles(event)) show(inside - 1); });
    area.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      show(0);
      this.add([...event.dataTransfer.files]);
      field.focus();
    });
    field.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      // A cell copied from a table comes as words and as a picture of them: the words are meant.
      if (!files.length || event.clipboardData.getData("text/plain")) return;
      event.preventDefault();
      this.add(files);
    });
  }

  /** Nothing goes with the message. */
  get empty() {
    return this.entries.length === 0;
  }

  get busy() {
    return this.entries.some((entry) => entry.state === "waiting" || entry.state === "sending");
  }

  get failed() {
    return this.entries.some((entry) => entry.state === "failed");
  }

  /** The files that have arrived, and when: [{key, name, size, at}]. */
  get ready() {
    return this.entries.filter((entry) => entry.state === "ready").map(({ key, name, size, at }) => ({ key, name, size, at }));
  }

  /** Shows files that have arrived earlier. */
  restore(files) {
    for (const file of files ?? []) if (Date.now() - (file.at ?? 0) < KEPT_MS) this.show({ ...file, state: "ready" });
    this.changed();
  }

  /** Takes what is there off, for the message that carries it now. */
  take() {
    const files = this.ready;
    for (const entry of this.entries) entry.node.remove();
    this.entries = [];
    this.changed();
    return files;
  }

  /** Takes the files in, but for those that are of no use; says why. */
  add(files) {
    const refused = [];
    const tooMany = [];
    for (const file of files) {
      const name = shortened(file.name);
      if (this.entries.length >= MOST) tooMany.push(name);
      else if (!ENDINGS.includes(ending(name))) refused.push(t("attach_no_kind", { name }));
      else if (!file.size) refused.push(t("attach_empty", { name }));
      else if (file.size > LARGEST) refused.push(t("attach_large", { name }));
      else if (this.entries.reduce((sum, entry) => sum + entry.size, file.size) > TOGETHER) refused.push(t("attach_total", { name }));
      else {
        this.show({ file, name, size: file.size, state: "waiting" });
        announce(t("attach_added", { name }));
      }
    }
    if (tooMany.length) refused.push(t("attach_many", { names: tooMany.join(", ") }));
    this.changed();
    this.onProblem(refused.join(" "));
    this.send();
  }

  /** Sends again what did not arrive because the connection was away. */
  again() {
    for (const entry of this.entries) if (entry.state === "failed" && entry.passing) this.mark(entry, "waiting");
    this.send();
  }

  /** Ends what is under way. */
  stop() {
    this.stopped = true;
    this.sending?.abort();
  }

  // --- one after the other -------------------------------------------------------------------

  async send() {
    if (this.sending) return;
    for (let entry = this.next(); entry && !this.stopped; entry = this.next()) {
      this.sending = new AbortController();
      this.mark(entry, "sending");
      try {
        const { file } = await upload(`${this.path}?name=${encodeURIComponent(entry.name)}`, entry.file, (part) => this.progress(entry, part), this.sending.signal);
        entry.key = file;
        entry.at = Date.now();
        entry.file = null;
        if (this.entries.includes(entry)) announce(t("attach_ready", { name: entry.name }));
        this.mark(entry, "ready");
      } catch (error) {
        if (this.stopped) return;
        entry.passing = error.passing || error.kind === "key";
        this.mark(entry, "failed", error.kind === "large" ? t("attach_large", { name: entry.name }) : errorText(error));
        if (error.kind === "key") this.onKeyRefused();
        else if (this.entries.includes(entry)) announce(`${entry.name}: ${errorText(error)}`);
      } finally {
        this.sending = null;
      }
    }
  }

  next() {
    return this.entries.find((entry) => entry.state === "waiting");
  }

  progress(entry, part) {
    entry.bar.value = part;
    entry.said.textContent = t("attach_sending", { part: `${Math.round(part * 100)} %` });
  }

  mark(entry, state, problem = "") {
    entry.state = state;
    entry.node.className = state;
    entry.bar.hidden = state !== "sending";
    entry.retry.hidden = state !== "failed";
    entry.said.textContent = { waiting: "…", sending: t("attach_sending", { part: "0 %" }), ready: sizeText(entry.size), failed: problem }[state];
    this.changed();
  }

  show(entry) {
    const { name } = entry;
    entry.said = el("span", { class: "small" });
    entry.bar = el("progress", { max: "1", value: "0", "aria-label": name, hidden: true });
    entry.retry = iconButton("retry", t("attach_retry", { name }), () => { this.mark(entry, "waiting"); this.send(); }, { class: "icon-button small", hidden: true });
    entry.node = el("li", {}, icon("clip"), el("span", { class: "tray-name" }, el("span", { dir: "auto", title: name }, name), entry.said, entry.bar), entry.retry,
      iconButton("close", t("attach_remove", { name }), () => this.remove(entry), { class: "icon-button small" }));
    this.entries.push(entry);
    this.node.append(entry.node);
    this.mark(entry, entry.state);
  }

  remove(entry) {
    const place = this.entries.indexOf(entry);
    if (entry.state === "sending") this.sending?.abort();
    this.entries = this.entries.filter((other) => other !== entry);
    entry.node.remove();
    announce(t("attach_removed", { name: entry.name }));
    const neighbour = this.entries[place] ?? this.entries[place - 1];
    (neighbour ? neighbour.node.lastChild : this.button).focus();
    this.changed();
  }

  changed() {
    this.node.hidden = this.empty;
    this.onChange(this.ready);
  }
}
