"""Tells the administrators, once per cause, what only they can mend; the chat in which it happened hears nothing of it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from assistant.errors import AssistantError, InvalidSetting, MissingPermission, SendError, TokenDead
from assistant.messages import Message, Reply
from assistant.observability import log
from assistant.platforms import Platform
from assistant.storage import Conflict, Table, key
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
