"""The HTTP API: health, turns of the web chat, and the console's static files."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import Response
from mangum import Mangum
from pydantic import BaseModel, Field

from assistant import console
from assistant.access import Identity, NotPermitted, TooMany
from assistant.administration import add_administration
from assistant.doors import (
    Chatter,
    Editor,
    Initialiser,
    Installer,
    LetterReader,
    Needs,
    PeopleAdmin,
    RolloutAdmin,
    RolloutReader,
)
from assistant.errors import InvalidSetting, Refused, Unavailable
from assistant.extensions import add_extensions
from assistant.files import LINKS, download_headers
from assistant.initialise import components, initialise, remedies
from assistant.messages import File, HttpReply, Message, Reply, Webhook
from assistant.openai_door import add_openai, failure
from assistant.responses import Utf8JSONResponse
from assistant.rollout.journal import RolloutChanged
from assistant.sessions import Turn
from assistant.words import language_of, say

if TYPE_CHECKING:
    from assistant.assembly import Assistant


class Chosen(BaseModel):
    """Dead letters by id, or all of them."""

    ids: list[str] = []
    all: bool = False


class Fix(BaseModel):
    """Whether what is safe is done, or only told."""

    apply: bool = False


class RolloutChange(BaseModel):
    """One change of the roll-out."""

    action: Literal["promote", "halt", "rollback", "set", "plan", "stop"]
    ring: str = ""
    changes: dict[str, Any] = {}
    """Of the ring or the state; with `plan`, of the plan."""
    who: Annotated[str, Field(max_length=200)] = ""
    why: Annotated[str, Field(max_length=1000)] = ""


class NewPrompt(BaseModel):
    """A version of the prompt."""

    name: str
    text: str
    who: Annotated[str, Field(max_length=200)] = ""


class NewList(BaseModel):
    """The people of a department or group."""

    name: str
    people: list[str]
    who: Annotated[str, Field(max_length=200)] = ""


def create_app(assistant: Assistant) -> FastAPI:
    """The application over `assistant`'s parts."""
    app = FastAPI(title="Assistant", docs_url=None, redoc_url=None, openapi_url=None, default_response_class=Utf8JSONResponse)
    app.state.assistant = assistant
    audit = assistant.audit

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, error: Unavailable) -> Utf8JSONResponse:
        return Utf8JSONResponse({"error": "try again in a moment"}, 503, {"retry-after": "1"})

    @app.exception_handler(InvalidSetting)
    def cannot_be(request: Request, error: InvalidSetting) -> Utf8JSONResponse:
        return Utf8JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(RolloutChanged)
    def changed_meanwhile(request: Request, error: RolloutChanged) -> Utf8JSONResponse:
        return Utf8JSONResponse({"error": str(error)}, 409)

    @app.exception_handler(Refused)
    def not_let_in(request: Request, error: Refused) -> Utf8JSONResponse:
        return refusal(request.url.path, error)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Utf8JSONResponse:
        return Utf8JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.get("/health")
    def health() -> Utf8JSONResponse:
        states = components(assistant)
        good = all(state == "ok" for state in states.values())
        return Utf8JSONResponse({"status": "ok" if good else "degraded", "components": states}, 200 if good else 503)

    @app.get("/api/conversations/{conversation}/turns")
    def turns(
        who: Chatter,
        conversation: str,
        after: Annotated[str, Query(max_length=400)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        if who.role != "user" and not who.person:
            audit.read(who.id, f"webchat:{conversation}")
        page = public_turns(assistant, conversation, after=after, limit=limit)
        _only_of(who, page)
        return page

    @app.post("/api/conversations/{conversation}/messages")
    async def say(who: Chatter, conversation: str, request: Request) -> Response:
        return await run_in_threadpool(_posted, assistant, who, conversation, await request.body())

    @app.put("/api/conversations/{conversation}/files")
    async def put_file(
        who: Chatter, conversation: str, request: Request, name: Annotated[str, Query(min_length=1, max_length=150)]
    ) -> dict[str, str]:
        body = await request.body()
        return {"file": await run_in_threadpool(_put_file, assistant, who, conversation, name, body)}

    @app.get("/api/conversations/{conversation}/files/{number}")
    def answered_file(
        who: Chatter,
        conversation: str,
        number: Annotated[int, PathParameter(ge=0, le=99)],
        turn: Annotated[str, Query(max_length=400)],
    ) -> Response:
        if who.role != "user" and not who.person:
            audit.read(who.id, f"webchat:{conversation}")
        return _download(_answered_file(assistant, who, conversation, turn, number))

    @app.get(LINKS + "{path:path}")
    def linked_file(path: str) -> Response:
        return _download(assistant.files.linked(path))

    @app.post("/api/init")
    def init(who: Initialiser) -> dict[str, Any]:
        with audit.act(who.id, "init"):
            return {"steps": [step.to_dict() for step in initialise(assistant)]}

    @app.get("/api/doctor")
    def doctor(who: Installer, language: Annotated[str, Query(max_length=20)] = "en") -> dict[str, Any]:
        from assistant import doctor

        return dict(doctor.to_json(doctor.report(assistant), language=language))

    @app.post("/api/doctor/fix")
    def fix(who: Initialiser, asked: Fix) -> dict[str, Any]:
        found = remedies(assistant)
        plan = [{"name": r.name, "what": r.what} for r in found]
        if not asked.apply:
            return {"would": plan, "done": []}
        with audit.act(who.id, "doctor fix", " ".join(r.name for r in found)):
            return {"would": plan, "done": [r.apply().to_dict() for r in found]}

    @app.get("/api/rollout")
    def rollout(who: RolloutReader) -> dict[str, Any]:
        return asdict(assistant.rollouts.read())

    @app.get("/api/rollout/history")
    def rollout_history(who: RolloutReader) -> dict[str, Any]:
        return {"changes": [asdict(change) for change in assistant.rollouts.history()]}

    @app.post("/api/rollout")
    def change_rollout(who: RolloutAdmin, asked: RolloutChange) -> dict[str, Any]:
        rollouts, by = assistant.rollouts, {"who": asked.who or who.name, "why": asked.why}
        target = " ".join(filter(None, [asked.ring, *sorted(asked.changes)]))
        with audit.act(who.id, f"rollout {asked.action}", target, why=asked.why):
            match asked.action:
                case "promote":
                    return asdict(rollouts.promote(**by))
                case "halt":
                    return asdict(rollouts.halt(**by))
                case "rollback":
                    return asdict(rollouts.roll_back(**by))
                case "set":
                    return asdict(rollouts.set(asked.changes, ring=asked.ring, **by))
                case "plan":
                    return asdict(rollouts.start(asked.changes, **by))
                case "stop":
                    return asdict(rollouts.stop(**by))

    @app.get("/api/rollout/plan")
    def plan(who: RolloutReader) -> dict[str, Any]:
        state = assistant.rollouts.read()
        plan = asdict(state.plan) if state.plan else None
        return {
            "plan": plan,
            "halted": state.halted,
            "seen": assistant.rollouts.journal.noted(),
            "seats": assistant.rollouts.taken_seats(state),
        }

    @app.get("/api/rollout/prompts")
    def prompts(who: RolloutReader) -> dict[str, Any]:
        return {"prompts": assistant.rollouts.prompts.all()}

    @app.post("/api/rollout/prompts")
    def add_prompt(who: RolloutAdmin, asked: NewPrompt) -> dict[str, Any]:
        with audit.act(who.id, "add prompt", asked.name):
            assistant.rollouts.prompts.add(asked.name, asked.text, who=asked.who or who.name)
        return {"name": asked.name}

    @app.get("/api/rollout/lists")
    def lists(who: RolloutReader) -> dict[str, Any]:
        return {"lists": assistant.rollouts.members.lists()}

    @app.post("/api/rollout/lists")
    def import_list(who: RolloutAdmin, asked: NewList) -> dict[str, Any]:
        with audit.act(who.id, "import list", asked.name):
            return {
                "name": asked.name,
                "people": assistant.rollouts.members.import_list(asked.name, asked.people, who=asked.who or who.name),
            }

    @app.api_route("/api/knowledge/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def knowledge(who: Editor, path: str, request: Request) -> Utf8JSONResponse:
        body = await request.body()
        status, said = await run_in_threadpool(_knowledge, assistant, who, request, path, body)
        return Utf8JSONResponse(jsonable_encoder(said), status)

    @app.get("/api/dead-letters")
    def dead_letters(who: LetterReader) -> dict[str, Any]:
        return {"letters": assistant.dead_letters.list()}

    @app.post("/api/dead-letters/replay")
    def replay(who: LetterReader, chosen: Chosen) -> dict[str, Any]:
        with audit.act(who.id, "replay dead letters", "all" if chosen.all else " ".join(chosen.ids)):
            return assistant.dead_letters.replay(frozenset(chosen.ids), every=chosen.all)

    @app.get("/api/people/{person}")
    def export(who: PeopleAdmin, person: str, tenant: str = "", cursor: str = "") -> dict[str, Any]:
        with audit.act(who.id, "export person", person):
            return asdict(assistant.privacy.export(person, tenant=tenant, cursor=cursor))

    @app.delete("/api/people/{person}")
    def erase(who: PeopleAdmin, person: str, tenant: str = "", cursor: str = "") -> dict[str, Any]:
        with audit.act(who.id, "erase person", person):
            return asdict(assistant.privacy.erase(person, tenant=tenant, cursor=cursor))

    add_administration(app, assistant)
    add_extensions(app, assistant)
    add_openai(app, assistant, Needs("user", "chat"))

    @app.get("/", include_in_schema=False)
    def index(if_none_match: Annotated[str, Header()] = "") -> Response:
        return _static("", if_none_match)

    @app.get("/console/{path:path}", include_in_schema=False)
    def static(path: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        return _static(path, if_none_match)

    return app


def refusal(path: str, error: Refused) -> Utf8JSONResponse:
    """The answer to a request that is not let in, in the shape that the reader of `path` expects."""
    headers: dict[str, str] = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    if isinstance(error, TooMany):
        headers["retry-after"] = str(error.retry_after)
    if not path.startswith("/v1/"):
        return Utf8JSONResponse({"error": str(error)}, error.status, headers)
    codes = {401: "invalid_api_key", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}
    kind = "rate_limit_error" if error.status == 429 else "invalid_request_error"
    answer = failure(error.status, str(error), kind=kind, code=codes.get(error.status))
    answer.headers.update(headers)
    return answer


def _only_of(who: Identity, page: dict[str, Any]) -> None:
    """Refuses the holder of a personal key what somebody else has written."""
    if who.person and any(turn["user"] != who.person for turn in page["turns"]):
        raise NotPermitted(f"key {who.id} belongs to {who.person}; this conversation is somebody else's")


def _posted(assistant: Assistant, who: Identity, conversation: str, body: bytes) -> Response:
    """The web chat's door for holders of a key of their own: the same message, the same checks, the same answer."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Refused("the body must be a JSON object with 'user' and 'text'")
    headers = {
        "authorization": f"Bearer {assistant.secrets.get('webchat').get('api_key', '')}",
        "content-type": "application/json",
    }
    own: dict[str, Any] = {}
    if who.person:  # the answer would draw on what stands in the conversation
        _only_of(who, public_turns(assistant, conversation, after="", limit=50))
        own = {"user": who.person}
    message = json.dumps(data | own | {"conversation": conversation}).encode()
    webhook = Webhook(platform="webchat", channel="messages", method="POST", headers=headers, body=message)
    reply = assistant.intake.handle(webhook)
    return Response(reply.body, reply.status, dict(reply.headers), reply.content_type)


LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of a file on the chat page: a function takes 6 MB, and binary ones travel a third larger."""


def _put_file(assistant: Assistant, who: Identity, conversation: str, name: str, body: bytes) -> str:
    """The key of a file that may now be named in a message of this conversation; it is kept for a day."""
    from assistant.platforms.webchat import upload_path

    if not body:
        raise Refused(f"{name} is empty")
    if len(body) > LARGEST_FILE:
        raise Refused(
            f"{name} has {len(body)} bytes; on this page a file has at most {LARGEST_FILE}, larger ones go in under Knowledge",
            status=413,
        )
    if who.person:
        _only_of(who, public_turns(assistant, conversation, after="", limit=50))
    plain = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable()).strip(" .") or "file"
    key = f"{uuid.uuid4().hex}/{plain}"
    assistant.bucket.put(upload_path(conversation, key), body)
    return key


def _knowledge(assistant: Assistant, who: Identity, request: Request, path: str, body: bytes) -> tuple[int, Any]:
    from assistant.knowledge.service import answer

    query = dict(request.query_params)
    asked = (assistant.knowledge_service, request.method, path, query, body)
    if request.method == "GET":
        return answer(*asked, author=who.name)
    target = query.get("name") or query.get("folder") or ""
    with assistant.audit.act(who.id, f"knowledge {request.method} {path}", target) as act:
        status, said = answer(*asked, author=who.name)
        if status >= 400:
            act.outcome = f"refused: {status}"
    return status, said


def http_handler(app: FastAPI) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """A Lambda handler for `app`. Each call has an event loop of its own: Python 3.14 gives none, other threads never had one."""

    async def named(scope: Any, receive: Any, send: Any) -> None:
        host = scope["aws.event"]["host"].encode()
        await app({**scope, "headers": [*scope["headers"], [b"host", host]]} if host else scope, receive, send)

    with _event_loop():  # Mangum asks for one when it is made, and would leave it open
        adapter = Mangum(named, lifespan="off")

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        host = headers.pop("host", "")  # Mangum knows no host but a name with at most one colon, and no port but a number
        headers.pop("x-forwarded-port", None)
        if headers.get("x-forwarded-proto") not in ("http", "https"):
            headers.pop("x-forwarded-proto", None)
        if host and not _HOST.fullmatch(host):
            return HttpReply(400, json.dumps({"error": f"{host[:80]!r} is no host's name"})).to_event()
        with _event_loop():
            answer: dict[str, Any] = adapter({**event, "headers": headers, "host": host}, context)
        return answer

    return handle


_HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
"""A name or an address, and its port."""


@contextmanager
def _event_loop() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def public_turns(assistant: Assistant, conversation: str, *, after: str, limit: int) -> dict[str, Any]:
    """Turns of a web chat conversation after the cursor, and the cursor to ask with next."""
    found = assistant.sessions.turns(_place(assistant, conversation), after=after, limit=limit)
    answers = {sk: turn for turn in found if turn.kind == "collected" for sk in turn.collects}
    cursor = after
    for turn in found:  # an open turn is given again with its new text: the cursor stays before it
        if turn.state == "answering" or (turn.state == "waiting" and turn.sk not in answers and turn.stop != "recalled"):
            break
        cursor = turn.sk
    shown = [_asked(t, answers, conversation) for t in found if t.kind != "collected" or not t.collects]
    return {"turns": shown, "cursor": cursor}


def _asked(turn: Turn, answers: Mapping[str, Turn], conversation: str) -> dict[str, Any]:
    """A question with its reply. The first one of several that were answered together shows it, the others point to it."""
    if turn.state != "waiting":
        return _public(turn, conversation)
    asked: dict[str, Any] = {
        "id": turn.message_id or turn.id,
        "at": turn.at,
        "user": turn.user,
        "question": turn.edited or turn.question,
        "attached": list(turn.files),
    }
    answer = answers.get(turn.sk)
    if answer and turn.sk == answer.collects[0]:
        return _public(answer, conversation) | asked
    if answer or turn.stop == "recalled":
        words = say("answered_together", language_of(turn.question)) if answer else ""
        return _public(replace(turn, state="sent", reply=Reply(text=words)), conversation) | asked
    return _public(replace(turn, state="answering"), conversation) | asked  # by a later turn


def _place(assistant: Assistant, conversation: str) -> Message:
    """A message in the conversation, as far as it says where its turns are."""
    return Message(
        kind="text",
        platform="webchat",
        channel="messages",
        conversation=conversation,
        sender="",
        dedup_id="",
        tenant=assistant.settings.tenant,
    )


def _answered_file(assistant: Assistant, who: Identity, conversation: str, cursor: str, number: int) -> File:
    """A file that an answer in the conversation carries, for whoever may read the answer."""
    turn = assistant.sessions.find(_place(assistant, conversation), cursor)
    attachments = turn.reply.attachments if turn and turn.reply else ()
    if turn and who.person and turn.user != who.person:
        raise NotPermitted(f"key {who.id} belongs to {who.person}; this conversation is somebody else's")
    if number >= len(attachments):
        raise Refused("there is no such file", status=404)
    try:
        return assistant.files.read(attachments[number])
    except KeyError:
        raise Refused("the file has been deleted", status=404) from None


def _download(file: File) -> Response:
    return Response(file.content, 200, download_headers(file), file.content_type)


def _public(turn: Turn, conversation: str) -> dict[str, Any]:
    reply = turn.reply
    files = f"/api/conversations/{quote(conversation, safe='')}/files"
    return {
        "id": turn.message_id or turn.id,
        "cursor": turn.sk,
        "at": turn.at,
        "user": turn.user,
        "question": "" if turn.kind == "collected" else turn.question,
        "attached": list(turn.files),
        "state": "sent" if turn.state == "saved" else turn.state,
        "text": reply.text if reply else turn.text,
        "sources": [
            {"number": s.number, "title": s.title, "url": s.url, "page": s.page} for s in (reply.sources if reply else ())
        ],
        "buttons": [{"text": b.text, "key": b.key, "value": b.value, "style": b.style} for b in (reply.buttons if reply else ())],
        "files": [
            {"name": a.name, "content_type": a.content_type, "size": a.size, "url": f"{files}/{n}?turn={quote(turn.sk, safe='')}"}
            for n, a in enumerate(reply.attachments if reply else ())
        ],
    }


def _static(path: str, if_none_match: str) -> Response:
    try:
        reply = console.page(path, if_none_match=if_none_match)
    except Refused as error:
        raise HTTPException(error.status, str(error)) from error
    return Response(reply.body, reply.status, {**reply.headers, "content-type": reply.content_type})
