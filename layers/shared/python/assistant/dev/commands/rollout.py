"""Rings: who is served, and step by step who is next. Each change names who made it and why.

examples:
  assistant rollout status
  assistant rollout set internal --people slack:U1 slack:U2
  assistant rollout set department --departments feishu:od-4e6ac4d1 --model openai:qwen3@https://models.example.com/v1
  assistant rollout set --reached internal --why "first ten"
  assistant rollout promote --why "quiet for two days"
  assistant rollout plan --hold 24 --to everyone --errors 1 --why "the autumn release"
  assistant rollout plan                            # where the plan stands, and what it saw last
  assistant rollout plan --features --hold 8        # carry model, prompt and plug-ins from ring to ring
  assistant rollout halt --why "slow answers"
  assistant rollout set --resume
  assistant rollout rollback
  assistant rollout history
  assistant rollout prompt brief-2 prompt.txt       # a version of the prompt, for: set RING --prompt brief-2
  assistant rollout prompts
  assistant rollout import sales people.txt         # a list of people, for: set RING --departments list:sales
  assistant rollout lists
"""

from __future__ import annotations

import argparse
import getpass
import json
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from assistant.dev.client import Remote, add_options, connect
from assistant.errors import InvalidSetting
from assistant.rollout.rings import MEMORIES, NOBODY, ORDER
from assistant.rollout.state import Limits

LIMITS = ("person_tokens", "person_money", "tokens", "money")
OF_RING = (
    "on", "people", "chats", "departments", "groups", "share", "capacity", "model", "prompt", "plugins", "memory", "days",
    *LIMITS,
)  # fmt: skip

HELP = "see and change who is served"

_ACTIONS = {
    "status": "how far it has reached, and who is in which ring",
    "set": "people, share, model or plug-ins of a ring; how far it reaches",
    "promote": "serve the next ring as well",
    "plan": "promote by itself while all is well, else halt and go back; without options: where it stands",
    "halt": "no further ring until it is resumed",
    "rollback": "the state before the last change",
    "history": "who changed what, when and why",
    "prompt": "add a version of the prompt from a file; without a file: show it",
    "prompts": "the versions of the prompt",
    "import": "import a list of people, a line each",
    "lists": "the imported lists",
}

_PLAN = {
    "errors": "most tries that may fail, in percent",
    "slow": "most replies slower than --slow-seconds, in percent",
    "slow_seconds": "seconds until a reply counts as slow",
    "silent": "most messages without an answer after --silent-seconds, in percent",
    "silent_seconds": "seconds until a message counts as unanswered",
    "disliked": "most answers with a thumb down, in percent",
    "turns": "answers without which nothing is proven",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text)
        match name:
            case "set":
                _add_set(action)
            case "plan":
                _add_plan(action)
            case "prompt":
                action.add_argument("name")
                action.add_argument("file", nargs="?", type=Path, help="a text file, UTF-8")
            case "import":
                action.add_argument("name")
                action.add_argument("file", type=Path, help="PLATFORM:USER on each line; what follows a # is ignored")
        if name in ("set", "promote", "plan", "halt", "rollback"):
            action.add_argument("--why", default="", help="kept in the history")
        action.add_argument("--json", action="store_true", help="print JSON")
        add_options(action)


def _add_set(action: argparse.ArgumentParser) -> None:
    choices = (*ORDER, "")  # argparse compares the default with them too
    action.add_argument(
        "ring", nargs="?", choices=choices, default="", metavar="RING", help=f"{', '.join(ORDER)}; none: the state"
    )
    action.add_argument("--on", action=argparse.BooleanOptionalAction, help="serve the people of the ring, or do not")
    action.add_argument("--people", nargs="*", metavar="PLATFORM:USER")
    action.add_argument("--chats", nargs="*", metavar="PLATFORM:CHAT", help="whoever writes there")
    action.add_argument("--departments", nargs="*", metavar="PLATFORM:ID", help="by the platform's directory, or list:NAME")
    action.add_argument("--groups", nargs="*", metavar="PLATFORM:ID", help="user groups of the directory, or list:NAME")
    action.add_argument("--share", type=float, help="part of all others, 0 to 1")
    action.add_argument("--capacity", type=int, help="most people in the ring; 0: no limit")
    action.add_argument("--model", metavar="SPEC", help="'': as configured")
    action.add_argument("--prompt", metavar="NAME", help="a version of the prompt; '': none")
    action.add_argument("--plugins", nargs="*", metavar="NAME", help="only these; NAME@1.2 for one version; none: all")
    action.add_argument("--memory", choices=("", *MEMORIES), help="what remembers together; '': as configured")
    action.add_argument("--days", type=int, metavar="N", help="keep turns this long at most; 0: as configured")
    action.add_argument("--person-tokens", type=int, metavar="N", help="most tokens a day for each person; 0: no limit")
    action.add_argument("--person-money", type=float, metavar="X", help="most money a day for each person")
    action.add_argument("--tokens", type=int, metavar="N", help="most tokens a day for all of the ring")
    action.add_argument("--money", type=float, metavar="X", help="most money a day for all of the ring")
    action.add_argument("--reached", choices=(NOBODY, *ORDER), help="the widest ring that is served")
    action.add_argument("--outside", choices=("word", "silence"), help="what others get")
    action.add_argument("--resume", action="store_true", help="go on after a halt")


