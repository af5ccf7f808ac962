"""A part fails while people talk to the assistant; what became of what they wrote, and how soon all was well again.

`step_by_step` plays one cell of the matrix with one message at a time, on a clock that needs no waiting; `at_once` plays it in
real time, with everybody writing and several functions answering; `killed` ends functions with SIGKILL at random moments.
Whatever is random is drawn from a seed.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.dev.runner import EventSource, Functions
from assistant.errors import Unavailable
from assistant.llm import ChatRequest, Done, Event, TextDelta
from assistant.observability import RecordedMetrics
from assistant.sessions import LEASE_SECONDS, Turn
from assistant.silence import Reminders
from tests.simulators.base import WORLD
from tests.support.crashing import Crasher
from tests.support.evidence import items, keep
from tests.support.faults import Component, Faults, Kind
from tests.support.house import SKEW, House, Pages, client
from tests.support.town import NAMES, Town, Word

PATIENCE_SECONDS = 90.0
"""After which something that was accepted and is not answered counts as lost; nothing but a fault of ours takes so long."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of what was written. Times in seconds."""

    accepted: int = 0
    answered: int = 0
    given_up: int = 0
    """Put into the dead letters with a reason, and answered after an operator put them back."""
    failed: int = 0
    """Calls that failed, or processes that were killed."""
    repeated: int = 0
    """Deliveries that were one too many, each of which had to be noticed."""
    recovery: tuple[float, ...] = ()
    """From the component's return, or from the kill, until each reply that it had held up was to be seen."""
    drained: tuple[float, ...] = ()
    """From there until nothing was left of what had been accepted before."""
    held: tuple[str, ...] = ()
    """Noted as leaving when the process was killed, on a platform that knows no repeat: rather once too few than twice. See
    docs/platforms/README.md."""
    lost: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    disordered: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    """Whatever else should not be."""
    kept: str = ""
    """The file that tells what there was when a promise was broken."""

    @property
    def broken(self) -> str:
        """Which promises were broken; empty: none."""
        told = {"lost": self.lost, "said twice": self.twice, "out of order": self.disordered, "wrong": self.wrong}
        found = "; ".join(f"{what}: {', '.join(which)}" for what, which in told.items() if which)
        return f"{found} (kept in {self.kept})" if self.kept else found


def told(outcome: Outcome) -> str:
    """An outcome in a line."""
    text = f"{outcome.accepted} accepted, {outcome.answered} answered, {outcome.given_up} given up and put back"
    text += f", {outcome.repeated} repeated, {len(outcome.twice)} said twice, {outcome.failed} failed"
    text += f", {len(outcome.held)} noted and not sent" if outcome.held else ""
    for name, values in (("recovery", outcome.recovery), ("drained", outcome.drained)):
        if values:
            text += f"; {name} p50 {share_of(values, 0.5):.1f} p99 {share_of(values, 0.99):.1f} max {max(values):.1f} s"
    return text


def share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of all is at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@dataclass
class Echo:
    """Answers "Question 7" with "Answer 7.", and several questions with as many answers; fails while `left` lasts."""

    random: random.Random
    kind: str = ""
    left: int = 0
    share: float = 0.6
    name: str = "echo"
    failed: int = 0

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """The answer, word by word."""
        words = request.messages[-1].text.replace("Question", "Answer").replace("\n", ". ").split(" ", 1)
        fails = self.left > 0 and (self.kind == "gone" or self.random.random() < self.share)
        self.left -= fails
        self.failed += fails
        if fails and self.kind == "slow":
            time.sleep(0.2)  # plays a slow model
        elif fails and self.kind != "partial":
            raise Unavailable("the model does not answer", retry_after=1 if self.kind == "throttle" else None)
        yield TextDelta(words[0])
        if fails and self.kind == "slow":
            time.sleep(0.2)
        elif fails:
            raise Unavailable("the model's answer broke off")
        yield TextDelta(f" {words[1]}.")
        yield Done(reason="stop", model=self.name)


