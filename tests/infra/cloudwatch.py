"""CloudWatch as far as alarms need it: points in, statistics by period, metric maths, and the state of an alarm.

Sources: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html (operators, IF, FILL) and
…/alarms-and-missing-data.html (how missing periods count).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Dimensions = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Point:
    """One value of a metric at a time in seconds."""

    namespace: str
    metric: str
    dimensions: Dimensions
    at: float
    value: float


class CloudWatch:
    """A store of points, and the alarms of a template that look at it."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str, Dimensions], list[Point]] = {}

    def put(self, namespace: str, metric: str, value: float, *, at: float, **dimensions: str) -> None:
        """Keeps a value, as an AWS service publishes it."""
        key = (namespace, metric, frozenset(dimensions.items()))
        self._points.setdefault(key, []).append(Point(*key, at, value))

    def read_log(self, text: str, *, at: float) -> None:
        """Takes the metrics out of log lines in the embedded metric format, as CloudWatch does."""
        for line in text.splitlines():
            entry = json.loads(line)
            for directive in entry["_aws"]["CloudWatchMetrics"]:
                for names in directive["Dimensions"]:
                    for metric in directive["Metrics"]:
                        dimensions = {n: entry[n] for n in names}
                        self.put(directive["Namespace"], metric["Name"], entry[metric["Name"]], at=at, **dimensions)

    def statistic(
        self, namespace: str, metric: str, dimensions: Dimensions, stat: str, *, start: float, seconds: float
    ) -> float | None:
        """The statistic over `[start, start + seconds)`; None where there is no value."""
        points = self._points.get((namespace, metric, dimensions), [])
        values = sorted(p.value for p in points if start <= p.at < start + seconds)
        if not values:
            return None
        match stat:
            case "Sum":
                return sum(values)
            case "Maximum":
                return values[-1]
            case "SampleCount":
                return float(len(values))
            case _ if bounds := re.fullmatch(r"PR\((\d+(?:\.\d+)?):\)", stat):
                return 100 * sum(v >= float(bounds[1]) for v in values) / len(values)
            case _ if re.fullmatch(r"p\d+(\.\d+)?", stat):
                return values[max(0, math.ceil(float(stat[1:]) / 100 * len(values)) - 1)]
        raise ValueError(f"no statistic {stat!r} here; add it")

    def state(self, alarm: Mapping[str, Any], *, now: float) -> str:
        """ALARM or OK: the state of `alarm` (properties of AWS::CloudWatch::Alarm, references resolved) at `now`."""
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        breaching = 0
        for number in range(alarm["EvaluationPeriods"]):
            value = self._value(alarm["Metrics"], now, number)
            breaching += value is not None and value > alarm["Threshold"]
        return "ALARM" if breaching >= alarm["DatapointsToAlarm"] else "OK"

    def _value(self, queries: Sequence[Mapping[str, Any]], now: float, number: int) -> float | None:
        """What the alarm looks at, `number` periods before the newest full one."""
        values: dict[str, float | None] = {}
        for query in queries:
            if stat := query.get("MetricStat"):
                metric, seconds = stat["Metric"], stat["Period"]
                dimensions = frozenset((d["Name"], d["Value"]) for d in metric["Dimensions"])
                start = now - (number + 1) * seconds
                values[query["Id"]] = self.statistic(
                    metric["Namespace"], metric["MetricName"], dimensions, stat["Stat"], start=start, seconds=seconds
                )
        (shown,) = [q for q in queries if q.get("ReturnData", True)]
        return values[shown["Id"]] if "MetricStat" in shown else Maths(shown["Expression"], values).result()


class Maths:
    """One expression of metric maths for one period. A missing value makes what is computed from it missing, but for FILL."""

    def __init__(self, text: str, values: Mapping[str, float | None]) -> None:
        self._tokens = re.findall(r"\d+(?:\.\d+)?|[A-Za-z_]\w*|==|!=|<=|>=|[-+*/()<>,]", text)
        assert "".join(self._tokens) == re.sub(r"\s", "", text), f"cannot read {text!r}"
        self._values = values
        self._at = 0

    def result(self) -> float | None:
        """The expression's value."""
        value = self._or()
        assert self._at == len(self._tokens), f"{self._tokens[self._at :]} is left over"
        return value

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        assert token, f"the expression ends where {expected!r} should stand"
        assert expected in ("", token), f"{token!r} where {expected!r} should stand"
        self._at += 1
        return token

    def _or(self) -> float | None:
        return self._chain(self._and, {"OR": lambda a, b: float(bool(a) or bool(b))})

    def _and(self) -> float | None:
        return self._chain(self._compare, {"AND": lambda a, b: float(bool(a) and bool(b))})

    def _compare(self) -> float | None:
        return self._chain(
            self._sum,
            {
                ">": lambda a, b: float(a > b),
                "<": lambda a, b: float(a < b),
                ">=": lambda a, b: float(a >= b),
                "<=": lambda a, b: float(a <= b),
                "==": lambda a, b: float(a == b),
                "!=": lambda a, b: float(a != b),
            },
        )

    def _sum(self) -> float | None:
        return self._chain(self._product, {"+": lambda a, b: a + b, "-": lambda a, b: a - b})

    def _product(self) -> float | None:
        return self._chain(self._atom, {"*": lambda a, b: a * b, "/": lambda a, b: a / b if b else None})

    def _chain(self, part: Any, operators: Mapping[str, Any]) -> float | None:
        value: float | None = part()
        while self._peek() in operators:
            operator = operators[self._take()]
            other = part()
            value = None if value is None or other is None else operator(value, other)
        return value

    def _atom(self) -> float | None:
        token = self._take()
        if token == "(":
            value = self._or()
            self._take(")")
            return value
        if token[0].isdigit():
            return float(token)
        if self._peek() != "(":
            return self._values[token]
        self._take("(")
        arguments = [self._or()]
        while self._peek() == ",":
            self._take()
            arguments.append(self._or())
        self._take(")")
        match token, arguments:
            case "FILL", [value, other]:
                return other if value is None else value
            case "IF", [condition, yes, no]:
                return None if condition is None else yes if condition else no
        raise AssertionError(f"no function {token} with {len(arguments)} arguments here; add it")
