"""A function in a process of its own, to which anything may be sent: `python -m tests.support.exposed FUNCTION`.

It reads one event a line and writes what became of it: status, the processor's time, and the most memory that it ever had.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assistant.dev.runner import Functions

PATIENCE: Final = 30.0
"""Seconds after which an answer is waited for no longer, on a machine that others use as well."""
CRASHED: Final = 500
"""What API Gateway answers for a function that raised, died or did not come to an end."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one request."""

    status: int
    milliseconds: float
    """Of the processor's time, for the handler alone."""
    peak: float
    """MiB: the most that the process has had so far."""
    why: str = ""
    """What it raised, or that it died or hung."""


class Exposed:
    """The function `name` with the environment `env`; a context manager. A process that dies or hangs is started anew."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Exposed:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, event: Mapping[str, Any]) -> Answer:
        """What the function makes of `event`."""
        process = self._process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(event).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
            line = process.stdout.readline() if ready else b""
        except BrokenPipeError:
            ready, line = [process.stdout], b""
        if line:
            return Answer(**json.loads(line))
        why = f"died with status {process.wait()}" if ready else f"did not come to an end in {PATIENCE:.0f} s"
        self._end()
        return Answer(status=CRASHED, milliseconds=0.0 if ready else PATIENCE * 1000, peak=0.0, why=why)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", __name__, self.name]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env)

    def _end(self) -> None:
        if process := self._process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue
        self._process = None


def main() -> None:
    """Answers until the input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # what the function logs is not the answer
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    functions = Functions()
    name = sys.argv[1]
    functions.initialise(name)
    for line in sys.stdin.buffer:
        event = json.loads(line)
        began, status, why = time.process_time(), CRASHED, ""
        try:
            status = int(functions.invoke(name, event, seconds=30)["statusCode"])
        except Exception as error:  # whatever it is, it is what is looked for
            why = f"{type(error).__name__}: {error}"[:300]
        took = (time.process_time() - began) * 1000
        answer = {"status": status, "milliseconds": took, "peak": _peak(), "why": why}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def _peak() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
