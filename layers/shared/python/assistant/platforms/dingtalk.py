"""DingTalk: robot messages, events and card clicks, each proven in its own way.

Secret fields: `app_key`, `app_secret`, `robot_code`; `event_token`, `event_aes_key`, `event_owner_key` for events;
`card_api_secret` (required for clicks), `card_template_id` and `card_route_key` (`assistant` where it is not set) for cards;
`corp_id` (call-backs of another company are refused); `answer_all`; `api_base`.

The signatures of robot messages and card clicks do not cover the body: whoever has seen one request could write others. So
one signature is accepted for one body only, and nothing in the body decides where a token or a reply goes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from assistant.errors import (
    ContentRefused,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SendError,
    UnsupportedType,
    VendorUnavailable,
    VerificationError,
)
from assistant.messages import Attachment, File, HttpReply, Message, Received, Reply, Sent, Webhook
from assistant.observability import log
from assistant.platforms import Department, Finding, Platform, StreamState
from assistant.platforms.crypto import key_from_text, open_envelope, same, seal_envelope, sorted_sha1
from assistant.platforms.dingtalk_events import (
    card_message,
    event_message,
    ms_of,
    robot_message,
    track_id,
)
from assistant.platforms.wire import json_object, text_of

if TYPE_CHECKING:
    from assistant.platforms.dingtalk_api import DingTalkApi
    from assistant.platforms.outbound import Leaving

logger = logging.getLogger(__name__)

_WINDOW: Final = 3600.0
"""Seconds that a robot's or a card's signature is good for; the vendor's own limit."""

_FUTURE: Final = 300.0
"""Seconds that an event's signed time may lie ahead of our clock."""

_REMEMBERED: Final = 20_000
"""Signatures that one instance remembers."""

_MARGIN: Final = 5_000
"""Milliseconds that a reply address must still last."""

_UPLOAD: Final = 20 * 1024 * 1024


