"""Answers that carry files: a plug-in or a tool attaches them; people see them once, whatever happens on the way."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import pytest

from assistant import api
from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.files import LARGEST, LINK_SECONDS
from assistant.messages import Attachment, Message, Reply
from assistant.plugins import BotPlugin, Permissions, PluginContext, Plugins, stand_in
from assistant.plugins.host import Host
from assistant.plugins.isolated import Manifest
from assistant.testing import Talk, make
from assistant.tools import tool
from tests.support.desks import DESKS
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel, client

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40
PDF = b"%PDF-1.7 the plan"
PLATFORMS = sorted(n for n in DESKS if n != "webchat")
PUBLIC = "https://assistant.example"


class Reporter(BotPlugin):
    """Answers with a picture and a report."""

    name = "reporter"
    permissions = Permissions(files=True)

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        if "report" not in message.text:
            return None
        ctx.attach("plan.png", PNG)
        ctx.attach("报告.pdf", PDF)
        return Reply(text="Here it is.", private="private" in message.text)

    @tool(writes=False)
    def draw(self, ctx: PluginContext, what: str) -> str:
        """Draws a picture of something, which the answer then shows.

        Args:
            what: The thing to draw.
        """
        ctx.attach(f"{what}.png", PNG)
        return "The picture is attached to your answer."


class Curious(BotPlugin):
    """Claims a file that it was never given."""

    name = "curious"
    path = ""

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        return Reply(text="Look.", attachments=(Attachment(name="a", content_type="text/plain", size=3, path=self.path),))


class Killed(BaseException):
    """The process ends here."""


class FilesHouse(House):
    """A house with the plug-ins of this test, which dies at the named steps."""

    def __init__(self, aws: Emulator, *plugins: BotPlugin, dies: str = "", **more: Any) -> None:
        self.plugins = plugins or (make(Reporter),)
        self.dies = dies
        super().__init__(aws, step=self._reached, public_url=PUBLIC, **more)

    def _reached(self, name: str) -> None:
        if name == self.dies:
            self.dies = ""
            raise Killed

    def _assistant(self, step: Callable[[str], None], patience: float, pages: Any) -> Assistant:
        made = super()._assistant(step, patience, pages)
        made._plugins = Plugins(self.plugins, table=made.table, metrics=self.metrics, files=lambda: made.files)
        return made

    def answer(self) -> None:
        """Runs the queue; where the process dies, another one goes on."""
        while records := self.batch():
            try:
                self.run(records)
            except Killed:
                sqs = client(self.aws, "sqs")
                for record in records:  # its invisibility ends
                    sqs.change_message_visibility(
                        QueueUrl=self.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
                    )
                self.assistant = self.another()

    @cached_property
    def _http(self) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
        return api.http_handler(api.create_app(self.assistant))

    def get(self, path: str, *, key: str = WEBCHAT_KEY) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers of a GET of the API, as API Gateway gives them to a browser."""
        raw, _, query = path.partition("?")
        event = {
            "version": "2.0",
            "rawPath": raw,
            "rawQueryString": query,
            "headers": {"authorization": f"Bearer {key}"} if key else {},
            "requestContext": {"http": {"method": "GET", "path": raw, "sourceIp": "1.1.1.1"}},
            "isBase64Encoded": False,
        }
        answer = self._http(event, None)
        body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
        return answer["statusCode"], body, {k.lower(): v for k, v in answer["headers"].items()}


def shown(desk: Any, house: House) -> list[str]:
    """What a person sees, files as [image] and [file]."""
    return [
        re.sub(r"^\[(?:image|file).*\.png.*|^\[image.*", "[image]", re.sub(r"^\[file(?!.*\.png).*", "[file]", t))
        for t in desk.seen(house)
    ]


def expected(name: str) -> list[str]:
    """A picture and a file below the words; in Teams, which takes no files, the file is a link."""
    if name == "teams":
        return ["Here it is.\n\n📎 [报告.pdf](LINK)", "[image]"]
    return ["Here it is.", "[image]", "[file]"]


