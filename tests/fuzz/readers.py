"""What reads bytes from outside beyond the platforms' events: proofs, envelopes, keys, settings, answers of others, words."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from assistant.assembly import Assistant
from assistant.errors import InvalidSetting, NeedsAuthorisation, Refused, ToolFailed, Unavailable, VerificationError
from assistant.messages import Message, Webhook
from assistant.oauth.pages import render
from assistant.oauth.providers import OpenId, Providers
from assistant.observability import RecordedMetrics
from assistant.secrets import GivenSecrets, parse_secret
from assistant.settings import Settings
from tests.simulators import dingtalk, feishu, slack, teams, wecom

Run = Callable[[bytes], None]

NOW = datetime(2026, 2, 28, 23, 59, tzinfo=ZoneInfo("Asia/Shanghai"))
KEY = base64.b64encode(b"k" * 32).decode().rstrip("=")


BATCH = gzip.compress(
    json.dumps(
        {
            "messageType": "DATA_MESSAGE",
            "owner": "1",
            "logGroup": "g",
            "logStream": "s",
            "logEvents": [{"id": "1", "timestamp": 1, "message": '{"message":"a"}'}],
        }
    ).encode(),
    mtime=0,
)


def text_of(data: bytes) -> str:
    """`data` as text, whatever it is."""
    return data.decode("utf-8", "replace")


def forged() -> Run:
    """Every platform's check: nothing that is not signed is let in."""
    vendors: tuple[Any, ...] = (slack.SlackSimulator().start(), teams.TeamsSimulator().start(), wecom.WeCom().start())
    secrets = {
        "slack": vendors[0].secrets,
        "teams": vendors[1].secrets,
        "wecom": vendors[2].secrets,
        "feishu": {"app_id": "cli_a", "app_secret": "s", "encrypt_key": "k", "verification_token": "v", "bot_open_id": "ou_bot"},
        "dingtalk": {
            "app_key": "a", "app_secret": "b", "robot_code": "r", "event_token": "t", "event_aes_key": KEY,
            "event_owner_key": "o", "card_api_secret": "c",
        },
        "webchat": {"api_key": "a-key-of-the-web-chat"},
    }  # fmt: skip
    assistant = Assistant(Settings(), secrets=GivenSecrets(secrets), metrics=RecordedMetrics())
    doors = (
        ("slack", "events"), ("slack", "interactive"), ("slack", "commands"), ("teams", "messages"), ("wecom", "app"),
        ("wecom", "bot"), ("feishu", "events"), ("dingtalk", "robot"), ("dingtalk", "events"), ("dingtalk", "cards"),
        ("webchat", "messages"),
    )  # fmt: skip
    names = (
        "x-slack-signature", "x-lark-signature", "x-lark-request-nonce", "sign", "authorization", "x-ddpaas-signature",
        "content-type",
    )  # fmt: skip
    stamps = ("x-slack-request-timestamp", "x-lark-request-timestamp", "timestamp", "x-ddpaas-signature-timestamp")

    def run(data: bytes) -> None:
        if len(data) < 2:
            return
        platform, channel = doors[data[0] % len(doors)]
        proof, _, body = data[2:].partition(b"\n")
        stamp = str(int(time.time())) if data[1] & 1 else text_of(proof)
        headers = {name: text_of(proof) for name in names} | dict.fromkeys(stamps, stamp)
        query = {"msg_signature": text_of(proof), "signature": text_of(proof), "timestamp": stamp, "nonce": "n", "echostr": "e"}
        method = "GET" if data[1] & 2 else "POST"
        request = Webhook(platform=platform, channel=channel, method=method, headers=headers, query=query, body=body)
        with contextlib.suppress(Refused, Unavailable):
            assert not assistant.intake.receive(request).messages, "a forged request was let in"

    return run


def teams_token() -> Run:
    """Tokens in the place of Microsoft's."""
    from assistant.platforms.teams_token import Keys, prove

    vendor = teams.TeamsSimulator().start()
    keys = Keys(vendor.secrets["openid_metadata"], clock=time.time)

    def run(data: bytes) -> None:
        with contextlib.suppress(VerificationError):
            prove(f"Bearer {text_of(data)}", app_id=vendor.secrets["app_id"], keys=keys, now=time.time())
            raise AssertionError("a token that nobody signed was taken")

    return run


