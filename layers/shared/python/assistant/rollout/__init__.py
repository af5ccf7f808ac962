"""Rings: new things reach people step by step, and each step can be taken back.

One item holds the state, one more each change that was ever made; both are written together by compare-and-set. Functions look
at the state at most every `REFRESH_SECONDS`, so a change is everywhere within that time and a turn in between costs no call.

Who belongs to a ring is named one by one, or belongs through a chat, a department or group (by the platform's directory, or by a
list that was imported), or through a share of everybody. A ring with a capacity has that many seats: those who are named have
theirs, everybody else takes one with their first message, and stays in it.

| item | pk | sk | written by |
|---|---|---|---|
| state | `SYSTEM#tenant` | `rollout` | `journal` |
| change | `SYSTEM#tenant` | `rollout#<edition>` | `journal` |
| what the plan saw last | `SYSTEM#tenant` | `rollout-seen` | `journal` |
| a seat that somebody took | `SEATS#tenant#ring` | `platform:user` | `members` |
| an imported list | `LISTS#tenant` | its name | `members` |
| a version of the prompt, never changed | `PROMPTS#tenant` | its name | `prompts` |

What only an administrator's change needs (`plans`, `checks`) is loaded with the first one: a turn never waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from assistant.errors import InvalidSetting, Unavailable
from assistant.messages import Message
from assistant.rollout.journal import Change, Journal
from assistant.rollout.members import Members
from assistant.rollout.prompts import Prompts
from assistant.rollout.rings import ORDER, Ring
from assistant.rollout.state import Rollout
from assistant.storage import Conflict, Item, Table, key

REFRESH_SECONDS: Final = 20
WORD_SECONDS: Final = 30 * 86400
"""Somebody outside gets the polite word once in this time."""


class Rollouts:
    """Reads and changes the state. Every change names who made it and why; raises InvalidSetting for one that makes no sense."""

    def __init__(
        self,
        table: Table,
        *,
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
        belongs: Callable[[Message], Sequence[str]] = lambda message: (),
        beside: Callable[[Item | None], None] = lambda item: None,
    ) -> None:
        self.journal = Journal(table, tenant=tenant, clock=clock, beside=beside)
        self.members = Members(table, tenant=tenant, clock=clock, belongs=belongs)
        self.prompts = Prompts(table, tenant=tenant, clock=clock)
        self._table = table
        self._clock = clock
        self._known: tuple[Rollout, float] | None = None
        self._lock = threading.Lock()

    # --- for a turn ---

    def current(self) -> tuple[Rollout, bool]:
        """The state, and whether the table was asked for it; while the table does not answer, the last one known holds."""
        with self._lock:
            now = self._clock()
            if self._known and now - self._known[1] < REFRESH_SECONDS:
                return self._known[0], False
            try:
                state = self.read()
                self.members.refresh(r for r in state.rings if r.name in state.served)
            except Unavailable:
                if self._known is None:
                    raise
                state = self._known[0]
            self._known = (state, now)
            return state, True

    def ring_of(self, message: Message, *, looking: bool = False) -> tuple[Ring | None, bool]:
        """The asker's ring (None: outside all that are served), and whether the table was asked for the state.

        `looking`: nobody takes a seat by it, as somebody who writes does where there is one left.
        """
        state, refreshed = self.current()
        seated = self.members.has_seat if looking else self.members.take_seat
        found = state.ring_of(message, belongs=lambda: self.members.groups_of(message), seated=lambda ring: seated(ring, message))
        return found, refreshed

    def find(self, message: Message) -> Ring | None:
        """The ring that `ring_of` would give the asker now, without taking a seat for them."""
        state, _ = self.current()
        members = self.members
        return state.ring_of(
            message,
            belongs=lambda: members.groups_of(message),
            seated=lambda ring: members.has_seat(ring, message) or members.has_room(ring),
        )

    def is_first_word(self, message: Message) -> bool:
        """Whether somebody outside is to be told so now: once in `WORD_SECONDS`."""
        now = int(self._clock())
        try:
            self._table.put(
                {"pk": key("O", message.platform, message.sender), "sk": "outside", "told": now, "expires": now + WORD_SECONDS},
                condition="attribute_not_exists(#pk) OR #told < :before",
                values={"before": now - WORD_SECONDS},
            )
        except Conflict:
            return False
        return True

    # --- for an administrator ---

    def read(self) -> Rollout:
        """The state as it stands in the table."""
        return self.journal.read()

    def history(self, *, limit: int = 50) -> list[Change]:
        """The newest changes, newest first."""
        return self.journal.history(limit=limit)

    def taken_seats(self, state: Rollout) -> dict[str, int]:
        """By ring with a capacity: how many seats are taken, those of the people who are named included."""
        return {r.name: self.members.count(r) for r in state.rings if r.capacity}

    def promote(self, *, who: str, why: str) -> Rollout:
        """The next ring is served as well."""
        from assistant.rollout import plans

        state = _moving(self.read())
        if state.reached == ORDER[-1]:
            raise InvalidSetting("everyone is served already; there is no further ring")
        after, what = plans.promote(state, now=int(self._clock()))
        return self._write(state, after, what=what, who=who, why=why)

    def halt(self, *, who: str, why: str) -> Rollout:
        """No further ring until it is resumed."""
        state = self.read()
        return self._write(state, replace(state, halted=True), what="halt", who=who, why=why)

    def roll_back(self, *, who: str, why: str) -> Rollout:
        """The state before the last change, as a change of its own."""
        state = self.read()
        if state.edition == 0:
            raise InvalidSetting("there is nothing to go back to: no change has been made yet")
        before = replace(self.journal.edition(state.edition - 1), plan=None)
        return self._write(state, before, what=f"roll back to edition {state.edition - 1}", who=who, why=why)

    def set(self, changes: Mapping[str, Any], *, ring: str = "", who: str, why: str) -> Rollout:
        """Sets fields of the state (`reached`, `outside`, `halted`) or, with `ring`, of that ring."""
        from assistant.rollout.checks import checked_ring, checked_state

        state = self.read()
        if ring:
            changed = self._known_to_exist(checked_ring(state.ring(ring), changes))
            after = replace(state, rings=tuple(changed if r.name == ring else r for r in state.rings))
        else:
            after = checked_state(state, changes)
            if after.plan and state.halted and not after.halted:  # what was seen while nothing moved proves nothing
                after = replace(after, plan=replace(after.plan, since=int(self._clock())))
        what = f"set {ring + ' ' if ring else ''}{', '.join(changes)}"
        return self._write(state, after, what=what, who=who, why=why)

    def _known_to_exist(self, ring: Ring) -> Ring:
        """The ring, where the prompt and the lists that it names are kept; raises InvalidSetting for one that is not."""
        if ring.prompt and ring.prompt not in (known := [p["name"] for p in self.prompts.all()]):
            raise InvalidSetting(
                f"there is no version {ring.prompt!r} of the prompt; known: {', '.join(known) or 'none'}; "
                "add it with: assistant rollout prompt NAME FILE"
            )
        if missing := sorted(ring.lists - {entry["name"] for entry in self.members.lists()}):
            raise InvalidSetting(f"there is no list {missing[0]!r}; import it with: assistant rollout import NAME FILE")
        return ring

    # --- a plan ---

    def start(self, asked: Mapping[str, Any], *, who: str, why: str) -> Rollout:
        """Begins a plan with the fields of `Plan` and `Limits` in `asked`. Raises InvalidSetting for one that leads nowhere."""
        from assistant.rollout import plans
        from assistant.rollout.checks import checked_plan

        state = _moving(self.read())
        if state.plan:
            raise InvalidSetting("a plan is running; end it first with: assistant rollout plan --stop")
        after, what = plans.begin(state, checked_plan(asked), now=int(self._clock()))
        return self._write(state, after, what=what, who=who, why=why)

    def stop(self, *, who: str, why: str) -> Rollout:
        """Ends the plan; what it has done stays."""
        from assistant.rollout import plans

        state = self.read()
        plans.running(state)
        return self._write(state, replace(state, plan=None), what="end the plan", who=who, why=why)

    def step(self, state: Rollout, *, who: str, why: str) -> Rollout:
        """The plan's next step from `state`: the next ring is served or gets the features, or the plan is done."""
        from assistant.rollout import plans

        after, what = plans.advance(state, now=int(self._clock()))
        return self._write(state, after, what=what, who=who, why=why)

    def take_back(self, state: Rollout, *, who: str, why: str) -> Rollout:
        """Halts, ends the plan, and takes its last step back, all in one change: nobody sees one without the other."""
        from assistant.rollout import plans

        after, what = plans.take_back(state)
        return self._write(state, after, what=what, who=who, why=why)

    def _write(self, before: Rollout, after: Rollout, *, what: str, who: str, why: str) -> Rollout:
        written = self.journal.write(before, after, what=what, who=who, why=why)
        with self._lock:
            self._known = None  # read again at the next turn, with the seats and lists that it leans on
        return written


def _moving(state: Rollout) -> Rollout:
    """The state, where it may be promoted; raises InvalidSetting for a halted one."""
    if state.halted:
        raise InvalidSetting("the roll-out is halted; resume it with: assistant rollout set --resume")
    return state
