"""The runbook has a way out for every alarm, and names only commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assistant.dev import cli
from infra.alarms import watches
from infra.deployment import Deployment, context_names

DOCS = Path(__file__).resolve().parents[2] / "docs"
EVERYTHING = Deployment.of({"profile": "enterprise"}, env={})
RUNBOOK = (DOCS / "operations.md").read_text()


def sections() -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alarm_says_what_it_means_where_to_look_and_what_to_do() -> None:
    found = sections()
    for watch in watches(EVERYTHING):
        text = found[watch.name]
        assert "**Means**" in text
        assert re.search(r"\*\*[Ll]ook\*\*", text), watch.name
        assert re.search(r"\*\*[Dd]o\*\*", text), watch.name


def test_the_runbook_has_no_section_for_an_alarm_that_is_gone() -> None:
    alarms = RUNBOOK.split("# Alarms")[1].split("# Steps")[0]
    assert re.findall(r"^## (.+)$", alarms, flags=re.MULTILINE) == [w.name for w in watches(EVERYTHING)]


@pytest.mark.parametrize("page", ["operations.md", "deploy.md", "scaling.md"])
def test_pages_name_only_commands_and_fields_that_exist(page: str) -> None:
    text = (DOCS / page).read_text()
    assert set(re.findall(r"`assistant ([a-z]+)", text)) <= set(cli.COMMANDS)
    for module in re.findall(r"python -m (infra|tests\.infra)\.(\w+)", text):
        assert Path(DOCS.parent, *module[0].split("."), f"{module[1]}.py").is_file()
    for name in re.findall(r"-c ([a-z_]+)=", text):
        assert name in context_names()