def envelopes() -> Run:
    """What is encrypted, behind a good signature: the length, the padding and the receiver inside may be anything."""
    from assistant.platforms.crypto import decrypt, key_from_text, open_envelope

    key = key_from_text(KEY, field="k")

    def run(data: bytes) -> None:
        with contextlib.suppress(Refused):
            open_envelope(text_of(data), key=key, receive_id="o")
        with contextlib.suppress(Refused):
            open_envelope(base64.b64encode(data).decode(), key=key, receive_id="o")
        for block in (16, 32):
            with contextlib.suppress(Refused):
                decrypt(data, key=key, iv=key[:16], block=16 if block == 16 else 32)
        with contextlib.suppress(Refused, InvalidSetting):
            key_from_text(text_of(data), field="k")

    return run


def _door(name: str, secrets: dict[str, str], wrap: Callable[[bytes], Webhook]) -> Run:
    assistant = Assistant(Settings(), secrets=GivenSecrets({name: secrets}), metrics=RecordedMetrics())

    def run(data: bytes) -> None:
        with contextlib.suppress(Refused, Unavailable):
            for message in assistant.intake.receive(wrap(data)).messages:
                assert message.dedup_id

    return run


def feishu_envelope() -> Run:
    """Ciphertexts behind Feishu's signature."""
    secrets = {"app_id": "cli_a", "app_secret": "s", "encrypt_key": "k", "verification_token": "v", "bot_open_id": "ou_bot"}

    def wrap(data: bytes) -> Webhook:
        body = json.dumps({"encrypt": base64.b64encode(data).decode()}).encode()
        return feishu.signed(body, stamp=int(time.time()), key="k")

    return _door("feishu", secrets, wrap)


def dingtalk_events() -> Run:
    """DingTalk's encrypted events."""
    secrets = {"app_key": "a", "app_secret": "b", "event_token": "t", "event_aes_key": KEY, "event_owner_key": "o"}
    clock = [int(time.time() * 1000)]

    def wrap(data: bytes) -> Webhook:
        clock[0] += 1
        return dingtalk.event_call(data, token="t", aes_key=KEY, owner="o", stamp=clock[0])

    return _door("dingtalk", secrets, wrap)


def dingtalk_cards() -> Run:
    """Clicks on DingTalk's cards."""
    clock = [int(time.time() * 1000)]

    def wrap(data: bytes) -> Webhook:
        clock[0] += 1
        return dingtalk.card_call(data, secret="c", stamp=clock[0])

    return _door("dingtalk", {"app_key": "a", "app_secret": "b", "card_api_secret": "c"}, wrap)


def slack_commands() -> Run:
    """Slash commands of Slack."""
    vendor = slack.SlackSimulator().start()
    return _door("slack", dict(vendor.secrets), lambda data: vendor.signed("commands", data, "application/x-www-form-urlencoded"))


def webchat() -> Run:
    """Messages of the web chat."""
    headers = {"authorization": "Bearer a-key-of-the-web-chat", "content-type": "application/json"}
    return _door(
        "webchat",
        {"api_key": "a-key-of-the-web-chat"},
        lambda data: Webhook(platform="webchat", channel="messages", headers=headers, body=data),
    )


def settings() -> Run:
    """Secrets and settings that hold JSON, and names of models."""
    from assistant.llm.models import parse_spec
    from assistant.signin import read_roles

    def run(data: bytes) -> None:
        text = text_of(data)
        for read in (read_roles, parse_spec, lambda t: parse_secret(t, name="slack")):
            with contextlib.suppress(InvalidSetting, VerificationError):
                read(text)

    return run


def tool_arguments() -> Run:
    """Arguments as a model writes them."""
    from assistant.tools import Tool, read_arguments

    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^x"}, "b": {"type": "array"}},
        "required": ["a"],
    }
    made = Tool(name="t", description="d", parameters=schema, run=lambda ctx, arguments: "")

    def run(data: bytes) -> None:
        with contextlib.suppress(ToolFailed):
            read_arguments(made, text_of(data))

    return run


def answers() -> Run:
    """What plug-ins' functions, model servers, embedders and readers of facts answer."""
    from assistant.invoke import FunctionBroke, invoke
    from assistant.knowledge.extract import _parse
    from assistant.llm.embedders import vectors
    from assistant.llm.openai_http import _error

    class Client:
        def __init__(self, answer: bytes) -> None:
            self._answer = answer

        def invoke(self, **_: object) -> dict[str, Any]:
            """What the function said."""
            return {"Payload": BytesIO(self._answer)}

    def run(data: bytes) -> None:
        with contextlib.suppress(FunctionBroke, Unavailable):
            invoke(Client(data), "f", {})
        with contextlib.suppress(Unavailable):
            vectors(data, expected=1, where="fuzz")
        _parse(text_of(data))
        _error(data)

    return run


