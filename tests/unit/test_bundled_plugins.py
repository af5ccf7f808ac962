"""The plug-ins that come with the assistant."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from assistant.acting import Approval, question
from assistant.plugins import Plugins, Store, build, find, plugin_in
from assistant.testing import MemoryTable, Talk, make, say
from assistant_plugins.approvals import Approvals
from assistant_plugins.calendar import Calendar
from assistant_plugins.courtesy import Courtesy
from assistant_plugins.help import Help


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("Hello!", "Hello!"),
        ("thanks a lot :)", "You are"),
        ("Bye bye.", "Goodbye"),
        ("你好！", "你好"),
        ("谢谢～", "不客气"),
        ("晚安", "再见"),
    ],
)
def test_a_courtesy_is_returned_in_its_language(text: str, start: str) -> None:
    reply = say(make(Courtesy), text)
    assert reply is not None
    assert reply.text.startswith(start)


@pytest.mark.parametrize(
    "text", ["hello world program", "thanks, but how do I apply for leave?", "你好，怎么请假？", "", "早上几点开门"]
)
def test_more_than_a_courtesy_is_left_to_the_others(text: str) -> None:
    assert say(make(Courtesy), text) is None


@pytest.mark.parametrize("text", ["help", "HELP?", "/help", "帮助", "菜单"])
def test_help_is_shown_when_it_is_asked_for(text: str) -> None:
    reply = say(make(Help), text)
    assert reply is not None
    assert len(reply.buttons) == 3


def test_all_of_them_are_ready() -> None:
    assert {p.state for p in Plugins.load(find(), {}).report()} == {"ready"}


@pytest.mark.parametrize("path", sorted(Path("layers/plugins/python/assistant_plugins").glob("[!_]*.py")), ids=lambda p: p.stem)
def test_they_use_nothing_but_the_public_names(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("assistant", "functions", "infra"):
            assert node.module == "assistant", f"{path.name} imports {node.module}"
        if isinstance(node, ast.Import):
            assert not [a.name for a in node.names if a.name.startswith("assistant")]


# --- without a network, a platform or a model --------------------------------------------------------


def test_leave_is_asked_for_told_and_decided_in_a_talk() -> None:
    asker = Talk([make(Approvals, approver="webchat:boss")], user="ann")
    for text in ("I want to take annual leave from 2026-04-01 to 2026-04-03", "skip"):
        asker.say(text)
    sent = asker.say("yes")
    assert sent is not None
    assert "went to your approver" in sent.text
    [letter] = asker.told
    assert (letter.platform, letter.user) == ("webchat", "boss")
    asker.user = "boss"
    decided = asker.press(letter.reply.buttons[0])
    assert decided is not None
    assert decided.text == "Approved. ann is told."
    assert "was **approved**" in asker.told[1].reply.text
    again = asker.press(letter.reply.buttons[1])
    assert again is not None
    assert "is approved already" in again.text
    assert asker.faults == []


def test_a_store_decides_between_two() -> None:
    store = Store(MemoryTable(), "room")  # type: ignore[arg-type]  # as much of a table as a store needs
    assert store.swap("a", None, {"n": 1})
    assert not store.swap("a", None, {"n": 2})
    assert store.swap("a", {"n": 1}, {"n": 3})
    assert not store.swap("a", {"n": 1}, {"n": 4})
    store.put("b", 1)
    store.put("ab", 2)
    assert store.list("a") == {"a": {"n": 3}, "ab": 2}


@pytest.mark.parametrize("name", ["calendar", "people", "approvals", "web_request", "knowledge"])
def test_what_is_not_configured_offers_and_asks_nothing(name: str) -> None:
    plugin = build(plugin_in(import_module(f"assistant_plugins.{name}")), {})
    assert list(plugin.get_tools()) == []
    assert list(plugin.flows) == []
    assert Talk([plugin]).menu() == ()
    assert Talk([plugin]).say("who is Ann Li?") is None


HAN = re.compile("[一-鿿]")


def described(schema: Any) -> list[str]:
    """The titles and descriptions of a form's fields."""
    return [str(field.get(k, "")) for field in schema.get("properties", {}).values() for k in ("title", "description")]


def test_their_names_what_they_do_and_their_forms_are_in_the_readers_language() -> None:
    plugins = Plugins.load(find(), {})
    english, chinese = plugins.described(), plugins.described(language="zh-CN")
    assert len(english) == 7
    for told in english:
        assert not HAN.search(" ".join([told["title"], told["about"], *described(told["schema"])])), told["name"]
    for told in chinese:
        assert HAN.search(told["title"]), told["name"]
        assert HAN.search(told["about"]), told["name"]
        assert all(HAN.search(text) for text in described(told["schema"])), told["name"]
        assert "zh-CN" not in json.dumps(told["schema"]), "what was chosen from stays behind"


def test_what_they_change_is_asked_for_in_the_askers_language() -> None:
    [create] = [t for t in make(Calendar, provider="microsoft").get_tools() if t.writes]
    arguments = '{"title": "Budget", "people": ["Bob"]}'
    asked = Approval(id="1", turn="1", tool=create.name, arguments=arguments, user="ann", question="", until=0)
    assert (
        "**在你的日历中预订会议并邀请参加人**\n- 主题: `Budget`\n- 参加人:"
        in question(asked, create, before="", language="zh-CN").text
    )
    assert "**Book a meeting in your calendar and invite people**" in question(asked, create, before="", language="en").text
