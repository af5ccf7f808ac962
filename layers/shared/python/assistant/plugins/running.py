"""All plug-ins of a process, and a fence around every call: one that raises, hangs or grows is stopped, and the turn goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from assistant import web
from assistant.errors import AssistantError, InvalidSetting, NeedsAuthorisation, ToolFailed, Unavailable
from assistant.messages import JSON, Message, Reply
from assistant.observability import PLUGIN_FAULTS, Metrics, log
from assistant.plugins.contract import (
    Around,
    Authority,
    BotPlugin,
    Event,
    MenuItem,
    NotAllowed,
    Permissions,
    PluginContext,
    Store,
    Tell,
    offer,
)
from assistant.plugins.loading import Loaded, build, plugin_in
from assistant.storage import Conflict, Table, key
from assistant.tools import Tool, checked_tool, read_arguments, shown, toolbox

logger = logging.getLogger(__name__)

FAULTS: Final = 3
"""Faults after which a plug-in is left out."""

LISTING_FACTOR: Final = 4
"""A plug-in has this many times its `seconds` to say which tools it offers: it may have to ask a server."""

LONGEST_REPLY: Final = 30_000
"""Characters of a plug-in's reply that are shown."""

TOLD_DAYS: Final = 7
"""It is remembered so long that somebody was written to; longer than any delivery comes again."""


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
        tell: Callable[[], Tell] | None = None,
        call: Callable[..., web.WebReply] = web.request,
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
        self._tell = tell
        self._call_out = call
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

        def as_asker(what: str, provider: str, scopes: tuple[str, ...], refused: str = "") -> Any:
            if provider not in allowed.tokens:
                raise NotAllowed(f"provider {provider!r} is not among this plug-in's permissions; declare Permissions(tokens=…)")
            if more := sorted(set(scopes) - set(allowed.tokens[provider])):
                raise NotAllowed(f"scope {more[0]!r} of {provider} is not among this plug-in's permissions")
            if self._authority is None:
                raise NotAllowed("nobody can be asked for access here")
            with fence:  # the provider's time is not the plug-in's
                if what == "account":
                    return self._authority().account(message, provider)
                again = {"refused": refused} if refused else {}
                token = self._authority().token(message, provider, scopes or allowed.tokens[provider], **again)
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
            _call=partial(self._request, allowed, fence),
            _tell=partial(self._told, plugin.name, message, around.key, fence) if allowed.tells and self._tell else None,
        )

    def _request(
        self,
        allowed: Permissions,
        fence: _Fence,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None,
        json_body: JSON,
        body: bytes | None,
        seconds: float,
        most_bytes: int,
    ) -> web.WebReply:
        host = (urlsplit(url).hostname or "").lower()
        if host not in allowed.hosts and host not in allowed.inside:
            raise NotAllowed(f"host {host!r} is not among this plug-in's permissions; declare Permissions(hosts=…)")
        sent = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body, ensure_ascii=False).encode()
            sent.setdefault("content-type", "application/json; charset=utf-8")
        with fence:  # the other side's time is not the plug-in's
            return self._call_out(
                method,
                url,
                headers=sent,
                body=body,
                hosts=[host],
                allow=web.is_no_metadata if host in allowed.inside else web.is_public,
                seconds=min(seconds, 30.0),
                most_bytes=most_bytes,
            )

    def _told(
        self,
        plugin: str,
        message: Message,
        turn: str,
        fence: _Fence,
        user: str,
        reply: Reply,
        *,
        platform: str,
        conversation: str,
        about: str,
    ) -> None:
        """Writes to somebody once: what was sent is noted, so that a turn taken again writes nothing twice."""
        if self._tell is None:
            raise NotAllowed("nobody can be written to here")
        name = hashlib.sha256("\n".join((plugin, turn, platform, user, about)).encode()).hexdigest()[:32]
        where, attempt = key("X", self._tenant, plugin), 1
        with fence:
            if self._table is not None:
                ends = int(time.time()) + TOLD_DAYS * 86400
                try:
                    self._table.put(
                        {"pk": where, "sk": f"~told#{name}", "body": '"begun"', "expires": ends},
                        condition="attribute_not_exists(#pk)",
                    )
                except Conflict as met:
                    if met.item.get("body") == '"done"':
                        return
                    attempt = 2
            self._tell().tell(
                reply, platform=platform, user=user, conversation=conversation, tenant=message.tenant, key=name, attempt=attempt
            )
            if self._table is not None:
                self._table.put({"pk": where, "sk": f"~told#{name}", "body": '"done"', "expires": ends})

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
