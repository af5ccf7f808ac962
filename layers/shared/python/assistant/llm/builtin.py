"""Answers without a model: the sentences of the passages that answer the question best, with their sources.

Nothing is made up, since nothing is written: text is chosen, put in the order it is read in, and cited. Where no passage
speaks of what was asked, it says so and names a way on.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from assistant.llm import ChatRequest, Done, Event, TextDelta
from assistant.messages import Passage

_PIECE: Final = 16
"""Characters of one TextDelta, about."""


class BuiltinModel:
    """A ChatModel that needs no model, no network and no key."""

    name = "builtin"

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """The answer in small pieces, then Done."""
        for piece in _pieces(answer(request)):
            yield TextDelta(piece)
        yield Done(reason="stop", model=self.name)


def answer(request: ChatRequest) -> str:
    """The whole answer as Markdown; `[n]` is the n-th of `request.passages`."""
    if request.messages and request.messages[-1].role == "tool":
        return _tool_results(request)
    asked = [m.text for m in request.messages if m.role == "user" and m.text.strip()]
    if not asked:
        return _say("empty", request.language)
    asked[-1] = request.question or asked[-1]
    question = Question.of(asked[-1], earlier=asked[-2] if len(asked) > 1 else "")
    if not request.passages:
        return _say("nothing", request.language)
    if (number := asked_by_heading(asked[-1], request.passages)) is not None:
        return compose(_beginning(units(request.passages[number], number), _MOST_TEXT))
    found = choose(question, request.passages)
    if not found.units:
        if not found.near:
            return _say("nothing", request.language)
        return _say("nothing_close", request.language).format(titles=_titles(found.near, request.passages))
    text = compose(found.units)
    return text if found.sure else f"{_say('closest', request.language)}\n\n{text}"


def _tool_results(request: ChatRequest) -> str:
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role != "tool":
            break
        results.append(message.text.strip())
    return "\n\n".join(reversed([r for r in results if r])) or _say("nothing", request.language)


def _titles(near: Sequence[int], passages: Sequence[Passage]) -> str:
    return "\n".join(f"- {passages[i].title} [{i + 1}]" for i in near)


# --- what is asked -----------------------------------------------------------------------------

_EN_STOP: Final = frozenset(
    """a about all am an and any are as at be been being but by can could did do does doing for from get give had has have
    having he her hers him his how i if in into is it its just let like may me might mine more most must my no not of off
    on one or our ours out over own please she should so some such tell than that the their theirs them then there these
    they this those through to too under until up us use using very was we were what when where which while who whom whose
    why will with would you your yours explain show know want need there's what's how's i'm it's""".split()  # noqa: SIM905  # a page of quoted words reads worse
)  # fmt: skip
_ZH_STOP: Final = re.compile(
    "请问|请教|请告诉我|告诉我|帮我|麻烦|一下|什么时候|为什么|为啥|什么样|什么|怎么样|怎么办|怎么|怎样|如何|哪些|哪个|哪里|哪儿|哪位|哪|"
    "多少|多久|多长时间|几个|是否|能否|可否|可以|能够|能不能|可不可以|是不是|有没有|有哪些|我们|你们|他们|它们|咱们|"
    "需要|应该|应当|想要|想|关于|以及|或者|还是|如果|因为|所以|但是|这个|那个|这些|那些|这里|那里|进行|"
    "[我你您他她它谁的了着过吗呢吧啊呀嘛么是有在和与或及也都就还会能要把被给对从到让用做说去来得地之其个不很更最]"
)
_WORD: Final = re.compile(
    r"[A-Za-z0-9]+(?:[._'’-][A-Za-z0-9]+)*|[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|[\u3040-\u30ff]+|[\uac00-\ud7af]+"
)
_HAN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

