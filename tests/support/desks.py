"""One desk a platform: somebody who asks there and what they see. A further platform is one more class here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from assistant.messages import Webhook
from tests.simulators.dingtalk import DingTalkSimulator, robot_call
from tests.simulators.feishu import FeishuSimulator
from tests.simulators.feishu import seal as feishu_seal
from tests.simulators.feishu import signed as feishu_signed
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator
from tests.simulators.wecom import WeCom

if TYPE_CHECKING:
    from tests.support.house import House


class Desk(Protocol):
    """A person at one platform's client."""

    name: ClassVar[str]

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The platform's secret, by its name."""

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Says `text`; the platform posts its signed webhook."""

    def seen(self, house: House) -> list[str]:
        """The assistant's replies as a person sees them, in order."""


class WebChatDesk:
    """The browser."""

    name: ClassVar[str] = "webchat"

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The key that the house uses anyway."""
        return {}

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Posts the message."""
        house.say(text, id=message)

    def seen(self, house: House) -> list[str]:
        """Texts of the turns that are whole."""
        return [t["text"] for t in house.turns() if t["state"] != "answering"]

    def __enter__(self) -> WebChatDesk:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class SlackDesk:
    """A direct message with the bot in Slack."""

    name: ClassVar[str] = "slack"
    sends: ClassVar[str] = "POST /chat.postMessage"
    streams: ClassVar[bool] = True

    def __init__(self) -> None:
        self.vendor = SlackSimulator()

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The app's."""
        return {"slack": self.vendor.secrets}

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Writes to the bot; a message asked before is delivered again."""
        self.vendor.clock = house.now
        if message not in self._events:
            self._events[message] = self.vendor.say("D1", "U1", text)
        assert house.receive(self.vendor.event(self._events[message], event_id=f"Ev-{message}")).status == 200

    @cached_property
    def _events(self) -> dict[str, dict[str, Any]]:
        return {}

    def seen(self, house: House) -> list[str]:
        """The bot's posts."""
        return self.vendor.visible("D1")

    def __enter__(self) -> SlackDesk:
        self.vendor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.stop()


class FeishuDesk:
    """A one-to-one chat with the bot in Feishu."""

    name: ClassVar[str] = "feishu"
    sends: ClassVar[str] = "POST /open-apis/im/v1/messages"
    streams: ClassVar[bool] = True

    def __init__(self) -> None:
        self.vendor = FeishuSimulator()

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The app's, with encryption."""
        return {
            "feishu": {
                "app_id": self.vendor.app_id,
                "app_secret": self.vendor.app_secret,
                "encrypt_key": "k",
                "verification_token": "v",
                "bot_open_id": self.vendor.bot,
                "api_base": self.vendor.base,
            }
        }

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Writes to the bot; the event is encrypted and signed."""
        self.vendor.clock = house.now
        made = self._made.setdefault(message, int(house.now() * 1000))
        id_ = self.vendor.asked(f"om_{message}")
        event = {
            "schema": "2.0",
            "header": {
                "event_id": f"ev_{message}",
                "event_type": "im.message.receive_v1",
                "create_time": str(made),
                "token": "v",
                "app_id": self.vendor.app_id,
                "tenant_key": "t1",
            },
            "event": {
                "sender": {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user", "tenant_key": "t1"},
                "message": {
                    "message_id": id_,
                    "create_time": str(made),
                    "chat_id": "oc_1",
                    "chat_type": "p2p",
                    "message_type": "text",
                    "content": json.dumps({"text": text}, ensure_ascii=False),
                },
            },
        }
        assert house.receive(feishu_signed(feishu_seal(event, "k"), stamp=int(house.now()), key="k")).status == 200

    @cached_property
    def _made(self) -> dict[str, int]:
        return {}

    def seen(self, house: House) -> list[str]:
        """The bot's messages."""
        return self.vendor.visible("oc_1")

    def __enter__(self) -> FeishuDesk:
        self.vendor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.stop()


class DingTalkDesk:
    """A one-to-one chat with the robot in DingTalk; answers grow in cards."""

    name: ClassVar[str] = "dingtalk"
    sends: ClassVar[str] = "POST /v1.0/robot/oToMessages"
    streams: ClassVar[bool] = True

    def __init__(self) -> None:
        self.vendor = DingTalkSimulator()

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The app's, with a card template."""
        app_key, app_secret = self.vendor.app
        return {
            "dingtalk": {
                "app_key": app_key,
                "app_secret": app_secret,
                "robot_code": self.vendor.robot_code,
                "card_api_secret": "c",
                "card_template_id": self.vendor.template,
                "api_base": self.vendor.base,
            }
        }

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Writes to the robot; each delivery is signed anew."""
        self.vendor.clock = house.now
        made = self._made.setdefault(message, int(house.now() * 1000))
        said = {
            "msgId": message,
            "msgtype": "text",
            "text": {"content": text},
            "conversationType": "1",
            "conversationId": "cidPPP==",
            "senderStaffId": "staff1",
            "senderId": "$:ann",
            "chatbotCorpId": "dingcorp",
            "robotCode": self.vendor.robot_code,
            "createAt": made,
        }
        call = robot_call(said, secret=self.vendor.app[1], stamp=int(house.now() * 1000))
        assert house.receive(call).status == 200

    @cached_property
    def _made(self) -> dict[str, int]:
        return {}

    def seen(self, house: House) -> list[str]:
        """The robot's messages and cards."""
        return self.vendor.visible("staff1")

    def __enter__(self) -> DingTalkDesk:
        self.vendor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.stop()


class TeamsDesk:
    """A personal chat with the bot in Microsoft Teams."""

    name: ClassVar[str] = "teams"
    sends: ClassVar[str] = "/activities"
    streams: ClassVar[bool] = True

    def __init__(self) -> None:
        self.vendor = TeamsSimulator()
        self._made: dict[str, dict[str, Any]] = {}

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The bot's."""
        return {"teams": self.vendor.secrets}

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Writes to the bot; a message asked before is delivered again."""
        self.vendor.clock = house.now
        if message not in self._made:
            self._made[message] = self.vendor.activity("a:1", text)
        assert house.receive(self.vendor.webhook(self._made[message])).status in (200, 202)

    def seen(self, house: House) -> list[str]:
        """The bot's messages."""
        return self.vendor.visible("a:1")

    def __enter__(self) -> TeamsDesk:
        self.vendor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.stop()


class WeComDesk:
    """A member's chat with the app in WeCom."""

    name: ClassVar[str] = "wecom"
    sends: ClassVar[str] = "POST /cgi-bin/message/send"

    def __init__(self) -> None:
        self.vendor = WeCom()
        self._made: dict[str, Webhook] = {}

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The corporation's."""
        return {"wecom": self.vendor.secrets}

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Writes to the app; a message asked before is delivered again."""
        self.vendor.clock = house.now
        if message not in self._made:
            self._made[message] = self.vendor.app_text(text)
        assert house.receive(self._made[message]).status == 200

    def seen(self, house: House) -> list[str]:
        """The app's messages."""
        return self.vendor.visible("lin")

    def __enter__(self) -> WeComDesk:
        self.vendor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.stop()


DESKS: dict[str, Any] = {desk.name: desk for desk in (WebChatDesk, SlackDesk, FeishuDesk, DingTalkDesk, TeamsDesk, WeComDesk)}
