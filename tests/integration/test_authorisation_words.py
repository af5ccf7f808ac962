"""Every bad way back from a provider, in both languages: each has its sentence, and what was asked for waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assistant.dev.emulator import Emulator
from assistant.words import say
from tests.integration.test_authorisation import Journey, sentence
from tests.simulators.identity import Identity
from tests.support.browser import Browser, Shown, changed, link_in

ASKED = {"en": "diary at okta", "zh-CN": "diary at okta 我的日程有什么安排呢"}


class InWords(Journey):
    """The journey of somebody who writes in `language`."""

    def __init__(self, aws: Emulator, identity: Identity, language: str) -> None:
        self.language = language
        super().__init__(aws, identity, ASKED[language].removeprefix("diary at "))
        self.browser.language = language


def without_state(journey: Journey) -> Shown:
    return journey.browser.get(changed(journey.back(), state=""))


def made_up_state(journey: Journey) -> Shown:
    return journey.browser.get(changed(journey.back(), state="0" * 96))


def anothers_state(journey: Journey) -> Shown:
    victim = Browser(journey.house.assistant)
    victim.get(journey.link)
    return victim.get(journey.back())


def replayed(journey: Journey) -> Shown:
    journey.identity.allows = False
    back = journey.back()
    journey.browser.get(back)
    return journey.browser.get(back)


def denied(journey: Journey) -> Shown:
    journey.identity.allows = False
    return journey.browser.get(journey.back())


def late(journey: Journey) -> Shown:
    back = journey.back()
    journey.house.offset += 601
    return journey.browser.get(back)


def down(journey: Journey) -> Shown:
    journey.identity.fail("POST /token", status=503)
    return journey.browser.get(journey.back())


def skewed(journey: Journey) -> Shown:
    journey.identity.skew = 300
    return journey.browser.get(journey.back())


def less(journey: Journey) -> Shown:
    journey.identity.grants = lambda scopes: tuple(s for s in scopes if s != "calendar.read")
    return journey.browser.get(journey.back())


def without_code(journey: Journey) -> Shown:
    return journey.browser.get(changed(journey.back(), code=""))


BAD: dict[str, tuple[Callable[[Journey], Shown], int]] = {
    "page_no_state": (without_state, 400),
    "page_bad_state": (made_up_state, 400),
    "page_other_browser": (anothers_state, 403),
    "page_used": (replayed, 400),
    "page_denied": (denied, 200),
    "page_late": (late, 400),
    "page_provider_down": (down, 503),
    "page_provider_refused": (skewed, 400),
    "page_less": (less, 200),
    "page_no_code": (without_code, 400),
}


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("words", sorted(BAD))
def test_a_bad_way_back_is_said_in_the_askers_language_and_nothing_happens(
    aws: Emulator, identity: Identity, words: str, language: str
) -> None:
    journey = InWords(aws, identity, language)
    act, status = BAD[words]
    shown = act(journey)
    expected = say(words, language, title="Okta", chat="", missing="calendar.read", account="Ann")
    assert (shown.status, sentence(shown)) == (status, expected)
    assert f'lang="{language}"' in shown.text
    assert journey.house.drain() == 0, "what was asked for waits"
    if words not in ("page_no_state", "page_bad_state", "page_other_browser"):
        assert link_in(shown.text), "and there is a way to try again"
