"""WeCom's callbacks as messages: the XML of an app and the JSON of an AI bot, both already verified and opened.

Fields that are missing or of another type than documented count as empty: a proven sender can still send what we do not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import Refused
from assistant.messages import JSON, PERSON_LEFT, Kind, Message
from assistant.platforms.wire import Object, list_at, object_at, objects_at, text_at

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LOCALE: Final = "zh-CN"
"""Language of greetings and notices where a message says nothing about its reader's."""

_VALUE_MARK: Final = "?"


def button_key(key: str, value: JSON) -> str:
    """`key` with `value` behind it: WeCom's buttons carry one string."""
    if value is None:
        return key
    return f"{key}{_VALUE_MARK}{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"


def read_button_key(text: str) -> tuple[str, JSON]:
    """Key and value out of a clicked button's string; a string that is not ours is all key."""
    key, mark, value = text.partition(_VALUE_MARK)
    if mark:
        try:
            parsed: JSON = json.loads(value)
        except (ValueError, RecursionError):
            return text, None
        return key, parsed
    return text, None


def without_mention(text: str, name: str) -> str:
    """`text` without `@name`, where that is the whole name: `@Ann` stays in `@Anna` and in `bob@Ann`."""
    if not name:
        return text.strip()
    return re.sub(rf"(?<![A-Za-z0-9._%+-])@{re.escape(name)}(?![\w-]|\.[A-Za-z0-9])[\s\u2005]?", "", text).strip()


# --- app: XML ----------------------------------------------------------------------------------


def xml_root(data: bytes | str) -> Element:
    """The root of `data`, in UTF-8 where it is bytes; raises ValueError for what is no XML, or declares a document type."""
    from xml.etree.ElementTree import ParseError, XMLParser

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        if isinstance(data, bytes) and (found := _ENCODING.match(text)) and found[1].lower() != "utf-8":
            raise ValueError(f"XML that says to be in {found[1]}")
        if _DECLARES in text:  # perhaps only in what somebody wrote
            return _careful(text)
        parser = XMLParser()  # noqa: S314  # where nothing is declared there are no entities, which is all the danger
        parser.feed(text)
        return parser.close()
    except (ParseError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not XML: {type(error).__name__}") from error


_DECLARES: Final = "<!DOCTYPE"
_ENCODING: Final = re.compile(r"<\?xml\s[^>]{0,100}?encoding\s*=\s*[\"']([\w.-]{1,40})", re.ASCII)


def _careful(text: str) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, RecursionError) as error:
        raise ValueError(f"not XML: {type(error).__name__}") from error
    return root


def app_message(plain: bytes, *, corp_id: str) -> Message | None:
    """The message in an app's decrypted callback; None for what nobody waits to have answered."""
    try:
        root = xml_root(plain)
    except ValueError as error:
        raise Refused(f"wecom: the opened callback is {error}") from None

    def text(path: str) -> str:
        return (root.findtext(path) or "").strip()

    user, type_, at = text("FromUserName"), text("MsgType").lower(), text("CreateTime")
    if user == "sys" and (text("Event"), text("ChangeType")) == ("change_contact", "delete_user") and text("UserID"):
        return _left(text, corp_id)
    if not user or user == "sys":
        return None
    id_ = text("MsgId")
    common: dict[str, Any] = {
        "platform": "wecom",
        "channel": "app",
        "conversation": user,
        "sender": user,
        "tenant": corp_id or text("ToUserName"),
        "locale": LOCALE,
        **_time(at),
    }
    if type_ == "event":
        return _app_event(root, text, common)
    if not id_:
        id_ = ":".join((user, at, type_))
    common |= {"dedup_id": id_, "event_id": id_, "message_id": id_}
    media, format_ = text("MediaId"), text("Format")
    match type_:
        case "text":
            return Message(kind="text", text=(root.findtext("Content") or "").strip(), **common)
        case "image":
            return Message(kind="image", file_key=media or text("PicUrl"), **common)
        case "voice":
            return Message(kind="file", file_key=media, file_name=f"voice.{format_ or 'amr'}", **common)
        case "video":
            return Message(kind="file", file_key=media, file_name="video.mp4", **common)
        case "file":
            return Message(kind="file", file_key=media, file_name=text("FileName") or text("Title"), **common)
        case "link":
            return Message(kind="rich_text", text=_lines(text("Title"), text("Description"), text("Url")), **common)
        case "location":
            place = _lines(text("Label"), f"{text('Location_X')}, {text('Location_Y')}")
            return Message(kind="other", text=place, **common)
        case _:
            return Message(kind="other", **common)


