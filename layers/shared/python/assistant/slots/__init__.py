"""Values that people write into a sentence, typed and checked: times, numbers, money, lengths, e-mail, people, choices.

read(SlotType("date"), "下周三", context).value        # datetime.date(2026, 11, 25)
find(SlotType("money"), "lunch was 30块5", context)     # [Found(value=Money(amount=Decimal("30.5"), currency="CNY"), …)]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from assistant.errors import InvalidSetting
from assistant.slots.numbers import folded, numbers
from assistant.slots.times import Span as Span
from assistant.slots.times import day_of, durations, moment_of, spans, whens

Kind = Literal[
    "date", "time", "datetime", "span", "duration", "number", "integer", "money", "email", "person", "choice", "yes_no", "text"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency (ISO 4217)."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody by name; `id` is the platform's own, empty where only the name is known."""

    name: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers; `words` are other ways to say it, in any language."""

    value: str
    label: str = ""
    words: tuple[str, ...] = ()


Value: TypeAlias = "date | time | datetime | Span | timedelta | Decimal | int | Money | Person | str | bool"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotType:
    """What is looked for."""

    kind: Kind
    choices: tuple[Choice, ...] = ()
    length: timedelta | None = None
    """Of a span that is told by its beginning alone ("tomorrow at 3"); then a day or a part of one is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known around a text."""

    now: datetime
    """Aware, in the person's own zone."""
    people: Mapping[str, str] = field(default_factory=dict)
    """Ids of people by the name they are mentioned with."""
    sender: Person | None = None
    """Who writes: "me" and "我" mean this person."""
    currency: str = "CNY"
    """What "$" and "¥" cannot tell apart and a bare amount means."""

    @classmethod
    def at(cls, now: datetime, zone: str, *, people: Mapping[str, str] | None = None, sender: Person | None = None) -> Context:
        """The context at the moment `now` in the IANA zone `zone`; raises InvalidSetting for a zone that does not exist."""
        try:
            return cls(now=now.astimezone(ZoneInfo(zone)), people=people or {}, sender=sender)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise InvalidSetting(f"no time zone {zone!r}; use an IANA name such as Asia/Shanghai") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A value and where it stands in the text (`text[start:end]`)."""

    value: Value
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a text gives for one slot. `value` is None where it gives none; `problem` then is the key of what to say about it."""

    value: Value | None = None
    problem: str = ""
    found: Found | None = None


def find(slot: SlotType, text: str, context: Context) -> list[Found]:
    """All values of that type in `text`, from left to right. "text" finds nothing: any text would do."""
    return _FINDERS[slot.kind](slot, text[:_LONGEST], context) if slot.kind in _FINDERS else []


def read(slot: SlotType, text: str, context: Context) -> Reading:
    """The value that `text` gives as an answer to the question for this slot."""
    if slot.kind == "text":
        said = text.strip()
        if len(said) > _KEPT:  # it is kept with every turn of the conversation
            return Reading(problem="slot_too_long")
        return Reading(value=said) if said else Reading(problem="slot_empty")
    found = find(slot, text, context)
    if slot.kind == "choice" and len({f.value for f in found}) > 1:
        return Reading(problem="slot_several")
    if found:
        return Reading(value=found[0].value, found=found[0])
    if (slot.kind == "datetime" or slot.length) and any(when.day for when in whens(text[:_LONGEST], now=context.now)):
        return Reading(problem="slot_time_missing")
    return Reading(problem=f"slot_{slot.kind}")


_LONGEST = 1000
"""Characters in which values are looked for."""
_KEPT = 2000
"""Characters of a free text."""


def _dates(_slot: SlotType, text: str, context: Context) -> list[Found]:
    found = []
    for when in whens(text, now=context.now):
        if (day := day_of(when, now=context.now)) is not None:
            found.append(Found(value=day, start=when.begin, end=when.stop))
    return found


