"""The graph: names are recognised, facts are told with their path and source, and only to those who may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assistant.errors import Refused
from assistant.knowledge import Knowledge, open_knowledge
from assistant.knowledge.documents import Document, Section
from assistant.knowledge.graph import Entity, GraphWriter, Relation, entity_id
from assistant.knowledge.store import Writer

EVERYONE = frozenset({"everyone"})
HR = frozenset({"everyone", "department:hr"})
ORG = """subject,relation,object,subject_kind,object_kind
Li Lei,leads,Design team,person,team
Zhang San,member of,Design team,person,team
Han Meimei,approves travel for,Design team,person,team
Travel policy,applies to,Design team,policy,team
"""
NAMES = """name,kind,aliases,description
Design team,team,设计部;设计团队;DT,Makes things look right
Li Lei,person,李雷;Lei,
Zhang San,person,张三,
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[Callable[[GraphWriter], object]], Knowledge]]:
    path = tmp_path / "k.sqlite"
    opened: list[Knowledge] = []

    def change(edit: Callable[[GraphWriter], object]) -> Knowledge:
        with Writer(path) as writer:
            writer.add(Document(id="org", title="Org", sections=(Section(text="Who is who."),)))
            edit(GraphWriter(writer, author="ann", clock=lambda: 5.0))
        opened.append(open_knowledge(path))
        return opened[-1]

    yield change
    for knowledge in opened:
        knowledge.close()


def company(graph: GraphWriter) -> None:
    graph.load("names.csv", NAMES.encode())
    graph.load("org.csv", ORG.encode())


Make = Callable[[Callable[[GraphWriter], object]], Knowledge]


def test_one_relation_answers_who_approves_travel_for_a_team(make: Make) -> None:
    found = make(company).search("Who approves travel for the design team?", audience=EVERYONE)
    assert found.direct == "Han Meimei approves travel for Design team (source: org.csv)"
    assert found.facts[0] == found.direct


def test_two_relations_answer_who_leads_the_team_of_somebody_and_the_path_is_shown(make: Make) -> None:
    found = make(company).search("Who is the leader of Zhang San?", audience=EVERYONE)
    assert found.direct == "Zhang San is a member of Design team; Li Lei leads Design team (source: org.csv)"


@pytest.mark.parametrize("question", ["设计部的负责人是谁？", "设计团队谁领导", "谁是DT的主管？"])
def test_chinese_names_and_abbreviations_are_recognised(make: Make, question: str) -> None:
    found = make(company).search(question, audience=EVERYONE)
    assert found.direct == "Li Lei领导Design team（来源：org.csv）"


def test_the_longest_name_wins(make: Make) -> None:
    def names(graph: GraphWriter) -> None:
        for name, lead in (("设计", "王五"), ("设计部", "赵六")):
            graph.put(Entity(id=name, kind="team", name=name))
            graph.put(Entity(id=lead, kind="person", name=lead))
            graph.relate(Relation(subject=lead, kind="leads", object=name))

    found = make(names).search("设计部的负责人是谁", audience=EVERYONE)
    assert found.facts == ("赵六领导设计部",)


def test_a_question_without_a_known_name_gets_no_facts(make: Make) -> None:
    found = make(company).search("How is the weather in Paris?", audience=EVERYONE)
    assert (found.facts, found.direct) == ((), "")


@pytest.mark.parametrize("hidden", ["relation", "subject", "object"])
def test_a_fact_is_hidden_with_its_relation_or_either_end(make: Make, hidden: str) -> None:
    def secret(graph: GraphWriter) -> None:
        def audience(part: str) -> frozenset[str]:
            return frozenset({"department:hr"}) if part == hidden else EVERYONE

        graph.put(Entity(id="a", kind="person", name="Ann Zirkon", audience=audience("subject")))
        graph.put(Entity(id="b", kind="project", name="Project Basalt", audience=audience("object")))
        graph.relate(Relation(subject="a", kind="leads", object="b", audience=audience("relation"), source="s"))

    knowledge = make(secret)
    for question in ("Who leads Project Basalt?", "What does Ann Zirkon lead?"):
        assert knowledge.search(question, audience=EVERYONE).facts == ()
        assert knowledge.search(question, audience=HR, listeners=[EVERYONE]).facts == ()
        assert knowledge.search(question, audience=HR).direct == "Ann Zirkon leads Project Basalt (source: s)"
    if hidden == "subject":
        assert [e["id"] for e in knowledge.entities(audience=EVERYONE)] == ["b"]
        with pytest.raises(Refused):
            knowledge.walk("a", audience=EVERYONE)
    assert knowledge.walk("b", audience=HR)["edges"]
    if hidden != "object":
        seen = knowledge.walk("b", audience=EVERYONE)
        assert seen["edges"] == []
        assert "Zirkon" not in str(seen)


