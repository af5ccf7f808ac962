"""Every Lambda function: its file, layers, role, alias and the canary that brings new code in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.bundle import Bundle
from infra.deployment import Deployment
from infra.network import Network
from infra.review import accept

_LOG_PERIODS: Final[Mapping[int, str]] = {
    1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS", 30: "ONE_MONTH", 60: "TWO_MONTHS",
    90: "THREE_MONTHS", 120: "FOUR_MONTHS", 150: "FIVE_MONTHS", 180: "SIX_MONTHS", 365: "ONE_YEAR", 400: "THIRTEEN_MONTHS",
    545: "EIGHTEEN_MONTHS", 731: "TWO_YEARS",
}  # fmt: skip


_TRACED: Final = frozenset({"dialogue"})
"""Functions that X-Ray draws: `assistant.queue.trace_header` has chosen which messages. For others Lambda itself would choose,
and take one a second however few there are."""


def log_period(days: int) -> logs.RetentionDays:
    """CloudWatch's name for a period of `days`."""
    return logs.RetentionDays[_LOG_PERIODS[days]]


class Layers(Construct):
    """The layers that every function gets."""

    def __init__(self, scope: Construct, id_: str, *, bundle: Bundle) -> None:
        super().__init__(scope, id_)
        self.versions: Sequence[lambda_.ILayerVersion] = [
            lambda_.LayerVersion(
                self,
                name.title(),
                code=lambda_.Code.from_asset(str(bundle.layer(name))),
                compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
                compatible_architectures=[lambda_.Architecture.ARM_64],
                description=f"{name} of the assistant",
            )
            for name in bundle.layers
        ]


class AssistantFunction(Construct):
    """`functions/{name}.py` behind the alias `live`, with a role of its own that can do nothing yet but log and trace."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        bundle: Bundle,
        layers: Layers,
        environment: Mapping[str, str],
        network: Network | None = None,
        handler: str = "lambda_handler",
        file: str = "",
    ) -> None:
        super().__init__(scope, f"{name.title()}Function")
        file = file or name
        self.name = name
        size = deployment.sizes[name]
        self.logs = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/assistant/{deployment.stage}/{name}",
            retention=log_period(deployment.log_days),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description=f"What functions/{file}.py may do"
        )
        self.logs.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=f"{deployment.prefix}-{name}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{file}.{handler}",
            code=lambda_.Code.from_asset(str(bundle.function(file))),
            layers=list(layers.versions),
            role=self.role,
            log_group=self.logs,
            environment=dict(environment),
            memory_size=size.memory,
            timeout=cdk.Duration.seconds(size.timeout),
            ephemeral_storage_size=cdk.Size.mebibytes(size.disk),
            reserved_concurrent_executions=size.reserved or None,
            tracing=lambda_.Tracing.ACTIVE if name in _TRACED else lambda_.Tracing.PASS_THROUGH,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if size.snap_start else None,
            vpc=network.vpc if network else None,
            vpc_subnets=network.private if network else None,
            security_groups=[network.functions] if network else None,
        )
        self.alias = lambda_.Alias(
            self,
            "Live",
            alias_name="live",
            version=self.function.current_version,
            provisioned_concurrent_executions=size.provisioned or None,
        )
        if size.provisioned:
            scaling = self.alias.add_auto_scaling(min_capacity=size.provisioned, max_capacity=size.provisioned * 10)
            scaling.scale_on_utilization(utilization_target=0.7)
        self.errors = cloudwatch.Alarm(
            self,
            "CanaryErrors",
            alarm_name=f"{deployment.prefix}-{name}-canary",
            alarm_description=f"New code of {name} fails; the deployment is rolled back",
            metric=self.alias.metric_errors(period=cdk.Duration.minutes(1), statistic="Sum"),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if network:
            self._allow_network()
        star = "a trace segment and a network interface have no ARN before they exist; the service offers no narrower grant"
        accept(self.role, "AwsSolutions-IAM5[Resource::*]", star)
        accept(
            self.function,
            "AwsSolutions-L1",
            "Python 3.13 is supported until 2029; the locked wheels and their byte code are built for it",
        )

    def canary(self, application: codedeploy.LambdaApplication, role: iam.IRole) -> None:
        """Lets new code in with a tenth of the traffic for five minutes, and takes it back when the alarm fires."""
        codedeploy.LambdaDeploymentGroup(
            self,
            "Canary",
            alias=self.alias,
            application=application,
            role=role,
            deployment_config=codedeploy.LambdaDeploymentConfig.CANARY_10_PERCENT_5_MINUTES,
            alarms=[self.errors],
            auto_rollback=codedeploy.AutoRollbackConfig(
                failed_deployment=True, stopped_deployment=True, deployment_in_alarm=True
            ),
        )

    def allow(self, *actions: str, on: Sequence[str]) -> None:
        """Lets the function do `actions` on the ARNs in `on`."""
        self.role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=list(on)))

    def _allow_network(self) -> None:
        self.allow(
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:AssignPrivateIpAddresses",
            "ec2:UnassignPrivateIpAddresses",
            on=["*"],
        )
