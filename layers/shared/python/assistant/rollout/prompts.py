"""Versions of the prompt: what a company adds to the assistant's own instructions, ring by ring."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from assistant.errors import InvalidSetting
from assistant.observability import log
from assistant.storage import Conflict, Item, Table, key

logger = logging.getLogger(__name__)

LONGEST_PROMPT: Final = 20_000


class Prompts:
    """Versions of the prompt in the table; none ever changes."""

    def __init__(self, table: Table, *, tenant: str, clock: Callable[[], float]) -> None:
        self._table = table
        self._pk = key("PROMPTS", tenant)
        self._clock = clock
        self._read: dict[str, str] = {}

    def text(self, name: str) -> str:
        """The text of a version; "" for an empty name. Read once in a process: a version never changes."""
        if name and name not in self._read:
            item = self._table.get(self._pk, name, consistent=False)
            if item is None:
                log(logger, logging.ERROR, "a ring names a version of the prompt that does not exist", event_reason=name)
                return ""
            self._read[name] = str(item["body"])
        return self._read.get(name, "")

    def add(self, name: str, text: str, *, who: str) -> None:
        """Keeps a version for good. Raises InvalidSetting where the name is taken."""
        from assistant.rollout.checks import check_name

        check_name(name)
        if not text.strip() or len(text) > LONGEST_PROMPT:
            raise InvalidSetting(f"the prompt has {len(text)} characters; between 1 and {LONGEST_PROMPT:,} are taken")
        item: Item = {"pk": self._pk, "sk": name, "body": text, "who": who, "at": int(self._clock())}
        try:
            self._table.put(item, condition="attribute_not_exists(#pk)")
        except Conflict as met:
            if str(met.item.get("body")) == text:
                return
            raise InvalidSetting(f"prompt {name!r} exists and never changes; choose another name, such as {name}-2") from met

    def all(self) -> list[dict[str, Any]]:
        """Every version: name, text, who added it and when (Unix seconds)."""
        items = self._table.query(self._pk)
        return [{"name": i["sk"], "text": i["body"], "who": i.get("who", ""), "at": int(i.get("at") or 0)} for i in items]
