"""`make deploy`: looks whether everything can be made before anything is, then bootstraps and deploys all stacks.

python -m infra.deploy --stage production --profile enterprise -c alarm_email=oncall@example.com
python -m infra.deploy --stage production --check        only looks
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assistant.errors import InvalidSetting
from infra import toolkit
from infra.deployment import Deployment, parse_context

OUTPUTS: Final = toolkit.ROOT / "build" / "outputs.json"
UNRESERVED: Final = 100
"""Concurrent executions that Lambda never lets functions reserve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that would make the deployment fail, and what to do about it."""

    what: str
    fix: str


def faults(deployment: Deployment, client: Callable[[str], Any]) -> Iterator[Fault]:
    """What stands in the way of `deployment` in the account behind `client` (a maker of boto3 clients)."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        account = client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        what = f"AWS does not accept the credentials ({type(error).__name__})"
        yield Fault(what=what, fix="sign in, for example with `aws sso login`")
        return
    if deployment.account and deployment.account != account:
        yield Fault(
            what=f"the credentials are for account {account}, the deployment is for {deployment.account}",
            fix="use the other credentials, or leave -c account=… away",
        )
    for check in (_concurrency, _secrets):
        try:
            yield from check(deployment, client)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            yield Fault(
                what=f"{error.operation_name} is refused: {code}",
                fix="deploy with a role that may do this, such as an administrator's",
            )


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
    parser.add_argument("--profile", default="basic")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE", help="a field of the deployment")
    parser.add_argument("--check", action="store_true", help="only look whether it could be deployed")
    args = parser.parse_args(argv)
    try:
        given = {"stage": args.stage, "profile": args.profile, **parse_context(args.context)}
        deployment = Deployment.of(given, env=os.environ)
    except InvalidSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    import boto3

    session = boto3.Session(region_name=deployment.region or None)
    if not session.region_name:
        sys.stderr.write("no region is set; say AWS_REGION=eu-central-1 or choose one with `aws configure`\n")
        return 2
    found = list(faults(deployment, session.client))
    for fault in found:
        sys.stderr.write(f"{fault.what} → {fault.fix}\n")
    if found or args.check:
        return 1 if found else 0
    return _deploy(given, session)


def _deploy(given: dict[str, str], session: Any) -> int:
    """Runs the command line. `session`: boto3 makes its class while running."""
    from botocore.exceptions import ClientError

    context = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
    account = session.client("sts").get_caller_identity()["Account"]
    try:
        session.client("ssm").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")
    except ClientError:
        place = f"aws://{account}/{session.region_name}"
        if status := _cdk("bootstrap", place, *context, region=session.region_name):
            return status
    OUTPUTS.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["deploy", "--all", *context, "--require-approval", "never", "--outputs-file", str(OUTPUTS)]
    if status := _cdk(*arguments, region=session.region_name):
        return status
    outputs = {k: v for stack in json.loads(OUTPUTS.read_text()).values() for k, v in stack.items()}
    stage = given["stage"]
    sys.stdout.write(
        f"\nThe assistant is at {outputs.get('EdgeUrl') or outputs['Url']}\n"
        f"Its API key: aws secretsmanager get-secret-value --secret-id assistant/{stage}/webchat\n"
        f"Next: store a platform's credentials under assistant/{stage}/PLATFORM and enter "
        f"{outputs['Url']}/webhook/PLATFORM/CHANNEL there (docs/platforms/)\n"
    )
    return 0


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
