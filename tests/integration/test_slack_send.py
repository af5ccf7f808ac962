"""Slack from door to door: a signed webhook in, what people see in the simulated workspace out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from assistant.errors import (
    ContentRefused,
    MessageRecalled,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    SendError,
    TokenDead,
    VendorUnavailable,
)
from assistant.messages import Button, File, Message, Reply, Source, Webhook
from assistant.platforms import StreamState
from assistant.platforms.slack import BRISK, Slack
from tests.simulators.slack import BOT_USER, FORM, SCOPES, SlackSimulator

NOW = 1_800_000_000.0
KEY = "turn-1"


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
def vendor(clock: Clock) -> Iterator[SlackSimulator]:
    with SlackSimulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
def slack(vendor: SlackSimulator, clock: Clock) -> Slack:
    return Slack(vendor.secrets, clock=clock, sleep=clock.sleep)


def heard(slack: Slack, webhook: Webhook) -> Message:
    (message,) = slack.receive(webhook).messages
    return message


@pytest.fixture
def direct(slack: Slack, vendor: SlackSimulator) -> Message:
    return heard(slack, vendor.event(vendor.say("D1", "U1", "How many days?")))


@pytest.fixture
def asked(slack: Slack, vendor: SlackSimulator) -> Message:
    vendor.channel("C1", "U1")
    return heard(slack, vendor.event(vendor.mention("C1", "U1", "How many days?")))


def methods(vendor: SlackSimulator) -> list[str]:
    return [call.path.removeprefix("/api/") for call in vendor.calls]


# --- messages ---


def test_a_direct_question_is_answered_plainly(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    sent = slack.send(Reply(text="**Fourteen** days."), to=direct, key=KEY)
    (post,) = vendor.posts("D1")
    assert (post.shown, post.text, post.thread_ts, sent.ids) == ("**Fourteen** days.", "Fourteen days.", "", (post.ts,))


def test_a_question_in_a_channel_is_answered_in_its_thread_to_the_asker(
    slack: Slack, vendor: SlackSimulator, asked: Message
) -> None:
    slack.send(Reply(text="Fourteen."), to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    assert post.thread_ts == asked.message_id
    assert post.shown == "<@U1>\nFourteen."
    assert post.text == "<@U1> Fourteen."


def test_markdown_is_written_as_slack_shows_it(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    text = "# Leave\n\n| day | n |\n|--|--|\n| Mon | 1 |\n\n```python\nx < 1\n```\n\n---\n\n<!channel> a_b [h](https://h.example)"
    slack.send(
        Reply(text=text, title="About", sources=(Source(number=1, title="Handbook", url="https://h.example"),)),
        to=direct,
        key=KEY,
    )
    (shown,) = vendor.visible("D1")
    assert shown.startswith("**About**\n\n# Leave\n\n```\nday  n\n---  -\nMon  1\n```\n\n```\nx < 1\n```\n\n———\n\n")
    assert "&lt;!channel&gt; a_b [h](https://h.example)" in shown
    assert "[Handbook](https://h.example)" in shown
    assert "<!channel>" not in vendor.posts("D1")[0].text


def test_a_long_answer_comes_in_numbered_parts_within_slacks_limit(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "words & more < than > that. " * 20 for n in range(60))
    buttons = (Button(text="Good", key="good"),)
    sent = slack.send(Reply(text=text, buttons=buttons), to=direct, key=KEY)
    shown = vendor.visible("D1")
    assert len(shown) == len(sent.ids) > 2
    assert all(part.startswith(f"({n}/{len(shown)})") for n, part in enumerate(shown, 1))
    assert [bool(post.buttons) for post in vendor.posts("D1")] == [False] * (len(shown) - 1) + [True]
    assert sum(part.count("Paragraph") for part in shown) == 60


def test_letters_that_are_none_are_sent_as_unknown_ones(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    slack.send(Reply(text="a \ud83d b \x00 \u202e אב"), to=direct, key=KEY)
    assert vendor.visible("D1")[0].startswith("a ? b")


def test_nothing_to_say_posts_nothing(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    assert slack.send(Reply(text=" "), to=direct, key=KEY).ids == ()
    assert vendor.visible("D1") == []


def test_a_private_reply_in_a_channel_is_for_the_asker_alone(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    slack.send(Reply(text="Your salary", private=True), to=asked, key=KEY)
    assert vendor.visible("C1") == []
    assert vendor.visible("C1", user="U2") == []
    assert vendor.visible("C1", user="U1") == ["Your salary"]


def test_a_private_reply_to_somebody_who_left_the_channel_comes_in_the_chat_with_them(
    slack: Slack, vendor: SlackSimulator, asked: Message
) -> None:
    vendor.channels["C1"].members.discard("U1")
    slack.send(Reply(text="Your salary", private=True), to=asked, key=KEY)
    assert vendor.visible("C1", user="U1") == []
    assert vendor.visible("D1") == ["Your salary"]


def test_a_public_channel_is_entered_where_the_bot_was_asked(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    vendor.channels["C1"].members.discard(BOT_USER)
    with pytest.raises(NotInChat):
        slack.send(Reply(text="x"), to=asked, key=KEY)
    vendor.scopes.add("channels:join")
    slack.send(Reply(text="x"), to=asked, key=KEY)
    assert len(vendor.visible("C1")) == 1


# --- cards ---


def test_a_click_comes_back_and_replaces_the_card(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    buttons = (
        Button(text="Yes", key="leave", value={"days": 3}, style="primary"),
        Button(text="No", key="leave", value=None),
        Button(text="Cancel", key="cancel", style="danger"),
    )
    sent = slack.send(Reply(text="Take three days?", buttons=buttons), to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    keys = [button["action_id"] for button in post.buttons]
    assert len(set(keys)) == 3
    first = heard(slack, vendor.click("C1", sent.ids[0], "U1", keys[0]))
    second = heard(slack, vendor.click("C1", sent.ids[0], "U1", keys[1]))
    assert (first.action_key, first.action_value, second.action_key, second.action_value) == ("leave", {"days": 3}, "leave", None)
    assert first.topic == asked.topic
    slack.update_card(first, Reply(text="Taken."))
    assert (post.shown, post.buttons, len(vendor.posts("C1"))) == ("Taken.", [], 1)
    slack.send(Reply(text="Enjoy."), to=first, key="turn-2")
    assert vendor.posts("C1")[-1].thread_ts == asked.message_id


def test_a_button_value_over_slacks_limit_is_refused_before_it_is_sent(
    slack: Slack, vendor: SlackSimulator, direct: Message
) -> None:
    with pytest.raises(ContentRefused, match="button 'b' has 2002 characters"):
        slack.send(Reply(text="x", buttons=(Button(text="B", key="b", value="y" * 2000),)), to=direct, key=KEY)
    assert vendor.visible("D1") == []


# --- commands ---


def test_a_command_is_answered_where_it_was_typed_even_where_the_bot_is_no_member(slack: Slack, vendor: SlackSimulator) -> None:
    message = replace(heard(slack, vendor.command("C9", "U1", "/ask", "days?")), sent_at=int(NOW * 1000))
    slack.send(Reply(text="Fourteen."), to=message, key=KEY)
    assert vendor.visible("C9", user="U1") == ["Fourteen."]
    assert vendor.visible("C9") == []
    assert slack.open_stream(to=message, key=KEY) is None


def test_a_command_answered_too_late_or_at_length_is_answered_in_the_chat(
    slack: Slack, vendor: SlackSimulator, clock: Clock
) -> None:
    message = replace(heard(slack, vendor.command("C9", "U1", "/ask", "days?")), sent_at=int(NOW * 1000))
    slack.send(Reply(text="word " * 12_000), to=message, key=KEY)
    assert len(vendor.visible("D1")) == 6
    clock.now += 1800
    with pytest.raises(NotInChat):  # not in the channel, and the command's own address is over
        slack.send(Reply(text="late"), to=message, key="turn-2")


def test_a_command_with_a_foreign_reply_address_is_not_sent_there(slack: Slack, vendor: SlackSimulator) -> None:
    message = heard(slack, vendor.command("C9", "U1", "/ask", "x"))
    message = replace(message, sent_at=int(NOW * 1000), address={"response_url": "https://hooks.slack.com.evil.example/x"})
    with pytest.raises(ContentRefused, match="not Slack's"):
        slack.send(Reply(text="x"), to=message, key=KEY)


def test_a_shortcut_outside_a_channel_is_answered_in_the_chat(slack: Slack, vendor: SlackSimulator) -> None:
    payload = {"type": "shortcut", "callback_id": "ask", "trigger_id": "t", "user": {"id": "U1"}, "team": {"id": "T1"}}
    message = heard(slack, vendor.interaction(payload))
    slack.send(Reply(text="Ask me."), to=message, key=KEY)
    slack.send(Reply(text="Ask me."), to=message, key=KEY, attempt=2)
    assert vendor.visible("D1") == ["Ask me."]


# --- once ---


def test_a_post_whose_answer_is_lost_is_found_and_not_repeated(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    vendor.fail("chat.postMessage", status=0, after=True)
    sent = slack.send(Reply(text="Fourteen."), to=asked, key=KEY)
    assert len(vendor.visible("C1")) == 1
    assert sent.ids == (vendor.posts("C1")[0].ts,)


def test_a_post_is_found_for_a_reminder_whose_clock_was_ahead(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    reminder = replace(direct, kind="silence", sent_at=direct.sent_at + 1_860_000)
    for attempt in (1, 2):
        slack.send(Reply(text="Are you still there?"), to=reminder, key=KEY, attempt=attempt)
    assert vendor.visible("D1") == ["Are you still there?"]


def test_a_post_that_never_arrived_is_repeated(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    vendor.fail("chat.postMessage", status=0)
    slack.send(Reply(text="Fourteen."), to=asked, key=KEY)
    assert len(vendor.visible("C1")) == 1


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "service_unavailable"])
def test_a_failing_post_is_looked_for_before_it_is_repeated(
    slack: Slack, vendor: SlackSimulator, direct: Message, after: bool, error: str
) -> None:
    vendor.fail("chat.postMessage", status=200, body={"ok": False, "error": error}, after=after)
    slack.send(Reply(text="Fourteen."), to=direct, key=KEY)
    assert vendor.visible("D1") == ["Fourteen."]


def test_a_second_delivery_posts_only_the_missing_parts(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    reply = Reply(text="word " * 6000)
    first = slack.send(reply, to=asked, key=KEY)
    vendor.channels["C1"].posts.remove(vendor.posts("C1")[1])  # as if the process had died after the first part
    second = slack.send(reply, to=asked, key=KEY, attempt=2)
    numbers = sorted(shown.replace("<@U1>\n", "")[:5] for shown in vendor.visible("C1"))
    assert numbers == ["(1/3)", "(2/3)", "(3/3)"]
    assert second.ids[0] == first.ids[0]


def test_a_second_delivery_finds_its_reply_behind_many_others(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    slack.send(Reply(text="Fourteen."), to=direct, key=KEY)
    for n in range(130):
        vendor.say("D1", "U1", f"line {n}")
    slack.send(Reply(text="Fourteen."), to=direct, key=KEY, attempt=2)
    assert vendor.visible("D1") == ["Fourteen."]


def test_without_the_right_to_read_back_the_answer_still_comes(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    vendor.scopes.discard("channels:history")
    slack.send(Reply(text="x"), to=asked, key=KEY, attempt=2)
    assert len(vendor.visible("C1")) == 1


# --- errors ---


def test_a_rate_limit_is_waited_out_as_long_as_slack_asks(
    slack: Slack, vendor: SlackSimulator, direct: Message, clock: Clock
) -> None:
    vendor.fail("chat.postMessage", times=2, status=429, body={"ok": False, "error": "ratelimited"}, headers={"Retry-After": "3"})
    slack.send(Reply(text="x"), to=direct, key=KEY)
    assert vendor.visible("D1") == ["x"]
    assert all(3 <= slept < 4 for slept in clock.slept)
    vendor.fail("chat.postMessage", times=1, status=429, headers={"Retry-After": "60"})
    with pytest.raises(RateLimited) as limited:
        slack.send(Reply(text="y"), to=direct, key="turn-2")
    assert limited.value.retry_after == 60


def test_after_a_refusal_nothing_more_is_asked_until_the_time_that_slack_named(
    slack: Slack, vendor: SlackSimulator, asked: Message, clock: Clock
) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    vendor.fail("chat.appendStream", status=429, headers={"Retry-After": "20"})
    for text in ("Fourt", "Fourtee", "Fourteen"):
        state = updated(slack, state, text, to=asked)
    assert methods(vendor).count("chat.appendStream") == 1
    clock.now += 10
    state = updated(slack, state, "Fourteen", to=asked)
    assert vendor.visible("C1") == ["Fourteen"]


def test_a_missing_scope_is_named_with_its_page(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    vendor.scopes.discard("chat:write")
    with pytest.raises(MissingPermission, match="lacks chat:write") as missing:
        slack.send(Reply(text="x"), to=direct, key=KEY)
    assert (missing.value.scopes, missing.value.code) == (("chat:write",), "missing_scope")
    assert missing.value.console_url == "https://api.slack.com/apps/A0APP/oauth"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_auth", TokenDead), ("token_revoked", TokenDead), ("account_inactive", TokenDead), ("token_expired", TokenDead),
        ("not_authed", TokenDead), ("no_permission", MissingPermission), ("restricted_action", MissingPermission),
        ("messages_tab_disabled", MissingPermission), ("ekm_access_denied", MissingPermission), ("not_in_channel", NotInChat),
        ("channel_not_found", NotInChat), ("is_archived", NotInChat), ("cannot_dm_bot", NotInChat), ("user_not_found", NotInChat),
        ("msg_too_long", ContentRefused), ("msg_blocks_too_long", ContentRefused), ("no_text", ContentRefused),
        ("invalid_arguments", ContentRefused), ("thread_not_found", MessageRecalled), ("brand_new", SendError),
    ],
)  # fmt: skip
def test_every_error_of_slack_has_a_kind(
    slack: Slack, vendor: SlackSimulator, direct: Message, code: str, kind: type[SendError]
) -> None:
    vendor.fail("chat.postMessage", times=9, status=200, body={"ok": False, "error": code})
    with pytest.raises(kind) as failed:
        slack.send(Reply(text="x"), to=direct, key=KEY)
    assert type(failed.value) is kind
    assert (failed.value.code, failed.value.platform) == (code, "slack")
    assert "xoxb" not in str(failed.value)


def test_refused_blocks_are_said_in_text(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    vendor.fail("chat.postMessage", status=200, body={"ok": False, "error": "invalid_blocks"})
    slack.send(Reply(text="**x**"), to=direct, key=KEY)
    assert vendor.visible("D1") == ["x"]


def test_an_unreachable_vendor_is_unavailable(vendor: SlackSimulator, direct: Message, clock: Clock) -> None:
    gone = Slack({**vendor.secrets, "api_base": "http://127.0.0.1:9"}, clock=clock, sleep=clock.sleep)
    with pytest.raises(VendorUnavailable):
        gone.send(Reply(text="x"), to=direct, key=KEY)


# --- growing ---


def updated(slack: Slack, state: StreamState, text: str, *, to: Message) -> StreamState:
    """The next state of a growing message, some seconds after the last one."""
    clock: Any = slack.clock  # the test's own
    clock.now += 5
    return slack.update_stream(state, text, to=to)


def opened(slack: Slack, to: Message, **more: Any) -> StreamState:
    state = slack.open_stream(to=to, key=KEY, **more)
    assert state is not None
    return state


def test_an_answer_grows_in_a_thread_by_slacks_own_stream(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = opened(slack, asked)
    assert vendor.statuses == [("C1", asked.message_id, "is working on it…")]
    assert vendor.visible("C1") == []
    for text in ("Four", "Fourteen", "Fourteen days"):
        state = updated(slack, state, text, to=asked)
        assert vendor.visible("C1") == [text]
    buttons = (Button(text="More", key="more"),)
    sent = slack.finish_stream(state, Reply(text="Fourteen days.", buttons=buttons), to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    assert (post.shown, post.streaming, sent.ids) == ("Fourteen days.\n[More]", False, (post.ts,))
    assert methods(vendor).count("chat.appendStream") == 2
    assert "chat.update" not in methods(vendor)


def test_in_a_plain_chat_one_message_is_edited(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    state = opened(slack, direct)
    for text in ("Four", "Fourteen"):
        state = updated(slack, state, text, to=direct)
        assert vendor.visible("D1") == [text]
    slack.finish_stream(state, Reply(text="Fourteen days."), to=direct, key=KEY)
    (post,) = vendor.posts("D1")
    assert (post.shown, post.thread_ts) == ("Fourteen days.", "")


@pytest.mark.parametrize(("place", "most"), [("C1", 14), ("D1", 11)])
def test_an_answer_that_grows_for_a_minute_costs_few_of_the_workspaces_calls(
    slack: Slack, vendor: SlackSimulator, asked: Message, direct: Message, clock: Clock, place: str, most: int
) -> None:
    to = asked if place == "C1" else direct
    state, text = opened(slack, to), ""
    for second in range(60):
        text += f"{second} "
        state = slack.update_stream(state, text, to=to)
        clock.now += 1
    grown = sum(methods(vendor).count(m) for m in ("chat.startStream", "chat.appendStream", "chat.postMessage", "chat.update"))
    assert 8 <= grown <= most
    slack.finish_stream(state, Reply(text=text), to=to, key=KEY)
    assert vendor.visible(place)[-1].endswith(text.strip())


def test_the_last_word_waits_for_a_rate_limit_to_end(slack: Slack, vendor: SlackSimulator, asked: Message, clock: Clock) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    vendor.fail("chat.stopStream", status=429, headers={"Retry-After": "20"})
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key=KEY)
    assert vendor.visible("C1") == ["Fourteen."]
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    vendor.fail("chat.stopStream", status=429, headers={"Retry-After": "60"})
    with pytest.raises(RateLimited):
        slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key="turn-2")
    clock.now += 60
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key="turn-2", attempt=2)
    assert vendor.visible("C1") == ["Fourteen."] * 2


def test_a_finished_stream_says_the_reply_with_its_sources_and_tables(
    slack: Slack, vendor: SlackSimulator, asked: Message
) -> None:
    state = updated(slack, opened(slack, asked), "See", to=asked)
    source = Source(number=1, title="Handbook", url="https://h.example")
    slack.finish_stream(state, Reply(text="See [1]", sources=(source,)), to=asked, key=KEY)
    assert "[Handbook](https://h.example)" in vendor.visible("C1")[0]
    for n, (text, shown) in enumerate((("```py\nx\n```", "```\nx\n```"), ("a\n\n***\n\nb", "a\n\n———\n\nb"))):
        state = updated(slack, opened(slack, asked), text[:4], to=asked)
        slack.finish_stream(state, Reply(text=text), to=asked, key=f"more-{n}")
        assert vendor.visible("C1")[-1] == shown
    state = updated(slack, opened(slack, asked), "| a |\n|---|\n", to=asked)
    slack.finish_stream(state, Reply(text="| a |\n|---|\n| 1 |"), to=asked, key="turn-2")
    assert vendor.visible("C1")[-1] == "```\na\n-\n1\n```"


def test_a_stream_that_ran_out_goes_on_by_edits_and_lands(
    slack: Slack, vendor: SlackSimulator, asked: Message, clock: Clock
) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    clock.now += 301
    state = updated(slack, state, "Fourteen", to=asked)
    state = updated(slack, state, "Fourteen days", to=asked)
    assert vendor.visible("C1") == ["Fourteen days"]
    slack.finish_stream(state, Reply(text="Fourteen days."), to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    assert (post.shown, post.streaming) == ("<@U1>\nFourteen days.", False)


def test_a_stream_that_ran_out_before_its_end_lands_by_an_edit(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    vendor.close_streams()
    slack.finish_stream(state, Reply(text="Fourteen days."), to=asked, key=KEY)
    assert vendor.visible("C1") == ["Fourteen days."]


def test_a_conversation_without_streams_gets_edits(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    vendor.channels["C1"].streams = False
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    assert (post.shown, post.thread_ts) == ("<@U1>\nFourteen.", asked.message_id)


STEPS = ["chat.startStream", "chat.appendStream", "chat.stopStream", "assistant.threads.setStatus"]


@pytest.mark.parametrize("status", [0, 500, 429])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_answer_is_lost_one_whole_reply_stands_there(
    slack: Slack, vendor: SlackSimulator, asked: Message, step: str, after: bool, status: int
) -> None:
    vendor.fail(step, status=status, after=after and status != 429)
    state = opened(slack, asked)
    for text in ("Four", "Fourteen", "Fourteen days"):
        state = updated(slack, state, text, to=asked)
    slack.finish_stream(state, Reply(text="Fourteen days."), to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    assert (post.shown.removeprefix("<@U1>\n"), post.streaming) == ("Fourteen days.", False)
    slack.finish_stream(state, Reply(text="Fourteen days."), to=asked, key=KEY, attempt=2)
    assert len(vendor.posts("C1")) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["chat.postMessage", "chat.update"])
def test_whatever_answer_is_lost_in_a_plain_chat_one_whole_reply_stands_there(
    slack: Slack, vendor: SlackSimulator, direct: Message, clock: Clock, step: str, after: bool
) -> None:
    vendor.fail(step, status=0, after=after)
    state = opened(slack, direct)
    for text in ("Four", "Fourteen", "Fourteen days"):
        state = updated(slack, state, text, to=direct)
        clock.now += 2
    slack.finish_stream(state, Reply(text="Fourteen days."), to=direct, key=KEY)
    assert vendor.visible("D1") == ["Fourteen days."]


@pytest.mark.parametrize("place", ["C1", "D1"])
@pytest.mark.parametrize("grows", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_the_next_delivery_finishes_what_a_dead_one_began(
    slack: Slack, vendor: SlackSimulator, clock: Clock, asked: Message, direct: Message, place: str, grows: bool, same: bool
) -> None:
    to = asked if place == "C1" else direct
    begun = opened(slack, to)
    updated(slack, begun, "Four", to=to)  # the turn breaks off before the id is stored
    other = slack if same else Slack(vendor.secrets, clock=clock, sleep=clock.sleep)
    state = updated(other, begun, "Fourteen", to=to) if grows else begun
    other.finish_stream(state, Reply(text="Fourteen days."), to=to, key=KEY, attempt=2)
    assert [shown.removeprefix("<@U1>\n") for shown in vendor.visible(place)] == ["Fourteen days."]


@pytest.mark.parametrize("place", ["C1", "D1"])
def test_a_stream_opened_again_takes_up_the_message_that_is_there(
    slack: Slack, vendor: SlackSimulator, asked: Message, direct: Message, place: str
) -> None:
    to = asked if place == "C1" else direct
    updated(slack, opened(slack, to), "Four", to=to)
    again = updated(slack, opened(slack, to, attempt=2), "Fourteen", to=to)
    slack.finish_stream(again, Reply(text="Fourteen days."), to=to, key=KEY)
    assert [shown.removeprefix("<@U1>\n") for shown in vendor.visible(place)] == ["Fourteen days."]


def test_an_earlier_answer_in_the_thread_is_never_taken_for_the_growing_one(
    slack: Slack, vendor: SlackSimulator, asked: Message
) -> None:
    slack.send(Reply(text="Earlier."), to=asked, key="turn-0")
    slack.upload(File(name="plan.png", content=PNG, content_type="image/png"), to=asked, key="turn-0")
    state = opened(slack, asked, attempt=2)
    state = updated(slack, state, "Four", to=asked)
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key=KEY)
    assert vendor.visible("C1") == ["<@U1>\nEarlier.", "[file plan.png]", "Fourteen."]


def test_a_long_answer_grows_to_slacks_limit_and_lands_in_parts(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = opened(slack, asked)
    text = "word " * 5000
    for end in range(2000, len(text), 4000):
        state = updated(slack, state, text[:end], to=asked)
    slack.finish_stream(state, Reply(text=text), to=asked, key=KEY)
    shown = vendor.visible("C1")
    assert [part[:5] for part in shown] == ["(1/3)", "(2/3)", "(3/3)"]
    assert sum(part.count("word") for part in shown) == 5000
    assert {post.thread_ts for post in vendor.posts("C1")} == {asked.message_id}


def test_a_model_that_takes_words_back_is_put_right_at_the_end(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = updated(slack, opened(slack, asked), "Fifteen", to=asked)
    state = updated(slack, state, "Fourteen", to=asked)
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key=KEY)
    assert vendor.visible("C1") == ["Fourteen."]


def test_a_busy_workspace_gets_every_answer_whole(slack: Slack, vendor: SlackSimulator, clock: Clock) -> None:
    vendor.channel("C1", "U1")
    questions = [heard(slack, vendor.event(vendor.mention("C1", "U1", f"Question {n}"))) for n in range(30)]
    states = [opened(slack, to) for to in questions]
    for second in range(8):  # thirty at once: more than Slack lets begin, add to and end in a minute
        states = [slack.update_stream(state, "word " * (second + 1), to=to) for state, to in zip(states, questions, strict=True)]
        clock.now += 1
    for n, (state, to) in enumerate(zip(states, questions, strict=True)):
        for attempt in range(1, 9):
            try:
                slack.finish_stream(state, Reply(text=f"Answer {n}."), to=to, key=f"turn-{n}", attempt=attempt)
                break
            except RateLimited as limited:  # the queue delivers it again
                clock.now += limited.retry_after
    shown = [text.removeprefix("<@U1>\n") for text in vendor.visible("C1")]
    assert sorted(shown) == sorted(f"Answer {n}." for n in range(30))


def test_people_who_write_in_their_own_chats_do_not_wait_for_each_others_edits(
    slack: Slack, vendor: SlackSimulator, clock: Clock
) -> None:
    waits: list[float] = []
    for group in range(12):  # sixty answers a minute, where the whole workspace has fifty edits
        chats = [f"D{group}x{n}" for n in range(10)]
        asked = [heard(slack, vendor.event(vendor.say(chat, f"U{chat[1:]}", "How long?"))) for chat in chats]
        states = [slack.open_stream(to=to, key=f"turn-{to.conversation}") for to in asked]
        for text in ("Four", "Fourteen", "Fourteen da", "Fourteen days"):
            states = [slack.update_stream(state, text, to=to) for state, to in zip(states, asked, strict=True) if state]
            clock.now += 2
        for state, to in zip(states, asked, strict=True):
            before = clock.now
            assert state
            slack.finish_stream(state, Reply(text="Fourteen days."), to=to, key=f"turn-{to.conversation}")
            waits.append(clock.now - before)
        clock.now += 2
        assert all(vendor.visible(chat) == ["Fourteen days."] for chat in chats)
    assert max(waits) <= BRISK
    assert methods(vendor).count("chat.update") >= 2 * 14, "some grew"
    assert methods(vendor).count("chat.delete") <= 2, "and those that did not were posted whole"


def test_where_no_edit_is_taken_the_draft_gives_way_to_the_answer(
    slack: Slack, vendor: SlackSimulator, direct: Message, clock: Clock
) -> None:
    state = updated(slack, opened(slack, direct), "Four", to=direct)
    vendor.fail("chat.update", status=429, headers={"Retry-After": "20"})  # used up by other instances
    before = clock.now
    slack.finish_stream(state, Reply(text="Fourteen."), to=direct, key=KEY)
    assert (vendor.visible("D1"), methods(vendor)[-2:]) == (["Fourteen."], ["chat.delete", "chat.postMessage"])
    assert clock.now - before <= BRISK


def test_a_draft_that_may_not_be_taken_away_either_is_edited_when_it_may_be(
    slack: Slack, vendor: SlackSimulator, direct: Message, clock: Clock
) -> None:
    state = updated(slack, opened(slack, direct), "Four", to=direct)
    for method in ("chat.update", "chat.delete"):
        vendor.fail(method, status=429, headers={"Retry-After": "20"})
    slack.finish_stream(state, Reply(text="Fourteen."), to=direct, key=KEY)
    assert vendor.visible("D1") == ["Fourteen."]
    assert "chat.postMessage" not in methods(vendor)[2:]


@pytest.mark.parametrize("noticed", [True, False])
def test_a_person_who_presses_stop_keeps_what_is_there(
    slack: Slack, vendor: SlackSimulator, asked: Message, noticed: bool
) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    vendor.press_stop("C1")
    if noticed:
        state = updated(slack, state, "Fourteen", to=asked)
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key=KEY)
    assert vendor.visible("C1") == ["Four"]


def test_a_recalled_question_takes_the_growing_answer_with_it(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    slack.finish_stream(state, Reply(text=""), to=asked, key=KEY)
    assert vendor.visible("C1") == []


def test_an_answer_that_turns_private_leaves_the_channel(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    slack.finish_stream(state, Reply(text="Secret.", private=True), to=asked, key=KEY)
    assert vendor.visible("C1") == []
    assert vendor.visible("C1", user="U1") == ["Secret."]


def test_a_growing_answer_that_somebody_deleted_is_posted_anew(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = updated(slack, opened(slack, asked), "Four", to=asked)
    vendor.channels["C1"].posts.pop()
    slack.finish_stream(state, Reply(text="Fourteen."), to=asked, key=KEY)
    assert vendor.visible("C1") == ["<@U1>\nFourteen."]


def test_what_a_model_writes_rings_nobodys_phone(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    state = opened(slack, asked)
    for text in ("Hi <", "Hi <!chan", "Hi <!channel> <@U2>"):
        state = updated(slack, state, text, to=asked)
        assert "<!" not in "".join(vendor.visible("C1"))
    slack.finish_stream(state, Reply(text="Hi <!channel> <@U2> <"), to=asked, key=KEY)
    slack.send(Reply(text="`<!here>`\n\n```\n<!channel> <@U2>\n```"), to=asked, key="turn-2")
    shown = "".join(vendor.visible("C1")).replace("<@U1>", "")
    assert "<!" not in shown
    assert "<@" not in shown


def test_without_the_status_scope_nothing_is_missing_but_the_status(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    vendor.scopes.discard("assistant:write")
    for key in ("a", "b"):
        state = updated(slack, opened(slack, asked), "x", to=asked)
        slack.finish_stream(state, Reply(text="x."), to=asked, key=key)
    assert len(vendor.visible("C1")) == 2
    assert methods(vendor).count("assistant.threads.setStatus") == 1


# --- files ---

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def test_a_file_is_fetched_with_the_bots_token_and_known_by_its_bytes(slack: Slack, vendor: SlackSimulator) -> None:
    file = vendor.share("plan.pdf", PNG, "application/pdf")
    message = heard(slack, vendor.event(vendor.say("D1", "U1", "", subtype="file_share", files=[file])))
    assert slack.fetch(message, limit=1000) == File(name="plan.pdf", content=PNG, content_type="image/png")
    with pytest.raises(ContentRefused, match="larger than 50 bytes"):
        slack.fetch(message, limit=50)
    foreign = {"id": file["id"], "name": "plan.pdf", "file_access": "check_file_info"}
    message = heard(slack, vendor.event(vendor.say("D1", "U1", "", subtype="file_share", files=[foreign])))
    assert slack.fetch(message, limit=1000).content == PNG


def test_a_sign_in_page_is_no_file(slack: Slack, vendor: SlackSimulator) -> None:
    vendor.scopes.discard("files:read")
    file = vendor.share("plan.pdf", PNG, "application/pdf")
    message = heard(slack, vendor.event(vendor.say("D1", "U1", "", subtype="file_share", files=[file])))
    with pytest.raises(MissingPermission) as missing:
        slack.fetch(message, limit=1000)
    assert missing.value.scopes == ("files:read",)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/f",
        "http://files.slack.com/f",
        "https://files.slack.com.evil.example/f",
        "https://a@slack.com/f",
        "https://files.slack.com:8443/f",
        "https://files.slack.com:nine/f",
        "https://[slack.com/f",
    ],
)
def test_the_token_goes_to_slack_alone(slack: Slack, vendor: SlackSimulator, url: str) -> None:
    file = {"id": "F1", "name": "x", "mimetype": "text/plain", "url_private": url}
    message = heard(slack, vendor.event(vendor.say("D1", "U1", "", subtype="file_share", files=[file])))
    with pytest.raises(ContentRefused, match="outside Slack"):
        slack.fetch(message, limit=1000)


@pytest.mark.parametrize("fault", [None, "getUploadURL", "/upload/v1", "completeUpload"])
def test_a_file_is_shared_once_in_the_thread(slack: Slack, vendor: SlackSimulator, asked: Message, fault: str | None) -> None:
    if fault:
        vendor.fail(fault, status=0 if fault == "completeUpload" else 503, after=fault == "completeUpload")
    file = File(name="plan.png", content=PNG, content_type="image/png")
    slack.upload(file, to=asked, key=KEY)
    slack.upload(file, to=asked, key=KEY)
    (post,) = vendor.posts("C1")
    assert (post.shown, post.thread_ts) == ("[file plan.png]", asked.message_id)


# --- doctor ---


def faults(slack: Slack) -> dict[str, str]:
    return {finding.check: finding.fix for finding in slack.diagnose() if finding.state in ("fault", "warning")}


def test_a_healthy_app_has_no_fault(slack: Slack, vendor: SlackSimulator) -> None:
    vendor.scopes = set(SCOPES)
    assert faults(slack) == {}


def test_the_doctor_names_what_is_missing_and_where_to_mend_it(vendor: SlackSimulator) -> None:
    vendor.scopes -= {"im:history", "files:read"}
    found = faults(Slack({**vendor.secrets, "team_id": "T0OTHER"}, clock=lambda: NOW - 1000))
    assert set(found) == {"scope im:history", "scope files:read", "team_id", "clock"}
    assert "add im:history" in found["scope im:history"]
    vendor.token_error = "token_revoked"
    assert "xoxb-" in faults(Slack(vendor.secrets))["token"]
    assert set(faults(Slack({}))) == {"signing_secret", "bot_token", "bot_user_id"}
    gone = Slack({**vendor.secrets, "api_base": "http://127.0.0.1:9"})
    assert "slack-status.com" in faults(gone)["reachability"]


def test_an_outcome_that_stays_unknown_is_said_so(slack: Slack, vendor: SlackSimulator, direct: Message) -> None:
    vendor.fail("chat.postMessage", times=2, status=0)
    with pytest.raises(OutcomeUnknown):
        slack.send(Reply(text="x"), to=direct, key=KEY)
    slack.send(Reply(text="x"), to=direct, key=KEY, attempt=2)
    assert vendor.visible("D1") == ["x"]


def test_the_wire_is_what_slack_asks_for(slack: Slack, vendor: SlackSimulator, asked: Message) -> None:
    slack.send(Reply(text="é"), to=asked, key=KEY, attempt=2)
    replies, post = vendor.calls
    assert replies.headers["content-type"] == FORM
    assert post.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(post.body)["metadata"] == {"event_type": "assistant_reply", "event_payload": {"key": KEY, "part": 0}}
