"""Word (.docx): headings become the path, tables and lists stay readable, text that was struck out in review is left out.

Source: ECMA-376 part 1, WordprocessingML. Read with the standard library and defusedxml: python-docx would bring lxml,
12 MB more in every function's layer.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import Limits, Loaded, table, tidy
from assistant.knowledge.loaders.office import Package

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_LEVEL = re.compile(r"(?:heading|标题|überschrift|titre)\s*(\d)", re.IGNORECASE)


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The sections of the document."""
    package = Package(name, content, limits=limits)
    body = package.needed("word/document.xml").find(f"{_W}body")
    levels = _heading_levels(package)
    lists = _list_styles(package)
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    gathered: list[str] = []
    title = package.title

    def finish() -> None:
        if text := tidy("\n".join(gathered)):
            sections.append(Section(text=text, path=tuple(h for _, h in path)))
        gathered.clear()

    for block in _blocks(body):
        if block.tag == f"{_W}tbl":
            rows = [[_text(cell) for cell in row.findall(f"{_W}tc")] for row in block.findall(f"{_W}tr")]
            gathered.append("\n" + table([r for r in rows if any(c.strip() for c in r)]) + "\n")
            continue
        text = _text(block).strip()
        properties = block.find(f"{_W}pPr")
        style = properties.find(f"{_W}pStyle") if properties is not None else None
        level = levels.get(style.get(f"{_W}val", "") if style is not None else "")
        if properties is not None and (own := properties.find(f"{_W}outlineLvl")) is not None:
            level = int(own.get(f"{_W}val", "9")) + 1
        if level == 0 and text:
            title = text
        elif level and level <= 6 and text:
            finish()
            path[:] = [(n, h) for n, h in path if n < level] + [(level, text)]
        else:
            listed = properties is not None and properties.find(f"{_W}numPr") is not None
            listed |= style is not None and style.get(f"{_W}val", "") in lists
            gathered.append(f"- {text}" if listed and text else f"\n{text}\n" if text else "")
    finish()
    return Loaded(title=title or PurePosixPath(name).stem, sections=tuple(sections), about={})


def _blocks(body: Element | None) -> list[Element]:
    """Paragraphs and tables in order, also those inside content controls."""
    found: list[Element] = []
    for child in body if body is not None else ():
        if child.tag in {f"{_W}p", f"{_W}tbl"}:
            found.append(child)
        elif child.tag == f"{_W}sdt":
            found += _blocks(child.find(f"{_W}sdtContent"))
    return found


def _text(element: Element) -> str:
    parts: list[str] = []

    def walk(node: Element) -> None:
        for child in node:
            if child.tag in {f"{_W}del", f"{_W}pPr", f"{_W}rPr", f"{_W}moveFrom"}:
                continue
            if child.tag == f"{_W}t":
                parts.append(child.text or "")
            elif child.tag in {f"{_W}tab", f"{_W}br", f"{_W}cr"}:
                parts.append("\n" if child.tag != f"{_W}tab" else "\t")
            else:
                walk(child)
                if child.tag == f"{_W}p":
                    parts.append("\n")

    walk(element)
    return "".join(parts)


def _list_styles(package: Package) -> frozenset[str]:
    """Ids of the paragraph styles that are lists."""
    root = package.part("word/styles.xml")
    return frozenset(
        style.get(f"{_W}styleId", "")
        for style in (root.findall(f"{_W}style") if root is not None else ())
        if style.find(f"{_W}pPr/{_W}numPr") is not None
    )


def _heading_levels(package: Package) -> dict[str, int]:
    """Style id → heading level; 0 for the title's style."""
    levels: dict[str, int] = {}
    root = package.part("word/styles.xml")
    for style in root.findall(f"{_W}style") if root is not None else ():
        named = style.find(f"{_W}name")
        name = named.get(f"{_W}val", "") if named is not None else ""
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        if found := _LEVEL.match(name):
            levels[style.get(f"{_W}styleId", "")] = int(found[1])
        elif name.lower() in {"title", "标题"}:
            levels[style.get(f"{_W}styleId", "")] = 0
        elif outline is not None:
            levels[style.get(f"{_W}styleId", "")] = int(outline.get(f"{_W}val", "9")) + 1
    return levels
