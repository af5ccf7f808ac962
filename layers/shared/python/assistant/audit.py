"""What administrators did: two items an act, written and never changed — that it was begun, and how it ended.

| item | pk | sk |
|---|---|---|
| an act | `AUDIT#tenant#<month>` | `<ms since 1970>#<id>`, and the same with `#end` |

An act that ended nowhere (the process died) stands as `begun`. Never what a person wrote, only ids.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from assistant.errors import AssistantError, InvalidSetting
from assistant.observability import log
from assistant.storage import Conflict, Item, Table, key

logger = logging.getLogger(__name__)

KEPT_DAYS: Final = 730
LOOKS: Final = 100
MOST_LOOKS: Final = 5_000
"""A page with a filter ends after having looked at this many items, and says where to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One administrative act."""

    id: str
    at: int
    """When it was begun, ms since 1970."""
    who: str
    """Id of the key."""
    what: str
    target: str = ""
    why: str = ""
    """What the administrator gave as the reason."""
    outcome: str = "begun"
    """`begun`, `done`, or `refused: NAME` and `failed: NAME` with the name of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some acts, and where the next page begins; an empty cursor: nowhere."""

    acts: Sequence[Act]
    cursor: str = ""


@dataclass(slots=True)
class Ended:
    """How an act ends, where it does so without an error; the act may say otherwise."""

    outcome: str = "done"


class Audit:
    """Appends and reads; there is nothing here that changes or removes."""

    def __init__(self, table: Table, *, tenant: str = "default", clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._tenant = tenant
        self._clock = clock
        self._reads: set[tuple[str, str, int]] = set()

    @contextmanager
    def act(self, who: str, what: str, target: str = "", *, why: str = "") -> Iterator[Ended]:
        """Notes the act that happens inside the `with` block. Raises Unavailable, before it happens, where it cannot be noted."""
        act = Act(id=uuid.uuid4().hex[:12], at=self._now(), who=who, what=what, target=target[:300], why=why[:500])
        self._append(act)
        ended = Ended()
        try:
            yield ended
        except AssistantError as error:
            self._end(act, f"refused: {type(error).__name__}")
            raise
        except BaseException as error:
            self._end(act, f"failed: {type(error).__name__}")
            raise
        self._end(act, ended.outcome)

    def read(self, who: str, conversation: str) -> None:
        """Notes that `who` read a conversation, once a day for each conversation; one call the first time in a process."""
        now = self._now()
        day = now - now % 86_400_000
        if (seen := (who, conversation, day)) in self._reads:
            return
        digest = hashlib.sha256(f"{who}\n{conversation}".encode("utf-8", "replace")).hexdigest()[:12]
        act = Act(id=digest, at=now, who=who, what="read conversation", target=conversation[:300], outcome="done")
        with suppress(Conflict):  # another instance has noted it today
            self._append(act, stamp=day)
        if len(self._reads) > 10_000:
            self._reads.clear()
        self._reads.add(seen)

    def page(self, *, limit: int = 100, before: str = "", who: str = "", what: str = "", outcome: str = "") -> Page:
        """Acts, newest first, whose key, words or outcome begin so; `before`: the cursor of the page before.

        Raises InvalidSetting for what is no cursor.
        """
        start, _, last = before.partition("/")
        months = list(_months(self._now(), KEPT_DAYS))
        if before and start not in months:
            raise InvalidSetting(f"cursor {before!r} is none of ours; begin without one")
        found: list[Act] = []
        ended: set[tuple[int, str]] = set()
        if given := re.fullmatch(r"(\d{13})#(.+)#end", last):  # the page before ended with how this act ended
            ended.add((int(given[1]), given[2]))
        looked = 0
        for month in months[months.index(start) if before else 0 :]:
            pk, at = key("AUDIT", self._tenant, month), last if month == start else ""
            while True:
                items = self._table.query(pk, limit=LOOKS, descending=True, before=at)
                for item in items:
                    if len(found) == limit or looked >= MOST_LOOKS:
                        return Page(acts=found, cursor=f"{month}/{at}")
                    act, at, looked = _act(item), str(item["sk"]), looked + 1
                    if act.outcome != "begun":
                        ended.add((act.at, act.id))
                    elif (act.at, act.id) in ended:
                        continue  # its end has been given
                    if act.who.startswith(who) and what in act.what and act.outcome.startswith(outcome):
                        found.append(act)
                if len(items) < LOOKS:
                    break
        return Page(acts=found)

    def list(self, *, limit: int = 100) -> list[Act]:
        """The newest acts, newest first."""
        acts: dict[tuple[int, str], Act] = {}
        for month in _months(self._now(), KEPT_DAYS):
            for item in self._table.query(key("AUDIT", self._tenant, month), limit=2 * limit, descending=True):
                act = _act(item)
                acts.setdefault((act.at, act.id), act)  # how it ended sorts after that it was begun, so it comes first here
            if len(acts) >= limit:
                break
        return sorted(acts.values(), key=lambda a: (a.at, a.id), reverse=True)[:limit]

    def _end(self, act: Act, outcome: str) -> None:
        try:
            self._append(replace(act, outcome=outcome))
        except AssistantError as error:  # it has happened, and stands as begun: to refuse it now would be a lie
            log(
                logger,
                logging.ERROR,
                "the end of an act is not in the audit log",
                event_action=act.what,
                error_type=type(error).__name__,
            )

    def _append(self, act: Act, *, stamp: int = 0) -> None:
        month = time.strftime("%Y-%m", time.gmtime((stamp or act.at) / 1000))
        values: Mapping[str, str | int | None] = {
            "who": act.who,
            "what": act.what,
            "target": act.target or None,
            "why": act.why or None,
            "outcome": act.outcome,
            "at": act.at,
        }
        sk = f"{stamp or act.at:013d}#{act.id}" + ("" if act.outcome == "begun" else "#end")
        self._table.put(
            {"pk": key("AUDIT", self._tenant, month), "sk": sk, **values, "expires": act.at // 1000 + KEPT_DAYS * 86400},
            condition="attribute_not_exists(#pk)",
        )

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _months(start_ms: int, days: int) -> Iterator[str]:
    """Months from that of `start_ms` back over `days`."""
    year, month = time.gmtime(start_ms / 1000)[:2]
    for _ in range(days // 30 + 2):
        yield f"{year:04d}-{month:02d}"
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def _act(item: Item) -> Act:
    return Act(
        id=str(item["sk"]).split("#")[1],
        at=int(item.get("at") or 0),
        who=str(item.get("who", "")),
        what=str(item.get("what", "")),
        target=str(item.get("target") or ""),
        why=str(item.get("why") or ""),
        outcome=str(item.get("outcome", "begun")),
    )
