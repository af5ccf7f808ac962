"""What the inference stack promises: one engine a GPU, weights without a way out, growth by concurrency, roll-back by alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks

import app as application
from assistant.errors import InvalidSetting
from assistant.llm.models import parse_spec
from infra.data import DataStack
from infra.deployment import Deployment
from infra.inference import AMI, CONTAINER, InferenceStack, model_grants, profile_of
from infra.machines import MACHINES

Made = Callable[..., dict[str, Any]]
BASE = Deployment(gpu_profile="48gb-small", gpu_weights="qwen3-8b-fp8", stage="production")
PROFILES = sorted(p.stem for p in (CONTAINER / "engine").glob("*.json"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    @cache
    def synthesise(least: int = 1, image: str = "") -> dict[str, Any]:
        deployment = replace(BASE, gpu_copies_min=least, gpu_image=image)
        folder = tmp_path_factory.mktemp("inference")
        app = application.application(outdir=str(folder))
        env = cdk.Environment()
        data = DataStack(app, "data", deployment=deployment, env=env)
        InferenceStack(app, "inference", data=data, deployment=deployment, env=env)
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        app.synth()
        template: dict[str, Any] = json.loads((folder / "inference.template.json").read_text())
        return template

    return synthesise


def only(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """Properties of the one resource of `kind`."""
    (found,) = (r for r in template["Resources"].values() if r["Type"] == kind)
    properties: dict[str, Any] = found["Properties"]
    return properties


def kinds(template: dict[str, Any]) -> list[str]:
    return [r["Type"] for r in template["Resources"].values()]


def test_the_endpoint_routes_by_prefix_on_a_machine_with_the_right_driver(made: Made) -> None:
    template = made()
    (variant,) = only(template, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    assert variant["RoutingConfig"]["RoutingStrategy"] == "PREFIX_AWARE"
    assert variant["InferenceAmiVersion"] == AMI
    assert variant["InstanceType"] == "ml.g6e.2xlarge"
    assert variant["ManagedInstanceScaling"] == {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 4}
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 900
    assert only(template, "AWS::SageMaker::Endpoint")["EndpointName"] == "assistant-production-model"


def test_the_container_gets_its_weights_and_reaches_nothing(made: Made) -> None:
    model = only(made(), "AWS::SageMaker::Model")
    assert model["EnableNetworkIsolation"] is True
    container = model["PrimaryContainer"]
    source = container["ModelDataSource"]["S3DataSource"]
    assert source["CompressionType"] == "None"
    assert source["S3DataType"] == "S3Prefix"
    assert json.dumps(source["S3Uri"]).endswith('/models/qwen3-8b-fp8/"]]}')
    assert container["Environment"] == {"ENGINE_PROFILE": "48gb-small"}


def test_its_role_reads_one_prefix_and_writes_only_logs(made: Made) -> None:
    statements = only(made(), "AWS::IAM::Policy")["PolicyDocument"]["Statement"]
    actions = {a for s in statements for a in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}
    assert not [a for a in actions if a.startswith(("s3:Put", "s3:Delete", "kms:Encrypt", "sagemaker:", "dynamodb:", "sqs:"))]
    (read,) = (s for s in statements if s["Action"] == "s3:GetObject")
    assert "/models/qwen3-8b-fp8/*" in json.dumps(read["Resource"])


def test_a_new_version_comes_copy_by_copy_and_goes_back_when_its_alarms_fire(made: Made) -> None:
    template = made()
    rollout = only(template, "AWS::SageMaker::InferenceComponent")["DeploymentConfig"]
    assert rollout["RollingUpdatePolicy"]["MaximumBatchSize"] == {"Type": "COPY_COUNT", "Value": 1}
    watched = {a["AlarmName"]["Ref"] for a in rollout["AutoRollbackConfiguration"]["Alarms"]}
    alarms = {i: r["Properties"]["AlarmName"] for i, r in template["Resources"].items() if r["Type"] == "AWS::CloudWatch::Alarm"}
    assert watched == set(alarms)
    assert set(alarms.values()) == {"assistant-production-model-errors", "assistant-production-model-slow"}


def test_copies_follow_the_answers_in_the_making(made: Made) -> None:
    template = made()
    target = only(template, "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    assert target["ResourceId"] == "inference-component/assistant-production-model"
    policy = only(template, "AWS::ApplicationAutoScaling::ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
    metric = policy["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
    slots = profile_of("48gb-small")["args"]["max-num-seqs"]
    assert 0.5 * slots <= policy["TargetValue"] <= 0.8 * slots, "a copy is full before its neighbour has started"


def test_it_sleeps_only_where_that_was_chosen_and_a_question_wakes_it(made: Made) -> None:
    assert "AWS::CloudWatch::Alarm" in kinds(made())
    template = made(0)
    (variant,) = only(template, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    assert variant["ManagedInstanceScaling"]["MinInstanceCount"] == 0
    (asleep,) = (
        r["Properties"]
        for r in template["Resources"].values()
        if r["Type"] == "AWS::CloudWatch::Alarm" and r["Properties"].get("MetricName") == "NoCapacityInvocationFailures"
    )
    (wake,) = (i for i, r in template["Resources"].items() if r["Properties"].get("PolicyType") == "StepScaling")
    assert wake in json.dumps(asleep["AlarmActions"])
    assert asleep["Threshold"] == 1


def test_the_image_is_built_from_our_container_or_taken_from_a_registry(made: Made) -> None:
    assert "Fn::Sub" in only(made(), "AWS::SageMaker::Model")["PrimaryContainer"]["Image"]
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/engine@sha256:0"
    assert only(made(0, image), "AWS::SageMaker::Model")["PrimaryContainer"]["Image"] == image


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_a_machine_of_its_size(name: str) -> None:
    machine = MACHINES[name.partition("-")[0]]
    assert profile_of(name)["gpu"]["memory_gb"] == int(name.partition("gb")[0])
    assert machine.gpus == (8 if machine.instance.endswith("48xlarge") else 1)


def test_a_deployment_with_gpus_asks_its_own_endpoint_unless_told_otherwise() -> None:
    own = Deployment.of({"stage": "dev", "gpu_profile": "24gb-small"}, env={})
    (spec,) = parse_spec(own.model)
    assert (spec.kind, spec.address, spec.component) == ("sagemaker", "assistant-dev-model", "assistant-dev-model")
    assert Deployment.of({"gpu_profile": "24gb-small", "model": "builtin"}, env={}).model == "builtin"
    assert Deployment.of({}, env={}).model == "builtin"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"gpu_profile": "12gb-small"}, "48gb-small"),
        ({"gpu_weights": "../x"}, "qwen3-8b-fp8"),
        ({"gpu_instance": "g5"}, r"ml\.g6e"),
        ({"gpu_image": "docker.io/vllm"}, r"dkr\.ecr"),
        ({"gpu_copies_min": "5"}, "no range"),
        ({"gpu_copies_max": "0"}, "no range"),
    ],
)
def test_a_gpu_setting_that_cannot_be_used_is_named(given: dict[str, str], hint: str) -> None:
    with pytest.raises(InvalidSetting, match=hint):
        Deployment.of(given, env={})


@pytest.mark.parametrize(
    ("model", "tails"),
    [
        ("builtin", []),
        ("openai:m@http://h/v1", []),
        ("sagemaker:Chat/Qwen", [":endpoint/chat", ":inference-component/qwen"]),
        ("sagemaker:chat", [":endpoint/chat"]),
        ("sagemaker-openai:chat", [":endpoint/chat", ":endpoint/chat"]),
        ("bedrock:openai.gpt-oss-20b-1:0", ["::foundation-model/openai.gpt-oss-20b-1:0"]),
        ("bedrock:eu.amazon.nova-lite-v1:0,builtin",
         [":inference-profile/eu.amazon.nova-lite-v1:0", ":*::foundation-model/amazon.nova-lite-v1:0"]),
    ],
)  # fmt: skip
def test_functions_may_ask_the_models_of_the_deployment_and_no_others(model: str, tails: list[str]) -> None:
    stack = cdk.Stack(cdk.App(), "s")
    arns = [stack.resolve(a) for _, found in model_grants(stack, Deployment(model=model)) for a in found]
    shown = ["".join(p if isinstance(p, str) else "" for p in a["Fn::Join"][1]) if isinstance(a, dict) else a for a in arns]
    assert [s.endswith(t) for s, t in zip(shown, tails, strict=True)] == [True] * len(tails), shown
