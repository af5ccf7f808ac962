"""Each target of the fuzzer runs with its seeds, with what is changed in them and with deep nesting; `make fuzz` goes on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from tests.fuzz.targets import TARGETS

INPUTS = 40
DEEP = (b"[" * 100_000, b'{"a":' * 50_000, b"", b"\x00", b"\xff\xfe", b"\xed\xa0\x80")


def _seconds(run: Callable[[bytes], object], data: bytes) -> float:
    began = time.process_time()
    run(data)
    return time.process_time() - began


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_breaks_a_reader(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(name)  # the same inputs in every run
    target = TARGETS[name]
    run, inputs = target.make(), [*target.seeds, *DEEP]
    while len(inputs) < INPUTS:
        changed = bytearray(chance.choice(target.seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(changed) + 1)
            changed[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
        inputs.append(bytes(changed))
    for data in inputs:
        took = _seconds(run, data)
        # on a slow machine what is long takes its time; what grows faster than its input, or hangs, passes on none
        assert took < 2 or took < min(10, 3 * _seconds(run, data[: len(data) // 2])), data[:100]
    with capsys.disabled():
        print(f"  {name}: {len(inputs)} inputs", end="", flush=True)
