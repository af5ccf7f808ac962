"""One thread makes many plug-ins' calls, and none of them notices the others."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from assistant import BotPlugin, Event, MenuItem, Message, Permissions, PluginContext
from assistant.plugins import FAULTS, Around, Plugins
from assistant.testing import MONDAY

Act = Callable[[PluginContext], Any]


def plugin(name: str, act: Act | None = None, *, method: str = "handle_message", **more: Any) -> BotPlugin:
    methods = {method: lambda self, ctx, *rest: act(ctx)} if act else {}
    made: BotPlugin = type(name.title(), (BotPlugin,), {"name": name, **methods, **more})(None)
    return made


def place() -> tuple[Message, Around]:
    message = Message(kind="text", platform="webchat", channel="messages", conversation="c", sender="u", dedup_id="d", text="hi")
    return message, Around(language="en", now=MONDAY, key="k")


def text(plugins: Plugins) -> str:
    reply = plugins.handle(*place())
    return reply.text if reply else ""


def test_two_hundred_that_have_nothing_to_say_share_a_thread() -> None:
    threads: list[int] = []

    def note(ctx: PluginContext) -> None:
        threads.append(threading.get_ident())

    plugins = Plugins([plugin(f"p{n}", note) for n in range(200)])
    assert plugins.handle(*place()) is None
    assert (len(threads), len(set(threads))) == (200, 1)
    assert threads[0] != threading.get_ident()


def test_the_thread_is_kept_for_the_next_message() -> None:
    threads: list[int] = []
    plugins = Plugins([plugin("p", lambda ctx: threads.append(threading.get_ident()))])
    for _ in range(20):
        plugins.handle(*place())
    assert len(set(threads)) == 1


def test_who_has_no_method_is_not_prepared_for_it() -> None:
    read: list[str] = []

    def secrets(name: str) -> dict[str, str]:
        read.append(name)
        return {}

    silent = plugin("silent", permissions=Permissions(secrets=("key",)))
    plugins = Plugins([silent], secrets=secrets)
    plugins.handle(*place())
    plugins.menu(*place())
    plugins.hear(*place())
    assert read == []


def test_a_method_that_an_instance_was_given_is_called() -> None:
    taught = plugin("taught")
    vars(taught)["handle_message"] = lambda message: "taught"  # as some plug-ins choose it by their configuration
    assert text(Plugins([taught])) == "taught"


def test_one_that_hangs_is_stopped_and_those_after_it_are_asked_in_order() -> None:
    asked: list[str] = []

    def spin(ctx: PluginContext) -> None:
        while True:
            asked.append("spin") if "spin" not in asked else None

    def noting(name: str, answer: str | None = None) -> Act:
        def note(ctx: PluginContext) -> str | None:
            asked.append(name)
            return answer

        return note

    plugins = Plugins(
        [
            plugin("a", noting("a")),
            plugin("spin", spin, seconds=0.1),
            plugin("b", noting("b")),
            plugin("c", noting("c", "from c")),
            plugin("d", noting("d", "from d")),
        ]
    )
    assert text(plugins) == "from c"
    assert asked == ["a", "spin", "b", "c"]
    assert [p.state for p in plugins.report()] == ["ready", "quarantined", "ready", "ready", "ready"]


def rest(ctx: PluginContext) -> None:
    threading.Event().wait(0.15)


def test_each_has_its_own_time_however_long_the_others_took() -> None:
    plugins = Plugins([plugin(f"p{n}", rest, seconds=0.3) for n in range(4)])
    assert plugins.handle(*place()) is None
    assert [p.state for p in plugins.report()] == ["ready"] * 4


def test_memory_that_another_one_keeps_is_not_counted() -> None:
    kept: list[bytearray] = []
    plugins = Plugins(
        [
            plugin("keeps", lambda ctx: kept.append(bytearray(60_000_000)), megabytes=200),
            plugin("rests", rest, megabytes=40),
        ]
    )
    assert plugins.handle(*place()) is None
    assert [p.faults for p in plugins.report()] == [0, 0]


def test_one_that_raises_is_counted_and_the_next_one_answers() -> None:
    def broken(ctx: PluginContext) -> None:
        raise SystemExit("on purpose")

    plugins = Plugins([plugin("broken", broken), plugin("fine", lambda ctx: "fine")])
    for _ in range(FAULTS + 1):
        assert text(plugins) == "fine"
    assert [p.state for p in plugins.report()] == ["quarantined", "ready"]


def test_context_variables_that_one_sets_are_not_set_for_the_next_one() -> None:
    mode = ContextVar("mode", default="none")
    seen: list[str] = []

    def change(ctx: PluginContext) -> None:
        seen.append(mode.get())
        mode.set("changed")

    mode.set("ours")
    assert Plugins([plugin("a", change), plugin("b", change)]).handle(*place()) is None
    assert seen == ["none", "none"]


def test_many_slow_listeners_hear_at_the_same_time() -> None:
    together = threading.Barrier(20, timeout=10)
    heard: list[int] = []

    def hear(self: BotPlugin, ctx: PluginContext, event: Event) -> None:
        heard.append(together.wait())

    plugins = Plugins([plugin(f"p{n}", on_event=hear) for n in range(20)])
    plugins.hear(*place())
    assert sorted(heard) == list(range(20))
    assert [p.faults for p in plugins.report()] == [0] * 20


def test_a_plugin_may_ask_for_the_menu_that_others_make() -> None:
    def offer(self: BotPlugin, ctx: PluginContext) -> list[MenuItem]:
        return [MenuItem(title=self.name, text=self.name)]

    others = [plugin(f"p{n}", get_menu=offer) for n in range(5)]
    shows = plugin("shows", lambda ctx: " ".join(item.text for item in ctx.menu))
    assert text(Plugins([*others, shows])) == "p0 p1 p2 p3 p4"


def test_the_threads_name_says_which_plugin_runs() -> None:
    named: list[str] = []
    plugins = Plugins([plugin(n, lambda ctx: named.append(threading.current_thread().name)) for n in ("one", "two")])
    plugins.handle(*place())
    assert named == ["plugin-one", "plugin-two"]


def test_plugins_work_in_a_process_that_was_forked() -> None:
    plugins = Plugins([plugin("p", lambda ctx: "here")])
    assert text(plugins) == "here"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, and they are what this is about
        child = os.fork()
    if not child:
        os._exit(0 if text(plugins) == "here" else 1)
    until = time.monotonic() + 10
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
        threading.Event().wait(0.01)
    if not ended[0]:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended == (child, 0)
