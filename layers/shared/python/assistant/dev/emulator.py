"""AWS on a laptop: moto's server, with what the assistant stores kept in a data folder across restarts and `kill -9`.

The KMS key that seals people's tokens is kept beside it in `kms-key.json`, which only its owner may read. On AWS the key never
leaves KMS; on a laptop it stands on the same disk as what it seals, and protects as much as that file's permissions do.

moto keeps everything in memory. `Journal` stands between it and its callers: each change to a table, a queue or a bucket that
moto accepted is in an SQLite file before the caller hears of it, and is put back at the next start.
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, Final

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

    def start(self) -> None:
        """Serves, creates what the assistant needs and puts back what was stored."""
        logging.getLogger("werkzeug").setLevel("ERROR")
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        self._look_up()
        self._create()
        app: Wsgi = DomainDispatcherApplication(create_backend_app)
        app = Queues(app, self._journal, self._backends)
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_quiet(MotoRequestHandler))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="emulator", daemon=True).start()

    def clear(self) -> None:
        """Empties the table, the queues and the bucket."""
        self._look_up()
        for name in ("dynamodb", "sqs", "s3"):
            self._backends[name].reset()
        self._create()

    def _look_up(self) -> None:
        """Finds moto's state: one for the process, and another one after somebody else in it has reset moto."""
        from moto.backends import get_backend

        for name in ("dynamodb", "sqs", "s3"):
            self._backends[name] = get_backend(name)[ACCOUNT]["aws" if name == "s3" else REGION]
        self._create_key(get_backend("kms")[ACCOUNT][REGION])

    def stop(self) -> None:
        """Ends the server; what it stored stays in the data folder."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        if self._journal:
            self._journal.close()

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
        dead = self._backends["sqs"].create_queue(
            DEAD_LETTERS, region=REGION, FifoQueue="true", MessageRetentionPeriod=str(QUEUE.dead_letter_retention)
        )
        self._backends["sqs"].create_queue(
            TURNS,
            region=REGION,
            FifoQueue="true",
            VisibilityTimeout=str(QUEUE.visibility),
            MessageRetentionPeriod=str(QUEUE.retention),
            RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.queue_arn, "maxReceiveCount": QUEUE.max_receives}),
        )
        self._backends["s3"].create_bucket(BUCKET, REGION)
        if self._journal:
            self._journal.restore(self._backends)


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
    """Lets a query look at its own partition: moto's looks at the whole table, and slows as anything at all is stored."""

    class Partitioned(type(table)):  # type: ignore[misc]  # moto's class, known at run time alone
        def query(self, *conditions: Any, **more: Any) -> Any:
            asked = inspect.signature(super().query).bind(*conditions, **more).arguments
            seen = self
            if asked.get("index_name") is None:
                seen = copy.copy(self)
                key = asked["hash_key"]
                seen.items = {key: dict(self.items.get(key, ()))}  # its own, while others write
            return super(Partitioned, seen).query(*conditions, **more)

    table.__class__ = Partitioned


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

    def restore(self, backends: Mapping[str, Any]) -> None:
        """Puts everything back into moto; items that expired meanwhile are forgotten."""
        now = time.time()
        for table, pk, sk, text in self._db.execute("SELECT tbl, pk, sk, item FROM items").fetchall():
            item = json.loads(text)
            if 0 < float(item.get(SCHEMA["ttl"], {}).get("N", 0)) < now:
                self.run("DELETE FROM items WHERE tbl = ? AND pk = ? AND sk = ?", table, pk, sk)
            else:
                backends["dynamodb"].put_item(table, item, overwrite=True)
        for queue, id_, text, receives, sent_ms in self._db.execute(
            "SELECT queue, id, request, receives, sent_ms FROM messages ORDER BY n"
        ).fetchall():
            request = json.loads(text)
            message = backends["sqs"].send_message(
                queue,
                request["MessageBody"],
                message_attributes=_attributes(request),
                deduplication_id=request.get("MessageDeduplicationId"),
                group_id=request.get("MessageGroupId"),
            )
            message.id = id_
            message.approximate_receive_count = receives
            message.sent_timestamp = sent_ms
        for bucket, path, content, kind in self._db.execute("SELECT bucket, path, content, content_type FROM objects").fetchall():
            stored = backends["s3"].put_object(bucket, path, content)
            stored.set_metadata({"content-type": kind or "application/octet-stream"})


