"""Numbers as people write them in English and Chinese, with the place where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_FOLDED = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0x2019: 0x27, 0x2013: 0x2D, 0x2014: 0x2D}


def folded(text: str) -> str:
    """`text` in lower case with full-width signs as ASCII, every character where it was (spans stay true)."""
    wide = text.translate(_FOLDED)
    return "".join(low if len(low := c.lower()) == 1 else c for c in wide)


@dataclass(frozen=True, slots=True)
class Number:
    """A number and its span."""

    value: Decimal
    start: int
    end: int


_EN_UNITS = {
    word: number
    for number, word in enumerate(
        (
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        )
    )
}
_EN_TENS = {
    word: 20 + 10 * i for i, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"))
}
_EN_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
_EN_WORD = "|".join(sorted([*_EN_UNITS, *_EN_TENS, *_EN_SCALES], key=len, reverse=True))
_ENGLISH = (
    rf"(?:(?:an?|half a)\s+(?=(?:hundred|thousand|million|billion|dozen)\b))?(?:{_EN_WORD})"
    rf"(?:(?:\s*-\s*|\s+(?:and\s+)?)(?:{_EN_WORD}))*(?:\s+and\s+a\s+half)?\b"
)

_ZH_DIGITS = {
    **{c: i for i, c in enumerate("零一二三四五六七八九")},
    **{c: i for i, c in enumerate("零壹贰叁肆伍陆柒捌玖")},
    "〇": 0,
    "两": 2,
    "俩": 2,
    "貳": 2,
    "參": 3,
    "陸": 6,
}
_ZH_TENS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_ZH_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_ZH_CHARS = "".join([*_ZH_DIGITS, *_ZH_TENS, *_ZH_MYRIADS])
CHINESE_NUMERAL = f"[{_ZH_CHARS}]+(?:点[{''.join(_ZH_DIGITS)}]+)?"
_FIGURES = r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<=[\u4e00-\u9fff])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_MAGNITUDE = r"\s*(?:million|billion|thousand|hundred|dozen|百万|千万|[十百千万萬亿億]+)|k\b|m\b(?!\w)|bn\b"

_NUMBER = re.compile(
    rf"(?P<figures>{_FIGURES})(?P<magnitude>{_MAGNITUDE})?|\b(?P<english>{_ENGLISH})|(?P<chinese>{CHINESE_NUMERAL})"
)
_MAGNITUDES = {"k": 10**3, "m": 10**6, "bn": 10**9, **_EN_SCALES}
LARGEST = Decimal(10) ** 18
"""Numbers from here on are ids, not amounts; they are not read as numbers."""


def numbers(text: str) -> list[Number]:
    """All numbers in `text`, from left to right: `1,234.5`, `3.5万`, `1.5k`, `twenty-three`, `二十三`, `三千五`."""
    plain = folded(text)
    found: list[Number] = []
    for match in _NUMBER.finditer(plain):
        value = _value(match)
        if value is None or abs(value) >= LARGEST:
            continue
        last = found[-1] if found else None
        if last and last.end == match.start() and plain[match.start() - 1] in _ZH_MYRIADS and value < last.value:
            found[-1] = Number(last.value + value, last.start, match.end())  # 1亿2000万
        else:
            found.append(Number(value, match.start(), match.end()))
    return found


def _value(match: re.Match[str]) -> Decimal | None:
    if figures := match["figures"]:
        value = Decimal(figures.replace(",", ""))
        if unit := (match["magnitude"] or "").strip():
            value *= _MAGNITUDES[unit] if unit in _MAGNITUDES else _scale_of(unit)
        return value
    if english := match["english"]:
        return english_value(english)
    return chinese_value(match["chinese"])


def _scale_of(unit: str) -> int:
    scale = 1
    for character in unit:
        scale *= _ZH_TENS.get(character) or _ZH_MYRIADS[character]
    return scale


def english_value(text: str) -> Decimal | None:
    """The number that English words spell, None where they spell none."""
    words = text.replace("-", " ").split()
    half = Decimal(0)
    if words[-3:] == ["and", "a", "half"]:
        words, half = words[:-3], Decimal("0.5")
    factor = Decimal(1)
    if words[:2] == ["half", "a"]:
        words, factor = words[2:], Decimal("0.5")
    total = current = 0
    any_word = False
    for word in words:
        if word in {"a", "an", "and"}:
            continue
        any_word = True
        if word in _EN_SCALES:
            scale = _EN_SCALES[word]
            current = max(current, 1) * scale
            if scale >= 1000:
                total, current = total + current, 0
        else:
            current += _EN_UNITS[word] if word in _EN_UNITS else _EN_TENS[word]
    return (Decimal(total + current) * factor + half) if any_word else None


def chinese_value(text: str) -> Decimal | None:
    """The number that Chinese numerals spell (`二十三`, `三千五` = 3500, `二〇二六` = 2026, `三点五`), None for no number."""
    whole, _, fraction = text.partition("点")
    if not any(c in _ZH_DIGITS or c in {"十", "拾"} for c in whole):
        return None
    if len(whole) > 1 and all(c in _ZH_DIGITS for c in whole):
        value = Decimal("".join(str(_ZH_DIGITS[c]) for c in whole))
    else:
        value = Decimal(_chinese_whole(whole))
    if fraction:
        value += Decimal("0." + "".join(str(_ZH_DIGITS[c]) for c in fraction))
    return value


def _chinese_whole(text: str) -> int:
    total = section = 0
    digit: int | None = None
    last_unit = 0
    for character in text:
        if character in _ZH_DIGITS:
            digit = _ZH_DIGITS[character]
            if digit == 0:
                last_unit = 0  # 一千零五 is 1005, 一千五 is 1500
        elif character in _ZH_TENS:
            last_unit = _ZH_TENS[character]
            section += (1 if digit is None else digit) * last_unit
            digit = None
        else:
            last_unit = _ZH_MYRIADS[character]
            section += digit or 0
            total = (total + max(section, 1)) * last_unit if last_unit > 10**4 else total + max(section, 1) * last_unit
            section, digit = 0, None
    if digit is not None:
        section += digit * (last_unit // 10 if last_unit >= 100 else 1)
    return total + section
