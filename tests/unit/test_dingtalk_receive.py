"""DingTalk webhooks: three channels, three proofs, and what each call-back becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import Refused, VerificationError
from assistant.messages import Message, Received, Webhook, message_from_json, to_json
from assistant.platforms import crypto, platform_class
from assistant.platforms.dingtalk import DingTalk
from assistant.platforms.dingtalk_events import track_id
from tests.simulators.dingtalk import card_call, event_call, robot_call

NOW = 1_735_000_000
AES = "1234567890123456789012345678901234567890123"
SECRETS = {
    "app_key": "dingapp",
    "app_secret": "app-secret",
    "robot_code": "dingbot",
    "event_token": "123456",
    "event_aes_key": AES,
    "event_owner_key": "dingsnotzck6pm5veliw",
    "card_api_secret": "card-secret",
    "corp_id": "dingcorp",
}


def dingtalk(*, now: float = NOW, without: str = "", **secrets: str) -> DingTalk:
    return DingTalk({k: v for k, v in (SECRETS | secrets).items() if k != without}, clock=lambda: now)


def said(**changes: Any) -> dict[str, Any]:
    return {
        "msgId": "msg1",
        "msgtype": "text",
        "text": {"content": " hello "},
        "conversationType": "2",
        "conversationId": "cidAAA==",
        "conversationTitle": "群",
        "senderStaffId": "staff1",
        "senderId": "$:LWCP_v1:$x",
        "senderNick": "安",
        "senderCorpId": "dingcorp",
        "chatbotUserId": "$:LWCP_v1:$bot",
        "chatbotCorpId": "dingcorp",
        "isInAtList": True,
        "robotCode": "dingbot",
        "createAt": NOW * 1000 - 5,
        "sessionWebhook": "https://oapi.dingtalk.com/robot/sendBySession?session=1",
        "sessionWebhookExpiredTime": NOW * 1000 + 5_400_000,
    } | changes


def robot(data: Any, platform: DingTalk | None = None, *, stamp: int | str = NOW * 1000) -> Received:
    return (platform or dingtalk()).receive(robot_call(data, secret=SECRETS["app_secret"], stamp=stamp))


def only(data: Any, platform: DingTalk | None = None) -> Message:
    (message,) = robot(data, platform).messages
    return message


# --- robot messages --------------------------------------------------------------------------------


def test_the_registry_knows_dingtalk() -> None:
    assert platform_class("dingtalk") is DingTalk


def test_a_signed_robot_message_is_accepted() -> None:
    got = robot(said())
    assert (got.reply.status, got.reply.body, got.challenge) == (200, "", False)
    (message,) = got.messages
    assert (message.kind, message.text, message.conversation, message.sender) == ("text", "hello", "cidAAA==", "staff1")
    assert (message.message_id, message.dedup_id, message.direct, message.tenant) == ("msg1", "msg1", False, "dingcorp")
    assert (message.sender_name, message.sent_at) == ("安", NOW * 1000 - 5)


@pytest.mark.parametrize("header", ["timestamp", "sign"])
def test_a_missing_header_is_refused(header: str) -> None:
    webhook = robot_call(said(), secret="app-secret", stamp=NOW * 1000)
    headers = {k: v for k, v in webhook.headers.items() if k != header}
    with pytest.raises(VerificationError):
        dingtalk().receive(Webhook(platform="dingtalk", channel="robot", headers=headers, body=webhook.body))


@pytest.mark.parametrize(
    ("stamp", "good"),
    [
        (NOW * 1000 - 3_599_000, True),
        (NOW * 1000 + 3_599_000, True),
        (NOW * 1000 - 3_601_000, False),
        (NOW * 1000 + 3_601_000, False),
        ("", False),
        ("soon", False),
        ("-1", False),
        ("１７３５０００００００００", False),
        (f"{NOW * 1000}.0", False),
    ],
)
def test_a_robots_signature_is_good_for_an_hour(stamp: int | str, good: bool) -> None:
    if good:
        assert robot(said(), stamp=stamp).messages
    else:
        with pytest.raises(VerificationError):
            robot(said(), stamp=stamp)


def test_a_wrong_secret_and_a_missing_one_are_refused() -> None:
    with pytest.raises(VerificationError):
        dingtalk().receive(robot_call(said(), secret="other", stamp=NOW * 1000))
    with pytest.raises(VerificationError, match="app_secret"):
        robot(said(), dingtalk(without="app_secret"))


@pytest.mark.parametrize("change", [{"robotCode": "otherbot"}, {"chatbotCorpId": "othercorp"}])
def test_another_robot_or_company_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(VerificationError):
        robot(said(**change))


def test_one_signature_is_good_for_one_body() -> None:
    platform = dingtalk()
    first = only(said(), platform)
    again = only(said(), platform)
    assert again.dedup_id == first.dedup_id
    assert again.proof == first.proof
    with pytest.raises(VerificationError):
        robot(said(text={"content": "delete everything"}), platform)
    assert only(said(), platform).text == "hello"
    assert robot(said(msgId="msg2"), platform, stamp=NOW * 1000 + 1).messages


def test_the_proof_names_the_signature_and_the_body_for_all_instances() -> None:
    one, other = only(said()), only(said(text={"content": "forged"}))
    assert one.proof.partition(":")[0] == other.proof.partition(":")[0]
    assert one.proof != other.proof


def test_a_signature_is_remembered_as_long_as_it_is_good_and_not_for_ever() -> None:
    now = [float(NOW)]
    platform = DingTalk(SECRETS, clock=lambda: now[0])
    for n in range(50):
        now[0] = NOW + n * 600
        platform.receive(robot_call(said(msgId=f"m{n}"), secret="app-secret", stamp=int(now[0] * 1000)))
    assert len(platform._seen) < 20
    with pytest.raises(VerificationError):
        platform.receive(robot_call(said(msgId="forged"), secret="app-secret", stamp=int((now[0] - 3000) * 1000)))


def test_an_outsider_is_known_by_the_opaque_id() -> None:
    assert only(said(senderStaffId="")).sender == "$:LWCP_v1:$x"


def test_talk_that_does_not_name_us_and_our_own_words_are_left_alone() -> None:
    assert robot(said(isInAtList=False)).messages == ()
    assert robot(said(senderStaffId="", senderId="$:LWCP_v1:$bot")).messages == ()
    assert only(said(isInAtList=False), dingtalk(answer_all="true")).text == "hello"
    assert only(said(isInAtList=False, conversationType="1")).direct


RICH = {"richText": [{"text": "看 "}, {"type": "picture", "downloadCode": "c1"}, {"text": "这个"}]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"msgtype": "picture", "content": {"downloadCode": "c1"}}, ("image", "", "c1", "")),
        ({"msgtype": "richText", "content": RICH}, ("rich_text", "看 这个", "c1", "")),
        ({"msgtype": "file", "content": {"downloadCode": "c1", "fileName": "报告.pdf"}}, ("file", "", "c1", "报告.pdf")),
        ({"msgtype": "file", "content": '{"downloadCode":"c1","fileName":"a"}'}, ("file", "", "c1", "a")),
        ({"msgtype": "audio", "content": {"downloadCode": "c1", "recognition": "你好"}}, ("file", "你好", "c1", "")),
        ({"msgtype": "video", "content": {"downloadCode": "c1", "videoType": "mp4"}}, ("file", "", "c1", "video.mp4")),
        ({"msgtype": "unknownMsgType"}, ("other", "", "", "")),
    ],
)
def test_each_kind_of_message(change: dict[str, Any], expected: tuple[str, str, str, str]) -> None:
    message = only(said(**change))
    assert (message.kind, message.text, message.file_key, message.file_name) == expected


def test_a_quoted_message_is_data() -> None:
    replied = {"content": "x", "isReplyMsg": True, "repliedMsg": {"msgId": "m0", "content": {"text": "the old words"}}}
    message = only(said(text=replied, originalMsgId="m0"))
    assert (message.quoted, message.reply_to) == ("the old words", "m0")


@pytest.mark.parametrize("name", ["msgId", "conversationId"])
def test_a_message_without_its_ids_is_a_bad_request(name: str) -> None:
    with pytest.raises(Refused, match=name) as refused:
        robot(said(**{name: ""}))
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"nothing", b"\xff", b'{"a":' * 50_000])
def test_a_signed_body_that_cannot_be_read_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        robot(body)
    assert refused.value.status == 400


def test_hard_text_survives_the_codec() -> None:
    for text in ("", "\u202eabc", "👩‍👩‍👧", "x" * 100_000, "a\ud800"):
        message = only(said(text={"content": text}))
        assert message_from_json(to_json(message)).message_id == "msg1"


def test_an_unknown_channel_is_not_found() -> None:
    with pytest.raises(Refused) as refused:
        dingtalk().receive(Webhook(platform="dingtalk", channel="stream"))
    assert refused.value.status == 404


# --- events ----------------------------------------------------------------------------------------


def event(data: Any, platform: DingTalk | None = None, **how: Any) -> Received:
    call: dict[str, Any] = {
        "token": SECRETS["event_token"],
        "aes_key": AES,
        "owner": SECRETS["event_owner_key"],
        "stamp": NOW * 1000,
    } | how
    return (platform or dingtalk()).receive(event_call(data, **call))


def opened(received: Received) -> str:
    """The word in the reply, after checking that DingTalk could verify it."""
    answer = json.loads(received.reply.body)
    assert set(answer) == {"msg_signature", "timeStamp", "nonce", "encrypt"}
    assert answer["msg_signature"] == crypto.sorted_sha1("123456", answer["timeStamp"], answer["nonce"], answer["encrypt"])
    assert "\n" not in answer["encrypt"]
    key = crypto.key_from_text(AES, field="k")
    return crypto.open_envelope(answer["encrypt"], key=key, receive_id=SECRETS["event_owner_key"]).decode()


def test_the_vendors_known_answer() -> None:
    sealed = "YvkvaGe4hQxd3VxRmEty0dVlnCOAqwf56xwTRHDHoOURqhalbmBJQk5FNcRk42Gl5T0YQXZNwpwWSm1xAFJ5ZA=="
    assert crypto.sorted_sha1("123456", "1614767836", "A7Co0cJLMzIDtMMI", sealed) == "9a95a004dd16f5c307e849b994173f76aa26e5eb"
    key = crypto.key_from_text(AES, field="k")
    assert crypto.open_envelope(sealed, key=key, receive_id="dingsnotzck6pm5veliw") == b"success"


def test_the_address_check_is_answered_with_the_sealed_word() -> None:
    got = event({"EventType": "check_url"})
    assert got.challenge
    assert opened(got) == "success"


@pytest.mark.parametrize("name", ["signature", "msg_signature"])
@pytest.mark.parametrize("stamp_name", ["timestamp", "timeStamp"])
@pytest.mark.parametrize("stamp", [NOW, NOW * 1000, str(NOW)])
def test_every_spelling_of_the_query_is_read(name: str, stamp_name: str, stamp: int | str) -> None:
    assert event({"EventType": "check_url"}, name=name, stamp_name=stamp_name, stamp=stamp).challenge


def test_a_recall_names_the_message_whatever_the_case_of_its_keys() -> None:
    recall = {"EventType": "robot_msg_recall", "EventTime": NOW * 1000, "eventId": "ev1", "CorpId": "dingcorp"}
    for keys in (
        {"OpenConversationId": "cidA", "UserId": "staff1", "ProcessQueryKey": "pq1", "RobotCode": "dingbot"},
        {"openConversationId": "cidA", "userId": "staff1", "processQueryKey": "pq1", "robotCode": "dingbot"},
    ):
        got = event(recall | keys)
        (message,) = got.messages
        assert opened(got) == "success"
        assert (message.kind, message.conversation, message.sender, message.message_id) == ("recalled", "cidA", "staff1", "pq1")
        assert (message.dedup_id, message.event_id, message.sent_at) == ("ev1", "ev1", NOW * 1000)
    assert event(recall | {"OpenConversationId": "c", "RobotCode": "otherbot"}).messages == ()


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [("im_cool_app_install", "bot_added"), ("im_cool_app_uninstall", "bot_removed"), ("chat_disband", "bot_removed")],
)
def test_chat_events(event_type: str, kind: str) -> None:
    data = {"EventType": event_type, "openConversationId": "cidA", "operator": "staff1", "operateTime": NOW * 1000, "BizId": "b1"}
    (message,) = event(data).messages
    assert (message.kind, message.conversation, message.sender, message.dedup_id) == (kind, "cidA", "staff1", "b1")


def test_events_that_ask_for_nothing_are_acknowledged_all_the_same() -> None:
    got = event({"EventType": "chat_update_title", "chatId": "c", "title": "新"})
    assert got.messages == ()
    assert opened(got) == "success"


def test_events_without_an_id_are_told_apart_by_what_they_say() -> None:
    first, second = ({"EventType": "chat_disband", "chatId": c} for c in ("c1", "c2"))
    assert event(first).messages[0].dedup_id == event(first).messages[0].dedup_id != event(second).messages[0].dedup_id


@pytest.mark.parametrize(
    "how",
    [
        {"token": "wrong"},
        {"aes_key": AES[::-1]},
        {"owner": "othercorp"},
        {"stamp": NOW * 1000 - 11 * 3600 * 1000},
        {"stamp": NOW * 1000 + 400_000},
        {"stamp": "never"},
        {"stamp": ""},
        {"name": "sign"},
    ],
)
def test_a_wrong_event_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        event({"EventType": "check_url"}, **how)


@pytest.mark.parametrize("field", ["event_token", "event_aes_key", "event_owner_key"])
def test_a_missing_event_secret_fails_closed(field: str) -> None:
    with pytest.raises(VerificationError, match=field):
        event({"EventType": "check_url"}, dingtalk(without=field))


def test_a_plain_event_is_refused() -> None:
    webhook = event_call({"EventType": "check_url"}, token="123456", aes_key=AES, owner="o", stamp=NOW)
    for body in (b'{"EventType":"check_url"}', b'{"encrypt":7}'):
        with pytest.raises(VerificationError):
            dingtalk().receive(Webhook(platform="dingtalk", channel="events", query=webhook.query, body=body))


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=200),
    query=st.dictionaries(st.sampled_from(["signature", "timestamp", "nonce"]), st.text(max_size=20)),
)
def test_no_stranger_gets_anything_but_a_refusal(body: bytes, query: dict[str, str]) -> None:
    for channel in ("robot", "events", "cards"):
        with pytest.raises(Refused):
            dingtalk().receive(Webhook(platform="dingtalk", channel=channel, headers=query, query=query, body=body))


# --- cards -----------------------------------------------------------------------------------------


def clicked(actions: list[str], params: Any = None, **changes: Any) -> dict[str, Any]:
    content = json.dumps({"cardPrivateData": {"actionIds": actions, "params": params or {}}})
    return {
        "type": "actionCallback",
        "outTrackId": "track1",
        "corpId": "dingcorp",
        "userId": "staff1",
        "content": content,
    } | changes


def card(data: Any, platform: DingTalk | None = None, *, stamp: int | str = NOW * 1000, secret: str = "card-secret") -> Received:
    return (platform or dingtalk()).receive(card_call(data, secret=secret, stamp=stamp))


def test_a_click_is_an_action_with_parsed_parameters() -> None:
    got = card(clicked(["approve"], {"id": "7"}))
    assert got.reply.body == "{}"
    (message,) = got.messages
    assert (message.kind, message.action_key, message.action_value) == ("card_action", "approve", {"id": "7"})
    assert (message.sender, message.message_id, message.tenant) == ("staff1", "track1", "dingcorp")
    assert message.proof


def test_a_click_is_counted_once_for_each_person_and_button() -> None:
    same, again = (card(clicked(["a"]), stamp=NOW * 1000 + n).messages[0].dedup_id for n in (0, 1))
    assert same == again
    others = [clicked(["b"]), clicked(["a"], userId="staff2"), clicked(["a"], outTrackId="track2")]
    assert same not in {card(o).messages[0].dedup_id for o in others}


def test_our_own_buttons_come_back_with_their_key_their_value_and_their_chat() -> None:
    params = {"assistant_key": "confirm", "assistant_value": '{"id":7}'}
    track = track_id("turn1", conversation="cidAAA==", direct=False)
    (message,) = card(clicked(["choice"], params, outTrackId=track)).messages
    assert (message.action_key, message.action_value) == ("confirm", {"id": 7})
    assert (message.conversation, message.direct) == ("cidAAA==", False)
    private = track_id("turn1", conversation="cidBBB==", direct=True)
    (message,) = card(clicked(["choice"], params, outTrackId=private)).messages
    assert (message.conversation, message.direct) == ("cidBBB==", True)


def test_a_strange_card_is_answered_to_the_person_or_to_its_space() -> None:
    assert card(clicked(["a"])).messages[0].conversation == "staff1"
    space = card(clicked(["a"], spaceId="dtv1.card//IM_GROUP.cidCCC==")).messages[0]
    assert (space.conversation, space.direct) == ("cidCCC==", False)


@given(key=st.text(max_size=50), conversation=st.text(max_size=90))
@settings(max_examples=40, deadline=None)
def test_a_track_id_is_short_and_always_the_same(key: str, conversation: str) -> None:
    key, conversation = (t.encode("utf-8", "replace").decode() for t in (key, conversation))
    track = track_id(key, conversation=conversation, direct=True)
    assert len(track) <= 64
    assert track == track_id(key, conversation=conversation, direct=True)


def test_an_unsigned_card_is_refused() -> None:
    body = json.dumps(clicked(["a"])).encode()
    with pytest.raises(VerificationError):
        dingtalk().receive(Webhook(platform="dingtalk", channel="cards", body=body))
    with pytest.raises(VerificationError, match="card_api_secret"):
        card(clicked(["a"]), dingtalk(without="card_api_secret"))
    with pytest.raises(VerificationError):
        card(clicked(["a"]), secret="wrong")
    with pytest.raises(VerificationError):
        card(clicked(["a"]), stamp=NOW * 1000 - 3_601_000)
    with pytest.raises(VerificationError):
        card(clicked(["a"], corpId="othercorp"))


def test_a_cards_signature_too_is_good_for_one_body() -> None:
    platform = dingtalk()
    assert card(clicked(["approve"]), platform).messages
    assert card(clicked(["approve"]), platform).messages
    with pytest.raises(VerificationError):
        card(clicked(["approve"], userId="the-boss"), platform)


def test_a_card_callback_without_ids_is_a_bad_request_and_other_types_are_left_alone() -> None:
    with pytest.raises(Refused, match="outTrackId"):
        card(clicked(["a"], outTrackId=""))
    assert card(clicked(["a"], type="dynamicData")).messages == ()
    assert card(clicked([], content="nothing")).messages[0].action_key == ""
