"""A dialogue function that is killed at a step: `python -m tests.support.crashing JSON` takes one batch from the queue."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import boto3

from assistant.assembly import Assistant
from assistant.dev.runner import EventSource, Functions
from assistant.observability import RecordedMetrics
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


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
