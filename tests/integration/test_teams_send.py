"""Teams from door to door: an activity with the connector's token in, what people see in the simulated chats out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from assistant.cache import Cache
from assistant.errors import (
    ContentRefused,
    MessageRecalled,
    MissingPermission,
    NotInChat,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.messages import Button, File, Message, Reply, Source
from assistant.platforms import StreamState
from assistant.platforms.teams import Teams
from tests.simulators.teams import TeamsSimulator

NOW = 1_800_000_000.0
KEY = "turn-1"
GROUP = "19:x@thread.tacv2;messageid=170"


class Clock:
    """A clock that tests set; sleeping moves it."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vendor(clock: Clock) -> Iterator[TeamsSimulator]:
    with TeamsSimulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
def teams(vendor: TeamsSimulator, clock: Clock) -> Teams:
    return Teams(vendor.secrets, clock=clock, sleep=clock.sleep)


def heard(teams: Teams, vendor: TeamsSimulator, activity: dict[str, Any]) -> Message:
    (message,) = teams.receive(vendor.webhook(activity)).messages
    return message


@pytest.fixture
def direct(teams: Teams, vendor: TeamsSimulator) -> Message:
    return heard(teams, vendor, vendor.activity("a:1", "How many days?"))


@pytest.fixture
def asked(teams: Teams, vendor: TeamsSimulator) -> Message:
    return heard(teams, vendor, vendor.activity(GROUP, "How many days?"))


def count(vendor: TeamsSimulator, line: str) -> int:
    return sum(line in f"{call.method} {call.path}" for call in vendor.calls)


# --- messages ---