def _clocks(_slot: SlotType, text: str, context: Context) -> list[Found]:
    found = []
    for when in whens(text, now=context.now):
        another_day = when.day or context.now.date() + timedelta(days=1)  # an hour alone does not depend on what time it is
        if (moment := moment_of(replace(when, day=another_day), now=context.now)) is not None:
            found.append(Found(value=moment.time(), start=when.begin, end=when.stop))
    if not found and (bare := re.fullmatch(r"\s*(\d{1,2})\s*", folded(text))) and int(bare[1]) <= 24:
        return [Found(value=f.value, start=bare.start(1), end=bare.end(1)) for f in _clocks(_slot, f"at {bare[1]}", context)]
    return found


def _moments(_slot: SlotType, text: str, context: Context) -> list[Found]:
    found = []
    for when in whens(text, now=context.now):
        if (moment := moment_of(when, now=context.now)) is not None:
            found.append(Found(value=moment, start=when.begin, end=when.stop))
    return found


def _spans(slot: SlotType, text: str, context: Context) -> list[Found]:
    found = [Found(value=span, start=begin, end=stop) for span, begin, stop in spans(text, now=context.now)]
    if slot.length is None:
        return found
    moments = _moments(slot, text, context)
    exact = [f for f in found if any(f.start <= m.start < f.end or m.start <= f.start < m.end for m in moments)]
    return exact or [
        Found(value=Span(m.value, m.value + slot.length), start=m.start, end=m.end)
        for m in moments[:1]
        if isinstance(m.value, datetime)
    ]


def _durations(_slot: SlotType, text: str, _context: Context) -> list[Found]:
    return [Found(value=length, start=begin, end=stop) for length, begin, stop in durations(text)]


def _numbers(_slot: SlotType, text: str, _context: Context) -> list[Found]:
    return [Found(value=n.value, start=n.start, end=n.end) for n in numbers(text)]


def _integers(_slot: SlotType, text: str, _context: Context) -> list[Found]:
    return [Found(value=int(n.value), start=n.start, end=n.end) for n in numbers(text) if n.value == n.value.to_integral_value()]


# --- money -------------------------------------------------------------------------------------

_SYMBOLS = {"$": "USD", "us$": "USD", "hk$": "HKD", "€": "EUR", "£": "GBP", "₩": "KRW", "₹": "INR", "rmb": "CNY", "cn¥": "CNY"}
_CODES = (
    "usd", "eur", "gbp", "cny", "jpy", "hkd", "twd", "krw", "inr", "sgd", "aud", "cad", "chf", "nzd", "thb", "myr",
)  # fmt: skip
_UNITS = {
    "dollars": "USD", "dollar": "USD", "bucks": "USD", "euros": "EUR", "euro": "EUR", "pounds": "GBP", "pound": "GBP",
    "yuan": "CNY", "rmb": "CNY", "kuai": "CNY", "yen": "JPY", "won": "KRW", "rupees": "INR",
    "元人民币": "CNY", "人民币": "CNY", "美元": "USD", "美金": "USD", "欧元": "EUR", "英镑": "GBP", "日元": "JPY", "港币": "HKD",
    "港元": "HKD", "台币": "TWD", "韩元": "KRW", "元": "CNY", "块钱": "CNY", "块": "CNY", "圆": "CNY",
    **{code: code.upper() for code in _CODES},
}  # fmt: skip
_BEFORE = re.compile(rf"(us\$|hk\$|cn¥|rmb|人民币|[$€£¥₩₹]|(?<![a-z])(?:{'|'.join(_CODES)}))\s*$")
_AFTER = re.compile(rf"\s*({'|'.join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True))}|€|£)(?![a-z])")
_SMALL = re.compile(r"(?P<jiao>[\d一二三四五六七八九两])(?:毛|角)?(?![\d点月个号天])(?P<fen>[\d一二三四五六七八九两])?分?")
_JIAO = re.compile(r"\s*[毛角]")