def log_records() -> Run:
    """Records on their way into the search of logs, gzipped or not."""
    from assistant.logpipe import LogPipe

    def run(data: bytes) -> None:
        pipe = LogPipe(client=lambda: None, search="search", metrics=RecordedMetrics())
        record = {"recordId": "1", "data": base64.b64encode(data).decode()}
        pipe.transform({"deliveryStreamArn": "arn:aws:firehose:r:1:deliverystream/other", "records": [record]})

    return run


def cursors() -> Run:
    """Ids and cursors that come back from a browser."""
    from assistant.privacy import _position

    def run(data: bytes) -> None:
        with contextlib.suppress(InvalidSetting):
            _position(text_of(data))

    return run


def file_kinds() -> Run:
    """Kinds and names of files that vendors hand over."""
    from assistant.platforms.files import content_type, disposition_name, safe_name

    def run(data: bytes) -> None:
        text = text_of(data)
        content_type(data, name=text[:50])
        assert "/" not in safe_name(text)
        disposition_name({"content-disposition": text})

    return run


def graph_files() -> Run:
    """Files of entities and relations."""
    from assistant.knowledge.graph import _parse

    def run(data: bytes) -> None:
        for name in ("g.json", "g.csv"):
            with contextlib.suppress(Refused):
                _parse(name, data, frozenset({"everyone"}))

    return run


def words() -> Run:
    """Words of a person, as forms, follow-ups, the search and the filing read them."""
    from assistant.filing import asks_to_add, folder_in
    from assistant.flows.repairs import asks, corrected, corrects, repair_of
    from assistant.knowledge.text import cut, fold, match_query
    from assistant.nlu.context import contextualise
    from assistant.slots import Choice, Context, SlotType, find

    kinds = ("date", "time", "datetime", "span", "duration", "number", "integer", "money", "email", "person", "choice", "yes_no")
    context = Context(now=NOW, people={"Ann": "u1"})
    slots = [SlotType(kind=kind, choices=(Choice(value="a", words=("a", "甲")),) if kind == "choice" else ()) for kind in kinds]  # type: ignore[arg-type]  # every kind there is

    def run(data: bytes) -> None:
        text = text_of(data)
        for slot in slots:
            for found in find(slot, text, context):
                assert 0 <= found.start <= found.end <= len(text)
        for read in (asks_to_add, folder_in, asks, corrects, repair_of, fold):
            read(text)
        assert len(corrected(text)) == len(text)
        match_query(cut(text))
        contextualise(text[:60], text[60:])

    return run


def replies() -> Run:
    """Markdown as each platform sends it."""
    from assistant.messages import Reply
    from assistant.platforms import dingtalk_text, feishu_cards
    from assistant.platforms.slack import Slack
    from assistant.platforms.teams import Teams

    def run(data: bytes) -> None:
        reply = Reply(text=text_of(data))
        for pieces in (Slack({})._pieces, Teams({})._pieces, feishu_cards.pieces_of, dingtalk_text.pieces_of):
            pieces(reply)

    return run


class Somewhere(OpenId):
    """A provider of accounts that publishes `keys` and answers `answer`; nothing leaves this machine."""

    keys: Any = None
    answer: bytes = b"{}"

    def _published(self, *, fresh: bool) -> dict[str, Any]:
        return self.keys if isinstance(self.keys, dict) else {}

    def _discovered(self) -> dict[str, Any]:
        return {"issuer": self._issuer, "authorization_endpoint": f"{self._issuer}/a", "token_endpoint": f"{self._issuer}/t"}

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        try:
            data = json.loads(self.answer)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise Unavailable("no JSON object")
        return data


ISSUER = "https://id.example"
OKTA = {"issuer": ISSUER, "client_id": "client", "client_secret": "secret"}


