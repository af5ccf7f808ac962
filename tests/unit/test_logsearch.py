"""The search of logs is set up by code, may be set up again, and takes every line that the assistant writes."""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.credentials import Credentials

from assistant import logsearch
from assistant.errors import Unavailable
from assistant.logpipe import LogPipe
from assistant.logsearch import load, policy, saved_objects, signed
from assistant.observability import METRICS, EcsFormatter, Metrics, RecordedMetrics
from infra.deployment import ACCESS_LOG
from tests.simulators.opensearch import OpenSearchServer

KEYS = Credentials("testing", "testing")


@pytest.fixture
def domain() -> Iterator[OpenSearchServer]:
    """A new domain."""
    with OpenSearchServer() as server:
        yield server


def sender(domain: OpenSearchServer) -> logsearch.Send:
    return signed(domain.url, region="us-east-1", credentials=lambda: KEYS, sleep=lambda seconds: None)


def access_log() -> str:
    """A line of API Gateway's, filled in as API Gateway does."""
    values = {
        "$context.status": "200",
        "$context.identity.sourceIp": "198.51.100.7",
        "$context.requestTime": "15/Jan/2027:08:00:00 +0000",
    }
    return json.dumps({k: values.get(v, "-" if v.startswith("$") else v) for k, v in json.loads(ACCESS_LOG).items()})


def written() -> list[str]:
    """A line of each kind."""
    out = io.StringIO()
    metrics = Metrics(service="dialogue", stream=out)
    for metric in METRICS.values():
        metrics.emit((metric, 1.5), platform="slack", error="Unavailable")
    record = logging.LogRecord("assistant.worker", logging.ERROR, __file__, 1, "turn failed", None, None)
    record.ecs = {
        "event.id": "e1",
        "trace.id": "1-a",
        "attempt": 2,
        "platform": "slack",
        "http.status": 500,
        "event.reason": "why",
    }
    try:
        raise ValueError("a value")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    report = "REPORT RequestId: 3f\tDuration: 8.3 ms\tBilled Duration: 9 ms\tMemory Size: 1024 MB\tMax Memory Used: 143 MB\t\n"
    return [
        *out.getvalue().splitlines(),
        EcsFormatter().format(record),
        report,
        "Task timed out after 150.00 seconds",
        access_log(),
    ]


def piped(lines: list[str]) -> list[dict[str, Any]]:
    """What the pipe makes of `lines`."""
    found = []
    pipe = LogPipe(client=lambda: None, search="s", metrics=RecordedMetrics())
    for line in lines:
        batch = {
            "messageType": "DATA_MESSAGE",
            "owner": "123456789012",
            "logGroup": "/assistant/dev/dialogue",
            "logStream": "x",
            "logEvents": [{"id": "1", "timestamp": 1_800_000_000_000, "message": line}],
        }
        data = base64.b64encode(gzip.compress(json.dumps(batch).encode())).decode()
        (answer,) = pipe.transform({"deliveryStreamArn": "a/s", "records": [{"recordId": "1", "data": data}]})["records"]
        found.append(json.loads(base64.b64decode(answer["data"])))
    return found


def test_a_domain_is_set_up_and_set_up_again(domain: OpenSearchServer) -> None:
    first = load(sender(domain), days=30)
    assert load(sender(domain), days=90) == [*first[:1], "policy assistant-logs: deleted after 90 days", *first[2:]]
    version, kept = domain.policies["assistant-logs"]
    assert version == 1
    assert kept == policy(90)["policy"]
    assert {kind for kind, _ in domain.saved} == {"index-pattern", "search", "visualization", "dashboard"}


def test_every_kind_of_line_fits_the_mapping(domain: OpenSearchServer) -> None:
    load(sender(domain), days=30)
    for found in piped(written()):
        domain.index(found)
    assert domain.find(trace__id="1-a")


def test_numbers_are_numbers_without_the_leniency_for_gateways(domain: OpenSearchServer) -> None:
    load(sender(domain), days=30)
    domain.templates["assistant-logs"]["template"]["settings"].pop("index.mapping.ignore_malformed")
    for found in piped(written()[:-1]):
        domain.index(found)


def test_every_graph_shows_a_metric_that_exists_and_every_panel_a_graph() -> None:
    found = {(o["type"], o["id"]): o for o in saved_objects()}
    assert len(found) == len(saved_objects()), "two objects of one name"
    shown = set()
    for (kind, _), saved in found.items():
        for reference in saved["references"]:
            assert (reference["type"], reference["id"]) in found
        if kind == "visualization":
            state = json.loads(saved["attributes"]["visState"])
            shown |= {a["params"]["field"].removeprefix("assistant.metrics.") for a in state["aggs"] if a["schema"] == "metric"}
        if kind == "dashboard":
            panels = json.loads(saved["attributes"]["panelsJSON"])
            assert [p["panelRefName"] for p in panels] == [r["name"] for r in saved["references"]]
    assert shown
    assert shown <= set(METRICS)


@pytest.mark.parametrize("days", [1, 2, 3, 30, 731])
def test_logs_are_packed_before_they_go(days: int) -> None:
    written_, packed, gone = policy(days)["policy"]["states"]
    first, then = (int(s["transitions"][0]["conditions"]["min_index_age"][:-1]) for s in (written_, packed))
    assert 1 <= first <= then == days
    assert gone["actions"] == [{"delete": {}}]


def test_a_domain_that_is_only_just_starting_is_asked_again(domain: OpenSearchServer) -> None:
    domain.busy = 3
    waited: list[float] = []
    load(signed(domain.url, region="us-east-1", credentials=lambda: KEYS, sleep=waited.append), days=30)
    assert waited == [2, 4, 8]


def test_a_domain_that_never_answers_is_an_error_that_names_it(domain: OpenSearchServer) -> None:
    domain.busy = 100
    with pytest.raises(Unavailable, match="PUT /_index_template/assistant-logs: 503"):
        load(sender(domain), days=30)


def test_a_refusal_says_what_was_refused(domain: OpenSearchServer) -> None:
    def unsigned(method: str, path: str, body: bytes, headers: Any) -> logsearch.Answered:
        import httpx

        got = httpx.request(method, domain.url + path, content=body, headers=headers)
        return logsearch.Answered(got.status_code, got.text)

    with pytest.raises(Unavailable, match="refuses /_index_template/assistant-logs: 403"):
        load(unsigned, days=30)
