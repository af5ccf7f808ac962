"""Where a person has written, so that all of it can be found without looking through everything; and who was met before.

| item | pk | sk |
|---|---|---|
| a conversation that a person wrote in | `Y#platform#user` | `in#tenant#<digest of the conversation's partition>` |
| that a person was told what happens to their words | same | `consent#tenant` |
| the same in the directory of all, the newest first | `V#tenant` | `<99999 - day>#<digest of person and conversation>` |

A turn carries the day on which its author was last noted there, so the next turn of the same person knows without a call; it is
noted again every `AGAIN_DAYS`, and outlives the turns by that much.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from assistant.storage import Conflict, Table, key

if TYPE_CHECKING:
    from assistant.messages import Message

AGAIN_DAYS: Final = 30
MOST_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A conversation that a person wrote in: the partitions of its turns and of its arrival times."""

    tenant: str
    turns: str
    arrivals: str
    sk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the directory: who wrote in which conversation."""

    sk: str
    platform: str
    user: str
    turns: str
    arrivals: str


def partition(platform: str, user: str) -> str:
    """Where the places of a person stand."""
    return key("Y", platform, user)


def place_key(tenant: str, turns: str) -> str:
    """Sort key of the place with these turns."""
    return f"{key('in', tenant)}#{hashlib.sha256(turns.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _line(day: int, person: str, turns: str) -> str:
    """Sort key in the directory: days count down, so that the newest stand first."""
    both = f"{person}\n{turns}".encode("utf-8", "replace")
    return f"{99999 - day:05d}#{hashlib.sha256(both).hexdigest()[:32]}"


class People:
    """Notes and finds places. Safe to use from several threads."""

    def __init__(
        self, table: Table, *, retention_days: int = 180, informs: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._retention = retention_days
        self._informs = informs
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()

    def meet(self, message: Message, *, turns: str, noted: int, turn: str) -> tuple[int, bool]:
        """The day on which it was noted that the sender writes in the conversation with partition `turns`, and whether they have
        to be told now what happens to their words.

        `noted`: the day as their last turn there has it, 0 where there is none. No call while that is not long ago.
        """
        if not message.sender:
            return 0, False
        today = int(self._clock() // 86400)
        person = partition(message.platform, message.sender)
        with self._lock:
            noted = max(noted, self._known.get((person, turns), 0))
        if today - noted < AGAIN_DAYS:
            return noted, False
        first = self._informs and not noted and self._is_first(person, message.tenant, turn)
        arrivals = key("D", message.tenant, message.platform, message.topic)
        body = json.dumps({"tenant": message.tenant, "turns": turns, "arrivals": arrivals}, ensure_ascii=False)
        ends = (today + self._retention + 2 * AGAIN_DAYS) * 86400
        sk = place_key(message.tenant, turns)
        before = self._table.get(person, sk)
        entry = {"platform": message.platform, "user": message.sender, "turns": turns, "arrivals": arrivals}
        line = _line(today, person, turns)
        directory = key("V", message.tenant)
        self._table.put({"pk": directory, "sk": line, "body": json.dumps(entry, ensure_ascii=False), "expires": ends})
        self._table.put({"pk": person, "sk": sk, "body": body, "line": line, "expires": ends})
        if before and before.get("line") not in (None, line):
            self._table.delete(directory, str(before["line"]))
        with self._lock:
            self._known[person, turns] = today
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return today, first

    def directory(self, tenant: str, *, after: str = "", limit: int = 100) -> Sequence[Entry]:
        """Conversations of all people, those noted last first; `after`: `sk` of the last one seen."""
        items = self._table.query(key("V", tenant), after=after, limit=limit)
        return [Entry(sk=str(i["sk"]), **json.loads(str(i["body"]))) for i in items]

    def forget(self, platform: str, user: str, tenant: str, turns: str) -> None:
        """Takes a conversation off the person's places and out of the directory."""
        person, sk = partition(platform, user), place_key(tenant, turns)
        if (item := self._table.get(person, sk)) and item.get("line"):
            self._table.delete(key("V", tenant), str(item["line"]))
        self._table.delete(person, sk)
        with self._lock:
            self._known.pop((person, turns), None)

    def places(self, platform: str, user: str) -> Sequence[Place]:
        """Every conversation that the person wrote in, in a steady order."""
        items = self._table.query(partition(platform, user), prefix="in#")
        return [Place(sk=str(i["sk"]), **json.loads(str(i["body"]))) for i in items]

    def _is_first(self, person: str, tenant: str, turn: str) -> bool:
        """Whether nobody has told this person yet; the same for every delivery of the message."""
        item: dict[str, str | int] = {"pk": person, "sk": key("consent", tenant), "turn": turn, "at": int(self._clock())}
        try:
            self._table.put(item, condition="attribute_not_exists(#pk) OR #turn = :turn", values={"turn": turn})
        except Conflict:
            return False
        return True
