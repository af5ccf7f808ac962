"""Isolated plug-ins on one machine: a process each, with limits, an empty environment and no credentials."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from assistant.errors import InvalidSetting, Unavailable
from assistant.plugins.isolated import FOLDER, Broke, Manifest
from assistant.storage import Conflict, Table, key

DESCRIBING_MEGABYTES: Final = 512

MOST_IDLE: Final = 2
"""Processes of one plug-in that are kept for the next call."""


class Confined:
    """Where isolated plug-ins run locally. `root`: the folder that holds theirs."""

    def __init__(
        self, root: Path, manifests: Mapping[str, Manifest], *, table: Table | None = None, tenant: str = "default"
    ) -> None:
        self._root = root
        self._manifests = manifests
        self._table = table
        self._tenant = tenant
        self._idle: dict[str, list[_Process]] = {}
        self._lock = threading.Lock()

    def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
        """The answer to a request. Raises Broke where the plug-in ended its process or had to be stopped."""
        process = self._process(plugin)
        watch = threading.Timer(seconds, process.kill)
        watch.start()
        try:
            answer = process.ask(request, lambda question: self._stored(plugin, question))
        finally:
            watch.cancel()
        with self._lock:
            idle = self._idle.setdefault(plugin, [])
            if len(idle) < MOST_IDLE and not answer.get("fatal"):
                idle.append(process)
                return answer
        process.kill()
        return answer

    def close(self) -> None:
        """Ends every process."""
        with self._lock:
            for process in [p for idle in self._idle.values() for p in idle]:
                process.kill()
            self._idle.clear()

    def _process(self, plugin: str) -> _Process:
        with self._lock:
            idle = self._idle.get(plugin, [])
            while idle:
                if (process := idle.pop()).is_alive():
                    return process
        return _Process(self._root / FOLDER / plugin, self._manifests[plugin].megabytes)

    def _stored(self, plugin: str, question: Mapping[str, Any]) -> Any:
        """What the table answers, in the plug-in's own room alone; for a put, the item that is in its way."""
        if self._table is None or not self._manifests[plugin].permissions.store:
            raise Broke("it asks for the table, which its manifest does not name", fatal=True)
        room = key("X", self._tenant, plugin)
        match question["table"]:
            case "get":
                return self._table.get(room, str(question["sk"]))
            case "query":
                return self._table.query(room, prefix=str(question["prefix"]), limit=int(question["limit"]))
            case "delete":
                self._table.delete(room, str(question["sk"]))
            case "put":
                try:
                    item = {**question["item"], "pk": room}
                    self._table.put(item, condition=str(question["condition"]), values=question["values"])
                except Conflict as met:
                    return dict(met.item)
        return None


def describe(folder: Path, *, seconds: float = 60.0) -> Manifest:
    """The manifest of `plugin.py` in `folder`, found out in a process with limits. Raises InvalidSetting where it has none."""
    process = _Process(folder, DESCRIBING_MEGABYTES)
    watch = threading.Timer(seconds, process.kill)
    watch.start()
    try:
        answer = process.ask({"method": "describe"}, lambda question: None)
    except Broke as error:
        raise InvalidSetting(f"the plug-in cannot be described: {error}") from error
    finally:
        watch.cancel()
        process.kill()
    if "invalid" in answer or "value" not in answer:
        raise InvalidSetting(str(answer.get("invalid") or answer.get("fault") or "the plug-in does not describe itself"))
    return Manifest.of(answer["value"])


class _Process:
    """One process with one plug-in in it."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        command = [sys.executable, "-m", "assistant.plugins.host", str(folder.resolve()), str(megabytes)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        self._popen = subprocess.Popen(  # noqa: S603  # our own arguments
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={"PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"},
            cwd=tempfile.gettempdir(),
            close_fds=True,
            start_new_session=True,
        )

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """Ends it at once."""
        self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout, self._errors):
            if stream:
                with suppress(OSError):
                    stream.close()

    def ask(self, request: Mapping[str, Any], stored: Any) -> Mapping[str, Any]:
        """The answer; on the way, questions to the table are answered by `stored`. Raises Broke where the process ends."""
        try:
            self._write(request)
            while "table" in (answer := self._read()):
                try:
                    self._write({"value": stored(answer)})
                except Unavailable as error:
                    self._write({"unavailable": str(error)})
        except (OSError, ValueError) as error:
            reason = self._reason()
            self.kill()
            raise Broke(f"its process ended: {reason}", fatal=True) from error
        except Broke:
            self.kill()
            raise
        return answer

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._popen.stdin is None or self._popen.stdin.closed:
            raise BrokenPipeError
        self._popen.stdin.write(json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n")
        self._popen.stdin.flush()

    def _read(self) -> dict[str, Any]:
        line = self._popen.stdout.readline(8_000_000) if self._popen.stdout else b""
        if not line:
            raise BrokenPipeError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _reason(self) -> str:
        """The last line that it wrote, or how it ended."""
        with suppress(OSError, ValueError):
            self._popen.wait(1)
            self._errors.seek(0)
            lines = self._errors.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1][:200]
        return f"exit status {self._popen.returncode}"
