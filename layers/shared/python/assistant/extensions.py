"""The HTTP API behind the screen of plug-ins: what is installed and how it fares, its settings as a form, and restoring it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from assistant.doors import PluginAdmin, PluginOperator
from assistant.errors import InvalidSetting
from assistant.settings import PLUGIN_API

if TYPE_CHECKING:
    from assistant.assembly import Assistant

Why = Annotated[str, Field(max_length=500)]
Language = Annotated[str, Query(max_length=20)]
"""Of titles, descriptions and forms, as a BCP 47 tag."""


class NewConfig(BaseModel):
    """How a plug-in is to be set, whole."""

    config: dict[str, Any]
    why: Why = ""


class Because(BaseModel):
    """Why something is done, for the audit log."""

    why: Why = ""


def add_extensions(app: FastAPI, assistant: Assistant) -> None:
    """Adds the routes to `app`."""
    audit = assistant.audit

    def told(name: str = "", *, tools: bool = False, language: str = "en") -> dict[str, Any]:
        assistant.plugin_records.read()
        described = assistant.plugins.described(tools_of=name if tools else "", language=language)
        found = [p for p in described if name in ("", p["name"])]
        if name and not found:
            known = ", ".join(sorted({p["name"] for p in assistant.plugins.described()})) or "none"
            raise InvalidSetting(f"no plug-in {name[:60]!r}; known: {known}")
        return {"api": PLUGIN_API, "plugins": found}

    @app.get("/api/plugins")
    def plugins(who: PluginOperator, language: Language = "en") -> dict[str, Any]:
        return told(language=language)

    @app.get("/api/plugins/{name}")
    def plugin(who: PluginOperator, name: str, language: Language = "en") -> dict[str, Any]:
        return told(name, tools=True, language=language)

    @app.put("/api/plugins/{name}/config")
    def configure(who: PluginAdmin, name: str, asked: NewConfig) -> dict[str, Any]:
        with audit.act(who.id, "configure plug-in", name, why=asked.why):
            assistant.plugin_records.read()
            assistant.plugins.configure(name, asked.config)
        return told(name)

    @app.delete("/api/plugins/{name}/config")
    def reset(who: PluginAdmin, name: str, why: Why = "") -> dict[str, Any]:
        with audit.act(who.id, "reset plug-in", name, why=why):
            assistant.plugin_records.read()
            assistant.plugins.configure(name, None)
        return told(name)

    @app.post("/api/plugins/{name}/restore")
    def restore(who: PluginOperator, name: str, asked: Because) -> dict[str, Any]:
        with audit.act(who.id, "restore plug-in", name, why=asked.why):
            assistant.plugin_records.read()
            assistant.plugins.restore(name)
        return told(name)
