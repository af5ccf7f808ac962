"""How well the knowledge finds what was asked for, and how honest it is about what it does not hold."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import InvalidSetting
from assistant.knowledge import Found, Knowledge, open_knowledge
from assistant.knowledge.build import build
from assistant.knowledge.documents import EVERYONE, Document, Section

_EVERYONE = frozenset({EVERYONE})


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the id of the passage that answers it."""

    text: str
    passage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """The share of questions whose passage stands first, among the first five; mean reciprocal rank of the first ten."""

    questions: int
    recall_at_1: float
    recall_at_5: float
    mrr_at_10: float
    confident: float
    """Share of the questions, all of them answerable, that are answered rather than declined."""
    ms_per_question: float
    ms_p99: float
    cpu_ms_per_question: float
    """The processor's time alone: what stays on a machine that does other work at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Honesty:
    """What happens to a question whose topic (all passages of its title) was left out of the base."""

    questions: int
    answered_though_unanswerable: float
    declined_though_answerable: float


def read_passages(path: Path) -> list[Document]:
    """The documents in JSON Lines of `{"id","title","text"}`. Raises InvalidSetting for anything else."""
    return [
        Document(id=str(row["id"]), title=str(row.get("title", "")), sections=(Section(text=str(row["text"])),))
        for row in _rows(path, ("id", "text"))
    ]


def read_questions(path: Path) -> list[Question]:
    """The questions in JSON Lines of `{"question","passage"}`. Raises InvalidSetting for anything else."""
    return [Question(str(row["question"]), str(row["passage"])) for row in _rows(path, ("question", "passage"))]


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, object]]:
    rows = []
    try:
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict) or any(name not in row for name in needed):
                raise InvalidSetting(f"{path}:{number}: a line must be a JSON object with {', '.join(needed)}")
            rows.append(row)
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"{path} cannot be read as JSON Lines: {error}") from error
    if not rows:
        raise InvalidSetting(f"{path} holds no lines")
    return rows


def retrieval(
    search: Callable[[str], Found], questions: Sequence[Question], *, timer: Callable[[], float] = time.perf_counter
) -> Retrieval:
    """Asks every question of `search`, which gives at least ten passages where there are so many."""
    first = five = sure = 0
    reciprocal = 0.0
    times = []
    begin = time.thread_time()
    for question in questions:
        start = timer()
        found = search(question.text)
        times.append(timer() - start)
        sure += found.confident
        ranked = list(dict.fromkeys(p.document for p in found.passages))[:10]
        if question.passage in ranked:
            place = ranked.index(question.passage) + 1
            first += place == 1
            five += place <= 5
            reciprocal += 1 / place
    cpu = time.thread_time() - begin
    count = len(questions)
    return Retrieval(
        questions=count,
        recall_at_1=round(first / count, 4),
        recall_at_5=round(five / count, 4),
        mrr_at_10=round(reciprocal / count, 4),
        confident=round(sure / count, 4),
        ms_per_question=round(sum(times) / count * 1000, 3),
        ms_p99=round(sorted(times)[int(count * 0.99)] * 1000, 3),
        cpu_ms_per_question=round(cpu / count * 1000, 3),
    )


def evaluate(documents: Sequence[Document], questions: Sequence[Question]) -> Retrieval:
    """Retrieval over a base of `documents` alone."""
    with _base_of(documents) as knowledge:
        knowledge.search(questions[0].text, audience=_EVERYONE)  # opens the file
        return retrieval(lambda q: knowledge.search(q, audience=_EVERYONE, limit=10), questions)


def honesty(documents: Sequence[Document], questions: Sequence[Question], *, folds: int = 6) -> Honesty:
    """Leaves every topic out in turn and asks its questions; asks all of them of the whole base too."""
    titles = {d.id: d.title for d in documents}
    topics = sorted(set(titles.values()))
    folds = min(folds, len(topics))
    wrong = 0
    for fold in range(folds):
        left_out = set(topics[fold::folds])
        wrong += _confident((d for d in documents if d.title not in left_out), _about(questions, titles, left_out))
    right = _confident(documents, questions)
    return Honesty(
        questions=len(questions),
        answered_though_unanswerable=round(wrong / len(questions), 4),
        declined_though_answerable=round(1 - right / len(questions), 4),
    )


def _about(questions: Sequence[Question], titles: dict[str, str], topics: set[str]) -> list[Question]:
    return [q for q in questions if titles.get(q.passage) in topics]


def _confident(documents: Iterable[Document], questions: Sequence[Question]) -> int:
    with _base_of(documents) as knowledge:
        return sum(knowledge.search(q.text, audience=_EVERYONE).confident for q in questions)


@contextmanager
def _base_of(documents: Iterable[Document]) -> Iterator[Knowledge]:
    """A base of these documents alone, for as long as it is looked at."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "knowledge.sqlite"
        build(documents, path)
        with closing(open_knowledge(path)) as knowledge:
            yield knowledge
