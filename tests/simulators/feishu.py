"""Feishu as a strict local server: tokens, scopes, chats, messages, cards that stream, files.

What people would see is in `visible(chat)`. Rates and life times follow `clock`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Mime
from typing import Any
from urllib.parse import parse_qsl

from assistant.messages import Webhook
from assistant.platforms import crypto
from tests.simulators.base import WORLD, Answer, BadCall, Call, Simulator, route

DAY = 86_400.0
_TYPES = {"chat_id": "oc_", "open_id": "ou_", "union_id": "on_"}
_TABLE = re.compile(r"(?m)^\s*\|?(?:\s*:?-+:?\s*\|)+\s*(?::?-+:?)?\s*$")


def seal(data: Any, key: str) -> bytes:
    """An event as Feishu posts it under an Encrypt Key; `data`: what is encoded as JSON, or bytes as they are."""
    plain = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")
    iv = os.urandom(16)
    body = iv + crypto.encrypt(plain, key=hashlib.sha256(key.encode()).digest(), iv=iv, block=16)
    return json.dumps({"encrypt": base64.b64encode(body).decode()}).encode()


def signed(body: bytes, *, stamp: int | str, key: str, algorithm: str = "sha256") -> Webhook:
    """The request with Feishu's signature over `body` (sha1: an old card call-back, under the Verification Token)."""
    nonce = "1719234567"
    signature = hashlib.new(algorithm, f"{stamp}{nonce}{key}".encode() + body).hexdigest()
    headers = {"x-lark-request-timestamp": str(stamp), "x-lark-request-nonce": nonce, "x-lark-signature": signature}
    return Webhook(platform="feishu", channel="events", headers=headers, body=body)


@dataclass
class Shown:
    """One message in a chat."""

    id: str
    chat: str
    kind: str
    content: dict[str, Any]
    made: float
    parent: str = ""
    thread: str = ""
    entity: str = ""
    recalled: bool = False
    touched: list[float] = field(default_factory=list)


@dataclass
class Entity:
    """A card entity."""

    id: str
    card: dict[str, Any]
    made: float
    sequence: int = 0
    sent: bool = False
    uuids: set[str] = field(default_factory=set)
    operations: list[float] = field(default_factory=list)
    streamed_since: float = 0.0


def error(code: int, message: str, status: int = 400, *, headers: Mapping[str, str] | None = None, **more: Any) -> BadCall:
    return BadCall(Answer(status, {"code": code, "msg": message} | more, {"X-Tt-Logid": "log-1"} | dict(headers or {})))


