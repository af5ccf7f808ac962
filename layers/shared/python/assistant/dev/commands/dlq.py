"""Messages that could not be answered: who, where, when and why, and another try. What was written is never shown.

examples:
  assistant dlq list
  assistant dlq show ID
  assistant dlq replay ID …
  assistant dlq replay --all
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from assistant.dev.client import add_options, connect

HELP = "read and replay what could not be answered"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (("list", "a line each"), ("show", "one, whole"), ("replay", "back into the queue")):
        action = actions.add_parser(name, help=text)
        if name == "show":
            action.add_argument("id")
        if name == "replay":
            action.add_argument("ids", nargs="*", metavar="ID")
            action.add_argument("--all", action="store_true", help="every one")
        action.add_argument("--json", action="store_true")
        add_options(action)


def run(args: argparse.Namespace) -> int:
    """Lists, shows or replays; 1 where an id is not among the dead letters."""
    with connect(args) as remote:
        if args.action == "replay":
            if not args.all and not args.ids:
                print("name the ids to replay, or say --all")
                return 2
            done = remote.call("POST", "/api/dead-letters/replay", json={"ids": args.ids, "all": args.all})
            print(json.dumps(done) if args.json else f"replayed {len(done['replayed'])}, not found {len(done['missing'])}")
            return 1 if done["missing"] else 0
        letters: list[dict[str, Any]] = remote.call("GET", "/api/dead-letters")["letters"]
    if args.action == "show":
        letters = [letter for letter in letters if letter["id"].startswith(args.id)]
    if args.json:
        print(json.dumps({"letters": letters}, ensure_ascii=False))
    elif args.action == "show":
        for letter in letters:
            print("\n".join(f"{name:14} {value}" for name, value in letter.items() if value))
    else:
        for letter in letters:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((letter["sent_at"] or 0) / 1000))
            print(f"{letter['id'][:8]}  {at}  {letter['platform'] or '?':9} {letter['reason']}")
        if not letters:
            print("nothing: every message was answered")
    return 1 if args.action == "show" and not letters else 0
