"""One model endpoint: time limits, repeats, a breaker and the reading of the stream, over any transport.

A transport only opens a byte stream. What holds for all of them stands here: the first token and each further one must come
in time (keep-alives do not count), a repeat happens only before the first token and within a budget, an endpoint that keeps
failing is left alone for a while, and closing the iterator cuts the connection so that the engine frees its slot.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from assistant.errors import ModelError, Unavailable
from assistant.llm import ChatRequest, Event
from assistant.llm.failures import Overloaded, TimedOut, TryAgain
from assistant.llm.openai_wire import AnswerReader, Dialect, request_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that each part of an answer may take, and how often a request may be repeated before its first token."""

    connect: float = 2.0
    first_token: float = 20.0
    gap: float = 20.0
    repeats: int = 2
    pause: float = 0.5
    """Upper end of the first pause before a repeat; it doubles each time, and the pause is uniform below it."""
    longest_pause: float = 8.0
    """A `Retry-After` above this is passed on to the caller instead of waited for."""


DEFAULT_LIMITS: Final = Limits()


class ByteStream(Protocol):
    """The body of an answer while it arrives."""

    def __iter__(self) -> Iterator[bytes]:
        """The bytes as they come; raises TryAgain or Unavailable where they cannot."""

    def cut(self) -> None:
        """Ends a blocked read at once; called from another thread."""

    def close(self) -> None:
        """Frees the connection; where the body was not read to its end, the other side sees it closed."""


class Transport(Protocol):
    """Opens byte streams to one endpoint."""

    where: str
    """Name of the endpoint in errors and logs."""

    def open(self, body: bytes, *, request: ChatRequest, connect: float, read: float) -> ByteStream:
        """The answer's stream once the endpoint accepted the request; no read waits longer than `read` seconds.

        Raises TryAgain, Overloaded, Unavailable or ModelError.
        """

    def close(self) -> None:
        """Closes the connections that were kept; the next request opens new ones."""


