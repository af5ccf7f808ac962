// The page's own words, in both languages, side by side.

import { kept } from "./dom.js";

const WORDS = {
  en: {
    language: "English",
    other_language: "中文",
    product: "Assistant",
    skip: "Skip to the message box",
    new_conversation: "New conversation",
    conversations: "Conversations",
    no_conversations: "Your conversations appear here.",
    remove_conversation: "Remove from this list: {title}",
    removed_conversation: "Removed from the list.",
    open_menu: "Open menu",
    close_menu: "Close menu",
    menu: "Menu",
    theme_system: "Appearance: as the system. Change to light",
    theme_light: "Appearance: light. Change to dark",
    theme_dark: "Appearance: dark. Change to as the system",
    switch_language: "切换为中文",
    sign_out: "Sign out",
    nav_chat: "Chat",
    nav_health: "Health",
    nav_docs: "Guides",
    nav_letters: "Dead letters",
    nav_platforms: "Platforms",
    nav_start: "First steps",
    nav_knowledge: "Knowledge",
    nav_rings: "Rings",
    nav_plugins: "Plug-ins",
    nav_archive: "Conversations of others",
    nav_authorisations: "Authorisations",
    nav_privacy: "Privacy",
    nav_keys: "API keys",
    nav_audit: "Audit log",
    group_setup: "Set up",
    group_run: "Watch",
    group_people: "People and access",
    group_help: "Help",
    who_webchat: "The web chat's key",
    role_user: "User",
    role_editor: "Editor",
    role_operator: "Operator",
    role_admin: "Administrator",
    health_ok: "All systems work",
    health_bad: "Something needs attention",
    health_unknown: "State unknown",
    untitled: "New conversation",

    greeting: "What can I help you with?",
    greeting_more: "Ask in your own words. Answers name the page they come from.",
    first_run: "New here? Four steps lead from a model and a platform to your knowledge and your colleagues.",
    first_run_go: "First steps",
    examples: "Examples to start with",
    example_1: "What can you do?",
    example_2: "How do I connect Slack?",
    example_3: "How do I write a plug-in?",
    example_4: "How does roll-out in rings work?",

    composer_label: "Your message",
    composer_placeholder: "Ask a question",
    composer_hint: "Enter sends, Shift + Enter starts a new line.",
    send: "Send",
    stop: "Stop the answer",
    stopping: "Stopping.",
    conversation_region: "Conversation",
    jump: "Jump to the latest message",
    you: "You",
    assistant: "Assistant",
    you_said: "You asked",
    assistant_said: "The assistant answered",
    chosen: "Chosen: {text}",
    choices: "Choices",

    thinking: "Thinking…",
    sending: "Sending…",
    still_working: "Still working on it…",
    very_slow: "This takes unusually long. Your question is stored and will be answered; you may close this page and come back.",
    answer_starts: "The assistant is answering.",
    answer_cut: "The full answer is in the conversation.",
    answer_failed: "The answer could not be finished. Ask again, or contact your administrator if it happens again.",
    nothing_said: "(no text)",
    ask_again: "Ask again",

    sources: "Sources",
    files: "Files",
    source_n: "Source {number}: {title}",
    page: "page {page}",
    copy: "Copy",
    copy_answer: "Copy answer",
    copy_code: "Copy code",
    copied: "Copied",
    copy_failed: "The browser does not allow copying",
    code: "code",
    table_region: "Table",
    image: "Image",
    new_window: "opens in a new window",

    unsent: "Not sent.",
    retry: "Try again",
    discard: "Discard",
    will_retry: "Not sent yet. It goes out by itself once the connection is back.",
    banner_offline: "No connection. What you write is kept and sent once it is back.",
    banner_server: "The assistant's server does not answer. Trying again by itself.",
    banner_busy: "Many requests right now. Going on in a moment.",
    banner_refused: "This conversation cannot be loaded: {reason}",
    try_now: "Try now",
    back_online: "Connected again.",

    error_offline: "There is no connection to the server. Check your network, then try again.",
    error_timeout: "The server took too long. Try again in a moment.",
    error_key: "This key is not valid. Check it for missing characters, or ask your administrator for a new one.",
    error_forbidden: "Your key does not allow this. Ask your administrator for access.",
    error_missing: "This does not exist on the server, or your key may not see it.",
    error_large: "The message is too long. Shorten it, or send it in parts.",
    error_busy: "Too many messages at once. Wait a moment, then try again.",
    error_server: "The server has a problem. Try again in a moment; if it goes on, tell your administrator.",
    error_refused: "The server did not accept this: {reason}",
    error_refused_plain: "The server did not accept this message. Change it and try again.",

    sign_in: "Sign in",
    sign_in_more: "With your company account or an API key, whichever you were given.",
    sign_in_with: "Continue with {name}",
    sign_in_or: "or with a key",
    sign_in_denied: "You did not allow the sign-in, so nothing has happened. Try again, or use a key.",
    sign_in_late: "The sign-in took longer than ten minutes. Begin again.",
    sign_in_other_browser: "The sign-in was begun in another browser or window. Begin again here.",
    sign_in_no_role: "Your account is genuine, but no role is assigned to it. Ask your administrator to add you to a group that may use the assistant.",
    sign_in_provider_down: "The sign-in service does not answer. Try again in a moment.",
    sign_in_provider_refused: "The sign-in service did not accept this. Try again; if it happens again, tell your administrator.",
    sign_in_not_configured: "Signing in with this account is not set up. Use a key, or tell your administrator.",
    sign_out_failed: "You are signed out in this window, but the server could not be told. Close the browser, or sign in and out again once it answers.",
    key_label: "API key",
    key_help: "On your own computer, “make run” prints a link that signs you in. For a company installation, ask your administrator.",
    key_kept: "The key is kept until you close this tab.",
    key_empty: "Enter your API key.",
    key_show: "Show key",
    signing_in: "Signing in…",
    signed_out_bad_key: "Your key is no longer valid. Sign in again; your conversations are still here.",

    today: "Today",
    yesterday: "Yesterday",
  },
  "zh-CN": {
    language: "中文",
    other_language: "English",
    product: "智能助手",
    skip: "跳到输入框",
    new_conversation: "新对话",
    conversations: "对话",
    no_conversations: "你的对话会显示在这里。",
    remove_conversation: "从列表中移除：{title}",
    removed_conversation: "已从列表中移除。",
    open_menu: "打开菜单",
    close_menu: "关闭菜单",
    menu: "菜单",
    theme_system: "外观：跟随系统。切换为浅色",
    theme_light: "外观：浅色。切换为深色",
    theme_dark: "外观：深色。切换为跟随系统",
    switch_language: "Switch to English",
    sign_out: "退出登录",
    nav_chat: "聊天",
    nav_health: "运行状况",
    nav_docs: "使用指南",
    nav_letters: "死信",
    nav_platforms: "平台",
    nav_start: "入门",
    nav_knowledge: "知识库",
    nav_rings: "灰度发布",
    nav_plugins: "插件",
    nav_archive: "他人的对话",
    nav_authorisations: "授权",
    nav_privacy: "隐私",
    nav_keys: "API 密钥",
    nav_audit: "审计日志",
    group_setup: "设置",
    group_run: "监控",
    group_people: "人员与权限",
    group_help: "帮助",
    who_webchat: "网页聊天密钥",
    role_user: "用户",
    role_editor: "编辑",
    role_operator: "运维",
    role_admin: "管理员",
    health_ok: "一切正常",
    health_bad: "有需要处理的问题",
    health_unknown: "状态未知",
    untitled: "新对话",

    greeting: "有什么可以帮你？",
    greeting_more: "用你自己的话提问即可，回答会注明出处。",
    first_run: "第一次使用？四个步骤：选择模型、接入平台、添加知识、开放给同事。",
    first_run_go: "开始设置",
    examples: "可以从这些问题开始",
    example_1: "你能做什么？",
    example_2: "怎么接入飞书？",
    example_3: "怎么写一个插件？",
    example_4: "灰度发布是怎么进行的？",

    composer_label: "你的消息",
    composer_placeholder: "输入问题",
    composer_hint: "按 Enter 发送，Shift + Enter 换行。",
    send: "发送",
    stop: "停止回答",
    stopping: "正在停止。",
    conversation_region: "对话内容",
    jump: "跳到最新消息",
    you: "你",
    assistant: "助手",
    you_said: "你的提问",
    assistant_said: "助手的回答",
    chosen: "已选择：{text}",
    choices: "选项",

    thinking: "正在思考…",
    sending: "正在发送…",
    still_working: "仍在处理…",
    very_slow: "这次用时较长。问题已经保存，一定会得到回答；你可以先关闭页面，稍后再来。",
    answer_starts: "助手正在回答。",
    answer_cut: "完整回答见对话内容。",
    answer_failed: "回答没有完成。请再问一次；如果再次出现，请联系管理员。",
    nothing_said: "（无文字）",
    ask_again: "再问一次",

    sources: "来源",
    files: "文件",
    source_n: "来源 {number}：{title}",
    page: "第 {page} 页",
    copy: "复制",
    copy_answer: "复制回答",
    copy_code: "复制代码",
    copied: "已复制",
    copy_failed: "浏览器不允许复制",
    code: "代码",
    table_region: "表格",
    image: "图片",
    new_window: "在新窗口打开",

    unsent: "未发送。",
    retry: "重试",
    discard: "丢弃",
    will_retry: "还没有发出，网络恢复后会自动发送。",
    banner_offline: "没有网络连接。你写的内容会保留，恢复后自动发送。",
    banner_server: "服务器没有响应，正在自动重试。",
    banner_busy: "当前请求较多，稍后自动继续。",
    banner_refused: "无法载入这个对话：{reason}",
    try_now: "立即重试",
    back_online: "已恢复连接。",

    error_offline: "无法连接服务器。请检查网络后重试。",
    error_timeout: "服务器响应超时，请稍后重试。",
    error_key: "密钥无效。请检查是否有遗漏的字符，或向管理员索取新的密钥。",
    error_forbidden: "你的密钥没有这项权限，请联系管理员开通。",
    error_missing: "服务器上没有这项内容，或者你的密钥无权查看。",
    error_large: "消息太长。请缩短，或分几次发送。",
    error_busy: "消息过于频繁，请稍等片刻再试。",
    error_server: "服务器出现问题，请稍后重试；如果持续出现，请告知管理员。",
    error_refused: "服务器没有接受：{reason}",
    error_refused_plain: "服务器没有接受这条消息，请修改后重试。",

    sign_in: "登录",
    sign_in_more: "请使用公司账号或 API 密钥登录。",
    sign_in_with: "使用{name}账号继续",
    sign_in_or: "或使用密钥",
    sign_in_denied: "你没有同意登录，因此什么都没有发生。请重试，或使用密钥。",
    sign_in_late: "登录超过了十分钟，请重新开始。",
    sign_in_other_browser: "登录是在另一个浏览器或窗口中开始的，请在这里重新开始。",
    sign_in_no_role: "你的账号有效，但没有分配角色。请管理员把你加入可以使用助手的群组。",
    sign_in_provider_down: "登录服务没有响应，请稍后重试。",
    sign_in_provider_refused: "登录服务没有接受。请重试；如果再次出现，请告知管理员。",
    sign_in_not_configured: "还没有配置这种账号的登录方式。请使用密钥，或告知管理员。",
    sign_out_failed: "此窗口已退出，但无法通知服务器。请关闭浏览器，或等服务器恢复后重新登录再退出。",
    key_label: "API 密钥",
    key_help: "在自己的电脑上，“make run” 会打印一个可直接登录的链接。公司部署的版本，请向管理员索取。",
    key_kept: "密钥保留到关闭此标签页为止。",
    key_empty: "请输入 API 密钥。",
    key_show: "显示密钥",
    signing_in: "正在登录…",
    signed_out_bad_key: "你的密钥已失效。请重新登录，对话仍然保留。",

    today: "今天",
    yesterday: "昨天",
  },
};

