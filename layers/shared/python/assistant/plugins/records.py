"""What all instances know of plug-ins: which are in quarantine, and how an administrator has set them.

| item | pk | sk |
|---|---|---|
| quarantine, and the edition of each configuration | `SYSTEM#tenant` | `rollout!plugins` |
| a plug-in's configuration | same | `plugin#<name>` |

The first stands right behind the roll-out and is read with it, in one query, so a turn asks for neither by itself; a
configuration is read where its edition has changed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from assistant.errors import InvalidSetting, Refused
from assistant.storage import Conflict, Item, Table, key

STATE: Final = "rollout!plugins"
"""Right behind the roll-out's own item."""
TRIES: Final = 5
LARGEST_CONFIG: Final = 50_000
"""Characters of JSON that one configuration may have."""


class RecordsChanged(Refused):
    """Somebody else changed the same at the same time, again and again; nothing was changed here."""

    status = 409


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Why a version of a plug-in is left out."""

    reason: str
    since: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What stands in the item."""

    edition: int = 0
    out: Mapping[str, Quarantine] = field(default_factory=dict)
    """By `name@version`: another version of the same plug-in has a clean slate."""
    configs: Mapping[str, int] = field(default_factory=dict)
    """Edition of the stored configuration, by name of plug-in."""

    @classmethod
    def of(cls, item: Item | None) -> Self:
        """The state in `item`; an empty one where there is none."""
        data = json.loads(str(item["body"])) if item else {}
        out = {k: Quarantine(reason=str(v["reason"]), since=int(v["since"])) for k, v in data.get("out", {}).items()}
        edition = int((item or {}).get("edition") or 0)
        return cls(edition=edition, out=out, configs={k: int(v) for k, v in data.get("configs", {}).items()})

    def body(self) -> str:
        """What `of` reads."""
        return json.dumps({"out": {k: asdict(v) for k, v in self.out.items()}, "configs": dict(self.configs)}, ensure_ascii=False)


class Records:
    """Reads and changes it. Raises Unavailable where the table does not answer."""

    def __init__(self, table: Table, *, tenant: str = "default", clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._pk = key("SYSTEM", tenant)
        self._clock = clock
        self._lock = threading.Lock()
        self.state = State()
        """The newest state that this process has seen; replaced, never changed."""

    def hear(self, item: Item | None) -> None:
        """Takes in the item as somebody else has read it."""
        if int((item or {}).get("edition") or 0) != self.state.edition:
            self.state = State.of(item)

    def read(self) -> State:
        """The state as it stands in the table now."""
        self.hear(self._table.get(self._pk, STATE))
        return self.state

    def config(self, name: str) -> Mapping[str, Any] | None:
        """The stored configuration; None where there is none."""
        item = self._table.get(self._pk, f"plugin#{name}")
        return json.loads(str(item["body"])) if item else None

    def quarantine(self, plugin: str, reason: str) -> None:
        """Leaves out `plugin`, a `name@version`, everywhere."""
        entry = Quarantine(reason=reason[:500], since=int(self._clock()))
        self._change(lambda state: replace(state, out={**state.out, plugin: state.out.get(plugin, entry)}))

    def restore(self, name: str) -> list[str]:
        """Lets every version of the plug-in work again; gives those that were left out."""
        freed: list[str] = []

        def change(state: State) -> State:
            freed[:] = [p for p in state.out if p.partition("@")[0] == name]
            return replace(state, out={p: q for p, q in state.out.items() if p not in freed})

        self._change(change)
        return freed

    def configure(self, name: str, config: Mapping[str, Any] | None) -> None:
        """Stores a checked configuration; None goes back to the deployment's own."""
        where = f"plugin#{name}"
        if config is not None:
            body = json.dumps(config, ensure_ascii=False)
            if len(body) > LARGEST_CONFIG:
                raise InvalidSetting(f"the configuration of {name} has {len(body)} characters; at most {LARGEST_CONFIG} are kept")
            self._table.put({"pk": self._pk, "sk": where, "body": body})
        # The value first: who sees the new edition must find the new value.
        self._change(lambda state: replace(state, configs=_with(state.configs, name, 0 if config is None else state.edition + 1)))
        if config is None:
            self._table.delete(self._pk, where)

    def _change(self, change: Callable[[State], State]) -> None:
        for _ in range(TRIES):
            before = State.of(self._table.get(self._pk, STATE))
            after = replace(change(before), edition=before.edition + 1)
            item: Item = {"pk": self._pk, "sk": STATE, "edition": after.edition, "body": after.body()}
            try:
                self._table.put(
                    item,
                    condition="attribute_not_exists(#pk) OR #edition = :edition",
                    values={"edition": before.edition},
                )
            except Conflict:
                continue
            with self._lock:
                self.state = after
            return
        raise RecordsChanged("the plug-ins' records are being changed by others; try again")


def _with(configs: Mapping[str, int], name: str, edition: int) -> dict[str, int]:
    """The editions with that of `name` changed; 0 takes it out."""
    return {**{n: e for n, e in configs.items() if n != name}, **({name: edition} if edition else {})}
