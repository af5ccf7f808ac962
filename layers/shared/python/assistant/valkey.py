"""Valkey or Redis as the level of the cache that all instances share, spoken to in RESP over one connection.

Four commands on single keys are all that is asked, so there is no client library: nothing more to load at a cold start, and
ElastiCache Serverless, which shows itself as one node, needs no map of a cluster.

Sources: valkey.io/topics/protocol (RESP2), valkey.io/commands/set (PXAT),
docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html (a signed request as the password, good for 15 minutes).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from assistant.errors import InvalidSetting, Unavailable
from assistant.observability import log

if TYPE_CHECKING:
    from assistant.cache import Shared

logger = logging.getLogger(__name__)

TIMEOUT: Final = 0.5
"""Seconds for connecting and for each answer; a cache that is slower than the source is of no use."""
PAUSE: Final = 5.0
"""Seconds without another try after the server did not answer, so that an outage costs one wait and not one for each value."""
LONGEST: Final = 1024 * 1024
"""Bytes of an answer that are read; nothing we store is longer."""
_LINE: Final = 64 * 1024

Answer = str | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is and how to sign in."""

    host: str
    port: int = 6379
    tls: bool = False
    user: str = ""
    password: str = ""
    database: int = 0
    iam: str = ""
    """Name of an ElastiCache Serverless cache at which the role signs in; empty: the password, or nothing."""


def parse(url: str) -> Address:
    """The address in `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`; `rediss` is over TLS. Raises InvalidSetting."""
    good = "a good one looks like redis://127.0.0.1:6379 or rediss://USER@HOST:6379?iam=CACHE"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidSetting(f"the cache's address is none; {good}") from None
    shown = f"{parts.scheme}://{parts.hostname or ''}"  # never the password
    try:
        port, database = parts.port or 6379, int(parts.path.strip("/") or 0)
    except ValueError:
        raise InvalidSetting(f"the cache {shown} has a port or a database that is no number; {good}") from None
    if parts.scheme not in {"redis", "rediss", "valkey", "valkeys"} or not parts.hostname:
        raise InvalidSetting(f"the cache {shown} cannot be used; {good}")
    user, iam = unquote(parts.username or ""), parse_qs(parts.query).get("iam", [""])[0]
    tls = parts.scheme in {"rediss", "valkeys"}
    if iam and not (user and tls):
        raise InvalidSetting(f"the cache {shown} signs in with a role and so needs a user and TLS; {good}")
    password = unquote(parts.password or "")
    return Address(host=parts.hostname, port=port, tls=tls, user=user, password=password, database=database, iam=iam)


def iam_password(address: Address, *, region: str) -> str:
    """A password for `address` signed with this process's role; it signs in for the next 15 minutes."""
    import boto3
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    credentials = boto3.Session(region_name=region).get_credentials()
    if credentials is None:
        raise Unavailable(f"the cache {address.iam}: this process has no role to sign in with")
    query = urlencode({"Action": "connect", "User": address.user, "ResourceType": "ServerlessCache"})
    request = AWSRequest("GET", f"http://{address.iam}/?{query}")
    SigV4QueryAuth(credentials.get_frozen_credentials(), "elasticache", region, expires=900).add_auth(request)
    return str(request.url).removeprefix("http://")


