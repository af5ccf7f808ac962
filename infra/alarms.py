"""What is watched, as plain data: read by the stack that makes the alarms, by the test that fires each one, and by the runbook.

Thresholds are those the company asked for: acknowledged within 500 ms at the 99th percentile, an error rate above 0.5 % is worth
a look, above 1 % at three samples in a row wakes somebody, as do dead letters, silence and a queue that stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assistant import observability as metrics
from assistant.observability import NAMESPACE
from infra.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric with a statistic. A dimension's value in braces is a name that only the deployment knows: `{turns}`."""

    id: str
    metric: str
    namespace: str = NAMESPACE
    stat: str = "Sum"
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One alarm: it fires when `expression` (the only series where empty) is above `above` in `hits` of `periods`."""

    name: str
    means: str
    """What somebody who is woken reads first."""
    series: tuple[Series, ...]
    expression: str = ""
    above: float = 0
    periods: int = 3
    hits: int = 0
    """0: in all of `periods`."""
    seconds: int = 60
    """Length of one period."""
    pages: bool = True
    """Wakes somebody; otherwise it is a note for working hours."""


def _ours(id_: str, metric: metrics.Metric, service: str, stat: str = "Sum") -> Series:
    return Series(id=id_, metric=metric.name, stat=stat, dimensions=(("service", service),))


def _queue(id_: str, metric: str, queue: str, stat: str = "Maximum") -> Series:
    return Series(id=id_, metric=metric, namespace="AWS/SQS", stat=stat, dimensions=(("QueueName", queue),))


def _webhooks(id_: str, metric: str, stat: str) -> Series:
    route = (("ApiId", "{http}"), ("Method", "POST"), ("Resource", "/webhook/{{platform}}/{{channel}}"), ("Stage", "$default"))
    return Series(id=id_, metric=metric, namespace="AWS/ApiGateway", stat=stat, dimensions=route)


def _lambda(id_: str, metric: str, function: str, stat: str = "Sum") -> Series:
    name = (("FunctionName", f"{{{function}}}"),)
    return Series(id=id_, metric=metric, namespace="AWS/Lambda", stat=stat, dimensions=name)


def _share(part: str, rest: str) -> str:
    """Percent of `part` in `part` and `rest` together; 0 where there is neither."""
    whole = f"(FILL({part}, 0) + FILL({rest}, 0))"
    return f"IF({whole} > 0, 100 * FILL({part}, 0) / {whole}, 0)"


def watches(deployment: Deployment) -> Sequence[Watch]:
    """Every alarm of `deployment`."""
    return (*_always(deployment), *_cached(deployment), *_piped(deployment))


def _cached(deployment: Deployment) -> Sequence[Watch]:
    """What is watched where functions share a cache."""
    if not deployment.cache:
        return ()
    name = (("clusterId", deployment.prefix),)
    return (
        Watch(
            name="cache-limits",
            means="the shared cache refuses commands at its limit; values are fetched from their sources, which is slower",
            series=(Series(id="refused", metric="ThrottledCmds", namespace="AWS/ElastiCache", dimensions=name),),
            seconds=300,
            pages=False,
        ),
    )


def _piped(deployment: Deployment) -> Sequence[Watch]:
    """What is watched where logs go to a search and an archive."""
    if not deployment.log_search:
        return ()

    def stream(id_: str, metric: str, name: str) -> Series:
        return Series(id=id_, metric=metric, namespace="AWS/Firehose", stat="Maximum", dimensions=(("DeliveryStreamName", name),))

    def domain(id_: str, metric: str) -> Series:
        where = (("DomainName", deployment.search_domain), ("ClientId", "{account}"))
        return Series(id=id_, metric=metric, namespace="AWS/ES", stat="Maximum", dimensions=where)

    return (
        Watch(
            name="logs-late",
            means="lines of log wait for more than a quarter of an hour on their way to the search or the archive",
            series=(
                stream("search", "DeliveryToAmazonOpenSearchService.DataFreshness", deployment.search_stream),
                stream("archive", "DeliveryToS3.DataFreshness", deployment.archive_stream),
            ),
            expression="IF(FILL(search, 0) > 900 OR FILL(archive, 0) > 900, 1, 0)",
            seconds=300,
            pages=False,
        ),
        Watch(
            name="logs-aside",
            means="lines of log could not be read or put back; they are kept in the archive's error prefix as they came",
            series=(_ours("aside", metrics.LOGS_ASIDE, "logs"),),
            seconds=300,
            periods=1,
            pages=False,
        ),
        Watch(
            name="log-search-down",
            means="the search of logs has lost an index or takes no more; lines wait in Firehose and then go to the archive",
            series=(domain("red", "ClusterStatus.red"), domain("full", "ClusterIndexWritesBlocked")),
            expression="IF(FILL(red, 0) > 0 OR FILL(full, 0) > 0, 1, 0)",
            seconds=300,
            periods=1,
            pages=False,
        ),
    )


def _always(deployment: Deployment) -> Sequence[Watch]:
    """What is watched in every deployment."""
    failed, answered = _ours("failed", metrics.TURN_FAILED, "dialogue"), _ours("answered", metrics.TURNS, "dialogue")
    wrong, asked = _webhooks("wrong", "5xx", "Sum"), _webhooks("asked", "Count", "Sum")
    turns_rate = _share("failed", "answered")
    hooks_rate = "IF(FILL(asked, 0) > 0, 100 * FILL(wrong, 0) / FILL(asked, 0), 0)"
    late = deployment.silence_seconds
    # A model of one's own always caches; others may not offer it, and then none of the tokens is cached.
    offered = "" if deployment.gpu_profile else "FILL(cached, 0) > 0 AND "
    return (
        Watch(
            name="slow-webhooks",
            means="the 99th percentile of webhook answers is above 500 ms; platforms give up after 1 to 5 s and send again",
            series=(_webhooks("p99", "Latency", "p99"),),
            above=500,
        ),
        Watch(
            name="webhook-errors",
            means="more than 1 % of webhooks are answered with 5xx; the platforms will send them again",
            series=(wrong, asked),
            expression=hooks_rate,
            above=1,
        ),
        Watch(
            name="turn-errors",
            means="more than 1 % of turns fail; the queue delivers them again, three times in all",
            series=(failed, answered),
            expression=turns_rate,
            above=1,
        ),
        Watch(
            name="turn-errors-warning",
            means="more than 0.5 % of turns fail",
            series=(failed, answered),
            expression=turns_rate,
            above=0.5,
            seconds=300,
            pages=False,
        ),
        Watch(
            name="silence",
            means=f"messages were accepted and nothing became visible within {late} s",
            series=(
                _queue("age", "ApproximateAgeOfOldestMessage", "{turns}"),
                _ours("accepted", metrics.ACCEPTED, "webhook"),
                answered,
                _ours("again", metrics.DUPLICATES, "dialogue"),
            ),
            expression=f"IF(FILL(age, 0) > {late}, 1, 0)"
            " + IF(FILL(accepted, 0) > 2 AND FILL(answered, 0) + FILL(again, 0) == 0, 1, 0)",
            periods=3,
            hits=2,
        ),
        Watch(
            name="slow-replies",
            means=f"one reply in twenty takes longer than {late} s to become visible",
            series=(_ours("p95", metrics.FIRST_REPLY, "dialogue", "p95"),),
            above=late * 1000,
            seconds=300,
            pages=False,
        ),
        Watch(
            name="dead-letters",
            means="a message could not be answered three times; it waits for an operator, and the asker was told",
            series=(_queue("dead", "ApproximateNumberOfMessagesVisible", "{dead}"),),
            periods=1,
        ),
        Watch(
            name="dead-documents",
            means="a change to the documents could not be worked in three times; knowledge is out of date",
            series=(_queue("dead", "ApproximateNumberOfMessagesVisible", "{ingest_dead}"),),
            periods=1,
            pages=False,
        ),
        Watch(
            name="queue-age",
            means="the oldest message waits for more than two minutes: too few copies, or a model that does not answer",
            series=(_queue("age", "ApproximateAgeOfOldestMessage", "{turns}"),),
            above=120,
        ),
        Watch(
            name="throttles",
            means="AWS refuses to start functions: the account's or the function's concurrency is used up",
            series=tuple(_lambda(n, "Throttles", n) for n in ("webhook", "dialogue", "api", "oauth")),
            expression="FILL(webhook, 0) + FILL(dialogue, 0) + FILL(api, 0) + FILL(oauth, 0)",
            periods=2,
        ),
        Watch(
            name="table-throttles",
            means="the table refuses requests: one partition is hot, or the account's limit is reached",
            series=(
                Series(id="reads", metric="ReadThrottleEvents", namespace="AWS/DynamoDB", dimensions=(("TableName", "{table}"),)),
                Series(
                    id="writes", metric="WriteThrottleEvents", namespace="AWS/DynamoDB", dimensions=(("TableName", "{table}"),)
                ),
            ),
            expression="FILL(reads, 0) + FILL(writes, 0)",
            periods=2,
        ),
        Watch(
            name="concurrent-sessions",
            means=f"more than 80 % of the {deployment.concurrent_turns} turns that may run at once are running",
            series=(_lambda("busy", "ConcurrentExecutions", "dialogue", "Maximum"),),
            above=0.8 * deployment.concurrent_turns,
            pages=False,
        ),
        Watch(
            name="model-errors",
            means="the model refuses or fails; the next model in the list, or the built-in engine, answers instead",
            series=(_ours("errors", metrics.MODEL_ERRORS, "dialogue"), answered),
            expression=_share("errors", "answered"),
            above=5,
        ),
        Watch(
            name="model-failovers",
            means="one question in ten passes over a model that did not begin to answer; another one answers, and it costs time",
            series=(_ours("passed", metrics.MODEL_FAILOVERS, "dialogue"), answered),
            expression=_share("passed", "answered"),
            above=10,
            seconds=300,
            pages=False,
        ),
        Watch(
            name="token-refresh",
            means="access that people have given cannot be renewed: a provider is down, or has taken the app's rights away",
            series=tuple(_ours(name, metrics.REFRESH_FAILED, name) for name in ("dialogue", "oauth", "api")),
            expression="FILL(dialogue, 0) + FILL(oauth, 0) + FILL(api, 0)",
            above=3,
            seconds=300,
            periods=2,
        ),
        Watch(
            name="slow-model",
            means="the first word of a model's answer takes more than 5 s at the 95th percentile",
            series=(_ours("first", metrics.FIRST_TOKEN, "dialogue", "p95"),),
            above=5000,
            seconds=300,
            pages=False,
        ),
        Watch(
            name="cold-prompts",
            means="less than a tenth of the prompt tokens come from the model's cache: the common part of prompts has changed",
            series=(
                _ours("cached", metrics.CACHED_TOKENS, "dialogue"),
                _ours("prompt", metrics.PROMPT_TOKENS, "dialogue"),
            ),
            expression=f"IF(FILL(prompt, 0) > 1000000 AND {offered}FILL(cached, 0) < 0.1 * FILL(prompt, 0), 1, 0)",
            seconds=3600,
            periods=2,
            pages=False,
        ),
        Watch(
            name="send-errors",
            means="more than 2 % of the calls to chat platforms are refused: a permission, a token or a limit",
            series=(_ours("refused", metrics.SEND_ERRORS, "dialogue"), answered),
            expression=_share("refused", "answered"),
            above=2,
        ),
        Watch(
            name="plugin-faults",
            means="a plug-in breaks again and again; it is quarantined and the others go on",
            series=(_ours("faults", metrics.PLUGIN_FAULTS, "dialogue"),),
            above=5,
            seconds=300,
            periods=1,
            pages=False,
        ),
        Watch(
            name="budget",
            means="the day's allowance of a person or department is used up; the model is not asked for them until tomorrow",
            series=(_ours("reached", metrics.BUDGET_REACHED, "dialogue"),),
            seconds=300,
            periods=1,
            pages=False,
        ),
        Watch(
            name="answers-withheld",
            means="answers began to repeat the assistant's own instructions and were withheld: somebody tries to get at them",
            series=(_ours("withheld", metrics.PROMPT_LEAKS, "dialogue"),),
            above=3,
            seconds=300,
            periods=1,
            pages=False,
        ),
        Watch(
            name="forged-webhooks",
            means="many webhooks fail their proof: a rotated secret that was not stored here, or somebody knocking",
            series=(_ours("refused", metrics.REFUSED, "webhook"),),
            above=100,
            seconds=300,
            periods=2,
            pages=False,
        ),
    )


Graphs = Sequence[tuple[str, Sequence[Series]]]
"""A title with what is drawn under it."""


def dashboards(deployment: Deployment) -> Mapping[str, tuple[Graphs, int]]:
    """What people look at, by the dashboard's name, with the seconds of one point: the operator's minutes, the owner's days."""

    def ours(metric: metrics.Metric, service: str = "dialogue", stat: str = "Sum") -> Series:
        return _ours("m", metric, service, stat)

    operator: list[tuple[str, Sequence[Series]]] = [
        ("Accepted and answered", [ours(metrics.ACCEPTED, "webhook"), ours(metrics.TURNS)]),
        ("Webhook answered in, ms", [ours(metrics.ACK_TIME, "webhook", s) for s in ("p50", "p99")]),
        ("Visible reply after, ms", [ours(metrics.FIRST_REPLY, stat=s) for s in ("p50", "p95")]),
        ("Failed, resumed, twice", [ours(m) for m in (metrics.TURN_FAILED, metrics.TURN_RESUMED, metrics.DUPLICATES)]),
        (
            "Refused by models and platforms",
            [ours(m) for m in (metrics.MODEL_ERRORS, metrics.MODEL_FAILOVERS, metrics.SEND_ERRORS)],
        ),
        ("Concurrent turns", [_lambda("m", "ConcurrentExecutions", "dialogue", "Maximum")]),
        ("Oldest message waits, s", [_queue("m", "ApproximateAgeOfOldestMessage", "{turns}")]),
        ("Dead letters", [_queue("m", "ApproximateNumberOfMessagesVisible", "{dead}")]),
        ("First word of the model, ms", [ours(metrics.FIRST_TOKEN, stat=s) for s in ("p50", "p95")]),
        ("Prompt tokens, and those from the cache", [ours(metrics.PROMPT_TOKENS), ours(metrics.CACHED_TOKENS)]),
        ("Access that could not be renewed", [ours(metrics.REFRESH_FAILED), ours(metrics.REFRESH_FAILED, "oauth")]),
    ]
    if deployment.log_search:
        name = "DeliveryToAmazonOpenSearchService.DataFreshness"
        where = (("DeliveryStreamName", deployment.search_stream),)
        late = Series(id="m", metric=name, namespace="AWS/Firehose", stat="Maximum", dimensions=where)
        operator.append(("Logs reach the search after, s", [late]))
    owner: Graphs = [
        ("Questions answered", [ours(metrics.TURNS)]),
        ("Answered without a model", [ours(metrics.WITHOUT_MODEL)]),
        ("Satisfied, and not", [ours(metrics.LIKED), ours(metrics.DISLIKED)]),
        ("Cost of the model", [ours(metrics.MODEL_COST)]),
        ("Not understood", [ours(metrics.NOT_UNDERSTOOD)]),
        ("Tokens", [ours(m) for m in (metrics.PROMPT_TOKENS, metrics.CACHED_TOKENS, metrics.COMPLETION_TOKENS)]),
        ("Budgets reached", [ours(metrics.BUDGET_REACHED)]),
    ]
    return {"operator": (operator, 60), "owner": (owner, 86400)}
