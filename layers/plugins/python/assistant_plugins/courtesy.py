"""Answers a greeting, thanks and a goodbye, so that nobody is told that "hello" stands in no document."""

from __future__ import annotations

import re
from typing import ClassVar

from assistant import BotPlugin, Message, PluginContext, Reply

SAID = {
    "hello": {
        "hello", "hi", "hey", "hi there", "hello there", "good morning", "good afternoon", "good evening", "hello assistant",
        "你好", "您好", "嗨", "哈喽", "早上好", "下午好", "晚上好", "早", "在吗", "你好呀",
    },
    "thanks": {
        "thanks", "thank you", "thanks a lot", "thank you very much", "thx", "ty", "great thanks", "ok thanks",
        "谢谢", "多谢", "谢谢你", "感谢", "谢了", "非常感谢", "好的谢谢",
    },
    "bye": {"bye", "goodbye", "bye bye", "see you", "good night", "再见", "拜拜", "晚安", "回头见"},
}  # fmt: skip

WORDS = {
    "hello": {
        "en": "Hello! What would you like to know? Write **help** to see what I can do.",
        "zh-CN": "你好！想了解什么？发送“帮助”可以看看我能做什么。",
    },
    "thanks": {"en": "You are welcome.", "zh-CN": "不客气。"},
    "bye": {"en": "Goodbye!", "zh-CN": "再见！"},
}


class Courtesy(BotPlugin):
    """Short and polite; everything longer than a courtesy is left to the others."""

    name = "courtesy"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "Courtesy", "zh-CN": "礼貌应答"}
    about: ClassVar = {"en": "Answers a greeting, thanks and a goodbye.", "zh-CN": "回应问候、感谢和道别。"}

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """The courtesy that fits, if the message is nothing else."""
        said = " ".join(re.sub(r"[^\w\s]", " ", message.text.lower()).split())
        kind = next((kind for kind, phrases in SAID.items() if said in phrases), "")
        if not kind:
            return None
        return Reply(text=WORDS[kind]["zh-CN" if ctx.language.startswith("zh") else "en"])
