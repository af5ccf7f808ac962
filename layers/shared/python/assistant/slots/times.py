"""Days, times of day, spans and lengths as people write them in English and Chinese, told from a `now` in the person's zone.

Conventions, so that nobody has to guess: weeks begin on Monday; "Friday" and "周五" are the coming one, today included;
"next Friday" and "下周五" are in the week after this one; a day without a year and a time without a day are the coming ones; an
hour from 1 to 6 without more is in the afternoon; 3/4 is the 4th of March unless only the other order makes a date.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from assistant.slots.numbers import CHINESE_NUMERAL, chinese_value, english_value, folded


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, both aware; whole days run from midnight to the midnight after the last one."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """One expression of time in a text, as far as it goes: what it does not say is None or empty."""

    begin: int
    stop: int
    day: date | None = None
    last_day: date | None = None
    """The last day, where several are meant ("next week")."""
    clock: time | None = None
    open_half: bool = False
    """True where the hour may be of either half of the day ("at 7")."""
    part: str = ""
    """"am", "noon", "pm" or "night" where the part of the day is said."""
    moment: datetime | None = None
    """Set where the distance from now is said ("in two hours")."""
    bare_day: int = 0
    """The number of a day whose month is not said ("the 5th")."""
    weekday: bool = False
    """True where only a weekday is said, so that it may move on by a week."""


# --- words ------------------------------------------------------------------------------------

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = r"(?:mon|tue(?:s)?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"
_MONTH = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?"
)
_COUNT = (
    r"(?:\d+(?:\.\d+)?|(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|"
    r"forty-five|fifty|sixty|ninety)(?:\s+and\s+a\s+half)?|a\s+couple\s+of|a\s+few|half\s+an?|half)"
)
_EN_UNIT = r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|wks?|months?|years?|fortnights?)"
_HOUR_WORD = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_HAN = rf"(?:\d+(?:\.\d+)?|{CHINESE_NUMERAL})"
_ZH_FIGURES = CHINESE_NUMERAL[1 : CHINESE_NUMERAL.index("]")]
_HAN_WHOLE = rf"(?:\d+|[{_ZH_FIGURES}]+)"
_ZH_PARTS = {
    "凌晨": "am", "清晨": "am", "早上": "am", "早晨": "am", "上午": "am", "清早": "am", "早": "am", "晨": "am",
    "中午": "noon", "正午": "noon", "下午": "pm", "午后": "pm", "傍晚": "pm", "晚上": "night", "夜里": "night", "半夜": "night",
    "深夜": "night", "晚": "night",
}  # fmt: skip
_EN_PARTS = {"morning": "am", "afternoon": "pm", "evening": "night", "night": "night", "noon": "noon", "lunchtime": "noon"}
_ZH_PART = "|".join(sorted((p for p in _ZH_PARTS if len(p) > 1), key=len, reverse=True))
_ZH_DAYS = {"大前天": -3, "前天": -2, "昨天": -1, "昨日": -1, "今天": 0, "今日": 0, "明天": 1, "明日": 1, "后天": 2, "大后天": 3}
_ZH_SHORT = {"昨": -1, "今": 0, "明": 1, "后": 2}
_ZH_WEEKDAY = {**{c: i for i, c in enumerate("一二三四五六日")}, "天": 6, **{str(i + 1): i for i in range(7)}}
_ZH_WEEK = "(?:周|星期|礼拜)"
_ZH_SHIFTS = {"上上": -2, "上": -1, "这": 0, "本": 0, "下": 1, "下下": 2}
_ZH_SHIFT = "下下个?|上上个?|下个?|上个?|这个?|本"

_SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "h": 3600, "m": 60, "s": 1}
_DAYS = {"day": 1, "d": 1, "week": 7, "wk": 7, "month": 30, "year": 365, "weekday": 1, "fortnight": 14}
_ZH_SECONDS = {"秒": 1, "秒钟": 1, "分": 60, "分钟": 60, "刻钟": 900, "小时": 3600, "钟头": 3600}
_ZH_LONG = {"天": 1, "日": 1, "周": 7, "星期": 7, "礼拜": 7, "月": 30, "年": 365}


def count(text: str) -> Decimal:
    """The number that an English or Chinese count spells; "a" is 1, "half a" 0.5, "a couple of" 2, "a few" 3."""
    words = text.strip()
    special = {
        "a couple of": "2",
        "a few": "3",
        "half an": "0.5",
        "half a": "0.5",
        "half": "0.5",
        "半": "0.5",
        "an": "1",
        "a": "1",
    }
    if (known := special.get(re.sub(r"\s+", " ", words))) is not None:
        return Decimal(known)
    if re.fullmatch(r"\d+(?:\.\d+)?", words):
        return Decimal(words)
    if (han := chinese_value(words) if not words.isascii() else None) is not None:
        return han
    words = re.sub(r"^an?\s+(?=and\s+a\s+half)", "one ", words)
    english = english_value(words)
    return english if english is not None else Decimal(1)


# --- finding -----------------------------------------------------------------------------------


def whens(text: str, *, now: datetime) -> list[When]:
    """All expressions of time in `text`, in order, with neighbours joined ("tomorrow" + "at 3 pm"); `now` is aware."""
    plain = folded(text)
    atoms: list[When] = []
    for match, made in _all_matches(plain, now):
        if made is not None:
            atoms.append(replace(made, begin=match.start(), stop=match.end()))
    atoms = _longest([*atoms, *_bare_ranges(plain)])
    atoms = _with_bare_ends(atoms, plain)
    return _joined(atoms, plain)


def _all_matches(plain: str, now: datetime) -> Iterator[tuple[re.Match[str], When | None]]:
    for pattern, make in _RULES:
        for match in pattern.finditer(plain):
            try:
                yield match, make(match, now)
            except (ValueError, OverflowError):  # 31 February, the year 99999: not a time then
                continue


def _longest(atoms: Sequence[When]) -> list[When]:
    """Of atoms that overlap, the longest (the earlier rule among equals)."""
    kept: list[When] = []
    for atom in sorted(atoms, key=lambda a: a.begin - a.stop):
        if all(atom.stop <= other.begin or atom.begin >= other.stop for other in kept):
            kept.append(atom)
    return sorted(kept, key=lambda a: a.begin)


_BARE_RANGE = re.compile(
    rf"\b(?:from|between)\s+(?P<a>\d{{1,2}}|{_HOUR_WORD})\s*(?:-|to|and|until|till)\s*(?P<b>\d{{1,2}}|{_HOUR_WORD})"
    rf"(?![\w:.%/]|\s*(?:{_EN_UNIT}|am|pm|people|o'clock|of)\b)"
)


def _bare_ranges(plain: str) -> Iterator[When]:
    """Both hours of "from 9 to 5" and "between 9 and 11"."""
    for match in _BARE_RANGE.finditer(plain):
        hours = [_hour(int(count(match[end]))) for end in ("a", "b")]
        if all(hours):
            for hour, end in zip(hours, ("a", "b"), strict=True):
                if hour:
                    yield replace(hour, begin=match.start(end), stop=match.end(end))


_CONNECTOR = r"\s*(?:-|~|to|until|till|through|and|到|至)\s*"
_BARE_BEFORE = re.compile(rf"(?:\b|(?<=[\u4e00-\u9fff]))(\d{{1,2}}(?::\d{{2}})?|{_HAN_WHOLE}|{_HOUR_WORD}){_CONNECTOR}$")
_BARE_AFTER = re.compile(rf"{_CONNECTOR}(\d{{1,2}})(?:st|nd|rd|th|日|号)?(?![\d:.点时]|\s*(?:am|pm|a\.m|p\.m|%|年|月|\w))")


def _with_bare_ends(atoms: Sequence[When], plain: str) -> list[When]:
    """`atoms` with the bare numbers of ranges beside them: the 2 of "2 to 4 pm", the 5 of "March 3-5"."""
    out: list[When] = []
    for atom in atoms:
        floor = out[-1].stop if out else 0
        if atom.clock and not atom.moment and (match := _BARE_BEFORE.search(plain, floor, atom.begin)):
            digits, _, minutes = match[1].partition(":")
            hour = int(count(digits))
            if 0 <= hour <= 24 and not (match.start() > floor and plain[match.start() - 1] in "-/."):
                clock = time(hour % 24, int(minutes or 0))
                half = hour <= 12 and not minutes
                out.append(When(begin=match.start(1), stop=match.end(1), clock=clock, open_half=half))
        if atom.bare_day and not atom.clock and (match := _BARE_BEFORE.search(plain, floor, atom.begin)):
            number = int(count(match[1])) if ":" not in match[1] else 0
            if 0 < number < atom.bare_day and atom.day:
                first = atom.day.replace(day=number)
                out.append(When(begin=match.start(1), stop=match.end(1), day=first, bare_day=number))
        out.append(atom)
        after_clock = _BARE_AFTER.match(plain, atom.stop) if atom.clock and not atom.moment else None
        if after_clock and int(after_clock[1]) <= 24 and not any(a.begin < after_clock.end(1) <= a.stop for a in atoms):
            hour = int(after_clock[1])
            out.append(When(begin=after_clock.start(1), stop=after_clock.end(), clock=time(hour % 24), open_half=1 <= hour <= 12))
        if atom.day and not atom.clock and not atom.weekday and not atom.last_day:
            after = _BARE_AFTER.match(plain, atom.stop)
            if after and not any(other.begin < after.end(1) and other.stop > after.start(1) for other in atoms):
                out.append(When(begin=after.start(1), stop=after.end(), bare_day=int(after[1]), day=atom.day))
    return out


_GLUE = re.compile(r"[\s,，的、]*(?:at|on|of|in|the|by|around|about|from|between|从|在|@)?(?:\s+the)?[\s,，的]*")


def _joined(atoms: Sequence[When], plain: str) -> list[When]:
    """Neighbours that say different things about one moment, as one."""
    out: list[When] = []
    for atom in atoms:
        last = out[-1] if out else None
        if last is not None and _GLUE.fullmatch(plain, last.stop, atom.begin) and (both := _both(last, atom)):
            out[-1] = both
        else:
            out.append(atom)
    return out


def _both(a: When, b: When) -> When | None:
    if a.moment or b.moment or (a.last_day and b.last_day) or (a.part and b.part and a.part != b.part):
        return None
    if (a.clock and b.clock) or (a.bare_day and b.bare_day):
        return None
    day = a.day or b.day
    if a.day and b.day:
        if a.weekday == b.weekday:  # "Friday, 27 November" is one day, "Monday, Friday" are two
            return None
        day = b.day if a.weekday else a.day
        if a.last_day or b.last_day:  # "Friday next week"
            week = (a if a.last_day else b).day
            weekday = (a if a.weekday else b).day
            if week is None or weekday is None or week.weekday() != 0:
                return None
            day = week + timedelta(days=weekday.weekday())
    clock = a.clock or b.clock
    part = a.part or b.part
    return replace(
        a if a.clock else b,
        begin=a.begin,
        stop=b.stop,
        day=day,
        last_day=None if (a.weekday or b.weekday) else a.last_day or b.last_day,
        clock=clock,
        part=part,
        bare_day=a.bare_day or b.bare_day,
        weekday=a.weekday and b.weekday,
    )


# --- meaning ------------------------------------------------------------------------------------


def moment_of(when: When, *, now: datetime) -> datetime | None:
    """The moment that is meant, None where no time of day is said."""
    if when.moment:
        return when.moment
    if when.clock is None:
        return None
    hours = _hours(when)
    days = [when.day] if when.day else [now.date(), now.date() + timedelta(days=1)]
    candidates = [_at(day, hour, when.clock, now) for day in days for hour in hours]
    if when.day is None or when.day == now.date():
        return next((c for c in candidates if c > now), candidates[0])
    return candidates[0]


def _clock_hour(when: When) -> int:
    return when.clock.hour if when.clock else 0


def _hours(when: When) -> list[int]:
    """The hours that may be meant, the likelier one first; 24 is the midnight that ends the day."""
    clock = when.clock or time(0)
    hour = clock.hour
    if when.part == "am":
        return [0 if hour == 12 else hour]
    if when.part == "noon":
        return [hour + 12 if hour < 6 else hour]
    if when.part == "pm":
        return [hour + 12 if hour < 12 else hour]
    if when.part == "night":
        if hour in {0, 12}:
            return [24]
        return [hour if hour >= 12 or hour < 5 else hour + 12]
    if when.open_half and 1 <= hour <= 6:
        return [hour + 12]
    if when.open_half and hour < 12:
        return [hour, hour + 12]
    return [hour]


def _at(day: date, hour: int, clock: time, now: datetime) -> datetime:
    if hour == 24:
        day, hour = day + timedelta(days=1), 0
    return datetime(day.year, day.month, day.day, hour, clock.minute, clock.second, tzinfo=now.tzinfo)


def day_of(when: When, *, now: datetime) -> date | None:
    """The (first) day that is meant, None where only a time of day is said."""
    if when.moment:
        return when.moment.date()
    return when.day


_PARTS_FROM_TO = {"am": (6, 12), "noon": (12, 14), "pm": (12, 18), "night": (18, 24)}


def span_of(when: When, *, now: datetime) -> Span | None:
    """The whole days or the part of the day that are meant, None where a single moment or nothing is said."""
    if when.moment or when.clock:
        return None
    if when.day is None and not when.part:
        return None
    day = when.day or now.date()
    if when.part:
        first, last = _PARTS_FROM_TO[when.part]
        return Span(_at(day, first, time(0), now), _at(day, last, time(0), now))
    end = (when.last_day or day) + timedelta(days=1)
    return Span(_at(day, 0, time(0), now), _at(end, 0, time(0), now))


_RANGE = re.compile(rf"{_CONNECTOR}(?:at|on|the)?\s*")


def spans(text: str, *, now: datetime) -> list[tuple[Span, int, int]]:
    """All spans in `text` with the place where they stand: ranges, whole days, and a start with a length."""
    plain = folded(text)
    found = whens(text, now=now)
    out: list[tuple[Span, int, int]] = []
    used = -1
    for i, first in enumerate(found):
        if i <= used:
            continue
        second = found[i + 1] if i + 1 < len(found) else None
        if second and _RANGE.fullmatch(plain, first.stop, second.begin) and (span := _between(first, second, now)):
            out.append((span, first.begin, second.stop))
            used = i + 1
        elif (start := moment_of(first, now=now)) and (length := _length_beside(plain, first)):
            begin, stop, lasting = length
            out.append((Span(start, start + lasting), min(begin, first.begin), max(stop, first.stop)))
        elif whole := span_of(first, now=now):
            out.append((whole, first.begin, first.stop))
    return out


def _length_beside(plain: str, when: When) -> tuple[int, int, timedelta] | None:
    for lasting, begin, stop in durations(plain):
        if begin >= when.stop or stop <= when.begin:
            return begin, stop, lasting
    return None


def _between(first: When, second: When, now: datetime) -> Span | None:
    """The span from one expression to the other, each borrowing from the other what it does not say."""
    if first.clock and second.clock:
        if first.day is None and second.day:
            first = replace(first, day=second.day)
        if not first.part and second.part and first.open_half:  # "2 to 4 pm" begins at 2 pm, "11 to 1 pm" at 11 am
            same = replace(first, part=second.part)
            first = same if _hours(same)[0] <= _hours(second)[0] else first
        elif first.part and not second.part and second.open_half:
            second = replace(second, part=first.part)
        if first.open_half and not first.part and 6 < _clock_hour(first) < 12:
            first = replace(first, part="am")  # "from 9 to 5" is a working day, not a night shift
        start = moment_of(first, now=now)
        if start is None:
            return None
        end = moment_of(replace(second, day=second.day or start.date()), now=now.replace(year=1))
        if end is not None and end <= start and second.open_half and not second.part and (end + timedelta(hours=12)) > start:
            end += timedelta(hours=12)
        if end is not None and end <= start and second.day is None:
            end += timedelta(days=1)
        return Span(start, end) if end is not None and end > start else None
    if first.day and second.day and not first.clock and not second.clock:
        last = second.last_day or second.day
        if second.bare_day:
            last = _same_month(first.day, second.bare_day)
        if last < first.day and second.weekday:
            last += timedelta(days=7)
        if last < first.day:
            return None
        return Span(_at(first.day, 0, time(0), now), _at(last + timedelta(days=1), 0, time(0), now))
    if first.moment or second.moment:
        start, end = moment_of(first, now=now), moment_of(second, now=now)
        return Span(start, end) if start and end and end > start else None
    return None


def _same_month(day: date, number: int) -> date:
    following = day if number >= day.day else (day.replace(day=1) + timedelta(days=32))
    return following.replace(day=min(number, monthrange(following.year, following.month)[1]))


# --- lengths -----------------------------------------------------------------------------------

_DURATION = re.compile(
    rf"(?<![\w.])(?P<compact>\d+\s?h(?:\s?\d+\s?m?(?:in)?)?|\d+\s?m(?:in)?)(?![\w])"
    rf"|(?<![\w.])(?P<half>half\s+an?\s+(?:hour|day|year))\b"
    rf"|(?<![\w.])(?P<en>{_COUNT})[\s-]*(?P<unit>{_EN_UNIT})\b(?P<more>\s+and\s+(?:a\s+half|a\s+quarter)\b)?"
    rf"|(?P<zh>{_HAN}|半)(?P<ge>个)?(?P<ban>半)?(?P<zhunit>秒钟?|分钟|刻钟|小时|钟头|天|周|星期|礼拜|月|年)(?P<rest>半)?(?![初底份号日])"
)


def durations(text: str) -> list[tuple[timedelta, int, int]]:
    """All lengths of time in `text` with their place; a month counts 30 days, a year 365. "1 hour 30 minutes" is one."""
    plain = folded(text)
    out: list[tuple[timedelta, int, int]] = []
    for match in _DURATION.finditer(plain):
        try:
            length = _length(match)
        except OverflowError:
            continue
        if length is None:
            continue
        if out and re.fullmatch(r"[\s,]*(?:and|零|又)?\s*", plain[out[-1][2] : match.start()]) and length < out[-1][0]:
            out[-1] = (out[-1][0] + length, out[-1][1], match.end())
        else:
            out.append((length, match.start(), match.end()))
    return out


def _length(match: re.Match[str]) -> timedelta | None:
    if compact := match["compact"]:
        hours, minutes = re.fullmatch(r"(?:(\d+)\s?h)?\s?(?:(\d+)\s?m?(?:in)?)?", compact).groups()  # type: ignore[union-attr]  # the same grammar
        return timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if half := match["half"]:
        unit = half.split()[-1]
        return {"hour": timedelta(minutes=30), "day": timedelta(hours=12), "year": timedelta(days=182)}[unit]
    if match["en"]:
        amount = count(match["en"])
        if more := match["more"]:
            amount += Decimal("0.5") if "half" in more else Decimal("0.25")
        return _times(amount, _singular(match["unit"]), _SECONDS, _DAYS)
    unit = match["zhunit"]
    if unit in {"月", "年"} and match["zh"] != "半" and not match["ge"] and unit == "月":
        return None  # 三月 is March, 三个月 are three months
    amount = count(match["zh"])
    if match["ban"] or match["rest"]:
        amount += Decimal("0.5")
    if unit == "年" and amount > 200:
        return None  # 2026年 is a year, not a length
    return _times(amount, unit, _ZH_SECONDS, _ZH_LONG)


def _singular(unit: str) -> str:
    return unit[:-1] if unit.endswith("s") and len(unit) > 1 else unit


def _times(amount: Decimal, unit: str, seconds: dict[str, int], days: dict[str, int]) -> timedelta:
    if unit in seconds:
        return timedelta(seconds=float(amount * seconds[unit]))
    return timedelta(seconds=float(amount * days[unit] * 86400))


# --- rules --------------------------------------------------------------------------------------

_EMPTY = When(begin=0, stop=0)
_Maker = Callable[[re.Match[str], datetime], "When | None"]
_RULES: list[tuple[re.Pattern[str], _Maker]] = []


def _rule(pattern: str) -> Callable[[_Maker], _Maker]:
    def keep(make: _Maker) -> _Maker:
        _RULES.append((re.compile(pattern), make))
        return make

    return keep


def _day(day: date, *, part: str = "", last: date | None = None, weekday: bool = False) -> When:
    return replace(_EMPTY, day=day, part=part, last_day=last, weekday=weekday)


def _coming(now: datetime, month: int, day: int, year: int | None = None) -> date:
    """That day of that year; without a year the one that comes, unless it was within the last month."""
    if year is not None:
        return date(year + 2000 if year < 100 else year, month, day)
    for candidate in range(now.year, now.year + 9):  # the 29th of February may be years away
        try:
            found = date(candidate, month, day)
        except ValueError:
            continue
        if found >= now.date() - timedelta(days=31):
            return found
    raise ValueError(f"{month}/{day} is not a day of any year")


def _monday(now: datetime, weeks: int) -> date:
    return now.date() - timedelta(days=now.weekday()) + timedelta(weeks=weeks)


def _month(now: datetime, months: int) -> tuple[date, date]:
    index = now.year * 12 + now.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, 1), date(year, month + 1, monthrange(year, month + 1)[1])


def _added(now: datetime, amount: Decimal, unit: str) -> When:
    """The day or moment that far from now."""
    if unit in _SECONDS or unit in _ZH_SECONDS:
        seconds = (_SECONDS | _ZH_SECONDS)[unit]
        return replace(_EMPTY, moment=now + timedelta(seconds=float(amount * seconds)))
    if unit in {"month", "月", "year", "年"}:
        whole = int(amount * (12 if unit in {"year", "年"} else 1))
        first, last = _month(now, whole)
        return _day(first.replace(day=min(now.day, last.day)))
    return _day(now.date() + timedelta(days=int(amount * (_DAYS | _ZH_LONG)[unit])))


@_rule(r"\b(?:the\s+)?day\s+(after\s+tomorrow|before\s+yesterday)\b")
def _(m: re.Match[str], now: datetime) -> When:
    return _day(now.date() + timedelta(days=2 if m[1].startswith("after") else -2))


@_rule(r"\b(today|tonight|tomorrow|tmrw|yesterday)\b")
def _(m: re.Match[str], now: datetime) -> When:
    shift = {"today": 0, "tonight": 0, "tomorrow": 1, "tmrw": 1, "yesterday": -1}[m[1]]
    return _day(now.date() + timedelta(days=shift), part="night" if m[1] == "tonight" else "")


@_rule(rf"\b(?:(?P<shift>this\s+coming|this|next|last|coming)\s+)?(?P<day>{_DAY})s?\b")
def _(m: re.Match[str], now: datetime) -> When | None:
    if (
        not m["shift"]
        and m["day"] in {"sun", "sat", "mon", "wed"}
        and not re.match(r"\s*(?:,|\d|at\b|$|-|to\b|till\b)", m.string[m.end() :])
    ):
        return None  # "the sun", "he sat": words of their own
    index = _WEEKDAYS.index(m["day"][:3])
    if m["shift"] in {"next", "last"}:
        return _day(_monday(now, 1 if m["shift"] == "next" else -1) + timedelta(days=index), weekday=True)
    return _day(now.date() + timedelta(days=(index - now.weekday()) % 7), weekday=True)


@_rule(
    r"\b(?P<end>(?:the\s+)?(?P<edge>end|beginning|start)\s+of\s+)?(?:(?P<shift>this|next|last|the)\s+)(?P<unit>week|weekend|month|year)\b"
)
def _(m: re.Match[str], now: datetime) -> When | None:
    if m["shift"] == "the" and not m["end"]:
        return None
    shift = {"last": -1, "this": 0, "the": 0, "next": 1}[m["shift"]]
    return _period(now, m["unit"], shift, edge={"end": "end", None: ""}.get(m["edge"], "start"))


def _period(now: datetime, unit: str, shift: int, *, edge: str = "") -> When:
    if unit == "weekend":
        first = _monday(now, shift) + timedelta(days=5)
        last = first + timedelta(days=1)
    elif unit == "week":
        first = _monday(now, shift)
        last = first + timedelta(days=6)
    elif unit == "month":
        first, last = _month(now, shift)
    else:
        first, last = date(now.year + shift, 1, 1), date(now.year + shift, 12, 31)
    if edge:
        return _day(last if edge == "end" else first)
    return _day(first, last=last)


@_rule(rf"\b(?P<month>{_MONTH})\s+(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:|\s*(?:am|pm)\b)(?:,?\s+(?P<year>\d{{4}}))?")
def _(m: re.Match[str], now: datetime) -> When:
    year = int(m["year"]) if m["year"] else None
    return _day(_coming(now, _MONTHS.index(m["month"][:3]) + 1, int(m["day"]), year))


@_rule(rf"\b(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month>{_MONTH})(?![a-z])(?:,?\s+(?P<year>\d{{4}}))?")
def _(m: re.Match[str], now: datetime) -> When:
    year = int(m["year"]) if m["year"] else None
    return _day(_coming(now, _MONTHS.index(m["month"][:3]) + 1, int(m["day"]), year))


@_rule(r"\b(?:the|on)\s+(?:the\s+)?(?P<day>\d{1,2})(?:st|nd|rd|th)\b")
def _(m: re.Match[str], now: datetime) -> When:
    return _bare(int(m["day"]), now)


def _bare(number: int, now: datetime) -> When:
    """That day of this month, or of the next one that has it if it is over."""
    if not 1 <= number <= 31:
        raise ValueError(f"no month has a day {number}")
    for ahead in range(3):
        first, last = _month(now, ahead)
        if number <= last.day and first.replace(day=number) >= now.date():
            return replace(_EMPTY, day=first.replace(day=number), bare_day=number)
    raise ValueError(f"no coming day {number}")


@_rule(r"(?<![\d./-])(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?![\d/-])(?:t(?=\d\d:))?")
def _(m: re.Match[str], _now: datetime) -> When:
    return _day(date(int(m["year"]), int(m["month"]), int(m["day"])))


@_rule(r"(?<![\d./-])(?P<a>\d{1,2})/(?P<b>\d{1,2})(?:/(?P<year>\d{4}|\d{2}))?(?![\d/-])")
def _(m: re.Match[str], now: datetime) -> When:
    month, day = int(m["a"]), int(m["b"])
    if month > 12:
        month, day = day, month
    return _day(_coming(now, month, day, int(m["year"]) if m["year"] else None))


@_rule(rf"\b(?:in|after)\s+(?P<n>{_COUNT})\s+(?P<unit>{_EN_UNIT})\b(?:'?\s+time)?(?P<more>\s+and\s+a\s+half\b)?")
def _(m: re.Match[str], now: datetime) -> When:
    return _added(now, count(m["n"]) + (Decimal("0.5") if m["more"] else 0), _singular(m["unit"]))


@_rule(rf"\b(?P<n>{_COUNT})\s+(?P<unit>{_EN_UNIT})\s+(?P<way>ago|from\s+now|later|from\s+today)\b")
def _(m: re.Match[str], now: datetime) -> When:
    return _added(now, count(m["n"]) * (-1 if m["way"] == "ago" else 1), _singular(m["unit"]))


@_rule(r"\b(?P<h>\d{1,2})(?::(?P<m>\d{2}))?\s*(?P<half>a\.?m\b\.?|p\.?m\b\.?)")
def _(m: re.Match[str], _now: datetime) -> When | None:
    hour = int(m["h"])
    if not 1 <= hour <= 12:
        return None if hour > 23 else replace(_EMPTY, clock=time(hour, int(m["m"] or 0)))
    return replace(_EMPTY, clock=time(hour % 12 if m["half"][0] == "a" else hour % 12 + 12, int(m["m"] or 0)))


@_rule(r"(?<![\d:])(?P<h>[01]?\d|2[0-4]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?![\d:])")
def _(m: re.Match[str], _now: datetime) -> When:
    hour = int(m["h"])
    return replace(
        _EMPTY, clock=time(hour % 24, int(m["m"]), int(m["s"] or 0)), open_half=0 < hour < 8 and not m["h"].startswith("0")
    )


@_rule(
    rf"\b(?:at|by|around|until|till|before|after|from)\s+(?P<h>\d{{1,2}}|{_HOUR_WORD})(?![\w:.%/-]|\s*(?:{_EN_UNIT}|people|persons?|%|am|pm|to\b|or\b|o'clock|past)\b)"
)
def _(m: re.Match[str], _now: datetime) -> When | None:
    return _hour(int(count(m["h"])))


@_rule(rf"\b(?:at\s+|from\s+|between\s+)?(?P<h>\d{{1,2}}|{_HOUR_WORD})\s*o'?\s?clock\b")
def _(m: re.Match[str], _now: datetime) -> When | None:
    return _hour(int(count(m["h"])))


def _hour(hour: int) -> When | None:
    return replace(_EMPTY, clock=time(hour % 24), open_half=1 <= hour <= 12) if hour <= 24 else None


@_rule(
    rf"\b(?:at\s+)?(?P<what>half|(?:a\s+)?quarter|{_COUNT}(?:\s+minutes?)?)\s+(?P<way>past|to)\s+(?P<h>\d{{1,2}}|{_HOUR_WORD})\b(?!\s*(?:{_EN_UNIT}))"
)
def _(m: re.Match[str], _now: datetime) -> When | None:
    what, hour = m["what"], int(count(m["h"]))
    if m["way"] == "to" and "quarter" not in what and not re.search(r"at\s|minute|^(?:five|ten|twenty)", m[0]):
        return None  # "two to four" is a range
    minutes = 30 if what == "half" else 15 if "quarter" in what else int(count(what.split(" minute")[0]))
    if not 1 <= hour <= 12 or not 0 < minutes < 60:
        return None
    if m["way"] == "to":
        hour, minutes = (hour - 2) % 12 + 1, 60 - minutes
    return replace(_EMPTY, clock=time(hour, minutes), open_half=True)


@_rule(rf"\b(?:at\s+)?(?P<h>\d{{1,2}}|{_HOUR_WORD})(?::(?P<m>\d{{2}}))?\s+in\s+the\s+(?P<part>morning|afternoon|evening)\b")
def _(m: re.Match[str], _now: datetime) -> When | None:
    hour = _hour(int(count(m["h"])))
    return hour and replace(hour, clock=time(int(count(m["h"])) % 24, int(m["m"] or 0)), part=_EN_PARTS[m["part"]])


@_rule(rf"\b(?:at\s+)?(?P<h>\d{{1,2}}|{_HOUR_WORD})\s+at\s+night\b")
def _(m: re.Match[str], _now: datetime) -> When | None:
    hour = _hour(int(count(m["h"])))
    return hour and replace(hour, part="night")


@_rule(rf"\b(?:at\s+)?(?P<h>{_HOUR_WORD})[\s-](?P<m>fifteen|twenty|thirty|forty|forty-five|fifty)\b(?!\s*(?:{_EN_UNIT}))")
def _(m: re.Match[str], _now: datetime) -> When | None:
    hour = _hour(int(count(m["h"])))
    return hour and replace(hour, clock=time(int(count(m["h"])), int(count(m["m"]))))


@_rule(rf"差(?P<m>一刻|[{_ZH_FIGURES}\d]+分)钟?(?:到)?(?P<h>[{_ZH_FIGURES}\d]+)点")
def _(m: re.Match[str], _now: datetime) -> When:
    minutes, hour = 15 if m["m"] == "一刻" else int(count(m["m"][:-1])), int(count(m["h"]))
    return replace(_EMPTY, clock=time((hour - 1) % 24, 60 - minutes), open_half=hour <= 13)


@_rule(r"\b(?:at\s+)?(noon|midday|midnight)\b")
def _(m: re.Match[str], _now: datetime) -> When:
    return replace(_EMPTY, clock=time(0), part="night") if m[1] == "midnight" else replace(_EMPTY, clock=time(12))


@_rule(r"\b(?:in\s+the\s+|this\s+|at\s+)?(?P<part>morning|afternoon|evening|night|lunchtime)\b")
def _(m: re.Match[str], now: datetime) -> When:
    made = replace(_EMPTY, part=_EN_PARTS[m["part"]])
    return replace(made, day=now.date()) if m[0].startswith("this") else made


@_rule(r"\b(christmas(?:\s+(?:day|eve))?|new\s+year'?s\s+(?:day|eve)|圣诞节?|元旦|平安夜|国庆节?)(?![a-z])")
@_rule(r"(圣诞节?|元旦|平安夜|国庆节?|劳动节|五一)(?!\w*公司)")
def _(m: re.Match[str], now: datetime) -> When:
    name = m[1]
    if "eve" in name or name == "平安夜":
        month, day = (12, 24) if "christmas" in name or name == "平安夜" else (12, 31)
    elif "christmas" in name or name.startswith("圣诞"):
        month, day = 12, 25
    elif name.startswith("国庆"):
        month, day = 10, 1
    elif name in {"劳动节", "五一"}:
        month, day = 5, 1
    else:
        month, day = 1, 1
    return _day(_coming(now, month, day))


# Chinese


@_rule("|".join(sorted(_ZH_DAYS, key=len, reverse=True)))
def _(m: re.Match[str], now: datetime) -> When:
    return _day(now.date() + timedelta(days=_ZH_DAYS[m[0]]))


@_rule(r"(?P<day>[昨今明后])(?P<part>早上?|晨|晚上?)")
def _(m: re.Match[str], now: datetime) -> When:
    return _day(now.date() + timedelta(days=_ZH_SHORT[m["day"]]), part=_ZH_PARTS[m["part"]])


@_rule(rf"(?P<shift>{_ZH_SHIFT})?{_ZH_WEEK}(?P<day>[一二三四五六日天1-7])(?![\d个])")
def _(m: re.Match[str], now: datetime) -> When:
    index = _ZH_WEEKDAY[m["day"]]
    if m["shift"]:
        return _day(_monday(now, _ZH_SHIFTS[m["shift"].rstrip("个")]) + timedelta(days=index), weekday=True)
    return _day(now.date() + timedelta(days=(index - now.weekday()) % 7), weekday=True)


@_rule(rf"(?P<shift>{_ZH_SHIFT})?周末")
def _(m: re.Match[str], now: datetime) -> When:
    return _period(now, "weekend", _ZH_SHIFTS[(m["shift"] or "这").rstrip("个")])


@_rule(rf"(?P<shift>{_ZH_SHIFT})(?P<unit>周|星期|礼拜|月)(?P<edge>[初底])?(?![一二三四五六日天末\d])")
def _(m: re.Match[str], now: datetime) -> When:
    unit = "month" if m["unit"] == "月" else "week"
    return _period(now, unit, _ZH_SHIFTS[m["shift"].rstrip("个")], edge={"底": "end", "初": "start"}.get(m["edge"] or "", ""))


@_rule(r"(?P<year>[今明去后]年)(?P<edge>年?[初底])?(?!\d|[一二三四五六七八九十]+月)")
def _(m: re.Match[str], now: datetime) -> When:
    shift = {"去年": -1, "今年": 0, "明年": 1, "后年": 2}[m["year"]]
    return _period(now, "year", shift, edge={"底": "end", "初": "start"}.get((m["edge"] or "")[-1:], ""))


@_rule(r"(?<![个年])(?P<unit>[月年])(?P<edge>[底初末])")
def _(m: re.Match[str], now: datetime) -> When:
    return _period(now, "month" if m["unit"] == "月" else "year", 0, edge="start" if m["edge"] == "初" else "end")


@_rule(
    rf"(?:(?P<year>\d{{2,4}}|[零〇一二三四五六七八九]{{2,4}}|[今明去后])年)?(?P<month>{_HAN_WHOLE})月份?(?P<day>{_HAN_WHOLE})(?:日|号)?(?![点个:])"
)
def _(m: re.Match[str], now: datetime) -> When:
    year: int | None = None
    if m["year"]:
        shifts = {"去": -1, "今": 0, "明": 1, "后": 2}
        year = now.year + shifts[m["year"]] if m["year"] in shifts else int(count(m["year"]))
    return _day(_coming(now, int(count(m["month"])), int(count(m["day"])), year))


@_rule(
    rf"(?:(?P<year>\d{{4}}|[今明去后])年)?(?<![\d个])(?P<month>{_HAN_WHOLE})月份?(?P<edge>[初底])?(?![\d一二三四五六七八九十])"
)
def _(m: re.Match[str], now: datetime) -> When:
    shifts = {"去": -1, "今": 0, "明": 1, "后": 2}
    month = int(count(m["month"]))
    if m["year"]:
        year = now.year + shifts[m["year"]] if m["year"] in shifts else int(m["year"])
    else:
        year = now.year if month >= now.month else now.year + 1
    first, last = date(year, month, 1), date(year, month, monthrange(year, month)[1])
    if m["edge"]:
        return _day(last if m["edge"] == "底" else first)
    return _day(first, last=last)


@_rule(
    rf"(?:(?P<shift>{_ZH_SHIFT})月|(?<![\d月{_ZH_FIGURES}])(?=[\d{_ZH_FIGURES}]))(?P<day>{_HAN_WHOLE})(?:号(?![楼线院室房门店机桌厅馆仓车柜]|会议|会客|培训|餐厅)|日(?![本元]))"
)
def _(m: re.Match[str], now: datetime) -> When:
    number = int(count(m["day"]))
    if m["shift"]:
        first, _ = _month(now, _ZH_SHIFTS[m["shift"].rstrip("个")])
        return _day(first.replace(day=number))
    return _bare(number, now)


@_rule(
    rf"(?:再?过)?(?P<n>{_HAN}|半)(?P<ge>个)?(?P<ban>半)?(?P<unit>秒钟?|分钟|刻钟|小时|钟头|天|周|星期|礼拜|月|年)(?P<way>之?后|以后|之?前|以前)"
)
def _(m: re.Match[str], now: datetime) -> When | None:
    amount = count(m["n"]) + (Decimal("0.5") if m["ban"] else 0)
    if m["unit"] in {"月", "年"} and amount == Decimal("0.5"):
        amount, unit = Decimal(6 if m["unit"] == "年" else 15), "月" if m["unit"] == "年" else "天"
    else:
        unit = m["unit"]
    return _added(now, -amount if m["way"].endswith("前") else amount, unit)


@_rule(
    rf"(?P<part>{_ZH_PART})?(?P<h>\d{{1,2}}|[{_ZH_FIGURES}]+)(?:点(?!名|赞|击|评|子|心|餐)钟?|时(?!间|候|长|期|代))"
    rf"(?:(?P<half>半)|(?P<quarter>[一三1-3])刻|(?P<whole>整)|(?P<m>\d{{1,2}}|零?[{_ZH_FIGURES}]+)分?(?!钟|小|个|天))?"
)
def _(m: re.Match[str], _now: datetime) -> When | None:
    hour = int(count(m["h"]))
    if hour > 24:
        return None
    minute = 30 if m["half"] else 0
    if m["quarter"]:
        minute = 15 * int(count(m["quarter"]))
    elif m["m"]:
        minute = int(count(m["m"]))
    part = _ZH_PARTS[m["part"]] if m["part"] else ""
    if m["part"] in {"半夜", "深夜", "夜里"} and hour == 12:
        part = "night"
    return replace(_EMPTY, clock=time(hour % 24, minute), part=part, open_half=1 <= hour <= 12)


@_rule(rf"(?P<part>{_ZH_PART})")
def _(m: re.Match[str], _now: datetime) -> When:
    return replace(_EMPTY, part=_ZH_PARTS[m["part"]])
