"""What a company adds: the plug-in contract, loading with versions checked, and a fence around every call.

A plug-in that is written for another contract is not loaded; one that raises, hangs or grows is stopped, counted and, after
`FAULTS` faults, left out until it is restored. The others, and the turn, go on.
"""

from __future__ import annotations

import inspect
import json
import logging
import pkgutil
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.errors import AssistantError, InvalidSetting, NeedsAuthorisation, ToolFailed, Unavailable
from assistant.messages import JSON, Message, Reply
from assistant.observability import PLUGIN_FAULTS, Metrics, log
from assistant.settings import PLUGIN_API
from assistant.storage import Table, key
from assistant.tools import Tool, checked_tool, read_arguments, shown, toolbox, tools_in

logger = logging.getLogger(__name__)

FAULTS: Final = 3
"""Faults after which a plug-in is left out."""

MENU: Final = "menu"
"""Key of a menu entry's button; its value is the text that the entry stands for."""

LARGEST_VALUE: Final = 100_000
"""Characters of JSON that one stored value of a plug-in may have."""

LISTING_FACTOR: Final = 4
"""A plug-in has this many times its `seconds` to say which tools it offers: it may have to ask a server."""

LONGEST_REPLY: Final = 30_000
"""Characters of a plug-in's reply that are shown."""

T = TypeVar("T")


class NotAllowed(AssistantError):
    """A plug-in used what its permissions do not name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What a plug-in may use. Enforced: what is not named here is not there."""

    platforms: tuple[str, ...] = ()
    """Names of platforms whose messages it is offered; empty: all."""
    secrets: tuple[str, ...] = ()
    """Fields of the secret `plugin-{name}` that it may read."""
    store: bool = False
    """Whether it may keep values in the table, in a room of its own."""
    personal: tuple[str, ...] = ()
    """Names of stored values that are about one person, with `{user}` and `{platform}` in them; one that ends in `*` is for all
    names that begin so. They are given and erased with everything else about that person."""
    tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Providers at which it may act as the person who asks, and the scopes that it may use there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuItem:
    """An entry of the menu and of the help: choosing it is as if the person had written `text`."""

    title: str
    text: str
    key: str = ""
    """What a platform's own menu sends; the `text` where it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened: `bot_added`, `bot_removed`, `entered`, `menu`, `card_action`, `recalled`, `edited` or `other`."""

    kind: str
    message: Message


class Store:
    """Values that a plug-in keeps, in a room that no other plug-in can enter."""

    def __init__(self, table: Table | None, room: str) -> None:
        self._table = table
        self._room = room

    def get(self, name: str, default: JSON = None) -> JSON:
        """The value kept under `name`, `default` where there is none."""
        item = self._open().get(self._room, name)
        return default if item is None else json.loads(str(item["body"]))

    def put(self, name: str, value: JSON, *, days: int = 365) -> None:
        """Keeps `value` under `name` for `days`."""
        body = json.dumps(value, ensure_ascii=False)
        if len(body) > LARGEST_VALUE:
            raise NotAllowed(f"value {name!r} has {len(body)} characters; at most {LARGEST_VALUE} can be kept")
        self._open().put({"pk": self._room, "sk": name, "body": body, "expires": int(time.time()) + days * 86400})

    def delete(self, name: str) -> None:
        """Forgets the value."""
        self._open().delete(self._room, name)

    def _open(self) -> Table:
        if self._table is None:
            raise NotAllowed("this plug-in may keep nothing; declare Permissions(store=True)")
        return self._table


