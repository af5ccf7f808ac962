"""What would make a deployment fail is found before anything is made, one line each with the fix."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends

from infra import deploy
from infra.deployment import Deployment


@functools.cache
def aws(service: str) -> Any:
    """A client, made once: reading the descriptions of the services is what takes time here."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return _session().client(service, region_name="us-east-1", **keys)


@functools.cache
def _session() -> boto3.Session:
    return boto3.Session()


class Account:
    """An emulated account; the calls that moto lacks are answered here."""

    def __init__(self, *, concurrency: int = 1000, denied: frozenset[str] = frozenset(), gpus: int = 0) -> None:
        self.concurrency = concurrency
        self.denied = denied
        self.gpus = gpus
        self.asked: list[str] = []

    def __call__(self, service: str) -> Any:  # boto3 makes its clients' classes while running
        client = aws(service)
        return Answering(self, client) if service in {"lambda", "iam", "service-quotas"} else client


class Answering:
    """A client with some of its calls answered by the account."""

    def __init__(self, account: Account, client: Any) -> None:
        self._account = account
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_account_settings(self) -> dict[str, Any]:
        """Lambda's limits of the account."""
        return {"AccountLimit": {"ConcurrentExecutions": self._account.concurrency}}

    def simulate_principal_policy(self, **given: Any) -> dict[str, Any]:
        """What IAM says about the deploying credentials."""
        self._account.asked += given["ActionNames"]
        denied = self._account.denied
        answers = [
            {"EvalActionName": a, "EvalDecision": "implicitDeny" if a in denied else "allowed"} for a in given["ActionNames"]
        ]
        return {"EvaluationResults": answers}

    def get_paginator(self, operation: str) -> Any:
        """SageMaker's quotas, and everything else from moto."""
        return self if operation == "list_service_quotas" else self._client.get_paginator(operation)

    def paginate(self, **given: Any) -> list[dict[str, Any]]:
        """The one quota that is asked for."""
        assert given == {"ServiceCode": "sagemaker"}
        return [
            {"Quotas": []},
            {"Quotas": [{"QuotaName": "ml.g6e.2xlarge for endpoint usage", "Value": float(self._account.gpus)}]},
        ]


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
    aws("secretsmanager").create_secret(Name="assistant/dev/slack", SecretString="{}")
    (line,) = found(Account())
    assert "assistant/dev/slack is taken" in line
    assert found(Account(), stage="staging") == []


def test_a_stored_secret_that_is_no_json_is_named_without_its_value() -> None:
    aws("cloudformation").create_stack(
        StackName="assistant-dev-data", TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}'
    )
    aws("secretsmanager").create_secret(Name="assistant/dev/slack", SecretString="xoxb-hunter2")
    (line,) = found(Account())
    assert "assistant/dev/slack is no JSON object" in line
    assert "hunter2" not in line


def test_a_wrong_profile_is_exit_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["--profile", "huge"]) == 2
    assert "basic, enterprise" in capsys.readouterr().err


def test_credentials_that_may_not_deploy_are_told_what_they_lack() -> None:
    (line,) = found(Account(denied=frozenset({"iam:CreateRole", "s3:CreateBucket"})))
    assert "may not iam:CreateRole, s3:CreateBucket →" in line
    assert "administrator" in line


