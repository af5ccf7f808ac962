"""Published versions of a tenant's knowledge: written by one, read by all, swapped at once, gone back to at will.

A version is a SQLite file in the bucket that never changes. The catalogue, one small JSON text, says which versions are kept
and which one is served; it is replaced by compare-and-set, so that two writers cannot undo each other and a reader sees the
old state or the new one. A writer takes a lease first, which only saves it work in vain.

| item of the table | pk | sk | holds |
|---|---|---|---|
| catalogue | `N#tenant` | `catalogue` | `edition` (compared and set), `body`: the JSON |
| lease | `N#tenant` | `lease` | `owner`, `until` |
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias

from assistant.errors import Refused, Unavailable
from assistant.knowledge import Found, Knowledge
from assistant.knowledge.store import BrokenKnowledge, Writer
from assistant.storage import Conflict, Item, Table, key

if TYPE_CHECKING:
    from assistant.knowledge.vectors import Semantic

LEASE_SECONDS: Final = 300
UPLOADED: Final = "documents/"
"""Where files are put into the bucket to be taken in; below it stands the document's id."""
LONGEST_KEY: Final = 1024
"""Bytes. Source: docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""
KEPT: Final = 10
"""Versions that can be gone back to, the served one among them."""


Start: TypeAlias = "Path | Callable[[], Path] | None"
"""The file to begin with where nothing is published yet, or what makes it when it is needed: it seldom is."""


def start_file(start: Start) -> Path | None:
    """The file to begin with, made by now; None where there is none."""
    path = start() if callable(start) else start
    return path if path is not None and path.is_file() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One published state of the knowledge."""

    name: str
    object: str
    """Path in the bucket; a new one whenever the bytes are new."""
    sha256: str
    size: int
    published: float
    """Unix time."""
    author: str = ""
    note: str = ""
    documents: int = 0
    passages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Which versions there are, old to new, and which one is served."""

    edition: int = 0
    current: str = ""
    next: int = 1
    versions: tuple[Version, ...] = field(default=())

    @property
    def served(self) -> Version | None:
        """The version that answers come from."""
        return next((v for v in self.versions if v.name == self.current), None)

    def to_json(self) -> str:
        """The catalogue as text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The catalogue in `text`."""
        data = json.loads(text)
        return cls(
            edition=data["edition"],
            current=data["current"],
            next=data["next"],
            versions=tuple(Version(**v) for v in data["versions"]),
        )


class Objects(Protocol):
    """Where files are kept: `storage.Bucket`, or a folder."""

    def get(self, path: str) -> bytes:
        """The whole object; KeyError where there is none."""

    def put(self, path: str, content: bytes) -> None:
        """Writes the object at once."""

    def delete(self, path: str) -> None:
        """Removes the object."""

    def purge(self, prefix: str, *, keep: frozenset[str] = frozenset()) -> int:
        """Removes, with every version that the store itself keeps, what starts with `prefix` and is not in `keep`."""

    def purge_one(self, path: str) -> int:
        """Removes the object at that very path, with every version that the store itself keeps."""

    def list(self, prefix: str) -> Iterable[str]:
        """Paths that start with `prefix`."""


class Desk(Protocol):
    """Where the catalogue lies and where the one writer sits."""

    def read(self) -> Catalogue:
        """The catalogue as it is now."""

    def replace(self, catalogue: Catalogue, *, edition: int) -> None:
        """Puts `catalogue` in place of the one with `edition`. Raises Conflict where another writer was quicker."""

    def take(self, owner: str) -> None:
        """Takes or renews the lease. Raises Unavailable while another writer holds it."""

    def release(self, owner: str) -> None:
        """Gives the lease back."""


class TableDesk:
    """The catalogue and the lease in the table."""

    def __init__(self, table: Table, *, tenant: str, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._pk = key("N", tenant)
        self._clock = clock

    def read(self) -> Catalogue:
        """The catalogue; an empty one before the first version."""
        item = self._table.get(self._pk, "catalogue")
        return Catalogue.from_json(str(item["body"])) if item else Catalogue()

    def replace(self, catalogue: Catalogue, *, edition: int) -> None:
        """Compare-and-set on the edition."""
        item: Item = {"pk": self._pk, "sk": "catalogue", "edition": catalogue.edition, "body": catalogue.to_json()}
        if edition:
            self._table.put(item, condition="#edition = :edition", values={"edition": edition})
        else:
            self._table.put(item, condition="attribute_not_exists(#pk)")

    def take(self, owner: str) -> None:
        """A conditional write that succeeds where the lease is free, ended or ours."""
        now = self._clock()
        try:
            self._table.put(
                {"pk": self._pk, "sk": "lease", "owner": owner, "until": now + LEASE_SECONDS, "expires": int(now) + 3600},
                condition="attribute_not_exists(#pk) OR #until < :now OR #owner = :owner",
                values={"now": now, "owner": owner},
            )
        except Conflict as conflict:
            wait = max(1.0, float(conflict.item.get("until") or now + LEASE_SECONDS) - now)
            raise Unavailable("another writer is changing the knowledge", retry_after=wait) from conflict

    def release(self, owner: str) -> None:
        """Ends our lease; somebody else's stays."""
        with suppress(Conflict):
            self._table.update(self._pk, "lease", {"until": 0}, condition="#owner = :owner", values={"owner": owner})


