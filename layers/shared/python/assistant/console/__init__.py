"""The web page: static files (plain HTML, CSS and JavaScript modules, no build step) and the headers they are served with.

`/` is the page; everything it loads is under `/console/v-VERSION/`, so that browsers and CDNs may keep those files for ever and
never mix two versions. The same files without a version, and the product's own guides under `/console/docs/`, are asked for anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import Final

from assistant.errors import Refused
from assistant.messages import HttpReply

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing but our own files runs or loads, and no text can become markup (Trusted Types without a policy)."""

CONTENT_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}

HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
"""Sent with each file. `no-cache` with an entity tag: a browser asks each time and hears 304 until a new version is deployed."""

FOR_EVER: Final = "public, max-age=31536000, immutable"

_VERSIONED = re.compile(r"v-([0-9a-f]{12})/(.+)")


def page(path: str = "", *, if_none_match: str = "") -> HttpReply:
    """The file at `path` below `/console/` ("" is the page itself), 304 where the browser has it already.

    Raises Refused (404) for anything that is not a file of the page.
    """
    found = _VERSIONED.fullmatch(path)
    name = found[2] if found else path or "index.html"
    if name.startswith("docs/"):
        text, content_type = _guide(name.removeprefix("docs/"))
    elif name in names():
        text = _file(name)
        if name == "index.html":
            text = text.replace('"/console/', f'"/console/v-{version()}/')
        content_type = CONTENT_TYPES[name.rpartition(".")[2]]
    else:
        raise Refused(f"no file {name[:80]!r} in the console", status=404)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'
    headers = {**HEADERS, "etag": tag}
    if (
        found and found[1] == version()
    ):  # a page that was opened before a deployment gets the present files, but may not keep them
        headers["cache-control"] = FOR_EVER
    if tag in [seen.strip() for seen in if_none_match.split(",")]:
        return HttpReply(304, "", content_type, headers)
    return HttpReply(200, text, content_type, headers)


@cache
def names() -> frozenset[str]:
    """Names of all files of the page, for serving them and for copying them to a bucket."""
    here = resources.files(__name__)
    return frozenset(f.name for f in here.iterdir() if f.is_file() and f.name.rpartition(".")[2] in CONTENT_TYPES)


@cache
def version() -> str:
    """Changes whenever one of the page's files does."""
    digest = hashlib.sha256()
    for name in sorted(names()):
        digest.update(f"{name}\0{_file(name)}\0".encode())
    return digest.hexdigest()[:12]


@cache
def _file(name: str) -> str:
    return (resources.files(__name__) / name).read_text("utf-8")


def _guide(name: str) -> tuple[str, str]:
    """The Markdown of one guide, or the list of all of them with their titles."""
    found = _guides()
    if name == "index.json":
        listed = [{"path": path, "title": _title(text)} for path, text in found.items()]
        return json.dumps(listed, ensure_ascii=False), "application/json"
    if name not in found:
        raise Refused(f"no guide {name[:80]!r}", status=404)
    return found[name], "text/markdown; charset=utf-8"


@cache
def _guides() -> dict[str, str]:
    from assistant.knowledge.default import pages

    root = pages()
    paths = sorted([*root.glob("*.md"), *root.glob("guides/*/*.md")])
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def _title(text: str) -> str:
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")
