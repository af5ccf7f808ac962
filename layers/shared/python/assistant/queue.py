"""The queue of messages to answer: SQS FIFO, one group a conversation, one call a webhook."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from assistant.errors import Unavailable
from assistant.messages import OVERTAKING, Message, message_from_json, to_json
from assistant.observability import trace_id
from assistant.storage import key

if TYPE_CHECKING:
    from botocore.client import BaseClient


class QueueSettings(NamedTuple):
    """Times in seconds. Read by the infrastructure and by the local runner."""

    function_timeout: int
    """Longest run of the dialogue function."""
    max_receives: int
    """Deliveries before a message goes to the dead letters."""
    batch_size: int
    retention: int = 4 * 24 * 3600
    dead_letter_retention: int = 14 * 24 * 3600

    @property
    def visibility(self) -> int:
        """Until a message that was not deleted is delivered again: longer than any run, so that two never overlap."""
        return self.function_timeout + 30


QUEUE: Final = QueueSettings(function_timeout=150, max_receives=3, batch_size=1)
"""One message a batch: a batch is deleted as a whole, so a larger one makes a quick conversation wait for a slow one."""

_PLAIN_ID = re.compile(r"[\w!\"#$%&'()*+,./:;<=>?@\[\\\]^`{|}~-]{1,128}", re.ASCII)


def group_id(message: Message) -> str:
    """The message group: one for each conversation topic; what must overtake, and what may wait, have lanes of their own."""
    lane = "now" if overtakes(message) else "later" if message.kind == "summarise" else "turns"
    return _short(key(lane, message.tenant, message.platform, message.topic))


STOP_WORDS: Final = frozenset({"stop", "/stop", "cancel that", "停", "停止", "停下", "别说了", "停一下"})


def overtakes(message: Message) -> bool:
    """True for what must reach a running turn and so never waits behind it: stop, recall, edit."""
    return message.kind in OVERTAKING or (message.kind == "text" and message.text.strip(" .!。！").lower() in STOP_WORDS)


def _short(text: str) -> str:
    """`text` where SQS takes it as an id (1–128 of a fixed alphabet), otherwise its SHA-256."""
    return text if _PLAIN_ID.fullmatch(text) else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


TRACED: Final = 0.05
"""Share of messages whose way is shown in X-Ray; logs have every message's."""


def trace_header(message: Message) -> str:
    """What tells Lambda, and X-Ray through it, under which id this message is handled and whether it is drawn.

    Lambda's own choice would be one message a second and five percent of the rest; it keeps to a choice that came with the
    message. The same message always gets the same one, however often it is sent.
    """
    id_ = trace_id(message.trace)
    if not id_:
        name = hashlib.sha256(message.dedup_id.encode("utf-8", "replace")).hexdigest()
        id_ = f"1-{message.sent_at // 1000 & 0xFFFFFFFF:08x}-{name[:24]}"
    chosen = int(hashlib.sha256(id_.encode()).hexdigest()[:8], 16) < TRACED * 2**32
    return f"Root={id_};Sampled={int(chosen)}"


class Delivery(NamedTuple):
    """A queued message as the dialogue function gets it."""

    message: Message
    id: str
    """The queue's id of the message; stays the same when it is delivered again."""
    attempt: int
    """1 for the first delivery."""
    last: bool
    """No further delivery will follow if this one fails."""


class TurnQueue:
    """Where the webhook function puts messages. Raises Unavailable when the queue does not take them."""

    def __init__(self, url: str, *, client: BaseClient) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        self._url = url
        self._client = client
        self._refusals = (BotoCoreError, ClientError)

    def publish(self, messages: Sequence[Message]) -> None:
        """Queues all `messages` (1–10) in one call; either all are accepted or Unavailable is raised."""
        entries = [self._entry(m) for m in messages]
        try:
            if len(entries) == 1:
                self._client.send_message(QueueUrl=self._url, **entries[0])
                return
            result = self._client.send_message_batch(
                QueueUrl=self._url, Entries=[{"Id": str(n), **e} for n, e in enumerate(entries)]
            )
        except self._refusals as error:
            raise Unavailable(f"the queue does not accept messages: {type(error).__name__}") from error
        if failed := result.get("Failed"):
            raise Unavailable(f"the queue refused {len(failed)} of {len(entries)} messages: {failed[0].get('Code')}")

    def _entry(self, message: Message) -> dict[str, Any]:
        return {
            "MessageBody": to_json(message),
            "MessageGroupId": group_id(message),
            "MessageDeduplicationId": _short(key(message.tenant, message.platform, message.kind, message.dedup_id)),
            "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": trace_header(message)}},
        }


def delivery(record: Mapping[str, Any], *, max_receives: int = QUEUE.max_receives) -> Delivery:
    """The delivery in one record of an SQS event; raises ValueError for a body that is no message."""
    attempt = int(record["attributes"].get("ApproximateReceiveCount", "1"))
    return Delivery(message_from_json(record["body"]), record["messageId"], attempt, attempt >= max_receives)


def waiting(url: str, *, client: BaseClient) -> int:
    """About how many messages stand in the queue at `url`. Raises Unavailable when it does not tell."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    except (BotoCoreError, ClientError) as error:
        raise Unavailable(f"queue {url.rpartition('/')[2]}: {type(error).__name__}") from error
    return int(found["Attributes"]["ApproximateNumberOfMessages"])
