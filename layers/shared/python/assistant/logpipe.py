"""From CloudWatch's log records to documents in Elastic Common Schema, redacted: what Firehose asks before it delivers.

A subscription sends each batch of log lines gzipped into Firehose; Firehose asks this function what to deliver, and asks again
when it fails. Nothing is lost: a record that cannot be read goes, as it came, to the error prefix in S3, and so does one whose
lines cannot all be put back. A document can therefore come twice, never not at all.

Firehose wants one answer for each record, and OpenSearch one document for each record. Where a record holds several lines, the
stream that feeds the search gets them back one by one (`PutRecordBatch` into itself) and the record is dropped; the stream that
feeds S3 gets them in one answer, a line each, as long as all answers together stay within what a function may return.

Sources: docs.aws.amazon.com/firehose/latest/dev/data-transformation.html (records and their states, 6 MB),
…/firehose/latest/APIReference/API_PutRecordBatch.html (500 records, 4 MiB, 1,000 KiB each, partial failures),
docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html (the shape of a record), elastic.co/guide/en/ecs/8.11.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import logging
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from assistant.errors import Unavailable
from assistant.observability import LOGS_ASIDE, Metrics, log, redact

logger = logging.getLogger(__name__)

ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Of all answers together, in base64; a function may return 6 MB."""
RECORD_BYTES: Final = 1000 * 1024
"""Firehose takes no longer record."""
BATCH_BYTES: Final = 3 * 1024 * 1024
BATCH_RECORDS: Final = 500
UNPACKED_BYTES: Final = 64 * 1024 * 1024
"""Of one record: more is not a batch of log lines, but something made to fill the memory."""
FIELD_CHARACTERS: Final = 100_000
"""Of one text in a document; the rest is cut off and `labels.cut` says so. CloudWatch keeps the whole line."""
TRIES: Final = 4

