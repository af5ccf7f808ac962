"""The page of simulated chats: what is written there reaches the assistant as a signed webhook, and the answer is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from assistant.dev.emulator import Emulator
from assistant.messages import Button, HttpReply, Message, Reply, Webhook
from tests.simulators.base import Answer, Call, Simulator, route
from tests.simulators.page import Page, serve
from tests.simulators.stages import STAGES, Stage, WeComStage
from tests.support.house import House


@pytest.fixture(params=list(STAGES))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = STAGES[request.param]()
    made.start()
    yield made
    made.stop()


def test_what_is_written_in_any_room_is_answered_there(aws: Emulator, stage: Stage) -> None:
    house = House(aws, secrets={stage.name: stage.secrets})
    for room in stage.rooms:
        assert stage.say(room, f"How long, {room.title}?", house.receive) in (200, 202)
        house.drain()
        _wait_until_still(stage)
        said, answered = stage.bubbles(room)
        assert (bool(said.who), bool(answered.who)) == (True, False)
        assert "How long" in said.text
        assert "Fourteen days." in answered.text
        assert not answered.growing


def test_a_button_in_any_room_can_be_clicked(aws: Emulator, stage: Stage) -> None:
    heard: list[Message] = []
    house = House(aws, secrets={stage.name: stage.secrets})

    def deliver(webhook: Webhook) -> HttpReply:
        platform = house.assistant.platform(stage.name)
        received = platform.receive(webhook)
        heard.extend(received.messages)
        return received.reply

    room = stage.rooms[0]
    stage.say(room, "Leave?", deliver)
    card = Reply(text="Approve it?", title="Leave", buttons=(Button(text="Approve", key="ok", value={"id": 7}),))
    house.assistant.platform(stage.name).send(card, to=heard[0], key="k" * 32)
    bubble = next(b for b in stage.bubbles(room) if b.buttons)
    (button,) = bubble.buttons
    assert button["text"] == "Approve"
    assert stage.click(room, bubble.id, button["key"], deliver) == 200
    clicked = next(m for m in heard if m.kind == "card_action")
    assert (clicked.action_key, clicked.conversation) == ("ok", heard[0].conversation)


def _wait_until_still(stage: Stage) -> None:
    """WeCom's side fetches in a thread of its own."""
    until = time.monotonic() + 5
    while any(b.growing for r in stage.rooms for b in stage.bubbles(r)) and time.monotonic() < until:
        time.sleep(0.02)  # another thread's HTTP call: nothing to pass a clock to


# --- the page ----------------------------------------------------------------------------------


class Assistant(Simulator):
    """Takes webhooks."""

    status = 200

    @route("POST", r"/webhook/wecom/(app|bot)")
    def webhook(self, call: Call) -> Answer:
        return Answer(self.status, "")


@pytest.fixture
def page() -> Iterator[tuple[Page, Assistant, WeComStage]]:
    wecom = WeComStage()
    wecom.start()
    with Assistant() as assistant:
        made = serve([wecom], assistant.base, 0)
        yield made, assistant, wecom
        made.stop()
    wecom.stop()


def act(page: Page, data: Any, kind: str = "application/json") -> httpx.Response:
    return httpx.post(f"{page.url}act", content=json.dumps(data), headers={"content-type": kind})


def test_the_page_loads_nothing_from_elsewhere(page: tuple[Page, Assistant, WeComStage]) -> None:
    answer = httpx.get(page[0].url)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert "http://" not in answer.text.replace("http://127", "")
    assert httpx.get(f"{page[0].url}nowhere").status_code == 404


def test_writing_on_the_page_posts_a_signed_webhook_and_shows_both(page: tuple[Page, Assistant, WeComStage]) -> None:
    shown, assistant, _ = page
    assert act(shown, {"stage": "wecom", "room": "wr_team", "text": "hello"}).json() == {"status": 200}
    (call,) = assistant.calls
    assert call.path == "/webhook/wecom/bot"
    assert set(call.query) == {"msg_signature", "timestamp", "nonce"}
    rooms = httpx.get(f"{shown.url}state").json()["stages"][0]["rooms"]
    assert [b["text"] for b in rooms[1]["bubbles"]] == ["hello"]
    assistant.status = 401
    assert act(shown, {"stage": "wecom", "room": "lin", "text": "hello"}).json() == {"status": 401}


def test_a_still_page_brings_what_is_shown_along(page: tuple[Page, Assistant, WeComStage]) -> None:
    act(page[0], {"stage": "wecom", "room": "lin", "text": 'a "quoted" </main><script>'})
    answer = httpx.get(f"{page[0].url}?still").text
    assert "&quot;quoted" in answer.replace("\\&quot;", "&quot;")
    assert "</main><script>" not in answer.partition("</main>")[0]
    assert answer.count("<script>") == 1


@pytest.mark.parametrize(
    "data",
    [
        {"stage": "irc", "room": "lin", "text": "x"},
        {"stage": "wecom", "room": "nowhere", "text": "x"},
        {"stage": "wecom", "room": "lin", "bubble": "9", "key": "k"},
        {"stage": "wecom"},
        [],
        "x",
    ],
)
def test_what_no_room_offers_is_refused(page: tuple[Page, Assistant, WeComStage], data: Any) -> None:
    assert act(page[0], data).status_code == 400
    assert page[1].calls == []


def test_another_sites_form_cannot_write(page: tuple[Page, Assistant, WeComStage]) -> None:
    good = {"stage": "wecom", "room": "lin", "text": "x"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert act(page[0], good, kind).status_code == 415


def test_the_page_is_told_at_once_when_something_new_stands_in_a_chat(page: tuple[Page, Assistant, WeComStage]) -> None:
    with httpx.stream("GET", f"{page[0].url}events", timeout=5) as events:
        lines = (line for line in events.iter_lines() if line.startswith("data: "))
        first = json.loads(next(lines)[6:])
        assert first["stages"][0]["rooms"][0]["bubbles"] == []
        act(page[0], {"stage": "wecom", "room": "lin", "text": "new"})
        assert json.loads(next(lines)[6:])["stages"][0]["rooms"][0]["bubbles"][0]["text"] == "new"


def test_an_assistant_that_is_not_there_is_said_to_be_gone(page: tuple[Page, Assistant, WeComStage]) -> None:
    page[1].stop()
    assert act(page[0], {"stage": "wecom", "room": "wang", "text": "x"}).json() == {"status": 0}