Wants = Literal["steps", "number", "time", "person", "list", "yes_no", "anything"]
_WANTS: Final[Sequence[tuple[Wants, re.Pattern[str]]]] = (
    (
        "number",
        re.compile(r"how (?:many|much|long|often|big|large|far)\b|多少|多长|多久|几[个天次年月周小分]|多大|第几|上限|额度", re.I),
    ),
    ("time", re.compile(r"\bwhen\b|what time|which (?:day|date)|什么时候|何时|几点|哪天|截止", re.I)),
    ("steps", re.compile(r"\bhow (?:do|to|can|does|should|would)\b|\bsteps?\b|怎么|怎样|如何|步骤|流程", re.I)),
    ("person", re.compile(r"\bwho(?:m|se)?\b|谁|哪位|联系人|负责人", re.I)),
    ("list", re.compile(r"\b(?:what|which) (?:are|kinds?|types?|\w+s)\b|\blist\b|哪些|有什么|哪几|列出|列表", re.I)),
    (
        "yes_no",
        re.compile(
            r"^(?:can|could|may|is|are|do|does|did|will|should|must)\b|是否|能否|可否|能不能|可不可以|是不是|有没有|吗[？?。]?$",
            re.I,
        ),
    ),
)
_SHAPES: Final[Mapping[Wants, re.Pattern[str]]] = {
    "number": re.compile(
        r"\d|[一二三四五六七八九十百千万两]+[个天次年月周小分元块倍%]|"
        r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|hundred)\b",
        re.I,
    ),
    "time": re.compile(
        r"\d{1,2}[:：]\d{2}|(?<!\d)\d++\s*+(?:days?|hours?|minutes?|weeks?|months?|a\.?m|p\.?m)|"
        r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
        r"\b(?:january|february|march|april|june|july|august|september|october|november|december)\b|"
        r"(?<!\d)\d++\s*+[年月日号天点时分周]|每[天周月年]|星期|周[一二三四五六日]",
        re.I,
    ),
    "person": re.compile(
        r"\b(?:manager|lead|director|team|department|officer|contact|owner)\b|@|经理|主管|总监|负责|部门|团队|同事|联系", re.I
    ),
    "steps": re.compile(
        r"^\s*(?:\d+[.)、]|[-*•])|"
        r"\b(?:open|click|go to|choose|select|run|enter|fill|submit|first|then)\b|"
        r"打开|点击|进入|选择|运行|填写|提交|首先|然后|步",
        re.I,
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """The weight of each term that was asked for, and the shape of what would answer it."""

    terms: Mapping[str, float]
    wants: Wants
    script: Literal["han", "other"]

    @classmethod
    def of(cls, text: str, *, earlier: str = "") -> Question:
        """The question in `text`; terms of the `earlier` one count little: a follow-up often leaves its subject out."""
        own = Counter(terms(text, question=True))
        weights = dict.fromkeys(own, 1.0)
        if len(weights) < 4:
            for term in terms(earlier, question=True):
                weights.setdefault(term, 0.25)
        wants: Wants = next((kind for kind, shape in _WANTS if shape.search(text)), "anything")
        return cls(weights, wants, "han" if _HAN.search(text) else "other")


def terms(text: str, *, question: bool = False) -> list[str]:
    """The words of `text` that carry meaning: English ones lower-cased and without their endings, Chinese ones as pairs of
    characters. In a `question`, what only asks is left out."""
    if question:
        text = _ZH_STOP.sub(" ", text)
    out: list[str] = []
    for run in _WORD.findall(text):
        if _HAN.match(run):
            out += [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]
            if not question and len(run) > 1:
                out += run  # a question may ask for a single character: 多少天 leaves 天
        elif run[0].isascii():
            word = run.lower().replace("’", "'").removesuffix("'s")
            if word not in _EN_STOP and (len(word) > 1 or word.isdigit()):
                out.append(stem(word))
        else:
            out += [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]
    return out


def stem(word: str) -> str:
    """`word` without the endings that plural, tense and derivation give it; crude, the same for question and passage."""
    if len(word) <= 3 or not word.isalpha():
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


_ENDINGS: Final = (
    ("ations", ""), ("ation", ""), ("ating", ""), ("ates", ""), ("ated", ""), ("ate", ""), ("ements", "e"), ("ement", "e"),
    ("ments", ""), ("ment", ""), ("ings", ""), ("ing", ""), ("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ches", "ch"),
    ("shes", "sh"), ("xes", "x"), ("ers", ""), ("er", ""), ("ed", ""), ("ly", ""), ("es", "e"), ("ss", "ss"), ("us", "us"),
    ("is", "is"), ("s", ""), ("als", ""), ("al", ""),
)  # fmt: skip


# --- what the passages say ---------------------------------------------------------------------


UnitKind = Literal["sentence", "item", "list", "row", "code"]


@dataclass(slots=True)
class Unit:
    """The smallest text that is quoted as a whole: a sentence, a list with its lead-in, a table row, a block of code."""

    text: str
    kind: UnitKind
    passage: int
    place: int
    terms: Counter[str] = field(default_factory=Counter)
    context: frozenset[str] = frozenset()
    """Terms of the title and the headings it stands under."""
    score: float = 0.0
    shown: str = ""
    """The text where it needs more than itself to be read alone, as a table row needs its column heads."""


class _Add(Protocol):
    def __call__(self, text: str, kind: UnitKind, shown: str = "") -> None: ...


_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}\s++(.*)$")
_ITEM: Final = re.compile(r"^\s*(?:[-*•+]|\d{1,2}[.)、．]|[（(]\d{1,2}[)）]|[①-⑳])\s*(?=\S)")
_RULE: Final = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_TABLE_RULE: Final = re.compile(r"^\s*+\|?\s*+:?-{2,}+:?\s*+(?:\|\s*+:?-{2,}+:?\s*+)*+\|?\s*+$")
_SENTENCE: Final = re.compile(
    r"(?<=[。！？；!?])\s*|(?<=[.!?][\"'”’)\]])\s+(?=[A-Z0-9\"“‘(\[])|(?<=[.!?])\s+(?=[A-Z0-9\"“‘(\[`*])"
)
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|mr|mrs|ms|dr|st|no|inc|ltd|fig|approx|dept|u\.s|a\.m|p\.m|[A-Z]))\.$", re.I
)