def without_address(texts: list[str]) -> list[str]:
    return [re.sub(r"\(https://[^)]*\)", "(LINK)", text) for text in texts]


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_plugins_files_follow_its_words_on_every_platform(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = FilesHouse(aws, secrets=desk.secrets)
        desk.ask(house, "the report, please")
        house.answer()
        assert without_address(shown(desk, house)) == expected(name)
        desk.ask(house, "the report, please")  # the platform delivers it again
        house.answer()
        assert without_address(shown(desk, house)) == expected(name)
        assert not house.dead_letters()


@pytest.mark.parametrize("at", ["after model", "after save", "before file", "after file", "after send"])
@pytest.mark.parametrize("name", PLATFORMS)
def test_a_crash_at_any_step_shows_each_file_once(aws: Emulator, name: str, at: str) -> None:
    with DESKS[name]() as desk:
        house = FilesHouse(aws, secrets=desk.secrets, dies=at)
        desk.ask(house, "the report, please")
        house.answer()
        assert house.dies == ""
        assert without_address(shown(desk, house)) == expected(name)


UPLOADS = {
    "feishu": ("im/v1/messages", "image"),
    "dingtalk": ("robot/oToMessages", "media/upload"),
    "slack": ("files.completeUploadExternal", "files.getUploadURLExternal"),
    "wecom": ("message/send", "media/upload"),
}


@pytest.mark.parametrize(("name", "call"), [(n, c) for n, calls in sorted(UPLOADS.items()) for c in calls])
def test_a_file_whose_receipt_is_lost_is_shown_once(aws: Emulator, name: str, call: str) -> None:
    with DESKS[name]() as desk:
        house = FilesHouse(aws, secrets=desk.secrets)
        desk.vendor.fail(call, times=1, status=0, after=True)
        desk.ask(house, "the report, please")
        house.answer()
        assert shown(desk, house) == expected(name)


def test_a_tools_file_goes_out_with_the_models_answer(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        model = ScriptedModel([[("draw", {"what": "tree"})], "A tree for you."])
        house = FilesHouse(aws, secrets=desk.secrets, model=model)
        desk.ask(house, "Draw me a tree")
        house.answer()
        assert desk.seen(house) == ["A tree for you.", "[file tree.png]"]


def test_a_file_that_slack_may_not_be_sent_is_linked_and_the_administrator_told(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        desk.vendor.scopes.discard("files:write")
        house = FilesHouse(aws, secrets=desk.secrets, administrators="slack:U9")
        desk.ask(house, "the report, please")
        house.answer()
        seen = without_address(desk.seen(house))
        assert seen == ["Here it is.", "📎 [plan.png](LINK)", "📎 [报告.pdf](LINK)"]
        assert any("files:write" in text for text in desk.vendor.visible("D9"))


def test_a_private_file_never_reaches_the_group(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = FilesHouse(aws, secrets=desk.secrets)
        desk.vendor.clock = house.now
        desk.vendor.channel("C1", "U1")
        assert house.receive(desk.vendor.event(desk.vendor.mention("C1", "U1", "the private report"))).status == 200
        house.answer()
        assert desk.vendor.visible("C1") == []
        assert desk.vendor.visible("D1") == ["[file plan.png]", "[file 报告.pdf]"]


# --- the web chat, and links ---


def ask_page(house: FilesHouse, text: str = "the report", *, user: str = "ann") -> dict[str, Any]:
    house.say(text, conversation="c", user=user)
    house.answer()
    turn: dict[str, Any] = house.turns("c")[-1]
    return turn


def test_the_web_chat_offers_the_files_of_an_answer(aws: Emulator) -> None:
    house = FilesHouse(aws)
    turn = ask_page(house)
    assert [(f["name"], f["content_type"], f["size"]) for f in turn["files"]] == [
        ("plan.png", "image/png", len(PNG)),
        ("报告.pdf", "application/pdf", len(PDF)),
    ]
    status, body, headers = house.get(turn["files"][1]["url"])
    assert (status, body) == (200, PDF)
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["content-disposition"].endswith("filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


def test_a_file_of_the_web_chat_is_for_those_who_may_read_the_turn(aws: Emulator) -> None:
    house = FilesHouse(aws)
    url = ask_page(house)["files"][0]["url"]
    _, ann = house.assistant.access.add(name="ann", role="user", person="ann")
    _, bob = house.assistant.access.add(name="bob", role="user", person="bob")
    assert house.get(url, key=ann)[0] == 200
    assert house.get(url, key=bob)[0] == 403
    assert house.get(url, key="")[0] == 401
    assert house.get(url, key="wrong")[0] == 401
    assert house.get(url.replace("files/0", "files/7"))[0] == 404
    assert house.get(url.replace("/c/", "/other/"))[0] == 404
    assert house.get(url.partition("?")[0])[0] == 400
    assert house.get(url.partition("?")[0] + "?turn=~about")[0] == 404


def test_a_link_leads_to_the_file_for_a_week_and_to_nothing_else(aws: Emulator) -> None:
    with DESKS["teams"]() as desk:
        house = FilesHouse(aws, secrets=desk.secrets)
        desk.ask(house, "the report, please")
        house.answer()
        text = desk.seen(house)[0]
    link = text[text.index(PUBLIC) + len(PUBLIC) : text.rindex(")")]
    status, body, headers = house.get(link, key="")
    assert (status, body, headers["content-type"]) == (200, PDF, "application/pdf")
    assert headers["content-disposition"].startswith("attachment;")
    room, token, name = link.split("/")[-3:]
    for wrong in (
        f"/api/files/{room}/{token[:-1]}{'0' if token[-1] != '0' else '1'}/{name}",
        f"/api/files/{room}/{token}/other.pdf",
        f"/api/files/{room}/{token}/..%2f{name}",
        f"/api/files/../{token}/{name}",
        "/api/files/",
    ):
        assert house.get(wrong, key="")[0] == 404
    house.offset += LINK_SECONDS + 60
    assert house.get(link, key="")[0] == 404


def test_a_plugin_cannot_hand_out_a_file_that_it_did_not_make(aws: Emulator) -> None:
    bucket = FilesHouse(aws).assistant.bucket
    bucket.put("knowledge/secret.txt", b"secret")
    Curious.path = "knowledge/secret.txt"
    house = FilesHouse(aws, make(Curious))
    turn = ask_page(house)
    assert (turn["text"], turn["files"]) == ("Look.", [])


def test_erasing_a_person_erases_the_files_made_for_them(aws: Emulator) -> None:
    house = FilesHouse(aws)
    ask_page(house)
    bobs = ask_page(house, user="bob")["files"][0]["url"]
    assert len(list(house.assistant.bucket.list("turns/files/"))) == 4
    house.assistant.privacy.erase("webchat:ann")
    assert len(list(house.assistant.bucket.list("turns/files/"))) == 2
    assert house.get(bobs)[0] == 200


def test_a_file_that_is_erased_before_it_is_sent_is_left_out(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = FilesHouse(aws, secrets=desk.secrets, dies="after save")
        desk.ask(house, "the report, please")
        records = house.batch()
        with pytest.raises(Killed):
            house.run(records)
        for path in house.assistant.bucket.list("turns/files/"):
            house.assistant.bucket.delete(path)
        house.run(records)
        assert desk.seen(house) == ["Here it is."]


# --- the plug-in's side ---


def test_a_plugins_tests_see_its_files() -> None:
    talk = Talk([make(Reporter)])
    assert talk.say("report") == Reply(text="Here it is.")
    assert [(f.name, f.content_type) for f in talk.files] == [("plan.png", "image/png"), ("报告.pdf", "application/pdf")]


@pytest.mark.parametrize(
    ("permissions", "content", "says"),
    [
        (Permissions(), PNG, "declare Permissions(files=True)"),
        (Permissions(files=True), b"", "0 bytes"),
        (Permissions(files=True), b"0" * (LARGEST + 1), str(LARGEST)),
    ],
)
def test_what_may_not_be_attached_is_the_plugins_fault(
    aws: Emulator, caplog: pytest.LogCaptureFixture, permissions: Permissions, content: bytes, says: str
) -> None:
    class Greedy(BotPlugin):
        """Attaches what it may not."""

        name = "greedy"

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply:
            ctx.attach("a.bin", content)
            return Reply(text="never")

    Greedy.permissions = permissions
    house = FilesHouse(aws, make(Greedy))
    assert ask_page(house, "hello")["text"] == "Fourteen days."
    assert says in "".join(str(record.exc_info and record.exc_info[1]) for record in caplog.records)


def test_a_plugin_that_runs_elsewhere_attaches_files_through_our_doors(aws: Emulator) -> None:
    host = Host(Reporter)

    class Near:
        """Calls the plug-in's side."""

        def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
            """Its answer, as JSON carries it."""
            answer: dict[str, Any] = json.loads(json.dumps(host.answer(json.loads(json.dumps(request)))))
            return answer

    manifest = Manifest.of(host.answer({"method": "describe"})["value"])
    house = FilesHouse(aws, stand_in(manifest, Near(), {}))
    turn = ask_page(house)
    assert (turn["text"], [f["name"] for f in turn["files"]]) == ("Here it is.", ["plan.png", "报告.pdf"])
    assert house.get(turn["files"][0]["url"])[1] == PNG


def test_an_answer_carries_at_most_ten_files(aws: Emulator) -> None:
    class Many(BotPlugin):
        """Attaches until it may not any more."""

        name = "many"
        permissions = Permissions(files=True)

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply:
            for n in range(11):
                ctx.attach(f"{n}.txt", b"text")
            return Reply(text="never")

    turn = ask_page(FilesHouse(aws, make(Many)), "hello")
    assert (turn["text"], turn["files"]) == ("Fourteen days.", [])  # the model answers, without what a broken plug-in left


def test_the_stored_turn_names_the_files_and_not_their_bytes(aws: Emulator) -> None:
    house = FilesHouse(aws)
    ask_page(house)
    items = client(aws, "dynamodb").scan(TableName=house.settings.table_name)["Items"]
    [body] = [json.loads(i["body"]["S"]) for i in items if i["sk"]["S"].startswith("turn#")]
    assert [a["name"] for a in body["reply"]["attachments"]] == ["plan.png", "报告.pdf"]
