"""What strangers wrote, read with care: decoded JSON is looked at field by field, and every field may be anything."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

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


def leads_to(url: str, hosts: Collection[str], domains: tuple[str, ...], *, gateway: str = "") -> bool:
    """Whether `url` may be sent a secret: https at one of `hosts` or below one of `domains` (each with its dot), on the usual
    port and without a user; or an address at `gateway`, the one that is configured in the vendor's place."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return False
    if parts.username or parts.password:
        return False
    if gateway and (parts.scheme, parts.netloc) == urlsplit(gateway)[:2]:
        return True
    return parts.scheme == "https" and port in (None, 443) and (host in hosts or host.endswith(domains))


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
