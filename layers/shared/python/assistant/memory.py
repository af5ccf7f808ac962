"""What a person has asked the assistant to remember: listed, corrected, erased and taken along in the chat.

One item a person, `U#tenant#platform#user` / `facts`, changed by compare-and-set; it keeps the turn that changed it last, so that
a message delivered again changes nothing a second time. Facts are used in one-to-one chats alone: what somebody tells the
assistant is not for the ears of a group.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from assistant.errors import Unavailable
from assistant.messages import Message, Reply
from assistant.storage import Conflict, Table, key
from assistant.words import say

MOST: Final = 50
LONGEST: Final = 300
KEPT_SECONDS: Final = 60
"""Facts are read again after this long, or at once where this conversation has changed them since."""
MOST_PEOPLE: Final = 2_000

_REMEMBER = re.compile(
    r"(?:/remember\s+|(?:please\s+|pls\s+)?remember(?:\s+that\s+|\s*:\s*))(?P<en>.+)"
    r"|/?(?:请|麻烦)?(?:帮我|你)?(?:记住|记下)(?:了)?[\s,，:：]*(?P<zh>.+)",
    re.IGNORECASE | re.DOTALL,
)
_SHOW = re.compile(
    r"/memory|/facts|/记忆|我的记忆|what do you (?:remember|know) about me"
    r"|你(?:还)?(?:记得|记住)了?(?:关于)?我?的?(?:什么|哪些事?)",
    re.IGNORECASE,
)
_EXPORT = re.compile(r"(?:/memory|/记忆)\s+(?:json|export|导出)", re.IGNORECASE)
_CORRECT = re.compile(r"(?:/memory|/记忆)\s+(\d{1,3})\s+(.+)", re.IGNORECASE | re.DOTALL)
_FORGET = re.compile(r"(?:/forget|/忘记)(?:\s*(?P<which>all|everything|全部|所有|\d{1,3}))?", re.IGNORECASE)
_FORGET_ALL = re.compile(
    r"forget everything (?:about me|you know about me)|忘(?:记|掉)(?:关于我的|我的)(?:一切|全部|所有)", re.IGNORECASE
)
_ALL = frozenset({"all", "everything", "全部", "所有"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something to remember. `at`: Unix seconds."""

    text: str
    at: int