export const LANGUAGES = Object.keys(WORDS);

const chosen = kept(localStorage, "language", "");

function preferred() {
  const wanted = [chosen.get(), ...(navigator.languages ?? [navigator.language])].filter(Boolean);
  for (const tag of wanted) {
    if (tag.toLowerCase().startsWith("zh")) return "zh-CN";
    if (tag.toLowerCase().startsWith("en")) return "en";
  }
  return "en";
}

let language = preferred();

/** The language the page is in: "en" or "zh-CN". */
export const currentLanguage = () => language;

/** Changes the page's language and remembers it in this browser. */
export function setLanguage(tag) {
  language = tag;
  chosen.set(tag);
}

/** The words for `name`, with `{places}` filled in. */
export function t(name, values = {}) {
  const words = WORDS[language][name] ?? WORDS.en[name] ?? name;
  return words.replace(/\{(\w+)\}/g, (all, place) => values[place] ?? all);
}

/** Adds the words of a screen: `{en: {...}, "zh-CN": {...}}`. */
export function addWords(words) {
  for (const tag of LANGUAGES) Object.assign(WORDS[tag], words[tag]);
}

/** What to tell a person about a failed request. */
export function errorText(error) {
  if (error?.kind === "refused") return error.reason ? t("error_refused", { reason: error.reason }) : t("error_refused_plain");
  return t(`error_${error?.kind ?? "server"}`);
}

/** "14:05" in the person's own clock format. */
export const clockTime = (ms) => new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" }).format(ms);

/** "Today", "Yesterday" or a date. */
export function dayName(ms, now = Date.now()) {
  const day = (value) => new Date(value).toDateString();
  if (day(ms) === day(now)) return t("today");
  if (day(ms) === day(now - 86400000)) return t("yesterday");
  return new Intl.DateTimeFormat(language, { dateStyle: "long" }).format(ms);
}
