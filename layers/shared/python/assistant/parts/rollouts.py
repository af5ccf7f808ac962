"""The parts that decide who is served."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from assistant.errors import SendError
from assistant.observability import RecordedMetrics
from assistant.parts.channels import ChannelParts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.charts import Charts
    from assistant.figures import Source
    from assistant.messages import Message
    from assistant.plugins import Records
    from assistant.promotion import Promotion
    from assistant.rollout import Rollouts


class RolloutParts(ChannelParts):
    """Rings, the figures by which they are judged, the plan that promotes, and what is known of plug-ins."""

    @cached_property
    def rollouts(self) -> Rollouts:
        """Who is served."""
        from assistant.rollout import Rollouts

        def belongs(message: Message) -> Sequence[str]:
            try:
                return self.platform(message.platform).belongs(message.sender)
            except SendError as error:
                self.notices.about(error, message.platform)  # a missing permission is for an administrator to mend
                raise

        records = self.plugin_records
        return Rollouts(self.table, tenant=self.settings.tenant, clock=self.clock, belongs=belongs, beside=records.hear)

    @cached_property
    def plugin_records(self) -> Records:
        """What all instances know of plug-ins."""
        from assistant.plugins import Records

        return Records(self.table, tenant=self.settings.tenant, clock=self.clock)

    @cached_property
    def figures(self) -> Source:
        """How the rings fare."""
        from assistant.figures import CloudWatchFigures, ProcessFigures

        if self.settings.figures == "cloudwatch":
            return CloudWatchFigures(lambda: self.client("cloudwatch"))
        return ProcessFigures(self.metrics.timed if isinstance(self.metrics, RecordedMetrics) else ())

    @cached_property
    def charts(self) -> Charts:
        """What the page draws of the house's metrics."""
        from assistant.charts import Charts, CloudWatch, Local

        if self.settings.figures == "cloudwatch" and not isinstance(self.metrics, RecordedMetrics):
            return Charts(CloudWatch(lambda: self.client("cloudwatch")), clock=self.clock)
        return Charts(Local(self.metrics.timed if isinstance(self.metrics, RecordedMetrics) else ()), clock=self.clock)

    @cached_property
    def promotion(self) -> Promotion:
        """The plan that promotes by itself."""
        from assistant.promotion import Promotion
        from assistant.queue import waiting

        return Promotion(
            self.rollouts,
            self.figures,
            waiting=lambda: waiting(self.settings.turns_queue_url, client=self.client("sqs")),
            tell=self.notices.tell,
            language=self.settings.language,
            clock=self.clock,
        )
