"""PowerPoint (.pptx): a section for each slide, with its number, its title as the path, its tables and its notes.

Source: ECMA-376 part 1, PresentationML. Read with the standard library and defusedxml: python-pptx would bring lxml and
Pillow, 33 MB more in every function's layer.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import Limits, Loaded, Unreadable, table, tidy
from assistant.knowledge.loaders.office import RELATIONS, Package

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_A: Final = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P: Final = "{http://schemas.openxmlformats.org/presentationml/2006/main}"


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The slides in the order they are shown."""
    package = Package(name, content, limits=limits)
    root = package.needed("ppt/presentation.xml")
    targets = package.targets("ppt/presentation.xml")
    slides = [targets.get(s.get(f"{RELATIONS}id", ""), "") for s in root.iter(f"{_P}sldId")]
    if len(slides) > limits.pages:
        raise Unreadable(name, f"it has {len(slides):,} slides, more than {limits.pages:,}; split it")
    sections = []
    for number, path in enumerate(slides, 1):
        heading, body = _slide(package.needed(path))
        for target in package.targets(path).values():
            if "/notesSlide" in target and (notes := package.part(target)) is not None:
                body = tidy(f"{body}\n\n{_notes(notes)}")
        sections.append(Section(text=body or heading, page=number, path=(heading,) if heading else ()))
    title = package.title
    if title in {"", "PowerPoint Presentation"}:  # the program's own default says nothing
        title = next((s.path[0] for s in sections if s.path), PurePosixPath(name).stem)
    return Loaded(title=title, sections=tuple(sections), about={})


def _slide(root: Element) -> tuple[str, str]:
    heading, texts = "", []
    for shape in root.iter():
        if shape.tag == f"{_P}sp":
            text = _paragraphs(shape)
            if not heading and _placeholder(shape) in {"title", "ctrTitle"}:
                heading = " ".join(text.split())
            elif text and _placeholder(shape) not in {"sldNum", "dt", "ftr"}:
                texts.append(text)
        elif shape.tag == f"{_A}tbl":
            rows = [[_paragraphs(cell) for cell in row.findall(f"{_A}tc")] for row in shape.findall(f"{_A}tr")]
            texts.append(table(rows))
    return heading, tidy("\n\n".join(texts))


def _notes(root: Element) -> str:
    shapes = [s for s in root.iter(f"{_P}sp") if _placeholder(s) == "body"]
    return "\n".join(t for s in shapes if (t := _paragraphs(s)))


def _placeholder(shape: Element) -> str:
    found = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return found.get("type", "") if found is not None else "none"


def _paragraphs(element: Element) -> str:
    lines = []
    for paragraph in element.iter(f"{_A}p"):
        parts = [
            ("\n" if node.tag == f"{_A}br" else node.text or "") for node in paragraph.iter() if node.tag in {f"{_A}t", f"{_A}br"}
        ]
        if line := "".join(parts).strip():
            lines.append(line)
    return "\n".join(lines)
