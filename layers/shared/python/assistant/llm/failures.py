"""What a model endpoint may answer instead of tokens."""

from __future__ import annotations

from assistant.errors import Unavailable


class TryAgain(Unavailable):
    """The endpoint did not take the request; the same request may pass a moment later."""


class Overloaded(TryAgain):
    """The endpoint said that it has too much to do (429, 503, throttled); it is alive, so the breaker does not count it."""


class TimedOut(Unavailable):
    """Nothing came within the time that a read may take; asking again would take as long."""
