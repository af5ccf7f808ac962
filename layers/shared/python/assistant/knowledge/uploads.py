"""Files that somebody puts into the bucket under `documents/` go into the knowledge; files taken away go out of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from assistant.knowledge.service import Filing, Report, Service, Upload
from assistant.knowledge.versions import Objects
from assistant.observability import log

logger = logging.getLogger(__name__)

PREFIX: Final = "documents/"
"""`documents/hr/leave.pdf` becomes the document `hr/leave.pdf` in the folder `hr`, with that folder's audience."""


def take_in(service: Service, objects: Objects, event: Mapping[str, Any]) -> dict[str, Any]:
    """What became of the objects that an event names. Raises Unavailable while another writer works: the event comes again.

    A scheduled event has the web pages fetched again.
    """
    if event.get("detail-type") == "Scheduled Event":
        return service.refresh_pages(author="schedule").to_dict() | {"removed": []}
    report = Report()
    removed: list[str] = []
    for path, gone in _changes(event):
        if not path.startswith(PREFIX) or path.endswith("/"):
            continue
        name = path.removeprefix(PREFIX)
        folder, _, file = name.rpartition("/")
        if gone:
            removed += service.remove([name], author="upload")["removed"]
            continue
        try:
            content = objects.get(path)
        except KeyError:
            continue  # removed again before we came; its own event says so
        part = service.add([Upload(name=file, content=content)], Filing(folder=folder, author="upload"))
        report.added += part.added
        report.unchanged += part.unchanged
        report.refused += part.refused
        report.version = part.version or report.version
    for refused, reason in report.refused:
        log(logger, logging.WARNING, "upload refused", file_name=refused, event_reason=reason)
    return report.to_dict() | {"removed": removed}


def _changes(event: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Path of each object that the event names, and whether it was taken away.

    Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (from S3 itself; the key is
    encoded) and …/ev-events.html (from EventBridge by way of a queue; the key is plain).
    """
    for record in event.get("Records", ()):
        if "s3" in record:
            name = str(record["eventName"]).removeprefix("s3:")
            yield unquote_plus(record["s3"]["object"]["key"]), name.startswith("ObjectRemoved")
        else:
            told = json.loads(record["body"])
            yield told["detail"]["object"]["key"], told["detail-type"] == "Object Deleted"
