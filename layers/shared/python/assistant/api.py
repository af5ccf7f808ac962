"""The HTTP API: health, turns of the web chat, and the console's static files."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response
from mangum import Mangum
from pydantic import BaseModel, Field

from assistant import console
from assistant.errors import InvalidSetting, Refused, Unavailable
from assistant.initialise import components, initialise
from assistant.messages import Message
from assistant.openai_door import add_openai
from assistant.rollout import RolloutChanged
from assistant.sessions import Turn

if TYPE_CHECKING:
    from assistant.assembly import Assistant


class Chosen(BaseModel):
    """Dead letters by id, or all of them."""

    ids: list[str] = []
    all: bool = False


class RolloutChange(BaseModel):
    """One change of the roll-out."""

    action: Literal["promote", "halt", "rollback", "set"]
    ring: str = ""
    changes: dict[str, Any] = {}
    who: Annotated[str, Field(max_length=200)] = ""
    why: Annotated[str, Field(max_length=1000)] = ""


def create_app(assistant: Assistant) -> FastAPI:
    """The application over `assistant`'s parts."""
    app = FastAPI(title="Assistant", docs_url=None, redoc_url=None, openapi_url=None)

    def key_holder(authorization: Annotated[str, Header()] = "") -> None:
        expected = assistant.secrets.get("webchat").get("api_key", "")
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not expected or not hmac.compare_digest(given.strip().encode(), expected.encode()):
            raise HTTPException(401, "send the header 'Authorization: Bearer API_KEY'", {"www-authenticate": "Bearer"})

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, error: Unavailable) -> JSONResponse:
        return JSONResponse({"error": "try again in a moment"}, 503, {"retry-after": "1"})

    @app.exception_handler(InvalidSetting)
    def cannot_be(request: Request, error: InvalidSetting) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(RolloutChanged)
    def changed_meanwhile(request: Request, error: RolloutChanged) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 409)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.get("/health")
    def health() -> JSONResponse:
        states = components(assistant)
        good = all(state == "ok" for state in states.values())
        return JSONResponse({"status": "ok" if good else "degraded", "components": states}, 200 if good else 503)

    @app.get("/api/conversations/{conversation}/turns", dependencies=[Depends(key_holder)])
    def turns(
        conversation: str, after: Annotated[str, Query(max_length=400)] = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> dict[str, Any]:
        return public_turns(assistant, conversation, after=after, limit=limit)

    @app.post("/api/init", dependencies=[Depends(key_holder)])
    def init() -> dict[str, Any]:
        return {"steps": [step.to_dict() for step in initialise(assistant)]}

    @app.get("/api/doctor", dependencies=[Depends(key_holder)])
    def doctor() -> dict[str, Any]:
        from assistant import doctor

        return dict(doctor.to_json(doctor.report(assistant)))

    @app.get("/api/rollout", dependencies=[Depends(key_holder)])
    def rollout() -> dict[str, Any]:
        return asdict(assistant.rollouts.read())

    @app.get("/api/rollout/history", dependencies=[Depends(key_holder)])
    def rollout_history() -> dict[str, Any]:
        return {"changes": [asdict(change) for change in assistant.rollouts.history()]}

    @app.post("/api/rollout", dependencies=[Depends(key_holder)])
    def change_rollout(asked: RolloutChange) -> dict[str, Any]:
        rollouts, by = assistant.rollouts, {"who": asked.who, "why": asked.why}
        match asked.action:
            case "promote":
                return asdict(rollouts.promote(**by))
            case "halt":
                return asdict(rollouts.halt(**by))
            case "rollback":
                return asdict(rollouts.roll_back(**by))
            case "set":
                return asdict(rollouts.set(asked.changes, ring=asked.ring, **by))

    @app.api_route("/api/knowledge/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], dependencies=[Depends(key_holder)])
    async def knowledge(path: str, request: Request) -> JSONResponse:
        from assistant.knowledge.service import answer

        body = await request.body()
        asked = (assistant.knowledge_service, request.method, path, dict(request.query_params), body)
        status, said = await run_in_threadpool(answer, *asked)
        return JSONResponse(jsonable_encoder(said), status)

    @app.get("/api/dead-letters", dependencies=[Depends(key_holder)])
    def dead_letters() -> dict[str, Any]:
        return {"letters": assistant.dead_letters.list()}

    @app.post("/api/dead-letters/replay", dependencies=[Depends(key_holder)])
    def replay(chosen: Chosen) -> dict[str, Any]:
        return assistant.dead_letters.replay(frozenset(chosen.ids), every=chosen.all)

    add_openai(app, assistant, key_holder)

    @app.get("/", include_in_schema=False)
    def index(if_none_match: Annotated[str, Header()] = "") -> Response:
        return _static("", if_none_match)

    @app.get("/console/{path:path}", include_in_schema=False)
    def static(path: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        return _static(path, if_none_match)

    return app


def http_handler(app: FastAPI) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """A Lambda handler for `app`. Each call has an event loop of its own: Python 3.14 gives none, other threads never had one."""
    adapter = Mangum(app, lifespan="off")

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            answer: dict[str, Any] = adapter(event, context)
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        return answer

    return handle


def public_turns(assistant: Assistant, conversation: str, *, after: str, limit: int) -> dict[str, Any]:
    """Turns of a web chat conversation after the cursor, and the cursor to ask with next."""
    message = Message(
        kind="text",
        platform="webchat",
        channel="messages",
        conversation=conversation,
        sender="",
        dedup_id="",
        tenant=assistant.settings.tenant,
    )
    found = assistant.sessions.turns(message, after=after, limit=limit)
    cursor = after
    for turn in found:  # an open turn is given again with its new text: the cursor stays before it
        if turn.state == "answering":
            break
        cursor = turn.sk
    return {"turns": [_public(t) for t in found], "cursor": cursor}


def _public(turn: Turn) -> dict[str, Any]:
    reply = turn.reply
    return {
        "id": turn.message_id,
        "cursor": turn.sk,
        "at": turn.at,
        "user": turn.user,
        "question": turn.question,
        "state": "sent" if turn.state == "saved" else turn.state,
        "text": reply.text if reply else turn.text,
        "sources": [
            {"number": s.number, "title": s.title, "url": s.url, "page": s.page} for s in (reply.sources if reply else ())
        ],
        "buttons": [{"text": b.text, "key": b.key, "value": b.value, "style": b.style} for b in (reply.buttons if reply else ())],
    }


def _static(path: str, if_none_match: str) -> Response:
    try:
        reply = console.page(path, if_none_match=if_none_match)
    except Refused as error:
        raise HTTPException(error.status, str(error)) from error
    return Response(reply.body, reply.status, {**reply.headers, "content-type": reply.content_type})