def _amounts(_slot: SlotType, text: str, context: Context) -> list[Found]:
    plain = folded(text)
    found: list[Found] = []
    for number in numbers(text):
        if found and number.start < found[-1].end:
            continue
        begin, stop, currency, amount = number.start, number.end, "", number.value
        if before := _BEFORE.search(plain, 0, begin):
            begin, sign = before.start(), before[1]
            unclear = context.currency if context.currency in {"CNY", "JPY"} else "CNY"
            currency = unclear if sign == "¥" else "CNY" if sign == "人民币" else _SYMBOLS.get(sign) or sign.upper()
        if after := _AFTER.match(plain, stop):
            stop = after.end()
            currency = currency or {"€": "EUR", "£": "GBP"}.get(after[1]) or _UNITS[after[1]]
            if after[1] in {"块", "元"} and (small := _SMALL.match(plain, stop)):
                amount += Decimal(str(_digit(small["jiao"]))) / 10 + Decimal(str(_digit(small["fen"] or "0"))) / 100
                stop = small.end()
        elif not currency and (jiao := _JIAO.match(plain, stop)):
            currency, amount, stop = "CNY", amount / 10, jiao.end()
        if currency:
            found.append(Found(value=Money(_plain(amount), currency), start=begin, end=stop))
    if not found and len(alone := numbers(text)) == 1:
        only_one = alone[0]
        if not plain[: only_one.start].strip() and not plain[only_one.end :].strip():
            return [Found(value=Money(_plain(only_one.value), context.currency), start=only_one.start, end=only_one.end)]
    return found


def _plain(amount: Decimal) -> Decimal:
    """The amount without an exponent and without zeros at its end."""
    short = amount.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short


def _digit(text: str) -> int:
    return int(text) if text.isdigit() and text.isascii() else "零一二三四五六七八九".find(text) if text != "两" else 2


# --- e-mail, people ------------------------------------------------------------------------------

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_+-](?:[A-Za-z0-9_.+-]{0,62}[A-Za-z0-9_+-])?@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9-]|\.[A-Za-z0-9])"
)


def _emails(_slot: SlotType, text: str, _context: Context) -> list[Found]:
    return [
        Found(value=match[0], start=match.start(), end=match.end())
        for match in _EMAIL.finditer(text)
        if ".." not in match[0] and len(match[0]) <= 254
    ]


_MENTION = re.compile(r"(?<![\w.])@([\w\u4e00-\u9fff][\w\u4e00-\u9fff.·-]{0,39}(?: [A-Z][\w.-]{0,39})?)")
_MYSELF = re.compile(r"\b(?:me|myself|i)\b|我自己|本人|我(?!们|的)", re.IGNORECASE)


def _people(_slot: SlotType, text: str, context: Context) -> list[Found]:
    found: list[Found] = []
    for name in sorted(context.people, key=len, reverse=True):
        edge = r"(?<!\w)@?{}(?!\w)" if name.isascii() else "@?{}"
        for match in re.finditer(edge.format(re.escape(name)), text, re.IGNORECASE):
            if not _overlaps(found, match):
                found.append(Found(value=Person(name, context.people[name]), start=match.start(), end=match.end()))
    for match in _MENTION.finditer(text):
        if not _overlaps(found, match) and not _EMAIL.search(text, max(0, match.start() - 64), match.end()):
            found.append(Found(value=Person(match[1].rstrip(".-")), start=match.start(), end=match.end()))
    if not found and context.sender and (myself := _MYSELF.search(text)):
        found.append(Found(value=context.sender, start=myself.start(), end=myself.end()))
    return sorted(found, key=lambda f: f.start)


def _overlaps(found: Sequence[Found], match: re.Match[str]) -> bool:
    return any(match.start() < f.end and match.end() > f.start for f in found)


# --- choices -----------------------------------------------------------------------------------

_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": -1, "最后": -1,
}  # fmt: skip
_ORDINAL = re.compile(
    r"\b(" + "|".join(_ORDINALS) + r")\b(?:\s+(?:one|option|choice))?|(最后)一?个?|第([一二三四五六七八九十\d]+)[个项种条]?"
)
_INDEX = re.compile(r"\s*+(?:option|number|no\.?|choice|选项?|选择)?\s*+#?\s*+([1-9]\d?|[一二三四五六七八九])\s*+[.)。号]?\s*+")


