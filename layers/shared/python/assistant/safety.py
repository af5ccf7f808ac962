"""What a model's answer may carry out of the house: links to hosts that are allowed, and never the system prompt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from assistant.platforms.markdown import Dialect

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_BARE = re.compile(r"(?i)(?:\b[a-z][a-z0-9+.-]{1,20}:)?//[^\s<>]+|\bwww\.[^\s<>]+")
_MAY_LINK = re.compile(r"(?i)//|www\.|mailto:|tel:")
_SEPARATORS = re.compile(r"[\W_]+")

WITHHELD: Final = "[…]"
"""Stands where an address was taken away."""


class Leaked(Exception):
    """The answer repeats the system prompt."""


class Guard:
    """Looks at what a model wrote. `hosts`: where links and pictures may lead, with their subdomains; none: anywhere."""

    def __init__(self, *, tenant: str = "default", hosts: Iterable[str] = ()) -> None:
        self._hosts = tuple(h.strip().lower().strip(".") for h in hosts if h.strip())
        self.canary = hashlib.sha256(f"canary {tenant}".encode()).hexdigest()[:16]

    def marked(self, system: str) -> str:
        """The system prompt with the canary before it: whoever repeats the prompt begins with that."""
        return f"[{self.canary}] {system}"

    def check(self, text: str) -> None:
        """Raises Leaked where `text` holds the canary, in whatever case and with whatever between its characters."""
        if self.canary in text or self.canary in _SEPARATORS.sub("", text).lower():
            raise Leaked

    def allows(self, url: str) -> bool:
        """Whether a link to `url` may be shown."""
        if not self._hosts or url.lower().startswith(("mailto:", "tel:")):
            return True
        try:
            place = urlsplit(url if "//" in url else f"//{url}")
            host = place.hostname or ""
        except ValueError:
            return False
        if "\\" in url or "@" in place.netloc or not _HOST.fullmatch(host):  # browsers read these in more than one way
            return False
        return any(host == h or host.endswith(f".{h}") for h in self._hosts)

    def clean(self, markdown: str) -> str:
        """`markdown` in which links and pictures to other hosts are their words alone."""
        if not self._hosts or not _MAY_LINK.search(unescape(markdown).replace("\\", "")):
            return markdown
        from assistant.platforms.markdown import render

        return render(markdown, self._dialect())

    def _dialect(self) -> Dialect:
        from assistant.platforms.markdown import COMMONMARK as PLAIN

        def link(label: str, url: str) -> str:
            return PLAIN.link(label, url) if self.allows(url) else label

        def image(alt: str, url: str) -> str:
            return PLAIN.image(alt, url) if self.allows(url) else alt

        def bare(url: str) -> str:
            return url if self.allows(url) else WITHHELD

        def escape(text: str) -> str:
            return PLAIN.escape(_BARE.sub(lambda found: bare(found[0]), text))

        return replace(PLAIN, link=link, image=image, url=bare, escape=escape)
