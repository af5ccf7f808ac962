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


class Narrow(Simulator):
    """An assistant behind a gateway that takes a kilobyte."""

    @route("PUT", r"/api/knowledge/files")
    def add(self, call: Call) -> Answer:
        """Takes a file."""
        if len(call.body) > 1024:
            return Answer(413, {"message": "Request Entity Too Large"})  # the gateway's own words
        return Answer(200, {"added": [call.query["name"]], "version": "v3"})


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


def test_a_file_that_the_gateway_does_not_take_is_named_with_the_next_step_and_the_others_go_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large.md").write_text("x" * 2000)
    (tmp_path / "small.md").write_text("x")
    with Narrow() as narrow:
        assert main(["kb", "add", str(tmp_path), "--url", narrow.base, "--api-key", "k"]) == 1
    said = capsys.readouterr().out
    assert "refused  large.md: it is larger than one request may be" in said
    assert "into the bucket under documents/" in said
    assert "1 added, 0 unchanged, 1 refused; version v3" in said


def test_documents_that_are_added_are_counted_on_a_terminal_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = str(pages() / "guides" / "en" / "asking.md")
    with redirect_stderr(Terminal()) as screen:
        assert main(["kb", "add", guide, "--data", str(tmp_path)]) == 0
    assert "added asking.md" in screen.getvalue()
    with redirect_stderr(Terminal()) as screen:
        assert main(["kb", "add", guide, "--data", str(tmp_path), "--json"]) == 0
    assert screen.getvalue() == ""
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["unchanged"] == ["asking.md"]
