"""Log lines on their way to the search and to the archive: real shapes, nothing lost, no secret."""

from __future__ import annotations

import base64
import gzip
import importlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant import logpipe
from assistant.logpipe import LogPipe
from assistant.observability import LOGS_ASIDE, TURN_TIME, TURNS, EcsFormatter, Metrics, RecordedMetrics, redact

SEARCH = "assistant-production-search"
ARCHIVE = "assistant-production-archive"


class Firehose:
    """Two streams as strict as the vendor's: limits of calls, records and answers; a failed answer goes to the error prefix."""

    def __init__(self) -> None:
        self.delivered: dict[str, list[bytes]] = {SEARCH: [], ARCHIVE: []}
        self.aside: list[bytes] = []
        self.refusals: list[int] = []
        """How many records of each coming call are refused."""
        self.calls = 0
        self._waiting: list[tuple[str, bytes]] = []
        self.metrics = RecordedMetrics()
        self.pipe = LogPipe(client=lambda: self, search=SEARCH, metrics=self.metrics, sleep=lambda seconds: None)

    def put_record_batch(self, *, DeliveryStreamName: str, Records: Sequence[Mapping[str, bytes]]) -> dict[str, Any]:
        assert 1 <= len(Records) <= 500
        assert sum(len(r["Data"]) for r in Records) <= 4 * 1024 * 1024
        assert all(0 < len(r["Data"]) <= 1000 * 1024 for r in Records)
        self.calls += 1
        refused = self.refusals.pop(0) if self.refusals else 0
        answers = []
        for number, record in enumerate(Records):
            if number < refused:
                answers.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            else:
                self._waiting.append((DeliveryStreamName, record["Data"]))
                answers.append({"RecordId": str(number)})
        return {"FailedPutCount": refused, "RequestResponses": answers}

    def put(self, stream: str, *records: bytes) -> None:
        """Takes `records`, and works until nothing waits."""
        self._waiting += [(stream, r) for r in records]
        for _ in range(50):
            if not self._waiting:
                return
            now, self._waiting = self._waiting, []
            for name in (SEARCH, ARCHIVE):
                if mine := [data for stream_, data in now if stream_ == name]:
                    self._ask(name, mine)
        raise AssertionError("records go round and round")

    def _ask(self, stream: str, records: list[bytes]) -> None:
        event = {
            "invocationId": "8a1b",
            "deliveryStreamArn": f"arn:aws:firehose:eu-central-1:123456789012:deliverystream/{stream}",
            "region": "eu-central-1",
            "records": [
                {"recordId": f"r{n}", "approximateArrivalTimestamp": 1_800_000_000_000, "data": base64.b64encode(r).decode()}
                for n, r in enumerate(records)
            ],
        }
        answer = self.pipe.transform(json.loads(json.dumps(event)))
        assert len(json.dumps(answer)) <= 6 * 1024 * 1024, "Lambda would refuse to return this"
        assert [a["recordId"] for a in answer["records"]] == [f"r{n}" for n in range(len(records))]
        for asked, told in zip(records, answer["records"], strict=True):
            match told["result"]:
                case "Ok":
                    self.delivered[stream].append(base64.b64decode(told["data"]))
                case "ProcessingFailed":
                    assert base64.b64decode(told["data"]) == asked, "what could not be read is kept as it came"
                    self.aside.append(asked)
                    assert self.metrics.total(LOGS_ASIDE) == len(self.aside)
                case other:
                    assert other == "Dropped"
                    assert "data" not in told

    def documents(self, stream: str) -> list[dict[str, Any]]:
        """What arrived, document by document."""
        found = []
        for record in self.delivered[stream]:
            lines = record.split(b"\n")
            if stream == SEARCH:
                assert len(lines) == 1, "OpenSearch takes one document a record"
            else:
                assert lines.pop() == b"", "lines in S3 end with a line feed"
            found += [json.loads(line) for line in lines]
        return found


def batch(*messages: str, kind: str = "DATA_MESSAGE", group: str = "/assistant/production/dialogue") -> bytes:
    """A record as CloudWatch sends it."""
    events = [
        {"id": f"{37_000_000 + n:056d}", "timestamp": 1_800_000_000_123 + n, "message": message}
        for n, message in enumerate(messages)
    ]
    whole = {
        "messageType": kind,
        "owner": "123456789012",
        "logGroup": group,
        "logStream": "2027/01/15/[7]0123456789abcdef",
        "subscriptionFilters": ["to-search"],
        "logEvents": events,
    }
    return gzip.compress(json.dumps(whole).encode(), compresslevel=1)


