"""The pages about the platforms say what is true: promises name tests that exist, scopes are those the doctor needs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from assistant.platforms.feishu_doctor import SCOPES

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "platforms"
LANGUAGES = ("", ".zh-CN")


EVERYWHERE = ("test_main_path", "test_crashes", "test_plugin_approvals")
"""Files of tests that run on several platforms, or on whichever."""


@pytest.mark.parametrize("platform", ["feishu", "dingtalk", "wecom", "slack", "teams"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_test_that_a_promise_names_exists(platform: str, language: str) -> None:
    page = (PAGES / f"{platform}{language}.md").read_text(encoding="utf-8")
    own = [p for p in (ROOT / "tests").glob("*/test_*.py") if platform in p.stem or p.stem in EVERYWHERE]
    tests = "".join(path.read_text(encoding="utf-8") for path in own)
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 8
    assert [n for n in named if f"def {n}(" not in tests] == []


@pytest.mark.parametrize("platform", ["wecom", "slack", "teams"])
def test_both_languages_name_the_same_tests_row_by_row(platform: str) -> None:
    english, chinese = (
        [re.findall(r"`(test_\w+)`", line) for line in (PAGES / f"{platform}{x}.md").read_text().splitlines() if "`test_" in line]
        for x in LANGUAGES
    )
    assert [row for row in english if len(row)] == [row for row in chinese if len(row)]


@pytest.mark.parametrize("platform", ["feishu", "dingtalk"])
def test_both_languages_name_the_same_fields_scopes_and_addresses(platform: str) -> None:
    english, chinese = ((PAGES / f"{platform}{x}.md").read_text(encoding="utf-8") for x in LANGUAGES)
    assert set(re.findall(r"`[^`\n]*`", english)) - set(re.findall(r"`[^`\n]*`", chinese)) <= {
        f"`https://YOUR-HOST/webhook/{platform}/{c}`" for c in ("events", "robot", "cards")
    } | {'`DingTalk(secrets).register_card_callback("https://YOUR-HOST/webhook/dingtalk/cards")`'}
    for address in re.findall(r"/webhook/\w+/\w+", english):
        assert address in chinese


@pytest.mark.parametrize("name", ["feishu-scopes.json", "feishu-scopes-least.json"])
def test_the_importable_scopes_are_enough(name: str) -> None:
    scopes = json.loads((PAGES / name).read_text(encoding="utf-8"))["scopes"]["tenant"]
    page = (PAGES / "feishu.md").read_text(encoding="utf-8")
    assert all(f"`{s}`" in page for s in scopes)
    needed = list(SCOPES.values()) if "least" not in name else list(SCOPES.values())[:3]
    assert all(set(enough) & set(scopes) for enough in needed)


def test_dingtalks_permissions_are_explained() -> None:
    page = (PAGES / "dingtalk.md").read_text(encoding="utf-8")
    permissions = json.loads((PAGES / "dingtalk-scopes.json").read_text(encoding="utf-8"))["permissions"]
    assert all(f"`{p['code']}`" in page for p in permissions)
