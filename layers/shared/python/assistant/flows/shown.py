"""Values as people read them, in both languages."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal

from assistant.messages import JSON
from assistant.slots import Kind, Span
from assistant.words import nearest, say

_EN_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EN_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZH_DAYS = "一二三四五六日"


def shown(value: JSON, kind: Kind, language: str) -> str:
    """A slot's stored value in words: `Fri 27 Nov 2026, 15:00–16:00`, `2026年11月27日（周五）15:00–16:00`."""
    chinese = nearest(language) == "zh-CN"
    if value is None:
        return "–"
    if kind == "span" and isinstance(value, dict):
        span = Span(datetime.fromisoformat(str(value["start"])), datetime.fromisoformat(str(value["end"])))
        return _span(span, chinese)
    if kind == "money" and isinstance(value, dict):
        return f"{Decimal(str(value['amount'])):,f} {value['currency']}"
    if kind == "person" and isinstance(value, dict):
        return str(value["name"])
    if kind == "yes_no":
        return say("yes" if value else "no", language)
    if not isinstance(value, str):
        return str(value)
    match kind:
        case "date":
            return _day(date.fromisoformat(value), chinese)
        case "time":
            return f"{time.fromisoformat(value):%H:%M}"
        case "datetime":
            moment = datetime.fromisoformat(value)
            return f"{_day(moment.date(), chinese)}{' ' if chinese else ', '}{moment:%H:%M}"
        case "duration":
            return _length(value, chinese)
        case _:
            return value


def _day(day: date, chinese: bool) -> str:
    if chinese:
        return f"{day.year}年{day.month}月{day.day}日（周{_ZH_DAYS[day.weekday()]}）"
    return f"{_EN_DAYS[day.weekday()]} {day.day} {_EN_MONTHS[day.month - 1]} {day.year}"


def _span(span: Span, chinese: bool) -> str:
    midnight = time(0)
    if span.start.time() == midnight == span.end.time() and span.end > span.start:
        last = (span.end - timedelta(days=1)).date()
        first = _day(span.start.date(), chinese)
        return first if last == span.start.date() else f"{first} – {_day(last, chinese)}"
    gap = "" if chinese else ", "
    start = f"{_day(span.start.date(), chinese)}{gap}{span.start:%H:%M}"
    if span.end.date() == span.start.date():
        return f"{start}–{span.end:%H:%M}"
    return f"{start} – {_day(span.end.date(), chinese)}{gap}{span.end:%H:%M}"


def _length(iso: str, chinese: bool) -> str:
    from pydantic import TypeAdapter

    total = int(TypeAdapter(timedelta).validate_python(iso).total_seconds())
    units = ((86400, "天", "day"), (3600, "小时", "hour"), (60, "分钟", "minute"), (1, "秒", "second"))
    parts: list[str] = []
    for size, han, word in units:
        number, total = divmod(total, size)
        if number:
            parts.append(f"{number}{han}" if chinese else f"{number} {word}{'s' if number != 1 else ''}")
    return ("" if chinese else " ").join(parts) or ("0分钟" if chinese else "0 minutes")
