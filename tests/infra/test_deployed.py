"""The stacks, deployed into an emulated account by the real command line, answer a signed Slack event with a reply in Slack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.settings import ROUTES
from infra.alarms import watches
from infra.bundle import FUNCTIONS
from infra.deployment import Deployment
from tests.infra import roles
from tests.infra.cloud import Account
from tests.infra.runbook import Operator, commands, secret_of, served
from tests.simulators.slack import SlackSimulator


@pytest.fixture(scope="module")
def account(third_party: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account into which somebody has said `make deploy`."""
    with Account(tmp_path_factory.mktemp("account"), third_party=third_party) as made:
        made.make_deploy("--stage", "dev", "--", "--method", "direct")
        yield made


def test_a_deployment_ends_with_what_to_do_next(account: Account) -> None:
    said = account.printed.splitlines()[-3:]
    assert said[0] == f"The assistant is at {account.outputs()['Url']}"
    (command,) = re.findall(r"`?(aws secretsmanager get-secret-value --secret-id \S+)", said[1])
    assert "assistant/dev/webchat" in command
    assert f"{account.outputs()['Url']}/webhook/PLATFORM/CHANNEL" in said[2]


def test_a_second_deployment_finds_nothing_in_its_way(account: Account) -> None:
    assert account.make_deploy("--stage", "dev", "--check") == ""


def test_a_signed_slack_event_is_answered_in_slack_by_what_was_deployed(account: Account) -> None:
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", slack.secrets)
        slack.channel("D0ANN", "U0ANN")
        event = slack.event(slack.say("D0ANN", "U0ANN", "What can you do?"))
        answer = account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)
        assert answer["statusCode"] == 200
        assert slack.visible("D0ANN") == []  # the webhook function only queues
        assert account.drain() == 1
        assert slack.visible("D0ANN")[-1]
        again = account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)
        assert again["statusCode"] == 200
        seen = slack.visible("D0ANN")
        account.drain()
        assert slack.visible("D0ANN") == seen


def test_one_turn_writes_no_more_than_four_kilobytes_of_log(account: Account) -> None:
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", slack.secrets)
        slack.channel("D0LOG", "U0LOG")
        functions = [account.function(f"assistant-dev-{name}") for name in ("webhook", "dialogue")]
        for question in ("What can you do?", "How do I connect Slack?"):
            before = [len(f.log.read_bytes()) for f in functions]
            event = slack.event(slack.say("D0LOG", "U0LOG", question))
            account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)
            assert account.drain() == 1
            written = [len(f.log.read_bytes()) - was for f, was in zip(functions, before, strict=True)]
            print(f"log of a turn: webhook {written[0]} bytes, dialogue {written[1]} bytes")
            assert 0 < sum(written) <= 4096
        lines = [line for f in functions for line in f.logged()]
        assert all("@timestamp" in line or "_aws" in line for line in lines), "a line that is no JSON of ours"


def test_a_forged_event_is_refused_by_what_was_deployed_and_queues_nothing(account: Account) -> None:
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", slack.secrets)
        event = slack.event(slack.say("D0BOB", "U0BOB", "Hello"))
        forged = {**event.headers, "x-slack-signature": "v0=" + "0" * 64}
        answer = account.request("POST", "/webhook/slack/events", headers=forged, body=event.body)
        assert answer["statusCode"] == 401
        assert account.drain() == 0


def test_every_route_is_deployed_to_the_live_alias_of_its_function(account: Account) -> None:
    client = account.aws.client("apigatewayv2")
    api = client.get_apis()["Items"][0]["ApiId"]
    integrations = {i["IntegrationId"]: i["IntegrationUri"] for i in client.get_integrations(ApiId=api)["Items"]}
    deployed = {
        r["RouteKey"]: integrations[r["Target"].removeprefix("integrations/")].split(":function:")[1]
        for r in client.get_routes(ApiId=api)["Items"]
    }
    assert deployed == {f"{r.method} {r.path}": f"assistant-dev-{r.function}:live" for r in ROUTES}


def test_a_generated_key_opens_the_web_chat(account: Account) -> None:
    stored = account.aws.client("secretsmanager").get_secret_value(SecretId="assistant/dev/webchat")["SecretString"]
    assert len(json.loads(stored)["api_key"]) == 40


