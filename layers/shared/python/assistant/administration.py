"""The HTTP API behind the page's screens: sign-in, set-up, figures, stored conversations, keys, consents, the audit log."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from assistant.access import AREAS, PER_MINUTE, ROLES, Identity, NotPermitted
from assistant.doors import (
    Archivist,
    Auditor,
    ConsentAdmin,
    ConsentReader,
    Installer,
    KeyAdmin,
    LetterOpener,
    RolloutReader,
    Somebody,
    Watcher,
    begun_cookie,
    is_secure,
    session_cookie,
)
from assistant.errors import InvalidSetting
from assistant.messages import Message
from assistant.platforms import PLATFORMS, platform_class
from assistant.plugins import Around
from assistant.responses import Utf8JSONResponse
from assistant.signin import BEGUN_SECONDS, SESSION_SECONDS, NotSignedIn
from assistant.words import nearest

if TYPE_CHECKING:
    from assistant.assembly import Assistant

SHORTEST_REASON = 4
"""Characters of the reason that whoever reads other people's words has to give."""

Reason = Annotated[str, Query(min_length=SHORTEST_REASON, max_length=500)]
Cursor = Annotated[str, Query(max_length=4000)]
Word = Annotated[str, Query(max_length=300)]


class NewKey(BaseModel):
    """A key to be made."""

    name: Annotated[str, Field(max_length=100)]
    role: str
    days: float = 0
    per_minute: int = PER_MINUTE
    person: str = ""
    scopes: Annotated[list[str], Field(max_length=40)] = []


class Rotation(BaseModel):
    """How long the old key works beside the new one, in seconds."""

    overlap: float = 86400


def add_administration(app: FastAPI, assistant: Assistant) -> None:
    """Adds the routes to `app`."""
    _add_sign_in(app, assistant)
    _add_machine(app, assistant)
    _add_conversations(app, assistant)
    _add_keys(app, assistant)
    _add_consents(app, assistant)


def _add_sign_in(app: FastAPI, assistant: Assistant) -> None:
    @app.get("/api/sign-in")
    def ways() -> dict[str, Any]:
        return {"providers": [{"name": p.name, "title": p.title} for p in assistant.sign_in.offered()]}

    @app.get("/api/sign-in/{provider}")
    def begin(provider: str) -> Response:
        try:
            begun = assistant.sign_in.begin(provider)
        except NotSignedIn as error:
            return _back(error.problem)
        response = RedirectResponse(begun.address, 302)
        _set(response, begun_cookie(assistant), begun.browser, BEGUN_SECONDS, samesite="lax")
        return response

    @app.get("/api/sign-in/{provider}/callback")
    def callback(provider: str, request: Request) -> Response:
        browser = request.cookies.get(begun_cookie(assistant), "")
        try:
            token, who = assistant.sign_in.finish(provider, dict(request.query_params), browser=browser)
        except NotSignedIn as error:
            response = _back(error.problem)
        else:
            with assistant.audit.act(who.id, "sign in", f"{provider} {who.role}"):
                response = _back()
            _set(response, session_cookie(assistant), token, SESSION_SECONDS, samesite="strict")
        _set(response, begun_cookie(assistant), "", 0, samesite="lax")
        return response

    @app.get("/api/session")
    def session(who: Somebody, request: Request) -> dict[str, Any]:
        by = "key" if request.headers.get("authorization") else "account"
        return {"id": who.id, "name": who.name, "role": who.role, "person": who.person, "scopes": who.scopes, "by": by}

    @app.delete("/api/session")
    def end(who: Somebody, request: Request) -> Response:
        response = Utf8JSONResponse({"ended": True})
        if token := request.cookies.get(session_cookie(assistant)):
            assistant.sign_in.end(token)
            _set(response, session_cookie(assistant), "", 0, samesite="strict")
        return response

    def _set(response: Response, name: str, value: str, seconds: int, *, samesite: Any) -> None:  # Starlette's own literal
        response.set_cookie(name, value, max_age=seconds, path="/", secure=is_secure(assistant), httponly=True, samesite=samesite)

    def _back(problem: str = "") -> Response:
        headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
        return RedirectResponse(f"/#problem={quote(problem)}" if problem else "/", 303, headers)