class Authority(Protocol):
    """What gives a plug-in the asker's own authority."""

    def token(self, message: Message, provider: str, scopes: Sequence[str] = ()) -> str:
        """The asker's access token. Raises NeedsAuthorisation where there is none."""

    def account(self, message: Message, provider: str) -> Any:
        """Who the asker is there: `id`, `name`, `ids`. Raises NeedsAuthorisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginContext:
    """What surrounds a call: who asks, where, when, and what the plug-in may use."""

    language: str
    """`en` or `zh-CN`: the language to answer in."""
    now: datetime
    """Aware, in the configured time zone."""
    user: str
    """The platform's id of the person."""
    platform: str
    conversation: str
    direct: bool
    """True in a one-to-one chat."""
    key: str
    """The same for every delivery of the message: an idempotency key for whatever the plug-in does elsewhere."""
    store: Store
    menu: tuple[MenuItem, ...] = ()
    """The entries of all plug-ins."""
    _secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    _as_asker: Callable[[str, str, tuple[str, ...]], Any] | None = field(default=None, repr=False)

    def token(self, provider: str, scopes: Sequence[str] = ()) -> str:
        """The asker's own access token at `provider`, with `scopes` (empty: all that the permissions name).

        Where the asker has not allowed it yet, the call ends here: they are asked privately, and once they have allowed it the
        same message comes again by itself. Raises NotAllowed for what the permissions do not name.
        """
        result: str = self._ask("token", provider, tuple(scopes))
        return result

    def account(self, provider: str) -> Any:
        """Who the asker is at `provider`: `id`, `name` and `ids`, proven by a sign-in there."""
        return self._ask("account", provider, ())

    def _ask(self, what: str, provider: str, scopes: tuple[str, ...]) -> Any:
        if self._as_asker is None:
            raise NotAllowed("nobody can be asked for access here")
        return self._as_asker(what, provider, scopes)

    def secret(self, name: str) -> str:
        """The field `name` of the plug-in's secret; raises NotAllowed for one that its permissions do not name."""
        if name not in self._secrets:
            raise NotAllowed(f"secret field {name!r} is not among this plug-in's permissions, or not configured")
        return self._secrets[name]


class NoConfig(BaseModel):
    """The configuration of a plug-in that has none."""

    model_config = ConfigDict(extra="forbid")


class BotPlugin:
    """Derive from this. Every method is optional, and may take fewer arguments than it is offered.

    `config` is an instance of `Config`, checked before the plug-in is built.
    """

    name: ClassVar[str] = ""
    """Unique; lower-case letters, digits and `_`."""
    version: ClassVar[str] = "0.1.0"
    api: ClassVar[str] = "^1.0"
    """Versions of the contract it was written for; checked at load."""
    Config: ClassVar[type[BaseModel]] = NoConfig
    """What can be set; the console's form is drawn from it."""
    permissions: ClassVar[Permissions] = Permissions()
    flows: ClassVar[Sequence[Any]] = ()
    """Things that take several questions, as `assistant.Flow`."""
    seconds: ClassVar[float] = 5.0
    """Longest time one call may take."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | str | None:
        """A reply to the message, or None to let the others have it; the first reply wins."""

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        """Entries for the menu and the help."""
        return ()

    def on_event(self, ctx: PluginContext, event: Event) -> None:
        """Hears what happens; never breaks a turn."""

    def get_tools(self) -> Sequence[Tool]:
        """What the model may call: the methods marked `@tool`. Override it to offer an OpenAPI description or an MCP server."""
        return tools_in(self)

    def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> Reply | str:
        """Does what a finished flow asks for: `form` is the flow's checked and confirmed form."""
        raise NotImplementedError(f"plug-in {self.name} declares flow {flow!r} but no run_flow")


# --- versions --------------------------------------------------------------------------------------


def satisfies(version: str, wanted: str) -> bool:
    """Whether `version` (1.2 or 1.2.3) fits `wanted`: `^1.0` (this major, at least that), `~1.2` (this minor), `1.2` (exactly).

    Raises ValueError where one of them is no version. Source: semver.org, and npm's meaning of ^ and ~.
    """
    have = _numbers(version)
    want = _numbers(wanted.lstrip("^~"))
    if wanted.startswith("^"):
        same = 1 if want[0] else 2  # before 1.0 each minor may break
        return have[:same] == want[:same] and have >= want
    if wanted.startswith("~"):
        return have[:2] == want[:2] and have >= want
    return have == want


