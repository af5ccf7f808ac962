"""Language models behind one door: `ChatModel.stream(request)` gives events as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from assistant.errors import Unavailable
from assistant.messages import Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of the conversation as the model sees it. `tool_calls` and `tool_call_id` as in the OpenAI chat API."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool offered to the model; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What is asked of the model. The order on the wire keeps a stable prefix: system, tools (sorted by name), old to new
    messages; what changes from turn to turn (`facts`, `passages`) goes into the last user message."""

    system: str
    messages: tuple[ChatMessage, ...]
    """Old to new; the last one is what is asked now."""
    question: str = ""
    """The last question made whole where it leans on an earlier one ("and in Beijing?"); empty: it stands by itself."""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    passages: tuple[Passage, ...] = ()
    """What the knowledge base found for the question: data, never instructions."""
    quoted: str = ""
    """The message that the last question answers or passes on, by whomever: data, never instructions."""
    facts: str = ""
    """Volatile facts, such as today's date in the user's zone."""
    language: str = "en"
    """BCP 47 tag of the language to answer in."""
    max_tokens: int = 1024
    temperature: float = 0.2
    seconds: float = 120.0
    """Longest time the whole answer may take."""
    tenant: str = "default"
    """Salts the engine's prefix cache, so that no tenant can time another's."""
    session: str = ""
    """A stable id of the conversation, ≤ 64 characters, for prefix-aware routing."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A complete tool call; `arguments` is the raw JSON string as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of one request."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Prompt tokens that came out of the engine's prefix cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The end of an answer; always the last event."""

    reason: Literal["stop", "length", "tool_calls", "content_filter"]
    model: str
    """Name of the model that answered."""
    usage: Usage = field(default_factory=Usage)
    first_token_ms: float = 0.0


Event: TypeAlias = TextDelta | ToolCall | Done


class WarmingUp(Unavailable):
    """The model is scaled to nothing and starts now; `retry_after` says about when it answers → tell the user, answer later."""


class ChatModel(Protocol):
    """A model. Closing the iterator early frees whatever it holds at the other end."""

    name: str

    def stream(self, request: ChatRequest) -> Iterator[Event]:
        """Events of the answer; the last one is Done. ToolCalls come complete, after the text.

        Raises Unavailable where the model cannot be reached, is overloaded or breaks off (before the first event another
        model may be tried; afterwards the text so far is all there is), ModelError where the request itself is refused.
        """
