"""Where people's tokens come from. A further vendor is one class and one line in `PROVIDERS`; any OpenID Connect provider needs
only a secret.

Configuration: secret `oauth-{provider}` with `client_id`, `client_secret`, `scopes` (separated by spaces), `title`; what it does
not name comes from the platform's own secret, so that a platform that works needs nothing more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

import httpx

from assistant.errors import InvalidSetting, Unavailable
from assistant.oauth.vault import Account, Refused, Tokens
from assistant.secrets import Secrets

TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)

SKEW: Final = 120
"""Seconds by which a provider's clock may differ from ours."""

MOST_BYTES: Final = 1_000_000


class Denied(Exception):
    """The provider refused the code or what was asked; `reason` is its own word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def call(name: str, method: str, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
    """Status and decoded JSON. Raises Unavailable for no answer, 429, 5xx, or an answer that is no JSON object."""
    try:
        with httpx.Client(timeout=TIMEOUT, verify=_tls(), follow_redirects=False) as client:
            answer = client.request(method, url, **request)
    except httpx.HTTPError as error:
        raise Unavailable(f"{name} does not answer: {type(error).__name__}") from error
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Unavailable(f"{name} answered {answer.status_code}")
    if len(answer.content) > MOST_BYTES:
        raise Unavailable(f"{name} answered {len(answer.content)} bytes")
    try:
        data = answer.json()
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Unavailable(f"{name} answered {answer.status_code} without a JSON object; check its address in the configuration")
    return answer.status_code, data


class Provider(ABC):
    """One place that people can allow access at. `config` are the merged fields of the secrets."""

    name: str
    title: str = ""
    """As people know it."""
    platform: ClassVar[str] = ""
    """The chat platform whose own people it knows; their accounts must match."""
    needs: ClassVar[tuple[str, ...]] = ("client_id", "client_secret")
    default_scopes: ClassVar[tuple[str, ...]] = ()
    pkce: bool = True
    identity_only: ClassVar[bool] = False
    code_field: ClassVar[str] = "code"
    GONE: ClassVar[frozenset[str]] = frozenset()
    """The provider's words for a grant that is over. Whatever else it says about a refresh is ours to mend, and ends no grant."""

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.config = config
        self.clock = clock
        self.title = config.get("title") or self.title or name
        for field in self.needs:
            if not config.get(field):
                raise InvalidSetting(f"authorisation at {name} lacks {field!r}; store it in the secret oauth-{name}")

    @property
    def scopes(self) -> tuple[str, ...]:
        """What is asked for in any case."""
        return tuple(self.config.get("scopes", "").split()) or self.default_scopes

    @abstractmethod
    def address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str, nonce: str) -> str:
        """Where the browser is sent. Raises Unavailable where that has to be asked for and nobody answers."""

    def address_inside(self, **asked: Any) -> str:
        """The same for a browser that is part of the vendor's own chat client."""
        return self.address(**asked)

    @abstractmethod
    def exchange(self, code: str, *, redirect: str, verifier: str, nonce: str) -> Tokens:
        """The tokens for a code. Raises Denied where it is not accepted, Unavailable where nobody answers."""

    def refresh(self, refresh: str) -> Tokens:
        """New tokens for a refresh token. Raises Refused where the grant is gone, Unavailable where nobody answers."""
        raise Refused(f"{self.name} gives no refresh tokens")

    def check(self) -> None:
        """Looks whether the provider can be asked at all. Raises Unavailable with the reason."""

    @abstractmethod
    def account(self, tokens: Tokens) -> Account:
        """Whose tokens they are. Raises Unavailable."""

    def revoke(self, tokens: Tokens) -> bool:
        """Tells the provider that the grant is over; False where it has no call for that. Raises Unavailable."""
        return False

    def _over(self, error: Denied) -> Exception:
        """What a refusal to refresh means: Refused where the grant is gone, else Unavailable."""
        if error.reason in self.GONE:
            return Refused(f"{self.name}: {error.reason}")
        return Unavailable(
            f"{self.name} refreshes nothing ({error.reason[:80]}); check the secret oauth-{self.name} and the app there"
        )

    def _redirect(self, base: str, **query: str) -> str:
        return f"{base}{'&' if '?' in base else '?'}{urlencode({k: v for k, v in query.items() if v})}"


