"""What a plug-in clashes with is looked up; the finding is what comparing it with every other one would find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from assistant import BotPlugin
from assistant.flows import Ask, Flow
from assistant.plugins import Plugins
from assistant.plugins.loading import examples_of, order_of
from assistant.tools import tool, tool_names


class Wish(BaseModel):
    days: Annotated[int, Ask("How many days?")]


class Other(BaseModel):
    """Its examples decide."""

    said: str = ""


def described(name: str, version: str, flows: Sequence[tuple[str, Sequence[str]]], tools: Sequence[str]) -> BotPlugin:
    made: dict[str, Any] = {"name": name, "version": version, "run_flow": lambda self, ctx, flow, form: "done"}
    made["flows"] = tuple(Flow(name=f, form=Wish, title=f, examples=tuple(e)) for f, e in flows)
    for n, called in enumerate(tools):

        def act(self: BotPlugin) -> str:
            """Acts."""
            return ""

        made[f"act{n}"] = tool(name=called)(act)
    plugin: BotPlugin = type(name.title(), (BotPlugin,), made)(None)
    return plugin


def compared(plugins: Sequence[BotPlugin]) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """By comparing each with every one before it: who is used, in order; why the others are not; whose tools clash last."""
    used: list[BotPlugin] = []
    refused: dict[str, str] = {}
    noted: dict[str, str] = {}

    def id_(plugin: BotPlugin) -> str:
        return f"{plugin.name}@{plugin.version}"

    def clash(plugin: BotPlugin) -> str:
        if id_(plugin) in map(id_, used):
            return "version"
        own: dict[str, str] = {}
        for flow in plugin.flows:
            for said in examples_of(described("x", "1.0", [(flow.name, flow.examples)], [])):
                if own.setdefault(said, flow.name) != flow.name:
                    return "itself"
        for other in used:
            if other.name == plugin.name:
                continue
            for flow in plugin.flows:
                if flow.name in {f.name for f in other.flows}:
                    return f"flow {flow.name} of {other.name}"
            if shared := sorted(set(own) & set(examples_of(other))):
                return f"example {shared[0]} of {other.name}"
        return ""

    for plugin in plugins:
        if reason := clash(plugin):
            refused.setdefault(id_(plugin), reason)
            continue
        used.append(plugin)
        names = list(dict.fromkeys(p.name for p in used))
        used.sort(key=lambda p: (names.index(p.name), order_of(p.version)))
        for other in used:
            if other.name != plugin.name and (both := sorted(tool_names(plugin) & tool_names(other))):
                noted[id_(plugin)] = f"{both[0]} of {other.name}"
    return [id_(p) for p in used], refused, noted


few = st.sampled_from
flows = st.lists(
    st.tuples(few("fgh"), st.lists(few(["a b", "A  b!", "c", "d?", "e"]), max_size=2)), max_size=2, unique_by=lambda f: f[0]
)
one = st.builds(
    described, few(["p", "q", "r", "s"]), few(["1.0", "1.1", "2.0"]), flows, st.lists(few("tuv"), max_size=2, unique=True)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(one, max_size=7))
def test_what_is_looked_up_is_what_comparing_all_of_them_finds(plugins: list[BotPlugin]) -> None:
    used, refused, noted = compared(plugins)
    report = Plugins(plugins).report()
    assert [f"{p.name}@{p.version}" for p in report if p.state == "ready"] == used
    found: dict[str, str] = {}
    for one in (p for p in report if p.state == "refused"):
        found.setdefault(f"{one.name}@{one.version}", one.reason)
    assert found.keys() == refused.keys()
    for id_, reason in refused.items():
        kind, _, rest = reason.partition(" ")
        wanted = {
            "version": "it clashes with another plug-in of this name and version",
            "itself": "its flows",
            "flow": f"it clashes with flow {rest.partition(' ')[0]!r} of plug-in {rest[-1:]};",
            "example": f"the example {rest.rpartition(' of ')[0]!r} of its flow",
        }[kind]
        assert found[id_].startswith(wanted), (found[id_], reason)
        assert kind != "example" or f"of plug-in {rest[-1]};" in found[id_]
    notes = {f"{p.name}@{p.version}": p.notes for p in report if p.notes}
    assert notes == {
        id_: (f"its tool {clash[0]!r} clashes with one of plug-in {clash[-1]}; rename one of them",)
        for id_, clash in noted.items()
    }


class Saying(BotPlugin):
    """Starts with what it is told."""

    name = "saying"
    Config = Other

    def __init__(self, config: Other) -> None:
        super().__init__(config)
        self.flows = (Flow(name="say", form=Wish, title="say", examples=(config.said,)),)

    def run_flow(self, ctx: Any, flow: str, form: Any) -> str:
        return "done"


def test_an_example_that_another_configuration_has_given_up_is_free() -> None:
    plugins = Plugins([Saying(Other(said="leave"))])
    plugins._reconfigured("saying", {"said": "holiday"})
    for name, said, ready in (("one", "leave", True), ("two", "holiday", False)):
        plugins.add(described(name, "1.0", [(name, [said])], []))
        assert [p.state == "ready" for p in plugins.report() if p.name == name] == [ready]
