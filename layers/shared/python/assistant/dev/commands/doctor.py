"""Looks for what keeps the assistant from working, on every configured platform, and says how to mend it.

Asks a running assistant, so that calls leave from its own address and with its own permissions; with --secrets it looks from
this machine instead, before anything is deployed.

examples:
  assistant doctor
  assistant doctor --url https://assistant.example.com --api-key KEY --json
  assistant doctor --secrets secrets.json --platform wecom
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from assistant.dev.client import add_options, connect
from assistant.doctor import Line, from_json, platforms, state, to_json
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
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the report; 1 where something is at fault."""
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
            return from_json(remote.call("GET", "/api/doctor", timeout=60))
    except ValueError:
        raise InvalidSetting(f"{args.url} gave no report; is its version older than this command's?") from None


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


def _print(lines: Sequence[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False, header_style="bold", expand=False)
    for name in ("component", "check", "state", "what was found", "what to do"):
        table.add_column(name, overflow="fold")
    before = ""
    for component, finding in lines:
        if before and component != before:
            table.add_section()
        mend = "\n".join(t for t in (finding.fix, finding.url) if t)
        shown = Text(finding.state, style=_COLOURS[finding.state])
        table.add_row("" if component == before else component, Text(finding.check), shown, Text(finding.detail), Text(mend))
        before = component
    console = Console()
    console.print(table)
    count = sum(line.finding.state == "fault" for line in lines)
    console.print("[green]no fault found[/green]" if not count else f"[bold red]{count} at fault[/bold red]")
