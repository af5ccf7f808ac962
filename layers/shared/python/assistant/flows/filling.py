"""Values out of messages: the answer to a question, whatever else a sentence holds, and a new value for an old one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time

from assistant.flows.forms import Slot, to_plain
from assistant.flows.repairs import corrected
from assistant.messages import JSON
from assistant.slots import Context, Found, Kind, SlotType, Span, find, read
from assistant.slots.numbers import folded

_ORDER: tuple[Kind, ...] = (
    "email", "money", "span", "datetime", "date", "time", "duration", "person", "choice", "integer", "number",
)  # fmt: skip
"""Kinds that a sentence may hold without being asked for; the more telling first, and each takes its words with it."""


def answered(slot: Slot, text: str, kept: str, context: Context) -> tuple[JSON, str, str]:
    """The value that answers the question for `slot` (None: none), the key of what is wrong, the part worth keeping."""
    if slot.ask.find and (found := slot.ask.find(text)):
        return found, "", ""
    for words in [f"{kept} {text}", text] if kept else [text]:
        reading = read(slot.type(), words, context)
        if reading.value is not None:
            return to_plain(reading.value), "", ""
    return None, reading.problem, text if reading.problem == "slot_time_missing" else ""


def gathered(
    slots: Sequence[Slot], values: Mapping[str, JSON], text: str, context: Context, *, taken: Slot | None = None
) -> dict[str, JSON]:
    """Values for the empty ones of `slots` that `text` holds beside the one that answered `taken`."""
    rest = text
    own = {s.name: s.ask.find(text) for s in slots if s.ask.find and s.name not in values and s is not taken}
    if taken is not None:
        found = read(taken.type(), text, context).found
        rest = _blanked(text, found) if found else ""
    out: dict[str, JSON] = {name: value for name, value in own.items() if value}
    for kind in _ORDER:
        empty = [slot for slot in slots if slot.kind == kind and slot.name not in values and slot.name not in out]
        if not empty:
            rest = _without_other_times(rest, kind, context)
            continue
        for slot in empty:
            finds = [f for f in find(slot.type(), rest, context) if _told(slot, f, rest, context)]
            if not finds:
                continue
            if kind in {"integer", "number"}:
                finds = [f for f in finds if not _counts_something_else(slot, f, rest)]
            if kind in {"integer", "number"} and len(finds) != 1:
                continue  # two numbers and nothing to tell them apart: better asked than guessed
            if kind == "choice" and len({f.value for f in finds}) != 1:
                continue
            out[slot.name] = to_plain(finds[0].value)
            rest = _blanked(rest, finds[0])
    return out


def _without_other_times(rest: str, kind: Kind, context: Context) -> str:
    """`rest` without times that no field wants, so that their numbers are not taken for amounts."""
    if kind != "person":
        return rest
    for other in ("span", "datetime", "date", "time", "duration"):
        for found in find(SlotType(kind=other), rest, context):
            rest = _blanked(rest, found)
    return rest


_AFTER_ONE = re.compile(r"\s*(?:[个间张台辆份次套条件本家场顿位名]\s*)?(?P<what>[^\W\d_]+)?")
_PEOPLE = ("人", "位", "名", "person", "people")


def _counts_something_else(slot: Slot, found: Found, text: str) -> bool:
    """True for the "one" of "one room", "一个会议室", and for a name such as "2号": not how many of what the field counts."""
    if text[found.end :].lstrip().startswith(("号", "楼", "层")):
        return True
    if found.value not in (1, 1.0) or (match := _AFTER_ONE.match(text, found.end)) is None:
        return False
    counted = folded(match[0]).strip()
    names = [folded(n) for n in slot.names()]
    if not match["what"] and not counted:
        return False
    own = [n for n in names if n in counted or counted in n or (not n.isascii() and any(c in n for c in counted))]
    return not own and not counted.startswith(_PEOPLE)


def _told(slot: Slot, found: Found, text: str, context: Context) -> bool:
    """False for finds that only an asked question makes sure: "me", "the second one", a slip."""
    words = folded(text[found.start : found.end])
    if slot.kind == "person":
        return found.value != context.sender or words.startswith("@")
    if slot.kind == "choice" and isinstance(found.value, str):
        names = {n for c in slot.type().choices for n in (c.value, c.label, *c.words)}
        return words in {folded(name).replace("_", " ").replace("-", " ") for name in names} or words in {
            folded(n) for n in names
        }
    return True


def _blanked(text: str, found: Found) -> str:
    return text[: found.start] + " " * (found.end - found.start) + text[found.end :]


def mentioned(slots: Sequence[Slot], text: str) -> list[Slot]:
    """The fields that `text` calls by name, in the order of the form."""
    plain = folded(text)
    return [slot for slot in slots if any(_called(name, plain) for name in slot.names())]


def _called(name: str, plain: str) -> bool:
    word = folded(name)
    return word in plain if not word.isascii() else re.search(rf"(?<!\w){re.escape(word)}(?!\w)", plain) is not None


_SET_TO = re.compile(r"(?:改成|改为|改到|换成|换到|应该是|\bto be\b|\bto\b|\bis\b|\binto\b|=|：|:)\s*+(?P<value>.++)$")
_STATED = 4000
"""Characters in which a new text for a field is looked for."""


def amended(slot: Slot, text: str, old: JSON, context: Context, *, named: bool, settled: bool) -> JSON:
    """The new value that `text` gives an already filled field; what it does not say is taken from `old`. None: no value."""
    words = corrected(text)
    if slot.ask.find:
        return slot.ask.find(words) or None
    if slot.kind == "text":
        match = _SET_TO.search(words[:_STATED].rstrip())
        value = match["value"] if named and match else ""
        return (value[:-1] if len(value) > 1 and value[-1] in "。.!！" else value).strip() or None
    if slot.kind == "yes_no":
        return None
    if slot.kind in {"integer", "number"} and not named and len(find(slot.type(), words, context)) != 1:
        return None
    now = context.now
    if slot.kind in {"datetime", "span"} and (partly := _with_old_half(slot.kind, words, old, context)) is not None:
        return partly
    finds = [f for f in find(slot.type(), words, replace(context, now=now)) if _told(slot, f, words, context)]
    if slot.kind in {"integer", "number"} and finds and not named and _is_time(words, finds[0], context):
        return None
    if slot.kind == "money" and finds and not named and not _has_currency(words, finds[0]):
        return None
    return to_plain(finds[-1].value) if finds else None


def _has_currency(text: str, found: Found) -> bool:
    return not text[found.start : found.end].strip().replace(".", "").replace(",", "").isdigit()


def _is_time(text: str, found: Found, context: Context) -> bool:
    return any(
        other.start <= found.start < other.end
        for kind in ("span", "datetime", "date", "time", "duration")
        for other in find(SlotType(kind=kind), text, context)
    )


def _with_old_half(kind: Kind, text: str, old: JSON, context: Context) -> JSON:
    """ "make it 4 pm" keeps the old day, "Friday instead" keeps the old hours. None where `text` says both or neither."""
    days = find(SlotType(kind="date"), text, context)
    clocks = find(SlotType(kind="time"), text, context)
    if bool(days) == bool(clocks):
        return None
    if kind == "datetime" and isinstance(old, str):
        start = end = datetime.fromisoformat(old)
    elif kind == "span" and isinstance(old, dict):
        start, end = (datetime.fromisoformat(str(old[edge])) for edge in ("start", "end"))
    else:
        return None
    if clocks and not days:
        there = replace(context, now=start.replace(hour=0, minute=0, second=0))
        if kind == "span" and (spans := find(SlotType(kind="span"), text, there)):
            return to_plain(spans[0].value)
        clock = clocks[0].value
        if not isinstance(clock, time):
            return None
        moved = start.replace(hour=clock.hour, minute=clock.minute, second=clock.second)
        return to_plain(moved if kind == "datetime" else Span(moved, moved + (end - start)))
    day = days[0].value
    whole_days = start.time() == time(0) == end.time() and kind == "span"
    if not isinstance(day, date) or whole_days:
        return None
    moved = start.replace(year=day.year, month=day.month, day=day.day)
    return to_plain(moved if kind == "datetime" else Span(moved, moved + (end - start)))
