"""Texts and files made to cost time: read in a second of processor time, or refused."""

from __future__ import annotations

import gc
import io
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from assistant.knowledge.loaders import Unreadable, read
from assistant.messages import Reply
from assistant.platforms import dingtalk_text, feishu_cards
from assistant.platforms.markdown import COMMONMARK, PLAIN, parts, render
from assistant.platforms.slack import Slack
from assistant.platforms.teams import Teams

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
    assert took(lambda: render(text, PLAIN)) < 2  # a fraction of a second on a quiet machine, for ever where a loop is quadratic
    assert took(lambda: render(text, COMMONMARK)) < 2
    assert took(lambda: parts(text, limit=2000)) < 2


LONGER = {
    "brackets": "[" * 30_000,
    "pictures": "![[" * 10_000,
    "nested brackets": "[" * 8_000 + "]" * 8_000,
    "one bold paragraph": "**" + "word " * 22_000 + "**",
    "a wide table": "|" + "a|" * 1_000 + "\n|" + "-|" * 1_000 + "\n" + ("|" + "b|" * 1_000 + "\n") * 5,
    "more columns than cells": "|" + "a|" * 400 + "\n|" + "-|" * 400 + "\n" + "|x\n" * 5_000,
    "one paragraph of words": "word " * 28_000,
    "one long cell": f"|{'a' * 5_000}|b|\n|-|-|\n" + "|x|y|\n" * 1_500,
}


@pytest.mark.parametrize("name", sorted(LONGER))
@pytest.mark.parametrize("platform", ["slack", "teams", "feishu", "dingtalk"])
def test_no_reply_makes_a_platform_slow(platform: str, name: str) -> None:
    reply = Reply(text=LONGER[name])
    cut: dict[str, Callable[[], object]] = {
        "slack": lambda: Slack({})._pieces(reply),
        "teams": lambda: Teams({})._pieces(reply),
        "feishu": lambda: feishu_cards.pieces_of(reply),
        "dingtalk": lambda: dingtalk_text.pieces_of(reply),
    }
    assert took(cut[platform]) < 3  # seconds of processor time, on a busy machine


def table(columns: int, rows: int) -> str:
    return f"|{'a|' * columns}\n|{'-|' * columns}\n" + f"|{'b|' * columns}\n" * rows


TABLES = {
    "many rows": table(2, 28_000),
    "square": table(200, 200),
    "more columns than cells": table(400, 0) + "|x\n" * 25_000,
    "a head that is repeated": f"|{'a' * 70_000}|b|\n|-|-|\n" + "|x|y|\n" * 11_000,
    "one wide cell": "|a|b|\n|-|-|\n" + f"|{'wide ' * 10_000}|y|\n" + "|x|y|\n" * 15_000,
    "many tables": (table(2, 1) + "\n") * 5_000,
    "in a quotation": "".join(f"> {line}\n" for line in table(2, 9_000).splitlines()),
    "no table": "|a|b|\n" * 12_000,
}
WRITTEN = {"kept": COMMONMARK, "in code": replace(COMMONMARK, table="code"), "as rows": PLAIN}


@pytest.mark.parametrize("way", sorted(WRITTEN))
@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_long_table_is_written_quickly_and_does_not_grow(name: str, way: str) -> None:
    text = TABLES[name]
    assert len(text) > 70_000
    written: list[str] = []
    assert took(lambda: written.append(render(text, WRITTEN[way]))) < 2  # 0.1 to 0.5 s on a quiet machine
    assert len(written[0]) < 10 * len(text)


def test_reading_a_long_table_takes_the_memory_of_its_text_and_no_hundred_times_as_much() -> None:
    render("|a|\n|-|\n|b|", COMMONMARK)
    text = table(2, 7_000)
    tracemalloc.start()
    try:
        render(text, COMMONMARK)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 150 * len(text), f"{most / 1e6:.0f} MB"


def test_what_was_written_is_not_kept_in_memory_where_it_is_long() -> None:
    def nodes() -> int:
        gc.collect()
        return sum(type(one).__name__ == "SyntaxTreeNode" for one in gc.get_objects())

    before = nodes()
    render("*a* " * 8_000, COMMONMARK)
    assert nodes() - before < 1_000


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


@pytest.mark.parametrize("method", ["/ASCII85DecodM", "/FlateDecodf", "/"])
def test_a_pdf_with_an_unknown_way_of_packing_is_refused(method: str) -> None:
    page = f"<< /Length 3 /Filter {method} >>\nstream\nabc\nendstream"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>", page]  # fmt: skip
    made, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{one}\nendobj\n".encode()
    rows = "".join(f"{place:010} 00000 n \n" for place in places)
    made += f"xref\n0 5\n0000000000 65535 f \n{rows}trailer\n<< /Root 1 0 R /Size 5 >>\nstartxref\n{len(made)}\n%%EOF".encode()
    with pytest.raises(Unreadable):
        read("x.pdf", made)


@pytest.mark.parametrize("unit", ["[", "![", "[a](", "<!--", " ", "# ", "#", "\u00a0", "*a", "`", "- "])
def test_no_line_of_a_long_document_is_looked_through_again_and_again(unit: str) -> None:
    text = "# Title\n\nWords.\n\n# " + unit * (200_000 // len(unit)) + "\n\n" + unit * (200_000 // len(unit)) + "."
    assert took(lambda: read("x.md", text.encode())) < 2


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()
