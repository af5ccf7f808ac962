"""Things that take several questions, with repair around all of them: correct, cancel, why, digress and come back, start over.

    flows = Flows([Flow(name="book_room", form=RoomBooking, title={"en": "book a room", "zh-CN": "订会议室"})])
    result = flows.step(state, Said("a room for 5"), understood=understander.understand("a room for 5"), context=…, language="en")
    result.reply, result.state, result.act

Pure functions: nothing is read, sent or kept here. The state is a small JSON object that is stored with each turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, Self

from pydantic import BaseModel

from assistant.errors import InvalidSetting
from assistant.flows.filling import amended, answered, gathered, mentioned
from assistant.flows.forms import Ask as Ask
from assistant.flows.forms import Email as Email
from assistant.flows.forms import Option as Option
from assistant.flows.forms import Slot, problems, slots_of
from assistant.flows.forms import Unfit as Unfit
from assistant.flows.repairs import Repair, asks, corrects, repair_of
from assistant.flows.shown import shown
from assistant.messages import JSON, Button, Reply
from assistant.slots import Context, SlotType, read
from assistant.words import Words as Words
from assistant.words import say, spoken

ACTION: Final = "flow"
"""`key` of all buttons of flows."""

UNLIKE: Final = "?unlike"
"""After a flow's name: the intent of what sounds like it and is not meant; no flow answers to it."""
CONFIRM: Final = "?confirm"
CHANGE: Final = "?change"
DEEPEST: Final = 4
"""Flows that may wait for one another; beyond it the oldest is put aside."""
IDLE_SECONDS: Final = 30 * 60
"""After this silence a flow asks whether to go on."""
EXPIRES_SECONDS: Final = 24 * 3600
"""After this silence a flow is put aside."""


class Understood(Protocol):
    """What the classifier made of a text."""

    @property
    def intent(self) -> str:
        """Name of the intent; empty: none of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Something the assistant can do after asking for what it needs."""

    name: str
    """Also the intent that starts it."""
    form: type[BaseModel]
    """What it needs, one field after the other; every required field is annotated with `Ask`."""
    title: Words
    """What it does, as in "let's …": `book a room`, `订会议室`."""
    examples: tuple[str, ...] = ()
    """What people say to start it, in all languages."""
    unlike: tuple[str, ...] = ()
    """What sounds like it and is not meant: questions about the same thing, which the knowledge answers."""
    confirm: bool = True
    """Show everything and ask before acting. Leave it on for whatever changes something."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the person did: wrote a text, or pressed a button."""

    text: str = ""
    action_key: str = ""
    action_value: JSON = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One flow that is under way."""

    flow: str
    values: Mapping[str, JSON] = field(default_factory=dict)
    asking: str = ""
    """Name of the field asked for, or one of CONFIRM, CHANGE."""
    order: tuple[str, ...] = ()
    """Fields in the order they were filled."""
    skipped: tuple[str, ...] = ()
    kept: str = ""
    """The part of an answer that still misses something ("tomorrow", without a time)."""
    misses: int = 0
    """How often in a row the answer did not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is under way in one conversation; the innermost flow is the last frame."""

    frames: tuple[Frame, ...] = ()
    at: float = 0.0
    """When the person last took part, in Unix seconds."""
    nudged: bool = False
    """True once a silent person was asked whether to go on."""

    def to_json(self) -> dict[str, JSON]:
        """The state as a JSON object; empty when nothing is under way."""
        if not self.frames:
            return {}
        frames: list[JSON] = [
            {
                "flow": f.flow,
                "values": dict(f.values),
                "asking": f.asking,
                "order": list(f.order),
                "skipped": list(f.skipped),
                "kept": f.kept,
                "misses": f.misses,
            }
            for f in self.frames
        ]
        return {"frames": frames, "at": self.at, "nudged": self.nudged}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:  # Any: what an earlier version stored
        """The state in `data`; fields that another version added are ignored."""
        frames = tuple(
            Frame(
                flow=str(f.get("flow", "")),
                values=dict(f.get("values") or {}),
                asking=str(f.get("asking", "")),
                order=tuple(f.get("order") or ()),
                skipped=tuple(f.get("skipped") or ()),
                kept=str(f.get("kept", "")),
                misses=int(f.get("misses", 0)),
            )
            for f in data.get("frames") or ()
        )
        return cls(frames=frames, at=float(data.get("at", 0.0)), nudged=bool(data.get("nudged", False)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What should be done now. `run`: the flow's work with these values. `hand_over`: get a person, pass the values on."""

    kind: Literal["run", "hand_over"]
    flow: str = ""
    values: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    """What a step leads to."""

    state: State
    reply: Reply | None = None
    """What to say; None where flows have nothing to say to it."""
    act: Act | None = None
    """What to do; the flow it belongs to is finished as far as asking goes."""
    then: Reply | None = None
    """What to add after the act's result or after whatever answers the digression: the question that is still open."""

    @property
    def handled(self) -> bool:
        """False where the message is not about a flow, and knowledge, a tool or the model should answer it."""
        return self.reply is not None or self.act is not None


