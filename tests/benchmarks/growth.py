"""Growth: what one plain turn takes as the history, the other conversations and the plug-ins grow tenfold and a hundredfold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from assistant import BotPlugin, Message, PluginContext, Reply
from assistant.dev.emulator import Emulator
from assistant.plugins import Plugins
from assistant.tools import tool
from tests.benchmarks.report import Row, Section
from tests.support.house import House, ScriptedModel

ANSWER = "An answer of the usual length. " * 12


def measure(runs: int, sizes: Sequence[int], *, progress: Callable[[str], None]) -> Section:
    """A row for each size (of plug-ins: a fifth of it) of each thing that grows; counts must not grow."""
    aws = Emulator()
    aws.start()
    try:
        rows = _rows(aws, runs, sizes, progress)
    finally:
        aws.stop()
    how = f"median of {runs} plain turns in the web chat against a local AWS, model apart; × is against the first row of its kind"
    return Section(title="Growth", how=how, rows=rows, bar="processor ms")


def _rows(aws: Emulator, runs: int, sizes: Sequence[int], progress: Callable[[str], None]) -> list[Row]:
    rows: list[Row] = []
    for what, share, grown in (
        ("turns in the conversation", 1, _history),
        ("other conversations", 1, _others),
        ("plug-ins with a tool each", 5, _plugins),
    ):
        first: dict[str, float] = {}
        for size in (n // share for n in sizes):
            progress(f"{size} {what}")
            aws.clear()
            figures = _turns(grown(aws, size), runs)
            first = first or figures
            figures["× processor"] = figures["processor ms"] / first["processor ms"]
            met = figures["AWS calls"] == first["AWS calls"] and figures["RRU"] <= 2 and figures["WRU"] <= 3
            shown: dict[str, float | str] = dict(figures)
            rows.append(Row(name=f"{size} {what}", figures=shown, goal="counted: calls as before, ≤ 2 RRU, ≤ 3 WRU", met=met))
    return rows


def _house(aws: Emulator) -> House:
    return House(aws, model=ScriptedModel([ANSWER]), history_turns=7)


def _history(aws: Emulator, size: int) -> House:
    house = _house(aws)
    for n in range(size):
        house.say(f"Question {n}: some words of context.", id=f"old{n}")
        _answer(house)
    return house


def _others(aws: Emulator, size: int) -> House:
    house = _house(aws)
    for n in range(size):
        house.say(f"Question {n}: some words of context.", conversation=f"other-{n}", user=f"user-{n}", id=f"other{n}")
        _answer(house)
    return house


def _plugins(aws: Emulator, size: int) -> House:
    house = _house(aws)
    house.assistant._plugins = Plugins([_made(n)(None) for n in range(size)], table=house.assistant.table)
    return house


def _made(n: int) -> type[BotPlugin]:
    class Made(BotPlugin):
        name: ClassVar[str] = f"made{n}"
        version = "1.0.0"
        api = "^1.0"

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            return Reply(text="mine") if message.text == f"command {n}" else None

        @tool(name=f"look_up_{n}")
        def look_up(self, ctx: Any, number: int) -> str:
            """Looks something up."""
            return f"{number}"

    return Made


def _answer(house: House) -> None:
    records = house.batch()
    house.assistant.worker.process({"Records": records}, seconds=150)
    house.delete(records)


def _turns(house: House, runs: int) -> dict[str, float]:
    processor, calls, read, write = [], 0, 0.0, 0
    for n in range(runs + 1):
        house.say(f"And how long is it, {n}?", id=f"t{n}")
        records = house.batch()
        house.recorder.take()
        cpu = time.thread_time()
        house.assistant.worker.process({"Records": records}, seconds=150)
        if n:  # the first turn builds what the others find
            processor.append((time.thread_time() - cpu) * 1000)
            made = house.recorder.take()
            calls, read, write = (
                max(calls, len(made)),
                max(read, sum(c.read for c in made)),
                max(write, sum(c.write for c in made)),
            )
        house.delete(records)
    return {"processor ms": statistics.median(processor), "AWS calls": float(calls), "RRU": read, "WRU": float(write)}
