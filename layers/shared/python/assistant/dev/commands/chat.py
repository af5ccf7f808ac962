"""Chats with a running assistant in the terminal, or answers one question in a pipe.

Answers grow while they are written; sources stand below them, and a card's buttons as numbers to answer with. Ctrl-C ends a
running answer, at the prompt the chat. Arrow keys bring back what was written before.

examples:
  assistant chat
  assistant chat "How do I connect Slack?"
  assistant chat --conversation holidays            # goes on with it, and shows what was said last
  echo "怎么写插件？" | assistant chat
  assistant chat --url https://assistant.example.com --api-key KEY
  assistant chat "What is new?" --json
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
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from assistant.dev.client import Remote, add_options, connect

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

HELP = "chat in the terminal"

PATIENCE = 180.0
"""Seconds that one answer may take."""
LOOK = 0.15
"""Seconds between two looks at a growing answer."""
SHOWN_TURNS = 5
"""Of a conversation that is gone on with."""
MOST_LINES = 500
"""Of what was written before that are kept for the arrow keys."""


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
        talks = not args.question and sys.stdin.isatty()
        if args.conversation:
            chat.catch_up(shows=talks and not args.json)
        questions = [" ".join(args.question)] if args.question else _questions(args.data) if talks else sys.stdin
        status = 0
        for question in questions:
            if not question.strip():
                continue
            try:
                status = max(status, chat.ask(question.strip(), as_json=args.json))
            except KeyboardInterrupt:
                if not talks:
                    raise
                chat.stop()
        return status


def _name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def _questions(data: Path) -> Iterator[str]:
    """What somebody writes at the prompt; the arrow keys bring back what they wrote before, also in earlier chats."""
    kept = data / "chat-history"
    lines = _line_editor()
    if lines and data.is_dir():
        with suppress(OSError):
            lines.read_history_file(kept)
        lines.set_history_length(MOST_LINES)
    print("Write a question, or a number to choose a button; an empty line or Ctrl-D ends the chat.")
    try:
        while True:
            try:
                line = input("\n› ")
            except EOFError:
                print()
                return
            if not line.strip():
                return
            yield line
    finally:
        if lines and data.is_dir():
            with suppress(OSError):
                kept.touch(mode=0o600)
                lines.write_history_file(kept)


def _line_editor() -> ModuleType | None:
    """What gives `input` its history and editing, where Python was built with it."""
    try:
        import readline
    except ImportError:
        return None
    return readline


class Chat:
    """One conversation."""

    def __init__(self, remote: Remote, *, conversation: str, user: str) -> None:
        self._remote = remote
        self._path = f"/api/conversations/{quote(conversation, safe='')}"
        self._user = user
        self._cursor = ""
        self._buttons: list[dict[str, Any]] = []

    def catch_up(self, *, shows: bool) -> None:
        """Goes on where the conversation stands; `shows` its last turns."""
        page = self._remote.call("GET", f"{self._path}/turns", params={"limit": SHOWN_TURNS})
        self._cursor = page["cursor"]
        for turn in map(_clean, page["turns"]):
            self._buttons = turn["buttons"]
            if shows and (turn["question"] or turn["text"]):
                console = _console()
                console.print(f"› {turn['question']}", style="bold", markup=False, highlight=False)
                console.print(_rendered(turn))

    def ask(self, text: str, *, as_json: bool) -> int:
        """Sends `text` (or the button with that number) and shows the answer; 0 where there is one."""
        body: dict[str, Any] = {"user": self._user}
        if text.isdigit() and 0 < int(text) <= len(self._buttons):
            button = self._buttons[int(text) - 1]
            body["action"] = {"key": button["key"], "value": button["value"]}
        else:
            body["text"] = text
        id_ = self._remote.call("POST", f"{self._path}/messages", json=body)["id"]
        if sys.stdout.isatty() and not as_json:
            turn = self._shown(id_)
        else:
            turn = next((t for t in self._growing(id_) if t["state"] != "answering"), None)
        if turn is None:
            print("No answer came in time; the question is kept and will be answered.", file=sys.stderr)
            return 1
        self._buttons = turn["buttons"]
        if as_json:
            print(json.dumps(turn, ensure_ascii=False))
        elif not sys.stdout.isatty():
            print("\n".join([turn["text"], *_sources(turn), *_choices(turn)]), flush=True)
        return 0 if turn["state"] == "sent" else 1

    def stop(self) -> None:
        """Ends the answer that is being written."""
        self._remote.call("POST", f"{self._path}/messages", json={"user": self._user, "text": "stop"})
        _console().print("stopped", style="dim")

    def _shown(self, id_: str) -> dict[str, Any] | None:
        """The answered turn, shown while it grows."""
        last: dict[str, Any] | None = None
        with _live() as live:
            for turn in self._growing(id_):
                last = turn
                live.update(_rendered(turn) if turn["text"] or turn["state"] != "answering" else _thinking())
        return last if last and last["state"] != "answering" else None

    def _growing(self, id_: str) -> Iterator[dict[str, Any]]:
        """The states of the turn with message `id_`, each time that it is looked at, the whole one last."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            page = self._remote.call("GET", f"{self._path}/turns", params={"after": self._cursor})
            self._cursor = page["cursor"]
            if turn := next((t for t in page["turns"] if t["id"] == id_), None):
                yield _clean(turn)
                if turn["state"] != "answering":
                    return
            time.sleep(LOOK)


def _clean(turn: dict[str, Any]) -> dict[str, Any]:
    """The turn without what moves a terminal's cursor or worse: an answer quotes what anybody may have written."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return "".join(c for c in value if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160))
        if isinstance(value, list):
            return [clean(v) for v in value]
        return {k: clean(v) for k, v in value.items()} if isinstance(value, dict) else value

    return {k: v if k == "buttons" else clean(v) for k, v in turn.items()}


def _sources(turn: dict[str, Any]) -> list[str]:
    return [
        f"[{s['number']}] {s['title']}" + (f", p. {s['page']}" if s["page"] else "") + (f"  {s['url']}" if s["url"] else "")
        for s in turn["sources"]
    ]


def _choices(turn: dict[str, Any]) -> list[str]:
    return [f"{n}) {_clean(b)['text']}" for n, b in enumerate(turn["buttons"], 1)]


def _console() -> Console:
    from rich.console import Console

    return Console()


def _live() -> Live:
    """Shows what grows: as much as the terminal holds while it grows, and all of it once it is whole."""
    from rich.live import Live

    return Live(_thinking(), console=_console(), refresh_per_second=12)


def _thinking() -> RenderableType:
    from rich.spinner import Spinner

    return Spinner("dots", style="dim")


def _rendered(turn: dict[str, Any]) -> RenderableType:
    """An answer with its sources and choices."""
    from rich.console import Group
    from rich.markdown import Markdown
    from rich.text import Text

    parts: list[RenderableType] = [Markdown(turn["text"], hyperlinks=True)]
    parts += [Text(line, style="dim") for line in _sources(turn)]
    parts += [Text(line, style="bold cyan") for line in _choices(turn)]
    return Group(*parts)
