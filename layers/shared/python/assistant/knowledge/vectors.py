"""Passages found by meaning, also across languages, when an embedder is configured.

A passage's vector is filed under a key that is made of its document, text, audience and embedder; the knowledge file says which
keys belong to it, so that a store may be shared by all versions, and a key that the open version does not know is nobody's
answer. The audience is part of the store's query, never of what is done with its result.

| store | for |
|---|---|
| `LocalVectors` | small bases and laptops: vectors inside the knowledge file, compared one by one (about 20 µs each) |
| `S3Vectors` | everything else: an Amazon S3 Vectors index, paid by use |
"""

from __future__ import annotations

import array
import hashlib
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any, Final, Protocol

from assistant.errors import ModelError, Unavailable
from assistant.knowledge.store import SHIFT, Writer

if TYPE_CHECKING:
    from assistant.llm.embedders import Embedder

BATCH: Final = 64
REMEMBERED: Final = 256
"""Questions whose vectors are kept in memory."""


class VectorStore(Protocol):
    """Where vectors are kept and compared."""

    def put(self, vectors: Mapping[str, Sequence[float]], *, audience: str) -> None:
        """Files vectors of length 1 under their keys, for the audience with this digest."""

    def delete(self, keys: Sequence[str]) -> None:
        """Removes vectors; removing what is not there is no error."""

    def nearest(self, vector: Sequence[float], *, audiences: Sequence[str], limit: int) -> list[tuple[str, float]]:
        """Keys and cosine similarities of the nearest vectors among those of `audiences`, nearest first."""


