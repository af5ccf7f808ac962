"""The second half of the story: a queued message becomes one visible reply.

    recall → claim → answer → save → send → mark

Saved before it is sent: whatever stops the process, the next delivery finds the decided reply and sends that one. What the
answer is stands in `thinking.py` (words, flows, plug-ins) and `answering.py` (knowledge, model, tools), how it grows in front of
the asker in `growing.py`, how it is sent in `showing.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from assistant import busy
from assistant.acting import Approval
from assistant.answering import NO_MODEL, Answer
from assistant.budgets import Budgets
from assistant.errors import SendError, Unavailable
from assistant.growing import PATIENCE, Growing, Step
from assistant.handover import HandOvers
from assistant.llm import ChatModel, WarmingUp
from assistant.messages import ASKING, OURS, Message, Reply, StreamState
from assistant.observability import DUPLICATES, FIRST_REPLY, FLOODED, TURN_RESUMED, TURN_TIME, TURNS, WITHOUT_MODEL, Metrics, log
from assistant.people import People
from assistant.platforms import Platform
from assistant.queue import Delivery, TurnQueue, overtakes
from assistant.rollout import Rollouts
from assistant.rollout.rings import Ring
from assistant.safety import Guard
from assistant.sessions import Session, Sessions, Stopped, Turn
from assistant.showing import Showing, fetched
from assistant.silence import Reminders, is_still
from assistant.storage import Conflict
from assistant.summaries import Summaries
from assistant.thinking import GREETED, Thinking, tongue
from assistant.words import language_of, say
from assistant.zones import Zones
from assistant.zones import known as known_zone

logger = logging.getLogger(__name__)

EVERYONE = Ring(name="everyone", share=1.0)


class Dialogue:
    """Takes turns. `step` is called with the name of each step just done: tests stop the process there."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        platform: Callable[[str], Platform],
        queue: Callable[[], TurnQueue],
        thinking: Thinking,
        showing: Showing,
        handovers: HandOvers,
        metrics: Metrics,
        models: Callable[[str], ChatModel],
        clock: Callable[[], float] = time.time,
        rollouts: Rollouts | None = None,
        people: People | None = None,
        budgets: Budgets | None = None,
        summaries: Summaries | None = None,
        reminders: Reminders | None = None,
        zones: Zones | None = None,
        memory_scope: str = "topic",
        consent: str = "",
        seen: Callable[..., None] = lambda platform, *ways: None,
        guard: Guard | None = None,
        step: Step = lambda name: None,
        patience: float = PATIENCE,
        skew: float = busy.SKEW,
        answer_seconds: float = 120,
    ) -> None:
        self._sessions = sessions
        self._platform = platform
        self._queue = queue
        self._thinking = thinking
        self._showing = showing
        self._handovers = handovers
        self._metrics = metrics
        self._models = models
        self._clock = clock
        self._rollouts = rollouts
        self._people = people
        self._budgets = budgets
        self._summaries = summaries
        self._reminders = reminders
        self._zones = zones
        self._memory_scope = memory_scope
        self._consent = consent
        self._seen = seen
        self._guard = guard or Guard()
        self._step = step
        self._patience = patience
        self._skew = skew
        self._answer_seconds = answer_seconds

    def take_turn(self, delivery: Delivery, *, seconds: float = 0) -> None:
        """Answers one queued message once, within `seconds` (0: the configured time).

        Raises whatever should make the queue deliver it again.
        """
        ring, refreshed = self._ring(delivery.message)
        message = self._scoped(delivery.message, ring)
        with self._thinking.hearing(message, ring):
            self._take(delivery, message, ring, refreshed, seconds)

    def _take(self, delivery: Delivery, message: Message, ring: Ring | None, refreshed: bool, seconds: float) -> None:
        if overtakes(message) and self._overtake(message):
            return
        if message.kind == "summarise":
            self._summarise(delivery, message, ring, seconds or self._answer_seconds)
            return
        if message.kind not in ASKING | GREETED | OURS:
            return
        if message.proof and not self._sessions.admit(message):
            log(logger, logging.WARNING, "one signature with two bodies", event_action="admit", platform=message.platform)
            return
        began = time.perf_counter()
        message = self._sessions.timed(message)
        session = self._sessions.recall(message)
        if message.message_id in session.withdrawn and message.kind not in OURS:
            if not (text := session.withdrawn[message.message_id]):
                return
            message = replace(message, text=text)
        message, session = self._at_home(message, session)
        known = session.turn_of(message)
        platform = self._platform(message.platform)
        given: Answer | None = None
        if known is None or known.state == "waiting":
            match self._becomes(message, session, known):
                case "nothing":
                    return
                case "wait":
                    self._put_off(message, session, delivery, platform, ring)
                    return
                case "flood" | "over" as how:
                    given = self._flooded(how, message, session)
                case "remind":
                    given = self._thinking.remind(message, session)
                case "relay":
                    given = self._handovers.deliver(message, session)
        if known and (known.state == "sent" or (known.state == "saved" and platform.pulls)):
            self._metrics.emit((DUPLICATES, 1), platform=message.platform)
            return
        if known and known.state == "saved":
            self._metrics.emit((TURN_RESUMED, 1), platform=message.platform)
            turn = known
        elif given:
            turn = self._decided(given, message, session, delivery, ring)
        else:
            turn = self._answer(message, session, known, platform, delivery, ring, seconds or self._answer_seconds)
        self._step("after save")
        turn = self._laid_out(turn, message, platform, again=turn is known)
        sent = self._showing.show(turn, self._spoken(message), platform, attempt=2 if known else delivery.attempt)
        self._step("after send")
        if message.kind == "relay":
            self._handovers.shown(message, sent)
            self._step("after relay")
        if not (platform.pulls or (platform.remembers and turn.reply and not turn.reply.buttons)):
            self._sessions.mark_sent(turn, sent)
        self._step("before delete")
        aside = turn.reply and turn.reply.private and not message.direct  # told to one person: the card stands for the others
        if message.kind == "card_action" and not aside:
            self._showing.settle_card(message, session, platform, settled=turn.reply.settled if turn.reply else "")
        if self._summaries and turn.model not in NO_MODEL:
            self._summaries.after(message, session, turn)
        if not refreshed:  # at most one call for upkeep in a turn
            self._seen(message.platform, "in", "out")
        took = (time.perf_counter() - began) * 1000
        waited = max(0.0, self._clock() * 1000 - message.sent_at)
        counted = ring.name if ring else "outside"
        self._metrics.emit((TURNS, 1), (TURN_TIME, took), (FIRST_REPLY, waited), platform=message.platform, of_ring=counted)

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """Stores the turn as failed and tells the asker; the operator finds the message in the dead letters."""
        ring, _ = self._ring(delivery.message)
        message = self._sessions.timed(self._scoped(delivery.message, ring))
        if message.kind == "relay":
            self._handovers.unheard(message)
        if message.kind not in ASKING and message.kind != "collected":
            return
        platform = self._platform(message.platform)
        turn = self._begun(message, delivery, ring)
        known = self._sessions.stored(turn)
        message = self._spoken(message)
        words = say("failed", tongue(message), reference=turn.id[:8])
        said = self._guard.clean(known.text) if known else ""  # what the asker has seen grow stays
        apology = Reply(text=f"{said}\n\n---\n\n{words}" if said else words)
        turn = self._sessions.give_up(replace(turn, reply=apology, stream=known.stream if known else None), reason)
        if turn.state != "failed":
            return
        if stream := platform.stream_id(message):
            self._sessions.show(platform.name, stream, apology.text, final=True)
        if turn.stream:
            platform.finish_stream(turn.stream, apology, to=message, key=f"{turn.id}-f", attempt=delivery.attempt)
        else:
            platform.send(apology, to=message, key=f"{turn.id}-f", attempt=delivery.attempt)

    # --- the answer ---

    def _answer(
        self,
        message: Message,
        session: Session,
        known: Turn | None,
        platform: Platform,
        delivery: Delivery,
        ring: Ring | None,
        seconds: float,
    ) -> Turn:
        """The saved turn with its decided reply; asked again with the new text when the question was edited meanwhile."""
        while True:
            collects: tuple[str, ...] = ()
            if message.kind == "collected":
                asked = busy.waiting(self._sessions.turns(message, limit=busy.MOST_READ), message)
                message, collects = busy.collected(asked, message), tuple(t.sk for t in asked)
            turn, informs = self._met(self._begun(message, delivery, ring), message, session)
            turn = replace(turn, collects=collects, zone=session.zone)
            spoken = replace(message, kind="text") if message.kind in OURS else message
            growing = Growing(
                turn,
                spoken,
                platform,
                self._sessions,
                patience=self._patience,
                step=self._step,
                resumed=known,
                clean=self._guard.growing,
            )
            self._step("after claim")
            try:
                with growing:
                    if message.kind == "collected" and not collects:  # all of it was taken back meanwhile
                        answer = Answer(Reply(text="", silent=True), after=session.state)
                    elif ring:
                        answer = self._thinking.think(spoken, session, growing, ring, seconds)
                    else:
                        answer = self._outside(message)
                self._step("after model")
                self._metrics.emit((WITHOUT_MODEL, float(answer.model in NO_MODEL)), platform=platform.name)
                after = {**self._carried(session), **answer.after}
                reply = self._showing.enclosed(answer.reply, message, platform)
                reply = _informed(reply, self._consent) if informs and ring else reply
                stream = _fetchable(message, platform) or growing.turn.stream
                turn = replace(growing.turn, reply=reply, model=answer.model, after=after, stream=stream)
                if self._reminders and after.get("flow"):
                    self._reminders.note(message, turn)
                saved = self._sessions.save(turn, claimed=growing.claimed)
            except WarmingUp:
                if delivery.attempt == 1:
                    with suppress(SendError):  # the answer itself is what counts
                        growing.announce(say("warming_up", tongue(message)))
                raise
            except Stopped as stopped:
                if stopped.turn.stop == "edited":
                    message, known = replace(message, text=stopped.turn.edited), stopped.turn
                    continue
                cut = _cut(growing.turn, stopped.turn, message)
                saved = self._sessions.settle(replace(cut, stream=_fetchable(message, platform) or cut.stream))
            except Conflict as met:
                raise Unavailable("another delivery of this message decides its reply") from met
            return replace(saved, stream=saved.stream or growing.turn.stream)

    def _laid_out(self, turn: Turn, message: Message, platform: Platform, *, again: bool) -> Turn:
        """The turn, its reply laid out where the platform fetches it, if it was decided in the time to fetch.

        `again`: it was saved by an earlier delivery. Where that did not live to lay it out before the time was over, nobody has
        seen it, and it is sent.
        """
        if turn.stream is None or platform.stream_interval or turn.reply is None:
            return turn
        if again and not platform.stream_id(message):
            laid = self._sessions.read(platform.name, turn.stream.id)
            return turn if laid and laid[1] else replace(turn, stream=None)
        self._sessions.show(platform.name, turn.stream.id, fetched(turn.reply, message), final=True)
        return turn

    def _decided(self, given: Answer, message: Message, session: Session, delivery: Delivery, ring: Ring | None) -> Turn:
        """The saved turn of a message that needs no thought."""
        turn = replace(
            self._begun(message, delivery, ring),
            reply=given.reply,
            model=given.model,
            after={**self._carried(session), **given.after},
            reason=busy.FLOOD if given.reason == busy.FLOOD else "",
            stream=_fetchable(message, self._platform(message.platform)),
        )
        self._step("after model")
        try:
            return self._sessions.save(turn, claimed=False)
        except Conflict as met:
            raise Unavailable("another delivery of this message decides its reply") from met

    def _ring(self, message: Message) -> tuple[Ring | None, bool]:
        """The asker's ring (None: outside all that are served), and whether the table was asked."""
        if self._rollouts is None:
            return EVERYONE, False
        ring, refreshed = self._rollouts.ring_of(message)
        if ring is None and (message.kind == "relay" or self._handovers.is_desk(message)):
            ring = EVERYONE  # a person answers, or is answered
        return ring, refreshed

    def ring_name(self, message: Message) -> str:
        """Under which ring a message is counted: its asker's, or `outside`."""
        ring, _ = self._ring(message)
        return ring.name if ring else "outside"

    def _scoped(self, message: Message, ring: Ring | None) -> Message:
        """The message with what its conversation remembers together."""
        return replace(message, memory=(ring.memory if ring else "") or self._memory_scope)

    def _begun(self, message: Message, delivery: Delivery, ring: Ring | None) -> Turn:
        return self._sessions.begin(message, owner=_owner(delivery), days=ring.days if ring else 0)

    def _met(self, turn: Turn, message: Message, session: Session) -> tuple[Turn, bool]:
        """The turn with the day on which its author was noted here, and whether they are to be told about their words now."""
        if self._people is None:
            return turn, False
        noted = max((t.noted for t in session.turns if t.user == message.sender), default=0)
        day, informs = self._people.meet(message, turns=turn.pk, noted=noted, turn=turn.id)
        return replace(turn, noted=day), informs

    def _outside(self, message: Message) -> Answer:
        """One polite word to somebody who is not served yet, or nothing, as it is set."""
        if self._rollouts and self._rollouts.current()[0].outside == "word" and self._rollouts.is_first_word(message):
            return Answer(Reply(text=say("outside", tongue(message)), private=True))
        return Answer(Reply(text="", silent=True))

    def _at_home(self, message: Message, session: Session) -> tuple[Message, Session]:
        """The message and the conversation with the asker's own language and time zone.

        One call with the first turn of somebody in a conversation.
        """
        own = [t for t in session.turns if t.user == message.sender]
        zone = next((t.zone for t in reversed(own) if t.zone), "")
        if not own and self._zones and message.sender and message.kind in ASKING:
            zone = self._zones.chosen(message)
        locale = _spoken_before(own) or message.locale
        return replace(message, locale=locale, timezone=zone or known_zone(message.timezone)), replace(session, zone=zone)

    def _carried(self, session: Session) -> dict[str, Any]:
        """What outlives a turn that has nothing to do with it: an approval that is still open."""
        approval = Approval.from_state(session.state)
        kept = {"approval": approval.to_state()} if approval and approval.is_open(self._clock()) else {}
        return kept | self._handovers.carried(session)

    def _spoken(self, message: Message) -> Message:
        """Where the reply to `message` is shown: our own kinds are something that was said."""
        if message.kind == "relay":
            return self._handovers.address(message)
        return replace(message, kind="text") if message.kind in OURS else message

    # --- busy conversations ---

    def _becomes(
        self, message: Message, session: Session, known: Turn | None
    ) -> Literal["answer", "nothing", "wait", "flood", "over", "remind", "relay"]:
        """What is to be done with a message whose reply is not decided yet."""
        if message.kind == "collected":
            left = busy.waiting(self._sessions.turns(message, limit=busy.MOST_READ), message)
            return "answer" if left else "nothing"
        if message.kind == "relay":
            return "relay"
        if message.kind == "silence":
            return "remind" if is_still(message, session) else "nothing"
        if overtakes(message):
            return "answer"
        if known is None and self._handovers.is_desk(message):  # each line there may be meant for somebody else
            return "answer"
        return "wait" if known else busy.verdict(message, session, skew=self._skew)

    def _put_off(self, message: Message, session: Session, delivery: Delivery, platform: Platform, ring: Ring | None) -> None:
        """Stores a follow-up that came meanwhile, and queues what answers it with the others."""
        first = not busy.waiting(session.turns, replace(message, dedup_id=""))
        turn, _ = self._met(self._begun(message, delivery, ring), message, session)
        self._sessions.wait(turn)
        self._step("after put off")
        self._queue().publish([busy.marker(message)])
        self._step("after collecting")
        if not first and (stream := platform.stream_id(message)):  # its own place to answer shows where the answer stands
            self._sessions.show(platform.name, stream, say("answered_together", tongue(message)), final=True)

    def _flooded(self, become: str, message: Message, session: Session) -> Answer:
        """A polite word, once; what else came with the flood is kept, and told of by that word."""
        self._metrics.emit((FLOODED, 1), platform=message.platform)
        words = say("too_many", tongue(message), count=busy.MOST_WAITING) if become == "flood" else ""
        return Answer(Reply(text=words, silent=not words), reason=busy.FLOOD, after=session.state)

    # --- what nobody waits for, and what overtakes ---

    def _summarise(self, delivery: Delivery, message: Message, ring: Ring | None, seconds: float) -> None:
        if self._summaries is None or ring is None or (self._budgets and self._budgets.reached(message, ring)):
            return
        done = self._summaries.make(delivery, message, self._models(ring.model), seconds=seconds)
        if done and self._budgets:
            self._budgets.spend(message, ring, model=done.model, usage=done.usage)

    def _overtake(self, message: Message) -> bool:
        """Ends a running answer, or keeps a recall or an edit for a waiting message; False for a "stop" with nothing running."""
        if message.kind == "recalled":
            self._sessions.interrupt(message, target=message.message_id, why="recalled")
            return True
        if message.kind == "edited":
            if message.text.strip():
                self._sessions.interrupt(message, target=message.message_id, why="edited", text=message.text)
            return True
        return self._sessions.interrupt(message, target="", why="stopped")


def _informed(reply: Reply, consent: str) -> Reply:
    """The reply below what its reader is told on first contact."""
    return replace(reply, text=f"{consent}\n\n---\n\n{reply.text}" if reply.text else consent, silent=False)


def _spoken_before(turns: Sequence[Turn]) -> str:
    """The language that the asker wrote in last: a button, a number or a picture is answered in it."""
    said = (language_of(t.question, default="") for t in reversed(turns))
    return next(filter(None, said), "")


def _fetchable(message: Message, platform: Platform) -> StreamState | None:
    """Where the platform fetches the reply to `message` from; None where it does not, or the time to fetch is over."""
    stream = platform.stream_id(message)
    return StreamState(id=stream) if stream else None


def _owner(delivery: Delivery) -> str:
    return f"{delivery.id}/{delivery.attempt}"


def _cut(turn: Turn, stopped: Turn, message: Message) -> Turn:
    """The turn of an answer that was ended before it was whole."""
    if stopped.stop == "recalled":
        return replace(turn, stop=stopped.stop, reply=Reply(text="", silent=not turn.stream))
    words = say("stopped", tongue(message))
    return replace(turn, stop=stopped.stop, reply=Reply(text=f"{stopped.text}\n\n_{words}_" if stopped.text else words))
