"""The simulation of queue and functions agrees with theory where theory has an answer, and keeps the queue's promises."""

from __future__ import annotations

import math

import pytest

from infra.capacity import Load, uses
from infra.deployment import Deployment
from tests.benchmarks.scaling import Plant, compare, made_turn, plot, report, simulate


def erlang_wait(rate: float, mean: float, copies: int) -> float:
    """Mean wait in a queue with exponential times and `copies` servers (Erlang C)."""
    load = rate * mean
    terms = sum(load**k / math.factorial(k) for k in range(copies))
    last = load**copies / math.factorial(copies) * copies / (copies - load)
    return last / (terms + last) * mean / (copies - load)


def test_the_wait_is_what_queueing_theory_says() -> None:
    waits: list[float] = []
    started: list[float] = []
    rate, mean, copies = 8.0, 1.0, 10
    for seed in range(3):
        plant = Plant(copies=copies, warm=copies, cold_seconds=0)
        seen = simulate(
            plant, rate=rate, seconds=2500, conversations=10**9, turn=lambda chance: chance.expovariate(1 / mean), seed=seed
        )
        started.append(seen.messages)
        waits.append(seen.mean_wait)
    assert sum(started) > 50_000
    assert sum(waits) / len(waits) == pytest.approx(erlang_wait(rate, mean, copies), rel=0.12)


def test_a_conversation_is_answered_in_order_and_others_overtake() -> None:
    seen = simulate(Plant(copies=5, warm=5), rate=10, seconds=300, conversations=8, turn=made_turn(0.4))
    assert seen.out_of_order == 0
    assert seen.left == 0
    assert seen.messages > 2000


def test_one_conversations_flood_does_not_slow_the_others() -> None:
    alone = simulate(Plant(copies=50, warm=50), rate=10, seconds=300, conversations=100_000, turn=made_turn(1))
    flooded = simulate(Plant(copies=50, warm=50), rate=10, seconds=300, conversations=100_000, turn=made_turn(1), flood=5)
    assert flooded.messages > alone.messages + 1000
    assert flooded.others_p99 < alone.others_p99 * 1.1


def test_too_few_copies_show_as_age_and_nothing_is_lost() -> None:
    seen = simulate(Plant(copies=10, warm=10), rate=8, seconds=120, conversations=10**6, turn=made_turn(2.5), drain=1000)
    assert seen.busiest == 10
    assert seen.oldest > 100
    assert seen.left == 0


def test_a_bounded_model_is_the_bottleneck_however_many_copies_run() -> None:
    few = simulate(Plant(copies=200, warm=200, model_slots=8), rate=6, seconds=200, conversations=10**6, turn=made_turn(2))
    many = simulate(Plant(copies=200, warm=200, model_slots=40), rate=6, seconds=200, conversations=10**6, turn=made_turn(2))
    assert few.p99 > 3 * many.p99


@pytest.mark.parametrize(("profile", "sessions"), [("basic", 50), ("enterprise", 200)])
def test_each_profile_carries_the_sessions_it_was_asked_for(profile: str, sessions: int) -> None:
    deployment = Deployment.of({"profile": profile, "stage": "production"}, env={})
    think = 20.0  # seconds that a person reads before the next message
    rate = sessions / (think + 2.5)
    seen = simulate(
        Plant(copies=deployment.concurrent_turns, warm=deployment.sizes["dialogue"].provisioned),
        rate=rate,
        seconds=600,
        conversations=sessions,
        turn=made_turn(2.5),
    )
    assert seen.left == seen.out_of_order == 0
    assert seen.p99 < 15


def test_what_is_full_first_grows_with_the_company() -> None:
    deployment = Deployment.of({"profile": "enterprise", "stage": "production"}, env={})
    shares = [uses(Load(users=n), deployment)[0] for n in (100, 10_000, 1_000_000, 10_000_000)]
    assert [round(s.share, 3) > 1 for s in shares] == [False, False, True, True]
    assert shares[2].quota.name == "copies for one event source"


def test_the_report_names_the_limit_and_draws_it() -> None:
    deployment = Deployment.of({"profile": "basic", "stage": "production"}, env={})
    rows = report(deployment, [100, 10_000], made_turn(), messages=2000)
    assert rows[0]["what_to_do"] == "nothing"
    assert rows[0]["p99"] < rows[1]["p99"] * 5
    assert plot(rows, "title").count("<rect") == 4


def test_a_load_test_is_compared_with_what_the_simulation_says() -> None:
    figures = {"messages": 40.0, "messages/s": 2.0, "added p50 ms": 300.0, "added p99 ms": 900.0}
    (row,) = compare(
        {"sections": [{"title": "Load", "rows": [{"name": "20 conversations", "figures": figures}]}, {"title": "Cold"}]}
    )
    assert row["predicted_p50"] == pytest.approx(0, abs=1), "far from full, nobody waits for a copy"
    assert row["measured_p50"] == 300
    full = {**figures, "messages": 4000.0, "messages/s": 40.0}  # 40 × 1.9 s are more than 64 copies can do
    (row,) = compare({"sections": [{"title": "Load", "rows": [{"name": "too many", "figures": full}]}]})
    assert row["predicted_p50"] > 1000