class FaultyHouse(House):
    """A house whose AWS, secrets included, fails as it is told. `real`: who waits, waits."""

    def __init__(self, aws: Emulator, *, faults: Faults, real: bool, **given: Any) -> None:
        self.faults = faults
        self._real = real
        super().__init__(aws, **given)
        store_secrets(aws, self.secrets)

    def _assistant(self, step: Callable[[str], None], patience: float, pages: Any) -> Assistant:
        return self.function(patience=patience)

    def function(self, *, patience: float, clock: Callable[[], float] | None = None) -> Assistant:
        """One more function, with a memory, and if given a clock, of its own."""
        self.recorder.make = self.faults.around(lambda service: client(self.aws, service))
        return Assistant(
            self.settings,
            client=self.recorder.make if self._real else self.recorder.client,  # the recorder keeps order, for one at a time
            model=self.model,
            knowledge=Pages(),
            metrics=RecordedMetrics(),
            clock=clock or self.now,
            sleep=time.sleep if self._real else self.sleep,
            patience=patience,
            skew=None if self._real else SKEW,
        )

    def clear(self) -> Assistant:
        """An operator's function, for which nothing fails."""
        return Assistant(self.settings, client=lambda service: client(self.aws, service), metrics=RecordedMetrics())


def store_secrets(aws: Emulator, secrets: Mapping[str, Mapping[str, str]]) -> None:
    """Puts the secrets into Secrets Manager."""
    vault = client(aws, "secretsmanager")
    for name, fields in secrets.items():
        stored = {"Name": f"assistant/local/{name}", "SecretString": json.dumps(dict(fields))}
        try:
            vault.create_secret(**stored)
        except vault.exceptions.ResourceExistsException:
            vault.put_secret_value(SecretId=stored["Name"], SecretString=stored["SecretString"])


class Clock:
    """The functions' clock, which goes wrong while it is told to: `true` is what the platforms' clocks say."""

    def __init__(self, true: Callable[[], float], kind: str, dice: random.Random) -> None:
        self._true, self._kind = true, kind
        self._dice = random.Random(dice.random())
        self._wrong = self._stands = 0.0

    def __call__(self) -> float:
        """What it says."""
        if self._stands:
            return self._stands
        if self._wrong and self._kind == "reordered":
            return self._true() + self._dice.uniform(-self._wrong, self._wrong)
        return self._true() + self._wrong

    def go_wrong(self) -> None:
        """From now on it is behind, ahead, stands, or goes back and forth."""
        match self._kind:
            case "slow":
                self._wrong = -200.0
            case "error":
                self._wrong = self._dice.choice([30.0, 200.0, 4000.0])
            case "duplicate":
                self._stands = self._true()
            case "reordered":
                self._wrong = 100.0

    def mend(self) -> None:
        """From now on it is right."""
        self._wrong = self._stands = 0.0


VENDORS: Mapping[str, Mapping[str, Any]] = {
    "error": {"status": 503},
    "throttle": {"status": 429, "body": {"code": "system.busy"}, "headers": {"retry-after": "0"}},  # the code is DingTalk's
    "partial": {"status": 0, "after": True},
}
"""How a vendor fails."""


