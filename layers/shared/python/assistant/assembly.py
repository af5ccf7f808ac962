"""The only place that chooses concrete classes. Builds what is asked for, when it is asked for: the webhook function loads
intake, queue and one platform, and nothing else, so imports stand where they are used. Tests pass fakes by keyword."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assistant.errors import InvalidSetting, SendError
from assistant.observability import Metrics, RecordedMetrics, configure_logging, process_figures
from assistant.platforms import Platform, platform_class
from assistant.secrets import Secrets, StoredSecrets
from assistant.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from assistant.access import Access
    from assistant.answering import Answering, KnowledgeBase
    from assistant.archive import Archive
    from assistant.audience import Audiences
    from assistant.audit import Audit
    from assistant.budgets import Budgets
    from assistant.cache import Cache, Shared
    from assistant.charts import Charts
    from assistant.deadletters import DeadLetters
    from assistant.dialogue import Dialogue
    from assistant.doctor import Seen
    from assistant.figures import Source
    from assistant.files import Files
    from assistant.filing import Filings
    from assistant.growing import Step
    from assistant.handover import HandOvers
    from assistant.installing import Installations
    from assistant.intake import Intake
    from assistant.intents import Intents, Prepared
    from assistant.knowledge.service import Service
    from assistant.knowledge.vectors import Semantic
    from assistant.knowledge.versions import Served, Versions
    from assistant.llm import ChatModel
    from assistant.llm.guardrails import Guardrail
    from assistant.memory import Memory
    from assistant.messages import Message, Passage
    from assistant.nlu import Understander
    from assistant.notices import Letters, Notices
    from assistant.oauth.authorisation import Authorisations
    from assistant.opinions import Opinions
    from assistant.people import People
    from assistant.plugins import Plugins, Records, Remote
    from assistant.plugins.host import Host
    from assistant.privacy import Privacy
    from assistant.promotion import Promotion
    from assistant.queue import TurnQueue
    from assistant.rollout import Rollouts
    from assistant.safety import Guard
    from assistant.sessions import Sessions
    from assistant.signin import SignIn
    from assistant.silence import Reminders
    from assistant.storage import Bucket, Table
    from assistant.summaries import Summaries
    from assistant.thinking import Thinking
    from assistant.worker import Worker
    from assistant.workspaces import Workspaces
    from assistant.zones import Zones


class Assistant:
    """Everything one process needs, made from its settings on first use."""

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
        self._client = client or self._boto3
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

    # --- AWS ---

    def client(self, service: str) -> Any:
        """The boto3 client of `service`, one a process."""
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]

    def _boto3(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        # Short time-outs: the queue delivers the message again, rather than one slow call eating the function's time.
        config = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3})
        return boto3.client(service, region_name=self.settings.region, config=config)

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

    def _shared_cache(self) -> Shared:
        """The table, with a server of Valkey or Redis before it where one is set."""
        from assistant.cache import TableCache

        table = TableCache(self.table)
        if not self.settings.cache_url:
            return table
        from assistant.valkey import ServerCache, Valkey

        server = Valkey(self.settings.cache_url, region=self.settings.region)
        return ServerCache(server, table, prefix=f"{self.settings.stage}:")

    # --- the story ---

    def platform(self, name: str) -> Platform:
        """The platform called `name` with its secrets as they are now; raises Refused for an unknown one."""
        if name in self._given:
            return self._given[name]
        made = platform_class(name)
        secrets = self.secrets.get(name)
        known = self._platforms.get(name)
        if known is None or known[0] is not secrets:  # a rotated secret makes a new one
            platform = made(
                secrets,
                cache=None if self.settings.table_name == "" else self._lazy_cache(),
                clock=self.clock,
                replay_window=self.settings.replay_window_seconds,
                sleep=self._sleep,
            )
            platform.files = lambda: self.bucket
            platform.workspaces = lambda: self.workspaces
            self._platforms[name] = known = (secrets, platform)
        return known[1]

    def _lazy_cache(self) -> Cache:
        from assistant.cache import Cache

        return Cache(_LazyShared(self._shared_cache), clock=self.clock)

    def _renewed(self, platform: str) -> bool:
        """True where the platform's secret has been changed since it was read."""
        return isinstance(self.secrets, StoredSecrets) and self.secrets.renew(platform)

    @cached_property
    def sessions(self) -> Sessions:
        """Turns in the table."""
        from assistant.sessions import Sessions

        settings = self.settings
        return Sessions(self.table, history=settings.history_turns, retention_days=settings.retention_days, clock=self.clock)

    @cached_property
    def intake(self) -> Intake:
        """The first half of the story."""
        from assistant.intake import Intake

        return Intake(
            platform=self.platform,
            queue=lambda: self.queue,
            snapshots=lambda: self.sessions,
            metrics=self.metrics,
            renewed=self._renewed,
            tenant=self.settings.tenant,
            max_body_bytes=self.settings.max_body_bytes,
            clock=self.clock,
        )

    @cached_property
    def model(self) -> ChatModel:
        """The configured models, one after the other."""
        if self._model:
            return self._model
        return self._open_model(self.settings.model)

    def model_of(self, spec: str) -> ChatModel:
        """The model with that SPEC, opened once; the configured one for an empty SPEC."""
        if not spec:
            return self.model
        if spec not in self._models:
            self._models[spec] = self._open_model(spec)
        return self._models[spec]

    def _open_model(self, spec: str) -> ChatModel:
        from assistant.llm.models import open_model

        key = self.secrets.get("model").get("api_key") if "@" in spec else None
        return open_model(spec, region=self.settings.region, api_key=key, failed=self._passed_over)

    def _passed_over(self, model: str) -> None:
        from assistant.observability import MODEL_FAILOVERS

        self.metrics.emit((MODEL_FAILOVERS, 1), model=model)

    @cached_property
    def knowledge(self) -> KnowledgeBase:
        """The served version of the knowledge; until one is published, the product's own guides."""
        if self._knowledge:
            return self._knowledge
        from assistant.cache import Cache
        from assistant.knowledge.cached import CachedKnowledge
        from assistant.observability import RECALLED, SEARCHED

        # A search by words is quicker than the table; with an embedder each one costs a call, and Valkey is as quick.
        shared = self.settings.embedder or self.settings.cache_url
        cache = self.cache if shared else Cache(clock=self.clock)
        return CachedKnowledge(self.served, cache, count=lambda hit: self.metrics.emit((RECALLED if hit else SEARCHED, 1)))

    @cached_property
    def served(self) -> Served:
        """The version of the knowledge that answers come from, open."""
        import tempfile
        from pathlib import Path

        from assistant.knowledge.versions import Served

        folder = Path(self.settings.knowledge_folder or tempfile.gettempdir()) / "knowledge"
        return Served(self.knowledge_versions, folder, fallback=self._guides(folder), semantic=self.semantic)

    def _guides(self, folder: Path) -> Path:
        """The product's own guides as a knowledge file; their sources lead to where the page shows them."""
        from assistant.knowledge.default import PAGES_URL, default_file

        public = self.settings.public_url if self.settings.public_url.startswith("https://") else ""
        return default_file(folder, base_url=public + PAGES_URL)

    @cached_property
    def knowledge_versions(self) -> Versions:
        """The published versions of the knowledge, in the bucket."""
        from assistant.knowledge.versions import TableDesk, Versions
        from assistant.storage import Bucket

        tenant = self.settings.tenant
        bucket = Bucket(self.settings.bucket, client=self.client("s3"))
        return Versions(bucket, TableDesk(self.table, tenant=tenant, clock=self.clock), tenant=tenant, clock=self.clock)

    @cached_property
    def semantic(self) -> Semantic | None:
        """Search by meaning beside the search by words, where an embedder is set."""
        if not self.settings.embedder:
            return None
        import tempfile
        from pathlib import Path

        from assistant.knowledge.vectors import LocalVectors, S3Vectors, Semantic
        from assistant.llm.embedders import open_embedder

        key = self.secrets.get("model").get("api_key") if "@" in self.settings.embedder else None
        embedder = open_embedder(self.settings.embedder, region=self.settings.region, api_key=key)
        bucket, _, index = self.settings.vector_index.partition("/")
        if index:
            from botocore.exceptions import BotoCoreError, ClientError

            client = self.client("s3vectors")
            return Semantic(embedder, S3Vectors(client, bucket=bucket, index=index, failures=(BotoCoreError, ClientError)))
        folder = Path(self.settings.knowledge_folder or tempfile.gettempdir())
        return Semantic(embedder, LocalVectors(str(folder / "vectors.sqlite")))

    def _note_gap(self, question: str) -> None:
        """Counts a question that the knowledge could not answer, for its editors; never fails a turn."""
        from assistant.errors import AssistantError
        from assistant.knowledge.gaps import Gaps

        with suppress(AssistantError):
            Gaps(self.table, tenant=self.settings.tenant, clock=self.clock).note(question)

    @cached_property
    def knowledge_service(self) -> Service:
        """What editors do with the knowledge."""
        import tempfile
        from pathlib import Path

        from assistant.knowledge.default import FOLDER
        from assistant.knowledge.gaps import Gaps
        from assistant.knowledge.service import Service

        folder = Path(self.settings.knowledge_folder or tempfile.gettempdir()) / "knowledge"
        gaps = Gaps(self.table, tenant=self.settings.tenant, clock=self.clock)
        reads = self.settings.knowledge_facts == "yes" and self.settings.model.partition(":")[0] != "builtin"
        return Service(
            self.knowledge_versions,
            start=self._guides(folder),
            gaps=gaps,
            semantic=self.semantic,
            ask=self._ask if reads else None,
            unread_folders=frozenset({FOLDER}),
            directory=lambda name: self.platform(name).departments(),
            clock=self.clock,
        )

    def _ask(self, prompt: str) -> str:
        """The model's whole answer. Raises Unavailable, also where only the built-in engine is left, or ModelError."""
        from contextlib import closing

        from assistant.errors import Unavailable
        from assistant.llm import ChatMessage, ChatRequest, Done, TextDelta
        from assistant.observability import COMPLETION_TOKENS, PROMPT_TOKENS

        request = ChatRequest(
            system="You read documents and answer with JSON.",
            messages=(ChatMessage(role="user", text=prompt),),
            max_tokens=1000,
            temperature=0.0,
            seconds=60.0,
            tenant=self.settings.tenant,
        )
        text = ""
        with closing(self.model.stream(request)) as events:  # type: ignore[type-var]  # models give generators
            for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Done) and event.model != "builtin":
                    used = event.usage
                    self.metrics.emit((PROMPT_TOKENS, used.prompt), (COMPLETION_TOKENS, used.completion), model=event.model)
                    return text
        raise Unavailable("the model does not answer")

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
    def figures(self) -> Source:
        """How the rings fare."""
        from assistant.figures import CloudWatchFigures, ProcessFigures

        if self.settings.figures == "cloudwatch":
            return CloudWatchFigures(lambda: self.client("cloudwatch"))
        return ProcessFigures(self.metrics.timed if isinstance(self.metrics, RecordedMetrics) else ())

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

    @cached_property
    def access(self) -> Access:
        """Who may do what over HTTP."""
        from assistant.access import Access

        def page_key() -> str:
            return self.secrets.get("webchat").get("api_key", "")

        return Access(self.table, tenant=self.settings.tenant, page_key=page_key, clock=self.clock)

    @cached_property
    def sign_in(self) -> SignIn:
        """Who has signed in on the page with a company account."""
        from assistant.oauth.providers import Providers
        from assistant.signin import SignIn

        settings = self.settings
        return SignIn(
            self.table,
            providers=lambda: Providers(self.secrets, clock=self.clock),
            meter=self.access.meter,
            names=settings.sign_in,
            roles=settings.sign_in_roles,
            public_url=settings.public_url,
            tenant=settings.tenant,
            clock=self.clock,
        )

    @cached_property
    def archive(self) -> Archive:
        """Everybody's stored conversations, for administrators."""
        from assistant.archive import Archive

        return Archive(self.table, people=self.people, privacy=lambda: self.privacy, tenant=self.settings.tenant)

    @cached_property
    def charts(self) -> Charts:
        """What the page draws of the house's metrics."""
        from assistant.charts import Charts, CloudWatch, Local

        if self.settings.figures == "cloudwatch" and not isinstance(self.metrics, RecordedMetrics):
            return Charts(CloudWatch(lambda: self.client("cloudwatch")), clock=self.clock)
        return Charts(Local(self.metrics.timed if isinstance(self.metrics, RecordedMetrics) else ()), clock=self.clock)

    @cached_property
    def audit(self) -> Audit:
        """What administrators did."""
        from assistant.audit import Audit

        return Audit(self.table, tenant=self.settings.tenant, clock=self.clock)

    @cached_property
    def people(self) -> People:
        """Where each person has written."""
        from assistant.people import People

        settings = self.settings
        return People(self.table, retention_days=settings.retention_days, informs=bool(settings.consent), clock=self.clock)

    @cached_property
    def memory(self) -> Memory:
        """What people want remembered."""
        from assistant.memory import Memory

        return Memory(self.table, clock=self.clock)

    @cached_property
    def budgets(self) -> Budgets:
        """What may be spent on the model in a day."""
        from assistant.budgets import Budgets
        from assistant.llm.tokens import Prices

        settings = self.settings
        cost = Prices.from_json(settings.model_prices).cost
        return Budgets(self.table, cost=cost, timezone=settings.timezone, tenant=settings.tenant, clock=self.clock)

    @cached_property
    def summaries(self) -> Summaries:
        """What long conversations amount to."""
        from assistant.llm.tokens import open_counter
        from assistant.summaries import Summaries

        key = self.secrets.get("model").get("api_key") if "@" in self.settings.model else None
        count = open_counter(self.settings.model, api_key=key).count
        return Summaries(self.sessions, queue=lambda: self.queue, count=count, budget=self.settings.history_tokens)

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
    def zones(self) -> Zones:
        """People's time zones."""
        from assistant.zones import Zones

        return Zones(self.table)

    @cached_property
    def reminders(self) -> Reminders:
        """Who left a form open."""
        from assistant.silence import Reminders

        minutes = self.settings.reminder_minutes
        return Reminders(self.table, self.sessions, queue=lambda: self.queue, minutes=minutes, clock=self.clock)

    @cached_property
    def privacy(self) -> Privacy:
        """All that is known about one person."""
        from assistant.knowledge.gaps import Gaps
        from assistant.oauth.vault import Person
        from assistant.privacy import Privacy

        def elsewhere(tenant: str, platform: str, user: str) -> None:
            person = Person(tenant, platform, user)
            self.files.forget(tenant, platform, user)
            for grant in self.authorisations.vault.grants(person):
                self.authorisations.revoke(person, grant.provider)
            if self.settings.dead_letters_url:
                self.dead_letters.forget(platform, user)
            if platform == "webchat":
                self.sign_in.end_all(user)

        return Privacy(
            self.table,
            people=self.people,
            rooms=self.plugins.rooms,
            gaps=Gaps(self.table, tenant=self.settings.tenant, clock=self.clock),
            erasers=[elsewhere],
            tenant=self.settings.tenant,
            searches_logs=bool(self.settings.log_search_stream),
        )

    @cached_property
    def files(self) -> Files:
        """Files that answers carry."""
        from assistant.files import Files

        return Files(lambda: self.bucket, public_url=self.settings.public_url, clock=self.clock)

    @cached_property
    def notices(self) -> Notices:
        """The administrators' news."""
        from assistant.notices import Notices, administrators

        return Notices(
            self.table,
            people=administrators(self.settings.administrators),
            platform=self.platform,
            language=self.settings.language,
            clock=self.clock,
        )

    def _search_for(self, message: Message, question: str, limit: int) -> Sequence[Passage]:
        """What a plug-in finds for a message's author, and in a group for all who read along."""
        rights = self.audiences.of(message)
        found = self.knowledge.search(question, audience=rights.asker, limit=limit, listeners=rights.listeners)
        return found.passages if found.confident else ()

    @cached_property
    def letters(self) -> Letters:
        """What plug-ins write to people who have not asked."""
        from assistant.notices import Letters

        return Letters(platform=self.platform, sessions=self.sessions, tenant=self.settings.tenant, clock=self.clock)

    def _examine(self, language: str) -> str:
        from assistant import doctor

        return doctor.to_markdown(doctor.report(self), language=language)

    @cached_property
    def seen(self) -> Seen:
        """When each platform was last heard and answered."""
        from assistant.doctor import Seen

        return Seen(self.table, clock=self.clock)

    @cached_property
    def authorisations(self) -> Authorisations:
        """What people have allowed, and how they are asked."""
        from assistant.oauth.authorisation import Authorisations
        from assistant.oauth.envelope import Envelope
        from assistant.oauth.providers import Providers

        return Authorisations(
            table=self.table,
            envelope=Envelope(self.settings.kms_key_id, client=lambda: self.client("kms"), clock=self.clock),
            providers=Providers(self.secrets, clock=self.clock),
            queue=lambda: self.queue,
            public_url=self.settings.public_url,
            tenant=self.settings.tenant,
            clock=self.clock,
            metrics=self.metrics,
        )

    @cached_property
    def workspaces(self) -> Workspaces:
        """The further workspaces in which Slack's app is installed."""
        from assistant.workspaces import Workspaces

        return Workspaces(
            "slack", self.table, lambda: self.authorisations.envelope, tenant=self.settings.tenant, clock=self.clock
        )

    @cached_property
    def installations(self) -> Installations:
        """How Slack's app gets into further workspaces."""
        from assistant.installing import Installations
        from assistant.platforms.slack import NEEDED, USEFUL

        return Installations(
            table=self.table,
            workspaces=self.workspaces,
            authorisations=self.authorisations,
            scopes=sorted({*NEEDED, *USEFUL}),
            public_url=self.settings.public_url,
            clock=self.clock,
        )

    @cached_property
    def plugins(self) -> Plugins:
        """The plug-ins that the settings name; one that cannot be used is refused with its reason."""
        import json

        from assistant.plugins import Loaded, Plugins, find, find_isolated, stand_in

        if self._plugins is not None:
            return self._plugins
        found, isolated = find(), find_isolated()
        configs = json.loads(self.settings.plugin_configs or "{}")
        wanted = [n.strip() for n in self.settings.plugins.split(",") if n.strip()]
        chosen = found if wanted == ["*"] else {n: found[n] for n in wanted if n in found}
        apart = [m for n, m in isolated.items() if wanted == ["*"] or n in wanted]
        missing = [n for n in wanted if n != "*" and n not in found and n not in isolated]
        plugins = Plugins.load(
            chosen,
            configs,
            records=self.plugin_records,
            table=self.table,
            secrets=self.secrets.get,
            metrics=self.metrics,
            tenant=self.settings.tenant,
            authority=lambda: self.authorisations,
            files=lambda: self.files,
            tell=lambda: self.letters,
            search=self._search_for,
        )
        for manifest in apart:
            plugins.add(stand_in(manifest, self._remote, configs.get(manifest.name, {})))
        for name in missing:
            known = ", ".join([*found, *isolated])
            plugins.refuse(Loaded(name=name, state="refused", reason=f"there is no such plug-in; known: {known}"))
        return plugins

    @cached_property
    def plugin_records(self) -> Records:
        """What all instances know of plug-ins."""
        from assistant.plugins import Records

        return Records(self.table, tenant=self.settings.tenant, clock=self.clock)

    @cached_property
    def _remote(self) -> Remote:
        """Where isolated plug-ins run."""
        from assistant.plugins import Confined, Invoked, find_isolated, plugin_folder

        if prefix := self.settings.plugin_functions:
            return Invoked(client=lambda: self.client("lambda"), prefix=prefix)
        return Confined(plugin_folder(), find_isolated(), table=self.table, tenant=self.settings.tenant)

    def plugin_host(self, name: str) -> Host:
        """The isolated plug-in called `name`, run in this process; raises InvalidSetting where there is none."""
        from assistant.plugins import plugin_folder
        from assistant.plugins.host import host_of
        from assistant.plugins.isolated import FOLDER

        return host_of(plugin_folder() / FOLDER / name, table=self.table, tenant=self.settings.tenant)

    @property
    def understander(self) -> Understander | None:
        """What tells the plug-ins' intents apart; None where they declare none."""
        if self._understands is None or self._understands[0] != self.plugins.edition:
            self._understands = self.plugins.edition, self._learned()
        return self._understands[1]

    def _learned(self) -> Understander | None:
        """Learned at the deployment, or else by whoever needs it first."""
        return self.intents.understander(self._examples())

    def _examples(self) -> list[tuple[str, str]]:
        from assistant.flows import Flows

        return Flows(self.plugins.flows).examples()

    @cached_property
    def intents(self) -> Intents:
        """What was learned from examples."""
        from assistant.intents import Intents
        from assistant.storage import Bucket

        def bucket() -> Bucket | None:
            return Bucket(self.settings.bucket, client=self.client("s3")) if self.settings.bucket else None

        return Intents(bucket)

    def learn(self) -> Prepared:
        """Learns the plug-ins' intents where that was not done before, so that no function has to."""
        return self.intents.prepare(self._examples())

    @cached_property
    def answering(self) -> Answering:
        """Knowledge, model and tools behind one question."""
        from assistant.answering import Answering
        from assistant.llm.tokens import Prices

        prices = Prices.from_json(self.settings.model_prices)
        return Answering(
            models=self.model_of,
            knowledge=self.knowledge,
            metrics=self.metrics,
            guard=self.guard,
            gap=self._note_gap,
            cost=lambda model, usage: float(prices.cost(model, usage)),
            clock=self.clock,
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
            prompts=self.rollouts.prompt,
            clock=self.clock,
        )

    @cached_property
    def opinions(self) -> Opinions:
        """What people think of answers."""
        from assistant.knowledge.gaps import Gaps
        from assistant.opinions import Opinions

        def gaps() -> Gaps:
            return Gaps(self.table, tenant=self.settings.tenant, clock=self.clock)

        return Opinions(sessions=self.sessions, gaps=gaps, metrics=self.metrics)

    @cached_property
    def filings(self) -> Filings:
        """What people want in the knowledge."""
        from assistant.filing import Filings
        from assistant.notices import administrators

        return Filings(
            service=lambda: self.knowledge_service,
            shelf=lambda: self.served,
            platform=self.platform,
            audiences=self.audiences,
            editors=administrators(self.settings.editors),
            administrators=administrators(self.settings.administrators),
            clock=self.clock,
        )

    @cached_property
    def audiences(self) -> Audiences:
        """Who may see what."""
        from assistant.audience import Audiences

        def ring(message: Message) -> str:
            found, _ = self.rollouts.ring_of(message, looking=True)
            return found.name if found else ""

        return Audiences(platform=self.platform, ring=ring, needed=self.knowledge.kinds, clock=self.clock)

    @cached_property
    def dialogue(self) -> Dialogue:
        """The second half of the story."""
        from assistant.busy import SKEW
        from assistant.dialogue import Dialogue
        from assistant.growing import PATIENCE
        from assistant.rollout import MEMORIES
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
    def dead_letters(self) -> DeadLetters:
        """What could not be answered."""
        from assistant.deadletters import DeadLetters

        settings = self.settings
        return DeadLetters(settings.dead_letters_url, turns_url=settings.turns_queue_url, client=self.client("sqs"))

    @cached_property
    def guard(self) -> Guard:
        """What looks at the model's answers."""
        from assistant.safety import Guard, redactions

        settings = self.settings
        return Guard(
            tenant=settings.tenant,
            hosts=settings.link_hosts.split(","),
            redacts=redactions(settings.redact_answers),
            moderator=self._moderator(),
        )

    def _moderator(self) -> Guardrail | None:
        if not self.settings.guardrail:
            return None
        from assistant.llm.guardrails import Guardrail

        return Guardrail(self.settings.guardrail, client=lambda: self.client("bedrock-runtime"))

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


class _LazyShared:
    """The table as a cache's shared level, without a client until the first use: the webhook function may never need one."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def assemble(settings: Settings, **given: Any) -> Assistant:
    """The assistant for `settings`; `given` replaces parts by keyword, as tests do."""
    return Assistant(settings, **given)


def start(service: str, env: Mapping[str, str]) -> Assistant:
    """The assistant of a function's process, told by its environment; logs go to standard output from now on."""
    settings = Settings.from_env(env)
    pretty = settings.log_format == "pretty"
    configure_logging(settings.log_level, pretty=pretty)
    kept = RecordedMetrics(service=service, timed=process_figures(), prints=not pretty) if settings.figures == "process" else None
    return Assistant(settings, service=service, metrics=kept or (RecordedMetrics() if pretty else None))
