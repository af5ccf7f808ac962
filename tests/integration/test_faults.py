"""Every part fails in every way it can, at random; afterwards each question has one answer, in order, or a reason.

`FAULT_SEED=n` plays one seed again, `FAULT_ROUNDS=n` plays each cell of the matrix n times.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.errors import Unavailable
from assistant.llm import ChatRequest, Done, Event, TextDelta
from assistant.observability import RecordedMetrics
from assistant.sessions import LEASE_SECONDS
from tests.support.desks import DESKS
from tests.support.faults import Faults, Kind
from tests.support.house import SKEW, House, Pages, client

NAMES = ("feishu", "slack", "webchat")
QUESTIONS = 3

AWS = [("table", k) for k in ("slow", "error", "throttle", "lost")]
AWS += [("queue", k) for k in ("slow", "error", "throttle", "lost")]
AWS += [("cache", k) for k in ("error", "throttle", "lost")]
AWS += [("secrets", k) for k in ("slow", "error", "throttle")]
VENDOR: dict[str, dict[str, Any]] = {
    "slow": {"status": 503, "delay": 0.03},
    "error": {"status": 503},
    "throttle": {"status": 429, "headers": {"retry-after": "0"}},
    "gone": {"status": 0},
    "lost": {"status": 0, "after": True},
}
MATRIX = [
    *AWS,
    *(("vendor", k) for k in VENDOR),
    *(("model", k) for k in ("error", "throttle", "partial")),
    *(("delivery", k) for k in ("duplicate", "reordered")),
    ("clock", "jumps"),
]
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
SEED = int(os.environ.get("FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)

ledger: list[str] = []


@dataclass
class Echo:
    """Answers "Question 7" with "Answer 7.", and several questions with as many answers; fails while `left` lasts."""

    random: random.Random
    kind: str = ""
    left: int = 0
    name: str = "echo"
    answered: list[str] = field(default_factory=list)

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """The answer, word by word."""
        words = request.messages[-1].text.replace("Question", "Answer").replace("\n", ". ").split(" ", 1)
        fails = self.left > 0 and self.random.random() < 0.6
        self.left -= fails
        if fails and self.kind != "partial":
            raise Unavailable("the model does not answer", retry_after=1 if self.kind == "throttle" else None)
        yield TextDelta(words[0])
        if fails:
            raise Unavailable("the model's answer broke off")
        yield TextDelta(f" {words[1]}.")
        self.answered += re.findall(r"\d+", words[1])
        yield Done(reason="stop", model=self.name)


class FaultyHouse(House):
    """A house whose AWS, secrets included, fails as it is told."""

    def __init__(self, aws: Emulator, *, faults: Faults, **given: Any) -> None:
        self.faults = faults
        super().__init__(aws, **given)

    def _assistant(self, step: Callable[[str], None], patience: float, pages: Any) -> Assistant:
        self.recorder.make = self.faults.around(lambda service: client(self.aws, service))
        return Assistant(
            self.settings,
            client=self.recorder.client,
            model=self.model,
            knowledge=pages or Pages(),
            metrics=RecordedMetrics(),
            clock=self.now,
            sleep=self.sleep,
            step=step,
            patience=patience,
            skew=SKEW,
        )


def store_secrets(aws: Emulator, secrets: Mapping[str, Mapping[str, str]]) -> None:
    vault = client(aws, "secretsmanager")
    for name, fields in secrets.items():
        stored = {"Name": f"assistant/local/{name}", "SecretString": json.dumps(dict(fields))}
        try:
            vault.create_secret(**stored)
        except vault.exceptions.ResourceExistsException:
            vault.put_secret_value(SecretId=stored["Name"], SecretString=stored["SecretString"])


def answers(texts: list[str]) -> list[int]:
    """The numbers of the answers among what a person sees, in order."""
    return [int(n) for text in texts for n in re.findall(r"Answer (\d+)\.", text)]


@pytest.mark.parametrize("cell", range(len(MATRIX) * ROUNDS), ids=lambda n: f"{'-'.join(MATRIX[n % len(MATRIX)])}-{n}")
def test_nothing_is_lost_or_said_twice_or_out_of_order(aws: Emulator, cell: int) -> None:
    component, kind = MATRIX[cell % len(MATRIX)]
    seed = SEED + cell // len(MATRIX)
    dice = random.Random(f"{seed} {component} {kind}")
    with ExitStack() as stack:
        desks = {name: stack.enter_context(DESKS[name]()) for name in NAMES}
        secrets: dict[str, dict[str, str]] = {k: dict(v) for desk in desks.values() for k, v in desk.secrets.items()}
        faults = Faults(seed=dice.randrange(10**6), component=component, kind=cast(Kind, kind), share=0.35)
        model = Echo(dice, kind=kind)
        house = FaultyHouse(aws, faults=faults, secrets=secrets, model=model, patience=dice.choice([0.0, 60.0]))
        store_secrets(aws, house.secrets)
        asked: list[tuple[str, int]] = []
        for n in range(QUESTIONS):
            faults.left = dice.randint(1, 6)
            if component == "model":
                model.left = dice.randint(1, 5)
            for name in dice.sample(NAMES, len(NAMES)):
                if component == "vendor" and name != "webchat":
                    desks[name].vendor.fail("POST", times=dice.randint(0, 3), **VENDOR[kind])
                if component == "clock":
                    house.offset += dice.choice([0, 1, 200, 4000])  # the web chat's order is this clock's: it never goes back
                ask(house, desks[name], n)
                asked.append((name, n))
            for _ in range(dice.randint(0, 3)):
                work(house, dice, kind)
        for _ in range(200):
            if not work(house, dice, kind):
                break
        faults.left = model.left = 0  # all is well again
        letters = house.assistant.dead_letters.list()
        parked = {(str(x["platform"]), _number(house, x)) for x in letters}
        assert all(x["reason"] for x in letters)
        if component in ("delivery", "clock"):
            assert not letters, f"seed {seed}: {component} {kind}: nothing failed, and yet {letters}"
        for name, desk in desks.items():
            seen = answers(desk.seen(house))
            told = f"seed {seed}: {component} {kind}: {name} shows {seen}; dead letters {sorted(parked)}; {faults.done}"
            assert len(seen) == len(set(seen)), f"said twice; {told}"
            assert {n for where, n in asked if where == name} <= {*seen, *(n for where, n in parked if where == name)}, told
            assert seen == sorted(seen), f"out of order; {told}"
        for name in NAMES:
            if name != "webchat":
                desks[name].vendor._faults.clear()
        house.offset += LEASE_SECONDS + 1  # a claim that nobody could take back has ended when an operator comes
        house.assistant.dead_letters.replay(frozenset(), every=True)
        house.drain()
        ledger.append(f"{component:8} {kind:10} seed {seed}: {len(asked)} asked, {len(letters)} given up and put back")
        for name, desk in desks.items():
            seen = answers(desk.seen(house))
            assert sorted(seen) == list(range(QUESTIONS)), f"seed {seed}: {component} {kind}: after mending {name} shows {seen}"


def ask(house: House, desk: Any, n: int) -> None:
    """Asks until it is accepted, as a platform delivers again what was not taken."""
    for _ in range(12):
        try:
            return desk.ask(house, f"Question {n}", message=f"m{n}")  # type: ignore[no-any-return]  # desks are Any
        except AssertionError:
            continue
    raise AssertionError(f"{desk.name} did not take the question")


def work(house: House, dice: random.Random, kind: str) -> bool:
    """Handles one batch, or two of different conversations the other way round; False where nothing is left."""
    records = house.batch()
    if kind == "reordered":
        records = [*house.batch(), *records]
    for record in records:
        if kind == "duplicate" and dice.random() < 0.5:
            house.assistant.worker.process({"Records": [record]}, seconds=150)
        house.run([record])
    return bool(records)


def _number(house: House, letter: dict[str, Any]) -> int:
    found = re.search(r"m(\d+)$", str(letter["message_id"]))
    return int(found[1]) if found else _slack_number(letter)


def _slack_number(letter: dict[str, Any]) -> int:
    found = re.search(r"Ev-m(\d+)", str(letter["event_id"]))
    assert found, letter
    return int(found[1])


def test_the_ledger_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n  FAULT_SEED={SEED}\n  " + "\n  ".join(ledger))
    assert ledger
