"""What the synthesised templates promise, for both profiles; never a generated id."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks

import app as application
from assistant.errors import InvalidSetting
from assistant.observability import redact
from assistant.queue import QUEUE
from assistant.settings import ROUTES, Settings
from assistant.storage import SCHEMA
from infra.bundle import COMMON_LIMIT, FUNCTION_LIMIT, FUNCTIONS, LOG_FUNCTIONS, SERVICES, Bundle
from infra.deployment import SECRETS, Deployment
from tests.infra import roles
from tests.infra.conftest import Assembly

Synthesise = Callable[[str], Assembly]
both = pytest.mark.parametrize("profile", ["basic", "enterprise"])

STATEFUL = {
    "AWS::DynamoDB::Table": {"Table"},
    "AWS::KMS::Key": {"Key"},
    "AWS::S3::Bucket": {"Documents"},
    "AWS::SecretsManager::Secret": {f"Secret{name.title()}" for name in SECRETS},
}
"""Logical ids of what holds state. Changing one deletes the data of everyone who upgrades: do not."""


def ours(made: Assembly) -> dict[str, dict[str, Any]]:
    """Our functions by name, without those that the CDK brings along."""
    return {f["FunctionName"].rsplit("-", 1)[-1]: f for f in made.resources("AWS::Lambda::Function") if "FunctionName" in f}


@both
def test_no_logical_id_of_stored_data_ever_changes(assembly: Synthesise, profile: str) -> None:
    data = assembly(profile).template("data")["Resources"]
    found: dict[str, set[str]] = {}
    for logical_id, resource in data.items():
        found.setdefault(resource["Type"], set()).add(logical_id)
    for kind, ids in STATEFUL.items():
        assert found[kind] == ids | ({"Archive"} if profile == "enterprise" and kind == "AWS::S3::Bucket" else set())
    domains = [i for t in assembly(profile).templates().values() for i, r in t["Resources"].items() if "OpenSearch" in r["Type"]]
    assert domains == (["LogSearchDomain"] if profile == "enterprise" else [])
    for name, template in assembly(profile).templates().items():
        if not name.endswith("-data"):
            kinds = {r["Type"] for r in template["Resources"].values()}
            assert not kinds & {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SecretsManager::Secret"}, (
                f"state outside DataStack: {name}"
            )


def test_production_keeps_its_data_whatever_is_deleted(assembly: Synthesise) -> None:
    data = assembly("enterprise").template("data")["Resources"]
    for resource in data.values():
        if resource["Type"] in STATEFUL:
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    assert data["Table"]["Properties"]["DeletionProtectionEnabled"] is True


@both
def test_the_table_has_the_shape_the_code_reads_and_survives_mistakes(assembly: Synthesise, profile: str) -> None:
    (table,) = assembly(profile).resources("AWS::DynamoDB::Table")
    assert table["KeySchema"] == [
        {"AttributeName": SCHEMA["partition_key"], "KeyType": "HASH"},
        {"AttributeName": SCHEMA["sort_key"], "KeyType": "RANGE"},
    ]
    assert table["TimeToLiveSpecification"] == {"AttributeName": SCHEMA["ttl"], "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"]["SSEType"] == "KMS"
    assert table["ContributorInsightsSpecification"]["Enabled"] is True
    assert "GlobalSecondaryIndexes" not in table


@both
def test_queues_keep_order_redeliver_and_never_overlap_a_running_turn(assembly: Synthesise, profile: str) -> None:
    queues = {q["QueueName"].split("-", 2)[-1]: q for q in assembly(profile).resources("AWS::SQS::Queue")}
    turns, dead = queues["turns.fifo"], queues["turns-dead.fifo"]
    assert turns["FifoQueue"] is dead["FifoQueue"] is True
    assert (turns["FifoThroughputLimit"], turns["DeduplicationScope"]) == ("perMessageGroupId", "messageGroup")
    assert turns["VisibilityTimeout"] == QUEUE.visibility
    assert turns["RedrivePolicy"]["maxReceiveCount"] == QUEUE.max_receives
    assert dead["MessageRetentionPeriod"] == QUEUE.dead_letter_retention > turns["MessageRetentionPeriod"]
    functions = {
        f["FunctionName"].rsplit("-", 1)[-1]: f
        for f in assembly(profile).resources("AWS::Lambda::Function")
        if "FunctionName" in f
    }
    assert functions["dialogue"]["Timeout"] == QUEUE.function_timeout < turns["VisibilityTimeout"]
    assert functions["ingest"]["Timeout"] < queues["ingest.fifo"]["VisibilityTimeout"]


@both
def test_queues_feed_functions_with_partial_failures_and_bounded_concurrency(assembly: Synthesise, profile: str) -> None:
    mappings = {m["BatchSize"]: m for m in assembly(profile).resources("AWS::Lambda::EventSourceMapping")}
    turns = mappings[QUEUE.batch_size]
    assert all(m["FunctionResponseTypes"] == ["ReportBatchItemFailures"] for m in mappings.values())
    functions = {
        f["FunctionName"].rsplit("-", 1)[-1]: f
        for f in assembly(profile).resources("AWS::Lambda::Function")
        if "FunctionName" in f
    }
    most = turns["ScalingConfig"]["MaximumConcurrency"]
    assert 50 <= most <= functions["dialogue"].get("ReservedConcurrentExecutions", most)


@both
def test_every_route_of_the_settings_exists_and_no_other(assembly: Synthesise, profile: str) -> None:
    routes = {r["RouteKey"] for r in assembly(profile).resources("AWS::ApiGatewayV2::Route")}
    assert routes == {f"{r.method} {r.path}" for r in ROUTES}
    (stage,) = assembly(profile).resources("AWS::ApiGatewayV2::Stage")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0
    assert "$context.requestId" in stage["AccessLogSettings"]["Format"]
    assert "queryString" not in stage["AccessLogSettings"]["Format"], "OAuth codes and signatures travel in the query"


@both
def test_functions_run_on_arm_behind_an_alias_with_only_settings_in_the_environment(assembly: Synthesise, profile: str) -> None:
    functions = ours(assembly(profile))
    expected = [*FUNCTIONS, *(LOG_FUNCTIONS if profile == "enterprise" else ())]
    assert set(functions) == set(expected)
    for function in functions.values():
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == "python3.13"
        assert len(function["Layers"]) == 4
        variables = function["Environment"]["Variables"]
        plain = {k: v if isinstance(v, str) else "resolved at deployment" for k, v in variables.items()}
        number = {"MAX_BODY_BYTES", "REPLAY_WINDOW_SECONDS", "RETENTION_DAYS", "HISTORY_TURNS", "ANSWER_SECONDS"}
        settings = Settings.from_env({k: v for k, v in plain.items() if k not in number})
        assert set(settings.to_env()) >= set(plain) - number, "a variable that Settings does not know"
    aliases = assembly(profile).resources("AWS::Lambda::Alias")
    assert [a["Name"] for a in aliases] == ["live"] * len(expected)


@both
def test_x_ray_draws_what_the_message_says_and_nothing_by_itself(assembly: Synthesise, profile: str) -> None:
    modes = {name: f["TracingConfig"]["Mode"] for name, f in ours(assembly(profile)).items() if "TracingConfig" in f}
    assert {name for name, mode in modes.items() if mode == "Active"} == {"dialogue"}


def test_cold_starts_are_avoided_in_each_profile_by_its_own_means(assembly: Synthesise) -> None:
    small, large = ours(assembly("basic")), ours(assembly("enterprise"))
    assert small["webhook"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert "SnapStart" not in large["webhook"], "a function cannot have both a snapshot and provisioned copies"
    warm = [a for a in assembly("enterprise").resources("AWS::Lambda::Alias") if "ProvisionedConcurrencyConfig" in a]
    assert len(warm) == 3
    assert not [a for a in assembly("basic").resources("AWS::Lambda::Alias") if "ProvisionedConcurrencyConfig" in a]


@both
def test_no_secret_is_in_a_template(assembly: Synthesise, profile: str) -> None:
    for secret in assembly(profile).resources("AWS::SecretsManager::Secret"):
        assert "SecretString" not in secret
        assert secret["GenerateSecretString"]["SecretStringTemplate"] == "{}"
    for name, template in assembly(profile).templates().items():
        for variables in re.findall(r'"Variables": (\{[^}]*\})', json.dumps(template)):
            assert redact(variables) == variables, name


@both
def test_whatever_takes_data_refuses_plain_http(assembly: Synthesise, profile: str) -> None:
    made = assembly(profile)
    policies = made.resources("AWS::SQS::QueuePolicy") + made.resources("AWS::S3::BucketPolicy")
    assert len(policies) >= len(made.resources("AWS::SQS::Queue")) + len(made.resources("AWS::S3::Bucket"))
    for policy in policies:
        denied = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in denied]
    documents = made.template("data")["Resources"]["Documents"]["Properties"]
    assert documents["NotificationConfiguration"]["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
    assert documents["VersioningConfiguration"] == {"Status": "Enabled"}
    for bucket in made.resources("AWS::S3::Bucket"):
        assert all(bucket["PublicAccessBlockConfiguration"].values())


@both
def test_each_role_can_do_what_the_golden_table_says_and_nothing_else(assembly: Synthesise, profile: str) -> None:
    golden = json.loads(roles.GOLDEN.read_text())[profile]
    assert roles.roles(assembly(profile).templates()) == golden, (
        "if this was meant: python -m tests.infra.roles, and review the diff"
    )


@both
def test_no_role_of_ours_has_a_wildcard_action(assembly: Synthesise, profile: str) -> None:
    for owner, actions in roles.roles(assembly(profile).templates()).items():
        for action, places in actions.items():
            assert "*" not in action, f"{owner}: {action}"
            stars = {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "cloudwatch:GetMetricData"}
            assert "*" not in places or action in stars or action.startswith("ec2:"), f"{owner}: {action} on everything"


@both
def test_no_role_may_change_or_remove_what_stands_in_the_audit_log(assembly: Synthesise, profile: str) -> None:
    found = 0
    for owner, actions in roles.roles(assembly(profile).templates()).items():
        for action in ("dynamodb:UpdateItem", "dynamodb:DeleteItem"):
            for place in actions.get(action, ()):
                found += 1
                kept = '"ForAllValues:StringNotLike": {"dynamodb:LeadingKeys": ["AUDIT#*"]}' in place
                assert kept or '"dynamodb:LeadingKeys": ["X#' in place, f"{owner}: {action} on {place}"
        assert not {a for a in actions if a.startswith(("dynamodb:Batch", "dynamodb:Partiql"))}, owner
    assert found > 4


def test_a_finding_that_nobody_accepted_stops_the_synthesis() -> None:
    app = application.application()
    sqs.Queue(cdk.Stack(app, "careless"), "Open")
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError, match="AwsSolutions-SQS4"):
        app.synth()


def test_layers_are_within_their_limits_and_hold_what_the_functions_import(bundle: Bundle) -> None:
    sizes = bundle.sizes()
    assert sum(sizes[f"layers/{n}"] for n in ("dependencies", "shared", "plugins")) <= COMMON_LIMIT
    for name in (*FUNCTIONS, *LOG_FUNCTIONS):
        assert sizes[f"functions/{name}"] <= FUNCTION_LIMIT
        assert {p.name for p in bundle.function(name).iterdir() if p.is_file()} == {f"{name}.py"}
    python = bundle.layer("dependencies") / "python"
    machine_code = [p.name for p in python.rglob("*.so")]
    assert machine_code
    assert all("x86_64" not in n for n in machine_code), "the layer holds another processor's code"
    assert not (bundle.layer("shared") / "python" / "assistant" / "dev").exists()


def test_the_sdk_layer_describes_every_service_the_code_calls(bundle: Bundle) -> None:
    data = bundle.layer("boto3") / "python" / "botocore" / "data"
    kept = {p.name for p in data.iterdir() if p.is_dir()}
    called: set[str] = set()
    for name in ("shared", "plugins"):
        for file in (bundle.layer(name) / "python").rglob("*.py"):
            called |= set(re.findall(r"""client\(\s*["']([a-z0-9-]+)["']""", file.read_text()))
    assert called <= kept <= set(SERVICES)
    assert "dynamodb" in called


def test_linter_finds_nothing(assembly: Synthesise) -> None:
    from cfnlint.api import ManualArgs, lint  # takes a second to load

    for name, template in assembly("enterprise").templates().items():  # everything that basic has, and more
        found: list[Any] = lint(json.dumps(template), config=ManualArgs(regions=["us-east-1"], ignore_checks=["W3005", "I"]))
        assert not found, f"{name}: " + "; ".join(str(f) for f in found)


# --- with an embedder ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedding(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    folder = tmp_path_factory.mktemp("embedder")
    app = application.application(
        outdir=str(folder), context={"stage": "dev", "embedder": "bedrock:amazon.titan-embed-text-v2:0"}
    )
    application.compose(app, application.described(app), bundle)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()  # a finding of the linter that nobody accepted would stop it
    return Assembly(folder)


def test_the_index_fits_the_embedder_is_sealed_with_our_key_and_compares_by_cosine(embedding: Assembly) -> None:
    (bucket,) = embedding.resources("AWS::S3Vectors::VectorBucket")
    (index,) = embedding.resources("AWS::S3Vectors::Index")
    assert bucket["EncryptionConfiguration"]["SseType"] == "aws:kms"
    assert {k: v for k, v in index.items() if k != "Tags"} == {
        "VectorBucketName": "assistant-dev-vectors",
        "IndexName": "passages-1024",
        "DataType": "float32",
        "Dimension": 1024,
        "DistanceMetric": "cosine",
    }
    key = json.dumps(embedding.resources("AWS::KMS::Key"))
    assert "indexing.s3vectors.amazonaws.com" in key


def test_the_functions_are_told_where_it_is_and_each_may_do_what_it_needs(embedding: Assembly) -> None:
    for function in embedding.resources("AWS::Lambda::Function"):
        if "EMBEDDER" in (variables := function.get("Environment", {}).get("Variables", {})):
            assert variables["VECTOR_INDEX"] == "assistant-dev-vectors/passages-1024"
    allowed = {
        owner.rpartition("/")[0].rpartition("/")[2] or owner: sorted(a for a in actions if a.startswith("s3vectors:"))
        for owner, actions in roles.roles(embedding.templates()).items()
        if any(a.startswith("s3vectors:") for a in actions)
    }
    assert sorted(allowed.values()) == sorted(
        [
            ["s3vectors:GetVectors", "s3vectors:PutVectors", "s3vectors:QueryVectors"],
            ["s3vectors:DeleteVectors", "s3vectors:GetVectors", "s3vectors:PutVectors", "s3vectors:QueryVectors"],
            ["s3vectors:DeleteVectors", "s3vectors:PutVectors"],
            ["s3vectors:GetVectors", "s3vectors:QueryVectors"],
        ]
    )
    for actions in roles.roles(embedding.templates()).values():
        for action, places in actions.items():
            if action.startswith("s3vectors:"):
                assert all(p.endswith("bucket/assistant-dev-vectors/index/passages-1024") for p in places), (action, places)


def test_pages_are_looked_at_again_every_day_through_the_queue(embedding: Assembly) -> None:
    rules = [r for r in embedding.resources("AWS::Events::Rule") if "Web pages" in r.get("Description", "")]
    assert [r["ScheduleExpression"] for r in rules] == ["rate(1 day)"]
    (target,) = rules[0]["Targets"]
    assert target["SqsParameters"] == {"MessageGroupId": "knowledge"}


@pytest.mark.parametrize(
    ("embedder", "size"),
    [
        ("", 0),
        ("openai:text-embedding-3-small@https://api.example/v1", 1536),
        ("openai:BAAI/bge-m3@https://models.example/v1", 1024),
        ("bedrock:cohere.embed-multilingual-v3", 1024),
        ("openai:Qwen/Qwen3-Embedding-8B@http://10.0.0.1/v1", 4096),
    ],
)
def test_the_size_of_known_embedders_is_known(embedder: str, size: int) -> None:
    assert Deployment(embedder=embedder).vector_size == size


def test_an_unknown_embedder_must_say_its_size() -> None:
    given = {"embedder": "openai:our-own@https://models.example/v1"}
    with pytest.raises(InvalidSetting, match="vector_dimensions"):
        Deployment.of(given, env={})
    assert Deployment.of({**given, "vector_dimensions": "768"}, env={}).vector_size == 768
    assert Deployment.of({**given, "vector_index": "ours/index"}, env={}).vector_size == 0


def test_without_an_embedder_there_is_no_index(assembly: Callable[[str], Assembly]) -> None:
    assert not assembly("basic").resources("AWS::S3Vectors::Index")


@both
def test_a_schedule_looks_at_the_rollout_and_at_forms_that_were_left_open(assembly: Synthesise, profile: str) -> None:
    rules = assembly(profile).resources("AWS::Events::Rule")
    tasks = {json.loads(t["Input"])["task"] for rule in rules for t in rule["Targets"] if "Input" in t}
    assert {"rollout", "silence"} <= tasks
