"""Values that are dear to fetch: memory first, then a level that all instances share, then the source, fetched once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from assistant.errors import AssistantError, Unavailable

if TYPE_CHECKING:
    from assistant.storage import Table

Load = Callable[[], tuple[str, float]]
"""Fetches a value from its source and says for how many seconds it may be kept."""


TRIES: Final = 5
"""How often somebody who must know whether they are the first asks; without an answer nothing they do can be done."""


class Shared(Protocol):
    """The level that all instances share."""

    def read(self, key: str) -> tuple[str, float] | None:
        """The value and the Unix time it ends at, or None."""

    def write(self, key: str, value: str, until: float) -> None:
        """Keeps `value` until the Unix time `until`."""

    def add(self, key: str, value: str, until: float) -> bool:
        """Keeps `value` unless there is another one; True when there was none. One call, decided for all instances; made again
        with the same value, as after an answer that never came, it says the same."""

    def drop(self, key: str) -> None:
        """Forgets the value."""


class Cache:
    """`get(key, load)` hides memory, the shared level, expiry and single flight."""

    def __init__(self, shared: Shared | None = None, *, clock: Callable[[], float] = time.time, size: int = 1024) -> None:
        self._shared = shared
        self._clock = clock
        self._size = size
        self._memory: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._flights: dict[str, threading.Lock] = {}
        self._unheard: dict[str, str] = {}
        """What we have written under a key of which we do not know whether we were the first there."""

    def get(self, key: str, load: Load) -> str:
        """The value under `key`; `load` runs at most once at a time in this process."""
        if (found := self._fresh(self._memory.get(key))) is not None:
            return found
        with self._flight(key):
            if (found := self._fresh(self._memory.get(key))) is not None:
                return found
            if self._shared and (entry := self._try_read(key)) and (found := self._fresh(entry)) is not None:
                self._keep(key, *entry)
                return found
            value, seconds = load()
            until = self._clock() + seconds
            self._keep(key, value, until)
            if self._shared and seconds > 0:
                self._try_write(key, value, until)
            return value

    def first(self, key: str, seconds: float) -> bool:
        """True for the first caller with `key` in `seconds`, in whichever instance. Raises Unavailable when nobody can tell."""
        until = self._clock() + seconds
        with self._flight(key):
            if self._fresh(self._memory.get(key)) is not None:
                return False
            new = self._added(key, until)
            self._keep(key, "1", until)
            return new

    def _added(self, key: str, until: float) -> bool:
        """Whether nobody was before us; asked again where no answer came, for the note may be our own by then."""
        if self._shared is None:
            return True
        ours = self._unheard.setdefault(key, os.urandom(12).hex())
        for attempt in range(1, TRIES + 1):
            try:
                new = self._shared.add(key, ours, until)
            except Unavailable:
                if attempt == TRIES:
                    while len(self._unheard) > self._size:
                        del self._unheard[next(iter(self._unheard))]
                    raise  # and if we are asked once more, we still know what we have written
            else:
                del self._unheard[key]
                return new
        raise AssertionError("unreachable")

    def drop(self, key: str) -> None:
        """Forgets `key` on both levels: the next `get` loads it anew."""
        with self._lock:
            self._memory.pop(key, None)
        if self._shared:
            self._shared.drop(key)

    def _fresh(self, entry: tuple[str, float] | None) -> str | None:
        return entry[0] if entry and entry[1] > self._clock() else None

    def _flight(self, key: str) -> threading.Lock:
        with self._lock:
            return self._flights.setdefault(key, threading.Lock())

    def _keep(self, key: str, value: str, until: float) -> None:
        with self._lock:
            while len(self._memory) >= self._size:
                gone = next(iter(self._memory))
                del self._memory[gone]
                self._flights.pop(gone, None)
            self._memory[key] = (value, until)

    def _try_read(self, key: str) -> tuple[str, float] | None:
        try:
            return self._shared.read(key) if self._shared else None
        except AssistantError:
            return None  # a slow shared level must not stop the work: the source answers

    def _try_write(self, key: str, value: str, until: float) -> None:
        try:
            if self._shared:
                self._shared.write(key, value, until)
        except AssistantError:
            return  # the other instances load it themselves


class TableCache:
    """The table as the shared level."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self, key: str) -> tuple[str, float] | None:
        """The stored value and its end."""
        item = self._table.get(f"K#{key}", "cache", consistent=False)
        return (str(item["value"]), float(item["until"] or 0)) if item else None

    def write(self, key: str, value: str, until: float) -> None:
        """Stores the value; the table deletes it after its end."""
        self._table.put({"pk": f"K#{key}", "sk": "cache", "value": value, "until": until, "expires": int(until) + 60})

    def add(self, key: str, value: str, until: float) -> bool:
        """Stores the value where no other stands."""
        from assistant.storage import Conflict

        try:
            self._table.put(
                {"pk": f"K#{key}", "sk": "cache", "value": value, "until": until, "expires": int(until) + 60},
                condition="attribute_not_exists(#pk) OR #value = :value",
                values={"value": value},
            )
        except Conflict:
            return False
        return True

    def drop(self, key: str) -> None:
        """Removes the value."""
        self._table.delete(f"K#{key}", "cache")
