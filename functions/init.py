"""Deployment → first data: parameters, default knowledge, a verified health report. A failure fails the deployment."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from assistant.assembly import Assistant, start
from assistant.initialise import initialise, require_good


@cache
def assistant() -> Assistant:
    """This process's assistant."""
    return start("init", os.environ)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The report of an idempotent initialisation; raises InitialisationFailed where a step is not good."""
    report = initialise(assistant())
    require_good(report)
    return {"steps": [step.to_dict() for step in report]}
