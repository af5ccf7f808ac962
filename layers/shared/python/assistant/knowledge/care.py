"""What editors should look at: documents nobody has touched for long, and passages that say different things about the same."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

from assistant.knowledge.store import Listed
from assistant.knowledge.text import COMMON, cut, index_words

STALE_DAYS: Final = 365
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
_HAN_NUMBERS = re.compile("[零一二两三四五六七八九十百千万]+(?=[天日周月年元块%个名小时])")
_ALIKE: Final = 0.6
_MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two passages of different documents that answer alike questions with different numbers, or word for word the same."""

    kind: str
    """`numbers` or `copy`."""
    first: str
    second: str
    """`document#place` of each."""
    detail: str


def stale(documents: Sequence[Listed], *, now: float, days: float = STALE_DAYS) -> list[Listed]:
    """Documents that have not changed for `days`, the oldest first."""
    return sorted((d for d in documents if now - d.added > days * 86400), key=lambda d: d.added)


def conflicts(connection: sqlite3.Connection) -> list[Conflict]:
    """Pairs of passages that contradict or repeat one another, at most 200.

    Compared are passages of the same language whose headings share a telling word; two numbers under alike headings and
    otherwise like wording are worth a look. This finds what can be found without a model: different numbers, and copies.
    """
    rows = connection.execute(
        "SELECT d.id || '#' || p.place, d.number, p.heading, p.body, p.text, d.language FROM passages p"
        " JOIN documents d ON d.number = p.document ORDER BY p.id"
    )
    by_word: dict[tuple[str, str], list[int]] = defaultdict(list)
    passages: list[tuple[str, int, frozenset[str], frozenset[str], frozenset[str]]] = []
    copies: dict[str, str] = {}
    found: list[Conflict] = []
    for name, document, heading, body, text, language in rows:
        if len(body) > 80:
            if body in copies and copies[body].partition("#")[0] != name.partition("#")[0]:
                found.append(Conflict(kind="copy", first=copies[body], second=name, detail=" ".join(text.split())[:80]))
            copies.setdefault(body, name)
        numbers = frozenset(_NUMBERS.findall(text)) | frozenset(_HAN_NUMBERS.findall(text))
        if not numbers or len(text) > 1200:
            continue
        telling = frozenset(index_words(heading)) - COMMON
        words = frozenset(cut(_HAN_NUMBERS.sub("", _NUMBERS.sub("", text)))) - COMMON
        passages.append((name, document, telling, words, numbers))
        for word in telling:
            by_word[(language, word)].append(len(passages) - 1)
    seen: set[tuple[int, int]] = set()
    for group in by_word.values():
        if len(group) > 50:
            continue  # a word that heads everything tells nothing
        for a, b in combinations(group, 2):
            if (a, b) in seen or len(found) >= _MOST:
                continue
            seen.add((a, b))
            one, two = passages[a], passages[b]
            if one[1] == two[1] or one[4] == two[4]:
                continue
            if _jaccard(one[2] | one[3], two[2] | two[3]) >= _ALIKE:
                numbers_ = f"{', '.join(islice(sorted(one[4]), 5))} ≠ {', '.join(islice(sorted(two[4]), 5))}"
                found.append(Conflict(kind="numbers", first=one[0], second=two[0], detail=numbers_))
    return found[:_MOST]


def _jaccard(one: frozenset[str], two: frozenset[str]) -> float:
    return len(one & two) / (len(one | two) or 1)
