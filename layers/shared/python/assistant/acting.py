"""The model's tools in one turn: looks things up at once and side by side, asks before it changes anything, acts once.

An approval stands in the turn's `after` state, so it outlives the process; that it was acted on stands in the table, so a
second click, or the same one delivered again, acts no second time.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

from assistant.errors import NeedsAuthorisation, ToolFailed, Unavailable
from assistant.llm import ChatMessage, ToolCall, ToolSpec
from assistant.messages import Button, Message, Reply
from assistant.observability import TOOL_CALLS, Metrics, log
from assistant.plugins import Around, Plugins
from assistant.storage import Conflict, Table, key
from assistant.tools import Tool, read_arguments
from assistant.words import say, spoken

logger = logging.getLogger(__name__)

MOST_STEPS: Final = 6
"""Times that the model may call tools before it has to answer."""

MOST_TOKENS: Final = 60_000
"""Tokens that a turn may cost before the model has to answer without a further call."""

MOST_FAILURES: Final = 2
"""Steps in a row in which nothing worked: one to repair, then the model has to answer."""

MOST_CALLS: Final = 8
"""Calls that one step may hold."""

APPROVE: Final = "approve.yes"
DECLINE: Final = "approve.no"
"""Keys of the buttons under what is to be done; their value is the approval's id."""

OPEN_SECONDS: Final = 3600
"""How long an approval waits for its click."""

