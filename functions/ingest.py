"""S3 upload or schedule → knowledge: takes in, replaces or removes documents; fetches web pages again."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from assistant.assembly import Assistant
from assistant.knowledge.uploads import take_in
from assistant.storage import Bucket


@cache
def assistant() -> Assistant:
    """This process's assistant."""
    return Assistant.start("ingest", os.environ)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What became of each object: added, unchanged, refused with its reason, removed."""
    app = assistant()
    return take_in(app.knowledge_service, Bucket(app.settings.bucket, client=app.client("s3")), event)
