"""WeCom's API: tokens, calls, downloads, and what its codes mean."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import (
    ContentRefused,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.platforms.wire import Object

if TYPE_CHECKING:
    import httpx

    from assistant.cache import Cache
    from assistant.platforms.outbound import Pace

API: Final = "https://qyapi.weixin.qq.com"
CONSOLE: Final = "https://work.weixin.qq.com/wework_admin/frame#apps"
LOOK_UP: Final = "https://open.work.weixin.qq.com/devtool/query?e="


class Api:
    """The app's calls. `cache` and `pace` give theirs when they are needed: a webhook that only queues never asks for them."""

    def __init__(self, secrets: Mapping[str, str], *, cache: Callable[[], Cache], pace: Callable[[], Pace]) -> None:
        self._secrets = secrets
        self._cache = cache
        self._pace = pace

    @property
    def base(self) -> str:
        """The vendor's host, or what stands in for it."""
        return (self._secrets.get("api_base") or API).rstrip("/")

    def agent_id(self) -> int:
        """The app's number; raises TokenDead where none is configured."""
        given = self._secrets.get("agent_id", "")
        if not re.fullmatch(r"\d{1,12}", given, re.ASCII):
            raise TokenDead("wecom: secret field 'agent_id' is not the app's number (AgentId)", platform="wecom", code="40056")
        return int(given)

    def _token_name(self) -> str:
        corp, secret = self._secrets.get("corp_id", ""), self._secrets.get("secret", "")
        if not corp or not secret:
            raise TokenDead("wecom: the app is not configured: set corp_id, agent_id and secret", platform="wecom")
        return f"wecom:token:{corp}:{hashlib.sha256(f'{self.base}|{secret}'.encode()).hexdigest()[:16]}"

    def token(self) -> str:
        """A living token, shared with the other instances."""
        return self._cache().get(self._token_name(), self._load_token)

    def forget_token(self) -> None:
        """The next call fetches a new one."""
        self._cache().drop(self._token_name())

    def _load_token(self) -> tuple[str, float]:
        from assistant.platforms import outbound

        def ask() -> dict[str, Any]:
            query = {"corpid": self._secrets["corp_id"], "corpsecret": self._secrets["secret"]}
            given = result(outbound.call("wecom", "GET", f"{self.base}/cgi-bin/gettoken", params=query), "gettoken")
            return {"expires_in": 7200, **given}

        def load() -> tuple[str, float]:
            return outbound.new_token("wecom", ask, field="access_token", lives="expires_in", early=300.0)

        return outbound.with_retries(load, sleep=self._pace().sleep)

    def call(
        self,
        method: str,
        path: str,
        *,
        repeat: bool,
        member: str = "",
        params: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Object:
        """The result of one call, with a fresh token where the old one died. `repeat`: the vendor recognises a repeat.
        `member`: to whom a message goes; of the 31st in a minute WeCom would say that it was sent, and drop it."""
        from assistant.platforms import outbound

        def act() -> Object:
            query = {"access_token": self.token(), **(params or {})}
            return result(outbound.call("wecom", method, f"{self.base}/cgi-bin{path}", params=query, **request), path)

        def once() -> Object:
            return outbound.with_token(act, forget=self.forget_token, check="corp_id, secret and api_base")

        pace, each = self._pace(), {path: (outbound.Rate(10_000, 60.0),)}
        budgets = {**each, f"member {member}": (outbound.Rate(30, 60.0),)} if member else each
        return outbound.with_retries(lambda: pace.call(once, budgets), repeat=repeat, sleep=pace.sleep)

    def media(self, media_id: str, *, limit: int) -> tuple[bytes, Mapping[str, str]]:
        """Bytes and headers of a file that was sent to the app."""
        from assistant.platforms import outbound

        url = f"{self.base}/cgi-bin/media/get"

        def act() -> tuple[bytes, Mapping[str, str]]:
            return self.download(url, params={"access_token": self.token(), "media_id": media_id}, limit=limit)

        return outbound.with_token(act, forget=self.forget_token, check="corp_id, secret and api_base")

    def download(self, url: str, *, limit: int, params: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """Bytes and headers at an address; raises ContentRefused above `limit` bytes."""
        from assistant.platforms.files import download

        content, response = download("wecom", url, limit=limit, params=params)
        is_file = response.status_code == 200 and "content-disposition" in response.headers
        if not is_file:
            with suppress(OutcomeUnknown):  # it is no JSON: a file without a name
                result(response, "the file")  # errors come as JSON, with HTTP 200 too
        if response.status_code != 200:
            code = str(response.status_code)
            raise SendError(f"wecom: the file's address answered HTTP {code}", platform="wecom", code=code)
        return content, response.headers


# --- reading answers ---------------------------------------------------------------------------

_EXPIRED: Final = frozenset({"40014", "42001", "41001"})
"""Codes of a token that died: a fresh one helps."""


def result(response: httpx.Response, what: str) -> dict[str, Any]:
    """The JSON of an answer; raises the SendError that its `errcode` or HTTP status means."""
    from assistant.platforms.outbound import retry_after

    where: dict[str, Any] = {"platform": "wecom", "code": str(response.status_code)}
    if response.status_code == 429:
        raise RateLimited(f"wecom: {what}: too many calls", retry_after=retry_after(response.headers), **where)
    if response.status_code >= 500:
        raise VendorUnavailable(f"wecom: {what}: HTTP {response.status_code}", **where)
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        if response.status_code == 200:  # it was taken by somebody, and what came of it was lost on the way
            raise OutcomeUnknown(f"wecom: {what}: the answer is not JSON", **where)
        raise SendError(f"wecom: {what}: HTTP {response.status_code}", **where)
    if code := found.get("errcode", 0):
        raise _error(str(code), str(found.get("errmsg") or ""), what)
    return found


_API_PERMISSION: Final = "应用的接口权限 (API permission of the app)"
VISIBILITY: Final = "可见范围 (visibility range)"
_TRUSTED_IP: Final = "企业可信IP (trusted IP)"
_PERMISSIONS: Final[Mapping[str, str]] = {
    "48002": _API_PERMISSION,
    "60011": VISIBILITY,
    "301002": _API_PERMISSION,
    "60020": _TRUSTED_IP,
}
_BAD_CREDENTIALS: Final[Mapping[str, str]] = {
    "40001": "secret field 'secret' is not this app's Secret",
    "40013": "secret field 'corp_id' is not a corp id (企业ID)",
    "40056": "secret field 'agent_id' is not this app's AgentId",
}


def _error(code: str, said: str, what: str) -> SendError:
    """The error for one of WeCom's codes. What WeCom says is not repeated, except the address it was called from."""
    from assistant.platforms.outbound import TokenExpired

    where: dict[str, Any] = {"platform": "wecom", "code": code}
    text = f"wecom: {what}: errcode {code}, see {LOOK_UP}{code}"
    if code == "45009":
        return RateLimited(text, retry_after=60.0, **where)
    if code == "45033":
        return RateLimited(text, retry_after=1.0, **where)
    if code == "-1":
        return VendorUnavailable(text, **where)
    if code in _EXPIRED:
        return TokenExpired(text, **where)
    if code in _BAD_CREDENTIALS:
        return TokenDead(f"{text}: {_BAD_CREDENTIALS[code]}", **where)
    if code in _PERMISSIONS:
        address = re.search(r"from ip:\s*([0-9a-fA-F.:]{3,45}[0-9a-fA-F])", said)
        hint = f"; add {address[1]} to it" if code == "60020" and address else ""
        scope = _PERMISSIONS[code]
        return MissingPermission(f"{text}: {scope}{hint}", scopes=(scope,), console_url=CONSOLE, **where)
    if code == "81013" or (len(code) == 5 and code.startswith("86")):
        return NotInChat(text, **where)
    if code == "40008":
        return UnsupportedType(text, **where)
    if code in ("45002", "40058", "44004"):
        return ContentRefused(text, **where)
    return SendError(text, **where)