def line(message: str = "turn failed", **ecs: Any) -> str:
    """A line as a function writes it."""
    record = logging.LogRecord("assistant.worker", logging.WARNING, __file__, 1, message, None, None)
    record.ecs = ecs
    return EcsFormatter().format(record) + "\n"


def only(stream: str, *messages: str) -> dict[str, Any]:
    firehose = Firehose()
    firehose.put(stream, batch(*messages))
    (found,) = firehose.documents(stream)
    return found


def test_each_line_is_found_in_the_search_and_kept_in_the_archive() -> None:
    firehose = Firehose()
    lines = [line(f"message {n}", **{"trace.id": f"1-{n}"}) for n in range(20)]
    for stream in (SEARCH, ARCHIVE):
        firehose.put(stream, batch(*lines))
        assert [d["message"] for d in firehose.documents(stream)] == [f"message {n}" for n in range(20)]
        assert [d["trace.id"] for d in firehose.documents(stream)] == [f"1-{n}" for n in range(20)]
    assert firehose.calls == 1, "the archive takes several lines in one record"


def test_a_line_says_where_it_comes_from() -> None:
    found = only(SEARCH, line())
    assert found["cloud.account.id"] == "123456789012"
    assert found["aws.cloudwatch.log_group"] == "/assistant/production/dialogue"
    assert (found["service.name"], found["service.environment"]) == ("dialogue", "production")
    assert found["log.level"] == "warning"


def test_metrics_become_numbers_that_can_be_drawn() -> None:
    out = io.StringIO()
    Metrics(service="dialogue", stream=out).emit((TURNS, 1), (TURN_TIME, 812.5), platform="slack")
    found = only(SEARCH, out.getvalue())
    assert found["assistant.metrics.TurnsAnswered"] == 1
    assert found["assistant.metrics.TurnTime"] == 812.5
    assert (found["service.name"], found["labels.platform"], found["event.kind"]) == ("dialogue", "slack", "metric")
    assert "_aws" not in found
    assert "service" not in found, "ECS has an object of that name"
    assert found["@timestamp"] == "2027-01-15T08:00:00.123Z"


def test_an_access_logs_time_becomes_one_that_can_be_sorted() -> None:
    written = {"@timestamp": "15/Jan/2027:08:00:00 +0000", "http.response.status_code": "200", "source.ip": "198.51.100.7"}
    assert only(SEARCH, json.dumps(written))["@timestamp"] == "2027-01-15T08:00:00.123Z"


def test_what_lambda_itself_reports_can_be_searched() -> None:
    text = (
        "REPORT RequestId: 3f1c-9\tDuration: 812.33 ms\tBilled Duration: 1301 ms\tMemory Size: 1024 MB\tMax Memory Used: 143 MB\t"
        "Init Duration: 487.11 ms\t\n"
    )
    found = only(SEARCH, text)
    assert (found["faas.execution"], found["event.duration"], found["faas.coldstart"]) == ("3f1c-9", 812_330_000, True)
    assert found["assistant.metrics.MemoryUsed"] == 143


@pytest.mark.parametrize(
    "text",
    [
        line("sent with xoxb-123456789-abcdefgh", **{"error.message": "Bearer abcdefgh12345678"}),
        "plain text with password=correct-horse-battery\n",
        json.dumps({"message": "m", "http": {"request": {"headers": {"authorization": "whatever it looks like"}}}}),
        json.dumps({"message": "m", "list": [{"client_secret": "hunter2hunter2"}]}),
        json.dumps({"message": "m", "api_key": "short"}),
    ],
)
def test_no_secret_leaves_the_logs(text: str) -> None:
    shown = json.dumps(only(ARCHIVE, text))
    for secret in ("xoxb-123456789", "abcdefgh12345678", "correct-horse", "whatever it looks", "hunter2", "short"):
        assert secret not in shown
    assert "[redacted]" in shown


def test_cloudwatchs_question_whether_anybody_is_there_is_no_log_line() -> None:
    firehose = Firehose()
    firehose.put(SEARCH, batch("CWL CONTROL MESSAGE: Checking health of destination Firehose.", kind="CONTROL_MESSAGE"))
    assert firehose.documents(SEARCH) == []
    assert firehose.aside == []


