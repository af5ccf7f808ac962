"""Plays a story that reads like a chat against anything one can talk to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import yaml

from assistant.messages import JSON, Button

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back for one thing the person did."""

    texts: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()
    did: str = ""
    """Name of the flow that was carried out, or "hand over"."""
    values: Mapping[str, JSON] = field(default_factory=dict)
    elsewhere: bool = False
    """True where flows had nothing to say and somebody else answered."""


class Chat(Protocol):
    """One conversation. The runner only knows this door, so the flows alone or the whole assistant may stand behind it."""

    def write(self, text: str, *, now: datetime) -> Heard:
        """The person writes."""

    def press(self, button: Button, *, now: datetime) -> Heard:
        """The person presses a button."""

    def silence(self, *, now: datetime) -> Heard:
        """Nothing was heard until `now`."""


@dataclass(frozen=True, slots=True)
class Story:
    """One conversation as written down."""

    name: str
    language: str
    zone: str
    now: datetime
    steps: Sequence[Mapping[str, Any]]


def stories() -> list[Story]:
    """All stories in this folder."""
    found: list[Story] = []
    for path in sorted(HERE.glob("*.yaml")):
        page = yaml.safe_load(path.read_text("utf-8"))
        found += [
            Story(name=story["story"], language=page["language"], zone=page["zone"], now=page["now"], steps=story["chat"])
            for story in page["stories"]
        ]
    return found


def play(story: Story, chat: Chat) -> None:
    """Fails with the line of the story that does not hold."""
    now = story.now
    heard = Heard()
    offered: dict[str, Button] = {}
    for number, step in enumerate(story.steps, start=1):
        where = f"{story.name}, step {number}: {dict(step)}\n  heard: {heard.texts} {[b.text for b in heard.buttons]} {heard.did}"
        now += timedelta(seconds=20)
        match step:
            case {"me": text}:
                heard = chat.write(str(text), now=now)
            case {"press": label}:
                button = next((b for b in heard.buttons if b.text == label), None)
                assert button, f"no such button — {where}"
                heard = chat.press(button, now=now)
            case {"press again": label}:
                heard = chat.press(offered[label], now=now)
            case {"wait": time}:
                amount, unit = str(time).split()
                now += timedelta(**{unit: float(amount)})
                heard = chat.silence(now=now)
        offered |= {b.text: b for b in heard.buttons}
        where = f"{story.name}, step {number}: {dict(step)}\n  heard: {heard.texts} {[b.text for b in heard.buttons]} {heard.did}"
        if "bot" in step:
            assert any(step["bot"] in text for text in heard.texts), where
        if "buttons" in step:
            missing = set(step["buttons"]) - {b.text for b in heard.buttons}
            assert not missing, where
        if "elsewhere" in step:
            assert heard.elsewhere is step["elsewhere"], where
        if "did" in step:
            assert heard.did == step["did"], where
            for name, value in step.get("with", {}).items():
                assert heard.values.get(name) == value, f"{name} is {heard.values.get(name)!r} — {where}"
