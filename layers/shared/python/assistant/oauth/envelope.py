"""Seals what only we may read: AES-256-GCM with data keys that KMS wraps, bound to a context that must be named to open it."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from assistant.errors import AssistantError, InvalidSetting, Unavailable

if TYPE_CHECKING:
    from botocore.client import BaseClient

KEEP_SECONDS: Final = 300.0
"""How long an opened data key stays in memory."""

MOST_KEYS: Final = 2000

_NONCE: Final = 12


class Sealed(NamedTuple):
    """A sealed value: `key` is the data key as KMS wrapped it, `value` nonce and ciphertext; both base64."""

    key: str
    value: str


class Unreadable(AssistantError):
    """A sealed value that does not belong to the context named, or was changed."""


class Envelope:
    """`seal` and `open` under one KMS key. Safe to use from several threads."""

    def __init__(
        self, key_id: str, *, client: Callable[[], BaseClient], clock: Callable[[], float] = time.time, keep: float = KEEP_SECONDS
    ) -> None:
        self._key_id = key_id
        self._client = client
        self._clock = clock
        self._keep = keep
        self._known: dict[tuple[str, str], tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def seal(self, value: str, context: Mapping[str, str], *, again: str = "") -> Sealed:
        """`value` sealed for `context`; with `again` under the wrapped data key of an earlier seal for the same context.

        Raises Unavailable when KMS does not answer, InvalidSetting where no key is configured.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        wrapped, key = (again, self._unwrap(again, context)) if again else self._new_key(context)
        nonce = os.urandom(_NONCE)
        ciphertext = AESGCM(key).encrypt(nonce, value.encode(), _canonical(context).encode())
        return Sealed(wrapped, base64.b64encode(nonce + ciphertext).decode())

    def open(self, sealed: Sealed, context: Mapping[str, str]) -> str:
        """The value. Raises Unreadable for another context or a changed value, Unavailable when KMS does not answer."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = base64.b64decode(sealed.value)
        try:
            plain = AESGCM(self._unwrap(sealed.key, context)).decrypt(raw[:_NONCE], raw[_NONCE:], _canonical(context).encode())
        except InvalidTag as error:
            raise Unreadable("a sealed value does not open: it was changed, or belongs to somebody else") from error
        return plain.decode()

    def _new_key(self, context: Mapping[str, str]) -> tuple[str, bytes]:
        if not self._key_id:
            raise InvalidSetting("no KMS key is configured; set KMS_KEY_ID")
        found = self._call("generate_data_key", KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=dict(context))
        wrapped = base64.b64encode(found["CiphertextBlob"]).decode()
        self._remember(wrapped, context, found["Plaintext"])
        return wrapped, found["Plaintext"]

    def _unwrap(self, wrapped: str, context: Mapping[str, str]) -> bytes:
        known = self._known.get((wrapped, _canonical(context)))
        if known and known[1] > self._clock():
            return known[0]
        blob = base64.b64decode(wrapped)
        key = self._call("decrypt", KeyId=self._key_id, CiphertextBlob=blob, EncryptionContext=dict(context))["Plaintext"]
        self._remember(wrapped, context, key)
        return key

    def _remember(self, wrapped: str, context: Mapping[str, str], key: bytes) -> None:
        with self._lock:
            while len(self._known) >= MOST_KEYS:
                del self._known[next(iter(self._known))]
            self._known[wrapped, _canonical(context)] = key, self._clock() + self._keep

    def _call(self, operation: str, **request: object) -> dict[str, bytes]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, bytes] = getattr(self._client(), operation)(**request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("InvalidCiphertextException", "IncorrectKeyException"):
                raise Unreadable("a sealed value does not open: it belongs to another context or another key") from error
            raise Unavailable(f"KMS: {code}") from error
        except BotoCoreError as error:
            raise Unavailable(f"KMS: {type(error).__name__}") from error
        return answer


def _canonical(context: Mapping[str, str]) -> str:
    return json.dumps(context, sort_keys=True, separators=(",", ":"))
