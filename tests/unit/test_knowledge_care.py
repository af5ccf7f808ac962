"""Editors see what is stale or contradictory; a model's facts are taken only as far as the document bears them out."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import ModelError, Unavailable
from assistant.knowledge import Found, open_knowledge
from assistant.knowledge.build import build
from assistant.knowledge.documents import Document, Section
from assistant.knowledge.extract import file_facts, read
from assistant.knowledge.graph import Entity, GraphWriter, Relation
from assistant.knowledge.service import Service, Upload
from assistant.knowledge.store import Writer
from assistant.knowledge.versions import Folder, Versions

EVERYONE = frozenset({"everyone"})
LEAVE = b"# Annual leave\n## How many days of annual leave?\nNew employees get %s days of annual leave."


def test_stale_and_contradictory_and_copied_pages_are_listed(tmp_path: Path) -> None:
    now = [1_000_000.0]
    folder = Folder(tmp_path / "kb")
    service = Service(Versions(folder, folder, tenant="acme", clock=lambda: now[0]), clock=lambda: now[0])
    long = "Every visitor is fetched at the gate by the person who invited them and wears a yellow badge all day."
    service.add([
        Upload(name="old.md", content=LEAVE % b"14"),
        Upload(name="a.md", content=f"# Visitors\n{long}".encode()),
        Upload(name="b.md", content=f"# Guests\n{long}".encode()),
        Upload(name="zh1.md", content="# 年假\n新员工第一年有十四天年假。".encode()),
        Upload(name="zh2.md", content="# 年假\n新员工第一年有十五天年假。".encode()),
    ])  # fmt: skip
    now[0] += 400 * 86400
    service.add([
        Upload(name="new.md", content=LEAVE % b"16"),
        Upload(name="food.md", content=b"# Canteen\nThere are 3 dishes each day."),
    ])  # fmt: skip
    care = service.care()
    assert {d["id"] for d in care["stale"]} == {"a.md", "b.md", "old.md", "zh1.md", "zh2.md"}
    assert {(c["kind"], c["first"], c["second"]) for c in care["conflicts"]} == {
        ("copy", "a.md#0", "b.md#0"), ("numbers", "old.md#0", "new.md#0"), ("numbers", "zh1.md#0", "zh2.md#0"),
    }  # fmt: skip


ORG = Document(
    id="org", title="Org", audience=frozenset({"department:hr"}),
    sections=(Section(text="Li Lei leads the Design team. It uses Figma.", page=3), Section(text="Nothing here.")),
)  # fmt: skip


def relation(subject: str, kind: str, object_: str) -> dict[str, str]:
    return {"subject": subject, "relation": kind, "object": object_, "subject_kind": "person", "object_kind": "spaceship"}


def test_only_what_stands_in_the_document_is_taken_from_the_model(tmp_path: Path) -> None:
    def ask(prompt: str) -> str:
        if "Nothing here" in prompt:
            raise ModelError("refused")
        rows = [
            relation("Li Lei", "leads", "Design team"), relation("Li Lei", "leads", "Moon base"),
            relation("Li Lei", "hacks", "Figma"), relation("", "leads", "Figma"), relation("Li Lei", "leads", "Li Lei"),
        ]  # fmt: skip
        return "Here you are:\n```json\n" + json.dumps({"relations": [*rows, "nonsense"]}) + "\n```"

    facts = read(ORG, ask, until=math.inf)
    assert facts
    assert [(r.subject, r.kind, r.object, r.document, r.page) for r, _, _ in facts] == [
        ("li-lei", "leads", "design-team", "org", 3)
    ]
    path = tmp_path / "k.sqlite"
    with Writer(path) as writer:
        writer.add(ORG)
        graph = GraphWriter(writer)
        graph.put(Entity(id="li-lei", kind="person", name="Li Lei", aliases=("李雷",)))
        assert file_facts(graph, facts) == 1
        assert file_facts(graph, facts) == 0
    knowledge = open_knowledge(path)
    hr = frozenset({"department:hr", "everyone"})
    assert knowledge.search("李雷领导什么？", audience=hr).direct == "Li Lei领导Design team（来源：org, p. 3）"
    assert knowledge.search("李雷领导什么？", audience=EVERYONE).facts == ()
    knowledge.close()


def test_an_answer_that_is_no_json_gives_no_facts() -> None:
    for said in ("", "no", "{", '{"relations": 5}', "[1]", '{"relations": [{"subject": 1}]}'):
        assert read(ORG, lambda prompt, said=said: said, until=math.inf) == []  # type: ignore[misc]  # a default binds the value


def test_what_a_model_did_not_answer_or_had_no_time_for_does_not_count_as_read() -> None:
    def away(prompt: str) -> str:
        raise Unavailable("busy")

    assert read(ORG, away, until=math.inf) is None
    assert read(ORG, lambda prompt: "{}", until=5.0, now=lambda: 6.0) is None


WORDS = ["leave", "salary", "bus", "noodles", "laptop", "days", "ninety", "team", "年假", "工资", "班车"]
AUDIENCES = ["everyone", "department:hr", "user:slack:U1"]


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), st.sampled_from(AUDIENCES)), min_size=1, max_size=8
    ),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    st.sampled_from([EVERYONE, frozenset({"everyone", "department:hr"}), frozenset({"user:slack:U1"})]),
)
@settings(max_examples=20, deadline=None)
def test_what_is_hidden_changes_nothing_that_is_seen(
    notes: list[tuple[list[str], str]], question: list[str], who: frozenset[str]
) -> None:
    def ask(folder: str, rows: list[tuple[int, list[str], str]]) -> tuple[Found, object, object]:
        path = Path(folder) / f"{len(rows)}.sqlite"
        build((), path)
        with Writer(path, clock=lambda: 1.0) as writer:
            graph = GraphWriter(writer, clock=lambda: 1.0)
            for number, words, audience in rows:
                only = frozenset({audience})
                writer.add(Document(id=f"d{number}", title=words[0], audience=only, sections=(Section(text=" ".join(words)),)))
                graph.put(Entity(id=f"e{number}", kind="thing", name=words[-1], audience=only))
                graph.put(Entity(id=f"f{number}", kind="thing", name=f"Owner {number}", audience=only))
                graph.relate(Relation(subject=f"f{number}", kind="owns", object=f"e{number}", audience=only))
            writer.version = "same"
        knowledge = open_knowledge(path)
        try:
            found = knowledge.search("who owns " + " ".join(question), audience=who)
            entities = knowledge.entities(audience=who)
            return found, [d.id for d in knowledge.documents(audience=who)], entities
        finally:
            knowledge.close()

    numbered = [(n, words, audience) for n, (words, audience) in enumerate(notes)]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        assert ask(one, numbered) == ask(two, [row for row in numbered if row[2] in who])
