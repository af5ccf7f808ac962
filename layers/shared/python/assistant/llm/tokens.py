"""How many tokens a text is, and what they cost."""

from __future__ import annotations

import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from assistant.errors import InvalidSetting
from assistant.llm import Usage


class TokenCounter(Protocol):
    """Counts the tokens of a text for one model."""

    def count(self, text: str) -> int:
        """Tokens of `text`, without what the chat template adds."""


_KIND: Final = re.compile(
    r"(?P<han>[\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+)"
    r"|(?P<kana>[\u3040-\u30ff\u31f0-\u31ff]+)|(?P<hangul>[\u1100-\u11ff\uac00-\ud7af]+)"
    r"|(?P<word>[A-Za-z]+)|(?P<digits>[0-9]+)|(?P<letters>[^\W\d_a-zA-Z]+)|(?P<space>\s+)|(?P<mark>.)",
    re.S,
)


def estimate(text: str) -> int:
    """Tokens of `text` by the kind of its characters, rather one too many than one too few; no tokenizer is needed.

    The vocabularies of today's open models (150,000 entries) hold most Chinese words of two characters and most common
    English words whole; digits stand alone, and a rare sign takes one token per byte or two.
    """
    return _remembered(text) if len(text) <= _SHORT else _estimate(text)


def _estimate(text: str) -> int:
    total = 0.0
    for match in _KIND.finditer(text):
        run = match[0]
        match match.lastgroup:
            case "han":
                total += 0.75 * len(run)
            case "kana" | "hangul":
                total += 0.85 * len(run)
            case "word":
                total += 1 if len(run) <= 6 else 1 + (len(run) - 6) / 5
            case "digits":
                total += len(run)
            case "letters":
                total += 0.6 * len(run)
            case "space":
                total += run.count("\n") * 0.6 + (0.5 if len(run) > 1 else 0)  # a single space belongs to the word after it
            case _:
                total += 1 if ord(run) < 0x10000 else 2.5
    return math.ceil(total)


_SHORT: Final = 4096
_remembered = lru_cache(maxsize=1024)(_estimate)
"""A turn counts the same history several times, and so does the next one; at most 4 MB are held."""


class EstimatedTokens:
    """A TokenCounter that learns: each answer's own count moves the estimate towards what the model really counts."""

    def __init__(self, *, factor: float = 1.0) -> None:
        self._factor = factor
        self._lock = threading.Lock()

    def count(self, text: str) -> int:
        """Tokens of `text`, estimated."""
        return math.ceil(estimate(text) * self._factor)

    def learn(self, text: str, counted: int) -> None:
        """Notes that the model counted `counted` tokens where `text` was all it was sent; short texts are no measure."""
        guess = estimate(text)
        if guess < 50 or counted <= 0:
            return
        with self._lock:
            seen = min(2.0, max(0.5, counted / guess))
            self._factor += 0.2 * (seen - self._factor)


class ServerTokens:
    """A TokenCounter that asks the model's own server (vLLM's and llama.cpp's `/tokenize`), remembering what it counted.

    Where the server does not answer within `seconds`, or has no such path, the estimate stands in; a server without the
    path is not asked again.
    """

    def __init__(self, base_url: str, *, model: str = "", api_key: str = "", seconds: float = 1.0, remember: int = 4096) -> None:
        from assistant.llm.openai_http import check_base_url

        root = check_base_url(base_url)
        self._url = root.removesuffix("/v1") + "/tokenize"
        self._model = model
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._seconds = seconds
        self._known: OrderedDict[str, int] = OrderedDict()
        self._most = remember
        self._estimate = EstimatedTokens()
        self._absent = False
        self._client: Any = None  # httpx.Client, imported only when used
        self._lock = threading.Lock()

    def count(self, text: str) -> int:
        """Tokens of `text` as the server counts them."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
        counted = None if self._absent or not text else self._ask(text)
        if counted is None:
            return self._estimate.count(text)
        self._estimate.learn(text, counted)
        with self._lock:
            self._known[text] = counted
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return counted

    def close(self) -> None:
        """Closes the connections that were kept; the next count opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, text: str) -> int | None:
        import httpx

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(timeout=self._seconds, verify=urlsplit(self._url).scheme == "https")
        body: dict[str, Any] = {"prompt": text, "content": text, "add_special_tokens": False}  # vLLM · llama.cpp
        if self._model:
            body["model"] = self._model
        try:
            response = self._client.post(self._url, json=body, headers=self._headers)
            if response.status_code in (404, 405, 501):
                self._absent = True
                return None
            data = response.json() if response.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            return None
        count = data.get("count") if isinstance(data, dict) else None
        if isinstance(count, int):
            return count
        tokens = data.get("tokens") if isinstance(data, dict) else None
        return len(tokens) if isinstance(tokens, list) else None


