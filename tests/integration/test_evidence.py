"""What a fault test keeps when a promise is broken tells where a word went: into the queue, the table, or the vendor's bin."""

from __future__ import annotations

import json
from pathlib import Path

from assistant.dev.emulator import Emulator
from tests.support.evidence import keep
from tests.support.house import House, ScriptedModel
from tests.support.town import Town


def test_what_was_accepted_and_lies_in_the_queue_is_found_there(aws: Emulator, tmp_path: Path) -> None:
    with Town(("slack", "webchat")) as town:
        house = House(aws, secrets=town.secrets, model=ScriptedModel(["Answer 1."]))
        town.into(house)
        word = town.write("slack", 1)
        assert town.deliver(word)
        kept = Path(keep(town, seed="7 kills 1", broken=f"lost: {word}", folder=tmp_path))
        told = json.loads(kept.read_text())
        assert kept.name == "7-kills-1.json"
        assert told["chats"] == {str(word): []}
        (waiting,) = told["queues"]["turns"]
        assert json.loads(waiting["Body"])["text"] == "Question 1"
        house.drain()  # looking takes nothing away
        assert town.lost() == []


def test_what_wecom_took_and_dropped_is_named_and_the_turn_that_said_it_is_kept(aws: Emulator, tmp_path: Path) -> None:
    with Town(("wecom",)) as town:
        house = House(aws, secrets=town.secrets, model=ScriptedModel([f"Answer {n}." for n in range(1, 32)]))
        town.into(house)
        words = [town.write("wecom", 1) for _ in range(31)]
        for word in words:
            assert town.deliver(word)
            if word is words[30]:
                house.run(house.batch(), house.another())  # which does not know what the first has sent
            else:
                house.run(house.batch())
        (lost,) = town.lost()
        told = json.loads(Path(keep(town, seed="7", broken=f"lost: {lost}", folder=tmp_path)).read_text())
        assert told["dropped"] == {"wecom": ["to m1: Answer 31."]}
        assert sum("Answer 31." in request for request in told["asked"]["wecom"]) == 1
        assert any("Answer 31." in json.dumps(item) for item in told["table"])
        assert told["queues"] == {"turns": [], "dead letters": []}
