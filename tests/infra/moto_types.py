"""Teaches moto's CloudFormation the resource types it lacks, each by one call of the service's own API.

moto has the services (API Gateway, Secrets Manager, alarms, scaling, canaries …) but its CloudFormation skips their types, so
that a stack "succeeds" without them. Each type here is made with a boto3 call to the same emulated AWS: parameters are checked
against the service's model, and what was made can be read back through boto3 like anything else.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import boto3
from botocore.validate import ParamValidator
from moto.awslambda import urls as lambda_urls
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.iam.responses import IamResponse

Properties = dict[str, Any]
"""A resource's properties as the template gives them, references resolved. `Any`: each type has its own shape."""


@dataclass(frozen=True)
class Made:
    """A resource's physical id, and what `Fn::GetAtt` reads."""

    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class Aws:
    """boto3 clients of the emulated AWS."""

    def __init__(self, endpoint: str, region: str, account: str = "") -> None:
        self.endpoint = endpoint
        self.region = region
        self.account = account

    def client(self, service: str) -> Any:  # boto3 makes its clients' classes while running
        """The client of `service`."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


class Cloud:
    """What the deployment made of the types that are taught here, by type."""

    endpoint = ""
    invoke: Callable[[str], str] | None = None
    """Calls the function behind an ARN; the text of what it raised, empty where it did not."""
    made: ClassVar[list[tuple[str, Properties, Made]]] = []
    places: Mapping[str, tuple[str, int]] = MappingProxyType({})
    """Host and port by type, of what moto does not run itself."""


Maker = Callable[[Aws, str, Properties], Made]
TYPES: dict[str, Maker] = {}


def maker(kind: str) -> Callable[[Maker], Maker]:
    """Registers the function that makes resources of CloudFormation's type `kind`."""

    def register(make: Maker) -> Maker:
        TYPES[kind] = make
        return make

    return register


def teach(endpoint: str, *, invoke: Callable[[str], str], places: Mapping[str, tuple[str, int]]) -> None:
    """Registers all TYPES; they are made in the emulated AWS at `endpoint` from now on, and `invoke` runs functions."""
    Cloud.endpoint = endpoint
    Cloud.made = []
    Cloud.invoke = invoke
    Cloud.places = places
    setattr(parsing, "CustomModel", Triggered)  # noqa: B010  # moto chooses the class of custom resources by this name
    for kind, make in TYPES.items():
        if kind not in _MODELS:
            _MODELS[kind] = _model(kind, make)
    _teach_calls()
    parsing.get_model_list.cache_clear()
    parsing.get_model_map.cache_clear()
    parsing.get_name_type_map.cache_clear()


LIMITS = {"ConcurrentExecutions": 1000}
"""Lambda's limits of the emulated account."""
DENIED: set[str] = set()
"""Actions that IAM says the deploying credentials may not do."""


def _teach_calls() -> None:
    """Two calls that moto lacks and that `make deploy` makes before it begins."""

    def settings(request: Any, full_url: str, headers: Any) -> tuple[int, dict[str, str], str]:
        return 200, {"content-type": "application/json"}, json.dumps({"AccountLimit": LIMITS, "AccountUsage": {}})

    def simulate(self: IamResponse) -> str:
        actions = [v for k, v in sorted(self.data.items()) if k.startswith("ActionNames.member.")]
        lines = (
            f"<member><EvalActionName>{a}</EvalActionName>"
            f"<EvalDecision>{'implicitDeny' if a in DENIED else 'allowed'}</EvalDecision></member>"
            for a in (v[0] if isinstance(v, list) else v for v in actions)
        )
        name = "SimulatePrincipalPolicy"
        return (
            f"<{name}Response><{name}Result><IsTruncated>false</IsTruncated><EvaluationResults>{''.join(lines)}"
            f"</EvaluationResults></{name}Result></{name}Response>"
        )

    lambda_urls.url_paths.setdefault("{0}/2016-08-19/account-settings/?$", settings)
    setattr(IamResponse, "simulate_principal_policy", simulate)  # noqa: B010  # moto finds an action by its method's name


