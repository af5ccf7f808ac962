"""Those whom several of these tests ask: who somebody is, and the company's directory and calendars."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assistant.dev.emulator import Emulator
from tests.simulators.identity import Identity
from tests.simulators.workplace import Workplace
from tests.support.crashing import Crasher
from tests.support.office import staff


@pytest.fixture
def identity() -> Iterator[Identity]:
    """A provider of accounts."""
    with Identity() as made:
        yield made


@pytest.fixture
def workplace(identity: Identity) -> Iterator[Workplace]:
    """A company with its staff, which trusts that provider."""
    with Workplace(identity) as made:
        staff(made)
        yield made


@pytest.fixture(scope="session")
def crasher(emulator: Emulator) -> Iterator[Crasher]:
    """A process that forks functions to be killed."""
    made = Crasher(emulator.environment())
    yield made
    made.close()
