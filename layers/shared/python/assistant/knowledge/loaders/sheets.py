"""Excel (.xlsx), CSV and TSV: a section for each sheet, as a table; a sheet of questions and answers becomes one for each row."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Final

from assistant.knowledge.documents import Section
from assistant.knowledge.loaders import BROKEN, Limits, Loaded, Unreadable, decode, open_zip, suffix, table
from assistant.knowledge.text import fold

_QUESTION: Final = frozenset({"question", "questions", "q", "问题", "问", "提问", "标准问题", "常见问题"})
_ANSWER: Final = frozenset({"answer", "answers", "a", "答案", "答", "回答", "标准答案", "回复"})
_ROWS_TOGETHER: Final = 40
_MOST_ROWS: Final = 200_000


def load(name: str, content: bytes, *, limits: Limits) -> Loaded:
    """The sheets of the file."""
    sections: list[Section] = []
    sheets = _excel(name, content, limits) if suffix(name).startswith(".xls") else _separated(name, content)
    size = 0
    for number, (sheet, rows) in enumerate(sheets, 1):
        for section in _sections(sheet, rows, number if sheet else 0):
            size += len(section.text)
            if size > limits.characters:
                raise Unreadable(name, f"it holds more than {limits.characters:,} characters; split it")
            sections.append(section)
    return Loaded(title=PurePosixPath(name).stem, sections=tuple(sections), about={})


def _sections(sheet: str, rows: Iterable[list[str]], page: int) -> Iterator[Section]:
    path = (sheet,) if sheet else ()
    filled = (row for row in rows if any(c.strip() for c in row))
    if (header := next(filled, None)) is None:
        return
    names = [fold(c).strip() for c in header]
    question = next((i for i, n in enumerate(names) if n in _QUESTION), None)
    answer = next((i for i, n in enumerate(names) if n in _ANSWER), None)
    if question is not None and answer is not None:
        for row in filled:
            if max(question, answer) < len(row) and row[question].strip() and row[answer].strip():
                yield Section(text=row[answer].strip(), path=(*path, " ".join(row[question].split())), page=page)
        return
    together: list[list[str]] = []
    for row in filled:
        together.append(row)
        if len(together) == _ROWS_TOGETHER:
            yield Section(text=table([header, *together]), path=path, page=page)
            together = []
    if together:
        yield Section(text=table([header, *together]), path=path, page=page)
    elif page or not path:
        yield Section(text=" ".join(c for c in header if c.strip()), path=path, page=page)


def _separated(name: str, content: bytes) -> Iterator[tuple[str, Iterator[list[str]]]]:
    text = decode(name, content)
    delimiter = "\t"
    if suffix(name) != ".tsv":
        try:
            delimiter = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|").delimiter
        except csv.Error:
            delimiter = ","
    yield "", _csv_rows(name, text, delimiter)


def _csv_rows(name: str, text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter)):
            if number > _MOST_ROWS:
                raise Unreadable(name, f"it has more than {_MOST_ROWS:,} rows; split it")
            yield row
    except csv.Error as error:
        raise Unreadable(name, f"it is broken ({error})") from error


def _excel(name: str, content: bytes, limits: Limits) -> Iterator[tuple[str, Iterator[list[str]]]]:
    open_zip(name, content, limits=limits).close()
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    broken: tuple[type[Exception], ...] = (InvalidFileException, *BROKEN)

    try:
        with warnings.catch_warnings(action="ignore"):
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        try:
            for sheet in book.worksheets:
                if sheet.sheet_state == "visible":
                    yield sheet.title, _excel_rows(name, sheet.iter_rows(values_only=True))
        finally:
            book.close()
    except broken as error:
        raise Unreadable(name, f"it is broken ({type(error).__name__})") from error


def _excel_rows(name: str, rows: Iterable[tuple[object, ...]]) -> Iterator[list[str]]:
    number = 0
    for row in rows:
        if all(value is None for value in row):
            continue  # a sheet that was formatted to its end has a million of these
        number += 1
        if number > _MOST_ROWS:
            raise Unreadable(name, f"it has more than {_MOST_ROWS:,} rows; split it")
        yield [_shown(value) for value in row]


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime() if (value.hour, value.minute, value.second) == (0, 0, 0):
            return value.date().isoformat()
        case datetime() | date():
            return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
