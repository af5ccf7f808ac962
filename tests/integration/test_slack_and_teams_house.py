"""Slack and Teams through the whole assistant: a signed webhook in, real queue, table and dialogue, what people see out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from tests.simulators.slack import BOT_USER, SlackSimulator
from tests.simulators.teams import TeamsSimulator
from tests.support.house import House, Pages, ScriptedModel

ANSWER = "Everyone has thirty days of leave."
GROUP = "19:x@thread.tacv2;messageid=170"


@pytest.fixture
def slack() -> Iterator[SlackSimulator]:
    with SlackSimulator() as simulator:
        yield simulator


@pytest.fixture
def teams() -> Iterator[TeamsSimulator]:
    with TeamsSimulator() as simulator:
        yield simulator


def until_seen(seen: list[str], look: Callable[[], list[str]]) -> Callable[[], None]:
    """Holds the model back until something of its answer is `seen`, at most five seconds."""

    def between() -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until and not seen:
            seen.extend(text for text in look() if text[:5] == ANSWER[:5])
            time.sleep(0.01)  # another thread shows it

    return between


def test_the_twin_events_of_one_mention_in_slack_get_one_reply_in_its_thread(aws: Emulator, slack: SlackSimulator) -> None:
    house = House(aws, secrets={"slack": slack.secrets}, model=ScriptedModel([ANSWER]))
    slack.channel("C1", "U1")
    mention = slack.mention("C1", "U1", "How much leave?")
    for event in (mention, {**mention, "type": "message", "channel_type": "channel"}, mention):
        assert house.receive(slack.event(event)).status == 200
    house.drain()
    (post,) = slack.posts("C1")
    assert (post.shown, post.thread_ts) == (f"<@U1>\n{ANSWER}", mention["ts"])
    assert len(house.model.asked) == 1


def test_a_reply_in_a_slack_thread_remembers_what_was_said_there(aws: Emulator, slack: SlackSimulator) -> None:
    house = House(aws, secrets={"slack": slack.secrets}, model=ScriptedModel([ANSWER, "Twenty."]))
    slack.channel("C1", "U1")
    first = slack.mention("C1", "U1", "How much leave?")
    house.receive(slack.event(first))
    house.drain()
    house.receive(slack.event(slack.mention("C1", "U1", "And for trainees?", thread_ts=first["ts"])))
    house.drain()
    assert [message.text for message in house.model.asked[1].messages] == ["How much leave?", ANSWER, "And for trainees?"]
    assert {post.thread_ts for post in slack.posts("C1")} == {first["ts"]}


def test_what_is_passed_on_in_slack_is_searched_and_read_with_the_question(aws: Emulator, slack: SlackSimulator) -> None:
    asked: list[str] = []

    class Heard(Pages):
        def search(self, question: str, **more: Any) -> Pages:
            asked.append(question)
            return self

    house = House(aws, secrets={"slack": slack.secrets}, model=ScriptedModel([ANSWER]), pages=Heard())
    shared = [{"is_share": True, "text": "Leave is " + "thirty days. " * 600}]
    house.receive(slack.event(slack.say("D1", "U1", "Is this so?", attachments=shared)))
    house.drain()
    (request,) = house.model.asked
    assert request.quoted.startswith("Leave is thirty days.")
    assert len(request.quoted) <= 4_000, "more is not read"
    assert request.messages[-1].text == "Is this so?"
    assert asked[0].startswith("Is this so?\nLeave is thirty days.")


def test_a_slack_answer_grows_in_its_thread_and_lands(aws: Emulator, slack: SlackSimulator) -> None:
    slack.channel("C1", "U1")
    seen: list[str] = []
    between = until_seen(seen, lambda: slack.visible("C1"))
    house = House(aws, secrets={"slack": slack.secrets}, model=ScriptedModel([ANSWER], between=between), patience=0)
    house.receive(slack.event(slack.mention("C1", "U1", "How much leave?")))
    house.drain()
    (post,) = slack.posts("C1")
    assert (post.shown, post.streaming) == (ANSWER, False)
    assert ANSWER.startswith(seen[0])
    assert len(seen[0]) < len(ANSWER)


def test_a_slack_command_is_answered_for_the_asker_alone(aws: Emulator, slack: SlackSimulator) -> None:
    house = House(aws, secrets={"slack": slack.secrets}, model=ScriptedModel([ANSWER]))
    assert house.receive(slack.command("C9", "U1", "/ask", "How much leave?")).status == 200
    house.drain()
    assert slack.visible("C9", user="U1") == [ANSWER]
    assert slack.visible("C9") == []


def test_the_bot_does_not_answer_itself_in_slack(aws: Emulator, slack: SlackSimulator) -> None:
    house = House(aws, secrets={"slack": slack.secrets})
    said = slack.say("D1", "U1", "Hi")
    house.receive(slack.event({**said, "user": BOT_USER, "bot_id": "B0BOT"}))
    assert house.drain() == 0


@pytest.mark.parametrize("conversation", ["a:1", GROUP])
def test_a_question_in_teams_is_answered_once_however_often_it_is_delivered(
    aws: Emulator, teams: TeamsSimulator, conversation: str
) -> None:
    house = House(aws, secrets={"teams": teams.secrets}, model=ScriptedModel([ANSWER]))
    activity = teams.activity(conversation, "How much leave?")
    for minutes in (0, 1, 6 * 60):
        house.offset = minutes * 60
        teams.clock = house.now
        assert house.receive(teams.webhook(activity)).status == 202
        house.drain()
    (shown,) = teams.visible(conversation)
    assert shown.removeprefix("<at>Ann &amp; Co</at> ") == ANSWER
    assert len(house.model.asked) == 1


def test_a_teams_answer_grows_and_lands(aws: Emulator, teams: TeamsSimulator) -> None:
    seen: list[str] = []
    teams.chat("a:1")
    between = until_seen(seen, lambda: teams.visible("a:1"))
    house = House(aws, secrets={"teams": teams.secrets}, model=ScriptedModel([ANSWER], between=between), patience=0)
    house.receive(teams.webhook(teams.activity("a:1", "How much leave?")))
    house.drain()
    (post,) = teams.posts("a:1")
    assert (post.text, post.edits) == (ANSWER, 0)
    assert ANSWER.startswith(seen[0])
    assert len(seen[0]) < len(ANSWER)


def test_a_teams_request_with_a_swapped_address_is_refused_and_queues_nothing(aws: Emulator, teams: TeamsSimulator) -> None:
    house = House(aws, secrets={"teams": teams.secrets})
    activity = teams.activity("a:1", "How much leave?", serviceUrl="https://evil.example/")
    assert house.receive(teams.webhook(activity)).status == 401
    assert house.receive(teams.webhook(teams.activity("a:1", "Hi"), token=teams.token(aud="another"))).status == 401
    assert house.drain() == 0


def test_without_microsofts_keys_teams_is_asked_to_deliver_again(aws: Emulator, teams: TeamsSimulator) -> None:
    house = House(aws, secrets={"teams": {**teams.secrets, "openid_metadata": "http://127.0.0.1:9/"}})
    assert house.receive(teams.webhook(teams.activity("a:1", "Hi"))).status == 503
    assert house.drain() == 0


def test_both_notices_of_a_new_teams_installation_get_one_welcome(aws: Emulator, teams: TeamsSimulator) -> None:
    house = House(aws, secrets={"teams": teams.secrets})
    added = teams.activity("a:1", kind="conversationUpdate", membersAdded=[{"id": "29:ann"}, {"id": teams_bot(teams)}])
    for activity in (added, teams.activity("a:1", kind="installationUpdate", action="add")):
        assert house.receive(teams.webhook(activity)).status == 202
    house.drain()
    assert len(teams.visible("a:1")) == 1


def teams_bot(teams: TeamsSimulator) -> str:
    return str(teams.activity("a:1")["recipient"]["id"])
