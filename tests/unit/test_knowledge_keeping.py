"""What is kept, what is looked at again, and what is gone for good; files that were made to do harm."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from assistant.dev.cli import main
from assistant.errors import Refused, Unavailable
from assistant.knowledge.gaps import Gaps
from assistant.knowledge.service import Filing, Service, Upload
from assistant.knowledge.uploads import take_in
from assistant.knowledge.versions import KEPT, Folder, TableDesk, Versions
from assistant.knowledge.web import NotFetched, Page
from assistant.storage import Bucket, Table

EVERYONE = frozenset({"everyone"})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "kb")


def note(name: str, text: str) -> Upload:
    return Upload(name=name, content=text.encode())


class Web:
    """Pages by address."""

    def __init__(self, count: int) -> None:
        self.pages = {f"https://a.example/{n}": f"<title>Page {n}</title><p>It is number {n}.".encode() for n in range(count)}
        self.fetched = 0

    def fetch(self, url: str) -> Page:
        self.fetched += 1
        if url not in self.pages:
            raise NotFetched(f"{url}: the server answered 404")
        return Page(url=url, name="x.html", content=self.pages[url])


@pytest.fixture
def table() -> Iterator[Table]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_table(
            TableName="t", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        )  # fmt: skip
        yield Table("t", client=client)


# --- pages that change -------------------------------------------------------------------------


def test_twenty_pages_looked_at_again_are_one_version_and_none_where_nothing_changed(folder: Folder, table: Table) -> None:
    web = Web(20)
    gaps = Gaps(table, tenant="acme", clock=lambda: 1000.0)
    service = Service(Versions(folder, folder, tenant="acme"), fetch_page=web.fetch, gaps=gaps)
    for url in web.pages:
        assert service.add_page(url, Filing(folder="web")).added == [url]
    before = service.versions()["current"]
    assert len(service.refresh_pages().unchanged) == 20
    assert service.versions()["current"] == before
    web.pages["https://a.example/3"] = b"<title>Page 3</title><p>It is number thirty."
    web.pages["https://a.example/7"] = b"<title>Page 7</title><p>It is number seventy."
    del web.pages["https://a.example/9"]
    report = service.refresh_pages()
    assert sorted(report.added) == ["https://a.example/3", "https://a.example/7"]
    assert int(service.versions()["current"].removeprefix("v")) == int(before.removeprefix("v")) + 1
    care = service.care()["pages"]
    assert care["at"] == 1000.0
    assert care["refused"] == [{"name": "https://a.example/9", "reason": "https://a.example/9: the server answered 404"}]
    assert len(service.documents()) == 20


def test_the_schedule_comes_through_the_queue_like_every_change(folder: Folder) -> None:
    web = Web(1)
    service = Service(Versions(folder, folder, tenant="acme"), fetch_page=web.fetch)
    service.add_page("https://a.example/0")
    web.pages["https://a.example/0"] = b"<title>New</title><p>It is new."
    folder.put("documents/hr/leave.md", b"# Leave\nFourteen days")
    detail = {"bucket": {"name": "b"}, "object": {"key": "documents/hr/leave.md", "size": 21}}
    bodies = [{"detail-type": "Scheduled Event", "detail": {}}, {"detail-type": "Object Created", "detail": detail}]
    told = take_in(service, folder, {"Records": [{"messageId": "1", "body": json.dumps(b)} for b in bodies]})
    assert told["added"] == ["https://a.example/0", "hr/leave.md"]


# --- facts that a model reads ------------------------------------------------------------------


class Reader:
    """A model that finds who leads what."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False

    def __call__(self, prompt: str) -> str:
        if self.down:
            raise Unavailable("busy")
        self.asked.append(prompt)
        rows = [{"subject": "Li Lei", "relation": "leads", "object": "Design team"}]
        return json.dumps({"relations": rows})


def test_a_model_reads_each_document_once_and_its_facts_answer(folder: Folder) -> None:
    reader = Reader()
    service = Service(Versions(folder, folder, tenant="acme"), ask=reader)
    service.add([note("org.md", "# Org\nLi Lei leads the Design team."), note("bus.md", "# Bus\nIt leaves at nine.")])
    assert service.read_facts() == {"read": 2, "facts": 1, "left": 0}
    assert service.search("Who leads the Design team?", audience=EVERYONE)["direct"].startswith("Li Lei leads")
    assert len(reader.asked) == 2
    assert service.read_facts() == {"read": 0, "facts": 0, "left": 0}
    service.add([note("org.md", "# Org\nLi Lei leads the Design team. Since May.")])
    assert service.read_facts()["read"] == 1
    service.remove(["org.md"])
    assert service.search("Who leads the Design team?", audience=EVERYONE)["facts"] == ()


def test_while_the_model_is_away_nothing_counts_as_read_and_time_is_bounded(folder: Folder) -> None:
    reader = Reader()
    service = Service(Versions(folder, folder, tenant="acme"), ask=reader)
    service.add([note("org.md", "# Org\nLi Lei leads the Design team.")])
    reader.down = True
    assert service.read_facts() == {"read": 0, "facts": 0, "left": 1}
    reader.down = False
    assert service.read_facts(seconds=-1) == {"read": 0, "facts": 0, "left": 1}
    assert service.read_facts()["facts"] == 1


