"""Who may do what over HTTP: every route with every identity, keys from their making to their end, and the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from assistant.access import REFRESH_SECONDS, Access, Identity, TooMany
from assistant.api import create_app
from assistant.dev.cli import main
from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.doors import Needs
from tests.integration.test_api import ApiFunction
from tests.support.house import WEBCHAT_KEY, House, client, down


@pytest.fixture
def house(aws: Emulator) -> House:
    return House(aws)


@pytest.fixture
def http(house: House) -> Iterator[TestClient]:
    with TestClient(create_app(house.assistant), headers={"authorization": f"Bearer {WEBCHAT_KEY}"}) as made:
        yield made


@pytest.fixture
def base(house: House) -> Iterator[str]:
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.shutdown()
    server.server_close()
    listening.close()


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


# --- the matrix --------------------------------------------------------------------------------

ROUTES: dict[tuple[str, str], tuple[str, str, Any]] = {
    # (method, path of the route): (who is let in, a request, its body)
    ("GET", "/health"): ("anybody", "/health", None),
    ("GET", "/"): ("anybody", "/", None),
    ("GET", "/console/{path:path}"): ("anybody", "/console/app.js", None),
    ("GET", "/v1/models"): ("user", "/v1/models", None),
    ("GET", "/v1/models/{name}"): ("user", "/v1/models/assistant", None),
    ("POST", "/v1/chat/completions"): ("user", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    ("GET", "/api/conversations/{conversation}/turns"): ("user", "/api/conversations/c/turns", None),
    ("POST", "/api/conversations/{conversation}/messages"): (
        "user", "/api/conversations/c/messages", {"user": "u", "text": "Hi"},
    ),
    ("GET", "/api/knowledge/{path:path}"): ("editor", "/api/knowledge/gaps", None),
    ("POST", "/api/knowledge/{path:path}"): ("editor", "/api/knowledge/audience?audience=everyone&folder=hr", {}),
    ("PUT", "/api/knowledge/{path:path}"): ("editor", "/api/knowledge/files?name=a.md", "# Leave"),
    ("DELETE", "/api/knowledge/{path:path}"): ("editor", "/api/knowledge/gaps?id=1", None),
    ("GET", "/api/dead-letters"): ("operator", "/api/dead-letters", None),
    ("POST", "/api/dead-letters/replay"): ("operator", "/api/dead-letters/replay", {"ids": ["none"]}),
    ("GET", "/api/doctor"): ("operator", "/api/doctor", None),
    ("POST", "/api/doctor/fix"): ("admin", "/api/doctor/fix", {}),
    ("GET", "/api/authorisations"): ("operator", "/api/authorisations?person=webchat:ann", None),
    ("DELETE", "/api/authorisations/{person}"): ("admin", "/api/authorisations/webchat:ann", None),
    ("GET", "/api/workspaces"): ("operator", "/api/workspaces", None),
    ("POST", "/api/workspaces"): ("admin", "/api/workspaces", None),
    ("DELETE", "/api/workspaces/{team}"): ("admin", "/api/workspaces/T0NOWHERE", None),
    ("GET", "/api/rollout"): ("operator", "/api/rollout", None),
    ("GET", "/api/rollout/history"): ("operator", "/api/rollout/history", None),
    ("GET", "/api/rollout/plan"): ("operator", "/api/rollout/plan", None),
    ("GET", "/api/rollout/prompts"): ("operator", "/api/rollout/prompts", None),
    ("POST", "/api/rollout/prompts"): ("admin", "/api/rollout/prompts", {"name": "v2", "text": "Be brief."}),
    ("GET", "/api/rollout/lists"): ("operator", "/api/rollout/lists", None),
    ("POST", "/api/rollout/lists"): ("admin", "/api/rollout/lists", {"name": "sales", "people": ["slack:U1"]}),
    ("POST", "/api/rollout"): ("admin", "/api/rollout", {"action": "set", "changes": {"outside": "word"}}),
    ("PUT", "/api/conversations/{conversation}/files"): ("user", "/api/conversations/c/files?name=a.txt", "Text"),
    ("GET", "/api/conversations/{conversation}/files/{number}"): ("user", "/api/conversations/c/files/0?turn=turn%231", None),
    ("GET", "/api/files/{path:path}"): ("anybody", "/api/files/made-by-hand", None),
    ("GET", "/api/plugins"): ("operator", "/api/plugins", None),
    ("GET", "/api/plugins/{name}"): ("operator", "/api/plugins/help", None),
    ("PUT", "/api/plugins/{name}/config"): ("admin", "/api/plugins/help/config", {"config": {}}),
    ("DELETE", "/api/plugins/{name}/config"): ("admin", "/api/plugins/help/config", None),
    ("POST", "/api/plugins/{name}/restore"): ("operator", "/api/plugins/help/restore", {"why": "mended"}),
    ("GET", "/api/rollout/where"): ("operator", "/api/rollout/where?person=slack:U1", None),
    ("GET", "/api/sign-in"): ("anybody", "/api/sign-in", None),
    ("GET", "/api/sign-in/{provider}"): ("anybody", "/api/sign-in/okta", None),
    ("GET", "/api/sign-in/{provider}/callback"): ("anybody", "/api/sign-in/okta/callback", None),
    ("GET", "/api/session"): ("user", "/api/session", None),
    ("DELETE", "/api/session"): ("user", "/api/session", None),
    ("GET", "/api/menu"): ("user", "/api/menu", None),
    ("GET", "/api/setup"): ("operator", "/api/setup", None),
    ("GET", "/api/figures"): ("operator", "/api/figures?hours=1", None),
    ("GET", "/api/archive"): ("admin", "/api/archive", None),
    ("GET", "/api/archive/{id}"): ("admin", "/api/archive/none?why=complaint", None),
    ("DELETE", "/api/archive/{id}"): ("admin", "/api/archive/none?why=complaint", None),
    ("GET", "/api/dead-letters/{id}"): ("admin", "/api/dead-letters/none?why=complaint", None),
    ("GET", "/api/authorisations/mine"): ("user", "/api/authorisations/mine", None),
    ("DELETE", "/api/authorisations/mine/{provider}"): ("user", "/api/authorisations/mine/slack", None),
    ("POST", "/api/keys/{id}/rotate"): ("admin", "/api/keys/spare/rotate", {"overlap": 60}),
    ("POST", "/api/init"): ("admin", "/api/init", None),
    ("GET", "/api/keys"): ("admin", "/api/keys", None),
    ("POST", "/api/keys"): ("admin", "/api/keys", {"name": "n", "role": "user"}),
    ("DELETE", "/api/keys/{id}"): ("admin", "/api/keys/spare", None),
    ("GET", "/api/people/{person}"): ("admin", "/api/people/slack:U1", None),
    ("DELETE", "/api/people/{person}"): ("admin", "/api/people/slack:U1", None),
    ("GET", "/api/audit"): ("admin", "/api/audit", None),
    ("GET", "/api/audit/verify"): ("admin", "/api/audit/verify", None),
}  # fmt: skip

STRANGERS = ("none", "wrong", "expired", "revoked", "another tenant")
KNOWN = ("user", "another user", "editor", "operator", "admin", "web chat", "signed in", "cookie alone", "figures only")
LET_IN: dict[str, set[str]] = {
    "anybody": {*STRANGERS, *KNOWN},
    "user": set(KNOWN),
    "editor": {"editor", "admin", "web chat", "signed in", "cookie alone", "figures only"},
    "operator": {"operator", "admin", "web chat", "signed in", "cookie alone", "figures only"},
    "admin": {"admin", "web chat", "signed in", "cookie alone", "figures only"},
}
"""By role: who gets past it. What a session without our page's header, and a key's scopes, refuse comes on top."""

NOT_FOUND = {
    ("GET", "/api/archive/{id}"),
    ("DELETE", "/api/archive/{id}"),
    ("GET", "/api/dead-letters/{id}"),
    ("GET", "/api/conversations/{conversation}/files/{number}"),
}
"""The requests name what is not there, and whoever is let in hears just that."""
NOT_SET_UP = {("POST", "/api/workspaces"), ("DELETE", "/api/workspaces/{team}")}
"""Slack is not set up in this house: whoever is let in hears what is missing."""
NOBODYS = {("DELETE", "/api/authorisations/mine/{provider}")}
"""Of a key that belongs to nobody there is nothing to take back."""


def expected(name: str, row: tuple[str, str], needs: str, area: str) -> set[int]:
    """The statuses that identity `name` may get."""
    method, _ = row
    if row[1] == "/api/files/{path:path}":
        return {403, 404}  # the address itself is the key, and this one was made by hand
    if needs == "anybody":
        return {200}
    if name in STRANGERS:
        return {401}
    others = row[1].startswith("/api/conversations/{conversation}/") and row not in NOT_FOUND
    limited = name == "figures only" and not (area in ("", "figures") and (area == "" or method == "GET"))
    forged = name == "cookie alone" and method != "GET"
    if name not in LET_IN[needs] or limited or forged or (name == "another user" and others):
        return {403}
    if row in NOT_SET_UP:
        return {400}
    if row in NOBODYS:
        return {400}
    return {404} if row in NOT_FOUND else {200, 202}


def test_every_route_lets_in_whom_it_should_and_nobody_else(
    aws: Emulator, house: House, http: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    routes = {
        (method, route.path)
        for route in http.app.routes  # type: ignore[attr-defined]  # a Starlette application has them
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == set(ROUTES), "a route without a row in this table, or a row without a route"
    keys = {
        role: house.assistant.access.add(name=role, role=role, per_minute=0)[1]
        for role in ("user", "editor", "operator", "admin")
    }
    _, keys["expired"] = house.assistant.access.add(name="short", role="admin", days=0.0001)
    gone, keys["revoked"] = house.assistant.access.add(name="gone", role="admin")
    house.assistant.access.revoke(gone.id)
    keys["another tenant"] = Access(house.assistant.table, tenant="another").add(name="a", role="admin")[1]
    keys |= {"web chat": WEBCHAT_KEY, "wrong": keys["admin"][:-1] + "x", "none": "", "signed in": "", "cookie alone": ""}
    _, keys["another user"] = house.assistant.access.add(name="Bob", role="user", person="bob")
    _, keys["figures only"] = house.assistant.access.add(name="wall", role="admin", scopes=["figures:read"])
    boss = Identity(id="okta:1", name="Ann", role="admin", person="")
    areas = {
        (method, route.path): next((d.call.area for d in route.dependant.dependencies if isinstance(d.call, Needs)), "")
        for route in http.app.routes  # type: ignore[attr-defined]  # as above
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    house.say("Of Ann alone", user="ann")
    house.drain()
    house.offset = 60
    names = [*STRANGERS, *KNOWN]
    lines = [f"  {'':53}" + " ".join(f"{n:>8.8}" for n in names)]
    wrong: list[str] = []
    for (method, path), (needs, url, body) in sorted(ROUTES.items(), key=lambda row: (row[1][0], row[0][1], row[0][0])):
        statuses = []
        for name in names:
            given = {"content": body} if isinstance(body, str) else {"json": body} if body is not None else {}
            at = url
            if path.startswith("/api/keys/{id}"):
                at = at.replace("spare", house.assistant.access.add(name="spare", role="user")[0].id)
            headers = {"authorization": f"Bearer {keys[name]}" if keys[name] else ""}
            http.cookies.clear()
            if name in ("signed in", "cookie alone"):
                http.cookies.set("assistant-session", house.assistant.sign_in.remember(boss))
                headers |= {"x-requested-with": "assistant"} if name == "signed in" else {}
            answer = http.request(method, at, headers=headers, **given)
            statuses.append(answer.status_code)
            if answer.status_code not in expected(name, (method, path), needs, areas[method, path]):
                wrong.append(f"{name}: {method} {at} → {answer.status_code} {answer.text[:200]}")
        lines.append(f"  {method:6} {path:46}" + " ".join(f"{s:8}" for s in statuses))
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert not wrong, "\n".join(wrong)


# --- keys --------------------------------------------------------------------------------------


def test_a_secret_is_shown_once_and_kept_nowhere(aws: Emulator, http: TestClient) -> None:
    made = http.post("/api/keys", json={"name": "HR portal", "role": "user"}).json()
    secret = made["secret"]
    assert http.get("/v1/models", headers=bearer(secret)).status_code == 200
    assert secret not in http.get("/api/keys").text
    stored = client(aws, "dynamodb").scan(TableName="assistant")["Items"]
    assert any("KEY#" in str(i["pk"]) for i in stored)
    assert secret not in json.dumps(stored, default=str)
    assert secret.split("-", 2)[2] not in json.dumps(stored, default=str)


def test_a_key_is_changed_for_another_without_a_gap(house: House) -> None:
    access = house.assistant.access
    old, old_secret = access.add(name="portal", role="user")
    _, new_secret = access.add(name="portal", role="user")
    access.revoke(old.id, after=3600)
    for secret in (old_secret, new_secret):
        assert access.identify(f"Bearer {secret}", role="user").name == "portal"
    house.offset = 3601
    assert access.identify(f"Bearer {new_secret}", role="user").name == "portal"
    with pytest.raises(Exception, match="expired"):
        access.identify(f"Bearer {old_secret}", role="user")


def test_revoking_never_makes_a_key_live_longer(house: House) -> None:
    access = house.assistant.access
    made, _ = access.add(name="short", role="user", days=1)
    assert access.revoke(made.id, after=30 * 86400).ends == made.ends


def test_a_revoked_key_is_dead_in_every_instance_within_half_a_minute(house: House) -> None:
    here, there = house.assistant.access, house.another().access
    made, secret = here.add(name="k", role="user")
    assert there.identify(f"Bearer {secret}", role="user").id == made.id
    here.revoke(made.id)
    with pytest.raises(Exception, match="expired"):
        here.identify(f"Bearer {secret}", role="user")
    house.offset = REFRESH_SECONDS
    with pytest.raises(Exception, match="expired"):
        there.identify(f"Bearer {secret}", role="user")


def test_a_warm_request_costs_no_call_whatever_key_it_brings(house: House) -> None:
    access = house.assistant.access
    made, secret = access.add(name="k", role="user")
    access.identify(f"Bearer {secret}", role="user")
    house.recorder.take()
    for _ in range(50):
        access.identify(f"Bearer {secret}", role="user")
        with pytest.raises(Exception, match="not known"):
            access.identify(f"Bearer ak-{made.id}-guessed", role="user")
        with pytest.raises(Exception, match="not known"):
            access.identify("Bearer ak-ffffffffffff-guessed", role="user")
    assert house.recorder.take() == []


def test_when_a_key_was_used_is_known_to_the_hour(house: House) -> None:
    access = house.assistant.access
    _, secret = access.add(name="k", role="user")
    access.identify(f"Bearer {secret}", role="user")
    first = access.list()[0].used
    assert first
    house.offset = 1800
    access.identify(f"Bearer {secret}", role="user")
    assert access.list()[0].used == first
    house.offset = 3700
    access.identify(f"Bearer {secret}", role="user")
    assert access.list()[0].used > first


def test_a_key_that_asks_too_often_is_told_when_to_come_back(house: House, http: TestClient) -> None:
    _, secret = house.assistant.access.add(name="busy", role="user", per_minute=5)
    answers = [http.get("/api/conversations/c/turns", headers=bearer(secret)) for _ in range(7)]
    assert [a.status_code for a in answers] == [200] * 5 + [429] * 2
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    house.offset = 61
    assert http.get("/api/conversations/c/turns", headers=bearer(secret)).status_code == 200


def test_instances_share_a_keys_limit(house: House) -> None:
    access = house.assistant.access
    _, secret = access.add(name="busy", role="user", per_minute=20)
    instances = [house.another().access for _ in range(4)]
    house.offset = 60 - house.now() % 60  # a minute begins
    outcomes = [_outcome(instance, secret) for _ in range(20) for instance in instances]
    let_through = outcomes.count("in")
    assert 20 <= let_through <= 28, "each instance may be a tenth of the limit late"


def _outcome(access: Access, secret: str) -> str:
    try:
        access.identify(f"Bearer {secret}", role="user")
    except TooMany:
        return "too many"
    return "in"


def test_openais_client_hears_of_keys_in_its_own_words(house: House, base: str) -> None:
    _, slow = house.assistant.access.add(name="slow", role="user", per_minute=1)
    with openai.OpenAI(api_key=slow, base_url=f"{base}/v1", max_retries=0) as official:
        assert [m.id for m in official.models.list()] == ["assistant"]
        with pytest.raises(openai.RateLimitError) as caught:
            official.models.list()
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.code == "rate_limit_exceeded"
    with (
        openai.OpenAI(api_key="ak-ffffffffffff-x", base_url=f"{base}/v1", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "x", "role": "king"}, "king"),
        ({"name": "  ", "role": "user"}, "name"),
        ({"name": "x", "role": "user", "days": -1}, "days"),
        ({"name": "x", "role": "user", "per_minute": -1}, "per_minute"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_by_name(http: TestClient, asked: dict[str, Any], said: str) -> None:
    answer = http.post("/api/keys", json=asked)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert http.delete("/api/keys/unknown").status_code == 400


def test_a_user_key_chats_through_the_api_as_the_page_does(house: House, http: TestClient) -> None:
    _, secret = house.assistant.access.add(name="portal", role="user")
    said = http.post("/api/conversations/c/messages", json={"user": "u", "text": "How long?"}, headers=bearer(secret))
    assert said.status_code == 202
    house.drain()
    [turn] = http.get("/api/conversations/c/turns", headers=bearer(secret)).json()["turns"]
    assert (turn["question"], turn["text"]) == ("How long?", "Fourteen days.")
    assert turn["id"] == said.json()["id"]
    assert http.post("/api/conversations/c/messages", content=b"[", headers=bearer(secret)).status_code == 400


def test_a_personal_key_reaches_only_what_its_person_wrote(house: House, http: TestClient) -> None:
    _, secret = house.assistant.access.add(name="Ann's page", role="user", person="ann")
    ann = bearer(secret)
    house.say("A secret of Bob's", user="bob", conversation="bobs")
    posted = http.post("/api/conversations/anns/messages", json={"user": "bob", "text": "Mine"}, headers=ann)
    assert posted.status_code == 202
    house.drain()
    [turn] = http.get("/api/conversations/anns/turns", headers=ann).json()["turns"]
    assert turn["user"] == "ann", "whoever the body names"
    stranger = http.get("/api/conversations/bobs/turns", headers=ann)
    assert stranger.status_code == 403
    assert "secret" not in stranger.text
    asked = http.post("/api/conversations/bobs/messages", json={"text": "What did I say?"}, headers=ann)
    assert asked.status_code == 403
    assert len(house.turns("bobs")) == 1
    assert http.post("/api/keys", json={"name": "x", "role": "admin", "person": "ann"}).status_code == 400


# --- the audit log -----------------------------------------------------------------------------


def acts(http: TestClient) -> list[tuple[str, str, str, str]]:
    return [(a["who"], a["what"], a["target"], a["outcome"]) for a in reversed(http.get("/api/audit").json()["acts"])]


def test_every_act_of_an_administrator_is_in_the_log_with_how_it_ended(house: House, http: TestClient) -> None:
    made, secret = house.assistant.access.add(name="Ann", role="admin")
    ann = bearer(secret)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/api/rollout", {"action": "halt", "why": "slow"}),
        ("POST", "/api/rollout", {"action": "promote", "why": "again"}),
        ("POST", "/api/keys", {"name": "portal", "role": "user"}),
        ("POST", "/api/knowledge/pages", {}),
        ("GET", "/api/knowledge/gaps", None),
        ("POST", "/api/dead-letters/replay", {"ids": ["abc"]}),
    ]
    for method, path, body in requests:
        http.request(method, path, json=body, headers=ann)
        house.offset += 1
    assert acts(http) == [
        (made.id, "rollout halt", "", "done"),
        (made.id, "rollout promote", "", "refused: InvalidSetting"),
        (made.id, "add key", "user portal", "done"),
        (made.id, "knowledge POST pages", "", "refused: 400"),
        (made.id, "replay dead letters", "abc", "done"),
    ]
    assert [a["why"] for a in http.get("/api/audit").json()["acts"]][-1] == "slow"


def test_an_act_that_ended_nowhere_stands_as_begun(house: House, http: TestClient) -> None:
    audit = house.assistant.audit
    context = audit.act("k1", "init")
    context.__enter__()  # and the process ends here
    assert acts(http) == [("k1", "init", "", "begun")]


def test_reading_a_conversation_with_more_than_a_user_key_is_noted_once_a_day(house: House, http: TestClient) -> None:
    _, user = house.assistant.access.add(name="portal", role="user")
    operator, secret = house.assistant.access.add(name="op", role="operator")
    http.get("/api/conversations/c/turns", headers=bearer(user))
    for _ in range(3):
        http.get("/api/conversations/c/turns", headers=bearer(secret))
    house.another().audit.read(operator.id, "webchat:c")
    assert acts(http) == [(operator.id, "read conversation", "webchat:c", "done")]
    house.offset = 86400
    http.get("/api/conversations/c/turns", headers=bearer(secret))
    assert len(acts(http)) == 2


def test_the_log_reaches_back_over_months_newest_first(house: House) -> None:
    audit = house.assistant.audit
    for _ in range(4):
        with audit.act("k1", f"in month {_}"):
            pass
        house.offset += 31 * 86400
    assert [a.what for a in audit.list(limit=3)] == ["in month 3", "in month 2", "in month 1"]


def test_nothing_that_was_written_is_in_the_log(aws: Emulator, house: House, http: TestClient) -> None:
    house.model.answers = [down()]
    house.say("A question that nobody else may read", id="m1")
    for _ in range(3):
        house.run(house.batch())
    http.post("/api/dead-letters/replay", json={"all": True})
    items = client(aws, "dynamodb").scan(TableName="assistant")["Items"]
    log = [i for i in items if str(i["pk"]).startswith("{'S': 'AUDIT#")]
    assert log
    assert "nobody else" not in json.dumps(log)


# --- the commands ------------------------------------------------------------------------------


def test_keys_and_the_log_from_the_command_line(house: House, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--url", base, "--api-key", WEBCHAT_KEY]
    assert main(["key", "list", *at]) == 0
    assert "none yet" in capsys.readouterr().out
    assert main(["key", "add", "HR portal", "--role", "editor", "--days", "30", "--json", *at]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["kb", "gaps", "--url", base, "--api-key", made["secret"]]) == 0
    capsys.readouterr()
    assert main(["key", "list", "--url", base, "--api-key", made["secret"]]) == 2
    assert "role admin" in capsys.readouterr().err
    assert main(["key", "list", *at]) == 0
    shown = capsys.readouterr().out
    assert made["id"] in shown
    assert "HR portal" in shown
    assert made["secret"] not in shown
    assert main(["key", "revoke", made["id"], *at]) == 0
    capsys.readouterr()
    assert main(["audit", *at]) == 0
    assert [line.split()[4] for line in capsys.readouterr().out.splitlines()] == ["revoke", "add"]
