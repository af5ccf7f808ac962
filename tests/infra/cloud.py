"""An emulated AWS account that is deployed into with the real CDK command line, and then driven like the real one.

API Gateway: `Account.request` looks the path up in the deployed route table and calls the integration behind it. Lambda: the
deployed bundles run in a process of their own with the deployed environment. SQS → Lambda: `Account.drain` reads the deployed
event source mappings. The third-party layer is built once more for this machine, from the same lock file, because the deployed
one holds machine code for Lambda's processor; everything else that runs is what was unpacked from the deployed zip files.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib import request

from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from infra import toolkit
from tests.infra import moto_types

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
ACCOUNT = "123456789012"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Account:
    """One emulated account. A context manager; `deploy` puts an assembly into it."""

    def __init__(
        self,
        workspace: Path,
        *,
        third_party: list[Path],
        places: Mapping[str, tuple[str, int]] | None = None,
        trust: Path | None = None,
    ) -> None:
        """`places`: host and port by CloudFormation type, of what moto does not run itself; `trust`: their certificate."""
        self._workspace = workspace
        self._third_party = third_party
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._functions: dict[str, Function] = {}
        self._places = places or {}
        self.trust = trust
        self.printed = ""
        """What `make deploy` has printed."""
        self.calls: dict[str, set[str]] = {}
        """AWS calls that each function has made, as `service:Operation`."""

    def __enter__(self) -> Self:
        logging.getLogger("werkzeug").setLevel("ERROR")
        self._server.start()
        _, port = self._server.get_host_and_port()
        self.endpoint = f"http://localhost:{port}"  # the CDK puts a bucket's name before any other host name
        request.urlopen(request.Request(f"{self.endpoint}/moto-api/reset", method="POST")).close()  # one state a process
        moto_types.teach(self.endpoint, invoke=self._triggered, places=self._places)
        self.aws = moto_types.Aws(self.endpoint, REGION, ACCOUNT)
        return self

    def __exit__(self, *_: object) -> None:
        for function in self._functions.values():
            function.stop()
        self._server.stop()

    # --- deploying ---

    def cdk(self, *arguments: str) -> str:
        """What the CDK command line prints; fails the test with its output when it fails."""
        # On a busy machine Node gives up on an address after 250 ms and the command fails; there is only one address to try.
        node = "--dns-result-order=ipv4first --no-network-family-autoselection"
        quiet = {"CI": "1", "NO_COLOR": "1", "NODE_OPTIONS": node}
        env = toolkit.environment({**os.environ, **CREDENTIALS, **quiet, "AWS_ENDPOINT_URL": self.endpoint})
        command = [*toolkit.install(), *arguments, "--no-notices"]
        done = subprocess.run(command, cwd=self._workspace, env=env, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"cdk {' '.join(arguments)}:\n{output[-6000:]}"
        return output

    def make_deploy(self, *arguments: str) -> str:
        """What `make deploy` does, told where AWS is: looks, bootstraps, deploys, says what to do next. Gives what it prints."""
        node = "--dns-result-order=ipv4first --no-network-family-autoselection"
        env = {**os.environ, **CREDENTIALS, "CI": "1", "NO_COLOR": "1", "NODE_OPTIONS": node, "AWS_ENDPOINT_URL": self.endpoint}
        command = [sys.executable, "-m", "infra.deploy", "--out", str(self._workspace / "assembly"), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-6000:]}"
        self._calm()
        self.printed += done.stdout
        return done.stdout

    def _calm(self) -> None:
        """moto would start functions in Docker by itself; `drain` feeds them here, and nobody looks at the clock.

        A rule with a schedule and without a pattern would match every event there.
        """
        events = self.aws.client("events")
        for rule in events.list_rules()["Rules"]:
            if "ScheduleExpression" in rule:
                ids = [target["Id"] for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]]
                events.remove_targets(Rule=rule["Name"], Ids=ids)
                events.delete_rule(Name=rule["Name"])
        for mapping in self.mappings():
            self.aws.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)

    def deploy(self, assembly: Path) -> str:
        """Bootstraps the account and deploys every stack in `assembly`."""
        printed = self.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", "--app", "")
        printed += self.cdk("deploy", "--app", str(assembly), "--all", "--method", "direct", "--require-approval", "never")
        self._calm()
        return printed

    def deployed(self, kind: str, id_: str) -> dict[str, Any]:
        """The properties with which the resource `id_` of CloudFormation's type `kind` was made."""
        return next(properties for made_kind, properties, made in moto_types.Cloud.made if (made_kind, made.id) == (kind, id_))

    def outputs(self) -> dict[str, str]:
        """Every output of every stack."""
        stacks = self.aws.client("cloudformation").describe_stacks()["Stacks"]
        return {o["OutputKey"]: o["OutputValue"] for s in stacks for o in s.get("Outputs", ())}

    def store_secret(self, name: str, fields: Mapping[str, str]) -> None:
        """Stores a platform's credentials, as an operator does."""
        self.aws.client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(fields))

    # --- the API ---

    def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", query: str = ""
    ) -> dict[str, Any]:
        """The answer of the deployed HTTP API, found by its own routes and integrations."""
        api, route = self._route(method, path)
        client = self.aws.client("apigatewayv2")
        integration = client.get_integration(ApiId=api["ApiId"], IntegrationId=route["Target"].removeprefix("integrations/"))
        assert integration["PayloadFormatVersion"] == "2.0"
        try:
            text, encoded = body.decode(), False
        except UnicodeDecodeError:
            text, encoded = base64.b64encode(body).decode(), True
        event = {
            "version": "2.0",
            "routeKey": route["RouteKey"],
            "rawPath": path,
            "rawQueryString": query,
            "headers": {k.lower(): v for k, v in headers.items()},
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": api["ApiId"],
                "domainName": "api.example.com",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "198.51.100.7", "userAgent": "test"},
                "requestId": uuid.uuid4().hex,
                "routeKey": route["RouteKey"],
                "stage": "$default",
                "timeEpoch": int(time.time() * 1000),
            },
            "pathParameters": _parameters(route["RouteKey"].split(" ", 1)[-1], path),
            "body": text,
            "isBase64Encoded": encoded,
        }
        return self.function(integration["IntegrationUri"]).call(event)

    def _route(self, method: str, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        client = self.aws.client("apigatewayv2")
        for api in client.get_apis()["Items"]:
            stages = client.get_stages(ApiId=api["ApiId"])["Items"]
            assert [s["StageName"] for s in stages] == ["$default"]
            for route in client.get_routes(ApiId=api["ApiId"])["Items"]:
                verb, pattern = route["RouteKey"].split(" ", 1)
                if verb in {method, "ANY"} and _parameters(pattern, path) is not None:
                    return api, route
        raise AssertionError(f"no deployed route for {method} {path}")

    # --- functions and queues ---

    def function(self, arn: str) -> Function:
        """The deployed function behind `arn`, which may name an alias."""
        name = arn.split(":function:", 1)[-1].split("/", maxsplit=1)[0].split(":", maxsplit=1)[0]
        if name not in self._functions:
            self._functions[name] = Function(self, name, self._workspace / name, third_party=self._third_party)
        return self._functions[name]

    def _triggered(self, arn: str) -> str:
        """Calls a function during the deployment; what it raised, if it did."""
        try:
            self.function(arn).call({})
        except AssertionError as error:
            return str(error)[-1500:]
        return ""

    def restart(self, name: str) -> None:
        """Ends the function's process; the next call starts a new one, as a cold start does."""
        if function := self._functions.pop(name, None):
            function.stop()

    def mappings(self) -> list[dict[str, Any]]:
        """The deployed event source mappings."""
        found: list[dict[str, Any]] = self.aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        return found

    def drain(self, *, rounds: int = 20) -> int:
        """Feeds functions from their queues as the deployed mappings say until all are empty; how many messages that took."""
        sqs = self.aws.client("sqs")
        delivered = 0
        for _ in range(rounds):
            batches = 0
            for mapping in self.mappings():
                assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
                arn = mapping["EventSourceArn"]
                url = sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
                received = sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=int(mapping["BatchSize"]),
                    AttributeNames=["All"],
                    MessageAttributeNames=["All"],
                ).get("Messages", [])
                if not received:
                    continue
                batches += 1
                delivered += len(received)
                answer = self.function(mapping["FunctionArn"]).call({"Records": [_record(m, arn) for m in received]})
                failed = {f["itemIdentifier"] for f in answer.get("batchItemFailures") or ()}  # none named: all went well
                for message in received:
                    if message["MessageId"] not in failed:
                        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            if not batches:
                break
        return delivered


