"""The stored conversations of everybody, for an administrator who has a reason to look: found, read, exported, erased.

Conversations are found in the directory that `people` keeps, newest first, and never by reading the whole table. The list names
ids and times; what was written comes only out of `read` and a search by words.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import Refused
from assistant.storage import Item, Table, key

if TYPE_CHECKING:
    from assistant.people import Entry, People
    from assistant.privacy import Privacy

PAGE: Final = 25
SECONDS: Final = 10.0
"""A search by words ends after about this long and says where to go on."""
LOOKED_AT: Final = 100
"""Newest turns of a conversation that a search by words reads."""
EXTRACT: Final = 160


@dataclass(slots=True)
class Listed:
    """A page of conversations; `cursor` asks for the next one, empty at the end."""

    conversations: list[dict[str, Any]] = field(default_factory=list)
    cursor: str = ""


class Archive:
    """Finds, reads and erases conversations of one tenant. Raises Unavailable where the table does not answer."""

    def __init__(
        self,
        table: Table,
        *,
        people: People,
        privacy: Callable[[], Privacy],
        tenant: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._people = people
        self._privacy = privacy
        self._tenant = tenant
        self._clock = clock

    def find(self, *, person: str = "", platform: str = "", words: str = "", cursor: str = "", limit: int = PAGE) -> Listed:
        """Conversations of a person (`PLATFORM:USER`, or the user alone), on a platform, with `words` in them."""
        found, wanted = Listed(), words.casefold().split()
        until = self._clock() + SECONDS
        seen: set[str] = set()
        while True:
            entries = self._people.directory(self._tenant, after=cursor, limit=4 * limit)
            for entry in entries:
                if len(found.conversations) >= limit or self._clock() >= until:
                    found.cursor = cursor
                    return found
                cursor = entry.sk
                if not _fits(entry, person, platform) or entry.turns in seen:
                    continue
                seen.add(entry.turns)
                if shown := self._shown(entry, wanted):
                    found.conversations.append(shown)
            if len(entries) < 4 * limit:
                return found

    def read(self, id_: str, *, after: str = "", limit: int = 100) -> dict[str, Any]:
        """Turns in order, and the cursor for the next ones. Raises Refused (404) for what is no conversation of this tenant."""
        turns, _ = self._place(id_)
        items = self._table.query(turns, after=after or "turn#", limit=limit)
        given = [i for i in items if str(i["sk"]).startswith("turn#")]
        more = len(items) == limit and len(given) == len(items)
        return {
            "conversation": turns,
            "turns": [_turn(i) for i in given],
            "cursor": str(given[-1]["sk"]) if more and given else "",
        }

    def erase(self, id_: str, *, cursor: str = "") -> dict[str, Any]:
        """Deletes all of it with its traces, from `cursor` on."""
        turns, arrivals = self._place(id_)
        part = self._privacy().erase_conversation(turns, arrivals, tenant=self._tenant, cursor=cursor)
        return {"erased": part.erased, "cursor": part.cursor}

    def name(self, id_: str) -> str:
        """The conversation as the audit log names it: ids, and nothing that was written."""
        return self._place(id_)[0]

    def _place(self, id_: str) -> tuple[str, str]:
        try:
            turns, arrivals = json.loads(base64.urlsafe_b64decode(id_ + "=" * (-len(id_) % 4)))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            turns = arrivals = None
        own = isinstance(turns, str) and isinstance(arrivals, str)
        if not own or not turns.startswith(key("C", self._tenant) + "#") or not arrivals.startswith(key("D", self._tenant) + "#"):
            raise Refused("no such conversation; look for it in the list", status=404)
        return turns, arrivals

    def _shown(self, entry: Entry, wanted: Sequence[str]) -> dict[str, Any] | None:
        """The line of the list; None where the words are not in it, or nothing is left of it."""
        newest = self._table.query(entry.turns, prefix="turn#", descending=True, limit=LOOKED_AT if wanted else 1)
        if not newest:
            return None
        last = json.loads(str(newest[0].get("body") or "{}"))
        extract = _extract(newest, wanted) if wanted else ""
        if wanted and not extract:
            return None
        return {
            "id": _id(entry.turns, entry.arrivals),
            "platform": entry.platform,
            "person": entry.user,
            "conversation": entry.turns.split("#", 3)[-1],
            "at": last.get("at", 0),
            "extract": extract,
        }


def _id(turns: str, arrivals: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([turns, arrivals], ensure_ascii=False).encode()).rstrip(b"=").decode()


def _fits(entry: Entry, person: str, platform: str) -> bool:
    return platform in ("", entry.platform) and person in ("", entry.user, f"{entry.platform}:{entry.user}")


def _extract(turns: Sequence[Item], wanted: Sequence[str]) -> str:
    """What stands around the words in the newest turn that has all of them."""
    for item in turns:
        body = json.loads(str(item.get("body") or "{}"))
        for text in (str(body.get("question") or ""), str((body.get("reply") or {}).get("text") or "")):
            folded = text.casefold()
            if all(word in folded for word in wanted):
                start = max(0, folded.find(wanted[0]) - EXTRACT // 3)
                return ("…" if start else "") + text[start : start + EXTRACT] + ("…" if len(text) > start + EXTRACT else "")
    return ""


def _turn(item: Item) -> dict[str, Any]:
    body = json.loads(str(item.get("body") or "{}"))
    reply = body.get("reply") or {}
    return {
        "at": body.get("at", 0),
        "user": body.get("user", ""),
        "kind": body.get("kind", "text"),
        "question": body.get("question", ""),
        "state": item.get("state"),
        "text": reply.get("text", "") or str(item.get("text") or ""),
        "sources": [s.get("title", "") for s in reply.get("sources", ())],
        "model": body.get("model", ""),
        "reason": body.get("reason", ""),
    }
