"""Takes the commands of a step out of the runbook's page and runs them as an operator would, against an emulated deployment."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore import xform_name

from tests.infra.cloud import CREDENTIALS, ROOT, Account

PAGE = ROOT / "docs" / "operations.md"


def commands(step: str) -> list[str]:
    """The commands in the section `step`, as they stand on the page."""
    found = re.search(rf"^## {re.escape(step)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert found, f"the page has no step {step!r}"
    return [
        line for block in re.findall(r"^```\n(.*?)^```", found[1], flags=re.MULTILINE | re.DOTALL) for line in block.splitlines()
    ]


_SERVICES = {"deploy": "codedeploy"}
"""The command line's own name of a service, where it has one."""


class Operator:
    """Somebody with the page, a terminal and credentials."""

    def __init__(self, account: Account, stage: str, *, folder: Path, url: str, key: str) -> None:
        self._account = account
        self._stage = stage
        self.folder = folder
        self._reached = {"ASSISTANT_URL": url, "API_KEY": key}

    def run(self, command: str, *, status: int = 0, **words: str) -> str:
        """What `command` prints, with STAGE and each of `words` in place of the words in capitals; it must end with `status`."""
        program, *arguments = shlex.split(self._filled(command, words))
        if program == "aws":
            return json.dumps(self._aws(*arguments), default=str)
        if program == "python":
            return self._program([sys.executable, *arguments], status)
        assert program == "assistant"
        return self._program([str(Path(sys.executable).with_name("assistant")), *arguments], status)

    def parameters(self, command: str, **words: str) -> dict[str, Any]:
        """What an `aws` command would send, checked against the service's model and not sent."""
        _, service, operation, *arguments = shlex.split(self._filled(command, words))
        return self._parameters(self._account.aws.client(_SERVICES.get(service, service)), operation.replace("-", "_"), arguments)

    def _filled(self, command: str, words: Mapping[str, str]) -> str:
        left = set(re.findall(r"(?<![A-Za-z])[A-Z]{4,}(?![A-Za-z])", command)) - {"STAGE", *words}
        assert not left, f"words are not filled in: {left}"
        for name, value in {"STAGE": self._stage, **words}.items():
            command = value.join(re.split(rf"(?<![A-Za-z]){name}(?![A-Za-z])", command))
        return command

    def _program(self, command: list[str], status: int) -> str:
        env = {**os.environ, **CREDENTIALS, **self._reached, "AWS_ENDPOINT_URL": self._account.endpoint}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == status, f"{command}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def _aws(self, service: str, operation: str, *arguments: str) -> Any:
        """The call that the AWS command line makes: the same names, checked against the same model of the service."""
        client = self._account.aws.client(_SERVICES.get(service, service))
        if operation == "wait":
            waits, *arguments_ = arguments
            client.get_waiter(waits.replace("-", "_")).wait(**self._parameters(client, "describe_table", arguments_))
            return {}
        method = operation.replace("-", "_")
        return getattr(client, method)(**self._parameters(client, method, list(arguments)))

    def _parameters(self, client: Any, method: str, arguments: list[str]) -> dict[str, Any]:
        shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
        members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
        given: dict[str, Any] = {}
        while arguments:
            option = arguments.pop(0).removeprefix("--")
            assert option in members, f"{method} has no option --{option}"
            name, member = members[option]
            if member.type_name == "boolean":
                given[name] = True
                continue
            text = arguments.pop(0)
            if text.startswith("file://"):
                text = (self.folder / text.removeprefix("file://")).read_text()
            given[name] = int(text) if member.type_name == "integer" else [text] if member.type_name == "list" else text
        return given


@contextlib.contextmanager
def served(account: Account) -> Iterator[str]:
    """The deployed API at an address of this machine, for programs that speak HTTP."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path, _, query = self.path.partition("?")
            got = account.request(self.command, path, headers=dict(self.headers.items()), body=body, query=query)
            text = str(got.get("body") or "").encode()
            self.send_response(got["statusCode"])
            for name, value in got.get("headers", {}).items():
                if name.lower() != "content-length":
                    self.send_header(name, str(value))
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def secret_of(account: Account, name: str) -> Mapping[str, str]:
    """The fields stored under `name`."""
    fields: Mapping[str, str] = json.loads(account.aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    return fields
