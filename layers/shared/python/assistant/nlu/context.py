"""Follow-ups that lean on the question before them, made whole without a model: "and in Beijing?", "那上海呢？"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from assistant.slots import Context, Kind, SlotType, find

LONGEST_FOLLOW_UP = 60
"""Characters; what is longer says enough by itself."""

_OPENING = re.compile(
    r"^\s*(?:(?:ok(?:ay)?|thanks|great|so|oh|hm+)[,.!]?\s+)*"
    r"(?:(?:and\s+|or\s+|but\s+)?(?:what|how)\s+about|(?:and|or|but)(?:\s+(?:what|how)\s+(?:if\s+it\s+is|is\s+it))?|(?:the\s+)?same\s+(?:question\s+)?for|"
    r"what\s+if\s+(?:it\s+is|it's))\s+",
    re.IGNORECASE,
)
_BARE = re.compile(r"^\s*(?:in|for|on|at|from|to|with|without|during|until|after|before|as)\s+", re.IGNORECASE)
_ZH_FOLLOW = re.compile(
    r"^\s*+(?:好的|谢谢|嗯)?[，,。\s]*+(?P<lead>那么|那|还有|另外|换成|如果是|要是|要是换成|如果换成)?\s*+"
    r"(?P<what>.+?)(?<!\s)\s*+(?P<end>呢|又?怎么样|也一样吗|也是吗|呢吗)?$"
)
_PRONOUN = re.compile(
    r"\b(?:it|its|that\s+one|this\s+one|those|these|they|them|their|there|he|she|him|her)\b|\b(?:that|this)\s*[?.]*$|"
    r"\b(?:is|does|about|of|for|with)\s+(?:that|this)\b",
    re.IGNORECASE,
)
_ZH_PRONOUN = re.compile(
    r"[它他她](?:们)?|这个(?!月|周|星期|礼拜)|那个(?!月|周|星期|礼拜)|这些|那些|上面(?:说|提)|刚才(?:说|提)的?|那里|那边|这种|那种"
)
_VERBS = re.compile(
    r"\b(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have|had|get|gets|need|needs|know|tell|show|give|find|book|"
    r"request|open|reset|send|make|write|go|happens?|works?)\b",
    re.IGNORECASE,
)
_SIDES = re.compile(r"(?<![\s?？.。!！,，;；])[\s?？.。!！,，;；]++$")
_PREPOSITIONS = (
    "in",
    "for",
    "on",
    "at",
    "from",
    "to",
    "with",
    "without",
    "during",
    "until",
    "after",
    "before",
    "as",
    "of",
    "by",
    "about",
)
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the is are was were do does did can could should would will has have had i you we they he she it my your our their
        its what which who whom whose when where why how much many long often far and or but if not no than then there this that
        these those get gets be been""",
    )
) | frozenset(_PREPOSITIONS)


def contextualise(question: str, previous: str | Sequence[str]) -> str:
    """`question` with what it takes over from the question before it; unchanged where it stands by itself.

    `previous` is the last question, or several from old to new (each is made whole with the one before it).
    """
    if not isinstance(previous, str):
        whole = ""
        for older in previous:
            whole = contextualise(older, whole)
        previous = whole
    text, before = question.strip(), previous.strip()
    if not text or not before or len(text) > LONGEST_FOLLOW_UP:
        return question
    if (fragment := _fragment(text)) is not None:
        return _put(fragment, before)
    if _leans(text):
        return f"{text} ({_SIDES.sub('', before)})"
    return question


def _fragment(text: str) -> str | None:
    """The part that is new in a follow-up ("in Beijing", "上海"); None where the text is no such follow-up."""
    if _is_chinese(text):
        match = _ZH_FOLLOW.match(text.rstrip("？?。!！ \t\r\n\u3000"))
        if not match or not (match["end"] or match["lead"]):
            return None
        what = match["what"].removeprefix("换成").strip("，,。 ")
        sentence = re.search(r"[是有能要会可吗]|怎么|什么|多少|为什么|几|谁|哪", what)
        return None if not what or sentence or len(what) > 12 else what
    opening = _OPENING.match(text)
    bare = _BARE.match(text)
    if not opening and not bare:
        return None
    rest = _SIDES.sub("", text[opening.end() :] if opening else text)
    if not rest or len(rest.split()) > 6 or _VERBS.search(rest) or _PRONOUN.search(rest):
        return None
    return rest