_MODELS: dict[str, type[CloudFormationModel]] = {}
"""moto finds its models among the subclasses that are alive: they are kept here."""


def _model(kind: str, make: Maker) -> type[CloudFormationModel]:
    class Taught(CloudFormationModel):
        """One resource of the type."""

        def __init__(self, made: Made) -> None:
            self.made = made

        @property
        def physical_resource_id(self) -> str:
            return self.made.id

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return kind

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return True

        def get_cfn_attribute(self, attribute_name: str) -> str:
            if attribute_name not in self.made.attributes:
                raise KeyError(f"{kind} has no attribute {attribute_name} in tests/infra/moto_types.py; add it to its maker")
            return self.made.attributes[attribute_name]

        @classmethod
        def create_from_cloudformation_json(
            cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
        ) -> Taught:
            properties = _plain(cloudformation_json.get("Properties", {}))
            made = make(Aws(Cloud.endpoint, region_name, account_id), resource_name, properties)
            Cloud.made.append((kind, properties, made))
            return cls(made)

    Taught.__name__ = Taught.__qualname__ = kind.replace("::", "")
    return Taught


def _plain(value: Any) -> Any:
    """`value` without moto's own mapping types and without `AWS::NoValue`, neither of which boto3 takes."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_plain(v) for v in value if v is not None]
    return value


def _some(properties: Properties, *names: str) -> Properties:
    return {n: properties[n] for n in names if n in properties}


def _asked(aws: Aws, service: str, operation: str, wanted: Properties) -> tuple[Any, Properties]:
    """The client of `service` and `wanted` as its `operation` takes it; raises where the service's own model does not."""
    client = aws.client(service)
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape
    shaped = _shaped({k: v for k, v in wanted.items() if k in shape.members and k != "Tags"}, shape)
    report = ParamValidator().validate(shaped, shape)
    assert not report.has_errors(), f"{service} {operation}: {report.generate_report()}"
    return client, shaped


def _shaped(value: Any, shape: Any) -> Any:
    """`value` with the numbers and truths that moto's templates hold as texts. `Any`: botocore's shapes."""
    match shape.type_name:
        case "structure":
            return {k: _shaped(v, shape.members[k]) for k, v in value.items() if k in shape.members}
        case "list":
            return [_shaped(v, shape.member) for v in value]
        case "map":
            return {k: _shaped(v, shape.value) for k, v in value.items()}
        case "integer" | "long":
            return int(value)
        case "boolean":
            return value if isinstance(value, bool) else str(value).lower() == "true"
        case "string" if isinstance(value, dict):
            return json.dumps(value)
    return value


# --- HTTP API ----------------------------------------------------------------------------------


@maker("AWS::ApiGatewayV2::Api")
def _api(aws: Aws, name: str, properties: Properties) -> Made:
    made = aws.client("apigatewayv2").create_api(**_some(properties, "Name", "ProtocolType", "Description"))
    return Made(made["ApiId"], {"ApiEndpoint": made["ApiEndpoint"], "ApiId": made["ApiId"]})


@maker("AWS::ApiGatewayV2::Integration")
def _integration(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "ApiId", "IntegrationType", "IntegrationUri", "PayloadFormatVersion")
    return Made(aws.client("apigatewayv2").create_integration(**wanted)["IntegrationId"])


@maker("AWS::ApiGatewayV2::Route")
def _route(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "ApiId", "RouteKey", "Target", "AuthorizationType")
    return Made(aws.client("apigatewayv2").create_route(**wanted)["RouteId"])


@maker("AWS::ApiGatewayV2::Stage")
def _stage(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "ApiId", "StageName", "AutoDeploy", "AccessLogSettings", "DefaultRouteSettings")
    aws.client("apigatewayv2").create_stage(**wanted)
    return Made(properties["StageName"])


# --- secrets -----------------------------------------------------------------------------------


