"""`assistant plugin list|config|restore` and `assistant oauth list|revoke` against a running API."""

from __future__ import annotations

import argparse
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import BaseModel

from assistant import BotPlugin, Message, PluginContext
from assistant.api import create_app
from assistant.dev.commands import oauth, plugin
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.plugins import FAULTS, Plugins
from assistant.testing import make
from tests.support.house import WEBCHAT_KEY, House


class Limits(BaseModel):
    seats: int = 4
    place: str = "hall"


class Table(BotPlugin):
    """Says how many seats there are."""

    name = "table"
    Config = Limits

    def handle_message(self, ctx: PluginContext, message: Message) -> str:
        if message.text == "break":
            raise RuntimeError("on purpose")
        return f"{self.config.seats} seats in the {self.config.place}"


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def house(aws: Emulator) -> House:
    made = House(aws)
    made.assistant._plugins = Plugins([make(Table)], records=made.assistant.plugin_records)
    return made


@pytest.fixture
def command(house: House, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(create_app(house.assistant), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def run(*words: str, of: Any = plugin) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        of.configure(parser)
        status = of.run(parser.parse_args([*words, "--url", url, "--api-key", WEBCHAT_KEY]))
        return status, capsys.readouterr().out

    yield run
    server.should_exit = True
    thread.join(10)
    listening.close()


def say(house: House, text: str) -> str:
    house.say(text)
    house.drain()
    return str(house.turns()[-1]["text"])


def test_a_plugin_is_set_field_by_field_whole_and_back(house: House, command: Command, tmp_path: Path) -> None:
    assert json.loads(command("config", "table")[1]) == {"seats": 4, "place": "hall"}
    status, out = command("config", "table", "seats=6", "place=the garden", "--why", "summer")
    assert (status, json.loads(out)) == (0, {"seats": 6, "place": "the garden"})
    assert say(house, "hello") == "6 seats in the the garden"
    file = tmp_path / "table.json"
    file.write_text('{"seats": 2}')
    command("config", "table", "--file", str(file))
    assert say(house, "hello") == "2 seats in the hall"
    command("config", "table", "--reset")
    assert say(house, "hello") == "4 seats in the hall"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("config", "table", "seats=many"), 'seats: "many"'),
        (("config", "table", "seats"), "no FIELD=VALUE"),
        (("config", "chair"), "no plug-in 'chair'; known: table"),
        (("config", "table", "--file", "/nowhere.json"), "no file of JSON"),
        (("restore", "chair"), "no plug-in 'chair'; known: table"),
    ],
)
def test_what_cannot_be_done_is_said(command: Command, words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        command(*words)


def test_a_plugin_in_quarantine_is_listed_with_its_reason_and_restored(house: House, command: Command) -> None:
    for _ in range(FAULTS):
        say(house, "break")
    status, out = command("list")
    assert (status, "quarantined  table" in out, "raised RuntimeError" in out) == (1, True, True)
    assert command("restore", "table", "--why", "mended")[0] == 0
    status, out = command("list", "--json")
    assert (status, json.loads(out)["plugins"][0]["state"]) == (0, "ready")
    assert say(house, "hello").startswith("4 seats")


def test_what_somebody_allowed_is_listed_and_taken_back(house: House, command: Command) -> None:
    from assistant.oauth.vault import Account, Person, Tokens

    person = Person("default", "slack", "U1")
    vault = house.assistant.authorisations.vault
    vault.store(person, "okta", Tokens(access="a", lives=100), asked=("read",), account=Account(name="Ann"))
    assert "okta         good     Ann" in command("list", "slack:U1", of=oauth)[1]
    assert "deleted here" in command("revoke", "slack:U1", "--all", of=oauth)[1]
    assert "nothing is allowed" in command("list", "slack:U1", of=oauth)[1]
    assert vault.grants(person) == []
