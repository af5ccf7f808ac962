"""API Gateway → FastAPI: health, the web chat's turns, the console's files."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from mangum import Mangum

from assistant.api import create_app
from assistant.assembly import start


@cache
def application() -> Mangum:
    """This process's application."""
    return Mangum(create_app(start("api", os.environ)), lifespan="off")


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The HTTP answer to an API Gateway HTTP API event (payload 2.0)."""
    answer: dict[str, Any] = application()(event, context)
    return answer
