"""The chat in a real terminal (a pty), and in a pipe: growing answers, sources, choices, what was written before, Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.messages import Passage
from tests.integration.test_api import ApiFunction
from tests.support.house import WEBCHAT_KEY, House, Pages, ScriptedModel

LEAVE = Passage(
    id="p1", title="Leave policy", text="Everyone has 30 days of leave.", url="https://intranet.example/leave", page=4
)


class Served:
    """A running assistant with its address."""

    def __init__(self, house: House, url: str) -> None:
        self.house = house
        self.url = url


@pytest.fixture
def served(aws: Emulator) -> Iterator[Served]:
    house = House(aws, model=ScriptedModel(["**Thirty days** of leave [1]."]), pages=Pages((LEAVE,)), patience=0.05)
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    ended = threading.Event()

    def answer() -> None:
        while not ended.wait(0.02):
            if records := house.batch():
                threading.Thread(target=house.run, args=(records,), daemon=True).start()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield Served(house, f"http://127.0.0.1:{listening.getsockname()[1]}")
    ended.set()
    thread.join()
    server.shutdown()
    server.server_close()
    listening.close()


def _own_terminal() -> None:
    """In the child: standard input is its terminal, and Ctrl-C is heard also where these tests run in a shell's background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`assistant …` in a terminal of 100 columns: what is typed, and what stands there."""

    def __init__(self, *given: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "assistant.dev.cli", *given],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509  # one ioctl; Ctrl-C needs a terminal of its own
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"},
        )
        os.close(slave)
        self._bytes = b""

    @property
    def seen(self) -> str:
        """Everything that came, as it came."""
        return self._bytes.decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str, *, seconds: float = 40) -> str:
        """What was shown up to `pattern`, without colours and cursor moves."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.plain)):
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{self.plain}"
            if not self._read(0.2) and self.process.poll() is not None:
                raise AssertionError(f"it ended before {pattern!r}:\n{self.plain}")
        return self.plain[: found.end()]

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            more = os.read(self._master, 65536)
        except OSError:  # the other end was closed
            return False
        self._bytes += more
        return bool(more)

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\][^\x1b\x07]*(?:\x1b\\|\x07)|\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.seen)

    def ended(self, key: str = "") -> int:
        """Exit status, after `key` where one ends it; pressed again each second: what is typed while a prompt appears is lost."""
        began = time.monotonic()
        pressed = 0
        while self.process.poll() is None and time.monotonic() < began + 40:
            if key and time.monotonic() > began + pressed:
                self.type(key)
                pressed += 1
            self._read(0.1)
        while self._read(0.1):
            pass
        status = self.process.wait(timeout=5)
        os.close(self._master)
        return status


def at(served: Served, tmp_path: Path) -> list[str]:
    return ["--url", served.url, "--api-key", WEBCHAT_KEY, "--data", str(tmp_path)]


def test_a_question_in_a_terminal_shows_the_answer_its_sources_and_its_choices(served: Served, tmp_path: Path) -> None:
    terminal = Terminal("chat", *at(served, tmp_path))
    terminal.until("› ")
    terminal.type("How long is my leave?\n")
    terminal.until(r"\[1\] Leave policy, p\. 4  https://intranet\.example/leave")
    assert "Thirty days of leave" in terminal.plain, "Markdown is shown and not its stars"
    terminal.until(r"(?s)1\) .+\n2\) .*› ")
    terminal.type("1\n")
    terminal.until(r"(?s)2\) .*› 1\s.*Thank you.*› ")
    turns = [t for t in served.house.turns(_conversation(served)) if t["question"] or t["text"]]
    assert turns[0]["question"] == "How long is my leave?"
    assert terminal.ended("\n") == 0
    assert "Traceback" not in terminal.plain


def _conversation(served: Served) -> str:
    from tests.support.house import client

    items = client(served.house.aws, "dynamodb").scan(TableName="assistant")["Items"]
    [name] = {i["pk"]["S"].split("#")[-1] for i in items if i["pk"]["S"].startswith("C#default#webchat#terminal-")}
    return str(name)


def test_an_answer_is_seen_while_it_grows_and_ctrl_c_ends_it_but_not_the_chat(served: Served, tmp_path: Path) -> None:
    stopped = threading.Event()
    served.house.model.answers = ["One two three four five six", "Here again."]
    words: list[int] = []

    def between() -> None:
        words.append(1)
        if len(words) < 6:
            stopped.wait(0.4)

    served.house.model.between = between
    terminal = Terminal("chat", *at(served, tmp_path))
    terminal.until("› ")
    terminal.type("Count\n")
    terminal.until("One two")
    assert "six" not in terminal.plain
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("(?s)stopped.*› ")
    stopped.set()
    terminal.type("And now?\n")
    terminal.until("(?s)Here again.*› ")
    assert terminal.ended("\x03") == 130
    assert "Traceback" not in terminal.plain


def test_arrow_keys_bring_back_what_was_written_in_an_earlier_chat(served: Served, tmp_path: Path) -> None:
    first = Terminal("chat", "--conversation", "c", *at(served, tmp_path))
    first.until("› ")
    first.type("How long is my leave?\n")
    first.until(r"(?s)2\) .*› ")
    assert first.ended("\x04") == 0
    assert (tmp_path / "chat-history").stat().st_mode & 0o777 == 0o600
    second = Terminal("chat", "--conversation", "c", *at(served, tmp_path))
    second.until(r"(?s)› How long is my leave\?.*Thirty days.*› ")
    before = len(served.house.model.asked)
    second.type("\x1b[A\n")
    second.until(r"(?s)ends the chat.*Thirty days.*› ")
    assert len(served.house.model.asked) == before + 1
    assert served.house.model.asked[-1].messages[-1].text == "How long is my leave?"
    assert second.ended("\x04") == 0


def test_what_an_answer_quotes_cannot_move_the_terminals_cursor(served: Served, tmp_path: Path) -> None:
    served.house.model.answers = ["Careful \x1b]0;owned\x07\x1b[2J\x9b5A now."]
    terminal = Terminal("chat", "What?", *at(served, tmp_path))
    assert terminal.ended() == 0
    assert "owned\x07" not in terminal.seen
    assert "\x1b[2J" not in terminal.seen
    assert "now." in terminal.plain


def piped(served: Served, tmp_path: Path, *given: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assistant.dev.cli", "chat", *given, *at(served, tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        input=stdin,
    )


def test_in_a_pipe_it_is_plain_text_or_json_and_nothing_else(served: Served, tmp_path: Path) -> None:
    done = piped(served, tmp_path, stdin="How long is my leave?\n\nAnd again?\n")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:2] == ["**Thirty days** of leave [1].", "[1] Leave policy, p. 4  https://intranet.example/leave"]
    assert "\x1b" not in done.stdout
    assert lines.count("**Thirty days** of leave [1].") == 2
    done = piped(served, tmp_path, "How", "long?", "--json")
    turn = json.loads(done.stdout)
    assert (turn["state"], turn["sources"][0]["title"]) == ("sent", "Leave policy")


def test_anybodys_key_chats_and_goes_on_where_a_conversation_stands(served: Served, tmp_path: Path) -> None:
    _, secret = served.house.assistant.access.add(name="Ann", role="user", person="ann")
    own = ["--url", served.url, "--api-key", secret, "--conversation", "anns", "--data", str(tmp_path)]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "assistant.dev.cli", "chat", "How long?", *own],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert [t["user"] for t in served.house.turns("anns")] == ["ann", "ann"]


def test_init_asks_once_on_a_terminal_and_does_nothing_after_a_no(served: Served, tmp_path: Path) -> None:
    table = served.house.assistant.table
    terminal = Terminal("init", *at(served, tmp_path))
    terminal.until(r"(?s)would write the system parameters.*would publish.*Go on\? \[y/N\] ")
    assert terminal.ended("n\n") == 0
    assert "nothing was done" in terminal.plain
    assert table.get("SYSTEM", "parameters") is None
    terminal = Terminal("init", *at(served, tmp_path))
    terminal.until(r"Go on\? \[y/N\] ")
    terminal.type("y\n")
    terminal.until(r"(?s)created  system parameters.*created  default knowledge.*health")
    terminal.ended()
    assert table.get("SYSTEM", "parameters") is not None