def test_the_web_chat_is_served_and_answered_by_what_was_deployed(account: Account) -> None:
    stored = account.aws.client("secretsmanager").get_secret_value(SecretId="assistant/dev/webchat")["SecretString"]
    key = {"authorization": f"Bearer {json.loads(stored)['api_key']}", "content-type": "application/json"}
    assert account.request("GET", "/health", headers={})["statusCode"] == 200
    assert "<html" in account.request("GET", "/", headers={"accept": "text/html"})["body"].lower()
    said = {"conversation": "c1", "user": "ann", "text": "What can you do?"}
    sent = account.request("POST", "/webhook/webchat/messages", headers=key, body=json.dumps(said).encode())
    assert sent["statusCode"] == 202
    assert account.drain() == 1
    turns = account.request("GET", "/api/conversations/c1/turns", headers=key)
    assert turns["statusCode"] == 200
    assert "assistant" in turns["body"].lower()
    assert account.request("GET", "/api/conversations/c1/turns", headers={})["statusCode"] == 401


def test_functions_are_deployed_as_declared(account: Account) -> None:
    client = account.aws.client("lambda")
    found = {f["FunctionName"]: f for f in client.list_functions()["Functions"]}
    webhook = found["assistant-dev-webhook"]
    assert webhook["Architectures"] == ["arm64"]
    assert len(webhook["Layers"]) == 4
    assert {found[f"assistant-dev-{name}"]["Runtime"] for name in FUNCTIONS} == {"python3.13"}


def test_the_first_data_is_written_by_the_deployment_itself(account: Account) -> None:
    table = account.outputs()["TableName"]
    key = {"pk": {"S": "SYSTEM"}, "sk": {"S": "parameters"}}
    assert "Item" in account.aws.client("dynamodb").get_item(TableName=table, Key=key)


def test_alarms_exist_and_look_at_what_was_deployed(account: Account) -> None:
    cloudwatch = account.aws.client("cloudwatch")
    alarms = {a["AlarmName"]: a for a in cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]}
    names = {f"assistant-dev-{w.name}" for w in watches(Deployment())}
    assert names <= set(alarms)
    looked_at = {
        d["Value"]
        for name in names
        for q in alarms[name]["Metrics"]
        for d in q.get("MetricStat", {}).get("Metric", {}).get("Dimensions", ())
        if d["Name"] in {"QueueName", "FunctionName", "TableName", "ApiId"}
    }
    api = account.aws.client("apigatewayv2").get_apis()["Items"][0]["ApiId"]
    queues = {"assistant-dev-turns.fifo", "assistant-dev-turns-dead.fifo", "assistant-dev-ingest-dead.fifo"}
    functions = {f"assistant-dev-{n}" for n in ("webhook", "dialogue", "api", "oauth")}
    assert looked_at == {api, account.outputs()["TableName"]} | queues | functions
    (page,) = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert page["AlarmActions"] == [account.outputs()["AlarmTopic"]]


def test_an_uploaded_document_is_answered_from(account: Account) -> None:
    bucket = account.outputs()["BucketName"]
    page = "# Parking\n\nThe visitors' car park is on level minus three, behind the blue gate."
    account.aws.client("s3").put_object(Bucket=bucket, Key="documents/house/parking+gate.md", Body=page.encode())
    # The emulated bucket tells nobody, so this says to the deployed rule what S3 says to EventBridge.
    told = {"bucket": {"name": bucket}, "object": {"key": "documents/house/parking+gate.md", "size": len(page)}}
    elsewhere = {"bucket": {"name": bucket}, "object": {"key": "turns/anything"}}
    for detail in (told, elsewhere):
        entry = {"Source": "aws.s3", "DetailType": "Object Created", "Detail": json.dumps(detail)}
        assert account.aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    assert account.drain() == 1
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", slack.secrets)
        slack.channel("D0DAN", "U0DAN")
        event = slack.event(slack.say("D0DAN", "U0DAN", "Where is the visitors' car park?"))
        account.restart("assistant-dev-dialogue")  # a new copy reads the newest knowledge at once
        account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)
        account.drain()
        assert "blue gate" in slack.visible("D0DAN")[-1]


# --- the runbook: its own commands, from its own page --------------------------------------------