def _numbers(version: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    if not found:
        raise ValueError(f"{version!r} is no version; write one such as ^1.0")
    return int(found[1]), int(found[2]), int(found[3] or 0)


# --- loading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What became of one plug-in."""

    name: str
    state: Literal["ready", "refused", "quarantined"]
    version: str = ""
    reason: str = ""
    """Why it is not ready, and what to do."""


def find(package: str = "assistant_plugins") -> dict[str, str]:
    """Names of the modules in `package`, one plug-in each, with the full name of the module."""
    module = import_module(package)
    return {m.name: f"{package}.{m.name}" for m in pkgutil.iter_modules(module.__path__) if not m.name.startswith("_")}


def plugin_in(module: ModuleType) -> type[BotPlugin]:
    """The one plug-in class that `module` defines; raises InvalidSetting for none or several."""
    classes = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, BotPlugin) and c is not BotPlugin and c.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise InvalidSetting(f"{module.__name__} defines {len(classes)} plug-ins; one class derived from BotPlugin is wanted")
    return classes[0]


def build(made: type[BotPlugin], config: Mapping[str, Any]) -> BotPlugin:
    """The plug-in with its checked configuration; raises InvalidSetting with the reason."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", made.name):
        raise InvalidSetting(f"{made.__name__}.name is {made.name!r}; lower-case letters, digits and _ are wanted")
    try:
        fits = satisfies(PLUGIN_API, made.api)
    except ValueError as error:
        raise InvalidSetting(f"plug-in {made.name}: api = {error}") from None
    if not fits:
        raise InvalidSetting(
            f"plug-in {made.name} {made.version} is written for api {made.api}, this is {PLUGIN_API}; install a version that fits"
        )
    try:
        checked = made.Config.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(p) for p in first["loc"]) or "config"
        raise InvalidSetting(f"plug-in {made.name}: {where}: {first['msg']}; correct its configuration") from None
    plugin = made(checked)
    try:
        toolbox(tools_in(plugin))
    except InvalidSetting as error:
        raise InvalidSetting(f"plug-in {made.name}: {error}") from None
    return plugin


class Plugins:
    """All plug-ins of this process. Safe to use from several threads."""

    def __init__(
        self,
        plugins: Iterable[BotPlugin] = (),
        *,
        refused: Iterable[Loaded] = (),
        table: Table | None = None,
        secrets: Callable[[str], Mapping[str, str]] = lambda name: {},
        metrics: Metrics | None = None,
        tenant: str = "default",
        authority: Callable[[], Authority] | None = None,
    ) -> None:
        self._plugins: dict[str, BotPlugin] = {}
        self._refused = list(refused)
        self._faults: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._table = table
        self._secrets = secrets
        self._metrics = metrics
        self._tenant = tenant
        self._authority = authority
        self._tools: dict[str, dict[str, Tool]] = {}
        self.flow_owners: dict[str, str] = {}
        for plugin in plugins:
            self._add(plugin)

    @classmethod
    def load(cls, modules: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]], **more: Any) -> Plugins:
        """The plug-ins in `modules` (name → full module name); one that cannot be used is refused with its reason."""
        good: list[BotPlugin] = []
        refused: list[Loaded] = []
        for name, module in modules.items():
            made: type[BotPlugin] | None = None
            try:
                made = plugin_in(import_module(module))
                good.append(build(made, configs.get(made.name, {})))
            except Exception as error:  # whatever a plug-in's module does at import, the others go on
                reason = str(error) if isinstance(error, AssistantError) else f"{type(error).__name__}: {error}"
                refused.append(Loaded(name=made.name if made else name, state="refused", reason=reason))
                log(logger, logging.ERROR, "plug-in not loaded", event_reason=reason, plugin=name)
        return cls(good, refused=refused, **more)

    def _add(self, plugin: BotPlugin) -> None:
        clash = [f.name for f in plugin.flows if f.name in self.flow_owners]
        if plugin.name in self._plugins or clash:
            what = f"flow {clash[0]!r} of plug-in {self.flow_owners[clash[0]]}" if clash else "another plug-in of this name"
            reason = f"it clashes with {what}; rename one of them"
            self._refused.append(Loaded(name=plugin.name, state="refused", version=plugin.version, reason=reason))
            return
        self._plugins[plugin.name] = plugin
        self.flow_owners.update({f.name: plugin.name for f in plugin.flows})

    @property
    def flows(self) -> list[Any]:
        """The flows of all plug-ins that are ready."""
        return [flow for plugin in self._ready() for flow in plugin.flows]

    def report(self) -> list[Loaded]:
        """What became of every plug-in."""
        ready = [
            Loaded(name=p.name, state="quarantined", version=p.version, reason=self._faults[p.name][-1])
            if self._out(p.name)
            else Loaded(name=p.name, state="ready", version=p.version)
            for p in self._plugins.values()
        ]
        return [*ready, *self._refused]

    def refuse(self, loaded: Loaded) -> None:
        """Adds a plug-in that could not be used to the report."""
        self._refused.append(loaded)

    def rooms(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """By name of plug-in: the partition of its store, and the names there that are about one person."""
        return {
            p.name: (key("X", self._tenant, p.name), p.permissions.personal)
            for p in self._plugins.values()
            if p.permissions.store and p.permissions.personal
        }

    def restore(self, name: str) -> None:
        """Lets a quarantined plug-in work again; raises InvalidSetting for an unknown one."""
        if name not in self._plugins:
            raise InvalidSetting(f"no plug-in {name!r}; known: {', '.join(self._plugins) or 'none'}")
        with self._lock:
            self._faults.pop(name, None)

    # --- the three methods ---

    def handle(self, message: Message, around: Around, *, only: Sequence[str] = ()) -> Reply | None:
        """The first reply that a plug-in gives; `only`: names of those that are asked, empty for all."""
        menu = self.menu(message, around)
        for plugin in self._ready(message.platform):
            if only and plugin.name not in only:
                continue
            given = self._call(plugin, "handle_message", message, around, message, menu=menu)
            if given is not None and (reply := self._reply(plugin, given)):
                return reply
        return None

    def menu(self, message: Message, around: Around) -> tuple[MenuItem, ...]:
        """The entries of all plug-ins."""
        items: list[MenuItem] = []
        for plugin in self._ready(message.platform):
            offered = self._call(plugin, "get_menu", message, around)
            try:
                items += [item for item in offered or () if isinstance(item, MenuItem)]
            except TypeError:
                self._fault(plugin, f"get_menu gave {type(offered).__name__}; a sequence of MenuItem is wanted")
        return tuple(items)

    def chosen(self, message: Message, around: Around) -> str:
        """The text that a menu click stands for; empty where no plug-in knows the entry."""
        wanted = message.menu_key or message.action_key
        return next((i.text for i in self.menu(message, around) if wanted and wanted in (i.key, i.text)), "")

    def hear(self, message: Message, around: Around) -> None:
        """Tells every plug-in what happened."""
        event = Event(kind=message.kind, message=message)
        for plugin in self._ready(message.platform):
            self._call(plugin, "on_event", message, around, event)

    def run_flow(self, name: str, form: Any, message: Message, around: Around) -> Reply | None:
        """What the plug-in that owns flow `name` did; None where it failed."""
        plugin = self._plugins.get(self.flow_owners.get(name, ""))
        if plugin is None or self._out(plugin.name):
            return None
        given = self._call(plugin, "run_flow", message, around, name, form)
        return None if given is None else self._reply(plugin, given)

    # --- tools ---

    def tools(self, platform: str, *, only: Sequence[str] = ()) -> dict[str, Tool]:
        """The tools of the plug-ins that are ready, by name; of two with one name the first is offered."""
        offered: dict[str, Tool] = {}
        for plugin in self._ready(platform):
            if not only or plugin.name in only:
                offered = {**self._tools_of(plugin), **offered}
        return offered

    def run_tool(self, name: str, raw: str, message: Message, around: Around) -> str:
        """The result as the model reads it. Raises ToolFailed with what the model is told, NeedsAuthorisation, Unavailable."""
        owner = next((p for p in self._ready(message.platform) if name in self._tools.get(p.name, {})), None)
        if owner is None:
            raise ToolFailed(f"there is no tool {name[:64]!r}")
        made = self._tools[owner.name][name]
        arguments = read_arguments(made, raw)
        handed: list[str] = []
        outcome = self._fenced(
            owner, f"tool {name}", message, around, act=lambda ctx: made.run(ctx, arguments), seconds=made.seconds, handed=handed
        )
        if not outcome:
            raise ToolFailed("the tool broke; its owner has been told")
        return shown(outcome[0], hidden=handed)

    def _tools_of(self, plugin: BotPlugin) -> dict[str, Tool]:
        if plugin.name not in self._tools:
            found: dict[str, Tool] = {}
            try:
                found = toolbox(checked_tool(t) for t in self._offered(plugin))
            except Unavailable as error:  # a server of tools that does not answer now is asked again at the next turn
                log(logger, logging.WARNING, "tools not offered", event_reason=str(error), plugin=plugin.name)
                return {}
            except Exception as error:  # a plug-in's door
                reason = str(error) if isinstance(error, AssistantError) else f"get_tools raised {type(error).__name__}"
                self._fault(plugin, reason)
            taken = {n: owner for owner, tools in self._tools.items() for n in tools if owner != plugin.name}
            for name in [n for n in found if n in taken]:
                self._fault(plugin, f"its tool {name!r} clashes with one of plug-in {taken[name]}; rename one of them")
                del found[name]
            self._tools[plugin.name] = found
        return self._tools[plugin.name]

    def _offered(self, plugin: BotPlugin) -> Sequence[Tool]:
        """What `get_tools` gives; it may ask a server, and so has more time than an answer."""
        outcome: list[Sequence[Tool]] = []
        failure: list[Exception] = []

        def call() -> None:
            try:
                outcome.append(plugin.get_tools())
            except Exception as error:  # a plug-in's door
                failure.append(error)

        thread = threading.Thread(target=call, name=f"plugin-{plugin.name}", daemon=True)
        thread.start()
        thread.join(LISTING_FACTOR * plugin.seconds)
        if failure:
            raise failure[0]
        if not outcome:
            raise Unavailable(f"get_tools of plug-in {plugin.name} does not end")
        return outcome[0]

    # --- the fence ---

    def _ready(self, platform: str = "") -> list[BotPlugin]:
        return [
            p
            for p in self._plugins.values()
            if not self._out(p.name) and (not platform or not p.permissions.platforms or platform in p.permissions.platforms)
        ]

    def _out(self, name: str) -> bool:
        return len(self._faults.get(name, ())) >= FAULTS

    def _context(
        self, plugin: BotPlugin, message: Message, around: Around, menu: tuple[MenuItem, ...], fence: _Fence
    ) -> PluginContext:
        allowed = plugin.permissions

        def as_asker(what: str, provider: str, scopes: tuple[str, ...]) -> Any:
            if provider not in allowed.tokens:
                raise NotAllowed(f"provider {provider!r} is not among this plug-in's permissions; declare Permissions(tokens=…)")
            if more := sorted(set(scopes) - set(allowed.tokens[provider])):
                raise NotAllowed(f"scope {more[0]!r} of {provider} is not among this plug-in's permissions")
            if self._authority is None:
                raise NotAllowed("nobody can be asked for access here")
            with fence:  # the provider's time is not the plug-in's
                if what == "account":
                    return self._authority().account(message, provider)
                token = self._authority().token(message, provider, scopes or allowed.tokens[provider])
            fence.handed.append(token)
            return token

        secrets = self._secrets(f"plugin-{plugin.name}") if allowed.secrets else {}
        return PluginContext(
            language=around.language,
            now=around.now,
            user=message.sender,
            platform=message.platform,
            conversation=message.conversation,
            direct=message.direct,
            key=around.key,
            store=Store(self._table if allowed.store else None, key("X", self._tenant, plugin.name)),
            menu=menu,
            _secrets={name: secrets[name] for name in allowed.secrets if name in secrets},
            _as_asker=as_asker,
        )

    def _call(
        self, plugin: BotPlugin, method: str, message: Message, around: Around, *offered: Any, menu: tuple[MenuItem, ...] = ()
    ) -> Any:
        """What the method gives; None where it failed."""
        outcome = self._fenced(
            plugin, method, message, around, act=lambda ctx: offer(getattr(plugin, method), ctx, *offered), menu=menu
        )
        return outcome[0] if outcome else None

    def _fenced(
        self,
        plugin: BotPlugin,
        what: str,
        message: Message,
        around: Around,
        *,
        act: Callable[[PluginContext], Any],
        menu: tuple[MenuItem, ...] = (),
        seconds: float = 0,
        handed: list[str] | None = None,
    ) -> list[Any]:
        """What `act` gives, in a list; empty where it failed. A call that hangs is left behind in its thread and counts double.

        What a person has to do, or a service that is down, is nobody's fault: NeedsAuthorisation, Unavailable and ToolFailed are
        raised on.
        """
        outcome: list[Any] = []
        failure: list[Exception] = []
        fence = _Fence(seconds or plugin.seconds, handed if handed is not None else [])

        def call() -> None:
            try:
                outcome.append(act(self._context(plugin, message, around, menu, fence)))
            except Exception as error:  # a plug-in's door: whatever it raises, the turn goes on
                failure.append(error)

        thread = threading.Thread(target=call, name=f"plugin-{plugin.name}", daemon=True)
        thread.start()
        if not fence.watch(thread):
            self._fault(plugin, f"{what} took longer than {fence.seconds:g} s", weight=FAULTS)
            return []
        if (
            failure
            and isinstance(failure[0], NeedsAuthorisation | Unavailable | ToolFailed)
            and what not in ("get_menu", "on_event")
        ):
            raise failure[0]
        if failure:
            logger.error("plug-in %s failed in %s", plugin.name, what, exc_info=failure[0])
            self._fault(plugin, f"{what} raised {type(failure[0]).__name__}")
        return outcome

    def _fault(self, plugin: BotPlugin, reason: str, *, weight: int = 1) -> None:
        with self._lock:
            self._faults.setdefault(plugin.name, []).extend([reason] * weight)
            out = self._out(plugin.name)
        log(logger, logging.ERROR, "plug-in at fault", event_reason=reason, plugin=plugin.name, quarantined=out)
        if self._metrics:
            self._metrics.emit((PLUGIN_FAULTS, 1), plugin=plugin.name)

    def _reply(self, plugin: BotPlugin, given: object) -> Reply | None:
        if isinstance(given, str):
            given = Reply(text=given)
        if not isinstance(given, Reply):
            self._fault(plugin, f"it answered with {type(given).__name__}; a Reply, a text or None is wanted")
            return None
        if len(given.text) > LONGEST_REPLY:
            self._fault(plugin, f"its reply has {len(given.text)} characters; at most {LONGEST_REPLY} are shown")
            return None
        return given


class _Fence:
    """The time that a call has; what is spent inside `with` does not count."""

    def __init__(self, seconds: float, handed: list[str]) -> None:
        self.seconds = seconds
        self.handed = handed
        """Tokens that were handed out."""
        self._inside = 0
        self._outside = 0.0
        self._since = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._since = time.monotonic()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._outside += time.monotonic() - self._since

    def _left(self, began: float) -> float:
        with self._lock:
            away = self._outside + (time.monotonic() - self._since if self._inside else 0.0)
        return self.seconds - (time.monotonic() - began - away)

    def watch(self, thread: threading.Thread) -> bool:
        """False where the thread is still at work when its time is over."""
        began = time.monotonic()
        while (left := self._left(began)) > 0:
            thread.join(left)
            if not thread.is_alive():
                return True
        return not thread.is_alive()


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a call's context is made of, apart from the message."""

    language: str
    now: datetime
    key: str


def offer(method: Callable[..., T], *arguments: Any) -> T:
    """Calls `method` with as many of the last `arguments` as it takes: a contract that grows breaks no older plug-in."""
    parameters = inspect.signature(method).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return method(*arguments)
    taken = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    return method(*arguments[len(arguments) - taken :]) if taken else method()


def load_file(path: Path) -> ModuleType:
    """The module in the file at `path`; raises InvalidSetting where it cannot be imported."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"checked_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InvalidSetting(f"{str(path)!r} is no Python file; name the plug-in's file")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is somebody's work in progress: whatever it raises is named
        raise InvalidSetting(f"{str(path)!r} cannot be imported: {type(error).__name__}: {error}") from error
    return module