def _chosen(slot: SlotType, text: str, _context: Context) -> list[Found]:
    plain = _simple(text)
    found: list[Found] = []
    for choice in slot.choices:
        names = {_simple(word) for word in (choice.value, choice.label, *choice.words)} - {""}
        places = [match for name in names for match in re.finditer(_edges(name), plain)]
        if places:
            longest = max(places, key=lambda m: m.end() - m.start())
            found.append(Found(value=choice.value, start=longest.start(), end=longest.end()))
    found = [
        f for f in found if not any(g is not f and g.start <= f.start and f.end <= g.end and _size(g) > _size(f) for g in found)
    ]
    if found or not plain.strip():
        return sorted(found, key=lambda f: f.start)
    return _by_place(slot, plain) or _by_likeness(slot, plain)


def _simple(text: str) -> str:
    return folded(text).replace("_", " ").replace("-", " ")


def _edges(name: str) -> str:
    """`name` as words of their own where it is written in letters, anywhere where it is Chinese."""
    return rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])" if name[0].isascii() else re.escape(name)


def _size(found: Found) -> int:
    return found.end - found.start


def _by_place(slot: SlotType, plain: str) -> list[Found]:
    """ "the second one", "第二个", "2"."""
    if match := _ORDINAL.search(plain):
        place = _ORDINALS[match[1]] if match[1] else -1 if match[2] else int(numbers(match[3])[0].value)
    elif match := _INDEX.fullmatch(plain):
        place = int(numbers(match[1])[0].value)
    else:
        return []
    index = place - 1 if place > 0 else len(slot.choices) + place
    if not 0 <= index < len(slot.choices):
        return []
    return [Found(value=slot.choices[index].value, start=match.start(), end=match.end())]


def _by_likeness(slot: SlotType, plain: str) -> list[Found]:
    """The choice that one slip of the keyboard away is written."""
    said = plain.strip()
    near = {
        choice.value
        for choice in slot.choices
        for word in (choice.value, choice.label, *choice.words)
        if len(word) >= 4 and word.isascii() and _one_slip(said, _simple(word))
    }
    return [Found(value=near.pop(), start=0, end=len(plain))] if len(near) == 1 else []


def _one_slip(a: str, b: str) -> bool:
    """True where one letter is changed, missing, too many, or two neighbours are swapped."""
    if a == b:
        return True
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[start:], b[start:]
    return (
        rest_a[1:] == rest_b[1:]
        or rest_a[1:] == rest_b
        or rest_a == rest_b[1:]
        or (rest_a[:2] == rest_b[:2][::-1] and rest_a[2:] == rest_b[2:])
    )


# --- yes and no ----------------------------------------------------------------------------------

_YES = re.compile(
    r"\W*(?:(?:yes|yeah|yep|yup|sure|ok(?:ay)?|correct|right|confirm(?:ed)?|do\s+it|go\s+ahead|please\s+do|sounds\s+good|"
    r"of\s+course|absolutely|y|that'?s\s+(?:right|correct|fine)|looks?\s+good)\b"
    r"|(?:是|好|对|行|可以|没问题|没错|确认|确定|同意|嗯|要|当然|就这样|没事|需要|提交))"
)
_NO = re.compile(
    r"\W*(?:(?:no|nope|nah|not|don'?t|do\s+not|never|wrong|incorrect|n)\b|(?:不|没有|别|否|错|不是|不对|不要|不用|算了))"
)
_NOT_NO = re.compile(r"\W*(?:no\s+(?:problem|worries)\b|not\s+a\s+problem\b|不错|没问题|没事|没错)")


def _yes_no(_slot: SlotType, text: str, _context: Context) -> list[Found]:
    plain = folded(text)
    if _NOT_NO.match(plain):
        return [Found(value=True, start=0, end=len(text))]
    if match := _NO.match(plain):
        return [Found(value=False, start=0, end=match.end())]
    if match := _YES.match(plain):
        return [Found(value=True, start=0, end=match.end())]
    return []


_FINDERS: Final[Mapping[Kind, Callable[[SlotType, str, Context], list[Found]]]] = {
    "date": _dates,
    "time": _clocks,
    "datetime": _moments,
    "span": _spans,
    "duration": _durations,
    "number": _numbers,
    "integer": _integers,
    "money": _amounts,
    "email": _emails,
    "person": _people,
    "choice": _chosen,
    "yes_no": _yes_no,
}
