"""Functions side by side are killed (SIGKILL) at random moments; afterwards each word has been answered, once and in order.

`KILLS=n` kills n times, in groups; `SEED=n` plays one seed's moments again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from assistant.dev.emulator import Emulator
from tests.support import hard
from tests.support.crashing import Crasher
from tests.support.hard import HARD, KILLS, SEED
from tests.support.storm import killed, told
from tests.support.town import NAMES

GROUP = 50
"""Kills in a row; then all must be answered, and others begin anew: a run of any length stays small, and tells soon."""


@pytest.mark.parametrize("group", range(-(-KILLS // GROUP)))
def test_processes_killed_at_any_moment_lose_nothing_and_say_nothing_twice(
    aws: Emulator, crasher: Crasher, group: int, show: Callable[[str], None]
) -> None:
    seed = f"{SEED} kills {group}"
    names = NAMES if HARD else ("webchat", *random.Random(seed).sample([n for n in NAMES if n != "webchat"], 2))
    kills = min(GROUP, KILLS - group * GROUP)
    done = killed(aws, crasher, seed=seed, kills=kills, names=names, people=2 if HARD else 1)
    show(f"SEED={SEED} {group:3}: {kills} kills, {told(done)}")
    assert not done.broken, f"{done.broken}; {hard.again()}"
