"""Rings through the front door: who is served, who is next, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.dev.cli import main
from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.errors import InvalidSetting, Unavailable
from assistant.llm import ChatRequest, Done, Event, Usage
from assistant.messages import Message
from assistant.rollout import Rollouts
from assistant.rollout.journal import RolloutChanged
from assistant.rollout.rings import ORDER, Ring
from assistant.rollout.state import Rollout
from tests.integration.test_api import ApiFunction
from tests.support.desks import FeishuDesk, SlackDesk
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel, client

BY: dict[str, Any] = {"who": "ann", "why": "a test"}


def rollouts(house: House) -> Rollouts:
    return house.assistant.rollouts


@contextmanager
def served(house: House) -> Iterator[str]:
    """The address of the house's HTTP API."""
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.shutdown()
        server.server_close()
        listening.close()


def test_a_new_installation_answers_everybody(aws: Emulator) -> None:
    house = House(aws)
    house.say("How long?")
    house.drain()
    assert [t["text"] for t in house.turns()] == ["Fourteen days."]
    assert rollouts(house).history() == []


def test_somebody_outside_gets_one_polite_word_and_then_silence(aws: Emulator) -> None:
    with SlackDesk() as desk:
        house = House(aws, secrets=desk.secrets)
        rollouts(house).set({"reached": "internal"}, **BY)
        for n in range(3):
            desk.ask(house, f"How long? {n}", message=f"m{n}")
            house.drain()
        assert len(desk.seen(house)) == 1
        assert "step by step" in desk.seen(house)[0]
        assert house.model.asked == []
        rollouts(house).set({"people": ["slack:U1"]}, ring="internal", **BY)
        desk.ask(house, "And now?", message="m9")
        house.drain()
        assert desk.seen(house)[-1] == "Fourteen days."


def test_silence_is_silence(aws: Emulator) -> None:
    with SlackDesk() as desk:
        house = House(aws, secrets=desk.secrets)
        rollouts(house).set({"reached": "internal", "outside": "silence"}, **BY)
        desk.ask(house, "How long?")
        house.drain()
        assert desk.seen(house) == []


def test_a_ring_has_its_own_model_and_plugins(aws: Emulator) -> None:
    house = House(aws, model=ScriptedModel(["configured"]))
    other = ScriptedModel(["of the ring"])
    house.assistant._models["openai:new@http://127.0.0.1:1/v1"] = other
    rollouts(house).set(
        {"people": ["webchat:u"], "model": "openai:new@http://127.0.0.1:1/v1", "plugins": ["courtesy"]}, ring="internal", **BY
    )
    house.say("How long?", user="u")
    house.say("How long?", user="somebody else")
    house.drain()
    assert [t["text"] for t in house.turns()] == ["of the ring", "configured"]


def test_promotion_goes_ring_by_ring_and_back(aws: Emulator) -> None:
    state = rollouts(House(aws))
    state.set({"reached": "nobody"}, **BY)
    assert [state.promote(**BY).reached for _ in ORDER] == list(ORDER)
    with pytest.raises(InvalidSetting, match="everyone"):
        state.promote(**BY)
    assert state.roll_back(**BY).reached == "department"
    state.halt(**BY)
    with pytest.raises(InvalidSetting, match="halted"):
        state.promote(**BY)
    state.set({"halted": False}, **BY)
    assert state.promote(**BY).reached == "everyone"
    history = state.history()
    assert [c.edition for c in history] == list(range(len(history), 0, -1))
    assert {(c.who, c.why) for c in history} == {("ann", "a test")}


def test_two_administrators_at_once_do_not_undo_each_other(aws: Emulator) -> None:
    one, two = (Rollouts(House(aws).assistant.table) for _ in range(2))
    before = one.read()
    two.set({"outside": "silence"}, **BY)
    with pytest.raises(RolloutChanged):
        one._write(before, before, what="late", **BY)
    assert one.read().outside == "silence"


def test_a_warm_function_asks_the_table_only_after_the_refresh_time(aws: Emulator) -> None:
    house = House(aws)
    house.say("One")
    house.drain()
    house.recorder.take()
    house.say("Two")
    house.drain()
    assert not [c for c in house.recorder.take() if c.operation == "get_item"]
    Rollouts(house.another().table).set({"reached": "nobody", "outside": "silence"}, **BY)
    house.offset = 29
    house.say("Three")
    house.drain()
    assert [t["text"] for t in house.turns()] == ["Fourteen days.", "Fourteen days.", ""], "everywhere within thirty seconds"


