"""What a model's answer may carry out of the house: links to hosts that are allowed, no personal data where the policy says so,
never the system prompt; and what may be asked and answered at all, where a policy is set."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING, Final, Literal, Protocol
from urllib.parse import urlsplit

from assistant.errors import InvalidSetting

if TYPE_CHECKING:
    from assistant.platforms.markdown import Dialect

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_BARE = re.compile(r"(?i)(?:\b[a-z][a-z0-9+.-]{1,20}:)?//[^\s<>]+|\bwww\.[^\s<>]+")
_MAY_LINK = re.compile(r"(?i)//|www\.|mailto:|tel:")
_SEPARATORS = re.compile(r"[\W_]+")

_IN_WORDS = frozenset(string.ascii_letters + string.digits + "_@.+()-")
HELD: Final = 64
"""Characters at the end of a growing answer among which an unfinished number or address is looked for."""

WITHHELD: Final = "[…]"
"""Stands where an address was taken away."""


REDACTED: Final = {
    "email": re.compile(r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"),
    "phone": re.compile(
        r"(?<![A-Za-z0-9_+])(?:\+\d{1,3}[ -]?(?:\(?\d{1,4}\)?[ -]?){2,5}\d{2,4}|(?:86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4})(?!\d)"
    ),
    "identity": re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"),
    "card": re.compile(r"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.])"),
}
"""Kinds of personal data that a policy may keep out of answers. `identity`: resident identity numbers of China."""


class Moderator(Protocol):
    """Decides what may be asked and answered."""

    def judge(self, text: str, *, source: Literal["question", "answer"]) -> str | None:
        """None where there is nothing against `text`, else what to say in its place. Raises Unavailable."""


def redactions(setting: str) -> tuple[str, ...]:
    """The kinds in `email,phone,…`; raises InvalidSetting for an unknown one."""
    kinds = tuple(k.strip() for k in setting.split(",") if k.strip())
    if unknown := [k for k in kinds if k not in REDACTED]:
        raise InvalidSetting(f"redact_answers names {unknown[0]!r}; known: {', '.join(REDACTED)}")
    return kinds


def without(text: str, kinds: Iterable[str]) -> str:
    """`text` without personal data of those kinds; in its place stands what it was."""
    for kind in sorted(kinds, key=list(REDACTED).index):
        if kind == "card":
            text = REDACTED[kind].sub(lambda found: "[card]" if _is_card(found[0]) else found[0], text)
        else:
            text = REDACTED[kind].sub(f"[{kind}]", text)
    return text


def _finished(text: str) -> int:
    """How much of a growing `text` is certainly whole: without its last word, and without the figures in groups before it."""
    end = len(text)
    while end and text[end - 1] in _IN_WORDS:
        end -= 1
    while end > len(text) - HELD:
        last = len(text[:end].rstrip(" "))
        start = last
        while start and text[start - 1] in _IN_WORDS:
            start -= 1
        if not any(c.isdigit() or c == "@" for c in text[start:last]):
            break
        end = start
    return end


def _is_card(text: str) -> bool:
    """Whether the digits in `text` pass the check of payment cards (Luhn)."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) if n % 2 else d for n, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


class Leaked(Exception):
    """The answer repeats the system prompt."""


class Guard:
    """Looks at what a model wrote. `hosts`: where links and pictures may lead, with their subdomains; none: anywhere. `redacts`:
    kinds of personal data that are kept out. `moderator`: what may be asked and answered."""

    def __init__(
        self,
        *,
        tenant: str = "default",
        hosts: Iterable[str] = (),
        redacts: Iterable[str] = (),
        moderator: Moderator | None = None,
    ) -> None:
        self._redacts = tuple(redacts)
        self.moderator = moderator
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

    def growing(self, markdown: str) -> str:
        """What may be shown of an answer that is not whole: with a policy about personal data, its last word not yet."""
        if self._redacts:
            markdown = markdown[: _finished(markdown)]
        return self.clean(markdown)

    def clean(self, markdown: str) -> str:
        """`markdown` in which links and pictures to other hosts are their words alone, and without personal data where the policy
        says so."""
        markdown = without(markdown, self._redacts)
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
