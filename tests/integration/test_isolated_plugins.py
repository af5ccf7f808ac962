"""Plug-ins that are not trusted: the same interface, another process, and nothing within reach but what the manifest names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assistant.api import create_app
from assistant.dev.commands.plugin import isolate
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting, NeedsAuthorisation
from assistant.plugins import BotPlugin, Confined, Invoked, Plugins, stand_in
from assistant.plugins.host import LARGEST_ANSWER, Host, host_of
from assistant.plugins.isolated import FOLDER, Manifest, manifests_in
from assistant.storage import key
from assistant.testing import Talk
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

SOURCE = '''
"""Parcels, by somebody outside the company."""

import os
import socket

from pydantic import BaseModel

from assistant import BotPlugin, Event, MenuItem, Permissions, PluginContext, Reply, ToolFailed, tool


class Config(BaseModel):
    place: str = "the gate"


class Parcels(BotPlugin):
    """Where parcels wait."""

    name = "parcels"
    version = "1.0.0"
    api = "^1.1"
    Config = Config
    seconds = 2.0
    megabytes = 64
    permissions = Permissions(store=True, secrets=("api_key",), tokens={"okta": ("mail.read",)}, tells=True)

    def handle_message(self, ctx: PluginContext, message):
        match message.text:
            case "parcel":
                count = int(str(ctx.store.get(ctx.user, 0))) + 1
                ctx.store.put(ctx.user, count)
                return Reply(text=f"At {self.config.place}, asked {count} times, {ctx.language}, key {bool(ctx.key)}.")
            case "secrets":
                return ctx.secret("api_key")
            case "token":
                return f"{ctx.token('okta')} of {ctx.account('okta').name}"
            case "too much":
                return ctx.token("okta", ["mail.write"])
            case "elsewhere":
                return ctx.token("feishu")
            case "menu":
                return ", ".join(item.title for item in ctx.menu)
            case "tell":
                ctx.tell("bob", "A parcel is here.")
                return "told"
            case "raise":
                raise RuntimeError("on purpose")
            case "loop":
                while True:
                    pass
            case "eat":
                kept = [bytearray(10_000_000) for _ in range(1000)]
                return str(len(kept))
            case "eat at once":
                return str(len(bytearray(20_000_000_000)))
            case "exit":
                os._exit(3)
            case "print":
                print("this goes nowhere" * 1000)
                return "printed"
            case "environment":
                return " ".join(sorted(os.environ))
            case "large":
                return "x" * 5_000_000
            case "call":
                socket.create_connection(("127.0.0.1", 9))
        return None

    def get_menu(self, ctx: PluginContext):
        return [MenuItem(title="Parcels", text="parcel")]

    def on_event(self, ctx: PluginContext, event: Event):
        ctx.store.put("heard", event.kind)

    @tool
    def parcels_of(self, ctx: PluginContext, person: str) -> list[str]:
        """Parcels that wait for somebody."""
        if person == "nobody":
            raise ToolFailed("there is no such person")
        return [f"a box for {person}"]

    @tool(writes=True, repeatable=True)
    def fetch(self, ctx: PluginContext, person: str) -> str:
        """Have a parcel brought"""
        return f"brought to {person} as {ctx.key}"
'''


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    file = folder / "parcels.py"
    file.write_text(SOURCE, "utf-8")
    isolate(file, folder)
    return folder


@pytest.fixture
def confined(root: Path, aws: Emulator) -> Iterator[Confined]:
    made = Confined(root, manifests_in(root), table=House(aws).assistant.table)
    yield made
    made.close()


class Beside:
    """The function's own code, in this process."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(self.host.answer(json.loads(json.dumps(request)))))
        return answer


def plugin_of(root: Path, remote: Any, **config: Any) -> BotPlugin:
    return stand_in(manifests_in(root)["parcels"], remote, config)


def house_with(aws: Emulator, root: Path, remote: Any, **more: Any) -> House:
    house = House(aws, **more)
    house.assistant._plugins = Plugins(
        [plugin_of(root, remote)],
        table=house.assistant.table,
        records=house.assistant.plugin_records,
        metrics=house.metrics,
        secrets=lambda name: {"api_key": "k-1", "other": "o"},
        authority=lambda: house.assistant.authorisations,
    )
    return house


def ask(house: House, text: str) -> str:
    house.say(text)
    house.drain()
    return str(house.turns()[-1]["text"])


def test_the_manifest_says_what_the_plugin_may_use_and_offers(root: Path) -> None:
    manifest = manifests_in(root)["parcels"]
    assert (manifest.name, manifest.version, manifest.about) == ("parcels", "1.0.0", "Where parcels wait.")
    assert manifest.permissions.tokens == {"okta": ("mail.read",)}
    assert {t["name"]: t["writes"] for t in manifest.tools} == {"parcels_of": False, "fetch": True}
    assert manifest.schema["properties"]["place"]["default"] == "the gate"
    assert Manifest.of(json.loads(manifest.to_json())) == manifest