class Valkey:
    """A connection that is made when it is needed and made again when it broke. Safe to use from several threads.

    Raises Unavailable whenever the server does not give the answer, whatever the reason.
    """

    def __init__(
        self,
        url: str,
        *,
        region: str = "us-east-1",
        clock: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._address = parse(url)
        self._region = region
        self._clock = clock
        self._timeout = timeout
        self._trust = trust
        self._wire: _Wire | None = None
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def ask(self, *command: str) -> Answer:
        """The server's answer to `command`, which must be one that may be sent twice."""
        with self._lock:
            if (left := self._rests_until - self._clock()) > 0:
                raise Unavailable(f"the cache {self._address.host} did not answer; next try in {left:.0f} s")
            try:
                return self._ask(command)
            except (OSError, ValueError) as error:  # a broken line, a time-out, TLS, or what is no RESP
                self._close()
                self._rests_until = self._clock() + PAUSE
                raise Unavailable(f"the cache {self._address.host}: {type(error).__name__}") from error

    def _ask(self, command: tuple[str, ...]) -> Answer:
        if self._wire is not None:
            try:
                return self._wire.ask(command)
            except TimeoutError:
                raise
            except (OSError, ValueError):  # closed while nobody spoke, as after a freeze: a new connection tells
                self._close()
        self._wire = self._connect()
        return self._wire.ask(command)

    def _connect(self) -> _Wire:
        to = self._address
        line = socket.create_connection((to.host, to.port), timeout=self._timeout)
        wire = None
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if to.tls:  # takes the socket over, and closes it when it fails
                line = (self._trust or ssl.create_default_context()).wrap_socket(line, server_hostname=to.host)
            wire = _Wire(line)
            password = iam_password(to, region=self._region) if to.iam else to.password
            if password:
                wire.ask(("AUTH", to.user, password) if to.user else ("AUTH", password))
            if to.database:
                wire.ask(("SELECT", str(to.database)))
        except BaseException:
            if wire:
                wire.close()
            line.close()
            raise
        return wire

    def close(self) -> None:
        """Ends the connection; the next command makes a new one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class _Wire:
    """RESP2 over one socket: one command, one answer."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._file = line.makefile("rb")

    def ask(self, command: tuple[str, ...]) -> Answer:
        parts = [part.encode("utf-8", "surrogatepass") for part in command]
        self._line.sendall(b"".join((b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))))
        return self._answer()

    def _answer(self) -> Answer:
        head = self._file.readline(_LINE)
        if not head.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        kind, rest = head[:1], head[1:-2]
        match kind:
            case b"+":
                return rest.decode()
            case b":":
                return int(rest)
            case b"-":
                word = rest.decode("utf-8", "replace").partition(" ")[0]  # the rest may repeat what was stored
                raise ConnectionRefusedError(f"the server answers {word[:40]}")
            case b"$":
                if (length := int(rest)) < 0:
                    return None
                if length > LONGEST:
                    raise ValueError(f"an answer of {length} bytes; at most {LONGEST} are read")
                body = self._file.read(length + 2)
                if len(body) != length + 2 or not body.endswith(b"\r\n"):
                    raise ConnectionResetError("the answer ended early")
                return body[:-2].decode("utf-8", "surrogatepass")
        raise ValueError(f"not RESP: {head[:20]!r}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._line.close()


class ServerCache:
    """Valkey or Redis before the table: values live in the server; what must not be forgotten is noted in `durable`.

    A cache may forget: it has a limit of memory and is emptied when it is replaced. A value is then loaded anew, which is only
    slower. That a signature was seen before must outlive that, so `add` is the table's.
    """

    def __init__(self, server: Valkey, durable: Shared, *, prefix: str) -> None:
        self._server = server
        self._durable = durable
        self._prefix = prefix

    def read(self, key: str) -> tuple[str, float] | None:
        """The stored value and its end. Raises Unavailable."""
        found = self._server.ask("GET", self._prefix + key)
        if not isinstance(found, str):
            return None
        until, mark, value = found.partition("\n")
        try:
            return (value, float(until)) if mark else None
        except ValueError:
            return None  # somebody else's value under our key

    def write(self, key: str, value: str, until: float) -> None:
        """Stores the value; the server deletes it at its end. Raises Unavailable."""
        self._server.ask("SET", self._prefix + key, f"{until!r}\n{value}", "PXAT", str(int(until * 1000)))

    def add(self, key: str, value: str, until: float) -> bool:
        """Stores the value where none stands, in the durable level."""
        return self._durable.add(key, value, until)

    def drop(self, key: str) -> None:
        """Removes the value; where the server does not answer, `read` does not either, and the source is asked."""
        try:
            self._server.ask("DEL", self._prefix + key)
        except Unavailable as error:
            log(logger, logging.WARNING, "a cached value could not be removed", event_reason=str(error))