def open_counter(spec: str, *, api_key: str | Mapping[str, str] | None = None) -> TokenCounter:
    """A counter for the first model of `spec`: by its own server where that is an engine on the company's network (one short
    call for each text not seen before), else an estimate. Raises InvalidSetting.
    """
    from assistant.llm.models import parse_spec
    from assistant.llm.openai_http import dialect_of
    from assistant.llm.openai_wire import VLLM

    first = parse_spec(spec)[0]
    if first.kind != "openai" or dialect_of(first.address) != VLLM:
        return EstimatedTokens()
    key = api_key.get(urlsplit(first.address).netloc, "") if isinstance(api_key, Mapping) else api_key or ""
    return ServerTokens(first.address, model=first.model, api_key=key)


# --- money -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Money per million tokens; `cached` for prompt tokens out of the prefix cache (as `prompt` where not set)."""

    prompt: Decimal
    completion: Decimal
    cached: Decimal | None = None

    def of(self, usage: Usage) -> Decimal:
        """What `usage` costs."""
        cached = min(usage.cached, usage.prompt)
        rate = self.prompt if self.cached is None else self.cached
        return ((usage.prompt - cached) * self.prompt + cached * rate + usage.completion * self.completion) / 1_000_000


class Prices:
    """Prices by model name. A name that ends in `*` is for all models that begin so; the longest that fits counts."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._exact = {k: v for k, v in prices.items() if not k.endswith("*")}
        self._prefixes = sorted(((k[:-1], v) for k, v in prices.items() if k.endswith("*")), key=lambda kv: -len(kv[0]))

    @classmethod
    def from_json(cls, text: str) -> Prices:
        """The prices in `{"MODEL": {"prompt": "0.075", "completion": "0.30", "cached"?: …}}`, money per million tokens.

        Raises InvalidSetting naming the entry.
        """
        try:
            data = json.loads(text or "{}")
        except ValueError as error:
            raise InvalidSetting(f"the model prices are no JSON object: {error}") from None
        if not isinstance(data, dict):
            raise InvalidSetting('the model prices are no JSON object; write {"MODEL": {"prompt": 0.1, "completion": 0.3}}')
        return cls({name: _price(name, entry) for name, entry in data.items()})

    def cost(self, model: str, usage: Usage) -> Decimal:
        """What `usage` of `model` costs; 0 where no price is set."""
        price = self._exact.get(model) or next((p for prefix, p in self._prefixes if model.startswith(prefix)), None)
        return price.of(usage) if price else Decimal(0)


def _price(name: str, entry: Any) -> Price:  # any JSON
    def money(field: str) -> Decimal:
        try:
            amount = Decimal(str(entry[field]))
        except (KeyError, TypeError, InvalidOperation):
            raise InvalidSetting(f"the price of {name!r} lacks a number {field!r} (money per million tokens)") from None
        if not amount.is_finite() or amount < 0:
            raise InvalidSetting(f"the price {field}={amount} of {name!r} is below zero or no number")
        return amount

    has_cached = isinstance(entry, dict) and entry.get("cached") is not None
    return Price(prompt=money("prompt"), completion=money("completion"), cached=money("cached") if has_cached else None)
