"""The assistant's own sentences, in the reader's language; one JSON file a language in `locales/`, to be translated as it is."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("en", "zh-CN")

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]+")


def say(key: str, language: str, **values: object) -> str:
    """The sentence `key` in `language` (the nearest one there is, else English) with `values` filled in."""
    words = _words(nearest(language))
    return (words.get(key) or _words("en")[key]).format(**values)


def nearest(language: str) -> str:
    """The language of `LANGUAGES` for a BCP 47 tag or a platform's locale: `zh_TW` → `zh-CN`, `de` → `en`."""
    return "zh-CN" if language.lower().startswith("zh") else "en"


def language_of(text: str, default: str = "en") -> str:
    """The language of `text`: Chinese as soon as its Chinese characters outweigh its Latin words; `default` when it has neither."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    if not han and not latin:
        return default
    return "zh-CN" if han >= latin else "en"


@functools.cache
def _words(language: str) -> Mapping[str, str]:
    text = (files("assistant") / "locales" / f"{language}.json").read_text(encoding="utf-8")
    result: dict[str, str] = json.loads(text)
    return result
