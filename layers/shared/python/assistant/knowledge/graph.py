"""Who and what the company consists of: entities, the names they go by, and typed relations that say where they come from.

Everything has an audience of its own. A relation is seen by those who see it and both of its ends.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from assistant.errors import Refused
from assistant.knowledge.documents import EVERYONE
from assistant.knowledge.store import READ, Writer
from assistant.knowledge.text import COMMON, cut, is_cjk, squeeze

_EVERYONE: Final = frozenset({EVERYONE})

WORDINGS: Final[Mapping[str, tuple[str, str, str]]] = {
    "leads": (
        "leads",
        "领导",
        "leads lead leader leaders head manager manages boss in charge 领导 负责人 主管 经理 领导人 部门负责人",
    ),
    "member_of": ("is a member of", "属于", "member belongs works team department 属于 成员 部门 团队 所在"),
    "reports_to": ("reports to", "汇报给", "reports report boss superior manager supervisor 汇报 上级 直属 领导"),
    "approves": ("approves", "审批", "approves approve approval sign off permission 审批 批准 审核 签字"),
    "owns": ("owns", "负责", "owns own owner responsible maintains contact 负责 负责人 维护 归属 对接"),
    "expert_in": ("is an expert in", "擅长", "expert knows ask specialist 专家 擅长 请教 咨询"),
    "part_of": ("is part of", "隶属于", "part belongs under 隶属 下属 组成"),
    "uses": ("uses", "使用", "uses use using 使用 用"),
    "located_in": ("is located in", "位于", "located where place office city 位于 地点 在哪 办公室 城市"),
    "applies_to": ("applies to", "适用于", "applies apply valid for 适用"),
    "described_in": ("is described in", "说明见", "described document page policy where find 文档 说明 制度 规定"),
}
"""Relation kind → its wording in English and Chinese, and the words by which questions ask for it. Other kinds speak for
themselves: `approves_travel_for` is asked for with "approves" and "travel"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A person, team, system, product, policy or document."""

    id: str
    kind: str
    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    audience: frozenset[str] = _EVERYONE
    source: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """`subject` —`kind`→ `object`, both ids of entities; `source` says who says so, `document` the document it stands in."""

    subject: str
    kind: str
    object: str
    audience: frozenset[str] = _EVERYONE
    source: str = ""
    document: str = ""
    page: int = 0


class Department(Protocol):
    """A department as a platform's directory names it: `assistant.platforms.Department`."""

    @property
    def id(self) -> str:
        """The platform's own."""

    @property
    def name(self) -> str:
        """As people say it."""

    @property
    def parent(self) -> str:
        """Id of the department above it."""

    @property
    def leaders(self) -> tuple[tuple[str, str], ...]:
        """Id and name of each person who leads it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the graph says to a question: `sentences`, best first; `direct` where the first one is what was asked for."""

    sentences: tuple[str, ...] = ()
    direct: str = ""
    linked: tuple[str, ...] = ()
    """Ids of the entities that the question names."""


