"""docs/plugins.md: what it shows works as it is shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from assistant import Permissions, Reply
from assistant.dev.commands.plugin import check
from assistant.plugins import BotPlugin, plugin_in
from assistant.testing import Talk, make

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
EXAMPLES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


def module(name: str) -> ModuleType:
    made = ModuleType(f"page_{name.partition('.')[0]}")
    sys.modules[made.__name__] = made  # where type hints are looked up
    exec(EXAMPLES[name], made.__dict__)
    return made


def test_every_example_has_a_name() -> None:
    assert set(EXAMPLES) == {"canteen.py", "test_plugin_canteen.py", "permissions", "files", "tool_files", "openapi", "flow"}
    assert len(EXAMPLES) == PAGE.read_text("utf-8").count("```python")


def test_the_plugin_of_the_first_fifteen_minutes_passes_its_own_tests_and_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "assistant_plugins.canteen", module("canteen.py"))
    tests = module("test_plugin_canteen.py")
    ran = [test() for name, test in vars(tests).items() if name.startswith("test_")]
    assert len(ran) == 2
    file = tmp_path / "canteen.py"
    file.write_text(EXAMPLES["canteen.py"], "utf-8")
    assert check(file, "{}") == []


def test_the_permissions_are_permissions() -> None:
    assert isinstance(module("permissions").permissions, Permissions)


def test_the_example_of_files_attaches_its_report() -> None:
    talk = Talk([make(module("files").Reports)])
    assert talk.say("report") == Reply(text="Here is the report.")
    assert [(f.name, f.content_type) for f in talk.files] == [("report.csv", "text/csv")]


def test_the_example_of_a_tools_files_attaches_and_says_so() -> None:
    talk = Talk([make(module("tool_files").Visits)])
    assert talk.use("visits_of", month=3) == "the file is attached to the answer"
    assert [f.name for f in talk.files] == ["visits-3.csv"]


def test_the_openapi_example_offers_its_operation() -> None:
    plugin: type[BotPlugin] = plugin_in(module("openapi"))
    [offered] = make(plugin).get_tools()
    assert (offered.name, offered.writes) == ("listLeave", False)


def test_the_flow_asks_confirms_and_runs() -> None:
    talk = Talk([make(plugin_in(module("flow")))])
    asked = talk.say("book a room")
    assert asked is not None
    assert "For how many people?" in asked.text
    confirm = talk.say("4")
    assert confirm is not None
    done = talk.press(confirm.buttons[0])
    assert done is not None
    assert done.text == "A room for 4 is booked."


def test_every_anchor_leads_somewhere() -> None:
    text = PAGE.read_text("utf-8")
    headings = {h.lower().replace(" ", "-") for h in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) == headings
