"""Chat completions over HTTP: vLLM, llama.cpp, Ollama, OpenAI, and the OpenAI paths of SageMaker and Bedrock."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from assistant.errors import InvalidSetting, ModelError, Unavailable
from assistant.llm import ChatRequest, WarmingUp
from assistant.llm.failures import Overloaded, TimedOut, TryAgain
from assistant.llm.openai_wire import BEDROCK, OPENAI, VLLM, Dialect

Headers = Callable[[str, bytes], Mapping[str, str]]
"""What authenticates one request: headers for its URL and body."""

WAKE_SECONDS: Final = 300.0
"""After about this long a SageMaker endpoint that was scaled to nothing answers again."""
_LONGEST_ERROR: Final = 64 * 1024


def no_headers(_url: str, _body: bytes) -> Mapping[str, str]:
    """For servers that ask for no key."""
    return {}


def bearer(token: Callable[[], str]) -> Headers:
    """Sends what `token` returns as the bearer token."""
    return lambda _url, _body: {"authorization": f"Bearer {token()}"}


class OpenAIHttp:
    """A Transport to `{base_url}/chat/completions`. Safe for threads; connections are kept and used again."""

    def __init__(self, base_url: str, *, headers: Headers = no_headers) -> None:
        self.base_url = check_base_url(base_url)
        self.where = urlsplit(self.base_url).netloc
        self._headers = headers
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def open(self, body: bytes, *, request: ChatRequest, connect: float, read: float) -> HttpStream:
        """The answer's stream; see Transport."""
        url = f"{self.base_url}/chat/completions"
        client = self._connections()
        sent = client.build_request(
            "POST",
            url,
            content=body,
            headers={"content-type": "application/json", "accept": "text/event-stream", **self._headers(url, body)},
            timeout=httpx.Timeout(read, connect=connect, pool=connect),
        )
        try:
            response = client.send(sent, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TryAgain(f"{self.where} cannot be reached ({type(error).__name__}); is the model server running?") from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"{self.where} gave no answer within {read:g} s") from error
        except httpx.HTTPError as error:
            raise TryAgain(f"{self.where} broke the connection ({type(error).__name__})") from error
        if response.status_code != 200:
            with contextlib.closing(response):
                raise refusal(self.where, response.status_code, response.headers, _head(response), request)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("text/event-stream", ""):
            response.close()
            raise Unavailable(
                f"{self.where} answered with {kind!r} instead of an event stream; check the base URL {self.base_url!r}"
            )
        return HttpStream(response, self.where)

    def _connections(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    follow_redirects=False,  # a key goes to nobody but the configured host
                    verify=self.base_url.startswith("https"),  # reading the certificates takes 0.1 s that http can spare
                    limits=httpx.Limits(max_connections=512, max_keepalive_connections=32, keepalive_expiry=30),
                )
            return self._client

    def close(self) -> None:
        """Closes the connections that were kept; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


class HttpStream:
    """The body of one answer as it arrives."""

    def __init__(self, response: httpx.Response, where: str) -> None:
        self._response = response
        self._where = where

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, unpacked, as they come."""
        try:
            yield from self._response.iter_bytes()
        except httpx.TimeoutException as error:
            raise TimedOut(f"{self._where} wrote nothing for too long") from error
        except httpx.HTTPError as error:
            raise TryAgain(f"{self._where} broke the connection ({type(error).__name__})") from error
        except httpx.StreamClosed as error:
            raise TryAgain(f"{self._where} broke the connection") from error

    def cut(self) -> None:
        """Shuts the socket down, which ends a read that is blocked in another thread; closing alone would not."""
        stream = self._response.extensions.get("network_stream")
        sock = stream.get_extra_info("socket") if stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's: it would pull TLS from under the reader

    def close(self) -> None:
        """Gives the connection back, or closes it where the body was not read to its end."""
        self._response.close()


def _head(response: httpx.Response) -> bytes:
    head = b""
    with contextlib.suppress(httpx.HTTPError):
        for chunk in response.iter_bytes():
            head += chunk
            if len(head) >= _LONGEST_ERROR:
                break
    return head


# --- what a refusal means ----------------------------------------------------------------------


