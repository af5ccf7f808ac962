"""Tools: looked up at once, asked first where something changes, done once; whatever goes wrong is told to the model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from assistant import Ask, BotPlugin, Flow, Permissions, PluginContext, Tool, ToolFailed, tool
from assistant.acting import MOST_STEPS
from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting, Unavailable
from assistant.nlu import Understanding
from assistant.observability import PLUGIN_FAULTS
from assistant.plugins import Around, Plugins
from assistant.storage import key
from assistant.testing import MONDAY, Talk, make
from assistant.tools import LARGEST_RESULT, checked_tool, read_arguments, shown, tool_of, toolbox
from assistant.tools.mcp import mcp_tools
from assistant.tools.openapi import openapi_tools
from assistant.web import NotReached, request
from tests.simulators.identity import Identity
from tests.simulators.services import Mcp, Register
from tests.support.browser import Browser, link_in
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

LOCAL = lambda address: address == "127.0.0.1"  # noqa: E731  # simulators live here


class Rooms(BotPlugin):
    """Rooms to look up and to book."""

    name = "rooms"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.booked: list[tuple[str, str]] = []
        self.together = threading.Barrier(2, timeout=5)

    @tool
    def free_rooms(self, day: date, people: Annotated[int, "how many"] = 1) -> list[str]:
        """Rooms that are free on a day."""
        return [f"Blue on {day:%d.%m.}", "Red"][: 3 - people]

    @tool
    def slow(self, n: int) -> int:
        """Needs company."""
        self.together.wait()
        return n

    @tool(writes=True)
    def book(self, ctx: PluginContext, room: str) -> str:
        """Book a room"""
        self.booked.append((room, ctx.key))
        return f"{room} is booked"

    @tool
    def breaks(self) -> str:
        """Always breaks."""
        raise RuntimeError("secret detail of the inside")


def house_with(aws: Emulator, *answers: Any, plugin: BotPlugin | None = None, **more: Any) -> tuple[House, Any]:
    model = ScriptedModel(list(answers))
    house = House(aws, model=model, **more)
    plugin = plugin or make(Rooms)
    house.assistant._plugins = Plugins(
        [plugin],
        table=house.assistant.table,
        metrics=house.metrics,
        authority=lambda: house.assistant.authorisations,
    )
    return house, plugin


def ask(house: House, text: str = "Is a room free tomorrow?", **more: Any) -> dict[str, Any]:
    house.say(text, **more)
    house.drain()
    return house.turns()[-1]


def press(house: House, button: Mapping[str, Any], *, user: str = "u") -> dict[str, Any]:
    action = {"key": button["key"], "value": button["value"]}
    house.post(
        "/webchat/messages",
        {"conversation": "c", "user": user, "action": action},
        headers={"authorization": f"Bearer {WEBCHAT_KEY}"},
    )
    house.drain()
    return house.turns()[-1]


def tool_results(house: House) -> list[str]:
    return [m.text for m in house.model.asked[-1].messages if m.role == "tool"]


# --- reading ---------------------------------------------------------------------------------------


def test_the_model_is_offered_the_tools_and_answers_with_what_they_give(aws: Emulator) -> None:
    house, _ = house_with(aws, [("free_rooms", {"day": "2026-03-03", "people": 2})], "Blue is free.")
    assert ask(house)["text"] == "Blue is free."
    first, second = house.model.asked
    assert {t.name for t in first.tools} == {"free_rooms", "slow", "book", "breaks"}
    spec = next(t for t in first.tools if t.name == "free_rooms")
    assert spec.description == "Rooms that are free on a day."
    assert spec.parameters["properties"]["day"] == {"type": "string", "format": "date"}
    assert spec.parameters["required"] == ["day"]
    assert [m.role for m in second.messages] == ["user", "assistant", "tool"]
    assert json.loads(second.messages[-1].text) == ["Blue on 03.03."]


def test_calls_of_one_step_run_side_by_side_and_come_back_in_order(aws: Emulator) -> None:
    house, _ = house_with(aws, [("slow", {"n": 1}), ("slow", {"n": 2})], "Both.")
    assert ask(house)["text"] == "Both."
    assert tool_results(house) == ["1", "2"]


def test_a_model_that_never_stops_calling_is_made_to_answer(aws: Emulator) -> None:
    house, _ = house_with(aws, *[[("free_rooms", {"day": "2026-03-03"})]] * MOST_STEPS, "Enough.")
    assert ask(house)["text"] == "Enough."
    assert len(house.model.asked) == MOST_STEPS + 1
    assert house.model.asked[-1].tool_choice == "none"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("free_rooms", {"day": "soon"}), "failed: day: Input should be a valid date"),
        (("free_rooms", {}), "failed: arguments: 'day' is a required property"),
        (("free_rooms", {"day": "2026-03-03", "x": 1}), "failed: arguments: Additional properties"),
        (("unheard_of", {}), "failed: there is no tool 'unheard_of'"),
        (("breaks", {}), "failed: the tool broke; its owner has been told"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model_and_nobody_sees_the_inside(
    aws: Emulator, call: tuple[str, dict[str, Any]], told: str
) -> None:
    house, _ = house_with(aws, [call], "I could not look it up.")
    assert ask(house)["text"] == "I could not look it up."
    assert tool_results(house)[0].startswith(told)
    assert "secret detail" not in str(house.model.asked)
    assert house.metrics.total(PLUGIN_FAULTS) == (1 if call[0] == "breaks" else 0)


# --- writing ---------------------------------------------------------------------------------------


def test_what_changes_something_asks_first_and_is_done_once_after_the_click(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Blue is yours.")
    card = ask(house, "Book Blue")
    assert rooms.booked == []
    assert "**Book a room**\n- room: `Blue`" in card["text"]
    assert [b["text"] for b in card["buttons"]] == ["Do it", "Leave it"]
    assert press(house, card["buttons"][0])["text"] == "Blue is yours."
    assert [room for room, _ in rooms.booked] == ["Blue"]
    assert [m.role for m in house.model.asked[-1].messages] == ["user", "assistant", "tool"]
    assert house.model.asked[-1].messages[0].text == "Book Blue"
    assert "decided already" in press(house, card["buttons"][0])["text"]
    assert len(rooms.booked) == 1


def test_no_is_no(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Never said.")
    card = ask(house, "Book Blue")
    assert "not done" in press(house, card["buttons"][1])["text"]
    assert "decided already" in press(house, card["buttons"][0])["text"]
    assert rooms.booked == []


def test_a_yes_in_words_is_a_yes_also_after_something_else_was_said(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Fourteen days.", "Blue is yours.")
    ask(house, "Book Blue")
    assert ask(house, "How long is my leave?")["text"] == "Fourteen days."
    assert ask(house, "yes")["text"] == "Blue is yours."
    assert len(rooms.booked) == 1


def test_somebody_else_cannot_decide(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Blue is yours.")
    card = ask(house, "Book Blue")
    assert "Only the person who asked" in press(house, card["buttons"][0], user="eve")["text"]
    assert rooms.booked == []
    assert press(house, card["buttons"][0])["text"] == "Blue is yours."


def test_an_approval_does_not_wait_for_ever(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "x")
    card = ask(house, "Book Blue")
    house.offset += 3700
    assert "too long ago" in press(house, card["buttons"][0])["text"]
    assert rooms.booked == []


class Killed(BaseException):
    """The process ends here."""


def test_an_approval_outlives_the_process_and_a_crash_after_the_act_does_not_repeat_it(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Blue is yours.")
    card = ask(house, "Book Blue")

    def die(step: str) -> None:
        if step == "after model":
            raise Killed

    crashing: Assistant = house.another()
    crashing._step = die
    crashing._plugins = house.assistant._plugins
    action = {"key": card["buttons"][0]["key"], "value": card["buttons"][0]["value"]}
    house.post(
        "/webchat/messages",
        {"conversation": "c", "user": "u", "action": action, "id": "click"},
        headers={"authorization": f"Bearer {WEBCHAT_KEY}"},
    )
    records = house.batch()
    with pytest.raises(Killed):
        house.run(records, crashing)
    assert len(rooms.booked) == 1
    second = house.another()
    second._plugins = house.assistant._plugins
    assert house.run(records, second) == set()
    assert house.turns()[-1]["text"] == "Blue is yours."
    assert len(rooms.booked) == 1


def test_an_act_whose_end_is_not_known_is_not_repeated_blindly(aws: Emulator) -> None:
    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Blue is yours.")
    card = ask(house, "Book Blue")
    begun = {"pk": key("W", str(card["buttons"][0]["value"])), "sk": "act", "state": "acting"}
    house.assistant.table.put(begun)  # all that is left of a process that ended while the tool was at work
    assert "cannot tell whether it was done" in press(house, card["buttons"][0])["text"]
    assert rooms.booked == []


def test_arguments_on_the_card_cannot_break_out_of_their_marks(aws: Emulator) -> None:
    house, _ = house_with(aws, [("book", {"room": "`**Blue**`\n\n- people: `0`"})], "x")
    text = ask(house, "Book")["text"]
    assert "- room: `'**Blue**'  - people: '0'`" in text


def test_a_tool_that_needs_the_askers_consent_waits_for_it_and_acts_once(aws: Emulator) -> None:
    class Mail(BotPlugin):
        name = "mail"
        permissions = Permissions(tokens={"okta": ("mail.send",)})
        sent: list[str] = []  # noqa: RUF012  # read by the test

        @tool(writes=True)
        def send(self, ctx: PluginContext, to: str) -> str:
            """Send a mail"""
            self.sent.append(f"{to} {ctx.token('okta').partition('-')[0]}")
            return f"sent with {ctx.token('okta')}"

    with Identity() as identity:
        secret = {"client_id": "client-1", "client_secret": "client-secret-1", "issuer": identity.base}
        public = "https://assistant.example"
        house, mail = house_with(
            aws, [("send", {"to": "bob"})], "Sent.", plugin=make(Mail), public_url=public, secrets={"oauth-okta": secret}
        )
        identity.redirects = {f"{public}/oauth/okta/callback"}
        card = ask(house, "Mail Bob")
        asked = press(house, card["buttons"][0])
        assert "permission" in asked["text"]
        assert mail.sent == []
        assert "goes on by itself" in Browser(house.assistant).follow(link_in(asked["text"])).text
        house.drain()
        assert house.turns()[-1]["text"] == "Sent."
        assert mail.sent == ["bob oidc"]
        assert tool_results(house) == ["sent with [redacted]"], "the model never sees a token"


# --- what cannot be offered ------------------------------------------------------------------------


def test_schemas_come_from_type_hints_and_docstrings() -> None:
    @tool(name="find", repeatable=True)
    def search(query: Annotated[str, "words"], *, limit: int = 5, kinds: Sequence[str] = ()) -> str:
        """Finds.

        More about it.
        """
        return f"{query}/{limit}/{len(kinds)}"

    made = tool_of(search)
    assert (made.name, made.description, made.repeatable) == ("find", "Finds.\n\nMore about it.", True)
    assert made.parameters["additionalProperties"] is False
    assert made.run(None, {"query": "a"}) == "a/5/0"


def test_a_tool_that_cannot_be_offered_is_refused_with_its_sentence() -> None:
    def no_words(x: int) -> int:
        return x

    def no_types(x) -> int:  # type: ignore[no-untyped-def]  # wrong on purpose
        """Has words."""
        return int(x)

    with pytest.raises(InvalidSetting, match="'no_words' has no docstring"):
        tool_of(no_words)
    with pytest.raises(InvalidSetting, match="argument 'x' needs a type hint"):
        tool_of(no_types)
    one = Tool(name="one", description="One", run=lambda ctx, a: 1)
    with pytest.raises(InvalidSetting, match="two tools are called 'one'"):
        toolbox([one, one])
    with pytest.raises(InvalidSetting, match="letters, digits"):
        checked_tool(Tool(name="näh", description="x", run=lambda ctx, a: 1))
    tree: dict[str, Any] = {"type": "object", "properties": {"child": {"$ref": "#/$defs/T"}}}
    tree["$defs"] = {"T": {"type": "object", "properties": {"child": {"$ref": "#/$defs/T"}}}}
    with pytest.raises(InvalidSetting, match="its schema refers to itself at #/\\$defs/T"):
        checked_tool(Tool(name="tree", description="x", parameters=tree, run=lambda ctx, a: 1))
    with pytest.raises(InvalidSetting, match="only references inside"):
        checked_tool(Tool(name="far", description="x", parameters={"$ref": "https://evil.example/s.json"}, run=lambda ctx, a: 1))
    with pytest.raises(InvalidSetting, match="must be of type object"):
        checked_tool(Tool(name="text", description="x", parameters={"type": "string"}, run=lambda ctx, a: 1))


def test_of_two_plugins_with_one_tool_name_the_second_loses_its_own_and_says_so(aws: Emulator) -> None:
    class Others(BotPlugin):
        name = "others"

        @tool
        def free_rooms(self) -> str:
            """Mine."""
            return "mine"

    plugins = Plugins([make(Rooms), make(Others)])
    assert plugins.tools("webchat")["free_rooms"].description == "Rooms that are free on a day."
    assert plugins.run_tool("free_rooms", '{"day": "2026-03-03", "people": 2}', *around()) == '["Blue on 03.03."]'


class Hungry:
    """Understands hunger and nothing else."""

    def understand(self, text: str) -> Understanding:
        hungry = 1.0 if "eat" in text else 0.0
        return Understanding(intent="eat" if hungry else "", confidence=hungry, best="eat")


def test_a_yes_belongs_to_the_form_that_is_being_filled(aws: Emulator) -> None:
    class Form(BaseModel):
        people: Annotated[int, Ask({"en": "For how many people?"})]

    class Both(Rooms):
        name = "both"
        flows = (Flow(name="eat", form=Form, title={"en": "eat"}, examples=("let us eat", "I am hungry", "time for lunch")),)

        def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> str:
            return f"Lunch for {form.people}."

    house, rooms = house_with(aws, [("book", {"room": "Blue"})], "Blue is yours.", plugin=make(Both))
    hungry: Any = Hungry()  # as much of an understander as the dialogue asks for
    house.assistant._understands = house.assistant.plugins.edition, hungry
    ask(house, "Book Blue")
    ask(house, "let us eat")
    ask(house, "3")
    assert ask(house, "yes")["text"].endswith("Lunch for 3.")
    assert rooms.booked == []
    assert ask(house, "yes")["text"] == "Blue is yours."


def test_a_plugin_that_never_says_its_tools_takes_nothing_else_away(aws: Emulator) -> None:
    ended = threading.Event()

    class Silent(BotPlugin):
        name = "silent"
        seconds = 0.05

        def get_tools(self) -> list[Tool]:
            ended.wait(30)
            return []

    house, _ = house_with(aws, "Without it.", plugin=make(Silent))
    assert ask(house)["text"] == "Without it."
    ended.set()


def test_a_tool_uses_no_more_than_its_permissions_name() -> None:
    class Greedy(BotPlugin):
        name = "greedy"
        permissions = Permissions(tokens={"okta": ("read",)})

        @tool
        def more(self, ctx: PluginContext, provider: str, scope: str) -> str:
            """Wants more."""
            return ctx.token(provider, [scope])

    talk = Talk([make(Greedy)], tokens={"okta": "t1-secret", "other": "t2"})
    assert talk.use("more", provider="okta", scope="read") == "[redacted]"
    for provider, scope in (("other", "read"), ("okta", "write")):
        with pytest.raises(ToolFailed, match="broke"):
            Talk([make(Greedy)], tokens={"okta": "t", "other": "t"}).use("more", provider=provider, scope=scope)


def test_a_large_result_is_cut_and_credentials_are_taken_out() -> None:
    text = shown({"a": "x" * 50_000_000})
    assert len(text) < LARGEST_RESULT + 100
    assert "50000009 characters" in text
    assert shown({"header": "Bearer abcdefghijklmnop"}) == '{"header": "[redacted]"}'
    assert shown("the token is hunter2", hidden=["hunter2"]) == "the token is [redacted]"


@pytest.mark.parametrize("raw", ["", "[]", "7", "{", "null", '{"day": 1e999}', "[" * 100_000])
def test_arguments_that_are_none_are_refused(raw: str) -> None:
    with pytest.raises(ToolFailed):
        read_arguments(tool_of(make(Rooms).free_rooms), raw)  # type: ignore[attr-defined]  # of Rooms


# --- OpenAPI -----------------------------------------------------------------------------------------


@pytest.fixture
def register() -> Iterator[Register]:
    with Register() as made:
        yield made


def company(register: Register, *operations: str, **more: Any) -> BotPlugin:
    class Company(BotPlugin):
        name = "company"
        permissions = Permissions(tokens={"hr": ("leave",)}, hosts=("127.0.0.1",))

        def get_tools(self) -> list[Tool]:
            return openapi_tools(
                register.description(),
                operations=operations,
                authorise=lambda ctx: {"authorization": f"Bearer {ctx.token('hr')}"},
                allow=LOCAL,
                **more,
            )

    return make(Company)


def test_chosen_operations_become_tools_with_the_askers_token(register: Register) -> None:
    talk = Talk([company(register, "listLeave", "createLeave")], tokens={"hr": register.token})
    made = talk.use("createLeave", **{"person": "ann", "from": "2026-03-02", "days": 2})
    assert json.loads(made) == {"id": 1, "person": "ann", "from": "2026-03-02", "days": 2}
    assert json.loads(talk.use("listLeave", person="ann", year=2026))["year"] == "2026"
    tools = {t.name: t for t in company(register, "listLeave", "createLeave").get_tools()}
    assert {n: t.writes for n, t in tools.items()} == {"listLeave": False, "createLeave": True}
    assert tools["createLeave"].parameters["required"] == ["person", "from", "days"]


def test_what_the_service_refuses_is_told_to_the_model(register: Register) -> None:
    talk = Talk([company(register, "listLeave")], tokens={"hr": "wrong"})
    with pytest.raises(ToolFailed, match="answered 401"):
        talk.use("listLeave", person="ann")


def test_an_argument_cannot_leave_its_place_in_the_address(register: Register) -> None:
    talk = Talk([company(register, "listLeave")], tokens={"hr": register.token})
    talk.use("listLeave", person="../../admin?x=1#")
    assert register.calls[-1].path == "/api/people/..%2F..%2Fadmin%3Fx%3D1%23/leave"
    with pytest.raises(ToolFailed, match="cannot stand in an address"):
        talk.use("listLeave", person="..")


def test_a_redirect_to_the_inside_is_not_followed(register: Register) -> None:
    talk = Talk([company(register, "elsewhere")], tokens={"hr": register.token})
    with pytest.raises(ToolFailed, match="not among those allowed"):
        talk.use("elsewhere")


def test_a_private_address_is_never_called(register: Register) -> None:
    [made] = openapi_tools(register.description(), operations=["elsewhere"])
    with pytest.raises(ToolFailed, match="private or local"):
        made.run(None, {})
    with pytest.raises(NotReached, match="private or local"):
        request("GET", "http://metadata.example/", resolve=lambda host, port: ["93.184.216.34", "169.254.169.254"])


def test_fifty_megabytes_are_not_read(register: Register) -> None:
    register.large = 50_000_000
    talk = Talk([company(register, "listLeave")], tokens={"hr": register.token})
    with pytest.raises(ToolFailed, match="larger than 2,097,152 bytes"):
        talk.use("listLeave", person="ann")


@pytest.mark.parametrize(
    ("operation", "reason"),
    [("plantTree", "refers to itself"), ("upload", "only application/json"), ("nothing", "has no operation 'nothing'")],
)
def test_an_operation_that_cannot_be_offered_is_named(register: Register, operation: str, reason: str) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        openapi_tools(register.description(), operations=[operation])


# --- MCP -----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Mcp]:
    with Mcp() as made:
        yield made


def stock(server: Mcp, token: str = Mcp.token) -> BotPlugin:
    class Stock(BotPlugin):
        name = "stock"
        permissions = Permissions(hosts=("127.0.0.1",))

        def get_tools(self) -> list[Tool]:
            return mcp_tools(f"{server.base}/mcp", headers=lambda ctx: {"authorization": f"Bearer {token}"}, allow=LOCAL)

    return make(Stock)


def test_the_tools_of_an_mcp_server_are_offered_and_those_that_may_write_ask_first(server: Mcp) -> None:
    tools = {t.name: t for t in stock(server).get_tools()}
    assert {n: t.writes for n, t in tools.items()} == {"stock": False, "order": True}
    talk = Talk([stock(server)])
    assert json.loads(talk.use("stock", part="bolt")) == {"part": "bolt", "left": 7}
    assert talk.use("order", part="bolt") == "ordered bolt"
    with pytest.raises(ToolFailed, match="no such part"):
        talk.use("stock", part="unicorn")
    assert not [c for c in server.calls if c.method == "GET"]


def test_an_mcp_server_that_does_not_answer_takes_nothing_else_away(aws: Emulator, server: Mcp) -> None:
    server.fail("POST /mcp", times=50, status=503)
    house, _ = house_with(aws, "Without it.", plugin=stock(server))
    assert ask(house)["text"] == "Without it."
    assert house.assistant.plugins.report()[0].state == "ready"
    assert house.model.asked[0].tools == ()


def test_an_mcp_server_on_the_inside_is_not_called(server: Mcp) -> None:
    with pytest.raises(Unavailable, match="private or local"):
        mcp_tools(f"{server.base}/mcp")
    assert server.calls == []


def around() -> Any:
    talk = Talk([])
    return talk._message("", "text"), Around(language="en", now=MONDAY, key="k")
