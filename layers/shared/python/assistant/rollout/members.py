"""Who belongs to a ring beyond those it names: by the platform's directory, by an imported list, or by a seat."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from assistant.cache import Cache
from assistant.errors import AssistantError, InvalidSetting
from assistant.messages import Message
from assistant.observability import log
from assistant.rollout.rings import LIST, Ring
from assistant.storage import Conflict, Table, key

logger = logging.getLogger(__name__)

BELONGS_SECONDS: Final = 3600.0
"""So long it is remembered to which departments and groups somebody belongs."""
FAILED_SECONDS: Final = 60.0
LONGEST_LIST: Final = 5_000


class Members:
    """Seats, imported lists and the directory's word. `belongs` asks a platform for its departments and groups of a sender."""

    def __init__(
        self, table: Table, *, tenant: str, clock: Callable[[], float], belongs: Callable[[Message], Sequence[str]]
    ) -> None:
        self._table = table
        self._tenant = tenant
        self._clock = clock
        self._ask = belongs
        self._belonging = Cache(clock=clock, size=20_000)
        self._seats: dict[str, frozenset[str]] = {}
        self._lists: dict[str, frozenset[str]] = {}

    def refresh(self, rings: Iterable[Ring]) -> None:
        """Reads what these rings lean on: seats where there are few, and imported lists. Nothing, where they lean on nothing."""
        names: set[str] = set()
        for ring in rings:
            names |= ring.lists
            if ring.has_seats:
                self._seats[ring.name] = self._taken(ring)
        for name in names:
            item = self._table.get(key("LISTS", self._tenant), name, consistent=False)
            self._lists[name] = frozenset(json.loads(str(item["body"]))) if item else frozenset()

    def groups_of(self, message: Message) -> frozenset[str]:
        """Departments and groups of the sender, as a ring writes them. What the directory does not tell now is not held."""
        person = f"{message.platform}:{message.sender}"

        def load() -> tuple[str, float]:
            try:
                return json.dumps(list(self._ask(message))), BELONGS_SECONDS
            except AssistantError as error:
                log(logger, logging.WARNING, "where somebody belongs is not known", platform=message.platform,
                    error_type=type(error).__name__)  # fmt: skip
                return "[]", FAILED_SECONDS

        tokens: list[str] = json.loads(self._belonging.get(person, load))
        held = {f"{kind}:{message.platform}:{id_}" for kind, _, id_ in (t.partition(":") for t in tokens)}
        for name, people in self._lists.items():
            if person in people:
                held |= {f"department:{LIST}:{name}", f"group:{LIST}:{name}"}
        return frozenset(held)

    def has_seat(self, ring: Ring, message: Message) -> bool:
        """Whether the sender is named in the ring or has one of its seats."""
        person = f"{message.platform}:{message.sender}"
        return person in ring.people or person in self._seats.get(ring.name, frozenset())

    def has_room(self, ring: Ring) -> bool:
        """Whether one of the ring's seats is free."""
        return len(self._seats.get(ring.name, frozenset())) < ring.capacity - len(ring.people)

    def take_seat(self, ring: Ring, message: Message) -> bool:
        """Whether the sender has a seat after this; takes one where one is free: one small write."""
        if self.has_seat(ring, message):
            return True
        if not self.has_room(ring):
            return False
        person = f"{message.platform}:{message.sender}"
        with suppress(Conflict):  # this person, in another function at the same moment
            self._table.put(
                {"pk": key("SEATS", self._tenant, ring.name), "sk": person, "at": int(self._clock() * 1000)},
                condition="attribute_not_exists(#pk)",
            )
        self._seats[ring.name] = self._taken(ring)
        return person in self._seats[ring.name]

    def count(self, ring: Ring) -> int:
        """How many belong to a ring with a capacity: those who are named, and those who have a seat."""
        return len(ring.people) + (len(self._taken(ring)) if ring.has_seats else 0)

    def import_list(self, name: str, people: Sequence[str], *, who: str) -> int:
        """Keeps the people (`platform:user`) of a department or group; the number of them. Replaces a list of this name."""
        from assistant.rollout.checks import check_name, checked_people

        check_name(name)
        people = checked_people(people)
        if len(people) > LONGEST_LIST:
            raise InvalidSetting(f"a list takes {LONGEST_LIST:,} people, not {len(people):,}; divide it")
        body = json.dumps(people, ensure_ascii=False)
        self._table.put({"pk": key("LISTS", self._tenant), "sk": name, "body": body, "who": who, "at": int(self._clock())})
        return len(people)

    def lists(self) -> list[dict[str, Any]]:
        """Every imported list: name, number of people, who imported it and when (Unix seconds)."""
        items = self._table.query(key("LISTS", self._tenant))
        return [
            {"name": i["sk"], "people": len(json.loads(str(i["body"]))), "who": i.get("who", ""), "at": int(i.get("at") or 0)}
            for i in items
        ]

    def _taken(self, ring: Ring) -> frozenset[str]:
        """Who has a seat: whoever came first, where two functions gave away the last one at once."""
        items = [i for i in self._table.query(key("SEATS", self._tenant, ring.name)) if str(i["sk"]) not in ring.people]
        first = sorted(items, key=lambda i: (int(i.get("at") or 0), str(i["sk"])))
        return frozenset(str(i["sk"]) for i in first[: max(0, ring.capacity - len(ring.people))])
