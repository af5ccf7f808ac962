"""`make bench`: measures, beside peers, on the machine at hand, and writes build/bench/report.html and report.json.

python -m tests.benchmarks            everything
python -m tests.benchmarks --quick    counts, and times over few runs (under three minutes)
python -m tests.benchmarks cold turn  these sections alone
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.published import publish, summary
from tests.benchmarks.report import REPORT, Section, machine, show, write

ROOT = Path(__file__).parents[2]


SECTIONS = ("cold", "ack", "turn", "load", "growth", "flood", "endurance", "faults", "hostile")
LONG = ("flood", "endurance", "faults")
"""Not in a quick run unless they are named."""
PAGE = ROOT / "docs" / "performance.md"

Measure = Callable[[], Section | list[Section]]


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--sessions",
        default="50:40,200:40,1000:120",
        metavar="COUNT:SECONDS,…",
        help="load: conversations at once, and the seconds of thought between their turns (50:40,200:40,1000:120)",
    )
    parser.add_argument("--turns", type=int, default=3, help="load: turns of each (3)")
    parser.add_argument("--passages", default="1000,10000,100000", help="growth: passages of knowledge (1000,10000,100000)")
    parser.add_argument("--rounds", type=int, default=1, help="faults: how often each part fails in each way (1)")
    parser.add_argument(
        "--kills", type=int, default=600, help="faults: how many functions are killed (600); SEED=… plays it again"
    )
    parser.add_argument(
        "--requests", type=int, default=100, help="hostile: hostile requests for each genuine one (100); SEED=… plays them again"
    )
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    return parser


def run(measures: Sequence[Measure], *, command: str, out: Path, page: Path | None) -> list[Section]:
    """Measures one after the other. The report in the folder `out`, and the published `page` if given, are written after each: a
    full run takes two hours, and what one that is cut off has measured stays."""
    sections: list[Section] = []
    for measure in measures:
        load_before = os.getloadavg()[0]
        found = measure()
        fresh = found if isinstance(found, list) else [found]
        where = {**machine(), "load_before": load_before}
        sections += fresh
        sys.stdout.write("".join(show(section) + "\n" for section in fresh))
        sys.stdout.flush()
        if page:
            publish(fresh, page, command=command, machine=where)
        write(sections, out, command=command, where=where, goals=summary(sections))
    return sections


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sections; 1 where a count (not a time) misses its goal."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    quick = args.quick
    if quick and args.publish:
        parser().error("figures of a quick run are too few to be published")

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text:60}")

    def cold() -> Section:
        from tests.benchmarks.cold import measure

        with tempfile.TemporaryDirectory() as scratch:
            return measure(1 if quick else 20, Path(scratch), progress=progress)

    def ack() -> list[Section]:
        from tests.benchmarks.acknowledge import measure

        return measure(300 if quick else 5000, progress=progress)

    def turn() -> Section:
        from tests.benchmarks.turn import measure

        return measure(20 if quick else 300, progress=progress)

    def load() -> Section:
        from tests.benchmarks.load import measure

        sessions = {20: 5.0} if quick else {int(n): float(s) for n, _, s in (x.partition(":") for x in args.sessions.split(","))}
        return measure(sessions, turns=2 if quick else args.turns, progress=progress)

    def flood() -> Section:
        from tests.benchmarks.load import flood as measure

        return measure(200 if quick else 10_000, rate=25, think=5, progress=progress)

    def endurance() -> Section:
        from tests.benchmarks.load import endure

        return endure(20 if quick else 100, minutes=1 if quick else 30, think=10 if quick else 60, progress=progress)

    def growth() -> Section:
        from tests.benchmarks.growth import measure

        passages = (1000,) if quick else tuple(int(n) for n in args.passages.split(","))
        return measure(10 if quick else 50, (10, 100) if quick else (10, 100, 1000), passages, progress=progress)

    def faults() -> list[Section]:
        from tests.benchmarks.faults import measure

        return measure(1 if quick else args.rounds, 20 if quick else args.kills, quick=quick, progress=progress)

    def hostile() -> Section:
        from tests.benchmarks.hostile import measure

        return measure(2 if quick else args.requests, progress=progress)

    known: dict[str, Measure] = {
        "cold": cold,
        "ack": ack,
        "turn": turn,
        "load": load,
        "growth": growth,
        "flood": flood,
        "endurance": endurance,
        "faults": faults,
        "hostile": hostile,
    }
    chosen = args.sections or [n for n in known if n not in LONG or not quick]
    command = " ".join(["python -m tests.benchmarks", *argv])
    sections = run([known[name] for name in chosen], command=command, out=args.out, page=PAGE if args.publish else None)
    report = args.out / REPORT
    sys.stdout.write(f"\nreport: {report.relative_to(ROOT) if report.is_relative_to(ROOT) else report}\n")
    counted = [row for s in sections for row in s.rows if row.goal.startswith("counted") and row.met is False]
    return 1 if counted else 0


if __name__ == "__main__":
    sys.exit(main())