YES: Final = frozenset(
    {"yes", "ok", "okay", "do it", "go ahead", "confirm", "sure", "是", "好", "好的", "可以", "确认", "执行", "同意"}
)
NO: Final = frozenset({"no", "don't", "do not", "leave it", "cancel", "不", "不要", "不用", "否", "取消", "算了", "不执行"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Something that waits for its asker's yes."""

    id: str
    """Also the idempotency key of the act."""
    turn: str
    tool: str
    arguments: str
    user: str
    question: str
    until: int

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Approval | None:
        """The approval that a conversation's state holds."""
        found = state.get("approval")
        return cls(**found) if isinstance(found, Mapping) else None

    def to_state(self) -> dict[str, Any]:
        """What `from_state` reads."""
        return {name: getattr(self, name) for name in self.__slots__}

    def is_open(self, now: float) -> bool:
        """Whether it may still be decided."""
        return now < self.until


@dataclass(slots=True)
class Desk:
    """The tools as one person may use them in one turn."""

    plugins: Plugins
    message: Message
    around: Around
    tools: Mapping[str, Tool]
    table: Table | None = None
    metrics: Metrics | None = None
    clock: Callable[[], float] = time.time
    pending: Approval | None = None
    """Set once the model wants to change something: the turn ends with the question."""
    steps: int = field(default=0)
    failures: int = field(default=0)
    """Steps in a row of which every call failed."""

    @property
    def is_done(self) -> bool:
        """Whether the model has called often enough, or failed often enough, and has to answer."""
        return self.steps >= MOST_STEPS or self.failures >= MOST_FAILURES

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told."""
        return tuple(ToolSpec(name=t.name, description=t.description, parameters=t.parameters) for t in self.tools.values())

    def run(self, calls: Sequence[ToolCall]) -> list[ChatMessage]:
        """The results of one step, in order; a call that changes something becomes `pending` instead.

        Raises NeedsAuthorisation.
        """
        results = self._step(calls[:MOST_CALLS])
        failed = bool(results) and all(r.text.startswith("failed: ") for r in results)
        self.failures = self.failures + 1 if failed else 0
        return results

    def _step(self, calls: Sequence[ToolCall]) -> list[ChatMessage]:
        self.steps += 1
        writes = [c for c in calls if (t := self.tools.get(c.name)) and t.writes]
        if writes:
            problem = self._hold(writes[0])
            if problem is None:
                return []
            return [ChatMessage(role="tool", text=problem, tool_call_id=c.id) for c in calls]
        if len(calls) == 1:
            return [self._result(calls[0])]
        with ThreadPoolExecutor(max_workers=len(calls)) as pool:
            return list(pool.map(self._result, calls))

    def _hold(self, call: ToolCall) -> str | None:
        """Makes the approval; the reason where the arguments do not fit."""
        try:
            arguments = read_arguments(self.tools[call.name], call.arguments)
        except ToolFailed as error:
            return f"failed: {error}"
        self.pending = Approval(
            id=f"{self.around.key}-{self.steps}",
            turn=self.around.key,
            tool=call.name,
            arguments=json.dumps(arguments, ensure_ascii=False),
            user=self.message.sender,
            question=self.message.text,
            until=int(self.clock()) + OPEN_SECONDS,
        )
        return None

    def _result(self, call: ToolCall) -> ChatMessage:
        return ChatMessage(role="tool", text=self._ran(call.name, call.arguments, self.around), tool_call_id=call.id)

    def _ran(self, name: str, arguments: str, around: Around) -> str:
        outcome = "ok"
        try:
            return self.plugins.run_tool(name, arguments, self.message, around)
        except (ToolFailed, Unavailable) as error:
            outcome = "failed"
            log(logger, logging.WARNING, "tool failed", event_reason=type(error).__name__, tool=name)
            return f"failed: {error}"
        except NeedsAuthorisation:
            outcome = "asks"
            raise
        finally:
            if self.metrics:
                self.metrics.emit((TOOL_CALLS, 1), outcome=outcome)

    # --- what was approved ---

    def act(self, approval: Approval) -> str:
        """Does what was approved, once, and gives the result as the model reads it.

        Raises OutcomeLost where an earlier try may have done it and the tool cannot tell. Two calls to the table.
        """
        found = self.tools.get(approval.tool)
        if found is None:
            return f"failed: there is no tool {approval.tool!r} any more"
        if (known := self._begun(approval)) is not None:
            if known.get("state") == "done":
                return str(known.get("result", ""))
            if not found.repeatable:
                raise OutcomeLost(approval.tool)
        try:
            result = self._ran(approval.tool, approval.arguments, replace(self.around, key=approval.id))
        except NeedsAuthorisation:
            self._note(approval, None)
            raise
        self._note(approval, result)
        return result

    def _begun(self, approval: Approval) -> Mapping[str, Any] | None:
        """What is known of an earlier try; None for the first one."""
        if self.table is None:
            return None
        ends = int(self.clock()) + 30 * 86400
        try:
            self.table.put(
                {"pk": key("W", approval.id), "sk": "act", "state": "acting", "expires": ends},
                condition="attribute_not_exists(#pk)",
            )
        except Conflict as met:
            return met.item
        return None

    def _note(self, approval: Approval, result: str | None) -> None:
        if self.table is None:
            return
        if result is None:
            self.table.delete(key("W", approval.id), "act")
        else:
            self.table.update(key("W", approval.id), "act", {"state": "done", "result": result})


class OutcomeLost(Exception):
    """An approved act was begun and its end is not known."""


def question(approval: Approval, made: Tool, *, before: str, language: str) -> Reply:
    """What is to be done, in full, with the two buttons."""
    lines = [f"**{spoken(made.title, language) or made.description.splitlines()[0]}**"]
    for name, value in json.loads(approval.arguments).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = text.replace("`", "'").replace("\n", " ")
        lines.append(
            f"- {spoken(made.arguments.get(name, ''), language) or name}: `{text[:500]}{'…' if len(text) > 500 else ''}`"
        )
    parts = [before.strip(), "\n".join(lines), say("approve_ask", language)]
    return Reply(
        text="\n\n".join(p for p in parts if p),
        buttons=(
            Button(text=say("approve_button_yes", language), key=APPROVE, value=approval.id, style="primary"),
            Button(text=say("approve_button_no", language), key=DECLINE, value=approval.id),
        ),
    )


def decision(message: Message, approval: Approval | None) -> str:
    """`yes` or `no` where `message` decides an approval, by a button or in a word; empty where it is about something else."""
    if message.kind == "card_action" and message.action_key in (APPROVE, DECLINE):
        return "yes" if message.action_key == APPROVE else "no"
    if approval is None or message.sender != approval.user:
        return ""
    said = message.text.strip(" .!。！").lower()
    return "yes" if said in YES else "no" if said in NO else ""
