"""OpenSearch and its Dashboards as far as set-up and indexing go, and as strict: signatures, versions, references, types."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

TYPES = frozenset({"boolean", "date", "double", "ip", "keyword", "long", "text"})
ACTIONS = frozenset({"delete", "force_merge", "read_only", "replica_count", "rollover"})


class Refusal(Exception):
    """An answer that is no 200."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class OpenSearchServer:
    """Serves on a free port of 127.0.0.1 while it is a context manager; over TLS where a certificate is given."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        self._certificate = certificate
        self.templates: dict[str, Any] = {}
        self.policies: dict[str, tuple[int, Any]] = {}
        self.saved: dict[tuple[str, str], Any] = {}
        self.busy = 0
        """How many of the next requests are answered with 503."""
        self.requests: list[tuple[str, str]] = []
        self._documents: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    status, answer = (
                        200,
                        outer._answer(self.command, self.path, body, {k.lower(): v for k, v in self.headers.items()}),
                    )
                except Refusal as refusal:
                    status, answer = refusal.status, {"error": {"reason": str(refusal)}, "status": refusal.status}
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = _answer

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Any:
        parts = urlsplit(target)
        self.requests.append((method, parts.path))
        if self.busy:
            self.busy -= 1
            raise Refusal(503, "starting")
        if not re.search(r"/es/aws4_request, SignedHeaders=\S+, Signature=[0-9a-f]{64}", headers.get("authorization", "")):
            raise Refusal(403, "User: anonymous is not authorized")
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        match method, parts.path.strip("/").split("/"):
            case "PUT", ["_index_template", name]:
                self.templates[name] = _checked_template(_json(body, headers))
                return {"acknowledged": True}
            case "GET", ["_plugins", "_ism", "policies", name]:
                if name not in self.policies:
                    raise Refusal(404, "Policy not found")
                version, policy = self.policies[name]
                return {"_id": name, "_seq_no": version, "_primary_term": 1, "policy": policy}
            case "PUT", ["_plugins", "_ism", "policies", name]:
                known = self.policies.get(name)
                if known and query != {"if_seq_no": str(known[0]), "if_primary_term": "1"}:
                    raise Refusal(409, "version conflict, document already exists")
                self.policies[name] = ((known[0] + 1) if known else 0, _checked_policy(_json(body, headers)))
                return {"_id": name, "_seq_no": self.policies[name][0]}
            case "POST", ["_dashboards", "api", "saved_objects", "_import"]:
                if headers.get("osd-xsrf") != "true":
                    raise Refusal(400, "Request must contain the osd-xsrf header")
                return self._import(body, headers, overwrite=query.get("overwrite") == "true")
            case "POST", [indexes, "_delete_by_query"]:
                if query.keys() - {"conflicts", "refresh", "ignore_unavailable"}:
                    raise Refusal(400, f"request [{parts.path}] contains unrecognized parameters: {sorted(query)}")
                return self._delete(_json(body, headers)["query"], indexes)
        raise Refusal(404, f"no handler found for {method} {parts.path}")

    def _delete(self, query: Mapping[str, Any], indexes: str) -> Any:
        """Delete by query, for phrases in any of several fields: the words stand side by side, keywords are equal."""
        if set(query) != {"bool"} or not set(query["bool"]) <= {"should", "minimum_should_match"}:
            raise Refusal(400, f"unknown query {sorted(query)}")
        (template,) = [t for t in self.templates.values() if indexes in t["index_patterns"]]
        mapping = template["template"]["mappings"]["properties"]
        before = len(self._documents)
        for clause in query["bool"]["should"]:
            asked = clause["multi_match"]
            if asked["type"] != "phrase" or not asked["query"]:
                raise Refusal(400, "a phrase is wanted")
            self._documents = [
                d
                for d in self._documents
                if not any(_holds(_at(mapping, f).get("type", ""), str(d.get(f, "")), asked["query"]) for f in asked["fields"])
            ]
        return {"deleted": before - len(self._documents), "failures": [], "version_conflicts": 0}

    def _import(self, body: bytes, headers: Mapping[str, str], *, overwrite: bool) -> Any:
        mark = re.fullmatch(r"multipart/form-data; boundary=(\S+)", headers.get("content-type", ""))
        if not mark:
            raise Refusal(415, "Unsupported Media Type")
        piece = body.split(f"--{mark[1]}".encode())[1]
        head, _, text = piece.partition(b"\r\n\r\n")
        if b'name="file"' not in head or b".ndjson" not in head:
            raise Refusal(400, "Invalid file extension")
        objects = [json.loads(line) for line in text.decode().splitlines() if line.strip()]
        names = {(o["type"], o["id"]) for o in objects}
        errors = []
        for saved in objects:
            for reference in saved["references"]:
                if (reference["type"], reference["id"]) not in names | set(self.saved):
                    errors.append({"id": saved["id"], "error": {"type": "missing_references"}})
            if not overwrite and (saved["type"], saved["id"]) in self.saved:
                errors.append({"id": saved["id"], "error": {"type": "conflict"}})
        if errors:
            return {"success": False, "successCount": 0, "errors": errors}
        for saved in objects:
            self.saved[saved["type"], saved["id"]] = saved
        return {"success": True, "successCount": len(objects)}

    # --- documents, as a bulk request of Firehose brings them ---

    def index(self, document: Mapping[str, Any], *, name: str = "assistant-logs-2027-01-15") -> None:
        """Takes one document; raises Refusal where its names or values do not fit the mapping."""
        (template,) = [t for t in self.templates.values() if any(_matches(p, name) for p in t["index_patterns"])]
        mapping = template["template"]["mappings"]["properties"]
        malformed = template["template"]["settings"].get("index.mapping.ignore_malformed")
        leaves = dict(_flat(document))
        for path in leaves:
            parents = [".".join(path.split(".")[:n]) for n in range(1, path.count(".") + 1)]
            if clash := [p for p in parents if p in leaves or _at(mapping, p).get("type")]:
                raise Refusal(400, f"object mapping for [{clash[0]}] tried to parse field as object, but found a concrete value")
        for path, value in leaves.items():
            found = _at(mapping, path)
            if "properties" in found:
                raise Refusal(400, f"object mapping for [{path}] tried to parse field as object, but found a concrete value")
            if found.get("type") and not malformed and not _fits(found["type"], value):
                raise Refusal(400, f"failed to parse field [{path}] of type [{found['type']}]: {value!r}")
        self._documents.append(leaves)

    def find(self, **terms: str) -> list[Mapping[str, Any]]:
        """Documents that have each of `terms`; `trace__id` is `trace.id`."""
        wanted = {k.replace("__", "."): v for k, v in terms.items()}
        return [d for d in self._documents if wanted.items() <= d.items()]


def _holds(kind: str, value: str, phrase: str) -> bool:
    """Whether a field of this kind matches: a keyword as a whole, a text by its words."""
    if kind == "keyword":
        return value == phrase
    words, wanted = (re.findall(r"\w+", t.lower()) for t in (value, phrase))
    return any(words[n : n + len(wanted)] == wanted for n in range(len(words)))


def _json(body: bytes, headers: Mapping[str, str]) -> Any:
    if headers.get("content-type") != "application/json":
        raise Refusal(406, "Content-Type header is not supported")
    return json.loads(body)


def _checked_template(body: Any) -> Any:
    if (
        not {"index_patterns", "template"}
        <= set(body)
        <= {"index_patterns", "template", "priority", "_meta", "version", "composed_of"}
    ):
        raise Refusal(400, f"unknown or missing fields: {sorted(body)}")

    def look(properties: Mapping[str, Any], at: str) -> None:
        for name, field in properties.items():
            if "properties" in field:
                look(field["properties"], f"{at}{name}.")
            elif field.get("type") not in TYPES:
                raise Refusal(400, f"No handler for type [{field.get('type')}] declared on field [{at}{name}]")

    mappings = body["template"]["mappings"]
    look(mappings["properties"], "")
    for rule in mappings["dynamic_templates"]:
        ((_, found),) = rule.items()
        if found["mapping"]["type"] not in TYPES or not {"match", "path_match", "match_mapping_type"} & set(found):
            raise Refusal(400, f"bad dynamic template {rule}")
    return body


def _checked_policy(body: Any) -> Any:
    policy = body["policy"]
    names = [s["name"] for s in policy["states"]]
    if policy["default_state"] not in names or len(set(names)) != len(names):
        raise Refusal(400, "Policy must have a valid default state")
    for state in policy["states"]:
        for action in state["actions"]:
            if not set(action) <= ACTIONS:
                raise Refusal(400, f"Invalid action type {sorted(action)}")
        for transition in state["transitions"]:
            if transition["state_name"] not in names:
                raise Refusal(400, f"Policy contains a transition in state={state['name']} pointing to a nonexistent state")
            if not re.fullmatch(r"\d+[dhm]", transition["conditions"]["min_index_age"]):
                raise Refusal(400, "failed to parse min_index_age")
    return policy


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None


def _flat(value: Mapping[str, Any], at: str = "") -> list[tuple[str, Any]]:
    """Leaves by path; OpenSearch reads a dot in a name as an object."""
    found = []
    for name, inner in value.items():
        found += _flat(inner, f"{at}{name}.") if isinstance(inner, dict) else [(f"{at}{name}", inner)]
    return found


def _at(properties: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = {"properties": properties}
    for part in path.split("."):
        found = found.get("properties", {}).get(part, {})
    return found


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "long" | "double":
            return re.fullmatch(r"-?\d+(\.\d+)?", str(value)) is not None
        case "boolean":
            return value in (True, False, "true", "false")
        case "date":
            return re.match(r"\d{4}-\d\d-\d\dT", str(value)) is not None
        case "ip":
            try:
                ipaddress.ip_address(str(value))
            except ValueError:
                return False
    return True