def units(passage: Passage, number: int) -> list[Unit]:
    """`passage` cut into what can be quoted, in reading order."""
    out: list[Unit] = []
    context = set(terms(f"{passage.title} {passage.path}"))
    under: set[str] = set()

    def add(text: str, kind: UnitKind, shown: str = "") -> None:
        out.append(
            Unit(
                text, kind, number, len(out), terms=Counter(terms(text)), context=frozenset(context | under), shown=shown or text
            )
        )

    lines = passage.text.replace("\r\n", "\n").split("\n")
    i = 0
    while i < len(lines):
        line = lines[i]
        if not line.strip() or _RULE.match(line):
            i += 1
        elif _FENCE.match(line):
            end = next((j for j in range(i + 1, len(lines)) if _FENCE.match(lines[j])), len(lines) - 1)
            add("\n".join(lines[i : end + 1]), "code")
            i = end + 1
        elif heading := _HEADING.match(line):
            under = set(terms(heading[1]))
            i += 1
        elif line.lstrip().startswith("|"):
            i = _table(lines, i, add)
        elif _ITEM.match(line):
            i = _list(lines, i, out, add)
        else:
            end = i
            while end < len(lines) and lines[end].strip() and not _starts_block(lines[end]):
                end += 1
            for sentence in sentences(_joined(lines[i:end])):
                add(sentence, "sentence")
            i = end
    return out


def _starts_block(line: str) -> bool:
    return bool(_FENCE.match(line) or _HEADING.match(line) or _ITEM.match(line) or line.lstrip().startswith("|"))


def _joined(lines: Sequence[str]) -> str:
    """Lines of one paragraph: joined with a space, but not between two Chinese characters."""
    text = ""
    for line in (s.strip() for s in lines):
        if text and line:
            text += "" if _HAN.match(text[-1]) and _HAN.match(line[0]) else " "
        text += line
    return text


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, Chinese and English; an abbreviation's full stop ends none."""
    out: list[str] = []
    for part in _SENTENCE.split(text):
        if not (part := part.strip()):
            continue
        if out and _ABBREVIATION.search(out[-1]):
            out[-1] += f" {part}"
        else:
            out.append(part)
    return out


