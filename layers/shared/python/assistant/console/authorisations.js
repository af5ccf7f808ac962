// What people have allowed the assistant to do for them elsewhere: their own, and for administrators everybody's.

import { api, may, session } from "./api.js";
import { el } from "./dom.js";
import { ask, badge, field, nothing, screen, table, textInput, when } from "./ui.js";
import { addWords, t } from "./words.js";

addWords({
  en: {
    consents_intro: "The assistant acts elsewhere only with what each person has allowed, and only for that person. It can be taken back at any time.", consents_mine: "Yours", consents_all: "Everybody's", consents_mine_none: "You have allowed nothing",
    consents_mine_none_more: "When something that you ask for needs your account elsewhere, the assistant asks you in the chat, privately.", consents_nobody: "This key belongs to no person", consents_nobody_more: "Sign in with your account to see what you have allowed yourself.",
    consents_all_none: "Nobody has allowed anything", consents_all_none_more: "Grants appear here once somebody has followed a link from the chat. Providers are set up with a secret named oauth-PROVIDER.", consents_how: "How to set up a provider", consents_person: "Person", consents_provider: "Provider",
    consents_account: "Account", consents_scopes: "May", consents_since: "Since", consents_state: "State", consents_good: "valid", consents_revoked: "ended there", consents_revoke: "Revoke", consents_revoke_this: "Revoke {provider} of {person}", consents_ask: "Revoke {provider} of {person}?",
    consents_ask_more: "The tokens are deleted here and taken back at the provider where it has a call for that. The next request that needs them asks again.", consents_done: "Revoked.", consents_filter: "Filter", consents_more: "Show more", consents_you: "you", consents_providers: "Providers that are set up: {names}.",
  },
  "zh-CN": {
    consents_intro: "助手只在每个人自己允许的范围内、为本人在其他系统中操作，随时可以撤销。", consents_mine: "我的授权", consents_all: "所有人的授权", consents_mine_none: "你还没有授权任何内容",
    consents_mine_none_more: "当你的请求需要用到其他系统的账号时，助手会在聊天中私下询问你。", consents_nobody: "此密钥不属于个人", consents_nobody_more: "用你的账号登录后，可以看到自己的授权。",
    consents_all_none: "还没有人授权", consents_all_none_more: "有人从聊天中的链接完成授权后，就会显示在这里。提供方通过名为 oauth-PROVIDER 的密钥配置。", consents_how: "怎么配置提供方", consents_person: "人员", consents_provider: "提供方",
    consents_account: "账号", consents_scopes: "允许", consents_since: "开始时间", consents_state: "状态", consents_good: "有效", consents_revoked: "已在对方失效", consents_revoke: "撤销", consents_revoke_this: "撤销{person}在{provider}的授权", consents_ask: "撤销{person}在{provider}的授权？",
    consents_ask_more: "令牌会在这里删除，并在提供方支持时同时撤销。之后需要时会再次询问。", consents_done: "已撤销。", consents_filter: "筛选", consents_more: "显示更多", consents_you: "我", consents_providers: "已配置的提供方：{names}。",
  },
});

/** The screen of the authorisations. */
export default function authorisations({ onKeyRefused }) {
  const everybody = el("div", {});
  const filter = textInput("", { type: "search", oninput: () => fill() });
  let known = [];
  let cursor = "";
  const own = screen({ intro: t("consents_intro"), onKeyRefused, load: async () => {
    const admin = may("admin", "authorisations");
    const [{ grants }, listed] = await Promise.all([api.get("/api/authorisations/mine"), admin ? Promise.all([api.get("/api/authorisations?everybody=true"), api.get("/api/authorisations")]) : null]);
    const mine = el("section", {}, el("h2", {}, t("consents_mine")), grants.length
      ? rows(grants.map((g) => ({ ...g, mine: true })), t("consents_mine"), false)
      : session.get()?.person ? nothing(t("consents_mine_none"), t("consents_mine_none_more")) : nothing(t("consents_nobody"), t("consents_nobody_more")));
    if (!listed) return mine;
    const [all, { providers }] = listed;
    known = all.grants;
    cursor = all.cursor;
    fill();
    return [el("section", {}, el("h2", {}, t("consents_all")), providers.length ? el("p", { class: "muted" }, t("consents_providers", { names: providers.map((p) => p.title).join(", ") })) : null, everybody), mine];
  } });

  function fill() {
    const wanted = filter.value.trim().toLowerCase();
    const found = known.filter((g) => `${g.person} ${g.provider} ${g.account}`.toLowerCase().includes(wanted));
    const had = everybody.contains(filter);
    if (!known.length) {
      everybody.replaceChildren(nothing(t("consents_all_none"), t("consents_all_none_more"), el("a", { class: "secondary", href: "#/platforms" }, t("consents_how"))));
      return;
    }
    const more = cursor ? el("div", { class: "toolbar" }, el("button", { type: "button", class: "secondary", onclick: () => own.attempt(async () => {
      const next = await api.get(`/api/authorisations?${new URLSearchParams({ everybody: "true", cursor })}`);
      known = [...known, ...next.grants];
      cursor = next.cursor;
      fill();
    }, everybody) }, t("consents_more"))) : "";
    const results = [rows(found, t("consents_all"), true), more];
    if (had) everybody.lastChild.replaceChildren(...results);
    else everybody.replaceChildren(field(t("consents_filter"), filter), el("div", {}, results));
  }

  const rows = (found, label, named) => table(label, [...(named ? [t("consents_person")] : []), t("consents_provider"), t("consents_account"), t("consents_scopes"), t("consents_since"), t("consents_state"), ""], found.map((g) => [...(named ? [g.person] : []), g.provider, g.account || "–", g.scopes.join(", "), when(g.since), badge(t(g.state === "good" ? "consents_good" : "consents_revoked"), g.state === "good" ? "good" : "warn"),
    !g.mine && !may("admin", "authorisations", true) ? "" : el("button", { type: "button", class: "secondary danger", "aria-label": t("consents_revoke_this", { provider: g.provider, person: g.person ?? t("consents_you") }), onclick: () => revoke(g) }, t("consents_revoke"))]));

  const revoke = (g) => ask({ host: own.node, title: t("consents_ask", { provider: g.provider, person: g.person ?? t("consents_you") }), text: t("consents_ask_more"), label: t("consents_revoke"), danger: true, onKeyRefused, act: async () => {
    const provider = encodeURIComponent(g.provider);
    await api.remove(g.mine ? `/api/authorisations/mine/${provider}` : `/api/authorisations/${encodeURIComponent(g.person)}?provider=${provider}`, { seconds: 30 });
    own.done(t("consents_done"));
    await own.start();
  } });

  return own;
}
