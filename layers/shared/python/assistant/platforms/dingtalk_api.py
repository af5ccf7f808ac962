"""DingTalk's API as calls that return data or raise what the house knows: tokens, repeats, and what each code means.

Sources: open.dingtalk.com/document/development/obtain-the-access-token-of-an-internal-app · …/server-api-error-codes-1 ·
…/the-robot-sends-a-group-message · …/chatbots-send-one-on-one-chat-messages-in-batches · …/create-and-deliver-cards ·
…/api-streamingupdate
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from assistant.errors import (
    ContentRefused,
    MissingPermission,
    NotInChat,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.platforms.outbound import (
    Leaving,
    Line,
    Pace,
    Rate,
    TokenExpired,
    call,
    new_token,
    plainly,
    retry_after,
    with_retries,
    with_token,
)

if TYPE_CHECKING:
    import httpx

    from assistant.cache import Cache

NEW: Final = "https://api.dingtalk.com"
OLD: Final = "https://oapi.dingtalk.com"

_EARLY: Final = 300.0
"""Seconds before its end at which a token is renewed."""


Budget = Mapping[str, Sequence[Rate]]
"""Names under which a call counts, and how many the vendor takes of each."""

_ALL: Final[Budget] = {"calls": (Rate(10_000, 20.0),)}
"""What DingTalk takes from one address before it bans the address for five minutes."""


def of_chat(conversation: str) -> Budget:
    """A robot's message counts for its conversation; one too many stops the robot there for ten minutes."""
    return {f"conversation {conversation}": (Rate(20, 60.0),)}


_RATE: Final = frozenset(
    {
        "forbidden.accessdenied.qpslimitforapi", "forbidden.accessdenied.qpslimitforappkeyandapi",
        "forbidden.accessdenied.qpmlimitforappkeyandapi", "send.too.fast", "too.many.group", "system.busy",
        "88", "90002", "143104",
    }
)  # fmt: skip
_EXPIRED: Final = frozenset({"invalidauthentication", "40014", "42001"})
_BAD_APP: Final = frozenset({"invalidclientidorsecret", "40089", "invalidclientid", "invalidclientsecret"})
_SCOPE: Final = frozenset({"forbidden.accessdenied.accesstokenpermissiondenied", "60011"})
_ADDRESS: Final = frozenset({"forbidden.accessdenied.ipnotinwhitelist", "60020"})
_PENALTY: Final = {"130101": 600.0, "1111": 300.0}
"""Codes that say: nothing for a while, in seconds."""

_MEANS: Final[Mapping[str, tuple[type[SendError], str]]] = {
    "resource.not.found": (NotInChat, "the robot or the conversation is not there"),
    "invalidparameter.robotcode.empty": (NotInChat, "the robot is not in the group"),
    "chatbotnotinstall": (NotInChat, "the robot is not installed in the group"),
    "bot.stopped": (NotInChat, "the robot is stopped"),
    "bot.forbidden.sendmessage": (NotInChat, "the robot may not write here"),
    "chatbotid.notallow.sendoto": (NotInChat, "the robot may not write to people one to one"),
    "invalid.openconversationid": (NotInChat, "the conversation is unknown"),
    "group.disbanded": (NotInChat, "the group was dissolved"),
    "invalidparameter.msgkey.invalid": (UnsupportedType, "the message type is unknown"),
    "invalidparameter.msg.unsupport": (UnsupportedType, "the message type is not taken here"),
    "invalidparameter.msgparam.toolong": (ContentRefused, "the message is too long"),
    "contain.notallowed.content": (ContentRefused, "the content is not allowed"),
}


