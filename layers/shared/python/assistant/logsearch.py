"""What makes logs in OpenSearch searchable, as code: mappings in Elastic Common Schema, how long they stay, and saved dashboards.

`load` brings it into a domain and may be run again: everything is replaced by what stands here.

Sources: docs.opensearch.org (index templates; index state management, whose policies change only with the number of the version
that was read; saved objects, imported as lines of JSON), elastic.co/guide/en/ecs/8.11 (names and types).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from assistant import observability as metrics
from assistant.errors import Unavailable
from assistant.observability import Metric, log
from assistant.storage import Table, key

logger = logging.getLogger(__name__)

INDEX: Final = "assistant-logs"
"""A new index of this name with the day behind it is made every day, by Firehose."""
PATTERN: Final = f"{INDEX}-*"
POLICY: Final = "assistant-logs"
LATE_SECONDS: Final = 3600
"""So late a line may come to the search."""
Json = dict[str, Any]
"""A body of OpenSearch's API. `Any`: each has its own shape."""


class Answered(NamedTuple):
    """What OpenSearch answers."""

    status: int
    body: str


class Send(Protocol):
    """Sends one signed request; raises Unavailable where nobody answers."""

    def __call__(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """The answer."""


_KEYWORD: Final[Json] = {"type": "keyword", "ignore_above": 1024}
_TEXT: Final[Json] = {"type": "text"}
_LONG: Final[Json] = {"type": "long"}
FIELDS: Final[Mapping[str, Json]] = {
    "@timestamp": {"type": "date"},
    "message": _TEXT,
    "tags": _KEYWORD,
    "ecs.version": _KEYWORD,
    "log.level": _KEYWORD,
    "log.logger": _KEYWORD,
    "trace.id": _KEYWORD,
    "error.type": _KEYWORD,
    "error.message": _TEXT,
    "error.stack_trace": {"type": "text", "index": False},
    "event.kind": _KEYWORD,
    "event.id": _KEYWORD,
    "event.action": _KEYWORD,
    "event.reason": _TEXT,
    "event.duration": _LONG,
    "event.duration_ms": _LONG,
    "event.backend_ms": _LONG,
    "http.request.id": _KEYWORD,
    "http.request.method": _KEYWORD,
    "http.response.status_code": _LONG,
    "http.response.bytes": _LONG,
    "http.status": _LONG,
    "url.route": _KEYWORD,
    "source.ip": {"type": "ip"},
    "user_agent.original": _KEYWORD,
    "service.name": _KEYWORD,
    "service.environment": _KEYWORD,
    "cloud.provider": _KEYWORD,
    "cloud.account.id": _KEYWORD,
    "aws.cloudwatch.log_group": _KEYWORD,
    "aws.cloudwatch.log_stream": _KEYWORD,
    "aws.cloudwatch.event_id": _KEYWORD,
    "faas.execution": _KEYWORD,
    "faas.coldstart": {"type": "boolean"},
}
"""Types of the names that our lines have; all other names are keywords, but for numbers of metrics."""


def index_template() -> Json:
    """The mappings and settings of every index of logs."""
    return {
        "index_patterns": [PATTERN],
        "priority": 200,
        "template": {
            "settings": {
                "index.number_of_shards": 1,
                "index.number_of_replicas": 1,
                "index.refresh_interval": "10s",
                "index.codec": "best_compression",
                "index.mapping.ignore_malformed": True,  # API Gateway writes "-" where it has no number
                "index.mapping.total_fields.limit": 2000,
            },
            "mappings": {
                "date_detection": False,
                "dynamic_templates": [
                    {"metrics": {"path_match": "assistant.metrics.*", "mapping": {"type": "double"}}},
                    {"labels": {"path_match": "labels.*", "mapping": _KEYWORD}},
                    {"others": {"match_mapping_type": "string", "mapping": _KEYWORD}},
                ],
                "properties": _nested(FIELDS),
            },
        },
        "_meta": {"description": "Logs of the assistant in Elastic Common Schema 8.11"},
    }


def policy(days: int) -> Json:
    """Logs are written for a day, are packed after three, and are deleted after `days`."""
    packed = min(3, max(1, days - 1))
    return {
        "policy": {
            "description": f"Logs of the assistant: packed after {packed} days, deleted after {days}",
            "default_state": "written",
            "ism_template": [{"index_patterns": [PATTERN], "priority": 200}],
            "states": [
                {
                    "name": "written",
                    "actions": [],
                    "transitions": [{"state_name": "packed", "conditions": {"min_index_age": f"{packed}d"}}],
                },
                {
                    "name": "packed",
                    "actions": [{"read_only": {}}, {"force_merge": {"max_num_segments": 1}}],
                    "transitions": [{"state_name": "gone", "conditions": {"min_index_age": f"{days}d"}}],
                },
                {"name": "gone", "actions": [{"delete": {}}], "transitions": []},
            ],
        }
    }


_GRAPHS: Final[Mapping[str, Sequence[tuple[str, str, Sequence[Metric]]]]] = {
    "operator": (
        ("Accepted and answered", "sum", (metrics.ACCEPTED, metrics.TURNS)),
        ("Webhook answered in, ms", "max", (metrics.ACK_TIME,)),
        ("Visible reply after, ms", "max", (metrics.FIRST_REPLY,)),
        ("Failed, resumed, twice", "sum", (metrics.TURN_FAILED, metrics.TURN_RESUMED, metrics.DUPLICATES)),
        ("First word of the model, ms", "avg", (metrics.FIRST_TOKEN,)),
        ("Refused by models and platforms", "sum", (metrics.MODEL_ERRORS, metrics.MODEL_FAILOVERS, metrics.SEND_ERRORS)),
    ),
    "owner": (
        ("Questions answered", "sum", (metrics.TURNS,)),
        ("Answered without a model", "sum", (metrics.WITHOUT_MODEL,)),
        ("Satisfied and not", "sum", (metrics.LIKED, metrics.DISLIKED)),
        ("Not understood", "sum", (metrics.NOT_UNDERSTOOD,)),
        ("Tokens", "sum", (metrics.PROMPT_TOKENS, metrics.CACHED_TOKENS, metrics.COMPLETION_TOKENS)),
        ("Cost of the model", "sum", (metrics.MODEL_COST,)),
    ),
}
_SEARCHES: Final[Mapping[str, str]] = {
    "Errors": "log.level: error",
    "One message from webhook to card": 'trace.id: "PUT THE TRACE ID HERE"',
    "Cold starts": "faas.coldstart: true",
}
_COLUMNS: Final = ("service.name", "log.level", "message", "trace.id", "error.type")


def saved_objects() -> Sequence[Json]:
    """Index pattern, searches, graphs and dashboards, as OpenSearch Dashboards imports them."""
    found: list[Json] = [
        {
            "type": "index-pattern",
            "id": INDEX,
            "attributes": {"title": PATTERN, "timeFieldName": "@timestamp"},
            "references": [],
        }
    ]
    for title, query in _SEARCHES.items():
        attributes: Json = {
            "title": f"Assistant: {title}",
            "columns": list(_COLUMNS),
            "sort": [["@timestamp", "desc"]],
            "kibanaSavedObjectMeta": {"searchSourceJSON": _source(query)},
        }
        found.append({"type": "search", "id": _id("search", title), "attributes": attributes, "references": [_REFERENCE]})
    for name, graphs in _GRAPHS.items():
        panels = []
        references = []
        for number, (title, how, shown) in enumerate(graphs):
            id_ = _id(name, title)
            found.append(_graph(id_, f"Assistant: {title}", how, shown))
            place = {"x": number % 2 * 24, "y": number // 2 * 15, "w": 24, "h": 15, "i": str(number)}
            panels.append(
                {"panelIndex": str(number), "gridData": place, "embeddableConfig": {}, "panelRefName": f"panel_{number}"}
            )
            references.append({"name": f"panel_{number}", "type": "visualization", "id": id_})
        attributes = {
            "title": f"Assistant: {name}",
            "panelsJSON": json.dumps(panels),
            "optionsJSON": json.dumps({"useMargins": True}),
            "timeRestore": True,
            "timeFrom": "now-24h" if name == "operator" else "now-30d",
            "timeTo": "now",
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": json.dumps({"query": {"language": "kuery", "query": ""}, "filter": []})
            },
        }
        found.append({"type": "dashboard", "id": f"assistant-{name}", "attributes": attributes, "references": references})
    return found


_REFERENCE: Final = {"name": "kibanaSavedObjectMeta.searchSourceJSON.index", "type": "index-pattern", "id": INDEX}


def _source(query: str) -> str:
    return json.dumps({"query": {"language": "kuery", "query": query}, "filter": [], "indexRefName": _REFERENCE["name"]})


def _graph(id_: str, title: str, how: str, shown: Sequence[Metric]) -> Json:
    """A line for each metric over time."""
    values = [
        {"id": str(n), "enabled": True, "type": how, "schema": "metric", "params": {"field": f"assistant.metrics.{m.name}"}}
        for n, m in enumerate(shown, 1)
    ]
    clock = {
        "id": str(len(shown) + 1),
        "enabled": True,
        "type": "date_histogram",
        "schema": "segment",
        "params": {"field": "@timestamp", "interval": "auto", "min_doc_count": 0},
    }
    lines = [
        {"show": True, "type": "line", "mode": "normal", "data": {"id": v["id"], "label": m.name}, "valueAxis": "ValueAxis-1"}
        for v, m in zip(values, shown, strict=True)
    ]
    state = {"title": title, "type": "line", "aggs": [*values, clock], "params": {"type": "line", "seriesParams": lines}}
    attributes = {
        "title": title,
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": {"searchSourceJSON": _source("")},
    }
    return {"type": "visualization", "id": id_, "attributes": attributes, "references": [_REFERENCE]}


def _id(*words: str) -> str:
    return "-".join("".join(c if c.isalnum() else "-" for c in w.lower()).strip("-") for w in ("assistant", *words))


def _nested(fields: Mapping[str, Json]) -> Json:
    """`{"log.level": …}` as the objects in which a mapping is written."""
    whole: Json = {}
    for name, mapping in fields.items():
        at = whole
        *outer, last = name.split(".")
        for part in outer:
            at = at.setdefault(part, {"properties": {}})["properties"]
        at[last] = mapping
    return whole


def load(send: Send, *, days: int) -> Sequence[str]:
    """Brings everything into the domain behind `send`; what was done, a line each. Raises Unavailable where a part is refused."""
    _put(send, f"/_index_template/{INDEX}", index_template())
    known = send("GET", f"/_plugins/_ism/policies/{POLICY}", b"", {})
    where = f"/_plugins/_ism/policies/{POLICY}"
    if known.status == 200:
        version = json.loads(known.body)
        where += f"?if_seq_no={version['_seq_no']}&if_primary_term={version['_primary_term']}"
    elif known.status != 404:
        raise Unavailable(f"OpenSearch does not tell the policy {POLICY}: {known.status} {known.body[:200]}")
    _put(send, where, policy(days))
    lines = "\n".join(json.dumps(o) for o in saved_objects()) + "\n"
    mark = "assistant-saved-objects"
    head = f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="saved.ndjson"\r\ncontent-type: application/ndjson'
    body = f"{head}\r\n\r\n{lines}\r\n--{mark}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={mark}", "osd-xsrf": "true"}
    told = send("POST", "/_dashboards/api/saved_objects/_import?overwrite=true", body, headers)
    if told.status != 200 or not json.loads(told.body).get("success"):
        raise Unavailable(f"OpenSearch Dashboards refuses what is saved: {told.status} {told.body[:400]}")
    count = json.loads(told.body)["successCount"]
    log(logger, logging.INFO, "the search of logs is set up", event_action="load", saved_objects=count)
    return [f"index template {INDEX}", f"policy {POLICY}: deleted after {days} days", f"{count} saved objects"]


