"""The knowledge as a tool of the model: with the asker's rights, and in a group with those of all who read along."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant.dev.emulator import Emulator
from assistant.messages import Passage
from assistant.testing import Talk, make
from assistant_plugins.knowledge import Knowledge
from tests.support.desks import DESKS
from tests.support.house import House, Pages, ScriptedModel

PASSAGE = Passage(id="p1", title="Travel", text="Trains first.", path="Travel › Trains", url="https://wiki.example.com/travel")


@dataclass
class Asked:
    """Remembers with whose rights it was searched."""

    seen: list[tuple[str, frozenset[str], tuple[frozenset[str], ...]]] = field(default_factory=list)

    def kinds(self) -> frozenset[str]:
        return frozenset()

    def search(
        self, question: str, *, audience: frozenset[str], limit: int = 5, listeners: Sequence[frozenset[str]] = ()
    ) -> Pages:
        self.seen.append((question, audience, tuple(listeners)))
        return Pages((PASSAGE,))


def house(aws: Emulator, knowledge: Any, **config: Any) -> House:
    answers = [[("search_knowledge", {"question": "May I fly?"})], "Take the train."]
    return House(
        aws,
        model=ScriptedModel(answers),  # type: ignore[arg-type]  # a list of answers of several kinds
        pages=knowledge,
        plugins="knowledge",
        plugin_configs=json.dumps({"knowledge": config}),
    )


def test_the_model_searches_again_with_the_askers_rights(aws: Emulator) -> None:
    knowledge = Asked()
    made = house(aws, knowledge, search=True)
    made.say("How do I travel?")
    made.drain()
    assert made.turns()[-1]["text"] == "Take the train."
    [result] = [m.text for m in made.model.asked[-1].messages if m.role == "tool"]
    assert json.loads(result) == [
        {"title": "Travel", "where": "Travel › Trains", "text": "Trains first.", "link": "https://wiki.example.com/travel"}
    ]
    question, audience, _ = knowledge.seen[-1]
    assert question == "May I fly?"
    assert audience == knowledge.seen[0][1]
    assert "user:webchat:u" in audience


def test_in_a_group_it_finds_what_all_may_see(aws: Emulator) -> None:
    knowledge = Asked()
    with DESKS["slack"]() as desk:
        made = house(aws, knowledge, search=True)
        made.secrets |= desk.secrets
        made.assistant = made.another()
        desk.vendor.clock = made.now
        bot = desk.secrets["slack"]["bot_user_id"]
        said = desk.vendor.say("C1", "U1", f"<@{bot}> how do I travel?")
        assert made.receive(desk.vendor.event({**said, "type": "app_mention"}, event_id="E1")).status == 200
        made.drain()
    assert knowledge.seen[-1][0] == "May I fly?"
    assert knowledge.seen[-1][2], "there are listeners, and their rights bound what is found"
    assert knowledge.seen[-1][1:] == knowledge.seen[0][1:], "the same rights as for the question itself"


def test_switched_off_the_model_is_offered_nothing(aws: Emulator) -> None:
    made = house(aws, Asked())
    made.model.answers = ["Trains."]
    made.say("How do I travel?")
    made.drain()
    assert made.model.asked[0].tools == ()


def test_nothing_found_is_an_empty_list() -> None:
    assert Talk([make(Knowledge, search=True)]).use("search_knowledge", question="?") == "[]"
    assert "Trains first." in Talk([make(Knowledge, search=True)], knows=(PASSAGE,)).use("search_knowledge", question="?")
