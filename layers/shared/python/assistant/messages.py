"""The words of the house: what comes in, what goes out. Frozen, standard library only (the webhook's cold start).

Everything here crosses a queue or a table as JSON; `to_json`/`from_json` are the only codec.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal, Self, TypeAlias, get_args

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

Kind = Literal[
    "text", "image", "file", "rich_text", "card_action", "bot_added", "bot_removed", "entered", "menu", "recalled",
    "slash", "stream_refresh", "edited", "other",
    "summarise", "collected", "silence", "relay",
]  # fmt: skip
KINDS: frozenset[str] = frozenset(get_args(Kind))

ASKING: frozenset[str] = frozenset({"text", "image", "file", "rich_text", "menu", "slash", "card_action"})
"""Kinds that a person expects an answer to."""

OURS: frozenset[str] = frozenset({"summarise", "collected", "silence", "relay"})
"""Kinds that no platform sends: what a turn leaves to do for a later one. A long conversation is summarised, follow-ups are
answered together, somebody who went silent is reminded, a person's words go to another conversation."""

PERSON_LEFT = "person_left"
"""`action_key` of a message of kind `other`: its sender has left the company, or their account there was closed.
`action_value`: all of them, where several left at once."""

OVERTAKING: frozenset[str] = frozenset({"recalled", "edited"})
"""Kinds that must reach a running turn and so never wait behind it in the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One HTTP request as received: `body` raw bytes, header names in lower case, query values as sent (URL-decoded once)."""

    platform: str
    channel: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    trace: str = ""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """The request in an API Gateway HTTP API event (payload format 2.0).

        Source: docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
        """
        path = event.get("pathParameters") or {}
        raw = event.get("body") or ""
        headers = {k.lower(): v for k, v in (event.get("headers") or {}).items()}
        return cls(
            platform=path.get("platform", ""),
            channel=path.get("channel", ""),
            method=event["requestContext"]["http"]["method"].upper(),
            headers=headers,
            query=event.get("queryStringParameters") or {},
            body=b64decode(raw) if event.get("isBase64Encoded") else raw.encode("utf-8", "surrogatepass"),
            trace=headers.get("x-amzn-trace-id", ""),
        )


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What the HTTP caller gets back."""

    status: int = 200
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_event(self) -> dict[str, Any]:
        """The reply as an API Gateway HTTP API function returns it."""
        return {
            "statusCode": self.status,
            "headers": {"content-type": self.content_type, **self.headers},
            "body": self.body,
            "isBase64Encoded": False,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that happened in a conversation, in the house's words; ids are the platform's own.

    `sent_at` is the platform's clock in ms since 1970 and the same in every redelivery (0: the platform gives none, and
    intake sets the arrival time). `address` holds what only the platform needs to answer (response_url, serviceUrl…).
    """

    kind: Kind
    platform: str
    channel: str
    conversation: str
    sender: str
    dedup_id: str
    text: str = ""
    event_id: str = ""
    message_id: str = ""
    tenant: str = ""
    """The platform's id of the company (tenant_key, team_id, corp id…)."""
    thread: str = ""
    """The topic inside the conversation, where the platform has topics and this message stands in one."""
    direct: bool = True
    """True in a one-to-one chat, False in a group or channel."""
    sender_name: str = ""
    locale: str = ""
    timezone: str = ""
    """IANA zone of the sender, where the platform tells."""
    mentions: Mapping[str, str] = field(default_factory=dict)
    """Ids of the people mentioned, by the name that stands in `text`; without the assistant itself."""
    sent_at: int = 0
    untimed: bool = False
    """`sent_at` is our own arrival time: the same message sent again by the client would carry another one."""
    file_key: str = ""
    file_name: str = ""
    action_key: str = ""
    action_value: JSON = None
    menu_key: str = ""
    quoted: str = ""
    """Text of a quoted message. Data, never instructions."""
    reply_to: str = ""
    """Id of the message this one answers, if any."""
    memory: str = ""
    """What the conversation remembers together, as the asker's ring has it: `chat`, `topic` (also where empty) or `member`."""
    proof: str = ""
    """Set where the platform's signature does not cover the body: an id of the signature and of the body, admitted once."""
    address: Mapping[str, str] = field(default_factory=dict)
    trace: str = ""

    @property
    def each_file(self) -> tuple[Message, ...]:
        """This message once for each file that it carries, with that file as its own; none where it carries none.

        Platforms name further files in `address["more_files"]`: a JSON list of objects with `key`, `name`, and what else of the
        address belongs to that file alone.
        """
        first = {k: v for k, v in self.address.items() if k != "more_files"}
        found = [replace(self, address=first)] if self.file_key else []
        for entry in json.loads(self.address.get("more_files") or "[]"):
            own = {k: v for k, v in entry.items() if k not in ("key", "name")}
            found.append(replace(self, file_key=entry["key"], file_name=entry["name"], address={**first, **own}))
        return tuple(found)

    @property
    def topic(self) -> str:
        """The conversation and its thread as one string that no other pair shares."""
        return f"{len(self.conversation)}:{self.conversation}:{self.thread}" if self.thread else self.conversation


