"""AWS on a laptop: moto's server, with what the assistant stores kept in a data folder across restarts and `kill -9`.

The KMS key that seals people's tokens is kept beside it in `kms-key.json`, which only its owner may read. On AWS the key never
leaves KMS; on a laptop it stands on the same disk as what it seals, and protects as much as that file's permissions do.

moto keeps everything in memory, and `fifo` plays the queues. `Journal` stands between them and their callers: each change to a
table, a queue or a bucket that was accepted is in an SQLite file before the caller hears of it, and put back at the next start.
"""

from __future__ import annotations

import base64
import copy
import inspect
import json
import logging
import sqlite3
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from assistant.dev.fifo import Fifo, FifoQueue, QueueError, Stored
from assistant.errors import InvalidSetting
from assistant.queue import QUEUE
from assistant.settings import Settings
from assistant.storage import SCHEMA

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
CREDENTIALS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
TABLE: Final = "assistant"
TURNS: Final = "turns.fifo"
DEAD_LETTERS: Final = "turns-dead-letters.fifo"
BUCKET: Final = "assistant-documents"
KEY: Final = "alias/assistant"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (tbl TEXT, pk TEXT, sk TEXT, item TEXT NOT NULL, PRIMARY KEY (tbl, pk, sk)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (n INTEGER PRIMARY KEY, queue TEXT NOT NULL, id TEXT NOT NULL UNIQUE, request TEXT NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0, sent_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS objects (bucket TEXT, path TEXT, content BLOB NOT NULL, content_type TEXT, PRIMARY KEY (bucket, path));
"""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Emulator:
    """moto's server on a free port of 127.0.0.1, with the assistant's table, queues and bucket in it."""

    def __init__(self, data: Path | None = None) -> None:
        self._journal = Journal(data / "state.db") if data else None
        self._key_file = data / "kms-key.json" if data else None
        self._server: Any = None
        self._backends: dict[str, Any] = {}
        keeper = KeptQueues(self._journal) if self._journal else None
        self.ahead = 0.0
        """Seconds by which the queues' clock is ahead of the machine's."""
        self._fifo = Fifo(arn=f"arn:aws:sqs:{REGION}:{ACCOUNT}", keeper=keeper, clock=lambda: time.time() + self.ahead)

    def start(self) -> None:
        """Serves, creates what the assistant needs and puts back what was stored."""
        logging.getLogger("werkzeug").setLevel("ERROR")
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        self._look_up()
        self._create()
        _plain_results()
        app: Wsgi = DomainDispatcherApplication(create_backend_app)
        app = Front(app, self._fifo, self._journal, self._backends)
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_quiet(MotoRequestHandler))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="emulator", daemon=True).start()

    def clear(self) -> None:
        """Empties the table, the queues and the bucket."""
        self._look_up()
        self.ahead = 0.0
        for name in ("dynamodb", "s3"):
            self._backends[name].reset()
        self._create()

    def _look_up(self) -> None:
        """Finds moto's state: one for the process, and another one after somebody else in it has reset moto."""
        from moto.backends import get_backend

        for name in ("dynamodb", "s3"):
            self._backends[name] = get_backend(name)[ACCOUNT]["aws" if name == "s3" else REGION]
        self._create_key(get_backend("kms")[ACCOUNT][REGION])

    def stop(self) -> None:
        """Ends the server; what it stored stays in the data folder, and not in this process, where another may start."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        if self._journal:
            self._journal.close()  # first: nothing that is emptied now is written down as gone
        for backend in self._backends.values():
            backend.reset()

    @property
    def endpoint(self) -> str:
        """Address that boto3 is pointed at."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def settings(self, **more: Any) -> Settings:
        """The settings of an assistant that lives in this emulator."""
        return settings_at(self.endpoint, **more)

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this AWS."""
        return environment_at(self.endpoint)

    def _create_key(self, kms: Any) -> None:
        """The KMS key; where there is a data folder, the same one at every start."""
        made = kms.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "people's tokens", [])
        if self._key_file and self._key_file.exists():
            kept = json.loads(self._key_file.read_text(encoding="ascii"))
            del kms.keys[made.id]
            made.id, made.key_material = kept["id"], bytes.fromhex(kept["material"])
            made.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{made.id}"
            kms.keys[made.id] = made
        elif self._key_file:
            self._key_file.touch(mode=0o600)
            self._key_file.write_text(json.dumps({"id": made.id, "material": made.key_material.hex()}), encoding="ascii")
        for known in kms.keys.values():  # of an earlier emulator in this process
            known.aliases.pop(KEY, None)
        kms.create_alias(made.id, KEY)

    def _create(self) -> None:
        """The same resources as the infrastructure's, from the same definitions; without requests, for a quick start."""
        keys = [(SCHEMA["partition_key"], "HASH"), (SCHEMA["sort_key"], "RANGE")]
        made = self._backends["dynamodb"].create_table(
            name=TABLE,
            schema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            attr=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            throughput=None,
            global_indexes=None,
            indexes=None,
            streams=None,
            billing_mode="PAY_PER_REQUEST",
            sse_specification=None,
            tags=[],
            deletion_protection_enabled=False,
            warm_throughput=None,
        )
        _by_partition(made)
        dead = self._fifo.create(DEAD_LETTERS, MessageRetentionPeriod=str(QUEUE.dead_letter_retention))
        turns = self._fifo.create(
            TURNS,
            dead_letters=DEAD_LETTERS,
            VisibilityTimeout=str(QUEUE.visibility),
            MessageRetentionPeriod=str(QUEUE.retention),
            RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": QUEUE.max_receives}),
        )
        self._backends["s3"].create_bucket(BUCKET, REGION)
        if self._journal:
            self._journal.restore(self._backends)
            KeptQueues(self._journal).restore({q.name: q for q in (turns, dead)})


def settings_at(endpoint: str, **more: Any) -> Settings:
    """The settings of an assistant that lives in the emulator at `endpoint`."""
    return Settings(
        stage="local",
        region=REGION,
        table_name=TABLE,
        turns_queue_url=f"{endpoint}/{ACCOUNT}/{TURNS}",
        dead_letters_url=f"{endpoint}/{ACCOUNT}/{DEAD_LETTERS}",
        bucket=BUCKET,
        kms_key_id=KEY,
        **more,
    )


def environment_at(endpoint: str) -> dict[str, str]:
    """What a process needs in its environment to use the emulator at `endpoint`."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}


def _by_partition(table: Any) -> None:
    """Lets a query look at what it asks for: moto's looks at the whole table, and slows as anything at all is stored."""

    class Partitioned(type(table)):  # type: ignore[misc]  # moto's class, known at run time alone
        def query(self, *conditions: Any, **more: Any) -> Any:
            asked = inspect.signature(super().query).bind(*conditions, **more).arguments
            seen = self
            if asked.get("index_name") is None:
                seen = copy.copy(self)
                key = asked["hash_key"]
                seen.items = {key: self.items[key].window(asked) if key in self.items else {}}
            return super(Partitioned, seen).query(*conditions, **more)

    table.__class__ = Partitioned
    table.items = defaultdict(Partition)


class Partition(dict[Any, Any]):
    """moto's items of one partition by sort key, with the sort keys in order beside them."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[str] = []

    def __setitem__(self, sk: Any, item: Any) -> None:
        if sk not in self:
            insort(self._order, sk.value)
        super().__setitem__(sk, item)

    def pop(self, sk: Any, *default: Any) -> Any:
        """The item, which is then gone."""
        if sk in self:
            del self._order[bisect_left(self._order, sk.value)]
        return super().pop(sk, *default)

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is copied: item by item, which makes the order again."""
        return type(self), (), None, None, iter(self.items())

    def window(self, asked: Mapping[str, Any]) -> dict[Any, Any]:
        """The items that a query needs to look at: those from its bounds on, one more than its limit."""
        order = self._order
        low, high = _bounds(order, asked.get("range_comparison"), [v.value for v in asked.get("range_objs") or ()])
        forward = asked.get("scan_index_forward") is not False
        if start := asked.get("exclusive_start_key"):
            after = start[SCHEMA["sort_key"]]["S"]
            low, high = (max(low, bisect_right(order, after)), high) if forward else (low, min(high, bisect_left(order, after)))
        if limit := asked.get("limit"):
            low, high = (low, min(high, low + limit + 1)) if forward else (max(low, high - limit - 1), high)
        keys = [_sort_key(sk) for sk in order[low:high]]
        return {sk: self[sk] for sk in keys}


def _sort_key(value: str) -> Any:
    from moto.dynamodb.models.dynamo_type import DynamoType

    return DynamoType({"S": value})


def _bounds(order: Sequence[str], comparison: str | None, values: Sequence[str]) -> tuple[int, int]:
    """From which place of `order` to which one (not included) it fulfils the condition; all of it where that is another one."""
    match comparison, values:
        case "BEGINS_WITH", [prefix]:
            low = bisect_left(order, prefix)
            return low, bisect_right(order, prefix, lo=low, key=lambda sk: sk[: len(prefix)])
        case ">", [value]:
            return bisect_right(order, value), len(order)
        case ">=", [value]:
            return bisect_left(order, value), len(order)
        case "<", [value]:
            return 0, bisect_left(order, value)
        case "<=", [value]:
            return 0, bisect_right(order, value)
        case "BETWEEN", [first, last]:
            return bisect_left(order, first), bisect_right(order, last)
        case "=", [value]:
            return bisect_left(order, value), bisect_right(order, value)
    return 0, len(order)


def _plain_results() -> None:
    """Lets moto answer a table's reads with JSON as it is: it looks each value up in the service's model otherwise, which takes
    several times as long as the read itself."""
    from moto.dynamodb.responses import DynamoResult

    def execute_result(self: Any, context: Any) -> tuple[int, dict[str, str], str]:
        try:
            text = json.dumps({k: v for k, v in _encoded(self.result).items() if v is not None})
        except (AttributeError, TypeError):  # nothing, or a description of a table, with its times
            usual: tuple[int, dict[str, str], str] = super(DynamoResult, self).execute_result(context)
            return usual
        return 200, {"Content-Type": "application/x-amz-json-1.0"}, text

    DynamoResult.execute_result = execute_result  # type: ignore[method-assign]  # moto has no other place for it


def _encoded(value: Any) -> Any:
    """`value` with its binary attributes in base64."""
    if isinstance(value, dict):
        return {
            k: _base64(v)
            if k == "B" and isinstance(v, (str, bytes))
            else [_base64(b) for b in v]
            if k == "BS" and isinstance(v, list)  # and no attribute of that name
            else _encoded(v)
            for k, v in value.items()
        }
    return [_encoded(v) for v in value] if isinstance(value, list) else value


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


class Journal:
    """What was stored, on disk. One writer, one transaction a change; survives the process at any instant."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InvalidSetting(
                f"the data folder {str(path.parent)!r} cannot be used: {error}; choose another with --data"
            ) from None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def run(self, statement: str, *values: Any) -> None:
        """Executes one change."""
        with self._lock:
            self._db.execute(statement, values)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._lock:
            return self._db.execute(statement).fetchall()

    def restore(self, backends: Mapping[str, Any]) -> None:
        """Puts tables and buckets back into moto; items that expired meanwhile are forgotten."""
        now = time.time()
        for table, pk, sk, text in self.rows("SELECT tbl, pk, sk, item FROM items"):
            item = json.loads(text)
            if 0 < float(item.get(SCHEMA["ttl"], {}).get("N", 0)) < now:
                self.run("DELETE FROM items WHERE tbl = ? AND pk = ? AND sk = ?", table, pk, sk)
            else:
                backends["dynamodb"].put_item(table, item, overwrite=True)
        for bucket, path, content, kind in self.rows("SELECT bucket, path, content, content_type FROM objects"):
            stored = backends["s3"].put_object(bucket, path, content)
            stored.set_metadata({"content-type": kind or "application/octet-stream"})


class KeptQueues:
    """What the queues hold, in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def stored(self, queue: str, message: Stored) -> None:
        """A message is new, was received once more, or moved to `queue`."""
        self._journal.run(
            "INSERT INTO messages (queue, id, request, receives, sent_ms) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET queue = excluded.queue, receives = excluded.receives",
            queue,
            message.id,
            json.dumps(message.request),
            message.receives,
            int(message.sent * 1000),
        )

    def gone(self, message: Stored) -> None:
        """A message was deleted."""
        self._journal.run("DELETE FROM messages WHERE id = ?", message.id)

    def restore(self, queues: Mapping[str, FifoQueue]) -> None:
        """Puts every message back, in order."""
        for queue, id_, text, receives, sent_ms in self._journal.rows(
            "SELECT queue, id, request, receives, sent_ms FROM messages ORDER BY n"
        ):
            queues[queue].restore(id_, json.loads(text), sent=sent_ms / 1000, receives=receives)


class Front:
    """WSGI between boto3 and moto: plays the queues, journals changes, and lets one write at a time look and store."""

    def __init__(self, app: Wsgi, fifo: Fifo, journal: Journal | None, backends: Mapping[str, Any]) -> None:
        self._app = app
        self._fifo = fifo
        self._journal = journal
        self._backends = backends
        self._table = threading.Lock()  # moto looks and stores in two steps, and reads an item while another request changes it

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers one request as moto does."""
        service, _, action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")
        if service == "AmazonSQS":
            return self._sqs(action, environ, start_response)
        if service.startswith("DynamoDB"):
            return self._dynamodb(action, environ, start_response)
        if environ["REQUEST_METHOD"] in ("PUT", "DELETE", "POST") and environ["PATH_INFO"].startswith(f"/{BUCKET}/"):
            return self._s3(environ, start_response)
        return self._app(environ, start_response)

    # --- the queues ---

    def _sqs(self, action: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers = "200 OK", [("content-type", "application/x-amz-json-1.0")]
        try:
            result = self._fifo.call(action, json.loads(_read(environ)))
        except QueueError as refused:
            status = "400 Bad Request"
            headers.append(("x-amzn-query-error", f"{refused.code};Sender"))
            result = {"__type": f"com.amazonaws.sqs#{refused.code}", "message": str(refused)}
        body = json.dumps(result).encode()
        start_response(status, [*headers, ("content-length", str(len(body)))])
        return [body]

    # --- the table ---

    def _dynamodb(self, action: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = json.loads(_read(environ))
        with self._table:
            status, headers, body = self._forward(environ, request)
            if status.startswith("200") and self._journal:
                for table, pk_sk in _touched(action, request):
                    self._journal_item(self._journal, table, pk_sk)
        start_response(status, headers)
        return [body]

    def _journal_item(self, journal: Journal, table: str, keys: Mapping[str, Any]) -> None:
        names = SCHEMA["partition_key"], SCHEMA["sort_key"]
        key = {name: keys[name] for name in names}
        values = [table, *(key[name]["S"] for name in names)]
        if (item := self._backends["dynamodb"].get_item(table, key)) is None:
            journal.run("DELETE FROM items WHERE tbl = ? AND pk = ? AND sk = ?", *values)
        else:
            journal.run("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", *values, json.dumps(item.to_json()["Attributes"]))

    # --- the bucket ---

    def _s3(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = self._forward(environ, None)
        if status.startswith("2") and self._journal:
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").removeprefix(f"/{BUCKET}/")
            stored = self._backends["s3"].get_object(BUCKET, path)
            if stored is None:
                self._journal.run("DELETE FROM objects WHERE bucket = ? AND path = ?", BUCKET, path)
            else:
                kind = stored.metadata.get("content-type", "application/octet-stream")
                self._journal.run("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", BUCKET, path, stored.value, kind)
        start_response(status, headers)
        return [body]

    def _forward(self, environ: dict[str, Any], request: Mapping[str, Any] | None) -> tuple[str, list[tuple[str, str]], bytes]:
        if request is not None:
            body = json.dumps(request).encode()
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        answer: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], None]:
            answer.update(status=status, headers=headers)
            return lambda _: None

        result = self._app(environ, start)
        body = b"".join(result)
        if (close := getattr(result, "close", None)) is not None:
            close()
        return answer["status"], answer["headers"], body


def _touched(action: str, request: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Table and item (or its key) of everything that a DynamoDB request changes."""
    match action:
        case "PutItem":
            yield request["TableName"], request["Item"]
        case "UpdateItem" | "DeleteItem":
            yield request["TableName"], request["Key"]
        case "TransactWriteItems":
            for entry in request["TransactItems"]:
                for kind, change in entry.items():
                    if kind != "ConditionCheck":
                        yield change["TableName"], change.get("Item") or change["Key"]
        case "BatchWriteItem":
            for table, changes in request["RequestItems"].items():
                for change in changes:
                    yield table, change["PutRequest"]["Item"] if "PutRequest" in change else change["DeleteRequest"]["Key"]


def _read(environ: Mapping[str, Any]) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    content: bytes = environ["wsgi.input"].read(length)
    if len(content) < length:  # killed as it wrote: the server says nothing of it
        raise ConnectionAbortedError("the caller has gone")
    return content


def _quiet(handler: Any) -> Any:
    """moto's request handler without a line for each request, or for a caller that has gone."""

    def finish(self: Any) -> None:
        with suppress(ConnectionError):
            handler.finish(self)

    said = {"log": lambda *_: None, "finish": finish}
    return type("Quiet", (handler,), {**said, "protocol_version": "HTTP/1.1", "wbufsize": -1})
