"""Logs and metrics as JSON lines on standard output: ECS field names, CloudWatch EMF. No AWS call, standard library only.

Message bodies and secrets never reach a log: callers log ids, counts and codes; `Redaction` is the second line of defence.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TextIO

NAMESPACE: Final = "Assistant"


class Metric:
    """Name and unit of a metric; read by the code that emits it and by the alarm that watches it."""

    __slots__ = ("name", "unit")

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit


ACCEPTED: Final = Metric("MessagesAccepted", "Count")
REFUSED: Final = Metric("WebhooksRefused", "Count")
ACK_TIME: Final = Metric("AcknowledgeTime", "Milliseconds")
TURNS: Final = Metric("TurnsAnswered", "Count")
TURN_TIME: Final = Metric("TurnTime", "Milliseconds")
TURN_FAILED: Final = Metric("TurnsFailed", "Count")
TURN_RESUMED: Final = Metric("TurnsResumed", "Count")
DUPLICATES: Final = Metric("DuplicatesSkipped", "Count")
DEAD_LETTERED: Final = Metric("TurnsDeadLettered", "Count")
WITHOUT_MODEL: Final = Metric("TurnsWithoutModel", "Count")
NOT_UNDERSTOOD: Final = Metric("TurnsNotUnderstood", "Count")
FIRST_TOKEN: Final = Metric("ModelTimeToFirstToken", "Milliseconds")
MODEL_ERRORS: Final = Metric("ModelErrors", "Count")
MODEL_FAILOVERS: Final = Metric("ModelFailovers", "Count")
MODEL_COST: Final = Metric("ModelCost", "None")
PROMPT_TOKENS: Final = Metric("PromptTokens", "Count")
CACHED_TOKENS: Final = Metric("CachedPromptTokens", "Count")
COMPLETION_TOKENS: Final = Metric("CompletionTokens", "Count")
SEND_ERRORS: Final = Metric("SendErrors", "Count")
TOOL_CALLS: Final = Metric("ToolCalls", "Count")
MODERATED: Final = Metric("TextsModerated", "Count")
"""Questions and answers that the company's policy did not let through as they were."""
DOUBTS: Final = Metric("DoubtsPutToModel", "Count")
"""Messages of which the classifier was not sure, by what the model made of them: `chosen`, `none`, `nonsense`, `failed`."""
FLOODED: Final = Metric("TurnsFlooded", "Count")
"""Messages of conversations that wrote faster than can be answered."""
BUDGET_REACHED: Final = Metric("BudgetsReached", "Count")
PROMPT_LEAKS: Final = Metric("AnswersWithheld", "Count")
PLUGIN_FAULTS: Final = Metric("PluginFaults", "Count")
REFRESH_FAILED: Final = Metric("TokenRefreshesFailed", "Count")
SEARCHED: Final = Metric("RetrievalsSearched", "Count")
RECALLED: Final = Metric("RetrievalsCached", "Count")
"""Questions whose passages came out of the cache; with the ones that were searched for, its hit rate."""
LOGS_ASIDE: Final = Metric("LogRecordsSetAside", "Count")
LIKED: Final = Metric("AnswersLiked", "Count")
DISLIKED: Final = Metric("AnswersDisliked", "Count")
FIRST_REPLY: Final = Metric("TimeToVisibleReply", "Milliseconds")

METRICS: Final[Mapping[str, Metric]] = {m.name: m for m in list(globals().values()) if isinstance(m, Metric)}

_SECRET = re.compile(
    r"(?i)(xox[abeprs]-[\w-]{6,}|xapp-[\w-]{6,}|\bak-[0-9a-f]{12}-[\w-]{20,}|bearer\s+[\w.~+/=-]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|\bt-[0-9a-zA-Z._-]{16,}|\bu-[0-9a-zA-Z._-]{16,}|"
    r"(?:secret|token|password|api_key|apikey|encrypt_key|aes_key|authorization|access_token)[\"']?\s*[:=]\s*[\"']?[^\s\"',}&]{6,})"
)


def redact(text: str) -> str:
    """`text` with everything that looks like a credential replaced."""
    return _SECRET.sub("[redacted]", text)


_TRACE: Final[ContextVar[str]] = ContextVar("trace", default="")
_ROOT = re.compile(r"(?:^|;)\s*Root=([0-9A-Za-z-]{1,64})")


@contextmanager
def traced(header: str) -> Iterator[None]:
    """Every line of log and every metric in here bears the trace id in `header`, a value of X-Amzn-Trace-Id."""
    token = _TRACE.set(trace_id(header))
    try:
        yield
    finally:
        _TRACE.reset(token)


def trace_id(header: str) -> str:
    """The id in a value of X-Amzn-Trace-Id, as `Root=1-67891233-abcdef012345678912345678`; empty where there is none."""
    found = _ROOT.search(header)
    return found[1] if found else ""


