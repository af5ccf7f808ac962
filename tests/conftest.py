"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assistant.dev.emulator import Emulator


def pytest_configure(config: pytest.Config) -> None:
    """Speaks English, and looks for garbage less often: a worker holds what thousands of tests made, and a look takes longer with
    each of them."""
    gc.set_threshold(20_000, 50, 50)
    os.environ["LC_ALL"] = "C.UTF-8"  # commands speak the language of the terminal


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Shows a line at the end of the run, whatever the output is captured into: figures that a test measures or proves."""
    return lambda line: record_property("shown", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what the tests have shown, file by file."""
    shown: dict[str, list[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            lines = [str(v) for k, v in getattr(report, "user_properties", ()) if k == "shown"]
            if lines and getattr(report, "when", "") == "call":
                shown.setdefault(report.nodeid.partition("::")[0], []).extend(lines)
    for file, lines in sorted(shown.items()):
        terminalreporter.section(file)
        for line in sorted(lines):
            terminalreporter.line(line)


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


@pytest.fixture(scope="session")
def guides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for real knowledge; the product's own guides are built in it once."""
    return tmp_path_factory.mktemp("guides")


@pytest.fixture
def aws(emulator: Emulator) -> Emulator:
    """AWS with nothing in it."""
    emulator.clear()
    return emulator
