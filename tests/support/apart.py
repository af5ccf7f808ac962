"""AWS in a process of its own: what it does is not counted as ours."""

from __future__ import annotations

from pathlib import Path

from assistant.dev.emulator import Emulator
from assistant.dev.emulator_process import EmulatorProcess


class Apart(Emulator):
    """As `Emulator`, elsewhere; keeps what is stored in the folder `data`."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._process = EmulatorProcess(data)

    def start(self) -> None:
        """Starts it, and waits until it serves."""
        self._process.start()
        self._process.ready()

    def stop(self) -> None:
        """Ends it."""
        self._process.stop()

    @property
    def endpoint(self) -> str:
        """Where it serves."""
        return self._process.endpoint
