"""Growth: what a turn takes as everything that can become more becomes ten and a hundred times as much.

AWS is played by a process of its own, so that this process's time is the turn's: all of its threads are counted.
"""

from __future__ import annotations

import compileall
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel

from assistant import BotPlugin, Message, Permissions, PluginContext, Reply
from assistant.dev.emulator import Emulator
from assistant.flows import Ask, Flow
from assistant.oauth.vault import Account, Person, Tokens
from assistant.plugins import Plugins
from assistant.rollout import REFRESH_SECONDS
from assistant.storage import key
from assistant.tools import Tool, tool
from assistant.workspaces import Workspace
from tests.benchmarks import knowledge
from tests.benchmarks.report import Curve, Row, Section
from tests.simulators.slack import SlackSimulator, Team
from tests.support.apart import Apart
from tests.support.house import House, ScriptedModel

HISTORY: Final = 7
FIRST: Final = HISTORY + 1
"""Turns that are not measured: they build what the others find, and fill the history, without which one reads less."""
ANSWER: Final = "An answer of the usual length. " * 12

Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Stand:
    """What is measured: `begin` brings the next message to the queue's end, or does all there is to do."""

    house: House
    say: Callable[[str], object]
    clock: Callable[[], float] = time.process_time


Grown = Callable[[Emulator, Sequence[int]], Iterator[Stand]]
"""The same stand at each size, the smallest first."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One thing that grows."""

    what: str
    grown: Grown
    share: float = 1.0
    """Part of the section's sizes that it is measured at."""
    plain: bool = True
    """Whether the turn asks nothing but the model: the promises of calls and units hold for it."""
    most: float = 1.5
    """How many times the processor time a hundred times as much may take."""
    again: float = 0.0
    """Seconds after which what grows is read again, where it is kept in memory."""


