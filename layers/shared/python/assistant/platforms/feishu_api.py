"""Feishu's open API as calls that return data or raise what the house knows: tokens, repeats, and what each code means.

Sources: open.feishu.cn/document/server-docs/api-call-guide/generic-error-code ·
open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/reference/im-v1/message/create ·
open.larkoffice.com/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/streaming-updates-openapi-overview.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from assistant.errors import (
    ContentRefused,
    MessageRecalled,
    MissingPermission,
    NotInChat,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.platforms.outbound import Pace, Rate, TokenExpired, call, new_token, retry_after, with_retries, with_token

if TYPE_CHECKING:
    import httpx

    from assistant.cache import Cache

FEISHU: Final = "https://open.feishu.cn"

_EARLY: Final = 600.0
"""Seconds before its end at which a token is renewed; Feishu gives a new one in its last 30 minutes."""


Budget = Mapping[str, Sequence[Rate]]
"""Names under which a call counts, and how many the vendor takes of each."""

_EACH: Final = (Rate(50, 1.0), Rate(1000, 60.0))
"""What Feishu takes of one API, from one app."""


def of_chat(chat: str) -> Budget:
    """A message counts for its chat, or for the person that it goes to; what other bots send there counts as well."""
    return {f"chat {chat}": (Rate(5, 1.0),)}


def of_message(message_id: str) -> Budget:
    """A replaced card counts for its message."""
    return {f"message {message_id}": (Rate(5, 1.0),)}


def of_card(card_id: str) -> Budget:
    """An operation on a streaming card counts for the card."""
    return {f"card {card_id}": (Rate(10, 1.0),)}


class CardClosed(ContentRefused):
    """The card no longer streams: its ten minutes are over, or somebody finished it."""


class CardGone(ContentRefused):
    """The card entity does not exist (any longer)."""


class SequenceTooLow(ContentRefused):
    """Another instance has used this sequence number or a higher one."""


_RATE: Final = frozenset({"99991400", "230020", "11232", "11233", "11247"})
_EXPIRED: Final = frozenset({"99991661", "99991663", "99991664", "99991665"})
_BAD_APP: Final = frozenset({"10003", "10014", "10015", "99991543"})
_USER_TOKEN: Final = frozenset({"99991668", "99991677"})
_SCOPE: Final = frozenset({"99991672", "99991676", "99991679"})
_AGAIN: Final = frozenset({"230049"})  # the same uuid is being sent at this moment

_MEANS: Final[Mapping[str, tuple[type[SendError], str]]] = {
    "230002": (NotInChat, "the bot is not in the chat"),
    "232009": (NotInChat, "the chat was dissolved"),
    "230034": (NotInChat, "the receiver does not exist"),
    "230053": (NotInChat, "the person stopped the bot"),
    "99992361": (NotInChat, "the open_id belongs to another app; the person has to write to this app first"),
    "230011": (MessageRecalled, "the message was recalled"),
    "230110": (MessageRecalled, "the message was deleted"),
    "230001": (ContentRefused, "a parameter is refused"),
    "230017": (ContentRefused, "the message is not ours"),
    "230022": (ContentRefused, "the content is held to be sensitive"),
    "230025": (ContentRefused, "the content is too long"),
    "230028": (ContentRefused, "the company's data protection refuses the content"),
    "230054": (UnsupportedType, "the chat does not take this type of message"),
    "230055": (UnsupportedType, "the chat does not take this type of file"),
    "230099": (UnsupportedType, "the card cannot be shown"),
    "11310": (UnsupportedType, "the card has too many tables"),
    "300309": (CardClosed, "the card no longer streams"),
    "300317": (SequenceTooLow, "the sequence number was used before"),
    "200750": (CardGone, "the card does not exist"),
}
_FORBIDDEN: Final[Mapping[str, tuple[str, str]]] = {
    "99991403": ("the app's calls of this month are used up; the company needs a larger plan", "baseinfo"),
    "99991662": ("the app is disabled; an administrator has to enable it", "version"),
    "99991673": ("the app is not installed; publish a version and have it approved", "version"),
    "99991401": ("our address is not on the app's IP allow-list", "safe"),
    "230006": ("the app has no bot; switch the bot ability on and publish a version", "bot"),
    "230013": ("the person is outside the app's availability range; widen it and publish a version", "version"),
    "230018": ("the group's settings do not let the bot do this; the group's owner can change them", ""),
    "230027": ("the app may not do this in an external group", "auth"),
    "230035": ("the bot may not speak in this group; the group's owner can allow it", ""),
    "230038": ("the app may not write across companies", "auth"),
}


class FeishuApi:
    """The calls of one app, as fast as `pace` lets them through."""

    def __init__(self, secrets: Mapping[str, str], *, cache: Cache, pace: Pace) -> None:
        self._secrets = secrets
        self._cache = cache
        self._pace = pace
        self.base = (secrets.get("api_base") or FEISHU).rstrip("/")
        self.app_id = secrets.get("app_id", "")

    def get(self, path: str, **params: str | list[str]) -> Mapping[str, Any]:
        """The `data` of a GET; a list is a parameter that stands several times."""
        return self._data("GET", path, params=params, repeat=True)

    def send(
        self, method: str, path: str, body: Mapping[str, Any], *, repeat: bool, within: Budget | None = None, **params: str
    ) -> Mapping[str, Any]:
        """The `data` of a call with a JSON body. `repeat`: the vendor recognises a repeat, so that one is made when no
        answer came. `within`: what it counts for, apart from the API itself."""
        return self._data(method, path, json=body, params=params, repeat=repeat, within=within)

    def put_file(self, path: str, *, fields: Mapping[str, str], file: tuple[str, bytes, str], name: str) -> Mapping[str, Any]:
        """The `data` of an upload; the upload shows nothing to anybody and may be repeated."""
        return self._data("POST", path, data=fields, files={name: file}, repeat=True)

    def _data(self, method: str, path: str, *, repeat: bool, **request: Any) -> Mapping[str, Any]:
        body, _ = self.exchange(method, path, repeat=repeat, **request)
        data = body.get("data", body)
        return data if isinstance(data, Mapping) else {}

    def exchange(
        self, method: str, path: str, *, repeat: bool, within: Budget | None = None, **request: Any
    ) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """The whole JSON answer and the headers (by lower-case name) of a call, repeated where that is safe."""
        budgets = {**(within or {}), f"{method} {_api(path)}": _EACH}

        def act() -> tuple[Mapping[str, Any], Mapping[str, str]]:
            url, headers = f"{self.base}/open-apis{path}", {"authorization": f"Bearer {self.token()}"}
            response = call("feishu", method, url, headers=headers, **request)
            return self.checked(response), response.headers

        def once() -> tuple[Mapping[str, Any], Mapping[str, str]]:
            return with_token(act, forget=self._forget_token, check="app_id, app_secret and api_base")

        return with_retries(lambda: self._pace.call(once, budgets), repeat=repeat, sleep=self._pace.sleep)

    def read(self, path: str, *, limit: int, **params: str) -> tuple[bytes, Mapping[str, str]]:
        """At most `limit` bytes of a file and the headers. Raises ContentRefused for a longer one."""
        from assistant.platforms.files import download

        def act() -> tuple[bytes, Mapping[str, str]]:
            headers = {"authorization": f"Bearer {self.token()}"}
            content, response = download("feishu", f"{self.base}/open-apis{path}", limit=limit, headers=headers, params=params)
            if response.status_code == 200 and "json" not in response.headers.get("content-type", ""):
                return content, response.headers
            self.checked(response)
            raise ContentRefused("feishu: the file came as JSON", platform="feishu")

        return with_token(act, forget=self._forget_token, check="app_id, app_secret and api_base")

    # --- tokens ---

    @property
    def _token_key(self) -> str:
        return f"feishu:tenant_token:{self.base}:{self.app_id}"

    def _forget_token(self) -> None:
        self._cache.drop(self._token_key)

    def token(self) -> str:
        """The tenant token, from the cache or new."""
        return self._cache.get(self._token_key, self._new_token)

    def _new_token(self) -> tuple[str, float]:
        body = {"app_id": self.app_id, "app_secret": self._secrets.get("app_secret", "")}
        if not all(body.values()):
            raise TokenDead("feishu: app_id or app_secret is not configured", platform="feishu")
        url = f"{self.base}/open-apis/auth/v3/tenant_access_token/internal"
        return new_token(
            "feishu",
            lambda: self.checked(call("feishu", "POST", url, json=body)),
            field="tenant_access_token",
            lives="expire",
            early=_EARLY,
        )

    # --- answers ---

    def checked(self, response: httpx.Response) -> Mapping[str, Any]:
        """The JSON of a good answer; success is a 2xx status, JSON, and code 0. Raises what the code means."""
        status = response.status_code
        try:
            body = response.json() if "json" in response.headers.get("content-type", "") else None
        except ValueError:
            body = None
        if not isinstance(body, dict):
            if status == 429:
                raise RateLimited("feishu: too many calls", platform="feishu", code="429", retry_after=_pause(response.headers))
            if status >= 500:
                raise VendorUnavailable(f"feishu answered {status}", platform="feishu", code=str(status))
            raise SendError(
                f"feishu answered {status} without JSON to {response.request.url.path}; check api_base ({self.base})",
                platform="feishu",
                code=str(status),
            )
        code = str(body.get("code", ""))
        if 200 <= status < 300 and code == "0":
            return body
        raise self._error(code, status, body, response.headers)

    def _error(self, code: str, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> SendError:
        log_id = headers.get("x-tt-logid", "")
        tail = f" (code {code}{f', log id {log_id}' if log_id else ''})"
        if code in _RATE or status == 429:
            return RateLimited(f"feishu: too many calls{tail}", platform="feishu", code=code, retry_after=_pause(headers))
        if code in _EXPIRED:
            return TokenExpired(f"feishu does not accept the token{tail}", platform="feishu", code=code)
        if code in _BAD_APP:
            return TokenDead(
                f"feishu does not know app_id {self.app_id!r} with this app_secret{tail}; copy both from the console again",
                platform="feishu",
                code=code,
            )
        if code in _USER_TOKEN:
            return TokenDead(f"feishu: the person's authorisation has ended{tail}", platform="feishu", code=code)
        if code in _SCOPE:
            scopes = _scopes(body)
            return MissingPermission(
                f"feishu: the app lacks one of the scopes {', '.join(scopes) or '(none named)'}{tail}; "
                "grant it in the console and publish a version",
                platform="feishu",
                code=code,
                scopes=scopes,
                console_url=self.console(f"auth?q={quote(','.join(scopes), safe=',:')}"),
            )
        if code in _FORBIDDEN:
            reason, page = _FORBIDDEN[code]
            return MissingPermission(
                f"feishu: {reason}{tail}", platform="feishu", code=code, console_url=self.console(page) if page else ""
            )
        if code in _AGAIN:
            return VendorUnavailable(f"feishu is sending this message already{tail}", platform="feishu", code=code)
        if code in _MEANS:
            kind, reason = _MEANS[code]
            return kind(f"feishu: {reason}{tail}", platform="feishu", code=code)
        if status >= 500:
            return VendorUnavailable(f"feishu answered {status}{tail}", platform="feishu", code=code or str(status))
        return SendError(f"feishu answered {status}{tail}; look the code up in its error list", platform="feishu", code=code)

    def console(self, page: str) -> str:
        """Address of the app's page in the developer console."""
        host = self.base if self.base.startswith("https://open.") else FEISHU
        return f"{host}/app/{self.app_id}/{page}"


def _api(path: str) -> str:
    """What Feishu counts together: the path without the ids in it."""
    return "/".join(part if re.fullmatch(r"[a-z_]*|v\d+", part, re.ASCII) else ":id" for part in path.split("/"))


def _pause(headers: Mapping[str, str]) -> float:
    """Seconds until the limit ends."""
    try:
        return max(0.0, float(headers["x-ogw-ratelimit-reset"]))
    except (KeyError, ValueError):
        return retry_after(headers)


def _scopes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The scopes of which one would do, from the machine-readable part or else from the text."""
    error = body.get("error")
    violations = error.get("permission_violations") if isinstance(error, Mapping) else None
    named = [str(v["subject"]) for v in violations or () if isinstance(v, Mapping) and v.get("subject")]
    if not named and (found := re.search(r"\[([^\[\]]+)\]", str(body.get("msg", "")))):
        named = [part.strip() for part in found[1].split(",")]
    return tuple(dict.fromkeys(n for n in named if n))
