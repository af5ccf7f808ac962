"""Counting tokens, pricing them, and turning texts into vectors."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import InvalidSetting, ModelError, Unavailable
from assistant.llm import Usage
from assistant.llm.embedders import BedrockEmbedder, OpenAIEmbedder, SageMakerEmbedder, mark, open_embedder, vectors
from assistant.llm.tokens import EstimatedTokens, Prices, ServerTokens, estimate, open_counter
from tests.simulators.base import Answer, Call, Simulator, route
from tests.simulators.openai_server import ModelServer, pieces

ENGLISH = "Employees who have worked for a full year may carry at most five unused vacation days over to the following year. "
CHINESE = "入职满一年的员工每年享有十五天带薪年假，未休完的年假最多可以结转五天到下一年度。"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (ENGLISH * 10, 190, 290),  # about 22 words and a stop, one token each, the long words two
        (CHINESE * 10, 210, 360),  # 40 signs, of which most pairs are one token
        ("", 0, 0),
        ("2026-03-02", 10, 10),  # digits stand alone
        ("👩‍👩‍👧" * 4, 12, 60),
        ("def f(x):\n    return x + 1\n", 9, 16),
        ("안녕하세요 세계", 4, 9),
        ("こんにちは世界", 4, 8),
    ],
)
def test_the_estimate_is_near_what_tokenizers_count(text: str, low: int, high: int) -> None:
    assert low <= estimate(text) <= high


@settings(max_examples=50)
@given(st.text(max_size=200), st.text(max_size=200))
def test_more_text_is_never_fewer_tokens(a: str, b: str) -> None:
    assert estimate(a) <= estimate(a + "\n" + b) <= estimate(a) + estimate(b) + 3


def test_the_estimate_learns_from_what_the_model_counted() -> None:
    counter = EstimatedTokens()
    text = ENGLISH * 20
    real = round(estimate(text) * 1.3)
    for _ in range(30):
        counter.learn(text, real)
    assert counter.count(text) == pytest.approx(real, rel=0.02)
    counter.learn("ok", 500)
    assert counter.count(text) == pytest.approx(real, rel=0.02), "a short text is no measure"


def test_the_servers_own_count_is_used_and_remembered() -> None:
    with ModelServer() as server:
        counter = ServerTokens(f"{server.base}/v1", model="tiny")
        assert counter.count("Hello, world") == len(pieces("Hello, world"))
        base = f"{server.base}/v1"
    assert counter.count("Hello, world") == len(pieces("Hello, world")), "asked again although remembered"
    assert counter.count(CHINESE) > 0, "no server: the estimate stands in"
    counter.close()
    assert base


class NoTokenizer(Simulator):
    """A server without the path, and one in llama.cpp's shape."""

    @route("POST", "/llama/tokenize")
    def llama(self, call: Call) -> Answer:
        return Answer(200, {"tokens": list(range(len(call.json()["content"])))})


def test_a_server_without_the_path_is_asked_once() -> None:
    with NoTokenizer() as server:
        counter = ServerTokens(f"{server.base}/v1")
        assert counter.count(ENGLISH) == estimate(ENGLISH)
        counter.count(CHINESE)
        assert len(server.calls) == 1
        counter.close()
        llama = ServerTokens(f"{server.base}/llama/v1")
        assert llama.count("abc") == 3
        llama.close()


def test_only_an_engine_of_ones_own_is_asked_to_count() -> None:
    assert isinstance(open_counter("builtin"), EstimatedTokens)
    assert isinstance(open_counter("openai:gpt@https://api.openai.com/v1", api_key="sk"), EstimatedTokens)
    with ModelServer() as server:
        counter = open_counter(f"openai:tiny@{server.base}/v1,builtin")
        assert isinstance(counter, ServerTokens)
        assert counter.count("Hello, world") == len(pieces("Hello, world"))
        counter.close()


# --- money -------------------------------------------------------------------------------------


def test_money_counts_cached_tokens_at_their_own_price() -> None:
    prices = Prices.from_json(
        '{"gpt-*": {"prompt": 2, "completion": 8, "cached": "0.5"}, "gpt-mini": {"prompt": 1, "completion": 2}}'
    )
    usage = Usage(prompt=1000, completion=500, cached=400)
    assert prices.cost("gpt-large", usage) == Decimal("0.0054")
    assert prices.cost("gpt-mini", usage) == Decimal("0.002")
    assert prices.cost("builtin", usage) == 0


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[]", "no JSON object"), ("{", "no JSON object"), ('{"m": 1}', "'m' lacks a number 'prompt'"),
        ('{"m": {"prompt": "x", "completion": 1}}', "'prompt'"), ('{"m": {"prompt": -1, "completion": 1}}', "below zero"),
        ('{"m": {"prompt": 1}}', "'completion'"), ('{"m": {"prompt": "NaN", "completion": 1}}', "no number"),
    ],
)  # fmt: skip
def test_a_price_that_is_none_is_named(text: str, hint: str) -> None:
    with pytest.raises(InvalidSetting, match=hint):
        Prices.from_json(text)


# --- vectors -----------------------------------------------------------------------------------


