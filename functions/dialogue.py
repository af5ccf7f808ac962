"""Queue → reply: takes the turns of an SQS batch and names those to be delivered again."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from assistant.assembly import Assistant
from assistant.starting import ahead, unswept

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def assistant() -> Assistant:
    """This process's assistant."""
    with unswept():
        return Assistant.start("dialogue", os.environ).ready()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """The partial batch response to an SQS event."""
    return assistant().worker.process(event, seconds=context.get_remaining_time_in_millis() / 1000)


ahead(os.environ, assistant)
