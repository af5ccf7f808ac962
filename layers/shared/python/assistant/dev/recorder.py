"""Recordings of real webhooks and vendor replies that hold nothing real: to be kept in a repository and replayed as tests.

A webhook is opened with the real secrets, every word in it is replaced, and it is sealed and signed again with secrets made up
for the recording. The same word always becomes the same other word of the same shape, so that what belongs together still does:
a mention still names the bot, a thread still has its root. The key of that mapping exists in memory only. A recorded line is
what `assistant webhook check` reads, with what the assistant made of it; replaying compares.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple, TextIO
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from assistant.dev.commands.webhook import Checker
from assistant.errors import VerificationError
from assistant.messages import KINDS, Message, Webhook
from assistant.platforms import PLATFORMS
from assistant.platforms.crypto import decrypt, encrypt, key_from_text, open_envelope, seal_envelope, sorted_sha1

# --- other words -------------------------------------------------------------------------------

STRUCTURE: Final = frozenset(
    {
        "type", "subtype", "event_type", "eventtype", "event", "schema", "msg_type", "message_type", "msgtype", "chat_type",
        "chattype", "conversationtype", "channel_type", "sender_type", "tag", "textformat", "contenttype", "channelid", "locale",
        "host", "cardtype", "card_type", "trigger", "encoding", "version", "format", "membersadded", "tab", "mimetype",
        "filetype", "token_type", "eventtypename", "status", "ok",
    }
)  # fmt: skip
"""Fields, in lower case, whose values say what a message is and not what somebody wrote."""

TIMES: Final = frozenset(
    {
        "create_time", "createtime", "createat", "event_time", "eventtime", "timestamp", "ts", "thread_ts", "event_ts",
        "action_ts", "message_ts", "deleted_ts", "update_time", "sendtime", "localtimestamp", "timestampms", "expire",
        "expires_in", "sessionwebhookexpiredtime", "gmtcreate",
    }
)  # fmt: skip

SPOKEN_BY_VENDORS: Final = frozenset({"error", "errmsg", "msg", "message", "code", "error_description", "needed", "provided"})

KEPT: Final = frozenset(
    {
        "at", "all", "here", "channel", "user_id", "id", "href", "br", "p", "a", "b", "div", "span", "thread", "tacv2",
        "skype", "unq", "gbl", "spaces", "orgid", "msteams", "message", "action", "adaptiveCard", "invoke", "fileConsent",
        "19", "28", "29", "https", "http", "com", "cn", "net", "true", "false", "null",
    }
)  # fmt: skip
"""Words of the vendors' syntax."""

HOSTS: Final = re.compile(
    r"(?:[\w-]+\.)*(?:dingtalk\.com|feishu\.cn|larksuite\.com|weixin\.qq\.com|slack\.com|botframework\.com|trafficmanager\.net)"
)
_LOCAL = re.compile(r"127\.0\.0\.1(?::\d+)?")
_WORD = re.compile(r"\w+")
_URL = re.compile(r"https?://[^\s\"'<>|)]+")
_PREFIXED = re.compile(r"(ou|oc|om|on|od|cli|img|file|ev|tk|cid|msg|xoxb)_(?=\w)", re.ASCII)
_PLACEHOLDER = re.compile(r"_user_\d+|_all")
_HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


