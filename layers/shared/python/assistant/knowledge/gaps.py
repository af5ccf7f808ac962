"""What people asked and did not get, and which passages helped: the editors' list.

| item of the table | pk | sk |
|---|---|---|
| unanswered question | `G#tenant` | its words' digest |
| feedback on a passage | `B#tenant` | the passage's id |
| the last look at all web pages | `B#tenant` | `~pages` |
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from assistant.knowledge.text import COMMON, cut
from assistant.storage import Table, key

KEPT_DAYS: Final = 90
LONGEST: Final = 500
MOST_PAGES: Final = 200
PAGES: Final = "~pages"


class Gaps:
    """Counts questions that found nothing good enough, and feedback. One call to the table for each."""

    def __init__(self, table: Table, *, tenant: str, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._pk = key("G", tenant)
        self._feedback = key("B", tenant)
        self._clock = clock

    def note(self, question: str, *, certainty: float = 0.0) -> None:
        """Counts the question; the same words in another order or with other small words count as the same."""
        text = " ".join(question.split())[:LONGEST]
        if not text:
            return
        now = self._clock()
        self._table.update(
            self._pk,
            _digest(text),
            {"question": text, "asked": now, "certainty": round(certainty, 3), "expires": int(now) + KEPT_DAYS * 86400},
            add={"count": 1},
        )

    def open(self, *, limit: int = 200) -> list[dict[str, Any]]:
        """The open gaps, most asked first."""
        items = self._table.query(self._pk, consistent=False)
        gaps = [
            {"id": i["sk"], "question": i["question"], "count": i["count"], "asked": i["asked"], "certainty": i["certainty"]}
            for i in items
        ]
        return sorted(gaps, key=lambda g: (-float(g["count"] or 0), -float(g["asked"] or 0)))[:limit]

    def close(self, gap: str) -> None:
        """Takes a gap off the list."""
        self._table.delete(self._pk, gap)

    def withdraw(self, question: str) -> bool:
        """Takes a gap off the list where it stands there in just these words, because its author is being erased."""
        text = " ".join(question.split())[:LONGEST]
        item = self._table.get(self._pk, _digest(text)) if text else None
        if item is None or item.get("question") != text:
            return False
        self._table.delete(self._pk, _digest(text))
        return True

    def feedback(self, passage: str, *, good: bool, instead: bool = False) -> None:
        """Counts a thumb up or down for a passage that an answer cited; `instead`: the same person had thought the opposite."""
        new, old = ("good", "bad") if good else ("bad", "good")
        self._table.update(self._feedback, key(passage), {"passage": passage}, add={new: 1} | ({old: -1} if instead else {}))

    def judged(self) -> list[dict[str, Any]]:
        """Passages with feedback, the worst first."""
        items = self._table.query(self._feedback, consistent=False)
        found = [(int(i.get("good") or 0), int(i.get("bad") or 0), str(i["passage"])) for i in items if "passage" in i]
        return [
            {"passage": passage, "good": good, "bad": bad}
            for good, bad, passage in sorted(found, key=lambda f: (f[0] - f[1], f[2]))
        ]

    def note_refresh(self, report: Mapping[str, Any]) -> None:
        """Keeps what the last look at all web pages gave: what changed, and what could not be fetched."""
        body = json.dumps(
            {"changed": report["added"][:MOST_PAGES], "refused": report["refused"][:MOST_PAGES]}, ensure_ascii=False
        )
        self._table.put({"pk": self._feedback, "sk": PAGES, "at": self._clock(), "body": body})

    def refreshed(self) -> dict[str, Any]:
        """When all web pages were last looked at, which had changed, and which could not be fetched, with the reason."""
        item = self._table.get(self._feedback, PAGES, consistent=False)
        return {"at": item["at"], **json.loads(str(item["body"]))} if item else {}


def _digest(text: str) -> str:
    words = sorted({w for w in cut(text) if w not in COMMON}) or [text]
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()[:32]
