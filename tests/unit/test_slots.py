"""What people write becomes the value they mean, in English and Chinese."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import InvalidSetting
from assistant.slots import Choice, Context, Kind, Money, Person, SlotType, Span, find, read

SHANGHAI = ZoneInfo("Asia/Shanghai")
WEDNESDAY = datetime(2026, 11, 18, 10, 30, tzinfo=SHANGHAI)
KINDS: tuple[Kind, ...] = (
    "date",
    "time",
    "datetime",
    "span",
    "duration",
    "number",
    "integer",
    "money",
    "email",
    "person",
    "yes_no",
)
HERE = Context(now=WEDNESDAY, people={"Alice Wang": "u1", "张三": "u2"}, sender=Person("Mei", "u0"))


def value(kind: Kind, text: str) -> object:
    return read(SlotType(kind=kind), text, HERE).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", (2026, 11, 18)),
        ("tomorrow please", (2026, 11, 19)),
        ("the day after tomorrow", (2026, 11, 20)),
        ("Friday", (2026, 11, 20)),
        ("this Friday", (2026, 11, 20)),
        ("next Friday", (2026, 11, 27)),
        ("Friday next week", (2026, 11, 27)),
        ("last Monday", (2026, 11, 9)),
        ("Friday, 27 November", (2026, 11, 27)),
        ("March 5", (2027, 3, 5)),
        ("the 5th of March 2028", (2028, 3, 5)),
        ("on the 5th", (2026, 12, 5)),
        ("12/25", (2026, 12, 25)),
        ("25/12", (2026, 12, 25)),
        ("2027-01-02", (2027, 1, 2)),
        ("in three days", (2026, 11, 21)),
        ("2 weeks from now", (2026, 12, 2)),
        ("end of next month", (2026, 12, 31)),
        ("Feb 29", (2028, 2, 29)),
        ("christmas", (2026, 12, 25)),
        ("明天", (2026, 11, 19)),
        ("大后天吧", (2026, 11, 21)),
        ("周三", (2026, 11, 18)),
        ("周二", (2026, 11, 24)),
        ("这周二", (2026, 11, 17)),
        ("下周三", (2026, 11, 25)),
        ("下下个星期天", (2026, 12, 6)),
        ("上周五", (2026, 11, 13)),
        ("3月5号", (2027, 3, 5)),
        ("十二月二十五日", (2026, 12, 25)),
        ("明年三月八号", (2027, 3, 8)),
        ("二〇二七年一月二日", (2027, 1, 2)),
        ("下个月5号", (2026, 12, 5)),
        ("五号", (2026, 12, 5)),
        ("三天后", (2026, 11, 21)),
        ("两周后", (2026, 12, 2)),
        ("月底", (2026, 11, 30)),
        ("１２月１日", (2026, 12, 1)),
    ],
)
def test_a_day_is_told_from_today_in_the_persons_zone(text: str, expected: tuple[int, int, int]) -> None:
    assert value("date", text) == date(*expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tomorrow at 3pm", "2026-11-19 15:00"),
        ("3 p.m. tomorrow", "2026-11-19 15:00"),
        ("at 3", "2026-11-18 15:00"),
        ("at 7", "2026-11-18 19:00"),
        ("tomorrow at 9", "2026-11-19 09:00"),
        ("noon", "2026-11-18 12:00"),
        ("9am", "2026-11-19 09:00"),
        ("half past two", "2026-11-18 14:30"),
        ("quarter to five tomorrow", "2026-11-19 16:45"),
        ("at half past nine tomorrow morning", "2026-11-19 09:30"),
        ("next Monday 9 in the morning", "2026-11-23 09:00"),
        ("tomorrow at seven thirty in the evening", "2026-11-19 19:30"),
        ("in two hours", "2026-11-18 12:30"),
        ("in an hour and a half", "2026-11-18 12:00"),
        ("2026-11-20T09:00", "2026-11-20 09:00"),
        ("明天下午三点", "2026-11-19 15:00"),
        ("下周五上午10点半", "2026-11-27 10:30"),
        ("今晚8点", "2026-11-18 20:00"),
        ("明早9点", "2026-11-19 09:00"),
        ("三点一刻", "2026-11-18 15:15"),
        ("差一刻三点", "2026-11-18 14:45"),
        ("周五晚上七点半", "2026-11-20 19:30"),
        ("晚上12点", "2026-11-19 00:00"),
        ("凌晨2点", "2026-11-19 02:00"),
        ("中午12点半", "2026-11-18 12:30"),
        ("后天15点30", "2026-11-20 15:30"),
        ("明天 15：30", "2026-11-19 15:30"),
        ("半小时后", "2026-11-18 11:00"),
        ("一个半小时后", "2026-11-18 12:00"),
    ],
)
def test_a_moment_is_a_day_and_a_time_of_day(text: str, expected: str) -> None:
    assert value("datetime", text) == datetime.fromisoformat(expected).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize("text", ["tomorrow", "next week", "明天", "明天上午", "tonight"])
def test_a_moment_without_a_time_of_day_says_that_the_time_is_missing(text: str) -> None:
    assert read(SlotType(kind="datetime"), text, HERE).problem == "slot_time_missing"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("from 2 to 4pm", "2026-11-18 14:00", "2026-11-18 16:00"),
        ("2-4pm tomorrow", "2026-11-19 14:00", "2026-11-19 16:00"),
        ("tomorrow from 10 to 12", "2026-11-19 10:00", "2026-11-19 12:00"),
        ("between 9 and 11 tomorrow", "2026-11-19 09:00", "2026-11-19 11:00"),
        ("from 9 to 5", "2026-11-19 09:00", "2026-11-19 17:00"),
        ("11 to 1pm", "2026-11-18 11:00", "2026-11-18 13:00"),
        ("10pm to 2am", "2026-11-18 22:00", "2026-11-19 02:00"),
        ("tomorrow 3pm for 2 hours", "2026-11-19 15:00", "2026-11-19 17:00"),
        ("Monday to Friday", "2026-11-23 00:00", "2026-11-28 00:00"),
        ("next week", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("March 3-5", "2027-03-03 00:00", "2027-03-06 00:00"),
        ("tomorrow", "2026-11-19 00:00", "2026-11-20 00:00"),
        ("明天下午3点到5点", "2026-11-19 15:00", "2026-11-19 17:00"),
        ("下午3到5点", "2026-11-18 15:00", "2026-11-18 17:00"),
        ("明天三点开两个小时", "2026-11-19 15:00", "2026-11-19 17:00"),
        ("下周一到下周三", "2026-11-23 00:00", "2026-11-26 00:00"),
        ("本周五到下周二", "2026-11-20 00:00", "2026-11-25 00:00"),
        ("3月3日至5日", "2027-03-03 00:00", "2027-03-06 00:00"),
        ("3-5号", "2026-12-03 00:00", "2026-12-06 00:00"),
        ("周末", "2026-11-21 00:00", "2026-11-23 00:00"),
        ("明天下午", "2026-11-19 12:00", "2026-11-19 18:00"),
        ("11月20日到12月2日", "2026-11-20 00:00", "2026-12-03 00:00"),
    ],
)
def test_a_range_has_both_ends_even_where_one_half_says_less(text: str, start: str, end: str) -> None:
    both = (datetime.fromisoformat(edge).replace(tzinfo=SHANGHAI) for edge in (start, end))
    assert value("span", text) == Span(*both)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("two hours", 120), ("90 minutes", 90), ("1h30", 90), ("45min", 45), ("an hour and a half", 90), ("half an hour", 30),
        ("1 hour and 15 minutes", 75), ("three days", 3 * 1440), ("半小时", 30), ("两个半小时", 150), ("1小时30分钟", 90),
        ("三天", 3 * 1440), ("两周", 14 * 1440), ("三个月", 90 * 1440), ("十五分钟", 15),
    ],
)  # fmt: skip
def test_a_length_of_time_is_read(text: str, minutes: int) -> None:
    assert value("duration", text) == timedelta(minutes=minutes)


def test_march_is_not_three_months() -> None:
    assert value("duration", "三月") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.5", "1234.5"), ("1.5k", "1500"), ("twenty-three", "23"), ("one hundred and five", "105"), ("a dozen", "12"),
        ("two and a half", "2.5"), ("3 million", "3000000"), ("half a million", "500000"), ("-5", "-5"), ("１２", "12"),
        ("二十三", "23"), ("三千五", "3500"), ("一千零五", "1005"), ("一百零五", "105"), ("一万两千", "12000"),
        ("3.5万", "35000"), ("1亿2000万", "120000000"), ("二〇二六", "2026"), ("三点五", "3.5"), ("十", "10"), ("十五", "15"),
    ],
)  # fmt: skip
def test_numbers_are_read_in_figures_and_in_words(text: str, expected: str) -> None:
    assert value("number", text) == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("$12.50", "12.5", "USD"), ("USD 30", "30", "USD"), ("30 dollars", "30", "USD"), ("€30", "30", "EUR"),
        ("¥30", "30", "CNY"),         ("lunch was 12 yuan", "12", "CNY"), ("HK$50", "50", "HKD"), ("30元", "30", "CNY"),
        ("30块5", "30.5", "CNY"),
        ("35块8毛", "35.8", "CNY"), ("三十块", "30", "CNY"), ("30万元", "300000", "CNY"), ("5毛", "0.5", "CNY"),
        ("两千美元", "2000", "USD"), ("88", "88", "CNY"),
    ],
)  # fmt: skip
def test_money_has_an_amount_and_a_currency(text: str, amount: str, currency: str) -> None:
    assert value("money", text) == Money(Decimal(amount), currency)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to a.b+c@mail.example.co.uk.", "a.b+c@mail.example.co.uk"),
        ("发给li@example.cn谢谢", "li@example.cn"),
        ("bad@", None),
        ("a@b", None),
        ("x..y@z.com", None),
    ],
)
def test_an_address_is_taken_only_when_mail_could_reach_it(text: str, expected: str | None) -> None:
    assert value("email", text) == expected


def test_people_are_found_by_mention_by_known_name_and_as_myself() -> None:
    assert value("person", "please ask @Alice Wang") == Person("Alice Wang", "u1")
    assert value("person", "给张三看看") == Person("张三", "u2")
    assert value("person", "@李四 你好") == Person("李四")
    assert value("person", "for me") == Person("Mei", "u0")
    assert value("person", "我们公司") is None
    assert value("person", "a@b.com") is None


LEAVE = SlotType(
    kind="choice",
    choices=(
        Choice("annual", "Annual leave", ("vacation", "年假")),
        Choice("sick", "Sick leave", ("病假",)),
        Choice("unpaid", "Unpaid leave", ("事假", "无薪假")),
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sick leave please", "sick"), ("I want a vacation", "annual"), ("年假", "annual"), ("请病假", "sick"),
        ("the second one", "sick"), ("第三个", "unpaid"), ("2", "sick"), ("the last one", "unpaid"), ("anual", "annual"),
        ("4", None), ("something else", None),
    ],
)  # fmt: skip
def test_a_choice_is_taken_by_name_by_place_and_with_a_slip(text: str, expected: str | None) -> None:
    assert read(LEAVE, text, HERE).value == expected


def test_two_choices_at_once_are_asked_back() -> None:
    assert read(LEAVE, "annual or sick", HERE).problem == "slot_several"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes please", True), ("OK", True), ("好的", True), ("没问题", True), ("no problem", True), ("不错", True),
        ("确认", True), ("no", False), ("not really", False), ("不用了", False), ("不对", False),
        ("maybe", None), ("yesterday", None),
    ],
)  # fmt: skip
def test_yes_and_no_are_told_apart(text: str, expected: bool | None) -> None:
    assert value("yes_no", text) is expected


@pytest.mark.parametrize(
    "text",
    ["30 February", "2026-13-45", "二月三十日", "99:99", "the sun is out", "I have 3 apples", "room 305号楼", "", "2026年99月"],
)
def test_what_is_no_day_is_not_taken_for_one(text: str) -> None:
    assert value("date", text) is None


def test_the_zone_of_the_person_decides_what_today_is() -> None:
    late = datetime(2026, 11, 18, 23, 30, tzinfo=ZoneInfo("UTC"))
    assert read(SlotType(kind="date"), "today", Context.at(late, "Asia/Shanghai")).value == date(2026, 11, 19)
    assert read(SlotType(kind="date"), "today", Context.at(late, "America/New_York")).value == date(2026, 11, 18)


def test_a_zone_that_does_not_exist_is_refused_with_the_next_step() -> None:
    with pytest.raises(InvalidSetting, match="Mars/Base"):
        Context.at(WEDNESDAY, "Mars/Base")


def test_a_time_alone_is_its_clock_time() -> None:
    assert value("time", "下午三点半") == time(15, 30)
    assert value("time", "at 9") == time(9, 0)
    assert value("time", "3") == time(15, 0)


def test_a_text_that_is_too_long_to_keep_is_refused() -> None:
    assert read(SlotType(kind="text"), "x" * 2001, HERE).problem == "slot_too_long"
    assert read(SlotType(kind="text"), " taxi ", HERE).value == "taxi"


@pytest.mark.parametrize("text", ["1" * 2000, "一万" * 1000, "三点" * 1000, "two and " * 250, "in a " * 400, "a@" * 1000])
def test_a_hostile_text_takes_no_longer_than_a_moment(text: str) -> None:
    began = process_time()
    for kind in KINDS:
        find(SlotType(kind=kind), text, HERE)
    assert process_time() - began < 5


def test_the_span_is_where_the_value_stands() -> None:
    text = "Lunch with @Alice Wang tomorrow at noon for 30元"
    places = {
        kind: [text[f.start : f.end] for f in find(SlotType(kind=kind), text, HERE)] for kind in ("person", "datetime", "money")
    }
    assert places == {"person": ["@Alice Wang"], "datetime": ["tomorrow at noon"], "money": ["30元"]}


PIECES = st.sampled_from(
    [
        "next",
        "Friday",
        "下周",
        "三",
        "点",
        "半",
        "30",
        "号",
        "月",
        "2026",
        "-",
        "to",
        "到",
        "from",
        "at",
        "in",
        "days",
        "小时后",
        "下午",
        "块",
        "@",
        ".",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=9).map(" ".join), st.lists(PIECES, max_size=9).map("".join)))
def test_any_text_is_read_without_an_error_and_places_stay_inside_it(text: str) -> None:
    for kind in KINDS:
        for found in find(SlotType(kind=kind), text, HERE):
            assert 0 <= found.start < found.end <= len(text)
