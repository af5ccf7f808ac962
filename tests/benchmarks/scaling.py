"""A day of messages through a simulated queue, functions and model: how long people wait, and what is full first.

Run: python -m tests.benchmarks.scaling [--users 100,10000,1000000,10000000] [--profile enterprise] [--turns FILE] [--out DIR]

The queue keeps order inside a conversation and lets conversations overtake each other; copies of the function start as Lambda
starts them; the model answers a bounded number of requests at once. `--turns` takes a JSON list of measured seconds a turn (as a
load test writes them) instead of made ones. Writes scaling.json and scaling.svg. All else is simulated.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import simpy

from infra.capacity import Load, uses
from infra.deployment import Deployment

ROOT = Path(__file__).resolve().parents[2]
MORNING = (0.2, 0.6, 1.0, 0.9, 0.6)
"""Share of the peak rate over the simulated time: people arrive, the busiest minutes, and calm again."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """What answers."""

    copies: int
    """Dialogue functions that may run at once."""
    warm: int = 0
    starts_a_second: float = 100
    cold_seconds: float = 1.2
    model_slots: int = 0
    """Requests the model answers at once; 0: no bound of its own."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What people saw."""

    messages: int
    p50: float
    """Seconds from sending to the whole reply."""
    p95: float
    p99: float
    others_p99: float
    """The same for the conversations that do not flood."""
    waited_p99: float
    """Seconds in the queue."""
    mean_wait: float
    oldest: float
    """Longest wait of all, which the alarm queue-age looks at."""
    busiest: int
    """Copies that ran at once."""
    cold: int
    out_of_order: int
    left: int
    """Messages not answered when the simulation ended."""


Turn = Callable[[random.Random], float]


def made_turn(mean: float = 2.5) -> Turn:
    """Seconds a turn: most short, some long, with this mean (a log-normal curve, sigma 0.6)."""
    mu = math.log(mean) - 0.6**2 / 2
    return lambda chance: chance.lognormvariate(mu, 0.6)


def simulate(
    plant: Plant,
    *,
    rate: float,
    seconds: float,
    conversations: int,
    turn: Turn,
    curve: Sequence[float] = (1.0,),
    flood: float = 0,
    seed: int = 1,
    drain: float = 600,
) -> Outcome:
    """Messages at `rate` a second (times `curve`) for `seconds` into `plant`, then up to `drain` seconds until all are answered.

    `flood`: messages a second of one more conversation.
    """
    chance = random.Random(seed)
    env = simpy.Environment()
    model = simpy.Resource(env, capacity=plant.model_slots) if plant.model_slots else None
    waiting: dict[int, deque[tuple[float, int]]] = {}
    ready: deque[int] = deque()  # conversations with a message and without a copy, longest wait first
    running, warm, cold, busiest, out_of_order, numbers = 0, plant.warm, 0, 0, 0, 0
    next_start = 0.0
    done: dict[int, int] = {}
    waits: list[float] = []
    replies: list[float] = []
    others: list[float] = []

    def start() -> None:
        nonlocal running, warm, cold, busiest, next_start
        while ready and running < plant.copies:
            delay = 0.0
            if warm:
                warm -= 1
            else:
                begin = max(env.now, next_start)
                next_start = begin + 1 / plant.starts_a_second
                delay = begin - env.now + plant.cold_seconds
                cold += 1
            running += 1
            busiest = max(busiest, running)
            env.process(work(ready.popleft(), delay))

    def work(conversation: int, delay: float) -> Generator[simpy.Event, Any, None]:
        nonlocal running, warm, out_of_order
        sent, number = waiting[conversation].popleft()
        if delay:
            yield env.timeout(delay)
        waits.append(env.now - sent)
        if model:
            with model.request() as slot:
                yield slot
                yield env.timeout(turn(chance))
        else:
            yield env.timeout(turn(chance))
        replies.append(env.now - sent)
        if conversation >= 0:
            others.append(env.now - sent)
        out_of_order += number < done.get(conversation, -1)
        done[conversation] = number
        running -= 1
        warm += 1
        if waiting[conversation]:
            ready.append(conversation)
        else:
            del waiting[conversation]
        start()

    def take(conversation: int) -> None:
        nonlocal numbers
        numbers += 1
        fresh = conversation not in waiting
        waiting.setdefault(conversation, deque()).append((env.now, numbers))
        if fresh:
            ready.append(conversation)
            start()

    def arrivals() -> Generator[simpy.Event, Any, None]:
        peak = rate * max(curve)
        while True:
            yield env.timeout(chance.expovariate(peak))
            if env.now >= seconds:
                return
            if chance.random() <= rate * curve[int(env.now / seconds * len(curve))] / peak:
                take(chance.randrange(conversations))

    def flooding() -> Generator[simpy.Event, Any, None]:
        while env.now < seconds:
            yield env.timeout(1 / flood)
            take(-1)

    # A conversation whose message is being answered stays in `waiting` with an empty line: that is what keeps its order.
    env.process(arrivals())
    if flood:
        env.process(flooding())
    env.run(until=seconds + drain)
    left = sum(len(line) for line in waiting.values()) + running
    return Outcome(
        messages=len(replies) + left,
        p50=_at(replies, 0.5),
        p95=_at(replies, 0.95),
        p99=_at(replies, 0.99),
        others_p99=_at(others, 0.99),
        waited_p99=_at(waits, 0.99),
        mean_wait=sum(waits) / len(waits) if waits else 0.0,
        oldest=max(waits, default=0.0),
        busiest=busiest,
        cold=cold,
        out_of_order=out_of_order,
        left=left,
    )


