"""One HTTP client for all vendors: time limits, what a failure means, when a repeat is safe, and how fast we may call."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import httpx

from assistant.errors import OutcomeUnknown, RateLimited, SendError, TokenDead, VendorUnavailable

TIMEOUT = httpx.Timeout(10.0, connect=3.0)

LONGEST: Final = 8.0
"""Seconds that a call waits for a vendor's limit to end; where it lasts longer, the queue tries again."""

MARGIN: Final = 0.1
"""Seconds added to every limit's time: one call may be longer on its way than the next."""

MOST_NAMES: Final = 10_000
"""Names that one process counts before it forgets those it has not heard of for an hour."""


@functools.cache
def client() -> httpx.Client:
    """The process's connection pool; redirects are never followed with a vendor's token."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False, limits=httpx.Limits(max_connections=50))


@functools.cache
def fresh_client() -> httpx.Client:
    """A client that keeps no connection for a second request.

    A pooled connection may have been closed by the other side while it was idle: then nobody has read the request, and no
    answer would look the same as a lost one.
    """
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False, limits=httpx.Limits(max_keepalive_connections=0))


def call(platform: str, method: str, url: str, *, fresh: bool = False, **request: Any) -> httpx.Response:
    """Makes one request. Raises VendorUnavailable where it never reached the vendor and OutcomeUnknown where it may have.

    `fresh`: on a connection of its own, so that no answer means that the vendor had the request.
    """
    try:
        return (fresh_client() if fresh else client()).request(method, url, **request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise VendorUnavailable(f"{platform} cannot be reached: {type(error).__name__}", platform=platform) from error
    except httpx.HTTPError as error:
        raise OutcomeUnknown(f"{platform} did not answer: {type(error).__name__}", platform=platform) from error


T = TypeVar("T")


class Leaving(Protocol):
    """Makes a request that must not be made twice, noting first that it leaves now: see `Platform.noted`."""

    def __call__(self, request: Callable[[], T]) -> T:
        """What `request()` gives."""


def plainly(request: Callable[[], T]) -> T:
    """What `request()` gives: it may be made again."""
    return request()


def with_retries(
    act: Callable[[], T],
    *,
    tries: int = 4,
    longest: float = LONGEST,
    repeat: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """`act()`, again after RateLimited (as long as the vendor asks, at most `longest` s) or VendorUnavailable, with jitter.

    `repeat`: the vendor recognises a repeat, so that one is made after OutcomeUnknown too; when the tries are used up and one
    of them may have been heard, OutcomeUnknown is what is raised.
    """
    heard: OutcomeUnknown | None = None
    for attempt in range(1, tries + 1):
        try:
            return act()
        except RateLimited as error:
            if attempt == tries or error.retry_after > longest:
                raise
            sleep(error.retry_after + random.uniform(0, 0.25))
        except (VendorUnavailable, OutcomeUnknown) as error:
            if isinstance(error, OutcomeUnknown):
                if not repeat:
                    raise
                heard = error
            if attempt == tries:
                raise (heard or error) from error
            sleep(random.uniform(0, 0.25 * 2**attempt))
    raise AssertionError("unreachable")


class TokenExpired(SendError):
    """The vendor does not take the token: once more with a new one."""


def with_token(act: Callable[[], T], *, forget: Callable[[], None], check: str) -> T:
    """`act()`, once more after `forget()` where its token has expired. Raises TokenDead where a new token did not help either,
    with what to `check`."""
    try:
        return act()
    except TokenExpired:
        forget()
    try:
        return act()
    except TokenExpired as error:
        raise TokenDead(f"{error}; a new token did not help: check {check}", platform=error.platform, code=error.code) from error


def new_token(platform: str, ask: Callable[[], Mapping[str, Any]], *, field: str, lives: str, early: float) -> tuple[str, float]:
    """The token under `field` of the vendor's answer, and for how long it may be kept: its life under `lives`, less `early`
    seconds. Raises VendorUnavailable where none came."""
    try:
        answer = ask()
    except OutcomeUnknown as error:  # asking for a token twice does no harm
        raise VendorUnavailable(str(error), platform=platform) from error
    token, seconds = answer.get(field), float(answer.get(lives, 0))
    if not isinstance(token, str) or not token:
        raise VendorUnavailable(f"{platform} gave no {field}", platform=platform)
    return token, max(seconds - early, seconds / 2)


# --- how fast ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in so many seconds."""

    calls: int
    seconds: float


