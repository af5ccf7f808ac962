"""The bundles that Lambda gets, built without Docker: `python -m infra.bundle` builds them and prints their sizes.

| folder | holds |
|---|---|
| `layers/dependencies` | locked third-party packages, wheels for the functions' processor and Python |
| `layers/boto3` | the AWS SDK, with the descriptions of the services we call and no others |
| `layers/shared`, `layers/plugins` | our own packages |
| `functions/{name}` | one file |

Byte code is shipped where this machine has an interpreter of the functions' version; it saves the compiling at a cold start.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = "3.13"
"""The functions' Python."""
MACHINE: Final = "aarch64-manylinux_2_28"
"""The functions' processor and C library (Amazon Linux 2023 has glibc 2.34)."""
FUNCTIONS: Final = ("webhook", "dialogue", "api", "oauth", "ingest", "init")
APART: Final = ("plugin",)
"""The file that each isolated plug-in's function is made of."""
LOG_FUNCTIONS: Final = ("logs", "search")
"""Those of the pipeline of logs, where there is one."""
SERVICES: Final = (
    "bedrock-runtime", "cloudwatch", "dynamodb", "firehose", "kms", "lambda", "s3", "sagemaker", "sagemaker-runtime",
    "secretsmanager", "s3vectors", "sqs", "ssm", "sts",
)  # fmt: skip
"""AWS services that code in the layers may call; the SDK's descriptions of all others are left out of the layer."""
COMMON_LIMIT: Final = 45 * 1024 * 1024
"""Bytes that `dependencies`, `shared` and `plugins` may have together, unzipped."""
FUNCTION_LIMIT: Final = 1024 * 1024

_SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "python_dateutil", "six", "urllib3")
_SDK_FILES = frozenset({"endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"})


_NEVER_RUNS: Final = (
    "aws_lambda_powertools/event_handler",  # routes are FastAPI's, and events become our own types on the line that gets them
    "aws_lambda_powertools/utilities/auth_alpha",  # of its utilities, type checkers read the types of a handler's arguments
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_classes",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "cffi",  # cryptography needs its compiled part alone
    "pycparser",  # reads C for cffi when a package is built
)


class BundleError(Exception):
    """The bundles cannot be built; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Where the built bundles lie, and for what they were built."""

    root: Path
    compiled: bool
    """Whether byte code for the functions' Python is inside."""

    def layer(self, name: str) -> Path:
        """The folder that becomes `/opt` in a function."""
        return self.root / "layers" / name

    def function(self, name: str) -> Path:
        """The folder that becomes `/var/task`."""
        return self.root / "functions" / name

    @property
    def layers(self) -> Sequence[str]:
        """Names of the layers, in the order in which a function gets them."""
        return ("dependencies", "boto3", "shared", "plugins")

    def sizes(self) -> dict[str, int]:
        """Bytes of each layer and function, unzipped."""
        folders = [*(self.layer(n) for n in self.layers), *(self.function(n) for n in (*FUNCTIONS, *APART, *LOG_FUNCTIONS))]
        return {f"{f.parent.name}/{f.name}": _size(f) for f in folders if f.is_dir()}


