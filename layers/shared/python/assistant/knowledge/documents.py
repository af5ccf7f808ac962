"""What is poured in: a document is sections under headings, and is cut into passages that answer questions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from assistant.knowledge.text import is_cjk

EVERYONE: Final = "everyone"
"""The audience token that every asker holds."""

_LONGEST: Final = 1600
_LONGEST_CJK: Final = 700
_PARAGRAPHS = re.compile(r"\n\s*\n")
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Text under one heading (Markdown), or on one page or sheet."""

    text: str
    path: tuple[str, ...] = ()
    """Headings above the text, outermost first, without the document's title."""
    page: int = 0
    """From 1; 0 where there are no pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One source and who may see it. `audience` holds tokens such as `everyone`, `department:<id>`, `user:<platform>:<id>`."""

    id: str
    title: str
    sections: tuple[Section, ...]
    url: str = ""
    audience: frozenset[str] = frozenset({EVERYONE})
    language: str = ""
    folder: str = ""
    """Where it stands among the others; a folder's audience is the default of what is in it."""
    owner: str = ""
    """Who to ask and who to tell when it grows stale, as `user:<platform>:<id>` or a name."""
    origin: str = ""
    """What it was read from: a path, an address, an upload's name."""
    aliases: tuple[str, ...] = field(default=())
    """Other words for its subject, searched like the title."""

    inherits: bool = False
    """True where the audience is its folder's and changes with it."""
    fingerprint: str = ""
    """Of the bytes that it was read from: a file with the same one need not be read again."""

    @property
    def checksum(self) -> str:
        """Changes whenever anything that readers see changes."""
        digest = hashlib.sha256()
        parts = [
            self.id,
            self.title,
            self.url,
            self.language,
            self.folder,
            self.owner,
            str(self.inherits),
            *sorted(self.audience),
            "",
            *self.aliases,
        ]
        for part in parts:
            digest.update(part.encode("utf-8", "replace") + b"\0")
        for section in self.sections:
            digest.update(f"{section.page}\0{section.path}\0{section.text}\0".encode("utf-8", "replace"))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before it is stored."""

    text: str
    path: tuple[str, ...] = ()
    page: int = 0


def pieces(document: Document) -> Iterator[Piece]:
    """The passages of a document: a section each, long ones cut between paragraphs, sentences or rows of a table."""
    for section in document.sections:
        for text in split(section.text):
            yield Piece(text, section.path, section.page)


def split(text: str) -> list[str]:
    """`text` in parts that are short enough to quote; a table's parts each begin with its header."""
    text = text.strip()
    longest = _LONGEST_CJK if is_cjk(text) else _LONGEST
    if len(text) <= longest:
        return [text] if text else []
    parts: list[str] = []
    for paragraph in _PARAGRAPHS.split(text):
        _pack(parts, _small(paragraph.strip("\n"), longest), longest, glue="\n\n")
    return parts


def _small(paragraph: str, longest: int) -> list[str]:
    if len(paragraph) <= longest:
        return [paragraph]
    lines = paragraph.split("\n")
    if len(lines) > 2 and lines[0].lstrip().startswith("|") and set(lines[1]) <= set("|-: "):
        parts: list[str] = []
        _pack(parts, lines[2:], max(longest - len(lines[0]) - len(lines[1]) - 2, 200), glue="\n")
        return [f"{lines[0]}\n{lines[1]}\n{rows}" for rows in parts]
    parts = []
    sentences = [s for s in _SENTENCES.split(paragraph) if s and s.strip()]
    pieces_ = [s[i : i + longest] for s in sentences for i in range(0, len(s), longest)]
    _pack(parts, pieces_, longest, glue="" if is_cjk(paragraph) else " ")
    return parts


def _pack(parts: list[str], more: list[str], longest: int, *, glue: str) -> None:
    """Appends `more` to `parts`, filling up the last part while it stays short enough."""
    for text in more:
        if not text.strip():
            continue
        if parts and len(parts[-1]) + len(glue) + len(text) <= longest:
            parts[-1] += glue + text
        else:
            parts.append(text)