def step_by_step(
    aws: Emulator, component: Component, kind: Kind, *, seed: str, names: Sequence[str], questions: int = 3
) -> Outcome:
    """Plays a cell with one message at a time; the same seed does the same."""
    dice = random.Random(seed)
    with Town(names, clock=WORLD) as town:
        faults = Faults(seed=dice.randrange(10**6), component=component, kind=kind, share=0.35)
        model = Echo(dice, kind=kind)
        patience = dice.choice([0.0, 60.0])
        house = FaultyHouse(aws, real=False, faults=faults, secrets=town.secrets, model=model, patience=patience)
        clock = Clock(house.now, kind if component == "clock" else "", dice)
        functions = [house.assistant, house.function(patience=patience, clock=clock)]
        town.into(house)
        repeated = 0

        def work() -> int:
            nonlocal repeated
            records = house.batch()
            if (component, kind) == ("queue", "reordered"):
                records = [*house.batch(), *records]
            for record in records:
                if (component, kind) == ("queue", "duplicate") and dice.random() < 0.5:
                    repeated += 1
                    dice.choice(functions).worker.process({"Records": [record]}, seconds=150)
                house.run([record], functions[1] if component == "clock" else dice.choice(functions))
            return len(records)

        for _ in range(questions):
            faults.left = dice.randint(1, 8 if kind == "gone" else 6)
            model.left = dice.randint(1, 5) if component == "model" else 0
            if component == "clock":
                clock.go_wrong()
            letters = [town.write(name, 1) for name in dice.sample(list(names), len(names))]
            if (component, kind) == ("vendor", "reordered"):
                letters += [town.write(name, 1) for name in names]
                dice.shuffle(letters)
            if (component, kind) == ("vendor", "gone"):
                for vendor in town.vendors():
                    vendor.leave()
            for word in letters:
                if component == "vendor" and kind in VENDORS:
                    for vendor in town.vendors():
                        vendor.fail("POST", times=dice.randint(0, 3), **VENDORS[kind])
                elif (component, kind) == ("vendor", "slow"):
                    for vendor in town.vendors():
                        vendor.slow("POST", times=dice.randint(0, 2), delay=0.03)
                for _ in range(dice.randint(2, 3) if (component, kind) == ("vendor", "duplicate") else 1):
                    repeated += bool(word.accepted)
                    _deliver(town, word, until=(component, kind) != ("vendor", "gone"))
            for _ in range(dice.randint(0, 3)):
                work()
            clock.mend()
            for vendor in town.vendors():
                vendor.come_back()
            for word in letters:
                if not word.accepted:
                    _deliver(town, word)
        for _ in range(300):
            if not work():
                break
        faults.left = model.left = 0  # all is well again
        for vendor in town.vendors():
            vendor.mend()
        operator = house.clear().dead_letters
        letters_left = operator.list()
        told = {(str(x["platform"])) for x in letters_left}
        wrong = [f"a dead letter without a reason: {x['id']}" for x in letters_left if not x["reason"]]
        wrong += [f"{word} is neither answered nor among the dead letters" for word in town.lost() if word.at[0].name not in told]
        if component in ("clock",) or kind in ("duplicate", "reordered", "slow"):
            wrong += [f"nothing failed, and yet {x['platform']} gave up: {x['reason']}" for x in letters_left]
        disordered = town.out_of_order()
        house.offset += LEASE_SECONDS + 601  # claims that nobody could take back, and bans, have ended when an operator comes
        operator.replay(frozenset(), every=True)
        house.drain()
        failed = len(faults.done) + model.failed
        return _outcome(
            town,
            seed,
            given_up=len(letters_left),
            failed=failed,
            repeated=repeated,
            disordered=tuple(disordered),
            wrong=tuple(wrong),
        )


def _deliver(town: Town, word: Word, *, until: bool = True) -> None:
    """`until` it is accepted, as a platform delivers again what was not taken."""
    for _ in range(20):
        if town.deliver(word) or not until:
            return
    raise AssertionError(f"{word} was not taken")


def _outcome(town: Town, seed: str, **more: Any) -> Outcome:
    accepted = [w for w in town.words if w.accepted]
    lost = town.lost()
    outcome = Outcome(
        accepted=len(accepted),
        answered=len(accepted) - len(lost),
        twice=tuple(map(str, town.twice())),
        **({"disordered": tuple(town.out_of_order()), "lost": tuple(map(str, lost))} | more),
    )
    return replace(outcome, kept=keep(town, seed=seed, broken=outcome.broken)) if outcome.broken else outcome


# --- everybody at once, in real time ---------------------------------------------------------------