Document = dict[str, Any]
"""One line of log. `Any`: what a line holds is JSON."""
_BASE = frozenset({"@timestamp", "message", "tags", "labels"})
_SECRET = re.compile(r"(?i)(secret|passw(or)?d|authorization|cookie|api_?key|(access|refresh|bot|id)_token|encrypt_key|aes_key)$")
"""Names of what no log should hold: the value goes, whatever it looks like."""
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")
_REPORT = re.compile(r"REPORT RequestId: (\S+)\s+Duration: ([\d.]+) ms.*?Max Memory Used: (\d+) MB", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Firehose is told about one record."""

    id: str
    result: Literal["Ok", "Dropped", "ProcessingFailed"]
    data: str = ""
    """Base64."""

    def to_dict(self) -> dict[str, str]:
        """As Firehose reads it; a dropped record has no data."""
        return {"recordId": self.id, "result": self.result, **({"data": self.data} if self.result != "Dropped" else {})}


class LogPipe:
    """Answers Firehose. `client` makes Firehose's own client; `search` names the stream that wants one document a record."""

    def __init__(
        self,
        *,
        client: Callable[[], Any],
        search: str,
        metrics: Metrics,
        sleep: Callable[[float], None] = time.sleep,
        answer_bytes: int = ANSWER_BYTES,
    ) -> None:
        self._client = client
        self._search = search
        self._metrics = metrics
        self._sleep = sleep
        self._answer_bytes = answer_bytes

    def transform(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """An answer for each record of `event`, in its order."""
        stream = str(event["deliveryStreamArn"]).rpartition("/")[2]
        room = self._answer_bytes
        answers = []
        for record in event["records"]:
            answer = self._one(record, stream, room)
            room -= len(answer.data)
            answers.append(answer)
        return {"records": [answer.to_dict() for answer in answers]}

    def _one(self, record: Mapping[str, Any], stream: str, room: int) -> Answer:
        id_, given = str(record["recordId"]), str(record["data"])
        try:
            raw = base64.b64decode(given, validate=True)
            lines = list(_lines(raw))
        except (ValueError, binascii.Error, OSError, EOFError, zlib.error, LookupError, TypeError, RecursionError) as error:
            log(logger, logging.ERROR, "a log record cannot be read", event_reason=type(error).__name__, firehose_record=id_)
            self._metrics.emit((LOGS_ASIDE, 1))
            return Answer(id=id_, result="ProcessingFailed", data=given)
        if not lines:
            return Answer(id=id_, result="Dropped")
        searched = stream == self._search
        whole = base64.b64encode(lines[0] if searched else b"\n".join(lines) + b"\n").decode()
        if (len(lines) == 1 or not searched) and len(whole) <= room:
            return Answer(id=id_, result="Ok", data=whole)
        try:
            self._put_back(stream, lines if searched else _packed(lines))
        except Unavailable as error:
            log(logger, logging.ERROR, "log lines could not be put back", event_reason=str(error), firehose_record=id_)
            self._metrics.emit((LOGS_ASIDE, 1))
            return Answer(id=id_, result="ProcessingFailed", data=given)
        return Answer(id=id_, result="Dropped")

    def _put_back(self, stream: str, pieces: Sequence[bytes]) -> None:
        """Puts each piece into `stream` as a record of its own; raises Unavailable where not all are taken."""
        from botocore.exceptions import BotoCoreError, ClientError

        for batch in _batches(pieces):
            left = list(batch)
            for attempt in range(TRIES):
                if attempt:
                    self._sleep(0.1 * 4 ** (attempt - 1))
                try:
                    done = self._client().put_record_batch(DeliveryStreamName=stream, Records=[{"Data": p} for p in left])
                except (BotoCoreError, ClientError) as error:
                    log(logger, logging.WARNING, "Firehose takes no lines back", event_reason=type(error).__name__)
                    continue
                left = [p for p, told in zip(left, done["RequestResponses"], strict=True) if told.get("ErrorCode")]
                if not left:
                    break
            if left:
                raise Unavailable(f"Firehose refused {len(left)} of {len(batch)} lines {TRIES} times")


def _lines(raw: bytes) -> Iterator[bytes]:
    """The documents in a record, a JSON text each: CloudWatch's batches, or what was put back. Raises ValueError and others."""
    if raw[:2] != b"\x1f\x8b":
        for line in raw.splitlines():
            if not isinstance(json.loads(line), dict):
                raise ValueError("a line that is no document")
            yield line
        return
    batch = json.loads(_unpacked(raw))
    match batch["messageType"]:
        case "DATA_MESSAGE":
            for event in batch["logEvents"]:
                yield _fitting(document(event, batch))
        case "CONTROL_MESSAGE":  # CloudWatch tries whether anybody is there
            return
        case other:
            raise ValueError(f"messages of type {other!r}")


def _unpacked(raw: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as archive:
        text = archive.read(UNPACKED_BYTES + 1)
    if len(text) > UNPACKED_BYTES:
        raise ValueError(f"more than {UNPACKED_BYTES} bytes unpacked")
    return text


def document(event: Mapping[str, Any], batch: Mapping[str, Any]) -> Document:
    """One log line as a document: ECS names, credentials redacted, and where it came from."""
    text = str(event["message"])
    at = int(event["timestamp"])
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        line = None
    found: Document = _named(line) if isinstance(line, dict) else _plain(text)
    made = str(found.get("@timestamp", ""))
    if not _ISO.fullmatch(made):  # an access log's time, or none
        found["@timestamp"] = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at // 1000))}.{at % 1000:03d}Z"
    group = str(batch["logGroup"])
    found.setdefault("ecs.version", "8.11")
    found.setdefault("service.name", group.rpartition("/")[2])
    found["cloud.provider"] = "aws"
    found["cloud.account.id"] = str(batch["owner"])
    found["aws.cloudwatch.log_group"] = group
    found["aws.cloudwatch.log_stream"] = str(batch["logStream"])
    found["aws.cloudwatch.event_id"] = str(event["id"])
    if stage := re.fullmatch(r"/assistant/([^/]+)/.+", group):
        found["service.environment"] = stage[1]
    clean: Document = _redacted(found)
    if any(isinstance(v, str) and len(v) > FIELD_CHARACTERS for v in clean.values()):
        clean = {k: v[:FIELD_CHARACTERS] if isinstance(v, str) else v for k, v in clean.items()}
        clean["labels.cut"] = "true"
    return clean


def _named(line: Document) -> Document:
    """A JSON line with ECS names: metrics, labels and what is named already each where a mapping expects it."""
    found: Document = {}
    metrics: set[str] = set()
    if isinstance(embedded := line.get("_aws"), dict):
        metrics = {m["Name"] for d in embedded.get("CloudWatchMetrics", ()) for m in d.get("Metrics", ())}
        found["event.kind"] = "metric"
    for name, value in line.items():
        if name == "_aws":
            continue
        if name == "service":
            found["service.name"] = value
        elif name in metrics:
            found[f"assistant.metrics.{name}"] = value
        elif name in _BASE or "." in name:
            found[name] = value
        else:  # a short name of ours: never an object, so that no mapping can conflict with it
            found[f"labels.{name}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def _plain(text: str) -> Document:
    """A line that is no JSON: what Lambda itself writes, or a library."""
    found: Document = {"message": text.rstrip("\n")}
    if report := _REPORT.match(text):
        found["faas.execution"] = report[1]
        found["event.duration"] = int(float(report[2]) * 1e6)
        found["assistant.metrics.MemoryUsed"] = int(report[3])
        found["faas.coldstart"] = "Init Duration:" in text or "Restore Duration:" in text
    return found


def _redacted(value: Any) -> Any:
    """`value` with every text in it redacted. `Any`: JSON of any shape."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {k: "[redacted]" if isinstance(v, str) and _SECRET.search(k) else _redacted(v) for k, v in value.items()}
        case list():
            return [_redacted(v) for v in value]
    return value


def _fitting(found: Document) -> bytes:
    """The document as one line that Firehose takes."""
    line = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    if len(line) < RECORD_BYTES:
        return line
    kept = {k: v for k, v in found.items() if k.startswith(("@", "aws.", "cloud.", "ecs.", "service.", "log.", "trace."))}
    kept |= {"message": str(found.get("message", ""))[:FIELD_CHARACTERS], "labels.cut": "true"}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _packed(lines: Sequence[bytes]) -> list[bytes]:
    """As few records as hold `lines`, for a stream that takes several in one; half full, because base64 makes them grow."""
    packs: list[bytes] = []
    for line in lines:
        if packs and len(packs[-1]) + len(line) < RECORD_BYTES // 2:
            packs[-1] += b"\n" + line
        else:
            packs.append(line)
    return packs


def _batches(pieces: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """`pieces` in groups that one call takes."""
    batch: list[bytes] = []
    size = 0
    for piece in pieces:
        if batch and (len(batch) == BATCH_RECORDS or size + len(piece) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece) + 1
    if batch:
        yield batch
