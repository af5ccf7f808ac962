"""Draws the synthesised dashboards with a made-up week, so that they can be looked at without an account.

python -m tests.infra.dashboards        writes docs/images/dashboard-operator.svg and dashboard-owner.svg
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from assistant import observability as metrics
from assistant.observability import Metrics
from tests.infra import roles
from tests.infra.cloudwatch import CloudWatch

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
NOW = 1_800_000_000.0
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c")
WIDTH, HEIGHT = 420, 210
POINTS = {60: 180, 86400: 14}
"""How many points are drawn, by the seconds of one."""

Dashboard = Mapping[str, Any]
"""The body of a dashboard. `Any`: CloudWatch's JSON."""


def bodies(templates: Mapping[str, Mapping[str, Any]]) -> dict[str, Dashboard]:
    """The dashboards in synthesised templates by name, with references in readable words."""
    stack, template = next((n, t) for n, t in templates.items() if n.removesuffix(".template.json").endswith("-observability"))
    resolve = roles.reader(templates, stack)
    found = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            name = resolve(resource["Properties"]["DashboardName"]).rpartition("-")[2]
            found[name] = json.loads(resolve(resource["Properties"]["DashboardBody"]))
    return found


def sample(seconds: int, shown: Sequence[Sequence[Any]]) -> CloudWatch:
    """What a company's assistant writes: people come in the morning, and fewer at the weekend. Made up, always the same."""
    cloud = CloudWatch()
    chance = random.Random(7)
    for number in range(POINTS[seconds]):
        at = NOW - seconds * (number + 0.5)
        busy = 1.2 + math.sin(number / 25) if seconds == 60 else (0.15 if number % 7 in {0, 1} else 1) * (2000 - 60 * number)
        turns = max(0.0, 40 * busy * chance.uniform(0.8, 1.2))
        given = {
            metrics.ACCEPTED: turns * 1.02, metrics.TURNS: turns, metrics.WITHOUT_MODEL: turns * chance.uniform(0.4, 0.5),
            metrics.LIKED: turns * 0.09, metrics.DISLIKED: turns * 0.012, metrics.NOT_UNDERSTOOD: turns * 0.03,
            metrics.PROMPT_TOKENS: turns * 2400, metrics.CACHED_TOKENS: turns * 1700, metrics.COMPLETION_TOKENS: turns * 210,
            metrics.MODEL_COST: turns * 0.0004, metrics.ACK_TIME: chance.lognormvariate(3.4, 0.3),
            metrics.FIRST_REPLY: chance.lognormvariate(7.7, 0.2), metrics.FIRST_TOKEN: chance.lognormvariate(6.4, 0.25),
            metrics.TURN_FAILED: float(chance.random() < 0.02), metrics.TURN_RESUMED: float(chance.random() < 0.04),
            metrics.DUPLICATES: float(chance.random() < 0.1), metrics.MODEL_ERRORS: float(chance.random() < 0.02),
            metrics.MODEL_FAILOVERS: float(chance.random() < 0.05), metrics.SEND_ERRORS: float(chance.random() < 0.03),
            metrics.BUDGET_REACHED: float(chance.random() < 0.3), metrics.REFRESH_FAILED: float(chance.random() < 0.01),
        }  # fmt: skip
        for service in ("webhook", "dialogue", "oauth"):
            line = io.StringIO()
            Metrics(service=service, stream=line).emit(*given.items(), platform="slack")
            cloud.read_log(line.getvalue(), at=at)
        aws = {"ConcurrentExecutions": turns / 20, "ApproximateAgeOfOldestMessage": chance.uniform(0, 4)}
        aws |= {
            "ApproximateNumberOfMessagesVisible": 0.0,
            "DeliveryToAmazonOpenSearchService.DataFreshness": 70 + 20 * chance.random(),
        }
        for namespace, metric, *flat, _ in shown:
            if metric in aws:
                cloud.put(namespace, metric, aws[metric], at=at, **dict(zip(flat[::2], flat[1::2], strict=True)))
    return cloud


def draw(name: str, body: Dashboard) -> str:
    """The dashboard as SVG. Raises ValueError where a widget shows nothing of a company that uses the assistant."""
    widgets = body["widgets"]
    columns = 3
    rows = math.ceil(len(widgets) / columns)
    parts = [f'<text x="16" y="26" font-size="17">Dashboard {escape(name)}, with made-up figures</text>']
    for number, widget in enumerate(widgets):
        x, y = 16 + number % columns * (WIDTH + 16), 44 + number // columns * (HEIGHT + 16)
        parts.append(f'<g transform="translate({x},{y})">{_widget(widget)}</g>')
    wide, high = 16 + columns * (WIDTH + 16), 52 + rows * (HEIGHT + 16)
    style = 'font-family="sans-serif" style="background:#f4f5f7"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" {style}>{"".join(parts)}</svg>\n'


def _widget(widget: Mapping[str, Any]) -> str:
    shown = widget["properties"]
    seconds = shown["period"]
    cloud = sample(seconds, shown["metrics"])
    lines: list[tuple[str, list[float]]] = []
    for namespace, metric, *flat, style in shown["metrics"]:
        dimensions = frozenset(zip(flat[::2], flat[1::2], strict=True))
        starts = [NOW - seconds * (n + 1) for n in range(POINTS[seconds])][::-1]
        found = [cloud.statistic(namespace, metric, dimensions, style["stat"], start=s, seconds=seconds) for s in starts]
        if all(v is None for v in found):
            raise ValueError(f"{shown['title']}: nothing writes {namespace} {metric} {sorted(dimensions)}")
        lines.append((style["label"], [v or 0.0 for v in found]))
    top = max(max(values) for _, values in lines) or 1.0
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="white" stroke="#d5dbe1"/>',
        f'<text x="12" y="22" font-size="13" font-weight="bold">{escape(shown["title"])}</text>',
        f'<text x="12" y="42" font-size="10" fill="#666">{_short(top)}</text>',
        '<text x="12" y="170" font-size="10" fill="#666">0</text>',
        f'<line x1="48" y1="166" x2="{WIDTH - 12}" y2="166" stroke="#ccc"/>',
    ]
    for number, (label, values) in enumerate(lines):
        step = (WIDTH - 60) / max(1, len(values) - 1)
        path = " ".join(f"{48 + n * step:.1f},{166 - 126 * v / top:.1f}" for n, v in enumerate(values))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.6"/>')
        at = 12 + number * (WIDTH - 20) // len(lines)
        parts.append(f'<rect x="{at}" y="184" width="9" height="9" fill="{COLOURS[number]}"/>')
        parts.append(f'<text x="{at + 13}" y="193" font-size="10">{escape(label)}</text>')
    return "".join(parts)


def _short(value: float) -> str:
    return f"{value / 1e6:,.0f} M" if value >= 1e7 else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Writes the pictures."""
    from infra import bundle as bundles
    from infra import node

    node.choose(os.environ)
    import app as application  # starts the bridge to Node
    from tests.infra.conftest import CONTEXTS

    with tempfile.TemporaryDirectory() as folder:
        app = application.application(outdir=folder, context=CONTEXTS["enterprise"])
        application.compose(app, application.described(app, configurations=None), bundles.build(source=bundles.ROOT))
        app.synth()
        templates = {p.name: json.loads(p.read_text()) for p in Path(folder).glob("*.template.json")}
    for name, body in bodies(templates).items():
        path = IMAGES / f"dashboard-{name}.svg"
        path.write_text(draw(name, body))
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