def test_a_two_step_path_through_a_hidden_middle_is_not_told(make: Make) -> None:
    def secret(graph: GraphWriter) -> None:
        graph.put(Entity(id="a", kind="person", name="Ann"))
        graph.put(Entity(id="m", kind="team", name="Shadow team", audience=frozenset({"department:hr"})))
        graph.put(Entity(id="z", kind="person", name="Zoe"))
        graph.relate(Relation(subject="a", kind="member_of", object="m"))
        graph.relate(Relation(subject="z", kind="leads", object="m"))

    knowledge = make(secret)
    assert knowledge.search("Who leads the team of Ann?", audience=EVERYONE).facts == ()
    assert "Zoe leads Shadow team" in knowledge.search("Who leads the team of Ann?", audience=HR).direct


def test_facts_from_a_document_go_with_it(make: Make) -> None:
    def from_document(graph: GraphWriter) -> None:
        company(graph)
        graph.relate(
            Relation(subject="li-lei", kind="owns", object=entity_id("Travel policy"), document="org", page=4, source="model")
        )

    knowledge = make(from_document)
    assert knowledge.search("Who owns the travel policy?", audience=EVERYONE).direct == (
        "Li Lei owns Travel policy (source: org, p. 4)"
    )
    with Writer(knowledge.path) as writer:
        writer.remove("org")
    after = open_knowledge(knowledge.path)
    assert not any("owns" in fact for fact in after.search("Who owns the travel policy?", audience=EVERYONE).facts)
    after.close()


def test_a_renamed_entity_is_known_by_both_names_and_a_merged_one_brings_its_own(make: Make) -> None:
    def change(graph: GraphWriter) -> None:
        company(graph)
        graph.rename(entity_id("Design team"), "Studio")
        graph.put(Entity(id="dup", kind="person", name="Lei Li", aliases=("小李",)))
        graph.merge("dup", into="li-lei")

    knowledge = make(change)
    for question in ("Who leads the studio?", "Who leads the design team?"):
        assert knowledge.search(question, audience=EVERYONE).direct == "Li Lei leads Studio (source: org.csv)"
    assert knowledge.search("小李领导哪个团队", audience=EVERYONE).facts
    assert [(h["action"], h["author"]) for h in knowledge.history()[:3]] == [
        ("merged", "ann"), ("added", "ann"), ("renamed", "ann"),
    ]  # fmt: skip


def test_a_deleted_entity_is_gone_with_its_names_and_relations(make: Make) -> None:
    def change(graph: GraphWriter) -> None:
        company(graph)
        graph.delete("li-lei")

    knowledge = make(change)
    assert "Li Lei" not in str(knowledge.search("Who leads the design team? 李雷", audience=EVERYONE).facts)
    assert knowledge.history()[0] == {"at": 5.0, "author": "ann", "action": "deleted", "subject": "li-lei"}


def test_merging_across_audiences_is_refused(make: Make) -> None:
    def change(graph: GraphWriter) -> None:
        graph.put(Entity(id="a", kind="person", name="A", audience=HR))
        graph.put(Entity(id="b", kind="person", name="B"))
        with pytest.raises(Refused, match="different audiences"):
            graph.merge("a", into="b")
        with pytest.raises(Refused, match="itself"):
            graph.merge("a", into="a")

    make(change)


def test_importing_again_changes_nothing_and_a_bad_file_changes_nothing_at_all(make: Make) -> None:
    def change(graph: GraphWriter) -> None:
        assert graph.load("names.csv", NAMES.encode()) == (3, 0)
        assert graph.load("org.csv", ORG.encode()) == (2, 4)
        assert graph.load("org.csv", ORG.encode()) == (0, 0)
        json = '{"entities": [{"id": "x", "name": "X", "kind": "system"}], "relations": [{"subject": "X"}]}'
        for name, content in (("a.json", json), ("b.csv", "one,two\n1,2\n"), ("c.json", "[]"), ("d.json", "{"), ("e.csv", "\0")):
            with pytest.raises(Refused, match="must be CSV"):
                graph.load(name, content.encode())

    assert [e["id"] for e in make(change).entities(audience=EVERYONE, matching="x")] == []