class Redactor:
    """Replaces words. One instance maps a word to the same other word wherever it stands, and nobody can map it back."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or os.urandom(32)
        self.originals: set[str] = set()
        """Every word of six letters or more that was replaced: none of them may stand in what is written."""
        self.kept: set[str] = set()
        """Words of field names and of values that are kept on purpose."""

    def word(self, word: str) -> str:
        """Another word of the same length and kinds of characters."""
        if word in KEPT or _PLACEHOLDER.fullmatch(word):
            return word
        kept = 0
        if prefix := _PREFIXED.match(word):
            kept = prefix.end()
        elif re.fullmatch(r"[A-Z][A-Z0-9]{7,}", word):  # Slack's ids tell by their first letter what they name
            kept = 1
        stream = hmac.new(self._key, word.encode("utf-8", "surrogatepass"), hashlib.sha512).digest() * (len(word) // 64 + 1)
        made = word[:kept] + "".join(_like(c, stream[n % len(stream)] + n) for n, c in enumerate(word) if n >= kept)
        if len(word) >= 6 and made != word:
            self.originals.add(word)
        return made

    def text(self, text: str) -> str:
        """`text` with every word replaced; addresses keep a vendor's host."""
        parts, last = [], 0
        for found in _URL.finditer(text):
            parts += [self._words(text[last : found.start()]), self._url(found[0])]
            last = found.end()
        return "".join([*parts, self._words(text[last:])])

    def _words(self, text: str) -> str:
        return _WORD.sub(lambda m: self.word(m[0]), text)

    def _url(self, url: str) -> str:
        parts = urlsplit(url)
        host = parts.netloc
        if not (HOSTS.fullmatch(host) or _LOCAL.fullmatch(host)):
            host = f"{self._words(host.partition('.')[0])}.example.com"
        query = f"?{self._words(unquote(parts.query))}" if parts.query else ""
        return f"{parts.scheme}://{host}{self._words(parts.path)}" + quote(query, safe="?=&%-_.~")

    def value(self, value: Any, *, name: str = "", vendor: bool = False) -> Any:
        """Decoded JSON with its words replaced; `name` is the field it stands in, `vendor` says who wrote it."""
        field = name.lower()
        if isinstance(value, dict):
            self.kept.update(w for k in value for w in _WORD.findall(k))
            return {self._field(k): self.value(v, name=k, vendor=vendor) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v, name=name, vendor=vendor) for v in value]
        if isinstance(value, bool) or value is None or field in STRUCTURE or field in TIMES:
            self.kept.update(_WORD.findall(str(value)))
            return value
        if isinstance(value, int | float):
            return value if abs(value) < 10**9 else int(self.word(str(int(value))))
        if vendor and field in SPOKEN_BY_VENDORS:
            return re.sub(r"\w*\d\w{3,}", lambda m: self.word(m[0]), value)
        if value[:1] in "{[" and (inner := _json(value)) is not None:  # JSON in a string, as Feishu writes content
            return json.dumps(self.value(inner, vendor=vendor), ensure_ascii=False)
        return self.text(value)

    def _field(self, name: str) -> str:
        return self.text(name) if len(name) > 10 and any(c.isdigit() for c in name) else name

    def secrets(self, given: Mapping[str, str]) -> dict[str, str]:
        """Made-up secrets that fit redacted webhooks; addresses are left out, but for those of this machine."""
        self.kept.update(w for k in given for w in _WORD.findall(k))
        local = {k: v for k, v in given.items() if _LOCAL.fullmatch(urlsplit(v).netloc)}
        return local | {k: self._words(v) for k, v in given.items() if not _URL.match(v)}

    def leaks(self, *texts: str) -> set[str]:
        """Original words that stand in one of `texts` although they were to be replaced."""
        return {w for text in texts for w in _WORD.findall(text)} & (self.originals - self.kept)


def _like(char: str, seed: int) -> str:
    if char.isdigit():
        return str(seed % 10)
    if "a" <= char <= "z":
        return chr(97 + seed % 26)
    if "A" <= char <= "Z":
        return chr(65 + seed % 26)
    if char == "_":
        return char
    return _HAN[seed % len(_HAN)] if ord(char) > 0x2E7F else "x"


def _json(text: str) -> Any:  # any JSON that is no scalar
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


# --- opening and sealing -----------------------------------------------------------------------


class Opened(NamedTuple):
    """A webhook's payload in the clear, and how it was packed."""

    text: str
    sealed: bool


Open = Callable[[Webhook, Mapping[str, str]], Opened]
Seal = Callable[[Webhook, Opened, Mapping[str, str], float], Webhook]
"""The request to fill, its new payload, the secrets, Unix seconds → the packed and signed request."""

TEAMS_TOKEN: Final = "Bearer of-the-recording"  # noqa: S105  # the opposite of a secret
"""Stands in a recorded Teams request; a replay signs a token of its own."""


def _open_plain(webhook: Webhook, secrets: Mapping[str, str]) -> Opened:
    return Opened(webhook.body.decode(), sealed=False)


