"""What the page's own routes do: signing in with a company account, keys within limits, other people's conversations, figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from assistant.access import AREAS, NotPermitted
from assistant.api import create_app
from assistant.charts import ASKED, Ask, Charts, CloudWatch, Local, Values
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting, ModelError, Refused, Unavailable, VerificationError
from assistant.oauth.vault import Account, Person, Tokens
from assistant.observability import ACK_TIME, TURN_FAILED, TURNS
from assistant.signin import BEGUN_SECONDS, SESSION_SECONDS, NotSignedIn, SignIn, read_roles, role_of
from tests.simulators.identity import CLIENT, SECRET, Identity
from tests.support.house import WEBCHAT_KEY, House, client

PUBLIC = "https://chat.acme.com"
ROLES = {
    "admin": ["groups=assistant-admins"],
    "operator": ["realm.roles=operators"],
    "user": ["email=ann@acme.com", "groups=staff"],
}
CALLBACK = f"{PUBLIC}/api/sign-in/okta/callback"


@pytest.fixture
def identity() -> Iterator[Identity]:
    with Identity() as made:
        made.redirects = {CALLBACK}
        yield made


@pytest.fixture
def house(aws: Emulator, identity: Identity) -> House:
    okta = {"client_id": CLIENT, "client_secret": SECRET, "issuer": identity.base, "title": "Okta"}
    made = House(aws, secrets={"oauth-okta": okta}, public_url=PUBLIC, sign_in="okta,gone", sign_in_roles=json.dumps(ROLES))
    identity.clock = made.now
    return made


@pytest.fixture
def http(house: House) -> Iterator[TestClient]:
    app = create_app(house.assistant)
    with TestClient(app, base_url=PUBLIC, headers={"authorization": f"Bearer {WEBCHAT_KEY}"}, follow_redirects=False) as made:
        yield made


def provider_says(identity: Identity, address: str) -> dict[str, str]:
    """What the provider sends back with, after somebody has agreed there."""
    answer = httpx.get(address)
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def in_groups(identity: Identity, *names: str, **claims: Any) -> None:
    identity.signed = lambda given: identity.sign(given | {"groups": list(names)} | claims)


def signed_in(house: House, identity: Identity) -> str:
    begun = house.assistant.sign_in.begin("okta")
    return house.assistant.sign_in.finish("okta", provider_says(identity, begun.address), browser=begun.browser)[0]


# --- signing in --------------------------------------------------------------------------------


def test_whoever_is_in_the_group_gets_its_role_and_a_session_that_scripts_cannot_read(
    house: House, identity: Identity, http: TestClient
) -> None:
    in_groups(identity, "staff", "assistant-admins")
    http.headers.pop("authorization")
    assert http.get("/api/sign-in").json() == {"providers": [{"name": "okta", "title": "Okta"}]}
    begun = http.get("/api/sign-in/okta")
    back = http.get("/api/sign-in/okta/callback", params=provider_says(identity, begun.headers["location"]))
    assert (back.status_code, back.headers["location"]) == (303, "/")
    [cookie] = [c for c in back.headers.get_list("set-cookie") if c.startswith("__Host-assistant=")]
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    who = http.get("/api/session").json()
    assert (who["name"], who["role"], who["person"], who["by"]) == ("Ann", "admin", "okta-sub-ann", "account")
    assert http.get("/api/keys").status_code == 200
    assert http.post("/api/rollout", json={"action": "halt"}).status_code == 403, "another site's page could have sent this"
    assert http.post("/api/rollout", json={"action": "halt"}, headers={"x-requested-with": "assistant"}).status_code == 200
    assert http.delete("/api/session", headers={"x-requested-with": "assistant"}).json() == {"ended": True}
    http.cookies.set("__Host-assistant", cookie.partition("=")[2].partition(";")[0])
    assert http.get("/api/session").status_code == 401, "signing out ends the session on the server"


def test_nothing_is_written_before_the_provider_has_answered(house: House, identity: Identity) -> None:
    house.recorder.take()
    house.assistant.sign_in.begin("okta")
    assert house.recorder.take() == []


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["assistant-admins", "staff"]}, "admin"),
        ({"groups": "staff"}, "user"),
        ({"realm": {"roles": ["operators"]}}, "operator"),
        ({"email": "ann@acme.com", "email_verified": True}, "user"),
        ({"email": "ann@acme.com"}, None),
        ({"email": "ann@acme.com", "email_verified": "true"}, None),
        ({"groups": [["assistant-admins"]]}, None),
        ({"groups": "xassistant-admins"}, None),
        ({"groups": True, "realm": "roles"}, None),
        ({}, None),
    ],
)
def test_a_role_comes_from_a_claim_and_from_nothing_else(claims: dict[str, Any], role: str | None) -> None:
    assert role_of(read_roles(json.dumps(ROLES)), claims) == role


@pytest.mark.parametrize("text", ["[", "[]", '{"king": ["a=b"]}', '{"admin": "a=b"}', '{"admin": ["*"]}', '{"admin": ["=b"]}'])
def test_rules_that_make_no_sense_are_refused_when_they_are_read(text: str) -> None:
    with pytest.raises(InvalidSetting, match="SIGN_IN_ROLES"):
        read_roles(text)


def test_an_account_without_a_role_gets_no_session(house: House, identity: Identity, http: TestClient) -> None:
    in_groups(identity, "visitors")
    begun = http.get("/api/sign-in/okta")
    back = http.get("/api/sign-in/okta/callback", params=provider_says(identity, begun.headers["location"]))
    assert back.headers["location"] == "/#problem=no-role"
    assert not [c for c in back.headers.get_list("set-cookie") if c.startswith("__Host-assistant=")]


def test_a_call_back_belongs_to_the_browser_that_began_and_works_for_ten_minutes(house: House, identity: Identity) -> None:
    in_groups(identity, "staff")
    sign_in: SignIn = house.assistant.sign_in
    begun, other = sign_in.begin("okta"), sign_in.begin("okta")
    said = provider_says(identity, begun.address)

    def problem(query: dict[str, str], browser: str) -> str:
        with pytest.raises(NotSignedIn) as caught:
            sign_in.finish("okta", query, browser=browser)
        return caught.value.problem

    assert problem(said, other.browser) == "other-browser"
    assert problem(said, "") == "other-browser"
    assert problem(said | {"state": "x"}, begun.browser) == "other-browser"
    assert problem(said | {"state": f"{'f' * 8}{said['state'][8:]}"}, begun.browser) == "other-browser", "its time is signed"
    assert problem({"state": said["state"], "error": "access_denied"}, begun.browser) == "denied"
    assert problem(said | {"code": "guessed"}, begun.browser) == "provider-refused"
    house.offset = BEGUN_SECONDS + 1
    assert problem(said, begun.browser) == "late"
    house.offset = 0
    sign_in.finish("okta", said, browser=begun.browser)
    assert problem(said, begun.browser) == "provider-refused", "a code works once"


@pytest.mark.parametrize("wrong", [{"nonce": "another"}, {"aud": "somebody else"}, {"iss": "https://evil.example"}, {"exp": 1}])
def test_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(house: House, identity: Identity, wrong: dict[str, Any]) -> None:
    in_groups(identity, "assistant-admins", **wrong)
    with pytest.raises(NotSignedIn, match="provider-refused"):
        signed_in(house, identity)


def test_a_provider_that_is_not_offered_signs_nobody_in(house: House, http: TestClient) -> None:
    for name in ("slack", "gone", "nonsense"):
        assert http.get(f"/api/sign-in/{name}").headers["location"] == "/#problem=not-configured"


def test_a_session_ends_by_itself_and_everywhere_once_its_person_is_erased(house: House, identity: Identity) -> None:
    in_groups(identity, "assistant-admins")
    token, other = signed_in(house, identity), signed_in(house, identity)
    there = house.another().sign_in
    assert there.identify(token, role="admin").name == "Ann"
    house.assistant.privacy.erase("webchat:okta-sub-ann")
    with pytest.raises(VerificationError):
        house.assistant.sign_in.identify(other, role="user")
    house.offset = 31
    with pytest.raises(VerificationError):
        there.identify(token, role="user")
    house.offset = 0
    third = signed_in(house, identity)
    house.offset = SESSION_SECONDS + 1
    with pytest.raises(VerificationError):
        house.assistant.sign_in.identify(third, role="user")


def test_sessions_stand_in_the_table_as_digests_and_cost_one_read_in_half_a_minute(
    aws: Emulator, house: House, identity: Identity
) -> None:
    in_groups(identity, "staff")
    token = signed_in(house, identity)
    assert token not in json.dumps(client(aws, "dynamodb").scan(TableName="assistant")["Items"], default=str)
    house.recorder.take()
    for _ in range(20):
        house.assistant.sign_in.identify(token, role="user")
    assert [c.operation for c in house.recorder.take()] == ["get_item"]
    with pytest.raises(NotPermitted):
        house.assistant.sign_in.identify(token, role="editor")


# --- keys --------------------------------------------------------------------------------------


def test_a_scope_lets_in_at_its_area_alone_and_read_means_read(house: House, http: TestClient) -> None:
    access = house.assistant.access
    _, secret = access.add(name="wall", role="admin", scopes=["figures", "rollout:read"])
    for area in AREAS:
        for change in (False, True):
            good = area == "figures" or (area == "rollout" and not change)
            who = access.identify(f"Bearer {secret}", role="user")
            assert who.reaches(area, change=change) is good
    assert http.post("/api/keys", json={"name": "x", "role": "user", "scopes": ["moon"]}).status_code == 400


def test_a_limited_key_makes_no_key_that_is_not(house: House, http: TestClient) -> None:
    _, secret = house.assistant.access.add(name="maker", role="admin", scopes=["keys", "figures"])
    limited = {"authorization": f"Bearer {secret}"}
    assert http.post("/api/keys", json={"name": "x", "role": "admin"}, headers=limited).status_code == 403
    assert http.post("/api/keys", json={"name": "x", "role": "admin", "scopes": ["audit"]}, headers=limited).status_code == 403
    wide, _ = house.assistant.access.add(name="wide", role="admin")
    assert http.post(f"/api/keys/{wide.id}/rotate", json={"overlap": 0}, headers=limited).status_code == 403
    made = http.post("/api/keys", json={"name": "x", "role": "admin", "scopes": ["figures:read"]}, headers=limited)
    assert made.status_code == 200


def test_a_key_that_ended_or_an_overlap_that_makes_no_sense_is_not_rotated(house: House, http: TestClient) -> None:
    made, _ = house.assistant.access.add(name="k", role="user", days=1)
    before = len(house.assistant.access.list())
    assert http.post(f"/api/keys/{made.id}/rotate", json={"overlap": -1}).status_code == 400
    assert http.post("/api/keys/none/rotate", json={}).status_code == 400
    assert len(house.assistant.access.list()) == before, "no key is left over"
    house.offset = 2 * 86400
    assert http.post(f"/api/keys/{made.id}/rotate", json={}).status_code == 400


# --- conversations, letters and consents of others -----------------------------------------------


def test_conversations_are_listed_newest_first_page_by_page_without_their_words(house: House, http: TestClient) -> None:
    for n in range(30):
        house.say(f"Secret {n}", user=f"u{n}", conversation=f"c{n}")
    house.drain()
    first = http.get("/api/archive").json()
    second = http.get("/api/archive", params={"cursor": first["cursor"]}).json()
    people = [c["person"] for c in first["conversations"] + second["conversations"]]
    assert sorted(people) == sorted(f"u{n}" for n in range(30))
    assert second["cursor"] == ""
    assert "Secret" not in json.dumps(first)
    [mine] = http.get("/api/archive", params={"person": "webchat:u7"}).json()["conversations"]
    assert mine["conversation"] == "c7"
    assert http.get("/api/archive", params={"platform": "slack"}).json()["conversations"] == []


def test_words_are_searched_and_read_only_with_a_reason_that_is_kept(house: House, http: TestClient) -> None:
    house.say("Where is my Parcel now?", user="ann", conversation="anns")
    house.drain()
    assert http.get("/api/archive", params={"words": "parcel"}).status_code == 400
    [found] = http.get("/api/archive", params={"words": "PARCEL now", "why": "ticket 4711"}).json()["conversations"]
    assert "Parcel" in found["extract"]
    assert http.get(f"/api/archive/{found['id']}").status_code == 400
    read = http.get(f"/api/archive/{found['id']}", params={"why": "ticket 4711"}).json()
    assert [(t["question"], t["text"]) for t in read["turns"]] == [("Where is my Parcel now?", "Fourteen days.")]
    acts = http.get("/api/audit", params={"what": "conversation"}).json()["acts"]
    assert [(a["what"], a["why"]) for a in acts] == [
        ("read conversation", "ticket 4711"),
        ("search conversations", "ticket 4711"),
    ]
    assert "arcel" not in json.dumps(acts)


@pytest.mark.parametrize(
    "forged", ["none", "e30", "WyJDI2Fub3RoZXIjd2ViY2hhdCNjIiwiRCNhbm90aGVyI3giXQ", "WyJLRVkjZGVmYXVsdCIsIkQjZGVmYXVsdCNhIl0"]
)
def test_an_id_made_by_hand_opens_nothing(house: House, http: TestClient, forged: str) -> None:
    for method in ("GET", "DELETE"):
        assert http.request(method, f"/api/archive/{forged}", params={"why": "curious"}).status_code == 404


def test_an_erased_conversation_leaves_no_trace_but_the_audit_entry(aws: Emulator, house: House, http: TestClient) -> None:
    house.say("Unique-word-one", user="ann", conversation="anns")
    house.say("Unique-word-two", user="ann", conversation="other")
    house.drain()
    [found] = [c for c in http.get("/api/archive").json()["conversations"] if c["conversation"] == "anns"]
    assert http.delete(f"/api/archive/{found['id']}", params={"why": "asked for"}).json()["cursor"] == ""
    left = json.dumps(client(aws, "dynamodb").scan(TableName="assistant")["Items"], default=str)
    assert "Unique-word-one" not in left
    assert "Unique-word-two" in left
    assert [c["conversation"] for c in http.get("/api/archive").json()["conversations"]] == ["other"]
    house.assistant.privacy.erase("webchat:ann")
    assert http.get("/api/archive").json()["conversations"] == []
    assert house.assistant.people.directory(house.settings.tenant) == []


def test_a_person_who_writes_again_after_a_month_stands_in_the_directory_once(house: House) -> None:
    for days in (0, 31, 62):
        house.offset = days * 86400
        house.say("Again", user="ann")
        house.drain()
    entries = house.another().people.directory(house.settings.tenant)
    assert [(e.platform, e.user) for e in entries] == [("webchat", "ann")]


def test_what_a_dead_letter_says_is_shown_with_a_reason(house: House, http: TestClient) -> None:
    house.model.answers = [ModelError("no")]
    house.say("It cannot be answered", user="ann")
    while records := house.batch():
        house.run(records)
    [letter] = http.get("/api/dead-letters").json()["letters"]
    assert "cannot be answered" not in json.dumps(letter)
    assert http.get(f"/api/dead-letters/{letter['id']}").status_code == 400
    assert http.get(f"/api/dead-letters/{letter['id']}", params={"why": "ticket 1"}).json()["text"] == "It cannot be answered"
    assert http.get("/api/dead-letters/none", params={"why": "ticket 1"}).status_code == 404
    assert len(http.get("/api/dead-letters").json()["letters"]) == 1, "looking takes nothing away"


def test_grants_of_everybody_are_listed_while_they_live(house: House, http: TestClient) -> None:
    vault = house.assistant.authorisations.vault
    for user in ("U1", "U2", "U3"):
        who = Person(house.settings.tenant, "slack", user)
        vault.store(who, "okta", Tokens(access="secret-token"), asked=["calendar.read"], account=Account(id="1", name="Ann"))
    house.assistant.table.delete(Person(house.settings.tenant, "slack", "U3").partition, "token#okta")  # as the TTL does
    listed = http.get("/api/authorisations", params={"everybody": "true"})
    assert [g["person"] for g in listed.json()["grants"]] == ["slack:U1", "slack:U2"]
    assert "secret-token" not in listed.text
    assert http.delete("/api/authorisations/slack:U1").status_code == 200
    assert [g["person"] for g in http.get("/api/authorisations", params={"everybody": "true"}).json()["grants"]] == ["slack:U2"]


# --- the audit log and the figures ---------------------------------------------------------------


def test_the_log_is_paged_without_a_gap_or_a_repeat_over_months(house: House, http: TestClient) -> None:
    for n in range(25):
        with house.assistant.audit.act("k1", f"act {n}"):
            pass
        house.offset += 2 * 86400
    seen: list[str] = []
    cursor = ""
    while True:
        page = http.get("/api/audit", params={"limit": 4, "before": cursor}).json()
        seen += [a["what"] for a in page["acts"]]
        if not (cursor := page["cursor"]):
            break
    assert seen == [f"act {n}" for n in reversed(range(25))]
    assert http.get("/api/audit", params={"before": "nonsense"}).status_code == 400


def test_figures_are_sums_shares_and_percentiles_of_what_was_measured(house: House) -> None:
    now = 1_800_000_000.0
    timed = [(now - 30, TURNS.name, 1.0, ""), (now - 30, TURNS.name, 1.0, ""), (now - 90, TURN_FAILED.name, 1.0, "")]
    timed += [(now - 30, ACK_TIME.name, float(ms), "") for ms in range(1, 101)]
    timed += [(now - 7200, TURNS.name, 100.0, "")]
    read = Charts(Local(timed), clock=lambda: now).read(hours=1)
    assert (read["whole"]["turns"], read["whole"]["failed"]) == (2, 1)
    assert read["whole"]["errors"] == pytest.approx(1 / 3)
    assert (read["whole"]["ack_p50"], read["whole"]["ack_p99"]) == (50, 99)
    assert read["whole"]["satisfied"] is None, "nobody had an opinion: that is not 0 %"
    assert len(read["series"]["turns"]) == 60
    assert [v for v in read["series"]["turns"] if v is not None] == [2]
    with pytest.raises(InvalidSetting, match="hours"):
        Charts(Local([])).read(hours=2)


class Watching:
    """CloudWatch as far as the charts use it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        """Two pages of data points."""
        self.asked.append(request)
        at = request["StartTime"]
        page = "NextToken" in request
        values = [{"Id": q["Id"], "Timestamps": [at], "Values": [7.0 if page else 3.0]} for q in request["MetricDataQueries"]]
        return {"MetricDataResults": values[:1] if page else values, **({} if page else {"NextToken": "n"})}


