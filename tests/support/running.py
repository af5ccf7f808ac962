"""`assistant dev` as a newcomer starts it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def command(*arguments: str, timeout: float = 30, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """`assistant …`, ended."""
    return subprocess.run(
        [sys.executable, "-m", "assistant.dev.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        input=stdin,
    )


class Running:
    """A context manager; `url` and `key` as printed."""

    def __init__(self, data: Path, *options: str, secrets: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = ""
        self.seconds = 0.0
        self._options = list(options)
        if secrets:
            file = data.with_name(f"{data.name}-secrets.json")
            file.write_text(json.dumps(secrets))
            self._options += ["--secrets", str(file)]
        self._log = data.with_name(f"{data.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts the process and waits until its health is good."""
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "assistant.dev.cli",
                    "dev",
                    "--port",
                    str(self.port),
                    "--data",
                    str(self.data),
                    *self._options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        while time.monotonic() < began + 30:
            try:
                if self.call("GET", "/health")[0] == 200:
                    self.seconds = time.monotonic() - began
                    self.key = (self.data / "api-key").read_text().strip() if (self.data / "api-key").exists() else ""
                    return self
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)  # a process that starts: there is nothing to wait on
        raise AssertionError(f"it did not start:\n{self.log()}")

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def memory(self) -> float:
        """MiB that the process holds now."""
        assert self._process
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return float(status.partition("VmRSS:")[2].split()[0]) / 1024

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def interrupt(self) -> int:
        """Ctrl-C; gives the exit status."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=20)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self.kill()

    # --- as the page does ---

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        """Status and decoded body of one request with the API key."""
        request = urllib.request.Request(
            self.url + quote(path, safe="/?=&%"),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": f"Bearer {self.key if key is None else key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                raw, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            raw, status = error.read(), error.code
            error.close()
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode(errors="replace")

    def say(self, text: str, *, conversation: str = "c", **more: Any) -> str:
        """Sends a web chat message; gives its id."""
        status, answer = self.call(
            "POST", "/webhook/webchat/messages", {"conversation": conversation, "user": "u", "text": text, **more}
        )
        assert status == 202, answer
        result: str = answer["id"]
        return result

    def turns(self, conversation: str = "c") -> list[dict[str, Any]]:
        """The conversation's turns."""
        status, answer = self.call("GET", f"/api/conversations/{quote(conversation, safe='')}/turns")
        assert status == 200, answer
        result: list[dict[str, Any]] = answer["turns"]
        return result

    def answered(self, id_: str, *, conversation: str = "c", seconds: float = 20) -> dict[str, Any]:
        """The turn of message `id_`, once it is whole."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for turn in self.turns(conversation):
                if turn["id"] == id_ and turn["state"] != "answering":
                    return turn
            time.sleep(0.05)  # another process answers
        raise AssertionError(f"{id_} was not answered within {seconds} s:\n{self.log()}")

    def ask(self, text: str, *, conversation: str = "c") -> dict[str, Any]:
        """The answered turn of a question."""
        return self.answered(self.say(text, conversation=conversation), conversation=conversation)
