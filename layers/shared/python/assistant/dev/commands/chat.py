"""Chats with a running assistant in the terminal, or answers one question in a pipe.

examples:
  assistant chat
  assistant chat "How do I connect Slack?"
  echo "怎么写插件？" | assistant chat
  assistant chat --url https://assistant.example.com --api-key KEY
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from assistant.dev.client import Remote, add_options, connect

HELP = "chat in the terminal"

PATIENCE = 180.0
"""Seconds that one answer may take."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("question", nargs="*", help="ask this and end; without it, a conversation")
    parser.add_argument("--conversation", default="", help="go on with this conversation (default: a new one)")
    parser.add_argument("--user", default="", help="default: the name you are signed in with")
    parser.add_argument("--json", action="store_true", help="one JSON object an answer")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Asks and shows answers; 1 where one could not be answered."""
    with connect(args) as remote:
        chat = Chat(remote, conversation=args.conversation or f"terminal-{uuid.uuid4().hex[:12]}", user=args.user or _name())
        questions = [" ".join(args.question)] if args.question else _questions()
        status = 0
        for question in questions:
            if question.strip():
                status = max(status, chat.ask(question.strip(), as_json=args.json))
        return status


def _name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def _questions() -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    from contextlib import suppress

    with suppress(ImportError):
        import readline  # noqa: F401  # gives input() history and editing
    print("Write a question; an empty line or Ctrl-D ends the chat.")
    while True:
        try:
            line = input("\n› ")
        except EOFError:
            return
        if not line.strip():
            return
        yield line


class Chat:
    """One conversation."""

    def __init__(self, remote: Remote, *, conversation: str, user: str) -> None:
        self._remote = remote
        self._conversation = conversation
        self._user = user
        self._cursor = ""
        self._buttons: list[dict[str, Any]] = []

    def ask(self, text: str, *, as_json: bool) -> int:
        """Sends `text` (or the button with that number) and shows the answer; 0 where there is one."""
        body: dict[str, Any] = {"conversation": self._conversation, "user": self._user}
        if text.isdigit() and 0 < int(text) <= len(self._buttons):
            button = self._buttons[int(text) - 1]
            body["action"] = {"key": button["key"], "value": button["value"]}
        else:
            body["text"] = text
        id_ = self._remote.call("POST", "/webhook/webchat/messages", json=body)["id"]
        turn = self._follow(id_, live=sys.stdout.isatty() and not as_json)
        if turn is None:
            print("No answer came in time; the question is kept and will be answered.", file=sys.stderr)
            return 1
        self._buttons = turn["buttons"]
        shown = turn.pop("shown")
        if as_json:
            print(json.dumps(turn, ensure_ascii=False))
        else:
            self._show_rest(turn, shown=shown)
        return 0 if turn["state"] == "sent" else 1

    def _follow(self, id_: str, *, live: bool) -> dict[str, Any] | None:
        """Waits for the answer; in a terminal its text is shown as it grows."""
        until = time.monotonic() + PATIENCE
        shown = ""
        path = f"/api/conversations/{quote(self._conversation, safe='')}/turns"
        while time.monotonic() < until:
            page = self._remote.call("GET", path, params={"after": self._cursor})
            self._cursor = page["cursor"]
            turn: dict[str, Any] | None = next((t for t in page["turns"] if t["id"] == id_), None)
            if turn:
                if live and turn["state"] == "answering" and turn["text"].startswith(shown):
                    print(turn["text"][len(shown) :], end="", flush=True)
                    shown = turn["text"]
                if turn["state"] != "answering":
                    if shown:
                        rest = turn["text"].startswith(shown)
                        print(turn["text"][len(shown) :] if rest else f"\n{turn['text']}")
                    turn["shown"] = bool(shown)
                    return turn
            time.sleep(0.15)
        return None

    @staticmethod
    def _show_rest(turn: dict[str, Any], *, shown: bool) -> None:
        lines = [f"[{s['number']}] {s['title']}" + (f"  {s['url']}" if s["url"] else "") for s in turn["sources"]]
        choices = [f"{n}) {b['text']}" for n, b in enumerate(turn["buttons"], 1)]
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.markdown import Markdown

            console = Console()
            if not shown:
                console.print(Markdown(turn["text"]))
            for line in [*lines, *choices]:
                console.print(line, style="dim", highlight=False, markup=False)
        else:
            print("\n".join([turn["text"], *lines, *choices]))
