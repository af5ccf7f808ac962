"""What a plan does next, as pure decisions: from the state to the one after it, and the words for the change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from assistant.errors import InvalidSetting
from assistant.rollout.rings import FEATURES, NOBODY, ORDER, next_ring
from assistant.rollout.state import Plan, Rollout


def begin(state: Rollout, plan: Plan, *, now: int) -> tuple[Rollout, str]:
    """The state with `plan` running since `now` (Unix seconds). Raises InvalidSetting for a plan that leads nowhere."""
    plan, what = replace(plan, since=now), f"plan to {plan.to}"
    if plan.kind == "features":
        first, after = state.ring(ORDER[0]), state.ring(ORDER[1])
        if all(state.ring(r).features == first.features for r in ORDER[1 : ORDER.index(plan.to) + 1]):
            raise InvalidSetting(
                f"every ring up to {plan.to} has the model, prompt and plug-ins of ring {ORDER[0]} already; "
                f"set them there first: assistant rollout set {ORDER[0]} --model SPEC"
            )
        return replace(state, plan=replace(plan, at=ORDER[0], undo=after.features)), what
    if state.reached == NOBODY:
        plan = replace(plan, at=ORDER[0], undo={"reached": NOBODY})
        return replace(state, reached=ORDER[0], plan=plan), f"{what}: promote to {ORDER[0]}"
    if ORDER.index(state.reached) >= ORDER.index(plan.to):
        raise InvalidSetting(
            f"ring {plan.to} is served already; begin narrower with: assistant rollout set --reached internal, "
            "or carry features with: assistant rollout plan --features"
        )
    return replace(state, plan=replace(plan, at=state.reached)), what


def promote(state: Rollout, *, now: int) -> tuple[Rollout, str]:
    """The state in which the next ring is served as well; a plan of kind `reach` watches that one from `now` on."""
    after, plan = next_ring(state.reached), state.plan
    if plan and plan.kind == "reach":
        plan = replace(plan, at=after, since=now, undo={"reached": state.reached})
    return replace(state, reached=after, plan=plan), f"promote to {after}"


def advance(state: Rollout, *, now: int) -> tuple[Rollout, str]:
    """The state after the plan's next step: the next ring is served or gets the features, or the plan is done."""
    plan = running(state)
    if plan.at == plan.to:
        return replace(state, plan=None), f"plan done at {plan.to}"
    if plan.kind == "reach":
        return promote(state, now=now)
    after = next_ring(plan.at)
    carried, had = state.ring(plan.at).features, state.ring(after).features
    rings = tuple(replace(r, **carried) if r.name == after else r for r in state.rings)
    plan = replace(plan, at=after, since=now, undo=had)
    return replace(state, rings=rings, plan=plan), f"carry {', '.join(FEATURES)} to {after}"


def take_back(state: Rollout) -> tuple[Rollout, str]:
    """The state halted, without its plan, and with the plan's last step undone."""
    plan = running(state)
    after = replace(state, halted=True, plan=None)
    if not plan.undo:
        return after, "halt"
    if plan.kind == "reach":
        after = replace(after, reached=str(plan.undo["reached"]))
        return after, f"halt, roll back to {after.reached}"
    had: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.undo.items()}
    after = replace(after, rings=tuple(replace(r, **had) if r.name == plan.at else r for r in state.rings))
    return after, f"halt, roll {plan.at} back to what it had"


def running(state: Rollout) -> Plan:
    """The plan that is running; raises InvalidSetting where there is none."""
    if state.plan is None:
        raise InvalidSetting("no plan is running; begin one with: assistant rollout plan --hold HOURS")
    return state.plan