class GraphWriter:
    """Changes the graph in a knowledge file; each change is written down with who made it."""

    def __init__(self, writer: Writer, *, author: str = "", clock: Callable[[], float] = time.time) -> None:
        self._writer = writer
        self._db = writer.connection
        self._author = author
        self._clock = clock

    def put(self, entity: Entity) -> bool:
        """Writes the entity in place of an older one with its id. False where nothing changed."""
        if not entity.id.strip() or not entity.name.strip():
            raise Refused("an entity needs an id and a name")
        audience = self._writer.audience(entity.audience)
        row = [entity.kind, entity.name, audience, entity.source, entity.url, entity.description]
        names = {k: n for n in (entity.name, *entity.aliases) if (k := squeeze(n))}
        old = self._db.execute(
            "SELECT kind, name, audience, source, url, description, number FROM entities WHERE id = ?", [entity.id]
        ).fetchone()
        if old:
            number = old[6]
            known = dict(self._db.execute("SELECT alias, name FROM aliases WHERE entity = ?", [number]).fetchall())
            if list(old[:6]) == row and known == names:
                return False
            self._db.execute(
                "UPDATE entities SET kind = ?, name = ?, audience = ?, source = ?, url = ?, description = ? WHERE number = ?",
                [*row, number],
            )
            self._db.execute("DELETE FROM aliases WHERE entity = ?", [number])
        else:
            number = self._db.execute(
                "INSERT INTO entities (id, kind, name, audience, source, url, description) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " RETURNING number",
                [entity.id, *row],
            ).fetchone()[0]
        self._db.executemany("INSERT INTO aliases VALUES (?, ?, ?)", [(a, number, n) for a, n in names.items()])
        self._note("changed" if old else "added", entity.id, {})
        return True

    def put_missing(self, entity: Entity) -> bool:
        """Writes the entity where there is none with its id; what stands there is never changed. False where one stands."""
        return self._find(entity.id) is None and self.put(entity)

    def relate(self, relation: Relation) -> bool:
        """Writes the relation. False where it stood there already. Raises Refused for an unknown end."""
        ends = [self._number(relation.subject), self._number(relation.object)]
        audience = self._writer.audience(relation.audience)
        old = self._db.execute(
            "SELECT audience, document, page FROM relations WHERE subject = ? AND kind = ? AND object = ? AND source = ?",
            [ends[0], relation.kind, ends[1], relation.source],
        ).fetchone()
        if old == (audience, relation.document, relation.page):
            return False
        self._db.execute(
            "INSERT OR REPLACE INTO relations (subject, kind, object, audience, source, document, page, added, author)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                ends[0], relation.kind, ends[1], audience, relation.source, relation.document, relation.page, self._clock(),
                self._author,
            ],
        )  # fmt: skip
        self._note("related", relation.subject, {"kind": relation.kind, "object": relation.object})
        return True

    def rename(self, entity: str, name: str) -> None:
        """Gives the entity another name; the old one stays as an alias."""
        number = self._number(entity)
        old = self._db.execute("SELECT name FROM entities WHERE number = ?", [number]).fetchone()[0]
        self._db.execute("UPDATE entities SET name = ? WHERE number = ?", [name, number])
        self._db.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", [squeeze(name), number, name])
        self._note("renamed", entity, {"from": old, "to": name})

    def merge(self, entity: str, into: str) -> None:
        """Makes `entity` one with `into`: its names and relations go over, itself goes away.

        Refused where the two have different audiences, since names would become visible to others.
        """
        source, target = self._number(entity), self._number(into)
        if source == target:
            raise Refused(f"{entity!r} cannot be merged into itself")
        audiences = self._db.execute("SELECT DISTINCT audience FROM entities WHERE number IN (?, ?)", [source, target]).fetchall()
        if len(audiences) > 1:
            raise Refused(f"{entity!r} and {into!r} have different audiences; make them equal first")
        self._db.execute("UPDATE OR IGNORE aliases SET entity = ? WHERE entity = ?", [target, source])
        for end in ("subject", "object"):
            self._db.execute(f"UPDATE OR IGNORE relations SET {end} = ? WHERE {end} = ?", [target, source])  # noqa: S608  # fixed names
        self._db.execute("DELETE FROM relations WHERE subject = object AND subject = ?", [target])
        self._erase(source)
        self._note("merged", entity, {"into": into})

    def delete(self, entity: str) -> None:
        """Takes the entity, its names and its relations out; the history keeps only its id."""
        self._erase(self._number(entity))
        self._note("deleted", entity, {})

    def unrelate(self, subject: str, kind: str, object_: str) -> bool:
        """Takes a relation out, whoever said it. False where there is none."""
        gone = self._db.execute(
            "DELETE FROM relations WHERE subject = ? AND kind = ? AND object = ?",
            [self._number(subject), kind, self._number(object_)],
        ).rowcount
        if gone:
            self._note("unrelated", subject, {"kind": kind, "object": object_})
        return bool(gone)

    def load_directory(self, source: str, departments: Iterable[Department], *, audience: frozenset[str]) -> tuple[int, int]:
        """Writes who leads which department and which one is part of which, in place of what `source` said before; gives how
        many entities and relations are new.

        A person or a team is known by its name, as in files; where the directory has a name twice, its id stands behind it.
        """
        listed = [d for d in departments if d.id and d.name]
        people = {person: name for d in listed for person, name in d.leaders}
        often = Counter([*(d.name for d in listed), *people.values()])

        def entity(id_: str, name: str, kind: str) -> Entity:
            known = entity_id(name) if often[name] == 1 else entity_id(f"{name} {id_}")
            return Entity(id=known, kind=kind, name=name, audience=audience, source=source)

        teams = {d.id: entity(d.id, d.name, "team") for d in listed}
        leaders = {id_: entity(id_, name, "person") for id_, name in people.items()}
        changed = sum(self.put_missing(e) for e in (*teams.values(), *leaders.values()))
        said = [Relation(subject=leaders[p].id, kind="leads", object=teams[d.id].id, audience=audience, source=source)
                for d in listed for p, _ in d.leaders]  # fmt: skip
        said += [
            Relation(subject=teams[d.id].id, kind="part_of", object=teams[d.parent].id, audience=audience, source=source)
            for d in listed
            if d.parent in teams and teams[d.parent].id != teams[d.id].id
        ]
        new = sum(self.relate(r) for r in said)
        now = {(r.subject, r.kind, r.object) for r in said}
        before = self._db.execute(
            "SELECT r.number, s.id, r.kind, o.id FROM relations r JOIN entities s ON s.number = r.subject"
            " JOIN entities o ON o.number = r.object WHERE r.source = ?",
            [source],
        ).fetchall()
        for number, subject, kind, object_ in before:
            if (subject, kind, object_) not in now:
                self._db.execute("DELETE FROM relations WHERE number = ?", [number])
                self._note("unrelated", subject, {"kind": kind, "object": object_})
                new += 1
        return changed, new

    def load(self, name: str, content: bytes, *, audience: frozenset[str] = _EVERYONE) -> tuple[int, int]:
        """Writes what a CSV or JSON file says and gives how many entities and relations are new or changed.

        CSV with columns `name, kind` (and `id, aliases` split by `;`, `description, url, audience`) holds entities; with
        `subject, relation, object` (and `subject_kind, object_kind, audience`) relations, whose ends are made where they are
        missing. JSON: `{"entities": […], "relations": […]}` with the same names. Raises Refused, with nothing changed.
        """
        entities, relations = _parse(name, content, audience)
        self._db.execute("SAVEPOINT load")
        try:
            changed = sum(self.put(e) for e in entities)
            related = 0
            for relation, ends in relations:
                changed += sum(self.put_missing(end) for end in ends)
                related += self.relate(relation)
        except Refused:
            self._db.execute("ROLLBACK TO load")
            raise
        finally:
            self._db.execute("RELEASE load")
        return changed, related

    def _find(self, entity: str) -> int | None:
        row = self._db.execute("SELECT number FROM entities WHERE id = ?", [entity]).fetchone()
        return int(row[0]) if row else None

    def _number(self, entity: str) -> int:
        if (number := self._find(entity)) is None:
            raise Refused(f"the graph has no entity {entity!r}; add it first", status=404)
        return number

    def _erase(self, number: int) -> None:
        self._db.execute("DELETE FROM relations WHERE subject = ? OR object = ?", [number, number])
        self._db.execute("DELETE FROM aliases WHERE entity = ?", [number])
        self._db.execute("DELETE FROM entities WHERE number = ?", [number])

    def _note(self, action: str, subject: str, detail: Mapping[str, str]) -> None:
        self._db.execute(
            "INSERT INTO history (at, author, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
            [self._clock(), self._author, action, subject, json.dumps(detail, ensure_ascii=False)],
        )


