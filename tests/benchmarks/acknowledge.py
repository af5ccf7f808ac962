"""Warm acknowledgement: one event through the webhook function, again and again, beside peers on the same payloads."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from assistant.dev.emulator import CREDENTIALS
from assistant.dev.runner import Context
from assistant.messages import Webhook
from assistant.observability import Metrics
from assistant.parts.channels import ChannelParts
from assistant.parts.resources import aws_config
from assistant.secrets import GivenSecrets
from assistant.settings import Settings
from tests.benchmarks.by_hand import Take, bot_framework, minimums, wechatpy
from tests.benchmarks.payloads import Everywhere, everywhere
from tests.benchmarks.peers import PEERS
from tests.benchmarks.report import Curve, Row, Section

Act = Callable[[Mapping[str, Any]], Any]

PLATFORMS: Final = ("webchat", "slack", "feishu", "teams", "dingtalk", "wecom")
PEER_OF: Final = {"slack": "slack_bolt", "feishu": "lark-oapi", "teams": "botframework-connector", "wecom": "wechatpy"}
"""DingTalk's own package takes messages only over its websocket, which proves them once when it is opened."""
BATCH: Final = 10
"""Runs of each before the next one's turn: a machine that slows down for a moment slows all of them."""
SLOWER: Final = (2, 4, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def timed(acts: Mapping[str, Act], event: Mapping[str, Any], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each of `runs` runs of each act, sorted; the acts take turns, a round to warm up is not counted."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    gc.collect()
    for number in range(runs // BATCH + 1):
        for name, act in acts.items():
            for _ in range(BATCH):
                began = time.perf_counter_ns()
                act(event)
                took = (time.perf_counter_ns() - began) / 1e6
                if number:
                    times[name].append(took)
    return {name: sorted(values) for name, values in times.items()}


def figures(times: Sequence[float]) -> dict[str, float | str]:
    """What the table shows of sorted times."""
    return {
        "p50 ms": _slowest_of(times, 2),
        "p99 ms": _slowest_of(times, 100),
        "p99.9 ms": _slowest_of(times, 1000),
        "events/s": 1000 * len(times) / sum(times),
    }


def _slowest_of(times: Sequence[float], many: float) -> float:
    """The time that one in `many` exceeds."""
    return times[min(len(times) - 1, int(len(times) * (1 - 1 / many)))]


def curve(name: str, times: Sequence[float]) -> Curve:
    """How long the slowest one in so many took."""
    return Curve(name=name, points=tuple((many, _slowest_of(times, many)) for many in SLOWER if many <= len(times)))


def peer(name: str) -> Act:
    """The peer's handler, loaded in this process."""
    module = types.ModuleType("peer")
    exec(compile(PEERS[name], name, "exec"), module.__dict__)  # our own text above
    handler, context = module.handler, Context("peer", 30)

    def act(event: Mapping[str, Any]) -> None:
        if (answer := handler(event, context))["statusCode"] != 200:
            raise RuntimeError(f"{name} answered {answer}")

    return act


def house(given: Everywhere, queue_url: str = "", client: Callable[[str], Any] | None = None) -> ChannelParts:
    """What the webhook function is made of, told its secrets; what it would print for CloudWatch goes nowhere, but is made."""
    metrics = Metrics(service="webhook", stream=io.StringIO())
    return ChannelParts(Settings(turns_queue_url=queue_url), secrets=GivenSecrets(given.secrets), client=client, metrics=metrics)


def measure(runs: int, *, progress: Callable[[str], None]) -> list[Section]:
    """A table without the send, and one with it."""
    with everywhere() as given:
        by_hand = minimums(given.secrets)
        return [_received(given, by_hand, runs, progress), _sent(given, by_hand, max(100, runs // 5), progress)]


def _received(given: Everywhere, by_hand: Mapping[str, Take], runs: int, progress: Callable[[str], None]) -> Section:
    own = house(given)
    peers: dict[str, Act] = {
        "slack": peer("slack_bolt"),
        "feishu": peer("lark-oapi"),
        "teams": bot_framework(given.secrets["teams"]),
        "wecom": wechatpy(given.secrets["wecom"]),
    }

    def receive(event: Mapping[str, Any]) -> None:
        if not own.intake.receive(Webhook.from_event(event)).messages:
            raise RuntimeError(f"no message in {event['rawPath']}")

    rows, curves = [], []
    for platform in PLATFORMS:
        progress(f"acknowledge {platform}")
        acts: dict[str, Act] = {"ours": receive, "minimum": by_hand[platform]}
        if platform in peers:
            acts["peer"] = peers[platform]
        with contextlib.redirect_stderr(io.StringIO()):
            times = timed(acts, given.events[platform], runs)
        ours = figures(times["ours"])
        goal, met, other = "", None, PEER_OF.get(platform, "")
        if other in ("slack_bolt", "lark-oapi"):
            goal, met = f"≤ {other}", float(ours["p50 ms"]) <= _slowest_of(times["peer"], 2)
        rows.append(Row(name=f"{platform}: receive", figures=ours, goal=goal, met=met))
        curves.append(curve(platform, times["ours"]))
        if other:
            rows.append(Row(name=f"{platform}: {other}", figures=figures(times["peer"])))
            curves.append(curve(other, times["peer"]))
        rows.append(Row(name=f"{platform}: hand-written minimum", figures=figures(times["minimum"])))
    how = f"{runs} events each in one process, in turn; 'receive' verifies, decrypts, parses and normalises, and sends nothing"
    return Section(
        title="Warm acknowledgement",
        how=how,
        rows=rows,
        bar="p50 ms",
        curves=curves,
        x="one event in so many took longer",
        y="milliseconds",
        logx=True,
        logy=True,
    )


def _sent(given: Everywhere, by_hand: Mapping[str, Take], runs: int, progress: Callable[[str], None]) -> Section:
    import boto3

    rows, curves = [], []
    with instant_queue() as address:
        url = f"{address}/1/turns.fifo"

        def client(service: str, config: Any = None) -> Any:  # boto3 and its Config have no types
            return boto3.client(
                service,
                endpoint_url=address,
                region_name="us-east-1",
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=config,
            )

        own = house(given, url, lambda service: client(service, aws_config()))

        def acknowledge(event: Mapping[str, Any]) -> None:
            answer = own.intake.handle(Webhook.from_event(event)).to_event()
            if answer["statusCode"] not in (200, 202):
                raise RuntimeError(f"{event['rawPath']} answered {answer}")

        def least(take: Take, sqs: Any) -> Act:
            def act(event: Mapping[str, Any]) -> None:
                said = take(event)
                group, once = said.conversation, said.id
                body = json.dumps(said._asdict())
                sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=once)

            return act

        plain, like_ours = client("sqs"), client("sqs", aws_config())
        for platform in PLATFORMS:
            progress(f"acknowledge {platform} with the send")
            take = by_hand[platform]
            acts = {"minimum": least(take, plain), "ours": acknowledge, "our client": least(take, like_ours)}
            times = timed(acts, given.events[platform], runs)
            found = {name: figures(values) for name, values in times.items()}
            ratios = {name: float(found["ours"]["p50 ms"]) / float(found[name]["p50 ms"]) for name in ("minimum", "our client")}
            shown = {**found["ours"], "× minimum": ratios["minimum"], "× with our client": ratios["our client"]}
            rows.append(Row(name=f"{platform}: sent", figures=shown, goal="≤ 1.2 × minimum", met=ratios["minimum"] <= 1.2))
            rows.append(Row(name=f"{platform}: hand-written minimum", figures=found["minimum"]))
            curves += [curve(platform, times["ours"]), curve(f"{platform}, minimum", times["minimum"])]
    how = (
        f"{runs} events each, in turn, through the whole webhook function and one boto3 SendMessage to a queue in a process of "
        "its own that answers at once; the minimum verifies, parses and makes the same call, by boto3's client as it comes"
    )
    return Section(
        title="Acknowledgement with the send",
        how=how,
        rows=rows,
        bar="p50 ms",
        curves=curves,
        x="one event in so many took longer",
        y="milliseconds",
        logx=True,
        logy=True,
    )


@contextlib.contextmanager
def instant_queue() -> Iterator[str]:
    """The address of an SQS that answers at once, in a process of its own: what it takes is not on our account."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
    finally:
        process.terminate()
        process.wait()


_SERVE: Final = """
import socket, sys, threading

ANSWER = b'{"MessageId": "m", "MD5OfMessageBody": ""}'
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/x-amz-json-1.0\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(ANSWER)

def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    held = b""
    while True:
        while b"\\r\\n\\r\\n" not in held:
            if not (more := connection.recv(65536)):
                return
            held += more
        head, _, held = held.partition(b"\\r\\n\\r\\n")
        length = next(int(l.split(b":")[1]) for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length"))
        while len(held) < length:
            held += connection.recv(65536)
        held = held[length:]
        connection.sendall(HEAD + ANSWER)

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)

def accept():
    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
sys.stdin.read()
"""
