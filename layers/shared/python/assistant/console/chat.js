// The chat. What is shown is always the server's turns plus what still waits in the outbox: a message keeps its id through every
// retry and reload, so that the server answers it once.

import { api, fetchFile, may, session } from "./api.js";
import { Attachments, attachedList, sizeText } from "./attach.js";
import { announce, copyText, el, icon, iconButton, kept, newId, reducedMotion } from "./dom.js";
import { renderMarkdown, safeUrl } from "./markdown.js";
import { clockTime, currentLanguage, dayName, errorText, t } from "./words.js";

const FAST_MS = 300; // while an answer grows
const SLOW_MS = 4000; // in case another window asks
const IDLE_MS = 20000; // after five quiet minutes
const LONGEST_WAIT_MS = 15000; // between tries while the server is away
const LARGEST_BYTES = 200 * 1024;
const KEPT_CONVERSATIONS = 50;

// As the server knows them: such a message ends a running answer and gets none of its own.
const STOP_WORDS = new Set(["stop", "/stop", "cancel that", "停", "停止", "停下", "别说了", "停一下"]);
const isStop = (text) => STOP_WORDS.has(text.replace(/^[ .!。！]+|[ .!。！]+$/g, "").toLowerCase());

const conversations = kept(localStorage, "conversations", []);
const current = kept(localStorage, "conversation", "");
const user = kept(localStorage, "user", "");

/** This browser's conversations, newest first: [{id, title, at}]. */
export const listConversations = () => conversations.get();

/** The conversation that was open last, or a new one. */
export function currentConversation() {
  if (!current.get()) current.set(`web-${newId()}`);
  return current.get();
}

export const openConversation = (id) => current.set(id);

/** Takes a conversation out of this browser's list; the server keeps what it has. */
export function removeConversation(id) {
  conversations.set(conversations.get().filter((c) => c.id !== id));
  kept(localStorage, `c.${id}`, null).clear();
  if (current.get() === id) newConversation();
}

/** Starts a new conversation and gives its id. */
export function newConversation() {
  current.set(`web-${newId()}`);
  return current.get();
}

function remember(id, question) {
  const others = conversations.get().filter((c) => c.id !== id);
  const known = conversations.get().find((c) => c.id === id);
  const title = known?.title || question.replace(/\s+/g, " ").trim().slice(0, 80);
  conversations.set([{ id, title, at: Date.now() }, ...others].slice(0, KEPT_CONVERSATIONS));
}

function userId() {
  if (!user.get()) user.set(`browser-${newId().slice(0, 16)}`);
  return user.get();
}

/** One conversation on the screen. `onKeyRefused`: the server does not know the key any more. `onChange`: titles changed. */
export class Chat {
  constructor({ conversation, onKeyRefused, onChange }) {
    this.conversation = conversation;
    this.onKeyRefused = onKeyRefused;
    this.onChange = onChange;
    this.store = kept(localStorage, `c.${conversation}`, { outbox: [], draft: "", chosen: {} });
    this.turns = new Map(); // id → turn as the server gave it
    this.views = new Map(); // id → TurnView
    this.cursor = "";
    this.loaded = false;
    this.failures = 0;
    this.following = true; // false once the person scrolls up to read
    this.anchor = null; // the question that stays in view while its answer grows
    this.lastTop = 0;
    this.lastChange = Date.now();
    this.stopped = new AbortController();
    this.node = this.build();
  }

