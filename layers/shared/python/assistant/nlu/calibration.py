"""From raw scores to an honest confidence: a small logistic regression on what distinguishes right answers from wrong ones."""

from __future__ import annotations

import math
from collections.abc import Sequence


def fit(signals: Sequence[Sequence[float]], right: Sequence[bool], shares: Sequence[float], *, ridge: float = 1.0) -> list[float]:
    """Weights (the constant last) so that `probability(weights, signal)` fits `right`; `shares` weigh the examples.

    Newton's method: a handful of signals and steps, so plain Python is quick.
    """
    size = len(signals[0]) + 1
    weights = [0.0] * size
    for _ in range(30):
        gradient = [ridge * w for w in weights]
        curvature = [[ridge if a == b else 0.0 for b in range(size)] for a in range(size)]
        for signal, good, share in zip(signals, right, shares, strict=True):
            x = (*signal, 1.0)
            p = _squashed(sum(w * v for w, v in zip(weights, x, strict=True)))
            error, bend = share * (p - good), share * max(p * (1 - p), 1e-9)
            for a in range(size):
                gradient[a] += error * x[a]
                for b in range(a + 1):
                    curvature[a][b] += bend * x[a] * x[b]
        for a in range(size):
            for b in range(a):
                curvature[b][a] = curvature[a][b]
        step = _solved(curvature, gradient)
        longest = max(abs(s) for s in step)
        pace = min(1.0, 4.0 / longest) if longest else 1.0
        weights = [w - pace * s for w, s in zip(weights, step, strict=True)]
        if longest < 1e-6:
            break
    return weights


def line(judged: Sequence[tuple[float, bool, float]]) -> float:
    """The confidence at which a right answer and a stranger are equally likely, from `(evidence, right, share)`.

    A smooth fit rather than the best cut through the examples: strangers are few, and a cut would follow each of them.
    """
    slope, constant = fit([(evidence,) for evidence, _, _ in judged], [r for _, r, _ in judged], [s for _, _, s in judged])
    return _squashed(-constant / slope) if slope > 1e-6 else 0.5


def evidence(weights: Sequence[float], signal: Sequence[float]) -> float:
    """The logarithm of the odds that an answer with this signal is right, within ±30."""
    return max(-30.0, min(30.0, sum(w * v for w, v in zip(weights, signal, strict=False)) + weights[-1]))


def probability(weights: Sequence[float], signal: Sequence[float]) -> float:
    """The fitted probability that an answer with this signal is right."""
    return _squashed(evidence(weights, signal))


def _squashed(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _solved(matrix: Sequence[Sequence[float]], target: Sequence[float]) -> list[float]:
    """x with matrix · x = target, by Gaussian elimination with pivoting."""
    size = len(target)
    rows = [[*matrix[i], target[i]] for i in range(size)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for r in range(column + 1, size):
            factor = rows[r][column] / rows[column][column]
            rows[r] = [v - factor * p for v, p in zip(rows[r], rows[column], strict=True)]
    out = [0.0] * size
    for i in reversed(range(size)):
        out[i] = (rows[i][size] - sum(rows[i][j] * out[j] for j in range(i + 1, size))) / rows[i][i]
    return out
