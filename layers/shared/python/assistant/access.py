"""Who may do what over HTTP: keys with roles, of which the table holds a digest and never the secret.

| item | pk | sk |
|---|---|---|
| key | `KEY#tenant` | its id |
| requests of one minute | `R#tenant#key` | the minute, counted from 1970 |

All keys of a tenant are read by one query at most every `REFRESH_SECONDS`, so that a request in between, also one with a made-up
key, costs no call and a revoked key is dead everywhere within that time. Several keys are valid at once: a new one is handed out,
then the old one is revoked, at once or after an overlap.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, get_args

from assistant.errors import AssistantError, InvalidSetting, Refused, Unavailable, VerificationError
from assistant.storage import Conflict, Item, Table, key

Role = Literal["user", "editor", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)

INCLUDES: Final[Mapping[Role, frozenset[Role]]] = {
    "user": frozenset({"user"}),
    "editor": frozenset({"user", "editor"}),
    "operator": frozenset({"user", "operator"}),
    "admin": frozenset(ROLES),
}
"""What the holder of a role may do: editors look after the knowledge, operators after the machine, neither after the other's."""

AREAS: Final = (
    "chat",
    "knowledge",
    "conversations",
    "rollout",
    "plugins",
    "platforms",
    "letters",
    "figures",
    "people",
    "authorisations",
    "keys",
    "audit",
)
"""What a key's scopes may name; `AREA:read` allows looking and no change. A key without scopes reaches all that its role does."""

REFRESH_SECONDS: Final = 30
STALE_SECONDS: Final = 600
"""While the table does not answer, keys that were read this long ago still count."""
USED_SECONDS: Final = 3600
"""`used` of a key is this coarse: it serves to find keys that nobody needs any more, not to watch people."""
MOST_KEYS: Final = 500
PER_MINUTE: Final = 600
SHARE: Final = 10
"""An instance tells the shared counter each time it has let through this part of a minute's requests."""

_PREFIX: Final = "ak"


class NotPermitted(Refused):
    """The key is genuine, its role does not reach this far → 403."""

    status = 403


class TooMany(Refused):
    """The key has used up its requests → 429, again after `retry_after` seconds."""

    status = 429

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it may be shown. Times are Unix seconds, 0: never."""

    id: str
    name: str
    role: Role
    made: int
    used: int = 0
    """When it was last used, to the hour."""
    ends: int = 0
    per_minute: int = PER_MINUTE
    """Requests a minute over all instances, about; 0: no limit."""
    person: str = ""
    """The one person of the web chat who holds it; empty: a system that speaks for many."""
    scopes: tuple[str, ...] = ()
    """Areas that it is limited to, within its role; empty: no further limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks: the holder of a key."""

    id: str
    name: str
    role: Role
    person: str = ""
    """Who it is in the web chat, where the key belongs to one person."""
    scopes: tuple[str, ...] = ()

    def may(self, role: Role) -> bool:
        """Whether what `role` does is allowed."""
        return role in INCLUDES[self.role]

    def reaches(self, area: str, *, change: bool) -> bool:
        """Whether the key's scopes let it look at `area`, or `change` something there."""
        return not self.scopes or not area or area in self.scopes or (not change and f"{area}:read" in self.scopes)

    def check(self, role: Role, area: str = "", *, change: bool = False) -> None:
        """Raises NotPermitted for what the role or the scopes do not allow."""
        if not self.may(role):
            raise NotPermitted(f"this needs a key of role {role}; key {self.id} ({self.name}) has role {self.role}")
        if not self.reaches(area, change=change):
            wanted = area if change else f"{area}:read"
            raise NotPermitted(f"this needs the scope {wanted}; key {self.id} ({self.name}) has {', '.join(self.scopes)}")


PAGE: Final = Identity(id="webchat", name="the web chat's key", role="admin")
"""The holder of the web chat's own secret, there from the first day: it makes the other keys."""


