"""Texts as vectors, from an OpenAI-compatible server, Bedrock or SageMaker."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from assistant.errors import InvalidSetting, ModelError, Unavailable
from assistant.llm import ChatRequest

Purpose = Literal["document", "query"]

FORMS: Final = "openai:MODEL@BASE_URL · bedrock:MODEL_ID · sagemaker:ENDPOINT (#tei for a Text Embeddings Inference container)"


class Embedder(Protocol):
    """Turns texts into vectors; texts of like meaning lie close, in whatever language."""

    name: str
    """Names model and place: vectors of different names must not be compared."""

    def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> list[list[float]]:
        """One vector of length 1 for each text, in order. Some models embed what is searched for (`query`) differently.

        Raises Unavailable where the model does not answer, ModelError where it refuses a text.
        """


def open_embedder(spec: str, *, region: str, api_key: str | None = None, client: Callable[[str], Any] | None = None) -> Embedder:
    """The embedder that `spec` names; nothing is contacted yet. `client` makes a boto3 client by service name.

    Raises InvalidSetting.
    """
    kind, _, rest = spec.strip().partition(":")
    match kind:
        case "openai":
            cut = max(rest.rfind("@http://"), rest.rfind("@https://"))
            if cut <= 0:
                raise InvalidSetting(f"embedder {spec!r} lacks a part; write openai:MODEL@BASE_URL")
            return OpenAIEmbedder(rest[:cut], base_url=rest[cut + 1 :], api_key=api_key or "")
        case "bedrock" if rest:
            return BedrockEmbedder(rest, client=_lazily("bedrock-runtime", region, client))
        case "sagemaker" if rest:
            endpoint, _, shape = rest.partition("#")
            if shape not in ("", "tei"):
                raise InvalidSetting(f"unknown shape #{shape} in {spec!r}; known: #tei")
            return SageMakerEmbedder(endpoint, tei=shape == "tei", client=_lazily("sagemaker-runtime", region, client))
        case _:
            raise InvalidSetting(f"unknown embedder {spec!r}; write one of {FORMS}")


# --- OpenAI-compatible -------------------------------------------------------------------------

_BATCH: Final = 64


class OpenAIEmbedder:
    """An Embedder over `POST {base_url}/embeddings`. Safe for threads."""

    def __init__(self, model: str, *, base_url: str, api_key: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        from assistant.llm.openai_http import check_base_url

        self._model = model
        self._url = f"{check_base_url(base_url)}/embeddings"
        self._where = urlsplit(self._url).netloc
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._sleep = sleep
        self._client: Any = None  # httpx.Client, imported only when used
        self._lock = threading.Lock()
        self.name = f"openai:{model}"

    def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> list[list[float]]:
        """See Embedder."""
        marked = [mark(t, self._model, purpose) for t in texts]
        out: list[list[float]] = []
        for i in range(0, len(marked), _BATCH):
            out += again(partial(self._post, marked[i : i + _BATCH]), sleep=self._sleep)
        return out

    def close(self) -> None:
        """Closes the connections that were kept; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _post(self, texts: Sequence[str]) -> list[list[float]]:
        import httpx

        from assistant.llm.failures import TryAgain
        from assistant.llm.openai_http import refusal

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(timeout=httpx.Timeout(30, connect=2), verify=self._url.startswith("https"))
        try:
            response = self._client.post(self._url, json={"model": self._model, "input": list(texts)}, headers=self._headers)
        except httpx.HTTPError as error:
            raise TryAgain(f"{self._where} cannot be reached ({type(error).__name__})") from error
        if response.status_code != 200:
            raise refusal(self._where, response.status_code, response.headers, response.content, _NOBODY)
        return vectors(response.content, expected=len(texts), where=self._where)


_NOBODY: Final = ChatRequest(system="", messages=())


# --- AWS ---------------------------------------------------------------------------------------


class BedrockEmbedder:
    """An Embedder over Bedrock: Amazon Titan and Cohere models."""

    def __init__(self, model_id: str, *, client: Callable[[], Any], sleep: Callable[[float], None] = time.sleep) -> None:
        self._cohere = ".cohere." in f".{model_id}"
        if not self._cohere and ".amazon.titan-embed" not in f".{model_id}":
            raise InvalidSetting(
                f"bedrock:{model_id} is no embedder known here; use amazon.titan-embed-text-v2:0 or cohere.embed-…"
            )
        self._model = model_id
        self._client = client
        self._sleep = sleep
        self.name = f"bedrock:{model_id}"

    def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> list[list[float]]:
        """See Embedder. Titan takes one text a call, Cohere 96."""
        out: list[list[float]] = []
        size = 96 if self._cohere else 1
        for i in range(0, len(texts), size):
            part = texts[i : i + size]
            body: dict[str, Any] = (
                {"texts": list(part), "input_type": f"search_{purpose}", "truncate": "END", "embedding_types": ["float"]}
                if self._cohere
                else {"inputText": part[0], "normalize": True}
            )
            out += again(partial(self._invoke, body, len(part)), sleep=self._sleep)
        return out

    def _invoke(self, body: Mapping[str, Any], expected: int) -> list[list[float]]:
        with aws_errors(self.name):
            answer = self._client().invoke_model(
                modelId=self._model, body=json.dumps(body).encode(), contentType="application/json", accept="application/json"
            )
            return vectors(answer["body"].read(), expected=expected, where=self.name)


