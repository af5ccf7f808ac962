"""One person's consent from the chat to the provider and back: asks privately, proves the way back, lets what waited go on.

    chat: NeedsAuthorisation → ticket (the blocked message waits with it) → private link
    browser: /start → provider → /callback → tokens into the vault → the blocked message is queued again

The state that travels through the provider is signed, bound to the ticket's person and to the browser's cookie, lives ten
minutes and works once. Nothing is written before the call-back, so a link preview that opens the link changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets as random_secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from assistant.errors import InvalidSetting, NeedsAuthorisation, Unavailable
from assistant.messages import Button, Message, Reply, message_from_json, to_json
from assistant.oauth.envelope import Envelope, Sealed
from assistant.oauth.providers import SKEW, Denied, Provider, Providers, s256
from assistant.oauth.trouble import Trouble
from assistant.oauth.vault import Account, Grant, Person, Tokens, Vault
from assistant.observability import REFRESH_FAILED, Metrics, log
from assistant.queue import TurnQueue
from assistant.storage import Conflict, Table, key
from assistant.words import nearest, say

logger = logging.getLogger(__name__)

STATE_SECONDS: Final = 600
"""From the start in the browser to the call-back."""

TICKET_SECONDS: Final = 86400
"""How long the link in the chat works, and the blocked message waits."""

REVOKE: Final = "consent.revoke"
"""Key of the button that takes a consent back; its value is the provider."""

PROTOCOL: Final = frozenset({"openid", "profile", "email", "offline_access", "corpid"})
"""Scopes of the protocol itself, which providers grant without always naming them."""

PLATFORM_TITLES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "feishu": "Feishu", "dingtalk": "DingTalk", "wecom": "WeCom", "slack": "Slack", "teams": "Microsoft Teams",
        "webchat": "the chat",
    },
    "zh-CN": {
        "feishu": "飞书", "dingtalk": "钉钉", "wecom": "企业微信", "slack": "Slack", "teams": "Microsoft Teams",
        "webchat": "聊天页面",
    },
}  # fmt: skip

_TICKET = re.compile(r"[0-9a-f]{32}")
_STATE = re.compile(r"([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{16})([0-9a-f]{40})")
_LISTED = frozenset(
    {
        "what have i allowed", "what did i allow", "my permissions", "/allowed", "/permissions",
        "我授权了什么", "我允许了什么", "我授权了哪些", "我的授权", "查看授权", "查看我的授权",
    }
)  # fmt: skip
_REVOKED = re.compile(
    r"/?(?:revoke|take back|撤销|撤回|取消|收回)\s*+(?:access to|my|对|我的)?\s*+(.*?)(?<!\s)\s*+(?:的?(?:授权|权限))?",
    re.IGNORECASE,
)
_EVERYTHING = frozenset({"all", "everything", "所有", "全部"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the browser is shown: the sentence `words` of the house, in `language`, with `values` filled in."""

    words: str
    status: int = 200
    language: str = "en"
    values: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    """Where the button on the page leads."""
    redirect: str = ""
    """Where the browser is sent at once instead."""
    cookie: str = ""
    """The browser's id, to be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request that waits for a person's consent."""

    ticket: str
    person: Person
    provider: str
    scopes: tuple[str, ...]
    language: str
    message: Message
    done: bool = False