class FeishuSimulator(Simulator):
    """Play with `chats` (id → members), `scopes`, `files`; `expire_tokens()` and `close_streams()` are the vendor's moods."""

    def __init__(self, *, clock: Callable[[], float] = WORLD, app_id: str = "cli_a", app_secret: str = "s3cr3t-s3cr3t") -> None:
        super().__init__(clock=clock)
        self.app_id = app_id
        self.app_secret = app_secret
        self.bot = "ou_bot"
        self.chats: dict[str, set[str]] = {"oc_1": {"ou_ann", "ou_bo"}}
        self.scopes = {
            "im:message:send_as_bot",
            "im:message.p2p_msg:readonly",
            "im:message.group_at_msg:readonly",
            "im:resource",
            "cardkit:card:write",
            "offline_access",
        }
        self.people = {"ou_ann", "ou_bo"}
        self.departments: dict[str, list[str]] = {}
        """Of people: their open_department_ids."""
        self.names: dict[str, str] = {}
        self.directory: list[dict[str, str]] = []
        """Departments as Feishu lists them."""
        self.above: dict[str, list[str]] = {}
        """Of departments: those above them."""
        self.files: dict[tuple[str, str], bytes] = {}
        self.messages: dict[str, Shown] = {}
        self.entities: dict[str, Entity] = {}
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.tokens: dict[str, float] = {}
        self.made_tokens = 0
        self.card_tokens: dict[str, list[Any]] = {}
        self._posted: dict[str, list[float]] = {}
        self._uuids: dict[str, tuple[float, str]] = {}

    # --- what a test does ---

    def asked(self, message_id: str, *, chat: str = "oc_1", by: str = "ou_ann") -> str:
        """Somebody's message that can be answered."""
        self.messages[message_id] = Shown(message_id, chat, "text", {"text": "…"}, self.clock(), parent=f"by:{by}")
        return message_id

    def visible(self, chat: str) -> list[str]:
        """What the bot's messages in a chat (an open_id: the private chat with that person) read like, in order."""
        with self.lock:
            return [
                self._read(m)
                for m in self.messages.values()
                if m.chat == chat and not m.recalled and not m.parent.startswith("by:")
            ]

    def expire_tokens(self) -> None:
        self.tokens.clear()

    def forgive(self) -> None:
        """Forgets the faults that have not happened yet."""
        with self.lock:
            self._faults.clear()

    def close_streams(self) -> None:
        for entity in self.entities.values():
            entity.card["config"]["streaming_mode"] = False

    def _read(self, message: Shown) -> str:
        content = self.entities[message.entity].card if message.entity else message.content
        if message.kind == "text":
            return str(content["text"])
        if message.kind != "interactive":
            return f"[{message.kind} {next(iter(content.values()))}]"
        read = []
        for element in _elements(content):
            if element["tag"] == "markdown":
                read.append(element["content"])
            elif element["tag"] == "button":
                read.append(f"[{element['text']['content']}]")
        return "\n".join(read) + (" ▍" if content["config"].get("streaming_mode") else "")

    def buttons(self, chat: str) -> list[dict[str, Any]]:
        """The values that clicks in a chat would come back with."""
        found = []
        for message in self.messages.values():
            if message.chat == chat and message.kind == "interactive" and not message.recalled:
                content = self.entities[message.entity].card if message.entity else message.content
                found += [e["behaviors"][0]["value"] for e in _elements(content) if e["tag"] == "button"]
        return found

    # --- auth ---

    @route("POST", r"/open-apis/auth/v3/tenant_access_token/internal")
    def token(self, call: Call) -> Answer:
        body = call.json()
        if body.get("app_id") != self.app_id:
            return Answer(200, {"code": 10003, "msg": "invalid param"})
        if body.get("app_secret") != self.app_secret:
            return Answer(200, {"code": 10014, "msg": "app secret invalid"})
        now = self.clock()
        alive = [t for t, until in self.tokens.items() if until - now > 1800]
        if not alive:
            self.made_tokens += 1
            alive = [f"t-{self.made_tokens:020d}"]
            self.tokens[alive[0]] = now + 7200
        token = alive[-1]
        return Answer(200, {"code": 0, "msg": "ok", "tenant_access_token": token, "expire": int(self.tokens[token] - now)})

    def before(self, call: Call) -> Answer | None:
        if call.path.endswith("/tenant_access_token/internal"):
            return None
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise error(99991661, "Missing access token for authorization")
        if self.tokens.get(token, 0) <= self.clock():
            raise error(99991663, "Invalid access token for authorization")
        return None

    def _needs(self, *scopes: str) -> None:
        if not self.scopes & set(scopes):
            violations = [{"type": "action_privilege_required", "subject": s} for s in scopes]
            text = f"Access denied. One of the following scopes is required: [{', '.join(scopes)}]."
            raise error(99991672, text, error={"permission_violations": violations, "log_id": "log-1"})

    # --- messages ---

    @route("POST", r"/open-apis/im/v1/messages")
    def create(self, call: Call) -> Answer:
        self._needs("im:message:send_as_bot", "im:message")
        body = call.json()
        kind = call.query.get("receive_id_type", "")
        to = body.get("receive_id", "")
        if kind not in _TYPES or not str(to).startswith(_TYPES[kind]):
            raise error(230001, f"receive_id {to!r} is no {kind!r}")
        if kind == "open_id" and to not in self.people:
            raise error(230034, "The receive_id is invalid")
        if kind == "chat_id" and to not in self.chats:
            raise error(230002, "Bot/User can NOT be out of the chat.")
        return self._show(body, chat=to)

    @route("POST", r"/open-apis/im/v1/messages/(?P<id>[^/]+)/reply")
    def reply(self, call: Call) -> Answer:
        self._needs("im:message:send_as_bot", "im:message")
        asked = self.messages.get(call.params["id"])
        if asked is None:
            raise error(230001, "invalid message_id")
        if asked.recalled:
            raise error(230011, "The message was recalled")
        if asked.chat not in self.chats and asked.chat not in self.people:
            raise error(230002, "Bot/User can NOT be out of the chat.")
        body = call.json()
        thread = (asked.thread or f"omt_{asked.id}") if body.get("reply_in_thread") else ""
        return self._show(body, chat=asked.chat, parent=asked.id, thread=thread)

    def _show(self, body: Mapping[str, Any], *, chat: str, parent: str = "", thread: str = "") -> Answer:
        uuid = body.get("uuid", "")
        if not isinstance(uuid, str) or len(uuid) > 50:
            raise error(230001, "uuid too long")
        known = self._uuids.get(uuid) if uuid else None
        if known and self.clock() - known[0] < 3600:
            return self._sent(self.messages[known[1]])
        now = self.clock()
        recent = self._posted[chat] = [t for t in self._posted.get(chat, ()) if now - t < 1]
        if len(recent) >= 5:
            raise error(230020, "This operation triggers the frequency limit", headers={"x-ogw-ratelimit-reset": "1"})
        recent.append(now)
        content = _decoded(body.get("content"))
        self._check(body.get("msg_type"), content, len(str(body["content"]).encode()))
        shown = Shown(f"om_bot{len(self.messages)}", chat, body["msg_type"], content, self.clock(), parent, thread)
        if body["msg_type"] == "interactive" and content.get("type") == "card":
            entity = self._entity(content["data"]["card_id"])
            if entity.sent:
                raise error(230099, "Failed to create card content, ext=ErrCode: 11311; ErrMsg: card entity was sent")
            entity.sent = True
            shown.entity = entity.id
        self.messages[shown.id] = shown
        if uuid:
            self._uuids[uuid] = (self.clock(), shown.id)
        return self._sent(shown)

    def _sent(self, shown: Shown) -> Answer:
        data = {"message_id": shown.id, "chat_id": shown.chat, "create_time": str(int(shown.made * 1000)), "msg_type": shown.kind}
        return Answer(200, {"code": 0, "msg": "success", "data": data})

    def _check(self, kind: Any, content: dict[str, Any], size: int) -> None:
        if size > (150_000 if kind == "text" else 30_000):
            raise error(230025, "The length of the message content reaches its limit")
        if kind == "text":
            if not content.get("text"):
                raise error(230001, "text is empty")
        elif kind == "interactive":
            if content.get("type") != "card":
                self._check_card(content)
        elif kind in ("image", "file"):
            key = content.get(f"{kind}_key", "")
            if key not in self.uploads:
                raise error(230001, f"unknown {kind}_key")
        else:
            raise error(230054, "this message type is not supported")

    def _check_card(self, card: dict[str, Any]) -> None:
        """What Feishu refuses in a card."""
        try:
            good = card["schema"] == "2.0" and card["config"]["update_multi"] is True
            elements = list(_elements(card))
            names = [e["element_id"] for e in elements if "element_id" in e]
            for element in elements:
                if element["tag"] == "markdown":
                    good &= bool(element["content"])
                    if len(_TABLE.findall(element["content"])) > 5:
                        raise error(
                            230099, "Failed to create card content, ext=ErrCode: 11310; ErrMsg: card table number over limit"
                        )
                elif element["tag"] == "button":
                    good &= element["text"]["tag"] == "plain_text" and element["type"] in ("default", "primary", "danger")
                    good &= all(b["type"] == "callback" and isinstance(b["value"], dict) for b in element["behaviors"])
                else:
                    good &= element["tag"] in ("column_set", "column")
            good &= len(set(names)) == len(names) and all(re.fullmatch(r"[A-Za-z]\w{0,19}", n) for n in names)
        except (KeyError, TypeError, IndexError):
            good = False
        if not good:
            raise error(230099, "Failed to create card content, ext=ErrCode: 200621; ErrMsg: parse card json err")

    @route("PATCH", r"/open-apis/im/v1/messages/(?P<id>[^/]+)")
    def patch(self, call: Call) -> Answer:
        self._needs("im:message", "im:message:send_as_bot", "im:message:update")
        shown = self._ours(call.params["id"])
        if shown.kind != "interactive" or shown.entity:
            raise error(230001, "this message is no card that can be patched")
        if self.clock() - shown.made > 14 * DAY:
            raise error(230031, "the message is too old")
        now = self.clock()
        shown.touched = [t for t in shown.touched if now - t < 1] + [now]
        if len(shown.touched) > 5:
            raise error(230020, "This operation triggers the frequency limit", headers={"x-ogw-ratelimit-reset": "1"})
        raw = call.json().get("content")
        card = _decoded(raw)
        if len(raw.encode()) > 30_000:
            raise error(230025, "too long")
        self._check_card(card)
        shown.content = card
        return Answer(200, {"code": 0, "msg": "success", "data": {}})

    @route("DELETE", r"/open-apis/im/v1/messages/(?P<id>[^/]+)")
    def recall(self, call: Call) -> Answer:
        self._ours(call.params["id"]).recalled = True
        return Answer(200, {"code": 0, "msg": "success", "data": {}})

    def _ours(self, message_id: str) -> Shown:
        shown = self.messages.get(message_id)
        if shown is None:
            raise error(230001, "invalid message_id")
        if shown.parent.startswith("by:"):
            raise error(230017, "The operator is not the owner of the message")
        if shown.recalled:
            raise error(230011, "The message was recalled")
        return shown

    # --- cards that stream ---

    @route("POST", r"/open-apis/cardkit/v1/cards")
    def make_card(self, call: Call) -> Answer:
        self._needs("cardkit:card:write")
        body = call.json()
        if body.get("type") != "card_json" or len(str(body.get("data")).encode()) > 30_000:
            raise error(230099, "bad card")
        card = _decoded(body["data"])
        self._check_card(card)
        entity = Entity(str(7355372766134157313 + len(self.entities)), card, self.clock(), streamed_since=self.clock())
        self.entities[entity.id] = entity
        return Answer(200, {"code": 0, "msg": "success", "data": {"card_id": entity.id}})

    @route("POST", r"/open-apis/cardkit/v1/cards/id_convert")
    def convert(self, call: Call) -> Answer:
        shown = self.messages.get(call.json().get("message_id", ""))
        if shown is None or not shown.entity:
            raise error(200750, "no card")
        return Answer(200, {"code": 0, "msg": "success", "data": {"card_id": shown.entity}})

    @route("PUT", r"/open-apis/cardkit/v1/cards/(?P<id>[^/]+)/elements/(?P<element>[^/]+)/content")
    def stream(self, call: Call) -> Answer:
        entity, body, new = self._operation(call)
        config = entity.card["config"]
        if not config.get("streaming_mode") or self.clock() - entity.streamed_since > 600:
            config["streaming_mode"] = False
            raise error(300309, "streaming mode is closed")
        if not isinstance(body.get("content"), str) or not 1 <= len(body["content"]) <= 100_000:
            raise error(99992402, "field validation failed")
        for element in _elements(entity.card):
            if element.get("element_id") == call.params["element"]:
                if new:
                    element["content"] = body["content"]
                return Answer(200, {"code": 0, "msg": "success", "data": {}})
        raise error(300313, "element not found")

    @route("PATCH", r"/open-apis/cardkit/v1/cards/(?P<id>[^/]+)/settings")
    def settings(self, call: Call) -> Answer:
        entity, body, new = self._operation(call)
        config = _decoded(body.get("settings")).get("config", {})
        if new:
            entity.card["config"] |= config
            if config.get("streaming_mode"):
                entity.streamed_since = self.clock()
        return Answer(200, {"code": 0, "msg": "success", "data": {}})

    @route("PUT", r"/open-apis/cardkit/v1/cards/(?P<id>[^/]+)")
    def replace_card(self, call: Call) -> Answer:
        entity, body, new = self._operation(call)
        if body["card"]["type"] != "card_json" or len(body["card"]["data"].encode()) > 30_000:
            raise error(230099, "bad card")
        card = _decoded(body["card"]["data"])
        self._check_card(card)
        if new:
            entity.card = card
        return Answer(200, {"code": 0, "msg": "success", "data": {}})

    def _entity(self, card_id: str) -> Entity:
        entity = self.entities.get(card_id)
        if entity is None or self.clock() - entity.made > 14 * DAY:
            raise error(200750, "card not found")
        return entity

    def _operation(self, call: Call) -> tuple[Entity, dict[str, Any], bool]:
        """The entity and the body of a numbered operation, and whether it is new (not the repeat of one that was done)."""
        self._needs("cardkit:card:write")
        entity, body = self._entity(call.params["id"]), call.json()
        now = self.clock()
        entity.operations = [t for t in entity.operations if now - t < 1] + [now]
        if len(entity.operations) > 10:
            raise error(99991400, "request trigger frequency limit", 429, headers={"x-ogw-ratelimit-reset": "1"})
        uuid, sequence = body.get("uuid", ""), body.get("sequence")
        if not isinstance(sequence, int) or not 0 < sequence < 2**31 or len(uuid) > 64:
            raise error(99992402, "field validation failed")
        if uuid and uuid in entity.uuids:
            return entity, body, False
        if sequence <= entity.sequence:
            raise error(300317, "sequence number compare failed")
        entity.sequence = sequence
        entity.uuids.add(uuid)
        return entity, body, True

    @route("POST", r"/open-apis/interactive/v1/card/update")
    def late_update(self, call: Call) -> Answer:
        body = call.json()
        known = self.card_tokens.get(body.get("token", ""))
        if not known or self.clock() - known[0] > 1800 or known[1] >= 2:
            raise error(300000, "token is invalid or was used twice")
        known[1] += 1
        shown = self.messages[known[2]]
        self._check_card(body["card"])
        if shown.entity:
            self.entities[shown.entity].card = body["card"]
        else:
            shown.content = body["card"]
        return Answer(200, {"code": 0, "msg": "ok"})

    def clicked(self, message_id: str, token: str) -> None:
        """A click on a card makes a token for a late update."""
        self.card_tokens[token] = [self.clock(), 0, message_id]

    # --- files ---

    @route("POST", r"/open-apis/im/v1/images")
    def image(self, call: Call) -> Answer:
        self._needs("im:resource", "im:resource:upload")
        fields, name, content = _form(call)
        if fields.get("image_type") != "message" or not content or len(content) > 10 * 1024 * 1024:
            raise error(234001, "Invalid request param.")
        key = f"img_{len(self.uploads)}"
        self.uploads[key] = (name, content)
        return Answer(200, {"code": 0, "msg": "success", "data": {"image_key": key}})

    @route("POST", r"/open-apis/im/v1/files")
    def file(self, call: Call) -> Answer:
        self._needs("im:resource", "im:resource:upload")
        fields, _, content = _form(call)
        kinds = ("opus", "mp4", "pdf", "doc", "xls", "ppt", "stream")
        if fields.get("file_type") not in kinds or not fields.get("file_name") or not content:
            raise error(234001, "Invalid request param.")
        key = f"file_{len(self.uploads)}"
        self.uploads[key] = (fields["file_name"], content)
        return Answer(200, {"code": 0, "msg": "success", "data": {"file_key": key}})

    @route("GET", r"/open-apis/im/v1/messages/(?P<id>[^/]+)/resources/(?P<key>[^/]+)")
    def resource(self, call: Call) -> Answer:
        self._needs("im:resource", "im:message", "im:message:readonly")
        if call.query.get("type") not in ("image", "file"):
            raise error(234001, "Invalid request param.")
        content = self.files.get((call.params["id"], call.params["key"]))
        if content is None:
            raise error(234003, "File not in msg.")
        name = "attachment; filename=\"a.bin\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf"
        return Answer(200, content, {"content-disposition": name})

    # --- the directory ---

    @route("GET", r"/open-apis/im/v1/chats/(?P<chat>[^/]+)/members")
    def members(self, call: Call) -> Answer:
        """A page of a chat's people, without bots."""
        self._needs("im:chat.members:read", "im:chat:readonly", "im:chat", "im:chat.group_info:readonly")
        people = self.chats.get(call.params["chat"])
        if people is None:
            raise error(232006, "Your request specifies a chat_id which is invalid.")
        if call.query.get("member_id_type") != "open_id" or not 0 < int(call.query.get("page_size", "20")) <= 100:
            raise error(232001, "Your request contains an invalid request parameter.")
        every, start, size = sorted(people), int(call.query.get("page_token") or 0), int(call.query.get("page_size", "20"))
        items = [{"member_id_type": "open_id", "member_id": p, "name": p} for p in every[start : start + size]]
        more = start + size < len(every)
        data = {"items": items, "has_more": more, "page_token": str(start + size) if more else "", "member_total": len(every)}
        return Answer(200, {"code": 0, "msg": "success", "data": data})

    @route("GET", r"/open-apis/contact/v3/users/(?P<user>ou_[^/]+)")
    def user(self, call: Call) -> Answer:
        """One person; their departments only with the scope for that field."""
        self._needs("contact:contact.base:readonly", "contact:contact:readonly_as_app")
        if call.query.get("user_id_type", "open_id") != "open_id":
            raise error(40001, "param error")
        about: dict[str, Any] = {"open_id": call.params["user"], "name": call.params["user"]}
        if "contact:user.department:readonly" in self.scopes:
            about["department_ids"] = self.departments.get(call.params["user"], ["0"])
        return Answer(200, {"code": 0, "msg": "success", "data": {"user": about}})

    @route("GET", r"/open-apis/contact/v3/users/batch")
    def users(self, call: Call) -> Answer:
        """Names of several people."""
        self._needs("contact:contact.base:readonly", "contact:contact:readonly_as_app")
        asked = [v for k, v in parse_qsl(call.raw_query) if k == "user_ids"]
        if not 1 <= len(asked) <= 50 or call.query.get("user_id_type") != "open_id":
            raise error(40001, "param error")
        items = [{"open_id": p, "name": self.names[p]} for p in asked if p in self.names]
        return Answer(200, {"code": 0, "msg": "success", "data": {"items": items}})

    @route("GET", r"/open-apis/contact/v3/departments/0/children")
    def children(self, call: Call) -> Answer:
        """A page of all departments."""
        self._needs("contact:contact.base:readonly", "contact:contact:readonly_as_app")
        if call.query.get("fetch_child") != "true" or not 1 <= int(call.query.get("page_size", "10")) <= 50:
            raise error(40001, "param error")
        start, size = int(call.query.get("page_token") or 0), int(call.query["page_size"])
        more = start + size < len(self.directory)
        data = {"items": self.directory[start : start + size], "has_more": more, "page_token": str(start + size) if more else ""}
        return Answer(200, {"code": 0, "msg": "success", "data": data})

    @route("GET", r"/open-apis/contact/v3/departments/parent")
    def parents(self, call: Call) -> Answer:
        """The departments above one."""
        self._needs("contact:contact.base:readonly", "contact:contact:readonly_as_app")
        if call.query.get("department_id_type") != "open_department_id" or int(call.query.get("page_size", "20")) > 50:
            raise error(40001, "param error")
        items = [{"open_department_id": d, "name": d} for d in self.above.get(call.query.get("department_id", ""), ())]
        return Answer(200, {"code": 0, "msg": "success", "data": {"items": items, "has_more": False}})

    # --- doctor ---

    @route("GET", r"/open-apis/bot/v3/info")
    def info(self, call: Call) -> Answer:
        return Answer(200, {"code": 0, "msg": "ok", "bot": {"app_name": "助手", "open_id": self.bot, "activate_status": 2}})

    @route("GET", r"/open-apis/application/v6/scopes")
    def listed(self, call: Call) -> Answer:
        scopes = [{"scope_name": s, "grant_status": 1, "scope_type": "tenant"} for s in sorted(self.scopes)]
        scopes.append({"scope_name": "contact:user.base:readonly", "grant_status": 2, "scope_type": "tenant"})
        return Answer(200, {"code": 0, "msg": "success", "data": {"scopes": scopes}})


