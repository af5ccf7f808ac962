"""The directory by the front door: asked in a chat, allowed at the vendor, answered with what the asker may see."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant_plugins.people import wish_in
from tests.simulators.identity import Somebody
from tests.simulators.workplace import Person, Workplace
from tests.support.desks import DESKS
from tests.support.house import ScriptedModel
from tests.support.office import Office

APP = {"plugin-people": {"dingtalk_app_key": "ding-key", "dingtalk_app_secret": "ding-secret"}}


def office(aws: Emulator, workplace: Workplace, provider: str = "feishu", **more: Any) -> Office:
    config = {"provider": provider, "api_base": workplace.base}
    return Office(aws, workplace.identity, workplace, configs={"people": config}, secrets=APP, **more)


def allowed(aws: Emulator, workplace: Workplace, provider: str = "feishu", **more: Any) -> Office:
    made = office(aws, workplace, provider, **more)
    made.has_allowed(provider)
    return made


@pytest.mark.parametrize(
    ("provider", "question", "told"),
    [
        ("feishu", "who does Bob Miller report to?", "Bob Miller reports to 王芳 (Head of design)."),
        ("feishu", "张三的上级是谁？", "张三的上级是王芳 (Head of design)。"),
        ("microsoft", "who is Ann's manager?", "Ann reports to Wang Fang (Head of design)."),
        ("dingtalk", "李四的上级是谁", "李四的上级是王芳 (设计总监)。"),
    ],
)
def test_it_is_asked_allowed_and_goes_on_by_itself(
    aws: Emulator, workplace: Workplace, provider: str, question: str, told: str
) -> None:
    made = office(aws, workplace, provider)
    asked = made.say(question)
    assert f"/oauth/{provider}/start" in asked["text"]
    assert made.allow(asked).status == 200
    assert made.last["text"] == told
    assert made.last["question"] == question


@pytest.mark.parametrize(
    ("desk", "provider", "ids", "question", "told"),
    [
        ("feishu", "feishu", {"open_id": "ou_ann"}, "张三是谁", "设计师"),
        ("dingtalk", "dingtalk", {"staff": "staff1"}, "李四的邮箱是什么", "lisi@example.com"),
        ("teams", "microsoft", {"oid": "aad-ann"}, "what is Bob Miller's email?", "bob@example.com"),
    ],
)
def test_in_the_vendors_own_chat(
    aws: Emulator, workplace: Workplace, desk: str, provider: str, ids: dict[str, str], question: str, told: str
) -> None:
    workplace.identity.who = Somebody(ids={**Somebody().ids, **ids})
    workplace.add(Person("aad-ann", "Ann", "ann@example.com"))
    with DESKS[desk]() as there:
        made = office(aws, workplace, "auto", desk=there)
        there.ask(made.house, question, message="m1")
        made.house.drain()
        asked = there.seen(made.house)[-1]
        assert f"/oauth/{provider}/start" in asked
        made.allow(asked)
        assert told in there.seen(made.house)[-1]


def test_who_somebody_is_in_full(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    told = made.say("who is Bob Miller?")["text"]
    assert told.splitlines() == [
        "**Bob Miller**, Engineer  ",
        "Sales  ",
        "Mail: bob@example.com  ",
        "Reports to: 王芳 (Head of design)",
    ]


@pytest.mark.parametrize(
    ("provider", "question", "told"),
    [
        ("feishu", "who leads the Design team?", "**Design** is led by 王芳 (Head of design)."),
        ("feishu", "who leads Sales?", "The directory names nobody who leads **Sales**."),
        ("feishu", "who leads Marketing?", "The directory has no department “Marketing” that you may see."),
        ("microsoft", "who leads the Design department?", "**Design** is led by Wang Fang (Head of design)."),
        ("dingtalk", "设计部的负责人是谁？", "**设计部**的负责人是王芳 (设计总监)。"),
        ("microsoft", "who reports to Ann?", "1 people report to Ann:\n\n- Bob Miller (Engineer)"),
        ("microsoft", "who reports to Bob Miller?", "Nobody reports to Bob Miller, as far as you may see."),
        ("feishu", "who reports to Bob Miller?", "Feishu cannot be asked who reports to somebody."),
        ("feishu", "what is 张三's phone number", "The directory shows you no phone number of 张三."),
        ("feishu", "who is my manager?", "Ann reports to 王芳 (Head of design)."),
        ("microsoft", "我的上级是谁", "Ann的上级是Wang Fang (Head of design)。"),
        ("feishu", "what is Zed Nobody's email?", "The directory has nobody called “Zed Nobody” that you may see."),
    ],
)  # fmt: skip
def test_questions_to_the_directory(aws: Emulator, workplace: Workplace, provider: str, question: str, told: str) -> None:
    assert allowed(aws, workplace, provider).say(question)["text"] == told


def test_of_several_the_asker_chooses_and_only_the_asker(aws: Emulator, workplace: Workplace) -> None:
    workplace.add(*(Person(f"ou_zhang{n}", "张三", f"zhang{n}@example.com", title) for n, title in ((2, "工程师"), (3, "会计"))))
    made = allowed(aws, workplace)
    which = made.say("张三的邮箱是什么？")
    assert len(which["buttons"]) == 3, "on two pages"
    assert "张三 (会计, zhang3@example.com)" in [b["text"] for b in which["buttons"]]
    assert made.choose(which, "会计", user="eve")["text"] != "张三的邮箱是 zhang3@example.com。"
    assert made.choose(which, "会计")["text"] == "张三的邮箱是 zhang3@example.com。"


def test_what_the_asker_may_not_see_is_not_there(aws: Emulator, workplace: Workplace) -> None:
    workplace.people["ou_bob"].visible = False
    made = allowed(aws, workplace)
    assert "nobody called “Bob Miller”" in made.say("what is Bob Miller's email?")["text"]


def test_an_unknown_word_after_who_is_goes_to_the_knowledge(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    assert made.say("Who is Napoleon?")["text"] == "Fourteen days."


def test_what_a_field_needs_is_missing_without_its_scope(aws: Emulator, workplace: Workplace) -> None:
    body = {"code": 99991679, "error": {"permission_violations": [{"subject": "contact:contact.base:readonly"}]}}
    made = allowed(aws, workplace)
    workplace.fail("GET /open-apis/contact/v3/users", status=400, body=body, times=2)
    assert "(contact:contact.base:readonly)" in made.say("what is Bob Miller's email?")["text"]


@pytest.mark.parametrize(
    ("provider", "path"),
    [("feishu", "GET /open-apis/search"), ("microsoft", "GET /v1.0/users"), ("dingtalk", "users/search")],
)
def test_a_directory_that_is_down_is_said(aws: Emulator, workplace: Workplace, provider: str, path: str) -> None:
    made = allowed(aws, workplace, provider)
    workplace.fail(path, status=503, times=1)
    assert "does not answer right now" in made.say("who does Ann report to?")["text"]


@pytest.mark.parametrize("provider", ["feishu", "microsoft", "dingtalk"])
def test_a_directory_that_asks_for_patience_is_asked_again(aws: Emulator, workplace: Workplace, provider: str) -> None:
    made = allowed(aws, workplace, provider)
    workplace.limited = 1
    assert "Ann" in made.say("who does Ann report to?")["text"]


def test_a_revoked_token_asks_once_more(aws: Emulator, workplace: Workplace) -> None:
    made = allowed(aws, workplace)
    workplace.identity.end_everything()
    again = made.say("who does Ann report to?")
    assert "/oauth/feishu/start" in again["text"]
    made.allow(again)
    assert made.last["text"] == "Ann reports to 王芳 (Head of design)."


def test_the_model_looks_people_up(aws: Emulator, workplace: Workplace) -> None:
    model = ScriptedModel(["Hello."])
    made = allowed(aws, workplace, model=model)
    model.answers = [[("find_people", {"name": "Bob Miller"}), ("who_leads", {"department": "Design"})], "Here."]
    assert made.say("please tell me a bit about that engineer and the boss of the designers")["text"] == "Here."
    results = [m.text for m in model.asked[-1].messages if m.role == "tool"]
    assert '"mail": "bob@example.com"' in results[0]
    assert '"leader": "王芳"' in results[1]


def test_in_a_channel_only_the_asker_sees_it(aws: Emulator, workplace: Workplace) -> None:
    with DESKS["slack"]() as there:
        made = office(aws, workplace, "feishu", desk=there)
        there.vendor.clock = made.house.now
        workplace.identity.who = Somebody()
        bot = there.secrets["slack"]["bot_user_id"]
        said = there.vendor.say("C1", "U1", f"<@{bot}> who is Bob Miller?")
        assert made.house.receive(there.vendor.event({**said, "type": "app_mention"}, event_id="E1")).status == 200
        made.house.drain()
        made.allow(there.vendor.visible("C1", user="U1")[-1])
        assert there.vendor.visible("C1") == [], "nobody else sees what the asker may see"
        assert "bob@example.com" in there.vendor.visible("C1", user="U1")[-1]


def test_switched_off_it_says_nothing(aws: Emulator, workplace: Workplace) -> None:
    assert office(aws, workplace, "").say("who is Bob Miller?")["text"] == "Fourteen days."


def test_its_entry_says_how_to_ask(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    assert "Who does Ann report to?" in made.choose(made.say("/help"), "Find somebody")["text"]


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("who is Ann Li?", ("who", "Ann Li")),
        ("Who's Bob", ("who", "Bob")),
        ("张三是谁？", ("who", "张三")),
        ("谁是李四", ("who", "李四")),
        ("what's ann li's email", ("mail", "ann li")),
        ("email of Ann", ("mail", "Ann")),
        ("王芳的邮箱", ("mail", "王芳")),
        ("王芳的手机号是多少", ("phone", "王芳")),
        ("who is Ann's boss?", ("manager", "Ann")),
        ("王芳向谁汇报", ("manager", "王芳")),
        ("王芳的下属有谁", ("reports", "王芳")),
        ("who heads the legal department", ("leads", "legal")),
        ("谁负责设计部", ("leads", "设计部")),
        ("你是谁", None),
        ("who are you", None),
        ("who is responsible for travel?", None),
        ("how do I request leave?", None),
        ("谁能帮我报销", None),
        ("who is the best", None),
    ],
)
def test_what_is_wished_is_read_from_sentences(text: str, wish: tuple[str, str] | None) -> None:
    assert wish_in(text) == wish
