"""A file or a page that somebody sends in a chat goes into the knowledge: said in words or by a button, by those who may,
after a card that says where it will stand and who will see it.

What is about to be filed stands in the turn's `after` state, so it outlives the process; the file itself is fetched after the
yes. It is taken in by the same service as every other document, which skips what is there already: a repeat does no harm.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from assistant.acting import NO, YES
from assistant.attachments import LARGEST, MOST_FILES
from assistant.audience import EVERYONE, Audiences
from assistant.errors import ContentRefused, MessageRecalled, MissingPermission, NotInChat, Refused, UnsupportedType
from assistant.knowledge.service import Filing, Report, Upload
from assistant.messages import Button, Message, Reply, message_from_json, to_json
from assistant.platforms import Platform
from assistant.words import say

ADD: Final = "filing.add"
LEAVE: Final = "filing.leave"
"""Keys of the buttons under the card; their value is the id of what is about to be filed."""
OFFER: Final = "filing.offer"
"""Key of the button under what a file holds."""

OPEN_SECONDS: Final = 3600
"""How long a file waits for somebody to say that it should be filed, and a card for its click."""
LONGEST: Final = 300
"""Characters of a sentence that can be such a request; a longer one is about something else."""

_ADDS: Final = re.compile(
    r"^(?:please\s++|(?:can|could|would)\s+you\s++|let'?s\s++|ok(?:ay)?[,.]?\s++)*+"
    r"(?:add|put|save|store|file|upload|include|import|take)\b(?P<what>.{0,200}?)\b(?:to|in|into)\s+"
    r"(?:the\s+|our\s+|your\s+)?(?:company\s+|company's\s+)?knowledge(?:[\s-]*base)?\b(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_ADDS_ZH: Final = re.compile(
    r"(?:加入|加进|加到|添加到|添加进|放入|放进|放到|存入|存到|存进|收录到|收入|上传到|录入|导入|导入到|收进|归入)\s*+(?:到)?\s*+"
    r"(?:公司|我们|你)?的?\s*+知识库"
)
_ASKS: Final = re.compile(r"怎么|如何|怎样|为什么|为何|什么|哪|谁|吗.*知识库|是不是|有没有")
_FOLDER: Final = re.compile(
    r"(?:\bfolder\b|\bunder\b|文件夹|目录)\s*+[:：]?\s*+[\"“「『'‘]?\s*+(?P<name>[^\s\"”」』'’，。,;；!！?？]{1,200})",
    re.IGNORECASE,
)
_FOLDER_BEFORE: Final = re.compile(
    r"(?:\b(?:in|into|to)\s+(?:the\s+)?|(?:的|到|，|,|\s))[\"“「『'‘]?(?P<name>[\w\-./]{1,200})[\"”」』'’]?\s*(?:folder\b|文件夹|目录)",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"https?://[^\s<>\"'”」）)]+", re.IGNORECASE)


class Service(Protocol):
    """What takes documents in: `knowledge.service.Service`."""

    def add(self, uploads: Iterable[Upload], filing: Filing) -> Report:
        """Takes files in."""

    def add_page(self, url: str, filing: Filing) -> Report:
        """Takes a web page in."""


class Shelf(Protocol):
    """The open knowledge, as far as a new document has to know it."""

    def folder_audience(self, folder: str) -> frozenset[str] | None:
        """The audience that somebody set for the folder or one above it; None where nobody did."""

    def has(self, document: str) -> bool:
        """Whether a document with this id is there."""

    def refresh(self) -> None:
        """Looks for a newer version at once."""


_OF_ONE: Final = (ContentRefused, MessageRecalled, MissingPermission, NotInChat, UnsupportedType)
"""What keeps one file from being fetched, whenever it is tried."""

Heard = tuple[Reply, Mapping[str, Any]]
"""A reply, and what the conversation knows from now on about what is to be filed (empty: nothing)."""


class Filings:
    """Hears what people want filed."""

    def __init__(
        self,
        *,
        service: Callable[[], Service],
        shelf: Callable[[], Shelf],
        platform: Callable[[str], Platform],
        audiences: Audiences,
        editors: Sequence[tuple[str, str]] = (),
        administrators: Sequence[tuple[str, str]] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._shelf = shelf
        self._platform = platform
        self._audiences = audiences
        self._editors = frozenset([*editors, *administrators])
        self._administrators = tuple(administrators)
        self._clock = clock

    def may(self, message: Message) -> bool:
        """Whether the sender may add to the knowledge."""
        return (message.platform, message.sender) in self._editors

    def hear(self, message: Message, waiting: Mapping[str, Any], *, key: str, language: str, words: bool = True) -> Heard | None:
        """The answer to a request or a click; None for everything else.

        `waiting`: what an earlier turn has left. `words`: whether a yes or no in words is about it, and not about something else.
        """
        waiting = waiting if float(waiting.get("until") or 0) > self._clock() else {}
        if message.kind == "card_action":
            return self._clicked(message, waiting, language=str(waiting.get("language") or language))
        text = message.text.strip()
        if words and waiting.get("asked") and waiting.get("user") == message.sender:
            said = text.strip(" .!。！").lower()
            if said in YES or said in NO:
                return self._decided(message, waiting, yes=said in YES, language=str(waiting.get("language") or language))
        if not asks_to_add(text):
            return None
        if not self.may(message):
            return self._forbidden(language), waiting
        if message.file_key:
            waiting = self.waiting(message, key=key)
        elif url := _URL.search(text):
            waiting = self._page(message, url[0], key=key)
        elif not waiting or waiting.get("user") != message.sender:
            return Reply(text=say("filing_send_first", language)), {}
        return self._ask(message, waiting, folder=folder_in(text), language=language)

    def waiting(self, message: Message, *, key: str) -> dict[str, Any]:
        """The file of `message`, left in case its sender says next that it should be filed; nothing for those who may not."""
        if not message.file_key or not self.may(message):
            return {}
        bare = replace(message, text="", quoted="", action_value=None, proof="", memory="", sender_name=message.sender_name[:80])
        names = [part.file_name for part in message.each_file][:MOST_FILES]
        return self._waits(message, key, name=", ".join(filter(None, names)), names=names, file=json.loads(to_json(bare)))

    def offer(self, reply: Reply, waiting: Mapping[str, Any], *, language: str) -> Reply:
        """`reply` with the button that files what waits."""
        if not waiting or reply.buttons:
            return reply
        return replace(reply, buttons=(Button(text=say("filing_offer", language), key=OFFER, value=waiting["id"]),))

    # --- asking ---

    def _page(self, message: Message, url: str, *, key: str) -> dict[str, Any]:
        try:
            parts = urlsplit(url)
            name = f"{parts.hostname or ''}{parts.path}"
        except ValueError:  # as https://[: whoever fetches it says why not
            name = url
        return self._waits(message, key, name=name[:120], url=url)

    def _waits(self, message: Message, key: str, **what: Any) -> dict[str, Any]:
        return {"id": key, "user": message.sender, "until": int(self._clock()) + OPEN_SECONDS, "asked": False, **what}

    def _ask(self, message: Message, waiting: Mapping[str, Any], *, folder: str, language: str) -> Heard:
        folder = folder or str(waiting.get("folder") or "")
        given = self._shelf().folder_audience(folder)
        own = given is None and self._audiences.departments(message)
        audience = frozenset({_named(own[0], message.platform)}) if own else (given or frozenset({EVERYONE}))
        name = str(waiting.get("name") or "") or say("filing_button_yes", language)
        shown = folder or say("filing_top", language)
        text = say("filing_ask", language, name=name, folder=shown, audience=in_words(audience, language))
        names = [str(waiting["url"])] if waiting.get("url") else ["/".join(filter(None, (folder, n))) for n in waiting["names"]]
        if any(self._shelf().has(document) for document in names):
            text += f"\n\n{say('filing_replaces', language)}"
        held = {**waiting, "asked": True, "language": language, "folder": folder, "audience": sorted(audience) if own else []}
        yes = Button(text=say("filing_button_yes", language), key=ADD, value=waiting["id"], style="primary")
        no = Button(text=say("filing_button_no", language), key=LEAVE, value=waiting["id"])
        return Reply(text=text, buttons=(yes, no)), held

    def _forbidden(self, language: str) -> Reply:
        people = ", ".join(f"{p}:{u}" for p, u in self._administrators)
        if not self._editors:
            return Reply(text=say("filing_forbidden_nobody", language), private=True)
        return Reply(text=say("filing_forbidden", language, people=people or "—"), private=True)

    # --- deciding ---

    def _clicked(self, message: Message, waiting: Mapping[str, Any], *, language: str) -> Heard | None:
        if message.action_key not in (ADD, LEAVE, OFFER):
            return None
        if not waiting or message.action_value != waiting.get("id"):
            return Reply(text=say("filing_gone", language), private=True), waiting
        if message.sender != waiting.get("user"):
            return Reply(text=say("filing_nobody_else", language), private=True), waiting
        if message.action_key == OFFER:
            return self._ask(message, waiting, folder="", language=language)
        return self._decided(message, waiting, yes=message.action_key == ADD, language=language)

    def _decided(self, message: Message, waiting: Mapping[str, Any], *, yes: bool, language: str) -> Heard:
        if not yes:
            return Reply(text=say("filing_declined", language)), {}
        if not self.may(message):  # it may have been taken back since the card was shown
            return self._forbidden(language), {}
        name = str(waiting.get("name") or "")
        filing = Filing(
            folder=str(waiting.get("folder") or ""),
            audience=frozenset(waiting.get("audience") or ()),
            owner=message.sender_name[:80],
            author=f"{message.platform}:{message.sender}",
        )
        try:
            name, report = self._taken(waiting, name, filing)
        except (*_OF_ONE, Refused) as error:
            return Reply(text=say("filing_refused", language, name=name, reason=error)), {}
        return Reply(text=self._said(report, name, filing, language)), {}

    def _taken(self, waiting: Mapping[str, Any], name: str, filing: Filing) -> tuple[str, Report]:
        """The file's name and what became of it. Raises Unavailable while another writer is at work: the message comes again."""
        if url := str(waiting.get("url") or ""):
            return name, self._service().add_page(url, filing)
        sent = message_from_json(json.dumps(waiting["file"]))
        uploads, left, refused = [], LARGEST, []
        for part in sent.each_file[:MOST_FILES]:
            try:
                file = self._platform(sent.platform).fetch(part, limit=left)
            except _OF_ONE as error:
                refused.append((part.file_name, str(error)))
                continue
            left -= len(file.content)
            uploads.append(Upload(name=file.name, content=file.content))
        report = self._service().add(uploads, filing) if uploads else Report()
        report.refused += refused
        return ", ".join(u.name for u in uploads) or name, report

    def _said(self, report: Report, name: str, filing: Filing, language: str) -> str:
        lines = [f"- {part}: {reason}" for part, reason in report.refused[:10]]
        if report.added:
            self._shelf().refresh()
            audience = filing.audience or self._shelf().folder_audience(filing.folder) or frozenset({EVERYONE})
            done = say("filing_done", language, name=name, audience=in_words(audience, language))
            return "\n".join([done, "", say("filing_partly", language), *lines]) if lines else done
        if report.unchanged and not lines:
            return say("filing_known", language, name=name)
        return say("filing_refused", language, name=name, reason=report.refused[0][1] if report.refused else "—")


