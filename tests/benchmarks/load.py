"""Load: many conversations at once through the whole local system, with a model of realistic first-token time and token rate."""

from __future__ import annotations

import asyncio
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx

from tests.benchmarks.crowd import CROWDS, Crowd, address
from tests.benchmarks.report import Curve, Row, Section
from tests.simulators.openai_server import ModelServer, Plan, pieces
from tests.support.running import Running

FIRST_TOKEN: Final = 0.4
GAP: Final = 0.01
END: Final = "thatisall"
REST: Final = " ".join([*["word"] * 98, END])
MODEL_SECONDS: Final = FIRST_TOKEN + GAP * len(pieces(f"tag1x1 {REST}"))
"""What the model alone takes for an answer where no tool is called, by its plan."""
TOOL: Final = "search_knowledge"
"""What one question in ten makes the model call before it answers."""
CONFIG: Final = """plugin_configs = '{"knowledge": {"search": true}}'\n"""
LOOK: Final = 0.05
"""Seconds between two looks at a chat: how exactly the time of an answer is known."""
PATIENCE: Final = 120.0
SEED: Final = 7
"""Of everybody's times of thought."""


@dataclass
class Seen:
    """What one run brought."""

    acknowledged: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, MiB of the functions' process."""
    lasted: float = 0.0
    tools: int = 0
    """Questions for which the model called a tool."""


def plan_for(body: dict[str, Any]) -> Plan:
    """An answer that names its question, so that everybody can see which reply is whose; one in ten calls a tool first."""
    tag = _tag(body)
    if _needs_tool(tag) and body["messages"][-1]["role"] == "user":
        (name,) = [t["function"]["name"] for t in body["tools"] if t["function"]["name"].endswith(TOOL)]
        return Plan(tool_calls=((name, json.dumps({"question": "How is Slack connected?"})),), first_token=FIRST_TOKEN)
    if body["messages"][-1]["role"] == "tool" and "Slack" not in body["messages"][-1]["content"]:
        return Plan(text="the tool found nothing")  # names no question, so that it counts as wrong
    return Plan(text=f"{tag} {REST}", first_token=FIRST_TOKEN, gap=GAP)


def _tag(body: Mapping[str, Any]) -> str:
    asked = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
    tags: list[str] = re.findall(r"tag\d+x\d+", str(asked))
    return tags[-1] if tags else "untagged"


