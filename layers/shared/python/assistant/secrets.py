"""Secrets: one JSON object for each platform, in Secrets Manager under `assistant/{stage}/{platform}`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from assistant.errors import Unavailable, VerificationError

if TYPE_CHECKING:
    from botocore.client import BaseClient

Secret = Mapping[str, str]
RENEW_SECONDS = 20
"""A secret that was read this recently is not asked for again when a proof fails."""


class Secrets(Protocol):
    """Where secrets come from."""

    def get(self, name: str) -> Secret:
        """The secret's fields; an empty mapping where nothing is configured."""


class StoredSecrets:
    """Secrets Manager, asked once in `keep` seconds for each name, so that a rotated secret is seen without a deploy."""

    def __init__(
        self, prefix: str, *, client: Callable[[], BaseClient], keep: float = 300, clock: Callable[[], float] = time.time
    ) -> None:
        self._prefix = prefix
        self._client = client
        self._keep = keep
        self._clock = clock
        self._known: dict[str, tuple[Secret, float]] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Secret:
        """The fields of `{prefix}/{name}`. Raises Unavailable when Secrets Manager does not answer and nothing is known."""
        with self._lock:
            known = self._known.get(name)
            if known and known[1] > self._clock():
                return known[0]
            try:
                secret = self._load(name)
            except Unavailable:
                if known:
                    return known[0]
                raise
            self._known[name] = (secret, self._clock() + self._keep)
            return secret

    def renew(self, name: str) -> bool:
        """Asks again, ahead of time, where the last answer is older than RENEW_SECONDS; True where the secret has changed.

        Called when a proof fails: the secret may just have been rotated. The pause keeps a flood of forgeries from asking for it.
        """
        with self._lock:
            known = self._known.get(name)
            if known is None or known[1] - self._keep + RENEW_SECONDS > self._clock():
                return False
            try:
                secret = self._load(name)
            except Unavailable:
                return False
            self._known[name] = (known[0] if secret == known[0] else secret, self._clock() + self._keep)
            return secret != known[0]

    def _load(self, name: str) -> Secret:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            text = self._client().get_secret_value(SecretId=f"{self._prefix}/{name}")["SecretString"]
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ResourceNotFoundException":
                return {}
            raise Unavailable(f"secret {self._prefix}/{name}: {code}") from error
        except BotoCoreError as error:
            raise Unavailable(f"secret {self._prefix}/{name}: {type(error).__name__}") from error
        return parse_secret(text, name=f"{self._prefix}/{name}")


class GivenSecrets:
    """Secrets that are already at hand: `{"slack": {"signing_secret": …}, …}`."""

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = secrets

    def get(self, name: str) -> Secret:
        """The fields given for `name`."""
        return self._secrets.get(name, {})


def parse_secret(text: str, *, name: str) -> Secret:
    """The fields in a secret's JSON; raises VerificationError (fail closed) where it is no flat JSON object."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise VerificationError(f'secret {name} is not a JSON object; store one such as {{"app_id": "…"}}')
    return {str(k): v if isinstance(v, str) else str(v) for k, v in data.items() if v not in (None, "")}