def asks_to_add(text: str) -> bool:
    """Whether `text` asks that something be added to the knowledge; a question about how that is done does not."""
    if not text or len(text) > LONGEST:
        return False
    if _ADDS_ZH.search(text):
        return not _ASKS.search(text)
    found = _ADDS.match(text)
    return found is not None and not re.search(r"\bhow\b|\bwho\b|\bwhat\b|\bwhy\b", found["what"], re.IGNORECASE)


def folder_in(text: str) -> str:
    """The folder that `text` names; empty where it names none."""
    text = _URL.sub(" ", text)
    found = _FOLDER_BEFORE.search(text) or _FOLDER.search(text)
    name = found["name"].strip("/.-") if found else ""
    return "/".join(p for p in name.split("/") if p not in ("", ".", ".."))


def in_words(audience: Iterable[str], language: str) -> str:
    """An audience as a person reads it."""
    parts = []
    for token in sorted(audience):
        kind, _, id_ = token.partition(":")
        parts.append(say(f"audience_{kind}", language, id=id_) if id_ or token == EVERYONE else token)
    return ("、" if language.startswith("zh") else ", ").join(parts)


def _named(token: str, platform: str) -> str:
    """A department's token with the platform's name, so that no other platform's number is meant."""
    kind, _, id_ = token.partition(":")
    return f"{kind}:{platform}:{id_}"
