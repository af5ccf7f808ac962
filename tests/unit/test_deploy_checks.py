"""What would make a deployment fail is found before anything is made, one line each with the fix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import deploy
from infra.deployment import Deployment


class Account:
    """An emulated account; the one call that moto lacks is answered here."""

    def __init__(self, *, concurrency: int = 1000) -> None:
        self._concurrency = concurrency

    def __call__(self, service: str) -> Any:  # boto3 makes its clients' classes while running
        return self if service == "lambda" else boto3.client(service, region_name="us-east-1")

    def get_account_settings(self) -> dict[str, Any]:
        """Lambda's limits of the account."""
        return {"AccountLimit": {"ConcurrentExecutions": self._concurrency}}


@pytest.fixture(autouse=True)
def _aws() -> Iterator[None]:
    with mock_aws():
        yield


def found(aws: Account, **given: str) -> list[str]:
    return [f"{f.what} → {f.fix}" for f in deploy.faults(Deployment.of(given, env={}), aws)]


@pytest.mark.parametrize("profile", ["basic", "enterprise"])
def test_an_ordinary_account_is_good_for_both_profiles(profile: str) -> None:
    assert found(Account(), profile=profile) == []


def test_an_account_with_a_small_quota_is_told_what_fits() -> None:
    (line,) = found(Account(concurrency=10), profile="enterprise")
    assert "10 functions at once" in line
    assert "concurrent_turns=5" in line
    assert found(Account(concurrency=10), profile="basic", concurrent_turns="5") == []


def test_credentials_of_another_account_are_named() -> None:
    (line,) = found(Account(), account="999999999999")
    assert "999999999999" in line
    assert "123456789012" in line


def test_a_name_that_is_taken_is_found_before_anything_is_made() -> None:
    boto3.client("secretsmanager", region_name="us-east-1").create_secret(Name="assistant/dev/slack", SecretString="{}")
    (line,) = found(Account())
    assert "assistant/dev/slack is taken" in line
    assert found(Account(), stage="staging") == []


def test_a_stored_secret_that_is_no_json_is_named_without_its_value() -> None:
    boto3.client("cloudformation", region_name="us-east-1").create_stack(
        StackName="assistant-dev-data", TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}'
    )
    boto3.client("secretsmanager", region_name="us-east-1").create_secret(Name="assistant/dev/slack", SecretString="xoxb-hunter2")
    (line,) = found(Account())
    assert "assistant/dev/slack is no JSON object" in line
    assert "hunter2" not in line


def test_a_wrong_profile_is_exit_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["--profile", "huge"]) == 2
    assert "basic, enterprise" in capsys.readouterr().err
