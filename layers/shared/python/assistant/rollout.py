"""Rings: new things reach people step by step, and each step can be taken back.

One item holds the state, one more each change that was ever made; both are written together by compare-and-set. Functions look
at the state at most every `REFRESH_SECONDS`, so a change is everywhere within that time and a turn in between costs no call.

| item | pk | sk |
|---|---|---|
| state | `SYSTEM#tenant` | `rollout` |
| change | `SYSTEM#tenant` | `rollout#<edition>` |
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, Self

from assistant.errors import AssistantError, InvalidSetting, Unavailable
from assistant.messages import Message
from assistant.storage import Conflict, Table, key

REFRESH_SECONDS: Final = 20
WORD_SECONDS: Final = 30 * 86400
"""Somebody outside gets the polite word once in this time."""

ORDER: Final = ("internal", "department", "everyone")
"""The rings, narrowest first."""

MEMORIES: Final = ("chat", "topic", "member")
"""What a ring's conversations remember together."""

NOBODY: Final = "nobody"
"""Reached before the first ring: the assistant answers nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Who belongs to it and what they get. An empty `model` or `plugins` means the configured ones."""

    name: str
    people: tuple[str, ...] = ()
    """`platform:user id` each."""
    chats: tuple[str, ...] = ()
    """`platform:conversation id` each: everybody who writes there."""
    share: float = 0.0
    """Part of all other people, 0 to 1, chosen by a stable hash of their id."""
    capacity: int = 0
    """Most people that may be named; 0: no limit."""
    model: str = ""
    plugins: tuple[str, ...] = ()
    memory: str = ""
    """What remembers together: `chat`, `topic` or `member`; empty: as configured."""
    days: int = 0
    """Days for which turns are kept, where that is shorter than configured; 0: as configured."""
    person_tokens: int = 0
    """Most tokens a day for each person; 0, here and below: no limit."""
    person_money: float = 0.0
    """Most money a day for each person, in the currency of the prices."""
    tokens: int = 0
    """Most tokens a day for all of the ring together."""
    money: float = 0.0

    def fits(self, message: Message) -> bool:
        """Whether the sender belongs to it."""
        person, chat = f"{message.platform}:{message.sender}", f"{message.platform}:{message.conversation}"
        return person in self.people or chat in self.chats or (self.share > 0 and _place(person) < self.share)


