"""All plug-ins of a process, and a fence around every call: one that raises, hangs or grows is stopped, and the turn goes on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar

from assistant import web
from assistant.errors import AssistantError, InvalidSetting, NeedsAuthorisation, ToolFailed, Unavailable
from assistant.messages import Message, Reply
from assistant.observability import PLUGIN_FAULTS, Metrics, log
from assistant.plugins.claims import Claim, Claims
from assistant.plugins.contract import (
    Around,
    Authority,
    BotPlugin,
    Event,
    Keep,
    MenuItem,
    NotAllowed,
    PluginContext,
    Search,
    Tell,
    has,
    introduced,
    offer,
    schema_in,
)
from assistant.plugins.crew import CREW, Call
from assistant.plugins.doors import Doors
from assistant.plugins.fence import Fence
from assistant.plugins.isolated import COLD_SECONDS, Broke, Isolated
from assistant.plugins.loading import Loaded, build, config_schema, examples_of, order_of, plugin_in
from assistant.plugins.records import Records, State
from assistant.storage import Table
from assistant.tools import Tool, checked_tool, read_arguments, shown, tool_names, toolbox

logger = logging.getLogger(__name__)

FAULTS: Final = 3
"""Faults after which a plug-in is left out."""

FAULT_SECONDS: Final = 3600
"""Faults that are older than this do not count any more."""

LISTING_FACTOR: Final = 4
"""A plug-in has this many times its `seconds` to say which tools it offers: it may have to ask a server."""

LOAD_SECONDS: Final = 10.0
"""What importing and building a plug-in may take."""

MOST_ASKED: Final = 500
"""Combinations of method, platform and ring for which it is remembered who is asked."""

LONGEST_REPLY: Final = 30_000
"""Characters of a plug-in's reply that are shown."""


