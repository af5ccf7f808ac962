"""API Gateway → FastAPI: the start and the callback of a user's authorisation."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from mangum import Mangum

from assistant.assembly import start
from assistant.oauth import create_app


@cache
def application() -> Mangum:
    """This process's application."""
    return Mangum(create_app(start("oauth", os.environ)), lifespan="off")


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The HTTP answer to an API Gateway HTTP API event (payload 2.0)."""
    answer: dict[str, Any] = application()(event, context)
    return answer
