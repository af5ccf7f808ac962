"""Rings: new things reach people step by step, and each step can be taken back.

One item holds the state, one more each change that was ever made; both are written together by compare-and-set. Functions look
at the state at most every `REFRESH_SECONDS`, so a change is everywhere within that time and a turn in between costs no call.

Who belongs to a ring is named one by one, or belongs through a chat, a department or group (by the platform's directory, or by a
list that was imported), or through a share of everybody. A ring with a capacity has that many seats: those who are named have
theirs, everybody else takes one with their first message, and stays in it.

| item | pk | sk |
|---|---|---|
| state | `SYSTEM#tenant` | `rollout` |
| change | `SYSTEM#tenant` | `rollout#<edition>` |
| what the plan saw last | `SYSTEM#tenant` | `rollout-seen` |
| a seat that somebody took | `SEATS#tenant#ring` | `platform:user` |
| an imported list | `LISTS#tenant` | its name |
| a version of the prompt, never changed | `PROMPTS#tenant` | its name |
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, Self

from assistant.cache import Cache
from assistant.errors import AssistantError, InvalidSetting, Unavailable
from assistant.messages import Message
from assistant.observability import log
from assistant.storage import Conflict, Item, Table, key

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 20
WORD_SECONDS: Final = 30 * 86400
"""Somebody outside gets the polite word once in this time."""

ORDER: Final = ("internal", "department", "everyone")
"""The rings, narrowest first."""

MEMORIES: Final = ("chat", "topic", "member")
"""What a ring's conversations remember together."""

NOBODY: Final = "nobody"
"""Reached before the first ring: the assistant answers nobody."""

LIST: Final = "list"
"""Stands in the place of a platform where a department or group is a list that was imported."""
BELONGS_SECONDS: Final = 3600.0
"""So long it is remembered to which departments and groups somebody belongs."""
FAILED_SECONDS: Final = 60.0
LONGEST_PROMPT: Final = 20_000
LONGEST_LIST: Final = 5_000
FEATURES: Final = ("model", "prompt", "plugins")
"""What a plan of kind `features` carries from ring to ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Who belongs to it and what they get. An empty `model`, `prompt` or `plugins` means the configured ones."""

    name: str
    on: bool = True
    """False: whoever belongs to it is not served, until it is switched on again."""
    people: tuple[str, ...] = ()
    """`platform:user id` each."""
    chats: tuple[str, ...] = ()
    """`platform:conversation id` each: everybody who writes there."""
    departments: tuple[str, ...] = ()
    """`platform:department id` each, those below it included, or `list:NAME` for a list that was imported."""
    groups: tuple[str, ...] = ()
    """`platform:user group id` each, or `list:NAME`."""
    share: float = 0.0
    """Part of all other people, 0 to 1, chosen by a stable hash of their id."""
    capacity: int = 0
    """Most people in it, however they came to belong; 0: no limit."""
    model: str = ""
    prompt: str = ""
    """Name of a version of the prompt: what the company adds to the assistant's own instructions."""
    plugins: tuple[str, ...] = ()
    """Names of those that work; `NAME@1.2` for one version of several."""
    memory: str = ""
    """What remembers together: `chat`, `topic` or `member`; empty: as configured."""
    hand_over: str = ""
    """Support chats for its people, as in the settings; empty: as configured."""
    days: int = 0
    """Days for which turns are kept, where that is shorter than configured; 0: as configured."""
    person_tokens: int = 0
    """Most tokens a day for each person; 0, here and below: no limit."""
    person_money: float = 0.0
    """Most money a day for each person, in the currency of the prices."""
    tokens: int = 0
    """Most tokens a day for all of the ring together."""
    money: float = 0.0

    def fits(self, message: Message, belongs: Callable[[], frozenset[str]] = frozenset) -> bool:
        """Whether the sender may belong to it; `belongs` tells the departments and groups of a person, where they matter."""
        person, chat = f"{message.platform}:{message.sender}", f"{message.platform}:{message.conversation}"
        if person in self.people or chat in self.chats or (self.share > 0 and _place(person) < self.share):
            return True
        if not self.departments and not self.groups:
            return False
        held = belongs()
        return any(f"department:{d}" in held for d in self.departments) or any(f"group:{g}" in held for g in self.groups)

    @property
    def has_seats(self) -> bool:
        """Whether somebody who is not named takes one of a limited number of seats."""
        return self.capacity > 0 and bool(self.chats or self.departments or self.groups or self.share)


