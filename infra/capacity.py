"""What limits first, from a number of people up: demand against each quota of AWS. Imports no CDK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infra.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit as AWS hands it out in us-east-1, and where it stands."""

    name: str
    limit: float
    unit: str
    raised: str
    """What to do about it; says "fixed" where AWS does not raise it."""
    source: str


_DOCS = "https://docs.aws.amazon.com/"
API: Final = Quota(
    "API Gateway requests", 10_000, "requests/s", "ask for more", f"{_DOCS}apigateway/latest/developerguide/limits.html"
)
QUEUE: Final = Quota(
    "SQS FIFO sends",
    70_000,
    "messages/s",
    "ask for more, or send in batches",
    f"{_DOCS}AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html",
)
MAPPING: Final = Quota(
    "copies for one event source",
    1_000,
    "turns at once",
    "leave max_concurrency unset, or one queue for a share of the tenants",
    f"{_DOCS}lambda/latest/dg/services-sqs-scaling.html",
)
FUNCTIONS: Final = Quota(
    "functions at once",
    1_000,
    "executions",
    "ask for more (tens of thousands)",
    f"{_DOCS}lambda/latest/dg/gettingstarted-limits.html",
)
WRITES: Final = Quota(
    "table writes", 40_000, "units/s", "ask for more", f"{_DOCS}amazondynamodb/latest/developerguide/ServiceQuotas.html"
)
READS: Final = Quota(
    "table reads", 40_000, "units/s", "ask for more", f"{_DOCS}amazondynamodb/latest/developerguide/ServiceQuotas.html"
)
PARTITION: Final = Quota(
    "writes to one conversation",
    1_000,
    "units/s",
    "fixed",
    f"{_DOCS}amazondynamodb/latest/developerguide/bp-partition-key-design.html",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How people use the assistant. Every figure is an assumption to be replaced by a measured one."""

    users: int
    messages_a_day: float = 5
    """Of one person on a working day of eight hours."""
    peak: float = 5
    """The busiest minute against the mean of the day."""
    webhook_seconds: float = 0.03
    turn_seconds: float = 2.5
    writes: float = 3
    reads: float = 2

    @property
    def rate(self) -> float:
        """Messages a second in the busiest minute."""
        return self.users * self.messages_a_day / (8 * 3600) * self.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of a quota a load uses."""

    quota: Quota
    demand: float
    limit: float
    """The quota, or the deployment's own setting where that is lower."""

    @property
    def share(self) -> float:
        """1 is all of it."""
        return self.demand / self.limit


def uses(load: Load, deployment: Deployment) -> Sequence[Use]:
    """Every quota with its use, the fullest first."""
    turns = load.rate * load.turn_seconds
    found = [
        Use(quota=API, demand=load.rate, limit=min(API.limit, deployment.api_rate)),
        Use(quota=QUEUE, demand=load.rate, limit=QUEUE.limit),
        Use(quota=MAPPING, demand=turns, limit=min(MAPPING.limit, deployment.concurrent_turns)),
        Use(quota=FUNCTIONS, demand=turns + load.rate * load.webhook_seconds, limit=FUNCTIONS.limit),
        Use(quota=WRITES, demand=load.rate * load.writes, limit=WRITES.limit),
        Use(quota=READS, demand=load.rate * load.reads, limit=READS.limit),
        Use(quota=PARTITION, demand=load.writes / load.turn_seconds, limit=PARTITION.limit),
    ]
    return sorted(found, key=lambda use: -use.share)