  build() {
    this.list = el("div", { class: "turns" });
    this.scroller = el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": t("conversation_region") }, this.list);
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.grown = new ResizeObserver(() => this.follow());
    this.grown.observe(this.list);
    this.jump = iconButton("down", t("jump"), () => {
      this.toEnd();
      this.input.focus();
    }, { class: "icon-button jump", hidden: true });
    this.banner = el("div", { class: "banner", role: "status", hidden: true });
    this.input = el("textarea", {
      id: "composer-input", rows: "1", dir: "auto", enterkeyhint: "send", autocomplete: "off", "aria-describedby": "composer-hint",
      placeholder: t("composer_placeholder"),
      oninput: () => this.typed(),
      onkeydown: (event) => this.keydown(event),
    });
    this.input.value = this.store.get().draft;
    this.sendButton = el("button", { type: "submit", class: "send", "aria-label": t("send"), title: t("send") }, icon("send"));
    this.stopButton = el("button", { type: "button", class: "send", "aria-label": t("stop"), title: t("stop"), hidden: true, onclick: () => this.interrupt() }, icon("stop"));
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.files = new Attachments({
      conversation: this.conversation,
      kept: this.store.get().attached,
      onChange: (ready) => this.attachedChanged(ready),
      onProblem: (words) => this.say(words),
      onKeyRefused: () => this.onKeyRefused(),
    });
    const form = el(
      "form",
      { class: "composer", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      this.problem,
      this.files.node,
      el("div", { class: "field" }, el("label", { for: "composer-input", class: "visually-hidden" }, t("composer_label")), this.files.controls, this.input, this.stopButton, this.sendButton),
      el("p", { id: "composer-hint", class: "hint" }, t("composer_hint")),
    );
    const node = el("div", { class: "chat" }, this.scroller, el("div", { class: "below" }, this.jump, this.banner, form));
    this.files.listen(node, this.input);
    return node;
  }

  /** Begins to load and to follow the conversation. */
  start() {
    this.typed();
    for (const entry of this.store.get().outbox) this.view(entry.id, { at: entry.at }).showPending(entry);
    this.flush();
    this.poll();
    const { signal } = this.stopped;
    addEventListener("online", () => { this.hurry(); this.files.again(); }, { signal });
    addEventListener("offline", () => this.showBanner("offline"), { signal });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.hurry(); }, { signal });
  }

  /** Ends all work for this conversation. */
  stop() {
    this.stopped.abort();
    this.files.stop();
    this.grown.disconnect();
    clearTimeout(this.pollTimer);
    clearTimeout(this.flushTimer);
    for (const view of this.views.values()) view.stop();
  }

  // --- writing -------------------------------------------------------------------------------

  typed() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 220)}px`;
    this.waits = false;
    this.say("");
    this.showButtons();
    this.keep((stored) => { stored.draft = this.input.value; });
  }

  /** Says above the field why something does not go on; nothing for "". */
  say(words) {
    this.problem.textContent = words;
    this.problem.hidden = !words;
  }

  attachedChanged(ready) {
    if (!this.files) return; // the first ones come while they are made
    this.keep((stored) => { stored.attached = ready; });
    this.showButtons();
    if (!this.waits || this.files.busy) return;
    this.waits = false;
    this.say("");
    this.submit();
  }

  keydown(event) {
    // 229: the key belongs to an input method, also in browsers that end the composition before they report Enter.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.submit();
  }

  submit() {
    const text = this.input.value.trim();
    if (!text && this.files.empty) return;
    if (new TextEncoder().encode(text).length > LARGEST_BYTES) {
      this.say(t("error_large"));
      return;
    }
    if (isStop(text) && this.answering()) {
      this.input.value = "";
      this.typed();
      this.interrupt();
      return;
    }
    this.waits = this.files.busy;
    if (this.waits) {
      this.say(t("attach_wait"));
      return;
    }
    if (this.files.failed) {
      this.say(t("attach_failed"));
      return;
    }
    this.input.value = "";
    const files = this.files.take();
    this.typed();
    this.ask(text, files);
  }

  answering() {
    return [...this.turns.values()].some((turn) => turn.state === "answering");
  }

  /** Ends the answer that is being written. A stop gets no answer of its own, so it does not go through the outbox. */
  async interrupt() {
    this.stopButton.disabled = true;
    try {
      await api.send({ conversation: this.conversation, user: userId(), id: newId(), text: "stop", locale: currentLanguage() });
      announce(t("stopping"));
      this.hurry();
    } catch (error) {
      if (error.kind === "key") this.onKeyRefused();
      else this.say(errorText(error));
    } finally {
      setTimeout(() => { this.stopButton.disabled = false; }, 1500);
    }
  }

  /** While an answer is written and nothing is typed, the button ends the answer; otherwise it sends. */
  showButtons() {
    const nothing = !this.input.value.trim() && this.files.empty;
    const stop = this.answering() && nothing;
    this.sendButton.disabled = nothing;
    const focused = document.activeElement === this.stopButton;
    this.stopButton.hidden = !stop;
    this.sendButton.hidden = stop;
    if (focused && !stop) this.input.focus();
  }

  /** Sends `text` as a new message, with files that have arrived. */
  ask(text, files = []) {
    const id = newId();
    if (files.length) this.keep((stored) => { stored.sent = { ...stored.sent, [id]: files }; });
    this.enqueue({ id, text, ...(files.length ? { files } : {}) });
  }

  /** Sends a click on a choice of turn `about`. */
  choose(button, about) {
    const id = newId();
    this.keep((stored) => {
      stored.chosen[about] = button.key + JSON.stringify(button.value ?? null);
      stored.labels = { ...stored.labels, [id]: button.text }; // the server keeps the choice's key, not its words
    });
    this.enqueue({ id, text: button.text, action: { key: button.key, value: button.value ?? null }, about });
  }

  enqueue(entry) {
    const full = { ...entry, at: Date.now(), state: "sending" };
    this.keep((stored) => stored.outbox.push(full));
    remember(this.conversation, entry.text || entry.files?.[0].name || "");
    this.onChange?.();
    const view = this.view(full.id, full);
    view.showPending(full);
    this.updateEmpty();
    this.toEnd(view.node);
    this.flush();
    this.hurry();
  }

  /** Sends what waits, in order; what cannot be sent now is tried again by itself. */
  async flush() {
    if (this.flushing || this.stopped.signal.aborted) return;
    this.flushing = true;
    clearTimeout(this.flushTimer);
    try {
      for (let entry = this.nextUnsent(); entry; entry = this.nextUnsent()) {
        const answer = await this.deliver(entry);
        if (answer === "later" || this.stopped.signal.aborted) return;
      }
    } finally {
      this.flushing = false;
    }
  }

  nextUnsent() {
    return this.store.get().outbox.find((entry) => entry.state === "sending" || entry.state === "waiting");
  }

  async deliver(entry) {
    const message = {
      conversation: this.conversation,
      user: userId(),
      id: entry.id,
      locale: currentLanguage(),
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "",
    };
    if (entry.action) Object.assign(message, { action: entry.action, message_id: entry.about });
    else message.text = entry.text;
    if (entry.files) message.files = entry.files.map((file) => file.key);
    try {
      await api.send(message);
      this.failures = 0;
      this.mark(entry.id, { state: "accepted", problem: "" });
      this.hurry();
      return "sent";
    } catch (error) {
      if (error.kind === "key") {
        this.mark(entry.id, { state: "waiting", problem: "" });
        this.onKeyRefused();
        return "later";
      }
      if (!error.passing) {
        this.mark(entry.id, { state: "failed", problem: errorText(error) });
        announce(`${t("unsent")} ${errorText(error)}`);
        return "refused";
      }
      this.mark(entry.id, { state: "waiting", problem: "" });
      this.failures += 1;
      this.showBanner(error.kind);
      this.flushTimer = setTimeout(() => this.flush(), Math.max(error.retryAfter * 1000, backOff(this.failures)));
      return "later";
    }
  }

  mark(id, change) {
    this.keep((stored) => {
      const entry = stored.outbox.find((e) => e.id === id);
      if (entry) Object.assign(entry, change);
    });
    const entry = this.store.get().outbox.find((e) => e.id === id);
    if (entry) this.views.get(id)?.showPending(entry);
  }

  retry(id) {
    this.mark(id, { state: "sending", problem: "" });
    this.flush();
  }

  /** Takes an unsent message back into the field, so that nothing a person wrote is lost. */
  discard(id) {
    const entry = this.store.get().outbox.find((e) => e.id === id);
    this.forget(id);
    if (entry && !entry.action && !this.input.value) {
      this.input.value = entry.text;
      if (entry.files && this.files.empty) this.files.restore(entry.files);
      this.typed();
    }
    this.input.focus();
  }

  dropFromOutbox(id) {
    this.keep((stored) => { stored.outbox = stored.outbox.filter((e) => e.id !== id); });
  }

  keep(change) {
    const stored = this.store.get();
    change(stored);
    this.store.set(stored);
  }

  // --- reading -------------------------------------------------------------------------------

  /** Asks the server at once, and sends what waits. */
  hurry() {
    if (this.stopped.signal.aborted) return;
    this.flush();
    if (this.polling) {
      this.again = true;
      return;
    }
    clearTimeout(this.pollTimer);
    this.poll();
  }

  async poll() {
    if (this.polling) return;
    this.polling = true;
    let wait;
    try {
      const answer = await api.turns(this.conversation, this.cursor, { signal: this.stopped.signal });
      this.cursor = answer.cursor || this.cursor;
      this.merge(answer.turns ?? []);
      if (this.failures && !this.banner.hidden) announce(t("back_online"));
      this.failures = 0;
      this.banner.hidden = true;
      wait = this.pace();
    } catch (error) {
      if (this.stopped.signal.aborted) return;
      if (error.kind === "key") {
        this.onKeyRefused();
        return;
      }
      if (error.kind === "missing") {
        this.merge([]); // nothing was said here yet
        wait = this.pace();
      } else {
        this.failures += 1;
        this.showBanner(error.kind, error);
        wait = Math.max(error.retryAfter * 1000 || 0, backOff(this.failures));
      }
    } finally {
      this.polling = false;
    }
    if (this.stopped.signal.aborted) return;
    if (this.again) wait = Math.min(wait, 50);
    this.again = false;
    clearTimeout(this.pollTimer);
    this.pollTimer = setTimeout(() => this.poll(), wait);
  }

  pace() {
    const quiet = Date.now() - this.lastChange;
    const open = [...this.turns.values()].some((turn) => turn.state === "answering") || this.store.get().outbox.some((e) => e.state === "accepted");
    if (open) return document.hidden ? 2000 : quiet < 30000 ? FAST_MS : quiet < 180000 ? 1000 : 5000;
    if (document.hidden) return IDLE_MS;
    return quiet < 300000 ? SLOW_MS : IDLE_MS;
  }

  merge(turns) {
    const first = !this.loaded;
    this.loaded = true;
    for (const given of turns) {
      // The page knows a message by the id it gave it.
      const turn = { ...given, id: given.message_id || given.id, question: given.question ?? "", text: given.text ?? "" };
      const before = this.turns.get(turn.id);
      if (!before || before.state !== turn.state || before.text !== turn.text) this.lastChange = Date.now();
      this.turns.set(turn.id, turn);
      this.view(turn.id, turn).showTurn(turn, { live: !first || turn.state === "answering" });
      this.settle(turn);
    }
    if (turns.length) {
      const question = turns.map((turn) => turn.question || turn.attached?.[0]).find(Boolean);
      if (first && question && !conversations.get().some((c) => c.id === this.conversation)) {
        remember(this.conversation, question);
        this.onChange?.();
      }
      this.inOrder();
    }
    this.updateEmpty();
    this.showButtons();
    if (first) this.toEnd();
    for (const entry of this.store.get().outbox) {
      if (entry.state === "accepted" && isStop(entry.text) && Date.now() - entry.at > 8000 && !this.answering()) this.forget(entry.id);
      else this.views.get(entry.id)?.showPending(entry);
    }
  }

  forget(id) {
    this.dropFromOutbox(id);
    this.views.get(id)?.remove();
    this.views.delete(id);
    this.updateEmpty();
  }

  /** Takes out of the outbox what `turn` answers: the message itself, or a follow-up that was answered together with others. */
  settle(turn) {
    for (const entry of this.store.get().outbox) {
      if (entry.state !== "accepted") continue;
      const own = entry.id === turn.id;
      const together = !own && !entry.action && turn.at >= entry.at - 300000 && entry.text.length > 3 && turn.question.includes(`\n${entry.text}`);
      if (!own && !together) continue;
      if (together) this.forget(entry.id);
      else this.dropFromOutbox(entry.id);
    }
  }

  view(id, { at = Date.now() } = {}) {
    let view = this.views.get(id);
    if (!view) {
      view = new TurnView(this, id, at);
      this.views.set(id, view);
      this.list.append(view.node);
      this.inOrder();
    }
    return view;
  }

  /** The server's turns in its order, then what still waits; with a line where a new day begins. */
  inOrder() {
    const place = new Map([...this.turns.keys()].map((id, index) => [id, index]));
    const sorted = [...this.views.values()].sort((a, b) => {
      const [x, y] = [place.get(a.id), place.get(b.id)];
      if (x !== undefined && y !== undefined) return x - y;
      if (x === undefined && y === undefined) return a.at - b.at;
      return x === undefined ? 1 : -1;
    });
    let previous = this.list.querySelector(".empty");
    let day = "";
    for (const view of sorted) {
      const name = dayName(view.at);
      view.showDay(name !== day && (day !== "" || name !== t("today")) ? name : "");
      day = name;
      const expected = previous ? previous.nextSibling : this.list.firstChild;
      if (expected !== view.node) this.list.insertBefore(view.node, expected);
      previous = view.node;
    }
  }

  updateEmpty() {
    const empty = this.loaded && this.views.size === 0;
    const shown = this.list.querySelector(".empty");
    if (empty && !shown) this.list.prepend(this.emptyState());
    if (!empty && shown) shown.remove();
    this.scroller.classList.toggle("is-empty", empty);
  }

  emptyState() {
    const examples = [1, 2, 3, 4].map((n) => t(`example_${n}`));
    return el(
      "div",
      { class: "empty" },
      el("div", { class: "mark large", "aria-hidden": "true" }, icon("chat")),
      el("h2", {}, t("greeting")),
      el("p", {}, t("greeting_more")),
      session.get()?.role === "admin" && may("operator", "platforms") && !kept(localStorage, "start.seen", false).get()
        ? el("div", { class: "first-run" }, el("p", {}, t("first_run")), el("a", { class: "secondary", href: "#/start" }, t("first_run_go"))) : null,
      el("ul", { class: "examples", "aria-label": t("examples") }, examples.map((text) => el("li", {}, el("button", {
        type: "button",
        onclick: () => { this.ask(text); this.input.focus(); },
      }, text)))),
    );
  }

  /** Goes to the newest text and stays with it; with an `anchor`, only as far as that question stays in view. */
  toEnd(anchor = null) {
    this.anchor = anchor;
    this.following = true;
    this.follow();
  }

  follow() {
    const { scroller } = this;
    if (this.following) {
      const end = scroller.scrollHeight - scroller.clientHeight;
      const wanted = this.anchor ? Math.min(end, this.anchor.offsetTop - 12) : end;
      if (wanted > scroller.scrollTop) scroller.scrollTop = wanted;
      this.lastTop = scroller.scrollTop;
    }
    this.jump.hidden = this.distance() < 60;
  }

  scrolled() {
    // Growing text also moves the end away; only moving up is the person's wish to stay.
    if (this.scroller.scrollTop < this.lastTop - 4) this.following = false;
    if (this.distance() < 8) this.following = true;
    this.lastTop = this.scroller.scrollTop;
    this.jump.hidden = this.distance() < 60;
  }

  distance() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
  }

  showBanner(kind, error) {
    const name = { offline: "banner_offline", busy: "banner_busy", timeout: "banner_server", server: "banner_server" }[kind];
    const text = name ? t(name) : t("banner_refused", { reason: errorText(error) });
    if (!this.banner.hidden && this.banner.querySelector("span")?.textContent === text) return;
    this.banner.replaceChildren(icon("alert"), el("span", {}, text), el("button", { type: "button", onclick: () => this.hurry() }, t("try_now")));
    this.banner.hidden = false;
  }
}

const backOff = (failures) => Math.min(LONGEST_WAIT_MS, 1000 * 2 ** Math.min(failures - 1, 5)) * (0.8 + Math.random() * 0.4);

/** One question and its answer. */
class TurnView {
  constructor(chat, id, at) {
    this.chat = chat;
    this.id = id;
    this.at = at;
    this.target = ""; // the answer as far as the server has it
    this.shown = 0; // characters of it on the screen
    this.state = "pending";
    const name = `q-${id}`;
    this.day = el("p", { class: "day", hidden: true });
    this.question = el("div", { class: "question", dir: "auto" });
    this.note = el("div", { class: "note", hidden: true });
    this.thinking = el("p", { class: "thinking", hidden: true }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), el("span", {}));
    this.body = el("div", { class: "body", dir: "auto" });
    this.extras = el("div", { class: "extras" });
    this.attached = el("div", { hidden: true });
    this.asked = el("div", { class: "asked" }, el("h2", { class: "visually-hidden", id: name }, t("you_said")), this.attached, this.question, this.note);
    this.answer = el(
      "div",
      { class: "answer", hidden: true },
      el("div", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      el("div", { class: "said" }, el("h2", { class: "visually-hidden" }, t("assistant_said")), this.body, this.thinking, this.extras),
    );
    this.node = el("article", { class: "turn", "aria-labelledby": name }, this.day, this.asked, this.answer);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    clearTimeout(this.slowTimer);
  }

  remove() {
    this.stop();
    this.node.remove();
  }

  showDay(name) {
    this.day.hidden = !name;
    this.day.textContent = name;
  }

  ask(text, action, names = []) {
    if (this.questionText === text && this.attachedNames === names.join("\n")) return;
    this.questionText = text;
    this.attachedNames = names.join("\n");
    this.asked.hidden = !text && !names.length;
    this.question.hidden = !text;
    this.attached.hidden = !names.length;
    this.attached.replaceChildren(...(names.length ? [attachedList(names)] : []));
    this.question.textContent = action ? t("chosen", { text }) : text;
    this.question.classList.toggle("choice", Boolean(action));
  }

  /** Shows a message that is on its way. */
  showPending(entry) {
    if (this.state !== "pending") return;
    this.ask(entry.text, entry.action, entry.files?.map((file) => file.name));
    const key = `${entry.state}|${entry.problem ?? ""}`;
    if (this.pendingKey === key) return;
    this.pendingKey = key;
    this.note.hidden = true;
    this.node.classList.toggle("refused", entry.state === "failed");
    this.node.classList.toggle("unsent", entry.state === "failed" || entry.state === "waiting");
    if (entry.state === "accepted" || entry.state === "sending") {
      this.wait(entry.at);
    } else {
      this.answer.hidden = true;
      const buttons = [el("button", { type: "button", onclick: () => this.chat.retry(entry.id) }, icon("retry"), t("retry"))];
      if (entry.state === "failed") buttons.push(el("button", { type: "button", onclick: () => this.chat.discard(entry.id) }, t("discard")));
      this.note.replaceChildren(el("span", {}, entry.state === "failed" ? `${t("unsent")} ${entry.problem}` : t("will_retry")), ...buttons);
      this.note.hidden = false;
    }
  }

  /** The three dots, with words that get more patient. */
  wait(since) {
    this.answer.hidden = false;
    this.thinking.hidden = false;
    this.answer.setAttribute("aria-busy", "true");
    const waited = Date.now() - since;
    const [words, next] = waited < 12000 ? ["thinking", 12000] : waited < 60000 ? ["still_working", 60000] : ["very_slow", 0];
    if (this.waitingWords !== words) {
      this.waitingWords = words;
      this.thinking.lastChild.textContent = t(words);
      if (words !== "thinking") announce(t(words));
    }
    clearTimeout(this.slowTimer);
    if (next) this.slowTimer = setTimeout(() => this.thinking.hidden || this.wait(since), next - waited);
  }

  /** Shows the turn as the server has it; `live`: the person sees it happen, so it may move and is announced. */
  showTurn(turn, { live }) {
    const finished = this.state === "sent" || this.state === "failed";
    if (finished && this.last && this.last.text === turn.text && this.last.state === turn.state && JSON.stringify(this.last.buttons) === JSON.stringify(turn.buttons)) return;
    const started = this.state !== "answering" && turn.state === "answering";
    this.last = turn;
    this.state = turn.state;
    this.at = turn.at || this.at;
    this.note.hidden = true;
    this.node.classList.remove("unsent");
    const label = this.chat.store.get().labels?.[this.id];
    this.ask(label ?? (turn.question || this.questionText || ""), Boolean(label), turn.attached);
    this.sources = new Map((turn.sources ?? []).map((source) => [source.number, source]));
    this.target = turn.text || (turn.state === "failed" ? t("answer_failed") : turn.state === "sent" ? t("nothing_said") : "");
    this.answer.hidden = false;
    this.node.classList.toggle("failed", turn.state === "failed");
    if (started && live) announce(t("answer_starts"));
    if (!this.target) {
      this.wait(this.at);
      return;
    }
    this.thinking.hidden = true;
    clearTimeout(this.slowTimer);
    this.live ||= live;
    if (!live || reducedMotion() || document.hidden) {
      this.shown = this.target.length;
      this.draw();
    } else {
      this.grow();
    }
  }

  /** Reveals the text evenly between two states of it. */
  grow() {
    if (this.frame) return;
    let before = performance.now();
    const step = (now) => {
      this.frame = 0;
      const seconds = Math.min(0.1, (now - before) / 1000);
      if (seconds >= 0.03) {
        before = now;
        const behind = this.target.length - this.shown;
        const perSecond = Math.max(90, behind / (this.state === "answering" ? 0.4 : 0.18));
        this.shown = Math.min(this.target.length, this.shown + Math.max(1, Math.round(perSecond * seconds)));
        // Not between the halves of one character.
        if (/[\ud800-\udbff]/.test(this.target[this.shown - 1] ?? "")) this.shown = Math.min(this.target.length, this.shown + 1);
        this.draw();
      }
      if (this.shown < this.target.length) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  draw() {
    const open = this.state === "answering" || this.shown < this.target.length;
    renderMarkdown(this.body, this.target.slice(0, this.shown), { sources: this.sources, streaming: open });
    this.body.classList.toggle("streaming", open);
    this.answer.setAttribute("aria-busy", String(open));
    if (!open) this.finish();
  }

  finish() {
    this.extras.replaceChildren(...this.buildExtras());
    if (this.live && !this.announced) {
      this.announced = true;
      const text = this.body.textContent.replace(/\s+/g, " ").trim();
      announce(text.length > 700 ? `${text.slice(0, 700)}… ${t("answer_cut")}` : text);
    }
  }

  buildExtras() {
    const turn = this.last;
    const parts = [];
    if (turn.buttons?.length) parts.push(this.choices(turn.buttons));
    if (turn.files?.length) parts.push(fileList(turn.files));
    if (turn.sources?.length) parts.push(sourceList(turn.sources));
    const tools = el("div", { class: "tools" });
    const files = this.chat.store.get().sent?.[this.id];
    if (turn.state === "failed" && (this.questionText || files))
      tools.append(el("button", { type: "button", class: "quiet", onclick: () => this.chat.ask(this.questionText, files) }, icon("retry"), t("ask_again")));
    if (turn.text) tools.append(this.copyButton());
    tools.append(el("time", { datetime: new Date(this.at).toISOString() }, clockTime(this.at)));
    parts.push(tools);
    return parts;
  }

  copyButton() {
    const button = iconButton("copy", t("copy_answer"), async () => {
      const copied = await copyText(this.last.text);
      announce(t(copied ? "copied" : "copy_failed"));
      button.replaceChildren(icon(copied ? "check" : "copy"));
      setTimeout(() => button.replaceChildren(icon("copy")), 2000);
    }, { class: "icon-button small" });
    return button;
  }

  choices(buttons) {
    const chosen = this.chat.store.get().chosen[this.id];
    const group = el("div", { class: "choices", role: "group", "aria-label": t("choices") });
    for (const button of buttons) {
      const mine = chosen === button.key + JSON.stringify(button.value ?? null);
      group.append(el("button", {
        type: "button",
        class: `choice-button ${button.style === "primary" || button.style === "danger" ? button.style : ""} ${mine ? "chosen" : ""}`,
        disabled: chosen !== undefined,
        "aria-pressed": mine ? "true" : null,
        onclick: () => {
          for (const other of group.children) other.disabled = true;
          this.chat.choose(button, this.id);
          this.extras.replaceChildren(...this.buildExtras());
          this.chat.input.focus();
        },
      }, mine ? icon("check") : null, button.text));
    }
    return group;
  }
}

/** The files of an answer: a click asks for one with the reader's own authority, and hands it over as a download. */
function fileList(files) {
  const group = el("div", { class: "choices", role: "group", "aria-label": t("files") });
  const problem = el("p", { class: "bad-text small", role: "alert", hidden: true });
  for (const file of files) {
    const button = el("button", { type: "button", class: "choice-button", onclick: async () => {
      button.disabled = true;
      try {
        const url = URL.createObjectURL(await fetchFile(file.url));
        const link = el("a", { href: url, download: file.name });
        document.body.append(link);
        link.click();
        link.remove();
        setTimeout(() => URL.revokeObjectURL(url), 10_000);
        problem.hidden = true;
      } catch (error) {
        problem.textContent = `${file.name}: ${errorText(error)}`;
        problem.hidden = false;
      } finally {
        button.disabled = false;
      }
    } }, icon("download"), el("span", { dir: "auto" }, `${file.name} · ${sizeText(file.size)}`));
    group.append(button);
  }
  return el("div", {}, group, problem);
}

function sourceList(sources) {
  const items = sources.map((source) => {
    const where = source.page ? ` · ${t("page", { page: source.page })}` : "";
    const url = safeUrl(source.url);
    const label = [el("span", { class: "number", "aria-hidden": "true" }, String(source.number)), el("span", { class: "title", dir: "auto" }, source.title + where)];
    return el("li", { value: String(source.number) }, url
      ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer", title: source.title }, label, el("span", { class: "visually-hidden" }, ` (${t("new_window")})`))
      : el("span", { class: "plain" }, label));
  });
  return el("div", { class: "sources" }, el("h3", {}, t("sources")), el("ol", {}, items));
}
