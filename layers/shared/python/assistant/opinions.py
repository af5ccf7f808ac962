"""What people think of an answer: two buttons below it, counted for the passages that it rests on.

An opinion stands in the turn that it is about, one for each person, so that it is erased with it; the other way round counts
instead of the first. Nobody is named in what the editors see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from assistant.messages import Button, Message, Reply
from assistant.observability import DISLIKED, LIKED, Metrics
from assistant.sessions import Sessions, Turn
from assistant.words import say

if TYPE_CHECKING:
    from assistant.knowledge.gaps import Gaps
    from assistant.platforms import Platform

HELPFUL: Final = "opinion.good"
UNHELPFUL: Final = "opinion.bad"
"""Keys of the buttons; their value is the sort key of the turn."""


class Opinions:
    """Asks for opinions and counts them."""

    def __init__(self, *, sessions: Sessions, gaps: Callable[[], Gaps], metrics: Metrics) -> None:
        self._sessions = sessions
        self._gaps = gaps
        self._metrics = metrics

    def asked(self, reply: Reply, message: Message, platform: Platform, *, turn: str, language: str) -> Reply:
        """`reply` with the two buttons, where it names sources and the platform shows buttons quietly."""
        if not reply.sources or reply.buttons or (reply.private and not message.direct) or not platform.asks_opinions(message):
            return reply
        good = Button(text=say("opinion_good", language), key=HELPFUL, value=turn)
        bad = Button(text=say("opinion_bad", language), key=UNHELPFUL, value=turn)
        return replace(reply, buttons=(good, bad))

    def hear(self, message: Message, platform: Platform, *, ring: str, language: str) -> Reply | None:
        """The answer to a click on one of the buttons; None for everything else. The card shows the choice, no words follow."""
        if message.kind != "card_action" or message.action_key not in (HELPFUL, UNHELPFUL):
            return None
        self._count(message, str(message.action_value or ""), good=message.action_key == HELPFUL, ring=ring)
        return Reply(text=say("opinion_thanks", language), silent=not platform.pulls)

    def hear_native(self, message: Message, platform: Platform, *, ring: str) -> None:
        """Counts an opinion that the platform itself asks for and tells in its own way."""
        turns: list[Turn] = []

        def asked() -> list[str]:
            turns.extend(self._sessions.recall(message).turns)
            return [t.message_id for t in turns if t.message_id]

        if said := platform.opinion(message, asked):
            about, good = said
            self._count(message, next(t.sk for t in turns if t.message_id == about), good=good, ring=ring)

    def _count(self, message: Message, turn: str, *, good: bool, ring: str) -> None:
        about, before = self._sessions.judge(message, turn, good=good)
        if about is None or about.reply is None or before == good:
            return
        for source in about.reply.sources:
            if source.passage:
                self._gaps().feedback(source.passage, good=good, instead=before is not None)
        self._metrics.emit((LIKED if good else DISLIKED, 1), of_ring=ring)
