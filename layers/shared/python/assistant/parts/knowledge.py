"""The parts that know, and that know who may see what."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from assistant.errors import AssistantError
from assistant.parts.models import ModelParts
from assistant.parts.rollouts import RolloutParts

if TYPE_CHECKING:
    from pathlib import Path

    from assistant.answering import KnowledgeBase
    from assistant.audience import Audiences
    from assistant.filing import Filings
    from assistant.knowledge.gaps import Gaps
    from assistant.knowledge.service import Service
    from assistant.knowledge.vectors import Semantic
    from assistant.knowledge.versions import Served, Versions
    from assistant.messages import Message
    from assistant.opinions import Opinions


class KnowledgeParts(RolloutParts, ModelParts):
    """The served version, search by meaning, audiences, and what editors and askers do about the knowledge."""

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
        from assistant.knowledge.versions import Served

        folder = self._folder / "knowledge"
        return Served(self.knowledge_versions, folder, fallback=self._guides, semantic=self.semantic)

    def _guides(self) -> Path:
        """The product's own guides as a knowledge file; their sources lead to where the page shows them."""
        from assistant.knowledge.default import PAGES_URL, default_file

        public = self.settings.public_url if self.settings.public_url.startswith("https://") else ""
        return default_file(self._folder / "knowledge", base_url=public + PAGES_URL)

    @cached_property
    def _folder(self) -> Path:
        """Where this process keeps what it has fetched or derived."""
        import tempfile
        from pathlib import Path

        return Path(self.settings.knowledge_folder or tempfile.gettempdir())

    @cached_property
    def knowledge_versions(self) -> Versions:
        """The published versions of the knowledge, in the bucket."""
        from assistant.knowledge.versions import TableDesk, Versions

        tenant = self.settings.tenant
        return Versions(self.bucket, TableDesk(self.table, tenant=tenant, clock=self.clock), tenant=tenant, clock=self.clock)

    @cached_property
    def semantic(self) -> Semantic | None:
        """Search by meaning beside the search by words, where an embedder is set."""
        if not self.settings.embedder:
            return None
        from assistant.knowledge.vectors import LocalVectors, S3Vectors, Semantic
        from assistant.llm.embedders import open_embedder

        spec = self.settings.embedder
        embedder = open_embedder(spec, region=self.settings.region, api_key=self._model_key(spec))
        bucket, _, index = self.settings.vector_index.partition("/")
        if index:
            from botocore.exceptions import BotoCoreError, ClientError

            client = self.client("s3vectors")
            return Semantic(embedder, S3Vectors(client, bucket=bucket, index=index, failures=(BotoCoreError, ClientError)))
        return Semantic(embedder, LocalVectors(str(self._folder / "vectors.sqlite")))

    @cached_property
    def knowledge_service(self) -> Service:
        """What editors do with the knowledge."""
        from assistant.knowledge.default import FOLDER
        from assistant.knowledge.service import Service

        reads = self.settings.knowledge_facts == "yes" and self.settings.model.partition(":")[0] != "builtin"
        return Service(
            self.knowledge_versions,
            start=self._guides,
            gaps=self._gaps,
            semantic=self.semantic,
            ask=self._ask if reads else None,
            unread_folders=frozenset({FOLDER}),
            directory=lambda name: self.platform(name).departments(),
            clock=self.clock,
        )

    @cached_property
    def _gaps(self) -> Gaps:
        """Questions that the knowledge could not answer."""
        from assistant.knowledge.gaps import Gaps

        return Gaps(self.table, tenant=self.settings.tenant, clock=self.clock)

    def _note_gap(self, question: str) -> None:
        """Counts a question that the knowledge could not answer, for its editors; never fails a turn."""
        with suppress(AssistantError):
            self._gaps.note(question)

    @cached_property
    def audiences(self) -> Audiences:
        """Who may see what."""
        from assistant.audience import Audiences

        def ring(message: Message) -> str:
            found, _ = self.rollouts.ring_of(message, looking=True)
            return found.name if found else ""

        return Audiences(platform=self.platform, ring=ring, needed=self.knowledge.kinds, clock=self.clock)

    @cached_property
    def opinions(self) -> Opinions:
        """What people think of answers."""
        from assistant.opinions import Opinions

        return Opinions(sessions=self.sessions, gaps=lambda: self._gaps, metrics=self.metrics)

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
