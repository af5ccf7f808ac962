"""What a deployment costs, computed from the same Deployment that is deployed. Imports no CDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infra.alarms import watches
from infra.bundle import FUNCTIONS, LOG_FUNCTIONS
from infra.deployment import SEARCH_DISK_GB, SEARCH_NODES, SECRETS, Deployment

HOURS: Final = 730
"""In a month."""
MONTH: Final = HOURS * 3600
CACHE_LEAST_GB: Final = 0.1
"""Billed for an empty cache."""
LOG_RECORDS: Final = 12
"""Records of Firehose for the lines of one message: each line twice to the search, whole batches to the archive."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one unit in us-east-1, list price of 2025 without free tiers, and the page that names it today."""

    dollars: float
    unit: str
    source: str


_AWS = "https://aws.amazon.com/"
PRICES: Final[Mapping[str, Price]] = {
    "lambda": Price(0.0000133334, "GB-second, arm64", f"{_AWS}lambda/pricing/"),
    "lambda-request": Price(0.20e-6, "request", f"{_AWS}lambda/pricing/"),
    "lambda-warm": Price(0.0000033334, "GB-second kept warm, arm64", f"{_AWS}lambda/pricing/"),
    "lambda-snapshot": Price(0.0000015046, "GB-second of stored snapshot", f"{_AWS}lambda/pricing/"),
    "api": Price(1.00e-6, "request", f"{_AWS}api-gateway/pricing/"),
    "sqs": Price(0.50e-6, "FIFO request", f"{_AWS}sqs/pricing/"),
    "write": Price(0.625e-6, "write request unit", f"{_AWS}dynamodb/pricing/on-demand/"),
    "read": Price(0.125e-6, "read request unit", f"{_AWS}dynamodb/pricing/on-demand/"),
    "table": Price(0.25 + 0.20, "GB-month with point-in-time recovery", f"{_AWS}dynamodb/pricing/on-demand/"),
    "logs": Price(0.50, "GB taken in", f"{_AWS}cloudwatch/pricing/"),
    "metric": Price(0.30, "custom metric a month", f"{_AWS}cloudwatch/pricing/"),
    "alarm": Price(0.10, "metric in an alarm a month", f"{_AWS}cloudwatch/pricing/"),
    "composite": Price(0.50, "composite alarm a month", f"{_AWS}cloudwatch/pricing/"),
    "dashboard": Price(3.00, "dashboard a month", f"{_AWS}cloudwatch/pricing/"),
    "trace": Price(5.00e-6, "trace", f"{_AWS}xray/pricing/"),
    "secret": Price(0.40, "secret a month", f"{_AWS}secrets-manager/pricing/"),
    "key": Price(1.00, "key a month", f"{_AWS}kms/pricing/"),
    "key-request": Price(0.03e-4, "request", f"{_AWS}kms/pricing/"),
    "nat": Price(0.045, "NAT gateway hour", f"{_AWS}vpc/pricing/"),
    "nat-data": Price(0.045, "GB through a NAT gateway", f"{_AWS}vpc/pricing/"),
    "address": Price(0.005, "public IPv4 hour", f"{_AWS}vpc/pricing/"),
    "cache-storage": Price(0.084, "GB-hour in Valkey on ElastiCache Serverless", f"{_AWS}elasticache/pricing/"),
    "cache-unit": Price(0.0023e-6, "processing unit, about a small command", f"{_AWS}elasticache/pricing/"),
    "search-node": Price(0.128, "hour of an m6g.large.search node", f"{_AWS}opensearch-service/pricing/"),
    "search-disk": Price(0.122, "GB-month of gp3 under OpenSearch", f"{_AWS}opensearch-service/pricing/"),
    "firehose": Price(0.029, "GB taken in, in steps of 5 kB a record", f"{_AWS}firehose/pricing/"),
    "firehose-vpc": Price(0.01, "hour of a zone in a network", f"{_AWS}firehose/pricing/"),
    "archive": Price(0.023, "GB-month in S3", f"{_AWS}s3/pricing/"),
    "firewall": Price(5.00, "web ACL a month", f"{_AWS}waf/pricing/"),
    "firewall-rule": Price(1.00, "rule a month", f"{_AWS}waf/pricing/"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is assumed about messages; every figure can be replaced by one that was measured."""

    messages: int = 100_000
    """A month."""
    webhook_seconds: float = 0.03
    turn_seconds: float = 2.0
    """How long the dialogue function works on one turn, the wait for the model included."""
    write_units: float = 3
    read_units: float = 2
    log_bytes: int = 4096
    stored_bytes: int = 4096
    """Of a turn, kept for the deployment's `retention_days`."""
    prompt_tokens: int = 2500
    completion_tokens: int = 250
    prompt_price: float = 0
    """US dollars a million prompt tokens; 0: the built-in engine, or a model that is paid for elsewhere."""
    completion_price: float = 0
    gpu_hour: float = 0
    """US dollars for one hour of the endpoint's instance: it differs by region and contract, so there is no default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the estimate, in US dollars a month."""

    item: str
    dollars: float
    why: str
    price: str
    """Key of PRICES; empty where the price was given."""
    per_message: bool


def estimate(deployment: Deployment, use: Use) -> Sequence[Line]:
    """What `deployment` costs in a month with `use`: first what stands still, then what grows with the messages."""
    return [*_fixed(deployment), *_endpoint(deployment, use), *_growing(deployment, use)]


def _fixed(deployment: Deployment) -> list[Line]:
    lines: list[Line] = []

    def add(item: str, price: str, amount: float, why: str) -> None:
        if amount:
            lines.append(Line(item=item, dollars=PRICES[price].dollars * amount, why=why, price=price, per_message=False))

    warm = {n: s for n, s in deployment.sizes.items() if s.provisioned}
    warm_seconds = sum(s.provisioned * s.memory / 1024 for s in warm.values()) * MONTH
    add("warm copies", "lambda-warm", warm_seconds, ", ".join(f"{n} {s.provisioned} × {s.memory} MiB" for n, s in warm.items()))
    snapped = {n: s for n, s in deployment.sizes.items() if s.snap_start}
    add("snapshots", "lambda-snapshot", sum(s.memory / 1024 for s in snapped.values()) * MONTH, ", ".join(snapped))
    polls = 2 * 5 * MONTH / 20
    add("empty polls", "sqs", polls, "2 queues × 5 pollers × one request in 20 s")
    add("secrets", "secret", len(SECRETS), f"{len(SECRETS)} secrets")
    add("key", "key", 1, "one customer key")
    functions = len(FUNCTIONS) + (len(LOG_FUNCTIONS) if deployment.log_search else 0)
    looked_at = sum(len(w.series) for w in watches(deployment)) + functions
    add("alarms", "alarm", looked_at, f"{looked_at} metrics in {len(watches(deployment)) + functions} alarms")
    add("composite alarm", "composite", 1, "one")
    add("dashboards", "dashboard", 2, "operator and owner")
    add("metrics", "metric", 60, "about 60 series of our own, paid for the hours in which they are written")
    if deployment.vpc:
        add("fixed addresses", "nat", 2 * HOURS, "2 NAT gateways")
        add("public addresses", "address", 2 * HOURS, "2 addresses")
    if deployment.cache:
        add("shared cache", "cache-storage", CACHE_LEAST_GB * HOURS, f"Valkey, at least {CACHE_LEAST_GB} GB")
    if deployment.log_search:
        add("log search", "search-node", SEARCH_NODES * HOURS, f"{SEARCH_NODES} OpenSearch nodes")
        add("log search disks", "search-disk", SEARCH_NODES * SEARCH_DISK_GB, f"{SEARCH_NODES} × {SEARCH_DISK_GB} GB")
        add("log delivery", "firehose-vpc", 2 * HOURS, "Firehose in 2 zones of the network")
    if deployment.edge:
        add("firewall", "firewall", 1, "one web ACL")
        add("firewall rules", "firewall-rule", 3, "3 rules")
    return lines


def _endpoint(deployment: Deployment, use: Use) -> list[Line]:
    if not deployment.gpu_profile:
        return []
    copies = deployment.gpu_copies_min
    why = f"{copies} copies of {deployment.gpu_profile} that always run; up to {deployment.gpu_copies_max} at a peak"
    return [Line(item="model endpoint", dollars=copies * HOURS * use.gpu_hour, why=why, price="", per_message=False)]


def _growing(deployment: Deployment, use: Use) -> list[Line]:
    lines: list[Line] = []
    count = use.messages

    def add(item: str, price: str, each: float, why: str) -> None:
        lines.append(Line(item=item, dollars=PRICES[price].dollars * each * count, why=why, price=price, per_message=True))

    webhook, dialogue = deployment.sizes["webhook"], deployment.sizes["dialogue"]
    add(
        "webhook function",
        "lambda",
        use.webhook_seconds * webhook.memory / 1024,
        f"{use.webhook_seconds} s × {webhook.memory} MiB",
    )
    add("dialogue function", "lambda", use.turn_seconds * dialogue.memory / 1024, f"{use.turn_seconds} s × {dialogue.memory} MiB")
    add("invocations", "lambda-request", 2, "webhook and dialogue")
    add("API", "api", 1, "one webhook")
    add("queue", "sqs", 3, "send, receive, delete")
    add("table writes", "write", use.write_units, f"{use.write_units} units")
    add("table reads", "read", use.read_units, f"{use.read_units} units")
    kept = use.stored_bytes * deployment.retention_days / 30.4 / 1e9
    add("table storage", "table", kept, f"{use.stored_bytes} bytes for {deployment.retention_days} days")
    add("logs", "logs", use.log_bytes / 1e9, f"{use.log_bytes} bytes")
    add("traces", "trace", 0.05, "5 % of messages")
    add("key requests", "key-request", 2, "table; secrets are cached")
    if deployment.cache:
        add("cache commands", "cache-unit", 2, "2 small commands")
    if deployment.log_search:
        add("logs, again", "firehose", LOG_RECORDS * 5e3 / 1e9, f"{LOG_RECORDS} records to the search and the archive")
        add("log archive", "archive", use.log_bytes / 10 * deployment.archive_days / 30.4 / 1e9, "a tenth of the logs, packed")
        add("log function", "lambda", 0.05 * deployment.sizes["logs"].memory / 1024, "0.05 s")
    if deployment.vpc:
        add("outgoing data", "nat-data", 20_000 / 1e9, "20 kB to the platform and the model")
    dollars = (use.prompt_tokens * use.prompt_price + use.completion_tokens * use.completion_price) / 1e6 * count
    if dollars:
        why = f"{use.prompt_tokens} prompt and {use.completion_tokens} completion tokens"
        lines.append(Line(item="model", dollars=dollars, why=why, price="", per_message=True))
    return lines
