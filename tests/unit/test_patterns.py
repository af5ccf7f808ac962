"""No text makes a pattern of ours slow: each one is read, and texts are made from it that would send it back again and again."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from re import _constants as code  # the parser of the standard library has no public name
from re import _parser
from typing import Any

import pytest

import assistant
import assistant_plugins

LONG = 800
"""Letters: a quadratic search of them takes a millisecond, a cubic one seconds. A message that is read has 20,000."""
SECONDS = 0.1
"""Of processor time for one text, on a machine that others use as well."""
STOPPED = 0.5

SHORT = {
    "assistant.filing": 300,
    "assistant.knowledge.care": 1_600,
    "assistant.llm.builtin": 1_600,
    "assistant.nlu.context": 60,
    "assistant.slots": 1_000,
    "assistant.slots.times": 1_000,
    "assistant.slots.numbers": 1_000,
    "assistant_plugins.calendar": 1_000,
    "assistant_plugins.people": 90,
}
"""Letters that the module's functions read at most; the tests of that module hold them to it."""

USES = {"match": "match", "fullmatch": "fullmatch"}
"""By the name of the call: how a text is looked through; every other call looks for all there is."""

Nodes = Any  # the parser's own lists of (operation, argument)


def modules() -> list[str]:
    """The product's modules; what is for developers reads their own files."""
    found = [
        m.name
        for package in (assistant, assistant_plugins)
        for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return sorted(name for name in found if ".dev" not in name and not name.endswith("__main__"))


def patterns(name: str) -> dict[re.Pattern[str], set[str]]:
    """The patterns of a module, those in its calls included, each with how it is used."""
    module = importlib.import_module(name)
    source = Path(str(module.__file__)).read_text("utf-8")
    found: dict[re.Pattern[str], set[str]] = {}

    def keep(pattern: re.Pattern[str], uses: set[str]) -> None:
        found.setdefault(pattern, set()).update(USES.get(use, "findall") for use in uses)

    def look(label: str, value: object, depth: int = 0) -> None:
        if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
            keep(value, set(re.findall(rf"\b{label}\b(?:\[[^\]]*\])?\.(\w+)\(", source)) or {"search"})
        elif depth < 3 and isinstance(value, dict):
            for inner in [*value, *value.values()]:
                look(label, inner, depth + 1)
        elif depth < 3 and isinstance(value, list | tuple | set | frozenset):
            for inner in value:
                look(label, inner, depth + 1)

    for label, value in list(vars(module).items()):
        if isinstance(value, type) and value.__module__ == name:
            for inner_label, inner in list(vars(value).items()):
                look(inner_label, inner)
        else:
            look(label, value)
    for call in ast.walk(ast.parse(source)):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
            continue
        first = call.args[0]
        use, of_re = call.func.attr, isinstance(call.func.value, ast.Name) and call.func.value.id == "re"
        if of_re and use != "escape" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            made = re.compile(first.value)
            if use != "compile" or made not in found:
                keep(made, {use})
    return found


def sample(nodes: Nodes, pick: int = 0) -> str:
    """A short text that `nodes` match, more or less; `pick` chooses among alternatives."""
    said = ""
    for operation, argument in nodes:
        if operation is code.LITERAL:
            said += chr(argument)
        elif operation in (code.NOT_LITERAL, code.ANY):
            said += "a" if argument != ord("a") else "b"
        elif operation is code.IN:
            said += one_of(argument, pick)
        elif operation is code.BRANCH:
            said += sample(argument[1][pick % len(argument[1])], pick)
        elif operation is code.SUBPATTERN:
            said += sample(argument[3], pick)
        elif operation in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
            said += sample(argument[2], pick) * argument[0]
        elif operation is code.ATOMIC_GROUP:
            said += sample(argument, pick)
    return said


def one_of(items: Nodes, pick: int) -> str:
    """A letter of a set."""
    if items[0][0] is code.NEGATE:
        inner = re.compile("|".join(re.escape(chr(a)) for o, a in items[1:] if o is code.LITERAL) or "(?!)")
        return next(c for c in "a 1|-中é\x00" if not inner.match(c))
    operation, argument = items[pick % len(items)]
    if operation is code.LITERAL:
        return chr(argument)
    if operation is code.RANGE:
        return chr(argument[0])
    return {code.CATEGORY_DIGIT: "1", code.CATEGORY_SPACE: " ", code.CATEGORY_NOT_WORD: "-"}.get(argument, "a")


def texts(pattern: re.Pattern[str], length: int) -> Iterator[str]:
    """What might be slow: something that repeats, many times, behind what may stand before it, and an end that fits nothing."""
    pumps: set[tuple[str, str]] = set()

    def walk(nodes: Nodes, before: str) -> None:
        for n, (operation, argument) in enumerate(nodes):
            for pick in range(3):
                lead = before + sample(list(nodes)[:n], pick)
                if operation in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
                    if argument[1] >= 64 and (unit := sample(argument[2], pick)):
                        pumps.update({(lead, unit), ("", lead + unit), (lead + unit, lead or unit)})
                    inner = [argument[2]]
                elif operation is code.SUBPATTERN:
                    inner = [argument[3]]
                elif operation is code.ATOMIC_GROUP:
                    inner = [argument]
                elif operation is code.BRANCH:
                    inner = argument[1]
                elif operation in (code.ASSERT, code.ASSERT_NOT):
                    inner = [argument[1]]
                else:
                    inner = []
                for deeper in inner if pick == 0 else ():
                    walk(deeper, lead)

    tree = _parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    walk(tree, "")
    if whole := sample(tree):
        pumps.add(("", whole))
    for lead, unit in sorted(pumps):
        body = lead + unit * (length // len(unit))
        yield f"{body[:length]}\x00\n!"


class TooSlow(Exception):
    """A search took longer than anybody should wait."""


def took(act: Callable[[], object]) -> float:
    """Processor seconds, `STOPPED` at most."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, STOPPED)
    began = time.process_time()
    try:
        act()
    except TooSlow:
        return STOPPED
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return time.process_time() - began


def slow_texts(name: str) -> tuple[list[str], int, int]:
    """What of a module's patterns is slow, how many patterns it has and how many texts were tried."""
    found, tried, known = [], 0, patterns(name)
    for pattern, uses in known.items():
        for text in texts(pattern, min(SHORT.get(name, LONG), LONG)):
            for use in sorted(uses):
                look: Callable[[str], object] = getattr(pattern, use)
                tried += 1
                if (seconds := took(partial(look, text))) > SECONDS:
                    found.append(f"{use} {pattern.pattern[:100]!r} in {text[:30]!r}…: {seconds:.2f} s")
    return found, len(known), tried


def test_no_text_makes_a_pattern_slow(capsys: pytest.CaptureFixture[str]) -> None:
    slow, count, tried = [], 0, 0
    for name in modules():
        found, many, texts_tried = slow_texts(name)
        slow += [f"{name}: {line}" for line in found]
        count, tried = count + many, tried + texts_tried
    with capsys.disabled():
        print(f"\n  {count} patterns, {tried} texts made against them")
    assert count > 200
    assert not slow, "\n".join(slow)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"\s*x?\s*x?\s*x?$", r"^(?:please\s+|can\s+you\s+(?:please\s+)?)*add"])
def test_a_slow_pattern_is_found(pattern: str) -> None:
    made = re.compile(pattern)
    assert any(took(partial(made.findall, text)) > SECONDS for text in texts(made, LONG))
