"""Shows what the assistant makes of recorded webhooks. Nothing is queued or sent.

Each line of FILE is {"platform", "request": {"method", "path", "query", "headers", "body"}, "secrets"?, "now"?}: `path` is the
route's tail such as /slack/events, `now` Unix seconds; a body in base64 is told by "isBase64Encoded": true in the request. Each
line gives one line of JSON: verdict, status, reason, reply_body and the messages.

examples:
  assistant webhook check recorded.jsonl
  assistant webhook check recorded.jsonl --secrets secrets.json
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import sys
import time
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from assistant.assembly import Assistant
from assistant.dev.commands.dev import read_secrets
from assistant.errors import InvalidSetting, Refused, Unavailable
from assistant.intake import refusal
from assistant.messages import HttpReply, Message, Received, Webhook
from assistant.observability import RecordedMetrics, configure_logging
from assistant.platforms import Platform, platform_class
from assistant.secrets import GivenSecrets
from assistant.settings import Settings

logger = logging.getLogger(__name__)

HELP = "show what the assistant makes of recorded webhooks"

ALWAYS: Final = ("kind", "conversation", "sender", "text", "event_id", "message_id", "dedup_id")
_END: Final = 1e11
"""Seconds since 1970 that no clock shows."""
INNER: Final = frozenset({"untimed", "proof", "trace", "platform", "channel"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="verify, decrypt and parse each recorded request")
    check.add_argument("file", type=Path, metavar="FILE.jsonl", help="- for standard input")
    check.add_argument("--secrets", type=Path, metavar="FILE", help="used where a line names none")
    check.add_argument("--json", action="store_true", help="the output is JSON lines in any case")


def run(args: argparse.Namespace) -> int:
    """Prints a verdict a line; 2 where a line is no recorded request, 1 where one shows a fault of ours."""
    configure_logging("CRITICAL", stream=sys.stderr)
    checker = Checker(read_secrets(args.secrets))
    status = 0
    for number, line in enumerate(_lines(args.file), start=1):
        if not line.strip():
            continue
        try:
            verdict = checker.check(line)
        except ValueError as error:
            verdict, status = _verdict("reject", HttpReply(400), reason=f"line {number}: {error}"), 2
        except Exception as error:  # the top of a function, as it were: what is wrong with one line must not hide the others
            logger.exception("line %d", number)
            verdict, status = _verdict("reject", HttpReply(500), reason=f"line {number}: a fault: {error!r}"), 1
        print(json.dumps(_finite(verdict), ensure_ascii=False).encode("utf-8", "replace").decode(), flush=True)
    return status


def _lines(path: Path) -> Iterator[str]:
    if str(path) == "-":
        yield from io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace")
        return
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield from file
    except OSError as error:
        raise InvalidSetting(f"file {str(path)!r} cannot be read: {error.strerror}") from None


class Checker:
    """Receives requests with the platforms' real code, at the time that each line names."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        self._secrets = secrets
        self._platforms: dict[tuple[str, str], Platform] = {}
        self._now = 0.0

    def check(self, line: str) -> dict[str, Any]:
        """The verdict on one line; raises ValueError where the line is no recorded request."""
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from None
        if not isinstance(data, dict) or not isinstance(data.get("request"), dict):
            raise ValueError('it must be {"platform": …, "request": {…}}')
        now = data.get("now")
        if now is not None and (isinstance(now, bool) or not isinstance(now, int | float) or not 0 <= now < _END):
            raise ValueError("now is not a number of seconds since 1970")
        self._now = time.time() if now is None else float(now)
        try:
            webhook = recorded(str(data.get("platform", "")), data["request"])
            name = webhook.platform
            platform = self._platform(name, data.get("secrets"))
            platform.forget()  # each line stands for itself
            assistant = Assistant(
                Settings(),
                platforms={name: platform},
                secrets=GivenSecrets({}),
                metrics=RecordedMetrics(),
                clock=lambda: self._now,
            )
            received = assistant.intake.receive(webhook)
            return self._accepted(platform, webhook, received)
        except Refused as error:
            return _verdict("reject", refusal(error), reason=str(error))
        except Unavailable as error:
            return _verdict("reject", HttpReply(503), reason=str(error))

    def _platform(self, name: str, secrets: Any) -> Platform:
        given = self._secrets.get(name, {}) if secrets is None else secrets
        if not isinstance(given, dict):
            raise ValueError("secrets must be a JSON object")
        if name in given and isinstance(given[name], dict):
            given = given[name]
        flat = {str(k): v if isinstance(v, str) else str(v) for k, v in given.items() if v not in (None, "")}
        known = name, json.dumps(flat, sort_keys=True)
        if known not in self._platforms:
            self._platforms[known] = platform_class(name)(
                flat, clock=lambda: self._now, replay_window=Settings().replay_window_seconds
            )
        return self._platforms[known]

    @staticmethod
    def _accepted(platform: Platform, webhook: Webhook, received: Received) -> dict[str, Any]:
        reply = received.reply
        if received.pull:
            reply = platform.answer_pull(webhook, received, text="", final=False)
        verdict = "challenge" if received.challenge else "accept"
        return _verdict(verdict, reply, messages=[shown(m) for m in received.messages])


def recorded(platform: str, request: Mapping[str, Any]) -> Webhook:
    """The webhook in a recorded request; raises ValueError where a part has the wrong shape, and Refused
    where its path leads to another platform."""
    headers: Any = request.get("headers") or {}  # decoded JSON
    query: Any = request.get("query") or {}
    path, _, asked = str(request.get("path", "")).partition("?")
    if isinstance(query, str) or not query:
        query = _gathered(parse_qsl((query or asked).removeprefix("?"), keep_blank_values=True))
    if not isinstance(headers, dict) or not isinstance(query, dict):
        raise ValueError("headers and query must be JSON objects")
    body = request.get("body") or ""
    if not isinstance(body, str):
        raise ValueError("body must be a string: the exact text that was received")
    raw = b64decode(body, validate=True) if request.get("isBase64Encoded") is True else body.encode("utf-8", "surrogatepass")
    parts = path.strip("/").split("/")
    if parts[0] == "webhook":
        parts = parts[1:]
    if len(parts) > 1 and platform and parts[-2] != platform:
        raise Refused(f"the path leads to {parts[-2][:80]!r}, not to {platform!r}", status=404)
    return Webhook(
        platform=platform or parts[0],
        channel=parts[-1] if len(parts) > 1 else "",
        method=str(request.get("method", "POST")).upper(),
        headers=_gathered((str(k).lower(), _joined(v)) for k, v in headers.items()),
        query={str(k): _joined(v) for k, v in query.items()},
        body=raw,
    )


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers or query values by name; one that is there several times as API Gateway hands it over, joined by commas."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _joined(value: Any) -> str:  # any JSON
    """A repeated header or query value as API Gateway hands it over."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def shown(message: Message) -> dict[str, Any]:
    """The message as the contract names its fields; empty optional ones are left out."""
    stamped = replace(message, sent_at=0 if message.untimed else message.sent_at)
    values = {f.name: getattr(stamped, f.name) for f in fields(stamped)}
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if name in ALWAYS or (name not in INNER and value not in ("", 0, None, {}))
    }


def _finite(value: Any) -> Any:  # any JSON, and back
    """`value` with null for numbers that JSON cannot write."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(verdict: str, reply: HttpReply, *, reason: str = "", messages: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "status": reply.status,
        "reason": reason,
        "reply_body": reply.body,
        "messages": messages or [],
    }