def _left(text: Any, corp_id: str) -> Message:
    """Somebody has left. Source: developer.work.weixin.qq.com/document/path/90970."""
    who = text("UserID")
    id_ = ":".join((who, text("CreateTime"), "delete_user"))
    return Message(
        kind="other",
        platform="wecom",
        channel="app",
        conversation=who,
        sender=who,
        dedup_id=id_,
        event_id=id_,
        tenant=corp_id or text("ToUserName"),
        action_key=PERSON_LEFT,
        sent_at=_time(text("CreateTime")).get("sent_at", 0),
    )


_APP_EVENTS: Final[Mapping[str, Kind]] = {
    "click": "menu",
    "view": "menu",
    "enter_agent": "entered",
    "subscribe": "bot_added",
    "unsubscribe": "bot_removed",
    "template_card_event": "card_action",
}


def _app_event(root: Element, text: Any, common: dict[str, Any]) -> Message | None:
    event = text("Event").lower()
    key, task = text("EventKey"), text("TaskId")
    if event == "location":  # a periodic report of where the person is, nobody's question
        return None
    id_ = ":".join((common["sender"], text("CreateTime"), event, key, *([task] if task else [])))
    common |= {"dedup_id": id_, "event_id": id_}
    kind = _APP_EVENTS.get(event, "other")
    if kind == "menu":
        return Message(kind=kind, menu_key=key, **common)
    if kind == "card_action":
        selected: dict[str, JSON] = {
            item.findtext("QuestionKey") or "": [o.text or "" for o in item.iterfind("OptionIds/OptionId")]
            for item in root.iterfind("SelectedItems/SelectedItem")
        }
        return _clicked(key, task, selected, common, {"response_code": text("ResponseCode")})
    return Message(kind=kind, action_key=event if kind == "other" else "", **common)


def _clicked(key: str, task: str, selected: dict[str, JSON], common: dict[str, Any], address: dict[str, str]) -> Message:
    name, value = read_button_key(key)
    if selected:
        value = {**value, **selected} if isinstance(value, dict) else selected
    common["address"] = {**common.get("address", {}), **{k: v for k, v in address.items() if v}}
    return Message(kind="card_action", action_key=name, action_value=value, **(common | {"message_id": task}))


# --- bot: JSON ---------------------------------------------------------------------------------


