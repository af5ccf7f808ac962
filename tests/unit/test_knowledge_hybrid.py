"""Search by meaning, across languages, with the same rights; and what is kept in caches leaks to nobody."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from assistant.cache import Cache
from assistant.errors import Unavailable
from assistant.knowledge.cached import CachedKnowledge
from assistant.knowledge.rank import Hit, Ranking, fuse
from assistant.knowledge.service import Filing, Service, Upload
from assistant.knowledge.text import cut
from assistant.knowledge.vectors import LocalVectors, S3Vectors, Semantic, VectorStore
from assistant.knowledge.versions import Folder, Served, Versions
from assistant.llm.embedders import Purpose

EVERYONE = frozenset({"everyone"})
HR = frozenset({"everyone", "department:hr"})
CONCEPTS = (
    {"vacat", "leav", "holidai", "年假", "休假"}, {"dai", "天"}, {"laptop", "comput", "电脑", "笔记"}, {"lost", "丢失", "丢"},
    {"salari", "pai", "工资", "薪水"}, {"bu", "班车"},
)  # fmt: skip


@dataclass
class Meaning:
    """An embedder that knows six ideas in two languages."""

    name: str = "ideas"
    down: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> list[list[float]]:
        if self.down:
            raise Unavailable("the embedder is away")
        self.asked += [(purpose, t) for t in texts]
        vectors = []
        for text in texts:
            words = cut(text)
            vector = [0.05] + [float(sum(w in idea for w in words)) for idea in CONCEPTS]
            size = math.sqrt(sum(x * x for x in vector))
            vectors.append([x / size for x in vector])
        return vectors


class IndexService:
    """Amazon S3 Vectors behind boto3's own client: each request passes botocore's validation and is serialised, and is then held
    to the limits of the service.

    Source: docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors-limitations.html
    """

    def __init__(self) -> None:
        self.vectors: dict[str, tuple[list[float], Mapping[str, str]]] = {}
        self.filters: list[Any] = []
        self.down = False
        config = Config(retries={"total_max_attempts": 1})
        self.client = boto3.client(
            "s3vectors", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x", config=config
        )
        self.client.meta.events.register("before-send.s3vectors", self._answer)

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        if self.down:
            raise EndpointConnectionError(endpoint_url="https://s3vectors")
        body = request.body or b""
        assert len(body) <= 20 * 1024 * 1024
        asked = json.loads(body)
        assert (asked.pop("vectorBucketName"), asked.pop("indexName")) == ("bucket", "index")
        operation = urlsplit(request.url).path.strip("/")
        try:
            status, said = 200, getattr(self, f"_{operation.lower()}")(**asked)
        except ValueError as error:
            status, said = 400, {"message": str(error)}
        headers = {"content-type": "application/json"} | ({"x-amzn-errortype": "ValidationException"} if status == 400 else {})
        return AWSResponse(request.url, status, headers, Raw(json.dumps(said).encode()))

    def _putvectors(self, *, vectors: list[dict[str, Any]]) -> dict[str, Any]:
        if not 1 <= len(vectors) <= 500:
            raise ValueError("1 to 500 vectors")
        for v in vectors:
            values, about = v["data"]["float32"], v.get("metadata", {})
            if not 1 <= len(v["key"].encode()) <= 1024 or len(json.dumps(about).encode()) > 2048 or not any(values):
                raise ValueError("key, filterable metadata or a vector of zeros")
            if not 1 <= len(values) <= 4096 or any(len(values) != len(known) for known, _ in self.vectors.values()):
                raise ValueError("another dimension than the index has")
            self.vectors[v["key"]] = (values, about)
        return {}

    def _deletevectors(self, *, keys: list[str]) -> dict[str, Any]:
        if not 1 <= len(keys) <= 500:
            raise ValueError("1 to 500 keys")
        for k in keys:
            self.vectors.pop(k, None)
        return {}

    def _queryvectors(
        self, *, queryVector: dict[str, Any], topK: int, filter: Any = None, returnDistance: bool = False
    ) -> dict[str, Any]:
        if not 1 <= topK <= 100:
            raise ValueError("1 to 100 results")
        self.filters.append(filter)
        (allowed,) = filter["audience"].values()
        if list(filter["audience"]) != ["$in"] or not allowed or not all(isinstance(a, str) for a in allowed):
            raise ValueError("a filter must name an operator and values")
        found = sorted(
            (1 - sum(a * b for a, b in zip(vector, queryVector["float32"], strict=True)), k)
            for k, (vector, about) in self.vectors.items()
            if about["audience"] in allowed
        )
        told = [{"key": k} | ({"distance": d} if returnDistance else {}) for d, k in found[:topK]]
        return {"vectors": told, "distanceMetric": "cosine"}


class Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    def read(self, size: int | None = None) -> bytes:
        return self._body.read(size)

    def stream(self, size: int = 65536, decode_content: bool = False) -> Iterator[bytes]:
        yield self._body.read()


@dataclass
class Base:
    service: Service
    served: Served
    embedder: Meaning
    store: VectorStore
    index: IndexService


@pytest.fixture(params=["local", "s3"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    index = IndexService()
    local = LocalVectors()
    store: VectorStore = (
        local
        if request.param == "local"
        else S3Vectors(index.client, bucket="bucket", index="index", failures=(BotoCoreError, ClientError))
    )
    embedder = Meaning()
    semantic = Semantic(embedder, store)
    folder = Folder(tmp_path / "kb")
    versions = Versions(folder, folder, tenant="acme")
    served = Served(versions, tmp_path / "tmp", check_seconds=0, semantic=semantic)
    yield Base(Service(versions, semantic=semantic), served, embedder, store, index)
    if served._open:
        served._open.close()
    local.close()


def note(name: str, text: str) -> Upload:
    return Upload(name=f"{name}.md", content=text.encode())


NOTES = [
    note("leave", "# Vacation\nEmployees have fourteen days of holiday."),
    note("laptop", "# Computers\nReport a lost laptop within one hour."),
    note("bus", "# Shuttle\nThe bus leaves at nine."),
]


def found(base: Base, question: str, audience: frozenset[str] = EVERYONE) -> list[str]:
    return [p.document for p in base.served.search(question, audience=audience).passages]


def test_a_chinese_question_finds_the_english_document(base: Base) -> None:
    base.service.add(NOTES)
    result = base.served.search("电脑丢失了怎么办？", audience=EVERYONE)
    assert result.passages[0].document == "laptop.md"
    assert result.confident
    assert found(base, "年假有几天")[0] == "leave.md"


def test_what_is_near_to_nothing_is_not_answered_with_confidence(base: Base) -> None:
    base.service.add(NOTES)
    assert not base.served.search("法国的首都是哪里", audience=EVERYONE).confident


def test_hidden_documents_are_filtered_in_the_stores_query(base: Base) -> None:
    base.service.add(NOTES)
    base.service.add(
        [note("pay", "# Salaries\nThe salary of an engineer.")], Filing(folder="hr", audience=frozenset({"department:hr"}))
    )
    assert found(base, "工资是多少", HR)[0] == "hr/pay.md"
    for question in ("工资是多少", "salary of an engineer", "pay"):
        assert "hr/pay.md" not in found(base, question)
        together = base.served.search(question, audience=HR, listeners=[EVERYONE])
        assert "hr/pay.md" not in [p.document for p in together.passages]
    assert all(set(f) == {"audience"} for f in base.index.filters)


def test_without_the_embedder_words_go_on_and_vectors_follow_later(base: Base) -> None:
    base.embedder.down = True
    assert base.service.add(NOTES).added == ["leave.md", "laptop.md", "bus.md"]
    assert found(base, "lost laptop")[0] == "laptop.md"
    base.embedder.down = False
    base.service.add([note("new", "# Desk\nAnything else.")])
    assert found(base, "电脑丢失")[0] == "laptop.md"


def test_without_the_store_words_go_on(base: Base) -> None:
    base.service.add(NOTES)
    base.index.down = True
    assert found(base, "lost laptop")[0] == "laptop.md"


def test_only_new_passages_are_embedded_and_a_question_only_once(base: Base) -> None:
    base.service.add(NOTES)
    before = len(base.embedder.asked)
    base.service.add([*NOTES, note("new", "# Desk\nAnything else.")])
    found(base, "lost laptop")
    found(base, "lost laptop")
    assert [p for p, _ in base.embedder.asked[before:]] == ["document", "query"]


def test_a_removed_documents_vectors_go_with_it(base: Base) -> None:
    base.service.add(NOTES)
    vector = base.embedder.embed(["lost laptop"])[0]
    digests = {m["audience"] for _, m in base.index.vectors.values()} or {"everyone"}
    base.service.remove(["laptop.md"])
    if base.index.vectors:
        assert len(base.index.vectors) == 2
        assert max(s for _, s in base.store.nearest(vector, audiences=sorted(digests), limit=9)) < 0.9
    assert "laptop.md" not in found(base, "电脑丢失")


def test_fusion_prefers_what_both_orders_like() -> None:
    words = Ranking((Hit(1, 9.0, 1.0), Hit(2, 8.0, 0.9)), certainty=0.2)
    fused = fuse(words, [(2, 0.9), (3, 0.8)], limit=3)
    assert [h.row for h in fused.hits] == [2, 1, 3]
    assert fused.sure
    assert not fuse(words, [(2, 0.3)], limit=3).sure


# --- the cache ---------------------------------------------------------------------------------


def test_the_cache_answers_the_same_question_with_the_same_rights_only(base: Base) -> None:
    base.service.add([*NOTES, note("open", "# Salary days\nSalaries come on the first.")])
    base.service.add(
        [note("pay", "# Salaries\nThe salary of an engineer is ninety.")], Filing(audience=frozenset({"department:hr"}))
    )
    hits: list[bool] = []
    cached = CachedKnowledge(base.served, Cache(), count=hits.append)

    def ask(audience: frozenset[str], *listeners: frozenset[str]) -> set[str]:
        return {p.document for p in cached.search("salary of an engineer", audience=audience, listeners=listeners).passages}

    assert "pay.md" in ask(HR)
    assert "pay.md" in ask(HR)
    assert "pay.md" not in ask(EVERYONE)
    assert "pay.md" not in ask(HR, EVERYONE)
    assert "pay.md" in ask(HR, HR)
    assert hits == [False, True, False, False, False]


def test_the_cache_gives_back_exactly_what_was_found_and_forgets_with_the_version(base: Base) -> None:
    base.service.add(NOTES)
    base.service.load_graph("org.csv", "subject,relation,object\nAnn,owns,班车\n".encode())
    cached = CachedKnowledge(base.served, Cache())
    question = "Who owns the 班车 bus?"
    direct = base.served.search(question, audience=EVERYONE)
    assert direct.facts
    for _ in range(2):
        assert cached.search(question, audience=EVERYONE) == direct
    base.service.remove(["bus.md"])
    assert "bus.md" not in [p.document for p in cached.search(question, audience=EVERYONE).passages]


def test_the_store_is_asked_in_batches_and_with_what_the_service_takes() -> None:
    index = IndexService()
    store = S3Vectors(index.client, bucket="bucket", index="index", failures=(BotoCoreError, ClientError))
    store.put({f"k{n}": [1.0, n / 1201] for n in range(1201)}, audience="a" * 24)
    assert len(index.vectors) == 1201
    assert len(store.nearest([1.0, 0.0], audiences=["a" * 24, "b" * 24], limit=500)) == 100
    assert store.nearest([1.0, 0.0], audiences=[], limit=5) == []
    assert [k for k, _ in store.nearest([1.0, 0.0], audiences=["b" * 24], limit=5)] == []
    store.delete([f"k{n}" for n in range(1201)])
    assert index.vectors == {}
    store.delete([])
    with pytest.raises(Unavailable):  # the service refuses another dimension than the index has
        store.put({"a": [1.0, 2.0], "b": [1.0]}, audience="a")
