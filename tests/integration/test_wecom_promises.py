"""What WeCom's people see when any single call goes wrong in any way: exactly what they would have seen anyway, once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from assistant.cache import Cache
from assistant.errors import OutcomeUnknown, RateLimited, VendorUnavailable
from assistant.messages import Button, File, Message, Reply
from assistant.platforms.wecom import WINDOW, WeCom
from tests.simulators import wecom as vendor
from tests.simulators.base import Answer, Fault

FAULTS: dict[str, Fault] = {
    "no connection for the call": Fault("", 1, None, False, 0),
    "accepted, answer lost": Fault("", 1, None, True, 0),
    "503 before": Fault("", 1, Answer(503, "busy"), False, 0),
    "503 after it acted": Fault("", 1, Answer(503, "busy"), True, 0),
    "busy": Fault("", 1, Answer(200, {"errcode": -1, "errmsg": "system busy"}), False, 0),
    "too many at once": Fault("", 1, Answer(200, {"errcode": 45033, "errmsg": "concurrency"}), False, 0),
    "too often": Fault("", 1, Answer(200, {"errcode": 45009, "errmsg": "freq"}), False, 0),
    "token died": Fault("", 1, Answer(200, {"errcode": 42001, "errmsg": "expired"}), False, 0),
    "half an answer": Fault("", 1, Answer(200, b"{"), True, 0),
}


class Clock:
    """Moves when it is slept on."""

    def __init__(self) -> None:
        self.now = 1_735_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Corp(vendor.WeCom):
    """A WeCom of which the call number `at` goes wrong."""

    at = -1
    fault: Fault
    seen = -1

    def _fault(self, line: str) -> Fault | None:
        self.seen += 1
        return replace(self.fault) if self.seen == self.at else None


Do = Callable[[WeCom, Message, int], object]

BUTTONS = (Button(text="批准", key="ok", value={"id": 7}), Button(text="驳回", key="no"))


def text(wecom: WeCom, to: Message, attempt: int) -> object:
    return wecom.send(Reply(text="十五天。"), to=to, key="k", attempt=attempt)


def parts(wecom: WeCom, to: Message, attempt: int) -> object:
    return wecom.send(Reply(text="很长的回答。" * 500), to=to, key="k", attempt=attempt)


def card(wecom: WeCom, to: Message, attempt: int) -> object:
    return wecom.send(Reply(text="批准吗？", buttons=BUTTONS), to=to, key="k", attempt=attempt)


def long_card(wecom: WeCom, to: Message, attempt: int) -> object:
    return wecom.send(Reply(text="请先读完。" * 100, buttons=BUTTONS), to=to, key="k", attempt=attempt)


def file(wecom: WeCom, to: Message, attempt: int) -> object:
    return wecom.upload(File(name="a.pdf", content=b"%PDF-1.7 x", content_type="application/pdf"), to=to, key="k")


ACTIONS: dict[str, tuple[str, float, Do, int]] = {
    # who asks · how long ago, in seconds · what is sent · how many bubbles a person sees
    "app: text": ("app", 0, text, 1),
    "app: parts": ("app", 0, parts, 5),
    "app: card": ("app", 0, card, 1),
    "app: text and card": ("app", 0, long_card, 2),
    "app: file": ("app", 0, file, 1),
    "bot: buttons under a fetched reply": ("bot", 0, card, 1),
    "bot: after its time, to the response_url": ("bot", WINDOW + 1, text, 1),
    "bot: after an hour, by the app": ("bot", 3600, text, 1),
}


def played(action: str, *, at: int = -1, fault: Fault | None = None) -> tuple[list[str], int]:
    """What the asker sees after the queue's three deliveries, and how many calls were made."""
    surface, ago, do, _ = ACTIONS[action]
    clock = Clock()
    with Corp(clock=clock) as corp:
        corp.at, corp.fault = at, fault or FAULTS["busy"]
        wecom = WeCom(corp.secrets, cache=Cache(clock=clock), clock=clock, sleep=clock.sleep)
        callback = corp.app_text("?") if surface == "app" else corp.bot_text("?")
        (question,) = wecom.receive(callback).messages
        clock.sleep(ago)
        for attempt in (1, 2, 3):
            try:
                do(wecom, question, attempt)
                break
            except (RateLimited, VendorUnavailable, OutcomeUnknown):
                clock.sleep(180)  # the queue delivers the message again
        else:
            raise AssertionError("three deliveries were not enough")
        return corp.visible("lin"), len(corp.calls)


@functools.cache
def undisturbed(action: str) -> tuple[list[str], int]:
    """What the asker sees when nothing goes wrong, and how many calls it took."""
    return played(action)


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_goes_wrong(action: str) -> None:
    visible, _ = undisturbed(action)
    assert len(visible) == ACTIONS[action][3]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_one_call_goes_wrong_and_the_asker_sees_the_same_once(action: str, fault: str) -> None:
    expected, calls = undisturbed(action)
    for at in range(calls):
        seen, _ = played(action, at=at, fault=FAULTS[fault])
        assert seen == expected, f"{action}, call {at + 1} of {calls}: {fault}"


def test_the_table_is_printed(show: Callable[[str], None]) -> None:
    calls: dict[str, Any] = {action: undisturbed(action)[1] for action in ACTIONS}
    show(f"{sum(calls.values()) * len(FAULTS)} single faults, one visible reply each")
    for action, count in calls.items():
        show(f"{action:44} {count} calls × {len(FAULTS)} faults")
    assert all(calls.values())