def _add_plan(action: argparse.ArgumentParser) -> None:
    action.add_argument("--hold", type=float, dest="hours", metavar="HOURS", help="how long each ring is watched; begins a plan")
    action.add_argument("--to", choices=ORDER, help="the last ring (default: everyone)")
    action.add_argument("--features", action="store_true", help="carry model, prompt and plug-ins of a ring to the next one")
    for limit in fields(Limits):
        kind = int if limit.name == "turns" else float
        text = f"{_PLAN[limit.name]} (default: {limit.default:g})"
        action.add_argument(f"--{limit.name.replace('_', '-')}", type=kind, metavar="N", help=text.replace("%", "%%"))
    action.add_argument("--stop", action="store_true", help="end the plan; what it has done stays")


def run(args: argparse.Namespace) -> int:
    """Shows or changes the roll-out."""
    with connect(args) as remote:
        match args.action:
            case "history":
                return _history(remote, args)
            case "prompt" | "prompts" | "import" | "lists":
                return _texts(remote, args)
            case "plan" if not args.stop and not _asked(args):
                return _plan(remote, args)
        body: dict[str, Any] = {"action": args.action, "why": getattr(args, "why", ""), "who": _who()}
        if args.action == "status":
            state = remote.call("GET", "/api/rollout")
        else:
            if args.action == "set":
                body |= {"ring": args.ring, "changes": _changes(args)}
                if not body["changes"]:
                    raise InvalidSetting("nothing to set; see: assistant rollout set --help")
            elif args.action == "plan" and args.stop:
                body["action"] = "stop"
            elif args.action == "plan":
                body["changes"] = _asked(args)
            state = remote.call("POST", "/api/rollout", json=body)
        state["seats"] = remote.call("GET", "/api/rollout/plan")["seats"]
    if args.json:
        print(json.dumps(state, ensure_ascii=False))
    else:
        _print(state)
    return 0


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    names, others = (OF_RING, ("reached", "outside")) if args.ring else (("reached", "outside"), OF_RING)
    if given := [n for n in others if getattr(args, n) is not None]:
        option = f"--{given[0].replace('_', '-')}"
        raise InvalidSetting(
            f"{option} is not set on a ring; leave the ring's name out"
            if args.ring
            else f"{option} is set on a ring; name it: assistant rollout set {ORDER[0]} {option} …"
        )
    changes = {name: value for name in names if (value := getattr(args, name)) is not None}
    return changes | ({"halted": False} if args.resume else {})


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The plan that the options describe; empty where they describe none."""
    names = ("hours", "to", *(f.name for f in fields(Limits)))
    asked = {name: value for name in names if (value := getattr(args, name)) is not None}
    return asked | ({"kind": "features"} if args.features else {})


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _print(state: dict[str, Any]) -> None:
    halted = "   halted: no promotion until `assistant rollout set --resume`" if state["halted"] else ""
    print(f"reached: {state['reached']}   others get: {state['outside']}   edition {state['edition']}{halted}")
    for ring in state["rings"]:
        print(f"  {ring['name']:11} {', '.join(_parts(ring, state.get('seats', {})))}")
    if state.get("plan"):
        print(f"  {'plan':11} {_described(state['plan'])}")


def _parts(ring: dict[str, Any], seats: dict[str, int]) -> list[str]:
    taken = seats.get(ring["name"], len(ring["people"]))
    parts = [] if ring.get("on", True) else ["OFF"]
    parts += [f"{taken} people" + (f" of {ring['capacity']}" if ring["capacity"] else "")]
    parts += [f"{len(ring[n])} {n}" for n in ("chats", "departments", "groups") if ring.get(n)]
    parts += [f"{ring['share']:.0%} of all others"] if ring["share"] else []
    parts += [f"model {ring['model']}"] if ring["model"] else []
    parts += [f"prompt {ring['prompt']}"] if ring.get("prompt") else []
    parts += [f"plug-ins {', '.join(ring['plugins'])}"] if ring["plugins"] else []
    parts += [f"memory by {ring['memory']}"] if ring["memory"] else []
    parts += [f"kept {ring['days']} days"] if ring["days"] else []
    return parts + [f"{name.replace('_', ' ')} {ring[name]:g} a day" for name in LIMITS if ring[name]]


def _described(plan: dict[str, Any]) -> str:
    what = "features" if plan["kind"] == "features" else "rings"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(plan["since"]))
    return f"{what} up to {plan['to']}, {plan['hours']:g} h each; watches {plan['at']} since {since}"


def _plan(remote: Remote, args: argparse.Namespace) -> int:
    """Where the plan stands; 1 where it has halted itself or cannot see."""
    said = remote.call("GET", "/api/rollout/plan")
    seen = said["seen"]
    bad = seen.get("verdict") in ("rolled back", "unknown") and (said["halted"] or said["plan"])
    if args.json:
        print(json.dumps(said, ensure_ascii=False))
        return 1 if bad else 0
    print(_described(said["plan"]) if said["plan"] else "no plan is running; begin one with: assistant rollout plan --hold HOURS")
    if said["halted"]:
        print("halted: nothing moves until `assistant rollout set --resume`")
    if seen:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(seen["at"]))
        print(f"last look {at}: {seen['verdict']}" + (f" – {seen['reason']}" if seen.get("reason") else ""))
        for name, ring in seen.get("rings", {}).items():
            figures = ", ".join(f"{ring[k]:g} {k}" for k in ("turns", "failed", "slow", "silent", "disliked", "liked"))
            print(f"  {name:11} {figures}")
    return 1 if bad else 0


def _history(remote: Remote, args: argparse.Namespace) -> int:
    changes = remote.call("GET", "/api/rollout/history")["changes"]
    if args.json:
        print(json.dumps({"changes": changes}, ensure_ascii=False))
        return 0
    for change in changes:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(change["at"]))
        why = f"  ({change['why']})" if change["why"] else ""
        print(f"{change['edition']:4}  {at}  {change['who']:12} {change['what']}{why}")
    if not changes:
        print("no change yet: everyone is served")
    return 0


def _texts(remote: Remote, args: argparse.Namespace) -> int:
    """Prompts and lists: shown, added, imported."""
    said: dict[str, Any]
    if args.action == "import":
        people = [line.partition("#")[0].strip() for line in _read(args.file).splitlines()]
        asked = {"name": args.name, "people": [p for p in people if p], "who": _who()}
        said = remote.call("POST", "/api/rollout/lists", json=asked)
        shown = (
            f"{said['name']}: {said['people']} people; use it with: assistant rollout set RING --departments list:{said['name']}"
        )
    elif args.action == "lists":
        said = remote.call("GET", "/api/rollout/lists")
        shown = "\n".join(f"{e['name']:20} {e['people']:6} people" for e in said["lists"]) or "no list was imported"
    elif args.action == "prompt" and args.file:
        asked = {"name": args.name, "text": _read(args.file), "who": _who()}
        said = remote.call("POST", "/api/rollout/prompts", json=asked)
        shown = f"prompt {said['name']} is kept; use it with: assistant rollout set RING --prompt {said['name']}"
    else:
        said = remote.call("GET", "/api/rollout/prompts")
        if args.action == "prompt":
            found = [p for p in said["prompts"] if p["name"] == args.name]
            if not found:
                raise InvalidSetting(f"there is no prompt {args.name!r}; see: assistant rollout prompts")
            said, shown = found[0], found[0]["text"]
        else:
            shown = (
                "\n".join(f"{p['name']:20} {len(p['text']):6} characters, by {p['who']}" for p in said["prompts"]) or "none yet"
            )
    print(json.dumps(said, ensure_ascii=False) if args.json else shown)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSetting(f"file {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"file {str(path)!r} is not UTF-8 text") from None
