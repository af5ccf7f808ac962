"""One desk a platform: somebody who asks there and what they see. A further platform is one more class here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from tests.support.house import House


class Desk(Protocol):
    """A person at one platform's client."""

    name: ClassVar[str]

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The platform's secret, by its name."""

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Says `text`; the platform posts its signed webhook."""

    def seen(self, house: House) -> list[str]:
        """The assistant's replies as a person sees them, in order."""


class WebChatDesk:
    """The browser."""

    name: ClassVar[str] = "webchat"

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The key that the house uses anyway."""
        return {}

    def ask(self, house: House, text: str, *, message: str = "m1") -> None:
        """Posts the message."""
        house.say(text, id=message)

    def seen(self, house: House) -> list[str]:
        """Texts of the turns that are whole."""
        return [t["text"] for t in house.turns() if t["state"] != "answering"]

    def __enter__(self) -> WebChatDesk:
        return self

    def __exit__(self, *_: object) -> None:
        pass


DESKS: dict[str, Any] = {"webchat": WebChatDesk}


def later(seconds: float = 0) -> float:
    """Unix seconds."""
    return time.time() + seconds
