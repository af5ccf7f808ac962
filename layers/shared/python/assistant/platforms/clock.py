"""Our clock against a vendor's: both refuse what the other signed at another time."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from assistant.platforms import Finding, Told

NOTICED: Final = 60.0
"""Seconds that two clocks may be apart before anybody is told."""


def date_of(headers: Mapping[str, str]) -> float:
    """The Unix time in a Date header, 0 where there is none."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return 0.0


def compared(headers: Mapping[str, str], *, now: float, vendor: str, harms: float = NOTICED) -> Finding:
    """What `headers` of a vendor's answer say about our clock, which stands at `now`; from `harms` seconds on it is a fault."""
    theirs = date_of(headers)
    if not theirs:
        return Finding(check="clock", state="unknown", detail=Told("{name} named no time", name=vendor))
    off = now - theirs
    detail = Told("{seconds} s from {name}'s", seconds=f"{off:+.0f}", name=vendor)
    if abs(off) < NOTICED:
        return Finding(check="clock", state="ok", detail=detail)
    fix = "set this machine's clock by NTP"
    return Finding(check="clock", state="fault" if abs(off) >= harms else "warning", detail=detail, fix=fix)
