"""What the commands of the knowledge show while they work."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from assistant.dev.cli import main
from assistant.knowledge.default import pages
from tests.simulators.base import Answer, Call, Simulator, route


class Slow(Simulator):
    """An assistant that takes its time."""

    @route("POST", r"/api/knowledge/rebuild")
    def rebuild(self, call: Call) -> Answer:
        """Writes the index anew."""
        return Answer(200, {"version": "v2"})


class Terminal(io.StringIO):
    """A terminal that keeps what is shown."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as made:
        made.slow("POST /api", times=9, delay=1.3)
        yield made


@pytest.mark.parametrize(
    ("stream", "more", "shown"), [(Terminal, [], True), (Terminal, ["--json"], False), (io.StringIO, [], False)]
)
def test_what_takes_long_says_so_on_a_terminal_alone(
    slow: Slow, stream: type[io.StringIO], more: list[str], shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with redirect_stderr(stream()) as screen:
        assert main(["kb", "rebuild", "--url", slow.base, "--api-key", "k", *more]) == 0
    assert ("writing the index anew… 1 s" in screen.getvalue()) is shown
    if not shown:
        assert screen.getvalue() == ""
    assert "v2" in capsys.readouterr().out


def test_documents_that_are_added_are_counted_on_a_terminal_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = str(pages() / "guides" / "en" / "asking.md")
    with redirect_stderr(Terminal()) as screen:
        assert main(["kb", "add", guide, "--data", str(tmp_path)]) == 0
    assert "added asking.md" in screen.getvalue()
    with redirect_stderr(Terminal()) as screen:
        assert main(["kb", "add", guide, "--data", str(tmp_path), "--json"]) == 0
    assert screen.getvalue() == ""
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["unchanged"] == ["asking.md"]
