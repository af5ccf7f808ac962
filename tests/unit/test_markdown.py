"""The Markdown renderer that all chat platforms share."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.messages import Reply, Source
from assistant.platforms.markdown import (
    COMMONMARK,
    PLAIN,
    Dialect,
    _tree,
    body,
    closed,
    escape_markdown,
    parts,
    render,
    to_plain,
    utf8,
    utf16,
    whole_before,
)

TABLE = "| Day | Leave |\n|---|--:|\n| Mon | 14 |\n| 周二 | *3* |"
FAMILY = "👩‍👩‍👧‍👦"


def letters(text: str) -> str:
    return re.sub(r"\s+", "", text)


def words(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


# --- rendering ---


def test_plain_text_keeps_words_addresses_and_structure() -> None:
    shown = to_plain(
        "# Leave\n\nYou have **14 days**, see [the handbook](https://h.example/a).\n\n"
        "1. ask\n2. go\n   - far\n\n> quoted\n\n```py\nx < 1\n```"
    )
    assert shown == (
        "Leave\n\nYou have 14 days, see the handbook (https://h.example/a).\n\n1. ask\n2. go\n   • far\n\n> quoted\n\nx < 1"
    )


def test_raw_html_is_text() -> None:
    escape = Dialect(escape=lambda s: s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    assert render("a <b onclick=x>c</b>\n\n<script>x</script>", escape) == (
        "a &lt;b onclick=x&gt;c&lt;/b&gt;\n\n&lt;script&gt;x&lt;/script&gt;"
    )


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:image/png;base64,AA", "file:///etc/passwd", "//evil.example"])
def test_an_unsafe_address_becomes_no_link(url: str) -> None:
    shown = render(f"[x]({url}) ![y]({url}) <{url}>", Dialect(link=lambda a, u: "LINK", image=lambda a, u: "IMAGE"))
    assert "LINK" not in shown
    assert "IMAGE" not in shown


def test_tables_are_kept_aligned_or_listed() -> None:
    assert render(TABLE, Dialect()) == "| Day | Leave |\n| --- | --: |\n| Mon | 14 |\n| 周二 | *3* |"
    assert render(TABLE, Dialect(table="code")) == "```\nDay   Leave\n----  -----\nMon   14\n周二  3\n```"
    assert render(TABLE, Dialect(table="rows")) == ("- **Day**: Mon · **Leave**: 14\n- **Day**: 周二 · **Leave**: *3*")


BITS = st.sampled_from(["|", "-", ":", "a", " ", "\\", "`", "> ", "- ", "    ", "\u3000", "**", "[r]", "[r]: /u"])


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.lists(BITS, max_size=12).map("".join), max_size=6),
    around=st.sampled_from(["{}", "a|b\n-|-\n{}", "> |a|b|\n> |-|:-|\n> {}", "- |a|\n  |-|\n  {}"]),
)
def test_a_table_has_the_cells_that_the_parsers_own_rule_finds(lines: list[str], around: str) -> None:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    text = around.format("\n".join(lines))
    own = SyntaxTreeNode(MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable("table").parse(text))
    expected = [
        (node.map, [[cell.children[0].content for cell in row.children] for part in node.children for row in part.children])
        for node in own.walk()
        if node.type == "table"
    ]
    found = []
    for node in _tree(text).walk():
        if node.type == "table":
            wide = len(node.meta["marks"])
            found.append((node.map, [row + [""] * (wide - len(row)) for row in node.meta["rows"]]))
    assert found == expected


def test_what_is_missing_in_a_row_is_written_as_empty_cells() -> None:
    assert render("|a|b|c|\n|-|-|-|\n|1|", Dialect()) == "| a | b | c |\n| --- | --- | --- |\n| 1 |  |  |"
    assert render("|a|b|\n|-|-|\n|[x]|`|`|\n\n[x]: https://h.example", Dialect()) == (
        "| a | b |\n| --- | --- |\n| [x](https://h.example) | \\` |"
    ), "an address that is named below the table; a bar ends a cell in code too"


def test_a_long_head_stands_before_the_rows_where_it_would_fill_the_memory_in_each() -> None:
    shown = render(f"|{'name ' * 2_000}|b|\n|-|-|\n" + "|x|y|\n" * 50, PLAIN)
    assert shown.count("name") == 2_000
    assert shown.endswith("• x · y\n• x · y")
    wide = render(f"|{'name ' * 100}|b|\n|-|-|\n" + "|x|y|\n" * 50, PLAIN)
    assert wide.count("b: y") == 50


def test_code_with_backticks_stays_code() -> None:
    assert render("`` a`b ``", Dialect()) == "``a`b``"
    assert render("~~~\n```\n~~~", Dialect()) == "````\n```\n````"


def test_a_title_and_sources_stand_around_the_text() -> None:
    reply = Reply(
        text="Fourteen days.\n```\nopen",
        title="Leave",
        sources=(Source(number=1, title="Hand[book]", url="https://h.example/a b", page=3), Source(number=2, title="Memo")),
    )
    assert to_plain(body(reply)) == (
        "Leave\n\nFourteen days.\n\nopen\n\nSources:\n\n• [1] Hand[book] (https://h.example/a%20b), p. 3\n• [2] Memo"
    )


def test_an_open_fence_is_closed() -> None:
    assert closed("a\n```py\nx") == "a\n```py\nx\n```"
    assert closed("> ~~~\n> x") == "> ~~~\n> x\n> ~~~"
    assert closed("a\n```\nx\n```") == "a\n```\nx\n```"
    assert closed("plain") == "plain"


MARKDOWN = st.text(alphabet=st.sampled_from("ab *_`~#>-|[]()!\\\n1.<&:中é😀"), max_size=120)


@settings(max_examples=150, deadline=None)
@given(MARKDOWN)
def test_anything_renders_and_written_again_it_says_the_same_words(source: str) -> None:
    once = render(source, COMMONMARK)
    assert words(to_plain(once)) == words(to_plain(source))


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=100), st.text(alphabet="ab1 *_`~#>-+=|[](){}!\\.<&;:/中", max_size=60)))
def test_escaped_text_is_shown_letter_for_letter(text: str) -> None:
    line = " ".join(text.replace("\x00", "").split())
    assert to_plain(escape_markdown(line)) == line


def test_a_long_rule_in_code_keeps_its_length() -> None:
    assert to_plain("```\n" + "-" * 80 + "\n```") == "-" * 80
    assert "-" * 80 in parts("```\n" + "-" * 80 + "\n```\n" + "x " * 100, limit=200)[0]


def test_deep_nesting_loses_nothing() -> None:
    assert to_plain(">" * 500 + " deep").endswith("deep")
    assert "deep" in to_plain("- " * 400 + "deep")


@pytest.mark.parametrize(
    "text",
    [
        "snake_case, 2 * 3 = 6, ~5 min, [1], AT&T, 3 < 4 > 2, C:\\temp, 100%",
        "see https://x.example/a_b_c?d=1&e=*f*, or (http://y.example/__init__.py).",
        "**Term** - what it means - and more",
    ],
)
def test_what_needs_no_escape_gets_none(text: str) -> None:
    assert render(text, COMMONMARK) == text


def test_text_that_looks_like_markup_stays_text() -> None:
    for source in (r"\[x\](https://x.example)", r"\*no\* \_no\_ \`no\`", r"1\. no", r"\# no", r"\> no", r"\- no", "&amp;lt;"):
        once = render(source, COMMONMARK)
        assert render(once, COMMONMARK) == once
        assert to_plain(once) == to_plain(source)
    assert escape_markdown("<b> & `x`", html=True) == "&lt;b&gt; &amp; \\`x\\`"


# --- cutting ---


def test_a_short_text_is_one_part_without_a_number() -> None:
    assert parts("short", limit=100) == ["short"]


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="a limit of 10 leaves no room"):
        parts("x" * 100, limit=10)


def test_parts_are_numbered_and_cut_between_blocks() -> None:
    text = "\n\n".join(f"Paragraph {n} " + "word " * 8 for n in range(6))
    cut = parts(text, limit=160)
    assert [part.split("\n")[0] for part in cut] == [f"({n}/{len(cut)})" for n in range(1, len(cut) + 1)]
    assert all(part.split("\n\n", 1)[1].startswith("Paragraph") for part in cut)


def test_code_is_closed_and_opened_again_with_its_language() -> None:
    code = "\n".join(f"line_{n} = {n}" for n in range(40))
    cut = parts(f"Look:\n\n```python\n{code}\n```\n\nDone.", limit=200)
    inside = [block for part in cut for block in re.findall(r"```python\n(.*?)\n```", part, re.DOTALL)]
    assert "\n".join(inside) == code
    assert all(part.count("```") % 2 == 0 for part in cut)
    assert cut[-1].endswith("Done.")


def test_code_in_a_list_and_in_a_quotation_stays_code() -> None:
    code = "\n".join(f"x{n} = {n}" for n in range(40))
    for lead, first in (("  ", "- "), ("> ", "> "), ("     ", "1.   ")):
        source = f"{first}```py\n" + "\n".join(lead + line for line in code.split("\n")) + f"\n{lead}```\n\nend"
        shown = [render(part.split("\n\n", 1)[1], Dialect()) for part in parts(source, limit=120)]
        found = "\n".join(block for s in shown for block in re.findall(r"```py\n(.*?)\n[> ]*```", s, re.DOTALL))
        assert re.sub(r"(?m)^[> ]+", "", found) == code, first


def test_a_long_line_of_chinese_is_cut_after_a_sentence() -> None:
    cut = parts("员工每年有十四天带薪假。" * 40, limit=100)
    assert all(part.endswith("。") for part in cut)
    assert "".join(part.split("\n\n", 1)[1] for part in cut) == "员工每年有十四天带薪假。" * 40


def test_a_table_gets_its_head_again() -> None:
    rows = [f"| row {n} | {n} |" for n in range(40)]
    cut = parts("\n".join(["| name | n |", "|---|---|", *rows]), limit=200)
    assert all(part.split("\n\n", 1)[1].startswith("| name | n |\n|---|---|\n| row") for part in cut)
    assert [line for part in cut for line in part.split("\n") if "row" in line] == rows


def test_bold_code_and_links_survive_a_cut() -> None:
    for source in ("**" + "bold words " * 30 + "end**", "`" + "code words " * 30 + "end`"):
        cut = parts(source, limit=100)
        mark = source[:2] if source[0] == "*" else "`"
        assert all(part.split("\n\n", 1)[1].startswith(mark) and part.endswith(mark) for part in cut)
    link = "[handbook](https://example.com/a/very/long/address/of/a/page)"
    cut = parts(f"{'word ' * 12}{link} " * 10, limit=150)
    assert sum(part.count(link) for part in cut) == 10


def test_nested_items_at_the_start_of_a_part_do_not_become_code() -> None:
    source = "- top\n" + "\n".join(f"    - nested item number {n}" for n in range(30))
    for part in parts(source, limit=120):
        assert "•" in to_plain(part)


@pytest.mark.parametrize("measure", [len, utf8, utf16])
def test_characters_a_person_sees_as_one_are_never_divided(measure) -> None:  # type: ignore[no-untyped-def]  # a parameter
    for unit in (FAMILY, "é", "🇨🇳", "👍🏽", "क्षि"):
        cut = parts(unit * 150, limit=120, measure=measure)
        shown = [part.split("\n\n", 1)[-1] for part in cut]
        assert "".join(shown) == unit * 150
        for part, text in zip(cut, shown, strict=True):
            assert text.replace(unit, "") == ""
            assert measure(part) <= 120


def test_a_backslash_stays_with_what_it_escapes() -> None:
    assert not whole_before("a\\*b", 2)
    assert whole_before("a\\\\b", 3)


LINES = st.one_of(
    st.text(alphabet=st.sampled_from("ab cd。 é中😀🇨👍🏽‍x.!"), max_size=150),
    st.sampled_from(
        ["", "", "# Head", "- item", "1. one", "> quote", "---", "| a | b |", "|---|---|", "    indented", "  - sub"]
    ),
    st.builds(lambda n, info: "`" * n + info, st.integers(3, 6), st.sampled_from(["", "python", "a b"])),
    st.sampled_from(["```", "~~~", "~~~~", "    ```", "- ```js", "> ```", "**bold** text `code` [l](https://x.example/y)"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=40).map("\n".join), st.integers(64, 300), st.sampled_from([len, utf8, utf16]))
def test_every_part_is_within_the_limit_and_nothing_is_lost(source: str, limit: int, measure) -> None:  # type: ignore[no-untyped-def]  # drawn
    cut = parts(source, limit=limit, measure=measure)
    assert all(measure(part) <= limit for part in cut)
    joined = letters("".join(re.sub(r"^\(\d+/\d+\)\n\n", "", part) for part in cut))
    found = iter(joined)
    assert all(char in found for char in letters(source)), "a character is missing or out of order"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="abc 中=()`", min_size=1, max_size=40), min_size=1, max_size=60), st.integers(80, 300))
def test_code_comes_through_a_cut_unchanged(code: list[str], limit: int) -> None:
    source = "Before\n\n~~~~python\n" + "\n".join(code) + "\n~~~~\n\nAfter"
    inside = []
    for part in parts(source, limit=limit):
        inside += re.findall(r"(?s)~~~~python\n(.*?)\n~~~~", part)
        assert part.count("~~~~") % 2 == 0
    assert letters("".join(inside)) == letters("".join(code))
    assert "\n".join(inside).split("\n") == code


def test_a_long_text_is_cut_without_loss() -> None:
    cut = parts("word " * 20_000 + "\n" + "x = 1\n" * 10_000, limit=4000)
    assert sum(len(letters(part)) for part in cut) >= 110_000


def test_a_long_paragraph_is_cut_with_few_renderings_of_it() -> None:
    text = ("**bold text** and **more** " * 4500)[:110_000]
    measured = 0

    def measure(piece: str) -> int:
        nonlocal measured
        measured += len(piece)
        return len(render(piece, COMMONMARK))

    pieces = parts(text, limit=12_000, measure=measure)
    assert len(pieces) == 10
    assert measured < 7 * len(text)
