"""Deployment → first data and a verified health report, whose failure fails the deployment; schedule → a look at the roll-out or
at forms that were left open."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from assistant.assembly import Assistant
from assistant.initialise import initialise, require_good
from assistant.promotion import look


@cache
def assistant() -> Assistant:
    """This process's assistant."""
    return Assistant.start("init", os.environ)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The report of an idempotent initialisation; raises InitialisationFailed where a step is not good.

    An event `{"task": "rollout"}`: what one look at the roll-out's plan has shown; `{"task": "silence"}`: how many people who
    left a form open were reminded.
    """
    if event.get("task") == "rollout":
        return look(assistant().promotion)
    if event.get("task") == "silence":
        return dict(assistant().reminders.look())
    report = initialise(assistant())
    require_good(report)
    return {"steps": [step.to_dict() for step in report]}
