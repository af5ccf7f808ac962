"""docs/performance.md says what docs/performance.json holds, marks each goal that is missed, and names commands that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import __main__ as bench
from tests.benchmarks.goals import GOALS, Goal
from tests.benchmarks.published import load, published, render, summary
from tests.benchmarks.published import publish as put
from tests.benchmarks.report import Curve, Row, Section, write

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
MACHINE: dict[str, Any] = {
    "processor": "Intel(R) Xeon(R) Processor @ 2.10GHz",
    "cores": 2,
    "python": "3.11.7",
    "load_before": 0.1,
    "load_average": 1.2,
    "at": "2026-11-22T20:00:00Z",
}
TURN = Section(
    title="The turn",
    how="median of 300 turns",
    rows=[
        Row(name="write units", figures={"value": 3.0}, goal="counted: ≤ 3", met=True),
        Row(name="bytes logged", figures={"value": 5121.23456}, goal="counted: ≤ 4096", met=False),
    ],
)


def _line(page: str, what: str) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {what} |")]
    return line


def _goal(what: str) -> Goal:
    (goal,) = [goal for goal in GOALS if what in goal.what]
    return goal


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with places and nothing in them."""
    titles = ["Goals", *dict.fromkeys(goal.section for goal in GOALS)]
    file = tmp_path / "performance.md"
    file.write_text("# Performance\n\n" + "\n".join(f"<!-- {title} -->\n<!-- end -->\n\nAbout it.\n" for title in titles))
    return file


def test_the_page_is_what_the_stored_figures_make() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert render(text, load(PAGE.with_suffix(".json"))) == text, "python -m tests.benchmarks SECTIONS --publish writes it again"


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what[:40])
def test_each_goal_stands_in_the_first_table_with_what_its_rows_say(goal: Goal) -> None:
    line = _line(PAGE.read_text(encoding="utf-8"), goal.what)
    section = load(PAGE.with_suffix(".json")).get(goal.section)
    verdict = goal.judge(section.rows) if section else None
    said = {True: "| yes |", False: "| **no** |", None: "| **not measured** |"}[verdict.met if verdict else None]
    assert said in line
    assert verdict is None or verdict.ours in line


def test_every_row_that_missed_its_goal_is_marked_beneath_too() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for title, section in load(PAGE.with_suffix(".json")).items():
        block = text.partition(f"<!-- {title} -->")[2].partition("<!-- end -->")[0]
        missed = [row.name for row in section.rows if row.met is False]
        assert block.count("**no**") == len(missed), (title, missed)


def test_each_command_in_the_page_can_be_run() -> None:
    commands = set(re.findall(r"`((?:python -m|make|pytest) [^`]+)`", PAGE.read_text(encoding="utf-8")))
    commands |= {goal.command for goal in GOALS}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert len(commands) > 5
    for command in commands:
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets, command
        elif words[0] == "pytest":
            assert (ROOT / words[1]).exists(), command
        else:
            assert words[2] == "tests.benchmarks", command
            bench.parser().parse_args(words[3:])


def test_what_a_run_did_not_measure_stays_as_it_was_published(page: Path) -> None:
    put([TURN], page, command="python -m tests.benchmarks turn", machine=MACHINE)
    growth = Section(
        title="Growth", how="median", rows=[Row(name="10 turns", figures={"RRU": 2.0}, goal="counted: ≤ 2", met=True)]
    )
    put([growth], page, command="python -m tests.benchmarks growth", machine={**MACHINE, "at": "2026-11-23T20:00:00Z"})
    text = page.read_text()
    assert "| bytes logged | 5,121 | counted: ≤ 4096 | **no** |" in text
    assert "| 10 turns | 2 | counted: ≤ 2 | yes |" in text
    assert "load average 0.1 before and 1.2 after, 2026-11-22." in text
    assert _line(text, _goal("Logs of a turn").what).split(" | ")[1:5] == [
        "5,121 bytes",
        "",
        "the lines of metrics and of the turn that dashboards and searches need",
        "**no**",
    ]
    assert "2026-11-23 | `python -m tests.benchmarks growth` |" in _line(text, _goal("calls and capacity").what)
    assert json.loads(page.with_suffix(".json").read_text())["The turn"]["rows"][1]["figures"] == {"value": 5121.2}


def test_a_section_without_a_place_is_refused_and_nothing_is_stored(page: Path) -> None:
    with pytest.raises(ValueError, match="no place for 'Weather'"):
        put([Section(title="Weather", how="looked", rows=[])], page, command="c", machine=MACHINE)
    assert not page.with_suffix(".json").exists()


def test_a_run_that_is_cut_off_keeps_and_publishes_what_it_measured(page: Path, tmp_path: Path) -> None:
    def broken() -> Section:
        raise RuntimeError("the machine went away")

    with pytest.raises(RuntimeError, match="went away"):
        bench.run([lambda: TURN, broken], command="python -m tests.benchmarks", out=tmp_path, page=page)
    assert "| bytes logged | 5,121 |" in page.read_text()
    assert [s["title"] for s in json.loads((tmp_path / "report.json").read_text())["sections"]] == ["The turn"]
    assert "bytes logged" in (tmp_path / "report.html").read_text()


