"""WeCom, played locally: the app's API, the AI bot that fetches its replies, and the callbacks of both, sealed as WeCom seals.

The sealing is written anew from the vendor's description and shares nothing with the product's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from assistant.messages import HttpReply, Webhook
from tests.simulators.base import WORLD, Answer, BadCall, Call, Simulator, route

CORP = "ww1a2b3c4d5e6f7a8b"
AGENT = 1000002
SECRET = "app-secret-of-the-simulated-company"
BOT = "aibRobotA000000000000"
BOT_NAME = "小助手"
APP_TOKEN, BOT_TOKEN = "appTokenQDG6eK", "botTokenhJqcu3"
APP_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
BOT_KEY = "kXnZn8rs6oNpBVxASkHuCynA4LB2ulBk4zllS7r3C3D"
INVISIBLE = re.compile("[\u200b\u200c\u2060\ufeff]")

Deliver = Callable[[Webhook], HttpReply]


# --- sealing -----------------------------------------------------------------------------------


def sign(token: str, *parts: str) -> str:
    return hashlib.sha1("".join(sorted([token, *parts])).encode()).hexdigest()


def aes(key: str) -> tuple[bytes, bytes]:
    raw = base64.b64decode(key + "=")
    return raw, raw[:16]


def pad(data: bytes) -> bytes:
    n = 32 - len(data) % 32
    return data + bytes([n]) * n


def encrypt(data: bytes, key: str) -> bytes:
    raw, iv = aes(key)
    sealer = Cipher(algorithms.AES(raw), modes.CBC(iv)).encryptor()
    return sealer.update(pad(data)) + sealer.finalize()


def seal(text: str, key: str, receiver: str) -> str:
    data = text.encode()
    return base64.b64encode(encrypt(os.urandom(16) + len(data).to_bytes(4, "big") + data + receiver.encode(), key)).decode()


def unseal(sealed: str, key: str, receiver: str) -> str:
    raw, iv = aes(key)
    opener = Cipher(algorithms.AES(raw), modes.CBC(iv)).decryptor()
    plain = opener.update(base64.b64decode(sealed, validate=True)) + opener.finalize()
    count = plain[-1]
    assert 1 <= count <= 32, "padding"
    assert plain[-count:] == bytes([count]) * count, "padding"
    plain = plain[16:-count]
    length = int.from_bytes(plain[:4], "big")
    assert plain[4 + length :].decode() == receiver, "receive id"
    return plain[4 : 4 + length].decode()


def callback(channel: str, plain: str, *, token: str, key: str, receiver: str, now: float, nonce: str = "") -> Webhook:
    """`plain` as WeCom posts it to `/webhook/wecom/{channel}`."""
    sealed, stamp, nonce = seal(plain, key, receiver), str(int(now)), nonce or os.urandom(5).hex()
    if channel == "app":
        body = f"<xml><ToUserName><![CDATA[{CORP}]]></ToUserName><AgentID><![CDATA[{AGENT}]]></AgentID>"
        body += f"<Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
    else:
        body = json.dumps({"encrypt": sealed})
    return Webhook(
        platform="wecom",
        channel=channel,
        headers={"content-type": "text/xml" if channel == "app" else "application/json"},
        query={"msg_signature": sign(token, stamp, nonce, sealed), "timestamp": stamp, "nonce": nonce},
        body=body.encode(),
    )


# --- what people see ---------------------------------------------------------------------------


@dataclass
class Shown:
    """One bubble: a text, a file, or a card with buttons."""

    text: str
    sender: str = ""
    """Member who wrote it; empty: the assistant."""
    buttons: list[dict[str, Any]] = field(default_factory=list)
    task_id: str = ""
    growing: bool = False
    surface: str = "bot"
    response_code: str = ""


@dataclass
class Stream:
    """A reply that WeCom fetches."""

    id: str
    bubble: Shown
    asked: float
    user: str
    chat: str
    finished: bool = False
    polls: int = 0
    feedback: str = ""
    """What WeCom names when somebody presses a thumb below it; thumbs are there where this was given with the first state."""


@dataclass
class Address:
    """A response_url."""

    chat: str
    made: float
    used: bool = False


def _attachment(name: str) -> dict[str, str]:
    # The vendor writes UTF-8 bytes; http.server writes a header as Latin-1.
    return {"content-disposition": f'attachment; filename="{name}"'.encode().decode("latin-1")}


def failed(code: int, text: str) -> BadCall:
    return BadCall(Answer(200, {"errcode": code, "errmsg": text}))


class WeCom(Simulator):
    """The company's WeCom. `members` can see the app; whatever is shown stands in `chats[conversation]`."""

    def __init__(self, *, clock: Callable[[], float] = WORLD, members: tuple[str, ...] = ("lin", "wang", "zhao")) -> None:
        super().__init__(clock=clock)
        self.members = set(members)
        self.menu: list[dict[str, Any]] = []
        self.departments: dict[str, list[int]] = {}
        self.directory: list[dict[str, Any]] = []
        self.parents: dict[int, int] = {1: 0}
        """Of departments: the one above."""
        self.chats: dict[str, list[Shown]] = {}
        self.trusted_ip = True
        self.streams: dict[str, Stream] = {}
        self.problems: list[str] = []
        """What the assistant answered that WeCom would not understand."""
        self._tokens: dict[str, float] = {}
        self._issued = 0
        self._recent: dict[tuple[str, str], float] = {}
        self._tasks: set[str] = set()
        self._codes: dict[str, tuple[Shown, float]] = {}
        self._media: dict[str, tuple[str, str, bytes]] = {}
        self._addresses: dict[str, Address] = {}
        self._per_member: dict[str, list[float]] = {}
        self._files: dict[str, tuple[bytes, str]] = {}
        self._count = 0

    @property
    def secrets(self) -> dict[str, str]:
        """The wecom object of the secrets file, pointing at this simulator."""
        return {
            "corp_id": CORP,
            "agent_id": str(AGENT),
            "secret": SECRET,
            "app_token": APP_TOKEN,
            "app_aes_key": APP_KEY,
            "app_receive_id": CORP,
            "bot_id": BOT,
            "bot_token": BOT_TOKEN,
            "bot_aes_key": BOT_KEY,
            "bot_receive_id": "",
            "bot_name": BOT_NAME,
            "api_base": self.base,
        }

    def visible(self, conversation: str) -> list[str]:
        """What stands in a chat in order, as a person reads it; a card's buttons in brackets."""
        with self.lock:
            return [
                " ".join([INVISIBLE.sub("", s.text), *(f"[{b['text']}]" for b in s.buttons)]).strip()
                for s in self.chats.get(conversation, [])
                if not s.sender
            ]

    def show(self, conversation: str, bubble: Shown) -> Shown:
        with self.lock:
            self.chats.setdefault(conversation, []).append(bubble)
        return bubble

    def expire_tokens(self) -> None:
        """Every token dies early."""
        self._tokens = dict.fromkeys(self._tokens, 0.0)

    def _next(self, what: str) -> str:
        self._count += 1
        return f"{what}{self._count:06d}"

    # --- callbacks: the app ---

    def app_callback(self, xml: str) -> Webhook:
        return callback("app", xml, token=APP_TOKEN, key=APP_KEY, receiver=CORP, now=self.clock())

    def app_xml(self, type_: str, user: str = "lin", **fields: str) -> str:
        """The decrypted XML of a callback; `fields` are further elements."""
        known = {
            "ToUserName": CORP,
            "FromUserName": user,
            "CreateTime": str(int(self.clock())),
            "MsgType": type_,
            "AgentID": str(AGENT),
        }
        if type_ != "event":
            known["MsgId"] = fields.pop("MsgId", "") or self._next("57000000000000")
        return "<xml>" + "".join(f"<{k}>{escape(v)}</{k}>" for k, v in {**known, **fields}.items()) + "</xml>"

    def app_text(self, text: str, user: str = "lin") -> Webhook:
        """A member writes to the app."""
        self.show(user, Shown(text, sender=user, surface="app"))
        return self.app_callback(self.app_xml("text", user, Content=text))

    def app_click(self, bubble: Shown, key: str, user: str = "lin") -> Webhook:
        """A member clicks a button of the app's card."""
        code = self._code(bubble)
        return self.app_callback(
            self.app_xml(
                "event",
                user,
                Event="template_card_event",
                EventKey=key,
                TaskId=bubble.task_id,
                CardType="button_interaction",
                ResponseCode=code,
            )
        )

    # --- callbacks: the bot ---

    def bot_callback(self, data: Mapping[str, Any]) -> Webhook:
        return callback("bot", json.dumps(data), token=BOT_TOKEN, key=BOT_KEY, receiver="", now=self.clock())

    def bot_data(self, msgtype: str, user: str = "lin", chat: str = "", **fields: Any) -> dict[str, Any]:
        """The decrypted JSON of a callback, as the vendor's page shows it."""
        chosen = {"chatid": chat, "chattype": "group"} if chat else {"chattype": "single"}
        code = self._next("rc")
        self._addresses[code] = Address(chat or user, self.clock())
        return {
            "msgid": fields.pop("msgid", "") or self._next("CAIQ16HMjQYY/NGagIOAAgMAgq4K"),
            "aibotid": BOT,
            **chosen,
            "from": {"userid": user},
            "response_url": f"{self.base}/cgi-bin/aibot/response?response_code={code}",
            "msgtype": msgtype,
            **fields,
        }

    def bot_text(self, text: str, user: str = "lin", chat: str = "") -> Webhook:
        """A member writes to the bot; in a group WeCom puts the mention before the text."""
        self.show(chat or user, Shown(text, sender=user))
        spoken = f"@{BOT_NAME} {text}" if chat else text
        return self.bot_callback(self.bot_data("text", user, chat, text={"content": spoken}))

    def bot_click(self, bubble: Shown, key: str, user: str = "lin", chat: str = "") -> Webhook:
        """A member clicks a button of the bot's card."""
        event = {
            "eventtype": "template_card_event",
            "template_card_event": {"card_type": "button_interaction", "event_key": key, "task_id": bubble.task_id},
        }
        return self.bot_callback(self.bot_data("event", user, chat, event=event))

    def ask(self, deliver: Deliver, webhook: Webhook, *, user: str = "lin", chat: str = "") -> Stream | None:
        """Delivers a bot callback and takes in what the HTTP answer says; the stream it opens, if it does."""
        return self.take(deliver(webhook), user=user, chat=chat)

    def take(self, reply: HttpReply, *, user: str = "lin", chat: str = "") -> Stream | None:
        """What WeCom does with the HTTP answer to a callback."""
        data = self._unsealed(reply)
        if data is None:
            return None
        kind = data.get("msgtype")
        if kind == "text":
            self.show(chat or user, Shown(data["text"]["content"]))
            return None
        if kind != "stream":
            self._problem(f"msgtype {kind!r} cannot answer a callback")
            return None
        id_ = data["stream"]["id"]
        with self.lock:
            stream = self.streams.get(id_)
            if stream is None:
                if sum(s.user == user and not s.finished for s in self.streams.values()) >= 3:
                    self._problem("a member has at most three running answers")
                    return None
                bubble = self.show(chat or user, Shown("", growing=True))
                stream = self.streams[id_] = Stream(id_, bubble, self.clock(), user, chat)
        self._advance(stream, data["stream"])
        return stream

    def poll(self, deliver: Deliver, stream: Stream) -> bool:
        """Asks once for the next state; False when there is nothing more to ask."""
        if stream.finished:
            return False
        if self.clock() - stream.asked > 360:
            stream.finished, stream.bubble.growing = True, False
            return False
        stream.polls += 1
        data = self.bot_data("stream", stream.user, stream.chat, stream={"id": stream.id})
        del data["response_url"]
        answer = self._unsealed(deliver(self.bot_callback(data)))
        if answer is None or answer.get("msgtype") != "stream" or answer["stream"].get("id") != stream.id:
            self._problem("a request for the next state was answered with something else")
            return False
        self._advance(stream, answer["stream"])
        return not stream.finished

    def _advance(self, stream: Stream, state: Mapping[str, Any]) -> None:
        content, finish = state.get("content", ""), state.get("finish")
        if not isinstance(finish, bool) or not isinstance(content, str):
            self._problem("a stream needs 'finish' and 'content'")
            return
        if len(content.encode()) > 20480:
            self._problem("a stream's content has more than 20480 bytes")
            return
        if content or not stream.bubble.text:
            stream.bubble.text = content
        if (thumbs := (state.get("feedback") or {}).get("id", "")) and not stream.polls:
            if len(thumbs.encode()) > 256:
                self._problem("a feedback id has more than 256 bytes")
            stream.feedback = thumbs
        stream.finished, stream.bubble.growing = finish, not finish

    def _unsealed(self, reply: HttpReply) -> dict[str, Any] | None:
        """The opened answer; None for "accepted, nothing to say"."""
        if reply.status != 200:
            self._problem(f"HTTP {reply.status}")
            return None
        if not reply.body:
            return None
        try:
            body = json.loads(reply.body)
            assert set(body) == {"encrypt", "msgsignature", "timestamp", "nonce"}, f"fields {sorted(body)}"
            assert body["msgsignature"] == sign(BOT_TOKEN, body["timestamp"], body["nonce"], body["encrypt"]), "signature"
            data = json.loads(unseal(body["encrypt"], BOT_KEY, ""))
        except (ValueError, AssertionError) as error:
            self._problem(f"the answer cannot be opened: {error}")
            return None
        return data if isinstance(data, dict) and data else None

    def _problem(self, text: str) -> None:
        self.problems.append(text)

    # --- the API ---

    @route("GET", "/cgi-bin/gettoken")
    def gettoken(self, call: Call) -> Answer:
        if call.query.get("corpid") != CORP:
            raise failed(40013, "invalid corpid")
        if call.query.get("corpsecret") != SECRET:
            raise failed(40001, "invalid credential")
        live = [t for t, until in self._tokens.items() if until > self.clock()]
        if not live:
            self._issued += 1
            live = [f"token-{self._issued}-" + "x" * 40]
            self._tokens[live[0]] = self.clock() + 7200
        left = int(self._tokens[live[0]] - self.clock())
        return Answer(200, {"errcode": 0, "errmsg": "ok", "access_token": live[0], "expires_in": left})

    def before(self, call: Call) -> Answer | None:
        """Every call needs a living token and a trusted address, except for the token itself and a response_url."""
        if call.path in ("/cgi-bin/gettoken", "/cgi-bin/aibot/response") or call.path.startswith("/files/"):
            return None
        token = call.query.get("access_token")
        if not token:
            raise failed(41001, "access_token missing")
        if token not in self._tokens:
            raise failed(40014, "invalid access_token")
        if self._tokens[token] <= self.clock():
            raise failed(42001, "access_token expired")
        if not self.trusted_ip and call.path != "/cgi-bin/getcallbackip":
            raise failed(60020, "not allow to access from your ip, hint: [1700], from ip: 203.0.113.7, more info at https://open")
        return None

    @route("POST", "/cgi-bin/message/send")
    def message_send(self, call: Call) -> Answer:
        data = call.json()
        if data.get("agentid") != AGENT:
            raise failed(40056, "invalid agentid")
        users = [u for u in str(data.get("touser", "")).split("|") if u]
        known = [u for u in users if u in self.members]
        if not known:
            raise failed(81013, "user & party & tag all invalid")
        kind = data.get("msgtype")
        bubble = self._bubble(kind, data)
        interval = data.get("duplicate_check_interval", 1800)
        if not 1 <= interval <= 4 * 3600:
            raise failed(40058, "duplicate_check_interval out of range")
        content = json.dumps([kind, data.get(kind)], sort_keys=True)
        code = ""
        for user in known:
            sent = [t for t in self._per_member.get(user, []) if self.clock() - t < 60]
            self._per_member[user] = [*sent, self.clock()]
            if data.get("enable_duplicate_check") == 1:
                last = self._recent.get((user, content))
                if last is not None and self.clock() - last < interval:
                    continue
                self._recent[user, content] = self.clock()
            if len(sent) >= 30:
                self.dropped.append(f"to {user}: {INVISIBLE.sub('', bubble.text)}")
                continue
            if bubble.task_id:
                if bubble.task_id in self._tasks:
                    raise failed(40058, "task_id already used")
                self._tasks.add(bubble.task_id)
                code = self._code(bubble)
            self.show(user, bubble)
        result = {"errcode": 0, "errmsg": "ok", "msgid": self._next("msg"), "invaliduser": "|".join(set(users) - set(known))}
        return Answer(200, result | ({"response_code": code} if code else {}))

    def _bubble(self, kind: str | None, data: Mapping[str, Any]) -> Shown:
        if kind in ("text", "markdown"):
            content = data[kind].get("content")
            if not content:
                raise failed(44004, "empty content")
            return Shown(content.encode()[:2048].decode("utf-8", "ignore"), surface="app")
        if kind in ("image", "file"):
            media = self._media.get(data[kind].get("media_id", ""))
            if not media or media[0] != kind:
                raise failed(40007, "invalid media_id")
            return Shown(f"[{kind}: {media[1]}]", surface="app")
        if kind == "template_card":
            return self._card(data["template_card"], surface="app")
        raise failed(40008, "invalid message type")

    def _card(self, card: Mapping[str, Any], *, surface: str) -> Shown:
        title, line = card.get("main_title", {}).get("title", ""), card.get("sub_title_text", "")
        buttons, task = card.get("button_list"), card.get("task_id", "")
        if card.get("card_type") != "button_interaction" or not (title or line):
            raise failed(40058, "card_type and main_title")
        if not isinstance(buttons, list) or not 1 <= len(buttons) <= 6:
            raise failed(40058, "button_list must have 1 to 6 buttons")
        for button in buttons:
            if (
                not button.get("text")
                or not 0 < len(button.get("key", "").encode()) <= 1024
                or button.get("style") not in (1, 2, 3, 4)
            ):
                raise failed(40058, "a button needs text, style 1-4 and a key of at most 1024 bytes")
        if len({b["key"] for b in buttons}) != len(buttons):
            raise failed(40058, "the keys of buttons must differ")
        if not re.fullmatch(r"[0-9A-Za-z_@-]{1,128}", task):
            raise failed(40058, "task_id")
        if card.get("replace_text"):
            buttons = [{**b, "disabled": True, "text": card["replace_text"]} for b in buttons]
        return Shown(" — ".join(t for t in (title, line) if t), buttons=list(buttons), task_id=task, surface=surface)

    def _code(self, bubble: Shown) -> str:
        code = self._next("code")
        self._codes[code] = (bubble, self.clock())
        return code

    @route("POST", "/cgi-bin/message/update_template_card")
    def update_card(self, call: Call) -> Answer:
        data = call.json()
        if data.get("agentid") != AGENT:
            raise failed(40056, "invalid agentid")
        code = data.get("response_code", "")
        bubble, made = self._codes.pop(code, (None, 0.0))
        if bubble is None or self.clock() - made > 72 * 3600:
            raise failed(40058, "response_code is used, expired or unknown")
        if not data.get("userids") or set(data["userids"]) - self.members:
            raise failed(81013, "userids")
        if "button" in data:
            if not data["button"].get("replace_name"):
                raise failed(40058, "replace_name")
            bubble.buttons = [{"text": data["button"]["replace_name"], "key": "", "disabled": True}]
        else:
            new = self._card(data["template_card"], surface="app")
            bubble.text, bubble.buttons, bubble.task_id = new.text, new.buttons, new.task_id
        return Answer(200, {"errcode": 0, "errmsg": "ok", "invaliduser": []})

    @route("POST", "/cgi-bin/aibot/response")
    def response_url(self, call: Call) -> Answer:
        address = self._addresses.get(call.query.get("response_code", ""))
        if address is None or self.clock() - address.made > 3600:
            raise failed(60140, "response_code expired")  # the vendor documents no code for it: any that is not 0
        data = call.json()
        match data.get("msgtype"):
            case "markdown":
                content = data["markdown"].get("content", "")
                if not content or len(content.encode()) > 20480:
                    raise failed(40058, "markdown.content has 1 to 20480 bytes")
                bubble = Shown(content)
            case "template_card":
                bubble = self._card(data["template_card"], surface="bot")
            case _:
                raise failed(40008, "invalid message type")
        if address.used:
            raise failed(60140, "response_code used")
        address.used = True
        self.show(address.chat, bubble)
        return Answer(200, {"errcode": 0, "errmsg": "ok"})

    @route("POST", "/cgi-bin/media/upload")
    def media_upload(self, call: Call) -> Answer:
        kind = call.query.get("type", "")
        if kind not in ("image", "voice", "video", "file"):
            raise failed(40004, "invalid media type")
        boundary = call.headers.get("content-type", "").partition("boundary=")[2].encode()
        match = re.search(rb'name="media"; filename="([^"]*)"[^\0]*?\r\n\r\n(.*?)\r\n--' + re.escape(boundary), call.body, re.S)
        if not boundary or not match:
            raise failed(41005, "missing media data")
        if len(match[2]) <= 5 or len(match[2]) > (10 if kind == "image" else 20) * 2**20:
            raise failed(45001, "media size out of limit")
        media_id = self._next("MEDIA")
        self._media[media_id] = (kind, match[1].decode(), match[2])
        return Answer(200, {"errcode": 0, "errmsg": "", "type": kind, "media_id": media_id, "created_at": str(int(self.clock()))})

    @route("GET", "/cgi-bin/media/get")
    def media_get(self, call: Call) -> Answer:
        media = self._media.get(call.query.get("media_id", ""))
        if media is None:
            raise failed(40007, "invalid media_id")
        return Answer(200, media[2], _attachment(media[1]))

    @route("GET", "/cgi-bin/agent/get")
    def agent_get(self, call: Call) -> Answer:
        if call.query.get("agentid") != str(AGENT):
            raise failed(301002, "not allow operate another agent with this accesstoken")
        users = {"user": [{"userid": u} for u in sorted(self.members)]}
        return Answer(
            200,
            {"errcode": 0, "errmsg": "ok", "agentid": AGENT, "name": "助手", "close": 0, "redirect_domain": ""}
            | {"allow_userinfos": users, "allow_partys": {"partyid": []}, "allow_tags": {"tagid": []}},
        )

    @route("GET", "/cgi-bin/menu/get")
    def menu_get(self, call: Call) -> Answer:
        """The menu below the chat with the app."""
        if call.query.get("agentid") != str(AGENT):
            raise failed(301002, "not allow operate another agent with this accesstoken")
        if not self.menu:
            raise failed(46003, "menu not exist")
        return Answer(200, {"errcode": 0, "errmsg": "ok", "button": self.menu})

    @route("POST", "/cgi-bin/menu/create")
    def menu_create(self, call: Call) -> Answer:
        """Replaces the menu; names, keys and numbers are bounded."""
        if call.query.get("agentid") != str(AGENT):
            raise failed(301002, "not allow operate another agent with this accesstoken")
        buttons = call.json().get("button") or []
        if not 1 <= len(buttons) <= 3:
            raise failed(40016, "invalid button size")
        for button in buttons:
            entries = button.get("sub_button")
            if len(button.get("name", "").encode()) > 16 or not button.get("name"):
                raise failed(40018, "invalid button name size")
            if entries is not None and not 1 <= len(entries) <= 5:
                raise failed(40023, "invalid sub button size")
            for entry in entries if entries is not None else [button]:
                if entry.get("type") != "click" or not 1 <= len(entry.get("key", "").encode()) <= 128:
                    raise failed(40019, "invalid button key size")
                if len(entry["name"].encode()) > 40:
                    raise failed(40018, "invalid sub button name size")
        self.menu = buttons
        return Answer(200, {"errcode": 0, "errmsg": "ok"})

    @route("GET", "/cgi-bin/user/get")
    def user_get(self, call: Call) -> Answer:
        """One member and their departments."""
        user = call.query.get("userid", "")
        if user not in self.members:
            raise failed(60111, "userid not found")
        departments = self.departments.get(user, [1])
        return Answer(200, {"errcode": 0, "errmsg": "ok", "userid": user, "name": user, "department": departments})

    @route("GET", "/cgi-bin/department/list")
    def directory_list(self, call: Call) -> Answer:
        """Every department with name and leaders."""
        return Answer(200, {"errcode": 0, "errmsg": "ok", "department": self.directory})

    @route("GET", "/cgi-bin/department/simplelist")
    def departments_list(self, call: Call) -> Answer:
        """Every department with the one above it."""
        listed = [{"id": d, "parentid": p, "order": 1} for d, p in self.parents.items()]
        return Answer(200, {"errcode": 0, "errmsg": "ok", "department_id": listed})

    @route("GET", "/cgi-bin/getcallbackip")
    def callback_ip(self, call: Call) -> Answer:
        return Answer(200, {"errcode": 0, "errmsg": "ok", "ip_list": ["101.226.103.0/25", "101.226.62.0/26"]})

    # --- files ---

    def media(self, content: bytes, name: str, kind: str = "file") -> str:
        """The media id of a file that a member sent to the app."""
        media_id = self._next("MEDIA")
        self._media[media_id] = (kind, name, content)
        return media_id

    def bot_file(self, content: bytes, name: str) -> str:
        """The address of a file that a member sent to the bot: encrypted with the bot's key."""
        id_ = self._next("file")
        self._files[id_] = (encrypt(content, BOT_KEY), name)
        return f"{self.base}/files/{id_}?{urlencode({'sign': 'q-sign'})}"

    @route("GET", r"/files/(?P<id>\w+)")
    def file(self, call: Call) -> Answer:
        if call.params["id"] not in self._files:
            return Answer(403, "expired")
        content, name = self._files[call.params["id"]]
        return Answer(200, content, _attachment(name))
