"""The one list of what can be set: infrastructure writes it into a function's environment, the function reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

from assistant.errors import InvalidSetting

PLUGIN_API = "1.1"
"""Version of the plug-in contract."""


LOOK_SECONDS = 300
"""How often the roll-out's plan is looked at."""


class Route(NamedTuple):
    """An HTTP route: `path` in API Gateway's pattern language, answered by `functions/{function}.py`."""

    method: str
    path: str
    function: str


ROUTES: tuple[Route, ...] = (
    Route("POST", "/webhook/{platform}/{channel}", "webhook"),
    Route("GET", "/webhook/{platform}/{channel}", "webhook"),
    Route("GET", "/oauth/{provider}/start", "oauth"),
    Route("GET", "/oauth/{provider}/callback", "oauth"),
    Route("ANY", "/v1/{proxy+}", "api"),
    Route("ANY", "/api/{proxy+}", "api"),
    Route("GET", "/health", "api"),
    Route("GET", "/", "api"),
    Route("GET", "/console/{proxy+}", "api"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a function is told by its environment: field `table_name` is variable `TABLE_NAME`. No secrets."""

    stage: str = "dev"
    tenant: str = "default"
    """Used where the platform does not name the company itself."""
    region: str = "us-east-1"
    table_name: str = "assistant"
    turns_queue_url: str = ""
    dead_letters_url: str = ""
    bucket: str = ""
    """Documents and knowledge versions."""
    knowledge_folder: str = ""
    """Where versions of the knowledge are kept on disk; empty: the system's temporary folder."""
    kms_key_id: str = ""
    """Id, ARN or alias of the KMS key that seals people's tokens; empty: nobody can authorise anything."""
    cache_url: str = ""
    """Valkey or Redis that all instances share: `redis://HOST:PORT`, `rediss://USER@HOST:PORT?iam=CACHE`; empty: the table."""
    log_search_stream: str = ""
    """Name of the Firehose stream that feeds the search of logs, one document a record; empty: there is none."""
    log_search_url: str = ""
    """OpenSearch domain in which logs are searched."""
    log_search_days: int = 30
    """Days after which logs leave the search."""
    public_url: str = ""
    """Where the HTTP API is reached from outside, without a slash at the end."""
    model: str = "builtin"
    embedder: str = ""
    """SPEC of what turns text into vectors, as for `model`; empty: search by words alone."""
    knowledge_facts: str = "yes"
    """`yes`: a model other than `builtin` reads facts for the graph out of each new document; `no`: it does not."""
    vector_index: str = ""
    """`bucket/index` of Amazon S3 Vectors; empty: a file beside the knowledge, for one process."""
    plugins: str = "*"
    """Names of the plug-ins to load, comma-separated; `*`: all there are."""
    plugin_configs: str = ""
    """JSON: configuration by name of plug-in."""
    plugin_functions: str = ""
    """What the names of the functions that isolated plug-ins run in begin with; empty: each in a process of its own, here."""
    link_hosts: str = ""
    """Where links and pictures in a model's answers may lead, comma-separated, with their subdomains; empty: anywhere."""
    sign_in: str = ""
    """Names of the providers with whose accounts people may sign in to the page, comma-separated; empty: with keys alone."""
    sign_in_roles: str = ""
    """JSON: role → claims of the account that give it, as `{"admin": ["groups=assistant-admins"], "user": ["hd=acme.com"]}`."""
    redact_answers: str = ""
    """Personal data that a model's answers do not show: of `email`, `phone`, `identity`, `card`, comma-separated."""
    guardrail: str = ""
    """`ID:VERSION` of an Amazon Bedrock guardrail that judges questions and answers; empty: none does."""
    timezone: str = "UTC"
    """IANA zone of the company: logs, summaries and "today"."""
    administrators: str = ""
    """Who is told what only they can mend: `slack:U123,feishu:ou_abc`."""
    editors: str = ""
    """Who may add to the knowledge from a chat, with the administrators: `slack:U456,feishu:ou_def`."""
    language: str = "en"
    """Of what the assistant says unasked, as to administrators: `en` or `zh-CN`."""
    memory_scope: str = "topic"
    """What remembers together: `chat` (all its threads), `topic` (each thread) or `member` (each person of a group)."""
    consent: str = ""
    """What a person is told on first contact about what happens to their words; empty: nothing."""
    model_prices: str = ""
    """JSON: money per million tokens by model, as `{"MODEL": {"prompt": 0.1, "completion": 0.3, "cached"?: 0.05}}`."""
    figures: str = "cloudwatch"
    """Where the figures of the rings come from: `cloudwatch`, or `process`, as the local run keeps them."""
    log_level: str = "INFO"
    log_format: str = "ecs"
    """`ecs`: JSON lines and metrics for CloudWatch; `pretty`: readable lines for a terminal, no metrics."""
    max_body_bytes: int = 256 * 1024
    replay_window_seconds: int = 10 * 3600
    """Oldest signed timestamp accepted where the platform defines no window; wider than Feishu's last retry (7 h)."""
    retention_days: int = 180
    """Turns older than this are deleted by the table's TTL; ids are remembered at least as long as `replay_window_seconds`."""
    history_turns: int = 12
    """Newest turns read back for a new one."""
    history_tokens: int = 6000
    """Tokens of earlier turns that go to the model; from 80 % of it on the older ones are summarised."""
    hand_over: str = ""
    """Support chats for people who ask for a person: `PLATFORM:CONVERSATION`, comma-separated; empty: there are none."""
    reminder_minutes: int = 30
    """After this silence in the middle of a form its person is reminded, once; 0: never."""
    answer_seconds: int = 120
    """Longest time one answer may take before it is given up."""

    @property
    def secrets_prefix(self) -> str:
        """Secrets Manager names are this plus `/{platform}`."""
        return f"assistant/{self.stage}"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The settings in `env`; raises InvalidSetting for a number that is none."""
        values: dict[str, str | int] = {}
        for f in fields(cls):
            if (raw := env.get(f.name.upper())) is None:
                continue
            if f.type == "int":
                try:
                    values[f.name] = int(raw)
                except ValueError:
                    raise InvalidSetting(f"{f.name.upper()}={raw!r} is not a whole number") from None
            else:
                values[f.name] = raw
        if "region" not in values and (region := env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")):
            values["region"] = region
        return cls(**values)  # type: ignore[arg-type]  # each value has its field's type by the loop above

    def to_env(self) -> dict[str, str]:
        """The environment that `from_env` reads back; defaults are left out."""
        return {f.name.upper(): str(v) for f in fields(self) if (v := getattr(self, f.name)) != f.default}
