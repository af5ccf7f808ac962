"""What the company knows, found again with its source by those who may see it.

`open_knowledge(path).search(question, audience=…)` reads one SQLite file; no server, no network, safe for many threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import Refused
from assistant.knowledge import graph, rank
from assistant.knowledge.store import (
    READ,
    Listed,
    Readers,
    folder_audience,
    listed,
    owners,
    passages_of,
    read_passages,
    stored,
    token_kinds,
    visible,
)
from assistant.messages import Passage

if TYPE_CHECKING:
    from assistant.knowledge.care import Conflict
    from assistant.knowledge.documents import Document
    from assistant.knowledge.vectors import Semantic

TOGETHER: Final = 20
"""Hits of each kind that are put in one order."""

__all__ = ["Found", "Knowledge", "Passage", "open_knowledge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found for a question; nothing in it is hidden from the asker."""

    passages: tuple[Passage, ...] = ()
    """Best first."""
    confident: bool = False
    """True where the first passage is good enough to answer from; otherwise say so honestly."""
    certainty: float = 0.0
    """What `confident` rests on; comparable between questions."""
    version: str = ""
    """Version of the knowledge it comes from."""
    facts: tuple[str, ...] = ()
    """Sentences out of the graph, each with its path and source."""
    experts: tuple[str, ...] = ()
    """Who owns the documents found, the best one's first: whom to ask where the passages do not answer."""
    direct: str = ""
    """The fact that answers the question by itself, where one does."""


class Knowledge:
    """One version of the knowledge, open for reading. Every method may be called from several threads at once."""

    def __init__(self, path: Path, *, semantic: Semantic | None = None) -> None:
        self._readers = Readers(path)
        self._semantic = semantic

    @property
    def path(self) -> Path:
        """The file."""
        return self._readers.path

    def size(self) -> tuple[int, int]:
        """How many documents and passages there are in all, hidden ones too: for administrators."""
        with self._readers.reading() as connection:
            documents, passages = connection.execute("SELECT COUNT(*), COALESCE(SUM(passages), 0) FROM documents").fetchone()
        return int(documents), int(passages)

    @property
    def version(self) -> str:
        """Changes whenever anything in the knowledge does."""
        return self._readers.version

    def kinds(self) -> frozenset[str]:
        """Kinds of audience token that some document or fact has: `everyone`, `user`, `department`, `group`, `ring`."""
        with self._readers.reading() as connection:
            return token_kinds(connection)

    def search(
        self, question: str, *, audience: frozenset[str], limit: int = 5, listeners: Sequence[frozenset[str]] = ()
    ) -> Found:
        """The passages and facts for `question` that the asker may see, and in a group chat each of the `listeners` too.

        `audience` and each of `listeners` are the tokens a person holds: `everyone`, `user:<platform>:<id>`,
        `department:<id>`, `group:<id>`, `ring:<name>`.
        """
        with self._readers.reading() as connection:
            seen = visible(connection, [audience, *listeners])
            ranking = rank.search(connection, question, seen, limit=limit if self._semantic is None else max(limit, TOGETHER))
            if self._semantic is not None:
                near = self._semantic.nearest(connection, question, seen, limit=TOGETHER)
                ranking = rank.fuse(ranking, near, limit=limit)
            known = graph.facts(connection, question, seen)
            rows = [h.row for h in ranking.hits]
            texts = read_passages(connection, rows)
            experts = owners(connection, rows)
        passages = tuple(replace(texts[h.row], score=round(h.score, 4)) for h in ranking.hits)
        return Found(
            passages=passages,
            confident=ranking.sure,
            certainty=ranking.certainty,
            version=self.version,
            facts=known.sentences,
            direct=known.direct,
            experts=experts,
        )

    def folder_audience(self, folder: str) -> frozenset[str] | None:
        """The audience that somebody set for the folder, or for the nearest one above it; None where nobody did."""
        with self._readers.reading() as connection:
            return folder_audience(connection, folder)

    def has(self, document_id: str) -> bool:
        """Whether there is a document with this id, whoever may see it."""
        with self._readers.reading() as connection:
            return connection.execute("SELECT 1 FROM documents WHERE id = ?", [document_id]).fetchone() is not None

    def documents(self, *, audience: frozenset[str] | None = None) -> list[Listed]:
        """The documents that somebody with `audience` may see; None is for administrators and shows all."""
        with self._readers.reading() as connection:
            return listed(connection, None if audience is None else visible(connection, [audience]))

    def document(self, document_id: str, *, audience: frozenset[str] | None = None) -> tuple[Listed, tuple[Passage, ...]]:
        """A document with its passages in order. Raises Refused (404) where there is none that `audience` may see."""
        with self._readers.reading() as connection:
            found = listed(connection, None if audience is None else visible(connection, [audience]), id=document_id)
            if not found:
                raise Refused(f"no document {document_id!r}; see: assistant kb list", status=404)
            return found[0], passages_of(connection, document_id)

    def unread(self, *, besides: frozenset[str] = frozenset()) -> list[Listed]:
        """Documents that no model has read facts out of in their present state, without those in the folders `besides`."""
        with self._readers.reading() as connection:
            done = dict(connection.execute("SELECT subject, detail FROM history WHERE action = ?", [READ]).fetchall())
            return [d for d in listed(connection) if done.get(d.id) != d.checksum and d.folder not in besides]

    def whole(self, document_id: str) -> Document:
        """A document as it was put in, cut into its passages. Raises Refused (404) where there is none."""
        with self._readers.reading() as connection:
            for document in stored(connection, document_id):
                return document
        raise Refused(f"no document {document_id!r}; see: assistant kb list", status=404)

    def entities(self, *, audience: frozenset[str], matching: str = "") -> list[dict[str, str]]:
        """Entities of the graph whose name begins with `matching`."""
        with self._readers.reading() as connection:
            return graph.entities(connection, visible(connection, [audience]), matching=matching)

    def walk(self, entity: str, *, audience: frozenset[str]) -> dict[str, Any]:
        """An entity and what is around it. Raises Refused (404) where the asker may see none with this id."""
        with self._readers.reading() as connection:
            return graph.walk(connection, entity, visible(connection, [audience]))

    def conflicts(self) -> list[Conflict]:
        """Passages that contradict or repeat one another: for editors."""
        from assistant.knowledge.care import conflicts

        with self._readers.reading() as connection:
            return conflicts(connection)

    def history(self) -> list[dict[str, Any]]:
        """Changes of the graph, newest first: for administrators."""
        with self._readers.reading() as connection:
            return graph.history(connection)

    def close(self) -> None:
        """Lets the file go; searches under way end first."""
        self._readers.close()


def open_knowledge(path: Path, *, semantic: Semantic | None = None) -> Knowledge:
    """The knowledge in the file at `path`, read-only; with `semantic`, searched by meaning as well as by words.

    Raises BrokenKnowledge for a missing or foreign file.
    """
    return Knowledge(path, semantic=semantic)
