"""Every command as somebody in a hurry uses it: help with examples, wrong options, nobody there, the wrong key, JSON, a pipe,
Ctrl-C, and the Tab key. The commands are read from the parser, so that a new one cannot be left out."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assistant.dev.cli import below, build, known, main
from assistant.dev.commands.completion import SHELLS, walk
from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.messages import Webhook
from tests.integration.test_api import ApiFunction
from tests.support.house import WEBCHAT_KEY, House


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    inner = [p for _, p in below(parser)]
    if not inner:
        yield parser
    for one in inner:
        yield from leaves(one)


LEAVES = {p.prog.removeprefix("assistant "): p for p in leaves(build())}

SAMPLES: Mapping[str, list[str]] = {
    # What an action cannot do without; {file} is a text file, {list} one of people, {lines} JSON Lines, {plugin} a plug-in.
    "chat": ["How long?"],
    "kb add": ["{file}"],
    "kb show": ["none.md"],
    "kb search": ["leave"],
    "kb remove": ["none.md"],
    "kb rollback": ["v1"],
    "kb audience": ["hr"],
    "kb directory": ["feishu"],
    "kb graph": ["Ann"],
    "kb eval": ["--passages", "{passages}", "--questions", "{questions}"],
    "nlu eval": ["--train", "{intents}", "--test", "{intents}"],
    "nlu train": ["--train", "{intents}", "--save", "{folder}/intents.bin"],
    "nlu ask": ["--model", "{folder}/none.bin", "hello"],
    "webhook check": ["{lines}"],
    "rollout set": ["--outside", "silence"],
    "rollout prompt": ["v1"],
    "rollout import": ["sales", "{list}"],
    "dlq show": ["none"],
    "dlq replay": ["--all"],
    "plugin new": ["canteen", "--folder", "{folder}"],
    "plugin check": ["{plugin}"],
    "plugin isolate": ["{plugin}"],
    "plugin restore": ["help"],
    "plugin config": ["help"],
    "key add": ["portal"],
    "key revoke": ["none"],
    "key rotate": ["none"],
    "privacy export": ["slack:U1"],
    "privacy erase": ["slack:U1"],
    "oauth list": ["slack:U1"],
    "oauth revoke": ["slack:U1", "--all"],
    "oauth install": ["slack"],
    "oauth uninstall": ["T0"],
    "model push": ["{folder}"],
    "model check": ["openai:m@http://127.0.0.1:9/v1"],
    "record run": ["--to", "http://127.0.0.1:9", "--secrets", "{file}", "--out", "{folder}/out.jsonl"],
    "record replay": ["{lines}"],
    "completion": ["bash"],
}


def options(leaf: str) -> set[str]:
    return {o for a in LEAVES[leaf]._actions for o in a.option_strings}


REMOTE = sorted(leaf for leaf in LEAVES if "--url" in options(leaf))
JSON = sorted(leaf for leaf in REMOTE if "--json" in options(leaf))


def arguments(leaf: str, folder: Path) -> list[str]:
    """The action with what it cannot do without."""
    plugin = '''from assistant import BotPlugin


class Canteen(BotPlugin):
    """Says hello."""

    name = "canteen"
'''
    files = {
        "file": ("notes.md", "# Leave\n\nEveryone has thirty days of leave.\n"),
        "list": ("people.txt", "slack:U1\n"),
        "lines": ("lines.jsonl", "{}\n"),
        "passages": ("passages.jsonl", '{"id": "1", "title": "Leave", "text": "Thirty days."}\n'),
        "questions": ("questions.jsonl", '{"question": "How long is leave?", "passage": "1"}\n'),
        "intents": (
            "intents.jsonl",
            '{"text": "book a room", "intent": "room"}\n{"text": "order lunch", "intent": "food"}\n' * 4,
        ),
        "plugin": ("canteen_plugin.py", plugin),
    }
    names = {"folder": str(folder)}
    for name, (file, text) in files.items():
        (folder / file).write_text(text)
        names[name] = str(folder / file)
    return [*leaf.split(), *(a.format(**names) for a in SAMPLES.get(leaf, []))]


def run(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one command."""
    try:
        status = main(given)
    except SystemExit as ended:  # argparse ends the process itself
        status = int(ended.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_every_action_that_needs_something_has_a_sample_here() -> None:
    def needs(leaf: str) -> bool:
        return any(
            (not a.option_strings and a.nargs not in ("?", "*")) or (a.option_strings and a.required)
            for a in LEAVES[leaf]._actions
        )

    assert {leaf for leaf in LEAVES if needs(leaf)} <= set(SAMPLES) <= set(LEAVES)


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_help_says_what_it_does_with_an_example(leaf: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, *leaf.split(), "--help")
    assert status == 0
    shown = out.partition("examples:\n")[2]
    assert f"assistant {leaf}" in shown, f"no example of {leaf!r} in:\n{out}"
    if "--json" in options(leaf):
        assert "JSON" in out


@pytest.mark.parametrize("name", known())
def test_each_command_has_a_line_in_the_list_of_all(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert f"\n    {name}" in out


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_an_unknown_option_is_named_and_is_bad_usage(leaf: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = run(capsys, *arguments(leaf, tmp_path), "--colour=red")
    assert status == 2
    assert "--colour" in err
    assert out == ""


def one_line(err: str) -> None:
    """A user's mistake is told in one line that says what to do, never as a traceback."""
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("assistant "), err


@pytest.mark.parametrize("leaf", REMOTE)
def test_nobody_at_the_address_is_said_so(leaf: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}"
    status, _, err = run(capsys, *arguments(leaf, tmp_path), "--url", gone, "--api-key", "k", "--data", str(tmp_path))
    assert status == 2
    one_line(err)
    assert gone in err


@pytest.mark.parametrize("leaf", REMOTE)
@pytest.mark.parametrize("url", ["assistant.example.com", "http://[", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_named(leaf: str, url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = run(capsys, *arguments(leaf, tmp_path), "--url", url, "--api-key", "k", "--data", str(tmp_path))
    assert status == 2
    one_line(err)


@pytest.fixture(scope="module")
def at(emulator: Emulator) -> Iterator[tuple[House, list[str]]]:
    """A running assistant that answers, and how it is reached."""
    emulator.clear()
    house = House(emulator, figures="process")
    listening = listen("127.0.0.1", 0)
    functions = ApiFunction(house)
    server = serve(listening, functions)
    functions._handlers["webhook"] = lambda event, context: house.assistant.intake.handle(Webhook.from_event(event)).to_event()
    ended = threading.Event()

    def answer() -> None:
        while not ended.wait(0.05):
            if records := house.batch():
                house.run(records)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield house, ["--url", f"http://127.0.0.1:{listening.getsockname()[1]}"]
    ended.set()
    thread.join()
    server.shutdown()
    server.server_close()
    listening.close()


@pytest.mark.parametrize("leaf", REMOTE)
def test_a_wrong_key_is_said_so(
    leaf: str, at: tuple[House, list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, _, err = run(capsys, *arguments(leaf, tmp_path), *at[1], "--api-key", "wrong", "--data", str(tmp_path))
    assert status == 2
    one_line(err)
    assert "key" in err.lower()


@pytest.mark.parametrize("leaf", JSON)
def test_json_is_json_and_nothing_else(
    leaf: str, at: tuple[House, list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = [*arguments(leaf, tmp_path), *at[1], "--api-key", WEBCHAT_KEY, "--data", str(tmp_path), "--json"]
    status, out, err = run(capsys, *given)
    assert "Traceback" not in err
    if not out:  # it was refused what the sample asks for: in one line, and nothing else
        assert status
        one_line(err)
        return
    for document in [out] if out.lstrip().startswith("{\n") else out.splitlines():
        assert isinstance(json.loads(document), dict)


def test_a_key_of_too_small_a_role_is_told_which_one_it_needs(
    at: tuple[House, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, secret = at[0].assistant.access.add(name="small", role="user")
    status, _, err = run(capsys, "key", "list", *at[1], "--api-key", secret)
    assert status == 2
    one_line(err)
    assert "role admin" in err


def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    at: tuple[House, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, secret = at[0].assistant.access.add(name="busy", role="admin", per_minute=1)
    answers = [run(capsys, "audit", *at[1], "--api-key", secret) for _ in range(3)]
    assert answers[-1][0] == 2
    assert "come again in" in answers[-1][2]


# --- a process of its own ----------------------------------------------------------------------


def start(*given: str) -> subprocess.Popen[bytes]:
    """A command in a process of its own, which hears Ctrl-C also where these tests run in the background of a shell."""
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from assistant.dev.cli import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", code, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    "given", [["doctor"], ["rollout", "status"], ["chat", "Hello?"], ["init"]], ids=["doctor", "rollout", "chat", "init"]
)
def test_ctrl_c_ends_a_command_at_once_with_130_and_leaves_nothing(given: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never says a word
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = start(*given, "--url", url, "--api-key", "k", "--data", str(tmp_path / "d"))
        there, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        there.close()
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    assert err.strip() == b"stopped"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_ends_a_command_quietly() -> None:
    process = start("completion", "zsh")
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 0
    assert b"Traceback" not in err


# --- completion --------------------------------------------------------------------------------


def completed(shell: str, line: str, script: Path) -> set[str]:
    """What the shell itself offers for the last word of `line`."""
    words = line.split(" ")
    if shell == "bash":
        listed = " ".join(f"'{w}'" for w in words)
        ask = (
            f'source {script}; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _assistant; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        return set(_shell("bash", "--norc", "-c", ask).split())
    if shell == "fish":
        return {
            offer.split("\t")[0] for offer in _shell("fish", "-N", "-c", f"source {script}; complete -C '{line}'").splitlines()
        }
    ask = (  # zsh offers words to its line editor alone: what the function hands over is caught where it leaves it
        "compdef() { }; _describe() { print -l -- ${${(P)4}%%:*} }; compadd() { shift; print -l -- $@ }; _files() { }; "
        f"source {script}; words=({' '.join(repr(w) for w in words)}); CURRENT={len(words)}; _assistant"
    )
    return {w for w in _shell("zsh", "-f", "-c", ask).split() if w.startswith(words[-1])}


def _shell(*given: str) -> str:
    done = subprocess.run(
        given, capture_output=True, text=True, timeout=20, check=False, env={**os.environ, "HOME": "/nonexistent"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "shell", [pytest.param(s, marks=pytest.mark.skipif(not shutil.which(s), reason=f"no {s}")) for s in SHELLS]
)
def test_the_tab_key_completes_commands_actions_options_and_choices(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "completion", shell)
    assert status == 0
    script = tmp_path / f"completion.{shell}"
    script.write_text(out)
    assert completed(shell, "assistant ro", script) == {"rollout"}
    assert completed(shell, "assistant rollout pro", script) == {"promote", "prompt", "prompts"}
    assert completed(shell, "assistant rollout set --me", script) == {"--memory"}
    assert completed(shell, "assistant rollout set --memory m", script) == {"member"}
    assert completed(shell, "assistant key add --role ed", script) == {"editor"}
    assert completed(shell, "assistant rollout set dep", script) == {"department"}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_holds_every_action_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "completion", shell)
    for place in walk(build(), ""):
        for word in (*place.words, *(o.lstrip("-") for o in place.options)):
            assert word in out


# --- init ---------------------------------------------------------------------------------------


def test_init_creates_once_says_so_and_ends_with_the_health(aws: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    house = House(aws, figures="process")
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    there = ["--url", f"http://127.0.0.1:{listening.getsockname()[1]}", "--api-key", WEBCHAT_KEY]
    try:
        status, out, _ = run(capsys, "init", "--yes", *there)
        assert status == 0
        assert "✓ created  system parameters" in out
        assert "✓ created  default knowledge" in out
        _, health = out.split("\nhealth\n")
        assert "! warning  assistant: administrators" in health
        assert " fine" in health.splitlines()[-1]
        status, out, _ = run(capsys, "init", *there)
        assert status == 0
        assert "· kept     system parameters" in out
        status, out, _ = run(capsys, "init", "--json", *there)
        report = json.loads(out)
        assert {s["state"] for s in report["steps"]} <= {"kept", "ok"}
        assert report["health"]["state"] == "warning"
        house.assistant.rollouts.set({"reached": "internal"}, who="a", why="b")
        house.assistant.rollouts.start({"hours": 9}, who="a", why="b")
        house.offset = 9000
        assert run(capsys, "init", *there)[0] == 1, "a plan that nobody looks at is a fault"
    finally:
        server.shutdown()
        server.server_close()
        listening.close()