def entity_id(name: str) -> str:
    """The id of an entity that is known by its name alone."""
    return squeeze(name).replace(" ", "-") or name.strip()


def _parse(name: str, content: bytes, audience: frozenset[str]) -> tuple[list[Entity], list[tuple[Relation, list[Entity]]]]:
    from assistant.knowledge.loaders import Unreadable, decode

    try:
        text = decode(name, content)
        if name.lower().endswith(".json"):
            data = json.loads(text)
            entity_rows, relation_rows = data.get("entities", []), data.get("relations", [])
        else:
            rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
            related = bool(rows) and {"subject", "relation", "object"} <= rows[0].keys()
            entity_rows, relation_rows = ([], rows) if related else (rows, [])
        entities = [_entity(row, name, audience) for row in entity_rows]
        relations = [_relation(row, name, audience) for row in relation_rows]
    except (Unreadable, ValueError, AttributeError, KeyError, TypeError, csv.Error, RecursionError) as error:
        raise Refused(
            f"{name}: it must be CSV with the columns name,kind or subject,relation,object, or JSON of entities and relations"
            f" ({type(error).__name__}: {error})"
        ) from error
    return entities, relations


def _entity(row: Mapping[str, Any], source: str, audience: frozenset[str]) -> Entity:
    aliases = row.get("aliases") or ()
    if isinstance(aliases, str):
        aliases = [a.strip() for a in aliases.replace("；", ";").split(";")]
    name = str(row["name"]).strip()
    return Entity(
        id=str(row.get("id") or entity_id(name)),
        kind=str(row.get("kind") or "thing"),
        name=name,
        aliases=tuple(a for a in aliases if a),
        description=str(row.get("description") or ""),
        url=str(row.get("url") or ""),
        audience=_tokens(row.get("audience"), audience),
        source=str(row.get("source") or source),
    )


