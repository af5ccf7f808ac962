"""A local HTTP server that plays a vendor: routes, faults on demand, and what a person would see.

    class Desk(Simulator):
        @route("POST", r"/v1/messages/(?P<id>[^/]+)/reply")
        def reply(self, call: Call) -> Answer: ...

`Simulator()` is a context manager; `base` is its URL. Faults: `sim.fail("POST /v1/messages", times=1, status=503)` before the
vendor acts, `after=True` after it acted (the answer is lost: the connection is closed without a response when `status` is 0).
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message as MimeHeaders
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit


class World:
    """Unix seconds, the same for the vendors and for whoever calls them; `sleep` lets time pass without a wait."""

    def __init__(self) -> None:
        self._offset = 0.0

    def __call__(self) -> float:
        return time.time() + self._offset

    def sleep(self, seconds: float) -> None:
        """Now it is `seconds` later."""
        self._offset += seconds

    def begin(self) -> None:
        """Now it is now again: another test begins."""
        self._offset = 0.0


WORLD = World()
"""The clock of every simulator that is given none, and of the assistant in a test."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as the vendor sees it. `headers` by lower-case name; `params` the named groups of the route's pattern."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)
    raw_query: str = ""

    def json(self) -> Any:
        """The decoded JSON body; raises BadCall for anything else."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise BadCall(Answer(400, {"error": "body is not JSON"})) from None

    def form(self) -> dict[str, str]:
        """The decoded form body."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """What the vendor answers; `body` may be JSON-able, text or bytes."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, str]:
        """The body's bytes and its content type."""
        match self.body:
            case bytes():
                return self.body, "application/octet-stream"
            case str():
                return self.body.encode(), "text/plain; charset=utf-8"
            case None:
                return b"", "text/plain"
            case _:
                return json.dumps(self.body, ensure_ascii=False).encode(), "application/json; charset=utf-8"


class BadCall(Exception):
    """Raised inside a route to answer at once with `answer`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass
class Fault:
    """A fault that waits for its next call."""

    pattern: str
    times: int
    answer: Answer | None
    after: bool
    delay: float
    late: bool = False
    """The vendor does what it was asked, only later."""


Handler = TypeVar("Handler", bound=Callable[..., Answer])


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """Registers a method of a Simulator for requests whose whole path matches `pattern`."""

    def mark(handler: Handler) -> Handler:
        handler._route = (method, re.compile(pattern))  # type: ignore[attr-defined]  # read back by Simulator.__init__
        return handler

    return mark


class Server(ThreadingHTTPServer):
    """A server that takes it quietly when a caller is gone."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints what went wrong, unless it was the caller who left."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Simulator:
    """A vendor. `calls` keeps every request in order; subclasses keep what people see."""

    def __init__(self, *, clock: Callable[[], float] = WORLD) -> None:
        self.clock = clock
        self.calls: list[Call] = []
        self.dropped: list[str] = []
        """What it said it took and shows nobody: a limit of which a real vendor tells nothing either."""
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._routes = [
            (*getattr(type(self), name)._route, getattr(self, name))
            for name in dir(type(self))
            if hasattr(getattr(type(self), name), "_route")
        ]
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._away = False

    # --- life ---

    def start(self, port: int = 0) -> Self:
        """Serves on 127.0.0.1; `base` is the URL from now on."""
        simulator = self

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes: without it every answer takes 40 ms

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                simulator._answer(self, self.rfile.read(length))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = Server(("127.0.0.1", port), Http)
        self._port, self._away = self._server.server_address[1], False
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Ends the server."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def leave(self) -> None:
        """Nobody is there: no connection is accepted, and those that were open end without an answer or an effect."""
        self._away = True
        self.stop()

    def come_back(self) -> None:
        """At the old address again, after `leave`."""
        if self._away:
            self.start(self._port)

    def __enter__(self) -> Self:
        return self if self._server else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base(self) -> str:
        """Address of the vendor, without a slash at the end."""
        assert self._port, "the simulator is not started"
        return f"http://127.0.0.1:{self._port}"

    # --- faults ---

    def fail(
        self,
        pattern: str,
        *,
        times: int = 1,
        status: int = 503,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        after: bool = False,
        delay: float = 0,
    ) -> None:
        """The next `times` calls whose "METHOD /path" contains `pattern` fail with `status` (0: the connection drops).

        `after`: the vendor has acted by then, only its answer is lost. `delay` seconds pass before the answer.
        """
        answer = Answer(status, body, headers or {}) if status else None
        with self.lock:
            self._faults.append(Fault(pattern, times, answer, after, delay))

    def slow(self, pattern: str, *, times: int = 1, delay: float) -> None:
        """The next `times` calls whose "METHOD /path" contains `pattern` are answered `delay` seconds later than others."""
        with self.lock:
            self._faults.append(Fault(pattern, times, None, False, delay, late=True))

    def mend(self) -> None:
        """Nothing fails from now on."""
        with self.lock:
            self._faults.clear()

    def _fault(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self._faults:
                if fault.pattern in line and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    # --- serving ---

    def before(self, call: Call) -> Answer | None:
        """A subclass's check of every call (auth, rate limits); an Answer ends the call."""
        return None

    def _answer(self, http: BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(http.path)
        headers: MimeHeaders = http.headers
        call = Call(
            method=http.command,
            path=parts.path,
            raw_query=parts.query,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={k.lower(): v for k, v in headers.items()},
            body=body,
        )
        with self.lock:
            self.calls.append(call)
        if self._away:
            http.close_connection = True
            http.connection.close()
            return
        fault = self._fault(f"{call.method} {call.path}")
        if fault and fault.delay:
            time.sleep(fault.delay)  # plays a slow vendor
        if fault and fault.late:
            fault = None
        if fault and not fault.after:
            answer = fault.answer
        else:
            answer = self._route(call)
            if fault:
                answer = fault.answer
        if answer is None:
            http.close_connection = True
            http.connection.close()
            return
        content, kind = answer.encoded()
        http.send_response_only(answer.status)
        http.send_header("Date", formatdate(self.clock(), usegmt=True))  # the vendor's clock is the simulator's
        for name, value in {"content-type": kind, "content-length": str(len(content)), **answer.headers}.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(content)

    def _route(self, call: Call) -> Answer:
        try:
            for method, pattern, handler in self._routes:
                if method == call.method and (match := pattern.fullmatch(call.path)):
                    routed = Call(
                        method=call.method,
                        path=call.path,
                        query=call.query,
                        headers=call.headers,
                        body=call.body,
                        params=match.groupdict(),
                        raw_query=call.raw_query,
                    )
                    with self.lock:
                        return self.before(routed) or handler(routed)
            return self.unknown(call)
        except BadCall as bad:
            return bad.answer

    def unknown(self, call: Call) -> Answer:
        """The vendor's answer to a path it does not have."""
        return Answer(404, "404 page not found")
