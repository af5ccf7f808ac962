"""Cold start: process start → first response, of every function as it is deployed, under AWS's own runtime client.

Each start is a new process with an empty `/tmp`; each answer must be the right one: a message in the queue, a reply that a person
sees, a challenge given back. AWS, the vendors and the model are local and answer at once, so that what is measured is ours:
imports, clients, secrets, verification, and for a turn everything else that the first message of a copy pays.
"""

from __future__ import annotations

import base64
import compileall
import gzip
import hashlib
import json
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import boto3

from assistant.assembly import Assistant
from assistant.dev.commands.plugin import isolate
from assistant.dev.emulator import ACCOUNT, BUCKET, CREDENTIALS, REGION
from assistant.dev.runner import event_of, match
from assistant.errors import NeedsAuthorisation
from assistant.messages import HttpReply, Message, Webhook, message_from_json
from assistant.platforms import crypto
from assistant.plugins.isolated import FOLDER
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.benchmarks.deployed import PLACE, Code, Deployed, LocalAws, Started, environment, local_aws, packages
from tests.benchmarks.payloads import EVENTS, QUESTION
from tests.benchmarks.payloads import SECRETS as PEER_SECRETS
from tests.benchmarks.peers import NEEDS, PEERS
from tests.benchmarks.report import Row, Section
from tests.simulators import slack as slack_desk
from tests.simulators import wecom
from tests.simulators.dingtalk import event_call
from tests.simulators.feishu import seal, signed
from tests.simulators.openai_server import ModelServer
from tests.simulators.opensearch import OpenSearchServer
from tests.simulators.stages import Cast, Stage

ANSWER: Final = "Fourteen days, every year."
HANDSHAKE_MS: Final = 1000.0
"""Feishu, DingTalk and WeCom want an address checked, and an event taken, within one second; Slack within three."""
CHALLENGE: Final = "3eZbrw1aBm2rZgRNFdxV2595E9CYy91uZy3VBkMq"

PLUGIN: Final = '''
"""Where parcels wait."""

from assistant import BotPlugin, Message, PluginContext, Reply


class Parcels(BotPlugin):
    """Where parcels wait."""

    name = "parcels"
    version = "1.0.0"
    api = "^1.1"

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        return Reply(text="At the gate.") if message.text == "parcel" else None
'''


class Wrong(RuntimeError):
    """A function answered, and not what it should have: its time would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row: `start` starts it once and raises Wrong for a wrong answer."""

    name: str
    start: Callable[[], Started]
    code: str = ""
    """The function that it starts; empty: one that no other row starts."""
    goal: str = ""
    good: Callable[[list[float], Mapping[str, float]], bool] | None = None
    """Whether the times, beside the medians of all rows, meet the goal."""


def need(right: bool, what: str, started: Started) -> None:
    """Raises Wrong where the answer is not right."""
    if not right:
        raise Wrong(f"{what} answered {json.dumps(started.answer, ensure_ascii=False)[:600]}")


# --- beside whom -------------------------------------------------------------------------------------


def peers(place: Path, runtime: Path) -> Iterator[Contender]:
    """What others do, each with its own packages and nothing else in its path."""
    for number, (name, source) in enumerate(PEERS.items()):
        task = place / f"peer{number}"
        task.mkdir(parents=True, exist_ok=True)
        (task / f"peer{number}.py").write_text(source)
        compileall.compile_dir(str(task), quiet=2)
        site = packages(place / f"peer{number}-packages", NEEDS[name])
        for package in sorted(site.iterdir()):
            if package.is_dir():
                compileall.compile_dir(str(package), quiet=2)
        code = Code(task=task, path=(site, runtime), handler=f"peer{number}.handler")
        platform = "feishu" if name == "lark-oapi" else "slack"

        def start(code: Code = code, platform: str = platform, name: str = name) -> Started:
            started = code.start(EVENTS[platform](), {})
            need(started.answer.get("statusCode") == 200, name, started)
            return started

        yield Contender(name=name, start=start)


# --- ours --------------------------------------------------------------------------------------------


def http_event(webhook: Webhook) -> dict[str, Any]:
    """The API Gateway event of a platform's request."""
    path = f"/webhook/{webhook.platform}/{webhook.channel}"
    return request(webhook.method, path, query=urlencode(webhook.query), headers=webhook.headers, body=webhook.body)


