"""Recorded webhooks as lines for `assistant webhook check`, with what each must amount to.

Written from the vendors' own descriptions alone: everything is signed and sealed here with `hmac`, `cryptography` and PyJWT,
and nothing of the product is imported, so that a mistake in the product's own cryptography cannot hide.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jwt.algorithms import RSAAlgorithm

NOW: Final = 1_767_225_600

Line = dict[str, Any]  # one line of the file, as decoded JSON
Check = Callable[[Mapping[str, Any]], None]
"""Looks at the reply's body of a verdict; raises AssertionError."""

TEXTS: Final = (
    "hello",
    "年假还有几天？",
    "🙂 👩‍👩‍👧 ok",
    "שלום עולם",
    'a "quoted" \\ back\\slash',
    "line one\nline two",
    "x" * 3000,
    "tab\tand  two blanks",
    "@ nobody at all",
    "مرحبا، كيف الحال",
    "1 + 1 = 2; 100% sure & certain?",
)
"""What people write, trimmed."""


@dataclass(frozen=True)
class Case:
    """A line and what it must amount to. `messages`: the fields that each message must have; None: any messages."""

    name: str
    line: Line
    verdict: str = "accept"
    statuses: tuple[int, ...] = (200, 202)
    messages: tuple[Mapping[str, Any], ...] | None = ()
    reply: Check | None = None
    twin: str = ""
    """Cases with the same one share their dedup_id; all others have one of their own."""


def refused(name: str, line: Line, *statuses: int) -> Case:
    """A line that must be refused, 401 where nothing else is said."""
    return Case(name, line, "reject", statuses or (401,))


def line(
    platform: str, path: str, *, body: str = "", headers: Mapping[str, Any] | None = None, secrets: Any = None, **more: Any
) -> Line:
    """One line; `more`: method, query, now."""
    request = {"method": more.pop("method", "POST"), "path": path, "query": more.pop("query", {}), "headers": dict(headers or {})}
    return {"platform": platform, "request": {**request, "body": body}, "secrets": secrets, "now": NOW, **more}


def changed(old: Line, **more: Any) -> Line:
    """A copy of `old` with parts of its request replaced; `now` and `secrets` belong to the line."""
    outer: Line = {k: more.pop(k) for k in ("now", "secrets", "platform") if k in more}
    made: Line = {**old, **outer}
    made["request"] = {**old["request"], **more}
    return made


def compact(data: Any) -> str:
    """JSON as the vendors send it."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


# --- cryptography, from the vendors' descriptions -------------------------------------------------


def pkcs7(data: bytes, block: int) -> bytes:
    """`data` padded to blocks of `block` bytes."""
    padder = padding.PKCS7(block * 8).padder()
    return padder.update(data) + padder.finalize()


def cbc(data: bytes, key: bytes, iv: bytes) -> bytes:
    """AES-CBC of whole blocks."""
    engine = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return engine.update(data) + engine.finalize()


def uncbc(data: bytes, key: bytes, iv: bytes) -> bytes:
    """The reverse of `cbc`."""
    engine = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return engine.update(data) + engine.finalize()


def envelope(message: bytes, aes_key: str, receiver: str, *, pad: Callable[[bytes], bytes] = lambda d: pkcs7(d, 32)) -> str:
    """What DingTalk and WeCom put into `encrypt`."""
    key = base64.b64decode(aes_key + "=")
    return base64.b64encode(
        cbc(pad(os.urandom(16) + len(message).to_bytes(4, "big") + message + receiver.encode()), key, key[:16])
    ).decode()


def opened(sealed: str, aes_key: str) -> tuple[str, str]:
    """Message and receiver of an envelope."""
    key = base64.b64decode(aes_key + "=")
    plain = uncbc(base64.b64decode(sealed, validate=True), key, key[:16])
    unpadder = padding.PKCS7(256).unpadder()
    plain = unpadder.update(plain) + unpadder.finalize()
    size = int.from_bytes(plain[16:20], "big")
    return plain[20 : 20 + size].decode(), plain[20 + size :].decode()


def sha1_of(*parts: str) -> str:
    """The signature of DingTalk's events and of WeCom."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()


def flipped(text: str, at: int) -> str:
    """`text` with the lowest bit of one ASCII character turned."""
    return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]


# --- Feishu --------------------------------------------------------------------------------------

FEISHU: Final = {
    "app_id": "cli_a1",
    "app_secret": "s",
    "encrypt_key": "kudryavka-键",
    "verification_token": "vtok-1",
    "bot_open_id": "ou_bot",
}
FEISHU_PLAIN: Final = {k: v for k, v in FEISHU.items() if k != "encrypt_key"}


def feishu_sealed(data: Any, *, key: str = FEISHU["encrypt_key"]) -> str:
    """The body of an encrypted call."""
    iv = os.urandom(16)
    plain = data if isinstance(data, bytes) else compact(data).encode()
    sealed = cbc(pkcs7(plain, 16), hashlib.sha256(key.encode()).digest(), iv)
    return compact({"encrypt": base64.b64encode(iv + sealed).decode()})


def feishu_signed(body: str, *, stamp: str = str(NOW), key: str = FEISHU["encrypt_key"], nonce: str = "n0nce") -> dict[str, str]:
    """The headers that prove `body`."""
    signature = hashlib.sha256((stamp + nonce + key).encode() + body.encode()).hexdigest()
    return {
        "Content-Type": "application/json; charset=utf-8",
        "X-Lark-Request-Timestamp": stamp,
        "X-Lark-Request-Nonce": nonce,
        "X-Lark-Signature": signature,
        "X-Request-Id": "r1",
    }


def feishu_line(data: Any, **more: Any) -> Line:
    """A genuine encrypted call."""
    body = feishu_sealed(data)
    return line("feishu", "/feishu/events", body=body, headers=feishu_signed(body), secrets=FEISHU, **more)


def feishu_event(kind: str, event: Any, *, id_: str, token: str = FEISHU["verification_token"]) -> dict[str, Any]:
    """A v2 envelope."""
    header = {"event_id": id_, "event_type": kind, "create_time": f"{NOW}123", "token": token, "app_id": "cli_a1"}
    return {"schema": "2.0", "header": {**header, "tenant_key": "tk"}, "event": event}


def feishu_said(
    content: Any, *, kind: str = "text", id_: str, chat: str = "p2p", mentions: Any = None, sender: Any = None, **more: Any
) -> Any:
    """The event body of a message."""
    message = {
        "message_id": f"om_{id_}",
        "create_time": f"{NOW}000",
        "chat_id": "oc_1",
        "chat_type": chat,
        "message_type": kind,
        "content": content if isinstance(content, str) else compact(content),
        **({"mentions": mentions} if mentions is not None else {}),
        **more,
    }
    who = sender or {
        "sender_id": {"open_id": "ou_ann", "user_id": "u", "union_id": "on"},
        "sender_type": "user",
        "tenant_key": "tk",
    }
    return {"sender": who, "message": message}


def mention(number: int, open_id: str, name: str) -> dict[str, Any]:
    """An entry of a Feishu message's mentions."""
    return {
        "key": f"@_user_{number}",
        "id": {"open_id": open_id, "user_id": "", "union_id": ""},
        "name": name,
        "tenant_key": "tk",
    }


