"""The web chat: JSON in with an API key; the page fetches the growing answer itself."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any, ClassVar

from assistant.errors import ContentRefused, MessageRecalled, Refused, VerificationError
from assistant.messages import Attachment, File, HttpReply, Message, Received, Reply, Sent, Webhook
from assistant.platforms import Finding, Platform

LONGEST_ID = 200

MOST_FILES = 10
"""Files of one message, as many as are read."""


class WebChat(Platform):
    """`POST /webhook/webchat/messages` with `Authorization: Bearer API_KEY`."""

    name: ClassVar[str] = "webchat"
    channels: ClassVar[tuple[str, ...]] = ("messages",)
    pulls: ClassVar[bool] = True

    def receive(self, webhook: Webhook) -> Received:
        """The one message in the request; answers 202 with its id."""
        scheme, _, given = webhook.headers.get("authorization", "").partition(" ")
        expected = self.secret("api_key")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), expected.encode()):
            raise VerificationError("webchat: the Authorization header must be 'Bearer' and the API key")
        if webhook.method != "POST":
            raise Refused("webchat: send messages with POST", status=405)
        kind = webhook.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(f"webchat: content type {kind[:80]!r} is not application/json", status=415)
        message = self._message(_object(webhook.body))
        return Received((message,), HttpReply(202, json.dumps({"id": message.message_id}, ensure_ascii=False)))

    def _message(self, data: dict[str, Any]) -> Message:
        given = _text(data, "id", default="")
        id_ = given or uuid.uuid4().hex
        common: dict[str, Any] = {
            "platform": self.name,
            "channel": "messages",
            "conversation": _text(data, "conversation"),
            "sender": _text(data, "user"),
            "dedup_id": id_,
            "event_id": id_,
            "message_id": id_,
            "sent_at": 0 if given else int(self.clock() * 1000),
            "locale": _text(data, "locale", default=""),
            "timezone": _text(data, "timezone", default=""),
        }
        if keys := _files(data):
            about = data.get("text")
            said = about.strip() if isinstance(about, str) else ""
            more = json.dumps([{"key": key, "name": _name(key)} for key in keys[1:]], ensure_ascii=False)
            common["address"] = {"more_files": more} if keys[1:] else {}
            return Message(kind="file", text=said, file_key=keys[0], file_name=_name(keys[0]), **common)
        action = data.get("action")
        if isinstance(action, dict):
            return Message(kind="card_action", action_key=_text(action, "key"), action_value=action.get("value"), **common)
        text = data.get("text")
        if not isinstance(text, str):
            raise Refused("webchat: field 'text' must be a string")
        if not text.strip():
            raise Refused("webchat: field 'text' is empty; write something to ask")
        return Message(kind="text", text=text.strip(), **common)

    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Nothing to do: the page reads the stored turn."""
        return Sent(ids=(key,))

    def fetch(self, message: Message, *, limit: int) -> File:
        """The file that was put in by `PUT /api/conversations/…/files`, where it was put into this very conversation."""
        from assistant.platforms.files import content_type

        place = upload_path(message.conversation, message.file_key)
        if self.files is None or not message.file_key or ".." in message.file_key.split("/"):
            raise ContentRefused("webchat: the message carries no file", platform=self.name)
        try:
            content = self.files().get(place)
        except KeyError:
            raise MessageRecalled(
                "webchat: the file is no longer there; it is kept for a day, please send it again", platform=self.name
            ) from None
        if len(content) > limit:
            raise ContentRefused(f"webchat: the file has {len(content)} bytes; at most {limit} are read", platform=self.name)
        return File(name=message.file_name, content=content, content_type=content_type(content, name=message.file_name))

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Every file: the page offers it."""
        return True

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Nothing to do: the page fetches it where the turn is read."""
        return Sent()

    def diagnose(self) -> list[Finding]:
        """Whether an API key is set."""
        if self.secrets.get("api_key"):
            return [Finding(check="api key", state="ok", detail="set")]
        return [
            Finding(check="api key", state="fault", detail="not set", fix='store {"api_key": "…"} as the secret of webchat'),
        ]


def upload_path(conversation: str, key: str) -> str:
    """Where in the bucket a file lies that was put into the conversation; nobody reaches another conversation's by its key."""
    return f"chat/{hashlib.sha256(conversation.encode('utf-8', 'replace')).hexdigest()[:32]}/{key}"


def _files(data: dict[str, Any]) -> list[str]:
    """The keys of the files that the message carries: `file`, for one, or `files`."""
    given = data.get("files") or []
    if not isinstance(given, list):
        raise Refused("webchat: field 'files' must be a list of what PUT …/files has given")
    if len(given) > MOST_FILES:
        raise Refused(f"webchat: field 'files' names {len(given)} files; at most {MOST_FILES} of a message are read")
    one = [_text(data, "file")] if isinstance(data.get("file"), str) and data["file"] else []
    return one + [_text({"files": key}, "files") for key in given]


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("webchat: the body is not JSON") from None
    if not isinstance(data, dict):
        raise Refused("webchat: the body must be a JSON object")
    return data


def _text(data: dict[str, Any], name: str, default: str | None = None) -> str:
    value = data.get(name, default)
    if not isinstance(value, str) or (not value and default is None):
        raise Refused(f"webchat: field {name!r} must be a string that is not empty")
    if len(value) > LONGEST_ID:
        raise Refused(f"webchat: field {name!r} is longer than {LONGEST_ID} characters")
    return value
