"""The chat page on the real local run: browser → HTTP → webhook → queue → dialogue → table → browser."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import PHONE, check
from tests.simulators.openai_server import ModelServer, Plan
from tests.support.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("page") / "state") as process:
        yield process


def test_a_newcomer_opens_the_printed_address_asks_and_reads_the_answer_with_its_source(
    running: Running, open_at: Open, axe: str
) -> None:
    page = open_at(f"{running.url}/#key={running.key}")
    page.get_by_role("button", name="How do I connect Slack?").click()
    page.get_by_role("heading", name="Sources").wait_for()
    assert "api.slack.com/apps" in page.locator(".body").inner_text()
    assert page.get_by_role("link", name="How do I connect Slack?").is_visible()  # among the conversations
    assert check(page, axe, "local-run-desktop") == []
    with page.context.expect_page() as opened:
        page.locator(".sources a").first.click()
    opened.value.get_by_role("heading", name="Which permissions (scopes) does the Slack app need?").wait_for()
    opened.value.close()
    page.reload()
    page.get_by_role("heading", name="Sources").wait_for()
    assert page.locator(".turn").count() == 1


def test_an_unknown_question_gets_an_honest_answer(running: Running, open_at: Open) -> None:
    page = open_at(f"{running.url}/#key={running.key}")
    page.get_by_label("Your message").fill("Who won the 1974 chess olympiad in Nice?")
    page.keyboard.press("Enter")
    page.locator(".body", has_text="I found nothing about that").wait_for()
    assert page.locator(".sources").count() == 0


def test_the_page_speaks_chinese_on_a_phone(running: Running, open_at: Open, axe: str) -> None:
    page = open_at(f"{running.url}/#key={running.key}", locale="zh-CN", viewport=PHONE, is_mobile=True, has_touch=True)
    page.get_by_role("button", name="怎么写一个插件？").click()
    page.get_by_role("heading", name="来源").wait_for()
    assert "BotPlugin" in page.locator(".body").inner_text()
    assert check(page, axe, "local-run-phone") == []


def test_the_operators_screens_show_a_fresh_installation(running: Running, open_at: Open, axe: str) -> None:
    page = open_at(f"{running.url}/#key={running.key}")
    page.get_by_role("link", name="Platforms").click()
    page.get_by_role("region", name="The assistant itself").wait_for()
    page.get_by_role("link", name="How to connect Feishu").wait_for()
    problems = check(page, axe, "local-run-platforms")
    page.get_by_role("link", name="Dead letters").click()
    page.get_by_role("heading", name="No dead letters").wait_for()
    problems += check(page, axe, "local-run-letters")
    assert problems == []


def test_a_document_that_is_added_on_the_page_answers_the_next_question(running: Running, open_at: Open) -> None:
    page = open_at(f"{running.url}/#key={running.key}")
    page.get_by_role("link", name="Knowledge").click()
    page.get_by_role("rowheader", name="Connecting Slack").wait_for()
    page.get_by_role("link", name="Add", exact=True).first.click()
    page.get_by_label("Folder").fill("office")
    text = b"# The office\n\n## Where is the gym?\n\nThe gym is on the ninth floor, beside the roof garden.\n"
    large = b"# Archive\n\n" + b"Nothing but old minutes stands here. " * 80_000  # 3 MB
    files: list[FilePayload] = [
        {"name": "office.md", "mimeType": "text/markdown", "buffer": text},
        {"name": "archive.md", "mimeType": "text/markdown", "buffer": large},
    ]
    page.locator("#kb-files").set_input_files(files)
    page.locator(".uploads li").nth(1).get_by_text("added").wait_for(timeout=30_000)
    assert page.locator(".uploads li").nth(0).inner_text().endswith("added")
    page.get_by_role("link", name="Chat").click()
    page.get_by_role("button", name="New conversation").click()
    for _ in range(20):  # the answering function looks for a new version every few seconds
        page.get_by_label("Your message").fill("Where is the gym?")
        page.keyboard.press("Enter")
        page.locator(".turn").last.locator(".tools").wait_for()
        if "ninth floor" in page.locator(".body").last.inner_text():
            break
        page.wait_for_timeout(1500)
    assert "ninth floor" in page.locator(".body").last.inner_text()
    assert page.locator(".sources").last.inner_text().endswith("The office")


def test_a_models_answer_grows_on_the_page_and_can_be_stopped(open_at: Open, tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(60))
    slow = Plan(text=words, gap=0.05)
    with ModelServer(plan=slow) as model, Running(tmp_path / "state", "--model", f"openai:tiny@{model.base}/v1") as running:
        page = open_at(f"{running.url}/#key={running.key}", reduced_motion="no-preference")
        page.evaluate(
            """() => { window.seen = new Set(); new MutationObserver(() => {
                const body = document.querySelector('.body'); if (body) window.seen.add(body.textContent);
            }).observe(document.body, {childList: true, subtree: true, characterData: true}); }"""
        )
        page.get_by_label("Your message").fill("Count to sixty")
        page.keyboard.press("Enter")
        page.locator(".tools").wait_for(timeout=30_000)
        assert page.locator(".body").inner_text() == words
        seen = sorted(page.evaluate("[...window.seen]"), key=len)
        assert len(seen) > 10
        assert all(longer.startswith(shorter) for shorter, longer in pairwise(seen))
        model.plan = Plan(text=words * 20, gap=0.05)
        page.get_by_label("Your message").fill("And now to a thousand")
        page.keyboard.press("Enter")
        page.locator(".body", has_text="word5").last.wait_for()
        page.get_by_role("button", name="Stop the answer").click()
        page.locator(".turn").nth(1).locator(".tools").wait_for(timeout=30_000)
        said = page.locator(".body").last.inner_text()
        assert "Stopped." in said
        assert len(said) < len(words * 20)
        assert page.locator(".turn").count() == 2


def test_the_health_screen_names_every_part(running: Running, open_at: Open) -> None:
    page = open_at(f"{running.url}/#key={running.key}")
    page.get_by_role("link", name="Health").click()
    page.get_by_text("Everything works.").wait_for()
    names = page.get_by_role("rowheader").all_inner_texts()
    assert [name.lower() for name in names] == list(running.call("GET", "/health")[1]["components"])


def test_a_file_the_browser_has_is_not_sent_again(running: Running) -> None:
    with urllib.request.urlopen(f"{running.url}/console/app.js") as first:
        tag = first.headers["etag"]
        assert "script-src 'self'" in first.headers["content-security-policy"]
    again = urllib.request.Request(f"{running.url}/console/app.js", headers={"if-none-match": tag})
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(again)
    assert answer.value.code == 304
    answer.value.close()
