"""One isolated plug-in, in a function and a role of its own: answers what its stand-in in the dialogue asks."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from assistant.parts.extensions import PluginParts
from assistant.starting import ahead, unswept

if TYPE_CHECKING:
    from assistant.plugins.host import Host


@cache
def host() -> Host:
    """This process's plug-in."""
    with unswept():
        return PluginParts.start("plugin", os.environ).plugin_host(os.environ["PLUGIN"])


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The answer to one request."""
    return host().answer(event)


ahead(os.environ, host)
