"""HTTP to addresses that somebody else chose: public hosts only, pinned, bounded.

The name is resolved once, every address it has must be public, and the connection goes to the very address that was checked:
a name that changes its mind between the check and the call gains nothing. Proxies of the environment are not used; they would
resolve the name again.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from assistant.errors import AssistantError

Resolve = Callable[[str, int], Iterable[str]]
Allow = Callable[[str], bool]

MOST_BYTES: Final = 2 * 1024 * 1024
MOST_REDIRECTS: Final = 5
SECONDS: Final = 20.0

_METADATA: Final = ipaddress.ip_network("fd00:ec2::/32")
"""Where AWS answers about a machine over IPv6."""

_PRIVATE_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class NotReached(AssistantError):
    """An address that could not or must not be called: says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebReply:
    """What a server answered. `headers` by lower-case name; `url` is where it really is, after redirects."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""


def is_public(address: str) -> bool:
    """True for an address of the public internet; the inner IPv4 address of IPv6 forms counts too."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def is_no_metadata(address: str) -> bool:
    """True for every address but a cloud's metadata service and the like: link-local, multicast and unspecified ones."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return is_no_metadata(str(ip.ipv4_mapped))
    return not (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA)


def resolve(host: str, port: int) -> Iterable[str]:
    """Every address of `host`."""
    return dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def connect(
    url: str, *, resolve: Resolve = resolve, allow: Allow = is_public, timeout: float = SECONDS, tls: ssl.SSLContext | None = None
) -> tuple[http.client.HTTPConnection, str]:
    """A connection to the checked address of `url`'s host, not opened yet, and the path to ask for. Raises NotReached."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
        host = host if ":" in host else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        raise NotReached(f"{url!r} is no web address") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise NotReached(f"{url!r} is no web address; it must begin with https:// or http://")
    if parts.username or parts.password:
        raise NotReached(f"the address of {host} holds a user name or password; leave it out")
    try:
        addresses = list(resolve(host, port))
    except OSError as error:
        raise NotReached(f"{url}: no such host {host!r}") from error
    for address in addresses:  # all of them: one private address among public ones is an attack, not a mistake
        if not allow(address.partition("%")[0]):
            raise NotReached(f"{url}: {host!r} is at a private or local address; only public ones are called")
    if not addresses:
        raise NotReached(f"{url}: no such host {host!r}")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
        f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    )
    secure = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
    return _Pinned(host, port, addresses[0], timeout=timeout, tls=secure), path


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    hosts: Iterable[str] = (),
    resolve: Resolve = resolve,
    allow: Allow = is_public,
    most_bytes: int = MOST_BYTES,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
    tls: ssl.SSLContext | None = None,
) -> WebReply:
    """The answer of `url`. `hosts`: the only ones it may go to, redirects included; empty for every public one.

    A GET follows redirects, each checked anew, and leaves credentials behind when the host changes; everything else follows
    none. Raises NotReached for a forbidden address, no answer, or one that is too large or too slow.
    """
    end = clock() + seconds
    known = frozenset(h.lower() for h in hosts)
    here, sent = url, dict(headers or {})
    for _ in range(MOST_REDIRECTS + 1):
        try:
            host = (urlsplit(here).hostname or "").lower()
        except ValueError as error:
            raise NotReached(f"{here!r} is no web address") from error
        if known and host not in known:
            raise NotReached(f"host {host!r} is not among those allowed: {', '.join(sorted(known))}")
        connection, path = connect(here, resolve=resolve, allow=allow, timeout=max(0.1, end - clock()), tls=tls)
        try:
            connection.request(method, path, body=body, headers={"accept-encoding": "identity", **sent})
            response = connection.getresponse()
            target = response.getheader("location")
            if method == "GET" and response.status in {301, 302, 303, 307, 308} and target:
                there = urljoin(here, target)
                if urlsplit(there)[:2] != urlsplit(here)[:2]:
                    sent = {k: v for k, v in sent.items() if k.lower() not in _PRIVATE_HEADERS}
                here = there
                continue
            content = read_body(here, response, most_bytes=most_bytes, end=end, clock=clock)
            found = {k.lower(): v for k, v in response.getheaders()}
            return WebReply(status=response.status, content=content, headers=found, url=here)
        except (OSError, http.client.HTTPException) as error:
            raise NotReached(f"{host} did not answer: {type(error).__name__}") from error
        except ValueError as error:  # where it redirects to
            raise NotReached(f"{host} redirects to what is no web address") from error
        finally:
            connection.close()
    raise NotReached(f"{url}: it redirects more than {MOST_REDIRECTS} times")


def read_body(url: str, response: http.client.HTTPResponse, *, most_bytes: int, end: float, clock: Callable[[], float]) -> bytes:
    """The whole body; raises NotReached where it is larger than `most_bytes` or not whole at `end`."""
    parts: list[bytes] = []
    size = 0
    while block := response.read1(65536):
        size += len(block)
        if size > most_bytes:
            raise NotReached(f"{url}: it is larger than {most_bytes:,} bytes")
        if clock() > end:
            raise NotReached(f"{url}: it takes too long")
        parts.append(block)
    return b"".join(parts)


class _Pinned(http.client.HTTPConnection):
    """A connection to one checked address that speaks to, and asks the certificate of, the host's name."""

    def __init__(self, host: str, port: int, address: str, *, timeout: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=timeout)
        self.default_port = 443 if tls else 80  # decides whether the Host header names the port
        self._address = address
        self._tls = tls

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
