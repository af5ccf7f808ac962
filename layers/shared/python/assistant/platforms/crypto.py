"""What Feishu, DingTalk and WeCom share in their webhooks: AES-256-CBC, the sealed envelope, the sorted signature.

Every failure to open something is the same VerificationError with the same words: whoever sends damaged requests cannot
tell bad padding from a bad length or a foreign receiver, and so has no padding oracle.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final, Literal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from assistant.errors import VerificationError

UNREADABLE: Final = "the encrypted body cannot be opened with the configured key"

_BLOCK: Final = 16  # AES block in bytes
_PREFIX: Final = 16  # random bytes before the length
_LENGTH: Final = 4  # bytes of the length, big endian


def same(given: str | bytes, expected: str | bytes) -> bool:
    """Whether both are equal, compared in a time that does not depend on where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def sorted_sha1(*parts: str) -> str:
    """Lower-case hex SHA-1 over `parts` sorted by their bytes and joined: DingTalk's and WeCom's signature."""
    return hashlib.sha1(b"".join(sorted(map(_bytes, parts))), usedforsecurity=False).hexdigest()


def key_from_text(text: str, *, field: str) -> bytes:
    """The 32 bytes of a 43-character AES key as the consoles of DingTalk and WeCom show it.

    The last character carries two bits too many and the vendors fill them at random: they are ignored. `field` names the
    secret in the VerificationError for a key that is none (fail closed).
    """
    try:
        key = a2b_base64(text.strip().rstrip("=") + "=", strict_mode=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != 32:
        raise VerificationError(f"secret field {field!r} is not an AES key of 43 letters and digits; copy it again")
    return key


def base64_strict(text: str) -> bytes:
    """The bytes of `text`; raises VerificationError where it is not base64 without blanks, line breaks or surplus."""
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError):
        raise VerificationError(UNREADABLE) from None


def decrypt(data: bytes, *, key: bytes, iv: bytes, block: Literal[16, 32]) -> bytes:
    """The plain bytes of AES-256-CBC `data`; PKCS7 padding to `block` bytes is removed after every byte of it was checked."""
    if not data or len(data) % _BLOCK:
        raise VerificationError(UNREADABLE)
    opener = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    padded = opener.update(data) + opener.finalize()
    count = padded[-1]
    if not 1 <= count <= min(block, len(padded)) or not hmac.compare_digest(padded[-count:], bytes([count]) * count):
        raise VerificationError(UNREADABLE)
    return padded[:-count]


def encrypt(plain: bytes, *, key: bytes, iv: bytes, block: Literal[16, 32]) -> bytes:
    """`plain` padded by PKCS7 to `block` bytes and encrypted by AES-256-CBC."""
    count = block - len(plain) % block
    sealer = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return sealer.update(plain + bytes([count]) * count) + sealer.finalize()


def open_envelope(sealed: str, *, key: bytes, receive_id: str) -> bytes:
    """The message in a DingTalk or WeCom envelope: base64 of AES(random 16 ‖ length ‖ message ‖ receive id).

    Raises VerificationError where anything of it is damaged or it was sealed for another receiver.
    """
    plain = decrypt(base64_strict(sealed), key=key, iv=key[:_BLOCK], block=32)
    start = _PREFIX + _LENGTH
    length = int.from_bytes(plain[_PREFIX:start], "big")
    if len(plain) < start or length > len(plain) - start or not same(plain[start + length :], receive_id):
        raise VerificationError(UNREADABLE)
    return plain[start : start + length]


def seal_envelope(message: bytes, *, key: bytes, receive_id: str, prefix: bytes | None = None) -> str:
    """`message` sealed for `receive_id`, as base64 in one line. `prefix`: 16 bytes, random where none are given."""
    prefix = os.urandom(_PREFIX) if prefix is None else prefix
    plain = prefix + len(message).to_bytes(_LENGTH, "big") + message + _bytes(receive_id)
    return to_base64(encrypt(plain, key=key, iv=key[:_BLOCK], block=32))


def to_base64(data: bytes) -> str:
    """`data` as base64 in one line."""
    return b2a_base64(data, newline=False).decode("ascii")


def _bytes(text: str | bytes) -> bytes:
    # A lone surrogate in a header or a key must end in "not equal", never in an exception.
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
