"""Times are the asker's own: in the zone they chose, else their platform's, else the company's; people are those they name."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from assistant.dev.emulator import Emulator
from assistant.messages import Message
from tests.integration.test_silence import office
from tests.simulators.slack import TEAM
from tests.support.desks import DESKS
from tests.support.house import WEBCHAT_KEY, House

EVENING = datetime(2026, 11, 18, 22, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
"""Wednesday evening in Shanghai is Wednesday morning in New York, and Thursday in Auckland."""


def at_evening(aws: Emulator, **settings: object) -> House:
    house = office(aws, timezone="Asia/Shanghai", **settings)
    house.offset = EVENING.timestamp() - time.time()
    return house


def today(house: House) -> str:
    return house.model.asked[-1].facts.splitlines()[0]


def ask(house: House, text: str, **more: str) -> str:
    message = {"conversation": more.pop("conversation", "c"), "user": "u", "text": text, **more}
    reply = house.post("/webchat/messages", message, headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
    assert reply.status == 202
    house.drain()
    return str(house.turns(message["conversation"])[-1]["text"])


def test_today_and_tomorrow_are_the_companys_where_nothing_else_is_known(aws: Emulator) -> None:
    house = at_evening(aws)
    assert "Thu 19 Nov 2026, 15:00" in ask(house, "book the sun room tomorrow from 3 to 4 pm for 5 people")
    ask(house, "yes")
    ask(house, "what is for lunch in the canteen?")
    assert today(house) == "Today is Wednesday, 2026-11-18 (Asia/Shanghai)."


def test_somebody_who_chose_a_zone_has_it_in_every_conversation(aws: Emulator) -> None:
    house = at_evening(aws)
    assert "Pacific/Auckland" in ask(house, "/timezone Pacific/Auckland")
    assert "Fri 20 Nov 2026, 15:00" in ask(house, "book the sun room tomorrow from 3 to 4 pm for 5 people")
    ask(house, "yes")
    ask(house, "what is for lunch in the canteen?", conversation="another")
    assert today(house) == "Today is Thursday, 2026-11-19 (Pacific/Auckland)."
    assert "Pacific/Auckland" in ask(house, "时区", conversation="another")


def test_the_zone_that_a_platform_tells_counts_until_one_is_chosen(aws: Emulator) -> None:
    house = at_evening(aws)
    ask(house, "what is for lunch in the canteen?", timezone="Pacific/Auckland")
    assert today(house) == "Today is Thursday, 2026-11-19 (Pacific/Auckland)."
    ask(house, "my time zone is America/New_York", timezone="Pacific/Auckland")
    ask(house, "what is for lunch in the canteen?", timezone="Pacific/Auckland")
    assert today(house) == "Today is Wednesday, 2026-11-18 (America/New_York)."


@pytest.mark.parametrize("wrong", ["Mars/Olympus", "../../etc/passwd", "localtime"])
def test_a_zone_that_does_not_exist_changes_nothing(aws: Emulator, wrong: str) -> None:
    house = at_evening(aws)
    ask(house, "what is for lunch in the canteen?", timezone=wrong)
    assert "(Asia/Shanghai)" in today(house)
    assert "no time zone" in ask(house, f"/timezone {wrong}") or house.model.asked
    ask(house, "what is for lunch in the canteen?")
    assert "(Asia/Shanghai)" in today(house)


def test_teams_tells_the_zone_of_the_asker(aws: Emulator) -> None:
    with DESKS["teams"]() as desk:
        house = at_evening(aws, secrets=desk.secrets)
        desk.vendor.clock = house.now
        said = desk.vendor.activity("a:1", "what is for lunch in the canteen?") | {"localTimezone": "Pacific/Auckland"}
        assert house.receive(desk.vendor.webhook(said)).status in (200, 202)
        house.drain()
        assert "(Pacific/Auckland)" in today(house)


def test_a_person_who_is_mentioned_fills_a_form(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        house = at_evening(aws, secrets=desk.secrets)
        for n, text in enumerate(("I want to take annual leave next Monday to Wednesday", "<@U2|alice>")):
            desk.ask(house, text, message=f"m{n}")
            house.drain()
        assert "**stand-in**: alice" in desk.seen(house)[-1]
        [turn] = [t for t in house.assistant.sessions.turns(_message()) if t.question == "@alice"]
        assert turn.after["flow"]["frames"][0]["values"]["stand_in"] == {"name": "alice", "id": "U2"}


def _message() -> Message:
    return Message(kind="text", platform="slack", channel="events", conversation="D1", sender="U1", dedup_id="", tenant=TEAM)
