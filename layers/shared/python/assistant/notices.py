"""What people are written who have not asked: an administrator about what only they can mend, once per cause; and a letter that a
plug-in sends to somebody else than its asker."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from assistant.errors import (
    AssistantError,
    InvalidSetting,
    MissingPermission,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SendError,
    TokenDead,
    Unavailable,
    VendorUnavailable,
)
from assistant.messages import Message, Reply
from assistant.observability import log
from assistant.platforms import Platform
from assistant.sessions import Sessions
from assistant.storage import Conflict, Table, key
from assistant.web import NotReached
from assistant.words import say

logger = logging.getLogger(__name__)

QUIET_SECONDS: Final = 7 * 86400
"""The same cause is told again only after this long."""


def administrators(setting: str) -> tuple[tuple[str, str], ...]:
    """Platform and user id of each entry of `slack:U123,feishu:ou_abc`; raises InvalidSetting for an entry without both."""
    people = []
    for entry in filter(None, (part.strip() for part in setting.split(","))):
        platform, _, user = entry.partition(":")
        if not platform or not user:
            raise InvalidSetting(f"administrator {entry!r} must be PLATFORM:USER_ID, as slack:U123")
        people.append((platform, user))
    return tuple(people)


class Notices:
    """One small write per cause, then a private message to each administrator who can be reached."""

    def __init__(
        self,
        table: Table,
        *,
        people: Sequence[tuple[str, str]],
        platform: Callable[[str], Platform],
        language: str = "en",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._people = tuple(people)
        self._platform = platform
        self._language = language
        self._clock = clock

    def is_administrator(self, message: Message) -> bool:
        """Whether the message comes from one of them."""
        return (message.platform, message.sender) in self._people

    def about(self, error: SendError, platform: str) -> None:
        """Tells of a refusal that waiting does not mend: a missing permission (by name, with its page) or a dead token."""
        if not isinstance(error, MissingPermission | TokenDead):
            return
        scopes = ", ".join(error.scopes) if isinstance(error, MissingPermission) else ""
        what = "missing_permission" if scopes else "refused_credentials" if isinstance(error, TokenDead) else "refused_action"
        where = error.console_url if isinstance(error, MissingPermission) else ""
        text = say(f"notice_{what}", self._language, platform=platform, scopes=scopes, code=error.code or "–", where=where)
        self.tell(f"{platform}/{what}/{scopes or error.code}", text)

    def tell(self, cause: str, text: str) -> bool:
        """Sends `text` unless `cause` was told lately; True when it was news. Raises nothing: a notice never fails a turn."""
        log(logger, logging.ERROR, "an administrator is needed", event_reason=cause)
        try:
            if not self._is_news(cause):
                return False
        except AssistantError:
            return False  # without the table a flood could follow; the log has it
        for name, user in self._people:
            try:
                platform = self._platform(name)
                key_ = f"notice-{hashlib.sha256(f'{cause}/{user}'.encode()).hexdigest()[:24]}"
                platform.send(Reply(text=text), to=platform.private_chat(user), key=key_)
            except AssistantError as error:
                log(logger, logging.ERROR, "an administrator cannot be reached", event_reason=str(error), platform=name)
        return True

    def _is_news(self, cause: str) -> bool:
        now = int(self._clock())
        try:
            self._table.put(
                {"pk": key("A", cause), "sk": "notice", "told": now, "expires": now + QUIET_SECONDS},
                condition="attribute_not_exists(#pk) OR #told < :before",
                values={"before": now - QUIET_SECONDS},
            )
        except Conflict:
            return False
        return True


class Letters:
    """Writes to people privately; on a platform that shows stored turns, into the conversation that is named."""

    def __init__(
        self, *, platform: Callable[[str], Platform], sessions: Sessions, tenant: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._platform = platform
        self._sessions = sessions
        self._tenant = tenant
        self._clock = clock

    def tell(self, reply: Reply, *, platform: str, user: str, conversation: str, beside: Message, key: str, attempt: int) -> None:
        """Shows `reply` to the person. Raises Unavailable where a later try makes sense, NotReached where none does."""
        try:
            there = self._platform(platform)
        except Refused as error:
            raise NotReached(f"nobody can be written to at {platform!r}: {error}") from error
        to = there.private_chat_beside(user, beside) if beside.platform == platform else there.private_chat(user)
        to = replace(to, tenant=to.tenant or self._tenant)
        if there.pulls:
            self._keep(reply, replace(to, conversation=conversation or user), key=key)
            return
        try:
            there.send(replace(reply, private=True), to=to, key=key, attempt=attempt)
        except (RateLimited, VendorUnavailable, OutcomeUnknown) as error:
            raise Unavailable(str(error), retry_after=getattr(error, "retry_after", None)) from error
        except SendError as error:
            raise NotReached(f"{user} cannot be written to at {platform}: {error}") from error

    def _keep(self, reply: Reply, to: Message, *, key: str) -> None:
        """A turn without a question, after everything that was said there; what the conversation knows stays as it is."""
        to = replace(to, dedup_id=key, message_id=key, sent_at=int(self._clock() * 1000))
        session = self._sessions.recall(to)
        turn = self._sessions.begin(to, owner=f"{key}/1")
        self._sessions.save(replace(turn, reply=reply, after=dict(session.state)), claimed=False)
