"""What was published last of each section, and the page that is made of it: docs/performance.json and docs/performance.md.

A run publishes the sections that it measured; the others stay as they were. Every table of the page, and the goals' above all, is
made of what is stored: no two of them can disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.goals import GOALS, Goal, Verdict
from tests.benchmarks.plots import number
from tests.benchmarks.report import Row, Section

GOALS_TITLE: Final = "Goals"
"""Where the final table stands in the page."""
END: Final = "<!-- end -->"
VERDICTS: Final[Mapping[bool | None, str]] = {True: "yes", False: "**no**", None: "**not measured**"}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A section's table, and where and how it came about."""

    title: str
    how: str
    rows: tuple[Row, ...]
    command: str
    machine: Mapping[str, Any]
    """As `report.machine` tells it, and `load_before`."""

    @property
    def short_place(self) -> str:
        """Processor, Python and day, for a column."""
        processor = " ".join(re.sub(r"\((R|TM)\)|\b(Processor|CPU)\b|@", " ", str(self.machine["processor"])).split())
        return f"{self.machine['cores']} × {processor}, Python {self.machine['python']}, {str(self.machine['at'])[:10]}"

    @property
    def place(self) -> str:
        """The machine with its load and the day."""
        told = self.machine
        loads = [
            f"{told[name]:.1f} {when}" for name, when in (("load_before", "before"), ("load_average", "after")) if name in told
        ]
        load = f"load average {' and '.join(loads)}" if loads else "load average not kept"
        return f"{told['processor']}, {told['cores']} cores, Python {told['python']}, {load}, {str(told['at'])[:10]}"


def load(store: Path) -> dict[str, Published]:
    """What is stored, by the sections' titles."""
    if not store.exists():
        return {}
    return {
        title: Published(title=title, **{**data, "rows": tuple(Row(**row) for row in data["rows"])})
        for title, data in json.loads(store.read_text(encoding="utf-8")).items()
    }


def save(known: Mapping[str, Published], store: Path) -> None:
    """Writes the store."""
    data = {
        title: {
            "how": one.how,
            "command": one.command,
            "machine": dict(one.machine),
            "rows": [asdict(row) for row in one.rows],
        }
        for title, one in known.items()
    }
    store.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def published(section: Section, *, command: str, machine: Mapping[str, Any]) -> Published:
    """The section as it is stored: figures with as many digits as tell something."""
    rows = (replace(row, figures={name: _short(value) for name, value in row.figures.items()}) for row in section.rows)
    return Published(title=section.title, how=section.how, rows=tuple(rows), command=command, machine=machine)


def summary(sections: Sequence[Section]) -> Section:
    """The goals that these sections decide."""
    measured = {section.title: section for section in sections}
    rows = []
    for goal in (goal for goal in GOALS if goal.section in measured):
        verdict = goal.judge(measured[goal.section].rows)
        figures: dict[str, float | str] = {"ours": verdict.ours, "peers": verdict.peers, "limit": goal.limit}
        rows.append(Row(name=goal.what, figures=figures, goal=goal.section, met=verdict.met))
    return Section(title=GOALS_TITLE, how="what the sections below say about each goal", rows=rows)


def _short(value: float | str) -> float | str:
    return value if isinstance(value, str) else float(f"{value:.5g}")


def publish(sections: Sequence[Section], page: Path, *, command: str, machine: Mapping[str, Any]) -> None:
    """Stores the sections beside the page, in place of what was stored of them, and makes the page's tables anew.

    Raises ValueError where the page has no place for one of them.
    """
    store = page.with_suffix(".json")
    known = load(store)
    for section in sections:
        known[section.title] = published(section, command=command, machine=machine)
    text = render(page.read_text(encoding="utf-8"), known)
    save(known, store)
    page.write_text(text, encoding="utf-8")


def render(text: str, known: Mapping[str, Published]) -> str:
    """The page with each table between its marks: `<!-- Load -->` and `<!-- end -->`."""
    blocks = {goal.section: f"Not published yet: `{goal.command}`." for goal in GOALS}
    blocks |= {GOALS_TITLE: goals_table(known), **{title: _block(one) for title, one in known.items()}}
    for title, block in blocks.items():
        before, mark, rest = text.partition(f"<!-- {title} -->\n")
        _, end, after = rest.partition(END)
        if not mark or not end:
            raise ValueError(f"the page has no place for {title!r}: <!-- {title} --> and {END}")
        text = f"{before}{mark}\n{block}\n\n{end}{after}"
    return text


def _block(one: Published) -> str:
    return f"{one.how[0].upper()}{one.how[1:]}.\n\n{_table(one.rows)}\n\n`{one.command}` on {one.place}."


def _table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(k for row in rows for k in row.figures))
    goals = ["goal", "met"] if any(row.goal for row in rows) else []
    lines = [f"| | {' | '.join([*names, *goals])} |", "|---" * (1 + len(names) + len(goals)) + "|"]
    for row in rows:
        cells = [number(row.figures[n]) if n in row.figures else "" for n in names]
        met = "" if row.met is None else VERDICTS[row.met]
        lines.append(f"| {row.name} | {' | '.join([*cells, *([row.goal, met] if goals else [])])} |")
    return "\n".join(lines)


def judged(goal: Goal, known: Mapping[str, Published]) -> tuple[Verdict, Published | None]:
    """What the stored rows say about the goal, and where they come from; None where its section was never published."""
    one = known.get(goal.section)
    return (goal.judge(one.rows) if one else Verdict(ours="")), one


def goals_table(known: Mapping[str, Published]) -> str:
    """The final table: every goal, met or not."""
    lines = ["| goal | ours | peers | limit | met | measured | command |", "|---|---|---|---|---|---|---|"]
    for goal in GOALS:
        verdict, one = judged(goal, known)
        where = one.short_place if one else ""
        cells = [goal.what, verdict.ours, verdict.peers, goal.limit, VERDICTS[verdict.met], where]
        lines.append(f"| {' | '.join(cells)} | `{one.command if one else goal.command}` |")
    return "\n".join(lines)
