"""Every alarm fires on its fault and stays quiet on a healthy day: the synthesised alarms against a simulated CloudWatch."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from assistant import observability as metrics
from assistant.observability import METRICS, NAMESPACE, Metric, Metrics
from infra.alarms import watches
from infra.deployment import Deployment
from tests.infra import dashboards, roles
from tests.infra.cloudwatch import CloudWatch, Maths
from tests.infra.conftest import Assembly

NOW = 1_800_000_000.0
HOUR = 3600
PREFIX = "assistant-production-"
LARGE = Deployment.of({"profile": "enterprise", "stage": "production"}, env={})
WEBHOOKS = {"ApiId": "Http", "Method": "POST", "Resource": "/webhook/{platform}/{channel}", "Stage": "$default"}


class Day:
    """Two hours of a company's morning, minute by minute, up to NOW; healthy where nothing is injected."""

    def __init__(self) -> None:
        self.cloudwatch = CloudWatch()
        for minute in range(1, 2 * 60 + 1):
            at = NOW - 60 * minute
            self.ours("webhook", at, [(metrics.ACCEPTED, 200), (metrics.ACK_TIME, 35)])
            self.ours("webhook", at, [(metrics.REFUSED, 1)])
            self.ours("dialogue", at, [(metrics.TURNS, 200), (metrics.TURN_TIME, 2100), (metrics.FIRST_REPLY, 2600)])
            self.ours("dialogue", at, [(metrics.PROMPT_TOKENS, 400_000), (metrics.CACHED_TOKENS, 300_000)])
            self.ours("dialogue", at, [(metrics.FIRST_TOKEN, 700)])
            self.api(at, "Count", 200)
            self.api(at, "Latency", 80)
            self.queue(at, "Turns/Queue", "ApproximateAgeOfOldestMessage", 3)
            self.queue(at, "Turns/DeadLetters", "ApproximateNumberOfMessagesVisible", 0)
            self.function(at, "DialogueFunction", "ConcurrentExecutions", 12)
            self.stream(at, "DeliveryToAmazonOpenSearchService.DataFreshness", 70)
            self.cloudwatch.put("AWS/ElastiCache", "ThrottledCmds", 0, at=at, clusterId="assistant-production")

    def ours(self, service: str, at: float, values: list[tuple[Metric, float]]) -> None:
        """What a function writes, in the format in which it writes it."""
        line = io.StringIO()
        Metrics(service=service, stream=line).emit(*values, platform="slack")
        self.cloudwatch.read_log(line.getvalue(), at=at)

    def api(self, at: float, metric: str, value: float) -> None:
        """What API Gateway publishes about the webhooks' route."""
        self.cloudwatch.put("AWS/ApiGateway", metric, value, at=at, **WEBHOOKS)

    def queue(self, at: float, queue: str, metric: str, value: float) -> None:
        """What SQS publishes."""
        self.cloudwatch.put("AWS/SQS", metric, value, at=at, QueueName=f"{queue}.QueueName")

    def function(self, at: float, function: str, metric: str, value: float) -> None:
        """What Lambda publishes."""
        self.cloudwatch.put("AWS/Lambda", metric, value, at=at, FunctionName=f"{function}/Function")

    def stream(self, at: float, metric: str, value: float) -> None:
        """What Firehose publishes about the stream to the search."""
        self.cloudwatch.put("AWS/Firehose", metric, value, at=at, DeliveryStreamName="assistant-production-search")

    def table(self, at: float, metric: str, value: float) -> None:
        """What DynamoDB publishes."""
        self.cloudwatch.put("AWS/DynamoDB", metric, value, at=at, TableName="Table")


def newest(minutes: int) -> list[float]:
    """Times in the newest `minutes` whole minutes."""
    return [NOW - 60 * n + 1 for n in range(1, minutes + 1)]


def each(times: list[float], act: Callable[[float], object]) -> None:
    """Does `act` at each of `times`."""
    for at in times:
        act(at)


