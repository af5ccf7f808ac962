"""The order of what was found: BM25 over what the asker may see, with closeness of the words, and how sure that is.

The index says which passages hold which words of the question; the rare words decide which passages are looked at, and
those are ranked by reading them. All numbers come from the passages that the asker may see alone, so that a hidden document
changes no score, and each question touches a bounded part of the index, however large the base.
"""

from __future__ import annotations

import heapq
import math
import sqlite3
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from assistant.knowledge.store import FREQUENT, SHIFT
from assistant.knowledge.text import COMMON, cut, index_words, is_cjk, match_query

K1: Final = 1.0
B: Final = 0.4
HEADING: Final = 0.5
"""How much a word in a title or heading counts against one in the text."""
COMMON_WEIGHT: Final = 0.07
"""Weight of a word of questions; a word in one of 240 passages weighs 5, one in half of them 0.7."""
SINGLE: Final = 0.6
"""How much a single Chinese character counts against a pair."""
HELPERS: Final = 6
"""Frequent words that help to choose among the passages that the rare words found."""
MEANING: Final = 4.0
"""Weight of known words below which a question is ranked by its small words too."""
ALIKE: Final = 3.0
"""Weight of a heading that asks the very question."""
CLOSE: Final = 0.3
"""Weight of two of the question's words standing side by side, as they do in the question."""
LOOKED_UP: Final = 200
"""Words of a question that are looked up in the index."""
CANDIDATES: Final = 16
"""Passages that are read for one question."""
SAMPLE: Final = 200
"""Passages that are looked at for a question that has frequent words alone."""
UNSEEN: Final = 0.7
"""How much a pair of Chinese characters that stands nowhere speaks against a hit."""
ENOUGH: Final = 10.0
"""Evidence below which covering the question proves little: "repeat that" is covered by many a passage."""
SURE: Final = 0.56
"""From this certainty on the best hit is worth answering from; docs/knowledge.md tells how it was measured."""


LIKE: Final = 0.6
"""Cosine similarity from which on a passage is taken to be about the question; multilingual models differ, see the docs."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage's row and how well it fits; `covered`: the share of the question's meaning that it holds, 0–1."""

    row: int
    score: float
    covered: float
    alike: float = 0.0
    """How far its heading asks the same, 0–1."""


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
    asked = list(dict.fromkeys(cut(question[:4000])))[:LOOKED_UP]
    if not asked or not audiences:
        return Ranking()
    seen = ",".join(str(int(a)) for a in audiences)
    total, size = connection.execute(
        f"SELECT COALESCE(SUM(passages), 0), SUM(body) FROM sizes WHERE audience IN ({seen})"  # noqa: S608  # whole numbers
    ).fetchone()
    if not total:
        return Ranking()
    index = _Index(connection, asked, audiences)
    weights = {w: _weight(index.count(w), total) for w in asked if w not in COMMON}
    meaning = sum(v for w, v in weights.items() if index.count(w))
    if meaning >= MEANING:
        small = dict.fromkeys((w for w in asked if w in COMMON), COMMON_WEIGHT)
    else:  # "what can the assistant do": the small words are nearly all there is
        small = {w: _weight(index.count(w), total) / 2 for w in asked if w in COMMON}
    weights = {w: weights[w] if w in weights else small[w] for w in asked}
    rows = index.candidates(weights, max(CANDIDATES, limit))
    scale = _Scale(weights, size / total, {w for w in weights if w not in COMMON and not index.count(w)})
    hits = [
        scale.hit(row, length, heading, body, heading[len(heading) - ending :])
        for row, length, heading, body, ending in connection.execute(
            f"SELECT id, size, heading, body, ending FROM passages WHERE id IN ({','.join(map(str, rows))})"  # noqa: S608  # whole numbers
        )
    ]
    hits.sort(key=lambda h: (-h.score, h.row))
    certainty = _certainty(hits, total)
    if all(w in COMMON for w in asked):  # small words prove nothing, unless they are just what a heading asks
        certainty = hits[0].alike if hits else 0.0
    return Ranking(tuple(hits[:limit]), certainty)