@maker("AWS::SecretsManager::Secret")
def _secret(aws: Aws, name: str, properties: Properties) -> Made:
    text = properties.get("SecretString")
    if generate := properties.get("GenerateSecretString"):
        alphabet = string.ascii_letters + string.digits
        value = "".join(secrets.choice(alphabet) for _ in range(int(generate.get("PasswordLength", 32))))
        text = value
        if "SecretStringTemplate" in generate:
            text = json.dumps({**json.loads(generate["SecretStringTemplate"]), generate["GenerateStringKey"]: value})
    wanted = _some(properties, "Name", "Description", "KmsKeyId")
    made = aws.client("secretsmanager").create_secret(SecretString=text or "", **wanted)
    return Made(made["ARN"], {"Id": made["ARN"]})


# --- functions ---------------------------------------------------------------------------------


@maker("AWS::Lambda::LayerVersion")  # moto has the type, but does not say afterwards where its zip file lies
def _layer(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "Description", "CompatibleRuntimes", "CompatibleArchitectures")
    made = aws.client("lambda").publish_layer_version(LayerName=name, Content=properties["Content"], **wanted)
    return Made(made["LayerVersionArn"], {"LayerVersionArn": made["LayerVersionArn"]})


@maker("AWS::Lambda::Function")  # moto has the type, but drops layers, processor, snapshot and concurrency
def _function(aws: Aws, name: str, properties: Properties) -> Made:
    client = aws.client("lambda")
    left_out = {"Tags", "ReservedConcurrentExecutions"}
    wanted = {k: v for k, v in properties.items() if k not in left_out}
    wanted["Environment"] = {"Variables": {k: str(v) for k, v in properties.get("Environment", {}).get("Variables", {}).items()}}
    wanted.setdefault("FunctionName", name[:64])
    made = client.create_function(**wanted)
    if reserved := properties.get("ReservedConcurrentExecutions"):
        client.put_function_concurrency(FunctionName=wanted["FunctionName"], ReservedConcurrentExecutions=int(reserved))
    return Made(wanted["FunctionName"], {"Arn": made["FunctionArn"]})


@maker("AWS::Lambda::Version")  # moto has the type, without the number that an alias asks for
def _version(aws: Aws, name: str, properties: Properties) -> Made:
    made = aws.client("lambda").publish_version(FunctionName=properties["FunctionName"].split(":")[-1])
    return Made(made["FunctionArn"], {"Version": made["Version"], "FunctionArn": made["FunctionArn"]})


@maker("AWS::Lambda::Alias")
def _alias(aws: Aws, name: str, properties: Properties) -> Made:
    made = aws.client("lambda").create_alias(
        FunctionName=properties["FunctionName"].split(":")[-1],
        Name=properties["Name"],
        FunctionVersion=properties["FunctionVersion"],
    )
    return Made(made["AliasArn"], {"AliasArn": made["AliasArn"]})


