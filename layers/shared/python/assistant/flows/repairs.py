"""What people say to steer a conversation instead of answering: cancel, start over, why, a correction, a person, please.

The phrases are in `locales/repairs.json`, to be translated and extended as they are.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Literal, get_args

from assistant.slots.numbers import folded

Repair = Literal["stop", "cancel", "restart", "why", "hand_over", "back", "skip", "status", "continue"]

_HAN = "\u3400-\u9fff"
_SIGNS = re.compile(rf"[^\w{_HAN}' ]+")


def repair_of(text: str) -> Repair | None:
    """The repair that `text` is as a whole, politeness aside: "oh, please cancel that!", "那算了吧"; None for anything else."""
    if len(text) > 80:
        return None
    return next((_phrases()[said] for said in _readings(_bare(text)) if said in _phrases()), None)


def corrects(text: str) -> bool:
    """True where `text` says that something before it was wrong ("no, I meant Friday", "改成周五")."""
    plain = folded(text)
    return bool(_correcting().search(plain))


def corrected(text: str) -> str:
    """`text` without what it takes back, at the same places: of "not Thursday, Friday" the Thursday is blanked."""
    plain = folded(text)
    out = list(text)
    for pattern in _TAKEN_BACK:
        for match in pattern.finditer(plain):
            out[match.start() : match.end()] = " " * (match.end() - match.start())
    return "".join(out)


_TAKEN_BACK = (
    re.compile(r"\bnot\s++[^,;.，。]{1,200}?(?:[,;，]|(?<!\s)\s++but\b)"),
    re.compile(r"[,，]\s*+not\s++[^,;.，。]++$"),
    re.compile(r"\binstead\s+of\s+[^,;.，。]+"),
    re.compile(r"\brather\s+than\s+[^,;.，。]+"),
    re.compile(r"不是[^,，。；是]+(?:[,，；]|(?=是|而是))"),
    re.compile(r"[,，]\s*+不是[^,，。；]++$"),
    re.compile(r"\bfrom\s++[^,;.，。]{1,200}?(?<!\s)\s++to\s++(?=the\b)"),
    re.compile(r"(?<=把)[^,，。；]{1,200}?(?=改成|改为|改到|换成|换到)"),
)

_QUESTION_WORDS = re.compile(
    r"\s*(?:what|who|whom|whose|when|where|which|how|why|is|are|was|were|do|does|did|can|could|should|would|will|tell\s+me)\b"
)
_ZH_QUESTION = re.compile(r"[吗呢么嘛]\s*+[?？。]?\s*+$|什么|怎么|如何|哪|几点|多少|为何|谁|是否|能不能|可不可以|有没有|是不是")


def asks(text: str) -> bool:
    """True where `text` reads like a question rather than an answer."""
    plain = folded(text).strip()
    return plain.endswith("?") or bool(_QUESTION_WORDS.match(plain)) or bool(_ZH_QUESTION.search(plain))


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", _SIGNS.sub(" ", folded(text).replace("'", "'"))).strip()


def _readings(said: str) -> Iterator[str]:
    """`said`, then what is left of it when polite words are taken off either end, in every order, the longest first."""
    polite = _words()["polite"]
    seen = {said}
    waiting = [said]
    while waiting:
        said = waiting.pop(0)
        yield said
        shorter = {said.removeprefix(f"{word} ") for word in polite["en"]} | {
            said.removesuffix(f" {word}") for word in polite["en"]
        }
        for word in polite["zh-CN"]:
            shorter |= {said.removeprefix(word).strip(), said.removesuffix(word).strip()}
        fresh = sorted(shorter - seen - {""}, key=len, reverse=True)
        seen.update(fresh)
        waiting += fresh


@functools.cache
def _words() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads((files("assistant") / "locales" / "repairs.json").read_text("utf-8"))
    return loaded


@functools.cache
def _phrases() -> dict[str, Repair]:
    return {_bare(phrase): kind for kind in get_args(Repair) for language in _words()[kind].values() for phrase in language}


@functools.cache
def _correcting() -> re.Pattern[str]:
    words = _words()["correction"]
    english = "|".join(re.escape(w) for w in words["en"])
    return re.compile(rf"\b(?:{english})\b|{'|'.join(re.escape(w) for w in words['zh-CN'])}")
