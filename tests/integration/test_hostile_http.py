"""Whatever is sent to any address: an answer below 500, within a second, and nothing that crashes."""

from __future__ import annotations

import base64
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, cast
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from assistant.api import create_app, http_handler
from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.dev.runner import Context, event_of, match
from assistant.messages import Webhook
from assistant.observability import RecordedMetrics
from assistant.platforms import PLATFORMS
from assistant.settings import Settings
from tests.support.desks import DESKS
from tests.support.house import WEBCHAT_KEY, House

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "12"))
SECONDS = 2.0
"""Of processor time, on a machine that others use as well; what hangs takes longer."""

modest = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


statuses: Counter[int] = Counter()


class Door:
    """The API function behind API Gateway's event."""

    def __init__(self, house: House) -> None:
        self.app = create_app(house.assistant)
        self._handle = http_handler(self.app)

    def call(self, method: str, path: str, *, query: str = "", headers: dict[str, str] | None = None, body: bytes = b"") -> int:
        """The status; asserts that it is none of ours and came in time."""
        found = match(method, path)
        if found is None:
            return 404
        given = {"authorization": f"Bearer {WEBCHAT_KEY}", "content-type": "application/json", **(headers or {})}
        event = event_of(*found, method=method, path=path, query=query, headers=given, body=body)
        began = time.process_time()
        answer = self._handle(event, Context("api", 30))
        took = time.process_time() - began
        status = int(answer["statusCode"])
        statuses[status] += 1
        assert status < 500, f"{method} {path}?{query} {body!r}: {status} {answer.get('body')}"
        assert took < SECONDS, f"{method} {path}: {took:.1f} s"
        return status


@pytest.fixture
def door(aws: Emulator) -> Door:
    return Door(House(aws))


@cache
def description() -> dict[str, Any]:
    """The whole surface in OpenAPI's words."""
    nowhere = Assistant(Settings(), client=lambda service: None, metrics=RecordedMetrics())
    with warnings.catch_warnings(action="ignore"):  # one function answers several methods: its operations share a name
        return create_app(nowhere).openapi()


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(description())
    return [cast(Any, found).ok() for found in schema.get_all_operations()]  # a wrong schema of ours raises here


def named(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path}"


@pytest.mark.parametrize("operation", sorted(operations(), key=named), ids=named)
def test_whatever_the_schema_allows_or_forbids_is_answered(door: Door, operation: Any) -> None:
    @modest
    @given(case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]))
    def ask(case: Any) -> None:
        made = case.as_transport_kwargs(base_url="http://door.test")
        import requests

        sent = requests.Request(**{k: v for k, v in made.items() if k in ("method", "url", "params", "json", "data")}).prepare()
        path, _, query = str(sent.path_url).partition("?")
        body = sent.body if isinstance(sent.body, bytes) else str(sent.body or "").encode("utf-8", "replace")
        door.call(str(sent.method), path, query=query, body=body)

    ask()


HEADERS = (
    "x-slack-signature", "x-slack-request-timestamp", "x-lark-signature", "x-lark-request-timestamp", "x-lark-request-nonce",
    "sign", "timestamp", "authorization", "content-type", "content-encoding", "cookie",
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=8,
)
PATHS = st.sampled_from(
    ["/api/", "/v1/", "/console/", "/api/knowledge/", "/api/conversations/", "/console/..%2f", "/api/%2e%2e/"]
)


@modest
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"]),
    start=PATHS,
    rest=st.text(min_size=1, max_size=40),
    query=st.text(max_size=40),
    body=st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b'{"a":' * 50_000)),
)
@example(method="GET", start="/console/", rest="../../../../etc/passwd", query="", body=b"")
@example(method="GET", start="/console/", rest="..%2f..%2f..%2fetc%2fpasswd%00.html", query="", body=b"")
@example(method="POST", start="/v1/", rest="chat/completions", query="", body=b"[" * 100_000)
@example(method="POST", start="/api/", rest="keys", query="", body=b'{"name": "\\ud800", "role": "admin", "days": 1e999}')
@example(method="GET", start="/api/", rest="audit", query="limit=" + "9" * 5000, body=b"")
def test_any_path_query_and_body_is_answered(door: Door, method: str, start: str, rest: str, query: str, body: bytes) -> None:
    status = door.call(method, start + quote(rest, safe="/%.", errors="replace"), query=quote(query, errors="replace"), body=body)
    if "passwd" in rest:
        assert status == 404


