"""Feishu's and Lark's events as messages of the house. Only for what `Feishu.receive` has proven genuine.

Sources: open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/reference/im-v1/message/events/receive ·
open.larkoffice.com/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/card-callback-communication
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from assistant.errors import Refused
from assistant.messages import JSON, PERSON_LEFT, Kind, Message
from assistant.platforms.wire import list_of, object_of, text_of

ACTION_KEY: Final = "assistant_key"
ACTION_VALUE: Final = "assistant_value"
ACTION_PLACE: Final = "assistant_place"
"""Names in the `value` of our own buttons: what was clicked, and where the card stands (`chat_type` and thread)."""

_FILE_KINDS: Final[Mapping[str, Kind]] = {"image": "image", "file": "file", "audio": "file", "media": "file"}
_MENTION: Final = re.compile(r"@_user_[0-9]+|@_all(?![A-Za-z0-9_])")
_AT_TAG: Final = re.compile(r"<at (?:open_id|user_id)=\"([^\"<>]*)\">([^<]*)</at>")


@dataclass(frozen=True, slots=True)
class Bot:
    """Who we are in Feishu. `open_id` is empty where it is not configured; `answers_all`: also what does not name us."""

    open_id: str = ""
    answers_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The envelope of either version without its secrets. `sent_at` in ms since 1970."""

    id: str
    type: str
    tenant: str
    sent_at: int
    body: Mapping[str, Any]

    @property
    def dedup_id(self) -> str:
        """The event's id; where it has none, one made of what it says."""
        said = json.dumps([self.type, self.body], sort_keys=True)
        return self.id or "event-" + hashlib.sha256(said.encode()).hexdigest()[:32]


def event_of(data: Mapping[str, Any]) -> Event:
    """The event in a v1 or v2 envelope; raises Refused where it is neither."""
    body = object_of(data.get("event"))
    if isinstance(header := data.get("header"), Mapping):
        return Event(
            id=text_of(header.get("event_id")),
            type=text_of(header.get("event_type")),
            tenant=text_of(header.get("tenant_key")),
            sent_at=_ms(header.get("create_time")),
            body=body,
        )
    if data.get("type") == "event_callback":
        return Event(
            id=text_of(data.get("uuid")),
            type=text_of(body.get("type")),
            tenant=text_of(body.get("tenant_key")),
            sent_at=int(_number(data.get("ts")) * 1000),
            body=body,
        )
    raise Refused("feishu: the event has neither a v2 header nor the v1 type event_callback")


def messages_of(event: Event, *, bot: Bot) -> tuple[Message, ...]:
    """What there is to do about `event`: nothing for what must not be answered. Raises Refused where ids are missing."""
    match event.type:
        case "im.message.receive_v1":
            return _received(event, bot)
        case "message":
            return _received_v1(event, bot)
        case "card.action.trigger":
            return _clicked(event)
        case "im.chat.member.bot.added_v1" | "add_bot":
            return (_happened(event, "bot_added", direct=False),)
        case "im.chat.member.bot.deleted_v1" | "remove_bot" | "im.chat.disbanded_v1":
            return (_happened(event, "bot_removed", direct=False),)
        case "im.chat.access_event.bot_p2p_chat_entered_v1" | "p2p_chat_create":
            return (_happened(event, "entered", direct=True),)
        case "im.message.recalled_v1":
            recalled = _needed(event.body, "message_id", event)
            return (replace(_happened(event, "recalled", direct=False), message_id=recalled),)
        case "application.bot.menu_v6":
            return (_menu(event),)
        case "contact.user.deleted_v3":
            return _left(event)
    return ()


# --- messages ----------------------------------------------------------------------------------


