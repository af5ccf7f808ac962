"""Creates what a new assistant needs and verifies its health; run again, it changes nothing that is good.

On a terminal it says first what it would create and asks once; --yes, and a script, go on without a question. It ends with a
health report. Stopped in the middle it has created whole things or nothing of them, and goes on where it stopped.

With --profile, it prepares a deployment on AWS instead: asks a few questions, writes deployments/STAGE.json, and looks at quotas,
permissions and names in the account before anything is made.

examples:
  assistant init
  assistant init --yes
  assistant init --url https://assistant.example.com --api-key KEY --json
  assistant init --profile enterprise
  assistant init --profile basic --stage production -c alarm_email=oncall@example.com --yes
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from assistant.dev.client import add_options, confirmed, connect
from assistant.doctor import Line, from_json
from assistant.errors import InvalidSetting

if TYPE_CHECKING:
    from pathlib import Path

    from infra.deploy import Fault

HELP = "create first data and verify health; or prepare a deployment"

_SIGNS: Final = {"created": "✓", "kept": "·", "ok": "✓", "warning": "!", "fault": "✗"}

QUESTIONS: Final = (
    ("stage", "Name of this installation (dev and staging may lose their data)"),
    ("region", "AWS region"),
    ("alarm_email", "E-mail address for alarms (empty: nobody is told)"),
    ("timezone", "Time zone of the company"),
    ("model", "Model, such as bedrock:openai.gpt-oss-20b-1:0 or openai:MODEL@https://…/v1"),
    ("concurrent_turns", "Messages answered at the same time"),
)
"""Field of the deployment and what is asked; all other fields are given with -c."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    add_options(parser)
    aws = parser.add_argument_group("a deployment on AWS")
    aws.add_argument("--profile", default="", help="basic or enterprise: write deployments/STAGE.json and look at the account")
    aws.add_argument("--stage", default="", help="name of the installation (asked for)")
    aws.add_argument("-c", "--set", action="append", default=[], metavar="NAME=VALUE", help="a field of the deployment")
    aws.add_argument("--yes", action="store_true", help="ask nothing: what is not given stays at its default")
    aws.add_argument("--no-check", action="store_true", help="do not look at the account")


def run(args: argparse.Namespace) -> int:
    """Prints the report; 1 where a step or the health is not good."""
    if args.profile:
        return prepare(args, ask=input if sys.stdin.isatty() and not args.yes else None)
    talks = sys.stdin.isatty() and not args.json and not args.yes
    with connect(args) as remote:
        if talks and (would := remote.call("POST", "/api/doctor/fix", json={"apply": False})["would"]):
            for remedy in would:
                print(f"  would {remedy['what']}")
            if not confirmed("Go on?"):
                print("nothing was done")
                return 0
        steps = remote.call("POST", "/api/init", timeout=120)["steps"]
        if not args.json:
            for step in steps:
                _print(step["state"], step["name"], step["detail"], step["fix"])
        report = remote.call("GET", "/api/doctor", timeout=60)
    if args.json:
        print(json.dumps({"steps": steps, "health": report}, ensure_ascii=False))
    else:
        try:
            _print_health(from_json(report))
        except ValueError:
            raise InvalidSetting(f"{remote.url} gave no report; is its version older than this command's?") from None
    return 1 if report.get("state") == "fault" or any(s["state"] == "fault" for s in steps) else 0


def _print_health(lines: Sequence[Line]) -> None:
    """What wants a hand, and one line for all the rest."""
    count: dict[str, int] = {}
    print("\nhealth")
    for component, finding in lines:
        count[finding.state] = count.get(finding.state, 0) + 1
        if finding.state in ("fault", "warning"):
            _print(finding.state, f"{component}: {finding.check}", finding.detail, finding.fix)
    words = {"ok": "fine", "warning": "to look at", "fault": "at fault", "unknown": "not known or not connected"}
    print(", ".join(f"{count[state]} {words[state]}" for state in words if state in count))