def test_facts_of_a_hidden_document_are_hidden(folder: Folder) -> None:
    service = Service(Versions(folder, folder, tenant="acme"), ask=Reader())
    hidden = Filing(audience=frozenset({"department:hr"}))
    service.add([note("org.md", "# Org\nLi Lei leads the Design team.")], hidden)
    service.read_facts()
    assert service.search("Who leads the Design team?", audience=EVERYONE)["facts"] == ()
    assert service.search("Who leads the Design team?", audience=frozenset({"department:hr"}))["facts"]


def test_without_a_model_that_is_said(folder: Folder) -> None:
    service = Service(Versions(folder, folder, tenant="acme"))
    service.add([note("a.md", "x")])
    with pytest.raises(Refused, match="no model is configured"):
        service.read_facts()


def test_an_upload_lets_the_model_read_it(folder: Folder) -> None:
    service = Service(Versions(folder, folder, tenant="acme"), ask=Reader())
    folder.put("documents/org.md", b"# Org\nLi Lei leads the Design team.")
    event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "documents/org.md", "size": 30}}}]}
    assert take_in(service, folder, event)["facts"] == {"read": 1, "facts": 1, "left": 0}


# --- gone for good -----------------------------------------------------------------------------


@pytest.mark.parametrize("versioned", [True, False])
def test_a_removed_document_is_in_no_version_that_the_bucket_keeps(table: Table, versioned: bool) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.create_bucket(Bucket="bucket")
    if versioned:
        client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    bucket = Bucket("bucket", client=client)
    service = Service(Versions(bucket, TableDesk(table, tenant="acme"), tenant="acme"))
    bucket.put("documents/hr/secret.md", b"# Secret\nThe word is zirconium.")
    service.add([Upload(name="secret.md", content=b"# Secret\nThe word is zirconium.")], Filing(folder="hr"))
    for n in range(KEPT + 3):  # the first versions are dropped by now, and stay behind as older versions of the bucket
        service.add([note(f"n{n}.md", f"# Note {n}\nNothing in it.")])
    assert any(b"zirconium" in content for content in everything(client))
    assert service.remove(["hr/secret.md"])["removed"] == ["hr/secret.md"]
    assert not any(b"zirconium" in content for content in everything(client))
    assert len(service.versions()["versions"]) == KEPT
    for version in service.versions()["versions"]:
        service.roll_back(version["name"])
        assert "hr/secret.md" not in {d.id for d in service.documents()}


def test_a_file_whose_name_begins_like_a_removed_one_stays(table: Table, folder: Folder) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.create_bucket(Bucket="bucket")
    client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    bucket = Bucket("bucket", client=client)
    for objects, desk in ((bucket, TableDesk(table, tenant="acme")), (folder, folder)):
        service = Service(Versions(objects, desk, tenant="acme"))
        service.add([note("a.md", "One."), note("a.md.md", "Two.")])
        names = ["a.md", "a.md.md", "a.md-old", "b.md"]
        for name in names:
            objects.put(f"documents/{name}", b"x")
        service.remove(["a.md", "a.m", "", "..", "https://example.com/" + "a" * 2_000, "\0"])
        assert list(objects.list("documents/")) == [f"documents/{n}" for n in sorted(names[1:])]
        assert [d.id for d in service.documents()] == ["a.md.md"]


