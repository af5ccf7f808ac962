"""Creates what a new assistant needs and verifies its health; run again, it changes nothing that is good.

examples:
  assistant init
  assistant init --url https://assistant.example.com --api-key KEY --json
"""

from __future__ import annotations

import argparse
import json

from assistant.dev.client import add_options, connect

HELP = "create first data and verify health"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the report; 1 where a step is not good."""
    with connect(args) as remote:
        steps = remote.call("POST", "/api/init")["steps"]
    if args.json:
        print(json.dumps({"steps": steps}, ensure_ascii=False))
    else:
        for step in steps:
            line = f"{step['state']:8} {step['name']:20} {step['detail']}"
            print(f"{line}\n         → {step['fix']}" if step["fix"] else line)
    return 1 if any(s["state"] == "fault" for s in steps) else 0