@pytest.fixture(scope="module")
def operator(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Somebody with the page and a terminal."""
    with served(account) as url:
        key = secret_of(account, "assistant/dev/webchat")["api_key"]
        yield Operator(account, "dev", folder=tmp_path_factory.mktemp("operator"), url=url, key=key)


def test_runbook_replay_dead_letters(account: Account, operator: Operator) -> None:
    listed, shown, one, all_of_them = commands("Replay dead letters")
    sqs = account.aws.client("sqs")
    dead = account.outputs()["DeadLettersUrl"]
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", slack.secrets)
        account.restart("assistant-dev-webhook")
        account.restart("assistant-dev-dialogue")
        for number in range(2):
            slack.channel(f"D0LOST{number}", "U0LOST")
            event = slack.event(slack.say(f"D0LOST{number}", "U0LOST", "What can you do?"))
            account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)
            (message,) = sqs.receive_message(QueueUrl=account.outputs()["TurnsQueueUrl"])["Messages"]
            sqs.delete_message(QueueUrl=account.outputs()["TurnsQueueUrl"], ReceiptHandle=message["ReceiptHandle"])
            reason = {"reason": {"DataType": "String", "StringValue": "the model was down"}}
            sqs.send_message(
                QueueUrl=dead, MessageBody=message["Body"], MessageGroupId=f"g{number}", MessageDeduplicationId=f"d{number}",
                MessageAttributes=reason,
            )  # fmt: skip
        lines = operator.run(listed).splitlines()
        assert len(lines) == 2
        assert all("the model was down" in line for line in lines)
        id_ = lines[0].split()[0]
        details = operator.run(shown, ID=id_)
        assert "slack" in details
        assert "What can you do" not in details
        whole = next(line.split(maxsplit=1)[1] for line in details.splitlines() if line.startswith("id "))
        assert "replayed 1" in operator.run(one, ID=whole)
        assert "replayed 1" in operator.run(all_of_them)
        account.drain()
        assert slack.visible("D0LOST0")
        assert slack.visible("D0LOST1")


def test_runbook_roll_back(account: Account, operator: Operator) -> None:
    groups, deployments, stop, versions, moved = commands("Roll back")
    client = account.aws.client("lambda")
    before = client.get_alias(FunctionName="assistant-dev-dialogue", Name="live")["FunctionVersion"]
    client.publish_version(FunctionName="assistant-dev-dialogue")
    found = [v["Version"] for v in json.loads(operator.run(versions))["Versions"]]
    assert before in found
    newest = max((v for v in found if v.isdecimal()), key=int)
    operator.run(moved, VERSION=newest)
    assert client.get_alias(FunctionName="assistant-dev-dialogue", Name="live")["FunctionVersion"] == newest
    operator.run(moved, VERSION=before)
    assert client.get_alias(FunctionName="assistant-dev-dialogue", Name="live")["FunctionVersion"] == before
    deploy = account.aws.client("codedeploy")  # dev has no canaries: one is made here, and a deployment that is on its way
    deploy.create_application(applicationName="assistant-dev", computePlatform="Lambda")
    made = {"applicationName": "assistant-dev", "deploymentGroupName": "Dialogue"}
    deploy.create_deployment_group(**made, serviceRoleArn="arn:aws:iam::123456789012:role/r")
    assert json.loads(operator.run(groups))["deploymentGroups"] == ["Dialogue"]
    deploy.create_deployment(**made, revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": "{}"}})
    assert "deployments" in json.loads(operator.run(deployments, GROUP="Dialogue"))
    sent = operator.parameters(stop, DEPLOYMENT="d-1")  # the emulated service cannot stop one: the command's names are checked
    assert sent == {"deploymentId": "d-1", "autoRollbackEnabled": True}


def test_runbook_rotate_a_secret_and_revoke_the_app(account: Account, operator: Operator) -> None:
    (rotate,) = commands("Rotate a secret")
    (revoke,) = commands("Revoke a platform app")
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", {**slack.secrets, "signing_secret": "before-before-before"})
        account.restart("assistant-dev-webhook")
        slack.channel("D0ROT", "U0ROT")

        def sent() -> int:
            event = slack.event(slack.say("D0ROT", "U0ROT", "What can you do?"))
            return int(account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)["statusCode"])

        assert sent() == 401
        operator.folder.joinpath("new.json").write_text(json.dumps(slack.secrets))
        operator.run(rotate, PLATFORM="slack")
        account.restart("assistant-dev-webhook")  # 20 seconds later, in a test that does not wait
        assert sent() == 200
        account.drain()
        operator.run(revoke, PLATFORM="slack")
        account.restart("assistant-dev-webhook")
        assert sent() == 401
        account.store_secret("assistant/dev/slack", slack.secrets)
        account.restart("assistant-dev-webhook")


def test_runbook_restore_the_table(account: Account, operator: Operator) -> None:
    restore, wait, copy, drop = commands("Restore the table")
    client = account.aws.client("dynamodb")
    table = account.outputs()["TableName"]
    lost = {"pk": {"S": "C#default#slack#D0OLD"}, "sk": {"S": "T#1"}, "text": {"S": "kept"}}
    stays = {"pk": {"S": "C#default#slack#D0OLD"}, "sk": {"S": "T#2"}, "text": {"S": "before"}}
    for item in (lost, stays):
        client.put_item(TableName=table, Item=item)
    operator.run(restore, TABLE=table)
    key = {name: lost[name] for name in ("pk", "sk")}
    client.delete_item(TableName=table, Key=key)
    client.put_item(TableName=table, Item={**stays, "text": {"S": "since"}})
    operator.run(wait)
    said = operator.run(copy)
    assert said.startswith("1 items copied from assistant-dev-restored to")
    assert client.get_item(TableName=table, Key=key)["Item"] == lost
    assert client.get_item(TableName=table, Key={"pk": stays["pk"], "sk": stays["sk"]})["Item"]["text"] == {"S": "since"}
    operator.run(drop)
    assert "assistant-dev-restored" not in client.list_tables()["TableNames"]


def test_runbook_erase_a_person(account: Account, operator: Operator) -> None:
    asked, done = commands("Erase a person")
    with SlackSimulator() as slack:
        account.store_secret("assistant/dev/slack", slack.secrets)
        account.restart("assistant-dev-webhook")
        account.restart("assistant-dev-dialogue")
        slack.channel("D0GONE", "U0GONE")
        event = slack.event(slack.say("D0GONE", "U0GONE", "What can you do?"))
        account.request("POST", "/webhook/slack/events", headers=event.headers, body=event.body)
        account.drain()
    table = account.outputs()["TableName"]
    client = account.aws.client("dynamodb")

    def known() -> bool:
        pages = client.get_paginator("scan").paginate(TableName=table)
        return any("D0GONE" in json.dumps(item, default=str) for page in pages for item in page["Items"])

    assert known()
    operator.run(asked, status=1, PERSON="slack:U0GONE")
    assert known(), "the first command only says what would go"
    operator.run(done, PERSON="slack:U0GONE")
    assert not known()


def test_runbook_drain_and_replace_the_endpoint(account: Account, operator: Operator) -> None:
    deploy, endpoint, component, away, back = commands("Drain and replace the endpoint")
    model = next(part for part in deploy.split() if part.startswith("model="))
    assert Deployment.of({"gpu_profile": "48gb-small", "model": model.removeprefix("model=").replace("STAGE", "dev")}, env={})
    sagemaker = account.aws.client("sagemaker")
    container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:1"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/role", PrimaryContainer=container)
    sagemaker.create_endpoint_config(
        EndpointConfigName="c", ProductionVariants=[{"VariantName": "all", "ModelName": "m", "InstanceType": "ml.g4dn.xlarge",
                                                    "InitialInstanceCount": 1}]
    )  # fmt: skip
    sagemaker.create_endpoint(EndpointName="assistant-dev-model", EndpointConfigName="c")
    assert json.loads(operator.run(endpoint))["EndpointStatus"] == "InService"
    operator.parameters(component)  # the emulated services know no components: names are checked
    for command, capacity in ((away, 0), (back, 4)):
        assert operator.parameters(command)["MaxCapacity"] == capacity


def test_functions_have_called_nothing_that_their_roles_do_not_allow(account: Account) -> None:
    golden = json.loads(roles.GOLDEN.read_text())["basic"]
    assert {n.removeprefix("assistant-dev-") for n in account.calls} >= {"webhook", "dialogue", "ingest", "init"}
    print()
    for name, calls in sorted(account.calls.items()):
        allowed = golden[f"{name.removeprefix('assistant-dev-').title()}Function/Role"]
        wanted = {ACTIONS.get(call, call) for call in calls}
        print(f"{name}: {', '.join(sorted(wanted))}")
        assert wanted <= set(allowed), f"{name} would be refused: {wanted - set(allowed)}"


ACTIONS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
"""Calls whose permission has another name."""