@maker("AWS::ApplicationAutoScaling::ScalableTarget")
def _target(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity", "RoleARN")
    wanted |= {k: int(wanted[k]) for k in ("MinCapacity", "MaxCapacity")}
    aws.client("application-autoscaling").register_scalable_target(**wanted)
    return Made("|".join(properties[k] for k in ("ResourceId", "ScalableDimension", "ServiceNamespace")))


@maker("AWS::ApplicationAutoScaling::ScalingPolicy")
def _policy(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(
        properties, "PolicyName", "PolicyType", "TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration"
    )
    resource, dimension, namespace = properties["ScalingTargetId"].split("|")
    made = aws.client("application-autoscaling").put_scaling_policy(
        ResourceId=resource, ScalableDimension=dimension, ServiceNamespace=namespace, **wanted
    )
    return Made(made["PolicyARN"])


@maker("AWS::CodeDeploy::Application")
def _application(aws: Aws, name: str, properties: Properties) -> Made:
    application = properties.get("ApplicationName", name)
    aws.client("codedeploy").create_application(applicationName=application, computePlatform=properties["ComputePlatform"])
    return Made(application)


@maker("AWS::CodeDeploy::DeploymentGroup")
def _deployment_group(aws: Aws, name: str, properties: Properties) -> Made:
    alarms = properties.get("AlarmConfiguration", {})
    rollback = properties.get("AutoRollbackConfiguration", {})
    style = properties.get("DeploymentStyle", {})
    aws.client("codedeploy").create_deployment_group(
        applicationName=properties["ApplicationName"],
        deploymentGroupName=name,
        serviceRoleArn=properties["ServiceRoleArn"],
        deploymentConfigName=properties["DeploymentConfigName"],
        alarmConfiguration={
            "enabled": bool(alarms.get("Enabled")),
            "alarms": [{"name": a["Name"]} for a in alarms.get("Alarms", ())],
        },
        autoRollbackConfiguration={"enabled": bool(rollback.get("Enabled")), "events": rollback.get("Events", [])},
        deploymentStyle={"deploymentType": style["DeploymentType"], "deploymentOption": style["DeploymentOption"]},
    )
    return Made(name)


# --- watching ----------------------------------------------------------------------------------


@maker("AWS::CloudWatch::Alarm")
def _alarm(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = {k: v for k, v in properties.items() if k != "Tags"}
    wanted.setdefault("AlarmName", name)
    for query in wanted.get("Metrics", ()):
        if "Stat" in query.get("MetricStat", {}):
            query["MetricStat"]["Period"] = int(query["MetricStat"]["Period"])
    for number in ("EvaluationPeriods", "DatapointsToAlarm", "Period"):
        if number in wanted:
            wanted[number] = int(wanted[number])
    aws.client("cloudwatch").put_metric_alarm(**wanted)
    return Made(wanted["AlarmName"], {"Arn": f"arn:aws:cloudwatch:{aws.region}:{aws.account}:alarm:{wanted['AlarmName']}"})


@maker("AWS::CloudWatch::CompositeAlarm")
def _composite(aws: Aws, name: str, properties: Properties) -> Made:
    """Through the backend itself, which can hold one; only the call that would make it is missing."""
    alarm = properties["AlarmName"]
    cloudwatch_backends[aws.account][aws.region].put_metric_alarm(
        name=alarm,
        threshold=0,
        statistic="",
        description=properties.get("AlarmDescription", ""),
        dimensions=[],
        alarm_actions=properties.get("AlarmActions", []),
        ok_actions=properties.get("OKActions", []),
        rule=properties["AlarmRule"],
        namespace="",
        metric_name="",
        comparison_operator="",
        evaluation_periods=0,
        period=0,
    )
    return Made(alarm, {"Arn": f"arn:aws:cloudwatch:{aws.region}:{aws.account}:alarm:{alarm}"})


@maker("AWS::Logs::SubscriptionFilter")
def _subscription_filter(aws: Aws, name: str, properties: Properties) -> Made:
    client, wanted = _asked(aws, "logs", "put_subscription_filter", _lower_first(properties))
    client.put_subscription_filter(**wanted)
    return Made(f"{properties['LogGroupName']}|{properties['FilterName']}")


@maker("AWS::Logs::LogStream")
def _log_stream(aws: Aws, name: str, properties: Properties) -> Made:
    client, wanted = _asked(aws, "logs", "create_log_stream", _lower_first(properties))
    client.create_log_stream(**wanted)
    return Made(properties["LogStreamName"])


@maker("AWS::KinesisFirehose::DeliveryStream")
def _delivery_stream(aws: Aws, name: str, properties: Properties) -> Made:
    client, wanted = _asked(aws, "firehose", "create_delivery_stream", properties)
    wanted.pop("AmazonopensearchserviceDestinationConfiguration", None)  # checked above; the emulated service has no such goal
    if "ExtendedS3DestinationConfiguration" not in wanted:
        kept = properties["AmazonopensearchserviceDestinationConfiguration"]["S3Configuration"]
        wanted["ExtendedS3DestinationConfiguration"] = {"RoleARN": kept["RoleARN"], "BucketARN": kept["BucketARN"]}
    made = client.create_delivery_stream(**wanted)
    return Made(properties["DeliveryStreamName"], {"Arn": made["DeliveryStreamARN"]})


@maker("AWS::OpenSearchService::Domain")
def _search_domain(aws: Aws, name: str, properties: Properties) -> Made:
    client, wanted = _asked(
        aws, "opensearch", "create_domain", {**properties, "AccessPolicies": properties.get("AccessPolicies", "")}
    )
    made = client.create_domain(**wanted)["DomainStatus"]
    host, port = Cloud.places["AWS::OpenSearchService::Domain"]
    return Made(properties["DomainName"], {"DomainEndpoint": f"{host}:{port}", "Arn": made["ARN"], "Id": made["DomainId"]})


def _lower_first(properties: Properties) -> Properties:
    """CloudWatch Logs writes its names with a small first letter."""
    return {k[:1].lower() + k[1:]: v for k, v in properties.items()}


@maker("AWS::Logs::QueryDefinition")
def _saved_query(aws: Aws, name: str, properties: Properties) -> Made:
    """Only kept in `Cloud.made`: the emulated service has no such call."""
    return Made(f"query-{properties['Name']}")


@maker("AWS::SNS::Subscription")
def _subscription(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "TopicArn", "Protocol", "Endpoint")
    return Made(aws.client("sns").subscribe(ReturnSubscriptionArn=True, **wanted)["SubscriptionArn"])


@maker("AWS::SNS::TopicPolicy")
def _topic_policy(aws: Aws, name: str, properties: Properties) -> Made:
    policy = json.dumps(_without_transport(properties["PolicyDocument"]))
    for topic in properties["Topics"]:
        aws.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    return Made(name)


# --- custom resources --------------------------------------------------------------------------


class Triggered(CloudFormationModel):
    """A function that is called once while the stack is created: AWS calls it, moto would call it in Docker, here it runs."""

    def __init__(self, id_: str) -> None:
        self.physical_resource_id = id_

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "Custom::Trigger"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
    ) -> Triggered:
        """Calls the function; what it raises ends the stack's creation."""
        properties = cloudformation_json["Properties"]
        assert Cloud.invoke, "no one to run functions"
        failure = Cloud.invoke(properties["HandlerArn"])
        if failure:
            raise ValidationError(resource_name, message=f"{resource_name} failed: {failure}")
        Cloud.made.append(("Custom::Trigger", dict(properties), Made(resource_name)))
        return cls(resource_name)


# --- keys (moto has the type, but stumbles over a template's tags) ------------------------------


@maker("AWS::KMS::Key")
def _key(aws: Aws, name: str, properties: Properties) -> Made:
    client = aws.client("kms")
    tags = [{"TagKey": t["Key"], "TagValue": t["Value"]} for t in properties.get("Tags", ())]
    policy = json.dumps(properties["KeyPolicy"])
    made = client.create_key(Policy=policy, Description=properties.get("Description", ""), Tags=tags)["KeyMetadata"]
    if properties.get("EnableKeyRotation"):
        client.enable_key_rotation(KeyId=made["KeyId"])
    return Made(made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]})


