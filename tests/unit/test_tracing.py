"""One trace id in every line about a message, and X-Ray for at most one message in twenty."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace

import pytest

from assistant.messages import Message
from assistant.observability import TURNS, EcsFormatter, Metrics, trace_id, traced
from assistant.queue import TRACED, trace_header

ROOT = "1-67891233-abcdef012345678912345678"
MESSAGE = Message(
    kind="text",
    platform="slack",
    channel="events",
    conversation="C1",
    sender="U1",
    text="Hello",
    event_id="e",
    message_id="m",
    dedup_id="m",
    tenant="T",
    sent_at=1_735_000_000_000,
)


@pytest.mark.parametrize(
    ("header", "id_"),
    [
        (f"Root={ROOT}", ROOT),
        (f"Self=1-2-3;Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1", ROOT),
        (f"Parent=1; Root={ROOT}", ROOT),
        ("", ""),
        ("Rooted=1-2-3", ""),
        ('Root="; drop', ""),
    ],
)
def test_a_trace_id_is_read_from_its_header(header: str, id_: str) -> None:
    assert trace_id(header) == id_


def test_logs_and_metrics_bear_the_trace_id_of_what_is_being_handled() -> None:
    out = io.StringIO()
    metrics = Metrics(service="dialogue", stream=out)
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "m", None, None)
    with traced(f"Root={ROOT};Sampled=0"):
        metrics.emit((TURNS, 1), platform="slack")
        assert json.loads(EcsFormatter().format(record))["trace.id"] == ROOT
    metrics.emit((TURNS, 1))
    inside, outside = map(json.loads, out.getvalue().splitlines())
    assert inside["trace.id"] == ROOT
    assert all("trace.id" not in d for d in inside["_aws"]["CloudWatchMetrics"][0]["Dimensions"]), "a dimension a message costs"
    assert "trace.id" not in outside


def test_at_most_one_message_in_twenty_is_drawn_by_x_ray() -> None:
    chosen = 0
    for number in range(20_000):
        made = replace(MESSAGE, trace=f"Root=1-67891233-{number:024x}")
        chosen += trace_header(made).endswith(";Sampled=1")
    assert 0.8 * TRACED <= chosen / 20_000 <= 1.1 * TRACED


def test_a_message_keeps_its_trace_whoever_sends_it_again() -> None:
    with_header = replace(MESSAGE, trace=f"Root={ROOT};Parent=1")
    assert trace_header(with_header).startswith(f"Root={ROOT};Sampled=")
    assert trace_header(with_header) == trace_header(replace(with_header, trace=f"Root={ROOT}"))
    assert trace_header(MESSAGE) == trace_header(replace(MESSAGE, text="changed"))
    assert trace_header(MESSAGE) != trace_header(replace(MESSAGE, dedup_id="another"))
