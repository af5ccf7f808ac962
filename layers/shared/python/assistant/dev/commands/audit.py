"""What administrators did: who, when, what and how it ended. Nothing here can be changed or removed.

examples:
  assistant audit
  assistant audit --limit 500 --json
  assistant audit --verify                          # was anything changed, taken out or put in?
"""

from __future__ import annotations

import argparse
import json
import time

from assistant.dev.client import add_options, connect

HELP = "who did what, newest first"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="acts to show (default 50)")
    parser.add_argument("--verify", action="store_true", help="look whether every entry stands as it was written; 1 where not")
    parser.add_argument("--json", action="store_true")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the newest acts, or what is wrong with the log."""
    with connect(args) as remote:
        if args.verify:
            wrong = remote.call("GET", "/api/audit/verify", timeout=60)["wrong"]
            if args.json:
                print(json.dumps({"wrong": wrong}, ensure_ascii=False))
            else:
                print("\n".join(wrong) or "every entry stands as it was written")
            return 1 if wrong else 0
        acts = remote.call("GET", "/api/audit", params={"limit": args.limit})["acts"]
    if args.json:
        print(json.dumps({"acts": acts}, ensure_ascii=False))
        return 0
    for act in acts:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(act["at"] / 1000))
        why = f"  ({act['why']})" if act["why"] else ""
        print(f"{at}  {act['who']:12}  {act['outcome']:10}  {act['what']}  {act['target']}{why}".rstrip())
    if not acts:
        print("nothing yet")
    return 0
