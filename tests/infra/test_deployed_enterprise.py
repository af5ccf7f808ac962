"""The stacks of the enterprise profile, deployed into an emulated account: canaries, warm copies, fixed addresses, firewall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.cloud import Account
from tests.infra.conftest import Assembly
from tests.simulators.slack import SlackSimulator


@pytest.fixture(scope="module")
def large(
    assembly: Callable[[str], Assembly], third_party: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    """An account with the stacks of the enterprise profile in it."""
    with Account(tmp_path_factory.mktemp("large"), third_party=third_party) as made:
        made.deploy(assembly("enterprise").folder)
        yield made


def test_the_enterprise_profile_answers_too(large: Account) -> None:
    with SlackSimulator() as slack:
        large.store_secret("assistant/production/slack", slack.secrets)
        slack.channel("D0EVE", "U0EVE")
        event = slack.event(slack.say("D0EVE", "U0EVE", "What can you do?"))
        assert large.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)["statusCode"] == 200
        assert large.drain() == 1
        assert slack.visible("D0EVE")[-1]


def test_new_code_comes_in_through_canaries_that_roll_back_on_their_alarm(large: Account) -> None:
    client = large.aws.client("codedeploy")
    (application,) = client.list_applications()["applications"]
    groups = client.list_deployment_groups(applicationName=application)["deploymentGroups"]
    watched = set()
    for group in groups:
        info = client.get_deployment_group(applicationName=application, deploymentGroupName=group)["deploymentGroupInfo"]
        assert info["deploymentConfigName"].endswith("LambdaCanary10Percent5Minutes")
        assert "DEPLOYMENT_STOP_ON_ALARM" in info["autoRollbackConfiguration"]["events"]
        made = large.deployed("AWS::CodeDeploy::DeploymentGroup", group)  # the emulated service forgets the alarms
        watched |= {a["Name"] for a in made["AlarmConfiguration"]["Alarms"]}
    names = {f"assistant-production-{n}-canary" for n in ("webhook", "dialogue", "api", "oauth")}
    assert watched == names
    assert names <= {a["AlarmName"] for a in large.aws.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]}


def test_the_enterprise_profile_keeps_copies_warm_and_stands_behind_a_firewall(large: Account) -> None:
    targets = large.aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="lambda")["ScalableTargets"]
    assert {t["ResourceId"].split(":")[1] for t in targets} == {
        f"assistant-production-{n}" for n in ("webhook", "dialogue", "api")
    }
    (summary,) = large.aws.client("cloudfront").list_distributions()["DistributionList"]["Items"]
    (firewall,) = large.aws.client("wafv2").list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    assert summary["WebACLId"] == firewall["ARN"]
    api = large.aws.client("apigatewayv2").get_apis()["Items"][0]["ApiEndpoint"]
    assert summary["Origins"]["Items"][0]["DomainName"] == api.removeprefix("https://")
    assert len(large.outputs()["EgressAddresses"].split(",")) == 2