def _relation(row: Mapping[str, Any], source: str, audience: frozenset[str]) -> tuple[Relation, list[Entity]]:
    ends = []
    own = _tokens(row.get("audience"), audience)
    for end in ("subject", "object"):
        name = str(row[end]).strip()
        ends.append(
            Entity(id=entity_id(name), kind=str(row.get(f"{end}_kind") or "thing"), name=name, audience=own, source=source)
        )
    relation = Relation(
        subject=ends[0].id, kind=str(row.get("relation") or row.get("kind")).strip().replace(" ", "_"), object=ends[1].id,
        audience=own, source=str(row.get("source") or source), document=str(row.get("document") or ""),
        page=int(row.get("page") or 0),
    )  # fmt: skip
    return relation, ends


def _tokens(value: object, default: frozenset[str]) -> frozenset[str]:
    if isinstance(value, str):
        value = value.replace(";", " ").split()
    return frozenset(str(v) for v in value) if isinstance(value, Iterable) and value else default


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edge:
    subject: int
    kind: str
    object: int
    source: str
    document: str
    page: int


@dataclass(slots=True)
class _Names:
    """Entities by number, as far as the asker may see them."""

    known: dict[int, tuple[str, str, str]] = field(default_factory=dict)


def link(connection: sqlite3.Connection, question: str, audiences: Sequence[int]) -> list[int]:
    """Numbers of the visible entities that the question names, by the longest of their names, in the question's order."""
    candidates = _spans(squeeze(question[:2000]))
    if not candidates or not audiences:
        return []
    marks = ",".join("?" * len(candidates))
    seen = ",".join(str(int(a)) for a in audiences)
    rows = connection.execute(
        f"SELECT a.alias, a.entity FROM aliases a JOIN entities e ON e.number = a.entity"  # noqa: S608  # whole numbers
        f" WHERE a.alias IN ({marks}) AND e.audience IN ({seen}) ORDER BY LENGTH(a.alias) DESC, a.entity",
        list(candidates),
    ).fetchall()
    taken: list[tuple[int, int]] = []
    linked: dict[int, int] = {}
    for alias, entity in rows:
        for start, end in candidates[alias]:
            if all((start, end) == span or end <= span[0] or start >= span[1] for span in taken):
                taken.append((start, end))
                linked.setdefault(entity, start)
    return sorted(linked, key=lambda e: (linked[e], e))[:6]


