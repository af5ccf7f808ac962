"""SQS FIFO queues on a laptop: groups in order and one receiver each, deduplication, visibility, redrive.

What a call costs does not grow with the messages that wait, so that a local run can be put under load.
Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference and …/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import itertools
import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

LARGEST: Final = 1024 * 1024
"""Bytes of a message with its attributes."""
DEDUPLICATION: Final = 300.0
"""Seconds for which a deduplication id is remembered."""
LONGEST_VISIBILITY: Final = 43_200

_ID: Final = re.compile(r"[\w!\"#$%&'()*+,./:;<=>?@\[\\\]^`{|}~-]{1,128}", re.ASCII)


class QueueError(Exception):
    """What SQS refuses. `code` is the name of its error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Stored:
    """A message in a queue. Times in seconds since the epoch."""

    id: str
    request: Mapping[str, Any]
    """The parameters of SendMessage that begin with `Message`."""
    sent: float
    number: int
    receives: int = 0
    first_received: float = 0.0
    dead_of: str = ""
    """ARN of the queue that gave it up."""
    hidden_until: float = 0.0
    handles: list[str] = field(default_factory=list)

    @property
    def group(self) -> str:
        """Its message group."""
        return str(self.request["MessageGroupId"])


class Keeper(Protocol):
    """Hears of each change before its caller does."""

    def stored(self, queue: str, message: Stored) -> None:
        """A message is new, was received once more, or moved to `queue`."""

    def gone(self, message: Stored) -> None:
        """A message was deleted."""


@dataclass(slots=True)
class _Group:
    waiting: deque[Stored] = field(default_factory=deque)
    """Old to new, those that a receiver holds included."""
    held: set[str] = field(default_factory=set)
    """Ids of those that a receiver holds; while there are any, nobody else gets a message of the group."""
    listed: bool = False
    """Whether it stands among the groups that can be received from."""


