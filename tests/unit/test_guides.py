"""The guides that the assistant explains itself with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from assistant.dev.cli import COMMANDS
from assistant.knowledge import Knowledge, open_knowledge
from assistant.knowledge.default import default_knowledge
from assistant.llm import ChatMessage, ChatRequest
from assistant.llm.builtin import answer
from assistant.plugins import plugin_in
from assistant.settings import ROUTES, Settings
from assistant.testing import Talk, make, say

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PAGES = sorted(GUIDES.rglob("*.md"))
EVERYONE = frozenset({"everyone"})


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knowledge]:
    path = tmp_path_factory.mktemp("guides") / "knowledge.sqlite"
    default_knowledge(path)
    knowledge = open_knowledge(path)
    yield knowledge
    knowledge.close()


def document(page: Path) -> str:
    return f"assistant/guides/{page.relative_to(GUIDES).as_posix()}"


def headings(page: Path) -> list[str]:
    return re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)


def test_each_page_exists_in_both_languages_with_the_same_sections() -> None:
    english = {p.name: len(headings(p)) for p in PAGES if p.parent.name == "en"}
    chinese = {p.name: len(headings(p)) for p in PAGES if p.parent.name == "zh-CN"}
    assert english == chinese
    assert len(english) >= 15


def test_what_a_heading_asks_is_answered_from_its_own_page(knowledge: Knowledge) -> None:
    asked = [(question, document(page)) for page in PAGES for question in headings(page)]
    not_first, not_found = [], []
    for question, own in asked:
        found = knowledge.search(question, audience=EVERYONE, limit=5)
        documents = [p.document for p in found.passages]
        if own not in documents or not found.confident:
            not_found.append(question)
        elif documents[0] != own:
            not_first.append(question)
    assert len(asked) > 200
    assert len(not_found) <= 0.03 * len(asked), not_found
    assert len(not_first) <= 0.1 * len(asked), not_first


@pytest.mark.parametrize(
    ("question", "page", "words"),
    [
        ("What can you do?", "en/what-it-does.md", "documents"),
        ("How do I connect Slack?", "en/connect-slack.md", "api.slack.com/apps"),
        ("How do I write a plug-in?", "en/plugins.md", "class Canteen(BotPlugin)"),
        ("Why does the WeCom bot not answer?", "en/connect-wecom.md", "visibility range"),
        ("How does roll-out in rings work?", "en/rollout.md", "ten internal users"),
        ("How can I set up DingTalk?", "en/connect-dingtalk.md", "open-dev.dingtalk.com"),
        ("how do I run it on my laptop", "en/running-locally.md", "make run"),
        ("Where is my data stored?", "en/privacy-security.md", "DynamoDB"),
        ("你能做什么？", "zh-CN/what-it-does.md", "文档"),
        ("怎么接入飞书？", "zh-CN/connect-feishu.md", "open.feishu.cn"),
        ("怎么写一个插件？", "zh-CN/plugins.md", "class Canteen(BotPlugin)"),
        ("灰度发布是怎么进行的？", "zh-CN/rollout.md", "三环"),
        ("企业微信机器人不回复", "zh-CN/connect-wecom.md", "可见范围"),
        ("怎么部署到 AWS", "zh-CN/deploying.md", "make deploy"),
    ],
)
def test_the_built_in_engine_explains_the_product(knowledge: Knowledge, question: str, page: str, words: str) -> None:
    found = knowledge.search(question, audience=EVERYONE)
    assert found.confident
    assert found.passages[0].document == f"assistant/guides/{page}"
    asked = (ChatMessage(role="user", text=question),)
    said = answer(ChatRequest(system="", messages=asked, passages=found.passages, language=page.partition("/")[0]))
    assert words in said
    assert "[1]" in said


@pytest.mark.parametrize(
    "question", ["What is the capital of France?", "How do I bake bread?", "法国的首都是哪里", "今天天气怎么样"]
)
def test_what_the_guides_do_not_hold_is_not_answered_from_them(knowledge: Knowledge, question: str) -> None:
    assert not knowledge.search(question, audience=EVERYONE).confident


def test_every_command_that_a_guide_names_exists() -> None:
    named = {c for p in PAGES for c in re.findall(r"`assistant (\w+)", p.read_text("utf-8"))}
    assert named <= set(COMMANDS), sorted(named - set(COMMANDS))


def test_every_webhook_that_a_guide_names_has_a_route() -> None:
    named = {w for p in PAGES for w in re.findall(r"/webhook/(\w+)/(\w+)", p.read_text("utf-8"))}
    from assistant.platforms import PLATFORMS

    assert {platform for platform, _ in named} == set(PLATFORMS)
    assert any(r.path == "/webhook/{platform}/{channel}" for r in ROUTES)


@pytest.mark.parametrize(("language", "asked"), [("en", "What is for lunch?"), ("zh-CN", "午饭吃什么？")])
def test_the_plug_in_in_the_guide_works(language: str, asked: str) -> None:
    text = (GUIDES / language / "plugins.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code
    module = ModuleType("guide")
    exec(code[1], module.__dict__)
    reply = say(make(plugin_in(module)), asked)
    assert reply
    assert reply.text in ("Noodles with vegetables.", "供应蔬菜面。")


@pytest.mark.parametrize(("language", "asked"), [("en", "report"), ("zh-CN", "报表")])
def test_the_plug_in_of_the_guide_that_sends_files_works(language: str, asked: str) -> None:
    text = (GUIDES / language / "plugins.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1]
    module = ModuleType("guide")
    exec(code, module.__dict__)
    talk = Talk([make(plugin_in(module))])
    assert talk.say(asked) is not None
    assert [file.name for file in talk.files] == ["report.csv"]
    assert talk.use("visits_of", month=3) == "the file is attached"
    assert talk.files[-1].name == "visits-3.csv"


def test_the_documents_that_are_linked_exist() -> None:
    root = GUIDES.parents[1]
    for page in [root / "README.md", root / "README.zh-CN.md", *root.glob("docs/*.md"), *PAGES]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(root)} leads to {target}"


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_table_of_settings_in_the_readme_is_true(name: str) -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", (GUIDES.parents[1] / name).read_text("utf-8"), re.MULTILINE))
    assert len(rows) >= 6
    defaults = {f.name.upper(): str(f.default) for f in fields(Settings)}
    assert rows == {setting: defaults[setting] for setting in rows}


def test_the_files_that_the_security_page_names_exist() -> None:
    root = GUIDES.parents[1]
    named = re.findall(r"`((?:tests|layers)/[^`]+)`", (root / "docs" / "security.md").read_text("utf-8"))
    assert len(named) > 8
    assert [n for n in named if not list(root.glob(n.partition("::")[0]))] == []
