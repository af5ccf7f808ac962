"""One genuine, signed message for each platform, as API Gateway hands it over."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from assistant.dev.runner import event_of, match
from assistant.messages import Webhook
from tests.simulators import feishu

SIGNING = "s" * 32

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
    return event_of(*found, method="POST", path=path, query="", headers=headers, body=webhook.body)


def webchat() -> dict[str, Any]:
    """A message of the web page."""
    body = json.dumps({"conversation": "c", "user": "u", "text": "How many days of leave do I have?"}).encode()
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
            "text": "How many days of leave do I have?",
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
                "content": json.dumps({"text": "How many days of leave do I have?"}),
            },
        },
    }
    return as_event(feishu.signed(feishu.seal(event, "k"), stamp=int(time.time()), key="k"))


EVENTS: dict[str, Callable[[], dict[str, Any]]] = {"webchat": webchat, "slack": slack, "feishu": feishu_message}