def test_it_answers_keeps_values_and_acts_through_the_same_interface(aws: Emulator, root: Path, confined: Confined) -> None:
    house = house_with(aws, root, confined, model=ScriptedModel([[("parcels_of", {"person": "ann"})], "A box."]))
    assert ask(house, "parcel") == "At the gate, asked 1 times, en, key True."
    assert ask(house, "parcel") == "At the gate, asked 2 times, en, key True."
    assert ask(house, "secrets") == "k-1"
    assert ask(house, "print") == "printed"
    assert ask(house, "is there something for Ann?") == "A box."
    assert json.loads(house.model.asked[-1].messages[-1].text) == ["a box for ann"]
    stored = house.assistant.table.get(key("X", "default", "parcels"), "u")
    assert stored is not None
    assert stored["body"] == "2"
    assert [t.name for t in house.model.asked[0].tools] == ["fetch", "parcels_of"]


def test_its_process_holds_no_credentials(aws: Emulator, root: Path, confined: Confined) -> None:
    house = house_with(aws, root, confined)
    found = set(ask(house, "environment").split())
    assert not {n for n in found if "AWS" in n or "KEY" in n or "TOKEN" in n or "HOME" in n}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("loop", "handle_message took longer than 2 s"),
        ("exit", "its process ended"),
        ("eat", "the memory grew by more than 64 MB"),
        ("eat at once", "MemoryError"),
        ("raise", "handle_message raised RuntimeError"),
        ("large", "its reply has 5000000 characters"),
        ("call", "host '127.0.0.1' is not among this plug-in's permissions"),
    ],
)
def test_what_it_does_to_itself_is_its_own_affair(aws: Emulator, root: Path, confined: Confined, text: str, reason: str) -> None:
    house = house_with(aws, root, confined)
    assert ask(house, text) == "Fourteen days."
    [told] = house.assistant.plugins.report()
    plugins = house.assistant.plugins
    assert reason in " ".join(r for _, r in plugins._faults["parcels@1.0.0"])
    if text in ("loop", "exit"):
        assert told.state == "quarantined"
        plugins.restore("parcels")
    assert ask(house, "parcel").startswith("At the gate"), "and a new process goes on"


def test_tokens_come_through_the_door_of_the_other_side(root: Path) -> None:
    host = Beside(host_of(root / FOLDER / "parcels"))
    talk = Talk([plugin_of(root, host)], tokens={"okta": "t-1", "feishu": "t-2"})
    assert getattr(talk.say("token"), "text", "") == "t-1 of ann"
    asking = Talk([plugin_of(root, host)]).say("token")
    assert asking is not None
    assert "Allow access to okta" in asking.text
    assert talk.say("tell") is not None
    assert [(letter.user, letter.reply.text) for letter in talk.told] == [("bob", "A parcel is here.")]
    assert getattr(talk.say("menu"), "text", "") == "Parcels"
    for text in ("too much", "elsewhere"):
        assert talk.say(text) is None, "its own permissions do not name it"


def test_a_plugin_that_lies_about_its_permissions_gets_nothing_more(root: Path) -> None:
    class Lying:
        """A function whose code was changed after its manifest was read."""

        def __init__(self, needs: dict[str, Any]) -> None:
            self.needs = needs

        def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
            return {"value": {"text": str(request["held"])}} if request["held"] else {"needs": self.needs}

    for needs in (
        {"what": "token", "provider": "feishu", "scopes": []},
        {"what": "token", "provider": "okta", "scopes": ["mail.write"]},
        {"what": "account", "provider": "feishu"},
        {"what": "table", "pk": "U#default#webchat#ann"},
    ):
        talk = Talk([plugin_of(root, Lying(needs))], tokens={"okta": "t-1", "feishu": "t-2"})
        assert talk.say("x") is None


