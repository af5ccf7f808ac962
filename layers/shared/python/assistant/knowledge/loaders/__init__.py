"""Files of the kinds that companies have, turned into sections of text. Each kind is one module and one line in `LOADERS`.

What cannot be used is refused by name with the reason (`Unreadable`), so that one bad file never stops the others.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any, Final

from assistant.errors import AssistantError
from assistant.knowledge.documents import Section
from assistant.knowledge.text import is_cjk

LOADERS: Final[Mapping[str, str]] = {
    ".md": "markdown", ".markdown": "markdown", ".txt": "plain", ".text": "plain", ".log": "plain", ".rst": "plain",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf", ".docx": "word", ".docm": "word", ".pptx": "slides",
    ".pptm": "slides", ".xlsx": "sheets", ".xlsm": "sheets", ".csv": "sheets", ".tsv": "sheets",
}  # fmt: skip
"""Ending of the file's name → the module of this package that reads it, imported when the first such file comes."""

BROKEN: Final[tuple[type[Exception], ...]] = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    SyntaxError, RuntimeError, AssertionError,
)  # fmt: skip
"""What parsers raise on damaged files: they trip over a wrong byte wherever it stands. (XML's ParseError is a SyntaxError.)"""

_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Unreadable(AssistantError):
    """A file that does not go in: says which and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may cost."""

    bytes: int = 100 * 1024 * 1024
    unpacked: int = 500 * 1024 * 1024
    """Of a zip, and of the zip that a Word, PowerPoint or Excel file is."""
    ratio: int = 200
    """Largest unpacked size against the packed one."""
    members: int = 5000
    pages: int = 5000
    characters: int = 20_000_000
    seconds: float = 120.0


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a file says. `about` holds what it says of itself: `audience`, `owner`, `url`, `language`, as far as it does."""

    title: str
    sections: tuple[Section, ...]
    about: Mapping[str, str]


def suffix(name: str) -> str:
    """The ending that decides how `name` is read, in lower case with its dot."""
    return PurePosixPath(name.replace("\\", "/")).suffix.lower()


def read(name: str, content: bytes, *, limits: Limits = LIMITS) -> Loaded:
    """The text of one file. Raises Unreadable for a broken, encrypted, huge, empty or unknown one."""
    module = LOADERS.get(suffix(name))
    if module is None:
        known = " ".join(sorted({*LOADERS, ".zip"}))
        raise Unreadable(name, f"files of kind {suffix(name) or '(no ending)'!r} cannot be read; known: {known}")
    if not content:
        raise Unreadable(name, "the file is empty")
    check_size(name, len(content), limits=limits)
    if content.startswith(_OLD_OR_ENCRYPTED):
        raise Unreadable(
            name, "it is encrypted or in the format before 2007; save it without a password as .docx, .pptx or .xlsx"
        )
    loader: Any = import_module(f"assistant.knowledge.loaders.{module}")
    loaded: Loaded = loader.load(name, content, limits=limits)
    sections = tuple(s for s in loaded.sections if s.text.strip())
    if not sections:
        raise Unreadable(name, "it holds no text (a scan needs text recognition first)")
    if sum(len(s.text) for s in sections) > limits.characters:
        raise Unreadable(name, f"it holds more than {limits.characters:,} characters; split it")
    about = {k: v for k, v in loaded.about.items() if v}
    about.setdefault("language", _language("".join(s.text[:1000] for s in sections[:20])))
    return Loaded(title=loaded.title.strip() or PurePosixPath(name).stem, sections=sections, about=about)


def check_size(name: str, size: int, *, limits: Limits = LIMITS) -> None:
    """Raises Unreadable for a file of `size` bytes that is too large: to be asked before it is loaded."""
    most = limits.unpacked if suffix(name) == ".zip" else limits.bytes
    if size > most:
        raise Unreadable(name, f"{_size(size)} is more than the {_size(most)} a file may have; split it")


def unpack(name: str, content: bytes, *, limits: Limits = LIMITS) -> Iterator[tuple[str, bytes | Unreadable]]:
    """The files in a zip, each with its path, or with why it does not go in. Raises Unreadable for the zip as a whole."""
    with open_zip(name, content, limits=limits) as archive:
        for member in archive.infolist():
            path = _member_name(member)
            parts = PurePosixPath(path).parts
            if member.is_dir() or "__MACOSX" in parts or not parts or parts[-1].startswith((".", "~$")):
                continue
            if member.flag_bits & 1:
                yield path, Unreadable(path, "it is encrypted; take the password off")
            elif suffix(path) == ".zip":
                yield path, Unreadable(path, "a zip inside a zip is not opened; add it by itself")
            else:
                try:
                    yield path, archive.read(member)
                except BROKEN as error:
                    yield path, Unreadable(path, f"it cannot be unpacked ({error})")


def open_zip(name: str, content: bytes, *, limits: Limits = LIMITS) -> zipfile.ZipFile:
    """The zip, once its directory shows that unpacking it is safe. Raises Unreadable."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except BROKEN as error:
        raise Unreadable(name, f"it is broken ({error})") from error
    members = archive.infolist()
    whole = sum(m.file_size for m in members)
    if len(members) > limits.members:
        raise Unreadable(name, f"it holds {len(members):,} files, more than {limits.members:,}; split it")
    # zipfile stops at the size that the directory states, so that a false statement cannot unpack to more
    if whole > limits.unpacked or (whole > 10_000_000 and whole > limits.ratio * len(content)):
        raise Unreadable(name, f"it would unpack to {_size(whole)} from {_size(len(content))}; that looks like a zip bomb")
    return archive


def decode(name: str, content: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 with its mark, or GB 18030. Raises Unreadable for what is no text."""
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for codec in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text.replace("\r\n", "\n").replace("\r", "\n")
    raise Unreadable(name, "it is no text in UTF-8, UTF-16 or GB 18030")


_TRAILING: Final = re.compile(r"[ \t\u00a0](?<![ \t\u00a0]{2})[ \t\u00a0]*+\n")
"""Blanks before the end of a line, looked for where they begin alone: a run of them is looked through once."""


def tidy(text: str) -> str:
    """`text` without trailing blanks and without more than one empty line in a row."""
    return re.sub(r"\n{3,}", "\n\n", _TRAILING.sub("\n", text)).strip()


def table(rows: list[list[str]]) -> str:
    """`rows`, the first of them the header, as a Markdown table."""
    width = max((len(r) for r in rows), default=0)
    lines = ["| " + " | ".join(_cell(c) for c in [*row, *[""] * (width - len(row))]) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]]) if lines else ""


def _language(text: str) -> str:
    """`zh` where a fifth of the letters are Chinese, else `en`: what a reader would call the text."""
    letters = [c for c in text if c.isalpha()]
    return "zh" if sum(map(is_cjk, letters)) * 5 > len(letters) else "en"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")


def _member_name(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & 0x800:
        return member.filename
    try:  # without the UTF-8 mark, zipfile reads cp437; Chinese Windows wrote GBK
        return member.filename.encode("cp437").decode("gbk")
    except UnicodeError:
        return member.filename


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:,.1f} MiB" if count >= 1024 * 1024 else f"{count:,} bytes"
