"""What one process has of its surroundings: settings, clock, metrics, and clients of AWS with what lies behind them."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from assistant.observability import Metrics, RecordedMetrics, configure_logging, process_figures
from assistant.secrets import StoredSecrets
from assistant.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from botocore.config import Config
    from botocore.session import Session

    from assistant.answering import KnowledgeBase
    from assistant.cache import Cache, Shared
    from assistant.growing import Step
    from assistant.llm import ChatModel
    from assistant.nlu import Understander
    from assistant.platforms import Platform
    from assistant.plugins import Plugins
    from assistant.queue import TurnQueue
    from assistant.secrets import Secrets
    from assistant.storage import Bucket, Table


def aws_config() -> Config:
    """How every client of AWS calls.

    Short time-outs: the queue delivers the message again, rather than one slow call eating the function's time. An own name:
    botocore puts its long one together anew for each request, which takes a sixth of the whole call.
    """
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 3}
    return Config(connect_timeout=2, read_timeout=8, retries=retries, user_agent="workplace-assistant")


class Resources:
    """Settings, clock, metrics and clients, and whatever the caller gave in place of what would be made."""

    def __init__(
        self,
        settings: Settings,
        *,
        service: str = "assistant",
        secrets: Secrets | None = None,
        client: Callable[[str], Any] | None = None,
        model: ChatModel | None = None,
        knowledge: KnowledgeBase | None = None,
        platforms: Mapping[str, Platform] | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        step: Step = lambda name: None,
        patience: float | None = None,
        skew: float | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._sleep = sleep
        self.metrics = metrics or Metrics(service=service)
        self._client = client or self._new_client
        self._clients: dict[str, Any] = {}
        self._secrets = secrets
        self._model = model
        self._knowledge = knowledge
        self._platforms: dict[str, tuple[Mapping[str, str], Platform]] = {}
        self._given = platforms or {}
        self._step = step
        self._patience = patience
        self._skew = skew
        self._plugins = plugins
        self._models: dict[str, ChatModel] = {}
        self._understands: tuple[int, Understander | None] | None = None

    @classmethod
    def start(cls, service: str, env: Mapping[str, str]) -> Self:
        """What a function's process needs, told by its environment; logs go to standard output from now on."""
        settings = Settings.from_env(env)
        pretty = settings.log_format == "pretty"
        configure_logging(settings.log_level, pretty=pretty)
        metrics: Metrics | None = RecordedMetrics() if pretty else None
        if settings.figures == "process":
            metrics = RecordedMetrics(service=service, timed=process_figures(), prints=not pretty)
        return cls(settings, service=service, metrics=metrics)

    def client(self, service: str) -> Any:
        """AWS's client of `service`, one a process."""
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]

    def _new_client(self, service: str) -> Any:
        return self._sdk.create_client(service, region_name=self.settings.region, config=aws_config())

    @cached_property
    def _sdk(self) -> Session:
        """botocore, whose clients boto3 hands out: what boto3 adds to them, resources and transfers of files, is used nowhere in
        a function, and would be a tenth of every cold start."""
        from botocore.session import get_session

        return get_session()

    @cached_property
    def secrets(self) -> Secrets:
        """Secrets Manager, or what the caller gave."""
        return self._secrets or StoredSecrets(
            self.settings.secrets_prefix, client=lambda: self.client("secretsmanager"), clock=self.clock
        )

    @cached_property
    def table(self) -> Table:
        """The one table."""
        from assistant.storage import Table

        return Table(self.settings.table_name, client=self.client("dynamodb"))

    @cached_property
    def bucket(self) -> Bucket:
        """Documents, versions of the knowledge, and what people send on our own page."""
        from assistant.storage import Bucket

        return Bucket(self.settings.bucket, client=self.client("s3"))

    @cached_property
    def queue(self) -> TurnQueue:
        """The queue of messages to answer."""
        from assistant.queue import TurnQueue

        return TurnQueue(self.settings.turns_queue_url, client=self.client("sqs"))

    @cached_property
    def cache(self) -> Cache:
        """Memory before what all instances share."""
        from assistant.cache import Cache

        return Cache(self._shared_cache(), clock=self.clock)

    def _lazy_cache(self) -> Cache:
        from assistant.cache import Cache

        return Cache(_LazyShared(self._shared_cache), clock=self.clock)

    def _shared_cache(self) -> Shared:
        """The table, with a server of Valkey or Redis before it where one is set."""
        from assistant.cache import TableCache

        table = TableCache(self.table)
        if not self.settings.cache_url:
            return table
        from assistant.valkey import ServerCache, Valkey

        server = Valkey(self.settings.cache_url, region=self.settings.region)
        return ServerCache(server, table, prefix=f"{self.settings.stage}:")


class _LazyShared:
    """The table as a cache's shared level, without a client until the first use: the webhook function may never need one."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)
