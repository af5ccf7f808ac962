"""Bundles and synthesised stacks, made once for all tests of the infrastructure."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import bundle as bundles
from infra import node

node.choose(os.environ)

import app  # noqa: E402  # the bridge to Node starts with this import

CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "basic": {"profile": "basic", "stage": "dev"},
    "enterprise": {"profile": "enterprise", "stage": "production", "alarm_email": "oncall@example.com"},
}


@dataclass(frozen=True)
class Assembly:
    """The synthesised stacks of one profile."""

    folder: Path

    def templates(self) -> dict[str, dict[str, Any]]:
        """Each stack's template by its name."""
        return {
            p.name.removesuffix(".template.json"): json.loads(p.read_text()) for p in sorted(self.folder.glob("*.template.json"))
        }

    def template(self, name: str) -> dict[str, Any]:
        """The template of the stack whose name ends with `name`."""
        return next(t for n, t in self.templates().items() if n.endswith(f"-{name}"))

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """Properties of every resource of CloudFormation's type `kind`."""
        found = [r for t in self.templates().values() for r in t["Resources"].values()]
        return [r.get("Properties", {}) for r in found if r["Type"] == kind]


@pytest.fixture(scope="session")
def bundle() -> bundles.Bundle:
    """What Lambda gets."""
    return bundles.build(source=bundles.ROOT)


@pytest.fixture(scope="session")
def third_party() -> list[Path]:
    """The third-party layers for this machine, from the same lock file: those that are deployed hold another processor's code."""
    made = bundles.Bundle(root=bundles.ROOT / "build" / "host", compiled=False)
    with bundles.alone(made.root):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        bundles.third_party(made, source=bundles.ROOT, machine="host", python=version)
    return [made.layer(name) / "python" for name in ("dependencies", "boto3")]


@pytest.fixture(scope="session")
def assembly(bundle: bundles.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Assembly]:
    """The stacks of a profile, synthesised on first use, without any AWS credentials."""
    known: dict[str, Assembly] = {}

    def synthesise(profile: str) -> Assembly:
        if profile not in known:
            folder = tmp_path_factory.mktemp(profile)
            made = app.application(outdir=str(folder), context=CONTEXTS[profile])
            app.compose(made, app.described(made, configurations=None), bundle)
            made.synth()
            known[profile] = Assembly(folder)
        return known[profile]

    return synthesise
