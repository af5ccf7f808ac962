"""Plug-ins that are not trusted: each in a function and a role of its own, which can do what its manifest names and nothing else.

A manifest stands in the bundle beside the plug-in (`assistant plugin isolate` wrote it); the plug-in is never imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from constructs import Construct

from assistant.errors import InvalidSetting
from assistant.settings import Settings
from assistant.storage import key
from infra.bundle import Bundle
from infra.data import DataStack
from infra.deployment import Deployment, FunctionSize
from infra.functions import AssistantFunction, Layers

FILE: Final = "plugin"
"""The function's file, the same for all of them."""

BASE_MEGABYTES: Final = 192
"""What Python and the layers need before the plug-in begins."""

START_SECONDS: Final = 10
LONGEST_NAME: Final = 64
"""Characters of a function's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """As much of a manifest as a function is made of."""

    name: str
    seconds: float
    megabytes: int
    store: bool

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Apart:
        """What the manifest in decoded JSON says; raises InvalidSetting where it is none."""
        try:
            tools = [float(t.get("seconds", 20)) for t in data.get("tools", ())]
            return cls(
                name=str(data["name"]),
                seconds=max([float(data["seconds"]), *tools]),
                megabytes=int(data["megabytes"]),
                store=bool(data["permissions"]["store"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidSetting(f"a manifest of an isolated plug-in lacks {error}; run assistant plugin isolate") from None

    @property
    def size(self) -> FunctionSize:
        """Time and memory of its function."""
        timeout = min(900, round(self.seconds) + START_SECONDS)
        return FunctionSize(memory=min(10240, BASE_MEGABYTES + self.megabytes), timeout=timeout)


def apart(bundle: Bundle) -> Sequence[Apart]:
    """The isolated plug-ins in the bundle, in the order of their names."""
    folder = bundle.layer("plugins") / "python" / "assistant_plugins" / "_isolated"
    return [Apart.of(json.loads(p.read_text(encoding="utf-8"))) for p in sorted(folder.glob("*/manifest.json"))]


def prefix(deployment: Deployment) -> str:
    """What the names of their functions begin with."""
    return f"{deployment.prefix}-{FILE}-"


def name_of(deployment: Deployment, plugin: Apart) -> str:
    """What the function is called after the deployment's own prefix; raises InvalidSetting where Lambda would refuse it."""
    if len(whole := prefix(deployment) + plugin.name) > LONGEST_NAME:
        raise InvalidSetting(f"{whole} is longer than the {LONGEST_NAME} characters of a function's name; shorten the plug-in's")
    return f"{FILE}-{plugin.name}"


def add_isolated(
    scope: Construct,
    *,
    data: DataStack,
    deployment: Deployment,
    bundle: Bundle,
    layers: Layers,
    callers: Sequence[AssistantFunction],
) -> Sequence[AssistantFunction]:
    """A function for each isolated plug-in, which `callers` may invoke. They stand outside the network of the others."""
    made = []
    for plugin in apart(bundle):
        name = name_of(deployment, plugin)
        settings = Settings(
            stage=deployment.stage,
            tenant=deployment.tenant,
            table_name=data.table.table_name if plugin.store else "",
            log_level=deployment.log_level,
        )
        function = AssistantFunction(
            scope,
            name,
            deployment=replace(deployment, sizes={**deployment.sizes, name: plugin.size}),
            bundle=bundle,
            layers=layers,
            environment={**settings.to_env(), "PLUGIN": plugin.name},
            file=FILE,
        )
        if plugin.store:
            data.allow_room(function.role, key("X", deployment.tenant, plugin.name))
        for caller in callers:
            caller.allow("lambda:InvokeFunction", on=[function.alias.function_arn])
        made.append(function)
    return made
