"""Several models, tried in order: the next one answers where one is down."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from assistant.errors import Unavailable
from assistant.llm import ChatModel, ChatRequest, Event
from assistant.observability import log

_logger = logging.getLogger(__name__)


class Fallback:
    """A ChatModel that asks `models` in order until one begins to answer. Once text has come, it stays with that one."""

    def __init__(
        self,
        models: Sequence[ChatModel],
        *,
        clock: Callable[[], float] = time.monotonic,
        failed: Callable[[str], None] = lambda model: None,
    ) -> None:
        """`failed` hears the name of each model that did not begin to answer, whether or not another one did."""
        if not models:
            raise ValueError("a fall-back list needs a model")
        self.name = ",".join(m.name for m in models)
        self._models = tuple(models)
        self._clock = clock
        self._failed = failed

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """Events of the first model that answers; see ChatModel. All of them share `request.seconds`."""
        end = self._clock() + request.seconds
        missing: list[Unavailable] = []
        for model in self._models:
            left = end - self._clock()
            if left <= 0:
                break
            # A generator by contract: closing the iterator frees the connection.
            events = cast(Generator[Event, Any, None], model.stream(replace(request, seconds=left)))
            with contextlib.closing(events):
                try:
                    first = next(events, None)
                except Unavailable as error:
                    log(
                        _logger,
                        logging.WARNING,
                        "model unavailable",
                        event_action="fallback",
                        model_name=model.name,
                        error_message=str(error),
                    )
                    missing.append(error)
                    self._failed(model.name)
                    continue
                if first is not None:
                    yield first
                    yield from events
                    return
                missing.append(Unavailable(f"{model.name} gave no answer"))
                self._failed(model.name)
        after = [e.retry_after for e in missing if e.retry_after is not None]
        reasons = "; ".join(str(e) for e in missing) or f"no model began within {request.seconds:g} s"
        raise Unavailable(f"no model answers: {reasons}", retry_after=min(after, default=None))

    def close(self) -> None:
        """Closes the connections that the models kept."""
        for model in self._models:
            if (close := getattr(model, "close", None)) is not None:
                close()
