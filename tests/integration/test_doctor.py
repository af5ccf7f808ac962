"""The doctor, asked as an operator asks: over the platforms, against a running assistant, and as a chat text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.dev.cli import main
from assistant.dev.emulator import Emulator
from assistant.doctor import QUIET, Line, Seen, from_json, platforms, report, state, to_json, to_markdown
from assistant.errors import Unavailable
from assistant.platforms import PLATFORMS, Finding, Platform
from assistant.platforms.wecom import WeCom
from assistant.storage import Table
from tests.simulators import wecom as vendor
from tests.simulators.base import Answer, Call, Simulator, route
from tests.simulators.stages import Cast
from tests.support.house import House, client


@pytest.fixture
def corp() -> Iterator[vendor.WeCom]:
    with vendor.WeCom() as simulator:
        yield simulator


def found(lines: list[Line], component: str, check: str) -> Finding:
    return next(f for c, f in lines if c == component and f.check == check)


def test_the_report_covers_the_house_and_every_platform(aws: Emulator, corp: vendor.WeCom) -> None:
    house = House(aws, secrets={"wecom": corp.secrets})
    lines = report(house.assistant)
    assert {c for c, _ in lines} == {"assistant", *PLATFORMS}
    assert found(lines, "assistant", "table").state == "ok"
    assert found(lines, "wecom", "credentials").state == "ok"
    assert found(lines, "slack", "connected").fix.startswith("docs/platforms/slack.md")
    assert from_json(json.loads(json.dumps(to_json(lines)))) == lines


def test_a_waiting_dead_letter_is_a_warning_with_the_command(aws: Emulator) -> None:
    house = House(aws)
    client(aws, "sqs").send_message(
        QueueUrl=house.settings.dead_letters_url, MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="d"
    )
    letters = found(report(house.assistant), "assistant", "dead letters")
    assert letters.state == "warning"
    assert "assistant dlq list" in letters.fix


def test_faults_come_first_and_decide_the_state(corp: vendor.WeCom) -> None:
    broken = WeCom(corp.secrets | {"secret": "wrong"})
    lines = platforms(lambda name: broken, configured=["wecom"], clock=lambda: 0)
    assert lines[0].component == "wecom"
    assert lines[0].finding.state == "fault"
    assert state(lines) == "fault"
    shown = to_markdown(lines, language="zh-CN")
    assert "❌ **wecom** — 故障" in shown
    assert "处理办法" in shown
    assert vendor.SECRET not in shown


def test_a_platform_that_cannot_be_opened_does_not_hide_the_others(corp: vendor.WeCom) -> None:
    def open_platform(name: str) -> Platform:
        if name == "slack":
            raise Unavailable("secret assistant/dev/slack: ThrottlingException")
        return WeCom(corp.secrets)

    lines = platforms(open_platform, configured=["slack", "wecom"], clock=lambda: 0)
    assert found(lines, "slack", "diagnosis").state == "fault"
    assert found(lines, "wecom", "credentials").state == "ok"


class Front(Simulator):
    """Something that answers at the public address."""

    status = 401

    @route("POST", r"/webhook/wecom/\w+")
    def webhook(self, call: Call) -> Answer:
        assert call.body == b"{}"
        return Answer(self.status, {})


def as_if_public(front: Front) -> str:
    """An address of this machine that does not look like one."""
    return front.base.replace("127.0.0.1", str(0x7F000001))


@pytest.mark.parametrize(
    ("status", "expected", "fix"),
    [
        (401, "warning", "HTTPS"),
        (200, "fault", "something else answers"),
        (403, "fault", "firewall"),
        (404, "fault", "public_url"),
        (502, "fault", "public_url"),
    ],
)
def test_the_callback_address_must_answer_and_refuse_what_is_unsigned(
    corp: vendor.WeCom, status: int, expected: str, fix: str
) -> None:
    with Front() as front:
        front.status = status
        lines = platforms(lambda name: WeCom(corp.secrets), configured=["wecom"], public_url=as_if_public(front), clock=lambda: 0)
        asked = sorted(c.path for c in front.calls)
    finding = found(lines, "wecom", "callback address")
    assert finding.state == expected
    assert fix in finding.fix
    assert asked == ["/webhook/wecom/app", "/webhook/wecom/bot"]


def test_an_address_that_does_not_answer_is_a_fault(corp: vendor.WeCom) -> None:
    with Front() as front:
        gone = as_if_public(front)
    lines = platforms(lambda name: WeCom(corp.secrets), configured=["wecom"], public_url=gone, clock=lambda: 0)
    assert found(lines, "wecom", "callback address").state == "fault"


def test_an_address_that_no_platform_can_reach_is_a_warning(corp: vendor.WeCom) -> None:
    lines = platforms(lambda name: WeCom(corp.secrets), configured=["wecom"], clock=lambda: 0)
    assert found(lines, "wecom", "callback address").state == "unknown"
    for url in ("http://127.0.0.1:8080", "http://localhost:1", "https://192.168.0.4"):
        lines = platforms(lambda name: WeCom(corp.secrets), configured=["wecom"], public_url=url, clock=lambda: 0)
        assert found(lines, "wecom", "callback address").state == "warning"


# --- when it was last seen ---------------------------------------------------------------------


def test_it_is_remembered_when_a_platform_was_heard_answered_and_refused(aws: Emulator, corp: vendor.WeCom) -> None:
    now = [1_735_000_000.0]
    table = Table(aws.settings().table_name, client=client(aws, "dynamodb"))
    seen = Seen(table, clock=lambda: now[0])

    def lines() -> list[Line]:
        return platforms(lambda name: WeCom(corp.secrets), configured=["wecom"], clock=lambda: now[0], seen=seen.of)

    assert found(lines(), "wecom", "last message in").state == "unknown"
    seen.note("wecom", "in", "out")
    now[0] += 7200
    assert found(lines(), "wecom", "last message in").detail == "2 hours ago"
    assert found(lines(), "wecom", "last message out").state == "ok"
    seen.note("wecom", "refused", detail="errcode 60020")
    assert "60020" in found(lines(), "wecom", "last refusal").detail
    now[0] += 600
    seen.note("wecom", "in", "out")
    assert "last refusal" not in {f.check for _, f in lines()}
    now[0] += QUIET + 1
    assert found(lines(), "wecom", "last message in").state == "warning"


def test_it_is_written_once_in_five_minutes(aws: Emulator) -> None:
    house = House(aws)
    seen = Seen(house.assistant.table, clock=house.now)
    for _ in range(50):
        seen.note("slack", "in", "out")
    assert len(house.recorder.calls) == 1


# --- the command -------------------------------------------------------------------------------


def secrets_file(tmp_path: Path, secrets: object) -> str:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(secrets), encoding="utf-8")
    return str(path)


def test_the_command_looks_from_this_machine(tmp_path: Path, corp: vendor.WeCom, capsys: pytest.CaptureFixture[str]) -> None:
    file = secrets_file(tmp_path, {"wecom": corp.secrets})
    assert main(["doctor", "--secrets", file, "--platform", "wecom", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["state"] == "warning"
    assert {f["component"] for f in data["findings"]} == {"wecom"}
    assert main(["doctor", "--secrets", file]) == 0
    assert "no fault found" in capsys.readouterr().out
    corp.trusted_ip = False
    assert main(["doctor", "--secrets", file]) == 1
    assert "203.0.113.7" in capsys.readouterr().out.replace("\n", "")


SECRET_OF = {"feishu": "app_secret", "dingtalk": "app_secret", "wecom": "secret", "slack": "bot_token", "teams": "app_password"}


def test_all_five_simulated_platforms_are_in_order_and_a_wrong_credential_is_found_on_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = Cast()
    secrets = cast.start()
    try:
        assert set(secrets) == set(PLATFORMS) - {"webchat"} == set(SECRET_OF)
        assert main(["doctor", "--secrets", secrets_file(tmp_path, secrets), "--json"]) == 0
        capsys.readouterr()
        for name, field in SECRET_OF.items():
            wrong = secrets | {name: {**secrets[name], field: "wrong-wrong-wrong"}}
            assert main(["doctor", "--secrets", secrets_file(tmp_path, wrong), "--platform", name, "--json"]) == 1, name
            faults = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["state"] == "fault"]
            assert all(f["component"] == name and f["fix"] for f in faults)
    finally:
        cast.stop()


class Running(Simulator):
    """An assistant that runs."""

    @route("GET", "/api/doctor")
    def doctor(self, call: Call) -> Answer:
        if call.headers.get("authorization") != "Bearer key":
            return Answer(401, {"error": "key"})
        fine = Finding(check="table", state="ok", detail="assistant")
        return Answer(200, to_json([Line("assistant", fine)]))


def test_the_command_asks_a_running_assistant(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("key\n", encoding="ascii")
    with Running() as running:
        assert main(["doctor", "--url", running.base, "--api-key", "key", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["findings"][0]["check"] == "table"
        assert main(["doctor", "--url", running.base, "--data", str(tmp_path)]) == 0
        capsys.readouterr()
        assert main(["doctor", "--url", running.base, "--api-key", "other"]) == 2
        assert "the API key" in capsys.readouterr().err
        assert main(["doctor", "--url", f"{running.base}/nowhere", "--api-key", "key"]) == 2
        gone = running.base
    assert main(["doctor", "--url", gone, "--api-key", "key"]) == 2
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["not json", "[]", '{"telegram": {}}'])
def test_an_unusable_secrets_file_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(content, encoding="utf-8")
    assert main(["doctor", "--secrets", str(path)]) == 2
    assert "secrets file" in capsys.readouterr().err
