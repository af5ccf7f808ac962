"""Functions as they are deployed: the bundles that `infra` builds, under AWS's own runtime client, with AWS played beside them.

What differs from Lambda is the machine: the bundles are built for this processor and this Python, by the same code and from the
same lock file as those that are deployed (arm64, Python 3.13).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

from assistant.dev.emulator import ACCOUNT, BUCKET, CREDENTIALS, DEAD_LETTERS, KEY, REGION, TABLE, TURNS
from assistant.dev.emulator_process import EmulatorProcess
from assistant.settings import Settings
from infra import bundle as bundles

ROOT: Final = Path(__file__).parents[2]
PLACE: Final = ROOT / "build" / "bench"
RUNTIME: Final = ("awslambdaric",)
"""What Lambda itself brings, the SDK apart."""
PATIENCE: Final = 60.0
"""Seconds that one cold start may take."""


class Quiet(ThreadingHTTPServer):
    """A server that says nothing when a killed process lets its connection fall."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """`HOST:PORT` where `handler` answers, in threads of its own."""
    server = Quiet(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Silent(BaseHTTPRequestHandler):
    """Keeps connections open, waits for nothing, logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def body(self) -> bytes:
        """The request's body, with a length or in chunks."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Sends a whole answer."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


# --- the Runtime API ---------------------------------------------------------------------------------


class Invocation:
    """One event at the Runtime API, and what came back.

    Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    def __init__(self, event: Any, *, seconds: int) -> None:
        self.answered = 0.0
        """When the response came, on the clock of `time.perf_counter`."""
        self.asked = 0.0
        """When the function was ready for its event."""
        self.kind = ""
        """`response`, or `error` where the function failed."""
        self.answer: Any = None
        self.done = threading.Event()
        self.over = threading.Event()
        """Set by whoever has ended the process: nothing further comes for it."""
        self._body = json.dumps(event).encode()
        self._seconds = seconds
        self._given = threading.Event()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """The Runtime API of this one invocation."""
        invocation = self

        class Api(Silent):
            def do_GET(self) -> None:
                if invocation._given.is_set():
                    invocation.over.wait(PATIENCE)
                    return
                invocation._given.set()
                invocation.asked = time.perf_counter()
                deadline = str(int((time.time() + invocation._seconds) * 1000))
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                    "Lambda-Runtime-Deadline-Ms": deadline,
                    "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:live",
                    "Content-Type": "application/json",
                }
                self.answer(200, headers.items(), invocation._body)

            def do_POST(self) -> None:
                now = time.perf_counter()
                body = self.body()
                if not invocation.done.is_set():
                    invocation.answered = now
                    invocation.kind = self.path.rsplit("/", 1)[-1]
                    invocation.answer = json.loads(body or b"null")
                self.answer(202, (), b"")
                invocation.done.set()

        return Api


# --- AWS ---------------------------------------------------------------------------------------------


