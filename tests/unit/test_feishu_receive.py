"""Feishu webhooks: what is proven, what is refused, and what each event becomes. In by the front door: signed bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import Refused, VerificationError
from assistant.messages import Message, Received, Webhook, message_from_json, to_json
from assistant.platforms import platform_class
from assistant.platforms.feishu import Feishu
from tests.simulators import feishu as vendor

NOW = 1_735_000_000
KEY = "kNfNPjO2q8aPvsmE"
TOKEN = "rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV"
BOT = "ou_bot"
SECRETS = {
    "app_id": "cli_a",
    "app_secret": "s3cr3t-s3cr3t",
    "encrypt_key": KEY,
    "verification_token": TOKEN,
    "bot_open_id": BOT,
}
PLAIN = {k: v for k, v in SECRETS.items() if k != "encrypt_key"}


def feishu(secrets: dict[str, str] | None = None, *, now: float = NOW) -> Feishu:
    return Feishu(SECRETS if secrets is None else secrets, clock=lambda: now)


def seal(data: Any, key: str = KEY) -> bytes:
    return vendor.seal(data, key)


def signed(body: bytes, *, stamp: int | str = NOW, key: str = KEY, algorithm: str = "sha256") -> Webhook:
    return vendor.signed(body, stamp=stamp, key=key, algorithm=algorithm)


def unsigned(body: bytes) -> Webhook:
    return Webhook(platform="feishu", channel="events", body=body)


def v2(event_type: str, event: dict[str, Any], *, event_id: str = "ev_1", token: str = TOKEN) -> dict[str, Any]:
    header = {
        "event_id": event_id,
        "event_type": event_type,
        "create_time": str(NOW * 1000 + 7),
        "token": token,
        "app_id": "cli_a",
        "tenant_key": "tk_1",
    }
    return {"schema": "2.0", "header": header, "event": event}


def said(content: Any, *, kind: str = "text", chat: str = "group", mentions: Any = None, **more: Any) -> dict[str, Any]:
    if mentions is None:
        mentions = [mention("@_user_1", BOT, "助手")] if chat == "group" else []
    message = {
        "message_id": "om_1",
        "create_time": str(NOW * 1000),
        "chat_id": "oc_1",
        "chat_type": chat,
        "message_type": kind,
        "content": content if isinstance(content, str) else json.dumps(content),
        "mentions": mentions,
    } | more
    sender = {"sender_id": {"open_id": "ou_ann", "user_id": "u1"}, "sender_type": "user", "tenant_key": "tk_1"}
    return v2("im.message.receive_v1", {"sender": sender, "message": message})


def mention(key: str, open_id: str, name: str, **more: str) -> dict[str, Any]:
    return {"key": key, "id": {"open_id": open_id, "user_id": "", "union_id": ""}, "name": name} | more


def receive(event: dict[str, Any], platform: Feishu | None = None) -> Received:
    return (platform or feishu()).receive(signed(seal(event)))


def only(event: dict[str, Any], platform: Feishu | None = None) -> Message:
    (message,) = receive(event, platform).messages
    return message


# --- proof ---------------------------------------------------------------------------------------


def test_the_registry_knows_feishu() -> None:
    assert platform_class("feishu") is Feishu


def test_a_signed_and_encrypted_event_is_accepted_and_answered_with_an_empty_object() -> None:
    got = receive(said({"text": "@_user_1 hello"}))
    assert got.reply.status == 200
    assert got.reply.body == "{}"
    assert not got.challenge
    (message,) = got.messages
    assert (message.kind, message.text, message.conversation, message.sender) == ("text", "hello", "oc_1", "ou_ann")
    assert (message.message_id, message.dedup_id, message.event_id, message.tenant) == ("om_1", "om_1", "ev_1", "tk_1")
    assert (message.direct, message.sent_at) == (False, NOW * 1000)


def test_an_unsigned_event_is_refused_although_it_is_encrypted_and_its_token_is_right() -> None:
    with pytest.raises(VerificationError):
        feishu().receive(unsigned(seal(said({"text": "hi"}))))


def test_a_plain_event_is_refused_when_an_encrypt_key_is_set_even_signed() -> None:
    body = json.dumps(said({"text": "hi"})).encode()
    for webhook in (unsigned(body), signed(body)):
        with pytest.raises(VerificationError):
            feishu().receive(webhook)


@pytest.mark.parametrize("missing", ["x-lark-request-timestamp", "x-lark-request-nonce", "x-lark-signature"])
def test_a_missing_signature_header_is_refused(missing: str) -> None:
    webhook = signed(seal(said({"text": "hi"})))
    headers = {k: v for k, v in webhook.headers.items() if k != missing}
    with pytest.raises(VerificationError):
        feishu().receive(Webhook(platform="feishu", channel="events", headers=headers, body=webhook.body))


def test_one_changed_byte_of_the_body_is_refused_also_a_blank_that_json_does_not_care_about() -> None:
    webhook = signed(seal(said({"text": "hi"})))
    for body in (webhook.body + b" ", webhook.body.replace(b'": "', b'":"')):
        with pytest.raises(VerificationError):
            feishu().receive(Webhook(platform="feishu", channel="events", headers=webhook.headers, body=body))


@pytest.mark.parametrize(("age", "accepted"), [(0, True), (7 * 3600 + 60, True), (11 * 3600, False), (-250, True), (-900, False)])
def test_the_window_is_wide_enough_for_the_last_retry_and_no_wider(age: int, accepted: bool) -> None:
    webhook = signed(seal(said({"text": "hi"}, chat="p2p")), stamp=NOW - age)
    if accepted:
        assert feishu().receive(webhook).messages
    else:
        with pytest.raises(VerificationError, match="signed"):
            feishu().receive(webhook)


def test_the_window_is_a_setting() -> None:
    narrow = Feishu(SECRETS, clock=lambda: NOW, replay_window=60)
    with pytest.raises(VerificationError):
        narrow.receive(signed(seal(said({"text": "hi"})), stamp=NOW - 61))


@pytest.mark.parametrize("stamp", ["soon", "nan", "inf", "", "١٢"])
def test_a_time_that_is_none_is_refused(stamp: str) -> None:
    with pytest.raises(VerificationError):
        feishu().receive(signed(seal(said({"text": "hi"})), stamp=stamp))


def test_another_verification_token_in_a_well_signed_event_is_refused() -> None:
    event = said({"text": "hi"})
    event["header"]["token"] = "other"
    with pytest.raises(VerificationError):
        receive(event)


@pytest.mark.parametrize("absent", ["verification_token"])
def test_a_missing_secret_fails_closed(absent: str) -> None:
    secrets = {k: v for k, v in SECRETS.items() if k != absent}
    with pytest.raises(VerificationError, match=absent):
        receive(said({"text": "hi"}), feishu(secrets))
    with pytest.raises(VerificationError):
        feishu({}).receive(unsigned(json.dumps(said({"text": "hi"})).encode()))


def test_without_an_encrypt_key_the_token_is_the_proof() -> None:
    event = said({"text": "@_user_1 hi"})
    (message,) = feishu(PLAIN).receive(unsigned(json.dumps(event).encode())).messages
    assert message.text == "hi"
    for token in ("wrong", None):
        event["header"]["token"] = token
        with pytest.raises(VerificationError):
            feishu(PLAIN).receive(unsigned(json.dumps(event).encode()))


def test_an_encrypted_event_without_a_key_names_the_missing_field() -> None:
    with pytest.raises(VerificationError, match="encrypt_key"):
        feishu(PLAIN).receive(signed(seal(said({"text": "hi"}))))


def test_what_is_well_signed_but_unreadable_is_a_bad_request_and_not_a_forgery() -> None:
    for plain in (b"[1]", b"nothing", b"\xff\xfe", b'{"a":' * 50_000, b"{}", b'{"schema":"2.0"}'):
        with pytest.raises(Refused) as refused:
            feishu().receive(signed(seal(plain)))
        assert refused.value.status == 400
    with pytest.raises(Refused) as refused:
        feishu().receive(signed(b"not json"))
    assert refused.value.status == 400


def test_an_unknown_channel_is_not_found() -> None:
    with pytest.raises(Refused) as refused:
        feishu().receive(Webhook(platform="feishu", channel="cards", body=b"{}"))
    assert refused.value.status == 404


# --- the address check -----------------------------------------------------------------------------

CHECK = {"type": "url_verification", "token": TOKEN, "challenge": 'a"b✓'}


def test_the_encrypted_unsigned_address_check_is_answered() -> None:
    got = feishu().receive(unsigned(seal(CHECK)))
    assert got.challenge
    assert json.loads(got.reply.body) == {"challenge": 'a"b✓'}
    assert not got.messages


def test_the_plain_address_check_is_answered_only_without_an_encrypt_key() -> None:
    body = json.dumps(CHECK).encode()
    assert feishu(PLAIN).receive(unsigned(body)).challenge
    with pytest.raises(VerificationError):
        feishu().receive(unsigned(body))


@pytest.mark.parametrize("token", ["", "wrong", None, 7, [TOKEN]])
def test_the_address_check_needs_the_right_token(token: Any) -> None:
    for webhook, platform in (
        (unsigned(seal(CHECK | {"token": token})), feishu()),
        (unsigned(json.dumps(CHECK | {"token": token}).encode()), feishu(PLAIN)),
    ):
        with pytest.raises(VerificationError):
            platform.receive(webhook)


def test_every_unsigned_failure_sounds_the_same() -> None:
    good = json.loads(seal(CHECK))["encrypt"]
    damaged = bytearray(base64.b64decode(good))
    damaged[-1] ^= 1
    words = set()
    for sealed in (
        base64.b64encode(damaged).decode(),
        good[:-4],
        "%%%",
        json.loads(seal(b"[]"))["encrypt"],
        json.loads(seal(said({"text": "x"})))["encrypt"],
        json.loads(seal(CHECK | {"token": "wrong"}))["encrypt"],
    ):
        with pytest.raises(VerificationError) as refused:
            feishu().receive(unsigned(json.dumps({"encrypt": sealed}).encode()))
        words.add(str(refused.value))
    assert len(words) == 1


@settings(max_examples=80, deadline=None)
@given(body=st.binary(max_size=300), headers=st.booleans())
def test_no_stranger_gets_anything_but_a_refusal(body: bytes, headers: bool) -> None:
    webhook = unsigned(body)
    if headers:
        webhook = signed(body, key="not the key")
    for secrets in (SECRETS, PLAIN):
        with pytest.raises(Refused):
            feishu(secrets).receive(webhook)


# --- messages --------------------------------------------------------------------------------------


def test_mentions_are_read_as_names_and_ours_goes_away() -> None:
    mentions = [
        mention("@_user_1", BOT, "助手"),
        mention("@_user_10", "ou_li", "李雷 & Co"),
        mention("@_user_2", "ou_x", "@_user_1"),
    ]
    text = "@_user_1 ask @_user_10 and @_user_2 <b>&amp;</b> @_all  "
    message = only(said({"text": text}, mentions=mentions))
    assert message.text == "ask @李雷 & Co and @@_user_1 <b>&amp;</b> @all"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@_user_1", ""),
        ("hi @_user_1", "hi"),
        ("hi @_user_1 there", "hi there"),
        ("你好@_user_1 帮我", "你好 帮我"),
        ("@_user_1\nfirst line", "first line"),
        ("@_user_1 @_user_1 twice", "twice"),
        ("@_all @_user_1 hello", "@all hello"),
        ("mail me@_users", "mail me@_users"),
    ],
)
def test_the_mention_goes_with_its_blank(text: str, expected: str) -> None:
    assert only(said({"text": text})).text == expected


def test_everybody_is_named_as_the_event_names_them() -> None:
    everybody = {"key": "@_all", "id": {"open_id": "", "user_id": "", "union_id": ""}, "name": "所有人"}
    message = only(said({"text": "@_all @_user_1 hi"}, mentions=[everybody, mention("@_user_1", BOT, "b")]))
    assert message.text == "@所有人 hi"


def test_group_talk_that_does_not_name_us_is_left_alone() -> None:
    other = [mention("@_user_1", "ou_li", "Li")]
    for event in (
        said({"text": "@_user_1 hi"}, mentions=other),
        said({"text": "@_all hi"}, mentions=[]),
        said({"text": "x"}, mentions=[]),
    ):
        assert receive(event).messages == ()
    everything = feishu(SECRETS | {"answer_all": "true"})
    assert only(said({"text": "@_user_1 hi"}, mentions=other), everything).text == "@Li hi"


def test_without_a_configured_open_id_the_mention_that_must_be_ours_is_found() -> None:
    nameless = feishu({k: v for k, v in SECRETS.items() if k != "bot_open_id"})
    li, bot = mention("@_user_2", "ou_li", "Li", mentioned_type="user"), mention("@_user_1", "ou_b", "Bot", mentioned_type="bot")
    assert only(said({"text": "@_user_2 says @_user_1 knows"}, mentions=[li, bot]), nameless).text == "@Li says knows"
    plain = [mention("@_user_12", "ou_li", "Li"), mention("@_user_1", "ou_b", "Bot")]
    assert only(said({"text": "@_user_1 ask @_user_12"}, mentions=plain), nameless).text == "ask @Li"
    assert only(said({"text": "hi @_user_1"}, chat="p2p", mentions=plain[1:]), nameless).text == "hi @Bot"


def test_a_private_chat_needs_no_mention() -> None:
    message = only(said({"text": " hi "}, chat="p2p"))
    assert (message.text, message.direct) == ("hi", True)


@pytest.mark.parametrize(
    "sender", [{"sender_type": "app", "sender_id": {"open_id": "ou_b2"}}, {"sender_type": "user", "sender_id": {"open_id": BOT}}]
)
def test_what_we_or_other_robots_say_is_ignored(sender: dict[str, Any]) -> None:
    event = said({"text": "@_user_1 loop"})
    event["event"]["sender"] = sender
    assert receive(event).messages == ()


def test_a_topic_and_what_is_answered_come_along() -> None:
    message = only(said({"text": "@_user_1 hi"}, thread_id="omt_1", root_id="om_0", parent_id="om_00"))
    assert (message.thread, message.reply_to) == ("omt_1", "om_00")


def test_a_post_reads_like_text_with_links_code_and_its_image() -> None:
    post = {
        "title": "标题",
        "content": [
            [
                {"tag": "at", "user_id": "@_user_1", "user_name": "助手"},
                {"tag": "text", "text": " see &lt;x&gt; ", "un_escape": True},
            ],
            [
                {"tag": "a", "text": "docs", "href": "https://a.example/x"},
                {"tag": "text", "text": " & "},
                {"tag": "at", "user_id": "@_user_2", "user_name": "李"},
            ],
            [{"tag": "img", "image_key": "img_1"}],
            [{"tag": "code_block", "language": "PYTHON", "text": "print(1)\n"}],
        ],
    }
    message = only(said(post, kind="post", mentions=[mention("@_user_1", BOT, "助手"), mention("@_user_2", "ou_l", "李")]))
    assert message.kind == "rich_text"
    assert message.text == "标题\nsee <x>\n[docs](https://a.example/x) & @李\n\n```python\nprint(1)\n```"
    assert message.file_key == "img_1"


def test_a_post_by_language_is_read_too() -> None:
    message = only(said({"en_us": {"title": "", "content": [[{"tag": "text", "text": "hello"}]]}}, kind="post"))
    assert message.text == "hello"


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("image", {"image_key": "img_7"}, ("image", "img_7", "")),
        ("file", {"file_key": "file_7", "file_name": "报告.pdf"}, ("file", "file_7", "报告.pdf")),
        ("audio", {"file_key": "file_8", "duration": 2000}, ("file", "file_8", "")),
        ("media", {"file_key": "file_9", "image_key": "i", "file_name": "a.mp4"}, ("file", "file_9", "a.mp4")),
        ("sticker", {"file_key": "s"}, ("other", "", "")),
    ],
)
def test_files_come_as_keys(kind: str, content: dict[str, Any], expected: tuple[str, str, str]) -> None:
    message = only(said(content, kind=kind, chat="p2p"))
    assert (message.kind, message.file_key, message.file_name) == expected


def test_hard_text_survives_the_codec() -> None:
    for text in ("", "\u202eabc", "👩‍👩‍👧", "x" * 100_000, "@_user_1 " * 11_000, '<at open_id="' * 8_000):
        message = only(said({"text": text}, chat="p2p"))
        assert message_from_json(to_json(message)) == message
    lone = only(said('{"text":"a\\ud800b"}', chat="p2p"))
    assert message_from_json(to_json(lone)).text == "a\ufffdb"


@pytest.mark.parametrize("name", ["message_id", "chat_id"])
def test_a_message_without_its_ids_is_a_bad_request(name: str) -> None:
    event = said({"text": "hi"})
    del event["event"]["message"][name]
    with pytest.raises(Refused, match=name):
        receive(event)


def test_content_that_is_no_json_is_a_bad_request() -> None:
    with pytest.raises(Refused, match=r"message\.content"):
        receive(said("nothing", chat="p2p"))


# --- the old envelope ------------------------------------------------------------------------------


def v1(event: dict[str, Any]) -> dict[str, Any]:
    common = {"open_chat_id": "oc_1", "tenant_key": "tk_1", "app_id": "cli_a"}
    return {"uuid": "uu_1", "token": TOKEN, "ts": f"{NOW}.25", "type": "event_callback", "event": common | event}


def test_an_old_message_is_the_twin_of_the_new_one() -> None:
    old = v1(
        {
            "type": "message",
            "chat_type": "group",
            "msg_type": "text",
            "open_id": "ou_ann",
            "open_message_id": "om_1",
            "is_mention": True,
            "text": f'<at open_id="{BOT}">@助手</at> hello <at open_id="ou_x">@Li</at>',
            "text_without_at_bot": ' hello <at open_id="ou_x">@Li</at>',
        }
    )
    message = only(old)
    assert (message.kind, message.text, message.direct) == ("text", "hello @Li", False)
    assert (message.event_id, message.sent_at) == ("uu_1", NOW * 1000 + 250)
    assert message.dedup_id == only(said({"text": "@_user_1 hello"})).dedup_id


def test_old_chat_events_are_understood() -> None:
    kinds = {kind: only(v1({"type": kind, "operator_open_id": "ou_o"})).kind for kind in ("add_bot", "remove_bot")}
    assert kinds == {"add_bot": "bot_added", "remove_bot": "bot_removed"}
    entered = only(v1({"type": "p2p_chat_create", "chat_id": "oc_9", "operator": {"open_id": "ou_o"}}))
    assert (entered.kind, entered.conversation, entered.sender, entered.direct) == ("entered", "oc_9", "ou_o", True)


# --- other events ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("im.chat.member.bot.added_v1", "bot_added"),
        ("im.chat.member.bot.deleted_v1", "bot_removed"),
        ("im.chat.access_event.bot_p2p_chat_entered_v1", "entered"),
    ],
)
def test_what_happens_to_a_chat_is_told(event_type: str, kind: str) -> None:
    message = only(v2(event_type, {"chat_id": "oc_1", "operator_id": {"open_id": "ou_ann"}, "name": "群"}, event_id="ev_9"))
    assert (message.kind, message.conversation, message.sender, message.dedup_id) == (kind, "oc_1", "ou_ann", "ev_9")


def test_a_recalled_message_is_named_and_not_confused_with_the_message_itself() -> None:
    message = only(
        v2("im.message.recalled_v1", {"message_id": "om_1", "chat_id": "oc_1", "recall_time": "1", "recall_type": "x"})
    )
    assert (message.kind, message.message_id, message.conversation, message.dedup_id) == ("recalled", "om_1", "oc_1", "ev_1")


def test_a_menu_click_has_no_chat_and_is_answered_to_the_person() -> None:
    event = {"operator": {"operator_name": "Ann", "operator_id": {"open_id": "ou_ann"}}, "event_key": "help", "timestamp": NOW}
    message = only(v2("application.bot.menu_v6", event))
    assert (message.kind, message.menu_key, message.conversation, message.sender) == ("menu", "help", "ou_ann", "ou_ann")
    assert message.address["receive_id_type"] == "open_id"
    assert message.direct


def test_events_that_ask_for_nothing_give_no_message() -> None:
    for event_type in ("im.message.message_read_v1", "im.message.reaction.created_v1", "contact.user.updated_v3", ""):
        got = receive(v2(event_type, {"message_id": "om_1"}))
        assert got.messages == ()
        assert got.reply.status == 200


# --- cards -----------------------------------------------------------------------------------------


def clicked(action: dict[str, Any]) -> dict[str, Any]:
    return v2(
        "card.action.trigger",
        {
            "operator": {"open_id": "ou_ann", "user_id": "u", "tenant_key": "tk_1"},
            "token": "c-1",
            "action": action,
            "host": "im_message",
            "context": {"open_message_id": "om_card", "open_chat_id": "oc_1"},
        },
    )


def test_a_click_on_a_card_is_an_action_and_is_answered_with_an_empty_object() -> None:
    got = receive(clicked({"tag": "button", "value": {"key": "approve", "id": 42}}))
    assert got.reply.body == "{}"
    (message,) = got.messages
    assert (message.kind, message.action_key, message.action_value) == ("card_action", "approve", {"key": "approve", "id": 42})
    assert (message.conversation, message.sender, message.message_id, message.dedup_id) == ("oc_1", "ou_ann", "om_card", "ev_1")
    assert message.address["card_token"] == "c-1"


@pytest.mark.parametrize(
    ("action", "key", "value"),
    [
        ({"tag": "button", "value": '{"a": 1}'}, "button", {"a": 1}),
        ({"tag": "button", "value": "word", "name": "go"}, "go", "word"),
        ({"tag": "select_static", "option": "b", "value": {"key": "k"}}, "k", {"key": "k", "option": "b"}),
        ({"tag": "button", "name": "submit", "form_value": {"f": "x"}}, "submit", {"form_value": {"f": "x"}}),
        ({"tag": "checker", "name": "c", "checked": False}, "c", {"checked": False}),
        ({"tag": "input", "input_value": "hi", "value": "v"}, "input", {"input_value": "hi", "value": "v"}),
        ({}, "", None),
    ],
)
def test_an_action_has_a_key_and_a_parsed_value(action: dict[str, Any], key: str, value: Any) -> None:
    message = only(clicked(action))
    assert (message.action_key, message.action_value) == (key, value)


LEGACY = {
    "open_id": "ou_ann",
    "user_id": "u",
    "open_message_id": "om_card",
    "open_chat_id": "oc_1",
    "tenant_key": "tk_1",
    "token": "c-legacy",
    "action": {"value": {"key": "yes"}, "tag": "button"},
}


@pytest.mark.parametrize("secrets", [SECRETS, PLAIN])
def test_an_old_card_callback_is_proven_by_its_own_signature(secrets: dict[str, str]) -> None:
    body = json.dumps(LEGACY).encode()
    (message,) = feishu(secrets).receive(signed(body, key=TOKEN, algorithm="sha1")).messages
    assert (message.kind, message.action_key, message.conversation) == ("card_action", "yes", "oc_1")
    again = feishu(secrets).receive(signed(body, key=TOKEN, algorithm="sha1", stamp=NOW - 5)).messages[0]
    assert again.dedup_id == message.dedup_id
    with pytest.raises(VerificationError):
        feishu(secrets).receive(unsigned(body))
    with pytest.raises(VerificationError):
        feishu(secrets).receive(signed(body, key="wrong", algorithm="sha1"))
    with pytest.raises(VerificationError):
        feishu(secrets).receive(signed(body, key=TOKEN, algorithm="sha1", stamp=NOW - 40_000))


def test_the_old_signature_opens_the_door_to_nothing_but_cards() -> None:
    for event in (said({"text": "hi"}), CHECK, v1({"type": "message"})):
        with pytest.raises(VerificationError):
            feishu().receive(signed(json.dumps(event).encode(), key=TOKEN, algorithm="sha1"))
