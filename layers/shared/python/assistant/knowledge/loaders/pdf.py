"""PDF: the text of each page with its number, under the outline's headings where the file has an outline."""

from __future__ import annotations

import io
import logging
import re
import time
import warnings
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import BROKEN, Limits, Loaded, Unreadable, tidy
from assistant.knowledge.text import is_cjk


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The pages of the file."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it reports each oddity of each page
    end = time.monotonic() + limits.seconds
    broken: tuple[type[Exception], ...] = (PyPdfError, *BROKEN)
    try:
        with warnings.catch_warnings(action="ignore"):
            reader = PdfReader(io.BytesIO(content))
            if reader.is_encrypted and not reader.decrypt(""):
                raise Unreadable(name, "it is encrypted; take the password off")
            count = len(reader.pages)
            if count > limits.pages:
                raise Unreadable(name, f"it has {count:,} pages, more than {limits.pages:,}; split it")
            texts = []
            size = 0
            for page in reader.pages:
                if time.monotonic() > end:
                    raise Unreadable(name, f"reading it takes more than {limits.seconds:.0f} s; split it")
                texts.append(page.extract_text() or "")
                size += len(texts[-1])
                if size > limits.characters:
                    raise Unreadable(name, f"it holds more than {limits.characters:,} characters; split it")
            headings = _outline(reader)
            title = str((reader.metadata.title if reader.metadata else "") or "")
    except Unreadable:
        raise
    except DependencyError as error:
        raise Unreadable(name, "it is encrypted with a method that cannot be read here; save it without") from error
    except broken as error:
        raise Unreadable(name, f"it is broken ({type(error).__name__})") from error
    texts = _without_running_heads(texts)
    sections = tuple(Section(text=flow(text), page=number, path=headings.get(number, ())) for number, text in enumerate(texts, 1))
    return Loaded(title=title if len(title) > 3 else PurePosixPath(name).stem, sections=sections, about={})


def flow(text: str) -> str:
    """Lines as they were set on the page, joined to paragraphs again."""
    joined: list[str] = []
    for raw in text.split("\n"):
        line = raw.strip()
        before = joined[-1] if joined else ""
        if not line:
            joined.append("")
        elif before.endswith("-") and line[0].islower():
            joined[-1] = before[:-1] + line
        elif before and len(before) > 30 and not re.search(r"[.!?:;。！？：；]$", before):
            joined[-1] = before + ("" if is_cjk(before[-1]) and is_cjk(line[0]) else " ") + line
        else:
            joined.append(line)
    return tidy("\n".join(joined))


def _without_running_heads(texts: list[str]) -> list[str]:
    """Pages without the lines that stand at the top or bottom of most of them."""
    if len(texts) < 4:
        return texts
    pages = [t.split("\n") for t in texts]
    edges = Counter(_shape(line) for lines in pages for line in {*lines[:2], *lines[-2:]} if line.strip())
    running = {shape for shape, n in edges.items() if n > len(pages) * 0.6}
    return [
        "\n".join(line for at, line in enumerate(lines) if not ((at < 2 or at >= len(lines) - 2) and _shape(line) in running))
        for lines in pages
    ]


def _shape(line: str) -> str:
    return re.sub(r"\d+", "#", " ".join(line.split()))


def _outline(reader: Any) -> dict[int, tuple[str, ...]]:  # pypdf's outline is a nested list of several types
    """For each page number the outline's headings that reach it."""
    from pypdf.errors import PyPdfError

    broken: tuple[type[Exception], ...] = (PyPdfError, *BROKEN)
    marks: list[tuple[int, tuple[str, ...]]] = []

    def walk(items: Any, above: tuple[str, ...]) -> None:
        last = above
        for item in items:
            if isinstance(item, list):
                if len(above) < 5:
                    walk(item, last)
                continue
            number = reader.get_destination_page_number(item)
            last = (*above, " ".join(str(item.title).split()))
            if number is not None and number >= 0:
                marks.append((number + 1, last))

    try:
        walk(reader.outline, ())
    except broken:  # an outline is decoration
        return {}
    headings: dict[int, tuple[str, ...]] = {}
    path: tuple[str, ...] = ()
    by_page = dict(marks)
    for number in range(1, len(reader.pages) + 1):
        path = by_page.get(number, path)
        if path:
            headings[number] = path
    return headings
