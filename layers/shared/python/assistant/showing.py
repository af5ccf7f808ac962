"""The decided reply in front of its asker, whatever the vendor says to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace

from assistant.errors import (
    ContentRefused,
    MessageRecalled,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    SendError,
    TokenDead,
    Unavailable,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.files import Files
from assistant.messages import Attachment, Message, Reply, Sent
from assistant.notices import Notices
from assistant.observability import SEND_ERRORS, Metrics, log
from assistant.platforms import Platform
from assistant.sessions import Session, Turn
from assistant.words import language_of, say, with_sources

logger = logging.getLogger(__name__)


class Showing:
    """Sends replies, counts what fails, and tells the administrators what only they can mend."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        notices: Notices | None = None,
        files: Callable[[], Files] | None = None,
        step: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._metrics = metrics
        self._notices = notices
        self._files = files
        self._step = step

    def enclosed(self, reply: Reply, message: Message, platform: Platform) -> Reply:
        """The reply with a link for each file that this chat cannot be sent; the others follow its text."""
        taken = tuple(a for a in reply.attachments if platform.takes(a, to=message, private=reply.private))
        if taken == reply.attachments:
            return reply
        links = [self._linked(a, message) for a in reply.attachments if a not in taken]
        return replace(reply, attachments=taken, text="\n\n".join(filter(None, [reply.text, *links])))

    def _linked(self, attachment: Attachment, message: Message) -> str:
        name = re.sub(r"([\\`*_\[\]<>])", r"\\\1", attachment.name)
        link = self._files().link(attachment) if self._files else ""
        language = language_of(message.text, default=message.locale or "en")
        return f"📎 [{name}]({link})" if link else say("file_not_shown", language, name=name)

    def show(self, turn: Turn, message: Message, platform: Platform, *, attempt: int) -> Sent:
        """Sends the decided reply; raises Unavailable where a later try makes sense."""
        reply = turn.reply or Reply(text="")
        if reply.silent:
            return Sent()
        try:
            return self._send(turn, reply, message, platform, attempt)
        except (RateLimited, VendorUnavailable, OutcomeUnknown) as error:
            self._count(error, platform)
            raise Unavailable(str(error), retry_after=getattr(error, "retry_after", None)) from error
        except (NotInChat, MessageRecalled) as error:
            self._count(error, platform)
            return Sent(missed=True)
        except (MissingPermission, TokenDead) as error:
            self._count(error, platform)
            raise  # kept in the dead letters: it can be shown once an administrator has mended the cause
        except ContentRefused as error:
            self._count(error, platform)
            sorry = Reply(text=say("refused_content", language_of(message.text, default=message.locale or "en")))
            return platform.send(sorry, to=message, key=f"{turn.id}-c", attempt=attempt)

    def _send(self, turn: Turn, reply: Reply, message: Message, platform: Platform, attempt: int) -> Sent:
        try:
            if turn.stream:
                sent = platform.finish_stream(turn.stream, reply, to=message, key=turn.id, attempt=attempt)
            else:
                sent = platform.send(reply, to=message, key=turn.id, attempt=attempt)
        except UnsupportedType as error:
            self._count(error, platform)
            from assistant.platforms.markdown import to_plain

            plain = Reply(text=to_plain(with_sources(reply)), private=reply.private)
            sent = platform.send(plain, to=message, key=f"{turn.id}-t", attempt=attempt)
        return Sent(ids=(*sent.ids, *self._uploaded(turn, reply, message, platform, attempt)))

    def _uploaded(self, turn: Turn, reply: Reply, message: Message, platform: Platform, attempt: int) -> list[str]:
        """Sends the files of the reply; one that the vendor does not take after all is linked to."""
        ids: list[str] = []
        if platform.pulls or self._files is None:
            return ids
        for number, attachment in enumerate(reply.attachments, 1):
            self._step("before file")
            key = f"{turn.id}-a{number}"
            try:
                file = self._files().read(attachment)
                ids += platform.upload(file, to=message, key=key, private=reply.private).ids
            except KeyError:  # erased meanwhile, with everything else about its asker
                log(logger, logging.WARNING, "a file is gone", event_action="send", platform=platform.name)
            except (ContentRefused, UnsupportedType, MissingPermission) as error:
                self._count(error, platform)
                linked = Reply(text=self._linked(attachment, message), private=reply.private)
                ids += platform.send(linked, to=message, key=f"{key}l", attempt=attempt).ids
            self._step("after file")
        return ids

    def _count(self, error: SendError, platform: Platform) -> None:
        self._metrics.emit((SEND_ERRORS, 1), platform=platform.name, error=type(error).__name__)
        if self._notices:
            self._notices.about(error, platform.name)
        log(
            logger, logging.WARNING, "send failed", error_type=type(error).__name__, error_code=error.code, platform=platform.name
        )

    def settle_card(self, message: Message, session: Session, platform: Platform, *, settled: str = "") -> None:
        """Takes the buttons off the card that was clicked, and shows what was chosen, or `settled`."""
        clicked = next((t for t in session.turns if t.reply and message.message_id in (t.message_id, *t.sent)), None)
        if settled:
            self._update_card(message, Reply(text=settled), platform)
            return
        if clicked is None or clicked.reply is None or not clicked.reply.buttons:
            return
        chosen = next(
            (b.text for b in clicked.reply.buttons if (b.key, b.value) == (message.action_key, message.action_value)), ""
        )
        self._update_card(message, replace(clicked.reply, buttons=(), text=f"{clicked.reply.text}\n\n✓ {chosen}"), platform)

    def _update_card(self, message: Message, reply: Reply, platform: Platform) -> None:
        try:
            platform.update_card(message, reply)
        except SendError as error:  # the answer has been given; a card with live buttons is no reason to give it again
            self._count(error, platform)


def fetched(reply: Reply, message: Message) -> str:
    """What everybody in the conversation may fetch: nothing of a private reply to a group, which is sent to its asker."""
    return "" if reply.silent or (reply.private and not message.direct) else with_sources(reply)