def _decoded(content: Any) -> dict[str, Any]:
    """`content` must be a string of JSON, not an object."""
    if not isinstance(content, str):
        raise error(230001, "content is not a string")
    try:
        data = json.loads(content)
    except ValueError:
        raise error(230001, "content is not in JSON format") from None
    if not isinstance(data, dict):
        raise error(230001, "content is not an object")
    return data


def _elements(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every element of a card, also those in columns."""
    found: list[dict[str, Any]] = []
    waiting = list(card["body"]["elements"])
    while waiting:
        element = waiting.pop(0)
        found.append(element)
        waiting = [*element.get("columns", ()), *(element.get("elements", ())), *waiting]
    return found


def _form(call: Call) -> tuple[dict[str, str], str, bytes]:
    """Fields, file name and file of a multipart body."""
    mime: Mime = message_from_bytes(b"Content-Type: " + call.headers["content-type"].encode() + b"\r\n\r\n" + call.body)
    fields: dict[str, str] = {}
    name, content = "", b""
    for part in mime.get_payload():
        assert isinstance(part, Mime)
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        field_name = str(part.get_param("name", header="content-disposition"))
        if part.get_filename():
            name, content = str(part.get_filename()), data
        else:
            fields[field_name] = data.decode()
    return fields, name, content
