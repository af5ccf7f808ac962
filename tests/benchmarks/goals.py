"""The goals, each judged by the rows of the section that measures it: nothing here is written down twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.plots import number
from tests.benchmarks.report import Row

SIZES: Final = (50, 200, 1000)
"""Conversations at once for which the load's goals are set."""
LOAD_P99_MS: Final = 500.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was measured of a goal: `met` is None where that does not decide it."""

    ours: str
    peers: str = ""
    met: bool | None = None


Judge = Callable[[Sequence[Row]], Verdict]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One line of the final table."""

    what: str
    section: str
    """Title of the section whose rows decide it."""
    judge: Judge
    limit: str
    """What bounds it."""
    command: str
    """What measures it."""


# --- how rows decide --------------------------------------------------------------------------------


def _span(rows: Sequence[Row], figure: str) -> str:
    """The least and the most of a figure."""
    values = [float(row.figures[figure]) for row in rows if figure in row.figures]
    if not values:
        return ""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _with_unit(said: str, unit: str) -> str:
    return f"${said}" if unit == "$" else f"{said} {unit}".strip()


def rows_like(
    figures: Mapping[str, str],
    *,
    name: str = "",
    goal: str = "",
    most: tuple[str, float] | None = None,
    peers: Sequence[str] = (),
    beside: str = "",
) -> Judge:
    """Judges by the rows whose names and goals match: by what they say themselves, or by `most`, a figure and its limit.

    `figures`: what is shown of them, each with its unit. `peers`: names of rows beside them, of which `beside` is shown.
    """

    def judge(rows: Sequence[Row]) -> Verdict:
        own = [row for row in rows if row.met is not None and re.search(name, row.name) and re.search(goal, row.goal)]
        met = all(float(row.figures[most[0]]) <= most[1] if most else row.met for row in own) if own else None
        ours = ", ".join(_with_unit(said, unit) for figure, unit in figures.items() if (said := _span(own, figure)))
        known = {row.name: row for row in rows}
        return Verdict(
            ours=ours, peers=", ".join(f"{p} {number(known[p].figures[beside])}" for p in peers if p in known), met=met
        )

    return judge


def pairs(suffix: str, others: Mapping[str, str], *, figure: str) -> Judge:
    """Judges by the rows "platform: suffix" by what they say themselves, each must be there; `others`: the row beside each,
    "platform: other"."""

    def judge(rows: Sequence[Row]) -> Verdict:
        found = {row.name: row for row in rows}
        own = {name: row for name in others if (row := found.get(f"{name}: {suffix}")) and row.met is not None}
        ours = ", ".join(f"{name} {number(row.figures[figure])}" for name, row in own.items())
        beside = {name: row for name, other in others.items() if name in own and (row := found.get(f"{name}: {other}"))}
        named = {name: number(row.figures[figure]) for name, row in beside.items()}
        if len(set(others.values())) == 1:
            peers = f"{next(iter(others.values()))}: " + ", ".join(f"{name} {value}" for name, value in named.items())
        else:
            peers = ", ".join(f"{others[name]} {value}" for name, value in named.items())
        met: bool | None = all(row.met for row in own.values())
        if met and len(own) < len(others):
            met = None
        return Verdict(ours=ours, peers=peers, met=met)

    return judge


def sizes(figure: str, unit: str, *, most: float, at: Sequence[int]) -> Judge:
    """Judges by the rows of the load with so many conversations; one that was not measured leaves it open."""

    def judge(rows: Sequence[Row]) -> Verdict:
        found = {row.name: float(row.figures[figure]) for row in rows if figure in row.figures}
        values = {size: found.get(f"{size} conversations") for size in at}
        said = [
            f"{number(value)} {unit} at {size:,}".replace("  ", " ") if value is not None else f"{size:,} not measured"
            for size, value in values.items()
        ]
        measured = [value for value in values.values() if value is not None]
        met: bool | None = all(value <= most for value in measured)
        if met and len(measured) < len(at):
            met = None
        return Verdict(ours=", ".join(said), met=met)

    return judge


def counted(pattern: str = "") -> Judge:
    """Judges by how many of the matching rows that have a goal meet it."""

    def judge(rows: Sequence[Row]) -> Verdict:
        own = [row for row in rows if row.met is not None and re.search(pattern, row.goal)]
        good = sum(bool(row.met) for row in own)
        return Verdict(ours=f"{good} of {len(own)} rows", met=good == len(own)) if own else Verdict(ours="")

    return judge


def value(name: str, unit: str) -> Judge:
    """Judges by the one row of this name."""
    return rows_like({"value": unit}, name=f"^{re.escape(name)}$")


# --- the goals --------------------------------------------------------------------------------------

_IMPORTS = "the import of botocore and the reading of its description of SQS"
_CALLS = "one query for the conversation, one write before and one after the answer"
_CORES = "two cores that the load, the vendors' doubles, the model's and AWS's share with us"

