"""A real Chromium for the page's tests. Where there is none they are skipped, and the summary says so."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.e2e.fake_api import KEY, FakeApi

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screens"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
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
        command = [str(npm), "pack", "axe-core@4", "--silent", "--fetch-retries=0"]
        with contextlib.suppress(subprocess.TimeoutExpired):  # without a network npm may wait for minutes
            subprocess.run(command, cwd=folder, capture_output=True, timeout=45, check=False)
        archives = sorted(folder.glob("axe-core-*.tgz"))
        if not archives:
            skip_loudly("axe-core could not be fetched from the npm registry; the accessibility check did not run")
        with tarfile.open(archives[-1]) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
    return script.read_text()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """The played API."""
    with FakeApi() as api:
        yield api


@pytest.fixture
def open_at(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a browser of its own; a script error or a breach of the content security policy fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"reduced_motion": "reduce", "viewport": DESKTOP, "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console", lambda m: errors.append(m.text) if "Content Security Policy" in m.text or "Trusted" in m.text else None
        )
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def open_page(open_at: Callable[..., Page], api: FakeApi) -> Callable[..., Page]:
    """Opens the page on the played API, signed in unless told otherwise."""

    def open_(*, signed_in: bool = True, at: str = "", **options: Any) -> Page:
        page = open_at(f"{api.base}/#key={KEY}" if signed_in else f"{api.base}/{at}", **options)
        if signed_in and at:
            page.goto(f"{api.base}/{at}")
        return page

    return open_


def picture(page: Page, name: str) -> None:
    """Keeps what the page looks like in build/screens."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def check(page: Page, axe: str, name: str) -> list[str]:
    """A picture of the page, and what axe and the width of the screen have against it."""
    picture(page, name)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    problems = [f"{name}: {v['id']}: {v['help']}: {[n['target'] for n in v['nodes']]}" for v in found["violations"]]
    too_wide = "document.documentElement.scrollWidth > innerWidth"
    if page.evaluate(too_wide):
        problems.append(f"{name}: wider than the screen")
    size = page.viewport_size
    if size and size["width"] < 500:  # the narrowest screen that WCAG asks for (1.4.10 Reflow)
        page.set_viewport_size({"width": 320, "height": size["height"]})
        if page.evaluate(too_wide):
            problems.append(f"{name}: wider than a screen of 320 pixels")
        page.set_viewport_size(size)
    return problems
