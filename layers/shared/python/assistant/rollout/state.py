"""The state of the roll-out: how far it has reached, its rings, and the plan that is running."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from assistant.errors import InvalidSetting
from assistant.messages import Message
from assistant.rollout.rings import DEFAULT, ORDER, Ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a plan tolerates in a ring. Shares are percent of its turns."""

    errors: float = 1.0
    """Tries to answer that failed."""
    slow: float = 5.0
    """Replies that took longer than `slow_seconds` to become visible."""
    slow_seconds: float = 20.0
    silent: float = 1.0
    """Messages without a visible reply after `silent_seconds`, or without any."""
    silent_seconds: float = 60.0
    disliked: float = 5.0
    """Answers with a thumb down."""
    turns: int = 20
    """Fewer answers than this prove nothing: the plan waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A promotion that goes on by itself: looks at ring `at` for `hours`, then takes the next step, or the last one back."""

    kind: Literal["reach", "features"] = "reach"
    """`reach`: the next ring is served as well. `features`: the next ring gets model, prompt and plug-ins of the one before."""
    to: str = "everyone"
    """The last ring; it is watched for as long as the others, and then the plan is done."""
    hours: float = 24.0
    limits: Limits = Limits()
    at: str = ""
    """The ring that is watched."""
    since: int = 0
    """Unix seconds: from when on."""
    undo: Mapping[str, Any] = field(default_factory=dict)
    """What takes the last step back: `reached`, or the features of ring `at`; empty: there was none."""


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
    plan: Plan | None = None

    @property
    def served(self) -> tuple[str, ...]:
        """Names of the rings that it has reached."""
        return ORDER[: ORDER.index(self.reached) + 1] if self.reached in ORDER else ()

    def ring_of(
        self,
        message: Message,
        *,
        belongs: Callable[[], frozenset[str]] = frozenset,
        seated: Callable[[Ring], bool] = lambda ring: True,
    ) -> Ring | None:
        """The narrowest served ring that the sender belongs to; None for somebody outside, and where that ring is off.

        `seated` tells whether the sender has one of the ring's limited seats.
        """
        for ring in self.rings:
            if ring.name in self.served and ring.fits(message, belongs) and (not ring.has_seats or seated(ring)):
                return ring if ring.on else None
        return None

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
        rings = tuple(Ring(**_known(Ring, ring)) for ring in data.get("rings", ()))
        plan = data.get("plan")
        if plan:
            limits = Limits(**_known(Limits, plan.get("limits") or {}))
            plan = Plan(**{**_known(Plan, plan), "limits": limits})
        return cls(
            edition=int(data.get("edition", 0)),
            reached=str(data.get("reached", "everyone")),
            halted=bool(data.get("halted", False)),
            outside="silence" if data.get("outside") == "silence" else "word",
            rings=rings or DEFAULT,
            plan=plan or None,
        )


def _known(made: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `data` that this version knows, lists as tuples."""
    known = {f.name for f in fields(made)}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