def _leans(text: str) -> bool:
    if _is_chinese(text):
        return bool(_ZH_PRONOUN.search(text)) and len(text) <= 30
    return bool(_PRONOUN.search(text)) and len(text.split()) <= 12


def _is_chinese(text: str) -> bool:
    return re.search("[\u3400-\u9fff]", text) is not None


def _put(fragment: str, before: str) -> str:
    """`before` with its part of the fragment's kind replaced by the fragment; put beside it where there is none."""
    ways: tuple[Callable[[str, str], str | None], ...] = (
        (_same_kind, _same_place, _same_shape_zh, _owner_zh)
        if _is_chinese(before)
        else (_same_kind, _same_preposition, _same_head, _same_shape, _last_object)
    )
    for way in ways:
        if (made := way(fragment, before)) is not None:
            return made
    end = re.search(r"(?<![?？.。!！\s])[?？.。!！\s]*+$", before)
    cut = end.start() if end else len(before)
    gap = "，" if _is_chinese(before) else ", "
    return f"{before[:cut]}{gap}{fragment}{before[cut:]}"


_TYPED: tuple[Kind, ...] = ("email", "money", "datetime", "date", "duration", "number")
_ANY_TIME = Context(now=datetime(2026, 1, 5, tzinfo=UTC))


def _same_kind(fragment: str, before: str) -> str | None:
    """Times, amounts and addresses take the place of their like: "and tomorrow?"."""
    for kind in _TYPED:
        slot = SlotType(kind=kind)
        new = find(slot, fragment, _ANY_TIME)
        old = find(slot, before, _ANY_TIME)
        if not new or not old or (kind == "number" and new[0].end - new[0].start < len(fragment.strip())):
            continue
        start, end = old[-1].start, old[-1].end
        value = fragment
        own = _BARE.match(fragment)
        if own and before[:start].rstrip().lower().endswith(tuple(f" {p}" for p in _PREPOSITIONS)):
            start = before[:start].rstrip().rindex(" ") + 1
        return before[:start] + value + before[end:]
    return None


def _same_preposition(fragment: str, before: str) -> str | None:
    """ "in Beijing" takes the place of "in Shanghai"."""
    own = _BARE.match(fragment)
    if not own:
        return None
    word = own[0].strip()
    places = list(re.finditer(rf"\b{word}\s+(?P<object>{_PHRASE})", before, re.IGNORECASE))
    return before[: places[-1].start()] + fragment + before[places[-1].end() :] if places else None


_NOT_INSIDE = rf"(?!(?:{'|'.join(_PREPOSITIONS)}|and|or|if|when|is|are|do|does|can|need|per)\b)"
_PHRASE = rf"(?:{_NOT_INSIDE}[^\s,;?!.]+)(?:\s+{_NOT_INSIDE}[^\s,;?!.]+){{0,3}}"


def _same_head(fragment: str, before: str) -> str | None:
    """ "sick leave" takes the place of "annual leave": as many words, the same last one."""
    words = re.sub(r"^(?:the|an?|my|our)\s+", "", fragment, flags=re.IGNORECASE).split()
    if len(words) < 2:
        return None
    own = rf"(?P<old>(?:[^\s,;?!.]+\s+){{{len(words) - 1}}}{re.escape(words[-1])})(?!\w)"
    for match in re.finditer(own, before, re.IGNORECASE):
        if not _FUNCTION_WORDS.intersection(match["old"].lower().split()):
            return before[: match.start()] + " ".join(words) + before[match.end() :]
    return None


