"""The HTTP API through its function's own event: health, dead letters, init, and the OpenAI door with OpenAI's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from assistant.api import create_app, http_handler
from assistant.dev.emulator import Emulator
from assistant.dev.runner import Functions, listen, serve
from assistant.llm import ChatRequest, Done, Event, TextDelta, Usage
from assistant.messages import Passage
from tests.support.house import WEBCHAT_KEY, House, Pages, ScriptedModel, client, down

LEAVE = Passage(id="p1", title="Leave policy", text="Everyone has 30 days of leave.", url="https://intranet.example/leave")


class ApiFunction(Functions):
    """The API function alone."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self._handlers["api"] = http_handler(create_app(house.assistant))


@pytest.fixture
def house(aws: Emulator) -> House:
    return House(aws, model=ScriptedModel(["Thirty days [1]."]), pages=Pages((LEAVE,)))


@pytest.fixture
def base(house: House) -> Iterator[str]:
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.shutdown()
    server.server_close()
    listening.close()


@pytest.fixture
def http(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, headers={"authorization": f"Bearer {WEBCHAT_KEY}"}) as made:
        yield made


@pytest.fixture
def official(base: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=WEBCHAT_KEY, base_url=f"{base}/v1", max_retries=0) as made:
        yield made


def test_openais_client_gets_the_assistants_answer_with_its_sources(official: openai.OpenAI, house: House) -> None:
    answer = official.chat.completions.create(
        model="assistant",
        messages=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": [{"type": "text", "text": "How long is my leave?"}]},
        ],
    )
    text = answer.choices[0].message.content or ""
    assert text.startswith("Thirty days [1].")
    assert "https://intranet.example/leave" in text
    assert answer.choices[0].finish_reason == "stop"
    assert [m.text for m in house.model.asked[0].messages] == ["Hello", "Hi.", "How long is my leave?"]
    assert house.model.asked[0].passages == (LEAVE,)


def test_a_stream_is_the_same_answer_in_events(official: openai.OpenAI) -> None:
    chunks = list(
        official.chat.completions.create(
            model="assistant",
            messages=[{"role": "user", "content": "How long?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text.startswith("Thirty days [1].")
    assert chunks[-1].usage is not None


def test_the_models_are_listed(official: openai.OpenAI) -> None:
    assert [m.id for m in official.models.list()] == ["assistant"]
    assert official.models.retrieve("assistant").id == "assistant"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}, openai.NotFoundError),
        ({"model": "assistant", "messages": []}, openai.BadRequestError),
        ({"model": "assistant", "messages": [{"role": "assistant", "content": "x"}]}, openai.BadRequestError),
        ({"model": "assistant", "messages": [{"role": "user", "content": "x" * 50_000}]}, openai.BadRequestError),
        ({"model": "assistant", "messages": [{"role": "user", "content": "x"}], "n": 5}, openai.BadRequestError),
    ],
)
def test_a_bad_request_is_refused_in_openais_shape(
    official: openai.OpenAI, request_: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        official.chat.completions.create(**request_)
    body = caught.value.body  # type: ignore[attr-defined]  # all of OpenAI's errors have one
    assert body["message"]
    assert body["type"] == "invalid_request_error"


def test_a_model_that_is_down_is_said_so(official: openai.OpenAI, house: House) -> None:
    house.model.answers = [down()]
    with pytest.raises(openai.InternalServerError) as caught:
        official.chat.completions.create(model="assistant", messages=[{"role": "user", "content": "x"}])
    assert caught.value.status_code == 503


def test_a_wrong_key_is_refused(base: str) -> None:
    with (
        openai.OpenAI(api_key="wrong", base_url=f"{base}/v1", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.models.list()


def test_health_names_each_part(http: httpx.Client) -> None:
    answer = http.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "components": {"table": "ok", "queue": "ok", "secrets": "ok"}}


def test_health_is_bad_when_a_part_is_gone(http: httpx.Client, house: House, aws: Emulator) -> None:
    client(aws, "dynamodb").delete_table(TableName=house.settings.table_name)
    answer = http.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "degraded"
    assert answer.json()["components"]["table"] != "ok"


def test_init_changes_nothing_the_second_time(http: httpx.Client) -> None:
    first = http.post("/api/init").json()["steps"]
    second = http.post("/api/init").json()["steps"]
    assert [s["state"] for s in first] == ["created", "created", "kept", "ok", "ok", "ok"]
    assert [s["state"] for s in second] == ["kept", "kept", "kept", "ok", "ok", "ok"]


def test_a_dead_letter_is_read_without_its_text_and_replayed(http: httpx.Client, house: House) -> None:
    house.model.answers = [down()]
    house.say("A question that nobody else may read", id="m1")
    for _ in range(3):
        house.run(house.batch())
    listed = http.get("/api/dead-letters")
    assert "nobody else" not in listed.text
    [letter] = listed.json()["letters"]
    assert letter["message_id"] == "m1"
    assert letter["reason"] == "Unavailable: the model does not answer"
    house.model.answers = ["Here it is."]
    done = http.post("/api/dead-letters/replay", json={"ids": [letter["id"][:8], "unknown-id"]}).json()
    assert done == {"replayed": [letter["id"]], "missing": ["unknown-id"]}
    house.drain()
    assert [t["text"] for t in house.turns()] == ["Here it is."]
    assert http.get("/api/dead-letters").json() == {"letters": []}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/conversations/c/turns"),
        ("GET", "/api/dead-letters"),
        ("POST", "/api/dead-letters/replay"),
        ("POST", "/api/init"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
    ],
)
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {WEBCHAT_KEY}", WEBCHAT_KEY])
def test_without_the_key_nothing_is_told(http: httpx.Client, method: str, path: str, authorization: str) -> None:
    answer = http.request(
        method, path, headers={"authorization": authorization}, json={"model": "x"} if method == "POST" else None
    )
    assert answer.status_code == 401
    assert set(answer.json()) == {"error"}


def test_broken_json_is_a_clear_400(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert json.loads(answer.content)["error"]["type"] == "invalid_request_error"


def test_a_keys_day_on_the_model_is_bounded_like_a_persons(aws: Emulator) -> None:
    class Counting(ScriptedModel):
        def stream(self, request: ChatRequest) -> Iterator[Event]:
            self.asked.append(request)
            yield TextDelta("Thirty days.")
            yield Done(reason="stop", model=self.name, usage=Usage(prompt=60, completion=50))

    house = House(aws, model=Counting())
    house.assistant.rollouts.set({"person_tokens": 100}, ring="everyone", who="ann", why="a test")
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    with openai.OpenAI(api_key=WEBCHAT_KEY, base_url=url, max_retries=0) as client:
        asked: Any = {"model": "assistant", "messages": [{"role": "user", "content": "How long is my leave?"}]}
        assert client.chat.completions.create(**asked).choices[0].message.content == "Thirty days."
        with pytest.raises(openai.RateLimitError) as met:
            client.chat.completions.create(**asked)
        assert met.value.code == "insufficient_quota"
        assert len(house.model.asked) == 1
        house.offset += 86400
        assert client.chat.completions.create(**asked).choices[0].message.content == "Thirty days."
    server.shutdown()
    server.server_close()
    listening.close()
