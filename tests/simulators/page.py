"""A web page that shows the simulated chats side by side: write into any of them, click what the assistant shows.

Nothing of it leaves the machine: what is typed becomes a webhook, signed with the simulators' own secrets, to the assistant.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from assistant.messages import HttpReply, Webhook
from tests.simulators.stages import Room, Stage

PAGE = Path(__file__).with_name("page.html")
LOOK_SECONDS = 0.15
"""How often the page looks for something new."""
LARGEST = 64 * 1024


class Page:
    """The page's server on 127.0.0.1; `url` is its address."""

    def __init__(self, stages: Sequence[Stage], webhook_base: str, port: int) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self._base = webhook_base.rstrip("/")
        self._client = httpx.Client(timeout=30)
        self._ended = threading.Event()
        page = self

        class Http(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                page._get(self)

            def do_POST(self) -> None:
                page._post(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Http)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def state(self) -> dict[str, Any]:
        """Everything that the page shows."""
        return {
            "stages": [
                {
                    "name": stage.name,
                    "title": stage.title,
                    "colour": stage.colour,
                    "rooms": [
                        {"id": r.id, "title": r.title, "group": r.group, "bubbles": [asdict(b) for b in stage.bubbles(r)]}
                        for r in stage.rooms
                    ],
                }
                for stage in self._stages.values()
            ]
        }

    def deliver(self, webhook: Webhook) -> HttpReply:
        """Posts `webhook` to the assistant; status 0 where nobody answers."""
        try:
            answer = self._client.request(
                webhook.method,
                f"{self._base}/webhook/{webhook.platform}/{webhook.channel}",
                params=dict(webhook.query),
                headers=dict(webhook.headers),
                content=webhook.body,
            )
        except httpx.HTTPError:
            return HttpReply(0)
        return HttpReply(answer.status_code, answer.text)

    def act(self, data: Any) -> int:
        """Does what the page asks; the assistant's HTTP status. Raises ValueError for what no room offers."""
        try:
            stage = self._stages[data["stage"]]
            room = next(r for r in stage.rooms if r.id == data["room"])
            if "text" in data:
                return stage.say(room, str(data["text"])[:LARGEST], self.deliver)
            bubble, key = str(data["bubble"]), str(data["key"])
        except (KeyError, TypeError, StopIteration) as error:
            raise ValueError("no such stage or room") from error
        return self._click(stage, room, bubble, key)

    def _click(self, stage: Stage, room: Room, bubble: str, key: str) -> int:
        shown = next((b for b in stage.bubbles(room) if b.id == bubble), None)
        if shown is None or not any(b["key"] == key and not b.get("disabled") for b in shown.buttons):
            raise ValueError("no such button")
        return stage.click(room, bubble, key, self.deliver)

    # --- HTTP ---

    def _get(self, http: BaseHTTPRequestHandler) -> None:
        path, _, query = http.path.partition("?")
        if path == "/":
            page = PAGE.read_bytes()
            now = escape(json.dumps(self.state(), ensure_ascii=False)).encode()
            still = page.replace(b'<main id="stages">', b'<main id="stages" data-state="' + now + b'">')
            content = still if query == "still" else page
            # The page's own script and style, and nothing that a reply could bring along.
            script = _hash_of_script(page)
            policy = f"default-src 'none'; connect-src 'self'; style-src 'self' 'unsafe-inline'; script-src {script}"
            _send(http, 200, content, "text/html; charset=utf-8", policy)
        elif path == "/state":
            _send(http, 200, json.dumps(self.state(), ensure_ascii=False).encode(), "application/json")
        elif path == "/events":
            self._events(http)
        else:
            _send(http, 404, b"", "text/plain")

    def _events(self, http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.send_header("content-type", "text/event-stream")
        http.send_header("cache-control", "no-store")
        http.end_headers()
        before = ""
        quiet = time.monotonic()
        try:
            while not self._ended.wait(LOOK_SECONDS):
                now = json.dumps(self.state(), ensure_ascii=False)
                if now != before:
                    http.wfile.write(f"data: {now}\n\n".encode())
                elif time.monotonic() - quiet > 10:
                    http.wfile.write(b": still here\n\n")
                else:
                    continue
                before, quiet = now, time.monotonic()
                http.wfile.flush()
        except OSError:
            return  # the reader closed the page

    def _post(self, http: BaseHTTPRequestHandler) -> None:
        length = int(http.headers.get("content-length") or 0)
        kind = http.headers.get("content-type", "").partition(";")[0]
        # Another site's form can post here, but not with this type.
        if length > LARGEST or kind != "application/json":
            _send(http, 415, b"", "text/plain")
            return
        try:
            status = self.act(json.loads(http.rfile.read(length)))
        except ValueError as error:
            _send(http, 400, str(error).encode(), "text/plain")
            return
        _send(http, 200, json.dumps({"status": status}).encode(), "application/json")


def serve(stages: Sequence[Stage], webhook_base: str, port: int = 0) -> Page:
    """The page over started `stages`, for the assistant whose webhooks are below `webhook_base`."""
    return Page(stages, webhook_base, port)


def _hash_of_script(html: bytes) -> str:
    import base64

    script = html.partition(b"<script>")[2].partition(b"</script>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _send(http: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, policy: str = "") -> None:
    http.send_response(status)
    http.send_header("content-type", kind)
    http.send_header("content-length", str(len(body)))
    http.send_header("x-content-type-options", "nosniff")
    if policy:
        http.send_header("content-security-policy", policy)
    http.end_headers()
    http.wfile.write(body)
