"""Each person's time zone: what they have said themselves, else what their platform tells, else the company's.

| item | pk | sk |
|---|---|---|
| the zone that somebody chose | `U#tenant#platform#user` | `zone` |

A turn keeps the zone that its author chose, so the next one in that conversation costs no call; the item is read with the first
turn of somebody in a conversation.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from assistant.messages import Message
from assistant.storage import Table, key

_WISH = re.compile(
    r"/?(?:time\s?zone|tz|时区)\s*+[:：是为]?\s*+(?P<zone>[\w+\-/]+)?"
    r"|(?:my time\s?zone is|我的时区是|把时区(?:设为|改成|改为))\s*+(?P<said>[\w+\-/]+)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[A-Za-z_]+(?:/[A-Za-z0-9_+\-]+)+|UTC|GMT")


def known(zone: str) -> str:
    """`zone` where it is an IANA zone, else empty."""
    if not _NAMED.fullmatch(zone):
        return ""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ""
    return zone


def wished(text: str) -> str | None:
    """What somebody wants their zone to be; empty where they only ask for it, None where the text is about something else."""
    found = _WISH.fullmatch(text.strip(" .!?。！？"))
    return (found["zone"] or found["said"] or "") if found else None


class Zones:
    """Zones in the table. Raises Unavailable where it does not answer."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def chosen(self, message: Message) -> str:
        """The zone that the sender chose; empty where they chose none."""
        item = self._table.get(_partition(message), "zone", consistent=False)
        return known(str(item.get("zone") or "")) if item else ""

    def choose(self, message: Message, zone: str) -> None:
        """Keeps the sender's choice."""
        self._table.put({"pk": _partition(message), "sk": "zone", "zone": zone})


def _partition(message: Message) -> str:
    return key("U", message.tenant, message.platform, message.sender)
