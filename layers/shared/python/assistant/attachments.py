"""A file sent with a question: read like a document of the knowledge, for this one answer, and kept nowhere."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assistant.errors import AssistantError, ContentRefused, MessageRecalled, MissingPermission, NotInChat, UnsupportedType
from assistant.knowledge import open_knowledge
from assistant.knowledge.build import build
from assistant.knowledge.documents import EVERYONE, Document, Section
from assistant.knowledge.loaders import Limits, Unreadable, read
from assistant.messages import Message, Passage
from assistant.platforms import Platform

LARGEST: Final = 20 * 1024 * 1024
"""Bytes of a file that is read in a chat; larger ones belong into the knowledge."""

LIMITS: Final = Limits(bytes=LARGEST, unpacked=100 * 1024 * 1024, pages=300, characters=2_000_000, seconds=20.0)

OPENING: Final = 5
"""Passages from the beginning that stand for a file about which nothing particular is asked."""


class CannotRead(AssistantError):
    """The file is of no use for an answer; the text is the reason, for the asker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What a file holds."""

    name: str
    headings: tuple[str, ...]
    passages: tuple[Passage, ...]
    """Those that answer the question, best first; without a question, those it begins with."""


def attached(message: Message, platform: Platform) -> Attached:
    """The file of `message`, read for its question. Raises CannotRead with the reason, and a SendError of the platform."""
    try:
        file = platform.fetch(message, limit=LARGEST)
    except (ContentRefused, MessageRecalled, MissingPermission, NotInChat, UnsupportedType) as error:
        raise CannotRead(str(error)) from error
    try:
        loaded = read(file.name, file.content, limits=LIMITS)
    except Unreadable as error:
        raise CannotRead(error.reason) from error
    headings = tuple(dict.fromkeys(" › ".join(s.path) for s in loaded.sections if s.path))
    document = Document(id=file.name, title=loaded.title or file.name, sections=loaded.sections, origin=file.name)
    return Attached(name=file.name, headings=headings, passages=_found(document, message.text))


def _found(document: Document, question: str) -> tuple[Passage, ...]:
    if not question.strip():
        return _opening(document.title, document.sections)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attached.sqlite"
        build([document], path)
        knowledge = open_knowledge(path)
        try:
            found = knowledge.search(question, audience=frozenset({EVERYONE}), limit=OPENING).passages
        finally:
            knowledge.close()
    return found or _opening(document.title, document.sections)


def _opening(title: str, sections: Sequence[Section]) -> tuple[Passage, ...]:
    return tuple(
        Passage(id=f"{n}", title=title, text=section.text[:1600], path=" › ".join(section.path), page=section.page)
        for n, section in enumerate(sections[:OPENING])
    )
