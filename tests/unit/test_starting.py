"""How a function's process starts: what a copy that is kept at hand has made by then, and what a snapshot may hold."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from assistant.errors import Unavailable
from assistant.starting import KIND, ahead, unswept

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["on-demand", "provisioned-concurrency"])
def test_what_the_first_event_needs_is_made_while_lambda_starts(kind: str) -> None:
    made: list[str] = []
    ahead({KIND: kind}, lambda: made.append("parts"))
    assert made == ["parts"]


def test_nothing_is_made_on_a_laptop() -> None:
    made: list[str] = []
    ahead({}, lambda: made.append("parts"))
    assert made == []


def test_what_fails_at_the_start_is_left_to_the_first_event() -> None:
    def fails() -> None:
        raise Unavailable("the table does not answer")

    ahead({KIND: "on-demand"}, fails)


def test_garbage_is_not_looked_for_while_a_process_starts_and_is_afterwards() -> None:
    assert gc.isenabled()
    seen: list[bool] = []
    with suppress(Unavailable), unswept():
        seen.append(gc.isenabled())
        raise Unavailable("the table does not answer")
    assert seen == [False]
    assert gc.isenabled()
    gc.unfreeze()  # for the tests that follow


LOOK = """
import json, sys
import functions.webhook as function
print(json.dumps({"made": function.assistant.cache_info().currsize, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize(("kind", "made"), [("snap-start", 0), ("on-demand", 1)])
def test_the_webhooks_snapshot_holds_modules_and_no_client(kind: str, made: int) -> None:
    env = {**os.environ, KIND: kind, "REGION": "eu-central-1", "TURNS_QUEUE_URL": "http://127.0.0.1:9/1/turns.fifo"}
    env |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    found = json.loads(ran.stdout)
    assert found["made"] == made
    assert "botocore.session" in found["modules"]
    platforms = [m for m in found["modules"] if m in {"assistant.platforms.slack", "assistant.platforms.feishu"}]
    assert len(platforms) == (2 if kind == "snap-start" else 0)