# --- policies of resources ---------------------------------------------------------------------


def _without_transport(document: Properties) -> Properties:
    """The policy without "only over TLS", which moto obeys and plain HTTP breaks; test_templates.py asserts that rule."""
    kept = [s for s in document["Statement"] if "aws:SecureTransport" not in s.get("Condition", {}).get("Bool", {})]
    return {**document, "Statement": kept}


@maker("AWS::S3::BucketPolicy")
def _bucket_policy(aws: Aws, name: str, properties: Properties) -> Made:
    document = _without_transport(properties["PolicyDocument"])
    if document["Statement"]:
        aws.client("s3").put_bucket_policy(Bucket=properties["Bucket"], Policy=json.dumps(document))
    return Made(properties["Bucket"])


@maker("AWS::SQS::QueuePolicy")
def _queue_policy(aws: Aws, name: str, properties: Properties) -> Made:
    policy = json.dumps(_without_transport(properties["PolicyDocument"]))
    for url in properties["Queues"]:
        aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return Made(name)


# --- network -----------------------------------------------------------------------------------


@maker("AWS::EC2::SecurityGroupEgress")
def _egress(aws: Aws, name: str, properties: Properties) -> Made:
    opened: Properties = {"IpProtocol": properties["IpProtocol"]}
    opened |= {k: int(properties[k]) for k in ("FromPort", "ToPort") if k in properties}
    if to := properties.get("DestinationSecurityGroupId"):
        opened["UserIdGroupPairs"] = [{"GroupId": to}]
    aws.client("ec2").authorize_security_group_egress(GroupId=properties["GroupId"], IpPermissions=[opened])
    return Made(name)