FAULTS: Mapping[str, Callable[[Day], None]] = {
    "slow-webhooks": lambda day: each(newest(3), lambda at: day.api(at, "Latency", 650)),
    "webhook-errors": lambda day: each(newest(3), lambda at: day.api(at, "5xx", 3)),
    "turn-errors": lambda day: each(newest(3), lambda at: day.ours("dialogue", at, [(metrics.TURN_FAILED, 3)])),
    "turn-errors-warning": lambda day: each(newest(15), lambda at: day.ours("dialogue", at, [(metrics.TURN_FAILED, 1.5)])),
    "silence": lambda day: each(newest(2), lambda at: day.queue(at, "Turns/Queue", "ApproximateAgeOfOldestMessage", 61)),
    "slow-replies": lambda day: each(newest(15) * 2, lambda at: day.ours("dialogue", at, [(metrics.FIRST_REPLY, 61_000)])),
    "dead-letters": lambda day: day.queue(NOW - 30, "Turns/DeadLetters", "ApproximateNumberOfMessagesVisible", 1),
    "dead-documents": lambda day: day.queue(NOW - 30, "Ingest/DeadLetters", "ApproximateNumberOfMessagesVisible", 1),
    "queue-age": lambda day: each(newest(3), lambda at: day.queue(at, "Turns/Queue", "ApproximateAgeOfOldestMessage", 121)),
    "throttles": lambda day: each(newest(2), lambda at: day.function(at, "WebhookFunction", "Throttles", 1)),
    "table-throttles": lambda day: each(newest(2), lambda at: day.table(at, "WriteThrottleEvents", 5)),
    "concurrent-sessions": lambda day: each(
        newest(3), lambda at: day.function(at, "DialogueFunction", "ConcurrentExecutions", 390)
    ),
    "model-errors": lambda day: each(newest(3), lambda at: day.ours("dialogue", at, [(metrics.MODEL_ERRORS, 15)])),
    "slow-model": lambda day: each(newest(15) * 2, lambda at: day.ours("dialogue", at, [(metrics.FIRST_TOKEN, 8000)])),
    "cold-prompts": lambda day: each(newest(120), lambda at: day.ours("dialogue", at, [(metrics.PROMPT_TOKENS, 4_000_000)])),
    "send-errors": lambda day: each(newest(3), lambda at: day.ours("dialogue", at, [(metrics.SEND_ERRORS, 6)])),
    "plugin-faults": lambda day: each(newest(2), lambda at: day.ours("dialogue", at, [(metrics.PLUGIN_FAULTS, 3)])),
    "model-failovers": lambda day: each(newest(15), lambda at: day.ours("dialogue", at, [(metrics.MODEL_FAILOVERS, 30)])),
    "token-refresh": lambda day: each(newest(10), lambda at: day.ours("dialogue", at, [(metrics.REFRESH_FAILED, 1)])),
    "answers-withheld": lambda day: each(newest(5), lambda at: day.ours("dialogue", at, [(metrics.PROMPT_LEAKS, 1)])),
    "cache-limits": lambda day: each(
        newest(15), lambda at: day.cloudwatch.put("AWS/ElastiCache", "ThrottledCmds", 2, at=at, clusterId="assistant-production")
    ),
    "logs-late": lambda day: each(newest(15), lambda at: day.stream(at, "DeliveryToAmazonOpenSearchService.DataFreshness", 1200)),
    "logs-aside": lambda day: day.ours("logs", NOW - 30, [(metrics.LOGS_ASIDE, 1)]),
    "log-search-down": lambda day: day.cloudwatch.put(
        "AWS/ES", "ClusterStatus.red", 1, at=NOW - 30, DomainName="assistant-production", ClientId="<AccountId>"
    ),
    "budget": lambda day: day.ours("dialogue", NOW - 30, [(metrics.BUDGET_REACHED, 1)]),
    "forged-webhooks": lambda day: each(newest(10), lambda at: day.ours("webhook", at, [(metrics.REFUSED, 40)])),
}
BESIDE: Mapping[str, Callable[[Day], None]] = {
    "webhook-errors": lambda day: each(newest(3), lambda at: day.api(at, "Count", 3)),
    "cold-prompts": lambda day: each(newest(120), lambda at: day.ours("dialogue", at, [(metrics.CACHED_TOKENS, 1)])),
}
"""What always comes with a fault: a request that fails is a request."""
ALSO = {"queue-age": {"silence"}, "turn-errors": set(), "turn-errors-warning": set()}
"""Alarms that rightly fire with another's fault."""


