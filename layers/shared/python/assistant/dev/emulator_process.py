"""The emulator in a process of its own, so that AWS's part and the functions' part of the work use a processor each.

It serves until its standard input ends: with whoever started it, however that one ends.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Literal

from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting

PAUSE: Final = 0.05
"""Seconds that looking for garbage may take."""


class EmulatorProcess:
    """As `Emulator`, elsewhere: `start()` and `ready()`, then `endpoint`; `stop()`."""

    def __init__(self, data: Path) -> None:
        self.endpoint = ""
        self._data = data
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begins to start; `ready()` waits for it."""
        command = [sys.executable, "-m", __name__, str(self._data)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves

    def ready(self) -> None:
        """Waits until it serves. Raises InvalidSetting where the data folder cannot be used, RuntimeError where it ended."""
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("start() comes first")
        line = self._process.stdout.readline()
        said = json.loads(line) if line else {}
        if "error" in said:
            self.stop()
            raise InvalidSetting(said["error"])
        if "endpoint" not in said:
            raise RuntimeError(f"the local AWS ended with status {self._process.wait()}; its last lines stand above")
        self.endpoint = said["endpoint"]

    def stop(self) -> None:
        """Ends it; what it stored stays in the data folder."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait(timeout=10)
            if self._process.stdout:
                self._process.stdout.close()


class ShortPauses:
    """Looks no second time for garbage among what is stored: with 10,000 turns in the table each look took 0.7 s, for nothing.

    What is there after a look that took longer than `most` seconds is left alone from then on; what is deleted of it is freed
    all the same.
    """

    def __init__(self, most: float = PAUSE) -> None:
        self._most = most
        self._began = 0.0

    def __call__(self, phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        """What the garbage collector calls, as one of `gc.callbacks`."""
        if phase == "start":
            self._began = time.perf_counter()
        elif time.perf_counter() - self._began > self._most:
            gc.freeze()


def main() -> None:
    """Serves; says where, or what is wrong, in one line of JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever started us closes our input
    try:
        emulator = Emulator(Path(sys.argv[1]))
    except InvalidSetting as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    emulator.start()
    gc.callbacks.append(ShortPauses())
    print(json.dumps({"endpoint": emulator.endpoint}), flush=True)
    sys.stdin.read()
    emulator.stop()
    os._exit(0)  # threads that still wait for a message to come have nobody to tell


if __name__ == "__main__":
    main()
