"""How each ring fares: answers, failures, waiting and opinions between two times, as the metrics tell.

On AWS CloudWatch counted them while they were logged, so that no turn costs a call for it; the local run keeps them itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from assistant.errors import Unavailable
from assistant.observability import DEAD_LETTERED, DISLIKED, FIRST_REPLY, LIKED, NAMESPACE, TURN_FAILED, Metric

PERIOD: Final = 60
"""Seconds that CloudWatch adds up; after a day of watching, `LONG_PERIOD`."""
LONG_PERIOD: Final = 300
SERVICE: Final = "dialogue"
"""The function whose metrics are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One ring between two times."""

    turns: int = 0
    """Answers that became visible."""
    failed: int = 0
    """Tries to answer that failed; most are followed by one that did not."""
    slow: float = 0
    """Answers that took longer than was asked about."""
    silent: float = 0
    """Messages without an answer in the time that was asked about, or without any."""
    liked: int = 0
    disliked: int = 0


class Source(Protocol):
    """Where the figures come from."""

    def of_ring(self, ring: str, *, since: float, until: float, slow_seconds: float, silent_seconds: float) -> Figures:
        """The figures of `ring` from `since` to `until` (Unix seconds). Raises Unavailable where they cannot be had."""


class ProcessFigures:
    """From what the functions of this process have emitted."""

    def __init__(self, timed: Iterable[tuple[float, str, float, str]]) -> None:
        self._timed = timed

    def of_ring(self, ring: str, *, since: float, until: float, slow_seconds: float, silent_seconds: float) -> Figures:
        """The figures of `ring` from `since` to `until`."""
        found: dict[str, list[float]] = {}
        for at, name, value, of in tuple(self._timed):
            if of == ring and since <= at <= until:
                found.setdefault(name, []).append(value)

        def total(metric: Metric) -> int:
            return int(sum(found.get(metric.name, ())))

        waited = found.get(FIRST_REPLY.name, [])
        return Figures(
            turns=len(waited),
            failed=total(TURN_FAILED),
            slow=sum(w > slow_seconds * 1000 for w in waited),
            silent=sum(w > silent_seconds * 1000 for w in waited) + total(DEAD_LETTERED),
            liked=total(LIKED),
            disliked=total(DISLIKED),
        )


class CloudWatchFigures:
    """From CloudWatch, by the dimensions `service` and `ring`.

    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html, and …/monitoring/
    Statistics-definitions.html for PR, the percentage of values between two bounds.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client

    def of_ring(self, ring: str, *, since: float, until: float, slow_seconds: float, silent_seconds: float) -> Figures:
        """The figures of `ring`: whole periods, the one in which `since` lies included."""
        asked = {
            "turns": (FIRST_REPLY, "SampleCount"),
            "slow": (FIRST_REPLY, f"PR({slow_seconds * 1000:.15g}:)"),
            "silent": (FIRST_REPLY, f"PR({silent_seconds * 1000:.15g}:)"),
            "failed": (TURN_FAILED, "Sum"),
            "given_up": (DEAD_LETTERED, "Sum"),
            "liked": (LIKED, "Sum"),
            "disliked": (DISLIKED, "Sum"),
        }
        period = PERIOD if until - since <= 86400 else LONG_PERIOD
        queries = [
            {
                "Id": id_,
                "MetricStat": {
                    "Metric": {
                        "Namespace": NAMESPACE,
                        "MetricName": metric.name,
                        "Dimensions": [{"Name": "service", "Value": SERVICE}, {"Name": "ring", "Value": ring}],
                    },
                    "Period": period,
                    "Stat": stat,
                },
            }
            for id_, (metric, stat) in asked.items()
        ]
        begin = math.floor(since / period) * period
        end = max(math.ceil(until / period) * period, begin + period)
        found = self._read(queries, begin=begin, end=end)
        turns = found["turns"]

        def share(name: str) -> float:
            """Percentages of periods as a number of answers."""
            return sum(percent / 100 * turns.get(at, 0) for at, percent in found[name].items())

        return Figures(
            turns=round(sum(turns.values())),
            failed=round(sum(found["failed"].values())),
            slow=round(share("slow"), 2),
            silent=round(share("silent") + sum(found["given_up"].values()), 2),
            liked=round(sum(found["liked"].values())),
            disliked=round(sum(found["disliked"].values())),
        )

    def _read(self, queries: list[dict[str, Any]], *, begin: float, end: float) -> Mapping[str, Mapping[float, float]]:
        """By query, the value at each period's beginning."""
        from botocore.exceptions import BotoCoreError, ClientError

        request: dict[str, Any] = {
            "MetricDataQueries": queries,
            "StartTime": datetime.fromtimestamp(begin, UTC),
            "EndTime": datetime.fromtimestamp(end, UTC),
        }
        found: dict[str, dict[float, float]] = {q["Id"]: {} for q in queries}
        while True:
            try:
                page = self._client().get_metric_data(**request)
            except (BotoCoreError, ClientError) as error:
                raise Unavailable(f"CloudWatch does not give its figures: {type(error).__name__}") from error
            for result in page.get("MetricDataResults", ()):
                times = (t.timestamp() for t in result.get("Timestamps", ()))
                found[result["Id"]].update(zip(times, result.get("Values", ()), strict=False))
            if not page.get("NextToken"):
                return found
            request["NextToken"] = page["NextToken"]
