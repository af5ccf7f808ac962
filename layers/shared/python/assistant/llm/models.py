"""The model that a setting names."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from assistant.errors import InvalidSetting
from assistant.llm import ChatModel

FORMS: Final = "builtin · openai:MODEL@BASE_URL · sagemaker:ENDPOINT · bedrock:MODEL_ID"

ModelKind = Literal["builtin", "openai", "sagemaker", "sagemaker-openai", "bedrock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model as set: `model` is its name at the endpoint, `address` a base URL or an endpoint's name."""

    kind: ModelKind
    model: str = ""
    address: str = ""
    component: str = ""
    """The inference component behind a SageMaker endpoint, where it has several."""


_ENDPOINT = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")
_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.:/-]{0,2047}")


def parse_spec(spec: str) -> tuple[ModelSpec, ...]:
    """The models in a comma-separated `spec`, in order. Raises InvalidSetting naming the value and the next step."""
    return tuple(_one(part.strip()) for part in spec.split(","))


def _one(spec: str) -> ModelSpec:
    kind, _, rest = spec.partition(":")
    match kind:
        case "builtin" if not rest:
            return ModelSpec(kind="builtin", model="builtin")
        case "openai":
            model, _, url = _rsplit_url(rest)
            if not model or not url:
                raise InvalidSetting(
                    f"model {spec!r} lacks a part; write openai:MODEL@BASE_URL, as openai:qwen3:4b@http://127.0.0.1:11434/v1"
                )
            from assistant.llm.openai_http import check_base_url, dialect_of

            check_base_url(url)
            dialect_of(url)
            return ModelSpec(kind="openai", model=model, address=url)
        case "sagemaker" | "sagemaker-openai":
            endpoint, _, component = rest.partition("/")
            if not _ENDPOINT.fullmatch(endpoint) or ("/" in rest and not _ENDPOINT.fullmatch(component)):
                raise InvalidSetting(f"model {spec!r} names no endpoint; write {kind}:ENDPOINT or {kind}:ENDPOINT/COMPONENT")
            return ModelSpec(kind=kind, address=endpoint, component=component)
        case "bedrock":
            if not _MODEL_ID.fullmatch(rest):
                raise InvalidSetting(
                    f"model {spec!r} names no model id; write bedrock:openai.gpt-oss-20b-1:0 or another id of your region"
                )
            return ModelSpec(kind="bedrock", model=rest)
        case _:
            raise InvalidSetting(f"unknown model {spec!r}; write one of {FORMS}, or several with commas between them")


def _rsplit_url(text: str) -> tuple[str, str, str]:
    """`MODEL@http…` cut at the last `@` that a URL follows: model names may hold an `@`, and URLs a user part is refused in."""
    cut = max(text.rfind("@http://"), text.rfind("@https://"))
    return (text[:cut], "@", text[cut + 1 :]) if cut >= 0 else (text, "", "")


def open_model(
    spec: str,
    *,
    region: str,
    api_key: str | Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    failed: Callable[[str], None] = lambda model: None,
) -> ChatModel:
    """The model that `spec` names, or the list of them, tried in order; `failed` hears of each one that was passed over.

    `api_key` goes to the `openai:` endpoints. Where they are several hosts it must be keys by host, such as
    `{"api.openai.com": "…"}` (a mapping, or its JSON), so that no host sees another's key. Nothing is contacted yet. Raises
    InvalidSetting.
    """
    specs = parse_spec(spec)
    keys = _keys(specs, api_key)
    models = [_open(s, region=region, keys=keys, clock=clock) for s in specs]
    if len(models) == 1:
        return models[0]
    from assistant.llm.fallback import Fallback

    return Fallback(models, clock=clock, failed=failed)


def _keys(specs: tuple[ModelSpec, ...], api_key: str | Mapping[str, str] | None) -> Mapping[str, str]:
    hosts = {urlsplit(s.address).netloc for s in specs if s.kind == "openai"}
    if not api_key or not hosts:
        return {}
    if isinstance(api_key, str) and api_key.lstrip().startswith("{"):
        try:
            api_key = json.loads(api_key)
        except ValueError:
            raise InvalidSetting("the model API key begins like a JSON object and is none; check its quotes") from None
    if not isinstance(api_key, str):
        if not isinstance(api_key, Mapping) or not all(isinstance(v, str) for v in api_key.values()):
            raise InvalidSetting("the model API keys must be a JSON object of strings by host")
        return api_key
    if len(hosts) > 1:
        raise InvalidSetting(
            f"one model API key for several hosts ({', '.join(sorted(hosts))}); give a JSON object of keys by host instead"
        )
    return {hosts.pop(): api_key}


def _open(spec: ModelSpec, *, region: str, keys: Mapping[str, str], clock: Callable[[], float]) -> ChatModel:
    match spec.kind:
        case "builtin":
            from assistant.llm.builtin import BuiltinModel

            return BuiltinModel()
        case "openai":
            from assistant.llm.endpoint import EndpointModel
            from assistant.llm.openai_http import OpenAIHttp, bearer, dialect_of, no_headers

            key = keys.get(urlsplit(spec.address).netloc, "")
            transport = OpenAIHttp(spec.address, headers=bearer(lambda: key) if key else no_headers)
            return EndpointModel(
                transport, name=f"openai:{spec.model}", model=spec.model, dialect=dialect_of(spec.address), clock=clock
            )
        case "bedrock":
            from assistant.llm.aws_auth import role_credentials, signed
            from assistant.llm.endpoint import EndpointModel
            from assistant.llm.openai_http import OpenAIHttp
            from assistant.llm.openai_wire import BEDROCK

            sign = signed(role_credentials(region), service="bedrock", region=region)
            url = f"https://bedrock-runtime.{region}.{_suffix(region)}/openai/v1"
            return EndpointModel(
                OpenAIHttp(url, headers=sign), name=f"bedrock:{spec.model}", model=spec.model, dialect=BEDROCK, clock=clock
            )
        case "sagemaker-openai":
            from assistant.llm.aws_auth import SageMakerTokens, role_credentials
            from assistant.llm.endpoint import EndpointModel
            from assistant.llm.openai_http import OpenAIHttp, bearer
            from assistant.llm.openai_wire import VLLM

            place = f"{spec.address}/inference-components/{spec.component}" if spec.component else spec.address
            url = f"https://runtime.sagemaker.{region}.{_suffix(region)}/endpoints/{place}/openai/v1"
            tokens = SageMakerTokens(role_credentials(region), region=region, clock=clock)
            # SageMaker chooses the model by the address; vLLM takes an empty name and refuses a wrong one.
            return EndpointModel(
                OpenAIHttp(url, headers=bearer(tokens)), name=f"sagemaker:{spec.address}", model="", dialect=VLLM, clock=clock
            )
        case "sagemaker":
            from assistant.llm.endpoint import EndpointModel
            from assistant.llm.openai_wire import VLLM
            from assistant.llm.sagemaker_stream import SageMakerStream

            stream = SageMakerStream(spec.address, component=spec.component, region=region)
            return EndpointModel(stream, name=f"sagemaker:{spec.address}", model="", dialect=VLLM, clock=clock)


def _suffix(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
