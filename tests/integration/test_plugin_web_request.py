"""A company's web hooks as tools, by configuration: what may be called, how, and what the model is told when it goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting, ToolFailed
from assistant.testing import Talk, make
from assistant.web import NotReached, WebReply, is_no_metadata
from assistant_plugins.web_request import WebRequest
from tests.simulators.services import Register
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

LEAVE = {
    "type": "object",
    "properties": {"person": {"type": "string"}, "from": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["person", "from", "days"],
}
PERSON = {"type": "object", "properties": {"person": {"type": "string"}, "year": {"type": "integer"}}, "required": ["person"]}


@pytest.fixture
def register() -> Iterator[Register]:
    with Register() as made:
        yield made


def hooks(register: Register) -> list[dict[str, Any]]:
    base = {"secret": "register_token", "inside": True}
    return [
        {
            **base,
            "name": "list_leave",
            "description": "Leave that somebody has taken",
            "method": "GET",
            "url": f"{register.base}/api/people/{{person}}/leave",
            "arguments": PERSON,
            "pick": "leave",
        },
        {
            **base,
            "name": "enter_leave",
            "description": "Enter leave",
            "method": "POST",
            "url": f"{register.base}/api/leave",
            "arguments": LEAVE,
        },
        {**base, "name": "elsewhere", "description": "Redirects", "method": "GET", "url": f"{register.base}/api/elsewhere"},
    ]


def house(aws: Emulator, register: Register, *answers: Any, **more: Any) -> House:
    return House(
        aws,
        model=ScriptedModel(list(answers)),
        plugins="web_request",
        plugin_configs=json.dumps({"web_request": {"hooks": hooks(register), **more}}),
        secrets={"plugin-web_request": {"register_token": Register.token}},
    )


def ask(made: House, text: str = "How much leave did Ann take?") -> dict[str, Any]:
    made.say(text)
    made.drain()
    return made.turns()[-1]


def press(made: House, button: Mapping[str, Any]) -> dict[str, Any]:
    action = {"key": button["key"], "value": button["value"]}
    body = {"conversation": "c", "user": "u", "action": action}
    made.post("/webchat/messages", body, headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
    made.drain()
    return made.turns()[-1]


def results(made: House) -> list[str]:
    return [m.text for m in made.model.asked[-1].messages if m.role == "tool"]


def test_what_only_reads_is_called_at_once_and_trimmed_to_what_is_picked(aws: Emulator, register: Register) -> None:
    register.absences = [{"id": 1, "person": "ann", "from": "2026-01-02", "days": 3}]
    made = house(aws, register, [("list_leave", {"person": "ann", "year": 2026})], "Three days.")
    assert ask(made)["text"] == "Three days."
    assert json.loads(results(made)[0]) == register.absences
    [call] = register.calls
    assert (call.path, call.query) == ("/api/people/ann/leave", {"year": "2026"})
    assert register.token not in "".join(m.text for r in made.model.asked for m in r.messages)


def test_what_changes_something_asks_first_and_acts_once(aws: Emulator, register: Register) -> None:
    made = house(aws, register, [("enter_leave", {"person": "ann", "from": "2026-05-01", "days": 2})], "Entered.")
    card = ask(made, "Enter two days of leave for Ann from May 1st")
    assert register.absences == []
    assert "Enter leave" in card["text"]
    assert press(made, card["buttons"][0])["text"] == "Entered."
    press(made, card["buttons"][0])
    assert len(register.absences) == 1
    assert register.calls[0].headers["idempotency-key"], "so that the other side can act once as well"


def test_a_redirect_into_the_inside_is_not_followed(aws: Emulator, register: Register) -> None:
    made = house(aws, register, [("elsewhere", {})], "It failed.")
    ask(made)
    assert "is not among those allowed" in results(made)[0]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 500, "body": {"error": "broken"}}, "answered 500"),
        ({"status": 0}, "did not answer"),
        ({"status": 200, "body": "x" * 300_000}, "larger than 200,000 bytes"),
        ({"status": 403, "body": {"error": "not yours"}}, "not yours"),
    ],
)
def test_the_model_is_told_what_went_wrong(aws: Emulator, register: Register, fault: dict[str, Any], told: str) -> None:
    made = house(aws, register, [("list_leave", {"person": "ann"})], "Sorry.")
    register.fail("GET /api/people", **fault)
    assert ask(made)["text"] == "Sorry."
    assert told in results(made)[0]
    assert made.assistant.plugins.report()[0].state == "ready", "a service's fault is not the plug-in's"


def test_arguments_are_checked_against_the_schema(aws: Emulator, register: Register) -> None:
    made = house(aws, register, [("list_leave", {"person": "ann", "drop": "table"})], "Sorry.")
    ask(made)
    assert "drop" in results(made)[0]
    assert register.calls == []


def test_a_secret_that_is_not_stored_is_no_request(aws: Emulator, register: Register) -> None:
    made = house(aws, register, [("list_leave", {"person": "ann"})], "Sorry.")
    made.secrets.pop("plugin-web_request")
    made.assistant = made.another()
    ask(made)
    assert register.calls == []
    assert made.turns()[-1]["text"]


# --- the guard -------------------------------------------------------------------------------------


def called(url: str, *, arguments: dict[str, Any] | None = None, given: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """The addresses that a hook calls."""
    seen: list[str] = []

    def answer(method: str, address: str, headers: Mapping[str, str], body: bytes) -> WebReply:
        seen.append(address)
        return WebReply(status=200, content=b"{}", headers={"content-type": "application/json"})

    hook = {
        "name": "hook",
        "description": "A hook",
        "method": "GET",
        "url": url,
        **({"arguments": arguments} if arguments else {}),
    }
    talk = Talk([make(WebRequest, hooks=[hook | more])], answers={"": answer})
    talk.use("hook", **(given or {}))
    return seen


ONE = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("7", "https://desk.example.com/t/7"),
        ("../admin", "https://desk.example.com/t/..%2Fadmin"),
        ("7?x=1", "https://desk.example.com/t/7%3Fx%3D1"),
        ("@evil.example/", "https://desk.example.com/t/%40evil.example%2F"),
    ],
)
def test_an_argument_cannot_change_where_is_called(value: str, address: str) -> None:
    assert called("https://desk.example.com/t/{id}", arguments=ONE, given={"id": value}) == [address]


def test_an_argument_that_climbs_is_refused() -> None:
    with pytest.raises(ToolFailed, match="cannot stand in an address"):
        called("https://desk.example.com/t/{id}", arguments=ONE, given={"id": ".."})


@pytest.mark.parametrize(
    "url", ["https://10.0.0.8/x", "https://169.254.169.254/latest/meta-data/", "https://[::1]/x", "https://127.0.0.1/x"]
)
def test_a_private_address_is_not_called_unless_it_is_said_to_be_inside(aws: Emulator, register: Register, url: str) -> None:
    hook = {"name": "hook", "description": "A hook", "method": "GET", "url": url}
    made = House(
        aws,
        model=ScriptedModel([[("hook", {})], "Sorry."]),
        plugins="web_request",
        plugin_configs=json.dumps({"web_request": {"hooks": [hook]}}),
    )
    ask(made)
    assert "private or local address" in results(made)[0]


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0"])
def test_inside_never_means_the_clouds_metadata(address: str) -> None:
    assert not is_no_metadata(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.1", "127.0.0.1", "8.8.8.8", "fd12::1"])
def test_inside_means_the_companys_own_network(address: str) -> None:
    assert is_no_metadata(address)


def test_a_host_that_was_not_written_down_is_not_called() -> None:
    plugin = make(
        WebRequest, hooks=[{"name": "hook", "description": "A hook", "method": "GET", "url": "https://desk.example.com/x"}]
    )
    assert (plugin.permissions.hosts, plugin.permissions.inside) == (("desk.example.com",), ())


# --- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ({"url": "ftp://desk.example.com/x"}, "web address"),
        ({"url": "https://user:pass@desk.example.com/x"}, "user name"),
        ({"url": "http://desk.example.com/x"}, "https"),
        ({"url": "https://{host}/x"}, "never in the host"),
        ({"url": "https://desk.example.com/{id}"}, "no argument"),
        ({"url": "https://desk.example.com/{id}", "arguments": {"type": "object", "properties": {"id": {}}}}, "required"),
        ({"arguments": {"type": "array"}}, "type object"),
        ({"method": "TRACE"}, "GET"),
        ({"name": "Open Ticket"}, "pattern"),
        ({"headers": {"host": "evil.example"}}, "cannot be set"),
        ({"headers": {"x-a": "1\r\nx-b: 2"}}, "cannot be set"),
        ({"seconds": 60}, "25"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_with_the_reason(hook: dict[str, Any], reason: str) -> None:
    whole = {"name": "hook", "description": "A hook", "url": "https://desk.example.com/x"} | hook
    with pytest.raises(InvalidSetting, match=reason):
        make(WebRequest, hooks=[whole])


def test_hosts_narrow_what_hooks_may_name() -> None:
    hook = {"name": "hook", "description": "A hook", "url": "https://desk.example.com/x"}
    assert make(WebRequest, hosts=["desk.example.com"], hooks=[hook]).name == "web_request"
    with pytest.raises(InvalidSetting, match="not among hosts"):
        make(WebRequest, hosts=["other.example.com"], hooks=[hook])
    with pytest.raises(InvalidSetting, match="two hooks"):
        make(WebRequest, hooks=[hook, hook])


def test_a_hook_that_reads_by_post_need_not_ask(register: Register) -> None:
    hook = {"name": "hook", "description": "A search", "url": "https://desk.example.com/x", "writes": False}
    [tool] = make(WebRequest, hooks=[hook]).get_tools()
    assert not tool.writes


def test_nothing_configured_offers_nothing() -> None:
    assert list(make(WebRequest).get_tools()) == []


def test_an_address_that_cannot_be_reached_is_told_to_the_model() -> None:
    def lost(method: str, address: str, headers: Mapping[str, str], body: bytes) -> WebReply:
        raise NotReached("desk.example.com did not answer: TimeoutError")

    hook = {"name": "hook", "description": "A hook", "method": "GET", "url": "https://desk.example.com/x"}
    with pytest.raises(ToolFailed, match="did not answer"):
        Talk([make(WebRequest, hooks=[hook])], answers={"": lost}).use("hook")