class LocalAws:
    """Secrets Manager and SQS that answer at once; everything else is answered by the emulator in a process of its own.

    `sent` keeps the bodies of the messages in the queue, `calls` the names of all operations.
    """

    def __init__(self, secrets: Mapping[str, Mapping[str, str]], behind: str) -> None:
        self.secrets = secrets
        self.sent: list[str] = []
        self.calls: list[str] = []
        self._behind = urlsplit(behind).netloc

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """AWS at one address."""
        aws = self

        class Aws(Silent):
            def do_POST(self) -> None:
                body = self.body()
                service, _, action = self.headers.get("x-amz-target", "").rpartition(".")
                aws.calls.append(action or f"{self.command} {self.path}")
                if service == "secretsmanager":
                    self._json(*aws._secret(json.loads(body)))
                elif service == "AmazonSQS" and action.startswith("SendMessage"):
                    self._json(200, aws._send(json.loads(body)))
                else:
                    self._forward(body)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST

            def _json(self, status: int, answer: Mapping[str, Any]) -> None:
                self.answer(status, [("content-type", "application/x-amz-json-1.1")], json.dumps(answer).encode())

            def _forward(self, body: bytes) -> None:
                connection = HTTPConnection(aws._behind, timeout=PATIENCE)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "expect")}
                headers["content-length"] = str(len(body))
                connection.request(self.command, self.path, body=body, headers=headers)
                found = connection.getresponse()
                content = found.read()
                unfit = ("connection", "content-length", "transfer-encoding", "date", "server")
                self.answer(found.status, [(k, v) for k, v in found.getheaders() if k.lower() not in unfit], content)
                connection.close()

        return Aws

    def _secret(self, request: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        name = request["SecretId"].rpartition("/")[2]
        if name not in self.secrets:
            return 400, {"__type": "ResourceNotFoundException", "message": "Secrets Manager can't find the specified secret."}
        return 200, {"Name": request["SecretId"], "SecretString": json.dumps(self.secrets[name])}

    def _send(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        entries = request.get("Entries") or [request]
        self.sent += [e["MessageBody"] for e in entries]
        told = [{"MessageId": e.get("Id", "m"), "MD5OfMessageBody": _md5(e["MessageBody"])} for e in entries]
        return {"Successful": [{"Id": t["MessageId"], **t} for t in told]} if "Entries" in request else told[0]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def local_aws(secrets: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[LocalAws, str]]:
    """The account that the functions live in, empty, and its address."""
    with TemporaryDirectory() as data:
        emulator = EmulatorProcess(Path(data))
        emulator.start()
        try:
            emulator.ready()
            aws = LocalAws(secrets, emulator.endpoint)
            with serving(aws.handler()) as address:
                yield aws, f"http://{address}"
        finally:
            emulator.stop()


def environment(url: str, **more: Any) -> dict[str, str]:
    """What the infrastructure writes into a function's environment, for the account at `url`."""
    settings = Settings(
        stage="bench",
        table_name=TABLE,
        turns_queue_url=f"{url}/{ACCOUNT}/{TURNS}",
        dead_letters_url=f"{url}/{ACCOUNT}/{DEAD_LETTERS}",
        bucket=BUCKET,
        kms_key_id=KEY,
        public_url="https://assistant.example",
        **more,
    )
    return {**settings.to_env(), **CREDENTIALS, "AWS_ENDPOINT_URL": url}


# --- the functions -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Started:
    """How one cold start went."""

    milliseconds: float
    """From the start of the process to the first response."""
    event: float
    """Of these, the milliseconds after the function was ready: what the event waits for where a copy was kept at hand."""
    processor: float
    """Milliseconds in which it had a processor: what a busy machine leaves alone."""
    answer: Any
    """What the function returned."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """A function's code: the folder that is `/var/task`, the further ones in its path, and the handler's name."""

    task: Path
    path: tuple[Path, ...]
    handler: str

    def start(self, event: Any, env: Mapping[str, str], *, seconds: int = 150) -> Started:
        """One cold start in an empty `/tmp`. Raises RuntimeError where the function fails or does not answer."""
        invocation = Invocation(event, seconds=seconds)
        with serving(invocation.handler()) as address, TemporaryDirectory() as empty:
            variables = {
                "PATH": os.environ["PATH"],
                "LANG": "en_US.UTF-8",
                "TZ": ":UTC",
                "TMPDIR": empty,
                "HOME": empty,
                "LAMBDA_TASK_ROOT": str(self.task),
                "AWS_LAMBDA_RUNTIME_API": address,
                "AWS_LAMBDA_FUNCTION_NAME": "f",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "PYTHONPATH": os.pathsep.join(map(str, (self.task, *self.path))),
                **env,
            }
            began = time.perf_counter()
            process = subprocess.Popen(  # -S: nothing of this checkout's own environment is in the path
                [sys.executable, "-S", "-m", "awslambdaric", self.handler],
                env=variables,
                cwd=self.task,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            answered = invocation.done.wait(PATIENCE)
            os.kill(process.pid, signal.SIGKILL)
            said, used = _ended(process)
            invocation.over.set()
        if not answered or invocation.kind != "response":
            text = said.decode(errors="replace")[-2000:]
            raise RuntimeError(f"{self.handler}: {invocation.kind or 'no answer'}: {invocation.answer}\n{text}")
        whole, event = invocation.answered - began, invocation.answered - invocation.asked
        return Started(milliseconds=whole * 1000, event=event * 1000, processor=used * 1000, answer=invocation.answer)


def _ended(process: subprocess.Popen[bytes]) -> tuple[bytes, float]:
    """What a process that was killed has said, and the seconds that it has had a processor."""
    assert process.stderr
    with process.stderr:
        said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return said, used.ru_utime + used.ru_stime


class Deployed:
    """Everything that is deployed, built for this machine and laid out as Lambda does: `/var/task` and one `/opt`."""

    def __init__(self, place: Path = PLACE) -> None:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self._bundle = bundles.build(place / "bundle", machine="host", python=python)
        self.compiled = self._bundle.compiled
        self.opt = place / "opt" / "python"
        shutil.rmtree(self.opt.parent, ignore_errors=True)
        for name in self._bundle.layers:  # Lambda unpacks them one over the other
            shutil.copytree(self._bundle.layer(name) / "python", self.opt, copy_function=os.link, dirs_exist_ok=True)
        self.runtime = packages(place / "runtime", RUNTIME)

    def function(self, name: str) -> Code:
        """The code of `functions/{name}.py`."""
        return Code(task=self._bundle.function(name), path=(self.opt, self.runtime), handler=f"{name}.lambda_handler")


def packages(place: Path, wanted: Iterable[str]) -> Path:
    """A folder in which the installed packages `wanted` stand with all that they need, and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    todo, seen = [*wanted], set[str]()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # needed on another system, or by another Python
        for top in {p.parts[0] for p in found.files or () if p.parts[0] not in ("..", "__pycache__")}:
            origin = Path(str(found.locate_file(top)))
            if not (place / top).exists() and origin.exists() and origin.suffix != ".pth":
                (place / top).symlink_to(origin)
        for need in found.requires or ():
            if "extra ==" not in need:
                todo.append(re.split(r"[^\w.-]", need, maxsplit=1)[0])
    return place