def _spans(squeezed: str) -> dict[str, list[tuple[int, int]]]:
    """Every part of a squeezed question that may be a name, with where it stands."""
    found: dict[str, list[tuple[int, int]]] = {}
    pieces: list[tuple[int, str]] = []
    at = 0
    for piece in squeezed.split():
        start = squeezed.index(piece, at)
        at = start + len(piece)
        pieces.append((start, piece))
    for first, (start, piece) in enumerate(pieces[:80]):
        for last in range(first, min(first + 5, len(pieces))):
            end = pieces[last][0] + len(pieces[last][1])
            found.setdefault(squeezed[start:end], []).append((start, end))
        if is_cjk(piece):
            for i in range(min(len(piece), 60)):
                for j in range(i + 2, min(i + 12, len(piece)) + 1):
                    found.setdefault(piece[i:j], []).append((start + i, start + j))
    return {name: spans for name, spans in found.items() if name not in COMMON}


def facts(connection: sqlite3.Connection, question: str, audiences: Sequence[int], *, limit: int = 6) -> Facts:
    """What the visible graph says about the entities in the question, over one and two relations, with the path."""
    linked = link(connection, question, audiences)
    if not linked:
        return Facts()
    chinese = is_cjk(question)
    names = _Names()
    own = _about(connection, linked, names)
    asked = {w for w in cut(question) if w not in COMMON} - {w for n in own for w in cut(n)}
    first = _edges(connection, linked, audiences)
    scored: list[tuple[float, int, tuple[_Edge, ...]]] = [(_fit(e, asked), 1, (e,)) for e in first]
    near = {e.object if e.subject in linked else e.subject: e for e in first}
    beyond = _edges(connection, [n for n in near if n not in linked][:60], audiences)
    for edge in beyond:
        if edge.subject in linked or edge.object in linked:
            continue
        step = near.get(edge.subject) or near.get(edge.object)
        fit = _fit(edge, asked)
        if step is not None and fit > 0:  # the second step must be asked for, or everything would be two steps away
            scored.append((fit + _fit(step, asked) * 0.5 - 0.2, 2, (step, edge)))
    if len(linked) > 1:  # a relation between two of the things named is what the question is about
        scored = [(s + 1.0 if path[-1].subject in linked and path[-1].object in linked else s, n, path) for s, n, path in scored]
    scored.sort(key=lambda x: (-x[0], x[1]))
    _about(connection, {n for _, _, path in scored[:limit] for e in path for n in (e.subject, e.object)}, names)
    sentences = tuple(dict.fromkeys(_sentence(path, names, chinese=chinese) for _, _, path in scored[:limit]))
    return Facts(
        sentences=sentences,
        direct=sentences[0] if scored and scored[0][0] >= 0.75 else "",
        linked=tuple(names.known[n][2] for n in linked if n in names.known),
    )


def _about(connection: sqlite3.Connection, numbers: Iterable[int], names: _Names) -> list[str]:
    wanted = [n for n in numbers if n not in names.known]
    rows = connection.execute(
        f"SELECT number, name, kind, id FROM entities WHERE number IN ({','.join('?' * len(wanted))})",  # noqa: S608  # question marks
        wanted,
    )
    names.known |= {number: (name, kind, id_) for number, name, kind, id_ in rows}
    aliases = connection.execute(
        f"SELECT name FROM aliases WHERE entity IN ({','.join('?' * len(wanted))})",  # noqa: S608  # question marks
        wanted,
    )
    return [r[0] for r in aliases]


def _edges(connection: sqlite3.Connection, numbers: Sequence[int], audiences: Sequence[int]) -> list[_Edge]:
    marks = ",".join(str(int(n)) for n in numbers)
    seen = ",".join(str(int(a)) for a in audiences)
    rows = connection.execute(
        "SELECT r.subject, r.kind, r.object, r.source, r.document, r.page FROM relations r"  # noqa: S608  # whole numbers
        " JOIN entities s ON s.number = r.subject JOIN entities o ON o.number = r.object"
        f" WHERE (r.subject IN ({marks}) OR r.object IN ({marks}))"
        f" AND r.audience IN ({seen}) AND s.audience IN ({seen}) AND o.audience IN ({seen}) ORDER BY r.number LIMIT 400"
    )
    return [_Edge(*row) for row in rows]


