"""The order of what was found: BM25 over what the asker may see, with closeness of the words, and how sure that is.

All numbers come from the passages that the asker may see, so that a hidden document changes neither order nor score.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from assistant.knowledge.store import SHIFT
from assistant.knowledge.text import COMMON, cut, match_query

K1 = 1.2
B = 0.6
HEADING = 0.5
"""How much a word in a heading or title counts against one in the text."""
COMMON_WEIGHT = 0.15
CLOSE = 0.3
"""Weight of two of the question's words standing side by side as in the question."""
CANDIDATES = 40
POSTINGS = 30_000
"""Entries of the index that one question may touch; the rarest words go first, common ones only rank what those found."""
SURE = 0.5


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage's row and how well it fits; `covered`: the share of the question's meaning that it holds, 0–1."""

    row: int
    score: float
    covered: float


def search(connection: sqlite3.Connection, question: str, audiences: Sequence[int], *, limit: int) -> list[Hit]:
    """The best passages of `audiences` for `question`, best first."""
    words = list(dict.fromkeys(cut(question)))[:64]
    if not words or not audiences:
        return []
    seen = ",".join(str(int(a)) for a in audiences)
    total, heading_size, body_size = connection.execute(
        f"SELECT COALESCE(SUM(passages), 0), SUM(heading), SUM(body) FROM sizes WHERE audience IN ({seen})"  # noqa: S608  # whole numbers
    ).fetchone()
    if not total:
        return []
    counts: dict[str, int] = dict(
        connection.execute(
            f"SELECT term, SUM(passages) FROM terms WHERE term IN ({','.join('?' * len(words))}) AND audience IN ({seen})"  # noqa: S608
            " GROUP BY term",
            words,
        )
    )
    weights = {w: _weight(w, counts.get(w, 0), total) for w in words}
    asked: list[str] = []
    touched = 0
    for word in sorted(counts, key=lambda w: (w in COMMON, counts[w])):
        if asked and (touched + counts[word] > POSTINGS or (word in COMMON and touched > CANDIDATES)):
            break
        asked.append(word)
        touched += counts[word]
    if not asked:
        return []
    rows = connection.execute(
        f"SELECT p.id, p.heading, p.body FROM (SELECT rowid AS id FROM words WHERE words MATCH ? AND rowid >> {SHIFT} IN ({seen})"  # noqa: S608
        f" ORDER BY bm25(words, {HEADING}, 1.0) LIMIT {CANDIDATES}) AS f JOIN passages p ON p.id = f.id",
        [match_query(asked)],
    )
    scale = _Scale(weights, heading_size / total, body_size / total)
    hits = [scale.hit(row, heading.split(), body.split()) for row, heading, body in rows]
    hits.sort(key=lambda h: (-h.score, h.row))
    return hits[:limit]


def _weight(word: str, count: int, total: int) -> float:
    idf = math.log(1 + (total - count + 0.5) / (count + 0.5))
    return idf * COMMON_WEIGHT if word in COMMON else idf


class _Scale:
    def __init__(self, weights: dict[str, float], heading: float, body: float) -> None:
        self.weights = weights
        self.whole = sum(weights.values()) or 1.0
        self.heading = max(heading, 1.0)
        self.body = max(body, 1.0)
        words = list(weights)
        self.after = dict(pairwise(words))

    def hit(self, row: int, heading: list[str], body: list[str]) -> Hit:
        frequency: dict[str, float] = {}
        norm = 1 - B + B * len(body) / self.body
        close = 0.0
        for at, word in enumerate(body):
            if word in self.weights:
                frequency[word] = frequency.get(word, 0.0) + 1 / norm
                follower = self.after.get(word)
                if follower and at + 1 < len(body) and body[at + 1] == follower:
                    close = close + min(self.weights[word], self.weights[follower])
        for word in heading:
            if word in self.weights:
                frequency[word] = frequency.get(word, 0.0) + HEADING
        score = sum(self.weights[w] * f * (K1 + 1) / (f + K1) for w, f in frequency.items())
        covered = sum(self.weights[w] for w in frequency) / self.whole
        return Hit(row, score + CLOSE * close, covered)


def is_sure(hits: Sequence[Hit]) -> bool:
    """True where the best hit is worth answering from."""
    return bool(hits) and hits[0].covered >= SURE