def _add_machine(app: FastAPI, assistant: Assistant) -> None:
    audit = assistant.audit

    @app.get("/api/setup")
    def setup(who: Installer) -> dict[str, Any]:
        return setup_of(assistant)

    @app.get("/api/menu")
    def menu(who: Somebody, language: Annotated[str, Query(max_length=20)] = "en") -> dict[str, Any]:
        now = datetime.fromtimestamp(assistant.clock(), ZoneInfo(assistant.settings.timezone))
        person = who.person or "menu"
        message = Message(kind="menu", platform="webchat", channel="", conversation=person, sender=person, dedup_id="")
        items = assistant.plugins.menu(message, Around(language=nearest(language), now=now, key="menu"))
        return {"items": [{"title": item.title, "text": item.text} for item in items]}

    @app.get("/api/figures")
    def figures(who: Watcher, hours: int = 24) -> dict[str, Any]:
        return assistant.charts.read(hours=hours)

    @app.get("/api/rollout/where")
    def where(who: RolloutReader, person: Word, chat: Word = "") -> dict[str, Any]:
        platform, _, user = person.partition(":")
        if not platform or not user:
            raise InvalidSetting(f"person {person[:80]!r} must be PLATFORM:USER, as slack:U123")
        message = Message(
            kind="text",
            platform=platform,
            channel="",
            conversation=chat.removeprefix(f"{platform}:") or user,
            sender=user,
            dedup_id="",
            tenant=assistant.settings.tenant,
        )
        ring = assistant.rollouts.find(message)
        return {"person": person, "ring": ring.name if ring else ""}

    @app.get("/api/dead-letters/{id}")
    def letter(who: LetterOpener, id: str, why: Reason) -> dict[str, Any]:
        with audit.act(who.id, "read dead letter", id, why=why):
            return assistant.dead_letters.open(id)

    @app.get("/api/audit")
    def acts(
        who: Auditor,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[str, Query(max_length=60)] = "",
        by: Word = "",
        what: Word = "",
        outcome: Word = "",
    ) -> dict[str, Any]:
        page = audit.page(limit=limit, before=before, who=by, what=what, outcome=outcome)
        return {"acts": [asdict(act) for act in page.acts], "cursor": page.cursor}

    @app.get("/api/audit/verify")
    def verify(who: Auditor) -> dict[str, Any]:
        return {"wrong": list(audit.verify())}


def setup_of(assistant: Assistant) -> dict[str, Any]:
    """What the installation is made of, and the addresses that have to be entered elsewhere; no secret."""
    settings = assistant.settings
    public = settings.public_url.rstrip("/")
    platforms = [
        {
            "name": name,
            "connected": bool(assistant.secrets.get(name)),
            "callbacks": [f"{public}/webhook/{name}/{channel}" for channel in platform_class(name).channels],
        }
        for name in PLATFORMS
    ]
    providers = [
        {"name": p.name, "title": p.title, "redirect": f"{public}/oauth/{p.name}/callback"}
        for p in assistant.authorisations.providers.configured()
    ]
    sign_in = [
        {"name": p.name, "title": p.title, "redirect": assistant.sign_in.redirect(p.name)} for p in assistant.sign_in.offered()
    ]
    shown = ("stage", "tenant", "model", "embedder", "timezone", "language", "memory_scope", "retention_days")
    return {
        "public_url": public,
        "platforms": platforms,
        "providers": providers,
        "sign_in": sign_in,
        "settings": {name: getattr(settings, name) for name in shown},
    }


def _add_conversations(app: FastAPI, assistant: Assistant) -> None:
    audit = assistant.audit

    @app.get("/api/archive")
    def find(
        who: Archivist, person: Word = "", platform: Word = "", words: Word = "", cursor: Cursor = "", why: Word = ""
    ) -> dict[str, Any]:
        if not words.strip():
            return asdict(assistant.archive.find(person=person.strip(), platform=platform, cursor=cursor))
        if len(why.strip()) < SHORTEST_REASON:
            raise InvalidSetting("a search in what people wrote needs a reason: why; it goes into the audit log")
        with audit.act(who.id, "search conversations", person or platform or "all", why=why):
            return asdict(assistant.archive.find(person=person.strip(), platform=platform, words=words, cursor=cursor))

    @app.get("/api/archive/{id}")
    def read(who: Archivist, id: str, why: Reason, cursor: Cursor = "", export: bool = False) -> dict[str, Any]:
        with audit.act(who.id, f"{'export' if export else 'read'} conversation", assistant.archive.name(id), why=why):
            return assistant.archive.read(id, after=cursor)

    @app.delete("/api/archive/{id}")
    def erase(who: Archivist, id: str, why: Reason, cursor: Cursor = "") -> dict[str, Any]:
        with audit.act(who.id, "erase conversation", assistant.archive.name(id), why=why):
            return assistant.archive.erase(id, cursor=cursor)


