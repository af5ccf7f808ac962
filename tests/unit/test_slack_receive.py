"""Slack's webhooks: what is proven, what becomes a message, what stays unheard."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier

from assistant.errors import Refused, VerificationError
from assistant.messages import Message, Received, Webhook
from assistant.platforms.slack import Slack
from assistant.platforms.slack_events import readable

NOW = 1_800_000_000
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SECRETS = {"signing_secret": SECRET, "bot_user_id": "UBOT", "bot_id": "BBOT", "team_id": "T1", "bot_token": "xoxb-1"}
FORM = "application/x-www-form-urlencoded"


def slack(**secrets: str) -> Slack:
    return Slack({**SECRETS, **secrets}, clock=lambda: float(NOW))


def signed(
    body: bytes, *, channel: str = "events", kind: str = "application/json", stamp: str = str(NOW), **more: str
) -> Webhook:
    mac = hmac.new(SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"content-type": kind, "x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}", **more}
    return Webhook(platform="slack", channel=channel, headers=headers, body=body)


def envelope(event: dict[str, Any], **more: Any) -> bytes:
    base = {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event_time": NOW, "event": event}
    return json.dumps({**base, **more}).encode()


def receive(event: dict[str, Any], **more: Any) -> tuple[Message, ...]:
    return slack().receive(signed(envelope(event, **more))).messages


def one(event: dict[str, Any], **more: Any) -> Message:
    (message,) = receive(event, **more)
    return message


def interact(payload: dict[str, Any]) -> Received:
    return slack().receive(signed(urlencode({"payload": json.dumps(payload)}).encode(), channel="interactive", kind=FORM))


DIRECT = {"type": "message", "channel_type": "im", "channel": "D1", "user": "U1", "text": "Hi", "ts": "1800000000.000100"}
NAMED = {"type": "app_mention", "channel": "C1", "user": "U1", "text": "<@UBOT> Hi", "ts": "1800000000.000200", "team": "T1"}


# --- proof ---


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-slack-signature": ""}, "signature"),
        ({"x-slack-signature": "v0=" + "0" * 64}, "signature"),
        ({"x-slack-signature": "v0=é\ud800"}, "signature"),
        ({"x-slack-request-timestamp": ""}, "Timestamp"),
        ({"x-slack-request-timestamp": "soon"}, "Timestamp"),
        ({"x-slack-request-timestamp": "١٨٠٠٠٠٠٠٠٠"}, "Timestamp"),
        ({"x-slack-request-timestamp": str(NOW + 1)}, "signature"),
    ],
)
def test_a_request_that_slack_did_not_sign_is_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        slack().receive(signed(envelope(DIRECT), **headers))


@pytest.mark.parametrize(("off", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_signature_is_good_for_five_minutes(off: int, taken: bool) -> None:
    webhook = signed(envelope(DIRECT), stamp=str(NOW + off))
    if taken:
        assert slack().receive(webhook).messages
    else:
        with pytest.raises(VerificationError, match="300 s"):
            slack().receive(webhook)


def test_a_missing_signing_secret_refuses_everything() -> None:
    with pytest.raises(VerificationError, match="signing_secret"):
        slack(signing_secret="").receive(signed(envelope(DIRECT)))


def test_one_changed_byte_is_refused() -> None:
    webhook = signed(envelope(DIRECT))
    body = webhook.body.replace(b"Hi", b"Ho")
    with pytest.raises(VerificationError):
        slack().receive(Webhook(platform="slack", channel="events", headers=webhook.headers, body=body))


class Fixed(Clock):
    def now(self) -> float:
        return float(NOW)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=200),
    off=st.integers(-400, 400),
    damage=st.sampled_from(["none", "body", "mac", "stamp", "case", "prefix", "secret", "no mac", "no stamp"]),
    at=st.integers(0, 10_000),
)
def test_our_verifier_agrees_with_the_vendors(text: str, off: int, damage: str, at: int) -> None:
    body = json.dumps({"type": "other", "text": text}, ensure_ascii=False).encode("utf-8", "replace")
    webhook = signed(body, stamp=str(NOW + off))
    headers = dict(webhook.headers)
    mac = headers["x-slack-signature"]
    match damage:
        case "body":
            body = body[: at % len(body)] + b"~" + body[at % len(body) :]
        case "mac":
            n = 3 + at % 64
            headers["x-slack-signature"] = mac[:n] + ("0" if mac[n] != "0" else "1") + mac[n + 1 :]
        case "stamp":
            headers["x-slack-request-timestamp"] = str(NOW + off + 1)
        case "case":
            headers["x-slack-signature"] = mac.upper()
        case "prefix":
            headers["x-slack-signature"] = mac.removeprefix("v0=")
        case "secret":
            other = hmac.new(b"another", f"v0:{NOW + off}:".encode() + body, hashlib.sha256).hexdigest()
            headers["x-slack-signature"] = f"v0={other}"
        case "no mac":
            del headers["x-slack-signature"]
        case "no stamp":
            del headers["x-slack-request-timestamp"]
    try:
        theirs = SignatureVerifier(SECRET, Fixed()).is_valid_request(body, headers)
    except UnicodeDecodeError:  # theirs reads the body as text first
        theirs = False
    try:
        slack().receive(Webhook(platform="slack", channel="events", headers=headers, body=body))
        ours = True
    except VerificationError:
        ours = False
    assert ours == theirs
    assert ours == (damage == "none" and abs(off) <= 300)


def test_the_address_check_is_answered() -> None:
    received = slack().receive(signed(b'{"type":"url_verification","token":"t","challenge":"3eZbrw"}'))
    assert (received.challenge, received.messages) == (True, ())
    assert json.loads(received.reply.body) == {"challenge": "3eZbrw"}


def test_an_unsigned_address_check_is_refused() -> None:
    body = b'{"type":"url_verification","token":"t","challenge":"3eZbrw"}'
    with pytest.raises(VerificationError):
        slack().receive(Webhook(platform="slack", channel="events", headers={"content-type": "application/json"}, body=body))


def test_the_certificate_check_is_answered_and_means_nothing() -> None:
    for webhook in (
        Webhook(platform="slack", channel="commands", method="GET", query={"ssl_check": "1"}),
        Webhook(platform="slack", channel="interactive", body=b"ssl_check=1&token=x", headers={"content-type": FORM}),
    ):
        received = slack().receive(webhook)
        assert (received.reply.status, received.messages, received.challenge) == (200, (), False)
    with pytest.raises(VerificationError):
        slack().receive(Webhook(platform="slack", channel="events", query={"ssl_check": "1"}, body=b"ssl_check=1"))


@pytest.mark.parametrize(
    ("body", "channel", "kind", "status"),
    [
        (b"{", "events", "application/json", 400),
        (b"[]", "events", "application/json", 400),
        (b"\xff", "events", "application/json", 400),
        (b"[" * 100_000, "events", "application/json", 400),
        (b'{"type":"event_callback"}', "events", "application/json", 400),
        (b'{"type":"url_verification"}', "events", "application/json", 400),
        (b"{}", "events", "text/plain", 415),
        (b"{}", "events", "", 415),
        (b"payload=%7B%7D", "interactive", "application/json", 415),
        (b"payload=%7B", "interactive", FORM, 400),
        (b"other=1", "interactive", FORM, 400),
        (b"payload=%FF", "interactive", FORM, 400),
        (b"&".join(b"a%d=1" % n for n in range(300)), "commands", FORM, 400),
        (b"command=/ask", "commands", FORM, 400),
        (b"{}", "nowhere", "application/json", 404),
    ],
)
def test_a_proven_request_that_cannot_be_read_is_a_clear_4xx(body: bytes, channel: str, kind: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        slack().receive(signed(body, channel=channel, kind=kind))
    assert refused.value.status == status


# --- messages ---


def test_a_direct_message_is_text() -> None:
    message = one({**DIRECT, "text": " a &lt;b&gt; &amp;amp; ", "client_msg_id": "x"})
    assert (message.kind, message.conversation, message.sender, message.text) == ("text", "D1", "U1", "a <b> &amp;")
    assert (message.event_id, message.message_id, message.dedup_id) == ("Ev1", "1800000000.000100", "D1:1800000000.000100")
    assert (message.direct, message.thread, message.tenant, message.sent_at) == (True, "", "T1", 1_800_000_000_000)


def test_twin_events_of_one_mention_share_one_id() -> None:
    mention = one(NAMED)
    twin = one({**NAMED, "type": "message", "channel_type": "channel"}, event_id="Ev2")
    assert mention.dedup_id == twin.dedup_id == "C1:1800000000.000200"
    assert mention.event_id != twin.event_id
    assert (mention.text, mention.direct, mention.thread) == ("Hi", False, "1800000000.000200")


def test_a_reply_in_a_thread_stays_in_it() -> None:
    message = one({**NAMED, "thread_ts": "1799999999.000001"})
    assert (message.thread, message.reply_to) == ("1799999999.000001", "1799999999.000001")
    assert message.address["thread_ts"] == "1799999999.000001"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<@UBOT> Hi", "Hi"),
        ("<@UBOT|bot>\u00a0Hi", "Hi"),
        ("Hi <@UBOT>!", "Hi!"),
        ("Hi <@UBOT> there <@UBOT>", "Hi there"),
        ("<@UBOT>你好", "你好"),
        ("<@UBOT>", ""),
        ("<@UBOT2> <@U2|ann> <@U3>", "@UBOT2 @ann @U3"),
        ("&lt;@UBOT&gt; &amp;lt;", "<@UBOT> &lt;"),
        ("see <https://a.example/x?a=1&amp;b=2|the page>", "see the page (https://a.example/x?a=1&b=2)"),
        ("<https://a.example> <http://b.example|b.example> <mailto:a@b.c|a@b.c>", "https://a.example http://b.example a@b.c"),
        ("<#C1|general> <#C2>", "#general #C2"),
        ("<!here> <!subteam^S1|@devs> <!date^1392734382^{date}|Feb 18>", "@here @devs Feb 18"),
        ("a < b <unclosed", "a < b <unclosed"),
        ("😀 \ud83d é", "😀 \ud83d é"),
    ],
)
def test_text_is_what_a_person_reads(raw: str, shown: str) -> None:
    assert readable(raw, ["UBOT"]) == shown


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab<>@|#!&;UBOT ltgamp^é中"), max_size=60))
def test_any_text_can_be_read(raw: str) -> None:
    assert "<@UBOT>" not in readable(raw.replace("&", ""), ["UBOT"])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_what_a_person_typed_comes_back(typed: str) -> None:
    escaped = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert readable(escaped, ["UBOT"]) == typed.strip()


@pytest.mark.parametrize("kind", ["image/png", "application/pdf"])
def test_a_file_says_where_it_is(kind: str) -> None:
    file = {"id": "F1", "name": "plan.pdf", "mimetype": kind, "url_private": "https://files.slack.com/p", "size": 3}
    file["url_private_download"] = "https://files.slack.com/d"
    message = one({**DIRECT, "subtype": "file_share", "text": "look", "files": [file, {**file, "id": "F2", "name": "b.pdf"}]})
    assert message.kind == ("image" if kind == "image/png" else "file")
    assert (message.file_key, message.file_name, message.text) == ("https://files.slack.com/d", "plan.pdf", "look")
    first, second = message.each_file
    assert (first.file_key, first.address["file_id"]) == (message.file_key, "F1")
    assert (second.file_key, second.file_name, second.address["file_id"]) == ("https://files.slack.com/d", "b.pdf", "F2")
    assert second.address["mimetype"] == kind


def test_a_forwarded_message_is_quoted() -> None:
    message = one({**DIRECT, "text": "why?", "attachments": [{"is_share": True, "text": "It &amp; was"}, {"text": "a preview"}]})
    assert message.quoted == "It & was"


@pytest.mark.parametrize(
    "event",
    [
        {**DIRECT, "bot_id": "BX"},
        {**DIRECT, "user": "UBOT"},
        {**DIRECT, "user": "USLACKBOT"},
        {**DIRECT, "subtype": "bot_message"},
        {**DIRECT, "subtype": "channel_join"},
        {**DIRECT, "subtype": "brand_new"},
        {**DIRECT, "hidden": True},
        {**DIRECT, "user": None},
        {**DIRECT, "ts": 5},
        {**NAMED, "bot_id": "BX"},
        {**NAMED, "type": "message", "channel_type": "channel", "text": "not to the bot <@U2>"},
        {"type": "reaction_added", "user": "U1"},
        {"type": "app_home_opened", "tab": "home", "channel": "D1", "user": "U1"},
        {"type": "member_joined_channel", "user": "U1", "channel": "C1"},
        {"type": "app_uninstalled"},
        {"type": "message", "subtype": "message_changed", "channel": "D1", "message": "odd"},
        {},
    ],
)
def test_what_must_not_be_answered_gives_no_message(event: dict[str, Any]) -> None:
    assert receive(event) == ()


def test_the_bot_knows_itself_from_the_delivery_too() -> None:
    webhook = signed(
        envelope(
            {**NAMED, "text": "<@UOTHER> Hi"},
            authorizations=[{"user_id": "UOTHER", "is_bot": True}, {"user_id": "U1", "is_bot": False}],
        )
    )
    (message,) = slack(bot_user_id="").receive(webhook).messages
    assert message.text == "Hi"


def test_notices_other_than_events_are_taken_quietly() -> None:
    for body in (b'{"type":"app_rate_limited","minute_rate_limited":1}', b'{"type":"brand_new"}', b"{}"):
        assert slack().receive(signed(body)).messages == ()


def test_joining_leaving_and_opening() -> None:
    joined = one({"type": "member_joined_channel", "user": "UBOT", "inviter": "U1", "channel": "C1", "event_ts": "1.2"})
    assert (joined.kind, joined.conversation, joined.sender, joined.direct) == ("bot_added", "C1", "U1", False)
    left = one({"type": "member_left_channel", "user": "UBOT", "channel": "C1"})
    assert (left.kind, left.conversation) == ("bot_removed", "C1")
    opened = one({"type": "app_home_opened", "tab": "messages", "channel": "D1", "user": "U1", "event_ts": "1.2"})
    assert (opened.kind, opened.conversation, opened.sender, opened.direct) == ("entered", "D1", "U1", True)
    thread = {"user_id": "U1", "channel_id": "D1", "thread_ts": "5.6"}
    started = one({"type": "assistant_thread_started", "assistant_thread": thread})
    assert (started.kind, started.conversation, started.sender, started.thread) == ("entered", "D1", "U1", "5.6")


def changed(now: dict[str, Any], before: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "channel": "D1",
        "channel_type": "im",
        "message": {"user": "U1", "ts": "1.2", "edited": {"ts": "9.0"}, **now},
        "previous_message": {"user": "U1", "ts": "1.2", **before},
        "ts": "9.1",
        **more,
    }


def test_an_edit_is_about_the_message_it_changes() -> None:
    message = one(changed({"text": "new"}, {"text": "old"}))
    assert (message.kind, message.text, message.message_id, message.sender) == ("edited", "new", "1.2", "U1")
    assert message.dedup_id != one({**DIRECT, "ts": "1.2"}).dedup_id
    assert receive(changed({"text": "same"}, {"text": "same"})) == ()
    assert receive(changed({"text": "a", "user": "UBOT"}, {"text": "b"})) == ()
    assert receive(changed({"text": "a", "bot_id": "B"}, {"text": "b"})) == ()
    group = {"channel": "C1", "channel_type": "channel"}
    assert receive(changed({"text": "a"}, {"text": "b"}, **group)) == ()
    assert one(changed({"text": "<@UBOT> a"}, {"text": "b"}, **group)).text == "a"


def test_a_deletion_is_a_recall() -> None:
    event = {"type": "message", "subtype": "message_deleted", "hidden": True, "channel": "D1", "deleted_ts": "1.2", "ts": "9.1"}
    before = {"user": "U1", "ts": "1.2", "text": "x"}
    message = one({**event, "previous_message": before})
    assert (message.kind, message.message_id, message.sender, message.conversation) == ("recalled", "1.2", "U1", "D1")
    assert one(event).message_id == "1.2"
    assert receive({**event, "previous_message": {**before, "bot_id": "BBOT"}}) == ()
    assert receive({**event, "channel": "C1", "previous_message": before}) == ()
    tombstone = changed({"subtype": "tombstone", "user": "USLACKBOT", "text": "This message was deleted."}, {"text": "x"})
    assert one(tombstone).kind == "recalled"


# --- interactions and commands ---


def click(**action: Any) -> dict[str, Any]:
    return {
        "type": "block_actions",
        "trigger_id": "tr1",
        "response_url": "https://hooks.slack.com/actions/1",
        "user": {"id": "U1", "username": "ann"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "message": {"ts": "1.2", "thread_ts": "1.0"},
        "container": {"type": "message", "message_ts": "1.2", "channel_id": "C1", "is_ephemeral": False},
        "actions": [{"action_id": "ok", "block_id": "b", "type": "button", "action_ts": "1800000000.5", **action}],
    }


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ({"value": '{"a":1}'}, {"a": 1}),
        ({"value": "plain"}, "plain"),
        ({"value": "0042"}, "0042"),
        ({"value": "NaN"}, "NaN"),
        ({}, None),
        ({"type": "static_select", "selected_option": {"value": '"x"'}}, "x"),
        ({"type": "checkboxes", "selected_options": [{"value": "a"}, {"value": "2"}]}, ["a", 2]),
        ({"type": "datepicker", "selected_date": "2026-02-03"}, "2026-02-03"),
        ({"type": "users_select", "selected_user": "U7"}, "U7"),
        ({"type": "plain_text_input", "value": "[1]"}, "[1]"),
    ],
)
def test_a_click_brings_its_value(action: dict[str, Any], value: Any) -> None:
    received = interact(click(**action))
    (message,) = received.messages
    assert (message.kind, message.action_key, message.action_value) == ("card_action", "ok", value)
    assert (message.conversation, message.sender, message.message_id, message.thread) == ("C1", "U1", "1.2", "1.0")
    assert (message.dedup_id, received.reply.status, received.reply.body) == ("tr1", 200, "")


def test_a_click_without_a_channel_is_answered_to_the_person() -> None:
    payload = click(value="1")
    del payload["channel"], payload["message"]
    payload["container"] = {"type": "view", "view_id": "V1"}
    (message,) = interact(payload).messages
    assert (message.conversation, message.direct) == ("U1", True)


def test_forms_shortcuts_and_the_rest() -> None:
    view = {"id": "V1", "callback_id": "leave", "state": {"values": {"b": {"days": {"type": "plain_text_input", "value": "3"}}}}}
    (message,) = interact({"type": "view_submission", "user": {"id": "U1"}, "team": {"id": "T1"}, "view": view}).messages
    assert (message.kind, message.action_key, message.action_value) == ("card_action", "leave", {"days": "3"})
    (message,) = interact({"type": "shortcut", "callback_id": "ask", "trigger_id": "t", "user": {"id": "U1"}}).messages
    assert (message.kind, message.menu_key, message.conversation) == ("menu", "ask", "U1")
    about = {"ts": "1.2", "text": "It &amp; that"}
    payload = {"type": "message_action", "callback_id": "sum", "user": {"id": "U1"}, "channel": {"id": "C1"}, "message": about}
    (message,) = interact(payload).messages
    assert (message.menu_key, message.quoted, message.message_id) == ("sum", "It & that", "1.2")
    assert interact({"type": "view_closed", "user": {"id": "U1"}}).messages == ()
    assert json.loads(interact({"type": "block_suggestion"}).reply.body) == {"options": []}
    assert interact({"type": "brand_new"}).messages == ()


def test_a_command_is_a_message_with_its_name() -> None:
    form = {
        "command": "/ask", "text": "how &amp; why <@U2|ann>", "user_id": "U1", "user_name": "ann", "channel_id": "C1",
        "team_id": "T1", "trigger_id": "tr2", "response_url": "https://hooks.slack.com/commands/1",
    }  # fmt: skip
    received = slack().receive(signed(urlencode(form).encode(), channel="commands", kind=FORM))
    (message,) = received.messages
    assert (message.kind, message.menu_key, message.text) == ("slash", "/ask", "how & why @ann")
    assert (message.conversation, message.sender, message.dedup_id, message.direct) == ("C1", "U1", "tr2", False)
    assert (received.reply.status, received.reply.body) == (200, "")


FIELDS = [
    "type", "event", "channel", "user", "text", "ts", "subtype", "message", "previous_message", "files", "actions", "view",
    "state", "values",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(FIELDS),
                inner,
                max_size=6,
            )
        ),
        max_leaves=30,
    ),
    st.sampled_from(["event_callback", "block_actions", "view_submission", "shortcut"]),
)
def test_no_proven_body_breaks_the_reader(content: Any, kind: str) -> None:
    body = {**(content if isinstance(content, dict) else {"event": content}), "type": kind}
    for channel, data, form in (
        ("events", json.dumps(body).encode(), "application/json"),
        ("interactive", urlencode({"payload": json.dumps(body)}).encode(), FORM),
    ):
        try:
            slack().receive(signed(data, channel=channel, kind=form))
        except Refused:
            continue  # a clear 4xx is an answer; any other exception is not
