"""Who may see what: the audience tokens of an asker, and in a group those of everybody who reads along.

| token | who holds it |
|---|---|
| `everyone` | everybody who is served |
| `user:PLATFORM:ID` | one person |
| `department:ID`, `department:PLATFORM:ID` | the people of a department and of those below it, by the platform's directory |
| `group:ID`, `group:PLATFORM:ID` | whoever reads in that chat; on Slack also the members of that user group |
| `ring:NAME` | the people of a ring |

What the vendor is asked is kept in memory: who is in a chat for a minute, where somebody belongs for an hour. It is asked only
where some document needs it. What cannot be found out counts as nothing: such a group sees what everyone may see.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from assistant.cache import Cache
from assistant.errors import AssistantError
from assistant.messages import Message
from assistant.observability import log
from assistant.platforms import Platform

logger = logging.getLogger(__name__)

EVERYONE: Final = "everyone"
MEMBERS_SECONDS: Final = 60.0
BELONGS_SECONDS: Final = 3600.0
FAILED_SECONDS: Final = 60.0
MOST_MEMBERS: Final = 50
"""People in a group whose rights are looked at one by one; a larger group sees what everyone may see."""

ALL_KINDS: Final = frozenset({"user", "department", "group", "ring"})


@dataclass(frozen=True, slots=True)
class Rights:
    """What the asker holds, and in a group what each of those holds who read along."""

    asker: frozenset[str]
    listeners: tuple[frozenset[str], ...] = ()


class Audiences:
    """Finds rights. `needed` tells which kinds of token some document has; nothing else is looked up. Safe for threads."""

    def __init__(
        self,
        *,
        platform: Callable[[str], Platform],
        ring: Callable[[Message], str] = lambda message: "",
        needed: Callable[[], frozenset[str]] = lambda: ALL_KINDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._platform = platform
        self._ring = ring
        self._needed = needed
        self._cache = Cache(clock=clock, size=20_000)

    def of(self, message: Message) -> Rights:
        """The rights with which `message` is answered. Never fails: what is not known is not held."""
        needed = self._needed()
        asker = self._person(message, needed)
        if message.direct:
            return Rights(asker)
        chat = _both("group", message.platform, message.conversation)
        shared = frozenset({EVERYONE, *chat})
        asker |= chat
        if not needed & {"user", "department", "ring", "group"}:
            return Rights(asker, (shared,))
        people = self._members(message)
        if people is None:
            return Rights(asker, (shared,))
        others = [replace(message, sender=p) for p in people if p != message.sender]
        if len(others) > 1 and needed & {"department", "group"}:
            with ThreadPoolExecutor(max_workers=min(8, len(others))) as pool:
                rights = list(pool.map(lambda m: self._person(m, needed), others))
        else:
            rights = [self._person(m, needed) for m in others]
        return Rights(asker, tuple(sorted({asker, *(r | chat for r in rights)}, key=sorted)))

    def departments(self, message: Message) -> tuple[str, ...]:
        """Tokens of the departments of the message's author, their own before those above; empty where nobody tells."""
        return tuple(t for t in self._belongs(message) if t.startswith("department:"))

    def _person(self, message: Message, needed: frozenset[str]) -> frozenset[str]:
        """What one person holds wherever they are."""
        held = {EVERYONE, f"user:{message.platform}:{message.sender}"}
        if ring := self._ring(message):
            held.add(f"ring:{ring}")
        if needed & {"department", "group"}:
            for token in self._belongs(message):
                kind, _, id_ = token.partition(":")
                held |= _both(kind, message.platform, id_)
        return frozenset(held)

    def _belongs(self, message: Message) -> tuple[str, ...]:
        def load() -> tuple[str, float]:
            try:
                return json.dumps(self._platform(message.platform).belongs(message.sender)), BELONGS_SECONDS
            except AssistantError as error:
                _unknown("where somebody belongs", message, error)
                return "[]", FAILED_SECONDS

        found: list[str] = json.loads(self._cache.get(f"belongs/{message.platform}/{message.tenant}/{message.sender}", load))
        return tuple(found)

    def _members(self, message: Message) -> tuple[str, ...] | None:
        """Who reads along; None where nobody tells, or where they are too many."""

        def load() -> tuple[str, float]:
            try:
                found = self._platform(message.platform).members(message, most=MOST_MEMBERS)
            except AssistantError as error:
                _unknown("who reads along", message, error)
                return "null", FAILED_SECONDS
            return json.dumps(found), MEMBERS_SECONDS

        found = json.loads(self._cache.get(f"members/{message.platform}/{message.tenant}/{message.conversation}", load))
        return None if found is None else tuple(found)


def _both(kind: str, platform: str, id_: str) -> frozenset[str]:
    """A token as it may be written: with the platform's name, or without where a company uses one platform."""
    return frozenset({f"{kind}:{id_}", f"{kind}:{platform}:{id_}"})


def _unknown(what: str, message: Message, error: AssistantError) -> None:
    log(logger, logging.WARNING, f"{what} is not known", platform=message.platform, error_type=type(error).__name__)
