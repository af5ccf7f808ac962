"""Somebody asks for a person: the support chat hears it, answers, and closes it; each word is shown once on either side."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from assistant.assembly import Assistant
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.secrets import GivenSecrets
from tests.integration.test_busy import meanwhile
from tests.integration.test_silence import office
from tests.simulators.feishu import seal, signed
from tests.support.crashing import Crasher
from tests.support.desks import DESKS
from tests.support.hard import shared_out
from tests.support.house import House, ScriptedModel, client

NAMES = sorted(DESKS)
SUPPORT = "support"


def supported(aws: Emulator, desk: Any, **more: Any) -> House:
    return office(aws, secrets=desk.secrets, hand_over=f"webchat:{SUPPORT}", **more)


def at_support(house: House) -> list[str]:
    """What the support chat shows of the assistant, in the web chat."""
    return [t["text"] for t in house.turns(SUPPORT) if t["text"]]


def case_in(text: str) -> str:
    found = re.search(r"#([0-9A-F]{6})", text)
    assert found, text
    return found[1]


def support_says(house: House, text: str, id: str | None = None) -> None:
    house.say(text, conversation=SUPPORT, user="sue", id=id)
    house.drain()


@pytest.mark.parametrize("name", NAMES)
def test_a_person_answers_in_place_of_the_assistant_until_either_ends_it(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = supported(aws, desk)
        desk.ask(house, "book the sun room", message="m1")
        house.drain()
        desk.ask(house, "can I talk to a human please?", message="m2")
        house.drain()
        [summary] = at_support(house)
        case = case_in(summary)
        assert "room: Sun" in summary
        assert "> book the sun room" in summary
        assert "getting a person" in desk.seen(house)[-1]

        desk.ask(house, "the projector is broken", message="m3")
        house.drain()
        assert "> the projector is broken" in at_support(house)[-1]
        before = len(desk.seen(house))

        support_says(house, f"#{case} I am on my way")
        assert len(desk.seen(house)) == before + 1
        assert "I am on my way" in desk.seen(house)[-1]
        assert house.model.asked == [], "the assistant is quiet meanwhile"

        desk.ask(house, "back to the assistant", message="m4")
        house.drain()
        assert "I am back" in desk.seen(house)[-1]
        assert "is back with the assistant" in at_support(house)[-1]
        desk.ask(house, "what is for lunch in the canteen today?", message="m5")
        house.drain()
        assert desk.seen(house)[-1] == "Fourteen days."

        support_says(house, f"#{case} one more thing")
        assert "is over" in at_support(house)[-1]
        assert desk.seen(house)[-1] == "Fourteen days."


def test_the_support_chat_closes_a_case(aws: Emulator) -> None:
    with DESKS["webchat"]() as desk:
        house = supported(aws, desk)
        house.say("转人工")
        house.drain()
        case = case_in(at_support(house)[0])
        support_says(house, f"#{case} close")
        assert "人工客服已结束" in house.turns()[-1]["text"]
        assert at_support(house)[-1] == f"Closed: #{case}."
        house.say("what is for lunch in the canteen today?")
        house.drain()
        assert house.turns()[-1]["text"] == "Fourteen days."


def test_an_open_case_ends_by_itself_after_a_day_of_silence(aws: Emulator) -> None:
    with DESKS["webchat"]() as desk:
        house = supported(aws, desk)
        house.say("a human please")
        house.drain()
        house.offset += 25 * 3600
        house.say("what is for lunch in the canteen today?")
        house.drain()
        assert house.turns()[-1]["text"] == "Fourteen days."


def test_without_a_support_chat_the_assistant_says_so(aws: Emulator) -> None:
    house = office(aws)
    house.say("can I talk to a human please?")
    house.drain()
    assert "cannot get a person" in house.turns()[-1]["text"]
    house.say("what is for lunch in the canteen today?")
    house.drain()
    assert house.turns()[-1]["text"] == "Fourteen days."


def test_a_support_chat_that_cannot_be_reached_is_told_to_the_asker(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = office(aws, secrets=desk.secrets, hand_over="slack:C404")
        house.say("a human please")
        house.drain()
        assert "could not reach" in house.turns()[-1]["text"]
        house.say("what is for lunch in the canteen today?")
        house.drain()
        assert house.turns()[-1]["text"] == "Fourteen days."


def test_others_in_the_support_chat_may_ask_the_assistant(aws: Emulator) -> None:
    house = office(aws, hand_over=f"webchat:{SUPPORT}")
    support_says(house, "what is for lunch in the canteen today?")
    assert at_support(house) == ["Fourteen days."]


def test_what_support_writes_to_two_people_in_a_hurry_reaches_each_of_them_alone(aws: Emulator) -> None:
    house = office(aws, hand_over=f"webchat:{SUPPORT}")
    for who in ("ann", "ben"):
        house.say("a human please", conversation=who, user=who)
        house.drain()
    for_ann, for_ben = (case_in(text) for text in at_support(house))

    def hurry() -> None:
        house.say(f"#{for_ann} your badge is ready", conversation=SUPPORT, user="sue", id="s2")
        house.say(f"#{for_ben} your salary went up", conversation=SUPPORT, user="sue", id="s3")

    meanwhile(house, hurry)
    house.say("what is for lunch in the canteen today?", conversation=SUPPORT, user="sue", id="s1")
    house.drain()
    heard = {who: [t["text"] for t in house.turns(who)][1:] for who in ("ann", "ben")}
    assert heard == {"ann": ["**Support**: your badge is ready"], "ben": ["**Support**: your salary went up"]}


def test_a_thread_in_slack_is_the_case(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = office(aws, secrets=desk.secrets, hand_over="slack:C9")
        desk.vendor.channel("C9", "U9")
        desk.ask(house, "a human please", message="m1")
        house.drain()
        [summary] = desk.vendor.posts("C9")
        desk.ask(house, "my badge does not open the door", message="m2")
        house.drain()
        assert desk.vendor.posts("C9")[-1].thread_ts == summary.ts
        said = desk.vendor.mention("C9", "U9", "try the other side", thread_ts=summary.ts)
        for _ in range(2):  # Slack delivers it again
            assert house.receive(desk.vendor.event(said, event_id="Ev-s1")).status == 200
            house.drain()
        answers = [s for s in desk.seen(house) if "try the other side" in s]
        assert len(answers) == 1
        under = desk.vendor.mention("C9", "U9", "done", thread_ts=summary.ts)
        assert house.receive(desk.vendor.event(under, event_id="Ev-s2")).status == 200
        house.drain()
        assert "has closed this" in desk.seen(house)[-1]


def test_a_reply_in_feishu_finds_its_case(aws: Emulator) -> None:
    with DESKS["feishu"]() as desk:
        house = office(aws, secrets=desk.secrets, hand_over="feishu:oc_9")
        desk.vendor.chats["oc_9"] = {"ou_sue"}
        desk.ask(house, "a human please", message="m1")
        house.drain()
        summary = next(m for m in desk.vendor.messages.values() if m.chat == "oc_9")
        answer = {
            "schema": "2.0",
            "header": {
                "event_id": "ev_s1",
                "event_type": "im.message.receive_v1",
                "create_time": str(int(house.now() * 1000)),
                "token": "v",
                "app_id": desk.vendor.app_id,
                "tenant_key": "t1",
            },
            "event": {
                "sender": {"sender_id": {"open_id": "ou_sue"}, "sender_type": "user", "tenant_key": "t1"},
                "message": {
                    "message_id": desk.vendor.asked("om_s1", chat="oc_9", by="ou_sue"),
                    "parent_id": summary.id,
                    "root_id": summary.id,
                    "create_time": str(int(house.now() * 1000)),
                    "chat_id": "oc_9",
                    "chat_type": "group",
                    "message_type": "text",
                    "content": json.dumps({"text": "@_user_1 please come to desk 4"}),
                    "mentions": [{"key": "@_user_1", "id": {"open_id": desk.vendor.bot}, "name": "bot", "tenant_key": "t1"}],
                },
            },
        }
        for _ in range(2):
            assert house.receive(signed(seal(answer, "k"), stamp=int(house.now()), key="k")).status == 200
            house.drain()
        assert len([s for s in desk.seen(house) if "please come to desk 4" in s]) == 1


def test_a_case_in_the_web_chat_is_answered_from_slack(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = office(aws, secrets=desk.secrets, hand_over="slack:C9")
        desk.vendor.channel("C9", "U9")
        desk.vendor.clock = house.now
        house.say("a human please")
        house.drain()
        [summary] = desk.vendor.posts("C9")
        said = desk.vendor.mention("C9", "U9", "hello from support", thread_ts=summary.ts)
        assert house.receive(desk.vendor.event(said, event_id="Ev-s1")).status == 200
        house.drain()
        assert "hello from support" in house.turns()[-1]["text"]


STEPS = ("after claim", "after model", "after save", "after send", "after relay", "before delete")
KILLED, CUT_OFF = shared_out(NAMES, STEPS)


@pytest.mark.parametrize(("name", "step"), KILLED)
def test_a_process_that_is_killed_at_any_step_says_each_word_once(aws: Emulator, crasher: Crasher, name: str, step: str) -> None:
    with DESKS[name]() as desk:
        house = supported(aws, desk)

        def work() -> None:
            while crasher.kill(house, step, office=True, first=True):  # every message is cut off once
                pass

        desk.ask(house, "a human please", message="m1")
        work()
        case = case_in(at_support(house)[0])
        desk.ask(house, "my badge is broken", message="m2")
        work()
        house.say(f"#{case} come to desk 4", conversation=SUPPORT, user="sue", id="s1")
        work()
        shown = at_support(house)
        assert len(shown) == 2, shown
        assert sum("come to desk 4" in s for s in desk.seen(house)) == 1
        assert sum("getting a person" in s for s in desk.seen(house)) == 1


@pytest.mark.parametrize(("name", "step"), CUT_OFF)
def test_a_process_that_ends_at_any_step_says_each_word_once(aws: Emulator, name: str, step: str) -> None:
    class Dies(BaseException):
        pass

    left: set[str] = set()
    seen: list[str] = []

    def dies(at: str) -> None:
        if at == step and seen and seen[0] in left:
            left.discard(seen[0])
            raise Dies

    with DESKS[name]() as desk:
        house = supported(aws, desk, step=dies, model=ScriptedModel(["Fourteen days."]))
        sqs = client(aws, "sqs")

        def work() -> None:
            while records := house.batch():
                seen[:] = [records[0]["messageId"]]
                if records[0]["attributes"]["ApproximateReceiveCount"] == "1":
                    left.add(records[0]["messageId"])  # every message is cut off once
                try:
                    house.run(records)
                except Dies:
                    for record in records:
                        sqs.change_message_visibility(
                            QueueUrl=house.settings.turns_queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
                        )

        desk.ask(house, "a human please", message="m1")
        work()
        case = case_in(at_support(house)[0])
        desk.ask(house, "my badge is broken", message="m2")
        work()
        house.say(f"#{case} come to desk 4", conversation=SUPPORT, user="sue", id="s1")
        work()
        shown = at_support(house)
        assert len(shown) == 2, shown
        assert sum("come to desk 4" in s for s in desk.seen(house)) == 1
        assert sum("getting a person" in s for s in desk.seen(house)) == 1


def test_a_misspelt_support_chat_is_told_at_the_start(aws: Emulator) -> None:
    wrong = Assistant(aws.settings(hand_over="slak:C1"), secrets=GivenSecrets({}))
    with pytest.raises(InvalidSetting, match="slak:C1"):
        _ = wrong.handovers