def _print(state: str, name: str, detail: str, fix: str) -> None:
    print(f"{_SIGNS.get(state, '?')} {state:8} {name:24} {detail}")
    if fix:
        print(f"           → {fix}")


def prepare(
    args: argparse.Namespace,
    *,
    ask: Callable[[str], str] | None,
    folder: Path | None = None,
    look: Callable[[dict[str, str]], Sequence[Fault]] | None = None,
) -> int:
    """Writes the configuration of a stage and says what stands in the way of deploying it; 1 where something does.

    `ask` puts a question to a person; None: nobody is there. `folder` and `look` are the checkout's own and the account's, unless
    a test gives others.
    """
    try:
        from infra.deployment import CONFIGURATIONS, PROFILES, Deployment, parse_context, stored
    except ImportError as error:
        raise InvalidSetting("infra/ is not here; run `assistant init --profile …` in a checkout of the project") from error
    if args.profile not in PROFILES:
        raise InvalidSetting(f"profile={args.profile!r} is not known; choose one of: {', '.join(PROFILES)}")
    folder = folder or CONFIGURATIONS
    given = {**parse_context(args.set), "profile": args.profile, **({"stage": args.stage} if args.stage else {})}
    if "stage" not in given:
        given["stage"] = _asked(ask, QUESTIONS[0][1], "dev")
    kept = {k: v for k, v in stored(given["stage"], folder).items() if k not in given}
    given |= {k: v for k, v in kept.items() if k in {n for n, _ in QUESTIONS}} if ask is None else {}
    made = Deployment.of({**kept, **given}, env=os.environ)
    for name, question in QUESTIONS[1:]:
        if name not in given and ask is not None:
            answer = _asked(ask, question, str(getattr(made, name)))
            if answer != str(getattr(made, name)) or name in kept or name == "region":
                given[name] = answer
    given = {name: value for name, value in {**kept, **given}.items() if value}
    if ask is not None and PROFILES[args.profile].get("edge") and given.get("region", "us-east-1") != "us-east-1":
        _front(given, ask)
    deployment = Deployment.of(given, env=os.environ)
    path = folder / f"{deployment.stage}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(given.items())), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    found = [] if args.no_check else list((look or _look)(given))
    if args.json:
        faults = [{"what": fault.what, "fix": fault.fix} for fault in found]
        print(json.dumps({"file": str(path), "deployment": given, "faults": faults}, ensure_ascii=False))
        return 1 if found else 0
    print(f"written  {path}")
    for fault in found:
        print(f"fault    {fault.what}\n         → {fault.fix}")
    if not found:
        print(f"{'not looked at' if args.no_check else 'nothing is in the way'}; now: make deploy STAGE={deployment.stage}")
    return 1 if found else 0


def _front(given: dict[str, str], ask: Callable[[str], str]) -> None:
    """CloudFront's firewall lives in us-east-1: elsewhere it needs the API to have a name of its own, or is left out."""
    if "edge" in given or "domain" in given:
        return
    if domain := ask("Host name of the API, for CloudFront and its firewall (empty: without them): ").strip():
        given |= {"domain": domain, "certificate": ask("ARN of its certificate: ").strip()}
    else:
        given["edge"] = "false"


def _asked(ask: Callable[[str], str] | None, question: str, default: str) -> str:
    if ask is None:
        return default
    return ask(f"{question} [{default}]: ").strip() or default


def _look(given: dict[str, str]) -> Sequence[Fault]:
    """What stands in the way, in the account of the credentials."""
    import boto3

    from infra.deploy import Fault, faults
    from infra.deployment import Deployment

    deployment = Deployment.of(given, env=os.environ)
    session = boto3.Session(region_name=deployment.region or None)
    if not session.region_name:
        return [Fault(what="no region is set", fix="give -c region=eu-central-1, or choose one with `aws configure`")]
    return list(faults(deployment, session.client))
