"""Authorisation over HTTP: `/oauth/{provider}/start` and `/oauth/{provider}/callback`.

`/oauth/slack-install/…` is an administrator's way to install the app in a further workspace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from assistant.errors import Unavailable
from assistant.oauth.authorisation import STATE_SECONDS, Page
from assistant.oauth.pages import headers, render

if TYPE_CHECKING:
    from assistant.assembly import Assistant


def create_app(assistant: Assistant) -> FastAPI:
    """The application over `assistant`'s parts."""
    app = FastAPI(title="Assistant authorisation", docs_url=None, redoc_url=None, openapi_url=None)
    secure = assistant.settings.public_url.startswith("https://")
    cookie = "__Host-assistant-oauth" if secure else "assistant-oauth"

    def shown(page: Page) -> Response:
        there = page.redirect
        response: Response = RedirectResponse(there, page.status) if there else HTMLResponse(render(page), page.status)
        response.headers.update(headers())
        if page.cookie:
            response.set_cookie(
                cookie, page.cookie, max_age=STATE_SECONDS * 2, path="/", secure=secure, httponly=True, samesite="lax"
            )
        return response

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, error: Unavailable) -> Response:
        return shown(Page(words="page_unavailable", status=503, language=_language(request)))

    @app.get("/oauth/slack-install/start")
    def start_installation(request: Request, ticket: str = "") -> Response:
        language, browser = _language(request), request.cookies.get(cookie, "")
        return shown(assistant.installations.begin(ticket, browser=browser, language=language))

    @app.get("/oauth/slack-install/callback")
    def finish_installation(request: Request) -> Response:
        language, browser = _language(request), request.cookies.get(cookie, "")
        return shown(assistant.installations.finish(dict(request.query_params), browser=browser, language=language))

    @app.get("/oauth/{provider}/start")
    def start(provider: str, request: Request, ticket: str = "", sure: str = "") -> Response:
        inside = "wxwork" in request.headers.get("user-agent", "").lower()
        page = assistant.authorisations.begin(
            provider,
            ticket,
            browser=request.cookies.get(cookie, ""),
            sure=sure,
            inside=inside,
            language=_language(request),
        )
        return shown(page)

    @app.get("/oauth/{provider}/callback")
    def callback(provider: str, request: Request) -> Response:
        page = assistant.authorisations.finish(
            provider,
            dict(request.query_params),
            browser=request.cookies.get(cookie, ""),
            language=_language(request),
        )
        return shown(page)

    return app


def _language(request: Request) -> str:
    return request.headers.get("accept-language", "en")