def at_once(
    aws: Emulator,
    component: Component,
    kind: Kind,
    *,
    seed: str,
    names: Sequence[str] = NAMES,
    people: int = 2,
    questions: int = 3,
    functions: int = 3,
    stretch: tuple[float, float] = (0.5, 2.5),
) -> Outcome:
    """Plays a cell in real time: `people` on each platform write `questions` while it lasts (`stretch` seconds, drawn from the
    seed) and one after it, and several functions answer."""
    dice = random.Random(seed)
    lasts = dice.uniform(*stretch)
    with Town(names) as town, ExitStack() as ending:
        faults = Faults(seed=dice.randrange(10**6), component=component, kind=kind, share=0.35, left=10**9)
        model = Echo(random.Random(dice.random()), kind=kind, left=10**9 if component == "model" else 0)
        house = FaultyHouse(aws, real=True, faults=faults, secrets=town.secrets, model=model, patience=0.7)
        hide(house, 5)
        clock = Clock(house.now, kind if component == "clock" else "", dice)
        town.into(house)
        staff = Staff(house, kind if component == "queue" else "", dice)
        for _ in range(functions):
            ending.enter_context(staff.at_work(house.function(patience=dice.choice([0.0, 0.7]), clock=clock)))
        due: list[tuple[float, str, int]] = []
        for name in names:
            for person in range(1, people + 1):
                due += [(at, name, person) for at in sorted(dice.uniform(0, lasts) for _ in range(questions))]
                due.append((lasts + dice.uniform(0, 0.5), name, person))
        due.sort()
        began = time.monotonic()
        clock.go_wrong()
        if (component, kind) == ("vendor", "gone"):
            for vendor in town.vendors():
                vendor.leave()
        returned = 0.0
        post = Post(town, dice, component, kind)
        end = Ending(town, house)
        while True:
            now = time.monotonic() - began
            while due and due[0][0] <= now:
                _, name, person = due.pop(0)
                post.take(town.write(name, person))
            if not returned and now >= lasts:
                faults.left = model.left = 0
                clock.mend()
                for vendor in town.vendors():
                    vendor.mend()
                    vendor.come_back()
                returned = town.clock()
            elif not returned and component == "vendor":
                _break(town.vendors(), kind, dice)
            post.deliver()
            town.look()
            if returned and not due and not post.waiting and ((not town.open() and end.reached()) or end.hopeless()):
                break
            time.sleep(0.02)  # others work meanwhile
        drained = town.clock() - returned
        held = [w for w in town.words if w.wrote < returned < w.seen and not w.given_up]
        return _outcome(
            town,
            seed,
            given_up=end.replayed,
            failed=len(faults.done) + model.failed,
            repeated=staff.repeated + post.repeated,
            recovery=tuple(w.seen - returned for w in held),
            drained=(drained,),
            **({"disordered": ()} if end.replayed else {}),  # what was put back comes late
        )


def _break(vendors: Sequence[Any], kind: str, dice: random.Random) -> None:
    """Faults for the next few calls, or for all of them."""
    for vendor in vendors:
        if vendor._faults and any(f.times > 0 for f in vendor._faults):
            continue
        if kind == "slow":
            vendor.slow("POST", times=dice.randint(1, 3), delay=0.2)
        elif kind in VENDORS and dice.random() < 0.3:
            vendor.fail("POST", times=dice.randint(1, 3), **VENDORS[kind])


@dataclass
class Post:
    """What the platforms have yet to deliver: again after a quarter of a second where it was not accepted, each chat in order."""

    town: Town
    dice: random.Random
    component: str
    kind: str
    waiting: list[tuple[float, Word]] = field(default_factory=list)
    repeated: int = 0

    def take(self, word: Word) -> None:
        """Somebody has written this."""
        now = time.monotonic()
        self.waiting.append((now, word))
        if self.component != "vendor":
            return
        if self.kind == "duplicate":
            self.waiting += [(now + self.dice.uniform(0.0, 1.5), word) for _ in range(self.dice.randint(1, 2))]
        if self.kind == "reordered" and self.dice.random() < 0.5:  # it comes after what is written next
            self.waiting[-1] = (now + self.dice.uniform(0.3, 1.0), word)

    def deliver(self) -> None:
        """Posts what is due."""
        now, held = time.monotonic(), set[tuple[str, int]]()
        left: list[tuple[float, Word]] = []
        for at, word in self.waiting:
            chat = (word.crowd.name, word.person)
            ordered = (self.component, self.kind) not in (("vendor", "reordered"), ("vendor", "duplicate"))
            if at > now or (ordered and chat in held):
                left.append((at, word))
                held.add(chat)
                continue
            self.repeated += bool(word.accepted)
            if not self.town.deliver(word):
                left.append((now + 0.25, word))
                held.add(chat)
        self.waiting = left


