"""All that is known about one person: given as JSON, or erased for good.

examples:
  assistant privacy export slack:U123 > ann.json
  assistant privacy erase slack:U123                # says what would go
  assistant privacy erase slack:U123 --yes
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from assistant.dev.client import Remote, add_options, connect

HELP = "export or erase all that is known about one person"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (("export", "print it as JSON"), ("erase", "delete it")):
        action = actions.add_parser(name, help=text)
        action.add_argument("person", metavar="PLATFORM:USER")
        action.add_argument("--tenant", default="", help="the platform's id of the company, where there are several")
        if name == "erase":
            action.add_argument("--yes", action="store_true", help="do it; there is no way back")
        action.add_argument("--json", action="store_true")
        add_options(action)


def run(args: argparse.Namespace) -> int:
    """Prints the export, or erases; 1 where an erasure was not confirmed."""
    with connect(args) as remote:
        if args.action == "export" or not args.yes:
            found = _export(remote, args)
            if args.action == "export":
                print(json.dumps(found, ensure_ascii=False, indent=None if args.json else 2))
                return 0
            facts, allowed = len(found["facts"]), len(found["allowed"])
            what = f"{len(found['turns'])} turns, {facts} facts, {allowed} authorisations of {args.person}"
            print(json.dumps({"would_erase": what}) if args.json else f"this would erase {what}; to do it, add --yes")
            return 1
        erased = sum(part["erased"] for part in _parts(remote, "DELETE", args))
    print(json.dumps({"erased": erased}) if args.json else f"erased: {erased} items of {args.person}")
    return 0


def _export(remote: Remote, args: argparse.Namespace) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    about: dict[str, Any] = {}
    for part in _parts(remote, "GET", args):
        turns += part["turns"]
        about |= part["about"]
    return about | {"turns": turns}


def _parts(remote: Remote, method: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    cursor = ""
    while True:
        params = {"tenant": args.tenant, "cursor": cursor}
        parts.append(remote.call(method, f"/api/people/{quote(args.person, safe='')}", params=params))
        if not (cursor := parts[-1]["cursor"]):
            return parts
        print(f"… part {len(parts)}", file=sys.stderr)
