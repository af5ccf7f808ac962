"""The trained intents of the plug-ins' flows: learned once, when the assistant is deployed, and loaded by every function.

| object | holds |
|---|---|
| `intents/<digest>.bin` | what was learned from the examples with that digest: other examples, another object |

A function that finds none learns them itself and leaves them there: a plug-in that was switched on between two deployments costs
one conversation a second, and nobody else anything.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from assistant.errors import AssistantError, InvalidSetting
from assistant.nlu import Understander, train
from assistant.observability import log
from assistant.storage import Bucket

logger = logging.getLogger(__name__)

EDITION: Final = "1"
"""Raised with a change to the features or the training: what an earlier version learned is left alone."""


class Prepared(NamedTuple):
    """What `prepare` found or made."""

    made: bool
    intents: int
    kilobytes: int
    seconds: float


class Intents:
    """Finds the understander for examples: on this machine's disk, else in the bucket, else by learning. Safe to share."""

    def __init__(self, bucket: Callable[[], Bucket | None], *, folder: Path | None = None) -> None:
        self._bucket = bucket
        self._folder = folder or Path(tempfile.gettempdir())

    def understander(self, examples: Sequence[tuple[str, str]]) -> Understander | None:
        """What tells the intents of `examples` apart; None where there are none."""
        if not examples:
            return None
        name = _name(examples)
        kept = self._folder / f"assistant-intents-{name}.bin"
        with suppress(OSError, InvalidSetting):
            return Understander.load(kept)
        found = self._stored(name) or self._learned(examples, name)
        with suppress(OSError):  # no room to keep it: it is read again at the next start
            found.save(kept)
        return found

    def prepare(self, examples: Sequence[tuple[str, str]]) -> Prepared:
        """Learns the examples where that was not done before. Raises Unavailable where the bucket does not answer."""
        began = time.perf_counter()
        if not examples:
            return Prepared(False, 0, 0, 0.0)
        name = _name(examples)
        found = self._stored(name)
        made = found is None
        if found is None:
            found = train(examples)
            if bucket := self._bucket():
                bucket.put(_path(name), found.to_bytes())
        size = len(found.to_bytes())
        return Prepared(made, len({i for _, i in examples}), -(-size // 1024), time.perf_counter() - began)

    def _stored(self, name: str) -> Understander | None:
        bucket = self._bucket()
        if bucket is None:
            return None
        try:
            return Understander.from_bytes(bucket.get(_path(name)))
        except (KeyError, ValueError, AssistantError):
            return None

    def _learned(self, examples: Sequence[tuple[str, str]], name: str) -> Understander:
        log(logger, logging.WARNING, "intents are learned while somebody waits", event_action="learn")
        learned = train(examples)
        with suppress(AssistantError):
            if bucket := self._bucket():
                bucket.put(_path(name), learned.to_bytes())
        return learned


def _name(examples: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(f"{EDITION}\n{sorted(examples)!r}".encode("utf-8", "replace")).hexdigest()[:16]


def _path(name: str) -> str:
    return f"intents/{name}.bin"
