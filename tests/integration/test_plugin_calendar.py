"""The calendar by the front door: asked in a chat, allowed at the vendor, booked once in the asker's name."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from assistant import checkup
from assistant.dev.emulator import Emulator
from assistant_plugins._names import names_in, split_names
from assistant_plugins.calendar import room_in, topic_in
from tests.simulators.identity import Somebody
from tests.simulators.workplace import Person, Workplace
from tests.support.desks import DESKS
from tests.support.office import OID, PUBLIC, Office


def office(aws: Emulator, workplace: Workplace, provider: str = "feishu", **more: Any) -> Office:
    config = {"provider": provider, "api_base": workplace.base, "rooms": more.pop("rooms", {})}
    return Office(aws, workplace.identity, workplace, configs={"calendar": config}, **more)


def allowed(aws: Emulator, workplace: Workplace, provider: str = "feishu", **more: Any) -> Office:
    """Somebody who has allowed access already."""
    made = office(aws, workplace, provider, **more)
    made.has_allowed(provider)
    return made


# --- the story -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "texts", "names", "attendees"),
    [
        (
            "feishu",
            ("next Friday 10am with Bob Miller", "yes"),
            "Bob Miller",
            ["ou_ann", "ou_bob"],
        ),
        ("feishu", ("明天下午三点 with 张三", "确认"), "张三", ["ou_ann", "ou_zhang1"]),
        ("microsoft", ("book a meeting with Bob Miller tomorrow 3pm", "yes"), "Bob Miller", ["bob@example.com"]),
    ],
)
def test_a_meeting_is_confirmed_allowed_and_booked_once(
    aws: Emulator, workplace: Workplace, provider: str, texts: tuple[str, str], names: str, attendees: list[str]
) -> None:
    made = office(aws, workplace, provider)
    asked = made.say(texts[0])
    assert names in asked["text"]
    assert asked["buttons"][0]["style"] == "primary"
    private = made.say(texts[1])
    assert "/oauth/" in private["text"]
    assert workplace.events == {}, "nothing is done before it is allowed"
    shown = made.allow(private)
    assert (shown.status, "goes on by itself" in shown.text or "会自动继续" in shown.text) == (200, True)
    [event] = workplace.events.values()
    assert event.attendees == attendees
    assert event.end - event.start == timedelta(minutes=30)
    assert names in made.last["text"]
    assert made.house.drain() == 0


@pytest.mark.parametrize(
    ("desk", "provider", "ids", "texts", "booked"),
    [
        ("feishu", "feishu", {"open_id": "ou_ann"}, ("明天下午三点和张三开会", "确认"), "已预订"),
        ("teams", "microsoft", {"oid": OID}, ("book a meeting with Bob Miller tomorrow at 3pm", "yes"), "Booked"),
    ],
)
def test_in_the_vendors_own_chat_it_goes_on_by_itself(
    aws: Emulator, workplace: Workplace, desk: str, provider: str, ids: dict[str, str], texts: tuple[str, str], booked: str
) -> None:
    with DESKS[desk]() as there:
        if desk == "teams":
            ids = {"oid": "aad-ann"}
            workplace.people["aad-ann"] = Person("aad-ann", "Ann", "ann@example.com")
        workplace.identity.who = Somebody(ids={**Somebody().ids, **ids})
        made = office(aws, workplace, "auto", desk=there)
        there.ask(made.house, texts[0], message="m1")
        made.house.drain()
        there.ask(made.house, texts[1], message="m2")
        made.house.drain()
        asked = there.seen(made.house)[-1]
        assert f"/oauth/{provider}/start" in asked
        made.allow(asked)
        assert booked in there.seen(made.house)[-1]
        assert len(workplace.events) == 1


def test_a_question_at_a_time_and_a_correction(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    assert "With whom?" in made.say("book a meeting")["text"]
    assert "When?" in made.say("Bob Miller")["text"]
    assert "time" in made.say("tomorrow")["text"], "a day alone is no time for a meeting"
    assert "Bob Miller" in made.say("3pm")["text"]
    changed = made.say("make it 4 pm")
    assert "16:00–16:30" in changed["text"]
    assert "Booked" in made.say("yes")["text"]
    [event] = workplace.events.values()
    assert event.start == made.day(1, 16)


def test_the_topic_and_the_room_are_read_from_the_sentence(aws: Emulator, workplace: Workplace) -> None:
    workplace.rooms["omm_sun"] = []
    made = allowed(aws, workplace, rooms={"Sun": "omm_sun"})
    made.say("book a meeting with Bob Miller about the budget tomorrow from 3 to 4 pm in the Sun room")
    done = made.say("yes")
    [event] = workplace.events.values()
    assert (event.title, event.attendees) == ("the budget", ["ou_ann", "omm_sun", "ou_bob"])
    assert "in Sun" in done["text"]
    made.say("book a meeting with Bob Miller tomorrow at 5pm in the Mars room")
    assert "I do not know a room “Mars”. Rooms: Sun." in made.say("yes")["text"]


# --- once ------------------------------------------------------------------------------------------


def test_an_answer_that_was_lost_after_the_event_was_made_makes_no_second_one(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    workplace.fail("POST /open-apis/calendar/v4/calendars/cal-ou_ann/events", times=2, after=True, status=0)
    assert "Booked" in made.say("yes")["text"], "the queue brings it again, under the same key"
    assert len(workplace.events) == 1


@pytest.mark.parametrize("step", ["after claim", "after model", "after save", "after send"])
def test_a_process_that_dies_while_booking_books_once(aws: Emulator, workplace: Workplace, step: str) -> None:
    made = allowed(aws, workplace)
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    died: list[str] = []

    def die(name: str) -> None:
        if name == step and not died:
            died.append(name)
            raise SystemExit

    made.house._step = die
    steady, made.house.assistant = made.house.assistant, made.house.another()
    made.house.say("yes")
    batch = made.house.batch()
    with pytest.raises(SystemExit):
        made.house.run(batch)
    made.house.run(batch, steady)
    assert died
    assert "Booked" in made.last["text"]
    assert len(workplace.events) == 1


def test_two_clicks_on_book_anyway_book_once(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_bob"].busy = [(made.day(1, 15), made.day(1, 16))]
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    card = made.say("yes")
    assert "Bob Miller: busy 15:00–16:00" in card["text"]
    assert [b["text"] for b in card["buttons"]] == ["At 16:00 instead", "Book it anyway", "Leave it"]
    first = made.choose(card, "Book it anyway")
    second = made.choose(card, "Book it anyway")
    assert "Booked" in first["text"]
    assert second["text"] == first["text"]
    assert len(workplace.events) == 1


def test_the_next_free_time_can_be_taken_instead(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_ann"].busy = [(made.day(1, 16), made.day(1, 17))]
    workplace.people["ou_bob"].busy = [(made.day(1, 15), made.day(1, 16))]
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    done = made.choose(made.say("yes"), "17:00 instead")
    [event] = workplace.events.values()
    assert event.start == made.day(1, 17)
    assert "17:00–17:30" in done["text"]


def test_what_is_left_is_not_booked_later(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_bob"].busy = [(made.day(1, 15), made.day(1, 16))]
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    card = made.say("yes")
    assert made.choose(card, "Leave it")["text"] == "Nothing was booked."
    assert "not open any more" in made.choose(card, "Book it anyway")["text"]
    assert workplace.events == {}


def test_somebody_elses_click_decides_nothing(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_bob"].busy = [(made.day(1, 15), made.day(1, 16))]
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    card = made.say("yes")
    assert "Only the person who asked" in made.choose(card, "Book it anyway", user="eve")["text"]
    assert workplace.events == {}


# --- people ----------------------------------------------------------------------------------------


def test_of_two_with_one_name_the_asker_chooses(aws: Emulator, workplace: Workplace) -> None:
    workplace.add(Person("ou_zhang2", "张三", "zhang.san@example.com", "工程师"))
    made = allowed(aws, workplace)
    made.say("明天下午三点和张三、李四开会")
    which = made.say("确认")
    assert "哪一位张三" in which["text"]
    assert len(which["buttons"]) == 2
    assert "已预订" in made.choose(which, "zhang.san@")["text"]
    [event] = workplace.events.values()
    assert event.attendees == ["ou_ann", "ou_zhang2", "ou_li"]


def test_nobody_of_that_name_is_said_and_nothing_is_booked(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_bob"].visible = False
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    assert "nobody called “Bob Miller” that you may see" in made.say("yes")["text"]
    assert workplace.events == {}


def test_somebody_outside_is_invited_by_mail(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    made.say("book a meeting with guest@partner.example tomorrow at 3pm")
    assert "Booked" in made.say("yes")["text"]
    [event] = workplace.events.values()
    assert event.attendees == ["ou_ann", "guest@partner.example"]


# --- free and busy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["feishu", "microsoft"])
def test_free_and_busy_is_told_in_the_companys_zone(aws: Emulator, workplace: Workplace, provider: str) -> None:
    made = allowed(aws, workplace, provider)
    for person in workplace.people.values():
        if person.name == "Bob Miller":
            utc = ZoneInfo("UTC")
            person.busy = [(made.day(1, 10).astimezone(utc), made.day(1, 11, 30).astimezone(utc))]
    told = made.say("is Bob Miller free tomorrow morning?")["text"]
    assert "Bob Miller: busy 10:00–11:30" in told
    assert "Asia/Shanghai" in told


def test_a_meeting_stands_at_the_hour_that_was_said_in_the_askers_zone(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace, timezone="America/New_York")
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    assert "15:00–15:30" in made.say("yes")["text"]
    [event] = workplace.events.values()
    there = event.start.astimezone(ZoneInfo("America/New_York"))
    assert (there.hour, there.minute, event.zone) == (15, 0, "America/New_York")


def test_common_free_time_in_chinese(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_zhang1"].busy = [(made.day(1, 9), made.day(1, 10))]
    workplace.people["ou_li"].busy = [(made.day(1, 11), made.day(1, 18))]
    told = made.say("查一下张三和李四明天有没有空")["text"]
    assert "张三：09:00–10:00忙" in told
    assert "大家都有空的时间：10:00–11:00" in told


def test_free_time_of_a_whole_week_leaves_the_weekend_out(aws: Emulator, workplace: Workplace) -> None:
    told = allowed(aws, workplace).say("is Bob Miller free next week?")["text"]
    days = {date.fromisoformat(d).weekday() for d in re.findall(r"(\d{4}-\d\d-\d\d) \d\d:\d\d–", told.split("Everybody")[1])}
    assert days <= {0, 1, 2, 3, 4}


def test_my_own_day(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.people["ou_ann"].busy = [(made.day(1, 14), made.day(1, 15))]
    assert "You: busy 14:00–15:00" in made.say("am I free tomorrow?")["text"]


def test_a_calendar_that_may_not_be_seen_is_said_and_the_others_are_shown(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.rooms["omm_sun"] = []
    workplace.people["ou_ghost"] = Person("ou_ghost", "Guest One", visible=True)
    workplace.people["ou_ghost"].visible = True
    found = made.say("are Bob Miller and guest@partner.example free tomorrow?")["text"]
    assert "Bob Miller: free" in found
    assert "guest@partner.example: the calendar does not say" in found


# --- bad luck --------------------------------------------------------------------------------------


def test_a_provider_that_is_down_is_said_and_nothing_is_booked(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.fail("POST /open-apis/calendar/v4/freebusy/list", times=1, status=503)
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    assert "Feishu does not answer right now" in made.say("yes")["text"]
    assert workplace.events == {}
    assert made.house.assistant.plugins.report()[0].state == "ready", "a vendor's fault is not the plug-in's"


@pytest.mark.parametrize("provider", ["feishu", "microsoft"])
def test_a_vendor_that_asks_for_patience_is_asked_again(aws: Emulator, workplace: Workplace, provider: str) -> None:
    made = allowed(aws, workplace, provider)
    workplace.limited = 1
    assert "You: free" in made.say("am I free tomorrow?")["text"]


def test_less_was_allowed_than_asked_for(aws: Emulator, workplace: Workplace) -> None:
    workplace.identity.grants = lambda scopes: tuple(s for s in scopes if "free_busy" not in s)
    made = office(aws, workplace)
    asked = made.say("am I free tomorrow?")
    shown = made.allow(asked)
    assert "calendar:calendar.free_busy:read" in shown.text
    assert made.last["text"] == asked["text"], "it does not go on"
    workplace.identity.grants = lambda scopes: scopes
    made.allow(asked)
    assert "You: free" in made.last["text"]


@pytest.mark.parametrize("provider", ["feishu", "microsoft"])
def test_a_token_that_was_revoked_asks_once_more_and_goes_on(aws: Emulator, workplace: Workplace, provider: str) -> None:
    made = allowed(aws, workplace, provider)
    workplace.identity.end_everything()
    again = made.say("am I free tomorrow?")
    assert f"/oauth/{provider}/start" in again["text"]
    made.allow(again)
    assert "You: free" in made.last["text"]


def test_a_token_that_died_early_is_renewed_without_a_question(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    for access in workplace.identity.access.values():
        access.revoked = True
    assert "You: free" in made.say("am I free tomorrow?")["text"]
    assert workplace.identity.refreshed == 1


def test_a_right_that_the_app_lacks_is_named(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    body = {"code": 99991672, "msg": "Access denied", "error": {"permission_violations": [{"subject": "calendar:calendar:read"}]}}
    workplace.fail("POST /open-apis/calendar/v4/freebusy/list", status=400, body=body)
    assert "An administrator can grant the app the right" in made.say("am I free tomorrow?")["text"]


@pytest.mark.parametrize(("text", "yes", "told"), [
    ("book a meeting with Bob Miller yesterday at 3pm", "yes", "has passed already"),
    ("昨天下午三点和张三开会", "确认", "已经过去了"),
])  # fmt: skip
def test_what_has_passed_cannot_be_booked(aws: Emulator, workplace: Workplace, text: str, yes: str, told: str) -> None:
    made = allowed(aws, workplace)
    made.say(text)
    assert told in made.say(yes)["text"]
    assert workplace.events == {}


def test_a_chat_without_a_calendar_is_told_so(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace, "auto")
    made.say("book a meeting with Bob Miller tomorrow at 3pm")
    assert "No calendar is connected" in made.say("yes")["text"]


def test_switched_off_it_neither_asks_nor_stands_in_the_menu(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace, "")
    assert made.say("book a meeting with Bob Miller tomorrow at 3pm")["text"] == "Fourteen days."
    assert "Book a meeting" not in [b["text"] for b in made.say("help")["buttons"]]


def test_its_entries_stand_in_the_menu(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    help_ = made.say("/help")
    assert {"Book a meeting", "Who is free?"} <= {b["text"] for b in help_["buttons"]}
    assert "With whom?" in made.choose(help_, "Book a meeting")["text"]


def test_the_doctor_names_the_scopes_that_the_app_needs(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    found = {f.check: f for f in checkup.authorisation(made.house.assistant)}
    assert "calendar:calendar.event:create" in found["authorisation at feishu"].detail
    assert f"{PUBLIC}/oauth/feishu/callback" in found["authorisation at feishu"].detail


def test_the_doctor_does_not_call_a_provider_a_fault_that_nobody_uses(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace, "auto")
    made.house.secrets.pop("oauth-microsoft")
    found = {f.check: f.state for f in checkup.authorisation(made.house.another())}
    assert (found["authorisation at feishu"], found["authorisation at microsoft"]) == ("ok", "unknown")


# --- the model's tools -----------------------------------------------------------------------------


def test_the_model_asks_before_it_books_and_books_once(aws: Emulator, workplace: Workplace) -> None:
    from tests.support.house import ScriptedModel

    model = ScriptedModel(["Hello."])
    made = allowed(aws, workplace, model=model)
    start, end = made.day(2, 15), made.day(2, 16)
    model.answers = [
        [("free_busy", {"people": ["Bob Miller", "me"], "start": start.isoformat(), "end": end.isoformat()})],
        [("create_event", {"title": "Plan", "start": start.isoformat(), "end": end.isoformat(), "people": ["Bob Miller"]})],
        "It is booked.",
    ]
    card = made.say("could you find some common hour for Bob's project review and reserve it")
    assert workplace.events == {}
    assert "Bob Miller" in card["text"]
    assert made.press(card["buttons"][0])["text"] == "It is booked."
    made.press(card["buttons"][0])
    assert [e.title for e in workplace.events.values()] == ["Plan"]


# --- reading names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("明天下午三点 with 张三", "张三"),
        ("next Friday 10am with Ann", "Ann"),
        ("book a meeting with Ann Li and Bob tomorrow", "Ann Li, Bob"),
        ("明天下午3点到4点半和张三、李四开会", "张三, 李四"),
        ("Is Ann free tomorrow afternoon?", "Ann"),
        ("约周明明天下午开会", "周明"),
        ("下周五和王小明讨论预算", "王小明"),
        ("with ann and bob", "Ann, Bob"),
        ("meet ann@example.com at 3", "ann@example.com"),
        ("帮我约一下李雷和韩梅梅后天上午十点", "李雷, 韩梅梅"),
        ("我明天有空吗", "me"),
        ("欧阳娜娜下周一忙吗", "欧阳娜娜"),
        ("set up a meeting with @张三 tomorrow", "张三"),
        ("schedule a meeting tomorrow at 3pm", ""),
        ("和周五有关的会", ""),
        ("book the sun room tomorrow", ""),
    ],
)
def test_names_are_read_from_sentences(text: str, names: str) -> None:
    assert names_in(text) == names


def test_an_answer_to_with_whom_may_be_bare() -> None:
    assert split_names("Ann") == ["Ann"]
    assert split_names("ann and bob") == ["ann", "bob"]
    assert split_names("张三和李四") == ["张三", "李四"]


@pytest.mark.parametrize(
    ("text", "topic", "room"),
    [
        ("meet Ann about the budget tomorrow", "the budget", ""),
        ("和张三讨论预算", "预算", ""),
        ("book a meeting in room 12 tomorrow", "", "12"),
        ("明天三点在太阳厅和张三开会", "", "太阳厅"),
    ],
)
def test_topics_and_rooms_are_read_from_sentences(text: str, topic: str, room: str) -> None:
    assert (topic_in(text), room_in(text)) == (topic, room)
