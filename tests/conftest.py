"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assistant.dev.emulator import Emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """AWS in this process, in memory."""
    made = Emulator()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def aws(emulator: Emulator) -> Emulator:
    """AWS with nothing in it."""
    emulator.clear()
    return emulator
