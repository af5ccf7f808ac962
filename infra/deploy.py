"""`make deploy`: looks whether everything can be made before anything is, then bootstraps and deploys all stacks.

python -m infra.deploy --stage production --profile enterprise -c alarm_email=oncall@example.com
python -m infra.deploy --stage production --check        only looks
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from assistant.errors import InvalidSetting
from infra import toolkit
from infra.bundle import FUNCTIONS
from infra.deployment import Deployment, parse_context, stored
from infra.machines import machine_of

UNRESERVED: Final = 100
"""Concurrent executions that Lambda never lets functions reserve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that would make the deployment fail, and what to do about it."""

    what: str
    fix: str


def faults(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """What stands in the way of `deployment` in the account behind `client` (a maker of boto3 clients)."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

    if deployment.region and not _known(deployment.region):
        yield Fault(what=f"AWS has no region {deployment.region!r}", fix="set AWS_REGION to one of `aws ec2 describe-regions`")
        return
    try:
        identity = client("sts").get_caller_identity()
    except EndpointConnectionError:
        yield Fault(what="AWS cannot be reached", fix="check the network, the proxy and AWS_ENDPOINT_URL")
        return
    except (BotoCoreError, ClientError) as error:
        what = f"AWS does not accept the credentials ({type(error).__name__})"
        yield Fault(what=what, fix="sign in, for example with `aws sso login`")
        return
    account = identity["Account"]
    if deployment.account and deployment.account != account:
        yield Fault(
            what=f"the credentials are for account {account}, the deployment is for {deployment.account}",
            fix="use the other credentials, or leave -c account=… away",
        )
    for check in (_permissions, _concurrency, _addresses, _copies, _certificate, _stacks, _names, _secrets):
        try:
            yield from check(deployment, client)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            yield Fault(
                what=f"{error.operation_name} is refused: {code}",
                fix="deploy with a role that may do this, such as an administrator's",
            )


def _known(region: str) -> bool:
    import boto3

    session = boto3.Session()
    found = {r for partition in session.get_available_partitions() for r in session.get_available_regions("lambda", partition)}
    return region in found


def _permissions(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """Whether these credentials may deploy, as far as IAM tells: whoever may not ask it is left to find out."""
    from botocore.exceptions import ClientError

    identity = client("sts").get_caller_identity()
    who, account = identity["Arn"], identity["Account"]
    if who.endswith(":root"):
        return
    if role := re.fullmatch(r"arn:([\w-]+):sts::(\d+):assumed-role/([^/]+)/.+", who):
        who = f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}"
    arn = f"arn:{who.split(':')[1]}:iam::{account}:role/cdk-hnb659fds-deploy-role-{account}-{deployment.region or 'us-east-1'}"
    actions, places = (["sts:AssumeRole"], [arn]) if bootstrapped(client) else (list(_FIRST), ["*"])
    try:
        told = client("iam").simulate_principal_policy(PolicySourceArn=who, ActionNames=actions, ResourceArns=places)
    except ClientError:
        return
    denied = sorted(r["EvalActionName"] for r in told["EvaluationResults"] if r["EvalDecision"] != "allowed")
    if denied:
        yield Fault(
            what=f"{who.rpartition('/')[2]} may not {', '.join(denied)}",
            fix="use an administrator's role for the first deployment; later ones need sts:AssumeRole on the CDK's own roles",
        )


_FIRST: Final = (
    "cloudformation:CreateChangeSet",
    "ecr:CreateRepository",
    "iam:CreateRole",
    "iam:PassRole",
    "s3:CreateBucket",
    "ssm:PutParameter",
)
"""What bootstrapping an account asks for, among others."""


def bootstrapped(client: Callable[[str], Any]) -> bool:
    """Whether the account and region were made ready for the CDK."""
    from botocore.exceptions import ClientError

    try:
        client("ssm").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")
    except ClientError:
        return False
    return True


