"""An assistant for the chat a company already works in.

The names below are what plug-ins are written with; each is imported when it is first used, so that importing the package does
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assistant.errors import ToolFailed as ToolFailed
    from assistant.errors import Unavailable as Unavailable
    from assistant.flows import Ask as Ask
    from assistant.flows import Email as Email
    from assistant.flows import Flow as Flow
    from assistant.flows import Option as Option
    from assistant.flows import Unfit as Unfit
    from assistant.messages import Button as Button
    from assistant.messages import Message as Message
    from assistant.messages import Passage as Passage
    from assistant.messages import Reply as Reply
    from assistant.messages import Source as Source
    from assistant.plugins import MENU as MENU
    from assistant.plugins import BotPlugin as BotPlugin
    from assistant.plugins import Event as Event
    from assistant.plugins import MenuItem as MenuItem
    from assistant.plugins import Permissions as Permissions
    from assistant.plugins import PluginContext as PluginContext
    from assistant.slots import Money as Money
    from assistant.slots import Person as Person
    from assistant.slots import Span as Span
    from assistant.tools import Tool as Tool
    from assistant.tools import tool as tool
    from assistant.web import NotReached as NotReached
    from assistant.web import WebReply as WebReply

_PUBLIC = {
    "MENU": "plugins",
    "Ask": "flows",
    "BotPlugin": "plugins",
    "Button": "messages",
    "Email": "flows",
    "Event": "plugins",
    "Flow": "flows",
    "MenuItem": "plugins",
    "Message": "messages",
    "Money": "slots",
    "NotReached": "web",
    "Option": "flows",
    "Passage": "messages",
    "Permissions": "plugins",
    "Person": "slots",
    "PluginContext": "plugins",
    "Reply": "messages",
    "Source": "messages",
    "Span": "slots",
    "Tool": "tools",
    "ToolFailed": "errors",
    "Unavailable": "errors",
    "Unfit": "flows",
    "WebReply": "web",
    "tool": "tools",
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605  # made from the table above, so that the two cannot differ


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"assistant.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'assistant' has no attribute {name!r}")
