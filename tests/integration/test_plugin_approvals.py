"""Leave by the front door: asked for in a chat, decided on a card by the one who may, told to the asker, and all of it once."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.testing import make
from assistant_plugins.approvals import Approvals
from tests.simulators.identity import Somebody
from tests.simulators.workplace import Workplace
from tests.support.desks import DESKS
from tests.support.house import client
from tests.support.office import Office

BOSS = {"approver": "webchat:boss"}


def office(aws: Emulator, workplace: Workplace, config: dict[str, Any] | None = None, **more: Any) -> Office:
    return Office(aws, workplace.identity, workplace, configs={"approvals": config or BOSS}, **more)


def card(made: Office) -> dict[str, Any]:
    """The newest thing in the approver's own conversation."""
    turns: list[dict[str, Any]] = made.house.turns("boss")
    return turns[-1]


def requested(made: Office, *texts: str) -> dict[str, Any]:
    """The answer to a confirmed request."""
    for text in texts or ("I want to take annual leave from 2027-03-01 to 2027-03-03", "skip"):
        made.say(text)
    return made.say("yes")


def approver(made: Office, turn: dict[str, Any], label: str) -> dict[str, Any]:
    return made.choose(turn, label, user="boss", conversation="boss")


def requests(made: Office) -> list[str]:
    """Names under which requests are kept."""
    items = client(made.house.aws, "dynamodb").scan(TableName="assistant")["Items"]
    return [i["sk"]["S"] for i in items if i["sk"]["S"].startswith("request/")]


# --- the story -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "yes", "asks", "label", "told", "boss_told"),
    [
        (
            ("I want to take annual leave", "from 2027-03-01 to 2027-03-03", "a family party"), "yes",
            "u asks for **annual leave**, 2027-03-01 – 2027-03-03  \nReason: a family party", "Approve",
            "was **approved** by your approver: **annual leave**, 2027-03-01 – 2027-03-03", "Approved. u is told.",
        ),
        (
            ("我要请病假", "2027年3月1日", "跳过"), "确认",
            "u申请**病假**，2027-03-01\n\n", "驳回", "**已被你的审批人驳回**：**病假**，2027-03-01", "已驳回，已通知u。",
        ),
    ],
)  # fmt: skip
def test_a_request_is_decided_on_a_card_and_told(
    aws: Emulator, workplace: Workplace, texts: tuple[str, ...], yes: str, asks: str, label: str, told: str, boss_told: str
) -> None:
    made = office(aws, workplace)
    for text in texts:
        made.say(text)
    sent = made.say(yes)
    assert ("your approver" in sent["text"]) or ("你的审批人" in sent["text"])
    asked = card(made)
    assert asks in asked["text"]
    assert approver(made, asked, label)["text"] == boss_told
    assert told in made.last["text"]


def wrote(made: Office, there: Any, *texts: str) -> None:
    """The asker writes in the vendor's own chat."""
    for n, text in enumerate(texts):
        there.ask(made.house, text, message=f"m{n}")
        made.house.drain()


ASKS = ("I want to take annual leave from 2027-03-01 to 2027-03-03", "skip", "yes")


@pytest.mark.parametrize(
    ("platform", "boss", "chat"),
    [
        ("slack", "U2", "D2"),
        ("feishu", "ou_bo", "ou_bo"),
        ("dingtalk", "staff2", "staff2"),
        ("teams", "29:bo", ""),
        ("wecom", "wang", "wang"),
    ],
)
def test_on_every_platform_the_approver_gets_a_card_in_private(
    aws: Emulator, workplace: Workplace, platform: str, boss: str, chat: str
) -> None:
    with DESKS[platform]() as there:
        made = office(aws, workplace, {"approver": f"{platform}:{boss}"}, desk=there)
        there.vendor.clock = made.house.now
        wrote(made, there, *ASKS)
        assert "went to your approver" in "\n".join(there.seen(made.house))
        assert requests(made)
        rooms = [chat] if chat else [c for c in there.vendor.chats if c != "a:1"]
        letters = "\n".join(text for room in rooms for text in there.vendor.visible(room))
        assert (
            "asks for **annual leave**" in letters or "asks for annual leave" in letters or "asks for *annual leave*" in letters
        ), letters


def test_the_approver_clicks_in_slack_and_the_asker_hears_of_it(aws: Emulator, workplace: Workplace) -> None:
    with DESKS["slack"]() as there:
        made = office(aws, workplace, {"approver": "slack:U2"}, desk=there)
        there.vendor.clock = made.house.now
        wrote(made, there, *ASKS)
        [post] = there.vendor.channels["D2"].posts
        approve = next(b["action_id"] for b in post.buttons if b["text"]["text"] == "Approve")
        for _ in range(2):
            assert made.house.receive(there.vendor.click("D2", post.ts, "U2", approve)).status == 200
            made.house.drain()
            if not post.buttons:
                break
        assert "was **approved**" in "\n".join(there.seen(made.house))
        assert post.buttons == [], "the card shows the decision instead"