def s256(verifier: str) -> str:
    """The PKCE challenge of a verifier (RFC 7636, method S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    try:
        return max(0, int(value or 0))
    except (TypeError, ValueError, OverflowError):  # Infinity is JSON to Python
        return 0


def _words(value: object, separator: str | None = None) -> tuple[str, ...] | None:
    return tuple(v.strip() for v in value.split(separator) if v.strip()) if isinstance(value, str) and value else None


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


class Feishu(Provider):
    """Feishu and Lark. Source: open.feishu.cn/document/authentication-management/access-token/get-user-access-token."""

    title = "Feishu"
    platform = "feishu"
    default_scopes = ("offline_access", "auth:user.id:read")

    GONE = frozenset({"20024", "20026", "20037", "20064", "20073", "invalid_grant"})
    TRANSIENT = frozenset({20050})
    """Codes after which the vendor asks for another try."""

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        merged = {"client_id": config.get("app_id", ""), "client_secret": config.get("app_secret", "")} | dict(config)
        super().__init__(name, merged, clock=clock)
        api = (config.get("api_base") or "https://open.feishu.cn").rstrip("/")
        lark = api == "https://open.larksuite.com"
        own = "" if lark or api == "https://open.feishu.cn" else api
        self._api = api
        self._accounts = own or f"https://accounts.{'larksuite.com' if lark else 'feishu.cn'}"
        v2 = f"{api}/open-apis/authen/v2/oauth/token"
        self._token = config.get("token_url") or (v2 if lark else f"{self._accounts}/oauth/v3/token")
        if lark and not config.get("title"):
            self.title = "Lark"

    def address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str, nonce: str) -> str:
        """The authorisation page; `offline_access` is always asked for, as there is no refresh token without it."""
        return self._redirect(
            f"{self._accounts}/open-apis/authen/v1/authorize",
            client_id=self.config["client_id"],
            redirect_uri=redirect,
            response_type="code",
            scope=" ".join(dict.fromkeys(["offline_access", *scopes])),
            state=state,
            code_challenge=challenge,
            code_challenge_method="S256",
        )

    def exchange(self, code: str, *, redirect: str, verifier: str, nonce: str) -> Tokens:
        """The code, once."""
        return self._ask({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier})

    def refresh(self, refresh: str) -> Tokens:
        """A new pair; the old refresh token is dead from then on."""
        try:
            return self._ask({"grant_type": "refresh_token", "refresh_token": refresh})
        except Denied as error:
            raise self._over(error) from error

    def _ask(self, request: Mapping[str, str]) -> Tokens:
        secret = {"client_id": self.config["client_id"], "client_secret": self.config["client_secret"]}
        _, data = call(self.name, "POST", self._token, json={**request, **secret})
        if code := data.get("code"):
            if code in self.TRANSIENT:
                raise Unavailable(f"{self.name} asks for another try ({code})")
            raise Denied(str(code))
        if not _text(data, "access_token"):
            raise Denied(_text(data, "error") or "no token in the answer")
        return Tokens(
            access=data["access_token"],
            refresh=_text(data, "refresh_token"),
            lives=_number(data, "expires_in"),
            refresh_lives=_number(data, "refresh_token_expires_in"),
            scopes=_words(data.get("scope")),
        )

    def account(self, tokens: Tokens) -> Account:
        """The person's open_id, union_id and user_id."""
        _, data = call(
            self.name,
            "GET",
            f"{self._api}/open-apis/authen/v1/user_info",
            headers={"authorization": f"Bearer {tokens.access}"},
        )
        found = data.get("data")
        if data.get("code") or not isinstance(found, dict):
            raise Unavailable(f"{self.name} does not say who signed in ({data.get('code')})")
        ids = tuple(filter(None, (_text(found, n) for n in ("open_id", "union_id", "user_id"))))
        return Account(id=_text(found, "open_id"), name=_text(found, "name"), ids=ids)


