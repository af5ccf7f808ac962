"""Somebody who went silent in the middle of a form is reminded once.

| item | pk | sk |
|---|---|---|
| a form that was left open | `DUE#<shard>` | `<Unix second, 12 digits>#<turn>` |

The turn that leaves a form open notes when its person is to be reminded; no other turn costs a call. A schedule looks at what is
due, queues a message of kind `silence` into the lane of the conversation where nothing was said since, and removes what it has
looked at. That message is a turn like any other: its key is made of the turn it belongs to, so the reminder is given once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from assistant.messages import Message, message_from_json, to_json
from assistant.queue import TurnQueue
from assistant.sessions import Session, Sessions, Turn
from assistant.storage import Table, key

SHARDS: Final = 4
"""Partitions that what is due is spread over: each takes a thousand a second."""

MOST: Final = 500
"""Reminders in one look and shard; what is left comes with the next look."""

KEPT_SECONDS: Final = 7 * 86400
"""A schedule that stood still for longer reminds nobody of what they have forgotten."""


class Reminders:
    """Notes what was left open, and looks at it. `minutes`: the silence after which a person is reminded; 0: never."""

    def __init__(
        self,
        table: Table,
        sessions: Sessions,
        *,
        queue: Callable[[], TurnQueue],
        minutes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._sessions = sessions
        self._queue = queue
        self._seconds = minutes * 60
        self._clock = clock

    def note(self, message: Message, turn: Turn) -> None:
        """Notes that `turn` leaves a form open. One write; written again it is the same."""
        if not self._seconds:
            return
        due = int(self._clock()) + self._seconds
        reminder = replace(
            message,
            kind="silence",
            text="",
            quoted="",
            proof="",
            file_key="",
            file_name="",
            action_key="",
            action_value=None,
            menu_key="",
            untimed=False,
            reply_to=turn.sk,
            dedup_id=turn.id,
            sent_at=due * 1000,
            locale=message.locale,
        )
        body = json.dumps({"pk": turn.pk, "turn": turn.sk, "message": json.loads(to_json(reminder))}, ensure_ascii=False)
        self._table.put({"pk": _shard(turn.id), "sk": f"{due:012d}#{turn.id}", "body": body, "expires": due + KEPT_SECONDS})

    def look(self) -> dict[str, int]:
        """Queues the reminders that are due; gives how many were queued and how many were needless."""
        now = int(self._clock())
        done = {"reminded": 0, "needless": 0}
        for shard in range(SHARDS):
            pk = key("DUE", str(shard))
            for item in self._table.query(pk, before=f"{now + 1:012d}", limit=MOST):
                body = json.loads(str(item["body"]))
                newest = self._sessions.newest(body["pk"])
                if newest == body["turn"]:
                    self._queue().publish([message_from_json(json.dumps(body["message"]))])
                    done["reminded"] += 1
                else:
                    done["needless"] += 1
                self._table.delete(pk, str(item["sk"]))
        return done


def is_still(message: Message, session: Session) -> bool:
    """Whether nothing was said since the turn that `message` reminds of."""
    return bool(session.turns) and session.turns[-1].sk == message.reply_to


def _shard(turn: str) -> str:
    return key("DUE", str(int(turn[:8], 16) % SHARDS))
