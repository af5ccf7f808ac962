"""Requests that nobody means well with, for every route: generated from a seed, proven where a platform's signature or a key can.

A `Case` is a genuine request of one route. `shots` damages it: what it carries before it is signed, and then its headers, path
and query; a third loses or falsifies its proof as well.
"""

from __future__ import annotations

import gzip
import json
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final
from urllib.parse import quote, urlencode

from assistant.dev.runner import event_of, match
from assistant.messages import Webhook
from assistant.settings import Route
from tests.fuzz.targets import DINGTALK, FEISHU, TEAMS, WECOM, WECOM_BOT
from tests.integration.test_access import ROUTES as API_REQUESTS
from tests.simulators import dingtalk, feishu, slack, teams, wecom
from tests.support.house import WEBCHAT_KEY

FORM: Final = "application/x-www-form-urlencoded"
EVENT_TOKEN, EVENT_KEY, EVENT_OWNER = "event-token", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "dingcorp"


@dataclass(frozen=True, kw_only=True)
class Request:
    """As it leaves whoever sends it; a header may stand in it more than once."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A genuine request: `wrap` proves what it carries."""

    door: str
    """The row under which it is counted."""
    name: str
    plain: bytes
    wrap: Callable[[bytes], Request]
    taken: bool = True
    """Whether the genuine request is answered with less than 400: its proof is good, and what it carries is read."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One hostile request: the event of API Gateway, and what was done to it."""

    case: Case
    route: Route
    event: Mapping[str, Any]
    tricks: tuple[str, ...]


# --- what is genuine -----------------------------------------------------------------------------------


@dataclass
class Senders:
    """Everybody who may call: their secrets, as the functions keep them, and the genuine requests of each."""

    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)

    def doors(self) -> list[str]:
        """The rows, in order."""
        return list(dict.fromkeys(case.door for case in self.cases))


@contextmanager
def senders() -> Iterator[Senders]:
    """Six platforms, browsers and programs; Microsoft's keys are served while it lasts."""
    with ExitStack() as stack:
        microsoft = stack.enter_context(teams.TeamsSimulator(clock=time.time))
        workspace = stack.enter_context(slack.SlackSimulator(clock=time.time))
        company = stack.enter_context(wecom.WeCom(clock=time.time))
        lark = stack.enter_context(feishu.FeishuSimulator(clock=time.time))
        robots = stack.enter_context(dingtalk.DingTalkSimulator(clock=time.time))
        key, secret = robots.app
        made = Senders(
            secrets={
                "webchat": {"api_key": WEBCHAT_KEY},
                "slack": workspace.secrets,
                "teams": microsoft.secrets,
                "wecom": company.secrets,
                "feishu": {
                    "app_id": lark.app_id,
                    "app_secret": lark.app_secret,
                    "encrypt_key": "k",
                    "verification_token": "v",
                    "bot_open_id": lark.bot,
                    "api_base": lark.base,
                },
                "dingtalk": {
                    "app_key": key,
                    "app_secret": secret,
                    "robot_code": robots.robot_code,
                    "card_api_secret": "c",
                    "card_template_id": robots.template,
                    "event_token": EVENT_TOKEN,
                    "event_aes_key": EVENT_KEY,
                    "event_owner_key": EVENT_OWNER,
                    "api_base": robots.base,
                },
                "oauth-okta": {"client_id": "c", "client_secret": "s", "issuer": lark.base, "scopes": "openid", "title": "Okta"},
                "oauth-slack": {"client_id": "c", "client_secret": "s", "api_base": workspace.base},
            }
        )
        made.cases += _webhooks(workspace, microsoft, company, robots)
        made.cases += _browsers()
        yield made


def _posted(webhook: Webhook, *, kind: str = "application/json") -> Request:
    headers = {"content-type": kind, **webhook.headers}
    return Request(
        method=webhook.method,
        path=f"/webhook/{webhook.platform}/{webhook.channel}",
        query=urlencode(webhook.query),
        headers=tuple(headers.items()),
        body=webhook.body,
    )