class DingTalk(Provider):
    """DingTalk: the code comes back as `authCode`. Source: open.dingtalk.com/document/orgapp/obtain-identity-credentials."""

    title = "DingTalk"
    platform = "dingtalk"
    GONE = frozenset({"invalidRefreshToken", "invalidParameter.refreshToken", "invalidParameter.refreshToken.notFound"})
    default_scopes = ("openid", "corpid")
    pkce = False
    code_field = "authCode"

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        merged = {"client_id": config.get("app_key", ""), "client_secret": config.get("app_secret", "")} | dict(config)
        super().__init__(name, merged, clock=clock)
        own = config.get("api_base", "").rstrip("/")
        self._login = own or "https://login.dingtalk.com"
        self._api = own or "https://api.dingtalk.com"
        self._old = own or "https://oapi.dingtalk.com"

    def address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str, nonce: str) -> str:
        """The sign-in page."""
        return self._redirect(
            f"{self._login}/oauth2/auth",
            client_id=self.config["client_id"],
            redirect_uri=redirect,
            response_type="code",
            scope=" ".join(s for s in scopes if s in self.default_scopes) or "openid corpid",
            state=state,
            prompt="consent",
        )

    def exchange(self, code: str, *, redirect: str, verifier: str, nonce: str) -> Tokens:
        """The code, once. DingTalk's rights belong to the app and not to the token, so all that was asked counts as granted."""
        return self._ask({"code": code, "grantType": "authorization_code"})

    def refresh(self, refresh: str) -> Tokens:
        """New tokens; the refresh token returned last is the one to keep."""
        try:
            return self._ask({"refreshToken": refresh, "grantType": "refresh_token"})
        except Denied as error:
            raise self._over(error) from error

    def _ask(self, request: Mapping[str, str]) -> Tokens:
        secret = {"clientId": self.config["client_id"], "clientSecret": self.config["client_secret"]}
        status, data = call(self.name, "POST", f"{self._api}/v1.0/oauth2/userAccessToken", json={**request, **secret})
        if status >= 400 or not _text(data, "accessToken"):
            raise Denied(_text(data, "code") or str(status))
        return Tokens(
            access=data["accessToken"],
            refresh=_text(data, "refreshToken"),
            lives=_number(data, "expireIn"),
            refresh_lives=30 * 86400,
        )

    def account(self, tokens: Tokens) -> Account:
        """The person's union id and open id, and the staff id that the chat knows them by."""
        status, data = call(
            self.name,
            "GET",
            f"{self._api}/v1.0/contact/users/me",
            headers={"x-acs-dingtalk-access-token": tokens.access},
        )
        union = _text(data, "unionId")
        if status >= 400 or not union:
            raise Unavailable(f"{self.name} does not say who signed in; the app needs Contact.User.Read")
        ids = (union, _text(data, "openId"), self._staff(union))
        return Account(id=union, name=_text(data, "nick"), ids=tuple(filter(None, ids)))

    def _staff(self, union: str) -> str:
        """Source: open.dingtalk.com/document/orgapp/query-a-user-by-the-union-id."""
        secret = {"appKey": self.config["client_id"], "appSecret": self.config["client_secret"]}
        _, app = call(self.name, "POST", f"{self._api}/v1.0/oauth2/accessToken", json=secret)
        query = {"access_token": _text(app, "accessToken")}
        _, data = call(self.name, "POST", f"{self._old}/topapi/user/getbyunionid", params=query, json={"unionid": union})
        found = data.get("result")
        return _text(found, "userid") if isinstance(found, dict) else ""


