"""What was said: one item a turn, appended; the newest turns and the conversation's facts come back in one query.

States of a turn: `waiting` (a follow-up that came while another was answered: a later turn answers it), `answering` (claimed
because something of it is already visible), `saved` (the reply is decided), `sent` (a person has it), `failed` (given up; it
stands in the dead letters). The reply is decided by one conditional write on the turn's key, and that key is made of the message
alone, so a second delivery always meets the first one's turn.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from assistant.errors import Unavailable
from assistant.messages import OURS, Message, Reply, Sent, StreamState, reply_from_json, to_json
from assistant.storage import Conflict, Item, Table, key

State = Literal["waiting", "answering", "saved", "sent", "failed"]

LEASE_SECONDS = 180
"""After this long a claim that was not followed by a reply belongs to whoever comes next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message and its answer."""

    pk: str
    sk: str
    state: State
    question: str
    user: str
    kind: str = "text"
    message_id: str = ""
    at: int = 0
    """When the question was asked, ms since 1970."""
    text: str = ""
    """The answer so far while the state is `answering`."""
    reply: Reply | None = None
    owner: str = ""
    until: int = 0
    """Unix second at which the claim ends."""
    stop: str = ""
    """Why the running answer must end: `stopped`, `recalled` or `edited`; empty while it may go on."""
    edited: str = ""
    """The question's new text, where `stop` is `edited`."""
    stream: StreamState | None = None
    sent: tuple[str, ...] = ()
    after: Mapping[str, Any] = field(default_factory=dict)
    """What the conversation knows after this turn: running flow, slots, language."""
    model: str = ""
    reason: str = ""
    """Why it failed."""
    noted: int = 0
    """Day, counted from 1970, on which it was noted that its author writes here."""
    days: int = 0
    """Days for which it is kept, where that is shorter than configured."""
    thread: str = ""
    """The topic that the question stands in."""
    answered: int = 0
    """When the reply was decided, ms since 1970 on our clock."""
    collects: tuple[str, ...] = ()
    """Sort keys of the follow-ups that this turn answers together."""
    zone: str = ""
    """The asker's time zone, where it is known."""
    files: tuple[str, ...] = ()
    """Names of the files that came with the question."""

    @property
    def id(self) -> str:
        """The same for every delivery of the message, ≤ 40 characters: `send` takes it as its key."""
        return hashlib.sha256(f"{self.pk}\n{self.sk}".encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a conversation holds when a new message comes: newest turns old to new, facts, and what was taken back."""

    pk: str
    turns: tuple[Turn, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    """Message ids that were recalled ("") or edited (the new text) before they were answered."""
    complete: bool = True
    """False when older turns exist that were not read."""
    zone: str = ""
    """The time zone that the asker chose."""

    def turn_of(self, message: Message) -> Turn | None:
        """The stored turn of `message`, if it is among those read."""
        sk = turn_key(message)
        return next((t for t in self.turns if t.sk == sk), None)

    @property
    def state(self) -> Mapping[str, Any]:
        """What the conversation knew after the turn that was decided last: vendors' clocks do not tell, some count in seconds."""
        decided = [t for t in self.turns if t.state in ("saved", "sent")]
        return max(reversed(decided), key=lambda t: t.answered or t.at).after if decided else {}


def conversation_key(message: Message) -> str:
    """Partition of what remembers together: the message's chat, its topic there, or its author in the topic."""
    parts = [message.conversation if message.memory == "chat" else message.topic]
    if _of_member(message):
        parts.append(message.sender)
    pk = key("C", message.tenant, message.platform, *parts)
    return pk if len(pk) <= 1000 else key("C", message.tenant, message.platform, hashlib.sha256(pk.encode()).hexdigest())


def _of_member(message: Message) -> bool:
    return message.memory == "member" and not message.direct


def _is_hidden(message: Message) -> bool:
    """True where an event that names the message alone, as a recall may, does not lead to its conversation's partition."""
    return _of_member(message) or (bool(message.thread) and message.memory != "chat")


def turn_key(message: Message) -> str:
    """Sort key of the message's turn: its time on the platform's clock, then what it is de-duplicated on."""
    id_ = key(message.kind, message.dedup_id)
    return f"turn#{message.sent_at:013d}#{id_ if len(id_) <= 200 else hashlib.sha256(id_.encode()).hexdigest()}"


class Sessions:
    """Reads and writes turns. Every method is one call to the table unless it says otherwise."""

    def __init__(
        self, table: Table, *, history: int = 12, retention_days: int = 180, clock: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._history = history
        self._retention = retention_days * 86400
        self._clock = clock

    # --- before the answer ---

    def timed(self, message: Message) -> Message:
        """`message` with the arrival time of its first delivery; a call only where the platform gives no time and the client
        chose the id itself, so that a repeat hours later still meets the first one's turn."""
        if not message.untimed:
            return message
        pk, sk = key("D", message.tenant, message.platform, message.topic), key(message.kind, message.dedup_id)
        try:
            self._table.put(
                {"pk": pk, "sk": sk, "at": message.sent_at, "expires": self._expires()}, condition="attribute_not_exists(#pk)"
            )
        except Conflict as met:
            return replace(message, sent_at=int(met.item.get("at") or message.sent_at))
        return message

    def admit(self, message: Message) -> bool:
        """False where the message's proof (a signature that does not cover the body) came before with another body."""
        signature, _, body = message.proof.partition(":")
        try:
            self._table.put(
                {"pk": key("P", message.platform, signature), "sk": "proof", "body": body, "expires": self._expires()},
                condition="attribute_not_exists(#pk) OR #body = :body",
                values={"body": body},
            )
        except Conflict:
            return False
        return True

    def recall(self, message: Message) -> Session:
        """The conversation of `message`; a second call only in a thread, in a member's own memory, or for a message older than
        all turns read."""
        pk = conversation_key(message)
        items = self._table.query(pk, limit=self._history + 2, descending=True)
        turns = [_turn(i) for i in items if str(i["sk"]).startswith("turn#")]
        complete = len(items) < self._history + 2
        sk = turn_key(message)
        if not complete and turns and sk < turns[-1].sk and (old := self._table.get(pk, sk)):
            turns.append(_turn(old))
        about: dict[str, Any] = next((json.loads(str(i["body"])) for i in items if i["sk"] == "~about"), {})
        withdrawn = {str(i["sk"]).removeprefix("~gone#"): str(i.get("body", "")) for i in items if str(i["sk"]).startswith("~g")}
        if _is_hidden(message) and (gone := self._table.get(_by_id(message, message.message_id), "gone")):
            withdrawn[message.message_id] = str(gone.get("body", ""))
        return Session(
            pk=pk,
            turns=tuple(reversed(turns)),
            about=about,
            withdrawn=withdrawn,
            complete=complete,
        )

    def turns(self, message: Message, *, after: str = "", limit: int = 50) -> Sequence[Turn]:
        """Turns of the conversation in order, those after sort key `after`; without it the newest `limit`."""
        pk = conversation_key(message)
        if after:
            items = self._table.query(pk, after=after, limit=limit)
        else:
            items = list(reversed(self._table.query(pk, limit=limit, descending=True)))
        return [_turn(i) for i in items if str(i["sk"]).startswith("turn#")]

    def stored(self, turn: Turn) -> Turn | None:
        """The turn with that key as it stands in the table now."""
        item = self._table.get(turn.pk, turn.sk)
        return _turn(item) if item else None

    def newest(self, pk: str) -> str:
        """Sort key of the newest turn in the partition `pk`; empty where there is none."""
        items = self._table.query(pk, prefix="turn#", limit=1, descending=True)
        return str(items[0]["sk"]) if items else ""

    def find(self, message: Message, sk: str) -> Turn | None:
        """The turn of the conversation with the sort key `sk`."""
        item = self._table.get(conversation_key(message), sk) if sk.startswith("turn#") else None
        return _turn(item) if item else None

    # --- the turn ---

    def begin(self, message: Message, *, owner: str, days: int = 0) -> Turn:
        """A turn that is not stored yet; `days`: kept for this long at most, 0 for as long as configured."""
        return Turn(
            pk=conversation_key(message),
            sk=turn_key(message),
            state="answering",
            question="" if message.kind in ("relay", "silence") else message.text,
            user=message.sender,
            kind=message.kind,
            message_id="" if message.kind in OURS else message.message_id,
            at=message.sent_at,
            days=days,
            thread=message.thread,
            owner=owner,
            until=int(self._clock()) + LEASE_SECONDS,
            files=tuple(part.file_name for part in message.each_file) if message.file_key else (),
        )

    def wait(self, turn: Turn) -> Turn:
        """Stores a question that a later turn answers; gives what stands there where it was stored before."""
        waiting = replace(turn, state="waiting")
        try:
            self._table.put(self._item(waiting), condition="attribute_not_exists(#pk)")
        except Conflict as met:
            return _turn(met.item)
        return waiting

    def claim(self, turn: Turn, message: Message) -> Turn:
        """Stores the turn as being answered, because something of it is about to be visible or it takes long.

        One call more in a thread or a member's own memory: a recall may name the message alone, so the turn can be found by it
        as well.
        Raises Unavailable where another delivery holds an unfinished claim.
        """
        if _is_hidden(message):
            self._table.put(
                {"pk": _by_id(message, message.message_id), "sk": "turn", "at": turn.pk, "turn": turn.sk, "expires": self._soon()}
            )
        delivery, _, attempt = turn.owner.rpartition("/")
        try:
            self._table.put(
                self._item(turn),
                condition="attribute_not_exists(#pk) OR #state = :failed OR (#state = :answering AND"
                " (#owner = :owner OR #until < :now OR (begins_with(#owner, :delivery) AND #attempt < :attempt)))",
                values={
                    "answering": "answering",
                    "failed": "failed",
                    "owner": turn.owner,
                    "now": int(self._clock()),
                    "delivery": f"{delivery}/",
                    "attempt": int(attempt or 0),
                },
            )
        except Conflict as met:
            raise Unavailable("another delivery of this message is being answered") from met
        return turn

    def grow(self, turn: Turn, text: str, stream: StreamState | None = None) -> Turn:
        """Stores the text so far (and the stream's state) of a claimed turn, and gives the turn with its `stop` flag."""
        changes: dict[str, str | int | None] = {"text": text, "until": int(self._clock()) + LEASE_SECONDS}
        if stream:
            changes["stream"] = to_json(stream)
        try:
            item = self._table.update(
                turn.pk,
                turn.sk,
                changes,
                condition="#state = :answering AND #owner = :owner",
                values={"answering": "answering", "owner": turn.owner},
            )
        except Conflict as met:
            raise Unavailable("another delivery of this message has taken over") from met
        stop, edited = str(item.get("stop") or ""), str(item.get("edited") or "")
        return replace(turn, text=text, stream=stream or turn.stream, stop=stop, edited=edited)

    def save(self, turn: Turn, *, claimed: bool) -> Turn:
        """Decides the reply. Raises Stopped where the answer was stopped meanwhile, Conflict with the stored turn otherwise."""
        saved = replace(turn, state="saved", text="", answered=self._now())
        condition = "attribute_not_exists(#pk)"
        values: Item | None = None
        if claimed:
            condition = "#state = :answering AND #owner = :owner AND attribute_not_exists(#stop)"
            values = {"answering": "answering", "owner": turn.owner}
        try:
            self._table.put(self._item(saved), condition=condition, values=values)
        except Conflict as met:
            stored = _turn(met.item)
            if stored.owner == turn.owner and stored.stop:
                raise Stopped(stored) from met
            if stored.owner == turn.owner and stored.state in ("saved", "sent"):
                return stored  # our own write, repeated by the client after a lost answer
            raise
        return saved

    def settle(self, turn: Turn) -> Turn:
        """Decides what is left of a stopped answer. Raises Conflict where the claim is no longer ours."""
        saved = replace(turn, state="saved", text="", stop="", answered=self._now())
        self._table.put(
            self._item(saved),
            condition="#state = :answering AND #owner = :owner",
            values={"answering": "answering", "owner": turn.owner},
        )
        return saved

    def mark_sent(self, turn: Turn, sent: Sent) -> Turn:
        """Notes that a person has the reply."""
        self._table.update(turn.pk, turn.sk, {"state": "sent", "sent": json.dumps(sent.ids), "text": None})
        return replace(turn, state="sent", sent=sent.ids)

    def judge(self, message: Message, turn: str, *, good: bool) -> tuple[Turn | None, bool | None]:
        """Notes whether the sender finds the answer with sort key `turn` in this conversation good; gives the turn (None where it
        is not there) and what they thought of it before. Two calls."""
        pk = conversation_key(message)
        item = self._table.get(pk, turn) if turn.startswith("turn#") and len(turn) < 400 else None
        if item is None or item["state"] not in ("saved", "sent"):
            return None, None
        mark = "opinion_" + hashlib.sha256(message.sender.encode("utf-8", "replace")).hexdigest()[:12]
        before = item.get(mark)
        if before is not None and bool(before) == good:
            return _turn(item), good
        try:
            self._table.update(pk, turn, {mark: good}, condition="attribute_exists(#pk)")
        except Conflict:
            return None, None
        return _turn(item), None if before is None else bool(before)

    def summarise(self, pk: str, text: str, *, upto: str) -> None:
        """Stores what the turns up to sort key `upto` amount to, unless a summary reaches further already."""
        body = json.dumps({"summary": text, "upto": upto}, ensure_ascii=False)
        with suppress(Conflict):
            self._table.put(
                {"pk": pk, "sk": "~about", "body": body, "upto": upto, "expires": self._expires()},
                condition="attribute_not_exists(#pk) OR attribute_not_exists(#upto) OR #upto < :upto",
                values={"upto": upto},
            )

    def give_up(self, turn: Turn, reason: str) -> Turn:
        """Stores the turn as failed, unless its reply was decided meanwhile."""
        failed = replace(turn, state="failed", reason=reason[:500])
        try:
            self._table.put(
                self._item(failed),
                condition="attribute_not_exists(#pk) OR #state IN (:answering, :waiting, :failed)",
                values={"answering": "answering", "waiting": "waiting", "failed": "failed"},
            )
        except Conflict as met:
            return _turn(met.item)
        return failed

    # --- what overtakes ---

    def interrupt(self, message: Message, *, target: str, why: str, text: str = "") -> bool:
        """Tells the running answer to message `target` (empty: whichever runs) to end; True if there was one.

        Where the message still waits in the queue, its recall or new text is left for it. Two to four calls.
        """
        pk = conversation_key(message)
        turns = [_turn(item) for item in self._table.query(pk, prefix="turn#", limit=self._history, descending=True)]
        for turn in turns:
            if target and turn.message_id != target:
                continue
            if turn.state == "waiting" and target:
                self._table.update(pk, turn.sk, {"stop": why, "edited": text or None})
                together = next((t for t in turns if t.state == "answering" and turn.sk in t.collects), None)
                return self._end(pk, together.sk, "edited", "") if together else True
            if turn.state != "answering":
                if target:
                    return False
                continue
            return self._end(pk, turn.sk, why, text)
        if not target:
            return False
        if message.thread and not _of_member(message):
            self._table.put({"pk": pk, "sk": f"~gone#{target}", "body": text, "expires": self._soon()})
            return False
        if found := self._table.get(_by_id(message, target), "turn"):  # in a thread that the recall does not name
            return self._end(str(found["at"]), str(found["turn"]), why, text)
        self._table.put({"pk": pk, "sk": f"~gone#{target}", "body": text, "expires": self._soon()})
        self._table.put({"pk": _by_id(message, target), "sk": "gone", "body": text, "expires": self._soon()})
        return False

    def _end(self, pk: str, sk: str, why: str, text: str) -> bool:
        try:
            self._table.update(pk, sk, {"stop": why, "edited": text or None}, condition="#state = :a", values={"a": "answering"})
        except Conflict:
            return False
        return True

    # --- replies that a platform fetches ---

    def read(self, platform: str, stream: str) -> tuple[str, bool] | None:
        """The whole text so far of a pulled stream, and whether it is final."""
        item = self._table.get(key("S", platform, stream), "stream")
        return (str(item.get("text", "")), bool(item.get("final"))) if item else None

    def show(self, platform: str, stream: str, text: str, *, final: bool) -> None:
        """Stores what a pulling platform may fetch."""
        soon = int(self._clock()) + 3600
        self._table.put({"pk": key("S", platform, stream), "sk": "stream", "text": text, "final": final, "expires": soon})

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _soon(self) -> int:
        return int(self._clock()) + 86400

    def _expires(self) -> int:
        return int(self._clock()) + self._retention

    def _item(self, turn: Turn) -> Item:
        body = {
            "question": turn.question,
            "user": turn.user,
            "kind": turn.kind,
            "message_id": turn.message_id,
            "at": turn.at,
            "model": turn.model,
            "reason": turn.reason,
            "noted": turn.noted,
            "thread": turn.thread,
            "took": turn.answered - turn.at if turn.answered else 0,
            "collects": turn.collects,
            "zone": turn.zone,
            "files": turn.files,
            "after": turn.after,
        } | ({"reply": json.loads(to_json(turn.reply))} if turn.reply else {})
        answering = turn.state == "answering"
        return {
            "pk": turn.pk,
            "sk": turn.sk,
            "state": turn.state,
            "body": to_json({k: v for k, v in body.items() if v}),
            "text": turn.text or None,
            "owner": turn.owner or None,
            "attempt": int(turn.owner.rpartition("/")[2] or 0) if answering and "/" in turn.owner else None,
            "until": turn.until if answering else None,
            "stream": to_json(turn.stream) if turn.stream else None,
            "sent": json.dumps(turn.sent) if turn.sent else None,
            "expires": min(self._expires(), int(self._clock()) + turn.days * 86400) if turn.days else self._expires(),
        }


class Stopped(Conflict):
    """The answer was stopped, recalled or edited while it was made; `turn.stop` says which."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(f"the answer was {turn.stop}")
        self.turn = turn


def _by_id(message: Message, id_: str) -> str:
    """Partition of what is known about a message by its platform's id alone."""
    return key("M", message.tenant, message.platform, id_)


def _turn(item: Item) -> Turn:
    body = json.loads(str(item.get("body") or "{}"))
    stream = json.loads(str(item["stream"])) if item.get("stream") else None
    return Turn(
        pk=str(item["pk"]),
        sk=str(item["sk"]),
        state=cast(State, item["state"]),  # written by this module alone
        question=body.get("question", ""),
        user=body.get("user", ""),
        kind=body.get("kind", "text"),
        message_id=body.get("message_id", ""),
        at=body.get("at", 0),
        text=str(item.get("text") or ""),
        reply=reply_from_json(body["reply"]) if "reply" in body else None,
        owner=str(item.get("owner") or ""),
        until=int(item.get("until") or 0),
        stop=str(item.get("stop") or ""),
        edited=str(item.get("edited") or ""),
        stream=StreamState(**stream) if stream else None,
        sent=tuple(json.loads(str(item.get("sent") or "[]"))),
        after=body.get("after", {}),
        model=body.get("model", ""),
        reason=body.get("reason", ""),
        noted=body.get("noted", 0),
        thread=body.get("thread", ""),
        answered=body["at"] + body["took"] if "took" in body else 0,
        collects=tuple(body.get("collects", ())),
        zone=body.get("zone", ""),
        files=tuple(body.get("files", ())),
    )
