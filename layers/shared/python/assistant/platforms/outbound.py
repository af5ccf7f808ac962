"""One HTTP client for all vendors: time limits, what a failure means, when a repeat is safe, and how fast we may call."""

from __future__ import annotations

import functools
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.request import getproxies

import httpcore
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
def _fresh_client() -> httpx.Client:
    """A client that keeps no connection for a second request."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False, limits=httpx.Limits(max_keepalive_connections=0))


def call(
    platform: str, method: str, url: str, *, through: Callable[..., httpx.Response] | None = None, **request: Any
) -> httpx.Response:
    """Makes one request. Raises VendorUnavailable where it never reached the vendor and OutcomeUnknown where it may have.

    `through`: a `Line` that stands already.
    """
    try:
        return (through or client().request)(method, url, **request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise VendorUnavailable(f"{platform} cannot be reached: {type(error).__name__}", platform=platform) from error
    except httpx.HTTPError as error:
        raise OutcomeUnknown(f"{platform} did not answer: {type(error).__name__}", platform=platform) from error


class Line:
    """A connection to the host of `url` that stands while inside, for one request that cannot be repeated. Raises
    VendorUnavailable.

    A pooled connection may have been closed by the other side while it was idle: then nobody has read the request, and no
    answer would look the same as a lost one. And what is noted before it is sent is lost where the process ends between the
    two: here nothing is left to do in between but to send. Through a proxy, only the first of the two holds.
    """

    def __init__(self, platform: str, url: str) -> None:
        self._stream = None if getproxies() else _stream(platform, httpx.URL(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()

    def __call__(self, method: str, url: str, **request: Any) -> httpx.Response:
        """The answer to the one request; raises what httpx raises."""
        if self._stream is None:
            return _fresh_client().request(method, url, **request)
        asked = client().build_request(method, url, **request)
        with httpcore.ConnectionPool(network_backend=_Standing(self._stream)) as pool:
            try:
                answer = pool.request(
                    asked.method,
                    str(asked.url),
                    headers=asked.headers.raw,
                    content=asked.read(),
                    extensions={"timeout": TIMEOUT.as_dict()},
                )
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
                raise httpx.TransportError(type(error).__name__, request=asked) from error
        return httpx.Response(answer.status, headers=answer.headers, content=answer.content, request=asked)


def _stream(platform: str, url: httpx.URL) -> httpcore.NetworkStream:
    seconds = TIMEOUT.connect
    try:
        stream = httpcore.SyncBackend().connect_tcp(url.host, url.port or (443 if url.scheme == "https" else 80), timeout=seconds)
        return stream.start_tls(_tls(), server_hostname=url.host, timeout=seconds) if url.scheme == "https" else stream
    except (httpcore.NetworkError, httpcore.TimeoutException) as error:
        raise VendorUnavailable(f"{platform} cannot be reached: {type(error).__name__}", platform=platform) from error


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _Secured(httpcore.NetworkStream):
    """A stream on which TLS, where it is wanted, is spoken already."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes."""
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends."""
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Ends it."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Itself."""
        return self

    def get_extra_info(self, info: str) -> Any:
        """What the stream knows of itself."""
        return self._stream.get_extra_info(info)


class _Standing(httpcore.NetworkBackend):
    """Gives the connection that stands."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """It."""
        return _Secured(self._stream)


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
