"""In a group the answer uses what everybody there may see, or goes to its asker alone: on every platform, through every door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assistant.audience import MEMBERS_SECONDS, MOST_MEMBERS, Audiences
from assistant.dev.emulator import Emulator
from assistant.errors import VendorUnavailable
from assistant.knowledge.service import Filing, Upload
from assistant.llm import ChatRequest, Event
from assistant.llm.builtin import BuiltinModel
from assistant.messages import Message
from assistant.observability import RECALLED, SEARCHED
from tests.simulators.stages import STAGES, Stage, WeComStage
from tests.support.house import House

BONUS = b"# Bonus\n\n## How high is the yearly bonus?\n\nThe yearly bonus is nine quetzal coins for everybody.\n"
QUESTION = "How high is the yearly bonus?"
SECRET = "quetzal"
ASKER = {"feishu": "ou_ann", "slack": "U0ANN", "dingtalk": "staff1", "wecom": "lin", "teams": "29:ann"}
OTHER = {"feishu": "ou_bo", "slack": "U0BO", "teams": "29:bo"}
TOLD = ("feishu", "slack", "teams")
"""Platforms that tell who is in a group."""
GRANTED = {
    "feishu": {"im:chat.members:read", "contact:contact.base:readonly", "contact:user.department:readonly"},
    "slack": {"channels:read", "usergroups:read"},
}


@dataclass
class Listening:
    """The built-in engine; keeps what it is asked."""

    asked: list[ChatRequest] = field(default_factory=list)
    name: str = "listening"

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        self.asked.append(request)
        yield from BuiltinModel().stream(request)


def vendor_of(stage: Stage) -> Any:
    """Each one's simulator has calls of its own."""
    return stage.vendor


class Team:
    """A group on one platform in which Ann asks."""

    def __init__(self, name: str, aws: Emulator, folder: Path, *, patience: float = 60) -> None:
        self.name = name
        self.stage: Stage = STAGES[name]()
        self.vendor = vendor_of(self.stage)
        self.stage.start()
        if name in GRANTED:
            self.vendor.scopes |= GRANTED[name]
        if name == "teams":
            self.vendor.chats[self.room.id].members = {"29:ann", "29:bo"}
        self.model = Listening()
        self.house = House(
            aws, secrets={name: self.stage.secrets}, model=self.model, knowledge_folder=str(folder), patience=patience
        )
        self.vendor.clock = self.house.now

    @property
    def room(self) -> Any:
        return next(r for r in self.stage.rooms if r.group)

    def hide(self, *tokens: str) -> None:
        """The bonus for those who hold one of `tokens`."""
        service = self.house.assistant.knowledge_service
        assert service.add([Upload(name="bonus.md", content=BONUS)], Filing(audience=frozenset(tokens))).added

    def belong(self, *people: str) -> None:
        """These are the people of the department 7 (on Slack, of the user group S7)."""
        match self.name:
            case "feishu":
                self.vendor.departments = {p: ["7"] for p in people}
            case "slack":
                self.vendor.groups = {"S7": list(people)}
            case "dingtalk":
                self.vendor.departments = {p: [[7, 1]] for p in people} | {p: [[1]] for p in {"staff1"} - set(people)}
            case "wecom":
                self.vendor.departments = {p: [7] for p in people}
                self.vendor.parents = {1: 0, 7: 1}

    def ask(self, text: str = QUESTION) -> None:
        self.house.offset += 2
        if isinstance(self.stage, WeComStage):
            stream = self.vendor.ask(self.house.receive, self.vendor.bot_text(text, chat=self.room.id), chat=self.room.id)
            self.house.drain()
            while self.vendor.poll(self.house.receive, stream):
                pass
        else:
            assert self.stage.say(self.room, text, self.house.receive) in (200, 202)
            self.house.drain()

    def seen_by_all(self) -> str:
        """Everything that the bot has shown to the group."""
        if self.name == "wecom":
            return "\n".join(s.text for s in self.vendor.chats.get(self.room.id, []) if not s.sender)
        return "\n".join(self.vendor.visible(self.room.id))

    def seen_by_ann(self) -> str:
        """What the bot has told Ann alone."""
        match self.name:
            case "slack":
                return "\n".join(p.shown for p in self.vendor.posts(self.room.id) if p.only_for == "U0ANN")
            case "wecom":
                return "\n".join(s.text for s in self.vendor.chats.get("lin", []) if not s.sender)
            case "teams":
                return "\n".join(self.vendor.visible("a:29:ann")) if "a:29:ann" in self.vendor.chats else ""
            case _:
                return "\n".join(self.vendor.visible(ASKER[self.name]))

    def prompted(self) -> str:
        """All that the model was told."""
        return repr(self.model.asked)