def feishu() -> Iterator[Case]:
    """Every kind that Feishu has, and every way in which one can be forged."""

    def message(name: str, event: Any, expected: Mapping[str, Any] | None, *, kind: str = "im.message.receive_v1") -> Case:
        id_ = f"ev-{name}"
        always = {"event_id": id_, "conversation": "oc_1", "sender": "ou_ann"}
        found = ({**always, **expected},) if expected is not None else ()
        return Case(f"feishu {name}", feishu_line(feishu_event(kind, event, id_=id_)), messages=found)

    for n, text in enumerate(TEXTS):
        said = {"kind": "text", "text": text, "message_id": f"om_t{n}"}
        yield message(f"text {n}", feishu_said({"text": f" {text} "}, id_=f"t{n}"), said)
        named = feishu_said({"text": f"@_user_1 {text}"}, id_=f"g{n}", chat="group", mentions=[mention(1, "ou_bot", "Desk")])
        yield message(f"group text {n}", named, {"kind": "text", "text": text, "message_id": f"om_g{n}"})
    people = [mention(1, "ou_bot", "Desk"), mention(2, "ou_b", "Bo"), mention(10, "ou_c", "Bob"), mention(3, "ou_d", "@_user_2")]
    for n, (raw, text) in enumerate(
        [
            ("@_user_2 ask @_user_1 about @_user_10", "@Bo ask about @Bob"),
            ("@_user_10@_user_1 hi @_user_3", "@Bob hi @@_user_2"),
            ("@_all @_user_1 hi", "@all hi"),
            ("@_user_1 @_all你好", "@all你好"),
            ("@_user_1你好@_user_2再见", "你好@Bo再见"),
            ("hi @_user_1", "hi"),
            ("@_user_1 &lt; mail@_user_9", "&lt; mail@_user_9"),
        ]
    ):
        said = feishu_said({"text": raw}, id_=f"m{n}", chat="group", mentions=people, thread_id="omt_1")
        yield message(f"mentions {n}", said, {"kind": "text", "text": text, "thread": "omt_1"})
    yield message("not named", feishu_said({"text": "hi all"}, id_="x1", chat="group"), None)
    yield message("another named", feishu_said({"text": "@_user_2 hi"}, id_="x2", chat="group", mentions=people[1:2]), None)
    own = {"sender_id": {"open_id": "ou_bot"}, "sender_type": "app", "tenant_key": "tk"}
    yield message("own words", feishu_said({"text": "hi"}, id_="x3", sender=own), None)
    image = {"kind": "image", "file_key": "img_1", "text": ""}
    yield message("image", feishu_said({"image_key": "img_1"}, kind="image", id_="i1"), image)
    file = {"kind": "file", "file_key": "f_1", "file_name": "年报 2025.pdf"}
    yield message("file", feishu_said({"file_key": "f_1", "file_name": "年报 2025.pdf"}, kind="file", id_="f1"), file)
    yield message("audio", feishu_said({"file_key": "a_1", "duration": 900}, kind="audio", id_="a1"), {"file_key": "a_1"})
    post = {
        "title": "T",
        "content": [[{"tag": "text", "text": "see "}, {"tag": "at", "user_id": "@_user_1", "user_name": "Desk"}]],
    }
    post["content"].append([{"tag": "img", "image_key": "img_9"}])  # type: ignore[attr-defined]  # a list in a literal
    shown = {"kind": "rich_text", "text": "T\nsee", "file_key": "img_9"}
    yield message("post", feishu_said(post, kind="post", id_="p1", chat="group", mentions=people[:1]), shown)
    nameless = [{"key": ["@_user_1"], "id": [], "name": {}}, {"key": None}, 5]
    yield message("odd mentions", feishu_said({"text": "hi"}, id_="om", mentions=nameless), {"text": "hi"})
    yield message("sticker", feishu_said({"file_key": "s"}, kind="sticker", id_="s1"), {"kind": "other"})
    for name, value, parsed in [
        ("object", {"a": [1, "二"]}, {"a": [1, "二"]}),
        ("string", '{"a":1}', {"a": 1}),
        ("word", "yes", "yes"),
    ]:
        click = {
            "operator": {"open_id": "ou_ann"},
            "token": f"c-{name}",
            "action": {"value": value, "tag": "button", "name": "ok"},
            "host": "im_message",
            "context": {"open_message_id": "om_card", "open_chat_id": "oc_1"},
        }
        found = {"kind": "card_action", "action_key": "ok", "action_value": parsed, "message_id": "om_card"}
        yield message(f"click {name}", click, found, kind="card.action.trigger")
    about = {"chat_id": "oc_1", "operator_id": {"open_id": "ou_ann"}, "external": False, "name": "群"}
    for kind, house in [
        ("im.chat.member.bot.added_v1", "bot_added"),
        ("im.chat.member.bot.deleted_v1", "bot_removed"),
        ("im.chat.access_event.bot_p2p_chat_entered_v1", "entered"),
    ]:
        yield message(house, about, {"kind": house, "text": ""}, kind=kind)
    menu = {"operator": {"operator_name": "Ann", "operator_id": {"open_id": "ou_ann"}}, "event_key": "help", "timestamp": NOW}
    yield message("menu", menu, {"kind": "menu", "menu_key": "help", "conversation": "ou_ann"}, kind="application.bot.menu_v6")
    gone = {"message_id": "om_t1", "chat_id": "oc_1", "recall_time": f"{NOW}000", "recall_type": "message_owner"}
    yield message("recalled", gone, {"kind": "recalled", "message_id": "om_t1", "sender": ""}, kind="im.message.recalled_v1")
    yield message("unknown event", {"anything": 1}, None, kind="im.message.reaction.created_v1")
    v1 = {"type": "message", "open_chat_id": "oc_1", "open_id": "ou_ann", "open_message_id": "om_v1", "chat_type": "private"}
    v1 |= {"msg_type": "text", "text": "old", "text_without_at_bot": "old"}
    old = {"uuid": "uu-1", "token": "vtok-1", "ts": f"{NOW}.1", "type": "event_callback", "event": v1}
    expected = {"kind": "text", "text": "old", "event_id": "uu-1", "message_id": "om_v1", "conversation": "oc_1"}
    yield Case("feishu v1", feishu_line(old), messages=(expected,))
    # Redelivered, and told by a second event: the same message.
    for n in range(3):
        event = feishu_event("im.message.receive_v1", feishu_said({"text": "again"}, id_="again"), id_=f"again-{n % 2}")
        yield Case(f"feishu again {n}", feishu_line(event), messages=({"text": "again"},), twin="feishu again")

    check = {"type": "url_verification", "token": "vtok-1", "challenge": "ch-锁-1"}

    def challenged(verdict: Mapping[str, Any]) -> None:
        assert json.loads(verdict["reply_body"]) == {"challenge": "ch-锁-1"}

    sealed = feishu_sealed(check)
    bare = line("feishu", "/feishu/events", body=sealed, secrets=FEISHU)
    yield Case("feishu challenge", bare, "challenge", (200,), (), challenged)
    yield Case(
        "feishu plain challenge",
        line("feishu", "/feishu/events", body=compact(check), secrets=FEISHU_PLAIN),
        "challenge",
        (200,),
        (),
        challenged,
    )
    yield refused("feishu challenge, wrong token", changed(bare, body=feishu_sealed({**check, "token": "no"})))
    yield refused("feishu challenge in the clear", changed(bare, body=compact(check)))
    yield refused(
        "feishu challenge, plain, wrong token",
        line("feishu", "/feishu/events", body=compact({**check, "token": 1}), secrets=FEISHU_PLAIN),
    )

    event = feishu_event("im.message.receive_v1", feishu_said({"text": "hi"}, id_="z"), id_="ev-z")
    plain = line("feishu", "/feishu/events", body=compact(event), secrets=FEISHU_PLAIN)
    yield Case("feishu unencrypted", plain, messages=({"text": "hi"},), twin="feishu z")
    yield refused("feishu unencrypted, no JSON", changed(plain, body="{"), 401)
    yield refused("feishu unencrypted, deep", changed(plain, body="[" * 50_000), 401)
    for token in ("no", "", None, 5, ["vtok-1"]):
        yield refused(
            f"feishu token {token!r}", changed(plain, body=compact({**event, "header": {**event["header"], "token": token}}))
        )
    yield refused("feishu downgrade", changed(plain, secrets=FEISHU))
    signed_plain = compact(event)
    yield refused(
        "feishu signed but in the clear",
        changed(plain, body=signed_plain, headers=feishu_signed(signed_plain), secrets=FEISHU),
        401,
        400,
    )
    good = feishu_line(event)
    body, headers = good["request"]["body"], good["request"]["headers"]
    yield Case("feishu good", good, messages=({"text": "hi"},), twin="feishu z")
    yield Case(
        "feishu headers in lower case",
        changed(good, headers={k.lower(): v for k, v in headers.items()}),
        messages=({"text": "hi"},),
        twin="feishu z",
    )
    yield refused("feishu unsigned", changed(good, headers={}))
    for name in ("X-Lark-Request-Timestamp", "X-Lark-Request-Nonce", "X-Lark-Signature"):
        yield refused(f"feishu without {name}", changed(good, headers={k: v for k, v in headers.items() if k != name}))
        yield refused(f"feishu other {name}", changed(good, headers={**headers, name: flipped(headers[name], 0)}))
        yield refused(f"feishu two {name}", changed(good, headers={**headers, name.lower(): headers[name] + "0"}))
    yield refused(
        "feishu signature in capitals",
        changed(good, headers={**headers, "X-Lark-Signature": headers["X-Lark-Signature"].upper()}),
        401,
    )
    for missing in ("encrypt_key", "verification_token"):
        yield refused(f"feishu without {missing}", changed(good, secrets={k: v for k, v in FEISHU.items() if k != missing}))
    yield refused("feishu no secrets", changed(good, secrets={}))
    yield refused("feishu other key", changed(good, secrets={**FEISHU, "encrypt_key": "other"}))
    yield refused("feishu other token", changed(good, secrets={**FEISHU, "verification_token": "other"}))
    for stamp in (str(NOW - 8 * 86400), str(NOW + 7200), "nan", "inf", "now", "1e309", ""):
        yield refused(f"feishu signed at {stamp!r}", changed(good, headers=feishu_signed(body, stamp=stamp)))
    yield Case("feishu a retry after 7 h", changed(good, now=NOW + 7 * 3600 + 300), messages=({"text": "hi"},), twin="feishu z")
    yield refused("feishu later", changed(good, now=NOW + 8 * 86400))
    for n in range(0, len(body), max(1, len(body) // 60)):
        yield refused(f"feishu bit {n}", changed(good, body=flipped(body, n)))
        yield refused(f"feishu cut {n}", changed(good, body=body[:n]))

    def signed(name: str, what: str, *statuses: int) -> Case:
        return refused(f"feishu signed {name}", changed(good, body=what, headers=feishu_signed(what)), *(statuses or (400, 401)))

    yield signed("nonsense", "nonsense")
    yield signed("list", "[]")
    yield signed("nothing", "{}")
    yield signed("no base64", '{"encrypt":"****"}')
    yield signed("short", compact({"encrypt": base64.b64encode(b"x" * 16).decode()}))
    yield signed("half block", compact({"encrypt": base64.b64encode(b"x" * 40).decode()}))
    yield signed("deep", '{"encrypt":' + "[" * 60_000)
    yield signed("not JSON inside", feishu_sealed(b"\xff\xfe"))
    yield signed("list inside", feishu_sealed([1]))
    yield signed("deep inside", feishu_sealed(b'{"a":' + b"[" * 60_000))
    yield signed("no header", feishu_sealed({"schema": "2.0", "event": {}}))
    yield signed("no ids", feishu_sealed(feishu_event("im.message.receive_v1", {}, id_="e")), 400)
    yield signed("content no JSON", feishu_sealed(feishu_event("im.message.receive_v1", feishu_said("{", id_="q"), id_="e")), 400)
    iv, key = os.urandom(16), hashlib.sha256(FEISHU["encrypt_key"].encode()).digest()
    for name, plain_text in [
        ("padding 0", b"{}" + b"\0" * 14),
        ("padding 17", b"\x11" * 32),
        ("uneven padding", b"{}            \x01\x02"),
    ]:
        yield signed(name, compact({"encrypt": base64.b64encode(iv + cbc(plain_text, key, iv)).decode()}))
    times: list[tuple[str, Any]] = [("giant", 10**400), ("float", 1e300), ("null", None), ("list", []), ("negative", -5)]
    for name, time in [*times, ("text", "9" * 500)]:
        strange = feishu_event("im.message.receive_v1", feishu_said({"text": "hi"}, id_=f"time-{name}"), id_=f"time-{name}")
        strange["header"]["create_time"] = strange["event"]["message"]["create_time"] = time
        yield Case(f"feishu time {name}", feishu_line(strange), messages=({"text": "hi"},))
    lone = feishu_said('{"text":"a\\ud800b"}', id_="lone")
    yield Case(
        "feishu lone surrogate",
        feishu_line(feishu_event("im.message.receive_v1", lone, id_="lone")),
        messages=({"kind": "text"},),
    )
    for method in ("GET", "PUT"):
        yield refused(f"feishu {method}", changed(good, method=method), 405)
    for path in ("/feishu/other", "/feishu", "", "/nope/events"):
        yield refused(f"feishu path {path!r}", changed(good, path=path), 404)
    yield Case("feishu whole path", changed(good, path="/webhook/feishu/events"), messages=({"text": "hi"},), twin="feishu z")


# --- DingTalk ------------------------------------------------------------------------------------

DINGTALK: Final = {
    "app_key": "dingkey",
    "app_secret": "ding-秘密",
    "robot_code": "dingkey",
    "event_token": "evtok",
    "event_aes_key": base64.b64encode(b"D" * 31 + b"\xff").decode()[:42] + "9",
    "event_owner_key": "dingkey",
    "card_api_secret": "card-secret",
}


def hmac64(key: str, message: str) -> str:
    """DingTalk's signature of a stamp."""
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def robot_headers(stamp: str = f"{NOW}000", secret: str = DINGTALK["app_secret"]) -> dict[str, str]:
    """The proof of a robot message."""
    return {"Content-Type": "application/json", "timestamp": stamp, "sign": hmac64(secret, f"{stamp}\n{secret}")}


def card_headers(stamp: str = f"{NOW}000", secret: str = DINGTALK["card_api_secret"]) -> dict[str, str]:
    """The proof of a card click."""
    return {"x-ddpaas-signature-timestamp": stamp, "x-ddpaas-signature": hmac64(secret, stamp)}


def robot_line(data: Any, **more: Any) -> Line:
    """A genuine robot message."""
    body = data if isinstance(data, str) else compact(data)
    return line("dingtalk", "/dingtalk/robot", body=body, headers=robot_headers(), secrets=DINGTALK, **more)


def ding_event_line(data: Any, *, stamp: str = f"{NOW}000", sign: str = "signature", **more: Any) -> Line:
    """A genuine event."""
    sealed = envelope(
        data if isinstance(data, bytes) else compact(data).encode(),
        more.pop("key", DINGTALK["event_aes_key"]),
        more.pop("owner", "dingkey"),
    )
    query = {sign: sha1_of(DINGTALK["event_token"], stamp, "nn", sealed), "timestamp": stamp, "nonce": "nn"}
    return line("dingtalk", "/dingtalk/events", body=compact({"encrypt": sealed}), query=query, secrets=DINGTALK, **more)


def sealed_success(verdict: Mapping[str, Any]) -> None:
    """The reply is the word `success`, sealed and signed for us."""
    reply = json.loads(verdict["reply_body"])
    assert reply["msg_signature"] == sha1_of(DINGTALK["event_token"], reply["timeStamp"], reply["nonce"], reply["encrypt"])
    assert opened(reply["encrypt"], DINGTALK["event_aes_key"]) == ("success", "dingkey")


def dingtalk() -> Iterator[Case]:
    """Robot messages, events and clicks."""

    def said(name: str, **more: Any) -> dict[str, Any]:
        base: dict[str, Any] = {
            "msgId": f"msg-{name}",
            "msgtype": "text",
            "conversationType": "1",
            "conversationId": "cid1==",
            "senderStaffId": "staff1",
        }
        base |= {
            "senderId": "$:LWCP:1",
            "senderNick": "张三",
            "chatbotUserId": "$:bot",
            "robotCode": "dingkey",
            "createAt": NOW * 1000,
        }
        return {
            **base,
            "chatbotCorpId": "corp",
            "sessionWebhook": "https://oapi.dingtalk.com/robot/sendBySession?session=1",
            **more,
        }

    def robot(name: str, expected: Mapping[str, Any] | None, **more: Any) -> Case:
        always = {
            "event_id": f"msg-{name}",
            "message_id": f"msg-{name}",
            "dedup_id": f"msg-{name}",
            "conversation": "cid1==",
            "sender": "staff1",
        }
        found = ({**always, **expected},) if expected is not None else ()
        return Case(f"dingtalk {name}", robot_line(said(name, **more)), messages=found)

    for n, text in enumerate(TEXTS):
        yield robot(f"text {n}", {"kind": "text", "text": text}, text={"content": f"  {text} "})
    group = {"conversationType": "2", "isInAtList": True}
    yield robot("group", {"kind": "text", "text": "@李四 hi", "direct": False} | {}, text={"content": " @李四 hi"}, **group)
    yield robot("outsider", {"sender": "$:LWCP:1"}, text={"content": "hi"}, senderStaffId="")
    yield robot("picture", {"kind": "image", "file_key": "dc1"}, msgtype="picture", content={"downloadCode": "dc1"})
    rich = {"richText": [{"text": "看 "}, {"type": "picture", "downloadCode": "dc2"}, {"text": "这"}]}
    yield robot("rich", {"kind": "rich_text", "text": "看 这", "file_key": "dc2"}, msgtype="richText", content=rich)
    file = {"downloadCode": "dc3", "fileName": "报告.docx", "fileId": "1", "spaceId": "2"}
    yield robot("file", {"kind": "file", "file_key": "dc3", "file_name": "报告.docx"}, msgtype="file", content=file)
    audio = {"downloadCode": "dc4", "duration": 3000, "recognition": "你好"}
    yield robot("audio", {"file_key": "dc4", "text": "你好"}, msgtype="audio", content=audio)
    yield robot(
        "video", {"kind": "file", "file_key": "dc5"}, msgtype="video", content={"downloadCode": "dc5", "videoType": "mp4"}
    )
    yield robot("unknown type", {"kind": "other"}, msgtype="hologram")
    yield robot("own words", None, senderId="$:bot", senderStaffId="", text={"content": "hi"})
    yield robot("giant time", {"text": "hi"}, text={"content": "hi"}, createAt=10**400)
    yield robot("strange", {"kind": "text", "text": ""}, text=[1], createAt="soon", isInAtList="x")
    for n in range(2):
        yield Case(
            f"dingtalk again {n}", robot_line(said("again", text={"content": "hi"})), messages=({"text": "hi"},), twin="d again"
        )

    good = robot_line(said("g", text={"content": "hi"}))
    headers, ok = good["request"]["headers"], {"messages": ({"text": "hi"},), "twin": "d g"}
    yield Case("dingtalk good", good, **ok)  # type: ignore[arg-type]  # fields of Case
    yield Case("dingtalk header case", changed(good, headers={k.upper(): v for k, v in headers.items()}), **ok)  # type: ignore[arg-type]  # as above
    for off in (-3590, 3590):
        yield Case(f"dingtalk {off} s", changed(good, headers=robot_headers(f"{NOW + off}000")), **ok)  # type: ignore[arg-type]  # as above
        yield Case(f"dingtalk now {off} s", changed(good, now=NOW + off), **ok)  # type: ignore[arg-type]  # as above
    for off in (-3700, 3700, -86400):
        yield refused(f"dingtalk {off} s", changed(good, headers=robot_headers(f"{NOW + off}000")))
        yield refused(f"dingtalk now {off} s", changed(good, now=NOW + off))
    for stamp in (str(NOW), "nan", "", "１７６７２２５６００００0", "-1", f"{NOW}000.0", "1" * 5000, f" {NOW}000"):
        yield refused(f"dingtalk robot stamp {stamp[:20]!r}", changed(good, headers=robot_headers(stamp)))
    for name in ("timestamp", "sign"):
        yield refused(f"dingtalk without {name}", changed(good, headers={k: v for k, v in headers.items() if k != name}))
        yield refused(f"dingtalk other {name}", changed(good, headers={**headers, name: flipped(headers[name], 3)}))
        yield refused(f"dingtalk two {name}", changed(good, headers={**headers, name.title(): "0"}))
    yield refused("dingtalk wrong secret", changed(good, headers=robot_headers(secret="other")))
    yield refused("dingtalk no app_secret", changed(good, secrets={**DINGTALK, "app_secret": ""}))
    yield refused("dingtalk other robot", robot_line(said("o", robotCode="other", text={"content": "hi"})))
    for name, body in [
        ("cut", "{"),
        ("list", "[]"),
        ("deep", "[" * 60_000),
        ("empty", ""),
        ("no ids", "{}"),
        ("digits", "9" * 9000),
    ]:
        yield refused(f"dingtalk body {name}", changed(good, body=body), 400)
    yield refused("dingtalk GET", changed(good, method="GET"), 405)

    def event(name: str, data: Any, expected: Mapping[str, Any] | None, **more: Any) -> Case:
        found = (expected,) if expected is not None else ()
        return Case(f"dingtalk event {name}", ding_event_line(data, **more), messages=found, reply=sealed_success)

    yield replace(event("check", {"EventType": "check_url"}, None), verdict="challenge", statuses=(200,))
    recall = {
        "EventType": "robot_msg_recall",
        "EventTime": NOW * 1000,
        "CorpId": "corp",
        "eventId": "e1",
        "OpenConversationId": "cid1==",
    }
    recall |= {"UserId": "staff1", "ProcessQueryKey": "pq1", "RobotCode": "dingkey"}
    gone = {"kind": "recalled", "conversation": "cid1==", "sender": "staff1", "message_id": "pq1", "event_id": "e1"}
    for field_name in ("signature", "msg_signature"):
        yield replace(event(f"recall {field_name}", recall, gone, sign=field_name), twin="d recall")
    yield replace(event("recall in seconds", recall, gone, stamp=str(NOW)), twin="d recall")
    camel = {"stamp": f"{NOW}000"}
    spelled = ding_event_line(recall, **camel)
    spelled["request"]["query"]["timeStamp"] = spelled["request"]["query"].pop("timestamp")
    yield Case("dingtalk event timeStamp", spelled, messages=(gone,), reply=sealed_success, twin="d recall")
    as_text = ding_event_line(recall)
    as_text["request"]["query"] = urlencode(as_text["request"]["query"])
    yield Case("dingtalk event query as text", as_text, messages=(gone,), reply=sealed_success, twin="d recall")
    app = {"eventId": "e2", "coolAppCode": "c", "robotCode": "dingkey", "openConversationId": "cid1==", "operator": "staff1"}
    yield event(
        "install", {"EventType": "im_cool_app_install", **app}, {"kind": "bot_added", "conversation": "cid1==", "event_id": "e2"}
    )
    gone_app = {"EventType": "im_cool_app_uninstall", **app, "eventId": "e3", "operateTime": 10**400}
    yield event("uninstall", gone_app, {"kind": "bot_removed", "sender": "staff1"})
    yield event("unknown", {"EventType": "user_modify_org", "eventId": "e9", "UserId": ["中"]}, None)
    signed = ding_event_line(recall)
    query, body = signed["request"]["query"], signed["request"]["body"]
    for name in query:
        yield refused(f"dingtalk event without {name}", changed(signed, query={k: v for k, v in query.items() if k != name}))
        yield refused(f"dingtalk event other {name}", changed(signed, query={**query, name: flipped(query[name], 0)}))
    yield refused("dingtalk event unsigned", changed(signed, query={}))
    yield refused("dingtalk event other owner", ding_event_line(recall, owner="other"))
    yield refused("dingtalk event longer owner", ding_event_line(recall, owner="dingkey2"))
    yield refused("dingtalk event other key", ding_event_line(recall, key="A" * 43))
    yield refused("dingtalk event stale", ding_event_line(recall, stamp=f"{NOW - 20 * 86400}000"))
    yield refused("dingtalk event ahead", ding_event_line(recall, stamp=f"{NOW + 7200}000"))
    yield refused("dingtalk event much later", changed(signed, now=NOW + 20 * 86400))
    for missing in ("event_token", "event_aes_key", "event_owner_key"):
        yield refused(f"dingtalk event without {missing}", changed(signed, secrets={**DINGTALK, missing: ""}))
    yield refused("dingtalk event short key", changed(signed, secrets={**DINGTALK, "event_aes_key": "A" * 20}))
    for name, what in [
        ("cut", "{"),
        ("nothing", "{}"),
        ("clear", compact(recall)),
        ("deep", "[" * 60_000),
        ("number", '{"encrypt":5}'),
    ]:
        yield refused(f"dingtalk event body {name}", changed(signed, body=what))
    for n in range(0, len(body), max(1, len(body) // 60)):
        yield refused(f"dingtalk event bit {n}", changed(signed, body=flipped(body, n)))
        yield refused(f"dingtalk event cut {n}", changed(signed, body=body[:n]))
    yield refused("dingtalk event not JSON", ding_event_line(b"\xff"), 400)
    yield refused("dingtalk event a list", ding_event_line(b"[]"), 400)
    vendors = {"event_token": "123456", "event_aes_key": "1234567890123456789012345678901234567890123"}
    vendors["event_owner_key"] = "dingsnotzck6pm5veliw"
    known = "YvkvaGe4hQxd3VxRmEty0dVlnCOAqwf56xwTRHDHoOURqhalbmBJQk5FNcRk42Gl5T0YQXZNwpwWSm1xAFJ5ZA=="
    stamped = {"signature": "9a95a004dd16f5c307e849b994173f76aa26e5eb", "timestamp": "1614767836", "nonce": "A7Co0cJLMzIDtMMI"}
    example = line("dingtalk", "/dingtalk/events", body=compact({"encrypt": known}), query=stamped, secrets=vendors)
    # The vendor's own example is proven and holds no JSON: readable, but no event.
    yield refused("dingtalk vendor's example", changed(example, now=1614767836), 400)
    yield refused("dingtalk vendor's example, forged", changed(example, now=1614767836, query={**stamped, "nonce": "x"}))

    def clicked(**more: Any) -> dict[str, Any]:
        content = {"cardPrivateData": {"actionIds": ["agree"], "params": {"n": 1, "谁": "我"}}}
        return {
            "type": "actionCallback",
            "outTrackId": "track1",
            "corpId": "corp",
            "userId": "staff1",
            "content": compact(content),
            **more,
        }

    def card(data: Any, **more: Any) -> Line:
        body = data if isinstance(data, str) else compact(data)
        return line("dingtalk", "/dingtalk/cards", body=body, headers=card_headers(), secrets=DINGTALK, **more)

    click = {
        "kind": "card_action",
        "sender": "staff1",
        "action_key": "agree",
        "action_value": {"n": 1, "谁": "我"},
        "message_id": "track1",
    }
    for n in range(2):
        yield Case(f"dingtalk click {n}", card(clicked()), messages=(click,), twin="d click")
    yield Case("dingtalk other click", card(clicked(outTrackId="track2")), messages=({"message_id": "track2"},))
    yield Case(
        "dingtalk click, damaged content", card(clicked(content="{", outTrackId="track3")), messages=({"kind": "card_action"},)
    )
    yield refused("dingtalk click unsigned", changed(card(clicked()), headers={}))
    yield refused("dingtalk click, robot's proof", changed(card(clicked()), headers=robot_headers()))
    yield refused("dingtalk click wrong secret", changed(card(clicked()), headers=card_headers(secret="x")))
    yield refused("dingtalk click stale", changed(card(clicked()), headers=card_headers(f"{NOW - 4000}000")))
    yield refused("dingtalk click no secret", changed(card(clicked()), secrets={**DINGTALK, "card_api_secret": ""}))
    yield refused("dingtalk click no ids", card({"type": "actionCallback"}), 400)
    yield refused("dingtalk click no JSON", card("x"), 400)


# --- WeCom ---------------------------------------------------------------------------------------

WECOM: Final = {
    "corp_id": "wwcorp",
    "agent_id": "1000002",
    "secret": "s",
    "app_token": "apptok",
    "app_aes_key": base64.b64encode(b"A" * 32).decode()[:42] + "R",
    "bot_id": "aib1",
    "bot_token": "bottok",
    "bot_aes_key": base64.b64encode(b"B" * 32).decode()[:43],
    "bot_name": "小助手",
}


def wecom_line(channel: str, plain: bytes, **more: Any) -> Line:
    """A genuine callback."""
    sealed = more.pop("sealed", "") or envelope(
        plain, more.pop("key", WECOM[f"{channel}_aes_key"]), more.pop("receiver", "wwcorp" if channel == "app" else "")
    )
    stamp, nonce = more.pop("stamp", str(NOW)), "non"
    token = more.pop("token", WECOM[f"{channel}_token"])
    query = {"msg_signature": sha1_of(token, stamp, nonce, sealed), "timestamp": stamp, "nonce": nonce}
    if more.pop("check", False):
        return line("wecom", f"/wecom/{channel}", method="GET", query={**query, "echostr": sealed}, secrets=WECOM, **more)
    if channel == "app":
        who = "<ToUserName><![CDATA[wwcorp]]></ToUserName><AgentID><![CDATA[1000002]]></AgentID>"
        body = f"<xml>{who}<Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
    else:
        body = compact({"encrypt": sealed})
    return line("wecom", f"/wecom/{channel}", body=body, query=query, secrets=WECOM, **more)


def app_xml(inner: str, *, user: str = "ann") -> bytes:
    """A decrypted app message."""
    who = f"<ToUserName><![CDATA[wwcorp]]></ToUserName><FromUserName><![CDATA[{user}]]></FromUserName>"
    return f"<xml>{who}<CreateTime>{NOW}</CreateTime>{inner}<AgentID>1000002</AgentID></xml>".encode()


def bot_reply(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The opened reply to a bot's callback; raises AssertionError where it is not sealed for WeCom."""
    reply = json.loads(verdict["reply_body"])
    assert reply["msgsignature"] == sha1_of(WECOM["bot_token"], str(reply["timestamp"]), reply["nonce"], reply["encrypt"])
    plain, receiver = opened(reply["encrypt"], WECOM["bot_aes_key"])
    assert receiver == ""
    found: dict[str, Any] = json.loads(plain)
    return found


def empty_or_sealed(verdict: Mapping[str, Any]) -> None:
    """Nothing to say: an empty body, or a sealed one."""
    if verdict["reply_body"]:
        bot_reply(verdict)


def growing(verdict: Mapping[str, Any]) -> None:
    """A new stream that is not finished."""
    reply = bot_reply(verdict)
    assert reply["msgtype"] == "stream"
    assert reply["stream"]["id"]
    assert reply["stream"]["finish"] is False


def bot_asks(data: Mapping[str, Any], *, at: int = NOW) -> Line:
    """A genuine callback of the bot, signed and looked at at the time `at`."""
    common = {"msgid": "m", "create_time": at, "aibotid": "aib1", "chattype": "single", "from": {"userid": "ann"}}
    return changed(wecom_line("bot", compact({**common, **data}).encode(), stamp=str(at)), now=at)


def finished(verdict: Mapping[str, Any]) -> None:
    """The end of a stream that nobody knows."""
    assert bot_reply(verdict)["stream"] == {"id": "st-1", "finish": True, "content": ""}


def welcomed(verdict: Mapping[str, Any]) -> None:
    """A greeting."""
    assert bot_reply(verdict)["msgtype"] == "text"


def wecom() -> Iterator[Case]:
    """The app's and the bot's callbacks."""

    def app(name: str, inner: str, expected: Mapping[str, Any] | None, *, user: str = "ann", twin: str = "") -> Case:
        found = ({"conversation": "ann", "sender": "ann", **expected},) if expected is not None else ()
        return Case(f"wecom app {name}", wecom_line("app", app_xml(inner, user=user)), messages=found, twin=twin)

    def typed(kind: str, inner: str, id_: str) -> str:
        return f"<MsgType><![CDATA[{kind}]]></MsgType>{inner}<MsgId>{id_}</MsgId>"

    for n, text in enumerate(TEXTS):
        said = {"kind": "text", "text": text, "message_id": str(100 + n), "event_id": str(100 + n), "dedup_id": str(100 + n)}
        yield app(f"text {n}", typed("text", f"<Content><![CDATA[ {text} ]]></Content>", str(100 + n)), said)
    yield app("escaped", typed("text", "<Content>a &lt;b&gt; &amp;amp; &#x1F642;</Content>", "150"), {"text": "a <b> &amp; 🙂"})
    pic = "<PicUrl><![CDATA[https://p/1]]></PicUrl><MediaId><![CDATA[m1]]></MediaId>"
    yield app("image", typed("image", pic, "151"), {"kind": "image", "file_key": "m1"})
    yield app("voice", typed("voice", "<MediaId>m2</MediaId><Format>amr</Format>", "152"), {"kind": "file", "file_key": "m2"})
    yield app(
        "file",
        typed("file", "<MediaId>m3</MediaId><FileName>年.pdf</FileName>", "153"),
        {"kind": "file", "file_key": "m3", "file_name": "年.pdf"},
    )
    yield app("unknown", typed("hologram", "", "154"), {"kind": "other"})
    yield app("system", typed("text", "<Content>x</Content>", "155"), None, user="sys")

    def event(name: str, inner: str = "") -> str:
        return f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{name}]]></Event>{inner}"

    for n in range(2):
        yield app(f"menu {n}", event("click", "<EventKey>help</EventKey>"), {"kind": "menu", "menu_key": "help"}, twin="w menu")
    yield app("view", event("view", "<EventKey>https://x/</EventKey>"), {"kind": "menu", "menu_key": "https://x/"})
    yield app("enter", event("enter_agent"), {"kind": "entered"})
    yield app("subscribe", event("subscribe"), {"kind": "bot_added"})
    yield app("unsubscribe", event("unsubscribe"), {"kind": "bot_removed"})
    options = "<OptionIds><OptionId>a</OptionId><OptionId>b</OptionId></OptionIds>"
    chosen = f"<SelectedItems><SelectedItem><QuestionKey>q</QuestionKey>{options}</SelectedItem></SelectedItems>"
    card = event(
        "template_card_event",
        f"<EventKey>ok</EventKey><TaskId>t1</TaskId><CardType>vote</CardType><ResponseCode>rc</ResponseCode>{chosen}",
    )
    yield app("click", card, {"kind": "card_action", "action_key": "ok", "action_value": {"q": ["a", "b"]}, "message_id": "t1"})
    for channel in ("app", "bot"):
        check = wecom_line(channel, "明文 8675".encode(), check=True)

        def exact(verdict: Mapping[str, Any]) -> None:
            assert verdict["reply_body"] == "明文 8675"

        yield Case(f"wecom {channel} check", check, "challenge", (200,), (), exact)
        as_text = changed(check, query=urlencode(check["request"]["query"]))
        yield Case(f"wecom {channel} check as text", as_text, "challenge", (200,), (), exact)
        blank = {**check["request"]["query"], "echostr": check["request"]["query"]["echostr"].replace("+", " ")}
        yield Case(f"wecom {channel} check with blanks", changed(check, query=blank), "challenge", (200,), (), exact)
        for name in ("msg_signature", "timestamp", "nonce", "echostr"):
            query = check["request"]["query"]
            yield refused(
                f"wecom {channel} check without {name}", changed(check, query={k: v for k, v in query.items() if k != name})
            )
            yield refused(f"wecom {channel} check other {name}", changed(check, query={**query, name: flipped(query[name], 2)}))
        yield refused(f"wecom {channel} check other receiver", wecom_line(channel, b"x", check=True, receiver="other"))

    asked = {"create_time": NOW, "aibotid": "aib1", "chatid": "wrk1", "chattype": "group", "from": {"userid": "ann"}}
    asked |= {"response_url": "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=1"}
    alone = {**{k: v for k, v in asked.items() if k != "chatid"}, "chattype": "single"}

    def bot(
        name: str, data: Mapping[str, Any], expected: Mapping[str, Any] | None, *, reply: Check = growing, twin: str = ""
    ) -> Case:
        data = {"msgid": f"mid-{name}", **data}
        always = {"sender": "ann", "event_id": data["msgid"], "conversation": data.get("chatid", "ann")}
        found = ({**always, **expected},) if expected is not None else ()
        return Case(f"wecom bot {name}", wecom_line("bot", compact(data).encode()), messages=found, reply=reply, twin=twin)

    for n, text in enumerate(TEXTS):
        data = {"msgtype": "text", "text": {"content": f"@小助手 {text}"}}
        yield bot(f"group {n}", {**asked, **data}, {"kind": "text", "text": text, "message_id": f"mid-group {n}"})
        yield bot(f"single {n}", {**alone, "msgtype": "text", "text": {"content": text}}, {"kind": "text", "text": text})
    others = {"msgtype": "text", "text": {"content": "@小助手 问 @小助手二号 和 @Bob"}}
    yield bot("others", {**asked, **others}, {"text": "问 @小助手二号 和 @Bob"})
    for kind in ("image", "file", "video"):
        house = "image" if kind == "image" else "file"
        yield bot(kind, {**alone, "msgtype": kind, kind: {"url": "https://f/1"}}, {"kind": house, "file_key": "https://f/1"})
    yield bot("voice", {**alone, "msgtype": "voice", "voice": {"content": "你好"}}, {"text": "你好"})
    items = [{"msgtype": "text", "text": {"content": "@小助手 看"}}, {"msgtype": "image", "image": {"url": "https://f/2"}}]
    mixed = {**asked, "msgtype": "mixed", "mixed": {"msg_item": items}}
    yield bot("mixed", mixed, {"kind": "rich_text", "text": "看", "file_key": "https://f/2"})
    pull = {**alone, "msgtype": "stream", "stream": {"id": "st-1"}}
    yield bot("stream", pull, {"kind": "stream_refresh", "message_id": "st-1"}, reply=finished)
    entered = {**alone, "msgtype": "event", "event": {"eventtype": "enter_chat"}}
    yield bot("enter", entered, {"kind": "entered"}, reply=welcomed)
    clicked: dict[str, Any] = {"card_type": "button_interaction", "event_key": "ok", "task_id": "t9"}
    clicked |= {"selected_items": {"selected_item": [{"question_key": "q", "option_ids": {"option_id": ["a"]}}]}}
    found = {"kind": "card_action", "action_key": "ok", "action_value": {"q": ["a"]}, "message_id": "t9"}
    nested: dict[str, Any] = {"eventtype": "template_card_event", "template_card_event": clicked}
    yield bot("click", {**asked, "msgtype": "event", "event": nested}, found, reply=empty_or_sealed)
    flat = {"eventtype": "template_card_event", **clicked}
    yield bot("flat click", {**asked, "msgtype": "event", "event": flat}, found, reply=empty_or_sealed)
    yield bot(
        "system", {**alone, "from": {"userid": "sys"}, "msgtype": "text", "text": {"content": "x"}}, None, reply=empty_or_sealed
    )
    yield bot("nobody", {**alone, "from": {}, "msgtype": "text", "text": {"content": "x"}}, None, reply=empty_or_sealed)
    for n in range(2):
        again = {**alone, "msgid": "again", "msgtype": "text", "text": {"content": "hi"}}
        yield bot(f"again {n}", again, {"text": "hi", "event_id": "again"}, twin="w again")
    times: list[tuple[str, Any]] = [("giant", 10**400), ("float", 1e300), ("text", "x"), ("null", None)]
    for name, odd in times:
        timed = {**alone, "create_time": odd, "msgtype": "text", "text": {"content": "hi"}}
        yield bot(f"time {name}", timed, {"text": "hi"}, reply=empty_or_sealed)
    other_bot = {**alone, "aibotid": "aib2", "msgtype": "text", "text": {"content": "hi"}, "msgid": "1"}
    yield refused("wecom bot another's", wecom_line("bot", compact(other_bot).encode()))

    hi = {**alone, "msgid": "good", "msgtype": "text", "text": {"content": "hi"}}
    plains = {"app": app_xml(typed("text", "<Content>hi</Content>", "190")), "bot": compact(hi).encode()}
    for channel, plain in plains.items():
        good = wecom_line(channel, plain)
        query, body = good["request"]["query"], good["request"]["body"]
        ok = {"messages": ({"text": "hi"},), "twin": f"w {channel}"}
        yield Case(f"wecom {channel} good", good, **ok)  # type: ignore[arg-type]  # fields of Case
        yield Case(f"wecom {channel} query as text", changed(good, query="?" + urlencode(query)), **ok)  # type: ignore[arg-type]  # as above
        yield Case(f"wecom {channel} query in path", changed(good, query={}, path=f"/wecom/{channel}?{urlencode(query)}"), **ok)  # type: ignore[arg-type]  # as above
        for name in query:
            yield refused(f"wecom {channel} without {name}", changed(good, query={k: v for k, v in query.items() if k != name}))
            yield refused(f"wecom {channel} other {name}", changed(good, query={**query, name: flipped(query[name], 1)}))
            yield refused(f"wecom {channel} two {name}", changed(good, query={**query, name: [query[name], query[name]]}))
        yield refused(f"wecom {channel} unsigned", changed(good, query={}))
        yield refused(f"wecom {channel} in the clear", changed(good, body=plain.decode()))
        yield refused(
            f"wecom {channel} other receiver", wecom_line(channel, plain, receiver="wwcorp2" if channel == "app" else "x")
        )
        yield refused(f"wecom {channel} other key", wecom_line(channel, plain, key="C" * 43))
        yield refused(f"wecom {channel} other token", wecom_line(channel, plain, token="no"))
        yield refused(f"wecom {channel} stale", wecom_line(channel, plain, stamp=str(NOW - 20 * 86400)))
        yield refused(f"wecom {channel} ahead", wecom_line(channel, plain, stamp=str(NOW + 7200)))
        for stamp in ("now", "-5", "1e9", f"{NOW}000", "٣" * 10):
            yield refused(f"wecom {channel} stamp {stamp}", wecom_line(channel, plain, stamp=stamp))
        for missing in (f"{channel}_token", f"{channel}_aes_key"):
            yield refused(f"wecom {channel} without {missing}", changed(good, secrets={**WECOM, missing: ""}))
        yield refused(f"wecom {channel} short key", changed(good, secrets={**WECOM, f"{channel}_aes_key": "A" * 42}))
        for n in range(0, len(body), max(1, len(body) // 60)):
            if body[n] == "e" or (
                channel == "app" and n not in range(body.index("[CDATA[", body.index("<Encrypt")), body.index("]]></Encrypt"))
            ):
                continue  # elsewhere in the XML nothing is signed
            yield refused(f"wecom {channel} bit {n}", changed(good, body=flipped(body, n)))
        for n in range(0, len(body) - 2, max(1, len(body) // 40)):
            yield refused(f"wecom {channel} cut {n}", changed(good, body=body[:n]))
        key = base64.b64decode(WECOM[f"{channel}_aes_key"] + "=")
        receiver = "wwcorp" if channel == "app" else ""
        for name, pad in [
            ("no padding", lambda d: d + b"\0" * (-len(d) % 32)),
            ("padding of 33", lambda d: d + b"\x21" * (-len(d) % 16 + 48)),
            ("uneven padding", lambda d: d + b"\x07" * (31 - len(d) % 32) + bytes([32 - len(d) % 32])),
        ]:
            if name == "uneven padding" and len(b"x" * 20 + plain + receiver.encode()) % 32 in (31, 25):
                continue
            sealed = envelope(plain, WECOM[f"{channel}_aes_key"], receiver, pad=pad)
            yield refused(f"wecom {channel} {name}", wecom_line(channel, b"", sealed=sealed))
        for name, raw in [("length", b"\0" * 16 + b"\xff\xff\xff\xff" + plain), ("nothing", b""), ("short", b"\0" * 10)]:
            sealed = base64.b64encode(cbc(pkcs7(raw, 32), key, key[:16])).decode()
            yield refused(f"wecom {channel} wrong {name}", wecom_line(channel, b"", sealed=sealed))
        for name, sealed in [
            ("no base64", "%%%"),
            ("half", "QUJD"),
            ("blanks", envelope(plain, WECOM[f"{channel}_aes_key"], receiver)[:-2] + " ="),
        ]:
            yield refused(f"wecom {channel} {name}", wecom_line(channel, b"", sealed=sealed))
        for name, inside in [("no UTF-8", b"\xff\xfe\xfd"), ("empty", b""), ("nonsense", b"nonsense"), ("deep", b"[" * 60_000)]:
            yield refused(f"wecom {channel} {name} inside", wecom_line(channel, inside), 400)
        yield refused(f"wecom {channel} PUT", changed(good, method="PUT"), 405, 401)
    entities = f'<!ENTITY a "aaaaaaaaaa"><!ENTITY b "{"&a;" * 10}"><!ENTITY c "{"&b;" * 10}">'
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><xml><Encrypt>&c;</Encrypt></xml>'
    outer = wecom_line("app", plains["app"])
    external = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Encrypt>&a;</Encrypt></xml>'
    for name, what in [
        ("bomb", bomb),
        ("external", external),
        ("empty", ""),
        ("deep", "<a>" * 50_000),
        ("two", "<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>"),
        ("encoding", '<?xml version="1.0" encoding="nope"?><xml/>'),
    ]:
        yield refused(f"wecom app {name}", changed(outer, body=what))
        if name in ("bomb", "external", "encoding"):
            yield refused(f"wecom app {name} inside", wecom_line("app", what.encode()), 400)
    for name, what in [
        ("deep", "[" * 60_000),
        ("list", "[]"),
        ("number", '{"encrypt":1}'),
        ("giant", '{"encrypt":' + "9" * 9000 + "}"),
    ]:
        yield refused(f"wecom bot {name}", changed(wecom_line("bot", plains["bot"]), body=what))


# --- Slack ---------------------------------------------------------------------------------------

SLACK: Final = {
    "signing_secret": "8f742231b10e8888abcd99yyyzzz85a5",
    "bot_token": "xoxb-1",
    "app_id": "A1",
    "bot_user_id": "UBOT",
    "bot_id": "BBOT",
    "team_id": "T1",
    "client_id": "1.2",
    "client_secret": "c",
}
FORM: Final = "application/x-www-form-urlencoded"


def slack_headers(
    body: str, *, stamp: str = str(NOW), secret: str = SLACK["signing_secret"], kind: str = "application/json"
) -> dict[str, str]:
    """The headers that prove `body`."""
    digest = hmac.new(
        secret.encode(), b"v0:" + stamp.encode() + b":" + body.encode("utf-8", "surrogatepass"), hashlib.sha256
    ).hexdigest()
    return {"Content-Type": kind, "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def slack_line(channel: str, data: Any, **more: Any) -> Line:
    """A genuine request; `data` a JSON object, a form's fields, or the body itself."""
    kind = "application/json" if channel == "events" else FORM
    body = data if isinstance(data, str) else compact(data) if channel == "events" else urlencode(data)
    return line("slack", f"/slack/{channel}", body=body, headers=slack_headers(body, kind=kind), secrets=SLACK, **more)


def slack_event(event: Any, *, id_: str) -> dict[str, Any]:
    """The envelope of an event."""
    bot = {"enterprise_id": None, "team_id": "T1", "user_id": "UBOT", "is_bot": True, "is_enterprise_install": False}
    top = {"token": "z", "team_id": "T1", "api_app_id": "A1", "type": "event_callback", "event_id": id_, "event_time": NOW}
    return {**top, "authorizations": [bot], "event_context": "4-x", "event": event}


SLACK_TEXTS: Final = (
    ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
    ("ask <@UBOB> now", "ask @UBOB now"),
    ("ask <@UBOTTOM> now", "ask @UBOTTOM now"),
    ("ask <@UBOB|bob> in <#C9|general>", "ask @bob in #general"),
    ("<!here> wake up", "@here wake up"),
    ("see <https://x.example/a?b=1&amp;c=2>", "see https://x.example/a?b=1&c=2"),
    ("mail <mailto:a@b.example|a@b.example>", "mail a@b.example"),
)


def slack() -> Iterator[Case]:
    """Events, clicks, shortcuts and commands."""

    def event(name: str, data: Mapping[str, Any], expected: Mapping[str, Any] | None, *, twin: str = "", id_: str = "") -> Case:
        id_ = id_ or f"Ev-{name}"
        found = ({"event_id": id_, **expected},) if expected is not None else ()
        return Case(f"slack {name}", slack_line("events", slack_event(data, id_=id_)), messages=found, twin=twin)

    def said(number: int, text: str, **more: Any) -> dict[str, Any]:
        base = {
            "type": "message",
            "channel": "D1",
            "channel_type": "im",
            "user": "UANN",
            "ts": f"{NOW}.{number:06}",
            "text": text,
        }
        return {**base, "client_msg_id": f"c{number}", "event_ts": f"{NOW}.{number:06}", **more}

    for n, text in enumerate(TEXTS):
        raw = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        alone = {"kind": "text", "text": text, "conversation": "D1", "sender": "UANN", "message_id": f"{NOW}.{n:06}"}
        yield event(f"text {n}", said(n, raw), alone)
        group = {**alone, "conversation": "C1", "message_id": f"{NOW}.{n + 100:06}"}
        named = said(n + 100, f"<@UBOT> {raw}", type="app_mention", channel="C1", channel_type="channel")
        yield event(f"named {n}", named, group, twin=f"s {n}")
        yield event(f"named twin {n}", {**named, "type": "message"}, group, twin=f"s {n}")
        yield event(f"named again {n}", named, group, twin=f"s {n}", id_=f"Ev-named {n}")
    for n, (raw, text) in enumerate(SLACK_TEXTS):
        yield event(f"written {n}", said(200 + n, f"<@UBOT> {raw}"), {"text": text})
    thread = said(300, "<@UBOT> in thread", channel="C1", type="app_mention", thread_ts=f"{NOW}.000001")
    yield event("thread", thread, {"text": "in thread", "thread": f"{NOW}.000001"})
    file = {"id": "F1", "name": "计划.pdf", "mimetype": "application/pdf", "size": 9, "url_private": "https://files.slack.com/a"}
    file["url_private_download"] = "https://files.slack.com/a/download"
    with_file = {"kind": "file", "file_name": "计划.pdf", "file_key": "https://files.slack.com/a/download", "text": "look"}
    yield event("file", said(301, "look", subtype="file_share", files=[file]), with_file)
    picture = {**file, "mimetype": "image/png", "name": "p.png"}
    yield event("image", said(302, "", subtype="file_share", files=[picture]), {"kind": "image", "file_name": "p.png"})
    unheard: list[dict[str, Any]] = [
        {"bot_id": "BX"},
        {"user": "UBOT"},
        {"subtype": "bot_message", "bot_id": "B2", "username": "x"},
        {"subtype": "channel_join"},
        {"subtype": "never_heard_of"},
        {"hidden": True},
        {"channel": "C1", "channel_type": "channel"},
        {"user": "USLACKBOT"},
    ]
    for n, more in enumerate(unheard):
        yield event(f"silent {n}", {**said(310 + n, "hi"), **more}, None)
    yield event(
        "joined",
        {"type": "member_joined_channel", "user": "UBOT", "channel": "C1", "inviter": "UANN"},
        {"kind": "bot_added", "conversation": "C1", "sender": "UANN"},
    )
    yield event("other joined", {"type": "member_joined_channel", "user": "UBOB", "channel": "C1"}, None)
    home = {"type": "app_home_opened", "user": "UANN", "channel": "D1", "tab": "messages", "event_ts": f"{NOW}.9"}
    yield event("entered", home, {"kind": "entered", "conversation": "D1", "sender": "UANN"})
    yield event("home", {**home, "tab": "home"}, None)
    yield event("reaction", {"type": "reaction_added", "user": "UANN"}, None)
    before = said(400, "before")
    edit = {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "channel": "D1",
        "channel_type": "im",
        "ts": f"{NOW}.5",
    }
    edited = {**edit, "message": {**before, "text": "after &amp; <@UBOT>", "edited": {"user": "UANN", "ts": f"{NOW}.6"}}}
    changes = {"kind": "edited", "text": "after &", "message_id": f"{NOW}.000400", "sender": "UANN", "conversation": "D1"}
    yield event("edited", {**edited, "previous_message": before}, changes)
    gone = {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "channel": "D1",
        "channel_type": "im",
        "ts": f"{NOW}.7",
    }
    deleted = {**gone, "deleted_ts": f"{NOW}.000400", "previous_message": before}
    yield event("recalled", deleted, {"kind": "recalled", "message_id": f"{NOW}.000400", "conversation": "D1"})
    own = {**before, "bot_id": "BBOT", "user": "UBOT"}
    yield event("own edited", {**edit, "message": {**own, "text": "b"}, "previous_message": own}, None)
    strange = {"type": ["message"], "user": {}, "channel": 5, "ts": 10**300, "files": {"a": 1}}
    yield event("strange", strange, None)
    yield event("odd time", said(401, "hi", ts="9" * 50, event_ts="x"), {"text": "hi"})
    for name, data in [
        ("limited", {"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": NOW}),
        ("unknown", {"type": "x"}),
    ]:
        yield Case(f"slack {name}", slack_line("events", data))
    lone = slack_line("events", compact(slack_event(said(402, "LONE"), id_="Ev-lone")).replace("LONE", "a\\ud800b"))
    yield Case("slack lone surrogate", lone, messages=({"kind": "text"},))

    def challenged(verdict: Mapping[str, Any]) -> None:
        body = verdict["reply_body"]
        assert body == "3eZ✓" or json.loads(body) == {"challenge": "3eZ✓"}

    check = slack_line("events", {"token": "t", "challenge": "3eZ✓", "type": "url_verification"})
    yield Case("slack challenge", check, "challenge", (200,), (), challenged)
    yield refused("slack challenge unsigned", changed(check, headers={"Content-Type": "application/json"}))

    def act(name: str, actions: Any, *expected: Mapping[str, Any], **more: Any) -> Case:
        payload = {
            "type": "block_actions",
            "user": {"id": "UANN", "username": "ann"},
            "team": {"id": "T1"},
            "trigger_id": f"tr-{name}",
        }
        payload |= {
            "channel": {"id": "C1"},
            "message": {"ts": f"{NOW}.1"},
            "container": {"message_ts": f"{NOW}.1"},
            "actions": actions,
        }
        always = {"kind": "card_action", "conversation": "C1", "sender": "UANN", "message_id": f"{NOW}.1"}
        found = tuple({**always, **e} for e in expected)
        return Case(f"slack {name}", slack_line("interactive", {"payload": compact({**payload, **more})}), messages=found)

    button = {"action_id": "ok", "block_id": "b", "type": "button", "value": '{"id":7,"名":"甲"}', "action_ts": f"{NOW}.2"}
    yield act("button", [button], {"action_key": "ok", "action_value": {"id": 7, "名": "甲"}})
    yield act("word", [{**button, "value": "a+b &c=d"}], {"action_value": "a+b &c=d"})
    for value, read in [
        ("1e999", "1e999"),
        ("1.10", "1.10"),
        ("007", "007"),
        ("12", 12),
        ("1.5", 1.5),
        ('"5"', "5"),
        ("NaN", "NaN"),
    ]:
        yield act(f"value {value}", [{**button, "value": value}], {"action_value": read})
    deep = act("deep value", [{**button, "value": "[" * 700 + "]" * 700}])
    yield refused(deep.name, deep.line, 400)
    yield act("two", [button, {**button, "action_id": "no"}], {"action_key": "ok"}, {"action_key": "no"})
    select = {**button, "type": "static_select", "selected_option": {"text": {"type": "plain_text", "text": "A"}, "value": "a"}}
    yield act("select", [{k: v for k, v in select.items() if k != "value"}], {"action_value": "a"})
    yield act("no action", [])
    yield act("actions no list", {"a": 1})
    base = {"user": {"id": "UANN"}, "team": {"id": "T1"}}
    view = {"id": "V1", "callback_id": "leave", "state": {"values": {"b": {"days": {"type": "plain_text_input", "value": "3"}}}}}
    form = {**base, "type": "view_submission", "trigger_id": "tr-v", "view": view}
    sent = {"kind": "card_action", "sender": "UANN", "action_key": "leave", "action_value": {"days": "3"}}
    yield Case("slack form", slack_line("interactive", {"payload": compact(form)}), messages=(sent,))
    short = {**base, "type": "shortcut", "callback_id": "ask", "trigger_id": "tr-s", "action_ts": f"{NOW}.3"}
    yield Case(
        "slack shortcut", slack_line("interactive", {"payload": compact(short)}), messages=({"kind": "menu", "menu_key": "ask"},)
    )
    yield Case(
        "slack form closed", slack_line("interactive", {"payload": compact({**base, "type": "view_closed", "view": view})})
    )
    for name, fields in [
        ("no payload", {"a": "b"}),
        ("no JSON", {"payload": "{"}),
        ("list", {"payload": "[]"}),
        ("deep", {"payload": "[" * 50_000}),
    ]:
        yield refused(f"slack interactive {name}", slack_line("interactive", fields), 400)

    for n, text in enumerate(TEXTS):
        raw = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        typed = {"command": "/ask", "text": raw, "user_id": "UANN", "channel_id": "C1", "team_id": "T1", "trigger_id": f"tc-{n}"}
        found = {"kind": "slash", "menu_key": "/ask", "text": text, "conversation": "C1", "sender": "UANN"}
        yield Case(
            f"slack command {n}",
            slack_line("commands", {**typed, "response_url": "https://hooks.slack.com/c"}),
            messages=(found,),
        )
    named = {
        "command": "/ask",
        "text": "<@UBOT|desk> hi <@UBOB|bob>",
        "user_id": "UANN",
        "channel_id": "D1",
        "trigger_id": "tc-n",
    }
    yield Case("slack command naming us", slack_line("commands", named), messages=({"text": "hi @bob"},))
    yield refused("slack command without user", slack_line("commands", {"command": "/ask"}), 400)
    for channel in ("interactive", "commands"):
        probe = line("slack", f"/slack/{channel}", body="ssl_check=1&token=t", headers={"Content-Type": FORM}, secrets=SLACK)
        yield Case(f"slack ssl_check {channel}", probe)
        forged = f"ssl_check=1&{urlencode(named)}"
        yield Case(f"slack ssl_check {channel} with more", changed(probe, body=forged), messages=())

    body = compact(slack_event(said(500, "hi"), id_="Ev-good"))
    good = slack_line("events", body)
    headers, ok = good["request"]["headers"], {"messages": ({"text": "hi"},), "twin": "s good"}
    yield Case("slack good", good, **ok)  # type: ignore[arg-type]  # fields of Case
    retry = {**headers, "X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}
    yield Case("slack retry", changed(good, headers=retry), **ok)  # type: ignore[arg-type]  # as above
    for name, written in [("lower", str.lower), ("upper", str.upper)]:
        yield Case(f"slack {name}", changed(good, headers={written(k): v for k, v in headers.items()}), **ok)  # type: ignore[arg-type]  # as above
    bare = {k: v for k, v in headers.items() if k != "Content-Type"}
    yield Case("slack content type unsaid", changed(good, headers=bare), **ok)  # type: ignore[arg-type]  # as above
    yield Case("slack charset", changed(good, headers={**headers, "Content-Type": "application/json; charset=utf-8"}), **ok)  # type: ignore[arg-type]  # as above
    packed = {**good["request"], "body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}
    yield Case("slack in base64", {**good, "request": packed}, **ok)  # type: ignore[arg-type]  # as above
    yield refused("slack content type", changed(good, headers={**headers, "Content-Type": "text/xml"}), 415)
    for off in (-299, 299):
        yield Case(f"slack {off} s", changed(good, now=NOW + off), **ok)  # type: ignore[arg-type]  # as above
        yield Case(f"slack fraction {off}", changed(good, now=NOW + off + 0.25), **ok)  # type: ignore[arg-type]  # as above
    for off in (-302, 302, 86400):
        yield refused(f"slack {off} s", changed(good, now=NOW + off))
    for stamp in ("now", "", "nan", "inf", f"{NOW}.0", f" {NOW}", f"-{NOW}", "1" * 400, "١٢٣", f"{NOW}\n", f"+{NOW}", hex(NOW)):
        yield refused(f"slack stamp {stamp[:20]!r}", changed(good, headers=slack_headers(body, stamp=stamp)))
    for name in ("X-Slack-Request-Timestamp", "X-Slack-Signature"):
        yield refused(f"slack without {name}", changed(good, headers={k: v for k, v in headers.items() if k != name}))
        yield refused(f"slack two {name}", changed(good, headers={**headers, name.lower(): headers[name]}))
        yield refused(f"slack list {name}", changed(good, headers={**headers, name: [headers[name], headers[name]]}))
    signature = headers["X-Slack-Signature"]
    for other in (
        "",
        "v0=",
        signature[3:],
        signature.upper(),
        "v1=" + signature[3:],
        signature + "0",
        signature[:-1],
        "v0=\ud800",
        "签",
    ):
        yield refused(
            f"slack signature {len(other)} {other[:8]!a}", changed(good, headers={**headers, "X-Slack-Signature": other})
        )
    for n in range(0, len(signature), 3):
        yield refused(f"slack signature bit {n}", changed(good, headers={**headers, "X-Slack-Signature": flipped(signature, n)}))
    yield refused("slack other secret", changed(good, secrets={**SLACK, "signing_secret": "no"}))
    yield refused("slack no secret", changed(good, secrets={k: v for k, v in SLACK.items() if k != "signing_secret"}))
    yield refused("slack no secrets", changed(good, secrets={}))
    for n in range(0, len(body), max(1, len(body) // 120)):
        yield refused(f"slack bit {n}", changed(good, body=flipped(body, n)))
        yield refused(f"slack cut {n}", changed(good, body=body[:n]))
    yield refused("slack longer", changed(good, body=body + " "))
    for name, what in [
        ("empty", ""),
        ("list", "[]"),
        ("cut", "{"),
        ("deep", "[" * 60_000),
        ("digits", "9" * 9000),
        ("no event", '{"type":"event_callback"}'),
        ("no challenge", '{"type":"url_verification"}'),
    ]:
        yield refused(f"slack signed {name}", slack_line("events", what), 400)
    yield refused("slack GET", changed(good, method="GET"), 405)
    yield refused("slack too long", slack_line("events", compact({"a": "x" * 300_000})), 413)


# --- Teams ---------------------------------------------------------------------------------------

BOT: Final = "28:app-1"
SERVICE: Final = "https://smba.trafficmanager.net/emea/"


@dataclass
class Microsoft:
    """Publishes keys on 127.0.0.1 and signs with them."""

    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    endorsements: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""

    def __enter__(self) -> Microsoft:
        for kid, endorsed in [("good", ["msteams", "webchat"]), ("webchat", ["webchat"]), ("bare", [])]:
            self.keys[kid], self.endorsements[kid] = rsa.generate_private_key(65537, 2048), endorsed
        vendor = self

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(vendor.document(self.path)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def document(self, path: str) -> Any:
        """What stands at `path`."""
        if path != "/keys":
            return {"issuer": "https://api.botframework.com", "jwks_uri": f"{self.url}/keys"}
        keys = []
        for kid, key in self.keys.items():
            published = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
            keys.append({**published, "use": "sig", "kid": kid, "x5t": kid, "endorsements": self.endorsements[kid]})
        return {"keys": keys}

    @property
    def secrets(self) -> dict[str, str]:
        """The secret fields of the bot."""
        metadata = f"{self.url}/v1/.well-known/openidconfiguration"
        return {"app_id": "app-1", "app_password": "p", "tenant_id": "t1", "openid_metadata": metadata}

    def token(self, *, kid: Any = "good", key: str = "good", algorithm: str = "RS256", header: Any = None, **more: Any) -> str:
        """A token; a claim of None is left out."""
        claims = {
            "iss": "https://api.botframework.com",
            "aud": "app-1",
            "exp": NOW + 3600,
            "nbf": NOW - 60,
            "serviceurl": SERVICE,
        }
        claims = {k: v for k, v in {**claims, **more}.items() if v is not None}
        headers = {"kid": kid, **(header or {})} if kid is not None else header
        return jwt.encode(claims, self.keys[key], algorithm=algorithm, headers=headers)

    def line(self, activity: Any, *, token: str | None = None, **more: Any) -> Line:
        """A genuine request with this activity."""
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token or self.token()}"}
        body = activity if isinstance(activity, str) else compact(activity)
        return line("teams", "/teams/messages", body=body, headers=headers, secrets=self.secrets, **more)


def raw_token(header: Any, claims: Any, signature: bytes = b"x") -> str:
    """A token made by hand."""

    def part(data: Any) -> str:
        raw = data if isinstance(data, bytes) else compact(data).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims)}.{part(signature)}"


def activity(kind: str = "message", *, id_: str, group: bool = False, **more: Any) -> dict[str, Any]:
    """A Teams activity."""
    chat: dict[str, Any] = (
        {"id": "19:x@thread.tacv2;messageid=17", "conversationType": "channel", "isGroup": True}
        if group
        else {"id": "a:1", "conversationType": "personal"}
    )
    base: dict[str, Any] = {
        "type": kind,
        "id": id_,
        "timestamp": "2026-01-01T00:00:00.1234567Z",
        "serviceUrl": SERVICE,
        "channelId": "msteams",
    }
    base |= {"from": {"id": "29:ann", "name": "Ann", "aadObjectId": "o"}, "recipient": {"id": BOT, "name": "Desk"}}
    return {
        **base,
        "conversation": {**chat, "tenantId": "t1"},
        "channelData": {"tenant": {"id": "t1"}},
        "locale": "en-US",
        **more,
    }


def at(name: str, id_: str) -> dict[str, Any]:
    """A mention entity."""
    return {"type": "mention", "mentioned": {"id": id_, "name": name}, "text": f"<at>{name}</at>"}


def teams(vendor: Microsoft) -> Iterator[Case]:
    """Activities, and tokens of every badness."""

    def case(
        name: str, data: Mapping[str, Any], expected: Mapping[str, Any] | None, *, twin: str = "", reply: Check | None = None
    ) -> Case:
        always = {"sender": "29:ann", "conversation": data["conversation"]["id"], "event_id": data["id"]}
        found = ({**always, **expected},) if expected is not None else ()
        return Case(f"teams {name}", vendor.line(data), messages=found, twin=twin, reply=reply)

    for n, text in enumerate(TEXTS):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        said = {"kind": "text", "text": text, "message_id": f"t{n}"}
        yield case(f"text {n}", activity(id_=f"t{n}", text=f"{escaped}&nbsp;\r\n", textFormat="plain"), said)
        named = activity(id_=f"g{n}", group=True, text=f"<at>Desk</at>&nbsp;{escaped}", entities=[at("Desk", BOT)])
        yield case(f"group {n}", named, {"kind": "text", "text": text}, twin=f"t {n}")
        yield case(f"group again {n}", named, {"kind": "text", "text": text}, twin=f"t {n}")
    everybody = [at("Desk", BOT), at("Desk Two", "29:two"), at("Bo", "29:bo"), at("Bo", "29:bo2")]
    many = activity(
        id_="m1", group=True, text="<at>Desk</at> ask <at>Desk Two</at>, <at>Bo</at> &amp; <at>Bo</at>", entities=everybody
    )
    yield case("mentions", many, {"text": "ask Desk Two, Bo & Bo"})
    yield case("html escaped", activity(id_="h1", text="a &lt;b&gt; &amp;amp; c"), {"text": "a <b> &amp; c"})
    info = {"contentType": "application/vnd.microsoft.teams.file.download.info", "name": "计划.xlsx"}
    info["content"] = {"downloadUrl": "https://c.sharepoint.com/d?x=1", "uniqueId": "u", "fileType": "xlsx"}  # type: ignore[assignment]  # a dict in a dict of texts
    html = {"contentType": "text/html", "content": "<p>see</p>"}
    file = {"kind": "file", "file_key": "https://c.sharepoint.com/d?x=1", "file_name": "计划.xlsx", "text": "see"}
    yield case("file", activity(id_="f1", text="see", attachments=[html, info]), file)
    image = {"contentType": "image/*", "contentUrl": f"{SERVICE}v3/attachments/1/views/original"}
    yield case("image", activity(id_="i1", attachments=[image, html]), {"kind": "image", "file_key": image["contentUrl"]})
    submit = activity(id_="s1", value={"action": "ok", "n": 1}, replyToId="card1")
    yield case("submit", submit, {"kind": "card_action", "action_key": "ok", "action_value": {"action": "ok", "n": 1}})

    def invoked(verdict: Mapping[str, Any]) -> None:
        reply = json.loads(verdict["reply_body"])
        assert reply["statusCode"] == 200
        assert reply["type"] == "application/vnd.microsoft.activity.message"
        assert isinstance(reply["value"], str)

    execute = {"action": {"type": "Action.Execute", "verb": "approve", "data": {"n": [1, "二"]}}, "trigger": "manual"}
    click = activity("invoke", id_="v1", name="adaptiveCard/action", value=execute, replyToId="card1")
    pressed = {"kind": "card_action", "action_key": "approve", "action_value": {"n": [1, "二"]}, "message_id": "card1"}
    for n in range(2):
        yield case(f"execute {n}", click, pressed, reply=invoked, twin="t execute")
    verbless = {"action": {"type": "Action.Execute", "data": {"n": 1}}, "trigger": "manual"}
    quiet = activity("invoke", id_="v2", name="adaptiveCard/action", value=verbless, replyToId="card1")
    yield case("execute without verb", quiet, {"kind": "card_action", "action_value": {"n": 1}}, reply=invoked)
    unknown = case("unknown invoke", activity("invoke", id_="v3", name="composeExtension/query", value={}), None)
    yield replace(unknown, statuses=(501,))
    for action, kind, members in [("add", "bot_added", "membersAdded"), ("remove", "bot_removed", "membersRemoved")]:
        happened = {"kind": kind, "conversation": "19:x@thread.tacv2;messageid=17"}
        joined = activity("conversationUpdate", id_=f"c-{action}", group=True, **{members: [{"id": "29:x"}, {"id": BOT}]})
        yield case(f"{kind} update", joined, happened, twin=f"t {kind}")
        yield case(
            f"{kind} install",
            activity("installationUpdate", id_=f"i-{action}", group=True, action=action),
            happened,
            twin=f"t {kind}",
        )
    yield case("person joined", activity("conversationUpdate", id_="c3", group=True, membersAdded=[{"id": "29:x"}]), None)
    edit = activity(
        "messageUpdate", id_="t1", text="new &amp; better", channelData={"eventType": "editMessage", "tenant": {"id": "t1"}}
    )
    yield case("edited", edit, {"kind": "edited", "text": "new & better", "message_id": "t1"})
    yield case(
        "recalled",
        activity("messageDelete", id_="t1", channelData={"eventType": "softDeleteMessage"}),
        {"kind": "recalled", "message_id": "t1"},
    )
    for kind in ("typing", "messageReaction", "endOfConversation", "event", "never"):
        yield case(kind, activity(kind, id_=f"k-{kind}"), None)
    yield case("restored", activity("messageUpdate", id_="t9", text="x", channelData={"eventType": "undeleteMessage"}), None)
    yield case("own words", activity(id_="o1", text="hi") | {"from": {"id": BOT}}, None)
    yield case("another bot", activity(id_="o2", text="hi") | {"from": {"id": "28:other", "role": "bot"}}, None)
    odd = activity(id_="od1", text="hi", entities={"a": 1}, attachments=[1, {"content": 5}], timestamp=10**400)
    yield case("odd", odd, {"text": "hi"})
    deep = activity(id_="dv", value=json.loads('{"action":"x","v":' + "[" * 300 + "]" * 300 + "}"))
    yield refused("teams deep value", vendor.line(deep), 400)
    lone = vendor.line(compact(activity(id_="lone", text="LONE")).replace("LONE", "a\\ud800b"))
    yield Case("teams lone surrogate", lone, messages=({"kind": "text"},))

    said_hi = activity(id_="good", text="hi")
    good, ok = vendor.line(said_hi), {"messages": ({"text": "hi"},), "twin": "t good"}
    yield Case("teams good", good, **ok)  # type: ignore[arg-type]  # fields of Case
    headers, token = good["request"]["headers"], vendor.token()
    yield Case("teams header case", changed(good, headers={k.upper(): v for k, v in headers.items()}), **ok)  # type: ignore[arg-type]  # as above
    yield Case("teams content type unsaid", changed(good, headers={"authorization": f"Bearer {token}"}), **ok)  # type: ignore[arg-type]  # as above
    for off in (-300, 3600 + 200):
        yield Case(f"teams now {off}", changed(good, now=NOW + off), **ok)  # type: ignore[arg-type]  # as above
    for off in (-3600, 3600 + 400, 86400 * 3):
        yield refused(f"teams now {off}", changed(good, now=NOW + off))

    def forged(name: str, token: str, **more: Any) -> Case:
        return refused(f"teams {name}", vendor.line(said_hi, token=token, **more))

    for name, claims in {
        "no iss": {"iss": None},
        "tenant iss": {"iss": "https://sts.windows.net/t1/"},
        "v2 iss": {"iss": "https://login.microsoftonline.com/t1/v2.0"},
        "iss with slash": {"iss": "https://api.botframework.com/"},
        "no aud": {"aud": None},
        "other aud": {"aud": "app-2"},
        "expired": {"exp": NOW - 301},
        "no exp": {"exp": None},
        "exp NaN": {"exp": float("nan")},
        "exp text": {"exp": "x"},
        "not yet": {"nbf": NOW + 600},
        "nbf NaN": {"nbf": float("nan")},
        "no serviceurl": {"serviceurl": None},
        "other serviceurl": {"serviceurl": "https://evil.example/"},
        "serviceurl of the host": {"serviceurl": "https://smba.trafficmanager.net/amer/"},
        "serviceurl, no text": {"serviceurl": [SERVICE]},
    }.items():
        yield forged(name, vendor.token(**claims))  # type: ignore[arg-type]  # claims of any type
    yield forged("unknown kid", vendor.token(kid="gone"))
    yield forged("no kid", vendor.token(kid=None))
    yield forged("kid no text", raw_token({"alg": "RS256", "kid": 5}, {}))
    yield forged("not endorsed", vendor.token(kid="bare", key="bare"))
    yield forged("other endorsement", vendor.token(kid="webchat", key="webchat"))
    yield forged("other key", vendor.token(key="webchat"))
    yield forged("RS512", vendor.token(algorithm="RS512"))
    yield forged("PS256", vendor.token(algorithm="PS256"))
    claims = {"iss": "https://api.botframework.com", "aud": "app-1", "exp": NOW + 3600, "serviceurl": SERVICE}
    for none in ("none", "None", "NONE", ""):
        yield forged(f"alg {none!r}", raw_token({"alg": none, "kid": "good", "typ": "JWT"}, claims, b""))
    public = vendor.keys["good"].public_key()
    for encoding, form in [
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
    ]:
        secret = public.public_bytes(encoding, form)
        head, body, _ = raw_token({"alg": "HS256", "kid": "good", "typ": "JWT"}, claims).split(".")
        mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        yield forged(f"HS256 {encoding} {form}", f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    yield forged("deep header", raw_token(b"[" * 6000, claims))
    yield forged("deep claims", raw_token({"alg": "RS256", "kid": "good"}, b"[" * 6000))
    yield forged("header a list", raw_token([], claims))
    yield forged(
        "key in the header",
        vendor.token(
            key="webchat",
            header={"jwk": json.loads(RSAAlgorithm.to_jwk(vendor.keys["webchat"].public_key())), "jku": "http://127.0.0.1:9/"},
        ),
    )
    yield forged("crit", vendor.token(header={"crit": ["x"], "x": 1}))
    for name, auth in {
        "empty": "",
        "scheme": token,
        "basic": f"Basic {token}",
        "nothing": "Bearer ",
        "words": "Bearer a b c",
        "parts": "Bearer a.b",
        "surrogate": "Bearer \ud800.a.b",
        "chinese": "Bearer 令牌",
        "long": "Bearer " + "a" * 9000,
        "two": f"Bearer {token},Bearer {token}",
    }.items():
        yield refused(f"teams authorization {name}", changed(good, headers={**headers, "Authorization": auth}))
    yield refused("teams two tokens", changed(good, headers={**headers, "authorization": f"Bearer {vendor.token(key='bare')}"}))
    yield refused("teams no token", changed(good, headers={"Content-Type": "application/json"}))
    for n in range(0, len(token) - 1, max(1, len(token) // 60)):
        yield forged(f"token bit {n}", token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :])
        yield forged(f"token cut {n}", token[: n + 1])
    for name, more in {
        "other channel": {"channelId": "webchat"},
        "no channel": {"channelId": None},
        "other service": {"serviceUrl": "https://evil.example/"},
        "service of the host": {"serviceUrl": "https://smba.trafficmanager.net/amer/"},
        "no service": {"serviceUrl": None},
        "service, no text": {"serviceUrl": {"a": 1}},
    }.items():
        yield refused(f"teams {name}", vendor.line(activity(id_="q", text="hi", **more)))  # type: ignore[arg-type]  # any JSON
    for url in (
        "https://evil.example/",
        "http://smba.trafficmanager.net/emea/",
        "https://[bad",
        "https://a@smba.trafficmanager.net/",
        "https://smba.trafficmanager.net:x/",
        "https://smba.trafficmanager.net.evil.example/",
    ):
        token_there = vendor.token(serviceurl=url)
        yield refused(f"teams signed for {url}", vendor.line(activity(id_="q", text="hi", serviceUrl=url), token=token_there))
    for missing in ("app_id",):
        yield refused(f"teams without {missing}", changed(good, secrets={**vendor.secrets, missing: ""}))
    nowhere = {**vendor.secrets, "openid_metadata": "http://127.0.0.1:9/metadata"}
    yield refused("teams keys out of reach", changed(good, secrets=nowhere), 503)
    unsigned = raw_token({"alg": "none", "kid": "good"}, claims, b"")
    yield refused("teams keys out of reach, unsigned", changed(vendor.line(said_hi, token=unsigned), secrets=nowhere))
    yield refused("teams other app", changed(good, secrets={**vendor.secrets, "app_id": "app-2"}))
    for name, body in [("cut", "{"), ("list", "[]"), ("deep", "[" * 60_000), ("empty", ""), ("digits", "9" * 9000)]:
        yield refused(f"teams body {name}", vendor.line(body), 400)
    yield refused("teams content type", changed(good, headers={**headers, "Content-Type": "text/plain"}), 415)
    yield refused("teams GET", changed(good, method="GET"), 405)


# --- anything ------------------------------------------------------------------------------------

STRANGE: Final[tuple[Any, ...]] = (
    None,
    True,
    5,
    -1,
    1e300,
    10**400,
    "",
    "\ud800",
    "\x00",
    "x" * 5000,
    [],
    {},
    [[]],
    {"a": None},
    ["x"],
    [{"id": 1}],
)


def strange(value: Any, chance: random.Random) -> Any:
    """`value` with one of its parts replaced by something that nobody expects there."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        inside = strange(value[key], chance)
        return {k: (inside if k == key else v) for k, v in value.items() if k != key or chance.random() < 0.9}
    if isinstance(value, list) and value and chance.random() < 0.9:
        number = chance.randrange(len(value))
        return [*value[:number], strange(value[number], chance), *value[number + 1 :]]
    return chance.choice(STRANGE)


def odd_but_genuine(vendor: Microsoft, *, seed: int, each: int) -> Iterator[Line]:
    """Proven requests whose content nobody has ever seen."""
    chance = random.Random(seed)
    seeds: dict[str, list[tuple[str, Any]]] = {name: [] for name in ("feishu", "robot", "teams", "events", "interactive")}
    for case in teams(vendor):
        if case.verdict == "accept":
            seeds["teams"].append(("", json.loads(case.line["request"]["body"])))
    for case in dingtalk():
        if case.verdict == "accept" and case.line["request"]["path"] == "/dingtalk/robot":
            seeds["robot"].append(("", json.loads(case.line["request"]["body"])))
    for case in slack():
        request = case.line["request"]
        if case.verdict == "accept" and request["path"] == "/slack/events" and "isBase64Encoded" not in request:
            seeds["events"].append(("", json.loads(request["body"])))
    for _ in range(each):
        yield vendor.line(strange(chance.choice(seeds["teams"])[1], chance))
        yield robot_line(json.dumps(strange(chance.choice(seeds["robot"])[1], chance)))
        yield slack_line("events", json.dumps(strange(chance.choice(seeds["events"])[1], chance)))
        said = feishu_said({"text": "@_user_1 hi"}, id_="o", chat="group", mentions=[mention(1, "ou_bot", "Desk")])
        clicked = {"operator": {"open_id": "o"}, "action": {"value": {"a": 1}, "tag": "x"}, "context": {"open_chat_id": "c"}}
        kind, inner = chance.choice([("im.message.receive_v1", said), ("card.action.trigger", clicked)])
        event = strange(feishu_event(kind, inner, id_="o"), chance)
        yield feishu_line(json.dumps(event).encode())
        bot = {
            "msgid": "o",
            "create_time": NOW,
            "aibotid": "aib1",
            "chattype": "single",
            "from": {"userid": "ann"},
            "msgtype": "mixed",
        }
        mixed = {
            **bot,
            "mixed": {"msg_item": [{"msgtype": "text", "text": {"content": "a"}}]},
            "quote": {"msgtype": "text", "text": {"content": "b"}},
        }
        pressed = {
            **bot,
            "msgtype": "event",
            "event": {
                "eventtype": "template_card_event",
                "template_card_event": {
                    "event_key": "k",
                    "selected_items": {"selected_item": [{"question_key": "q", "option_ids": {"option_id": ["a"]}}]},
                },
            },
        }
        yield wecom_line("bot", json.dumps(strange(chance.choice([mixed, pressed]), chance)).encode())
        recall = {"EventType": "robot_msg_recall", "EventTime": NOW, "eventId": "e", "OpenConversationId": "c", "UserId": "u"}
        yield ding_event_line(json.dumps(strange(recall, chance)).encode())
        click = {
            "type": "block_actions",
            "user": {"id": "U"},
            "trigger_id": "t",
            "channel": {"id": "C"},
            "actions": [{"action_id": "a", "value": "1"}],
        }
        yield slack_line("interactive", {"payload": json.dumps(strange(click, chance))})


DAMAGED: Final = (
    "nonsense",
    "[]",
    "5",
    "null",
    "{}",
    '{"platform":"slack"}',
    '{"platform":"slack","request":[]}',
    '{"platform":"slack","request":{"headers":5}}',
    '{"platform":"slack","request":{"headers":{},"query":5}}',
    '{"platform":"slack","request":{"headers":{},"body":{}}}',
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":5}',
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":{"signing_secret":"s"},"now":NaN}',
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":{"signing_secret":"s"},"now":1e999}',
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":{"signing_secret":"s"},"now":'
    + "9" * 400
    + "}",
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":{"signing_secret":"s"},"now":true}',
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":{"signing_secret":"s"},"now":"1767225600"}',
    '{"platform":"slack","request":' + "[" * 30_000,
    '{"platform":"slack","request":{"path":"/slack/events","body":"{}"},"secrets":{"signing_secret":{"a":"\\ud800"}}}',
    '{"platform":"nope","request":{"path":"/nope/x"}}',
    '{"platform":["slack"],"request":{"path":{"a":1}}}',
)
"""Lines that are no recorded request."""