def _list(lines: Sequence[str], i: int, out: list[Unit], add: _Add) -> int:
    """A list as one unit together with its lead-in, if it is short; else item by item."""
    items: list[str] = []
    while i < len(lines):
        line = lines[i]
        if _ITEM.match(line):
            items.append(line.rstrip())
        elif line.strip() and items and line[0] in " \t　":
            items[-1] += " " + line.strip()
        elif not line.strip() and i + 1 < len(lines) and _ITEM.match(lines[i + 1]):
            pass  # a loose list
        else:
            break
        i += 1
    whole = "\n".join(items)
    lead = out[-1] if out and out[-1].kind == "sentence" and out[-1].text.rstrip().endswith((":", "：")) else None
    if len(items) <= 9 and len(whole) <= 900:
        if lead is not None:
            out.pop()
            add(f"{lead.text}\n\n{whole}", "list")
        else:
            add(whole, "list")
    else:
        for item in items:
            add(_ITEM.sub("", item).strip(), "item", f"{lead.text}\n\n- {_ITEM.sub('', item).strip()}" if lead else "")
    return i


def _table(lines: Sequence[str], i: int, add: _Add) -> int:
    """Each row of a table as a unit that names its columns."""
    rows: list[list[str]] = []
    while i < len(lines) and lines[i].lstrip().startswith("|"):
        if not _TABLE_RULE.match(lines[i]):
            rows.append([c.strip() for c in lines[i].strip().strip("|").split("|")])
        i += 1
    head, body = (rows[0], rows[1:]) if len(rows) > 1 else ([], rows)
    for row in body:
        named = [f"{h}: {c}" if h and k else c for k, (h, c) in enumerate(zip(head or [""] * len(row), row, strict=False)) if c]
        text = " · ".join(named)
        if text:
            add(text, "row", f"- {text}")
    return i


# --- the choice --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was chosen: `sure` where it speaks of most of what was asked, `near` the passages to look at otherwise."""

    units: tuple[Unit, ...] = ()
    sure: bool = False
    near: tuple[int, ...] = ()


_SURE: Final = 0.5
"""Share of the asked weight above which an answer is given without a caution."""
_CLOSE: Final = 0.25
"""Share below which nothing is quoted."""
_HALF: Final = 0.15
"""What one character of an asked pair counts."""
_FAR: Final = 0.12
"""Share below which not even a title is worth a look."""
_WHOLE: Final = 0.5
"""What a term counts that stands elsewhere in the passage of the best unit."""
_MOST_UNITS: Final = 4
_MOST_TEXT: Final = 900


def choose(question: Question, passages: Sequence[Passage]) -> Found:
    """The units that answer best, in reading order."""
    pool = [u for n, p in enumerate(passages) for u in units(p, n)]
    near = tuple(range(min(3, len(passages))))
    if not pool:
        return Found(near=near)
    if not question.terms:
        return Found(units=tuple(_lead(pool, 0)), near=near)
    weights = _weights(question, pool)
    total = sum(weights.values())
    best = max(p.score for p in passages)
    for unit in pool:
        rank = passages[unit.passage].score / best if best > 0 else 1 / (1 + unit.passage)
        unit.score = _score(unit, weights, total, question=question, rank=rank)
    ranked = sorted(pool, key=lambda u: (-u.score, u.passage, u.place))
    reached = max(*(_coverage(u, weights, total) for u in ranked[:5]), _WHOLE * _whole_coverage(ranked[0], pool, weights, total))
    if reached < _CLOSE:
        if all(_script(p) != question.script for p in passages):  # found by meaning across languages: words cannot judge it
            return Found(units=tuple(_lead(pool, 0)), near=near)
        return Found(near=near if reached >= _FAR else ())
    chosen = _spread(ranked, weights, question)
    together = set().union(*(u.terms.keys() | u.context for u in chosen))
    covered = sum(w for t, w in weights.items() if t in together) / total
    return Found(units=tuple(chosen), sure=covered >= _SURE, near=near)