class Access:
    """Tells who a request comes from; makes and revokes keys."""

    def __init__(
        self,
        table: Table,
        *,
        tenant: str = "default",
        page_key: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
        refresh: float = REFRESH_SECONDS,
    ) -> None:
        self._table = table
        self._tenant = tenant
        self._pk = key("KEY", tenant)
        self._page_key = page_key
        self._clock = clock
        self._refresh = refresh
        self._known: Mapping[str, tuple[Key, str]] = {}
        self._read_at = -math.inf
        self._meters: dict[str, _Meter] = {}
        self._lock = threading.Lock()

    # --- for a request ---

    def identify(self, authorization: str, *, role: Role, area: str = "", change: bool = False) -> Identity:
        """Who sends this `Authorization` header, if they may look at `area`, or `change` something there, as `role` may.

        Raises VerificationError (401), TooMany (429) or NotPermitted (403).
        """
        scheme, _, given = authorization.partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            raise VerificationError("send the header 'Authorization: Bearer API_KEY'")
        expected = self._page_key()
        if expected and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
            return PAGE
        found = self._find(given)
        self.meter(found)
        self._note_use(found)
        who = Identity(id=found.id, name=found.name, role=found.role, person=found.person, scopes=found.scopes)
        who.check(role, area, change=change)
        return who

    def _find(self, given: str) -> Key:
        prefix, _, rest = given.partition("-")
        id_ = rest.partition("-")[0]
        known = self._keys().get(id_) if prefix == _PREFIX else None
        if known is None or not hmac.compare_digest(_digest(given), known[1]):
            raise VerificationError("this API key is not known; ask an administrator for one: assistant key add")
        if known[0].ends and known[0].ends <= self._clock():
            raise VerificationError(f"API key {known[0].id} has expired; ask an administrator for a new one: assistant key add")
        return known[0]

    def _keys(self) -> Mapping[str, tuple[Key, str]]:
        with self._lock:
            now = self._clock()
            if now - self._read_at < self._refresh:
                return self._known
            try:
                items = self._table.query(self._pk, limit=MOST_KEYS)
            except Unavailable:
                if now - self._read_at > STALE_SECONDS:
                    raise
                return self._known
            self._known = {str(i["sk"]): (_key(i), str(i["digest"])) for i in items}
            self._read_at = now
            return self._known

    def meter(self, found: Key) -> None:
        """Lets one request of the key through or raises TooMany: a token bucket here, now and then a count of all instances'."""
        if not found.per_minute:
            return
        now = self._clock()
        with self._lock:
            meter = self._meters.setdefault(found.id, _Meter(left=float(found.per_minute), at=now))
            wait, told = meter.take(now, found.per_minute)
        if wait:
            raise TooMany(f"API key {found.id} may send {found.per_minute} requests a minute", retry_after=wait)
        if not told:
            return
        minute = int(now // 60)
        with suppress(AssistantError):  # the bucket of this instance still counts
            pk = key("R", self._tenant, found.id)
            item = self._table.update(pk, str(minute), {"expires": int(now) + 3600}, add={"count": told})
            with self._lock:
                meter.full_until = (minute + 1) * 60.0 if int(item.get("count") or 0) >= found.per_minute else 0.0

    def _note_use(self, found: Key) -> None:
        now = int(self._clock())
        with self._lock:
            meter = self._meters.setdefault(found.id, _Meter(left=float(found.per_minute), at=now))
            if now - max(found.used, meter.noted) < USED_SECONDS:
                return
            meter.noted = now
        with suppress(AssistantError):  # revoked meanwhile, or the table stumbles: the request goes on
            self._table.update(self._pk, found.id, {"used": now}, condition="attribute_exists(#pk)")

    # --- for an administrator ---

    def list(self) -> list[Key]:
        """All keys as they stand in the table, the oldest first; those that ended lately as well."""
        return sorted((_key(i) for i in self._table.query(self._pk, limit=MOST_KEYS)), key=lambda k: (k.made, k.id))

    def add(
        self,
        *,
        name: str,
        role: str,
        days: float = 0,
        per_minute: int = PER_MINUTE,
        person: str = "",
        scopes: Sequence[str] = (),
    ) -> tuple[Key, str]:
        """A new key and its secret, which nobody can be told a second time. `days`: its life, 0 for no end.

        Raises InvalidSetting.
        """
        scopes = tuple(dict.fromkeys(scopes))
        if unknown := [s for s in scopes if s.removesuffix(":read") not in AREAS]:
            raise InvalidSetting(f"scope {unknown[0][:80]!r} is not known; known: {', '.join(AREAS)}, each also as AREA:read")
        if role not in ROLES:
            raise InvalidSetting(f"role {role!r} is not known; known: {', '.join(ROLES)}")
        name = " ".join(name.split())[:100]
        if not name:
            raise InvalidSetting("a key needs a name; say who or what will use it")
        if not math.isfinite(days) or not 0 <= days <= 3650:
            raise InvalidSetting(f"days {days!r} must be between 0 (no end) and 3650")
        if not 0 <= per_minute <= 1_000_000:
            raise InvalidSetting(f"per_minute {per_minute!r} must be between 0 (no limit) and 1000000")
        if person and (role != "user" or len(person) > 200):
            raise InvalidSetting(f"person {person[:80]!r} goes with role user, and has at most 200 characters")
        if len(self.list()) >= MOST_KEYS:
            raise InvalidSetting(f"there are {MOST_KEYS} keys already; revoke one first: assistant key list")
        id_ = secrets.token_hex(6)
        secret = f"{_PREFIX}-{id_}-{secrets.token_urlsafe(32)}"
        now = self._clock()
        ends = math.ceil(now + days * 86400) if days else 0
        item: dict[str, str | int | None] = {
            "pk": self._pk,
            "sk": id_,
            "name": name,
            "role": role,
            "digest": _digest(secret),
            "made": int(now),
            "ends": ends,
            "per_minute": per_minute,
            "person": person or None,
            "scopes": " ".join(scopes) or None,
            "expires": ends + 30 * 86400 if ends else None,
        }
        self._table.put(item, condition="attribute_not_exists(#pk)")
        self._forget_known()
        return _key(item), secret

    def rotate(self, id_: str, *, overlap: float = 86400) -> tuple[Key, str]:
        """A new key in place of `id_`, alike in everything and as long-lived, and its secret; the old one works for `overlap`
        seconds more. Raises InvalidSetting."""
        old = next((k for k in self.list() if k.id == id_), None)
        if old is None:
            raise InvalidSetting(f"no key {id_!r}; see: assistant key list")
        if old.ends and old.ends <= self._clock():
            raise InvalidSetting(f"key {id_} has ended already; make a new one: assistant key add NAME")
        if not math.isfinite(overlap) or not 0 <= overlap <= 30 * 86400:
            raise InvalidSetting(f"overlap {overlap!r} must be between 0 and {30 * 86400} seconds")
        days = (old.ends - old.made) / 86400 if old.ends else 0
        made = self.add(name=old.name, role=old.role, days=days, per_minute=old.per_minute, person=old.person, scopes=old.scopes)
        self.revoke(id_, after=overlap)
        return made

    def revoke(self, id_: str, *, after: float = 0) -> Key:
        """Ends a key now, or `after` seconds: the time in which its holder moves to a new one. Raises InvalidSetting."""
        if not math.isfinite(after) or not 0 <= after <= 365 * 86400:
            raise InvalidSetting(f"after {after!r} must be between 0 and {365 * 86400} seconds")
        ends = int(self._clock() + after)
        try:  # never later than it would end anyway
            item = self._table.update(
                self._pk,
                id_,
                {"ends": ends, "expires": ends + 30 * 86400},
                condition="attribute_exists(#pk) AND (#ends = :never OR #ends > :then)",
                values={"never": 0, "then": ends},
            )
        except Conflict as met:
            if not met.item:
                raise InvalidSetting(f"no key {id_!r}; see: assistant key list") from None
            item = met.item
        self._forget_known()
        return _key(item)

    def _forget_known(self) -> None:
        with self._lock:
            self._read_at = -math.inf


@dataclass(slots=True)
class _Meter:
    """What this instance knows about one key's use."""

    left: float
    at: float
    minute: int = -1
    untold: int = 0
    """Requests of the minute that the shared counter has not heard of."""
    full_until: float = 0.0
    noted: int = 0

    def take(self, now: float, per_minute: int) -> tuple[int, int]:
        """Seconds to wait (0: go on), and the requests to tell the shared counter now (0: none yet)."""
        if now < self.full_until:
            return math.ceil(self.full_until - now), 0
        self.left = min(per_minute, self.left + (now - self.at) * per_minute / 60)
        self.at = now
        if self.left < 1:
            return math.ceil((1 - self.left) * 60 / per_minute), 0
        self.left -= 1
        if int(now // 60) != self.minute:
            self.minute, self.untold = int(now // 60), 0
        self.untold += 1
        if self.untold < max(1, per_minute // SHARE):
            return 0, 0
        told, self.untold = self.untold, 0
        return 0, told


def _digest(secret: str) -> str:
    """The secrets are 256 random bits, so a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _key(item: Item) -> Key:
    role = str(item.get("role"))
    return Key(
        id=str(item["sk"]),
        name=str(item.get("name", "")),
        role=role if role in ROLES else "user",
        made=int(item.get("made") or 0),
        used=int(item.get("used") or 0),
        ends=int(item.get("ends") or 0),
        per_minute=int(item.get("per_minute") or 0),
        person=str(item.get("person") or ""),
        scopes=tuple(str(item.get("scopes") or "").split()),
    )
