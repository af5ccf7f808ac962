"""The same story in every chat: asked there, privately in a group, allowed at that vendor, answered where it was asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from assistant import BotPlugin, Message, Permissions, PluginContext, Reply
from assistant.dev.emulator import Emulator
from assistant.dev.runner import Functions, Gateway
from assistant.plugins import Plugins
from assistant.testing import make
from tests.simulators.identity import CLIENT, SECRET, Identity, Somebody
from tests.support.browser import Browser
from tests.support.desks import DESKS
from tests.support.house import House

PUBLIC = "https://assistant.example"
AT = {"slack": "slack", "feishu": "feishu", "dingtalk": "dingtalk", "teams": "microsoft", "wecom": "wecom"}


class Who(BotPlugin):
    """Says who the asker is at a provider."""

    name = "who"
    permissions = Permissions(tokens={"slack": (), "feishu": (), "dingtalk": (), "microsoft": (), "wecom": ()})

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        if "who am i" not in message.text:
            return None
        return Reply(text=f"You are {ctx.account(AT[ctx.platform]).id}.")


@pytest.fixture
def identity() -> Iterator[Identity]:
    with Identity() as made:
        made.who = Somebody(
            ids={**Somebody().ids, "slack": "U1", "staff": "staff1", "oid": "aad-ann", "wecom": "lin", "open_id": "ou_ann"}
        )
        yield made


def house_at(aws: Emulator, identity: Identity, desk: Any) -> House:
    own = {"client_id": CLIENT, "client_secret": SECRET, "api_base": identity.base, "tenant_id": "tenant-1"}
    provider = AT[desk.name]
    if provider == "wecom":
        own = {"corp_id": CLIENT, "agent_id": "1", "secret": SECRET, "api_base": identity.base}
    house = House(aws, public_url=PUBLIC, secrets={**desk.secrets, f"oauth-{provider}": own})
    house.assistant._plugins = Plugins([make(Who)], table=house.assistant.table, authority=lambda: house.assistant.authorisations)
    identity.clock = house.now
    identity.redirects = {f"{PUBLIC}/oauth/{provider}/callback"}
    return house


def link_in(text: str) -> str:
    found = re.search(rf"{PUBLIC}/oauth/[^\s)|>\"\]]+", unescape(text))
    assert found, text
    return found[0]


@pytest.mark.parametrize("name", list(AT))
def test_what_was_asked_in_a_chat_goes_on_there_after_the_vendors_consent(aws: Emulator, identity: Identity, name: str) -> None:
    with DESKS[name]() as desk:
        house = house_at(aws, identity, desk)
        desk.ask(house, "who am i")
        house.drain()
        [asked] = desk.seen(house)
        shown = Browser(house.assistant).follow(link_in(asked))
        assert (shown.status, "goes on by itself" in shown.text) == (200, True), shown.text
        house.drain()
        seen = desk.seen(house)
        assert len(seen) == 2, seen
        assert seen[1].startswith("You are ")


def test_in_a_channel_only_the_asker_sees_the_question_and_everybody_the_answer(aws: Emulator, identity: Identity) -> None:
    with DESKS["slack"]() as desk:
        house = house_at(aws, identity, desk)
        desk.vendor.clock = house.now
        bot = desk.secrets["slack"]["bot_user_id"]
        said = desk.vendor.say("C1", "U1", f"<@{bot}> who am i")
        assert house.receive(desk.vendor.event({**said, "type": "app_mention"}, event_id="EvC")).status == 200
        house.drain()
        assert desk.vendor.visible("C1") == [], "nobody else sees it"
        private = desk.vendor.visible("C1", user="U1")
        assert len(private) == 1
        Browser(house.assistant).follow(link_in(private[0]))
        house.drain()
        assert desk.vendor.visible("C1") == ["<@U1>\nYou are U1."]


def test_the_local_gateway_passes_cookies_on_as_api_gateway_does() -> None:
    events: list[dict[str, Any]] = []

    class Echo(Functions):
        def invoke(self, name: str, event: dict[str, Any], *, seconds: float) -> Any:
            events.append(event)
            return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "", "cookies": ["a=1; Path=/", "b=2"]}

    got: list[tuple[str, str]] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/oauth/okta/start", "HTTP_COOKIE": "x=1; y=2", "wsgi.input": None}
    Gateway(Echo())({**environ, "wsgi.input": _Empty()}, lambda status, headers: got.extend(headers))
    assert events[0]["cookies"] == ["x=1", "y=2"]
    assert "cookie" not in events[0]["headers"]
    assert [v for k, v in got if k == "set-cookie"] == ["a=1; Path=/", "b=2"]


class _Empty:
    def read(self, size: int) -> bytes:
        return b""


def test_a_providers_slowness_is_not_the_plugins_fault(aws: Emulator) -> None:
    class Quick(BotPlugin):
        name = "quick"
        seconds = 0.2
        permissions = Permissions(tokens={"okta": ()})

        def handle_message(self, ctx: PluginContext, message: Message) -> str:
            return ctx.token("okta")

    class Slow:
        def token(self, message: Message, provider: str, scopes: Any = (), *, refused: str = "") -> str:
            threading.Event().wait(0.5)
            return "late but there"

        def account(self, message: Message, provider: str) -> Any:
            raise AssertionError

    house = House(aws)
    house.assistant._plugins = Plugins([make(Quick)], authority=Slow)
    house.say("hello")
    house.drain()
    assert house.turns()[-1]["text"] == "late but there"
    assert house.assistant.plugins.report()[0].state == "ready"
