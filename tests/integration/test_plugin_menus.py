"""What plug-ins offer stands in the help, on its card, and in the vendor's own menu where there is a call for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.initialise import remedies
from tests.support.desks import DESKS
from tests.support.house import House

CONFIGS = {"approvals": {"approver": "wecom:wang"}}


def house(aws: Emulator, desk: Any, **more: Any) -> House:
    return House(
        aws,
        secrets=desk.secrets,
        public_url="https://assistant.example",
        plugins="approvals,help",
        plugin_configs=json.dumps(CONFIGS),
        **more,
    )


def step(made: House) -> str:
    """What is told to the platform when the assistant is set up."""
    [remedy] = [r for r in remedies(made.assistant) if r.name == "platform wecom"]
    return remedy.apply().detail


@pytest.mark.parametrize(("language", "names"), [("en", ["Menu", "Help"]), ("zh-CN", ["菜单", "帮助"])])
def test_wecoms_own_menu_shows_what_the_plugins_offer(aws: Emulator, language: str, names: list[str]) -> None:
    with DESKS["wecom"]() as desk:
        made = house(aws, desk, language=language)
        desk.vendor.clock = made.now
        assert "shows 2 entries" in step(made)
        assert [b["name"] for b in desk.vendor.menu] == names
        assert {e["key"] for e in desk.vendor.menu[0]["sub_button"]} == {"approvals.menu", "approvals.menu_mine"}
        assert "shows 2 entries" in step(made), "it is our own: a second time replaces it"


def test_a_menu_that_was_made_by_hand_stays(aws: Emulator) -> None:
    with DESKS["wecom"]() as desk:
        made = house(aws, desk)
        desk.vendor.clock = made.now
        desk.vendor.menu = by_hand = [{"type": "click", "name": "HR", "key": "hr"}]
        assert "made by hand" in step(made)
        assert desk.vendor.menu == by_hand


@pytest.mark.parametrize(("key", "told"), [("approvals.menu_mine", "没有申请"), ("/help", "申请休假")])
def test_a_click_in_the_menu_does_what_the_entry_says(aws: Emulator, key: str, told: str) -> None:
    with DESKS["wecom"]() as desk:
        made = house(aws, desk)
        desk.vendor.clock = made.now
        event = desk.vendor.app_callback(desk.vendor.app_xml("event", "lin", Event="click", EventKey=key))
        assert made.receive(event).status == 200
        made.drain()
        assert told in "\n".join(desk.seen(made))


def test_a_platform_without_such_a_call_has_the_card_of_the_help(aws: Emulator) -> None:
    with DESKS["slack"]() as desk:
        made = house(aws, desk)
        desk.ask(made, "help")
        made.drain()
        assert "[Request leave]" in "\n".join(desk.seen(made))
