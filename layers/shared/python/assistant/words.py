"""The assistant's own sentences, in the reader's language; one JSON file a language in `locales/`, to be translated as it is."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final, TypeAlias

from assistant.messages import Reply

LANGUAGES: Final = ("en", "zh-CN")

Words: TypeAlias = "str | Mapping[str, str]"
"""A sentence: one for all languages, or one for each ("en", "zh-CN")."""

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]+")


def say(key: str, language: str, **values: object) -> str:
    """The sentence `key` in `language` (the nearest one there is, else English) with `values` filled in."""
    words = _words(nearest(language))
    return (words.get(key) or _words("en")[key]).format(**values)


def spoken(words: Words, language: str) -> str:
    """The sentence in `language`, else in English, else in whichever language there is."""
    if isinstance(words, str):
        return words
    return words.get(nearest(language)) or words.get("en") or next(iter(words.values()), "")


def nearest(language: str) -> str:
    """The language of `LANGUAGES` for a BCP 47 tag or a platform's locale: `zh_TW` → `zh-CN`, `de` → `en`."""
    return "zh-CN" if language.lower().startswith("zh") else "en"


def language_of(text: str, default: str = "en") -> str:
    """The language of `text`: Chinese when it has at least as many Chinese characters as Latin words; `default` for neither."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    if not han and not latin:
        return default
    return "zh-CN" if han >= latin else "en"


def with_sources(reply: Reply) -> str:
    """The reply's Markdown with its sources listed below it, in the language of the text."""
    if not reply.sources:
        return reply.text
    language = language_of(reply.text)
    lines = [
        f"- [{s.number}] "
        + (f"[{s.title}]({s.url})" if s.url.startswith("http") else s.title)
        + (f", {say('page', language, page=s.page)}" if s.page else "")
        for s in reply.sources
    ]
    return f"{reply.text}\n\n{say('sources', language)}:\n" + "\n".join(lines)


@functools.cache
def _words(language: str) -> Mapping[str, str]:
    text = (files("assistant") / "locales" / f"{language}.json").read_text(encoding="utf-8")
    result: dict[str, str] = json.loads(text)
    return result
