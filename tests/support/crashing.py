"""Dialogue functions that are killed (SIGKILL), at a step or at any moment: `python -m tests.support.crashing` reads a line of
JSON for each and forks it; the imports, which take seconds, are paid once.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from assistant.assembly import Assistant
from assistant.dev.runner import EventSource, Functions
from assistant.llm import ChatRequest, Done, Event, TextDelta
from assistant.observability import RecordedMetrics
from assistant.platforms import PLATFORMS
from assistant.plugins.loading import find
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.support.forms import with_office
from tests.support.house import Pages, client

if TYPE_CHECKING:
    from tests.support.house import House


class Slow:
    """Says `answer`; without one, "Answer 7." to "Question 7", and to several questions as many. Takes `seconds` for it."""

    name = "slow"

    def __init__(self, answer: str, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """The answer, word by word."""
        said = self._answer or request.messages[-1].text.replace("Question", "Answer").replace("\n", ". ") + "."
        words = said.split(" ")
        for n, word in enumerate(words):
            yield TextDelta(f" {word}" if n else word)
            if self._seconds:
                time.sleep(self._seconds / len(words))  # a model takes its time: that is when the process is killed
        yield Done(reason="stop", model=self.name)


class Function:
    """A dialogue function as it is told to be.

    `settings`, `secrets`; `answer` and `seconds` of its model; `patience` and `skew`; `office`: with the office's forms;
    `ahead`: seconds that its clock is ahead.
    """

    def __init__(self, told: Mapping[str, Any], step: Callable[[str], None] = lambda name: None) -> None:
        settings = Settings.from_env({k: str(v) for k, v in told["settings"].items()})
        ahead = float(told.get("ahead", 0.0))
        self.assistant = Assistant(
            settings,
            secrets=GivenSecrets(told["secrets"]),
            model=Slow(told.get("answer", ""), float(told.get("seconds", 0.0))),
            knowledge=Pages(),
            metrics=RecordedMetrics(),
            step=step,
            clock=lambda: time.time() + ahead,
            patience=float(told.get("patience", 60)),
            skew=told.get("skew"),
        )
        if told.get("office"):
            with_office(self.assistant)
        self._sqs: Any = boto3.client("sqs")
        self._url = settings.turns_queue_url
        self._source = EventSource(Functions(), self._sqs, settings)

    def take(self, *, wait: int, before: Callable[[Mapping[str, Any]], None], after: Callable[[], None] = lambda: None) -> bool:
        """Works on the next batch, and deletes what was finished; False where there is none."""
        records = self._source.receive(wait=wait)
        for record in records:
            before(record)
            answer = self.assistant.worker.process({"Records": [record]}, seconds=150)
            if not answer["batchItemFailures"]:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=record["receiptHandle"])
            after()
        return bool(records)


def until_killed_at(told: Mapping[str, Any]) -> None:
    """Works until the step `at`, or until nothing is left; with `first`, only a message's first delivery is cut off."""
    armed = [True]

    def step(name: str) -> None:
        if name == told["at"] and armed[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def look(record: Mapping[str, Any]) -> None:
        armed[0] = not told.get("first") or record["attributes"]["ApproximateReceiveCount"] == "1"

    function = Function(told, step)
    while function.take(wait=0, before=look):
        pass


def until_killed(told: Mapping[str, Any]) -> None:
    """Works for as long as it lives, and keeps what it is working on in the file `holds`."""
    parent = os.getppid()
    function, holds = Function(told), Path(told["holds"])
    _note(holds, "")
    while os.getppid() == parent:
        function.take(wait=1, before=lambda record: _note(holds, json.dumps(record)), after=lambda: _note(holds, ""))


def _note(file: Path, text: str) -> None:
    whole = file.with_suffix(".new")
    whole.write_text(text, encoding="utf-8")
    whole.replace(file)  # whoever is killed in the middle leaves what stood there before


def serve() -> None:
    """Forks a function for each line: `run` answers how it ended, `start` with its process id, `reap` when it has ended."""
    for name in ("assembly", "dialogue", "worker", "plugins", "tools", "handover", "rollout", "oauth.authorisation", "nlu"):
        importlib.import_module(f"assistant.{name}")
    for name in (*PLATFORMS, *find()):
        importlib.import_module(f"assistant.platforms.{name}" if name in PLATFORMS else f"assistant_plugins.{name}")
    boto3.client("dynamodb"), boto3.client("sqs")
    for line in sys.stdin:
        told = json.loads(line)
        match told["do"]:
            case "run":
                said = {"ended": _ended(_forked(until_killed_at, told))}
            case "start":
                said = {"process": _forked(until_killed, told)}
            case _:
                said = {"ended": _ended(told["process"])}
        print(json.dumps(said), flush=True)


def _forked(work: Callable[[Mapping[str, Any]], None], told: Mapping[str, Any]) -> int:
    sys.stdout.flush()
    if process := os.fork():
        return process
    os.dup2(os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "log" in told else 2, 2)
    os.dup2(2, 1)  # its own words must not look like answers
    try:
        work(told)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


class Crasher:
    """That process, started at its first use. `environment` is the functions'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def run(self, told: Mapping[str, object]) -> int:
        """How the function ended that was told so: -9 where it was killed, 0 where nothing was left to do."""
        return int(self._do({"do": "run", **told})["ended"])

    def kill(self, house: House, at: str, **told: object) -> int:
        """Runs a function of that house which is killed at the step `at`, see `Function` and `until_killed_at`; what it held
        comes again at once."""
        sqs, url = client(house.aws, "sqs"), house.settings.turns_queue_url
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
        ended = self.run({"at": at, **self.of(house), **told})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "180"})
        return ended

    def of(self, house: House) -> dict[str, object]:
        """What a function of that house is told."""
        return {"settings": house.settings.to_env(), "secrets": house.secrets, "ahead": house.now() - time.time()}

    def start(self, told: Mapping[str, object]) -> int:
        """A function that lives until it is ended; gives its process id."""
        return int(self._do({"do": "start", **told})["process"])

    def end(self, process: int) -> int:
        """Kills a function that was started here, and gives how it ended."""
        os.kill(process, signal.SIGKILL)
        return int(self._do({"do": "reap", "process": process})["ended"])

    def close(self) -> None:
        """Ends it."""
        if self._process:
            self._process.communicate()

    def _do(self, told: Mapping[str, object]) -> dict[str, Any]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.support.crashing"]
            environment = {**os.environ, **self._environment}
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        asks, answers = self._process.stdin, self._process.stdout
        assert asks
        assert answers
        asks.write(json.dumps(told) + "\n")
        asks.flush()
        if line := answers.readline():
            said: dict[str, Any] = json.loads(line)
            return said
        raise AssertionError("the process that forks has ended")


if __name__ == "__main__":
    serve()
