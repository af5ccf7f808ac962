"""WeCom through the whole assistant: sealed callbacks in, real queue, table and dialogue, a strict WeCom that fetches replies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from assistant.dev.emulator import Emulator
from assistant.messages import HttpReply, Webhook
from assistant.platforms.wecom import GRACE, WINDOW
from tests.simulators import wecom as vendor
from tests.support.house import House, ScriptedModel, down

OVER = WINDOW + GRACE + 1.0
"""Seconds after which nobody waits any more for the reply to what was asked."""


class Crash(BaseException):
    """The process is gone at this step."""


class WeComHouse(House):
    """A house with WeCom before its door."""

    def __init__(self, aws: Emulator, **given: Any) -> None:
        self.corp = vendor.WeCom(clock=self.now)
        self.corp.start()
        super().__init__(aws, secrets={"wecom": self.corp.secrets}, **given)

    def deliver(self, webhook: Webhook) -> HttpReply:
        """What the assistant answers to one of WeCom's callbacks."""
        return self.post(
            f"/wecom/{webhook.channel}",
            webhook.body,
            headers=webhook.headers,
            query=urlencode(webhook.query),
            method=webhook.method,
        )

    def fetch(self, stream: vendor.Stream) -> None:
        """WeCom fetches until there is nothing more to fetch, or nothing changes any more."""
        before = None
        while self.corp.poll(self.deliver, stream) and stream.bubble.text != before:
            before = stream.bubble.text


@pytest.fixture
def make(aws: Emulator) -> Iterator[Any]:
    houses: list[WeComHouse] = []

    def made(**given: Any) -> WeComHouse:
        houses.append(WeComHouse(aws, **given))
        return houses[-1]

    yield made
    for house in houses:
        house.corp.stop()
        assert house.corp.problems == []


def test_a_question_to_the_app_is_answered_once(make: Any) -> None:
    house = make()
    callback = house.corp.app_text("年假几天？")
    assert house.deliver(callback) == house.deliver(callback) == HttpReply(200, "", "text/plain; charset=utf-8")
    house.drain()
    house.deliver(callback)
    house.drain()
    assert house.corp.visible("lin") == ["Fourteen days."]


def test_a_question_to_the_bot_in_a_group_grows_and_lands_once(make: Any) -> None:
    house = make(model=ScriptedModel(["Fourteen **working** days."]), patience=0)
    callback = house.corp.bot_text("年假几天？", chat="wr1")
    stream = house.corp.ask(house.deliver, callback, chat="wr1")
    house.fetch(stream)
    assert house.corp.visible("wr1") == [""]
    assert stream.bubble.growing
    again = house.corp.ask(house.deliver, callback, chat="wr1")
    assert again is stream
    house.drain()
    house.fetch(stream)
    assert house.corp.visible("wr1") == ["Fourteen **working** days."]
    assert not stream.bubble.growing
    assert len(house.model.asked) == 1
    assert house.corp.calls == []


@pytest.mark.parametrize("at", ["after save", "after send"])
def test_a_bot_reply_is_decided_in_its_time_and_sent_after_it_is_seen_once(make: Any, at: str) -> None:
    """The time to fetch ends between two steps: what has been laid out is fetched, and not sent as well."""

    def late(name: str) -> None:
        if name == at:
            house.offset += OVER

    house = make(step=late)
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    house.drain()
    house.fetch(stream)
    assert house.corp.visible("wr1") == ["Fourteen days."]
    assert not stream.bubble.growing


@pytest.mark.parametrize(("at", "shown"), [("after save", 0), ("after send", 1)])
def test_a_bot_reply_redelivered_after_its_time_is_seen_once(make: Any, at: str, shown: int) -> None:
    died: list[str] = []

    def crash(name: str) -> None:
        if name == at and not died:
            died.append(name)
            raise Crash

    house = make(step=crash)
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    records = house.batch()
    with pytest.raises(Crash):
        house.run(records)
    house.fetch(stream)
    assert house.corp.visible("wr1") == (["Fourteen days."] if shown else [""])
    house.offset = OVER
    house.fetch(stream)
    for record in records:
        record["attributes"]["ApproximateReceiveCount"] = "2"
    house.run(records, house.another())
    seen = [text for text in house.corp.visible("wr1") if text]
    assert seen == ["Fourteen days."]


@pytest.mark.parametrize("step", ["after claim", "after model", "after save", "after send", "before delete"])
def test_a_bot_reply_lands_also_when_the_process_dies(make: Any, step: str) -> None:
    died: list[str] = []

    def crash(name: str) -> None:
        if name == step and not died:
            died.append(name)
            raise Crash

    house = make(step=crash)
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    records = house.batch()
    with pytest.raises(Crash):
        house.run(records)
    assert died == [step]
    house.offset = 1.0
    for record in records:  # the queue delivers it again
        record["attributes"]["ApproximateReceiveCount"] = "2"
    house.run(records, house.another())
    house.fetch(stream)
    assert house.corp.visible("wr1") == ["Fourteen days."]
    assert not stream.bubble.growing


