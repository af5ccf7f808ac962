"""ObservabilityStack: an alarm for everything in `alarms.py`, one topic, a dashboard for the operator and one for the owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.alarms import Series, Watch, dashboards, watches
from infra.bundle import Bundle
from infra.data import DataStack
from infra.deployment import Deployment
from infra.logs import LogPipeline
from infra.runtime import RuntimeStack

QUERIES: Final[Mapping[str, str]] = {
    "errors by kind": 'filter log.level = "error" | stats count(*) as n by log.logger, error.type | sort n desc',
    "one message from webhook to card": 'filter trace.id = "PUT THE TRACE ID HERE" | sort @timestamp asc',
    "slowest turns": "filter ispresent(TurnTime) | sort TurnTime desc | limit 50",
    "tokens by model": "filter ispresent(PromptTokens) | stats sum(PromptTokens), sum(CompletionTokens) by model",
    "refused webhooks by platform": "filter ispresent(WebhooksRefused) | stats sum(WebhooksRefused) by platform",
}
"""Saved Logs Insights queries: what an operator asks first."""


class ObservabilityStack(cdk.Stack):
    """Tells people when something is wrong, and shows what is going on."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        data: DataStack,
        runtime: RuntimeStack,
        deployment: Deployment,
        bundle: Bundle,
        env: cdk.Environment,
    ) -> None:
        super().__init__(scope, id_, env=env)
        self._deployment = deployment
        self._names = {
            "http": runtime.api.api_id,
            "turns": runtime.turns.queue.queue_name,
            "dead": runtime.turns.dead_letters.queue_name,
            "ingest_dead": runtime.documents.dead_letters.queue_name,
            "table": data.table.table_name,
            "account": self.account,
            **{name: function.function.function_name for name, function in runtime.functions.items()},
        }
        self.topic = self._topic(data, deployment)
        watched = watches(deployment)
        alarms = [self._alarm(watch) for watch in watched]
        self._composite([a for a, w in zip(alarms, watched, strict=True) if w.pages])
        self._dashboards()
        if deployment.log_search and runtime.network:
            LogPipeline(
                self,
                "Logs",
                data=data,
                network=runtime.network,
                groups={**{name: f.logs for name, f in runtime.functions.items()}, "access": runtime.access_logs},
                deployment=deployment,
                bundle=bundle,
            )
        groups = [function.logs.log_group_name for function in runtime.functions.values()]
        for name, query in QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                f"Query {name}",
                name=f"{deployment.prefix}/{name}",
                log_group_names=groups,
                query_string=f"fields @timestamp, message | {query}",
            )

    def _topic(self, data: DataStack, deployment: Deployment) -> sns.Topic:
        topic = sns.Topic(self, "Alarms", topic_name=f"{deployment.prefix}-alarms", master_key=data.key, enforce_ssl=True)
        if deployment.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(deployment.alarm_email))
        cdk.CfnOutput(self, "AlarmTopic", value=topic.topic_arn)
        return topic

    def _query(self, series: Series, seconds: int, *, shown: bool) -> cloudwatch.CfnAlarm.MetricDataQueryProperty:
        dimensions = [cloudwatch.CfnAlarm.DimensionProperty(name=n, value=v.format(**self._names)) for n, v in series.dimensions]
        return cloudwatch.CfnAlarm.MetricDataQueryProperty(
            id=series.id,
            return_data=shown,
            metric_stat=cloudwatch.CfnAlarm.MetricStatProperty(
                metric=cloudwatch.CfnAlarm.MetricProperty(
                    namespace=series.namespace, metric_name=series.metric, dimensions=dimensions
                ),
                period=seconds,
                stat=series.stat,
            ),
        )

    def _alarm(self, watch: Watch) -> cloudwatch.CfnAlarm:
        queries = [self._query(s, watch.seconds, shown=not watch.expression) for s in watch.series]
        if watch.expression:
            made = cloudwatch.CfnAlarm.MetricDataQueryProperty(id="result", expression=watch.expression, return_data=True)
            queries.append(made)
        return cloudwatch.CfnAlarm(
            self,
            watch.name,
            alarm_name=f"{self._deployment.prefix}-{watch.name}",
            alarm_description=f"{watch.means}. What to do: docs/operations.md#{watch.name}",
            metrics=queries,
            threshold=watch.above,
            comparison_operator="GreaterThanThreshold",
            evaluation_periods=watch.periods,
            datapoints_to_alarm=watch.hits or watch.periods,
            treat_missing_data="notBreaching",
            # Those that page do so through the composite alarm, once; the others send a note of their own.
            alarm_actions=[] if watch.pages else [self.topic.topic_arn],
            ok_actions=[] if watch.pages else [self.topic.topic_arn],
        )

    def _composite(self, alarms: Sequence[cloudwatch.CfnAlarm]) -> None:
        composite = cloudwatch.CfnCompositeAlarm(
            self,
            "Page",
            alarm_name=f"{self._deployment.prefix}-page",
            alarm_description="The assistant needs a person now; the alarms in its rule say why",
            alarm_rule=" OR ".join(f'ALARM("{a.alarm_name}")' for a in alarms),
            alarm_actions=[self.topic.topic_arn],
            ok_actions=[self.topic.topic_arn],
        )
        for alarm in alarms:
            composite.add_resource_dependency(alarm)

    def _dashboards(self) -> None:
        for name, (graphs, seconds) in dashboards(self._deployment).items():
            cloudwatch.CfnDashboard(
                self,
                f"Dashboard {name}",
                dashboard_name=f"{self._deployment.prefix}-{name}",
                dashboard_body=self.to_json_string({"widgets": [self._widget(n, g, seconds) for n, g in enumerate(graphs)]}),
            )

    def _widget(self, number: int, graph: tuple[str, Sequence[Series]], seconds: int) -> dict[str, Any]:
        title, series = graph
        lines: list[list[Any]] = []
        for one in series:
            flat = [part for n, v in one.dimensions for part in (n, v.format(**self._names))]
            lines.append([one.namespace, one.metric, *flat, {"stat": one.stat, "label": _label(one)}])
        return {
            "type": "metric",
            "x": number % 3 * 8,
            "y": number // 3 * 6,
            "width": 8,
            "height": 6,
            "properties": {"title": title, "region": self.region, "period": seconds, "view": "timeSeries", "metrics": lines},
        }


def _label(series: Series) -> str:
    """What a line is called: its metric, its statistic unless a sum, its function unless the dialogue's."""
    service = dict(series.dimensions).get("service", "dialogue")
    return " ".join(
        [series.metric, *([] if series.stat == "Sum" else [series.stat]), *([] if service == "dialogue" else [service])]
    )
