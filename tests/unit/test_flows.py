"""Flows take any form, any text, any button and any stored state; what the stories tell in words is not repeated here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from assistant.errors import InvalidSetting
from assistant.flows import ACTION, DEEPEST, Act, Ask, Email, Flow, FlowResult, Flows, Said, State
from assistant.flows.repairs import corrected, repair_of
from assistant.flows.shown import shown
from assistant.messages import JSON, reply_from_json, to_json
from assistant.slots import Context, Kind, Person, Span
from tests.stories.office import FLOWS, RoomBooking

NOW = datetime(2026, 11, 18, 10, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
HERE = Context(now=NOW, people={"Alice Wang": "u1"}, sender=Person("Mei", "u0"))
OFFICE = Flows(FLOWS)


@dataclass(frozen=True)
class Intent:
    intent: str = ""


def step(state: State, text: str = "", *, intent: str = "", button: JSON = None, flows: Flows = OFFICE) -> FlowResult:
    said = Said(action_key=ACTION, action_value=button) if button is not None else Said(text)
    return flows.step(state, said, understood=Intent(intent), context=HERE, language="en")


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Everything(BaseModel):
    day: Annotated[date, Ask("Which day?")]
    length: Annotated[timedelta, Ask("How long?")]
    address: Annotated[Email, Ask("Whose address?")]
    mood: Annotated[Mood, Ask("How are you?")]
    rate: Annotated[float | None, Ask("Which rate?")]
    note: str = ""


def test_every_kind_of_field_is_asked_read_and_given_back_typed() -> None:
    flows = Flows([Flow(name="all", form=Everything, title="do everything")])
    result = flows.start(State(), "all", context=HERE, language="en")
    questions = ("Which day?", "How long?", "Whose address?", "How are you?", "Which rate?")
    answers = ("next Friday", "an hour and a half", "li@example.com", "good", "2.5")
    for question, answer in zip(questions, answers, strict=True):
        assert result.reply
        assert result.reply.text.endswith(question)
        result = step(result.state, answer, flows=flows)
    done = step(result.state, "yes", flows=flows)
    assert done.act
    form = flows.form(done.act)
    assert form == Everything(
        day=date(2026, 11, 27), length=timedelta(minutes=90), address="li@example.com", mood=Mood.GOOD, rate=2.5
    )


def test_the_state_survives_storage_as_json_at_every_step() -> None:
    state = State()
    for text in ("book the sun room", "tomorrow 3 to 4 pm", "7"):
        state = step(state, text, intent="book_room" if not state.frames else "").state
        assert State.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert State.from_json(State().to_json()) == State()


def test_a_state_of_a_flow_that_no_longer_exists_is_forgotten() -> None:
    state = step(State(), "book a room", intent="book_room").state
    result = step(state, "sun", flows=Flows())
    assert not result.handled
    assert result.state.frames == ()


def test_a_field_that_the_form_no_longer_has_does_no_harm() -> None:
    stored = {
        "frames": [{"flow": "book_room", "values": {"floor": 3, "room": "sun"}, "asking": "floor", "order": ["floor"]}],
        "at": NOW.timestamp(),
    }
    result = step(State.from_json(stored), "go back")
    assert result.reply


def test_an_act_of_a_flow_that_changed_since_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="start it again"):
        OFFICE.form(Act(kind="run", flow="book_room", values={"room": "attic"}))
    with pytest.raises(InvalidSetting, match="no flow 'gone'"):
        OFFICE.form(Act(kind="run", flow="gone"))
    with pytest.raises(InvalidSetting, match="known: book_room"):
        OFFICE.start(State(), "gone", context=HERE, language="en")


class Unanswerable(BaseModel):
    what: Annotated[list[int], Ask("What?")]


class Mute(BaseModel):
    people: int


@pytest.mark.parametrize(("form", "problem"), [(Unanswerable, "Unanswerable.what is a"), (Mute, "Mute.people has no question")])
def test_a_form_nobody_could_fill_in_a_chat_is_refused_when_it_is_declared(form: type[BaseModel], problem: str) -> None:
    with pytest.raises(InvalidSetting, match=problem):
        Flows([Flow(name="x", form=form, title="x")])


def test_flows_within_flows_are_bounded_and_the_person_is_told() -> None:
    state = State()
    for _ in range(DEEPEST):
        for flow in ("book_room", "request_leave"):
            result = step(state, "please", intent=flow)
            state = result.state
    assert len(state.frames) == DEEPEST
    assert result.reply
    assert "put aside" in result.reply.text


@pytest.mark.parametrize(
    "value",
    [None, "x", 7, [], {}, {"flow": "book_room"}, {"flow": "book_room", "do": "answer", "slot": "room", "value": "attic"},
     {"flow": "book_room", "do": "answer", "slot": "room", "value": ["sun"]}, {"flow": "book_room", "do": "confirm"},
     {"flow": "book_room", "do": "answer", "slot": "nothing", "value": "sun"}, {"flow": "other", "do": "cancel"}],
)  # fmt: skip
def test_a_forged_or_old_button_never_fills_anything(value: JSON) -> None:
    state = step(State(), "book a room", intent="book_room").state
    result = OFFICE.step(state, Said(action_key=ACTION, action_value=value), understood=Intent(), context=HERE, language="en")
    assert not result.act
    assert result.state.frames[-1].values == {}
    assert result.reply
    assert "earlier question" in result.reply.text


def test_a_number_in_a_time_is_not_taken_for_an_amount() -> None:
    state = step(State(), "book a room at 3", intent="book_room").state
    assert "people" not in state.frames[-1].values
    state = step(State(), "book the moon room tomorrow 3-4 pm", intent="book_room").state
    assert "people" not in state.frames[-1].values


def test_two_numbers_are_asked_rather_than_guessed() -> None:
    state = step(State(), "a room for 5 people and 2 dogs", intent="book_room").state
    assert "people" not in state.frames[-1].values


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ("Cancel!", "cancel"), ("please cancel that, thanks", "cancel"), ("oh never mind then", "cancel"), ("那算了吧", "cancel"),
        ("请取消一下", "cancel"), ("STOP", "stop"), ("why?", "why"), ("why do you need that?", "why"), ("为啥呀", "why"),
        ("can I talk to a person please", "hand_over"), ("我想转人工", "hand_over"), ("start over please", "restart"),
        ("重新来吧", "restart"),
        ("cancel my meeting on Friday", None), ("why is the sky blue", None), ("stop smoking", None),
        ("取消周五的会议", None), ("", None),
        ("x" * 500, None),
    ],
)  # fmt: skip
def test_a_repair_is_the_whole_message_politeness_aside(text: str, repair: str | None) -> None:
    assert repair_of(text) == repair


@pytest.mark.parametrize(
    ("text", "left"),
    [("not Thursday, Friday", "Friday"), ("Friday, not Thursday", "Friday"), ("Friday instead of Thursday", "Friday"),
     ("不是周四，是周五", "是周五"), ("把周四改成周五", "把 改成周五")],
)  # fmt: skip
def test_what_is_taken_back_is_not_read_again(text: str, left: str) -> None:
    assert " ".join(corrected(text).split()) == left
    assert len(corrected(text)) == len(text)


@pytest.mark.parametrize(
    ("value", "kind", "english", "chinese"),
    [
        ("2026-11-27", "date", "Fri 27 Nov 2026", "2026年11月27日（周五）"),
        ("2026-11-27T15:00:00+08:00", "datetime", "Fri 27 Nov 2026, 15:00", "2026年11月27日（周五） 15:00"),
        ("PT1H30M", "duration", "1 hour 30 minutes", "1小时30分钟"),
        ("P2D", "duration", "2 days", "2天"),
        ({"amount": "1234.5", "currency": "CNY"}, "money", "1,234.5 CNY", "1,234.5 CNY"),
        (True, "yes_no", "Yes", "是"),
        ({"start": "2026-11-27T22:00:00+08:00", "end": "2026-11-28T02:00:00+08:00"}, "span",
         "Fri 27 Nov 2026, 22:00 – Sat 28 Nov 2026, 02:00", "2026年11月27日（周五）22:00 – 2026年11月28日（周六）02:00"),
    ],
)  # fmt: skip
def test_values_are_shown_as_people_read_them(value: JSON, kind: Kind, english: str, chinese: str) -> None:
    assert (shown(value, kind, "en"), shown(value, kind, "zh-CN")) == (english, chinese)


def test_every_sentence_exists_in_both_languages_with_the_same_blanks() -> None:
    english, chinese = (
        json.loads((files("assistant") / "locales" / f"{tag}.json").read_text("utf-8")) for tag in ("en", "zh-CN")
    )
    flows = {key for key in english if key.startswith(("flow_", "slot_"))}
    assert flows == {key for key in chinese if key.startswith(("flow_", "slot_"))}
    for key in flows:
        assert _blanks(english[key]) == _blanks(chinese[key]), key


def _blanks(sentence: str) -> set[str]:
    return {part.split("}")[0] for part in sentence.split("{")[1:]}


SAYINGS = st.sampled_from(
    ["book a room", "sun", "moon", "tomorrow 3-4 pm", "明天下午3点到4点", "5", "五个人", "yes", "no", "不", "cancel",
     "stop", "why",
     "start over",
     "back", "skip",
     "change the time", "actually Friday", "不是太阳厅，是月亮厅", "改成周五",
     "what is this?", "$30", "taxi", "human", "next week",
     "@Alice Wang", "where were we", "", "   ", "\u202e\x00", "continue"]
) | st.text(max_size=30)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(SAYINGS, st.sampled_from(["", "", "book_room", "request_leave", "claim_expense"]), st.booleans()), max_size=9
    )
)
def test_any_conversation_goes_on_without_an_error(turns: list[tuple[str, str, bool]]) -> None:
    state = State()
    buttons: list[JSON] = []
    for text, intent, press in turns:
        button = buttons[len(text) % len(buttons)] if press and buttons else None
        result = step(state, text, intent=intent, button=button)
        if result.act and result.act.kind == "run":
            OFFICE.form(result.act)
        for reply in (result.reply, result.then):
            if reply:
                assert reply_from_json(json.loads(to_json(reply))) == reply
                assert reply.text.strip()
        buttons = [b.value for reply in (result.reply, result.then) if reply for b in reply.buttons]
        state = State.from_json(json.loads(json.dumps(result.state.to_json())))


def test_a_time_zone_belongs_to_the_person() -> None:
    away = Context(now=NOW.astimezone(ZoneInfo("Europe/Berlin")))
    result = OFFICE.step(
        State(), Said("book the sun room today 3-4 pm for 5"), understood=Intent("book_room"), context=away, language="en"
    )
    span = RoomBooking.model_validate({"people": 5, **result.state.frames[-1].values}).time
    assert span == Span(
        datetime(2026, 11, 18, 15, tzinfo=ZoneInfo("Europe/Berlin")), datetime(2026, 11, 18, 16, tzinfo=ZoneInfo("Europe/Berlin"))
    )


def test_a_limit_is_told_in_the_language_of_the_person() -> None:
    class Party(BaseModel):
        guests: Annotated[int, Field(ge=2, le=9), Ask({"en": "How many?", "zh-CN": "几位？"})]

    flows = Flows([Flow(name="party", form=Party, title="have a party")])
    state = flows.start(State(), "party", context=HERE, language="zh-CN").state
    reply = flows.step(state, Said("一百"), understood=Intent(), context=HERE, language="zh-CN").reply
    assert reply
    assert reply.text == "不能大于 9。\n\n几位？"


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("帮我订一个会议室", None),
        ("订一间会议室", None),
        ("我要订2号会议室", None),
        ("book one room", None),
        ("一个人用的会议室", 1),
        ("订会议室，1个人", 1),
        ("book a room for one person", 1),
        ("订一个能坐6个人的会议室", 6),
        ("订个会议室，五个人", 5),
    ],
)
def test_a_number_that_counts_something_else_fills_no_field(text: str, people: int | None) -> None:
    context = Context(now=datetime(2026, 11, 18, 10, 30, tzinfo=ZoneInfo("Asia/Shanghai")))
    began = OFFICE.start(State(), "book_room", text=text, context=context, language="en")
    assert began.state.frames[0].values.get("people") == people
