"""The knowledge as a tool: a model that needs other words, or several looks, searches again, with the asker's rights.

Questions are answered from the knowledge without it. Switched on by its configuration: `{"knowledge": {"search": true}}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from assistant import BotPlugin, Permissions, PluginContext, tool


class KnowledgeConfig(BaseModel):
    """What can be set."""

    model_config = ConfigDict(extra="forbid")

    search: bool = Field(
        default=False,
        description="whether the model may search the knowledge by itself",
        json_schema_extra={"zh-CN": {"title": "允许搜索", "description": "模型是否可以自行搜索知识库"}},
    )
    most: int = Field(
        default=5,
        ge=1,
        le=20,
        description="passages that one search gives",
        json_schema_extra={"zh-CN": {"title": "段落数", "description": "一次搜索给出的段落数"}},
    )


class Knowledge(BotPlugin):
    """Searches what the asker may see."""

    name = "knowledge"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "Knowledge search", "zh-CN": "知识搜索"}
    about: ClassVar = {
        "en": "The model searches again by itself, with the asker's rights.",
        "zh-CN": "模型可以按提问者的权限自行再次搜索。",
    }
    Config = KnowledgeConfig
    permissions = Permissions(knowledge=True)

    def get_tools(self) -> Sequence[Any]:
        """One, where it is switched on."""
        return super().get_tools() if self.config.search else ()

    @tool
    def search_knowledge(
        self, ctx: PluginContext, question: Annotated[str, "what is to be found out, as one whole question"]
    ) -> list[dict[str, Any]]:
        """Search the company's documents; use it when the passages at hand do not answer, or to look up one more thing."""
        return [
            {"title": p.title, "where": p.path, "text": p.text} | ({"link": p.url} if p.url.startswith("http") else {})
            for p in ctx.search(question, limit=self.config.most)
        ]
