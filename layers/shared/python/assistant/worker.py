"""One SQS batch: each conversation's messages in order, conversations side by side, failures handed back one by one."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from assistant.errors import AssistantError, Unavailable
from assistant.observability import DEAD_LETTERED, TURN_FAILED, Metrics, log, redact, traced
from assistant.queue import QUEUE, Delivery, delivery

if TYPE_CHECKING:
    from botocore.client import BaseClient

    from assistant.dialogue import Dialogue

logger = logging.getLogger(__name__)

SPARE_SECONDS = 10
"""Left of the function's time for saving and sending after the model's last token."""


class Worker:
    """Feeds the records of an SQS event to the dialogue."""

    def __init__(
        self,
        *,
        dialogue: Dialogue,
        client: Callable[[], BaseClient],
        queue_url: str,
        dead_letters_url: str,
        metrics: Metrics,
        max_receives: int = QUEUE.max_receives,
    ) -> None:
        self._dialogue = dialogue
        self._client = client
        self._queue_url = queue_url
        self._dead_letters_url = dead_letters_url
        self._metrics = metrics
        self._max_receives = max_receives

    def process(self, event: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Works through the event's records within `seconds`; the answer names those to be delivered again.

        Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html (partial batch responses, FIFO: stop after
        the first failure of a group).
        """
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for record in event["Records"]:
            groups.setdefault(record["attributes"].get("MessageGroupId", record["messageId"]), []).append(record)
        until = time.monotonic() + seconds - SPARE_SECONDS
        if len(groups) == 1:
            failed = [self._group(records, until) for records in groups.values()]
        else:
            with ThreadPoolExecutor(max_workers=len(groups)) as pool:
                failed = list(pool.map(lambda records: self._group(records, until), groups.values()))
        return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for group in failed for r in group]}

    def _group(self, records: Sequence[Mapping[str, Any]], until: float) -> Iterable[Mapping[str, Any]]:
        for done, record in enumerate(records):
            if not self._one(record, until):
                return records[done:]
        return ()

    def _one(self, record: Mapping[str, Any], until: float) -> bool:
        """True when the record is done with, in whichever way; False when it must come again."""
        try:
            came = delivery(record, max_receives=self._max_receives)
        except ValueError as error:
            log(logger, logging.ERROR, "no message in the queue's record", event_reason=str(error), event_id=record["messageId"])
            return self._bury(record, "the body is not a message")
        with traced(came.message.trace):
            return self._take(came, record, until)

    def _take(self, came: Delivery, record: Mapping[str, Any], until: float) -> bool:
        message = came.message
        try:
            self._dialogue.take_turn(came, seconds=max(1.0, until - time.monotonic()))
        except Exception as error:  # the top of a function: whatever happened, the message is kept
            ring = self._ring(came)
            self._metrics.emit((TURN_FAILED, 1), platform=message.platform, error=type(error).__name__, of_ring=ring)
            logger.log(
                logging.WARNING if isinstance(error, AssistantError) else logging.ERROR,
                "turn failed",
                exc_info=error,
                extra={
                    "ecs": {
                        "event.id": message.event_id,
                        "attempt": came.attempt,
                        "platform": message.platform,
                    }
                },
            )
            reason = redact(f"{type(error).__name__}: {error}")[:500]
            if came.last:
                return self._give_up(came, record, reason)
            self._come_again(record, came, error)
            return False
        return True

    def _give_up(self, came: Delivery, record: Mapping[str, Any], reason: str) -> bool:
        if not self._bury(record, reason, ring=self._ring(came)):
            return False
        try:
            self._dialogue.give_up(came, reason)
        except Exception as error:  # the message is safe in the dead letters; telling the asker was the last thing to try
            logger.error("the asker could not be told", exc_info=error)
        return True

    def _ring(self, came: Delivery) -> str:
        """Whom the figures of a failure belong to; empty where not even that can be found out."""
        try:
            return self._dialogue.ring_name(came.message)
        except Exception:  # what failed may be what tells the ring; the failure itself is being dealt with
            return ""

    def _bury(self, record: Mapping[str, Any], reason: str, *, ring: str = "") -> bool:
        """Puts the record into the dead letters with its reason; False leaves that to the queue, without one."""
        try:
            self._client().send_message(
                QueueUrl=self._dead_letters_url,
                MessageBody=record["body"],
                MessageGroupId=record["messageId"],  # no order among dead letters: one that is looked at hides no other
                MessageDeduplicationId=record["messageId"],
                MessageAttributes={"reason": {"DataType": "String", "StringValue": reason or "unknown"}},
            )
        except Exception as error:  # whatever it is, the queue's own redrive still moves the message
            logger.error("the dead letters do not accept a message", exc_info=error)
            return False
        self._metrics.emit((DEAD_LETTERED, 1), of_ring=ring)
        return True

    def _come_again(self, record: Mapping[str, Any], came: Delivery, error: Exception) -> None:
        """Shortens the wait until the next delivery: exponential, with jitter, or as long as the other side asked."""
        asked = error.retry_after if isinstance(error, Unavailable) else None
        wait = max(asked or 0.0, 2.0 ** (2 * came.attempt - 1)) * random.uniform(1.0, 1.5)
        try:
            self._client().change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=min(900, round(wait))
            )
        except Exception as problem:  # then the queue's own visibility time-out decides
            log(logger, logging.WARNING, "visibility not changed", error_type=type(problem).__name__)


def describe(letter: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as an operator reads it: who, where, when, why; never what was written."""
    reason = letter.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "")
    try:
        body = json.loads(letter["Body"])
    except ValueError:
        body = {}
    names = ("platform", "channel", "kind", "conversation", "sender", "message_id", "event_id", "dedup_id", "sent_at", "trace")
    return {
        "id": letter["MessageId"],
        "reason": reason or "moved by the queue: the function crashed or ran out of time",
        **{k: body.get(k) for k in names},
    }
