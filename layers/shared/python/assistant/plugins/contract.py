"""The plug-in contract on one page: what a plug-in is, what it may use, what surrounds a call."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from assistant import web
from assistant.errors import AssistantError
from assistant.messages import JSON, Attachment, Message, Passage, Reply
from assistant.storage import Conflict, Table
from assistant.tools import Tool, tools_in
from assistant.words import Words, nearest, spoken

MENU: Final = "menu"
"""Key of a menu entry's button; its value is the text that the entry stands for."""

LARGEST_VALUE: Final = 100_000
"""Characters of JSON that one stored value of a plug-in may have."""

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
    hosts: tuple[str, ...] = ()
    """Hosts that it may call, at public addresses alone."""
    inside: tuple[str, ...] = ()
    """Hosts that it may call wherever they stand, in the company's own network too, but for a cloud's metadata service. Only an
    operator may name one: take them from the configuration, never from a message."""
    tells: bool = False
    """Whether it may write to people who have not asked anything."""
    knowledge: bool = False
    """Whether it may search the knowledge, with the asker's rights."""
    files: bool = False
    """Whether its answers may carry files."""


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
        body = self._text(name, value)
        self._open().put({"pk": self._room, "sk": name, "body": body, "expires": int(time.time()) + days * 86400})

    def swap(self, name: str, old: JSON, new: JSON, *, days: int = 365) -> bool:
        """Keeps `new` where `old`, as `get` gave it, is still what stands there (None: nothing); False where it is not any more.

        Of two that decide the same thing at the same time, one gets True.
        """
        body = self._text(name, new)
        ends = int(time.time()) + days * 86400
        try:
            self._open().put(
                {"pk": self._room, "sk": name, "body": body, "expires": ends},
                condition="attribute_not_exists(#pk)" if old is None else "#body = :old",
                values=None if old is None else {"old": json.dumps(old, ensure_ascii=False)},
            )
        except Conflict as met:
            return met.item.get("body") == body  # our own write, repeated after a lost answer
        return True

    def list(self, prefix: str, *, most: int = 50) -> dict[str, JSON]:
        """The values whose names begin with `prefix`, by name, in their order."""
        found = self._open().query(self._room, prefix=prefix, limit=most)
        return {str(i["sk"]): json.loads(str(i["body"])) for i in found}

    def delete(self, name: str) -> None:
        """Forgets the value."""
        self._open().delete(self._room, name)

    def _text(self, name: str, value: JSON) -> str:
        body = json.dumps(value, ensure_ascii=False)
        if len(body) > LARGEST_VALUE:
            raise NotAllowed(f"value {name!r} has {len(body)} characters; at most {LARGEST_VALUE} can be kept")
        return body

    def _open(self) -> Table:
        if self._table is None:
            raise NotAllowed("this plug-in may keep nothing; declare Permissions(store=True)")
        return self._table


Search = Callable[[Message, str, int], Sequence[Passage]]
"""Passages for a message's author: the question, and how many at most."""


class Tell(Protocol):
    """What writes to somebody who has not asked."""

    def tell(self, reply: Reply, *, platform: str, user: str, conversation: str, beside: Message, key: str, attempt: int) -> None:
        """Shows `reply` to the person. Raises Unavailable where a later try makes sense, NotReached where none does."""


class Keep(Protocol):
    """What keeps files for answers."""

    def keep(self, message: Message, name: str, content: bytes) -> Attachment:
        """A file for the answer to `message`. Raises ContentRefused, Unavailable."""


