"""A reply as Feishu shows it: plain text where it has no markup, else a card (JSON 2.0), in parts where it is long.

Sources: open.feishu.cn/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/card-json-v2-components/content-components/rich-text ·
open.feishu.cn/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/card-json-v2-structure
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from assistant.messages import Button, Message, Reply
from assistant.platforms.feishu_events import ACTION_KEY, ACTION_PLACE, ACTION_VALUE
from assistant.platforms.markdown import PLAIN, Dialect, body, parts, render, to_plain, utf8

ELEMENT: Final = "answer"
"""Id of the element that grows."""

_LARGEST: Final = 28_000
"""Bytes of a card or text; Feishu takes 30 KB."""

_TABLES: Final = 5
"""More tables than these are not shown in one card."""

_RULE: Final = re.compile(r"(?m)^(?=[^\n]*\|)[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+$")
_AT: Final = re.compile(r"<at id=[\w-]+></at>\s*")
_ENTITY: Final = re.compile(r"&(?=#?\w+;)")
_SPECIAL: Final = re.compile(r"[\\`*_\[\]<>~|$]")
_START: Final = re.compile(r"(?m)^(\s*)([-+#=]|\d+(?=[.)]))")


def escape(text: str) -> str:
    """`text` so that a card shows it letter for letter: Feishu's markdown reads tags, so that entities must stand for them."""
    text = _SPECIAL.sub(lambda m: f"&#{ord(m[0])};", _ENTITY.sub("&#38;", text))
    return _START.sub(lambda m: m[1] + (f"{m[2]}&#8203;" if m[2].isdigit() else f"&#{ord(m[2])};"), text)


DIALECT: Final = Dialect(image=lambda alt, url: f"[{alt or '&#128279;'}]({url})", escape=escape)
"""Pictures come by key only, so that one on the web becomes a link."""

_ROWS: Final = replace(DIALECT, table="rows")


@dataclass(frozen=True, slots=True)
class Part:
    """One message: its `msg_type` and `content` as the send call takes them, and the same as plain text for a refused card."""

    kind: str
    content: str
    plain: str


def message_parts(reply: Reply, *, to: Message, mention: str = "") -> list[Part]:
    """`reply` as messages; the first one names `mention` (an open_id), the last one carries the buttons."""
    pieces = pieces_of(reply)
    return [
        part_of(
            piece,
            buttons=reply.buttons if n == len(pieces) else (),
            to=to,
            mention=mention if n == 1 else "",
        )
        for n, piece in enumerate(pieces, 1)
    ]


def pieces_of(reply: Reply) -> list[str]:
    """The reply's Markdown in pieces that each fit one card."""
    markdown = body(reply)
    for limit in (20_000, 12_000, 6_000, 2_500):
        pieces = parts(markdown, limit=limit, measure=utf8)
        if all(len(json.dumps(shown(p), ensure_ascii=False).encode("utf-8", "replace")) <= _LARGEST for p in pieces):
            break
    return pieces


def shown(markdown: str) -> str:
    """`markdown` in Feishu's dialect."""
    many = len(_RULE.findall(markdown)) > _TABLES
    return render(markdown, _ROWS if many else DIALECT)


def part_of(piece: str, *, buttons: Sequence[Button], to: Message, mention: str) -> Part:
    """One message for one piece of Markdown."""
    plain = _harmless(to_plain(piece))
    named = f'<at user_id="{mention}"></at> {plain}' if mention else plain
    text = _json({"text": named})
    if not buttons and _is_plain(piece):
        return Part("text", text, text)
    at = f"<at id={mention}></at>\n" if mention else ""
    choices = "".join(f"\n[{b.text}]" for b in buttons)
    return Part(
        "interactive", _json(card(at + shown(piece), buttons=buttons, to=to)), _json({"text": named + _harmless(choices)})
    )


def card(content: str, *, buttons: Sequence[Button] = (), to: Message, streaming: bool = False) -> dict[str, Any]:
    """A card of JSON 2.0 with one text and its buttons (dict: it goes to the wire as JSON)."""
    elements: list[dict[str, Any]] = [{"tag": "markdown", "element_id": ELEMENT, "content": content or " "}]
    drawn = [button(b, to=to) for b in buttons]
    if len(drawn) == 1:
        elements += drawn
    elif drawn:
        columns = [{"tag": "column", "width": "auto", "elements": [b]} for b in drawn]
        elements.append({"tag": "column_set", "flex_mode": "flow", "columns": columns})
    config: dict[str, Any] = {"update_multi": True, "streaming_mode": streaming}
    if not streaming:
        config["summary"] = {"content": summary(content)}
    return {"schema": "2.0", "config": config, "body": {"elements": elements}}


def button(choice: Button, *, to: Message) -> dict[str, Any]:
    """A button whose click comes back with its key, its value, and where it stands."""
    place = {"chat_type": to.address.get("chat_type", ""), "thread": to.thread}
    value = {ACTION_KEY: choice.key, ACTION_VALUE: choice.value, ACTION_PLACE: place}
    return {
        "tag": "button",
        "text": {"tag": "plain_text", "content": choice.text[:100] or choice.key},
        "type": choice.style,
        "behaviors": [{"type": "callback", "value": value}],
    }


def summary(content: str) -> str:
    """The line under the chat's name in the list of chats."""
    return " ".join(to_plain(_AT.sub("", content)).split())[:80]


def _is_plain(markdown: str) -> bool:
    """Whether the text shows the same without any markup."""
    return render(markdown, PLAIN).strip() == markdown.strip() and "<" not in markdown


def _harmless(text: str) -> str:
    """`text` without a tag that would call people: in text messages `<at …>` works wherever it stands."""
    return re.sub(r"<(?=/?\s*at\b)", "<\u200b", text, flags=re.IGNORECASE)


def _json(data: Mapping[str, Any]) -> str:
    """The JSON string that `content` is; a lone surrogate becomes U+FFFD."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()