def test_the_approver_clicks_in_wecom_and_the_asker_hears_of_it(aws: Emulator, workplace: Workplace) -> None:
    with DESKS["wecom"]() as there:
        made = office(aws, workplace, {"approver": "wecom:wang"}, desk=there)
        there.vendor.clock = made.house.now
        wrote(made, there, *ASKS)
        bubble = there.vendor.chats["wang"][-1]
        approve = next(b["key"] for b in bubble.buttons if b["text"] == "Approve")
        assert made.house.receive(there.vendor.app_click(bubble, approve, user="wang")).status == 200
        made.house.drain()
        assert "was approved" in "\n".join(there.seen(made.house)).replace("*", "")


# --- once, and only by whom it concerns ------------------------------------------------------------


def test_two_clicks_decide_once(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    requested(made)
    asked = card(made)
    assert approver(made, asked, "Approve")["text"] == "Approved. u is told."
    again = approver(made, asked, "Reject")
    assert "is approved already" in again["text"]
    assert len([t for t in made.house.turns() if "was **" in t["text"]]) == 1, "told once"


def test_only_the_approver_decides(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    requested(made)
    asked = card(made)
    assert "Only the approver" in made.choose(asked, "Approve", user="u")["text"]
    assert "Only the approver" in made.choose(asked, "Approve", user="eve", conversation="e")["text"]
    place = asked["buttons"][0]["value"]
    id_ = place.rpartition("/")[2]
    assert "that you could decide" in made.say(f"approve {id_}", user="eve", conversation="e")["text"]
    assert approver(made, asked, "Reject")["text"] == "Rejected. u is told."


def test_a_decision_and_a_withdrawal_at_once_have_one_winner(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    sent = requested(made)
    asked = card(made)
    taken = made.choose(sent, "Take it back")
    assert "is taken back; your approver is told" in taken["text"]
    assert "u took back request" in card(made)["text"]
    assert "is taken back already" in approver(made, asked, "Approve")["text"]
    assert "is taken back already" in made.choose(sent, "Take it back")["text"]


def test_what_is_decided_cannot_be_taken_back(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    sent = requested(made)
    approver(made, card(made), "Approve")
    assert "is approved already" in made.choose(sent, "Take it back")["text"]


def test_somebody_else_cannot_take_it_back(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    sent = requested(made)
    assert "Only the person who asked" in made.choose(sent, "Take it back", user="eve", conversation="e")["text"]


def test_it_survives_a_restart(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    requested(made)
    asked = card(made)
    made.house.assistant = made.house.another()
    assert approver(made, asked, "Approve")["text"] == "Approved. u is told."
    assert "was **approved**" in made.last["text"]


@pytest.mark.parametrize("step", ["after save", "after model"])
def test_a_process_that_dies_while_deciding_decides_once_and_tells_once(aws: Emulator, workplace: Workplace, step: str) -> None:
    made = office(aws, workplace)
    requested(made)
    asked = card(made)
    died: list[str] = []

    def die(name: str) -> None:
        if name == step and not died:
            died.append(name)
            raise SystemExit

    made.house._step = die
    steady, made.house.assistant = made.house.assistant, made.house.another()
    button = next(b for b in asked["buttons"] if b["text"] == "Approve")
    body = {"conversation": "boss", "user": "boss", "action": {"key": button["key"], "value": button["value"]}}
    made.house.post("/webchat/messages", body, headers={"authorization": "Bearer test-web-chat-key"})
    batch = made.house.batch()
    with pytest.raises(SystemExit):
        made.house.run(batch)
    made.house.run(batch, steady)
    assert died
    assert card(made)["text"] == "Approved. u is told."
    assert len([t for t in made.house.turns() if "was **approved**" in t["text"]]) == 1


# --- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "answer", "told"),
    [
        ("reject {id} because of the release", "Rejected. u is told.\n\n> the release", "was **rejected** by your approver"),
        ("approve {id} have fun", "Approved. u is told.\n\n> have fun", "was **approved** by your approver"),
        ("驳回 {id} 理由：项目上线", "Rejected. u is told.\n\n> 项目上线", "> 项目上线"),
        ("批准 {id}", "Approved. u is told.", "was **approved** by your approver"),
    ],
)
def test_the_approver_may_give_a_reason_in_words(aws: Emulator, workplace: Workplace, said: str, answer: str, told: str) -> None:
    made = office(aws, workplace)
    requested(made)
    id_ = card(made)["buttons"][0]["value"].rpartition("/")[2]
    assert made.say(said.format(id=id_), user="boss", conversation="boss")["text"] == answer
    assert told in made.last["text"]


def test_the_asker_and_the_approver_see_what_is_open(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    assert made.say("my requests")["text"] == "You have no requests."
    assert made.say("待我审批", user="boss", conversation="boss")["text"] == "没有等待你审批的申请。"
    requested(made)
    mine = made.say("my requests")
    assert "annual leave, 2027-03-01 – 2027-03-03: not decided yet" in mine["text"]
    waiting = made.say("pending approvals", user="boss", conversation="boss")
    approver(made, waiting, "Approve")
    assert ": approved" in made.say("my requests")["text"]
    assert made.say("pending approvals", user="boss", conversation="boss")["text"] == "Nothing waits for your decision."


def test_taking_back_in_words(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    id_ = requested(made)["buttons"][0]["value"].rpartition("/")[2]
    assert "is taken back" in made.say(f"cancel request {id_}")["text"]


# --- bad input -------------------------------------------------------------------------------------


def test_days_that_have_passed_are_refused(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    done = requested(made, "I want to take annual leave from 2020-03-01 to 2020-03-03", "skip")
    assert "have passed already: 2020-03-01 – 2020-03-03" in done["text"]
    assert requests(made) == []


def test_days_that_overlap_an_own_request_are_refused(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    requested(made)
    done = requested(made, "I want to take sick leave from 2027-03-03 to 2027-03-05", "skip")
    assert "You have a request for these days already" in done["text"]
    assert len(requests(made)) == 1
    approver(made, card(made), "Reject")
    assert "went to your approver" in requested(made, "I want to take sick leave from 2027-03-03 to 2027-03-05", "skip")["text"]


def test_a_request_for_years_is_refused_in_the_form(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    made.say("I want to take annual leave")
    made.say("from 2027-03-01 to 2029-03-01")
    told = made.say("skip")["text"] + made.last["text"]
    assert "for a year at most" in told or "year" in "".join(t["text"] for t in made.house.turns())
    assert requests(made) == []


def test_nobody_approves_their_own_leave(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace, {"approver": "webchat:u"})
    assert "your own approver" in requested(made)["text"]
    assert requests(made) == []


def test_without_an_approver_it_says_so(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace, {"approvers": {"webchat:somebody": "webchat:boss"}})
    assert "do not know who decides" in requested(made)["text"]


def test_an_approver_who_cannot_be_written_to_is_said_and_nothing_stays(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace, {"approver": "nowhere:boss"})
    assert "cannot be reached" in requested(made)["text"]
    assert requests(made) == []


@pytest.mark.parametrize(
    "config", [{"approver": "boss"}, {"approvers": {"u": "webchat:boss"}}, {"manager": True, "provider": "microsoft"}, {"bos": 1}]
)
def test_a_configuration_that_cannot_work_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="approvals"):
        make(Approvals, **config)


@pytest.mark.parametrize(
    "question",
    ["How do I request leave?", "What is the leave policy?", "How many days of leave do I have?", "年假有几天？", "怎么请假？"],
)
def test_a_question_about_leave_is_no_request(aws: Emulator, workplace: Workplace, question: str) -> None:
    made = office(aws, workplace)
    assert made.say(question)["text"] == "Fourteen days."


def test_switched_off_it_asks_nothing(aws: Emulator, workplace: Workplace) -> None:
    made = Office(aws, workplace.identity, workplace, configs={"approvals": {}})
    assert made.say("I want to take annual leave")["text"] == "Fourteen days."
    assert "Request leave" not in [b["text"] for b in made.say("help")["buttons"]]


# --- the manager decides ---------------------------------------------------------------------------


def test_the_manager_of_the_directory_decides(aws: Emulator, workplace: Workplace) -> None:
    workplace.identity.who = Somebody(ids={**Somebody().ids, "open_id": "ou_ann"})
    with DESKS["feishu"]() as there:
        config = {"manager": True, "provider": "auto", "api_base": workplace.base}
        made = office(aws, workplace, config, desk=there)
        there.vendor.people.add("ou_wang")
        for n, text in enumerate(("我要请年假，2027年3月1日到2027年3月3日", "跳过", "确认")):
            there.ask(made.house, text, message=f"m{n}")
            made.house.drain()
        asked = there.seen(made.house)[-1]
        assert "/oauth/feishu/start" in asked
        made.allow(asked)
        assert "已发给王芳" in there.seen(made.house)[-1]
        assert [s for s in requests(made) if s.startswith("request/feishu:ou_ann/")]


def test_what_a_person_asked_for_is_given_and_erased_with_the_rest(aws: Emulator, workplace: Workplace) -> None:
    made = office(aws, workplace)
    requested(made)
    rooms = made.house.assistant.plugins.rooms()
    assert rooms["approvals"][1] == ("request/{platform}:{user}/*", "inbox/{platform}:{user}/*")
