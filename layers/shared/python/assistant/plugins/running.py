"""All plug-ins of a process, and a fence around every call: one that raises, hangs or grows is stopped, and the turn goes on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar

from assistant import web
from assistant.errors import AssistantError, InvalidSetting, NeedsAuthorisation, ToolFailed, Unavailable
from assistant.messages import Message, Reply
from assistant.observability import PLUGIN_FAULTS, Metrics, log
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
    offer,
)
from assistant.plugins.doors import Doors
from assistant.plugins.fence import Fence, Stopped
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
        if reason := self._clash(plugin):
            self.refuse(Loaded(name=plugin.name, state="refused", version=plugin.version, reason=reason))
            log(logger, logging.ERROR, "plug-in not loaded", event_reason=reason, plugin=plugin.name)
            return
        self._plugins[_id(plugin)] = plugin
        self._plugins = _ordered(self._plugins)
        self._flows_changed()
        own = tool_names(plugin)
        for other in self._plugins.values():
            if other.name != plugin.name and (both := sorted(own & tool_names(other))):
                self._note(plugin, "tools", f"its tool {both[0]!r} clashes with one of plug-in {other.name}; rename one of them")

    def _clash(self, plugin: BotPlugin) -> str:
        """Why the plug-in cannot stand beside those that are there; empty where it can."""
        if _id(plugin) in self._plugins:
            return f"it clashes with another plug-in of this name and version ({plugin.version}); rename one of them"
        try:
            own = examples_of(plugin)
        except InvalidSetting as error:
            return str(error)
        for other in self._plugins.values():
            if other.name == plugin.name:
                continue
            if flows := [f.name for f in plugin.flows if f.name in {g.name for g in other.flows}]:
                return f"it clashes with flow {flows[0]!r} of plug-in {other.name}; rename one of them"
            theirs = examples_of(other)
            if shared := sorted(set(own) & set(theirs)):
                return (
                    f"the example {shared[0]!r} of its flow {own[shared[0]]!r} also starts flow {theirs[shared[0]]!r} of plug-in "
                    f"{other.name}; nobody could tell them apart, so change one of them"
                )
        return ""

    def _flows_changed(self) -> None:
        self.flow_owners = {f.name: p.name for p in self._plugins.values() for f in p.flows}
        self.edition += 1

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

    def described(self, *, tools_of: str = "") -> list[dict[str, Any]]:
        """The report with what each plug-in may use, the JSON Schema of its configuration and how it is set now.

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
                more |= {"api": made.api, "schema": _schema(made), "about": (made.__doc__ or "").strip().partition("\n")[0]}
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
            try:
                for name in sorted({n for n, _ in before.configs.items() ^ now.configs.items()}):
                    self._reconfigured(name, self._records.config(name) if name in now.configs else None)
            except Unavailable as error:  # what is in use goes on, and it is tried again with the next call
                log(logger, logging.WARNING, "a configuration could not be read", event_reason=str(error))
                return
            self._seen = now

    def _reconfigured(self, name: str, config: Mapping[str, Any] | None) -> None:
        config = self._configs.get(name, {}) if config is None else config
        for id_, plugin in list(self._plugins.items()):
            if plugin.name != name:
                continue
            try:
                self._plugins[id_] = _rebuilt(plugin if isinstance(plugin, Isolated) else type(plugin), config)
                self._notes.get(id_, {}).pop("config", None)
            except Exception as error:  # a plug-in's door; the version that is in use goes on
                reason = str(error) if isinstance(error, AssistantError) else f"its configuration raised {type(error).__name__}"
                self._note(plugin, "config", reason)
            self._tools.pop(id_, None)
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
        self._flows_changed()

    # --- the three methods ---

    def handle(self, message: Message, around: Around, *, only: Sequence[str] = ()) -> Reply | None:
        """The first reply that a plug-in gives; `only`: as in `Around`."""
        for plugin in self._chosen(message.platform, only or around.only):
            attached = len(around.attached)
            given = self._call(plugin, "handle_message", message, around, message)
            if given is not None and (reply := self._reply(plugin, given)):
                return reply
            del around.attached[attached:]  # no reply, no files
        return None

    def menu(self, message: Message, around: Around) -> tuple[MenuItem, ...]:
        """The entries of all plug-ins, which are asked side by side."""
        asked = [(p, self._begun(p, "get_menu", message, around)) for p in self._chosen(message.platform, around.only)]
        items: list[MenuItem] = []
        for plugin, call in asked:
            for offered in self._ended(call):
                try:
                    items += [item for item in offered or () if isinstance(item, MenuItem)]
                except TypeError:
                    self._fault(plugin, f"get_menu gave {type(offered).__name__}; a sequence of MenuItem is wanted")
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
        listening = [
            self._begun(p, "on_event", message, around, event)
            for p in self._chosen(message.platform, around.only)
            if type(p).on_event is not BotPlugin.on_event
        ]
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
        given = self._call(plugin, "run_flow", message, around, name, form)
        return None if given is None else self._reply(plugin, given)

    # --- tools ---

    def tools(self, platform: str, *, only: Sequence[str] = ()) -> dict[str, Tool]:
        """The tools of the plug-ins that are ready, by name; of two with one name the first is offered."""
        offered: dict[str, Tool] = {}
        for plugin in self._chosen(platform, only):
            offered = {**self._tools_of(plugin), **offered}
        return offered

    def run_tool(self, name: str, raw: str, message: Message, around: Around) -> str:
        """The result as the model reads it. Raises ToolFailed with what the model is told, NeedsAuthorisation, Unavailable."""
        ready = self._chosen(message.platform, around.only)
        owner = next((p for p in ready if name in self._tools_of(p)), None)
        if owner is None:
            raise ToolFailed(f"there is no tool {name[:64]!r}")
        made = self._tools_of(owner)[name]
        arguments = read_arguments(made, raw)
        attached = len(around.attached)
        call = self._begun(owner, f"tool {name}", message, around, act=lambda ctx: made.run(ctx, arguments), seconds=made.seconds)
        try:
            outcome = self._ended(call)
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
            others = {n: id_ for id_, tools in self._tools.items() for n in tools if id_.partition("@")[0] != plugin.name}
            for name in [n for n in found if n in others]:
                owner = others[name].partition("@")[0]
                self._note(plugin, "tools", f"its tool {name!r} clashes with one of plug-in {owner}; rename one of them")
                del found[name]
            self._tools[_id(plugin)] = found
        return found

    def _offered(self, plugin: BotPlugin) -> Sequence[Tool]:
        """What `get_tools` gives; it may ask a server, and so has more time than an answer."""
        fence = Fence(LISTING_FACTOR * plugin.seconds, megabytes=plugin.megabytes, hosts=_hosts(plugin))
        call = _Call(plugin, "get_tools", fence, guarded=not isinstance(plugin, Isolated))
        call.start(plugin.get_tools)
        if fence.watch(call.thread, call.began) != "ended":
            raise Unavailable(f"get_tools of plug-in {plugin.name} does not end")
        if call.failure:
            raise call.failure[0]
        offered: Sequence[Tool] = call.outcome[0]
        return offered

    # --- who is asked ---

    def _chosen(self, platform: str, only: Sequence[str]) -> list[BotPlugin]:
        """One version of each plug-in that may be asked: the one that the ring names, else the oldest that works."""
        self._sync()
        wanted = dict(entry.partition("@")[::2] for entry in only)
        versions: dict[str, list[BotPlugin]] = {}
        for plugin in self._plugins.values():
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

    def _call(self, plugin: BotPlugin, method: str, message: Message, around: Around, *offered: Any) -> Any:
        """What the method gives; None where it failed."""
        try:
            outcome = self._ended(self._begun(plugin, method, message, around, *offered))
        except (ToolFailed, web.NotReached) as error:
            log(logger, logging.WARNING, "plug-in could not do it", event_reason=str(error), plugin=plugin.name)
            return None
        return outcome[0] if outcome else None

    def _begun(
        self,
        plugin: BotPlugin,
        what: str,
        message: Message,
        around: Around,
        *offered: Any,
        act: Callable[[PluginContext], Any] | None = None,
        seconds: float = 0,
    ) -> _Call:
        """The call of method `what`, or of `act`, under way in a thread of its own."""
        grace = COLD_SECONDS if isinstance(plugin, Isolated) else 0
        fence = Fence((seconds or plugin.seconds) + grace, megabytes=plugin.megabytes, hosts=_hosts(plugin))
        menu = tuple if what == "get_menu" else lambda: self._entries(message, around)
        call = _Call(plugin, what, fence, guarded=not isinstance(plugin, Isolated))
        call.start(
            act or (lambda ctx: offer(getattr(plugin, what), ctx, *offered)),
            lambda: self._doors.context(plugin, message, around, menu, fence),
        )
        return call

    def _ended(self, call: _Call) -> list[Any]:
        """What the call gives, in a list; empty where it failed. One that does not end is stopped, and counts as all faults.

        What a person has to do, or a service that is down, is nobody's fault: NeedsAuthorisation, Unavailable, NotReached and
        ToolFailed are raised on, but for a menu and an event, which are left at that.
        """
        plugin, what = call.plugin, call.what
        ended = call.fence.watch(call.thread, call.began)
        if ended == "late":
            self._fault(plugin, f"{what} took longer than {call.fence.seconds:g} s", weight=FAULTS)
            return []
        if ended == "large":
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


