"""What Teams' activities say, in the house's words. Called only with what a token has vouched for."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from assistant.errors import Refused
from assistant.messages import JSON, HttpReply, Kind, Message, Received
from assistant.platforms.wire import Object, object_at, objects_at, text_at

VALUE: Final = "assistant_value"
"""Under this name a card carries what its button is worth."""

FILE_CARD: Final = "application/vnd.microsoft.teams.file.download.info"


def milliseconds(timestamp: str) -> int:
    """An ISO 8601 time in ms since 1970; 0 for what is none."""
    short = re.sub(r"(\.\d{1,6})\d*", r"\1", timestamp)  # Teams writes seven digits
    try:
        moment = datetime.fromisoformat(short)
        return int(moment.timestamp() * 1000) if moment.tzinfo else 0
    except (ValueError, OverflowError, OSError):
        return 0


# --- text --------------------------------------------------------------------------------------

_AT = re.compile(r"<at(?:\s[^<>]*)?>((?:(?!</?at[\s>]).)*+)</at>", re.DOTALL)
_BLANK = " \u00a0"


def readable(text: str, entities: Sequence[Object], own: str) -> str:
    """`text` as a person reads it: mentions of `own` removed, the others by their names, escapes undone once.

    Mentions are taken in their order: a colleague may bear the bot's name.
    """
    text = re.sub(r"&nbsp;", "\u00a0", text)
    shown, rest = "", text
    for entity in entities:
        if entity.get("type") != "mention":
            continue
        mentioned = object_at(entity, "mentioned")
        name = text_at(mentioned, "name")
        written = text_at(entity, "text").replace("&nbsp;", "\u00a0") or f"<at>{name}</at>"
        before, found, after = rest.partition(written)
        if not found:
            continue
        if text_at(mentioned, "id") == own:
            before, rest = _closed_gap(before, after)
        else:
            before, rest = before + html.escape(name or _inner(written), quote=False), after
        shown += before
    shown += rest
    shown = _AT.sub(lambda at: at[1], shown)
    return html.unescape(shown).replace("\r\n", "\n").strip(f"{_BLANK}\t\r\n")


def _inner(written: str) -> str:
    found = _AT.search(written)
    return html.unescape(found[1]) if found else written


def _closed_gap(before: str, after: str) -> tuple[str, str]:
    """What stands around a mention that is taken out, with one blank where there were two."""
    if before[-1:] in (" ", "\u00a0") and (not after or after[0] in " \u00a0.,;:!?，。；：！？"):
        return before[:-1], after
    return (before, after[1:]) if after[:1] in (" ", "\u00a0") and not before.strip() else (before, after)


def _people(activity: Object, own: str) -> dict[str, str]:
    """Ids of the people whom a message names, by their names."""
    named = [object_at(e, "mentioned") for e in objects_at(activity, "entities") if e.get("type") == "mention"]
    return {name: id_ for m in named if (name := text_at(m, "name")) and (id_ := text_at(m, "id")) and id_ != own}


def _mentions(activity: Object, own: str) -> bool:
    return any(e.get("type") == "mention" and text_at(e, "mentioned", "id") == own for e in objects_at(activity, "entities"))


# --- activities --------------------------------------------------------------------------------

ACCEPTED: Final = HttpReply(202, "", content_type="text/plain")


def received(activity: Object) -> Received:
    """What an activity amounts to."""
    kind = activity.get("type")
    if kind == "invoke":
        return _invoked(activity)
    conversation, sender = text_at(activity, "conversation", "id"), text_at(activity, "from", "id")
    own = text_at(activity, "recipient", "id")
    if not conversation or (kind in ("message", "messageUpdate") and (not sender or _is_bot(activity, own))):
        return Received(reply=ACCEPTED)
    return Received(tuple(_messages(activity, own)), ACCEPTED)


def _is_bot(activity: Object, own: str) -> bool:
    """Whether a bot, this one or another, wrote it."""
    sender = object_at(activity, "from")
    id_ = text_at(sender, "id")
    return id_ == own or id_.startswith("28:") or sender.get("role") in ("bot", "skill")


def _messages(activity: Object, own: str) -> Iterator[Message]:
    conversation = text_at(activity, "conversation", "id")
    id_, day = text_at(activity, "id"), text_at(activity, "timestamp")[:10]
    event = text_at(activity, "channelData", "eventType")
    match activity.get("type"):
        case "message":
            yield from _said(activity, own)
        case "messageUpdate" if event in ("editMessage", "") and id_ and (_is_direct(activity) or _mentions(activity, own)):
            once = f"{conversation}:{id_}:edited:{text_at(activity, 'timestamp')}"
            yield _message(activity, "edited", once, message_id=id_, text=_text(activity, own))
        case "messageDelete" if event in ("softDeleteMessage", "") and id_:
            yield _message(activity, "recalled", f"{conversation}:{id_}:deleted", message_id=id_)
        # Both activities come when a bot is added. The day keeps them together and lets a later installation greet again.
        case "conversationUpdate" if _names(activity, "membersAdded", own):
            yield _message(activity, "bot_added", f"{conversation}:bot_added:{day}")
        case "conversationUpdate" if _names(activity, "membersRemoved", own):
            yield _message(activity, "bot_removed", f"{conversation}:bot_removed:{day}")
        case "installationUpdate" if activity.get("action") == "add":
            yield _message(activity, "bot_added", f"{conversation}:bot_added:{day}")
        case "installationUpdate" if activity.get("action") == "remove":
            yield _message(activity, "bot_removed", f"{conversation}:bot_removed:{day}")


def _names(activity: Object, field: str, own: str) -> bool:
    return bool(own) and any(text_at(member, "id") == own for member in objects_at(activity, field))


def _is_direct(activity: Object) -> bool:
    conversation = object_at(activity, "conversation")
    kind = conversation.get("conversationType")
    return kind == "personal" if kind else not conversation.get("isGroup") and "@thread" not in text_at(conversation, "id")


def _text(activity: Object, own: str) -> str:
    return readable(text_at(activity, "text"), objects_at(activity, "entities"), own)


def _message(
    activity: Object, kind: Kind, dedup_id: str, **more: Any
) -> Message:  # fields of Message, checked by its constructor
    conversation, sender = object_at(activity, "conversation"), object_at(activity, "from")
    data, id_ = object_at(activity, "channelData"), text_at(conversation, "id")
    direct = _is_direct(activity)
    address = {
        "service_url": text_at(activity, "serviceUrl"),
        "bot_id": text_at(activity, "recipient", "id"),
        "bot_name": text_at(activity, "recipient", "name"),
        "activity_id": text_at(activity, "id"),
        "aad_object_id": text_at(sender, "aadObjectId"),
        "team_id": text_at(data, "team", "id"),
    }
    fields: dict[str, Any] = {
        "conversation": id_,
        "sender": text_at(sender, "id"),
        "sender_name": text_at(sender, "name"),
        "event_id": text_at(activity, "id"),
        "tenant": text_at(conversation, "tenantId") or text_at(data, "tenant", "id"),
        "thread": id_.partition(";messageid=")[2],
        "direct": direct,
        "locale": text_at(activity, "locale"),
        "sent_at": milliseconds(text_at(activity, "timestamp")),
        "address": {name: value for name, value in address.items() if value},
    }
    more_address = more.pop("address", {})
    fields["address"] |= more_address
    return Message(**{"kind": kind, "platform": "teams", "channel": "messages", "dedup_id": dedup_id, **fields, **more})


def _said(activity: Object, own: str) -> Iterator[Message]:
    conversation, id_ = text_at(activity, "conversation", "id"), text_at(activity, "id")
    once = f"{conversation}:{id_}"
    if not id_:
        return
    text = _text(activity, own)
    if activity.get("value") is not None and not text:
        key, value = _submitted(activity["value"])
        about = text_at(activity, "replyToId") or id_
        yield _message(activity, "card_action", once, message_id=about, action_key=key, action_value=value)
        return
    if not (_is_direct(activity) or _mentions(activity, own)):
        return  # heard only because the app may read everything
    kind, file = _file(activity)
    yield _message(
        activity,
        kind,
        once,
        message_id=id_,
        text=text,
        timezone=text_at(activity, "localTimezone"),
        mentions=_people(activity, own),
        reply_to=text_at(activity, "replyToId"),
        quoted=_quoted(activity),
        **file,
    )


def _file(activity: Object) -> tuple[Kind, dict[str, Any]]:
    """The files and pictures of a message: the kind of the first, where it is, and where the others are."""
    found: list[tuple[Kind, str, str, str]] = []
    for attachment in objects_at(activity, "attachments"):
        declared, name = text_at(attachment, "contentType"), text_at(attachment, "name")
        content = object_at(attachment, "content")
        if declared == FILE_CARD and (url := text_at(content, "downloadUrl")):
            found.append(("file", url, name, ""))
        elif declared.startswith("image/") and (url := text_at(attachment, "contentUrl")):
            found.append(("image", url, name, "1"))
    if not found:
        return "text", {}
    (kind, key, name, token), *others = found
    more = [{"key": k, "name": n, "file_needs_token": t} for _, k, n, t in others]
    address = {"file_needs_token": token, "more_files": json.dumps(more, ensure_ascii=False) if more else ""}
    return kind, {"file_key": key, "file_name": name, "address": {k: v for k, v in address.items() if v}}


def _quoted(activity: Object) -> str:
    for attachment in objects_at(activity, "attachments"):
        if attachment.get("contentType") == "messageReference":
            content = attachment.get("content")
            if isinstance(content, str):
                try:
                    content = json.loads(content)
                except (ValueError, RecursionError):
                    continue
            if isinstance(content, dict):
                return text_at(content, "messagePreview")
    return ""


def _submitted(value: Any) -> tuple[str, JSON]:  # decoded JSON of a card
    """Key and value of a submitted card: ours carry both by name, others are given whole."""
    if not isinstance(value, dict):
        return "", value
    data = {k: v for k, v in value.items() if k != "msteams"}
    key = next((data[name] for name in ("action_key", "verb", "action", "key", "id") if isinstance(data.get(name), str)), "")
    return key, _worth(data)


def _worth(data: JSON) -> JSON:
    """What a button is worth: our value where it stands alone, else all the fields of the card."""
    if isinstance(data, dict) and VALUE in data:
        fields = {k: v for k, v in data.items() if k not in (VALUE, "action_key")}
        return {"value": data[VALUE], **fields} if fields else data[VALUE]
    return data


def _invoked(activity: Object) -> Received:
    """An invoke is answered at once, in the same HTTP response."""
    value = object_at(activity, "value")
    match activity.get("name"):
        case "adaptiveCard/action":
            action = object_at(value, "action")
            key = text_at(action, "verb") or text_at(action, "id") or _submitted(action.get("data"))[0]
            conversation, id_ = text_at(activity, "conversation", "id"), text_at(activity, "id")
            if not (conversation and id_ and text_at(activity, "from", "id")):
                raise Refused("teams: a card action lacks its conversation, sender or id")
            chinese = text_at(activity, "locale").lower().startswith("zh")
            answer = {
                "statusCode": 200,
                "type": "application/vnd.microsoft.activity.message",
                "value": "已收到" if chinese else "Received",
            }
            reply = HttpReply(200, json.dumps(answer, ensure_ascii=False))
            if value.get("trigger") == "automatic":
                return Received(reply=reply)  # the client refreshes a card that somebody looks at; nobody clicked
            message = _message(
                activity,
                "card_action",
                f"{conversation}:{id_}",
                message_id=text_at(activity, "replyToId") or id_,
                action_key=key,
                action_value=_worth(action.get("data")),
            )
            return Received((message,), reply)
        case "message/submitAction":
            return Received(reply=HttpReply(200, "{}"))
    return Received(reply=HttpReply(501, "", content_type="text/plain"))
