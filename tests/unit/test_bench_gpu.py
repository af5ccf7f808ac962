"""The harness of the GPU benchmark: its arithmetic, and a whole run against a server whose speed is known."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.benchmarks.gpu import SHAPES, Client, Sample, Work, main, percentile, plot, summary, verdict
from tests.simulators.openai_server import ModelServer, Plan


def test_the_work_of_the_8b_shape_is_what_its_parameters_say() -> None:
    work = Work.of(SHAPES["8b"])
    assert work.weight_bytes == pytest.approx(15.1e9, rel=0.01)
    assert work.kv_bytes == 147_456
    assert work.flop == pytest.approx(13.9e9, rel=0.01)


def test_the_ceiling_is_the_bandwidth_over_the_bytes_of_a_step() -> None:
    work = Work.of(SHAPES["8b"])
    one = work.ceiling(running=1, context=0, bytes_per_second=4.8e12)
    assert one == pytest.approx(317, abs=3)
    many = work.ceiling(running=200, context=2000, bytes_per_second=4.8e12)
    assert many == pytest.approx(12_900, rel=0.03)


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile([7], 0.99) == 7
    assert percentile([], 0.5) == 0


def test_a_summary_counts_only_whole_answers() -> None:
    good = Sample(sent=0, turn=0, status=200, parts=[0.1, 0.2, 0.3], prompt=100, cached=60, completion=3, done=True)
    shed = Sample(sent=0, turn=0, status=503, error="HTTP 503")
    cut = Sample(sent=0, turn=1, status=200, parts=[0.5], error="cut")
    found = summary([good, shed, cut], 2.0)
    assert (found["answered"], found["shed"], found["errors"]) == (1, 1, 1)
    assert found["output_tokens_per_second"] == 1.5
    assert found["prefix_hit_share"] == 0.6
    assert found["ttft_ms"]["p50"] == pytest.approx(100)
    assert found["itl_ms"]["p50"] == pytest.approx(100)


def test_a_whole_run_reports_what_the_server_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ModelServer(plan=Plan(text="word " * 8, first_token=0.05, gap=0.005), running=6, queued=2) as server:
        options = "--levels 1,4 --seconds 0.6 --offered 20 --prefill 200 --prefill-requests 4 --system 60 --answer 16"
        status = main([*options.split(), "--url", f"{server.base}/v1", "--model", "tiny", "--out", str(tmp_path)])
    assert status == 0
    shown = json.loads(capsys.readouterr().out)
    report = json.loads(Path(shown["report"]).read_text())
    one, four = report["levels"]
    assert one["ttft_ms"]["p50"] >= 50
    assert four["output_tokens_per_second"] > 2 * one["output_tokens_per_second"]
    assert four["prefix_hit_share"] > 0.3, "the turns of a conversation begin alike"
    assert report["overload"]["shed"] > 0
    assert report["overload"]["answered"] + report["overload"]["shed"] == 20
    assert report["overload"]["recovery_seconds"] < 5
    drawn = ET.fromstring(Path(shown["report"]).with_suffix(".svg").read_text())
    assert drawn.tag.endswith("svg")
    if report["device"] == "processor":
        assert "says nothing about a GPU" in report["note"]
        assert report["verdict"] == {}


def test_what_is_shed_inside_the_stream_is_no_answer() -> None:
    with ModelServer(plan=Plan(shed=True)) as server:
        found, text = asyncio.run(Client(f"{server.base}/v1", "tiny").ask([{"role": "user", "content": "x"}], tokens=3))
    assert (found.status, found.error, text) == (503, "HTTP 503", "")
    assert summary([found], 1.0)["shed"] == 1


def test_the_verdict_names_what_was_missed_and_what_was_not_measured() -> None:
    row = {"errors": 0, "ttft_ms": {"p95": 1500.0}, "prefix_hit_share": 0.8, "share_of_ceiling": 0.55}
    report = {
        "levels": [{"in_flight": 1, **row}, {"in_flight": 200, **row}],
        "prefill": {},
        "overload": {"recovery_seconds": None},
    }
    found = verdict(report)
    assert found["one stream ≥ 60 % of the ceiling"] is False
    assert found["200 in flight ≥ 50 % of the ceiling"] is True
    assert found["first token p95 ≤ 1 s at 200"] is False
    assert found["prefill ≥ 50 % of the matrix rate"] is None
    assert found["recovery from overload < 10 s"] is False


def test_a_plot_of_one_level_is_drawn_too() -> None:
    row = {"in_flight": 1, "output_tokens_per_second": 10.0, "ttft_ms": {"p50": 1.0, "p95": 2.0}}
    assert ET.fromstring(plot([row], "a < b")) is not None
