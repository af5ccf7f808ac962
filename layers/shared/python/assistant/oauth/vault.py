"""What people have allowed: their tokens, sealed; refreshed ahead of their end by one instance at a time; never lost by accident.

A token is found by tenant, platform and user of the chat, and by provider. It changes hands by compare-and-set on the refresh
token it was made from, so that of fifty functions that find it near its end one asks the provider and the others wait for, or
go on with, what is there. A provider that does not answer changes nothing; only its word that the grant is gone does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, NamedTuple, Protocol

from assistant.errors import NeedsAuthorisation, Unavailable
from assistant.oauth.envelope import Envelope, Sealed, Unreadable
from assistant.observability import log
from assistant.storage import Conflict, Item, Table, Value, key

logger = logging.getLogger(__name__)

LIFE: Final = 7200
"""Seconds that a token lives where its provider does not say."""

AHEAD: Final = 600
"""Seconds before its end (at most a quarter of its life) from which a token is refreshed."""

LEASE: Final = 30
"""Seconds for which one instance may refresh; longer than any call to a provider."""

PATIENCE: Final = 8.0
"""Seconds that an instance waits for another one's refresh of a token that has ended."""


class Person(NamedTuple):
    """Somebody in a chat."""

    tenant: str
    platform: str
    user: str

    @property
    def partition(self) -> str:
        """Where everything of this person stands."""
        return key("U", *self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who somebody is at a provider. `ids`: every id by which a chat may know the same person."""

    id: str = ""
    name: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a provider hands out. Times are seconds from now; 0: it does not say, or for ever."""

    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    lives: int = 0
    refresh_lives: int = 0
    scopes: tuple[str, ...] | None = None
    """What was granted; None where the provider does not say, which means all that was asked."""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of the id token, checked, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a person has allowed at a provider, without the tokens."""

    provider: str
    scopes: tuple[str, ...] = ()
    account: Account = Account()
    since: int = 0
    until: int = 0
    """Unix second at which the present token ends; 0: never."""
    state: str = "good"
    """`good`, or `revoked`: the provider does not accept it any more."""


class Refused(Exception):
    """The provider says that the grant is gone: revoked, expired or used already."""


class Refreshes(Protocol):
    """As much of a provider as the vault needs."""

    def refresh(self, refresh: str) -> Tokens:
        """New tokens for a refresh token. Raises Unavailable, or Refused where the grant is gone."""


class Vault:
    """Tokens in the table. Raises Unavailable where the table, KMS or a provider that is needed now does not answer."""

    def __init__(
        self,
        table: Table,
        envelope: Envelope,
        *,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
        failed: Callable[[str, str], None] = lambda provider, reason: None,
    ) -> None:
        self._failed = failed
        """Hears of a refresh that failed for no fault of the person: provider and reason."""
        self._table = table
        self._envelope = envelope
        self._clock = clock
        self._wait = wait

    # --- reading ---

    def token(self, person: Person, provider: str, by: Refreshes, *, scopes: Sequence[str] = (), refused: str = "") -> str:
        """An access token with `scopes` that will still live for a while, another one than `refused`, which the provider did
        not accept just now. Raises NeedsAuthorisation where there is none."""
        patience = PATIENCE
        while True:
            item = self._item(person, provider)
            if item is None or item.get("state") != "good":
                raise NeedsAuthorisation(provider, tuple(scopes))
            grant = _grant(provider, item)
            if missing := [s for s in scopes if s not in grant.scopes]:
                raise NeedsAuthorisation(provider, tuple(dict.fromkeys([*grant.scopes, *missing])))
            now = self._clock()
            left = grant.until - now if grant.until else float("inf")
            if refused and self._open(person, provider, item).access == refused:
                left = 0
                if not item.get("renews"):
                    self._lost(person, provider, item)
                    raise NeedsAuthorisation(provider, grant.scopes)
            if left > _ahead(item):
                return self._open(person, provider, item).access
            if not item.get("renews"):
                if left > 0:
                    return self._open(person, provider, item).access
                raise NeedsAuthorisation(provider, grant.scopes)
            leased = self._lease(person, provider, item)
            if leased is not None:
                return self._refresh(person, provider, by, leased, usable=left > 0)
            if left > 0:  # somebody else refreshes it; this one still lives
                return self._open(person, provider, item).access
            if patience <= 0:
                raise Unavailable(f"the token of {provider} is being refreshed", retry_after=2)
            pause = random.uniform(0.05, 0.2)
            self._wait(pause)
            patience -= pause

    def account(self, person: Person, provider: str) -> Account:
        """Who the person is at the provider. Raises NeedsAuthorisation where they have not signed in."""
        item = self._item(person, provider)
        if item is None or item.get("state") != "good":
            raise NeedsAuthorisation(provider)
        return _grant(provider, item).account

    def grants(self, person: Person) -> list[Grant]:
        """What the person has allowed, and what was taken back elsewhere."""
        items = self._table.query(person.partition, prefix="token#")
        return [_grant(str(i["sk"]).removeprefix("token#"), i) for i in items]

    def tokens(self, person: Person, provider: str) -> Tokens | None:
        """The tokens themselves, to take them back; None where there are none."""
        item = self._item(person, provider)
        try:
            return self._open(person, provider, item) if item else None
        except Unreadable:
            return None  # nothing that could be taken back with it

    # --- writing ---

    def store(self, person: Person, provider: str, tokens: Tokens, *, asked: Iterable[str], account: Account) -> Grant:
        """Keeps what a person has just allowed, in place of what was there; gives what was granted."""
        scopes = tuple(dict.fromkeys(asked)) if tokens.scopes is None else tokens.scopes
        now = int(self._clock())
        facts = {"scopes": scopes, "account": asdict(account), "since": now}
        sealed = self._envelope.seal(_tokens_json(tokens), _context(person, provider))
        item = self._written(person, provider, tokens, sealed, facts)
        self._persist(lambda: self._table.put(item))
        about = {"platform": person.platform, "user": person.user, "provider": provider}
        with suppress(Unavailable):  # a directory for administrators: the person goes on without it
            self._table.put({"pk": key("GRANTS", person.tenant), "sk": _line(person, provider), "body": json.dumps(about)})
        return _grant(provider, item)

    def forget(self, person: Person, provider: str) -> None:
        """Deletes the tokens."""
        self._table.delete(person.partition, f"token#{provider}")
        self._table.delete(key("GRANTS", person.tenant), _line(person, provider))

    def everybody(self, tenant: str, *, after: str = "", limit: int = 50) -> tuple[list[tuple[Person, Grant]], str]:
        """Who has allowed what, in the order of their ids, and the cursor for the next ones. One read for each, and no more."""
        items = self._table.query(key("GRANTS", tenant), after=after, limit=limit)
        found: list[tuple[Person, Grant]] = []
        for item in items:
            about = json.loads(str(item["body"]))
            person, provider = Person(tenant, about["platform"], about["user"]), str(about["provider"])
            if token := self._item(person, provider):
                found.append((person, _grant(provider, token)))
            else:  # it has ended by itself
                self._table.delete(str(item["pk"]), str(item["sk"]))
        return found, str(items[-1]["sk"]) if len(items) == limit else ""

    # --- refreshing ---

    def _lease(self, person: Person, provider: str, item: Item) -> Item | None:
        """The item with its lease ours; None where another instance holds it, or has just changed it."""
        now = int(self._clock())
        try:
            return self._table.update(
                person.partition,
                f"token#{provider}",
                {"lease": uuid.uuid4().hex, "lease_until": now + LEASE},
                condition="#refresh = :refresh AND #state = :good AND (attribute_not_exists(#lease) OR #lease_until < :now)",
                values={"refresh": item.get("refresh"), "good": "good", "now": now},
            )
        except Conflict:
            return None

    def _refresh(self, person: Person, provider: str, by: Refreshes, item: Item, *, usable: bool) -> str:
        """The access token after a refresh; the old one while it is `usable` and the provider does not answer."""
        old = self._open(person, provider, item)
        try:
            new = by.refresh(old.refresh)
        except Unavailable as error:
            self._failed(provider, str(error))
            self._release(person, provider, item)
            if usable:
                return old.access
            raise
        except Refused as error:
            if not self._end(person, provider, item, "revoked"):  # somebody stored a newer one meanwhile
                return self.token(person, provider, by)
            log(logger, logging.WARNING, "a grant is gone", event_reason=str(error), provider=provider)
            raise NeedsAuthorisation(provider, _grant(provider, item).scopes) from error
        new = replace(new, refresh=new.refresh or old.refresh)
        facts = json.loads(str(item["body"]))
        if new.scopes:
            facts["scopes"] = new.scopes
        sealed = self._envelope.seal(_tokens_json(new), _context(person, provider), again=str(item["key"]))
        written = self._written(person, provider, new, sealed, facts)
        try:
            self._persist(
                lambda: self._table.put(
                    written,
                    condition="#refresh = :old",  # whoever holds the lease by now: what was made from this token replaces it
                    values={"old": item.get("refresh")},
                )
            )
        except Conflict:  # authorised anew, or revoked in the chat, while the provider answered: that stands
            log(logger, logging.INFO, "a refreshed token was overtaken", provider=provider)
        return new.access

    def _persist(self, write: Callable[[], None], tries: int = 4) -> None:
        """A new single-use refresh token exists nowhere else: a table that stumbles is asked again before it is lost."""
        for left in reversed(range(tries)):
            try:
                write()
                return
            except Unavailable:
                if not left:
                    raise
                self._wait(random.uniform(0.1, 0.4))

    def _release(self, person: Person, provider: str, item: Item) -> None:
        try:
            self._table.update(
                person.partition,
                f"token#{provider}",
                {"lease": None, "lease_until": None},
                condition="#lease = :lease",
                values={"lease": item.get("lease")},
            )
        except (Conflict, Unavailable):
            return  # it ends by itself

    def _end(self, person: Person, provider: str, item: Item, why: str) -> bool:
        """Notes that the grant is gone; False where the token is not the one that was refused any more."""
        try:
            self._table.update(
                person.partition,
                f"token#{provider}",
                {"state": "revoked", "why": why, "lease": None, "lease_until": None},
                condition="#refresh = :old AND #lease = :lease",
                values={"old": item.get("refresh"), "lease": item.get("lease")},
            )
        except Conflict:
            return False
        return True

    def _lost(self, person: Person, provider: str, item: Item) -> None:
        """Notes that a token that cannot be renewed is not accepted any more."""
        try:
            self._table.update(
                person.partition,
                f"token#{provider}",
                {"state": "revoked", "why": "refused"},
                condition="#refresh = :old AND #state = :good",
                values={"old": item.get("refresh"), "good": "good"},
            )
        except Conflict:
            return  # allowed anew, or taken back, meanwhile

    # --- items ---

    def _item(self, person: Person, provider: str) -> Item | None:
        return self._table.get(person.partition, f"token#{provider}")

    def _open(self, person: Person, provider: str, item: Item) -> Tokens:
        text = self._envelope.open(Sealed(str(item["key"]), str(item["sealed"])), _context(person, provider))
        data = json.loads(text)
        return Tokens(access=data["access"], refresh=data.get("refresh", ""))

    def _written(
        self, person: Person, provider: str, tokens: Tokens, sealed: Sealed, facts: Mapping[str, Any]
    ) -> dict[str, Value]:
        now = int(self._clock())
        lives = tokens.lives or (LIFE if tokens.refresh else 0)
        ends = tokens.refresh_lives if tokens.refresh else lives
        return {
            "pk": person.partition,
            "sk": f"token#{provider}",
            "state": "good",
            "key": sealed.key,
            "sealed": sealed.value,
            "refresh": hashlib.sha256(f"{tokens.refresh}\n{tokens.access}".encode()).hexdigest(),
            "until": now + lives if lives else None,
            "lives": lives or None,
            "renews": bool(tokens.refresh),
            "body": json.dumps(facts, ensure_ascii=False),
            "expires": now + ends if ends else None,
        }


def _line(person: Person, provider: str) -> str:
    return key(person.platform, person.user, provider)


def _ahead(item: Item) -> float:
    return min(AHEAD, int(item.get("lives") or LIFE) / 4)


def _context(person: Person, provider: str) -> dict[str, str]:
    return {"tenant": person.tenant, "user": f"{person.platform}:{person.user}", "provider": provider}


def _tokens_json(tokens: Tokens) -> str:
    return json.dumps({"access": tokens.access, "refresh": tokens.refresh})


def _grant(provider: str, item: Item) -> Grant:
    facts = json.loads(str(item["body"]))
    known = {f.name for f in fields(Account)}
    account: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in facts.get("account", {}).items() if k in known
    }
    return Grant(
        provider=provider,
        scopes=tuple(facts.get("scopes", ())),
        account=Account(**account),
        since=int(facts.get("since", 0)),
        until=int(item.get("until") or 0),
        state=str(item.get("state", "good")),
    )
