"""Deployment → OpenSearch: mappings, retention and dashboards of the logs, whose failure fails the deployment; once a day → lines
that name somebody who was erased are forgotten."""

from __future__ import annotations

import os
import time
from typing import Any

from assistant.logsearch import forget_noted, load, signed
from assistant.parts.resources import Resources


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What was brought into the domain; for the event `{"task": "forget"}`, how many lines were deleted.

    Raises Unavailable where a part is refused.
    """
    import boto3

    app = Resources.start("search", os.environ)
    settings = app.settings
    credentials = boto3.Session(region_name=settings.region).get_credentials()
    send = signed(settings.log_search_url, region=settings.region, credentials=lambda: credentials, sleep=time.sleep)
    if event.get("task") == "forget":
        return {"deleted": forget_noted(app.table, send, tenant=settings.tenant, now=time.time())}
    return {"done": list(load(send, days=settings.log_search_days))}
