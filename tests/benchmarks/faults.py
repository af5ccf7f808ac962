"""Faults: each part fails in each way while everybody writes, functions are killed at random moments, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from assistant.dev.emulator import Emulator
from assistant.queue import QUEUE
from tests.benchmarks.report import Row, Section
from tests.support.crashing import Crasher
from tests.support.faults import CANNOT, CELLS, COMPONENTS, FAULTS, Component, Kind
from tests.support.hard import SEED
from tests.support.storm import HIDDEN_SECONDS, Outcome, at_once, killed, share_of
from tests.support.town import NAMES

GROUP = 50


def measure(rounds: int, kills: int, *, quick: bool, progress: Callable[[str], None]) -> list[Section]:
    """What recovery took for each component, and the matrix; `quick`: what is gone and comes back alone."""
    cells = [(c, k) for c, k in CELLS if k == "gone"] if quick else CELLS
    played: dict[tuple[Component, Kind], list[Outcome]] = {cell: [] for cell in cells}
    logging.getLogger("assistant").setLevel(logging.CRITICAL)  # what fails here is meant to
    aws = Emulator()
    aws.start()
    crasher = Crasher(aws.environment())
    try:
        for number in range(rounds):
            for component, kind in cells:
                progress(f"{component} {kind}, round {number + 1} of {rounds}")
                aws.clear()
                seed = f"{SEED} {component} {kind} {number} at once"
                played[component, kind].append(at_once(aws, component, kind, seed=seed, stretch=(0.5, 1.0 if quick else 2.5)))
        groups = []
        for start in range(0, kills, GROUP):
            progress(f"killed {start} of {kills}")
            aws.clear()
            seed = f"{SEED} kills {start // GROUP}"
            groups.append(killed(aws, crasher, seed=seed, kills=min(GROUP, kills - start)))
    finally:
        crasher.close()
        aws.stop()
    rows = [
        _row(component, [o for (c, _), done in played.items() if c == component for o in done])
        for component in COMPONENTS
        if any(c == component for c, _ in played)
    ]
    rows.append(_row("functions, killed", groups))
    how = (
        f"two people on each of {len(NAMES)} platforms write while a component fails for up to {1.0 if quick else 2.5} s and "
        "three functions answer, in real time; then two functions are killed by SIGKILL at random moments, and started anew, "
        "while the same people write, leave forms open and are put through to a support chat. Recovery is from the component's "
        "return, or from the kill, until each reply that was held up is seen; drained is until nothing was left of what had "
        f"been accepted. The queue hides what a killed function held for {HIDDEN_SECONDS} s here, as deployed for "
        f"{QUEUE.visibility} s: add the difference. Given up are messages that failed three times: they stood in the dead "
        "letters with a reason, and were answered after an operator put them back. Noted, not sent: on DingTalk and Teams, "
        f"which know no repeat, a reply whose process died as it left is held to be seen. SEED={SEED}"
    )
    return [Section(title="Faults", how=how, rows=rows), _matrix(played)]


def _row(name: str, outcomes: Sequence[Outcome]) -> Row:
    recovery = [seconds for o in outcomes for seconds in o.recovery]
    drained = [seconds for o in outcomes for seconds in o.drained]
    figures: dict[str, float | str] = {
        "faults": float(sum(o.failed + o.repeated for o in outcomes)),
        "accepted": float(sum(o.accepted for o in outcomes)),
        "answered": float(sum(o.answered for o in outcomes)),
        "given up": float(sum(o.given_up for o in outcomes)),
        "lost": float(sum(len(o.lost) for o in outcomes)),
        "noted, not sent": float(sum(len(o.held) for o in outcomes)),
        "said twice": float(sum(len(o.twice) for o in outcomes)),
        "out of order": float(sum(len(o.disordered) for o in outcomes)),
    }
    for what, values in (("recovery", recovery), ("drained", drained)):
        figures |= {f"{what} p50 s": share_of(values, 0.5), f"{what} p99 s": share_of(values, 0.99)}
        figures[f"{what} max s"] = max(values, default=0.0)
    if broken := [o.broken for o in outcomes if o.broken]:
        figures["what"] = "; ".join(broken)[:500]
    return Row(name=name, figures=figures, goal="counted: 0 lost, 0 said twice, 0 out of order", met=not broken)


def _matrix(played: dict[tuple[Component, Kind], list[Outcome]]) -> Section:
    rows = []
    for component in COMPONENTS:
        figures: dict[str, float | str] = {}
        for kind in FAULTS:
            done = played.get((component, kind))
            if reason := CANNOT.get((component, kind)):
                figures[kind] = f"— {reason}"
            elif done:
                figures[kind] = f"{sum(o.answered for o in done)} of {sum(o.accepted for o in done)}"
            else:
                figures[kind] = "not in this run"
        rows.append(Row(name=component, figures=figures))
    kinds = "; ".join(f"{kind}: {meaning}" for kind, meaning in FAULTS.items())
    how = f"answered of accepted in each cell, or why there cannot be one ({kinds})"
    return Section(title="Fault matrix", how=how, rows=rows)
