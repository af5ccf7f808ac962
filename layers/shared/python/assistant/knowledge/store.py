"""The knowledge file: one SQLite database with everything a tenant knows. Written by one process, read by many.

| table | holds |
|---|---|
| `meta` | schema and cut version, this file's version |
| `audiences`, `audience_tokens` | each different set of audience tokens that some document or fact has, numbered from 1 |
| `documents` | one row a document, with what `list` shows |
| `passages`, `words` | the text, and the FTS5 index over its cut words (no copy of the text, no positions) |
| `terms`, `sizes` | in how many passages a frequent word stands, how many passages there are, both for each audience |
| `vectors` | under which key a passage's vector lies in the vector store |
| `entities`, `aliases`, `relations`, `history` | the graph |

A passage's row number is `audience << 32 | n`: which passages an asker may see is arithmetic on the number that FTS5 hands
out, so that the filter stands inside the search and costs nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from assistant.errors import AssistantError
from assistant.knowledge.documents import EVERYONE, Document, Section, pieces
from assistant.knowledge.text import CUT_VERSION, index_words, match_query, squeeze
from assistant.messages import Passage

SCHEMA_VERSION: Final = "2"
SHIFT: Final = 32
SEPARATOR: Final = " › "
READ: Final = "read"
"""In `history`: a model has read the document `subject` in the state with the checksum `detail`."""
FREQUENT: Final = 256
"""A word in fewer passages than this is counted by looking its passages up; in more, by the table `terms`."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE audiences (id INTEGER PRIMARY KEY, tokens TEXT NOT NULL UNIQUE);
CREATE TABLE audience_tokens (token TEXT NOT NULL, audience INTEGER NOT NULL, PRIMARY KEY (token, audience)) WITHOUT ROWID;
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, url TEXT NOT NULL, audience INTEGER NOT NULL,
    language TEXT NOT NULL, folder TEXT NOT NULL, owner TEXT NOT NULL, origin TEXT NOT NULL, checksum TEXT NOT NULL,
    fingerprint TEXT NOT NULL, inherits INTEGER NOT NULL, aliases TEXT NOT NULL, added REAL NOT NULL,
    passages INTEGER NOT NULL);
