"""A network whose functions leave through fixed addresses, which a vendor can put on its allow-list."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.deployment import Deployment


class Network(Construct):
    """Two zones, one NAT gateway with a fixed address in each; table and bucket are reached without leaving AWS."""

    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment) -> None:
        super().__init__(scope, id_)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            max_azs=2,
            nat_gateways=2,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="out", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=26, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name="in", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=22),
            ],
            gateway_endpoints={
                "Table": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
                "Bucket": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            },
        )
        self.private = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
        self.functions = ec2.SecurityGroup(
            self, "Functions", vpc=self.vpc, description="Functions: out to port 443, and to the cache", allow_all_outbound=False
        )
        self.functions.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "vendors and AWS over TLS")
        flow = logs.LogGroup(
            self, "FlowLogs", log_group_name=f"/assistant/{deployment.stage}/network", removal_policy=cdk.RemovalPolicy.DESTROY
        )
        role = iam.Role(self, "FlowRole", assumed_by=iam.ServicePrincipal("vpc-flow-logs.amazonaws.com"))
        self.vpc.add_flow_log(
            "Flow", destination=ec2.FlowLogDestination.to_cloud_watch_logs(flow, role), traffic_type=ec2.FlowLogTrafficType.REJECT
        )
        addresses = [n.ref for n in self.vpc.node.find_all() if isinstance(n, ec2.CfnEIP)]
        cdk.CfnOutput(cdk.Stack.of(self), "EgressAddresses", value=cdk.Fn.join(",", addresses))