def _load_rows(**p99: float) -> list[Row]:
    return [Row(name=f"{size[1:]} conversations", figures={"added p99 ms": value, "wrong": 0.0}) for size, value in p99.items()]


@pytest.mark.parametrize(
    ("rows", "met"),
    [
        ([], None),
        (_load_rows(_50=90.0), None),
        (_load_rows(_50=90.0, _200=499.0), True),
        (_load_rows(_50=90.0, _200=501.0), False),
    ],
)
def test_a_goal_at_a_size_is_decided_by_that_size_alone(rows: list[Row], met: bool | None) -> None:
    assert _goal("Added to the model's own time").judge(rows).met is met


def test_one_size_that_was_not_measured_leaves_a_goal_for_several_open() -> None:
    verdict = _goal("Nothing lost, out of order").judge(_load_rows(_50=1.0, _200=1.0))
    assert verdict.met is None
    assert "1,000 not measured" in verdict.ours


def test_one_platform_that_is_slower_than_its_peer_misses_the_goal() -> None:
    rows = [
        Row(name="slack: receive", figures={"p50 ms": 0.1}, goal="≤ slack_bolt", met=False),
        Row(name="slack: slack_bolt", figures={"p50 ms": 0.09}),
    ]
    verdict = _goal("Verifying, decrypting").judge(rows)
    assert (verdict.ours, verdict.peers, verdict.met) == ("slack 0.1", "slack_bolt 0.09", False)


def test_a_quick_run_publishes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main(["turn", "--quick", "--publish"])
    assert stopped.value.code == 2
    assert "too few" in capsys.readouterr().err


# --- the report ----------------------------------------------------------------------------------


def _report(folder: Path, *curves: Curve, **axes: Any) -> str:
    rows = [Row(name="50 <conversations>", figures={"p50 ms": 14.0, "p99 ms": 131.0}, goal="≤ 100 ms", met=False)]
    section = Section(
        title="Load", how="two turns each", rows=rows, bar="p50 ms", curves=list(curves), x="at once", y="ms", **axes
    )
    return write([section], folder, command="python -m tests.benchmarks", where=MACHINE, goals=summary([section])).read_text()


def test_the_report_stands_alone_and_shows_tables_bars_and_every_curve(tmp_path: Path) -> None:
    page = _report(tmp_path, Curve(name="p50", points=((50, 14), (200, 18))), Curve(name="p99", points=((50, 131), (200, 163))))
    assert "50 &lt;conversations&gt;" in page
    assert "≤ 100 ms: missed" in page
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", page)
    assert page.count("<polyline") == 2
    assert ">p50</li>" in page.replace("<li>", "</li><li>")
    assert '<i style="width:100.00%">' in page
    assert json.loads((tmp_path / "report.json").read_text())["machine"]["load_before"] == 0.1


@pytest.mark.parametrize(
    ("log", "points", "ticks"),
    [
        (False, ((0.0, 1.0), (9.0, 1.0)), ["0", "2", "4", "6", "8", "10"]),
        (True, ((50.0, 1.0), (1000.0, 1.0)), ["50", "100", "200", "500", "1,000"]),
        (True, ((1.0, 1.0), (100_000.0, 1.0)), ["1", "10", "100", "1,000", "10,000", "100,000"]),
        (True, ((7.0, 1.0), (7.0, 1.0)), ["5", "10"]),
        (True, ((0.0, 1.0), (4.0, 1.0)), ["0", "1", "2", "3", "4"]),
    ],
    ids=["linear", "few decades", "many decades", "one value", "zero has no logarithm"],
)
def test_an_axis_holds_all_values_and_is_marked_with_round_ones(
    tmp_path: Path, log: bool, points: tuple[tuple[float, float], ...], ticks: list[str]
) -> None:
    page = _report(tmp_path, Curve(name="c", points=points), logx=log)
    assert re.findall(r'<text x="[\d.]+%" y="238" text-anchor="middle">([^<]+)<', page) == ticks
    (line,) = re.findall(r'<polyline points="([^"]+)"', page)
    across = [float(point.partition(",")[0]) for point in line.split()]
    assert all(0 <= x <= 1000 for x in across)
    assert across == sorted(across)


def test_a_stored_figure_keeps_the_digits_that_tell_something() -> None:
    (_, logged) = published(TURN, command="c", machine=MACHINE).rows
    assert logged.figures == {"value": 5121.2}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_figures_of_the_first_page_are_published_ones(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    table = lines[lines.index("| | ours | beside it |" if name == "README.md" else "| | 我们 | 对照 |") :]
    rows = table[2 : table.index("")]
    known = set(re.findall(r"\d[\d,.]*\d|\d", PAGE.read_text(encoding="utf-8")))
    shown = [figure for row in rows for figure in re.findall(r"\d[\d,.]*\d|\d", "|".join(row.split("|")[2:]))]
    assert len(shown) >= 12
    assert not [figure for figure in shown if figure not in known]