def _webhooks(
    workspace: slack.SlackSimulator, microsoft: teams.TeamsSimulator, company: wecom.WeCom, robots: dingtalk.DingTalkSimulator
) -> Iterator[Case]:
    def case(platform: str, name: str, plain: bytes, wrap: Callable[[bytes], Webhook], *, taken: bool = True) -> Case:
        door, named = f"webhook, {platform}", f"{platform} {name}"
        return Case(door=door, name=named, plain=plain, wrap=lambda data: _posted(wrap(data)), taken=taken)

    key = {"authorization": f"Bearer {WEBCHAT_KEY}"}
    said = json.dumps({"conversation": "c", "user": "u", "text": "Hi", "id": "1", "files": []}).encode()
    yield case("webchat", "messages", said, lambda d: Webhook(platform="webchat", channel="messages", headers=key, body=d))

    event = workspace.event(workspace.say("D1", "U1", "Hi <@U1>")).body
    yield case("slack", "events", event, lambda d: workspace.signed("events", d, "application/json"))
    interaction = {
        "type": "block_actions",
        "user": {"id": "U1", "team_id": slack.TEAM},
        "team": {"id": slack.TEAM},
        "response_url": f"{workspace.base}/actions/1",
        "channel": {"id": "D1"},
        "container": {"type": "message", "message_ts": "1.1", "channel_id": "D1"},
        "message": {"ts": "1.1", "user": slack.BOT_USER, "bot_id": slack.BOT_ID},
        "actions": [{"type": "button", "block_id": "b", "action_id": "a", "action_ts": "1.2", "value": '{"a": 1}'}],
    }
    for channel, fields in {
        "interactive": {"payload": json.dumps(interaction)},
        "commands": {"command": "/ask", "text": "Hi", "user_id": "U1", "channel_id": "D1", "team_id": slack.TEAM},
    }.items():
        yield case("slack", channel, urlencode(fields).encode(), lambda d, c=channel: workspace.signed(c, d, FORM))  # type: ignore[misc]  # mypy infers no default of a lambda
    yield case(
        "slack",
        "interaction",
        json.dumps(interaction).encode(),
        lambda d: workspace.signed("interactive", b"payload=" + quote(d).encode(), FORM),
    )

    yield case("feishu", "open", FEISHU, lambda d: feishu.signed(d, stamp=int(time.time()), key="k"), taken=False)
    yield case("feishu", "sealed", FEISHU, lambda d: feishu.signed(feishu.seal(d, "k"), stamp=int(time.time()), key="k"))

    secret = robots.app[1]
    robot = DINGTALK.replace(b'"dingbot"', json.dumps(robots.robot_code).encode())
    yield case("dingtalk", "robot", robot, lambda d: dingtalk.robot_call(d, secret=secret, stamp=_now()))
    click = {
        "outTrackId": "t",
        "userId": "staff1",
        "content": json.dumps({"cardPrivateData": {"actionIds": ["a"], "params": {}}}),
    }
    yield case("dingtalk", "cards", json.dumps(click).encode(), lambda d: dingtalk.card_call(d, secret="c", stamp=_now()))
    change = json.dumps({"EventType": "user_leave_org", "UserId": ["staff1"]}).encode()
    yield case(
        "dingtalk",
        "events",
        change,
        lambda d: dingtalk.event_call(d, token=EVENT_TOKEN, aes_key=EVENT_KEY, owner=EVENT_OWNER, stamp=_now()),
    )

    token = {"authorization": f"Bearer {microsoft.token()}"}
    activity = TEAMS.replace(b"SERVICE", microsoft.service_url.encode())
    yield case("teams", "messages", activity, lambda d: Webhook(platform="teams", channel="messages", headers=token, body=d))

    yield case("wecom", "app", WECOM, lambda d: company.app_callback(d.decode("utf-8", "replace")))
    yield case("wecom", "bot", WECOM_BOT.replace(b'"b"', json.dumps(wecom.BOT).encode()), _bot)
    for channel, own, aes, receiver in (
        ("app", wecom.APP_TOKEN, wecom.APP_KEY, wecom.CORP),
        ("bot", wecom.BOT_TOKEN, wecom.BOT_KEY, ""),
    ):

        def checked(d: bytes, channel: str = channel, own: str = own, aes: str = aes, receiver: str = receiver) -> Webhook:
            sealed, stamp = wecom.seal(d.decode("utf-8", "replace"), aes, receiver), str(int(time.time()))
            query = {"msg_signature": wecom.sign(own, stamp, "n", sealed), "timestamp": stamp, "nonce": "n", "echostr": sealed}
            return Webhook(platform="wecom", channel=channel, method="GET", query=query)

        yield case("wecom", f"check of the address, {channel}", b"12345", checked)
    for platform, channel in (("feishu", "events"), ("slack", "events"), ("teams", "messages"), ("dingtalk", "robot")):

        def asked(d: bytes, platform: str = platform, channel: str = channel) -> Webhook:
            return Webhook(platform=platform, channel=channel, method="GET", query={"echostr": "1", "challenge": "2"}, body=d)

        yield case(platform, "read", b"{}", asked, taken=False)


