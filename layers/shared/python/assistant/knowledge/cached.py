"""What was found, kept for those who ask the same with the same rights while the knowledge is the same."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final, Protocol

from assistant.cache import Cache
from assistant.knowledge import Found
from assistant.messages import Passage

SECONDS: Final = 300.0


class Searched(Protocol):
    """Knowledge that is open: `Knowledge` or `Served`."""

    @property
    def version(self) -> str:
        """Changes whenever anything in the knowledge does."""

    def kinds(self) -> frozenset[str]:
        """Kinds of audience token that are used."""

    def search(
        self, question: str, *, audience: frozenset[str], limit: int = 5, listeners: Sequence[frozenset[str]] = ()
    ) -> Found:
        """What is found."""


class CachedKnowledge:
    """`knowledge` behind a cache. The key holds version, asker's and listeners' rights, and question: who holds other rights,
    or asks after a change, never gets what was kept.

    Searching by words takes two milliseconds, less than any shared cache; give `cache` a shared level only with an embedder.
    """

    def __init__(
        self, knowledge: Searched, cache: Cache, *, seconds: float = SECONDS, count: Callable[[bool], None] = lambda hit: None
    ) -> None:
        self._knowledge = knowledge
        self._cache = cache
        self._seconds = seconds
        self._count = count
        """Told True for each answer out of the cache and False for each search, for the hit rate."""

    @property
    def version(self) -> str:
        """Version of the knowledge underneath."""
        return self._knowledge.version

    def kinds(self) -> frozenset[str]:
        """Kinds of audience token that are used underneath."""
        return self._knowledge.kinds()

    def search(
        self, question: str, *, audience: frozenset[str], limit: int = 5, listeners: Sequence[frozenset[str]] = ()
    ) -> Found:
        """As the knowledge underneath finds it, once in a while."""
        rights = [sorted(audience), *sorted(sorted(tokens) for tokens in listeners)]
        key = json.dumps([self._knowledge.version, rights, limit, question])
        searched = threading.Event()

        def load() -> tuple[str, float]:
            searched.set()
            found = self._knowledge.search(question, audience=audience, limit=limit, listeners=listeners)
            return json.dumps(asdict(found), ensure_ascii=True), self._seconds

        text = self._cache.get("found/" + hashlib.sha256(key.encode()).hexdigest(), load)
        self._count(not searched.is_set())
        data = json.loads(text)
        lists = {name: tuple(data[name]) for name in ("facts", "experts")}
        return Found(**(data | lists | {"passages": tuple(Passage(**p) for p in data["passages"])}))