@pytest.mark.parametrize("named", ["hr/all.zip", "hr/all.zip/secret.md"])
def test_what_came_out_of_a_zip_is_removed_with_the_zip_that_holds_it(table: Table, named: str) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.create_bucket(Bucket="bucket")
    bucket = Bucket("bucket", client=client)
    service = Service(Versions(bucket, TableDesk(table, tenant="acme"), tenant="acme"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("secret.md", "# Secret\nThe word is zirconium.")
        archive.writestr("plain.md", "# Plain\nThe word is iron.")
    bucket.put("documents/hr/all.zip", packed.getvalue())
    bucket.put("documents/hr/all.zip.md", b"another")
    service.add([Upload(name="all.zip", content=packed.getvalue()), note("all.zip.md", "# Other\nAnother.")], Filing(folder="hr"))
    removed = service.remove([named])
    assert "hr/all.zip/secret.md" in removed["removed"]
    assert removed["unknown"] == []
    assert list(bucket.list("documents/")) == ["documents/hr/all.zip.md"]
    left = {d.id for d in service.documents()}
    assert left == {"hr/all.zip.md"} | ({"hr/all.zip/plain.md"} if named.endswith(".md") else set())
    assert not any(b"zirconium" in content for content in everything(client))


def everything(client: Any) -> Iterator[bytes]:
    """Every version of every object that the bucket still gives to whoever knows its id."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket="bucket"):
        for found in page.get("Versions", ()):
            yield client.get_object(Bucket="bucket", Key=found["Key"], VersionId=found["VersionId"])["Body"].read()


# --- files that were made to do harm -----------------------------------------------------------


def zipped(members: dict[str, bytes], *, gbk: bool = False) -> bytes:
    """A zip; with `gbk` as Chinese Windows wrote them: names in its own code, and no mark that says so."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr("#" * len(name.encode("gbk")) if gbk else name, content)
    made = out.getvalue()
    for name in members if gbk else ():
        made = made.replace(b"#" * len(name.encode("gbk")), name.encode("gbk"))
    return made


def empty_rows(count: int) -> bytes:
    """A workbook whose one sheet says that it has `count` rows, all of them empty but the first two."""
    rows = b'<row r="1"><c r="A1" t="inlineStr"><is><t>Fruit</t></is></c></row>'
    rows += b'<row r="2"><c r="A2" t="inlineStr"><is><t>Persimmon</t></is></c></row>'
    rows += b"".join(b'<row r="%d"/>' % n for n in range(3, count + 1))
    space = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = b'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    package = b'xmlns="http://schemas.openxmlformats.org/package/2006/'
    kind = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    main_type = b"application/vnd.openxmlformats-officedocument.spreadsheetml."
    return zipped(
        {
            "[Content_Types].xml": b"<Types " + package + b'content-types">'
            b'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            b'<Override PartName="/xl/workbook.xml" ContentType="' + main_type + b'sheet.main+xml"/>'
            b'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="' + main_type + b'worksheet+xml"/></Types>',
            "_rels/.rels": b"<Relationships " + package + b'relationships"><Relationship Id="r1" Type="' + kind
            + b'officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/workbook.xml": b"<workbook " + space + b" " + office
            + b'><sheets><sheet name="Fruit" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": b"<Relationships " + package + b'relationships"><Relationship Id="r1" Type="' + kind
            + b'worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
            "xl/worksheets/sheet1.xml": b"<worksheet " + space + b"><sheetData>" + rows + b"</sheetData></worksheet>",
        }
    )  # fmt: skip


def test_a_bucket_of_hostile_files_is_refused_by_name_with_the_reason_and_the_others_go_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payloads = Path(__file__).parents[1] / "payloads" / "knowledge"
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "good.md").write_text("# Good\nThe persimmon is ripe.")
    (docs / "bomb.zip").write_bytes(zipped({"zeros.txt": b"0" * 60_000_000}))
    with (docs / "huge.pdf").open("wb") as huge:
        huge.write(b"%PDF-1.7\n")
        huge.truncate(1 << 30)  # a gigabyte that lies nowhere
    (docs / "locked.pdf").write_bytes((payloads / "locked.pdf").read_bytes())
    (docs / "broken.docx").write_bytes((payloads / "handbook.docx").read_bytes()[:900])
    (docs / "empty.md").write_bytes(b"")
    (docs / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500)
    (docs / "nested.zip").write_bytes(zipped({"inner.zip": zipped({"a.md": b"x"}), "beside.md": b"# Beside\nThe quince."}))
    (docs / "climbs.zip").write_bytes(
        zipped({"../../../etc/passwd.md": b"# Climbs\nThe medlar.", "/abs/b.md": b"# Abs\nThe fig."})
    )
    (docs / "chinese.zip").write_bytes(zipped({"制度/年假.md": "# 年假\n每年十四天。".encode("gbk")}, gbk=True))
    began = time.process_time()
    assert main(["kb", "add", str(docs), "--data", str(tmp_path / "data"), "--json"]) == 1
    assert time.process_time() - began < 20
    report = json.loads(capsys.readouterr().out)
    assert sorted(report["added"]) == [
        "chinese.zip/制度/年假.md", "climbs.zip/abs/b.md", "climbs.zip/etc/passwd.md", "good.md", "nested.zip/beside.md",
    ]  # fmt: skip
    reasons = {r["name"]: r["reason"] for r in report["refused"]}
    for name, said in {
        "bomb.zip": "zip bomb",
        "huge.pdf": "1,024.0 MiB is more than the 100.0 MiB",
        "locked.pdf": "encrypted",
        "broken.docx": "broken",
        "empty.md": "empty",
        "old.doc": ".doc",
        "nested.zip/inner.zip": "a zip inside a zip",
    }.items():
        assert said in reasons.pop(name), name
    assert reasons == {}
    assert not (tmp_path.parent / "etc").exists()


def test_more_empty_rows_than_a_sheet_may_have_full_ones_are_passed_over(folder: Folder) -> None:
    service = Service(Versions(folder, folder, tenant="acme"))
    assert service.add([Upload(name="fruit.xlsx", content=empty_rows(205_000))]).added == ["fruit.xlsx"]
    assert service.show("fruit.xlsx")["text"][0]["text"].splitlines() == ["| Fruit |", "| --- |", "| Persimmon |"]


def test_an_object_that_is_too_large_is_refused_without_being_loaded(folder: Folder) -> None:
    service = Service(Versions(folder, folder, tenant="acme"))
    event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "documents/huge.pdf", "size": 1 << 30}}}]}
    told = take_in(service, folder, event)  # there is no such object: loading it would be passed over in silence
    assert told["refused"] == [{"name": "huge.pdf", "reason": "1,024.0 MiB is more than the 100.0 MiB a file may have; split it"}]
