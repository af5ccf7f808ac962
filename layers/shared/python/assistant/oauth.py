"""Authorisation by the asker: `/oauth/{provider}/start` and `/oauth/{provider}/callback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from assistant.assembly import Assistant


def create_app(assistant: Assistant) -> FastAPI:
    """The application over `assistant`'s parts. No provider can be configured in this release, so each is answered with 404."""
    app = FastAPI(title="Assistant authorisation", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/oauth/{provider}/start")
    @app.get("/oauth/{provider}/callback")
    def unknown(provider: str) -> JSONResponse:
        return JSONResponse({"error": f"no authorisation provider {provider[:80]!r} is configured"}, 404)

    return app