def id_tokens() -> Run:
    """Id tokens: what nobody signed, whatever the provider signed, and keys as it may publish them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from jwt.algorithms import OKPAlgorithm
    from jwt.api_jws import PyJWS

    from assistant.oauth.providers import Denied
    from assistant.oauth.vault import Tokens
    from assistant.signin import read_roles, role_of

    private = Ed25519PrivateKey.generate()
    public = {**OKPAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "k", "use": "sig"}
    at = Somewhere("okta", OKTA, clock=lambda: 1000.0)
    roles = read_roles('{"admin": ["groups=a", "realm.roles=b"], "user": ["email=c"]}')
    good = {"iss": ISSUER, "aud": "client", "sub": "s", "iat": 1000, "exp": 2000, "nonce": "n"}

    def signed(payload: bytes) -> str:
        return PyJWS().encode(payload, private, algorithm="EdDSA", headers={"kid": "k"})

    def run(data: bytes) -> None:
        kind, rest = data[:1], data[1:]
        at.keys = {"keys": [public]}
        with contextlib.suppress(Denied):
            at._claims(text_of(data), "n")
            raise AssertionError("a token that nobody signed was taken")
        if kind == b"k":
            with contextlib.suppress(ValueError, RecursionError):
                at.keys = json.loads(rest)
            token = signed(json.dumps(good).encode())
        else:
            token = signed(rest)
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(claims := json.loads(rest), dict):
                    token = signed(json.dumps(claims if kind == b"o" else good | claims).encode())
        with contextlib.suppress(Denied):
            claims = dict(at._claims(token, "n"))
            assert (claims["nonce"], claims["iss"].rstrip("/")) == ("n", ISSUER)
            account = at.account(Tokens(access="a", claims=claims))
            role_of(roles, {"id": list(account.ids), **claims})
            json.dumps([account.id, account.name], ensure_ascii=False).encode()

    return run


def callbacks() -> Run:
    """What a browser brings back from a provider, and what the provider answers to the code."""
    from assistant.oauth.authorisation import Authorisations
    from assistant.oauth.envelope import Envelope, Sealed
    from assistant.signin import NotSignedIn, SignIn
    from assistant.testing import MemoryTable

    class Open(Envelope):
        """Seals nothing: there is no KMS."""

        def seal(self, value: str, context: Mapping[str, str], *, again: str = "") -> Sealed:
            return Sealed("", value)

        def open(self, sealed: Sealed, context: Mapping[str, str]) -> str:
            return sealed.value

    def nobody() -> Any:
        raise AssertionError("a forged call-back came through")

    at = Somewhere("okta", OKTA)
    providers: Any = Providers(GivenSecrets({"oauth-okta": OKTA}))
    providers.get = lambda name: at
    table: Any = MemoryTable()
    public = "https://assistant.example"
    sign_in = SignIn(table, providers=lambda: providers, names="okta", roles='{"user": ["sub=s"]}', public_url=public)
    consents = Authorisations(table=table, envelope=Open("", client=nobody), providers=providers, queue=nobody, public_url=public)
    person = Message(kind="text", platform="slack", channel="events", conversation="c", sender="U1", dedup_id="d", text="hi")
    link = consents.ask(person, NeedsAuthorisation("okta", ()), turn="t", language="en")
    ticket = re.findall(r"ticket=([0-9a-f]{32})", repr(link))[0]
    begun = sign_in.begin("okta")
    state = dict(parse_qsl(urlsplit(begun.address).query))["state"]

    def run(data: bytes) -> None:
        words, _, at.answer = data.partition(b"\n")
        query = dict(parse_qsl(text_of(words), errors="replace", keep_blank_values=True, max_num_fields=None))
        mine = {"state": state, "code": "c"} | query
        for given, browser in ((query, query.get("browser", "")), (mine, begun.browser), (mine, "é")):
            with contextlib.suppress(NotSignedIn):
                sign_in.finish(query.get("provider", "okta"), given, browser=browser)
                raise AssertionError("somebody was signed in without a signed token")
        sure, browser = query.get("sure", ""), query.get("browser", "")
        page = consents.begin(
            "okta", query.get("ticket") or ticket, browser=browser, sure=sure, language=query.get("language", "en")
        )
        render(page)
        for asked in (query, {**query, "state": ticket + query.get("state", "")}):
            page = consents.finish("okta", asked, browser=browser, language=query.get("language", "en"))
            assert page.words != "page_done"
            render(page)

    return run


def linked_files() -> Run:
    """Addresses of files in answers."""
    from assistant.files import PREFIX, Files, download_headers

    class Anything:
        """A bucket in which everything is, under the one prefix."""

        def get(self, path: str) -> bytes:
            """The path itself."""
            assert path.startswith(PREFIX), path
            assert ".." not in path.split("/"), path
            return path.encode()

    files = Files(Anything, clock=lambda: 1_800_000_000.0)  # type: ignore[arg-type]  # enough of a bucket
    room = f"{'a' * 32}/{1_800_000_000:x}-{'b' * 32}/"

    def run(data: bytes) -> None:
        for path in (text_of(data), room + text_of(data)):
            with contextlib.suppress(Refused):
                file = files.linked(path)
                for value in download_headers(file).values():
                    assert value.isascii(), value
                    assert value.isprintable(), value

    return run
