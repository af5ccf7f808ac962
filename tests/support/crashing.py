"""Dialogue functions that are killed at a step: `python -m tests.support.crashing` reads a line of JSON for each and forks one,
which takes one batch from the queue; the imports, which take seconds, are paid once.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import boto3

from assistant.assembly import Assistant
from assistant.dev.runner import EventSource, Functions
from assistant.observability import RecordedMetrics
from assistant.platforms import PLATFORMS
from assistant.plugins.loading import find
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.support.house import Pages, ScriptedModel


def main(told: dict[str, object]) -> None:
    """Works like the dialogue function, up to the step called `told["at"]`."""

    def step(name: str) -> None:
        if name == told["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings.from_env({k: str(v) for k, v in dict(told["settings"]).items()})  # type: ignore[call-overload]  # JSON
    slow, pause = bool(told["slow"]), float(str(told["pause"]))
    model = ScriptedModel(
        [str(told["answer"])],
        between=(lambda: time.sleep(pause)) if slow else (lambda: None),  # gives the growing reply time to be shown
    )
    assistant = Assistant(
        settings,
        secrets=GivenSecrets(told["secrets"]),  # type: ignore[arg-type]  # JSON
        model=model,
        knowledge=Pages(),
        metrics=RecordedMetrics(),
        step=step,
        patience=0 if slow else 60,
    )
    source = EventSource(Functions(), boto3.client("sqs"), settings)
    records = source.receive(wait=5)
    answer = assistant.worker.process({"Records": records}, seconds=150)
    print(json.dumps(answer), flush=True)


def serve() -> None:
    """Forks a function for each line, and answers with the signal or status it ended with, negative for a signal."""
    for name in ("assembly", "dialogue", "worker", "plugins", "tools", "handover", "rollout", "oauth.authorisation", "nlu"):
        importlib.import_module(f"assistant.{name}")
    for name in (*PLATFORMS, *find()):
        importlib.import_module(f"assistant.platforms.{name}" if name in PLATFORMS else f"assistant_plugins.{name}")
    boto3.client("dynamodb"), boto3.client("sqs")
    for line in sys.stdin:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            main(json.loads(line))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


class Crasher:
    """That process, started at its first use. `environment` is the functions'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def run(self, told: Mapping[str, object]) -> int:
        """How the function ended that was told so: -9 where it was killed."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.support.crashing"]
            environment = {**os.environ, **self._environment}
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        asks, answers = self._process.stdin, self._process.stdout
        assert asks
        assert answers
        asks.write(json.dumps(told) + "\n")
        asks.flush()
        for line in answers:  # what the function itself printed stands before
            if "ended" in (said := json.loads(line)):
                return int(said["ended"])
        raise AssertionError("the process that forks has ended")

    def close(self) -> None:
        """Ends it."""
        if self._process:
            self._process.communicate()


if __name__ == "__main__":
    serve()