def build(root: Path = ROOT / "build" / "bundle", *, source: Path = ROOT, machine: str = MACHINE, python: str = PYTHON) -> Bundle:
    """The bundles for `machine` and `python`, built where something changed since the last time."""
    interpreter = _interpreter(python)
    tag = _tag(machine, python, interpreter)
    bundle = Bundle(root=root, compiled=interpreter is not None)
    with alone(root):
        _build(bundle, source, machine, python, interpreter, tag)
    return bundle


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other process of this machine builds in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(bundle: Bundle, source: Path, machine: str, python: str, interpreter: str | None, tag: str) -> None:
    root = bundle.root
    third_party(bundle, source=source, machine=machine, python=python, interpreter=interpreter)
    for name in ("shared", "plugins"):
        files = sorted(p for p in (source / "layers" / name).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        pages = _pages(source) if name == "shared" else []
        mark = f"{tag}|{_digest([*files, *pages])}"
        if _changed(root / f"{name}.stamp", mark):
            _copy(source / "layers" / name / "python", bundle.layer(name) / "python")
            for page in pages:  # the guides are the knowledge that every installation starts with
                target = bundle.layer(name) / "python" / "assistant" / "knowledge" / "pages" / page.relative_to(source / "docs")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(page, target)
            _compile(bundle.layer(name), "/opt", interpreter)
            _stamp(root / f"{name}.stamp", mark)
    for name in (*FUNCTIONS, *APART, *LOG_FUNCTIONS):
        file = source / "functions" / f"{name}.py"
        if not file.is_file():
            raise BundleError(f"{file} is missing; every function in {', '.join(FUNCTIONS)} needs its file")
        target = bundle.function(name)
        if _changed(root / f"function-{name}.stamp", mark := f"{tag}|{_digest([file])}"):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            shutil.copyfile(file, target / file.name)
            _compile(target, "/var/task", interpreter)
            _stamp(root / f"function-{name}.stamp", mark)


def third_party(
    bundle: Bundle, *, source: Path = ROOT, machine: str = MACHINE, python: str = PYTHON, interpreter: str | None = None
) -> None:
    """Builds the layers `dependencies` and `boto3` from the lock file; `machine` "host" is the one this runs on."""
    requirements = source / "layers" / "dependencies" / "requirements.txt"
    mark = f"{_tag(machine, python, interpreter)}|{_digest([requirements])}"
    if not _changed(bundle.root / "dependencies.stamp", mark):
        return
    _install(bundle, requirements, machine, python)
    for name in ("dependencies", "boto3"):
        _compile(bundle.layer(name), "/opt", interpreter)
    _stamp(bundle.root / "dependencies.stamp", mark)


def _tag(machine: str, python: str, interpreter: str | None) -> str:
    return f"{machine}|{python}|{bool(interpreter)}|{_digest([Path(__file__)])}"


def _install(bundle: Bundle, requirements: Path, machine: str, python: str) -> None:
    everything = bundle.layer("dependencies") / "python"
    sdk = bundle.layer("boto3") / "python"
    for folder in (everything, sdk):
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
    if (uv := _uv()) is None:
        raise BundleError("uv is not installed; run `make setup`, or `pip install uv`")
    command = [uv, "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"]
    command += ["--python-version", python, "--target", str(everything), "--requirement", str(requirements)]
    command += ["--python-platform", machine] if machine != "host" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        raise BundleError(
            f"the third-party layer could not be built for {machine}, Python {python}:\n{done.stderr.strip()[-2000:]}"
        )
    for path in sorted(everything.iterdir()):
        if path.name.split("-")[0].removesuffix(".py") in _SDK:
            shutil.move(path, sdk / path.name)
    for folder in (everything, sdk):
        _trim(folder)


def _trim(folder: Path) -> None:
    """Removes what never runs: test suites, type stubs, scripts, descriptions of AWS services that we do not call."""
    for data in (folder / "botocore" / "data", folder / "boto3" / "data"):
        for path in data.iterdir() if data.is_dir() else ():
            if path.is_dir() and path.name not in SERVICES:
                shutil.rmtree(path)
            elif path.is_file() and path.name not in _SDK_FILES:
                path.unlink()
    _shorten(folder / "botocore" / "data")
    for name in ("bin", *_NEVER_RUNS):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.rmtree(folder / "boto3" / "examples", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for path in sorted(folder.rglob("*")):
        if not path.exists():
            continue
        if path.is_dir() and path.name in {"tests", "test", "__pycache__"} and path.parent.name != "data":
            shutil.rmtree(path)
        elif path.is_file() and path.suffix in {".pyi", ".pyc"}:
            path.unlink()


def _shorten(data: Path) -> None:
    """Takes out of the SDK's descriptions what no call reads, and unpacks them: each client reads its own at every cold start."""
    prefixes: set[str] = set()
    for packed in sorted(data.glob("*/*/*.json.gz")):
        told = json.loads(gzip.decompress(packed.read_bytes()))
        if packed.name.startswith("service-"):
            prefixes.add(told["metadata"]["endpointPrefix"])
            told = _without_prose(told)
        packed.with_suffix("").write_text(json.dumps(told, separators=(",", ":")), encoding="utf-8")
        packed.unlink()
    if (places := data / "endpoints.json").is_file():
        told = json.loads(places.read_text(encoding="utf-8"))
        for partition in told["partitions"]:
            partition["services"] = {name: at for name, at in partition["services"].items() if name in prefixes}
        places.write_text(json.dumps(told, separators=(",", ":")), encoding="utf-8")


def _without_prose(told: Any) -> Any:
    """A description of a service without what is for people to read; where a text stood stands an empty one."""
    if isinstance(told, dict):
        return {k: "" if k == "documentation" and isinstance(v, str) else _without_prose(v) for k, v in told.items()}
    return [_without_prose(v) for v in told] if isinstance(told, list) else told


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info"))
    # A command line, a local runner and test doubles have nothing to do in a function.
    shutil.rmtree(target / "assistant" / "dev", ignore_errors=True)


def _pages(source: Path) -> list[Path]:
    """The guides that become the default knowledge."""
    return sorted([*(source / "docs").glob("*.md"), *(source / "docs").glob("guides/*/*.md")])


def _interpreter(python: str) -> str | None:
    """Path of an interpreter of version `python` on this machine, or None where there is none."""
    candidates = [
        sys.executable,
        shutil.which(f"python{python}") or "",
        *map(str, sorted(Path.home().glob(f".pyenv/versions/{python}.*/bin/python"))),
    ]
    if uv := _uv():
        command = [uv, "python", "find", "--no-python-downloads", "--no-project", "--system", python]
        candidates.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())  # noqa: S603
    ask = "import sys; print('{}.{}'.format(*sys.version_info))"
    for candidate in filter(None, candidates):  # a shim may stand in the path and start nothing: each one is asked
        answer = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
        if answer.stdout.strip() == python:
            return candidate
    return None


def _uv() -> str | None:
    return shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


def _compile(folder: Path, installed: str, interpreter: str | None) -> None:
    if interpreter is None:
        return
    # "unchecked": the files under /opt never change, and a zip keeps no time that could be compared.
    command = [interpreter, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", installed, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        raise BundleError(f"{folder} holds files that {interpreter} cannot compile:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.name}|{len(content)}|".encode())
        digest.update(content)
    return digest.hexdigest()


def _changed(stamp: Path, mark: str) -> bool:
    return not stamp.is_file() or stamp.read_text() != mark


def _stamp(stamp: Path, mark: str) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(mark)


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the bundles and prints their sizes; exit status 1 when one is over its limit."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle", description="Build what Lambda gets and print the sizes.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    try:
        bundle = build()
    except BundleError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a command's output
        return 1
    sizes = bundle.sizes()
    common = sum(sizes[f"layers/{n}"] for n in ("dependencies", "shared", "plugins"))
    over = [n for n, size in sizes.items() if n.startswith("functions/") and size > FUNCTION_LIMIT]
    over += ["common layers"] if common > COMMON_LIMIT else []
    if args.json:
        print(json.dumps({"sizes": sizes, "common": common, "byte_code": bundle.compiled, "over": over}))  # noqa: T201  # output
        return 1 if over else 0
    for name, size in sizes.items():
        print(f"{name:24} {size / 1024 / 1024:8.2f} MiB")  # noqa: T201  # output
    print(f"{'common, boto3 apart':24} {common / 1024 / 1024:8.2f} MiB of {COMMON_LIMIT // 1024 // 1024}")  # noqa: T201  # output
    if not bundle.compiled:
        print(f"without byte code: no Python {PYTHON} on this machine, so a cold start compiles what it imports")  # noqa: T201
    for name in over:
        print(f"{name} is over its limit", file=sys.stderr)  # noqa: T201  # output
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