class DingTalkApi:
    """The calls of one app, as fast as `pace` lets them through."""

    def __init__(self, secrets: Mapping[str, str], *, cache: Cache, pace: Pace) -> None:
        self._secrets = secrets
        self._cache = cache
        self._pace = pace
        base = secrets.get("api_base", "").rstrip("/")
        self.new, self.old = base or NEW, base or OLD
        self._moved = bool(base)
        self.app_key = secrets.get("app_key", "")

    # --- calls ---

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        repeat: bool,
        within: Budget | None = None,
        leaving: Leaving = plainly,
    ) -> Mapping[str, Any]:
        """The JSON of a call of the new API. `repeat`: a repeat does no harm, so that one is made when no answer came;
        otherwise a connection of its own makes sure that no answer means that DingTalk had the request. `within`: what it
        counts for, apart from our address."""

        def act() -> Mapping[str, Any]:
            headers = {"x-acs-dingtalk-access-token": self.token()}
            url = f"{self.new}{path}"
            with nullcontext() if repeat else Line("dingtalk", url) as line:
                return leaving(lambda: self.checked(call("dingtalk", method, url, through=line, json=body, headers=headers)))

        return self._made(act, repeat=repeat, within=within or {f"{method} {path}": ()})

    def reply(self, session_webhook: str, body: Mapping[str, Any], *, within: Budget, leaving: Leaving = plainly) -> None:
        """Answers in place by the address that came with the message. Not repeatable."""
        url = self.trusted(session_webhook)

        def act() -> Mapping[str, Any]:
            with Line("dingtalk", url) as line:
                return leaving(lambda: self.checked(call("dingtalk", "POST", url, through=line, json=body)))

        self._made(act, repeat=False, within=within)

    def upload(self, kind: str, file: tuple[str, bytes, str]) -> str:
        """The media id of an uploaded file; an upload shows nothing to anybody and may be repeated."""

        def put() -> Mapping[str, Any]:
            query = {"access_token": self.token(), "type": kind}
            return self.checked(call("dingtalk", "POST", f"{self.old}/media/upload", params=query, files={"media": file}))

        return str(self._made(put, repeat=True, within={"uploads": ()}).get("media_id", ""))

    def get_old(self, path: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """The JSON and the headers of a GET of the old API."""
        response = call("dingtalk", "GET", f"{self.old}{path}", params={"access_token": self.token()})
        return self.checked(response), response.headers

    def post_old(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The JSON of a question to the old API that changes nothing and may be repeated."""

        def ask() -> Mapping[str, Any]:
            return self.checked(call("dingtalk", "POST", f"{self.old}{path}", params={"access_token": self.token()}, json=body))

        return self._made(ask, repeat=True, within={f"POST {path}": ()})

    def trusted(self, session_webhook: str) -> str:
        """The address to answer to; raises SendError for one that is not DingTalk's.

        It stands in a body that no signature covers: anything else could send replies, or us, anywhere.
        """
        try:
            parts = urlsplit(session_webhook)
            port = parts.port
        except ValueError:
            raise SendError("dingtalk: the address for the reply is none", platform="dingtalk") from None
        if self._moved:
            return f"{self.old}{parts.path}{'?' + parts.query if parts.query else ''}"
        host = parts.hostname or ""
        if parts.scheme != "https" or host != "oapi.dingtalk.com" or port not in (None, 443) or parts.username:
            raise SendError(f"dingtalk: {host!r} is not where DingTalk takes replies", platform="dingtalk")
        return urlunsplit(parts._replace(fragment=""))

    def _made(self, act: Callable[[], Mapping[str, Any]], *, repeat: bool, within: Budget) -> Mapping[str, Any]:
        def once() -> Mapping[str, Any]:
            return with_token(act, forget=self._forget_token, check="app_key, app_secret and api_base")

        return with_retries(lambda: self._pace.call(once, {**within, **_ALL}), repeat=repeat, sleep=self._pace.sleep)

    # --- tokens ---

    @property
    def _token_key(self) -> str:
        return f"dingtalk:access_token:{self.new}:{self.app_key}"

    def _forget_token(self) -> None:
        self._cache.drop(self._token_key)

    def token(self) -> str:
        """The app's token, from the cache or new."""
        return self._cache.get(self._token_key, self._new_token)

    def _new_token(self) -> tuple[str, float]:
        body = {"appKey": self.app_key, "appSecret": self._secrets.get("app_secret", "")}
        if not all(body.values()):
            raise TokenDead("dingtalk: app_key or app_secret is not configured", platform="dingtalk")
        url = f"{self.new}/v1.0/oauth2/accessToken"
        return new_token(
            "dingtalk",
            lambda: self.checked(call("dingtalk", "POST", url, json=body)),
            field="accessToken",
            lives="expireIn",
            early=_EARLY,
        )

    # --- answers ---

    def checked(self, response: httpx.Response) -> Mapping[str, Any]:
        """The JSON of a good answer. Raises what the code means: a 403 is a limit or a missing permission, by its code."""
        status = response.status_code
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            if status == 429 or "<html" in response.text[:200].lower():
                # An address that calls too often gets a page instead of JSON, whatever the status.
                raise RateLimited("dingtalk bans our address for a while", platform="dingtalk", code="html", retry_after=300.0)
            if status >= 500:
                raise VendorUnavailable(f"dingtalk answered {status}", platform="dingtalk", code=str(status))
            if 200 <= status < 300 and not response.content:
                return {}
            raise SendError(
                f"dingtalk answered {status} without JSON to {response.request.url.path}; check api_base ({self.new})",
                platform="dingtalk",
                code=str(status),
            )
        code = _code(body)
        if 200 <= status < 300 and not code:
            return body
        raise self._error(code, status, body, response.headers)

    def _error(self, code: str, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> SendError:
        request = str(body.get("requestid") or body.get("request_id") or "")
        tail = f" (code {code}{f', request {request}' if request else ''})"
        known = code.lower()
        if known in _PENALTY:
            return RateLimited(f"dingtalk: too many calls{tail}", platform="dingtalk", code=code, retry_after=_PENALTY[known])
        if known in _RATE or status == 429:
            pause = retry_after(headers)
            return RateLimited(f"dingtalk: too many calls{tail}", platform="dingtalk", code=code, retry_after=pause)
        if known in _EXPIRED:
            return TokenExpired(f"dingtalk does not accept the token{tail}", platform="dingtalk", code=code)
        if known in _BAD_APP:
            reason = (
                f"dingtalk does not know app_key {self.app_key!r} with this app_secret{tail}; copy both from the console again"
            )
            return TokenDead(reason, platform="dingtalk", code=code)
        if known in _SCOPE:
            scopes = _scopes(body)
            return MissingPermission(
                f"dingtalk: the app lacks {', '.join(scopes) or 'a permission'}{tail}; apply for it in the console",
                platform="dingtalk",
                code=code,
                scopes=scopes,
                console_url=self.console(scopes[0] if scopes else ""),
            )
        if known in _ADDRESS:
            return MissingPermission(
                f"dingtalk: our address is not on the app's IP allow-list{tail}",
                platform="dingtalk",
                code=code,
                console_url=self.console(""),
            )
        if known in _MEANS:
            kind, reason = _MEANS[known]
            return kind(f"dingtalk: {reason}{tail}", platform="dingtalk", code=code)
        if status >= 500:
            return VendorUnavailable(f"dingtalk answered {status}{tail}", platform="dingtalk", code=code)
        return SendError(f"dingtalk answered {status}{tail}; look the code up in its error list", platform="dingtalk", code=code)

    def console(self, scope: str) -> str:
        """Address where an administrator grants `scope`; the list of apps where none is named."""
        if scope:
            return f"https://open-dev.dingtalk.com/appscope/apply?content={quote(f'{self.app_key}#{scope}', safe='')}"
        return "https://open-dev.dingtalk.com/fe/app"


def _code(body: Mapping[str, Any]) -> str:
    """The code of a failure in either API's words, "" for success."""
    if "errcode" in body:
        return "" if body["errcode"] in (0, "0") else str(body["errcode"])
    if body.get("status") == 1111:
        return "1111"
    code = body.get("code")
    return "" if code in (None, "", 0, "0", "OK") else str(code)


def _scopes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The permissions that are missing, from the machine-readable part; its name is written in two ways."""
    for name, detail in body.items():
        if name.lower() == "accessdenieddetail" and isinstance(detail, Mapping):
            return tuple(str(s) for s in detail.get("requiredScopes") or ())
    return ()
