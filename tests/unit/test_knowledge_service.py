"""Editors add, find, restrict, remove and go back, by command line, HTTP door and upload alike."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from moto import mock_aws

from assistant.dev.cli import main
from assistant.errors import Refused
from assistant.knowledge.default import default_knowledge
from assistant.knowledge.gaps import Gaps
from assistant.knowledge.service import Filing, Service, Upload, answer, check_audience
from assistant.knowledge.uploads import take_in
from assistant.knowledge.versions import Folder, Versions
from assistant.knowledge.web import NotFetched, Page
from assistant.storage import Table

EVERYONE = frozenset({"everyone"})
HR = frozenset({"everyone", "department:hr"})
FILES = Path(__file__).parents[1] / "payloads" / "knowledge"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "kb")


@pytest.fixture
def service(folder: Folder) -> Service:
    return Service(Versions(folder, folder, tenant="acme"))


def note(name: str, text: str) -> Upload:
    return Upload(name=name, content=text.encode())


def found(service: Service, question: str, audience: frozenset[str] = EVERYONE) -> list[str]:
    return [p["document"] for p in service.search(question, audience=audience)["passages"]]


def test_a_folder_of_files_goes_in_and_bad_ones_are_named_with_the_reason(service: Service) -> None:
    uploads = [Upload(name=p.name, content=p.read_bytes()) for p in sorted(FILES.iterdir())]
    seen: list[tuple[str, str]] = []
    report = service.add([*uploads, note("x.exe", "MZ")], Filing(folder="hr"), progress=lambda n, s: seen.append((n, s)))
    assert report.added == ["hr/handbook.docx", "hr/onboarding.pptx", "hr/policy.pdf", "hr/tables.xlsx"]
    assert {n: r.partition(" ")[0] for n, r in report.refused} == {"locked.pdf": "it", "scan.pdf": "it", "x.exe": "files"}
    assert len(seen) == 7
    assert found(service, "lost laptop")[0] == "hr/policy.pdf"
    page = service.search("lost laptop", audience=EVERYONE)["passages"][0]
    assert (page["page"], page["path"]) == (2, "Laptops")


def test_what_has_not_changed_is_skipped_and_publishes_nothing(service: Service) -> None:
    first = service.add([note("a.md", "# A\nNoodles"), note("b.md", "# B\nRice")])
    second = service.add([note("a.md", "# A\nNoodles"), note("b.md", "# B\nBread")])
    assert (second.added, second.unchanged) == (["b.md"], ["a.md"])
    third = service.add([note("a.md", "# A\nNoodles"), note("b.md", "# B\nBread")])
    assert third.version == second.version != first.version


def test_an_interrupted_addition_keeps_what_was_read_and_goes_on_from_there(service: Service) -> None:
    def files() -> Iterator[Upload]:
        yield note("a.md", "Noodles on Monday")
        raise KeyboardInterrupt

    report = service.add(files())
    assert (report.added, report.refused[0][0]) == (["a.md"], "(the rest)")
    again = service.add([note("a.md", "Noodles on Monday"), note("b.md", "Rice on Friday")])
    assert (again.added, again.unchanged) == (["b.md"], ["a.md"])


def test_a_zip_goes_in_file_by_file(service: Service) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hr/leave.md", "# Leave\nFourteen days")
        archive.writestr("hr/broken.pdf", "%PDF-")
    report = service.add([Upload(name="all.zip", content=buffer.getvalue()), Upload(name="bad.zip", content=b"PK")])
    assert report.added == ["all.zip/hr/leave.md"]
    assert [n for n, _ in report.refused] == ["all.zip/hr/broken.pdf", "bad.zip"]


def test_names_that_climb_out_of_their_folder_stay_inside_it(service: Service) -> None:
    report = service.add(
        [note("../../etc/passwd.txt", "root"), note("/abs/b.txt", "x"), note("c\\d.txt", "y")], Filing(folder="f")
    )
    assert report.added == ["f/etc/passwd.txt", "f/abs/b.txt", "f/c/d.txt"]


def test_a_folders_audience_is_the_default_of_what_is_in_it_now_and_later(service: Service) -> None:
    service.add([note("pay.md", "Zirconium bands")], Filing(folder="hr/pay"))
    service.add([note("open.md", "Zirconium for all")], Filing(folder="hr", audience=EVERYONE))
    assert set(found(service, "zirconium")) == {"hr/pay/pay.md", "hr/open.md"}
    assert service.set_audience("hr", frozenset({"department:hr"})) == 1
    assert found(service, "zirconium") == ["hr/open.md"]
    assert set(found(service, "zirconium", HR)) == {"hr/pay/pay.md", "hr/open.md"}
    service.add([note("later.md", "Zirconium later")], Filing(folder="hr/pay"))
    assert found(service, "zirconium") == ["hr/open.md"]
    assert [d.id for d in service.documents(audience=EVERYONE)] == ["hr/open.md"]


@pytest.mark.parametrize("token", ["hr", "department:", "departement:hr", "Everyone", "user"])
def test_an_audience_nobody_can_hold_is_refused(service: Service, token: str) -> None:
    with pytest.raises(Refused, match="write everyone, department:ID"):
        service.add([note("a.md", "x")], Filing(audience=frozenset({token})))
    with pytest.raises(Refused):
        check_audience(frozenset(), needed=True)


def test_removal_is_proven_in_every_version_and_unknown_names_are_told(service: Service, folder: Folder) -> None:
    service.add([note("pay.md", "Zirconium ninety"), note("menu.md", "Noodles")])
    service.add([note("menu.md", "Rice")])
    report = service.remove(["pay.md", "nope.md"])
    assert (report["removed"], report["unknown"], sorted(report["versions"])) == (["pay.md"], ["nope.md"], ["v000001", "v000002"])
    assert all(b"inety" not in folder.get(path) for path in folder.list("knowledge/"))


def test_rebuilding_changes_nothing_that_is_found(service: Service) -> None:
    service.add([Upload(name="policy.pdf", content=(FILES / "policy.pdf").read_bytes())], Filing(folder="it", owner="ann"))
    service.load_graph("org.csv", b"subject,relation,object\nAnn,owns,Laptops\n")
    before = service.search("who owns laptops", audience=EVERYONE), service.show("it/policy.pdf")
    service.rebuild()
    after = service.search("who owns laptops", audience=EVERYONE), service.show("it/policy.pdf")
    assert {k: v for k, v in before[0].items() if k != "version"} == {k: v for k, v in after[0].items() if k != "version"}
    assert {k: v for k, v in before[1].items() if k != "added"} == {k: v for k, v in after[1].items() if k != "added"}


def test_a_web_page_goes_in_and_is_refreshed(folder: Folder) -> None:
    pages = {"https://a.example/x": b"<title>Bus</title><p>The bus leaves at nine."}

    def fetch(url: str) -> Page:
        if url not in pages:
            raise NotFetched(f"{url}: the server answered 404")
        return Page(url=url + "/", name="x.html", content=pages[url])

    service = Service(Versions(folder, folder, tenant="acme"), fetch_page=fetch)
    assert service.add_page("https://a.example/x", Filing(folder="web")).added == ["https://a.example/x"]
    assert service.search("bus", audience=EVERYONE)["passages"][0]["url"] == "https://a.example/x/"
    assert service.add_page("https://a.example/none").refused == [
        ("https://a.example/none", "https://a.example/none: the server answered 404")
    ]
    assert service.refresh_pages().unchanged == ["https://a.example/x"]
    pages["https://a.example/x"] = b"<title>Bus</title><p>The bus leaves at ten."
    assert service.refresh_pages().added == ["https://a.example/x"]
    assert "ten" in service.show("https://a.example/x")["text"][0]["text"]
    pages["https://a.example/x"] = b"<title>Bus</title><p>The bus leaves at eleven."
    scheduled = take_in(service, folder, {"source": "aws.events", "detail-type": "Scheduled Event"})
    assert scheduled["added"] == ["https://a.example/x"]
    del pages["https://a.example/x"]
    assert service.refresh_pages().refused[0][0] == "https://a.example/x"
    assert service.documents()


# --- the HTTP door -----------------------------------------------------------------------------


def ask(service: Service, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = b"") -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, data = answer(service, method, path, query or {}, content)
    return status, json.loads(json.dumps(data))  # whatever it gives must be JSON


def test_the_http_door_does_what_the_functions_do(service: Service) -> None:
    assert ask(service, "PUT", "files", {"name": "leave.md", "folder": "hr"}, b"# Leave\nFourteen days")[1]["added"] == [
        "hr/leave.md"
    ]
    assert ask(service, "GET", "documents")[1]["documents"][0]["audience"] == ["everyone"]
    assert ask(service, "GET", "document", {"id": "hr/leave.md"})[1]["text"][0]["text"] == "Fourteen days"
    assert ask(service, "GET", "search", {"q": "leave days"})[1]["confident"]
    assert ask(service, "PUT", "graph/load", {"name": "a.csv"}, b"subject,relation,object\nAnn,leads,HR\n") == (
        200, {"entities": 2, "relations": 1},
    )  # fmt: skip
    assert ask(service, "GET", "graph", {"q": "an"})[1]["entities"] == [{"id": "ann", "name": "Ann", "kind": "thing"}]
    assert ask(service, "GET", "graph/walk", {"entity": "hr"})[1]["edges"][0]["kind"] == "leads"
    assert ask(service, "POST", "graph/edit", {}, {"action": "rename", "entity": "hr", "name": "People"})[0] == 200
    assert ask(service, "POST", "audience", {"folder": "hr", "audience": "department:hr"}) == (200, {"changed": 1})
    assert ask(service, "GET", "search", {"q": "leave days"})[1]["passages"] == []
    assert ask(service, "POST", "rebuild")[0] == 200
    assert len(ask(service, "GET", "versions")[1]["versions"]) == 5
    assert ask(service, "POST", "rollback", {}, {"version": "v000001"})[1]["name"] == "v000001"
    assert ask(service, "DELETE", "documents", {}, {"ids": ["hr/leave.md"]})[1]["removed"] == ["hr/leave.md"]
    assert ask(service, "GET", "gaps") == (200, {"gaps": [], "feedback": []})


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status"),
    [
        ("GET", "search", {}, b"", 400),
        ("GET", "search", {"q": "x", "limit": "many"}, b"", 400),
        ("DELETE", "documents", {}, b"not json", 400),
        ("DELETE", "documents", {}, b"[]", 400),
        ("GET", "document", {"id": "none"}, b"", 404),
        ("GET", "graph/walk", {"entity": "none"}, b"", 404),
        ("POST", "rollback", {}, b'{"version": "v9"}', 404),
        ("POST", "graph/edit", {}, b'{"action": "explode"}', 400),
        ("POST", "graph/edit", {}, b'{"action": "rename", "entity": "x"}', 400),
        ("POST", "audience", {"folder": "hr", "audience": "nobody"}, b"", 400),
        ("PATCH", "anything", {}, b"", 404),
    ],
)
def test_a_wrong_request_gets_a_status_and_a_reason(
    service: Service, method: str, path: str, query: dict[str, str], body: bytes, status: int
) -> None:
    service.add([note("a.md", "x")])
    got, data = ask(service, method, path, query, body)
    assert got == status
    assert data["error"]


# --- uploads -----------------------------------------------------------------------------------


def s3_event(name: str, key: str) -> dict[str, Any]:
    return {"Records": [{"eventName": name, "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}]}


def test_an_upload_goes_in_and_out_with_its_object(service: Service, folder: Folder) -> None:
    folder.put("documents/hr/Annual leave.md", b"# Leave\nFourteen days")
    event = s3_event("ObjectCreated:Put", "documents/hr/Annual+leave.md")
    assert take_in(service, folder, event)["added"] == ["hr/Annual leave.md"]
    assert take_in(service, folder, event)["unchanged"] == ["hr/Annual leave.md"]
    assert found(service, "leave days") == ["hr/Annual leave.md"]
    gone = take_in(service, folder, s3_event("ObjectRemoved:Delete", "documents/hr/Annual+leave.md"))
    assert gone["removed"] == ["hr/Annual leave.md"]
    assert found(service, "leave days") == []
    assert take_in(service, folder, s3_event("ObjectCreated:Put", "knowledge/other"))["added"] == []
    assert take_in(service, folder, s3_event("ObjectCreated:Put", "documents/gone.md"))["added"] == []


def test_the_ingest_function_takes_in_what_lies_in_the_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from functions import ingest

    names = {"TABLE_NAME": "ingested", "BUCKET": "ingested", "KNOWLEDGE_FOLDER": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (names | {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}).items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        ingest.assistant.cache_clear()
        app = ingest.assistant()
        app.client("dynamodb").create_table(
            TableName="ingested", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        )  # fmt: skip
        app.client("s3").create_bucket(Bucket="ingested")
        app.client("s3").put_object(Bucket="ingested", Key="documents/hr/leave.md", Body=b"# Leave\nFourteen zirconium days")
        result = ingest.lambda_handler(s3_event("ObjectCreated:Put", "documents/hr/leave.md"), None)
        assert result["added"] == ["hr/leave.md"]
        found = app.knowledge.search("zirconium days", audience=EVERYONE)
        assert [p.document for p in found.passages][:1] == ["hr/leave.md"]
        app.served.current().close()
    ingest.assistant.cache_clear()


# --- gaps --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_table(
            TableName="t", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        )  # fmt: skip
        yield Table("t", client=client)


def test_unanswered_questions_are_counted_together_and_closed(table: Table) -> None:
    gaps = Gaps(table, tenant="acme", clock=lambda: 1000.0)
    for question in ("How do I park?", "how can I PARK", "Where is the gym?", "  "):
        gaps.note(question, certainty=0.21)
    assert [(g["question"], g["count"]) for g in gaps.open()] == [("how can I PARK", 2), ("Where is the gym?", 1)]
    gaps.close(gaps.open()[0]["id"])
    assert [g["question"] for g in gaps.open()] == ["Where is the gym?"]
    assert Gaps(table, tenant="other").open() == []


def test_feedback_is_counted_by_passage_the_worst_first(table: Table) -> None:
    gaps = Gaps(table, tenant="acme", clock=lambda: 1000.0)
    for passage, good in (("a#1", True), ("b#1", False), ("a#1", True), ("b#1", True), ("b#1", False)):
        gaps.feedback(passage, good=good)
    assert gaps.judged() == [{"passage": "b#1", "good": 1, "bad": 2}, {"passage": "a#1", "good": 2, "bad": 0}]


# --- the command line --------------------------------------------------------------------------


def test_the_command_line_adds_searches_shows_removes_and_rolls_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "leave.md").write_text("# Leave\nFourteen zirconium days")
    (docs / "bad.pdf").write_bytes(b"%PDF-")
    data = ["--data", str(tmp_path / "data")]

    def kb(*arguments: str) -> tuple[int, Any]:
        status = main(["kb", *arguments, *data, "--json"])
        out = capsys.readouterr().out
        return status, json.loads(out) if out else None

    status, report = kb("add", str(docs), "--folder", "hr")
    assert (status, report["added"], report["refused"][0]["name"]) == (1, ["hr/leave.md"], "bad.pdf")
    (docs / "bad.pdf").unlink()
    assert kb("add", str(docs), "--folder", "hr")[0] == 0
    assert kb("search", "zirconium days")[1]["passages"][0]["document"] == "hr/leave.md"
    assert "What can you do?" in str(kb("search", "what can you do")[1]["passages"])  # the default knowledge is there too
    assert kb("audience", "hr", "--audience", "department:hr")[1] == {"changed": 1}
    assert "hr/leave.md" not in str(kb("search", "zirconium days", "--audience", "everyone")[1])
    assert kb("rollback", "v000001")[1]["name"] == "v000001"
    assert kb("show", "hr/leave.md")[1]["title"] == "Leave"
    assert kb("remove", "hr/leave.md", "none.md") == (
        1,
        {"removed": ["hr/leave.md"], "unknown": ["none.md"], "versions": {f"v00000{n}": ["hr/leave.md"] for n in (1, 2)}},
    )  # fmt: skip
    assert kb("show", "hr/leave.md")[0] == 1
    assert main(["kb", "versions", *data]) == 0
    assert "v000002" in capsys.readouterr().out
    assert main(["kb", "add", str(tmp_path / "nowhere"), *data]) == 2
    assert "there is no file or folder" in capsys.readouterr().err


def test_the_command_line_works_on_a_running_assistant(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            url = urlsplit(self.path)
            if self.headers["authorization"] != "Bearer right":
                status, data = 401, {"error": "no"}
            else:
                path = url.path.removeprefix("/api/knowledge/")
                status, data = answer(service, self.command, path, dict(parse_qsl(url.query)), body)
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        place = ["--url", f"http://127.0.0.1:{server.server_address[1]}/", "--api-key", "right", "--json"]
        (tmp_path / "leave.md").write_text("# Leave\nFourteen days")
        (tmp_path / "bad.pdf").write_bytes(b"%PDF-")
        assert main(["kb", "add", str(tmp_path), "--folder", "hr", *place]) == 1
        report = json.loads(capsys.readouterr().out)
        assert (report["added"], report["refused"][0]["name"]) == (["hr/leave.md"], "bad.pdf")
        assert main(["kb", "search", "days of leave", *place]) == 0
        assert json.loads(capsys.readouterr().out)["passages"][0]["document"] == "hr/leave.md"
        assert main(["kb", "remove", "hr/leave.md", *place]) == 0
        assert main(["kb", "list", *place[:2], "--api-key", "wrong"]) == 2
        assert "does not take this --api-key" in capsys.readouterr().err
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_command_line_says_in_one_line_when_no_server_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kb", "list", "--url", "http://127.0.0.1:9", "--api-key", "k"]) == 2
    assert "does not answer" in capsys.readouterr().err
    assert main(["kb", "list", "--url", "ftp://x"]) == 2


def test_eval_prints_the_contracts_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passages, questions = tmp_path / "p.jsonl", tmp_path / "q.jsonl"
    passages.write_text("\n".join(json.dumps({"id": f"p{n}", "title": t, "text": x}) for n, (t, x) in enumerate(
        [("Bus", "The bus leaves at nine."), ("Food", "Noodles on Monday."), ("Leave", "Fourteen days of leave.")])))  # fmt: skip
    questions.write_text("\n".join(json.dumps({"question": q, "passage": p}) for q, p in (
        ("When does the bus leave?", "p0"), ("noodles monday", "p1"), ("Which noodles?", "p2"))))  # fmt: skip
    arguments = ["kb", "eval", "--passages", str(passages), "--questions", str(questions), "--json"]
    assert main([*arguments, "--unanswerable", "--halves"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["passages"], result["questions"], result["recall_at_1"]) == (3, 3, 0.6667)
    assert result["mrr_at_10"] >= result["recall_at_1"]
    assert result["ms_per_question"] > 0
    questions.write_text('{"question": 1}')
    assert main(arguments) == 2
    assert "must be a JSON object with question, passage" in capsys.readouterr().err


def test_the_default_knowledge_explains_the_product_in_both_languages(tmp_path: Path) -> None:
    start = tmp_path / "default.sqlite"
    assert default_knowledge(start) >= 30
    folder = Folder(tmp_path / "kb")
    service = Service(Versions(folder, folder, tenant="acme"), start=start)
    for question in ("What can you do?", "How do I write a plug-in?", "你能做什么？", "灰度发布怎么进行？", "怎么接入飞书？"):
        result = service.search(question, audience=EVERYONE)
        assert result["confident"], question
    service.add([note("menu.md", "Noodles on Monday")])  # the first own document does not take the guides away
    assert service.search("What can you do?", audience=EVERYONE)["confident"]
