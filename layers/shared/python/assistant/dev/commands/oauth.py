"""What people have allowed, taking it back for them (as when somebody leaves), and the app's further workspaces at Slack.

examples:
  assistant oauth providers
  assistant oauth list slack:U123
  assistant oauth revoke slack:U123 microsoft
  assistant oauth revoke slack:U123 --all
  assistant oauth install slack
  assistant oauth workspaces
  assistant oauth uninstall T0123ABC
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any
from urllib.parse import quote

from assistant.dev.client import add_options, connect
from assistant.errors import InvalidSetting

HELP = "see and take back what people have allowed"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    texts = {
        "providers": "where access can be allowed",
        "list": "what a person has allowed; never the tokens",
        "revoke": "delete a person's tokens, and tell the provider",
        "install": "print a link with which the app is installed in one more Slack workspace, once, within the hour",
        "workspaces": "the further Slack workspaces in which the app is installed",
        "uninstall": "forget a further workspace, and end the bot's token there",
    }
    for name, text in texts.items():
        action = actions.add_parser(name, help=text)
        if name == "install":
            action.add_argument("platform", choices=["slack"])
        if name == "uninstall":
            action.add_argument("team", metavar="WORKSPACE", help="its id, as `assistant oauth workspaces` shows it")
        if name in ("list", "revoke"):
            action.add_argument("person", metavar="PLATFORM:USER")
            action.add_argument("--tenant", default="", help="the platform's id of the company, where it names one")
        if name == "revoke":
            action.add_argument("provider", nargs="?", default="")
            action.add_argument("--all", action="store_true", help="at every provider")
        action.add_argument("--json", action="store_true")
        add_options(action)


def run(args: argparse.Namespace) -> int:
    """Shows or takes back."""
    if args.action == "revoke" and bool(args.provider) == args.all:
        raise InvalidSetting("name one provider, or give --all")
    with connect(args) as remote:
        if args.action == "revoke":
            query = {"provider": args.provider, "tenant": args.tenant}
            answer = remote.call("DELETE", f"/api/authorisations/{quote(args.person, safe='')}", params=query)
        elif args.action == "install":
            answer = remote.call("POST", "/api/workspaces")
        elif args.action == "workspaces":
            answer = remote.call("GET", "/api/workspaces")
        elif args.action == "uninstall":
            answer = remote.call("DELETE", f"/api/workspaces/{quote(args.team, safe='')}")
        elif args.action == "list":
            answer = remote.call("GET", "/api/authorisations", params={"person": args.person, "tenant": args.tenant})
        else:
            answer = remote.call("GET", "/api/authorisations")
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        _print(args.action, answer)
    return 0


def _print(action: str, answer: dict[str, Any]) -> None:
    if action == "providers":
        for provider in answer["providers"]:
            print(f"{provider['name']:12} {provider['title']}")
    elif action == "list":
        for grant in answer["grants"]:
            since = time.strftime("%Y-%m-%d", time.localtime(grant["since"]))
            print(f"{grant['provider']:12} {grant['state']:8} {grant['account']:20} since {since}  {' '.join(grant['scopes'])}")
        if not answer["grants"]:
            print("nothing is allowed")
    elif action == "install":
        print(
            f"open this once, within {answer['seconds'] // 60} minutes, as somebody who may install apps there:\n{answer['link']}"
        )
    elif action == "workspaces":
        for workspace in answer["workspaces"]:
            since = time.strftime("%Y-%m-%d", time.localtime(workspace["since"]))
            print(f"{workspace['team']:12} {workspace['name']:24} since {since}")
        if not answer["workspaces"]:
            print("installed in no further workspace")
    elif action == "uninstall":
        told = "its token is ended" if answer["told"] else "forgotten here; Slack could not be told"
        print(f"{answer['team']:12} {told}")
    else:
        for revoked in answer["revoked"]:
            told = "the provider was told" if revoked["told"] else "deleted here; the provider offers no way to tell it"
            print(f"{revoked['provider']:12} {told}")
