"""What we rely on in vLLM, asked of the real one through our entry point and our client."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant.errors import ModelError, Unavailable
from assistant.llm import ChatMessage, ChatRequest, Done, Event, TextDelta, ToolCall, ToolSpec
from assistant.llm.endpoint import EndpointModel, Limits
from assistant.llm.failures import Overloaded
from assistant.llm.openai_http import OpenAIHttp
from assistant.llm.openai_wire import VLLM
from assistant.llm.sagemaker_stream import SageMakerStream, runtime_client
from assistant.llm.tokens import ServerTokens
from tests.engine.conftest import SMALL
from tests.engine.install import ROOT
from tests.engine.server import Bridge, Engine

pytestmark = pytest.mark.engine

PATIENT = Limits(connect=5, first_token=120, gap=120, repeats=0)
QUESTION = ChatRequest(
    system="You help the people of a company. " * 30,
    messages=(ChatMessage(role="user", text="Wie viele Urlaubstage 年假有几天?"),),
    max_tokens=40,
    seconds=300,
)
BOOK = ToolSpec(
    name="book_leave",
    description="Books days off.",
    parameters={
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["annual", "sick", "parental"]},
            "half_day": {"type": "boolean"},
            "days": {"type": "array", "items": {"enum": ["mon", "tue", "wed"]}, "minItems": 1, "maxItems": 2},
        },
        "required": ["kind", "half_day", "days"],
        "additionalProperties": False,
    },
)


@pytest.fixture(scope="module", params=["http", "sagemaker"])
def chat(request: pytest.FixtureRequest, engine: Engine) -> Iterator[EndpointModel]:
    if request.param == "http":
        model = EndpointModel(OpenAIHttp(f"{engine.base}/v1"), name="e", model="assistant", dialect=VLLM, limits=PATIENT)
        yield model
        model.close()
        return
    with Bridge(engine) as bridge:

        def client() -> Any:  # a botocore client
            keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}
            return runtime_client("eu-west-1", limits=PATIENT, endpoint_url=bridge.base, **keys)

        model = EndpointModel(
            SageMakerStream("e", region="eu-west-1", client=client), name="e", model="", dialect=VLLM, limits=PATIENT
        )
        yield model
        model.close()


@pytest.fixture(scope="module")
def plain(engine: Engine) -> Iterator[EndpointModel]:
    model = EndpointModel(OpenAIHttp(f"{engine.base}/v1"), name="e", model="assistant", dialect=VLLM, limits=PATIENT)
    yield model
    model.close()


def done(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


def test_sagemakers_routes_answer(engine: Engine) -> None:
    assert httpx.get(f"{engine.base}/ping", timeout=5).status_code == 200
    body = {"model": "", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    answer = httpx.post(f"{engine.base}/invocations", json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 3


def test_text_streams_and_is_counted(chat: EndpointModel) -> None:
    events = list(chat.stream(QUESTION))
    assert len([e for e in events if isinstance(e, TextDelta)]) > 1
    usage = done(events).usage
    assert usage.completion == 40
    assert usage.prompt > 200
    assert done(events).reason == "length"


def test_a_forced_call_keeps_to_its_schema(chat: EndpointModel) -> None:
    asked = replace(QUESTION, tools=(BOOK,), tool_choice="required", max_tokens=1500, temperature=1.0)
    finished = 0
    for _ in range(4):
        events = list(chat.stream(asked))
        calls = [e for e in events if isinstance(e, ToolCall)]
        if done(events).reason == "length":  # JSON allows blanks, and made-up weights may write nothing else
            assert not calls, "a call that was cut was given out"
            continue
        finished += 1
        assert len(calls) == 1, events
        assert calls[0].name == "book_leave"
        arguments = json.loads(calls[0].arguments)
        assert set(arguments) == {"kind", "half_day", "days"}
        assert arguments["kind"] in ("annual", "sick", "parental")
        assert isinstance(arguments["half_day"], bool)
        assert 1 <= len(arguments["days"]) <= 2
        assert set(arguments["days"]) <= {"mon", "tue", "wed"}
        assert done(events).reason == "tool_calls"
    assert finished


def test_each_turn_finds_the_turns_before_in_the_cache(chat: EndpointModel) -> None:
    # Caching works in blocks of 128 tokens here; a salt of its own makes the run independent of what ran before.
    request = replace(QUESTION, tenant=f"cache-{time.monotonic_ns()}")
    shares: list[float] = []
    for turn in range(5):
        usage = done(list(chat.stream(request))).usage
        shares.append(usage.cached / usage.prompt)
        said = ChatMessage(role="assistant", text=f"Answer number {turn} about annual leave in this company.")
        request = replace(request, messages=(*request.messages, said, ChatMessage(role="user", text=f"And then, {turn}?")))
    assert shares[0] == 0
    assert min(shares[1:]) > 0.6
    other = done(list(chat.stream(replace(request, tenant=f"other-{time.monotonic_ns()}")))).usage
    assert other.cached == 0, "one tenant can see what another has in the cache"


def test_a_request_that_is_too_long_is_refused_and_says_so(chat: EndpointModel) -> None:
    with pytest.raises(ModelError, match="maximum context length"):
        list(chat.stream(replace(QUESTION, messages=(ChatMessage(role="user", text="x" * 70_000),))))


def test_a_wrong_model_name_is_found(engine: Engine) -> None:
    model = EndpointModel(OpenAIHttp(f"{engine.base}/v1"), name="e", model="other", dialect=VLLM, limits=PATIENT)
    with pytest.raises(Unavailable, match="check the model's name"):
        list(model.stream(QUESTION))
    model.close()


def test_tokens_are_counted_by_the_engine_itself(engine: Engine) -> None:
    counter = ServerTokens(f"{engine.base}/v1", model="assistant", seconds=20)
    assert counter.count("年假") == 6, "this tokenizer gives Chinese three tokens a sign"
    counter.close()


def test_a_client_that_leaves_frees_its_slot(chat: EndpointModel, engine: Engine) -> None:
    before = engine.generated(within=30)
    stream = chat.stream(replace(QUESTION, max_tokens=12_000))
    next(stream)
    getattr(stream, "close")()  # noqa: B009  # an Iterator by type, a generator by contract
    assert 0 < engine.generated(within=30) - before < 12_000


def test_overload_is_shed_at_once_and_what_was_let_in_is_answered(plain: EndpointModel, engine: Engine) -> None:
    asked = replace(QUESTION, max_tokens=300)
    places = int(SMALL["SM_VLLM_MAX_NUM_QUEUED_REQS"])  # all that come at one moment wait first

    def one(n: int) -> int | str:
        try:
            return done(list(plain.stream(replace(asked, messages=(ChatMessage(role="user", text=f"{n}"),))))).usage.completion
        except Overloaded as error:
            return str(error)

    with ThreadPoolExecutor(80) as pool:
        outcomes = list(pool.map(one, range(80)))
    shed = [o for o in outcomes if isinstance(o, str)]
    assert 1 <= len(shed) <= 80 - places
    assert all("503" in s for s in shed)
    assert [o for o in outcomes if not isinstance(o, str)] == [300] * (80 - len(shed)), "an answer that was let in was cut"
    assert done(list(plain.stream(QUESTION))).usage.completion == 40, "it serves on"


def test_a_terminated_container_lets_its_streams_end(engine_python: Path, model: Path) -> None:
    log = ROOT / "build" / "engine-drain.log"
    with Engine(engine_python, model, environ=SMALL, log=log) as engine:
        chat = EndpointModel(OpenAIHttp(f"{engine.base}/v1"), name="e", model="assistant", dialect=VLLM, limits=PATIENT)
        began = threading.Event()
        result: list[Done] = []

        def read() -> None:
            for event in chat.stream(replace(QUESTION, max_tokens=1500)):
                began.set()
                if isinstance(event, Done):
                    result.append(event)

        reader = threading.Thread(target=read)
        reader.start()
        assert began.wait(60)
        engine.terminate()
        assert engine.process
        status = engine.process.wait(30)  # SageMaker kills after 30 s
        reader.join(5)
        chat.close()
    assert [r.usage.completion for r in result] == [1500], "the stream was cut"
    assert status == 0


PARSE = """
import json, sys
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.tool_parsers import ToolParserManager
from vllm.reasoning import ReasoningParserManager
for argv in json.load(sys.stdin):
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(argv[argv.index("serve") + 1:])
    validate_parsed_serve_args(args)
    assert args.tool_call_parser in ToolParserManager.list_registered(), args.tool_call_parser
    assert not args.reasoning_parser or args.reasoning_parser in ReasoningParserManager.list_registered(), args.reasoning_parser
print("all good")
"""


def test_the_engine_knows_every_argument_of_every_profile(engine_python: Path, model: Path) -> None:
    entry = ROOT / "functions" / "inference" / "entrypoint.py"
    shown: list[list[str]] = []
    for profile in sorted((entry.parent / "engine").glob("*.json")):
        environ = {"SM_VLLM_MODEL": str(model), "ENGINE_PROFILE": profile.stem}
        printed = subprocess.run(
            [str(engine_python), str(entry), "--print-argv"], env=environ, capture_output=True, text=True, check=True
        )
        shown.append(json.loads(printed.stdout)["argv"])
    assert len(shown) == 12
    parsed = subprocess.run(
        [str(engine_python), "-c", PARSE], input=json.dumps(shown), capture_output=True, text=True, check=False, timeout=600
    )
    assert parsed.returncode == 0, parsed.stderr[-3000:]
    assert parsed.stdout.rstrip().endswith("all good")
