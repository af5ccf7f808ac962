"""What went wrong with a provider lately, for the doctor: one small write in a while, and never a person's name.

| item | pk | sk |
|---|---|---|
| trouble with a provider | `H#oauth-<provider>` | `seen` |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from assistant.errors import AssistantError
from assistant.storage import Table, key

EVERY: Final = 300
"""Seconds in which the same kind of trouble is noted once in a process."""

Kind = Literal["refresh", "scopes"]


class Trouble:
    """Notes and tells. Raises nothing when it notes: it is a side note."""

    def __init__(self, table: Table, *, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock
        self._noted: dict[tuple[str, str], float] = {}

    def note(self, provider: str, kind: Kind, detail: str) -> None:
        """Remembers that it happened now: a refresh that failed (why), or scopes that a provider did not grant (which)."""
        now = self._clock()
        if now - self._noted.get((provider, kind), 0) < EVERY:
            return
        try:
            self._table.update(*_place(provider), {f"at_{kind}": int(now), f"of_{kind}": detail[:500]})
        except AssistantError:
            return
        self._noted[provider, kind] = now

    def of(self, provider: str, kind: Kind) -> Told | None:
        """The last trouble of that kind; None where there was none. Raises Unavailable."""
        item = self._table.get(*_place(provider), consistent=False) or {}
        at = int(item.get(f"at_{kind}") or 0)
        return Told(at, str(item.get(f"of_{kind}") or "")) if at else None


class Told(NamedTuple):
    """When it was, in Unix seconds, and what."""

    at: int
    detail: str


def _place(provider: str) -> tuple[str, str]:
    return key("H", f"oauth-{provider}"), "seen"
