"""Markdown: headings become the path of what stands below them; tables, lists and code stay as they are."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import Limits, Loaded, decode, tidy

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]++(.+)$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_TARGET = r"\([^()]*+(?:\([^()]*+\)[^()]*+)*+\)"
_IMAGE = re.compile(rf"!\[([^\[\]]*+)\]{_TARGET}")  # no bracket inside: many of them would make the search slow
_LINK = re.compile(rf"\[([^\[\]]++)\]{_TARGET}")
_FIELD = re.compile(r"([A-Za-z_]+):[ \t]*+(.*)$")


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The sections of the file; its title is the front matter's, the first heading of the highest level, or its name."""
    about, text = front_matter(decode(name, content))
    title, sections = parse(_without_comments(text))
    return Loaded(title=about.pop("title", "") or title or PurePosixPath(name).stem, sections=sections, about=about)


def _without_comments(text: str) -> str:
    shown, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        shown.append(text[at:start])
        at = end + 3
    return "".join([*shown, text[at:]])


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """The `key: value` lines between `---` at the top, and the text after them."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return {}, text
    about: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 1):
        if line.strip() in {"---", "..."}:
            return about, "\n".join(lines[number + 1 :])
        if found := _FIELD.match(line):
            about[found[1].lower()] = found[2].strip().strip("\"'")
    return {}, text


def parse(text: str) -> tuple[str, tuple[Section, ...]]:
    """The title (the first level-1 heading; empty where there is none) and the sections of Markdown `text`."""
    title = ""
    path: list[tuple[int, str]] = []
    sections: list[Section] = []
    gathered: list[str] = []
    fence = ""

    def finish() -> None:
        body = tidy("\n".join(gathered))
        gathered.clear()
        if body:
            sections.append(Section(text=body, path=tuple(h for _, h in path)))

    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            gathered.append(line)
            continue
        if mark:
            fence = mark[1]
            gathered.append(line)
            continue
        level, heading = 0, ""
        if found := _HEADING.match(line):
            words = found[2].rstrip(" \t")
            level, heading = len(found[1]), plain(words.rstrip("#").rstrip(" \t") or words)
        elif (under := _UNDERLINE.match(line)) and _one_line(gathered):
            level, heading = (1 if under[1][0] == "=" else 2), plain(gathered.pop().strip())
        if not level:
            gathered.append(_LINK.sub(r"\1", _IMAGE.sub(r"\1", line)))
            continue
        finish()
        if level == 1 and not title:
            title = heading
            path.clear()
            continue
        path[:] = [(n, h) for n, h in path if n < level] + [(level, heading)]
    finish()
    return title, tuple(sections)


def _one_line(gathered: list[str]) -> bool:
    """True where a paragraph of a single line ends here: with a line under it, it is a heading."""
    if not gathered or not gathered[-1].strip() or gathered[-1].lstrip().startswith(("|", "-", ">")):
        return False
    return len(gathered) == 1 or not gathered[-2].strip()


def plain(text: str) -> str:
    """Inline Markdown without its marks."""
    return re.sub(r"[*_`]{1,3}(.+?)[*_`]{1,3}", r"\1", _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))).strip()
