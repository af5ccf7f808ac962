"""What a benchmark run leaves behind: JSON for programs, one HTML page for people."""

from __future__ import annotations

import html
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.plots import STYLE, Curve, bars, chart, number

__all__ = ["Curve", "Row", "Section", "machine", "show", "write"]

REPORT: Final = "report.html"
PAGE_STYLE: Final = (
    STYLE
    + """
body{font:15px/1.5 system-ui;max-width:64em;margin:2em auto;padding:0 1em;background:var(--ground);color:var(--ink)}
.wide{overflow-x:auto}.goals{padding-left:1.2em}.goals li{margin:.5em 0}.goals small{color:var(--faint)}
table{border-collapse:collapse;font-size:14px}
td,th{padding:.3em .7em;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}
code{overflow-wrap:anywhere}.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}
"""
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: what was measured, and beside it the goal where there is one."""

    name: str
    figures: dict[str, float | str]
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table, with a bar chart over the figure named `bar` and a line chart of `curves`; `x` and `y` name its axes."""

    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    bar: str = ""
    curves: list[Curve] = field(default_factory=list)
    x: str = ""
    y: str = ""
    logx: bool = False
    logy: bool = False


def machine() -> dict[str, Any]:
    """Where this ran."""
    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write(sections: list[Section], folder: Path, *, command: str, where: Mapping[str, Any], goals: Section | None = None) -> Path:
    """Writes `report.json` and `report.html` into `folder`; the page shows `goals`, what the sections say about them, first."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": dict(where), "command": command, "sections": [asdict(s) for s in sections]}
    if goals:
        data["goals"] = asdict(goals)
    (folder / "report.json").write_text(json.dumps(data, indent=1, ensure_ascii=False))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Benchmarks</title><style>{PAGE_STYLE}</style>",
        f"<h1>Benchmarks</h1><p><code>{html.escape(command)}</code> · {html.escape(str(where['processor']))},"
        f" {where['cores']} cores, Python {where['python']}, load average {where['load_average']:.1f} at the end ·"
        f" {where['at']}</p>",
    ]
    if goals and goals.rows:
        parts.append(_list(goals))
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.how)}</p>{_table(section)}")
        if section.bar:
            values = [(row.name, float(row.figures[section.bar])) for row in section.rows if section.bar in row.figures]
            parts.append(bars(values, what=section.bar))
        if section.curves:
            parts.append(chart(section.curves, x=section.x, y=section.y, logx=section.logx, logy=section.logy))
    page = folder / REPORT
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def show(section: Section) -> str:
    """The section as text."""
    lines = [f"\n{section.title}", f"  {section.how}"]
    for row in section.rows:
        figures = "  ".join(f"{k} {number(v)}" for k, v in row.figures.items())
        verdict = "" if row.met is None else ("  ok" if row.met else "  MISSED")
        lines.append(f"  {row.name:34} {figures}" + (f"   goal {row.goal}{verdict}" if row.goal else ""))
    return "\n".join(lines)


def _list(goals: Section) -> str:
    """Goals, which are sentences: one beneath the other, with what was measured below each."""
    items = ""
    for row in goals.rows:
        style, word = {None: ("", "not measured"), True: (" class=good", "met"), False: (" class=bad", "missed")}[row.met]
        told = "; ".join(f"{name}: {value}" for name, value in row.figures.items() if value)
        items += f"<li>{html.escape(row.name)}: <b{style}>{word}</b><br><small>{html.escape(told)}</small>"
    return f"<h2>{html.escape(goals.title)}</h2><ul class=goals>{items}</ul>"


def _table(section: Section) -> str:
    names = list(dict.fromkeys(k for row in section.rows for k in row.figures))
    goals = any(row.goal for row in section.rows)
    head = "".join(f"<th>{html.escape(n)}" for n in ["", *names, *(["goal"] if goals else [])])
    body = ""
    for row in section.rows:
        cells = "".join(f"<td>{html.escape(number(row.figures[n])) if n in row.figures else ''}" for n in names)
        style, word = {None: ("", ""), True: (" class=good", ": met"), False: (" class=bad", ": missed")}[row.met]
        body += f"<tr><td>{html.escape(row.name)}{cells}" + (f"<td{style}>{html.escape(row.goal)}{word}" if goals else "")
    return f"<div class=wide><table><tr>{head}{body}</table></div>"