def request(method: str, path: str, *, query: str = "", headers: Mapping[str, str], body: bytes = b"") -> dict[str, Any]:
    """An API Gateway event."""
    if (found := match(method, path)) is None:
        raise ValueError(f"no route for {method} {path}")
    kind = {} if "content-type" in headers or not body else {"content-type": "application/json"}
    return event_of(*found, method=method, path=path, query=query, headers={**kind, **headers}, body=body)


def record(body: str) -> dict[str, Any]:
    """An SQS event with one message, as the event source mapping hands it to the dialogue function."""
    message = {
        "messageId": str(uuid.uuid4()),
        "receiptHandle": "handle",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(int(time.time() * 1000)),
            "MessageGroupId": "group",
            "MessageDeduplicationId": uuid.uuid4().hex,
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:turns.fifo",
        "awsRegion": REGION,
    }
    return {"Records": [message]}


class House:
    """Every function, deployed in an account, with its platforms and its model."""

    def __init__(self, deployed: Deployed, cast: Cast, aws: LocalAws, url: str, model: str, search: str) -> None:
        self.deployed = deployed
        self.stages: dict[str, Stage] = {stage.name: stage for stage in cast.stages}
        self.aws = aws
        self.env = environment(url, model=model)
        self._logs = {**self.env, **environment(url, log_search_url=search)}
        self._url = url
        self._unanswered: dict[str, str] = {}

    def client(self, service: str) -> Any:
        """A boto3 client of this account."""
        keys = (CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
        return boto3.client(
            service, endpoint_url=self._url, region_name=REGION, aws_access_key_id=keys[0], aws_secret_access_key=keys[1]
        )

    # --- the webhook function ---

    def webhook(self, webhook: Webhook) -> Started:
        """One cold start of the webhook function."""
        return self.deployed.function("webhook").start(http_event(webhook), self.env)

    def said(self, platform: str, text: str = QUESTION) -> Started:
        """Somebody writes `text`; it must stand in the queue when the platform has its answer."""
        before, kept = len(self.aws.sent), list[Started]()

        def deliver(webhook: Webhook) -> HttpReply:
            kept.append(self.webhook(webhook))
            return HttpReply(kept[0].answer["statusCode"], kept[0].answer.get("body") or "")

        if platform == "webchat":
            said = {"conversation": uuid.uuid4().hex, "user": "ann", "text": text}
            headers = {"authorization": f"Bearer {self.aws.secrets['webchat']['api_key']}"}
            body = json.dumps(said).encode()
            deliver(Webhook(platform="webchat", channel="messages", headers=headers, body=body))
        else:
            stage = self.stages[platform]
            room = next(r for r in stage.rooms if r.id == "wang") if platform == "wecom" else stage.rooms[0]
            stage.say(room, text, deliver)
        (started,) = kept
        queued = [json.loads(body) for body in self.aws.sent[before:]]
        need(started.answer["statusCode"] in (200, 202), f"webhook, {platform}", started)
        need([m["text"] for m in queued] == [text], f"webhook, {platform}: queued {queued}; it", started)
        self._unanswered[platform] = self.aws.sent[-1]
        return started

    def clicked(self, webhook: Webhook, what: str) -> Started:
        """Somebody clicks; it must stand in the queue."""
        before = len(self.aws.sent)
        started = self.webhook(webhook)
        need(started.answer["statusCode"] == 200 and len(self.aws.sent) == before + 1, what, started)
        return started

    def handshakes(self) -> Iterator[tuple[str, Callable[[], Started]]]:
        """What a vendor sends to check an address, or while a person looks at a button, each with the only right answer."""
        secrets = {name: stage.secrets for name, stage in self.stages.items()}

        def echoed(webhook: Webhook, what: str) -> Started:
            started = self.webhook(webhook)
            good = started.answer["statusCode"] == 200 and json.loads(started.answer["body"]) == {"challenge": CHALLENGE}
            need(good, what, started)
            return started

        def feishu() -> Started:
            key, check = secrets["feishu"]["encrypt_key"], {"type": "url_verification", "challenge": CHALLENGE}
            body = seal({**check, "token": secrets["feishu"]["verification_token"]}, key)
            return echoed(signed(body, stamp=int(time.time()), key=key), "feishu's url_verification")

        def slack() -> Started:
            body = json.dumps({"type": "url_verification", "token": "t", "challenge": CHALLENGE}).encode()
            vendor: Any = self.stages["slack"].vendor
            return echoed(vendor.signed("events", body, "application/json"), "slack's url_verification")

        def echostr(channel: str) -> Started:
            app = channel == "app"
            token, key = (wecom.APP_TOKEN, wecom.APP_KEY) if app else (wecom.BOT_TOKEN, wecom.BOT_KEY)
            sealed, stamp = wecom.seal("1616140317555161061", key, wecom.CORP if app else ""), str(int(time.time()))
            proof = wecom.sign(token, stamp, "n", sealed)
            query = {"timestamp": stamp, "nonce": "n", "echostr": sealed, "msg_signature": proof}
            started = self.webhook(Webhook(platform="wecom", channel=channel, method="GET", query=query))
            need(started.answer.get("body") == "1616140317555161061", f"wecom's echostr, {channel}", started)
            return started

        def check_url() -> Started:
            own = secrets["dingtalk"]
            token, aes, owner = own["event_token"], own["event_aes_key"], own["event_owner_key"]
            stamp = int(time.time() * 1000)
            started = self.webhook(event_call({"EventType": "check_url"}, token=token, aes_key=aes, owner=owner, stamp=stamp))
            need(started.answer["statusCode"] == 200, "dingtalk's check_url", started)
            answer = json.loads(started.answer["body"])
            key = crypto.key_from_text(aes, field="event_aes_key")
            need(
                crypto.open_envelope(answer["encrypt"], key=key, receive_id=owner) == b"success", "dingtalk's check_url", started
            )
            return started

        def button() -> Started:
            vendor: Any = self.stages["slack"].vendor
            stamp = vendor._ts()
            payload = {
                "type": "block_actions",
                "user": {"id": "U0ANN", "username": "ann", "team_id": slack_desk.TEAM},
                "team": {"id": slack_desk.TEAM},
                "api_app_id": "A0APP",
                "trigger_id": f"tr.{stamp}",
                "response_url": f"{vendor.base}/actions/{stamp}",
                "channel": {"id": "D0ANN"},
                "container": {"type": "message", "message_ts": stamp, "channel_id": "D0ANN", "is_ephemeral": False},
                "message": {"ts": stamp, "user": slack_desk.BOT_USER},
                "actions": [{"type": "button", "block_id": "b1", "action_ts": stamp, "action_id": "choose", "value": "1"}],
            }
            return self.clicked(vendor.interaction(payload), "slack's block_actions")

        def command() -> Started:
            vendor: Any = self.stages["slack"].vendor
            return self.clicked(vendor.command("D0ANN", "U0ANN", "/ask", "How many days?"), "slack's slash command")

        yield "Feishu url_verification", feishu
        yield "Slack url_verification", slack
        yield "WeCom echostr, app", partial(echostr, "app")
        yield "WeCom echostr, bot", partial(echostr, "bot")
        yield "DingTalk check_url", check_url
        yield "Slack button", button
        yield "Slack slash command", command

    # --- the dialogue function ---

    def answered(self, platform: str) -> Started:
        """A plain turn, its reply visible to the person or stored for the page."""
        if platform not in self._unanswered:
            self.said(platform)
        body = self._unanswered.pop(platform)
        started = self.deployed.function("dialogue").start(record(body), self.env)
        need(started.answer == {"batchItemFailures": []}, f"dialogue, {platform}", started)
        if platform == "webchat":
            house = Assistant(Settings.from_env(self.env), client=self.client)
            seen = [str(turn.reply) for turn in house.sessions.turns(message_from_json(body))]
        else:
            stage = self.stages[platform]
            seen = [b.text for b in stage.bubbles(stage.rooms[0]) if not b.who]
        need(bool(seen) and ANSWER in seen[-1], f"dialogue, {platform}: a person sees {seen[-1:]}; it", started)
        return started

    # --- those behind HTTP ---

    def health(self) -> Started:
        """All components are well."""
        started = self._http("api", "GET", "/health")
        need('"ok"' in started.answer["body"], "api, /health", started)
        return started

    def completion(self) -> Started:
        """The OpenAI-compatible door."""
        asked = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}]}
        headers = {"authorization": f"Bearer {self.aws.secrets['webchat']['api_key']}"}
        started = self._http("api", "POST", "/v1/chat/completions", headers=headers, body=json.dumps(asked).encode())
        need(ANSWER in started.answer["body"], "api, /v1/chat/completions", started)
        return started

    def consent(self) -> Started:
        """Somebody follows the link that asks for their consent, and is asked whether it is for them before they are sent on."""
        settings = Settings.from_env(self.env)
        assistant = Assistant(settings, secrets=GivenSecrets(self.aws.secrets), client=self.client)
        sent = f"m{uuid.uuid4().hex}"
        message = Message(
            kind="text", platform="webchat", channel="messages", conversation="c", sender="ann", dedup_id=sent, direct=True
        )
        reply = assistant.authorisations.ask(message, NeedsAuthorisation("microsoft"), turn=sent, language="en")
        link = urlsplit(next(word for word in reply.text.replace("(", " ").replace(")", " ").split() if "/oauth/" in word))
        started = self._http("oauth", "GET", link.path, query=link.query)
        need("sure=" in started.answer["body"], "oauth, start", started)
        return started

    def _http(
        self,
        function: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Started:
        event = request(method, path, query=query, headers=headers or {}, body=body)
        started = self.deployed.function(function).start(event, self.env)
        need(started.answer["statusCode"] == 200, f"{function}, {path}", started)
        return started

    # --- those that nobody waits for ---

    def deploy(self) -> Started:
        """What a deployment does when everything is there: the report of the initialisation, in which all is good."""
        started = self.deployed.function("init").start({}, self.env)
        states = {s["state"] for s in started.answer["steps"]}
        need(bool(states) and states <= {"created", "kept", "ok"}, "init", started)
        return started

    def look(self) -> Started:
        """A look at forms that were left open."""
        started = self.deployed.function("init").start({"task": "silence"}, self.env)
        need(isinstance(started.answer, dict), "init, silence", started)
        return started

    def take_in(self) -> Started:
        """A document that somebody has put into the bucket."""
        name = f"hr/{uuid.uuid4().hex}.md"
        self.client("s3").put_object(Bucket=BUCKET, Key=f"documents/{name}", Body=f"# Leave\n\n{ANSWER} {name}\n".encode())
        told = {"detail-type": "Object Created", "detail": {"object": {"key": f"documents/{name}", "size": 60}}}
        started = self.deployed.function("ingest").start(record(json.dumps(told)), self.env)
        need(started.answer.get("added") == [name], "ingest", started)
        return started

    def shipped(self) -> Started:
        """A batch of log lines on its way to the archive."""
        line = json.dumps({"@timestamp": "2027-01-15T08:00:00Z", "message": "turn answered", "log.level": "info"})
        whole = {
            "messageType": "DATA_MESSAGE",
            "owner": ACCOUNT,
            "logGroup": "/assistant/bench/dialogue",
            "logStream": "2027/01/15/[7]0123456789abcdef",
            "subscriptionFilters": ["archive"],
            "logEvents": [{"id": f"{n:056d}", "timestamp": 1_800_000_000_000 + n, "message": line} for n in range(20)],
        }
        event = {
            "invocationId": "8a1b",
            "deliveryStreamArn": f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/archive",
            "region": REGION,
            "records": [
                {
                    "recordId": "r0",
                    "approximateArrivalTimestamp": 1_800_000_000_000,
                    "data": base64.b64encode(gzip.compress(json.dumps(whole).encode())).decode(),
                }
            ],
        }
        started = self.deployed.function("logs").start(event, self.env)
        (answer,) = started.answer["records"]
        lines = base64.b64decode(answer.get("data", "")).splitlines()
        need(answer["result"] == "Ok" and len(lines) == 20, "logs", started)
        return started

    def forgotten(self) -> Started:
        """A day's look at lines that name somebody who was erased; there are none."""
        started = self.deployed.function("search").start({"task": "forget"}, self._logs)
        need(started.answer == {"deleted": 0}, "search", started)
        return started

    def apart(self, manifest: str) -> Started:
        """An isolated plug-in answers what its stand-in asks."""
        env = {**self.env, "PLUGIN": manifest, "TABLE_NAME": ""}
        message = {"kind": "text", "platform": "webchat", "channel": "messages", "conversation": "c", "sender": "ann"}
        around = {"language": "en", "now": "2027-01-15T08:00:00+00:00", "key": "k"}
        event = {
            "method": "handle_message",
            "config": {},
            "around": around,
            "message": json.dumps({**message, "dedup_id": "d", "text": "parcel", "direct": True}),
            "secrets": {},
            "held": [],
        }
        started = self.deployed.function("plugin").start(event, env)
        need("At the gate." in json.dumps(started.answer), "plugin", started)
        return started


@contextmanager
def house(deployed: Deployed) -> Iterator[House]:
    """Everything around the functions; the deployment's own initialisation has run."""
    with ExitStack() as stack:
        model = stack.enter_context(ModelServer(text=ANSWER))
        search = stack.enter_context(OpenSearchServer())
        cast = Cast()
        secrets = cast.start()
        stack.callback(cast.stop)
        secrets["webchat"] = PEER_SECRETS["webchat"]
        secrets["oauth-microsoft"] = {"client_id": "c", "client_secret": "s", "tenant_id": "tenant"}
        aws, url = stack.enter_context(local_aws(secrets))
        made = House(deployed, cast, aws, url, f"openai:tiny@{model.base}/v1", search.url)
        made.deploy()
        yield made


# --- the table ---------------------------------------------------------------------------------------


def contenders(place: Path, own: House) -> Iterator[Contender]:
    """Every row, peers first."""
    yield from peers(place, own.deployed.runtime)

    def quick(times: list[float], median: Mapping[str, float]) -> bool:
        return statistics.median(times) <= 1.3 * median["one boto3 client"] and (
            statistics.median(times) <= 0.13 * median["lark-oapi"]
        )

    for name in ("webchat", *own.stages):
        goal = "≤ 1.3 × client, ≤ 0.13 × lark-oapi"
        yield Contender(name=f"webhook, {name}", start=partial(own.said, name), code="webhook", goal=goal, good=quick)

    def at_once(times: list[float], median: Mapping[str, float]) -> bool:
        return max(times) <= HANDSHAKE_MS

    for name, start in own.handshakes():
        yield Contender(name=name, start=start, code="webhook", goal="within one second, cold", good=at_once)
    yield Contender(name="dialogue, a turn on Slack", start=partial(own.answered, "slack"), code="dialogue")
    yield Contender(name="dialogue, a turn in the web chat", start=partial(own.answered, "webchat"), code="dialogue")
    yield Contender(name="api, /health", start=own.health, code="api")
    yield Contender(name="api, /v1/chat/completions", start=own.completion, code="api")
    yield Contender(name="oauth, start", start=own.consent)
    yield Contender(name="ingest, a document", start=own.take_in)
    yield Contender(name="init, a deployment", start=own.deploy, code="init")
    yield Contender(name="init, a look at forms", start=own.look, code="init")
    yield Contender(name="plugin", start=partial(own.apart, "parcels"))
    yield Contender(name="logs", start=own.shipped)
    yield Contender(name="search", start=own.forgotten)


def measure(runs: int, scratch: Path, *, progress: Callable[[str], None]) -> Section:
    """The table: each row `runs` times, turn by turn, so that a machine that slows down slows all of them."""
    progress("building what is deployed")
    deployed = Deployed(PLACE)
    install(deployed, scratch)
    with house(deployed) as own:
        rows = list(contenders(scratch, own))
        times: dict[str, list[Started]] = {row.name: [] for row in rows}
        for row in {row.code or row.name: row for row in rows}.values():  # what is read for the first time comes from the disk
            progress(f"cold start 0/{runs}: {row.name}")
            row.start()
        for run in range(1, runs + 1):
            for row in rows:
                progress(f"cold start {run}/{runs}: {row.name}")
                times[row.name].append(row.start())
    return table(rows, times, runs=runs, compiled=deployed.compiled)


def install(deployed: Deployed, scratch: Path) -> None:
    """An isolated plug-in beside the bundled ones, as `assistant plugin isolate` puts it there."""
    file = scratch / "parcels.py"
    file.write_text(PLUGIN)
    target = deployed.opt / "assistant_plugins"
    isolate(file, target)
    compileall.compile_dir(str(target / FOLDER), quiet=2)


def table(rows: list[Contender], times: Mapping[str, list[Started]], *, runs: int, compiled: bool) -> Section:
    """The rows as they are shown."""
    median = {name: statistics.median(s.milliseconds for s in starts) for name, starts in times.items()}
    shown = []
    for row in rows:
        values = [s.milliseconds for s in times[row.name]]
        figures: dict[str, float | str] = {
            "median ms": median[row.name],
            "min ms": min(values),
            "max ms": max(values),
            "of it, event ms": statistics.median(s.event for s in times[row.name]),
            "processor ms": statistics.median(s.processor for s in times[row.name]),
            "× one boto3 client": median[row.name] / median["one boto3 client"],
            "× lark-oapi": median[row.name] / median["lark-oapi"],
            "× slack_bolt": median[row.name] / median["slack_bolt"],
        }
        met = row.good(values, median) if row.good else None
        shown.append(Row(name=row.name, figures=figures, goal=row.goal, met=met))
    code = "with byte code" if compiled else "with the byte code that the first round left"
    how = (
        f"process start to first response, {runs} runs each in turn, of the bundles that are deployed, built {code} for this"
        f" processor and Python ({os.uname().machine}); secrets and queue clients included; each answer is checked"
    )
    return Section(title="Cold start", how=how, rows=shown, bar="median ms")
