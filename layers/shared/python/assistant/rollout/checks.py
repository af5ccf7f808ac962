"""What an administrator may ask for; each refusal names the value and what is taken instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from assistant.errors import InvalidSetting
from assistant.rollout.rings import MEMORIES, NOBODY, ORDER, Ring
from assistant.rollout.state import Limits, Plan, Rollout

LISTED: Final = ("people", "chats", "departments", "groups", "plugins")
"""Fields of a ring that hold several names."""


def check_name(name: str) -> None:
    """Raises InvalidSetting for a name that a prompt or list cannot have."""
    if not re.fullmatch(r"[\w][\w.-]{0,59}", name):
        raise InvalidSetting(f"name {name!r} must be letters, digits, '.', '_' and '-', 60 at most")


def checked_people(people: Sequence[str]) -> tuple[str, ...]:
    """Each person once; raises InvalidSetting for one without a platform."""
    for entry in people:
        if not all(entry.partition(":")[::2]):
            raise InvalidSetting(f"{entry!r} must be PLATFORM:USER, as slack:U123")
    return tuple(dict.fromkeys(people))


def checked_plan(asked: Mapping[str, Any]) -> Plan:
    """The plan with the fields of `Plan` and `Limits` in `asked`; raises InvalidSetting for one that makes no sense."""
    mine, limits = {"kind", "to", "hours"}, {f.name for f in fields(Limits)}
    if unknown := sorted(set(asked) - mine - limits):
        raise InvalidSetting(f"a plan has no {unknown[0]!r}; known: {', '.join(sorted(mine | limits))}")
    plan = Plan(**{k: v for k, v in asked.items() if k in mine}, limits=Limits(**{k: asked[k] for k in asked if k in limits}))
    if plan.kind not in ("reach", "features"):
        raise InvalidSetting(f"kind {plan.kind!r} must be reach or features")
    if plan.to not in ORDER[plan.kind == "features" :]:
        raise InvalidSetting(f"a plan cannot lead to {plan.to!r}; known: {', '.join(ORDER[plan.kind == 'features' :])}")
    if not _is_number(plan.hours) or not 0 < plan.hours <= 24 * 14:
        raise InvalidSetting(f"hours {plan.hours!r} must be above 0 and at most {24 * 14}")
    for name in ("errors", "slow", "silent", "disliked"):
        share = getattr(plan.limits, name)
        if not _is_number(share) or not 0 <= share <= 100:
            raise InvalidSetting(f"{name} {share!r} must be between 0 and 100 percent")
    for name in ("slow_seconds", "silent_seconds"):
        if not _is_number(value := getattr(plan.limits, name)) or not 0 < value <= 3600:
            raise InvalidSetting(f"{name} {value!r} must be above 0 and at most 3600")
    if isinstance(plan.limits.turns, bool) or not isinstance(plan.limits.turns, int) or not 1 <= plan.limits.turns <= 1_000_000:
        raise InvalidSetting(f"turns {plan.limits.turns!r} must be a whole number between 1 and 1000000")
    return plan


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124  # NaN differs from itself


def checked_state(state: Rollout, changes: Mapping[str, Any]) -> Rollout:
    """The state with `reached`, `outside` and `halted` as in `changes`; raises InvalidSetting for what it cannot take."""
    known = {"reached", "outside", "halted"}
    if unknown := sorted(set(changes) - known):
        raise InvalidSetting(f"the roll-out has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    reached = changes.get("reached", state.reached)
    if reached not in (NOBODY, *ORDER):
        raise InvalidSetting(f"reached {reached!r} is no ring; known: {NOBODY}, {', '.join(ORDER)}")
    outside = changes.get("outside", state.outside)
    if outside not in ("word", "silence"):
        raise InvalidSetting(f"outside {outside!r} must be word or silence")
    plan = state.plan
    if plan and plan.kind == "reach" and reached != state.reached:
        raise InvalidSetting("a plan decides how far it reaches; end it first with: assistant rollout plan --stop")
    return replace(state, reached=reached, outside=outside, halted=bool(changes.get("halted", state.halted)))


def checked_ring(ring: Ring, changes: Mapping[str, Any]) -> Ring:
    """The ring with the fields in `changes`; raises InvalidSetting for what it cannot take."""
    known = {f.name for f in fields(Ring)} - {"name"}
    if unknown := sorted(set(changes) - known):
        raise InvalidSetting(f"a ring has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    values: dict[str, Any] = {k: _names(k, v) if k in LISTED else v for k, v in changes.items()}
    changed = replace(ring, **values)
    if not isinstance(changed.share, int | float) or not 0 <= changed.share <= 1:
        raise InvalidSetting(f"share {changed.share!r} must be between 0 and 1")
    if not isinstance(changed.on, bool):
        raise InvalidSetting(f"on {changed.on!r} must be true or false")
    if not isinstance(changed.model, str) or not isinstance(changed.prompt, str):
        raise InvalidSetting(f"model {changed.model!r} and prompt {changed.prompt!r} must be texts")
    if isinstance(changed.capacity, bool) or not isinstance(changed.capacity, int) or changed.capacity < 0:
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
    desks = [e.strip() for e in str(changed.hand_over).split(",") if e.strip()]
    for entry in (*changed.people, *changed.chats, *changed.departments, *changed.groups, *desks):
        if not all(entry.partition(":")[::2]):
            raise InvalidSetting(f"{entry!r} must be PLATFORM:ID, as slack:U123")
    return changed


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidSetting(f"{name} must be a list")
    return tuple(dict.fromkeys(str(v) for v in value))
