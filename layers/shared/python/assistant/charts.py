"""The house's own metrics over time, as the page draws them: from CloudWatch on AWS, from this process on a laptop.

Both sources answer the same questions about the same metrics: a sum, or a percentile, of one metric in each step of a window.
What is derived from them, such as the error rate, is derived here, once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from assistant.errors import InvalidSetting, Unavailable
from assistant.observability import (
    ACK_TIME,
    DISLIKED,
    FIRST_REPLY,
    LIKED,
    MODEL_COST,
    NAMESPACE,
    TURN_FAILED,
    TURN_TIME,
    TURNS,
    WITHOUT_MODEL,
    Metric,
)

STEPS: Final[Mapping[int, int]] = {1: 60, 6: 300, 24: 900, 168: 7200, 720: 21600}
"""Hours of a window → seconds of one step."""
KEPT_SECONDS: Final = 30

Timed = tuple[float, str, float, str]
"""Unix time, name of the metric, value, ring."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One statistic of one metric: `Sum`, or a percentile such as `p99`."""

    metric: Metric
    stat: str
    service: str = "dialogue"


ASKED: Final[Mapping[str, Ask]] = {
    "turns": Ask(TURNS, "Sum"),
    "failed": Ask(TURN_FAILED, "Sum"),
    "without_model": Ask(WITHOUT_MODEL, "Sum"),
    "busy": Ask(TURN_TIME, "Sum"),
    "cost": Ask(MODEL_COST, "Sum"),
    "liked": Ask(LIKED, "Sum"),
    "disliked": Ask(DISLIKED, "Sum"),
    "ack_p50": Ask(ACK_TIME, "p50", "webhook"),
    "ack_p99": Ask(ACK_TIME, "p99", "webhook"),
    "reply_p50": Ask(FIRST_REPLY, "p50"),
    "reply_p99": Ask(FIRST_REPLY, "p99"),
}

Values = Sequence[float | None]
"""One value a step; None where nothing was measured."""


class Source(Protocol):
    """Where figures come from."""

    name: str

    def read(self, asked: Mapping[str, Ask], *, start: int, step: int, count: int) -> Mapping[str, Values]:
        """`count` values of each, from Unix second `start` on. Raises Unavailable."""


class Local:
    """What the functions of this process have emitted since it was started."""

    name = "local"

    def __init__(self, timed: Iterable[Timed]) -> None:
        self._timed = timed

    def read(self, asked: Mapping[str, Ask], *, start: int, step: int, count: int) -> Mapping[str, Values]:
        """The same statistics as CloudWatch's, of the values kept in memory."""
        wanted = {a.metric.name for a in asked.values()}
        found: dict[tuple[str, int], list[float]] = {}
        for at, name, value, _ in tuple(self._timed):
            if name in wanted and 0 <= (place := int((at - start) // step)) < count:
                found.setdefault((name, place), []).append(value)
        return {
            name: [_statistic(found.get((a.metric.name, place), ()), a.stat) for place in range(count)]
            for name, a in asked.items()
        }


class CloudWatch:
    """GetMetricData, all of it in one request."""

    name = "cloudwatch"

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client

    def read(self, asked: Mapping[str, Ask], *, start: int, step: int, count: int) -> Mapping[str, Values]:
        """Raises Unavailable where CloudWatch does not answer or does not let this function ask."""
        from datetime import UTC, datetime

        from botocore.exceptions import BotoCoreError, ClientError

        queries = [
            {
                "Id": name,
                "MetricStat": {
                    "Metric": {
                        "Namespace": NAMESPACE,
                        "MetricName": a.metric.name,
                        "Dimensions": [{"Name": "service", "Value": a.service}],
                    },
                    "Period": step,
                    "Stat": a.stat,
                },
            }
            for name, a in asked.items()
        ]
        values: dict[str, list[float | None]] = {name: [None] * count for name in asked}
        request: dict[str, Any] = {
            "MetricDataQueries": queries,
            "StartTime": datetime.fromtimestamp(start, UTC),
            "EndTime": datetime.fromtimestamp(start + step * count, UTC),
        }
        while True:
            try:
                answer = self._client().get_metric_data(**request)
            except (BotoCoreError, ClientError) as error:
                raise Unavailable(f"CloudWatch gives no figures: {type(error).__name__}") from error
            for result in answer.get("MetricDataResults", ()):
                for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                    place = int((at.timestamp() - start) // step)
                    if 0 <= place < count:
                        values[result["Id"]][place] = float(value)
            if not answer.get("NextToken"):
                return values
            request["NextToken"] = answer["NextToken"]


class Charts:
    """The page's charts. What was read is kept for half a minute."""

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._kept: dict[int, tuple[float, dict[str, Any]]] = {}

    def read(self, *, hours: int) -> dict[str, Any]:
        """Steps, series and what they amount to over the last `hours`. Raises InvalidSetting, Unavailable."""
        if hours not in STEPS:
            raise InvalidSetting(f"hours {hours!r} is no window; known: {', '.join(map(str, STEPS))}")
        now = self._clock()
        if (kept := self._kept.get(hours)) and now - kept[0] < KEPT_SECONDS:
            return kept[1]
        step = STEPS[hours]
        count = hours * 3600 // step
        start = (math.floor(now / step) - count + 1) * step
        read = self._source.read(ASKED, start=start, step=step, count=count)
        whole = self._source.read({n: a for n, a in ASKED.items() if a.stat != "Sum"}, start=start, step=hours * 3600, count=1)
        made = {
            "source": self._source.name,
            "start": start * 1000,
            "step": step,
            "series": {name: list(values) for name, values in _derived(read, step).items()},
            "whole": _amount(read, step * count) | {name: values[0] for name, values in whole.items()},
        }
        self._kept[hours] = now, made
        return made


def _derived(read: Mapping[str, Values], step: int) -> dict[str, Values]:
    steps = range(len(read["turns"]))

    def at(place: int) -> Mapping[str, float | None]:
        return _amount({name: [values[place]] for name, values in read.items()}, step)

    amounts = [at(place) for place in steps]
    named = ("turns", "failed", "sessions", "errors", "without_model", "cost", "satisfied")
    derived: dict[str, Values] = {name: [amount[name] for amount in amounts] for name in named}
    return derived | {name: read[name] for name, ask in ASKED.items() if ask.stat != "Sum"}


def _amount(read: Mapping[str, Values], seconds: int) -> dict[str, float | None]:
    """Sums and shares over all steps; a share of nothing is None and not 0."""

    def total(name: str) -> float | None:
        given = [v for v in read[name] if v is not None]
        return sum(given) if given else None

    turns, failed, busy = total("turns"), total("failed"), total("busy")
    liked, disliked = total("liked") or 0.0, total("disliked") or 0.0
    tried = (turns or 0.0) + (failed or 0.0)
    return {
        "turns": turns,
        "failed": failed,
        "sessions": None if busy is None else busy / 1000 / seconds,
        "errors": (failed or 0.0) / tried if tried else None,
        "without_model": (total("without_model") or 0.0) / turns if turns else None,
        "cost": total("cost"),
        "satisfied": liked / (liked + disliked) if liked + disliked else None,
    }


def _statistic(values: Sequence[float], stat: str) -> float | None:
    if not values:
        return None
    if stat == "Sum":
        return sum(values)
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(float(stat[1:]) / 100 * len(ordered)) - 1)]
