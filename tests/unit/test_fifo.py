"""The queues of a local run keep SQS's promises: order in a group, one receiver, no repeat, nothing lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.dev.fifo import Fifo, QueueError, attributes_md5


class Clock:
    """The time, set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A queue with dead letters after two deliveries, and its caller."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fifo = Fifo(arn="arn:aws:sqs:us-east-1:123456789012", clock=self.clock)
        self.fifo.create("dead.fifo")
        policy = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead.fifo", "maxReceiveCount": 2}'
        self.fifo.create("turns.fifo", dead_letters="dead.fifo", VisibilityTimeout="60", RedrivePolicy=policy)

    def call(self, action: str, queue: str = "turns.fifo", **request: Any) -> dict[str, Any]:
        return self.fifo.call(action, {"QueueUrl": f"http://localhost:1/123456789012/{queue}", **request})

    def send(self, body: str, group: str = "g", dedup: str = "", **more: Any) -> dict[str, Any]:
        return self.call("SendMessage", MessageBody=body, MessageGroupId=group, MessageDeduplicationId=dedup or body, **more)

    def receive(self, most: int = 1, queue: str = "turns.fifo", **more: Any) -> list[dict[str, Any]]:
        asked = {"MaxNumberOfMessages": most, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        found: list[dict[str, Any]] = self.call("ReceiveMessage", queue, **asked, **more).get("Messages", [])
        return found

    def delete(self, message: Mapping[str, Any], queue: str = "turns.fifo") -> None:
        self.call("DeleteMessage", queue, ReceiptHandle=message["ReceiptHandle"])

    def depth(self, queue: str = "turns.fifo") -> tuple[int, int]:
        told = self.call("GetQueueAttributes", queue, AttributeNames=["All"])["Attributes"]
        return int(told["ApproximateNumberOfMessages"]), int(told["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture
def house() -> House:
    return House()


def bodies(found: list[dict[str, Any]]) -> list[str]:
    return [m["Body"] for m in found]


def test_a_group_has_one_receiver_at_a_time_and_the_others_go_on(house: House) -> None:
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        house.send(body, group)
    (first,) = house.receive()
    assert (first["Body"], house.depth()) == ("a1", (2, 1))
    assert bodies(house.receive(10)) == ["b1"]
    assert house.receive(10) == []
    house.delete(first)
    assert bodies(house.receive(10)) == ["a2"]


def test_a_batch_takes_a_groups_messages_in_their_order(house: House) -> None:
    for n in range(12):
        house.send(f"m{n}")
    held = house.receive(10)
    assert bodies(held) == [f"m{n}" for n in range(10)]
    for message in held:
        assert house.receive(10) == []
        house.delete(message)
    assert bodies(house.receive(10)) == ["m10", "m11"]


def test_what_is_sent_again_within_five_minutes_is_delivered_once(house: House) -> None:
    first = house.send("a", dedup="1")
    assert house.send("a", dedup="1")["MessageId"] == first["MessageId"]
    house.delete(house.receive()[0])
    house.send("a", dedup="1")
    assert house.receive() == []
    house.clock.now += 301
    house.send("a", dedup="1")
    assert bodies(house.receive()) == ["a"]


def test_what_is_not_deleted_comes_back_before_the_rest_of_its_group(house: House) -> None:
    house.send("a")
    house.send("b")
    house.receive()
    house.clock.now += 59
    assert house.receive() == []
    house.clock.now += 1
    (again,) = house.receive()
    assert (again["Body"], again["Attributes"]["ApproximateReceiveCount"]) == ("a", "2")


def test_a_message_that_was_received_too_often_is_parked_with_all_it_had(house: House) -> None:
    sent = house.send("a", "g", MessageAttributes={"why": {"DataType": "String", "StringValue": "x"}})
    house.send("b", "g")
    for _ in range(2):
        house.receive()
        house.clock.now += 60
    assert bodies(house.receive()) == ["b"]
    (dead,) = house.receive(queue="dead.fifo")
    assert (dead["MessageId"], dead["Body"], dead["Attributes"]["MessageGroupId"]) == (sent["MessageId"], "a", "g")
    assert dead["Attributes"]["DeadLetterQueueSourceArn"].endswith(":turns.fifo")
    assert dead["MessageAttributes"]["why"]["StringValue"] == "x"
    house.delete(dead, "dead.fifo")
    assert (house.depth(), house.depth("dead.fifo")) == ((0, 1), (0, 0))


def test_how_long_a_message_stays_hidden_can_be_changed(house: House) -> None:
    house.send("a")
    (held,) = house.receive()
    house.call("ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=500)
    house.clock.now += 499
    assert house.receive() == []
    house.call("ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = house.receive()
    assert again["Body"] == "a"
    house.delete(again)
    with pytest.raises(QueueError, match="handle"):
        house.call("ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=1)


def test_what_nobody_holds_cannot_be_hidden(house: House) -> None:
    house.send("a")
    (held,) = house.receive()
    house.clock.now += 61
    with pytest.raises(QueueError) as refused:
        house.call("ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=5)
    assert refused.value.code == "MessageNotInflight"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageGroupId": ""}, "MissingParameter"),
        ({"MessageDeduplicationId": ""}, "MissingParameter"),
        ({"MessageGroupId": "群"}, "InvalidParameterValue"),
        ({"MessageDeduplicationId": "x" * 129}, "InvalidParameterValue"),
        ({"MessageBody": "é" * 524_289}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}}, "InvalidParameterValue"),
        ({"DelaySeconds": 3}, "InvalidParameterValue"),
        ({"QueueUrl": "http://localhost/1/nowhere.fifo"}, "QueueDoesNotExist"),
    ],
)
def test_what_sqs_refuses_is_refused(house: House, request_: dict[str, Any], code: str) -> None:
    good = {"MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    with pytest.raises(QueueError) as refused:
        house.call("SendMessage", **{**good, **request_})
    assert refused.value.code == code


def test_what_is_refused_of_several_is_named_and_the_others_stand(house: House) -> None:
    entries = [
        {"Id": name, "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": name}
        for name, body in (("1", "a"), ("2", ""), ("3", "c"))
    ]
    answer = house.call("SendMessageBatch", Entries=entries)
    assert [sent["Id"] for sent in answer["Successful"]] == ["1", "3"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("2", "MissingParameter", True)
    assert bodies(house.receive(10)) == ["a", "c"]


def test_a_receiver_that_waits_hears_of_a_message_at_once(house: House) -> None:
    found: list[list[dict[str, Any]]] = []
    waiting = threading.Thread(target=lambda: found.append(house.receive(WaitTimeSeconds=20)))
    began = time.monotonic()
    waiting.start()
    house.send("a")
    waiting.join(10)
    assert bodies(found[0]) == ["a"]
    assert time.monotonic() - began < 10


def test_the_checksum_of_attributes_is_sqs_own() -> None:
    """Computed with the AWS SDK for Java's algorithm, by hand: name, type, transport, value, each with its length before it."""
    import hashlib

    text = b"\x00\x00\x00\x01a" + b"\x00\x00\x00\x06String" + b"\x01" + b"\x00\x00\x00\x02hi"
    blob = b"\x00\x00\x00\x01b" + b"\x00\x00\x00\x06Binary" + b"\x02" + b"\x00\x00\x00\x02\x00\xff"
    attributes = {"b": {"DataType": "Binary", "BinaryValue": "AP8="}, "a": {"DataType": "String", "StringValue": "hi"}}
    assert attributes_md5(attributes) == hashlib.md5(text + blob, usedforsecurity=False).hexdigest()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.sampled_from("abc")),
            st.tuples(st.just("receive"), st.integers(1, 10)),
            st.tuples(st.just("delete"), st.integers(0, 5)),
            st.tuples(st.just("show"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(1, 90)),
        ),
        max_size=80,
    )
)
def test_whatever_receivers_do_each_group_is_handed_out_in_order_and_nothing_is_lost(steps: list[tuple[str, Any]]) -> None:
    house = House()
    there: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    held: dict[str, tuple[str, float]] = {}
    """Handle and end of hiding of what was received and not deleted."""
    times: dict[str, int] = {}
    parked: set[str] = set()
    for n, (step, value) in enumerate(steps):
        now = house.clock.now
        if step == "send":
            house.send(f"{value}{n}", value)
            there[value].append(f"{value}{n}")
        elif step == "receive":
            busy = {body[0] for body, (_, until) in held.items() if until > now}
            found: dict[str, list[str]] = {}
            for message in house.receive(value):
                body = message["Body"]
                found.setdefault(body[0], []).append(body)
                held[body] = message["ReceiptHandle"], now + 60
                times[body] = times.get(body, 0) + 1
            for name, bodies_ in found.items():
                assert name not in busy
                while there[name][0] != bodies_[0]:  # only what was received twice is passed over
                    assert times[there[name][0]] == 2
                    parked.add(there[name].pop(0))
                assert there[name][: len(bodies_)] == bodies_
        elif held and step in ("delete", "show"):
            body = sorted(held)[value % len(held)]
            handle, until = held.pop(body)
            if step == "delete" and body in there[body[0]]:
                house.call("DeleteMessage", ReceiptHandle=handle)
                there[body[0]].remove(body)
            elif step == "show" and until > now:
                house.call("ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=0)
        elif step == "wait":
            house.clock.now += value
        held = {body: kept for body, kept in held.items() if body not in parked}
    house.clock.now += 61
    rest: list[str] = []
    for queue in ("turns.fifo", "dead.fifo"):
        while drained := house.receive(10, queue):
            rest += bodies(drained)
            for message in drained:
                house.delete(message, queue)
    assert sorted(rest) == sorted([body for group in there.values() for body in group] + [*parked])