class _Index:
    """Which of the passages that the asker may see hold which words of the question.

    A word is rare or frequent by the passages that the asker may see; how the others use it is not even asked.
    """

    def __init__(self, connection: sqlite3.Connection, asked: Sequence[str], audiences: Sequence[int]) -> None:
        self._connection = connection
        self._audiences = audiences
        seen = ",".join(str(int(a)) for a in audiences)
        self._query = f"SELECT rowid FROM words WHERE words MATCH ? AND rowid >> {SHIFT} IN ({seen})"  # noqa: S608  # whole numbers
        marks = ",".join("?" * len(asked))
        self._counted: dict[str, int] = dict(
            connection.execute(
                f"SELECT term, SUM(passages * (audience IN ({seen}))) FROM terms WHERE term IN ({marks}) GROUP BY term",  # noqa: S608
                asked,
            ).fetchall()
        )
        self._rare: dict[str, list[int]] = {}

    def count(self, word: str) -> int:
        """In how many visible passages the word stands."""
        if (counted := self._counted.get(word, 0)) >= FREQUENT:
            return counted
        if word not in self._rare:
            self._rare[word] = self._passages(word)
        return len(self._rare[word])

    def _passages(self, word: str) -> list[int]:
        match = match_query([word])
        if word not in self._counted:
            return [r[0] for r in self._connection.execute(self._query, [match])]
        # many passages that the asker may not see hold it: skip over them, an audience's row numbers stand together
        query = "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
        return [
            r[0]
            for audience in (self._audiences if self._counted[word] else ())
            for r in self._connection.execute(query, [match, audience << SHIFT, (audience + 1 << SHIFT) - 1])
        ]

    def candidates(self, weights: Mapping[str, float], limit: int) -> list[int]:
        """The passages that hold most of the question's weight in rare words; in frequent ones where there are none."""
        scores: dict[int, float] = {}
        for word, rows in self._rare.items():
            weight = weights.get(word, 0.0)
            for row in rows:
                scores[row] = scores.get(row, 0.0) + weight
        frequent = sorted((w for w in weights if self._counted.get(w, 0) >= FREQUENT), key=lambda w: self._counted[w])
        if len(scores) < limit:
            for row in self._frequent(frequent, limit):
                scores.setdefault(row, 0.0)
            return list(scores)
        rare = match_query([w for w, rows in self._rare.items() if rows and w in weights])
        for word in [w for w in frequent if w not in COMMON][:HELPERS]:
            # which of the passages found hold this one too: as many steps as there are passages, however long the word's list
            for row in self._connection.execute(self._query, [f"({rare}) AND {match_query([word])}"]):
                scores[row[0]] = scores.get(row[0], 0.0) + weights[word]
        return heapq.nsmallest(limit, scores, key=lambda row: (-scores[row], row))

    def _frequent(self, words: Sequence[str], limit: int) -> list[int]:
        """Passages that hold as many of the frequent words as possible, those with them in their headings first."""
        telling = ([w for w in words if w not in COMMON] or list(words))[:4]
        found: dict[int, None] = {}
        while telling and len(found) < limit:
            both = " AND ".join(match_query([w]) for w in telling)
            for match in (f"heading : ({both})", both):
                rows = self._connection.execute(f"{self._query} LIMIT {SAMPLE}", [match])
                found.update(dict.fromkeys(r[0] for r in rows))
            telling = telling[:-1]
        return list(found)[:SAMPLE]


