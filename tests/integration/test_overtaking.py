"""Recalls and edits reach a message that waits, one that is being answered, and one in a thread that they do not name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.messages import Message
from assistant.queue import Delivery
from tests.simulators.slack import SlackSimulator
from tests.support.house import House, ScriptedModel, client

ASKED = Message(
    kind="text",
    platform="webchat",
    channel="messages",
    conversation="c",
    sender="u",
    dedup_id="m1",
    message_id="m1",
    text="How long is my leave?",
    tenant="default",
    sent_at=1_700_000_000_000,
)
RECALLED = replace(ASKED, kind="recalled", dedup_id="e1", text="")
EDITED = replace(ASKED, kind="edited", dedup_id="e2", text="How long is my break?")

THREADS = pytest.mark.parametrize("thread", ["", "t1"])


@THREADS
def test_a_question_that_was_recalled_while_it_waited_is_not_answered(aws: Emulator, thread: str) -> None:
    house = House(aws)
    house.assistant.dialogue.take_turn(came(RECALLED))
    house.assistant.dialogue.take_turn(came(replace(ASKED, thread=thread)))
    assert house.model.asked == []


@THREADS
def test_a_question_that_was_edited_while_it_waited_is_answered_as_edited(aws: Emulator, thread: str) -> None:
    house = House(aws)
    house.assistant.dialogue.take_turn(came(EDITED))
    house.assistant.dialogue.take_turn(came(replace(ASKED, thread=thread)))
    assert [r.messages[-1].text for r in house.model.asked] == ["How long is my break?"]


def came(message: Message) -> Delivery:
    return Delivery(message, f"sqs-{message.dedup_id}", 1, False)


def meanwhile(house: House, act: Callable[[], None]) -> Callable[[], None]:
    """Runs `act` once the answer is being stored, and waits until it is known."""
    done: list[bool] = []

    def between() -> None:
        until = time.monotonic() + 5
        if done:
            time.sleep(0.05)  # words come slowly: the growing answer looks whether it must end
            return
        while time.monotonic() < until and not _claimed(house):
            time.sleep(0.01)  # the claim is stored by another thread
        if not done:
            done.append(True)
            act()

    return between


def _claimed(house: House) -> bool:
    items: list[dict[str, Any]] = client(house.aws, "dynamodb").scan(TableName="assistant")["Items"]
    return any(i.get("state", {}).get("S") == "answering" for i in items)


@THREADS
def test_a_question_that_is_recalled_while_it_is_answered_ends_there(aws: Emulator, thread: str) -> None:
    house = House(aws, patience=0, model=ScriptedModel([" ".join(["word"] * 60)]))
    house.model.between = meanwhile(house, lambda: house.assistant.dialogue.take_turn(came(RECALLED)))
    house.assistant.dialogue.take_turn(came(replace(ASKED, thread=thread)))
    [turn] = house.assistant.sessions.turns(replace(ASKED, thread=thread))
    assert turn.reply is not None
    assert turn.reply.text == ""


@THREADS
def test_a_question_that_is_edited_while_it_is_answered_is_answered_anew(aws: Emulator, thread: str) -> None:
    house = House(aws, patience=0, model=ScriptedModel([" ".join(["word"] * 60), "Half an hour."]))
    house.model.between = meanwhile(house, lambda: house.assistant.dialogue.take_turn(came(EDITED)))
    house.assistant.dialogue.take_turn(came(replace(ASKED, thread=thread)))
    assert [r.messages[-1].text for r in house.model.asked] == ["How long is my leave?", "How long is my break?"]
    [turn] = house.assistant.sessions.turns(replace(ASKED, thread=thread))
    assert turn.reply is not None
    assert turn.reply.text == "Half an hour."


def test_a_deleted_slack_question_is_not_answered(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets})
        said = slack.say("D1", "U1", "How long?")
        house.receive(slack.event(said))
        gone = {
            "type": "message",
            "subtype": "message_deleted",
            "channel": "D1",
            "channel_type": "im",
            "ts": f"{int(slack.clock())}.999999",
            "deleted_ts": said["ts"],
            "previous_message": said,
        }
        house.receive(slack.event(gone))
        records = house.batch() + house.batch()
        records.sort(key=lambda r: '"kind":"recalled"' not in r["body"])  # it has a lane of its own and overtakes
        for record in records:
            house.run([record])
        assert slack.visible("D1") == []
        assert house.model.asked == []
