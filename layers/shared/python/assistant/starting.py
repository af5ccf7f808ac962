"""How a function's process starts: what is made before its first event, and what is not looked at while that goes on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Final

from assistant.errors import AssistantError

KIND: Final = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""Lambda's own variable: `on-demand`, `provisioned-concurrency` or `snap-start`; a laptop has none."""


def ahead(env: Mapping[str, str], make: Callable[[], object], *, modules: Iterable[str] = ()) -> None:
    """Does what the first event would wait for while Lambda starts the copy: on a whole processor, whatever the function's size,
    and for a copy that is kept at hand before anybody waits.

    Into a snapshot go `modules` and nothing that was made (docs/decisions/snapshots.md says why). What fails is left to the first
    event, which makes it again and reports. On a laptop it does nothing.
    """
    match env.get(KIND):
        case "on-demand" | "provisioned-concurrency":
            with suppress(AssistantError):
                make()
        case "snap-start":
            for name in modules:
                import_module(name)


@contextmanager
def unswept() -> Iterator[None]:
    """Collects no garbage inside: nothing is garbage while a process starts, and looking for it takes a tenth of the time.

    What stands at the end is never looked through again: it stays as long as the process.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
