"""One app in several Slack workspaces: installed by an administrator's link, heard and answered in each with its own token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assistant.api import create_app
from assistant.dev.emulator import Emulator
from tests.simulators.slack import BOT_USER, CLIENT, CLIENT_SECRET, TEAM, TOKEN, SlackSimulator, Team
from tests.support.browser import Browser, Shown, changed, link_in
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

PUBLIC = "https://assistant.example"
CALLBACK = f"{PUBLIC}/oauth/slack-install/callback"
NORTH = Team("T1NORTH", "U1NORTHBOT", "B1NORTH", "xoxb-north", "North")
SOUTH = Team("T2SOUTH", "U2SOUTHBOT", "B2SOUTH", "xoxb-south", "South")


@pytest.fixture
def slack() -> Iterator[SlackSimulator]:
    with SlackSimulator() as simulator:
        simulator.redirects = {CALLBACK}
        yield simulator


@pytest.fixture
def house(aws: Emulator, slack: SlackSimulator) -> House:
    return house_at(aws, slack)


def house_at(aws: Emulator, slack: SlackSimulator, **secret: str) -> House:
    own = {**slack.secrets, "client_id": CLIENT, "client_secret": CLIENT_SECRET, **secret}
    own = {name: value for name, value in own.items() if value}
    made = House(aws, secrets={"slack": own}, public_url=PUBLIC, model=ScriptedModel(["Fourteen days."]))
    slack.clock = made.now
    return made


def administration(house: House) -> TestClient:
    headers = {"authorization": f"Bearer {WEBCHAT_KEY}"}
    return TestClient(create_app(house.assistant), base_url=PUBLIC, headers=headers)


def link(house: House) -> str:
    with administration(house) as http:
        answer = http.post("/api/workspaces")
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["link"]
    return found


def install(house: House, slack: SlackSimulator, team: Team | None) -> Shown:
    slack.chooses = team
    return Browser(house.assistant).follow(link(house))


def workspaces(house: House) -> list[dict[str, Any]]:
    with administration(house) as http:
        found: list[dict[str, Any]] = http.get("/api/workspaces").json()["workspaces"]
    return found


def asked_in(slack: SlackSimulator, channel: str, team: Team | None, text: str = "How much leave?") -> Any:
    bot = team.bot_user if team else BOT_USER
    event = slack.say(channel, "U9", f"<@{bot}> {text}", team=team.id if team else TEAM)
    return slack.event({**event, "type": "app_mention"}, team=team)


# --- the story -------------------------------------------------------------------------------------


def test_an_installed_workspace_is_answered_with_its_own_token(house: House, slack: SlackSimulator) -> None:
    shown = install(house, slack, NORTH)
    assert (shown.status, "installed in North" in shown.text) == (200, True), shown.text
    slack.channel("C1", "U9")
    assert house.receive(asked_in(slack, "C1", NORTH)).status == 200
    house.drain()
    assert slack.visible("C1") == ["<@U9>\nFourteen days."]
    assert slack.posted_with == [NORTH.token]
    assert house.model.asked[0].messages[-1].text == "How much leave?", "its bot's mention is taken out"


def test_workspaces_side_by_side_each_hear_their_own_bot(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    install(house, slack, SOUTH)
    for channel, team in (("C1", NORTH), ("C2", SOUTH), ("C3", None)):
        slack.channel(channel, "U9")
        assert house.receive(asked_in(slack, channel, team)).status == 200
        house.drain()
    assert slack.posted_with == [NORTH.token, SOUTH.token, TOKEN]
    assert [w["team"] for w in workspaces(house)] == [NORTH.id, SOUTH.id]


def test_the_bot_does_not_answer_itself_in_a_further_workspace(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    said = slack.say("D1", "U9", "Hi")
    assert house.receive(slack.event({**said, "user": NORTH.bot_user}, team=NORTH)).status == 200
    assert house.drain() == 0


def test_a_command_and_a_button_of_a_further_workspace_are_taken(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    form = slack.command("D9", "U9", "/ask", "How much leave?")
    command = slack.signed("commands", form.body.replace(TEAM.encode(), NORTH.id.encode()), form.headers["content-type"])
    assert house.receive(command).status == 200
    (taken,) = house.assistant.intake.receive(command).messages
    assert (taken.tenant, taken.address["workspace"]) == (NORTH.id, NORTH.id)
    payload = {"type": "block_actions", "user": {"id": "U9", "team_id": NORTH.id}, "team": {"id": NORTH.id}}
    click = slack.interaction(
        {**payload, "channel": {"id": "C1"}, "trigger_id": "t1", "actions": [{"action_id": "go", "action_ts": "1.1"}]}
    )
    (taken,) = house.assistant.intake.receive(click).messages
    assert taken.address["workspace"] == NORTH.id


def test_somebody_of_another_company_in_a_shared_channel_is_answered_by_the_own_workspace(
    house: House, slack: SlackSimulator
) -> None:
    slack.channel("C1", "U9")
    event = asked_in(slack, "C1", None)
    shared = slack.signed("events", event.body.replace(b'"team_id": "T0COMPANY"', b'"team_id": "T8GUEST"', 1), "application/json")
    assert house.receive(shared).status == 200
    house.drain()
    assert slack.posted_with == [TOKEN]


def test_a_button_in_a_shared_channel_belongs_to_whose_bot_wrote_it(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    action = {"action_id": "go", "action_ts": "1.1"}
    for author, presser, expected in ((NORTH.id, TEAM, NORTH.id), (TEAM, NORTH.id, ""), (TEAM, "T8GUEST", "")):
        payload = {"type": "block_actions", "user": {"id": "U9", "team_id": presser}, "team": {"id": presser}}
        message = {"ts": "1.1", "bot_id": "B1", "team": author}
        click = slack.interaction({**payload, "channel": {"id": "C1"}, "message": message, "actions": [action]})
        (taken,) = house.assistant.intake.receive(click).messages
        assert taken.address.get("workspace", "") == expected


# --- what it costs ---------------------------------------------------------------------------------


def test_the_own_workspace_is_never_looked_up_and_another_once(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    slack.channel("C1", "U9")
    house.assistant = house.another()
    house.recorder.calls.clear()
    house.receive(asked_in(slack, "C1", None))
    assert [c.operation for c in house.recorder.calls if c.service != "sqs"] == []
    house.receive(asked_in(slack, "C1", NORTH))
    house.receive(asked_in(slack, "C1", NORTH, "And now?"))
    assert [c.operation for c in house.recorder.calls if c.service != "sqs"] == ["get_item"], "no KMS, and once"


def test_without_a_team_in_the_secret_nothing_is_looked_up(aws: Emulator, slack: SlackSimulator) -> None:
    house = house_at(aws, slack, team_id="")
    slack.channel("C1", "U9")
    assert house.receive(asked_in(slack, "C1", NORTH)).status == 200
    assert [c.operation for c in house.recorder.calls if c.service == "dynamodb"] == []
    with administration(house) as http:
        refused = http.post("/api/workspaces")
    assert (refused.status_code, "'team_id'" in refused.text) == (400, True), refused.text


# --- what is not installed, or not any more -----------------------------------------------------------


def test_a_workspace_that_is_not_installed_is_refused_with_the_reason(house: House, slack: SlackSimulator) -> None:
    answer = house.receive(asked_in(slack, "C1", NORTH))
    assert (answer.status, "not installed in workspace T1NORTH" in answer.body) == (403, True)
    assert house.drain() == 0


@pytest.mark.parametrize(
    "event", [{"type": "app_uninstalled"}, {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [NORTH.bot_user]}}]
)
def test_a_removed_app_is_forgotten_with_its_token(house: House, slack: SlackSimulator, event: dict[str, Any]) -> None:
    install(house, slack, NORTH)
    house.offset += 10
    assert house.receive(slack.event(event, team=NORTH)).status == 200
    house.drain()
    assert workspaces(house) == []
    house.assistant = house.another()
    assert house.receive(asked_in(slack, "C1", NORTH)).status == 403
    assert house.receive(slack.event(event, team=NORTH)).status == 200, "told again: nothing to do"
    assert house.drain() == 0


def test_a_late_word_of_a_removal_does_not_end_a_newer_installation(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    gone = slack.event({"type": "app_uninstalled"}, team=NORTH)
    house.receive(gone)
    house.offset += 30
    install(house, slack, NORTH)
    house.drain()
    assert [w["team"] for w in workspaces(house)] == [NORTH.id]


@pytest.mark.parametrize("event", [{"type": "app_uninstalled"}, {"type": "tokens_revoked", "tokens": {"bot": [BOT_USER]}}])
def test_the_secrets_own_workspace_is_left_alone_by_a_removal(house: House, slack: SlackSimulator, event: dict[str, Any]) -> None:
    assert house.receive(slack.event(event)).status == 200
    assert house.drain() == 0


def test_a_persons_revoked_token_leaves_the_installation(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    house.offset += 10
    house.receive(slack.event({"type": "tokens_revoked", "tokens": {"oauth": ["U9"]}}, team=NORTH))
    house.drain()
    assert [w["team"] for w in workspaces(house)] == [NORTH.id]


def test_an_administrator_takes_a_workspace_out(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    with administration(house) as http:
        assert http.delete(f"/api/workspaces/{NORTH.id}").json() == {"team": NORTH.id, "told": True}
        assert http.delete(f"/api/workspaces/{NORTH.id}").status_code == 400
    assert slack.teams == {}
    assert workspaces(house) == []


def test_what_waits_for_a_removed_workspace_is_said_nowhere_else(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    slack.channel("C1", "U9")
    house.receive(asked_in(slack, "C1", NORTH))
    house.assistant.workspaces.delete(NORTH.id)
    house.drain()
    assert slack.posted_with == []


# --- the way through the browser -------------------------------------------------------------------------


def begun(house: House, slack: SlackSimulator, team: Team = NORTH) -> tuple[Browser, str]:
    """A browser, and the address that Slack sends it back to."""
    slack.chooses = team
    browser = Browser(house.assistant)
    return browser, browser.at_provider(browser.get(link(house)).location)


def test_only_an_administrator_gets_a_link(house: House) -> None:
    with TestClient(create_app(house.assistant), base_url=PUBLIC) as http:
        assert http.post("/api/workspaces").status_code == 401
    assert Browser(house.assistant).get(f"{PUBLIC}/oauth/slack-install/start?ticket={'0' * 32}").status == 404
    assert Browser(house.assistant).get(f"{PUBLIC}/oauth/slack-install/start").status == 404


def test_a_replayed_callback_installs_nothing_twice(house: House, slack: SlackSimulator) -> None:
    browser, back = begun(house, slack)
    assert browser.get(back).status == 200
    exchanges = len([c for c in slack.calls if c.path == "/api/oauth.v2.access"])
    assert browser.get(back).status == 400
    assert len([c for c in slack.calls if c.path == "/api/oauth.v2.access"]) == exchanges == 1


def test_a_link_installs_one_workspace_and_no_more(house: House, slack: SlackSimulator) -> None:
    slack.chooses = NORTH
    once = link(house)
    browser, other = Browser(house.assistant), Browser(house.assistant)
    first, second = (b.at_provider(b.get(once).location) for b in (browser, other))
    assert browser.get(first).status == 200
    assert other.get(second).status == 400
    assert Browser(house.assistant).get(once).status == 404


@pytest.mark.parametrize("state", [None, "", "0" * 128, "zz"])
def test_a_wrong_state_is_refused(house: House, slack: SlackSimulator, state: str | None) -> None:
    browser, back = begun(house, slack)
    assert browser.get(changed(back, state=state)).status == 400
    assert workspaces(house) == []


def test_a_state_is_bound_to_its_browser_and_its_ten_minutes(house: House, slack: SlackSimulator) -> None:
    browser, back = begun(house, slack)
    assert Browser(house.assistant).get(back).status == 403
    house.offset += 700
    late = browser.get(back)
    assert (late.status, link_in(late.text).startswith(f"{PUBLIC}/oauth/slack-install/start?")) == (400, True)
    house.offset += 3600
    assert browser.get(link_in(late.text)).status == 404, "the link is older than an hour"
    assert workspaces(house) == []


def test_who_cancels_at_slack_may_try_again(house: House, slack: SlackSimulator) -> None:
    shown = install(house, slack, None)
    assert "did not allow" in shown.text
    slack.chooses = NORTH
    assert "installed in North" in Browser(house.assistant).follow(link_in(shown.text)).text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"app_id": "A0OTHER"}, "another app"),
        ({"team": {"id": TEAM, "name": "Company"}}, "served already"),
        ({"refresh_token": "xoxe-1", "expires_in": 43200}, "token rotation"),
        ({"token_type": "user"}, "did not accept"),
        ({"team": None}, "did not accept"),
        ({"bot_user_id": "U0STRANGER"}, "did not accept"),
    ],
)
def test_an_installation_that_is_not_ours_is_not_kept(
    house: House, slack: SlackSimulator, answer: dict[str, Any], words: str
) -> None:
    slack.answers = answer
    shown = install(house, slack, NORTH)
    assert (shown.status in (400, 403), words in shown.text) == (True, True), shown.text
    assert workspaces(house) == []


def test_a_wrong_secret_of_our_own_stores_nothing(aws: Emulator, slack: SlackSimulator) -> None:
    house = house_at(aws, slack, client_secret="another")
    assert install(house, slack, NORTH).status == 400
    assert workspaces(house) == []


def test_a_whole_organisation_is_served_by_one_installation(house: House, slack: SlackSimulator) -> None:
    slack.answers = {"team": None, "enterprise": {"id": "E1", "name": "Group"}, "is_enterprise_install": True}
    assert "installed in Group" in install(house, slack, NORTH).text
    slack.channel("C1", "U9")
    event = asked_in(slack, "C1", NORTH)
    body = event.body.replace(b'"is_enterprise_install": false', b'"is_enterprise_install": true, "enterprise_id": "E1"')
    assert house.receive(slack.signed("events", body, "application/json")).status == 200
    house.drain()
    assert slack.posted_with == [NORTH.token]


# --- at rest, and in the doctor ------------------------------------------------------------------------


def test_the_token_is_sealed_for_its_workspace(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    install(house, slack, SOUTH)
    table = house.assistant.table
    north, south = (table.get("WORKSPACES#default#slack", t.id) for t in (NORTH, SOUTH))
    assert north
    assert south
    assert NORTH.token not in str(north)
    table.put({**north, "key": south["key"], "sealed": south["sealed"]})
    slack.channel("C1", "U9")
    other = house.assistant = house.another()
    workspace = other.workspaces.of([NORTH.id])
    assert workspace
    with pytest.raises(Exception, match="does not open"):
        other.workspaces.token(workspace)


def test_the_doctor_tells_where_the_bot_is_let_in(house: House, slack: SlackSimulator) -> None:
    install(house, slack, NORTH)
    install(house, slack, SOUTH)
    del slack.teams[SOUTH.token]
    found = {f.check: f for f in house.assistant.platform("slack").diagnose()}
    assert (found["workspaces"].state, "North (T1NORTH)" in found["workspaces"].detail) == ("ok", True)
    assert found[f"workspace {SOUTH.id}"].state == "fault"