class Function:
    """One deployed function, running from its deployed zip files with its deployed environment."""

    def __init__(self, account: Account, name: str, folder: Path, *, third_party: list[Path]) -> None:
        client = account.aws.client("lambda")
        self.name = name
        self._account = account
        self.configuration: dict[str, Any] = client.get_function_configuration(FunctionName=name)
        path = [_unpack(account.deployed("AWS::Lambda::Function", name)["Code"], account, folder / "task")]
        for number, layer in enumerate(self.configuration["Layers"]):
            content = account.deployed("AWS::Lambda::LayerVersion", layer["Arn"])["Content"]
            unpacked = _unpack(content, account, folder / f"layer-{number}") / "python"
            if not (unpacked / "boto3").exists() and not (unpacked / "pydantic").exists():
                path.append(unpacked)
        path += third_party
        answers, write = os.pipe()
        environment = {
            **self.configuration["Environment"]["Variables"],
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": account.endpoint,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            **({"SSL_CERT_FILE": str(account.trust)} if account.trust else {}),
        }
        self.log = folder / "log.jsonl"
        host = str(Path(__file__).with_name("lambda_host.py"))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # -S: nothing of this test's own environment is in the path
                [sys.executable, "-S", host, self.configuration["Handler"], str(write)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=folder / "task",
                pass_fds=[write],
            )
        os.close(write)
        self._answers = os.fdopen(answers, encoding="utf-8")
        self._lock = threading.Lock()

    def call(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The handler's answer to `event`; fails the test with the function's traceback when it raises."""
        call = {
            "event": event,
            "name": self.name,
            "arn": self.configuration["FunctionArn"],
            "seconds": self.configuration["Timeout"],
            "request": uuid.uuid4().hex,
        }
        with self._lock:
            assert self._process.stdin
            self._process.stdin.write(json.dumps(call).encode() + b"\n")
            self._process.stdin.flush()
            line = self._answers.readline()
        assert line, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"
        result = json.loads(line)
        self._account.calls.setdefault(self.name, set()).update(result["calls"])
        assert "error" not in result, f"{self.name} raised:\n{result['trace']}"
        answer: dict[str, Any] = result["answer"]
        return answer

    def logged(self) -> Iterator[dict[str, Any]]:
        """The function's log, line by line."""
        for line in self.log.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"message": line}

    def stop(self) -> None:
        """Ends the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
        self._answers.close()


def _parameters(pattern: str, path: str) -> dict[str, str] | None:
    """The named parts of `path` where API Gateway's `pattern` matches it, else None."""
    expression = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", re.escape(pattern))
    expression = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", expression)
    found = re.fullmatch(expression, path)
    return found.groupdict() if found else None


def _record(message: Mapping[str, Any], arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            k: {"stringValue": v.get("StringValue"), "dataType": v["DataType"]}
            for k, v in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }


def _unpack(content: Mapping[str, Any], account: Account, folder: Path) -> Path:
    """The folder with what the deployed zip file holds."""
    body = account.aws.client("s3").get_object(Bucket=content["S3Bucket"], Key=content["S3Key"])["Body"].read()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        archive.extractall(folder)
    return folder
