"""Under an answer with sources two buttons ask what it was worth; a click counts for the passages that it cites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.knowledge.service import Upload
from assistant.llm.builtin import BuiltinModel
from assistant.observability import DISLIKED, LIKED
from tests.integration.test_listeners import Team, vendor_of
from tests.simulators.stages import STAGES, Stage
from tests.support.house import WEBCHAT_KEY, House

CANTEEN = b"# Canteen\n\n## When does the canteen open?\n\nThe canteen opens at eleven and closes at two.\n"
SHITANG = "# 食堂\n\n## 食堂几点开放？\n\n食堂上午十一点开放，下午两点关闭。\n".encode()
EN, ZH = "When does the canteen open?", "食堂几点开放？"
BUTTONS = ("dingtalk", "feishu", "slack", "teams")


class Desk:
    """A chat with Ann on one platform, over two pages of knowledge."""

    def __init__(self, name: str, aws: Emulator, folder: Path) -> None:
        self.stage: Stage = STAGES[name]()
        self.stage.start()
        self.house = House(
            aws, secrets={name: self.stage.secrets}, model=BuiltinModel(), knowledge_folder=str(folder), history_turns=2
        )
        vendor_of(self.stage).clock = self.house.now
        pour(self.house)
        self.room = next(r for r in self.stage.rooms if not r.group)

    def say(self, text: str) -> None:
        self.house.offset += 2
        self.stage.say(self.room, text, self.house.receive)
        self.house.drain()

    def labels(self) -> list[str]:
        return [b["text"] for b in self.stage.bubbles(self.room)[-1].buttons]

    def click(self, label: str, bubble: int = -1) -> None:
        self.house.offset += 2
        shown = self.stage.bubbles(self.room)[bubble]
        key = next(b["key"] for b in shown.buttons if b["text"] == label)
        assert self.stage.click(self.room, shown.id, key, self.house.receive) in (200, 202)
        self.house.drain()


def pour(house: House) -> None:
    service = house.assistant.knowledge_service
    service.add([Upload(name="canteen.md", content=CANTEEN), Upload(name="食堂.md", content=SHITANG)])


def judged(house: House) -> dict[str, tuple[int, int]]:
    """Good and bad of each passage, as the editors' list has it."""
    service = house.assistant.knowledge_service
    assert service.gaps
    return {f["passage"]: (f["good"], f["bad"]) for f in service.gaps.judged()}


@pytest.fixture
def desk(request: pytest.FixtureRequest, aws: Emulator, guides: Path) -> Iterator[Desk]:
    made = Desk(request.param, aws, guides)
    yield made
    made.stage.stop()


@pytest.mark.parametrize("desk", BUTTONS, indirect=True)
def test_a_click_counts_for_the_cited_passage_and_the_card_shows_it(desk: Desk) -> None:
    desk.say(EN)
    assert desk.labels()[-2:] == ["Helpful", "Not helpful"]
    before = len(desk.stage.bubbles(desk.room))
    desk.click("Not helpful")
    assert judged(desk.house) == {"canteen.md#0": (0, 1)}
    assert desk.house.metrics.total(DISLIKED) == 1
    assert "✓ Not helpful" in desk.stage.bubbles(desk.room)[-1].text
    assert len(desk.stage.bubbles(desk.room)) == before
    desk.say(ZH)
    assert desk.labels()[-2:] == ["有帮助", "没帮助"]
    desk.click("有帮助")
    assert judged(desk.house)["食堂.md#0"] == (1, 0)
    assert desk.house.metrics.total(LIKED) == 1


@pytest.mark.parametrize("desk", ["slack"], indirect=True)
def test_the_metric_names_the_ring(desk: Desk) -> None:
    desk.say(EN)
    desk.click("Not helpful")
    assert ("AnswersDisliked", "everyone") in {(name, ring) for _, name, _, ring in desk.house.metrics.timed}


@pytest.mark.parametrize("desk", ["slack"], indirect=True)
def test_words_without_a_source_are_not_judged(desk: Desk) -> None:
    desk.say("zxcvb qwerty?")
    assert desk.labels() == []


