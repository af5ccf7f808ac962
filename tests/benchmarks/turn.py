"""The turn: processor time outside the model, allocations, AWS calls, capacity, bytes logged, and the cost at list prices."""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from assistant.dev.emulator import Emulator
from assistant.observability import Metrics, configure_logging
from tests.benchmarks.report import Row, Section
from tests.support.apart import Apart
from tests.support.desks import SlackDesk
from tests.support.house import House, ScriptedModel

PRICES = {
    "API Gateway HTTP API, per million": 1.00,
    "SQS FIFO, per million": 0.50,
    "Lambda, per million": 0.20,
    "Lambda arm64, per GB second": 0.0000133334,
    "DynamoDB on demand, per million WRU": 0.625,
    "DynamoDB on demand, per million RRU": 0.125,
    "CloudWatch Logs, per GB": 0.50,
}
"""US dollars in us-east-1, from the vendors' public price pages; check them before you rely on the sum."""

WEBHOOK_SECONDS, WEBHOOK_GB = 0.02, 0.5
DIALOGUE_GB = 0.25
MODEL_SECONDS = 5.0


def measure(runs: int, *, progress: Callable[[str], None]) -> Section:
    """The table of one plain Slack turn with 8 KB of history."""
    with tempfile.TemporaryDirectory() as scratch:
        aws = Apart(Path(scratch) / "aws")
        aws.start()
        try:
            with SlackDesk() as desk:
                return _measured(aws, desk, runs, progress)
        finally:
            aws.stop()


def _measured(aws: Emulator, desk: SlackDesk, runs: int, progress: Callable[[str], None]) -> Section:
    house = House(aws, secrets=desk.secrets, model=ScriptedModel(["An answer of the usual length. " * 12]), history_turns=7)
    for n in range(9):
        desk.ask(house, f"Question {n}: " + "some words of context " * 8, message=f"h{n}")
        house.drain()
    house.recorder.take()
    seconds, processor, allocated = [], [], []
    accepted, write = 0, 0
    answered: list[int] = []
    read: list[float] = []
    for n in range(runs):
        progress(f"turn {n}/{runs}")
        desk.ask(house, f"And how long is it, {n}?", message=f"t{n}")
        accepted = max(accepted, len(house.recorder.take()))
        records = house.batch()
        traced = n % 10 == 9
        if traced:
            tracemalloc.start()
        wall, cpu = time.perf_counter(), time.thread_time()
        house.assistant.worker.process({"Records": records}, seconds=150)
        seconds.append(time.perf_counter() - wall)
        processor.append((time.thread_time() - cpu) * 1000)
        house.delete(records)  # the event source mapping's work, not the function's
        if traced:
            allocated.append(tracemalloc.get_traced_memory()[1] / 1024)
            tracemalloc.stop()
            processor.pop()  # tracing is not the turn's own work
        calls = house.recorder.take()
        answered.append(len(calls))
        read.append(sum(c.read for c in calls))
        write = max(write, sum(c.write for c in calls))
    logged = _logged()
    requests = accepted + 2  # sent, received, deleted
    plumbing = (
        PRICES["API Gateway HTTP API, per million"]
        + requests * PRICES["SQS FIFO, per million"]
        + 2 * PRICES["Lambda, per million"]
        + WEBHOOK_SECONDS * WEBHOOK_GB * PRICES["Lambda arm64, per GB second"] * 1e6
        + write * PRICES["DynamoDB on demand, per million WRU"]
        + statistics.mean(read) * PRICES["DynamoDB on demand, per million RRU"]
        + logged / 1e9 * 1e6 * PRICES["CloudWatch Logs, per GB"]
    )
    waiting = MODEL_SECONDS * DIALOGUE_GB * PRICES["Lambda arm64, per GB second"] * 1e6
    cpu_p50 = statistics.median(processor)
    usual = statistics.median(read)
    rows = [
        Row(name="AWS calls, webhook", figures={"value": float(accepted)}, goal="counted: 1", met=accepted == 1),
        Row(name="AWS calls, dialogue", figures={"value": float(max(answered))}, goal="counted: ≤ 4", met=max(answered) <= 4),
        Row(name="write units", figures={"value": float(write)}, goal="counted: ≤ 3", met=write <= 3),
        Row(name="read units, usual turn", figures={"value": usual}, goal="counted: ≤ 2", met=usual <= 2),
        Row(name="read units, rings read again (every 20 s)", figures={"value": max(read)}),
        Row(name="bytes logged", figures={"value": float(logged)}, goal="counted: ≤ 4096", met=logged <= 4096),
        Row(name="processor ms, model apart", figures={"value": cpu_p50}, goal="≤ 15", met=cpu_p50 <= 15),
        Row(name="wall ms, model apart", figures={"value": statistics.median(seconds) * 1000}),
        Row(name="peak KiB allocated, usual turn", figures={"value": statistics.median(allocated)}),
        Row(name="$ per million messages, plumbing", figures={"value": plumbing}, goal="≤ 8", met=plumbing <= 8),
        Row(
            name="$ per million, 5 s model wait", figures={"value": plumbing + waiting}, goal="≤ 25", met=plumbing + waiting <= 25
        ),
    ]
    how = (
        f"median of {runs} plain Slack turns with 8 KB of history against a local AWS in another process and a local Slack, "
        "which takes part in what is allocated; counts: the worst of all"
    )
    return Section(title="The turn", how=how, rows=rows)


def _logged() -> int:
    """Bytes that webhook and dialogue write to their logs for one plain turn."""
    aws = Emulator()
    aws.start()
    output = io.StringIO()
    configure_logging("INFO", stream=output)
    try:
        with SlackDesk() as desk:  # the clock of the one before is ahead
            house = House(aws, secrets=desk.secrets)
            house.assistant.metrics = Metrics(service="bench", stream=output)
            with contextlib.redirect_stdout(output):
                desk.ask(house, "How much is logged?", message="logged")
                house.drain()
    finally:
        aws.stop()
    return len(output.getvalue().encode())
