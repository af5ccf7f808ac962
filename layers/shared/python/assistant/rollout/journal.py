"""The state and every change that was ever made to it, written together; and what the plan saw last."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from assistant.errors import AssistantError, InvalidSetting
from assistant.rollout.state import Rollout
from assistant.storage import Conflict, Item, Table, key


class RolloutChanged(AssistantError):
    """Two administrators changed the roll-out at once; the second change was not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as history keeps it."""

    edition: int
    what: str
    who: str
    why: str
    at: int
    """Unix seconds."""
    state: Rollout


class Journal:
    """The state in the table, changed by compare-and-set. `beside` hears what all instances know of plug-ins, read with it."""

    def __init__(self, table: Table, *, tenant: str, clock: Callable[[], float], beside: Callable[[Item | None], None]) -> None:
        self._table = table
        self._pk = key("SYSTEM", tenant)
        self._clock = clock
        self._beside = beside

    def read(self) -> Rollout:
        """The state as it stands in the table."""
        found = {str(i["sk"]): i for i in self._table.query(self._pk, prefix="rollout", limit=2)}
        self._beside(found.get("rollout!plugins"))  # what all instances know of plug-ins stands behind it, and costs no call
        return Rollout.from_json(str(found["rollout"]["body"])) if "rollout" in found else Rollout()

    def history(self, *, limit: int) -> list[Change]:
        """The newest changes, newest first."""
        items = self._table.query(self._pk, prefix="rollout#", descending=True, limit=limit)
        return [
            Change(
                edition=int(str(i["sk"]).partition("#")[2]),
                what=str(i.get("what", "")),
                who=str(i.get("who", "")),
                why=str(i.get("why", "")),
                at=int(i.get("at") or 0),
                state=Rollout.from_json(str(i["body"])),
            )
            for i in items
        ]

    def edition(self, number: int) -> Rollout:
        """The state as that change left it; raises InvalidSetting for one that never was."""
        if number == 0:
            return Rollout()
        item = self._table.get(self._pk, f"rollout#{number:06d}")
        if item is None:
            raise InvalidSetting(f"edition {number} is not in the history")
        return Rollout.from_json(str(item["body"]))

    def write(self, before: Rollout, after: Rollout, *, what: str, who: str, why: str) -> Rollout:
        """The state `after`, written as the change that follows `before`; raises RolloutChanged where another one did."""
        after = replace(after, edition=before.edition + 1)
        body = json.dumps(asdict(after), ensure_ascii=False)
        change: dict[str, str | int] = {"what": what, "who": who, "why": why, "at": int(self._clock()), "body": body}
        try:  # the change first: a state without its history must never be seen
            self._table.put(
                {"pk": self._pk, "sk": f"rollout#{after.edition:06d}", **change}, condition="attribute_not_exists(#pk)"
            )
            self._table.put(
                {"pk": self._pk, "sk": "rollout", "edition": after.edition, "body": body},
                condition="attribute_not_exists(#pk) OR #edition = :edition",
                values={"edition": before.edition},
            )
        except Conflict as met:
            raise RolloutChanged("somebody else has just changed the roll-out; look at it and try again") from met
        return after

    def note(self, seen: Mapping[str, Any]) -> None:
        """Keeps what the plan saw last; no change of the state."""
        self._table.put({"pk": self._pk, "sk": "rollout-seen", "body": json.dumps(seen, ensure_ascii=False)})

    def noted(self) -> dict[str, Any]:
        """What the plan saw last; empty before it has looked."""
        item = self._table.get(self._pk, "rollout-seen")
        found: dict[str, Any] = json.loads(str(item["body"])) if item else {}
        return found
