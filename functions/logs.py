"""Firehose → Firehose: CloudWatch's log records become redacted documents, for the search and for the archive."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from assistant.logpipe import LogPipe
from assistant.parts.resources import Resources


@cache
def pipe() -> LogPipe:
    """This process's pipe."""
    app = Resources.start("logs", os.environ)
    return LogPipe(client=lambda: app.client("firehose"), search=app.settings.log_search_stream, metrics=app.metrics)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What becomes of each record: delivered, dropped because it was put back line by line, or kept aside as it came."""
    return pipe().transform(event)
