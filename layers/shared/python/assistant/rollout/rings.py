"""A ring: who belongs to it, and what they get."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from assistant.messages import Message

ORDER: Final = ("internal", "department", "everyone")
"""The rings, narrowest first."""

NOBODY: Final = "nobody"
"""Reached before the first ring: the assistant answers nobody."""

MEMORIES: Final = ("chat", "topic", "member")
"""What a ring's conversations remember together."""

LIST: Final = "list"
"""Stands in the place of a platform where a department or group is a list that was imported."""

FEATURES: Final = ("model", "prompt", "plugins")
"""What a plan of kind `features` carries from ring to ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Who belongs to it and what they get. An empty `model`, `prompt` or `plugins` means the configured ones."""

    name: str
    on: bool = True
    """False: whoever belongs to it is not served, until it is switched on again."""
    people: tuple[str, ...] = ()
    """`platform:user id` each."""
    chats: tuple[str, ...] = ()
    """`platform:conversation id` each: everybody who writes there."""
    departments: tuple[str, ...] = ()
    """`platform:department id` each, those below it included, or `list:NAME` for a list that was imported."""
    groups: tuple[str, ...] = ()
    """`platform:user group id` each, or `list:NAME`."""
    share: float = 0.0
    """Part of all other people, 0 to 1, chosen by a stable hash of their id."""
    capacity: int = 0
    """Most people in it, however they came to belong; 0: no limit."""
    model: str = ""
    prompt: str = ""
    """Name of a version of the prompt: what the company adds to the assistant's own instructions."""
    plugins: tuple[str, ...] = ()
    """Names of those that work; `NAME@1.2` for one version of several."""
    memory: str = ""
    """What remembers together: `chat`, `topic` or `member`; empty: as configured."""
    hand_over: str = ""
    """Support chats for its people, as in the settings; empty: as configured."""
    days: int = 0
    """Days for which turns are kept, where that is shorter than configured; 0: as configured."""
    person_tokens: int = 0
    """Most tokens a day for each person; 0, here and below: no limit."""
    person_money: float = 0.0
    """Most money a day for each person, in the currency of the prices."""
    tokens: int = 0
    """Most tokens a day for all of the ring together."""
    money: float = 0.0

    def fits(self, message: Message, belongs: Callable[[], frozenset[str]] = frozenset) -> bool:
        """Whether the sender may belong to it; `belongs` tells the departments and groups of a person, where they matter."""
        person, chat = f"{message.platform}:{message.sender}", f"{message.platform}:{message.conversation}"
        if person in self.people or chat in self.chats or (self.share > 0 and _place(person) < self.share):
            return True
        if not self.departments and not self.groups:
            return False
        held = belongs()
        return any(f"department:{d}" in held for d in self.departments) or any(f"group:{g}" in held for g in self.groups)

    @property
    def lists(self) -> frozenset[str]:
        """Names of the imported lists that it leans on."""
        return frozenset(n.partition(":")[2] for n in (*self.departments, *self.groups) if n.startswith(f"{LIST}:"))

    @property
    def features(self) -> dict[str, Any]:
        """What a plan would carry from it to the next ring."""
        return {name: getattr(self, name) for name in FEATURES}

    @property
    def has_seats(self) -> bool:
        """Whether somebody who is not named takes one of a limited number of seats."""
        return self.capacity > 0 and bool(self.chats or self.departments or self.groups or self.share)


DEFAULT: Final = (
    Ring(name="internal", capacity=10),
    Ring(name="department", capacity=50),
    Ring(name="everyone", share=1.0),
)


def next_ring(name: str) -> str:
    """The ring after the one of that name, which is not the last; the first one after `nobody`."""
    return ORDER[0] if name == NOBODY else ORDER[ORDER.index(name) + 1]


def _place(person: str) -> float:
    """Where a person stands between 0 and 1: the same for ever, so that a growing share only adds people."""
    return int.from_bytes(hashlib.sha256(f"ring:{person}".encode("utf-8", "replace")).digest()[:8], "big") / 2**64
