"""A person in place of the assistant: who asks for one is heard in a support chat, and hears what is answered there.

| item | pk | sk |
|---|---|---|
| a case | `H#platform#chat` | `case#<reference>` |
| where it is shown | same | `at#<the vendor's id of a message>` |

Every word that goes across is a message of kind `relay` in the queue, in the lane of the conversation it goes to, and a turn
there: decided, sent and marked like any answer, so it is shown once however often it is delivered. While a case is open the
assistant does not answer its person; it ends with a word from either side, or after `OPEN_SECONDS` of silence.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from assistant.answering import Answer
from assistant.errors import InvalidSetting
from assistant.messages import Message, Reply, Sent, message_from_json, to_json
from assistant.platforms import PLATFORMS, Platform
from assistant.queue import TurnQueue
from assistant.rollout.rings import Ring
from assistant.sessions import Session
from assistant.storage import Conflict, Item, Table, key
from assistant.words import say

OPEN_SECONDS: Final = 24 * 3600
"""A case without a word from its person for so long is over."""
KEPT_SECONDS: Final = 30 * 86400
QUOTED_TURNS: Final = 4
LONGEST_QUOTE: Final = 300
SPOKEN: Final = frozenset({"text", "rich_text", "image", "file"})

_BACK = re.compile(
    r"/?(?:back(?: to the (?:assistant|bot))?|assistant|bot|end (?:the )?(?:chat|conversation))"
    r"|/?(?:回到助手|返回助手|找助手|结束人工|退出人工|机器人)",
    re.IGNORECASE,
)
_CLOSE = re.compile(r"/?(?:close|closed|done|solved|back to the assistant|关闭|结束|已解决|完成)", re.IGNORECASE)
_REFERENCE = re.compile(r"#([0-9A-F]{6})\b\s*", re.IGNORECASE)


def desks_of(setting: str) -> tuple[tuple[str, str], ...]:
    """The support chats in `PLATFORM:CONVERSATION,…`; raises InvalidSetting for one that cannot be."""
    found: list[tuple[str, str]] = []
    for entry in (e.strip() for e in setting.split(",") if e.strip()):
        platform, _, conversation = entry.partition(":")
        if platform not in PLATFORMS or not conversation:
            raise InvalidSetting(
                f"hand_over {entry!r} must be PLATFORM:CONVERSATION, as slack:C0123; known: {', '.join(PLATFORMS)}"
            )
        found.append((platform, conversation))
    return tuple(found)


class HandOvers:
    """Opens cases, carries words across, and closes them."""

    def __init__(
        self,
        table: Table,
        *,
        queue: Callable[[], TurnQueue],
        platform: Callable[[str], Platform],
        desks: str = "",
        rings: Callable[[], Sequence[Ring]] = lambda: (),
        language: str = "en",
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._queue = queue
        self._platform = platform
        self._desks = desks
        self._rings = rings
        self._language = language
        self._tenant = tenant
        self._clock = clock

    # --- who is where ---

    def is_desk(self, message: Message) -> bool:
        """Whether `message` was said in a support chat."""
        named = [self._desks, *(r.hand_over for r in self._rings())]
        return any((message.platform, message.conversation) in desks_of(text) for text in named if text)

    def _desk(self, message: Message, ring: Ring) -> tuple[str, str] | None:
        """The support chat for the asker: one on their own platform, else the first."""
        desks = desks_of(ring.hand_over or self._desks)
        return next((d for d in desks if d[0] == message.platform), desks[0] if desks else None)

    def open_case(self, session: Session, message: Message) -> Mapping[str, Any]:
        """The open case of whoever wrote `message`; empty where there is none."""
        person = session.state.get("person") or {}
        return person if person.get("user") == message.sender and self._clock() < person.get("until", 0) else {}

    def carried(self, session: Session) -> dict[str, Any]:
        """What outlives a turn of somebody else in the conversation."""
        person = session.state.get("person") or {}
        return {"person": dict(person)} if self._clock() < person.get("until", 0) else {}

    # --- the asker's side ---

    def open(
        self,
        message: Message,
        session: Session,
        ring: Ring,
        *,
        turn: str,
        title: str,
        about: Sequence[tuple[str, str]],
        language: str,
    ) -> Answer:
        """Opens a case and says so; where no support chat is set, says that. Two calls, both the same when done again."""
        desk = self._desk(message, ring)
        if desk is None:
            return Answer(Reply(text=say("person_nobody", language)), model="flow")
        case = turn[:6].upper()
        name = message.sender_name or message.sender
        body = {"message": json.loads(to_json(replace(message, proof=""))), "name": name, "language": language}
        ends = int(self._clock()) + KEPT_SECONDS
        with suppress(Conflict):  # opened by an earlier delivery of this message
            self._table.put(
                {"pk": key("H", *desk), "sk": f"case#{case}", "body": json.dumps(body, ensure_ascii=False), "expires": ends},
                condition="attribute_not_exists(#pk)",
            )
        here = self._language
        lines = [say("person_asks", here, name=_plain(name), platform=message.platform.title(), case=case)]
        lines += [f"**{_plain(title)}**"] if title else []
        lines += ["\n".join(f"- {label}: {_plain(value)}" for label, value in about)] if about else []
        quotes = _quotes(session)
        lines += [say("person_said", here), *quotes] if quotes else []
        lines.append(say("person_how", here, case=case))
        self._to_desk(desk, message, case, "\n\n".join(lines), id_=turn)
        person = {"case": case, "desk": ":".join(desk), "user": message.sender, "until": self._until()}
        return Answer(Reply(text=say("person_called", language, case=case)), model="flow", after={"person": person})

    def hear(self, message: Message, session: Session, *, turn: str, language: str) -> Answer | None:
        """What becomes of a message that is for a person, or comes from one; None for every other."""
        if message.kind not in SPOKEN:
            return None
        if (self._desks or any(r.hand_over for r in self._rings())) and self.is_desk(message):
            return self._from_desk(message, session, turn=turn, language=language)
        person = self.open_case(session, message)
        if not person:
            return None
        platform, _, conversation = str(person["desk"]).partition(":")
        case, name = str(person["case"]), _plain(message.sender_name or message.sender)
        if _BACK.fullmatch(message.text.strip(" .!。！")):
            self._to_desk(
                (platform, conversation), message, case, say("person_left", self._language, name=name, case=case), id_=turn
            )
            self._end((platform, conversation), case)
            return Answer(Reply(text=say("person_back", language)), model="person", after={**session.state, "person": None})
        if message.text.startswith("/"):
            return None  # a command is the assistant's
        said = "\n".join(t for t in (message.text, f"[{message.file_name or message.kind}]" if message.file_key else "") if t)
        self._to_desk((platform, conversation), message, case, f"**{name}** (#{case}):\n\n{_quote(said)}", id_=turn)
        after = {**session.state, "person": {**person, "until": self._until()}}
        return Answer(Reply(text="", silent=True), model="person", after=after)

    # --- the support chat's side ---

    def _from_desk(self, message: Message, session: Session, *, turn: str, language: str) -> Answer | None:
        desk = (message.platform, message.conversation)
        case, text = self._referred(desk, message)
        if not case:
            return None
        item = self._case(desk, case)
        if item is None:
            return None
        body = json.loads(str(item["body"]))
        name = _plain(body["name"])
        if item.get("ended"):
            return Answer(Reply(text=say("person_over", language, name=name, case=case)), model="person", after=session.state)
        asker = message_from_json(json.dumps(body["message"]))
        if _CLOSE.fullmatch(text.strip(" .!。！")):
            self._to_asker(asker, case, say("person_ended", body["language"]), how="end", id_=turn)
            self._end(desk, case)
            return Answer(Reply(text=say("person_closed", language, case=case)), model="person", after=session.state)
        if not text.strip():
            return Answer(Reply(text=say("person_how", language, case=case)), model="person", after=session.state)
        who = _plain(message.sender_name) or say("person_somebody", body["language"])
        self._to_asker(asker, case, f"**{who}**: {text}", how="say", id_=turn)
        return Answer(Reply(text="", silent=True), model="person", after=session.state)

    def _referred(self, desk: tuple[str, str], message: Message) -> tuple[str, str]:
        """The case that a message in the support chat is about, and the message without naming it; empty: none."""
        if found := _REFERENCE.match(message.text):
            return found[1].upper(), message.text[found.end() :]
        for id_ in dict.fromkeys((message.reply_to, message.thread)):
            if id_ and (item := self._table.get(key("H", *desk), f"at#{id_}", consistent=False)):
                return str(item["case"]), message.text
        return "", message.text

    # --- what goes across ---

    def _to_desk(self, desk: tuple[str, str], message: Message, case: str, text: str, *, id_: str) -> None:
        platform, conversation = desk
        relay = Message(
            kind="relay",
            platform=platform,
            channel=self._platform(platform).channels[0],
            conversation=conversation,
            sender="",
            dedup_id=id_,
            text=text,
            tenant=message.tenant if platform == message.platform else self._tenant,
            direct=False,
            action_key="desk",
            action_value={"case": case},
            sent_at=int(self._clock() * 1000),
            untimed=True,
            trace=message.trace,
        )
        self._queue().publish([relay])

    def _to_asker(self, asker: Message, case: str, text: str, *, how: str, id_: str) -> None:
        relay = replace(
            asker,
            kind="relay",
            dedup_id=id_,
            text=text,
            quoted="",
            file_key="",
            action_key=how,
            action_value={"case": case},
            sent_at=int(self._clock() * 1000),
            untimed=True,
        )
        self._queue().publish([relay])

    def deliver(self, message: Message, session: Session) -> Answer:
        """What is shown of a message of kind `relay`, as it was decided where it came from."""
        after = session.state
        person = after.get("person") or {}
        if message.action_key == "end" and person.get("case") == _case_of(message):
            after = {**after, "person": None}
        return Answer(Reply(text=message.text), model="person", after=after)

    def address(self, message: Message) -> Message:
        """Where a message of kind `relay` is shown: in the support chat under the first one of its case."""
        spoken = replace(message, kind="text", action_key="", action_value=None)
        if message.action_key != "desk":
            return spoken
        item = self._case((message.platform, message.conversation), _case_of(message)) or {}
        root = str(item.get("root") or "")
        return replace(spoken, thread=root, message_id=root) if root else spoken

    def shown(self, message: Message, sent: Sent) -> None:
        """Notes under which ids the support chat knows what was shown, so that an answer to it finds its case."""
        if sent.missed:
            self.unheard(message)
        if message.action_key != "desk" or self._platform(message.platform).pulls:
            return
        pk, case = key("H", message.platform, message.conversation), _case_of(message)
        for id_ in sent.ids:
            self._table.put({"pk": pk, "sk": f"at#{id_}", "case": case, "expires": int(self._clock()) + KEPT_SECONDS})
        known = self._case((message.platform, message.conversation), case)
        if sent.ids and known is not None and not known.get("root"):
            self._table.update(pk, f"case#{case}", {"root": sent.ids[0]})

    def unheard(self, message: Message) -> None:
        """Ends the case of a word that the support chat could not be shown, and tells the asker."""
        desk = (message.platform, message.conversation)
        item = self._case(desk, _case_of(message)) if message.action_key == "desk" else None
        if item is None or item.get("ended"):
            return
        body = json.loads(str(item["body"]))
        asker, case = message_from_json(json.dumps(body["message"])), _case_of(message)
        self._to_asker(asker, case, say("person_unheard", body["language"]), how="end", id_=f"{message.dedup_id}-unheard")
        self._end(desk, case)

    # --- the table ---

    def _case(self, desk: tuple[str, str], case: str) -> Item | None:
        return self._table.get(key("H", *desk), f"case#{case}")

    def _end(self, desk: tuple[str, str], case: str) -> None:
        self._table.update(key("H", *desk), f"case#{case}", {"ended": int(self._clock())})

    def _until(self) -> int:
        return int(self._clock()) + OPEN_SECONDS


def _case_of(message: Message) -> str:
    value = message.action_value
    return str(value.get("case", "")) if isinstance(value, dict) else ""


def _quotes(session: Session) -> list[str]:
    """The last turns, as they may be shown to somebody else."""
    quotes: list[str] = []
    for turn in session.turns[-QUOTED_TURNS:]:
        if turn.state in ("saved", "sent") and turn.reply and not turn.reply.private and turn.question:
            answer = turn.reply.text if not turn.reply.silent else ""
            quotes.append("\n".join(_quote(t[:LONGEST_QUOTE]) for t in (turn.question, f"→ {answer}" if answer else "") if t))
    return quotes


def _quote(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def _plain(text: str) -> str:
    """`text` as plain text inside Markdown."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))
