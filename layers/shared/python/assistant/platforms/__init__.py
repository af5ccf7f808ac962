"""The chat platforms. A further one is one file with a `Platform` in it and one line in `PLATFORMS`.

A platform's module imports only the standard library, `assistant.messages`, `assistant.errors` and `cryptography` at its
top: the webhook function loads it cold. What only sending needs (httpx, `platforms.outbound`) is imported where it is used.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, Self, TypeVar

from assistant.errors import OutcomeUnknown, Refused, SendError, VerificationError
from assistant.messages import Attachment, File, HttpReply, Message, Received, Reply, Sent, StreamState, Webhook
from assistant.observability import log

if TYPE_CHECKING:
    from assistant.cache import Cache
    from assistant.platforms.outbound import Leaving, Pace

logger = logging.getLogger(__name__)

T = TypeVar("T")

LEDGER_SECONDS: Final = 24 * 3600.0
"""It is remembered so long that a part was sent; longer than any delivery comes again."""

__all__ = ["PLATFORMS", "Department", "Finding", "Platform", "StreamState", "platform_class"]

PLATFORMS: Final[Mapping[str, str]] = {
    "webchat": "assistant.platforms.webchat:WebChat",
    "feishu": "assistant.platforms.feishu:Feishu",
    "slack": "assistant.platforms.slack:Slack",
    "dingtalk": "assistant.platforms.dingtalk:DingTalk",
    "wecom": "assistant.platforms.wecom:WeCom",
    "teams": "assistant.platforms.teams:Teams",
}
"""Name in the webhook's path → the class, imported only when the platform is addressed."""


class _LeftBefore(Exception):
    """An earlier try may have sent it."""


class Told(str):
    """An English sentence that knows what it was filled from, so that it can be said again in the reader's language.

    `Told("{count} messages wait", count=3)` is "3 messages wait". The English sentence with its gaps is the key under which
    `locales/findings.json` has the other languages' sentences.
    """

    __slots__ = ("key", "values")
    key: str
    values: Mapping[str, object]

    def __new__(cls, key: str, /, **values: object) -> Self:
        """`key` with its gaps filled; a value may be a sentence of this kind itself."""
        made = super().__new__(cls, key.format(**values) if values else key)
        made.key, made.values = key, values
        return made

    @classmethod
    def reason(cls, error: Exception) -> Self:
        """What the error says; in other languages its kind is named before it."""
        made = super().__new__(cls, error)
        made.key, made.values = f"error {type(error).__name__}", {"reason": str(error)}
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's report: what was looked at, how it is, and the exact fix where it is not good.

    In English; a sentence with something filled in is `Told`, and `assistant.doctor.worded` says it in the reader's language.
    """

    check: str
    state: Literal["ok", "warning", "fault", "unknown"]
    detail: str
    fix: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Department:
    """A department in the platform's directory."""

    id: str
    name: str
    parent: str = ""
    """Id of the department above it; empty at the top."""
    leaders: tuple[tuple[str, str], ...] = ()
    """Id and name of each person who leads it."""


