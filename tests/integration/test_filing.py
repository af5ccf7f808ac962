"""A file or a page sent in a chat goes into the knowledge: for those who may, after their yes, seen by whom the card says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.filing import asks_to_add, folder_in
from assistant.llm.builtin import BuiltinModel
from tests.simulators.slack import SlackSimulator
from tests.simulators.stages import FeishuStage
from tests.support.house import WEBCHAT_KEY, House

CANTEEN = b"# Canteen\n\n## Opening hours\n\nThe canteen opens at eleven and closes at two.\n"
SHITANG = "# 食堂\n\n## 开放时间\n\n食堂上午十一点开放，下午两点关闭。\n".encode()
EDITORS = "slack:U1,feishu:ou_ann,webchat:ann"


class Slack:
    """Ann at Slack."""

    def __init__(self, aws: Emulator, folder: Path, **settings: Any) -> None:
        self.vendor = SlackSimulator()
        self.vendor.start()
        settings = {"editors": EDITORS, "knowledge_folder": str(folder)} | settings
        self.house = House(aws, secrets={"slack": self.vendor.secrets}, model=BuiltinModel(), **settings)
        self.vendor.clock = self.house.now

    def send(self, name: str, content: bytes, text: str = "", *, user: str = "U1", channel: str = "D1") -> None:
        """Shares a file with a caption."""
        file = self.vendor.share(name, content, "text/markdown")
        self.hear(self.vendor.say(channel, user, text, subtype="file_share", files=[file]))

    def say(self, text: str, *, user: str = "U1", channel: str = "D1") -> None:
        self.hear(self.vendor.say(channel, user, text))

    def hear(self, event: Mapping[str, Any]) -> None:
        self.house.offset += 2  # Slack takes one post a second
        assert self.house.receive(self.vendor.event(event)).status == 200
        self.house.drain()

    def click(self, label: str, *, user: str = "U1", channel: str = "D1") -> None:
        """Presses the newest button with this label."""
        self.house.offset += 2
        for post in reversed(self.vendor.posts(channel)):
            for button in post.buttons:
                if button["text"]["text"] == label:
                    assert self.house.receive(self.vendor.click(channel, post.ts, user, button["action_id"])).status == 200
                    self.house.drain()
                    return
        raise AssertionError(f"no button {label!r}")

    def seen(self, channel: str = "D1") -> list[str]:
        return self.vendor.visible(channel)

    @property
    def documents(self) -> dict[str, Any]:
        """Everything that was added, by id."""
        found = self.house.assistant.knowledge_service.documents()
        return {d.id: d for d in found if d.folder != "assistant"}


@pytest.fixture
def slack(aws: Emulator, guides: Path) -> Iterator[Slack]:
    desk = Slack(aws, guides)
    yield desk
    desk.vendor.stop()


def test_a_file_with_a_caption_is_asked_about_then_added_and_answers_questions(slack: Slack) -> None:
    slack.send("canteen.md", CANTEEN, "Please add this to the knowledge")
    assert "Shall I add **canteen.md**" in slack.seen()[-1]
    assert "everyone" in slack.seen()[-1]
    assert slack.documents == {}
    slack.click("Add it")
    assert "is in the knowledge now" in slack.seen()[-1]
    assert slack.documents["canteen.md"].audience == {"everyone"}
    slack.say("When does the canteen open?")
    assert "opens at eleven" in slack.seen()[-1]
    assert "Canteen" in slack.seen()[-1]


def test_a_file_without_a_word_can_be_added_by_its_button_or_by_a_follow_up(slack: Slack) -> None:
    slack.send("canteen.md", CANTEEN)
    slack.click("Add to the knowledge")
    slack.click("Add it")
    assert "canteen.md" in slack.documents
    slack.send("food.md", CANTEEN + b"\nSoup costs two euros.\n")
    slack.say("add it to the knowledge base, in the hr/food folder")
    assert "hr/food" in slack.seen()[-1]
    slack.say("yes")
    assert "hr/food/food.md" in slack.documents


def test_all_files_of_a_message_go_in_and_one_that_cannot_is_named(slack: Slack) -> None:
    parts = [("canteen.md", CANTEEN), ("broken.pdf", b"%PDF-1.7 broken"), ("bus.md", b"# Bus\nIt leaves at nine.\n")]
    files = [slack.vendor.share(name, content, "text/markdown") for name, content in parts]
    slack.hear(slack.vendor.say("D1", "U1", "add these to the knowledge", subtype="file_share", files=files))
    assert "canteen.md, broken.pdf, bus.md" in slack.seen()[-1]
    slack.click("Add it")
    assert set(slack.documents) == {"canteen.md", "bus.md"}
    assert "broken.pdf: it is broken" in slack.seen()[-1]


def test_no_means_no(slack: Slack) -> None:
    slack.send("canteen.md", CANTEEN, "Add this file to the knowledge base.")
    slack.click("Leave it")
    assert "I have not added it" in slack.seen()[-1]
    slack.say("yes")
    assert slack.documents == {}


def test_somebody_who_is_no_editor_is_refused_clearly_and_nothing_is_added(slack: Slack) -> None:
    slack.send("canteen.md", CANTEEN, "Add this to the knowledge", user="U2", channel="D2")
    assert "Only editors may add" in slack.seen("D2")[-1]
    slack.send("canteen.md", CANTEEN, user="U2", channel="D2")
    assert "[Add to the knowledge]" not in slack.seen("D2")[-1]
    slack.say("add it to the knowledge", user="U2", channel="D2")
    assert "Only editors may add" in slack.seen("D2")[-1]
    assert slack.documents == {}


def test_nobody_else_can_say_yes_in_a_group(slack: Slack) -> None:
    slack.vendor.channel("C1", "U1", "U2")
    file = slack.vendor.share("canteen.md", CANTEEN, "text/markdown")
    event = slack.vendor.mention("C1", "U1", "add this to the knowledge")
    slack.hear({**event, "subtype": "file_share", "files": [file]})
    root = str(event["ts"])
    assert any("Shall I add" in p.shown for p in slack.vendor.posts("C1") if root)
    slack.click("Add it", user="U2", channel="C1")
    assert slack.documents == {}
    slack.click("Add it", user="U1", channel="C1")
    assert "canteen.md" in slack.documents


def test_a_card_is_dead_after_an_hour_and_a_second_click_adds_nothing_twice(slack: Slack) -> None:
    slack.send("canteen.md", CANTEEN, "add this to the knowledge")
    slack.house.offset += 3700
    slack.click("Add it")
    assert "too long ago" in slack.seen()[-1]
    assert slack.documents == {}


def test_the_folders_audience_holds_and_a_document_of_the_same_name_is_named_before_it_is_replaced(slack: Slack) -> None:
    slack.house.assistant.knowledge_service.set_audience("hr", frozenset({"department:hr"}))
    slack.send("canteen.md", CANTEEN, "add this to the knowledge, folder hr")
    assert "department hr" in slack.seen()[-1]
    slack.click("Add it")
    assert slack.documents["hr/canteen.md"].audience == {"department:hr"}
    slack.send("canteen.md", CANTEEN + b"\nClosed on Sundays.\n", "add this to the knowledge, folder hr")
    assert "would be replaced" in slack.seen()[-1]
    slack.say("When does the canteen open?")
    assert "eleven" not in slack.seen()[-1]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.pdf", b"%PDF-1.7 broken", "broken"), ("empty.md", b"", "empty"), ("tool.exe", b"MZ\x90\x00", "exe")],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(slack: Slack, name: str, content: bytes, reason: str) -> None:
    slack.send(name, content, "add this to the knowledge")
    slack.click("Add it")
    assert f"could not add **{name}**" in slack.seen()[-1]
    assert reason in slack.seen()[-1]
    assert slack.documents == {}


def test_a_private_address_is_not_taken_in_as_a_page(slack: Slack) -> None:
    slack.say("add http://169.254.169.254/latest/meta-data to the knowledge")
    slack.click("Add it")
    assert "could not add" in slack.seen()[-1]
    assert slack.documents == {}


def test_half_an_address_is_answered_like_any_page_that_cannot_be_read(slack: Slack) -> None:
    slack.say("add https://[half to the knowledge")
    slack.click("Add it")
    assert "could not add" in slack.seen()[-1]


def test_without_a_file_it_is_asked_for(slack: Slack) -> None:
    slack.say("add this to the knowledge")
    assert "Send me the file" in slack.seen()[-1]


def test_while_another_writer_is_at_work_the_yes_waits_and_is_not_lost(slack: Slack) -> None:
    slack.send("canteen.md", CANTEEN, "add this to the knowledge")
    desk = slack.house.assistant.knowledge_versions._desk
    desk.take("somebody else")
    post = next(p for p in reversed(slack.vendor.posts("D1")) if p.buttons)
    yes = next(b for b in post.buttons if b["text"]["text"] == "Add it")
    slack.house.receive(slack.vendor.click("D1", post.ts, "U1", yes["action_id"]))
    assert slack.house.run(slack.house.batch())
    assert slack.documents == {}
    desk.release("somebody else")
    slack.house.drain()
    assert "canteen.md" in slack.documents
    assert "is in the knowledge now" in slack.seen()[-1]


# --- Feishu, in Chinese ------------------------------------------------------------------------


def test_feishu_files_a_document_in_chinese_for_the_senders_department(aws: Emulator, guides: Path) -> None:
    stage = FeishuStage()
    stage.start()
    try:
        stage.vendor.departments = {"ou_ann": ["od-canteen"]}
        stage.vendor.above = {"od-canteen": ["od-services"]}
        stage.vendor.scopes |= {"contact:contact.base:readonly", "contact:user.department:readonly"}
        house = House(aws, secrets={"feishu": stage.secrets}, model=BuiltinModel(), editors=EDITORS, knowledge_folder=str(guides))
        room = stage.rooms[0]
        stage.send_file(room, "食堂.md", SHITANG, house.receive)
        house.drain()
        stage.say(room, "把这个文件加入知识库", house.receive)
        house.drain()
        card = stage.bubbles(room)[-1]
        assert "要把 **食堂.md** 加入知识库吗" in card.text
        assert "部门 feishu:od-canteen" in card.text
        yes = next(b["key"] for b in card.buttons if b["text"] == "加入")
        stage.click(room, card.id, yes, house.receive)
        house.drain()
        assert "已加入知识库" in stage.bubbles(room)[-1].text
        [added] = [d for d in house.assistant.knowledge_service.documents() if d.id == "食堂.md"]
        assert added.audience == {"department:feishu:od-canteen"}
        stage.say(room, "食堂几点开放？", house.receive)
        house.drain()
        assert "十一点" in stage.bubbles(room)[-1].text
    finally:
        stage.stop()


# --- the web chat ------------------------------------------------------------------------------


def webchat(house: House, **message: Any) -> str:
    headers = {"authorization": f"Bearer {WEBCHAT_KEY}"}
    reply = house.post("/webchat/messages", {"conversation": "c", "user": "ann", **message}, headers=headers)
    assert reply.status == 202, reply
    house.drain()
    return str(house.turns()[-1]["text"])


def put(house: House, name: str, content: bytes, *, conversation: str = "c") -> str:
    from fastapi.testclient import TestClient

    from assistant.api import create_app

    with TestClient(create_app(house.assistant)) as client:
        answer = client.put(
            f"/api/conversations/{conversation}/files",
            params={"name": name},
            content=content,
            headers={"authorization": f"Bearer {WEBCHAT_KEY}"},
        )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["file"])


@pytest.mark.parametrize(
    ("caption", "asks", "done", "question", "says", "name", "content"),
    [
        ("Add this to the knowledge", "Shall I add", "is in the knowledge now", "When does the canteen open?", "eleven",
         "canteen.md", CANTEEN),
        ("请把这份文件添加到知识库", "加入知识库吗", "已加入知识库", "食堂几点开放？", "十一点", "食堂.md", SHITANG),
    ],
)  # fmt: skip
def test_the_web_chat_files_what_was_uploaded_in_both_languages(
    aws: Emulator, guides: Path, caption: str, asks: str, done: str, question: str, says: str, name: str, content: bytes
) -> None:
    house = House(aws, model=BuiltinModel(), editors=EDITORS, knowledge_folder=str(guides))
    key = put(house, name, content)
    assert asks in webchat(house, text=caption, file=key)
    [yes, _] = house.turns()[-1]["buttons"]
    assert done in webchat(house, action={"key": yes["key"], "value": yes["value"]})
    assert says in webchat(house, text=question)


def test_a_file_of_another_conversation_cannot_be_named(aws: Emulator, guides: Path) -> None:
    house = House(aws, model=BuiltinModel(), editors=EDITORS, knowledge_folder=str(guides))
    theirs = put(house, "secret.md", CANTEEN, conversation="theirs")
    assert "eleven" not in webchat(house, text="What does it say?", file=theirs)
    webchat(house, text="Add this to the knowledge", file=theirs)
    [yes, _] = house.turns()[-1]["buttons"]
    assert "could not add" in webchat(house, action={"key": yes["key"], "value": yes["value"]})


# --- what counts as such a wish ----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "add this to the knowledge",
        "Please add this file to the knowledge base.",
        "Could you put it into our knowledge base, folder hr/policies?",
        "save the document in the company knowledge",
        "Add https://example.com/a to the knowledge",
        "把这个文件加入知识库",
        "请将该文档添加到公司的知识库",
        "帮我放进知识库",
        "这份资料录入知识库，文件夹：人事",
        "能把它存入知识库吗？",
    ],
)
def test_a_wish_is_heard(text: str) -> None:
    assert asks_to_add(text)


@pytest.mark.parametrize(
    "text",
    [
        "How do I add a file to the knowledge?",
        "Can I add things to the knowledge?",
        "What is in the knowledge base?",
        "add a meeting tomorrow at nine",
        "怎么把文件加入知识库？",
        "如何添加到知识库",
        "谁可以把资料放进知识库",
        "知识库里有什么",
        "Who put this in the knowledge base?",
    ],
)
def test_a_question_about_it_is_none(text: str) -> None:
    assert not asks_to_add(text)


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("add this to the knowledge, folder hr/policies", "hr/policies"),
        ("add this to the knowledge base in the hr folder", "hr"),
        ("把它放进知识库，文件夹：人事/制度", "人事/制度"),
        ("put it in the knowledge under hr/../../etc", "hr/etc"),
        ("add this to the knowledge", ""),
        ("加入知识库", ""),
    ],
)
def test_the_folder_is_read(text: str, folder: str) -> None:
    assert folder_in(text) == folder
