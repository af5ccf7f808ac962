"""What a text asks for: an intent with an honest confidence, learned from examples in seconds, without numpy or a GPU.

    understander = train([("book a room", "book_room"), ("订会议室", "book_room"), ("what a day", "oos"), …])
    understander.understand("is there a room for 3 pm?").intent      # "book_room", or "" for none of these

`docs/understanding.md` has the measured figures and how the confidence is made.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Self

from assistant.errors import InvalidSetting
from assistant.nlu import calibration, linear
from assistant.nlu.background import BACKGROUND
from assistant.nlu.context import contextualise as contextualise
from assistant.nlu.features import Grams, Vocabulary, grams

DOUBT = 0.1
"""Below this confidence a text is none of these, without asking a model."""
OUT_OF_SCOPE = "oos"
"""The intent of examples that belong to none of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What a text asks for, as far as the examples tell."""

    intent: str
    """Name of the intent; empty: none of these."""
    confidence: float
    """The calibrated probability that `best` is what is asked, 0 to 1; below the threshold `intent` is empty."""
    best: str
    """The most likely intent, also where the confidence is too low to act on it."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """Up to five intents with their scores, best first."""

    @property
    def doubtful(self) -> bool:
        """True where it is worth asking a model which of `alternatives` is meant: too unsure to act, too likely to rule out."""
        return not self.intent and self.confidence >= DOUBT


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns scores into a confidence and a confidence into a decision."""

    weights: tuple[float, ...]
    threshold: float