def test_cloudwatch_is_asked_once_for_everything_and_read_to_the_last_page() -> None:
    watching = Watching()
    read: dict[str, Values] = dict(CloudWatch(lambda: watching).read(ASKED, start=600, step=60, count=5))
    assert len(watching.asked) == 2
    assert read["turns"] == [7.0, None, None, None, None]
    assert read["failed"] == [3.0, None, None, None, None]
    asked = {q["Id"]: q["MetricStat"] for q in watching.asked[0]["MetricDataQueries"]}
    assert asked["ack_p99"]["Stat"] == "p99"
    assert asked["ack_p99"]["Metric"]["Dimensions"] == [{"Name": "service", "Value": "webhook"}]
    assert asked["turns"]["Metric"]["Dimensions"] == [{"Name": "service", "Value": "dialogue"}]


def test_figures_that_cannot_be_had_are_said_so(house: House) -> None:
    from botocore.exceptions import EndpointConnectionError

    class Silent:
        def get_metric_data(self, **request: Any) -> dict[str, Any]:
            raise EndpointConnectionError(endpoint_url="https://monitoring")

    with pytest.raises(Unavailable, match="no figures"):
        CloudWatch(Silent).read({"turns": Ask(TURNS, "Sum")}, start=0, step=60, count=1)


def test_the_set_up_names_every_address_and_no_secret(house: House, http: TestClient) -> None:
    said = http.get("/api/setup")
    slack = next(p for p in said.json()["platforms"] if p["name"] == "slack")
    assert f"{PUBLIC}/webhook/slack/events" in slack["callbacks"]
    assert said.json()["sign_in"] == [{"name": "okta", "title": "Okta", "redirect": CALLBACK}]
    assert SECRET not in said.text


def test_where_somebody_stands_is_told_without_taking_a_seat(house: House, http: TestClient) -> None:
    house.assistant.rollouts.set({"capacity": 1, "share": 1.0, "people": []}, ring="internal", who="Ann", why="x")
    assert http.get("/api/rollout/where", params={"person": "slack:U1"}).json()["ring"] == "internal"
    assert http.get("/api/rollout/where", params={"person": "slack:U2"}).json()["ring"] == "internal"
    assert http.get("/api/rollout/where", params={"person": "U2"}).status_code == 400
    with pytest.raises(Refused):
        house.assistant.archive.read("none")
