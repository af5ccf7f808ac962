"""A company's own web hooks as tools for the model, by configuration alone.

    {"web_request": {"hooks": [{
        "name": "open_ticket", "description": "Open a ticket at the help desk", "method": "POST",
        "url": "https://desk.example.com/api/tickets",
        "arguments": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
        "secret": "desk_token"}]}}

Only the hosts that are written down are called, never a cloud's metadata service; whatever is not a GET asks first and acts once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from assistant import BotPlugin, NotReached, Permissions, PluginContext, Tool, ToolFailed, WebReply

MOST_HOOKS = 40
LARGEST_BODY = 100_000
"""Bytes of a request's body."""

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")
_FORBIDDEN = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "cookie"})


class Hook(BaseModel):
    """One address that the model may call."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$", description="the tool's name")
    description: str = Field(min_length=4, max_length=1000, description="what it does, and when: the model chooses it by that")
    url: str = Field(description="https://…; {argument} stands for an argument")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    arguments: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object", "properties": {}}, description="JSON Schema of the arguments, an object"
    )
    writes: bool | None = Field(default=None, description="whether it changes something and asks first; empty: all but GET")
    secret: str = Field(
        default="", pattern=r"^[A-Za-z0-9_]{0,60}$", description="field of the secret plugin-web_request with its token"
    )
    header: str = Field(default="authorization", description="header that carries the token")
    scheme: str = Field(default="Bearer", pattern=r"^[A-Za-z0-9-]{0,30}$", description="word before the token; empty: none")
    headers: dict[str, str] = Field(default_factory=dict, description="further headers, as they are")
    inside: bool = Field(default=False, description="the host stands in the company's own network: private addresses are allowed")
    seconds: float = Field(default=10.0, gt=0, le=25, description="longest time an answer may take")
    most_bytes: int = Field(default=200_000, gt=0, le=1_000_000, description="longest answer")
    pick: str = Field(
        default="", pattern=r"^[\w.-]{0,200}$", description="part of a JSON answer that the model is shown, as data.items"
    )

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.password or parts.fragment:
            raise ValueError(
                f"{value[:100]!r} must be a web address without a user name, as https://desk.example.com/api/tickets"
            )
        if _PLACE.search(parts.netloc) or _PLACE.search(parts.scheme):
            raise ValueError("an argument may stand in the path or the query, never in the host")
        return value

    @field_validator("arguments")
    @classmethod
    def _object(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("type") != "object":
            raise ValueError("arguments must be a JSON Schema of type object")
        return {"additionalProperties": False, **value}

    @field_validator("header")
    @classmethod
    def _one_header(cls, value: str) -> str:
        if not _HEADER.fullmatch(value) or value.lower() in _FORBIDDEN:
            raise ValueError(f"{value[:60]!r} is no header that can be set")
        return value

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _HEADER.fullmatch(name) or name.lower() in _FORBIDDEN or any(c in text for c in "\r\n\0"):
                raise ValueError(f"header {name[:60]!r} cannot be set")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.inside and urlsplit(self.url).scheme != "https":
            raise ValueError("http:// is for hosts of the company's own network; set inside, or use https://")
        properties = self.arguments.get("properties") or {}
        for place in _PLACE.findall(self.url):
            if place not in properties:
                raise ValueError(f"the address names {{{place}}}, which is no argument")
            if place not in (self.arguments.get("required") or ()):
                raise ValueError(f"argument {place!r} stands in the address, so it must be required")
        return self

    @property
    def host(self) -> str:
        """The one host that it calls."""
        return (urlsplit(self.url).hostname or "").lower()

    @property
    def asks(self) -> bool:
        """Whether the person is asked first."""
        return self.method != "GET" if self.writes is None else self.writes


class WebRequestConfig(BaseModel):
    """What can be set."""

    model_config = ConfigDict(extra="forbid")

    hosts: list[str] = Field(
        default_factory=list,
        description="the only hosts that hooks may name; empty: those that they do",
        json_schema_extra={"zh-CN": {"title": "主机", "description": "只允许钩子使用这些主机；留空：钩子中写明的主机"}},
    )
    hooks: list[Hook] = Field(
        default_factory=list,
        max_length=MOST_HOOKS,
        description="the web hooks; docs/plugins.md names their fields",
        json_schema_extra={"zh-CN": {"title": "钩子", "description": "公司的网络钩子；字段见 docs/plugins.md"}},
    )

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        names = [h.name for h in self.hooks]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"two hooks are called {sorted(twice)[0]!r}; rename one")
        known = {h.lower() for h in self.hosts}
        for hook in self.hooks:
            if known and hook.host not in known:
                raise ValueError(f"hook {hook.name!r} calls {hook.host!r}, which is not among hosts")
        return self


class WebRequest(BotPlugin):
    """Each hook is a tool."""

    name = "web_request"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "Web hooks", "zh-CN": "网络钩子"}
    about: ClassVar = {
        "en": "Each of the company's own web hooks is a tool for the model.",
        "zh-CN": "公司自己的每个网络钩子都是模型可以调用的工具。",
    }
    Config = WebRequestConfig
    seconds: ClassVar[float] = 5.0

    def __init__(self, config: WebRequestConfig) -> None:
        super().__init__(config)
        self.permissions = Permissions(
            hosts=tuple(dict.fromkeys(h.host for h in config.hooks if not h.inside)),
            inside=tuple(dict.fromkeys(h.host for h in config.hooks if h.inside)),
            secrets=tuple(dict.fromkeys(h.secret for h in config.hooks if h.secret)),
        )

    def get_tools(self) -> Sequence[Tool]:
        """A tool for each hook."""
        return [
            Tool(
                name=hook.name,
                description=hook.description,
                parameters=hook.arguments,
                run=_Call(hook),
                writes=hook.asks,
                repeatable=hook.method in ("GET", "PUT", "DELETE"),
                seconds=hook.seconds + 2,
            )
            for hook in self.config.hooks
        ]


class _Call:
    """One hook, called."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def __call__(self, ctx: PluginContext, arguments: Mapping[str, Any]) -> Any:
        hook = self._hook
        rest = dict(arguments)
        address = _PLACE.sub(lambda found: _placed(found[1], rest.pop(found[1])), hook.url)
        headers = {"accept": "application/json", **hook.headers}
        if hook.secret:
            token = ctx.secret(hook.secret)
            headers[hook.header] = f"{hook.scheme} {token}".strip()
        body: bytes | None = None
        if hook.method in ("GET", "DELETE"):
            pairs = [(k, _text(v)) for k, value in rest.items() for v in (value if isinstance(value, list) else [value])]
            address += ("&" if "?" in address else "?") + urlencode(pairs) if pairs else ""
        else:
            body = json.dumps(rest, ensure_ascii=False).encode()
            headers["content-type"] = "application/json; charset=utf-8"
            if len(body) > LARGEST_BODY:
                raise ToolFailed(f"the arguments have {len(body)} bytes; at most {LARGEST_BODY} are sent")
        if hook.asks:
            headers["idempotency-key"] = ctx.key
        try:
            reply = ctx.request(
                hook.method, address, headers=headers, body=body, seconds=hook.seconds, most_bytes=hook.most_bytes
            )
        except NotReached as error:
            raise ToolFailed(str(error)) from error
        return self._answer(reply)

    def _answer(self, reply: WebReply) -> Any:
        text = reply.content.decode("utf-8", "replace")
        if reply.status >= 300:  # redirects of anything but a GET are not followed
            raise ToolFailed(f"{self._hook.host} answered {reply.status}: {text[:500]}")
        if "json" not in reply.headers.get("content-type", ""):
            return text or f"done ({reply.status})"
        try:
            data = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            raise ToolFailed(f"{self._hook.host} says that its answer is JSON, and it is not") from None
        for step in filter(None, self._hook.pick.split(".")):
            if isinstance(data, Mapping) and step in data:
                data = data[step]
            elif isinstance(data, list) and step.isdigit() and int(step) < len(data):
                data = data[int(step)]
            else:
                raise ToolFailed(f"{self._hook.host}'s answer has no {self._hook.pick!r}")
        return data


def _placed(name: str, value: Any) -> str:
    """An argument as one step of a path, or one value of a query."""
    text = _text(value)
    if text in ("", ".", "..") or len(text) > 500:
        raise ToolFailed(f"{name}: {text[:60]!r} cannot stand in an address")
    return quote(text, safe="")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