# --- the shared cache --------------------------------------------------------------------------


@maker("AWS::ElastiCache::User")
def _cache_user(aws: Aws, name: str, properties: Properties) -> Made:
    client, wanted = _asked(aws, "elasticache", "create_user", properties)
    return Made(properties["UserId"], {"Arn": client.create_user(**wanted)["ARN"]})


@maker("AWS::ElastiCache::UserGroup")
def _cache_users(aws: Aws, name: str, properties: Properties) -> Made:
    """Checked against the service's model and kept in `Cloud.made`: the emulated service has no such call."""
    _asked(aws, "elasticache", "create_user_group", properties)
    return Made(properties["UserGroupId"])


@maker("AWS::ElastiCache::ServerlessCache")
def _serverless_cache(aws: Aws, name: str, properties: Properties) -> Made:
    """Checked and kept as above; it is reached where the test says."""
    _asked(aws, "elasticache", "create_serverless_cache", properties)
    host, port = Cloud.places["AWS::ElastiCache::ServerlessCache"]
    return Made(properties["ServerlessCacheName"], {"Endpoint.Address": host, "Endpoint.Port": str(port)})


# --- edge --------------------------------------------------------------------------------------


@maker("AWS::WAFv2::WebACL")
def _web_acl(aws: Aws, name: str, properties: Properties) -> Made:
    wanted = _some(properties, "Name", "Scope", "DefaultAction", "Rules", "VisibilityConfig")
    made = aws.client("wafv2").create_web_acl(**wanted)["Summary"]
    return Made(f"{made['Name']}|{made['Id']}|{properties['Scope']}", {"Arn": made["ARN"], "Id": made["Id"]})


def _behavior(properties: Properties) -> Properties:
    methods = properties.get("AllowedMethods", ["GET", "HEAD"])
    return {
        **_some(properties, "PathPattern", "TargetOriginId", "ViewerProtocolPolicy", "CachePolicyId", "ResponseHeadersPolicyId"),
        "AllowedMethods": {"Quantity": len(methods), "Items": methods},
    }


@maker("AWS::CloudFront::Distribution")
def _distribution(aws: Aws, name: str, properties: Properties) -> Made:
    config = properties["DistributionConfig"]
    origins = [
        {
            "Id": o["Id"],
            "DomainName": o["DomainName"],
            "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, **_some(o["CustomOriginConfig"], "OriginProtocolPolicy")},
        }
        for o in config["Origins"]
    ]
    others = [_behavior(b) for b in config.get("CacheBehaviors", ())]
    made = aws.client("cloudfront").create_distribution(
        DistributionConfig={
            "CallerReference": name,
            "Comment": config["Comment"],
            "Enabled": config["Enabled"],
            "WebACLId": config["WebACLId"],
            "Origins": {"Quantity": len(origins), "Items": origins},
            "DefaultCacheBehavior": _behavior(config["DefaultCacheBehavior"]),
            "CacheBehaviors": {"Quantity": len(others), "Items": others},
        }
    )["Distribution"]
    return Made(made["Id"], {"Id": made["Id"], "DomainName": made["DomainName"]})
