"""RuntimeStack: the HTTP API, the queues and the functions between them, each with the rights it needs and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk import triggers
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from aws_cdk.aws_lambda_event_sources import SqsEventSource
from constructs import Construct

from assistant.queue import QUEUE, QueueSettings
from assistant.settings import LOOK_SECONDS, ROUTES, Settings
from infra.bundle import FUNCTIONS, Bundle
from infra.cache import SharedCache
from infra.data import DataStack
from infra.deployment import ACCESS_LOG, PLATFORMS, SECRETS, Deployment
from infra.functions import AssistantFunction, Layers, log_period
from infra.inference import model_grants
from infra.isolated import add_isolated, apart, prefix
from infra.network import Network
from infra.review import accept

INGEST: Final = QueueSettings(function_timeout=900, max_receives=3, batch_size=10)
"""One message group, so that one writer at a time builds a knowledge version; up to ten changes come in one call."""

_READ = ("GetItem", "Query")
_WRITE = (*_READ, "PutItem", "UpdateItem", "DeleteItem")


def _region(stack: cdk.Stack) -> str:
    """The stack's region as findings of the linter write it."""
    return "<AWS::Region>" if cdk.Token.is_unresolved(stack.region) else stack.region


def _account(stack: cdk.Stack) -> str:
    """The stack's account as findings of the linter write it."""
    return "<AWS::AccountId>" if cdk.Token.is_unresolved(stack.account) else stack.account


class FifoWithDeadLetters(Construct):
    """A FIFO queue in high-throughput mode; what fails `max_receives` times goes to `dead_letters`."""

    def __init__(self, scope: Construct, id_: str, *, name: str, settings: QueueSettings, by_content: bool = False) -> None:
        super().__init__(scope, id_)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=f"{name}-dead.fifo",
            fifo=True,
            content_based_deduplication=by_content,
            retention_period=cdk.Duration.seconds(settings.dead_letter_retention),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=f"{name}.fifo",
            fifo=True,
            content_based_deduplication=by_content,
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
            visibility_timeout=cdk.Duration.seconds(settings.visibility),
            retention_period=cdk.Duration.seconds(settings.retention),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=settings.max_receives),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )


