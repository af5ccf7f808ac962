"""Plug-ins through the front door: a message in, their reply out; a bad one never stops the rest."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from assistant import Ask, BotPlugin, Button, Event, Flow, MenuItem, Message, Permissions, PluginContext, Reply
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.messages import Kind
from assistant.observability import PLUGIN_FAULTS
from assistant.plugins import FAULTS, Plugins, build, offer, satisfies
from assistant.testing import FrozenClock, Talk, make, say
from tests.support.house import WEBCHAT_KEY, House


class Canteen(BotPlugin):
    name = "canteen"

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        return Reply(text="Noodles.") if "lunch" in message.text else None

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        return [MenuItem(title="Lunch", text="What is for lunch?")]


class AsTheGuideSays(BotPlugin):
    """The three methods with the arguments that the guide names and no more."""

    name = "guide"
    heard: list[str]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.heard = []

    def handle_message(self, msg: Message) -> str | None:  # type: ignore[override]  # fewer arguments are allowed
        return "Guided." if msg.text == "guide me" else None

    def get_menu(self) -> Sequence[MenuItem]:  # type: ignore[override]  # fewer arguments are allowed
        return [MenuItem(title="Guide", text="guide me")]

    def on_event(self, event: Event) -> None:  # type: ignore[override]  # fewer arguments are allowed
        self.heard.append(event.kind)


class Broken(BotPlugin):
    name = "broken"

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        raise RuntimeError("on purpose")

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        return 7  # type: ignore[return-value]  # wrong on purpose

    def on_event(self, ctx: PluginContext, event: Event) -> None:
        raise SystemError("on purpose")


class Room(BaseModel):
    people: Annotated[int, Ask({"en": "For how many people?", "zh-CN": "几个人？"})]
    purpose: Annotated[str, Ask({"en": "What for?", "zh-CN": "做什么用？"})]


class Rooms(BotPlugin):
    name = "rooms"
    flows = (
        Flow(
            name="book_room",
            form=Room,
            title={"en": "book a room", "zh-CN": "订会议室"},
            examples=("book a room", "I need a meeting room", "reserve a room", "订会议室", "我要订一个会议室", "预定会议室"),
        ),
    )
    permissions = Permissions(store=True)

    def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> Reply | str:
        ctx.store.put(ctx.key, {"people": form.people, "purpose": form.purpose})
        return f"Room for {form.people} is booked."


def house_with(aws: Emulator, *plugins: BotPlugin, **more: Any) -> House:
    house = House(aws, **more)
    house.assistant._plugins = Plugins(plugins, table=house.assistant.table, metrics=house.metrics)
    return house


def answers(house: House, *texts: str) -> list[str]:
    for text in texts:
        house.say(text)
        house.drain()
    return [t["text"] for t in house.turns()]


def press(house: House, button: dict[str, Any], message: str) -> dict[str, Any]:
    house.post(
        "/webchat/messages",
        {"conversation": "c", "user": "u", "action": {"key": button["key"], "value": button["value"]}, "message_id": message},
        headers={"authorization": f"Bearer {WEBCHAT_KEY}"},
    )
    house.drain()
    return house.turns()[-1]


def test_the_first_plugin_that_replies_answers_and_others_go_to_the_model(aws: Emulator) -> None:
    house = house_with(aws, make(Canteen))
    assert answers(house, "What is for lunch?", "How long is my leave?") == ["Noodles.", "Fourteen days."]
    assert len(house.model.asked) == 1


def test_a_plugin_that_raises_is_left_out_after_its_faults_and_the_rest_goes_on(aws: Emulator) -> None:
    house = house_with(aws, make(Broken), make(Canteen))
    assert answers(house, *["What is for lunch?"] * (FAULTS + 2)) == ["Noodles."] * (FAULTS + 2)
    [broken] = [p for p in house.assistant.plugins.report() if p.name == "broken"]
    assert broken.state == "quarantined"
    assert house.metrics.total(PLUGIN_FAULTS) == FAULTS, "once left out it is not called any more"
    house.assistant.plugins.restore("broken")
    assert house.assistant.plugins.report()[0].state == "ready"


def test_a_plugin_that_hangs_is_left_behind_at_once(aws: Emulator) -> None:
    ended = threading.Event()

    class Hanging(BotPlugin):
        name = "hanging"
        seconds = 0.05

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            ended.wait(30)
            return Reply(text="too late")

    house = house_with(aws, make(Hanging), make(Canteen))
    assert answers(house, "What is for lunch?") == ["Noodles."]
    [hanging, _] = house.assistant.plugins.report()
    assert (hanging.state, hanging.reason) == ("quarantined", "handle_message took longer than 0.05 s")
    ended.set()


@pytest.mark.parametrize("given", [7, {"text": "x"}, Reply(text="x" * 50_000)])
def test_a_reply_that_is_none_counts_as_a_fault(given: Any) -> None:
    class Odd(BotPlugin):
        name = "odd"

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            return given  # type: ignore[no-any-return]  # wrong on purpose

    plugins = Plugins([make(Odd)])
    talk = Talk([make(Odd)])
    assert talk.say("hello") is None
    assert plugins.report()[0].state == "ready"


def test_the_three_methods_may_take_what_the_guide_names(aws: Emulator) -> None:
    plugin = make(AsTheGuideSays)
    house = house_with(aws, plugin)
    assert answers(house, "guide me") == ["Guided."]
    talk = Talk([plugin])
    talk.hear("bot_added")
    assert plugin.heard == ["bot_added"]  # type: ignore[attr-defined]  # this test's own plug-in
    assert [i.text for i in talk.menu()] == ["guide me"]


def test_help_shows_every_menu_entry_and_a_click_is_as_if_it_was_written(aws: Emulator) -> None:
    from assistant_plugins.help import Help

    house = house_with(aws, make(Help), make(Canteen))
    house.say("help")
    house.drain()
    [turn] = house.turns()
    assert [b["text"] for b in turn["buttons"]] == ["Lunch"]
    assert press(house, turn["buttons"][0], turn["id"])["text"] == "Noodles."


@pytest.mark.parametrize(
    ("texts", "people", "done"),
    [
        (("I need a meeting room", "8", "planning"), 8, "Room for 8 is booked."),
        (("预定会议室", "八个人", "开会"), 8, "Room for 8 is booked."),
    ],
)
def test_a_flow_asks_confirms_and_acts_once(aws: Emulator, texts: tuple[str, ...], people: int, done: str) -> None:
    house = house_with(aws, make(Rooms))
    answers(house, *texts)
    turn = house.turns()[-1]
    assert turn["buttons"][0]["style"] == "primary"
    assert str(people) in turn["text"]
    confirmed = press(house, turn["buttons"][0], turn["id"])
    assert confirmed["text"].endswith(done)
    [record] = [i for i in _items(house) if i["pk"]["S"].startswith("X#")]
    assert f'"people": {people}' in record["body"]["S"]
    assert house.model.asked == []


def test_a_digression_is_answered_and_the_flow_goes_on(aws: Emulator) -> None:
    house = house_with(aws, make(Rooms), make(Canteen))
    said = answers(house, "book a room", "What is for lunch?", "4", "lunch with guests")
    assert said[1].startswith("Noodles.")
    assert "how many" in said[1]
    assert "4" in said[-1]


def test_an_intent_that_needs_no_answers_is_a_flow_without_fields(aws: Emulator) -> None:
    class Nothing(BaseModel):
        """No questions."""

    class Opening(BotPlugin):
        name = "opening"
        flows = (
            Flow(
                name="opening_hours",
                form=Nothing,
                title={"en": "say the opening hours", "zh-CN": "说营业时间"},
                confirm=False,
                examples=(
                    "when do you open",
                    "opening hours please",
                    "are you open today",
                    "几点开门",
                    "什么时候营业",
                    "营业时间",
                ),
            ),
        )

        def run_flow(self, ctx: PluginContext, flow: str) -> str:  # type: ignore[override]  # fewer arguments are allowed
            return "From nine to five."

    house = house_with(aws, make(Opening))
    assert answers(house, "when are you open?", "How long is my leave?") == ["From nine to five.", "Fourteen days."]


def test_a_flow_survives_a_restart(aws: Emulator) -> None:
    first = house_with(aws, make(Rooms))
    answers(first, "book a room")
    second = house_with(aws, make(Rooms))
    assert "What for?" in answers(second, "4")[-1]


def _items(house: House) -> list[dict[str, Any]]:
    from tests.support.house import client

    items: list[dict[str, Any]] = client(house.aws, "dynamodb").scan(TableName="assistant")["Items"]
    return items


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.0", "^1.0", True),
        ("1.4", "^1.2", True),
        ("1.1", "^1.2", False),
        ("2.0", "^1.2", False),
        ("0.3", "^0.2", False),
        ("1.2.9", "~1.2", True),
        ("1.3.0", "~1.2", False),
        ("1.0", "1.0.0", True),
    ],
)
def test_versions_are_semantic(version: str, wanted: str, fits: bool) -> None:
    assert satisfies(version, wanted) is fits


@pytest.mark.parametrize("api", ["^2.0", "^0.9", "soon", "^1"])
def test_a_plugin_for_another_contract_is_refused_with_the_reason(api: str) -> None:
    made = type("Other", (Canteen,), {"api": api})
    with pytest.raises(InvalidSetting, match=r"canteen.*(api|version)"):
        build(made, {})


def test_a_configuration_that_does_not_fit_is_named() -> None:
    class Limits(BaseModel):
        seats: int

    made = type("Configured", (Canteen,), {"Config": Limits})
    with pytest.raises(InvalidSetting, match="seats"):
        build(made, {"seats": "many"})
    with pytest.raises(InvalidSetting, match="colour"):
        build(Canteen, {"colour": "red"})


def test_two_plugins_of_one_name_or_flow_are_told_apart() -> None:
    plugins = Plugins([make(Canteen), make(Canteen), make(Rooms), make(type("R2", (Rooms,), {"name": "rooms2"}))])
    refused = {p.name: p.reason for p in plugins.report() if p.state == "refused"}
    assert "another plug-in" in refused["canteen"]
    assert "book_room" in refused["rooms2"]


def test_permissions_are_enforced() -> None:
    class Nosy(BotPlugin):
        name = "nosy"
        permissions = Permissions(secrets=("mine",), platforms=("webchat",))

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | str | None:
            if message.text == "store":
                ctx.store.put("a", 1)
            return ctx.secret(message.text)

    secrets = {"nosy": {"mine": "m", "other": "o"}}
    talk = Talk([make(Nosy)], secrets=secrets)
    reply = talk.say("mine")
    assert reply is not None
    assert reply.text == "m"
    assert talk.say("other") is None
    assert Talk([make(Nosy)], secrets=secrets).say("store") is None
    elsewhere = type("Elsewhere", (Nosy,), {"permissions": Permissions(platforms=("slack",))})
    assert Talk([make(elsewhere)]).say("mine") is None


def test_a_frozen_clock_moves_when_told() -> None:
    class Clocked(BotPlugin):
        name = "clocked"

        def handle_message(self, ctx: PluginContext, message: Message) -> str:
            return ctx.now.strftime("%H:%M")

    talk = Talk([make(Clocked)], clock=FrozenClock(), zone="Asia/Shanghai")
    assert getattr(talk.say("time"), "text", "") == "17:00"
    talk.clock.advance(minutes=5)
    assert getattr(talk.say("time"), "text", "") == "17:05"


def test_a_button_of_a_reply_can_be_pressed() -> None:
    class Asking(BotPlugin):
        name = "asking"

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            if message.action_key == "yes":
                return Reply(text=f"You chose {message.action_value}.")
            return Reply(text="Sure?", buttons=(Button(text="Yes", key="yes", value=1),))

    talk = Talk([make(Asking)])
    reply = talk.say("go")
    assert reply is not None
    assert getattr(talk.press(reply.buttons[0]), "text", "") == "You chose 1."


def test_a_method_is_offered_no_more_than_it_takes() -> None:
    assert offer(lambda: "none", 1, 2) == "none"
    assert offer(lambda b: b, 1, 2) == 2
    assert offer(lambda a, b: (a, b), 1, 2) == (1, 2)
    assert offer(lambda *all_: all_, 1, 2) == (1, 2)


def test_say_is_enough_for_a_simple_test() -> None:
    assert getattr(say(make(Canteen), "lunch?"), "text", "") == "Noodles."


@pytest.mark.parametrize("kind", ["bot_added", "entered"])
def test_whoever_arrives_is_welcomed_once(aws: Emulator, kind: Kind) -> None:
    plugin = make(AsTheGuideSays)
    house = house_with(aws, plugin)
    message = Message(
        kind=kind,
        platform="webchat",
        channel="messages",
        conversation="c",
        sender="u",
        dedup_id="e1",
        tenant="default",
        sent_at=1,
    )
    house.assistant.queue.publish([message])
    house.drain()
    assert plugin.heard == [kind]  # type: ignore[attr-defined]  # this test's own plug-in
    [turn] = house.turns()
    assert "your assistant" in turn["text"]