def _fit(edge: _Edge, asked: set[str]) -> float:
    """How far the question asks for this kind of relation: 1 for one of its words, more for several."""
    wording = WORDINGS.get(edge.kind)
    words = set(cut(edge.kind.replace("_", " ") + (" " + wording[2] if wording else ""))) - COMMON
    # single Chinese characters stand in too many words to tell a relation
    shared = {w for w in words & asked if not (len(w) == 1 and is_cjk(w))}
    return min(2.0, len(shared)) if shared else 0.0


def _sentence(path: tuple[_Edge, ...], names: _Names, *, chinese: bool) -> str:
    parts, sources = [], []
    for edge in path:
        wording = WORDINGS.get(edge.kind)
        verb = wording[1 if chinese else 0] if wording else edge.kind.replace("_", " ")
        subject, object_ = names.known[edge.subject][0], names.known[edge.object][0]
        parts.append(f"{subject}{verb}{object_}" if chinese and is_cjk(verb) else f"{subject} {verb} {object_}")
        where = edge.document or edge.source
        if where:
            sources.append(f"{where}, p. {edge.page}" if edge.page else where)
    origin = ", ".join(dict.fromkeys(sources))
    joined = ("；" if chinese else "; ").join(parts)
    return joined + ((f"（来源：{origin}）" if chinese else f" (source: {origin})") if origin else "")


def walk(connection: sqlite3.Connection, entity: str, audiences: Sequence[int], *, limit: int = 100) -> dict[str, Any]:
    """An entity with what is around it, for a view that one walks: `{"entity", "nodes", "edges"}`. Raises Refused."""
    seen = ",".join(str(int(a)) for a in audiences)
    row = connection.execute(
        f"SELECT number, id, name, kind, description, url, source FROM entities WHERE id = ? AND audience IN ({seen})",  # noqa: S608
        [entity],
    ).fetchone()
    if not row:
        raise Refused(f"the graph has no entity {entity!r} that you may see", status=404)
    edges = _edges(connection, [row[0]], audiences)[:limit]
    names = _Names()
    _about(connection, {row[0], *(n for e in edges for n in (e.subject, e.object))}, names)
    aliases = [r[0] for r in connection.execute("SELECT name FROM aliases WHERE entity = ? ORDER BY name", [row[0]])]
    return {
        "entity": dict(zip(("id", "name", "kind", "description", "url", "source"), row[1:], strict=True)) | {"aliases": aliases},
        "nodes": [{"id": id_, "name": name, "kind": kind} for name, kind, id_ in names.known.values()],
        "edges": [
            {
                "subject": names.known[e.subject][2], "kind": e.kind, "object": names.known[e.object][2], "source": e.source,
                "document": e.document, "page": e.page,
            }
            for e in edges
        ],
    }  # fmt: skip


def entities(
    connection: sqlite3.Connection, audiences: Sequence[int], *, matching: str = "", limit: int = 100
) -> list[dict[str, str]]:
    """Visible entities in order of their names; those whose name or alias begins with `matching`."""
    seen = ",".join(str(int(a)) for a in audiences)
    rows = connection.execute(
        "SELECT DISTINCT e.id, e.name, e.kind FROM entities e JOIN aliases a ON a.entity = e.number"  # noqa: S608  # whole numbers
        f" WHERE e.audience IN ({seen}) AND a.alias LIKE ? ESCAPE '!' ORDER BY e.name LIMIT ?",
        [squeeze(matching).replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%", limit],
    )
    return [{"id": r[0], "name": r[1], "kind": r[2]} for r in rows]


def history(connection: sqlite3.Connection, *, limit: int = 200) -> list[dict[str, Any]]:
    """The newest changes first, for administrators."""
    rows = connection.execute(
        "SELECT at, author, action, subject, detail FROM history WHERE action <> ? ORDER BY number DESC LIMIT ?", [READ, limit]
    )
    return [{"at": r[0], "author": r[1], "action": r[2], "subject": r[3], **json.loads(r[4])} for r in rows]
