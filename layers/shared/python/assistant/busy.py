"""Busy conversations: what is written while an answer is made is collected, and answered together in the next turn.

The queue gives a conversation's messages one after the other. A follow-up that was written before the previous reply was decided
is stored as `waiting`, and a message of kind `collected` is queued behind whatever else has come by then; when that one is taken,
all that waits is answered in one turn. The turn names what it has answered, so a second delivery, or a second such message,
answers nothing twice. Beyond `MOST_WAITING` in a minute the person is told once to write slower; what they wrote is kept and
counted, not answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from assistant.messages import OURS, Message
from assistant.sessions import Session, Turn

MOST_WAITING: Final = 10
"""Follow-ups that may wait where they were written within `FLOOD_MS`."""

FLOOD_MS: Final = 60_000
"""What is written more slowly than this for `MOST_WAITING` messages waits because of us, not because somebody floods us."""

SKEW: Final = 1.0
"""Seconds by which a message must be older than the reply to count as written meanwhile: clocks differ, and what is answered in
a second needs no collecting."""

FLOOD: Final = "flood"
"""`reason` of a turn that was not answered because too many came at once."""

MOST_READ: Final = 200
"""Newest turns among which waiting ones are looked for."""


def verdict(message: Message, session: Session, *, skew: float = SKEW) -> Literal["answer", "wait", "flood", "over"]:
    """What becomes of a new message: it is answered, waits for the others, is told to slow down, or is over the bound."""
    if message.kind not in ("text", "rich_text") or message.file_key or message.text.startswith("/"):
        return "answer"
    ours = [t for t in session.turns if _beside(t, message)]
    before = waiting(session.turns, message)
    meanwhile = [t for t in ours if t.answered > message.sent_at + skew * 1000]
    if not before and not meanwhile:
        return "answer"
    if any(t.reason == FLOOD for t in meanwhile):
        return "over"
    full = len(before) >= MOST_WAITING or (bool(before) and len(before) == len(session.turns) and not session.complete)
    if full and message.sent_at - before[-MOST_WAITING:][0].at < FLOOD_MS:
        return "flood"
    return "wait"  # behind those that wait, so that the order holds


def waiting(turns: Sequence[Turn], message: Message) -> list[Turn]:
    """The sender's questions in this topic that no turn has answered yet, old to new."""
    done = {sk for t in turns if t.state in ("saved", "sent") for sk in t.collects}
    return [t for t in turns if t.state == "waiting" and t.stop != "recalled" and t.sk not in done and _beside(t, message)]


def marker(message: Message) -> Message:
    """What is queued behind all that has come: when it is taken, all that waits is answered."""
    return replace(message, kind="collected", text="", quoted="", proof="", untimed=False)


def collected(asked: Sequence[Turn], message: Message) -> Message:
    """`message`, the marker, with all that was asked, as it was edited last."""
    return replace(message, text="\n".join(t.edited or t.question for t in asked))


def _beside(turn: Turn, message: Message) -> bool:
    if turn.user != message.sender or turn.thread != message.thread:
        return False
    return turn.kind not in OURS or turn.kind == "collected"
