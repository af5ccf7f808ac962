"""A company's own services: a leave register described in OpenAPI, and an MCP server (streamable HTTP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulators.base import Answer, BadCall, Call, Simulator, route


class Register(Simulator):
    """Leave by REST. A token is wanted, bodies are checked, and an idempotency key acts once."""

    token = "register-token"

    def __init__(self) -> None:
        super().__init__()
        self.absences: list[dict[str, Any]] = []
        self.keys: dict[str, dict[str, Any]] = {}
        self.large = 0

    def before(self, call: Call) -> Answer | None:
        if call.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401, {"error": "who are you?"})
        return None

    @route("GET", r"/api/people/(?P<person>[^/]+)/leave")
    def list(self, call: Call) -> Answer:
        if self.large:
            return Answer(200, "x" * self.large, {"content-type": "application/json"})
        found = [e for e in self.absences if e["person"] == call.params["person"]]
        return Answer(200, {"leave": found, "year": call.query.get("year", "")})

    @route("POST", "/api/leave")
    def create(self, call: Call) -> Answer:
        key = call.headers.get("idempotency-key", "")
        if not key:
            raise BadCall(Answer(400, {"error": "no idempotency-key"}))
        if key in self.keys:
            return Answer(200, self.keys[key])
        asked = call.json()
        if set(asked) != {"person", "from", "days"} or not isinstance(asked["days"], int):
            raise BadCall(Answer(422, {"error": "person, from and days are wanted"}))
        entry = {"id": len(self.absences) + 1, **asked}
        self.absences.append(entry)
        self.keys[key] = entry
        return Answer(201, entry)

    @route("GET", "/api/elsewhere")
    def elsewhere(self, call: Call) -> Answer:
        return Answer(302, None, {"location": "http://169.254.169.254/latest/meta-data/"})

    def description(self) -> dict[str, Any]:
        return {
            "openapi": "3.1.0",
            "info": {"title": "Leave", "version": "1"},
            "servers": [{"url": f"{self.base}/api"}],
            "paths": {
                "/people/{person}/leave": {
                    "parameters": [{"$ref": "#/components/parameters/Person"}],
                    "get": {
                        "operationId": "listLeave",
                        "summary": "Leave that somebody has taken",
                        "parameters": [{"name": "year", "in": "query", "schema": {"type": "integer"}}],
                    },
                },
                "/leave": {
                    "post": {
                        "operationId": "createLeave",
                        "summary": "Enter leave",
                        "requestBody": {
                            "required": True,
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Leave"}}},
                        },
                    }
                },
                "/elsewhere": {"get": {"operationId": "elsewhere", "summary": "Redirects"}},
                "/tree": {
                    "post": {
                        "operationId": "plantTree",
                        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}},
                    }
                },
                "/upload": {"post": {"operationId": "upload", "requestBody": {"content": {"image/png": {}}}}},
            },
            "components": {
                "parameters": {"Person": {"name": "person", "in": "path", "required": True, "schema": {"type": "string"}}},
                "schemas": {
                    "Leave": {
                        "type": "object",
                        "properties": {
                            "person": {"type": "string"},
                            "from": {"type": "string", "format": "date"},
                            "days": {"type": "integer", "minimum": 1},
                        },
                        "required": ["person", "from", "days"],
                    },
                    "Tree": {
                        "type": "object",
                        "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
                    },
                },
            },
        }


class Mcp(Simulator):
    """An MCP server with sessions: every request but the first must carry the session's id, and a token."""

    token = "mcp-token"
    session = "session-1"

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Mapping[str, Any]] = []

    @route("POST", "/mcp")
    def rpc(self, call: Call) -> Answer:
        if call.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401, {"error": "unauthorised"})
        if "application/json" not in call.headers.get("accept", "") or "text/event-stream" not in call.headers.get("accept", ""):
            return Answer(406, {"error": "accept both types"})
        asked = call.json()
        method = asked.get("method", "")
        if method != "initialize" and call.headers.get("mcp-session-id") != self.session:
            return Answer(400, {"error": "no session"})
        if "id" not in asked:
            return Answer(202)
        match method:
            case "initialize":
                result: dict[str, Any] = {
                    "protocolVersion": asked["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "stock", "version": "1"},
                }
                return self._answer_of(asked, result, {"mcp-session-id": self.session})
            case "tools/list":
                return self._answer_of(asked, {"tools": self._tools()}, {})
            case "tools/call":
                return self._answer_of(asked, self._call(asked["params"]), {})
        error = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": f"no method {method}"}}
        return Answer(200, error)

    @route("DELETE", "/mcp")
    def end(self, call: Call) -> Answer:
        return Answer(204)

    def _answer_of(self, asked: Mapping[str, Any], result: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        return Answer(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result}, headers)

    def _tools(self) -> list[dict[str, Any]]:
        part = {"type": "object", "properties": {"part": {"type": "string"}}, "required": ["part"]}
        return [
            {"name": "stock", "description": "How many are left", "inputSchema": part, "annotations": {"readOnlyHint": True}},
            {"name": "order", "description": "Orders a part", "inputSchema": part},
        ]

    def _call(self, params: Mapping[str, Any]) -> dict[str, Any]:
        part = params["arguments"]["part"]
        if params["name"] == "order":
            self.written.append(params)
            return {"content": [{"type": "text", "text": f"ordered {part}"}]}
        if part == "unicorn":
            return {"content": [{"type": "text", "text": "no such part"}], "isError": True}
        return {"content": [{"type": "text", "text": "7"}], "structuredContent": {"part": part, "left": 7}}
