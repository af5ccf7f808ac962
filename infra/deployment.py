"""What one deployment is: every difference between stages and profiles is a field here. Imports no CDK."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from assistant.errors import InvalidSetting
from assistant.queue import QUEUE
from assistant.settings import Settings

PLATFORMS: Final = ("webchat", "feishu", "dingtalk", "wecom", "slack", "teams")
"""Names under which each platform's secret is stored: `assistant/{stage}/{platform}`."""
SECRETS: Final = (*PLATFORMS, "model")
"""All secrets: those of the platforms, and the key of a model outside AWS."""

SEARCH_NODES: Final = 2
"""Nodes of the search of logs, one in each zone."""
SEARCH_DISK_GB: Final = 50
"""Disk of each of them."""
ACCESS_LOG: Final = json.dumps(
    {
        "@timestamp": "$context.requestTime",
        "ecs.version": "8.11",
        "http.request.id": "$context.requestId",
        "http.request.method": "$context.httpMethod",
        "http.response.status_code": "$context.status",
        "http.response.bytes": "$context.responseLength",
        "event.duration_ms": "$context.responseLatency",
        "event.backend_ms": "$context.integrationLatency",
        "url.route": "$context.routeKey",
        "source.ip": "$context.identity.sourceIp",
        "user_agent.original": "$context.identity.userAgent",
        "error.message": "$context.error.message",
    }
)
"""One line a request in ECS field names; `url.route` holds the pattern and never a query string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSize:
    """How large one function is and how many copies may run."""

    memory: int = 512
    """MiB; the share of a processor grows with it (1,769 MiB are one whole)."""
    timeout: int = 29
    """Seconds."""
    reserved: int = 0
    """Concurrent executions kept for this function and never exceeded; 0: it shares the account's pool."""
    provisioned: int = 0
    """Copies kept warm."""
    snap_start: bool = False
    """Start from a snapshot of the initialised function; cannot be combined with `provisioned`."""
    disk: int = 512
    """MiB under /tmp."""


