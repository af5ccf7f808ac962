"""AWS that fails on a plan: calls that are throttled, late or not answered, whether they took effect or not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError, ReadTimeoutError

Kind = Literal["error", "throttle", "lost", "slow"]
"""`error`: no answer, no effect; `throttle`: refused; `lost`: it took effect, but the answer never came; `slow`: late."""


@dataclass
class Faults:
    """Faults for the calls to one component: the next `left` calls fail with a chance of `share` each."""

    seed: int
    component: str = ""
    kind: Kind = "error"
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
            due = component(service, request) == self.component and self.left > 0 and self._random.random() < self.share
            if due:
                self.left -= 1
                self.done.append(f"{operation} {self.kind}")
            return due

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
                case "lost":
                    real(**request)
                case "slow":
                    time.sleep(0.05)  # plays a slow service
                    return real(**request)
            raise ReadTimeoutError(endpoint_url="http://aws.invalid")

        return call