class FifoQueue:
    """One queue. Not for several threads: `Fifo` holds its lock."""

    def __init__(self, name: str, arn: str, attributes: Mapping[str, str], keeper: Keeper | None, clock: Callable[[], float]):
        self.name, self.arn = name, arn
        self.attributes = {"FifoQueue": "true", "VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", **attributes}
        self.dead_letters: FifoQueue | None = None
        self._keeper = keeper
        self._clock = clock
        self._made = clock()
        self._groups: dict[str, _Group] = {}
        self._ready: deque[str] = deque()
        self._returns: list[tuple[float, int, Stored]] = []
        """When messages that are held become visible again; an entry counts while its time is still the message's."""
        self._order = itertools.count()
        self._handles: dict[str, Stored] = {}
        self._known: dict[str, tuple[float, Stored]] = {}
        """Deduplication ids, old to new."""
        self._number = 0

    # --- sending ---

    def send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Result of SendMessage. A repeat within five minutes is accepted and not delivered again."""
        kept = _checked(request)
        now = self._clock()
        while self._known and next(iter(self._known.values()))[0] < now - DEDUPLICATION:
            del self._known[next(iter(self._known))]
        dedup = kept["MessageDeduplicationId"]
        if dedup in self._known:
            message = self._known[dedup][1]
        else:
            self._number += 1
            message = Stored(id=str(uuid.uuid4()), request=kept, sent=now, number=self._number)
            self._known[dedup] = (now, message)
            self.put(message)
        attributes = kept.get("MessageAttributes")
        return {
            "MessageId": message.id,
            "MD5OfMessageBody": _md5(kept["MessageBody"]),
            "SequenceNumber": f"{message.number:020d}",
            **({"MD5OfMessageAttributes": attributes_md5(attributes)} if attributes else {}),
        }

    def restore(self, id_: str, request: Mapping[str, Any], *, sent: float, receives: int) -> None:
        """Puts a message back that was stored before a restart; they come in their order."""
        self._number += 1
        message = Stored(id=id_, request=request, sent=sent, number=self._number, receives=receives)
        self._known[request["MessageDeduplicationId"]] = (sent, message)
        self._append(message)

    def put(self, message: Stored) -> None:
        """Appends a message to its group."""
        if self._keeper:
            self._keeper.stored(self.name, message)
        self._append(message)

    def _append(self, message: Stored) -> None:
        group = self._groups.setdefault(message.group, _Group())
        group.waiting.append(message)
        self._list(message.group, group)

    # --- receiving ---

    def receive(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Messages of ReceiveMessage, without waiting for any."""
        now = self._clock()
        self._come_back(now)
        most = int(request.get("MaxNumberOfMessages", 1))
        if not 1 <= most <= 10:
            raise QueueError(
                "InvalidParameterValue", f"Value {most} for parameter MaxNumberOfMessages is invalid. Reason: 1 to 10."
            )
        hides = _seconds(request.get("VisibilityTimeout", self.attributes["VisibilityTimeout"]))
        found: list[Stored] = []
        for _ in range(len(self._ready)):
            if len(found) == most:
                break
            name = self._ready.popleft()
            group = self._groups[name]
            group.listed = False
            self._drop(group, now)
            for message in list(group.waiting)[: most - len(found)]:
                message.receives += 1
                message.first_received = message.first_received or now
                message.hidden_until = now + hides
                message.handles.append(uuid.uuid4().hex)
                self._handles[message.handles[-1]] = message
                group.held.add(message.id)
                heapq.heappush(self._returns, (message.hidden_until, next(self._order), message))
                if self._keeper:
                    self._keeper.stored(self.name, message)
                found.append(message)
            self._tidy(name, group)
        return [_as_received(m, request) for m in found]

    def _drop(self, group: _Group, now: float) -> None:
        """Parks what was received too often, forgets what is too old."""
        most = int(json.loads(self.attributes.get("RedrivePolicy", "{}")).get("maxReceiveCount", 0))
        oldest = now - float(self.attributes["MessageRetentionPeriod"])
        while group.waiting:
            message = group.waiting[0]
            if message.sent < oldest:
                self._forget(group.waiting.popleft())
            elif most and self.dead_letters and message.receives >= most:
                self._release(group.waiting.popleft())
                message.dead_of, message.hidden_until = self.arn, 0.0
                self.dead_letters.put(message)
            else:
                return

    def next_return(self) -> float:
        """When the next message that is held becomes visible again, infinity where none is."""
        return self._returns[0][0] if self._returns else float("inf")

    def _come_back(self, now: float) -> None:
        while self._returns and self._returns[0][0] <= now:
            until, _, message = heapq.heappop(self._returns)
            if until == message.hidden_until:  # neither deleted nor hidden for longer meanwhile
                self._seen_again(message)

    def _seen_again(self, message: Stored) -> None:
        message.hidden_until = 0.0
        group = self._groups[message.group]
        group.held.discard(message.id)
        self._list(message.group, group, first=True)

    # --- what receivers say ---

    def delete(self, handle: str) -> None:
        """Removes the message; any handle that was given out for it will do."""
        if not (message := self._handles.get(handle)):
            return  # as SQS: deleted already
        self._forget(message)
        group = self._groups[message.group]
        group.held.discard(message.id)
        group.waiting.remove(message)  # among the first ten
        self._tidy(message.group, group)

    def hide(self, handle: str, seconds: object) -> None:
        """Makes the message visible after `seconds`, at once for 0."""
        lasting = _seconds(seconds)
        message = self._handles.get(handle)
        if message is None:
            raise QueueError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        now = self._clock()
        if message.hidden_until <= now:
            raise QueueError("MessageNotInflight", "The message referred to is not in flight.")
        if lasting:
            message.hidden_until = now + lasting
            heapq.heappush(self._returns, (message.hidden_until, next(self._order), message))
        else:
            self._seen_again(message)

    def purge(self) -> None:
        """Removes every message."""
        for group in self._groups.values():
            for message in group.waiting:
                self._forget(message)
        self._groups.clear()
        self._ready.clear()

    def described(self, names: Sequence[str]) -> dict[str, str]:
        """The attributes called `names`."""
        now = self._clock()
        self._come_back(now)
        hidden = sum(len(g.held) for g in self._groups.values())
        everything = {
            "QueueArn": self.arn,
            "ApproximateNumberOfMessages": str(sum(len(g.waiting) for g in self._groups.values()) - hidden),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
            "ApproximateNumberOfMessagesDelayed": "0",
            "CreatedTimestamp": str(int(self._made)),
            "LastModifiedTimestamp": str(int(self._made)),
            "MaximumMessageSize": str(LARGEST),
            "ContentBasedDeduplication": "false",
            **self.attributes,
        }
        return everything if "All" in names else {n: everything[n] for n in names if n in everything}

    # --- upkeep ---

    def _list(self, name: str, group: _Group, *, first: bool = False) -> None:
        if group.waiting and not group.held and not group.listed:
            group.listed = True
            (self._ready.appendleft if first else self._ready.append)(name)

    def _tidy(self, name: str, group: _Group) -> None:
        if not group.waiting and not group.listed:
            self._groups.pop(name, None)
        else:
            self._list(name, group)

    def _release(self, message: Stored) -> None:
        for handle in message.handles:
            self._handles.pop(handle, None)
        message.handles = []

    def _forget(self, message: Stored) -> None:
        self._release(message)
        message.hidden_until = -1.0
        if self._keeper:
            self._keeper.gone(message)


