"""Passages are found, ranked, declined and hidden as promised."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.knowledge import Knowledge, open_knowledge
from assistant.knowledge.build import build
from assistant.knowledge.documents import Document, Section, pieces, split
from assistant.knowledge.store import FREQUENT, BrokenKnowledge, Writer
from assistant.knowledge.text import cut, fold, stem

EVERYONE = frozenset({"everyone"})
LEAVE = Document(
    id="leave", title="Annual leave", url="https://intra/leave",
    sections=(
        Section(text="New employees get fourteen days of annual leave in the first year.", path=("How many days?",), page=2),
        Section(text="Ask your manager at least two weeks before you go.", path=("How to apply",), page=3),
    ),
)  # fmt: skip
TRAVEL = Document(
    id="travel", title="差旅标准", language="zh",
    sections=(Section(text="出差到北京的住宿标准是每晚六百元，机票须提前七天预订。", path=("住宿和机票",)),),
)  # fmt: skip
SALARIES = Document(
    id="salaries", title="Salary bands", audience=frozenset({"department:hr", "user:slack:U1"}),
    sections=(Section(text="The band of a zirconium engineer begins at ninety thousand."),),
)  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Callable[..., Knowledge]]:
    opened: list[Knowledge] = []

    def make(*documents: Document) -> Knowledge:
        path = tmp_path / f"{len(opened)}.sqlite"
        build(documents, path)
        opened.append(open_knowledge(path))
        return opened[-1]

    yield make
    for knowledge in opened:
        knowledge.close()


def test_a_question_finds_its_passage_with_title_path_page_and_link(base: Callable[..., Knowledge]) -> None:
    found = base(LEAVE, TRAVEL, SALARIES).search("How many days of leave do new employees get?", audience=EVERYONE)
    first = found.passages[0]
    assert (first.document, first.title, first.url, first.path, first.page) == (
        "leave", "Annual leave", "https://intra/leave", "How many days?", 2,
    )  # fmt: skip
    assert "fourteen" in first.text
    assert found.confident


def test_a_chinese_question_finds_its_passage_without_spaces_between_words(base: Callable[..., Knowledge]) -> None:
    found = base(LEAVE, TRAVEL, SALARIES).search("去北京出差住宿标准是多少？", audience=EVERYONE)
    assert found.passages[0].document == "travel"
    assert found.confident


def test_what_the_base_does_not_hold_is_not_answered_with_confidence(base: Callable[..., Knowledge]) -> None:
    knowledge = base(LEAVE, TRAVEL, SALARIES)
    for question in ("Who won the world cup in 2018?", "法国的首都是哪里？", "How do I cook rice?", "", "???", "的", "the"):
        assert not knowledge.search(question, audience=EVERYONE).confident, question


def test_the_heading_that_asks_the_very_question_comes_first(base: Callable[..., Knowledge]) -> None:
    documents = [
        Document(
            id=str(n), title="Help", sections=(Section(text="You can write to the desk, and the desk can do it.", path=(h,)),)
        )
        for n, h in enumerate(["What can the desk not do?", "What can the desk do?", "Where is the desk?"])
    ]
    found = base(*documents).search("What can the desk do", audience=EVERYONE)
    assert found.passages[0].path == "What can the desk do?"


@pytest.mark.parametrize("who", [frozenset({"department:hr"}), frozenset({"user:slack:U1", "everyone"})])
def test_who_belongs_to_the_audience_finds_the_document(base: Callable[..., Knowledge], who: frozenset[str]) -> None:
    found = base(LEAVE, SALARIES).search("zirconium engineer band", audience=who)
    assert [p.document for p in found.passages] == ["salaries"]


def test_a_hidden_document_leaves_no_trace_in_anything_an_outsider_gets(base: Callable[..., Knowledge]) -> None:
    many = [
        Document(id=f"secret{n}", title="Leave days", audience=frozenset({"department:hr"}),
                 sections=(Section(text=f"Annual leave of fourteen days, zirconium employee {n}.", path=("How many days?",)),))
        for n in range(FREQUENT + 40)
    ]  # fmt: skip
    without, having = base(LEAVE, TRAVEL), base(*many, LEAVE, TRAVEL, SALARIES)
    for question in (
        "How many days of annual leave?",
        "zirconium",
        "days",
        "出差住宿",
        "salary bands",
        "what can you do",
        "leave",
    ):
        clear, mixed = without.search(question, audience=EVERYONE), having.search(question, audience=EVERYONE)
        assert mixed.passages == clear.passages, question  # scores too: hidden documents do not even shift the numbers
        assert (mixed.confident, mixed.certainty, mixed.facts) == (clear.confident, clear.certainty, clear.facts)
    assert [d.id for d in having.documents(audience=EVERYONE)] == ["leave", "travel"]


def test_in_a_group_only_what_every_listener_may_see_is_found(base: Callable[..., Knowledge]) -> None:
    knowledge = base(LEAVE, SALARIES)
    hr = frozenset({"everyone", "department:hr"})
    alone = knowledge.search("salary band of an engineer", audience=hr)
    together = knowledge.search("salary band of an engineer", audience=hr, listeners=[hr, EVERYONE])
    assert "salaries" in [p.document for p in alone.passages]
    assert "salaries" not in [p.document for p in together.passages]


@pytest.mark.parametrize("who", [frozenset(), frozenset({"everyone OR 1=1"}), frozenset({"department:hr%"}), frozenset({"*"})])
def test_an_unknown_audience_sees_nothing(base: Callable[..., Knowledge], who: frozenset[str]) -> None:
    assert base(LEAVE, SALARIES).search("annual leave salary", audience=who).passages == ()


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_the_search(question: str) -> None:
    knowledge = open_knowledge(_shared())
    try:
        found = knowledge.search(question, audience=EVERYONE)
        assert all(p.document in {"leave", "travel"} for p in found.passages)
    finally:
        knowledge.close()


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "leave AND",
        "NEAR(",
        "heading:leave",
        "a* OR b^2",
        "-leave",
        "' OR 1=1 --",
        "\ud800leave",
        "leave\0days",
        "（）。",
        "🙂",
    ],
)
def test_search_syntax_in_a_question_is_only_text(question: str) -> None:
    knowledge = open_knowledge(_shared())
    knowledge.search(question, audience=EVERYONE)
    knowledge.close()


def test_a_question_of_a_hundred_thousand_characters_is_bounded_work() -> None:
    knowledge = open_knowledge(_shared())
    with knowledge._readers.reading() as connection:
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
    knowledge.search(" ".join(f"word{n} annual leave" for n in range(6000)) + "年假" * 20000, audience=EVERYONE)
    knowledge.close()
    assert 50 < len(statements) < 700  # a look-up is up to three statements to the tracer


_built: list[Path] = []


@pytest.fixture(autouse=True, scope="module")
def _shared_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("knowledge") / "shared.sqlite"
    build([LEAVE, TRAVEL, SALARIES], path)
    _built.append(path)


def _shared() -> Path:
    return _built[-1]


def test_many_threads_search_one_file_at_once() -> None:
    knowledge = open_knowledge(_shared())
    answers: list[str] = []

    def ask() -> None:
        answers.extend(knowledge.search("annual leave", audience=EVERYONE).passages[0].document for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    knowledge.close()
    assert answers == ["leave"] * 160


def test_words_in_many_passages_are_counted_exactly_after_every_change(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"

    def note(number: int, audience: str) -> Document:
        return Document(
            id=f"n{number}", title="Note", audience=frozenset({audience}), sections=(Section(text=f"budget {number}"),)
        )

    def counted() -> dict[tuple[str, int], int]:
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT term, audience, passages FROM terms").fetchall()
        connection.close()
        return {(t, a): n for t, a, n in rows}

    build([note(n, "everyone") for n in range(FREQUENT - 10)], path)
    assert counted() == {}
    with Writer(path) as writer:
        for number in range(FREQUENT, FREQUENT + 20):
            writer.add(note(number, "department:a"))
    assert counted() == {(w, a): n for w in ("budget", "note") for a, n in ((1, FREQUENT - 10), (2, 20))}
    with Writer(path) as writer:
        for number in range(FREQUENT, FREQUENT + 5):
            assert writer.remove(f"n{number}")
    assert counted() == {(w, a): n for w in ("budget", "note") for a, n in ((1, FREQUENT - 10), (2, 15))}
    with Writer(path) as writer:
        for number in range(30):
            writer.remove(f"n{number}")
    assert counted() == {}


def test_a_question_of_frequent_words_alone_is_still_answered(base: Callable[..., Knowledge]) -> None:
    filler = [
        Document(id=f"f{n}", title="Minutes", sections=(Section(text=f"The vacation was discussed, and the policy too, {n}."),))
        for n in range(FREQUENT + 50)
    ]
    policy = Document(id="policy", title="Vacation policy", sections=(Section(text="Twenty days of vacation each year."),))
    found = base(*filler, policy).search("vacation policy", audience=EVERYONE)
    assert found.passages[0].document == "policy"


def test_owners_of_what_was_found_are_named_as_experts_and_hidden_ones_are_not(base: Callable[..., Knowledge]) -> None:
    owned = replace(LEAVE, owner="user:slack:ANN")
    hidden = replace(SALARIES, owner="user:slack:BOB", sections=(Section(text="Annual leave of an engineer: zirconium days."),))
    knowledge = base(owned, hidden, TRAVEL)
    assert knowledge.search("annual leave days of an engineer", audience=EVERYONE).experts == ("user:slack:ANN",)
    both = knowledge.search("annual leave days of an engineer", audience=EVERYONE | {"department:hr"}).experts
    assert set(both) == {"user:slack:ANN", "user:slack:BOB"}


def test_an_unchanged_document_is_skipped_and_a_changed_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    build([LEAVE], path)
    newer = Document(id="leave", title="Annual leave", sections=(Section(text="Employees get sixteen days of holiday."),))
    with Writer(path) as writer:
        assert not writer.add(LEAVE)
        assert writer.add(newer)
    knowledge = open_knowledge(path)
    assert "sixteen" in knowledge.search("days of holiday", audience=EVERYONE).passages[0].text
    assert knowledge.search("fourteen", audience=EVERYONE).passages == ()
    assert knowledge.size() == (1, 1)
    knowledge.close()


def test_removed_text_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    build([LEAVE, SALARIES], path)
    assert b"zirconium" in path.read_bytes()
    with Writer(path) as writer:
        assert writer.remove("salaries")
        writer.compact()
    for trace in (b"zirconium", b"zirconi", b"Salary", b"ninety"):
        assert trace not in path.read_bytes()


def test_a_foreign_or_missing_file_is_refused_with_the_next_step(tmp_path: Path) -> None:
    for content in (None, b"", b"not a database at all" * 100):
        path = tmp_path / "x.sqlite"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BrokenKnowledge, match="assistant kb"):
            open_knowledge(path)


def test_a_failed_build_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    build([LEAVE], path)
    before = path.read_bytes()

    def broken() -> Iterator[Document]:
        yield TRAVEL
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        build(broken(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["k.sqlite"]


def test_a_document_without_audience_is_refused(tmp_path: Path) -> None:
    nobody = Document(id="x", title="X", audience=frozenset(), sections=(Section(text="x"),))
    with pytest.raises(ValueError, match="name at least one"):
        build([nobody], tmp_path / "k.sqlite")


# --- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre"),
        ("plastered", "plaster"), ("motoring", "motor"), ("sing", "sing"), ("conflated", "conflat"),
        ("hopping", "hop"), ("falling", "fall"),
        ("filing", "file"), ("happy", "happi"), ("sky", "sky"), ("relational", "relat"), ("conditional", "condit"),
        ("vietnamization", "vietnam"), ("operator", "oper"), ("triplicate", "triplic"), ("electrical", "electr"),
        ("adjustment", "adjust"), ("adoption", "adopt"), ("probate", "probat"), ("rate", "rate"), ("controll", "control"),
        ("roll", "roll"), ("2024", "2024"), ("über", "über"),
    ],
)  # fmt: skip
def test_words_are_stemmed_as_porter_describes(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_text_is_folded_to_one_spelling() -> None:
    assert fold("ＡＢＣ Café ﬁle") == "abc cafe file"
    assert cut("差旅标准 applies") == ["差", "差旅", "旅", "旅标", "标", "标准", "准", "appli"]
    assert cut("The company's 1,200 users") == ["the", "compani", "1200", "user"]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="1２345,，'’sab中 .", max_size=14))
def test_a_text_is_cut_as_those_that_are_in_use_were(text: str) -> None:
    said = re.sub(r"(?<=\w)['’]s?(?!\w)|(?<=\w)['’](?=\w)", " ", fold(text))
    said = re.sub(r"(?<=\d)[,，](?=\d{3}(?!\d))", "", said)
    assert cut(text) == cut(said)
    assert cut(text) == cut(said.replace("'", " ").replace("’", " "))


@given(st.text(max_size=4000))
@settings(max_examples=80, deadline=None)
def test_splitting_loses_no_word(text: str) -> None:
    assert "".join("".join(split(text)).split()) == "".join(text.split())


def test_a_long_table_keeps_its_header_in_every_part() -> None:
    rows = "\n".join(f"| city {n} | {n} euro for each night in a good hotel |" for n in range(100))
    parts = list(pieces(Document(id="t", title="T", sections=(Section(text=f"| city | rate |\n| --- | --- |\n{rows}"),))))
    assert len(parts) > 2
    assert all(p.text.startswith("| city | rate |\n| --- | --- |\n| city ") for p in parts)
