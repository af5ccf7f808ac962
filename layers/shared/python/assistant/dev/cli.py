"""`assistant`: one module a command, loaded only when the command is used."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from assistant.errors import InvalidSetting

COMMANDS: Final[tuple[str, ...]] = (
    "dev",
    "chat",
    "init",
    "doctor",
    "kb",
    "nlu",
    "webhook",
    "rollout",
    "dlq",
    "plugin",
    "key",
    "audit",
    "privacy",
    "oauth",
    "model",
    "cost",
    "record",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit status: 0 good, 1 found a fault, 2 bad usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese gets question marks, not a traceback
    known = [name for name in COMMANDS if find_spec(f"assistant.dev.commands.{name}")]
    parser = argparse.ArgumentParser(prog="assistant", description="An assistant for the chat a company already works in.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = arguments[0] if arguments and arguments[0] in known else None
    for name in [named] if named else known:
        module = import_module(f"assistant.dev.commands.{name}")
        module.configure(
            commands.add_parser(
                name,
                help=module.HELP,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    args = parser.parse_args(arguments)
    try:
        status: int = import_module(f"assistant.dev.commands.{args.command}").run(args)
    except InvalidSetting as error:
        print(f"assistant {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, as `| head` does
        sys.stderr.close()
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