DEEP = b"[" * 100_000
CURSORS = (
    "5",
    "[]",
    '"a"',
    "null",
    "[" * 20_000,
    quote("[" * 5_000 + "]"),
    "%00",
    "9" * 400,
    "nan",
    "1e999",
    "-1",
    "%ff%fe",
    "a,b",
)


SHAPES = (b"", DEEP, DEEP + b"]" * 100_000, b'{"a":' * 50_000, b"[]", b"5", b"null", b"9" * 5_000, b"\xff\xfe\x00")
IDS: tuple[Any, ...] = (
    None, "a" * 200_000, {"a": 1}, [""], [[]], [5], ["x", None], float("nan"), ["\ud800"], ["a"] * 50_000,
    ["\0", "../../x", "/", "a\nb", "b" * 5_000],
)  # fmt: skip
TEXTS: tuple[Any, ...] = (5, ["x"], float("inf"), "\ud800", "a" * 200_000, "../../x\0")
URLS = ("http://\0/", "http://[", "file:///etc/passwd")


def hostile_bodies() -> Iterator[tuple[str, str, bytes]]:
    """Method, path below the knowledge, and a body that is no good there."""
    yield from (("DELETE", "documents", body) for body in SHAPES)
    yield from (("POST", "graph/edit", body) for body in SHAPES[:4])
    yield from (("DELETE", "documents", json.dumps({"ids": ids}).encode()) for ids in IDS)
    for path, name in (("pages", "url"), ("rollback", "version"), ("graph/directory", "platform"), ("graph/edit", "action")):
        yield from (("POST", path, json.dumps({name: text}).encode()) for text in TEXTS)
    yield from (("POST", "pages", json.dumps({"url": url}).encode()) for url in URLS)
    for action in ("rename", "merge", "delete"):
        yield "POST", "graph/edit", json.dumps({"action": action, "entity": "\0" * 9_000, "name": 5, "into": "x"}).encode()
    files = (DEEP, b"[]", b'{"entities": [{"name": "\\ud800"}]}', b'{"entities": NaN, "relations": [[]]}')
    yield from (("PUT", "graph/load", file) for file in files)


def test_no_body_breaks_a_door_of_the_knowledge(door: Door) -> None:
    for method, path, body in hostile_bodies():
        status = door.call(method, f"/api/knowledge/{path}", query="name=x.json", body=body)
        assert status in (200, 400, 404), body[:100]
        if path == "documents" and not body.startswith(b'{"ids": ["\\u0000"'):
            assert status == 400, body[:100]


QUERIES = (
    "cursor", "after", "limit", "days", "seconds", "id", "q", "entity", "language", "since", "until", "person", "turn",
    "audience",
)  # fmt: skip


def test_no_value_in_a_query_breaks_a_door(door: Door) -> None:
    for value in CURSORS:
        query = "&".join(f"{name}={value}" for name in QUERIES)
        for path in QUERIED:
            door.call("GET", f"/api/{path}", query=query)
        door.call("DELETE", "/api/people/u", query=query)


QUERIED = (
    "knowledge/search", "knowledge/care", "knowledge/document", "knowledge/graph/walk", "people/u", "audit", "conversations",
    "conversations/c/turns", "figures",
)  # fmt: skip


def test_no_name_of_a_conversation_breaks_a_door(door: Door) -> None:
    for id_ in (
        "W" * 30_001,
        base64.urlsafe_b64encode(DEEP).decode()[:60_000],
        "%00",
        "..%2f..%2f",
        "%ff",
        quote("\u202e中"),
        "-",
    ):
        for path in (f"/api/conversations/{id_}", f"/api/conversations/{id_}/turns", f"/api/archive/{id_}", f"/api/people/{id_}"):
            door.call("GET", path, query="why=looking")


