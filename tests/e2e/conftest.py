"""A real Chromium for the page's tests. Where there is none they are skipped, and the summary says so."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
skipped: list[str] = []


def skip_loudly(reason: str) -> NoReturn:
    """Skips the test and says why in the summary of the run."""
    if reason not in skipped:
        skipped.append(reason)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names what was not looked at."""
    for reason in skipped:
        terminalreporter.write_line(f"BROWSER TESTS SKIPPED: {reason}", yellow=True, bold=True)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium (or Chrome), without a network of its own. It ends with this folder's tests: playwright keeps an event
    loop running in the main thread, which tests elsewhere could not start theirs beside."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        skip_loudly("no Chromium on this machine; install it with: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_loudly("playwright is not installed; run: make setup")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, fetched once with npm into build/."""
    folder = ROOT / "build" / "axe-core"
    script = folder / "package" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if not npm:
            skip_loudly("no npm to fetch axe-core with; the accessibility check did not run")
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            [str(npm), "pack", "axe-core@4", "--silent"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        archives = sorted(folder.glob("axe-core-*.tgz"))
        if packed.returncode or not archives:
            skip_loudly("axe-core could not be fetched from the npm registry; the accessibility check did not run")
        with tarfile.open(archives[-1]) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
    return script.read_text()
