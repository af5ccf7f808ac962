"""DingTalk's robot messages, events and card clicks as messages of the house. Only for what `DingTalk.receive` has proven.

Sources: open.dingtalk.com/document/development/receive-message · …/configure-stream-push · …/event-callback-card
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from assistant.errors import Refused
from assistant.messages import JSON, PERSON_LEFT, Kind, Message
from assistant.platforms.wire import json_object, list_of, object_of, text_of

ACTION_KEY: Final = "assistant_key"
ACTION_VALUE: Final = "assistant_value"
"""Names of the parameters that a button of our card template sends back."""

_TRACK: Final = 64
"""Longest outTrackId."""


def robot_message(data: Mapping[str, Any], *, answer_all: bool) -> Message | None:
    """The message in a robot call-back, None where it must not be answered. Raises Refused where ids are missing."""
    sender = text_of(data.get("senderStaffId")) or text_of(data.get("senderId"))
    direct = text_of(data.get("conversationType")) != "2"
    if sender and sender == text_of(data.get("chatbotUserId")):
        return None  # our own words
    if not direct and data.get("isInAtList") is False and not answer_all:
        return None  # group talk that does not name us
    kind, fields = _content(text_of(data.get("msgtype")), data)
    message_id = needed(data, "msgId")
    address = {
        "robot_code": text_of(data.get("robotCode")),
        "staff_id": text_of(data.get("senderStaffId")),
        "session_webhook": text_of(data.get("sessionWebhook")),
        "session_until": text_of(data.get("sessionWebhookExpiredTime")),
    }
    return Message(
        kind=kind,
        platform="dingtalk",
        channel="robot",
        conversation=needed(data, "conversationId"),
        sender=sender,
        dedup_id=message_id,
        event_id=message_id,
        message_id=message_id,
        tenant=text_of(data.get("chatbotCorpId")) or text_of(data.get("senderCorpId")),
        direct=direct,
        sender_name=text_of(data.get("senderNick")),
        sent_at=ms_of(data.get("createAt")),
        reply_to=text_of(data.get("originalMsgId")),
        quoted=_quoted(data),
        address={k: v for k, v in address.items() if v},
        **fields,
    )


def _content(kind: str, data: Mapping[str, Any]) -> tuple[Kind, dict[str, Any]]:
    """The kind and the text and file fields of Message (dict of Any: the caller splats it)."""
    content = _decoded(data.get("content"))
    code = text_of(content.get("downloadCode")) or text_of(content.get("pictureDownloadCode"))
    match kind:
        case "text":
            return "text", {"text": text_of(object_of(data.get("text")).get("content")).strip()}
        case "picture":
            return "image", {"file_key": code}
        case "richText":
            text, image = "", ""
            for part in map(object_of, list_of(content.get("richText"))):
                text += text_of(part.get("text"))
                if part.get("type") == "picture":
                    image = image or text_of(part.get("downloadCode"))
            return "rich_text", {"text": text.strip(), "file_key": image}
        case "file":
            return "file", {"file_key": code, "file_name": text_of(content.get("fileName"))}
        case "audio":
            return "file", {"file_key": code, "text": text_of(content.get("recognition")).strip()}
        case "video":
            kind_of_video = text_of(content.get("videoType"))
            return "file", {"file_key": code, "file_name": f"video.{kind_of_video}" if kind_of_video.isalnum() else ""}
    return "other", {}


def _quoted(data: Mapping[str, Any]) -> str:
    replied = object_of(object_of(data.get("text")).get("repliedMsg"))
    content = replied.get("content")
    return text_of(object_of(content).get("text") if isinstance(content, Mapping) else content)[:2000]


# --- events --------------------------------------------------------------------------------------

_EVENTS: Final[Mapping[str, Kind]] = {
    "robot_msg_recall": "recalled",
    "chat_disband": "bot_removed",
    "im_cool_app_install": "bot_added",
    "im_cool_app_uninstall": "bot_removed",
}


def event_message(plain: bytes, *, robot_code: str) -> Message | None:
    """The message that a decrypted event stands for; None where nothing is to be done. Key names are read without regard
    to case: DingTalk writes them differently from event to event."""
    data = {str(k).lower(): v for k, v in json_object(plain, "dingtalk: the event").items()}
    if text_of(data.get("eventtype")) == "user_leave_org":
        return _left(data, plain)
    kind = _EVENTS.get(text_of(data.get("eventtype")))
    if kind is None:
        return None
    if robot_code and (named := text_of(data.get("robotcode"))) and named != robot_code:
        return None  # another robot's
    chat = text_of(data.get("openconversationid")) or text_of(data.get("chatid"))
    sender = text_of(data.get("userid")) or text_of(data.get("operator"))
    if not chat and not sender:
        raise Refused("dingtalk: the event names neither a conversation nor a user")
    event_id = text_of(data.get("eventid")) or text_of(data.get("bizid"))
    about = text_of(data.get("processquerykey")) or text_of(data.get("msgid")) if kind == "recalled" else ""
    return Message(
        kind=kind,
        platform="dingtalk",
        channel="events",
        conversation=chat or sender,
        sender=sender,
        dedup_id=event_id or "event-" + hashlib.sha256(plain).hexdigest()[:32],
        event_id=event_id,
        message_id=about,
        tenant=text_of(data.get("corpid")),
        direct=not chat,
        sent_at=ms_of(data.get("eventtime")) or ms_of(data.get("operatetime")) or ms_of(data.get("operattime")),
        address={"staff_id": sender} if sender else {},
    )


def _left(data: Mapping[str, Any], plain: bytes) -> Message | None:
    """One or several have left. Source: open.dingtalk.com/document/orgapp/address-book-employee-left."""
    named: JSON = [text_of(u) for u in list_of(data.get("userid")) if text_of(u)] or [text_of(data.get("userid"))]
    who = str(named[0]) if isinstance(named, list) else ""
    if not who:
        return None
    event_id = text_of(data.get("eventid"))
    return Message(
        kind="other",
        platform="dingtalk",
        channel="events",
        conversation=who,
        sender=who,
        dedup_id=event_id or "event-" + hashlib.sha256(plain).hexdigest()[:32],
        event_id=event_id,
        tenant=text_of(data.get("corpid")),
        sent_at=ms_of(data.get("timestamp")) or ms_of(data.get("eventtime")),
        action_key=PERSON_LEFT,
        action_value=named,
    )


# --- cards ---------------------------------------------------------------------------------------


def card_message(data: Mapping[str, Any]) -> Message | None:
    """The click on a card's button; None for call-backs of another type."""
    if text_of(data.get("type")) not in ("actionCallback", ""):
        return None
    track, user = needed(data, "outTrackId"), needed(data, "userId")
    private = object_of(_decoded(data.get("content")).get("cardPrivateData"))
    actions = [text_of(a) for a in list_of(private.get("actionIds"))]
    params: JSON = private.get("params")
    key = actions[0] if actions else ""
    if isinstance(params, dict) and ACTION_KEY in params:
        key, params = text_of(params[ACTION_KEY]), _value(params.get(ACTION_VALUE))
    group, conversation = _place(track, text_of(data.get("spaceId")))
    click = hashlib.sha256(json.dumps([track, user, actions]).encode()).hexdigest()[:40]
    return Message(
        kind="card_action",
        platform="dingtalk",
        channel="cards",
        conversation=conversation or user,
        sender=user,
        dedup_id=f"card-{click}",
        message_id=track,
        tenant=text_of(data.get("corpId")),
        direct=not group,
        action_key=key,
        action_value=params,
        address={"staff_id": user},
    )