class Authorisations:
    """Everything about consents. Raises Unavailable where the table, KMS or the queue does not answer."""

    def __init__(
        self,
        *,
        table: Table,
        envelope: Envelope,
        providers: Providers,
        queue: Callable[[], TurnQueue],
        public_url: str,
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
        metrics: Metrics | None = None,
    ) -> None:
        self.providers = providers
        self.trouble = Trouble(table, clock=clock)
        self._metrics = metrics
        self.vault = Vault(table, envelope, clock=clock, wait=wait, failed=self._failed)
        self._table = table
        self.envelope = envelope
        self._queue = queue
        self._public_url = public_url.rstrip("/")
        self._tenant = tenant
        self._clock = clock
        self._secret = b""

    # --- for a turn ---

    def token(self, message: Message, provider: str, scopes: Sequence[str] = (), *, refused: str = "") -> str:
        """The asker's access token at `provider`, another one than `refused`, which was not accepted there.

        Raises NeedsAuthorisation, InvalidSetting where the provider gives none, Unavailable.
        """
        by = self._provider(provider, tuple(scopes))
        if by.identity_only:
            raise InvalidSetting(f"{provider} proves who somebody is and gives no token; use account({provider!r})")
        return self.vault.token(person_of(message), provider, by, scopes=scopes, refused=refused)

    def account(self, message: Message, provider: str) -> Account:
        """Who the asker is at `provider`. Raises NeedsAuthorisation, Unavailable."""
        self._provider(provider, ())
        return self.vault.account(person_of(message), provider)

    def _failed(self, provider: str, reason: str) -> None:
        log(logger, logging.WARNING, "a token could not be refreshed", event_reason=reason, provider=provider)
        if self._metrics:
            self._metrics.emit((REFRESH_FAILED, 1), provider=provider)
        self.trouble.note(provider, "refresh", reason)

    def _provider(self, name: str, scopes: tuple[str, ...]) -> Provider:
        try:
            return self.providers.get(name)
        except InvalidSetting as error:  # `ask` says so to the person, in their language
            raise NeedsAuthorisation(name, scopes) from error

    def ask(self, message: Message, need: NeedsAuthorisation, *, turn: str, language: str) -> Reply:
        """A private reply with the link; `message` waits and goes on by itself afterwards. The same for every delivery."""
        try:
            provider = self.providers.get(need.provider)
            if not self._public_url:
                raise InvalidSetting("PUBLIC_URL is not set: there is nowhere to come back to")
            ticket = self._mac("ticket", turn, need.provider)[:32]
        except InvalidSetting as error:
            log(logger, logging.ERROR, "nobody can authorise", event_reason=str(error), provider=need.provider)
            return Reply(text=say("consent_not_configured", language, title=need.provider), private=True)
        person = person_of(message)
        scopes = tuple(dict.fromkeys([*provider.scopes, *need.scopes]))
        ends = int(self._clock()) + TICKET_SECONDS
        body = {"person": list(person), "scopes": list(scopes), "language": language, "message": to_json(message)}
        text = json.dumps(body, ensure_ascii=False)
        self._table.put({"pk": key("Q", ticket), "sk": "ask", "provider": need.provider, "body": text, "expires": ends})
        self._table.put({"pk": person.partition, "sk": f"wait#{need.provider}#{ticket}", "expires": ends})
        link = f"{self._public_url}/oauth/{need.provider}/start?ticket={ticket}"
        known = any(g.provider == need.provider and g.state != "good" for g in self.vault.grants(person))
        return Reply(
            text=say("consent_again" if known else "consent_ask", language, title=provider.title, link=link), private=True
        )

    def hear(self, message: Message, language: str) -> Reply | None:
        """The answer to "what have I allowed?" and "revoke …"; None for everything else."""
        if message.kind == "card_action" and message.action_key == REVOKE and isinstance(message.action_value, str):
            return self._revoked(message, [message.action_value], language)
        said = " ".join(message.text.strip(" ?？!！。.").lower().split())
        if said in _LISTED:
            return self._listed(message, language)
        if len(said) > 80 or not (found := _REVOKED.fullmatch(said)):
            return None
        named = found[1]
        if not named:
            return self._listed(message, language) if "revoke" in said or "授权" in said else None
        given = self.vault.grants(person_of(message))
        chosen = [g.provider for g in given if named in _EVERYTHING or named in (g.provider, self._title(g.provider).lower())]
        if not chosen and named not in _EVERYTHING:
            return None
        return self._revoked(message, chosen, language)

    def _listed(self, message: Message, language: str) -> Reply:
        given = self.vault.grants(person_of(message))
        if not given:
            return Reply(text=say("consent_none", language), private=True)
        lines = [self._line(g, language) for g in given]
        buttons = [
            Button(text=say("consent_button_revoke", language, title=self._title(g.provider)), key=REVOKE, value=g.provider)
            for g in given
        ]
        return Reply(text="\n".join([say("consent_list", language), "", *lines]), buttons=tuple(buttons), private=True)

    def _line(self, grant: Grant, language: str) -> str:
        since = time.strftime("%Y-%m-%d", time.gmtime(grant.since))
        scopes = ", ".join(s for s in grant.scopes if s not in PROTOCOL) or "–"
        words = "consent_line" if grant.state == "good" else "consent_line_ended"
        title = self._title(grant.provider)
        return f"- {say(words, language, title=title, account=grant.account.name or '–', scopes=scopes, since=since)}"

    def _revoked(self, message: Message, names: Sequence[str], language: str) -> Reply:
        known = {g.provider for g in self.vault.grants(person_of(message))}
        chosen = [n for n in names if n in known]
        if not chosen:
            return Reply(text=say("consent_none", language), private=True)
        lines = []
        for name in chosen:
            told = self.revoke(person_of(message), name)
            lines.append(say("consent_revoked" if told else "consent_revoked_here", language, title=self._title(name)))
        return Reply(text="\n".join(lines), private=True)

    def _title(self, provider: str) -> str:
        try:
            return self.providers.get(provider).title
        except (InvalidSetting, Unavailable):
            return provider  # its configuration is gone; what was granted can still be taken back here

    def revoke(self, person: Person, provider: str) -> bool:
        """Deletes the tokens here and ends them at the provider; False where the provider could not be told."""
        told = False
        try:
            if tokens := self.vault.tokens(person, provider):
                told = self.providers.get(provider).revoke(tokens)
        except (InvalidSetting, Unavailable) as error:
            log(logger, logging.WARNING, "a provider was not told of a revocation", event_reason=str(error), provider=provider)
        self.vault.forget(person, provider)
        return told

    def left(self, message: Message) -> None:
        """Takes back everything that those allowed who, as the platform says, have left the company."""
        users = message.action_value if isinstance(message.action_value, list) else [message.sender]
        for person in (Person(message.tenant, message.platform, str(user)) for user in users):
            for grant in self.vault.grants(person):
                self.revoke(person, grant.provider)
                log(logger, logging.INFO, "somebody left; their access was taken back", provider=grant.provider)

    # --- for the browser ---

    def begin(
        self, provider: str, ticket: str, *, browser: str, sure: str = "", inside: bool = False, language: str = "en"
    ) -> Page:
        """Sends the browser to the provider; asks first where a link that somebody else passed on could do harm."""
        ask = self._asked(provider, ticket)
        if ask is None:
            return Page(words="page_link_unknown", status=404, language=language)
        if ask.done:
            return self._page("page_already", ask)
        try:
            at = self.providers.get(provider)
        except InvalidSetting:
            return self._page("page_not_configured", ask, status=404)
        browser = browser if re.fullmatch(r"[0-9a-f]{64}", browser) else random_secrets.token_hex(32)
        proof = self._mac("sure", ticket, browser).encode()
        if at.platform != ask.person.platform and not hmac.compare_digest(sure.encode("utf-8", "replace"), proof):
            link = f"{self._public_url}/oauth/{provider}/start?ticket={ticket}&sure={self._mac('sure', ticket, browser)}"
            return replace(
                self._page("page_sure", ask, who=ask.message.sender_name or ask.person.user), link=link, cookie=browser
            )
        issued, nonce = f"{int(self._clock()):08x}", random_secrets.token_hex(8)
        state = f"{ticket}{issued}{nonce}{self._mac('state', provider, ticket, issued, nonce, browser)}"
        send = at.address_inside if inside else at.address
        try:
            address = send(
                redirect=self._redirect(provider),
                state=state,
                scopes=ask.scopes,
                challenge=s256(self._verifier(nonce, browser)) if at.pkce else "",
                nonce=self._mac("nonce", nonce, browser),
            )
        except Unavailable:
            return replace(self._page("page_provider_down", ask, status=503), link=self._start(ask))
        return replace(self._page("page_redirect", ask, status=302), redirect=address, cookie=browser)

    def finish(self, provider: str, query: Mapping[str, str], *, browser: str, language: str = "en") -> Page:
        """What the browser is told when it comes back."""
        if not query.get("state"):
            return Page(words="page_no_state", status=400, language=language)
        found = _STATE.fullmatch(query["state"])
        ask = self._asked(provider, found[1]) if found else None
        if found is None or ask is None:
            return Page(words="page_bad_state", status=400, language=language)
        _, issued, nonce, mac = found.groups()
        if not browser or not hmac.compare_digest(mac, self._mac("state", provider, ask.ticket, issued, nonce, browser)):
            return self._page("page_other_browser", ask, status=403)
        if not -SKEW <= self._clock() - int(issued, 16) <= STATE_SECONDS:
            return replace(self._page("page_late", ask, status=400), link=self._start(ask))
        if not self._first(ask, nonce):
            if ask.done:
                self._go_on(ask.person, provider)  # in case the first call-back was cut off before it had queued everything
                return self._page("page_already", ask)
            return replace(self._page("page_used", ask, status=400), link=self._start(ask))
        if error := query.get("error", ""):
            words = "page_denied" if error in ("access_denied", "consent_required") else "page_provider_refused"
            log(logger, logging.INFO, "authorisation refused", event_reason=error[:80], provider=provider)
            return replace(self._page(words, ask), link=self._start(ask))
        return self._exchange(ask, query, nonce, browser)

    def _exchange(self, ask: Ask, query: Mapping[str, str], nonce: str, browser: str) -> Page:
        try:
            at = self.providers.get(ask.provider)
        except InvalidSetting:
            return self._page("page_not_configured", ask, status=404)
        code = query.get(at.code_field) or query.get("code", "")
        if not code:
            return replace(self._page("page_no_code", ask, status=400), link=self._start(ask))
        try:
            tokens = at.exchange(
                code,
                redirect=self._redirect(ask.provider),
                verifier=self._verifier(nonce, browser) if at.pkce else "",
                nonce=self._mac("nonce", nonce, browser),
            )
            account = at.account(tokens)
        except Denied as error:
            log(logger, logging.WARNING, "a code was refused", event_reason=error.reason[:80], provider=ask.provider)
            return replace(self._page("page_provider_refused", ask, status=400), link=self._start(ask))
        except Unavailable as error:
            log(logger, logging.WARNING, "a code could not be exchanged", event_reason=str(error), provider=ask.provider)
            return replace(self._page("page_provider_down", ask, status=503), link=self._start(ask))
        if at.platform == ask.person.platform and not _same(ask, account):
            self._drop(at, tokens)
            return replace(self._page("page_somebody_else", ask, status=403, account=account.name), link=self._start(ask))
        grant = self.vault.store(ask.person, ask.provider, tokens, asked=ask.scopes, account=account)
        if missing := _missing(ask.scopes, grant):
            self.trouble.note(ask.provider, "scopes", " ".join(missing))
            return replace(self._page("page_less", ask, missing=", ".join(missing)), link=self._start(ask))
        self._table.update(key("Q", ask.ticket), "ask", {"done": True})
        self._go_on(ask.person, ask.provider)
        return self._page("page_done", ask)

    def _drop(self, at: Provider, tokens: Tokens) -> None:
        try:
            at.revoke(tokens)
        except Unavailable:
            return  # they are stored nowhere and end by themselves

    # --- what waited ---

    def _go_on(self, person: Person, provider: str) -> None:
        """Queues every message that waited for this consent, once: a repeat makes the same message again."""
        grant = next((g for g in self.vault.grants(person) if g.provider == provider), Grant(provider=provider, state="none"))
        if grant.state != "good":
            return
        for item in self._table.query(person.partition, prefix=f"wait#{provider}#"):
            ask = self._asked(provider, str(item["sk"]).rpartition("#")[2])
            if ask and _missing(ask.scopes, grant):
                continue
            if ask:
                self._queue().publish([self._continued(ask)])
            self._table.delete(person.partition, str(item["sk"]))

    def _continued(self, ask: Ask) -> Message:
        """The message as a new turn: after everything that was said meanwhile, recognisable as the same one."""
        now = int(self._clock() * 1000)
        try:
            self._table.update(
                key("Q", ask.ticket), "ask", {"released": now, "done": True}, condition="attribute_not_exists(#released)"
            )
        except Conflict as met:
            now = int(met.item.get("released") or now)
        return replace(ask.message, dedup_id=f"{ask.message.dedup_id}~{ask.ticket[:12]}", sent_at=now, untimed=False, proof="")

    # --- tickets and states ---

    def _asked(self, provider: str, ticket: str) -> Ask | None:
        if not _TICKET.fullmatch(ticket):
            return None
        item = self._table.get(key("Q", ticket), "ask")
        if item is None or item.get("provider") != provider or int(item.get("expires") or 0) < self._clock():
            return None
        body: dict[str, Any] = json.loads(str(item["body"]))
        return Ask(
            ticket=ticket,
            person=Person(*body["person"]),
            provider=provider,
            scopes=tuple(body["scopes"]),
            language=body["language"],
            message=message_from_json(body["message"]),
            done=bool(item.get("done")),
        )

    def _first(self, ask: Ask, nonce: str) -> bool:
        """True for the first call-back with this state."""
        ends = int(self._clock()) + TICKET_SECONDS
        try:
            self._table.put(
                {"pk": key("Q", ask.ticket), "sk": f"used#{nonce}", "expires": ends}, condition="attribute_not_exists(#pk)"
            )
        except Conflict:
            return False
        return True

    def _page(self, words: str, ask: Ask, *, status: int = 200, **values: str) -> Page:
        titles = PLATFORM_TITLES[nearest(ask.language)]
        more = {"title": self._title(ask.provider), "chat": titles.get(ask.person.platform, ask.person.platform), **values}
        return Page(words=words, status=status, language=ask.language, values=more)

    def _start(self, ask: Ask) -> str:
        return f"{self._public_url}/oauth/{ask.provider}/start?ticket={ask.ticket}"

    def _redirect(self, provider: str) -> str:
        return f"{self._public_url}/oauth/{provider}/callback"

    def _verifier(self, nonce: str, browser: str) -> str:
        return hmac.new(self._signing_key(), f"verifier\n{nonce}\n{browser}".encode(), hashlib.sha256).hexdigest()

    def sign(self, *parts: str) -> str:
        """The signature of `parts`, 40 hexadecimal digits, the same in all instances."""
        return self._mac("other", *parts)

    def _mac(self, *parts: str) -> str:
        return hmac.new(self._signing_key(), "\n".join(parts).encode(), hashlib.sha256).hexdigest()[:40]

    def _signing_key(self) -> bytes:
        """The same for all instances: made once, sealed in the table."""
        if not self._secret:
            where, context = key("SYSTEM", self._tenant), {"tenant": self._tenant, "purpose": "state"}
            if (item := self._table.get(where, "state-key")) is None:
                sealed = self.envelope.seal(random_secrets.token_hex(32), context)
                try:
                    item = {"pk": where, "sk": "state-key", "key": sealed.key, "sealed": sealed.value}
                    self._table.put(item, condition="attribute_not_exists(#pk)")
                except Conflict as met:
                    item = met.item
            self._secret = bytes.fromhex(self.envelope.open(Sealed(str(item["key"]), str(item["sealed"])), context))
        return self._secret


