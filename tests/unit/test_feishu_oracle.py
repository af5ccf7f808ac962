"""Our verifier and the vendor's SDK agree, on good requests and on damaged ones. The SDK is heavy: only this file loads it."""

from __future__ import annotations

import base64
import json
import logging
import os
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assistant.errors import Refused, VerificationError
from assistant.messages import Webhook
from assistant.platforms import crypto
from assistant.platforms.feishu import Feishu
from tests.simulators.feishu import seal, signed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own imports are not ours to mend
    lark = pytest.importorskip("lark_oapi", reason="the vendor's SDK is a development dependency")
    from lark_oapi.core.model import RawRequest
    from lark_oapi.core.utils import AESCipher

NOW = 1_735_000_000
KEY, TOKEN = "kNfNPjO2q8aPvsmE", "rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV"
SECRETS = {"app_id": "cli_a", "app_secret": "s", "encrypt_key": KEY, "verification_token": TOKEN}
EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "500"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

logging.getLogger("Lark").setLevel(logging.CRITICAL + 1)


def theirs(webhook: Webhook, *, key: str = KEY) -> bool:
    """Whether the SDK's own handler answers 200."""
    handler = lark.EventDispatcherHandler.builder(key, TOKEN).register_p2_im_message_receive_v1(lambda event: None).build()
    request = RawRequest()
    request.uri = "/webhook/feishu/events"
    request.body = webhook.body
    names = {n.lower(): n for n in ("X-Lark-Request-Timestamp", "X-Lark-Request-Nonce", "X-Lark-Signature", "X-Request-Id")}
    request.headers = {names[k]: v for k, v in webhook.headers.items()}
    return bool(handler.do(request).status_code == 200)


def ours(webhook: Webhook) -> bool:
    try:
        Feishu(SECRETS, clock=lambda: NOW).receive(webhook)
    except VerificationError:
        return False
    except Refused:
        return True  # proven, but nothing we can read
    return True


def event(text: str, token: str = TOKEN) -> dict[str, Any]:
    message = {
        "message_id": "om_1",
        "chat_id": "oc_1",
        "chat_type": "p2p",
        "message_type": "text",
        "content": json.dumps({"text": text}),
    }
    header = {
        "event_id": "e",
        "event_type": "im.message.receive_v1",
        "create_time": "1",
        "token": token,
        "app_id": "a",
        "tenant_key": "t",
    }
    return {
        "schema": "2.0",
        "header": header,
        "event": {"sender": {"sender_id": {"open_id": "ou"}, "sender_type": "user"}, "message": message},
    }


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position % len(changed)] ^= 1 << bit
    return bytes(changed)


@MANY
@given(text=st.text(max_size=40), stamp=st.integers(NOW - 30_000, NOW + 200))
def test_every_good_event_is_good_for_both(text: str, stamp: int) -> None:
    webhook = signed(seal(event(text), KEY), stamp=stamp, key=KEY)
    assert ours(webhook)
    assert theirs(webhook)


@MANY
@given(
    text=st.text(max_size=20),
    damage=st.sampled_from(["body", "signature", "timestamp", "nonce", "token", "key", "drop", "unsigned", "plain"]),
    position=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
@example(text="", damage="body", position=3, bit=5)
def test_every_damaged_event_is_refused_by_us_and_never_where_the_sdk_is_stricter(
    text: str, damage: str, position: int, bit: int
) -> None:
    body = seal(event(text, "wrong" if damage == "token" else TOKEN), "other" if damage == "key" else KEY)
    if damage == "plain":
        body = json.dumps(event(text)).encode()
    webhook = signed(body, stamp=NOW, key="other" if damage == "key" else KEY)
    headers = dict(webhook.headers)
    if damage == "body":
        body = flipped(body, position, bit)
    elif damage in ("signature", "timestamp", "nonce"):
        name = "x-lark-signature" if damage == "signature" else f"x-lark-request-{damage}"
        headers[name] = flipped(headers[name].encode(), position, bit % 3).decode("latin-1")
    elif damage == "drop":
        del headers[sorted(headers)[position % 3]]
    elif damage == "unsigned":
        headers = {}
    webhook = Webhook(platform="feishu", channel="events", headers=headers, body=body)
    assert not ours(webhook)
    # The SDK takes a plain body under a good signature; we refuse the downgrade. Everything else it refuses too.
    assert theirs(webhook) == (damage == "plain")


@MANY
@given(
    token=st.sampled_from([TOKEN, "wrong", ""]), challenge=st.from_regex(r"\A[\w-]{1,40}\Z"), key=st.sampled_from([KEY, "other"])
)
def test_the_address_check_is_answered_by_both_or_by_none(token: str, challenge: str, key: str) -> None:
    check = {"type": "url_verification", "token": token, "challenge": challenge}
    webhook = Webhook(platform="feishu", channel="events", body=seal(check, key))
    assert ours(webhook) == theirs(webhook) == (token == TOKEN and key == KEY)


@MANY
@given(plain=st.binary(min_size=1, max_size=80), position=st.integers(0, 1000), bit=st.integers(0, 7), damaged=st.booleans())
def test_both_decrypt_the_same_bytes_and_refuse_the_same_padding(plain: bytes, position: int, bit: int, damaged: bool) -> None:
    data = base64.b64decode(json.loads(seal(plain, KEY))["encrypt"])
    if damaged:
        data = flipped(data, position, bit)
    key = AESCipher(KEY).digest
    try:
        expected: bytes | None = AESCipher(KEY).decrypt(data)
    except ValueError:
        expected = None
    try:
        found: bytes | None = crypto.decrypt(data[16:], key=key, iv=data[:16], block=16)
    except VerificationError:
        found = None
    assert found == expected
