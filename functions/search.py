"""Deployment → OpenSearch: mappings, retention and dashboards of the logs. A failure fails the deployment."""

from __future__ import annotations

import os
import time
from typing import Any

from assistant.assembly import start
from assistant.logsearch import load, signed


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What was brought into the domain; raises Unavailable where a part is refused."""
    import boto3

    settings = start("search", os.environ).settings
    credentials = boto3.Session(region_name=settings.region).get_credentials()
    send = signed(settings.log_search_url, region=settings.region, credentials=lambda: credentials, sleep=time.sleep)
    return {"done": list(load(send, days=settings.log_search_days))}
