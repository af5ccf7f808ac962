"""The whole assistant: the conversation, made of everything in `parts`. Tests pass fakes by keyword."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from assistant.errors import AssistantError, InvalidSetting
from assistant.parts.administration import AdministrationParts

if TYPE_CHECKING:
    from typing import Self

    from assistant.answering import Answering
    from assistant.dialogue import Dialogue
    from assistant.handover import HandOvers
    from assistant.memory import Memory
    from assistant.silence import Reminders
    from assistant.summaries import Summaries
    from assistant.thinking import Thinking
    from assistant.worker import Worker
    from assistant.zones import Zones


class Assistant(AdministrationParts):
    """Everything one process needs, made from its settings on first use."""

    def ready(self) -> Self:
        """Itself, with all that a plain turn needs, the served knowledge among it, where there is one."""
        import httpx  # noqa: F401  # models and vendors are called with it

        from assistant.platforms import markdown  # noqa: F401  # most platforms' answers are written with it

        for part in ("worker", "model"):
            getattr(self, part)  # made by being asked for
        with suppress(AssistantError):
            self.knowledge.kinds()
        return self

    @cached_property
    def dialogue(self) -> Dialogue:
        """The second half of the story."""
        from assistant.busy import SKEW
        from assistant.dialogue import Dialogue
        from assistant.growing import PATIENCE
        from assistant.rollout.rings import MEMORIES
        from assistant.showing import Showing

        if (scope := self.settings.memory_scope) not in MEMORIES:
            raise InvalidSetting(f"MEMORY_SCOPE={scope!r} is not known; known: {', '.join(MEMORIES)}")
        return Dialogue(
            sessions=self.sessions,
            platform=self.platform,
            queue=lambda: self.queue,
            thinking=self.thinking,
            showing=Showing(metrics=self.metrics, notices=self.notices, files=lambda: self.files, step=self._step),
            handovers=self.handovers,
            metrics=self.metrics,
            models=self.model_of,
            rollouts=self.rollouts,
            seen=self.seen.note,
            guard=self.guard,
            clock=self.clock,
            people=self.people,
            budgets=self.budgets,
            summaries=self.summaries,
            reminders=self.reminders,
            zones=self.zones,
            memory_scope=scope,
            consent=self.settings.consent,
            step=self._step,
            patience=PATIENCE if self._patience is None else self._patience,
            skew=SKEW if self._skew is None else self._skew,
            answer_seconds=self.settings.answer_seconds,
        )

    @cached_property
    def worker(self) -> Worker:
        """The dialogue behind an SQS batch."""
        from assistant.worker import Worker

        return Worker(
            dialogue=self.dialogue,
            client=lambda: self.client("sqs"),
            queue_url=self.settings.turns_queue_url,
            dead_letters_url=self.settings.dead_letters_url,
            metrics=self.metrics,
        )

    @cached_property
    def thinking(self) -> Thinking:
        """What a message is answered with."""
        from assistant.thinking import Thinking

        return Thinking(
            answering=self.answering,
            models=self.model_of,
            platform=self.platform,
            metrics=self.metrics,
            plugins=self.plugins,
            understander=lambda: self.understander,
            timezone=self.settings.timezone,
            notices=self.notices,
            examine=self._examine,
            consents=lambda: self.authorisations,
            table=self.table,
            memory=self.memory,
            budgets=self.budgets,
            summaries=self.summaries,
            handovers=self.handovers,
            own_zones=self.zones,
            audiences=self.audiences,
            filings=lambda: self.filings,
            opinions=self.opinions,
            prompts=self.rollouts.prompts.text,
            clock=self.clock,
        )

    @cached_property
    def answering(self) -> Answering:
        """Knowledge, model and tools behind one question."""
        from assistant.answering import Answering

        prices = self._prices
        return Answering(
            models=self.model_of,
            knowledge=self.knowledge,
            metrics=self.metrics,
            guard=self.guard,
            gap=self._note_gap,
            cost=lambda model, usage: float(prices.cost(model, usage)),
            clock=self.clock,
        )

    def _examine(self, language: str) -> str:
        from assistant import doctor

        return doctor.to_markdown(doctor.report(self), language=language)

    @cached_property
    def summaries(self) -> Summaries:
        """What long conversations amount to."""
        from assistant.llm.tokens import open_counter
        from assistant.summaries import Summaries

        count = open_counter(self.settings.model, api_key=self._model_key(self.settings.model)).count
        return Summaries(self.sessions, queue=lambda: self.queue, count=count, budget=self.settings.history_tokens)

    @cached_property
    def memory(self) -> Memory:
        """What people want remembered."""
        from assistant.memory import Memory

        return Memory(self.table, clock=self.clock)

    @cached_property
    def handovers(self) -> HandOvers:
        """Persons in place of the assistant."""
        from assistant.handover import HandOvers, desks_of

        desks_of(self.settings.hand_over)  # a mistake is told at the start
        return HandOvers(
            self.table,
            queue=lambda: self.queue,
            platform=self.platform,
            desks=self.settings.hand_over,
            rings=lambda: self.rollouts.current()[0].rings,
            language=self.settings.language,
            tenant=self.settings.tenant,
            clock=self.clock,
        )

    @cached_property
    def reminders(self) -> Reminders:
        """Who left a form open."""
        from assistant.silence import Reminders

        minutes = self.settings.reminder_minutes
        return Reminders(self.table, self.sessions, queue=lambda: self.queue, minutes=minutes, clock=self.clock)

    @cached_property
    def zones(self) -> Zones:
        """People's time zones."""
        from assistant.zones import Zones

        return Zones(self.table)
