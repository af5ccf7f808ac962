"""Files that somebody puts into the bucket under `documents/` go into the knowledge; files taken away go out of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from assistant.knowledge.loaders import Unreadable, check_size
from assistant.knowledge.service import Filing, Report, Service, Upload
from assistant.knowledge.versions import UPLOADED, Objects
from assistant.observability import log

logger = logging.getLogger(__name__)

SCHEDULED: Final = "Scheduled Event"

PREFIX: Final = UPLOADED
"""`documents/hr/leave.pdf` becomes the document `hr/leave.pdf` in the folder `hr`, with that folder's audience."""


def take_in(service: Service, objects: Objects, event: Mapping[str, Any]) -> dict[str, Any]:
    """What became of the objects that an event names. Raises Unavailable while another writer works: the event comes again.

    A scheduled event, by itself or through the queue, has the web pages fetched again. Then a model, where there is one, reads
    facts out of what it has not read yet.
    """
    report = Report()
    removed: list[str] = []
    if _is_scheduled(event):
        report = service.refresh_pages(author="schedule")
    for path, gone, size in _changes(event):
        if not path.startswith(PREFIX) or path.endswith("/"):
            continue
        name = path.removeprefix(PREFIX)
        folder, _, file = name.rpartition("/")
        if gone:
            removed += service.remove([name], author="upload")["removed"]
            continue
        try:
            check_size(name, size)
            content = objects.get(path)
        except Unreadable as error:
            report.refused.append((name, error.reason))
            continue
        except KeyError:
            continue  # removed again before we came; its own event says so
        part = service.add([Upload(name=file, content=content)], Filing(folder=folder, author="upload"))
        report.added += part.added
        report.unchanged += part.unchanged
        report.refused += part.refused
        report.version = part.version or report.version
    for refused, reason in report.refused:
        log(logger, logging.WARNING, "upload refused", file_name=refused, event_reason=reason)
    facts = service.read_facts() if service.reads_facts else {}
    return report.to_dict() | {"removed": removed, "facts": facts}


def _is_scheduled(event: Mapping[str, Any]) -> bool:
    """Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html (detail-type of a rule's schedule)."""
    told = [event, *(json.loads(r["body"]) for r in event.get("Records", ()) if "body" in r)]
    return any(t.get("detail-type") == SCHEDULED for t in told)


def _changes(event: Mapping[str, Any]) -> Iterator[tuple[str, bool, int]]:
    """Path of each object that the event names, whether it was taken away, and its bytes.

    Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (from S3 itself; the key is
    encoded) and …/ev-events.html (from EventBridge by way of a queue; the key is plain).
    """
    for record in event.get("Records", ()):
        if "s3" in record:
            name = str(record["eventName"]).removeprefix("s3:")
            about = record["s3"]["object"]
            yield unquote_plus(about["key"]), name.startswith("ObjectRemoved"), int(about.get("size") or 0)
        else:
            told = json.loads(record["body"])
            if told["detail-type"] == SCHEDULED:
                continue
            about = told["detail"]["object"]
            yield about["key"], told["detail-type"] == "Object Deleted", int(about.get("size") or 0)