class Memory:
    """Facts in the table. Raises Unavailable where it does not answer. Safe to use from several threads."""

    def __init__(self, table: Table, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock
        self._known: OrderedDict[str, tuple[Sequence[Fact], float]] = OrderedDict()
        self._lock = threading.Lock()

    def facts(self, message: Message, *, changed: float = 0) -> Sequence[Fact]:
        """What the sender wants remembered, oldest first; no call while it was read within `KEPT_SECONDS` and after the Unix
        time `changed`."""
        pk = _partition(message)
        now = self._clock()
        with self._lock:
            known = self._known.get(pk)
        if known and known[1] > changed and now - known[1] < KEPT_SECONDS:
            return known[0]
        item = self._table.get(pk, "facts", consistent=False)
        return self._keep(pk, _read(str(item["body"])) if item else ())

    def hear(self, message: Message, *, turn: str, language: str) -> Reply | None:
        """The answer to a wish about the memory, which it fulfils; None for every other message."""
        said = message.text.strip()
        if message.kind == "slash" and said and not said.startswith("/"):
            said = f"/{said}"
        plain = said.rstrip(" .!?。！？")
        if _SHOW.fullmatch(plain):
            return self._shown(message, language)
        if _EXPORT.fullmatch(plain):
            facts = json.dumps([asdict(f) for f in self._fresh(message)], ensure_ascii=False, indent=2)
            return Reply(text=f"```json\n{facts}\n```", private=True)
        if found := _CORRECT.fullmatch(said):
            number, new = int(found[1]), found[2]
            return self._change(message, turn, language, lambda facts: self._corrected(facts, number, new, language))
        if _FORGET_ALL.fullmatch(plain):
            return self._change(message, turn, language, lambda facts: self._forgotten(facts, "all", language))
        if found := _FORGET.fullmatch(plain):
            if not found["which"]:
                return self._shown(message, language)
            which = found["which"].lower()
            return self._change(message, turn, language, lambda facts: self._forgotten(facts, which, language))
        if not said.endswith(("?", "？")) and (found := _REMEMBER.fullmatch(said)):
            text = found["en"] or found["zh"]
            if len(plain) < 4 or not text.strip(" .!。！了吧哦啊"):  # "记住了": an answer, nothing to remember
                return None
            return self._change(message, turn, language, lambda facts: self._remembered(facts, text, language))
        return None

    # --- what is said ---

    def _shown(self, message: Message, language: str) -> Reply:
        facts = self._fresh(message)
        if not facts:
            return Reply(text=say("memory_empty", language), private=True)
        lines = [f"{n}. {_quoted(f.text)}" for n, f in enumerate(facts, 1)]
        return Reply(text="\n".join([say("memory_list", language), "", *lines, "", say("memory_hint", language)]), private=True)

    def _remembered(self, facts: Sequence[Fact], text: str, language: str) -> tuple[Sequence[Fact], str]:
        text = " ".join(text.split())
        if len(text) > LONGEST:
            return facts, say("memory_too_long", language, length=len(text), limit=LONGEST)
        if any(f.text.casefold() == text.casefold() for f in facts):
            return facts, say("memory_known", language)
        if len(facts) >= MOST:
            return facts, say("memory_full", language, limit=MOST)
        return [*facts, Fact(text=text, at=int(self._clock()))], say("memory_kept", language, fact=_quoted(text))

    def _corrected(self, facts: Sequence[Fact], number: int, text: str, language: str) -> tuple[Sequence[Fact], str]:
        text = " ".join(text.split())
        if not 1 <= number <= len(facts):
            return facts, say("memory_no_such", language, number=number, count=len(facts))
        if len(text) > LONGEST:
            return facts, say("memory_too_long", language, length=len(text), limit=LONGEST)
        new = Fact(text=text, at=int(self._clock()))
        return [*facts[: number - 1], new, *facts[number:]], say("memory_kept", language, fact=_quoted(text))

    def _forgotten(self, facts: Sequence[Fact], which: str, language: str) -> tuple[Sequence[Fact], str]:
        if which in _ALL:
            return (), say("memory_forgot_all", language)
        number = int(which)
        if not 1 <= number <= len(facts):
            return facts, say("memory_no_such", language, number=number, count=len(facts))
        left = [*facts[: number - 1], *facts[number:]]
        return left, say("memory_forgot", language, fact=_quoted(facts[number - 1].text))

    # --- the table ---

    def _fresh(self, message: Message) -> Sequence[Fact]:
        item = self._table.get(_partition(message), "facts")
        return self._keep(_partition(message), _read(str(item["body"])) if item else ())

    def _change(
        self, message: Message, turn: str, language: str, change: Callable[[Sequence[Fact]], tuple[Sequence[Fact], str]]
    ) -> Reply:
        pk = _partition(message)
        for _ in range(5):
            item = self._table.get(pk, "facts")
            if item and item.get("turn") == turn:  # done by an earlier delivery of this message
                return Reply(text=str(item.get("said", "")), private=True)
            edition = int(item.get("edition") or 0) if item else 0
            before = _read(str(item["body"])) if item else ()
            after, said = change(before)
            if after == before:
                return Reply(text=said, private=True)
            body = json.dumps([asdict(f) for f in after], ensure_ascii=False)
            try:
                self._table.put(
                    {"pk": pk, "sk": "facts", "body": body, "edition": edition + 1, "turn": turn, "said": said},
                    condition="attribute_not_exists(#pk) OR #edition = :edition",
                    values={"edition": edition},
                )
            except Conflict:
                continue
            self._keep(pk, after)
            return Reply(text=said, private=True)
        raise Unavailable("the facts of this person are being changed by many messages at once")

    def _keep(self, pk: str, facts: Sequence[Fact]) -> Sequence[Fact]:
        with self._lock:
            self._known[pk] = (facts, self._clock())
            self._known.move_to_end(pk)
            while len(self._known) > MOST_PEOPLE:
                self._known.popitem(last=False)
        return facts


def _partition(message: Message) -> str:
    return key("U", message.tenant, message.platform, message.sender)


def _read(body: str) -> Sequence[Fact]:
    return [Fact(text=str(f["text"]), at=int(f["at"])) for f in json.loads(body)]


def _quoted(text: str) -> str:
    """The fact as plain text inside Markdown."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text)