T = TypeVar("T")


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
        files: Callable[[], Keep] | None = None,
        tell: Callable[[], Tell] | None = None,
        search: Search | None = None,
        call: Callable[..., web.WebReply] = web.request,
        records: Records | None = None,
        configs: Mapping[str, Mapping[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._plugins: dict[str, BotPlugin] = {}
        """By `name@version`, in the order in which they are asked; of one name the oldest version first."""
        self._refused = list(refused)
        self._unbuilt: dict[str, type[BotPlugin]] = {}
        """Those that were refused for their configuration: another one may make them work."""
        self._faults: dict[str, list[tuple[float, str]]] = {}
        self._left_out: dict[str, str] = {}
        self._notes: dict[str, dict[str, str]] = {}
        self._lock = threading.RLock()
        self._doors = Doors(
            table=table, secrets=secrets, tenant=tenant, authority=authority, tell=tell, search=search, call=call, files=files
        )
        self._metrics = metrics
        self._records = records
        self._configs = configs or {}
        self._seen = State()
        self._tools: dict[str, dict[str, Tool]] = {}
        self._named: set[str] = set()
        self._claims = Claims()
        self._owners: dict[str, str] = {}
        """Name of the plug-in whose tool is offered, by the tool's name."""
        self._asked: dict[tuple[str, str, tuple[str, ...]], Sequence[BotPlugin]] = {}
        """Who is asked, by method, platform and ring; replaced whenever that may have changed."""
        self._boxes: dict[tuple[str, tuple[str, ...]], Mapping[str, Tool]] = {}
        """What is offered to the model, by platform and ring, once every plug-in has said what it has; replaced likewise."""
        self.flow_owners: dict[str, str] = {}
        self.edition = 0
        """Grows whenever a plug-in was built anew: what was made from its flows has to be made again."""
        for plugin in plugins:
            self._add(plugin)

    @classmethod
    def load(cls, modules: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]], **more: Any) -> Plugins:
        """The plug-ins in `modules` (name → full module name); one that cannot be used is refused with its reason."""
        loaded = cls(configs=configs, **more)
        for name, module in modules.items():
            made: type[BotPlugin] | None = None
            try:
                made = _in_time(partial(_imported, module), "its import")
                loaded._add(_in_time(partial(build, made, configs.get(made.name, {})), "its constructor"))
            except Exception as error:  # whatever a plug-in's module does at import, the others go on
                reason = str(error) if isinstance(error, AssistantError) else f"{type(error).__name__}: {error}"
                version = str(made.version) if made else ""
                loaded.refuse(Loaded(name=made.name if made else name, state="refused", version=version, reason=reason))
                if made:
                    loaded._unbuilt[_id(made)] = made
                log(logger, logging.ERROR, "plug-in not loaded", event_reason=reason, plugin=name)
        return loaded

    def add(self, plugin: BotPlugin) -> None:
        """Adds a plug-in after those that are there; refused where it clashes with one of them."""
        self._add(plugin)

    def _add(self, plugin: BotPlugin) -> None:
        id_ = _id(plugin)
        claim = None
        try:
            if id_ in self._plugins:
                raise InvalidSetting(
                    f"it clashes with another plug-in of this name and version ({plugin.version}); rename one of them"
                )
            claim = _claim(plugin)
            if reason := self._clash(plugin, claim):
                raise InvalidSetting(reason)
        except InvalidSetting as error:
            self.refuse(Loaded(name=plugin.name, state="refused", version=plugin.version, reason=str(error)))
            log(logger, logging.ERROR, "plug-in not loaded", event_reason=str(error), plugin=plugin.name)
            return
        with self._lock:
            self._plugins[id_] = plugin
            if plugin.name in self._named:
                self._plugins = _ordered(self._plugins)
            self._named.add(plugin.name)
            self.flow_owners.update((f.name, plugin.name) for f in plugin.flows)
            self.edition += 1
            self._changed()
        sharing = self._claims.rivals(claim, "tool")
        for other in [p for i, p in self._plugins.items() if i in sharing] if sharing else ():
            both = min(claim.tools & self._claims[_id(other)].tools)
            self._note(plugin, "tools", f"its tool {both!r} clashes with one of plug-in {other.name}; rename one of them")
        self._claims.take(id_, claim)

    def _clash(self, plugin: BotPlugin, claim: Claim) -> str:
        """Why the plug-in cannot stand beside those that are there; empty where it can."""
        rivals = self._claims.rivals(claim, "flow", "example")
        if not rivals:
            return ""
        rival = next(i for i in self._plugins if i in rivals)
        theirs = self._claims[rival]
        if flows := [f.name for f in plugin.flows if f.name in theirs.flows]:
            return f"it clashes with flow {flows[0]!r} of plug-in {theirs.plugin}; rename one of them"
        said = min(claim.examples.keys() & theirs.examples.keys())
        return (
            f"the example {said!r} of its flow {claim.examples[said]!r} also starts flow {theirs.examples[said]!r} of plug-in "
            f"{theirs.plugin}; nobody could tell them apart, so change one of them"
        )

    def _changed(self) -> None:
        """Whom to ask is found out anew; a thread that is finding it out meanwhile keeps that for itself."""
        self._asked, self._boxes = {}, {}

    @property
    def flows(self) -> list[Any]:
        """The flows of all plug-ins that are ready; where several versions have one, that of the oldest stands last."""
        with self._lock:
            return [flow for plugin in reversed(self._plugins.values()) if not self._out(plugin) for flow in plugin.flows]

    def flows_of(self, only: Sequence[str] = ()) -> list[Any]:
        """The flows that a ring offers."""
        return [flow for plugin in self._chosen("", only) for flow in plugin.flows]

    def report(self) -> list[Loaded]:
        """What became of every plug-in."""
        self._sync()
        ready = [
            Loaded(
                name=p.name,
                state="quarantined" if self._out(p) else "ready",
                version=p.version,
                reason=self._reason(p),
                notes=tuple(self._notes.get(_id(p), {}).values()),
                faults=len(self._recent(p)),
                since=self._seen.out[_id(p)].since if _id(p) in self._seen.out else 0,
                isolated=isinstance(p, Isolated),
            )
            for p in self._plugins.values()
        ]
        return [*ready, *self._refused]

    def described(self, *, tools_of: str = "", language: str = "en") -> list[dict[str, Any]]:
        """The report with what each plug-in is called and does, what it may use, the JSON Schema of its configuration and how it
        is set now.

        `tools_of`: the plug-in that is asked which tools it offers as well; it may have to ask a server.
        """
        for one in [p for p in self._plugins.values() if p.name == tools_of]:
            self._tools_of(one)
        found = []
        for loaded in self.report():
            plugin = self._plugins.get(f"{loaded.name}@{loaded.version}")
            made = plugin or self._unbuilt.get(f"{loaded.name}@{loaded.version}")
            more: dict[str, Any] = {"stored": loaded.name in self._seen.configs}
            if made:
                more |= {"api": made.api, "schema": schema_in(_schema(made), language), **introduced(made, language)}
            if plugin:
                more |= {
                    "config": plugin.config.model_dump(mode="json") if hasattr(plugin.config, "model_dump") else {},
                    "permissions": asdict(plugin.permissions),
                    "flows": [f.name for f in plugin.flows],
                    "tools": sorted(self._tools[_id(plugin)]) if _id(plugin) in self._tools else None,
                    "seconds": plugin.seconds,
                    "megabytes": plugin.megabytes,
                }
            found.append(asdict(loaded) | more)
        return found

    def refuse(self, loaded: Loaded) -> None:
        """Adds a plug-in that could not be used to the report."""
        self._refused.append(loaded)

    def rooms(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """By name of plug-in: the partition of its store, and the names there that are about one person."""
        return {
            p.name: (self._doors.room(p.name), p.permissions.personal)
            for p in self._plugins.values()
            if p.permissions.store and p.permissions.personal
        }

    def needs(self) -> dict[str, set[str]]:
        """The providers at which plug-ins act as the asker, with the scopes that they use there."""
        found: dict[str, set[str]] = {}
        for plugin in self._plugins.values():
            for provider, scopes in plugin.permissions.tokens.items():
                found.setdefault(provider, set()).update(scopes)
        return found

    def needs_alone(self) -> set[str]:
        """Those of the providers that some plug-in cannot do without; one that names several uses the asker's own."""
        tokens = [plugin.permissions.tokens for plugin in self._plugins.values()]
        return {next(iter(named)) for named in tokens if len(named) == 1}

    # --- what an administrator does ---

    def restore(self, name: str) -> None:
        """Lets a quarantined plug-in work again, in all instances; raises InvalidSetting for an unknown one."""
        ours = [p for p in self._plugins.values() if p.name == name]
        if not ours:
            raise InvalidSetting(f"no plug-in {name!r}; known: {', '.join(self._names()) or 'none'}")
        if self._records:
            self._records.restore(name)
        with self._lock:
            for plugin in ours:
                self._faults.pop(_id(plugin), None)
                self._left_out.pop(_id(plugin), None)
            self._changed()
        self._sync()

    def configure(self, name: str, config: Mapping[str, Any] | None) -> None:
        """Stores the configuration for all instances; None goes back to the deployment's own.

        Raises InvalidSetting for an unknown plug-in, and with field and value where the configuration does not fit.
        """
        made = [p if isinstance(p, Isolated) else type(p) for p in self._plugins.values() if p.name == name]
        made += [c for c in self._unbuilt.values() if c.name == name]
        if not made:
            raise InvalidSetting(f"no plug-in {name!r}; known: {', '.join(self._names()) or 'none'}")
        if self._records is None:
            raise InvalidSetting("configurations cannot be stored here; there is no table")
        checked = self._configs.get(name, {}) if config is None else config
        for one in made:
            _rebuilt(one, checked)
        self._records.configure(name, config)
        self._sync()

    def _names(self) -> list[str]:
        return sorted({*(p.name for p in self._plugins.values()), *(c.name for c in self._unbuilt.values())})

    def _sync(self) -> None:
        """Takes over what other instances or an administrator have changed, as far as it has been read."""
        if self._records is None or self._records.state is self._seen:
            return
        with self._lock:
            before, now = self._seen, self._records.state
            for plugin in before.out.keys() - now.out.keys():
                self._left_out.pop(plugin, None)
                self._faults.pop(plugin, None)
                self._changed()
            try:
                for name in sorted({n for n, _ in before.configs.items() ^ now.configs.items()}):
                    self._reconfigured(name, self._records.config(name) if name in now.configs else None)
            except Unavailable as error:  # what is in use goes on, and it is tried again with the next call
                log(logger, logging.WARNING, "a configuration could not be read", event_reason=str(error))
                return
            self._seen = now
            self._changed()

    def _reconfigured(self, name: str, config: Mapping[str, Any] | None) -> None:
        config = self._configs.get(name, {}) if config is None else config
        for id_, plugin in list(self._plugins.items()):
            if plugin.name != name:
                continue
            try:
                rebuilt = _rebuilt(plugin if isinstance(plugin, Isolated) else type(plugin), config)
                self._claims.take(id_, _claim(rebuilt))
                self._plugins[id_] = rebuilt
                self._notes.get(id_, {}).pop("config", None)
            except Exception as error:  # a plug-in's door; the version that is in use goes on
                reason = str(error) if isinstance(error, AssistantError) else f"its configuration raised {type(error).__name__}"
                self._note(plugin, "config", reason)
            self._forget_tools(id_, name)
        for id_, made in list(self._unbuilt.items()):
            if made.name == name:
                try:
                    plugin = build(made, config)
                except Exception as error:  # a plug-in's door
                    log(logger, logging.ERROR, "plug-in not loaded", event_reason=str(error), plugin=name)
                    continue
                del self._unbuilt[id_]
                self._refused = [r for r in self._refused if (r.name, r.version) != (name, made.version)]
                self._add(plugin)
        self.flow_owners = {f.name: p.name for p in self._plugins.values() for f in p.flows}
        self.edition += 1

    def _forget_tools(self, id_: str, plugin: str) -> None:
        """What the plug-in offers is asked for again; a name that no other version has is free."""
        held = {n for i, tools in self._tools.items() if i != id_ and i.partition("@")[0] == plugin for n in tools}
        for name in self._tools.pop(id_, {}):
            if name not in held:
                del self._owners[name]

    # --- the three methods ---

    def handle(self, message: Message, around: Around, *, only: Sequence[str] = ()) -> Reply | None:
        """The first reply that a plug-in gives; `only`: as in `Around`."""
        attached = len(around.attached)

        def noteworthy(call: Call) -> bool:
            return not call.outcome or call.outcome[0] is not None or len(around.attached) > attached

        asked = self._having("handle_message", message.platform, only or around.only)
        calls = (self._calling(p, "handle_message", message, around, message) for p in asked)
        for call in CREW.in_turn(calls, noteworthy):
            given = self._given(call)
            if given is not None and (reply := self._reply(call.plugin, given)):
                return reply
            del around.attached[attached:]  # no reply, no files
        return None

    def menu(self, message: Message, around: Around) -> tuple[MenuItem, ...]:
        """The entries of all plug-ins, which are asked side by side."""
        asked = self._having("get_menu", message.platform, around.only)
        items: list[MenuItem] = []
        for call in CREW.side_by_side(self._calling(p, "get_menu", message, around) for p in asked):
            for offered in self._ended(call):
                try:
                    items += [item for item in offered or () if isinstance(item, MenuItem)]
                except TypeError:
                    self._fault(call.plugin, f"get_menu gave {type(offered).__name__}; a sequence of MenuItem is wanted")
        return tuple(items)

    def _entries(self, message: Message, around: Around) -> tuple[MenuItem, ...]:
        """What a plug-in sees as the menu."""
        return self.menu(message, around)

    def chosen(self, message: Message, around: Around) -> str:
        """The text that a menu click stands for; empty where no plug-in knows the entry."""
        wanted = message.menu_key or message.action_key
        return next((i.text for i in self.menu(message, around) if wanted and wanted in (i.key, i.text)), "")

    def hear(self, message: Message, around: Around) -> None:
        """Tells every plug-in what happened."""
        with self.hearing(message, around):
            return

    @contextmanager
    def hearing(self, message: Message, around: Around) -> Iterator[None]:
        """Tells every plug-in what happened while the block goes on; after it, each has what is left of its own time."""
        event = Event(kind=message.kind, message=message)
        asked = self._having("on_event", message.platform, around.only)
        listening = CREW.side_by_side(self._calling(p, "on_event", message, around, event) for p in asked)
        try:
            yield
        finally:
            for call in listening:
                self._ended(call)

    def run_flow(self, name: str, form: Any, message: Message, around: Around) -> Reply | None:
        """What the plug-in that owns flow `name` did; None where it failed."""
        offering = (p for p in self._chosen("", around.only) if any(f.name == name for f in p.flows))
        plugin = next(offering, None)
        if plugin is None:
            return None
        given = self._given(CREW.one(self._calling(plugin, "run_flow", message, around, name, form)))
        return None if given is None else self._reply(plugin, given)

    # --- tools ---

    def tools(self, platform: str, *, only: Sequence[str] = ()) -> dict[str, Tool]:
        """The tools of the plug-ins that are ready, by name; of two with one name the first is offered."""
        ready = self._chosen(platform, only)
        kept, asks = self._boxes, (platform, tuple(only))
        if (known := kept.get(asks)) is not None:
            return dict(known)
        offered: dict[str, Tool] = {}
        for owned in reversed([self._tools_of(p) for p in ready]):
            offered.update(owned)
        if len(kept) < MOST_ASKED and all(_id(p) in self._tools for p in ready):  # else a server of tools is asked again
            kept[asks] = offered
        return dict(offered)

    def run_tool(self, name: str, raw: str, message: Message, around: Around) -> str:
        """The result as the model reads it. Raises ToolFailed with what the model is told, NeedsAuthorisation, Unavailable."""
        ready = self._chosen(message.platform, around.only)
        owner = next((p for p in ready if name in self._tools_of(p)), None)
        if owner is None:
            raise ToolFailed(f"there is no tool {name[:64]!r}")
        made = self._tools_of(owner)[name]
        arguments = read_arguments(made, raw)
        attached = len(around.attached)
        act = partial(_run, made, arguments)
        call = self._calling(owner, f"tool {name}", message, around, act=act, seconds=made.seconds)
        try:
            outcome = self._ended(CREW.one(call))
        except web.NotReached as error:
            del around.attached[attached:]
            raise ToolFailed(str(error)) from error
        if not outcome:
            del around.attached[attached:]
            raise ToolFailed("the tool broke; its owner has been told")
        return shown(outcome[0], hidden=call.fence.handed)

    def _tools_of(self, plugin: BotPlugin) -> dict[str, Tool]:
        if (known := self._tools.get(_id(plugin))) is not None:
            return known
        found: dict[str, Tool] = {}
        self._unnote(plugin, "tools")
        try:
            found = toolbox(checked_tool(t) for t in self._offered(plugin))
        except (
            Unavailable,
            web.NotReached,
        ) as error:  # a server of tools that does not answer now is asked again at the next turn
            self._note(plugin, "tools", f"its tools are not offered: {error}")
            return {}
        except AssistantError as error:
            self._fault(plugin, str(error))
            self._note(plugin, "tools", str(error))
        except Exception as error:  # a plug-in's door
            logger.error("plug-in %s failed in get_tools", plugin.name, exc_info=error)
            self._fault(plugin, f"get_tools raised {type(error).__name__}")
        with self._lock:
            for name in list(found):
                owner = self._owners.setdefault(name, plugin.name)
                if owner != plugin.name:
                    self._note(plugin, "tools", f"its tool {name!r} clashes with one of plug-in {owner}; rename one of them")
                    del found[name]
            self._tools[_id(plugin)] = found
        return found

    def _offered(self, plugin: BotPlugin) -> Sequence[Tool]:
        """What `get_tools` gives; it may ask a server, and so has more time than an answer."""
        fence = Fence(LISTING_FACTOR * plugin.seconds, megabytes=plugin.megabytes, hosts=_hosts(plugin))
        call = CREW.one(Call(plugin, "get_tools", fence, not isinstance(plugin, Isolated), plugin.get_tools))
        if call.fate != "ended":
            raise Unavailable(f"get_tools of plug-in {plugin.name} does not end")
        if call.failure:
            raise call.failure[0]
        offered: Sequence[Tool] = call.outcome[0]
        return offered

    # --- who is asked ---

    def _chosen(self, platform: str, only: Sequence[str]) -> Sequence[BotPlugin]:
        """One version of each plug-in that may be asked: the one that the ring names, else the oldest that works."""
        return self._having("", platform, only)

    def _having(self, method: str, platform: str, only: Sequence[str]) -> Sequence[BotPlugin]:
        """Those of them that have the method; who has none is not asked."""
        self._sync()
        kept, asks = self._asked, (method, platform, tuple(only))
        if (known := kept.get(asks)) is not None:
            return known
        found = self._choice(platform, only)
        if method:
            found = [p for p in found if _has(p, method)]
        if len(kept) < MOST_ASKED:
            kept[asks] = found
        return found

    def _choice(self, platform: str, only: Sequence[str]) -> list[BotPlugin]:
        wanted = dict(entry.partition("@")[::2] for entry in only)
        versions: dict[str, list[BotPlugin]] = {}
        with self._lock:
            plugins = list(self._plugins.values())
        for plugin in plugins:
            for_it = not plugin.permissions.platforms or not platform or platform in plugin.permissions.platforms
            if for_it and not self._out(plugin) and (not only or "*" in wanted or plugin.name in wanted):
                versions.setdefault(plugin.name, []).append(plugin)
        return [next((p for p in ready if p.version == wanted.get(name)), ready[0]) for name, ready in versions.items()]

    # --- the fence ---

    def _out(self, plugin: BotPlugin) -> bool:
        return _id(plugin) in self._left_out or _id(plugin) in self._seen.out

    def _reason(self, plugin: BotPlugin) -> str:
        if _id(plugin) in self._left_out:
            return self._left_out[_id(plugin)]
        return self._seen.out[_id(plugin)].reason if _id(plugin) in self._seen.out else ""

    def _recent(self, plugin: BotPlugin) -> list[tuple[float, str]]:
        return [f for f in self._faults.get(_id(plugin), ()) if self._clock() - f[0] < FAULT_SECONDS]

    def _given(self, call: Call) -> Any:
        """What the call gave; None where it failed."""
        try:
            outcome = self._ended(call)
        except (ToolFailed, web.NotReached) as error:
            log(logger, logging.WARNING, "plug-in could not do it", event_reason=str(error), plugin=call.plugin.name)
            return None
        return outcome[0] if outcome else None

    def _calling(
        self,
        plugin: BotPlugin,
        what: str,
        message: Message,
        around: Around,
        *offered: Any,
        act: Callable[[PluginContext], Any] | None = None,
        seconds: float = 0,
    ) -> Call:
        """The call of method `what`, or of `act`, with what surrounds it; the crew makes it."""
        apart = isinstance(plugin, Isolated)
        grace = COLD_SECONDS if apart else 0
        fence = Fence((seconds or plugin.seconds) + grace, megabytes=plugin.megabytes, hosts=_hosts(plugin))
        menu = tuple if what == "get_menu" else partial(self._entries, message, around)
        given = partial(self._doors.context, plugin, message, around, menu, fence)
        return Call(plugin, what, fence, not apart, act or partial(_offered, plugin, what, offered), given)

    def _ended(self, call: Call) -> list[Any]:
        """What the call gives, in a list; empty where it failed. One that does not end is stopped, and counts as all faults.

        What a person has to do, or a service that is down, is nobody's fault: NeedsAuthorisation, Unavailable, NotReached and
        ToolFailed are raised on, but for a menu and an event, which are left at that.
        """
        if call.stint:
            call.stint.wait()
        plugin, what = call.plugin, call.what
        if call.fate == "late":
            self._fault(plugin, f"{what} took longer than {call.fence.seconds:g} s", weight=FAULTS)
            return []
        if call.fate == "large":
            self._fault(plugin, f"the memory grew by more than {call.fence.megabytes} MB during {what}")
            return []
        if not call.failure:
            return call.outcome
        error = call.failure[0]
        if isinstance(error, NeedsAuthorisation | Unavailable | ToolFailed | web.NotReached):
            if what in ("get_menu", "on_event"):
                log(logger, logging.WARNING, f"plug-in could not {what}", event_reason=str(error), plugin=plugin.name)
                return []
            raise error
        if isinstance(error, Broke):
            self._fault(plugin, str(error), weight=FAULTS if error.fatal else 1)
            return []
        logger.error("plug-in %s failed in %s", plugin.name, what, exc_info=error)
        more = f": {error}" if isinstance(error, NotAllowed) else ""
        self._fault(plugin, f"{what} raised {type(error).__name__}{more}")
        return []

    def _fault(self, plugin: BotPlugin, reason: str, *, weight: int = 1) -> None:
        id_ = _id(plugin)
        with self._lock:
            self._faults[id_] = [*self._recent(plugin), *[(self._clock(), reason)] * weight]
            out = len(self._faults[id_]) >= FAULTS
            new = out and id_ not in self._left_out
            if out:
                self._left_out[id_] = reason
                self._changed()
        log(logger, logging.ERROR, "plug-in at fault", event_reason=reason, plugin=plugin.name, quarantined=out)
        if self._metrics:
            self._metrics.emit((PLUGIN_FAULTS, 1), plugin=plugin.name)
        if new and self._records:
            try:
                self._records.quarantine(id_, reason)
                self._sync()  # so that its end is noticed, however soon it comes
            except AssistantError as error:  # this instance leaves it out in any case
                log(
                    logger,
                    logging.WARNING,
                    "the others were not told of a quarantine",
                    event_reason=str(error),
                    plugin=plugin.name,
                )

    def _note(self, plugin: BotPlugin, about: str, text: str) -> None:
        notes = self._notes.setdefault(_id(plugin), {})
        if notes.get(about) != text:
            notes[about] = text
            log(logger, logging.ERROR, "plug-in needs a hand", event_reason=text, plugin=plugin.name)

    def _unnote(self, plugin: BotPlugin, about: str) -> None:
        self._notes.get(_id(plugin), {}).pop(about, None)

    def _reply(self, plugin: BotPlugin, given: object) -> Reply | None:
        if isinstance(given, str):
            given = Reply(text=given)
        if not isinstance(given, Reply):
            self._fault(plugin, f"it answered with {type(given).__name__}; a Reply, a text or None is wanted")
            return None
        if len(given.text) > LONGEST_REPLY:
            self._fault(plugin, f"its reply has {len(given.text)} characters; at most {LONGEST_REPLY} are shown")
            return None
        return replace(given, attachments=())  # files come by `ctx.attach` alone: a path could be anybody's


def _offered(plugin: BotPlugin, what: str, offered: Sequence[Any], ctx: PluginContext) -> Any:
    return offer(getattr(plugin, what), ctx, *offered)


def _run(made: Tool, arguments: Mapping[str, Any], ctx: PluginContext) -> Any:
    return made.run(ctx, arguments)


def _has(plugin: BotPlugin, method: str) -> bool:
    """Whether there is anything to call."""
    if isinstance(plugin, Isolated):
        return plugin.manifest.methods is None or method in plugin.manifest.methods
    return has(plugin, method)


def _id(plugin: BotPlugin | type[BotPlugin]) -> str:
    return f"{plugin.name}@{plugin.version}"


def _ordered(plugins: Mapping[str, BotPlugin]) -> dict[str, BotPlugin]:
    """In the order of their names' first appearance, and of one name the oldest version first."""
    first = {name: n for n, name in enumerate(dict.fromkeys(p.name for p in plugins.values()))}
    return dict(sorted(plugins.items(), key=lambda i: (first[i[1].name], order_of(i[1].version))))


def _claim(plugin: BotPlugin) -> Claim:
    """Raises InvalidSetting where two of its flows share an example."""
    return Claim(plugin.name, frozenset(f.name for f in plugin.flows), examples_of(plugin), frozenset(tool_names(plugin)))


def _hosts(plugin: BotPlugin) -> tuple[str, ...]:
    allowed = plugin.permissions
    return tuple(h.lower() for h in (*allowed.hosts, *allowed.inside)) if allowed.hosts or allowed.inside else ()


def _schema(made: BotPlugin | type[BotPlugin]) -> dict[str, Any]:
    try:
        return config_schema(made)
    except InvalidSetting:
        return {}


def _rebuilt(made: Isolated | type[BotPlugin], config: Mapping[str, Any]) -> BotPlugin:
    if isinstance(made, Isolated):
        return made.configured(config)
    return _in_time(partial(build, made, config), "its constructor")


def _imported(module: str) -> type[BotPlugin]:
    return plugin_in(import_module(module))


def _in_time(make: Callable[[], T], what: str) -> T:
    """What `make` gives; raises what it raises, and InvalidSetting where it does not end or would end the process."""
    call = CREW.one(Call(BotPlugin({}), what, Fence(LOAD_SECONDS), False, make))
    if call.fate != "ended":
        raise InvalidSetting(f"{what} took longer than {LOAD_SECONDS:g} s; nothing may wait there")
    if call.failure:
        raise call.failure[0]
    result: T = call.outcome[0]
    return result