WEBHOOK = FunctionSize(memory=1024, timeout=10, snap_start=True)
API = FunctionSize(memory=1024, timeout=29)
_BASIC: Final[Mapping[str, FunctionSize]] = MappingProxyType(
    {
        "webhook": WEBHOOK,
        "dialogue": FunctionSize(memory=1024, timeout=QUEUE.function_timeout, disk=1024),
        "api": API,
        "oauth": FunctionSize(memory=512, timeout=15),
        "ingest": FunctionSize(memory=2048, timeout=900, disk=4096),
        "init": FunctionSize(memory=1024, timeout=300, disk=1024),
        "logs": FunctionSize(memory=512, timeout=120),
        "search": FunctionSize(memory=512, timeout=240),
    }
)
_ENTERPRISE: Final[Mapping[str, FunctionSize]] = MappingProxyType(
    dict(_BASIC)
    | {
        "webhook": replace(WEBHOOK, snap_start=False, reserved=200, provisioned=5),
        "dialogue": FunctionSize(memory=1769, timeout=QUEUE.function_timeout, reserved=450, provisioned=10, disk=2048),
        "api": replace(API, provisioned=2),
        "ingest": FunctionSize(memory=4096, timeout=900, disk=10240),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One installation in one account and region. A field set with `-c name=value` replaces the profile's and the stage's."""

    stage: str = "dev"
    profile: str = "basic"
    account: str = ""
    """Twelve digits; empty: the account whose credentials deploy."""
    region: str = ""
    sizes: Mapping[str, FunctionSize] = field(default_factory=lambda: _BASIC)
    keep_data: bool = True
    """Table, bucket, keys and secrets outlive the stack and cannot be deleted by accident."""
    alarm_email: str = ""
    """Where alarms go; empty: the topic exists and nobody is subscribed."""
    tenant: str = "default"
    model: str = "builtin"
    embedder: str = ""
    vector_dimensions: int = 0
    """Numbers in a vector of the embedder; 0: as its name says, for those that are known."""
    refresh_hours: int = 24
    """Hours after which the web pages in the knowledge are fetched again; 0: never."""
    timezone: str = "UTC"
    log_level: str = "INFO"
    retention_days: int = 180
    """Days that a conversation is kept."""
    log_days: int = 30
    """Days that logs are kept in CloudWatch."""
    concurrent_turns: int = 50
    """Turns that are answered at the same time (2–1000 by the event source mapping's limits)."""
    api_rate: int = 100
    """Requests a second that the API takes before it answers 429."""
    api_burst: int = 200
    domain: str = ""
    """Host name of the API, with `certificate` as the ARN of its certificate in this region; empty: AWS's own name."""
    certificate: str = ""
    canary: bool = True
    """New code takes 10 % of the traffic for five minutes before it takes all."""
    edge: bool = False
    """CloudFront and WAF in front of the API."""
    vpc: bool = False
    """Functions leave through fixed addresses, so that vendors can allow-list them."""
    cache: bool = False
    """Valkey on ElastiCache Serverless as the cache that all functions share; needs `vpc`."""
    log_search: bool = False
    """Logs go through Firehose to OpenSearch and S3; needs `vpc`. Without it, CloudWatch Logs Insights searches them."""
    archive_days: int = 365
    """Days that redacted logs are kept in S3, where there is `log_search`."""
    silence_seconds: int = 60
    """A message that has no visible reply after this time counts as silence."""
    gpu_profile: str = ""
    """Engine profile of a model on GPUs of one's own, such as `48gb-small` (functions/inference/engine/); empty: none."""
    gpu_weights: str = "default"
    """Name under which `assistant model push` stored the weights."""
    gpu_copies_min: int = 1
    """Copies of the model that always run, each on one GPU; 0: none while nobody asks, and a wake-up takes minutes."""
    gpu_copies_max: int = 4
    gpu_instance: str = ""
    """SageMaker instance type; empty: the profile's."""
    gpu_image: str = ""
    """Image of the engine in ECR; empty: built from functions/inference, which needs Docker."""

    settings: tuple[tuple[str, str], ...] = ()
    """Further settings of the functions by name, such as `history_turns`; see `assistant.settings.Settings`."""

    @property
    def prefix(self) -> str:
        """What the names of this deployment's resources start with."""
        return f"assistant-{self.stage}"

    @property
    def search_stream(self) -> str:
        """Name of the Firehose stream to the search of logs."""
        return f"{self.prefix}-search"

    @property
    def archive_stream(self) -> str:
        """Name of the Firehose stream to the archive of logs."""
        return f"{self.prefix}-archive"

    @property
    def log_streams(self) -> tuple[str, ...]:
        """Both, where there is `log_search`."""
        return (self.search_stream, self.archive_stream) if self.log_search else ()

    @property
    def search_domain(self) -> str:
        """Name of the OpenSearch domain, which may have 28 characters."""
        return self.prefix[:28].rstrip("-")

    @property
    def vector_size(self) -> int:
        """Numbers in a vector of the embedder; 0 where there is none, or where its name does not tell."""
        if not self.embedder:
            return 0
        return self.vector_dimensions or next((size for part, size in DIMENSIONS if part in self.embedder.lower()), 0)

    @property
    def model_endpoint(self) -> str:
        """Name of the SageMaker endpoint of our own model, and of its inference component."""
        return f"{self.prefix}-model"

    @property
    def secret_names(self) -> Mapping[str, str]:
        """Name in Secrets Manager of each secret."""
        return {name: f"assistant/{self.stage}/{name}" for name in SECRETS}

    @classmethod
    def of(cls, given: Mapping[str, Any], *, env: Mapping[str, str]) -> Self:
        """The deployment that the CDK context `given` and the environment describe; raises InvalidSetting with the fix."""
        stage = str(given.get("stage") or "dev")
        profile = str(given.get("profile") or "basic")
        if profile not in PROFILES:
            raise InvalidSetting(f"profile={profile!r} is not known; choose one of: {', '.join(PROFILES)}")
        values: dict[str, Any] = {"stage": stage, "profile": profile, **PROFILES[profile], **STAGES.get(stage, {})}
        values["account"] = env.get("CDK_DEFAULT_ACCOUNT", "")
        values["region"] = env.get("CDK_DEFAULT_REGION") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or ""
        known = {f.name: f for f in fields(cls) if f.name not in _NO_CONTEXT}
        for name, raw in given.items():
            if name in known:
                values[name] = _value(name, str(known[name].type), raw)
        further = {name: str(raw) for name, raw in given.items() if name in further_settings()}
        Settings.from_env({name.upper(): text for name, text in further.items()})  # raises for a number that is none
        values["settings"] = tuple(sorted(further.items()))
        deployment = cls(**values)
        if deployment.gpu_profile and "model" not in given:
            deployment = replace(deployment, model=f"sagemaker:{deployment.model_endpoint}/{deployment.model_endpoint}")
        deployment._check()
        return deployment

    def _check(self) -> None:
        for name, pattern, example in (
            ("stage", r"[a-z][a-z0-9-]{0,19}", "dev"),
            ("account", r"(\d{12})?", "123456789012"),
            ("region", r"([a-z]{2}(-[a-z]+)+-\d)?", "eu-central-1"),
            ("alarm_email", r"([^@\s]+@[^@\s]+\.[^@\s]+)?", "oncall@example.com"),
            ("domain", r"([a-z0-9-]+(\.[a-z0-9-]+)+)?", "assistant.example.com"),
            ("certificate", r"(arn:aws[\w-]*:acm:.+)?", "arn:aws:acm:eu-central-1:123456789012:certificate/…"),
            ("gpu_profile", r"((24|48|80|141)gb-(small|medium|large))?", "48gb-small"),
            ("gpu_weights", r"[A-Za-z0-9][\w.-]{0,62}", "qwen3-8b-fp8"),
            ("gpu_instance", r"(ml\.[a-z0-9-]+\.[a-z0-9]+)?", "ml.g6e.2xlarge"),
            (
                "gpu_image",
                r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/.+)?",
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com/vllm:1",
            ),
        ):
            if not re.fullmatch(pattern, value := str(getattr(self, name))):
                raise InvalidSetting(f"{name}={value!r} cannot be used; a good one looks like {example!r}")
        for name in ("cache", "log_search"):
            if getattr(self, name) and not self.vpc:
                raise InvalidSetting(
                    f"{name}=true without vpc=true: it lives in the network; give -c vpc=true or -c {name}=false"
                )
        if bool(self.domain) != bool(self.certificate):
            raise InvalidSetting("domain and certificate belong together: give both with -c domain=… -c certificate=arn:…")
        if not 0 <= self.gpu_copies_min <= self.gpu_copies_max or self.gpu_copies_max < 1:
            given = f"gpu_copies_min={self.gpu_copies_min} and gpu_copies_max={self.gpu_copies_max}"
            raise InvalidSetting(f"{given} are no range; give 0 ≤ min ≤ max and 1 ≤ max")
        if self.edge and self.region not in {"", "us-east-1"} and not self.domain:
            raise InvalidSetting(
                f"edge=true in region {self.region}: CloudFront's firewall lives in us-east-1 and must know the API's name; "
                "give -c domain=… -c certificate=arn:… or -c edge=false"
            )
        if self.embedder and not self.vector_size and not dict(self.settings).get("vector_index"):
            raise InvalidSetting(
                f"embedder={self.embedder!r}: how many numbers its vectors have is not known; give -c vector_dimensions=N"
            )
        if not 0 <= self.vector_dimensions <= 4096:
            raise InvalidSetting(
                f"vector_dimensions={self.vector_dimensions} is outside 1–4096, what an index takes; 0: as known"
            )
        if not 0 <= self.refresh_hours <= 24 * 31:
            raise InvalidSetting(f"refresh_hours={self.refresh_hours} is outside 1–{24 * 31}; 0: never")
        if not 2 <= self.concurrent_turns <= 1000:
            raise InvalidSetting(
                f"concurrent_turns={self.concurrent_turns} is outside 2–1000, the limits of an event source mapping"
            )
        if self.log_days not in LOG_DAYS:
            raise InvalidSetting(f"log_days={self.log_days} is no period CloudWatch offers; choose one of: {LOG_DAYS}")
        for name, size in self.sizes.items():
            if size.snap_start and size.provisioned:
                raise InvalidSetting(f"function {name}: snap_start and provisioned={size.provisioned} exclude each other")
            if size.provisioned and size.reserved and size.provisioned > size.reserved:
                raise InvalidSetting(f"function {name}: provisioned={size.provisioned} is more than reserved={size.reserved}")


DIMENSIONS: Final = (
    ("text-embedding-3-large", 3072),
    ("text-embedding-3-small", 1536),
    ("text-embedding-ada-002", 1536),
    ("titan-embed-text-v2", 1024),
    ("titan-embed-text-v1", 1536),
    ("cohere.embed-v4", 1536),
    ("cohere.embed-", 1024),
    ("bge-m3", 1024),
    ("multilingual-e5-large", 1024),
    ("qwen3-embedding-0.6b", 1024),
    ("qwen3-embedding-4b", 2560),
    ("qwen3-embedding-8b", 4096),
)
"""Part of an embedder's name → numbers in each of its vectors, unless it is told to give fewer."""

CONFIGURATIONS: Final = Path(__file__).resolve().parent.parent / "deployments"
"""`STAGE.json` in here is what `assistant init --profile …` wrote for a stage; the command line goes before it."""


def stored(stage: str, folder: Path = CONFIGURATIONS) -> dict[str, str]:
    """What `folder` holds for `stage`; nothing where nobody has written it. Raises InvalidSetting naming the file."""
    path = folder / f"{stage}.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidSetting(f"{path} is not JSON ({error}); mend it, or write it anew with assistant init --profile …") from None
    if not isinstance(given, dict) or not all(isinstance(v, str | int | bool) for v in given.values()):
        raise InvalidSetting(f"{path} must hold one JSON object of names and plain values; assistant init --profile … writes one")
    if unknown := sorted(set(given) - set(context_names())):
        raise InvalidSetting(f"{path} sets {unknown[0]!r}; known: {', '.join(context_names())}")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


LOG_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)

PROFILES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "basic": {"sizes": _BASIC, "concurrent_turns": 50},
        "enterprise": {
            "sizes": _ENTERPRISE,
            "concurrent_turns": 400,
            "api_rate": 1000,
            "api_burst": 2000,
            "log_days": 90,
            "edge": True,
            "vpc": True,
            "cache": True,
            "log_search": True,
        },
    }
)
STAGES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "dev": {"keep_data": False, "canary": False, "log_days": 7},
        "staging": {"keep_data": False},
        "production": {},
    }
)
"""What a stage of this name changes; a stage of another name is treated as production is."""


