"""A client that counts: every AWS call with its table capacity, by DynamoDB's own rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class AwsCall:
    """One call: `write` and `read` are its capacity units."""

    service: str
    operation: str
    request: Mapping[str, Any]
    write: int = 0
    read: float = 0


@dataclass
class Recorder:
    """Wraps a maker of clients; `calls` are in order."""

    make: Callable[[str], Any]
    calls: list[AwsCall] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """A client that behaves as the real one and is counted."""
        return _Counted(service, self.make(service), self.calls)

    def take(self) -> list[AwsCall]:
        """The calls since the last `take`."""
        taken = list(self.calls)
        self.calls.clear()
        return taken


class _Counted:
    def __init__(self, service: str, client: Any, calls: list[AwsCall]) -> None:
        self._service, self._client, self._calls = service, client, calls

    def __getattr__(self, operation: str) -> Any:
        real = getattr(self._client, operation)

        def call(**request: Any) -> Any:
            position = len(self._calls)
            self._calls.append(AwsCall(self._service, operation, request))
            result = real(**request)
            write, read = _capacity(operation, request, result)
            self._calls[position] = AwsCall(self._service, operation, request, write, read)
            return result

        return call


def _capacity(operation: str, request: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[int, float]:
    factor = 1.0 if request.get("ConsistentRead") else 0.5
    match operation:
        case "put_item":
            return math.ceil(size(request["Item"]) / 1024), 0
        case "update_item":
            return math.ceil(size(result.get("Attributes", {})) / 1024) or 1, 0
        case "delete_item":
            return 1, 0
        case "get_item":
            return 0, factor * (math.ceil(size(result.get("Item", {})) / 4096) or 1)
        case "query":
            return 0, factor * (math.ceil(sum(size(i) for i in result["Items"]) / 4096) or 1)
    return 0, 0


def size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes of an item as DynamoDB counts them."""
    total = 0
    for name, typed in item.items():
        kind, value = next(iter(typed.items()))
        total += len(name.encode())
        if kind == "N":
            total += math.ceil(len(str(value).lstrip("-")) / 2) + 1
        elif kind == "BOOL":
            total += 1
        else:
            total += len(value if isinstance(value, bytes) else str(value).encode())
    return total