class Staff:
    """Functions that answer, each on a thread of its own."""

    def __init__(self, house: House, kind: str, dice: random.Random) -> None:
        self._house, self._kind = house, kind
        self._dice = random.Random(dice.random())
        for service in ("dynamodb", "sqs", "secretsmanager", "s3", "kms"):
            client(house.aws, service)  # made here, once: what several threads make at once is made twice
        self._source = EventSource(Functions(), client(house.aws, "sqs"), house.settings)
        self._lock = threading.Lock()
        self._all: list[Assistant] = []
        self.repeated = 0

    @contextmanager
    def at_work(self, assistant: Assistant) -> Iterator[None]:
        """While inside, that function takes what the queue has."""
        self._all.append(assistant)
        ended = threading.Event()
        thread = threading.Thread(target=self._work, args=(assistant, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=20)

    def _work(self, assistant: Assistant, ended: threading.Event) -> None:
        sqs, url = client(self._house.aws, "sqs"), self._house.settings.turns_queue_url
        while not ended.is_set():
            for record in self._source.receive(wait=1):
                with self._lock:
                    again = self._kind == "duplicate" and self._dice.random() < 0.5
                    late = self._dice.uniform(0, 0.5) if self._kind == "reordered" else 0.0
                    self.repeated += again
                time.sleep(late)  # another conversation's message, taken later, is answered earlier
                if (
                    again
                ):  # answered, and not deleted in time: never by two at once, for nothing runs as long as the queue hides it
                    self._dice.choice(self._all).worker.process({"Records": [record]}, seconds=150)
                answer = assistant.worker.process({"Records": [record]}, seconds=150)
                if not answer["batchItemFailures"]:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=record["receiptHandle"])


class Ending:
    """When nothing is left to do; an operator puts back what was given up."""

    def __init__(self, town: Town, house: House) -> None:
        self._town, self._house = town, house
        self._operator = Assistant(house.settings, client=lambda service: client(house.aws, service), metrics=RecordedMetrics())
        self._began = self._stirred = self._looked = time.monotonic()
        self._before = -1
        self.replayed = 0

    def reached(self) -> bool:
        """Whether the queue is empty."""
        return waiting(self._house) == 0

    def hopeless(self) -> bool:
        """Whether nobody will answer what is open: nothing is queued, nothing given up, and nothing has come for a while."""
        now = time.monotonic()
        if now < self._looked + 0.5:
            return False
        self._looked = now
        if (still := len(self._town.open())) != self._before or waiting(self._house):
            self._before, self._stirred = still, now
        elif found := self._operator.dead_letters.list():
            for word in self._town.open():
                word.given_up = True
            self.replayed += len(found)
            self._operator.dead_letters.replay(frozenset(), every=True)
            self._stirred = now
        return now > self._stirred + 5 or now > self._began + PATIENCE_SECONDS


def hide(house: House, seconds: int) -> None:
    """For how long the queue hides what it has handed out."""
    attributes = {"VisibilityTimeout": str(seconds)}
    client(house.aws, "sqs").set_queue_attributes(QueueUrl=house.settings.turns_queue_url, Attributes=attributes)