@pytest.fixture(scope="module")
def alarms(assembly: Callable[[str], Assembly]) -> dict[str, dict[str, Any]]:
    """The synthesised alarms by name, with references in readable words."""
    made = assembly("enterprise")
    templates = made.templates()
    stack, template = next((n, t) for n, t in templates.items() if n.endswith("-observability"))
    resolve = roles.reader(templates, stack)
    found = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm" and not resource["Properties"]["AlarmName"].endswith("-canary"):
            alarm = resource["Properties"]
            for query in alarm["Metrics"]:
                for dimension in query.get("MetricStat", {}).get("Metric", {}).get("Dimensions", ()):
                    dimension["Value"] = resolve(dimension["Value"])
            found[alarm["AlarmName"].removeprefix(PREFIX)] = alarm
    return found


def firing(alarms: Mapping[str, Mapping[str, Any]], day: Day) -> set[str]:
    """Names of the alarms that fire."""
    return {name for name, alarm in alarms.items() if day.cloudwatch.state(alarm, now=NOW) == "ALARM"}


def test_a_healthy_day_wakes_nobody(alarms: dict[str, dict[str, Any]]) -> None:
    assert firing(alarms, Day()) == set()


def test_a_night_without_any_traffic_wakes_nobody(alarms: dict[str, dict[str, Any]]) -> None:
    night = Day()
    night.cloudwatch = CloudWatch()
    assert firing(alarms, night) == set()


def test_each_alarm_fires_on_its_fault_and_no_other_does(alarms: dict[str, dict[str, Any]]) -> None:
    assert set(FAULTS) == set(alarms), "an alarm without an injected fault, or a fault without an alarm"
    print()
    for name, inject in FAULTS.items():
        day = Day()
        inject(day)
        fired = firing(alarms, day)
        print(f"{name:22} → {', '.join(sorted(fired))}")
        assert fired == {name} | ALSO.get(name, set())


def test_each_alarm_fires_though_all_other_metrics_are_missing(alarms: dict[str, dict[str, Any]]) -> None:
    for name, inject in FAULTS.items():
        day = Day()
        day.cloudwatch = CloudWatch()
        inject(day)
        if beside := BESIDE.get(name):
            beside(day)
        assert name in firing(alarms, day), name


def test_each_alarm_ends_when_its_metric_is_no_longer_written(alarms: dict[str, dict[str, Any]]) -> None:
    for name, inject in FAULTS.items():
        day = Day()
        inject(day)
        alarm = alarms[name]
        seconds = max(q["MetricStat"]["Period"] for q in alarm["Metrics"] if "MetricStat" in q)
        later = NOW + seconds * alarm["EvaluationPeriods"]
        assert day.cloudwatch.state(alarm, now=later) == "OK", name


def test_a_model_of_ones_own_that_finds_nothing_in_its_cache_is_noticed() -> None:
    given = {"profile": "enterprise", "stage": "production", "gpu_profile": "48gb-small"}
    (watch,) = (w for w in watches(Deployment.of(given, env={})) if w.name == "cold-prompts")
    assert Maths(watch.expression, {"prompt": 4_000_000, "cached": None}).result() == 1
    assert Maths(watch.expression, {"prompt": 4_000_000, "cached": 3_000_000}).result() == 0
    assert Maths(watch.expression, {"prompt": None, "cached": None}).result() == 0


