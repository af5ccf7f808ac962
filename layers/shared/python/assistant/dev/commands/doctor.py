"""Looks for what keeps the assistant from working, on every configured platform, and says how to mend it.

Asks a running assistant, so that calls leave from its own address and with its own permissions; with --secrets it looks from
this machine instead, before anything is deployed. --fix says what is missing and can safely be created, or told to a platform
again, and does it after a yes (in a script: --fix --yes).

The findings are in the language of the terminal's locale, English or Chinese; with --json always in English.

exit status: 0 no fault, 1 something is at fault, 2 it could not look

examples:
  assistant doctor
  assistant doctor --url https://assistant.example.com --api-key KEY --json
  assistant doctor --secrets secrets.json --platform wecom
  assistant doctor --fix                            # what would be mended, and a question
  assistant doctor --fix --yes --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from assistant.dev.client import add_options, confirmed, connect, language, working
from assistant.doctor import Line, from_json, platforms, state, to_json, worded
from assistant.errors import InvalidSetting
from assistant.platforms import PLATFORMS, Platform, platform_class

HELP = "find out what does not work, and how to mend it"

_COLOURS: Final = {"ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_options(parser)
    parser.add_argument("--secrets", type=Path, metavar="FILE", help="look from this machine with these secrets")
    parser.add_argument("--public-url", default="", metavar="URL", help="with --secrets: the address that platforms call")
    parser.add_argument("--platform", action="append", choices=sorted(PLATFORMS), help="only this one; may be repeated")
    parser.add_argument("--fix", action="store_true", help="mend what is safe; says first what that is")
    parser.add_argument("--yes", action="store_true", help="with --fix: do it without a question")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the report; 1 where something is at fault."""
    if args.fix and args.secrets:
        raise InvalidSetting("--fix mends a running assistant; leave --secrets out")
    if args.fix:
        return _fix(args)
    with working("looking"):
        lines = _from_here(args) if args.secrets else _from_there(args)
    if args.platform:
        lines = [line for line in lines if line.component in args.platform]
    if args.json:
        print(json.dumps(to_json(lines), ensure_ascii=False, indent=2))
    else:
        _print(lines)
    return 1 if state(lines) == "fault" else 0


def _from_there(args: argparse.Namespace) -> list[Line]:
    try:
        with connect(args) as remote:
            return from_json(
                remote.call("GET", "/api/doctor", timeout=60, params={"language": "en" if args.json else language()})
            )
    except ValueError:
        raise InvalidSetting(f"{args.url} gave no report; is its version older than this command's?") from None


def _fix(args: argparse.Namespace) -> int:
    """Says what can be mended, does it after a yes; 1 where a remedy failed."""
    with connect(args) as remote:
        would = remote.call("POST", "/api/doctor/fix", json={"apply": False})["would"]
        if not args.json:
            for remedy in would:
                print(f"would {remedy['what']}")
            if not would:
                print("nothing is missing that could be mended without asking you; see: assistant doctor")
        if not would or not (args.yes or (not args.json and confirmed("Do it?"))):
            if args.json:
                print(json.dumps({"would": would, "done": []}, ensure_ascii=False))
            elif would:
                print("nothing was done; to do it, add --yes")
            return 0
        with working("mending"):
            done = remote.call("POST", "/api/doctor/fix", json={"apply": True}, timeout=60)["done"]
    if args.json:
        print(json.dumps({"would": would, "done": done}, ensure_ascii=False))
    else:
        for step in done:
            print(
                f"{step['state']:8} {step['name']:20} {step['detail']}" + (f"\n         → {step['fix']}" if step["fix"] else "")
            )
    return 1 if any(step["state"] == "fault" for step in done) else 0


def _from_here(args: argparse.Namespace) -> list[Line]:
    from assistant.dev.commands.dev import read_secrets

    secrets = read_secrets(args.secrets)
    texts = {name: {k: str(v) for k, v in fields.items()} for name, fields in secrets.items()}

    def open_platform(name: str) -> Platform:
        return platform_class(name)(texts[name])

    wanted = set(args.platform or PLATFORMS)
    return platforms(
        open_platform,
        configured=[n for n in PLATFORMS if n in wanted and texts.get(n)],
        public_url=args.public_url,
        clock=time.time,
    )


_COLUMNS: Final = {
    "en": ("component", "check", "state", "what was found", "what to do"),
    "zh-CN": ("部分", "检查项", "状态", "结果", "处理办法"),
}
_STATES: Final = {"ok": "正常", "warning": "警告", "fault": "故障", "unknown": "未知"}


def _print(lines: Sequence[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    here = language()
    table = Table(show_lines=False, header_style="bold", expand=False)
    for name in _COLUMNS[here]:
        table.add_column(name, overflow="fold")
    before = ""
    for component, found in lines:
        finding = worded(found, here)
        if before and component != before:
            table.add_section()
        mend = "\n".join(t for t in (finding.fix, finding.url) if t)
        shown = Text(finding.state if here == "en" else _STATES[finding.state], style=_COLOURS[finding.state])
        table.add_row("" if component == before else component, Text(finding.check), shown, Text(finding.detail), Text(mend))
        before = component
    console = Console()
    console.print(table)
    count = sum(line.finding.state == "fault" for line in lines)
    none, some = ("no fault found", f"{count} at fault") if here == "en" else ("没有发现故障", f"{count} 项故障")
    console.print(f"[bold red]{some}[/bold red]" if count else f"[green]{none}[/green]")
