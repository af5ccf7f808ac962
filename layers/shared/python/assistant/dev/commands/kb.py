"""Pour documents in, look things up, go back, and measure how well things are found.

With --url and --api-key the commands work on that assistant. Without --url they work on the local run over the folder --data
while there is one, and otherwise on the knowledge in that folder itself, which one process changes at a time.

What takes long says so on the terminal meanwhile; nothing in a pipe, and nothing with --json.

examples:
  assistant kb add handbook/ --folder hr --audience "department:feishu:od-1 user:slack:U1"
  assistant kb add https://intranet.example.com/travel.html
  assistant kb list
  assistant kb show hr/leave.md
  assistant kb search "How long is my leave?" --limit 3
  assistant kb remove hr/leave.md
  assistant kb rebuild                              # write the index anew
  assistant kb refresh                              # fetch the web pages again
  assistant kb facts                                # let the model read facts for the graph
  assistant kb versions
  assistant kb rollback v12
  assistant kb audience hr --audience everyone
  assistant kb graph relations.csv                  # or an entity, to look at it
  assistant kb directory feishu                     # people and departments into the graph
  assistant kb gaps                                 # what could not be answered
  assistant kb care --days 180                      # what wants looking after
  assistant kb eval --passages p.jsonl --questions q.jsonl --json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from assistant.dev.client import working
from assistant.errors import AssistantError, InvalidSetting

HELP = "the knowledge: add, list, show, search, remove, rebuild, refresh, versions, rollback, graph, directory, facts, gaps, eval"

_DATA: Final = ".assistant"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands."""
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--data", type=Path, default=Path(_DATA), help=f"folder of the local knowledge (default {_DATA})")
    place.add_argument("--url", default="", help="a running assistant instead, such as http://127.0.0.1:8080")
    place.add_argument("--api-key", default="", help="its API key")
    place.add_argument("--json", action="store_true", help="print JSON")
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument(
        "--audience", default="", help="tokens separated by blanks: everyone department:ID group:ID user:PLATFORM:ID"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    add = actions.add_parser("add", parents=[place, who], help="take in files, folders, zips and web pages")
    add.add_argument("sources", nargs="+", metavar="PATH|URL")
    add.add_argument("--folder", default="", help="where they stand; its audience is their default")
    add.add_argument("--owner", default="", help="who to ask about them")
    actions.add_parser("list", parents=[place, who], help="documents, or those that --audience sees")
    show = actions.add_parser("show", parents=[place], help="one document with its passages")
    show.add_argument("document")
    search = actions.add_parser("search", parents=[place, who], help="what somebody with --audience would find")
    search.add_argument("question")
    search.add_argument("--limit", type=int, default=5)
    remove = actions.add_parser("remove", parents=[place], help="take documents out of every version that can be served")
    remove.add_argument("documents", nargs="+")
    actions.add_parser("rebuild", parents=[place], help="write the index anew from the stored texts")
    actions.add_parser("refresh", parents=[place], help="fetch the web pages again")
    actions.add_parser("facts", parents=[place], help="let the model read facts for the graph out of documents it has not read")
    actions.add_parser("versions", parents=[place], help="the kept versions")
    rollback = actions.add_parser("rollback", parents=[place], help="serve an older version")
    rollback.add_argument("version")
    audience = actions.add_parser("audience", parents=[place, who], help="set the default audience of a folder")
    audience.add_argument("folder")
    graph = actions.add_parser("graph", parents=[place, who], help="load entities and relations from CSV or JSON, or look at one")
    graph.add_argument("target", metavar="FILE|ENTITY")
    directory = actions.add_parser("directory", parents=[place, who], help="load departments and who leads them from a platform")
    directory.add_argument("platform", help="feishu, dingtalk or wecom")
    actions.add_parser(
        "gaps",
        parents=[place],
        help="questions that found nothing good enough, and what people think of the passages that were cited",
    )
    care = actions.add_parser("care", parents=[place], help="stale documents, contradictions and copies")
    care.add_argument("--days", type=float, default=365, help="untouched for longer is stale (default 365)")

    evaluate = actions.add_parser("eval", help="measure recall, rank and time on questions whose passage is known")
    evaluate.add_argument("--passages", type=Path, required=True, help='JSON Lines of {"id","title","text"}')
    evaluate.add_argument("--questions", type=Path, required=True, help='JSON Lines of {"question","passage"}')
    evaluate.add_argument("--halves", action="store_true", help="also report the tuning half and the test half apart")
    evaluate.add_argument(
        "--unanswerable", action="store_true", help="also leave each topic out in turn and count the answers given all the same"
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command."""
    if args.action == "eval":
        return _eval(args)
    url, key = (args.url, args.api_key) if args.url else _running(args.data)
    call = _Remote(url, key) if url else _Local(args.data)
    try:
        return _add(args, call) if args.action == "add" else _ask(args, call)
    except InvalidSetting:
        raise
    except AssistantError as error:
        print(f"assistant kb {args.action}: {error}", file=sys.stderr)
        return 1


def _running(data: Path) -> tuple[str, str]:
    """Address and key of the local run over `data`, empty where there is none."""
    import httpx

    noted, key = data / "url", data / "api-key"
    if not noted.is_file() or not key.is_file():
        return "", ""
    url = noted.read_text(encoding="ascii").strip()
    try:
        alive = httpx.get(f"{url}/health", timeout=2).status_code in (200, 503)
    except httpx.HTTPError:  # it was killed and could not take its note away
        alive = False
    return (url, key.read_text(encoding="ascii").strip()) if alive else ("", "")


class _Local:
    """The knowledge in a folder, through the same door as the API."""

    def __init__(self, data: Path) -> None:
        from assistant.knowledge.default import default_file
        from assistant.knowledge.service import Service
        from assistant.knowledge.versions import Folder, Versions

        root = data / "knowledge"
        folder = Folder(root)
        self._service = Service(Versions(folder, folder, tenant="default"), start=default_file(root))

    def __call__(self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes = b"") -> tuple[int, Any]:
        from assistant.knowledge.service import answer

        return answer(self._service, method, path, query or {}, body, author=os.environ.get("USER", "local"))

    def add(self, uploads: Iterator[tuple[str, bytes]], query: Mapping[str, str], step: Any) -> dict[str, Any]:
        """All files in one edit."""
        from assistant.knowledge.service import Filing, Upload

        filing = Filing(
            folder=query["folder"],
            audience=frozenset(query["audience"].split()),
            owner=query["owner"],
            author=os.environ.get("USER", "local"),
        )
        files = (Upload(name=name, content=content) for name, content in uploads)
        return self._service.add(files, filing, progress=step).to_dict()


_TOO_LARGE: Final = (
    "it is larger than one request may be (about 4 MB on AWS, 10 MB in a local run); split it, or on AWS put it into the bucket"
    " under documents/FOLDER/"
)


class _Remote:
    """A running assistant's `/api/knowledge/`."""

    def __init__(self, url: str, api_key: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidSetting(f"--url {url!r} must begin with http:// or https://")
        self._url = url.rstrip("/")
        self._key = api_key

    def __call__(self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes = b"") -> tuple[int, Any]:
        import httpx

        target = f"{self._url}/api/knowledge/{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            reply = httpx.request(method, target, content=body, headers={"authorization": f"Bearer {self._key}"}, timeout=120)
            data = reply.json()
        except httpx.HTTPError as error:
            raise InvalidSetting(f"{self._url} does not answer ({type(error).__name__}); is it running?") from error
        except ValueError as error:
            raise InvalidSetting(f"{self._url} is no assistant: it answered {reply.status_code} without JSON") from error
        if reply.status_code == 401:
            raise InvalidSetting(f"{self._url} does not take this --api-key")
        return reply.status_code, data

    def add(self, uploads: Iterator[tuple[str, bytes]], query: Mapping[str, str], step: Any) -> dict[str, Any]:
        """One request a file: what is in stays in when it is interrupted."""
        total: dict[str, Any] = {"added": [], "unchanged": [], "refused": [], "version": ""}
        for name, content in uploads:
            status, data = self("PUT", "files", {**query, "name": name}, content)
            if status != 200:
                reason = data.get("error") or (_TOO_LARGE if status == 413 else str(status))
                data = {"refused": [{"name": name, "reason": reason}]}
            for state in ("added", "unchanged", "refused"):
                total[state] += data.get(state, [])
            total["version"] = data.get("version") or total["version"]
            step(name, next((s for s in ("refused", "added", "unchanged") if data.get(s)), "unchanged"))
        return total


_Call = _Local | _Remote


def _add(args: argparse.Namespace, call: _Call) -> int:
    urls = [s for s in args.sources if s.startswith(("http://", "https://"))]
    files = list(_files([Path(s) for s in args.sources if s not in urls]))
    query = {"folder": args.folder, "audience": args.audience, "owner": args.owner}
    report: dict[str, Any] = {"added": [], "unchanged": [], "refused": [], "version": ""}
    with _Bar(len(files) + len(urls), shown=not args.json and sys.stderr.isatty()) as bar:
        small, large = _sized(files)
        if small:
            report = call.add(((name, path.read_bytes()) for name, path in small), query, bar.step)
        for name, reason in large:
            report["refused"].append({"name": name, "reason": reason})
            bar.step(name, "refused")
        for url in urls:
            status, data = call("POST", "pages", query, json.dumps({"url": url}).encode())
            if status != 200:
                data = {"refused": [{"name": url, "reason": data.get("error", str(status))}]}
            for state in ("added", "unchanged", "refused"):
                report[state] += data.get(state, [])
            report["version"] = data.get("version") or report["version"]
            bar.step(url, "added" if data.get("added") else "unchanged")
    if args.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        for refused in report["refused"]:
            print(f"refused  {refused['name']}: {refused['reason']}")
        print(
            f"{len(report['added'])} added, {len(report['unchanged'])} unchanged, {len(report['refused'])} refused;"
            f" version {report['version'] or '(none)'}"
        )
    return 1 if report["refused"] else 0


def _sized(files: list[tuple[str, Path]]) -> tuple[list[tuple[str, Path]], list[tuple[str, str]]]:
    """The files that are not too large to be loaded, and those that are, with the reason."""
    from assistant.knowledge.loaders import Unreadable, check_size

    small, large = [], []
    for name, path in files:
        try:
            check_size(name, path.stat().st_size)
            small.append((name, path))
        except Unreadable as error:
            large.append((name, error.reason))
    return small, large


def _files(paths: list[Path]) -> Iterator[tuple[str, Path]]:
    """Name and place of every file below `paths`; hidden files and folders are passed over."""
    for path in paths:
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                inner = file.relative_to(path)
                if not any(part.startswith((".", "~$")) for part in inner.parts):
                    yield inner.as_posix(), file
        elif path.is_file():
            yield path.name, path
        else:
            raise InvalidSetting(f"there is no file or folder {str(path)!r}")


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._progress: Any = None
        if shown:
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True))
            self._task = self._progress.add_task("reading", total=total)

    def __enter__(self) -> _Bar:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def step(self, name: str, state: str) -> None:
        """One file further."""
        if self._progress:
            self._progress.update(self._task, advance=1, description=f"{state} {name[-40:]}")


_WORK: Final = {
    "care": "comparing documents",
    "directory": "reading the directory",
    "facts": "the model reads documents",
    "graph": "reading the graph",
    "rebuild": "writing the index anew",
    "refresh": "fetching the web pages",
    "remove": "taking documents out of every version",
}
"""What takes long, as the terminal says it meanwhile."""


def _ask(args: argparse.Namespace, call: _Call) -> int:
    with working(_WORK.get(args.action, "looking"), quiet=args.json):
        status, data = _request(args, call)
    if status != 200:
        print(f"assistant kb {args.action}: {data.get('error', status)}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(data, ensure_ascii=False))
    else:
        for line in _lines(args, data):
            print(line)
    return 1 if data.get("unknown") else 0


def _request(args: argparse.Namespace, call: _Call) -> tuple[int, Any]:
    audience = getattr(args, "audience", "")
    match args.action:
        case "list":
            return call("GET", "documents", {"audience": audience})
        case "show":
            return call("GET", "document", {"id": args.document})
        case "search":
            return call("GET", "search", {"q": args.question, "audience": audience, "limit": str(args.limit)})
        case "remove":
            return call("DELETE", "documents", {}, json.dumps({"ids": args.documents}).encode())
        case "rebuild" | "versions" | "gaps":
            return call("POST" if args.action == "rebuild" else "GET", args.action)
        case "care":
            return call("GET", "care", {"days": str(args.days)})
        case "refresh":
            return call("POST", "pages/refresh")
        case "facts":
            return call("POST", "facts")
        case "directory":
            return call("POST", "graph/directory", {"audience": audience}, json.dumps({"platform": args.platform}).encode())
        case "rollback":
            return call("POST", "rollback", {}, json.dumps({"version": args.version}).encode())
        case "audience":
            return call("POST", "audience", {"folder": args.folder, "audience": audience})
        case _:
            path = Path(args.target)
            if path.suffix.lower() in {".csv", ".json"}:
                if not path.is_file():
                    raise InvalidSetting(f"there is no file {args.target!r}")
                return call("PUT", "graph/load", {"name": path.name, "audience": audience}, path.read_bytes())
            return call("GET", "graph/walk", {"entity": args.target, "audience": audience})


def _lines(args: argparse.Namespace, data: Any) -> Iterator[str]:
    match args.action:
        case "list":
            for d in data["documents"]:
                yield f"{d['id']:<50} {d['passages']:>4} passages  {' '.join(d['audience'])}  {d['title']}"
        case "show":
            yield f"{data['title']} ({data['id']})  {' '.join(data['audience'])}  {data['url']}".rstrip()
            for part in data["text"]:
                where = part["path"] + (f" p. {part['page']}" if part["page"] else "")
                yield f"\n[{where}]\n{part['text']}"
        case "search":
            yield f"{'found' if data['confident'] else 'nothing good enough'} (certainty {data['certainty']})"
            yield from (f"fact  {fact}" for fact in data["facts"])
            for number, p in enumerate(data["passages"], 1):
                where = " › ".join(filter(None, [p["title"], p["path"], f"p. {p['page']}" if p["page"] else ""]))
                yield f"{number}. {p['score']:>7.2f}  {where}\n   {' '.join(p['text'].split())[:160]}"
        case "remove":
            yield from (f"removed {d}" for d in data["removed"])
            yield from (f"no such document {d}" for d in data["unknown"])
            yield f"from {len(data['versions'])} versions, checked"
        case "versions":
            for v in data["versions"]:
                at = datetime.fromtimestamp(v["published"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                mark = "*" if v["name"] == data["current"] else " "
                held = f"{v['documents']} documents, {v['passages']} passages, {v['size'] // 1024} KiB"
                yield f"{mark} {v['name']}  {at}  {held}  {v['note']}"
        case "gaps":
            yield from (f"{g['count']:>4} × {g['question']}" for g in data["gaps"])
            yield from (f"{f['good']:>4} helpful {f['bad']:>4} not  {f['passage']}" for f in data["feedback"])
        case "care":
            yield from (f"stale     {d['id']}  {d['owner']}".rstrip() for d in data["stale"])
            yield from (f"{c['kind']:<9} {c['first']}  {c['second']}  {c['detail']}" for c in data["conflicts"])
            yield from (f"gone      {p['name']}  {p['reason']}" for p in data["pages"].get("refused", ()))
        case "graph" if "edges" in data:
            names = {n["id"]: n["name"] for n in data["nodes"]}
            yield f"{data['entity']['name']} ({data['entity']['kind']}) {data['entity']['description']}".rstrip()
            yield from (f"  {names[e['subject']]} —{e['kind']}→ {names[e['object']]}  [{e['source']}]" for e in data["edges"])
        case _:
            yield ", ".join(f"{k}: {v}" for k, v in data.items() if v not in ("", [], None))


def _eval(args: argparse.Namespace) -> int:
    from assistant.knowledge import evaluation

    documents = evaluation.read_passages(args.passages)
    questions = evaluation.read_questions(args.questions)
    with working(f"asking {len(questions)} questions", quiet=args.json):
        result: dict[str, object] = {"passages": len(documents), **asdict(evaluation.evaluate(documents, questions))}
    if args.halves:
        for half, name in enumerate(("tuning", "test")):
            part = [q for q in questions if _half(q.text) == half]
            with working(f"asking the {name} half", quiet=args.json):
                result[f"{name}_half"] = asdict(evaluation.evaluate(documents, part)) if part else None
    if args.unanswerable:
        with working("leaving each topic out in turn", quiet=args.json):
            result["unanswerable"] = asdict(evaluation.honesty(documents, questions))
    if args.json:
        print(json.dumps(result))
    else:
        _show(result)
    return 0


def _half(text: str) -> int:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] % 2


def _show(result: Mapping[str, object], indent: str = "") -> None:
    names = {"recall_at_1": "recall@1", "recall_at_5": "recall@5", "mrr_at_10": "MRR@10", "ms_per_question": "ms per question"}
    for key, value in result.items():
        label = names.get(key, key.replace("_", " "))
        if isinstance(value, dict):
            print(f"{indent}{label}:")
            _show(value, indent + "  ")
        else:
            print(f"{indent}{label:<30} {value}")
