"""Rings through the front door: who is served, who is next, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.messages import Message
from assistant.rollout import ORDER, Ring, Rollout, RolloutChanged, Rollouts
from tests.support.desks import SlackDesk
from tests.support.house import House, ScriptedModel

BY: dict[str, Any] = {"who": "ann", "why": "a test"}


def rollouts(house: House) -> Rollouts:
    return house.assistant.rollouts


def test_a_new_installation_answers_everybody(aws: Emulator) -> None:
    house = House(aws)
    house.say("How long?")
    house.drain()
    assert [t["text"] for t in house.turns()] == ["Fourteen days."]
    assert rollouts(house).history() == []


def test_somebody_outside_gets_one_polite_word_and_then_silence(aws: Emulator) -> None:
    with SlackDesk() as desk:
        house = House(aws, secrets=desk.secrets)
        rollouts(house).set({"reached": "internal"}, **BY)
        for n in range(3):
            desk.ask(house, f"How long? {n}", message=f"m{n}")
            house.drain()
        assert len(desk.seen(house)) == 1
        assert "step by step" in desk.seen(house)[0]
        assert house.model.asked == []
        rollouts(house).set({"people": ["slack:U1"]}, ring="internal", **BY)
        desk.ask(house, "And now?", message="m9")
        house.drain()
        assert desk.seen(house)[-1] == "Fourteen days."


def test_silence_is_silence(aws: Emulator) -> None:
    with SlackDesk() as desk:
        house = House(aws, secrets=desk.secrets)
        rollouts(house).set({"reached": "internal", "outside": "silence"}, **BY)
        desk.ask(house, "How long?")
        house.drain()
        assert desk.seen(house) == []


def test_a_ring_has_its_own_model_and_plugins(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel(["configured"]))
    other = ScriptedModel(["of the ring"])
    house.assistant._models["openai:new@http://127.0.0.1:1/v1"] = other
    rollouts(house).set(
        {"people": ["webchat:u"], "model": "openai:new@http://127.0.0.1:1/v1", "plugins": ["courtesy"]}, ring="internal", **BY
    )
    house.say("How long?", user="u")
    house.say("How long?", user="somebody else")
    house.drain()
    assert [t["text"] for t in house.turns()] == ["of the ring", "configured"]


def test_promotion_goes_ring_by_ring_and_back(aws: Emulator) -> None:
    state = rollouts(House(aws))
    state.set({"reached": "nobody"}, **BY)
    assert [state.promote(**BY).reached for _ in ORDER] == list(ORDER)
    with pytest.raises(InvalidSetting, match="everyone"):
        state.promote(**BY)
    assert state.roll_back(**BY).reached == "department"
    state.halt(**BY)
    with pytest.raises(InvalidSetting, match="halted"):
        state.promote(**BY)
    state.set({"halted": False}, **BY)
    assert state.promote(**BY).reached == "everyone"
    history = state.history()
    assert [c.edition for c in history] == list(range(len(history), 0, -1))
    assert {(c.who, c.why) for c in history} == {("ann", "a test")}


def test_two_administrators_at_once_do_not_undo_each_other(aws: Emulator) -> None:
    one, two = (Rollouts(House(aws).assistant.table) for _ in range(2))
    before = one.read()
    two.set({"outside": "silence"}, **BY)
    with pytest.raises(RolloutChanged):
        one._write(before, before, what="late", **BY)
    assert one.read().outside == "silence"


def test_a_warm_function_asks_the_table_only_after_the_refresh_time(aws: Emulator) -> None:
    house = House(aws)
    house.say("One")
    house.drain()
    house.recorder.take()
    house.say("Two")
    house.drain()
    assert not [c for c in house.recorder.take() if c.operation == "get_item"]
    Rollouts(house.another().table).set({"reached": "nobody", "outside": "silence"}, **BY)
    house.offset = 29
    house.say("Three")
    house.drain()
    assert [t["text"] for t in house.turns()] == ["Fourteen days.", "Fourteen days.", ""], "everywhere within thirty seconds"


@pytest.mark.parametrize(
    ("changes", "ring", "said"),
    [
        ({"people": [f"slack:U{n}" for n in range(11)]}, "internal", "room for 10"),
        ({"people": ["U1"]}, "internal", "PLATFORM:ID"),
        ({"people": "slack:U1"}, "internal", "list"),
        ({"share": 2}, "department", "between 0 and 1"),
        ({"capacity": -1}, "department", "whole number"),
        ({"colour": "red"}, "department", "colour"),
        ({"reached": "moon"}, "", "moon"),
        ({"outside": "shout"}, "", "shout"),
        ({}, "basement", "basement"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_name(aws: Emulator, changes: dict[str, Any], ring: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        rollouts(House(aws)).set(changes, ring=ring, **BY)


def person(user: str) -> Message:
    return Message(kind="text", platform="slack", channel="events", conversation="C1", sender=user, dedup_id="d")


def test_a_growing_share_only_adds_people() -> None:
    def served(share: float) -> set[str]:
        rollout = Rollout(reached="department", rings=(Ring(name="internal"), Ring(name="department", share=share)))
        return {f"U{n}" for n in range(2000) if rollout.ring_of(person(f"U{n}"))}

    small, large = served(0.05), served(0.2)
    assert small < large
    assert 60 < len(small) < 140
    assert 340 < len(large) < 460


def test_the_narrowest_ring_that_fits_counts() -> None:
    rings = (
        Ring(name="internal", people=("slack:U1",)),
        Ring(name="department", chats=("slack:C1",)),
        Ring(name="everyone", share=1),
    )
    rollout = Rollout(rings=rings)
    assert getattr(rollout.ring_of(person("U1")), "name", "") == "internal"
    assert getattr(rollout.ring_of(person("U2")), "name", "") == "department"
