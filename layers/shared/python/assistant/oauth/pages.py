"""The few pages that a browser sees on its way: no script, nothing from elsewhere, readable on a phone and in the dark."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from typing import Final

from assistant.oauth.authorisation import Page
from assistant.words import nearest, say

GOOD: Final = frozenset({"page_done", "page_already", "page_install_done"})

_STYLE: Final = """
:root{color-scheme:light dark;font:17px/1.6 system-ui,-apple-system,"PingFang SC","Microsoft YaHei",sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}
main{box-sizing:border-box;max-width:32rem;padding:2rem 1.5rem}
h1{font-size:1.4rem;margin:0 0 1rem}
p{margin:0 0 1rem;overflow-wrap:anywhere}
a{display:inline-block;padding:.6rem 1.2rem;border-radius:.5rem;background:#1a56db;color:#fff;text-decoration:none}
a:focus-visible{outline:3px solid currentColor;outline-offset:3px}
"""


def render(page: Page) -> str:
    """The page as HTML."""
    language = nearest(page.language)
    values = {"title": "", "chat": "", **page.values}
    sure = page.words == "page_sure"
    heading = say(f"page_heading_{'good' if page.words in GOOD else 'sure' if sure else 'bad'}", language)
    paragraphs = [say(page.words, language, **values)]
    if values["chat"] and not sure:
        paragraphs.append(say("page_back", language, **values))
    link = ""
    if page.link:
        words = say("page_go_on" if sure else "page_try_again", language, **values)
        link = f'<p><a href="{escape(page.link)}">{escape(words)}</a></p>'
    text = "".join(f"<p>{escape(p)}</p>" for p in paragraphs)
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(heading)}</h1>{text}{link}</main></body></html>"
    )


@cache
def headers() -> dict[str, str]:
    """What every page is sent with: nothing else may be loaded, framed, cached or told to others."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