def test_vectors_come_in_order_and_of_length_one_over_http() -> None:
    with ModelServer() as server:
        embedder = open_embedder(f"openai:tiny@{server.base}/v1", region="eu-west-1")
        texts = [f"text {i}" for i in range(130)]
        rows = embedder.embed(texts)
        assert isinstance(embedder, OpenAIEmbedder)
        embedder.close()
    assert len(rows) == 130
    assert all(math.isclose(sum(x * x for x in row), 1) for row in rows)
    with ModelServer() as server:
        embedder = OpenAIEmbedder("tiny", base_url=f"{server.base}/v1")
        assert embedder.embed([texts[77]])[0] == pytest.approx(rows[77])
        embedder.close()


class FakeRuntime:
    """Bedrock's and SageMaker's runtime clients: strict about shape, as each model is."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.fail: list[Exception] = []

    def _next(self, body: bytes) -> dict[str, Any]:
        if self.fail:
            raise self.fail.pop(0)
        self.bodies.append(json.loads(body))
        return self.bodies[-1]

    def invoke_model(self, *, modelId: str, body: bytes, contentType: str, accept: str) -> Mapping[str, Any]:  # AWS's names
        asked = self._next(body)
        if "titan" in modelId:
            assert set(asked) == {"inputText", "normalize"}
            answer: Any = {"embedding": [3.0, 4.0], "inputTextTokenCount": 2}
        else:
            assert asked["input_type"] in ("search_document", "search_query")
            assert len(asked["texts"]) <= 96
            answer = {"embeddings": {"float": [[1.0, float(i)] for i in range(len(asked["texts"]))]}}
        return {"body": io.BytesIO(json.dumps(answer).encode())}

    def invoke_endpoint(self, *, EndpointName: str, Body: bytes, ContentType: str) -> Mapping[str, Any]:  # AWS's names
        asked = self._next(Body)
        if "inputs" in asked:
            return {"Body": io.BytesIO(json.dumps([[0.0, 2.0] for _ in asked["inputs"]]).encode())}
        rows = [{"index": i, "embedding": [1.0, float(i)]} for i in range(len(asked["input"]))]
        return {"Body": io.BytesIO(json.dumps({"data": rows[::-1]}).encode())}


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


def test_bedrock_and_sagemaker_shapes(runtime: FakeRuntime) -> None:
    def open_(spec: str) -> Any:  # any of the three
        return open_embedder(spec, region="eu-west-1", client=lambda _service: runtime)

    assert open_("bedrock:amazon.titan-embed-text-v2:0").embed(["a", "b"]) == [[0.6, 0.8], [0.6, 0.8]]
    assert len(open_("bedrock:eu.cohere.embed-v4:0").embed(["x"] * 100, purpose="query")) == 100
    assert runtime.bodies[-1]["input_type"] == "search_query"
    assert open_("sagemaker:embed").embed(["a", "b"])[0] == [1.0, 0.0]
    assert open_("sagemaker:embed#tei").embed(["a", "b"]) == [[0.0, 1.0], [0.0, 1.0]]


def test_a_throttled_call_is_repeated_and_a_refused_text_is_not(runtime: FakeRuntime) -> None:
    embedder = BedrockEmbedder("amazon.titan-embed-text-v2:0", client=lambda: runtime, sleep=lambda _s: None)
    throttled = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "InvokeModel")
    runtime.fail = [throttled, EndpointConnectionError(endpoint_url="https://b")]
    assert len(embedder.embed(["a"])) == 1
    runtime.fail = [throttled] * 3
    with pytest.raises(Unavailable):
        embedder.embed(["a"])
    runtime.fail = [ClientError({"Error": {"Code": "ValidationException", "Message": "too long"}}, "InvokeModel")]
    with pytest.raises(ModelError):
        embedder.embed(["a"])


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b'{"data": []}', b'{"embeddings": "x"}', b"[[1, 2], [1]]", b"null"])
def test_an_answer_without_the_right_vectors_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unavailable):
        vectors(body, expected=2, where="here")


@pytest.mark.parametrize(
    "spec", ["", "openai:m", "bedrock:", "bedrock:anthropic.claude", "sagemaker:", "sagemaker:e#x", "word2vec"]
)
def test_an_embedder_setting_that_cannot_be_used_is_named(spec: str) -> None:
    with pytest.raises(InvalidSetting):
        open_embedder(spec, region="eu-west-1")


def test_models_that_were_trained_with_marks_get_them() -> None:
    assert mark("x", "intfloat/multilingual-e5-large", "query") == "query: x"
    assert mark("x", "intfloat/multilingual-e5-large", "document") == "passage: x"
    assert mark("x", "Qwen/Qwen3-Embedding-0.6B", "query").endswith("Query:x")
    assert mark("x", "bge-m3", "query") == "x"


def test_a_sagemaker_embedder_names_its_component(runtime: FakeRuntime) -> None:
    seen: dict[str, Any] = {}

    class Spy(FakeRuntime):
        def invoke_endpoint(self, **call: Any) -> Mapping[str, Any]:  # takes what comes
            seen.update(call)
            return {"Body": io.BytesIO(b'{"data": [{"index": 0, "embedding": [1]}]}')}

    SageMakerEmbedder("e/c", tei=False, client=Spy).embed(["a"])
    assert seen["InferenceComponentName"] == "c"
    assert seen["EndpointName"] == "e"
