"""API Gateway → FastAPI: health, the web chat's turns, the console's files."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from assistant.api import create_app, http_handler
from assistant.assembly import Assistant
from assistant.starting import ahead, unswept


@cache
def handler() -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """This process's application."""
    with unswept():
        return http_handler(create_app(Assistant.start("api", os.environ)))


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The HTTP answer to an API Gateway HTTP API event (payload 2.0)."""
    return handler()(event, context)


ahead(os.environ, handler)
