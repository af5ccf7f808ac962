"""InferenceStack: the GPU container behind a SageMaker endpoint, the weights it loads, and how it grows, shrinks and is replaced.

One copy of the engine runs on one GPU as an inference component. Requests that begin alike go to the copy that has their
beginning in its cache; copies are added by the number of answers in the making, measured every ten seconds; a new version comes
in copy by copy and goes back by itself when its alarms fire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from infra.data import DataStack
from infra.deployment import Deployment
from infra.machines import MACHINES
from infra.review import accept

CONTAINER: Final = Path(__file__).resolve().parents[1] / "functions" / "inference"

AMI: Final = "al2023-ami-sagemaker-inference-gpu-4-1"
"""Driver 580 with CUDA 13, which vLLM's wheels are linked against; the default machine image has an older driver."""

CONCURRENCY: Final = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
"""Answers in the making per copy, every 10 s; a streamed one counts until its last token."""

STARTUP_SECONDS: Final = 900
"""Loading weights and recording CUDA graphs takes minutes."""


def profile_of(name: str) -> Mapping[str, Any]:
    """The engine profile called `name`."""
    found: Mapping[str, Any] = json.loads((CONTAINER / "engine" / f"{name}.json").read_text("utf-8"))
    return found


_ACROSS: Final = ("us.", "eu.", "apac.", "jp.", "au.", "us-gov.", "global.")
"""What the id of a Bedrock inference profile begins with: it answers from several regions."""


def model_grants(stack: cdk.Stack, deployment: Deployment) -> list[tuple[list[str], list[str]]]:
    """Actions and ARNs that asking the deployment's models needs, for each model that AWS itself serves."""
    grants: list[tuple[list[str], list[str]]] = []
    for spec in filter(None, f"{deployment.model},{deployment.embedder}".split(",")):
        kind, _, rest = spec.strip().partition("#")[0].partition(":")
        if kind in ("sagemaker", "sagemaker-openai"):
            endpoint, _, component = rest.partition("/")
            arns = [stack.format_arn(service="sagemaker", resource="endpoint", resource_name=endpoint.lower())]
            if component:
                arns.append(
                    stack.format_arn(service="sagemaker", resource="inference-component", resource_name=component.lower())
                )
            grants.append((["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"], arns))
            if kind == "sagemaker-openai":
                grants.append((["sagemaker:CallWithBearerToken"], arns))
        elif kind == "bedrock":
            actions = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
            across = next((a for a in _ACROSS if rest.startswith(a)), "")
            model = rest.removeprefix(across)
            arns = [stack.format_arn(service="bedrock", account="", resource="foundation-model", resource_name=model)]
            if across:
                arns = [
                    stack.format_arn(service="bedrock", resource="inference-profile", resource_name=rest),
                    stack.format_arn(service="bedrock", region="*", account="", resource="foundation-model", resource_name=model),
                ]
            grants.append((actions, arns))
    return grants


