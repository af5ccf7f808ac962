"""API Gateway and Lambda on a laptop: the functions' own handlers, called with the events that AWS would send them."""

from __future__ import annotations

import base64
import importlib
import logging
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from assistant.errors import InvalidSetting
from assistant.queue import QUEUE
from assistant.settings import ROUTES, Route, Settings

logger = logging.getLogger(__name__)

LARGEST_REQUEST: Final = 10 * 1024 * 1024
"""Bytes that API Gateway takes in one request."""

Handler = Callable[[dict[str, Any], Any], Any]

_JSON: Final = [("content-type", "application/json")]


class Context:
    """What a handler is told about its invocation."""

    memory_limit_in_mb = 512
    function_version = "$LATEST"
    log_group_name = log_stream_name = "local"

    def __init__(self, function: str, seconds: float) -> None:
        self.function_name = function
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would stop the function."""
        return max(0, int((self._until - time.monotonic()) * 1000))


class Functions:
    """The handlers in `functions/`, imported and made ready on first use."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._ready: set[str] = set()
        self._lock = threading.RLock()

    def load(self, name: str) -> Handler:
        """`lambda_handler` of `functions/{name}.py`."""
        with self._lock:
            if name not in self._handlers:
                self._handlers[name] = importlib.import_module(f"functions.{name}").lambda_handler
            return self._handlers[name]

    def initialise(self, *names: str) -> None:
        """Makes what the functions keep between invocations (in a `functools.cache` of their own, without arguments): once,
        although many invocations begin at the same time here, while an environment of Lambda has one at a time."""
        for name in names:
            with self._lock:
                if name not in self._ready:
                    module = sys.modules[self.load(name).__module__]
                    for made in [m for m in vars(module).values() if hasattr(m, "cache_info")]:
                        if made.__module__ == module.__name__:
                            made()
                    self._ready.add(name)

    def invoke(self, name: str, event: dict[str, Any], *, seconds: float) -> Any:
        """What the function answers to `event`."""
        if name not in self._ready:
            self.initialise(name)
        return self.load(name)(event, Context(name, seconds))


# --- API Gateway -----------------------------------------------------------------------------------


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route for a request and its path parameters, URL-decoded, as API Gateway's HTTP API chooses it."""
    for route in ROUTES:
        if route.method in (method, "ANY") and (found := _pattern(route.path).fullmatch(path)):
            return route, {k: unquote(v) for k, v in found.groupdict().items()}
    return None


def _pattern(path: str) -> re.Pattern[str]:
    def group(found: re.Match[str]) -> str:
        return f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"

    return re.compile(re.sub(r"\{(\w+)(\+?)\}", group, path))


