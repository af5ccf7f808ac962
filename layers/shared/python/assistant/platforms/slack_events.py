"""What Slack's webhooks say, in the house's words. Called only with what a signature has proven."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from assistant.errors import Refused
from assistant.messages import JSON, PERSON_LEFT, HttpReply, Kind, Message, Received
from assistant.platforms.wire import Object, json_object, object_at, objects_at, text_at

logger = logging.getLogger(__name__)

SAID: Final = frozenset({"", "file_share", "thread_broadcast", "me_message"})
"""Subtypes of a message that a person wrote."""

SLACKBOT: Final = "USLACKBOT"

REPEATED: Final = "~~"
"""Stands between a button's key and its number where one message has several buttons with the same key."""

WORKSPACE: Final = "workspace"
"""In a message's address: the id of the further workspace whose token it is answered with; absent in the secret's own."""

INSTALLATION_ENDED: Final = "installation_ended"
"""`action_key` of the event that says that the app, or its bot's token, is gone from a workspace."""


class Own(NamedTuple):
    """By what the assistant recognises itself."""

    users: frozenset[str]
    bot_id: str = ""


NOBODY: Final = Own(frozenset())


def form(body: bytes) -> dict[str, str]:
    """The fields of a form body, the first value of each; raises Refused for what is none."""
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=200, errors="strict")
    except ValueError:
        raise Refused("slack: the body is not a form in UTF-8") from None
    return {name: values[0] for name, values in fields.items()}


def read(channel: str, body: bytes) -> Object:
    """What the body of a request to `channel` holds: JSON, JSON in a form, or a form. Raises Refused for anything else."""
    if channel == "events":
        return json_object(body, "slack: the body")
    fields = form(body)
    if channel == "commands":
        return fields
    if "payload" not in fields:
        raise Refused("slack: the form has no field 'payload'")
    return json_object(fields["payload"], "slack: the field 'payload'")


def milliseconds(ts: str) -> int:
    """A Slack timestamp ("1700000000.000100") in ms; 0 for what is none."""
    return int(ts.partition(".")[0]) * 1000 + int(ts.partition(".")[2][:3] or 0) if _TS.fullmatch(ts) else 0


_TS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?", re.ASCII)


# --- text --------------------------------------------------------------------------------------

_TOKEN = re.compile(r"<([^<>]*)>")
_ENTITY = re.compile(r"&(amp|lt|gt);")
_LETTERS: Final = {"amp": "&", "lt": "<", "gt": ">"}


def readable(text: str, own: Iterable[str] = ()) -> str:
    """Slack's mrkdwn as a person reads it: mentions of `own` removed, the others, links and escapes spelled out."""
    if "<" not in text and "&" not in text:
        return text.strip()
    for user in own:
        text = re.sub(rf"([ \u00a0]?)<@{re.escape(user)}(?:\|[^<>]*)?>([ \u00a0]?)", _gap, text)
    shown, at = "", 0
    for token in _TOKEN.finditer(text):
        shown += _unescape(text[at : token.start()]) + _token(token[1])
        at = token.end()
    return (shown + _unescape(text[at:])).strip()


def _gap(mention: re.Match[str]) -> str:
    return " " if mention[1] and mention[2] else ""


def _unescape(text: str) -> str:
    return _ENTITY.sub(lambda found: _LETTERS[found[1]], text)


def _token(inside: str) -> str:
    target, _, label = inside.partition("|")
    target, label = _unescape(target), _unescape(label)
    match target[:1]:
        case "@":
            return f"@{label.lstrip('@') or target[1:]}"
        case "#":
            return f"#{label or target[1:]}"
        case "!":
            command = target[1:].partition("^")[0]
            return label or (f"@{command}" if command in ("here", "channel", "everyone") else target[1:])
    bare = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label in (bare, target, target.partition("://")[2]):
        return bare
    return f"{label} ({bare})"


_PERSON: Final = re.compile(r"<@([UW][A-Z0-9]+)(?:\|([^<>]*))?>")


def people_in(text: str, own: Iterable[str]) -> dict[str, str]:
    """Ids of the people whom `text` names, apart from `own`, by the names that `readable` shows."""
    if "<@" not in text:
        return {}
    return {_unescape(label).lstrip("@") or user: user for user, label in _PERSON.findall(text) if user not in set(own)}


