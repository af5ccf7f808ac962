"""Cold start: process start → first response, under AWS's own runtime client with a local Runtime API.

The function is the file that is deployed, with compiled byte code; AWS is a local server that answers at once, so that what is
measured is ours: imports, clients, secrets, verification, parsing.
"""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.benchmarks.payloads import EVENTS, SECRETS
from tests.benchmarks.peers import PEERS
from tests.benchmarks.report import Row, Section

ROOT = Path(__file__).parents[2]


class Quiet(ThreadingHTTPServer):
    """A server that says nothing when a killed process lets its connection fall."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing."""


class RuntimeApi:
    """Lambda's Runtime API for one invocation; `answered` is the moment of its response.

    Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.answered = 0.0
        self.answer: Any = None
        self.done = threading.Event()
        self._event = json.dumps(event).encode()
        self._given = threading.Event()
        api = self

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if api._given.is_set():
                    api.done.wait(60)
                    self.send_error(410)
                    return
                api._given.set()
                self.send_response(200)
                deadline = str(int((time.time() + 30) * 1000))
                for name, value in {
                    "Lambda-Runtime-Aws-Request-Id": "1",
                    "Lambda-Runtime-Deadline-Ms": deadline,
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
                    "Content-Type": "application/json",
                    "Content-Length": str(len(api._event)),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(api._event)

            def do_POST(self) -> None:
                api.answered = time.perf_counter()
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                api.answer = (self.path.rsplit("/", 1)[-1], json.loads(body or b"null"))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                api.done.set()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = Quiet(("127.0.0.1", 0), Http)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self.done.set()
        self._server.shutdown()
        self._server.server_close()


class InstantAws:
    """Secrets Manager and SQS that answer at once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        aws = self

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}")
                action = self.headers["x-amz-target"].rpartition(".")[2]
                aws.calls.append(action)
                if action == "GetSecretValue":
                    name = request["SecretId"].rpartition("/")[2]
                    answer: dict[str, Any] = {"Name": name, "SecretString": json.dumps(SECRETS.get(name, {}))}
                else:
                    answer = {"MessageId": "m", "MD5OfMessageBody": ""}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/x-amz-json-1.1")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = Quiet(("127.0.0.1", 0), Http)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


def start_once(handler: str, folder: Path, event: Mapping[str, Any], env: Mapping[str, str]) -> tuple[float, Any]:
    """Milliseconds from process start to response, and the response."""
    api = RuntimeApi(event)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "layers/shared/python"), str(ROOT / "layers/plugins/python")]),
        **env,
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", handler],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    answered = api.done.wait(30)
    process.kill()
    _, said = process.communicate()
    api.stop()
    if not answered or api.answer[0] == "error":
        raise RuntimeError(f"{handler}: {api.answer}\n{said.decode(errors='replace')[-2000:]}")
    return (api.answered - began) * 1000, api.answer[1]


def compiled(folder: Path) -> Path:
    """The folder with byte code beside every module, as it is shipped."""
    compileall.compile_dir(str(folder), quiet=2)
    return folder


def measure(runs: int, scratch: Path, *, progress: Callable[[str], None]) -> Section:
    """The table: each function `runs` times, turn by turn, so that a machine that slows down slows all of them."""
    for folder in ("layers/shared/python", "layers/plugins/python"):
        compiled(ROOT / folder)
    for package in ("awslambdaric", "boto3", "botocore", "fastapi", "lark_oapi", "mangum", "slack_bolt", "slack_sdk"):
        if (spec := importlib.util.find_spec(package)) and spec.submodule_search_locations:
            compiled(Path(next(iter(spec.submodule_search_locations))))
    contenders: dict[str, tuple[str, Path, Mapping[str, Any]]] = {}
    for number, (name, source) in enumerate(PEERS.items()):
        place = scratch / f"peer{number}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"peer{number}.py").write_text(source)
        platform = "feishu" if name == "lark-oapi" else "slack"
        contenders[name] = (f"peer{number}.handler", compiled(place), EVENTS[platform]())
    own = scratch / "own"
    own.mkdir(parents=True, exist_ok=True)
    (own / "webhook.py").write_bytes((ROOT / "functions/webhook.py").read_bytes())
    compiled(own)
    for platform, made in EVENTS.items():
        contenders[f"webhook function, {platform}"] = ("webhook.lambda_handler", own, made())
    aws = InstantAws()
    env = {"AWS_ENDPOINT_URL": aws.url, "STAGE": "bench", "TURNS_QUEUE_URL": f"{aws.url}/1/turns.fifo"}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        for run in range(runs + 1):
            progress(f"cold start {run}/{runs}")
            for name, (handler, place, event) in contenders.items():
                took, answer = start_once(handler, place, event, env)
                if answer.get("statusCode") not in (200, 202):
                    raise RuntimeError(f"{name} answered {answer}")
                if run:  # the first round warms the file cache
                    times[name].append(took)
    finally:
        aws.stop()
    median = {name: statistics.median(values) for name, values in times.items()}
    client, lark, bolt = median["one boto3 client"], median["lark-oapi"], median["slack_bolt"]
    rows = []
    for name, values in times.items():
        ours = name.startswith("webhook")
        figures: dict[str, float | str] = {
            "median ms": median[name],
            "min ms": min(values),
            "max ms": max(values),
            "× one boto3 client": median[name] / client,
            "× lark-oapi": median[name] / lark,
            "× slack_bolt": median[name] / bolt,
        }
        good = median[name] <= 1.3 * client and median[name] <= 0.13 * lark
        rows.append(
            Row(name=name, figures=figures, goal="≤ 1.3 × client, ≤ 0.13 × lark-oapi" if ours else "", met=good if ours else None)
        )
    how = f"process start to first response, {runs} runs each in turn, compiled byte code; secrets and queue clients included"
    return Section(title="Cold start", how=how, rows=rows, bar="median ms")
