"""A message comes in, an answer goes out: once, in order, never lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.llm.builtin import BuiltinModel
from assistant.messages import Message, Passage
from assistant.observability import DUPLICATES, TURN_FAILED
from tests.support.house import WEBCHAT_KEY, House, Pages, ScriptedModel, client, down

LEAVE = Passage(id="p1", title="Leave policy", text="Everyone has 30 days of leave.", url="https://intranet.example/leave")


def test_a_question_is_answered_with_its_source(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel(["Thirty days [1]."]), pages=Pages((LEAVE,)))
    house.say("How many days of leave do I have?")
    house.drain()
    [turn] = house.turns()
    assert (turn["state"], turn["text"]) == ("sent", "Thirty days [1].")
    assert turn["sources"] == [{"number": 1, "title": "Leave policy", "url": "https://intranet.example/leave", "page": 0}]


def test_a_message_delivered_again_is_answered_once(aws: Emulator) -> None:
    house = House(aws)
    house.say("How long?", id="m1")
    [record] = house.batch()
    house.run([record])
    house.run([record])
    assert len(house.turns()) == 1
    assert len(house.model.asked) == 1
    assert house.metrics.total(DUPLICATES) == 1


@pytest.mark.parametrize("seconds", [300, 7 * 3600])
def test_a_message_sent_again_later_is_answered_once(aws: Emulator, seconds: int) -> None:
    house = House(aws)
    house.say("How long?", id="m1")
    house.drain()
    for n in range(20):  # many turns later: the first one is no longer among the newest
        house.say(f"And then {n}?")
    house.drain()
    house.offset = seconds
    asked = len(house.model.asked)
    house.say("How long?", id="m1")
    house.drain()
    assert len(house.model.asked) == asked
    assert [t["id"] for t in house.turns()].count("m1") == 1


def test_one_message_in_two_instances_at_once_is_answered_once(aws: Emulator) -> None:
    barrier = threading.Barrier(2)
    house = House(aws, model=ScriptedModel(["One answer."], between=lambda: _meet(barrier)))
    house.say("How long?", id="m1")
    [record] = house.batch()
    again = {**record, "attributes": {**record["attributes"], "ApproximateReceiveCount": "2"}}
    failed: list[list[str]] = []

    def run(assistant: Assistant, record: dict[str, Any]) -> None:
        answer = assistant.worker.process({"Records": [record]}, seconds=150)
        failed.append([f["itemIdentifier"] for f in answer["batchItemFailures"]])

    runs = [threading.Thread(target=run, args=a) for a in ((house.assistant, record), (house.another(), again))]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert len(house.model.asked) == 2, "both asked the model"
    assert len(house.turns()) == 1, "one of them decided the reply"
    assert sorted(map(len, failed)) == [0, 1], "the other one comes again, and finds it decided"


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait(5)


def test_messages_of_one_conversation_are_answered_in_order(aws: Emulator) -> None:
    house = House(aws)
    for n in range(5):
        house.say(f"Question {n}")
    house.drain()
    assert [t["question"] for t in house.turns()] == [f"Question {n}" for n in range(5)]
    assert [r.messages[-1].text for r in house.model.asked] == [f"Question {n}" for n in range(5)]
    assert [m.text for m in house.model.asked[2].messages] == [
        "Question 0", "Fourteen days.", "Question 1", "Fourteen days.", "Question 2",
    ]  # fmt: skip


def test_a_slow_conversation_does_not_hold_up_another(aws: Emulator) -> None:
    slow = threading.Event()
    house = House(aws)
    house.model.between = lambda: slow.wait(10) if threading.current_thread().name == "slow" else None
    house.say("Slow one", conversation="a")
    [first] = house.batch()
    worker = threading.Thread(target=house.run, args=([first],), name="slow")
    worker.start()
    house.say("Waits for the slow one", conversation="a")
    house.say("Quick one", conversation="b")
    records = house.batch()
    assert [json.loads(r["body"])["text"] for r in records] == ["Quick one"], "conversation a is held, b is not"
    house.run(records)
    assert [t["state"] for t in house.turns("b")] == ["sent"]
    slow.set()
    worker.join()
    house.drain()
    assert [t["question"] for t in house.turns("a")] == ["Slow one", "Waits for the slow one"]


def test_a_batch_runs_conversations_side_by_side_and_stops_a_failed_one(aws: Emulator) -> None:
    house = House(aws)
    records = []
    for conversation in ("a", "b"):
        for n in range(2):
            house.say(f"{conversation}{n}", conversation=conversation)
    while more := house.batch():
        records += more
        for record in more:  # the group becomes free, so that the next of it can be had: one batch of several groups
            client(aws, "sqs").delete_message(QueueUrl=house.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"])
    assert len(records) == 4
    house.model.answers = ["fine"]
    both = threading.Barrier(2)
    house.model.between = lambda: _meet(both)
    answer = house.assistant.worker.process({"Records": records}, seconds=150)
    assert answer == {"batchItemFailures": []}
    assert [len(house.turns(c)) for c in "ab"] == [2, 2]


def test_a_turn_that_fails_three_times_is_kept_with_its_reason_and_the_user_is_told(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel([down()]))
    house.say("Are you there?", id="m1")
    house.say("And now?", id="m2")
    for _ in range(3):
        [record] = house.batch()
        assert record["messageId"]
        house.run([record])
    [turn] = house.turns()
    assert turn["state"] == "failed"
    assert "could not answer" in turn["text"]
    house.model.answers = ["I am here."]
    house.drain()
    assert house.turns()[-1]["text"] == "I am here.", "the conversation goes on"
    [letter] = house.dead_letters()
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "Unavailable: the model does not answer"
    assert json.loads(letter["Body"])["message_id"] == "m1"
    assert house.metrics.total(TURN_FAILED) == 3


def test_a_dead_letter_put_back_is_answered(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel([down()]))
    house.say("Are you there?", id="m1")
    for _ in range(3):
        house.run(house.batch())
    [letter] = house.dead_letters()
    house.model.answers = ["Now I am."]
    client(aws, "sqs").send_message(
        QueueUrl=house.settings.turns_queue_url,
        MessageBody=letter["Body"],
        MessageGroupId="replayed",
        MessageDeduplicationId="replayed-1",
    )
    house.drain()
    [turn] = house.turns()
    assert (turn["state"], turn["text"]) == ("sent", "Now I am.")


def test_a_growing_answer_is_seen_before_it_is_whole(aws: Emulator) -> None:
    house = House(aws, patience=0)
    seen: list[str] = []

    def look() -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            turns = house.turns()
            if turns and turns[0]["text"] and turns[0]["text"] not in seen:
                seen.append(turns[0]["text"])
                assert turns[0]["state"] == "answering"
                return

    house.model.answers = ["one two three"]
    house.model.between = look
    house.say("Count")
    house.drain()
    [turn] = house.turns()
    assert (turn["state"], turn["text"]) == ("sent", "one two three")
    assert seen
    assert "one two three".startswith(seen[0])


def test_stop_ends_the_running_answer_and_keeps_what_was_said(aws: Emulator) -> None:
    house = House(aws, patience=0)
    said = threading.Event()

    def stop() -> None:
        if said.is_set():
            until = time.monotonic() + 5
            while time.monotonic() < until and house.assistant.sessions.turns(_any(house))[0].stop != "stopped":
                pass
            return
        until = time.monotonic() + 5
        while time.monotonic() < until and not house.turns():
            pass
        said.set()
        house.say("stop")
        house.run(house.batch())

    house.model.answers = [" ".join(["word"] * 400)]
    house.model.between = stop
    house.say("Tell me everything", id="m1")
    [record] = house.batch()
    house.run([record])
    [turn] = house.turns()
    assert turn["state"] == "sent"
    assert turn["text"].endswith("_Stopped._")
    assert turn["text"].count("word") < 400


def _any(house: House) -> Message:
    return Message(
        kind="text",
        platform="webchat",
        channel="messages",
        conversation="c",
        sender="",
        dedup_id="",
        tenant=house.settings.tenant,
    )


def test_a_plain_turn_costs_one_call_in_the_webhook_and_at_most_four_in_the_dialogue(
    aws: Emulator, show: Callable[[str], None]
) -> None:
    house = House(aws, history_turns=10)
    for n in range(9):  # 8 KB of history
        house.model.answers = ["An answer of the usual length. " * 12]
        house.say(f"Question {n}: " + "some words of context " * 8)
    house.drain()
    house.recorder.take()
    house.model.answers = ["Fourteen days."]
    house.say("And how long is it?")
    accepted = house.recorder.take()
    [record] = house.batch()
    house.run([record])
    calls = house.recorder.take()
    write, read = sum(c.write for c in calls), sum(c.read for c in calls)
    show(f"webhook: {[c.operation for c in accepted]}  dialogue: {[c.operation for c in calls]}  WRU {write}  RRU {read:g}")
    assert [c.operation for c in accepted] == ["send_message"]
    assert len(calls) <= 4
    assert write <= 3
    assert read <= 2


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * (256 * 1024 + 1), {}, 413),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{not json", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"conversation":"c","user":"u","text":""}', {}, 400),
        (b'{"conversation":"c","user":"u"}', {}, 400),
        (b'{"conversation":["c"],"user":"u","text":"hi"}', {}, 400),
        (b'{"conversation":"%s","user":"u","text":"hi"}' % (b"c" * 300), {}, 400),
        (b'{"conversation":"c","user":"u","text":"hi"}', {"authorization": "Bearer wrong"}, 401),
        (b'{"conversation":"c","user":"u","text":"hi"}', {"authorization": ""}, 401),
        (b'{"conversation":"c","user":"u","text":"hi"}', {"authorization": f"Bearer {WEBCHAT_KEY},Bearer x"}, 401),
    ],
)
def test_a_bad_request_is_refused_and_nothing_is_queued(aws: Emulator, body: bytes, headers: dict[str, str], status: int) -> None:
    house = House(aws)
    reply = house.post("/webchat/messages", body, headers={"authorization": f"Bearer {WEBCHAT_KEY}", **headers})
    assert reply.status == status
    assert json.loads(reply.body)["error"]
    assert house.batch() == []


@pytest.mark.parametrize("path", ["/nobody/messages", "/webchat/letters", "/%2e%2e/messages"])
def test_an_unknown_address_is_not_found(aws: Emulator, path: str) -> None:
    reply = House(aws).post(path, b"{}", headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
    assert reply.status == 404


def test_a_platform_without_its_secret_refuses_everything(aws: Emulator) -> None:
    house = House(aws, secrets={"webchat": {}})
    assert house.post("/webchat/messages", b"{}", headers={"authorization": "Bearer "}).status == 401


@pytest.mark.parametrize(
    "text",
    [
        "\u202eright to left\u202c שלום",
        "👩‍👩‍👧‍👦 family",
        "lone \ud800 surrogate",
        "nul \x00 and \x1b",
        "\ufffe not a character",
        "你好" * 5000,
    ],
)
@pytest.mark.parametrize("conversation", ["c", "turn#1#a|b/../~about", "会话", "a" * 200])
def test_any_text_in_any_conversation_is_answered(aws: Emulator, text: str, conversation: str) -> None:
    house = House(aws)
    house.post(
        "/webchat/messages",
        json.dumps({"conversation": conversation, "user": "u", "text": text}),
        headers={"authorization": f"Bearer {WEBCHAT_KEY}"},
    )
    house.drain()
    [turn] = house.turns(conversation)
    assert turn["state"] == "sent"
    assert house.turns("another") == []


def test_a_text_too_long_to_read_gets_a_clear_answer(aws: Emulator) -> None:
    house = House(aws)
    house.say("x" * 100_000)
    house.drain()
    [turn] = house.turns()
    assert "100000 characters" in turn["text"]
    assert house.model.asked == []


@pytest.mark.parametrize("body", ["{}", "[", '{"kind": "text", "platform": "slack"}'])
def test_what_is_no_message_in_the_queue_is_kept_in_the_dead_letters(aws: Emulator, body: str) -> None:
    house = House(aws)
    client(aws, "sqs").send_message(
        QueueUrl=house.settings.turns_queue_url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId="d"
    )
    house.drain()
    [letter] = house.dead_letters()
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "the body is not a message"


def test_a_question_that_finds_nothing_is_listed_for_the_editors(aws: Emulator) -> None:
    house = House(aws, pages=Pages(confident=False))
    house.say("Who repairs the coffee machine?")
    house.say("who repairs the COFFEE machine")
    house.drain()
    gaps = house.assistant.knowledge_service.gaps
    assert gaps
    [gap] = gaps.open()
    assert gap["question"].lower().startswith("who repairs the coffee machine")
    assert gap["count"] == 2


def test_a_fact_of_the_graph_answers_by_itself_or_goes_to_the_model(aws: Emulator) -> None:
    fact = "Mei Lin approves travel for the design team."
    direct = House(aws, model=BuiltinModel(), pages=Pages(confident=False, facts=(fact,), direct=fact))
    direct.say("Who approves travel for the design team?")
    direct.drain()
    assert [t["text"] for t in direct.turns()] == [fact]
    told = House(aws, pages=Pages(confident=False, facts=(fact,), direct=fact))
    told.say("Who approves travel?", conversation="d")
    told.drain()
    assert fact in told.model.asked[0].facts


def test_where_nothing_answers_somebody_to_ask_is_named(aws: Emulator) -> None:
    house = House(aws, model=BuiltinModel(), pages=Pages(confident=False, experts=("Mei Lin",)))
    house.say("Who repairs the coffee machine?")
    house.drain()
    [turn] = house.turns()
    assert "You could ask Mei Lin" in turn["text"]