class Folder:
    """A folder as bucket and desk in one: for the command line without a server. Whole files, replaced at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: Any = None  # an open file; its type differs between the platforms' lock calls

    def get(self, path: str) -> bytes:
        """The file's bytes."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise KeyError(path) from None

    def put(self, path: str, content: bytes) -> None:
        """Writes beside and renames."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        unfinished.write_bytes(content)
        unfinished.replace(target)

    def delete(self, path: str) -> None:
        """Removes the file."""
        (self.root / path).unlink(missing_ok=True)

    def purge(self, prefix: str, *, keep: frozenset[str] = frozenset()) -> int:
        """Removes the files; a folder keeps no older versions."""
        gone = [path for path in self.list(prefix) if path not in keep]
        for path in gone:
            self.delete(path)
        return len(gone)

    def purge_one(self, path: str) -> int:
        """Removes the file; a folder keeps no older versions."""
        if path not in self.list(path):  # nor is one outside the folder
            return 0
        self.delete(path)
        return 1

    def list(self, prefix: str) -> Iterable[str]:
        """Paths below the folder, in order."""
        paths = (p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file())
        return sorted(p for p in paths if p.startswith(prefix))

    def read(self) -> Catalogue:
        """The catalogue in `catalogue.json`."""
        try:
            return Catalogue.from_json(self.get("catalogue.json").decode())
        except KeyError:
            return Catalogue()

    def replace(self, catalogue: Catalogue, *, edition: int) -> None:
        """Compare-and-set under the lock that `take` holds."""
        if self.read().edition != edition:
            raise Conflict("the knowledge was changed meanwhile")
        self.put("catalogue.json", catalogue.to_json().encode())

    def take(self, owner: str) -> None:  # the process is the owner: the lock ends with it
        """Locks the folder for this process."""
        import fcntl

        if self._lock is not None:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        lock = (self.root / ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise Unavailable(f"another process is changing the knowledge in {self.root}", retry_after=1.0) from error
        self._lock = lock

    def release(self, owner: str) -> None:
        """Unlocks the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Edit:
    """A change under way: `writer` changes a copy that nobody reads."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self.writer = Writer(path, clock=clock)
        self.changed = False
        """Set by whoever changes something; an edit without change publishes nothing."""
        self.note = ""
        self.compact = False
        """True where what was removed must be gone from every page of the file."""


def _can_be_uploaded(document: str) -> bool:
    """Whether an object can have this document's name: a page's address may be longer than any."""
    return bool(document) and "\0" not in document and len(f"{UPLOADED}{document}".encode("utf-8", "replace")) <= LONGEST_KEY


def _is_archive(name: str) -> bool:
    return name.lower().endswith(".zip")


class Versions:
    """The published versions of one tenant."""

    def __init__(
        self,
        objects: Objects,
        desk: Desk,
        *,
        tenant: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._objects = objects
        self._desk = desk
        self._prefix = f"knowledge/{key(tenant)}/"
        self._clock = clock

    def catalogue(self) -> Catalogue:
        """Which versions there are and which one is served."""
        return self._desk.read()

    def fetch(self, version: Version, target: Path) -> None:
        """Writes the version's file to `target` at once. Raises BrokenKnowledge where its bytes are not the published ones."""
        try:
            content = self._objects.get(version.object)
        except KeyError:
            raise Unavailable(f"knowledge version {version.name} is gone from the bucket") from None
        if hashlib.sha256(content).hexdigest() != version.sha256:
            raise BrokenKnowledge(f"knowledge version {version.name} is damaged; go back with: assistant kb rollback VERSION")
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        unfinished.write_bytes(content)
        unfinished.replace(target)

    @contextmanager
    def edit(self, *, author: str = "", note: str = "", start: Start = None) -> Iterator[Edit]:
        """A copy of the served version to change; published when the block ends well, thrown away when it raises.

        `start` is the file to begin with where nothing is published yet (the default knowledge).
        """
        owner = os.urandom(8).hex()
        self._desk.take(owner)
        try:
            with tempfile.TemporaryDirectory() as folder:
                before = self.catalogue()
                path = Path(folder) / "next.sqlite"
                if served := before.served:
                    self.fetch(served, path)
                elif first := start_file(start):
                    shutil.copyfile(first, path)
                edit = Edit(path, clock=self._clock)
                edit.note = note
                edit.changed = not before.served  # also an empty base is a version
                name = f"v{before.next:06d}"
                with edit.writer as writer:
                    yield edit
                    if not edit.changed:
                        return
                    writer.version = f"{name}-{owner}"
                    if edit.compact:
                        writer.compact()
                self._desk.take(owner)  # renewed: whoever took it meanwhile goes first
                version = self._upload(path, name, author=author, note=edit.note)
                keep = (*before.versions, version)[-KEPT:]
                self._desk.replace(
                    Catalogue(edition=before.edition + 1, current=name, next=before.next + 1, versions=keep),
                    edition=before.edition,
                )
                self._drop({v.object for v in before.versions} - {v.object for v in keep})
        finally:
            self._desk.release(owner)

    def roll_back(self, name: str) -> Version:
        """Serves the kept version `name` from now on. Raises Refused where it is not kept."""
        owner = os.urandom(8).hex()
        self._desk.take(owner)
        try:
            before = self.catalogue()
            version = next((v for v in before.versions if v.name == name), None)
            if version is None:
                known = ", ".join(v.name for v in before.versions) or "none"
                raise Refused(f"no knowledge version {name!r}; kept: {known}", status=404)
            self._desk.replace(replace(before, edition=before.edition + 1, current=name), edition=before.edition)
            return version
        finally:
            self._desk.release(owner)

    def remove(self, document_ids: Sequence[str], *, author: str = "", semantic: Semantic | None = None) -> dict[str, list[str]]:
        """Takes the documents out of every kept version and gives, for each version, what was taken out of it.

        A zip's name stands for all that came out of it; what came out of a zip takes the zip with it, which holds it as well.
        Each version that held one is rewritten without a trace of it and published under a new object; the old objects are
        deleted once no catalogue names them, with every version that the bucket keeps of them, and so is the uploaded file.
        """
        owner = os.urandom(8).hex()
        self._desk.take(owner)
        try:
            before = self.catalogue()
            report: dict[str, list[str]] = {}
            kept: list[Version] = []
            vectors: list[str] = []
            for version in before.versions:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "next.sqlite"
                    self.fetch(version, path)
                    with Writer(path, clock=self._clock) as writer:
                        members = [m for d in document_ids if _is_archive(d) for m in writer.unpacked_from(d)]
                        named = list(dict.fromkeys([*document_ids, *members]))
                        vectors += [k for d in named for k in writer.vector_keys(d)]
                        gone = [d for d in named if writer.remove(d)]
                        if gone:
                            writer.version = f"{version.name}-{owner}"
                            writer.compact()
                    self._desk.take(owner)
                    if gone:
                        report[version.name] = gone
                        fresh = self._upload(path, version.name, author=version.author, note=version.note)
                        kept.append(replace(fresh, published=version.published))
                    else:
                        kept.append(version)
            if semantic is not None and vectors:
                semantic.forget(sorted(set(vectors)))
            if report:
                self._desk.replace(replace(before, edition=before.edition + 1, versions=tuple(kept)), edition=before.edition)
            # also what the bucket itself keeps of versions that were dropped long ago: they may hold the document too
            self._objects.purge(self._prefix, keep=frozenset(v.object for v in kept))
            archives = {str(p) for d in document_ids for p in PurePosixPath(d).parents if _is_archive(p.name)}
            for document in (*document_ids, *sorted(archives)):
                if _can_be_uploaded(document):
                    self._objects.purge_one(f"{UPLOADED}{document}")  # never one whose name only begins like it
            return report
        finally:
            self._desk.release(owner)

    def _upload(self, path: Path, name: str, *, author: str, note: str) -> Version:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        knowledge = Knowledge(path)
        try:
            documents, passages = knowledge.size()
        finally:
            knowledge.close()
        target = f"{self._prefix}{name}-{digest[:12]}.sqlite"
        self._objects.put(target, content)
        return Version(
            name=name, object=target, sha256=digest, size=len(content), published=self._clock(), author=author, note=note,
            documents=documents, passages=passages,
        )  # fmt: skip

    def _drop(self, objects: set[str]) -> None:
        for path in sorted(objects):
            self._objects.delete(path)