@pytest.mark.parametrize("desk", ["slack"], indirect=True)
def test_an_opinion_on_an_answer_long_ago_still_counts(desk: Desk) -> None:
    desk.say(EN)
    post = desk.stage.bubbles(desk.room)[-1]
    for n in range(4):
        desk.say(f"hello {n}")
    bubble = next(n for n, b in enumerate(desk.stage.bubbles(desk.room)) if b.id == post.id)
    desk.click("Helpful", bubble)
    assert judged(desk.house) == {"canteen.md#0": (1, 0)}


def test_wecoms_own_thumbs_count(aws: Emulator, guides: Path) -> None:
    team = Team("wecom", aws, guides)
    try:
        pour(team.house)
        stream = team.vendor.ask(team.house.receive, team.vendor.bot_text(EN, chat=team.room.id), chat=team.room.id)
        team.house.drain()
        while team.vendor.poll(team.house.receive, stream):
            pass
        shown = team.vendor.chats[team.room.id][-1]
        assert "eleven" in shown.text
        assert shown.buttons == []
        event = {"eventtype": "feedback_event", "feedback_event": {"id": stream.feedback, "type": 2, "content": "old"}}
        callback = team.vendor.bot_callback(team.vendor.bot_data("event", "lin", team.room.id, event=event))
        assert team.house.receive(callback).status == 200
        team.house.drain()
        assert judged(team.house) == {"canteen.md#0": (0, 1)}
        assert team.house.metrics.total(DISLIKED) == 1
    finally:
        team.stage.stop()


# --- the web chat ------------------------------------------------------------------------------


@pytest.fixture
def house(aws: Emulator, guides: Path) -> House:
    house = House(aws, model=BuiltinModel(), knowledge_folder=str(guides))
    pour(house)
    return house


def post(house: House, user: str = "ann", conversation: str = "c", **message: Any) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {WEBCHAT_KEY}"}
    body = json.dumps({"conversation": conversation, "user": user, **message})
    assert house.post("/webchat/messages", body, headers=headers).status == 202
    house.drain()
    turn: dict[str, Any] = house.turns(conversation)[-1]
    return turn


def test_the_web_chat_thanks_and_counts_a_person_once_and_the_last_word_holds(house: House) -> None:
    good, bad = post(house, text=EN)["buttons"]
    for button, expected in ((bad, (0, 1)), (bad, (0, 1)), (good, (1, 0)), (good, (1, 0))):
        said = post(house, action={"key": button["key"], "value": button["value"]})
        assert said["text"] == "Thank you, noted."
        assert judged(house) == {"canteen.md#0": expected}
    post(house, user="bo", action={"key": bad["key"], "value": bad["value"]})
    assert judged(house) == {"canteen.md#0": (1, 1)}


@pytest.mark.parametrize("value", ["~about", "turn#0", "", None, {"turn": 1}, "turn#" + "9" * 5000])
def test_a_made_up_click_counts_nothing(house: House, value: Any) -> None:
    post(house, text=EN)
    post(house, action={"key": "opinion.bad", "value": value})
    assert judged(house) == {}


def test_a_click_reaches_no_other_conversation(house: House) -> None:
    good, _ = post(house, text=EN)["buttons"]
    post(house, conversation="other", action={"key": good["key"], "value": good["value"]})
    assert judged(house) == {}


def test_editors_see_the_worst_first_over_http(house: House) -> None:
    from assistant.knowledge.service import answer

    _, bad = post(house, text=EN)["buttons"]
    post(house, action={"key": bad["key"], "value": bad["value"]})
    status, said = answer(house.assistant.knowledge_service, "GET", "gaps", {}, b"")
    assert status == 200
    assert said["feedback"] == [{"passage": "canteen.md#0", "good": 0, "bad": 1}]


def test_an_opinion_is_erased_with_the_turn(house: House) -> None:
    turn = post(house, text=EN)
    post(house, action={"key": turn["buttons"][1]["key"], "value": turn["buttons"][1]["value"]})
    house.assistant.privacy.erase("webchat:ann", tenant=house.settings.tenant)
    stored = house.assistant.client("dynamodb").scan(TableName=house.settings.table_name)["Items"]
    assert "opinion_" not in json.dumps(stored, default=str)
