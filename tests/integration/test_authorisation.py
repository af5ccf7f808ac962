"""A person allows access once: asked privately, sent there and back safely, and what they asked for goes on by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi.testclient import TestClient

from assistant import BotPlugin, Message, Permissions, PluginContext, Reply
from assistant.api import create_app as create_api
from assistant.dev.emulator import Emulator
from assistant.errors import NeedsAuthorisation
from assistant.observability import PLUGIN_FAULTS
from assistant.plugins import Plugins
from assistant.testing import make
from tests.simulators.identity import CLIENT, SECRET, Identity, Somebody
from tests.support.browser import Browser, Shown, changed, link_in
from tests.support.house import WEBCHAT_KEY, House

PUBLIC = "https://assistant.example"

SCOPES = {
    "feishu": ("calendar:calendar:readonly",),
    "dingtalk": ("openid",),
    "slack": ("search:read",),
    "microsoft": ("Calendars.Read",),
    "okta": ("calendar.read",),
}


class Diary(BotPlugin):
    """Reads the asker's diary, wherever it is: `diary at okta`."""

    name = "diary"
    permissions = Permissions(tokens={**SCOPES, "wecom": ()})

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        words = message.text.split()
        if words[:2] == ["diary", "at"]:
            return Reply(text=f"read with {ctx.token(words[2]).rpartition('-')[0]}")
        if words[:2] == ["who", "at"]:
            return Reply(text=f"you are {ctx.account(words[2]).id}")
        return None


def house_at(aws: Emulator, identity: Identity, **more: Any) -> House:
    own = {"client_id": CLIENT, "client_secret": SECRET, "api_base": identity.base}
    house = House(
        aws,
        public_url=PUBLIC,
        secrets={
            "oauth-feishu": own,
            "oauth-dingtalk": own,
            "oauth-slack": own,
            "oauth-microsoft": {**own, "tenant_id": "tenant-1"},
            "oauth-okta": {**own, "issuer": identity.base, "title": "Okta", "scopes": "openid offline_access calendar.read"},
            "oauth-wecom": {"corp_id": CLIENT, "agent_id": "1000002", "secret": SECRET, "api_base": identity.base},
        },
        **more,
    )
    house.assistant._plugins = Plugins(
        [make(Diary)], table=house.assistant.table, metrics=house.metrics, authority=lambda: house.assistant.authorisations
    )
    identity.clock = house.now
    identity.redirects = {f"{PUBLIC}/oauth/{name}/callback" for name in (*SCOPES, "wecom")}
    return house


def ask(house: House, text: str, **more: Any) -> dict[str, Any]:
    house.say(text, **more)
    house.drain()
    return house.turns()[-1]


def link_of(turn: Mapping[str, Any]) -> str:
    link = link_in(turn["text"])
    assert link.startswith(f"{PUBLIC}/oauth/"), turn["text"]
    return link


def texts(house: House) -> list[str]:
    return [t["text"] for t in house.turns()]


# --- the story, at each provider -----------------------------------------------------------------


@pytest.mark.parametrize("provider", list(SCOPES))
def test_what_was_blocked_goes_on_by_itself_once_it_is_allowed(aws: Emulator, identity: Identity, provider: str) -> None:
    house = house_at(aws, identity)
    asked = ask(house, f"diary at {provider}")
    assert "Only you see this message" in asked["text"]
    shown = Browser(house.assistant).follow(link_of(asked))
    assert (shown.status, "goes on by itself" in shown.text) == (200, True), shown.text
    assert house.drain() == 1
    vendor = "oidc" if provider == "okta" else provider
    assert house.turns()[-1]["text"] == f"read with {vendor}-access"
    assert house.turns()[-1]["question"] == f"diary at {provider}"
    assert house.drain() == 0
    assert ask(house, f"diary at {provider}")["text"] == f"read with {vendor}-access", "allowed once is allowed"
    assert len(house.turns()) == 3


