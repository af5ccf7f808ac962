"""What a plug-in's tests need: a conversation without a network, a platform or a model, and a clock that stands still.

def test_lunch() -> None:
    assert say(Canteen(), "What is for lunch?").text == "Noodles with vegetables."
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from assistant import web
from assistant.errors import NeedsAuthorisation
from assistant.flows import Flows, Said, State
from assistant.messages import Attachment, Button, File, Kind, Message, Passage, Reply
from assistant.nlu import Understander, Understanding, train
from assistant.platforms.files import content_type
from assistant.plugins import MENU, Around, BotPlugin, MenuItem, Plugins, build
from assistant.storage import Conflict
from assistant.words import language_of

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Where a frozen clock starts: a Monday morning."""


@dataclass
class FrozenClock:
    """A clock that moves when it is told to."""

    now: datetime = MONDAY

    def advance(self, **units: float) -> None:
        """Moves the clock, as `timedelta(**units)` does."""
        self.now += timedelta(**units)


class MemoryTable:
    """A table in memory with the methods that a plug-in's store uses."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Mapping[str, Any]] = {}

    def get(self, pk: str, sk: str, *, consistent: bool = True) -> Mapping[str, Any] | None:
        """The item, or None."""
        return self._items.get((pk, sk))

    def put(self, item: Mapping[str, Any], *, condition: str = "", values: Mapping[str, Any] | None = None) -> None:
        """Keeps the item. Of conditions it knows those of a store: nothing stands there yet, or this body does."""
        where = str(item["pk"]), str(item["sk"])
        there = self._items.get(where)
        if condition and (there is not None if values is None else there is None or there.get("body") != values["old"]):
            raise Conflict("the condition does not hold", there)
        self._items[where] = dict(item)

    def query(self, pk: str, *, prefix: str = "", limit: int = 0) -> list[Mapping[str, Any]]:
        """The items whose names begin with `prefix`, in order."""
        found = [i for (p, s), i in sorted(self._items.items()) if p == pk and s.startswith(prefix)]
        return found[:limit] if limit else found

    def delete(self, pk: str, sk: str) -> None:
        """Removes the item."""
        self._items.pop((pk, sk), None)


@dataclass(frozen=True)
class Someone:
    """Who the asker is at a provider, in a test."""

    id: str
    name: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Letter:
    """What a plug-in wrote to somebody."""

    platform: str
    user: str
    reply: Reply


Answers = Callable[[str, str, Mapping[str, str], bytes], web.WebReply]


@dataclass
class Talk:
    """A conversation with plug-ins, flows included. `secrets`: fields by plug-in name; `clock` may be moved between messages.

    `tokens`: what the asker has allowed, by provider; where it is missing the reply asks for it, as a real one does.
    `answers`: what hosts answer, by the beginning of the address: a function of method, address, headers and body.
    `told`: what the plug-ins have written to others. `knows`: the passages that a search
    finds. `files`: what they let their answers carry.
    """

    plugins: list[BotPlugin]
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    clock: FrozenClock = field(default_factory=FrozenClock)
    zone: str = "UTC"
    user: str = "ann"
    tokens: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    told: list[Letter] = field(default_factory=list)
    knows: tuple[Passage, ...] = ()
    files: list[File] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._table = MemoryTable()
        self._all = Plugins(
            self.plugins,
            table=self._table,  # type: ignore[arg-type]  # as much of a table as a store needs
            secrets=lambda name: self.secrets.get(name.removeprefix("plugin-"), {}),
            authority=lambda: self,
            tell=lambda: self,
            search=lambda message, question, limit: self.knows[:limit],
            call=self._called,
            files=lambda: self,
        )
        self._flows = Flows(self._all.flows)
        self._state = State()
        self._count = 0
        examples = self._flows.examples()
        self._understander: Understander | None = train(examples) if examples else None

    def say(self, text: str, *, kind: Kind = "text", **more: Any) -> Reply | None:
        """The reply to `text`; None where no plug-in has one and the knowledge or the model would answer."""
        return self._answer(self._message(text, kind, **more))

    def press(self, button: Button) -> Reply | None:
        """The reply to a click on `button`."""
        if button.key == MENU and isinstance(button.value, str):
            return self.say(button.value)
        return self._answer(self._message("", "card_action", action_key=button.key, action_value=button.value))

    def token(self, message: Message, provider: str, scopes: Sequence[str] = (), *, refused: str = "") -> str:
        """The token in `tokens`."""
        if self.tokens.get(provider, refused) == refused:
            raise NeedsAuthorisation(provider, tuple(scopes))
        return self.tokens[provider]

    def account(self, message: Message, provider: str) -> Someone:
        """The user, where `tokens` names the provider."""
        self.token(message, provider)
        return Someone(id=self.user, name=self.user, ids=(self.user,))

    def tell(self, reply: Reply, *, platform: str, user: str, conversation: str, beside: Message, key: str, attempt: int) -> None:
        """Adds to `told`."""
        self.told.append(Letter(platform=platform, user=user, reply=reply))

    def keep(self, message: Message, name: str, content: bytes) -> Attachment:
        """Adds to `files`."""
        file = File(name=name, content=content, content_type=content_type(content, name=name))
        self.files.append(file)
        return Attachment(name=name, content_type=file.content_type, size=len(content), path=f"test/{len(self.files)}")

    def _called(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, **more: Any) -> web.WebReply:
        for start in sorted(self.answers, key=len, reverse=True):
            if url.startswith(start):
                return self.answers[start](method, url, headers, body or b"")
        raise web.NotReached(f"{url}: nothing in `answers` begins so")

    def use(self, tool: str, **arguments: Any) -> str:
        """What the model would read after calling `tool` with `arguments`. Raises ToolFailed with what it would be told."""
        message = self._message("", "text")
        self._all.tools("webchat")
        return self._all.run_tool(tool, json.dumps(arguments), message, self._around(message))

    def hear(self, kind: Kind, **more: Any) -> None:
        """Tells the plug-ins of an event."""
        message = self._message("", kind, **more)
        self._all.hear(message, self._around(message))

    def menu(self, language: str = "en") -> tuple[MenuItem, ...]:
        """The menu's entries."""
        message = self._message("", "menu")
        return self._all.menu(message, Around(language=language, now=self._now(), key="menu"))

    @property
    def faults(self) -> list[str]:
        """Why plug-ins are not ready."""
        return [p.reason for p in self._all.report() if p.state != "ready"]

    def _now(self) -> datetime:
        return self.clock.now.astimezone(ZoneInfo(self.zone))

    def _around(self, message: Message) -> Around:
        return Around(language=language_of(message.text), now=self._now(), key=message.dedup_id)

    def _message(self, text: str, kind: Kind, **more: Any) -> Message:
        self._count += 1
        id_ = f"test-{self._count}"
        given = {"conversation": "test", "sender": self.user, "message_id": id_, "dedup_id": id_} | more
        return Message(kind=kind, platform="webchat", channel="messages", text=text, **given)

    def _answer(self, message: Message) -> Reply | None:
        try:
            return self._thought(message)
        except NeedsAuthorisation as need:
            return Reply(text=f"[Allow access to {need.provider}: {' '.join(need.scopes)}]", private=True)

    def _thought(self, message: Message) -> Reply | None:
        from assistant.slots import Context

        around = self._around(message)
        understood = self._understander.understand(message.text) if self._understander and message.text else _NOTHING
        said = Said(text=message.text, action_key=message.action_key, action_value=message.action_value)
        result = self._flows.step(
            self._state, said, understood=understood, context=Context(now=around.now), language=around.language
        )
        self._state = result.state
        if result.act and result.act.kind == "run":
            return self._all.run_flow(result.act.flow, self._flows.form(result.act), message, around)
        return result.reply or self._all.handle(message, around)


_NOTHING = Understanding(intent="", confidence=0.0, best="")


def make(plugin: type[BotPlugin], **config: Any) -> BotPlugin:
    """The plug-in with its configuration checked as at load; raises InvalidSetting with the reason."""
    return build(plugin, config)


def say(plugin: BotPlugin, text: str, **more: Any) -> Reply | None:
    """The reply of one plug-in to one text."""
    return Talk([plugin]).say(text, **more)
