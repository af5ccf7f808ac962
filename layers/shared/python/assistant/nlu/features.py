"""What the classifier sees of a text: words, pairs of words and character n-grams, the same way for every script."""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self, TypeAlias
from zlib import crc32

from assistant.nlu.linear import UNIT, Features

_WIDE_CHARACTER = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]"
_TOKEN = re.compile(rf"{_WIDE_CHARACTER}|[^\W\d_]+(?:'[^\W\d_]+)?|\d+|[^\w\s]")
_WIDE = re.compile(_WIDE_CHARACTER)
_SILENT = frozenset(",.!?;:\"'()[]{}<>,。！？；：、“”‘’（）【】《》…·-_~`")
_QUOTES = str.maketrans("‘’", "''")
LONGEST = 600
"""Characters of a text that are looked at; what a person asks stands in its beginning."""

RARITY = 0.3
"""Power of the inverse document frequency: short texts have few frequent words that say nothing, so rarity counts for little."""

BIAS = 109
"""Value of the feature that every text has (see UNIT): by it a text of which nothing is known scores low everywhere."""

NEAR = 8
"""Words that stand fewer than so many places apart make a pair, whichever comes first."""
SHARES = (1.0, 1.0, 0.7)
"""How much each part of the grams counts."""

Grams: TypeAlias = "tuple[frozenset[int], frozenset[int], frozenset[int]]"
"""The word n-grams, the character n-grams and the pairs of near words of a text, each named by a 32-bit hash."""


def tokens(text: str) -> list[str]:
    """Lower-cased words, numbers and signs in order; each Chinese, Japanese or Korean character is a token of its own."""
    folded = unicodedata.normalize("NFKC", text[:LONGEST]).lower().translate(_QUOTES)
    return [found for found in _TOKEN.findall(folded) if found not in _SILENT]


def grams(text: str) -> Grams:
    """The grams of `text`: words and neighbours (with its beginning and end), 1 to 4 characters in a row within words, pairs."""
    found = tokens(text)
    marked = ["^", *found, "$"]
    words = {crc32(token.encode(), 1) for token in found}
    words.update(crc32(f"{a} {b}".encode(), 1) for a, b in pairwise(marked))
    characters = {
        crc32(padded[start : start + length].encode(), 2)
        for padded in (f" {word} " for word in _joined(found).split(" "))
        for length in (1, 2, 3, 4)
        for start in range(len(padded) - length + 1)
    }
    pairs = {
        crc32((f"{a}&{b}" if a < b else f"{b}&{a}").encode(), 3)
        for place, a in enumerate(found)
        for b in found[place + 1 : place + NEAR]
    }
    return frozenset(words), frozenset(characters), frozenset(pairs)


def _joined(found: Sequence[str]) -> str:
    """The tokens with spaces between words but not between Chinese characters."""
    out: list[str] = []
    wide = True
    for token in found:
        wide, before = bool(_WIDE.match(token)), wide
        if out and not (wide and before):
            out.append(" ")
        out.append(token)
    return "".join(out)


class Vocabulary:
    """The grams worth a row of weights, and how rare each is. The row after the last one belongs to every text."""

    def __init__(self, names: array[int], counts: array[int], texts: int) -> None:
        self.names = names
        self.counts = counts
        self.texts = texts
        self._rows = dict(zip(names, range(len(names)), strict=True))
        rarity = {n: (math.log((1 + texts) / (1 + n)) + 1) ** RARITY for n in set(counts)}
        self._rarity = [rarity[n] for n in counts]
        self._unseen = ((math.log((1 + texts) / 2) + 1) ** RARITY) ** 2

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, texts: Iterable[Grams], *, at_least: int) -> Self:
        """The grams that occur in `at_least` texts; pairs, of which there are many, in twice as many."""
        counts: Counter[int] = Counter()
        total = 0
        paired: Counter[int] = Counter()
        for words, characters, pairs in texts:
            counts.update(words)
            counts.update(characters)
            paired.update(pairs)
            total += 1
        counts.update({name: n for name, n in paired.items() if at_least == 1 or n >= 2 * at_least})
        kept = sorted(name for name, n in counts.items() if n >= at_least)
        return cls(array("I", kept), array("I", (counts[name] for name in kept)), total)

    def vector(self, found: Grams) -> Features:
        """The known grams weighted by rarity; words and characters have length 1 together.

        Unknown grams count for the length too: the more of a text is new, the shorter what is known of it, the lower all scores.
        """
        rows = [len(self)]
        values = [BIAS]
        for part, share in zip(found, SHARES, strict=True):
            known = sorted(row for name in part if (row := self._rows.get(name)) is not None)
            unseen = (len(part) - len(known)) * self._unseen
            length = math.sqrt(2 * (unseen + sum(self._rarity[row] ** 2 for row in known)))
            for row in known:
                rounded = round(self._rarity[row] / length * share * UNIT)
                if rounded:
                    rows.append(row)
                    values.append(rounded)
        return rows, values
