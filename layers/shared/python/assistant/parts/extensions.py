"""The parts that a company adds."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from assistant.parts.knowledge import KnowledgeParts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.intents import Intents, Prepared
    from assistant.messages import Message, Passage
    from assistant.nlu import Understander
    from assistant.plugins import Plugins, Remote
    from assistant.plugins.host import Host


class PluginParts(KnowledgeParts):
    """Plug-ins, those that run apart, and the intents that are learned from their examples."""

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

    def _search_for(self, message: Message, question: str, limit: int) -> Sequence[Passage]:
        """What a plug-in finds for a message's author, and in a group for all who read along."""
        rights = self.audiences.of(message)
        found = self.knowledge.search(question, audience=rights.asker, limit=limit, listeners=rights.listeners)
        return found.passages if found.confident else ()

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

        return Intents(lambda: self.bucket if self.settings.bucket else None)

    def learn(self) -> Prepared:
        """Learns the plug-ins' intents where that was not done before, so that no function has to."""
        return self.intents.prepare(self._examples())
