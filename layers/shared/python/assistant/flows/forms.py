"""What a flow asks for, as a pydantic model: which question belongs to a field, what may answer it, what the checks say.

class RoomBooking(BaseModel):
    room: Annotated[Literal["sun", "moon"], Ask({"en": "Which room?", "zh-CN": "哪间会议室？"})]
    time: Annotated[Span, Ask({"en": "When?", "zh-CN": "什么时间？"})]
    people: Annotated[int, Field(ge=1, le=20), Ask({"en": "For how many?", "zh-CN": "几个人？"})]
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from assistant.errors import InvalidSetting
from assistant.messages import JSON
from assistant.slots import Choice, Kind, Money, Person, SlotType, Span
from assistant.words import Words, say, spoken


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that may be chosen: its label and other ways to say it."""

    label: Words
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """How a field is asked for: `Annotated[date, Ask("Which day?")]`."""

    question: Words
    name: Words = ""
    """What the field is called in a summary and in "change the …"; empty: the field's own name."""
    why: Words = ""
    """The answer to "why do you ask?"."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """Labels of a Literal's or an Enum's values."""
    words: tuple[str, ...] = ()
    """Other names people give the field."""
    kind: Kind | None = None
    """What is looked for where the type alone does not say: "email" or "text" for a `str`."""
    find: Callable[[str], str] | None = None
    """For a `str`: the value that a sentence holds without being asked for it, empty where it holds none."""
    length: timedelta | None = None
    """For a `Span`: how long it is where only its beginning is said."""


Email = Annotated[str, Ask("", kind="email")]
"""A field that holds an e-mail address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One field of a form."""

    name: str
    ask: Ask
    kind: Kind
    values: tuple[str, ...] = ()
    """The values of a choice."""
    required: bool = True

    def title(self, language: str) -> str:
        """What the field is called."""
        return spoken(self.ask.name, language) or self.name.replace("_", " ")

    def names(self) -> tuple[str, ...]:
        """All the names people may use for the field, in every language."""
        named = self.ask.name
        own = (named,) if isinstance(named, str) else tuple(named.values())
        return tuple({*(n for n in own if n), *self.ask.words, self.name.replace("_", " ")})

    def type(self, language: str = "en") -> SlotType:
        """What `assistant.slots` should look for."""
        choices = tuple(self._choice(value, language) for value in self.values)
        return SlotType(kind=self.kind, choices=choices, length=self.ask.length)

    def label(self, value: str, language: str) -> str:
        """What a choice is called."""
        option = self.ask.options.get(value)
        return spoken(option.label, language) if option else value.replace("_", " ")

    def _choice(self, value: str, language: str) -> Choice:
        option = self.ask.options.get(value)
        if option is None:
            return Choice(value)
        labels = (option.label,) if isinstance(option.label, str) else tuple(option.label.values())
        return Choice(value, self.label(value, language), (*labels, *option.words))


_KINDS: dict[type, Kind] = {
    date: "date",
    datetime: "datetime",
    time: "time",
    timedelta: "duration",
    int: "integer",
    float: "number",
    Decimal: "number",
    bool: "yes_no",
    str: "text",
    Span: "span",
    Money: "money",
    Person: "person",
}


def slots_of(form: type[BaseModel]) -> tuple[Slot, ...]:
    """The fields of `form` in order; raises InvalidSetting for a field that nobody could answer in a chat."""
    return tuple(_slot(form, name, info) for name, info in form.model_fields.items())


def _slot(form: type[BaseModel], name: str, info: FieldInfo) -> Slot:
    asks = [item for item in info.metadata if isinstance(item, Ask)]
    ask = next((item for item in reversed(asks) if item.question or item.name), None) or Ask(info.description or "")
    kind = next((item.kind for item in asks if item.kind), None)
    bare = _bare(info.annotation)
    values: tuple[str, ...] = ()
    if get_origin(bare) is Literal:
        values, kind = tuple(str(v) for v in get_args(bare)), "choice"
    elif isinstance(bare, type) and issubclass(bare, enum.Enum):
        values, kind = tuple(str(member.value) for member in bare), "choice"
    elif kind is None:
        kind = _KINDS.get(bare) if isinstance(bare, type) else None
    if kind is None:
        raise InvalidSetting(
            f"{form.__name__}.{name} is a {info.annotation}; use one of {', '.join(t.__name__ for t in _KINDS)} or a Literal"
        )
    if info.is_required() and not ask.question:
        raise InvalidSetting(f"{form.__name__}.{name} has no question; annotate it with Ask(…)")
    return Slot(name=name, ask=ask, kind=kind, values=values, required=info.is_required())


def _bare(annotation: Any) -> Any:  # Any: annotations are whatever the author wrote
    """The annotation without `| None` and `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _bare(parts[0]) if len(parts) == 1 else annotation
    return annotation


def to_plain(value: object) -> JSON:
    """A slot's value as JSON; `checked` reads it back."""
    plain: JSON = to_jsonable_python(value)
    return plain


def problems(form: type[BaseModel], values: Mapping[str, JSON], language: str) -> dict[str, str]:
    """What is wrong with `values`, by field ("" where it is about several of them); what is missing is not wrong."""
    try:
        form.model_validate(dict(values))
    except ValidationError as error:
        return {
            str(item["loc"][0]) if item["loc"] else "": _explained(item["type"], item.get("ctx") or {}, item["msg"], language)
            for item in error.errors(include_url=False, include_input=False)
            if item["type"] != "missing"
        }
    return {}


_LIMITS = {
    "greater_than_equal": ("flow_at_least", "ge"),
    "greater_than": ("flow_more_than", "gt"),
    "less_than_equal": ("flow_at_most", "le"),
    "less_than": ("flow_less_than", "lt"),
    "string_too_long": ("flow_too_long", "max_length"),
    "string_too_short": ("flow_too_short", "min_length"),
}


def _explained(kind: str, details: Mapping[str, Any], message: str, language: str) -> str:  # Any: pydantic's own details
    if kind in _LIMITS:
        key, name = _LIMITS[kind]
        return say(key, language, limit=details.get(name, ""))
    if kind == "value_error":  # raised by the author of the form, in the author's words
        error = details.get("error")
        if isinstance(error, Unfit):
            return spoken(error.words, language)
        return str(error) if error else message
    return say("flow_unfit", language)


class Unfit(ValueError):
    """Raised by a form's validator to refuse a value with words for each language."""

    def __init__(self, words: Words) -> None:
        super().__init__(spoken(words, "en"))
        self.words = words
