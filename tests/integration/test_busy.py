"""A conversation that goes on while it is answered: follow-ups are answered together, edits count, floods are bounded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from assistant.dev.emulator import Emulator
from assistant.llm import ChatRequest, Event
from assistant.observability import FLOODED
from tests.support.crashing import Crasher, Slow
from tests.support.desks import DESKS
from tests.support.hard import shared_out
from tests.support.house import SKEW, House, ScriptedModel, client

NAMES = sorted(DESKS)


class Dies(BaseException):
    """The process ends here."""


def work(house: House) -> None:
    """Runs the queue dry with a function that may die; what it held comes again at once."""
    sqs = client(house.aws, "sqs")
    while records := house.batch():
        try:
            house.run(records)
        except Dies:
            for record in records:
                sqs.change_message_visibility(
                    QueueUrl=house.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
                )


SLOW = 3 * SKEW
"""Seconds that the model takes for its first answer."""


def meanwhile(house: House, act: Callable[[], object]) -> None:
    """`act` happens while the first answer is made, which then takes its time."""
    done: list[bool] = []

    def between() -> None:
        if not done:
            done.append(True)
            act()
            house.offset += SLOW

    house.model.between = between


def asked(house: House) -> list[str]:
    """What the model was asked, turn by turn."""
    return [r.messages[-1].text for r in house.model.asked]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_meanwhile_is_answered_in_one_turn(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel(["Fourteen days.", "Both are on Friday."]))

        def more() -> None:
            desk.ask(house, "When is the next holiday?", message="m2")
            desk.ask(house, "And the party?", message="m3")

        meanwhile(house, more)
        desk.ask(house, "How much leave do I have?", message="m1")
        house.drain()
        assert asked(house) == ["How much leave do I have?", "When is the next holiday?\nAnd the party?"]
        assert [s for s in desk.seen(house) if "together" not in s] == ["Fourteen days.", "Both are on Friday."]


def test_the_next_question_knows_what_was_answered_together(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel(["One.", "Two and three.", "Four."]))
    meanwhile(house, lambda: [house.say("second"), house.say("third")])
    house.say("first")
    house.drain()
    house.say("fourth")
    house.drain()
    assert [m.text for m in house.model.asked[-1].messages] == ["first", "One.", "second\nthird", "Two and three.", "fourth"]


STEPS = ("after put off", "after collecting", "after claim", "after model", "after save", "after send", "before delete")
KILLED, CUT_OFF = shared_out(NAMES, STEPS)


@pytest.mark.parametrize(("name", "step"), KILLED)
def test_a_process_that_is_killed_at_any_step_answers_each_follow_up_once(
    aws: Emulator, crasher: Crasher, name: str, step: str
) -> None:
    done: list[bool] = []
    with DESKS[name]() as desk:

        class Busy(Slow):
            """Somebody writes on while it answers, which takes its time."""

            def stream(self, request: ChatRequest) -> Iterator[Event]:
                if not done:
                    done.append(True)
                    desk.ask(house, "Question 2", message="m2")
                    desk.ask(house, "Question 3", message="m3")
                    house.offset += SLOW
                return super().stream(request)

        house = House(aws, secrets=desk.secrets, model=Busy("", 0))
        desk.ask(house, "Question 1", message="m1")
        house.run(house.batch())
        assert crasher.kill(house, step, skew=SKEW) == -9, f"it was not killed at {step!r}"
        house.drain()
        assert [s for s in desk.seen(house) if "together" not in s] == ["Answer 1.", "Answer 2. Answer 3."]


@pytest.mark.parametrize(("name", "step"), CUT_OFF)
def test_a_process_that_ends_at_any_step_answers_each_follow_up_once(aws: Emulator, name: str, step: str) -> None:
    armed: list[bool] = []
    left = [1]

    def dies(at: str) -> None:
        if armed and at == step and left[0]:
            left[0] -= 1
            raise Dies

    with DESKS[name]() as desk:
        house = House(aws, step=dies, secrets=desk.secrets, model=ScriptedModel(["One.", "Two and three."]))
        meanwhile(house, lambda: [desk.ask(house, "second", message="m2"), desk.ask(house, "third", message="m3")])
        desk.ask(house, "first", message="m1")
        house.run(house.batch())
        armed.append(True)
        work(house)
        assert left == [0], f"nothing ended at {step!r}"
        assert [s for s in desk.seen(house) if "together" not in s] == ["One.", "Two and three."]
        assert asked(house)[-1] == "second\nthird"


def test_a_follow_up_that_is_edited_while_it_waits_is_answered_as_edited(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel(["One.", "Two."]))

        def more() -> None:
            desk.ask(house, "secnod", message="m2")

        meanwhile(house, more)
        desk.ask(house, "first", message="m1")
        house.run(house.batch())
        put_off = house.batch()
        house.run(put_off)
        said = desk._events["m2"]
        edited = {
            "type": "message",
            "subtype": "message_changed",
            "channel": "D1",
            "channel_type": "im",
            "ts": "1.2",
            "event_ts": "1.2",
            "message": {**said, "text": "second", "edited": {"user": "U1", "ts": "1.2"}},
            "previous_message": said,
        }
        assert house.receive(desk.vendor.event(edited, event_id="Ev-edit")).status == 200
        lanes = {json.loads(r["body"])["kind"]: r for r in (*house.batch(), *house.batch())}
        house.run([lanes["edited"]])
        house.run([lanes["collected"]])
        assert asked(house) == ["first", "second"]


def test_the_web_chat_shows_the_reply_at_the_question_and_what_waits_as_open(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel(["One.", "Two and three."]))
    meanwhile(house, lambda: [house.say("second", id="m2"), house.say("third", id="m3")])
    house.say("first", id="m1")
    for _ in range(3):
        house.run(house.batch())
    assert [(t["id"], t["state"]) for t in house.turns()] == [("m1", "sent"), ("m2", "answering"), ("m3", "answering")]
    house.drain()
    shown = [(t["id"], t["question"], t["state"], t["text"]) for t in house.turns()]
    together = "I answer this together with what you wrote before it."
    assert shown == [
        ("m1", "first", "sent", "One."),
        ("m2", "second", "sent", "Two and three."),
        ("m3", "third", "sent", together),
    ]


def test_a_flood_is_bounded_with_one_word_and_hides_nobody_else(aws: Emulator, show: Callable[[str], None]) -> None:
    house = House(aws, model=ScriptedModel(["An answer."]))

    def flood() -> None:
        for n in range(16):
            house.say(f"again {n}", id=f"f{n}")

    meanwhile(house, flood)
    house.say("first", id="m1")
    house.say("somebody else", conversation="quiet", user="v")
    house.drain(limit=200)
    texts = [t["text"] for t in house.turns()]
    polite = [t for t in texts if "a lot at once" in t]
    show(f"17 messages: {len(house.model.asked)} questions to the model, {len(polite)} polite word, {len(texts)} turns kept")
    assert len(polite) == 1
    assert asked(house) in (
        ["first", "somebody else", "\n".join(f"again {n}" for n in range(10))],
        ["first", "\n".join(f"again {n}" for n in range(10)), "somebody else"],
    )
    assert [t["text"] for t in house.turns("quiet")] == ["An answer."]
    assert {f"again {n}" for n in range(16)} <= {t["question"] for t in house.turns()}, "each one is kept"
    assert house.metrics.total(FLOODED) == 6
    house.say("slower now")
    house.drain()
    assert asked(house)[-1] == "slower now"


def test_a_quick_conversation_is_answered_one_by_one(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel(["One.", "Two."]))
    house.say("first")
    house.drain()
    house.say("second")
    house.drain()
    assert asked(house) == ["first", "second"]
