"""What is fuzzed: each target takes bytes as an outsider may send them, behind a good signature where there is one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from assistant.assembly import Assistant
from assistant.errors import ModelError, Refused, Unavailable
from assistant.messages import Webhook, message_from_json, to_json
from assistant.observability import RecordedMetrics
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.benchmarks.payloads import EVENTS
from tests.fuzz import readers
from tests.simulators import dingtalk, feishu, slack, teams, wecom

Run = Callable[[bytes], None]

FEISHU = json.dumps(
    {
        "schema": "2.0",
        "header": {"event_id": "e", "event_type": "im.message.receive_v1", "create_time": "1", "token": "v", "app_id": "cli_a"},
        "event": {
            "sender": {"sender_id": {"open_id": "ou_ann"}, "sender_type": "user"},
            "message": {
                "message_id": "om_1",
                "create_time": "1",
                "chat_id": "oc_1",
                "chat_type": "group",
                "message_type": "text",
                "content": '{"text":"@_user_1 hi"}',
                "mentions": [{"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "Bot"}],
            },
        },
    }
).encode()
DINGTALK = json.dumps(
    {
        "msgId": "m",
        "msgtype": "text",
        "text": {"content": " hi"},
        "conversationType": "2",
        "conversationId": "cid",
        "senderStaffId": "staff1",
        "senderId": "$:ann",
        "robotCode": "dingbot",
        "createAt": 1,
        "atUsers": [{"dingtalkId": "x"}],
    }
).encode()
TEAMS = json.dumps(
    {
        "type": "message",
        "id": "1",
        "serviceUrl": "SERVICE",
        "channelId": "msteams",
        "from": {"id": "29:ann", "name": "Ann"},
        "recipient": {"id": "28:app"},
        "conversation": {"id": "19:x@thread.tacv2", "conversationType": "channel", "tenantId": "t"},
        "text": "<at>Desk</at> hi",
        "entities": [{"type": "mention", "mentioned": {"id": "28:app"}, "text": "<at>Desk</at>"}],
    }
).encode()
WECOM = (
    b"<xml><ToUserName>corp</ToUserName><FromUserName>lin</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType>"
    b"<Content>hi</Content><MsgId>1</MsgId><AgentID>1000002</AgentID></xml>"
)
WECOM_BOT = json.dumps(
    {"msgid": "1", "aibotid": "b", "chattype": "single", "from": {"userid": "lin"}, "msgtype": "text", "text": {"content": "hi"}}
).encode()
STREAM = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """`make` gives what is called with each input; `seeds` are inputs to begin with."""

    make: Callable[[], Run]
    seeds: tuple[bytes, ...] = ()


def _intake(secrets: Mapping[str, str], wrap: Callable[[bytes], Webhook]) -> Run:
    name = wrap(b"{}").platform
    assistant = Assistant(Settings(), secrets=GivenSecrets({name: dict(secrets)}), metrics=RecordedMetrics())

    def run(data: bytes) -> None:
        with contextlib.suppress(Refused, Unavailable):  # a workspace of Slack's that is not ours is looked up in a table
            for message in assistant.intake.receive(wrap(data)).messages:
                assert message.dedup_id

    return run


def _slack() -> Run:
    vendor = slack.SlackSimulator().start()
    return _intake(vendor.secrets, lambda data: vendor.signed("events", data, "application/json"))


def _slack_forms() -> Run:
    vendor = slack.SlackSimulator().start()
    return _intake(vendor.secrets, lambda data: vendor.signed("interactive", data, "application/x-www-form-urlencoded"))


def _feishu() -> Run:
    secrets = {"app_id": "cli_a", "app_secret": "s", "encrypt_key": "k", "verification_token": "v", "bot_open_id": "ou_bot"}
    return _intake(secrets, lambda data: feishu.signed(data, stamp=int(time.time()), key="k"))


def _feishu_sealed() -> Run:
    secrets = {"app_id": "cli_a", "app_secret": "s", "encrypt_key": "k", "verification_token": "v", "bot_open_id": "ou_bot"}

    def wrap(data: bytes) -> Webhook:
        with contextlib.suppress(ValueError, RecursionError):
            return feishu.signed(feishu.seal(json.loads(data), "k"), stamp=int(time.time()), key="k")
        return feishu.signed(data, stamp=int(time.time()), key="k")

    return _intake(secrets, wrap)


def _dingtalk() -> Run:
    secrets = {"app_key": "dingapp", "app_secret": "app-secret", "robot_code": "dingbot"}
    clock = [int(time.time() * 1000)]

    def wrap(data: bytes) -> Webhook:
        clock[0] += 1  # one signature serves one body
        return dingtalk.robot_call(data, secret="app-secret", stamp=clock[0])

    return _intake(secrets, wrap)


def _teams() -> Run:
    vendor = teams.TeamsSimulator().start()
    headers = {"content-type": "application/json", "authorization": f"Bearer {vendor.token()}"}
    service = vendor.service_url.encode()

    def wrap(data: bytes) -> Webhook:
        return Webhook(platform="teams", channel="messages", headers=headers, body=data.replace(b"SERVICE", service))

    return _intake(vendor.secrets, wrap)


def _wecom() -> Run:
    vendor = wecom.WeCom().start()
    return _intake(vendor.secrets, lambda data: vendor.app_callback(data.decode("utf-8", "replace")))


def _wecom_bot() -> Run:
    vendor = wecom.WeCom().start()

    def wrap(data: bytes) -> Webhook:
        return wecom.callback(
            "bot", data.decode("utf-8", "replace"), token=wecom.BOT_TOKEN, key=wecom.BOT_KEY, receiver="", now=time.time()
        )

    return _intake(vendor.secrets, wrap)


def _model_stream() -> Run:
    from assistant.llm.openai_wire import AnswerReader

    def run(data: bytes) -> None:
        reader = AnswerReader(where="fuzz", model="fuzz", elapsed_ms=lambda: 0.0)
        with contextlib.suppress(Unavailable, ModelError):
            for at in range(0, len(data), 7):
                if reader.feed(data[at : at + 7])[1]:
                    return
            reader.close()

    return run


def _markdown() -> Run:
    from assistant.platforms.markdown import Dialect, parts, render, to_plain

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        render(text, Dialect())
        to_plain(text)
        if shown := parts(text, limit=200):
            assert max(map(len, shown)) <= 200

    return run


def _documents() -> Run:
    from assistant.knowledge.loaders import LOADERS, Unreadable, read, unpack

    endings = sorted(LOADERS)

    def run(data: bytes) -> None:
        if not data:
            return
        with contextlib.suppress(Unreadable):
            read(f"f{endings[data[0] % len(endings)]}", data[1:])
        with contextlib.suppress(Unreadable):
            list(unpack("f.zip", data[1:]))

    return run


def _times() -> Run:
    from assistant.slots.times import durations, spans, whens

    now = datetime(2026, 2, 28, 23, 59, tzinfo=ZoneInfo("Asia/Shanghai"))

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")[:2000]
        whens(text, now=now)
        spans(text, now=now)
        durations(text)

    return run


def _queued() -> Run:
    def run(data: bytes) -> None:
        with contextlib.suppress(ValueError):
            to_json(message_from_json(data.decode("utf-8", "replace")))

    return run


def _body(event: Callable[[], dict[str, Any]]) -> bytes:
    return str(event()["body"]).encode()


TARGETS: dict[str, Target] = {
    "slack": Target(make=_slack, seeds=(_body(EVENTS["slack"]),)),
    "slack-forms": Target(make=_slack_forms, seeds=(b"payload=%7B%22type%22%3A%22block_actions%22%7D", b"command=%2Fask&text=a")),
    "feishu": Target(make=_feishu, seeds=(_body(EVENTS["feishu"]),)),
    "feishu-sealed": Target(make=_feishu_sealed, seeds=(FEISHU,)),
    "dingtalk": Target(make=_dingtalk, seeds=(DINGTALK,)),
    "teams": Target(make=_teams, seeds=(TEAMS,)),
    "wecom": Target(make=_wecom, seeds=(WECOM,)),
    "wecom-bot": Target(make=_wecom_bot, seeds=(WECOM_BOT,)),
    "model-stream": Target(make=_model_stream, seeds=(STREAM,)),
    "markdown": Target(
        make=_markdown, seeds=(b"# a\n\n|a|b|\n|-|-|\n|1|2|\n\n```py\nx\n```\n- [l](https://x)\n1. **b** _i_ `c`\n> q",)
    ),
    "documents": Target(make=_documents, seeds=(b"\0a,b\n1,2\n", b"\1<h1>t</h1><table><tr><td>x</table>")),
    "times": Target(make=_times, seeds=("明天下午三点到五点半".encode(), b"next Friday 10am for two and a half hours")),
    "forged": Target(make=readers.forged, seeds=(b"\x00\x01v0=00\n{}", b"\x04\x01x\n<xml><Encrypt>x</Encrypt></xml>")),
    "teams-token": Target(make=readers.teams_token, seeds=(b"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.AA",)),
    "envelopes": Target(make=readers.envelopes, seeds=(b"\x10" * 64, b"\x01" * 96)),
    "feishu-envelope": Target(make=readers.feishu_envelope, seeds=(b"\x10" * 64,)),
    "dingtalk-events": Target(make=readers.dingtalk_events, seeds=(b'{"EventType":"user_leave_org","UserId":["u"]}',)),
    "dingtalk-cards": Target(make=readers.dingtalk_cards, seeds=(b'{"userId":"u","outTrackId":"t","content":"{}"}',)),
    "slack-commands": Target(make=readers.slack_commands, seeds=(b"command=%2Fask&text=a&user_id=U1&channel_id=C1",)),
    "webchat": Target(make=readers.webchat, seeds=(b'{"conversation":"c","user":"u","text":"hi"}',)),
    "settings": Target(make=readers.settings, seeds=(b'{"admin":["groups=a"]}', b"openai:m@https://h/v1,builtin")),
    "tool-arguments": Target(make=readers.tool_arguments, seeds=(b'{"a":"x","b":[1]}',)),
    "answers": Target(make=readers.answers, seeds=(b'{"data":[{"embedding":[1,2]}]}', b'{"relations":[{"subject":"a"}]}')),
    "log-records": Target(make=readers.log_records, seeds=(b'{"message":"a"}\n', readers.BATCH)),
    "cursors": Target(make=readers.cursors, seeds=(b'["a","b"]',)),
    "file-kinds": Target(make=readers.file_kinds, seeds=(b"PK\x03\x04", b"attachment; filename*=UTF-8''a.pdf")),
    "graph-files": Target(make=readers.graph_files, seeds=(b"subject,relation,object\na,b,c\n", b'{"entities":[{"name":"a"}]}')),
    "words": Target(
        make=readers.words, seeds=("不是周四，改成周五下午三点".encode(), b"put this into the knowledge base, folder hr")
    ),
    "replies": Target(make=readers.replies, seeds=(b"# a\n\n|a|b|\n|-|-|\n|1|2|\n",)),
    "id-tokens": Target(
        make=readers.id_tokens,
        seeds=(
            b'o{"iss":"https://id.example","aud":"client","sub":"s","iat":1000,"exp":2000,"nonce":"n"}',
            b'g{"email":"c","email_verified":true,"groups":["a"],"realm":{"roles":"b"},"exp":Infinity,"name":"\\ud800"}',
            b'g{"name":"\\ud800"}',
            b'g{"sub":[5],"iat":1e999}',
            b'k{"keys":[{"kty":"RSA","kid":"k","use":"sig","n":"AQAB","e":"AQAB"}]}',
            b'k{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}',
        ),
    ),
    "callbacks": Target(
        make=readers.callbacks,
        seeds=(
            b'code=c&state=s&browser=b\n{"access_token":"a","id_token":"b.c.d","expires_in":1e999,"scope":"a b"}',
            b"error=access_denied&sure=%C3%A9&language=zh",
        ),
    ),
    "linked-files": Target(make=readers.linked_files, seeds=("报告.pdf".encode(), b"a.b\r\nc", b"../x", b"..", b"%2e%2e/x")),
    "queued": Target(make=_queued, seeds=(b'{"platform":"slack","channel":"events","kind":"text","conversation":"c"}',)),
}
"""By name. Seeds are genuine inputs, so that mutation begins behind the first checks."""
