"""What strangers wrote, read with care: decoded JSON is looked at field by field, and every field may be anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assistant.errors import Refused

Object = Mapping[str, Any]
"""Decoded JSON: `Any` because each field is checked where it is read."""


def json_object(text: str | bytes, what: str) -> Object:
    """The JSON object in `text`; raises Refused for anything else, naming `what` it stands in."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(f"{what} is not JSON in UTF-8") from None
    if not isinstance(data, dict):
        raise Refused(f"{what} is not a JSON object")
    return data


# --- by value ---


def object_of(value: Any) -> Object:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: Any) -> list[Any]:
    """`value` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """`value` as text: a string or a whole number, "" for anything else."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


# --- by name ---


def text_at(data: Object, *path: str) -> str:
    """The string at the end of `path`, "" where there is none."""
    found: Any = data
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def object_at(data: Object, name: str) -> Object:
    """The object under `name`, an empty one where there is none."""
    return object_of(data.get(name))


def list_at(data: Object, name: str) -> list[Any]:
    """The list under `name`, an empty one where there is none."""
    return list_of(data.get(name))


def objects_at(data: Object, name: str) -> list[Object]:
    """The objects in the list under `name`."""
    return [found for found in list_at(data, name) if isinstance(found, Mapping)]
