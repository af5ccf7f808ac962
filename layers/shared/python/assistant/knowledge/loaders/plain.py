"""Plain text: one section; paragraphs decide where it is cut."""

from __future__ import annotations

from pathlib import PurePosixPath

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import Limits, Loaded, decode, tidy


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The text of the file under its name."""
    text = tidy(decode(name, content))
    return Loaded(title=PurePosixPath(name).stem, sections=(Section(text=text),), about={})