def mentions(text: str, own: Iterable[str]) -> bool:
    """True where `text` names one of `own`."""
    return any(re.search(rf"<@{re.escape(user)}(\|[^<>]*)?>", text) for user in own)


# --- which workspace ---------------------------------------------------------------------------


class About(NamedTuple):
    """Which workspaces and organisations a request names as those for which the app got it."""

    teams: tuple[str, ...]
    ends: bool = False
    """True where the request says that the app is gone from there."""


NOWHERE: Final = About(())


def told_of(channel: str, data: Object) -> About:
    """Which workspaces the request is for, the likeliest first: in a channel shared with another company they are several."""
    if channel == "events":
        given = objects_at(data, "authorizations")  # for whom the app was sent it; the rest may be the writer's own company
        kind = text_at(data, "event", "type")
        named = [
            *(text_at(a, "enterprise_id") for a in given if a.get("is_enterprise_install") is True),
            *(text_at(a, "team_id") for a in given),
            text_at(data, "team_id"),
            text_at(data, "enterprise_id"),
        ]
        return About(_some(named), kind in ("app_uninstalled", "tokens_revoked"))
    if channel == "commands":
        whole, team = data.get("enterprise_id", ""), data.get("team_id", "")
        return About(_some([whole, team] if data.get("is_enterprise_install") == "true" else [team, whole]))
    shown, whole = object_at(data, "message"), text_at(data, "enterprise", "id")
    named = [
        whole if data.get("is_enterprise_install") is True else "",
        # Whose bot wrote the message, or opened the form: a person of another company may press its button.
        text_at(shown, "bot_profile", "team_id"),
        text_at(shown, "team") if shown.get("bot_id") else "",
        text_at(data, "view", "app_installed_team_id"),
        text_at(data, "team", "id"),
        text_at(data, "user", "team_id"),
        whole,
    ]
    return About(_some(named))


def _some(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(i for i in ids if i))


# --- events ------------------------------------------------------------------------------------


def from_events(envelope: Object, own: Own) -> Received:
    """What a request to the events address amounts to."""
    match envelope.get("type"):
        case "url_verification":
            challenge = envelope.get("challenge")
            if not isinstance(challenge, str):
                raise Refused("slack: url_verification without a challenge")
            return Received(reply=HttpReply(200, json.dumps({"challenge": challenge})), challenge=True)
        case "event_callback":
            if not isinstance(envelope.get("event"), dict):
                raise Refused("slack: event_callback without an event")
            return Received(tuple(_event(envelope, envelope["event"], own)))
        case "app_rate_limited":
            logger.warning("slack sends no events this minute: more than 30,000 in an hour")
    return Received()


def own_users(envelope: Object) -> frozenset[str]:
    """The bot users that an event was delivered for."""
    return frozenset(
        user for a in objects_at(envelope, "authorizations") if a.get("is_bot") is not False and (user := text_at(a, "user_id"))
    )


def _event(envelope: Object, event: Object, own: Own) -> Iterator[Message]:
    own = own._replace(users=own.users | own_users(envelope))
    kind = text_at(event, "type")
    if kind in ("message", "app_mention"):
        yield from _message(envelope, event, own)
        return
    channel, user = text_at(event, "channel"), text_at(event, "user")
    make = _maker(envelope, event)
    if kind == "member_joined_channel" and user in own.users and channel:
        yield make("bot_added", channel, text_at(event, "inviter") or user)
    elif kind == "member_left_channel" and user in own.users and channel:
        yield make("bot_removed", channel, user)
    elif kind in ("channel_left", "group_left") and channel:
        yield make("bot_removed", channel, text_at(event, "actor_id") or user)
    elif kind == "app_home_opened" and event.get("tab") == "messages" and channel and user:
        yield make("entered", channel, user)
    elif kind == "app_uninstalled" or (kind == "tokens_revoked" and _lost(event, own)):
        team = text_at(envelope, "team_id") or text_at(envelope, "enterprise_id")
        yield make("other", team, team, action_key=INSTALLATION_ENDED)
    elif kind == "user_change" and (gone := object_at(event, "user")).get("deleted") is True and text_at(gone, "id"):
        yield make("other", text_at(gone, "id"), text_at(gone, "id"), direct=True, action_key=PERSON_LEFT)
    elif kind == "assistant_thread_started":
        thread = object_at(event, "assistant_thread")
        channel, user, root = text_at(thread, "channel_id"), text_at(thread, "user_id"), text_at(thread, "thread_ts")
        if channel and user:
            yield make("entered", channel, user, thread=root, address=_address(thread_ts=root))