def _value(name: str, kind: str, raw: object) -> str | int | bool:
    text = str(raw).strip()
    if kind == "bool":
        if text.lower() not in {"true", "false"}:
            raise InvalidSetting(f"{name}={text!r} is neither true nor false")
        return text.lower() == "true"
    if kind == "int":
        if not text.isdecimal():
            raise InvalidSetting(f"{name}={text!r} is not a whole number")
        return int(text)
    return text


_NO_CONTEXT: Final = frozenset({"sizes", "settings"})
_MADE_HERE: Final = frozenset(
    {
        "region",
        "cache_url",
        "log_search_stream",
        "log_search_url",
        "log_search_days",
        "table_name",
        "turns_queue_url",
        "dead_letters_url",
        "bucket",
        "kms_key_id",
        "public_url",
        "plugin_functions",
        "log_format",
    }
)
"""Settings that the infrastructure itself decides."""


def further_settings() -> frozenset[str]:
    """Settings of the functions that a deployment may give and has no field of its own for."""
    own = {f.name for f in fields(Deployment)}
    return frozenset(f.name for f in fields(Settings)) - own - _MADE_HERE


def context_names() -> tuple[str, ...]:
    """What `-c name=value` may set."""
    return (*(f.name for f in fields(Deployment) if f.name not in _NO_CONTEXT), *sorted(further_settings()))


def parse_context(pairs: Iterable[str]) -> dict[str, str]:
    """The fields in command line arguments such as `vpc=true`; raises InvalidSetting for a name that nobody knows."""
    given = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidSetting(f"-c {pair!r} is no NAME=VALUE")
        if name not in context_names():
            raise InvalidSetting(f"-c {name}=… is not known; known: {', '.join(context_names())}")
        given[name] = value
    return given
