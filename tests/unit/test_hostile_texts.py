"""Texts and files made to cost time: read in a second of processor time, or refused."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable

import pytest

from assistant.knowledge.loaders import Unreadable, read
from assistant.platforms.markdown import COMMONMARK, PLAIN, parts, render

LONG = 10_000
TEXTS = {
    "stars": "*" * LONG,
    "openings": "**a " * (LONG // 4),
    "nested": "**a _b " * (LONG // 7),
    "brackets": "[" * LONG,
    "pictures": "![a](" * (LONG // 5),
    "links": "[a](" * (LONG // 4),
    "ticks": "".join("`" * n + " " for n in range(1, 140)),
    "quotes": ">" * LONG,
    "lists": "- " * (LONG // 2),
    "tildes": "~~a " * (LONG // 4),
    "backslashes": "\\" * LONG,
    "entities": "&" * LONG,
    "addresses": "http://" * (LONG // 7),
    "spaces": "a" + " " * LONG + "b",
    "angles": "<" * LONG,
    "table": "|a" * 150 + "\n" + "|-" * 150 + "\n" + ("|b" * 10 + "\n") * 150,
    "underscores": "_a" * (LONG // 2),
    "definitions": "[a]: b\n" * (LONG // 7),
    "headings": "# a\n" * (LONG // 4),
    "marks": "\u202e\u200d\u0301" * (LONG // 3),
}


def took(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_text_makes_rendering_or_cutting_slow(name: str) -> None:
    text = TEXTS[name]
    assert took(lambda: render(text, PLAIN)) < 1
    assert took(lambda: render(text, COMMONMARK)) < 1
    assert took(lambda: parts(text, limit=2000)) < 1


@pytest.mark.parametrize("ending", [".md", ".txt", ".html", ".csv"])
@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_text_makes_a_loader_slow(name: str, ending: str) -> None:
    def load() -> None:
        try:
            read(f"x{ending}", TEXTS[name].encode())
        except Unreadable:
            return

    assert took(load) < 2


def test_a_bomb_in_a_bomb_is_refused_quickly() -> None:
    inner = zipped({f"{n}.xml": b"\x00" * 1_000_000 for n in range(20)})
    outer = zipped({"word/document.xml": inner + b"\x00" * 40_000_000})

    def load() -> None:
        with pytest.raises(Unreadable):
            read("x.docx", outer)

    assert took(load) < 1


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()
