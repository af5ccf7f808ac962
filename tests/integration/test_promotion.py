"""A roll-out that goes on by itself, and takes itself back: rehearsed through the front door, with a fault that is injected."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from assistant.dev.emulator import Emulator
from assistant.dev.runner import Functions, Schedule
from assistant.errors import InvalidSetting, Unavailable
from assistant.figures import CloudWatchFigures, Figures
from assistant.observability import DISLIKED, FIRST_REPLY, TURN_FAILED, Metrics
from assistant.promotion import FEW, Look
from assistant.rollout import Rollouts
from tests.infra.cloudwatch import CloudWatch
from tests.support.desks import SlackDesk
from tests.support.house import House, client, down

BY: dict[str, Any] = {"who": "ann", "why": "the autumn release"}
HOUR = 3600.0


def rollouts(house: House) -> Rollouts:
    return house.assistant.rollouts


def look(house: House) -> Look:
    return house.assistant.promotion.look()


def staged(aws: Emulator, **more: Any) -> House:
    """Three people in three rings; the first one is served."""
    house = House(aws, figures="process", **more)
    for ring, user in (("internal", "ann"), ("department", "bob")):
        rollouts(house).set({"people": [f"webchat:{user}"]}, ring=ring, **BY)
    rollouts(house).set({"reached": "internal"}, **BY)
    return house


def talk(house: House, user: str, times: int) -> None:
    for n in range(times):
        house.say(f"How long? {n} {house.offset}", user=user, conversation=user)
        house.drain()


def fail(house: House, user: str, times: int) -> None:
    """Questions of which each try fails, until they are dead letters."""
    house.model.answers = [down()]
    for n in range(times):
        house.say(f"Are you there? {n}", user=user, conversation=f"{user}-{n}")
    house.drain()
    house.model.answers = ["Fourteen days."]


def test_a_rehearsed_promotion_goes_on_by_itself_and_halts_itself_on_an_injected_fault(
    aws: Emulator, show: Callable[[str], None]
) -> None:
    with SlackDesk() as admin:
        house = staged(aws, secrets=admin.secrets, administrators="slack:U1")
        admin.vendor.clock = house.now
        rollouts(house).start({"hours": 8, "turns": 5}, **BY)
        talk(house, "ann", 6)
        assert look(house).verdict == "watching"
        house.offset = 8 * HOUR
        assert look(house).verdict == "promoted"
        talk(house, "bob", 6)
        house.offset += HOUR
        assert look(house).verdict == "watching"
        assert [t["text"] for t in house.turns("bob")] == ["Fourteen days."] * 6
        fail(house, "bob", 2)
        house.offset += 300
        seen = look(house)
        assert seen.verdict == "rolled back"
        assert "department: errors" in seen.reason
        state = rollouts(house).read()
        assert (state.reached, state.halted, state.plan) == ("internal", True, None)
        talk(house, "ann", 1)
        talk(house, "bob", 1)
        assert house.turns("ann")[-1]["text"] == "Fourteen days."
        assert "step by step" in house.turns("bob")[-1]["text"], "bob is outside again"
        told = [m for m in admin.seen(house) if "halted itself" in m]
        assert len(told) == 1
        assert "errors" in told[0]
        assert look(house).verdict == "none"
        with pytest.raises(InvalidSetting, match="halted"):
            rollouts(house).promote(**BY)
        history = rollouts(house).history()
        assert (history[0].who, history[0].what) == ("plan", "halt, roll back to internal")
        assert "errors" in history[0].why
        for change in reversed(history):
            at = time.strftime("%H:%M", time.gmtime(change.at))
            show(f"{change.edition:2}  {at}  {change.who:5} {change.what:36} {change.why}")


def test_a_plan_that_meets_no_fault_ends_with_everyone_and_says_so(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 1, "turns": 2}, **BY)
    verdicts = []
    for user in ("ann", "bob", "carl"):
        talk(house, user, 2)
        house.offset += HOUR
        verdicts.append(look(house).verdict)
    assert verdicts == ["promoted", "promoted", "done"]
    state = rollouts(house).read()
    assert (state.reached, state.halted, state.plan) == ("everyone", False, None)
    assert [c.what for c in rollouts(house).history()][:3] == [
        "plan done at everyone",
        "promote to everyone",
        "promote to department",
    ]


def test_a_ring_in_which_little_was_asked_is_watched_for_longer(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 1, "turns": 5}, **BY)
    talk(house, "ann", 2)
    house.offset = 30 * HOUR
    seen = look(house)
    assert (seen.verdict, rollouts(house).read().reached) == ("waiting", "internal")
    assert "2 of 5" in seen.reason
    talk(house, "ann", 3)
    assert look(house).verdict == "promoted"


def test_one_failure_among_few_answers_is_no_trend(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 1, "turns": 2}, **BY)
    talk(house, "ann", 2)
    house.metrics.emit((TURN_FAILED, 1), of_ring="internal")
    assert look(house).verdict == "watching"
    for _ in range(FEW - 1):
        house.metrics.emit((TURN_FAILED, 1), of_ring="internal")
    assert look(house).verdict == "rolled back"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda house: house.metrics.emit((DISLIKED, 1), of_ring="internal"), "thumbs down"),
        (lambda house: house.metrics.emit((FIRST_REPLY, 30_000), of_ring="internal"), "slower than 20 s"),
        (lambda house: house.metrics.emit((FIRST_REPLY, 61_000), of_ring="internal"), "silence"),
        (lambda house: house.metrics.emit((TURN_FAILED, 1), of_ring="internal"), "errors"),
    ],
    ids=["thumbs", "latency", "silence", "errors"],
)
def test_each_limit_alone_stops_the_plan(aws: Emulator, fault: Callable[[House], None], named: str) -> None:
    house = staged(aws)
    limits = {"slow": 100} if named == "silence" else {}
    rollouts(house).start({"hours": 8, **limits}, **BY)
    talk(house, "ann", 4)
    assert look(house).verdict == "watching"
    for _ in range(4):
        fault(house)
    seen = look(house)
    assert seen.verdict == "rolled back"
    assert named in seen.reason
    assert rollouts(house).read().halted


def test_messages_that_wait_while_nothing_is_answered_stop_the_plan(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 8}, **BY)
    talk(house, "ann", 1)
    assert look(house).verdict == "watching"
    for n in range(4):
        house.say(f"Hello? {n}", user="ann", conversation=f"waiting-{n}")
    assert look(house).verdict == "watching", "they may have come this very moment"
    house.offset += 300
    seen = look(house)
    assert seen.verdict == "rolled back"
    assert "4 messages wait" in seen.reason


def test_faults_of_before_the_plan_and_of_other_rings_do_not_count(aws: Emulator) -> None:
    house = staged(aws)
    for _ in range(9):
        house.metrics.emit((TURN_FAILED, 1), of_ring="internal")
    house.offset = 10
    rollouts(house).start({"hours": 1, "turns": 1}, **BY)
    for ring in ("everyone", "outside", ""):
        for _ in range(9):
            house.metrics.emit((TURN_FAILED, 1), of_ring=ring)
    talk(house, "ann", 1)
    house.offset += HOUR
    assert look(house).verdict == "promoted"


def test_a_plan_stands_still_while_somebody_has_halted_and_begins_its_watch_anew(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 1, "turns": 1}, **BY)
    talk(house, "ann", 2)
    rollouts(house).halt(**BY)
    house.offset = 2 * HOUR
    assert look(house).verdict == "halted"
    rollouts(house).set({"halted": False}, **BY)
    talk(house, "ann", 2)
    assert look(house).verdict == "watching"
    house.offset += HOUR
    assert look(house).verdict == "promoted"


def test_features_are_carried_from_ring_to_ring_and_taken_back_from_the_last(aws: Emulator) -> None:
    house = House(aws, figures="process")
    state = rollouts(house)
    state.set({"people": ["webchat:ann"], "plugins": ["help"]}, ring="internal", **BY)
    state.set({"people": ["webchat:bob"], "plugins": ["courtesy"]}, ring="department", **BY)
    state.start({"kind": "features", "hours": 1, "turns": 1}, **BY)
    talk(house, "ann", 1)
    house.offset = HOUR
    assert look(house).verdict == "promoted"
    assert state.read().ring("department").plugins == ("help",)
    assert state.read().reached == "everyone", "who is served does not change"
    for _ in range(FEW):
        house.metrics.emit((TURN_FAILED, 1), of_ring="department")
    assert look(house).verdict == "rolled back"
    after = state.read()
    assert after.ring("department").plugins == ("courtesy",)
    assert after.ring("internal").plugins == ("help",)
    assert after.halted


def test_without_figures_a_plan_waits_and_an_administrator_hears_of_it_once(aws: Emulator) -> None:
    class Blind:
        def of_ring(self, ring: str, **_: Any) -> Figures:
            raise Unavailable("CloudWatch does not give its figures: AccessDeniedException")

    with SlackDesk() as admin:
        house = staged(aws, secrets=admin.secrets, administrators="slack:U1")
        admin.vendor.clock = house.now
        rollouts(house).start({"hours": 1}, **BY)
        house.assistant.promotion._figures = Blind()
        house.offset = 9 * HOUR
        assert [look(house).verdict for _ in range(3)] == ["unknown"] * 3
        assert rollouts(house).read().reached == "internal"
        assert len([m for m in admin.seen(house) if "cannot see" in m]) == 1


def test_two_looks_at_once_take_one_step(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 1, "turns": 1}, **BY)
    talk(house, "ann", 1)
    house.offset = HOUR
    state = rollouts(house).read()
    assert look(house).verdict == "promoted"
    promotion = house.assistant.promotion
    late = house.another().rollouts
    late.read = lambda: state  # type: ignore[method-assign]  # what the other function had read before
    promotion._rollouts = late
    assert promotion.look().verdict == "unknown"
    assert rollouts(house).read().reached == "department"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"hours": 0}, "hours 0"),
        ({"hours": "soon"}, "hours 'soon'"),
        ({"errors": 101}, "errors 101"),
        ({"turns": 0}, "turns 0"),
        ({"to": "moon"}, "moon"),
        ({"to": "internal"}, "served already"),
        ({"kind": "magic"}, "magic"),
        ({"colour": 1}, "colour"),
        ({"kind": "features"}, "already"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(aws: Emulator, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        rollouts(staged(aws)).start(asked, **BY)


def test_a_hand_on_the_wheel_is_the_plans_own(aws: Emulator) -> None:
    house = staged(aws)
    state = rollouts(house)
    state.start({"hours": 1, "turns": 1}, **BY)
    with pytest.raises(InvalidSetting, match="plan is running"):
        state.start({"hours": 2}, **BY)
    with pytest.raises(InvalidSetting, match="plan decides"):
        state.set({"reached": "everyone"}, **BY)
    house.offset = 60
    promoted = state.promote(**BY)
    assert promoted.plan
    assert (promoted.reached, promoted.plan.at) == ("department", "department")
    assert state.stop(**BY).plan is None
    with pytest.raises(InvalidSetting, match="no plan"):
        state.stop(**BY)
    assert state.roll_back(**BY).plan is None, "a plan that was ended does not come back by taking something back"


# --- where the figures come from on AWS ------------------------------------------------------------


class Client:
    """GetMetricData over points that were read from logs, as strict about its request as the AWS SDK; two results a page."""

    def __init__(self, watch: CloudWatch) -> None:
        self._watch = watch
        self._shape = botocore.session.get_session().get_service_model("cloudwatch").operation_model("GetMetricData").input_shape

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        assert self._shape
        problems = ParamValidator().validate(request, self._shape)
        assert not problems.has_errors(), problems.generate_report()
        start, end = request["StartTime"], request["EndTime"]
        assert start < end
        first = int(request.get("NextToken", "0"))
        queries = request["MetricDataQueries"]
        results = [self._result(q, start, end) for q in queries[first : first + 2]]
        more = {"NextToken": str(first + 2)} if first + 2 < len(queries) else {}
        return {"MetricDataResults": results, **more}

    def _result(self, query: dict[str, Any], start: datetime, end: datetime) -> dict[str, Any]:
        stat = query["MetricStat"]
        assert not start.timestamp() % stat["Period"], "periods begin at whole multiples"
        dimensions = frozenset((d["Name"], d["Value"]) for d in stat["Metric"]["Dimensions"])
        times, values = [], []
        at = start.timestamp()
        while at < end.timestamp():
            value = self._watch.statistic(
                stat["Metric"]["Namespace"],
                stat["Metric"]["MetricName"],
                dimensions,
                stat["Stat"],
                start=at,
                seconds=stat["Period"],
            )
            if value is not None:
                times.append(datetime.fromtimestamp(at, start.tzinfo))
                values.append(value)
            at += stat["Period"]
        return {"Id": query["Id"], "Timestamps": times[::-1], "Values": values[::-1], "StatusCode": "Complete"}


def test_cloudwatch_tells_of_a_ring_what_the_functions_logged(capsys: pytest.CaptureFixture[str]) -> None:
    watch = CloudWatch()
    metrics = Metrics(service="dialogue")
    for at, waited in ((60, 900), (61, 25_000), (130, 800), (131, 70_000), (200, 1_000), (9_999, 90_000)):
        metrics.emit((FIRST_REPLY, waited), platform="slack", of_ring="internal")
        watch.read_log(capsys.readouterr().out, at=1_700_000_000 - 1_700_000_000 % 300 + at)
    for ring in ("internal", "department"):
        metrics.emit((TURN_FAILED, 1), platform="slack", error="Unavailable", of_ring=ring)
        metrics.emit((DISLIKED, 1), of_ring=ring)
        watch.read_log(capsys.readouterr().out, at=1_700_000_000 - 1_700_000_000 % 300 + 100)
    base = 1_700_000_000 - 1_700_000_000 % 300
    figures = CloudWatchFigures(lambda: Client(watch))
    found = figures.of_ring("internal", since=base + 70, until=base + 250, slow_seconds=20, silent_seconds=60)
    assert found == Figures(turns=5, failed=1, slow=2, silent=1, disliked=1)
    long = figures.of_ring("internal", since=base - 2 * 86400, until=base + 250, slow_seconds=20, silent_seconds=60)
    assert long == found
    assert figures.of_ring("department", since=base, until=base + 250, slow_seconds=20, silent_seconds=60).turns == 0


def test_cloudwatch_that_refuses_is_said_so() -> None:
    from botocore.exceptions import ClientError

    class Refusing:
        def get_metric_data(self, **_: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetMetricData")

    with pytest.raises(Unavailable, match="CloudWatch"):
        CloudWatchFigures(Refusing).of_ring("internal", since=0, until=60, slow_seconds=1, silent_seconds=2)


def test_watching_costs_a_turn_nothing(aws: Emulator) -> None:
    house = staged(aws)
    rollouts(house).start({"hours": 1}, **BY)
    talk(house, "ann", 2)
    house.recorder.take()
    talk(house, "ann", 1)
    with_plan = [c.operation for c in house.recorder.take()]
    rollouts(house).stop(**BY)
    talk(house, "ann", 1)
    house.recorder.take()
    talk(house, "ann", 1)
    assert with_plan == [c.operation for c in house.recorder.take()]


def test_the_function_on_its_schedule_looks_at_the_plan(aws: Emulator) -> None:
    from assistant.promotion import look as scheduled

    house = staged(aws)
    rollouts(house).start({"hours": 1, "turns": 1}, **BY)
    talk(house, "ann", 1)
    house.offset = HOUR
    assert scheduled(house.assistant.promotion)["verdict"] == "promoted"
    client(aws, "dynamodb").delete_table(TableName=house.settings.table_name)
    with pytest.raises(
        Exception, match="ResourceNotFound"
    ):  # no table at all is a fault of the deployment: the alarm is for that
        scheduled(house.assistant.promotion)


def test_the_local_schedule_hands_the_event_on_and_goes_on_after_a_failure() -> None:
    came: list[dict[str, Any]] = []
    enough = threading.Event()

    def handler(event: dict[str, Any], context: Any) -> None:
        came.append(event)
        if len(came) == 1:
            raise RuntimeError("the first look fails")
        enough.set()

    functions = Functions()
    functions._handlers["init"] = handler
    schedule = Schedule(functions, "init", {"task": "rollout"}, every=0.01)
    schedule.start()
    assert enough.wait(10)
    schedule.stop()
    assert came[:2] == [{"task": "rollout"}] * 2
