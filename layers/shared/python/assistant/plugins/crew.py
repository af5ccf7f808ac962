"""The threads in which plug-ins' calls run: one for many calls, kept for the next message, and ended where a call is stopped.

A call has its own time and memory however many share a thread: whoever waits looks at the call that runs now, and where it has
to be stopped its thread ends with it, and another one takes up what was left.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal

from assistant.plugins.contract import BotPlugin
from assistant.plugins.fence import Fence, Stopped, resident, stop

LOOK_SECONDS: Final = 0.05
"""How often the memory is looked at while a call runs."""

FRESH_SECONDS: Final = 0.001
"""How old a look at the memory may be that is taken for the next call's beginning: asking takes longer than a quick call."""

QUICK_SECONDS: Final = 0.005
"""A call that takes longer than this is slow: those that are made side by side do not wait for it any more."""

MOST_WAITS: Final = 2
"""Slow calls that are waited for so; then each that is left gets a thread of its own."""

MOST_IDLE: Final = 16
"""Threads that are kept for the next calls."""

IDLE_NAME: Final = "plugins"
"""What a thread is called while nothing runs in it."""

Fate = Literal["waits", "runs", "ended", "late", "large"]


@dataclass(slots=True)
class Call:
    """One call of a plug-in: `act`, with what `given` makes, inside its fence."""

    plugin: BotPlugin
    what: str
    """The method, as it stands in a report."""
    fence: Fence
    guarded: bool
    """Whether the fence keeps it from the network and from other programs."""
    act: Callable[..., Any]
    given: Callable[[], Any] | None = None
    outcome: list[Any] = field(default_factory=list)
    """What it gave, where it gave something."""
    failure: list[Exception] = field(default_factory=list)
    """What it raised."""
    fate: Fate = "waits"
    began: float = 0.0
    before: int = 0
    """Bytes that the process held when it began."""
    stint: Stint | None = None

    def make(self) -> None:
        """Runs it, in the thread that asks."""
        try:
            Context().run(self._inside)  # what it leaves in context variables is not the next one's
        except Exception as error:  # a plug-in's door: whatever it raises, the turn goes on
            self.failure.append(error)
        except Stopped:
            raise
        except BaseException as error:  # SystemExit and the like would end the thread without a word
            self.failure.append(RuntimeError(type(error).__name__))

    def _inside(self) -> None:
        given = () if self.given is None else (self.given(),)
        self.outcome.append(self.fence.run(self.act, *given) if self.guarded else self.act(*given))


