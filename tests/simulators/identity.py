"""Places where people allow access: Feishu, DingTalk, Slack, Microsoft Entra, WeCom and a plain OpenID Connect provider.

As strict as they are: exact redirect URIs, client authentication, PKCE where the vendor checks it, codes that live minutes and
work once, refresh tokens that work once (or not, as the vendor has it), expiry, revocation, and each vendor's own wire format.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.simulators.base import Answer, BadCall, Call, Simulator, route

CLIENT = "client-1"
SECRET = "client-secret-1"

SINGLE_USE = frozenset({"feishu", "slack", "oidc"})
"""Vendors whose refresh tokens die with their use."""
PKCE = frozenset({"feishu", "microsoft", "oidc"})
CODE_SECONDS = {"feishu": 300, "wecom": 300}


@dataclass
class Code:
    vendor: str
    redirect: str
    challenge: str
    scopes: tuple[str, ...]
    ends: float
    nonce: str = ""
    used: bool = False


@dataclass
class Refresh:
    vendor: str
    scopes: tuple[str, ...]
    ends: float
    used: bool = False
    revoked: bool = False


@dataclass
class Access:
    vendor: str
    scopes: tuple[str, ...]
    ends: float
    revoked: bool = False


@dataclass(frozen=True)
class Somebody:
    """Who sits at the browser, under the ids of every vendor."""

    ids: dict[str, str] = field(
        default_factory=lambda: {
            "open_id": "ou_ann", "union_id": "on_ann", "dingtalk_union": "union-ann", "staff": "staff-ann", "slack": "U_ANN",
            "oid": "11111111-2222-3333-4444-555555555555", "wecom": "ann", "sub": "sub-ann",
        }
    )  # fmt: skip
    name: str = "Ann"


@functools.cache
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Identity(Simulator):
    """All of them at one address. `who` sits at the browser; `allows` is their answer; `grants` what they leave ticked."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self.redirects: set[str] = set()
        self.who = Somebody()
        self.allows = True
        self.grants: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda scopes: scopes
        self.lives = 7200
        self.codes: dict[str, Code] = {}
        self.access: dict[str, Access] = {}
        self.refreshes: dict[str, Refresh] = {}
        self.refreshed = 0
        self.revoked: list[str] = []
        self.slack_rotates = True
        self.skew = 0
        self.signed: Callable[[dict[str, Any]], str] = self.sign
        """A test may sign id tokens wrongly."""

    # --- what every vendor does ---

    def _authorise(self, vendor: str, call: Call, scopes: tuple[str, ...], *, client: str, field: str = "code") -> Answer:
        asked = call.query
        if client != CLIENT:
            return Answer(400, "unknown client")
        if asked.get("redirect_uri") not in self.redirects:
            return Answer(400, "the redirect URI is not registered")
        if len(asked.get("state", "")) < 16:
            return Answer(400, "no state")
        challenge = asked.get("code_challenge", "")
        if vendor in PKCE and (not challenge or asked.get("code_challenge_method") != "S256"):
            return Answer(400, "PKCE with S256 is required")
        if not self.allows:
            return self._back(asked, {"error": "access_denied", "state": asked["state"]})
        code = secrets.token_urlsafe(20)
        ends = self.clock() + CODE_SECONDS.get(vendor, 600)
        self.codes[code] = Code(vendor, asked["redirect_uri"], challenge, self.grants(scopes), ends, nonce=asked.get("nonce", ""))
        return self._back(asked, {field: code, "state": asked["state"]})

    def _back(self, asked: Any, query: dict[str, str]) -> Answer:
        return Answer(302, None, {"location": f"{asked['redirect_uri']}?{urlencode(query)}"})

    def _redeem(self, vendor: str, code: str, *, redirect: str | None, verifier: str, fault: Callable[[str], Answer]) -> Code:
        known = self.codes.get(code)
        if known is None or known.vendor != vendor:
            raise BadCall(fault("unknown"))
        if known.used:
            raise BadCall(fault("used"))
        known.used = True
        if known.ends < self.clock():
            raise BadCall(fault("expired"))
        if redirect is not None and redirect != known.redirect:
            raise BadCall(fault("redirect"))
        expected = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode() if verifier else ""
        if expected != known.challenge:
            raise BadCall(fault("pkce"))
        return known

    def _issue(self, vendor: str, scopes: tuple[str, ...], *, renews: bool = True) -> tuple[str, str]:
        access = f"{vendor}-access-{secrets.token_hex(16)}"
        self.access[access] = Access(vendor, scopes, self.clock() + self.lives)
        if not renews:
            return access, ""
        refresh = f"{vendor}-refresh-{secrets.token_hex(16)}"
        self.refreshes[refresh] = Refresh(vendor, scopes, self.clock() + 30 * 86400)
        return access, refresh

    def _renew(self, vendor: str, refresh: str, *, fault: Callable[[str], Answer]) -> tuple[str, str, tuple[str, ...]]:
        known = self.refreshes.get(refresh)
        if known is None or known.vendor != vendor:
            raise BadCall(fault("unknown"))
        if known.revoked:
            raise BadCall(fault("revoked"))
        if known.used:
            raise BadCall(fault("used"))
        if known.ends < self.clock():
            raise BadCall(fault("expired"))
        self.refreshed += 1
        if vendor in SINGLE_USE:
            known.used = True
        return (*self._issue(vendor, known.scopes), known.scopes)

    def holder(self, call: Call, header: str = "authorization") -> Access:
        """The live token that a call carries."""
        token = call.headers.get(header, "").removeprefix("Bearer ")
        known = self.access.get(token)
        if known is None or known.revoked or known.ends < self.clock():
            raise BadCall(Answer(401, {"code": 20005, "ok": False, "error": "invalid_auth", "msg": "the token is not valid"}))
        return known

    def end_everything(self) -> None:
        """Every grant is taken back, as a person can in the vendor's settings."""
        for refresh in self.refreshes.values():
            refresh.revoked = True
        for access in self.access.values():
            access.revoked = True

    # --- Feishu ---

    @route("GET", "/open-apis/authen/v1/authorize")
    def feishu_authorise(self, call: Call) -> Answer:
        return self._authorise("feishu", call, tuple(call.query.get("scope", "").split()), client=call.query.get("client_id", ""))

    @route("POST", "/oauth/v3/token")
    def feishu_token(self, call: Call) -> Answer:
        asked = call.json()
        if (asked.get("client_id"), asked.get("client_secret")) != (CLIENT, SECRET):
            return Answer(400, {"code": 20002, "error": "invalid_client"})
        numbers = {"unknown": 20003, "expired": 20004, "used": 20065, "redirect": 20071, "pkce": 20049}
        again = {"unknown": 20026, "expired": 20037, "revoked": 20064, "used": 20073}
        match asked.get("grant_type"):
            case "authorization_code":
                code = self._redeem(
                    "feishu",
                    asked.get("code", ""),
                    redirect=asked.get("redirect_uri"),
                    verifier=asked.get("code_verifier", ""),
                    fault=lambda why: Answer(400, {"code": numbers[why], "error": "invalid_grant"}),
                )
                scopes = code.scopes
                access, refresh = self._issue("feishu", scopes, renews="offline_access" in scopes)
            case "refresh_token":
                access, refresh, scopes = self._renew(
                    "feishu",
                    asked.get("refresh_token", ""),
                    fault=lambda why: Answer(400, {"code": again[why], "error": "invalid_grant"}),
                )
            case _:
                return Answer(400, {"code": 20036, "error": "unsupported_grant_type"})
        more = {"refresh_token": refresh, "refresh_token_expires_in": 604800} if refresh else {}
        return Answer(
            200,
            {
                "code": 0,
                "access_token": access,
                "expires_in": self.lives,
                "token_type": "Bearer",
                "scope": " ".join(scopes),
                **more,
            },
        )

    @route("GET", "/open-apis/authen/v1/user_info")
    def feishu_user(self, call: Call) -> Answer:
        self.holder(call)
        ids = self.who.ids
        return Answer(200, {"code": 0, "data": {"open_id": ids["open_id"], "union_id": ids["union_id"], "name": self.who.name}})

    # --- DingTalk ---

    @route("GET", "/oauth2/auth")
    def dingtalk_authorise(self, call: Call) -> Answer:
        if "openid" not in call.query.get("scope", "") or call.query.get("prompt") != "consent":
            return Answer(400, "scope must hold openid, prompt must be consent")
        scopes = tuple(call.query["scope"].split())
        return self._authorise("dingtalk", call, scopes, client=call.query.get("client_id", ""), field="authCode")

    @route("POST", "/v1.0/oauth2/userAccessToken")
    def dingtalk_token(self, call: Call) -> Answer:
        asked = call.json()
        if (asked.get("clientId"), asked.get("clientSecret")) != (CLIENT, SECRET):
            return Answer(400, {"code": "invalidClientIdOrSecret"})

        def fault(why: str) -> Answer:
            return Answer(400, {"code": "invalidRefreshToken" if "refreshToken" in asked else "invalidCode", "message": why})

        if asked.get("grantType") == "authorization_code":
            code = self._redeem("dingtalk", asked.get("code", ""), redirect=None, verifier="", fault=fault)
            access, refresh = self._issue("dingtalk", code.scopes)
        else:
            access, refresh, _ = self._renew("dingtalk", asked.get("refreshToken", ""), fault=fault)
        return Answer(200, {"accessToken": access, "refreshToken": refresh, "expireIn": self.lives, "corpId": "corp"})

    @route("GET", "/v1.0/contact/users/me")
    def dingtalk_user(self, call: Call) -> Answer:
        self.holder(call, "x-acs-dingtalk-access-token")
        return Answer(200, {"unionId": self.who.ids["dingtalk_union"], "openId": "o", "nick": self.who.name})

    @route("POST", "/v1.0/oauth2/accessToken")
    def dingtalk_app(self, call: Call) -> Answer:
        return Answer(200, {"accessToken": "dingtalk-app", "expireIn": 7200})

    @route("POST", "/topapi/user/getbyunionid")
    def dingtalk_staff(self, call: Call) -> Answer:
        if call.query.get("access_token") != "dingtalk-app" or call.json().get("unionid") != self.who.ids["dingtalk_union"]:
            return Answer(200, {"errcode": 60121})
        return Answer(200, {"errcode": 0, "result": {"userid": self.who.ids["staff"]}})

    # --- Slack ---

    @route("GET", "/oauth/v2/authorize")
    def slack_authorise(self, call: Call) -> Answer:
        scopes = tuple(filter(None, call.query.get("user_scope", "").split(",")))
        if not scopes:
            return Answer(400, "invalid_scope")
        return self._authorise("slack", call, scopes, client=call.query.get("client_id", ""))

    @route("POST", r"/api/oauth\.v2\.access")
    def slack_token(self, call: Call) -> Answer:
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if call.headers.get("authorization") != expected:
            return Answer(200, {"ok": False, "error": "bad_client_secret"})
        asked = call.form()

        def fault(why: str) -> Answer:
            reason = {"used": "code_already_used", "redirect": "bad_redirect_uri"}.get(why, "invalid_code")
            return Answer(200, {"ok": False, "error": "invalid_refresh_token" if "refresh_token" in asked else reason})

        if asked.get("grant_type") == "refresh_token":
            access, refresh, scopes = self._renew("slack", asked.get("refresh_token", ""), fault=fault)
            pair = {"access_token": access, "refresh_token": refresh, "expires_in": 43200}
            return Answer(200, {"ok": True, "token_type": "user", "scope": ",".join(scopes), **pair})
        code = self._redeem("slack", asked.get("code", ""), redirect=asked.get("redirect_uri"), verifier="", fault=fault)
        access, refresh = self._issue("slack", code.scopes, renews=self.slack_rotates)
        user: dict[str, Any] = {"id": self.who.ids["slack"], "scope": ",".join(code.scopes), "access_token": access}
        if self.slack_rotates:
            user |= {"refresh_token": refresh, "expires_in": self.lives}
        return Answer(200, {"ok": True, "app_id": "A1", "team": {"id": "T1"}, "authed_user": user})

    @route("POST", r"/api/auth\.test")
    def slack_test(self, call: Call) -> Answer:
        self.holder(call)
        return Answer(200, {"ok": True, "user_id": self.who.ids["slack"], "user": self.who.name, "team_id": "T1"})

    @route("POST", r"/api/auth\.revoke")
    def slack_revoke(self, call: Call) -> Answer:
        self.holder(call).revoked = True
        self.revoked.append("slack")
        return Answer(200, {"ok": True, "revoked": True})

    # --- Microsoft Entra ---

    @route("GET", r"/(?P<tenant>[^/]+)/v2\.0/\.well-known/openid-configuration")
    def entra_discovery(self, call: Call) -> Answer:
        at = f"{self.base}/{call.params['tenant']}"
        return Answer(
            200,
            {
                "issuer": f"{at}/v2.0",
                "authorization_endpoint": f"{at}/oauth2/v2.0/authorize",
                "token_endpoint": f"{at}/oauth2/v2.0/token",
                "jwks_uri": f"{self.base}/jwks",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            },
        )

    @route("GET", r"/(?P<tenant>[^/]+)/oauth2/v2\.0/authorize")
    def entra_authorise(self, call: Call) -> Answer:
        scopes = tuple(call.query.get("scope", "").split())
        return self._authorise("microsoft", call, scopes, client=call.query.get("client_id", ""))

    @route("POST", r"/(?P<tenant>[^/]+)/oauth2/v2\.0/token")
    def entra_token(self, call: Call) -> Answer:
        asked = call.form()
        if (asked.get("client_id"), asked.get("client_secret")) != (CLIENT, SECRET):
            return Answer(401, {"error": "invalid_client", "error_codes": [7000215]})
        codes = {"used": 54005, "expired": 70008, "pkce": 501481, "redirect": 50011, "unknown": 70000}
        scopes, answer = self._openid(
            "microsoft", asked, lambda why: Answer(400, {"error": "invalid_grant", "error_codes": [codes.get(why, 50173)]})
        )
        granted = [f"https://graph.microsoft.com/{s}" for s in scopes if s[0].isupper()] + [s for s in scopes if s == "profile"]
        if "id_token" in answer:
            answer["id_token"] = self.signed(self.claims(f"{self.base}/{call.params['tenant']}/v2.0", answer.pop("id_token")))
        return Answer(200, answer | {"scope": " ".join(granted)})

    # --- OpenID Connect ---

    @route("GET", r"/\.well-known/openid-configuration")
    def discovery(self, call: Call) -> Answer:
        return Answer(
            200,
            {
                "issuer": self.base,
                "authorization_endpoint": f"{self.base}/authorize",
                "token_endpoint": f"{self.base}/token",
                "jwks_uri": f"{self.base}/jwks",
                "revocation_endpoint": f"{self.base}/revoke",
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            },
        )

    @route("GET", "/authorize")
    def authorise(self, call: Call) -> Answer:
        return self._authorise("oidc", call, tuple(call.query.get("scope", "").split()), client=call.query.get("client_id", ""))

    @route("POST", "/token")
    def token(self, call: Call) -> Answer:
        if call.headers.get("authorization") != "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode():
            return Answer(401, {"error": "invalid_client"})
        scopes, answer = self._openid("oidc", call.form(), lambda why: Answer(400, {"error": "invalid_grant"}))
        if "id_token" in answer:
            answer["id_token"] = self.signed(self.claims(self.base, answer.pop("id_token")))
        return Answer(200, answer | {"scope": " ".join(s for s in scopes if s != "offline_access")})

    @route("GET", "/jwks")
    def jwks(self, call: Call) -> Answer:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(signing_key().public_key(), as_dict=True)
        return Answer(200, {"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]})

    @route("POST", "/revoke")
    def revoke(self, call: Call) -> Answer:
        token = call.form().get("token", "")
        if token in self.refreshes:
            self.refreshes[token].revoked = True
            self.revoked.append("oidc")
        return Answer(200)

    def _openid(
        self, vendor: str, asked: dict[str, str], fault: Callable[[str], Answer]
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        nonce: str | None = None
        if asked.get("grant_type") == "authorization_code":
            code = self._redeem(
                vendor,
                asked.get("code", ""),
                redirect=asked.get("redirect_uri"),
                verifier=asked.get("code_verifier", ""),
                fault=fault,
            )
            scopes, nonce = code.scopes, code.nonce
            access, refresh = self._issue(vendor, scopes, renews="offline_access" in scopes)
        else:
            access, refresh, scopes = self._renew(vendor, asked.get("refresh_token", ""), fault=fault)
        answer: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "expires_in": self.lives}
        if refresh:
            answer["refresh_token"] = refresh
        if nonce is not None:
            answer["id_token"] = nonce
        return scopes, answer

    def claims(self, issuer: str, nonce: str) -> dict[str, Any]:
        now = int(self.clock()) + self.skew
        return {
            "iss": issuer, "aud": CLIENT, "sub": self.who.ids["sub"], "oid": self.who.ids["oid"], "name": self.who.name,
            "iat": now, "exp": now + 3600, "nonce": nonce,
        }  # fmt: skip

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, signing_key(), algorithm="RS256", headers={"kid": "k1"})

    # --- WeCom ---

    @route("GET", "/wwlogin/sso/login")
    def wecom_login(self, call: Call) -> Answer:
        if call.query.get("login_type") != "CorpApp" or not call.query.get("agentid"):
            return Answer(400, "login_type and agentid are required")
        if len(call.query.get("state", "")) > 128:
            return Answer(400, "state is longer than 128")
        return self._authorise("wecom", call, ("snsapi_base",), client=call.query.get("appid", ""))

    @route("GET", "/cgi-bin/gettoken")
    def wecom_app(self, call: Call) -> Answer:
        if (call.query.get("corpid"), call.query.get("corpsecret")) != (CLIENT, SECRET):
            return Answer(200, {"errcode": 40001, "errmsg": "invalid credential"})
        return Answer(200, {"errcode": 0, "access_token": "wecom-app", "expires_in": 7200})

    @route("GET", "/cgi-bin/auth/getuserinfo")
    def wecom_user(self, call: Call) -> Answer:
        if call.query.get("access_token") != "wecom-app":
            return Answer(200, {"errcode": 40014, "errmsg": "invalid access_token"})
        self._redeem(
            "wecom",
            call.query.get("code", ""),
            redirect=None,
            verifier="",
            fault=lambda why: Answer(200, {"errcode": 40029, "errmsg": "invalid code"}),
        )
        return Answer(200, {"errcode": 0, "userid": self.who.ids["wecom"]})