class DingTalk(Platform):
    """A DingTalk app with a robot."""

    name: ClassVar[str] = "dingtalk"
    channels: ClassVar[tuple[str, ...]] = ("robot", "events", "cards")
    stream_interval: ClassVar[float] = 0.4
    remembers: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: handed on to Platform as it is
        super().__init__(*args, **kwargs)
        self._seen: dict[str, tuple[str, float]] = {}
        self._seen_lock = threading.Lock()

    # --- in ---

    def receive(self, webhook: Webhook) -> Received:
        """The message in a call-back of one of the three channels."""
        match webhook.channel:
            case "robot":
                return self._robot(webhook)
            case "events":
                return self._event(webhook)
            case "cards":
                return self._card(webhook)
        raise Refused(f"dingtalk has no channel {webhook.channel!r}; known: {', '.join(self.channels)}", status=404)

    def _robot(self, webhook: Webhook) -> Received:
        stamp, sign = webhook.headers.get("timestamp", ""), webhook.headers.get("sign", "")
        secret = self.secret("app_secret")
        self._prove(sign, stamp, key=secret, covered=f"{stamp}\n{secret}", seconds=False)
        _posted(webhook)
        data = json_object(webhook.body, "dingtalk: the body")
        self._ours(data, "robotCode", "robot_code")
        self._ours(data, "chatbotCorpId", "corp_id")
        message = robot_message(data, answer_all=self.secrets.get("answer_all", "").lower() in ("1", "true", "yes"))
        return Received(messages=self._admitted(message, sign, webhook.body), reply=HttpReply(200, ""))

    def _card(self, webhook: Webhook) -> Received:
        stamp = webhook.headers.get("x-ddpaas-signature-timestamp", "")
        sign = webhook.headers.get("x-ddpaas-signature", "")
        self._prove(sign, stamp, key=self.secret("card_api_secret"), covered=stamp, seconds=True)
        _posted(webhook)
        data = json_object(webhook.body, "dingtalk: the body")
        self._ours(data, "corpId", "corp_id")
        message = card_message(data)
        return Received(messages=self._admitted(message, sign, webhook.body), reply=HttpReply(200, "{}"))

    def _prove(self, sign: str, stamp: str, *, key: str, covered: str, seconds: bool) -> None:
        """Raises VerificationError unless `sign` is the HMAC of `covered` and `stamp` is at most an hour away (less where the
        replay window is set to less). It counts ms; with `seconds`, where the vendor names no unit, also seconds."""
        if not sign or not stamp:
            raise VerificationError("the call-back is not signed")
        digest = hmac.digest(key.encode(), covered.encode("utf-8", "surrogatepass"), "sha256")
        if not same(sign, base64.b64encode(digest)):
            raise VerificationError("the signature is wrong")
        signed_at = 0
        if stamp.isascii() and stamp.isdecimal() and len(stamp) <= 14:
            signed_at = ms_of(stamp) if seconds else int(stamp)
        window = min(_WINDOW, self.replay_window)
        if not signed_at or abs(self.clock() - signed_at / 1000) > window:
            raise VerificationError(f"the signed time {stamp!r} is more than {window:.0f} s away from now")

    def _ours(self, data: Mapping[str, Any], field: str, secret: str) -> None:
        """Raises VerificationError where the body names another robot or company than the configured one."""
        given, expected = text_of(data.get(field)), self.secrets.get(secret, "")
        if given and expected and not same(given, expected):
            raise VerificationError(f"{field} is not the configured {secret}")

    def _admitted(self, message: Message | None, sign: str, body: bytes) -> tuple[Message, ...]:
        """The message with its proof. Raises VerificationError where this signature came before with another body."""
        signature = hashlib.sha256(sign.encode()).hexdigest()[:40]
        digest = hashlib.sha256(body).hexdigest()[:40]
        now = self.clock()
        with self._seen_lock:
            known = self._seen.get(signature)
            if known and not hmac.compare_digest(known[0], digest):
                raise VerificationError("this signature was used before with another body")
            while self._seen and (len(self._seen) >= _REMEMBERED or next(iter(self._seen.values()))[1] < now - 2 * _WINDOW):
                del self._seen[next(iter(self._seen))]  # oldest first: a dictionary keeps its order
            self._seen.setdefault(signature, (digest, now))
        if message is None:
            return ()
        return (replace(message, proof=f"{signature}:{digest}"),)

    def _event(self, webhook: Webhook) -> Received:
        query = webhook.query
        stamp = query.get("timestamp") or query.get("timeStamp") or ""
        nonce = query.get("nonce", "")
        sign = query.get("msg_signature") or query.get("signature") or ""
        token, owner = self.secret("event_token"), self.secret("event_owner_key")
        key = key_from_text(self.secret("event_aes_key"), field="event_aes_key")
        if not (stamp and nonce and sign):
            raise VerificationError("the event is not signed")
        try:
            sealed = json_object(webhook.body, "dingtalk: the body").get("encrypt")
        except Refused:  # the signature covers what would stand in it
            raise VerificationError("the event's body is no JSON object with 'encrypt'") from None
        if not isinstance(sealed, str) or not same(sign, sorted_sha1(token, stamp, nonce, sealed)):
            raise VerificationError("the event's signature is wrong")
        age = self.clock() - ms_of(stamp) / 1000
        if not -_FUTURE <= age <= self.replay_window:
            raise VerificationError(f"the event was signed {age:.0f} s ago; accepted: {self.replay_window:.0f} s")
        plain = open_envelope(sealed, key=key, receive_id=owner)
        _posted(webhook)
        data = {str(k).lower(): v for k, v in json_object(plain, "dingtalk: the body").items()}
        reply = self._sealed_success(token=token, key=key, owner=owner)
        if data.get("eventtype") == "check_url":
            return Received(challenge=True, reply=reply)
        message = event_message(plain, robot_code=self.secrets.get("robot_code", ""))
        return Received(messages=(message,) if message else (), reply=reply)

    def forget(self) -> None:
        """Takes every signature for a first one again."""
        with self._seen_lock:
            self._seen.clear()

    def _sealed_success(self, *, token: str, key: bytes, owner: str) -> HttpReply:
        """The word `success`, sealed and signed: what every event is answered with."""
        stamp, nonce = str(int(self.clock() * 1000)), os.urandom(8).hex()
        sealed = seal_envelope(b"success", key=key, receive_id=owner)
        answer = {
            "msg_signature": sorted_sha1(token, stamp, nonce, sealed),
            "timeStamp": stamp,
            "nonce": nonce,
            "encrypt": sealed,
        }
        return HttpReply(200, json.dumps(answer))

    # --- out ---

    @cached_property
    def api(self) -> DingTalkApi:
        """The vendor's API with this app's credentials."""
        from assistant.platforms.dingtalk_api import DingTalkApi

        return DingTalkApi(self.secrets, cache=self.cache, pace=self.pace)

    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Answers in place as long as the message's own address lasts (it alone can name the asker), else by the robot's API.

        DingTalk has no key that makes a send idempotent, so that each part is noted before it is sent: a part that an earlier
        try has noted, and that was not refused, is held to be seen.
        """
        if reply.silent or not (reply.text.strip() or reply.buttons or reply.title):
            return Sent()
        if reply.buttons and self._can_make_cards(to) and not (reply.private and not to.direct):
            with suppress(ContentRefused, UnsupportedType, MissingPermission):  # then as text, with the choices listed
                return self._send_card(reply, to=to, key=key)
        return self._send_text(reply, to=to, key=key)

    def _send_text(self, reply: Reply, *, to: Message, key: str, first: int = 1) -> Sent:
        from assistant.platforms.dingtalk_text import pieces_of

        pieces = pieces_of(reply)
        ids = []
        for n, piece in enumerate(pieces, first):
            mention = n == first == 1 and not to.direct and not reply.private
            noted = f"{self.secrets.get('app_key', '')}/{key}-{n}"
            ids.append(
                self.noted(
                    noted,
                    partial(self._send_piece, piece, to, mention=mention, private=reply.private),
                )
            )
        return Sent(ids=tuple(i for i in ids if i))

    def _send_piece(self, piece: str, to: Message, leaving: Leaving, *, mention: bool, private: bool) -> str:
        from assistant.platforms.dingtalk_api import of_chat
        from assistant.platforms.dingtalk_text import robot_body, webhook_body

        staff = to.address.get("staff_id", "")
        until = ms_of(to.address.get("session_until", ""))
        if (address := to.address.get("session_webhook")) and until > self._now() + _MARGIN and (to.direct or not private):
            try:
                body = webhook_body(piece, mention=staff if mention else "")
                self.api.reply(address, body, within=of_chat(to.conversation), leaving=leaving)
            except (RateLimited, VendorUnavailable, OutcomeUnknown, ContentRefused):
                raise
            except SendError as error:  # the address has ended before its time, or is not DingTalk's
                log(logger, logging.WARNING, "reply address refused", platform="dingtalk", error_code=error.code)
            else:
                return ""
        return self._robot_send(robot_body(piece), leaving, to=to, private=private)

    def private_chat(self, user: str) -> Message:
        """An address at which `send` reaches the person with the staff id `user`."""
        return replace(super().private_chat(user), address={"staff_id": user})

    def _robot_send(self, body: Mapping[str, str], leaving: Leaving, *, to: Message, private: bool) -> str:
        from assistant.platforms.dingtalk_api import of_chat

        robot = self._robot_code(to)
        if not to.direct and not private:
            where = {"robotCode": robot, "openConversationId": to.conversation, **body}
            group = of_chat(to.conversation)
            answer = self.api.send("POST", "/v1.0/robot/groupMessages/send", where, repeat=False, within=group, leaving=leaving)
            return str(answer.get("processQueryKey", ""))
        staff = to.address.get("staff_id", "")
        if not staff:
            raise NotInChat(
                "dingtalk: the person has no staff id here (an outsider, or the app is not published): only an answer in place "
                "reaches them",
                platform="dingtalk",
            )
        whom = {"robotCode": robot, "userIds": [staff], **body}
        chat = of_chat(to.conversation if to.direct else staff)
        answer = self.api.send("POST", "/v1.0/robot/oToMessages/batchSend", whom, repeat=False, within=chat, leaving=leaving)
        if staff in (answer.get("invalidStaffIdList") or ()):
            raise NotInChat("dingtalk: the person is not reachable by this robot", platform="dingtalk", code="invalidStaffIdList")
        if staff in (answer.get("flowControlledStaffIdList") or ()):
            raise RateLimited(
                "dingtalk: the person gets too many messages", platform="dingtalk", code="flowControlled", retry_after=60
            )
        return str(answer.get("processQueryKey", ""))

    def _robot_code(self, to: Message) -> str:
        return self.secrets.get("robot_code") or to.address.get("robot_code") or self.secrets.get("app_key", "")

    def _now(self) -> int:
        return int(self.clock() * 1000)

    # --- cards, and a growing reply ---

    def _can_make_cards(self, to: Message) -> bool:
        return bool(self.secrets.get("card_template_id")) and (not to.direct or bool(to.address.get("staff_id")))

    def _deliver(self, track: str, *, to: Message, buttons: str = "[]") -> None:
        """Shows our card; a repeat with the same outTrackId shows nothing new."""
        body: dict[str, Any] = {
            "cardTemplateId": self.secrets["card_template_id"],
            "outTrackId": track,
            "callbackType": "HTTP",
            "callbackRouteKey": self.secrets.get("card_route_key") or "assistant",
            "cardData": {"cardParamMap": {"content": "", "buttons": buttons}},
            "userIdType": 1,
        }
        if to.direct:
            body |= {
                "openSpaceId": f"dtv1.card//IM_ROBOT.{to.address['staff_id']}",
                "imRobotOpenSpaceModel": {"supportForward": True},
                "imRobotOpenDeliverModel": {"spaceType": "IM_ROBOT", "robotCode": self._robot_code(to)},
            }
        else:
            body |= {
                "openSpaceId": f"dtv1.card//IM_GROUP.{to.conversation}",
                "imGroupOpenSpaceModel": {"supportForward": True},
                "imGroupOpenDeliverModel": {"robotCode": self._robot_code(to)},
            }
        answer = self.api.send("POST", "/v1.0/card/instances/createAndDeliver", body, repeat=True)
        result = answer.get("result")
        for delivered in (result.get("deliverResults") if isinstance(result, Mapping) else None) or ():
            if delivered.get("success") is False:
                raise ContentRefused("dingtalk: the card could not be delivered", platform="dingtalk", code="deliverResults")

    def _stream(self, track: str, content: str, *, final: bool) -> None:
        """The whole text of a card. The guid names the content: a repeat changes nothing."""
        guid = hashlib.sha256(f"{track} {final} {content}".encode("utf-8", "replace")).hexdigest()[:32]
        body = {
            "outTrackId": track,
            "guid": guid,
            "key": "content",
            "content": content,
            "isFull": True,
            "isFinalize": final,
            "isError": False,
        }
        self.api.send("PUT", "/v1.0/card/streaming", body, repeat=True)

    def _send_card(self, reply: Reply, *, to: Message, key: str) -> Sent:
        from assistant.platforms.dingtalk_text import button_list, card_pieces

        buttons = button_list(reply.buttons)
        track = track_id(key, conversation=to.conversation, direct=to.direct)
        head, rest = card_pieces(reply)
        self._deliver(track, to=to, buttons=buttons)
        self._stream(track, head, final=True)
        more = self._send_text(Reply(text=rest), to=to, key=key, first=2).ids if rest else ()
        return Sent(ids=(track, *more))

    def open_stream(self, *, to: Message, key: str, attempt: int = 1) -> StreamState | None:
        """A card of the configured template; None where there is none, or where the card could not stand."""
        if not self._can_make_cards(to):
            return None
        track = track_id(key, conversation=to.conversation, direct=to.direct)
        try:
            self._deliver(track, to=to)
        except (MissingPermission, ContentRefused, UnsupportedType) as error:
            log(logger, logging.WARNING, "no streaming card", platform="dingtalk", error_code=error.code)
            return None
        return StreamState(id=track, started_ms=self._now())

    def update_stream(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        """Shows the head of the text so far, as much as a card takes."""
        from assistant.platforms.dingtalk_text import growing

        try:
            self._stream(state.id, growing(text), final=False)
        except RateLimited:
            return state  # the next state holds this one's text too
        return replace(state, sequence=state.sequence + 1, shown=text)

    def finish_stream(self, state: StreamState, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Lands the final text in the card; what does not fit follows as messages. A sent card cannot be taken back: an
        empty reply leaves a dash, and where the card cannot be reached any more the reply is sent as messages."""
        from assistant.platforms.dingtalk_text import button_list, card_pieces

        if reply.silent or not (reply.text.strip() or reply.buttons or reply.title):
            self._stream(state.id, "—", final=True)
            return Sent()
        if reply.private and not to.direct:
            self._stream(state.id, "✉️", final=True)
            return self.send(reply, to=to, key=key, attempt=attempt)
        head, rest = card_pieces(reply)
        try:
            if reply.buttons:
                self._set_parameters(state.id, {"buttons": button_list(reply.buttons)})
            self._stream(state.id, head, final=True)
        except (RateLimited, VendorUnavailable, OutcomeUnknown):
            raise
        except SendError as error:
            log(logger, logging.WARNING, "card not finished, sent as a message", platform="dingtalk", error_code=error.code)
            return self._send_text(reply, to=to, key=key)
        more = self._send_text(Reply(text=rest), to=to, key=key, first=2).ids if rest else ()
        return Sent(ids=(state.id, *more))

    def _set_parameters(self, track: str, parameters: Mapping[str, str]) -> None:
        body = {
            "outTrackId": track,
            "cardData": {"cardParamMap": parameters},
            "cardUpdateOptions": {"updateCardDataByKey": True},
        }
        self.api.send("PUT", "/v1.0/card/instances", body, repeat=True)

    def update_card(self, message: Message, reply: Reply) -> None:
        """Replaces text and buttons of our card on which was clicked."""
        from assistant.platforms.dingtalk_text import button_list, card_pieces

        self._set_parameters(message.message_id, {"buttons": button_list(reply.buttons)})
        self._stream(message.message_id, card_pieces(reply)[0] or "—", final=True)

    def register_card_callback(self, url: str) -> None:
        """Tells DingTalk where clicks go, and under which secret they are signed. Needed once for each address."""
        body = {
            "callbackRouteKey": self.secrets.get("card_route_key") or "assistant",
            "callbackUrl": url,
            "apiSecret": self.secret("card_api_secret"),
            "forceUpdate": True,
        }
        self.api.send("POST", "/v1.0/card/callbacks/register", body, repeat=True)

    # --- files ---

    def fetch(self, message: Message, *, limit: int) -> File:
        """The image, voice or file of the message, typed by its bytes."""
        from assistant.platforms.files import content_type, disposition_name, download, safe_name

        if not message.file_key:
            raise ContentRefused("dingtalk: the message carries no file", platform="dingtalk")
        body = {"downloadCode": message.file_key, "robotCode": self._robot_code(message)}
        url = str(self.api.send("POST", "/v1.0/robot/messageFiles/download", body, repeat=True).get("downloadUrl", ""))
        if not url.startswith(("https://", self.api.new + "/")):
            raise ContentRefused("dingtalk gave no secure address for the file", platform="dingtalk")
        content, response = download("dingtalk", url, limit=limit)
        if response.status_code != 200:
            raise VendorUnavailable(f"dingtalk's file store answered {response.status_code}", platform="dingtalk")
        name = message.file_name or disposition_name(response.headers)
        kind = content_type(content, name=name)
        return File(name=safe_name(name, kind=kind, fallback=message.kind), content=content, content_type=kind)

    def belongs(self, user: str) -> tuple[str, ...]:
        """The person's departments and those above them. Who is in a group DingTalk tells no robot.

        Source: open.dingtalk.com/document/orgapp/queries-the-list-of-all-parent-departments-of-a-user
        """
        if user.startswith("$"):
            return ()  # somebody from outside has no staff id
        found = self.api.post_old("/topapi/v2/department/listparentbyuser", {"userid": user}).get("result")
        lists = found.get("parent_list") if isinstance(found, Mapping) else ()
        departments = [str(d) for entry in lists or () for d in entry.get("parent_dept_id_list") or ()]
        return tuple(f"department:{d}" for d in dict.fromkeys(departments))

    def departments(self) -> Iterator[Department]:
        """All departments below the company, with their managers.

        Sources: open.dingtalk.com/document/orgapp/obtain-the-department-list-v2, …/query-department-details0-v2 and
        …/query-user-details
        """
        names: dict[str, str] = {}

        def name_of(user: str) -> str:
            if user not in names:
                about = self.api.post_old("/topapi/v2/user/get", {"userid": user}).get("result") or {}
                names[user] = str(about.get("name") or "")
            return names[user]

        waiting, seen = [1], {1}
        while waiting:
            above = waiting.pop()
            for listed in self.api.post_old("/topapi/v2/department/listsub", {"dept_id": above}).get("result") or ():
                here = int(listed["dept_id"])
                if here in seen:
                    continue
                seen.add(here)
                waiting.append(here)
                about = self.api.post_old("/topapi/v2/department/get", {"dept_id": here}).get("result") or {}
                managers = [str(m) for m in about.get("dept_manager_userid_list") or ()]
                yield Department(
                    id=str(here),
                    name=str(listed.get("name") or ""),
                    parent="" if above == 1 else str(above),
                    leaders=tuple((m, n) for m in managers if (n := name_of(m))),
                )

    def asks_opinions(self, message: Message) -> bool:
        """Only on cards: without them the choices would stand as words under every answer."""
        return self._can_make_cards(message)

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Everything that is not too large, but for people whom the robot's API does not reach."""
        reached = not (to.direct or private) or bool(to.address.get("staff_id"))
        return reached and 0 < file.size <= _UPLOAD

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Sends a picture as one, everything else as a file."""
        from assistant.platforms.dingtalk_text import robot_parameters
        from assistant.platforms.files import content_type, safe_name

        kind = content_type(file.content, name=file.name)
        name = safe_name(file.name, kind=kind)
        picture = kind in ("image/png", "image/jpeg", "image/gif", "image/bmp")
        if not file.content or len(file.content) > _UPLOAD:
            raise ContentRefused(
                f"dingtalk takes files of 1 to {_UPLOAD} bytes; {name} has {len(file.content)}", platform="dingtalk"
            )

        def act(leaving: Leaving) -> str:
            media = self.api.upload("image" if picture else "file", (name, file.content, kind))
            ending = name.rpartition(".")[2].lower() if "." in name else "bin"
            if picture:
                body = robot_parameters("sampleImageMsg", {"photoURL": media})
            else:
                body = robot_parameters("sampleFile", {"mediaId": media, "fileName": name, "fileType": ending})
            return self._robot_send(body, leaving, to=to, private=private)

        return Sent(ids=tuple(i for i in (self.noted(f"{self.secrets.get('app_key', '')}/{key}-u", act),) if i))

    # --- doctor ---

    def announce(self, public_url: str) -> str:
        """Registers the address of card clicks: without it DingTalk sends none."""
        if not self.secrets.get("card_api_secret"):
            return ""
        self.register_card_callback(f"{public_url}/webhook/dingtalk/cards")
        return "the address of card clicks is registered"

    def diagnose(self) -> list[Finding]:
        """Credentials, secrets of the three channels, clock, and each permission by one harmless call."""
        from assistant.platforms.dingtalk_doctor import diagnose

        return diagnose(self)


def _posted(webhook: Webhook) -> None:
    """Raises Refused where a proven call-back did not come with POST."""
    if webhook.method != "POST":
        raise Refused("dingtalk: call-backs come with POST", status=405)
