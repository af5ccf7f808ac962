"""All that is known about one person: given to them, or erased.

Nothing is looked for by reading everything: each step is a query of a known partition.

| what | how it is found |
|---|---|
| conversations | `Y#platform#user`, kept by `people`, with their lines in the directory of all |
| turns | in each of those conversations, the turns with this author; with each turn the traces of a recall and of an approval |
| arrival times of messages | under the same key as the turn, in the conversation's `D#` partition |
| facts, spending, tokens, requests that wait for consent | `U#tenant#platform#user` |
| the one polite word to outsiders, seats in rings | `O#platform#user`, `SEATS#tenant#ring` |
| what was passed on to a support chat | by the case that their turns name: the case, and the turns in the support chat |
| lines of logs that name them | deleted in the search of logs, within a day: noted under `FORGET#tenant` until then |
| a plug-in's values | the names that it declares as personal |
| messages that could not be answered | by their author, among the dead letters |
| an unanswered question in the editors' list | by its words |

What ends by itself within a day is left to end: snapshots of streams, proofs of signatures, copies of vendors' tokens, reminders
of open forms. Logs hold ids and no words; their archive ends by its own retention. The audit log and the rings' lists of people
are the administrators' own and are not touched.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from assistant.errors import InvalidSetting
from assistant.nlu.context import contextualise
from assistant.people import Place, partition
from assistant.rollout.rings import ORDER
from assistant.storage import Item, Table, key

if TYPE_CHECKING:
    from assistant.knowledge.gaps import Gaps
    from assistant.people import People

PAGE: Final = 200
"""Turns of a conversation that are read at once."""
SECONDS: Final = 15.0
"""After about this long a step ends and says where to go on: API Gateway gives a function 30 s."""
CHARACTERS: Final = 1_500_000
"""Of JSON in one answer: a function may give 6 MB."""

FORGET_SECONDS: Final = 3 * 86400
"""The search of logs is asked to forget for so long; it looks once a day."""

Eraser = Callable[[str, str, str], None]
"""Called with tenant, platform and user before the rest is erased, to end what stands elsewhere."""


@dataclass(slots=True)
class Part:
    """A part of somebody's data, or of its erasure; `cursor` asks for the next one, empty at the end."""

    cursor: str = ""
    turns: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    """Everything but the turns; in the last part."""
    erased: int = 0
    """Items deleted in this part."""