class Served:
    """The served version, open; looked after at most every `check_seconds` and swapped when another one is served.

    Searches under way end on the version they began with. Between two looks nothing outside this process is called, and
    while the table does not answer the version at hand goes on serving.
    """

    def __init__(
        self,
        versions: Versions,
        folder: Path,
        *,
        fallback: Start = None,
        check_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        semantic: Semantic | None = None,
    ) -> None:
        self._semantic = semantic
        self._versions = versions
        self._folder = folder
        self._fallback = fallback
        self._every = check_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._open: Knowledge | None = None
        self._object = ""
        self._kinds: tuple[Knowledge, frozenset[str]] | None = None

    @property
    def version(self) -> str:
        """Version of what is open now."""
        return self.current().version

    def folder_audience(self, folder: str) -> frozenset[str] | None:
        """As `Knowledge.folder_audience`."""
        return self.current().folder_audience(folder)

    def has(self, document_id: str) -> bool:
        """As `Knowledge.has`."""
        return self.current().has(document_id)

    def kinds(self) -> frozenset[str]:
        """As `Knowledge.kinds`; asked of the file once a version."""
        knowledge = self.current()
        known = self._kinds
        if known is None or known[0] is not knowledge:
            self._kinds = known = (knowledge, knowledge.kinds())
        return known[1]

    def search(
        self, question: str, *, audience: frozenset[str], limit: int = 5, listeners: Sequence[frozenset[str]] = ()
    ) -> Found:
        """As `Knowledge.search`, on the version that is served now."""
        while True:
            knowledge = self.current()
            try:
                return knowledge.search(question, audience=audience, limit=limit, listeners=listeners)
            except BrokenKnowledge:
                if knowledge is self._open:
                    raise
                # swapped and deleted between `current` and the first read: the new one is open by now

    def current(self) -> Knowledge:
        """The open knowledge. Raises Unavailable where there is none and none can be fetched."""
        with self._lock:
            if self._clock() - self._looked >= self._every:
                try:
                    self._look()
                except Unavailable:
                    if self._open is None:
                        raise
                self._looked = self._clock()
            if self._open is None:
                raise Unavailable("no knowledge is published yet; add some with: assistant kb add PATH")
            return self._open

    def refresh(self) -> None:
        """Looks for a newer version at the next search, whatever the time."""
        with self._lock:
            self._looked = float("-inf")

    def _look(self) -> None:
        served = self._versions.catalogue().served
        if served is None:
            if self._open is None and (first := start_file(self._fallback)):
                self._open = Knowledge(first, semantic=self._semantic)
            return
        if served.object == self._object:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / served.object.replace("/", "_")
        if not path.is_file():
            self._versions.fetch(served, path)
        fresh = Knowledge(path, semantic=self._semantic)
        replaced = bool(self._object)  # the fallback stays for others
        old, self._open, self._object = self._open, fresh, served.object
        if old is not None:
            old.close()
            if replaced:
                old.path.unlink(missing_ok=True)  # readers under way keep the file until they close it
