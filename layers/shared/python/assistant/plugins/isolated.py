"""Plug-ins that are not trusted: they run in a function of their own, and a stand-in with the same interface asks them.

    here: Isolated.handle_message(ctx, message) ──request──▶ there: host.Host.answer → the plug-in
          its tokens, letters and identity  ◀──"needs"──     (and once more from the start, with what it needs)

What the plug-in may use stands in a manifest that was written when it was installed and that a person has read; the code itself
is never imported here. Tokens and letters go through this side's doors, which look at that manifest; its store is the only part
of the table that the function's role can reach.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self

from pydantic import BaseModel, ConfigDict

from assistant.errors import AssistantError, InvalidSetting, ToolFailed, Unavailable
from assistant.invoke import FunctionBroke, invoke
from assistant.messages import Message, Reply, reply_from_json, to_json
from assistant.plugins.contract import BotPlugin, Event, MenuItem, Permissions, PluginContext, texts
from assistant.tools import Tool
from assistant.words import Words

FOLDER: Final = "_isolated"
"""Below the package of plug-ins: one folder each, with `plugin.py` and `manifest.json`."""

MOST_NEEDS: Final = 12
"""Things that one call may need from this side."""

COLD_SECONDS: Final = 12.0
"""What a function may take to start, which is not the plug-in's time."""


class Broke(AssistantError):
    """The plug-in failed there; `fatal` where it ended its process, or had to be stopped."""

    def __init__(self, reason: str, *, fatal: bool = False) -> None:
        super().__init__(reason)
        self.fatal = fatal


