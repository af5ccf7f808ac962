"""The order of what was found: BM25 over what the asker may see, with closeness of the words, and how sure that is.

FTS5 proposes candidates; they are ranked here with numbers that come from the passages the asker may see alone, so that a
hidden document changes no score.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from assistant.knowledge.store import SHIFT
from assistant.knowledge.text import COMMON, cut, is_cjk, match_query

K1: Final = 1.0
B: Final = 0.4
HEADING: Final = 0.5
"""How much a word in a title or heading counts against one in the text."""
COMMON_WEIGHT: Final = 0.1
SINGLE: Final = 0.6
"""How much a single Chinese character counts against a pair."""
CLOSE: Final = 0.3
"""Weight of two of the question's words standing side by side, as they do in the question."""
WORDS: Final = 48
"""Words of a question that are looked at: the rarest, where it is longer."""
CANDIDATES: Final = 12
POSTINGS: Final = 20_000
"""Entries of the index that one question may touch; the rarest words go first, common ones only rank what those found."""
SURE: Final = 0.54
"""From this certainty on the best hit is worth answering from; docs/knowledge.md tells how it was measured."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage's row and how well it fits; `covered`: the share of the question's meaning that it holds, 0–1."""

    row: int
    score: float
    covered: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hits, best first, and how certain it is that the first one holds the answer."""

    hits: tuple[Hit, ...] = ()
    certainty: float = 0.0

    @property
    def sure(self) -> bool:
        """True where the best hit is worth answering from."""
        return self.certainty >= SURE


def search(connection: sqlite3.Connection, question: str, audiences: Sequence[int], *, limit: int) -> Ranking:
    """The best passages of `audiences` for `question`, best first."""
    asked = list(dict.fromkeys(cut(question[:4000])))
    if not asked or not audiences:
        return Ranking()
    seen = ",".join(str(int(a)) for a in audiences)
    total, body_size = connection.execute(
        f"SELECT COALESCE(SUM(passages), 0), SUM(body) FROM sizes WHERE audience IN ({seen})"  # noqa: S608  # whole numbers
    ).fetchone()
    if not total:
        return Ranking()
    marks = ",".join("?" * len(asked))
    counts: dict[str, int] = dict(
        connection.execute(
            f"SELECT term, SUM(passages) FROM terms WHERE term IN ({marks}) AND audience IN ({seen}) GROUP BY term",  # noqa: S608  # whole numbers
            asked,
        )
    )
    weights = {w: _weight(w, counts.get(w, 0), total) for w in asked}
    if len(asked) > WORDS:
        kept = set(sorted(asked, key=lambda w: -weights[w])[:WORDS])
        asked = [w for w in asked if w in kept]
        weights = {w: weights[w] for w in asked}
    if not (searched := _worth_searching(asked, counts)):
        return Ranking()
    rows = connection.execute(
        f"SELECT p.id, p.heading, p.body FROM (SELECT rowid AS id FROM words WHERE words MATCH ? AND rowid >> {SHIFT} IN ({seen})"  # noqa: S608  # whole numbers
        f" ORDER BY bm25(words, {HEADING}, 1.0) LIMIT {max(CANDIDATES, limit)}) AS f JOIN passages p ON p.id = f.id",
        [match_query(searched)],
    )
    scale = _Scale(weights, body_size / total)
    hits = [scale.hit(row, heading, body) for row, heading, body in rows]
    hits.sort(key=lambda h: (-h.score, h.row))
    return Ranking(tuple(hits[:limit]), _certainty(hits, total))


def _certainty(hits: Sequence[Hit], total: int) -> float:
    """How much of the question the best hit covers, how much rare wording that is, and how far it stands above the others.

    The evidence is counted in words that stand in one passage of 240, where the threshold was measured, so that it means the
    same in a small and in a large base. Hits with the very same score are copies and do not make each other doubtful.
    """
    if not hits:
        return 0.0
    best = hits[0]
    rival = next((h.score for h in hits if h.score < best.score * 0.999), 0.0)
    evidence = best.score * _rarest(240) / _rarest(total)
    return best.covered + math.log1p(evidence) / 8 - 0.3 * rival / best.score


def _rarest(total: int) -> float:
    return math.log(1 + (total + 0.5) / 0.5)


def _weight(word: str, count: int, total: int) -> float:
    idf = math.log(1 + (total - count + 0.5) / (count + 0.5))
    return idf * COMMON_WEIGHT if word in COMMON else idf


def _worth_searching(asked: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """The words that find candidates: the rarest first, as many as the postings allow."""
    searched: list[str] = []
    touched = 0
    for word in sorted((w for w in asked if counts.get(w)), key=lambda w: (w in COMMON, counts[w])):
        if searched and (touched + counts[word] > POSTINGS or (word in COMMON and len(searched) > 2)):
            break
        searched.append(word)
        touched += counts[word]
    return searched


class _Scale:
    """Scores passages for one question."""

    def __init__(self, weights: Mapping[str, float], body: float) -> None:
        self._meaning = weights
        self._weights = {w: v * SINGLE if len(w) == 1 and is_cjk(w) else v for w, v in weights.items()}
        self._whole = sum(weights.values()) or 1.0
        self._body = max(body, 1.0)
        # single Chinese characters stand between the pairs they belong to: a pair's neighbour is two places on
        strong = [w for w in weights if len(w) > 1 or not is_cjk(w)]
        self._after = {a: (b, 2 if is_cjk(a) and is_cjk(b) else 1) for a, b in pairwise(strong)}

    def hit(self, row: int, heading: str, body: str) -> Hit:
        weights, after = self._weights, self._after
        words = body.split()
        frequency: dict[str, float] = {}
        close: dict[str, float] = {}
        step = 1 / (1 - B + B * len(words) / self._body)
        for at in [at for at, word in enumerate(words) if word in weights]:  # most words are not asked for: the quickest way past
            word = words[at]
            frequency[word] = frequency.get(word, 0.0) + step
            if word in after and word not in close:
                follower, distance = after[word]
                if at + distance < len(words) and words[at + distance] == follower:
                    close[word] = min(weights[word], weights[follower])
        for word in set(heading.split()):
            if word in weights:
                frequency[word] = frequency.get(word, 0.0) + HEADING
        score = sum(weights[w] * f * (K1 + 1) / (f + K1) for w, f in frequency.items()) + CLOSE * sum(close.values())
        return Hit(row, score, sum(self._meaning[w] for w in frequency) / self._whole)
