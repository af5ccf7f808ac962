"""Logs are ECS JSON without secrets; metrics are CloudWatch's embedded format."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from assistant.observability import TURN_TIME, TURNS, Metrics, configure_logging, log, redact


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging("INFO", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_has_ecs_names_and_the_trace(output: io.StringIO) -> None:
    log(logging.getLogger("assistant.test"), logging.INFO, "sent", event_action="send", trace_id="Root=1-2-3", platform="slack")
    line = json.loads(output.getvalue())
    assert line["log.level"] == "info"
    assert line["event.action"] == "send"
    assert line["trace.id"] == "Root=1-2-3"
    assert line["@timestamp"].endswith("Z")


SECRETS = [
    "xoxb-" + "1234567890-abcdefghij",
    "Bearer abcdef0123456789",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "t-g1044qeGEDXTB6NDJOGV4JQCYDGHRBARFTGT1234",
    '{"app_secret": "hunter2hunter2"}',
    "access_token=0123456789abcdef&x=1",
    "api_key: very-secret-key",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_credential_never_reaches_a_log(output: io.StringIO, secret: str) -> None:
    logger = logging.getLogger("assistant.test")
    logger.warning("calling with %s", secret)
    log(logger, logging.ERROR, "failed", event_reason=secret)
    try:
        raise ValueError(f"bad answer to {secret}")
    except ValueError:
        logger.exception("failed")
    assert "[redacted]" in output.getvalue()
    for word in ("1234567890-abcdefghij", "0123456789", "c2lnbmF0dXJl", "ABCDEFGHIJKLMNOP", "g1044qe", "hunter2", "very-secret"):
        assert word not in output.getvalue()


def test_ordinary_words_are_left_alone() -> None:
    text = "the token is refreshed for conversation oc_1234 after 7200 s; secret assistant/prod/slack is missing"
    assert redact(text) == text


def test_metrics_are_one_line_in_the_embedded_format() -> None:
    stream = io.StringIO()
    Metrics(service="dialogue", stream=stream).emit((TURNS, 1), (TURN_TIME, 12.5), platform="slack")
    line = json.loads(stream.getvalue())
    [declared] = line["_aws"]["CloudWatchMetrics"]
    assert declared["Namespace"] == "Assistant"
    assert ["service", "platform"] in declared["Dimensions"]
    assert {m["Name"]: m["Unit"] for m in declared["Metrics"]} == {"TurnsAnswered": "Count", "TurnTime": "Milliseconds"}
    assert (line["TurnsAnswered"], line["TurnTime"], line["platform"]) == (1, 12.5, "slack")
