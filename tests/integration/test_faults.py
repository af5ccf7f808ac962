"""Every part fails in every way it can, at random; afterwards each question has one answer, in order, or a reason.

`SEED=n` plays one seed again, `ROUNDS=n` plays each cell of the matrix n times.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from assistant.dev.emulator import Emulator
from tests.support import hard
from tests.support.faults import CANNOT, CELLS, COMPONENTS, FAULTS, Component, Faults, Kind, matrix
from tests.support.hard import HARD, ROUNDS, SEED
from tests.support.storm import Echo, FaultyHouse, Outcome, at_once, step_by_step, told
from tests.support.town import NAMES, Town

played: dict[tuple[Component, Kind], list[Outcome]] = {}
under_load: dict[tuple[Component, Kind], list[Outcome]] = {}

LOADED = range(-(-ROUNDS // 5) if HARD else 1)
"""Rounds with everybody writing at once, which take real time: one for every five of the others."""


def cells(rounds: range) -> list[object]:
    return [pytest.param(c, k, n, id=f"{c}-{k}-{n}") for n in rounds for c, k in CELLS]


@pytest.mark.parametrize(("component", "kind", "number"), cells(range(ROUNDS)))
def test_nothing_is_lost_or_said_twice_or_out_of_order(aws: Emulator, component: Component, kind: Kind, number: int) -> None:
    seed = f"{SEED} {component} {kind} {number}"
    names = NAMES if HARD else random.Random(seed).sample(NAMES, 2)
    done = step_by_step(aws, component, kind, seed=seed, names=names)
    played.setdefault((component, kind), []).append(done)
    assert not done.broken, f"{component} {kind}: {done.broken}; {hard.again()}"


SOME = random.Random(SEED).sample(CELLS, 1)
"""Under load the suite plays one cell, another one each time."""


@pytest.mark.parametrize(("component", "kind", "number"), cells(LOADED) if HARD else [("any", "any", 0)])
def test_it_holds_with_everybody_writing_at_once(
    aws: Emulator, component: Component, kind: Kind, number: int, show: Callable[[str], None]
) -> None:
    if not HARD:
        component, kind = SOME[0]
    seed = f"{SEED} {component} {kind} {number} at once"
    done = at_once(aws, component, kind, seed=seed, names=NAMES, questions=3 if HARD else 2, stretch=(0.5, 2.5 if HARD else 1.0))
    under_load.setdefault((component, kind), []).append(done)
    show(f"SEED={SEED} at once, {component} {kind} {number}: {told(done)}")
    assert not done.broken, f"{component} {kind} under load: {done.broken}; {hard.again()}"


@pytest.mark.parametrize("name", ["dingtalk", "teams"])
@pytest.mark.parametrize("unheard", range(1, 7))
def test_a_note_whose_receipt_is_lost_keeps_no_reply_from_being_sent(aws: Emulator, name: str, unheard: int) -> None:
    """Where the vendor knows no repeat, a reply is noted before it is sent: the note may be our own."""
    faults = Faults(seed=1, component="cache", kind="partial", share=1.0)
    with Town([name]) as town:
        house = FaultyHouse(aws, real=False, faults=faults, secrets=town.secrets, model=Echo(random.Random(1)))
        town.into(house)
        assert town.deliver(town.write(name, 1))
        faults.left = unheard
        house.drain()
        assert not town.lost()
        assert not town.twice()


def test_every_cell_of_the_matrix_is_played_or_has_its_reason(show: Callable[[str], None]) -> None:
    assert {(c, k) for c in COMPONENTS for k in FAULTS} == {*CELLS, *CANNOT}
    for title, outcomes in (("one at a time", played), ("at once", under_load)):
        if outcomes:
            told = {
                cell: f"{sum(o.answered for o in done)} of {sum(o.accepted for o in done)}" for cell, done in outcomes.items()
            }
            lines = matrix(told)
            for n, line in enumerate([f"SEED={SEED}, {title}, answered of accepted:", *lines]):
                show(f"{title} {n:2}  {line}")