class Breaker:
    """Leaves an endpoint alone that keeps failing.

    Opens when the last `window` seconds hold at least `failures` failures and they are at least half of all calls; after
    `rest` seconds one call is let through to see, and its outcome closes or reopens it. Safe for threads.
    """

    def __init__(
        self, *, failures: int = 5, window: float = 30.0, rest: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._window = window
        self._rest = rest
        self._clock = clock
        self._calls: deque[tuple[float, bool]] = deque()
        self._opened: float | None = None
        self._probing: float | None = None
        self._lock = threading.Lock()

    def wait(self) -> float:
        """0 where a call may go out now, else the seconds until the next one may."""
        with self._lock:
            now = self._clock()
            if self._opened is None:
                return 0.0
            since = max(self._opened, self._probing if self._probing is not None else self._opened)
            if (left := since + self._rest - now) > 0:
                return left
            self._probing = now  # this caller is the probe; the others wait for its outcome, at most `rest` seconds
            return 0.0

    def record(self, *, good: bool) -> None:
        """Notes how a call went."""
        with self._lock:
            now = self._clock()
            if good and self._opened is not None:
                self._opened = self._probing = None
                self._calls.clear()
                return
            self._calls.append((now, good))
            while self._calls and self._calls[0][0] < now - self._window:
                self._calls.popleft()
            bad = sum(1 for _, ok in self._calls if not ok)
            if not good and (self._opened is not None or (bad >= self._failures and 2 * bad >= len(self._calls))):
                self._opened, self._probing = now, None

    @property
    def open(self) -> bool:
        """Whether calls are held back."""
        return self._opened is not None


class RetryBudget:
    """Keeps repeats to a share of all calls, so that a struggling endpoint is not buried under them. Safe for threads."""

    def __init__(self, *, share: float = 0.1, reserve: float = 3.0) -> None:
        self._share = share
        self._most = reserve
        self._left = reserve
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Notes a call."""
        with self._lock:
            self._left = min(self._most, self._left + self._share)

    def spend(self) -> bool:
        """Whether one repeat may be made; takes it out of the budget."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Watchdog:
    """Cuts a stream when its time is over, also while a read is blocked or only keep-alives arrive."""

    def __init__(self, cut: Callable[[], None], *, seconds: float) -> None:
        self._cut = cut
        self._until = time.monotonic() + seconds
        self._changed = threading.Condition()
        self._over = False
        self.fired = False
        """Whether the time ran out."""
        threading.Thread(target=self._watch, name="model-watchdog", daemon=True).start()

    def extend(self, seconds: float) -> None:
        """The time ends `seconds` from now."""
        until = time.monotonic() + seconds
        if until < self._until:
            with self._changed:
                self._until = until
                self._changed.notify()
        else:
            self._until = until  # the sleeping thread looks again when its old time is over

    def stop(self) -> None:
        """Nothing is cut any more."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = self._until - time.monotonic()
                if left <= 0:
                    self.fired = True
                    break
                self._changed.wait(left)
            if self._over:
                return
        self._cut()


SLACK: Final = 0.5
"""What the socket's own limit is longer than ours, so that the watchdog, which knows why, comes first."""
_DRAIN_SECONDS: Final = 1.0


class EndpointModel:
    """A ChatModel over one endpoint."""

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        model: str,
        dialect: Dialect,
        limits: Limits = DEFAULT_LIMITS,
        breaker: Breaker | None = None,
        budget: RetryBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._transport = transport
        self._model = model
        self._dialect = dialect
        self._limits = limits
        self._breaker = breaker or Breaker(clock=clock)
        self._budget = budget or RetryBudget()
        self._clock = clock
        self._sleep = sleep

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """Events of the answer; see ChatModel."""
        started = self._clock()
        body = request_body(request, model=self._model, dialect=self._dialect)
        self._budget.earn()
        for attempt in range(self._limits.repeats + 1):
            if (held := self._breaker.wait()) > 0:
                raise Unavailable(f"{self._transport.where} failed too often; next try in {held:.0f} s", retry_after=held)
            left = request.seconds - (self._clock() - started)
            if left <= 0:
                raise Unavailable(f"{self._transport.where} gave no answer within {request.seconds:g} s")
            reader = AnswerReader(
                where=self._transport.where, model=self._model, elapsed_ms=lambda: (self._clock() - started) * 1000
            )
            begun = False
            try:
                for event in self._attempt(request, body, reader, left):
                    begun = True
                    yield event
                return
            except TryAgain as error:
                if begun or reader.begun or attempt == self._limits.repeats:
                    raise
                pause = self._pause(attempt, error)
                if pause > request.seconds - (self._clock() - started) or not self._budget.spend():
                    raise
            self._sleep(pause)

    def close(self) -> None:
        """Closes the connections that were kept; the next request opens new ones."""
        self._transport.close()

    def _pause(self, attempt: int, error: TryAgain) -> float:
        jitter = random.uniform(0, min(self._limits.longest_pause, self._limits.pause * 2**attempt))
        if error.retry_after is None:
            return jitter
        if error.retry_after > self._limits.longest_pause:
            raise error
        return error.retry_after + jitter

    def _attempt(self, request: ChatRequest, body: bytes, reader: AnswerReader, left: float) -> Iterator[Event]:
        limits = self._limits
        end = time.monotonic() + left
        try:
            stream = self._transport.open(
                body,
                request=request,
                connect=min(limits.connect, left),
                read=min(max(limits.first_token, limits.gap), left) + SLACK,
            )
        except ModelError:
            self._breaker.record(good=True)  # it answered, only not to this request
            raise
        except Overloaded:
            raise
        except Unavailable:
            self._breaker.record(good=False)
            raise
        with contextlib.closing(stream):
            dog = Watchdog(stream.cut, seconds=min(limits.first_token, end - time.monotonic()))
            recorded = False
            try:
                for chunk in stream:
                    events, moved = reader.feed(chunk)
                    if moved:
                        dog.extend(min(limits.gap, end - time.monotonic()))
                    if (moved or reader.done) and not recorded:
                        recorded = True
                        self._breaker.record(good=True)
                    if reader.done:
                        dog.extend(_DRAIN_SECONDS)  # the end of the body, so that the connection can be used again
                    yield from events
                if not reader.done and not reader.begun:
                    raise TryAgain(f"{self._transport.where} closed the stream before the first token")
                reader.close()
            except (ModelError, Overloaded):  # an engine may shed a request after it began the stream
                raise
            except Unavailable as error:
                if reader.done:
                    return
                self._breaker.record(good=False)
                if dog.fired or isinstance(error, TimedOut):
                    raise self._late(reader, request, end) from error
                raise
            finally:
                dog.stop()

    def _late(self, reader: AnswerReader, request: ChatRequest, end: float) -> Unavailable:
        if time.monotonic() >= end:
            return Unavailable(f"{self._transport.where} took longer than {request.seconds:g} s for the answer")
        if reader.begun:
            return Unavailable(f"{self._transport.where} wrote nothing for {self._limits.gap:g} s")
        return Unavailable(f"{self._transport.where} gave no first token within {self._limits.first_token:g} s")
