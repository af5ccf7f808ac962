// Rings: who is served, and step by step who is next. Each change names who made it and why, and can be taken back.

import { api, may } from "./api.js";
import { el, icon, kept } from "./dom.js";
import { area, ask as askIn, badge, checkbox, field, nothing, number, screen, select, show as showIn, table, textInput, when } from "./ui.js";
import { addWords, t } from "./words.js";

addWords({
  en: {
    rings_intro: "New things reach people ring by ring. Every change is kept with who made it and why, and can be taken back.",
    rings_internal: "Internal", rings_department: "Department", rings_everyone: "Everyone",
    rings_served: "served", rings_waiting: "not yet served", rings_halted: "Halted: no further ring until it is resumed.", rings_nobody: "Nobody is served at the moment.",
    rings_promote: "Serve “{ring}” as well", rings_halt: "Halt", rings_resume: "Resume", rings_rollback: "Take the last change back", rings_edit: "Edit", rings_edit_ring: "Edit ring “{ring}”",
    rings_people: "People", rings_chats: "Chats", rings_share: "Share of all others", rings_model: "Model", rings_plugins: "Plug-ins", rings_capacity: "Most people that may be named",
    rings_of: "{count} of {capacity}", rings_configured: "as configured", rings_rest: "all others",
    rings_one_per_line: "One on each line, as PLATFORM:ID, for example slack:U123.", rings_commas: "Names, separated by commas. Empty: as configured.", rings_model_help: "For example openai:MODEL@BASE_URL. Empty: as configured.",
    rings_capacity_help: "0: no limit.", rings_percent: "In percent. The same people are chosen each time, so that a growing share only adds people.",
    rings_outside: "Somebody outside the rings gets", rings_word: "one polite message", rings_silence: "nothing", rings_save: "Save", rings_cancel: "Cancel",
    rings_why: "Why? (kept in the history)", rings_who: "Your name", rings_do: "Do it", rings_ask_promote: "Serve ring “{ring}” as well?", rings_ask_halt: "Halt the roll-out?",
    rings_ask_resume: "Resume the roll-out?", rings_ask_rollback: "Take the last change back?", rings_ask_outside: "Change what people outside get?",
    rings_soon: "It reaches every function within half a minute.", rings_done: "Done. It reaches every function within half a minute.",
    rings_off: "switched off", rings_on: "Serve whoever belongs to it", rings_departments: "Departments", rings_groups: "Groups", rings_prompt: "Prompt version", rings_memory: "Memory", rings_days: "Turns kept", rings_budget: "Budget a day",
    rings_ids: "PLATFORM:ID, or list:NAME, one on each line.", rings_prompt_none: "as configured", rings_memory_chat: "the whole chat together", rings_memory_topic: "each topic", rings_memory_member: "each member", rings_days_help: "Days; 0: as configured.", rings_days_value: "{count} days",
    rings_person_tokens: "Tokens a day for each person", rings_person_money: "Money a day for each person", rings_tokens: "Tokens a day together", rings_money: "Money a day together", rings_zero: "0: no limit.", rings_no_budget: "no limit",
    rings_tokens_short: "{count} tokens", rings_money_short: "{count} money", rings_each: "{what} each", rings_who_belongs: "Who belongs", rings_what_they_get: "What they get", rings_limits: "Limits", rings_plugins_versions: "Names, separated by commas; NAME@1.2 for one version. Empty: as configured.",
    rings_find: "Where is somebody?", rings_find_help: "PLATFORM:USER, for example slack:U123.", rings_find_go: "Look", rings_found: "{person} is in ring “{ring}”.", rings_found_none: "{person} is outside every ring that is served.",
    rings_plan: "Promote by plan", rings_plan_none: "No plan is running.", rings_plan_more: "A plan watches the ring for some hours, then goes on by itself. It halts, takes its step back and tells the administrators when errors, slow answers, silence or thumbs down pass their limits.",
    rings_plan_start: "Start a plan", rings_plan_stop: "End the plan", rings_plan_kind: "What it does", rings_plan_reach: "serve further rings", rings_plan_features: "carry model, prompt and plug-ins of one ring to the next", rings_plan_to: "Up to ring", rings_plan_hours: "Hours to watch each ring",
    rings_plan_errors: "Errors, most %", rings_plan_slow: "Slow, most %", rings_plan_slow_seconds: "Slow: after seconds", rings_plan_silent: "Silence, most %", rings_plan_silent_seconds: "Silence: after seconds", rings_plan_disliked: "Thumbs down, most %", rings_plan_turns: "Fewest answers that prove something",
    rings_plan_running: "Watching “{ring}”, on the way to “{to}”, since {since}, for {hours} hours.", rings_plan_limits: "Limits and figures", rings_plan_seen: "Last look {at}: {verdict}. {reason}", rings_plan_unseen: "It has not looked yet; it does every five minutes.", rings_plan_ring: "Ring", rings_plan_answers: "Answers",
    rings_plan_failed: "Failed", rings_plan_slow_count: "Slow", rings_plan_silent_count: "Silent", rings_plan_liked: "Up / down", rings_ask_stop: "End the plan? What it has done stays.", rings_ask_plan: "Start a plan",
    rings_verdict_watching: "watching", rings_verdict_waiting: "waiting for more answers", rings_verdict_promoted: "promoted", rings_verdict_done: "done", rings_verdict_rolled_back: "halted and rolled back", rings_verdict_unknown: "figures not known", rings_verdict_halted: "halted", rings_verdict_none: "no plan",
    rings_prompts: "Prompt versions", rings_prompts_more: "What your company adds to the assistant's own instructions. A version never changes; a ring names the one it uses.", rings_prompt_add: "New version", rings_prompt_name: "Name", rings_prompt_name_help: "Letters, digits, “.”, “_” and “-”, for example 2026-02-short.", rings_prompt_text: "Text", rings_prompt_empty: "No versions yet",
    rings_prompt_empty_more: "Every ring uses the assistant's own instructions alone.", rings_prompt_show: "Show", rings_prompt_show_this: "Show prompt {name}", rings_lists: "Lists of people", rings_list_add: "Import a list", rings_list_people: "People", rings_list_count: "People", rings_list_empty: "No lists yet", rings_list_empty_more: "Import the people of a department where the platform's directory cannot be asked; a ring names it as list:NAME.",
    rings_history: "History", rings_no_history: "Nothing was changed yet. A new installation serves everyone.", rings_when: "When", rings_what: "What", rings_by: "Who", rings_reason: "Why",
  },
  "zh-CN": {
    rings_intro: "新功能一环一环地开放。每次变更都会记录是谁、为什么，并且可以撤回。",
    rings_internal: "内部", rings_department: "部门", rings_everyone: "全公司",
    rings_served: "已开放", rings_waiting: "尚未开放", rings_halted: "已暂停：恢复之前不会推进到下一环。", rings_nobody: "目前没有对任何人开放。",
    rings_promote: "开放“{ring}”", rings_halt: "暂停", rings_resume: "恢复", rings_rollback: "撤回上一次变更", rings_edit: "编辑", rings_edit_ring: "编辑“{ring}”",
    rings_people: "人员", rings_chats: "聊天", rings_share: "其余人员的比例", rings_model: "模型", rings_plugins: "插件", rings_capacity: "最多可指定的人数",
    rings_of: "{count} / {capacity}", rings_configured: "按默认配置", rings_rest: "其余所有人",
    rings_one_per_line: "每行一个，格式为 平台:ID，例如 slack:U123。", rings_commas: "用逗号分隔。留空则按默认配置。", rings_model_help: "例如 openai:MODEL@BASE_URL。留空则按默认配置。",
    rings_capacity_help: "0 表示不限。", rings_percent: "百分比。每次选中的人相同，比例提高时只会增加人员。",
    rings_outside: "范围之外的人会收到", rings_word: "一条礼貌的说明", rings_silence: "不回复", rings_save: "保存", rings_cancel: "取消",
    rings_why: "原因（会记录在历史里）", rings_who: "你的姓名", rings_do: "确定", rings_ask_promote: "开放“{ring}”这一环？", rings_ask_halt: "暂停灰度发布？",
    rings_ask_resume: "恢复灰度发布？", rings_ask_rollback: "撤回上一次变更？", rings_ask_outside: "修改范围之外的人收到的内容？",
    rings_soon: "半分钟内在所有函数生效。", rings_done: "已完成，半分钟内在所有函数生效。",
    rings_off: "已关闭", rings_on: "为所属人员提供服务", rings_departments: "部门", rings_groups: "群组", rings_prompt: "提示词版本", rings_memory: "记忆", rings_days: "对话保留", rings_budget: "每日预算",
    rings_ids: "每行一个，格式为 平台:ID 或 list:名称。", rings_prompt_none: "按默认配置", rings_memory_chat: "整个聊天共享", rings_memory_topic: "每个话题独立", rings_memory_member: "每个成员独立", rings_days_help: "天数；0 表示按默认配置。", rings_days_value: "{count} 天",
    rings_person_tokens: "每人每日 token 数", rings_person_money: "每人每日金额", rings_tokens: "全环每日 token 数", rings_money: "全环每日金额", rings_zero: "0 表示不限。", rings_no_budget: "不限",
    rings_tokens_short: "{count} token", rings_money_short: "金额 {count}", rings_each: "每人 {what}", rings_who_belongs: "包含哪些人", rings_what_they_get: "使用什么", rings_limits: "限制", rings_plugins_versions: "名称用逗号分隔；NAME@1.2 表示指定版本。留空则按默认配置。",
    rings_find: "查询某人所在的环", rings_find_help: "格式为 平台:用户，例如 slack:U123。", rings_find_go: "查询", rings_found: "{person}在“{ring}”环。", rings_found_none: "{person}不在任何已开放的环内。",
    rings_plan: "按计划推进", rings_plan_none: "没有正在运行的计划。", rings_plan_more: "计划会观察一环若干小时，然后自动继续。错误、过慢、无回复或点踩超过阈值时，会暂停、回退并通知管理员。",
    rings_plan_start: "开始计划", rings_plan_stop: "结束计划", rings_plan_kind: "做什么", rings_plan_reach: "向更多的环开放", rings_plan_features: "把一环的模型、提示词和插件带到下一环", rings_plan_to: "推进到", rings_plan_hours: "每环观察小时数",
    rings_plan_errors: "错误上限 %", rings_plan_slow: "过慢上限 %", rings_plan_slow_seconds: "超过多少秒算慢", rings_plan_silent: "无回复上限 %", rings_plan_silent_seconds: "超过多少秒算无回复", rings_plan_disliked: "点踩上限 %", rings_plan_turns: "最少回答数",
    rings_plan_running: "正在观察“{ring}”，目标“{to}”，自 {since} 起，共 {hours} 小时。", rings_plan_limits: "阈值与指标", rings_plan_seen: "最近检查 {at}：{verdict}。{reason}", rings_plan_unseen: "尚未检查，每五分钟检查一次。", rings_plan_ring: "环", rings_plan_answers: "回答",
    rings_plan_failed: "失败", rings_plan_slow_count: "过慢", rings_plan_silent_count: "无回复", rings_plan_liked: "赞 / 踩", rings_ask_stop: "结束计划？已完成的步骤会保留。", rings_ask_plan: "开始计划",
    rings_verdict_watching: "观察中", rings_verdict_waiting: "等待更多回答", rings_verdict_promoted: "已推进", rings_verdict_done: "已完成", rings_verdict_rolled_back: "已暂停并回退", rings_verdict_unknown: "指标未知", rings_verdict_halted: "已暂停", rings_verdict_none: "没有计划",
    rings_prompts: "提示词版本", rings_prompts_more: "公司在助手自身说明之外补充的内容。版本一经添加不再改变，由各环选择使用。", rings_prompt_add: "新版本", rings_prompt_name: "名称", rings_prompt_name_help: "字母、数字、“.”、“_”和“-”，例如 2026-02-short。", rings_prompt_text: "内容", rings_prompt_empty: "还没有版本",
    rings_prompt_empty_more: "各环目前只使用助手自身的说明。", rings_prompt_show: "查看", rings_prompt_show_this: "查看提示词 {name}", rings_lists: "人员名单", rings_list_add: "导入名单", rings_list_people: "人员", rings_list_count: "人数", rings_list_empty: "还没有名单", rings_list_empty_more: "平台通讯录无法查询时，可以导入部门人员；环中写作 list:名称。",
    rings_history: "历史", rings_no_history: "还没有任何变更。新安装的助手对所有人开放。", rings_when: "时间", rings_what: "变更", rings_by: "操作人", rings_reason: "原因",
  },
});

