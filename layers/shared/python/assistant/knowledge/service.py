"""What editors do with the knowledge: one set of functions for the command line, the HTTP API and uploads.

`answer` is the HTTP door: the API hands it method, path below `/api/knowledge/`, query and body, once the caller is proven.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import ModelError, Refused, Unavailable
from assistant.knowledge import Knowledge, loaders
from assistant.knowledge.care import STALE_DAYS, stale
from assistant.knowledge.documents import EVERYONE, Document
from assistant.knowledge.extract import Ask, Fact, file_facts, read
from assistant.knowledge.gaps import Gaps
from assistant.knowledge.graph import Department, GraphWriter
from assistant.knowledge.loaders import LIMITS, Limits, Loaded, Unreadable, suffix, unpack
from assistant.knowledge.store import Listed
from assistant.knowledge.versions import Edit, Served, Start, Version, Versions, start_file
from assistant.knowledge.web import NotFetched, Page, fetch
from assistant.observability import log

if TYPE_CHECKING:
    from assistant.knowledge.vectors import Semantic

logger = logging.getLogger(__name__)

BATCH: Final = 500
"""Documents after which a long addition is published, so that an interrupted one goes on from there."""

PAGES_SECONDS: Final = 300.0
"""How long pages are fetched before the rest is left for the next time."""

FACTS_SECONDS: Final = 300.0
"""How long a model reads documents before the rest is left for the next time."""

MOST_REMOVED: Final = 200
"""Documents of one request to remove: for each of them the bucket is asked."""

_PREFIXES: Final = ("user:", "department:", "group:", "ring:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file to take in. `name` is its path below what was chosen; it decides the document's id together with the folder."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """Where documents go and who may see them."""

    folder: str = ""
    audience: frozenset[str] = frozenset()
    """Empty: the folder's audience, which is everyone's where nobody set another."""
    owner: str = ""
    author: str = ""
    """Who adds them."""


@dataclass(slots=True)
class Report:
    """What became of an addition."""

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason."""
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"refused": [{"name": n, "reason": r} for n, r in self.refused]}


Progress = Callable[[str, str], None]
"""Told `(name, "added" | "unchanged" | "refused")` after each file."""


def _silent(name: str, state: str) -> None:
    """Shows nothing."""


