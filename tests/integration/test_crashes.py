"""The process is killed (SIGKILL) at every named step; afterwards there is one visible reply and one stored turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assistant.dev.emulator import Emulator
from tests.integration.test_busy import Dies, work
from tests.support.crashing import Crasher
from tests.support.desks import DESKS
from tests.support.house import House, ScriptedModel, client

QUICK = ("after claim", "after model", "after save", "after send", "before delete")
SLOW = ("after stored claim", "after stream opened", "after stream updated")
ANSWER = "Everyone has thirty days of leave in a year."

LEFT_OPEN = {("teams", "after stream opened"): "Working on it…"}
"""What is left where the vendor names a stream only in its answer and shows a bot nothing it wrote; Teams ends it by itself."""


@pytest.mark.parametrize("name", sorted(DESKS))
@pytest.mark.parametrize("at", QUICK)
def test_a_crash_at_any_step_leaves_one_visible_reply(
    aws: Emulator, crasher: Crasher, name: str, at: str, show: Callable[[str], None]
) -> None:
    with DESKS[name]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel([ANSWER]))
        desk.ask(house, "How much leave do I have?")
        assert crasher.kill(house, at, answer=ANSWER) == -9, f"it was not killed at {at!r}"
        house.drain()
        seen = desk.seen(house)
        show(f"{name:9} quick answer  killed {at:22} → {len(seen)} visible, {stored(aws)} stored")
        assert seen == [ANSWER]
        assert stored(aws) == 1


STREAMING = sorted(n for n in DESKS if n == "webchat" or getattr(DESKS[n], "streams", False))


@pytest.mark.parametrize(
    ("name", "at"), [(n, at) for n in STREAMING for at in SLOW if not (n == "webchat" and at != "after stored claim")]
)
def test_a_crash_while_the_answer_grows_leaves_one_visible_reply(
    aws: Emulator, crasher: Crasher, name: str, at: str, show: Callable[[str], None]
) -> None:
    with DESKS[name]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel([ANSWER]))
        desk.ask(house, "How much leave do I have?")
        seconds = 3.2 if name == "teams" else 1.4  # time for the growing reply to be shown; Teams takes a state every 1.5 s
        assert crasher.kill(house, at, answer=ANSWER, patience=0, seconds=seconds) == -9, f"it was not killed at {at!r}"
        house.drain()
        seen = desk.seen(house)
        show(f"{name:9} growing answer killed {at:22} → {len(seen)} visible, {stored(aws)} stored")
        if (name, at) in LEFT_OPEN:
            seen = [s for s in seen if s != LEFT_OPEN[name, at]]
        assert seen == [ANSWER]
        assert stored(aws) == 1


@pytest.mark.parametrize("name", sorted(DESKS))
def test_a_platform_that_sends_its_webhook_again_gets_no_second_reply(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel([ANSWER]))
        for minutes in (0, 5, 7 * 60):
            house.offset = minutes * 60
            desk.ask(house, "How much leave do I have?")
            house.drain()
        assert desk.seen(house) == [ANSWER]


@pytest.mark.parametrize("name", sorted(set(DESKS) - {"webchat"}))
def test_a_reply_whose_acceptance_was_lost_is_not_sent_twice(aws: Emulator, name: str) -> None:
    with DESKS[name]() as desk:
        house = House(aws, secrets=desk.secrets, model=ScriptedModel([ANSWER]))
        desk.ask(house, "How much leave do I have?")
        desk.vendor.fail(desk.sends, status=0, after=True)
        house.drain()
        assert desk.seen(house) == [ANSWER]


def stored(aws: Emulator) -> int:
    """Number of turns in the table."""
    items = client(aws, "dynamodb").scan(TableName="assistant")["Items"]
    return sum(i["sk"]["S"].startswith("turn#") for i in items)


@pytest.mark.parametrize("name", ["dingtalk", "feishu", "teams", "wecom"])
def test_a_process_that_ends_while_it_waits_for_the_vendor_has_sent_nothing(aws: Emulator, name: str) -> None:
    class Waiting(House):
        """Its first wait is its end."""

        ended = False

        def sleep(self, seconds: float) -> None:
            if not self.ended:
                self.ended = True
                raise Dies
            super().sleep(seconds)

    with DESKS[name]() as desk:
        house = Waiting(aws, secrets=desk.secrets, model=ScriptedModel([ANSWER]))
        desk.ask(house, "How much leave do I have?")
        desk.vendor.fail(desk.sends, status=429, body={"code": "system.busy"}, headers={"retry-after": "1"})
        work(house)
        assert house.ended
        assert desk.seen(house) == [ANSWER]
