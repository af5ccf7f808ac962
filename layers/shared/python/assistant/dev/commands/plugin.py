"""Writes a new plug-in, checks one before it is installed, sets and restores those that run.

examples:
  assistant plugin new canteen
  assistant plugin check canteen.py
  assistant plugin isolate ~/Downloads/parcels.py
  assistant plugin list --json
  assistant plugin config canteen dishes='["Curry"]'
  assistant plugin restore canteen --why "the menu service is back"
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from assistant.dev.client import Remote, add_options, connect, language
from assistant.errors import InvalidSetting
from assistant.messages import KINDS, Reply
from assistant.plugins import BotPlugin, Plugins, build, find, load_file, plugin_in
from assistant.plugins.confined import describe
from assistant.plugins.isolated import FOLDER as ISOLATED
from assistant.plugins.isolated import Manifest
from assistant.settings import PLUGIN_API
from assistant.testing import Talk

HELP = "write, check, set and restore plug-ins"

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
    apart = actions.add_parser("isolate", help="install a plug-in that is not trusted: it runs in a function of its own")
    apart.add_argument("path", type=Path)
    apart.add_argument("--folder", type=Path, default=FOLDER, help=f"where plug-ins lie (default {FOLDER})")
    apart.add_argument("--json", action="store_true")
    listed = actions.add_parser("list", help="what is installed, and whether it is ready")
    restored = actions.add_parser("restore", help="let a plug-in work again that was left out")
    settings = actions.add_parser("config", help="show or change how a plug-in is set; everywhere within 30 s")
    settings.add_argument("name")
    settings.add_argument("values", nargs="*", metavar="FIELD=VALUE", help="VALUE is JSON, or else a text")
    settings.add_argument("--file", type=Path, help="the whole configuration, as a file of JSON")
    settings.add_argument("--reset", action="store_true", help="back to what the deployment sets")
    restored.add_argument("name")
    for action in (restored, settings):
        action.add_argument("--why", default="", help="for the audit log")
    for action in (listed, restored, settings):
        action.add_argument("--json", action="store_true")
        add_options(action)


def run(args: argparse.Namespace) -> int:
    """Does what was asked; 1 where a plug-in is not good."""
    if args.action == "new":
        return _new(args.name, args.folder, args.tests)
    if args.action == "isolate":
        manifest = isolate(args.path, args.folder)
        print(json.dumps(json.loads(manifest.to_json()), ensure_ascii=False) if args.json else _allowed(manifest, args.folder))
        return 0
    if args.action in ("list", "restore", "config"):
        return _cared_for(args)
    findings = check(args.path, args.config)
    if args.json:
        print(json.dumps({"plugin": str(args.path), "faults": findings}, ensure_ascii=False))
    else:
        print("\n".join(f"fault: {f}" for f in findings) or f"{args.path} keeps the contract {PLUGIN_API}")
    return 1 if findings else 0


def _cared_for(args: argparse.Namespace) -> int:
    """What is asked of a running assistant; without one, `list` tells what is installed here."""
    running = args.url or args.api_key or (args.data / "url").is_file()
    if args.action == "list" and not running:
        said: dict[str, Any] = {"plugins": Plugins.load(find(), {}).described(language="en" if args.json else language())}
    else:
        with connect(args) as remote:
            said = _asked(args, remote)
    if args.json:
        print(json.dumps(said, ensure_ascii=False))
    elif args.action == "config":
        print(json.dumps(said["plugins"][0].get("config", {}), ensure_ascii=False, indent=2))
    else:
        for plugin in said["plugins"]:
            told = plugin["reason"] or plugin.get("about", "").replace("`", "")
            print(f"{plugin['state']:12} {plugin['name']:20} {plugin['version']:8} {told}")
            for note in plugin["notes"]:
                print(f"{'':12} {note}")
    return 1 if any(p["state"] != "ready" for p in said["plugins"]) else 0


def _asked(args: argparse.Namespace, remote: Remote) -> dict[str, Any]:
    said: dict[str, Any]
    if args.action == "list":
        said = remote.call("GET", "/api/plugins", params={"language": "en" if args.json else language()})
        return said
    where = f"/api/plugins/{quote(args.name, safe='')}"
    if args.action == "restore":
        said = remote.call("POST", f"{where}/restore", json={"why": args.why})
    elif args.reset:
        said = remote.call("DELETE", f"{where}/config", params={"why": args.why})
    else:
        said = remote.call("GET", where)
        if args.values or args.file:
            config = _config(args, said["plugins"][0].get("config") or {})
            said = remote.call("PUT", f"{where}/config", json={"config": config, "why": args.why})
    return said


def _config(args: argparse.Namespace, now: dict[str, Any]) -> dict[str, Any]:
    """The configuration that the arguments ask for; raises InvalidSetting for what is none."""
    if args.file:
        try:
            now = json.loads(args.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"{str(args.file)!r} is no file of JSON: {error}") from None
        if not isinstance(now, dict):
            raise InvalidSetting(f"{str(args.file)!r} must hold one JSON object")
    for pair in args.values:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidSetting(f"{pair!r} is no FIELD=VALUE, as seats=4")
        try:
            now[name] = json.loads(value)
        except ValueError:
            now[name] = value
    return now


def isolate(path: Path, folder: Path) -> Manifest:
    """Installs the plug-in in the file at `path` below `folder`, to run apart. Raises InvalidSetting where it cannot be."""
    if not path.is_file():
        raise InvalidSetting(f"{str(path)!r} is no Python file; name the plug-in's file")
    with TemporaryDirectory() as trial:
        shutil.copyfile(path, Path(trial) / "plugin.py")
        manifest = describe(Path(trial))
    target = folder / ISOLATED / manifest.name
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target / "plugin.py")
    (target / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _allowed(manifest: Manifest, folder: Path) -> str:
    """What a person should read before they deploy it."""
    allowed = manifest.permissions
    tokens = [f"{provider}: {' '.join(scopes) or 'who somebody is'}" for provider, scopes in allowed.tokens.items()]
    lines = [
        f"{manifest.name} {manifest.version} is installed in {folder / ISOLATED / manifest.name} and may use:",
        f"  messages of      {', '.join(allowed.platforms) or 'every platform'}",
        f"  tokens           {'; '.join(tokens) or 'none'}",
        f"  secrets          {', '.join(f'plugin-{manifest.name}.{s}' for s in allowed.secrets) or 'none'}",
        f"  hosts            {', '.join((*allowed.hosts, *allowed.inside)) or 'none'}",
        f"  the table        {'a room of its own' if allowed.store else 'no'}",
        f"  write to others  {'yes' if allowed.tells else 'no'}",
        f"  tools            {', '.join(str(t['name']) for t in manifest.tools) or 'none'}",
        f"  time and memory  {manifest.seconds:g} s, {manifest.megabytes} MB",
        "next: read it, then make deploy; it gets a function and a role of its own",
    ]
    return "\n".join(lines)


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
    for tongue in ("en", "zh-CN"):
        talk.menu(tongue)
    return talk.faults
