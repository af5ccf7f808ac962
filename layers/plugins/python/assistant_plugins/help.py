"""Says what the assistant can do: every plug-in's menu entries as buttons, and how to ask."""

from __future__ import annotations

from typing import ClassVar

from assistant import MENU, BotPlugin, Button, MenuItem, Message, PluginContext, Reply

ASKED = {"help", "/help", "menu", "/menu", "帮助", "菜单", "功能", "/帮助"}

INTRODUCTION = {
    "en": "Ask me anything about the company, in your own words: I look it up and say where it stands.",
    "zh-CN": "关于公司的问题可以直接问我：我会查找资料，并说明出处。",
}
ENTRIES = {"en": "Or choose:", "zh-CN": "也可以选择："}
QUESTIONS = {
    "en": ("What can you do?", "How do I add documents?", "How do I connect a platform?"),
    "zh-CN": ("你能做什么？", "怎么添加文档？", "怎么连接聊天平台？"),
}


class Help(BotPlugin):
    """`help`, `帮助` or a click on the menu."""

    name = "help"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "Help", "zh-CN": "帮助"}
    about: ClassVar = {
        "en": "Says what the assistant can do: `help`, or a click on the menu.",
        "zh-CN": "说明助手能做什么：发送“帮助”或点击菜单。",
    }

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """The help, when it is asked for."""
        asked = message.text.strip(" ?？!！。.").lower()
        if asked not in ASKED and message.menu_key not in ("/help", "help"):
            return None
        words = "zh-CN" if ctx.language.startswith("zh") else "en"
        others = [i for i in ctx.menu if i.text.lower() not in ASKED]
        entries = others or [MenuItem(title=q, text=q) for q in QUESTIONS[words]]
        return Reply(
            text=f"{INTRODUCTION[words]}\n\n{ENTRIES[words]}",
            buttons=tuple(Button(text=e.title, key=MENU, value=e.text) for e in entries[:8]),
        )
