"""What is installed is locked by hash, names no package index, and is one set of versions everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER, RUN, DEV = (ROOT / p for p in ("layers/dependencies/requirements.txt", "requirements/run.txt", "requirements/dev.txt"))


def locked(path: Path) -> dict[str, set[str]]:
    """Versions of each package in a lock file; more than one where they depend on the Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", path.read_text(), flags=re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def wanted(*extras: str) -> set[str]:
    """Names that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for e in extras for line in project["optional-dependencies"][e])]
    return {re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in lines}


@pytest.mark.parametrize("path", [LAYER, RUN, DEV], ids=lambda p: p.name)
def test_every_package_has_its_hashes_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > 20
    for block in blocks:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_layer_is_part_of_what_runs_locally_and_that_of_what_is_tested() -> None:
    layer, run, dev = locked(LAYER), locked(RUN), locked(DEV)
    assert {n: v for n, v in run.items() if n in layer} == layer
    assert {n: v for n, v in dev.items() if n in run} == run


def test_everything_that_is_asked_for_is_locked() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert wanted() <= set(locked(LAYER)), "say: make lock"
    assert wanted("run") <= set(locked(RUN)), "say: make lock"
    assert wanted(*extras) <= set(locked(DEV)), "say: make lock"
    assert "aws-cdk-lib" not in locked(RUN), "running locally needs no CDK and no Node"