def _needs_tool(tag: str) -> bool:
    numbers = re.fullmatch(r"tag(\d+)x(\d+)", tag)
    return numbers is not None and (int(numbers[1]) // len(CROWDS) + int(numbers[2])) % 10 == 0


class Spent:
    """What the model's double itself took for each question, its own lateness on a busy machine included."""

    def __init__(self, model: ModelServer) -> None:
        self._model = model
        self._read = 0
        self._seconds: Counter[str] = Counter()

    def on(self, tag: str) -> float:
        """Seconds."""
        for asked, seconds in self._model.answered[self._read :]:
            self._read += 1
            self._seconds[_tag(asked.body)] += seconds  # type: ignore[assignment]  # a Counter adds fractions as well
        return self._seconds[tag]


def measure(sessions: Mapping[int, float], *, turns: int, progress: Callable[[str], None]) -> Section:
    """A row for each number of concurrent conversations, with the mean time in seconds that its people take to think."""
    rows = []
    drawn: dict[str, list[tuple[float, float]]] = {}
    for count, think in sessions.items():
        progress(f"load with {count} conversations")
        seen = crowd(count, turns=turns, think=think)
        row = _row(f"{count} conversations", seen)
        rows.append(replace(row, figures={"s of thought": think, **row.figures}))
        for what, values in (("acknowledged", seen.acknowledged), ("added to the model", seen.added)):
            for share in (0.5, 0.99):
                drawn.setdefault(f"{what}, p{share * 100:.0f}", []).append((count, _percentile(values, share)))
    how = (
        f"{turns} turns each, five platforms mixed, one turn in ten with a tool, by `assistant dev`, on the same machine as the "
        f"load, the vendors and the double of the model ({FIRST_TOKEN} s to the first token, {MODEL_SECONDS:.1f} s); seed {SEED}"
    )
    curves = [Curve(name=name, points=tuple(points)) for name, points in drawn.items()]
    return Section(
        title="Load", how=how, rows=rows, curves=curves, x="conversations at once", y="milliseconds", logx=True, logy=True
    )


def endure(sessions: int, *, minutes: float, think: float, progress: Callable[[str], None]) -> Section:
    """Whether memory stays flat while `sessions` people talk for `minutes`: MiB after a tenth of the time, and at the end."""
    progress(f"{sessions} conversations for {minutes:.0f} minutes")
    seen = crowd(sessions, turns=max(2, round(minutes * 60 / think)), think=think)
    settled = next((mib for at, mib in seen.memory if at > seen.lasted / 10), 0.0)
    last = seen.memory[-1][1]
    row = _row(f"{sessions} conversations, {seen.lasted / 60:.0f} minutes", seen)
    row.figures["MiB at first"] = settled
    row.figures["most MiB"] = max(mib for _, mib in seen.memory)
    flat = last <= 1.2 * settled
    return Section(
        title="Endurance",
        how=f"as the load, {think:.0f} s of thought on average; memory of the process that runs all functions, after a tenth of "
        f"the time and at the end; seed {SEED}",
        rows=[replace(row, goal="counted: 0 wrong, at most 1.2 × the memory", met=bool(row.met) and flat)],
        curves=[Curve(name="memory of the functions", points=tuple((at / 60, mib) for at, mib in seen.memory))],
        x="minutes since the beginning",
        y="MiB",
    )


def flood(messages: int, *, rate: float, think: float, progress: Callable[[str], None]) -> Section:
    """What 20 people notice of one who writes `messages` messages at `rate` a second: once without, once with that one."""
    turns = max(2, round(messages / rate / (think + MODEL_SECONDS)))
    progress("without a flood")
    calm = crowd(20, turns=min(turns, 20), think=think)
    progress(f"a flood of {messages} messages")
    busy = crowd(20, turns=turns, think=think, flooding=(messages, rate))
    before, after = _percentile(calm.added, 0.99), _percentile(busy.added, 0.99)
    how = (
        f"20 people with {think:.0f} s of thought, without and with somebody who writes {rate:.0f} messages a second in Slack; "
        f"seed {SEED}"
    )
    rows = [_row("without", calm), _row(f"beside {messages:,} messages", busy)]
    ratio = (MODEL_SECONDS * 1000 + after) / (MODEL_SECONDS * 1000 + before)
    rows.append(Row(name="answer p99 beside it", figures={"× without": ratio}, goal="≤ 1.2", met=ratio <= 1.2))
    return Section(title="Flood", how=how, rows=rows)


def crowd(
    count: int, *, turns: int, think: float, seed: int = SEED, watch: float = 10.0, flooding: tuple[int, float] = (0, 0.0)
) -> Seen:
    """Lets `count` people hold `turns` turns each, spread over the platforms; `flooding`: number of messages and their rate."""
    crowds: list[Crowd] = [made() for made in CROWDS]
    for each in crowds:
        each.start()
    try:
        with tempfile.TemporaryDirectory() as folder, ModelServer(model="bench") as model:
            model.answer = plan_for
            secrets = {each.name: dict(each.secrets) for each in crowds}
            config = Path(folder) / "config.toml"
            config.write_text(CONFIG)
            options = ("--model", f"openai:bench@{model.base}/v1", "--config", str(config))
            with Running(Path(folder) / "state", *options, secrets=secrets) as running:
                dice = random.Random(seed)
                return asyncio.run(_everybody(running, crowds, Spent(model), count, turns, think, dice, watch, flooding))
    finally:
        for each in crowds:
            each.stop()


async def _everybody(
    running: Running,
    crowds: Sequence[Crowd],
    spent: Spent,
    count: int,
    turns: int,
    think: float,
    dice: random.Random,
    watch: float,
    flooding: tuple[int, float],
) -> Seen:
    seen = Seen()
    began = time.perf_counter()
    async with httpx.AsyncClient(base_url=running.url, timeout=60, limits=httpx.Limits(max_connections=200)) as http:
        watching = asyncio.create_task(_watch(running, seen, began, watch))
        people = [
            _person(http, crowds[n % len(crowds)], n, turns, think, random.Random(dice.random()), seen, spent)
            for n in range(count)
        ]
        flood = asyncio.create_task(_flood(http, crowds[0], *flooding, seen))
        await asyncio.gather(*people)
        await flood
        watching.cancel()
    seen.lasted = time.perf_counter() - began
    return seen


async def _flood(http: httpx.AsyncClient, crowd: Crowd, messages: int, rate: float, seen: Seen) -> None:
    began = time.perf_counter()
    for n in range(messages):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        webhook = crowd.webhook(999_999, f"Flood {n}")
        answer = await http.post(address(webhook), content=webhook.body, headers=dict(webhook.headers))
        if answer.status_code != 200:
            seen.wrong.append(f"flood: {answer.status_code}")


async def _watch(running: Running, seen: Seen, began: float, interval: float) -> None:
    while True:
        seen.memory.append((time.perf_counter() - began, running.memory()))
        await asyncio.sleep(interval)


async def _person(
    http: httpx.AsyncClient, crowd: Crowd, n: int, turns: int, think: float, dice: random.Random, seen: Seen, spent: Spent
) -> None:
    await asyncio.sleep(dice.uniform(0, think))
    for turn in range(turns):
        tag = f"tag{n}x{turn}"
        webhook = crowd.webhook(n, f"Question {tag}, please.")
        began = time.perf_counter()
        answer = await http.post(address(webhook), content=webhook.body, headers=dict(webhook.headers))
        seen.acknowledged.append((time.perf_counter() - began) * 1000)
        if answer.status_code not in (200, 202):
            seen.wrong.append(f"{crowd.name}: {answer.status_code}")
            return
        if not await _landed(crowd, n, tag, until=began + PATIENCE):
            seen.wrong.append(f"{crowd.name}: no answer to {tag}")
            return
        seen.added.append((time.perf_counter() - began - spent.on(tag)) * 1000)
        seen.tools += _needs_tool(tag)
        await asyncio.sleep(dice.uniform(0.5, 1.5) * think)
    shown = [found for text in crowd.seen(n) for found in re.findall(r"tag\d+x\d+", text)]
    if shown != [f"tag{n}x{turn}" for turn in range(turns)]:
        seen.wrong.append(f"{crowd.name}: {shown} for {turns} questions")


async def _landed(crowd: Crowd, n: int, tag: str, *, until: float) -> bool:
    while time.perf_counter() < until:
        if any(tag in text and END in text for text in crowd.seen(n)):
            return True
        await asyncio.sleep(LOOK)
    return False


def _row(name: str, seen: Seen) -> Row:
    figures: dict[str, float | str] = {
        "messages": float(len(seen.added)),
        "with a tool": float(seen.tools),
        "wrong": float(len(seen.wrong)),
        "ack p50 ms": _percentile(seen.acknowledged, 0.5),
        "ack p99 ms": _percentile(seen.acknowledged, 0.99),
        "added p50 ms": _percentile(seen.added, 0.5),
        "added p99 ms": _percentile(seen.added, 0.99),
        "messages/s": len(seen.added) / seen.lasted,
        "MiB at first": seen.memory[min(1, len(seen.memory) - 1)][1],
        "MiB at last": seen.memory[-1][1],
    }
    if seen.wrong:
        figures["what"] = "; ".join(f"{count} × {what}" for what, count in Counter(seen.wrong).most_common(3))
    return Row(name=name, figures=figures, goal="counted: 0 wrong", met=not seen.wrong)


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