class InferenceStack(cdk.Stack):
    """The model on its own GPUs. Holds no state: weights lie in the data stack's bucket under `models/`."""

    def __init__(self, scope: Construct, id_: str, *, data: DataStack, deployment: Deployment, env: cdk.Environment) -> None:
        super().__init__(scope, id_, env=env)
        self._deployment = deployment
        self._profile = profile_of(deployment.gpu_profile)
        size = MACHINES[deployment.gpu_profile.partition("-")[0]]
        self._machine = size
        self.endpoint_name = self.component_name = deployment.model_endpoint
        model = self._model(data)
        endpoint = self._endpoint(model)
        self.alarms = self._alarms()
        component = self._component(model)
        component.node.add_dependency(endpoint)
        self._scaling(component)
        for name, value in (
            ("ModelEndpoint", self.endpoint_name),
            ("ModelWeights", f"s3://{data.bucket.bucket_name}/{self._prefix}"),
        ):
            cdk.CfnOutput(self, name, value=value)

    @property
    def _prefix(self) -> str:
        return f"models/{self._deployment.gpu_weights}/"

    def _image(self) -> str:
        if self._deployment.gpu_image:
            return self._deployment.gpu_image
        asset = assets.DockerImageAsset(
            self,
            "Image",
            directory=str(CONTAINER),
            platform=assets.Platform.LINUX_AMD64,
            exclude=["README.md", "__pycache__"],
        )
        return asset.image_uri

    def _model(self, data: DataStack) -> sagemaker.CfnModel:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description="The inference container: reads its weights and its image, writes its log, nothing else",
        )
        self._role = role
        statements = (
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[data.bucket.arn_for_objects(f"{self._prefix}*")]),
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[data.bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [f"{self._prefix}*"]}},
            ),
            iam.PolicyStatement(
                actions=["kms:Decrypt"],
                resources=[data.key.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"s3.{self.region}.amazonaws.com"}},
            ),
            iam.PolicyStatement(
                actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                resources=[self.format_arn(service="logs", resource="log-group", resource_name="/aws/sagemaker/*",
                                           arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME)],
            ),
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringLike": {"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/*"]}},
            ),
            iam.PolicyStatement(
                actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                resources=[self.format_arn(service="ecr", resource="repository", resource_name="*")],
            ),
            iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]),
        )  # fmt: skip
        for statement in statements:
            role.add_to_policy(statement)
        place = "arn:<AWS::Partition>"
        for what, reason in (
            (f"{data.stack_name}:ExportsOutputFnGetAttDocumentsArn9D87F4A8/{self._prefix}*", "the weights, below one prefix"),
            (f"{place}:logs:<AWS::Region>:<AWS::AccountId>:log-group:/aws/sagemaker/*", "SageMaker's own log groups"),
            (
                f"{place}:ecr:<AWS::Region>:<AWS::AccountId>:repository/*",
                "images of this account; the image is chosen at deployment",
            ),
            ("*", "metrics in SageMaker's namespaces and ECR's log-in, which know no resources"),
        ):
            accept(role, f"AwsSolutions-IAM5[Resource::{what}]", reason)
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=role.role_arn,
            enable_network_isolation=True,  # the container reaches nothing: image and weights are brought to it
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=self._image(),
                environment={"ENGINE_PROFILE": self._deployment.gpu_profile},
                model_data_source=sagemaker.CfnModel.ModelDataSourceProperty(
                    s3_data_source=sagemaker.CfnModel.S3DataSourceProperty(
                        s3_uri=f"s3://{data.bucket.bucket_name}/{self._prefix}",
                        s3_data_type="S3Prefix",
                        compression_type="None",
                    )
                ),
            ),
        )
        policy = role.node.try_find_child("DefaultPolicy")
        if policy is not None:
            model.node.add_dependency(policy)  # SageMaker looks at the weights when the model is made
        return model

    def _endpoint(self, model: sagemaker.CfnModel) -> sagemaker.CfnEndpoint:
        deployment = self._deployment
        copies_per_instance = self._machine.gpus
        most = -(-deployment.gpu_copies_max // copies_per_instance)
        least = -(-deployment.gpu_copies_min // copies_per_instance)
        config = sagemaker.CfnEndpointConfig(
            self,
            "Config",
            execution_role_arn=self._role.role_arn,
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name="main",
                    instance_type=deployment.gpu_instance or self._machine.instance,
                    initial_instance_count=max(1, least),
                    managed_instance_scaling=sagemaker.CfnEndpointConfig.ManagedInstanceScalingProperty(
                        status="ENABLED", min_instance_count=least, max_instance_count=max(1, most)
                    ),
                    routing_config=sagemaker.CfnEndpointConfig.RoutingConfigProperty(routing_strategy="PREFIX_AWARE"),
                    inference_ami_version=AMI,
                    container_startup_health_check_timeout_in_seconds=STARTUP_SECONDS,
                    model_data_download_timeout_in_seconds=STARTUP_SECONDS,
                )
            ],
        )
        config.node.add_dependency(model)
        return sagemaker.CfnEndpoint(
            self, "Endpoint", endpoint_name=self.endpoint_name, endpoint_config_name=config.attr_endpoint_config_name
        )

    def _metric(self, name: str, statistic: str, period: cdk.Duration) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name=name,
            statistic=statistic,
            period=period,
            dimensions_map={"InferenceComponentName": self.component_name},
        )

    def _alarms(self) -> list[cloudwatch.Alarm]:
        minute = cdk.Duration.minutes(1)
        return [
            cloudwatch.Alarm(
                self,
                "Errors",
                alarm_name=f"{self._deployment.prefix}-model-errors",
                alarm_description="the model's container answers with 5xx; a roll-out in progress goes back by itself",
                metric=self._metric("Invocation5XXErrors", "Sum", minute),
                threshold=5,
                evaluation_periods=3,
                datapoints_to_alarm=2,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            ),
            cloudwatch.Alarm(
                self,
                "Slow",
                alarm_name=f"{self._deployment.prefix}-model-slow",
                alarm_description="half of the answers take the model longer than 60 s",
                metric=self._metric("ModelLatency", "p50", minute),  # microseconds
                threshold=60_000_000,
                evaluation_periods=3,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            ),
        ]

    def _component(self, model: sagemaker.CfnModel) -> sagemaker.CfnInferenceComponent:
        properties = sagemaker.CfnInferenceComponent
        return sagemaker.CfnInferenceComponent(
            self,
            "Component",
            inference_component_name=self.component_name,
            endpoint_name=self.endpoint_name,
            variant_name="main",
            specification=properties.InferenceComponentSpecificationProperty(
                model_name=model.attr_model_name,
                compute_resource_requirements=properties.InferenceComponentComputeResourceRequirementsProperty(
                    number_of_accelerator_devices_required=1,
                    number_of_cpu_cores_required=self._machine.cores,
                    min_memory_required_in_mb=self._machine.memory_mb,
                ),
                startup_parameters=properties.InferenceComponentStartupParametersProperty(
                    container_startup_health_check_timeout_in_seconds=STARTUP_SECONDS,
                    model_data_download_timeout_in_seconds=STARTUP_SECONDS,
                ),
            ),
            runtime_config=properties.InferenceComponentRuntimeConfigProperty(copy_count=max(1, self._deployment.gpu_copies_min)),
            deployment_config=properties.InferenceComponentDeploymentConfigProperty(
                rolling_update_policy=properties.InferenceComponentRollingUpdatePolicyProperty(
                    maximum_batch_size=properties.InferenceComponentCapacitySizeProperty(type="COPY_COUNT", value=1),
                    wait_interval_in_seconds=300,
                    maximum_execution_timeout_in_seconds=7200,
                ),
                auto_rollback_configuration=properties.AutoRollbackConfigurationProperty(
                    alarms=[properties.AlarmProperty(alarm_name=a.alarm_name) for a in self.alarms]
                ),
            ),
        )

    def _scaling(self, component: sagemaker.CfnInferenceComponent) -> None:
        deployment = self._deployment
        resource = f"inference-component/{self.component_name}"
        dimension = "sagemaker:inference-component:DesiredCopyCount"
        target = scaling.CfnScalableTarget(
            self,
            "Copies",
            service_namespace="sagemaker",
            resource_id=resource,
            scalable_dimension=dimension,
            min_capacity=deployment.gpu_copies_min,
            max_capacity=deployment.gpu_copies_max,
        )
        target.node.add_dependency(component)
        # A copy gets a neighbour when it is three fifths full: the rest serves until the neighbour has started.
        per_copy = round(0.6 * int(self._profile["args"]["max-num-seqs"]))
        tracking = scaling.CfnScalingPolicy(
            self,
            "ByConcurrency",
            policy_name=f"{deployment.prefix}-model-concurrency",
            policy_type="TargetTrackingScaling",
            scaling_target_id=target.ref,
            target_tracking_scaling_policy_configuration=scaling.CfnScalingPolicy.TargetTrackingScalingPolicyConfigurationProperty(
                target_value=per_copy,
                predefined_metric_specification=scaling.CfnScalingPolicy.PredefinedMetricSpecificationProperty(
                    predefined_metric_type=CONCURRENCY
                ),
                scale_in_cooldown=600,
                scale_out_cooldown=120,
            ),
        )
        tracking.node.add_dependency(target)
        if deployment.gpu_copies_min == 0:
            self._wake(target)

    def _wake(self, target: scaling.CfnScalableTarget) -> None:
        """Brings the first copy back when somebody asks while there is none; the dialogue tells them that it warms up."""
        policy = scaling.CfnScalingPolicy(
            self,
            "FromNothing",
            policy_name=f"{self._deployment.prefix}-model-wake",
            policy_type="StepScaling",
            scaling_target_id=target.ref,
            step_scaling_policy_configuration=scaling.CfnScalingPolicy.StepScalingPolicyConfigurationProperty(
                adjustment_type="ChangeInCapacity",
                metric_aggregation_type="Maximum",
                cooldown=60,
                step_adjustments=[
                    scaling.CfnScalingPolicy.StepAdjustmentProperty(metric_interval_lower_bound=0, scaling_adjustment=1)
                ],
            ),
        )
        policy.node.add_dependency(target)
        alarm = cloudwatch.CfnAlarm(
            self,
            "Asleep",
            alarm_name=f"{self._deployment.prefix}-model-asleep",
            alarm_description="somebody asked while no copy of the model was running: one is started",
            namespace="AWS/SageMaker",
            metric_name="NoCapacityInvocationFailures",
            dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="InferenceComponentName", value=self.component_name)],
            statistic="Maximum",
            period=60,
            evaluation_periods=1,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="missing",
            alarm_actions=[policy.attr_arn],
        )
        alarm.node.add_dependency(policy)
