"""What the bundled plug-ins share: a vendor's interface called with the asker's own token, and its troubles in one form.

A token that the vendor does not accept any more is renewed once; after that the asker is asked again. A vendor that asks for
patience gets it: the queue brings the message again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from assistant import NotReached, Permissions, PluginContext, Unavailable, WebReply

Provider = Literal["feishu", "microsoft", "dingtalk"]

AT = {"feishu": "feishu", "teams": "microsoft", "dingtalk": "dingtalk"}
"""Chat platform → where its people have their accounts."""


class Where(BaseModel):
    """Where a plug-in finds calendars or people. Without a `provider` it is switched off."""

    model_config = ConfigDict(extra="forbid")

    provider: Literal["", "auto", "feishu", "microsoft", "dingtalk"] = Field(
        default="",
        description="feishu, microsoft or dingtalk; auto: that of the chat; empty: switched off",
        json_schema_extra={
            "zh-CN": {"title": "提供方", "description": "feishu、microsoft 或 dingtalk；auto：与聊天平台相同；留空：停用"}
        },
    )
    api_base: str = Field(
        default="",
        description="address of the vendor's interface, for private clouds and gateways",
        json_schema_extra={"zh-CN": {"title": "接口地址", "description": "厂商接口的地址，用于私有云和网关"}},
    )
    lark: bool = Field(
        default=False,
        description="Lark (open.larksuite.com) instead of Feishu",
        json_schema_extra={"zh-CN": {"title": "Lark 国际版", "description": "使用 Lark（open.larksuite.com）而不是飞书"}},
    )

    def at(self, platform: str) -> str:
        """The provider for people of a chat platform; empty where there is none."""
        return AT.get(platform, "") if self.provider == "auto" else self.provider


class Trouble(Exception):
    """The vendor did not do what it was asked. `what` tells how: `down`, `forbidden` (`detail` names the right), `unknown`
    (there is no such thing), `refused` (`detail` is its own word)."""

    def __init__(self, what: Literal["down", "forbidden", "unknown", "refused"], detail: str = "") -> None:
        super().__init__(f"{what}: {detail}")
        self.what = what
        self.detail = detail


@dataclass(frozen=True)
class Vendor:
    """One vendor's interface, for one asker."""

    ctx: PluginContext
    where: Where
    scopes: tuple[str, ...] = ()

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    host: ClassVar[str] = ""

    @property
    def base(self) -> str:
        """Where it is called, without a slash at the end."""
        return self.where.api_base.rstrip("/") or f"https://{self.host}"

    def get(
        self, path: str, query: Mapping[str, str | int] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The decoded answer to a GET; empty values are left out of the query. Raises Trouble, Unavailable."""
        asked = f"?{urlencode({k: v for k, v in query.items() if v != ''})}" if query else ""
        return self.call("GET", f"{path}{asked}", headers=headers)

    def post(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None, acts: bool = False) -> dict[str, Any]:
        """The decoded answer to a POST; `acts`: it changes something, under an idempotency key. Raises Trouble, Unavailable."""
        return self.call("POST", path, body=body, headers=headers, acts=acts)

    def call(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None, acts: bool = False
    ) -> dict[str, Any]:
        """The decoded answer. What `acts` and gets none is tried again by the queue: its idempotency key stays the same.

        Raises Trouble, Unavailable.
        """
        token = self.ctx.token(self.name, self.scopes)
        for again in (False, True):
            url = path if path.startswith("http") else f"{self.base}{path}"
            sent = {"accept": "application/json", **self.signed(token), **(headers or {})}
            try:
                reply = self.ctx.request(method, url, headers=sent, json=body, seconds=8)
            except NotReached as error:
                raise self._down(acts, str(error)) from error
            data = decoded(reply)
            if reply.status == 429 or self.busy(data):
                raise Unavailable(f"{self.title} asks for patience", retry_after=pause(reply))
            if reply.status >= 500:
                raise self._down(acts, f"{self.title} answered {reply.status}")
            if self.token_refused(reply, data) and not again:
                token = self.ctx.token(self.name, self.scopes, refused=token)
                continue
            return self.good(reply, data)
        raise Trouble("refused", "token")

    def _down(self, acts: bool, reason: str) -> Exception:
        return Unavailable(reason) if acts else Trouble("down", reason)

    # --- what differs ---

    def signed(self, token: str) -> dict[str, str]:
        """The headers that carry the token."""
        return {"authorization": f"Bearer {token}"}

    def busy(self, data: Mapping[str, Any]) -> bool:
        """Whether the answer asks for patience."""
        return False

    def token_refused(self, reply: WebReply, data: Mapping[str, Any]) -> bool:
        """Whether the token is not accepted."""
        return reply.status == 401

    def good(self, reply: WebReply, data: dict[str, Any]) -> dict[str, Any]:
        """What was asked for, out of the answer. Raises Trouble."""
        if reply.status == 403:
            raise Trouble("forbidden", str(data)[:200])
        if reply.status == 404:
            raise Trouble("unknown")
        if reply.status >= 400:
            raise Trouble("refused", str(data)[:200])
        return data


class Feishu(Vendor):
    """Feishu and Lark. Source: open.feishu.cn/document/ukTMukTMukTM/ugjM14COyUjL4ITN (error codes)."""

    name = "feishu"
    title = "Feishu"
    host = "open.feishu.cn"

    REFUSED: ClassVar = frozenset({99991661, 99991663, 99991664, 99991668, 99991677, 20005})
    BUSY: ClassVar = frozenset({99991400, 190004, 190005, 190010})
    FORBIDDEN: ClassVar = frozenset({99991672, 99991679, 99991676, 190006, 191002, 193002, 40004, 41050})
    """Right not granted to the app, not allowed by the person, or not theirs."""

    @property
    def base(self) -> str:
        """Where it is called, without a slash at the end."""
        return self.where.api_base.rstrip("/") or f"https://{'open.larksuite.com' if self.where.lark else self.host}"

    def busy(self, data: Mapping[str, Any]) -> bool:
        """Whether the answer asks for patience."""
        return data.get("code") in self.BUSY

    def token_refused(self, reply: WebReply, data: Mapping[str, Any]) -> bool:
        """Whether the token is not accepted."""
        return data.get("code") in self.REFUSED or (reply.status == 401 and data.get("code") not in self.FORBIDDEN)

    def good(self, reply: WebReply, data: dict[str, Any]) -> dict[str, Any]:
        """The field `data`. Raises Trouble."""
        code = data.get("code")
        if code in self.FORBIDDEN:
            named = [str(v.get("subject", "")) for v in (data.get("error") or {}).get("permission_violations") or ()]
            raise Trouble("forbidden", ", ".join(filter(None, named)))
        if code:
            raise Trouble("refused", f"{code} {data.get('msg', '')}"[:200])
        result = super().good(reply, data).get("data")
        return result if isinstance(result, dict) else {}


class Microsoft(Vendor):
    """Microsoft Graph. Source: learn.microsoft.com/graph/errors."""

    name = "microsoft"
    title = "Microsoft 365"
    host = "graph.microsoft.com"

    def good(self, reply: WebReply, data: dict[str, Any]) -> dict[str, Any]:
        """The answer. Raises Trouble."""
        error = data.get("error")
        if isinstance(error, dict) and reply.status in (400, 409):
            raise Trouble("refused", f"{error.get('code', '')} {error.get('message', '')}"[:200])
        return super().good(reply, data)


class DingTalk(Vendor):
    """DingTalk: its directory knows the app alone, so the asker's sign-in is wanted first, and the app's own visible range
    bounds what is found. Source: open.dingtalk.com/document/orgapp/address-book-user-search."""

    name = "dingtalk"
    title = "DingTalk"
    host = "api.dingtalk.com"
    old_host: ClassVar[str] = "oapi.dingtalk.com"

    def call(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None, acts: bool = False
    ) -> dict[str, Any]:
        """The decoded answer. Raises Trouble, Unavailable."""
        self.ctx.account(self.name)
        token = self._app()
        old = path.startswith("/topapi/")
        base = self.where.api_base.rstrip("/") or f"https://{self.old_host if old else self.host}"
        url = f"{base}{path}" + (f"?{urlencode({'access_token': token})}" if old else "")
        data = self._request(method, url, body, {} if old else {"x-acs-dingtalk-access-token": token})
        code = data.get("errcode") if old else data.get("code")
        if code in (90018, 90002) or str(code).startswith("Throttling"):
            raise Unavailable("DingTalk asks for patience")
        if code in (60011, 88) or str(code).startswith("Forbidden"):
            raise Trouble("forbidden", str(data.get("sub_msg") or data.get("errmsg") or data.get("message") or "")[:200])
        if code in (60121, 60003):
            raise Trouble("unknown")
        if code:
            raise Trouble("refused", f"{code} {data.get('errmsg') or data.get('message') or ''}"[:200])
        result = data.get("result") if old else data
        return result if isinstance(result, dict) else {}

    def _app(self) -> str:
        base = self.where.api_base.rstrip("/") or f"https://{self.host}"
        body = {"appKey": self.ctx.secret("dingtalk_app_key"), "appSecret": self.ctx.secret("dingtalk_app_secret")}
        data = self._request("POST", f"{base}/v1.0/oauth2/accessToken", body, {})
        if not isinstance(data.get("accessToken"), str):
            raise Trouble("forbidden", "dingtalk_app_key, dingtalk_app_secret")
        return str(data["accessToken"])

    def _request(self, method: str, url: str, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            reply = self.ctx.request(method, url, headers=headers, json=body, seconds=8)
        except NotReached as error:
            raise Trouble("down", str(error)) from error
        if reply.status == 429:
            raise Unavailable("DingTalk asks for patience", retry_after=pause(reply))
        if reply.status >= 500:
            raise Trouble("down", f"DingTalk answered {reply.status}")
        return decoded(reply)


VENDORS: Mapping[str, type[Vendor]] = {v.name: v for v in (Feishu, Microsoft, DingTalk)}


def permissions(where: Where, scopes: Mapping[str, tuple[str, ...]], **more: Any) -> Permissions:
    """What a plug-in may use at the places that its configuration names, with `scopes` by provider."""
    named = [n for n in scopes if where.provider in ("auto", n)]
    own = (urlsplit(where.api_base).hostname or "",) if where.api_base else ()
    hosts = [VENDORS[n].host for n in named] + (["open.larksuite.com"] if where.lark else [])
    secrets: tuple[str, ...] = ()
    if "dingtalk" in named:
        hosts.append(DingTalk.old_host)
        secrets = ("dingtalk_app_key", "dingtalk_app_secret")
    return Permissions(tokens={n: scopes[n] for n in named}, hosts=tuple(hosts), inside=own, secrets=secrets, **more)


def decoded(reply: WebReply) -> dict[str, Any]:
    """The answer's JSON object; empty where it is none."""
    try:
        data = json.loads(reply.content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def pause(reply: WebReply) -> float:
    """Seconds after which the vendor wants to be asked again."""
    for name in ("retry-after", "x-ogw-ratelimit-reset"):
        value = reply.headers.get(name, "")
        if value.isdigit():
            return min(float(value), 60.0)
    return 2.0


def said(words: Mapping[str, Mapping[str, str]], key: str, language: str, **values: object) -> str:
    """The sentence `key` in the reader's language with `values` filled in."""
    return words["zh-CN" if language.startswith("zh") else "en"][key].format(**values)


TROUBLE: Mapping[str, Mapping[str, str]] = {
    "en": {
        "down": "{title} does not answer right now. Nothing was changed; please try again in a moment.",
        "forbidden": "{title} does not let me do this for you{detail}. An administrator can grant the app the right.",
        "unknown": "{title} does not know that any more. Nothing was changed.",
        "refused": "{title} did not accept that ({detail}). Nothing was changed.",
    },
    "zh-CN": {
        "down": "{title}暂时没有响应。什么都没有改动，请稍后再试。",
        "forbidden": "{title}不允许我替你这样做{detail}。请管理员为应用开通相应权限后再试。",
        "unknown": "{title}里已经找不到它了。什么都没有改动。",
        "refused": "{title}没有接受这个请求（{detail}）。什么都没有改动。",
    },
}
TITLES: Mapping[str, Mapping[str, str]] = {
    "en": {"feishu": "Feishu", "microsoft": "Microsoft 365", "dingtalk": "DingTalk"},
    "zh-CN": {"feishu": "飞书", "microsoft": "Microsoft 365", "dingtalk": "钉钉"},
}


def told(trouble: Trouble, provider: str, language: str) -> str:
    """The trouble as the asker reads it."""
    title = said(TITLES, provider, language)
    detail = trouble.detail
    if trouble.what == "forbidden":
        detail = f" ({detail})" if detail and not language.startswith("zh") else f"（{detail}）" if detail else ""
    return said(TROUBLE, trouble.what, language, title=title, detail=detail)


def pages(vendor: Vendor, path: str, query: Mapping[str, str | int], *, field: str, most: int) -> Sequence[dict[str, Any]]:
    """The items of a Feishu listing, page after page, at most `most`."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        data = vendor.get(path, {**query, "page_token": token})
        found += [i for i in data.get(field) or () if isinstance(i, dict)]
        token = str(data.get("page_token") or "")
        if len(found) >= most or not data.get("has_more") or not token:
            return found[:most]
