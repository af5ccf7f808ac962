"""Rings: who is served, and step by step who is next. Each change names who made it and why.

examples:
  assistant rollout status
  assistant rollout set internal --people slack:U1 slack:U2
  assistant rollout set --reached internal --why "first ten"
  assistant rollout promote --why "quiet for two days"
  assistant rollout halt --why "slow answers"
  assistant rollout rollback
  assistant rollout history
"""

from __future__ import annotations

import argparse
import getpass
import json
import time
from typing import Any

from assistant.dev.client import add_options, connect
from assistant.rollout import MEMORIES, NOBODY, ORDER

LIMITS = ("person_tokens", "person_money", "tokens", "money")

HELP = "see and change who is served"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    texts = {
        "status": "how far it has reached, and who is in which ring",
        "set": "people, share, model or plug-ins of a ring; how far it reaches",
        "promote": "serve the next ring as well",
        "halt": "no further ring until it is resumed",
        "rollback": "the state before the last change",
        "history": "who changed what, when and why",
    }
    for name, text in texts.items():
        action = actions.add_parser(name, help=text)
        if name == "set":
            action.add_argument("ring", nargs="?", choices=ORDER, default="")
            action.add_argument("--people", nargs="*", metavar="PLATFORM:USER")
            action.add_argument("--chats", nargs="*", metavar="PLATFORM:CHAT")
            action.add_argument("--share", type=float, help="part of all others, 0 to 1")
            action.add_argument("--capacity", type=int)
            action.add_argument("--model", metavar="SPEC")
            action.add_argument("--plugins", nargs="*", metavar="NAME")
            action.add_argument("--memory", choices=("", *MEMORIES), help="what remembers together; '': as configured")
            action.add_argument("--days", type=int, metavar="N", help="keep turns this long at most; 0: as configured")
            action.add_argument("--person-tokens", type=int, metavar="N", help="most tokens a day for each person; 0: no limit")
            action.add_argument("--person-money", type=float, metavar="X", help="most money a day for each person")
            action.add_argument("--tokens", type=int, metavar="N", help="most tokens a day for all of the ring")
            action.add_argument("--money", type=float, metavar="X", help="most money a day for all of the ring")
            action.add_argument("--reached", choices=(NOBODY, *ORDER))
            action.add_argument("--outside", choices=("word", "silence"))
            action.add_argument("--resume", action="store_true", help="go on after a halt")
        if name not in ("status", "history"):
            action.add_argument("--why", default="", help="kept in the history")
        action.add_argument("--json", action="store_true")
        add_options(action)


def run(args: argparse.Namespace) -> int:
    """Shows or changes the roll-out."""
    with connect(args) as remote:
        if args.action == "history":
            _print_history(remote.call("GET", "/api/rollout/history")["changes"], as_json=args.json)
            return 0
        if args.action == "status":
            state = remote.call("GET", "/api/rollout")
        else:
            body: dict[str, Any] = {"action": args.action, "why": args.why, "who": _who()}
            if args.action == "set":
                body |= {"ring": args.ring, "changes": _changes(args)}
                if not body["changes"]:
                    print("nothing to set; see: assistant rollout set --help")
                    return 2
            state = remote.call("POST", "/api/rollout", json=body)
    if args.json:
        print(json.dumps(state, ensure_ascii=False))
    else:
        _print(state)
    return 0


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    of_ring = ("people", "chats", "share", "capacity", "model", "plugins", "memory", "days", *LIMITS)
    names = of_ring if args.ring else ("reached", "outside")
    changes = {name: value for name in names if (value := getattr(args, name)) is not None}
    return changes | ({"halted": False} if args.resume else {})


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _print(state: dict[str, Any]) -> None:
    halted = "   halted: no promotion until `assistant rollout set --resume`" if state["halted"] else ""
    print(f"reached: {state['reached']}   others get: {state['outside']}   edition {state['edition']}{halted}")
    for ring in state["rings"]:
        parts = [f"{len(ring['people'])} people" + (f" of {ring['capacity']}" if ring["capacity"] else "")]
        parts += [f"{len(ring['chats'])} chats"] if ring["chats"] else []
        parts += [f"{ring['share']:.0%} of all others"] if ring["share"] else []
        parts += [f"model {ring['model']}"] if ring["model"] else []
        parts += [f"plug-ins {', '.join(ring['plugins'])}"] if ring["plugins"] else []
        parts += [f"memory by {ring['memory']}"] if ring["memory"] else []
        parts += [f"kept {ring['days']} days"] if ring["days"] else []
        parts += [f"{name.replace('_', ' ')} {ring[name]:g} a day" for name in LIMITS if ring[name]]
        print(f"  {ring['name']:11} {', '.join(parts)}")


def _print_history(changes: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"changes": changes}, ensure_ascii=False))
        return
    for change in changes:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(change["at"]))
        print(
            f"{change['edition']:4}  {at}  {change['who']:12} {change['what']}"
            + (f"  ({change['why']})" if change["why"] else "")
        )
    if not changes:
        print("no change yet: everyone is served")
