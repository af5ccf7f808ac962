"""Plug-ins under an administrator's eyes: quarantine and settings that all instances share, versions by ring, what is stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from assistant import Ask, BotPlugin, Event, Flow, MenuItem, Message, Permissions, PluginContext, Reply, Tool, ToolFailed, tool
from assistant.api import create_app
from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting, Unavailable
from assistant.observability import PLUGIN_FAULTS
from assistant.plugins import FAULTS, Around, Plugins, Records
from assistant.testing import MONDAY, Talk, make
from assistant.web import NotReached
from tests.simulators.services import Register
from tests.support.house import WEBCHAT_KEY, House, client

KEY = {"authorization": f"Bearer {WEBCHAT_KEY}"}


class Limits(BaseModel):
    seats: Annotated[int, Field(ge=1, description="At one table")] = 4
    api_token: str = "none"


class Table(BotPlugin):
    """Says how many seats a table has."""

    name = "table"
    version = "1.0.0"
    Config = Limits

    def handle_message(self, ctx: PluginContext, message: Message) -> str | None:
        if message.text == "break":
            raise RuntimeError("on purpose")
        return f"{self.config.seats} seats" if message.text == "seats" else None


class NewTable(Table):
    version = "1.1.0"

    def handle_message(self, ctx: PluginContext, message: Message) -> str | None:
        return f"now {self.config.seats} seats" if message.text == "seats" else None

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        return [MenuItem(title="Seats", text="seats")]


def equip(assistant: Assistant, *plugins: BotPlugin) -> Assistant:
    assistant._plugins = Plugins(
        plugins, table=assistant.table, records=assistant.plugin_records, metrics=assistant.metrics, tenant="default"
    )
    return assistant


def house_with(aws: Emulator, *plugins: BotPlugin, **more: Any) -> House:
    house = House(aws, **more)
    equip(house.assistant, *plugins)
    return house


def second(house: House, *plugins: BotPlugin) -> Assistant:
    """Another instance of the same functions, with nothing in memory."""
    return equip(house.another(), *plugins)


def ask(house: House, text: str, assistant: Assistant | None = None, **more: Any) -> str:
    house.say(text, **more)
    house.run(house.batch(), assistant)
    return str(house.turns(more.get("conversation", "c"))[-1]["text"])


def doing(what: Any, **attributes: Any) -> BotPlugin:
    """A plug-in whose answer is what `what(ctx)` gives."""

    def handle_message(self: BotPlugin, ctx: PluginContext, message: Message) -> Any:
        return str(what(ctx))

    return make(type("Doing", (BotPlugin,), {"name": "doing", "handle_message": handle_message, **attributes}))


# --- quarantine --------------------------------------------------------------------------------------


def test_what_one_instance_puts_into_quarantine_all_leave_out_until_an_operator_restores_it(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    other = second(house, make(Table))
    assert ask(house, "seats", other) == "4 seats"
    for _ in range(FAULTS):
        ask(house, "break")
    house.offset += 21
    assert ask(house, "seats", other) == "Fourteen days.", "the second instance has heard of it"
    with TestClient(create_app(second(house, make(Table))), headers=KEY) as http:
        [told] = http.get("/api/plugins").json()["plugins"]
        assert (told["state"], told["reason"]) == ("quarantined", "handle_message raised RuntimeError")
        assert told["since"] > 0
        [told] = http.post("/api/plugins/table/restore", json={"why": "mended"}).json()["plugins"]
        assert told["state"] == "ready"
        assert "no plug-in 'nothing'; known: table" in http.post("/api/plugins/nothing/restore", json={}).json()["error"]
        acts = http.get("/api/audit").json()["acts"]
        assert any((a["what"], a["target"], a["why"]) == ("restore plug-in", "table", "mended") for a in acts)
    house.offset += 21
    assert ask(house, "seats", other) == "4 seats"
    assert ask(house, "seats") == "4 seats", "also where the faults were counted"


def test_a_quarantine_that_is_lifted_before_anybody_asks_again_is_lifted_here_too(aws: Emulator) -> None:
    here, there = (House(aws).assistant for _ in range(2))
    plugins = Plugins([make(Table)], records=here.plugin_records)
    for _ in range(FAULTS):
        plugins.handle(*place("break"))
    there.plugin_records.restore("table")
    here.plugin_records.read()
    assert getattr(plugins.handle(*place("seats")), "text", "") == "4 seats"


def test_a_new_version_has_a_clean_slate(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    for _ in range(FAULTS):
        ask(house, "break")
    mended = second(house, make(NewTable))
    assert ask(house, "seats", mended) == "now 4 seats"


def test_a_quarantine_holds_in_this_instance_while_the_table_does_not_answer(aws: Emulator) -> None:
    class Down(Records):
        def quarantine(self, plugin: str, reason: str) -> None:
            raise Unavailable("throttled")

    house = House(aws)
    plugins = Plugins([make(Table)], records=Down(house.assistant.table))
    for _ in range(FAULTS):
        plugins.handle(*place("break"))
    assert plugins.handle(*place("seats")) is None


def test_faults_that_are_an_hour_apart_are_forgiven() -> None:
    hours = iter(range(100))
    plugins = Plugins([make(Table)], clock=lambda: next(hours) * 3700.0)
    for _ in range(5):
        plugins.handle(*place("break"))
    assert plugins.report()[0].state == "ready"


def test_neither_quarantine_nor_settings_cost_a_warm_turn_a_call(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    house.assistant.plugins.configure("table", {"seats": 6})
    ask(house, "seats")
    for wait in (0, 21):
        house.offset += wait
        house.recorder.take()
        assert ask(house, "seats") == "6 seats"
        calls = [c for c in house.recorder.take() if c.operation != "send_message"]
        assert len(calls) <= 4, calls


# --- settings ----------------------------------------------------------------------------------------


def test_settings_that_are_stored_reach_every_instance_within_half_a_minute(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    other = second(house, make(Table))
    assert ask(house, "seats", other) == "4 seats"
    with TestClient(create_app(house.assistant), headers=KEY) as http:
        [told] = http.get("/api/plugins/table").json()["plugins"]
        assert told["schema"]["properties"]["seats"]["minimum"] == 1
        assert (told["config"]["seats"], told["stored"]) == (4, False)
        [told] = http.put("/api/plugins/table/config", json={"config": {"seats": 8}}).json()["plugins"]
        assert (told["config"]["seats"], told["stored"]) == (8, True)
        house.offset += 30
        assert ask(house, "seats", other) == "8 seats"
        [told] = http.delete("/api/plugins/table/config").json()["plugins"]
        assert (told["config"]["seats"], told["stored"]) == (4, False)
    house.offset += 30
    assert ask(house, "seats", other) == "4 seats"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"seats": "many"}, 'plug-in table: seats: "many" – Input should be a valid integer'),
        ({"seats": 0}, "plug-in table: seats: 0 – Input should be greater than or equal to 1"),
        ({"seats": {"a": 1}}, 'seats: {"a": 1} –'),
        ({"api_token": ["hunter2"]}, "plug-in table: api_token: Input should be a valid string"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_field_and_value(aws: Emulator, config: dict[str, Any], sentence: str) -> None:
    house = house_with(aws, make(Table))
    with TestClient(create_app(house.assistant), headers=KEY) as http:
        answer = http.put("/api/plugins/table/config", json={"config": config})
        assert answer.status_code == 400
        assert sentence in answer.json()["error"]
        assert "hunter2" not in answer.text
        assert http.put("/api/plugins/table/config", json={"config": {"seats": "x" * 60_000}}).status_code == 400
    assert ask(house, "seats") == "4 seats"


def test_only_those_who_may_change_plugins_do(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    _, operator = house.assistant.access.add(name="ops", role="operator")
    _, editor = house.assistant.access.add(name="ed", role="editor")
    with TestClient(create_app(house.assistant)) as http:
        assert http.get("/api/plugins").status_code == 401
        for secret, read, change in ((operator, 200, 403), (editor, 403, 403)):
            headers = {"authorization": f"Bearer {secret}"}
            assert http.get("/api/plugins", headers=headers).status_code == read
            assert http.put("/api/plugins/table/config", json={"config": {}}, headers=headers).status_code == change


def test_settings_that_no_longer_fit_a_new_version_leave_it_as_it_was(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    house.assistant.plugin_records.configure("table", {"seats": "from long ago"})
    assert ask(house, "seats") == "4 seats"
    [told] = house.assistant.plugins.report()
    assert "from long ago" in told.notes[0]


def test_a_plugin_that_was_refused_for_its_settings_works_once_they_are_mended(aws: Emulator) -> None:
    house = House(aws)
    plugins = Plugins.load({"needing": "tests.support.needing"}, {}, records=house.assistant.plugin_records)
    assert plugins.report()[0].state == "refused"
    assert "address" in plugins.report()[0].reason
    plugins.configure("needing", {"address": "here"})
    assert plugins.report()[0].state == "ready"


def test_a_file_that_would_end_the_process_takes_nothing_else_with_it() -> None:
    modules = {"exiting": "tests.support.exiting", "courtesy": "assistant_plugins.courtesy"}
    [courtesy, exiting] = Plugins.load(modules, {}).report()
    assert (courtesy.name, courtesy.state) == ("courtesy", "ready")
    assert (exiting.name, exiting.state, "SystemExit" in exiting.reason) == ("exiting", "refused", True)


# --- versions by ring ----------------------------------------------------------------------------------


def test_a_new_version_reaches_the_ring_that_names_it_and_nobody_else(aws: Emulator) -> None:
    house = house_with(aws, make(NewTable), make(Table))
    rollouts = house.assistant.rollouts
    rollouts.set({"people": ["webchat:pat"], "plugins": ["*", "table@1.1.0"]}, ring="internal", who="t", why="try")
    assert ask(house, "seats", user="u", conversation="a") == "4 seats"
    assert ask(house, "seats", user="pat", conversation="b") == "now 4 seats"
    rollouts.set({"plugins": ["help"]}, ring="internal", who="t", why="without")
    assert ask(house, "seats", user="pat", conversation="b") == "Fourteen days.", "a ring may leave a plug-in out"


def test_a_new_version_that_breaks_gives_way_to_the_old_one(aws: Emulator) -> None:
    class Worse(Table):
        version = "1.2.0"

        def handle_message(self, ctx: PluginContext, message: Message) -> str | None:
            raise RuntimeError("on purpose")

    house = house_with(aws, make(Table), make(Worse))
    house.assistant.rollouts.set({"people": ["webchat:pat"], "plugins": ["table@1.2.0"]}, ring="internal", who="t", why="try")
    for _ in range(FAULTS):
        ask(house, "seats", user="pat")
    assert ask(house, "seats", user="pat") == "4 seats"


def test_what_a_ring_does_not_offer_is_in_no_menu_hears_nothing_and_starts_no_form(aws: Emulator) -> None:
    class Form(BaseModel):
        people: Annotated[int, Ask("For how many people?")]

    heard: list[str] = []

    class Rooms(BotPlugin):
        name = "rooms"
        flows = (Flow(name="book", form=Form, title="book", examples=("book a room", "a room please", "I need a room")),)

        def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> str:
            return "booked"

        def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
            return [MenuItem(title="Room", text="book a room")]

        def on_event(self, ctx: PluginContext, event: Event) -> None:
            heard.append(event.kind)

        @tool
        def free(self) -> str:
            """Which rooms are free"""
            return "none"

    from assistant_plugins.help import Help

    house = house_with(aws, make(Help), make(Rooms))
    house.assistant.rollouts.set({"people": ["webchat:pat"], "plugins": ["help"]}, ring="internal", who="t", why="try")
    for user, shown, asked in (("pat", False, "Fourteen days."), ("u", True, "For how many people?")):
        house.say("help", user=user, conversation=user)
        house.drain()
        assert ("Room" in [b["text"] for b in house.turns(user)[-1]["buttons"]]) is shown
        assert asked in ask(house, "book a room", user=user, conversation=user)
        assert (any(t.name == "free" for r in house.model.asked for t in r.tools)) is False
        event = Message(kind="entered", platform="webchat", channel="messages", conversation=user, sender=user, dedup_id=user,
                        tenant="default", sent_at=1)  # fmt: skip
        house.assistant.queue.publish([event])
        house.drain()
        assert heard == (["entered"] if shown else [])


# --- clashes -------------------------------------------------------------------------------------------


class Leave(BaseModel):
    days: Annotated[int, Ask("How many days?")]


def flowing(name: str, flow: str, *examples: str) -> BotPlugin:
    flows = (Flow(name=flow, form=Leave, title="leave", examples=examples),)
    return make(
        type(name.title(), (BotPlugin,), {"name": name, "flows": flows, "run_flow": lambda self, ctx, flow, form: "done"})
    )


def test_examples_that_two_plugins_share_are_named_and_the_second_is_not_used() -> None:
    plugins = Plugins([flowing("one", "leave", "I want leave", "请假"), flowing("two", "holiday", "i  WANT leave!", "holiday")])
    [first, refused] = plugins.report()
    assert (first.name, refused.state) == ("one", "refused")
    assert refused.reason == (
        "the example 'i want leave' of its flow 'holiday' also starts flow 'leave' of plug-in one; nobody could tell them apart, "
        "so change one of them"
    )


def test_a_tool_name_that_clashes_is_named_in_the_report_and_left_out() -> None:
    class One(BotPlugin):
        name = "one"

        @tool
        def search(self) -> str:
            """Mine."""
            return "one"

    class Two(One):
        name = "two"

    plugins = Plugins([make(One), make(Two)])
    assert "its tool 'search' clashes with one of plug-in one; rename one of them" in plugins.report()[1].notes
    assert list(plugins.tools("webchat")) == ["search"]
    message, around = place("x")
    assert plugins.run_tool("search", "{}", message, around) == "one"


def test_settings_whose_schema_refers_to_itself_cannot_be_a_form_and_are_refused() -> None:
    made = type("Rec", (BotPlugin,), {"name": "rec", "Config": Tree})
    with pytest.raises(InvalidSetting, match="plug-in rec: its Config cannot be shown as a form: its schema refers to itself"):
        make(made)


def test_a_form_that_nobody_takes_up_is_refused_before_anybody_fills_it_in() -> None:
    class Day(BaseModel):
        day: Annotated[str, Ask("Which day?")]

    flow = Flow(
        name="holiday", title="holiday", form=Day, examples=("I want a day off", "a free day please", "give me a day off")
    )
    made = type("Idle", (BotPlugin,), {"name": "idle", "flows": (flow,)})
    with pytest.raises(InvalidSetting, match="plug-in idle declares flow 'holiday' but no run_flow; add the method"):
        make(made)


class Tree(BaseModel):
    children: list[Tree] = []


def test_fifty_megabytes_from_a_tool_reach_the_model_cut() -> None:
    class Large(BotPlugin):
        name = "large"

        @tool
        def all_of_it(self) -> str:
            """Everything"""
            return "x" * 50_000_000

    told = Talk([make(Large)]).use("all_of_it")
    assert len(told) < 13_000
    assert told.endswith("[cut: 12000 of 50000000 characters are shown]")


# --- what a plug-in may reach ----------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[Register]:
    with Register() as made:
        yield made


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(httpx.get, id="httpx"),
        pytest.param(lambda url: socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))), id="socket"),
        pytest.param(lambda url: subprocess.run(["/bin/true"], check=True), id="program"),
        pytest.param(lambda url: os.system("true"), id="shell"),  # what is tried
    ],
)
def test_a_plugin_cannot_go_round_the_doors_by_mistake(service: Register, way: Any) -> None:
    talk = Talk([doing(lambda ctx: way(service.base))])
    assert talk.say("go") is None
    assert service.calls == []


def test_a_host_that_is_named_can_be_called_in_any_way(service: Register) -> None:
    named = Permissions(hosts=("127.0.0.1",))
    talk = Talk([doing(lambda ctx: httpx.get(f"{service.base}/api/none").status_code, permissions=named)])
    assert getattr(talk.say("go"), "text", "") in ("401", "404")


def test_a_public_name_that_resolves_to_the_inside_is_not_called() -> None:
    from assistant import web

    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    connection, _ = web.connect("http://rebinding.example/", resolve=rebinding)
    assert connection._address == "93.184.216.34", "what was checked is what is connected to"  # type: ignore[attr-defined]
    assert asked == ["rebinding.example"]
    with pytest.raises(NotReached, match="private or local"):
        web.connect("http://rebinding.example/", resolve=rebinding)


def test_each_permission_that_is_not_declared_is_refused_in_words(aws: Emulator) -> None:
    tries = {
        "host 'evil.example' is not among": lambda ctx: ctx.request("GET", "https://evil.example/"),
        "declare Permissions(tokens=": lambda ctx: ctx.token("okta"),
        "this plug-in may keep nothing": lambda ctx: ctx.store.put("a", 1),
        "secret field 'api_key' is not among": lambda ctx: ctx.secret("api_key"),
        "this plug-in may write to nobody": lambda ctx: ctx.tell("bob", "hello"),
    }
    for sentence, act in tries.items():
        plugins = Plugins([doing(act)], secrets=lambda name: {"api_key": "k"})
        for _ in range(FAULTS):
            plugins.handle(*place("go"))
        assert sentence in plugins.report()[0].reason


def test_one_plugins_store_is_not_anothers(aws: Emulator) -> None:
    keeping = Permissions(store=True)
    house = House(aws)
    one = doing(lambda ctx: ctx.store.put("a#b", "mine") or ctx.store.get("a#b"), permissions=keeping)
    two = doing(lambda ctx: ctx.store.get("a#b", "nothing") or ctx.store.list(""), permissions=keeping, name="other")
    assert getattr(Plugins([one], table=house.assistant.table).handle(*place("x")), "text", "") == "mine"
    assert getattr(Plugins([two], table=house.assistant.table).handle(*place("x")), "text", "") == "nothing"


# --- time and memory -------------------------------------------------------------------------------------


def test_a_loop_without_end_is_stopped_and_not_only_left_behind() -> None:
    def spin(ctx: PluginContext) -> None:
        while True:
            try:
                turns.append(1)
            except Exception:  # a plug-in that catches everything
                continue

    turns: list[int] = []
    plugins = Plugins([doing(spin, seconds=0.1)])
    assert plugins.handle(*place("go")) is None
    assert plugins.report()[0].reason == "handle_message took longer than 0.1 s"
    ended = time.monotonic() + 5
    while any(t.name == "plugin-doing" for t in threading.enumerate()) and time.monotonic() < ended:
        threading.Event().wait(0.01)
    assert not [t for t in threading.enumerate() if t.name == "plugin-doing"]


def test_one_that_eats_memory_is_stopped() -> None:
    def eat(ctx: PluginContext) -> None:
        kept = []
        while True:
            kept.append(bytearray(4_000_000))
            threading.Event().wait(0.002)

    plugins = Plugins([doing(eat, megabytes=40)])
    assert plugins.handle(*place("go")) is None
    assert plugins.report()[0].faults == 1
    assert "memory grew by more than 40 MB" in plugins._faults["doing@0.1.0"][0][1]


def test_an_attempt_to_end_the_process_is_a_fault() -> None:
    plugins = Plugins([doing(lambda ctx: (_ for _ in ()).throw(SystemExit(1)))])
    assert plugins.handle(*place("go")) is None
    assert plugins.report()[0].faults == 1


@pytest.mark.parametrize("error", [Unavailable("503"), ToolFailed("no"), NotReached("https://x: no answer")])
def test_a_service_that_is_down_is_no_fault_of_the_plugin(error: Exception) -> None:
    def act(ctx: PluginContext) -> None:
        raise error

    plugins = Plugins([doing(act)])
    for _ in range(FAULTS + 1):
        try:
            plugins.handle(*place("go"))
        except Unavailable:
            assert isinstance(error, Unavailable)
    assert plugins.report()[0].faults == 0


# --- events ----------------------------------------------------------------------------------------------


def test_a_slow_listener_holds_up_neither_the_others_nor_the_answer(aws: Emulator) -> None:
    order: list[str] = []
    answered = threading.Event()

    class Slow(BotPlugin):
        name = "slow"
        seconds = 10.0

        def on_event(self, ctx: PluginContext, event: Event) -> None:
            assert answered.wait(10), "the answer waited for this listener"
            order.append("slow")

    class Broken(BotPlugin):
        name = "broken"

        def on_event(self, ctx: PluginContext, event: Event) -> None:
            raise RuntimeError("on purpose")

    class Quick(BotPlugin):
        name = "quick"

        def on_event(self, ctx: PluginContext, event: Event) -> None:
            order.append(event.kind)

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            return Reply(text="Clicked.") if message.action_key == "go" else None

    def step(name: str) -> None:
        if name == "after send":
            answered.set()

    house = house_with(aws, make(Slow), make(Broken), make(Quick), step=step)
    action = {"key": "go", "value": 1}
    house.post("/webchat/messages", {"conversation": "c", "user": "u", "action": action}, headers=KEY)
    house.drain()
    assert house.turns()[-1]["text"] == "Clicked."
    assert order == ["card_action", "slow"]
    assert house.metrics.total(PLUGIN_FAULTS) == 1


@pytest.mark.parametrize("kind", ["bot_added", "bot_removed", "entered", "menu", "card_action", "recalled", "edited", "other"])
def test_every_event_reaches_those_who_listen(aws: Emulator, kind: Any) -> None:
    heard: list[tuple[str, str]] = []

    class Listener(BotPlugin):
        name = "listener"

        def on_event(self, ctx: PluginContext, event: Event) -> None:
            heard.append((event.kind, event.message.sender))

    house = house_with(aws, make(Listener))
    message = Message(kind=kind, platform="webchat", channel="messages", conversation="c", sender="u", dedup_id="e",
                      tenant="default", sent_at=1, text="x" if kind == "edited" else "", message_id="m")  # fmt: skip
    house.assistant.queue.publish([message])
    house.drain()
    assert heard == [(kind, "u")]


def test_menus_are_asked_for_side_by_side_and_only_when_they_are_needed(aws: Emulator) -> None:
    together = threading.Barrier(3, timeout=5)
    asked: list[str] = []

    def offering(name: str) -> BotPlugin:
        def get_menu(self: BotPlugin, ctx: PluginContext) -> list[MenuItem]:
            asked.append(name)
            together.wait()
            return [MenuItem(title=name, text=name)]

        return make(type(name.title(), (BotPlugin,), {"name": name, "get_menu": get_menu}))

    plugins = Plugins([offering("a"), offering("b"), offering("c")])
    assert plugins.handle(*place("hello")) is None
    assert asked == []
    assert [i.title for i in plugins.menu(*place(""))] == ["a", "b", "c"]


def place(text: str) -> tuple[Message, Around]:
    message = Talk([])._message(text, "text")
    return message, Around(language="en", now=MONDAY, key="k")


def test_a_tool_offered_by_hand_may_not_hold_a_schema_that_refers_to_itself() -> None:
    tree: dict[str, Any] = {"type": "object", "properties": {"c": {"$ref": "#/$defs/T"}}}
    tree["$defs"] = {"T": {"type": "object", "properties": {"c": {"$ref": "#/$defs/T"}}}}

    class Recursive(BotPlugin):
        name = "recursive"

        def get_tools(self) -> list[Tool]:
            return [Tool(name="tree", description="x", parameters=tree, run=lambda ctx, a: 1)]

    plugins = Plugins([make(Recursive)])
    assert plugins.tools("webchat") == {}
    assert "its schema refers to itself at #/$defs/T" in plugins.report()[0].notes[0]


def test_the_table_holds_what_the_page_says(aws: Emulator) -> None:
    house = house_with(aws, make(Table))
    house.assistant.plugins.configure("table", {"seats": 5})
    found = client(aws, "dynamodb").scan(TableName="assistant")["Items"]
    assert {i["sk"]["S"] for i in found if i["pk"]["S"] == "SYSTEM#default"} == {"plugin#table", "rollout!plugins"}
