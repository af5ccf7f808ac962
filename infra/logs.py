"""The pipeline of logs: CloudWatch → Firehose, which redacts and reshapes → OpenSearch to search in, and S3 to keep.

Two streams, because each line goes two ways that must not wait for each other: a search that is down or full keeps nothing from
the archive, and the archive keeps redacted lines, where a backup of the other stream's source would keep them as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from aws_cdk import triggers
from constructs import Construct

from assistant.logsearch import INDEX
from assistant.settings import Settings
from infra.bundle import Bundle
from infra.data import DataStack
from infra.deployment import SEARCH_DISK_GB, SEARCH_NODES, Deployment
from infra.functions import AssistantFunction, Layers
from infra.network import Network
from infra.review import accept

ENGINE: Final = "OpenSearch_2.19"
INSTANCE: Final = "m6g.large.search"
TRANSFORM_MB: Final = "1"
"""What Firehose gives the function at a time, unpacked at most `assistant.logpipe.UNPACKED_BYTES` a record."""
ERRORS: Final = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"


class LogPipeline(Construct):
    """Takes the lines of every log group in `groups` to a search and to an archive."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        data: DataStack,
        network: Network,
        groups: Mapping[str, logs.ILogGroup],
        deployment: Deployment,
        bundle: Bundle,
    ) -> None:
        super().__init__(scope, id_)
        self._deployment = deployment
        self._network = network
        self._data = data
        layers = Layers(self, "Layers", bundle=bundle)
        self.domain = self._domain()
        url = f"https://{self.domain.attr_domain_endpoint}"
        settings = Settings(
            stage=deployment.stage,
            tenant=deployment.tenant,
            table_name=data.table.table_name,
            log_level=deployment.log_level,
            log_search_stream=deployment.search_stream,
            log_search_url=url,
            log_search_days=deployment.log_days,
        )
        environment = settings.to_env()
        self._transform, setup = (
            AssistantFunction(
                self,
                name,
                deployment=deployment,
                bundle=bundle,
                layers=layers,
                environment=environment,
                network=network if name == "search" else None,
            )
            for name in ("logs", "search")
        )
        streams = {name: self._arn("firehose", f"deliverystream/{name}") for name in deployment.log_streams}
        self._transform.allow("firehose:PutRecordBatch", on=list(streams.values()))
        self._told = logs.LogGroup(
            self,
            "Delivery",
            log_group_name=f"/assistant/{deployment.stage}/delivery",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self._role = self._delivering()
        search, archive = self._search(), self._archive()
        self._subscribe(groups, {"search": search, "archive": archive})
        self._permit(setup)
        loaded = triggers.Trigger(
            self,
            "SetUp",
            handler=setup.function,
            invocation_type=triggers.InvocationType.REQUEST_RESPONSE,
            timeout=cdk.Duration.minutes(5),
            execute_after=[self.domain, setup],
            execute_before=[search],
        )
        loaded.node.add_dependency(self.domain)
        data.allow_table(setup.role, "Query", "DeleteItem")  # who was erased, and is to be forgotten here
        events.Rule(
            self,
            "Forget",
            description="Lines of logs that name somebody who was erased are deleted",
            schedule=events.Schedule.rate(cdk.Duration.days(1)),
            targets=[targets.LambdaFunction(setup.alias, event=events.RuleTargetInput.from_object({"task": "forget"}))],
        )
        cdk.CfnOutput(cdk.Stack.of(self), "LogSearch", value=f"{url}/_dashboards")

    def _arn(self, service: str, resource: str) -> str:
        kind, _, name = resource.partition("/")
        return cdk.Stack.of(self).format_arn(service=service, resource=kind, resource_name=name)

    # --- the search ---

    def _domain(self) -> opensearch.CfnDomain:
        deployment, network = self._deployment, self._network
        reached = ec2.SecurityGroup(
            self,
            "Reached",
            vpc=network.vpc,
            description="The search of logs: over TLS from our network",
            allow_all_outbound=False,
        )
        reached.add_ingress_rule(network.functions, ec2.Port.tcp(443), "functions and Firehose")
        slow = logs.LogGroup(
            self,
            "Slow",
            log_group_name=f"/assistant/{deployment.stage}/opensearch",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        allowed = logs.CfnResourcePolicy(
            self,
            "MayLog",
            policy_name=f"{deployment.prefix}-opensearch",
            policy_document=cdk.Stack.of(self).to_json_string(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "es.amazonaws.com"},
                            "Action": ["logs:PutLogEvents", "logs:CreateLogStream"],
                            "Resource": slow.log_group_arn,
                            "Condition": {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}},
                        }
                    ],
                }
            ),
        )
        published = {
            kind: opensearch.CfnDomain.LogPublishingOptionProperty(
                cloud_watch_logs_log_group_arn=slow.log_group_arn, enabled=True
            )
            for kind in ("ES_APPLICATION_LOGS", "SEARCH_SLOW_LOGS", "INDEX_SLOW_LOGS")
        }
        domain = opensearch.CfnDomain(
            self,
            "Domain",
            domain_name=deployment.search_domain,
            engine_version=ENGINE,
            cluster_config=opensearch.CfnDomain.ClusterConfigProperty(
                instance_type=INSTANCE,
                instance_count=SEARCH_NODES,
                zone_awareness_enabled=True,
                zone_awareness_config=opensearch.CfnDomain.ZoneAwarenessConfigProperty(availability_zone_count=2),
            ),
            ebs_options=opensearch.CfnDomain.EBSOptionsProperty(ebs_enabled=True, volume_type="gp3", volume_size=SEARCH_DISK_GB),
            encryption_at_rest_options=opensearch.CfnDomain.EncryptionAtRestOptionsProperty(
                enabled=True, kms_key_id=self._data.key.key_id
            ),
            node_to_node_encryption_options=opensearch.CfnDomain.NodeToNodeEncryptionOptionsProperty(enabled=True),
            domain_endpoint_options=opensearch.CfnDomain.DomainEndpointOptionsProperty(
                enforce_https=True, tls_security_policy="Policy-Min-TLS-1-2-PFS-2023-10"
            ),
            vpc_options=opensearch.CfnDomain.VPCOptionsProperty(
                security_group_ids=[reached.security_group_id],
                subnet_ids=network.vpc.select_subnets(subnet_type=network.private.subnet_type).subnet_ids,
            ),
            log_publishing_options=published,
            software_update_options=opensearch.CfnDomain.SoftwareUpdateOptionsProperty(auto_software_update_enabled=True),
            off_peak_window_options=opensearch.CfnDomain.OffPeakWindowOptionsProperty(enabled=True),
        )
        domain.add_resource_dependency(allowed)
        domain.override_logical_id("LogSearchDomain")
        domain.apply_removal_policy(cdk.RemovalPolicy.RETAIN if deployment.keep_data else cdk.RemovalPolicy.DESTROY)
        accept(domain, "AwsSolutions-OS3", "in our own network, and open to two roles alone; there are no addresses to list")
        accept(domain, "AwsSolutions-OS4", "masters of their own pay from about ten nodes on; this domain has two")
        return domain

    def _permit(self, setup: AssistantFunction) -> None:
        """Who may do what in the domain: Firehose writes, our function sets up, people of the account read with their roles."""
        arn = self._arn("es", f"domain/{self._deployment.search_domain}")
        setup.allow("es:ESHttpGet", "es:ESHttpPut", "es:ESHttpPost", on=[f"{arn}/*"])
        stack = cdk.Stack.of(self)
        readers = {"Effect": "Allow", "Principal": {"AWS": f"arn:{stack.partition}:iam::{stack.account}:root"}}
        self.domain.access_policies = {
            "Version": "2012-10-17",
            "Statement": [{**readers, "Action": ["es:ESHttp*"], "Resource": f"{arn}/*"}],
        }
        for owner in (setup.role, self._role):
            account = "<AWS::AccountId>" if cdk.Token.is_unresolved(stack.account) else stack.account
            region = "<AWS::Region>" if cdk.Token.is_unresolved(stack.region) else stack.region
            inside = f"arn:<AWS::Partition>:es:{region}:{account}:domain/{self._deployment.search_domain}/*"
            reason = "everything inside one domain of our own; indexes are made day by day"
            accept(owner, f"AwsSolutions-IAM5[Resource::{inside}]", reason)

    # --- the streams ---

    def _delivering(self) -> iam.Role:
        """What Firehose may do."""
        stack = cdk.Stack.of(self)
        name = self._deployment.search_domain
        domain = self._arn("es", f"domain/{name}")
        role = iam.Role(
            self,
            "Delivering",
            description="What Firehose may do with logs",
            assumed_by=iam.ServicePrincipal(
                "firehose.amazonaws.com", conditions={"StringEquals": {"sts:ExternalId": stack.account}}
            ),
        )

        def allow(*actions: str, on: list[str], when: dict[str, Any] | None = None) -> None:
            role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=on, conditions=when))

        archive = self._data.archive
        assert archive is not None  # noqa: S101  # made where log_search is set, as this is
        allow(
            "s3:AbortMultipartUpload",
            "s3:GetBucketLocation",
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads",
            on=[archive.bucket_arn],
        )
        allow("s3:PutObject", "s3:AbortMultipartUpload", on=[archive.arn_for_objects("*")])
        allow(
            "kms:Decrypt",
            "kms:GenerateDataKey",
            on=[self._data.key.key_arn],
            when={"StringEquals": {"kms:ViaService": f"s3.{stack.region}.amazonaws.com"}},
        )
        allow("lambda:InvokeFunction", "lambda:GetFunctionConfiguration", on=[self._transform.alias.function_arn])
        allow("logs:PutLogEvents", on=[self._told.log_group_arn])
        allow("es:DescribeDomain", "es:DescribeDomains", "es:DescribeDomainConfig", on=[domain])
        allow("es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut", on=[f"{domain}/*"])
        allow(
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "ec2:DescribeVpcAttribute",
            on=["*"],
        )
        accept(role, "AwsSolutions-IAM5[Resource::*]", "a network interface has no ARN before it exists")
        exported = f"Resource::{self._data.stack_name}:ExportsOutputFnGetAttArchiveArn1EBA378E/*"
        accept(role, f"AwsSolutions-IAM5[{exported}]", "objects of our own bucket; their names are not known before")
        return role

    def _search(self) -> firehose.CfnDeliveryStream:
        role, network = self._role, self._network
        made = firehose.CfnDeliveryStream.AmazonopensearchserviceDestinationConfigurationProperty(
            domain_arn=self._arn("es", f"domain/{self._deployment.search_domain}"),
            role_arn=role.role_arn,
            index_name=INDEX,
            index_rotation_period="OneDay",
            buffering_hints=firehose.CfnDeliveryStream.AmazonopensearchserviceBufferingHintsProperty(
                interval_in_seconds=60, size_in_m_bs=5
            ),
            retry_options=firehose.CfnDeliveryStream.AmazonopensearchserviceRetryOptionsProperty(duration_in_seconds=3600),
            processing_configuration=self._processing(),
            s3_backup_mode="FailedDocumentsOnly",
            s3_configuration=firehose.CfnDeliveryStream.S3DestinationConfigurationProperty(
                bucket_arn=self._bucket_arn,
                role_arn=role.role_arn,
                prefix="unsearched/",
                error_output_prefix=f"unsearched/{ERRORS}",
                compression_format="GZIP",
                buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(interval_in_seconds=300, size_in_m_bs=5),
            ),
            vpc_configuration=firehose.CfnDeliveryStream.VpcConfigurationProperty(
                role_arn=role.role_arn,
                security_group_ids=[network.functions.security_group_id],
                subnet_ids=network.vpc.select_subnets(subnet_type=network.private.subnet_type).subnet_ids,
            ),
            cloud_watch_logging_options=self._logging("search"),
        )
        return self._stream(self._deployment.search_stream, amazonopensearchservice_destination_configuration=made)

    def _archive(self) -> firehose.CfnDeliveryStream:
        made = firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
            bucket_arn=self._bucket_arn,
            role_arn=self._role.role_arn,
            prefix="logs/!{timestamp:yyyy/MM/dd}/",
            error_output_prefix=ERRORS,
            compression_format="GZIP",
            file_extension=".jsonl.gz",
            buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(interval_in_seconds=300, size_in_m_bs=64),
            processing_configuration=self._processing(),
            cloud_watch_logging_options=self._logging("archive"),
        )
        return self._stream(self._deployment.archive_stream, extended_s3_destination_configuration=made)

    @property
    def _bucket_arn(self) -> str:
        assert self._data.archive is not None  # noqa: S101  # made where log_search is set, as this is
        return self._data.archive.bucket_arn

    def _stream(self, name: str, **destination: Any) -> firehose.CfnDeliveryStream:
        """`Any`: each destination has its own shape."""
        stream = firehose.CfnDeliveryStream(
            self,
            name.rpartition("-")[2].title(),
            delivery_stream_name=name,
            delivery_stream_type="DirectPut",
            delivery_stream_encryption_configuration_input=(
                firehose.CfnDeliveryStream.DeliveryStreamEncryptionConfigurationInputProperty(key_type="AWS_OWNED_CMK")
            ),
            **destination,
        )
        stream.node.add_dependency(self._role)
        return stream

    def _processing(self) -> firehose.CfnDeliveryStream.ProcessingConfigurationProperty:
        parameters = {
            "LambdaArn": self._transform.alias.function_arn,
            "NumberOfRetries": "3",
            "RoleArn": self._role.role_arn,
            "BufferSizeInMBs": TRANSFORM_MB,
            "BufferIntervalInSeconds": "60",
        }
        given = [
            firehose.CfnDeliveryStream.ProcessorParameterProperty(parameter_name=n, parameter_value=v)
            for n, v in parameters.items()
        ]
        processor = firehose.CfnDeliveryStream.ProcessorProperty(type="Lambda", parameters=given)
        return firehose.CfnDeliveryStream.ProcessingConfigurationProperty(enabled=True, processors=[processor])

    def _logging(self, name: str) -> firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty:
        stream = logs.LogStream(self, f"Told-{name}", log_group=self._told, log_stream_name=name)
        return firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
            enabled=True, log_group_name=self._told.log_group_name, log_stream_name=stream.log_stream_name
        )

    def _subscribe(self, groups: Mapping[str, logs.ILogGroup], streams: Mapping[str, firehose.CfnDeliveryStream]) -> None:
        """Every line of every group goes to both streams, but for those of the pipeline itself, which would never end."""
        stack = cdk.Stack.of(self)
        role = iam.Role(
            self,
            "Subscribing",
            description="What CloudWatch Logs may do: put lines into the pipeline",
            assumed_by=iam.ServicePrincipal(
                "logs.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
            ),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["firehose:PutRecord", "firehose:PutRecordBatch"], resources=[s.attr_arn for s in streams.values()]
            )
        )
        for name, group in groups.items():
            for kind, stream in streams.items():
                made = logs.CfnSubscriptionFilter(
                    self,
                    f"{name}-{kind}",
                    log_group_name=group.log_group_name,
                    filter_name=f"to-{kind}",
                    filter_pattern="",
                    destination_arn=stream.attr_arn,
                    role_arn=role.role_arn,
                )
                made.node.add_dependency(role)