def _now() -> int:
    """Milliseconds, each once: a signature of DingTalk's serves one body."""
    _used[0] = max(_used[0] + 1, int(time.time() * 1000))
    return _used[0]


_used = [0]


def _bot(plain: bytes) -> Webhook:
    text = plain.decode("utf-8", "replace")
    return wecom.callback("bot", text, token=wecom.BOT_TOKEN, key=wecom.BOT_KEY, receiver="", now=time.time())


def _browsers() -> Iterator[Case]:
    def wrapped(method: str, url: str, kind: str) -> Callable[[bytes], Request]:
        path, _, query = url.partition("?")
        headers = (("content-type", kind), ("authorization", f"Bearer {WEBCHAT_KEY}"), ("host", "assistant.example"))
        return lambda data: Request(method=method, path=path, query=query, headers=headers, body=data)

    for (method, path), (_, url, body) in sorted(API_REQUESTS.items(), key=str):
        start = path.split("/")[1]
        door = {"api": "console's data", "v1": "OpenAI's door", "health": "health"}.get(start, "console's files")
        plain = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else b""
        kind = "text/plain" if isinstance(body, str) else "application/json"
        yield Case(door=door, name=f"{method} {path}", plain=plain, wrap=wrapped(method, url, kind))
    for provider in ("okta", "slack", "slack-install", "nobody"):
        for step, query in (("start", "ticket=a.b.c"), ("callback", "code=c&state=a.b.c&error=")):
            url = f"/oauth/{provider}/{step}?{query}"
            yield Case(door="authorisation", name=f"{provider} {step}", plain=b"", wrap=wrapped("GET", url, "text/plain"))


# --- what is done to it -------------------------------------------------------------------------------

