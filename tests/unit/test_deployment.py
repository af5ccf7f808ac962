"""What a deployment is told is checked before anything is made."""

from __future__ import annotations

import pytest

from assistant.errors import InvalidSetting
from infra.deployment import PROFILES, Deployment, parse_context


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"profile": "huge"}, "basic, enterprise"),
        ({"stage": "Prod!"}, "'Prod!'"),
        ({"account": "12"}, "123456789012"),
        ({"region": "moon"}, "eu-central-1"),
        ({"alarm_email": "nobody"}, "'nobody'"),
        ({"concurrent_turns": "5000"}, "2–1000"),
        ({"concurrent_turns": "many"}, "whole number"),
        ({"log_days": "8"}, "7, 14"),
        ({"vpc": "perhaps"}, "true nor false"),
        ({"domain": "assistant.example.com"}, "certificate"),
        ({"profile": "enterprise", "region": "eu-central-1"}, "edge=false"),
    ],
)
def test_a_wrong_value_is_named_with_the_way_out(given: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Deployment.of(given, env={})
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_given_goes_before_the_stage_and_the_stage_before_the_profile() -> None:
    assert Deployment.of({"profile": "enterprise", "stage": "dev"}, env={}).log_days == 7
    assert Deployment.of({"profile": "enterprise", "stage": "dev", "log_days": "30"}, env={}).log_days == 30
    assert Deployment.of({"profile": "enterprise", "stage": "production"}, env={}).log_days == 90


def test_settings_of_the_functions_can_be_given_and_are_checked() -> None:
    assert Deployment.of({"history_turns": "20"}, env={}).settings == (("history_turns", "20"),)
    with pytest.raises(InvalidSetting, match="HISTORY_TURNS='many'"):
        Deployment.of({"history_turns": "many"}, env={})


def test_a_misspelt_field_is_named_with_those_there_are() -> None:
    assert parse_context(["vpc=true", "timezone=Asia/Shanghai"]) == {"vpc": "true", "timezone": "Asia/Shanghai"}
    for wrong in ("vcp=true", "table_name=mine", "vpc"):
        with pytest.raises(InvalidSetting) as caught:
            parse_context([wrong])
        assert wrong.split("=")[0] in str(caught.value)


def test_only_named_trial_stages_let_their_data_go() -> None:
    assert not Deployment.of({"stage": "dev"}, env={}).keep_data
    assert Deployment.of({"stage": "production"}, env={}).keep_data
    assert Deployment.of({"stage": "acme"}, env={}).keep_data, "a name nobody knows is treated like production"


def test_account_and_region_come_from_the_command_line_tools_environment() -> None:
    deployment = Deployment.of({}, env={"CDK_DEFAULT_ACCOUNT": "123456789012", "CDK_DEFAULT_REGION": "eu-central-1"})
    assert (deployment.account, deployment.region) == ("123456789012", "eu-central-1")


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_fits_an_account_as_aws_hands_it_out(profile: str) -> None:
    reserved = sum(s.reserved for s in Deployment.of({"profile": profile}, env={}).sizes.values())
    assert reserved <= 1000 - 100, "Lambda keeps 100 of the account's 1,000 concurrent executions for the rest"