DEFAULT: Final = (
    Ring(name="internal", capacity=10),
    Ring(name="department", capacity=50),
    Ring(name="everyone", share=1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The state: how far it has reached, and the rings. A new installation answers everybody."""

    edition: int = 0
    reached: str = "everyone"
    """The widest ring that is served, or `nobody`."""
    halted: bool = False
    """No promotion until it is resumed."""
    outside: Literal["word", "silence"] = "word"
    rings: tuple[Ring, ...] = DEFAULT

    def ring_of(self, message: Message) -> Ring | None:
        """The narrowest served ring that the sender belongs to; None for somebody outside."""
        served = ORDER[: ORDER.index(self.reached) + 1] if self.reached in ORDER else ()
        return next((r for r in self.rings if r.name in served and r.fits(message)), None)

    def ring(self, name: str) -> Ring:
        """The ring of that name; raises InvalidSetting for an unknown one."""
        for ring in self.rings:
            if ring.name == name:
                return ring
        raise InvalidSetting(f"no ring {name!r}; known: {', '.join(ORDER)}")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The state in `text`; fields of another version are ignored."""
        data = json.loads(text)
        known = {f.name for f in fields(Ring)}
        stored: list[dict[str, Any]] = [
            {k: tuple(v) if isinstance(v, list) else v for k, v in ring.items() if k in known} for ring in data.get("rings", ())
        ]
        rings = tuple(Ring(**ring) for ring in stored)
        return cls(
            edition=int(data.get("edition", 0)),
            reached=str(data.get("reached", "everyone")),
            halted=bool(data.get("halted", False)),
            outside="silence" if data.get("outside") == "silence" else "word",
            rings=rings or DEFAULT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as history keeps it."""

    edition: int
    what: str
    who: str
    why: str
    at: int
    """Unix seconds."""
    state: Rollout


class Rollouts:
    """Reads and changes the state. Every change names who made it and why; raises InvalidSetting for one that makes no sense."""

    def __init__(
        self,
        table: Table,
        *,
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
        refresh: float = REFRESH_SECONDS,
    ) -> None:
        self._table = table
        self._pk = key("SYSTEM", tenant)
        self._clock = clock
        self._refresh = refresh
        self._known: tuple[Rollout, float] | None = None
        self._lock = threading.Lock()

    # --- for a turn ---

    def current(self) -> tuple[Rollout, bool]:
        """The state, and whether the table was asked for it; while the table does not answer, the last one known holds."""
        with self._lock:
            now = self._clock()
            if self._known and now - self._known[1] < self._refresh:
                return self._known[0], False
            try:
                state = self.read()
            except Unavailable:
                if self._known is None:
                    raise
                state = self._known[0]
            self._known = (state, now)
            return state, True

    def is_first_word(self, message: Message) -> bool:
        """Whether somebody outside is to be told so now: once in `WORD_SECONDS`."""
        now = int(self._clock())
        try:
            self._table.put(
                {"pk": key("O", message.platform, message.sender), "sk": "outside", "told": now, "expires": now + WORD_SECONDS},
                condition="attribute_not_exists(#pk) OR #told < :before",
                values={"before": now - WORD_SECONDS},
            )
        except Conflict:
            return False
        return True

    # --- for an administrator ---

    def read(self) -> Rollout:
        """The state as it stands in the table."""
        item = self._table.get(self._pk, "rollout")
        return Rollout.from_json(str(item["body"])) if item else Rollout()

    def history(self, *, limit: int = 50) -> list[Change]:
        """The newest changes, newest first."""
        items = self._table.query(self._pk, prefix="rollout#", descending=True, limit=limit)
        return [
            Change(
                edition=int(str(i["sk"]).partition("#")[2]),
                what=str(i.get("what", "")),
                who=str(i.get("who", "")),
                why=str(i.get("why", "")),
                at=int(i.get("at") or 0),
                state=Rollout.from_json(str(i["body"])),
            )
            for i in items
        ]

    def promote(self, *, who: str, why: str) -> Rollout:
        """The next ring is served as well."""
        state = self.read()
        if state.halted:
            raise InvalidSetting("the roll-out is halted; resume it with: assistant rollout set --resume")
        if state.reached == ORDER[-1]:
            raise InvalidSetting("everyone is served already; there is no further ring")
        after = ORDER[0] if state.reached == NOBODY else ORDER[ORDER.index(state.reached) + 1]
        return self._write(state, replace(state, reached=after), what=f"promote to {after}", who=who, why=why)

    def halt(self, *, who: str, why: str) -> Rollout:
        """No further ring until it is resumed."""
        state = self.read()
        return self._write(state, replace(state, halted=True), what="halt", who=who, why=why)

    def roll_back(self, *, who: str, why: str) -> Rollout:
        """The state before the last change, as a change of its own."""
        state = self.read()
        if state.edition == 0:
            raise InvalidSetting("there is nothing to go back to: no change has been made yet")
        before = self._at(state.edition - 1)
        return self._write(state, before, what=f"roll back to edition {state.edition - 1}", who=who, why=why)

    def set(self, changes: Mapping[str, Any], *, ring: str = "", who: str, why: str) -> Rollout:
        """Sets fields of the state (`reached`, `outside`, `halted`) or, with `ring`, of that ring."""
        state = self.read()
        if ring:
            changed = _checked_ring(state.ring(ring), changes)
            after = replace(state, rings=tuple(changed if r.name == ring else r for r in state.rings))
        else:
            after = _checked_state(state, changes)
        what = f"set {ring + ' ' if ring else ''}{', '.join(changes)}"
        return self._write(state, after, what=what, who=who, why=why)

    def _at(self, edition: int) -> Rollout:
        if edition == 0:
            return Rollout()
        item = self._table.get(self._pk, f"rollout#{edition:06d}")
        if item is None:
            raise InvalidSetting(f"edition {edition} is not in the history")
        return Rollout.from_json(str(item["body"]))

    def _write(self, before: Rollout, after: Rollout, *, what: str, who: str, why: str) -> Rollout:
        after = replace(after, edition=before.edition + 1)
        body = json.dumps(asdict(after), ensure_ascii=False)
        change: dict[str, str | int] = {"what": what, "who": who, "why": why, "at": int(self._clock()), "body": body}
        try:  # the change first: a state without its history must never be seen
            self._table.put(
                {"pk": self._pk, "sk": f"rollout#{after.edition:06d}", **change}, condition="attribute_not_exists(#pk)"
            )
            self._table.put(
                {"pk": self._pk, "sk": "rollout", "edition": after.edition, "body": body},
                condition="attribute_not_exists(#pk) OR #edition = :edition",
                values={"edition": before.edition},
            )
        except Conflict as met:
            raise RolloutChanged("somebody else has just changed the roll-out; look at it and try again") from met
        with self._lock:
            self._known = (after, self._clock())
        return after


class RolloutChanged(AssistantError):
    """Two administrators changed the roll-out at once; the second change was not made."""


def _place(person: str) -> float:
    """Where a person stands between 0 and 1: the same for ever, so that a growing share only adds people."""
    return int.from_bytes(hashlib.sha256(f"ring:{person}".encode("utf-8", "replace")).digest()[:8], "big") / 2**64


def _checked_state(state: Rollout, changes: Mapping[str, Any]) -> Rollout:
    known = {"reached", "outside", "halted"}
    if unknown := sorted(set(changes) - known):
        raise InvalidSetting(f"the roll-out has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    reached = changes.get("reached", state.reached)
    if reached not in (NOBODY, *ORDER):
        raise InvalidSetting(f"reached {reached!r} is no ring; known: {NOBODY}, {', '.join(ORDER)}")
    outside = changes.get("outside", state.outside)
    if outside not in ("word", "silence"):
        raise InvalidSetting(f"outside {outside!r} must be word or silence")
    return replace(state, reached=reached, outside=outside, halted=bool(changes.get("halted", state.halted)))


def _checked_ring(ring: Ring, changes: Mapping[str, Any]) -> Ring:
    known = {f.name for f in fields(Ring)} - {"name"}
    if unknown := sorted(set(changes) - known):
        raise InvalidSetting(f"a ring has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    values: dict[str, Any] = {k: _names(k, v) if k in ("people", "chats", "plugins") else v for k, v in changes.items()}
    changed = replace(ring, **values)
    if not isinstance(changed.share, int | float) or not 0 <= changed.share <= 1:
        raise InvalidSetting(f"share {changed.share!r} must be between 0 and 1")
    if not isinstance(changed.capacity, int) or changed.capacity < 0:
        raise InvalidSetting(f"capacity {changed.capacity!r} must be a whole number, 0 for no limit")
    if changed.capacity and len(changed.people) > changed.capacity:
        raise InvalidSetting(f"ring {ring.name} has room for {changed.capacity} people, not for {len(changed.people)}")
    if changed.memory not in ("", *MEMORIES):
        raise InvalidSetting(
            f"memory {changed.memory!r} is not known; known: {', '.join(MEMORIES)}, or empty for the configured one"
        )
    for name in ("days", "person_tokens", "tokens", "person_money", "money"):
        limit, kinds = getattr(changed, name), int | float if name.endswith("money") else int
        if isinstance(limit, bool) or not isinstance(limit, kinds) or not 0 <= limit < float("inf"):
            raise InvalidSetting(f"{name} {limit!r} must be a {'whole ' if kinds is int else ''}number, 0 for no limit")
    for entry in (*changed.people, *changed.chats):
        if not all(entry.partition(":")[::2]):
            raise InvalidSetting(f"{entry!r} must be PLATFORM:ID, as slack:U123")
    return changed


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidSetting(f"{name} must be a list")
    return tuple(dict.fromkeys(str(v) for v in value))