def _received(event: Event, bot: Bot) -> tuple[Message, ...]:
    message, sender = object_of(event.body.get("message")), object_of(event.body.get("sender"))
    who = _open_id(sender.get("sender_id"))
    if sender.get("sender_type") in ("app", "bot") or (bot.open_id and who == bot.open_id):
        return ()  # our own words, or another robot's: answering them could go on for ever
    mentions = [object_of(m) for m in list_of(message.get("mentions"))]
    direct = message.get("chat_type") != "group"
    ours = _our_mentions(mentions, bot, direct=direct, content=text_of(message.get("content")))
    if not direct and bot.open_id and not ours and not bot.answers_all:
        return ()  # group talk that does not name us (the app has the scope to hear everything)
    names = {key: "" if key in ours else _name(m) for m in mentions if (key := text_of(m.get("key")))}
    kind, fields = _content(text_of(message.get("message_type")), text_of(message.get("content")), names, bot)
    message_id = _needed(message, "message_id", event)
    return (
        Message(
            kind=kind,
            platform="feishu",
            channel="events",
            conversation=_needed(message, "chat_id", event),
            sender=who,
            dedup_id=message_id,
            event_id=event.id,
            message_id=message_id,
            tenant=event.tenant or text_of(sender.get("tenant_key")),
            thread=text_of(message.get("thread_id")),
            direct=direct,
            sent_at=_ms(message.get("create_time")) or event.sent_at,
            reply_to=text_of(message.get("parent_id")),
            mentions={
                text_of(m.get("name")): id_
                for m in mentions
                if text_of(m.get("key")) not in ours and (id_ := _open_id(m.get("id")))
            },
            address={"receive_id_type": "chat_id", "chat_type": "p2p" if direct else "group"},
            **fields,
        ),
    )


def _received_v1(event: Event, bot: Bot) -> tuple[Message, ...]:
    body = event.body
    who = text_of(body.get("open_id"))
    direct = body.get("chat_type") != "group"
    if bot.open_id and who == bot.open_id:
        return ()
    if not direct and body.get("is_mention") is False and not bot.answers_all:
        return ()
    kind: Kind = {"text": "text", "post": "rich_text", "image": "image", "file": "file"}.get(  # type: ignore[assignment]  # each value is a Kind
        text_of(body.get("msg_type")), "other"
    )
    text = text_of(body.get("text_without_at_bot", body.get("text")))
    text = _AT_TAG.sub(lambda m: "" if bot.open_id and m[1] == bot.open_id else f"@{m[2].lstrip('@')}", text)
    title = text_of(body.get("title"))
    images = [text_of(k) for k in list_of(body.get("image_keys"))]
    message_id = _needed(body, "open_message_id", event)
    return (
        Message(
            kind=kind,
            platform="feishu",
            channel="events",
            conversation=_needed(body, "open_chat_id", event),
            sender=who,
            dedup_id=message_id,
            event_id=event.id,
            message_id=message_id,
            tenant=event.tenant,
            direct=direct,
            sent_at=event.sent_at,
            reply_to=text_of(body.get("parent_id")),
            text=f"{title}\n{text}".strip(),
            file_key=text_of(body.get("file_key")) or text_of(body.get("image_key")) or (images[0] if images else ""),
            file_name=text_of(body.get("file_name")),
            address={"receive_id_type": "chat_id", "chat_type": "p2p" if direct else "group"},
        ),
    )


def _our_mentions(mentions: list[Mapping[str, Any]], bot: Bot, *, direct: bool, content: str) -> frozenset[str]:
    """The keys among `mentions` that name us.

    Without a configured open_id it is told by what Feishu does: it delivers a group message because we are named in it, so
    that a mention marked as a bot, else the only one, else the first one in the text, is ours.
    """
    if bot.open_id:
        return frozenset(text_of(m.get("key")) for m in mentions if _open_id(m.get("id")) == bot.open_id)
    if direct:
        return frozenset()
    keys = [text_of(m.get("key")) for m in mentions if m.get("key") != "@_all"]
    bots = [text_of(m.get("key")) for m in mentions if m.get("mentioned_type") == "bot"]
    first = min((k for k in keys if k in content), key=lambda k: _position(content, k), default="")
    return frozenset((bots or [first])[:1]) - {""}


def _position(content: str, key: str) -> int:
    found = re.search(re.escape(key) + r"(?!\d)", content)
    return found.start() if found else len(content)


def _name(mention: Mapping[str, Any]) -> str:
    return "@" + (text_of(mention.get("name")) or ("all" if mention.get("key") == "@_all" else "someone"))


