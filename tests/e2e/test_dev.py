"""The whole assistant on a laptop, as a newcomer starts it."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.base import Answer, Call, Simulator, route
from tests.support.running import Running, command


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("dev") / "state") as process:
        yield process


def test_it_says_where_it_is_and_what_to_try(running: Running) -> None:
    said = running.log()
    assert f"{running.url}/#key={running.key}" in said
    assert "Try:" in said
    assert running.call("GET", "/health") == (
        200,
        {"status": "ok", "components": {"table": "ok", "queue": "ok", "secrets": "ok"}},
    )


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("What can you do?", "en"),
        ("How do I connect Slack?", "en"),
        ("How do I write a plug-in?", "en"),
        ("How does roll-out to rings work?", "en"),
        ("你能做什么？", "zh"),
        ("怎么连接飞书？", "zh"),
        ("怎么写插件？", "zh"),
        ("灰度发布怎么做？", "zh"),
    ],
)
def test_a_question_that_the_default_knowledge_covers_is_answered_with_its_source(
    running: Running, question: str, language: str
) -> None:
    turn = running.ask(question, conversation=f"covered-{question.strip('?？')}")
    assert turn["state"] == "sent"
    assert turn["sources"], turn["text"]
    assert "[1]" in turn["text"]
    assert bool(re.search(r"[\u4e00-\u9fff]", turn["text"])) == (language == "zh")


@pytest.mark.parametrize("question", ["Who won the 1974 chess olympiad in Nice?", "火星上最高的火山叫什么名字？"])
def test_an_unknown_question_gets_an_honest_answer_and_a_way_on(running: Running, question: str) -> None:
    turn = running.ask(question, conversation=f"unknown-{question.strip('?？')}")
    assert turn["sources"] == []
    assert len(turn["text"]) > 20


def test_the_page_and_its_files_are_served(running: Running) -> None:
    status, page = running.call("GET", "/")
    assert status == 200
    assert "<!doctype html>" in page.lower()
    for path in re.findall(r'(?:src|href)="(/console/[^"]+)"', page):
        assert running.call("GET", path)[0] == 200
    for path in (
        "/console/../settings.py",
        "/console/%2e%2e/settings.py",
        "/console//etc/passwd",
        "/console/nothing.js",
        "/nowhere",
    ):
        assert running.call("GET", path)[0] == 404


@pytest.mark.parametrize("key", ["", "wrong"])
def test_turns_are_for_the_holder_of_the_key(running: Running, key: str) -> None:
    assert running.call("GET", "/api/conversations/c/turns", key=key)[0] == 401
    assert running.call("POST", "/webhook/webchat/messages", {"conversation": "c", "user": "u", "text": "x"}, key=key)[0] == 401


class SlowModel(Simulator):
    """A model server that never says a word."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.ended = threading.Event()

    @route("POST", "/v1/chat/completions")
    def chat(self, call: Call) -> Answer:
        self.asked.set()
        self.ended.wait(30)
        return Answer(503)


def test_turns_and_waiting_messages_survive_kill_9(tmp_path: Path) -> None:
    data = tmp_path / "state"
    with SlowModel() as model, Running(data, "--model", f"openai:slow@{model.base}/v1") as first:
        waiting = first.say("What can you do?")
        also = first.say("How do I connect Slack?")
        assert model.asked.wait(20)
        first.kill()
        model.ended.set()
    with Running(data) as second:
        assert second.key == first.key
        assert second.answered(waiting)["sources"]
        assert second.answered(also)["sources"]
        assert [t["id"] for t in second.turns()] == [waiting, also]
        second.kill()
    with Running(data) as third:
        assert [t["id"] for t in third.turns()] == [waiting, also]
        assert third.interrupt() == 0
        assert "stopping" in third.log()
        assert "Traceback" not in third.log()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = command("dev", "--port", str(port), "--data", str(tmp_path))
    assert_bad_usage(ran.returncode, ran.stderr, str(port), "--port")


@pytest.mark.parametrize(
    ("options", "value", "step"),
    [
        (["--secrets", "nowhere.json"], "nowhere.json", "--secrets"),
        (["--secrets", "{bad}"], "bad.json", "JSON"),
        (["--secrets", "{list}"], "list.json", "slack"),
        (["--secrets", "{unknown}"], "'slak'", "slack"),
        (["--model", "gpt-9"], "'gpt-9'", "openai:"),
        (["--model", "openai:m@ftp://x"], "ftp", "http"),
        (["--config", "{toml}"], "colour", "timezone"),
        (["--config", "{type}"], "history_turns", "int"),
        (["--data", "{file}/sub"], "sub", "--data"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_the_next_step(
    tmp_path: Path, options: list[str], value: str, step: str
) -> None:
    files = {
        "bad": ("bad.json", "{"),
        "list": ("list.json", "[]"),
        "unknown": ("unknown.json", json.dumps({"slak": {}})),
        "toml": ("a.toml", 'colour = "red"'),
        "type": ("b.toml", 'history_turns = "many"'),
        "file": ("plain", ""),
    }
    for name, text in files.values():
        (tmp_path / name).write_text(text)
    given = [o.format(**{k: str(tmp_path / name) for k, (name, _) in files.items()}) for o in options]
    ran = command("dev", "--port", "0", *(["--data", str(tmp_path / "d")] if "--data" not in given else []), *given)
    assert_bad_usage(ran.returncode, ran.stderr, value, step)


def assert_bad_usage(status: int, said: str, value: str, step: str) -> None:
    assert status == 2, said
    assert len(said.strip().splitlines()) == 1, said
    assert value in said
    assert step in said


def test_without_a_command_the_commands_are_listed() -> None:
    ran = command("--help")
    assert ran.returncode == 0
    for name in ("dev", "webhook", "kb", "nlu"):
        assert name in ran.stdout