class Privacy:
    """Exports and erases, part by part; a step that is repeated does no harm."""

    def __init__(
        self,
        table: Table,
        *,
        people: People,
        gaps: Gaps | None = None,
        rooms: Callable[[], Mapping[str, tuple[str, Sequence[str]]]] = dict,
        erasers: Sequence[Eraser] = (),
        tenant: str = "default",
        searches_logs: bool = False,
        seconds: float = SECONDS,
        page: int = PAGE,
    ) -> None:
        self._table = table
        self._people = people
        self._gaps = gaps
        self._rooms = rooms
        self._erasers = tuple(erasers)
        self._tenant = tenant
        self._searches_logs = searches_logs
        self._seconds = seconds
        self._page = page

    def export(self, person: str, *, tenant: str = "", cursor: str = "") -> Part:
        """What is known about `platform:user`, from `cursor` on. Raises InvalidSetting for what is no person."""
        part, who, size = Part(), self._who(person, tenant), 0
        for place, item, question, _ in self._turns(who, cursor, part):
            turn = _public(place, item, question)
            size += len(json.dumps(turn, ensure_ascii=False))
            part.turns.append(turn)
            if size > CHARACTERS:
                part.cursor = json.dumps([place.sk, str(item["sk"])])
                return part
        if not part.cursor:
            part.about = self._about(who)
        return part

    def erase(self, person: str, *, tenant: str = "", cursor: str = "") -> Part:
        """Deletes it, from `cursor` on; where the person wrote is forgotten last, so that nothing is lost sight of on the way.

        Raises InvalidSetting for what is no person, Unavailable where the table does not answer: repeat it then.
        """
        part, who = Part(), self._who(person, tenant)
        if not cursor:
            for eraser in self._erasers:
                eraser(*who)
        for place, item, question, whole in self._turns(who, cursor, part):
            part.erased += self._erase_turn(who, place, item, {question, whole})
        if part.cursor:
            return part
        part.erased += self._erase_about(who)
        if self._searches_logs:
            now = int(time.time())
            note: Item = {"body": json.dumps([who[2]]), "at": now, "expires": now + FORGET_SECONDS}
            self._table.put({"pk": key("FORGET", self._tenant), "sk": key(*who[1:]), **note})
        for place in self._places(who):
            self._table.delete(place.turns, "~about")  # what the conversation knows was made of the person's words too
            self._people.forget(*who[1:], who[0], place.turns)
            part.erased += 1
        return part

    def erase_conversation(self, turns: str, arrivals: str, *, tenant: str, cursor: str = "") -> Part:
        """Deletes one conversation of whoever wrote in it, from `cursor` on, and takes it off their places."""
        part, platform = Part(), unquote(turns.split("#")[2])
        place = Place(tenant=tenant, turns=turns, arrivals=arrivals, sk="")
        until, asked, last = time.monotonic() + self._seconds, list[str](), _position(cursor)[1] or "turn#"
        while True:
            items = self._table.query(turns, after=last, limit=self._page)
            for item in items:
                last = str(item["sk"])
                if last.startswith("turn#"):
                    body = json.loads(str(item.get("body") or "{}"))
                    user, question = str(body.get("user", "")), str(body.get("question", ""))
                    whole = contextualise(question, asked[-3:]) if question else ""
                    self._people.forget(platform, user, tenant, turns)
                    part.erased += self._erase_turn((tenant, platform, user), place, item, {question, whole})
                    asked = [*asked[-2:], question] if question else asked
                else:
                    part.erased += self._drop(turns, last)
            if len(items) < self._page:
                return part
            if time.monotonic() >= until:
                part.cursor = json.dumps(["", last])
                return part

    # --- where things are ---

    def _who(self, person: str, tenant: str) -> tuple[str, str, str]:
        platform, _, user = person.partition(":")
        if not platform or not user:
            raise InvalidSetting(f"person {person!r} must be PLATFORM:USER, as slack:U123")
        tenants = sorted({place.tenant for place in self._people.places(platform, user)})
        if not tenant and len(tenants) > 1:
            raise InvalidSetting(f"{person} wrote in several companies; name one of them: {', '.join(tenants)}")
        return tenant or (tenants[0] if tenants else self._tenant), platform, user

    def _places(self, who: tuple[str, str, str]) -> list[Place]:
        return [p for p in self._people.places(*who[1:]) if p.tenant == who[0]]

    def _turns(self, who: tuple[str, str, str], cursor: str, part: Part) -> Iterator[tuple[Place, Item, str, str]]:
        """The person's turns with the question, as it was and made whole; sets `part.cursor` where time is up."""
        until = time.monotonic() + self._seconds
        at, after = _position(cursor)
        for place in self._places(who):
            if place.sk < at:
                continue
            last = after if place.sk == at and after else "turn#"
            asked: list[str] = []
            while True:
                items = self._table.query(place.turns, after=last, limit=self._page)
                for item in items:
                    last = str(item["sk"])
                    if not last.startswith("turn#"):
                        break
                    body = json.loads(str(item.get("body") or "{}"))
                    question = str(body.get("question", ""))
                    if body.get("user") == who[2]:
                        yield place, item, question, contextualise(question, asked[-3:]) if question else ""
                    asked = [*asked[-2:], question] if question else asked
                if len(items) < self._page or not last.startswith("turn#"):
                    break
                if time.monotonic() >= until:
                    part.cursor = json.dumps([place.sk, last])
                    return

    # --- giving ---

    def _about(self, who: tuple[str, str, str]) -> dict[str, Any]:
        about: dict[str, Any] = {"person": f"{who[1]}:{who[2]}", "tenant": who[0], "facts": [], "spent": {}, "allowed": {}}
        for item in self._table.query(key("U", *who)):
            kind, _, rest = str(item["sk"]).partition("#")
            match kind:
                case "facts":
                    about["facts"] = json.loads(str(item["body"]))
                case "spent":
                    about["spent"][rest] = {"tokens": item.get("tokens"), "money": float(item.get("micros") or 0) / 1e6}
                case "zone":
                    about["timezone"] = str(item.get("zone") or "")
                case "token":
                    about["allowed"][rest] = {"state": item.get("state"), **json.loads(str(item.get("body") or "{}"))}
        about["plugins"] = {
            name: values
            for name in self._rooms()
            if (values := {str(i["sk"]): json.loads(str(i["body"])) for _, i in self._kept(who, name)})
        }
        told = self._table.get(partition(*who[1:]), key("consent", who[0]))
        about["informed"] = int(told.get("at") or 0) if told else 0
        about["summaries"] = [text for place in self._places(who) if (text := self._summary(place, who[2]))]
        return about

    def _summary(self, place: Place, user: str) -> str:
        """What a long conversation amounts to, where it is the person's alone; empty otherwise: it holds others' words too."""
        if (item := self._table.get(place.turns, "~about", consistent=False)) is None:
            return ""
        newest = self._table.query(place.turns, prefix="turn#", descending=True, limit=self._page)
        writers = {str(json.loads(str(i.get("body") or "{}")).get("user", "")) for i in newest}
        return str(json.loads(str(item["body"])).get("summary", "")) if writers <= {user, ""} else ""

    def _kept(self, who: tuple[str, str, str], plugin: str) -> Iterator[tuple[str, Item]]:
        room, names = self._rooms()[plugin]
        for pattern in names:
            name = pattern.replace("{platform}", who[1]).replace("{user}", who[2])
            if name.endswith("*"):
                yield from ((room, item) for item in self._table.query(room, prefix=name[:-1]))
            elif item := self._table.get(room, name):
                yield room, item

    # --- erasing ---

    def _erase_turn(self, who: tuple[str, str, str], place: Place, item: Item, questions: set[str]) -> int:
        sk = str(item["sk"])
        body = json.loads(str(item.get("body") or "{}"))
        by_id = key("M", who[0], who[1], str(body.get("message_id", "")))
        traces = [
            (place.arrivals, sk.split("#", 2)[2]),
            (by_id, "turn"),
            (by_id, "gone"),
            (place.turns, f"~gone#{body.get('message_id', '')}"),
        ]
        if approval := body.get("after", {}).get("approval"):
            traces.append((key("W", str(approval.get("id", ""))), "act"))
        if person := body.get("after", {}).get("person"):
            traces += self._passed_on(who, place, sk, person)
        if self._gaps:
            for text in questions:
                self._gaps.withdraw(text)
        for trace in traces:
            self._table.delete(*trace)
        return self._drop(place.turns, sk)  # last: while it stands, its traces can be found again

    def _passed_on(self, who: tuple[str, str, str], place: Place, sk: str, person: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The case of a person who was passed on, and what of this turn stands in the support chat; in both their words."""
        platform, _, conversation = str(person.get("desk", "")).partition(":")
        traces = [(key("H", platform, conversation), f"case#{person.get('case', '')}")]
        relayed = key("relay", hashlib.sha256(f"{place.turns}\n{sk}".encode("utf-8", "replace")).hexdigest()[:32])
        for tenant in dict.fromkeys((who[0], self._tenant)):
            arrivals = key("D", tenant, platform, conversation)
            if arrived := self._table.get(arrivals, relayed):
                traces.append((key("C", tenant, platform, conversation), f"turn#{int(arrived.get('at') or 0):013d}#{relayed}"))
                traces.append((arrivals, relayed))
        return traces

    def _erase_about(self, who: tuple[str, str, str]) -> int:
        erased = 0
        for name in self._rooms():
            for room, item in list(self._kept(who, name)):
                erased += self._drop(room, str(item["sk"]))
        own = key("U", *who)
        for item in self._table.query(own):
            sk = str(item["sk"])
            if sk.startswith("wait#"):  # the request itself, with what was written
                ticket = key("Q", sk.rpartition("#")[2])
                for waiting in self._table.query(ticket):
                    erased += self._drop(ticket, str(waiting["sk"]))
            erased += self._drop(own, sk)
        self._table.delete(key("O", *who[1:]), "outside")
        for ring in ORDER:
            self._table.delete(key("SEATS", who[0], ring), f"{who[1]}:{who[2]}")
        self._table.delete(partition(*who[1:]), key("consent", who[0]))
        return erased

    def _drop(self, pk: str, sk: str) -> int:
        self._table.delete(pk, sk)
        return 1


def _position(cursor: str) -> tuple[str, str]:
    """Place and turn of a cursor; raises InvalidSetting for what is none."""
    if not cursor:
        return "", ""
    try:
        place, turn = json.loads(cursor)
    except (ValueError, TypeError, RecursionError):
        place, turn = None, None
    if not isinstance(place, str) or not isinstance(turn, str):
        raise InvalidSetting(f"cursor {cursor[:80]!r} is none of ours; begin without one")
    return place, turn


def _public(place: Place, item: Item, question: str) -> dict[str, Any]:
    body = json.loads(str(item.get("body") or "{}"))
    reply = body.get("reply") or {}
    return {
        "conversation": place.turns,
        "at": body.get("at", 0),
        "message": body.get("message_id", ""),
        "kind": body.get("kind", "text"),
        "question": question,
        "state": item.get("state"),
        "answer": reply.get("text", "") or str(item.get("text") or ""),
        "sources": [s.get("title", "") for s in reply.get("sources", ())],
        "model": body.get("model", ""),
    }
