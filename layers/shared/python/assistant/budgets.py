"""What people may spend a day on the model, in tokens and in money: each person, and each ring as a whole.

| item | pk | sk |
|---|---|---|
| a person's day | `U#tenant#platform#user` | `spent#<day>` |
| a ring's day | `SPENT#tenant#ring` | the day |

Nothing is counted, and nothing costs a call, where a ring sets no limit. With a limit, a turn that a model answered costs one
small write for each thing that is limited, and what comes back is what the next turn is judged by; a turn without a model costs
none.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo

from assistant.errors import Unavailable
from assistant.storage import Item, Table, key

if TYPE_CHECKING:
    from assistant.llm import Usage
    from assistant.messages import Message
    from assistant.rollout.rings import Ring

KEPT_SECONDS: Final = 20
"""What others have spent meanwhile is looked at after this long."""
MOST_KNOWN: Final = 2_000
KEPT_DAYS: Final = 400
MILLION: Final = 1_000_000


class Budgets:
    """Counts and judges. Safe to use from several threads."""

    def __init__(
        self,
        table: Table,
        *,
        cost: Callable[[str, Usage], Decimal],
        timezone: str = "UTC",
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._cost = cost
        self._zone = ZoneInfo(timezone)
        self._tenant = tenant
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[int, int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def reached(self, message: Message, ring: Ring) -> Literal["", "person", "ring"]:
        """Whose limit is reached today; empty: nobody's. Raises Unavailable where the table has to be asked and does not tell."""
        if (ring.person_tokens or ring.person_money) and self._over(self._person(message), ring.person_tokens, ring.person_money):
            return "person"
        if (ring.tokens or ring.money) and self._over(self._ring(ring), ring.tokens, ring.money):
            return "ring"
        return ""

    def spend(self, message: Message, ring: Ring, *, model: str, usage: Usage) -> None:
        """Counts what a model has used, whatever becomes of its answer."""
        tokens = usage.prompt + usage.completion
        if not tokens:
            return
        micros = int(self._cost(model, usage) * MILLION)
        try:
            if ring.person_tokens or ring.person_money:
                self._count(self._person(message), tokens, micros)
            if ring.tokens or ring.money:
                self._count(self._ring(ring), tokens, micros)
        except Unavailable:  # the answer is there: it is given, rather than paid for a second time
            return

    def _over(self, where: tuple[str, str], tokens: int, money: float) -> bool:
        with self._lock:
            known = self._known.get(where)
        if known is None or self._clock() - known[2] >= KEPT_SECONDS:
            known = self._keep(where, self._table.get(*where, consistent=False) or {})
        return bool((tokens and known[0] >= tokens) or (money and known[1] >= money * MILLION))

    def _count(self, where: tuple[str, str], tokens: int, micros: int) -> None:
        ends = int(self._clock()) + KEPT_DAYS * 86400
        self._keep(where, self._table.update(*where, {"expires": ends}, add={"tokens": tokens, "micros": micros}))

    def _keep(self, where: tuple[str, str], item: Item) -> tuple[int, int, float]:
        known = (int(item.get("tokens") or 0), int(item.get("micros") or 0), self._clock())
        with self._lock:
            self._known[where] = known
            self._known.move_to_end(where)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return known

    def _person(self, message: Message) -> tuple[str, str]:
        return key("U", message.tenant, message.platform, message.sender), f"spent#{self._day()}"

    def _ring(self, ring: Ring) -> tuple[str, str]:
        return key("SPENT", self._tenant, ring.name), self._day()

    def _day(self) -> str:
        return datetime.fromtimestamp(self._clock(), self._zone).date().isoformat()