def _lost(event: Object, own: Own) -> bool:
    """Whether the bot's own token is among those that were revoked; people's tokens are no business of the installation."""
    bots = object_at(event, "tokens").get("bot")
    return isinstance(bots, list) and any(bot in own.users for bot in bots)


def _maker(envelope: Object, event: Object) -> Callable[..., Message]:
    event_id = text_at(envelope, "event_id")
    stamp = text_at(event, "event_ts") or str(envelope.get("event_time") or "")

    def make(kind: Kind, channel: str, sender: str, **more: Any) -> Message:  # fields of Message, checked by its constructor
        return Message(
            **{
                "kind": kind,
                "platform": "slack",
                "channel": "events",
                "conversation": channel,
                "sender": sender,
                "event_id": event_id,
                "dedup_id": event_id or f"{channel}:{kind}:{stamp}",
                "tenant": text_at(envelope, "team_id") or text_at(envelope, "enterprise_id"),
                "direct": channel.startswith("D"),
                "sent_at": milliseconds(stamp),
                **more,
            }
        )

    return make


def _address(**known: str) -> dict[str, str]:
    return {name: value for name, value in known.items() if value}


def _message(envelope: Object, event: Object, own: Own) -> Iterator[Message]:
    match text_at(event, "subtype"):
        case "message_changed":
            yield from _changed(envelope, event, own)
        case "message_deleted":
            yield from _deleted(envelope, event, own)
        case subtype if subtype in SAID and not event.get("hidden"):
            yield from _said(envelope, event, own)


def _from_person(message: Object, own: Own) -> bool:
    user = text_at(message, "user")
    return (
        bool(user) and user not in own.users and user != SLACKBOT and not message.get("bot_id") and not message.get("bot_profile")
    )


def _is_direct(event: Object) -> bool:
    kind = event.get("channel_type")
    return kind == "im" if kind else text_at(event, "channel").startswith("D")


def _said(envelope: Object, event: Object, own: Own) -> Iterator[Message]:
    channel, ts, raw = text_at(event, "channel"), text_at(event, "ts"), text_at(event, "text")
    direct = _is_direct(event)
    asked = direct or event.get("type") == "app_mention" or mentions(raw, own.users)
    if not (channel and ts and asked and _from_person(event, own)):
        return
    root = text_at(event, "thread_ts")
    files = objects_at(event, "files")
    kind: Kind = "text"
    if files:
        kind = "image" if text_at(files[0], "mimetype").startswith("image/") else "file"
    yield _maker(envelope, event)(
        kind,
        channel,
        text_at(event, "user"),
        text=readable(raw, own.users),
        mentions=people_in(raw, own.users),
        message_id=ts,
        dedup_id=f"{channel}:{ts}",
        direct=direct,
        thread=root if direct else root or ts,
        sent_at=milliseconds(ts),
        quoted="\n\n".join(
            readable(text_at(a, "text")) for a in objects_at(event, "attachments") if a.get("is_msg_unfurl") or a.get("is_share")
        ),
        reply_to=root if root != ts else "",
        **_file(files),
        address=_address(
            thread_ts=root if direct else root or ts,
            user_team=text_at(event, "user_team") or text_at(event, "team"),
            **_file_facts(files),
        ),
    )


def _file(files: list[Object]) -> dict[str, str]:
    if not files:
        return {}
    first = files[0]
    # Files of other organisations come without an address: their id is looked up when they are fetched.
    key = text_at(first, "url_private_download") or text_at(first, "url_private") or text_at(first, "id")
    return {"file_key": key, "file_name": text_at(first, "name") or text_at(first, "title")}


def _file_facts(files: list[Object]) -> dict[str, str]:
    if not files:
        return {}
    more = [
        {"key": file["file_key"], "name": file["file_name"], "file_id": text_at(one, "id"), "mimetype": text_at(one, "mimetype")}
        for one, file in ((one, _file([one])) for one in files[1:])
    ]
    return {
        "file_id": text_at(files[0], "id"),
        "mimetype": text_at(files[0], "mimetype"),
        "more_files": json.dumps(more, ensure_ascii=False) if more else "",
    }