@modest
@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@example(value="Bearer " + "a" * 100_000)
@example(value="Bearer \u00e9\x00\n")
@example(value="bearer")
def test_any_key_is_refused(door: Door, value: str) -> None:
    for header in ({"authorization": value}, {"authorization": "", "cookie": value, "x-forwarded-for": value}):
        assert door.call("GET", "/api/dead-letters", headers=header) in (401, 403)


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_any_webhook_is_refused_and_nothing_is_queued(aws: Emulator, name: str) -> None:
    desk = DESKS[name]()
    with desk:
        house = House(aws, secrets=desk.secrets)
        texts = st.text(max_size=60)
        bodies = st.one_of(
            st.binary(max_size=200),
            JSON.map(lambda v: json.dumps(v).encode()),
            texts.map(lambda t: f"payload={quote(t, errors='replace')}".encode()),
            texts.map(lambda t: f"<xml><Encrypt>{t}</Encrypt></xml>".encode("utf-8", "replace")),
            st.just(b"[" * 100_000),
            st.just(b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><xml>&b;</xml>'),
        )

        @settings(modest, max_examples=4 * EXAMPLES)
        @given(
            channel=st.sampled_from(PLATFORMS_CHANNELS[name]),
            method=st.sampled_from(["POST", "GET"]),
            headers=st.dictionaries(st.sampled_from(HEADERS), texts, max_size=5),
            query=st.dictionaries(st.sampled_from(["msg_signature", "timestamp", "nonce", "echostr", "sign"]), texts, max_size=4),
            body=bodies,
        )
        def post(channel: str, method: str, headers: dict[str, str], query: dict[str, str], body: bytes) -> None:
            began = time.process_time()
            reply = house.assistant.intake.handle(
                Webhook(platform=name, channel=channel, method=method, headers=headers, query=query, body=body)
            )
            statuses[reply.status] += 1
            assert 400 <= reply.status < 500, (reply.status, headers, query, body)
            assert time.process_time() - began < SECONDS

        post()
        assert house.batch() == []


def _channels() -> dict[str, list[str]]:
    from assistant.platforms import platform_class

    return {name: [*platform_class(name).channels, "nothing"] for name in PLATFORMS}


PLATFORMS_CHANNELS = _channels()


def halves() -> Iterator[tuple[str, str, Any]]:
    """Method and path of each operation that takes JSON, and a body in which every text is half a character."""
    schema = description()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                yield method.upper(), path, _halved(content["application/json"]["schema"], schema["components"]["schemas"])


def _halved(schema: Any, named: Any) -> Any:
    if "$ref" in schema:
        schema = named[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _halved(schema["anyOf"][0], named)
    match schema.get("type"):
        case "object":
            fields = schema.get("properties") or {"\ud800": {"type": "string"}}
            return {name: _halved(field, named) for name, field in fields.items()}
        case "array":
            return [_halved(schema.get("items", {"type": "string"}), named)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return schema["const"] if "const" in schema else schema.get("enum", ["\ud800"])[0]


@pytest.mark.parametrize(("method", "path", "body"), [pytest.param(*half, id=" ".join(half[:2])) for half in halves()])
def test_half_a_character_is_answered(door: Door, method: str, path: str, body: Any) -> None:
    door.call(method, path.replace("{", "").replace("}", ""), body=json.dumps(body).encode())


def test_half_a_character_comes_back_as_a_question_mark(door: Door) -> None:
    assert door.call("POST", "/api/dead-letters/replay", body=b'{"ids": ["\\ud800"]}') == 200
    for stream in (b"true", b"false"):
        asked = b'{"model": "\\ud800", "messages": [{"role": "user", "content": "\\ud800"}], "stream": ' + stream + b"}"
        assert door.call("POST", "/v1/chat/completions", body=asked) == 404
    for body in (b'{"name": "\\ud800", "role": "\\ud800"}', b'{"\\ud800": 1}', b'"\\ud800"'):
        assert door.call("POST", "/api/keys", body=body) == 400


def test_the_counts_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n  {sum(statuses.values())} hostile requests: {dict(sorted(statuses.items()))}")
    assert statuses
