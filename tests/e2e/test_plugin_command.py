"""`assistant plugin`: what it writes passes its own tests, and what is wrong is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import command


def test_a_new_plugin_passes_its_tests_and_the_check(tmp_path: Path) -> None:
    made = command("plugin", "new", "canteen_menu", "--folder", str(tmp_path), "--tests", str(tmp_path))
    assert made.returncode == 0, made.stderr
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), "--rootdir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stdout
    assert "4 passed" in ran.stdout
    assert command("plugin", "check", str(tmp_path / "canteen_menu.py")).returncode == 0
    assert command("plugin", "new", "canteen_menu", "--folder", str(tmp_path)).returncode == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("x = 1", "0 plug-ins"),
        ("from assistant import BotPlugin\nclass A(BotPlugin):\n    name = 'a'\n    api = '^9.0'", "^9.0"),
        ("from assistant import BotPlugin\nclass A(BotPlugin):\n    name = 'A b'", "lower-case"),
        (
            "from assistant import BotPlugin\nclass A(BotPlugin):\n    name = 'a'\n"
            "    def handle_message(self, a, b, c): return None",
            "3 arguments",
        ),
        (
            "from assistant import BotPlugin\nclass A(BotPlugin):\n    name = 'a'\n"
            "    def handle_message(self, ctx, m):\n        raise ValueError",
            "ValueError",
        ),
    ],
)
def test_a_plugin_that_breaks_the_contract_is_named(tmp_path: Path, source: str, reason: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(source)
    ran = command("plugin", "check", str(file), "--json")
    assert ran.returncode == 1, ran.stdout
    assert reason in json.loads(ran.stdout)["faults"][0]


def test_what_is_installed_is_ready() -> None:
    ran = command("plugin", "list", "--json")
    assert ran.returncode == 0
    assert {"help"} <= {p["name"] for p in json.loads(ran.stdout)["plugins"]}
