"""A web page by its address, from public hosts only: each redirect is checked as the first address was (`assistant.web`)."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from assistant.knowledge.loaders import Loaded, Unreadable, read
from assistant.web import Allow, Resolve, connect, is_public, read_body, resolve
from assistant.web import NotReached as NotFetched

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
        connection, path = connect(here, resolve=resolve, allow=allow, timeout=max(0.1, end - clock()), tls=tls)
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
            content = read_body(url, response, most_bytes=most_bytes, end=end, clock=clock)
            if not content:
                raise NotFetched(f"{url}: the page is empty")
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


def _name(url: str, here: str, content_type: str) -> str:
    """A file name from which the loader is chosen: by what the server says that it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise NotFetched(f"{url}: pages of type {kind!r} cannot be read; known: {', '.join(sorted(_KINDS))}")
    tail = urlsplit(here).path.rstrip("/").rpartition("/")[2] or urlsplit(here).hostname or "page"
    return tail if tail.lower().endswith(_KINDS[kind]) else tail + _KINDS[kind]


__all__ = ["NotFetched", "Page", "Unreadable", "fetch", "is_public", "resolve"]
