"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assistant.dev.emulator import Emulator


@pytest.fixture(scope="session", autouse=True)
def connections() -> Iterator[None]:
    """Ends what the tests leave open: the pool of connections to vendors, and the clients of AWS."""
    yield
    from assistant.platforms import outbound
    from tests.support import house

    outbound.client().close()
    for client in house._clients.values():
        client.close()


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