def _attributes(request: Mapping[str, Any]) -> dict[str, Any]:
    """Message attributes in the form in which moto keeps them."""
    return {
        name: {"data_type": value["DataType"], "string_value": value.get("StringValue", "")}
        for name, value in request.get("MessageAttributes", {}).items()
    }


class Queues:
    """WSGI between boto3 and moto: journals changes, and makes waiting for messages quick and safe from several threads."""

    def __init__(self, app: Wsgi, journal: Journal | None, backends: Mapping[str, Any]) -> None:
        self._app = app
        self._journal = journal
        self._backends = backends
        self._changed = threading.Condition()
        self._writes = threading.Lock()  # moto looks and stores in two steps; a condition must hold for both
        self._handles: dict[str, str] = {}

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

    # --- the queue ---

    def _sqs(self, action: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = json.loads(_read(environ))
        if action == "ReceiveMessage":
            return self._receive(request, environ, start_response)
        with self._changed:
            status, headers, body = self._forward(environ, request)
            if status.startswith("200"):
                self._note(action, request, json.loads(body or b"{}"))
            self._changed.notify_all()
        start_response(status, headers)
        return [body]

    def _receive(self, request: dict[str, Any], environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """moto's own waiting looks once a second and lets two receivers take one message: one look at a time, woken by a send."""
        until = time.monotonic() + float(request.get("WaitTimeSeconds", 0))
        request = request | {"WaitTimeSeconds": 0}
        while True:
            with self._changed:
                status, headers, body = self._forward(dict(environ), request)
                found = json.loads(body or b"{}").get("Messages", []) if status.startswith("200") else None
                left = until - time.monotonic()
                if found is None or found or left <= 0:
                    for message in found or ():
                        self._handles[message["ReceiptHandle"]] = message["MessageId"]
                        if self._journal:
                            self._journal.run("UPDATE messages SET receives = receives + 1 WHERE id = ?", message["MessageId"])
                    start_response(status, headers)
                    return [body]
                self._changed.wait(min(left, 0.5))

    def _note(self, action: str, request: dict[str, Any], result: dict[str, Any]) -> None:
        queue = request.get("QueueUrl", "").rpartition("/")[2]
        match action:
            case "SendMessage":
                self._sent(queue, result["MessageId"], request)
            case "SendMessageBatch":
                entries = {e["Id"]: e for e in request["Entries"]}
                for done in result.get("Successful", ()):
                    self._sent(queue, done["MessageId"], entries[done["Id"]])
            case "DeleteMessage":
                self._deleted(request["ReceiptHandle"])
            case "DeleteMessageBatch":
                failed = {f["Id"] for f in result.get("Failed", ())}
                for entry in request["Entries"]:
                    if entry["Id"] not in failed:
                        self._deleted(entry["ReceiptHandle"])
            case "PurgeQueue" if self._journal:
                self._journal.run("DELETE FROM messages WHERE queue = ?", queue)

    def _sent(self, queue: str, id_: str, request: Mapping[str, Any]) -> None:
        if self._journal:
            kept = {k: v for k, v in request.items() if k.startswith("Message")}
            self._journal.run(
                "INSERT OR IGNORE INTO messages (queue, id, request, sent_ms) VALUES (?, ?, ?, ?)",
                queue,
                id_,
                json.dumps(kept),
                int(time.time() * 1000),
            )

    def _deleted(self, handle: str) -> None:
        id_ = self._handles.pop(handle, None)
        if self._journal and id_:
            self._journal.run("DELETE FROM messages WHERE id = ?", id_)

    # --- the table ---

    def _dynamodb(self, action: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = json.loads(_read(environ))
        with self._writes if any(_touched(action, request)) else nullcontext():
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
    content: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return content


def _quiet(handler: Any) -> Any:
    """moto's request handler without a line for each request."""
    return type("Quiet", (handler,), {"log": lambda *_: None, "protocol_version": "HTTP/1.1"})
