"""Starts the real engine once. These tests run only when asked for by name: `make test-engine`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import tiny_model
from tests.engine.install import ROOT, EngineMissing, ensure
from tests.engine.server import Engine

SMALL = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "SM_VLLM_MAX_NUM_SEQS": "16",
    "SM_VLLM_MAX_NUM_QUEUED_REQS": "20",
    "SM_VLLM_ENFORCE_EAGER": "true",  # the tiny model gains nothing from compilation
}
_missing: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", "engine: asks the real vLLM on this machine's processor; run by `make test-engine`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves these tests out of every run that does not ask for them."""
    if "engine" in (config.getoption("-m") or ""):
        return
    ours = [i for i in items if i.get_closest_marker("engine")]
    if ours:
        items[:] = [i for i in items if i not in ours]
        config.hook.pytest_deselected(items=ours)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly when the engine was missing."""
    for reason in _missing:
        terminalreporter.section("THE ENGINE TESTS DID NOT RUN", sep="!", red=True)
        terminalreporter.line(reason)


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The Python that has vLLM."""
    try:
        return ensure()
    except EngineMissing as error:
        _missing.append(str(error))
        pytest.skip(f"vLLM cannot be had here: {error}")


@pytest.fixture(scope="session")
def model() -> Path:
    """The tiny model."""
    return tiny_model.write(ROOT / "build" / "tiny-model")


@pytest.fixture(scope="session")
def engine(engine_python: Path, model: Path) -> Iterator[Engine]:
    """The container's entry point, ready to answer."""
    with Engine(engine_python, model, environ=SMALL) as running:
        yield running
