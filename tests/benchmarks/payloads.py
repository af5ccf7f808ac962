"""One genuine, signed message for each platform, as API Gateway hands it over."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from assistant.dev.runner import event_of, match
from assistant.messages import Webhook
from tests.simulators import feishu
from tests.simulators.dingtalk import robot_call
from tests.simulators.teams import TeamsSimulator
from tests.simulators.wecom import WeCom

SIGNING = "s" * 32

QUESTION = "How many days of leave do I have?"

SECRETS: dict[str, dict[str, str]] = {
    "webchat": {"api_key": "bench-key"},
    "slack": {"signing_secret": SIGNING, "bot_token": "xoxb-0", "bot_user_id": "UBOT", "bot_id": "B1", "team_id": "T1"},
    "feishu": {
        "app_id": "cli_a",
        "app_secret": "s3cr3t",
        "encrypt_key": "k",
        "verification_token": "v",
        "bot_open_id": "ou_bot",
    },
}


def as_event(webhook: Webhook, *, content_type: str = "application/json") -> dict[str, Any]:
    """The API Gateway event of a request."""
    path = f"/webhook/{webhook.platform}/{webhook.channel}"
    found = match("POST", path)
    assert found
    headers = {"content-type": content_type, **webhook.headers}
    return event_of(*found, method="POST", path=path, query=urlencode(webhook.query), headers=headers, body=webhook.body)


def webchat() -> dict[str, Any]:
    """A message of the web page."""
    body = json.dumps({"conversation": "c", "user": "u", "text": QUESTION}).encode()
    return as_event(Webhook(platform="webchat", channel="messages", headers={"authorization": "Bearer bench-key"}, body=body))


def slack() -> dict[str, Any]:
    """A direct message in Slack."""
    now = time.time()
    ts = f"{now:.6f}"
    event = {
        "token": "x",
        "team_id": "T1",
        "api_app_id": "A1",
        "type": "event_callback",
        "event_id": f"Ev{now}",
        "event_time": int(now),
        "authorizations": [{"enterprise_id": None, "team_id": "T1", "user_id": "UBOT", "is_bot": True}],
        "event": {
            "type": "message",
            "channel_type": "im",
            "channel": "D1",
            "user": "U1",
            "text": QUESTION,
            "ts": ts,
            "event_ts": ts,
            "client_msg_id": "c1",
        },
    }
    body = json.dumps(event).encode()
    stamp = str(int(now))
    mac = hmac.new(SIGNING.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}"}
    return as_event(Webhook(platform="slack", channel="events", headers=headers, body=body))


def feishu_message() -> dict[str, Any]:
    """A direct message in Feishu, encrypted and signed."""
    now = int(time.time() * 1000)
    event = {
        "schema": "2.0",
        "header": {
            "event_id": f"ev{now}",
            "event_type": "im.message.receive_v1",
            "create_time": str(now),
            "token": "v",
            "app_id": "cli_a",
            "tenant_key": "t1",
        },
        "event": {
            "sender": {
                "sender_id": {"open_id": "ou_ann", "user_id": "a", "union_id": "on_a"},
                "sender_type": "user",
                "tenant_key": "t1",
            },
            "message": {
                "message_id": f"om_{now}",
                "create_time": str(now),
                "update_time": str(now),
                "chat_id": "oc_1",
                "chat_type": "p2p",
                "message_type": "text",
                "content": json.dumps({"text": QUESTION}),
            },
        },
    }
    return as_event(feishu.signed(feishu.seal(event, "k"), stamp=int(time.time()), key="k"))


EVENTS: dict[str, Callable[[], dict[str, Any]]] = {"webchat": webchat, "slack": slack, "feishu": feishu_message}


DINGTALK = {"app_key": "dingapp", "app_secret": "app-secret", "robot_code": "dingbot"}


def dingtalk() -> dict[str, Any]:
    """A direct message to DingTalk's robot."""
    now = int(time.time() * 1000)
    said = {
        "conversationId": "cidAbC0dEf==",
        "atUsers": [{"dingtalkId": "$:LWCP_v1:$bot"}],
        "chatbotCorpId": "dingcorp",
        "chatbotUserId": "$:LWCP_v1:$bot",
        "msgId": f"msg{now}",
        "senderNick": "Ann",
        "isAdmin": False,
        "senderStaffId": "staff1",
        "sessionWebhookExpiredTime": now + 5_400_000,
        "createAt": now,
        "senderCorpId": "dingcorp",
        "conversationType": "1",
        "senderId": "$:LWCP_v1:$ann",
        "sessionWebhook": "https://oapi.dingtalk.com/robot/sendBySession?session=abc",
        "text": {"content": QUESTION},
        "robotCode": DINGTALK["robot_code"],
        "msgtype": "text",
    }
    return as_event(robot_call(said, secret=DINGTALK["app_secret"], stamp=now))


class Everywhere(NamedTuple):
    """A message for each platform, and the secrets that prove them."""

    events: Mapping[str, dict[str, Any]]
    secrets: Mapping[str, Mapping[str, str]]


@contextmanager
def everywhere() -> Iterator[Everywhere]:
    """A genuine message for each of the six platforms; Microsoft's keys are served while it lasts."""
    with TeamsSimulator(clock=time.time) as microsoft, WeCom(clock=time.time) as wecom:
        own = {"slack": slack, "feishu": feishu_message, "webchat": webchat, "dingtalk": dingtalk}
        activity = microsoft.activity("a:ann", QUESTION)
        events = {name: made() for name, made in own.items()}
        events["teams"] = as_event(microsoft.webhook(activity))
        events["wecom"] = as_event(wecom.app_text(QUESTION), content_type="text/xml")
        yield Everywhere(events, {**SECRETS, "dingtalk": DINGTALK, "teams": microsoft.secrets, "wecom": wecom.secrets})
