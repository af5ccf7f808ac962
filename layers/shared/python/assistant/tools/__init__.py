"""What the model may call: functions with a schema, made from Python, from an OpenAPI description or from an MCP server.

@tool
def free_busy(self, ctx: PluginContext, day: date, person: Annotated[str, "an e-mail address"]) -> list[Slot]:
    \"\"\"When somebody is free on a day.\"\"\"

@tool(writes=True)                       # asks the person first, and acts once
def create_event(self, ctx: PluginContext, title: str, start: datetime) -> str: ...
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar, overload

from assistant.errors import InvalidSetting, ToolFailed
from assistant.observability import redact
from assistant.words import Words

LARGEST_RESULT: Final = 12_000
"""Characters of a result that the model is shown."""

DEEPEST: Final = 32
"""Levels of nesting that a schema may have."""

MARK: Final = "_assistant_tool"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something that the model may call. `run(ctx, arguments)` gives whatever can be written as JSON, or raises ToolFailed."""

    name: str
    """Letters, digits, `_` and `-`, at most 64."""
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """A JSON Schema of an object, without references."""
    run: Callable[[Any, Mapping[str, Any]], Any]
    writes: bool = False
    """It changes something: the person is asked first."""
    repeatable: bool = False
    """The same `ctx.key` twice has one effect: after a broken connection it is simply tried again."""
    seconds: float = 20.0
    """Longest time one call may take."""
    title: Words = ""
    """What the person who is asked first reads, in one text or one for each language; empty: the description's first line."""
    arguments: Mapping[str, Words] = field(default_factory=dict)
    """What that person reads for an argument's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the decorator was given."""

    name: str = ""
    writes: bool = False
    repeatable: bool = False
    seconds: float = 20.0
    title: Words = ""
    arguments: Mapping[str, Words] = field(default_factory=dict)


@overload
def tool(function: F) -> F: ...
@overload
def tool(
    *,
    name: str = "",
    writes: bool = False,
    repeatable: bool = False,
    seconds: float = 20.0,
    title: Words = "",
    arguments: Mapping[str, Words] = ...,
) -> Callable[[F], F]: ...
def tool(function: Any = None, **options: Any) -> Any:
    """Marks a function, or a plug-in's method, as a tool: its type hints are the schema, its docstring the description."""

    def mark(marked: F) -> F:
        setattr(marked, MARK, Options(**options))
        return marked

    return mark if function is None else mark(function)


def tools_in(owner: object) -> list[Tool]:
    """The tools among the methods of `owner`, in the order of their names. Raises InvalidSetting for one that cannot be used."""
    found = []
    for name in dir(type(owner)):
        if hasattr(inspect.getattr_static(type(owner), name), MARK):
            found.append(tool_of(getattr(owner, name)))
    return found


def tool_names(owner: object) -> set[str]:
    """The names of the tools among the methods of `owner`, without making the tools."""
    found = set()
    for name in dir(type(owner)):
        if options := getattr(inspect.getattr_static(type(owner), name), MARK, None):
            found.add(options.name or name)
    return found