def _at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def plant_of(deployment: Deployment) -> Plant:
    """What `deployment` deploys."""
    return Plant(copies=deployment.concurrent_turns, warm=deployment.sizes["dialogue"].provisioned)


def report(deployment: Deployment, users: Sequence[int], turn: Turn, *, messages: int = 40_000) -> list[dict[str, Any]]:
    """One row for each number of users: what is full first, and what people would see with what is deployed."""
    rows = []
    for count in users:
        load = Load(users=count)
        first, second, *_ = uses(load, deployment)
        seconds = min(3600.0, max(60.0, messages / load.rate))
        seen = simulate(
            plant_of(deployment),
            rate=load.rate,
            seconds=seconds,
            conversations=max(1, count),
            turn=turn,
            curve=MORNING,
            drain=120,
        )
        rows.append(
            {
                "users": count,
                "rate": load.rate,
                "first": first.quota.name,
                "share": first.share,
                "next": second.quota.name,
                "next_share": second.share,
                "what_to_do": first.quota.raised if first.share > 1 else "nothing",
                **asdict(seen),
            }
        )
    return rows


LOCAL_COPIES = 64
"""Turns that `assistant dev` takes at once."""
MODEL_SECONDS = 1.9
"""Of the model's double in the load test: 0.4 s to the first token, 1.5 s of tokens."""


def compare(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """For each row of a load test's report: what the simulation says a turn waits beyond the model, and what was measured.

    The simulation knows queue and copies, not the processor: what it leaves out is the work itself, and a busy machine.
    """
    rows = []
    for section in (s for s in measured["sections"] if s["title"] == "Load"):
        for row in section["rows"]:
            figures = row["figures"]
            seconds = figures["messages"] / figures["messages/s"]
            plant = Plant(copies=LOCAL_COPIES, warm=LOCAL_COPIES)
            many = max(1, round(2000 / figures["messages"]))  # one short run tells little about a tail
            seen = simulate(
                plant,
                rate=figures["messages/s"],
                seconds=seconds * many,
                conversations=10**6,
                turn=lambda chance: MODEL_SECONDS,
            )
            rows.append(
                {
                    "name": row["name"],
                    "rate": figures["messages/s"],
                    "predicted_p50": (seen.p50 - MODEL_SECONDS) * 1000,
                    "predicted_p99": (seen.p99 - MODEL_SECONDS) * 1000,
                    "predicted_busiest": seen.busiest,
                    "measured_p50": figures["added p50 ms"],
                    "measured_p99": figures["added p99 ms"],
                }
            )
    return rows


def plot(rows: Sequence[dict[str, Any]], title: str) -> str:
    """A bar for each number of users: seconds to the reply at the 50th and 99th percentile, as SVG."""
    top = max(row["p99"] for row in rows) or 1.0
    parts = [f'<text x="20" y="24" font-size="15">{escape(title)}</text>']
    for number, row in enumerate(rows):
        x = 60 + number * 150
        for offset, key, colour in ((0, "p50", "#4c78a8"), (45, "p99", "#f58518")):
            height = 220 * row[key] / top
            parts.append(f'<rect x="{x + offset}" y="{270 - height:.1f}" width="40" height="{height:.1f}" fill="{colour}"/>')
            parts.append(f'<text x="{x + offset}" y="{264 - height:.1f}" font-size="11">{row[key]:.1f} s</text>')
        parts.append(f'<text x="{x}" y="288" font-size="12">{row["users"]:,} users</text>')
        parts.append(f'<text x="{x}" y="304" font-size="11">{escape(row["first"])} {row["share"]:.0%}</text>')
    width = 80 + 150 * len(rows)
    body = "".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="320" font-family="sans-serif">{body}</svg>'


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes it with the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", default="100,10000,1000000,10000000")
    parser.add_argument("--profile", default="enterprise")
    parser.add_argument("--turns", type=Path, help="JSON list of measured seconds a turn")
    parser.add_argument(
        "--compare", type=Path, metavar="REPORT", help="report.json of a load test: predictions beside what it measured"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks")
    args = parser.parse_args(argv)
    if args.compare:
        for row in compare(json.loads(args.compare.read_text())):
            predicted = f"predicted p50 {row['predicted_p50']:.0f} ms, p99 {row['predicted_p99']:.0f} ms"
            seen = f"measured p50 {row['measured_p50']:.0f} ms, p99 {row['measured_p99']:.0f} ms"
            busy = f"busiest {row['predicted_busiest']} of {LOCAL_COPIES}"
            sys.stdout.write(f"{row['name']}, {row['rate']:.2f} messages/s, added to the model: {predicted}; {seen}; {busy}\n")
        return 0
    turn = made_turn()
    if args.turns:
        measured = [float(x) for x in json.loads(args.turns.read_text())]
        turn = lambda chance: chance.choice(measured)  # noqa: E731  # one line says it
    deployment = Deployment.of({"profile": args.profile, "stage": "production"}, env={})
    rows = report(deployment, [int(x) for x in args.users.split(",")], turn)
    for row in rows:
        sys.stdout.write(
            f"{row['users']:>10,} users {row['rate']:9.1f} messages/s  first full: {row['first']} {row['share']:.0%}"
            f"  reply p50 {row['p50']:.1f} s, p99 {row['p99']:.1f} s  copies {row['busiest']}, left {row['left']}\n"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "scaling.json").write_text(json.dumps({"profile": args.profile, "simulated": True, "rows": rows}, indent=1))
    (args.out / "scaling.svg").write_text(plot(rows, f"Simulated wait for a reply, profile {args.profile}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
