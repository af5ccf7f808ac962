"""What a message is answered with: words that need no thought, else a running flow, else a plug-in, else knowledge and model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from assistant import zones
from assistant.acting import Approval, Desk, OutcomeLost, decision
from assistant.answering import LONGEST_QUESTION, Answer, Answering, Question
from assistant.audience import EVERYONE, Audiences, Rights
from assistant.budgets import Budgets
from assistant.doubts import Choice, resolve
from assistant.errors import InvalidSetting, NeedsAuthorisation, SendError, Unavailable
from assistant.filing import Filings
from assistant.flows import Act, Flow, FlowResult, Flows, Said, State
from assistant.growing import Growing
from assistant.handover import HandOvers
from assistant.llm import ChatMessage, ChatModel, ToolCall
from assistant.memory import Fact, Memory
from assistant.messages import OURS, PERSON_LEFT, Message, Passage, Reply
from assistant.nlu import Understanding
from assistant.nlu.context import contextualise
from assistant.notices import Notices
from assistant.observability import BUDGET_REACHED, Metrics
from assistant.opinions import Opinions
from assistant.platforms import Platform
from assistant.plugins import MENU, Around, Plugins
from assistant.queue import overtakes
from assistant.rollout.rings import Ring
from assistant.sessions import Session, Turn
from assistant.slots import Context, Person
from assistant.storage import Table
from assistant.summaries import Summaries
from assistant.words import language_of, say, spoken

EXAMINATION = frozenset({"doctor", "/doctor", "诊断", "/诊断", "体检"})
"""What an administrator writes to see what does not work."""

NOTHING_UNDERSTOOD = Understanding(intent="", confidence=0.0, best="")

GREETED = frozenset({"bot_added", "entered"})
"""Events that are answered with a welcome."""


class Understands(Protocol):
    """What tells intents apart."""

    def understand(self, text: str) -> Understanding:
        """What `text` asks for."""


class Consents(Protocol):
    """What people have allowed, and how they are asked."""

    def ask(self, message: Message, need: NeedsAuthorisation, *, turn: str, language: str) -> Reply:
        """A private reply with the link; the message comes again by itself once it was followed."""

    def hear(self, message: Message, language: str) -> Reply | None:
        """The answer to what a person asks about their consents; None for everything else."""

    def left(self, message: Message) -> None:
        """Takes back what somebody allowed who has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """Something that was approved and done."""

    approval: Approval
    result: str

    def messages(self) -> tuple[ChatMessage, ...]:
        """The call and its result as the model sees them."""
        call = ToolCall(id="approved", name=self.approval.tool, arguments=self.approval.arguments)
        return (
            ChatMessage(role="assistant", tool_calls=(call,)),
            ChatMessage(role="tool", text=self.result, tool_call_id=call.id),
        )


