"""The OpenAI-compatible door: other systems talk to the assistant (not to the bare model) with the client they have.

Source of the shapes: platform.openai.com/docs/api-reference/chat. Behind API Gateway a function's answer is sent whole, so
`stream` gives the events of the stream in one piece.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from assistant.access import Identity
from assistant.answering import LONGEST_QUESTION, Answer, Question
from assistant.errors import ModelError, Unavailable
from assistant.llm import ChatMessage
from assistant.messages import Message
from assistant.observability import BUDGET_REACHED
from assistant.responses import Utf8JSONResponse, utf8
from assistant.words import language_of, say, with_sources

if TYPE_CHECKING:
    from assistant.assembly import Assistant

MODEL = "assistant"

SECONDS = 25.0
"""Longest answer: API Gateway gives a function 30 s."""


class Part(BaseModel):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class Said(BaseModel):
    """One message of the request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] = ""

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content)


class Completion(BaseModel):
    """The request's body; fields that have no meaning here are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str = MODEL
    messages: Annotated[list[Said], Field(min_length=1, max_length=200)]
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    user: Annotated[str, Field(max_length=200)] = ""
    n: Literal[1] = 1


def add_openai(app: FastAPI, assistant: Assistant, key_holder: Callable[..., Any]) -> None:
    """Adds `/v1/models` and `/v1/chat/completions` to `app`."""

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Utf8JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"] if p != "body")
        said = f"{where}: {first['msg']}" if where else str(first["msg"])
        if request.url.path.startswith("/v1/"):
            return failure(400, said, param=where or None)
        return Utf8JSONResponse({"error": said}, 400)

    @app.get("/v1/models", dependencies=[Depends(key_holder)])
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model()]}

    @app.get("/v1/models/{name}", dependencies=[Depends(key_holder)])
    def model(name: str) -> Response:
        if name != MODEL:
            return unknown_model(name)
        return Utf8JSONResponse(_model())

    @app.post("/v1/chat/completions")
    def chat(asked: Completion, who: Identity = Depends(key_holder)) -> Response:  # noqa: B008  # read once, when it is declared
        if asked.model not in ("", MODEL):
            return unknown_model(asked.model)
        last = asked.messages[-1]
        if last.role != "user" or not last.text.strip():
            return failure(400, "messages: the last one must be the user's and not empty", param="messages")
        if len(last.text) > LONGEST_QUESTION:
            said = f"messages: {len(last.text)} characters are more than the {LONGEST_QUESTION} that are read"
            return failure(400, said, code="context_length_exceeded", param="messages")
        caller = _caller(assistant, who)
        ring = assistant.rollouts.current()[0].ring_of(caller, seated=lambda ring: False)
        try:
            if ring and (whose := assistant.budgets.reached(caller, ring)):
                assistant.metrics.emit((BUDGET_REACHED, 1), ring=ring.name, whose=whose)
                return failure(429, say(f"budget_{whose}", "en"), kind="insufficient_quota", code="insufficient_quota")
            answer = _answer(assistant, asked)
        except Unavailable:
            return failure(503, "The model does not answer now; try again in a moment.", kind="server_error", retry_after=2)
        except ModelError as error:
            return failure(400, str(error))
        if ring:
            assistant.budgets.spend(caller, ring, model=answer.model, usage=answer.usage)
        return _stream(answer, asked) if asked.stream else Utf8JSONResponse(_whole(answer))


def _caller(assistant: Assistant, who: Identity) -> Message:
    """Whoever holds the key, as rings and budgets know people: `api:` and the key's id."""
    tenant = assistant.settings.tenant
    return Message(kind="text", platform="api", channel="v1", conversation=who.id, sender=who.id, dedup_id="", tenant=tenant)


def _answer(assistant: Assistant, asked: Completion) -> Answer:
    text = asked.messages[-1].text
    history = tuple(
        ChatMessage(role="assistant" if m.role == "assistant" else "user", text=m.text) for m in asked.messages[:-1] if m.text
    )
    question = Question(
        text=text,
        audience=frozenset({"everyone"}),  # whoever `user` names was not proven: only what everyone may see
        tenant=assistant.settings.tenant,
        language=language_of(text),
        timezone=assistant.settings.timezone,
        session=uuid.uuid4().hex,
        max_tokens=asked.max_completion_tokens or asked.max_tokens or 1024,
    )
    return assistant.answering.answer(question, history, push=lambda so_far: None, seconds=SECONDS)


def _model() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": 0, "owned_by": "assistant"}


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.usage
    return {
        "prompt_tokens": used.prompt,
        "completion_tokens": used.completion,
        "total_tokens": used.prompt + used.completion,
        "prompt_tokens_details": {"cached_tokens": used.cached},
    }


def _whole(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": with_sources(answer.reply), "refusal": None}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}],
        "usage": _usage(answer),
    }


def _reason(answer: Answer) -> str:
    return answer.reason if answer.reason in ("stop", "length", "content_filter") else "stop"


def _stream(answer: Answer, asked: Completion) -> Response:
    common = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
    }

    def chunks() -> Iterator[dict[str, Any]]:
        def choice(delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
            return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]

        yield {**common, "choices": choice({"role": "assistant", "content": ""})}
        yield {**common, "choices": choice({"content": with_sources(answer.reply)})}
        yield {**common, "choices": choice({}, _reason(answer))}
        if (asked.stream_options or {}).get("include_usage"):
            yield {**common, "choices": [], "usage": _usage(answer)}

    lines = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks())
    return Response(utf8(f"{lines}data: [DONE]\n\n"), media_type="text/event-stream", headers={"cache-control": "no-cache"})


def unknown_model(name: str) -> Utf8JSONResponse:
    """The answer to a request for a model that is not the assistant."""
    said = f"The model {name[:80]!r} does not exist; there is {MODEL!r}."
    return failure(404, said, code="model_not_found", param="model")


def failure(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    retry_after: int = 0,
) -> Utf8JSONResponse:
    """An error in the shape that OpenAI's clients read."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Utf8JSONResponse(body, status, {"retry-after": str(retry_after)} if retry_after else None)