def test_a_bot_reply_lands_also_when_the_process_dies_before_it_could_be_fetched(make: Any) -> None:
    def crash(name: str) -> None:
        if name == "after save":
            raise Crash

    house = make(step=crash)
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？"))
    records = house.batch()
    with pytest.raises(Crash):
        house.run(records)
    key = stream.id[:24]
    house.assistant.table.delete(f"S#wecom#{key}", "stream")  # it died between the turn and what WeCom fetches
    house.fetch(stream)
    assert stream.bubble.growing
    house._step = lambda name: None
    house.run(records, house.another())
    house.fetch(stream)
    assert house.corp.visible("lin") == ["Fourteen days."]
    assert len(house.model.asked) == 1


def test_an_answer_that_outlives_the_window_is_shown_once(make: Any) -> None:
    house = make()
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    house.fetch(stream)
    house.offset = 400
    house.fetch(stream)
    house.drain()
    house.fetch(stream)
    assert house.corp.visible("wr1") == ["", "Fourteen days."]


def test_an_answer_that_is_decided_just_after_the_window_is_shown_once(make: Any) -> None:
    house = make()
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    house.offset = 325

    def late() -> None:
        house.offset = 335

    house.model.between = late
    house.drain()
    house.fetch(stream)
    assert stream.bubble.growing
    house.offset = 356
    house.fetch(stream)
    assert house.corp.visible("wr1") == ["", "Fourteen days."]
    assert not stream.bubble.growing


def test_a_question_that_fails_for_good_is_apologised_for_in_the_growing_reply(make: Any) -> None:
    house = make(model=ScriptedModel([down()]))
    stream = house.corp.ask(house.deliver, house.corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    for _ in range(4):
        house.drain()
    house.fetch(stream)
    (shown,) = house.corp.visible("wr1")
    assert "出了点问题" in shown
    assert not stream.bubble.growing


def test_opening_the_chat_is_greeted_once(make: Any) -> None:
    house = make()
    house.corp.ask(house.deliver, house.corp.bot_callback(house.corp.bot_data("event", event={"eventtype": "enter_chat"})))
    house.drain()
    assert len(house.corp.visible("lin")) == 1


def test_forged_and_unencrypted_callbacks_queue_nothing(make: Any) -> None:
    house = make()
    good = house.corp.bot_text("hi")
    query = dict(good.query)
    for path, body, changed in [
        ("/wecom/bot", good.body, {"msg_signature": "0" * 40}),
        ("/wecom/bot", b'{"msgtype":"text","text":{"content":"hi"}}', {}),
        ("/wecom/app", good.body, {}),
        ("/wecom/nowhere", good.body, {}),
    ]:
        reply = house.post(path, body, query=urlencode(query | changed))
        assert reply.status == (404 if path.endswith("nowhere") else 401)
    assert house.batch() == []


@pytest.mark.parametrize(
    ("text", "answered"),
    [
        ("", "没有写问题"),
        ("长" * 25_000, "25000"),
        ("\ud800 lone \udfff surrogates", "Fourteen days."),
        ("مرحبا كم يوم إجازة؟ \u202eevil", "Fourteen days."),
        ("👩‍👩‍👧‍👦🏳️‍🌈", "Fourteen days."),
        ("C#tenant#wecom|x:1", "Fourteen days."),
    ],
)
def test_odd_texts_have_a_clear_answer(make: Any, text: str, answered: str) -> None:
    house = make()
    data = house.corp.bot_data("text", chat="wr1", text={"content": f"@{vendor.BOT_NAME} {text}"})
    stream = house.corp.ask(house.deliver, house.corp.bot_callback(data), chat="wr1")
    house.drain()
    house.fetch(stream)
    (shown,) = house.corp.visible("wr1")
    assert answered in shown


def test_ids_with_the_separators_of_our_keys_stay_apart(make: Any) -> None:
    house = make()
    chats = ["a#b", "a", "b#c", "x|y:z", "16:x", "%23"]
    streams = {}
    for chat in chats:
        question = house.corp.bot_text(f"in {chat}?", user="u#1", chat=chat)
        streams[chat] = house.corp.take(house.deliver(question), user=f"u of {chat}", chat=chat)
    house.drain()
    for chat in chats:
        house.fetch(streams[chat])
        assert house.corp.visible(chat) == ["Fourteen days."]
    assert len(house.model.asked) == len(chats)
    assert all(len(asked.messages) == 1 for asked in house.model.asked)


def test_a_body_over_the_limit_is_a_413(make: Any) -> None:
    house = make()
    huge = house.corp.bot_text("x" * 300_000)
    assert house.deliver(huge).status == 413
    assert house.batch() == []