class Thinking:
    """Finds the answer to one message of a served person."""

    def __init__(
        self,
        *,
        answering: Answering,
        models: Callable[[str], ChatModel],
        platform: Callable[[str], Platform],
        metrics: Metrics,
        plugins: Plugins,
        understander: Callable[[], Understands | None] = lambda: None,
        timezone: str = "UTC",
        prompts: Callable[[str], str] = lambda name: "",
        clock: Callable[[], float] = time.time,
        notices: Notices | None = None,
        examine: Callable[[str], str] = lambda language: "",
        consents: Callable[[], Consents] | None = None,
        table: Table | None = None,
        memory: Memory | None = None,
        budgets: Budgets | None = None,
        summaries: Summaries | None = None,
        handovers: HandOvers | None = None,
        own_zones: zones.Zones | None = None,
        audiences: Audiences | None = None,
        filings: Callable[[], Filings] | None = None,
        opinions: Opinions | None = None,
    ) -> None:
        self._filings = filings
        self._opinions = opinions
        self._audiences = audiences or Audiences(platform=platform, clock=clock)
        self._answering = answering
        self._models = models
        self._platform = platform
        self._metrics = metrics
        self._plugins = plugins
        self._offered: dict[tuple[str, ...], tuple[list[Flow], Flows]] = {}
        self._understander = understander
        self._zone = timezone
        self._prompts = prompts
        self._clock = clock
        self._notices = notices
        self._examine = examine
        self._consents = consents
        self._table = table
        self._memory = memory
        self._budgets = budgets
        self._summaries = summaries
        self._handovers = handovers
        self._zones = own_zones

    def remind(self, message: Message, session: Session) -> Answer:
        """What is said to a person who went silent in the middle of a form; nothing where none is open, or it was said before."""
        said = next((t.question for t in reversed(session.turns) if t.question), "")
        around = replace(self._around(message, ""), language=language_of(said, default=tongue(message)))
        context = _context(message, around)
        state = State.from_json(session.state.get("flow") or {})
        nudge = self._flows(around).nudge(state, context=context, language=around.language)
        if nudge is None or nudge.reply is None:
            return Answer(Reply(text="", silent=True), model="flow", after=session.state)
        return Answer(nudge.reply, model="flow", after={**session.state, "flow": nudge.state.to_json()})

    @contextmanager
    def hearing(self, message: Message, ring: Ring | None) -> Iterator[None]:
        """Tells the plug-ins what happened, while the block goes on; counts what the platform itself was told about an answer."""
        if message.kind in ("text", "rich_text", "slash", *OURS):
            yield
            return
        if self._opinions and message.kind == "other":
            self._opinions.hear_native(message, self._platform(message.platform), ring=ring.name if ring else "")
        if message.kind == "other":
            self._platform(message.platform).hear(message)
        if self._consents and message.kind == "other" and message.action_key == PERSON_LEFT:
            self._consents().left(message)
        with self._plugins.hearing(message, self._around(message, message.dedup_id, ring)):
            yield

    def think(self, message: Message, session: Session, growing: Growing, ring: Ring, seconds: float) -> Answer:
        """The answer, or the private question for the asker's consent; then all stays as it is until the message comes again."""
        try:
            answer = self._think(message, session, growing, ring, seconds)
            carried = replace(answer.reply, attachments=tuple(growing.attached)) if growing.attached else answer.reply
            return replace(answer, reply=carried)
        except NeedsAuthorisation as need:
            if self._consents is None:
                raise
            reply = self._consents().ask(message, need, turn=growing.turn.id, language=tongue(message))
            return Answer(reply, model="consent", after=session.state)

    def _think(self, message: Message, session: Session, growing: Growing, ring: Ring, seconds: float) -> Answer:
        """Words for what needs no thought, then a flow, a plug-in, and the model with what the knowledge holds."""
        language = tongue(message)
        if message.kind in GREETED:
            return Answer(Reply(text=say("welcome", language)))
        if self._handovers and (passed := self._handovers.hear(message, session, turn=growing.turn.id, language=language)):
            return passed
        if overtakes(message) and not session.state.get("flow"):
            return Answer(Reply(text=say("nothing_to_stop", language)))
        if len(message.text) > LONGEST_QUESTION:
            return Answer(Reply(text=say("too_long", language, length=len(message.text), limit=LONGEST_QUESTION)))
        if self._notices and message.text.strip().lower() in EXAMINATION and self._notices.is_administrator(message):
            return Answer(Reply(text=self._examine(language), private=True))
        if self._consents and (heard := self._consents().hear(message, language)):
            return Answer(heard, model="consent", after=session.state)
        if self._memory and (told := self._memory.hear(message, turn=growing.turn.id, language=language)):
            return Answer(told, model="memory", after=session.state)
        if self._zones and (placed := self._zone_wished(message, growing, language)):
            return replace(placed, after=session.state)
        platform = self._platform(message.platform)
        if self._opinions and (thanks := self._opinions.hear(message, platform, ring=ring.name, language=language)):
            return Answer(thanks, model="opinion", after=session.state)
        if filed := self._filed(message, session, growing, language):
            return filed
        around = self._within(message, growing, ring)
        state = State.from_json(session.state.get("flow") or {})
        approval = Approval.from_state(session.state)
        free = message.kind == "card_action" or not state.frames  # a "yes" in words is the running form's
        if free and (decided := decision(message, approval)):
            return self._decided(decided, approval, message, session, growing, ring, seconds)
        message = self._spelled_out(message, around)
        understood = self._understood(message)
        flowing = self._flow(message, state, around, understood)
        if flowing.handled:
            if flowing.act and flowing.act.kind == "hand_over":
                return self._handed_over(flowing.act, message, session, growing, ring, around)
            return self._flowed(flowing, message, around)
        kept = {"flow": flowing.state.to_json()} if flowing.state.frames else {}
        if reply := self._plugins.handle(message, around, only=ring.plugins):
            return Answer(_then(reply, flowing.then), model="plugin", after=kept)
        if message.file_key:
            return self._with_file(message, session, growing, ring, seconds, kept)
        if not message.text.strip():
            mentioned = message.kind in ("text", "rich_text", "slash", "menu")
            return Answer(Reply(text=say("empty" if mentioned else "cannot_read", language)), after=kept)
        if understood.doubtful and (begun := self._resolved(message, state, around, understood, ring, seconds)):
            return begun
        answer = self._ask_model(message, session, growing, ring, seconds)
        return replace(answer, reply=_then(answer.reply, flowing.then), after={**kept, **answer.after})

    def _with_file(
        self, message: Message, session: Session, growing: Growing, ring: Ring, seconds: float, kept: Mapping[str, Any]
    ) -> Answer:
        """An answer from the file that came with the question, or what the file holds where nothing is asked."""
        from assistant.attachments import CannotRead, attached

        language = tongue(message)
        waiting = self._filings().waiting(message, key=growing.turn.id) if self._filings else {}
        kept = {**kept, "filing": waiting} if waiting else kept
        try:
            file = attached(message, self._platform(message.platform))
        except CannotRead as error:
            if self._notices and isinstance(error.__cause__, SendError):
                self._notices.about(error.__cause__, message.platform)
            return Answer(Reply(text=say("file_unreadable", language, name=message.file_name, reason=error)), after=kept)
        left = "".join(f"\n\n{say('file_unreadable', language, name=n, reason=reason)}" for n, reason in file.unread.items())
        if message.text.strip():
            answer = self._ask_model(message, session, growing, ring, seconds, passages=file.passages)
            reply = replace(answer.reply, text=answer.reply.text + left)
            return replace(answer, reply=reply, after={**kept, **answer.after})
        text = say("file_read", language, name=", ".join(file.names)) + left
        if file.headings:
            text += f"\n\n{say('file_outline', language)}\n" + "\n".join(f"- {h}" for h in file.headings[:12])
        reply = Reply(text=text)
        if self._filings and waiting:
            reply = self._filings().offer(reply, waiting, language=language)
        return Answer(reply, after=kept)

    def _filed(self, message: Message, session: Session, growing: Growing, language: str) -> Answer | None:
        """What follows from a wish to have something in the knowledge; None for everything else."""
        if self._filings is None:
            return None
        state = session.state
        waiting, free = state.get("filing") or {}, not (state.get("approval") or state.get("flow"))
        heard = self._filings().hear(message, waiting, key=growing.turn.id, language=language, words=free)
        if heard is None:
            return None
        reply, left = heard
        return Answer(reply, model="filing", after={**state, "filing": dict(left)})

    def _zone_wished(self, message: Message, growing: Growing, language: str) -> Answer | None:
        """The answer to somebody who chooses their time zone or asks for it; None for everything else."""
        if self._zones is None or (wish := zones.wished(message.text)) is None:
            return None
        if not wish:
            return Answer(Reply(text=say("zone_is", language, zone=message.timezone or self._zone), private=True), model="memory")
        if not (zone := zones.known(wish)):
            return Answer(Reply(text=say("zone_unknown", language, zone=wish[:60]), private=True), model="memory")
        self._zones.choose(message, zone)
        growing.turn = replace(growing.turn, zone=zone)
        return Answer(Reply(text=say("zone_set", language, zone=zone), private=True), model="memory")

    # --- flows and plug-ins ---

    def _within(self, message: Message, growing: Growing, ring: Ring) -> Around:
        """What surrounds the calls of one turn; the files that they attach go out with its answer."""
        return replace(self._around(message, growing.turn.id, ring), attached=growing.attached)

    def _around(self, message: Message, key: str, ring: Ring | None = None) -> Around:
        now = datetime.fromtimestamp(self._clock(), ZoneInfo(message.timezone or self._zone))
        return Around(language=tongue(message), now=now, key=key, only=ring.plugins if ring else ())

    def _flows(self, around: Around) -> Flows:
        """The flows that the asker's ring offers now."""
        offered = self._plugins.flows_of(around.only)
        known = self._offered.get(around.only)
        if known is None or known[0] != offered:
            self._offered[around.only] = known = (offered, Flows(offered))
        return known[1]

    def _spelled_out(self, message: Message, around: Around) -> Message:
        """A click on a menu entry as the text that it stands for."""
        if message.kind == "card_action" and message.action_key == MENU and isinstance(message.action_value, str):
            return replace(message, text=message.action_value)
        if message.kind in ("menu", "card_action") and not message.text and (text := self._plugins.chosen(message, around)):
            return replace(message, text=text)
        return message

    def _understood(self, message: Message) -> Understanding:
        understander = self._understander() if message.text else None
        return understander.understand(message.text) if understander else NOTHING_UNDERSTOOD

    def _resolved(
        self, message: Message, state: State, around: Around, understood: Understanding, ring: Ring, seconds: float
    ) -> Answer | None:
        """The flow that the model takes the message for, where the classifier doubts and there is a model; else None."""
        model, flows = self._models(ring.model), self._flows(around)
        names = [name for name, _ in understood.alternatives if name in flows]
        if model.name == "builtin" or not names or (self._budgets and self._budgets.reached(message, ring)):
            return None
        choices = [
            Choice(name=n, title=spoken(flows.flow(n).title, around.language), examples=flows.flow(n).examples) for n in names
        ]
        meant = resolve(message.text, choices, model, metrics=self._metrics, tenant=message.tenant, seconds=seconds)
        if self._budgets and meant.model:
            self._budgets.spend(message, ring, model=meant.model, usage=meant.usage)
        if not meant.name:
            return None
        flowing = self._flow(message, state, around, replace(understood, intent=meant.name))
        if not flowing.handled:
            return None
        return replace(self._flowed(flowing, message, around), model=meant.model, usage=meant.usage)

    def _flow(self, message: Message, state: State, around: Around, understood: Understanding) -> FlowResult:
        said = Said(text=message.text, action_key=message.action_key, action_value=message.action_value)
        context = _context(message, around)
        return self._flows(around).step(state, said, understood=understood, context=context, language=around.language)

    def _flowed(self, result: FlowResult, message: Message, around: Around) -> Answer:
        """What a flow says and, where it is finished, what its plug-in did."""
        reply, flows = result.reply, self._flows(around)
        if result.act and result.act.kind == "run":
            try:
                form = flows.form(result.act)
                done = self._plugins.run_flow(result.act.flow, form, message, around)
            except InvalidSetting:
                done = None
            title = spoken(flows.flow(result.act.flow).title, around.language)
            done = done or Reply(text=say("flow_failed", around.language, title=title))
            reply = done if reply is None or not reply.text else replace(done, text=f"{reply.text}\n\n{done.text}")
        reply = _then(reply or Reply(text=""), result.then)
        return Answer(reply, model="flow", after={"flow": result.state.to_json()} if result.state.frames else {})

    def _handed_over(self, act: Act, message: Message, session: Session, growing: Growing, ring: Ring, around: Around) -> Answer:
        """A person is got, and told what was under way."""
        if self._handovers is None:
            return Answer(Reply(text=say("person_nobody", around.language)), model="flow")
        flows = self._flows(around)
        language = around.language
        title = spoken(flows.flow(act.flow).title, language) if act.flow else ""
        about = flows.filled(act, language) if act.flow else []
        turn = growing.turn.id
        return self._handovers.open(message, session, ring, turn=turn, title=title, about=about, language=language)

    # --- the model ---

    def _ask_model(
        self,
        message: Message,
        session: Session,
        growing: Growing,
        ring: Ring,
        seconds: float,
        *,
        acted: Acted | None = None,
        passages: tuple[Passage, ...] = (),
    ) -> Answer:
        if not acted and self._budgets and (whose := self._budgets.reached(message, ring)):
            self._metrics.emit((BUDGET_REACHED, 1), ring=ring.name, whose=whose)
            return Answer(Reply(text=say(f"budget_{whose}", tongue(message)), private=whose == "person"))
        asked = [t.question for t in session.turns if t.question and t.state in ("saved", "sent")]
        text = acted.approval.question if acted else message.text
        rights = Rights(frozenset({EVERYONE})) if passages else self._audiences.of(message)
        asks = Question(
            text=text,
            whole="" if acted or message.quoted else contextualise(text, asked[-3:]),  # "this" is what is quoted
            quoted="" if acted else message.quoted,
            audience=rights.asker,
            listeners=rights.listeners,
            tenant=message.tenant,
            language=language_of(text, default=message.locale or "en"),
            session=hashlib.sha256(session.pk.encode()).hexdigest()[:32],
            model=ring.model,
            timezone=message.timezone or self._zone,
            instructions=self._prompts(ring.prompt),
            passages=passages,
            remembered=self._remembered(message, session),
        )
        turns = session.turns
        if acted:  # the question was asked then, and is answered now
            turns = turns[: next((n for n, t in enumerate(turns) if t.id == acted.approval.turn), len(turns))]
        around = self._within(message, growing, ring)
        desk = self._desk(replace(message, text=text), around, ring)
        answer = self._answering.answer(
            asks,
            self._summaries.history(session, turns) if self._summaries else _history(turns),
            push=growing.push,
            seconds=seconds,
            desk=desk if desk.tools else None,
            acted=acted.messages() if acted else (),
            aside=growing.aside,
        )
        if self._opinions and not acted:
            platform = self._platform(message.platform)
            reply = self._opinions.asked(answer.reply, message, platform, turn=growing.turn.sk, language=asks.language)
            answer = replace(answer, reply=reply)
        if self._budgets:
            self._budgets.spend(message, ring, model=answer.model, usage=answer.usage)
        return answer

    def _remembered(self, message: Message, session: Session) -> tuple[Fact, ...]:
        """What the asker wants remembered; in a group nothing: it is not for the others' ears."""
        if self._memory is None or not message.direct:
            return ()
        changed = max((t.at for t in session.turns if t.model == "memory"), default=0) / 1000
        return tuple(self._memory.facts(message, changed=changed))

    # --- tools ---

    def _desk(self, message: Message, around: Around, ring: Ring) -> Desk:
        tools = self._plugins.tools(message.platform, only=ring.plugins)
        return Desk(self._plugins, message, around, tools, table=self._table, metrics=self._metrics, clock=self._clock)

    def _decided(
        self,
        decided: str,
        approval: Approval | None,
        message: Message,
        session: Session,
        growing: Growing,
        ring: Ring,
        seconds: float,
    ) -> Answer:
        """What follows a yes or a no to something that waited for it."""
        language = tongue(message) if message.text else language_of(approval.question if approval else "", default="en")
        done = {**session.state, "approval": None}
        clicked = message.action_value if message.kind == "card_action" else (approval.id if approval else "")
        if approval is None or clicked != approval.id or not approval.is_open(self._clock()):
            return Answer(Reply(text=say("approve_gone", language)), after=session.state)
        if message.sender != approval.user:
            return Answer(Reply(text=say("approve_nobody_else", language), private=True), after=session.state)
        if decided == "no":
            return Answer(Reply(text=say("approve_declined", language)), after=done)
        desk = self._desk(message, self._within(message, growing, ring), ring)
        try:
            result = desk.act(approval)
        except OutcomeLost:
            return Answer(Reply(text=say("approve_unknown", language)), after=done)
        acted = Acted(approval=approval, result=result)
        try:
            answer = self._ask_model(message, session, growing, ring, seconds, acted=acted)
        except Unavailable:  # it has been done: that is said, with a model or without
            failed = result.startswith("failed: ")
            text = (
                say("approve_failed", language, reason=result.removeprefix("failed: "))
                if failed
                else say("approve_done", language)
            )
            answer = Answer(Reply(text=text), model="tool")
        return replace(answer, after={**done, **answer.after})


def _then(reply: Reply, more: Reply | None) -> Reply:
    """`reply` with the question that is still open below it."""
    if more is None:
        return reply
    text = f"{reply.text}\n\n{more.text}" if reply.text else more.text
    return replace(reply, text=text, buttons=more.buttons or reply.buttons)


def _context(message: Message, around: Around) -> Context:
    """What is known around a text that fills a form."""
    sender = Person(id=message.sender, name=message.sender_name)
    return Context(now=around.now, people=dict(message.mentions), sender=sender)


def tongue(message: Message) -> str:
    """The language to answer `message` in; a command such as `/doctor` is written the same in every one."""
    text = "" if message.text.startswith("/") and message.locale and len(message.text.split()) <= 2 else message.text
    return language_of(text, default=message.locale or "en")


def _history(turns: Sequence[Turn]) -> tuple[ChatMessage, ...]:
    history: list[ChatMessage] = []
    for turn in turns:
        if turn.state in ("saved", "sent") and turn.reply and turn.question and not turn.reply.private and not turn.reply.silent:
            history.append(ChatMessage(role="user", text=turn.question))
            history.append(ChatMessage(role="assistant", text=turn.reply.text))
    return tuple(history)