def test_wecoms_sign_in_proves_who_somebody_is_and_gives_no_token(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    Browser(house.assistant).follow(link_of(ask(house, "who at wecom")))
    house.drain()
    assert texts(house)[-1] == "you are ann"
    assert ask(house, "diary at wecom")["text"] == "Fourteen days.", "a plug-in that wants a token of it is at fault"
    assert house.metrics.total(PLUGIN_FAULTS) == 1


def test_inside_wecoms_client_the_page_of_the_client_is_used(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    browser = Browser(house.assistant, agent="Mozilla/5.0 wxwork/4.1 MicroMessenger/7")
    link = link_of(ask(house, "who at wecom"))
    page = browser.get(link_in(browser.get(link).text))
    assert page.location.startswith("https://open.weixin.qq.com/connect/oauth2/authorize?")
    assert page.location.endswith("#wechat_redirect")
    assert len(dict(parse_qsl(urlsplit(page.location).query))["state"]) <= 128


def test_several_requests_that_wait_all_go_on_in_order(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    ask(house, "diary at okta please")
    link = link_of(ask(house, "diary at okta again"))
    Browser(house.assistant).follow(link)
    house.drain()
    assert sorted(t["question"] for t in house.turns()[2:]) == ["diary at okta again", "diary at okta please"]
    assert {t["text"] for t in house.turns()[2:]} == {"read with oidc-access"}


def test_pages_speak_the_askers_language(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    house.say("diary at feishu 我的日程有什么安排呢", user="u")
    house.drain()
    shown = Browser(house.assistant).follow(link_of(house.turns()[-1]))
    assert 'lang="zh-CN"' in shown.text
    assert "你要办的事会自动继续" in shown.text


# --- bad input: each has its sentence --------------------------------------------------------------


class Journey:
    """Up to the call-back's address, which a test then bends."""

    def __init__(self, aws: Emulator, identity: Identity, provider: str = "okta") -> None:
        self.house = house_at(aws, identity)
        self.identity = identity
        self.link = link_of(ask(self.house, f"diary at {provider}"))
        self.browser = Browser(self.house.assistant)
        self.address = self.browser.get(link_in(self.browser.get(self.link).text)).location

    def back(self) -> str:
        return self.browser.at_provider(self.address)

    def nothing_happened(self) -> bool:
        return self.house.drain() == 0 and "Only you see" in texts(self.house)[-1]


def sentence(shown: Shown) -> str:
    return shown.text.partition("</h1><p>")[2].partition("</p>")[0]


def test_a_callback_without_state_is_told_to_use_the_link(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    shown = journey.browser.get(changed(journey.back(), state=None))
    assert (shown.status, sentence(shown)[:36]) == (400, "This page is only reached from the l")
    assert journey.nothing_happened()


@pytest.mark.parametrize("state", ["x", "0" * 96, "0" * 500, "../../etc", "%00"])
def test_a_callback_with_a_made_up_state_belongs_to_no_request(aws: Emulator, identity: Identity, state: str) -> None:
    journey = Journey(aws, identity)
    shown = journey.browser.get(changed(journey.back(), state=state))
    assert (shown.status, "belongs to no request" in shown.text) == (400, True)


def test_every_changed_character_of_a_state_is_noticed(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    back = journey.back()
    state = dict(parse_qsl(urlsplit(back).query))["state"]
    for at in range(0, len(state), 5):
        bent = state[:at] + ("0" if state[at] != "0" else "1") + state[at + 1 :]
        assert journey.browser.get(changed(back, state=bent)).status in (400, 403)
    assert journey.nothing_happened()
    assert journey.browser.get(back).status == 200, "the real one still works"


def test_another_persons_callback_is_refused(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    victim = Browser(journey.house.assistant)
    victim.get(journey.link)  # has a cookie of its own
    shown = victim.get(journey.back())
    assert (shown.status, "another browser" in shown.text) == (403, True)
    assert Browser(journey.house.assistant).get(journey.back()).status == 403
    assert journey.nothing_happened()


def test_a_link_that_was_passed_on_does_not_lead_on_without_a_question(aws: Emulator, identity: Identity) -> None:
    """An attacker who sends their own link would otherwise get the victim's account."""
    journey = Journey(aws, identity)
    own = link_in(journey.browser.get(journey.link).text)
    assert "sure=" in own
    shown = Browser(journey.house.assistant).get(own)
    assert shown.status == 200
    assert "Nobody else should have sent you this link" in shown.text


def test_somebody_elses_account_is_not_taken(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity, "okta")
    house = journey.house
    identity.who = Somebody(ids={**Somebody().ids, "open_id": "ou_eve"}, name="Eve")
    message = feishu_message("diary at feishu")
    reply = house.assistant.authorisations.ask(message, NeedsAuthorisation("feishu"), turn="t", language="en")
    shown = Browser(house.assistant).follow(link_in(reply.text))
    assert (shown.status, "signed in to Feishu as Eve" in shown.text) == (403, True), shown.text
    assert house.assistant.authorisations.vault.grants(person(message)) == []


def test_a_callback_that_is_opened_again_does_nothing_again(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    back = journey.back()
    assert "You have allowed" in journey.browser.get(back).text
    assert journey.house.drain() == 1
    shown = journey.browser.get(back)
    assert (shown.status, "already" in sentence(shown)) == (200, True)
    assert journey.house.drain() == 0
    assert len(journey.house.turns()) == 2
    assert "already" in sentence(journey.browser.get(journey.link)), "nor does the link"


def test_no_is_no_and_can_become_yes(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    identity.allows = False
    back = journey.back()
    shown = journey.browser.get(back)
    assert "did not allow" in sentence(shown)
    assert journey.nothing_happened()
    assert "used already" in sentence(journey.browser.get(back))
    identity.allows = True
    assert "goes on by itself" in journey.browser.follow(link_in(shown.text)).text
    assert journey.house.drain() == 1


def test_a_callback_after_ten_minutes_is_late(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    back = journey.back()
    journey.house.offset += 601
    shown = journey.browser.get(back)
    assert (shown.status, "longer than ten minutes" in shown.text) == (400, True)
    assert "goes on by itself" in journey.browser.follow(link_in(shown.text)).text


def test_a_link_older_than_a_day_is_not_known(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    journey.house.offset += 86401
    assert journey.browser.get(journey.link).status == 404


@pytest.mark.parametrize("ticket", ["", "x", "0" * 32, "A" * 32, "'; DROP"])
def test_a_link_that_was_never_sent_is_not_known(aws: Emulator, identity: Identity, ticket: str) -> None:
    house = house_at(aws, identity)
    shown = Browser(house.assistant).get(changed(f"{PUBLIC}/oauth/okta/start", ticket=ticket))
    assert (shown.status, "not known here" in shown.text) == (404, True)


def test_a_provider_that_is_down_between_code_and_token_loses_nothing(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    identity.fail("POST /token", status=503)
    shown = journey.browser.get(journey.back())
    assert (shown.status, "Nothing is lost" in shown.text) == (503, True)
    assert journey.nothing_happened()
    assert "goes on by itself" in journey.browser.follow(link_in(shown.text)).text
    assert journey.house.drain() == 1


def test_a_provider_that_answers_nonsense_is_down(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    identity.fail("POST /token", status=200, body="<html>")
    assert journey.browser.get(journey.back()).status == 503


@pytest.mark.parametrize(("seconds", "said"), [(100, "goes on by itself"), (-100, "goes on by itself"), (300, "did not accept")])
def test_clocks_may_differ_by_two_minutes_and_not_by_more(aws: Emulator, identity: Identity, seconds: int, said: str) -> None:
    journey = Journey(aws, identity)
    identity.skew = seconds
    assert said in journey.browser.get(journey.back()).text


def test_less_than_asked_is_named_and_the_request_waits_for_the_rest(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    identity.grants = lambda scopes: tuple(s for s in scopes if s != "calendar.read")
    shown = journey.browser.get(journey.back())
    assert "Missing: calendar.read" in shown.text
    assert journey.house.drain() == 0
    identity.grants = lambda scopes: scopes
    assert "goes on by itself" in journey.browser.follow(link_in(shown.text)).text
    assert journey.house.drain() == 1
    assert texts(journey.house)[-1] == "read with oidc-access"


@pytest.mark.parametrize(
    "bend",
    [
        {"nonce": "of-another-request"},
        {"aud": "another-client"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"sub": None},
    ],
)
def test_an_id_token_that_is_not_for_this_request_is_refused(aws: Emulator, identity: Identity, bend: dict[str, Any]) -> None:
    journey = Journey(aws, identity)
    identity.signed = lambda claims: identity.sign({k: v for k, v in (claims | bend).items() if v is not None})
    shown = journey.browser.get(journey.back())
    assert (shown.status, "did not accept" in shown.text) == (400, True)
    assert journey.nothing_happened()


def test_an_id_token_without_a_signature_is_refused(aws: Emulator, identity: Identity) -> None:
    import jwt

    journey = Journey(aws, identity)
    identity.signed = lambda claims: jwt.encode(claims, "", algorithm="none")
    assert journey.browser.get(journey.back()).status == 400
    assert journey.nothing_happened()


def test_a_link_preview_changes_nothing(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity, "okta")
    for _ in range(3):
        Browser(journey.house.assistant).get(journey.link)
    assert "goes on by itself" in journey.browser.get(journey.back()).text


def test_pages_may_load_nothing_and_be_framed_by_nobody(aws: Emulator, identity: Identity) -> None:
    journey = Journey(aws, identity)
    shown = journey.browser.get(journey.back())
    assert shown.headers is not None
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"
    assert "<script" not in shown.text
    assert list(journey.browser.cookies) == ["__Host-assistant-oauth"]


def test_a_name_from_the_provider_cannot_put_markup_on_the_page(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    message = replace(feishu_message("diary at feishu"), sender="ou_bob")
    identity.who = Somebody(name="<img src=x onerror=alert(1)>")
    reply = house.assistant.authorisations.ask(message, NeedsAuthorisation("feishu"), turn="t", language="en")
    shown = Browser(house.assistant).follow(link_in(reply.text))
    assert shown.status == 403
    assert "<img" not in shown.text


def test_a_provider_that_is_not_set_up_is_said_and_nobody_is_sent_anywhere(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    del house.secrets["oauth-okta"]
    turn = ask(house, "diary at okta")
    assert "not set up here yet" in turn["text"]
    assert "http" not in turn["text"]


# --- afterwards --------------------------------------------------------------------------------------


def test_what_was_allowed_is_listed_and_taken_back_in_the_chat(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    assert "not allowed me anything" in ask(house, "What have I allowed?")["text"]
    Browser(house.assistant).follow(link_of(ask(house, "diary at okta")))
    house.drain()
    listed = ask(house, "What have I allowed?")
    assert "**Okta** as Ann" in listed["text"]
    assert "calendar.read" in listed["text"]
    assert [b["text"] for b in listed["buttons"]] == ["Revoke Okta"]
    assert "revoked" in ask(house, "revoke okta")["text"]
    assert identity.revoked == ["oidc"], "the provider knows"
    assert "Only you see" in ask(house, "diary at okta")["text"]
    assert "还没有授权" in ask(house, "我授权了什么？")["text"]


def test_revoke_and_cancel_in_ordinary_sentences_are_left_alone(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    for text in ("revoke the contract with Miller", "取消明天的会议", "cancel my order"):
        assert ask(house, text)["text"] == "Fourteen days."


def test_a_grant_that_was_taken_back_at_the_provider_asks_again_once(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    Browser(house.assistant).follow(link_of(ask(house, "diary at feishu")))
    house.drain()
    identity.end_everything()
    house.offset += 7300
    asked = ask(house, "diary at feishu now")
    assert "does not accept your earlier permission" in asked["text"]
    tried = len([c for c in identity.calls if c.path == "/oauth/v3/token"])
    ask(house, "diary at feishu now please")
    assert len([c for c in identity.calls if c.path == "/oauth/v3/token"]) == tried, "what is gone is not tried again"
    Browser(house.assistant).follow(link_of(asked))
    house.drain()
    assert [t["text"] for t in house.turns()[-2:]] == ["read with feishu-access"] * 2


def test_the_callback_that_was_cut_off_before_it_queued_is_finished_by_a_reload(aws: Emulator, identity: Identity) -> None:
    from assistant.assembly import Assistant
    from assistant.secrets import GivenSecrets

    journey = Journey(aws, identity)
    house = journey.house
    broken = Assistant(
        aws.settings(public_url=PUBLIC).__class__(
            **{
                **{f: getattr(house.settings, f) for f in house.settings.__slots__},
                "turns_queue_url": f"{aws.endpoint}/1/nowhere",
            }
        ),
        secrets=GivenSecrets(house.secrets),
        client=house.recorder.client,
        clock=house.now,
    )
    back = journey.back()
    cut = Browser(broken)
    cut.cookies = journey.browser.cookies
    assert cut.get(back).status == 503
    assert house.drain() == 0
    assert "already" in sentence(journey.browser.get(back))
    assert house.drain() == 1
    assert texts(house)[-1] == "read with oidc-access"


def test_an_operator_sees_and_takes_back_what_somebody_allowed(aws: Emulator, identity: Identity) -> None:
    house = house_at(aws, identity)
    Browser(house.assistant).follow(link_of(ask(house, "diary at okta")))
    headers = {"authorization": f"Bearer {WEBCHAT_KEY}"}
    with TestClient(create_api(house.assistant), headers=headers) as http:
        providers = {p["name"] for p in http.get("/api/authorisations").json()["providers"]}
        assert providers == {"feishu", "dingtalk", "slack", "microsoft", "wecom"}
        [grant] = http.get("/api/authorisations", params={"person": "webchat:u"}).json()["grants"]
        assert (grant["provider"], grant["account"], grant["state"]) == ("okta", "Ann", "good")
        assert not {"access", "refresh"} & set(grant)
        assert http.get("/api/authorisations", params={"person": "ann"}).status_code == 400
        assert http.delete("/api/authorisations/webchat:u", params={"provider": "slack"}).status_code == 400
        assert http.delete("/api/authorisations/webchat:u").json() == {"revoked": [{"provider": "okta", "told": True}]}
        assert http.get("/api/authorisations", params={"person": "webchat:u"}).json() == {"grants": []}
        assert http.get("/api/authorisations", headers={"authorization": ""}).status_code == 401
    assert identity.revoked == ["oidc"]


def feishu_message(text: str) -> Message:
    return Message(
        kind="text", platform="feishu", channel="events", conversation="oc_1", sender="ou_ann", dedup_id="d1", text=text,
        tenant="t1", message_id="om_1", sent_at=1,
    )  # fmt: skip


def person(message: Message) -> Any:
    from assistant.oauth.authorisation import person_of

    return person_of(message)
