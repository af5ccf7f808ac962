"""The doctor's look at the house itself: each part in order, each part broken, and what is mended on request."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from assistant.checks import certificate, house
from assistant.dev.cli import main
from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.doctor import report, to_markdown
from assistant.errors import Unavailable
from assistant.llm import WarmingUp
from assistant.platforms import Finding
from tests.integration.test_api import ApiFunction
from tests.support.desks import SlackDesk
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel, client, down


def found(made: House, check: str) -> Finding:
    findings = house(made.assistant)
    for finding in findings:
        if finding.check == check:
            return finding
    raise AssertionError(f"no check {check!r} among {[f.check for f in findings]}")


def test_every_part_of_the_house_is_looked_at(aws: Emulator) -> None:
    made = House(aws, figures="process", public_url="http://127.0.0.1:1", administrators="webchat:ann")
    client(aws, "sqs").send_message(
        QueueUrl=made.settings.turns_queue_url, MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="d"
    )
    lines = {f.check: (f.state, f.detail) for f in house(made.assistant)}
    assert set(lines) == {
        "table", "first data", "queue", "dead letters", "clock", "secrets", "model", "knowledge", "certificate",
        "alarms", "roll-out", "administrators",
    }  # fmt: skip
    assert lines["queue"] == ("ok", "1 messages wait")
    assert lines["clock"][0] == "ok"
    assert lines["secrets"] == ("ok", "readable; platforms: webchat")
    assert lines["alarms"][0] == lines["certificate"][0] == "unknown"
    assert {state for state, _ in lines.values()} == {"ok", "unknown", "warning"}


def test_a_clock_that_is_wrong_is_a_fault(aws: Emulator) -> None:
    made = House(aws)
    for offset, words in ((400.0, "ahead of"), (-400.0, "behind")):
        made.offset = offset
        clock = found(made, "clock")
        assert clock.state == "fault"
        assert words in clock.detail
        assert "NTP" in clock.fix


def with_models(aws: Emulator, **models: ScriptedModel) -> House:
    """A house whose models are named in the settings."""
    made = House(aws, model=next(iter(models.values())))
    specs = {f"openai:{name}@http://127.0.0.1:9/v1": model for name, model in models.items()}
    made.assistant.settings = replace(made.settings, model=",".join(specs))
    made.assistant._models.update(specs)
    return made


def test_a_model_that_does_not_answer_is_a_fault_and_one_of_several_a_warning(aws: Emulator) -> None:
    assert found(with_models(aws, good=ScriptedModel(["yes"])), "model openai:good").detail.startswith("answers in")
    bad = found(with_models(aws, bad=ScriptedModel([down()])), "model openai:bad")
    assert (bad.state, bad.detail) == ("fault", "the model does not answer")
    two = with_models(aws, bad=ScriptedModel([down()]), good=ScriptedModel(["yes"]))
    assert (found(two, "model openai:bad").state, found(two, "model openai:good").state) == ("warning", "ok")
    none = with_models(aws, bad=ScriptedModel([down()]), worse=ScriptedModel([Unavailable("no")]))
    assert {found(none, f"model openai:{n}").state for n in ("bad", "worse")} == {"fault"}


def test_a_model_that_sleeps_is_a_warning(aws: Emulator) -> None:
    sleeping = with_models(aws, big=ScriptedModel([WarmingUp("the endpoint starts", retry_after=300)]))
    assert found(sleeping, "model openai:big").state == "warning"


def test_a_short_or_missing_key_of_the_web_chat_is_a_warning(aws: Emulator) -> None:
    for secret, words in (({"api_key": "short"}, "5 characters"), ({}, "none")):
        key = found(House(aws, secrets={"webchat": secret}), "web chat's key")
        assert key.state == "warning"
        assert words in key.detail


def test_a_halted_roll_out_and_a_plan_that_nobody_looks_at_are_named(aws: Emulator) -> None:
    made = House(aws, figures="process")
    state = made.assistant.rollouts
    by = {"who": "ann", "why": "a test"}
    state.set({"reached": "internal"}, **by)
    state.start({"hours": 9}, **by)
    assert found(made, "roll-out").state == "ok"
    made.offset = 3600
    assert found(made, "roll-out").state == "fault"
    assert "60 minutes" in found(made, "roll-out").detail
    made.assistant.promotion.look()
    assert found(made, "roll-out").state == "ok"
    state.halt(**by)
    assert found(made, "roll-out").state == "warning"


def test_administrators_who_cannot_be_reached_are_named(aws: Emulator) -> None:
    assert "nobody" in found(House(aws), "administrators").detail
    assert "slack is not connected" in found(House(aws, administrators="slack:U1"), "administrators").detail


def test_alarms_that_ring_are_faults_with_the_page_that_says_what_to_do(aws: Emulator) -> None:
    made = House(aws)
    assert found(made, "alarms").state == "warning", "there are none"
    cloudwatch = client(aws, "cloudwatch")
    for name in ("assistant-local-dead-letters", "assistant-local-silence", "assistant-other-silence"):
        cloudwatch.put_metric_alarm(
            AlarmName=name, MetricName="m", Namespace="n", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="fine")
    assert found(made, "alarms").detail == "2 alarms; none rings"
    cloudwatch.set_alarm_state(AlarmName="assistant-local-silence", StateValue="ALARM", StateReason="nothing was answered")
    ringing = found(made, "alarm silence")
    assert (ringing.state, ringing.detail) == ("fault", "nothing was answered")
    assert ringing.fix.startswith("docs/operations.md#silence ")
    cloudwatch.delete_alarms(AlarmNames=["assistant-local-dead-letters", "assistant-local-silence", "assistant-other-silence"])


def test_a_part_that_is_gone_is_a_fault_and_hides_no_other(aws: Emulator) -> None:
    made = House(aws)
    client(aws, "dynamodb").delete_table(TableName=made.settings.table_name)
    lines = {f.check: f.state for f in house(made.assistant)}
    assert lines["table"] == "fault"
    assert lines["queue"] == lines["secrets"] == "ok"


def test_an_administrator_asks_in_the_chat_and_reads_the_same(aws: Emulator) -> None:
    with SlackDesk() as desk:
        made = House(aws, secrets=desk.secrets, administrators="slack:U1", figures="process")
        desk.ask(made, "/doctor")
        made.drain()
        said = desk.seen(made)[-1]
        assert "assistant" in said
        assert "first data" in said
        assert to_markdown(report(made.assistant)).count("\n") > 5


# --- certificates ------------------------------------------------------------------------------


@contextmanager
def tls(folder: Path, *, days: float) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server on 127.0.0.1 with a certificate of our own that ends in `days`; its port, and a context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=40))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    trusted = ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()
        server.settimeout(0.05)

        def answer() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    there, _ = server.accept()
                    with there, suppress(OSError), context.wrap_socket(there, server_side=True) as met:
                        met.settimeout(1)
                        met.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1], trusted
        ended.set()
        thread.join()


@pytest.mark.parametrize(("days", "expected"), [(90, "ok"), (5, "warning"), (-1, "fault")])
def test_a_certificate_is_good_ends_soon_or_is_over(tmp_path: Path, days: float, expected: str) -> None:
    with tls(tmp_path, days=days) as (port, trusted):
        finding = certificate("localhost", port, now=datetime.now(UTC).timestamp(), trusted=trusted)
    assert finding.state == expected
    assert bool(finding.fix) == (expected != "ok")


def test_a_certificate_that_nobody_trusts_is_a_fault(tmp_path: Path) -> None:
    with tls(tmp_path, days=90) as (port, _):
        finding = certificate("localhost", port, now=0)
    assert finding.state == "fault"
    assert "self" in finding.detail


def test_an_address_where_nobody_answers_is_a_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "cannot be reached" in certificate("localhost", port, now=0).detail


# --- what is mended ----------------------------------------------------------------------------


@pytest.fixture
def base(aws: Emulator) -> Iterator[tuple[House, str]]:
    made = House(aws, figures="process")
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(made))
    yield made, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.shutdown()
    server.server_close()
    listening.close()


def test_what_is_safe_is_told_first_done_after_a_yes_and_noted(
    base: tuple[House, str], capsys: pytest.CaptureFixture[str]
) -> None:
    made, url = base
    at = ["--url", url, "--api-key", WEBCHAT_KEY]
    assert main(["doctor", "--fix", *at]) == 0
    said = capsys.readouterr().out
    assert "would write the system parameters" in said
    assert "nothing was done" in said
    assert found(made, "first data").state == "warning"
    assert main(["doctor", "--fix", "--yes", "--json", *at]) == 0
    done = json.loads(capsys.readouterr().out)["done"]
    assert [(step["name"], step["state"]) for step in done] == [
        ("system parameters", "created"),
        ("default knowledge", "created"),
    ]
    assert "first data" not in {f.check for f in house(made.assistant)}
    assert "version" in found(made, "knowledge").detail
    assert main(["doctor", "--fix", *at]) == 0
    assert "nothing is missing" in capsys.readouterr().out
    assert [a.what for a in made.assistant.audit.list()] == ["doctor fix"]
    assert main(["doctor", "--fix", "--secrets", "x.json"]) == 2
