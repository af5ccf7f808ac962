"""A fence around one call: its time, its memory, and what it may reach by itself.

Inside one process this holds against mistakes, not against malice: Python code can always find a way around other Python code.
Code that is not trusted belongs in a function of its own (`assistant.plugins.isolated`).
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

from assistant.plugins.contract import NotAllowed

MOST_AWAY: Final = 60.0
"""Seconds that a call may spend at doors, all together."""

_STATM: Final = "/proc/self/statm"


class Stopped(BaseException):
    """Raised inside a call that is stopped from outside; no `except Exception` of a plug-in holds it up."""


class Fence:
    """The time that a call has, and what it may reach. Made for one call."""

    def __init__(self, seconds: float, *, megabytes: int = 0, hosts: Collection[str] = ()) -> None:
        self.seconds = seconds
        self.megabytes = megabytes
        self.handed: list[str] = []
        """Tokens that were handed out."""
        self.hosts = frozenset(hosts)
        """Hosts that the call may look up and connect to by itself."""
        self.looked_up = False
        self._inside = 0
        self._outside = 0.0
        self._since = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def door(self, *, free: bool = True) -> Iterator[None]:
        """What happens inside is ours, not the call's: nothing is fenced off there, and where `free` its time does not count."""
        mark = _current.set(None)
        with self._lock:
            if free and not self._inside:
                self._since = time.monotonic()
            self._inside += free
        try:
            yield
        finally:
            with self._lock:
                self._inside -= free
                if free and not self._inside:
                    self._outside += time.monotonic() - self._since
            _current.reset(mark)

    def run(self, act: Callable[..., Any], *given: Any) -> Any:
        """What `act` gives for `given`, with nothing reachable but what the fence lets through."""
        if not _watching:
            _watch_out()
        mark = _current.set(self)
        try:
            return act(*given)
        finally:
            _current.reset(mark)

    def left(self, began: float) -> float:
        """Seconds that a call which began at that `time.monotonic()` still has."""
        with self._lock:
            away = self._outside + (time.monotonic() - self._since if self._inside else 0.0)
        return self.seconds - (time.monotonic() - began - min(away, MOST_AWAY))


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        file = os.open(_STATM, os.O_RDONLY)  # a quarter of what a text file costs: it is asked before every call
        try:
            return int(os.read(file, 100).split()[1]) * 4096
        finally:
            os.close(file)
    return 0


def stop(thread: threading.Thread) -> None:
    """Ends Python code that runs in `thread`. A thread that waits in the system ends when it comes back from there."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))


# --- what a call may reach by itself ---------------------------------------------------------------

_current: ContextVar[Fence | None] = ContextVar("fence", default=None)
_lock = threading.Lock()
_watching = False

_NETWORK: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "socket.bind"})
_PROCESSES: Final = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
)


def _watch_out() -> None:
    """From the first call of a plug-in on, Python asks before it opens a connection or starts a program."""
    global _watching  # noqa: PLW0603  # such a hook is one for the process and cannot be taken back
    with _lock:
        if not _watching:
            sys.addaudithook(_heard)
            _watching = True


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _NETWORK and event not in _PROCESSES:
        return
    fence = _current.get()
    if fence is None:
        return
    if event in _PROCESSES:
        raise NotAllowed("a plug-in may start no other program")
    if event == "socket.bind":
        return
    address = arguments[0] if event.startswith("socket.get") else arguments[1]
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    if host.lower().rstrip(".") in fence.hosts:
        fence.looked_up = True
    elif not (fence.looked_up and _is_address(host)):
        raise NotAllowed(f"host {host[:200]!r} is not among this plug-in's permissions; declare Permissions(hosts=…)")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
