"""Knowledge is published whole, by one writer, swapped at once, gone back to, and forgotten for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from assistant.errors import Refused, Unavailable
from assistant.knowledge.build import build
from assistant.knowledge.documents import Document, Section
from assistant.knowledge.store import BrokenKnowledge
from assistant.knowledge.versions import KEPT, LEASE_SECONDS, Catalogue, Folder, Served, TableDesk, Versions
from assistant.storage import Bucket, Conflict, Table

EVERYONE = frozenset({"everyone"})


def page(name: str, text: str) -> Document:
    return Document(id=name, title=name.title(), sections=(Section(text=text),))


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Calls:
    """Counts what reaches the bucket and the table."""

    count: int = 0
    down: bool = False
    inner: Any = None  # a botocore client, which has no static type

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> Any:
            self.count += 1
            if self.down:
                from botocore.exceptions import EndpointConnectionError

                raise EndpointConnectionError(endpoint_url="https://down")
            return getattr(self.inner, name)(**request)

        return call


@dataclass
class Place:
    versions: Versions
    clock: Clock
    table: Calls = field(default_factory=Calls)
    bucket: Calls = field(default_factory=Calls)
    again: Callable[[], Versions] = Versions  # type: ignore[assignment]  # always given

    def add(self, *documents: Document) -> None:
        with self.versions.edit(author="ann", note="test") as edit:
            for document in documents:
                edit.changed |= edit.writer.add(document)


@pytest.fixture(params=["aws", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    clock = Clock()
    if request.param == "folder":
        folder = Folder(tmp_path / "kb")
        yield Place(
            Versions(folder, folder, tenant="acme", clock=clock), clock,
            again=lambda: Versions(Folder(tmp_path / "kb"), Folder(tmp_path / "kb"), tenant="acme", clock=clock),
        )  # fmt: skip
        return
    database, store = request.getfixturevalue("aws")
    name = f"t{uuid4().hex}"
    database.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
    )  # fmt: skip
    store.create_bucket(Bucket=name)
    table, bucket = Calls(inner=database), Calls(inner=store)

    def make() -> Versions:
        desk = TableDesk(Table(name, client=table), tenant="acme", clock=clock)
        return Versions(Bucket(name, client=bucket), desk, tenant="acme", clock=clock)

    yield Place(make(), clock, table, bucket, make)


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[Any, Any]]:  # botocore's clients have no static types
    with mock_aws():
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        yield boto3.client("dynamodb", **keys), boto3.client("s3", **keys)


@pytest.fixture
def served(place: Place, tmp_path: Path) -> Iterator[Served]:
    served = Served(place.versions, tmp_path / "tmp", check_seconds=30, clock=place.clock)
    yield served
    if served._open:
        served._open.close()


def texts(served: Served, question: str) -> list[str]:
    return [p.text for p in served.search(question, audience=EVERYONE).passages]


def test_readers_swap_to_a_newer_version_within_the_time_and_not_before(place: Place, served: Served) -> None:
    place.add(page("menu", "Noodles on Monday."))
    assert texts(served, "noodles monday") == ["Noodles on Monday."]
    place.add(page("menu", "Rice on Monday."))
    place.clock.now += 29
    assert texts(served, "monday") == ["Noodles on Monday."]
    place.clock.now += 2
    assert texts(served, "monday") == ["Rice on Monday."]


def test_a_warm_search_makes_no_call_and_a_check_makes_one(place: Place, served: Served) -> None:
    place.add(page("menu", "Noodles on Monday."))
    texts(served, "noodles")
    before = (place.table.count, place.bucket.count)
    for _ in range(20):
        texts(served, "noodles")
    assert (place.table.count, place.bucket.count) == before
    place.clock.now += 31
    texts(served, "noodles")
    assert (place.table.count - before[0], place.bucket.count - before[1]) in {(1, 0), (0, 0)}  # a folder has no calls


def test_while_the_table_is_down_the_version_at_hand_goes_on(place: Place, served: Served) -> None:
    place.add(page("menu", "Noodles on Monday."))
    texts(served, "noodles")
    place.table.down = place.bucket.down = True
    place.clock.now += 31
    assert texts(served, "noodles") == ["Noodles on Monday."]


def test_only_the_newest_file_stays_in_the_scratch_folder(place: Place, served: Served, tmp_path: Path) -> None:
    for number in range(4):
        place.add(page("menu", f"Dish number {number}."))
        place.clock.now += 31
        texts(served, "dish")
    assert len(list((tmp_path / "tmp").iterdir())) == 1


def test_an_edit_that_fails_or_changes_nothing_publishes_nothing(place: Place) -> None:
    place.add(page("menu", "Noodles."))
    before = place.versions.catalogue()

    def fail() -> None:
        with place.versions.edit() as edit:
            edit.changed = edit.writer.add(page("x", "half"))
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fail()
    place.add(page("menu", "Noodles."))
    assert place.versions.catalogue() == before
    place.add(page("new", "The lease is free again."))
    assert place.versions.catalogue().edition == before.edition + 1


def test_a_second_writer_waits_for_the_first(place: Place) -> None:
    with place.versions.edit() as edit:
        with pytest.raises(Unavailable, match="another") as refusal, place.again().edit():
            pass
        edit.changed = edit.writer.add(page("a", "first"))
    assert refusal.value.retry_after
    place.add(page("b", "second"))
    served = place.versions.catalogue().served
    assert served
    assert served.documents == 2


def test_a_writer_that_was_overtaken_cannot_undo_the_other(place: Place) -> None:
    if not place.table.inner:
        pytest.skip("a folder's lock ends with its process")
    slow = place.versions.edit()
    edit = slow.__enter__()
    edit.changed = edit.writer.add(page("slow", "late"))
    place.clock.now += LEASE_SECONDS + 1  # the lease ends, another writer goes ahead
    other = place.again()
    with other.edit() as quick:
        quick.changed = quick.writer.add(page("quick", "early"))
    with pytest.raises(Conflict):
        slow.__exit__(None, None, None)
    version = place.versions.catalogue().served
    assert version
    assert version.documents == 1


def test_rolling_back_serves_the_older_version_and_the_next_edit_starts_from_it(place: Place, served: Served) -> None:
    place.add(page("menu", "Noodles on Monday."))
    place.add(page("menu", "Rice on Monday."), page("bad", "A mistake."))
    first = place.versions.catalogue().versions[0].name
    place.versions.roll_back(first)
    assert texts(served, "monday") == ["Noodles on Monday."]
    place.add(page("bus", "The bus leaves at nine."))
    place.clock.now += 31
    assert texts(served, "mistake") == []
    assert texts(served, "bus nine") == ["The bus leaves at nine."]
    names = [v.name for v in place.versions.catalogue().versions]
    assert len(set(names)) == 3
    with pytest.raises(Refused, match="no knowledge version 'v999999'; kept: v000001"):
        place.versions.roll_back("v999999")


def test_only_so_many_versions_are_kept_and_their_files_with_them(place: Place) -> None:
    for number in range(KEPT + 3):
        place.add(page("menu", f"Dish number {number}."))
    kept = place.versions.catalogue().versions
    assert len(kept) == KEPT
    assert set(place.versions._objects.list("knowledge/acme/")) == {v.object for v in kept}


def test_a_removed_document_is_in_no_byte_of_any_version_that_can_be_served(place: Place, served: Served) -> None:
    place.add(page("salaries", "The zirconium engineer earns ninety."), page("menu", "Noodles."))
    place.add(page("menu", "Rice."))
    place.add(page("other", "Zirconium is a metal."))
    assert "earns ninety" in " ".join(texts(served, "zirconium engineer"))
    report = place.versions.remove(["salaries"], author="ann")
    assert report == {f"v00000{n}": ["salaries"] for n in (1, 2, 3)}
    place.clock.now += 31
    assert texts(served, "zirconium engineer earns ninety") == ["Zirconium is a metal."]
    for path in place.versions._objects.list("knowledge/"):
        assert b"ninety" not in place.versions._objects.get(path)
        assert b"salaries" not in place.versions._objects.get(path)
    for version in place.versions.catalogue().versions:
        place.versions.roll_back(version.name)
        place.clock.now += 31
        assert "ninety" not in " ".join(texts(served, "zirconium engineer earns ninety"))
    assert place.versions.remove(["salaries"]) == {}


def test_damaged_bytes_are_never_opened(place: Place, served: Served) -> None:
    place.add(page("menu", "Noodles."))
    version = place.versions.catalogue().versions[0]
    content = bytearray(place.versions._objects.get(version.object))
    content[len(content) // 2] ^= 1
    place.versions._objects.put(version.object, bytes(content))
    with pytest.raises(BrokenKnowledge, match="rollback"):
        texts(served, "noodles")


def test_the_fallback_is_not_made_where_something_is_published(place: Place, tmp_path: Path) -> None:
    def made() -> Path:
        raise AssertionError("half a second of a cold start, for nothing")

    place.add(page("leave", "Fourteen days of leave."))
    served = Served(place.versions, tmp_path / "b", fallback=made, clock=place.clock)
    assert texts(served, "leave") == ["Fourteen days of leave."]
    with place.versions.edit(start=made) as edit:
        edit.changed = edit.writer.add(page("lunch", "Lunch is at noon."))
    served.current().close()


def test_the_fallback_serves_until_something_is_published(place: Place, tmp_path: Path) -> None:
    fallback = tmp_path / "default.sqlite"
    build([page("guide", "The assistant explains itself.")], fallback)
    empty = Served(place.versions, tmp_path / "a", clock=place.clock)
    with pytest.raises(Unavailable, match="assistant kb add"):
        texts(empty, "assistant")
    served = Served(place.versions, tmp_path / "b", fallback=fallback, clock=place.clock)
    assert texts(served, "assistant explains") == ["The assistant explains itself."]
    with place.versions.edit(start=fallback) as edit:
        edit.changed = edit.writer.add(page("menu", "Noodles."))
    place.clock.now += 31
    assert texts(served, "noodles") == ["Noodles."]
    assert texts(served, "assistant explains") == ["The assistant explains itself."]
    assert fallback.is_file()
    served.current().close()


def test_searches_go_on_while_versions_are_swapped(place: Place, served: Served) -> None:
    place.add(page("menu", "Dish of the day."))
    failures: list[Exception] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                assert texts(served, "dish day") == ["Dish of the day."]
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(4):
        place.add(page("other", f"Something else {number}."))
        place.clock.now += 31
        texts(served, "dish day")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_catalogue_survives_its_json() -> None:
    catalogue = Catalogue(edition=3, current="v000002", next=3)
    assert Catalogue.from_json(catalogue.to_json()) == catalogue
    assert replace(catalogue, current="x").served is None
