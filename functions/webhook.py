"""API Gateway → queue: proves, decrypts and parses a platform's webhook, and answers at once."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from assistant.messages import Webhook
from assistant.parts.channels import ChannelParts
from assistant.platforms import PLATFORMS
from assistant.starting import ahead, unswept


@cache
def assistant() -> ChannelParts:
    """The parts of the assistant that this process needs."""
    with unswept():
        return ChannelParts.start("webhook", os.environ).ready()


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The HTTP answer to an API Gateway HTTP API event (payload 2.0)."""
    return assistant().intake.handle(Webhook.from_event(event)).to_event()


ahead(os.environ, assistant, modules=["assistant.intake", "botocore.session", *(p.partition(":")[0] for p in PLATFORMS.values())])