def waiting(house: House) -> int:
    """Messages in the queue, those held by somebody included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client(house.aws, "sqs").get_queue_attributes(QueueUrl=house.settings.turns_queue_url, AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


# --- killed at random moments ------------------------------------------------------------------------

HIDDEN_SECONDS = 2
"""For how long the queue still hides here what a killed function held. As deployed it is what is left of `QUEUE.visibility`."""

AT_WORK_SECONDS = 30
"""For how long it hides what a function works on: longer than any takes here, as deployed, so that two never work on one message;
and what was taken in the very moment of a kill, of which nobody knows."""

SUPPORT = 0
"""The person in the web chat whose conversation is the support chat."""


def killed(aws: Emulator, crasher: Crasher, *, seed: str, kills: int, names: Sequence[str] = NAMES, people: int = 2) -> Outcome:
    """Two functions side by side are killed `kills` times in all, while `people` on each platform ask one question after the
    other, further ones leave forms open and are reminded, and others are put through to a support chat."""
    dice = random.Random(seed)
    with Town(names) as town, tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        house = House(aws, secrets=town.secrets, hand_over=f"webchat:c{SUPPORT}")
        town.into(house)
        hide(house, AT_WORK_SECONDS)
        street = Street(town, dice, people)
        functions = [Doomed(crasher, house, dice, Path(folder) / f"{n}") for n in range(2)]
        for function in functions:
            ending.callback(function.end)
        moments: list[float] = []
        recovery: list[tuple[float, list[str]]] = []
        for _ in range(kills):
            victim, moment = dice.choice(functions), dice.uniform(0.0, 0.8)  # the random moment, once it works
            until = time.monotonic() + PATIENCE_SECONDS
            while not victim.works() and time.monotonic() < until:
                street.go_on(asking=True)
            until = time.monotonic() + moment
            while time.monotonic() < until:
                street.go_on(asking=True)
            held = victim.kill()
            moments.append(town.clock())
            recovery.append((moments[-1], held))
        end = Ending(town, house)
        while not (street.idle() and end.reached()):
            street.go_on(asking=False)
            if end.hopeless():
                break
        replayed = end.replayed
        left = _held(town, aws)
        broken = [f"a function ended by itself: {how}" for function in functions for how in function.ended_badly]
        by_number = {number: word for word in town.words for number in re.findall(r"\d+", word.promise)}
        held_up = [(at, by_number[n]) for at, numbers in recovery for n in numbers if n in by_number]
        return _outcome(
            town,
            seed,
            given_up=replayed,
            failed=len(moments),
            recovery=tuple(word.seen - at for at, word in held_up if word.seen > at and not word.given_up),
            drained=tuple(_drained(town, at) for at in moments),
            wrong=tuple(broken),
            held=tuple(map(str, left)),
            lost=tuple(str(word) for word in town.lost() if word not in left),
            **({"disordered": ()} if replayed else {}),  # what was put back comes late
        )


NO_REPEAT = ("dingtalk", "teams")
"""Platforms that know no repeat: a reply is noted the moment it leaves, and not sent again where nobody knows whether it did."""


def _held(town: Town, aws: Emulator) -> list[Word]:
    """What is missing because its process was killed between the note and the request: the note is there."""
    missing = [word for word in town.lost() if word.at[0].name in NO_REPEAT]
    if not missing:
        return []
    stored = items(aws)
    notes = [item["pk"]["S"] for item in stored if "/sent/" in item["pk"]["S"]]
    decided = [item for item in stored if item["sk"]["S"].startswith("turn#")]
    found = []
    for word in missing:
        turns = [i for i in decided if word.promise in json.dumps(i, ensure_ascii=False)]
        ids = [Turn(pk=i["pk"]["S"], sk=i["sk"]["S"], state="saved", question="", user="").id for i in turns]
        if any(f"K#{word.at[0].name}/sent/" in note and id_ in note for note in notes for id_ in ids):
            found.append(word)
    return found


def _drained(town: Town, at: float) -> float:
    """Seconds from then until all that had been accepted was seen; what an operator had to put back apart."""
    return max((w.seen - at for w in town.words if 0 < w.accepted < at < w.seen and not w.given_up), default=0.0)


MOST_A_MINUTE = 20
"""Messages that one person writes. Beyond 30 to one member WeCom says that it has sent a message, and drops it; a function counts
them, but one that is killed forgets, and what is said again counts as well."""


class Street:
    """What people do while functions are killed; each goes on when they see what they were waiting for."""

    def __init__(self, town: Town, dice: random.Random, people: int) -> None:
        self._town, self._dice = town, dice
        self._post = Post(town, dice, "", "")
        self._talkers = {(name, n): dice.randint(1, 3) for name in town.names for n in range(1, people + 1)}
        self._wrote: dict[tuple[str, int], deque[float]] = {}
        self._next = people + 1
        self._looked = 0.0
        self._reminders = Reminders(
            town.house.assistant.table,
            town.house.assistant.sessions,
            queue=lambda: town.house.assistant.queue,
            minutes=30,
            clock=lambda: time.time() + 31 * 60,  # the schedule's clock: half an hour has passed
        )

    def go_on(self, *, asking: bool) -> None:
        """A moment passes."""
        if asking:
            busy: dict[tuple[str, int], int] = {}
            for word in (*self._town.open(), *(word for _, word in self._post.waiting)):
                chat = (word.crowd.name, word.person)
                busy[chat] = busy.get(chat, 0) + 1
            for (name, person), most in self._talkers.items():
                if busy.get((name, person), 0) < most and self._dice.random() < 0.3 and self._has_breath(name, person):
                    self._post.take(self._town.write(name, person))
            if self._dice.random() < 0.05:
                self._dice.choice((self._leaves_a_form, self._wants_a_person))(self._dice.choice(list(self._town.names)))
        self._post.deliver()
        if time.monotonic() > self._looked + 0.06:
            self._town.look()
            self._looked = time.monotonic()
        time.sleep(0.02)  # others work meanwhile

    def _has_breath(self, name: str, person: int) -> bool:
        """Whether the person writes no more than `MOST_A_MINUTE`."""
        now, wrote = time.monotonic(), self._wrote.setdefault((name, person), deque(maxlen=MOST_A_MINUTE))
        if len(wrote) == MOST_A_MINUTE and now < wrote[0] + 60:
            return False
        wrote.append(now)
        return True

    def idle(self) -> bool:
        """Whether everything that was written is accepted and answered."""
        return not self._post.waiting and not self._town.open()

    def _somebody(self) -> int:
        self._next += 1
        return self._next

    def _leaves_a_form(self, name: str) -> None:
        def remind(word: Word) -> None:
            self._reminders.look()
            self._town.expect(word, "Are you still there?")

        self._post.take(self._town.write(name, self._somebody(), "book a room", promise="Which room?", then=remind))

    def _wants_a_person(self, name: str) -> None:
        person, mine, theirs = self._somebody(), self._town.number(), self._town.number()

        def tell(word: Word) -> None:
            case = re.findall(r"#([0-9A-F]{6})", "\n".join(word.crowd.seen(person)))[0]
            said = f"badge {mine} is broken"
            self._post.take(
                self._town.write(name, person, said, promise=said, at=("webchat", SUPPORT), then=lambda _: answer(case))
            )

        def answer(case: str) -> None:
            said = f"come to desk {theirs} please"
            self._post.take(self._town.write("webchat", SUPPORT, f"#{case} {said}", promise=said, at=(name, person)))

        self._post.take(self._town.write(name, person, "can I talk to a human please?", promise="getting a person", then=tell))


STARTS = "starts"


class Doomed:
    """A function that is killed, and started anew."""

    def __init__(self, crasher: Crasher, house: House, dice: random.Random, file: Path) -> None:
        self._crasher, self._house, self._dice, self._file = crasher, house, dice, file
        self.ended_badly: list[str] = []
        self._process = self._start()

    def _start(self) -> int:
        self._file.write_text(STARTS)
        told = {
            **self._crasher.of(self._house),
            "office": True,
            "holds": str(self._file),
            "log": f"{self._file}.log",
            "seconds": self._dice.choice([0.0, 0.1, 0.3]),
            "patience": self._dice.choice([0.0, 0.1, 60.0]),
        }
        process: int = self._crasher.start(told)
        return process

    def works(self) -> bool:
        """Whether it has started."""
        return self._file.read_text() != STARTS

    def kill(self) -> list[str]:
        """Numbers in the message that it was working on."""
        self.end()
        held = self._file.read_text()
        self._process = self._start()
        if not held.startswith("{"):
            return []
        record = json.loads(held)
        with suppress(ClientError):  # deleted already
            client(self._house.aws, "sqs").change_message_visibility(
                QueueUrl=self._house.settings.turns_queue_url,
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=HIDDEN_SECONDS,
            )
        text = str(json.loads(record["body"]).get("text", ""))
        return re.findall(r"\b(?:Question|badge|desk) (\d+)", text)

    def end(self) -> None:
        """Kills it for good."""
        ended = self._crasher.end(self._process)
        if ended != -9:
            self.ended_badly.append(f"status {ended}: {Path(f'{self._file}.log').read_text()[-2000:]}")