class Remote(Protocol):
    """Where isolated plug-ins run."""

    def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
        """The answer to a request. Raises Unavailable where nobody answers, Broke where the plug-in brought it down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoked:
    """Plug-ins in Lambda functions whose names begin with `prefix`. `client` makes a boto3 client of Lambda."""

    client: Callable[[], Any]
    prefix: str

    def call(self, plugin: str, request: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
        """The function's answer; its own time-out ends it."""
        try:
            return invoke(self.client(), f"{self.prefix}{plugin}:live", request)
        except FunctionBroke as error:
            raise Broke(str(error), fatal=True) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of a plug-in without running it."""

    name: str
    version: str
    api: str
    title: Words = ""
    about: Words = ""
    seconds: float = 5.0
    megabytes: int = 256
    permissions: Permissions = field(default_factory=Permissions)
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of its configuration."""
    tools: Sequence[Mapping[str, Any]] = ()
    methods: Sequence[str] | None = None
    """Which of the contract's methods it has: it is called for no other. None, as in older manifests: for all of them."""
    digest: str = ""
    """SHA-256 of the file that the rest was read from."""

    def to_json(self) -> str:
        """The manifest as it is kept beside the plug-in."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """The manifest in decoded JSON; raises InvalidSetting where it is none."""
        try:
            given = dict(data.get("permissions") or {})
            known = {f.name for f in fields(Permissions)}
            if unknown := sorted(set(given) - known):
                raise InvalidSetting(f"the manifest asks for the permission {unknown[0]!r}, which does not exist")
            allowed: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
            allowed["tokens"] = {p: tuple(scopes) for p, scopes in dict(given.get("tokens") or {}).items()}
            own = {f.name for f in fields(cls)}
            return cls(**{k: v for k, v in data.items() if k in own and k != "permissions"}, permissions=Permissions(**allowed))
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidSetting(f"it is no manifest of a plug-in: {error}; write it with assistant plugin isolate") from None


def manifests_in(root: Path) -> dict[str, Manifest]:
    """The manifests below `root`, by name of plug-in. Raises InvalidSetting for one that cannot be read."""
    found = {}
    for path in sorted((root / FOLDER).glob("*/manifest.json")):
        try:
            manifest = Manifest.of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, InvalidSetting) as error:
            raise InvalidSetting(f"{path}: {error}") from None
        if manifest.name != path.parent.name:
            raise InvalidSetting(f"{path} is about {manifest.name!r}; its folder must have that name")
        found[manifest.name] = manifest
    return found


class AnyConfig(BaseModel):
    """A configuration that is checked where the plug-in runs."""

    model_config = ConfigDict(extra="allow")


class Isolated(BotPlugin):
    """Stands in for a plug-in that runs elsewhere. Made by `stand_in`."""

    Config = AnyConfig
    manifest: ClassVar[Manifest]

    def __init__(self, config: Any, remote: Remote) -> None:
        super().__init__(config)
        self._remote = remote

    def configured(self, config: Mapping[str, Any]) -> Isolated:
        """The same with another configuration. Raises InvalidSetting where the plug-in does not take it, Unavailable."""
        answer = self._asked({"method": "check", "config": dict(config)})
        if "invalid" in answer:
            raise InvalidSetting(str(answer["invalid"]))
        return type(self)(AnyConfig.model_validate(dict(config)), self._remote)

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """The plug-in's reply."""
        return self._reply(self._ask(ctx, "handle_message", message=message))

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        """The plug-in's entries."""
        given = self._ask(ctx, "get_menu") or ()
        return [MenuItem(title=str(i["title"]), text=str(i["text"]), key=str(i.get("key", ""))) for i in given]

    def on_event(self, ctx: PluginContext, event: Event) -> None:
        """Tells the plug-in."""
        self._ask(ctx, "on_event", message=event.message)

    def get_tools(self) -> Sequence[Tool]:
        """The tools in the manifest."""
        return [self._tool(t) for t in self.manifest.tools]

    def _tool(self, told: Mapping[str, Any]) -> Tool:
        name = str(told["name"])

        def run(ctx: PluginContext, arguments: Mapping[str, Any]) -> Any:
            return self._ask(ctx, "tool", tool=name, arguments=dict(arguments))

        return Tool(
            name=name,
            description=str(told["description"]),
            parameters=told["parameters"],
            run=run,
            writes=bool(told.get("writes", True)),
            repeatable=bool(told.get("repeatable", False)),
            title=texts(told.get("title")),
            arguments={str(n): texts(t) for n, t in dict(told.get("arguments") or {}).items()},
            seconds=float(told.get("seconds", 20.0)),
        )

    def _reply(self, given: Any) -> Reply | None:
        return reply_from_json(given) if isinstance(given, Mapping) else None

    def _ask(self, ctx: PluginContext, method: str, *, message: Message | None = None, **more: Any) -> Any:
        """What the plug-in gives; asked again with what it turned out to need."""
        request: dict[str, Any] = {
            "method": method,
            "config": self.config.model_dump(),
            "around": {"language": ctx.language, "now": ctx.now.isoformat(), "key": ctx.key},
            "message": to_json(message or _message(ctx)),
            "secrets": dict(ctx._secrets),
            **more,
        }
        held: list[list[Any]] = []
        for _ in range(MOST_NEEDS):
            answer = self._asked({**request, "held": held})
            if "needs" in answer:
                held.append([answer["needs"], self._given(ctx, answer["needs"])])
            elif "failed" in answer:
                raise ToolFailed(str(answer["failed"])[:1000])
            elif "unavailable" in answer:
                raise Unavailable(str(answer["unavailable"])[:500])
            elif "fault" in answer:
                raise Broke(str(answer["fault"])[:500], fatal=bool(answer.get("fatal")))
            else:
                return answer.get("value")
        raise Broke(f"{method} needs more than {MOST_NEEDS} things from outside")

    def _asked(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._remote.call(self.name, request, seconds=_longest(self.manifest) + COLD_SECONDS)

    def _given(self, ctx: PluginContext, needs: Mapping[str, Any]) -> Any:
        """What the plug-in needs, through the doors of this side. Raises NotAllowed for what its manifest does not name."""
        match needs.get("what"):
            case "token":
                return ctx.token(str(needs["provider"]), tuple(needs["scopes"]), refused=str(needs.get("refused", "")))
            case "account":
                account = ctx.account(str(needs["provider"]))
                return {"id": account.id, "name": account.name, "ids": list(account.ids)}
            case "menu":
                return [asdict(item) for item in ctx.menu]
            case "attach":
                return asdict(ctx.attach(str(needs["name"]), b64decode(str(needs["content"]))))
            case "tell":
                reply = replace(reply_from_json(needs["reply"]), attachments=())
                where = {name: str(needs.get(name, "")) for name in ("platform", "conversation", "about")}
                ctx.tell(str(needs["user"]), reply, **where)
                return True
            case what:
                raise Broke(f"it asks for {what!r}, which there is not")


def _message(ctx: PluginContext) -> Message:
    """The place of a call that no message belongs to."""
    return Message(
        kind="menu",
        platform=ctx.platform,
        channel="",
        conversation=ctx.conversation,
        sender=ctx.user,
        dedup_id=ctx.key,
        direct=ctx.direct,
    )


def _longest(manifest: Manifest) -> float:
    """Seconds that the longest call of the plug-in may take."""
    return max([manifest.seconds, *(float(t.get("seconds", 20.0)) for t in manifest.tools)])


def stand_in(manifest: Manifest, remote: Remote, config: Mapping[str, Any]) -> Isolated:
    """The plug-in that `manifest` describes, as its neighbours see it."""
    made: type[Isolated] = type(
        f"Isolated_{manifest.name}",
        (Isolated,),
        {
            "title": texts(manifest.title),
            "about": texts(manifest.about),
            "name": manifest.name,
            "version": manifest.version,
            "api": manifest.api,
            "manifest": manifest,
            "permissions": manifest.permissions,
            "seconds": manifest.seconds,
            "megabytes": 0,  # it grows elsewhere
        },
    )
    return made(AnyConfig.model_validate(dict(config)), remote)
