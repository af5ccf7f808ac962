"""Text as the index sees it: words stemmed, Chinese, Japanese and Korean cut into characters and pairs. Deterministic.

The same cut is made when a passage is stored and when a question is asked, in Python, so that ranking can count the words
of a passage itself; SQLite only ever sees letters and digits, which makes every question safe against its query syntax.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

CUT_VERSION: Final = "1"
"""Stored in every knowledge file: one that was cut differently must be rebuilt."""

_CJK = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002ebef"
_PIECES = re.compile(rf"([{_CJK}]+)|([^\W_{_CJK}]+)")
_GROUPED = re.compile(r"[,，](?<=\d[,，])(?=\d{3}(?!\d))")
_MARKS = re.compile("[\u0300-\u036f]")
_ANY_CJK = re.compile(f"[{_CJK}]")
_APOSTROPHE = re.compile(r"['’](?<=\w['’])(?:s?(?!\w)|(?=\w))")  # what it begins with is found much sooner than what it follows
_LONGEST = 40


def fold(text: str) -> str:
    """`text` in one spelling: full width to half, upper to lower case, accents dropped, broken characters gone."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", _MARKS.sub("", unicodedata.normalize("NFKD", text)))


def is_cjk(text: str) -> bool:
    """True where `text` holds a Chinese, Japanese or Korean character."""
    return _ANY_CJK.search(text) is not None


def squeeze(text: str) -> str:
    """What of `text` is searched, in order and separated by blanks: stemmed words, whole runs of Chinese characters."""
    return " ".join(
        cjk or stem(word[:_LONGEST]) for cjk, word in _PIECES.findall(_GROUPED.sub("", _APOSTROPHE.sub(" ", fold(text))))
    )


def index_words(squeezed: str) -> list[str]:
    """The index words in what `squeeze` gave: Chinese runs become characters and pairs of them."""
    words: list[str] = []
    for piece in squeezed.split():
        if piece.isascii() or not is_cjk(piece):
            words.append(piece)
            continue
        for first, second in zip(piece, piece[1:] + " ", strict=True):
            words.append(first)
            if second != " ":
                words.append(first + second)
    return words


def cut(text: str) -> list[str]:
    """The index words of `text`, in order: "差旅标准 applies" → 差 差旅 旅 旅标 标 标准 准 appli."""
    return index_words(squeeze(text))


def match_query(words: list[str]) -> str:
    """An FTS5 query for any of `words`, which come from `cut` and so hold no syntax; quoted all the same."""
    return " OR ".join('"' + w.replace('"', "") + '"' for w in words)


# --- words that say nothing about the subject ---------------------------------------------------

_ENGLISH = """
a about above after again all also am an and any are as at be because been before being below between both but by can could
did do does doing don down during each few for from further get give had has have having he her here hers him his how i if in
into is it its itself just let many may me might more most much must my no nor not of off on once only or other our out over
please same shall she should so some such tell than that the their them then there these they this those through to too
under until up upon us very was we were what when where which while who whom whose why will with would you your
""".split()  # noqa: SIM905  # a list of a hundred quoted words is harder to read and to extend
_CHINESE = """
的 了 是 在 有 和 与 或 吗 呢 吧 啊 我 你 您 他 她 它 们 这 那 哪 个 么 什 怎 样 多 少 谁 为 何 以 被 把 给 对 从 到 由 于 之 其
也 都 就 还 而 及 但 请 问 能 会 可 该 要 想 些 几 年 中 什么 怎么 怎样 如何 哪些 哪个 哪里 为什 多少 谁是 是谁 是什 请问 我们
你们 他们 我的 一个 一些 可以 是否 有没 没有 有什 有哪 的是 是在 在哪 个是 么是 是哪 了什 为了 被称 什么是 几个 么样 是多
""".split()  # noqa: SIM905


# --- the stemmer --------------------------------------------------------------------------------
# M. F. Porter, "An algorithm for suffix stripping", Program 14 (1980): tartarus.org/martin/PorterStemmer/def.txt

_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("abli", "able"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"), ("ator", "ate"),
    ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"),
    ("biliti", "ble"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion", "al",
    "er", "ic", "ou",
)  # fmt: skip


def _shape(word: str) -> str:
    shape = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and shape.endswith("c"))
        shape += "v" if vowel else "c"
    return shape


def _measure(word: str) -> int:
    return _shape(word).count("vc")


def _ends_cvc(word: str) -> bool:
    return _shape(word)[-3:] == "cvc" and word[-1] not in "wxy"


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a lower-case English word; anything else comes back as it is."""
    if len(word) <= 2 or not (word.isascii() and word.isalpha()):
        return word
    word = _plurals(word)
    word = _past_and_gerund(word)
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    for endings in (_STEP_2, _STEP_3):
        for ending, instead in endings:
            if word.endswith(ending):
                if _measure(word[: -len(ending)]) > 0:
                    word = word[: -len(ending)] + instead
                break
    for ending in _STEP_4:
        if word.endswith(ending):
            rest = word[: -len(ending)]
            if _measure(rest) > 1 and (ending != "ion" or rest.endswith(("s", "t"))):
                word = rest
            break
    if word.endswith("e"):
        size = _measure(word[:-1])
        if size > 1 or (size == 1 and not _ends_cvc(word[:-1])):
            word = word[:-1]
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word


def _plurals(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_gerund(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and "v" in _shape(rest):
            if rest.endswith(("at", "bl", "iz")):
                return rest + "e"
            if len(rest) > 1 and rest[-1] == rest[-2] and _shape(rest)[-1] == "c" and rest[-1] not in "lsz":
                return rest[:-1]
            return rest + "e" if _measure(rest) == 1 and _ends_cvc(rest) else rest
    return word


COMMON: Final[frozenset[str]] = frozenset(stem(w) for w in _ENGLISH) | frozenset(_CHINESE)
"""Words of questions rather than of subjects, as `cut` gives them; they count little."""
