"""Whether a request comes from Microsoft's connector, for this bot: seven checks, of which a body alone passes none.

The body of a Teams webhook is not signed. The token says who sends (Microsoft's connector), to whom (this bot) and from which
service address; the address in the body must be that one, or an edited body could send our token to another host.

Source: learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from assistant.errors import Unavailable, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ISSUER: Final = "https://api.botframework.com"
OPENID_METADATA: Final = "https://login.botframework.com/v1/.well-known/openidconfiguration"
ALGORITHM: Final = "RS256"
SKEW: Final = 300
"""Seconds by which the connector's clock may differ from ours."""

KEEP: Final = 24 * 3600
"""Seconds for which the connector's keys are kept."""

RELOAD: Final = 3600
"""Seconds between two looks for a key that is not among them."""

_LONGEST_DOCUMENT: Final = 1 << 20


class Proof(NamedTuple):
    """What a good token says, to be compared with the body."""

    service_url: str
    endorsements: frozenset[str]
    """Channels that the key may speak for."""


class _Key(NamedTuple):
    key: RSAPublicKey
    endorsements: frozenset[str]


class Keys:
    """The connector's public keys, loaded when the first token needs one."""

    def __init__(self, metadata_url: str, *, clock: Callable[[], float], load: Callable[[str], bytes] | None = None) -> None:
        self._url = metadata_url
        self._clock = clock
        self._load = load or _get
        self._keys: Mapping[str, _Key] = {}
        self._loaded = self._looked = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: str) -> _Key:
        """The key called `kid`. Raises VerificationError where there is none, Unavailable where Microsoft does not answer."""
        with self._lock:
            now = self._clock()
            if now - self._loaded > KEEP:
                self._reload()
            elif kid not in self._keys and now - self._looked > RELOAD:
                with suppress(Unavailable):  # the known keys are still good
                    self._reload()
            if kid not in self._keys:
                raise VerificationError("teams: the token is signed with a key that Microsoft does not publish")
            return self._keys[kid]

    def count(self) -> int:
        """How many keys Microsoft publishes, freshly loaded. Raises Unavailable."""
        with self._lock:
            self._reload()
            return len(self._keys)

    def _reload(self) -> None:
        """All published keys; those that are no RSA keys for signatures are left out."""
        self._looked = self._clock()
        try:
            keys_url = json.loads(self._load(self._url))["jwks_uri"]
            if not isinstance(keys_url, str) or not keys_url.startswith(("https://", self._url.partition("://")[0] + "://")):
                raise Unavailable(f"teams: {self._url} names no address of keys")
            published = json.loads(self._load(keys_url))["keys"]
            self._keys = {key["kid"]: made for key in published if (made := _key(key))}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Unavailable(f"teams: {self._url} is not a description of keys") from error
        self._loaded = self._clock()


def _key(published: Any) -> _Key | None:  # one entry of decoded JSON
    from jwt.algorithms import RSAAlgorithm
    from jwt.exceptions import InvalidKeyError

    if not isinstance(published, dict) or published.get("kty") != "RSA" or not isinstance(published.get("kid"), str):
        return None
    if published.get("use", "sig") != "sig" or "d" in published:
        return None
    try:
        key: Any = RSAAlgorithm.from_jwk({k: v for k, v in published.items() if isinstance(v, str)})
    except (InvalidKeyError, ValueError):
        return None
    endorsements = published.get("endorsements")
    return _Key(key, frozenset(e for e in endorsements if isinstance(e, str)) if isinstance(endorsements, list) else frozenset())


def _get(url: str) -> bytes:
    """The document at `url`. Raises Unavailable."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=4) as response:  # noqa: S310  # the configured address, or the one it names over https
            content: bytes = response.read(_LONGEST_DOCUMENT)
    except (URLError, OSError) as error:
        raise Unavailable(f"teams: {url} does not answer: {type(error).__name__}") from error
    return content


def prove(authorization: str, *, app_id: str, keys: Keys, now: float) -> Proof:
    """What the token in the Authorization header says. Raises VerificationError for anything but a good one."""
    import jwt

    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise VerificationError("teams: no Bearer token in the Authorization header")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise VerificationError("teams: the token cannot be read") from None
    if header.get("alg") != ALGORITHM:  # said before anything is loaded for it
        raise VerificationError(f"teams: the token is not signed with {ALGORITHM}")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise VerificationError("teams: the token names no key")
    key = keys.find(kid)
    try:
        # Times are compared below, with our clock; the algorithm is ours to say, never the token's.
        never = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        claims = jwt.decode(token, key.key, algorithms=[ALGORITHM], options={**never, "require": ["exp", "iss", "aud"]})  # type: ignore[arg-type]  # a TypedDict
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise VerificationError("teams: the token's signature does not fit") from None
    if claims["iss"] != ISSUER:
        raise VerificationError("teams: the token is not issued by the Bot Framework")
    if claims["aud"] != app_id:
        raise VerificationError("teams: the token is for another bot; compare app_id")
    _in_time(claims, now)
    service_url = claims.get("serviceurl")
    if not isinstance(service_url, str) or not service_url:
        raise VerificationError("teams: the token names no service address")
    return Proof(service_url, key.endorsements)


def _in_time(claims: Mapping[str, Any], now: float) -> None:
    """Raises VerificationError for a token that is over or not yet good, give or take five minutes."""
    for name in ("exp", "nbf"):
        value = claims.get(name)
        if name == "nbf" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise VerificationError(f"teams: the token's {name!r} is no time")
        if (name == "exp" and not value > now - SKEW) or (name == "nbf" and not value <= now + SKEW):
            raise VerificationError("teams: the token is not good at this time; compare this machine's clock")