def _add_keys(app: FastAPI, assistant: Assistant) -> None:
    audit = assistant.audit

    @app.get("/api/keys")
    def keys(who: KeyAdmin) -> dict[str, Any]:
        return {"keys": [asdict(k) for k in assistant.access.list()], "roles": ROLES, "areas": AREAS}

    @app.post("/api/keys")
    def add(who: KeyAdmin, asked: NewKey) -> dict[str, Any]:
        _no_wider(who, asked.scopes)
        with audit.act(who.id, "add key", f"{asked.role} {asked.name}"):
            made, secret = assistant.access.add(**asked.model_dump())
        return asdict(made) | {"secret": secret}

    @app.post("/api/keys/{id}/rotate")
    def rotate(who: KeyAdmin, id: str, asked: Rotation) -> dict[str, Any]:
        _no_wider(who, next((k.scopes for k in assistant.access.list() if k.id == id), ()))
        with audit.act(who.id, "rotate key", id):
            made, secret = assistant.access.rotate(id, overlap=asked.overlap)
        return asdict(made) | {"secret": secret}

    @app.delete("/api/keys/{id}")
    def revoke(who: KeyAdmin, id: str, after: float = 0) -> dict[str, Any]:
        with audit.act(who.id, "revoke key", id):
            return asdict(assistant.access.revoke(id, after=after))


def _no_wider(who: Identity, scopes: list[str] | tuple[str, ...]) -> None:
    """A key that is limited must not make one that is not."""
    if who.scopes and (not scopes or not set(scopes) <= {*who.scopes, *(f"{s}:read" for s in who.scopes)}):
        raise NotPermitted(f"key {who.id} is limited to {', '.join(who.scopes)} and can make only keys within that")


def _add_consents(app: FastAPI, assistant: Assistant) -> None:
    from assistant.installing import LINK_SECONDS
    from assistant.oauth.authorisation import grant_to_json, grants_to_json, revoke_for

    audit, tenant_here = assistant.audit, assistant.settings.tenant

    @app.get("/api/authorisations/mine")
    def mine(who: Somebody) -> dict[str, Any]:
        return {"grants": grants_to_json(assistant.authorisations, f"webchat:{who.person}", tenant_here) if who.person else []}

    @app.delete("/api/authorisations/mine/{provider}")
    def revoke_mine(who: Somebody, provider: str) -> dict[str, Any]:
        if not who.person:
            raise InvalidSetting("this key belongs to nobody in particular; name the person: /api/authorisations/PERSON")
        with audit.act(who.id, "revoke authorisation", f"webchat:{who.person} {provider}"):
            return {"revoked": revoke_for(assistant.authorisations, f"webchat:{who.person}", tenant_here, provider)}

    @app.get("/api/authorisations")
    def all_or_of(
        who: ConsentReader, person: Word = "", tenant: Word = "", everybody: bool = False, cursor: Cursor = ""
    ) -> dict[str, Any]:
        tenant = tenant or tenant_here
        if everybody:
            who.check("admin", "authorisations")
            audit.read(who.id, "authorisations of everybody")
            found, after = assistant.authorisations.vault.everybody(tenant, after=cursor)
            grants = [{"person": f"{p.platform}:{p.user}", **grant_to_json(g)} for p, g in found]
            return {"grants": grants, "cursor": after}
        if not person:
            return {"providers": [{"name": p.name, "title": p.title} for p in assistant.authorisations.providers.configured()]}
        audit.read(who.id, f"authorisations of {person}")
        return {"grants": grants_to_json(assistant.authorisations, person, tenant)}

    @app.get("/api/workspaces")
    def workspaces(who: ConsentReader) -> dict[str, Any]:
        found = assistant.workspaces.list()
        shown = ("team", "name", "enterprise", "bot_user", "since", "by")
        return {"workspaces": [{name: getattr(w, name) for name in shown} for w in found]}

    @app.post("/api/workspaces")
    def install(who: ConsentAdmin) -> dict[str, Any]:
        with audit.act(who.id, "link to install slack", "slack"):
            return {"link": assistant.installations.link(by=who.id), "seconds": LINK_SECONDS}

    @app.delete("/api/workspaces/{team}")
    def uninstall(who: ConsentAdmin, team: str) -> dict[str, Any]:
        with audit.act(who.id, "uninstall slack", team):
            return {"team": team, "told": assistant.installations.remove(team)}

    @app.delete("/api/authorisations/{person}")
    def revoke(who: ConsentAdmin, person: str, provider: Word = "", tenant: Word = "") -> dict[str, Any]:
        with audit.act(who.id, "revoke authorisation", f"{person} {provider or 'all'}"):
            return {"revoked": revoke_for(assistant.authorisations, person, tenant or tenant_here, provider)}