def _content(kind: str, content: str, names: Mapping[str, str], bot: Bot) -> tuple[Kind, dict[str, Any]]:
    """The kind and the fields of Message that the JSON string `content` stands for (dict: it is splatted on the next line)."""
    try:
        data = object_of(json.loads(content or "{}"))
    except (ValueError, RecursionError):
        raise Refused("feishu: message.content is not JSON") from None
    if kind == "text":
        return "text", {"text": _named(text_of(data.get("text")), names)}
    if kind == "post":
        text, image = _post(data, names, bot)
        return "rich_text", {"text": text, "file_key": image}
    if kind in _FILE_KINDS:
        key = text_of(data.get("image_key")) if kind == "image" else text_of(data.get("file_key"))
        return _FILE_KINDS[kind], {"file_key": key, "file_name": text_of(data.get("file_name"))}
    return "other", {"text": text_of(data.get("name"))}  # stickers, cards, places, shared chats: nothing that asks for an answer


def _named(text: str, names: Mapping[str, str]) -> str:
    """`text` with each mention key read as its name, in one pass: `@_user_1` is no prefix of `@_user_10`, no name a key."""

    parts: list[str] = []
    at, last = 0, ""
    for found in _MENTION.finditer(text):
        between = text[at : found.start()]
        word = names.get(found[0], "@all" if found[0] == "@_all" else found[0])
        parts += (between, word)
        last = (between or last)[-1:]
        at = found.end()
        if word:
            last = word[-1]
        elif at < len(text) and text[at] in " \u00a0\t" and (not last or last.isspace()):
            at += 1  # the blank that Feishu sets after a mention goes with it
    return ("".join(parts) + text[at:]).strip()


def _post(data: Mapping[str, Any], names: Mapping[str, str], bot: Bot) -> tuple[str, str]:
    """A post as readable text (Markdown where it has links and code), and the key of its first image."""
    if "content" not in data:  # {"zh_cn": {…}}: the form in which posts are sent
        data = next((object_of(v) for v in data.values() if isinstance(v, Mapping)), {})
    image = ""
    lines = [text_of(data.get("title"))]
    for row in list_of(data.get("content")):
        line = ""
        for element in map(object_of, list_of(row)):
            text = text_of(element.get("text"))
            if element.get("un_escape"):
                text = html.unescape(text)
            match element.get("tag"):
                case "a":
                    href = text_of(element.get("href"))
                    line += f"[{text}]({href})" if href and href != text else text or href
                case "at":
                    line += _post_mention(element, names, bot)
                case "img":
                    image = image or text_of(element.get("image_key"))
                case "code_block":
                    line += f"```{text_of(element.get('language')).lower()}\n{text.rstrip()}\n```"
                case "hr":
                    line += "---"
                case "emotion":
                    line += f":{text_of(element.get('emoji_type'))}:"
                case _:
                    line += text
        lines.append(line.strip())
    return _named("\n".join(lines), names), image


def _post_mention(element: Mapping[str, Any], names: Mapping[str, str], bot: Bot) -> str:
    who = text_of(element.get("user_id"))
    if who in names:
        return names[who]
    if bot.open_id and bot.open_id in (who, text_of(element.get("open_id"))):
        return ""
    return "@" + (text_of(element.get("user_name")) or ("all" if who in ("all", "@_all") else who))


# --- everything else ---------------------------------------------------------------------------


def _happened(event: Event, kind: Kind, *, direct: bool) -> Message:
    """An event about a chat, in either version's words."""
    body = event.body
    operator = body.get("operator_id") or object_of(body.get("operator"))
    return Message(
        kind=kind,
        platform="feishu",
        channel="events",
        conversation=text_of(body.get("chat_id")) or _needed(body, "open_chat_id", event),
        sender=_open_id(operator) or text_of(body.get("operator_open_id")),
        dedup_id=event.dedup_id,
        event_id=event.id,
        tenant=event.tenant,
        direct=direct,
        sent_at=event.sent_at,
        address={"receive_id_type": "chat_id", "chat_type": "p2p" if direct else "group"},
    )


def _left(event: Event) -> tuple[Message, ...]:
    """Somebody has left. Source: open.feishu.cn/document/server-docs/contact-v3/user/events/deleted."""
    who = text_of(object_of(event.body.get("object")).get("open_id"))
    if not who:
        return ()
    return (
        Message(
            kind="other",
            platform="feishu",
            channel="events",
            conversation=who,
            sender=who,
            dedup_id=event.dedup_id,
            event_id=event.id,
            tenant=event.tenant,
            sent_at=event.sent_at,
            action_key=PERSON_LEFT,
        ),
    )


