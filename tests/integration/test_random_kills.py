"""Two dialogue functions side by side, killed (SIGKILL) at random moments; afterwards each question has one answer, in order.

`KILLS=n` kills n times, `KILL_SEED=n` plays one seed's moments again.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from contextlib import ExitStack

from assistant.dev.emulator import Emulator
from tests.integration.test_faults import Echo, answers
from tests.support.desks import DESKS
from tests.support.house import House, client

KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
NAMES = ("feishu", "slack", "webchat")
POLL_SECONDS = 1.0
"""Longest poll of the queue in `tests/support/dying.py`."""


def start(house: House, aws: Emulator, dice: random.Random) -> subprocess.Popen[str]:
    told = {
        "settings": house.settings.to_env(),
        "secrets": house.secrets,
        "seconds": dice.choice([0.0, 0.1, 0.3]),
        "patience": dice.choice([0.0, 60.0]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.dying", json.dumps(told)],
        env={**os.environ, **aws.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def waiting(house: House) -> int:
    """Messages in the queue, those held by somebody included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client(house.aws, "sqs").get_queue_attributes(QueueUrl=house.settings.turns_queue_url, AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


def test_processes_killed_at_any_moment_lose_nothing_and_say_nothing_twice(aws: Emulator) -> None:
    dice = random.Random(SEED)
    sqs = client(aws, "sqs")
    with ExitStack() as stack:
        desks = {name: stack.enter_context(DESKS[name]()) for name in NAMES}
        secrets = {k: dict(v) for desk in desks.values() for k, v in desk.secrets.items()}
        house = House(aws, secrets=secrets, model=Echo(dice))
        # what a killed function held comes back at once, rather than in three minutes
        sqs.set_queue_attributes(QueueUrl=house.settings.turns_queue_url, Attributes={"VisibilityTimeout": "2"})
        count, killed = 0, 0
        running = [start(house, aws, dice) for _ in range(2)]
        try:
            while killed < KILLS:
                for name in NAMES:
                    desks[name].ask(house, f"Question {count}", message=f"m{count}")
                count += 1
                victim = dice.randrange(2)
                if ready := running[victim].stdout:
                    ready.readline()  # it works from now on
                time.sleep(dice.uniform(0.0, 0.6))  # the random moment
                running[victim].kill()
                running[victim].communicate()
                killed += 1
                running[victim] = start(house, aws, dice)
        finally:
            for process in running:
                process.kill()
                process.communicate()
        time.sleep(POLL_SECONDS + 0.5)  # a dead function's last poll may still take a message, for as long as the queue hides it
        sqs.set_queue_attributes(QueueUrl=house.settings.turns_queue_url, Attributes={"VisibilityTimeout": "180"})
        began = time.monotonic()
        until = began + 60 + KILLS
        while waiting(house) and time.monotonic() < until:  # what failed comes again after seconds, and holds up its conversation
            records = house.batch()
            if records:
                house.run(records)
            time.sleep(0 if records else 0.1)
        recovered = time.monotonic() - began
        letters = house.dead_letters()
        parked = [re.search(r"Question (\d+)", letter["Body"]) for letter in letters]
        for name, desk in desks.items():
            seen = answers(desk.seen(house))
            told = f"KILL_SEED={SEED}: {name} shows {seen}; {len(letters)} dead letters"
            assert len(seen) == len(set(seen)), f"said twice; {told}"
            lost = set(range(count)) - set(seen) - {int(p[1]) for p in parked if p}
            assert not lost, f"lost {lost}; {told}"
            assert seen == sorted(seen), f"out of order; {told}"
        print(f"KILL_SEED={SEED}: {killed} kills, {3 * count} questions, {len(letters)} given up")
        print(f"all was answered {recovered:.1f} s after the last kill")