def _changed(envelope: Object, event: Object, own: Own) -> Iterator[Message]:
    now, before = object_at(event, "message"), object_at(event, "previous_message")
    channel, ts = text_at(event, "channel"), text_at(now, "ts")
    if now.get("subtype") == "tombstone":  # a deleted message whose thread stays
        yield from _deleted(envelope, {**event, "deleted_ts": ts}, own)
        return
    raw, old = text_at(now, "text"), text_at(before, "text")
    unchanged = bool(before) and raw == old  # a preview was added, or a reply counted
    asked = _is_direct(event) or mentions(raw, own.users) or mentions(old, own.users)
    if not (channel and ts and asked) or unchanged or text_at(now, "subtype") not in SAID or not _from_person(now, own):
        return
    root, direct = text_at(now, "thread_ts"), _is_direct(event)
    stamp = text_at(now, "edited", "ts") or text_at(event, "event_ts") or text_at(event, "ts")
    yield _maker(envelope, event)(
        "edited",
        channel,
        text_at(now, "user"),
        text=readable(raw, own.users),
        message_id=ts,
        dedup_id=f"{channel}:{ts}:edited:{stamp}",
        direct=direct,
        thread=root if direct else root or ts,
        address=_address(thread_ts=root if direct else root or ts),
    )


def _deleted(envelope: Object, event: Object, own: Own) -> Iterator[Message]:
    before = object_at(event, "previous_message")
    channel, ts = text_at(event, "channel"), text_at(event, "deleted_ts") or text_at(before, "ts")
    direct = _is_direct(event)
    if not (channel and ts):
        return
    if before and not (_from_person(before, own) and (direct or mentions(text_at(before, "text"), own.users))):
        return
    root = text_at(before, "thread_ts")
    yield _maker(envelope, event)(
        "recalled",
        channel,
        text_at(before, "user"),
        message_id=ts,
        dedup_id=f"{channel}:{ts}:deleted",
        direct=direct,
        thread=root if direct else root or ts,
        address=_address(thread_ts=root if direct else root or ts),
    )


# --- buttons, shortcuts, forms -----------------------------------------------------------------


def from_interactive(payload: Object) -> Received:
    """What a request to the interactivity address amounts to."""
    match payload.get("type"):
        case "block_actions":
            return Received(tuple(_clicks(payload)))
        case "view_submission":
            return Received(tuple(_submitted(payload)))
        case "shortcut" | "message_action":
            return Received(tuple(_shortcut(payload)))
        case "block_suggestion":
            return Received(reply=HttpReply(200, '{"options":[]}'))
    return Received()


def _common(payload: Object) -> dict[str, Any]:
    user = object_at(payload, "user")
    team = text_at(payload, "team", "id") or text_at(payload, "enterprise", "id") or text_at(user, "team_id")
    return {
        "platform": "slack",
        "channel": "interactive",
        "sender": text_at(user, "id"),
        "sender_name": text_at(user, "username") or text_at(user, "name"),
        "tenant": team,
        "event_id": text_at(payload, "trigger_id"),
    }


def _clicks(payload: Object) -> Iterator[Message]:
    common = _common(payload)
    container, shown = object_at(payload, "container"), object_at(payload, "message")
    # A click in the app's home or in a dialog stands in no channel: the answer goes to the person.
    place = text_at(payload, "channel", "id") or text_at(container, "channel_id") or common["sender"]
    ts = text_at(shown, "ts") or text_at(container, "message_ts")
    direct = not place.startswith(("C", "G"))
    root = text_at(shown, "thread_ts") or text_at(container, "thread_ts")
    actions = objects_at(payload, "actions")
    for number, action in enumerate(actions):
        key, stamp = text_at(action, "action_id"), text_at(action, "action_ts")
        once = common["event_id"] or f"{place}:{ts}:{key}:{stamp}"
        if not (common["sender"] and key):
            continue
        yield Message(
            kind="card_action",
            conversation=place,
            message_id=ts,
            dedup_id=once if number == 0 else f"{once}:{number}",
            action_key=re.sub(rf"{REPEATED}[0-9]+$", "", key),
            action_value=_chosen(action),
            direct=direct,
            thread=root if direct else root or ts,
            sent_at=milliseconds(stamp),
            address=_address(
                thread_ts=root if direct else root or ts,
                response_url=text_at(payload, "response_url"),
                ephemeral="1" if container.get("is_ephemeral") is True else "",
                user_team=text_at(payload, "user", "team_id"),
            ),
            **common,
        )