def _menu(event: Event) -> Message:
    operator = object_of(event.body.get("operator"))
    who = _open_id(operator.get("operator_id"))
    if not who:
        raise Refused("feishu: a menu event names no operator")
    return Message(
        kind="menu",
        platform="feishu",
        channel="events",
        conversation=who,  # the event names no chat: the answer goes to the person
        sender=who,
        dedup_id=event.dedup_id,
        event_id=event.id,
        tenant=event.tenant,
        sender_name=text_of(operator.get("operator_name")),
        sent_at=event.sent_at or int(_number(event.body.get("timestamp")) * 1000),
        menu_key=text_of(event.body.get("event_key")),
        address={"receive_id_type": "open_id", "chat_type": "p2p"},
    )


def _clicked(event: Event) -> tuple[Message, ...]:
    operator, context = object_of(event.body.get("operator")), object_of(event.body.get("context"))
    return (
        _click(
            object_of(event.body.get("action")),
            event_id=event.id,
            dedup_id=event.dedup_id,
            conversation=text_of(context.get("open_chat_id")),
            message_id=text_of(context.get("open_message_id")),
            sender=_open_id(operator),
            tenant=event.tenant or text_of(operator.get("tenant_key")),
            sent_at=event.sent_at,
            token=text_of(event.body.get("token")),
        ),
    )


def legacy_click(data: Mapping[str, Any]) -> Message:
    """The `card_action` in a card call-back of the old form: no event id, no time; its token is new with every click."""
    token = text_of(data.get("token"))
    proof = token or json.dumps([data.get("open_message_id"), data.get("open_id"), data.get("action")], default=str)
    return _click(
        object_of(data.get("action")),
        event_id="",
        dedup_id="card-" + hashlib.sha256(proof.encode("utf-8", "replace")).hexdigest()[:32],
        conversation=text_of(data.get("open_chat_id")),
        message_id=text_of(data.get("open_message_id")),
        sender=text_of(data.get("open_id")),
        tenant=text_of(data.get("tenant_key")),
        sent_at=0,
        token=token,
    )


def _click(
    action: Mapping[str, Any],
    *,
    event_id: str,
    dedup_id: str,
    conversation: str,
    message_id: str,
    sender: str,
    tenant: str,
    sent_at: int,
    token: str,
) -> Message:
    value = _parsed(action.get("value"))
    place: Mapping[str, Any] = {}
    if isinstance(value, dict) and ACTION_KEY in value:
        place = object_of(value.get(ACTION_PLACE))
        key, value = text_of(value.get(ACTION_KEY)), value.get(ACTION_VALUE)
    else:
        named = value.get("key") if isinstance(value, dict) else None
        key = text_of(action.get("name")) or text_of(named) or text_of(action.get("tag"))
    entered = {k: action[k] for k in ("option", "options", "form_value", "input_value") if action.get(k)}
    if action.get("tag") == "checker" and "checked" in action:
        entered["checked"] = action["checked"]
    if entered:
        value = {**value, **entered} if isinstance(value, dict) else entered | ({"value": value} if value else {})
    if not conversation and not sender:
        raise Refused("feishu: a card click names neither its chat nor who clicked")
    return Message(
        kind="card_action",
        platform="feishu",
        channel="events",
        conversation=conversation or sender,
        sender=sender,
        dedup_id=dedup_id,
        event_id=event_id,
        message_id=message_id,
        tenant=tenant,
        thread=text_of(place.get("thread")),
        direct=not conversation or place.get("chat_type") == "p2p",
        sent_at=sent_at,
        action_key=key,
        action_value=value,
        address={
            "receive_id_type": "chat_id" if conversation else "open_id",
            "chat_type": text_of(place.get("chat_type")),
            "card_token": token,
        },
    )


# --- reading what a stranger wrote ---------------------------------------------------------------


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0 < number < 1e18 else 0.0


def _ms(value: Any) -> int:
    return int(_number(value))


def _open_id(value: Any) -> str:
    return value if isinstance(value, str) else text_of(object_of(value).get("open_id"))


def _needed(body: Mapping[str, Any], name: str, event: Event) -> str:
    if value := text_of(body.get(name)):
        return value
    raise Refused(f"feishu: the event {event.type!r} has no {name}")


def _parsed(value: Any) -> JSON:
    """A button's value as data: an object as it is, a string of JSON decoded."""
    if isinstance(value, str):
        try:
            decoded: JSON = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return decoded if isinstance(decoded, dict | list) else value
    result: JSON = value
    return result
