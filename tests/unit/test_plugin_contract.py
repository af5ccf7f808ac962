"""Upgrades break no plug-in: the example of the contract's last minor version still does everything that it could."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from assistant import ToolFailed
from assistant.dev.commands.plugin import check
from assistant.plugins import satisfies
from assistant.plugins.contract import introduced, schema_in
from assistant.settings import PLUGIN_API
from assistant.testing import Talk, make
from tests.support.past.canteen_1_0 import Canteen

FILE = Path(__file__).parents[1] / "support" / "past" / "canteen_1_0.py"
FROZEN = "73a29927b500525facfd8a4552377a79389351513c672937cbdf07d117709a89"


def talk(**more: object) -> Talk:
    return Talk([make(Canteen, dishes=["Curry"])], zone="Asia/Shanghai", **more)  # type: ignore[arg-type]  # Talk's own fields


def text(reply: object) -> str:
    return str(getattr(reply, "text", ""))


def test_the_example_of_the_past_is_the_one_that_was_published() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == FROZEN, "whoever changes it, changes what was promised"
    assert satisfies(PLUGIN_API, Canteen.api)
    assert PLUGIN_API.split(".")[0] == "1"


def test_it_passes_the_contracts_tests() -> None:
    assert check(FILE, "{}") == []


def test_it_answers_keeps_values_and_reads_its_buttons() -> None:
    conversation = talk()
    reply = conversation.say("lunch")
    assert reply is not None
    assert reply.text == "Enjoy: Curry. Order 1."
    assert text(conversation.say("午餐")) == "Enjoy: Curry. 第 2."
    assert text(conversation.press(reply.buttons[0])) == "Cancelled."
    assert text(conversation.say("lunch")).endswith("Order 1.")
    assert text(conversation.say("where")) == "webchat test True 17:00 True"


def test_it_uses_what_its_permissions_name() -> None:
    assert text(talk(secrets={"canteen": {"api_key": "k"}}).say("key")) == "k"
    assert text(talk(tokens={"okta": "t"}).say("who")) == "ann with t"
    assert "Allow access to okta" in text(talk().say("who"))


def test_its_menu_events_tools_and_form_work() -> None:
    plugin = make(Canteen)
    conversation = Talk([plugin])
    assert [(i.title, i.text, i.key) for i in conversation.menu()] == [("Lunch", "lunch", "LUNCH")]
    assert text(conversation.say("menu of all")) == "Lunch"
    conversation.hear("bot_added")
    assert plugin.heard == ["bot_added"]  # type: ignore[attr-defined]  # the example's own
    assert json.loads(conversation.use("dishes_of", day="2026-03-02")) == ["Noodles (any)", "Soup (any)"]
    with pytest.raises(ToolFailed, match="closed at weekends"):
        conversation.use("dishes_of", day="2026-03-01")
    assert conversation.use("order", dish="Soup") == "Soup for ann"
    assert {t.name: (t.writes, t.repeatable) for t in plugin.get_tools()} == {
        "dishes_of": (False, False),
        "order": (True, True),
    }
    asked = conversation.say("take a place")
    assert "For how many people?" in text(asked)
    floor = conversation.say("4")
    assert "On which floor?" in text(floor)
    confirm = conversation.say("second")
    assert confirm is not None
    assert text(conversation.press(confirm.buttons[0])) == "A place for 4 on the second floor."
    assert conversation.faults == []


@pytest.mark.parametrize(
    ("api", "fits"), [("^1.0", True), ("~1.0", False), (f"^{PLUGIN_API}", True), ("^1.99", False), ("^2.0", False)]
)
def test_what_was_written_for_earlier_minors_fits_and_for_later_ones_does_not(api: str, fits: bool) -> None:
    assert satisfies(PLUGIN_API, api) is fits


class Older(Canteen):
    """Sells lunch.

    In the contract that it was written for, `title` and `about` meant nothing.
    """

    name = "older"

    def title(self) -> str:  # type: ignore[override]  # it is its own
        return "Sir"

    about = 7  # type: ignore[assignment]  # it is its own


class Newer(Canteen):
    """Lunch."""

    name = "newer"
    title = {"en": "Lunch", "zh-CN": "午餐"}  # noqa: RUF012  # as an author writes it
    about = "Sells lunch."


def test_a_plugin_introduces_itself_in_the_readers_language_or_with_its_docstring() -> None:
    assert introduced(Older, "zh-CN") == {"title": "older", "about": "Sells lunch."}
    assert introduced(Newer, "zh-CN") == {"title": "午餐", "about": "Sells lunch."}
    assert introduced(Newer, "de") == {"title": "Lunch", "about": "Sells lunch."}
    assert text(Talk([make(Older, dishes=["Curry"])], zone="Asia/Shanghai").say("lunch")) == "Enjoy: Curry. Order 1."


def test_a_field_says_itself_in_the_readers_language_and_a_field_called_like_a_language_stays() -> None:
    field = {"type": "string", "title": "City", "zh-CN": {"title": "城市", "description": "办公地点"}}
    schema = {"type": "object", "properties": {"city": field, "zh-CN": {"type": "string", "title": "Chinese"}}}
    chinese = schema_in(schema, "zh-Hans")["properties"]
    assert chinese["city"] == {"type": "string", "title": "城市", "description": "办公地点"}
    assert chinese["zh-CN"] == {"type": "string", "title": "Chinese"}
    assert schema_in(schema, "en")["properties"]["city"]["title"] == "City"
