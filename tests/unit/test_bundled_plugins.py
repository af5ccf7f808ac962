"""The plug-ins that come with the assistant."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from assistant.plugins import Plugins, find
from assistant.testing import make, say
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
