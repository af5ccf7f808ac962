"""Calls wait for their turn before a vendor would refuse them."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import OutcomeUnknown, RateLimited, VendorUnavailable
from assistant.platforms.outbound import MARGIN, Pace, Rate, TokenExpired, with_retries, with_token


class Clock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def paced(clock: Clock) -> Pace:
    return Pace("vendor", clock=clock, sleep=clock.sleep)


@given(
    calls=st.integers(1, 8),
    seconds=st.floats(0.1, 5),
    asked=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 2)), max_size=60),
)
def test_no_window_ever_holds_more_calls_than_the_vendor_takes(
    calls: int, seconds: float, asked: list[tuple[str, float]]
) -> None:
    clock = Clock()
    pace = paced(clock)
    made: dict[str, list[float]] = {"a": [], "b": []}
    for name, pause in asked:
        clock.now += pause
        pace.wait({name: (Rate(calls, seconds),)}, longest=60)
        made[name].append(clock.now)
    for times in made.values():
        for first, after in zip(times, times[calls:], strict=False):
            assert after - first >= seconds - 1e-6


def test_a_clock_that_is_set_back_keeps_no_call_waiting_for_longer() -> None:
    clock = Clock()
    pace = paced(clock)
    for _ in range(2):
        pace.wait({"a": (Rate(2, 1.0),)})
    clock.now -= 3600
    pace.wait({"a": (Rate(2, 1.0),)})
    assert clock.slept == [pytest.approx(1.0 + MARGIN)]


def test_a_call_counts_under_each_of_its_names_and_others_do_not_wait_for_it() -> None:
    clock = Clock()
    pace = paced(clock)
    app = (Rate(3, 10.0),)
    for chat in ("a", "b"):
        pace.wait({chat: (Rate(1, 4.0),), "app": app})
    assert clock.slept == []
    pace.wait({"a": (Rate(1, 4.0),), "app": app})
    assert clock.slept == [pytest.approx(4 + MARGIN)]
    pace.wait({"c": (Rate(1, 4.0),), "app": app})
    assert sum(clock.slept) == pytest.approx(10 + MARGIN)


def test_a_turn_that_is_too_far_away_is_refused_and_takes_no_room() -> None:
    clock = Clock()
    pace = paced(clock)
    pace.wait({"a": (Rate(1, 60.0),)})
    for _ in range(3):
        with pytest.raises(RateLimited) as limited:
            pace.wait({"a": (Rate(1, 60.0),)}, longest=8)
        assert limited.value.retry_after == pytest.approx(60 + MARGIN)
    clock.now += 60 + MARGIN
    pace.wait({"a": (Rate(1, 60.0),)}, longest=0)


def test_what_still_grows_leaves_room_for_the_last_word() -> None:
    clock = Clock()
    pace = paced(clock)
    for _ in range(7):
        pace.wait({"edits": (Rate(10, 60.0),)}, longest=0, share=0.7)
    with pytest.raises(RateLimited):
        pace.wait({"edits": (Rate(10, 60.0),)}, longest=0, share=0.7)
    for _ in range(3):
        pace.wait({"edits": (Rate(10, 60.0),)}, longest=0)


def test_after_a_refusal_nothing_of_that_name_is_called_before_its_time() -> None:
    clock = Clock()
    pace = paced(clock)
    called: list[str] = []

    def refused() -> None:
        called.append("refused")
        raise RateLimited("slow down", retry_after=30)

    with pytest.raises(RateLimited):
        pace.call(refused, {"a": ()})
    with pytest.raises(RateLimited) as limited:
        pace.call(lambda: called.append("a"), {"a": ()})
    assert called == ["refused"]
    assert limited.value.retry_after == pytest.approx(30)
    pace.call(lambda: called.append("b"), {"b": ()})
    clock.now += 30
    pace.call(lambda: called.append("a"), {"a": ()})
    assert called == ["refused", "b", "a"]


def test_many_threads_keep_one_pace() -> None:
    lock = threading.Lock()
    due: list[float] = []

    def sleep(seconds: float) -> None:
        with lock:
            due.append(round(seconds, 6))

    pace = Pace("vendor", clock=lambda: 0.0, sleep=sleep)
    pace.wait({"a": (Rate(1, 1.0),)}, longest=100)
    barrier = threading.Barrier(5)

    def call() -> None:
        barrier.wait()
        pace.wait({"a": (Rate(1, 1.0),)}, longest=100)

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(due) == 5
    assert all(0 < wait <= 5 * (1 + MARGIN) for wait in due)


def test_names_that_nobody_uses_any_more_are_forgotten() -> None:
    clock = Clock()
    pace = paced(clock)
    for n in range(10_050):
        pace.wait({f"chat {n}": (Rate(1, 1.0),)})
    clock.now += 7200
    pace.wait({"new": (Rate(1, 1.0),)})
    assert list(pace._made) == ["new"]


def test_an_unknown_outcome_is_repeated_only_where_the_vendor_knows_a_repeat() -> None:
    clock = Clock()
    tried: list[int] = []

    def lost() -> str:
        tried.append(1)
        if len(tried) < 3:
            raise OutcomeUnknown("no answer")
        return "done"

    assert with_retries(lost, repeat=True, sleep=clock.sleep) == "done"
    tried.clear()
    with pytest.raises(OutcomeUnknown):
        with_retries(lost, sleep=clock.sleep)
    assert len(tried) == 1


def test_one_try_that_may_have_been_heard_makes_the_outcome_unknown() -> None:
    errors: list[Exception] = [VendorUnavailable("busy"), OutcomeUnknown("no answer"), VendorUnavailable("busy")]

    def act() -> None:
        raise errors.pop(0)

    with pytest.raises(OutcomeUnknown):
        with_retries(act, tries=3, repeat=True, sleep=lambda seconds: None)


def test_a_token_that_expired_is_renewed_once() -> None:
    tokens = ["old", "new"]

    def act() -> str:
        if tokens[0] == "old":
            raise TokenExpired("old", platform="vendor", code="40014")
        return tokens[0]

    assert with_token(act, forget=lambda: tokens.remove("old"), check="secret") == "new"