class RuntimeStack(cdk.Stack):
    """What takes messages in and answers them. Holds no state; it can be deleted and deployed again."""

    def __init__(
        self, scope: Construct, id_: str, *, data: DataStack, deployment: Deployment, bundle: Bundle, env: cdk.Environment
    ) -> None:
        super().__init__(scope, id_, env=env)
        self.turns = FifoWithDeadLetters(self, "Turns", name=f"{deployment.prefix}-turns", settings=QUEUE)
        self.documents = FifoWithDeadLetters(self, "Ingest", name=f"{deployment.prefix}-ingest", settings=INGEST, by_content=True)
        self.network = Network(self, "Network", deployment=deployment) if deployment.vpc else None
        self.api = api.HttpApi(self, "Http", api_name=deployment.prefix, create_default_stage=False)
        self.public_url = f"https://{deployment.domain}" if deployment.domain else self.api.api_endpoint
        self.cache = (
            SharedCache(self, "Cache", data=data, network=self.network, deployment=deployment)
            if deployment.cache and self.network
            else None
        )
        self.functions = self._functions(data, deployment, bundle)
        self._grants(data, deployment)
        self._sources(data, deployment)
        self.stage = self._routes(deployment)
        self._schedule()
        self._initialise()
        for name, value in (
            ("Url", self.public_url),
            ("TurnsQueueUrl", self.turns.queue.queue_url),
            ("DeadLettersUrl", self.turns.dead_letters.queue_url),
        ):
            cdk.CfnOutput(self, name, value=value)

    @property
    def availability_zones(self) -> list[str]:
        """The region's first two, named by CloudFormation: the CDK would ask the account and keep the answer in the checkout."""
        return [cdk.Fn.select(number, cdk.Fn.get_azs()) for number in range(2)]

    def _functions(self, data: DataStack, deployment: Deployment, bundle: Bundle) -> Mapping[str, AssistantFunction]:
        layers = Layers(self, "Layers", bundle=bundle)
        settings = self._settings(data, deployment)
        environment = replace(settings, plugin_functions=prefix(deployment) if apart(bundle) else "").to_env()
        functions = {
            name: AssistantFunction(
                self, name, deployment=deployment, bundle=bundle, layers=layers, environment=environment, network=self.network
            )
            for name in FUNCTIONS
        }
        callers = [functions["dialogue"], functions["api"]]
        self.isolated = add_isolated(self, data=data, deployment=deployment, bundle=bundle, layers=layers, callers=callers)
        if deployment.canary:
            application = codedeploy.LambdaApplication(self, "Deployments", application_name=deployment.prefix)
            role = iam.Role(self, "CanaryRole", assumed_by=iam.ServicePrincipal("codedeploy.amazonaws.com"))
            accept(
                role,
                "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited]",
                "CodeDeploy's own role for Lambda, kept by AWS; it may move aliases and read alarms, and nothing else",
            )
            for name in ("webhook", "dialogue", "api", "oauth"):
                functions[name].canary(application, role)
        return functions

    def _settings(self, data: DataStack, deployment: Deployment) -> Settings:
        further = Settings.from_env({name.upper(): text for name, text in deployment.settings})
        return replace(
            further,
            stage=deployment.stage,
            tenant=deployment.tenant,
            table_name=data.table.table_name,
            turns_queue_url=self.turns.queue.queue_url,
            dead_letters_url=self.turns.dead_letters.queue_url,
            bucket=data.bucket.bucket_name,
            kms_key_id=data.key.key_arn,
            cache_url=self.cache.url if self.cache else "",
            public_url=self.public_url,
            model=deployment.model,
            embedder=deployment.embedder,
            vector_index=data.vector_index,
            timezone=deployment.timezone,
            log_search_stream=deployment.search_stream if deployment.log_search else "",
            log_level=deployment.log_level,
            retention_days=deployment.retention_days,
        )

    def _grants(self, data: DataStack, deployment: Deployment) -> None:
        webhook, dialogue, http, oauth, ingest, init = (self.functions[n] for n in FUNCTIONS)
        queue, dead = self.turns.queue.queue_arn, self.turns.dead_letters.queue_arn

        webhook.allow("sqs:SendMessage", on=[queue])
        data.allow_secrets(webhook.role, *PLATFORMS)
        data.allow_table(
            webhook.role, *_READ, "PutItem", "UpdateItem"
        )  # seen signatures, keys of vendors, replies that are fetched

        dialogue.allow("sqs:SendMessage", on=[queue, dead])  # a failing message is buried with its reason
        dialogue.allow("sqs:ChangeMessageVisibility", on=[queue])  # back-off between deliveries
        dialogue.allow("sqs:GetQueueAttributes", on=[queue, dead])  # an administrator asks for the doctor in the chat
        data.allow_table(dialogue.role, *_WRITE)
        data.allow_secrets(dialogue.role, *SECRETS)
        data.allow_further_secrets(dialogue.role, "oauth", "plugin")
        data.allow_documents(dialogue.role, write=True)  # bodies too large for an item are spilled
        data.allow_envelopes(dialogue.role)

        http.allow("sqs:SendMessage", "sqs:GetQueueAttributes", on=[queue, dead])
        http.allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", on=[dead])  # list, show, replay
        data.allow_table(http.role, *_WRITE)
        data.allow_secrets(http.role, *SECRETS)
        data.allow_further_secrets(http.role, "oauth")  # to take back what somebody allowed
        data.allow_documents(http.role, write=True, purge=True)
        data.allow_envelopes(http.role)

        oauth.allow("sqs:SendMessage", on=[queue])
        data.allow_table(oauth.role, *_WRITE)
        data.allow_secrets(oauth.role, *PLATFORMS)
        data.allow_further_secrets(oauth.role, "oauth")
        data.allow_envelopes(oauth.role)

        data.allow_table(ingest.role, *_WRITE)
        data.allow_documents(ingest.role, write=True, purge=True)

        init.allow("sqs:GetQueueAttributes", on=[queue, dead])
        init.allow("sqs:SendMessage", on=[queue])  # somebody who left a form open is reminded
        data.allow_table(init.role, *_WRITE, "DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups")
        data.allow_secrets(init.role, *SECRETS)
        data.allow_documents(init.role, write=True)

        for function in (http, init):  # how the rings fare; the service knows no narrower grant than all metrics
            function.allow("cloudwatch:GetMetricData", on=["*"])
        alarms = self.format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name="*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        for function in (dialogue, http):  # the doctor tells which alarms ring
            function.allow("cloudwatch:DescribeAlarms", on=[alarms])
            accept(
                function.role,
                f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:cloudwatch:{_region(self)}:{_account(self)}:alarm:*]",
                "CloudWatch lists alarms by the beginning of their names only for who may list them all",
            )

        if self.cache:
            for function in (webhook, dialogue, http, oauth, init):
                self.cache.allow(function)
        if "@" in deployment.embedder + deployment.model:
            data.allow_secrets(ingest.role, "model")
        for function in (dialogue, http, init):
            data.allow_vectors(function.role, "QueryVectors", "GetVectors")
        for function in (dialogue, http, ingest):  # the dialogue files what an editor sends
            data.allow_vectors(function.role, "PutVectors", *(["DeleteVectors"] if function is not dialogue else []))
        if guardrail := dict(deployment.settings).get("guardrail", "").rpartition(":")[0]:
            place = self.format_arn(service="bedrock", resource="guardrail", resource_name=guardrail)
            for function in (dialogue, http):  # both answer
                function.allow("bedrock:ApplyGuardrail", on=[place])
        for function in (dialogue, http, ingest, init):  # what is taken in is embedded
            for actions, arns in model_grants(self, deployment):
                function.allow(*actions, on=arns)
                for model in (a.rpartition("::")[2] for a in arns if ":bedrock:*::" in a):
                    finding = f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:bedrock:*::{model}]"
                    accept(function.role, finding, "one model; its inference profile answers from any region")

    def _sources(self, data: DataStack, deployment: Deployment) -> None:
        dialogue, ingest = self.functions["dialogue"], self.functions["ingest"]
        dialogue.alias.add_event_source(
            SqsEventSource(
                self.turns.queue,
                batch_size=QUEUE.batch_size,
                report_batch_item_failures=True,
                max_concurrency=deployment.concurrent_turns,
            )
        )
        ingest.alias.add_event_source(
            SqsEventSource(self.documents.queue, batch_size=INGEST.batch_size, report_batch_item_failures=True)
        )
        events.Rule(
            self,
            "DocumentChanged",
            description="A document was added, changed or removed: knowledge is built again",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created", "Object Deleted"],
                detail={"bucket": {"name": [data.bucket.bucket_name]}, "object": {"key": [{"prefix": "documents/"}]}},
            ),
            targets=[targets.SqsQueue(self.documents.queue, message_group_id="knowledge")],
        )
        if deployment.refresh_hours:
            events.Rule(
                self,
                "PagesLook",
                description="Web pages in the knowledge are fetched again: what changed is taken in, what is gone is listed",
                schedule=events.Schedule.rate(cdk.Duration.hours(deployment.refresh_hours)),
                targets=[targets.SqsQueue(self.documents.queue, message_group_id="knowledge")],
            )

    def _schedule(self) -> None:
        """Lets functions/init.py look every few minutes at the roll-out's plan and at forms that were left open: small reads."""
        for task, id_, description in (
            ("rollout", "RolloutLook", "The roll-out's plan is looked at: it goes on, or takes itself back"),
            ("silence", "SilenceLook", "Forms that were left open are looked at: their people are reminded once"),
        ):
            events.Rule(
                self,
                id_,
                description=description,
                schedule=events.Schedule.rate(cdk.Duration.seconds(LOOK_SECONDS)),
                targets=[
                    targets.LambdaFunction(
                        self.functions["init"].alias,
                        event=events.RuleTargetInput.from_object({"task": task}),
                        retry_attempts=0,  # the next look is soon
                    )
                ],
            )

    def _initialise(self) -> None:
        """Runs functions/init.py at every deployment that changes it; what it raises fails the deployment and rolls it back."""
        init = self.functions["init"]
        triggers.Trigger(
            self,
            "Initialise",
            handler=init.function,
            invocation_type=triggers.InvocationType.REQUEST_RESPONSE,
            timeout=cdk.Duration.minutes(10),
            execute_after=[self.turns, self.functions["dialogue"], self.functions["api"]],
        )
        provider = self.node.find_child("AWSCDK.TriggerCustomResourceProviderCustomResourceProvider")
        basic = "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        own = "the CDK's own provider, which invokes our function once in a deployment"
        accept(provider, f"AwsSolutions-IAM4[{basic}]", own)
        accept(provider, "AwsSolutions-L1", own)

    def _routes(self, deployment: Deployment) -> api.HttpStage:
        integrations = {
            n: HttpLambdaIntegration(f"{n.title()}Integration", self.functions[n].alias)
            for n in sorted({r.function for r in ROUTES})
        }
        for route in ROUTES:
            self.api.add_routes(path=route.path, methods=[api.HttpMethod[route.method]], integration=integrations[route.function])
        self.access_logs = access = logs.LogGroup(
            self,
            "AccessLogs",
            log_group_name=f"/assistant/{deployment.stage}/access",
            retention=log_period(deployment.log_days),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        stage = api.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            detailed_metrics_enabled=True,
            throttle=api.ThrottleSettings(rate_limit=deployment.api_rate, burst_limit=deployment.api_burst),
            domain_mapping=self._domain(deployment),
        )
        raw = stage.node.default_child
        if isinstance(raw, api.CfnStage):  # the L2 class asks for an object that Python cannot give it
            raw.access_log_settings = api.CfnStage.AccessLogSettingsProperty(
                destination_arn=access.log_group_arn, format=ACCESS_LOG
            )
        accept(
            self.api,
            "AwsSolutions-APIG4",
            "each vendor signs its webhooks and the functions verify them; /v1 and /api ask for an API key",
        )
        return stage

    def _domain(self, deployment: Deployment) -> api.DomainMappingOptions | None:
        if not deployment.domain:
            return None
        certificate = acm.Certificate.from_certificate_arn(self, "Certificate", deployment.certificate)
        name = api.DomainName(
            self, "Domain", domain_name=deployment.domain, certificate=certificate, security_policy=api.SecurityPolicy.TLS_1_2
        )
        cdk.CfnOutput(self, "DomainTarget", value=name.regional_domain_name)
        return api.DomainMappingOptions(domain_name=name)