@pytest.mark.parametrize(
    "raw",
    [
        batch(line())[:-9],  # cut on its way
        b"\x1f\x8b" + b"no archive",
        gzip.compress(b"no JSON", mtime=0),
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b'{"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1"}]}', mtime=0),
        gzip.compress(b'{"messageType": "SOMETHING_NEW"}', mtime=0),
        b"neither JSON nor an archive",
        b'"a text"',
        b"\xff\xfe",
    ],
)
def test_what_cannot_be_read_is_kept_aside_and_stops_nothing_else(raw: bytes) -> None:
    firehose = Firehose()
    firehose.put(SEARCH, batch(line("before")), raw, batch(line("after")))
    assert firehose.aside == [raw]
    assert [d["message"] for d in firehose.documents(SEARCH)] == ["before", "after"]


def test_data_that_is_no_base64_is_kept_aside() -> None:
    event = {"deliveryStreamArn": f"arn:x/{SEARCH}", "records": [{"recordId": "1", "data": "§§§"}]}
    assert Firehose().pipe.transform(event) == {"records": [{"recordId": "1", "result": "ProcessingFailed", "data": "§§§"}]}


def test_an_archive_that_would_fill_the_memory_is_kept_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    firehose = Firehose()
    bomb = gzip.compress(b" " * (logpipe.UNPACKED_BYTES + 1), compresslevel=1)
    firehose.put(ARCHIVE, bomb)
    assert firehose.aside == [bomb]


def test_answers_that_would_be_too_large_come_in_another_call() -> None:
    firehose = Firehose()
    texts = [line(f"{n} " + "x" * 90_000) for n in range(30)]  # 2.7 MB in each of two records
    firehose.put(ARCHIVE, batch(*texts), batch(*texts))
    assert len(firehose.documents(ARCHIVE)) == 60
    assert firehose.calls


def test_many_small_lines_go_back_in_as_many_calls_as_firehose_wants() -> None:
    firehose = Firehose()
    firehose.put(SEARCH, batch(*[f"line {n}" for n in range(1201)]))
    assert [d["message"] for d in firehose.documents(SEARCH)] == [f"line {n}" for n in range(1201)]
    assert firehose.calls == 3


@pytest.mark.parametrize("stream", [SEARCH, ARCHIVE])
@pytest.mark.parametrize("length", [200_000, 1_048_576, 3_000_000])
def test_a_line_longer_than_anything_takes_is_cut_and_says_so(stream: str, length: int) -> None:
    found = only(stream, line("字" * (length // 3), **{"trace.id": "1-a"}))
    assert found["trace.id"] == "1-a"
    assert (found.get("labels.cut") == "true") == (length // 3 > logpipe.FIELD_CHARACTERS)


def test_lines_that_firehose_refuses_are_put_back_again() -> None:
    firehose = Firehose()
    firehose.refusals = [7, 3]
    firehose.put(SEARCH, batch(*[f"line {n}" for n in range(10)]))
    assert sorted(d["message"] for d in firehose.documents(SEARCH)) == [f"line {n}" for n in range(10)]
    assert (firehose.calls, firehose.aside) == (3, [])


def test_lines_that_firehose_never_takes_are_kept_aside_whole() -> None:
    firehose = Firehose()
    firehose.refusals = [500] * 10
    raw = batch("one", "two", "three")
    firehose.put(SEARCH, raw)
    assert firehose.aside == [raw]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(max_size=300), max_size=30), max_size=5), st.lists(st.integers(0, 5), max_size=4))
def test_whatever_is_logged_arrives_or_is_kept_aside(records: list[list[str]], refusals: list[int]) -> None:
    for stream in (SEARCH, ARCHIVE):
        firehose = Firehose()
        firehose.refusals = list(refusals)
        raws = [batch(*[json.dumps({"message": text}) for text in texts]) for texts in records]
        firehose.put(stream, *raws)
        arrived = {d["aws.cloudwatch.event_id"] + d["message"] for d in firehose.documents(stream)}
        for texts, raw in zip(records, raws, strict=True):
            wanted = {f"{37_000_000 + n:056d}{redact(text)}" for n, text in enumerate(texts)}
            assert wanted <= arrived or raw in firehose.aside


def test_the_function_reads_in_its_settings_which_stream_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_SEARCH_STREAM", SEARCH)
    logs = importlib.import_module("functions.logs")
    logs.pipe.cache_clear()
    level, handlers = logging.getLogger().level, logging.getLogger().handlers[:]
    try:
        event = {
            "deliveryStreamArn": f"arn:aws:firehose:eu-central-1:123456789012:deliverystream/{SEARCH}",
            "records": [{"recordId": "1", "data": base64.b64encode(batch(line("alone"))).decode()}],
        }
        (answer,) = logs.lambda_handler(event, None)["records"]
        assert json.loads(base64.b64decode(answer["data"]))["message"] == "alone"
    finally:
        logs.pipe.cache_clear()
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