def _batch(queue: FifoQueue, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sends each of the entries, in order; one that is refused is named, and the others stand."""
    sent: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            sent.append({"Id": entry["Id"], **queue.send(entry)})
        except QueueError as error:
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": str(error)})
    return {"Successful": sent} | ({"Failed": failed} if failed else {})


class Fifo:
    """All queues of one account and region, for several threads."""

    def __init__(self, *, arn: str, keeper: Keeper | None = None, clock: Callable[[], float] = time.time) -> None:
        self._arn = arn
        self._keeper = keeper
        self._clock = clock
        self._queues: dict[str, FifoQueue] = {}
        self._changed = threading.Condition()

    def create(self, name: str, *, dead_letters: str = "", **attributes: str) -> FifoQueue:
        """Makes a queue; what it gives up goes to the one called `dead_letters`."""
        made = FifoQueue(name, f"{self._arn}:{name}", attributes, self._keeper, self._clock)
        made.dead_letters = self._queues[dead_letters] if dead_letters else None
        self._queues[name] = made
        return made

    def call(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The result of an action. Raises QueueError."""
        queue = self._queue(str(request.get("QueueUrl", "")).rpartition("/")[2])
        if action == "ReceiveMessage":
            return self._received(queue, request)
        with self._changed:
            try:
                return self._changing(action, queue, request)
            finally:
                self._changed.notify_all()

    def _changing(self, action: str, queue: FifoQueue, request: Mapping[str, Any]) -> dict[str, Any]:
        match action:
            case "SendMessage":
                return queue.send(request)
            case "SendMessageBatch":
                return _batch(queue, request["Entries"])
            case "DeleteMessage":
                queue.delete(request["ReceiptHandle"])
            case "ChangeMessageVisibility":
                queue.hide(request["ReceiptHandle"], request["VisibilityTimeout"])
            case "GetQueueAttributes":
                return {"Attributes": queue.described(request.get("AttributeNames", ["All"]))}
            case "SetQueueAttributes":
                queue.attributes |= request["Attributes"]
            case "PurgeQueue":
                queue.purge()
            case _:
                raise QueueError("UnsupportedOperation", f"{action} is not played on this machine.")
        return {}

    def _received(self, queue: FifoQueue, request: Mapping[str, Any]) -> dict[str, Any]:
        until = time.monotonic() + float(request.get("WaitTimeSeconds", 0))
        with self._changed:
            while True:
                if found := queue.receive(request):
                    return {"Messages": found}
                left = min(until - time.monotonic(), 20.0)
                if left <= 0:
                    return {}
                self._changed.wait(max(0.001, min(left, queue.next_return() - self._clock())))

    def _queue(self, name: str) -> FifoQueue:
        if name not in self._queues:
            raise QueueError("QueueDoesNotExist", "The specified queue does not exist.")
        return self._queues[name]


# --- messages on the wire ---


def _checked(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a message; raises QueueError for those that SQS refuses."""
    for name in ("MessageBody", "MessageGroupId", "MessageDeduplicationId"):
        if not request.get(name):
            raise QueueError("MissingParameter", f"The request must contain the parameter {name}.")
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if not _ID.fullmatch(request[name]):
            allowed = "can only include alphanumeric and punctuation characters. 1 to 128 in length."
            raise QueueError(
                "InvalidParameterValue", f"Value {request[name]} for parameter {name} is invalid. Reason: {name} {allowed}"
            )
    attributes = request.get("MessageAttributes", {})
    size = len(request["MessageBody"].encode())
    for name, value in attributes.items():
        content = value.get("StringValue") or value.get("BinaryValue") or ""
        if not content:
            raise QueueError("InvalidParameterValue", f"Message (user) attribute '{name}' must contain a non-empty value.")
        size += len(name) + len(value["DataType"]) + len(content.encode())
    if size > LARGEST:
        raise QueueError(
            "InvalidParameterValue", f"One or more parameters are invalid. Reason: Message must be shorter than {LARGEST} bytes."
        )
    if int(request.get("DelaySeconds", 0)):
        raise QueueError(
            "InvalidParameterValue", "The request include parameter that is not valid for this queue type: DelaySeconds."
        )
    return {k: v for k, v in request.items() if k.startswith("Message")}


def _as_received(message: Stored, request: Mapping[str, Any]) -> dict[str, Any]:
    kept = message.request
    system = {
        "SenderId": "AIDALOCAL",
        "SentTimestamp": str(int(message.sent * 1000)),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
        "SequenceNumber": f"{message.number:020d}",
        "MessageGroupId": message.group,
        "MessageDeduplicationId": kept["MessageDeduplicationId"],
        **{name: value["StringValue"] for name, value in kept.get("MessageSystemAttributes", {}).items()},
        **({"DeadLetterQueueSourceArn": message.dead_of} if message.dead_of else {}),
    }
    wanted = [*request.get("MessageSystemAttributeNames", ()), *request.get("AttributeNames", ())]
    shown = system if "All" in wanted else {n: v for n, v in system.items() if n in wanted}
    asked = request.get("MessageAttributeNames", ())
    own = {n: v for n, v in kept.get("MessageAttributes", {}).items() if "All" in asked or n in asked}
    return {
        "MessageId": message.id,
        "ReceiptHandle": message.handles[-1],
        "MD5OfBody": _md5(kept["MessageBody"]),
        "Body": kept["MessageBody"],
        **({"Attributes": shown} if shown else {}),
        **({"MessageAttributes": own, "MD5OfMessageAttributes": attributes_md5(own)} if own else {}),
    }


def attributes_md5(attributes: Mapping[str, Mapping[str, str]]) -> str:
    """Checksum of a message's attributes.

    Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    summed = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        text = "StringValue" in value
        for part in (name, value["DataType"]):
            summed.update(len(part.encode()).to_bytes(4, "big") + part.encode())
        content = value["StringValue"].encode() if text else base64.b64decode(value["BinaryValue"])
        summed.update((b"\1" if text else b"\2") + len(content).to_bytes(4, "big") + content)
    return summed.hexdigest()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _seconds(value: object) -> int:
    seconds = int(str(value))
    if not 0 <= seconds <= LONGEST_VISIBILITY:
        said = f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and {LONGEST_VISIBILITY}."
        raise QueueError("InvalidParameterValue", said)
    return seconds