def _open_feishu(webhook: Webhook, secrets: Mapping[str, str]) -> Opened:
    sealed = (_json(webhook.body.decode()) or {}).get("encrypt")
    if not isinstance(sealed, str):
        return _open_plain(webhook, secrets)
    data = b64decode(sealed)
    key = hashlib.sha256(secrets.get("encrypt_key", "").encode()).digest()
    return Opened(decrypt(data[16:], key=key, iv=data[:16], block=16).decode(), sealed=True)


def _seal_feishu(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
    body, key = payload.text.encode(), secrets.get("encrypt_key", "")
    if payload.sealed:
        iv = os.urandom(16)
        sealed = iv + encrypt(body, key=hashlib.sha256(key.encode()).digest(), iv=iv, block=16)
        body = json.dumps({"encrypt": b64encode(sealed).decode()}).encode()
    nonce = os.urandom(5).hex()
    signature = hashlib.sha256(f"{int(now)}{nonce}{key}".encode() + body).hexdigest()
    headers = {"x-lark-request-timestamp": str(int(now)), "x-lark-request-nonce": nonce, "x-lark-signature": signature}
    return replace(webhook, body=body, headers={**webhook.headers, **headers} if key else webhook.headers)


def _open_envelope(prefix: str) -> Open:
    def open_(webhook: Webhook, secrets: Mapping[str, str]) -> Opened:
        sealed = (
            webhook.query.get("echostr", "").replace(" ", "+") if webhook.method == "GET" else _encrypted(webhook.body.decode())
        )
        receiver = secrets.get("event_owner_key" if prefix == "event" else f"{prefix}_receive_id", "")
        if prefix == "app":
            receiver = receiver or secrets.get("corp_id", "")
        key = key_from_text(secrets.get(f"{prefix}_aes_key", ""), field=f"{prefix}_aes_key")
        return Opened(open_envelope(sealed, key=key, receive_id=receiver).decode(), sealed=True)

    return open_


def _encrypted(body: str) -> str:
    if found := re.search(r"<Encrypt>(?:<!\[CDATA\[)?([^<\]]+)", body):
        return found[1]
    sealed = (_json(body) or {}).get("encrypt")
    if not isinstance(sealed, str):
        raise VerificationError("no encrypted part")
    return sealed


def _seal_envelope(prefix: str) -> Seal:
    def seal(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
        receiver = secrets.get("event_owner_key" if prefix == "event" else f"{prefix}_receive_id", "")
        if prefix == "app":
            receiver = receiver or secrets.get("corp_id", "")
        key = key_from_text(secrets.get(f"{prefix}_aes_key", ""), field=f"{prefix}_aes_key")
        sealed = seal_envelope(payload.text.encode(), key=key, receive_id=receiver)
        stamp, nonce = str(int(now * 1000) if prefix == "event" else int(now)), os.urandom(5).hex()
        signature = sorted_sha1(secrets.get(f"{prefix}_token", ""), stamp, nonce, sealed)
        name = next((n for n in ("msg_signature", "signature") if n in webhook.query), "msg_signature")
        query = {name: signature, "timestamp": stamp, "nonce": nonce}
        if webhook.method == "GET":
            return replace(webhook, query={**query, "echostr": sealed}, body=b"")
        body = f"<xml><Encrypt>{sealed}</Encrypt></xml>" if prefix == "app" else json.dumps({"encrypt": sealed})
        return replace(webhook, query=query, body=body.encode())

    return seal


def _seal_slack(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
    body = payload.text.encode()
    mac = hmac.new(secrets.get("signing_secret", "").encode(), f"v0:{int(now)}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {**webhook.headers, "x-slack-request-timestamp": str(int(now)), "x-slack-signature": f"v0={mac}"}
    return replace(webhook, body=body, headers=headers)


def _seal_robot(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
    secret = secrets.get("app_secret", "")
    sign = _mac(secret, f"{int(now * 1000)}\n{secret}")
    return replace(
        webhook, body=payload.text.encode(), headers={**webhook.headers, "timestamp": str(int(now * 1000)), "sign": sign}
    )


def _seal_card(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
    sign = _mac(secrets.get("card_api_secret", ""), str(int(now * 1000)))
    headers = {"x-ddpaas-signature-timestamp": str(int(now * 1000)), "x-ddpaas-signature": sign}
    return replace(webhook, body=payload.text.encode(), headers={**webhook.headers, **headers})


def _mac(secret: str, text: str) -> str:
    return b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _seal_teams(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
    return replace(webhook, body=payload.text.encode(), headers={**webhook.headers, "authorization": TEAMS_TOKEN})


def _seal_webchat(webhook: Webhook, payload: Opened, secrets: Mapping[str, str], now: float) -> Webhook:
    key = f"Bearer {secrets.get('api_key', '')}"
    return replace(webhook, body=payload.text.encode(), headers={**webhook.headers, "authorization": key})


WIRES: Final[Mapping[tuple[str, str], tuple[Open, Seal]]] = {
    ("feishu", "events"): (_open_feishu, _seal_feishu),
    ("dingtalk", "robot"): (_open_plain, _seal_robot),
    ("dingtalk", "cards"): (_open_plain, _seal_card),
    ("dingtalk", "events"): (_open_envelope("event"), _seal_envelope("event")),
    ("wecom", "app"): (_open_envelope("app"), _seal_envelope("app")),
    ("wecom", "bot"): (_open_envelope("bot"), _seal_envelope("bot")),
    ("slack", "events"): (_open_plain, _seal_slack),
    ("slack", "interactive"): (_open_plain, _seal_slack),
    ("slack", "commands"): (_open_plain, _seal_slack),
    ("teams", "messages"): (_open_plain, _seal_teams),
    ("webchat", "messages"): (_open_plain, _seal_webchat),
}

_FIXED: Final = frozenset(
    {"platform", "request", "method", "headers", "content", "application", "secrets", "expected", "verdict", "status", "messages"}
    | {"accept", "challenge", "reject", *PLATFORMS, *(w for f in fields(Message) for w in _WORD.findall(f.name)), *KINDS}
    | {"encrypt", "signature", "timestamp", "msg_signature", "authorization", "vendor", "Encrypt"}
)
"""Words of the line itself."""

HEADERS: Final = frozenset({"content-type", "x-slack-retry-num", "x-slack-retry-reason"})
"""Headers of a webhook that are recorded as they are; what proves it is made anew."""


# --- recording ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Why something was not recorded. It names no content."""

    reason: str


class Recorder:
    """Writes redacted lines to `out`. Nothing is written that still holds a word that was to be replaced."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]], out: TextIO, *, redactor: Redactor | None = None) -> None:
        self._secrets = {name: {k: str(v) for k, v in given.items()} for name, given in secrets.items()}
        self._out = out
        self._lock = threading.Lock()
        self._redactor = redactor or Redactor()
        self._made_up = {name: self._redactor.secrets(given) for name, given in self._secrets.items()}

    def webhook(self, webhook: Webhook, *, now: float) -> Skipped | None:
        """Records one webhook that was received at the Unix time `now`; or says why it was left out."""
        wire = WIRES.get((webhook.platform, webhook.channel))
        if wire is None:
            return Skipped(reason=f"{webhook.platform}/{webhook.channel} cannot be recorded")
        open_, seal = wire
        try:
            opened = open_(webhook, self._secrets.get(webhook.platform, {}))
        except (VerificationError, ValueError):
            return Skipped(reason="it cannot be opened with the given secrets")
        made_up = self._made_up.get(webhook.platform, {})
        payload = opened._replace(text=self._payload(opened.text, webhook))
        bare = replace(
            webhook,
            headers={k: v for k, v in webhook.headers.items() if k in HEADERS},
            query=dict.fromkeys(webhook.query, ""),
            body=b"",
            trace="",
        )
        packed = seal(bare, payload, made_up, now)
        line: dict[str, Any] = {
            "platform": webhook.platform,
            "request": {
                "method": packed.method,
                "path": f"/{packed.platform}/{packed.channel}",
                "query": dict(packed.query),
                "headers": dict(packed.headers),
                "body": packed.body.decode(),
            },
            "secrets": made_up,
            "now": round(now, 3),
        }
        verdict = _verdict(line)
        if _meaning(verdict) != _meaning(self._real(webhook, now)):
            return Skipped(reason="without its words the assistant would understand it differently")
        line["expected"] = {k: verdict[k] for k in ("verdict", "status", "messages")}
        return self._write(line, payload.text)

    def _real(self, webhook: Webhook, now: float) -> dict[str, Any]:
        """What the assistant makes of the request as it came."""
        request = {
            "method": webhook.method,
            "path": f"/{webhook.platform}/{webhook.channel}",
            "query": dict(webhook.query),
            "headers": dict(webhook.headers),
            "body": webhook.body.decode("utf-8", "surrogateescape"),
        }
        secrets = self._secrets.get(webhook.platform, {})
        return _verdict({"platform": webhook.platform, "request": request, "secrets": secrets, "now": round(now, 3)})

    def exchange(
        self, platform: str, method: str, path: str, *, status: int, headers: Mapping[str, str], body: bytes
    ) -> Skipped | None:
        """Records one reply of a vendor's API, with the call that it answers but without what the call carried."""
        decoded = _json(body.decode("utf-8", "replace"))
        line = {
            "vendor": platform,
            "method": method,
            "path": re.sub(r"[^/]*\d[^/]{5,}", lambda m: self._redactor.text(m[0]), path.partition("?")[0]),
            "status": status,
            "headers": {k: v for k, v in headers.items() if k in ("content-type", "retry-after")},
            "body": self._redactor.value(decoded, vendor=True) if decoded is not None else f"{len(body)} bytes",
        }
        return self._write(line)

    def _payload(self, text: str, webhook: Webhook) -> str:
        if (data := _json(text)) is not None:
            return json.dumps(self._redactor.value(data), ensure_ascii=False)
        if text.lstrip().startswith("<"):
            return _xml(text, self._redactor)
        if "urlencoded" in webhook.headers.get("content-type", ""):
            return urlencode([(k, self._redactor.value(v, name=k)) for k, v in parse_qsl(text, keep_blank_values=True)])
        return self._redactor.text(text)

    def _write(self, line: Mapping[str, Any], *also: str) -> Skipped | None:
        text = json.dumps(line, ensure_ascii=False)
        self._redactor.kept.update(_FIXED)
        if leaked := self._redactor.leaks(text, *also):
            return Skipped(reason=f"{len(leaked)} words could not be replaced")
        with self._lock:
            self._out.write(text + "\n")
            self._out.flush()
        return None


def _xml(text: str, redactor: Redactor) -> str:
    """WeCom's flat XML with its values replaced."""

    def element(found: re.Match[str]) -> str:
        name, raw = found[1], found[2]
        value = raw[9:-3] if raw.startswith("<![CDATA[") else raw
        return f"<{name}><![CDATA[{redactor.value(value, name=name)}]]></{name}>"

    return re.sub(r"<(\w+)>(<!\[CDATA\[.*?\]\]>|[^<]*)</\1>", element, text, flags=re.DOTALL)


# --- replaying ---------------------------------------------------------------------------------


class Difference(NamedTuple):
    """A recorded webhook of which the assistant now makes something else."""

    line: int
    expected: Any
    found: Any


def replay(lines: Iterable[str]) -> Iterator[Difference]:
    """What differs from the recording. Raises ValueError where a line is none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        data = json.loads(line)
        if "vendor" in data:
            continue
        if "expected" not in data:
            raise ValueError(f"line {number} is no recording: it has no 'expected'")
        verdict = _verdict(data)
        found = {k: verdict[k] for k in ("verdict", "status", "messages")}
        if found != data["expected"]:
            yield Difference(number, data["expected"], found)


def _meaning(verdict: Mapping[str, Any]) -> tuple[str, list[tuple[str, set[str]]]]:
    """The verdict, and the kind and fields of each message."""
    return verdict["verdict"], [(m["kind"], set(m)) for m in verdict["messages"]]


def _verdict(line: Mapping[str, Any]) -> dict[str, Any]:
    """What the assistant makes of a line now."""
    if line["platform"] != "teams":
        return Checker({}).check(json.dumps(line))
    from assistant.dev.teams_keys import signed

    with signed(line) as ready:
        return Checker({}).check(json.dumps(ready))