@dataclass(frozen=True, slots=True)
class Received:
    """What one webhook amounts to: messages to queue, and what the caller hears at once.

    `challenge`: an address check, nothing more. `pull`: the platform asks for the next state of the stream with this id;
    `Platform.answer_pull` makes the reply from the stored snapshot.
    """

    messages: tuple[Message, ...] = ()
    reply: HttpReply = HttpReply()
    challenge: bool = False
    pull: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document that answers questions; `text` is data, never instructions. `score`: higher is better."""

    id: str
    title: str
    text: str
    document: str = ""
    """Id of the document it stands in."""
    url: str = ""
    path: str = ""
    """Headings above it, joined by " › "."""
    page: int = 0
    """Page it starts on, from 1; 0 where the document has no pages."""
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a statement comes from, as shown under a reply."""

    number: int
    title: str
    url: str = ""
    page: int = 0
    passage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A choice on a card. A click comes back as a `card_action` with this `key` and `value`."""

    text: str
    key: str
    value: JSON = None
    style: Literal["default", "primary", "danger"] = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Bytes with a name. `content_type` is what the bytes are, not what somebody said they are."""

    name: str
    content: bytes
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that goes out with a reply. Its bytes stand in the bucket at `path`; whoever may read the reply may read them."""

    name: str
    content_type: str
    size: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the assistant says: standard Markdown, rendered by each platform to what it can show."""

    text: str
    sources: tuple[Source, ...] = ()
    title: str = ""
    buttons: tuple[Button, ...] = ()
    private: bool = False
    """For the asker's eyes only, also when asked in a group."""
    silent: bool = False
    """Nothing is shown to anybody."""
    attachments: tuple[Attachment, ...] = ()
    """Files that follow the text."""
    settled: str = ""
    """What the card whose button was clicked shows from now on, without its buttons; empty: what it showed, and the choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The vendor's ids of what a person now sees; several where the reply was cut into parts."""

    ids: tuple[str, ...] = ()
    missed: bool = False
    """Nobody can see it: the assistant is not in that chat, or what it answers is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A reply that is growing in front of the asker, as stored with the turn, so that another instance can finish it."""

    id: str
    """The vendor's id of what grows (card id, message ts, activity id, stream id)."""
    sequence: int = 0
    """The last sequence number used."""
    shown: str = ""
    """The text that the vendor has accepted so far."""
    started_ms: int = 0
    data: Mapping[str, str] = field(default_factory=dict)


# --- the codec ---------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """A frozen message type as compact JSON; empty fields are left out.

    Lone surrogates and the two non-characters that SQS refuses become U+FFFD.
    """
    text = _COMPACT.encode(_plain(value))
    return text if text.isascii() else _NOT_TEXT.sub("\ufffd", text)


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_NOT_TEXT = re.compile("[\ud800-\udfff\ufffe\uffff]")
_LEAVES = frozenset({str, int, float, bool, type(None)})


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _LEAVES:
        return value
    if is_dataclass(kind):
        return {name: _plain(v) for name, default in _fields(kind) if (v := getattr(value, name)) or v is not default}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of a dataclass; `Any` because mypy has no name for its type."""
    return tuple((f.name, f.default) for f in fields(kind))


def message_from_json(text: str) -> Message:
    """The message in `text`. Fields that a newer version added are ignored; raises ValueError when it is not one."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("not a message: it is nested too deeply") from None
    if not isinstance(data, dict) or data.get("kind") not in KINDS:
        raise ValueError("not a message: it has no known kind")
    known = {f.name for f in fields(Message)}
    try:
        return Message(**{k: v for k, v in data.items() if k in known})
    except TypeError as error:  # a field that every message has is missing
        raise ValueError(f"not a message: {error}") from None


def reply_from_json(data: Mapping[str, Any]) -> Reply:
    """The reply in already decoded JSON."""
    return Reply(
        text=data["text"],
        title=data.get("title", ""),
        private=data.get("private", False),
        silent=data.get("silent", False),
        settled=data.get("settled", ""),
        sources=tuple(Source(**s) for s in data.get("sources", ())),
        buttons=tuple(Button(**b) for b in data.get("buttons", ())),
        attachments=tuple(Attachment(**a) for a in data.get("attachments", ())),
    )


def stamped(message: Message, *, tenant: str, arrived_ms: int, trace: str) -> Message:
    """`message` with what only the receiving side knows filled in where the platform left it open."""
    return replace(
        message,
        tenant=message.tenant or tenant,
        sent_at=message.sent_at or arrived_ms,
        untimed=message.untimed or not message.sent_at,
        trace=message.trace or trace,
    )
