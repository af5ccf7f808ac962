"""Tools of a real MCP server, made with the official SDK and reached over HTTP; the SDK is loaded when one is used."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from assistant import BotPlugin, Permissions, Tool, ToolFailed
from assistant.errors import InvalidSetting, Unavailable
from assistant.plugins import Plugins
from assistant.testing import Talk, make
from assistant.tools.mcp import mcp_tools

LOCAL = lambda address: address == "127.0.0.1"  # noqa: E731  # the server lives here


def shelf() -> MCPServer:
    """A server with a tool that reads, one that writes, and one that fails."""
    server = MCPServer("shelf")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def count(part: str) -> dict[str, int]:
        """How many there are."""
        if part == "unicorn":
            raise ToolError("no such part")
        return {part: 7}

    @server.tool()
    def order(part: str, pieces: int = 1) -> str:
        """Order a part."""
        return f"ordered {pieces} {part}"

    return server


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    app = shelf().streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    server.should_exit = True
    thread.join(10)
    listening.close()


def using(address: str, *hosts: str) -> BotPlugin:
    class Shelf(BotPlugin):
        name = "shelf"
        permissions = Permissions(hosts=hosts)

        def get_tools(self) -> list[Tool]:
            return mcp_tools(address, allow=LOCAL)

    return make(Shelf)


def test_its_tools_are_offered_with_what_they_are_called_by(address: str) -> None:
    tools = {t.name: t for t in mcp_tools(address, allow=LOCAL)}
    assert {n: t.writes for n, t in tools.items()} == {"count": False, "order": True}
    assert tools["count"].description == "How many there are."
    assert tools["order"].parameters["required"] == ["part"]
    assert [t.name for t in mcp_tools(address, only=["order"], allow=LOCAL)] == ["order"]
    with pytest.raises(InvalidSetting, match="has no tool 'steal'; known: count, order"):
        mcp_tools(address, only=["steal"], allow=LOCAL)


def test_they_are_called_and_their_failures_told(address: str) -> None:
    talk = Talk([using(address, "127.0.0.1")])
    assert json.loads(talk.use("count", part="bolt")) == {"bolt": 7}
    assert talk.use("order", part="bolt", pieces=3) in ("ordered 3 bolt", '{"result": "ordered 3 bolt"}')
    with pytest.raises(ToolFailed, match="no such part"):
        talk.use("count", part="unicorn")
    with pytest.raises(ToolFailed, match="pieces"):
        talk.use("order", part="bolt", pieces="many")


def test_a_server_that_the_permissions_do_not_name_is_not_asked(address: str) -> None:
    plugins = Plugins([using(address)])
    assert plugins.tools("webchat") == {}
    [told] = plugins.report()
    assert "host '127.0.0.1' is not among this plug-in's permissions" in told.notes[0]


def test_a_server_inside_is_not_reached_where_only_public_ones_are(address: str) -> None:
    with pytest.raises(Unavailable, match="private or local"):
        mcp_tools(address)


def test_the_sdk_is_loaded_only_when_a_server_is_used() -> None:
    code = (
        "import sys, assistant.tools.mcp, assistant.plugins.running; print([m for m in sys.modules if m.split('.')[0] == 'mcp'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
