"""How well an understander does on examples it has not seen: accuracy, rejection, confusions, time and their trade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from assistant.nlu import OUT_OF_SCOPE, Understander


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """An intent that was taken for another (empty: for none of these), and how often."""

    intent: str
    taken_for: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What accuracy and rejection would be at another threshold."""

    threshold: float
    accuracy: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one evaluation. Shares are between 0 and 1; those with nothing to divide by are None."""

    in_scope: int
    out_of_scope: int
    threshold: float
    accuracy_in_scope: float | None
    """Share of in-scope texts that were accepted with the right intent (a rejection counts as an error)."""
    accuracy_before_rejection: float | None
    """The same if nothing were ever rejected."""
    out_of_scope_recall: float | None
    """Share of out-of-scope texts that were rejected."""
    out_of_scope_precision: float | None
    """Share of the rejected texts that were out of scope."""
    out_of_scope_f1: float | None
    calibration_error: float | None
    """Mean distance between confidence and share of right answers, over ten equal bands of the confidence."""
    ms_per_utterance: float
    confusion: tuple[Confusion, ...]
    """The most frequent confusions, out-of-scope texts included."""
    curve: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:  # Any: a tree of JSON values
        """The report as a JSON object."""
        return asdict(self)


def evaluate(understander: Understander, examples: Sequence[tuple[str, str]], *, confusions: int = 30) -> Report:
    """The report on `(text, intent)` examples; their order does not matter."""
    began = perf_counter()
    answers = [understander.understand(text) for text, _ in examples]
    elapsed = perf_counter() - began
    confused: Counter[tuple[str, str]] = Counter()
    sample: dict[tuple[str, str], str] = {}
    inside: list[tuple[float, bool]] = []
    outside: list[float] = []
    for (text, intent), answer in zip(examples, answers, strict=True):
        truth = "" if intent == OUT_OF_SCOPE else intent
        if truth:
            inside.append((answer.confidence, answer.best == truth))
        else:
            outside.append(answer.confidence)
        if answer.intent != truth:
            pair = (intent, answer.intent)
            confused[pair] += 1
            sample.setdefault(pair, text)
    threshold = understander.decision.threshold
    right = sum(good and confidence >= threshold for confidence, good in inside)
    caught = sum(confidence < threshold for confidence in outside)
    rejected = caught + sum(confidence < threshold for confidence, _ in inside)
    recall, precision = _share(caught, len(outside)), _share(caught, rejected)
    return Report(
        in_scope=len(inside),
        out_of_scope=len(outside),
        threshold=threshold,
        accuracy_in_scope=_share(right, len(inside)),
        accuracy_before_rejection=_share(sum(good for _, good in inside), len(inside)),
        out_of_scope_recall=recall,
        out_of_scope_precision=precision,
        out_of_scope_f1=2 * recall * precision / (recall + precision) if recall and precision else None,
        calibration_error=_calibration_error([*inside, *((c, False) for c in outside)]),
        ms_per_utterance=1000 * elapsed / max(1, len(examples)),
        confusion=tuple(
            Confusion(intent=a, taken_for=b, count=n, example=sample[a, b]) for (a, b), n in confused.most_common(confusions)
        ),
        curve=_curve(inside, outside),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _calibration_error(answers: Sequence[tuple[float, bool]]) -> float | None:
    bands: list[list[tuple[float, bool]]] = [[] for _ in range(10)]
    for confidence, good in answers:
        bands[min(9, int(confidence * 10))].append((confidence, good))
    if not answers:
        return None
    return sum(abs(sum(c for c, _ in band) - sum(g for _, g in band)) for band in bands) / len(answers)


def _curve(inside: Sequence[tuple[float, bool]], outside: Sequence[float]) -> tuple[Point, ...]:
    if not inside or not outside:
        return ()
    marks = sorted({0.0, *(sorted(outside)[int(share * (len(outside) - 1) / 50)] for share in range(51))})
    return tuple(
        Point(
            threshold=mark,
            accuracy=sum(good and confidence >= mark for confidence, good in inside) / len(inside),
            recall=sum(confidence < mark for confidence in outside) / len(outside),
        )
        for mark in marks
    )


def plot(report: Report) -> str:
    """An SVG drawing: in-scope accuracy over out-of-scope recall for all thresholds, with the chosen one marked."""
    points = report.curve
    left, top, width, height = 60, 30, 560, 320
    lowest = min([0.8, *(p.accuracy for p in points)])

    def x(recall: float) -> float:
        return round(left + width * recall, 1)

    def y(accuracy: float) -> float:
        return round(top + height * (1 - (accuracy - lowest) / (1 - lowest)), 1)

    line = " ".join(f"{x(p.recall)},{y(p.accuracy)}" for p in points)
    grid = "".join(
        f'<line x1="{x(v / 10)}" y1="{top}" x2="{x(v / 10)}" y2="{top + height}" class="grid"/>'
        f'<text x="{x(v / 10)}" y="{top + height + 18}" text-anchor="middle">{v * 10} %</text>'
        for v in range(0, 11, 2)
    ) + "".join(
        f'<line x1="{left}" y1="{y(v)}" x2="{left + width}" y2="{y(v)}" class="grid"/>'
        f'<text x="{left - 6}" y="{y(v) + 4}" text-anchor="end">{v * 100:.0f} %</text>'
        for v in (lowest + (1 - lowest) * part / 5 for part in range(6))
    )
    chosen = ""
    if report.out_of_scope_recall is not None and report.accuracy_in_scope is not None:
        at = x(report.out_of_scope_recall), y(report.accuracy_in_scope)
        label = f"chosen: {report.accuracy_in_scope:.1%} at {report.out_of_scope_recall:.1%}"
        chosen = (
            f'<circle cx="{at[0]}" cy="{at[1]}" r="5" class="chosen"/>'
            f'<text x="{at[0] - 8}" y="{at[1] + 20}" text-anchor="end">{label}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 30}" height="{top + height + 60}" '
        'font-family="sans-serif" font-size="12"><style>.grid{stroke:#ddd}.chosen{fill:#d1242f}'
        ".line{fill:none;stroke:#1f6feb;stroke-width:2}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{grid}<polyline points="{line}" class="line"/>{chosen}'
        f'<text x="{left + width / 2}" y="{top + height + 44}" text-anchor="middle">out-of-scope recall</text>'
        f'<text x="{left}" y="{top - 12}">in-scope accuracy</text></svg>\n'
    )
