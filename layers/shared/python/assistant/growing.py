"""An answer that grows in front of the asker, off the model's thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from assistant.errors import SendError, Unavailable
from assistant.messages import Attachment, Message, Reply, StreamState
from assistant.observability import log
from assistant.platforms import Platform
from assistant.sessions import Sessions, Stopped, Turn

logger = logging.getLogger(__name__)

Step = Callable[[str], None]
"""Hears the name of each step just done."""

PATIENCE: Final = 0.7
"""Seconds before a growing answer is shown: what is ready sooner goes out whole, in one call."""

PULLED_INTERVAL: Final = 0.3
"""Seconds between two stored states of a reply that the asker's client fetches."""


class Growing:
    """Shows an answer while it grows, off the model's thread; nothing before `patience` seconds have passed.

    The claim is stored just before the first thing becomes visible, so a quick answer costs no write for it. A context manager:
    leaving it waits for the last state to be shown.
    """

    def __init__(
        self,
        turn: Turn,
        message: Message,
        platform: Platform,
        sessions: Sessions,
        *,
        patience: float,
        step: Step,
        resumed: Turn | None,
        clean: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.turn = turn
        self.claimed = False
        self.attached: list[Attachment] = []
        """Files that the answer carries."""
        self.stream_id = platform.stream_id(message)
        self._message = message
        self._platform = platform
        self._sessions = sessions
        self._patience = patience
        self._step = step
        self._clean = clean
        self._text = ""
        self._aside = False
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="growing", daemon=True)
        self._resumed = resumed is not None
        if resumed:  # an earlier delivery was cut off while it answered: its claim, and what it has shown, are ours now
            self.turn = sessions.claim(replace(turn, stream=resumed.stream), message)
            self.claimed = True

    def __enter__(self) -> Growing:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if kind is None:
            self._raise()

    def push(self, text: str) -> None:
        """Lets the whole `text` so far be shown. Raises Stopped when the answer must end, Unavailable when it is not ours."""
        self._text = text
        self._raise()

    def aside(self) -> None:
        """Shows nothing from now on: the answer goes to its asker alone, when it is whole."""
        self._aside = True

    def announce(self, text: str) -> None:
        """Shows `text` at once where the answer will stand, because it comes much later; call it after leaving the context.

        Raises Unavailable where the turn is not ours, and a SendError.
        """
        if not self.claimed:
            self.turn = self._sessions.claim(self.turn, self._message)
            self.claimed = True
        state = self.turn.stream
        if self.stream_id:
            self._sessions.show(self._platform.name, self.stream_id, text, final=False)
        elif not self._platform.pulls:
            if state is None and self._platform.stream_interval > 0:
                state = self._platform.open_stream(to=self._message, key=self.turn.id)
            if state is None:
                self._platform.send(Reply(text=text), to=self._message, key=f"{self.turn.id}-w")
            else:
                state = self._platform.update_stream(state, text, to=self._message)
        self._stored(text, state)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            if not self._resumed and self._ended.wait(self._patience):
                return
            if not self.claimed:
                self.turn = self._sessions.claim(self.turn, self._message)
                self.claimed = True
                self._step("after stored claim")
            if self._opens():
                self._grow()
        except (Stopped, Unavailable) as failure:
            self._failure = failure
        except SendError as error:  # what has been shown stays; the final text is sent in full
            log(logger, logging.WARNING, "streaming ended early", error_type=type(error).__name__, error_code=error.code)

    def _opens(self) -> bool:
        if self._platform.pulls or self.stream_id:
            return True
        if self._platform.stream_interval <= 0 or self._aside:
            return self._watch()
        if self.turn.stream is None:
            state = self._platform.open_stream(to=self._message, key=self.turn.id, attempt=2 if self._resumed else 1)
            if state is None:
                return self._watch()
            self._step("after stream opened")
            self._stored("", state)
        return True

    def _watch(self) -> bool:
        """Nothing can be shown here: only looks whether the answer must end."""
        while not self._ended.wait(2.0):
            self._stored("", None)
        return False

    def _grow(self) -> None:
        shown = ""
        interval = self._platform.stream_interval or PULLED_INTERVAL
        while True:
            ended = self._ended.wait(0 if not shown and self._text else interval)
            written = self._text
            if ended or written == shown:
                if ended:
                    return
                continue
            text = self._clean(written)
            state = self.turn.stream
            if self.stream_id:
                self._sessions.show(self._platform.name, self.stream_id, text, final=False)
            elif state is not None:
                state = self._platform.update_stream(state, text, to=self._message)
                self._step("after stream updated")
            self._stored(text, state)
            shown = written

    def _stored(self, text: str, state: StreamState | None) -> None:
        self.turn = self._sessions.grow(self.turn, text, state)
        if self.turn.stop:
            raise Stopped(self.turn)
