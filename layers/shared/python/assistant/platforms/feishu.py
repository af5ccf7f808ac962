"""Feishu and Lark: one protocol on two hosts (`api_base` names the other one).

Secret fields: `app_id`, `app_secret`, `verification_token`, `encrypt_key` (without it Feishu signs nothing and the token
alone proves an event), `bot_open_id` (who is named in a group; the doctor tells it), `answer_all` (`true`: answer every
group message, for an app that may hear them all), `api_base`.

Sources: open.larkoffice.com/document/ukTMukTMukTM/uYDNxYjL2QTM24iN0EjN/event-subscription-configure-/
encrypt-key-encryption-configuration-case.md · open.larkoffice.com/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from assistant.errors import (
    ContentRefused,
    MissingPermission,
    RateLimited,
    Refused,
    SendError,
    UnsupportedType,
    VerificationError,
)
from assistant.messages import Attachment, File, HttpReply, Message, Received, Reply, Sent, Webhook
from assistant.observability import log
from assistant.platforms import Department, Finding, Platform, StreamState
from assistant.platforms.crypto import base64_strict, decrypt, same
from assistant.platforms.feishu_events import Bot, event_of, legacy_click, messages_of
from assistant.platforms.wire import json_object

if TYPE_CHECKING:
    from assistant.platforms.feishu_api import FeishuApi
    from assistant.platforms.feishu_cards import Part

logger = logging.getLogger(__name__)


_UNPROVEN: Final = "the request is neither signed nor a genuine address check"
_LONGEST_CHECK: Final = 4096
"""An address check is a few hundred bytes: nothing longer is decrypted for a sender who has proven nothing."""

_FUTURE: Final = 300.0
"""Seconds that a signed time may lie ahead of our clock."""

_DONE: Final = HttpReply(200, "{}")

_CARD_LIFE: Final = 570.0
"""Seconds after which a growing card is left alone until its end: Feishu closes it after ten minutes."""

_HEAD: Final = 24_000
"""Bytes of Markdown that a card shows while it grows."""

_IMAGE: Final = 10 * 1024 * 1024
_FILE: Final = 30 * 1024 * 1024
_FILE_TYPES: Final = {
    "pdf": "pdf",
    "doc": "doc",
    "docx": "doc",
    "xls": "xls",
    "xlsx": "xls",
    "ppt": "ppt",
    "pptx": "ppt",
    "mp4": "mp4",
}


class Feishu(Platform):
    """A Feishu or Lark app with a bot."""

    name: ClassVar[str] = "feishu"
    channels: ClassVar[tuple[str, ...]] = ("events",)
    stream_interval: ClassVar[float] = 0.25  # PATCH takes 5 a second, a streaming card 10

    # --- in ---

    def receive(self, webhook: Webhook) -> Received:
        """The messages in an event, or the answer to the console's address check."""
        if webhook.channel not in self.channels:
            raise Refused(f"feishu has no channel {webhook.channel!r}; known: events", status=404)
        token = self.secret("verification_token")
        if self.secrets.get("encrypt_key"):
            received = self._receive_encrypted(webhook, token)
        else:
            received = self._receive_plain(webhook, token)
        if webhook.method != "POST":
            raise Refused("feishu: events come with POST", status=405)
        return received

    def _receive_encrypted(self, webhook: Webhook, token: str) -> Received:
        key = self.secret("encrypt_key")
        if not self._signed(webhook, hashlib.sha256, key):
            if self._signed(webhook, hashlib.sha1, token):
                return self._legacy_card(webhook)
            return self._address_check(webhook, key=key, token=token)
        envelope = json_object(webhook.body, "feishu: the body")
        if not isinstance(sealed := envelope.get("encrypt"), str):
            raise VerificationError("the body is not encrypted although an Encrypt Key is set")
        data = json_object(_opened(sealed, key), "feishu: the body")
        if data.get("type") == "url_verification":
            return self._challenge(data, token)
        given = _token_of(data)
        if given is not None and not same(given, token):
            raise VerificationError("the event carries another Verification Token")
        return self._messages(data)

    def _receive_plain(self, webhook: Webhook, token: str) -> Received:
        if self._signed(webhook, hashlib.sha1, token):
            return self._legacy_card(webhook)
        try:
            data = json_object(webhook.body, "feishu: the body")
        except Refused:  # the token that would prove it stands in the body
            raise VerificationError("the body is no JSON object, so that nothing proves it") from None
        if "encrypt" in data:
            self.secret("encrypt_key")  # says what is missing
        if data.get("type") == "url_verification":
            return self._challenge(data, token)
        given = _token_of(data)
        if given is None or not same(given, token):
            raise VerificationError("the event carries no or another Verification Token")
        return self._messages(data)

    def _signed(self, webhook: Webhook, algorithm: Any, secret: str) -> bool:
        """Whether the signature over the raw body is right; raises VerificationError where it is right but too old.

        `algorithm`: hashlib.sha256 or sha1, whose type hashlib does not export.
        """
        headers = webhook.headers
        stamp, nonce = headers.get("x-lark-request-timestamp", ""), headers.get("x-lark-request-nonce", "")
        given = headers.get("x-lark-signature", "")
        if not (stamp and nonce and given):
            return False
        head = (stamp + nonce + secret).encode("utf-8", "surrogatepass")
        if not same(given, algorithm(head + webhook.body, usedforsecurity=False).hexdigest()):
            return False
        try:
            age = self.clock() - float(stamp)
        except ValueError:
            raise VerificationError("X-Lark-Request-Timestamp is no number of seconds") from None
        if not -_FUTURE <= age <= self.replay_window:
            raise VerificationError(f"the request was signed {age:.0f} s ago; accepted: {self.replay_window:.0f} s")
        return True

    def _address_check(self, webhook: Webhook, *, key: str, token: str) -> Received:
        """The only unsigned thing to accept. Every failure has the same words, so that it tells nothing about the padding."""
        if len(webhook.body) > _LONGEST_CHECK:
            raise VerificationError(_UNPROVEN)
        try:
            sealed = json_object(webhook.body, "feishu: the body").get("encrypt")
            data = json_object(_opened(sealed if isinstance(sealed, str) else "", key), "feishu: the body")
            if data.get("type") != "url_verification":
                raise VerificationError(_UNPROVEN)
            return self._challenge(data, token)
        except Refused:
            raise VerificationError(_UNPROVEN) from None

    def _challenge(self, data: Mapping[str, Any], token: str) -> Received:
        given, challenge = data.get("token"), data.get("challenge")
        if not isinstance(given, str) or not same(given, token):
            raise VerificationError("the address check carries another Verification Token")
        if not isinstance(challenge, str):
            raise Refused("feishu: the address check has no challenge")
        return Received(challenge=True, reply=HttpReply(200, json.dumps({"challenge": challenge})))

    def _legacy_card(self, webhook: Webhook) -> Received:
        """A card call-back of the old form: never encrypted, signed with the Verification Token."""
        data = json_object(webhook.body, "feishu: the body")
        if "schema" in data or "event" in data or not isinstance(data.get("action"), Mapping):
            raise VerificationError("only card call-backs of the old form are signed with the Verification Token")
        return Received(messages=(legacy_click(data),), reply=_DONE)

    def _messages(self, data: Mapping[str, Any]) -> Received:
        bot = Bot(self.secrets.get("bot_open_id", ""), self.secrets.get("answer_all", "").lower() in ("1", "true", "yes"))
        found: tuple[Message, ...] = messages_of(event_of(data), bot=bot)
        return Received(messages=found, reply=_DONE)

    # --- out ---

    @cached_property
    def api(self) -> FeishuApi:
        """The vendor's API with this app's credentials."""
        from assistant.platforms.feishu_api import FeishuApi

        return FeishuApi(self.secrets, cache=self.cache, pace=self.pace)

    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Answers in place: quoting the question in a group, in its topic, or privately.

        Every part carries a `uuid` made of `key`: Feishu shows one message for it however often it is sent within an hour.
        """
        if reply.silent or not (reply.text.strip() or reply.buttons or reply.title):
            return Sent()
        from assistant.platforms.feishu_cards import message_parts

        sent = message_parts(reply, to=to, mention=_mention(reply, to))
        return Sent(ids=tuple(self._part(p, to=to, uuid=f"{key}-{n}", private=reply.private) for n, p in enumerate(sent, 1)))

    def _part(self, part: Part, *, to: Message, uuid: str, private: bool) -> str:
        try:
            return self._post(part.kind, part.content, to=to, uuid=uuid, private=private)
        except UnsupportedType:
            if part.kind == "text":
                raise
            return self._post("text", part.plain, to=to, uuid=f"{uuid}t", private=private)

    def _post(self, kind: str, content: str, *, to: Message, uuid: str, private: bool) -> str:
        """Sends one message and gives its id."""
        data = self._posted(kind, content, to=to, uuid=uuid, private=private)
        return str(data.get("message_id", ""))

    def _posted(self, kind: str, content: str, *, to: Message, uuid: str, private: bool) -> Mapping[str, Any]:
        from assistant.platforms.feishu_api import of_chat

        body = {"msg_type": kind, "content": content, "uuid": uuid[:50]}
        if private and not to.direct and to.sender:
            receiver, kind_of_id = to.sender, "open_id"
        elif to.message_id and (to.thread or not to.direct) and to.kind != "recalled":
            more = {"reply_in_thread": True} if to.thread else {}
            path = f"/im/v1/messages/{_id(to.message_id)}/reply"
            return self.api.send("POST", path, body | more, repeat=True, within=of_chat(to.conversation))
        else:
            receiver = to.conversation
            kind_of_id = to.address.get("receive_id_type") or ("open_id" if receiver.startswith("ou_") else "chat_id")
        body |= {"receive_id": receiver}
        return self.api.send("POST", "/im/v1/messages", body, repeat=True, within=of_chat(receiver), receive_id_type=kind_of_id)

    # --- a growing reply ---

    def open_stream(self, *, to: Message, key: str, attempt: int = 1) -> StreamState | None:
        """A card that streams; where the app may not make one, an ordinary card that is replaced again and again."""
        from assistant.platforms.feishu_cards import card

        mention = _mention(Reply(text=""), to)
        try:
            made, headers = self.api.exchange(
                "POST",
                "/cardkit/v1/cards",
                json={"type": "card_json", "data": _json(card("…", to=to, streaming=True))},
                repeat=True,  # an entity that nobody sends is seen by nobody
            )
        except (MissingPermission, ContentRefused, UnsupportedType) as error:
            log(logger, logging.WARNING, "no streaming card", platform="feishu", error_code=error.code)
            sent = self._posted("interactive", _json(card("…", to=to)), to=to, uuid=f"{key}-s", private=False)
            shown = str(sent.get("message_id", ""))
            data = {"mode": "patch", "message": shown, "mention": mention}
            return StreamState(id=shown, started_ms=self._now(), data=data)
        entity = str(made.get("data", {}).get("card_id", ""))
        content = _json({"type": "card", "data": {"card_id": entity}})
        sent = self._posted("interactive", content, to=to, uuid=f"{key}-s", private=False)
        message = str(sent.get("message_id", ""))
        data = {"mode": "card", "message": message, "mention": mention}
        if attempt > 1 or _is_older(sent, headers):  # an earlier try, before a crash, has shown its card: that one has to grow
            entity = self._entity_of(message)
            if not entity:
                return StreamState(id=message, started_ms=self._now(), data=data | {"mode": "patch"})
            return StreamState(id=entity, started_ms=int(sent.get("create_time") or 0), data=data)
        return StreamState(id=entity, started_ms=self._now(), data=data)

    def update_stream(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        """Shows the whole text so far; after nearly ten minutes the card waits for its final text."""
        if state.data.get("closed") or self._now() - state.started_ms > _CARD_LIFE * 1000:
            return state
        try:
            return self._grow(state, text, to=to)
        except RateLimited:
            return state  # the next state holds this one's text too
        except SendError as error:
            if not _is_over(error):
                raise
            return replace(state, data={**state.data, "closed": "1"})

    def _grow(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        from assistant.platforms.feishu_cards import card, shown

        head = _named(shown(_head(text)), state)
        if state.data.get("mode") == "patch":
            self._patch(state.data["message"], card(head, to=to))
            return replace(state, shown=text)
        return replace(self._element(state, head), shown=text)

    def _element(self, state: StreamState, content: str) -> StreamState:
        """The card's text replaced, under the next sequence number."""
        from assistant.platforms.feishu_cards import ELEMENT

        path = f"/cardkit/v1/cards/{_id(state.id)}/elements/{ELEMENT}/content"
        return self._in_order(state, "PUT", path, {"content": content or " "})

    def _in_order(self, state: StreamState, method: str, path: str, body: Mapping[str, Any]) -> StreamState:
        """A card operation under a sequence number above all that any instance has used: milliseconds since the opening."""
        from assistant.platforms.feishu_api import SequenceTooLow, of_card

        sequence = max(state.sequence + 1, self._now() - state.started_ms)
        for last in (False, True):
            try:
                # The uuid names the content too: what a refused call carried must not swallow what the next one brings.
                uuid = hashlib.sha256(f"{method} {path} {sequence} {_json(body)}".encode()).hexdigest()
                operation = {**body, "sequence": sequence, "uuid": uuid}
                self.api.send(method, path, operation, repeat=True, within=of_card(state.id))
            except SequenceTooLow:  # our clock is behind the one that was used before, or this is our own repeat
                if last:
                    raise
                sequence += 1_000_000
            else:
                break
        return replace(state, sequence=sequence)

    def finish_stream(self, state: StreamState, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Lands the final text in the card; what does not fit follows as messages. A card that cannot be reached any more
        is taken back and the reply sent as a message. An empty reply takes the card away."""
        if reply.silent or not (reply.text.strip() or reply.buttons or reply.title):
            self._take_back(state)
            return Sent()
        from assistant.platforms.feishu_cards import part_of, pieces_of

        if reply.private and not to.direct:
            self._take_back(state)
            return self.send(reply, to=to, key=key, attempt=attempt)
        pieces = pieces_of(reply)
        try:
            self._land(state, pieces[0], reply if len(pieces) == 1 else replace(reply, buttons=()), to=to)
        except SendError as error:
            if not (_is_over(error) or isinstance(error, ContentRefused | UnsupportedType | MissingPermission)):
                raise
            log(logger, logging.WARNING, "card not finished, sent as a message", platform="feishu", error_code=error.code)
            self._take_back(state)
            return self.send(reply, to=to, key=key, attempt=attempt)
        ids = [state.data.get("message", state.id)]
        for n, piece in enumerate(pieces[1:], 2):
            part = part_of(piece, buttons=reply.buttons if n == len(pieces) else (), to=to, mention="")
            ids.append(self._part(part, to=to, uuid=f"{key}-{n}", private=False))
        return Sent(ids=tuple(ids))

    def _land(self, state: StreamState, piece: str, reply: Reply, *, to: Message) -> None:
        from assistant.platforms.feishu_cards import card, shown, summary

        content = _named(shown(piece), state)
        if state.data.get("mode") == "patch":
            self._patch(state.data["message"], card(content, buttons=reply.buttons, to=to))
            return
        old = state.data.get("closed") or self._now() - state.started_ms > _CARD_LIFE * 1000
        if not reply.buttons and not old:
            with suppress(ContentRefused):  # closed meanwhile: the whole card can still be replaced
                state = self._element(state, content)
                settings = {"config": {"streaming_mode": False, "summary": {"content": summary(content)}}}
                self._in_order(state, "PATCH", f"/cardkit/v1/cards/{_id(state.id)}/settings", {"settings": _json(settings)})
                return
        whole = {"card": {"type": "card_json", "data": _json(card(content, buttons=reply.buttons, to=to))}}
        self._in_order(state, "PUT", f"/cardkit/v1/cards/{_id(state.id)}", whole)

    def _patch(self, message_id: str, card: Mapping[str, Any]) -> None:
        from assistant.platforms.feishu_api import of_message

        path = f"/im/v1/messages/{_id(message_id)}"
        self.api.send("PATCH", path, {"content": _json(card)}, repeat=True, within=of_message(message_id))

    def _take_back(self, state: StreamState) -> None:
        """Recalls the growing card, so that only the reply is seen; a card that is gone already is no fault."""
        try:
            self.api.send("DELETE", f"/im/v1/messages/{_id(state.data.get('message', state.id))}", {}, repeat=True)
        except SendError as error:
            log(logger, logging.WARNING, "growing card not taken back", platform="feishu", error_code=error.code)

    def _entity_of(self, message_id: str) -> str:
        try:
            found = self.api.send("POST", "/cardkit/v1/cards/id_convert", {"message_id": message_id}, repeat=True)
        except SendError:
            return ""
        return str(found.get("card_id", ""))

    def _now(self) -> int:
        return int(self.clock() * 1000)

    # --- cards, files ---

    def update_card(self, message: Message, reply: Reply) -> None:
        """Replaces the clicked card: by its message, else by the click's own token (30 minutes, twice)."""
        from assistant.platforms.feishu_cards import card, pieces_of, shown

        drawn = card(shown(pieces_of(reply)[0]), buttons=reply.buttons, to=message)
        token = message.address.get("card_token", "")
        try:
            self._patch(message.message_id, drawn)
        except (ContentRefused, UnsupportedType):
            if not token:
                raise
            self.api.send("POST", "/interactive/v1/card/update", {"token": token, "card": drawn}, repeat=False)

    def fetch(self, message: Message, *, limit: int) -> File:
        """The image or file of the message, named by the message or the vendor and typed by its bytes."""
        from assistant.platforms.files import content_type, disposition_name, safe_name

        if not message.file_key:
            raise ContentRefused("feishu: the message carries no file", platform="feishu")
        kind = "file" if message.kind == "file" else "image"
        path = f"/im/v1/messages/{_id(message.message_id)}/resources/{_id(message.file_key)}"
        content, headers = self.api.read(path, limit=limit, type=kind)
        name = message.file_name or disposition_name(headers)
        found = content_type(content, name=name)
        return File(name=safe_name(name, kind=found, fallback=kind), content=content, content_type=found)

    # --- who reads along ---

    def members(self, message: Message, *, most: int) -> tuple[str, ...] | None:
        """The chat's people by open_id; bots are not among them.

        Source: open.feishu.cn/document/server-docs/group/chat-member/get
        """
        found: list[str] = []
        token = ""
        while len(found) <= most:
            more = {"page_token": token} if token else {}
            path = f"/im/v1/chats/{_id(message.conversation)}/members"
            page = self.api.get(path, member_id_type="open_id", page_size="100", **more)
            found += [str(m.get("member_id", "")) for m in page.get("items") or ()]
            token = str(page.get("page_token") or "")
            if not page.get("has_more") or not token:
                return tuple(found) if len(found) <= most else None
        return None

    def belongs(self, user: str) -> tuple[str, ...]:
        """The person's departments and those above them, by open_department_id.

        Sources: open.feishu.cn/document/server-docs/contact-v3/user/get and …/contact-v3/department/parent
        """
        person = self.api.get(f"/contact/v3/users/{_id(user)}", user_id_type="open_id", department_id_type="open_department_id")
        own = [str(d) for d in (person.get("user") or {}).get("department_ids") or () if str(d) != "0"]
        above: list[str] = []
        for department in own:
            found = self.api.get(
                "/contact/v3/departments/parent",
                department_id=department,
                department_id_type="open_department_id",
                page_size="50",
            )
            above += [str(d.get("open_department_id", "")) for d in found.get("items") or ()]
        return tuple(f"department:{d}" for d in dict.fromkeys([*own, *above]) if d and d != "0")

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Everything that is not too large."""
        return 0 < file.size <= _FILE

    def departments(self) -> Iterator[Department]:
        """All departments below the company, with their leaders.

        Sources: open.feishu.cn/document/server-docs/contact-v3/department/children and …/contact-v3/user/batch
        """
        listed: list[Mapping[str, Any]] = []
        token = ""
        while True:
            page = self.api.get(
                "/contact/v3/departments/0/children",
                fetch_child="true",
                department_id_type="open_department_id",
                user_id_type="open_id",
                page_size="50",
                **({"page_token": token} if token else {}),
            )
            listed += page.get("items") or ()
            token = str(page.get("page_token") or "")
            if not page.get("has_more") or not token:
                break
        people = list(dict.fromkeys(str(d["leader_user_id"]) for d in listed if d.get("leader_user_id")))
        names: dict[str, str] = {}
        for start in range(0, len(people), 50):
            some = people[start : start + 50]
            found = self.api.get("/contact/v3/users/batch", user_id_type="open_id", user_ids=some).get("items") or ()
            names |= {str(p.get("open_id", "")): str(p.get("name") or "") for p in found}
        for d in listed:
            parent, leader = str(d.get("parent_department_id") or ""), str(d.get("leader_user_id") or "")
            yield Department(
                id=str(d.get("open_department_id", "")),
                name=str(d.get("name") or ""),
                parent="" if parent == "0" else parent,
                leaders=((leader, names[leader]),) if names.get(leader) else (),
            )

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Sends a picture as one, everything else as a file."""
        from assistant.platforms.files import content_type, safe_name

        found = content_type(file.content, name=file.name)
        name = safe_name(file.name, kind=found)
        if not file.content:
            raise ContentRefused("feishu takes no empty files", platform="feishu")
        if found in ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp") and len(file.content) <= _IMAGE:
            made = self.api.put_file(
                "/im/v1/images", fields={"image_type": "message"}, file=(name, file.content, found), name="image"
            )
            kind, content = "image", {"image_key": made.get("image_key", "")}
        elif len(file.content) <= _FILE:
            fields = {"file_type": _FILE_TYPES.get(name.rpartition(".")[2].lower(), "stream"), "file_name": name}
            made = self.api.put_file("/im/v1/files", fields=fields, file=(name, file.content, found), name="file")
            kind, content = "file", {"file_key": made.get("file_key", "")}
        else:
            raise ContentRefused(f"feishu takes files up to {_FILE} bytes; {name} has {len(file.content)}", platform="feishu")
        return Sent(ids=(self._post(kind, _json(content), to=to, uuid=f"{key}-u", private=private),))

    # --- doctor ---

    def diagnose(self) -> list[Finding]:
        """Credentials, webhook secrets, clock, bot and scopes; one harmless call each."""
        from assistant.platforms.feishu_doctor import diagnose

        return diagnose(self)


def _mention(reply: Reply, to: Message) -> str:
    """The asker's open_id where the reply stands among others' words, else ""."""
    if to.direct or reply.private or to.address.get("chat_type") != "group":
        return ""
    return to.sender if re.fullmatch(r"[\w-]+", to.sender, re.ASCII) else ""


def _named(content: str, state: StreamState) -> str:
    mention = state.data.get("mention", "")
    return f"<at id={mention}></at>\n{content}" if mention else content


def _head(text: str) -> str:
    """What of a growing text a card can hold."""
    from assistant.platforms.markdown import parts, utf8

    if utf8(text) <= _HEAD:
        return text
    # A character has a byte or more: the head is in these, and the rest costs no time.
    return parts(text[: _HEAD + 1], limit=_HEAD - 100, measure=utf8)[0].partition("\n\n")[2] + "\n\n…"


def _is_over(error: SendError) -> bool:
    """Whether the card can no longer be reached by any later call."""
    from assistant.platforms.feishu_api import CardClosed, CardGone, SequenceTooLow

    return isinstance(error, CardClosed | CardGone | SequenceTooLow) or error.code == "404"


def _is_older(sent: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether Feishu gave us a message that it had shown before this card was made: the same `uuid` came a second time.

    Both times are Feishu's own: the message's creation, and the date of the answer that made the card.
    """
    from assistant.platforms.clock import date_of

    made, created = date_of(headers), str(sent.get("create_time", ""))
    return bool(made) and created.isdigit() and int(created) / 1000 < made - 2


def _id(vendors: str) -> str:
    """An id as a part of a path."""
    from urllib.parse import quote

    return quote(vendors, safe="")


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()


def _opened(sealed: str, key: str) -> bytes:
    """The plain text of an encrypted body: base64 of IV ‖ AES-256-CBC under SHA-256 of the Encrypt Key."""
    data = base64_strict(sealed)
    return decrypt(data[16:], key=hashlib.sha256(key.encode("utf-8", "replace")).digest(), iv=data[:16], block=16)


def _token_of(data: Mapping[str, Any]) -> str | None:
    header = data.get("header")
    token = header.get("token") if isinstance(header, Mapping) else data.get("token")
    return token if isinstance(token, str) else None
