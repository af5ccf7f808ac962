"""Tools from an OpenAPI 3 description: the operations that were chosen, with the asker's or the company's own authority.

    tools = openapi_tools(description, operations=["listLeave", "createLeave"], base="https://hr.example.com/api",
                          authorise=lambda ctx: {"authorization": f"Bearer {ctx.token('okta')}"})

`get` and `head` only read; everything else writes and asks first, unless `reads` or `writes` names it otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from assistant import web
from assistant.errors import InvalidSetting, ToolFailed
from assistant.tools import Tool, checked_tool, inlined

Authorise = Callable[[Any], Mapping[str, str]]
"""Gives the headers that prove who asks."""

METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
READING: Final = frozenset({"get", "head"})

BODY: Final = "body"
"""Name of the argument that a request body that is no object becomes."""


def openapi_tools(
    description: Mapping[str, Any],
    *,
    operations: Collection[str],
    base: str = "",
    authorise: Authorise = lambda ctx: {},
    reads: Collection[str] = (),
    writes: Collection[str] = (),
    repeatable: Collection[str] = (),
    seconds: float = 15.0,
    allow: web.Allow = web.is_public,
) -> list[Tool]:
    """The tools for `operations` (operationIds), in that order. `base` replaces the description's server.

    The only host ever called is that of `base`. Raises InvalidSetting for an operation that is not there or cannot be offered.
    """
    if not str(description.get("openapi", "")).startswith("3."):
        raise InvalidSetting("the description is no OpenAPI 3 document; its field 'openapi' must begin with 3.")
    servers = description.get("servers") or [{}]
    base = (base or str(servers[0].get("url", ""))).rstrip("/")
    try:
        usable = urlsplit(base).scheme in ("http", "https") and bool(urlsplit(base).hostname)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidSetting(f"server {base!r} of the description is no web address; give one as base")
    known = {
        str(operation["operationId"]): (method, path, item, operation)
        for path, item in (description.get("paths") or {}).items()
        for method in METHODS
        if isinstance(operation := item.get(method), Mapping) and operation.get("operationId")
    }
    if missing := [o for o in operations if o not in known]:
        raise InvalidSetting(f"the description has no operation {missing[0]!r}; known: {', '.join(sorted(known)[:30])}")
    made = []
    for name in operations:
        method, path, item, operation = known[name]
        write = name in writes or (method not in READING and name not in reads)
        try:
            call = _Call(description, base, method, path, item, operation, authorise, seconds, allow)
        except InvalidSetting as error:
            raise InvalidSetting(f"operation {name!r}: {error}") from None
        told = str(operation.get("summary") or operation.get("description") or f"{method.upper()} {path}")
        made.append(
            checked_tool(
                Tool(
                    name=re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64],
                    description=told.strip()[:1000],
                    parameters=call.schema,
                    run=call,
                    writes=write,
                    repeatable=name in repeatable or method in ("put", "delete"),
                    seconds=seconds + 1,
                )
            )
        )
    return made


class _Call:
    """One operation: arguments become path, query, headers and body."""

    def __init__(
        self,
        description: Mapping[str, Any],
        base: str,
        method: str,
        path: str,
        item: Mapping[str, Any],
        operation: Mapping[str, Any],
        authorise: Authorise,
        seconds: float,
        allow: web.Allow,
    ) -> None:
        self._base, self._method, self._path = base, method, path
        self._authorise, self._seconds, self._allow = authorise, seconds, allow
        self._where: dict[str, str] = {}
        properties: dict[str, Any] = {}
        required: list[str] = []
        for raw in (*item.get("parameters", ()), *operation.get("parameters", ())):
            parameter = inlined(raw, root=description)
            name, where = str(parameter["name"]), str(parameter["in"])
            if where == "cookie":
                raise InvalidSetting(f"parameter {name!r} is a cookie; those are not sent")
            self._where[name] = where
            schema = dict(parameter.get("schema") or {"type": "string"})
            if parameter.get("description"):
                schema["description"] = parameter["description"]
            properties[name] = schema
            if parameter.get("required") or where == "path":
                required.append(name)
        self._body_fields: tuple[str, ...] | None = None
        self._body(description, operation, properties, required)
        self.schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            self.schema["required"] = list(dict.fromkeys(required))

    def _body(
        self, description: Mapping[str, Any], operation: Mapping[str, Any], properties: dict[str, Any], required: list[str]
    ) -> None:
        if "requestBody" not in operation:
            return
        body = inlined(operation["requestBody"], root=description)
        content = body.get("content", {})
        kind = next((k for k in content if k.partition(";")[0].strip() == "application/json"), None)
        if kind is None:
            raise InvalidSetting(f"its body is {', '.join(content) or 'of no type'}; only application/json is sent")
        schema = content[kind].get("schema") or {}
        fields = schema.get("properties")
        if schema.get("type") == "object" and fields and not set(fields) & set(properties):
            self._body_fields = tuple(fields)
            properties.update(fields)
            required += schema.get("required", ())
        else:
            self._body_fields = ()
            properties[BODY] = schema or {"type": "object"}
            if body.get("required"):
                required.append(BODY)

    def __call__(self, ctx: Any, arguments: Mapping[str, Any]) -> Any:
        path, query, headers = self._path, [], {"accept": "application/json"}
        for name, where in self._where.items():
            if name not in arguments:
                continue
            value = arguments[name]
            if where == "path":
                text = quote(_text(value), safe="")
                if text in ("", ".", ".."):
                    raise ToolFailed(f"{name}: {_text(value)!r} cannot stand in an address")
                path = path.replace(f"{{{name}}}", text)
            elif where == "query":
                query += [(name, _text(v)) for v in (value if isinstance(value, list) else [value])]
            else:
                headers[name] = _text(value).replace("\r", " ").replace("\n", " ")
        body: bytes | None = None
        if self._body_fields is not None:
            data = {k: arguments[k] for k in self._body_fields if k in arguments} if self._body_fields else arguments.get(BODY)
            body = json.dumps(data, ensure_ascii=False).encode()
            headers["content-type"] = "application/json"
        if self._method not in READING:
            headers["idempotency-key"] = ctx.key
        headers |= self._authorise(ctx)
        address = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        return answer_of(
            lambda: web.request(
                self._method.upper(),
                address,
                headers=headers,
                body=body,
                hosts=[urlsplit(self._base).hostname or ""],
                seconds=self._seconds,
                allow=self._allow,
            )
        )


def answer_of(call: Callable[[], web.WebReply]) -> Any:
    """The decoded answer. Raises ToolFailed with what the model can do about it."""
    try:
        reply = call()
    except web.NotReached as error:
        raise ToolFailed(str(error)) from error
    text = reply.content.decode("utf-8", "replace")
    if reply.status >= 400 or 300 <= reply.status < 400:
        raise ToolFailed(f"the service answered {reply.status}: {text[:500]}")
    if "json" in reply.headers.get("content-type", ""):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ToolFailed("the service's answer is not the JSON that it says it is") from None
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