class Service:
    """The knowledge of one tenant, for editors."""

    def __init__(
        self,
        versions: Versions,
        *,
        start: Start = None,
        gaps: Gaps | None = None,
        limits: Limits = LIMITS,
        fetch_page: Callable[..., Page] = fetch,
        semantic: Semantic | None = None,
        ask: Ask | None = None,
        unread_folders: frozenset[str] = frozenset(),
        directory: Callable[[str], Iterable[Department]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ask`: a model that reads facts out of documents, but not out of those in `unread_folders`. `directory`: the
        departments of the platform with that name."""
        self._directory = directory
        self._ask = ask
        self._unread_folders = unread_folders
        self._semantic = semantic
        self._versions = versions
        self._start = start
        self.gaps = gaps
        self._limits = limits
        self._fetch = fetch_page
        self._clock = clock

    # --- in ---

    def add(self, uploads: Iterable[Upload], filing: Filing = Filing(), *, progress: Progress = _silent) -> Report:
        """Takes files in, zips opened; publishes every 500 documents and at the end, also when it is interrupted.

        What has not changed since it was last taken in is skipped without being read again.
        """
        check_audience(filing.audience)
        report = Report()
        waiting = iter(self._files(uploads, report, progress))
        more = True
        while more:
            with self._versions.edit(author=filing.author, note=f"add {filing.folder}".strip(), start=self._start) as edit:
                before = len(report.added)
                more = False
                try:
                    for upload in waiting:
                        self._take(edit, upload, filing, report, progress)
                        if len(report.added) - before >= BATCH:
                            more = True
                            break
                except KeyboardInterrupt:
                    report.refused.append(("(the rest)", "interrupted; what came before is in, start again to go on"))
                edit.changed |= len(report.added) > before
                self._file(edit)
            report.version = self._versions.catalogue().current
        return report

    def add_page(self, url: str, filing: Filing = Filing()) -> Report:
        """Takes a web page in by its address. What cannot be fetched or read is refused by name."""
        check_audience(filing.audience)
        return self._add_pages([(url, filing)], author=filing.author, note=f"add {url}")

    def refresh_pages(self, *, author: str = "") -> Report:
        """Fetches every web page that was taken in again, the one longest untouched first; a page that is gone is reported, not
        removed. All that changed becomes one version."""
        pages = [
            (d.origin, Filing(folder=d.folder, audience=frozenset() if d.inherits else d.audience, owner=d.owner, author=author))
            for d in sorted(self.documents(), key=lambda d: d.added)
            if d.origin.startswith(("http://", "https://"))
        ]
        report = self._add_pages(pages, author=author, note="refresh")
        if self.gaps:
            self.gaps.note_refresh(report.to_dict())
        return report

    def _add_pages(self, pages: Sequence[tuple[str, Filing]], *, author: str, note: str) -> Report:
        report = Report()
        loaded = self._load_pages([url for url, _ in pages])
        if any(isinstance(found, tuple) for found in loaded.values()):
            with self._versions.edit(author=author, note=note, start=self._start) as edit:
                for url, filing in pages:
                    match loaded[url]:
                        case str(reason):
                            report.refused.append((url, reason))
                        case (page, text):
                            fingerprint = hashlib.sha256(page.content).hexdigest()
                            document = self._document(url, text, filing, edit, fingerprint)
                            changed = edit.writer.add(replace(document, url=page.url, origin=url))
                            (report.added if changed else report.unchanged).append(url)
                edit.changed |= bool(report.added)
                self._file(edit)
        else:
            report.refused += [(url, str(reason)) for url, reason in loaded.items()]
        report.version = self._versions.catalogue().current
        return report

    def _load_pages(self, urls: Sequence[str]) -> dict[str, str | tuple[Page, Loaded]]:
        """Each page with its text, or the reason why there is none; several at a time, for as long as a writer may take."""
        end = time.monotonic() + PAGES_SECONDS

        def load(url: str) -> str | tuple[Page, Loaded]:
            if time.monotonic() > end:
                return "there was no time left for it; it comes first the next time"
            try:
                page = self._fetch(url)
                return page, page.load()
            except (NotFetched, Unreadable) as error:
                return str(error)

        if len(urls) == 1:
            return {urls[0]: load(urls[0])}
        with ThreadPoolExecutor(max_workers=8) as pool:
            return dict(zip(urls, pool.map(load, urls), strict=True))

    @property
    def reads_facts(self) -> bool:
        """Whether there is a model that reads documents."""
        return self._ask is not None

    def read_facts(self, *, seconds: float = FACTS_SECONDS) -> dict[str, int]:
        """Lets the model read what documents state about who and what the company consists of, each document once, and writes it
        into the graph; gives how many documents were read, how many facts are new, and how many documents are left.

        The model is asked before anything is locked, for at most `seconds`. Raises Refused where there is no model.
        """
        if self._ask is None:
            raise Refused("no model is configured that could read documents; choose one with MODEL, other than builtin")
        with self._open() as knowledge:
            waiting = knowledge.unread(besides=self._unread_folders)
            found: list[tuple[Listed, list[Fact]]] = []
            end = time.monotonic() + seconds
            for listed in waiting:
                if time.monotonic() > end:
                    break
                facts = read(knowledge.whole(listed.id), self._ask, until=end)
                if facts is None:
                    break  # the model does not answer: the next time goes on here
                found.append((listed, facts))
        new = 0
        if found:
            with self._versions.edit(author="model", note=f"facts of {len(found)} documents", start=self._start) as edit:
                graph = GraphWriter(edit.writer, author="model", clock=self._clock)
                for listed, facts in found:
                    if edit.writer.mark_read(listed.id, listed.checksum, at=self._clock()):
                        new += file_facts(graph, facts)
                        edit.changed = True
        return {"read": len(found), "facts": new, "left": len(waiting) - len(found)}

    def load_graph(
        self, name: str, content: bytes, *, audience: frozenset[str] = frozenset({EVERYONE}), author: str = ""
    ) -> tuple[int, int]:
        """Writes entities and relations out of CSV or JSON; gives how many of each are new or changed. Raises Refused."""
        check_audience(audience)
        with self._versions.edit(author=author, note=f"graph {name}", start=self._start) as edit:
            entities, relations = GraphWriter(edit.writer, author=author, clock=self._clock).load(
                name, content, audience=audience
            )
            edit.changed |= bool(entities or relations)
        return entities, relations

    def load_directory(
        self, platform: str, *, audience: frozenset[str] = frozenset({EVERYONE}), author: str = ""
    ) -> dict[str, int]:
        """Writes the platform's departments and who leads them into the graph, in place of what its directory said before."""
        check_audience(audience)
        if self._directory is None:
            raise Refused("the directory of a platform is read by a running assistant: give --url and --api-key")
        departments = list(self._directory(platform))
        if not departments:
            raise Refused(f"{platform} names no departments; see docs/knowledge.md for the permissions that it needs")
        with self._versions.edit(author=author, note=f"directory of {platform}", start=self._start) as edit:
            graph = GraphWriter(edit.writer, author=author, clock=self._clock)
            entities, relations = graph.load_directory(f"directory of {platform}", departments, audience=audience)
            edit.changed |= bool(entities or relations)
        return {"departments": len(departments), "entities": entities, "relations": relations}

    def edit_graph(self, action: str, values: Mapping[str, str], *, author: str = "") -> None:
        """`rename` (entity, name), `merge` (entity, into), `delete` (entity) or `unrelate` (subject, kind, object)."""
        with self._versions.edit(author=author, note=f"graph {action}", start=self._start) as edit:
            graph = GraphWriter(edit.writer, author=author, clock=self._clock)
            try:
                match action:
                    case "rename":
                        graph.rename(values["entity"], values["name"])
                    case "merge":
                        graph.merge(values["entity"], into=values["into"])
                    case "delete":
                        graph.delete(values["entity"])
                    case "unrelate":
                        graph.unrelate(values["subject"], values["kind"], values["object"])
                    case _:
                        raise Refused(f"unknown action {action!r}; known: rename, merge, delete, unrelate")
            except KeyError as error:
                raise Refused(f"{action} needs {error.args[0]!r}") from error
            edit.changed = True

    def set_audience(self, folder: str, audience: frozenset[str], *, author: str = "") -> int:
        """Makes `audience` the default of the folder and of what is in it by default; gives how many documents changed."""
        check_audience(audience, needed=True)
        with self._versions.edit(author=author, note=f"audience of {folder or '/'}", start=self._start) as edit:
            changed = edit.writer.set_folder_audience(folder, audience)
            self._file(edit)
            edit.changed = True
            edit.compact = True
        return changed

    # --- out ---

    def documents(self, *, audience: frozenset[str] | None = None) -> list[Listed]:
        """All documents, or those that `audience` may see."""
        with self._open() as knowledge:
            return knowledge.documents(audience=audience)

    def show(self, document: str) -> dict[str, Any]:
        """A document with its passages. Raises Refused (404)."""
        with self._open() as knowledge:
            listed, passages = knowledge.document(document)
        return _listed(listed) | {"text": [{"path": p.path, "page": p.page, "text": p.text} for p in passages]}

    def search(self, question: str, *, audience: frozenset[str], limit: int = 5) -> dict[str, Any]:
        """What somebody with `audience` would find."""
        with self._open() as knowledge:
            found = knowledge.search(question, audience=audience, limit=limit)
        return asdict(found) | {"certainty": round(found.certainty, 3)}

    def remove(self, documents: Sequence[str], *, author: str = "") -> dict[str, Any]:
        """Takes documents out of every version that can be served, and proves it by reading the published files again."""
        report = self._versions.remove(documents, author=author, semantic=self._semantic)
        left: list[str] = []
        named, archives = set(documents), tuple(f"{d}/" for d in documents if suffix(d) == ".zip")
        for version in self._versions.catalogue().versions:
            with self._open(version) as knowledge:
                left += [f"{version.name}: {d.id}" for d in knowledge.documents() if d.id in named or d.id.startswith(archives)]
        if left:
            raise Unavailable(f"not everything could be removed, try again: {', '.join(left)}")
        removed = sorted({d for gone in report.values() for d in gone})
        unknown = sorted(d for d in named - set(removed) if not any(r.startswith(f"{d}/") for r in removed))
        return {"removed": removed, "unknown": unknown, "versions": report}

    def rebuild(self, *, author: str = "") -> Version | None:
        """Writes the index anew from the stored texts: after a new program version, or to make the file small."""
        with self._versions.edit(author=author, note="rebuild", start=self._start) as edit:
            edit.writer.rebuild()
            self._file(edit)
            edit.changed = edit.compact = True
        return self._versions.catalogue().served

    def versions(self) -> dict[str, Any]:
        """The kept versions, new to old, and which one is served."""
        catalogue = self._versions.catalogue()
        return {"current": catalogue.current, "versions": [asdict(v) for v in reversed(catalogue.versions)]}

    def roll_back(self, version: str) -> Version:
        """Serves an older version. Raises Refused (404)."""
        return self._versions.roll_back(version)

    def entities(self, matching: str, *, audience: frozenset[str]) -> list[dict[str, str]]:
        """Entities of the graph whose name begins with `matching`."""
        with self._open() as knowledge:
            return knowledge.entities(audience=audience, matching=matching)

    def walk(self, entity: str, *, audience: frozenset[str]) -> dict[str, Any]:
        """An entity and what is around it. Raises Refused (404)."""
        with self._open() as knowledge:
            return knowledge.walk(entity, audience=audience)

    def care(self, *, days: float = STALE_DAYS) -> dict[str, Any]:
        """What wants looking after: stale documents, contradictions and copies, gaps, passages with bad feedback."""
        with self._open() as knowledge:
            return {
                "stale": [_listed(d) for d in stale(knowledge.documents(), now=self._clock(), days=days)],
                "conflicts": [asdict(c) for c in knowledge.conflicts()],
                "gaps": self.gaps.open() if self.gaps else [],
                "feedback": self.gaps.judged() if self.gaps else [],
                "pages": self.gaps.refreshed() if self.gaps else {},
            }

    # --- inside ---

    def _files(self, uploads: Iterable[Upload], report: Report, progress: Progress) -> Iterator[Upload]:
        for upload in uploads:
            if suffix(upload.name) != ".zip":
                yield upload
                continue
            try:
                for name, content in unpack(upload.name, upload.content, limits=self._limits):
                    if isinstance(content, Unreadable):
                        report.refused.append((f"{upload.name}/{name}", content.reason))
                        progress(name, "refused")
                    else:
                        yield Upload(name=f"{upload.name}/{name}", content=content)
            except Unreadable as error:
                report.refused.append((upload.name, error.reason))
                progress(upload.name, "refused")

    def _take(self, edit: Edit, upload: Upload, filing: Filing, report: Report, progress: Progress) -> None:
        name = "/".join(p for p in PurePosixPath(upload.name.replace("\\", "/")).parts if p not in {"/", "..", "."})
        document_id = f"{filing.folder.strip('/')}/{name}" if filing.folder.strip("/") else name
        fingerprint = hashlib.sha256(repr(sorted(filing.audience)).encode() + filing.owner.encode() + upload.content).hexdigest()
        if edit.writer.fingerprint(document_id) == fingerprint:
            report.unchanged.append(document_id)
            progress(name, "unchanged")
            return
        try:
            loaded = loaders.read(name, upload.content, limits=self._limits)
        except Unreadable as error:
            report.refused.append((upload.name, error.reason))
            progress(name, "refused")
            return
        edit.writer.add(self._document(document_id, loaded, filing, edit, fingerprint))
        report.added.append(document_id)
        progress(name, "added")

    def _document(self, document_id: str, loaded: Loaded, filing: Filing, edit: Edit, fingerprint: str) -> Document:
        folder = filing.folder.strip("/")
        return Document(
            id=document_id,
            title=loaded.title,
            sections=loaded.sections,
            url=loaded.about.get("url", ""),
            audience=filing.audience or edit.writer.folder_audience(folder),
            inherits=not filing.audience,
            language=loaded.about.get("language", ""),
            folder=folder,
            owner=filing.owner or loaded.about.get("owner", ""),
            origin=document_id,
            fingerprint=fingerprint,
        )

    def _file(self, edit: Edit) -> None:
        """Gives new passages their vectors. Without the embedder they are found by words, and embedded with the next change."""
        if self._semantic is not None:
            try:
                edit.changed |= self._semantic.file(edit.writer) > 0
            except (Unavailable, ModelError) as error:
                log(logger, logging.WARNING, "passages wait for their vectors", event_reason=type(error).__name__)

    @cached_property
    def _folder(self) -> Path:
        """Where the served file is kept for reading; goes with this object or the process."""
        folder = Path(tempfile.mkdtemp(prefix="knowledge-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _open(self, version: Version | None = None) -> _Opened:
        return _Opened(self._versions, version, self._start, self._folder, self._semantic)


class _Opened:
    """One version, open for the length of a `with` block. The served one's file is kept until another is served."""

    def __init__(
        self,
        versions: Versions,
        version: Version | None,
        start: Start,
        folder: Path,
        semantic: Semantic | None,
    ) -> None:
        self._versions = versions
        self._version = version
        self._start = start
        self._folder = folder
        self._semantic = semantic

    def __enter__(self) -> Knowledge:
        self._knowledge = Knowledge(self._path(), semantic=self._semantic)
        return self._knowledge

    def __exit__(self, *_: object) -> None:
        self._knowledge.close()
        if self._version is not None:
            self._knowledge.path.unlink(missing_ok=True)

    def _path(self) -> Path:
        if self._version is not None:
            path = self._folder / f"once-{self._version.object.replace('/', '_')}"
            self._versions.fetch(self._version, path)
            return path
        if (served := self._versions.catalogue().served) is not None:
            path = self._folder / served.object.replace("/", "_")
            if not path.is_file():
                self._versions.fetch(served, path)
                for other in self._folder.iterdir():
                    if other != path and not other.name.startswith((".", "once-")):
                        other.unlink(missing_ok=True)  # readers under way keep it until they close it
            return path
        if first := start_file(self._start):
            return first
        raise Refused("there is no knowledge yet; add some with: assistant kb add PATH", status=404)


def check_audience(audience: frozenset[str], *, needed: bool = False) -> None:
    """Raises Refused for a token that no asker can hold: a typing mistake must not hide a document from everybody."""
    wrong = [t for t in audience if t != EVERYONE and not (t.startswith(_PREFIXES) and t.partition(":")[2].strip())]
    if wrong or (needed and not audience):
        raise Refused(
            f"audience {', '.join(sorted(wrong)) or '(empty)'!r}: write everyone, department:ID, group:ID, user:PLATFORM:ID"
            " or ring:NAME"
        )


def _listed(listed: Listed) -> dict[str, Any]:
    return asdict(listed) | {"audience": sorted(listed.audience)}


# --- the HTTP door -----------------------------------------------------------------------------


def answer(
    service: Service, method: str, path: str, query: Mapping[str, str], body: bytes, *, author: str = "api"
) -> tuple[int, Any]:
    """Status and JSON for a request below `/api/knowledge/`. Raises Unavailable; everything else is answered."""
    try:
        return 200, _answer(service, method, path.strip("/"), query, body, author)
    except Refused as error:
        return error.status, {"error": str(error)}
    except RecursionError:
        return 400, {"error": f"{method} {path}: the body is nested too deeply"}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        detail = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        return 400, {"error": f"{method} {path}: {detail}"}


def _answer(service: Service, method: str, path: str, query: Mapping[str, str], body: bytes, author: str) -> Any:
    audience = frozenset(query.get("audience", "").split())
    who = audience or frozenset({EVERYONE})
    filing = Filing(folder=query.get("folder", ""), audience=audience, owner=query.get("owner", ""), author=author)
    match method, path:
        case "GET", "documents":
            return {"documents": [_listed(d) for d in service.documents(audience=audience or None)]}
        case "GET", "document":
            return service.show(query["id"])
        case "DELETE", "documents":
            return service.remove(_ids(body), author=author)
        case "PUT" | "POST", "files":
            return service.add([Upload(name=query["name"], content=body)], filing).to_dict()
        case "POST", "pages":
            return service.add_page(_text(body, "url"), filing).to_dict()
        case "POST", "pages/refresh":
            return service.refresh_pages(author=author).to_dict()
        case "POST", "facts":
            return service.read_facts(seconds=min(FACTS_SECONDS, float(query.get("seconds", "20"))))
        case "POST", "audience":
            return {"changed": service.set_audience(query.get("folder", ""), audience, author=author)}
        case "GET", "search":
            return service.search(query["q"], audience=who, limit=max(1, min(50, int(query.get("limit", "5")))))
        case "GET", "versions":
            return service.versions()
        case "POST", "rollback":
            return asdict(service.roll_back(_text(body, "version")))
        case "POST", "rebuild":
            version = service.rebuild(author=author)
            return asdict(version) if version else {}
        case "GET", "gaps":
            gaps = service.gaps
            return {"gaps": gaps.open() if gaps else [], "feedback": gaps.judged() if gaps else []}
        case "GET", "care":
            return service.care(days=float(query.get("days", str(STALE_DAYS))))
        case "DELETE", "gaps":
            if service.gaps:
                service.gaps.close(query["id"])
            return {}
        case "GET", "graph":
            return {"entities": service.entities(query.get("q", ""), audience=who)}
        case "GET", "graph/walk":
            return service.walk(query["entity"], audience=who)
        case "PUT" | "POST", "graph/load":
            entities, relations = service.load_graph(query["name"], body, audience=who, author=author)
            return {"entities": entities, "relations": relations}
        case "POST", "graph/directory":
            return service.load_directory(_text(body, "platform"), audience=who, author=author)
        case "POST", "graph/edit":
            values = {k: str(v) for k, v in _object(body).items()}
            service.edit_graph(values.pop("action"), values, author=author)
            return {}
        case _:
            raise Refused(f"no {method} /api/knowledge/{path}", status=404)


def _object(body: bytes) -> dict[str, Any]:
    data = json.loads(body)
    if not isinstance(data, dict):
        raise Refused("the body must be a JSON object")
    json.dumps(data, ensure_ascii=False).encode()  # half a character, which JSON can spell, can be neither kept nor answered
    return data


def _text(body: bytes, name: str) -> str:
    value = _object(body)[name]
    if not isinstance(value, str) or not value:
        raise Refused(f"{name!r} must be a text")
    return value


def _ids(body: bytes) -> list[str]:
    """Names of documents. A text is none: its letters would be taken for names."""
    ids = _object(body)["ids"]
    if not isinstance(ids, list) or not all(isinstance(i, str) and i for i in ids):
        raise Refused("'ids' must be a list of names of documents")
    if len(ids) > MOST_REMOVED:
        raise Refused(f"{len(ids)} documents; at most {MOST_REMOVED} are removed at a time")
    return list(dict.fromkeys(ids))


__all__ = ["Filing", "Report", "Served", "Service", "Upload", "answer", "check_audience"]
