"""How hard the run is: the suite plays a little of everything, `make test-hard` all of it, many times."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Final

HARD: Final = bool(os.environ.get("HARD"))
"""Whether everything is played: each platform, each cell under load."""

ROUNDS: Final = int(os.environ.get("ROUNDS", "1"))
"""How often each cell of the fault matrix is played."""

KILLS: Final = int(os.environ.get("KILLS", "8"))
"""How many processes are killed at random moments."""

SEED: Final = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""What everything random is drawn from."""


def again() -> str:
    """What a failure's message ends with: the command that plays the same again."""
    if HARD:
        return f"play it again: SEED={SEED} KILLS={KILLS} ROUNDS={ROUNDS} make test-hard"
    return f"play it again: SEED={SEED} make test-hard KILLS={KILLS} ROUNDS={ROUNDS} HARD="


def shared_out(names: Sequence[str], steps: Sequence[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Platform and step of the processes to be killed, and of those that an exception cuts off, which is quicker.

    A hard run kills at every step on every platform, the suite at every step on either of two.
    """
    pairs = [(name, step) for step in steps for name in names]
    killed = [(name, step) for name, step in pairs if HARD or name == ("slack", "wecom")[steps.index(step) % 2]]
    return killed, [pair for pair in pairs if pair not in killed]