DEFAULT: Final = (
    Ring(name="internal", capacity=10),
    Ring(name="department", capacity=50),
    Ring(name="everyone", share=1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a plan tolerates in a ring. Shares are percent of its turns."""

    errors: float = 1.0
    """Tries to answer that failed."""
    slow: float = 5.0
    """Replies that took longer than `slow_seconds` to become visible."""
    slow_seconds: float = 20.0
    silent: float = 1.0
    """Messages without a visible reply after `silent_seconds`, or without any."""
    silent_seconds: float = 60.0
    disliked: float = 5.0
    """Answers with a thumb down."""
    turns: int = 20
    """Fewer answers than this prove nothing: the plan waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A promotion that goes on by itself: looks at ring `at` for `hours`, then takes the next step, or the last one back."""

    kind: Literal["reach", "features"] = "reach"
    """`reach`: the next ring is served as well. `features`: the next ring gets model, prompt and plug-ins of the one before."""
    to: str = "everyone"
    """The last ring; it is watched for as long as the others, and then the plan is done."""
    hours: float = 24.0
    limits: Limits = Limits()
    at: str = ""
    """The ring that is watched."""
    since: int = 0
    """Unix seconds: from when on."""
    undo: Mapping[str, Any] = field(default_factory=dict)
    """What takes the last step back: `reached`, or the features of ring `at`; empty: there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The state: how far it has reached, and the rings. A new installation answers everybody."""

    edition: int = 0
    reached: str = "everyone"
    """The widest ring that is served, or `nobody`."""
    halted: bool = False
    """No promotion until it is resumed."""
    outside: Literal["word", "silence"] = "word"
    rings: tuple[Ring, ...] = DEFAULT
    plan: Plan | None = None

    @property
    def served(self) -> tuple[str, ...]:
        """Names of the rings that it has reached."""
        return ORDER[: ORDER.index(self.reached) + 1] if self.reached in ORDER else ()

    def ring_of(
        self,
        message: Message,
        *,
        belongs: Callable[[], frozenset[str]] = frozenset,
        seated: Callable[[Ring], bool] = lambda ring: True,
    ) -> Ring | None:
        """The narrowest served ring that the sender belongs to; None for somebody outside, and where that ring is off.

        `seated` tells whether the sender has one of the ring's limited seats.
        """
        for ring in self.rings:
            if ring.name in self.served and ring.fits(message, belongs) and (not ring.has_seats or seated(ring)):
                return ring if ring.on else None
        return None

    def ring(self, name: str) -> Ring:
        """The ring of that name; raises InvalidSetting for an unknown one."""
        for ring in self.rings:
            if ring.name == name:
                return ring
        raise InvalidSetting(f"no ring {name!r}; known: {', '.join(ORDER)}")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The state in `text`; fields of another version are ignored."""
        data = json.loads(text)
        rings = tuple(Ring(**_known(Ring, ring)) for ring in data.get("rings", ()))
        plan = data.get("plan")
        if plan:
            limits = Limits(**_known(Limits, plan.get("limits") or {}))
            plan = Plan(**{**_known(Plan, plan), "limits": limits})
        return cls(
            edition=int(data.get("edition", 0)),
            reached=str(data.get("reached", "everyone")),
            halted=bool(data.get("halted", False)),
            outside="silence" if data.get("outside") == "silence" else "word",
            rings=rings or DEFAULT,
            plan=plan or None,
        )


def _known(made: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `data` that this version knows, lists as tuples."""
    known = {f.name for f in fields(made)}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}


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


class Rollouts:
    """Reads and changes the state. Every change names who made it and why; raises InvalidSetting for one that makes no sense."""

    def __init__(
        self,
        table: Table,
        *,
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
        refresh: float = REFRESH_SECONDS,
        belongs: Callable[[Message], Sequence[str]] = lambda message: (),
        beside: Callable[[Item | None], None] = lambda item: None,
    ) -> None:
        self._beside = beside
        self._table = table
        self._tenant = tenant
        self._pk = key("SYSTEM", tenant)
        self._clock = clock
        self._refresh = refresh
        self._ask = belongs
        self._belonging = Cache(clock=clock, size=20_000)
        self._known: tuple[Rollout, float] | None = None
        self._seats: dict[str, frozenset[str]] = {}
        self._lists: dict[str, frozenset[str]] = {}
        self._prompts: dict[str, str] = {}
        self._lock = threading.Lock()

    # --- for a turn ---

    def current(self) -> tuple[Rollout, bool]:
        """The state, and whether the table was asked for it; while the table does not answer, the last one known holds."""
        with self._lock:
            now = self._clock()
            if self._known and now - self._known[1] < self._refresh:
                return self._known[0], False
            try:
                state = self.read()
                self._look_around(state)
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
        found = state.ring_of(
            message, belongs=lambda: self._belongs(message), seated=lambda ring: self._has_seat(ring, message, looking)
        )
        return found, refreshed

    def find(self, message: Message) -> Ring | None:
        """The ring that `ring_of` would give the asker now, without taking a seat for them."""
        state, _ = self.current()
        person = f"{message.platform}:{message.sender}"

        def seated(ring: Ring) -> bool:
            taken = self._seats.get(ring.name, frozenset())
            return person in (*ring.people, *taken) or len(taken) < ring.capacity - len(ring.people)

        return state.ring_of(message, belongs=lambda: self._belongs(message), seated=seated)

    def _look_around(self, state: Rollout) -> None:
        """Reads what the state leans on: seats of rings that have few, and imported lists. Nothing, where it leans on nothing."""
        served = [r for r in state.rings if r.name in state.served]
        for ring in served:
            if ring.has_seats:
                self._seats[ring.name] = self._taken(ring)
        names = {n.partition(":")[2] for r in served for n in (*r.departments, *r.groups) if n.startswith(f"{LIST}:")}
        for name in names:
            item = self._table.get(key("LISTS", self._tenant), name, consistent=False)
            self._lists[name] = frozenset(json.loads(str(item["body"]))) if item else frozenset()

    def _belongs(self, message: Message) -> frozenset[str]:
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

    def _has_seat(self, ring: Ring, message: Message, looking: bool) -> bool:
        """Whether the sender is named in the ring or has one of its seats; takes one where one is free: one small write."""
        person = f"{message.platform}:{message.sender}"
        if person in ring.people:
            return True
        taken = self._seats.get(ring.name, frozenset())
        if person in taken:
            return True
        if looking or len(taken) >= ring.capacity - len(ring.people):
            return False
        with suppress(Conflict):  # this person, in another function at the same moment
            self._table.put(
                {"pk": key("SEATS", self._tenant, ring.name), "sk": person, "at": int(self._clock() * 1000)},
                condition="attribute_not_exists(#pk)",
            )
        self._seats[ring.name] = self._taken(ring)
        return person in self._seats[ring.name]

    def _taken(self, ring: Ring) -> frozenset[str]:
        """Who has a seat: whoever came first, where two functions gave away the last one at once."""
        items = [i for i in self._table.query(key("SEATS", self._tenant, ring.name)) if str(i["sk"]) not in ring.people]
        first = sorted(items, key=lambda i: (int(i.get("at") or 0), str(i["sk"])))
        return frozenset(str(i["sk"]) for i in first[: max(0, ring.capacity - len(ring.people))])

    def prompt(self, name: str) -> str:
        """The text of a version of the prompt; "" for an empty name. Read once in a process: a version never changes."""
        if name and name not in self._prompts:
            item = self._table.get(key("PROMPTS", self._tenant), name, consistent=False)
            if item is None:
                log(logger, logging.ERROR, "a ring names a version of the prompt that does not exist", event_reason=name)
                return ""
            self._prompts[name] = str(item["body"])
        return self._prompts.get(name, "")

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
        found = {str(i["sk"]): i for i in self._table.query(self._pk, prefix="rollout", limit=2)}
        self._beside(found.get("rollout!plugins"))  # what all instances know of plug-ins stands behind it, and costs no call
        return Rollout.from_json(str(found["rollout"]["body"])) if "rollout" in found else Rollout()

    def history(self, *, limit: int = 50) -> list[Change]:
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

    def promote(self, *, who: str, why: str) -> Rollout:
        """The next ring is served as well."""
        state = self.read()
        if state.halted:
            raise InvalidSetting("the roll-out is halted; resume it with: assistant rollout set --resume")
        if state.reached == ORDER[-1]:
            raise InvalidSetting("everyone is served already; there is no further ring")
        after = _next(state.reached)
        plan = state.plan
        if plan and plan.kind == "reach":
            plan = replace(plan, at=after, since=int(self._clock()), undo={"reached": state.reached})
        return self._write(state, replace(state, reached=after, plan=plan), what=f"promote to {after}", who=who, why=why)

    def halt(self, *, who: str, why: str) -> Rollout:
        """No further ring until it is resumed."""
        state = self.read()
        return self._write(state, replace(state, halted=True), what="halt", who=who, why=why)

    def roll_back(self, *, who: str, why: str) -> Rollout:
        """The state before the last change, as a change of its own."""
        state = self.read()
        if state.edition == 0:
            raise InvalidSetting("there is nothing to go back to: no change has been made yet")
        before = replace(self._at(state.edition - 1), plan=None)
        return self._write(state, before, what=f"roll back to edition {state.edition - 1}", who=who, why=why)

    def set(self, changes: Mapping[str, Any], *, ring: str = "", who: str, why: str) -> Rollout:
        """Sets fields of the state (`reached`, `outside`, `halted`) or, with `ring`, of that ring."""
        state = self.read()
        if ring:
            changed = _checked_ring(state.ring(ring), changes)
            if changed.prompt and changed.prompt not in (known := [p["name"] for p in self.prompts()]):
                raise InvalidSetting(
                    f"there is no version {changed.prompt!r} of the prompt; known: {', '.join(known) or 'none'}; "
                    "add it with: assistant rollout prompt NAME FILE"
                )
            if missing := sorted(set(_lists_of(changed)) - {entry["name"] for entry in self.lists()}):
                raise InvalidSetting(f"there is no list {missing[0]!r}; import it with: assistant rollout import NAME FILE")
            after = replace(state, rings=tuple(changed if r.name == ring else r for r in state.rings))
        else:
            after = _checked_state(state, changes)
            if after.plan and state.halted and not after.halted:  # what was seen while nothing moved proves nothing
                after = replace(after, plan=replace(after.plan, since=int(self._clock())))
        what = f"set {ring + ' ' if ring else ''}{', '.join(changes)}"
        return self._write(state, after, what=what, who=who, why=why)

    # --- a plan ---

    def start(self, asked: Mapping[str, Any], *, who: str, why: str) -> Rollout:
        """Begins a plan with the fields of `Plan` and `Limits` in `asked`. Raises InvalidSetting for one that leads nowhere."""
        state = self.read()
        if state.halted:
            raise InvalidSetting("the roll-out is halted; resume it with: assistant rollout set --resume")
        if state.plan:
            raise InvalidSetting("a plan is running; end it first with: assistant rollout plan --stop")
        plan = _checked_plan(asked)
        now = int(self._clock())
        if plan.kind == "features":
            first, after = state.ring(ORDER[0]), state.ring(ORDER[1])
            if all(_features(state.ring(r)) == _features(first) for r in ORDER[1 : ORDER.index(plan.to) + 1]):
                raise InvalidSetting(
                    f"every ring up to {plan.to} has the model, prompt and plug-ins of ring {ORDER[0]} already; "
                    f"set them there first: assistant rollout set {ORDER[0]} --model SPEC"
                )
            plan = replace(plan, at=ORDER[0], undo=_features(after))
        elif state.reached == NOBODY:
            plan = replace(plan, at=ORDER[0], undo={"reached": NOBODY})
            state_after = replace(state, reached=ORDER[0], plan=replace(plan, since=now))
            return self._write(state, state_after, what=f"plan to {plan.to}: promote to {ORDER[0]}", who=who, why=why)
        elif ORDER.index(state.reached) >= ORDER.index(plan.to):
            raise InvalidSetting(
                f"ring {plan.to} is served already; begin narrower with: assistant rollout set --reached internal, "
                "or carry features with: assistant rollout plan --features"
            )
        else:
            plan = replace(plan, at=state.reached)
        after_ = replace(state, plan=replace(plan, since=now))
        return self._write(state, after_, what=f"plan to {plan.to}", who=who, why=why)

    def stop(self, *, who: str, why: str) -> Rollout:
        """Ends the plan; what it has done stays."""
        state = self.read()
        if state.plan is None:
            raise InvalidSetting("no plan is running; begin one with: assistant rollout plan --hold HOURS")
        return self._write(state, replace(state, plan=None), what="end the plan", who=who, why=why)

    def step(self, state: Rollout, *, who: str, why: str) -> Rollout:
        """The plan's next step from `state`: the next ring is served or gets the features, or the plan is done."""
        plan = state.plan
        if plan is None:
            raise InvalidSetting("no plan is running")
        if plan.at == plan.to:
            return self._write(state, replace(state, plan=None), what=f"plan done at {plan.to}", who=who, why=why)
        after, now = _next(plan.at), int(self._clock())
        if plan.kind == "reach":
            plan = replace(plan, at=after, since=now, undo={"reached": state.reached})
            return self._write(state, replace(state, reached=after, plan=plan), what=f"promote to {after}", who=who, why=why)
        carried, had = _features(state.ring(plan.at)), _features(state.ring(after))
        rings = tuple(replace(r, **carried) if r.name == after else r for r in state.rings)
        plan = replace(plan, at=after, since=now, undo=had)
        what = f"carry {', '.join(FEATURES)} to {after}"
        return self._write(state, replace(state, rings=rings, plan=plan), what=what, who=who, why=why)

    def take_back(self, state: Rollout, *, who: str, why: str) -> Rollout:
        """Halts, ends the plan, and takes its last step back, all in one change: nobody sees one without the other."""
        plan = state.plan
        if plan is None:
            raise InvalidSetting("no plan is running")
        after, what = replace(state, halted=True, plan=None), "halt"
        if plan.kind == "reach" and plan.undo:
            after = replace(after, reached=str(plan.undo["reached"]))
            what = f"halt, roll back to {after.reached}"
        elif plan.undo:
            had: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.undo.items()}
            after = replace(after, rings=tuple(replace(r, **had) if r.name == plan.at else r for r in state.rings))
            what = f"halt, roll {plan.at} back to what it had"
        return self._write(state, after, what=what, who=who, why=why)

    def note(self, seen: Mapping[str, Any]) -> None:
        """Keeps what the plan saw last; no change of the state."""
        self._table.put({"pk": self._pk, "sk": "rollout-seen", "body": json.dumps(seen, ensure_ascii=False)})

    def noted(self) -> dict[str, Any]:
        """What the plan saw last; empty before it has looked."""
        item = self._table.get(self._pk, "rollout-seen")
        found: dict[str, Any] = json.loads(str(item["body"])) if item else {}
        return found

    # --- prompts and lists ---

    def add_prompt(self, name: str, text: str, *, who: str) -> None:
        """Keeps a version of the prompt for good. Raises InvalidSetting where the name is taken: versions never change."""
        _check_name(name)
        if not text.strip() or len(text) > LONGEST_PROMPT:
            raise InvalidSetting(f"the prompt has {len(text)} characters; between 1 and {LONGEST_PROMPT:,} are taken")
        item: Item = {"pk": key("PROMPTS", self._tenant), "sk": name, "body": text, "who": who, "at": int(self._clock())}
        try:
            self._table.put(item, condition="attribute_not_exists(#pk)")
        except Conflict as met:
            if str(met.item.get("body")) == text:
                return
            raise InvalidSetting(f"prompt {name!r} exists and never changes; choose another name, such as {name}-2") from met

    def prompts(self) -> list[dict[str, Any]]:
        """Every version of the prompt: name, text, who added it and when (Unix seconds)."""
        items = self._table.query(key("PROMPTS", self._tenant))
        return [{"name": i["sk"], "text": i["body"], "who": i.get("who", ""), "at": int(i.get("at") or 0)} for i in items]

    def import_list(self, name: str, people: Sequence[str], *, who: str) -> int:
        """Keeps the people (`platform:user`) of a department or group; the number of them. Replaces a list of this name."""
        _check_name(name)
        people = _people(people)
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

    def taken_seats(self, state: Rollout) -> dict[str, int]:
        """By ring with a capacity: how many seats are taken, those of the people who are named included."""
        return {r.name: len(r.people) + (len(self._taken(r)) if r.has_seats else 0) for r in state.rings if r.capacity}

    def _at(self, edition: int) -> Rollout:
        if edition == 0:
            return Rollout()
        item = self._table.get(self._pk, f"rollout#{edition:06d}")
        if item is None:
            raise InvalidSetting(f"edition {edition} is not in the history")
        return Rollout.from_json(str(item["body"]))

    def _write(self, before: Rollout, after: Rollout, *, what: str, who: str, why: str) -> Rollout:
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
        with self._lock:
            self._known = None  # read again at the next turn, with the seats and lists that it leans on
        return after


class RolloutChanged(AssistantError):
    """Two administrators changed the roll-out at once; the second change was not made."""


def _place(person: str) -> float:
    """Where a person stands between 0 and 1: the same for ever, so that a growing share only adds people."""
    return int.from_bytes(hashlib.sha256(f"ring:{person}".encode("utf-8", "replace")).digest()[:8], "big") / 2**64


LISTED: Final = ("people", "chats", "departments", "groups", "plugins")
"""Fields of a ring that hold several names."""


def _next(ring: str) -> str:
    """The ring after `ring`."""
    return ORDER[0] if ring == NOBODY else ORDER[ORDER.index(ring) + 1]


def _features(ring: Ring) -> dict[str, Any]:
    return {name: getattr(ring, name) for name in FEATURES}


def _lists_of(ring: Ring) -> list[str]:
    return [n.partition(":")[2] for n in (*ring.departments, *ring.groups) if n.startswith(f"{LIST}:")]


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[\w][\w.-]{0,59}", name):
        raise InvalidSetting(f"name {name!r} must be letters, digits, '.', '_' and '-', 60 at most")


def _people(people: Sequence[str]) -> tuple[str, ...]:
    """Each person once; raises InvalidSetting for one without a platform."""
    for entry in people:
        if not all(entry.partition(":")[::2]):
            raise InvalidSetting(f"{entry!r} must be PLATFORM:USER, as slack:U123")
    return tuple(dict.fromkeys(people))


def _checked_plan(asked: Mapping[str, Any]) -> Plan:
    mine, limits = {"kind", "to", "hours"}, {f.name for f in fields(Limits)}
    if unknown := sorted(set(asked) - mine - limits):
        raise InvalidSetting(f"a plan has no {unknown[0]!r}; known: {', '.join(sorted(mine | limits))}")
    plan = Plan(**{k: v for k, v in asked.items() if k in mine}, limits=Limits(**{k: asked[k] for k in asked if k in limits}))
    if plan.kind not in ("reach", "features"):
        raise InvalidSetting(f"kind {plan.kind!r} must be reach or features")
    if plan.to not in ORDER[plan.kind == "features" :]:
        raise InvalidSetting(f"a plan cannot lead to {plan.to!r}; known: {', '.join(ORDER[plan.kind == 'features' :])}")
    if not _is_number(plan.hours) or not 0 < plan.hours <= 24 * 14:
        raise InvalidSetting(f"hours {plan.hours!r} must be above 0 and at most {24 * 14}")
    for name in ("errors", "slow", "silent", "disliked"):
        share = getattr(plan.limits, name)
        if not _is_number(share) or not 0 <= share <= 100:
            raise InvalidSetting(f"{name} {share!r} must be between 0 and 100 percent")
    for name in ("slow_seconds", "silent_seconds"):
        if not _is_number(value := getattr(plan.limits, name)) or not 0 < value <= 3600:
            raise InvalidSetting(f"{name} {value!r} must be above 0 and at most 3600")
    if isinstance(plan.limits.turns, bool) or not isinstance(plan.limits.turns, int) or not 1 <= plan.limits.turns <= 1_000_000:
        raise InvalidSetting(f"turns {plan.limits.turns!r} must be a whole number between 1 and 1000000")
    return plan


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124  # NaN differs from itself


def _checked_state(state: Rollout, changes: Mapping[str, Any]) -> Rollout:
    known = {"reached", "outside", "halted"}
    if unknown := sorted(set(changes) - known):
        raise InvalidSetting(f"the roll-out has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    reached = changes.get("reached", state.reached)
    if reached not in (NOBODY, *ORDER):
        raise InvalidSetting(f"reached {reached!r} is no ring; known: {NOBODY}, {', '.join(ORDER)}")
    outside = changes.get("outside", state.outside)
    if outside not in ("word", "silence"):
        raise InvalidSetting(f"outside {outside!r} must be word or silence")
    plan = state.plan
    if plan and plan.kind == "reach" and reached != state.reached:
        raise InvalidSetting("a plan decides how far it reaches; end it first with: assistant rollout plan --stop")
    return replace(state, reached=reached, outside=outside, halted=bool(changes.get("halted", state.halted)))


def _checked_ring(ring: Ring, changes: Mapping[str, Any]) -> Ring:
    known = {f.name for f in fields(Ring)} - {"name"}
    if unknown := sorted(set(changes) - known):
        raise InvalidSetting(f"a ring has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    values: dict[str, Any] = {k: _names(k, v) if k in LISTED else v for k, v in changes.items()}
    changed = replace(ring, **values)
    if not isinstance(changed.share, int | float) or not 0 <= changed.share <= 1:
        raise InvalidSetting(f"share {changed.share!r} must be between 0 and 1")
    if not isinstance(changed.on, bool):
        raise InvalidSetting(f"on {changed.on!r} must be true or false")
    if not isinstance(changed.model, str) or not isinstance(changed.prompt, str):
        raise InvalidSetting(f"model {changed.model!r} and prompt {changed.prompt!r} must be texts")
    if isinstance(changed.capacity, bool) or not isinstance(changed.capacity, int) or changed.capacity < 0:
        raise InvalidSetting(f"capacity {changed.capacity!r} must be a whole number, 0 for no limit")
    if changed.capacity and len(changed.people) > changed.capacity:
        raise InvalidSetting(f"ring {ring.name} has room for {changed.capacity} people, not for {len(changed.people)}")
    if changed.memory not in ("", *MEMORIES):
        raise InvalidSetting(
            f"memory {changed.memory!r} is not known; known: {', '.join(MEMORIES)}, or empty for the configured one"
        )
    for name in ("days", "person_tokens", "tokens", "person_money", "money"):
        limit, kinds = getattr(changed, name), int | float if name.endswith("money") else int
        if isinstance(limit, bool) or not isinstance(limit, kinds) or not 0 <= limit < float("inf"):
            raise InvalidSetting(f"{name} {limit!r} must be a {'whole ' if kinds is int else ''}number, 0 for no limit")
    desks = [e.strip() for e in str(changed.hand_over).split(",") if e.strip()]
    for entry in (*changed.people, *changed.chats, *changed.departments, *changed.groups, *desks):
        if not all(entry.partition(":")[::2]):
            raise InvalidSetting(f"{entry!r} must be PLATFORM:ID, as slack:U123")
    return changed


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidSetting(f"{name} must be a list")
    return tuple(dict.fromkeys(str(v) for v in value))