class Slack(Provider):
    """Slack's user tokens, with and without rotation. Source: docs.slack.dev/authentication/installing-with-oauth.

    PKCE makes a Slack app public for good, so it is used only where the secret says `"pkce": "true"`.
    """

    title = "Slack"
    platform = "slack"
    GONE = frozenset({"invalid_refresh_token", "token_revoked", "token_expired", "account_inactive", "user_removed_from_team"})
    default_scopes = ("users:read",)

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name, config, clock=clock)
        self._base = (config.get("api_base") or "https://slack.com").rstrip("/").removesuffix("/api")
        self.pkce = config.get("pkce", "").lower() == "true"

    def address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str, nonce: str) -> str:
        """The authorisation page, for the person's rights alone: the bot's own were granted at its installation."""
        return self._redirect(
            f"{self._base}/oauth/v2/authorize",
            client_id=self.config["client_id"],
            user_scope=",".join(scopes),
            redirect_uri=redirect,
            state=state,
            team=self.config.get("team_id", ""),
            code_challenge=challenge,
            code_challenge_method="S256" if challenge else "",
        )

    def exchange(self, code: str, *, redirect: str, verifier: str, nonce: str) -> Tokens:
        """The code, once."""
        request = {"code": code, "redirect_uri": redirect} | ({"code_verifier": verifier} if verifier else {})
        data = self._ask(request)
        user = data.get("authed_user")
        if not isinstance(user, dict) or not _text(user, "access_token"):
            raise Denied("no_user_token")
        return self._tokens(user)

    def refresh(self, refresh: str) -> Tokens:
        """A new pair; the old refresh token is dead from then on."""
        try:
            return self._tokens(self._ask({"grant_type": "refresh_token", "refresh_token": refresh}))
        except Denied as error:
            raise self._over(error) from error

    def _tokens(self, data: Mapping[str, Any]) -> Tokens:
        return Tokens(
            access=_text(data, "access_token"),
            refresh=_text(data, "refresh_token"),
            lives=_number(data, "expires_in"),
            scopes=_words(data.get("scope"), ","),
        )

    def _ask(self, request: Mapping[str, str]) -> dict[str, Any]:
        auth = (self.config["client_id"], self.config["client_secret"])
        _, data = call(self.name, "POST", f"{self._base}/api/oauth.v2.access", data=request, auth=auth)
        return self._good(data)

    def _good(self, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("ok") is not True:
            reason = _text(data, "error") or "not_ok"
            if reason in ("internal_error", "fatal_error", "service_unavailable", "ratelimited", "request_timeout"):
                raise Unavailable(f"{self.name} answered {reason}")
            raise Denied(reason)
        return data

    def account(self, tokens: Tokens) -> Account:
        """The member's id."""
        _, data = call(self.name, "POST", f"{self._base}/api/auth.test", headers={"authorization": f"Bearer {tokens.access}"})
        try:
            data = self._good(data)
        except Denied as error:
            raise Unavailable(f"{self.name} does not say who signed in ({error.reason})") from error
        return Account(id=_text(data, "user_id"), name=_text(data, "user"), ids=(_text(data, "user_id"),))

    # --- the bot's own installation in a workspace ---

    def install_address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str = "") -> str:
        """The page on which somebody installs the app, with its bot, in a workspace of their choice."""
        return self._redirect(
            f"{self._base}/oauth/v2/authorize",
            client_id=self.config["client_id"],
            scope=",".join(scopes),
            redirect_uri=redirect,
            state=state,
            code_challenge=challenge,
            code_challenge_method="S256" if challenge else "",
        )

    def install(self, code: str, *, redirect: str, verifier: str = "") -> dict[str, Any]:
        """Slack's whole answer to an installation's code, the bot's token in it. Raises Denied, Unavailable."""
        return self._ask({"code": code, "redirect_uri": redirect} | ({"code_verifier": verifier} if verifier else {}))

    def bot(self, token: str) -> dict[str, Any]:
        """Whose `token` it is: `team_id`, `user_id`, `bot_id`. Raises Denied, Unavailable."""
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json; charset=utf-8"}
        _, data = call(self.name, "POST", f"{self._base}/api/auth.test", headers=headers, content=b"{}")
        return self._good(data)

    def revoke(self, tokens: Tokens) -> bool:
        """Ends the token at Slack; one that is dead already is as good."""
        _, data = call(self.name, "POST", f"{self._base}/api/auth.revoke", headers={"authorization": f"Bearer {tokens.access}"})
        return data.get("ok") is True or data.get("error") in ("token_revoked", "invalid_auth", "token_expired")


