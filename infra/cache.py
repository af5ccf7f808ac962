"""The cache that all functions share: Valkey on ElastiCache Serverless, reached from the functions alone, with their roles."""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from constructs import Construct

from infra.data import DataStack
from infra.deployment import Deployment
from infra.functions import AssistantFunction
from infra.network import Network

PORT: Final = 6379
COMMANDS: Final = "on ~* -@all +get +set +del +ping"
"""What `assistant.valkey` asks, and nothing else: no listing of keys, no flushing, no configuration."""
MOST_GIGABYTES: Final = 1
MOST_UNITS: Final = 5000
"""ElastiCache processing units a second, about as many small commands: a bound for what a fault can cost."""


class SharedCache(Construct):
    """Holds nothing that is not elsewhere: when it is gone, values are fetched anew."""

    def __init__(self, scope: Construct, id_: str, *, data: DataStack, network: Network, deployment: Deployment) -> None:
        super().__init__(scope, id_)
        self._name = deployment.prefix
        reached = ec2.SecurityGroup(
            self, "Reached", vpc=network.vpc, description="The cache: from the functions alone", allow_all_outbound=False
        )
        reached.add_ingress_rule(network.functions, ec2.Port.tcp(PORT), "functions")
        network.functions.add_egress_rule(reached, ec2.Port.tcp(PORT), "the cache")
        user = elasticache.CfnUser(
            self,
            "User",
            engine="valkey",
            user_id=self._name,
            user_name=self._name,  # with roles both must be the same
            access_string=COMMANDS,
            authentication_mode={"Type": "iam"},
        )
        group = elasticache.CfnUserGroup(
            self, "Users", engine="valkey", user_group_id=f"{self._name}-users", user_ids=[user.user_id]
        )
        group.add_resource_dependency(user)
        self.cache = elasticache.CfnServerlessCache(
            self,
            "Cache",
            serverless_cache_name=self._name,
            description=f"Values that all functions of {self._name} share",
            engine="valkey",
            major_engine_version="8",
            security_group_ids=[reached.security_group_id],
            subnet_ids=network.vpc.select_subnets(subnet_type=network.private.subnet_type).subnet_ids,
            user_group_id=group.user_group_id,
            kms_key_id=data.key.key_arn,
            cache_usage_limits=elasticache.CfnServerlessCache.CacheUsageLimitsProperty(
                data_storage=elasticache.CfnServerlessCache.DataStorageProperty(unit="GB", maximum=MOST_GIGABYTES),
                ecpu_per_second=elasticache.CfnServerlessCache.ECPUPerSecondProperty(maximum=MOST_UNITS),
            ),
        )
        self.cache.add_resource_dependency(group)
        stack = cdk.Stack.of(self)
        self._arns = [
            stack.format_arn(
                service="elasticache", resource=kind, resource_name=self._name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
            )
            for kind in ("serverlesscache", "user")
        ]

    @property
    def url(self) -> str:
        """Where functions reach it, as `assistant.settings.Settings.cache_url` wants it."""
        host = self.cache.attr_endpoint_address
        port = self.cache.attr_endpoint_port
        return f"rediss://{self._name}@{host}:{port}?iam={self._name}"

    def allow(self, function: AssistantFunction) -> None:
        """Lets `function` sign in."""
        function.allow("elasticache:Connect", on=self._arns)
