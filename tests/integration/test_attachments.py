"""A file sent with a question is fetched with the platform's token, read, and answered from."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from assistant.api import create_app
from assistant.dev.emulator import Emulator
from assistant.llm.builtin import BuiltinModel
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

PAGE = (
    b"# Canteen\n\n## Opening hours\n\nThe canteen opens at eleven and closes at two.\n\n## Prices\n\nA meal costs six euros.\n"
)


def shared(slack: SlackSimulator, name: str, content: bytes, text: str, mimetype: str = "text/markdown") -> dict[str, object]:
    """The event of a file that Ann shares."""
    return slack.say("D1", "U1", text, subtype="file_share", files=[slack.share(name, content, mimetype)])


def answers(house: House, slack: SlackSimulator, event: dict[str, object]) -> list[str]:
    house.receive(slack.event(event))
    house.drain()
    return slack.visible("D1")


def test_a_question_is_answered_from_the_file_that_came_with_it(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, model=BuiltinModel())
        [said] = answers(house, slack, shared(slack, "canteen.md", PAGE, "When does the canteen open?"))
        assert "opens at eleven" in said
        assert "six euros" not in said


PRICES = b"# Prices\n\n## Parking\n\nA parking place costs forty euros a month.\n"


def test_all_files_of_a_message_are_read(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, model=BuiltinModel())
        files = [slack.share("canteen.md", PAGE, "text/markdown"), slack.share("prices.md", PRICES, "text/markdown")]
        [said] = answers(
            house, slack, slack.say("D1", "U1", "What does a parking place cost?", subtype="file_share", files=files)
        )
        assert "forty euros" in said
        [_, said] = answers(house, slack, slack.say("D1", "U1", "", subtype="file_share", files=files))
        assert "canteen.md, prices.md" in said
        assert "Opening hours" in said
        assert "Parking" in said


def test_a_file_that_cannot_be_read_spoils_no_other(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, model=BuiltinModel())
        files = [slack.share("tool.exe", b"MZ\x90\x00", "application/x-elf"), slack.share("p.md", PRICES, "text/markdown")]
        [said] = answers(house, slack, slack.say("D1", "U1", "What does parking cost?", subtype="file_share", files=files))
        assert "forty euros" in said
        assert "tool.exe" in said


def test_of_more_files_than_ten_the_first_ten_are_read(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets})
        files = [slack.share(f"{n}.md", PRICES, "text/markdown") for n in range(12)]
        [said] = answers(house, slack, slack.say("D1", "U1", "", subtype="file_share", files=files))
        assert "9.md" in said
        assert said.count("only 10 files") == 2


def test_all_files_of_a_teams_message_are_read(aws: Emulator) -> None:
    with TeamsSimulator() as teams:
        house = House(aws, secrets={"teams": teams.secrets}, model=BuiltinModel())
        files = [
            {
                "contentType": "application/vnd.microsoft.teams.file.download.info",
                "name": name,
                "content": {"downloadUrl": teams.shared(name, content, needs_token=False), "uniqueId": name, "fileType": "md"},
            }
            for name, content in (("canteen.md", PAGE), ("prices.md", PRICES))
        ]
        house.receive(teams.webhook({**teams.activity("a:1", "What does a parking place cost?"), "attachments": files}))
        house.drain()
        [said] = teams.visible("a:1")
        assert "forty euros" in said


def test_a_file_without_a_question_is_outlined(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, model=ScriptedModel())
        [said] = answers(house, slack, shared(slack, "canteen.md", PAGE, ""))
        assert "canteen.md" in said
        assert "Opening hours" in said
        assert house.model.asked == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.pdf", b"%PDF-1.7 broken", "a.pdf"), ("empty.md", b"", "empty.md"), ("tool.exe", b"MZ\x90\x00", "tool.exe")],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(aws: Emulator, name: str, content: bytes, reason: str) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets})
        [said] = answers(house, slack, shared(slack, name, content, "What does it say?", "application/octet-stream"))
        assert "could not read" in said
        assert reason in said


def test_a_missing_permission_to_read_files_is_said_to_the_administrator(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, administrators="slack:UADMIN")
        slack.scopes.discard("files:read")
        [said] = answers(house, slack, shared(slack, "canteen.md", PAGE, "When does it open?"))
        assert "could not read" in said
        [admin] = [c for c in slack.channels.values() if "UADMIN" in c.members]
        assert "files:read" in slack.visible(admin.id)[0]


def test_the_pages_files_are_read_and_stand_at_their_question(aws: Emulator) -> None:
    house = House(aws, model=BuiltinModel())
    door = TestClient(create_app(house.assistant), headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
    place = "/api/conversations/c1"
    put = [door.put(f"{place}/files?name={n}", content=c).json()["file"] for n, c in (("canteen.md", PAGE), ("p.md", PRICES))]
    asked = {"user": "ann", "id": "m1", "text": "What does a parking place cost?", "files": put}
    assert door.post(f"{place}/messages", json=asked).status_code == 202
    assert door.post(f"{place}/messages", json={"user": "ann", "id": "m2", "file": put[0]}).status_code == 202
    house.drain()
    both, one = door.get(f"{place}/turns").json()["turns"]
    assert "forty euros" in both["text"]
    assert (both["question"], both["attached"]) == ("What does a parking place cost?", ["canteen.md", "p.md"])
    assert (one["question"], one["attached"]) == ("", ["canteen.md"])
    assert "Opening hours" in one["text"]


@pytest.mark.parametrize("files", ["a/b.md", ["a/b.md"] * 11, [7], [""], [{"key": "a"}]])
def test_files_of_another_shape_are_refused_with_the_field(aws: Emulator, files: object) -> None:
    house = House(aws, model=ScriptedModel())
    door = TestClient(create_app(house.assistant), headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
    answer = door.post("/api/conversations/c1/messages", json={"user": "ann", "text": "What is it?", "files": files})
    assert answer.status_code == 400
    assert "'files'" in answer.text
