"""What administrators did: two items an act, written and never changed — that it was begun, and how it ended.

| item | pk | sk |
|---|---|---|
| an act | `AUDIT#tenant#<month>` | `<ms since 1970>#<id>`, and the same with `#end` |

| the newest entry, once more | `AUDIT#tenant` | `head` |

An act that ended nowhere (the process died) stands as `begun`. Never what a person wrote, only ids.

Each entry has a number and a digest of itself and of the digest before it, so that one that is changed, taken out or put in
between shows: `verify` names it. Whoever could write the whole table could write a whole new chain as well; for that case each
digest also stands in the log, where nobody can take it back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from assistant.errors import AssistantError, InvalidSetting, Unavailable
from assistant.observability import log
from assistant.storage import Conflict, Item, Table, Value, key

logger = logging.getLogger(__name__)

KEPT_DAYS: Final = 730
TRIES: Final = 40
"""Of an entry, while others do something at the same moment."""
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
        pk, sk = self._place(act, stamp=day)
        if not self._table.query(pk, prefix=sk, limit=1):  # else another instance has noted it today
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

    def verify(self) -> Sequence[str]:
        """What is wrong with the log, a line each; empty where every entry stands as it was written."""
        entries: dict[int, Item] = {}
        loose = []
        for month in _months(self._now(), KEPT_DAYS):
            for item in self._table.query(key("AUDIT", self._tenant, month)):
                if item.get("n"):
                    entries[int(item["n"] or 0)] = item
                else:
                    loose.append(item)
        head = self._table.get(key("AUDIT", self._tenant), "head") or {}
        if (last := _read(head)) and int(head.get("n") or 0) not in entries:
            entries[int(head.get("n") or 0)] = last  # its own item is written with the next one at the latest
        wrong = []
        begin = min(entries, default=1)
        since = int(entries[begin].get("at") or 0) if entries else self._now()
        wrong += [f"{_named(i)}: no number; it was put in" for i in loose if int(i.get("at") or 0) > since]
        before = ""
        for n in range(begin, int(head.get("n") or 0) + 1):
            if (entry := entries.get(n)) is None:
                wrong.append(f"entry {n} is missing")
                before = ""
                continue
            known = before or n == 1
            if known and entry.get("chain") != _chained(before, entry):
                wrong.append(f"entry {n} ({_named(entry)}) was changed")
            before = str(entry.get("chain") or "")
        wrong += [f"entry {n} is newer than the newest" for n in entries if n > int(head.get("n") or 0)]
        return wrong

    def _place(self, act: Act, *, stamp: int) -> tuple[str, str]:
        """Key of the act's item."""
        month = time.strftime("%Y-%m", time.gmtime((stamp or act.at) / 1000))
        sk = f"{stamp or act.at:013d}#{act.id}" + ("" if act.outcome == "begun" else "#end")
        return key("AUDIT", self._tenant, month), sk

    def _append(self, act: Act, *, stamp: int = 0) -> None:
        """Four small calls: the head, the newest entry once more, the new head, the new entry. Raises Unavailable."""
        pk, sk = self._place(act, stamp=stamp)
        values: Mapping[str, str | int | None] = {
            "who": act.who,
            "what": act.what,
            "target": act.target or None,
            "why": act.why or None,
            "outcome": act.outcome,
            "at": act.at,
        }
        where = key("AUDIT", self._tenant)
        for _ in range(TRIES):
            head = self._table.get(where, "head") or {}
            if last := _read(head):
                with suppress(Conflict):  # it stands; else whoever wrote the head ended before it wrote the entry
                    self._table.put(last, condition="attribute_not_exists(#pk)")
            n = int(head.get("n") or 0) + 1
            item = {"pk": pk, "sk": f"{sk}#{n}" if stamp else sk, **values, "n": n, "expires": act.at // 1000 + KEPT_DAYS * 86400}
            item["chain"] = _chained(str(head.get("chain") or ""), item)
            try:
                self._table.put(
                    {"pk": where, "sk": "head", "n": n, "chain": item["chain"], "body": json.dumps(item)},
                    condition="attribute_not_exists(#pk) OR #n = :n",
                    values={"n": n - 1},
                )
            except Conflict:
                continue  # somebody else did something at this moment; theirs comes first
            with suppress(Conflict):  # written by whoever came next
                self._table.put(item, condition="attribute_not_exists(#pk)")
            log(logger, logging.INFO, "audit entry", event_action=act.what, event_sequence=n, event_hash=item["chain"])
            return
        raise Unavailable("the audit log is busy; try again in a moment")

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _chained(before: str, entry: Item) -> str:
    """The digest of an entry and of the digest before it."""
    content = {k: v for k, v in entry.items() if k != "chain" and v is not None}
    whole = f"{before}\n{json.dumps(content, sort_keys=True, ensure_ascii=False)}"
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()


def _read(head: Item) -> Item:
    """The newest entry, as the head has it; empty where there is none."""
    found: dict[str, Value] = json.loads(str(head["body"])) if head.get("body") else {}
    return found


def _named(entry: Item) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(int(entry.get("at") or 0) / 1000))
    return f"{at} {entry.get('who', '')!s} {entry.get('what', '')!s}".strip()


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