class Flows:
    """All flows there are. Immutable; one instance serves every conversation."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        self._flows = {flow.name: flow for flow in flows}
        self._slots = {flow.name: slots_of(flow.form) for flow in self._flows.values()}

    def examples(self) -> list[tuple[str, str]]:
        """All `(text, intent)` examples, to train an understander with."""
        flows = self._flows.values()
        meant = [(text, flow.name) for flow in flows for text in flow.examples]
        return meant + [(text, f"{flow.name}{UNLIKE}") for flow in flows for text in flow.unlike]

    def form(self, act: Act) -> BaseModel:
        """The checked form of an act to run; raises InvalidSetting where the flow has gone or changed since."""
        if act.flow not in self._flows:
            raise InvalidSetting(f"no flow {act.flow!r}; known: {', '.join(self._flows) or 'none'}")
        try:
            return self._flows[act.flow].form.model_validate(dict(act.values))
        except ValueError as error:
            raise InvalidSetting(f"flow {act.flow!r} no longer takes what was collected; start it again") from error

    def step(self, state: State, said: Said, *, understood: Understood, context: Context, language: str) -> FlowResult:
        """What `said` leads to in `state`. Total: every text, every button and every stored state has an answer."""
        turn = _Turn(self, said.text.strip(), understood.intent, context, language)
        frames = self._known(state)
        now = context.now.timestamp()
        silent = now - state.at if frames else 0.0
        expired = silent > EXPIRES_SECONDS
        if expired and said.action_key != ACTION:
            aside, frames = frames, ()
            result = turn.respond(frames, said, idle=False)
            note = turn.say("flow_expired", title=turn.title(aside[-1]))
            return replace(_stamped(result, now), then=result.then or Reply(text=note))
        return _stamped(turn.respond(frames, said, idle=silent > IDLE_SECONDS), now)

    def start(self, state: State, name: str, *, text: str = "", context: Context, language: str) -> FlowResult:
        """Begins the flow `name` on somebody's behalf (a menu entry, a tool); raises InvalidSetting for an unknown name."""
        if name not in self._flows:
            raise InvalidSetting(f"no flow {name!r}; known: {', '.join(self._flows) or 'none'}")
        turn = _Turn(self, text, name, context, language)
        return _stamped(turn.begin(self._known(state)), context.now.timestamp())

    def nudge(self, state: State, *, context: Context, language: str) -> FlowResult | None:
        """What to say, once, to a person who went silent in the middle; None where nothing is under way or it was said before."""
        frames = self._known(state)
        if not frames or state.nudged:
            return None
        turn = _Turn(self, "", "", context, language)
        reply = Reply(text=turn.say("flow_still_there", title=turn.title(frames[-1])), buttons=turn.pause_buttons(frames[-1]))
        return FlowResult(state=replace(state, frames=frames, nudged=True), reply=reply)

    def _known(self, state: State) -> tuple[Frame, ...]:
        """The frames of `state` without flows and fields that an update has taken away since."""
        return tuple(_fitting(frame, self._slots[frame.flow]) for frame in state.frames if frame.flow in self._flows)

    def flow(self, name: str) -> Flow:
        """The flow of that name; raises KeyError where there is none."""
        return self._flows[name]

    def slots(self, name: str) -> tuple[Slot, ...]:
        """The fields of a flow, in order."""
        return self._slots[name]

    def filled(self, act: Act, language: str) -> list[tuple[str, str]]:
        """What an act's form holds, as people read it: name and value of each field that is filled."""
        slots = [s for s in self._slots.get(act.flow, ()) if act.values.get(s.name) is not None]
        return [(s.title(language), _worded(s, act.values[s.name], language)) for s in slots]

    def __contains__(self, name: object) -> bool:
        return name in self._flows


