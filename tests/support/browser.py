"""A person's browser: follows the link from the chat through the provider and back, keeps cookies, shows what it ends at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from assistant.api import http_handler
from assistant.assembly import Assistant
from assistant.dev.runner import event_of, match
from assistant.oauth.app import create_app


@dataclass(frozen=True)
class Shown:
    """What the browser shows."""

    status: int
    text: str
    location: str = ""
    headers: dict[str, str] | None = None


class Browser:
    """Talks to the oauth function as API Gateway does, and to providers over HTTP."""

    def __init__(self, assistant: Assistant, *, language: str = "en", agent: str = "Mozilla/5.0") -> None:
        self._handle = http_handler(create_app(assistant))
        self._public = assistant.settings.public_url
        self.cookies: dict[str, str] = {}
        self.language = language
        self.agent = agent

    def get(self, url: str) -> Shown:
        """One request to us."""
        parts = urlsplit(url)
        found = match("GET", parts.path)
        assert found, parts.path
        assert found[0].function == "oauth"
        headers = {"accept-language": self.language, "user-agent": self.agent}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        event = event_of(*found, method="GET", path=parts.path, query=parts.query, headers=headers, body=b"")
        answer: dict[str, Any] = self._handle(json.loads(json.dumps(event)), None)
        for line in answer.get("cookies") or ():
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        got = {k.lower(): v for k, v in answer["headers"].items()}
        return Shown(answer["statusCode"], answer.get("body", ""), got.get("location", ""), got)

    def at_provider(self, address: str) -> str:
        """Where the provider sends the browser back to after the person's answer; fails where it shows an error page."""
        answer = httpx.get(address, follow_redirects=False)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def follow(self, link: str) -> Shown:
        """From the link in the chat to the page at the end."""
        shown = self.get(link)
        if shown.status == 200 and "sure=" in shown.text:
            shown = self.get(link_in(shown.text))
        if shown.status != 302:
            return shown
        return self.get(self.at_provider(shown.location))


def link_in(text: str) -> str:
    """The first link in Markdown or HTML."""
    if "](" in text:
        return text.partition("](")[2].partition(")")[0]
    return text.partition('<a href="')[2].partition('"')[0].replace("&amp;", "&")


def changed(url: str, **query: str | None) -> str:
    """`url` with other values in its query; None takes one out."""
    parts = urlsplit(url)
    values = dict(parse_qsl(parts.query)) | {k: v for k, v in query.items() if v is not None}
    kept = {k: v for k, v in values.items() if k not in {n for n, v in query.items() if v is None}}
    return parts._replace(query=urlencode(kept)).geturl()
