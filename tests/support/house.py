"""A whole assistant in one test: real intake, queue, table, dialogue and platforms; a scripted model, simulated vendors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from assistant.assembly import Assistant
from assistant.dev.emulator import REGION, Emulator
from assistant.dev.runner import EventSource, Functions, event_of, match
from assistant.errors import Unavailable
from assistant.llm import ChatRequest, Done, Event, TextDelta, ToolCall
from assistant.messages import HttpReply, Passage, Webhook
from assistant.observability import RecordedMetrics
from assistant.secrets import GivenSecrets
from tests.simulators.base import WORLD
from tests.support.recorder import Recorder

SKEW = 60.0
"""Seconds that count as "at once" in a test: a machine that is slow for a moment makes no conversation a busy one."""

WEBCHAT_KEY = "test-web-chat-key"


@dataclass
class ScriptedModel:
    """Says `answers` in turn, the last one for ever; an exception among them is raised. `asked` keeps the requests.

    A list among the answers holds tool calls, as `(name, arguments)`.
    """

    answers: list[str | Exception | list[tuple[str, Mapping[str, Any]]]] = field(default_factory=lambda: ["Fourteen days."])
    asked: list[ChatRequest] = field(default_factory=list)
    name: str = "scripted"
    between: Callable[[], None] = lambda: None
    """Called after each piece of text: a test may wait or interfere here."""

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """Events of the next answer, a word at a time."""
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, list):
            for n, (name, arguments) in enumerate(answer, 1):
                yield ToolCall(id=f"call-{len(self.asked)}-{n}", name=name, arguments=json.dumps(arguments))
            yield Done(reason="tool_calls", model=self.name)
            return
        for word in answer.split(" "):
            yield TextDelta(word if word == answer.split(" ")[0] else f" {word}")
            self.between()
        yield Done(reason="stop", model=self.name)


@dataclass(frozen=True)
class Pages:
    """Passages given for every question."""

    passages: tuple[Passage, ...] = ()
    confident: bool = True
    facts: tuple[str, ...] = ()
    direct: str = ""
    experts: tuple[str, ...] = ()

    def kinds(self) -> frozenset[str]:
        """Nothing in it is hidden from anybody."""
        return frozenset({"everyone"})

    def search(
        self, question: str, *, audience: frozenset[str], limit: int = 5, listeners: Sequence[frozenset[str]] = ()
    ) -> Pages:
        """Itself."""
        return self


def down() -> Unavailable:
    """The model is out of reach."""
    return Unavailable("the model does not answer")


class House:
    """An assistant on an emulated AWS. `post` is a platform calling; `drain` runs the queue dry; `now` is the clock.

    With the setting `knowledge_folder` it has real knowledge, kept there and in the emulated bucket.
    """

    def __init__(
        self,
        aws: Emulator,
        *,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        model: Any = None,
        pages: Any = None,
        step: Callable[[str], None] = lambda name: None,
        patience: float = 60,
        **settings: Any,
    ) -> None:
        WORLD.begin()
        self.aws = aws
        self.settings = aws.settings(**settings)
        self.model = model or ScriptedModel()
        self.metrics = RecordedMetrics(clock=self.now)
        self.offset = 0.0
        self.recorder = Recorder(lambda service: client(aws, service))
        self.secrets = {"webchat": {"api_key": WEBCHAT_KEY}} | dict(secrets or {})
        self.assistant = self._assistant(step, patience, pages)
        self._source = EventSource(Functions(), client(aws, "sqs"), self.settings)
        self._step, self._patience, self._pages = step, patience, pages

    def _assistant(self, step: Callable[[str], None], patience: float, pages: Any) -> Assistant:
        return Assistant(
            self.settings,
            secrets=GivenSecrets(self.secrets),
            client=self.recorder.client,
            model=self.model,
            knowledge=None if self.settings.knowledge_folder else pages or Pages(),
            metrics=self.metrics,
            clock=self.now,
            sleep=self.sleep,
            step=step,
            patience=patience,
            skew=SKEW,
        )

    def another(self) -> Assistant:
        """A second instance over the same table and queue, as a second Lambda environment."""
        return self._assistant(self._step, self._patience, self._pages)

    def sleep(self, seconds: float) -> None:
        """Time passes for the assistant and for the vendors; nobody waits."""
        WORLD.sleep(seconds)

    def now(self) -> float:
        """Unix seconds; `offset` moves it."""
        return WORLD() + self.offset

    # --- in ---

    def post(
        self,
        path: str,
        body: bytes | str | Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        method: str = "POST",
    ) -> HttpReply:
        """The answer to a platform's request to `/webhook{path}`, through the API's own route table and event shape."""
        raw = json.dumps(body).encode() if isinstance(body, Mapping) else body.encode() if isinstance(body, str) else body
        found = match(method, f"/webhook{path}")
        assert found, f"no route for {method} /webhook{path}"
        given = {"content-type": "application/json", **(headers or {})}
        event = event_of(*found, method=method, path=f"/webhook{path}", query=query, headers=given, body=raw)
        return self.assistant.intake.handle(Webhook.from_event(event))

    def receive(self, webhook: Webhook) -> HttpReply:
        """The answer to a request that a simulator made and signed."""
        path = f"/{webhook.platform}/{webhook.channel}"
        return self.post(path, webhook.body, headers=webhook.headers, query=urlencode(webhook.query), method=webhook.method)

    def say(self, text: str, *, conversation: str = "c", user: str = "u", id: str | None = None) -> str:
        """A web chat message; gives its id."""
        message = {"conversation": conversation, "user": user, "text": text} | ({"id": id} if id else {})
        reply = self.post("/webchat/messages", message, headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
        assert reply.status == 202, reply
        result: str = json.loads(reply.body)["id"]
        return result

    # --- the queue ---

    def batch(self) -> list[dict[str, Any]]:
        """The records of the next SQS event; empty when nothing is visible."""
        return self._source.receive(wait=0)

    def run(self, records: Sequence[Mapping[str, Any]], assistant: Assistant | None = None) -> set[str]:
        """Hands records to the dialogue function and deletes what it finished; gives the ids of what failed."""
        answer = (assistant or self.assistant).worker.process({"Records": list(records)}, seconds=150)
        failed = {f["itemIdentifier"] for f in answer["batchItemFailures"]}
        sqs = client(self.aws, "sqs")
        for record in records:
            if record["messageId"] not in failed:
                sqs.delete_message(QueueUrl=self.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"])
            else:  # its wait is over at once: tests do not sleep
                sqs.change_message_visibility(
                    QueueUrl=self.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
                )
        return failed

    def delete(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Takes records that were finished off the queue."""
        for record in records:
            client(self.aws, "sqs").delete_message(QueueUrl=self.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"])

    def drain(self, *, limit: int = 100) -> int:
        """Runs the queue until nothing is left; gives the number of batches."""
        for done in range(limit):
            if not (records := self.batch()):
                return done
            self.run(records)
        raise AssertionError(f"the queue is not empty after {limit} batches")

    def dead_letters(self) -> list[dict[str, Any]]:
        """What stands in the dead letters; each is taken out."""
        sqs = client(self.aws, "sqs")
        found: list[dict[str, Any]] = []
        while more := sqs.receive_message(
            QueueUrl=self.settings.dead_letters_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            found += more
            for message in more:
                sqs.delete_message(QueueUrl=self.settings.dead_letters_url, ReceiptHandle=message["ReceiptHandle"])
        return found

    # --- out ---

    def turns(self, conversation: str = "c") -> list[dict[str, Any]]:
        """The web chat's turns as the page reads them."""
        from assistant.api import public_turns

        turns: list[dict[str, Any]] = public_turns(self.assistant, conversation, after="", limit=200)["turns"]
        return turns


_clients: dict[tuple[str, str], Any] = {}


def client(aws: Emulator, service: str) -> Any:
    """A boto3 client of the emulated AWS."""
    import boto3
    from botocore.config import Config

    known = aws.endpoint, service
    if known not in _clients:
        _clients[known] = boto3.client(
            service,
            endpoint_url=aws.endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=30),
        )
    return _clients[known]