def asked_by_heading(question: str, passages: Sequence[Passage]) -> int | None:
    """Which passage stands under the heading that asks most nearly the same as `question`: what follows it was written as the
    answer. A heading that denies what the question asks, or the other way round, is another question."""
    asked = Question.of(question)
    words = _all_words(question)
    likely: list[tuple[float, int]] = []
    for number, passage in enumerate(passages):
        heading = passage.path.rpartition(" › ")[2]
        if not heading or Question.of(heading).wants != asked.wants:
            continue
        same = _all_words(heading)
        if (words ^ same) & _DENIALS:
            continue
        share = len(words & same) / max(1, len(words | same))
        subject = set(terms(heading, question=True))
        if words == same or (share >= 0.6 and subject == asked.terms.keys()):
            likely.append((share, -number))
    return -max(likely)[1] if likely else None


_DENIALS: Final = frozenset(
    {"not", "no", "never", "without", "cannot", "can't", "don't", "doesn't", "不", "没", "无", "未", "别"}
)


def _all_words(text: str) -> frozenset[str]:
    return frozenset(w for run in _WORD.findall(text.lower()) for w in (run if _HAN.match(run) else (run.replace("-", ""),)))


def _beginning(pool: Sequence[Unit], longest: int) -> list[Unit]:
    """The first units, at least one, as long as they are short enough together."""
    out: list[Unit] = []
    length = 0
    for unit in pool:
        length += len(unit.text)
        if out and length > longest:
            break
        out.append(unit)
    return out


def _script(passage: Passage) -> Literal["han", "other"]:
    han = len(_HAN.findall(passage.text))
    return "han" if 4 * han > len(passage.text) else "other"


def _weights(question: Question, pool: Sequence[Unit]) -> dict[str, float]:
    """What each asked term is worth: rare ones in these passages more, ones in none of them as much as the rarest."""
    n = len(pool)
    seen: Counter[str] = Counter()
    for unit in pool:
        seen.update(unit.terms.keys() | unit.context)
    return {t: w * (0.5 + math.log(1 + n / (1 + seen[t])) / math.log(1 + n)) for t, w in question.terms.items()}


def _coverage(unit: Unit, weights: Mapping[str, float], total: float) -> float:
    got = sum(w if t in unit.terms else w * _part(t, unit.terms) for t, w in weights.items())
    beside = sum(w for t, w in weights.items() if t not in unit.terms and t in unit.context)
    return (got + 0.6 * beside) / total


def _part(term: str, seen: Mapping[str, int]) -> float:
    """What a pair of Chinese characters counts where only single ones of it are there: 生病 and 病假 share their matter."""
    return _HALF * sum(c in seen for c in term) if len(term) == 2 and _HAN.match(term) else 0.0


def _whole_coverage(best: Unit, pool: Sequence[Unit], weights: Mapping[str, float], total: float) -> float:
    """Coverage by the whole passage of the best unit: its sentences lean on one another."""
    together: set[str] = set().union(*(u.terms.keys() | u.context for u in pool if u.passage == best.passage))
    return sum(w for t, w in weights.items() if t in together) / total


def _score(unit: Unit, weights: Mapping[str, float], total: float, *, question: Question, rank: float) -> float:
    score = _coverage(unit, weights, total)
    if score == 0:
        return 0.0
    score += 0.2 * rank + 0.08 / (1 + unit.passage)
    if (shape := _SHAPES.get(question.wants)) and shape.search(unit.text):
        score += 0.2
    if unit.kind == "list":
        score += {"steps": 0.25, "list": 0.25}.get(question.wants, 0.0)
    if unit.text.rstrip().endswith(("?", "？")):
        score -= 0.25  # a question repeats the words and answers nothing
    if unit.kind == "code":
        score -= 0.1
    if unit.kind == "sentence" and len(unit.text) < 12:
        score -= 0.15
    return score - min(0.15, len(unit.text) / 6000)


