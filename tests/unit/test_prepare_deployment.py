"""`assistant init --profile …` asks, writes what was answered, and says what stands in the way, before anything is made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from assistant.dev import cli
from assistant.dev.commands import init
from assistant.errors import InvalidSetting
from infra.deploy import Fault
from infra.deployment import Deployment, stored


def arguments(*given: str) -> argparse.Namespace:
    return cli.build(["init"]).parse_args(["init", *given])


class Person:
    """Answers questions by a word in them; anything else with the default."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        return next((a for word, a in self.answers.items() if word in question), "")


def fine(given: dict[str, str]) -> Sequence[Fault]:
    return []


def test_a_few_answers_make_a_configuration_that_deploys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    person = Person(installation="production", region="eu-central-1", alarms="oncall@example.com", zone="Europe/Berlin")
    assert init.prepare(arguments("--profile", "enterprise"), ask=person, folder=tmp_path, look=fine) == 0
    assert len(person.asked) == 7
    kept = json.loads((tmp_path / "production.json").read_text())
    assert kept == {
        "alarm_email": "oncall@example.com",
        "edge": "false",
        "profile": "enterprise",
        "region": "eu-central-1",
        "stage": "production",
        "timezone": "Europe/Berlin",
    }
    assert "make deploy STAGE=production" in capsys.readouterr().out
    deployment = Deployment.of(stored("production", tmp_path), env={})
    assert (deployment.profile, deployment.region, deployment.timezone) == ("enterprise", "eu-central-1", "Europe/Berlin")


def test_asked_again_it_offers_what_was_answered_before(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text('{"stage": "dev", "profile": "basic", "timezone": "Asia/Shanghai", "api_rate": 7}')
    person = Person()
    assert init.prepare(arguments("--profile", "basic"), ask=person, folder=tmp_path, look=fine) == 0
    assert any("[Asia/Shanghai]" in question for question in person.asked)
    kept = json.loads((tmp_path / "dev.json").read_text())
    assert (kept["timezone"], kept["api_rate"]) == ("Asia/Shanghai", "7")


def test_nobody_is_asked_where_nobody_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments("--profile", "basic", "--stage", "staging", "-c", "model=builtin", "--yes", "--no-check", "--json")
    assert init.prepare(given, ask=None, folder=tmp_path) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["deployment"] == {"model": "builtin", "profile": "basic", "stage": "staging"}
    assert Path(told["file"]).is_file()


def test_what_stands_in_the_way_is_said_with_its_fix_and_is_exit_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [Fault(what="a quota is too small", fix="ask for more")]
    assert (
        init.prepare(arguments("--profile", "basic", "--stage", "dev"), ask=None, folder=tmp_path, look=lambda given: faults) == 1
    )
    assert "a quota is too small\n         → ask for more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["--profile", "huge"], "basic, enterprise"),
        (["--profile", "basic", "--stage", "No!"], "good one looks like 'dev'"),
        (["--profile", "basic", "-c", "nonsense=1"], "is not known"),
        (["--profile", "basic", "-c", "alarm_email=nobody"], "oncall@example.com"),
    ],
)
def test_an_answer_that_cannot_be_used_writes_nothing(given: list[str], hint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=hint):
        init.prepare(arguments(*given), ask=None, folder=tmp_path, look=fine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [("{", "is not JSON"), ("[]", "one JSON object"), ('{"nonsense": 1}', "known:"), ('{"vpc": {}}', "plain values")],
)
def test_a_configuration_that_cannot_be_read_is_named(text: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(text)
    with pytest.raises(InvalidSetting, match=hint) as caught:
        stored("dev", tmp_path)
    assert "dev.json" in str(caught.value)


def test_the_command_line_goes_before_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text('{"vpc": true, "log_days": 30}')
    assert stored("dev", tmp_path) == {"vpc": "true", "log_days": "30"}
    assert stored("other", tmp_path) == {}