class WeCom(Provider):
    """WeCom's sign-in: proves who somebody is, and gives no token. Source: developer.work.weixin.qq.com/document/path/91022."""

    title = "WeCom"
    platform = "wecom"
    needs = ("corp_id", "agent_id", "secret")
    default_scopes = ("snsapi_base",)
    pkce = False
    identity_only = True

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name, config, clock=clock)
        own = config.get("api_base", "").rstrip("/")
        self._api = own or "https://qyapi.weixin.qq.com"
        self._login = config.get("login_base", "").rstrip("/") or own or "https://login.work.weixin.qq.com"

    def address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str, nonce: str) -> str:
        """The page for a browser, where the client scans it or passes it on."""
        return self._redirect(
            f"{self._login}/wwlogin/sso/login",
            login_type="CorpApp",
            appid=self.config["corp_id"],
            agentid=self.config["agent_id"],
            redirect_uri=redirect,
            state=state,
        )

    def address_inside(self, **asked: Any) -> str:
        """The page inside the client, which knows who is using it."""
        base = self.config.get("connect_base", "").rstrip("/") or "https://open.weixin.qq.com"
        page = self._redirect(
            f"{base}/connect/oauth2/authorize",
            appid=self.config["corp_id"],
            redirect_uri=str(asked["redirect"]),
            response_type="code",
            scope="snsapi_base",
            state=str(asked["state"]),
            agentid=self.config["agent_id"],
        )
        return f"{page}#wechat_redirect"

    def exchange(self, code: str, *, redirect: str, verifier: str, nonce: str) -> Tokens:
        """Who the code belongs to, as claims."""
        query = {"corpid": self.config["corp_id"], "corpsecret": self.config["secret"]}
        _, app = call(self.name, "GET", f"{self._api}/cgi-bin/gettoken", params=query)
        if not (token := _text(app, "access_token")):
            raise Unavailable(f"{self.name} gives no token for the app ({app.get('errcode')})")
        _, data = call(self.name, "GET", f"{self._api}/cgi-bin/auth/getuserinfo", params={"access_token": token, "code": code})
        if data.get("errcode"):
            raise Denied(str(data["errcode"]))
        user = _text(data, "userid") or _text(data, "UserId")
        if not user:
            raise Denied("not_a_member")
        return Tokens(claims={"userid": user})

    def account(self, tokens: Tokens) -> Account:
        """The member's user id."""
        user = str(tokens.claims.get("userid", ""))
        return Account(id=user, name=user, ids=(user,))