def tool_of(function: Callable[..., Any]) -> Tool:
    """The tool that a function is. An argument called `ctx` is given the context. Raises InvalidSetting."""
    from pydantic import ConfigDict, Field, ValidationError, create_model

    options: Options = getattr(function, MARK, Options())
    name = options.name or function.__name__
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise InvalidSetting(f"tool {name!r}: its type hints cannot be read: {error}") from None
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name == "ctx":
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name not in hints:
            raise InvalidSetting(f"tool {name!r}: argument {parameter.name!r} needs a type hint, and no * or **")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], Field(default=default))
    description = inspect.cleandoc(function.__doc__ or "")
    if not description:
        raise InvalidSetting(f"tool {name!r} has no docstring; the model chooses it by that")
    made: Any = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    wants = "ctx" in signature.parameters

    def run(ctx: Any, arguments: Mapping[str, Any]) -> Any:
        try:
            checked = made.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise ToolFailed(f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from None
        given = {n: getattr(checked, n) for n in fields}
        return function(ctx, **given) if wants else function(**given)

    return checked_tool(
        Tool(
            name=name,
            description=description,
            parameters=_untitled(made.model_json_schema()),
            run=run,
            writes=options.writes,
            repeatable=options.repeatable,
            seconds=options.seconds,
            title=options.title,
            arguments=options.arguments,
        )
    )


def checked_tool(made: Tool) -> Tool:
    """`made` with the references in its schema replaced by what they name. Raises InvalidSetting where it cannot be offered."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", made.name):
        raise InvalidSetting(f"tool {made.name[:80]!r}: letters, digits, _ and - are wanted, at most 64")
    try:
        schema = inlined(made.parameters or {"type": "object", "properties": {}})
        if wrong := _wrong_schema(json.dumps(schema, sort_keys=True, default=str)):
            raise InvalidSetting(f"its schema is no JSON Schema: {wrong}")
    except InvalidSetting as error:
        raise InvalidSetting(f"tool {made.name!r}: {error}") from None
    if schema.get("type") != "object":
        raise InvalidSetting(f"tool {made.name!r}: its schema must be of type object, not {schema.get('type')!r}")
    return replace(made, parameters=schema)


@lru_cache(maxsize=256)
def _wrong_schema(schema: str) -> str:
    """What makes the JSON no JSON Schema; empty where it is one. Several plug-ins' tools take the same arguments."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        return str(error.message)[:200]
    return ""


def inlined(schema: Mapping[str, Any], *, root: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The schema without `$ref`. Raises InvalidSetting for one that refers to itself, to elsewhere, or is nested too deep."""
    whole = schema if root is None else root

    def walk(part: Any, inside: tuple[str, ...], depth: int) -> Any:
        if depth > DEEPEST * 2:
            raise InvalidSetting(f"its schema is nested more than {DEEPEST} levels deep; make it flatter")
        if isinstance(part, Mapping):
            if isinstance(ref := part.get("$ref"), str):
                if ref in inside:
                    raise InvalidSetting(f"its schema refers to itself at {ref}; the model cannot be offered it, make it flat")
                rest = {k: walk(v, inside, depth + 1) for k, v in part.items() if k != "$ref"}
                return {**walk(_at(whole, ref), (*inside, ref), depth + 1), **rest}
            return {k: walk(v, inside, depth + 1) for k, v in part.items() if k != "$defs" or depth}
        if isinstance(part, list | tuple):
            return [walk(v, inside, depth + 1) for v in part]
        return part

    result: dict[str, Any] = walk(schema, (), 0)
    return result


def _at(whole: Mapping[str, Any], ref: str) -> Any:
    if not ref.startswith("#/"):
        raise InvalidSetting(f"its schema refers to {ref[:100]!r}; only references inside the description are followed")
    part: Any = whole
    for step in ref[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(part, Mapping) or name not in part:
            raise InvalidSetting(f"its schema refers to {ref[:100]!r}, which does not exist")
        part = part[name]
    return part


def _untitled(part: Any) -> Any:
    """A schema without the titles that pydantic gives to everything: they tell the model nothing new."""
    if isinstance(part, Mapping):
        return {k: _untitled(v) for k, v in part.items() if not (k == "title" and isinstance(v, str))}
    return [_untitled(v) for v in part] if isinstance(part, list) else part


def toolbox(tools: Iterable[Tool]) -> dict[str, Tool]:
    """The tools by name. Raises InvalidSetting where two have the same."""
    box: dict[str, Tool] = {}
    for made in tools:
        if made.name in box:
            raise InvalidSetting(f"two tools are called {made.name!r}; rename one of them")
        box[made.name] = made
    return box


def read_arguments(made: Tool, raw: str) -> dict[str, Any]:
    """The arguments that the model wrote, checked against the schema. Raises ToolFailed with what to correct."""
    from jsonschema import Draft202012Validator

    try:
        data = json.loads(raw or "{}")
    except (ValueError, RecursionError):
        raise ToolFailed("the arguments are not JSON; write one JSON object") from None
    if not isinstance(data, dict):
        raise ToolFailed("the arguments must be one JSON object")
    errors = sorted(Draft202012Validator(made.parameters).iter_errors(data), key=lambda e: list(map(str, e.path)))
    if errors:
        where = ".".join(map(str, errors[0].path)) or "arguments"
        raise ToolFailed(f"{where}: {errors[0].message[:300]}")
    return data


def shown(result: object, *, hidden: Sequence[str] = ()) -> str:
    """A result as the model reads it: JSON or text, without credentials (those in `hidden`, and what looks like one), cut."""
    text = result if isinstance(result, str) else json.dumps(_plain(result), ensure_ascii=False, default=str)
    whole = len(text)
    text = text[: LARGEST_RESULT + 4000]
    for secret in hidden:
        if secret:
            text = text.replace(secret, "[redacted]")
    text = redact(text)[:LARGEST_RESULT]
    return text if whole <= LARGEST_RESULT else f"{text}\n[cut: {LARGEST_RESULT} of {whole} characters are shown]"


def _plain(value: object) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return value
