"""What a plain turn costs on AWS, on every platform: CI fails on one more call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assistant.dev.emulator import Emulator
from tests.support.desks import DESKS
from tests.support.house import House, ScriptedModel


@pytest.mark.parametrize("name", sorted(DESKS))
def test_a_plain_turn_is_one_call_to_take_in_and_at_most_four_to_answer(
    aws: Emulator, name: str, show: Callable[[str], None]
) -> None:
    with DESKS[name]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel(["An answer of the usual length. " * 12]), history_turns=10)
        for n in range(9):
            desk.ask(house, f"Question {n}: " + "some words of context " * 8, message=f"m{n}")
            house.drain()
        house.recorder.take()
        desk.ask(house, "And how long is it?", message="m99")
        accepted = house.recorder.take()
        house.run(house.batch())
        calls = house.recorder.take()
        write, read = sum(c.write for c in calls), sum(c.read for c in calls)
        show(f"{name:9} {len(accepted)} + {len(calls)} calls  WRU {write}  RRU {read:g}  {[c.operation for c in calls]}")
        assert [c.operation for c in accepted] == ["send_message"]
        assert len(calls) <= 4
        assert write <= 3
        assert read <= 2
