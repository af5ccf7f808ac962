"""API keys: who may do what over HTTP. A key's secret is shown once, when it is made.

roles: user (chat, /v1), editor (and the knowledge), operator (and dead letters, doctor, the roll-out to read), admin (everything)

examples:
  assistant key list
  assistant key add "HR portal" --role user
  assistant key add "Ann's page" --person ann
  assistant key add "Bob" --role editor --days 90 --per-minute 60
  assistant key add "Wall display" --role operator --scope figures:read
  assistant key rotate 3f9a0c12d4e5 --overlap 24   # hours in which both work
  assistant key revoke 3f9a0c12d4e5
  assistant key revoke 3f9a0c12d4e5 --after 24     # hours in which its holder moves to a new one
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from assistant.access import AREAS, PER_MINUTE, ROLES
from assistant.dev.client import add_options, connect

HELP = "API keys and their roles: list, add, revoke"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("list", "a line each; never a secret"),
        ("add", "a new one; prints its secret"),
        ("rotate", "another in its place"),
        ("revoke", "end one"),
    ):
        action = actions.add_parser(name, help=text)
        if name == "add":
            action.add_argument("name", help="who or what will use it")
            action.add_argument("--role", choices=ROLES, default="user")
            action.add_argument("--person", default="", metavar="USER", help="one person of the web chat: sees only their own")
            action.add_argument("--days", type=float, default=0, help="its life; without: until it is revoked")
            action.add_argument("--per-minute", type=int, default=PER_MINUTE, metavar="N", help="requests; 0: no limit")
            action.add_argument(
                "--scope", action="append", default=[], metavar="AREA", help=f"AREA or AREA:read, one of {', '.join(AREAS)}"
            )
        if name == "rotate":
            action.add_argument("id")
            action.add_argument(
                "--overlap", type=float, default=24, metavar="HOURS", help="let the old one work this much longer"
            )
        if name == "revoke":
            action.add_argument("id")
            action.add_argument("--after", type=float, default=0, metavar="HOURS", help="let it work this much longer")
        action.add_argument("--json", action="store_true")
        add_options(action)


def run(args: argparse.Namespace) -> int:
    """Lists, makes or ends keys."""
    with connect(args) as remote:
        if args.action == "list":
            said: dict[str, Any] = remote.call("GET", "/api/keys")
        elif args.action == "add":
            asked = {name: getattr(args, name) for name in ("name", "role", "person", "days", "per_minute")} | {
                "scopes": args.scope
            }
            said = remote.call("POST", "/api/keys", json=asked)
        elif args.action == "rotate":
            said = remote.call("POST", f"/api/keys/{args.id}/rotate", json={"overlap": args.overlap * 3600})
        else:
            said = remote.call("DELETE", f"/api/keys/{args.id}", params={"after": args.after * 3600})
    if args.json:
        print(json.dumps(said, ensure_ascii=False))
    elif args.action == "list":
        for key in said["keys"]:
            print(_line(key))
        if not said["keys"]:
            print("none yet: only the web chat's own key lets people in; make one with: assistant key add NAME")
    elif args.action in ("add", "rotate"):
        print(f"{_line(said)}\n\n{said['secret']}\n\nKeep it now: it cannot be shown again.")
    else:
        print(f"{said['id']} ({said['name']}) ends {_day(said['ends'])}; every function knows within half a minute")
    return 0


def _line(key: dict[str, Any]) -> str:
    ends = f"ends {_day(key['ends'])}" if key["ends"] else "no end"
    used = f"used {_day(key['used'])}" if key["used"] else "never used"
    limit = f"{key['per_minute']}/min" if key["per_minute"] else "no limit"
    whose = f" ({key['person']})" if key["person"] else ""
    scopes = f"  [{', '.join(key['scopes'])}]" if key.get("scopes") else ""
    return f"{key['id']}  {key['role']:8}  {limit:10}  {ends:21}  {used:21}  {key['name']}{whose}{scopes}"


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