class Pace:
    """Lets a platform's calls through as fast as the vendor takes them: each waits for its turn, so that none is refused.

    Calls are counted by name (a chat, a method, the whole app) and by process. The queue hands the messages of a conversation
    to one process at a time, so that what a vendor counts by conversation is counted whole. What it counts by app the
    instances may together exceed; then the vendor says for how long, and everything of that name is kept back.
    """

    def __init__(self, platform: str, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._platform = platform
        self._clock = clock
        self.sleep = sleep
        self._made: dict[str, deque[float]] = {}
        self._closed: dict[str, float] = {}
        self._slept_until = 0.0
        self._said = 0.0
        self._set_back = 0.0
        self._lock = threading.Lock()

    def call(
        self, act: Callable[[], T], budgets: Mapping[str, Sequence[Rate]], *, longest: float = LONGEST, share: float = 1.0
    ) -> T:
        """`act()` when its turn has come, see `wait`. Where the vendor refuses it all the same, nothing more is called under the
        first name of `budgets` for as long as the vendor says."""
        self.wait(budgets, longest=longest, share=share)
        try:
            return act()
        except RateLimited as refused:
            self._close(next(iter(budgets)), refused.retry_after)
            raise

    def wait(self, budgets: Mapping[str, Sequence[Rate]], *, longest: float = LONGEST, share: float = 1.0) -> None:
        """Returns when each of `budgets` has room for one more call, and counts it. `share`: the part of a budget that calls of
        this kind may use up, so that more important ones find room.

        Raises RateLimited where that is more than `longest` seconds away; then nothing is counted.
        """
        with self._lock:
            now = due = max(self._now(), self._slept_until)
            waits_for = ""
            for name, rates in budgets.items():
                if (free := self._free(name, rates, share)) > due:
                    waits_for, due = name, free
            if due - now > longest:
                reason = f"{self._platform} takes no more of {waits_for} for {due - now:.1f} s"
                raise RateLimited(reason, platform=self._platform, code="paced", retry_after=due - now)
            for name, rates in budgets.items():
                most = max((rate.calls for rate in rates), default=1)
                self._made.setdefault(name, deque(maxlen=most)).append(due)
            self._tidy(now)
        if due > now:
            self.sleep(due - now)
            with self._lock:
                self._slept_until = max(self._slept_until, due)

    def _close(self, name: str, seconds: float) -> None:
        with self._lock:
            self._closed[name] = max(self._now() + seconds, self._closed.get(name, 0.0))

    def _now(self) -> float:
        """The clock's time; one that is set back is taken to have stood, or calls of the future would keep back those of now."""
        said = self._clock()
        self._set_back += max(0.0, self._said - said)
        self._said = said
        return said + self._set_back

    def _free(self, name: str, rates: Sequence[Rate], share: float) -> float:
        """When the next call of `name` may be made."""
        made = self._made.get(name, deque())
        free = max(self._closed.get(name, 0.0), made[-1] if made else 0.0)
        for rate in rates:
            calls = max(1, int(rate.calls * share))
            if len(made) >= calls:
                free = max(free, made[-calls] + rate.seconds + MARGIN)
        return free

    def _tidy(self, now: float) -> None:
        """Forgets names of which nothing was heard for an hour, once there are many."""
        if len(self._made) + len(self._closed) > MOST_NAMES:
            self._made = {name: made for name, made in self._made.items() if made[-1] > now - 3600}
            self._closed = {name: until for name, until in self._closed.items() if until > now}


def retry_after(headers: Mapping[str, str], default: float = 1.0) -> float:
    """Seconds in a `Retry-After` header, `default` where there is none or it is no number."""
    try:
        return max(0.0, float(headers.get("retry-after", default)))
    except ValueError:
        return default