class Authority(Protocol):
    """What gives a plug-in the asker's own authority."""

    def token(self, message: Message, provider: str, scopes: Sequence[str] = (), *, refused: str = "") -> str:
        """The asker's access token, another one than `refused`. Raises NeedsAuthorisation where there is none."""

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
    user_name: str = ""
    """As the platform calls them, where it says so."""
    platform: str
    conversation: str
    direct: bool
    """True in a one-to-one chat."""
    key: str
    """The same for every delivery of the message: an idempotency key for whatever the plug-in does elsewhere."""
    store: Store
    _menu: Callable[[], tuple[MenuItem, ...]] = field(default=tuple, repr=False)
    _secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    _as_asker: Callable[..., Any] | None = field(default=None, repr=False)
    _call: Callable[..., web.WebReply] | None = field(default=None, repr=False)
    _tell: Callable[..., None] | None = field(default=None, repr=False)
    _search: Callable[[str, int], tuple[Passage, ...]] | None = field(default=None, repr=False)
    _attach: Callable[[str, bytes], Attachment] | None = field(default=None, repr=False)

    @property
    def menu(self) -> tuple[MenuItem, ...]:
        """The entries of all plug-ins."""
        return self._menu()

    def token(self, provider: str, scopes: Sequence[str] = (), *, refused: str = "") -> str:
        """The asker's own access token at `provider`, with `scopes` (empty: all that the permissions name).

        Where the asker has not allowed it yet, the call ends here: they are asked privately, and once they have allowed it the
        same message comes again by itself. `refused`: a token given before that the provider has just not accepted; another one
        is made, or the asker is asked once more. Raises NotAllowed for what the permissions do not name.
        """
        result: str = self._ask("token", provider, tuple(scopes), refused)
        return result

    def account(self, provider: str) -> Any:
        """Who the asker is at `provider`: `id`, `name` and `ids`, proven by a sign-in there."""
        return self._ask("account", provider, ())

    def _ask(self, what: str, provider: str, scopes: tuple[str, ...], refused: str = "") -> Any:
        if self._as_asker is None:
            raise NotAllowed("nobody can be asked for access here")
        return self._as_asker(what, provider, scopes, refused)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: JSON = None,
        body: bytes | None = None,
        seconds: float = 10.0,
        most_bytes: int = web.MOST_BYTES,
    ) -> web.WebReply:
        """What a host among the permissions' answers: `status`, `content`, `headers`; a status of 400 and more is an answer too.

        The time that it takes is not the plug-in's. Raises NotReached for no answer, one that is too large or too slow, and a
        private address; NotAllowed for a host that the permissions do not name.
        """
        if self._call is None:
            raise NotAllowed("nothing can be called here")
        return self._call(method, url, headers=headers, json_body=json, body=body, seconds=seconds, most_bytes=most_bytes)

    def search(self, question: str, *, limit: int = 5) -> tuple[Passage, ...]:
        """The passages of the knowledge that are good enough to answer `question`, best first: what the asker may see, and in a
        group what everybody may see who reads along. Raises Unavailable, NotAllowed."""
        if self._search is None:
            raise NotAllowed("this plug-in may not search the knowledge; declare Permissions(knowledge=True)")
        return self._search(question, limit)

    def tell(self, user: str, reply: Reply | str, *, platform: str = "", conversation: str = "", about: str = "") -> None:
        """Writes to the person with the platform's id `user`, privately, once however often this turn is taken.

        `platform`: theirs where it is not the asker's. `conversation`: where to write on a platform that reaches nobody by name,
        as the web chat. `about` tells several letters of one turn to one person apart. A click on a button of the reply comes to
        `handle_message`. Raises Unavailable where the platform cannot be reached, NotAllowed.
        """
        if self._tell is None:
            raise NotAllowed("this plug-in may write to nobody; declare Permissions(tells=True)")
        reply = Reply(text=reply) if isinstance(reply, str) else reply
        self._tell(user, reply, platform=platform or self.platform, conversation=conversation, about=about)

    def attach(self, name: str, content: bytes) -> Attachment:
        """Lets the answer to this message carry a file of at most 4 MiB, whether the plug-in words it or the model after a tool.

        It is shown as a picture or as a file, by what its bytes are; a chat that takes no files gets a link. A call that fails or
        gives no answer attaches nothing. Raises ContentRefused for an empty or a too large one, Unavailable, NotAllowed.
        """
        if self._attach is None:
            raise NotAllowed("this plug-in's answers carry no files; declare Permissions(files=True)")
        return self._attach(name, content)

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
    title: ClassVar[Words] = ""
    """What people call it, in one text or one for each language; empty: the name."""
    about: ClassVar[Words] = ""
    """What it does, in one line for each language; empty: the first line of the docstring."""
    Config: ClassVar[type[BaseModel]] = NoConfig
    """What can be set; the console's form is drawn from it. A field's `json_schema_extra={"zh-CN": {"title": "…",
    "description": "…"}}` says it in another language."""
    permissions: Permissions = Permissions()
    """Of the class, or set by `__init__` where the configuration decides."""
    flows: Sequence[Any] = ()
    """Things that take several questions, as `assistant.Flow`; set by `__init__` where the configuration decides."""
    seconds: ClassVar[float] = 5.0
    """Longest time one call may take."""
    megabytes: ClassVar[int] = 256
    """By how much the memory may grow during one call."""

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


def has(plugin: BotPlugin, method: str) -> bool:
    """Whether the plug-in has a `method` of its own, rather than the contract's, which does nothing."""
    return method in getattr(plugin, "__dict__", {}) or getattr(type(plugin), method) is not getattr(BotPlugin, method)


def introduced(plugin: BotPlugin | type[BotPlugin], language: str) -> dict[str, str]:
    """What the plug-in is called and what it does, in `language`: `title` and `about`."""
    made = plugin if isinstance(plugin, type) else type(plugin)
    docstring = (made.__doc__ or "").strip().partition("\n")[0]
    title, about = (spoken(texts(given), language) for given in (made.title, made.about))
    return {"title": title or made.name, "about": about or docstring}


def texts(given: object) -> Words:
    """A text, or one for each language; empty where a plug-in of 1.0 means something else by the name."""
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping) and all(isinstance(text, str) for text in given.values()):
        return dict(given)
    return ""


def schema_in(schema: Any, language: str) -> Any:
    """A JSON Schema with the titles and descriptions that its parts have for `language`."""
    if isinstance(schema, list):
        return [schema_in(part, language) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    tongue = nearest(language)
    own = schema.get(tongue)
    said = {k: v for k, v in own.items() if k in ("title", "description")} if isinstance(own, Mapping) else {}
    return {
        k: {name: schema_in(part, language) for name, part in v.items()} if k == "properties" else schema_in(v, language)
        for k, v in schema.items()
        if k != tongue
    } | said


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a call's context is made of, apart from the message."""

    language: str
    now: datetime
    key: str
    only: tuple[str, ...] = ()
    """Plug-ins that the asker's ring offers: names, `name@version` for one of several versions, `*` for all others as well."""
    attached: list[Attachment] = field(default_factory=list)
    """Files that plug-ins have let the answer carry."""


def offer(method: Callable[..., T], *arguments: Any) -> T:
    """Calls `method` with as many of the last `arguments` as it takes: a contract that grows breaks no older plug-in."""
    function = getattr(method, "__func__", None)  # of a bound method: one for all instances
    taken = _taken(method) if function is None else _taken_once(function)
    if taken is None:
        return method(*arguments)
    if function is not None:
        taken -= 1
    return method(*arguments[len(arguments) - taken :]) if taken > 0 else method()


def _taken(function: Callable[..., Any]) -> int | None:
    """How many arguments the function takes by their places; None for any number."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


_taken_once = lru_cache(maxsize=2000)(_taken)
"""A signature takes longer to read than most calls do."""
