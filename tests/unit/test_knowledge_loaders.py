"""What companies have goes in with its structure; what cannot is refused by name with the reason."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from assistant.knowledge.loaders import LOADERS, Limits, Loaded, Unreadable, read, unpack

FILES = Path(__file__).parents[1] / "payloads" / "knowledge"


def load(name: str) -> Loaded:
    return read(name, (FILES / name).read_bytes())


def outline(loaded: Loaded) -> list[tuple[int, tuple[str, ...], str]]:
    return [(s.page, s.path, s.text) for s in loaded.sections]


def test_word_keeps_headings_lists_and_tables() -> None:
    loaded = load("handbook.docx")
    assert loaded.title == "Employee handbook"
    assert outline(loaded) == [
        (0, (), "Read this first."),
        (0, ("Leave", "Annual leave"), "New employees get fourteen days.\n\n- Ask early\n- Tell your team"),
        (0, ("差旅",), "出差须提前七天申请。\n\n| City | Rate |\n| --- | --- |\n| Beijing | 600 |\n| Shanghai | 650 |"),
    ]


def test_powerpoint_keeps_order_titles_numbers_notes_and_tables() -> None:
    loaded = load("onboarding.pptx")
    assert loaded.title == "Onboarding"
    assert outline(loaded) == [
        (1, ("Onboarding",), "For everybody who is new"),
        (2, ("First day",), "Fetch your badge\nMeet your team\n\nThe badge office opens at nine."),
        (3, ("报销",), "| Item | Limit |\n| --- | --- |\n| Taxi | 80 |"),
    ]


def test_pdf_gives_pages_under_its_outline_without_running_heads_and_with_broken_words_joined() -> None:
    loaded = load("policy.pdf")
    assert loaded.title == "Security policy"
    assert [(s.page, s.path) for s in loaded.sections] == [
        (1, ("Passwords",)), (2, ("Laptops",)), (3, ("差旅",)), (4, ("Visitors",)), (5, ("Keys",)),
    ]  # fmt: skip
    assert loaded.sections[1].text == (
        "A lost laptop is reported to the desk within one hour. The number of the desk is on the back of your badge."
    )
    assert loaded.sections[2].text == "出差到北京的住宿标准是每晚六百元。"


def test_excel_gives_a_table_for_each_visible_sheet_and_a_passage_for_each_question() -> None:
    assert outline(load("tables.xlsx")) == [
        (1, ("Rates",), "| City | Hotel | Since |\n| --- | --- | --- |\n"
         "| Beijing | 600 | 2026-01-01 |\n| 上海 | 650.5 | 2026-02-01 09:30:00 |"),
        (2, ("FAQ", "年假有几天？"), "十四天。"),
        (2, ("FAQ", "How do I reset my password?"), "Call the desk."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["question,answer\nWhy?,Because.\n", "Answer;Question\nBecause.;Why?\n", "\ufeff问\t答\nWhy?\tBecause.\n"]
)
def test_a_sheet_of_questions_and_answers_is_recognised_however_it_is_separated(text: str) -> None:
    assert outline(read("faq.csv", text.encode())) == [(0, ("Why?",), "Because.")]


def test_markdown_headings_become_the_path_and_code_is_left_alone() -> None:
    text = (
        "---\ntitle: Guide\nowner: ann\n---\nIntro [link](http://x) ![pic](y.png)\n<!-- hidden -->\n# Guide\n## One\n\ntext\n\n"
        "```sh\n# no heading\n```\n\nTwo\n---\nunder\n\n### Three\n| a |\n| - |\n| 1 |\n"
    )
    loaded = read("guide.md", text.encode())
    assert (loaded.title, loaded.about["owner"]) == ("Guide", "ann")
    assert outline(loaded) == [
        (0, (), "Intro link pic"),
        (0, ("One",), "text\n\n```sh\n# no heading\n```"),
        (0, ("Two",), "under"),
        (0, ("Two", "Three"), "| a |\n| - |\n| 1 |"),
    ]


def test_html_gives_the_main_part_with_its_headings_and_tables() -> None:
    page = (
        "<!doctype html><html lang='zh-CN'><head><title>T &amp; X</title><style>a{}</style></head><body><nav>menu</nav><main>"
        "<h1>T &amp; X</h1><p>Hello <b>bold</b> text<br>next<h2>Two</h2><ul><li>one<li>two</ul>"
        "<table><tr><th>A<th>B<tr><td>1<td>2|3</table><script>alert(1)</script></main><footer>foot</footer></body></html>"
    )
    loaded = read("page.html", page.encode())
    assert (loaded.title, loaded.about["language"]) == ("T & X", "zh-CN")
    assert outline(loaded) == [
        (0, (), "Hello bold text\nnext"),
        (0, ("Two",), "- one\n- two\n\n| A | B |\n| --- | --- |\n| 1 | 2/3 |"),
    ]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_text_is_read_in_the_encodings_that_offices_write(codec: str) -> None:
    loaded = read("notes.txt", "年假有十四天。\r\n".encode(codec))
    assert outline(loaded) == [(0, (), "年假有十四天。")]
    assert loaded.about["language"] == "zh"


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 30_000_000)
    return buffer.getvalue()


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


EVIL_XML = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><w:document xmlns:w="w">&e;</w:document>'


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "the file is empty"),
        ("blank.md", b"  \n\n", "it holds no text"),
        ("program.exe", b"MZ", r"files of kind '\.exe' cannot be read; known: \.csv"),
        ("noending", b"x", r"no ending"),
        ("binary.txt", b"\x00\x01\xff\xfe", "no text in UTF-8"),
        ("locked.pdf", (FILES / "locked.pdf").read_bytes(), "encrypted; take the password off"),
        ("scan.pdf", (FILES / "scan.pdf").read_bytes(), "no text .a scan needs text recognition"),
        ("broken.pdf", b"%PDF-1.7 nothing more", "it is broken"),
        ("cut.pdf", (FILES / "policy.pdf").read_bytes()[:2000], "it is broken|it holds no text"),
        ("locked.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "encrypted or in the format before 2007"),
        ("broken.docx", b"PK\x03\x04 no zip", "it is broken"),
        ("other.docx", archive(a=b"b"), "the part word/document.xml is missing"),
        ("evil.docx", archive(word__document_xml=b"", **{"word/document.xml": EVIL_XML}), "is broken .*DTDForbidden"),
        ("bomb.docx", bomb(), "looks like a zip bomb"),
        ("bomb.xlsx", bomb(), "looks like a zip bomb"),
        ("broken.xlsx", archive(a=b"b"), "it is broken"),
        ("empty.pptx", archive(**{"ppt/presentation.xml": b"<x/>"}), "it holds no text"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name_with_the_reason(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as refusal:
        read(name, content)
    assert str(refusal.value).startswith(f"{name}: ")


def test_limits_of_bytes_pages_and_characters_are_kept() -> None:
    policy = (FILES / "policy.pdf").read_bytes()
    for limits, reason in (
        (Limits(bytes=100), "more than the 100 bytes"),
        (Limits(pages=4), "5 pages, more than 4"),
        (Limits(characters=50), "more than 50 characters"),
        (Limits(seconds=-1), "takes more than"),
    ):
        with pytest.raises(Unreadable, match=reason):
            read("policy.pdf", policy, limits=limits)
    with pytest.raises(Unreadable, match="3 files, more than 2"):
        list(unpack("a.zip", archive(a=b"", b=b"", c=b""), limits=Limits(members=2)))


def test_a_zip_gives_its_files_and_says_which_do_not_go_in() -> None:
    content = archive(
        **{
            "a/note.txt": b"hello", "inner.zip": b"PK", "__MACOSX/._x.txt": b"x", ".hidden.txt": b"x", "~$lock.docx": b"x",
            "../../escape.txt": b"harmless",
        }
    )  # fmt: skip
    found = {name: str(part) if isinstance(part, Unreadable) else part for name, part in unpack("a.zip", content)}
    assert found == {
        "a/note.txt": b"hello",
        "inner.zip": "inner.zip: a zip inside a zip is not opened; add it by itself",
        "../../escape.txt": b"harmless",  # only a name: nothing is ever written by it
    }


def test_a_damaged_member_is_named_and_the_others_go_in() -> None:
    content = bytearray(archive(bad=b"payload-bad" * 9, good=b"payload-good"))
    content[content.index(b"payload-bad") + 3] ^= 0xFF
    found = dict(unpack("a.zip", bytes(content)))
    assert isinstance(found["bad"], Unreadable)
    assert found["good"] == b"payload-good"


@given(st.sampled_from(sorted(LOADERS)), st.binary(max_size=400))
@settings(max_examples=100, deadline=None, phases=[Phase.generate])
def test_no_bytes_break_a_loader(ending: str, content: bytes) -> None:
    with contextlib.suppress(Unreadable):
        read(f"f{ending}", content)


@given(st.sampled_from(["handbook.docx", "onboarding.pptx", "policy.pdf", "tables.xlsx"]), st.data())
@settings(max_examples=25, deadline=None, phases=[Phase.generate])  # a smaller case tells nothing more
def test_no_damage_to_a_real_file_breaks_a_loader(name: str, data: st.DataObject) -> None:
    content = bytearray((FILES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Unreadable):
        read(name, bytes(content))
