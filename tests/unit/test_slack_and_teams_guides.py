"""The set-up guides of Slack and Teams say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.platforms.slack import Slack
from assistant.platforms.slack_doctor import NEEDED, USEFUL
from assistant.platforms.teams import Teams

GUIDES = Path(__file__).parents[2] / "docs" / "platforms"


def manifest() -> Any:
    return yaml.safe_load((GUIDES / "slack-manifest.yaml").read_text())


def test_the_slack_manifest_asks_for_the_scopes_that_the_doctor_looks_for() -> None:
    assert set(manifest()["oauth_config"]["scopes"]["bot"]) == set(NEEDED) | set(USEFUL)


def test_the_slack_manifest_names_every_channel_once_and_right() -> None:
    settings, features = manifest()["settings"], manifest()["features"]
    urls = [
        settings["event_subscriptions"]["request_url"],
        settings["interactivity"]["request_url"],
        features["slash_commands"][0]["url"],
    ]
    assert [url.partition("/webhook/")[2] for url in urls] == [f"slack/{channel}" for channel in Slack.channels]


def test_the_teams_package_is_complete() -> None:
    package = GUIDES / "teams-app"
    told = json.loads((package / "manifest.json").read_text())
    assert told["bots"][0]["scopes"] == ["personal", "team", "groupChat"]
    assert len(told["name"]["short"]) <= 30
    assert len(told["description"]["short"]) <= 80
    for name, side in (("color", 192), ("outline", 32)):
        picture = (package / told["icons"][name]).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert (int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")) == (side, side)


@pytest.mark.parametrize("name", ["slack.md", "slack.zh-CN.md", "teams.md", "teams.zh-CN.md"])
def test_a_guide_names_the_addresses_scopes_and_files_that_exist(name: str) -> None:
    text = (GUIDES / name).read_text()
    platform = Slack if name.startswith("slack") else Teams
    for channel in platform.channels:
        assert f"/webhook/{platform.name}/{channel}" in text
    if platform is Slack:
        assert all(f"`{scope}`" in text for scope in (*NEEDED, *USEFUL))
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (GUIDES / link).exists(), link


def test_both_languages_have_the_same_tables() -> None:
    for name in ("slack", "teams"):
        english, chinese = ((GUIDES / f"{name}{tail}.md").read_text() for tail in ("", ".zh-CN"))
        rows = [text.count("\n|") for text in (english, chinese)]
        assert rows[0] == rows[1]