NAMING: Final = ("message", "event.id", "event.reason", "error.message", "trace.id")
"""Fields in which a line may name somebody."""


def forget(send: Send, ids: Sequence[str]) -> int:
    """Deletes the lines that name one of `ids`, whole and as they stand; how many. Raises Unavailable where that is refused.

    Source: docs.opensearch.org (delete by query; multi-match query of type phrase)
    """
    phrases: list[Json] = [
        {"multi_match": {"query": id_, "type": "phrase", "fields": list(NAMING), "lenient": True}} for id_ in ids if id_
    ]
    if not phrases:
        return 0
    body = json.dumps({"query": {"bool": {"should": phrases, "minimum_should_match": 1}}}).encode()
    path = f"/{PATTERN}/_delete_by_query?conflicts=proceed&refresh=true&ignore_unavailable=true"
    told = send("POST", path, body, {"content-type": "application/json"})
    if told.status != 200:
        raise Unavailable(f"OpenSearch refuses to forget: {told.status} {told.body[:400]}")
    answer = json.loads(told.body)
    if answer.get("failures"):
        raise Unavailable(f"OpenSearch could not forget everything: {str(answer['failures'][0])[:300]}")
    return int(answer.get("deleted") or 0)


def forget_noted(table: Table, send: Send, *, tenant: str, now: float) -> int:
    """Deletes the lines that name anybody who was erased; how many. A note stays for `LATE_SECONDS`: lines may come late."""
    deleted = 0
    for item in table.query(key("FORGET", tenant)):
        deleted += forget(send, json.loads(str(item["body"])))
        if now - int(item.get("at") or 0) > LATE_SECONDS:
            table.delete(str(item["pk"]), str(item["sk"]))
    return deleted


def _put(send: Send, path: str, body: Json) -> None:
    told = send("PUT", path, json.dumps(body).encode(), {"content-type": "application/json"})
    if told.status not in {200, 201}:
        raise Unavailable(f"OpenSearch refuses {path.partition('?')[0]}: {told.status} {told.body[:400]}")


def signed(url: str, *, region: str, credentials: Callable[[], Any], tries: int = 5, sleep: Callable[[float], None]) -> Send:
    """Sends to the domain at `url`, signed with `credentials` (botocore's); asks again while the domain is only just starting."""

    def send(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        import httpx
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        reason = "no try"
        for attempt in range(tries):
            if attempt:
                sleep(2.0**attempt)
            request = AWSRequest(method, url + path, data=body, headers=dict(headers))
            SigV4Auth(credentials(), "es", region).add_auth(request)
            try:
                got = httpx.request(method, url + path, content=body, headers=dict(request.headers.items()), timeout=30)
            except httpx.HTTPError as error:
                reason = type(error).__name__
                continue
            if got.status_code not in {429, 502, 503, 504}:
                return Answered(got.status_code, got.text)
            reason = str(got.status_code)
        raise Unavailable(f"OpenSearch does not answer {method} {path.partition('?')[0]}: {reason}")

    return send