class SageMakerEmbedder:
    """An Embedder over a SageMaker endpoint: an OpenAI-shaped container such as ours, or Text Embeddings Inference (`tei`)."""

    def __init__(
        self, endpoint: str, *, tei: bool, client: Callable[[], Any], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._endpoint, _, self._component = endpoint.partition("/")
        self._tei = tei
        self._client = client
        self._sleep = sleep
        self.name = f"sagemaker:{endpoint}"

    def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> list[list[float]]:
        """See Embedder."""
        marked = [mark(t, self._endpoint, purpose) for t in texts]
        out: list[list[float]] = []
        for i in range(0, len(marked), 32):
            part = marked[i : i + 32]
            body = {"inputs": part, "truncate": True} if self._tei else {"model": "", "input": part}
            out += again(partial(self._invoke, body, len(part)), sleep=self._sleep)
        return out

    def _invoke(self, body: Mapping[str, Any], expected: int) -> list[list[float]]:
        names = {"EndpointName": self._endpoint} | ({"InferenceComponentName": self._component} if self._component else {})
        with aws_errors(self.name):
            answer = self._client().invoke_endpoint(**names, Body=json.dumps(body).encode(), ContentType="application/json")
            return vectors(answer["Body"].read(), expected=expected, where=self.name)


def _lazily(service: str, region: str, make: Callable[[str], Any] | None) -> Callable[[], Any]:
    lock = threading.Lock()
    kept: list[Any] = []  # the one boto3 client, made when first used

    def client() -> Any:  # a boto3 client: its class is made at run time
        with lock:
            if not kept:
                if make is not None:
                    kept.append(make(service))
                else:
                    import boto3
                    from botocore.config import Config

                    config = Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 1})
                    kept.append(boto3.client(service, region_name=region, config=config))
            return kept[0]

    return client


class aws_errors:  # a context manager that reads as a word
    """Turns what boto3 raises inside into Unavailable or ModelError."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        from assistant.llm.failures import TryAgain
        from assistant.llm.sagemaker_stream import failure

        if isinstance(error, ClientError):
            if error.response.get("Error", {}).get("Code") == "ValidationException":
                raise ModelError(f"{self._where} refused the text as too long or empty") from error
            raise failure(self._where, error.response, _NOBODY) from error
        if isinstance(error, BotoCoreError):
            raise TryAgain(f"{self._where} cannot be reached ({type(error).__name__})") from error


# --- what all share ----------------------------------------------------------------------------


def mark(text: str, model: str, purpose: Purpose) -> str:
    """`text` with the words that some open models were trained to see before it."""
    name = model.lower()
    if "e5" in name and "instruct" not in name:
        return f"{'query' if purpose == 'query' else 'passage'}: {text}"
    if purpose == "query" and "qwen3" in name and "embedding" in name:
        return f"Instruct: Given a question, retrieve passages that answer it\nQuery:{text}"
    return text


def vectors(body: bytes, *, expected: int, where: str) -> list[list[float]]:
    """The vectors in an answer of any of the known shapes, each brought to length 1. Raises Unavailable for another shape."""
    try:
        data: Any = json.loads(body)  # any JSON
        if isinstance(data, dict) and "data" in data:
            found = [row["embedding"] for row in sorted(data["data"], key=lambda r: r.get("index", 0))]
        elif isinstance(data, dict) and "embedding" in data:
            found = [data["embedding"]]
        elif isinstance(data, dict):
            found = data["embeddings"]
            found = found["float"] if isinstance(found, dict) else found
        else:
            found = data
        out = [_unit([float(x) for x in row]) for row in found]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Unavailable(f"{where} answered with something that holds no vectors") from error
    if len(out) != expected or any(len(row) != len(out[0]) for row in out):
        raise Unavailable(f"{where} answered with {len(out)} vectors for {expected} texts")
    return out


def _unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row] if length else row


def again(
    act: Callable[[], list[list[float]]], *, tries: int = 3, sleep: Callable[[float], None] = time.sleep
) -> list[list[float]]:
    """`act()`, repeated with jittered pauses where the endpoint did not take the request."""
    from assistant.llm.failures import TryAgain

    for attempt in range(1, tries):
        try:
            return act()
        except TryAgain as error:
            pause = error.retry_after if error.retry_after is not None else 0.5 * 2**attempt
            if pause > 8:
                raise
            sleep(pause / 2 + random.uniform(0, pause / 2))
    return act()
