"""A dialogue function that lives until it is killed: `python -m tests.support.dying JSON` takes batches from the queue."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import boto3

from assistant.assembly import Assistant
from assistant.dev.runner import EventSource, Functions
from assistant.llm import ChatRequest, Done, Event, TextDelta
from assistant.observability import RecordedMetrics
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.support.house import Pages


class Slow:
    """Answers "Question 7" with "Answer 7.", and several questions with as many answers, in `seconds`."""

    name = "slow"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """The answer, in pieces."""
        for piece in request.messages[-1].text.replace("Question", "Answer").replace("\n", ". ").partition(" "):
            yield TextDelta(piece)
            time.sleep(self.seconds / 3)  # a model takes its time: that is when the process is killed
        yield TextDelta(".")
        yield Done(reason="stop", model=self.name)


def main(told: dict[str, object]) -> None:
    """Works like the dialogue function, batch after batch; says "ready" before the first."""
    settings = Settings.from_env({k: str(v) for k, v in dict(told["settings"]).items()})  # type: ignore[call-overload]  # JSON
    assistant = Assistant(
        settings,
        secrets=GivenSecrets(told["secrets"]),  # type: ignore[arg-type]  # JSON
        model=Slow(float(str(told["seconds"]))),
        knowledge=Pages(),
        metrics=RecordedMetrics(),
        patience=float(str(told["patience"])),
    )
    sqs = boto3.client("sqs")
    source = EventSource(Functions(), sqs, settings)
    print("ready", flush=True)
    while True:
        for record in source.receive(wait=1):
            answer = assistant.worker.process({"Records": [record]}, seconds=150)
            if not answer["batchItemFailures"]:
                sqs.delete_message(QueueUrl=settings.turns_queue_url, ReceiptHandle=record["receiptHandle"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
