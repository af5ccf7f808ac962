"""The shared envelope, padding and signature of Feishu, DingTalk and WeCom."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import VerificationError
from assistant.platforms import crypto

KEY_TEXT = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
KEY = crypto.key_from_text(KEY_TEXT, field="aes_key")
QUICK = settings(max_examples=60, deadline=None)


def raw_encrypt(padded: bytes) -> bytes:
    sealer = Cipher(algorithms.AES(KEY), modes.CBC(KEY[:16])).encryptor()
    return sealer.update(padded) + sealer.finalize()


@QUICK
@given(message=st.text().map(lambda t: t.encode("utf-8", "replace")), receiver=st.text(string.printable + "企业号", max_size=20))
def test_what_is_sealed_opens_for_its_receiver_only(message: bytes, receiver: str) -> None:
    sealed = crypto.seal_envelope(message, key=KEY, receive_id=receiver)
    assert crypto.open_envelope(sealed, key=KEY, receive_id=receiver) == message
    with pytest.raises(VerificationError):
        crypto.open_envelope(sealed, key=KEY, receive_id=receiver + "x")


def test_lengths_count_bytes_and_not_characters() -> None:
    text = "你好，世界🙂" * 7
    sealed = crypto.seal_envelope(text.encode(), key=KEY, receive_id="公司", prefix=b"0123456789abcdef")
    opener = Cipher(algorithms.AES(KEY), modes.CBC(KEY[:16])).decryptor()
    plain = opener.update(base64.b64decode(sealed))
    assert len(plain) % 32 == 0
    assert int.from_bytes(plain[16:20], "big") == len(text.encode())


@QUICK
@given(data=st.binary(max_size=100), block=st.sampled_from([16, 32]))
def test_padding_goes_on_and_comes_off(data: bytes, block: int) -> None:
    size = 16 if block == 16 else 32
    sealed = crypto.encrypt(data, key=KEY, iv=KEY[:16], block=size)  # type: ignore[arg-type]  # 16 or 32 by the line above
    assert len(sealed) % block == 0
    assert crypto.decrypt(sealed, key=KEY, iv=KEY[:16], block=size) == data  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    "tail",
    [
        bytes([0]),
        bytes([17]) * 17,
        bytes([33]) * 33,
        b"\x04\x03\x04\x04",
        b"\x00" + bytes([16]) * 15,
        bytes([255]),
    ],
)
def test_each_padding_byte_is_checked_and_every_failure_says_the_same(tail: bytes) -> None:
    padded = (b"x" * 64 + tail)[-64:]
    with pytest.raises(VerificationError) as refused:
        crypto.decrypt(raw_encrypt(padded), key=KEY, iv=KEY[:16], block=16)
    assert str(refused.value) == crypto.UNREADABLE


def test_a_padding_of_seventeen_to_thirty_two_is_good_only_for_the_long_block() -> None:
    sealed = raw_encrypt(b"x" * 15 + bytes([17]) * 17)
    assert crypto.decrypt(sealed, key=KEY, iv=KEY[:16], block=32) == b"x" * 15
    with pytest.raises(VerificationError):
        crypto.decrypt(sealed, key=KEY, iv=KEY[:16], block=16)


def test_a_length_beyond_the_envelope_is_refused_with_the_same_words() -> None:
    for length in (6, 0xFFFFFFFF):
        plain = b"r" * 16 + length.to_bytes(4, "big") + b"hello"
        sealed = crypto.to_base64(crypto.encrypt(plain, key=KEY, iv=KEY[:16], block=32))
        with pytest.raises(VerificationError, match=crypto.UNREADABLE):
            crypto.open_envelope(sealed, key=KEY, receive_id="")
    short = crypto.to_base64(crypto.encrypt(b"r" * 18, key=KEY, iv=KEY[:16], block=32))
    with pytest.raises(VerificationError, match=crypto.UNREADABLE):
        crypto.open_envelope(short, key=KEY, receive_id="")


@QUICK
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_never_gives_another_exception_than_refused(position: int, bit: int) -> None:
    sealed = bytearray(base64.b64decode(crypto.seal_envelope(b'{"a":1}', key=KEY, receive_id="corp")))
    sealed[position % len(sealed)] ^= 1 << bit
    opened = b""
    words = crypto.UNREADABLE
    try:
        opened = crypto.open_envelope(base64.b64encode(sealed).decode(), key=KEY, receive_id="corp")
    except VerificationError as refused:
        words = str(refused)
    # CBC carries no proof of its own (the signature around it does): a flip may change the message, never its frame.
    assert len(opened) in (0, 7)
    assert words == crypto.UNREADABLE


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "QUJD\nREVG", "QUJDREVG==", "QUI=QUI=", "=", "\ud800", "é" * 24])
def test_a_ciphertext_that_is_not_strict_base64_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match=crypto.UNREADABLE):
        crypto.open_envelope(text, key=KEY, receive_id="")


def test_stray_bits_in_the_last_character_of_a_key_are_ignored() -> None:
    canonical = base64.b64encode(KEY).decode().rstrip("=")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    last = alphabet.index(canonical[-1])
    keys = {crypto.key_from_text(canonical[:-1] + alphabet[last + stray], field="k") for stray in range(4)}
    assert keys == {KEY}
    assert crypto.key_from_text(canonical + "=", field="k") == KEY
    assert crypto.key_from_text(f" {canonical}\n", field="k") == KEY


@pytest.mark.parametrize("text", ["", "short", KEY_TEXT + "AA", "!" * 43, "é" * 43])
def test_a_key_that_is_none_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(VerificationError, match="event_aes_key"):
        crypto.key_from_text(text, field="event_aes_key")


@QUICK
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_the_sorted_signature_does_not_depend_on_the_order(parts: list[str]) -> None:
    expected = hashlib.sha1(b"".join(sorted(p.encode("utf-8", "surrogatepass") for p in parts))).hexdigest()
    assert crypto.sorted_sha1(*parts) == crypto.sorted_sha1(*reversed(parts)) == expected


def test_comparing_with_anything_a_header_can_hold_is_an_answer_and_not_an_exception() -> None:
    assert crypto.same("abc", b"abc")
    assert not crypto.same("\ud800", "abc")
    assert not crypto.same("é", "e")