class OpenId(Provider):
    """Any OpenID Connect provider, by discovery: secret `oauth-{name}` holds `issuer`, `client_id`, `client_secret`.

    Source: openid.net/specs/openid-connect-discovery-1_0.html and openid-connect-core-1_0.html.
    """

    needs = ("issuer", "client_id", "client_secret")
    default_scopes = ("openid", "profile", "email", "offline_access")

    ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
    """Signed with the provider's private key; never `none`, never with a secret that we hold as well."""

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name, config, clock=clock)
        self._issuer = config["issuer"].rstrip("/")
        self._known: tuple[dict[str, Any], float] | None = None
        self._keys: tuple[dict[str, Any], float] | None = None
        self._lock = threading.Lock()

    GONE = frozenset({"invalid_grant", "interaction_required", "login_required", "consent_required"})

    def check(self) -> None:
        """Looks at what the provider publishes."""
        for endpoint in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            self._endpoint(endpoint)

    def _discovered(self) -> dict[str, Any]:
        with self._lock:
            if self._known and self._known[1] > self.clock():
                return self._known[0]
            status, data = call(self.name, "GET", f"{self._issuer}/.well-known/openid-configuration")
            if status >= 400:
                raise Unavailable(f"{self.name} has no openid-configuration at its issuer ({status}); check the issuer")
            if not self._is_issuer(_text(data, "issuer")):
                raise Unavailable(f"{self.name} names itself {_text(data, 'issuer')!r}; the configured issuer differs")
            self._known = data, self.clock() + 3600
            return data

    def _is_issuer(self, issuer: str) -> bool:
        return issuer.rstrip("/") == self._issuer

    def _endpoint(self, name: str) -> str:
        found = _text(self._discovered(), name)
        if not found:
            raise Unavailable(f"{self.name} publishes no {name}")
        return found

    def address(self, *, redirect: str, state: str, scopes: Sequence[str], challenge: str, nonce: str) -> str:
        """The authorisation page that the provider publishes."""
        return self._redirect(
            self._endpoint("authorization_endpoint"),
            client_id=self.config["client_id"],
            redirect_uri=redirect,
            response_type="code",
            response_mode="query",
            scope=" ".join(dict.fromkeys(["openid", *scopes])),
            state=state,
            nonce=nonce,
            code_challenge=challenge,
            code_challenge_method="S256",
        )

    def exchange(self, code: str, *, redirect: str, verifier: str, nonce: str) -> Tokens:
        """The code, once; the id token that comes with it is checked."""
        request = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        data = self._ask(request)
        claims = self._claims(_text(data, "id_token"), nonce)
        return self._tokens(data, claims)

    def refresh(self, refresh: str) -> Tokens:
        """New tokens; the provider may or may not replace the refresh token."""
        try:
            return self._tokens(self._ask({"grant_type": "refresh_token", "refresh_token": refresh}), {})
        except Denied as error:
            raise self._over(error) from error

    def _tokens(self, data: Mapping[str, Any], claims: Mapping[str, Any]) -> Tokens:
        return Tokens(
            access=_text(data, "access_token"),
            refresh=_text(data, "refresh_token"),
            lives=_number(data, "expires_in"),
            refresh_lives=_number(data, "refresh_expires_in"),
            scopes=self._granted(data),
            claims=claims,
        )

    def _granted(self, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        return _words(data.get("scope"))

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        methods = self._discovered().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        more: dict[str, Any] = {}
        if "client_secret_basic" in methods:
            more["auth"] = (self.config["client_id"], self.config["client_secret"])
        else:
            request = {**request, "client_id": self.config["client_id"], "client_secret": self.config["client_secret"]}
        status, data = call(
            self.name,
            "POST",
            self._endpoint("token_endpoint"),
            data={k: v for k, v in request.items() if v},
            headers={"accept": "application/json"},
            **more,
        )
        if error := _text(data, "error"):
            if error in ("temporarily_unavailable", "server_error", "slow_down"):
                raise Unavailable(f"{self.name} answered {error}")
            if error in ("invalid_client", "unauthorized_client"):  # our own mistake: no reason to forget anybody's grant
                raise Unavailable(f"{self.name} does not accept client_id and client_secret; check the secret oauth-{self.name}")
            raise Denied(error)
        if status >= 400 or not _text(data, "access_token"):
            raise Denied(str(status))
        return data

    def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """The id token's claims. Raises Denied for one that is not signed by the provider, for us, now and for this request."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self.ALGORITHMS:
                raise Denied("id_token_algorithm")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(str(header.get("kid", ""))),
                algorithms=list(self.ALGORITHMS),
                audience=self.config["client_id"],
                options={
                    "require": ["exp", "iat", "iss", "sub", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            json.dumps(claims, ensure_ascii=False).encode()  # half a character, which JSON can spell, can be kept nowhere
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Denied(f"id_token: {type(error).__name__}") from error
        now = self.clock()
        if not (_number(claims, "exp") + SKEW > now and _number(claims, "iat") - SKEW < now):
            raise Denied("id_token_time")
        if not self._is_issuer(str(claims["iss"])):
            raise Denied("id_token_issuer")
        if claims.get("nonce") != nonce:
            raise Denied("id_token_nonce")
        return claims

    def _key(self, kid: str) -> Any:
        import jwt

        for fresh in (False, True):  # a key that is not known yet may have been published meanwhile
            keys = self._published(fresh=fresh)
            for key in keys.get("keys", ()):
                if isinstance(key, dict) and key.get("use", "sig") == "sig" and (not kid or key.get("kid") == kid):
                    return jwt.PyJWK.from_dict(key)
        raise Denied("id_token_key")

    def _published(self, *, fresh: bool) -> dict[str, Any]:
        if self._keys and not fresh and self._keys[1] > self.clock():
            return self._keys[0]
        _, data = call(self.name, "GET", self._endpoint("jwks_uri"))
        self._keys = data, self.clock() + 3600
        return data

    def account(self, tokens: Tokens) -> Account:
        """Who the id token names."""
        claims = tokens.claims
        name = str(claims.get("name") or claims.get("preferred_username") or claims.get("email") or "")
        return Account(id=str(claims.get("sub", "")), name=name, ids=(str(claims.get("sub", "")),))

    def revoke(self, tokens: Tokens) -> bool:
        """Ends the grant where the provider publishes a way to (RFC 7009)."""
        where = _text(self._discovered(), "revocation_endpoint")
        if not where:
            return False
        hint = "refresh_token" if tokens.refresh else "access_token"
        try:
            with httpx.Client(timeout=TIMEOUT, verify=_tls(), follow_redirects=False) as client:
                answer = client.post(
                    where,
                    data={"token": tokens.refresh or tokens.access, "token_type_hint": hint},
                    auth=(self.config["client_id"], self.config["client_secret"]),
                )
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.name} does not answer: {type(error).__name__}") from error
        return answer.is_success


class Microsoft(OpenId):
    """Microsoft Entra. Source: learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow."""

    title = "Microsoft 365"
    platform = "teams"
    default_scopes = ("openid", "profile", "offline_access", "User.Read")

    NOT_IN_ANSWER = frozenset({"openid", "profile", "email", "offline_access"})
    """Scopes that Entra grants without naming them in its answer."""

    def __init__(self, name: str, config: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        tenant = config.get("tenant_id") or "organizations"
        own = config.get("login_base") or config.get("api_base") or "https://login.microsoftonline.com"
        defaults = {"client_id": config.get("app_id", ""), "client_secret": config.get("app_password", "")}
        super().__init__(name, defaults | {"issuer": f"{own.rstrip('/')}/{tenant}/v2.0"} | dict(config), clock=clock)
        self._tenant = tenant

    def _is_issuer(self, issuer: str) -> bool:
        """Of a shared endpoint (`organizations`, `common`) the issuer names the person's own tenant."""
        if self._tenant not in ("organizations", "common"):
            return super()._is_issuer(issuer)
        head, _, tail = self._issuer.partition(f"/{self._tenant}/")
        return issuer.startswith(f"{head}/") and issuer.endswith(f"/{tail}")

    def _granted(self, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        given = super()._granted(data)
        short = None if given is None else tuple(s.removeprefix("https://graph.microsoft.com/") for s in given)
        return None if short is None else tuple(dict.fromkeys([*sorted(self.NOT_IN_ANSWER), *short]))

    def account(self, tokens: Tokens) -> Account:
        """The person's object id, which Teams sends along with every message."""
        known = super().account(tokens)
        oid = str(tokens.claims.get("oid", ""))
        return Account(id=oid or known.id, name=known.name, ids=tuple(filter(None, (oid, known.id))))


PROVIDERS: Final[Mapping[str, tuple[type[Provider], str]]] = {
    "feishu": (Feishu, "feishu"),
    "dingtalk": (DingTalk, "dingtalk"),
    "slack": (Slack, "slack"),
    "microsoft": (Microsoft, "teams"),
    "wecom": (WeCom, "wecom"),
}
"""Name in the route → the class, and the platform whose secret holds what `oauth-{name}` does not."""


class Providers:
    """The configured providers, made on first use and again when their secrets change."""

    def __init__(self, secrets: Secrets, *, clock: Callable[[], float] = time.time) -> None:
        self._secrets = secrets
        self._clock = clock
        self._made: dict[str, tuple[str, Provider]] = {}

    def get(self, name: str) -> Provider:
        """The provider called `name`. Raises InvalidSetting for one that is not configured, Unavailable."""
        if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 40:
            raise InvalidSetting(f"no provider {name[:40]!r}; letters, digits, - and _ are wanted")
        made, base = PROVIDERS.get(name, (OpenId, ""))
        own = self._secrets.get(f"oauth-{name}")
        config = {**(self._secrets.get(base) if base else {}), **own}
        config.pop("not_configured", None)
        if not config:
            known = ", ".join(sorted(PROVIDERS))
            raise InvalidSetting(f"no provider {name!r} is configured; store the secret oauth-{name}, or use one of {known}")
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        if self._made.get(name, ("", None))[0] != digest:
            self._made[name] = digest, made(name, config, clock=self._clock)
        return self._made[name][1]

    def configured(self) -> list[Provider]:
        """The known providers that can be used."""
        found = []
        for name in PROVIDERS:
            try:
                found.append(self.get(name))
            except InvalidSetting:
                continue
        return found