class Stint:
    """Calls that one thread makes, one after the other: all of them, or until one of which `until` says so."""

    def __init__(self, calls: Iterator[Call], until: Callable[[Call], bool] | None = None) -> None:
        self.made: list[Call] = []
        """Those that were begun; with `until` the last one alone."""
        self.empty = False
        """Whether no call was left to make."""
        self.broken: BaseException | None = None
        """What was raised outside the plug-ins."""
        self._calls = calls
        self._until = until
        self._now: Call | None = None
        self._last = False
        self._over = False
        self._held = 0
        self._measured = 0.0
        self._lock = threading.Lock()
        self._finished: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.current_thread()

    # --- in the thread that makes the calls ---

    def work(self, thread: threading.Thread) -> bool:
        """Makes the calls; False where one was stopped: the thread has to end then, for that may still reach it."""
        self._thread = thread
        while call := self._next():
            thread.name = f"plugin-{call.plugin.name}"
            call.make()
            with self._lock:
                if call.fate != "runs":
                    return False
                call.fate, self._now = "ended", None
            if self._until is None:
                continue
            if self._until(call):
                return True
            self.made.pop()
        return True

    def _next(self) -> Call | None:
        with self._lock:
            if self._last:
                return None
            call = next(self._calls, None)
            if call is None:
                self.empty = True
                return None
            call.stint, call.fate = self, "runs"
            call.began = time.monotonic()
            if call.fence.megabytes:
                if call.began - self._measured > FRESH_SECONDS:
                    self._held, self._measured = resident(), call.began
                call.before = self._held
            self.made.append(call)
            self._now = call
            return call

    def finish(self) -> None:
        """Tells whoever waits."""
        self._finished.put(None)

    # --- in the thread that waits ---

    def wait(self, *, patience: float = 0.0) -> bool:
        """Waits until nothing runs any more; a call whose time or memory is used up is stopped.

        With `patience` it waits no longer than one call takes that many seconds: False then, and no other call is begun.
        """
        while not self._over:
            with self._lock:
                left = self._look(patience)
            if left <= 0:
                return self._over
            try:
                self._finished.get(timeout=left)
                self._over = True
            except Empty:
                continue
        if self.broken:
            raise self.broken
        return True

    def _look(self, patience: float) -> float:
        """Seconds until the next look; 0 where there is nothing to wait for any more."""
        call, rests = self._now, min(LOOK_SECONDS, patience or LOOK_SECONDS)
        if call is None:  # between two calls
            return rests
        left = call.fence.left(call.began)
        if left <= 0:
            return self._stop(call, "late")
        if call.before and resident() - call.before > call.fence.megabytes * 1_000_000:
            return self._stop(call, "large")
        if patience and (rests := min(rests, patience - (time.monotonic() - call.began))) <= 0:
            self._last = True
        return min(left, rests)

    def _stop(self, call: Call, fate: Fate) -> float:
        """Stops the call and its thread, which is left alone from here on: it may end with the lock in its hands."""
        call.fate, self._over = fate, True
        stop(self._thread)
        return 0.0


class Crew:
    """The threads of a process. Safe to use from several threads, and after a fork, which no thread survives."""

    def __init__(self) -> None:
        self._idle: deque[_Worker] = deque()

    def begin(self, calls: Iterator[Call], until: Callable[[Call], bool] | None = None) -> Stint:
        """The stint, begun in a thread that has nothing to do, or else in a new one."""
        stint = Stint(calls, until)
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:
                worker = _Worker(self._idle)
            if worker.thread.is_alive():
                worker.inbox.put(stint)
                return stint

    def one(self, call: Call) -> Call:
        """The call, ended or stopped."""
        self.begin(iter((call,))).wait()
        return call

    def in_turn(self, calls: Iterable[Call], until: Callable[[Call], bool]) -> Iterator[Call]:
        """Those of the calls that were stopped or of which `until` says so; the next ones begin when it is asked for more."""
        rest = iter(calls)
        while True:
            stint = self.begin(rest, until)
            stint.wait()
            yield from stint.made
            if stint.empty:
                return

    def side_by_side(self, calls: Iterable[Call]) -> list[Call]:
        """All of the calls, each ended, or under way in a thread that no other one waits for."""
        rest, begun = iter(calls), list[Call]()
        for _ in range(MOST_WAITS):
            stint = self.begin(rest)
            stint.wait(patience=QUICK_SECONDS)
            begun += stint.made
            if stint.empty:
                return begun
        for call in rest:
            begun.append(call)
            call.stint = self.begin(iter((call,)))
        return begun


class _Worker:
    """One thread."""

    def __init__(self, idle: deque[_Worker]) -> None:
        self.inbox: SimpleQueue[Stint] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, args=(idle,), name=IDLE_NAME, daemon=True)
        self.thread.start()

    def _work(self, idle: deque[_Worker]) -> None:
        try:
            while self._done(self.inbox.get(), idle):
                pass
        except Stopped:
            return

    def _done(self, stint: Stint, idle: deque[_Worker]) -> bool:
        """Whether the thread is kept."""
        try:
            if not stint.work(self.thread):
                return False
        except Stopped:
            raise
        except BaseException as error:  # whoever waits has to hear of it
            stint.broken = error
        self.thread.name = IDLE_NAME
        kept = len(idle) < MOST_IDLE
        if kept:
            idle.append(self)
        stint.finish()
        return kept


CREW: Final = Crew()
"""That of this process: it has no thread until the first call."""
