"""The simulated platforms as chats that a person can use: what stands in each room, writing, clicking.

A further platform is one more class here and one entry in `STAGES`.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from assistant.messages import HttpReply, Webhook
from tests.simulators import dingtalk, feishu, slack, teams, wecom
from tests.simulators.base import Simulator

Deliver = Callable[[Webhook], HttpReply]
"""Posts a signed webhook to the assistant and gives its answer."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """A chat: one-to-one with the assistant, or a group that it is in."""

    id: str
    title: str
    group: bool


@dataclass(frozen=True, kw_only=True)
class Bubble:
    """One message as a person sees it. `who` is empty for the assistant's."""

    id: str
    who: str
    text: str
    buttons: tuple[Mapping[str, Any], ...] = ()
    """`{"text", "key", "disabled"}` each; `key` is what `Stage.click` takes."""
    growing: bool = False
    reply: bool = False
    """Stands in a thread under another message."""


class Stage:
    """One platform's chats. `secrets` is what the assistant needs to talk to it."""

    name: ClassVar[str]
    title: ClassVar[str]
    colour: ClassVar[str]
    rooms: ClassVar[tuple[Room, ...]]
    vendor: Simulator

    @property
    def secrets(self) -> Mapping[str, str]:
        """The platform's secret, pointing at its simulator."""
        raise NotImplementedError

    def bubbles(self, room: Room) -> list[Bubble]:
        """What stands in the room, old to new."""
        raise NotImplementedError

    def say(self, room: Room, text: str, deliver: Deliver) -> int:
        """A person writes `text`; the HTTP status of the assistant's answer to the webhook."""
        raise NotImplementedError

    def click(self, room: Room, bubble: str, key: str, deliver: Deliver) -> int:
        """A person clicks a button."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the vendor's server."""
        self.vendor.start()

    def stop(self) -> None:
        """Ends it."""
        self.vendor.stop()


