"""A model that is scaled to nothing: the asker is told at once, and answered in the same place when it has started."""

from __future__ import annotations

import pytest

from assistant.dev.emulator import Emulator
from assistant.llm import WarmingUp
from tests.support.desks import DESKS
from tests.support.house import House, ScriptedModel

STARTING = "I am just starting up. Your answer follows here in a few minutes."


@pytest.mark.parametrize("name", sorted(DESKS))
def test_the_asker_is_told_and_answered_later(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        model = ScriptedModel([WarmingUp("no copy runs", retry_after=300), "Fourteen days."])
        house = House(aws, secrets=desk.secrets, model=model)
        desk.ask(house, "How much leave do I have?")
        [record] = house.batch()
        assert house.run([record]) == {record["messageId"]}
        if name == "webchat":
            assert [(t["state"], t["text"]) for t in house.turns()] == [("answering", STARTING)]
        else:
            assert any(STARTING in seen for seen in desk.seen(house))
        house.drain()
        grows = name == "webchat" or getattr(desk, "streams", False)
        assert desk.seen(house) == (["Fourteen days."] if grows else [STARTING, "Fourteen days."])
