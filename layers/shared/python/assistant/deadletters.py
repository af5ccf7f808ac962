"""What could not be answered: read by an operator, and put back into the queue."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from assistant.errors import Refused
from assistant.messages import message_from_json
from assistant.queue import group_id
from assistant.worker import describe

if TYPE_CHECKING:
    from botocore.client import BaseClient


class DeadLetters:
    """The queue of dead letters. While a look goes on, its letters are hidden from others for at most `LOOK_SECONDS`."""

    LOOK_SECONDS = 20

    def __init__(self, url: str, *, turns_url: str, client: BaseClient) -> None:
        self._url = url
        self._turns_url = turns_url
        self._client: Any = client

    def list(self, *, limit: int = 200) -> builtins.list[dict[str, Any]]:
        """Up to `limit` letters: who, where, when and why; never what was written."""
        letters = builtins.list(islice(self._all(), limit))
        for letter in letters:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=letter["ReceiptHandle"], VisibilityTimeout=0)
        return sorted((describe(letter) for letter in letters), key=lambda letter: letter["sent_at"] or 0)

    def open(self, id_: str) -> dict[str, Any]:
        """One letter with what was written. Raises Refused (404) for one that is not there."""
        letters = builtins.list(self._all())
        for letter in letters:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=letter["ReceiptHandle"], VisibilityTimeout=0)
        found = next((letter for letter in letters if letter["MessageId"] == id_), None)
        if found is None:
            raise Refused(f"no dead letter {id_[:80]!r}; it may have been replayed", status=404)
        try:
            text = message_from_json(found["Body"]).text
        except ValueError:
            text = ""
        return {**describe(found), "text": text}

    def replay(self, ids: frozenset[str], *, every: bool = False) -> dict[str, builtins.list[str]]:
        """Puts letters back into the queue, each before it is removed here, so that none is lost; gives what was done."""
        replayed, others = [], []
        for letter in self._all():
            id_ = letter["MessageId"]
            if every or id_ in ids or any(id_.startswith(short) for short in ids if len(short) >= 8):
                self._again(letter)
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=letter["ReceiptHandle"])
                replayed.append(id_)
            else:
                others.append(letter["ReceiptHandle"])
        for handle in others:  # seen by the next look at once, and not only when this one's time is over
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=0)
        missing = [i for i in ids if not any(r.startswith(i) for r in replayed)]
        return {"replayed": replayed, "missing": missing}

    def forget(self, platform: str, user: str) -> int:
        """Removes the letters that this person wrote; gives how many there were."""
        gone, others = 0, []
        for letter in self._all():
            written = describe(letter)
            if (written["platform"], written["sender"]) == (platform, user):
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=letter["ReceiptHandle"])
                gone += 1
            else:
                others.append(letter["ReceiptHandle"])
        for handle in others:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=0)
        return gone

    def _again(self, letter: Mapping[str, Any]) -> None:
        try:
            group = group_id(message_from_json(letter["Body"]))
        except ValueError:
            group = "unreadable"
        self._client.send_message(
            QueueUrl=self._turns_url,
            MessageBody=letter["Body"],
            MessageGroupId=group,
            MessageDeduplicationId=f"replay-{uuid.uuid4().hex}",
        )

    def _all(self) -> Iterator[dict[str, Any]]:
        """Every letter once."""
        seen: set[str] = set()
        while True:
            letters = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=self.LOOK_SECONDS,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", [])
            fresh = [letter for letter in letters if letter["MessageId"] not in seen]
            if not fresh:
                return
            for letter in fresh:
                seen.add(letter["MessageId"])
                yield letter