class LocalVectors:
    """Vectors in one SQLite table, by brute force. Safe for threads."""

    def __init__(self, path: str = ":memory:") -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, audience TEXT NOT NULL, vector BLOB NOT NULL)"
        )

    def put(self, vectors: Mapping[str, Sequence[float]], *, audience: str) -> None:
        """See VectorStore."""
        with self._lock:
            self._db.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [(k, audience, array.array("f", v).tobytes()) for k, v in vectors.items()],
            )

    def delete(self, keys: Sequence[str]) -> None:
        """See VectorStore."""
        with self._lock:
            self._db.executemany("DELETE FROM vectors WHERE key = ?", [(k,) for k in keys])

    def nearest(self, vector: Sequence[float], *, audiences: Sequence[str], limit: int) -> list[tuple[str, float]]:
        """See VectorStore."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT key, vector FROM vectors WHERE audience IN ({','.join('?' * len(audiences))})",  # noqa: S608  # question marks
                list(audiences),
            ).fetchall()
        wanted = array.array("f", vector)
        scored = []
        for name, blob in rows:
            other = array.array("f")
            other.frombytes(blob)
            if len(other) == len(wanted):
                scored.append((name, sum(map(mul, wanted, other))))
        scored.sort(key=lambda s: (-s[1], s[0]))
        return scored[:limit]

    def close(self) -> None:
        """Lets the file go."""
        self._db.close()


class S3Vectors:
    """An index of Amazon S3 Vectors with cosine distance.

    `client` is boto3's `s3vectors`; `failures` are what it raises (botocore's BotoCoreError and ClientError).

    Source: docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_S3_Vectors.html
    """

    def __init__(  # a boto3 client has no static type
        self, client: Any, *, bucket: str, index: str, failures: tuple[type[Exception], ...]
    ) -> None:
        self._client = client
        self._failures = failures
        self._where = {"vectorBucketName": bucket, "indexName": index}

    def put(self, vectors: Mapping[str, Sequence[float]], *, audience: str) -> None:
        """At most 500 vectors a call."""
        entries = [
            {"key": k, "data": {"float32": [float(x) for x in v]}, "metadata": {"audience": audience}} for k, v in vectors.items()
        ]
        for start in range(0, len(entries), 500):
            self._call("put_vectors", vectors=entries[start : start + 500])

    def delete(self, keys: Sequence[str]) -> None:
        """At most 500 keys a call."""
        for start in range(0, len(keys), 500):
            self._call("delete_vectors", keys=list(keys[start : start + 500]))

    def nearest(self, vector: Sequence[float], *, audiences: Sequence[str], limit: int) -> list[tuple[str, float]]:
        """One call; the index gives at most 100."""
        if not audiences:
            return []
        found = self._call(
            "query_vectors",
            queryVector={"float32": [float(x) for x in vector]},
            topK=min(limit, 100),
            filter={"audience": {"$in": list(audiences)}},
            returnDistance=True,
        )
        return [(v["key"], 1.0 - float(v.get("distance", 1.0))) for v in found["vectors"]]

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            result: dict[str, Any] = getattr(self._client, operation)(**self._where, **request)
        except self._failures as error:
            raise Unavailable(f"vector index {self._where['indexName']}: {type(error).__name__}") from error
        return result


class Semantic:
    """Search by meaning beside the search by words. Where the embedder or the store does not answer, words alone do."""

    def __init__(self, embedder: Embedder, store: VectorStore) -> None:
        self._embedder = embedder
        self._store = store
        self._questions: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def nearest(
        self, connection: sqlite3.Connection, question: str, audiences: Sequence[int], *, limit: int
    ) -> list[tuple[int, float]]:
        """Rows of the visible passages that are nearest in meaning, with their similarity, nearest first."""
        text = " ".join(question.split())[:2000]
        if not text or not audiences:
            return []
        try:
            digests = [
                audience_digest(tokens)
                for (tokens,) in connection.execute(
                    f"SELECT tokens FROM audiences WHERE id IN ({','.join(map(str, audiences))})"  # noqa: S608  # whole numbers
                )
            ]
            found = self._store.nearest(self._vector(text), audiences=digests, limit=limit)
        except (Unavailable, ModelError):
            return []
        rows = dict(
            connection.execute(
                f"SELECT key, passage FROM vectors WHERE passage >> {SHIFT} IN ({','.join(map(str, audiences))})"  # noqa: S608
                f" AND key IN ({','.join('?' * len(found))})",
                [k for k, _ in found],
            ).fetchall()
        )
        return [(rows[k], similarity) for k, similarity in found if k in rows]

    def file(self, writer: Writer) -> int:
        """Embeds every passage that has no vector yet and gives how many; raises Unavailable, and what is filed stays filed."""
        db = writer.connection
        missing = db.execute(
            "SELECT p.id, d.title, p.path, p.text, a.tokens, d.id FROM passages p JOIN documents d ON d.number = p.document"
            " JOIN audiences a ON a.id = d.audience LEFT JOIN vectors v ON v.passage = p.id AND v.embedder = ?"
            " WHERE v.passage IS NULL ORDER BY d.audience, p.id",
            [self._embedder.name],
        ).fetchall()
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            texts = ["\n".join(filter(None, (title, path, text))) for _, title, path, text, _, _ in part]
            vectors = self._embedder.embed(texts)
            by_audience: dict[str, dict[str, Sequence[float]]] = {}
            for (row, _, _, _, tokens, document), text, vector in zip(part, texts, vectors, strict=True):
                digest = audience_digest(tokens)
                of = "\0".join((self._embedder.name, digest, document, text))
                name = hashlib.sha256(of.encode("utf-8", "replace")).hexdigest()[:40]
                by_audience.setdefault(digest, {})[name] = vector
                db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", [row, name, self._embedder.name])
            for digest, filed in by_audience.items():
                self._store.put(filed, audience=digest)
        return len(missing)

    def forget(self, keys: Sequence[str]) -> None:
        """Removes the vectors of passages that were removed for good."""
        self._store.delete(keys)

    def _vector(self, text: str) -> list[float]:
        with self._lock:
            known = self._questions.get(text)
        if known is None:
            known = self._embedder.embed([text], purpose="query")[0]
            with self._lock:
                while len(self._questions) >= REMEMBERED:
                    del self._questions[next(iter(self._questions))]
                self._questions[text] = known
        return known


def audience_digest(tokens: str) -> str:
    """A short name for a set of audience tokens as the knowledge file writes it; the same in every version."""
    return hashlib.sha256(tokens.encode("utf-8", "replace")).hexdigest()[:24]
