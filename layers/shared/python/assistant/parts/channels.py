"""The parts by which messages come in and go out."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from assistant.parts.resources import Resources
from assistant.platforms import platform_class
from assistant.secrets import StoredSecrets

if TYPE_CHECKING:
    from typing import Self

    from assistant.doctor import Seen
    from assistant.files import Files
    from assistant.installing import Installations
    from assistant.intake import Intake
    from assistant.notices import Letters, Notices
    from assistant.oauth.authorisation import Authorisations
    from assistant.people import People
    from assistant.platforms import Platform
    from assistant.sessions import Sessions
    from assistant.workspaces import Workspaces


class ChannelParts(Resources):
    """Platforms with their workspaces and authorisations, intake, turns, people, files, news and letters."""

    def ready(self) -> Self:
        """Itself, with all that each of its events needs. Nothing is called for it."""
        self.client("secretsmanager")
        self.client("sqs")
        return self

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

    def _renewed(self, platform: str) -> bool:
        """True where the platform's secret has been changed since it was read."""
        return isinstance(self.secrets, StoredSecrets) and self.secrets.renew(platform)

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
    def sessions(self) -> Sessions:
        """Turns in the table."""
        from assistant.sessions import Sessions

        settings = self.settings
        return Sessions(self.table, history=settings.history_turns, retention_days=settings.retention_days, clock=self.clock)

    @cached_property
    def people(self) -> People:
        """Where each person has written."""
        from assistant.people import People

        settings = self.settings
        return People(self.table, retention_days=settings.retention_days, informs=bool(settings.consent), clock=self.clock)

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
        from assistant.platforms.slack_doctor import NEEDED, USEFUL

        return Installations(
            table=self.table,
            workspaces=self.workspaces,
            authorisations=self.authorisations,
            scopes=sorted({*NEEDED, *USEFUL}),
            public_url=self.settings.public_url,
            clock=self.clock,
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

    @cached_property
    def letters(self) -> Letters:
        """What plug-ins write to people who have not asked."""
        from assistant.notices import Letters

        return Letters(platform=self.platform, sessions=self.sessions, tenant=self.settings.tenant, clock=self.clock)