def event_of(
    route: Route, parameters: Mapping[str, str], *, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """An HTTP API event, payload format 2.0.

    Source: docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    text, encoded = _body(headers.get("content-type", ""), body)
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values[name] = f"{values[name]},{value}" if name in values else value
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{route.method} {route.path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"x-amzn-trace-id": f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]}", **headers},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": headers.get("host", "localhost"),
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": uuid.uuid4().hex,
            "routeKey": f"{route.method} {route.path}",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": encoded,
    }
    if cookies := event["headers"].pop("cookie", ""):
        event["cookies"] = [c.strip() for c in cookies.split(";") if c.strip()]
    if parameters:
        event["pathParameters"] = dict(parameters)
    if values:
        event["queryStringParameters"] = values
    if body:
        event["body"] = text
    return event


def _body(content_type: str, body: bytes) -> tuple[str, bool]:
    """API Gateway hands over text types as they are and everything else, forms included, in base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/json", "application/javascript", "application/xml"):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


class Gateway:
    """The WSGI application in front: one request → one event → one function → one answer."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers one request."""
        status, headers, body = self._answer(environ)
        start_response(f"{status} ", [*headers, ("content-length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        method = environ["REQUEST_METHOD"]
        path = environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")[0] or "/"
        found = match("GET" if method == "HEAD" else method, path)
        if found is None:
            return 404, _JSON, b'{"message":"Not Found"}'
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > LARGEST_REQUEST:
            return 413, _JSON, b'{"message":"Request Entity Too Large"}'
        event = event_of(
            *found,
            method="GET" if method == "HEAD" else method,
            path=path,
            query=environ.get("QUERY_STRING", ""),
            headers=_headers(environ),
            body=environ["wsgi.input"].read(length),
        )
        try:
            answer = self._functions.invoke(found[0].function, event, seconds=30)
        except Exception:  # API Gateway answers 500 for a function that fails, whatever it was
            logger.exception("function %s failed", found[0].function)
            return 500, _JSON, b'{"message":"Internal Server Error"}'
        raw = answer.get("body") or ""
        body = base64.b64decode(raw) if answer.get("isBase64Encoded") else raw.encode()
        headers = [(k, v) for k, v in (answer.get("headers") or {}).items() if k.lower() != "content-length"]
        headers += [("set-cookie", c) for c in answer.get("cookies") or ()]
        return answer["statusCode"], headers, body


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises InvalidSetting where the address cannot be had."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(256)
    except (OSError, OverflowError) as error:
        made.close()
        raise InvalidSetting(f"cannot listen on {host}:{port}: {error}; choose another port with --port") from None
    return made


def serve(listening: socket.socket, functions: Functions) -> Any:
    """A server that answers on `listening` from a thread of its own; `shutdown()` ends it."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, type: str, message: str, *args: Any) -> None:
            """Says nothing: the functions log for themselves."""

    host, port = listening.getsockname()[:2]
    server = make_server(host, port, Gateway(functions), threaded=True, request_handler=Quiet, fd=listening.fileno())
    threading.Thread(target=server.serve_forever, args=(0.05,), name="gateway", daemon=True).start()
    return server


# --- the event source mapping ------------------------------------------------------------------------


class EventSource:
    """SQS → function, as Lambda's event source mapping does it: batches, side by side, partial failures left in the queue."""

    def __init__(
        self, functions: Functions, client: Any, settings: Settings, *, function: str = "dialogue", side_by_side: int = 64
    ):
        self._functions = functions
        self._client = client
        self._url = settings.turns_queue_url
        self._function = function
        self._free = threading.Semaphore(side_by_side)
        self._pool = ThreadPoolExecutor(max_workers=side_by_side, thread_name_prefix=function)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="event-source", daemon=True)

    def start(self) -> None:
        """Begins to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more; what runs is finished."""
        self._ended.set()
        self._thread.join(timeout=3)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._free.acquire()
            try:
                records = self.receive(wait=1)
            except Exception:  # the mapping never ends because of one failed poll
                logger.exception("the queue cannot be polled")
                records = []
                self._ended.wait(1.0)
            if records and not self._ended.is_set():
                self._pool.submit(self._run, records)
            else:
                self._free.release()

    def receive(self, *, wait: int) -> list[dict[str, Any]]:
        """The records of the next batch, in the shape of an SQS event's."""
        found = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=QUEUE.batch_size,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        return [
            {
                "messageId": m["MessageId"],
                "receiptHandle": m["ReceiptHandle"],
                "body": m["Body"],
                "attributes": m["Attributes"],
                "messageAttributes": m.get("MessageAttributes", {}),
                "md5OfBody": m["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:turns.fifo",
                "awsRegion": "us-east-1",
            }
            for m in found
        ]

    def _run(self, records: list[dict[str, Any]]) -> None:
        try:
            self.invoke(records)
        except Exception:  # a function that fails leaves its whole batch to the visibility time-out
            logger.exception("function %s failed", self._function)
        finally:
            self._free.release()

    def invoke(self, records: list[dict[str, Any]]) -> None:
        """Hands one batch to the function and deletes what it finished."""
        answer = self._functions.invoke(self._function, {"Records": records}, seconds=QUEUE.function_timeout) or {}
        failed = {f["itemIdentifier"] for f in answer.get("batchItemFailures", ())}
        for record in records:
            if record["messageId"] not in failed:
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=record["receiptHandle"])


# --- the schedule --------------------------------------------------------------------------------------


class Schedule:
    """A rule of EventBridge: hands `event` to a function every so many seconds."""

    def __init__(self, functions: Functions, function: str, event: Mapping[str, Any], *, every: float) -> None:
        self._functions = functions
        self._function = function
        self._event = event
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        """Begins; the first time is after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """No further event; one that is being worked on is waited for."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self._functions.invoke(self._function, dict(self._event), seconds=300)
            except Exception:  # the next event comes whatever became of this one
                logger.exception("function %s failed on its schedule", self._function)