class Understander:
    """Tells what a text asks for. Immutable and safe to share between threads."""

    def __init__(
        self,
        *,
        intents: Sequence[str],
        vocabulary: Vocabulary,
        matrix: bytes,
        steps: bytes,
        scale: float,
        decision: Calibration,
    ) -> None:
        self.intents = tuple(intents)
        self.decision = decision
        self._vocabulary = vocabulary
        self._matrix = matrix
        self._steps = steps
        self._scale = scale
        self._none = self.intents.index(OUT_OF_SCOPE)
        self._spread: dict[int, int] = {}

    def understand(self, text: str) -> Understanding:
        """The intent of `text` with its confidence. Any text is allowed, also an empty or a very long one."""
        ranked = self.ranked(grams(text))
        named = tuple((self.intents[k], round(score, 4)) for score, k in ranked[:5] if k != self._none)
        best = next((k for _, k in ranked if k != self._none), self._none)
        if best == self._none:
            return Understanding(intent="", confidence=0.0, best="")
        confidence = calibration.probability(self.decision.weights, _signal(ranked, self._none))
        name = self.intents[best]
        sure = confidence >= self.decision.threshold
        return Understanding(intent=name if sure else "", confidence=confidence, best=name, alternatives=named)

    def ranked(self, text: Grams) -> list[tuple[float, int]]:
        """All intents by number with their scores, best first."""
        found = self._vocabulary.vector(text)
        classes = len(self.intents)
        packed = total = 0
        for row, value in zip(*found, strict=True):
            weight = value * self._steps[row]
            packed += weight * (self._spread.get(row) or self._spread_row(row))
            total += weight
        sums = array("I")
        sums.frombytes(packed.to_bytes(classes * 4, "little"))
        middle = total * 128
        return sorted(((((s - middle) * self._scale), k) for k, s in enumerate(sums)), reverse=True)

    def _spread_row(self, row: int) -> int:
        """The bytes of a row 32 bits apart in one integer, kept for the next text: frequent grams are few."""
        classes = len(self.intents)
        lanes = bytearray(classes * 4)
        lanes[::4] = self._matrix[row * classes : (row + 1) * classes]
        self._spread[row] = int.from_bytes(lanes, "little")
        return self._spread[row]

    # --- the artefact --------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Writes the compact artefact that `load` reads: a JSON header and one compressed block, no code."""
        path.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The artefact as bytes."""
        header = json.dumps(
            {
                "intents": self.intents,
                "grams": len(self._vocabulary),
                "texts": self._vocabulary.texts,
                "scale": self._scale,
                "weights": self.decision.weights,
                "threshold": self.decision.threshold,
            },
            ensure_ascii=False,
        ).encode()
        names, counts = _little(self._vocabulary.names), _little(self._vocabulary.counts)
        body = zlib.compress(names + counts + self._steps + self._matrix, 9)
        rest = _SIZE.pack(len(header)) + header + body
        return _HEAD.pack(_MAGIC, zlib.crc32(rest)) + rest

    @classmethod
    def load(cls, path: Path) -> Self:
        """The understander saved at `path`; raises InvalidSetting where the file is missing, foreign or damaged."""
        try:
            return cls.from_bytes(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"{path} is not an intent model: {error}; make a new one with `assistant nlu train`") from error

    @classmethod
    def from_bytes(cls, artefact: bytes) -> Self:
        """The understander in `artefact`; raises ValueError where it is foreign or damaged."""
        if len(artefact) < _HEAD.size + _SIZE.size:
            raise ValueError("it is too short")
        magic, checksum = _HEAD.unpack_from(artefact)
        if magic != _MAGIC:
            raise ValueError(f"it begins with {magic!r} instead of {_MAGIC!r}")
        rest = artefact[_HEAD.size :]
        if zlib.crc32(rest) != checksum:
            raise ValueError("its checksum is wrong")
        end = _SIZE.size + _SIZE.unpack_from(rest)[0]
        header = json.loads(rest[_SIZE.size : end])
        body = zlib.decompress(rest[end:])
        grams_kept = header["grams"]
        names, counts = _array(body[: 4 * grams_kept]), _array(body[4 * grams_kept : 8 * grams_kept])
        return cls(
            intents=header["intents"],
            vocabulary=Vocabulary(names, counts, header["texts"]),
            steps=body[8 * grams_kept : 9 * grams_kept + 1],
            matrix=body[9 * grams_kept + 1 :],
            scale=header["scale"],
            decision=Calibration(tuple(header["weights"]), header["threshold"]),
        )


_MAGIC = b"INTENTS1"
_HEAD = struct.Struct("<8sI")
_SIZE = struct.Struct("<I")


def _little(values: array[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _array(raw: bytes) -> array[int]:
    return array("I", struct.unpack(f"<{len(raw) // 4}I", raw))


# --- training ----------------------------------------------------------------------------------

FOLDS = 3
STRANGERS = 0.05
"""Share of messages taken to be out of scope where the examples show what that is: it weighs a rejected right answer against an
accepted wrong one, and so sets the threshold."""
STRANGERS_UNKNOWN = 0.5
"""The same where only everyday sentences stand in for them: stricter, because they are easier to tell apart than real ones."""


def train(examples: Iterable[tuple[str, str]], *, seed: int = 1) -> Understander:
    """An understander that learned `(text, intent)` examples; examples of the intent "oos" show what none of them means.

    Where there are no such examples, everyday sentences in English and Chinese stand in for them. The confidence is
    calibrated on answers to held-out examples (cross-validation), so the training set is all that is needed.
    Raises InvalidSetting where there is nothing to learn from.
    """
    known = [(text, intent) for text, intent in examples if text.strip()]
    if not any(intent != OUT_OF_SCOPE for _, intent in known):
        raise InvalidSetting("no examples of any intent; give at least one text with the intent it stands for")
    shown = any(intent == OUT_OF_SCOPE for _, intent in known)
    if not shown:
        known += zip(BACKGROUND, repeat(OUT_OF_SCOPE))
    intents = sorted({intent for _, intent in known})
    texts = [grams(text) for text, _ in known]
    labels = [intents.index(intent) for _, intent in known]
    decision = _calibrated(texts, labels, intents, seed=seed, strangers=STRANGERS if shown else STRANGERS_UNKNOWN)
    return _fitted(texts, labels, intents, decision=decision, seed=seed)


def _fitted(
    texts: Sequence[Grams], labels: Sequence[int], intents: Sequence[str], *, decision: Calibration, seed: int
) -> Understander:
    vocabulary = Vocabulary.of(texts, at_least=2 if len(texts) > 2000 else 1)
    vectors = [vocabulary.vector(text) for text in texts]
    rows = linear.train(vectors, labels, rows=len(vocabulary) + 1, classes=len(intents), seed=seed)
    matrix, steps, scale = _quantised(rows, classes=len(intents))
    return Understander(intents=intents, vocabulary=vocabulary, matrix=matrix, steps=steps, scale=scale, decision=decision)


def _quantised(rows: Sequence[int], *, classes: int) -> tuple[bytes, bytes, float]:
    """The rows as one byte for each weight (128 is zero), the step of each row, and what a score of 1 in them is worth.

    Each row has a step of its own, because a frequent gram says little about many intents and a rare one much about few.
    """
    plain = [linear.lanes(row, classes=classes) for row in rows]
    wanted = [max(*row, -min(row)) / 127 for row in plain]
    unit = max(*wanted, 1.0) / 255
    steps = bytes(min(255, max(1, math.ceil(step / unit - 1e-9))) for step in wanted)
    matrix = bytearray()
    for row, step in zip(plain, steps, strict=True):
        width = step * unit
        matrix += bytes([128 + max(-127, min(127, round(weight / width))) for weight in row])
    return bytes(matrix), steps, unit / linear.SCORE


def _calibrated(
    texts: Sequence[Grams], labels: Sequence[int], intents: Sequence[str], *, seed: int, strangers: float
) -> Calibration:
    """Weights and threshold from the answers to held-out examples.

    Each fold holds out neighbours: examples are collected in bunches, and a text whose twin was learned tells nothing.
    """
    total = Counter(labels)
    seen: Counter[int] = Counter()
    fold_of: list[int] = []
    for label in labels:
        fold_of.append(seen[label] * FOLDS // total[label])
        seen[label] += 1
    none = intents.index(OUT_OF_SCOPE)
    signals: list[tuple[float, ...]] = []
    right: list[bool] = []
    outside: list[bool] = []
    for fold in range(FOLDS):
        kept = [i for i, f in enumerate(fold_of) if f != fold or total[labels[i]] < 2]
        model = _fitted([texts[i] for i in kept], [labels[i] for i in kept], intents, decision=_UNDECIDED, seed=seed)
        for i, f in enumerate(fold_of):
            if f != fold or total[labels[i]] < 2:
                continue
            ranked = model.ranked(texts[i])
            signals.append(_signal(ranked, none))
            right.append(next(k for _, k in ranked if k != none) == labels[i])
            outside.append(labels[i] == none)
    if not any(right) or all(right):
        return _UNDECIDED
    weight = strangers / (1 - strangers) * outside.count(False) / max(1, sum(outside))
    shares = [weight if out else 1.0 for out in outside]
    weights = tuple(calibration.fit(signals, right, shares))
    judged = [
        (calibration.evidence(weights, signal), good, share)
        for signal, good, out, share in zip(signals, right, outside, shares, strict=True)
        if good or out  # a wrong intent for an in-scope text is wrong on either side of the line
    ]
    return Calibration(weights, calibration.line(judged))


_UNDECIDED = Calibration((4.0, 0.0, 0.0), 0.5)
"""Where the examples are too few to calibrate on: as sure as the lead over "none" is long."""


def _signal(ranked: Sequence[tuple[float, int]], none: int) -> tuple[float, float]:
    """What tells right answers from wrong ones: the lead over "none", and the score itself."""
    best = next(score for score, k in ranked if k != none)
    return best - next(score for score, k in ranked if k == none), best
