"""`assistant`: one module a command, loaded only when the command is used."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from assistant.errors import AssistantError, InvalidSetting

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
    "completion",
)

_ABOUT: Final = """An assistant for the chat a company already works in.

examples:
  assistant dev                         # everything on this machine
  assistant chat "What can you do?"
  assistant doctor --url https://assistant.example.com --api-key KEY
  assistant COMMAND --help              # what one command does, with examples

Commands that talk to an assistant take --url, --api-key and --data; ASSISTANT_URL and API_KEY stand in for the first two.
exit status: 0 good, 1 found a fault, 2 bad usage, 130 stopped with Ctrl-C"""


def build(names: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the commands in `names`; of all of them where none is named."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="assistant", description=_ABOUT, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names or known():
        module = import_module(f"assistant.dev.commands.{name}")
        made = commands.add_parser(name, help=module.HELP, description=module.__doc__, formatter_class=raw)
        module.configure(made)
        _polish(made, examples(module.__doc__ or ""))
    return parser


def known() -> list[str]:
    """Names of the commands that are there."""
    return [name for name in COMMANDS if find_spec(f"assistant.dev.commands.{name}")]


def examples(text: str) -> list[str]:
    """The lines below `examples:`, up to an empty one."""
    _, _, rest = text.partition("\nexamples:\n")
    return [line for line in rest.partition("\n\n")[0].splitlines() if line.strip()]


def below(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser's own commands, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _polish(parser: argparse.ArgumentParser, lines: Sequence[str]) -> None:
    """Each action's help shows those of its command's examples that use it, and says the same of what all have."""
    for option in parser._actions:
        if option.dest == "json":
            option.help = option.help or "print JSON"
    for _, action in below(parser):
        fitting = [line for line in lines if re.search(rf"\b{re.escape(action.prog)}(\s|$)", line)]
        if fitting:
            action.formatter_class = argparse.RawDescriptionHelpFormatter
            action.epilog = "\n".join(["examples:", *fitting])
        _polish(action, fitting)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit status: 0 good, 1 found a fault, 2 bad usage, 130 stopped with Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese gets question marks, not a traceback
    named = arguments[:1] if arguments and arguments[0] in known() else ()
    try:
        args = build(named).parse_args(arguments)
        status: int = import_module(f"assistant.dev.commands.{args.command}").run(args)
        sys.stdout.flush()
    except InvalidSetting as error:
        print(f"assistant {arguments[0]}: {error}", file=sys.stderr)
        return 2
    except AssistantError as error:
        print(f"assistant {arguments[0]}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, as `| head` does
        sys.stderr.close()
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