DEEP: Final = 100_000
LONG: Final = 100_000
LARGEST: Final = 4_500_000
"""Bytes of the largest body that gets as far as a function: Lambda takes 6 MB of JSON, in which a body travels as base64, and API
Gateway refuses the rest. Source: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

TEXTS: Final[tuple[str, ...]] = (
    "", " ", "\0", "\u202e\u200b\ufeff", "\ufffe\uffff", "null", "-1", "0x7fffffff", "9" * 5000, "nan", "1e999",
    "../../../etc/passwd",
    "..%2f..%2f", "%00", "%c0%ae%c0%ae/", "\u2025/\uff0e\uff0e/", "'; DROP TABLE assistant;--", "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}", "=cmd|' /C calc'!A0", "a\r\nset-cookie: x=1", "\u0130\u0131\u1e9e", "\U0001f600" * 1000,
    "<" * LONG, "[(" * (LONG // 2), "*" * LONG, "`" * LONG, "<at>" * (LONG // 4), "@_user_1 " * (LONG // 9),
    "<@U1>" * (LONG // 5),
    "\n" * LONG, " " * LONG + "a", "a" * LONG, "a@" * (LONG // 2), "http://" * (LONG // 7), "&lt;" * (LONG // 4), "1" * LONG,
    "|a" * (LONG // 2), "#" * LONG, "\u0301" * (LONG // 2), "(a+)+" * (LONG // 5), "![](" * (LONG // 4), "\\" * LONG,
    "2026-13-45T99:99:99", "W" + "A" * 4000, "[" * 20_000, '{"a":' * 10_000,
)  # fmt: skip
"""What stands where a text, an id or a number is expected."""

RAW: Final[tuple[bytes, ...]] = (
    b"[" * 20_000 + b"]" * 20_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b'"\\ud800"', b'"\\udc00\\ud800"', b"NaN",
    b"-Infinity",
    b"1e999", b"-0", b"9" * 4_200, b"9" * LONG, b"0." + b"9" * LONG, b"null", b"true", b"[]", b"{}", b"[[]]", b'{"":{}}',
    b"1e-999",
    b"[" + b"1," * 50_000 + b"1]", b"{" + b'"a":1,' * 20_000 + b'"a":1}', b"9223372036854775808", b"253402300800000",
    b"-62135596801",
)  # fmt: skip
"""What stands where any JSON is expected."""


@cache
def bomb(kind: str) -> bytes:
    """Twenty million bytes in a few thousand."""
    plain = b'{"a":"' + b"a" * 20_000_000 + b'"}'
    if kind == "gzip":
        return gzip.compress(plain, mtime=0)
    return zlib.compress(plain) if kind == "deflate" else b"\x1b" + b"\x00" * 4000


ENTITIES: Final = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]><xml><Encrypt>&m;</Encrypt><ToUserName>&m;</ToUserName><MsgType>&m;</MsgType></xml>"
)
OUTSIDE: Final = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Encrypt>&a;</Encrypt></xml>'


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*place, number))


MARK: Final = "\x01put here\x01"


def _put(value: Any, place: Sequence[Any], what: Any) -> Any:
    if not place:
        return what
    first, rest = place[0], place[1:]
    if isinstance(value, dict):
        return {k: _put(v, rest, what) if k == first else v for k, v in value.items()}
    return [_put(v, rest, what) if n == first else v for n, v in enumerate(value)]


def _one_field(rng: random.Random, plain: bytes) -> bytes:
    """Genuine but for one field: behind a good proof this is what reaches furthest."""
    try:
        value = json.loads(plain)
    except ValueError:
        return _one_text(rng, plain)
    raw = rng.choice(RAW) if rng.random() < 0.5 else json.dumps(rng.choice(TEXTS)).encode()
    places = [place for place in _leaves(value) if place] or [()]
    for _ in range(rng.choice((1, 1, 1, 3))):
        value = _put(value, rng.choice(places), MARK)
        places = [place for place in _leaves(value) if place] or [()]
    return json.dumps(value).encode().replace(json.dumps(MARK).encode(), raw)


def _one_text(rng: random.Random, plain: bytes) -> bytes:
    """One element of XML or one field of a form."""
    if plain.startswith(b"<xml>"):
        ends = [n for n in range(len(plain)) if plain.startswith(b"</", n)]
        end = rng.choice(ends)
        return plain[:end] + rng.choice((quote(rng.choice(TEXTS)).encode(), rng.choice(TEXTS).encode(), ENTITIES)) + plain[end:]
    fields = plain.split(b"&")
    at = rng.randrange(len(fields))
    fields[at] = fields[at].partition(b"=")[0] + b"=" + quote(rng.choice(TEXTS)).encode()
    return b"&".join(fields)


def _damaged(rng: random.Random, plain: bytes) -> bytes:
    data = bytearray(plain or b"{}")
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data))
        if rng.random() < 0.5:
            data[at] = rng.randrange(256)
        else:
            data[at : at + rng.randint(0, 20)] = rng.randbytes(rng.randint(0, 20))
        data = data or bytearray(b"{")
    return bytes(data)


Content = Callable[[random.Random, bytes], bytes]
CONTENTS: Final[Mapping[str, Content]] = {
    "genuine": lambda rng, plain: plain,
    "one field": _one_field,
    "one field again": _one_field,
    "one field once more": _one_field,
    "damaged": _damaged,
    "cut off": lambda rng, plain: plain[: rng.randrange(len(plain) + 1)],
    "twice": lambda rng, plain: plain * 2,
    "deep": lambda rng, plain: rng.choice((b"[" * DEEP, b'{"a":' * (DEEP // 2), b"<a>" * (DEEP // 2), b"[" * DEEP + b"]" * DEEP)),
    "any JSON": lambda rng, plain: rng.choice(RAW),
    "any text": lambda rng, plain: rng.choice(TEXTS).encode("utf-8", "replace"),
    "entities": lambda rng, plain: rng.choice((ENTITIES, OUTSIDE)),
    "noise": lambda rng, plain: rng.randbytes(rng.randint(0, 2000)),
    "other encoding": lambda rng, plain: rng.choice(
        (b"\xef\xbb\xbf" + plain, plain.decode("utf-8", "replace").encode("utf-16"), plain + b"\xff\xfe\xc0\xae")
    ),
    "many fields": lambda rng, plain: rng.choice(
        (
            b"a=1&" * 20_000,
            b"a[]=%00&" * 10_000,
            b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}",
            b"payload=" * 20_000,
        )
    ),
    "parts": lambda rng, plain: b'--b\r\ncontent-disposition: form-data; name="a"; filename="../a"\r\n\r\n' * 2000 + b"--b",
    "nearly too large": lambda rng, plain: rng.choice((b" ", b'"\\u00', b"[1,", b"\\", b"{", b"\x00", b"<!--"))[:1] * 262_144,
    "as large as can be": lambda rng, plain: rng.choice((b"a", b"[", b" ", b"\xff")) * LARGEST,
}
RARE: Final = {"as large as can be": 0.1, "nearly too large": 0.5}
"""Chosen so often where the others are chosen once: they take the machine long to carry, not the function to refuse."""

NAMES: Final = (
    "x-slack-signature", "x-slack-request-timestamp", "x-lark-signature", "x-lark-request-timestamp", "x-lark-request-nonce",
    "sign",
    "timestamp", "x-ddpaas-signature", "x-ddpaas-signature-timestamp", "authorization", "content-type", "content-encoding",
    "cookie",
    "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-amzn-trace-id", "accept-language",
    "user-agent", "content-length", "transfer-encoding", "x-http-method-override", "origin", "referer", "range", "if-none-match",
    "accept-encoding", "accept", "if-modified-since", "x-requested-with", "x-original-url", "expect",
)  # fmt: skip
VALUES: Final = (
    "", "*", "a" * LONG, "," * LONG, ";" * LONG, "=" * LONG, '"' * LONG, "\u00e9\u4e2d", "\x00", "Bearer", "Bearer ",
    "Bearer " * 10_000,
    "Bearer a.b.c", "Bearer " + "." * LONG, "Bearer " + "eyJhbGciOiJub25lIn0." * 2, "Basic Og==", "v0=", "v0=" + "0" * LONG,
    "-1", "1e999",
    "9" * 5000, "nan", "bytes=0-0,1-1," * 5000, "zh-CN,en;q=" + "0" * LONG, "en;q=nan", "127.0.0.1", "[::1", "evil.example:99999",
    "evil.example\r\nx: y", "Root=1-00000000-" + "0" * LONG, "a=b; " * 20_000, '__Host-a="' + "\\1" * 30_000,
    "assistant-oauth=" + "a" * LONG,
    "assistant-session=" + "." * LONG, "__Host-assistant-oauth=\ud800".encode("utf-8", "replace").decode(), "chunked",
    "(" * LONG, "W/" * LONG,
)  # fmt: skip
TYPES: Final = (
    "multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=" + "b" * LONG, FORM, "text/xml",
    "application/xml", "application/json; charset=utf-7", "application/json; charset=nonsense", "text/plain; charset=utf-16",
    "application/json;" + "a=b;" * 20_000, "application/octet-stream", "image/png", "", "/", "text/" + "\u00e9",
    "application/x-yaml",
)  # fmt: skip

Trick = Callable[[random.Random, Request], Request]


def _with(request: Request, *headers: tuple[str, str], instead: bool = True) -> Request:
    gone = {name for name, _ in headers} if instead else set()
    return replace(request, headers=(*[h for h in request.headers if h[0] not in gone], *headers))


def _encoded(rng: random.Random, request: Request) -> Request:
    kind = rng.choice(("gzip", "deflate", "br"))
    claimed = _with(request, ("content-encoding", rng.choice((kind, f"{kind}, " * 1000, "gzip, deflate, br, zstd"))))
    return replace(claimed, body=bomb(kind)) if rng.random() < 0.7 else claimed


def _path(rng: random.Random, request: Request) -> Request:
    parts = request.path.split("/")
    at = rng.randrange(min(2, len(parts) - 1), len(parts))
    odd = rng.choice(
        ("..%2f..%2fetc%2fpasswd", "%2e%2e", "..", "%00", "%c0%ae%c0%ae", "%ff%fe", "\uff0e\uff0e", "\u2025", ".", "%2f",
        "%5c..", "-",
         "%ed%a0%80", "a" * 8000, "%25" * 3000, "W" * 30_001, "%0d%0aset-cookie:a=b", quote(rng.choice(TEXTS)[:4000]), "%",
         "%zz", ";a=b")
    )  # fmt: skip
    parts[at] = rng.choice((odd, f"{parts[at]}{odd}", f"{odd}/{parts[at]}", f"{parts[at]}//"))
    return replace(request, path="/".join(parts))


def _query(rng: random.Random, request: Request) -> Request:
    names = [pair.partition("=")[0] for pair in request.query.split("&") if pair] or [
        "limit",
        "after",
        "id",
        "q",
        "state",
        "code",
    ]
    name, value = rng.choice(names), rng.choice(TEXTS)
    pair = f"{quote(name)}={quote(value)}"
    kept = [p for p in request.query.split("&") if p and p.partition("=")[0] != name]
    added = rng.choice(
        (pair, "&".join([pair] * 50)[:200_000], "&".join(f"p{n}={n}" for n in range(10_000)), f"{name}=%00",
        f"{name}[]=1&{name}[a]=2",
         f"{name}", "=", "%", f"{name}=%ff%fe", "&" * 10_000, f"{name}={'%' * 5000}", f"{name}=" + "%41" * 20_000)
    )  # fmt: skip
    return replace(request, query="&".join([*kept, added]))


def _unproven(rng: random.Random, request: Request) -> Request:
    """The proof is gone, or another's."""
    proofs = [n for n, (name, _) in enumerate(request.headers) if "sign" in name or "stamp" in name or name == "authorization"]
    if not proofs:
        return replace(request, query=rng.choice(("", request.query.replace("=", "=0"), request.query.replace("msg_", ""))))
    at = rng.choice(proofs)
    name, value = request.headers[at]
    told = rng.choice((None, "", value[:-1], value.swapcase(), f"{value},{value}", rng.choice(VALUES), value.replace(".", "")))
    headers = [h for n, h in enumerate(request.headers) if n != at]
    return replace(request, headers=(*headers, *([(name, told)] if told is not None else [])))


