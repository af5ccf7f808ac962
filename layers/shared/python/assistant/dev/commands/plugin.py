"""Writes a new plug-in, checks one before it is installed, lists those there are.

examples:
  assistant plugin new canteen
  assistant plugin check canteen.py
  assistant plugin list --json
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Final

from assistant.errors import InvalidSetting
from assistant.messages import KINDS, Reply
from assistant.plugins import BotPlugin, Plugins, build, find, load_file, plugin_in
from assistant.settings import PLUGIN_API
from assistant.testing import Talk

HELP = "write, check and list plug-ins"

FOLDER: Final = Path("layers/plugins/python/assistant_plugins")

TEMPLATE: Final = '''"""{title}: says hello, and counts how often."""

from __future__ import annotations

from assistant import BotPlugin, MenuItem, Message, Permissions, PluginContext, Reply
from pydantic import BaseModel


class Config(BaseModel):
    """What can be set."""

    greeting: str = "Hello"


class {cls}(BotPlugin):
    """Answers "{name}"."""

    name = "{name}"
    version = "0.1.0"
    api = "^{api}"
    Config = Config
    permissions = Permissions(store=True)

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """A reply, or None to let the others have the message."""
        if "{name}" not in message.text.lower():
            return None
        count = int(str(ctx.store.get(ctx.user, 0))) + 1
        ctx.store.put(ctx.user, count)
        return Reply(text=f"{{self.config.greeting}}, this is {name}. You have asked {{count}} times.")

    def get_menu(self, ctx: PluginContext) -> list[MenuItem]:
        """The entry in the menu and in the help."""
        return [MenuItem(title="{title}", text="{name}")]
'''

TEST_TEMPLATE: Final = '''"""What {name} promises."""

from __future__ import annotations

from assistant.testing import Talk, make, say
from {module} import {cls}


def test_it_answers_when_it_is_named() -> None:
    reply = say(make({cls}), "Is {name} there?")
    assert reply is not None
    assert reply.text.startswith("Hello")


def test_it_leaves_other_messages_to_the_others() -> None:
    assert say(make({cls}), "What is for lunch?") is None


def test_it_counts() -> None:
    talk = Talk([make({cls}, greeting="Hi")])
    talk.say("{name}")
    reply = talk.say("{name}")
    assert reply is not None
    assert "2 times" in reply.text


def test_it_stands_in_the_menu() -> None:
    assert [item.text for item in Talk([make({cls})]).menu()] == ["{name}"]
'''


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="write a plug-in with tests that pass")
    new.add_argument("name", help="lower-case letters, digits and _")
    new.add_argument("--folder", type=Path, default=FOLDER, help=f"where the plug-in goes (default {FOLDER})")
    new.add_argument("--tests", type=Path, default=Path("tests/unit"), help="where its tests go (default tests/unit)")
    check = actions.add_parser("check", help="run the contract's tests on a plug-in's file")
    check.add_argument("path", type=Path)
    check.add_argument("--config", default="{}", help="its configuration as JSON")
    check.add_argument("--json", action="store_true")
    listed = actions.add_parser("list", help="what is installed, and whether it is ready")
    listed.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Does what was asked; 1 where a plug-in is not good."""
    if args.action == "new":
        return _new(args.name, args.folder, args.tests)
    if args.action == "list":
        report = Plugins.load(find(), {}).report()
        if args.json:
            print(json.dumps({"plugins": [asdict(p) for p in report]}, ensure_ascii=False))
        else:
            for plugin in report:
                print(f"{plugin.state:12} {plugin.name:20} {plugin.version:8} {plugin.reason}")
        return 1 if any(p.state != "ready" for p in report) else 0
    findings = check(args.path, args.config)
    if args.json:
        print(json.dumps({"plugin": str(args.path), "faults": findings}, ensure_ascii=False))
    else:
        print("\n".join(f"fault: {f}" for f in findings) or f"{args.path} keeps the contract {PLUGIN_API}")
    return 1 if findings else 0


def _new(name: str, folder: Path, tests: Path) -> int:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise InvalidSetting(f"name {name!r}: lower-case letters, digits and _ are wanted, as in canteen_menu")
    plugin, test = folder / f"{name}.py", tests / f"test_plugin_{name}.py"
    for path in (plugin, test):
        if path.exists():
            raise InvalidSetting(f"{path} exists already; choose another name")
    words = {
        "name": name,
        "cls": "".join(part.title() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
        "api": PLUGIN_API,
        "module": f"assistant_plugins.{name}" if folder == FOLDER else name,
    }
    for path, template in ((plugin, TEMPLATE), (test, TEST_TEMPLATE)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template.format(**words), encoding="utf-8")
        print(f"wrote {path}")
    print(f"next: python -m pytest {test}   then: assistant plugin check {plugin}")
    return 0


STRANGE: Final = (
    "",
    " ",
    "hello",
    "你好，请问",
    "\u202eאבג",
    "👩‍👩‍👧",
    "x" * 20_000,
    "'; DROP TABLE turns;--",
    "[1](javascript:x)",
)


def check(path: Path, config: str) -> list[str]:
    """The faults of the plug-in in the file at `path`; empty where it keeps the contract."""
    try:
        settled = json.loads(config)
    except ValueError as error:
        raise InvalidSetting(f"--config is not JSON: {error}") from None
    if not isinstance(settled, dict):
        raise InvalidSetting("--config must be a JSON object")
    try:
        made = plugin_in(load_file(path))
        plugin = build(made, settled)
    except InvalidSetting as error:
        return [str(error)]
    faults = [
        f"{name} takes {taken} arguments; at most {most} are offered"
        for name, most in (("handle_message", 2), ("get_menu", 1), ("on_event", 2), ("run_flow", 3))
        if (taken := _taken(getattr(plugin, name))) > most
    ]
    if faults:
        return faults
    return faults + _tried(plugin)


def _taken(method: object) -> int:
    parameters = inspect.signature(method).parameters.values()  # type: ignore[arg-type]  # a bound method
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _tried(plugin: BotPlugin) -> list[str]:
    """Faults while strange texts are said and every event is heard."""
    talk = Talk([plugin])
    if talk.faults:
        return talk.faults
    for text in STRANGE:
        reply = talk.say(text)
        if talk.faults:
            return [f"{talk.faults[0]} (for a text of {len(text)} characters)"]
        if isinstance(reply, Reply) and not (reply.text.strip() or reply.buttons or reply.silent):
            return ["it answers with an empty reply; return None instead"]
    for kind in sorted(KINDS):
        talk.hear(kind)  # type: ignore[arg-type]  # KINDS holds the values of Kind
    for language in ("en", "zh-CN"):
        talk.menu(language)
    return talk.faults