@dataclass(slots=True)
class _Call:
    """A call that runs in a thread of its own."""

    plugin: BotPlugin
    what: str
    fence: Fence
    guarded: bool
    outcome: list[Any] = field(default_factory=list)
    failure: list[Exception] = field(default_factory=list)
    began: float = 0.0
    thread: threading.Thread = field(default_factory=threading.Thread)

    def start(self, act: Callable[..., Any], *given: Callable[[], Any]) -> None:
        """Begins `act`, with what each of `given` makes."""

        def body() -> None:
            try:
                made = [one() for one in given]
                self.outcome.append(self.fence.run(lambda: act(*made)) if self.guarded else act(*made))
            except Exception as error:  # a plug-in's door: whatever it raises, the turn goes on
                self.failure.append(error)
            except Stopped:
                return
            except BaseException as error:  # SystemExit and the like would end the thread without a word
                self.failure.append(RuntimeError(type(error).__name__))

        self.began = time.monotonic()
        self.thread = threading.Thread(target=body, name=f"plugin-{self.plugin.name}", daemon=True)
        self.thread.start()


def _id(plugin: BotPlugin | type[BotPlugin]) -> str:
    return f"{plugin.name}@{plugin.version}"


def _ordered(plugins: Mapping[str, BotPlugin]) -> dict[str, BotPlugin]:
    """In the order of their names' first appearance, and of one name the oldest version first."""
    names = list(dict.fromkeys(p.name for p in plugins.values()))
    return dict(sorted(plugins.items(), key=lambda i: (names.index(i[1].name), order_of(i[1].version))))


def _hosts(plugin: BotPlugin) -> tuple[str, ...]:
    return tuple(h.lower() for h in (*plugin.permissions.hosts, *plugin.permissions.inside))


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
    call = _Call(BotPlugin({}), what, Fence(LOAD_SECONDS), guarded=False)
    call.start(make)
    if call.fence.watch(call.thread, call.began) != "ended":
        raise InvalidSetting(f"{what} took longer than {LOAD_SECONDS:g} s; nothing may wait there")
    if call.failure:
        raise call.failure[0]
    result: T = call.outcome[0]
    return result
