"""Coverage-guided fuzzing of what parses outside bytes: `python -m tests.fuzz [--runs N] [TARGET…]`.

Atheris mutates bytes towards code that it has not seen. A target fails when it raises anything but a refusal, or takes more than
a second. What it found stands in build/fuzz/TARGET and is where the next run begins.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Runs each target in a process of its own, because libFuzzer ends the process; 1 where one failed, 2 without Atheris."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs for each target (20,000)")
    parser.add_argument("--one", metavar="TARGET", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := [name for name in args.targets if name not in TARGETS]:
        parser.error(f"no target {unknown[0]!r}; known: {', '.join(TARGETS)}")
    try:
        import atheris  # type: ignore[import-untyped,unused-ignore]  # installed by `make fuzz` alone
    except ImportError:
        print("FUZZING DID NOT RUN: Atheris is not installed; `make fuzz` installs it", file=sys.stderr)
        return 2
    corpus = ROOT / "build" / "fuzz"
    if args.one:
        folder = corpus / args.one
        folder.mkdir(parents=True, exist_ok=True)
        for n, seed in enumerate(TARGETS[args.one].seeds):
            (folder / f"seed{n}").write_bytes(seed)
        run = TARGETS[args.one].make()
        logging.disable(logging.CRITICAL)  # what is refused here is meant to be
        atheris.instrument_all()
        options = [f"-runs={args.runs}", "-timeout=1", "-max_len=8192", "-rss_limit_mb=1024", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}/{args.one}-", str(folder)], run)
        atheris.Fuzz()
        return 0
    failed = 0
    for name in args.targets or TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--runs", str(args.runs)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        lines = done.stderr.splitlines()
        counted = next((line.split()[-1] for line in lines if line.startswith("stat::number_of_executed_units")), "0")
        print(f"{name:18} {int(counted):>9,} inputs  {'good' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode:
            failed += 1
            print(done.stdout[-3000:], "\n".join(lines[-15:]), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