def test_a_changed_file_is_not_run_under_an_old_manifest(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER / "parcels"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text((root / FOLDER / "parcels" / "manifest.json").read_text("utf-8"), "utf-8")
    (folder / "plugin.py").write_text(SOURCE + "\n# one line more\n", "utf-8")
    with pytest.raises(InvalidSetting, match="has changed since its manifest was written"):
        host_of(folder)


def test_settings_are_checked_where_it_runs(aws: Emulator, root: Path) -> None:
    house = house_with(aws, root, Beside(host_of(root / FOLDER / "parcels", table=House(aws).assistant.table)))
    with TestClient(create_app(house.assistant), headers={"authorization": f"Bearer {WEBCHAT_KEY}"}) as http:
        [told] = http.get("/api/plugins/parcels").json()["plugins"]
        assert told["isolated"] is True
        assert told["schema"]["properties"]["place"]["type"] == "string"
        answer = http.put("/api/plugins/parcels/config", json={"config": {"place": 7}})
        assert (answer.status_code, "parcels: place: 7 –" in answer.text) == (400, True)
        assert http.put("/api/plugins/parcels/config", json={"config": {"place": "the desk"}}).status_code == 200
    assert ask(house, "parcel").startswith("At the desk")


def test_an_answer_of_many_megabytes_is_not_sent_on(root: Path) -> None:
    host = host_of(root / FOLDER / "parcels")
    host._answer = lambda request: {"value": "x" * (LARGEST_ANSWER + 1)}  # type: ignore[method-assign]  # as a plug-in would
    assert "at most 1,000,000 are taken" in host.answer({})["fault"]


def test_a_plugin_with_forms_is_told_that_it_cannot_be_isolated(tmp_path: Path) -> None:
    file = tmp_path / "forms.py"
    file.write_text(
        "from assistant import Ask, BotPlugin, Flow\nfrom pydantic import BaseModel\nfrom typing import Annotated\n"
        "class F(BaseModel):\n    n: Annotated[int, Ask('How many?')]\n"
        "class P(BotPlugin):\n    name = 'forms'\n    flows = (Flow(name='f', form=F, title='f', examples=('a', 'b', 'c')),)\n"
    )
    with pytest.raises(InvalidSetting, match="declares flow 'f'"):
        isolate(file, tmp_path)


def test_what_the_file_does_at_import_cannot_reach_this_process(tmp_path: Path) -> None:
    file = tmp_path / "evil.py"
    file.write_text("import os\nos._exit(0)\n")
    with pytest.raises(InvalidSetting, match="its process ended"):
        isolate(file, tmp_path)


@pytest.mark.parametrize(
    ("answer", "reason", "state"),
    [
        (
            {"Payload": b'{"errorType": "Runtime.OutOfMemory"}', "FunctionError": "Unhandled"},
            "Runtime.OutOfMemory",
            "quarantined",
        ),
        ({"Payload": b"not json"}, "ended without an answer", "quarantined"),
        ({"Payload": b'{"fault": "handle_message raised ValueError"}'}, "ValueError", "ready"),
    ],
)
def test_a_function_that_dies_is_a_fault_and_one_that_is_busy_is_not(
    root: Path, answer: dict[str, Any], reason: str, state: str
) -> None:
    from io import BytesIO

    asked: list[dict[str, Any]] = []

    class Lambda:
        def invoke(self, **request: Any) -> dict[str, Any]:
            asked.append(request)
            return {**answer, "Payload": BytesIO(answer["Payload"])}

    remote = Invoked(client=Lambda, prefix="assistant-dev-plugin-")
    talk = Talk([plugin_of(root, remote)])
    assert talk.say("parcel") is None
    assert asked[0]["FunctionName"] == "assistant-dev-plugin-parcels:live"
    [told] = talk._all.report()
    assert told.state == state
    assert reason in " ".join(r for _, r in talk._all._faults["parcels@1.0.0"])


def test_events_reach_it(aws: Emulator, root: Path) -> None:
    table = House(aws).assistant.table
    talk = Talk([plugin_of(root, Beside(host_of(root / FOLDER / "parcels", table=table)))])
    talk.hear("bot_added")
    kept = table.get(key("X", "default", "parcels"), "heard")
    assert kept is not None
    assert kept["body"] == '"bot_added"'
    assert [i.title for i in talk.menu()] == ["Parcels"]
    with pytest.raises(NeedsAuthorisation):
        talk.token(talk._message("", "text"), "okta")


TOOL_ALONE = '''
from assistant import BotPlugin, tool


class Rates(BotPlugin):
    """What a currency costs."""

    name = "rates"

    @tool
    def rate(self, currency: str) -> float:
        """What one unit costs."""
        return 1.5
'''


def test_a_function_is_not_called_for_what_its_plugin_has_no_method_for(tmp_path: Path) -> None:
    file = tmp_path / "rates.py"
    file.write_text(TOOL_ALONE, "utf-8")
    isolate(file, tmp_path)
    manifest = manifests_in(tmp_path)["rates"]
    confined = Confined(tmp_path, {"rates": manifest})
    asked: list[str] = []

    class Counting:
        def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
            asked.append(str(request["method"]))
            return confined.call(plugin, request, seconds=seconds)

    try:
        talk = Talk([stand_in(manifest, Counting(), {})])
        assert talk.say("What is the rate?") is None
        assert talk.menu() == ()
        talk.hear("entered")
        assert asked == []
        assert talk.use("rate", currency="EUR") == "1.5"
        assert asked == ["tool"]
        older = replace(manifest, methods=None)
        assert Talk([stand_in(older, Counting(), {})]).say("What is the rate?") is None
        assert asked == ["tool", "handle_message"], "a manifest that does not say which there are"
    finally:
        confined.close()
