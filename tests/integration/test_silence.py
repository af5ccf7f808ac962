"""A form that was left open: its person is reminded once, and not where they went on or have finished."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from tests.integration.test_busy import Dies, work
from tests.support.crashing import Crasher
from tests.support.desks import DESKS
from tests.support.forms import with_office
from tests.support.hard import shared_out
from tests.support.house import House

NAMES = sorted(DESKS)
MINUTES = 60.0


def office(aws: Emulator, **more: Any) -> House:
    house = House(aws, **more)
    with_office(house.assistant)
    return house


def look(house: House) -> dict[str, int]:
    """The schedule's event."""
    done = house.assistant.reminders.look()
    house.drain()
    return done


@pytest.mark.parametrize("name", NAMES)
def test_somebody_who_leaves_a_form_open_is_reminded_once(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = office(aws, secrets=desk.secrets)
        desk.ask(house, "book a room")
        house.drain()
        house.offset += 20 * MINUTES
        assert look(house) == {"reminded": 0, "needless": 0}
        house.offset += 15 * MINUTES
        assert look(house) == {"reminded": 1, "needless": 0}
        reminders = [s for s in desk.seen(house) if "Are you still there?" in s]
        assert len(reminders) == 1
        house.offset += 24 * 60 * MINUTES
        assert look(house) == {"reminded": 0, "needless": 0}
        desk.ask(house, "sun", message="m2")
        house.drain()
        assert len([s for s in desk.seen(house) if "Are you still there?" in s]) == 1


STEPS = ("after model", "after save", "after send", "before delete")
KILLED, CUT_OFF = shared_out(NAMES, STEPS)


@pytest.mark.parametrize(("name", "step"), KILLED)
def test_a_process_that_is_killed_at_any_step_reminds_once(aws: Emulator, crasher: Crasher, name: str, step: str) -> None:
    with DESKS[name]() as desk:
        house = office(aws, secrets=desk.secrets)
        desk.ask(house, "book a room")
        house.drain()
        house.offset += 31 * MINUTES
        house.assistant.reminders.look()
        assert crasher.kill(house, step, office=True) == -9, f"it was not killed at {step!r}"
        house.drain()
        assert sum("Are you still there?" in s for s in desk.seen(house)) == 1


@pytest.mark.parametrize(("name", "step"), CUT_OFF)
def test_a_process_that_ends_at_any_step_reminds_once(aws: Emulator, name: str, step: str) -> None:
    armed: list[bool] = []

    def dies(at: str) -> None:
        if armed and at == step:
            armed.clear()
            raise Dies

    with DESKS[name]() as desk:
        house = office(aws, secrets=desk.secrets, step=dies)
        desk.ask(house, "book a room")
        house.drain()
        house.offset += 31 * MINUTES
        armed.append(True)
        house.assistant.reminders.look()
        work(house)
        assert not armed
        assert sum("Are you still there?" in s for s in desk.seen(house)) == 1


def test_the_form_goes_on_after_the_reminder(aws: Emulator) -> None:
    house = office(aws)
    house.say("订会议室")
    house.drain()
    house.offset += 31 * MINUTES
    look(house)
    assert "你还在吗" in house.turns()[-1]["text"]
    house.say("太阳厅")
    house.drain()
    assert "什么时间" in house.turns()[-1]["text"]


@pytest.mark.parametrize("goes_on", ["sun", "cancel", "what is the wifi password for guests?"])
def test_somebody_who_went_on_is_not_reminded_of_the_earlier_question(aws: Emulator, goes_on: str) -> None:
    house = office(aws)
    house.say("book a room")
    house.drain()
    house.offset += 10 * MINUTES
    house.say(goes_on)
    house.drain()
    house.offset += 21 * MINUTES
    before = len(house.turns())
    assert look(house) == {"reminded": 0, "needless": 1}
    assert len(house.turns()) == before


def test_a_reminder_that_comes_twice_or_too_late_is_given_once_or_not_at_all(aws: Emulator) -> None:
    house = office(aws)
    house.say("book a room")
    house.drain()
    house.offset += 31 * MINUTES
    house.assistant.reminders.look()
    records = house.batch()
    house.run(records)
    house.run(records)
    assert sum("Are you still there?" in t["text"] for t in house.turns()) == 1
    house.say("sun")
    house.drain()
    house.offset += 31 * MINUTES
    house.assistant.reminders.look()
    late = house.batch()
    house.say("tomorrow from 3 to 4 pm")
    house.run(late)
    house.drain()
    assert sum("Are you still there?" in t["text"] for t in house.turns()) == 2  # in the queue before the answer: said before it
    assert look(house)["reminded"] == 0


def test_nobody_is_reminded_where_it_is_switched_off(aws: Emulator) -> None:
    house = office(aws, reminder_minutes=0)
    house.say("book a room")
    house.drain()
    house.offset += 60 * MINUTES
    assert look(house) == {"reminded": 0, "needless": 0}


def test_a_turn_that_leaves_nothing_open_costs_no_call_for_it(aws: Emulator, show: Callable[[str], None]) -> None:
    house = office(aws)
    calls = {}
    for n, text in enumerate(("how are you?", "and you?", "book a room", "sun")):
        house.say(text)
        house.recorder.take()
        house.drain()
        calls[n] = [c.operation for c in house.recorder.take()]
    show(f"a plain turn {calls[1]}, a question of a form {calls[3]}")
    assert calls[3].count("put_item") == calls[1].count("put_item") + 1


def test_the_function_on_the_schedule_reminds(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    house = office(aws)
    house.offset = -3600  # the function has a clock of its own
    house.say("book a room")
    house.drain()
    for name, value in {**aws.environment(), **house.settings.to_env()}.items():
        monkeypatch.setenv(name, value)
    function = importlib.import_module("functions.init")
    function.assistant.cache_clear()
    try:
        assert function.lambda_handler({"task": "silence"}, None) == {"reminded": 1, "needless": 0}
    finally:
        function.assistant.cache_clear()
