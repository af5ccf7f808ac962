"""The files sent with a question: read like documents of the knowledge, for this one answer, and kept nowhere."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from assistant.errors import AssistantError, ContentRefused, MessageRecalled, MissingPermission, NotInChat, UnsupportedType
from assistant.knowledge import open_knowledge
from assistant.knowledge.build import build
from assistant.knowledge.documents import EVERYONE, Document
from assistant.knowledge.loaders import Limits, Unreadable, read
from assistant.messages import Message, Passage
from assistant.platforms import Platform

LARGEST: Final = 20 * 1024 * 1024
"""Bytes of a file that is read in a chat; larger ones belong into the knowledge."""

LIMITS: Final = Limits(bytes=LARGEST, unpacked=100 * 1024 * 1024, pages=300, characters=2_000_000, seconds=20.0)

MOST_FILES: Final = 10
"""Files of one message that are read; together they have at most LARGEST bytes."""

OPENING: Final = 5
"""Passages from the beginning that stand for a file about which nothing particular is asked."""


class CannotRead(AssistantError):
    """The file is of no use for an answer; the text is the reason, for the asker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What the files of a message hold."""

    names: tuple[str, ...]
    headings: tuple[str, ...]
    passages: tuple[Passage, ...]
    """Those that answer the question, best first; without a question, those that the files begin with."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """By name, why a file is of no use for the answer."""


def attached(message: Message, platform: Platform) -> Attached:
    """The files of `message`, read for its question. Raises CannotRead with the reason where none can be, and a SendError of
    the platform."""
    documents: list[Document] = []
    unread: dict[str, str] = {}
    first: CannotRead | None = None
    left = LARGEST
    for part in message.each_file[:MOST_FILES]:
        try:
            document, size = _read(part, platform, left)
        except CannotRead as error:
            first = first or error
            unread[part.file_name or f"{len(unread) + len(documents) + 1}"] = str(error)
            continue
        left -= size
        documents.append(document)
    for part in message.each_file[MOST_FILES:]:
        unread[part.file_name] = f"only {MOST_FILES} files of a message are read"
    if not documents:
        raise first or CannotRead("the message carries no file")
    headings = dict.fromkeys(" › ".join(s.path) for d in documents for s in d.sections if s.path)
    return Attached(
        names=tuple(d.id for d in documents), headings=tuple(headings), passages=_found(documents, message.text), unread=unread
    )


def _read(message: Message, platform: Platform, limit: int) -> tuple[Document, int]:
    """The one file of `message`, and how many bytes it has."""
    try:
        file = platform.fetch(message, limit=limit)
    except (ContentRefused, MessageRecalled, MissingPermission, NotInChat, UnsupportedType) as error:
        raise CannotRead(str(error)) from error
    try:
        loaded = read(file.name, file.content, limits=LIMITS)
    except Unreadable as error:
        raise CannotRead(error.reason) from error
    document = Document(id=file.name, title=loaded.title or file.name, sections=loaded.sections, origin=file.name)
    return document, len(file.content)


def _found(documents: Sequence[Document], question: str) -> tuple[Passage, ...]:
    if not question.strip():
        return _opening(documents)
    named = [replace(d, id=f"{n}/{d.id}") for n, d in enumerate(documents)]  # two may have one name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attached.sqlite"
        build(named, path)
        knowledge = open_knowledge(path)
        try:
            found = knowledge.search(question, audience=frozenset({EVERYONE}), limit=OPENING).passages
        finally:
            knowledge.close()
    return found or _opening(documents)


def _opening(documents: Sequence[Document]) -> tuple[Passage, ...]:
    each = max(1, OPENING // len(documents))
    return tuple(
        Passage(id=f"{n}", title=document.title, text=section.text[:1600], path=" › ".join(section.path), page=section.page)
        for n, (document, section) in enumerate((d, s) for d in documents for s in d.sections[:each])
    )
