"""The page's files as they are served."""

from __future__ import annotations

import json
import re

import pytest

from assistant import console
from assistant.api import LARGEST_FILE
from assistant.attachments import LARGEST, MOST_FILES
from assistant.errors import Refused
from assistant.knowledge.loaders import LOADERS
from assistant.queue import STOP_WORDS


def test_the_page_is_served_with_a_policy_that_runs_nothing_but_our_own_files() -> None:
    reply = console.page()
    assert reply.status == 200
    assert reply.content_type == "text/html; charset=utf-8"
    policy = reply.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


def test_no_file_holds_inline_script_or_style_or_an_address_elsewhere() -> None:
    html = console.page().body
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    for name in console.names():
        text = console.page(name).body
        assert not re.search(r"""(?:src|href|from|import|url)\s*[=(]?\s*["'(]?(?:https?:)?//""", text), name
        assert "innerHTML" not in text, name


def test_every_file_that_is_loaded_exists() -> None:
    for name in console.names():
        text = console.page(name).body
        for wanted in [
            *re.findall(r'"/console/v-[0-9a-f]{12}/([^"]+)"', text),
            *re.findall(r'(?:from|import\()\s*"\./([^"]+)"', text),
        ]:
            assert wanted in console.names(), f"{name} loads {wanted}"


def test_a_browser_that_has_the_file_is_told_so() -> None:
    tag = console.page("app.js").headers["etag"]
    again = console.page("app.js", if_none_match=f'"older", {tag}')
    assert (again.status, again.body) == (304, "")


def test_what_has_a_version_in_its_address_is_kept_for_ever_and_the_page_itself_never() -> None:
    index = console.page()
    assert index.headers["cache-control"] == "no-cache"
    [script] = re.findall(r'src="/console/([^"]+)"', index.body)
    assert console.page(script).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert console.page(script).body == console.page("app.js").body
    assert console.page("app.js").headers["cache-control"] == "no-cache"
    assert not re.findall(r'"/console/(?!v-)', index.body)


def test_a_page_opened_before_a_deployment_gets_the_present_files_but_does_not_keep_them() -> None:
    old = console.page("v-0123456789ab/rings.js")
    assert old.status == 200
    assert old.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "v-0123456789ab/../app.js",
        "v-0123456789ab/",
        "__init__.py",
        "../settings.py",
        "nothing.js",
        "/etc/passwd",
        "__pycache__",
        "index.html/",
    ],
)
def test_nothing_but_the_pages_files_is_served(path: str) -> None:
    with pytest.raises(Refused) as refused:
        console.page(path)
    assert refused.value.status == 404


def test_every_word_of_the_page_exists_in_both_languages() -> None:
    for name in sorted(n for n in console.names() if n.endswith(".js")):
        text = console.page(name).body
        blocks = re.search(r"\ben: \{(.*?)\n  \},\s*\"zh-CN\": \{(.*?)\n  \},", text, re.DOTALL)
        if not blocks:
            continue
        english, chinese = (set(re.findall(r"(?:^|[\s,{])(\w+): \"", block)) for block in blocks.groups())
        assert english == chinese, name
        assert len(english) > 5


def test_the_page_knows_the_words_that_stop_an_answer() -> None:
    found = re.search(r"STOP_WORDS = new Set\((\[.*?\])\)", console.page("chat.js").body)
    assert found
    assert set(json.loads(found[1])) == STOP_WORDS


def test_the_guides_are_listed_and_served_and_nothing_beside_them() -> None:
    listed = json.loads(console.page("docs/index.json").body)
    assert {"path": "guides/en/plugins.md", "title": "Writing a plug-in"} in listed
    for entry in listed:
        assert console.page(f"docs/{entry['path']}").content_type == "text/markdown; charset=utf-8"
    for path in ("docs/", "docs/guides/en", "docs/../README.md", "docs/guides/en/nothing.md"):
        with pytest.raises(Refused):
            console.page(path)


def test_each_colour_stands_once_for_each_appearance() -> None:
    sheet = console.page("style.css").body
    text = sheet if isinstance(sheet, str) else sheet.decode()
    names = re.findall(r"^\s*--([\w-]+):", text, re.MULTILINE)
    assert {n: names.count(n) for n in names if names.count(n) > 2} == {}
    outside = re.sub(r":root[^{]*\{[^}]*\}", "", text)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", outside) == [], "a colour has a name"


def test_the_page_takes_the_files_that_the_server_reads() -> None:
    script = console.page("attach.js").body
    [endings] = re.findall(r"const ENDINGS = (\[.*?\]);", script)
    assert json.loads(endings) == sorted(LOADERS)
    assert f"const MOST = {MOST_FILES};" in script
    assert f"const TOGETHER = {LARGEST // 1024 // 1024} * 1024 * 1024;" in script
    assert f"const LARGEST = {LARGEST_FILE // 1024 // 1024} * 1024 * 1024;" in script
