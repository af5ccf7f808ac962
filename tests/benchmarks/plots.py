"""Line charts and bars for a page: inline, with nothing to fetch, readable in light and dark and on a telephone's width."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEIGHT: Final = 220
"""CSS pixels between a chart's axes; its width is what the page has."""
COLOURS: Final = 5
"""Colours defined in STYLE that nobody mixes up; the sixth curve takes the first one again, dashed."""
DASHES: Final = ("", ' stroke-dasharray="8 4"', ' stroke-dasharray="2 3"')

STYLE: Final = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1c1e21;--faint:#5c6370;--line:#d9dce1;--good:#176f3d;--bad:#b00020;
--c0:#1f6fb4;--c1:#c2410c;--c2:#15803d;--c3:#9333a8;--c4:#4b5563}
@media(prefers-color-scheme:dark){:root{--ground:#15171a;--ink:#e6e8eb;--faint:#a3a9b3;--line:#363b43;--good:#5fd08d;--bad:#ff8a8a;
--c0:#6cb2f0;--c1:#fb9361;--c2:#62cd88;--c3:#d896ea;--c4:#b6bdc8}}
figure{margin:1.2em 0}figcaption{color:var(--faint);font-size:13px}
.plot{display:block;margin:0 20px 0 52px;width:calc(100% - 72px);font:12px system-ui;overflow:visible}
.plot text{fill:var(--faint)}.plot .grid{stroke:var(--line)}.plot .axis{stroke:var(--faint)}
.plot svg{overflow:visible}.plot polyline{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.legend{display:flex;flex-wrap:wrap;gap:.2em 1.2em;margin:.4em 0 0;padding:0;list-style:none;font-size:13px}
.legend svg{width:26px;height:10px;margin-right:.4em}.legend line{stroke-width:3}
.bars{display:grid;grid-template-columns:minmax(6em,max-content) minmax(4em,1fr) max-content;gap:4px .8em;font-size:13px;
align-items:center}.bars i{display:block;height:16px;background:var(--c0);border-radius:2px;min-width:1px}
"""
"""Shared by all charts of a page; colours that keep a contrast of 4.5 on either ground."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart: points in order of x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where a value lies between the ends of an axis, and which values are written beside it."""

    least: float
    most: float
    log: bool
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], *, log: bool, steps: int) -> Axis:
        """An axis that holds all values; from zero where it is not logarithmic. Logarithmic only where all are above zero."""
        log = log and min(values) > 0
        if log:
            return cls._logarithmic(values, steps)
        least, most = min(0.0, *values), max(*values, 0.0)
        step = _round_step((most - least) / steps or 1.0)
        low, high = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
        ticks = tuple(n * step for n in range(low, max(high, low + 1) + 1))
        return cls(least=ticks[0], most=ticks[-1], log=False, ticks=ticks)

    @classmethod
    def _logarithmic(cls, values: Sequence[float], steps: int) -> Axis:
        low, high = math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)
        if low == high:
            low, high = low - 1, high + 1
        if max(values) / min(values) <= 150:  # few decades: name what lies within them, and end at the next of these
            fine = [m * 10.0**n for n in range(low, high + 1) for m in (1, 2, 5)]
            first = max(k for k, tick in enumerate(fine) if tick <= min(values) * (1 + 1e-9))
            last = min(k for k, tick in enumerate(fine) if tick >= max(values) * (1 - 1e-9))
            ticks = tuple(fine[first : last + 1]) if last > first else (fine[first], fine[first + 1])
        else:
            every = math.ceil((high - low) / steps)
            ticks = tuple(10.0**n for n in range(low, high + every, every))
        return cls(least=ticks[0], most=ticks[-1], log=True, ticks=ticks)

    def place(self, value: float) -> float:
        """0 at the axis's beginning, 1 at its end."""
        if self.log:
            return math.log(value / self.least) / math.log(self.most / self.least)
        return (value - self.least) / (self.most - self.least)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


def number(value: float | str) -> str:
    """A figure as people read it: three digits, thousands with commas."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def chart(curves: Sequence[Curve], *, x: str, y: str, logx: bool = False, logy: bool = False) -> str:
    """A line chart as a `<figure>`; `x` and `y` name the axes with their units."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return ""
    across = Axis.over([px for px, _ in points], log=logx, steps=5)
    up = Axis.over([py for _, py in points], log=logy, steps=5)
    label = html.escape(f"{y} over {x}: {', '.join(curve.name for curve in curves)}")
    parts = [f'<svg class="plot" height="{HEIGHT + 66}" role="img" aria-label="{label}">']
    parts.append(f'<text x="-52" y="12">{html.escape(y)}</text><svg y="24" width="100%" height="{HEIGHT}">')
    for tick in up.ticks:
        at = HEIGHT * (1 - up.place(tick))
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="-6" y="{at + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in across.ticks:
        at = across.place(tick) * 100
        parts.append(f'<line class="axis" x1="{at:.2f}%" x2="{at:.2f}%" y1="{HEIGHT}" y2="{HEIGHT + 5}"/>')
        parts.append(f'<text x="{at:.2f}%" y="{HEIGHT + 18}" text-anchor="middle">{number(tick)}</text>')
    parts.append(f'<line class="axis" x1="0" x2="100%" y1="{HEIGHT}" y2="{HEIGHT}"/>')
    parts.append(f'<line class="axis" x1="0" x2="0" y1="0" y2="{HEIGHT}"/>')
    for n, curve in enumerate(curves):
        placed = [(across.place(px), HEIGHT * (1 - up.place(py)), px, py) for px, py in curve.points]
        line = " ".join(f"{left * 1000:.1f},{top:.1f}" for left, top, _, _ in placed)
        colour, dashes = _look(n)
        parts.append(
            f'<svg width="100%" height="{HEIGHT}" viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none">'
            f'<polyline points="{line}" style="stroke:var(--{colour})"{dashes}/></svg>'
        )
        for left, top, px, py in placed if len(placed) <= 40 else []:
            said = html.escape(f"{curve.name}: {number(py)} at {number(px)}")
            spot = f'cx="{left * 100:.2f}%" cy="{top:.1f}" r="3.5" style="fill:var(--{colour})"'
            parts.append(f"<circle {spot}><title>{said}</title></circle>")
    parts.append(f'</svg><text x="50%" y="{HEIGHT + 62}" text-anchor="middle">{html.escape(x)}</text></svg>')
    return f"<figure>{''.join(parts)}{_legend(curves)}</figure>"


def _look(n: int) -> tuple[str, str]:
    return f"c{n % COLOURS}", DASHES[n // COLOURS % len(DASHES)]


def _legend(curves: Sequence[Curve]) -> str:
    items = ""
    for n, curve in enumerate(curves):
        colour, dashes = _look(n)
        items += (
            f'<li><svg aria-hidden="true"><line x1="0" x2="26" y1="5" y2="5" style="stroke:var(--{colour})"{dashes}/></svg>'
            f"{html.escape(curve.name)}"
        )
    return f'<ul class="legend">{items}</ul>'


def bars(values: Sequence[tuple[str, float]], *, what: str) -> str:
    """A bar for each value beside its name and figure, the greatest across the whole width."""
    most = max((value for _, value in values), default=0.0) or 1.0
    rows = "".join(
        f'<span>{html.escape(name)}</span><span><i style="width:{value / most * 100:.2f}%"></i></span>'
        f"<span>{number(value)}</span>"
        for name, value in values
    )
    return f'<figure><figcaption>{html.escape(what)}</figcaption><div class="bars">{rows}</div></figure>'