def person_of(message: Message) -> Person:
    """Who sent the message."""
    return Person(message.tenant, message.platform, message.sender)


def person_named(text: str, tenant: str) -> Person:
    """The person in `PLATFORM:USER_ID`; raises InvalidSetting for anything else."""
    platform, _, user = text.partition(":")
    if not platform or not user:
        raise InvalidSetting(f"{text[:80]!r} must be PLATFORM:USER_ID, as slack:U123")
    return Person(tenant, platform, user)


def grants_to_json(authorisations: Authorisations, person: str, tenant: str) -> list[dict[str, Any]]:
    """What the person has allowed, without the tokens. Raises InvalidSetting, Unavailable."""
    return [grant_to_json(g) for g in authorisations.vault.grants(person_named(person, tenant))]


def grant_to_json(grant: Grant) -> dict[str, Any]:
    """What was allowed, without the tokens."""
    return {
        "provider": grant.provider,
        "account": grant.account.name,
        "scopes": list(grant.scopes),
        "since": grant.since,
        "until": grant.until,
        "state": grant.state,
    }


def revoke_for(authorisations: Authorisations, person: str, tenant: str, provider: str = "") -> list[dict[str, Any]]:
    """Takes back what the person has allowed at `provider`, or everywhere; says of each whether the provider was told."""
    who = person_named(person, tenant)
    given = [g.provider for g in authorisations.vault.grants(who) if provider in ("", g.provider)]
    if provider and not given:
        raise InvalidSetting(f"{person} has allowed nothing at {provider!r}")
    return [{"provider": name, "told": authorisations.revoke(who, name)} for name in given]


def _missing(asked: Sequence[str], grant: Grant) -> list[str]:
    return [s for s in asked if s not in grant.scopes and s not in PROTOCOL]


def _same(ask: Ask, account: Account) -> bool:
    """Whether the account at the provider is the person of the chat, by any id that the chat gave."""
    known = {ask.person.user, ask.message.address.get("aad_object_id", "")}
    return bool({i.lower() for i in account.ids if i} & {k.lower() for k in known if k})
