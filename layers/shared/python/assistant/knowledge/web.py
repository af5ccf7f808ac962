"""A web page by its address, from public hosts only.

The name is resolved once, every address it has must be public, and the connection goes to the very address that was checked:
a name that changes its mind between the check and the call gains nothing. Redirects are followed by hand and checked alike.
Proxies of the environment are not used; they would resolve the name again.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from assistant.errors import AssistantError
from assistant.knowledge.loaders import Loaded, Unreadable, read

Resolve = Callable[[str, int], Iterable[str]]
Allow = Callable[[str], bool]

MOST_BYTES: Final = 20 * 1024 * 1024
MOST_REDIRECTS: Final = 5
SECONDS: Final = 20.0
_AGENT: Final = "assistant-knowledge/1.0"
_KINDS: Final = {
    "text/html": ".html", "application/xhtml+xml": ".html", "text/plain": ".txt", "text/markdown": ".md", "text/csv": ".csv",
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}  # fmt: skip


class NotFetched(AssistantError):
    """A page that could not or must not be fetched: says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What an address gave. `etag` and `modified` let the next look ask whether it changed."""

    url: str
    """Where the page really is, after redirects."""
    name: str
    content: bytes
    etag: str = ""
    modified: str = ""
    unchanged: bool = False
    """True where the server says that nothing changed; then there is no content."""

    def load(self) -> Loaded:
        """The page's text. Raises Unreadable."""
        return read(self.name, self.content)


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


def resolve(host: str, port: int) -> Iterable[str]:
    """Every address of `host`."""
    return dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def fetch(
    url: str,
    *,
    etag: str = "",
    modified: str = "",
    resolve: Resolve = resolve,
    allow: Allow = is_public,
    most_bytes: int = MOST_BYTES,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
    tls: ssl.SSLContext | None = None,
) -> Page:
    """The page at `url`. Raises NotFetched for a private address, a wrong kind, an error, or a page too large or too slow."""
    end = clock() + seconds
    here = url
    for _ in range(MOST_REDIRECTS + 1):
        response: http.client.HTTPResponse | None = None
        connection, path = _connect(here, resolve=resolve, allow=allow, timeout=max(0.1, end - clock()), tls=tls)
        try:
            headers = {
                "user-agent": _AGENT,
                "accept": "text/html, text/*, application/pdf, */*;q=0.1",
                "accept-encoding": "identity",
            }
            headers |= ({"if-none-match": etag} if etag else {}) | ({"if-modified-since": modified} if modified else {})
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status in {301, 302, 303, 307, 308} and (target := response.getheader("location")):
                here = urljoin(here, target)
                continue
            if response.status == 304:
                return Page(url=here, name="", content=b"", etag=etag, modified=modified, unchanged=True)
            if response.status != 200:
                raise NotFetched(f"{url}: the server answered {response.status}")
            content = _body(url, response, most_bytes=most_bytes, end=end, clock=clock)
            return Page(
                url=here,
                name=_name(url, here, response.getheader("content-type") or "text/html"),
                content=content,
                etag=response.getheader("etag") or "",
                modified=response.getheader("last-modified") or "",
            )
        except (OSError, http.client.HTTPException) as error:
            raise NotFetched(f"{url}: {type(error).__name__} while reading it") from error
        finally:
            if response is not None:
                response.close()
            connection.close()
    raise NotFetched(f"{url}: it redirects more than {MOST_REDIRECTS} times")


def _connect(
    url: str, *, resolve: Resolve, allow: Allow, timeout: float, tls: ssl.SSLContext | None
) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
        host = host if ":" in host else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        raise NotFetched(f"{url!r} is no web address") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise NotFetched(f"{url!r} is no web address; it must begin with https:// or http://")
    if parts.username or parts.password:
        raise NotFetched(f"the address of {host} holds a user name or password; leave it out")
    try:
        addresses = list(resolve(host, port))
    except OSError as error:
        raise NotFetched(f"{url}: no such host {host!r}") from error
    for address in addresses:  # all of them: one private address among public ones is an attack, not a mistake
        if not allow(address.partition("%")[0]):
            raise NotFetched(f"{url}: {host!r} is at a private or local address; only public pages are fetched")
    if not addresses:
        raise NotFetched(f"{url}: no such host {host!r}")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
        f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    )
    return _Pinned(
        host, port, addresses[0], timeout=timeout, tls=(tls or ssl.create_default_context()) if parts.scheme == "https" else None
    ), path


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


def _body(url: str, response: http.client.HTTPResponse, *, most_bytes: int, end: float, clock: Callable[[], float]) -> bytes:
    parts: list[bytes] = []
    size = 0
    while block := response.read1(65536):
        size += len(block)
        if size > most_bytes:
            raise NotFetched(f"{url}: it is larger than {most_bytes:,} bytes")
        if clock() > end:
            raise NotFetched(f"{url}: it takes too long")
        parts.append(block)
    if not parts:
        raise NotFetched(f"{url}: the page is empty")
    return b"".join(parts)


def _name(url: str, here: str, content_type: str) -> str:
    """A file name from which the loader is chosen: by what the server says that it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise NotFetched(f"{url}: pages of type {kind!r} cannot be read; known: {', '.join(sorted(_KINDS))}")
    tail = urlsplit(here).path.rstrip("/").rpartition("/")[2] or urlsplit(here).hostname or "page"
    return tail if tail.lower().endswith(_KINDS[kind]) else tail + _KINDS[kind]


__all__ = ["NotFetched", "Page", "Unreadable", "fetch", "is_public", "resolve"]
