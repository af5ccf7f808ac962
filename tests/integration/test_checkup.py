"""The doctor about plug-ins and about acting as the asker; what happens when somebody leaves; refreshes that fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from assistant import BotPlugin, Message, Permissions, PluginContext, tool
from assistant.checkup import authorisation, plugins
from assistant.dev.emulator import Emulator
from assistant.doctor import report
from assistant.errors import Unavailable
from assistant.messages import PERSON_LEFT
from assistant.oauth.authorisation import person_of
from assistant.oauth.providers import Providers
from assistant.oauth.vault import Refused
from assistant.observability import REFRESH_FAILED
from assistant.platforms import Finding
from assistant.platforms.dingtalk_events import event_message
from assistant.platforms.feishu_events import Bot, event_of, messages_of
from assistant.platforms.slack_events import NOBODY, from_events
from assistant.platforms.wecom_events import app_message
from assistant.plugins import FAULTS, Plugins
from assistant.secrets import GivenSecrets
from assistant.testing import make
from tests.simulators.identity import CLIENT, SECRET, Identity
from tests.support.browser import Browser, link_in
from tests.support.house import House

PUBLIC = "https://assistant.example"


class Diary(BotPlugin):
    """Reads a diary as the asker."""

    name = "diary"
    permissions = Permissions(tokens={"okta": ("calendar.read",)})

    def handle_message(self, ctx: PluginContext, message: Message) -> str | None:
        if message.text == "break":
            raise RuntimeError("on purpose")
        return ctx.token("okta")[:4] if message.text == "diary" else None


class Also(BotPlugin):
    """Finds."""

    name = "also"

    @tool
    def find(self) -> str:
        """Finds"""
        return ""


class Third(Also):
    name = "third"


@pytest.fixture
def identity() -> Iterator[Identity]:
    with Identity() as made:
        made.redirects = {f"{PUBLIC}/oauth/okta/callback"}
        yield made


def house_with(aws: Emulator, identity: Identity | None, *more: BotPlugin) -> House:
    secrets = {"oauth-okta": {"client_id": CLIENT, "client_secret": SECRET, "issuer": identity.base}} if identity else {}
    house = House(aws, secrets=secrets, public_url=PUBLIC)
    if identity:
        identity.clock = house.now
    house.assistant._plugins = Plugins(
        [make(Diary), *more],
        table=house.assistant.table,
        records=house.assistant.plugin_records,
        authority=lambda: house.assistant.authorisations,
        metrics=house.metrics,
    )
    return house


def say(house: House, text: str) -> str:
    house.say(text)
    house.drain()
    return str(house.turns()[-1]["text"])


def allow(house: House) -> None:
    Browser(house.assistant).follow(link_in(say(house, "diary")))
    house.drain()


def states(found: list[Finding]) -> dict[str, str]:
    return {f.check: f.state for f in found}


def text_of(found: list[Finding], check: str) -> str:
    return next(f"{f.detail} / {f.fix}" for f in found if f.check == check)


# --- the doctor ----------------------------------------------------------------------------------------


def test_the_doctor_names_what_is_left_out_and_how_to_bring_it_back(aws: Emulator, identity: Identity) -> None:
    house = house_with(aws, identity, make(Also), make(Third))
    for _ in range(FAULTS):
        say(house, "break")
    found = plugins(house.assistant)
    assert states(found)["plug-in diary 0.1.0"] == "fault"
    assert "raised RuntimeError / mend the cause, then: assistant plugin restore diary" in text_of(found, "plug-in diary 0.1.0")
    assert "its tool 'find' clashes" in text_of(found, "plug-in third 0.1.0")
    assert any(line.finding.check == "plug-in diary 0.1.0" for line in report(house.assistant))


def test_the_doctor_says_which_address_to_register_and_which_scopes_are_asked_for(aws: Emulator, identity: Identity) -> None:
    found = authorisation(house_with(aws, identity).assistant)
    assert states(found) == {"authorisation at okta": "ok"}
    told = text_of(found, "authorisation at okta")
    assert "calendar.read" in told
    assert f"{PUBLIC}/oauth/okta/callback" in told


def test_the_doctor_says_what_lacks(aws: Emulator, identity: Identity) -> None:
    found = authorisation(house_with(aws, None).assistant)
    assert states(found)["authorisation at okta"] == "fault"
    assert "store the secret oauth-okta" in text_of(found, "authorisation at okta")
    house = house_with(aws, identity)
    identity.fail("GET /.well-known/openid-configuration", status=503)
    assert "answered 503" in text_of(authorisation(house.assistant), "authorisation at okta")
    local = House(aws, public_url="http://127.0.0.1:1")
    local.assistant._plugins = Plugins([make(Diary)])
    assert "over HTTPS alone" in text_of(authorisation(local.assistant), "authorisation address")


def test_scopes_that_a_provider_did_not_grant_are_told(aws: Emulator, identity: Identity) -> None:
    house = house_with(aws, identity)
    identity.grants = lambda scopes: tuple(s for s in scopes if s != "calendar.read")
    allow(house)
    assert "missing: calendar.read" in text_of(authorisation(house.assistant), "authorisation at okta, scopes")
    house.offset += 90_000
    assert "authorisation at okta, scopes" not in states(authorisation(house.assistant))


# --- refreshes that fail ---------------------------------------------------------------------------------


def test_a_refresh_that_fails_is_counted_told_and_costs_nobody_their_permission(aws: Emulator, identity: Identity) -> None:
    house = house_with(aws, identity)
    allow(house)
    assert say(house, "diary") == "oidc"
    house.offset += 7300
    identity.fail("POST /token", times=9, status=503)
    house.say("diary")
    house.run(house.batch())
    assert house.metrics.total(REFRESH_FAILED) >= 1
    assert "answered 503" in text_of(authorisation(house.assistant), "authorisation at okta, refresh")
    identity._faults.clear()
    house.drain()
    assert house.turns()[-1]["text"] == "oidc"


@pytest.mark.parametrize(
    ("vendor", "path", "ours", "theirs"),
    [
        ("okta", "POST /token", {"error": "invalid_client"}, {"error": "invalid_grant"}),
        ("okta", "POST /token", {"error": "invalid_scope"}, {"error": "invalid_grant"}),
        (
            "slack",
            "POST /api/oauth.v2.access",
            {"ok": False, "error": "bad_client_secret"},
            {"ok": False, "error": "token_revoked"},
        ),
        ("feishu", "POST /oauth/v3/token", {"code": 20002}, {"code": 20064}),
        ("dingtalk", "POST /v1.0/oauth2/userAccessToken", {"code": "invalidClientIdOrSecret"}, {"code": "invalidRefreshToken"}),
    ],
)
def test_our_own_mistake_at_a_provider_ends_no_grant(
    identity: Identity, vendor: str, path: str, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    own = {"client_id": CLIENT, "client_secret": SECRET, "api_base": identity.base, "issuer": identity.base}
    provider = Providers(GivenSecrets({f"oauth-{vendor}": own})).get(vendor)
    for body, error in ((ours, Unavailable), (theirs, Refused)):
        identity.fail(path, status=400 if vendor == "dingtalk" else 200, body=json.dumps(body))
        with pytest.raises(error):
            provider.refresh("refresh-1")


# --- when somebody leaves ----------------------------------------------------------------------------------


def test_what_somebody_allowed_is_taken_back_when_they_leave(aws: Emulator, identity: Identity) -> None:
    house = house_with(aws, identity)
    allow(house)
    consents = house.assistant.authorisations
    message = Message(kind="other", platform="webchat", channel="messages", conversation="u", sender="u", dedup_id="left",
                      tenant="default", sent_at=1, action_key=PERSON_LEFT)  # fmt: skip
    assert consents.vault.grants(person_of(message))
    house.assistant.queue.publish([message])
    house.drain()
    assert consents.vault.grants(person_of(message)) == []
    assert identity.revoked == ["oidc"], "the provider knows"


def test_each_platforms_word_for_somebody_who_left_is_understood() -> None:
    feishu = event_of({"schema": "2.0", "header": {"event_id": "e1", "event_type": "contact.user.deleted_v3", "tenant_key": "t"},
                        "event": {"object": {"open_id": "ou_1"}}})  # fmt: skip
    [one] = messages_of(feishu, bot=Bot())
    two = event_message(
        json.dumps({"EventType": "user_leave_org", "UserId": ["u1", "u2"], "CorpId": "c"}).encode(), robot_code="r"
    )
    three = app_message(
        b"<xml><ToUserName>c</ToUserName><FromUserName>sys</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>"
        b"<Event>change_contact</Event><ChangeType>delete_user</ChangeType><UserID>bob</UserID></xml>",
        corp_id="c",
    )
    event = {"type": "user_change", "user": {"id": "U1", "deleted": True}}
    [four] = from_events({"type": "event_callback", "event_id": "Ev1", "team_id": "T", "event": event}, NOBODY).messages
    assert two is not None
    assert three is not None
    told = [(m.kind, m.action_key, m.sender, m.tenant) for m in (one, two, three, four)]
    assert told == [
        ("other", PERSON_LEFT, "ou_1", "t"),
        ("other", PERSON_LEFT, "u1", "c"),
        ("other", PERSON_LEFT, "bob", "c"),
        ("other", PERSON_LEFT, "U1", "T"),
    ]
    assert two.action_value == ["u1", "u2"]
