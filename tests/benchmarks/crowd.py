"""Many people at once, on every platform: each posts signed webhooks over HTTP and sees what the vendor's simulator shows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

from assistant.messages import Webhook
from tests.simulators.dingtalk import DingTalkSimulator, robot_call
from tests.simulators.feishu import FeishuSimulator
from tests.simulators.feishu import seal as feishu_seal
from tests.simulators.feishu import signed as feishu_signed
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator
from tests.simulators.wecom import WeCom


class Crowd(Protocol):
    """Everybody on one platform. People and their conversations are numbered."""

    name: ClassVar[str]

    @property
    def secrets(self) -> Mapping[str, str]:
        """The platform's secret, pointing at its simulator."""

    def start(self) -> None:
        """Starts the vendor."""

    def stop(self) -> None:
        """Ends it."""

    def webhook(self, person: int, text: str) -> Webhook:
        """The signed request for what the person writes to the assistant, alone with it."""

    def seen(self, person: int) -> list[str]:
        """The assistant's messages in that person's chat, old to new; one that still grows is not among them."""


class SlackCrowd:
    """Direct messages in Slack."""

    name: ClassVar[str] = "slack"

    def __init__(self) -> None:
        self._vendor = SlackSimulator()
        self.start, self.stop = self._vendor.start, self._vendor.stop

    @property
    def secrets(self) -> Mapping[str, str]:
        return self._vendor.secrets

    def webhook(self, person: int, text: str) -> Webhook:
        with self._vendor.lock:
            return self._vendor.event(self._vendor.say(f"D{person}", f"U{person}", text))

    def seen(self, person: int) -> list[str]:
        with self._vendor.lock:
            return self._vendor.visible(f"D{person}")


class TeamsCrowd:
    """Personal chats in Microsoft Teams."""

    name: ClassVar[str] = "teams"

    def __init__(self) -> None:
        self._vendor = TeamsSimulator()
        self.start, self.stop = self._vendor.start, self._vendor.stop
        self._token = ("", 0.0)

    @property
    def secrets(self) -> Mapping[str, str]:
        return self._vendor.secrets

    def webhook(self, person: int, text: str) -> Webhook:
        if self._token[1] < self._vendor.clock():  # one serves many activities, as the connector's does
            self._token = self._vendor.token(), self._vendor.clock() + 600
        with self._vendor.lock:
            return self._vendor.webhook(self._vendor.activity(f"a:{person}", text), token=self._token[0])

    def seen(self, person: int) -> list[str]:
        with self._vendor.lock:
            return [post.text for post in self._vendor.posts(f"a:{person}")]


class FeishuCrowd:
    """One-to-one chats in Feishu; events are encrypted and signed."""

    name: ClassVar[str] = "feishu"

    def __init__(self) -> None:
        self._vendor = FeishuSimulator()
        self.start, self.stop = self._vendor.start, self._vendor.stop
        self._count = itertools.count()
        self._chats: dict[str, list[Any]] = {}
        self._known = 0

    @property
    def secrets(self) -> Mapping[str, str]:
        vendor = self._vendor
        return {
            "app_id": vendor.app_id,
            "app_secret": vendor.app_secret,
            "encrypt_key": "k",
            "verification_token": "v",
            "bot_open_id": vendor.bot,
            "api_base": vendor.base,
        }

    def webhook(self, person: int, text: str) -> Webhook:
        n, now, who, chat = next(self._count), int(self._vendor.clock() * 1000), f"ou_{person}", f"oc_{person}"
        with self._vendor.lock:
            self._vendor.people.add(who)
            self._vendor.chats.setdefault(chat, {who})
            id_ = self._vendor.asked(f"om_load_{n}", chat=chat, by=who)
        header = {
            "event_id": f"ev_load_{n}",
            "event_type": "im.message.receive_v1",
            "create_time": str(now),
            "token": "v",
            "app_id": self._vendor.app_id,
            "tenant_key": "t1",
        }
        message = {
            "message_id": id_,
            "create_time": str(now),
            "chat_id": chat,
            "chat_type": "p2p",
            "message_type": "text",
            "content": json.dumps({"text": text}),
        }
        sender = {"sender_id": {"open_id": who}, "sender_type": "user", "tenant_key": "t1"}
        event = {"schema": "2.0", "header": header, "event": {"sender": sender, "message": message}}
        return feishu_signed(feishu_seal(event, "k"), stamp=now // 1000, key="k")

    def seen(self, person: int) -> list[str]:
        vendor = self._vendor
        with vendor.lock:
            for message in itertools.islice(vendor.messages.values(), self._known, None):
                self._known += 1
                if not message.parent.startswith("by:"):
                    self._chats.setdefault(message.chat, []).append(message)
            return [text for m in self._chats.get(f"oc_{person}", ()) if not (text := vendor._read(m)).endswith("▍")]


class DingTalkCrowd:
    """One-to-one chats with the robot in DingTalk; answers grow in cards."""

    name: ClassVar[str] = "dingtalk"

    def __init__(self) -> None:
        self._vendor = DingTalkSimulator()
        self.start, self.stop = self._vendor.start, self._vendor.stop
        self._count = itertools.count()
        self._stamp = 0

    @property
    def secrets(self) -> Mapping[str, str]:
        vendor = self._vendor
        return {
            "app_key": vendor.app[0],
            "app_secret": vendor.app[1],
            "robot_code": vendor.robot_code,
            "card_api_secret": "c",
            "card_template_id": vendor.template,
            "api_base": vendor.base,
        }

    def webhook(self, person: int, text: str) -> Webhook:
        self._stamp = max(self._stamp + 1, int(self._vendor.clock() * 1000))  # one signature serves one message
        self._vendor.people.add(f"staff{person}")
        said = {
            "msgId": f"load-{next(self._count)}",
            "msgtype": "text",
            "text": {"content": text},
            "conversationType": "1",
            "conversationId": f"cid{person}==",
            "senderStaffId": f"staff{person}",
            "senderId": f"$:{person}",
            "chatbotCorpId": "dingcorp",
            "robotCode": self._vendor.robot_code,
            "createAt": self._stamp,
        }
        return robot_call(said, secret=self._vendor.app[1], stamp=self._stamp)

    def seen(self, person: int) -> list[str]:
        return [text for text in self._vendor.visible(f"staff{person}") if not text.endswith("▍")]


class WeComCrowd:
    """Chats of members with the app in WeCom."""

    name: ClassVar[str] = "wecom"

    def __init__(self) -> None:
        self._vendor = WeCom()
        self.start, self.stop = self._vendor.start, self._vendor.stop

    @property
    def secrets(self) -> Mapping[str, str]:
        return self._vendor.secrets

    def webhook(self, person: int, text: str) -> Webhook:
        self._vendor.members.add(f"m{person}")
        with self._vendor.lock:
            return self._vendor.app_text(text, f"m{person}")

    def seen(self, person: int) -> list[str]:
        return self._vendor.visible(f"m{person}")


CROWDS: tuple[type[Any], ...] = (SlackCrowd, FeishuCrowd, DingTalkCrowd, TeamsCrowd, WeComCrowd)


def address(webhook: Webhook) -> str:
    """Path and query of the request that carries the webhook."""
    query = f"?{urlencode(webhook.query)}" if webhook.query else ""
    return f"/webhook/{webhook.platform}/{webhook.channel}{query}"