def test_a_direct_question_is_answered_as_made_by_a_machine(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    sent = teams.send(Reply(text="**Fourteen** days."), to=direct, key=KEY)
    (post,) = vendor.posts("a:1")
    assert (post.text, post.reply_to, sent.ids) == ("**Fourteen** days.", direct.message_id, (post.id,))
    assert post.entities[0]["additionalType"] == ["AIGeneratedContent"]


def test_a_question_in_a_channel_is_answered_in_its_thread_to_the_asker(
    teams: Teams, vendor: TeamsSimulator, asked: Message
) -> None:
    teams.send(Reply(text="Fourteen."), to=asked, key=KEY)
    (post,) = vendor.posts(GROUP)
    assert post.text == "<at>Ann &amp; Co</at> Fourteen."
    assert post.entities[1]["mentioned"] == {"id": "29:ann", "name": "Ann & Co"}


def test_markdown_is_written_as_teams_shows_it(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    text = "# Leave\n\n| day | n |\n|--|--|\n| Mon | 1 |\n\none\ntwo <at>Bob</at> ![plan](https://h.example/p.png)"
    teams.send(
        Reply(text=text, title="About", sources=(Source(number=1, title="Handbook", url="https://h.example"),)),
        to=direct,
        key=KEY,
    )
    (shown,) = vendor.visible("a:1")
    assert shown.startswith("**About**\n\n# Leave\n\n```\nday  n\n---  -\nMon  1\n```\n\none  \ntwo &lt;at&gt;Bob&lt;/at&gt; ")
    assert "[plan](https://h.example/p.png)" in shown
    assert "[Handbook](https://h.example)" in shown


def test_a_long_answer_comes_in_numbered_parts(teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "words 😀 < than. " * 20 for n in range(120))
    sent = teams.send(Reply(text=text, buttons=(Button(text="Good", key="good"),)), to=direct, key=KEY)
    shown = vendor.visible("a:1")
    assert len(shown) == len(sent.ids) > 1
    assert all(part.startswith(f"({n}/{len(shown)})") for n, part in enumerate(shown, 1))
    assert all(len(part.encode("utf-16-le")) <= 80 * 1024 for part in shown)
    assert [bool(post.buttons) for post in vendor.posts("a:1")] == [False] * (len(shown) - 1) + [True]


def test_letters_that_are_none_are_sent_as_unknown_ones(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    teams.send(Reply(text="a \ud83d b \x00 \u202e אב"), to=direct, key=KEY)
    assert vendor.visible("a:1")[0].startswith("a ? b")


def test_nothing_to_say_posts_nothing(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    assert teams.send(Reply(text=" "), to=direct, key=KEY).ids == ()
    assert vendor.visible("a:1") == []


def test_a_private_reply_comes_in_the_chat_with_the_asker(teams: Teams, vendor: TeamsSimulator, asked: Message) -> None:
    for key in ("a", "b"):
        teams.send(Reply(text="Your salary", private=True), to=asked, key=key)
    assert vendor.visible(GROUP) == []
    assert vendor.visible("a:29:ann") == ["Your salary", "Your salary"]
    assert count(vendor, "POST /emea/v3/conversations") - count(vendor, "/activities") == 1


# --- cards ---


@pytest.mark.parametrize("execute", [True, False])
def test_a_click_comes_back_and_replaces_the_card(teams: Teams, vendor: TeamsSimulator, asked: Message, execute: bool) -> None:
    buttons = (Button(text="Yes", key="leave", value={"days": 3}, style="primary"), Button(text="No", key="stop", style="danger"))
    sent = teams.send(Reply(text="Take three days?", buttons=buttons), to=asked, key=KEY)
    yes = heard(teams, vendor, vendor.click(GROUP, sent.ids[0], "Yes", execute=execute))
    no = heard(teams, vendor, vendor.click(GROUP, sent.ids[0], "No", execute=execute))
    assert (yes.action_key, yes.action_value, no.action_key, no.action_value) == ("leave", {"days": 3}, "stop", None)
    assert (yes.message_id, yes.topic) == (sent.ids[0], asked.topic)
    teams.update_card(yes, Reply(text="Taken."))
    (post,) = vendor.posts(GROUP)
    assert (post.text, post.buttons) == ("Taken.", [])


# --- what can be promised, and what cannot ---


def test_a_post_whose_answer_is_lost_is_held_to_be_seen(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    vendor.fail("activities", status=0, after=True)
    teams.send(Reply(text="Fourteen."), to=direct, key=KEY)
    teams.send(Reply(text="Fourteen."), to=direct, key=KEY, attempt=2)
    assert vendor.visible("a:1") == ["Fourteen."]


def test_a_post_that_was_refused_is_posted_by_the_next_try(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    vendor.fail("activities", status=403, body={"error": {"code": "ForbiddenOperationException", "message": "no"}})
    with pytest.raises(SendError):
        teams.send(Reply(text="Fourteen."), to=direct, key=KEY)
    teams.send(Reply(text="Fourteen."), to=direct, key=KEY, attempt=2)
    assert vendor.visible("a:1") == ["Fourteen."]


def test_parts_that_were_posted_are_not_posted_again(vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    teams = Teams(vendor.secrets, cache=Cache(clock=clock), clock=clock, sleep=clock.sleep)
    reply = Reply(text="word " * 10_000)
    first = teams.send(reply, to=direct, key=KEY)
    teams.send(reply, to=direct, key=KEY, attempt=2)
    assert len(vendor.visible("a:1")) == len(first.ids) > 1


# --- errors ---


def test_a_rate_limit_is_waited_out_as_long_as_teams_asks(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    for n in range(10):
        teams.send(Reply(text=f"{n}"), to=direct, key=f"{n}")
    assert vendor.visible("a:1") == [f"{n}" for n in range(10)]
    assert clock.slept
    assert all(1 <= slept < 2 for slept in clock.slept)
    vendor.fail("activities", status=429, headers={"Retry-After": "60"})
    with pytest.raises(RateLimited) as limited:
        teams.send(Reply(text="y"), to=direct, key="turn-2")
    assert limited.value.retry_after == 60


def test_after_a_refusal_nothing_more_is_asked_until_the_time_that_teams_named(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    state = grown(teams, direct, clock, "Four")
    before = count(vendor, "/activities")
    vendor.fail("activities", status=429, headers={"Retry-After": "5"})
    for text in ("Fourt", "Fourtee", "Fourteen"):
        state = teams.update_stream(state, text, to=direct)
        clock.now += 1.5
    assert count(vendor, "/activities") == before + 1
    clock.now += 1
    state = teams.update_stream(state, "Fourteen", to=direct)
    assert vendor.visible("a:1") == ["Fourteen"]


def test_a_token_is_fetched_once_and_again_before_its_end(vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    shared = Cache(clock=clock)
    for n in range(4):
        Teams(vendor.secrets, cache=shared, clock=clock, sleep=clock.sleep).send(Reply(text="x"), to=direct, key=f"{n}")
    assert count(vendor, "oauth2") == 1
    clock.now += 3600 - 299
    Teams(vendor.secrets, cache=shared, clock=clock, sleep=clock.sleep).send(Reply(text="x"), to=direct, key="late")
    assert count(vendor, "oauth2") == 2


def test_a_token_that_teams_takes_no_more_is_renewed_once(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    teams.send(Reply(text="a"), to=direct, key="a")
    vendor.expire_tokens()
    teams.send(Reply(text="b"), to=direct, key="b")
    assert vendor.visible("a:1") == ["a", "b"]
    vendor.fail("activities", times=9, status=401)
    with pytest.raises(TokenDead, match="app_password"):
        teams.send(Reply(text="c"), to=direct, key="c")
    assert count(vendor, "oauth2") == 3


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("app_password", "wrong", "AADSTS7000215: the client secret is wrong"),
        ("app_id", "unknown", "AADSTS700016: there is no such app"),
        ("tenant_id", "unknown", "AADSTS90002: there is no such tenant"),
        ("tenant_id", "", "'tenant_id' is not configured"),
    ],
)
def test_wrong_credentials_are_named(
    vendor: TeamsSimulator, direct: Message, clock: Clock, field: str, value: str, hint: str
) -> None:
    teams = Teams({**vendor.secrets, field: value}, clock=clock, sleep=clock.sleep)
    with pytest.raises(TokenDead, match=hint):
        teams.send(Reply(text="x"), to=direct, key=KEY)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "BotNotInConversationRoster", NotInChat), (403, "ConversationBlockedByUser", NotInChat),
        (403, "BotDisabledByAdmin", NotInChat), (403, "ForbiddenOperationException", MissingPermission),
        (404, "ConversationNotFound", NotInChat), (404, "ActivityNotFoundInConversation", MessageRecalled),
        (412, "PreconditionFailed", VendorUnavailable), (502, "", VendorUnavailable), (504, "", VendorUnavailable),
        (413, "MessageSizeTooBig", ContentRefused), (400, "BadArgument", ContentRefused), (400, "BadSyntax", ContentRefused),
        (429, "Throttled", RateLimited), (418, "Teapot", SendError),
    ],
)  # fmt: skip
def test_every_error_of_teams_has_a_kind(
    teams: Teams, vendor: TeamsSimulator, direct: Message, status: int, code: str, kind: type[SendError]
) -> None:
    vendor.fail("activities", times=9, status=status, body={"error": {"code": code, "message": ""}})
    with pytest.raises(kind) as failed:
        teams.send(Reply(text="x"), to=direct, key=KEY)
    assert type(failed.value) is kind
    assert failed.value.code == (code or str(status))
    assert "bot-token" not in str(failed.value)


def test_a_busy_connector_is_asked_again(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    for status in (412, 502, 504):
        vendor.fail("activities", status=status)
        teams.send(Reply(text=f"{status}"), to=direct, key=f"{status}")
    assert vendor.visible("a:1") == ["412", "502", "504"]


def test_the_token_goes_to_microsoft_alone(vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    teams = Teams({k: v for k, v in vendor.secrets.items() if k != "api_base"}, clock=clock, sleep=clock.sleep)
    before = len(vendor.calls)
    with pytest.raises(NotInChat, match="no service address of Microsoft's"):
        teams.send(Reply(text="x"), to=direct, key=KEY)
    assert len(vendor.calls) == before


# --- growing ---


def opened(teams: Teams, to: Message) -> StreamState:
    state = teams.open_stream(to=to, key=KEY)
    assert state is not None
    return state


def grown(teams: Teams, to: Message, clock: Clock, *texts: str) -> StreamState:
    state = opened(teams, to)
    for text in texts:
        state = teams.update_stream(state, text, to=to)
        clock.now += teams.stream_interval
    return state


def test_an_answer_grows_and_lands(teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    state = opened(teams, direct)
    assert vendor.visible("a:1") == ["Working on it…"]
    for text in ("Four", "Fourteen", "Fourteen days"):
        state = teams.update_stream(state, text, to=direct)
        clock.now += teams.stream_interval
        assert vendor.visible("a:1") == [text]
    buttons = (Button(text="More", key="more"),)
    sent = teams.finish_stream(state, Reply(text="Fourteen days.", buttons=buttons), to=direct, key=KEY)
    (post,) = vendor.posts("a:1")
    assert (post.text, len(post.buttons), post.edits, sent.ids) == ("Fourteen days.", 1, 0, (post.id,))
    assert post.entities[0]["additionalType"] == ["AIGeneratedContent"]


def test_a_chinese_question_is_worked_on_in_chinese(teams: Teams, vendor: TeamsSimulator) -> None:
    opened(teams, heard(teams, vendor, vendor.activity("a:1", "几天假?")))
    assert vendor.visible("a:1") == ["正在处理…"]


def test_a_group_sees_typing_and_then_one_message(teams: Teams, vendor: TeamsSimulator, asked: Message) -> None:
    assert teams.open_stream(to=asked, key=KEY) is None
    assert vendor.chats[GROUP].typing == 1
    assert vendor.visible(GROUP) == []


def test_a_finished_stream_says_the_reply_with_its_sources_and_tables(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    state = grown(teams, direct, clock, "See")
    source = Source(number=1, title="Handbook", url="https://h.example")
    teams.finish_stream(state, Reply(text="See [1]", sources=(source,)), to=direct, key=KEY)
    assert "[Handbook](https://h.example)" in vendor.visible("a:1")[0]
    state = grown(teams, direct, clock, "| a |\n|---|\n")
    teams.finish_stream(state, Reply(text="| a |\n|---|\n| 1 |"), to=direct, key="turn-2")
    assert vendor.visible("a:1")[1] == "```\na\n-\n1\n```"


def test_a_stream_over_two_minutes_lands_by_an_edit(teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    state = grown(teams, direct, clock, "Four")
    clock.now += 115
    state = teams.update_stream(state, "Fourteen", to=direct)
    teams.finish_stream(state, Reply(text="Fourteen days."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Fourteen days."]


def test_a_stream_that_teams_ended_lands_by_an_edit(teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    state = grown(teams, direct, clock, "Four")
    vendor.close_streams()
    state = teams.update_stream(state, "Fourteen", to=direct)
    assert state.data == {"over": "exceeded"}
    teams.finish_stream(state, Reply(text="Fourteen days."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Fourteen days."]


def test_a_chat_without_streams_gets_one_message(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    vendor.chats["a:1"].streaming = False
    assert teams.open_stream(to=direct, key=KEY) is None


def test_a_second_stream_beside_an_open_one_is_not_tried(teams: Teams, direct: Message) -> None:
    opened(teams, direct)
    assert teams.open_stream(to=direct, key=KEY, attempt=2) is None


@pytest.mark.parametrize("status", [0, 502, 429])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 5))
def test_whatever_answer_is_lost_one_whole_reply_stands_there(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock, step: int, after: bool, status: int
) -> None:
    state = opened(teams, direct)
    for number, text in enumerate(("Four", "Fourteen", "Fourteen days"), 1):
        if step == number:
            vendor.fail("activities", status=status, after=after and status != 429)
        state = teams.update_stream(state, text, to=direct)
        clock.now += teams.stream_interval
    if step == 4:
        vendor.fail("activities", status=status, after=after and status != 429)
    teams.finish_stream(state, Reply(text="Fourteen days."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Fourteen days."]
    teams.finish_stream(state, Reply(text="Fourteen days."), to=direct, key=KEY, attempt=2)
    assert vendor.visible("a:1") == ["Fourteen days."]


def test_a_model_that_takes_words_back_is_put_right_at_the_end(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    state = grown(teams, direct, clock, "Fifteen", "Fourteen")
    teams.finish_stream(state, Reply(text="Fourteen."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Fourteen."]


def test_a_long_answer_lands_in_parts(teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock) -> None:
    text = "word " * 8000
    state = grown(teams, direct, clock, text[:1000], text[:15_000], text[:30_000])
    teams.finish_stream(state, Reply(text=text), to=direct, key=KEY)
    shown = vendor.visible("a:1")
    assert [part[:5] for part in shown] == ["(1/3)", "(2/3)", "(3/3)"]
    assert sum(part.count("word") for part in shown) == 8000


def test_a_person_who_presses_stop_keeps_what_is_there(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    state = grown(teams, direct, clock, "Four")
    vendor.press_stop("a:1")
    teams.finish_stream(state, Reply(text="Fourteen."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Four"]
    state = teams.update_stream(state, "Fourteen", to=direct)
    teams.finish_stream(state, Reply(text="Fourteen."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Four"]


def test_a_recalled_question_takes_the_growing_answer_with_it(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    state = grown(teams, direct, clock, "Four")
    teams.finish_stream(state, Reply(text=""), to=direct, key=KEY)
    assert vendor.visible("a:1") == []


def test_a_growing_answer_that_is_gone_is_posted_anew(
    teams: Teams, vendor: TeamsSimulator, direct: Message, clock: Clock
) -> None:
    state = grown(teams, direct, clock, "Four")
    vendor.chats["a:1"].streams.clear()
    teams.finish_stream(state, Reply(text="Fourteen."), to=direct, key=KEY)
    assert vendor.visible("a:1") == ["Fourteen."]


# --- files ---

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def with_file(teams: Teams, vendor: TeamsSimulator, *, needs_token: bool) -> Message:
    url = vendor.shared("plan.pdf", PNG, needs_token=needs_token)
    if needs_token:
        attachment: dict[str, Any] = {"contentType": "image/png", "contentUrl": url, "name": "plan.pdf"}
    else:
        kind = "application/vnd.microsoft.teams.file.download.info"
        attachment = {"contentType": kind, "content": {"downloadUrl": url, "fileType": "pdf"}, "name": "plan.pdf"}
    return heard(teams, vendor, vendor.activity("a:1", "", attachments=[attachment]))


@pytest.mark.parametrize("needs_token", [True, False])
def test_a_file_is_fetched_with_a_token_only_where_one_belongs(teams: Teams, vendor: TeamsSimulator, needs_token: bool) -> None:
    message = with_file(teams, vendor, needs_token=needs_token)
    assert teams.fetch(message, limit=1000) == File(name="plan.pdf", content=PNG, content_type="image/png")
    with pytest.raises(ContentRefused, match="larger than 50 bytes"):
        teams.fetch(message, limit=50)
    vendor.files.clear()
    with pytest.raises(MessageRecalled):
        teams.fetch(message, limit=1000)


@pytest.mark.parametrize(
    "url",
    ["http://x.sharepoint.com/f", "https://169.254.169.254/f", "https://localhost/f", "https://[::1]/f", "https://db.internal/f"],
)
def test_a_file_address_inside_our_network_is_not_followed(
    teams: Teams, vendor: TeamsSimulator, direct: Message, url: str
) -> None:
    with pytest.raises(ContentRefused):
        teams.fetch(replace(direct, kind="file", file_key=url), limit=1000)
    with pytest.raises(ContentRefused):
        teams.fetch(replace(direct, kind="image", file_key=url, address={**direct.address, "file_needs_token": "1"}), limit=1000)


def test_a_small_picture_is_shown_and_anything_else_is_declined(teams: Teams, vendor: TeamsSimulator, direct: Message) -> None:
    teams.upload(File(name="p.png", content=PNG, content_type="image/png"), to=direct, key=KEY)
    (post,) = vendor.posts("a:1")
    assert post.attachments[0]["contentUrl"].startswith("data:image/png;base64,")
    for file in (
        File(name="p.pdf", content=b"%PDF-", content_type="application/pdf"),
        File(name="p.png", content=bytes(50_000), content_type="image/png"),
    ):
        with pytest.raises(UnsupportedType, match="post a link instead"):
            teams.upload(file, to=direct, key=KEY)


# --- doctor ---


def faults(teams: Teams) -> dict[str, str]:
    return {finding.check: finding.fix for finding in teams.diagnose() if finding.state in ("fault", "warning")}


def test_a_healthy_bot_has_no_fault(teams: Teams) -> None:
    assert faults(teams) == {}


def test_the_doctor_names_what_is_wrong(vendor: TeamsSimulator, clock: Clock) -> None:
    assert set(faults(Teams({**vendor.secrets, "app_password": "old"}, clock=clock))) == {"sign-in"}
    assert set(faults(Teams(vendor.secrets, clock=lambda: NOW - 900))) == {"clock"}
    assert set(faults(Teams({"openid_metadata": f"{vendor.base}/nothing"}, clock=clock))) == {
        "app_id", "app_password", "tenant_id", "keys",
    }  # fmt: skip
    gone = {**vendor.secrets, "api_base": "http://127.0.0.1:9"}
    assert set(faults(Teams(gone, clock=clock, sleep=clock.sleep))) == {"reachability"}


def test_the_wire_is_what_the_connector_asks_for(teams: Teams, vendor: TeamsSimulator, asked: Message) -> None:
    teams.send(Reply(text="x"), to=asked, key=KEY)
    post = vendor.calls[-1]
    assert post.path == f"/emea/v3/conversations/19%3Ax%40thread.tacv2%3Bmessageid%3D170/activities/{asked.message_id}"
    told = json.loads(post.body)
    assert (told["type"], told["textFormat"], told["from"]["id"][:3]) == ("message", "markdown", "28:")
