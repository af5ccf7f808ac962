"""A reply as DingTalk shows it: text where it has no markup, else its Markdown, in parts where it is long; card texts.

Sources: open.dingtalk.com/document/development/robot-message-type · …/message-types-supported-by-enterprise-internal-robots
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from assistant.messages import Button, Reply
from assistant.platforms.dingtalk_events import ACTION_KEY, ACTION_VALUE
from assistant.platforms.markdown import PLAIN, Dialect, body, escape_markdown, parts, render, to_plain, utf8

_LONGEST: Final = 14_500
"""Bytes of a message's parameters; DingTalk takes 15 000."""

CARD: Final = 3_000
"""Bytes of text in a card; for more, DingTalk advises messages."""

_PARAMETER: Final = 1_000
"""Bytes of one card parameter; DingTalk takes 1 KB."""

DIALECT: Final = Dialect(
    strike=("", ""),  # DingTalk shows the tildes
    table="rows",
    soft_break="  \n",
    hard_break="  \n",
    escape=lambda text: text.replace("<", "&lt;"),
)
"""What all DingTalk clients draw: no tables, no strike-through, and a line ends only after two blanks."""


def pieces_of(reply: Reply) -> list[str]:
    """The reply's Markdown, its choices listed where it has buttons, in pieces that each fit one message."""
    choices = "".join(f"\n- {escape_markdown(b.text)}" for b in reply.buttons)
    markdown = body(reply) + (f"\n{choices}" if choices else "")
    for limit in (10_000, 6_000, 3_000, 1_200):
        pieces = parts(markdown, limit=limit, measure=utf8)
        if all(len(robot_body(p)["msgParam"].encode()) <= _LONGEST for p in pieces):
            break
    return pieces


def robot_body(piece: str) -> dict[str, str]:
    """`msgKey` and `msgParam` of the robot's send calls."""
    if _is_plain(piece):
        return robot_parameters("sampleText", {"content": piece.strip()})
    return robot_parameters("sampleMarkdown", {"title": title(piece), "text": shown(piece)})


def robot_parameters(kind: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """A message of type `kind`; its parameters are a JSON string."""
    return {"msgKey": kind, "msgParam": _json(parameters)}


def webhook_body(piece: str, *, mention: str) -> dict[str, Any]:
    """What the reply address takes; `mention` (a staff id) has to stand in the text to be called."""
    at = {"at": {"atUserIds": [mention], "isAtAll": False}} if mention else {}
    if _is_plain(piece):
        return {"msgtype": "text", "text": {"content": _clean(f"@{mention} {piece}" if mention else piece)}} | at
    text = f"@{mention}  \n{shown(piece)}" if mention else shown(piece)
    return {"msgtype": "markdown", "markdown": {"title": title(piece), "text": _clean(text)}} | at


def shown(markdown: str) -> str:
    """`markdown` in DingTalk's dialect."""
    return render(markdown, DIALECT)


def title(markdown: str) -> str:
    """The line that stands in the list of chats."""
    return _clean(" ".join(to_plain(markdown).split())[:40] or "…")


def card_pieces(reply: Reply) -> tuple[str, str]:
    """The text for the card, and as Markdown what follows in messages ("" where all fits)."""
    markdown = body(reply)
    whole = shown(markdown)
    if utf8(whole) <= CARD:
        return _clean(whole), ""
    pieces = parts(markdown, limit=CARD - 600, measure=utf8)
    head, rest = pieces[0], "\n\n".join(_unnumbered(p) for p in pieces[1:])
    return _clean(_cut(shown(_unnumbered(head)), CARD - 8) + "\n\n↓"), rest


def growing(text: str) -> str:
    """The head of a growing text that a card can hold."""
    if utf8(text) <= CARD and utf8(whole := shown(text)) <= CARD:
        return _clean(whole) or " "
    text = text[:CARD]  # each character has a byte or more: the head is in here, and the rest costs no time
    return _clean(_cut(shown(_unnumbered(parts(text, limit=CARD - 600, measure=utf8)[0])), CARD - 8) + "\n\n…")


def button_list(buttons: Sequence[Button]) -> str:
    """The template's parameter `buttons`: a JSON list whose items carry a text and what a click sends back."""
    items = [
        {"text": b.text, "style": b.style, ACTION_KEY: b.key, ACTION_VALUE: json.dumps(b.value, ensure_ascii=False)}
        for b in buttons
    ]
    text = _json(items)
    if utf8(text) > _PARAMETER:
        from assistant.errors import UnsupportedType

        raise UnsupportedType(f"dingtalk: buttons of {utf8(text)} bytes do not fit a card parameter", platform="dingtalk")
    return text


def _unnumbered(piece: str) -> str:
    head, _, rest = piece.partition("\n\n")
    return rest if head.startswith("(") and head.endswith(")") and "/" in head else piece


def _cut(text: str, limit: int) -> str:
    """`text` cut to `limit` bytes between characters; only a dialect that writes much more than its source needs it."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")


def _is_plain(markdown: str) -> bool:
    return render(markdown, PLAIN).strip() == markdown.strip()


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _json(data: Any) -> str:
    """`data` (what JSON can hold) as a JSON string; a lone surrogate becomes U+FFFD."""
    return _clean(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
