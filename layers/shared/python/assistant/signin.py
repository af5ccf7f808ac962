"""Sign-in to the page with a company account: authorisation code with PKCE, and a session of our own afterwards.

    page: /api/sign-in/{provider} → provider → /api/sign-in/{provider}/callback → cookie → page

Nothing is written before the call-back, and nothing that the provider hands out is kept: its answer says who somebody is, the
claims say which role they have, and the browser gets a random session that the table knows by its digest.

| item | pk | sk |
|---|---|---|
| session | `SESSION#tenant` | digest of what the cookie holds |
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from assistant.access import ROLES, Identity, Key, Role
from assistant.errors import InvalidSetting, Unavailable, VerificationError
from assistant.oauth.providers import SKEW, Denied, OpenId, s256
from assistant.observability import log
from assistant.storage import Table, key

if TYPE_CHECKING:
    from assistant.oauth.providers import Provider, Providers

logger = logging.getLogger(__name__)

BEGUN_SECONDS: Final = 600
"""From the click to the call-back."""
SESSION_SECONDS: Final = 12 * 3600
"""After a working day somebody signs in again, and has the role that their groups give them then."""
REFRESH_SECONDS: Final = 30
"""A session that was ended is dead everywhere within this time."""
MOST_KNOWN: Final = 2_000
SCOPES: Final = ("openid", "profile", "email")
WIDEST_FIRST: Final[tuple[Role, ...]] = ("admin", "operator", "editor", "user")

_BROWSER = re.compile(r"[0-9a-f]{64}")
_STATE = re.compile(r"([0-9a-f]{8})([0-9a-f]{16})([0-9a-f]{40})")


class NotSignedIn(Exception):
    """A sign-in came to nothing; `problem` is one of a few words that the page has a sentence for."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where the browser is sent, and what it must bring back."""

    address: str
    browser: str
    """Goes into a cookie that no script can read."""


