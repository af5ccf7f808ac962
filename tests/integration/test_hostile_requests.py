"""Whatever is sent to any route of any function: an answer below 500, within its time and memory; no route is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from assistant.api import http_handler
from assistant.dev.emulator import Emulator
from assistant.dev.runner import Context, event_of, match
from assistant.oauth.app import create_app
from assistant.platforms import PLATFORMS, platform_class
from assistant.settings import ROUTES
from infra.deployment import Deployment
from tests.benchmarks.hostile import MOST_MS, Outcome, exposed_to, play
from tests.integration.test_authorisation import ask, house_at, link_of
from tests.simulators.identity import Identity
from tests.support.browser import Browser, changed, link_in
from tests.support.hard import SEED
from tests.support.hostile import TEXTS, Senders, senders, shots
from tests.support.house import House

EACH = 2
MARGIN = 3.0
"""Times the goal: this machine has others to serve as well."""


@pytest.fixture(scope="module")
def everybody() -> Iterator[Senders]:
    """All who may call."""
    with senders() as made:
        yield made


def test_no_route_breaks_by_what_is_sent_to_it(aws: Emulator, everybody: Senders, show: Callable[[str], None]) -> None:
    sizes = Deployment().sizes
    met, accepted, total = set(), set(), 0
    with exposed_to(aws, everybody) as expose:
        for name in sorted({route.function for route in ROUTES}):
            cases = [case for case in everybody.cases if _function(case.door) == name]
            outcome = Outcome()
            with expose(name) as function:
                play(function, shots(cases, EACH, seed=str(SEED)), outcome, most=MOST_MS * MARGIN)
            assert not outcome.faults, f"SEED={SEED}: {outcome.faults}"
            assert outcome.peak <= sizes[name].memory
            met |= outcome.routes
            accepted |= outcome.accepted
            total += outcome.statuses.total()
            show(f"{name}: {dict(sorted(outcome.statuses.items()))}, SEED={SEED}")
    assert met == set(ROUTES), "a route to which nothing hostile was sent"
    assert total >= EACH * len(everybody.cases)
    unproven = {case.name for case in everybody.cases if case.door.startswith("webhook") and case.taken} - accepted
    assert not unproven, "their proofs are not good: what they carry is never read"


def _function(door: str) -> str:
    return "webhook" if door.startswith("webhook") else "oauth" if door == "authorisation" else "api"


def test_every_route_platform_and_channel_has_genuine_requests_to_be_damaged(everybody: Senders) -> None:
    firsts = [next(iter(shots([case], 1, seed="0"))) for case in everybody.cases]
    assert {shot.route for shot in firsts} == set(ROUTES)
    channels = {tuple(shot.event["pathParameters"].values()) for shot in firsts if shot.route.function == "webhook"}
    assert channels == {(name, channel) for name in PLATFORMS for channel in platform_class(name).channels}


def test_a_seed_makes_the_same_requests_again(everybody: Senders) -> None:
    cases = [case for case in everybody.cases if case.door in ("health", "console's files", "authorisation")]

    def made(seed: str) -> list[Any]:
        return [
            (shot.tricks, shot.event["rawPath"], shot.event["rawQueryString"], shot.event.get("body"))
            for shot in shots(cases, 5, seed=seed)
        ]

    assert made("7") == made("7") != made("8")


@pytest.mark.parametrize("host", ["[::1", "a:b:c", "evil.example:99999999", "a\x00", "a b", "a" * 9000, "[", "a:"])
def test_a_host_that_cannot_be_is_refused(aws: Emulator, host: str) -> None:
    for headers in ({"host": host}, {"Host": host}):
        assert _health(aws, headers) == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "[::1]:8080"},
        {"host": "assistant.example:443"},
        {"host": "127.0.0.1"},
        {},
        {"host": "a", "x-forwarded-port": "many", "x-forwarded-proto": "//["},
    ],
    ids=str,
)
def test_a_host_that_can_be_is_answered(aws: Emulator, headers: dict[str, str]) -> None:
    assert _health(aws, headers) == 200


def _health(aws: Emulator, headers: dict[str, str]) -> int:
    from assistant.api import create_app as create_api

    found = match("GET", "/health")
    assert found
    event = event_of(*found, method="GET", path="/health", query="", headers=headers, body=b"")
    return int(http_handler(create_api(House(aws).assistant))(event, Context("api", 30))["statusCode"])


# --- authorisation ---------------------------------------------------------------------------------


def _rows(house: House) -> list[Any]:
    """Everything that is stored."""
    found = house.recorder.client("dynamodb").scan(TableName=house.settings.table_name)["Items"]
    return sorted(found, key=str)


PROVIDERS = ("okta", "wecom", "slack-install", "nobody", "..%2f")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_hostile_callbacks_are_refused_and_nothing_is_stored(aws: Emulator, identity: Identity, provider: str) -> None:
    house = house_at(aws, identity)
    before, handle = _rows(house), http_handler(create_app(house.assistant))
    for step, names in (("callback", ("state", "code", "error", "error_description", "authCode")), ("start", ("ticket", "sure"))):
        path = f"/oauth/{provider}/{step}"
        for text in TEXTS[PROVIDERS.index(provider) :: len(PROVIDERS)]:
            found = match("GET", path)
            assert found
            query = urlencode(dict.fromkeys(names, text), errors="replace")
            headers = {"host": "assistant.example", "cookie": f"__Host-assistant-oauth={quote(text)[:4000]}"}
            event = event_of(*found, method="GET", path=path, query=query, headers=headers, body=b"")
            status = int(handle(event, Context("oauth", 15))["statusCode"])
            assert 400 <= status < 500, (status, text[:80])
    assert _rows(house) == before
    assert house.drain() == 0


def test_a_good_state_with_a_hostile_code_or_error_gives_nothing(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    link, browser = link_of(ask(house, "diary at okta")), Browser(house.assistant)
    for text in TEXTS[1::6]:
        for names in (("code",), ("error",)):
            page = browser.get(link)
            if page.status == 200:
                page = browser.get(link_in(page.text))
            back = changed(browser.at_provider(page.location), **dict.fromkeys(names, text.encode("utf-8", "replace").decode()))
            assert browser.get(back).status < 500, text[:80]
    assert house.drain() == 0, "something that waited went on"
    assert "Only you see this message" in ask(house, "diary at okta")["text"], "somebody was let in"