CREATE TABLE folders (path TEXT PRIMARY KEY, audience INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX documents_by_folder ON documents (folder);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, place INTEGER NOT NULL, page INTEGER NOT NULL, path TEXT NOT NULL,
    size INTEGER NOT NULL,
    ending INTEGER NOT NULL, heading TEXT NOT NULL, body TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX passages_by_document ON passages (document);
CREATE VIRTUAL TABLE words USING fts5 (
    heading, body, content='', detail=column, columnsize=0, tokenize="unicode61 remove_diacritics 0");
CREATE TABLE terms (
    term TEXT NOT NULL, audience INTEGER NOT NULL, passages INTEGER NOT NULL, PRIMARY KEY (term, audience)) WITHOUT ROWID;
CREATE TABLE sizes (
    audience INTEGER PRIMARY KEY, passages INTEGER NOT NULL, body INTEGER NOT NULL);
CREATE TABLE entities (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, name TEXT NOT NULL, audience INTEGER NOT NULL,
    source TEXT NOT NULL, url TEXT NOT NULL, description TEXT NOT NULL);
CREATE TABLE aliases (
    alias TEXT NOT NULL, entity INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (alias, entity)) WITHOUT ROWID;
CREATE INDEX aliases_by_entity ON aliases (entity);
CREATE TABLE relations (
    number INTEGER PRIMARY KEY, subject INTEGER NOT NULL, kind TEXT NOT NULL, object INTEGER NOT NULL, audience INTEGER NOT NULL,
    source TEXT NOT NULL, document TEXT NOT NULL, page INTEGER NOT NULL, added REAL NOT NULL, author TEXT NOT NULL,
    UNIQUE (subject, kind, object, source));
CREATE INDEX relations_by_object ON relations (object);
CREATE INDEX relations_by_document ON relations (document) WHERE document <> '';
CREATE TABLE vectors (passage INTEGER PRIMARY KEY, key TEXT NOT NULL, embedder TEXT NOT NULL);
CREATE INDEX vectors_by_key ON vectors (key);
CREATE TABLE history (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, author TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    detail TEXT NOT NULL);
"""


class BrokenKnowledge(AssistantError):
    """The file is no knowledge file, or one of another program version → rebuild it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A document as lists show it."""

    id: str
    title: str
    url: str
    folder: str
    language: str
    owner: str
    origin: str
    audience: frozenset[str]
    passages: int
    added: float
    checksum: str
    inherits: bool
    """True where the audience is its folder's."""


class Writer:
    """Changes a knowledge file. One at a time; nothing is seen by readers before `commit`."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        fresh = not path.exists() or path.stat().st_size == 0
        self._fresh = fresh
        self._changed: Counter[str] = Counter()
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self.connection.execute("PRAGMA journal_mode = MEMORY")
            self.connection.execute("PRAGMA synchronous = OFF")  # the file is published whole or thrown away
            self.connection.execute("PRAGMA secure_delete = ON")  # what is removed is overwritten
            if fresh:
                self.connection.executescript(_SCHEMA)
                self.connection.executemany(
                    "INSERT INTO meta VALUES (?, ?)",
                    [("schema", SCHEMA_VERSION), ("cut", CUT_VERSION), ("version", ""), ("next", "1")],
                )
            else:
                check(self.connection, path)
            self.connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        self.connection.close()

    def commit(self) -> None:
        """Makes all changes so far durable."""
        self._count_frequent()
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")

    @property
    def version(self) -> str:
        """The file's version, which answers are cached under."""
        return _meta(self.connection, "version")

    @version.setter
    def version(self, value: str) -> None:
        self._set("version", value)

    def audience(self, tokens: Iterable[str]) -> int:
        """The number of this set of audience tokens."""
        wanted = sorted(set(tokens))
        if not wanted or any(not t or t != t.strip() for t in wanted):
            raise ValueError(f"audience {wanted!r}: name at least one of everyone, user:…, department:…, group:…, ring:…")
        joined = json.dumps(wanted, ensure_ascii=False)
        row = self.connection.execute("SELECT id FROM audiences WHERE tokens = ?", [joined]).fetchone()
        if row:
            return int(row[0])
        number = self.connection.execute("INSERT INTO audiences (tokens) VALUES (?) RETURNING id", [joined]).fetchone()[0]
        self.connection.executemany("INSERT INTO audience_tokens VALUES (?, ?)", [(t, number) for t in wanted])
        return int(number)

    def add(self, document: Document) -> bool:
        """Puts `document` in, in place of an older one with its id. False where nothing has changed."""
        old = self.connection.execute("SELECT checksum FROM documents WHERE id = ?", [document.id]).fetchone()
        checksum = document.checksum
        if old and old[0] == checksum:
            self.connection.execute(
                "UPDATE documents SET fingerprint = ?, origin = ? WHERE id = ?",
                [document.fingerprint, document.origin, document.id],
            )
            return False
        if old:
            self.remove(document.id)
        audience = self.audience(document.audience)
        cut_pieces = list(pieces(document))
        number = self.connection.execute(
            "INSERT INTO documents (id, title, url, audience, language, folder, owner, origin, checksum, fingerprint,"
            " inherits, aliases, added, passages) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
            [
                document.id, document.title, document.url, audience, document.language, document.folder, document.owner,
                document.origin, checksum, document.fingerprint, document.inherits,
                json.dumps(document.aliases, ensure_ascii=False), self._clock(), len(cut_pieces),
            ],
        ).fetchone()[0]  # fmt: skip
        first = int(_meta(self.connection, "next"))
        self._set("next", str(first + len(cut_pieces)))
        rows, cuts = [], []
        size = 0
        path: tuple[str, ...] | None = None
        for place, piece in enumerate(cut_pieces):
            if piece.path != path:  # the passages of a section share it
                path = piece.path
                heading = squeeze(" \n ".join((document.title, *document.aliases, *path)))
                ending = len(squeeze(path[-1])) if path else len(heading)
                heading_words = index_words(heading)
            body = squeeze(piece.text)
            body_words = index_words(body)
            row = audience << SHIFT | first + place
            size += len(body_words)
            rows.append(
                (row, number, place, piece.page, SEPARATOR.join(piece.path), len(body_words), ending, heading, body, piece.text)
            )
            cuts.append((row, " ".join(heading_words), " ".join(body_words)))
            self._changed.update({*heading_words, *body_words})
        self.connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self.connection.executemany("INSERT INTO words (rowid, heading, body) VALUES (?, ?, ?)", cuts)
        self._resize(audience, len(rows), size)
        return True

    def remove(self, document_id: str) -> bool:
        """Takes the document and every fact that rests on it out. False where there is none."""
        row = self.connection.execute("SELECT number, audience FROM documents WHERE id = ?", [document_id]).fetchone()
        if not row:
            return False
        number, audience = row
        size = 0
        cuts = []
        # the index keeps no copy of its words: it is told again what it was told when the passage came in
        found = self.connection.execute("SELECT id, size, heading, body FROM passages WHERE document = ?", [number])
        for passage, length, heading, body in found:
            heading_words, body_words = index_words(heading), index_words(body)
            size += length
            cuts.append((passage, " ".join(heading_words), " ".join(body_words)))
            for word in {*heading_words, *body_words}:
                self._changed[word] += 0
        self.connection.executemany("INSERT INTO words (words, rowid, heading, body) VALUES ('delete', ?, ?, ?)", cuts)
        self._resize(audience, -len(cuts), -size)
        self.connection.execute("DELETE FROM vectors WHERE passage IN (SELECT id FROM passages WHERE document = ?)", [number])
        self.connection.execute("DELETE FROM passages WHERE document = ?", [number])
        self.connection.execute("DELETE FROM documents WHERE number = ?", [number])
        self.connection.execute("DELETE FROM relations WHERE document = ?", [document_id])
        self.connection.execute("DELETE FROM history WHERE action = ? AND subject = ?", [READ, document_id])
        return True

    def mark_read(self, document_id: str, checksum: str, *, at: float) -> bool:
        """Notes that a model has read the document in this state; False where it is another one by now."""
        row = self.connection.execute("SELECT checksum FROM documents WHERE id = ?", [document_id]).fetchone()
        if not row or row[0] != checksum:
            return False
        self.connection.execute("DELETE FROM history WHERE action = ? AND subject = ?", [READ, document_id])
        self.connection.execute(
            "INSERT INTO history (at, author, action, subject, detail) VALUES (?, 'model', ?, ?, ?)",
            [at, READ, document_id, checksum],
        )
        return True

    def fingerprint(self, document_id: str) -> str:
        """The fingerprint of the bytes that the document was read from; empty where there is no such document."""
        row = self.connection.execute("SELECT fingerprint FROM documents WHERE id = ?", [document_id]).fetchone()
        return str(row[0]) if row else ""

    def folder_audience(self, folder: str) -> frozenset[str]:
        """The audience of what is put into `folder`: its own, the nearest folder's above it, or everyone."""
        return folder_audience(self.connection, folder) or frozenset({EVERYONE})

    def set_folder_audience(self, folder: str, audience: frozenset[str]) -> int:
        """Makes `audience` the default of `folder`; gives how many documents moved to another audience by that."""
        folder = folder.strip("/")
        self.connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", [folder, self.audience(audience)])
        inheriting = [d for d in self.documents() if d.inherits and (not folder or (d.folder + "/").startswith(folder + "/"))]
        changed = 0
        for document in inheriting:
            wanted = self.folder_audience(document.folder)
            if wanted != document.audience:
                changed += self.add(replace(document, audience=wanted))
        return changed

    def vector_keys(self, document_id: str) -> list[str]:
        """Keys of the document's passages in the vector store."""
        rows = self.connection.execute(
            "SELECT v.key FROM vectors v JOIN passages p ON p.id = v.passage JOIN documents d ON d.number = p.document"
            " WHERE d.id = ?",
            [document_id],
        )
        return [str(r[0]) for r in rows]

    def documents(self) -> list[Document]:
        """Every document as it was put in, cut into its passages."""
        return list(stored(self.connection))

    def unpacked_from(self, archive: str) -> list[str]:
        """Ids of the documents that came out of this zip."""
        rows = self.connection.execute("SELECT id FROM documents WHERE substr(id, 1, ?) = ?", (len(archive) + 1, f"{archive}/"))
        return [str(id_) for (id_,) in rows]

    def rebuild(self) -> None:
        """Cuts and indexes every document anew from its stored text; the graph stays."""
        documents = self.documents()
        relations = self.connection.execute("SELECT * FROM relations WHERE document <> ''").fetchall()
        for document in documents:
            self.remove(document.id)
        for document in documents:
            self.add(document)
        self.connection.executemany("INSERT OR IGNORE INTO relations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", relations)

    def compact(self) -> None:
        """Rewrites index and file so that nothing removed is left in any page, and readers read the least."""
        self.connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        self.connection.execute("COMMIT")
        self.connection.execute("VACUUM")
        self.connection.execute("BEGIN IMMEDIATE")

    def _resize(self, audience: int, passages: int, size: int) -> None:
        self.connection.execute(
            "INSERT INTO sizes VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " passages = passages + excluded.passages, body = body + excluded.body",
            [audience, passages, size],
        )

    def _count_frequent(self) -> None:
        """Brings `terms` up to date for the words that were touched: exact numbers for all that stand in many passages."""
        touched = [w for w, n in self._changed.items() if not self._fresh or n >= FREQUENT]
        for word in touched:
            self.connection.execute("DELETE FROM terms WHERE term = ?", [word])
            match = match_query([word])
            found = "SELECT rowid FROM words WHERE words MATCH ?"
            few = self.connection.execute(f"SELECT COUNT(*) FROM ({found} LIMIT {FREQUENT})", [match]).fetchone()[0]  # noqa: S608  # fixed text
            if few >= FREQUENT:
                self.connection.execute(
                    f"INSERT INTO terms SELECT ?, rowid >> {SHIFT}, COUNT(*) FROM ({found}) GROUP BY 2",  # noqa: S608  # fixed text
                    [word, match],
                )
        self._changed.clear()
        self._fresh = False

    def _set(self, key: str, value: str) -> None:
        self.connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", [key, value])


class Readers:
    """Read-only connections to one knowledge file, one for each thread that reads at the moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        with self.reading() as connection:
            self.version = _meta(connection, "version")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread alone until the block ends."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._open()
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def close(self) -> None:
        """Lets the file go; searches that are under way end first."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise BrokenKnowledge(f"no knowledge file at {self.path}; build one with: assistant kb add PATH")
        # immutable: no locks, no journal look-ups; a published file never changes
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.resolve()))}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA mmap_size = 1073741824")
            check(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises BrokenKnowledge unless the open file is one that this program wrote."""
    try:
        found = (_meta(connection, "schema"), _meta(connection, "cut"))
    except sqlite3.DatabaseError as error:
        raise BrokenKnowledge(f"{path} is no knowledge file ({error}); rebuild it with: assistant kb rebuild") from error
    if found != (SCHEMA_VERSION, CUT_VERSION):
        raise BrokenKnowledge(f"{path} was written by another version of the program; rebuild it with: assistant kb rebuild")


def _meta(connection: sqlite3.Connection, key: str) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return str(row[0]) if row else ""


def visible(connection: sqlite3.Connection, everyone_of: Sequence[frozenset[str]]) -> tuple[int, ...]:
    """Numbers of the audiences that each of the people in `everyone_of` (their tokens) belongs to."""
    seen: set[int] | None = None
    for tokens in everyone_of:
        marks = ",".join("?" * len(tokens))
        rows = connection.execute(f"SELECT audience FROM audience_tokens WHERE token IN ({marks})", sorted(tokens))  # noqa: S608  # only question marks are put in
        one = {int(r[0]) for r in rows}
        seen = one if seen is None else seen & one
    return tuple(sorted(seen or ()))


def folder_audience(connection: sqlite3.Connection, folder: str) -> frozenset[str] | None:
    """The audience that was set for the folder, or for the nearest one above it; None where none was."""
    folder = folder.strip("/")
    parts = folder.split("/") if folder else []
    for count in range(len(parts), -1, -1):
        row = connection.execute(
            "SELECT a.tokens FROM folders f JOIN audiences a ON a.id = f.audience WHERE f.path = ?", ["/".join(parts[:count])]
        ).fetchone()
        if row:
            return frozenset(json.loads(row[0]))
    return None


def token_kinds(connection: sqlite3.Connection) -> frozenset[str]:
    """Kinds of the tokens that stand in audiences; a token is `kind` or `kind:…`."""
    rows = connection.execute("SELECT DISTINCT substr(token, 1, instr(token || ':', ':') - 1) FROM audience_tokens")
    return frozenset(str(r[0]) for r in rows)


def read_passages(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, Passage]:
    """The passages with these row numbers."""
    found = connection.execute(
        "SELECT p.id, p.text, p.path, p.page, p.place, d.id, d.title, d.url FROM passages p"  # noqa: S608  # only question marks are put in
        f" JOIN documents d ON d.number = p.document WHERE p.id IN ({','.join('?' * len(rows))})",
        list(rows),
    )
    return {
        row: Passage(id=f"{document}#{place}", title=title, text=text, document=document, url=url, path=path, page=page)
        for row, text, path, page, place, document, title, url in found
    }


def owners(connection: sqlite3.Connection, rows: Sequence[int]) -> tuple[str, ...]:
    """Who owns the documents that these passages stand in, in the passages' order."""
    found = dict(
        connection.execute(
            "SELECT p.id, d.owner FROM passages p JOIN documents d ON d.number = p.document"  # noqa: S608  # only question marks are put in
            f" WHERE d.owner <> '' AND p.id IN ({','.join('?' * len(rows))})",
            list(rows),
        ).fetchall()
    )
    return tuple(dict.fromkeys(found[row] for row in rows if row in found))


def stored(connection: sqlite3.Connection, document_id: str = "") -> Iterator[Document]:
    """Every document, or the one with this id, as it was put in, cut into its passages."""
    where, values = (" WHERE d.id = ?", [document_id]) if document_id else ("", [])
    for row in connection.execute(
        "SELECT d.number, d.id, d.title, d.url, a.tokens, d.language, d.folder, d.owner, d.origin, d.fingerprint, d.inherits,"  # noqa: S608  # fixed text
        f" d.aliases FROM documents d JOIN audiences a ON a.id = d.audience{where} ORDER BY d.number",
        values,
    ).fetchall():
        passages = connection.execute("SELECT text, path, page FROM passages WHERE document = ? ORDER BY place", [row[0]])
        yield Document(
            id=row[1], title=row[2], url=row[3], audience=frozenset(json.loads(row[4])), language=row[5], folder=row[6],
            owner=row[7], origin=row[8], fingerprint=row[9], inherits=bool(row[10]), aliases=tuple(json.loads(row[11])),
            sections=tuple(
                Section(text=text, path=tuple(path.split(SEPARATOR)) if path else (), page=page) for text, path, page in passages
            ),
        )  # fmt: skip


def passages_of(connection: sqlite3.Connection, document_id: str) -> tuple[Passage, ...]:
    """The passages of a document, in order."""
    rows = [
        r[0]
        for r in connection.execute(
            "SELECT p.id FROM passages p JOIN documents d ON d.number = p.document WHERE d.id = ? ORDER BY p.place", [document_id]
        )
    ]
    found = {
        row: passage for n in range(0, len(rows), 500) for row, passage in read_passages(connection, rows[n : n + 500]).items()
    }
    return tuple(found[row] for row in rows)


def listed(connection: sqlite3.Connection, audiences: Sequence[int] | None = None, **where: Any) -> list[Listed]:
    """The documents that stand in one of `audiences` (None: an administrator sees all), in order of folder and title."""
    conditions, values = [], []
    if audiences is not None:
        conditions.append(f"d.audience IN ({','.join('?' * len(audiences))})")
        values += list(audiences)
    for column in ("id", "folder"):
        if column in where:
            conditions.append(f"d.{column} = ?")
            values.append(where[column])
    rows = connection.execute(
        "SELECT d.id, d.title, d.url, d.folder, d.language, d.owner, d.origin, a.tokens, d.passages, d.added, d.checksum,"  # noqa: S608  # fixed names
        " d.inherits"
        " FROM documents d JOIN audiences a ON a.id = d.audience"
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + " ORDER BY d.folder, d.title, d.id",
        values,
    )
    return [
        Listed(
            id=r[0], title=r[1], url=r[2], folder=r[3], language=r[4], owner=r[5], origin=r[6],
            audience=frozenset(json.loads(r[7])), passages=r[8], added=r[9], checksum=r[10], inherits=bool(r[11]),
        )
        for r in rows
    ]  # fmt: skip
