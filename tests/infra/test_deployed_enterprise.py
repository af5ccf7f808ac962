"""The stacks of the enterprise profile, deployed into an emulated account: canaries, warm copies, fixed addresses, firewall."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assistant.messages import HttpReply, Webhook
from tests.infra.cloud import Account
from tests.simulators.opensearch import OpenSearchServer
from tests.simulators.slack import SlackSimulator
from tests.simulators.valkey import ValkeyServer
from tests.support.desks import FeishuDesk
from tests.support.house import House


class Large(NamedTuple):
    """The account, with what moto does not run itself."""

    account: Account
    cache: ValkeyServer
    search: OpenSearchServer


@pytest.fixture(scope="module")
def enterprise(third_party: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    """An account into which somebody has said `make deploy` with the enterprise profile."""
    folder = tmp_path_factory.mktemp("large")
    name = "assistant-production"
    with ValkeyServer(user=name, iam=name, folder=folder) as cache, OpenSearchServer(certificate=cache.certificate) as search:
        places = {
            "AWS::ElastiCache::ServerlessCache": ("127.0.0.1", cache.port),
            "AWS::OpenSearchService::Domain": ("127.0.0.1", search.port),
        }
        with Account(folder, third_party=third_party, places=places, trust=cache.certificate) as made:
            made.make_deploy("--stage", "production", "--profile", "enterprise", "--", "--method", "direct")
            yield Large(made, cache, search)


@pytest.fixture
def large(enterprise: Large) -> Account:
    """The account alone."""
    return enterprise.account


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


class _Deployed(House):
    """The deployed API as a desk of the tests wants it."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def now(self) -> float:
        return time.time()

    def receive(self, webhook: Webhook) -> HttpReply:
        path = f"/webhook/{webhook.platform}/{webhook.channel}"
        answer = self._account.request("POST", path, headers=webhook.headers, body=webhook.body)
        return HttpReply(answer["statusCode"], answer.get("body", ""))


def test_copies_of_a_function_share_a_vendors_token_through_the_cache_signed_in_with_their_role(enterprise: Large) -> None:
    account = enterprise.account
    with FeishuDesk() as feishu:
        account.store_secret("assistant/production/feishu", feishu.secrets["feishu"])
        house = _Deployed(account)
        for number, text in enumerate(("What can you do?", "How do I connect Slack?")):
            feishu.ask(house, text, message=f"m{number}")
            assert account.drain() == 1
            account.restart("assistant-production-dialogue")  # another copy: nothing in its memory
        assert len(feishu.seen(house)) == 2
        tokens = [call for call in feishu.vendor.calls if call.path.endswith("tenant_access_token/internal")]
        assert len(tokens) == 1, "the second copy asked the vendor again"
    names = [command[0] for command in enterprise.cache.commands]
    assert {"AUTH", "GET", "SET"} == set(names)


def test_the_search_of_logs_is_set_up_by_the_deployment_and_takes_what_the_functions_wrote(enterprise: Large) -> None:
    account = enterprise.account
    assert set(enterprise.search.templates) == {"assistant-logs"}
    assert ("dashboard", "assistant-operator") in enterprise.search.saved
    streams = {"assistant-production-search", "assistant-production-archive"}
    assert set(account.aws.client("firehose").list_delivery_streams()["DeliveryStreamNames"]) == streams
    stream = account.deployed("AWS::KinesisFirehose::DeliveryStream", "assistant-production-search")
    destination = stream["AmazonopensearchserviceDestinationConfiguration"]
    (processor,) = destination["ProcessingConfiguration"]["Processors"]
    function = next(p["ParameterValue"] for p in processor["Parameters"] if p["ParameterName"] == "LambdaArn")
    assert function.endswith(":assistant-production-logs:live")
    assert destination["S3Configuration"]["ErrorOutputPrefix"].startswith("unsearched/errors/")
    with SlackSimulator() as slack:  # one message, whose lines are followed from both functions to the search
        account.store_secret("assistant/production/slack", slack.secrets)
        slack.channel("D0LOG", "U0LOG")
        event = slack.event(slack.say("D0LOG", "U0LOG", "What can you do?"))
        trace = "Root=1-67891233-abcdef012345678912345678"
        account.request("POST", "/webhook/slack/events", headers={**event.headers, "x-amzn-trace-id": trace}, body=event.body)
        account.drain()
    for name in ("webhook", "dialogue"):
        written = account.function(f"assistant-production-{name}").log.read_text().splitlines()
        for document in _piped(account, function, f"/assistant/production/{name}", written):
            enterprise.search.index(document)
    found = enterprise.search.find(trace__id=trace.removeprefix("Root="))
    assert {document["service.name"] for document in found} == {"webhook", "dialogue"}


def _piped(account: Account, function: str, group: str, lines: list[str]) -> list[dict[str, Any]]:
    """What the deployed function makes of `lines` as CloudWatch sends them, one a record."""
    records = []
    for number, line in enumerate(lines):
        events = [{"id": str(number), "timestamp": int(time.time() * 1000), "message": line}]
        batch = {"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": group, "logStream": "s", "logEvents": events}
        data = base64.b64encode(gzip.compress(json.dumps(batch).encode())).decode()
        records.append({"recordId": str(number), "approximateArrivalTimestamp": 0, "data": data})
    stream = "arn:aws:firehose:us-east-1:123456789012:deliverystream/assistant-production-search"
    answer = account.function(function).call({"deliveryStreamArn": stream, "records": records})
    assert {r["result"] for r in answer["records"]} == {"Ok"}
    return [json.loads(base64.b64decode(r["data"])) for r in answer["records"]]


def test_every_group_of_logs_goes_to_the_search_and_to_the_archive_but_the_pipelines_own(enterprise: Large) -> None:
    logs = enterprise.account.aws.client("logs")
    groups = {g["logGroupName"].rpartition("/")[2] for g in logs.describe_log_groups()["logGroups"]}
    followed = {}
    for name in groups:
        filters = logs.describe_subscription_filters(logGroupName=f"/assistant/production/{name}")["subscriptionFilters"]
        followed[name] = {f["destinationArn"].rpartition("-")[2] for f in filters}
    both = {name for name, to in followed.items() if to == {"search", "archive"}}
    assert both == {"webhook", "dialogue", "api", "oauth", "ingest", "init", "access"}
    assert all(not to for name, to in followed.items() if name not in both)