class FeishuStage(Stage):
    """Feishu: a private chat and a group in which the bot is named."""

    name = "feishu"
    title = "飞书 Feishu"
    colour = "#245bdb"
    rooms = (Room(id="oc_ann", title="Ann", group=False), Room(id="oc_team", title="Team", group=True))
    KEY, TOKEN = "feishu-encrypt-key", "feishu-verification-token"

    def __init__(self) -> None:
        self.vendor: feishu.FeishuSimulator = feishu.FeishuSimulator()
        self.vendor.chats |= {"oc_ann": {"ou_ann"}, "oc_team": {"ou_ann", "ou_bo"}}

    @property
    def secrets(self) -> Mapping[str, str]:
        """The app's, with encryption."""
        return {
            "app_id": self.vendor.app_id,
            "app_secret": self.vendor.app_secret,
            "encrypt_key": self.KEY,
            "verification_token": self.TOKEN,
            "bot_open_id": self.vendor.bot,
            "api_base": self.vendor.base,
        }

    def bubbles(self, room: Room) -> list[Bubble]:
        """Texts and cards."""
        with self.vendor.lock:
            return [self._bubble(m) for m in self.vendor.messages.values() if m.chat == room.id and not m.recalled]

    def _bubble(self, message: feishu.Shown) -> Bubble:
        if message.parent.startswith("by:"):
            return Bubble(id=message.id, who="Ann", text=str(message.content.get("text", "")), reply=bool(message.thread))
        card = self.vendor.entities[message.entity].card if message.entity else message.content
        buttons: list[dict[str, Any]] = []
        texts = []
        if message.kind == "interactive":
            for n, element in enumerate(feishu._elements(card)):
                if element["tag"] == "button":
                    buttons.append(
                        {"text": element["text"]["content"], "key": str(n), "disabled": element.get("disabled", False)}
                    )
                elif element["tag"] == "markdown":
                    texts.append(element["content"])
            header = card.get("header", {}).get("title", {}).get("content", "")
            texts = [f"**{header}**", *texts] if header else texts
        else:
            texts.append(str(message.content.get("text") or f"[{message.kind}]"))
        growing = bool(card.get("config", {}).get("streaming_mode"))
        text = re.sub(r"<at (?:user_)?id=[^>]*></at>", "@Ann", "\n\n".join(texts))
        return Bubble(id=message.id, who="", text=text, buttons=tuple(buttons), growing=growing, reply=bool(message.thread))

    def say(self, room: Room, text: str, deliver: Deliver) -> int:
        """Posts the encrypted, signed event."""
        id_ = self.vendor.asked(f"om_{uuid.uuid4().hex[:12]}", chat=room.id)
        self.vendor.messages[id_].content = {"text": text}
        spoken, mentions = text, []
        if room.group:
            spoken = f"@_user_1 {text}"
            mentions = [{"key": "@_user_1", "id": {"open_id": self.vendor.bot}, "name": "Assistant", "tenant_key": "t1"}]
        message = {
            "message_id": id_,
            "create_time": str(int(time.time() * 1000)),
            "chat_id": room.id,
            "chat_type": "group" if room.group else "p2p",
            "message_type": "text",
            "content": json.dumps({"text": spoken}, ensure_ascii=False),
            "mentions": mentions,
        }
        sender = {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user", "tenant_key": "t1"}
        return self._post("im.message.receive_v1", {"sender": sender, "message": message}, deliver)

    def send_file(self, room: Room, name: str, content: bytes, deliver: Deliver) -> int:
        """A person sends a file; Feishu lets no words come with it."""
        id_ = self.vendor.asked(f"om_{uuid.uuid4().hex[:12]}", chat=room.id)
        self.vendor.messages[id_].content = {"text": f"[{name}]"}
        self.vendor.files[id_, "file_key_1"] = content
        message = {
            "message_id": id_,
            "create_time": str(int(time.time() * 1000)),
            "chat_id": room.id,
            "chat_type": "group" if room.group else "p2p",
            "message_type": "file",
            "content": json.dumps({"file_key": "file_key_1", "file_name": name}, ensure_ascii=False),
        }
        sender = {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user", "tenant_key": "t1"}
        return self._post("im.message.receive_v1", {"sender": sender, "message": message}, deliver)

    def click(self, room: Room, bubble: str, key: str, deliver: Deliver) -> int:
        """Posts the card call-back."""
        message = self.vendor.messages[bubble]
        card = self.vendor.entities[message.entity].card if message.entity else message.content
        element = feishu._elements(card)[int(key)]
        token = f"c-{uuid.uuid4().hex}"
        self.vendor.clicked(bubble, token)
        event = {
            "operator": {"open_id": "ou_ann", "tenant_key": "t1"},
            "token": token,
            "action": {"tag": "button", "value": element["behaviors"][0]["value"]},
            "host": "im_message",
            "context": {"open_message_id": bubble, "open_chat_id": room.id},
        }
        return self._post("card.action.trigger", event, deliver)

    def _post(self, kind: str, event: Mapping[str, Any], deliver: Deliver) -> int:
        now = time.time()
        header = {
            "event_id": uuid.uuid4().hex,
            "event_type": kind,
            "create_time": str(int(now * 1000)),
            "token": self.TOKEN,
            "app_id": self.vendor.app_id,
            "tenant_key": "t1",
        }
        body = feishu.seal({"schema": "2.0", "header": header, "event": dict(event)}, self.KEY)
        return deliver(feishu.signed(body, stamp=int(now), key=self.KEY)).status


class DingTalkStage(Stage):
    """DingTalk: a private chat with the robot and a group in which it is named; answers grow in cards."""

    name = "dingtalk"
    title = "钉钉 DingTalk"
    colour = "#0066cc"
    rooms = (Room(id="cidAnn==", title="Ann", group=False), Room(id="cidTeam==", title="Team", group=True))
    CARDS = "dingtalk-card-secret"

    def __init__(self) -> None:
        self.vendor: dingtalk.DingTalkSimulator = dingtalk.DingTalkSimulator()
        self.vendor.groups |= {"cidTeam=="}
        self.vendor.private = {"cidAnn==": "staff1"}

    @property
    def secrets(self) -> Mapping[str, str]:
        """The app's, with a card template."""
        app_key, app_secret = self.vendor.app
        return {
            "app_key": app_key,
            "app_secret": app_secret,
            "robot_code": self.vendor.robot_code,
            "card_api_secret": self.CARDS,
            "card_template_id": self.vendor.template,
            "event_token": "dingtalk-event-token",
            "event_aes_key": wecom.APP_KEY,
            "event_owner_key": app_key,
            "api_base": self.vendor.base,
        }

    def bubbles(self, room: Room) -> list[Bubble]:
        """Words, messages and cards."""
        return [self._bubble(n, m) for n, m in enumerate(self.vendor.everything(room.id))]

    def _bubble(self, number: int, message: str | dingtalk.Card | dingtalk.Said) -> Bubble:
        if isinstance(message, dingtalk.Said):
            return Bubble(id=f"m{number}", who=message.who, text=message.text)
        if isinstance(message, str):
            return Bubble(id=f"m{number}", who="", text=message.replace("@staff1", "@Ann"))
        buttons = tuple(
            {"text": b["text"], "key": str(n), "disabled": False} for n, b in enumerate(self.vendor.clicks(message.track))
        )
        text = message.parameters.get("content", "")
        return Bubble(id=message.track, who="", text=text, buttons=buttons, growing=not message.finished)

    def say(self, room: Room, text: str, deliver: Deliver) -> int:
        """Posts the signed robot message; in a group DingTalk has removed the mention, a blank remains."""
        self.vendor.said(room.id, "Ann", text)
        now = int(time.time() * 1000)
        address, until = self.vendor.session(room.id)
        said = {
            "msgId": f"msg{uuid.uuid4().hex}",
            "msgtype": "text",
            "text": {"content": f" {text}" if room.group else text},
            "conversationType": "2" if room.group else "1",
            "conversationId": room.id,
            "senderStaffId": "staff1",
            "senderId": "$:LWCP_v1:$ann",
            "senderNick": "Ann",
            "senderCorpId": "dingcorp",
            "chatbotCorpId": "dingcorp",
            "chatbotUserId": "$:LWCP_v1:$bot",
            "isInAtList": room.group,
            "robotCode": self.vendor.robot_code,
            "createAt": now,
            "sessionWebhook": address,
            "sessionWebhookExpiredTime": until,
        }
        return deliver(dingtalk.robot_call(said, secret=self.vendor.app[1], stamp=self._stamp())).status

    def click(self, room: Room, bubble: str, key: str, deliver: Deliver) -> int:
        """Posts the signed click."""
        parameters = self.vendor.clicks(bubble)[int(key)]
        content = json.dumps({"cardPrivateData": {"actionIds": ["choice"], "params": parameters}})
        data = {"type": "actionCallback", "outTrackId": bubble, "corpId": "dingcorp", "userId": "staff1", "content": content}
        return deliver(dingtalk.card_call(data, secret=self.CARDS, stamp=self._stamp())).status

    def _stamp(self) -> int:
        """A time in ms that no other request has: a signature is good for one body."""
        with self.vendor.lock:
            self._last = max(getattr(self, "_last", 0) + 1, int(time.time() * 1000))
            return self._last


class WeComStage(Stage):
    """WeCom: the AI bot in a private chat and in a group, and the app."""

    name = "wecom"
    title = "企业微信 WeCom"
    colour = "#067a3e"
    rooms = (
        Room(id="lin", title="小助手", group=False),
        Room(id="wr_team", title="项目组", group=True),
        Room(id="wang", title="应用", group=False),
    )
    POLL_SECONDS = 0.3

    def __init__(self) -> None:
        self.vendor: wecom.WeCom = wecom.WeCom()

    @property
    def secrets(self) -> Mapping[str, str]:
        """Those of the bot and of the app."""
        return self.vendor.secrets

    def bubbles(self, room: Room) -> list[Bubble]:
        """Texts, cards and the growing reply."""
        with self.vendor.lock:
            return [
                Bubble(
                    id=str(n),
                    who=shown.sender,
                    text=wecom.INVISIBLE.sub("", shown.text),
                    buttons=tuple(
                        {"text": b["text"], "key": b["key"], "disabled": b.get("disabled", False)} for b in shown.buttons
                    ),
                    growing=shown.growing,
                )
                for n, shown in enumerate(self.vendor.chats.get(room.id, []))
            ]

    def say(self, room: Room, text: str, deliver: Deliver) -> int:
        """Posts the sealed callback; a reply that has begun is fetched from now on."""
        if room.id == "wang":
            return deliver(self.vendor.app_text(text, user="wang")).status
        chat = room.id if room.group else ""
        return self._bot(self.vendor.bot_text(text, chat=chat), chat, deliver)

    def click(self, room: Room, bubble: str, key: str, deliver: Deliver) -> int:
        """Posts the card event."""
        shown = self.vendor.chats[room.id][int(bubble)]
        if shown.surface == "app":
            return deliver(self.vendor.app_click(shown, key, user=room.id)).status
        chat = room.id if room.group else ""
        return self._bot(self.vendor.bot_click(shown, key, chat=chat), chat, deliver)

    def _bot(self, webhook: Webhook, chat: str, deliver: Deliver) -> int:
        reply = deliver(webhook)
        stream = self.vendor.take(reply, chat=chat) if reply.status == 200 else None
        if stream:
            threading.Thread(target=self._fetch, args=(stream, deliver), daemon=True).start()
        return reply.status

    def _fetch(self, stream: wecom.Stream, deliver: Deliver) -> None:
        while self.vendor.poll(deliver, stream):
            time.sleep(self.POLL_SECONDS)  # as WeCom itself waits between two requests


class SlackStage(Stage):
    """Slack: a direct message and a channel in which the bot is named."""

    name = "slack"
    title = "Slack"
    colour = "#4a154b"
    rooms = (Room(id="D0ANN", title="Ann", group=False), Room(id="C0TEAM", title="#team", group=True))

    def __init__(self) -> None:
        self.vendor: slack.SlackSimulator = slack.SlackSimulator()
        self.vendor.channel("D0ANN", "U0ANN", public=False)
        self.vendor.channel("C0TEAM", "U0ANN", "U0BO")

    @property
    def secrets(self) -> Mapping[str, str]:
        """The app's."""
        return self.vendor.secrets

    def bubbles(self, room: Room) -> list[Bubble]:
        """Posts, threads in line."""
        with self.vendor.lock:
            return [
                Bubble(
                    id=post.ts,
                    who="" if post.user == slack.BOT_USER else "Ann",
                    text=self._read(post),
                    buttons=tuple({"text": b["text"]["text"], "key": b["action_id"], "disabled": False} for b in post.buttons),
                    growing=post.streaming,
                    reply=bool(post.thread_ts) and room.group,
                )
                for post in self.vendor.channels[room.id].posts
            ]

    def _read(self, post: slack.Post) -> str:
        text = "\n".join(line for line in post.shown.split("\n") if not (post.buttons and line.startswith("[")))
        return text.replace(f"<@{slack.BOT_USER}> ", "@assistant ").replace("<@U0ANN>", "@Ann")

    def say(self, room: Room, text: str, deliver: Deliver) -> int:
        """Posts the signed event."""
        event = (self.vendor.mention if room.group else self.vendor.say)(room.id, "U0ANN", text)
        return deliver(self.vendor.event(event)).status

    def click(self, room: Room, bubble: str, key: str, deliver: Deliver) -> int:
        """Posts the signed interaction."""
        return deliver(self.vendor.click(room.id, bubble, "U0ANN", key)).status


class TeamsStage(Stage):
    """Microsoft Teams: a personal chat and a channel in which the bot is named."""

    name = "teams"
    title = "Microsoft Teams"
    colour = "#4f52b2"
    rooms = (Room(id="a:personal", title="Ann", group=False), Room(id="19:team@thread.tacv2", title="Team", group=True))

    def __init__(self) -> None:
        self.vendor: teams.TeamsSimulator = teams.TeamsSimulator()
        for room in self.rooms:
            self.vendor.chat(room.id, direct=not room.group)
        self._said: dict[str, list[tuple[int, str]]] = {room.id: [] for room in self.rooms}

    @property
    def secrets(self) -> Mapping[str, str]:
        """The bot's."""
        return self.vendor.secrets

    def bubbles(self, room: Room) -> list[Bubble]:
        """The bot's messages with Ann's before those they led to."""
        chat = self.vendor.chats[room.id]
        with self.vendor.lock:
            shown = [self._bubble(post, room) for post in chat.posts]
            for stream in chat.streams:
                if stream.state == "open":
                    shown.append(Bubble(id=stream.id, who="", text=stream.text or stream.informative, growing=True))
            for n, (place, text) in enumerate(self._said[room.id]):
                shown.insert(place + n, Bubble(id=f"said-{n}", who="Ann", text=text))
        return shown

    def _bubble(self, post: teams.Post, room: Room) -> Bubble:
        buttons = tuple({"text": b["title"], "key": b["title"], "disabled": False} for b in post.buttons)
        cards = [c.get("content") or {} for c in post.attachments]
        texts = [post.text, *(str(e.get("text", "")) for c in cards for e in c.get("body", []))]
        text = re.sub(r"<at>(.*?)</at>", r"@\1", "\n\n".join(t for t in texts if t))
        return Bubble(id=post.id, who="", text=text, buttons=buttons, reply=room.group)

    def say(self, room: Room, text: str, deliver: Deliver) -> int:
        """Posts the activity with a token of the connector."""
        self._said[room.id].append((len(self.vendor.chats[room.id].posts), text))
        return deliver(self.vendor.webhook(self.vendor.activity(room.id, text))).status

    def click(self, room: Room, bubble: str, key: str, deliver: Deliver) -> int:
        """Posts the invoke activity."""
        return deliver(self.vendor.webhook(self.vendor.click(room.id, bubble, key))).status


STAGES: dict[str, type[Stage]] = {
    "feishu": FeishuStage,
    "dingtalk": DingTalkStage,
    "wecom": WeComStage,
    "slack": SlackStage,
    "teams": TeamsStage,
}
"""Platforms that the page shows, left to right."""


@dataclass
class Cast:
    """All stages, started, and the secrets with which an assistant can talk to them."""

    stages: list[Stage] = field(default_factory=lambda: [made() for made in STAGES.values()])

    def start(self) -> dict[str, dict[str, str]]:
        """Starts every vendor; gives the content of a secrets file for them."""
        for stage in self.stages:
            stage.start()
        return {stage.name: dict(stage.secrets) for stage in self.stages}

    def stop(self) -> None:
        """Ends every vendor."""
        for stage in self.stages:
            stage.stop()