class Workspace(Protocol):
    """One further workspace in which the app is installed."""

    @property
    def team(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """As people know it."""

    @property
    def bot_user(self) -> str:
        """The bot's user id there."""

    @property
    def bot(self) -> str:
        """The bot's id there."""


class Workspaces(Protocol):
    """The workspaces beside the secret's own in which the app is installed. Raises Unavailable."""

    def of(self, teams: Iterable[str]) -> Workspace | None:
        """The first of `teams` in which it is installed; None where it is in none of them."""

    def token(self, workspace: Any) -> str:
        """The bot's token there; empty where it is gone."""

    def list(self) -> Sequence[Workspace]:
        """All of them."""

    def delete(self, team: str, *, before: float | None = None) -> None:
        """Forgets an installation; with `before`, one that was made by that Unix second."""


class Files(Protocol):
    """Objects by their paths."""

    def get(self, path: str) -> bytes:
        """The whole object; KeyError where there is none."""


class Platform(ABC):
    """One chat platform: `receive` turns its webhooks into messages, `send` puts a reply where the message came from.

    `secrets` are the fields of the platform's secret; `api_base` among them replaces the vendor's host. `sleep` waits between
    repeats of a call and for a vendor's limits.
    """

    name: ClassVar[str]
    channels: ClassVar[tuple[str, ...]]
    """Webhook paths below `/webhook/{name}/`."""
    stream_interval: ClassVar[float] = 0.0
    """Seconds between two states of a growing reply that the vendor allows; 0: this platform cannot show one."""
    pulls: ClassVar[bool] = False
    """True where a person's client fetches the states of a reply from us; then sending is storing."""

    remembers: ClassVar[bool] = False
    """True where `send` itself notes what it has sent, for longer than any delivery comes again: a repeat shows nothing twice."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        *,
        cache: Cache | None = None,
        clock: Callable[[], float] = time.time,
        replay_window: float = 10 * 3600,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.secrets = secrets
        self.clock = clock
        self.sleep = sleep
        self.replay_window = replay_window
        self._cache = cache
        self.files: Callable[[], Files] | None = None
        """Where files lie that people put in through our own page; set by the assembly."""
        self.workspaces: Callable[[], Workspaces] | None = None
        """Where else the app is installed, for a vendor whose apps serve several workspaces; set by the assembly."""

    def secret(self, name: str) -> str:
        """The secret field `name`; a missing one fails closed with VerificationError."""
        if value := self.secrets.get(name):
            return value
        raise VerificationError(f"{self.name}: secret field {name!r} is not configured")

    @property
    def cache(self) -> Cache:
        """Where tokens are kept; shared with the other instances where the assembly gave a shared one."""
        if self._cache is None:
            from assistant.cache import Cache

            self._cache = Cache(clock=self.clock)
        return self._cache

    @cached_property
    def pace(self) -> Pace:
        """What keeps our calls within the vendor's limits."""
        from assistant.platforms.outbound import Pace

        return Pace(self.name, clock=self.clock, sleep=self.sleep)

    # --- in ---

    @abstractmethod
    def receive(self, webhook: Webhook) -> Received:
        """What the webhook amounts to. Raises VerificationError before anything of an unproven body is believed, and
        Refused for a proven one that cannot be read."""

    def hear(self, message: Message) -> None:
        """Told, once a message of kind `other` leaves the queue, of what concerns the platform itself."""

    def forget(self) -> None:
        """Receives from now on as a new instance would; what was loaded from the vendor stays."""

    def answer_pull(self, webhook: Webhook, received: Received, *, text: str, final: bool) -> HttpReply:
        """The reply to a request for the state of stream `received.pull`: the whole `text` so far."""
        raise Refused(f"{self.name} does not fetch replies")

    def stream_id(self, message: Message) -> str:
        """Under which id a pulling platform will ask for the reply to `message`; empty where it does not pull."""
        return ""

    # --- out ---

    @abstractmethod
    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Shows `reply` where `to` was said, in several parts where it is long.

        `key` is the same for every try to send this reply (≤ 40 ASCII letters, digits and `-`); `attempt` > 1 says that an
        earlier try may have succeeded, so that a platform without idempotent sends looks before it sends again.
        Raises a SendError.
        """

    def open_stream(self, *, to: Message, key: str, attempt: int = 1) -> StreamState | None:
        """Shows an empty, growing reply; None where this conversation cannot show one. Raises a SendError.

        Called again with the same `key` when an earlier call may have shown something before its state was stored: then that
        one has to grow, or to be taken away.
        """
        return None

    def update_stream(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        """Shows the whole `text` so far; never called more often than `stream_interval`. Raises a SendError."""
        raise NotImplementedError(f"{self.name} opened no stream")

    def finish_stream(self, state: StreamState, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Lands the final text, sources and buttons, in the growing reply or, where that is gone, as a message."""
        raise NotImplementedError(f"{self.name} opened no stream")

    def update_card(self, message: Message, reply: Reply) -> None:
        """Replaces the card on which `message` (a `card_action`) was clicked; nothing where the vendor cannot."""

    def fetch(self, message: Message, *, limit: int) -> File:
        """The file that `message` carries. Raises ContentRefused above `limit` bytes, and a SendError."""
        raise NotImplementedError(f"{self.name} messages carry no files")

    def private_chat(self, user: str) -> Message:
        """An address at which `send` reaches the person with the platform's id `user`, without a message of theirs."""
        return Message(kind="other", platform=self.name, channel=self.channels[0], conversation=user, sender=user, dedup_id=user)

    def private_chat_beside(self, user: str, message: Message) -> Message:
        """The same for somebody of the company that `message` came from, with what the vendor wants to know about that."""
        return replace(self.private_chat(user), tenant=message.tenant)

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Whether `file` can be sent where `to` was said; where not, the reply links to it instead."""
        return False

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Sends `file` where `to` was said, or to its sender alone. `key` is the same for every try: it is shown once.

        Raises a SendError.
        """
        raise NotImplementedError(f"{self.name} cannot be sent files")

    # --- who reads along ---

    def members(self, message: Message, *, most: int) -> tuple[str, ...] | None:
        """Ids of the people who read along where `message` was said, its sender among them; None where the vendor does not tell,
        or where they are more than `most`. Raises a SendError."""
        return None

    def belongs(self, user: str) -> tuple[str, ...]:
        """Where the person with this id belongs: `department:ID`, those above it too, and `group:ID`, by the vendor's directory.

        Raises a SendError.
        """
        return ()

    def departments(self) -> Iterator[Department]:
        """The company's departments with those who lead them, by the vendor's directory; none where it has none.

        Raises a SendError.
        """
        return iter(())

    def asks_opinions(self, message: Message) -> bool:
        """Whether buttons under an answer to `message` are quiet enough to stand under every one."""
        return True

    def opinion(self, message: Message, asked: Callable[[], Sequence[str]]) -> tuple[str, bool] | None:
        """Where `message` is an opinion told in the platform's own way: which of the messages `asked` its answer belongs to, and
        whether it is good. None for everything else."""
        return None

    def noted(self, name: str, act: Callable[[Leaving], str]) -> str:
        """The vendor's id of what `act` sends, for vendors that know no repeat; "" where an earlier try may have sent it.

        `act` makes its request through what it is given: noted the moment it leaves, when nothing is waited for any more, and
        forgotten where it is refused; what left without a receipt is held to be seen.
        """
        key = f"{self.name}/sent/{name}"

        def leaving(request: Callable[[], T]) -> T:
            if not self.cache.first(key, LEDGER_SECONDS):
                raise _LeftBefore(key)
            try:
                return request()
            except OutcomeUnknown:
                raise
            except SendError:
                self.cache.drop(key)  # refused: nobody has seen it
                raise

        try:
            return act(leaving)
        except _LeftBefore:
            return ""
        except OutcomeUnknown as error:
            log(logger, logging.WARNING, "no receipt, held to be seen", platform=self.name, error_type=type(error).__name__)
            return ""

    # --- set-up, doctor ---

    def announce(self, public_url: str) -> str:
        """Tells the vendor where we listen, where it has a call for that, and says what was done; empty: nothing to do.

        `public_url` is where the HTTP API is reached from outside. Raises a SendError.
        """
        return ""

    def show_menu(self, entries: Sequence[tuple[str, str]], *, language: str) -> str:
        """Offers `entries` (title and key) in the vendor's own menu, where it has a call for that, and says what was done.

        A click comes back as a message of kind `menu` with that key. Empty: nothing to do. Raises a SendError.
        """
        return ""

    def diagnose(self) -> list[Finding]:
        """Credentials, clock, reachability and permissions, each with the exact fix. Raises nothing that a vendor can cause."""
        return []


def platform_class(name: str) -> type[Platform]:
    """The class of the platform called `name`; raises Refused (404) for an unknown one."""
    if name not in PLATFORMS:
        raise Refused(f"no platform {name!r}; known: {', '.join(sorted(PLATFORMS))}", status=404)
    module, _, attribute = PLATFORMS[name].partition(":")
    found: Any = getattr(import_module(module), attribute)
    result: type[Platform] = found
    return result
