"""A model that misbehaves: bounded, told to the asker, tried again or kept for an operator; what was said stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from assistant import BotPlugin, PluginContext
from assistant.answering import LONGEST_ANSWER, without_loop
from assistant.dev.emulator import Emulator
from assistant.errors import Unavailable
from assistant.llm import ChatRequest, Done, Event, TextDelta, ToolCall
from assistant.plugins import Plugins, build
from assistant.tools import tool
from tests.support.desks import DESKS
from tests.support.house import House, down

QUESTION = "How long is my leave?"


@dataclass
class Odd:
    """Each question is answered by the next of `acts`, the last one for ever."""

    acts: list[Callable[[], Iterator[Event]]]
    asked: list[ChatRequest] = field(default_factory=list)
    name: str = "odd"

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """What the next act says."""
        self.asked.append(request)
        return (self.acts.pop(0) if len(self.acts) > 1 else self.acts[0])()


def well() -> Iterator[Event]:
    yield TextDelta("Fourteen days.")
    yield Done(reason="stop", model="odd")


def endless() -> Iterator[Event]:
    n = 0
    while True:
        n += 1
        yield TextDelta(f"And then there is number {n}, which is another matter. ")


def stuck() -> Iterator[Event]:
    yield TextDelta("You have fourteen days. ")
    while True:
        yield TextDelta("I hope this helps! ")


def breaks_off() -> Iterator[Event]:
    yield TextDelta("You have fourteen ")
    raise Unavailable("the connection broke")


def stops_in_a_call() -> Iterator[Event]:
    """The text is there, the call was begun and never came whole: so the wire tells it."""
    yield TextDelta("Let me look that up. ")
    raise Unavailable("the stream ended in a tool call")


def ends_without_done() -> Iterator[Event]:
    yield TextDelta("You have")


def calls(name: str, arguments: str) -> Callable[[], Iterator[Event]]:
    def act() -> Iterator[Event]:
        yield ToolCall(id="c1", name=name, arguments=arguments)
        yield Done(reason="tool_calls", model="odd")

    return act


class Days(BotPlugin):
    """Looks days up."""

    name = "days"

    @tool
    def days_left(self, ctx: PluginContext, year: int) -> str:
        """How many days of leave are left.

        Args:
            year: Which year.
        """
        return f"14 in {year}"


def house_with(aws: Emulator, *acts: Callable[[], Iterator[Event]], **more: Any) -> House:
    house = House(aws, model=Odd(list(acts)), **more)
    house.assistant._plugins = Plugins([build(Days, {})], table=house.assistant.table, metrics=house.metrics)
    return house


def odd(house: House) -> Odd:
    assert isinstance(house.model, Odd)
    return house.model


def answered(house: House) -> str:
    house.say(QUESTION)
    house.drain()
    return str(house.turns()[-1]["text"])


def test_a_model_that_never_ends_is_cut_off_and_what_it_said_is_kept(aws: Emulator) -> None:
    said = answered(house_with(aws, endless))
    assert said.startswith("And then there is number 1, which")
    assert len(said) < LONGEST_ANSWER + 200
    assert "did not come to an end" in said


def test_a_model_that_says_the_same_for_ever_is_cut_off_where_it_began(aws: Emulator) -> None:
    said = answered(house_with(aws, stuck))
    assert said.startswith("You have fourteen days. I hope this helps!")
    assert said.count("I hope this helps!") == 1
    assert "did not come to an end" in said


@pytest.mark.parametrize(
    "text",
    ["| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 30, "-" * 200, "ha " * 100, "".join(f"{n}. step\n" for n in range(200))],
    ids=["a table", "a rule", "laughter", "a list"],
)
def test_what_only_looks_like_a_loop_is_left_alone(text: str) -> None:
    assert without_loop(text) == text


@pytest.mark.parametrize("trouble", [breaks_off, stops_in_a_call, ends_without_done])
def test_a_model_that_breaks_off_is_asked_again(aws: Emulator, trouble: Callable[[], Iterator[Event]]) -> None:
    house = house_with(aws, trouble, well)
    assert answered(house) == "Fourteen days."
    assert len(house.model.asked) == 2
    assert len(house.turns()) == 1


@pytest.mark.parametrize("name", ["webchat", "slack", "feishu", "teams"])
def test_what_was_seen_of_an_answer_that_never_comes_stays_above_the_apology(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = house_with(aws, breaks_off, secrets=desk.secrets, patience=0)

        def slowly() -> Iterator[Event]:
            yield TextDelta("You have fourteen ")
            for _ in range(30):
                time.sleep(0.05)  # it is shown meanwhile, by another thread
                yield TextDelta("")
            raise Unavailable("the connection broke")

        odd(house).acts = [breaks_off, breaks_off, slowly]
        desk.ask(house, QUESTION)
        house.drain()
        [seen] = [s for s in desk.seen(house) if "You have fourteen" in s]
        assert "Something went wrong" in seen
        assert len(desk.seen(house)) == 1
        assert len(house.dead_letters()) == 1


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (calls("days_left", '{"year": 20'), "failed"),
        (calls("days_left", '{"year": "soon"}'), "failed"),
        (calls("days_left", "[]"), "failed"),
        (calls("no_such_tool", "{}"), "failed"),
        (calls("", ""), "failed"),
    ],
    ids=["broken JSON", "a wrong type", "no object", "an unknown tool", "nothing"],
)
def test_a_call_that_makes_no_sense_is_told_to_the_model_which_then_answers(
    aws: Emulator, act: Callable[[], Iterator[Event]], told: str
) -> None:
    house = house_with(aws, act, well)
    assert answered(house) == "Fourteen days."
    assert told in house.model.asked[-1].messages[-1].text


def test_a_model_that_makes_the_same_call_for_ever_is_made_to_answer(aws: Emulator) -> None:
    house = house_with(aws, *[calls("days_left", '{"year": 2026}')] * 40, well)
    answered(house)
    assert len(house.model.asked) <= 8
    assert house.model.asked[-1].tool_choice == "none"


def test_a_model_that_is_down_for_ten_minutes_is_told_and_the_question_is_answered_afterwards(aws: Emulator) -> None:
    house = house_with(aws, down_stream)
    assert "Something went wrong" in answered(house)
    house.offset += 600
    odd(house).acts = [well]
    assert house.assistant.dead_letters.replay(frozenset(), every=True)
    house.drain()
    assert [t["text"] for t in house.turns()] == ["Fourteen days."]


def down_stream() -> Iterator[Event]:
    yield from ()
    raise down()
