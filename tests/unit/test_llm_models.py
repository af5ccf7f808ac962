"""What a model setting may say, and what happens when the first model of a list is down."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.credentials import ReadOnlyCredentials

from assistant.errors import InvalidSetting, ModelError, Unavailable
from assistant.llm import ChatMessage, ChatModel, ChatRequest, Done, Event, TextDelta, ToolSpec
from assistant.llm.aws_auth import SageMakerTokens, sagemaker_token, signed
from assistant.llm.endpoint import Breaker, RetryBudget
from assistant.llm.fallback import Fallback
from assistant.llm.models import ModelSpec, open_model, parse_spec
from assistant.llm.openai_http import check_base_url, dialect_of
from assistant.llm.openai_wire import BEDROCK, OPENAI, VLLM, Dialect, is_closed, request_body
from tests.simulators.openai_server import ModelServer, Plan

QUESTION = ChatRequest(system="", messages=(ChatMessage(role="user", text="hi"),), seconds=10)


# --- the setting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("builtin", (ModelSpec(kind="builtin", model="builtin"),)),
        ("openai:qwen3:4b@http://127.0.0.1:11434/v1",
         (ModelSpec(kind="openai", model="qwen3:4b", address="http://127.0.0.1:11434/v1"),)),
        ("openai:org/m@x@https://h.example/v1", (ModelSpec(kind="openai", model="org/m@x", address="https://h.example/v1"),)),
        ("sagemaker:chat-prod", (ModelSpec(kind="sagemaker", address="chat-prod"),)),
        ("sagemaker:chat/qwen", (ModelSpec(kind="sagemaker", address="chat", component="qwen"),)),
        ("sagemaker-openai:chat/qwen", (ModelSpec(kind="sagemaker-openai", address="chat", component="qwen"),)),
        ("bedrock:openai.gpt-oss-20b-1:0", (ModelSpec(kind="bedrock", model="openai.gpt-oss-20b-1:0"),)),
        ("sagemaker:a , builtin", (ModelSpec(kind="sagemaker", address="a"), ModelSpec(kind="builtin", model="builtin"))),
    ],
)  # fmt: skip
def test_a_setting_names_models_in_order(spec: str, expected: tuple[ModelSpec, ...]) -> None:
    assert parse_spec(spec) == expected


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("gpt", "write one of"), ("", "write one of"), ("builtin:x", "write one of"), ("builtin,", "write one of"),
        ("openai:", "openai:MODEL@BASE_URL"), ("openai:m", "openai:MODEL@BASE_URL"), ("openai:@http://h/v1", "lacks a part"),
        ("openai:m@http://", "http://127.0.0.1:8000/v1"), ("openai:m@http://h:99999/v1", "no base URL"),
        ("openai:m@https://h[[", "no base URL"),
        ("openai:m@http://user:pw@h/v1", "lacks a part|no base URL|unknown"), ("openai:m@http://h/v1#martian", "known: vllm"),
        ("sagemaker:", "sagemaker:ENDPOINT"), ("sagemaker:a b", "sagemaker:ENDPOINT"), ("sagemaker:a/", "sagemaker:ENDPOINT"),
        ("bedrock:", "bedrock:"), ("bedrock:a b", "bedrock:"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_names_itself_and_the_next_step(spec: str, hint: str) -> None:
    with pytest.raises(InvalidSetting, match=hint):
        parse_spec(spec)


def test_one_key_never_goes_to_several_hosts() -> None:
    spec = "openai:a@http://one.internal/v1,openai:b@https://two.example/v1"
    with pytest.raises(InvalidSetting, match=r"one\.internal, two\.example"):
        open_model(spec, region="eu-west-1", api_key="sk-1")
    open_model(spec, region="eu-west-1", api_key='{"two.example": "sk-1"}')
    open_model(spec, region="eu-west-1", api_key={"two.example": "sk-1"})
    with pytest.raises(InvalidSetting, match="JSON object"):
        open_model(spec, region="eu-west-1", api_key='{"two.example": 1}')
    with pytest.raises(InvalidSetting, match="check its quotes"):
        open_model(spec, region="eu-west-1", api_key="{two.example")


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("http://10.1.2.3:8000/v1", VLLM), ("http://vllm.prod.internal/v1", VLLM), ("https://192.168.1.4/v1", VLLM),
        ("https://api.openai.com/v1", OPENAI), ("https://x.openai.azure.com/openai/v1", OPENAI),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", BEDROCK),
        ("https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/e/openai/v1", VLLM),
        ("https://models.example.com/v1", Dialect()), ("https://models.example.com/v1#vllm", VLLM),
    ],
)  # fmt: skip
def test_only_engines_are_sent_what_only_engines_know(url: str, dialect: Dialect) -> None:
    assert dialect_of(url) == dialect


def test_a_base_url_may_end_as_people_copy_it() -> None:
    for url in ("http://h/v1", "http://h/v1/", "http://h/v1/chat/completions", "http://h/v1#vllm"):
        assert check_base_url(url) == "http://h/v1"


def test_openai_accepts_the_body_and_strictness_is_only_claimed_where_it_holds() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {}, "additionalProperties": False}},
        "required": ["a"],
        "additionalProperties": False,
    }
    open_ = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert is_closed(closed)
    assert not is_closed(open_)
    assert not is_closed({**closed, "required": []})
    tools = (ToolSpec(name="b", description="", parameters=open_), ToolSpec(name="a", description="", parameters=closed))
    request = replace(QUESTION, tools=tools, tool_choice="required", session="s")
    with ModelServer(engine=False, plan=Plan(text="ok")) as server:
        model = open_model(f"openai:tiny@{server.base}/v1#openai", region="eu-west-1")
        list(model.stream(request))
        body = server.asked[0].body
    close(model)
    assert [t["function"].get("strict") for t in body["tools"]] == [True, None]
    assert "cache_salt" not in body
    assert body["prompt_cache_key"] == "s"
    assert body["max_completion_tokens"] == 1024
    assert body["parallel_tool_calls"] is False


def test_lone_surrogates_do_not_break_the_body() -> None:
    request = replace(QUESTION, messages=(ChatMessage(role="user", text="a\ud800b"),))
    assert json.loads(request_body(request, model="m", dialect=VLLM))["messages"][0]["content"] == "a\ufffdb"


def test_opening_a_model_imports_neither_boto3_nor_httpx_unless_it_is_used() -> None:
    code = (
        "import sys; from assistant.llm.models import open_model; open_model('builtin', region='r'); "
        "assert 'boto3' not in sys.modules and 'httpx' not in sys.modules, 'too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def close(model: ChatModel) -> None:
    getattr(model, "close")()  # noqa: B009  # not part of the door


# --- the list ----------------------------------------------------------------------------------


@dataclass
class Scripted:
    """A model that says its parts; an exception among them is raised."""

    name: str
    parts: list[Event | Exception]
    asked: list[ChatRequest] = field(default_factory=list)
    closed: bool = False

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        self.asked.append(request)
        try:
            for part in self.parts:
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            self.closed = True


GOOD: list[Event | Exception] = [TextDelta("b"), Done(reason="stop", model="b")]


def test_the_next_model_answers_when_one_is_down() -> None:
    first, second = Scripted("a", [Unavailable("down")]), Scripted("b", GOOD)
    passed: list[str] = []
    assert list(Fallback([first, second], failed=passed.append).stream(QUESTION)) == GOOD
    assert passed == [first.name]


def test_once_text_has_come_the_list_stays_with_that_model() -> None:
    first, second = Scripted("a", [TextDelta("x"), Unavailable("gone")]), Scripted("b", GOOD)
    got: list[Event] = []
    with pytest.raises(Unavailable, match="gone"):
        got.extend(Fallback([first, second]).stream(QUESTION))
    assert got == [TextDelta("x")]
    assert second.asked == []


def test_a_refused_request_is_not_tried_on_others() -> None:
    second = Scripted("b", GOOD)
    with pytest.raises(ModelError):
        list(Fallback([Scripted("a", [ModelError("too long")]), second]).stream(QUESTION))
    assert second.asked == []


def test_when_all_are_down_every_reason_is_named_and_the_shortest_wait() -> None:
    models = [Scripted("a", [Unavailable("a is down", retry_after=30)]), Scripted("b", [Unavailable("b sleeps", retry_after=5)])]
    with pytest.raises(Unavailable, match="a is down; b sleeps") as raised:
        list(Fallback(models).stream(QUESTION))
    assert raised.value.retry_after == 5


def test_the_list_shares_one_time_limit() -> None:
    now = [0.0]

    class Slow(Scripted):
        def stream(self, request: ChatRequest) -> Iterator[Event]:
            now[0] += 7
            return super().stream(request)

    last = Scripted("c", GOOD)
    list(Fallback([Slow("a", [Unavailable("late")]), last], clock=lambda: now[0]).stream(QUESTION))
    assert last.asked[0].seconds == 3
    with pytest.raises(Unavailable):
        list(
            Fallback([Slow("a", [Unavailable("1")]), Slow("b", [Unavailable("2")]), last], clock=lambda: now[0]).stream(QUESTION)
        )
    assert len(last.asked) == 1


def test_closing_early_closes_the_model_that_speaks() -> None:
    first = Scripted("a", [TextDelta("x"), TextDelta("y")])
    stream = Fallback([first]).stream(QUESTION)
    next(stream)
    getattr(stream, "close")()  # noqa: B009  # an Iterator by type, a generator by contract
    assert first.closed


def test_the_built_in_engine_stands_in_for_a_server_that_is_not_there() -> None:
    model = open_model("openai:m@http://127.0.0.1:9/v1,builtin", region="eu-west-1")
    assert model.name == "openai:m,builtin"
    done = list(model.stream(QUESTION))[-1]
    assert isinstance(done, Done)
    assert done.model == "builtin"
    close(model)


# --- budget and breaker ------------------------------------------------------------------------


def test_the_breaker_opens_closes_and_lets_one_probe_through() -> None:
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0])
    for _ in range(4):
        breaker.record(good=False)
    assert breaker.wait() == 0
    breaker.record(good=False)
    assert breaker.open
    assert breaker.wait() == 15
    now[0] = 15
    assert breaker.wait() == 0, "the probe"
    assert breaker.wait() == 15, "only one at a time"
    breaker.record(good=False)
    assert breaker.wait() == 15
    now[0] = 30
    assert breaker.wait() == 0
    breaker.record(good=True)
    assert [breaker.wait(), breaker.wait()] == [0, 0]


def test_a_few_failures_among_many_good_calls_open_nothing() -> None:
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0])
    for n in range(60):
        breaker.record(good=n % 3 != 0)
    assert not breaker.open
    for _ in range(4):
        now[0] += 31
        breaker.record(good=False)
    assert not breaker.open, "failures far apart are forgotten"


def test_the_budget_refills_with_calls() -> None:
    budget = RetryBudget(share=0.125, reserve=1)
    assert budget.spend()
    assert not budget.spend()
    for _ in range(8):
        budget.earn()
    assert budget.spend()


# --- AWS's proofs ------------------------------------------------------------------------------

KEYS = ReadOnlyCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session-token")


def signature(date: str, scope: str, canonical: str) -> str:
    """The v4 signature, computed from the specification alone."""
    key = f"AWS4{KEYS.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def test_the_sagemaker_token_is_a_presigned_call_that_verifies() -> None:
    token = sagemaker_token(KEYS, region="eu-west-1", seconds=900)
    assert token.startswith("sagemaker-api-key-")
    url = base64.b64decode(token.removeprefix("sagemaker-api-key-")).decode()
    assert not url.startswith("https://")
    query = dict(parse_qsl(urlsplit(f"https://{url}").query))
    assert query.pop("Version") == "1"
    assert query["Action"] == "CallWithBearerToken"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Security-Token"] == "session-token"
    given = query.pop("X-Amz-Signature")
    scope = query["X-Amz-Credential"].partition("/")[2]
    assert scope.endswith("/eu-west-1/sagemaker/aws4_request")
    canonical_query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"POST\n/\n{canonical_query}\nhost:sagemaker.amazonaws.com\n\nhost\n{empty}"
    assert given == signature(query["X-Amz-Date"], scope, canonical)


def test_tokens_are_kept_for_five_minutes_and_renewed_with_fresh_credentials() -> None:
    now = [0.0]
    minted: list[int] = []

    def credentials() -> ReadOnlyCredentials:
        minted.append(1)
        return KEYS

    tokens = SageMakerTokens(credentials, region="eu-west-1", clock=lambda: now[0])
    assert tokens() == tokens()
    assert len(minted) == 1
    now[0] = 301
    tokens()
    assert len(minted) == 2


def test_a_bedrock_request_is_signed_over_its_body() -> None:
    headers = signed(lambda: KEYS, service="bedrock", region="eu-west-1")(
        "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1/chat/completions", b'{"a":1}'
    )
    authorization = headers["authorization"]
    scope = authorization.partition("Credential=AKIDEXAMPLE/")[2].partition(",")[0]
    assert scope.endswith("/eu-west-1/bedrock/aws4_request")
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0]
    values = {**headers, "host": "bedrock-runtime.eu-west-1.amazonaws.com"}
    lines = "".join(f"{n}:{values[n]}\n" for n in names.split(";"))
    digest = hashlib.sha256(b'{"a":1}').hexdigest()
    canonical = f"POST\n/openai/v1/chat/completions\n\n{lines}\n{names}\n{digest}"
    assert authorization.endswith(f"Signature={signature(headers['x-amz-date'], scope, canonical)}")
