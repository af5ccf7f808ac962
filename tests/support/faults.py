"""What can go wrong with whom: the matrix of components and faults, and AWS that fails on a plan."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

Component = Literal["queue", "table", "model", "vendor", "cache", "secrets", "clock"]
Kind = Literal["slow", "error", "throttle", "partial", "gone", "duplicate", "reordered"]

COMPONENTS: Final[tuple[Component, ...]] = ("queue", "table", "model", "vendor", "cache", "secrets", "clock")
FAULTS: Final[Mapping[Kind, str]] = {
    "slow": "late",
    "error": "no answer, no effect",
    "throttle": "refused: too many",
    "partial": "half of it: it took effect, and the answer never came; an answer that breaks off",
    "gone": "nobody there for a while, then back",
    "duplicate": "twice",
    "reordered": "another order; what is read is older than what was written",
}

CANNOT: Final[Mapping[tuple[Component, Kind], str]] = {
    ("model", "duplicate"): "asked again it makes another answer, and the one decided first counts: the queue's duplicate",
    ("model", "reordered"): "an answer comes in order over one connection; answers that overtake each other are the load",
    ("secrets", "partial"): "reading has no effect to be left half done: no answer is the error",
    ("secrets", "duplicate"): "reading twice reads the same",
    ("secrets", "reordered"): "the secret of before a rotation: tests/unit/test_rotation.py",
    ("clock", "throttle"): "reading it is no request",
    ("clock", "partial"): "it is one number",
    ("clock", "gone"): "no function runs without one",
}
"""Cells of the matrix that cannot exist, and why."""

CELLS: Final[tuple[tuple[Component, Kind], ...]] = tuple((c, k) for c in COMPONENTS for k in FAULTS if (c, k) not in CANNOT)
"""All others."""


def matrix(played: Mapping[tuple[Component, Kind], str]) -> list[str]:
    """Lines that show the matrix: what was `played` in each cell, and the reason where a cell cannot exist."""
    width = max(len(text) for text in [*played.values(), *FAULTS]) + 2
    lines = [f"{'':9}" + "".join(f"{kind:{width}}" for kind in FAULTS)]
    reasons: list[str] = []
    for component in COMPONENTS:
        cells = []
        for kind in FAULTS:
            if reason := CANNOT.get((component, kind)):
                reasons.append(f"  {len(reasons) + 1}) {component} {kind}: {reason}")
                cells.append(f"— {len(reasons)})")
            else:
                cells.append(played.get((component, kind), "not played"))
        lines.append(f"{component:9}" + "".join(f"{cell:{width}}" for cell in cells))
    return [*lines, "cannot exist:", *reasons]


@dataclass
class Faults:
    """Faults for the calls to one component: the next `left` calls fail with a chance of `share` each."""

    seed: int
    component: str = ""
    kind: str = "error"
    share: float = 0.0
    left: int = 0
    done: list[str] = field(default_factory=list)
    """What failed, in order."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def due(self, service: str, operation: str, request: Mapping[str, Any]) -> bool:
        """Whether this call fails."""
        with self._lock:
            due = self.left > 0 and component(service, request) == self.component and self._possible(operation, request)
            due = due and (self.kind == "gone" or self._random.random() < self.share)
            if due:
                self.left -= 1
                self.done.append(f"{operation} {self.kind}")
            return due

    def _possible(self, operation: str, request: Mapping[str, Any]) -> bool:
        """A strongly consistent read, and a write, have their place in the order."""
        return self.kind != "reordered" or (operation in ("get_item", "query") and not request.get("ConsistentRead"))

    def around(self, make: Callable[[str], Any]) -> Callable[[str], Any]:
        """A maker of clients that fail."""
        return lambda service: _Failing(service, make(service), self)


def component(service: str, request: Mapping[str, Any]) -> str:
    """Whom a call is made to: what all instances share for a while is a cache, though the table holds it."""
    if service == "dynamodb":
        found = request.get("Key") or request.get("Item") or {}
        return "cache" if found.get("pk", {}).get("S", "").startswith("K#") else "table"
    return {"sqs": "queue", "secretsmanager": "secrets"}.get(service, service)


class _Failing:
    def __init__(self, service: str, client: Any, faults: Faults) -> None:
        self._service, self._client, self._faults = service, client, faults

    def __getattr__(self, operation: str) -> Any:
        real = getattr(self._client, operation)

        def call(**request: Any) -> Any:
            if not self._faults.due(self._service, operation, request):
                return real(**request)
            match self._faults.kind:
                case "throttle":
                    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)
                case "partial":
                    real(**request)
                case "slow":
                    time.sleep(0.05)  # plays a slow service
                    return real(**request)
                case "duplicate":  # the client's own repeat after an answer that did not come: the second answer is what is heard
                    real(**request)
                    return real(**request)
                case "reordered":
                    return {"Items": [], "Count": 0} if operation == "query" else {}
                case "gone":
                    raise EndpointConnectionError(endpoint_url="http://aws.invalid")
            raise ReadTimeoutError(endpoint_url="http://aws.invalid")

        return call
