"""Records real webhooks and vendor replies without anything real in them, and replays recordings.

`run` stands between the platforms and the assistant. Platforms call it instead of the assistant, and the assistant calls it
instead of the vendors: set "api_base" of a platform's secret to http://127.0.0.1:8090/vendor/PLATFORM. Every word is replaced
and every request is sealed and signed anew with made-up secrets before a line is written. Off unless you start it.

examples:
  assistant record run --to http://127.0.0.1:8080 --secrets secrets.json --out tests/payloads/monday.jsonl
  assistant record replay tests/payloads/*.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from assistant.dev.recorder import Recorder, Skipped, replay
from assistant.errors import InvalidSetting
from assistant.messages import Webhook

HELP = "record webhooks and vendor replies, redacted, and replay them"

_HOP: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive", "te"})
_LARGEST: Final = 30 * 2**20


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_ = actions.add_parser("run", help="stand between the platforms and the assistant until Ctrl-C")
    run_.add_argument("--to", required=True, metavar="URL", help="the assistant")
    run_.add_argument("--secrets", required=True, type=Path, metavar="FILE", help="the real secrets, to open webhooks with")
    run_.add_argument("--out", required=True, type=Path, metavar="FILE", help="where lines are added")
    run_.add_argument("--port", type=int, default=8090, help="default 8090")
    again = actions.add_parser("replay", help="compare what the assistant makes of recordings now; 1 where it differs")
    again.add_argument("files", nargs="+", type=Path, metavar="FILE")
    again.add_argument("--accept", action="store_true", help="take what the assistant makes of them now as right")
    again.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Records, or replays."""
    if args.action == "replay":
        return _replay(args)
    from assistant.dev.commands.dev import read_secrets

    secrets = read_secrets(args.secrets)
    try:
        out = args.out.open("a", encoding="utf-8")
    except OSError as error:
        raise InvalidSetting(f"--out {str(args.out)!r} cannot be written: {error.strerror}") from None
    with out, Between(args.to, Recorder(secrets, out), bases=api_bases(secrets), port=args.port) as between:
        print(f"Platforms call  {between.url}/webhook/…   (as {args.to} before; a tunnel may stand in front)")
        for name in secrets:
            print(f'Secret of {name}  "api_base": "{between.url}/vendor/{name}"')
        print(f"Lines go to  {args.out}   Ctrl-C ends it.", flush=True)
        threading.Event().wait()
    return 0


def _replay(args: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    for path in args.files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            differences = list(replay(lines))
            found += [{"file": str(path), "line": d.line, "expected": d.expected, "found": d.found} for d in differences]
            if args.accept and differences:
                for difference in differences:
                    kept = json.loads(lines[difference.line - 1]) | {"expected": difference.found}
                    lines[difference.line - 1] = json.dumps(kept, ensure_ascii=False)
                path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise InvalidSetting(f"file {str(path)!r} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError) as error:
            raise InvalidSetting(f"file {str(path)!r}: {error}") from None
    if args.json:
        print(json.dumps({"differences": found}, ensure_ascii=False, indent=2))
    else:
        for one in found:
            print(f"{one['file']}:{one['line']}: recorded {json.dumps(one['expected'], ensure_ascii=False)}")
            print(f"    now      {json.dumps(one['found'], ensure_ascii=False)}")
        print("the same as recorded" if not found else f"{len(found)} differ{', accepted' if args.accept else ''}")
    return 1 if found and not args.accept else 0


def api_bases(secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Where each vendor's calls really go: the `api_base` of its secret, else the vendor."""
    known = {"feishu": "https://open.feishu.cn", "wecom": "https://qyapi.weixin.qq.com", "slack": "https://slack.com"}
    return known | {name: fields["api_base"] for name, fields in secrets.items() if fields.get("api_base")}


def base_of(platform: str, path: str, bases: Mapping[str, str]) -> str:
    """The vendor's host for a call; DingTalk and Teams have several."""
    if platform in bases:
        return bases[platform].rstrip("/")
    if platform == "dingtalk":
        return "https://api.dingtalk.com" if path.startswith("/v1.0/") else "https://oapi.dingtalk.com"
    if platform == "teams":
        return "https://smba.trafficmanager.net/teams" if path.startswith("/v3/") else "https://login.microsoftonline.com"
    raise InvalidSetting(f"no vendor is known for {platform!r}")


class Between:
    """The recording server; `url` is its address. Whatever it cannot record it passes on all the same."""

    def __init__(self, to: str, recorder: Recorder, *, bases: Mapping[str, str], port: int) -> None:
        import httpx

        self._to = to.rstrip("/")
        self._recorder = recorder
        self._bases = bases
        self._client = httpx.Client(timeout=60, follow_redirects=False)
        between = self

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                between._pass(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing: what is said stands in the recording."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Http)
        except OSError as error:
            raise InvalidSetting(f"port {port} is taken ({error.strerror}); choose another with --port") from None
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _pass(self, http: BaseHTTPRequestHandler) -> None:
        import httpx

        length = int(http.headers.get("content-length") or 0)
        if length > _LARGEST:
            _answer(http, 413, {}, b"")
            return
        body = http.rfile.read(length)
        path, _, query = http.path.partition("?")
        headers = {k.lower(): v for k, v in http.headers.items() if k.lower() not in _HOP}
        vendor, rest = _vendor(path)
        now = time.time()
        try:
            target = f"{base_of(vendor, rest, self._bases)}{rest}" if vendor else f"{self._to}{path}"
            url = f"{target}?{query}" if query else target
            answer = self._client.request(http.command, url, headers={**headers, "accept-encoding": "identity"}, content=body)
        except (httpx.HTTPError, InvalidSetting) as error:
            _answer(http, 502, {}, str(error).encode())
            return
        _answer(http, answer.status_code, dict(answer.headers), answer.content)
        if vendor:
            self._told(
                self._recorder.exchange(
                    vendor, http.command, rest, status=answer.status_code, headers=dict(answer.headers), body=answer.content
                )
            )
        elif path.startswith("/webhook/") and path.count("/") == 3:
            _, _, platform, channel = path.split("/")
            webhook = Webhook(
                platform=platform,
                channel=channel,
                method=http.command,
                headers=headers,
                query=dict(parse_qsl(query, keep_blank_values=True)),
                body=body,
            )
            self._told(self._recorder.webhook(webhook, now=now))

    @staticmethod
    def _told(skipped: Skipped | None) -> None:
        if skipped:
            print(f"not recorded: {skipped.reason}", file=sys.stderr)


def _vendor(path: str) -> tuple[str, str]:
    """Platform and the rest of a path below `/vendor/`; two empty strings for another one."""
    if not path.startswith("/vendor/"):
        return "", ""
    platform, _, rest = path.removeprefix("/vendor/").partition("/")
    return platform, f"/{rest}"


def _answer(http: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes) -> None:
    http.send_response_only(status)
    for name, value in headers.items():
        if name.lower() not in _HOP and name.lower() != "content-encoding":
            http.send_header(name, value.encode("utf-8").decode("latin-1"))
    http.send_header("content-length", str(len(body)))
    http.end_headers()
    http.wfile.write(body)