@pytest.mark.parametrize(
    ("changes", "ring", "said"),
    [
        ({"people": [f"slack:U{n}" for n in range(11)]}, "internal", "room for 10"),
        ({"people": ["U1"]}, "internal", "PLATFORM:ID"),
        ({"people": "slack:U1"}, "internal", "list"),
        ({"share": 2}, "department", "between 0 and 1"),
        ({"capacity": -1}, "department", "whole number"),
        ({"colour": "red"}, "department", "colour"),
        ({"reached": "moon"}, "", "moon"),
        ({"outside": "shout"}, "", "shout"),
        ({}, "basement", "basement"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_name(aws: Emulator, changes: dict[str, Any], ring: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        rollouts(House(aws)).set(changes, ring=ring, **BY)


def person(user: str) -> Message:
    return Message(kind="text", platform="slack", channel="events", conversation="C1", sender=user, dedup_id="d")


def test_a_growing_share_only_adds_people() -> None:
    def served(share: float) -> set[str]:
        rollout = Rollout(reached="department", rings=(Ring(name="internal"), Ring(name="department", share=share)))
        return {f"U{n}" for n in range(2000) if rollout.ring_of(person(f"U{n}"))}

    small, large = served(0.05), served(0.2)
    assert small < large
    assert 60 < len(small) < 140
    assert 340 < len(large) < 460


def test_the_narrowest_ring_that_fits_counts() -> None:
    rings = (
        Ring(name="internal", people=("slack:U1",)),
        Ring(name="department", chats=("slack:C1",)),
        Ring(name="everyone", share=1),
    )
    rollout = Rollout(rings=rings)
    assert getattr(rollout.ring_of(person("U1")), "name", "") == "internal"
    assert getattr(rollout.ring_of(person("U2")), "name", "") == "department"


# --- what a ring can set, through the front door -----------------------------------------------


def test_the_people_of_a_ring_that_is_off_are_not_served_until_it_is_on_again(aws: Emulator) -> None:
    house = House(aws)
    rollouts(house).set({"people": ["webchat:ann"], "on": False}, ring="department", **BY)
    for user in ("ann", "bob"):
        house.say("How long?", user=user, conversation=user)
    house.drain()
    assert "step by step" in house.turns("ann")[0]["text"], "even though everyone is served"
    assert house.turns("bob")[0]["text"] == "Fourteen days."
    rollouts(house).set({"on": True}, ring="department", **BY)
    house.say("And now?", user="ann", conversation="ann")
    house.drain()
    assert house.turns("ann")[-1]["text"] == "Fourteen days."


def test_a_ring_has_its_own_version_of_the_prompt_beside_the_assistants_own_instructions(aws: Emulator) -> None:
    house = House(aws)
    rollouts(house).prompts.add("brief-2", "Answer in one sentence.", who="ann")
    rollouts(house).set({"people": ["webchat:ann"], "prompt": "brief-2"}, ring="internal", **BY)
    for user in ("ann", "bob"):
        house.say("How long?", user=user, conversation=user)
        house.drain()
    ann, bob = (asked.system for asked in house.model.asked)
    assert ann == f"{bob}\n\nAnswer in one sentence."
    house.recorder.take()
    house.say("And then?", user="ann", conversation="ann")
    house.drain()
    assert not [c for c in house.recorder.take() if "PROMPTS" in str(c.request)], "a version is read once"


def test_a_version_of_the_prompt_never_changes_and_must_exist(aws: Emulator) -> None:
    state = rollouts(House(aws))
    state.prompts.add("v1", "Be brief.", who="ann")
    state.prompts.add("v1", "Be brief.", who="ann")
    with pytest.raises(InvalidSetting, match="never changes"):
        state.prompts.add("v1", "Be long.", who="ann")
    with pytest.raises(InvalidSetting, match=r"no version 'v9'.*v1"):
        state.set({"prompt": "v9"}, ring="internal", **BY)
    for name, text in (("no/slash", "x"), ("v2", "  "), ("v3", "x" * 20_001)):
        with pytest.raises(InvalidSetting):
            state.prompts.add(name, text, who="ann")
    assert [p["name"] for p in state.prompts.all()] == ["v1"]


def test_a_rings_budget_and_retention_are_its_own(aws: Emulator) -> None:
    house = House(aws, model=Spending())
    rollouts(house).set({"people": ["webchat:ann"], "person_tokens": 100, "days": 3}, ring="internal", **BY)
    for user in ("ann", "bob"):
        for _ in range(2):
            house.say("How long?", user=user, conversation=user)
            house.drain()
    assert [t["text"] for t in house.turns("bob")] == ["Fourteen days."] * 2
    ann = [t["text"] for t in house.turns("ann")]
    assert ann[0] == "Fourteen days."
    assert "used up" in ann[1]
    days = {
        i["pk"]["S"]: round((int(i["expires"]["N"]) - house.now()) / 86400)
        for i in scan(house)
        if i["sk"]["S"].startswith("turn#")
    }
    assert days == {"C#default#webchat#ann": 3, "C#default#webchat#bob": 180}


def test_a_rings_memory_is_its_own(aws: Emulator) -> None:
    with SlackDesk() as desk:
        house = House(aws, secrets=desk.secrets)
        rollouts(house).set({"people": ["slack:U1"], "memory": "member"}, ring="internal", **BY)
        for user in ("U1", "U2", "U3"):
            event = desk.vendor.say("C1", user, f"<@{desk.vendor.secrets['bot_user_id']}> How long?")
            assert house.receive(desk.vendor.event(event, event_id=f"Ev-{user}")).status == 200
            house.drain()
        partitions = {i["pk"]["S"].split("#")[-1] for i in scan(house) if i["sk"]["S"].startswith("turn#")}
        assert "U1" in partitions, "what she says is remembered for her alone"
        assert not {"U2", "U3"} & partitions


class Spending(ScriptedModel):
    """A model that says what it has used."""

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """The answer, for 120 tokens."""
        for event in super().stream(request):
            yield replace(event, usage=Usage(prompt=100, completion=20)) if isinstance(event, Done) else event


def scan(house: House) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client(house.aws, "dynamodb").scan(TableName="assistant")["Items"]
    return items


# --- who belongs -------------------------------------------------------------------------------


class Directory:
    """What a platform's directory tells."""

    def __init__(self, where: dict[str, tuple[str, ...]]) -> None:
        self.where = where
        self.asked: list[str] = []
        self.down = False

    def __call__(self, message: Message) -> tuple[str, ...]:
        self.asked.append(message.sender)
        if self.down:
            raise Unavailable("the directory does not answer")
        return self.where.get(message.sender, ())


def with_directory(house: House, directory: Directory) -> Rollouts:
    return Rollouts(house.assistant.table, clock=house.now, belongs=directory)


def ring_name(state: Rollouts, user: str, platform: str = "slack") -> str:
    message = Message(kind="text", platform=platform, channel="e", conversation="C1", sender=user, dedup_id="d")
    ring, _ = state.ring_of(message)
    return ring.name if ring else "outside"


def test_a_department_and_a_group_belong_by_the_platforms_directory_which_is_asked_once_an_hour(aws: Emulator) -> None:
    house = House(aws)
    directory = Directory({"U1": ("department:od-1", "department:od-0"), "U2": ("group:S9",)})
    state = with_directory(house, directory)
    state.set({"departments": ["slack:od-0"], "groups": ["slack:S9"]}, ring="department", **BY)
    state.set({"reached": "department"}, **BY)
    assert [ring_name(state, u) for u in ("U1", "U2", "U3")] == ["department", "department", "outside"]
    assert ring_name(state, "U1", platform="feishu") == "outside", "an id counts on its own platform"
    for _ in range(20):
        ring_name(state, "U1")
    assert directory.asked.count("U1") == 2, "once for each platform"
    house.recorder.take()
    ring_name(state, "U1")
    assert house.recorder.take() == []
    house.offset = 3700
    directory.where["U1"] = ()
    assert ring_name(state, "U1") == "outside"


def test_a_directory_that_does_not_answer_leaves_people_where_they_are_without_it(aws: Emulator) -> None:
    house = House(aws)
    directory = Directory({"U1": ("department:od-1",)})
    directory.down = True
    state = with_directory(house, directory)
    state.set({"departments": ["slack:od-1"]}, ring="internal", **BY)
    assert ring_name(state, "U1") == "everyone"
    directory.down = False
    house.offset = 61
    assert ring_name(state, "U1") == "internal"


def test_feishus_directory_decides_through_the_front_door(aws: Emulator) -> None:
    with FeishuDesk() as desk:
        desk.vendor.departments["ou_ann"] = ["od-sales"]
        desk.vendor.above["od-sales"] = ["od-europe"]
        desk.vendor.scopes |= {"contact:contact.base:readonly", "contact:user.department:readonly"}
        house = House(aws, secrets=desk.secrets)
        rollouts(house).set({"departments": ["feishu:od-europe"]}, ring="internal", **BY)
        rollouts(house).set({"reached": "internal"}, **BY)
        desk.ask(house, "How long?")
        house.drain()
        assert desk.seen(house) == ["Fourteen days."]


def test_an_imported_list_is_a_department_too(aws: Emulator) -> None:
    house = House(aws)
    state = rollouts(house)
    with pytest.raises(InvalidSetting, match="no list 'sales'"):
        state.set({"departments": ["list:sales"]}, ring="internal", **BY)
    assert state.members.import_list("sales", ["webchat:ann", "webchat:ann", "slack:U1"], who="ann") == 2
    state.set({"departments": ["list:sales"]}, ring="internal", **BY)
    state.set({"reached": "internal"}, **BY)
    for user in ("ann", "bob"):
        house.say("How long?", user=user, conversation=user)
    house.drain()
    assert house.turns("ann")[0]["text"] == "Fourteen days."
    assert "step by step" in house.turns("bob")[0]["text"]
    assert [(e["name"], e["people"]) for e in state.members.lists()] == [("sales", 2)]
    with pytest.raises(InvalidSetting, match="PLATFORM:USER"):
        state.members.import_list("more", ["U1"], who="ann")


def test_a_ring_has_no_more_people_than_its_capacity_however_they_came(aws: Emulator) -> None:
    house = House(aws)
    rollouts(house).set({"people": ["webchat:ann"], "chats": ["webchat:team"], "capacity": 3}, ring="department", **BY)
    rollouts(house).set({"reached": "department", "outside": "silence"}, **BY)
    for user in ("bob", "carl", "dora", "ann", "bob"):
        house.say("How long?", user=user, conversation="team")
        house.drain()
    served = [t["user"] for t in house.turns("team") if t["text"]]
    assert served == ["bob", "carl", "ann", "bob"], "dora came last; ann is named and has her seat"
    assert rollouts(house).taken_seats(rollouts(house).read()) == {"internal": 0, "department": 3}
    house.recorder.take()
    house.say("Again?", user="bob", conversation="team")
    house.drain()
    assert not [c for c in house.recorder.take() if "SEATS" in str(c.request)], "a seat that is known costs nothing"
    assert ring_name(house.another().rollouts, "bob", platform="webchat") == "outside", "not in this chat"


def test_of_two_who_take_the_last_seat_at_once_the_first_keeps_it(aws: Emulator) -> None:
    house = House(aws)
    rollouts(house).set({"share": 1.0, "capacity": 1}, ring="internal", **BY)
    rollouts(house).set({"reached": "internal"}, **BY)
    one, two = house.assistant.rollouts, house.another().rollouts
    for state in (one, two):
        state.current()  # each knows of no seat that is taken
    assert ring_name(one, "U1") == "internal"
    house.offset = 1
    assert ring_name(two, "U2") == "outside"
    assert ring_name(one, "U1") == "internal"


def test_the_whole_roll_out_from_the_command_line(aws: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    house = House(aws)
    with served(house) as base:
        at = ["--url", base, "--api-key", WEBCHAT_KEY]

        def said(*arguments: str, status: int = 0) -> str:
            assert main(["rollout", *arguments, *at]) == status, capsys.readouterr().err
            both = capsys.readouterr()
            return both.out + both.err

        (tmp_path / "prompt.txt").write_text("Be brief.")
        (tmp_path / "people.txt").write_text("slack:U1  # ann\n\nslack:U2\n")
        assert "prompt brief" in said("prompt", "brief", str(tmp_path / "prompt.txt"))
        assert said("prompt", "brief") == "Be brief.\n"
        assert "2 people" in said("import", "sales", str(tmp_path / "people.txt"))
        assert "sales" in said("lists")
        said("set", "internal", "--departments", "list:sales", "--prompt", "brief", "--plugins", "help", "--why", "autumn")
        assert "1 departments, prompt brief, plug-ins help" in said("status")
        said("set", "--reached", "internal")
        assert "no plan is running" in said("plan")
        assert "watches internal" in said("plan", "--hold", "2", "--turns", "3", "--to", "department", "--why", "go")
        plan = json.loads(said("plan", "--json"))["plan"]
        assert (plan["hours"], plan["limits"]["turns"], plan["to"]) == (2, 3, "department")
        house.assistant.promotion.look()
        assert "last look" in said("plan")
        assert "plan is running" in said("plan", "--hold", "1", status=2)
        said("halt", "--why", "a look")
        assert "halted" in said("plan")
        said("set", "--resume")
        said("plan", "--stop")
        said("promote")
        said("rollback")
        history = said("history").splitlines()
        assert [line.split(maxsplit=4)[4] for line in history][:3] == [
            "roll back to edition 6", "promote to department", "end the plan",
        ]  # fmt: skip
        assert "(autumn)" in history[-1]
        assert "on a ring" in said("set", "--people", "slack:U1", status=2)
        assert "not set on a ring" in said("set", "internal", "--reached", "everyone", status=2)
        assert "nothing to set" in said("set", status=2)
        assert "cannot be read" in said("import", "x", str(tmp_path / "none"), status=2)
        assert "OFF" in said("set", "department", "--no-on")