def measure(runs: int, sizes: Sequence[int], passages: Sequence[int], *, progress: Callable[[str], None]) -> Section:
    """A row for each size (of some things a part of it) of each thing that grows; counts must not grow."""
    rows: list[Row] = []
    curves: list[Curve] = []
    with tempfile.TemporaryDirectory() as scratch:
        aws = Apart(Path(scratch) / "aws")
        aws.start()
        before, tempfile.tempdir = tempfile.tempdir, scratch  # where learned intents are kept
        try:
            for kind in KINDS:
                _measure(kind, aws, runs, sizes, progress, rows, curves)
            _keys(aws, [max(1, n // 2) for n in sizes], progress, rows)
        finally:
            tempfile.tempdir = before
            aws.stop()
        _starts(Path(scratch), [max(1, n // 5) for n in sizes], progress, rows, curves)
    _passages(passages, progress, rows, curves)
    how = (
        f"median of {runs} turns against a local AWS in another process, model apart; processor ms: of all threads;"
        " × is against the first row of its kind"
    )
    return Section(title="Growth", how=how, rows=rows, curves=curves, x="how many", y="processor ms", logx=True)


def _measure(
    kind: Kind,
    aws: Emulator,
    runs: int,
    sizes: Sequence[int],
    progress: Callable[[str], None],
    rows: list[Row],
    curves: list[Curve],
) -> None:
    counted = [max(1, int(n * kind.share)) for n in sizes]
    points: list[tuple[float, float]] = []
    first: Figures = {}
    figures: Figures = {}
    for size, stand in zip(counted, kind.grown(aws, counted), strict=True):
        progress(f"{size} {kind.what}")
        figures = _turns(stand, runs, size)
        first = first or figures
        points.append((size, figures["processor ms"]))
        same = all(figures[n] <= first[n] for n in ("AWS calls", "RRU", "WRU"))
        goal, met = "counted: calls and units as before", same
        if kind.plain:
            goal, met = "counted: calls as before, ≤ 2 RRU, ≤ 3 WRU", same and figures["RRU"] <= 2 and figures["WRU"] <= 3
        if kind.again:
            figures |= {"RRU, read again": _read_again(stand, kind.again, size)}
        shown: dict[str, float | str] = {**figures, "× processor": figures["processor ms"] / first["processor ms"]}
        rows.append(Row(name=f"{size:,} {kind.what}", figures=shown, goal=goal, met=met))
    grew = figures["processor ms"] / first["processor ms"]
    times = counted[-1] // counted[0]
    rows.append(
        Row(name=f"× {times}: {kind.what}", figures={"× processor": grew}, goal=f"≤ {kind.most:g} ×", met=grew <= kind.most)
    )
    curves.append(Curve(name=kind.what, points=tuple(points)))


def _turns(stand: Stand, runs: int, size: int) -> Figures:
    processor: list[float] = []
    calls: list[int] = []
    read: list[float] = []
    write: list[int] = []
    house = stand.house
    for n in range(runs + FIRST):
        stand.say(f"{size}-{n}")
        records = house.batch()
        house.recorder.take()
        cpu = stand.clock()
        house.assistant.worker.process({"Records": records}, seconds=150)
        spent = (stand.clock() - cpu) * 1000
        made = house.recorder.take()
        house.delete(records)
        if n >= FIRST:
            processor.append(spent)
            calls.append(len(made))
            read.append(sum(c.read for c in made))
            write.append(sum(c.write for c in made))
    return {  # the usual turn's counts: every 20 s one reads the rings again
        "processor ms": statistics.median(processor),
        "AWS calls": float(statistics.median_low(calls)),
        "RRU": statistics.median_low(read),
        "WRU": float(statistics.median_low(write)),
    }


def _read_again(stand: Stand, seconds: float, size: int) -> float:
    """Read units of the turn that reads again what is kept for some seconds."""
    stand.house.offset += seconds + 1
    stand.say(f"{size}-again")
    records = stand.house.batch()
    stand.house.recorder.take()
    stand.house.assistant.worker.process({"Records": records}, seconds=150)
    stand.house.delete(records)
    return sum(c.read for c in stand.house.recorder.take())


# --- what grows ------------------------------------------------------------------------------------------


def _house(aws: Emulator, tenant: str, **more: Any) -> House:
    return House(aws, model=ScriptedModel([ANSWER]), history_turns=HISTORY, tenant=tenant, **more)


def _stand(house: House, conversation: str = "c", user: str = "u") -> Stand:
    tenant = house.settings.tenant

    def say(n: str) -> str:
        return house.say(
            f"And how long is it, {n}?", conversation=f"{tenant}-{conversation}", user=f"{tenant}-{user}", id=f"{tenant}-{n}"
        )

    return Stand(house=house, say=say)


def _answer(stand: Stand, n: str) -> None:
    stand.say(n)
    records = stand.house.batch()
    stand.house.assistant.worker.process({"Records": records}, seconds=150)
    stand.house.delete(records)


def _history(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    stand, before = _stand(_house(aws, "history")), 0
    for size in sizes:
        for n in range(before, size):
            _answer(stand, f"old{n}")
        before = size
        yield stand


def _others(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    house, before = _house(aws, "others"), 0
    for size in sizes:
        for n in range(before, size):
            _stand(house, f"other{n}", f"user{n}").say(f"other{n}")
            if n % 10 == 9 or n == size - 1:
                house.drain()
        before = size
        yield _stand(house)


def _tenants(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    house, before = _house(aws, "tenant"), 0
    for size in sizes:
        for n in range(before, size):
            _answer(_stand(_house(aws, f"tenant{n}")), "first")
        before = size
        yield _stand(house)


def _plugins(make: Callable[[int], type[BotPlugin]]) -> Grown:
    def grown(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
        for size in sizes:
            house = _house(aws, f"{make.__name__.strip('_')}{size}")
            house.assistant._plugins = Plugins([make(n)(None) for n in range(size)], table=house.assistant.table)
            yield _stand(house)

    return grown


def _with_tool(n: int) -> type[BotPlugin]:
    class Made(BotPlugin):
        name: ClassVar[str] = f"made{n}"
        version = "1.0.0"
        api = "^1.0"

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            return Reply(text="mine") if message.text == f"command {n}" else None

        @tool(name=f"look_up_{n}")
        def look_up(self, ctx: Any, number: int) -> str:
            """Looks something up."""
            return f"{number}"

    return Made


class Wish(BaseModel):
    """What a form asks for."""

    days: Annotated[int, Ask("How many days?")]


_SYLLABLES: Final = ["ba", "ke", "mi", "no", "ru", "ta", "fe", "lo", "si", "pu", "da", "ge"]


def _word(n: int) -> str:
    """A word of its own for each number."""
    return "".join(_SYLLABLES[n // 12**power % 12] for power in range(3))


def _with_form(n: int) -> type[BotPlugin]:
    word = _word(n)

    class Made(BotPlugin):
        name: ClassVar[str] = f"form{n}"
        flows = (
            Flow(
                name=f"form_{n}",
                form=Wish,
                title=f"ask for a {word}",
                examples=(f"I want a {word}", f"order a {word} for me", f"please get the {word}", f"我要一个{word}"),
            ),
        )

        def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> str:
            return f"{form.days} days."

    return Made


def _offered(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    for size in sizes:
        parameters = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
        tools = [
            Tool(name=f"look_up_{n}", description="Looks something up.", parameters=parameters, run=lambda ctx, given: "found")
            for n in range(size)
        ]
        made = type("Made", (BotPlugin,), {"name": "toolbox", "get_tools": lambda self, tools=tools: tools})
        house = _house(aws, f"offered{size}")
        house.assistant._plugins = Plugins([made(None)], table=house.assistant.table)
        yield _stand(house)


def _people_in_a_ring(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    house = _house(aws, "ring")
    for size in sizes:
        named = [f"webchat:somebody-{n}" for n in range(size)]
        house.assistant.rollouts.set({"people": named, "capacity": 0}, ring="internal", who="growth", why="to measure")
        yield _stand(house)


def _authorisations(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    class Diary(BotPlugin):
        name = "diary"
        permissions = Permissions(tokens={"slack": ("search:read",)})

        def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
            return Reply(text=ctx.token("slack")[:4] + ANSWER)

    own = {"client_id": "client", "client_secret": "secret"}
    house, before = _house(aws, "authorised", public_url="https://assistant.example", secrets={"oauth-slack": own}), 0
    vault = house.assistant.authorisations.vault
    house.assistant._plugins = Plugins(
        [Diary(None)], table=house.assistant.table, authority=lambda: house.assistant.authorisations
    )
    for size in sizes:
        for n in range(before, size):
            person = Person("authorised", "webchat", "authorised-u" if n == 0 else f"somebody-{n}")
            vault.store(
                person, "slack", Tokens(access=f"xoxp-{n}", scopes=("search:read",)), asked=(), account=Account(id=f"U{n}")
            )
        before = size
        yield _stand(house)


def _workspaces(aws: Emulator, sizes: Sequence[int]) -> Iterator[Stand]:
    with SlackSimulator() as slack:
        house, before = _house(aws, "workspaces", public_url="https://assistant.example", secrets={"slack": slack.secrets}), 0
        slack.clock = house.now
        team = slack.teams["xoxb-0"] = Team("T0", "U0BOT", "B0", "xoxb-0", "Workspace 0")
        for size in sizes:
            for n in range(before, size):
                about = Workspace(team=f"T{n}", name=f"Workspace {n}", bot_user=f"U{n}BOT", bot=f"B{n}", grant=f"g{n}")
                house.assistant.workspaces.store(about, f"xoxb-{n}")
            before = size

            def say(n: str) -> None:
                reply = house.receive(slack.event(slack.say("D1", "U1", f"And how long is it, {n}?", team=team.id), team=team))
                assert reply.status == 200, reply

            yield Stand(house=house, say=say, clock=time.thread_time)  # Slack is played in this process


KINDS: Final = (
    Kind(what="turns in the conversation", grown=_history),
    Kind(what="other conversations", grown=_others),
    Kind(what="other tenants in the table", grown=_tenants, share=0.1),
    Kind(what="Slack workspaces", grown=_workspaces, share=0.1),
    Kind(what="people named in a ring", grown=_people_in_a_ring, again=REFRESH_SECONDS),
    Kind(what="people who allowed access", grown=_authorisations, plain=False),
    Kind(what="plug-ins with a tool each", grown=_plugins(_with_tool), share=0.2, plain=False),
    Kind(what="plug-ins with a form each", grown=_plugins(_with_form), share=0.2, plain=False),
    Kind(what="tools offered to the model", grown=_offered, share=0.2, plain=False),
)


# --- what is no turn -------------------------------------------------------------------------------------


def _keys(aws: Emulator, sizes: Sequence[int], progress: Callable[[str], None], rows: list[Row]) -> None:
    """What it takes to know an API key, among more and more of them."""
    house, before, first = _house(aws, "keys"), 1, 0.0
    access, table = house.assistant.access, house.assistant.table
    _, secret = access.add(name="key", role="user", per_minute=0)
    (like,) = table.query(key("KEY", "keys"))
    for size in sizes:
        progress(f"{size} API keys")
        for n in range(before, size):  # as alike as keys are: making one reads all the others
            table.put({**like, "sk": f"{n:012x}"})
        before = size
        house.offset += 31
        header = f"Bearer {secret}"
        access.identify(header, role="user")  # reads the keys
        house.recorder.take()
        spent = _each(partial(access.identify, header, role="user"), 200)
        first = first or spent
        calls = len(house.recorder.take())
        house.offset += 31
        access.identify(header, role="user")
        read = sum(c.read for c in house.recorder.take())
        figures: dict[str, float | str] = {"processor ms": spent, "AWS calls": float(calls), "RRU": 0.0, "WRU": 0.0}
        figures |= {"× processor": spent / first, "RRU, read again": read}
        rows.append(Row(name=f"{size:,} API keys, a request", figures=figures, goal="counted: no call", met=not calls))


def _each(act: Callable[[], object], times: int) -> float:
    """Milliseconds of processor time that one `act` takes."""
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) * 1000 / times


PLUGIN: Final = '''
from typing import Annotated, Any

from pydantic import BaseModel

from assistant import BotPlugin, Flow, PluginContext
from assistant.flows import Ask
from assistant.tools import tool


class Wish(BaseModel):
    days: Annotated[int, Ask("How many days?")]


class Made(BotPlugin):
    """Looks things up."""

    name = "{name}"
    flows = (Flow(name="{name}_form", form=Wish, title="ask", examples=("I want a {word}", "order a {word} for me")),)

    def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> str:
        return "done"

    @tool(name="look_up_{name}")
    def look_up(self, ctx: Any, number: int) -> str:
        """Looks something up."""
        return str(number)
'''


def _starts(scratch: Path, sizes: Sequence[int], progress: Callable[[str], None], rows: list[Row], curves: list[Curve]) -> None:
    """What a process takes until plug-ins have been imported, compared with each other, and named their tools and examples."""
    sys.path.insert(0, str(scratch))
    points: list[tuple[float, float]] = []
    each: list[float] = []
    try:
        for size in (1, *sizes):  # the first one imports what all need
            progress(f"start with {size} plug-ins")
            package = f"grown{size}" if points or size > 1 else "grown"
            folder = scratch / package
            folder.mkdir()
            (folder / "__init__.py").touch()
            for n in range(size):
                (folder / f"p{n}.py").write_text(PLUGIN.format(name=f"p{n}", word=_word(n)), encoding="utf-8")
            compileall.compile_dir(folder, quiet=2)
            began = time.process_time()
            plugins = Plugins.load({f"p{n}": f"{package}.p{n}" for n in range(size)}, {})
            offered = plugins.tools("webchat")
            spent = (time.process_time() - began) * 1000
            assert len(offered) == len(plugins.flows) == size, plugins.report()
            if package != "grown":
                points.append((size, spent))
                each.append(spent / size)
                rows.append(
                    Row(
                        name=f"a start with {size} plug-ins",
                        figures={"processor ms": spent, "each ms": spent / size, "× processor": spent / points[0][1]},
                    )
                )
    finally:
        sys.path.remove(str(scratch))
    grew = each[-1] / each[0]
    rows.append(
        Row(
            name=f"× {sizes[-1] // sizes[0]}: a start, for each plug-in",
            figures={"× processor": grew},
            goal="≤ 1.5 ×",
            met=grew <= 1.5,
        )
    )
    curves.append(Curve(name="a start with plug-ins", points=tuple(points)))


def _passages(sizes: Sequence[int], progress: Callable[[str], None], rows: list[Row], curves: list[Curve]) -> None:
    """A search by words, opening and adding, in knowledge of more and more passages."""
    found: list[dict[str, float]] = []
    for size in sizes:
        progress(f"{size:,} passages")
        with tempfile.TemporaryDirectory() as folder:
            found.append(knowledge.measure(size, min(500, size), Path(folder)))
        now = found[-1]
        figures: dict[str, float | str] = {
            "processor ms": now["p50_cpu_ms"],
            "× processor": now["p50_cpu_ms"] / found[0]["p50_cpu_ms"],
            "p99 ms": now["p99_cpu_ms"],
            "open ms": now["open_and_first_cpu_ms"],
            "add ms": now["add_one_cpu_s"] * 1000,
            "MB": now["size_mb"],
        }
        broken = [name for name, most in knowledge.PROMISES if now[name] > most]
        goal = "≤ 15 ms at p99, ≤ 150 ms open, ≤ 2 s add"
        rows.append(Row(name=f"{size:,} passages, a search", figures=figures, goal=goal, met=not broken))
    curves.append(Curve(name="passages, a search", points=tuple((f["passages"], f["p50_cpu_ms"]) for f in found)))
