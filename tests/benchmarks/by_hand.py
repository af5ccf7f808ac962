"""What has to be done for a message, by hand and for nothing else; and peers that only take requests warm.

A minimum decides what the product decides before it believes a message (signature or token, age, receiver), picks who said what
where, and stops: no other kinds of message, no settings, no metrics.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.request import urlopen

import jwt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from defusedxml.ElementTree import fromstring
from jwt import PyJWK

Event = Mapping[str, Any]
Secrets = Mapping[str, Mapping[str, str]]


class Said(NamedTuple):
    """Who said what where."""

    user: str
    text: str
    conversation: str
    id: str


Take = Callable[[Event], Said]


class Forged(Exception):
    """The request proves nothing."""


def minimums(secrets: Secrets) -> dict[str, Take]:
    """For each platform what makes a `Said` of an API Gateway event, or raises Forged."""
    return {
        "webchat": _webchat(secrets["webchat"]["api_key"]),
        "slack": _slack(secrets["slack"]["signing_secret"]),
        "feishu": _feishu(secrets["feishu"]["encrypt_key"], secrets["feishu"]["verification_token"]),
        "dingtalk": _dingtalk(secrets["dingtalk"]["app_secret"]),
        "wecom": _wecom(secrets["wecom"]["app_token"], secrets["wecom"]["app_aes_key"], secrets["wecom"]["corp_id"]),
        "teams": _teams(secrets["teams"]["app_id"], secrets["teams"]["openid_metadata"]),
    }


def _body(event: Event) -> bytes:
    raw: str = event["body"]
    return base64.b64decode(raw) if event["isBase64Encoded"] else raw.encode()


def _proven(good: bool) -> None:
    if not good:
        raise Forged


def _fresh(stamp: str, seconds: float) -> None:
    _proven(abs(time.time() - int(stamp)) <= seconds)


def _opened(sealed: bytes, key: bytes, iv: bytes) -> bytes:
    """AES-256-CBC with its padding checked and taken off."""
    opener = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    padded = opener.update(sealed) + opener.finalize()
    count = padded[-1]
    _proven(hmac.compare_digest(padded[-count:], bytes([count]) * count))
    return padded[:-count]


def _webchat(api_key: str) -> Take:
    def take(event: Event) -> Said:
        _proven(hmac.compare_digest(event["headers"]["authorization"], f"Bearer {api_key}"))
        said = json.loads(_body(event))
        return Said(said["user"], said["text"], said["conversation"], str(time.time_ns()))

    return take


def _slack(secret: str) -> Take:
    def take(event: Event) -> Said:
        body, headers = _body(event), event["headers"]
        stamp = headers["x-slack-request-timestamp"]
        mac = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        _proven(hmac.compare_digest(f"v0={mac}", headers["x-slack-signature"]))
        _fresh(stamp, 300)
        said = json.loads(body)["event"]
        return Said(said["user"], said["text"], said["channel"], said["ts"])

    return take


def _feishu(encrypt_key: str, token: str) -> Take:
    key = hashlib.sha256(encrypt_key.encode()).digest()

    def take(event: Event) -> Said:
        body, headers = _body(event), event["headers"]
        stamp = headers["x-lark-request-timestamp"]
        signed = (stamp + headers["x-lark-request-nonce"] + encrypt_key).encode() + body
        _proven(hmac.compare_digest(hashlib.sha256(signed).hexdigest(), headers["x-lark-signature"]))
        _fresh(stamp, 36_000)
        sealed = base64.b64decode(json.loads(body)["encrypt"])
        data = json.loads(_opened(sealed[16:], key, sealed[:16]))
        _proven(hmac.compare_digest(data["header"]["token"], token))
        message = data["event"]["message"]
        text = json.loads(message["content"])["text"]
        return Said(data["event"]["sender"]["sender_id"]["open_id"], text, message["chat_id"], message["message_id"])

    return take


def _dingtalk(secret: str) -> Take:
    def take(event: Event) -> Said:
        headers = event["headers"]
        stamp = headers["timestamp"]
        mac = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
        _proven(hmac.compare_digest(base64.b64encode(mac).decode(), headers["sign"]))
        _fresh(stamp[:-3], 3600)
        said = json.loads(_body(event))
        return Said(said["senderStaffId"], said["text"]["content"], said["conversationId"], said["msgId"])

    return take


def _wecom(token: str, aes_key: str, receiver: str) -> Take:
    key = base64.b64decode(aes_key + "=")

    def take(event: Event) -> Said:
        query = event["queryStringParameters"]
        sealed = fromstring(_body(event), forbid_dtd=True).findtext("Encrypt", "")
        parts = sorted([token, query["timestamp"], query["nonce"], sealed])
        _proven(hmac.compare_digest(hashlib.sha1("".join(parts).encode()).hexdigest(), query["msg_signature"]))
        _fresh(query["timestamp"], 36_000)
        plain = _opened(base64.b64decode(sealed), key, key[:16])
        end = 20 + int.from_bytes(plain[16:20], "big")
        _proven(plain[end:].decode() == receiver)
        said = fromstring(plain[20:end], forbid_dtd=True)
        user = said.findtext("FromUserName", "")
        return Said(user, said.findtext("Content", ""), user, said.findtext("MsgId", ""))

    return take


def _teams(app_id: str, metadata: str) -> Take:
    with urlopen(metadata) as found, urlopen(json.load(found)["jwks_uri"]) as published:
        keys = {key["kid"]: (PyJWK(key), key["endorsements"]) for key in json.load(published)["keys"]}

    def take(event: Event) -> Said:
        token = event["headers"]["authorization"].removeprefix("Bearer ")
        key, endorsements = keys[jwt.get_unverified_header(token)["kid"]]
        issuer = "https://api.botframework.com"
        claims = jwt.decode(token, key, algorithms=["RS256"], audience=app_id, issuer=issuer, leeway=300)
        said = json.loads(_body(event))
        _proven(said["channelId"] == "msteams" and "msteams" in endorsements and said["serviceUrl"] == claims["serviceurl"])
        return Said(said["from"]["id"], said["text"], said["conversation"]["id"], said["id"])

    return take


# --- peers -------------------------------------------------------------------------------------


def bot_framework(secrets: Mapping[str, str]) -> Callable[[Event], Any]:
    """Microsoft's botframework-connector: the activity is read and its request authenticated, as its adapter does."""
    from botbuilder.schema import Activity  # type: ignore[import-untyped]  # it ships no types
    from botframework.connector.auth import ChannelValidation, JwtTokenValidation, SimpleCredentialProvider

    ChannelValidation.open_id_metadata_endpoint = secrets["openid_metadata"]
    credentials = SimpleCredentialProvider(secrets["app_id"], "")
    loop = asyncio.new_event_loop()

    def take(event: Event) -> Any:
        activity = Activity().deserialize(json.loads(_body(event)))
        authorization = event["headers"]["authorization"]
        proof = loop.run_until_complete(JwtTokenValidation.authenticate_request(activity, authorization, credentials))
        _proven(proof.is_authenticated)
        return activity

    return take


def wechatpy(secrets: Mapping[str, str]) -> Callable[[Event], Any]:
    """wechatpy's door for an app of WeCom, as its documentation shows it."""
    from wechatpy.work import parse_message
    from wechatpy.work.crypto import WeChatCrypto

    crypto = WeChatCrypto(secrets["app_token"], secrets["app_aes_key"], secrets["corp_id"])

    def take(event: Event) -> Any:
        query = event["queryStringParameters"]
        return parse_message(crypto.decrypt_message(_body(event), query["msg_signature"], query["timestamp"], query["nonce"]))

    return take