def fuse(ranking: Ranking, near: Sequence[tuple[int, float]], *, limit: int) -> Ranking:
    """The order by words and the order by meaning as one: reciprocal rank fusion.

    Source: Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms Condorcet", SIGIR 2009 (k = 60).
    """
    scores: dict[int, float] = {}
    for order in ([h.row for h in ranking.hits], [row for row, _ in near]):
        for place, row in enumerate(order, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (60 + place)
    known = {h.row: h for h in ranking.hits}
    hits = [
        replace(known[row], score=score) if row in known else Hit(row, score, 0.0)
        for row, score in sorted(scores.items(), key=lambda s: (-s[1], s[0]))[:limit]
    ]
    closest = near[0][1] if near else 0.0
    return Ranking(tuple(hits), max(ranking.certainty, SURE * closest / LIKE))


def _certainty(hits: Sequence[Hit], total: int) -> float:
    """How much of the question the best hit covers, how much rare wording that is, and how far it stands above the others.

    The evidence is counted in words that stand in one passage of 240, where the threshold was measured, so that it means the
    same in a small and in a large base. Hits with the very same score are copies and do not make each other doubtful.
    """
    if not hits or hits[0].score <= 0:
        return 0.0
    best = hits[0]
    rival = next((h.score for h in hits if h.score < best.score * 0.999), 0.0)
    evidence = best.score * _rarest(240) / _rarest(total)
    certainty = best.covered * min(1.0, evidence / ENOUGH) + math.log1p(evidence) / 8 - 0.3 * rival / best.score
    return max(certainty, best.alike)


def _rarest(total: int) -> float:
    return math.log(1 + (total + 0.5) / 0.5)


def _weight(count: int, total: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


class _Scale:
    """Scores passages for one question."""

    def __init__(self, weights: Mapping[str, float], body: float, unseen: Set[str]) -> None:
        self._headings: dict[str, frozenset[str]] = {}
        # a pair that stands nowhere is most often the end of one Chinese word and the beginning of the next
        self._meaning = {w: v * UNSEEN if w in unseen and is_cjk(w) and len(w) > 1 else v for w, v in weights.items()}
        self._weights = {w: v * SINGLE if len(w) == 1 and is_cjk(w) else v for w, v in weights.items()}
        self._whole = sum(self._meaning.values()) or 1.0
        self._body = max(body, 1.0)
        self._sum = sum(self._weights.values()) or 1.0
        self._mean = self._sum / max(1, sum(w not in COMMON for w in weights))
        strong = [w for w in weights if len(w) > 1 or not is_cjk(w)]
        self._cjk = [w for w in weights if is_cjk(w)]
        # pairs of Chinese characters that overlap in the question: 差旅 and 旅标 are close where 差旅标 stands
        self._triples = [
            (a, a + b[1], min(weights[a], weights[b])) for a, b in pairwise(strong) if is_cjk(a) and is_cjk(b) and a[1] == b[0]
        ]
        self._latin = {w: v for w, v in self._weights.items() if not is_cjk(w)}
        self._after = {a: b for a, b in pairwise(strong) if not (is_cjk(a) or is_cjk(b))}

    def hit(self, row: int, size: int, heading: str, body: str, ending: str) -> Hit:
        step = 1 / (1 - B + B * size / self._body)
        frequency: dict[str, float] = {}
        close = 0.0
        if self._cjk:
            for word in self._cjk:
                if count := body.count(word):
                    frequency[word] = step * count
            if not heading.isascii():
                for word in self._cjk:
                    if word in heading:
                        frequency[word] = frequency.get(word, 0.0) + HEADING
            for pair, triple, value in self._triples:
                if pair in frequency and triple in body:
                    close += value
        if self._latin:
            latin, after = self._latin, self._after
            words = body.split()
            beside: dict[str, float] = {}
            for at in [at for at, word in enumerate(words) if word in latin]:  # most words are not asked for
                word = words[at]
                frequency[word] = frequency.get(word, 0.0) + step
                if word in after and at + 1 < len(words) and words[at + 1] == after[word]:
                    beside[word] = min(latin[word], latin[after[word]])
            for word in latin.keys() & heading.split():
                frequency[word] = frequency.get(word, 0.0) + HEADING
            close += sum(beside.values())
        score = sum([self._weights[w] * f * (K1 + 1) / (f + K1) for w, f in frequency.items()]) + CLOSE * close
        own = self._headings.get(ending)
        if own is None:  # passages of one document mostly stand under few headings
            own = self._headings[ending] = frozenset(index_words(ending))
        alike = self._alike(own)
        score += ALIKE * alike**2
        return Hit(row, score, sum([self._meaning[w] for w in frequency]) / self._whole, alike)

    def _alike(self, own: frozenset[str]) -> float:
        """How much of question and heading together is in both, by weight."""
        shared = sum([self._weights[w] for w in own if w in self._weights])
        if not shared:
            return 0.0
        other = sum([COMMON_WEIGHT if w in COMMON else self._mean for w in own if w not in self._weights])
        return shared / (self._sum + other)
