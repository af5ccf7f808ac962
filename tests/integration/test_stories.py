"""Every story in tests/stories comes true."""

from __future__ import annotations

import functools
import json
from datetime import datetime

import pytest

from assistant.flows import ACTION, FlowResult, Flows, Said, State
from assistant.messages import Button
from assistant.nlu import Understander, train
from assistant.slots import Context, Person
from tests.stories.office import FLOWS
from tests.stories.runner import Heard, Story, play, stories

OFFICE = Flows(FLOWS)


@functools.cache
def understander() -> Understander:
    return train(OFFICE.examples())


class FlowsAlone:
    """A conversation with flows and understanding only; what they leave open is answered with a fixed sentence."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.stored = "{}"  # as a turn keeps it: JSON text

    def write(self, text: str, *, now: datetime) -> Heard:
        return self._step(Said(text), now)

    def press(self, button: Button, *, now: datetime) -> Heard:
        assert button.key == ACTION
        return self._step(Said(action_key=button.key, action_value=json.loads(json.dumps(button.value))), now)

    def silence(self, *, now: datetime) -> Heard:
        state = State.from_json(json.loads(self.stored))
        result = OFFICE.nudge(state, context=self._context(now), language=self.story.language)
        return self._heard(result) if result else Heard()

    def _step(self, said: Said, now: datetime) -> Heard:
        state = State.from_json(json.loads(self.stored))
        understood = understander().understand(said.text)
        return self._heard(
            OFFICE.step(state, said, understood=understood, context=self._context(now), language=self.story.language)
        )

    def _context(self, now: datetime) -> Context:
        return Context.at(now, self.story.zone, people={"Alice Wang": "u1", "张三": "u2"}, sender=Person("Mei", "u0"))

    def _heard(self, result: FlowResult) -> Heard:
        self.stored = json.dumps(result.state.to_json())
        spoken = [reply for reply in (result.reply, result.then) if reply]
        did = {"run": result.act.flow, "hand_over": "hand over"}[result.act.kind] if result.act else ""
        if result.act and result.act.kind == "run":
            OFFICE.form(result.act)
        return Heard(
            texts=tuple(reply.text for reply in spoken),
            buttons=tuple(button for reply in spoken for button in reply.buttons),
            did=did,
            values=result.act.values if result.act else {},
            elsewhere=not result.handled,
        )


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_the_story_comes_true(story: Story) -> None:
    play(story, FlowsAlone(story))
