"""Builds a whole knowledge file from documents."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from assistant.knowledge.documents import Document, Section
from assistant.knowledge.store import Writer

__all__ = ["Document", "Section", "build"]


def build(documents: Iterable[Document], path: Path, *, version: str = "", clock: Callable[[], float] = time.time) -> int:
    """Writes a new knowledge file at `path`, in place of an older one at once, and gives the number of documents in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    try:
        count = 0
        with Writer(unfinished, clock=clock) as writer:
            for document in documents:
                writer.add(document)
                count += 1
            writer.version = version or str(int(clock() * 1000))
            writer.compact()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count
