"""EdgeStack: CloudFront and WAF in front of the API. Its resources are global: AWS keeps them in us-east-1."""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from infra.deployment import Deployment
from infra.review import accept

REQUESTS_PER_ADDRESS: Final = 3000
"""In five minutes; a platform sends all its webhooks from few addresses, so webhooks are not counted."""


class EdgeStack(cdk.Stack):
    """What a browser reaches. Webhooks may come this way or go to the API itself: both are the same functions."""

    def __init__(self, scope: Construct, id_: str, *, api_host: str, deployment: Deployment, env: cdk.Environment) -> None:
        super().__init__(scope, id_, env=env)
        firewall = self._firewall(deployment)
        logs = s3.Bucket(
            self,
            "Logs",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_PREFERRED,  # CloudFront delivers logs with an ACL
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(deployment.log_days))],
        )
        accept(logs, "AwsSolutions-S1", "this bucket holds access logs; logging who reads them into itself would never end")
        origin = origins.HttpOrigin(api_host, protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY)
        self.distribution = cloudfront.Distribution(
            self,
            "Front",
            comment=f"{deployment.prefix}: web page and API",
            default_behavior=cloudfront.BehaviorOptions(
                origin=origin,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
                cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
                origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
                response_headers_policy=cloudfront.ResponseHeadersPolicy.SECURITY_HEADERS,
            ),
            additional_behaviors={
                "/console/*": cloudfront.BehaviorOptions(
                    origin=origin,
                    viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                    cache_policy=cloudfront.CachePolicy.USE_ORIGIN_CACHE_CONTROL_HEADERS,
                    response_headers_policy=cloudfront.ResponseHeadersPolicy.SECURITY_HEADERS,
                )
            },
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            web_acl_id=firewall.attr_arn,
            enable_logging=True,
            log_bucket=logs,
        )
        accept(
            self.distribution,
            "AwsSolutions-CFR1",
            "a company's people travel; who may use the assistant is decided by the chat platform",
        )
        accept(
            self.distribution,
            "AwsSolutions-CFR4",
            "CloudFront's own host name; with a name of one's own the policy is TLS 1.2 (2021)",
        )
        cdk.CfnOutput(self, "EdgeUrl", value=f"https://{self.distribution.distribution_domain_name}")

    def _firewall(self, deployment: Deployment) -> waf.CfnWebACL:
        """AWS's lists of bad addresses and inputs, and a limit for each address on all but the signed webhooks."""
        webhooks = waf.CfnWebACL.StatementProperty(
            byte_match_statement=waf.CfnWebACL.ByteMatchStatementProperty(
                field_to_match=waf.CfnWebACL.FieldToMatchProperty(uri_path={}),
                positional_constraint="STARTS_WITH",
                search_string="/webhook/",
                text_transformations=[waf.CfnWebACL.TextTransformationProperty(priority=0, type="NONE")],
            )
        )
        others = waf.CfnWebACL.StatementProperty(not_statement=waf.CfnWebACL.NotStatementProperty(statement=webhooks))
        rules = [
            self._managed(0, "AWSManagedRulesAmazonIpReputationList"),
            self._managed(1, "AWSManagedRulesKnownBadInputsRuleSet"),
            waf.CfnWebACL.RuleProperty(
                name="requests-per-address",
                priority=2,
                action=waf.CfnWebACL.RuleActionProperty(block={}),
                statement=waf.CfnWebACL.StatementProperty(
                    rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                        limit=REQUESTS_PER_ADDRESS, aggregate_key_type="IP", scope_down_statement=others
                    )
                ),
                visibility_config=self._seen("requests-per-address"),
            ),
        ]
        return waf.CfnWebACL(
            self,
            "Firewall",
            name=f"{deployment.prefix}-edge",
            scope="CLOUDFRONT",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            rules=rules,
            visibility_config=self._seen("edge"),
        )

    def _managed(self, priority: int, name: str) -> waf.CfnWebACL.RuleProperty:
        group = waf.CfnWebACL.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=name)
        return waf.CfnWebACL.RuleProperty(
            name=name,
            priority=priority,
            override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
            statement=waf.CfnWebACL.StatementProperty(managed_rule_group_statement=group),
            visibility_config=self._seen(name),
        )

    def _seen(self, name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
        return waf.CfnWebACL.VisibilityConfigProperty(
            cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
        )
