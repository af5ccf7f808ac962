"""The first half of the story: a webhook comes in, its messages go to the queue, the caller hears at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from assistant.errors import Refused, Unavailable, VerificationError
from assistant.messages import JSON, HttpReply, Received, Webhook, stamped
from assistant.observability import ACCEPTED, ACK_TIME, REFUSED, Metrics, log, traced
from assistant.platforms import PLATFORMS, Platform
from assistant.queue import TurnQueue

logger = logging.getLogger(__name__)


class Snapshots(Protocol):
    """Where the text of a growing reply is read from."""

    def read(self, platform: str, stream: str) -> tuple[str, bool] | None:
        """The whole text so far and whether it is final; None for a stream nobody knows."""


class Intake:
    """Turns webhooks into queued messages. One AWS call: the send to the queue, or the read of a snapshot."""

    def __init__(
        self,
        *,
        platform: Callable[[str], Platform],
        queue: Callable[[], TurnQueue],
        snapshots: Callable[[], Snapshots],
        metrics: Metrics,
        renewed: Callable[[str], bool] = lambda platform: False,
        tenant: str = "default",
        max_body_bytes: int = 256 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._platform = platform
        self._queue = queue
        self._snapshots = snapshots
        self._metrics = metrics
        self._renewed = renewed
        self._tenant = tenant
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    def handle(self, webhook: Webhook) -> HttpReply:
        """The HTTP answer to `webhook`; whatever it held is queued by then, or refused with a reason."""
        with traced(webhook.trace):
            return self._handle(webhook)

    def _handle(self, webhook: Webhook) -> HttpReply:
        began = time.perf_counter()
        known = webhook.platform if webhook.platform in PLATFORMS else "unknown"
        try:
            reply, accepted = self._accept(webhook)
        except Refused as error:
            self._metrics.emit((REFUSED, 1), platform=known)
            log(logger, logging.WARNING, "webhook refused", event_reason=str(error), http_status=error.status, platform=known)
            return refusal(error)
        except Unavailable as error:
            self._metrics.emit((REFUSED, 1), platform=known)
            log(logger, logging.ERROR, "webhook not accepted", event_reason=str(error), platform=known)
            return HttpReply(503, json.dumps({"error": "try again in a moment"}), headers={"retry-after": "1"})
        took = (time.perf_counter() - began) * 1000
        self._metrics.emit((ACCEPTED, accepted), (ACK_TIME, took), platform=known)
        return reply

    def _accept(self, webhook: Webhook) -> tuple[HttpReply, int]:
        received = self.receive(webhook)
        if received.pull:
            text, final = self._snapshots().read(webhook.platform, received.pull) or ("", False)
            return self._platform(webhook.platform).answer_pull(webhook, received, text=text, final=final), 0
        messages = [m for m in received.messages if m.kind != "stream_refresh"]
        if messages:
            self._queue().publish(messages)
        return received.reply, len(messages)

    def receive(self, webhook: Webhook) -> Received:
        """What `webhook` amounts to, with nothing queued. Raises Refused."""
        if len(webhook.body) > self._max_body_bytes:
            raise Refused(f"the body has {len(webhook.body)} bytes; at most {self._max_body_bytes} are taken", status=413)
        platform = self._platform(webhook.platform)
        if webhook.channel not in platform.channels:
            raise Refused(
                f"{webhook.platform} has no channel {webhook.channel[:80]!r}; known: {', '.join(platform.channels)}", status=404
            )
        try:
            received = platform.receive(webhook)
        except VerificationError:
            if not self._renewed(webhook.platform):
                raise
            received = self._platform(webhook.platform).receive(webhook)  # the secret has just been rotated
        if any(_depth(m.action_value) > _DEEPEST for m in received.messages):
            raise Refused(f"the value of a button is nested deeper than {_DEEPEST}")
        arrived = int(self._clock() * 1000)
        return replace(
            received,
            messages=tuple(stamped(m, tenant=self._tenant, arrived_ms=arrived, trace=webhook.trace) for m in received.messages),
        )


_DEEPEST: Final = 64
"""Nesting of a button's value that the codec, the table and every reader can take."""


def _depth(value: JSON) -> int:
    """How deep `value` is nested, as far as it matters."""
    level: list[JSON] = [value]
    for depth in range(_DEEPEST + 1):
        level = [inner for v in level if isinstance(v, dict | list) for inner in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return depth
    return _DEEPEST + 1


def refusal(error: Refused) -> HttpReply:
    """The 4xx answer for `error`; a failed proof is not explained to whoever sent it."""
    reason = "the request could not be verified" if isinstance(error, VerificationError) else str(error)
    return HttpReply(error.status, json.dumps({"error": reason}, ensure_ascii=False).encode("utf-8", "replace").decode())