@pytest.fixture
def team(aws: Emulator, guides: Path) -> Iterator[Callable[..., Team]]:
    made: list[Team] = []

    def make(name: str, **more: Any) -> Team:
        made.append(Team(name, aws, guides, **more))
        return made[-1]

    yield make
    for one in made:
        one.stage.stop()


@pytest.mark.parametrize("name", TOLD)
def test_what_everybody_in_the_group_may_see_is_answered_in_the_group(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide(f"user:{name}:{ASKER[name]}", f"user:{name}:{OTHER[name]}")
    group.ask()
    assert SECRET in group.seen_by_all()
    assert SECRET not in group.seen_by_ann()


@pytest.mark.parametrize("name", sorted(STAGES))
def test_what_only_the_asker_may_see_goes_to_the_asker_alone(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide(f"user:{name}:{ASKER[name]}")
    group.ask()
    assert SECRET not in group.seen_by_all()
    assert SECRET in group.seen_by_ann()


@pytest.mark.parametrize("name", sorted(STAGES))
def test_what_the_asker_may_not_see_reaches_nobody_and_no_prompt(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide(f"user:{name}:somebody-else", "department:99", "group:S99", "ring:internal")
    group.ask()
    assert SECRET not in group.seen_by_all() + group.seen_by_ann() + group.prompted()


@pytest.mark.parametrize("name", ["dingtalk", "feishu", "slack", "wecom"])
def test_departments_and_groups_of_the_directory_count(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide("group:S7" if name == "slack" else f"department:{name}:7")
    group.belong(ASKER[name])
    group.ask()
    assert SECRET not in group.seen_by_all()
    assert SECRET in group.seen_by_ann()


@pytest.mark.parametrize("name", ["feishu", "slack"])
def test_a_department_of_everybody_in_the_group_is_answered_in_the_group(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide("group:S7" if name == "slack" else "department:7")
    group.belong(ASKER[name], OTHER[name])
    group.ask()
    assert SECRET in group.seen_by_all()


@pytest.mark.parametrize("name", sorted(STAGES))
def test_what_was_shared_with_the_chat_itself_is_answered_there(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide(f"group:{name}:{group.room.id}")
    group.ask()
    assert SECRET in group.seen_by_all()


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_private_answer_is_not_in_the_groups_history_nor_grows_before_its_eyes(team: Callable[..., Team], name: str) -> None:
    group = team(name, patience=0)
    group.hide(f"user:{name}:{ASKER[name]}")
    group.ask()
    assert SECRET in group.seen_by_ann()
    assert SECRET not in group.seen_by_all()
    group.model.asked.clear()
    group.ask("What did you just say about coins?")
    assert SECRET not in repr([request.messages for request in group.model.asked])


def test_the_cache_gives_a_group_nothing_that_somebody_was_told_privately(team: Callable[..., Team]) -> None:
    group = team("slack")
    group.hide("user:slack:U0ANN")
    private = next(r for r in group.stage.rooms if not r.group)
    group.stage.say(private, QUESTION, group.house.receive)
    group.house.drain()
    assert SECRET in "\n".join(group.vendor.visible(private.id))
    group.ask()
    assert SECRET not in group.seen_by_all()
    event = group.vendor.mention(group.room.id, "U0BO", QUESTION)
    group.house.offset += 2
    group.house.receive(group.vendor.event(event))
    group.house.drain()
    assert SECRET not in "\n".join(group.vendor.visible(group.room.id, user="U0BO"))


def test_somebody_who_joins_is_counted_within_a_minute(team: Callable[..., Team]) -> None:
    group = team("slack")
    group.hide("user:slack:U0ANN", "user:slack:U0BO")
    group.ask()
    assert SECRET in group.seen_by_all()
    before = group.seen_by_all().count(SECRET)
    group.vendor.channels[group.room.id].members.add("U0NEW")
    group.house.offset += MEMBERS_SECONDS + 1
    group.ask()
    assert group.seen_by_all().count(SECRET) == before
    assert SECRET in group.seen_by_ann()


@pytest.mark.parametrize("name", TOLD)
def test_while_the_vendor_does_not_tell_the_group_sees_what_everyone_may_see(team: Callable[..., Team], name: str) -> None:
    group = team(name)
    group.hide(f"user:{name}:{ASKER[name]}", f"user:{name}:{OTHER[name]}")
    group.vendor.fail("members", times=50, status=503)
    group.ask()
    assert SECRET not in group.seen_by_all()
    assert SECRET in group.seen_by_ann()


def test_a_base_that_hides_nothing_asks_no_vendor(team: Callable[..., Team]) -> None:
    group = team("slack")
    group.hide("everyone")
    group.ask()
    assert SECRET in group.seen_by_all()
    assert not [c for c in group.vendor.calls if "members" in c.path or "usergroups" in c.path]


# --- the rights themselves ---------------------------------------------------------------------


class Vendor:
    """Tells who is where; counts how often it is asked."""

    def __init__(self, members: tuple[str, ...] | None = None, belongs: tuple[str, ...] = (), down: bool = False) -> None:
        self.people, self.tokens, self.down, self.asked = members, belongs, down, 0

    def members(self, message: Message, *, most: int) -> tuple[str, ...] | None:
        self.asked += 1
        if self.down:
            raise VendorUnavailable("down", platform="slack")
        return self.people if self.people is None or len(self.people) <= most else None

    def belongs(self, user: str) -> tuple[str, ...]:
        self.asked += 1
        if self.down:
            raise VendorUnavailable("down", platform="slack")
        return self.tokens


def said(*, direct: bool, sender: str = "U1") -> Message:
    return Message(kind="text", platform="slack", channel="events", conversation="C1", sender=sender, dedup_id="1", direct=direct)


def rights(vendor: Vendor, **more: Any) -> Audiences:
    return Audiences(platform=lambda name: vendor, **more)  # type: ignore[arg-type,return-value]  # the two calls are all it uses


def test_alone_a_person_holds_what_is_theirs() -> None:
    found = rights(Vendor(belongs=("department:7",)), ring=lambda m: "internal").of(said(direct=True))
    assert found.asker == {"everyone", "user:slack:U1", "ring:internal", "department:7", "department:slack:7"}
    assert found.listeners == ()


def test_a_group_too_large_to_look_at_sees_what_everyone_may_see() -> None:
    vendor = Vendor(members=tuple(f"U{n}" for n in range(MOST_MEMBERS + 1)))
    assert rights(vendor).of(said(direct=False)).listeners == (frozenset({"everyone", "group:C1", "group:slack:C1"}),)


def test_a_vendor_that_is_down_is_asked_again_after_a_minute_and_not_before() -> None:
    now = [1000.0]
    vendor = Vendor(down=True)
    found = rights(vendor, clock=lambda: now[0])
    for _ in range(3):
        assert found.of(said(direct=True)).asker == {"everyone", "user:slack:U1"}
    assert vendor.asked == 1
    vendor.down, vendor.tokens = False, ("department:7",)
    now[0] += 61
    assert "department:7" in found.of(said(direct=True)).asker


def test_rings_of_listeners_are_their_own() -> None:
    found = rights(Vendor(members=("U1", "U2")), ring=lambda m: "internal" if m.sender == "U1" else "everyone").of(
        said(direct=False)
    )
    assert {t for one in found.listeners for t in one if t.startswith("ring:")} == {"ring:internal", "ring:everyone"}


# --- what it costs -----------------------------------------------------------------------------


def test_the_same_question_with_the_same_rights_is_searched_once_and_a_change_is_seen(team: Callable[..., Team]) -> None:
    group = team("slack")
    group.hide("everyone")
    group.ask()
    searched = group.house.metrics.total(SEARCHED)
    group.ask()
    assert group.house.metrics.total(SEARCHED) == searched
    assert group.house.metrics.total(RECALLED) >= 1
    group.house.assistant.knowledge_service.add([Upload(name="bonus.md", content=BONUS.replace(b"nine", b"ten"))], Filing())
    group.house.assistant.served.refresh()
    group.ask()
    assert "ten quetzal" in group.seen_by_all()


def test_a_turn_that_rests_on_the_knowledge_is_at_most_two_calls_more_than_a_plain_one(
    aws: Emulator, guides: Path, show: Callable[[str], None]
) -> None:
    house = House(aws, model=BuiltinModel(), knowledge_folder=str(guides))
    house.assistant.knowledge_service.add([Upload(name="bonus.md", content=BONUS)], Filing())
    for _ in range(2):  # a warm instance
        house.say(QUESTION)
        house.drain()
    house.recorder.take()
    house.say("How high is the bonus, then?")
    house.recorder.take()
    house.run(house.batch())
    calls = [c.operation for c in house.recorder.take()]
    show(f"an answer with sources and buttons: {calls}")
    assert SECRET in house.turns()[-1]["text"]
    assert house.turns()[-1]["buttons"]
    assert len(calls) <= 6