_CHOICES: Final = (
    "value", "selected_date", "selected_time", "selected_date_time", "selected_user", "selected_users", "selected_channel",
    "selected_channels", "selected_conversation", "selected_conversations", "rich_text_value",
)  # fmt: skip


def _chosen(action: Object) -> JSON:
    """What was chosen: the value of a button or an option, decoded where it is JSON; a date; ids; a written text."""
    if option := object_at(action, "selected_option"):
        return _decoded(option.get("value"))
    if isinstance(action.get("selected_options"), list):
        return [_decoded(option.get("value")) for option in objects_at(action, "selected_options")]
    value: JSON = next((action[name] for name in _CHOICES if action.get(name) is not None), None)
    return value if "input" in text_at(action, "type") else _decoded(value)


def _decoded(value: Any) -> JSON:
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]  # part of decoded JSON
    try:
        decoded: JSON = json.loads(value, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return value
    # A version such as "1.10" or an endless "1e999" is no number: it would not come out as it was written.
    return value if isinstance(decoded, float) and json.dumps(decoded) != value else decoded


def _no_json(word: str) -> JSON:
    raise ValueError(f"{word} is no JSON")


def _submitted(payload: Object) -> Iterator[Message]:
    common, view = _common(payload), object_at(payload, "view")
    values = object_at(object_at(view, "state"), "values")
    key = text_at(view, "callback_id") or text_at(view, "external_id")
    if not (common["sender"] and key):
        return
    yield Message(
        kind="card_action",
        conversation=common["sender"],
        message_id=text_at(view, "id"),
        dedup_id=common["event_id"] or f"{text_at(view, 'id')}:{text_at(view, 'hash')}",
        action_key=key,
        action_value={
            name: _chosen(field)
            for block in values.values()
            if isinstance(block, dict)
            for name, field in block.items()
            if isinstance(field, dict)
        },
        **common,
    )


def _shortcut(payload: Object) -> Iterator[Message]:
    common, about = _common(payload), object_at(payload, "message")
    place = text_at(payload, "channel", "id") or common["sender"]
    ts = text_at(about, "ts") or text_at(payload, "message_ts")
    key, root = text_at(payload, "callback_id"), text_at(about, "thread_ts")
    if not (common["sender"] and key):
        return
    direct = not place.startswith(("C", "G"))
    yield Message(
        kind="menu",
        conversation=place,
        message_id=ts,
        dedup_id=common["event_id"] or f"{place}:{key}:{text_at(payload, 'action_ts')}",
        menu_key=key,
        quoted=readable(text_at(about, "text")),
        direct=direct,
        thread=root if direct else root or ts,
        sent_at=milliseconds(text_at(payload, "action_ts")),
        address=_address(thread_ts=root if direct else root or ts, response_url=text_at(payload, "response_url")),
        **common,
    )


# --- commands ----------------------------------------------------------------------------------


def from_command(fields: Object, own: Own = NOBODY) -> Received:
    """What a request to the commands address amounts to."""
    command, user, channel = fields.get("command", ""), fields.get("user_id", ""), fields.get("channel_id", "")
    if not (command and user and channel):
        raise Refused("slack: the form lacks one of the fields 'command', 'user_id', 'channel_id'")
    trigger = fields.get("trigger_id", "")
    return Received(
        (
            Message(
                kind="slash",
                platform="slack",
                channel="commands",
                conversation=channel,
                sender=user,
                sender_name=fields.get("user_name", ""),
                text=readable(fields.get("text", ""), own.users),
                menu_key=command,
                event_id=trigger,
                dedup_id=trigger or f"{channel}:{user}:{fields.get('response_url', '')}",
                tenant=fields.get("team_id", "") or fields.get("enterprise_id", ""),
                direct=channel.startswith("D"),
                address=_address(response_url=fields.get("response_url", ""), user_team=fields.get("team_id", "")),
            ),
        ),
        HttpReply(200, "", content_type="text/plain"),
    )