def test_the_error_rate_must_be_above_one_percent_three_times_in_a_row(alarms: dict[str, dict[str, Any]]) -> None:
    twice = Day()
    each(newest(2), lambda at: twice.ours("dialogue", at, [(metrics.TURN_FAILED, 5)]))
    assert "turn-errors" not in firing(alarms, twice)
    below = Day()
    each(newest(3), lambda at: below.ours("dialogue", at, [(metrics.TURN_FAILED, 2)]))  # 2 of 202 are less than 1 %
    assert "turn-errors" not in firing(alarms, below)


def test_silence_is_heard_when_messages_come_in_and_no_turn_ends(alarms: dict[str, dict[str, Any]]) -> None:
    day = Day()
    day.cloudwatch = CloudWatch()
    each(newest(2), lambda at: day.ours("webhook", at, [(metrics.ACCEPTED, 5)]))
    assert firing(alarms, day) == {"silence"}


def test_alarms_look_at_metrics_that_the_code_emits() -> None:
    source = Path(metrics.__file__).parent
    text = "\n".join(p.read_text() for p in source.rglob("*.py") if p.name != "observability.py")
    constants = {getattr(metrics, n).name: n for n in dir(metrics) if isinstance(getattr(metrics, n), Metric)}
    silent = set()
    for watch in watches(LARGE):
        for series in watch.series:
            if series.namespace == NAMESPACE:
                assert series.metric in METRICS
                if not re.search(rf"\b{constants[series.metric]}\b", text):
                    silent.add(series.metric)
    assert silent == set(), f"an alarm on a metric that nothing emits never fires: {silent}"


def test_what_wakes_somebody_does_so_once_through_one_alarm(assembly: Callable[[str], Assembly]) -> None:
    made = assembly("enterprise")
    (page,) = made.resources("AWS::CloudWatch::CompositeAlarm")
    expected = [f'ALARM("{PREFIX}{w.name}")' for w in watches(LARGE) if w.pages]
    assert page["AlarmRule"].split(" OR ") == expected
    (topic,) = made.resources("AWS::SNS::Subscription")
    assert topic["Endpoint"] == "oncall@example.com"
    for alarm in made.resources("AWS::CloudWatch::Alarm"):
        if f'ALARM("{alarm["AlarmName"]}")' in expected:
            assert not alarm.get("AlarmActions")


def test_dashboards_show_only_metrics_that_exist(assembly: Callable[[str], Assembly]) -> None:
    bodies = [json.dumps(d["DashboardBody"]) for d in assembly("enterprise").resources("AWS::CloudWatch::Dashboard")]
    assert len(bodies) == 2
    shown = {m for body in bodies for m in re.findall(rf'{NAMESPACE}\\\\?",\\\\?"(\w+)', body)}
    assert shown
    assert shown <= set(METRICS)


def test_metric_maths_knows_missing_values() -> None:
    assert Maths("FILL(a, 0) + 2 * (b - 1)", {"a": None, "b": 3}).result() == 4
    assert Maths("a + 1", {"a": None}).result() is None
    assert Maths("IF(a > 0 AND b == 0, 1, 0)", {"a": 2, "b": 0}).result() == 1
    assert Maths("a / b", {"a": 2, "b": 0}).result() is None


def test_every_graph_of_both_dashboards_shows_what_a_deployment_writes(assembly: Callable[[str], Assembly]) -> None:
    made = dashboards.bodies(assembly("enterprise").templates())
    assert set(made) == {"operator", "owner"}
    for name, body in made.items():
        picture = dashboards.draw(name, body)  # raises for a line that nothing writes
        assert picture.count("<polyline") == sum(len(w["properties"]["metrics"]) for w in body["widgets"])
    titles = {w["properties"]["title"] for w in made["owner"]["widgets"]}
    assert {"Questions answered", "Answered without a model", "Satisfied, and not", "Cost of the model"} <= titles
