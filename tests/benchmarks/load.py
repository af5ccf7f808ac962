"""Load: many conversations at once through the whole local system, with a model of realistic first-token time and token rate."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.benchmarks.report import Row, Section
from tests.simulators.openai_server import ModelServer, Plan
from tests.support.running import Running


def measure(sessions: tuple[int, ...], *, turns: int, progress: Callable[[str], None]) -> Section:
    """A row for each number of concurrent conversations."""
    rows = []
    for count in sessions:
        progress(f"load with {count} conversations")
        plan = Plan(text="A word of an answer. " * 30, first_token=0.4, gap=0.01)
        with tempfile.TemporaryDirectory() as folder, ModelServer(plan=plan, model="bench") as model:
            options = ("--model", f"openai:bench@{model.base}/v1")
            with Running(Path(folder) / "state", *options) as running:
                rows.append(asyncio.run(_many(running, count, turns)))
    how = f"{turns} turns each with think time through `assistant dev`, on the same machine as the load and the model's double"
    return Section(title="Load", how=how, rows=rows)


async def _many(running: Running, count: int, turns: int) -> Row:
    acknowledged: list[float] = []
    answered: list[float] = []
    wrong: list[str] = []
    headers = {"authorization": f"Bearer {running.key}"}
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=60, limits=limits) as http:

        async def converse(n: int) -> None:
            await asyncio.sleep(n * 2.0 / count)
            for turn in range(turns):
                began = time.perf_counter()
                body = {"conversation": f"load-{n}", "user": f"u{n}", "text": f"Question {turn} of conversation {n}"}
                accepted = await http.post("/webhook/webchat/messages", json=body)
                acknowledged.append((time.perf_counter() - began) * 1000)
                if accepted.status_code != 202:
                    wrong.append(f"{accepted.status_code}")
                    return
                if not await _answer(http, f"load-{n}", accepted.json()["id"]):
                    wrong.append("no answer")
                    return
                answered.append(time.perf_counter() - began)
                await asyncio.sleep(0.5)
            page = (await http.get(f"/api/conversations/load-{n}/turns")).json()["turns"]
            asked = [t["question"] for t in page]
            if asked != [f"Question {turn} of conversation {n}" for turn in range(turns)]:
                wrong.append(f"order or number: {len(asked)}")

        began = time.perf_counter()
        await asyncio.gather(*(converse(n) for n in range(count)))
        lasted = time.perf_counter() - began
    acknowledged.sort()
    answered.sort()
    figures: dict[str, float | str] = {
        "messages": float(len(answered)),
        "wrong": float(len(wrong)),
        "ack p50 ms": acknowledged[len(acknowledged) // 2],
        "ack p99 ms": acknowledged[int(len(acknowledged) * 0.99)],
        "answer p50 s": answered[len(answered) // 2] if answered else 0.0,
        "answer p99 s": answered[int(len(answered) * 0.99)] if answered else 0.0,
        "messages/s": len(answered) / lasted,
    }
    return Row(name=f"{count} conversations", figures=figures, goal="counted: 0 wrong", met=not wrong)


async def _answer(http: httpx.AsyncClient, conversation: str, id_: str) -> bool:
    until = time.perf_counter() + 120
    cursor = ""
    while time.perf_counter() < until:
        page = (await http.get(f"/api/conversations/{conversation}/turns", params={"after": cursor})).json()
        cursor = page["cursor"]
        for turn in page["turns"]:
            if turn["id"] == id_ and turn["state"] != "answering":
                return bool(turn["state"] == "sent")
        await asyncio.sleep(0.25)
    return False