def _spread(ranked: Sequence[Unit], weights: Mapping[str, float], question: Question) -> list[Unit]:
    """The best unit, and further ones as long as they add something asked for or carry on where it stops."""
    first = ranked[0]
    chosen = [first]
    covered = set(first.terms) | first.context
    length = len(first.text)
    by_place = {(u.passage, u.place): u for u in ranked}
    for unit in ranked[1:]:
        if len(chosen) >= _MOST_UNITS or unit.score < 0.55 * first.score:
            break
        if length + len(unit.text) > _MOST_TEXT or _repeats(unit, chosen):
            continue
        new = sum(w for t, w in weights.items() if t in unit.terms and t not in covered)
        beside = unit.kind != "row" and any(u.passage == unit.passage and abs(u.place - unit.place) == 1 for u in chosen)
        if new > 0 or beside or unit.score > 0.85 * first.score:
            chosen.append(unit)
            covered |= set(unit.terms)
            length += len(unit.text)
    for unit in tuple(chosen):  # what a sentence announces belongs to it; a how-to's command stands right under it
        follower = by_place.get((unit.passage, unit.place + 1))
        announces = unit.text.rstrip().endswith((":", "："))
        if follower is None or follower in chosen or length + len(follower.text) > 1.5 * _MOST_TEXT:
            continue
        if announces or (follower.kind == "code" and question.wants == "steps") or (len(chosen) == 1 and length < 60):
            chosen.append(follower)
            length += len(follower.text)
    return sorted(chosen, key=lambda u: (u.passage, u.place))


def _repeats(unit: Unit, chosen: Sequence[Unit]) -> bool:
    mine = set(unit.terms)
    return any(mine and len(mine & set(u.terms)) >= 0.8 * len(mine) for u in chosen)


def _lead(pool: Sequence[Unit], passage: int) -> list[Unit]:
    """The first lines of a passage."""
    out: list[Unit] = []
    for unit in pool:
        if unit.passage == passage and sum(len(u.text) for u in out) < 240 and len(out) < 3:
            out.append(unit)
    return out


def compose(chosen: Sequence[Unit]) -> str:
    """The chosen units as Markdown: neighbours flow together, each passage's part ends with its number."""
    parts: list[str] = []
    passages = list(dict.fromkeys(u.passage for u in chosen))
    for passage in passages:
        text = ""
        before: Unit | None = None
        for unit in (u for u in chosen if u.passage == passage):
            text += _joint(before, unit) + unit.shown
            before = unit
        mark = f"[{passage + 1}]"
        last = before.kind if before else "sentence"
        parts.append(f"{text}\n\n{mark}" if last in ("list", "code") else f"{text} {mark}")
    return "\n\n".join(parts)


def _joint(before: Unit | None, unit: Unit) -> str:
    if before is None:
        return ""
    if before.kind == unit.kind == "row":
        return "\n"
    if before.kind == unit.kind == "sentence" and unit.place - before.place <= 2:
        return "" if _HAN.search(before.text[-2:]) else " "
    return "\n\n"


def _pieces(text: str) -> Iterator[str]:
    """`text` in small pieces that break at spaces where there are any."""
    start = 0
    while start < len(text):
        end = min(len(text), start + _PIECE)
        if end < len(text) and (space := text.rfind(" ", start + 1, end)) > start:
            end = space + 1
        yield text[start:end]
        start = end


# --- what is said where nothing was found ------------------------------------------------------

_SAYINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "nothing": (
            "I found nothing about that in the documents I can read.\n\n"
            "- Try other words, or name the system, place or document it is about.\n"
            "- If it should be there, ask whoever looks after the knowledge base to add it."
        ),
        "nothing_close": (
            "I found no answer to that in the documents I can read. These come closest:\n\n{titles}\n\n"
            "Try other words, or ask whoever looks after the knowledge base to add it."
        ),
        "closest": "I am not sure that this answers it; it is the closest I found:",
        "empty": "What would you like to know?",
    },
    "zh": {
        "nothing": (
            "在我能查阅的资料里没有找到相关内容。\n\n"
            "- 可以换个说法，或者说明涉及的系统、地点或文档。\n"
            "- 如果资料里应该有，请联系知识库管理员补充。"
        ),
        "nothing_close": (
            "在我能查阅的资料里没有找到这个问题的答案。最接近的资料是：\n\n{titles}\n\n可以换个说法再问，或请知识库管理员补充。"
        ),
        "closest": "不确定这是否就是您要的答案，以下是最接近的内容：",
        "empty": "请问您想了解什么？",
    },
}


def _say(what: str, language: str) -> str:
    return _SAYINGS["zh" if language.lower().startswith("zh") else "en"][what]
