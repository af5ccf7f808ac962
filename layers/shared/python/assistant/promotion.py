"""A roll-out that goes on by itself: a plan is looked at every few minutes, and promotes, waits, or halts and goes back.

It goes on when a ring was watched for as long as the plan says, enough was answered there, and no limit was passed. It goes back
at the first look at which one is: the ring's last step is undone, nothing moves until somebody resumes it, and the administrators
are told why. A few faults are no trend: fewer than `FEW` never stop a plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from assistant.errors import AssistantError, Unavailable
from assistant.figures import Figures, Source
from assistant.rollout import Rollouts
from assistant.rollout.journal import RolloutChanged
from assistant.rollout.state import Limits, Plan, Rollout
from assistant.words import say

FEW: Final = 3
WHO: Final = "plan"
"""Stands in the history for whatever a plan did."""

Verdict = Literal["none", "halted", "watching", "waiting", "promoted", "done", "rolled back", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the plan has shown."""

    at: int
    """Unix seconds."""
    verdict: Verdict
    reason: str = ""
    rings: dict[str, Figures] = field(default_factory=dict)
    """By ring, since the watched ring was reached."""
    waiting: int = 0
    """Messages in the queue."""

    def to_json(self) -> dict[str, Any]:
        """The look as `GET /api/rollout/plan` gives it."""
        return asdict(self)


class Promotion:
    """Looks at the plan. `waiting`: how many messages wait to be answered; `tell`: reaches the administrators, once a cause."""

    def __init__(
        self,
        rollouts: Rollouts,
        figures: Source,
        *,
        waiting: Callable[[], int] = lambda: 0,
        tell: Callable[[str, str], bool] = lambda cause, text: False,
        language: str = "en",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rollouts = rollouts
        self._figures = figures
        self._waiting = waiting
        self._tell = tell
        self._language = language
        self._clock = clock

    def look(self) -> Look:
        """One look, with whatever follows from it. Looked at twice at once, one of the two changes the state.

        Raises Unavailable where the table does not answer: the next look is soon.
        """
        state = self._rollouts.read()
        now = int(self._clock())
        if state.plan is None:
            return Look(at=now, verdict="none")
        if state.halted:
            return Look(at=now, verdict="halted", reason="somebody has halted the roll-out; the plan goes on when it is resumed")
        try:
            look = self._judge(state, state.plan, now)
        except RolloutChanged:
            look = Look(at=now, verdict="unknown", reason="the roll-out was changed at this moment; the next look decides")
        self._rollouts.journal.note(look.to_json())
        return look

    def _judge(self, state: Rollout, plan: Plan, now: int) -> Look:
        try:
            waiting = self._waiting()
            rings = self._rings(state, plan, now)
        except Unavailable as error:
            self._tell("rollout/figures", say("plan_blind", self._language, reason=error))
            return Look(at=now, verdict="unknown", reason=str(error))
        if fault := self._fault(plan, rings, waiting):
            changed = self._rollouts.take_back(state, who=WHO, why=fault)
            reached = changed.reached if plan.kind == "reach" else plan.at
            text = say("plan_back", self._language, ring=plan.at, reason=fault, reached=reached)
            self._tell(f"rollout/back/{changed.edition}", text)
            return Look(at=now, verdict="rolled back", reason=fault, rings=rings, waiting=waiting)
        watched, held = rings[plan.at], now - plan.since
        if held < plan.hours * 3600:
            left = plan.hours - held / 3600
            return Look(at=now, verdict="watching", reason=f"{plan.at}: {left:.1f} h left", rings=rings, waiting=waiting)
        if watched.turns < plan.limits.turns:
            reason = f"{plan.at}: {watched.turns} of {plan.limits.turns} answers; fewer prove nothing"
            return Look(at=now, verdict="waiting", reason=reason, rings=rings, waiting=waiting)
        why = f"{plan.hours:g} h in {plan.at}: {described(watched, plan.limits)}"
        changed = self._rollouts.step(state, who=WHO, why=why)
        done = changed.plan is None
        self._tell(
            f"rollout/on/{changed.edition}",
            say(
                "plan_done" if done else "plan_on",
                self._language,
                ring=plan.to if changed.plan is None else changed.plan.at,
                why=why,
            ),
        )
        return Look(at=now, verdict="done" if done else "promoted", reason=why, rings=rings, waiting=waiting)

    def _rings(self, state: Rollout, plan: Plan, now: int) -> dict[str, Figures]:
        """Every ring that has what is rolled out, since the last step."""
        names = state.served[: state.served.index(plan.at) + 1] if plan.at in state.served else (plan.at,)
        return {
            name: self._figures.of_ring(
                name,
                since=plan.since,
                until=now + 1,
                slow_seconds=plan.limits.slow_seconds,
                silent_seconds=plan.limits.silent_seconds,
            )
            for name in names
        }

    def _fault(self, plan: Plan, rings: dict[str, Figures], waiting: int) -> str:
        """Which limit was passed, in one line; empty where none was."""
        for name, found in rings.items():
            for what, count, whole, limit in measured(found, plan.limits):
                if count >= FEW and count > whole * limit / 100:
                    return f"{name}: {what} {_percent(count, whole)} of {whole:g}, above {limit:g} %"
        before = self._rollouts.journal.noted()
        stands = waiting >= FEW and int(before.get("waiting") or 0) >= FEW
        if stands and int(before.get("at") or 0) >= plan.since and before.get("rings"):
            then = sum(int(r.get("turns", 0)) for r in before["rings"].values())
            if sum(f.turns for f in rings.values()) <= then:
                return f"silence: {waiting} messages wait and nothing was answered since the last look"
        return ""


def measured(found: Figures, limits: Limits) -> tuple[tuple[str, float, float, float], ...]:
    """What is measured of a ring: its name, how many, out of how many, and the limit in percent."""
    tries, asked = found.turns + found.failed, max(found.turns, found.silent)
    return (
        ("errors", found.failed, tries, limits.errors),
        (f"slower than {limits.slow_seconds:g} s", found.slow, found.turns, limits.slow),
        ("silence", found.silent, asked, limits.silent),
        ("thumbs down", found.disliked, found.turns, limits.disliked),
    )


def described(found: Figures, limits: Limits) -> str:
    """The figures of a ring in one line."""
    parts = [f"{what} {_percent(count, whole)}" for what, count, whole, _ in measured(found, limits)]
    return f"{found.turns} answers, {', '.join(parts)}"


def _percent(count: float, whole: float) -> str:
    return f"{100 * count / whole:.3g} %" if whole else "0 %"


def look(promotion: Promotion) -> dict[str, Any]:
    """One look as JSON; a table or a platform that does not answer is told and not raised: the next look is soon."""
    try:
        return promotion.look().to_json()
    except AssistantError as error:
        return {"verdict": "unknown", "reason": str(error)}
