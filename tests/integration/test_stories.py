"""Every story in tests/stories comes true: with flows alone, and those about repair with the whole assistant as well."""

from __future__ import annotations

import functools
import json
import time
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from assistant import BotPlugin, PluginContext, Reply
from assistant.dev.emulator import Emulator
from assistant.flows import ACTION, FlowResult, Flows, Said, State
from assistant.messages import Button
from assistant.nlu import Understander, train
from assistant.plugins import Plugins, build
from assistant.slots import Context, Person
from tests.stories.office import FLOWS
from tests.stories.runner import Heard, Story, play, stories
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

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


REPAIRS = {
    "correct": ("A slot is corrected while another one is asked", "问别的时候改前面的"),
    "correct at the end": ("A slot is corrected at the confirmation", "确认的时候改"),
    "cancel": ("Cancelled", "取消"),
    "cancel the inner one": ("The inner task is cancelled and the outer one goes on", "里面的事取消，外面的继续"),
    "why": ("Asked why", "问为什么"),
    "digress and come back": ("A question in between is answered elsewhere, then back", "中间插一个问题，回答完再回来"),
    "start over": ("Start over", "重新开始"),
    "stop": ("Stop drops everything", "停止，全部放下"),
    "hand over": ("A person, please", "转人工"),
    "silence": ("Silent for a moment, then an answer", "安静一会儿再回答"),
    "silence, then something else": ("Silent, then something else", "安静之后说别的"),
    "silence for days": ("Silent for days", "过了几天"),
}
"""Each repair with the stories that show it, in English and in Chinese."""

ELSEWHERE = "That is answered elsewhere."
SUPPORT = "support"


class WholeAssistant:
    """A conversation in the web chat: intake, queue, table, dialogue, a model that gives one answer, a support chat."""

    def __init__(self, aws: Emulator, story: Story) -> None:
        done: list[tuple[str, Any]] = []

        class Office(BotPlugin):
            """Does what the stories talk about."""

            name = "office"
            flows = FLOWS

            def run_flow(self, ctx: PluginContext, flow: str, form: BaseModel) -> Reply:
                done.append((flow, form.model_dump(mode="json")))
                return Reply(text=f"Done: {flow}.")

        self.done = done
        self.house = House(
            aws, model=ScriptedModel([ELSEWHERE]), hand_over=f"webchat:{SUPPORT}", timezone=story.zone, language=story.language
        )
        assistant = self.house.assistant
        assistant._plugins = Plugins([build(Office, {})], table=assistant.table, metrics=self.house.metrics)
        self.seen = 0

    def write(self, text: str, *, now: datetime) -> Heard:
        self._at(now)
        self.house.say(text)
        return self._heard()

    def press(self, button: Button, *, now: datetime) -> Heard:
        self._at(now)
        action = {"conversation": "c", "user": "u", "action": {"key": button.key, "value": button.value}}
        assert self.house.post("/webchat/messages", action, headers={"authorization": f"Bearer {WEBCHAT_KEY}"}).status == 202
        return self._heard()

    def silence(self, *, now: datetime) -> Heard:
        self._at(now)
        self.house.assistant.reminders.look()
        return self._heard()

    def _at(self, now: datetime) -> None:
        self.house.offset = now.timestamp() - time.time()

    def _heard(self) -> Heard:
        self.house.drain()
        turns = self.house.turns()
        new, self.seen = turns[self.seen :], len(turns)
        texts = tuple(t["text"] for t in new)
        did, values = self.done.pop() if self.done else ("", {})
        if case := [t["text"] for t in self.house.turns(SUPPORT)]:
            did, values = "hand over", {"room": "sun"} if "Sun" in case[0] or "太阳厅" in case[0] else {}
        buttons = tuple(Button(text=b["text"], key=b["key"], value=b["value"]) for t in new for b in t["buttons"])
        return Heard(texts=texts, buttons=buttons, did=did, values=values, elsewhere=any(ELSEWHERE in t for t in texts))


@pytest.mark.parametrize(
    "story", [s for s in stories() if any(s.name in names for names in REPAIRS.values())], ids=lambda story: story.name
)
def test_the_story_about_repair_comes_true_with_the_whole_assistant(aws: Emulator, story: Story) -> None:
    play(story, WholeAssistant(aws, story))


def test_each_repair_has_a_story_in_each_language() -> None:
    told = {(s.language, s.name) for s in stories()}
    missing = [names for names in REPAIRS.values() if not {("en", names[0]), ("zh-CN", names[1])} <= told]
    assert not missing