const ORDER = ["internal", "department", "everyone"];
const author = kept(localStorage, "author", "");

const nameOf = (ring) => (ORDER.includes(ring) ? t(`rings_${ring}`) : ring);

/** The screen of the rings. */
export default function rings({ onKeyRefused }) {
  let prompts = [];
  const change = may("admin", "rollout", true);
  const own = screen({ intro: t("rings_intro"), onKeyRefused, load: async () => {
    const optional = (path, empty) => api.get(path).catch((error) => { if (error.kind === "key") throw error; return empty; });
    const [state, { changes = [] }, plan, versions, { lists = [] }] = await Promise.all([api.get("/api/rollout"), api.get("/api/rollout/history"), optional("/api/rollout/plan", {}), optional("/api/rollout/prompts", {}), optional("/api/rollout/lists", {})]);
    prompts = versions.prompts ?? [];
    return el("div", { class: "rings" }, parts(state, changes, plan, lists));
  } });

  function parts(state, changes, plan, lists) {
    const reached = ORDER.indexOf(state.reached);
    const next = ORDER[reached + 1];
    const act = (label, action, question, { primary = false, disabled = false } = {}) => el("button", {
      type: "button", class: primary ? "primary" : "secondary", disabled, onclick: () => ask(question, () => ({ action })),
    }, label);
    const section = (title, tool, ...content) => el("section", {}, el("div", { class: "section-head" }, el("h2", {}, title), tool), content);
    const add = (label, onclick) => (change ? el("button", { type: "button", class: "secondary", onclick }, icon("plus"), label) : null);
    return [
      state.halted ? el("p", { class: "verdict bad" }, icon("alert"), t("rings_halted")) : null,
      reached < 0 ? el("p", { class: "verdict bad" }, icon("alert"), t("rings_nobody")) : null,
      change ? el("div", { class: "toolbar" },
        next ? act(t("rings_promote", { ring: nameOf(next) }), "promote", t("rings_ask_promote", { ring: nameOf(next) }), { primary: true, disabled: state.halted }) : null,
        state.halted
          ? el("button", { type: "button", class: "secondary", onclick: () => ask(t("rings_ask_resume"), () => ({ action: "set", changes: { halted: false } })) }, t("rings_resume"))
          : act(t("rings_halt"), "halt", t("rings_ask_halt")),
        act(t("rings_rollback"), "rollback", t("rings_ask_rollback"), { disabled: state.edition === 0 })) : null,
      el("ol", { class: "ring-cards" }, state.rings.map((ring) => card(ring, ORDER.indexOf(ring.name) <= reached, plan.seats ?? {}))),
      el("div", { class: "two" }, finder(), outside(state)),
      section(t("rings_plan"), change && !plan.plan && !state.halted ? add(t("rings_plan_start"), () => startPlan(state)) : change && plan.plan ? el("button", { type: "button", class: "secondary", onclick: () => ask(t("rings_ask_stop"), () => ({ action: "stop" })) }, t("rings_plan_stop")) : null, planned(plan)),
      section(t("rings_prompts"), add(t("rings_prompt_add"), addPrompt), el("p", { class: "muted" }, t("rings_prompts_more")), prompts.length
        ? table(t("rings_prompts"), [t("rings_prompt_name"), t("rings_by"), t("rings_when"), ""], prompts.map((p) => [p.name, p.who, when(p.at), el("button", { type: "button", class: "secondary", "aria-label": t("rings_prompt_show_this", { name: p.name }), onclick: () => showIn({ host: own.node, title: p.name, content: el("p", { class: "asked-text", dir: "auto" }, p.text), large: true }) }, t("rings_prompt_show"))]))
        : nothing(t("rings_prompt_empty"), t("rings_prompt_empty_more"))),
      section(t("rings_lists"), add(t("rings_list_add"), addList), lists.length
        ? table(t("rings_lists"), [t("rings_prompt_name"), t("rings_list_count"), t("rings_by"), t("rings_when")], lists.map((l) => [l.name, number(l.people), l.who, when(l.at)]), { ends: [1] })
        : nothing(t("rings_list_empty"), t("rings_list_empty_more"))),
      section(t("rings_history"), null, changes.length ? table(t("rings_history"), [t("rings_when"), t("rings_what"), t("rings_by"), t("rings_reason")], changes.map((c) => [when(c.at), c.what, c.who, c.why])) : el("p", { class: "muted" }, t("rings_no_history"))),
    ].filter(Boolean);
  }

  function card(ring, served, seats) {
    const budget = [
      ring.tokens ? t("rings_tokens_short", { count: number(ring.tokens) }) : "", ring.money ? t("rings_money_short", { count: number(ring.money) }) : "",
      ring.person_tokens ? t("rings_each", { what: t("rings_tokens_short", { count: number(ring.person_tokens) }) }) : "", ring.person_money ? t("rings_each", { what: t("rings_money_short", { count: number(ring.person_money) }) }) : "",
    ].filter(Boolean).join(", ");
    const many = (names) => (names?.length > 3 ? `${names.slice(0, 3).join(", ")} … (${names.length})` : (names ?? []).join(", "));
    const people = seats[ring.name] ?? ring.people.length;
    const facts = [
      [t("rings_people"), ring.capacity ? t("rings_of", { count: people, capacity: ring.capacity }) : String(people)],
      ring.chats.length ? [t("rings_chats"), many(ring.chats)] : null,
      ring.departments?.length ? [t("rings_departments"), many(ring.departments)] : null,
      ring.groups?.length ? [t("rings_groups"), many(ring.groups)] : null,
      [t("rings_share"), ring.share === 1 ? t("rings_rest") : `${Math.round(ring.share * 1000) / 10} %`],
      [t("rings_model"), ring.model || t("rings_configured")],
      [t("rings_prompt"), ring.prompt || t("rings_configured")],
      [t("rings_plugins"), ring.plugins.join(", ") || t("rings_configured")],
      [t("rings_memory"), ring.memory ? t(`rings_memory_${ring.memory}`) : t("rings_configured")],
      ring.days ? [t("rings_days"), t("rings_days_value", { count: ring.days })] : null,
      [t("rings_budget"), budget || t("rings_no_budget")],
    ].filter(Boolean);
    const on = ring.on !== false;
    return el("li", { class: "doctor-card" },
      el("div", { class: "doctor-head" }, el("h2", {}, nameOf(ring.name)), badge(t(!on ? "rings_off" : served ? "rings_served" : "rings_waiting"), !on ? "warn" : served ? "good" : "")),
      el("dl", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { dir: "auto" }, value)))),
      change ? el("button", { type: "button", class: "secondary", "aria-label": t("rings_edit_ring", { ring: nameOf(ring.name) }), onclick: () => edit(ring) }, t("rings_edit")) : null);
  }

  function finder() {
    const person = textInput("", { type: "search" });
    const said = el("p", { role: "status" });
    return el("form", { class: "doctor-card", onsubmit: async (event) => {
      event.preventDefault();
      said.className = "";
      try {
        const who = person.value.trim();
        const { ring } = await api.get(`/api/rollout/where?${new URLSearchParams({ person: who })}`);
        said.textContent = ring ? t("rings_found", { person: who, ring: nameOf(ring) }) : t("rings_found_none", { person: who });
      } catch (error) {
        if (error.kind === "key") return onKeyRefused();
        said.className = "problem";
        said.textContent = error.reason || t(`error_${error.kind}`);
      }
      return undefined;
    } }, field(t("rings_find"), person, t("rings_find_help")), el("div", { class: "toolbar" }, el("button", { type: "submit", class: "secondary" }, icon("search"), t("rings_find_go"))), said);
  }

  function outside(state) {
    const choice = (value) => el("label", {}, el("input", { type: "radio", name: "outside", value, checked: state.outside === value, disabled: !change, onchange: () =>
      ask(t("rings_ask_outside"), () => ({ action: "set", changes: { outside: value } }), { onCancel: own.start }) }), t(`rings_${value}`));
    return el("fieldset", { class: "outside" }, el("legend", {}, t("rings_outside")), choice("word"), choice("silence"));
  }

  function planned({ plan, seen = {} }) {
    if (!plan) return el("p", { class: "muted" }, `${t("rings_plan_none")} ${t("rings_plan_more")}`);
    const looked = seen.at ? t("rings_plan_seen", { at: when(seen.at), verdict: t(`rings_verdict_${String(seen.verdict).replaceAll(" ", "_")}`), reason: seen.reason }) : t("rings_plan_unseen");
    const rows = Object.entries(seen.rings ?? {}).map(([name, f]) => [nameOf(name), number(f.turns), number(f.failed), number(f.slow), number(f.silent), `${number(f.liked)} / ${number(f.disliked)}`]);
    return el("div", { class: "doctor-card" }, el("p", {}, el("strong", {}, t("rings_plan_running", { ring: nameOf(plan.at), to: nameOf(plan.to), since: when(plan.since), hours: number(plan.hours) }))), el("p", { class: "muted" }, looked),
      rows.length ? table(t("rings_plan_limits"), ["rings_plan_ring", "rings_plan_answers", "rings_plan_failed", "rings_plan_slow_count", "rings_plan_silent_count", "rings_plan_liked"].map((w) => t(w)), rows, { ends: [1, 2, 3, 4, 5] }) : null);
  }

  // --- changing ------------------------------------------------------------------------------

  /** Asks who and why, with `fields` above; `make()` gives the change to send. */
  function ask(title, make, { onCancel = () => {}, fields = [], large = false, send = (body) => api.post("/api/rollout", body) } = {}) {
    const who = textInput(author.get(), { autocomplete: "name", maxlength: "200" });
    const why = textInput("", { maxlength: "1000" });
    askIn({ host: own.node, title, text: t("rings_soon"), label: t("rings_do"), large, onKeyRefused, fields: [...fields, field(t("rings_why"), why), field(t("rings_who"), who)], onEnd: (done) => { if (!done) onCancel(); }, act: async () => {
      author.set(who.value.trim());
      await send({ ...make(), who: who.value.trim(), why: why.value.trim() });
      own.done(t("rings_done"));
      await own.start();
    } });
    if (!fields.length) why.focus();
  }

  function edit(ring) {
    const lines = (values) => area((values ?? []).join("\n"));
    const amount = (value, step = "1") => textInput(String(value ?? 0), { type: "number", min: "0", step });
    const on = checkbox(t("rings_on"), ring.on !== false);
    const [people, chats, departments, groups] = [lines(ring.people), lines(ring.chats), lines(ring.departments), lines(ring.groups)];
    const share = textInput(String(Math.round(ring.share * 1000) / 10), { type: "number", min: "0", max: "100", step: "0.1" });
    const capacity = amount(ring.capacity);
    const model = textInput(ring.model);
    const prompt = select([["", t("rings_prompt_none")], ...prompts.map((p) => [p.name, p.name]), ...(ring.prompt && !prompts.some((p) => p.name === ring.prompt) ? [[ring.prompt, ring.prompt]] : [])], ring.prompt ?? "");
    const plugins = textInput(ring.plugins.join(", "));
    const memory = select([["", t("rings_configured")], ...["chat", "topic", "member"].map((m) => [m, t(`rings_memory_${m}`)])], ring.memory ?? "");
    const days = amount(ring.days);
    const budgets = { person_tokens: amount(ring.person_tokens), person_money: amount(ring.person_money, "0.01"), tokens: amount(ring.tokens), money: amount(ring.money, "0.01") };
    const split = (text, by) => text.split(by).map((part) => part.trim()).filter(Boolean);
    const whole = (input) => Math.trunc(Number(input.value) || 0);
    const group = (title, ...fields) => el("fieldset", { class: "group" }, el("legend", {}, title), fields);
    const before = { departments: ring.departments, groups: ring.groups, on: ring.on, prompt: ring.prompt };
    ask(t("rings_edit_ring", { ring: nameOf(ring.name) }), () => {
      const changes = {
        on: on.box.checked, people: split(people.value, /[\n,]/), chats: split(chats.value, /[\n,]/), departments: split(departments.value, /[\n,]/), groups: split(groups.value, /[\n,]/),
        share: Math.min(100, Number(share.value) || 0) / 100, capacity: whole(capacity), model: model.value.trim(), prompt: prompt.value, plugins: split(plugins.value, ","), memory: memory.value, days: whole(days),
        person_tokens: whole(budgets.person_tokens), tokens: whole(budgets.tokens), person_money: Number(budgets.person_money.value) || 0, money: Number(budgets.money.value) || 0,
      };
      for (const name of Object.keys(before)) if (before[name] === undefined) delete changes[name]; // a server without it
      for (const [name, value] of Object.entries(changes)) if (JSON.stringify(value) === JSON.stringify(ring[name])) delete changes[name];
      return { action: "set", ring: ring.name, changes };
    }, { large: true, fields: [
      group(t("rings_who_belongs"), on, field(t("rings_people"), people, t("rings_one_per_line")), el("div", { class: "fields" }, field(t("rings_departments"), departments, t("rings_ids")), field(t("rings_groups"), groups, t("rings_ids"))), field(t("rings_chats"), chats, t("rings_one_per_line")),
        el("div", { class: "fields" }, field(t("rings_share"), share, t("rings_percent")), field(t("rings_capacity"), capacity, t("rings_capacity_help")))),
      group(t("rings_what_they_get"), field(t("rings_model"), model, t("rings_model_help")), el("div", { class: "fields" }, field(t("rings_prompt"), prompt), field(t("rings_memory"), memory)), field(t("rings_plugins"), plugins, t("rings_plugins_versions"))),
      group(t("rings_limits"), el("div", { class: "fields" }, Object.entries(budgets).map(([name, input]) => field(t(`rings_${name}`), input, t("rings_zero"))), field(t("rings_days"), days, t("rings_days_help")))),
    ] });
    people.focus();
  }

  function startPlan(state) {
    const kind = select([["reach", t("rings_plan_reach")], ["features", t("rings_plan_features")]], state.reached === "everyone" ? "features" : "reach");
    const to = select(ORDER.map((r) => [r, nameOf(r)]), "everyone");
    const amounts = Object.fromEntries(Object.entries({ hours: 24, errors: 1, slow: 5, slow_seconds: 20, silent: 1, silent_seconds: 60, disliked: 5, turns: 20 }).map(([name, value]) => [name, textInput(String(value), { type: "number", min: "0", step: "any" })]));
    ask(t("rings_ask_plan"), () => ({ action: "plan", changes: { kind: kind.value, to: to.value, ...Object.fromEntries(Object.entries(amounts).map(([name, input]) => [name, Number(input.value)])) } }), { large: true, fields: [
      el("p", { class: "muted small" }, t("rings_plan_more")), el("div", { class: "fields" }, field(t("rings_plan_kind"), kind), field(t("rings_plan_to"), to), Object.entries(amounts).map(([name, input]) => field(t(`rings_plan_${name}`), input)))] });
  }

  function addPrompt() {
    const name = textInput("", { maxlength: "60" });
    const text = area("", { rows: "8", maxlength: "20000", spellcheck: "true" });
    askIn({ host: own.node, large: true, title: t("rings_prompt_add"), label: t("rings_save"), onKeyRefused, fields: [field(t("rings_prompt_name"), name, t("rings_prompt_name_help")), field(t("rings_prompt_text"), text)], act: async () => {
      await api.post("/api/rollout/prompts", { name: name.value.trim(), text: text.value });
      await own.start();
    } });
  }

  function addList() {
    const name = textInput("", { maxlength: "60" });
    const people = area("", { rows: "8" });
    askIn({ host: own.node, title: t("rings_list_add"), label: t("rings_save"), onKeyRefused, fields: [field(t("rings_prompt_name"), name, t("rings_prompt_name_help")), field(t("rings_list_people"), people, t("rings_one_per_line"))], act: async () => {
      await api.post("/api/rollout/lists", { name: name.value.trim(), people: people.value.split(/[\s,]+/).filter(Boolean) });
      await own.start();
    } });
  }

  return own;
}
