"""Many people on every platform: what they write, whether it was accepted, and what somebody has to see for it, exactly once."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from assistant.api import public_turns
from assistant.assembly import Assistant
from assistant.messages import Webhook
from assistant.secrets import GivenSecrets
from tests.benchmarks.crowd import CROWDS, Crowd
from tests.support.house import WEBCHAT_KEY, House, client

NAMES: tuple[str, ...] = (*sorted(made.name for made in CROWDS), "webchat")

ANSWER = re.compile(r"Answer (\d+)\.")


class WebCrowd:
    """Conversations in the web chat; person n has the conversation `c<n>`."""

    name: ClassVar[str] = "webchat"

    def __init__(self) -> None:
        self._count = itertools.count()
        self.reader: Assistant | None = None

    @property
    def secrets(self) -> Mapping[str, str]:
        """The key of the page."""
        return {"api_key": WEBCHAT_KEY}

    def start(self) -> None:
        """There is no vendor."""

    def stop(self) -> None:
        """Nor does one end."""

    def webhook(self, person: int, text: str) -> Webhook:
        """The page's request."""
        said = {"conversation": f"c{person}", "user": f"u{person}", "text": text, "id": f"w{next(self._count)}"}
        headers = {"authorization": f"Bearer {WEBCHAT_KEY}", "content-type": "application/json"}
        return Webhook(platform="webchat", channel="messages", headers=headers, body=json.dumps(said).encode())

    def seen(self, person: int) -> list[str]:
        """Texts of the turns that are whole."""
        assert self.reader, "the town has not moved into a house"
        turns: list[dict[str, Any]] = public_turns(self.reader, f"c{person}", after="", limit=200)["turns"]
        return [t["text"] for t in turns if t["state"] != "answering"]


@dataclass
class Word:
    """Something that somebody wrote. Times in seconds on the town's clock; 0: not yet."""

    crowd: Crowd
    person: int
    webhook: Webhook
    promise: str
    """What must be seen for it, exactly once."""
    at: tuple[Crowd, int]
    """The chat in which it is seen."""
    wrote: float
    accepted: float = 0.0
    seen: float = 0.0
    given_up: bool = False
    """It stood in the dead letters, and was put back by an operator."""
    then: Callable[[Word], None] | None = None
    """What happens when it is seen."""

    def __str__(self) -> str:
        return f"{self.promise!r} to {self.at[0].name} {self.at[1]}"


@dataclass
class Town:
    """A context manager: everybody on the platforms called `names`, who live in a house once they have moved `into` it."""

    names: Sequence[str] = NAMES
    clock: Callable[[], float] = time.monotonic
    words: list[Word] = field(default_factory=list)
    taken: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """What each chat must show, in the order in which it was accepted."""

    def __post_init__(self) -> None:
        made: dict[str, type[Any]] = {c.name: c for c in CROWDS} | {"webchat": WebCrowd}
        self.crowds: dict[str, Any] = {name: made[name]() for name in self.names}
        self._numbers = itertools.count(1)

    def __enter__(self) -> Town:
        for crowd in self.crowds.values():
            crowd.start()
        return self

    def __exit__(self, *_: object) -> None:
        for crowd in self.crowds.values():
            crowd.stop()

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """Every platform's."""
        return {name: dict(crowd.secrets) for name, crowd in self.crowds.items()}

    def vendors(self) -> list[Any]:
        """The simulators."""
        return [crowd._vendor for name, crowd in self.crowds.items() if name != "webchat"]

    def into(self, house: House) -> None:
        """From now on what people write goes to that house."""
        self.house = house
        if web := self.crowds.get("webchat"):
            web.reader = Assistant(
                house.settings, secrets=GivenSecrets(house.secrets), client=lambda s: client(house.aws, s), metrics=house.metrics
            )

    # --- what people do ---

    def write(
        self,
        name: str,
        person: int,
        text: str = "",
        *,
        promise: str = "",
        at: tuple[str, int] | None = None,
        then: Callable[[Word], None] | None = None,
    ) -> Word:
        """What the person writes, not delivered yet; without a `text` a question with a number of its own, and its answer."""
        n = self.number()
        text, promise = (text, promise) if text else (f"Question {n}", f"Answer {n}.")
        crowd = self.crowds[name]
        where = (self.crowds[at[0]], at[1]) if at else (crowd, person)
        word = Word(crowd, person, crowd.webhook(person, text), promise, where, wrote=self.clock(), then=then)
        self.words.append(word)
        return word

    def number(self) -> int:
        """A number that nobody else has."""
        return next(self._numbers)

    def expect(self, word: Word, promise: str) -> None:
        """Whoever saw `word` must also see this, from now on."""
        now = self.clock()
        self.words.append(replace(word, promise=promise, wrote=now, accepted=now, seen=0.0, then=None))

    def deliver(self, word: Word) -> bool:
        """Posts it as the platform does, once more where it was posted before; whether it was accepted."""
        accepted = self.house.receive(word.webhook).status in (200, 202)
        if accepted and not word.accepted:
            word.accepted = self.clock()
            self.taken.setdefault((word.at[0].name, word.at[1]), []).append(word.promise)
        return accepted

    def look(self) -> list[Word]:
        """What is seen now for the first time."""
        chats = {(word.at[0].name, word.at[1]): word.at for word in self.open()}
        texts = {key: "\n".join(crowd.seen(person)) for key, (crowd, person) in chats.items()}
        now = self.clock()
        fresh = [word for word in self.open() if word.promise in texts.get((word.at[0].name, word.at[1]), "")]
        for word in fresh:
            word.seen = now
            if word.then:
                word.then(word)
        return fresh

    def open(self) -> list[Word]:
        """What was accepted, and is not seen yet."""
        return [word for word in self.words if word.accepted and not word.seen]

    # --- what became of it ---

    def lost(self) -> list[Word]:
        """What was accepted, and is not to be seen."""
        return [word for word in self.words if word.accepted and word.promise not in self._texts(word.at)]

    def twice(self) -> list[Word]:
        """What is to be seen more than once."""
        return [word for word in self.words if self._texts(word.at).count(word.promise) > 1]

    def out_of_order(self) -> list[str]:
        """Chats whose numbered answers do not stand in the order in which their questions were accepted; those that one message
        answers together may stand in the order in which they were written, however they came."""
        found = []
        for (name, person), promised in self.taken.items():
            numbers = [int(n[1]) for p in promised if (n := ANSWER.fullmatch(p))]
            texts = self.crowds[name].seen(person)
            together = [[n for n in map(int, ANSWER.findall(text)) if n in numbers] for text in texts]
            as_accepted = [sorted(group, key=numbers.index) for group in together]
            known = [n for group in as_accepted for n in group]
            mixed = any(g not in (accepted, sorted(g)) for g, accepted in zip(together, as_accepted, strict=True))
            if mixed or known != [n for n in numbers if n in known]:
                found.append(f"{name} {person} shows {together} for {numbers}")
        return found

    def _texts(self, at: tuple[Crowd, int]) -> str:
        return "\n".join(at[0].seen(at[1]))
