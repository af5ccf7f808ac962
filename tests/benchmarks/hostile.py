"""Hostile input: what each function makes of requests that nobody means well with, in a process of its own."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import boto3

from assistant.dev.emulator import CREDENTIALS, REGION, Emulator
from assistant.settings import Route
from infra.deployment import Deployment
from tests.benchmarks.report import Row, Section
from tests.support.exposed import Exposed
from tests.support.hard import SEED
from tests.support.hostile import Senders, Shot, senders, shots

MOST_MS: Final = 1000.0
"""Of the processor's time, for one request."""


@dataclass
class Outcome:
    """What became of the requests at one door."""

    statuses: Counter[int] = field(default_factory=Counter)
    routes: set[Route] = field(default_factory=set)
    slowest: float = 0.0
    """Milliseconds of the processor's time."""
    peak: float = 0.0
    """MiB."""
    faults: list[str] = field(default_factory=list)
    """What was answered with 500 and above, or took over MOST_MS, and how it was made."""
    accepted: set[str] = field(default_factory=set)
    """Cases whose genuine request was let in: their proofs are good."""

    @property
    def broken(self) -> int:
        """Answers of 500 and above; a function that raised, died or hung is one of them."""
        return sum(count for status, count in self.statuses.items() if status >= 500)


@contextmanager
def exposed_to(aws: Emulator, everybody: Senders) -> Iterator[Callable[[str], Exposed]]:
    """Makes functions that live in `aws` and know everybody's secrets."""
    stage = "hostile"
    settings = aws.settings(public_url="https://assistant.example").to_env() | {"STAGE": stage}
    client: Any = boto3.client(
        "secretsmanager",
        endpoint_url=aws.endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    names = {f"assistant/{stage}/{name}": json.dumps(fields) for name, fields in everybody.secrets.items()}
    for name, text in names.items():
        client.create_secret(Name=name, SecretString=text)
    try:
        yield lambda function: Exposed(function, {**aws.environment(), **settings})
    finally:
        for name in names:
            client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        client.close()


def play(function: Exposed, made: Iterator[Shot], outcome: Outcome, *, most: float = MOST_MS) -> None:
    """Sends each request and adds to `outcome` what became of it."""
    for shot in made:
        answer = function.ask(shot.event)
        outcome.statuses[answer.status] += 1
        outcome.routes.add(shot.route)
        outcome.slowest = max(outcome.slowest, answer.milliseconds)
        outcome.peak = max(outcome.peak, answer.peak)
        if shot.tricks == ("genuine",) and answer.status < 400:
            outcome.accepted.add(shot.case.name)
        if answer.status >= 500 or answer.milliseconds > most:
            what = f"{shot.case.name} ({', '.join(shot.tricks)}): {answer.status} in {answer.milliseconds:.0f} ms {answer.why}"
            outcome.faults.append(what.strip())


def measure(count: int, *, progress: Callable[[str], None]) -> Section:
    """The table: one row for each platform's webhook and each other door, `count` requests for each genuine one."""
    logging.getLogger("assistant").setLevel(logging.CRITICAL)  # what is refused here is meant to be
    sizes = Deployment().sizes
    aws = Emulator()
    aws.start()
    rows = []
    try:
        with senders() as everybody, exposed_to(aws, everybody) as expose:
            for door in everybody.doors():
                progress(f"hostile input: {door}")
                cases = [case for case in everybody.cases if case.door == door]
                first = next(iter(shots(cases, 1, seed=str(SEED))))
                with expose(first.route.function) as function:
                    outcome = Outcome()
                    function.ask(first.event)  # the start of the process is measured elsewhere
                    play(function, shots(cases, count, seed=str(SEED)), outcome)
                rows.append(_row(door, first.route.function, outcome, sizes[first.route.function].memory))
    finally:
        aws.stop()
    how = (
        f"for each genuine request that a door takes, {count} hostile ones: fields replaced, content cut off, nested 100,000 "
        "deep, up to the 6 MB that Lambda hands to a function, bombs of gzip and of XML, lies about the content, headers of "
        "100,000 characters and by the thousand, cookies, hosts, paths and queries; most of them with a good signature or "
        "key, so that what they carry is read. Each row has a function in a process of its own, with a local AWS and "
        "simulated vendors elsewhere; time is the processor's, memory the most that the process ever had, beside the least "
        f"that a profile gives the function. SEED={SEED}"
    )
    return Section(title="Hostile input", how=how, rows=rows)


def _row(door: str, function: str, outcome: Outcome, size: int) -> Row:
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(outcome.statuses.items()))
    figures: dict[str, float | str] = {
        "requests": float(outcome.statuses.total()),
        "5xx": float(outcome.broken),
        "slowest ms": outcome.slowest,
        "peak MiB": outcome.peak,
        "size MiB": float(size),
        "answers": statuses,
    }
    if outcome.faults:
        figures["what"] = "; ".join(outcome.faults)[:500].replace("|", "/")
    good = not outcome.broken and outcome.slowest <= MOST_MS and outcome.peak <= size
    goal = f"counted: 0 of 5xx, ≤ {MOST_MS:,.0f} ms, ≤ {size:,} MiB"
    return Row(name=f"{function}: {door.partition(', ')[2] or door}", figures=figures, goal=goal, met=good)
