"""Whatever a genuine sender writes into an event, the answer is messages or a clear refusal, never another exception."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.errors import Refused
from assistant.messages import KINDS, Received, message_from_json, to_json
from tests.simulators import dingtalk as dingtalk_vendor
from tests.unit.test_dingtalk_receive import AES, SECRETS, clicked, dingtalk, said
from tests.unit.test_dingtalk_receive import NOW as DINGTALK_NOW
from tests.unit.test_feishu_receive import LEGACY, feishu, seal, signed, v1, v2
from tests.unit.test_feishu_receive import said as feishu_said

MANY = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
JUNK = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3))


@st.composite
def spoilt(draw: st.DrawFn, good: Any) -> Any:
    """A good event with one to three of its values, at any depth, replaced by junk or taken out."""
    event = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        node, paths = event, []
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys))
            paths.append((node, key))
            if draw(st.booleans()):
                break
            node = node[key]
        if not paths:
            break
        parent, key = paths[-1]
        if draw(st.booleans()):
            parent[key] = draw(JUNK)
        else:
            del parent[key]
    return event


def sane(receive: Callable[[], Received]) -> None:
    try:
        messages = receive().messages
    except Refused as refused:
        messages = ()
        reason = str(refused)
    else:
        reason = "accepted"
    assert reason
    for message in messages:
        assert message.kind in KINDS
        assert message.dedup_id
        assert message.conversation
        assert message_from_json(to_json(message)).dedup_id


POST = {
    "title": "t",
    "content": [
        [{"tag": "at", "user_id": "@_user_1"}, {"tag": "a", "text": "x", "href": "y"}],
        [{"tag": "img", "image_key": "i"}],
    ],
}
CLICK = {
    "operator": {"open_id": "o"},
    "token": "c",
    "action": {"value": {"assistant_key": "k", "assistant_place": {"thread": "t"}}, "tag": "button"},
}
FEISHU = [
    feishu_said({"text": "@_user_1 hi"}),
    feishu_said(POST, kind="post"),
    feishu_said({"file_key": "f", "file_name": "n"}, kind="file"),
    v2("card.action.trigger", CLICK | {"context": {"open_message_id": "m", "open_chat_id": "c"}}),
    v2("im.chat.member.bot.added_v1", {"chat_id": "c", "operator_id": {"open_id": "o"}}),
    v2("im.message.recalled_v1", {"chat_id": "c", "message_id": "m"}),
    v2("application.bot.menu_v6", {"operator": {"operator_id": {"open_id": "o"}, "operator_name": "n"}, "event_key": "k"}),
    v1(
        {
            "type": "message",
            "chat_type": "group",
            "msg_type": "post",
            "open_id": "o",
            "open_message_id": "m",
            "text": "t",
            "image_keys": ["i"],
        }
    ),
]


@MANY
@given(st.data())
def test_feishu_events(data: st.DataObject) -> None:
    event = data.draw(st.sampled_from(FEISHU).flatmap(spoilt))
    sane(lambda: feishu().receive(signed(seal(event))))


@MANY
@given(spoilt(LEGACY))
def test_feishus_old_cards(event: Any) -> None:
    sane(lambda: feishu().receive(signed(json.dumps(event).encode(), key="rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV", algorithm="sha1")))


ROBOT = [
    said(),
    said(text={"content": "x", "repliedMsg": {"content": {"text": "y"}}}),
    said(msgtype="richText", content={"richText": [{"text": "a"}, {"type": "picture", "downloadCode": "c"}]}),
    said(msgtype="file", content={"downloadCode": "c", "fileName": "n"}),
    said(msgtype="video", content={"downloadCode": "c", "videoType": "mp4"}),
]
EVENTS = [
    {
        "EventType": "robot_msg_recall",
        "eventId": "e",
        "OpenConversationId": "c",
        "UserId": "u",
        "ProcessQueryKey": "p",
        "EventTime": 1,
    },
    {"EventType": "im_cool_app_install", "openConversationId": "c", "operator": "u", "operateTime": 1, "BizId": "b"},
    {"EventType": "check_url"},
]
CARD = clicked(["choice"], {"assistant_key": "k", "assistant_value": "{}"})


@MANY
@given(st.data())
def test_dingtalk(data: st.DataObject) -> None:
    stamp = DINGTALK_NOW * 1000
    channel = data.draw(st.sampled_from(["robot", "events", "cards"]))
    if channel == "robot":
        event = data.draw(st.sampled_from(ROBOT).flatmap(spoilt))
        webhook = dingtalk_vendor.robot_call(event, secret=SECRETS["app_secret"], stamp=stamp)
    elif channel == "events":
        event = data.draw(st.sampled_from(EVENTS).flatmap(spoilt))
        owner, token = SECRETS["event_owner_key"], SECRETS["event_token"]
        webhook = dingtalk_vendor.event_call(event, token=token, aes_key=AES, owner=owner, stamp=stamp)
    else:
        event = data.draw(spoilt(CARD))
        webhook = dingtalk_vendor.card_call(event, secret=SECRETS["card_api_secret"], stamp=stamp)
    sane(lambda: dingtalk().receive(webhook))