TRICKS: Final[Mapping[str, Trick]] = {
    "as it is": lambda rng, r: r,
    "odd header": lambda rng, r: _with(r, (rng.choice(NAMES), rng.choice(VALUES))),
    "odd headers": lambda rng, r: _with(r, *[(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(6)]),
    "header twice": lambda rng, r: _with(r, *[rng.choice(r.headers) for _ in range(rng.randint(1, 20))], instead=False),
    "contradicting headers": lambda rng, r: _with(r, (rng.choice(r.headers)[0], rng.choice(VALUES)), instead=False),
    "thousands of headers": lambda rng, r: _with(r, *[(f"x-{n}", "a") for n in range(5000)], instead=False),
    "lie about the content": lambda rng, r: _with(r, ("content-type", rng.choice(TYPES))),
    "encoded": _encoded,
    "path": _path,
    "query": _query,
    "cookies": lambda rng, r: _with(r, ("cookie", rng.choice(("a=b; " * 5000, "=; ;;=", "\u00e9=\x00", rng.choice(VALUES))))),
    "other host": lambda rng, r: _with(
        r, ("host", rng.choice(("", "127.0.0.1", "[::1", "evil.example\x00", "a" * 8000, "a:99999999")))
    ),
    "other method": lambda rng, r: replace(
        r, method=rng.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"))
    ),
}


def shots(cases: Sequence[Case], count: int, *, seed: str) -> Iterator[Shot]:
    """`count` requests for each case; the same seed makes the same ones, with today's signatures."""
    for case in cases:
        names, weights = list(CONTENTS), [RARE.get(name, 1.0) for name in CONTENTS]
        made, tries = 0, 0
        while made < count:
            rng = random.Random(f"{seed} {case.name} {tries}")  # to be played again, not to keep a secret
            tries += 1
            content = names[made % 3] if made < 3 else rng.choices(names, weights)[0]
            request = case.wrap(CONTENTS[content](rng, case.plain))
            done = [content]
            for trick in rng.sample(list(TRICKS), rng.choice((0, 1, 1, 2))) if made else ():
                request = TRICKS[trick](rng, request)
                done.append(trick)
            if made and rng.random() < 0.3:
                request = _unproven(rng, request)
                done.append("unproven")
            event = _event(request, rng)
            if event is None:
                continue  # API Gateway has no such route: no function is asked
            yield Shot(case=case, route=event[0], event=event[1], tricks=tuple(done))
            made += 1


def _event(request: Request, rng: random.Random) -> tuple[Route, dict[str, Any]] | None:
    """What API Gateway makes of it: a header that comes twice is joined, and callers have addresses of their own."""
    found = match(request.method, request.path)
    if found is None:
        return None
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    event = event_of(*found, method=request.method, path=request.path, query=request.query, headers=headers, body=request.body)
    event["requestContext"]["http"]["sourceIp"] = f"198.51.{rng.randrange(256)}.{rng.randrange(256)}"
    return found[0], event