GOALS: Final[tuple[Goal, ...]] = (
    Goal(
        what="Cold start of the webhook function on each platform: ≤ 1.3 × a function that makes one boto3 client and "
        "≤ 0.13 × lark-oapi",
        section="Cold start",
        judge=rows_like(
            {"median ms": "ms", "× one boto3 client": "× one client", "× lark-oapi": "× lark-oapi"},
            name="^webhook, ",
            goal="client",
            peers=("one boto3 client", "slack_bolt", "lark-oapi", "FastAPI + Mangum + boto3"),
            beside="median ms",
        ),
        limit=_IMPORTS,
        command="python -m tests.benchmarks cold",
    ),
    Goal(
        what="The same, as a stretch: ≤ 1.0 × slack_bolt, which makes no AWS client",
        section="Cold start",
        judge=rows_like(
            {"× slack_bolt": "×"},
            name="^webhook, ",
            goal="client",
            most=("× slack_bolt", 1.0),
            peers=("slack_bolt",),
            beside="median ms",
        ),
        limit=_IMPORTS,
        command="python -m tests.benchmarks cold",
    ),
    Goal(
        what="What platforms want answered within one second is answered within one second, cold",
        section="Cold start",
        judge=rows_like({"max ms": "ms at the slowest"}, goal="within one second"),
        limit=_IMPORTS,
        command="python -m tests.benchmarks cold",
    ),
    Goal(
        what="Verifying, decrypting, parsing and normalising an event, p50 ms: at least as fast as "
        "slack_bolt's Lambda adapter and lark-oapi's dispatcher",
        section="Warm acknowledgement",
        judge=pairs(
            "receive",
            {"slack": "slack_bolt", "feishu": "lark-oapi"},
            figure="p50 ms",
        ),
        limit="Python's own JSON, and a message of thirty fields made from what may be anything",
        command="python -m tests.benchmarks ack",
    ),
    Goal(
        what="The same with the message sent to the queue, p50 ms: ≤ 1.2 × a minimum by hand, on each platform",
        section="Acknowledgement with the send",
        judge=pairs(
            "sent",
            dict.fromkeys(("webchat", "slack", "feishu", "teams", "dingtalk", "wecom"), "hand-written minimum"),
            figure="p50 ms",
        ),
        limit="botocore's request: four fifths of the time are its own",
        command="python -m tests.benchmarks ack",
    ),
    Goal(
        what="Processor time of a turn outside the model: ≤ 15 ms",
        section="The turn",
        judge=value("processor ms, model apart", "ms"),
        limit="botocore's requests, and writing the answer in the platform's own form",
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="AWS calls of a turn: ≤ 4, and one in the webhook",
        section="The turn",
        judge=rows_like({"value": "calls"}, name="^AWS calls"),
        limit=_CALLS,
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="Write units of a turn: ≤ 3",
        section="The turn",
        judge=value("write units", ""),
        limit=_CALLS,
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="Read units of a turn with 8 KB of history: ≤ 2",
        section="The turn",
        judge=value("read units, usual turn", ""),
        limit="8 KB of history, read as it was last written: two units of 4 KB",
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="Logs of a turn: ≤ 4 KB",
        section="The turn",
        judge=value("bytes logged", "bytes"),
        limit="the lines of metrics and of the turn that dashboards and searches need",
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="A million messages, plumbing alone: ≤ $8",
        section="The turn",
        judge=value("$ per million messages, plumbing", "$"),
        limit="write units, then API Gateway's list price",
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="A million messages with 5 s of waiting for the model each: ≤ $25",
        section="The turn",
        judge=value("$ per million, 5 s model wait", "$"),
        limit="the function's memory while it waits",
        command="python -m tests.benchmarks turn",
    ),
    Goal(
        what="Acknowledgement under load, p99: < 500 ms with 50, 200 and 1,000 conversations",
        section="Load",
        judge=sizes("ack p99 ms", "ms", most=LOAD_P99_MS, at=SIZES),
        limit=_CORES,
        command="python -m tests.benchmarks load",
    ),
    Goal(
        what="Added to the model's own time under load, p99: < 500 ms with 200 conversations",
        section="Load",
        judge=sizes("added p99 ms", "ms", most=LOAD_P99_MS, at=(200,)),
        limit=_CORES,
        command="python -m tests.benchmarks load",
    ),
    Goal(
        what="Nothing lost, out of order or said twice under load",
        section="Load",
        judge=sizes("wrong", "wrong", most=0.0, at=SIZES),
        limit="the order of the queue's groups, and one conditional write for each turn",
        command="python -m tests.benchmarks load",
    ),
    Goal(
        what="Memory flat over half an hour: ≤ 1.2 × what it is after a tenth of it",
        section="Endurance",
        judge=rows_like({"MiB at first": "MiB at first", "MiB at last": "at last"}, name="minutes$"),
        limit="Python's allocator",
        command="python -m tests.benchmarks endurance",
    ),
    Goal(
        what="Beside a flood of 10,000 messages in one conversation, the answer's p99 in the others: ≤ 1.2 × as long",
        section="Flood",
        judge=rows_like({"× without": "×"}, name="^answer p99 beside it$"),
        limit=_CORES,
        command="python -m tests.benchmarks flood",
    ),
    Goal(
        what="Whatever part fails, and whenever a function is killed: nothing accepted is lost, nothing is said twice where the "
        "platform allows that promise",
        section="Faults",
        judge=counted(),
        limit="platforms without idempotent sends; a kill between a send and its note",
        command="python -m tests.benchmarks faults",
    ),
    Goal(
        what="Hostile input: no 5xx, nothing that takes over 1 s, no memory over the function's size",
        section="Hostile input",
        judge=rows_like({"5xx": "of 5xx", "slowest ms": "ms at the slowest", "peak MiB": "MiB at most"}),
        limit="the size of a request, 256 KB, and the depth of JSON that is read",
        command="python -m tests.benchmarks hostile",
    ),
    Goal(
        what="As history, tenants, people, plug-ins and knowledge become ten and a hundred times as much: calls and capacity as "
        "before",
        section="Growth",
        judge=counted("^counted"),
        limit="a partition of the table for each conversation and each person",
        command="python -m tests.benchmarks growth",
    ),
    Goal(
        what="The same: processor time of a turn no worse than the growth's own table says",
        section="Growth",
        judge=counted("^≤"),
        limit="for plug-ins, looking at each; for knowledge, the search",
        command="python -m tests.benchmarks growth",
    ),
)
