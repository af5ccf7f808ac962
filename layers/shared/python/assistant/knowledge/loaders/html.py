"""HTML: headings, paragraphs, lists and tables; navigation, scripts and forms are left out."""

from __future__ import annotations

import contextlib
import re
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Final

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import Limits, Loaded, decode, table, tidy

_SKIPPED: Final = frozenset(
    {"script", "style", "noscript", "template", "nav", "footer", "aside", "form", "button", "svg", "iframe", "head", "select"}
)
_BLOCKS: Final = frozenset(
    {
        "p", "div", "section", "article", "main", "ul", "ol", "dl", "dt", "dd", "blockquote", "pre", "figure", "figcaption",
        "header", "hr", "br", "body", "address", "details", "summary",
    }
)  # fmt: skip
_VOID: Final = frozenset({"br", "hr", "img", "input", "meta", "link", "area", "base", "col", "embed", "source", "track", "wbr"})
_CODECS: Final = frozenset(
    {
        "gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "iso-8859-1", "iso-8859-2", "iso-8859-15",
        "windows-1250", "windows-1251", "windows-1252", "koi8-r",
    }
)  # fmt: skip
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The page's main part, cut at its headings."""
    declared = _CHARSET.search(content[:4096])
    if declared and (codec := declared[1].decode("ascii").lower()) in _CODECS:
        with contextlib.suppress(UnicodeDecodeError):  # the page is wrong about itself; decode() finds out
            content = content.decode(codec).encode()
    text = decode(name, content)
    page = _Page(within=next((t for t in ("main", "article") if re.search(rf"<{t}[\s>]", text, re.IGNORECASE)), ""))
    page.feed(text)
    page.close()
    page.finish()
    title = page.title.strip() or page.first_heading or PurePosixPath(name).stem
    sections = [
        Section(text=s.text, path=s.path[1:] if s.path and s.path[0] in title else s.path) for s in page.sections
    ]  # a page whose first heading repeats its title needs it once
    return Loaded(title=" ".join(title.split()), sections=tuple(sections), about={"language": page.language})


class _Page(HTMLParser):
    def __init__(self, *, within: str) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.first_heading = ""
        self.language = ""
        self.sections: list[Section] = []
        self._within = within
        self._inside = 0 if within else 1
        self._skipping: list[str] = []
        self._path: list[tuple[int, str]] = []
        self._text: list[str] = []
        self._heading: list[str] | None = None
        self._in_title = False
        self._pre = 0
        self._rows: list[list[str]] | None = None
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "html":
            self.language = dict(attrs).get("lang") or ""
        elif tag == "title" and not self.title:
            self._in_title = True
        if tag == self._within:
            self._inside += 1
        if self._skipping or not self._inside:
            if self._skipping and tag == self._skipping[-1]:
                self._skipping.append(tag)
            return
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif re.fullmatch(r"h[1-6]", tag) and self._rows is None:
            self.finish()
            self._heading = []
        elif tag == "table":
            self._close_table()
            self._rows = []
        elif tag == "tr" and self._rows is not None:
            self._close_cell()
            self._rows.append([])
        elif tag in {"td", "th"} and self._rows is not None:
            self._close_cell()
            if not self._rows:
                self._rows.append([])
            self._cell = []
        elif tag == "li":
            self._put("\n- ")
        elif tag in _BLOCKS:
            self._pre += tag == "pre"
            self._put("\n" if tag in {"br", "dd"} else "\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag == self._within and self._inside:
            self._inside -= 1
        if self._skipping:
            if tag == self._skipping[-1]:
                self._skipping.pop()
            return
        if not self._inside:
            return
        if re.fullmatch(r"h[1-6]", tag) and self._heading is not None:
            heading, self._heading = " ".join("".join(self._heading).split()), None
            if heading:
                self.first_heading = self.first_heading or heading
                self._path = [(n, h) for n, h in self._path if n < int(tag[1])] + [(int(tag[1]), heading)]
        elif tag in {"td", "th"}:
            self._close_cell()
        elif tag == "table":
            self._close_table()
        elif tag in _BLOCKS and tag not in _VOID:
            self._pre -= tag == "pre" and self._pre > 0
            self._put("\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._inside and not self._skipping:
            self._put(data if self._pre else re.sub(r"\s+", " ", data))

    def finish(self) -> None:
        """Ends the section that is being read."""
        self._close_table()
        text = tidy(re.sub(r"(?m)^[ \t]+(?![ \t])", "", "".join(self._text)))
        self._text.clear()
        if text:
            self.sections.append(Section(text=text, path=tuple(h for _, h in self._path)))

    def _put(self, text: str) -> None:
        if self._heading is not None:
            self._heading.append(text)
        elif self._cell is not None:
            self._cell.append(text)
        elif self._rows is None:
            self._text.append(text)

    def _close_cell(self) -> None:
        if self._cell is not None and self._rows:
            self._rows[-1].append("".join(self._cell))
        self._cell = None

    def _close_table(self) -> None:
        self._close_cell()
        rows, self._rows = self._rows, None
        if rows := [r for r in rows or () if any(c.strip() for c in r)]:
            self._text.append("\n\n" + table(rows) + "\n\n")