def test_once_an_account_is_ready_only_the_cdks_own_roles_are_needed() -> None:
    aws("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    account = Account()
    assert found(account) == []
    assert account.asked == ["sts:AssumeRole"]


def test_too_few_fixed_addresses_are_found() -> None:
    for _ in range(4):
        aws("ec2").allocate_address(Domain="vpc")
    (line,) = found(Account(), profile="enterprise")
    assert line.startswith("the region has 4 of 5 fixed addresses, 2 more are wanted → release some")
    assert found(Account(), profile="basic") == []


def test_a_quota_of_gpus_that_is_too_small_is_found() -> None:
    (line,) = found(Account(gpus=1), gpu_profile="48gb-small", gpu_copies_max="3")
    assert line.startswith("SageMaker lets this account run 1 of ml.g6e.2xlarge; 3 are wanted at a peak → ask Service Quotas")
    assert found(Account(gpus=3), gpu_profile="48gb-small", gpu_copies_max="3") == []


def test_a_certificate_in_another_region_or_that_is_not_there_is_found() -> None:
    elsewhere = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
    (line,) = found(Account(), domain="chat.example.com", certificate=elsewhere, region="us-east-1")
    assert line == "the certificate is in eu-west-1, the API in us-east-1 → request one in the API's region"
    here = elsewhere.replace("eu-west-1", "us-east-1")
    (line,) = found(Account(), domain="chat.example.com", certificate=here, region="us-east-1")
    assert line.startswith("the certificate of chat.example.com is not there → ")


def test_a_name_of_an_api_that_is_taken_is_found() -> None:
    made = aws("acm").request_certificate(DomainName="chat.example.com")["CertificateArn"]
    aws("acm").describe_certificate(CertificateArn=made)  # moto issues it when it is looked at
    configuration = [{"CertificateArn": made}]
    aws("apigatewayv2").create_domain_name(DomainName="chat.example.com", DomainNameConfigurations=configuration)
    lines = found(Account(), domain="chat.example.com", certificate=made)
    assert "the name chat.example.com is taken by another API of this account → give another -c domain=…" in lines


def test_names_of_a_key_a_function_and_a_domain_that_are_taken_are_found() -> None:
    key = aws("kms").create_key()["KeyMetadata"]["KeyId"]
    aws("kms").create_alias(AliasName="alias/assistant-dev", TargetKeyId=key)
    aws("opensearch").create_domain(DomainName="assistant-dev")
    role = aws("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    aws("lambda").create_function(FunctionName="assistant-dev-webhook", Role=role, Code={"ZipFile": b""}, Runtime="python3.13")
    lines = found(Account(), profile="enterprise")
    assert [line.partition(" is taken")[0] for line in lines] == [
        "the name alias/assistant-dev",
        "the name assistant-dev-webhook",
        "the name assistant-dev",
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            "ROLLBACK_COMPLETE",
            "left over, ROLLBACK_COMPLETE → aws cloudformation delete-stack --stack-name assistant-dev-runtime",
        ),
        ("UPDATE_ROLLBACK_FAILED", "stuck, UPDATE_ROLLBACK_FAILED → aws cloudformation continue-update-rollback"),
        ("UPDATE_IN_PROGRESS", "being changed, UPDATE_IN_PROGRESS → wait"),
    ],
)
def test_a_stack_that_cannot_be_deployed_is_found(state: str, words: str) -> None:
    body = '{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}'
    aws("cloudformation").create_stack(StackName="assistant-dev-runtime", TemplateBody=body)
    backend = cloudformation_backends["123456789012"]["us-east-1"]
    (stack,) = backend.stacks.values()
    stack.status = state
    (line,) = found(Account())
    assert words in line


def test_a_region_that_does_not_exist_is_named() -> None:
    (line,) = found(Account(), region="eu-central-9")
    assert line.startswith("AWS has no region 'eu-central-9' → set AWS_REGION")


def test_without_a_region_nothing_is_tried(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "CDK_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert deploy.main(["--stage", "dev", "--check"]) == 2
    assert capsys.readouterr().err.startswith("no region is set")


def test_without_credentials_it_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = deploy.faults(Deployment(), lambda service: boto3.Session().client(service, region_name="us-east-1"))
    assert [f"{f.what} → {f.fix}" for f in nobody] == [
        "AWS does not accept the credentials (NoCredentialsError) → sign in, for example with `aws sso login`"
    ]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["-c", "nonsense=1"], "nonsense=… is not known"),
        (["-c", "cache=true"], "give -c vpc=true or -c cache=false"),
        (["-c", "log_search=true"], "give -c vpc=true or -c log_search=false"),
        (["--stage", "Production!"], "a good one looks like 'dev'"),
        (["-c", "concurrent_turns=many"], "'many' is not a whole number"),
        (["-c", "log_days=31"], "choose one of"),
        (["-c", "domain=chat.example.com"], "domain and certificate belong together"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_the_fix(
    given: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(given) == 2
    told = capsys.readouterr().err
    assert hint in told
    assert told.count("\n") == 1