def json_object(data: bytes | str) -> Object:
    """The JSON object in `data`; raises ValueError for anything else."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("JSON, but no object")
    return found


def bot_message(data: Object, *, bot_name: str, bot_id: str, corp_id: str, signed_at: str) -> Message | None:
    """The message in a bot's decrypted callback; None for what nobody waits to have answered."""
    sender, type_ = text_at(data, "from", "userid"), text_at(data, "msgtype").lower()
    if not sender or sender in ("sys", bot_id):
        return None
    chat = text_at(data, "chatid")
    direct = text_at(data, "chattype") == "single" or (text_at(data, "chattype") != "group" and not chat)
    created = data.get("create_time")
    at = _time(str(created)) if isinstance(created, int | str) else {}
    id_ = text_at(data, "msgid")
    url = text_at(data, "response_url")
    common: dict[str, Any] = {
        "platform": "wecom",
        "channel": "bot",
        "conversation": chat or sender,
        "sender": sender,
        "tenant": corp_id or text_at(data, "from", "corpid"),
        "direct": direct,
        "locale": LOCALE,
        "quoted": _quoted(object_at(data, "quote")),
        "address": {"response_url": url} if url else {},
        # Without a time of its own a repeat of the message carries another signature time: our own table has to tell.
        **(at or {**_time(signed_at), "untimed": True}),
    }
    if type_ == "event":
        return _bot_event(object_at(data, "event"), id_, str(created or signed_at), common)
    if type_ == "stream":
        stream = text_at(data, "stream", "id")
        id_ = id_ or f"{stream}:{signed_at}"
        return Message(kind="stream_refresh", dedup_id=id_, event_id=id_, message_id=stream, **common) if stream else None
    id_ = id_ or ":".join((sender, str(created or signed_at), type_))
    common |= {"dedup_id": id_, "event_id": id_, "message_id": id_}

    def spoken(text: str) -> str:
        return text.strip() if direct else without_mention(text, bot_name)

    match type_:
        case "text":
            return Message(kind="text", text=spoken(text_at(data, "text", "content")), **common)
        case "voice":
            return Message(kind="text", text=spoken(text_at(data, "voice", "content")), **common)
        case "image":
            return Message(kind="image", file_key=text_at(data, "image", "url"), **common)
        case "file" | "video":
            return Message(kind="file", file_key=text_at(data, type_, "url"), file_name=_file_name(data, type_), **common)
        case "mixed":
            items = objects_at(object_at(data, "mixed"), "msg_item")
            image = next((u for i in items if (u := text_at(i, "image", "url"))), "")
            return Message(kind="rich_text", text=spoken(_mixed_text(items)), file_key=image, **common)
        case _:
            return Message(kind="other", **common)


def _bot_event(event: Object, id_: str, at: str, common: dict[str, Any]) -> Message:
    type_ = text_at(event, "eventtype")
    data = object_at(event, type_) or event  # nested as documented, flat as in the vendor's own types
    key, task = text_at(data, "event_key"), text_at(data, "task_id")
    id_ = id_ or ":".join((common["sender"], at, type_, key, *([task] if task else [])))
    common |= {"dedup_id": id_, "event_id": id_}
    if type_ == "enter_chat":
        return Message(kind="entered", **common)
    if type_ == "template_card_event":
        selected: dict[str, JSON] = {
            text_at(item, "question_key"): [o for o in list_at(object_at(item, "option_ids"), "option_id") if isinstance(o, str)]
            for item in objects_at(object_at(data, "selected_items"), "selected_item")
        }
        return _clicked(key, task, selected, common, {})
    if type_ == "feedback_event":
        opinion: dict[str, JSON] = {
            k: v for k, v in data.items() if isinstance(v, str | int | float | bool) and k not in ("eventtype",)
        }
        about = text_at(data, "id")
        return Message(kind="other", action_key="feedback", action_value=opinion, **(common | {"message_id": about}))
    return Message(kind="other", action_key=type_, **common)


def _mixed_text(items: Iterable[Object]) -> str:
    return "\n".join(t for i in items if (t := text_at(i, "text", "content").strip()))


def _quoted(quote: Object) -> str:
    type_ = text_at(quote, "msgtype")
    if type_ == "mixed":
        return _mixed_text(objects_at(object_at(quote, "mixed"), "msg_item"))
    return text_at(quote, type_, "content").strip() if type_ in ("text", "voice") else ""


def _file_name(data: Object, type_: str) -> str:
    return text_at(data, type_, "filename") or text_at(data, type_, "file_name")


# --- reading what may be anything --------------------------------------------------------------


def _lines(*texts: str) -> str:
    return "\n".join(t for t in texts if t.strip(" ,"))


def _time(seconds: str) -> dict[str, int]:
    """`sent_at` out of Unix seconds; nothing where they are none."""
    return {"sent_at": int(seconds) * 1000} if re.fullmatch(r"[1-9]\d{0,11}", seconds, re.ASCII) else {}
