"""A web page by its address, from public hosts only: each redirect is checked as the first address was (`assistant.web`)."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from assistant.knowledge.loaders import Loaded, Unreadable, read
from assistant.web import Allow, Resolve, is_public, request, resolve
from assistant.web import NotReached as NotFetched

MOST_BYTES: Final = 20 * 1024 * 1024
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
    """What an address gave."""

    url: str
    """Where the page really is, after redirects."""
    name: str
    content: bytes

    def load(self) -> Loaded:
        """The page's text. Raises Unreadable."""
        return read(self.name, self.content)


def fetch(
    url: str,
    *,
    resolve: Resolve = resolve,
    allow: Allow = is_public,
    most_bytes: int = MOST_BYTES,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
    tls: ssl.SSLContext | None = None,
) -> Page:
    """The page at `url`. Raises NotFetched for a private address, a wrong kind, an error, or a page too large or too slow."""
    headers = {"user-agent": _AGENT, "accept": "text/html, text/*, application/pdf, */*;q=0.1"}
    reply = request(
        "GET", url, headers=headers, resolve=resolve, allow=allow, most_bytes=most_bytes, seconds=seconds, clock=clock, tls=tls
    )
    if reply.status != 200:
        raise NotFetched(f"{url}: the server answered {reply.status}")
    if not reply.content:
        raise NotFetched(f"{url}: the page is empty")
    name = _name(url, reply.url, reply.headers.get("content-type") or "text/html")
    return Page(url=reply.url, name=name, content=reply.content)


def _name(url: str, here: str, content_type: str) -> str:
    """A file name from which the loader is chosen: by what the server says that it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise NotFetched(f"{url}: pages of type {kind!r} cannot be read; known: {', '.join(sorted(_KINDS))}")
    tail = urlsplit(here).path.rstrip("/").rpartition("/")[2] or urlsplit(here).hostname or "page"
    return tail if tail.lower().endswith(_KINDS[kind]) else tail + _KINDS[kind]


__all__ = ["NotFetched", "Page", "Unreadable", "fetch", "is_public", "resolve"]