class EcsFormatter(logging.Formatter):
    """One JSON object a line in Elastic Common Schema field names."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, redacted."""
        line: dict[str, Any] = {
            "@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "log.level": record.levelname.lower(),
            "log.logger": record.name,
            "message": redact(record.getMessage()),
            "ecs.version": "8.11",
            **({"trace.id": trace} if (trace := _TRACE.get()) else {}),
        }
        for key, value in getattr(record, "ecs", {}).items():
            line[key] = redact(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[0]:
            line["error.type"] = record.exc_info[0].__name__
            line["error.stack_trace"] = redact("".join(traceback.format_exception(*record.exc_info))[-4000:])
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: str = "INFO", *, stream: TextIO | None = None, pretty: bool = False) -> None:
    """Sends every log record of the process to `stream` (standard output) in ECS JSON, or readable when `pretty`."""
    root = logging.getLogger()
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(_Readable() if pretty else EcsFormatter())
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("boto3", "botocore", "urllib3", "httpx", "httpcore", "werkzeug", "moto", "mangum"):
        logging.getLogger(noisy).setLevel("WARNING")


class _Readable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{k}={v}" for k, v in getattr(record, "ecs", {}).items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock} {record.levelname.lower():7} {record.getMessage()} {extra}"
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        return redact(text)


def log(logger: logging.Logger, level: int, message: str, **ecs: Any) -> None:
    """Logs `message` with ECS fields; `event_action="send"` becomes `event.action`."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={"ecs": {k.replace("_", ".", 1): v for k, v in ecs.items()}})


_LINE: Final = json.JSONEncoder(ensure_ascii=False)


@functools.lru_cache(maxsize=256)
def _declared(metrics: tuple[Metric, ...], dimensions: tuple[str, ...], by_ring: bool) -> str:
    """What a line of metrics says about itself; the same for every line of its kind."""
    sets = [["service"], *([["service", *dimensions]] if dimensions else []), *([["service", "ring"]] if by_ring else [])]
    named = [{"Name": m.name, "Unit": m.unit} for m in metrics]
    return _LINE.encode([{"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": named}])


class Metrics:
    """Writes metrics in CloudWatch's embedded metric format: one line, no call.

    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """

    def __init__(self, *, service: str, stream: TextIO | None = None) -> None:
        self._service = service
        self._stream = stream

    def emit(self, *values: tuple[Metric, float], of_ring: str = "", **dimensions: str) -> None:
        """Writes one line with each `(metric, value)` under the service and `dimensions` (few, low cardinality).

        `of_ring`: counted under the service and this ring as well, in the same line.
        """
        line: dict[str, Any] = {
            "service": self._service,
            **({"ring": of_ring} if of_ring else {}),
            **({"trace.id": trace} if (trace := _TRACE.get()) else {}),  # to be searched for; no dimension
            **dimensions,
        }
        for metric, value in values:
            line[metric.name] = value
        declared = _declared(tuple(m for m, _ in values), tuple(dimensions), bool(of_ring))
        timed = f'{{"_aws": {{"Timestamp": {int(time.time() * 1000)}, "CloudWatchMetrics": {declared}}}, '
        stream = self._stream or sys.stdout
        stream.write(f"{timed}{_LINE.encode(line)[1:]}\n")
        stream.flush()


class RecordedMetrics(Metrics):
    """Keeps what was emitted, for the local run and for tests; `prints` writes it as well.

    `timed`: each value with its Unix time, its metric's name and its ring.
    """

    def __init__(
        self,
        *,
        service: str = "recorded",
        clock: Callable[[], float] = time.time,
        timed: deque[tuple[float, str, float, str]] | None = None,
        prints: bool = False,
    ) -> None:
        super().__init__(service=service)
        self._clock = clock
        self._prints = prints
        self.lines: deque[tuple[str, float, Mapping[str, str]]] = deque(maxlen=100_000)
        self.timed = deque(maxlen=100_000) if timed is None else timed

    def emit(self, *values: tuple[Metric, float], of_ring: str = "", **dimensions: str) -> None:
        """Keeps each `(name, value, dimensions)`."""
        now = self._clock()
        self.lines.extend((m.name, v, dimensions) for m, v in values)
        self.timed.extend((now, m.name, v, of_ring) for m, v in values)
        if self._prints:
            super().emit(*values, of_ring=of_ring, **dimensions)

    def total(self, metric: Metric) -> float:
        """Sum of all values of `metric`."""
        return sum(v for name, v, _ in self.lines if name == metric.name)


@functools.cache
def process_figures() -> deque[tuple[float, str, float, str]]:
    """What the functions of this process have emitted lately, all of them together: the local run's CloudWatch."""
    return deque(maxlen=100_000)


def count(metrics: Metrics, names: Iterable[Metric], **dimensions: str) -> None:
    """Adds one to each metric in `names`."""
    metrics.emit(*((m, 1) for m in names), **dimensions)
