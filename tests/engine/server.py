"""Runs our entry point with the real engine, and reads its metrics."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, Self

import httpx

from tests.engine.install import ROOT
from tests.simulators.openai_server import event_frame


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Engine:
    """The container's entry point as a process. A context manager; `base` is its address."""

    def __init__(self, python: Path, model: Path, *, environ: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = log or ROOT / "build" / "engine-server.log"
        self._python = python
        self._environ = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/tmp"),
            "SM_VLLM_MODEL": str(model),
            "SM_VLLM_HOST": "127.0.0.1",
            "SM_VLLM_PORT": str(self.port),
            **(environ or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.seconds_to_ready = 0.0

    def start(self, *, within: float = 600.0) -> Self:
        """Returns once `/ping` answers 200."""
        began = time.monotonic()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [str(self._python), str(ROOT / "functions" / "inference" / "entrypoint.py"), "serve"],
                env=self._environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
                preexec_fn=lambda: os.nice(5),  # noqa: PLW1509  # leaves the machine to whoever works on it
            )
        while time.monotonic() - began < within:
            if self.process.poll() is not None:
                raise RuntimeError(f"the engine ended with {self.process.returncode}:\n{self.tail()}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.base}/ping", timeout=2).status_code == 200:
                    self.seconds_to_ready = time.monotonic() - began
                    return self
            time.sleep(0.5)
        self.kill()
        raise RuntimeError(f"the engine was not ready after {within:.0f} s:\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def terminate(self) -> None:
        """Sends SIGTERM, as SageMaker and ECS do."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and what it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels, as `vllm:num_requests_running`."""
        text = httpx.get(f"{self.base}/metrics", timeout=20).text
        return sum(float(v) for v in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))

    def until(self, name: str, value: float, *, within: float) -> float:
        """Seconds until the metric has `value`; fails after `within`."""
        began = time.monotonic()
        while (now := self.metric(name)) != value:
            assert time.monotonic() - began < within, f"{name} is {now} after {within} s, not {value}"
            time.sleep(0.05)
        return time.monotonic() - began

    def generated(self, *, within: float) -> float:
        """Tokens that it has generated so far, once it generates no more; fails after `within` seconds."""
        began, name = time.monotonic(), "vllm:generation_tokens_total"
        count = self.metric(name)
        while True:
            time.sleep(0.5)
            if (now := self.metric(name)) == count:
                return count
            assert time.monotonic() - began < within, f"after {within} s it still generates: {count}, {now}"
            count = now


class Bridge:
    """SageMaker's event stream before a real container: `/invocations` re-framed at random places."""

    def __init__(self, engine: Engine, *, seed: int = 3) -> None:
        bridge = self
        self.dice = Random(seed)

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with httpx.stream("POST", f"{engine.base}/invocations", content=body, timeout=120,
                                  headers={"content-type": "application/json"}) as answer:  # fmt: skip
                    if answer.status_code != 200:
                        answer.read()
                        bridge.refuse(self, answer)
                        return
                    self.send_response(200)
                    self.send_header("content-type", "application/vnd.amazon.eventstream")
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    for chunk in answer.iter_raw():
                        for part in bridge.cut(chunk):
                            frame = event_frame({":message-type": "event", ":event-type": "PayloadPart"}, part)
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(frame), frame))
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"

    def cut(self, chunk: bytes) -> list[bytes]:
        """`chunk` in pieces."""
        places = sorted(self.dice.sample(range(1, len(chunk)), min(3, len(chunk) - 1))) if len(chunk) > 1 else []
        return [chunk[a:b] for a, b in zip([0, *places], [*places, len(chunk)], strict=True)]

    def refuse(self, http: BaseHTTPRequestHandler, answer: httpx.Response) -> None:
        """SageMaker's ModelError for the container's refusal."""
        body = httpx.Response(200, json={"OriginalStatusCode": answer.status_code, "OriginalMessage": answer.text}).content
        http.send_response(424)
        http.send_header("x-amzn-errortype", "ModelError")
        http.send_header("content-length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