def _same_shape(fragment: str, before: str) -> str | None:
    """A name takes the place of a name, "managers" that of "interns": the last word of the same shape."""
    if _BARE.match(fragment):
        return None
    bare = re.sub(r"^(?:the|an?|my|our)\s+", "", fragment, flags=re.IGNORECASE)
    words = bare.split()
    proper = words[0][:1].isupper()
    best: tuple[int, int, int, int] | None = None
    for match in re.finditer(r"[^\s,;?!.]+", before):
        word = match[0]
        if word.lower() in _FUNCTION_WORDS or word.lower() == bare.lower():
            continue
        capital = word[:1].isupper() and match.start() > 0
        alike = _common_end(word.lower(), words[-1].lower())
        if capital != proper or (not proper and not alike):
            continue
        best = max(best or (0, 0, 0, 0), (alike if not proper else 1, match.start(), match.start(), match.end()))
    if best is None:
        return None
    _, _, start, end = best
    if proper:  # the whole name, not its last word
        while earlier := re.search(r"(?<=\s)[A-Z]\S*\s+$", before[:start]):
            start = earlier.start()
    return before[:start] + bare + before[end:]


def _common_end(a: str, b: str) -> int:
    length = 0
    while length < min(len(a), len(b), 4) and a[-1 - length] == b[-1 - length]:
        length += 1
    return length


def _last_object(fragment: str, before: str) -> str | None:
    """Without better knowledge: the object of the last preposition."""
    if _BARE.match(fragment):
        return None
    places = list(re.finditer(rf"\b(?:for|in|at|to|from|with|as)\s+(?P<object>{_PHRASE})", before, re.IGNORECASE))
    return before[: places[-1].start("object")] + fragment + before[places[-1].end("object") :] if places else None


# --- Chinese ------------------------------------------------------------------------------------

_PLACES = (
    "北京|上海|广州|深圳|杭州|南京|苏州|成都|重庆|武汉|西安|天津|长沙|郑州|青岛|大连|宁波|厦门|福州|济南|沈阳|哈尔滨|长春|合肥|南昌|昆明|"
    "贵阳|南宁|海口|三亚|太原|石家庄|呼和浩特|银川|兰州|西宁|乌鲁木齐|拉萨|香港|澳门|台北|东莞|佛山|无锡|珠海|中国|美国|日本|韩国|新加坡|"
    "英国|法国|德国|东京|首尔|伦敦|巴黎|纽约|柏林|欧洲|亚洲|国内|国外|海外|境内|境外"
)
_ZH_PLACE = re.compile(rf"(?:{_PLACES})(?:市|省)?")


def _same_place(fragment: str, before: str) -> str | None:
    """A place takes the place of a place."""
    if not _ZH_PLACE.search(fragment):
        return None
    old = list(_ZH_PLACE.finditer(before))
    bare = re.sub(r"^[在去到]", "", fragment)
    return before[: old[-1].start()] + bare + before[old[-1].end() :] if old else None


def _same_shape_zh(fragment: str, before: str) -> str | None:
    """Words that end alike are of a kind: 年假 and 病假, 正式员工 and 实习员工."""
    for length in range(min(3, len(fragment) - 1), 0, -1):
        at = before.rfind(fragment[-length:])
        start = at + length - len(fragment)
        if at >= 0 and start >= 0 and before[start : at + length] != fragment:
            clean = before[start : at + length]
            if not re.search(r"[的是有在，,？?、了吗呢]", clean):
                return before[:start] + fragment + before[at + length :]
    return None


def _owner_zh(fragment: str, before: str) -> str | None:
    """Who or what the question is about: before the first 的, or after a preposition."""
    owner = re.match(r"(?P<lead>请问|我想知道|告诉我|查一下)?(?P<owner>[^的，,？?是有]{1,6})的", before)
    if owner and not re.search(r"什么|怎么|哪|谁|几|多少|我|公司", owner["owner"]):
        return before[: owner.start("owner")] + fragment + before[owner.end("owner") :]
    after = re.search(r"[给对为跟和](?P<owner>[^，,？?的是有]{2,4}?)(?=的|有|能|可以|需要|要|$)", before)
    return before[: after.start("owner")] + fragment + before[after.end("owner") :] if after else None
