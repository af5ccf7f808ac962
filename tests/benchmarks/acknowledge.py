"""Warm acknowledgement: one event through the webhook function, again and again, beside peers on the same payloads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import statistics
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

from assistant.assembly import Assistant
from assistant.dev.emulator import CREDENTIALS
from assistant.dev.runner import Context
from assistant.messages import Webhook
from assistant.observability import RecordedMetrics
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.benchmarks.cold import InstantAws
from tests.benchmarks.payloads import EVENTS, SECRETS, SIGNING
from tests.benchmarks.peers import PEERS
from tests.benchmarks.report import Row, Section

Act = Callable[[Mapping[str, Any]], Any]


def timed(act: Act, event: Mapping[str, Any], runs: int) -> list[float]:
    """Milliseconds of each run, after a tenth of them to warm up."""
    times = []
    for run in range(runs + runs // 10):
        began = time.perf_counter_ns()
        act(event)
        took = (time.perf_counter_ns() - began) / 1e6
        if run >= runs // 10:
            times.append(took)
    return sorted(times)


def figures(times: list[float]) -> dict[str, float | str]:
    """What the table shows."""
    return {
        "p50 ms": times[len(times) // 2],
        "p99 ms": times[min(len(times) - 1, int(len(times) * 0.99))],
        "p99.9 ms": times[min(len(times) - 1, int(len(times) * 0.999))],
        "events/s": 1000 / statistics.mean(times),
    }


def peer(name: str) -> Act:
    """The peer's handler, loaded in this process."""
    module = types.ModuleType("peer")
    exec(compile(PEERS[name], name, "exec"), module.__dict__)  # our own text above
    handler, context = module.handler, Context("peer", 30)
    return lambda event: handler(event, context)


def house(queue_url: str = "", client: Callable[[str], Any] | None = None) -> Assistant:
    """An assistant that is told its secrets."""
    return Assistant(Settings(turns_queue_url=queue_url), secrets=GivenSecrets(SECRETS), client=client, metrics=RecordedMetrics())


def minimum(event: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be done for a Slack message, by hand: verify, parse, pick."""
    raw = event["body"]
    body = base64.b64decode(raw) if event["isBase64Encoded"] else raw.encode()
    headers = event["headers"]
    stamp = headers["x-slack-request-timestamp"]
    mac = hmac.new(SIGNING.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v0={mac}", headers["x-slack-signature"]) or abs(time.time() - int(stamp)) > 300:
        raise ValueError("forged")
    inner = json.loads(body)["event"]
    return {"user": inner["user"], "text": inner["text"], "channel": inner["channel"], "ts": inner["ts"]}


def measure(runs: int, *, progress: Callable[[str], None]) -> Section:
    """The table: without the send, then with it."""
    rows = []
    own = house()
    results: dict[str, dict[str, float | str]] = {}
    for platform, event in EVENTS.items():
        progress(f"acknowledge {platform}")
        results[f"{platform}: receive"] = figures(timed(lambda e: own.intake.receive(Webhook.from_event(e)), event(), runs))
    with contextlib.redirect_stderr(io.StringIO()):
        results["slack_bolt"] = figures(timed(peer("slack_bolt"), EVENTS["slack"](), runs))
        results["lark-oapi"] = figures(timed(peer("lark-oapi"), EVENTS["feishu"](), runs))
    results["slack: hand-written minimum"] = figures(timed(minimum, EVENTS["slack"](), runs))
    beside = {"slack: receive": "slack_bolt", "feishu: receive": "lark-oapi"}
    for name, found in results.items():
        met = None
        if other := beside.get(name):
            met = float(found["p50 ms"]) <= float(results[other]["p50 ms"])
        rows.append(Row(name=name, figures=found, goal=f"≤ {beside[name]}" if name in beside else "", met=met))
    rows += _with_send(max(50, runs // 10), progress)
    how = f"{runs} events each in one process; 'receive' verifies, decrypts and parses; 'sent' adds one boto3 SendMessage"
    return Section(title="Warm acknowledgement", how=how, rows=rows, bar="p50 ms")


def _with_send(runs: int, progress: Callable[[str], None]) -> list[Row]:
    import boto3

    aws = InstantAws()
    try:
        url = f"{aws.url}/1/turns.fifo"

        def client(service: str) -> Any:
            return boto3.client(
                service,
                endpoint_url=aws.url,
                region_name="us-east-1",
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            )

        own, sqs = house(url, client), client("sqs")

        def by_hand(event: Mapping[str, Any]) -> None:
            found = minimum(event)
            sqs.send_message(
                QueueUrl=url, MessageBody=json.dumps(found), MessageGroupId=found["channel"], MessageDeduplicationId=found["ts"]
            )

        progress("acknowledge with the send")
        event = EVENTS["slack"]()
        first = timed(by_hand, event, runs)
        ours = timed(lambda e: own.intake.handle(Webhook.from_event(e)).to_event(), event, runs)
        second = timed(by_hand, event, runs)  # before and after, so that a machine that drifts favours nobody
        least = figures(sorted(first + second))
        mine = figures(ours)
        met = float(mine["p50 ms"]) <= 1.2 * float(least["p50 ms"])
        return [
            Row(name="slack: sent, hand-written minimum", figures=least),
            Row(name="slack: sent", figures=mine, goal="≤ 1.2 × minimum", met=met),
        ]
    finally:
        aws.stop()
