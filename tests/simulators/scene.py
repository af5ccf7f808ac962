"""Plays one conversation on all simulated platforms against a real local run, and takes a picture of it.

    python -m tests.simulators.scene docs/platforms/simulated-chats.png

The picture needs Chromium; without an argument the conversation is printed instead.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import which

import httpx

from tests.simulators.page import Page, serve
from tests.simulators.stages import Cast, Stage

ASKED = {
    "feishu": ("你能做什么？", "怎么连接飞书？"),
    "dingtalk": ("你能做什么？", "怎么连接钉钉？"),
    "wecom": ("你能做什么？", "怎么连接企业微信？"),
    "slack": ("What can you do?", "How do I connect Slack?"),
    "teams": ("What can you do?", "How do I connect Microsoft Teams?"),
}
PATIENCE = 30.0
"""Longest wait for an answer, in seconds."""


def main(picture: str = "") -> int:
    """Plays the conversation; 1 where an answer is missing."""
    cast = Cast()
    secrets = cast.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "secrets.json"
            file.write_text(json.dumps(secrets), encoding="utf-8")
            port = free_port()
            command = [sys.executable, "-m", "assistant.dev.cli", "dev", "--port", str(port), "--data", folder]
            running = subprocess.Popen([*command, "--secrets", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                return played(cast, f"http://127.0.0.1:{port}", picture)
            finally:
                running.terminate()
                running.wait(10)
    finally:
        cast.stop()


def played(cast: Cast, assistant: str, picture: str) -> int:
    """The conversation with the assistant at that address, once it is ready."""
    until_ready(assistant)
    page = serve(cast.stages, assistant)
    try:
        missing = [stage.name for stage in cast.stages if not asked(stage, page)]
        for name in missing:
            print(f"{name}: no answer within {PATIENCE:.0f} s", file=sys.stderr)
        if picture:
            photograph(page.url, picture)
        else:
            show(cast)
    finally:
        page.stop()
    return 1 if missing else 0


def asked(stage: Stage, page: Page) -> bool:
    """Asks both questions in the first room and one in each other; whether every answer came and stopped growing."""
    first, *others = stage.rooms
    for text in ASKED[stage.name]:
        stage.say(first, text, page.deliver)
        if not answered(stage):
            return False
    for room in others:
        stage.say(room, ASKED[stage.name][0], page.deliver)
    return answered(stage)


def answered(stage: Stage) -> bool:
    """Waits until the newest message of every room that has one is a whole answer."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        newest = [found[-1] for room in stage.rooms if (found := stage.bubbles(room))]
        if all(not b.who and b.text and not b.growing for b in newest):
            return True
        time.sleep(0.1)
    return False


def until_ready(assistant: str) -> None:
    """Returns as soon as the assistant is healthy; raises TimeoutError."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if httpx.get(f"{assistant}/health").status_code == 200:
                return
        except httpx.HTTPError:
            pass  # it is not up yet
        time.sleep(0.1)
    raise TimeoutError(f"{assistant} was not ready within {PATIENCE:.0f} s")


def photograph(url: str, picture: str) -> None:
    """Writes a PNG of the page as it is now."""
    browser = which("chromium") or which("chromium-browser") or which("google-chrome")
    if not browser:
        raise SystemExit("no Chromium found; install it, or run without a file name")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1500,860"]
    subprocess.run(
        [browser, *flags, f"--screenshot={picture}", f"{url}?still"], stderr=subprocess.DEVNULL, check=True, timeout=60
    )


def show(cast: Cast) -> None:
    """Prints what stands in every room."""
    for stage in cast.stages:
        for room in stage.rooms:
            print(f"--- {stage.title} · {room.title}")
            for bubble in stage.bubbles(room):
                print(f"{bubble.who or 'assistant'}: {bubble.text}")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