class SignIn:
    """Signs people in and knows them again. Raises Unavailable where the table or the provider does not answer."""

    def __init__(
        self,
        table: Table,
        *,
        providers: Callable[[], Providers],
        meter: Callable[[Key], None] = lambda key: None,
        names: str = "",
        roles: str = "",
        public_url: str = "",
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._providers = providers
        self._meter = meter
        self._names = tuple(n.strip() for n in names.split(",") if n.strip())
        self._roles = read_roles(roles)
        self._public_url = public_url.rstrip("/")
        self._pk = key("SESSION", tenant)
        self._clock = clock
        self._known: OrderedDict[str, tuple[Identity, int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def offered(self) -> list[Provider]:
        """The providers that the page shows a button for; one that is not configured is left out and logged."""
        found = []
        for name in self._names:
            try:
                found.append(self._providers().get(name))
            except InvalidSetting as error:
                log(logger, logging.ERROR, "nobody can sign in there", event_reason=str(error), provider=name)
        return found

    # --- the way there and back ---

    def begin(self, provider: str) -> Begun:
        """The provider's page for a browser that wants to sign in. Raises NotSignedIn."""
        at = self._provider(provider)
        browser = secrets.token_hex(32)
        issued, nonce = f"{int(self._clock()):08x}", secrets.token_hex(8)
        try:
            address = at.address(
                redirect=self.redirect(provider),
                state=f"{issued}{nonce}{_mac(browser, 'state', provider, issued, nonce)[:40]}",
                scopes=SCOPES if isinstance(at, OpenId) else at.scopes,
                challenge=s256(_mac(browser, "verifier", nonce)) if at.pkce else "",
                nonce=_mac(browser, "nonce", nonce)[:40],
            )
        except Unavailable as error:
            raise _failed("provider-down", error, provider) from error
        return Begun(address=address, browser=browser)

    def finish(self, provider: str, query: Mapping[str, str], *, browser: str) -> tuple[str, Identity]:
        """What the browser's cookie holds from now on, and who it is. Raises NotSignedIn."""
        at = self._provider(provider)
        found = _STATE.fullmatch(query.get("state", ""))
        if not found or not _BROWSER.fullmatch(browser):
            raise NotSignedIn("other-browser")
        issued, nonce, mac = found.groups()
        if not hmac.compare_digest(mac, _mac(browser, "state", provider, issued, nonce)[:40]):
            raise NotSignedIn("other-browser")
        if not -SKEW <= self._clock() - int(issued, 16) <= BEGUN_SECONDS:
            raise NotSignedIn("late")
        if refusal := query.get("error"):
            raise NotSignedIn("denied" if refusal in ("access_denied", "consent_required") else "provider-refused")
        code = query.get(at.code_field) or query.get("code", "")
        try:
            tokens = at.exchange(
                code,
                redirect=self.redirect(provider),
                verifier=_mac(browser, "verifier", nonce) if at.pkce else "",
                nonce=_mac(browser, "nonce", nonce)[:40],
            )
            account = at.account(tokens)
        except Denied as error:
            raise _failed("provider-refused", error, provider) from error
        except Unavailable as error:
            raise _failed("provider-down", error, provider) from error
        role = role_of(self._roles, {"id": list(account.ids), **tokens.claims})
        if role is None or not account.id:
            log(logger, logging.WARNING, "somebody without a role wanted to sign in", provider=provider)
            raise NotSignedIn("no-role")
        who = Identity(
            id=f"{provider}:{account.id}"[:200],
            name=(account.name or account.id)[:100],
            role=role,
            person=f"{provider}-{account.id}"[:200],
        )
        return self.remember(who), who

    def redirect(self, provider: str) -> str:
        """The address that has to be registered at the provider."""
        return f"{self._public_url}/api/sign-in/{provider}/callback"

    def _provider(self, name: str) -> Provider:
        if name not in self._names:
            raise NotSignedIn("not-configured")
        try:
            return self._providers().get(name)
        except InvalidSetting as error:
            raise _failed("not-configured", error, name) from error

    # --- sessions ---

    def identify(self, token: str, *, role: Role, area: str = "", change: bool = False) -> Identity:
        """Whose session it is. Raises VerificationError (401), NotPermitted (403) or TooMany (429)."""
        digest = _digest(token)
        who, ends = self._session(digest)
        if ends <= self._clock():
            raise VerificationError("the session has ended; sign in again")
        self._meter(Key(id=f"session-{digest[:12]}", name=who.name, role=who.role, made=0))
        who.check(role, area, change=change)
        return who

    def end(self, token: str) -> None:
        """Signs out."""
        digest = _digest(token)
        self._table.delete(self._pk, digest)
        with self._lock:
            self._known.pop(digest, None)

    def end_all(self, person: str) -> int:
        """Ends every session of a person of the web chat; gives how many there were."""
        ended = [str(i["sk"]) for i in self._table.query(self._pk) if json.loads(str(i["body"])).get("person") == person]
        for digest in ended:
            self._table.delete(self._pk, digest)
        with self._lock:
            self._known.clear()
        return len(ended)

    def remember(self, who: Identity) -> str:
        """A new session for somebody who has proven who they are: what their cookie holds."""
        token = secrets.token_urlsafe(32)
        ends = int(self._clock()) + SESSION_SECONDS
        body = json.dumps({"id": who.id, "name": who.name, "role": who.role, "person": who.person}, ensure_ascii=False)
        self._table.put({"pk": self._pk, "sk": _digest(token), "body": body, "expires": ends})
        return token

    def _session(self, digest: str) -> tuple[Identity, int]:
        now = self._clock()
        with self._lock:
            known = self._known.get(digest)
        if known and now - known[2] < REFRESH_SECONDS:
            return known[0], known[1]
        item = self._table.get(self._pk, digest)
        if item is None:
            with self._lock:
                self._known.pop(digest, None)
            raise VerificationError("the session is not known; sign in again")
        data: dict[str, Any] = json.loads(str(item["body"]))
        role: Role = data["role"] if data.get("role") in ROLES else "user"
        who = Identity(id=str(data["id"]), name=str(data["name"]), role=role, person=str(data["person"]))
        ends = int(item.get("expires") or 0)
        with self._lock:
            self._known[digest] = who, ends, now
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return who, ends


def read_roles(text: str) -> Mapping[Role, Sequence[str]]:
    """Role → what a claim must hold for it. Raises InvalidSetting."""
    if not text:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(f"SIGN_IN_ROLES is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidSetting('SIGN_IN_ROLES must look like {"admin": ["groups=assistant-admins"]}')
    for role, rules in data.items():
        if role not in ROLES:
            raise InvalidSetting(f"SIGN_IN_ROLES names role {role!r}; known: {', '.join(ROLES)}")
        if not isinstance(rules, list) or not all(isinstance(r, str) and all(r.partition("=")[::2]) for r in rules):
            raise InvalidSetting(f"SIGN_IN_ROLES: the rules of {role} must be a list of CLAIM=VALUE, such as groups=admins")
    return {role: tuple(data[role]) for role in WIDEST_FIRST if role in data}


def role_of(rules: Mapping[Role, Sequence[str]], claims: Mapping[str, Any]) -> Role | None:
    """The widest role that the claims give; None where no rule fits: an account alone lets nobody in."""
    return next((role for role in WIDEST_FIRST if any(_fits(rule, claims) for rule in rules.get(role, ()))), None)


def _fits(rule: str, claims: Mapping[str, Any]) -> bool:
    name, _, wanted = rule.partition("=")
    if name == "email" and claims.get("email_verified") is not True:
        return False  # an address that anybody can claim as theirs proves nothing
    value: Any = claims
    if name in claims:
        value = claims[name]
    else:  # groups may stand deeper, as realm_access.roles
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    held = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(h, str | int) and not isinstance(h, bool) and str(h) == wanted for h in held)


def _failed(problem: str, error: Exception, provider: str) -> NotSignedIn:
    reason = error.reason if isinstance(error, Denied) else str(error)
    log(logger, logging.WARNING, "a sign-in came to nothing", event_reason=reason[:200], provider=provider)
    return NotSignedIn(problem)


def _mac(browser: str, *parts: str) -> str:
    return hmac.new(browser.encode(), "\n".join(parts).encode(), hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