def _concurrency(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    limit = client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    reserved = sum(size.reserved for size in deployment.sizes.values())
    needed = reserved + (UNRESERVED if reserved else 0)
    if needed > limit or deployment.concurrent_turns > limit:
        most = max(2, min(limit // 2, deployment.concurrent_turns))
        yield Fault(
            what=f"Lambda lets this account run {limit} functions at once; {max(needed, deployment.concurrent_turns)} are wanted",
            fix="ask Service Quotas for more (Lambda, Concurrent executions), "
            f"or give -c profile=basic -c concurrent_turns={most}",
        )


def _addresses(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """The fixed addresses and the network of the first deployment."""
    if not deployment.vpc or _exists(f"{deployment.prefix}-runtime", client):
        return
    ec2 = client("ec2")
    for what, used, wanted, service, code, usual in (
        ("fixed addresses", len(ec2.describe_addresses()["Addresses"]), 2, "ec2", "L-0263D0A3", 5),
        ("networks", len(ec2.describe_vpcs()["Vpcs"]), 1, "vpc", "L-F678F1CE", 5),
    ):
        limit = _quota(client, service, code, usual)
        if used + wanted > limit:
            yield Fault(
                what=f"the region has {used} of {limit} {what}, {wanted} more are wanted",
                fix=f"release some, ask for more ({code}), or give -c vpc=false -c cache=false -c log_search=false",
            )


def _quota(client: Callable[[str], Any], service: str, code: str, usual: int) -> int:
    """The account's quota; the one that AWS hands out where it does not tell."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return int(client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])
    except (BotoCoreError, ClientError):
        return usual


def _copies(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """GPU instances: the quota of most accounts is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    if not deployment.gpu_profile:
        return
    instance, wanted = machine_of(deployment)
    name = f"{instance} for endpoint usage"
    try:
        pages = client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
        limit = next((int(q["Value"]) for page in pages for q in page["Quotas"] if q["QuotaName"] == name), 0)
    except (BotoCoreError, ClientError):
        return
    if limit < wanted:
        yield Fault(
            what=f"SageMaker lets this account run {limit} of {instance}; {wanted} are wanted at a peak",
            fix=f"ask Service Quotas for more ({name!r}), or give -c gpu_copies_max=… or a smaller -c gpu_profile=…",
        )


def _certificate(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """The certificate of the API's own name, and the name."""
    if not deployment.domain:
        return
    region = deployment.certificate.split(":")[3]
    if deployment.region and region != deployment.region:
        yield Fault(what=f"the certificate is in {region}, the API in {deployment.region}", fix="request one in the API's region")
        return
    acm, gateway = client("acm"), client("apigatewayv2")
    try:
        state = acm.describe_certificate(CertificateArn=deployment.certificate)["Certificate"]["Status"]
    except acm.exceptions.ResourceNotFoundException:
        state = "not there"
    if state != "ISSUED":
        yield Fault(
            what=f"the certificate of {deployment.domain} is {state}", fix="wait for it, or give the ARN of an issued one"
        )
    if _exists(f"{deployment.prefix}-runtime", client):
        return
    try:
        gateway.get_domain_name(DomainName=deployment.domain)
    except gateway.exceptions.NotFoundException:
        return
    yield Fault(what=f"the name {deployment.domain} is taken by another API of this account", fix="give another -c domain=…")


def _stacks(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """A stack whose first deployment failed can only be deleted; one that is being changed has to end first."""
    known = client("cloudformation").get_paginator("describe_stacks").paginate()
    for stack in (s for page in known for s in page["Stacks"] if s["StackName"].startswith(f"{deployment.prefix}-")):
        name, state = stack["StackName"], stack["StackStatus"]
        if state in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}:
            yield Fault(
                what=f"the stack {name} is left over, {state}", fix=f"aws cloudformation delete-stack --stack-name {name}"
            )
        elif state == "UPDATE_ROLLBACK_FAILED":
            fix = f"aws cloudformation continue-update-rollback --stack-name {name}"
            yield Fault(what=f"the stack {name} is stuck, {state}", fix=fix)
        elif state.endswith("_IN_PROGRESS") and state != "REVIEW_IN_PROGRESS":
            yield Fault(what=f"the stack {name} is being changed, {state}", fix="wait until that has ended")


def _names(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """Names that must be free when a stack is made for the first time."""
    if not _exists(f"{deployment.prefix}-data", client):
        aliases = client("kms").get_paginator("list_aliases").paginate()
        alias = f"alias/{deployment.prefix}"
        if any(a["AliasName"] == alias for page in aliases for a in page["Aliases"]):
            fix = f"choose another stage, or `aws kms delete-alias --alias-name {alias}`; the key itself is kept"
            yield Fault(what=f"the name {alias} is taken by a key that is in no stack of ours", fix=fix)
    if not _exists(f"{deployment.prefix}-runtime", client):
        functions = client("lambda").get_paginator("list_functions").paginate()
        taken = sorted(
            f["FunctionName"] for page in functions for f in page["Functions"] if f["FunctionName"] in _function_names(deployment)
        )
        if taken:
            yield Fault(what=f"the name {taken[0]} is taken by a function of no stack of ours", fix="choose another stage")
    if deployment.log_search and not _exists(f"{deployment.prefix}-observability", client):
        domains = client("opensearch").list_domain_names()["DomainNames"]
        if any(d["DomainName"] == deployment.search_domain for d in domains):
            what = f"the name {deployment.search_domain} is taken by an OpenSearch domain of no stack of ours"
            yield Fault(what=what, fix="choose another stage, delete that domain, or give -c log_search=false")


def _function_names(deployment: Deployment) -> set[str]:
    return {f"{deployment.prefix}-{name}" for name in FUNCTIONS}


def _secrets(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """A secret that is there already must be of this deployment's stack, and must be a JSON object."""
    manager, stack = client("secretsmanager"), f"{deployment.prefix}-data"
    deployed = _exists(stack, client)
    for name in deployment.secret_names.values():
        try:
            described = manager.describe_secret(SecretId=name)
        except manager.exceptions.ResourceNotFoundException:
            continue
        tags = {t["Key"]: t["Value"] for t in described.get("Tags", ())}
        owner = tags.get("aws:cloudformation:stack-name", stack if deployed else "")
        if described.get("DeletedDate"):
            fix = f"aws secretsmanager restore-secret --secret-id {name}"
            yield Fault(what=f"the secret {name} waits for its deletion", fix=fix)
        elif owner != stack:
            what = f"the name {name} is taken by a secret of {f'the stack {owner}' if owner else 'no stack'}"
            yield Fault(what=what, fix="choose another stage, or delete that secret")
        elif not _is_object(manager.get_secret_value(SecretId=name).get("SecretString", "")):
            fix = 'store one, such as {"app_id": "…"}; docs/platforms/ has the fields'
            yield Fault(what=f"the secret {name} is no JSON object", fix=fix)


def _exists(stack: str, client: Callable[[str], Any]) -> bool:
    from botocore.exceptions import ClientError

    try:
        return bool(client("cloudformation").describe_stacks(StackName=stack)["Stacks"])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ValidationError":
            return False
        raise


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: deployed; 1: something stands in the way, or the deployment failed; 2: a value cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--profile", default="", help="basic (default) or enterprise")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE", help="a field of the deployment")
    parser.add_argument("--check", action="store_true", help="only look whether it could be deployed")
    parser.add_argument("--out", type=Path, help="folder of what is synthesised (default: build/cdk.out/STAGE)")
    parser.add_argument("cdk", nargs="*", help="after --: more arguments of `cdk deploy`, such as --method direct")
    args = parser.parse_args(argv)
    try:
        given = {**stored(args.stage), "stage": args.stage, **({"profile": args.profile} if args.profile else {})}
        given |= parse_context(args.context)
        deployment = Deployment.of(given, env=os.environ)
    except InvalidSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    import boto3

    session = boto3.Session(region_name=deployment.region or None)
    if not session.region_name:
        sys.stderr.write("no region is set; say AWS_REGION=eu-central-1 or choose one with `aws configure`\n")
        return 2
    found = list(faults(replace(deployment, region=session.region_name), session.client))
    for fault in found:
        sys.stderr.write(f"{fault.what} → {fault.fix}\n")
    if found or args.check:
        return 1 if found else 0
    out = args.out or toolkit.ROOT / "build" / "cdk.out" / args.stage
    return _deploy(given, deployment, session, out, args.cdk)


def _deploy(given: dict[str, str], deployment: Deployment, session: Any, out: Path, more: Sequence[str]) -> int:
    """Runs the command line. `session`: boto3 makes its class while running."""
    context = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
    account = session.client("sts").get_caller_identity()["Account"]
    places = dict.fromkeys([session.region_name, *(["us-east-1"] if deployment.edge else [])])  # the edge lives there
    out.parent.mkdir(parents=True, exist_ok=True)
    where = [*context, "--output", str(out)]
    for region in places:
        if not bootstrapped(partial(session.client, region_name=region)):
            sys.stdout.write(f"making account {account} ready for the CDK in {region}\n")
            sys.stdout.flush()
            if status := _cdk("bootstrap", f"aws://{account}/{region}", "--app", "", region=session.region_name):
                return status
    if deployment.log_search:
        _linked_role(session.client("iam"))
    outputs_file = out.with_name(f"{out.name}-outputs.json")
    arguments = ["deploy", "--all", *where, "--require-approval", "never", "--outputs-file", str(outputs_file), *more]
    if status := _cdk(*arguments, region=session.region_name):
        return status
    outputs = {k: v for stack in json.loads(outputs_file.read_text()).values() for k, v in stack.items()}
    stage = given["stage"]
    sys.stdout.write(
        f"\nThe assistant is at {outputs.get('EdgeUrl') or outputs['Url']}\n"
        f"Its API key: aws secretsmanager get-secret-value --secret-id assistant/{stage}/webchat\n"
        f"Next: store a platform's credentials under assistant/{stage}/PLATFORM and enter "
        f"{outputs['Url']}/webhook/PLATFORM/CHANNEL there (docs/platforms/)\n"
    )
    return 0


def _linked_role(iam: Any) -> None:
    """OpenSearch puts a domain into a network only with a role that an account has once, and that no stack may own."""
    from botocore.exceptions import ClientError

    try:
        iam.create_service_linked_role(AWSServiceName="opensearchservice.amazonaws.com")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in {"InvalidInput", "InvalidInputException"}:  # there is one already
            raise


def _cdk(*arguments: str, region: str) -> int:
    try:
        command = [*toolkit.install(), *arguments]
    except toolkit.ToolkitError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    env = toolkit.environment({**os.environ, "AWS_REGION": region})
    return subprocess.run(command, cwd=Path(toolkit.ROOT), env=env, check=False).returncode  # noqa: S603  # our own arguments


if __name__ == "__main__":
    sys.exit(main())