def track_id(key: str, *, conversation: str, direct: bool) -> str:
    """The outTrackId of our card: the same for the same `key`, and telling where the card stands, because a click does not."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    readable = f"{'d' if direct else 'g'}.{digest[:12]}.{conversation}"
    return readable if len(readable) <= _TRACK else f"x.{digest[:40]}"


def _place(track: str, space: str) -> tuple[bool, str]:
    """Whether the card stands in a group, and the conversation; "" where neither is told."""
    if "IM_GROUP." in space:
        return True, space.rpartition("IM_GROUP.")[2]
    kind, _, rest = track.partition(".")
    digest, dot, conversation = rest.partition(".")
    if kind in ("d", "g") and dot and len(digest) == 12:
        return kind == "g", conversation
    return False, ""


# --- reading what a stranger wrote -----------------------------------------------------------------


def ms_of(value: Any) -> int:
    """A time in ms since 1970; DingTalk writes seconds in places. 0 for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    if not 0 < number < 1e14:
        return 0
    return int(number * 1000 if number < 1e11 else number)


def needed(data: Mapping[str, Any], name: str) -> str:
    """The field `name`; raises Refused where it is missing."""
    if value := text_of(data.get(name)):
        return value
    raise Refused(f"dingtalk: the call-back has no {name}")


def _decoded(value: Any) -> Mapping[str, Any]:
    """An object, also where it comes as a string of JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return object_of(value)


def _value(value: JSON) -> JSON:
    if isinstance(value, str):
        try:
            decoded: JSON = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return decoded
    return value
