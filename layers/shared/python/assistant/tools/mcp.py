"""Tools of an MCP server (streamable HTTP), through the official SDK, which is loaded only when a server is used.

The SDK is the optional extra `mcp` (`pip install workplace-assistant[mcp]`); without it a plug-in that names a server is told so.
Every request goes through `assistant.web`: public hosts only, pinned, bounded in size and time. The server's own stream of
news (its GET) is not opened: a function lives for one turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from assistant import web
from assistant.errors import InvalidSetting, ToolFailed, Unavailable
from assistant.tools import Tool, checked_tool

Headers = Callable[[Any], Mapping[str, str]]
"""Gives the headers that prove who asks; `ctx` is None while the tools are listed."""

MOST_TOOLS: Final = 64


def mcp_tools(
    url: str,
    *,
    only: Collection[str] = (),
    headers: Headers = lambda ctx: {},
    reads: Collection[str] = (),
    seconds: float = 20.0,
    allow: web.Allow = web.is_public,
) -> list[Tool]:
    """The server's tools, all or `only` those named. One that does not say that it only reads asks first, unless in `reads`.

    Raises InvalidSetting where the SDK is not installed or the server has no such tool, Unavailable where it does not answer.
    """
    server = _Server(url, headers=headers, seconds=seconds, allow=allow)
    listed = server.list()[:MOST_TOOLS]
    if missing := sorted(set(only) - {t.name for t in listed}):
        raise InvalidSetting(f"{url} has no tool {missing[0]!r}; known: {', '.join(t.name for t in listed)}")
    made = []
    for found in listed:
        if only and found.name not in only:
            continue
        hints = found.annotations
        reading = found.name in reads or bool(hints and hints.read_only_hint)
        made.append(
            checked_tool(
                Tool(
                    name=found.name,
                    description=(found.description or found.title or found.name)[:1000],
                    parameters=found.input_schema,
                    run=server.runner(found.name),
                    writes=not reading,
                    repeatable=bool(hints and hints.idempotent_hint),
                    seconds=seconds + 1,
                )
            )
        )
    return made


class _Server:
    def __init__(self, url: str, *, headers: Headers, seconds: float, allow: web.Allow) -> None:
        self._url = url
        self._headers = headers
        self._seconds = seconds
        self._allow = allow

    def list(self) -> list[Any]:
        async def ask(session: Any) -> list[Any]:
            found: list[Any] = list((await session.list_tools()).tools)
            return found

        try:
            result: list[Any] = self._with_session(ask, self._headers(None))
        except web.NotReached as error:
            raise Unavailable(f"the MCP server {self._url} cannot be used: {error}") from error
        return result

    def runner(self, name: str) -> Callable[[Any, Mapping[str, Any]], Any]:
        def run(ctx: Any, arguments: Mapping[str, Any]) -> Any:
            async def ask(session: Any) -> Any:
                return await session.call_tool(name, dict(arguments), meta={"idempotencyKey": ctx.key})

            try:
                return _result(self._with_session(ask, self._headers(ctx)))
            except web.NotReached as error:
                raise ToolFailed(str(error)) from error

        return run

    def _with_session(self, ask: Callable[[Any], Any], headers: Mapping[str, str]) -> Any:
        """What `ask` gives in a session of its own. Raises NotReached for whatever goes wrong on the way."""
        try:
            import httpx2
            from mcp import ClientSession, MCPError
            from mcp.client.streamable_http import streamable_http_client
        except ImportError as error:
            raise InvalidSetting("MCP servers need the extra 'mcp'; install workplace-assistant[mcp]") from error
        url, seconds, allow = self._url, self._seconds, self._allow

        class Guarded(httpx2.AsyncBaseTransport):
            """HTTP as `assistant.web` does it."""

            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                if request.method == "GET":
                    return httpx2.Response(405, request=request)
                content = await request.aread()
                reply = await asyncio.to_thread(
                    web.request,
                    request.method,
                    str(request.url),
                    headers={k: v for k, v in request.headers.items() if k not in ("host", "accept-encoding", "connection")},
                    body=content,
                    hosts=[urlsplit(url).hostname or ""],
                    seconds=seconds,
                    allow=allow,
                )
                kept = {k: v for k, v in reply.headers.items() if k not in ("content-length", "transfer-encoding")}
                return httpx2.Response(reply.status, headers=kept, content=reply.content, request=request)

        async def run() -> Any:
            async with (
                httpx2.AsyncClient(transport=Guarded(), headers=dict(headers), follow_redirects=False) as client,
                streamable_http_client(url, http_client=client) as streams,
                ClientSession(streams[0], streams[1], read_timeout_seconds=seconds) as session,
            ):
                await session.initialize()
                return await ask(session)

        try:
            return asyncio.run(run())
        except (ExceptionGroup, MCPError, httpx2.HTTPError, web.NotReached) as error:
            raise web.NotReached(_reason(error)) from error


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _result(result: Any) -> Any:
    """Structured content where there is some, else the texts. Raises ToolFailed for a result that says it is an error."""
    texts = [c.text for c in getattr(result, "content", ()) if getattr(c, "type", "") == "text"]
    if getattr(result, "is_error", False):
        raise ToolFailed("\n".join(texts)[:1000] or "the tool says that it failed")
    structured = getattr(result, "structured_content", None)
    return structured if structured is not None else "\n".join(texts)
