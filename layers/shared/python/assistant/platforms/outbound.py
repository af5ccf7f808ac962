"""One HTTP client for all vendors: time limits, what a failure means, and when a repeat is safe."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from assistant.errors import OutcomeUnknown, RateLimited, VendorUnavailable

TIMEOUT = httpx.Timeout(10.0, connect=3.0)


@functools.cache
def client() -> httpx.Client:
    """The process's connection pool; redirects are never followed with a vendor's token."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False, limits=httpx.Limits(max_connections=50))


def call(platform: str, method: str, url: str, **request: Any) -> httpx.Response:
    """Makes one request. Raises VendorUnavailable where it never reached the vendor and OutcomeUnknown where it may have."""
    try:
        return client().request(method, url, **request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise VendorUnavailable(f"{platform} cannot be reached: {type(error).__name__}", platform=platform) from error
    except httpx.HTTPError as error:
        raise OutcomeUnknown(f"{platform} did not answer: {type(error).__name__}", platform=platform) from error


T = TypeVar("T")


def with_retries(
    act: Callable[[], T],
    *,
    tries: int = 4,
    longest: float = 8.0,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """`act()`, again after RateLimited (as long as the vendor asks, at most `longest` s) or VendorUnavailable, with jitter.

    OutcomeUnknown is not repeated here: only the caller knows whether the vendor recognises a repeat.
    """
    for attempt in range(1, tries + 1):
        try:
            return act()
        except RateLimited as error:
            if attempt == tries or error.retry_after > longest:
                raise
            sleep(error.retry_after + random.uniform(0, 0.25))
        except VendorUnavailable:
            if attempt == tries:
                raise
            sleep(random.uniform(0, 0.25 * 2**attempt))
    raise AssertionError("unreachable")


def retry_after(headers: Mapping[str, str], default: float = 1.0) -> float:
    """Seconds in a `Retry-After` header, `default` where there is none or it is no number."""
    try:
        return max(0.0, float(headers.get("retry-after", default)))
    except ValueError:
        return default
