"""Prints what makes a shell complete the assistant's commands, actions and options with the Tab key.

examples:
  source <(assistant completion bash)                                     # this shell; into ~/.bashrc for every one
  assistant completion zsh > ~/.zfunc/_assistant                          # with ~/.zfunc in fpath
  assistant completion fish > ~/.config/fish/completions/assistant.fish
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HELP = "make the shell complete commands and options"

SHELLS = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    """Prints the shell's script; it holds the words themselves, so that Tab starts no Python."""
    from assistant.dev.cli import build

    places = list(walk(build(), ""))
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](places))
    return 0


@dataclass(frozen=True, slots=True)
class Place:
    """What may follow after `path`, such as `rollout set`."""

    path: str
    words: dict[str, str] = field(default_factory=dict)
    """Names of actions, and choices of what stands by itself, with their help."""
    options: dict[str, str] = field(default_factory=dict)
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What an option may be followed by; empty for a value that only its user knows."""
    files: frozenset[str] = frozenset()
    """Options whose value is a file."""


def walk(parser: argparse.ArgumentParser, path: str) -> Iterator[Place]:
    """Every place of the command line."""
    words: dict[str, str] = {}
    options: dict[str, str] = {}
    values: dict[str, tuple[str, ...]] = {}
    files: set[str] = set()
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {a.dest: a.help or "" for a in action._choices_actions}
            words |= {name: texts.get(name, "") for name in action.choices}
            below += list(action.choices.items())
            continue
        if not action.option_strings:
            words |= {str(c): "" for c in action.choices or () if str(c)}
            continue
        for option in (o for o in action.option_strings if o.startswith("--")):
            options[option] = (action.help or "").replace("%%", "%")
            if action.nargs != 0:
                values[option] = tuple(str(c) for c in action.choices or () if str(c))
                if action.type is Path:
                    files.add(option)
    yield Place(path, words, options, values, frozenset(files))
    for name, inner in below:
        yield from walk(inner, f"{path} {name}".strip())


def bash(places: list[Place]) -> str:
    """For bash 3.2 and later."""
    cases, after = [], []
    for place in places:
        known = " ".join([*place.words, *place.options])
        cases.append(f"    {shlex.quote(place.path)}) words={shlex.quote(known)} ;;")
        for option, choices in place.values.items():
            what = "COMPREPLY=($(compgen -f -- \"$current\"))" if option in place.files or not choices else (
                f"COMPREPLY=($(compgen -W {shlex.quote(' '.join(choices))} -- \"$current\"))"
            )  # fmt: skip
            after.append(f"    {shlex.quote(f'{place.path}|{option}')}) {what}; return ;;")
    names = " ".join(shlex.quote(p.path) for p in places if p.path)
    return f"""# assistant: completion for bash
_assistant() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" path="" next word words="" place
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    next="${{path:+$path }}$word"
    for place in {names}; do
      if [[ "$next" == "$place" ]]; then path="$next"; break; fi
    done
  done
  case "$path|$before" in
{chr(10).join(after)}
  esac
  case "$path" in
{chr(10).join(cases)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _assistant assistant"""


def zsh(places: list[Place]) -> str:
    """For zsh: each word with what it means."""
    cases, after = [], []
    for place in places:
        entries = {**place.words, **place.options}
        listed = " ".join(shlex.quote(f"{_escaped(word)}:{text}" if text else _escaped(word)) for word, text in entries.items())
        cases.append(f"    {shlex.quote(place.path)}) words_here=({listed}) ;;")
        for option, choices in place.values.items():
            what = f"compadd -- {' '.join(map(shlex.quote, choices))}" if choices and option not in place.files else "_files"
            after.append(f"    {shlex.quote(f'{place.path}|{option}')}) {what}; return ;;")
    names = " ".join(shlex.quote(p.path) for p in places if p.path)
    return f"""#compdef assistant
# assistant: completion for zsh
_assistant() {{
  local path_here="" next word place
  local -a words_here
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    next="${{path_here:+$path_here }}$word"
    for place in {names}; do
      if [[ "$next" == "$place" ]]; then path_here="$next"; break; fi
    done
  done
  case "$path_here|${{words[CURRENT-1]}}" in
{chr(10).join(after)}
  esac
  case "$path_here" in
{chr(10).join(cases)}
  esac
  _describe -t commands assistant words_here || _files
}}
if [[ "$funcstack[1]" == _assistant ]]; then _assistant "$@"; else compdef _assistant assistant; fi"""


def fish(places: list[Place]) -> str:
    """For fish 3: each word with what it means."""
    lines = [
        "# assistant: completion for fish",
        "function __assistant_at",
        "  set -l words (commandline -opc)",
        "  set -l path",
        "  set -l known " + " ".join(shlex.quote(p.path) for p in places if p.path),
        "  for word in $words[2..-1]",
        '    set -l next (string trim -- "$path $word")',
        '    if contains -- "$next" $known; set path "$next"; end',
        "  end",
        '  test "$path" = "$argv[1]"',
        "end",
    ]
    for place in places:
        here = f'"__assistant_at {shlex.quote(place.path)}"' if place.path else "\"__assistant_at ''\""
        for word, text in place.words.items():
            lines.append(f"complete -c assistant -f -n {here} -a {shlex.quote(word)} -d {shlex.quote(text)}")
        for option, text in place.options.items():
            value = ""
            if option in place.values:
                choices = place.values[option]
                value = f" -x -a {shlex.quote(' '.join(choices))}" if choices else " -r -F" if option in place.files else " -x"
            lines.append(f"complete -c assistant -n {here} -l {option[2:]}{value} -d {shlex.quote(text)}")
    return "\n".join(lines)


def _escaped(word: str) -> str:
    return word.replace(":", "\\:")