def refusal(where: str, status: int, headers: Mapping[str, str], body: bytes, request: ChatRequest) -> Unavailable | ModelError:
    """The error that an HTTP answer other than 200 amounts to."""
    kind, code, message = _error(body)
    said = f"{where} answered {status}"
    if named := " ".join(x for x in (kind, code) if x):
        said += f" ({named})"
    if message and not quotes(message, request):
        said += f": {message[:300]}"
    after = _seconds(headers.get("retry-after"))
    if "no capacity" in message.lower():  # SageMaker's inference component is scaled to nothing
        return WarmingUp(f"{where} is scaled to nothing and starts now", retry_after=after or WAKE_SECONDS)
    if code in ("insufficient_quota", "billing_hard_limit_reached"):
        return Unavailable(f"{said}; the account has no budget left")
    if status in (429, 503, 529):
        return Overloaded(said, retry_after=after)
    if status in (408, 425, 502, 504):
        return TryAgain(said, retry_after=after)
    if status in (401, 403):
        return Unavailable(f"{said}; check the model's API key or the function's permissions")
    if status == 404:
        return Unavailable(f"{said}; check the model's name and the base URL in MODEL")
    if 300 <= status < 400:
        return Unavailable(f"{said}; redirects are not followed, set the base URL to the final address")
    if status < 500:
        return ModelError(said)
    return Unavailable(said, retry_after=after)


def _error(body: bytes) -> tuple[str, str, str]:
    """Type, code and message of an error body, empty where it has none."""
    try:
        data: Any = json.loads(body)  # any JSON
    except (ValueError, RecursionError):
        return "", "", ""
    if isinstance(data, dict) and isinstance(data.get("error"), dict):
        data = data["error"]
    elif isinstance(data, dict) and isinstance(data.get("error"), str):
        return "", "", data["error"]
    if not isinstance(data, dict):
        return "", "", ""
    message = data.get("message")
    return str(data.get("type") or ""), str(data.get("code") or ""), message if isinstance(message, str) else ""


def quotes(message: str, request: ChatRequest, *, run: int = 12) -> bool:
    """Whether `message` repeats `run` characters or more of what was asked: then it must not reach a log."""
    for asked in request.messages:
        text = asked.text.strip()
        if text and any(text[i : i + run] in message for i in range(max(1, len(text) - run + 1))):
            return True
    return False


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None  # an HTTP date: rare here, and the jittered pause does as well


# --- addresses ---------------------------------------------------------------------------------


def check_base_url(url: str) -> str:
    """`url` without a slash or `/chat/completions` at its end; raises InvalidSetting where it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:  # a port out of range, or half of an IPv6 address
        usable = False
    if not usable:
        raise InvalidSetting(f"{url!r} is no base URL for a model; write it as http://127.0.0.1:8000/v1")
    return url.partition("#")[0].rstrip("/").removesuffix("/chat/completions")


PLAIN: Final = Dialect()
DIALECTS: Final[Mapping[str, Dialect]] = {"vllm": VLLM, "openai": OPENAI, "bedrock": BEDROCK, "plain": PLAIN}


def dialect_of(url: str) -> Dialect:
    """What the endpoint at `url` takes beyond the common format: by the mark after `#`, else by its host. A server on the
    company's own network is taken for vLLM or one that ignores unknown fields, a public one for neither."""
    parts = urlsplit(url)
    if parts.fragment:
        try:
            return DIALECTS[parts.fragment]
        except KeyError:
            raise InvalidSetting(f"unknown dialect #{parts.fragment} in {url!r}; known: {', '.join(DIALECTS)}") from None
    host = (parts.hostname or "").lower()
    if host == "api.openai.com" or host.endswith(".openai.azure.com"):
        return OPENAI
    if host.startswith("bedrock-") and host.endswith(".amazonaws.com"):
        return BEDROCK
    if host.endswith(".amazonaws.com") and ".sagemaker" in f".{host}":
        return VLLM
    return VLLM if parts.scheme == "http" or _is_private(host) else PLAIN


def _is_private(host: str) -> bool:
    if host in ("localhost", "host.docker.internal") or "." not in host or host.endswith((".local", ".internal", ".lan")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