def _fitting(frame: Frame, slots: Sequence[Slot]) -> Frame:
    names = {slot.name for slot in slots}
    if names.issuperset(frame.values) and names.issuperset(frame.order):
        return frame
    values = {name: value for name, value in frame.values.items() if name in names}
    return replace(frame, values=values, order=tuple(name for name in frame.order if name in values))


def _worded(slot: Slot, value: JSON, language: str) -> str:
    """A value as people read it."""
    if slot.kind == "choice" and isinstance(value, str):
        return slot.label(value, language)
    return shown(value, slot.kind, language)


def _stamped(result: FlowResult, now: float) -> FlowResult:
    return replace(result, state=replace(result.state, at=now, nudged=False))


_Frames = tuple[Frame, ...]


class _Turn:
    """One message looked at: everything that the answer depends on stays the same, so that the steps below read short."""

    def __init__(self, flows: Flows, text: str, intent: str, context: Context, language: str) -> None:
        self.flows = flows
        self.text = text
        self.intent = intent
        self.context = context
        self.language = language

    # --- the order in which a message is looked at -----------------------------------------------

    def respond(self, frames: _Frames, said: Said, *, idle: bool) -> FlowResult:
        if said.action_key == ACTION:
            return self.pressed(frames, said.action_value)
        if not frames:
            return self.outside()
        frame = frames[-1]
        if not self.text:
            return FlowResult(state=State(frames=frames))
        repair = self.repair(frame)
        if repair:
            return self.repaired(frames, repair)
        if frame.asking == CONFIRM:
            return self.at_confirmation(frames)
        if (corrected := self.correct(frames)) is not None:
            return corrected
        if frame.asking == CHANGE:
            return self.to_change(frames)
        return self.answer(frames, idle=idle)

    def outside(self) -> FlowResult:
        """Nothing is under way."""
        if self.intent in self.flows:
            return self.begin(())
        match repair_of(self.text):
            case "hand_over":
                return FlowResult(state=State(), reply=Reply(text=self.say("flow_handed_over")), act=Act(kind="hand_over"))
            case "cancel" | "restart" | "back":
                return FlowResult(state=State(), reply=Reply(text=self.say("flow_nothing_to_cancel")))
            case "continue":
                return FlowResult(state=State(), reply=Reply(text=self.say("flow_nothing_to_continue")))
            case _:
                return FlowResult(state=State())

    def begin(self, frames: _Frames) -> FlowResult:
        """The flow of the intent begins, on top of what is under way."""
        values = gathered(self.flows.slots(self.intent), {}, self.text, self.context)
        frame = Frame(flow=self.intent, values=values, order=tuple(values))
        title = spoken(self.flows.flow(self.intent).title, self.language)
        lead = [self.say("flow_started", title=title)]
        if len(frames) >= DEEPEST:
            lead.append(self.say("flow_too_deep", title=self.title(frames[0])))
            frames = frames[1:]
        return self.proceed((*frames, frame), lead=lead)

    # --- answers -----------------------------------------------------------------------------------

    def answer(self, frames: _Frames, *, idle: bool) -> FlowResult:
        """The message is taken as an answer to the open question, else as a digression."""
        frame = frames[-1]
        slot = self.slot(frame)
        elsewhere = self.intent in self.flows and self.intent != frame.flow
        question = asks(self.text)
        value, problem, kept = answered(slot, self.text, frame.kept, self.context)
        open_text = slot.kind == "text"
        if value is not None and not (open_text and (elsewhere or question or idle)) and not (question and elsewhere):
            return self.fill(frames, slot, value)
        if elsewhere and (question or not kept):  # half of what was asked for is no other wish
            return self.begin(frames)
        if idle and open_text:
            return self.ask_to_go_on(frames)
        more = gathered(self.flows.slots(frame.flow), frame.values, self.text, self.context)
        if more and not question:
            return self.proceed(self.with_values(frames, more))
        if question or (value is None and not kept and self.is_off_topic(slot)):
            return self.aside(frames, idle=idle)
        return self.again(frames, problem, kept=kept)

    def is_off_topic(self, slot: Slot) -> bool:
        """True for a long sentence with nothing of what was asked: an aside for the knowledge base or the model, not a try."""
        return slot.kind != "text" and (len(self.text.split()) > 7 or (not self.text.isascii() and len(self.text) > 14))

    def fill(self, frames: _Frames, slot: Slot, value: JSON) -> FlowResult:
        """The open question is answered; whatever else the text holds is taken too."""
        frame = frames[-1]
        flow = self.flows.flow(frame.flow)
        trouble = problems(flow.form, {**frame.values, slot.name: value}, self.language).get(slot.name)
        if trouble:
            return self.again(frames, trouble, kept="", said=True)
        more = gathered(self.flows.slots(frame.flow), {**frame.values, slot.name: value}, self.text, self.context, taken=slot)
        return self.proceed(self.with_values(frames, {slot.name: value, **more}))

    def with_values(self, frames: _Frames, values: Mapping[str, JSON]) -> _Frames:
        """The frames with `values` in the innermost flow; those that do not fit are left out."""
        frame = frames[-1]
        form = self.flows.flow(frame.flow).form
        bad = problems(form, {**frame.values, **values}, self.language)
        good = {name: value for name, value in values.items() if name not in bad}
        order = (*(name for name in frame.order if name not in good), *good)
        skipped = tuple(name for name in frame.skipped if name not in good)
        filled = replace(frame, values={**frame.values, **good}, order=order, skipped=skipped, kept="", misses=0)
        return (*frames[:-1], filled)

    def proceed(self, frames: _Frames, *, lead: Sequence[str] = ()) -> FlowResult:
        """The next question, the confirmation, or the act."""
        frame = frames[-1]
        flow = self.flows.flow(frame.flow)
        bad = problems(flow.form, frame.values, self.language)
        if named := {name: text for name, text in bad.items() if name in frame.values}:
            frame = replace(frame, values={k: v for k, v in frame.values.items() if k not in named})
            frame = replace(frame, order=tuple(n for n in frame.order if n in frame.values))
            lead = (*lead, *named.values())
        missing = next((s for s in self.flows.slots(frame.flow) if self.is_open(s, frame)), None)
        if missing:
            return self.asking((*frames[:-1], replace(frame, asking=missing.name)), lead=lead)
        if whole := bad.get(""):
            return self.asking((*frames[:-1], replace(frame, asking=CHANGE)), lead=(*lead, whole))
        if flow.confirm:
            return self.asking((*frames[:-1], replace(frame, asking=CONFIRM)), lead=lead)
        return self.act(frames[:-1], frame)

    def is_open(self, slot: Slot, frame: Frame) -> bool:
        asked = slot.required or bool(slot.ask.question)
        return asked and slot.name not in frame.values and slot.name not in frame.skipped

    def act(self, rest: _Frames, frame: Frame) -> FlowResult:
        then = self.return_to(rest)
        return FlowResult(state=State(frames=rest), act=Act(kind="run", flow=frame.flow, values=dict(frame.values)), then=then)

    def return_to(self, frames: _Frames) -> Reply | None:
        """The reminder of what was under way before, None where there was nothing."""
        if not frames:
            return None
        return self.asking(frames, lead=[self.say("flow_back", title=self.title(frames[-1]))]).reply

    def again(self, frames: _Frames, problem: str, *, kept: str = "", said: bool = False) -> FlowResult:
        """The question once more, with what was wrong; after several tries with other ways out."""
        frame = frames[-1]
        misses = frame.misses if kept else frame.misses + 1
        words = problem if said else self.say(problem)
        frames = (*frames[:-1], replace(frame, misses=misses, kept=kept))
        if kept:
            return FlowResult(state=State(frames=frames), reply=Reply(text=words))
        lead = [self.say("flow_stuck"), words] if misses >= 3 else [words]
        result = self.asking(frames, lead=lead)
        if misses >= 3 and result.reply:
            ways = (self.button("flow_button_cancel", do="cancel"), self.button("flow_button_person", do="hand_over"))
            return replace(result, reply=replace(result.reply, buttons=(*result.reply.buttons, *ways)))
        return result

    def aside(self, frames: _Frames, *, idle: bool) -> FlowResult:
        """Somebody else answers the digression; the open question follows."""
        if idle:
            frame = frames[-1]
            reminder = Reply(text=self.say("flow_idle", title=self.title(frame)), buttons=self.pause_buttons(frame))
            return FlowResult(state=State(frames=frames), then=reminder)
        return FlowResult(state=State(frames=frames), then=self.return_to(frames))

    def ask_to_go_on(self, frames: _Frames) -> FlowResult:
        frame = frames[-1]
        reply = Reply(text=self.say("flow_idle", title=self.title(frame)), buttons=self.pause_buttons(frame))
        return FlowResult(state=State(frames=frames), reply=reply)

    # --- confirmation and corrections ---------------------------------------------------------------

    def at_confirmation(self, frames: _Frames) -> FlowResult:
        frame = frames[-1]
        if (corrected := self.correct(frames)) is not None:
            return corrected
        agreed = read(SlotType(kind="yes_no"), self.text, self.context).value
        if agreed is True and not asks(self.text.rstrip("?？")):
            return self.act(frames[:-1], frame)
        if agreed is False:
            return self.asking((*frames[:-1], replace(frame, asking=CHANGE)))
        if self.intent in self.flows and self.intent != frame.flow:
            return self.begin(frames)
        if asks(self.text) or self.is_long():
            return self.aside(frames, idle=False)
        return self.again(frames, "slot_yes_no")

    def is_long(self) -> bool:
        return len(self.text.split()) > 7 or (not self.text.isascii() and len(self.text) > 14)

    def to_change(self, frames: _Frames) -> FlowResult:
        """The message names what to change, and perhaps to what."""
        frame = frames[-1]
        agreed = read(SlotType(kind="yes_no"), self.text, self.context).value
        if agreed is False or repair_of(self.text) == "continue":
            return self.proceed(frames)
        if self.intent in self.flows and self.intent != frame.flow:
            return self.begin(frames)
        if asks(self.text):
            return self.aside(frames, idle=False)
        return self.again(frames, "flow_what_to_change")

    def correct(self, frames: _Frames) -> FlowResult | None:
        """A field that was filled before gets another value, or is asked again; None where the message does nothing like it."""
        frame = frames[-1]
        slots = self.flows.slots(frame.flow)
        filled = [slot for name in reversed(frame.order) for slot in slots if slot.name == name]
        settled = frame.asking in {CONFIRM, CHANGE}
        correcting = corrects(self.text)
        if not filled or not (correcting or settled):
            return None
        named = mentioned(slots, self.text)
        for slot in named if named else filled:
            if slot.name == frame.asking:
                continue
            value = amended(slot, self.text, frame.values.get(slot.name), self.context, named=bool(named), settled=settled)
            if value is not None and value != frame.values.get(slot.name):
                return self.changed(frames, slot, value)
        if named and (correcting or frame.asking == CHANGE) and named[0].name in frame.values:
            return self.reopened(frames, named[0])
        return None

    def changed(self, frames: _Frames, slot: Slot, value: JSON) -> FlowResult:
        frame = frames[-1]
        trouble = problems(self.flows.flow(frame.flow).form, {**frame.values, slot.name: value}, self.language).get(slot.name)
        if trouble:
            return self.again(frames, trouble, said=True)
        words = self.say("flow_changed", name=slot.title(self.language), value=self.value(slot, value))
        return self.proceed(self.with_values(frames, {slot.name: value}), lead=[words])

    def reopened(self, frames: _Frames, slot: Slot) -> FlowResult:
        frame = frames[-1]
        values = {name: value for name, value in frame.values.items() if name != slot.name}
        order = tuple(name for name in frame.order if name != slot.name)
        return self.asking((*frames[:-1], replace(frame, values=values, order=order, asking=slot.name, misses=0, kept="")))

    # --- repairs -----------------------------------------------------------------------------------

    def repair(self, frame: Frame) -> Repair | None:
        """The repair that the message is, unless the same words answer the open question."""
        found = repair_of(self.text)
        if found is None or frame.asking in {CONFIRM, CHANGE}:
            return found
        slot = self.slot(frame)
        if slot.kind == "choice" and any(self.text.strip().lower() in _spellings(slot, v) for v in slot.values):
            return None
        if (
            slot.kind == "yes_no"
            and found in {"cancel", "skip"}
            and "取消" not in self.text
            and "cancel" not in self.text.lower()
        ):
            return None if read(slot.type(), self.text, self.context).value is not None else found
        return found

    def repaired(self, frames: _Frames, repair: Repair) -> FlowResult:
        frame, rest = frames[-1], frames[:-1]
        match repair:
            case "stop":
                return FlowResult(state=State(), reply=Reply(text=self.say("flow_cancelled_all")))
            case "cancel":
                return self.cancelled(frames)
            case "restart":
                fresh = Frame(flow=frame.flow)
                return self.proceed((*rest, fresh), lead=[self.say("flow_restarted")])
            case "why":
                return self.asking(frames, lead=[self.why(frame)])
            case "hand_over":
                reply = Reply(text=self.say("flow_handed_over"))
                return FlowResult(
                    state=State(), reply=reply, act=Act(kind="hand_over", flow=frame.flow, values=dict(frame.values))
                )
            case "back":
                if not frame.order:
                    return self.asking(frames, lead=[self.say("flow_first_question")])
                slot = next(s for s in self.flows.slots(frame.flow) if s.name == frame.order[-1])
                return self.reopened(frames, slot)
            case "skip":
                return self.skip(frames)
            case "status":
                return self.asking(frames, lead=[self.so_far(frame)])
            case "continue":
                return self.asking(frames)

    def cancelled(self, frames: _Frames) -> FlowResult:
        frame, rest = frames[-1], frames[:-1]
        words = self.say("flow_cancelled", title=self.title(frame))
        if rest:
            return self.asking(rest, lead=[words, self.say("flow_back", title=self.title(rest[-1]))])
        return FlowResult(state=State(), reply=Reply(text=words))

    def skip(self, frames: _Frames) -> FlowResult:
        frame = frames[-1]
        if frame.asking in {CONFIRM, CHANGE} or self.slot(frame).required:
            return self.asking(frames, lead=[self.say("flow_needed")])
        return self.proceed((*frames[:-1], replace(frame, skipped=(*frame.skipped, frame.asking), kept="", misses=0)))

    def why(self, frame: Frame) -> str:
        if frame.asking in {CONFIRM, CHANGE}:
            return self.say("flow_why_confirm")
        own = spoken(self.slot(frame).ask.why, self.language)
        return own or self.say("flow_why", title=self.title(frame))

    def so_far(self, frame: Frame) -> str:
        lines = self.summary(frame)
        return f"{self.say('flow_so_far', title=self.title(frame))}\n\n{lines or self.say('flow_nothing_yet')}"

    # --- buttons -----------------------------------------------------------------------------------

    def pressed(self, frames: _Frames, value: JSON) -> FlowResult:
        """A button was pressed: perhaps one of an old card, perhaps something that never was a button."""
        pressed = value if isinstance(value, dict) else {}
        frame = frames[-1] if frames else None
        if frame is None or pressed.get("flow") != frame.flow:
            note = self.say("flow_old_button")
            return self.asking(frames, lead=[note]) if frames else FlowResult(state=State(), reply=Reply(text=note))
        do, name = pressed.get("do"), pressed.get("slot")
        slot = next((s for s in self.flows.slots(frame.flow) if s.name == name), None)
        match do:
            case "confirm" if frame.asking == CONFIRM:
                return self.act(frames[:-1], frame)
            case "change" if slot and frame.asking == CHANGE:
                return self.reopened(frames, slot)
            case "change" if frame.asking == CONFIRM:
                return self.asking((*frames[:-1], replace(frame, asking=CHANGE)))
            case "cancel" | "restart" | "hand_over" | "continue":
                return self.repaired(frames, do)
            case "skip" if slot and frame.asking == slot.name:
                return self.skip(frames)
            case "answer" if slot and frame.asking == slot.name and _is_answer(slot, pressed.get("value")):
                self.text = ""
                return self.fill(frames, slot, pressed.get("value"))
            case _:
                return self.asking(frames, lead=[self.say("flow_old_button")])

    def button(
        self, words: str, *, frame: Frame | None = None, style: Literal["default", "primary", "danger"] = "default", **value: JSON
    ) -> Button:
        if frame is not None:
            value["flow"] = frame.flow
        return Button(text=self.say(words), key=ACTION, value=value, style=style)

    def pause_buttons(self, frame: Frame) -> tuple[Button, ...]:
        return (
            self.button("flow_button_continue", frame=frame, style="primary", do="continue"),
            self.button("flow_button_restart", frame=frame, do="restart"),
            self.button("flow_button_cancel", frame=frame, do="cancel"),
        )

    # --- what is said ------------------------------------------------------------------------------

    def asking(self, frames: _Frames, *, lead: Sequence[str] = ()) -> FlowResult:
        """The open question of the innermost flow, after the sentences of `lead`."""
        frame = frames[-1]
        buttons: tuple[Button, ...] = ()
        if frame.asking == CONFIRM:
            question = (
                f"{self.say('flow_confirm', title=self.title(frame))}\n\n{self.summary(frame)}\n\n{self.say('flow_confirm_ask')}"
            )
            buttons = (
                self.button("flow_button_confirm", frame=frame, style="primary", do="confirm"),
                self.button("flow_button_change", frame=frame, do="change"),
                self.button("flow_button_cancel", frame=frame, style="danger", do="cancel"),
            )
        elif frame.asking == CHANGE:
            question = self.say("flow_what_to_change")
            buttons = tuple(
                Button(text=slot.title(self.language), key=ACTION, value={"flow": frame.flow, "do": "change", "slot": slot.name})
                for slot in self.flows.slots(frame.flow)
                if slot.name in frame.values
            )
        else:
            slot = self.slot(frame)
            question = spoken(slot.ask.question, self.language)
            buttons = self.choices(frame, slot)
        text = "\n\n".join([" ".join(lead), question] if lead and "\n" not in " ".join(lead) else [*lead, question])
        return FlowResult(state=State(frames=frames), reply=Reply(text=text, buttons=buttons))

    def choices(self, frame: Frame, slot: Slot) -> tuple[Button, ...]:
        values: Sequence[tuple[str, JSON]] = [(slot.label(v, self.language), v) for v in slot.values]
        if slot.kind == "yes_no":
            values = [(self.say("yes"), True), (self.say("no"), False)]
        buttons = [
            Button(text=label, key=ACTION, value={"flow": frame.flow, "do": "answer", "slot": slot.name, "value": value})
            for label, value in values
        ]
        if not slot.required:
            buttons.append(self.button("flow_button_skip", frame=frame, do="skip", slot=slot.name))
        return tuple(buttons)

    def summary(self, frame: Frame) -> str:
        return "\n".join(
            f"- **{slot.title(self.language)}**: {self.value(slot, frame.values[slot.name])}"
            for slot in self.flows.slots(frame.flow)
            if slot.name in frame.values
        )

    def value(self, slot: Slot, value: JSON) -> str:
        return _worded(slot, value, self.language)

    def title(self, frame: Frame) -> str:
        return spoken(self.flows.flow(frame.flow).title, self.language)

    def say(self, key: str, **values: object) -> str:
        return say(key, self.language, **values)

    def slot(self, frame: Frame) -> Slot:
        """The field asked for; the first open one where the form has changed since."""
        slots = self.flows.slots(frame.flow)
        return next((s for s in slots if s.name == frame.asking), slots[0])


def _spellings(slot: Slot, value: str) -> set[str]:
    return {
        word.lower() for choice in slot.type().choices if choice.value == value for word in (value, choice.label, *choice.words)
    }


def _is_answer(slot: Slot, value: JSON) -> bool:
    """True for a value that a button of this field carries."""
    return isinstance(value, bool) if slot.kind == "yes_no" else value in slot.values
