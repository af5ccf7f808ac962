"""A plug-in with the office's forms, and an assistant that has it."""

from __future__ import annotations

from typing import Any

from assistant import BotPlugin, PluginContext, Reply
from assistant.assembly import Assistant
from assistant.plugins import Plugins, build
from tests.stories.office import FLOWS


class Office(BotPlugin):
    """Books rooms."""

    name = "office"
    flows = FLOWS

    def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> Reply:
        """A form that is whole."""
        return Reply(text=f"Done: {flow}.")


def with_office(assistant: Assistant) -> Assistant:
    """The assistant, which has the office's forms from now on."""
    assistant._plugins = Plugins([build(Office, {})], table=assistant.table, metrics=assistant.metrics)
    return assistant
