"""The parts that serve administrators, outside any conversation."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from assistant.parts.extensions import PluginParts

if TYPE_CHECKING:
    from assistant.access import Access
    from assistant.archive import Archive
    from assistant.audit import Audit
    from assistant.deadletters import DeadLetters
    from assistant.privacy import Privacy
    from assistant.signin import SignIn


class AdministrationParts(PluginParts):
    """Access, sign-in, archive, audit, privacy and dead letters."""

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
    def audit(self) -> Audit:
        """What administrators did."""
        from assistant.audit import Audit

        return Audit(self.table, tenant=self.settings.tenant, clock=self.clock)

    @cached_property
    def privacy(self) -> Privacy:
        """All that is known about one person."""
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
            gaps=self._gaps,
            erasers=[elsewhere],
            tenant=self.settings.tenant,
            searches_logs=bool(self.settings.log_search_stream),
        )

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """What could not be answered."""
        from assistant.deadletters import DeadLetters

        settings = self.settings
        return DeadLetters(settings.dead_letters_url, turns_url=settings.turns_queue_url, client=self.client("sqs"))
