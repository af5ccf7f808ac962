"""The screens beside the chat, in a real browser against a played API."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from assistant.knowledge.service import Filing, Upload
from tests.e2e.conftest import DESKTOP, PHONE, check
from tests.e2e.fake_api import FakeApi

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

Open = Callable[..., "Page"]

LETTERS = [
    {
        "id": f"0000000{n}-aaaa",
        "reason": reason,
        "platform": platform,
        "channel": "events",
        "kind": "text",
        "conversation": f"oc_{n}a5f2",
        "sender": f"ou_{n}",
        "message_id": f"om_{n}",
        "event_id": f"e{n}",
        "dedup_id": f"om_{n}",
        "sent_at": 1_770_000_000_000 + n * 60_000,
        "trace": f"Root=1-6980-{n}",
    }
    for n, (platform, reason) in enumerate(
        [("feishu", "the model did not answer within 120 s"), ("slack", "channel_not_found"), ("webchat", "moved by the queue")]
    )
]
FINDINGS = [
    {"component": "assistant", "check": "table", "state": "ok", "detail": "assistant", "fix": "", "url": ""},
    {
        "component": "assistant",
        "check": "dead letters",
        "state": "warning",
        "detail": "2 messages wait",
        "fix": "look at them with `assistant dlq list`",
        "url": "",
    },
    {
        "component": "feishu",
        "check": "permission",
        "state": "fault",
        "detail": "im:message:send_as_bot is not granted",
        "fix": "grant it and publish a version",
        "url": "https://open.feishu.cn/app/cli_1/auth?q=im:message:send_as_bot",
    },
    {
        "component": "slack",
        "check": "connected",
        "state": "unknown",
        "detail": "not connected",
        "fix": "store the secret",
        "url": "",
    },
    {
        "component": "teams",
        "check": "connected",
        "state": "unknown",
        "detail": "not connected",
        "fix": "store the secret",
        "url": "",
    },
]
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True, "locale": "zh-CN"},
}


def test_the_guides_are_listed_and_read_in_the_readers_language(open_page: Open) -> None:
    page = open_page(locale="zh-CN")
    page.get_by_role("link", name="使用指南").click()
    page.get_by_role("link", name="接入飞书").click()
    page.get_by_role("heading", name="飞书应用需要哪些权限？").wait_for()
    page.get_by_role("link", name="English").click()
    page.get_by_role("heading", name="Which permissions does the Feishu app need?").wait_for()
    assert page.title() == "Connecting Feishu or Lark · 智能助手"
    page.go_back()
    page.get_by_role("heading", name="飞书应用需要哪些权限？").wait_for()


def test_a_source_under_an_answer_opens_the_guide_without_a_key(open_page: Open, api: FakeApi) -> None:
    url = "/#/docs/guides/en/connect-slack.md"
    api.default = {
        "steps": ["See the guide [1]."],
        "sources": [{"number": 1, "title": "Connecting Slack", "url": url, "page": 0}],
    }
    page = open_page()
    page.get_by_role("button", name="How do I connect Slack?").click()
    with page.context.expect_page() as opened:
        page.locator(".sources a").click()
    guide = opened.value
    guide.get_by_role("heading", name="Which permissions (scopes) does the Slack app need?").wait_for()
    assert guide.get_by_role("link", name="Sign in").is_visible()
    guide.get_by_role("link", name="Sign in").click()
    guide.get_by_label("API key").wait_for()


def test_a_guide_that_does_not_exist_is_said_so(open_page: Open) -> None:
    page = open_page(signed_in=False, at="#/docs/guides/en/nothing.md")
    page.get_by_text("This guide does not exist.").wait_for()
    page.get_by_role("link", name="All guides").click()
    page.get_by_role("link", name="Writing a plug-in").wait_for()


def test_the_doctor_names_the_fault_its_fix_and_the_page_to_open(open_page: Open, api: FakeApi) -> None:
    api.findings = FINDINGS
    page = open_page(at="#/platforms")
    feishu = page.get_by_role("region", name="Feishu")
    feishu.get_by_text("im:message:send_as_bot is not granted").wait_for()
    assert "What to do: grant it and publish a version" in feishu.inner_text()
    assert feishu.get_by_role("link", name="Open the page").get_attribute("href") == FINDINGS[2]["url"]
    page.get_by_role("link", name="How to connect Slack").click()
    page.get_by_role("heading", name="Which permissions (scopes) does the Slack app need?").wait_for()


def test_a_part_that_does_not_work_is_named_and_its_recovery_is_seen(open_page: Open, api: FakeApi) -> None:
    api.components = {"table": {"state": "ok"}, "queue": {"state": "AccessDenied", "detail": ""}}
    page = open_page(at="#/health")
    page.get_by_text("Some parts need attention.").wait_for()
    row = page.get_by_role("row", name="queue")
    assert "does not work" in row.inner_text()
    assert "AccessDenied" in row.inner_text()
    api.components["queue"] = {"state": "ok"}
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("Everything works.").wait_for()


def test_a_roll_out_goes_ring_by_ring_and_each_step_can_be_taken_back(open_page: Open, api: FakeApi) -> None:
    page = open_page(at="#/rings")
    page.get_by_text("Nothing was changed yet.").wait_for()
    page.get_by_role("button", name="Edit ring “Internal”").click()
    page.get_by_label("People", exact=True).fill("slack:U1\nfeishu:ou_2")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Why?").fill("first ten")
    page.get_by_role("button", name="Do it").click()
    page.get_by_text("2 of 10").wait_for()
    api.rollouts.set({"reached": "internal"}, who="Bob", why="start small")
    page.reload()
    page.get_by_role("button", name="Serve “Department” as well").click()
    assert page.get_by_label("Your name").input_value() == "Ann"
    page.get_by_label("Why?").fill("quiet for two days")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Serve “Everyone” as well").wait_for()
    row = page.get_by_role("row", name="promote to department")
    assert "Ann" in row.inner_text()
    assert "quiet for two days" in row.inner_text()
    page.get_by_role("button", name="Take the last change back").click()
    page.get_by_role("button", name="Do it").click()
    page.get_by_role("button", name="Serve “Department” as well").wait_for()
    assert api.rollouts.read().reached == "internal"


def test_a_halted_roll_out_is_promoted_no_further_until_it_is_resumed(open_page: Open, api: FakeApi) -> None:
    api.rollouts.set({"reached": "internal"}, who="Bob", why="start small")
    page = open_page(at="#/rings")
    page.get_by_role("button", name="Halt").click()
    page.get_by_role("button", name="Do it").click()
    page.get_by_text("Halted: no further ring").wait_for()
    assert page.get_by_role("button", name="Serve “Department” as well").is_disabled()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Do it").click()
    page.get_by_role("button", name="Halt").wait_for()
    page.get_by_label("nothing").check()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("one polite message").and_(page.locator(":checked")).wait_for()
    assert api.rollouts.read().outside == "word"


def test_a_ring_that_cannot_be_is_refused_with_the_reason_and_nothing_typed_is_lost(open_page: Open, api: FakeApi) -> None:
    page = open_page(at="#/rings")
    page.get_by_role("button", name="Edit ring “Internal”").click()
    page.get_by_label("People", exact=True).fill("\n".join(f"slack:U{n}" for n in range(11)))
    page.get_by_role("button", name="Do it").click()
    page.get_by_text("ring internal has room for 10 people, not for 11").wait_for()
    assert page.get_by_label("People", exact=True).input_value().endswith("slack:U10")


POLICY = b"# Travel policy\n\n## How many days of leave do I get?\n\nFourteen days of leave per year.\n"
TEAMS = b"""{"entities": [{"id": "ann", "name": "Ann Lee", "kind": "person"}, {"id": "design", "name": "Design", "kind": "team"},
 {"id": "bo", "name": "Bo Chen", "kind": "person"}], "relations": [{"subject": "ann", "kind": "leads", "object": "design"},
 {"subject": "bo", "kind": "member_of", "object": "design"}]}"""


def test_a_file_is_added_found_and_removed_from_every_version(open_page: Open, api: FakeApi) -> None:
    page = open_page(at="#/knowledge")
    page.get_by_role("heading", name="No documents yet").wait_for()
    page.get_by_role("link", name="Add", exact=True).first.click()
    page.get_by_label("Folder").fill("hr")
    files: list[FilePayload] = [
        {"name": "travel.md", "mimeType": "text/markdown", "buffer": POLICY},
        {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"no pdf"},
        {"name": "huge.txt", "mimeType": "text/plain", "buffer": b"x" * (4 * 1024 * 1024 + 1)},
    ]
    page.locator("#kb-files").set_input_files(files)
    lines = page.locator(".uploads li")
    lines.nth(0).get_by_text("added").wait_for()
    lines.nth(1).get_by_text("not added:").wait_for()
    lines.nth(2).get_by_text("is larger than 4 MB").wait_for()
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("rowheader", name="Travel policy").wait_for()
    assert "everyone" in page.get_by_role("row", name="Travel policy").inner_text()
    page.get_by_role("link", name="Try a question").click()
    page.get_by_label("Question").fill("How many days of leave do I get?")
    page.keyboard.press("Enter")
    page.get_by_text("Good enough to answer from.").wait_for()
    assert "Fourteen days" in page.locator(".hits").inner_text()
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("button", name="Remove Travel policy").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="No documents yet").wait_for()
    assert api.knowledge().documents() == []


def test_an_older_version_of_the_knowledge_can_be_served_again(open_page: Open, api: FakeApi) -> None:
    for name in ("one", "two"):
        api.knowledge().add([Upload(name=f"{name}.md", content=POLICY + name.encode())], Filing(author="Ann"))
    page = open_page(at="#/knowledge/versions")
    page.get_by_role("button", name="Serve again").click()
    page.get_by_role("row").nth(2).get_by_text("served", exact=True).wait_for()
    assert page.locator(".badge.good").count() == 1
    assert [d.id for d in api.knowledge().documents()] == ["one.md"]


def test_an_unanswered_question_is_tried_and_taken_off_the_list(open_page: Open, api: FakeApi) -> None:
    api.gaps.items = [{"id": "g1", "question": "Where is the gym?", "count": 7, "asked": 1_770_000_000.0, "certainty": 0.1}]
    api.knowledge().add([Upload(name="travel.md", content=POLICY)])
    page = open_page(at="#/knowledge/gaps")
    page.get_by_role("link", name="Try it").click()
    page.get_by_text("Not good enough").or_(page.get_by_text("Nothing was found.")).wait_for()
    page.get_by_role("link", name="Unanswered").click()
    page.get_by_role("button", name="Done: Where is the gym?").click()
    page.get_by_role("heading", name="No unanswered questions").wait_for()


def test_the_graph_is_walked_from_one_entity_to_the_next(open_page: Open, api: FakeApi) -> None:
    api.knowledge().load_graph("teams.json", TEAMS)
    page = open_page(at="#/knowledge/graph")
    page.get_by_role("button", name="Ann Lee").click()
    page.get_by_role("heading", name="What is around Ann Lee").wait_for()
    page.locator(".edges").get_by_role("button", name="Design").click()
    page.get_by_role("heading", name="What is around Design").wait_for()
    assert page.locator(".edges li").count() == 2
    assert page.locator("svg.star circle").count() == 3


def test_the_first_steps_show_what_is_done_and_lead_to_what_is_next(open_page: Open, api: FakeApi) -> None:
    api.findings = [f for f in FINDINGS if f["component"] != "feishu"]
    page = open_page(at="#/start")
    steps = page.locator(".walk li")
    steps.first.wait_for()
    assert steps.locator(".badge").all_inner_texts() == ["open"] * 5
    api.knowledge().add([Upload(name="travel.md", content=POLICY)])
    api.findings = FINDINGS
    api.rollouts.set({"reached": "internal"}, who="Ann", why="first")
    api.model = "openai:qwen3@http://127.0.0.1:8000/v1"
    page.reload()
    steps.first.wait_for()
    assert steps.locator(".badge").all_inner_texts() == ["open", "done", "done", "done", "done"]
    assert "Connected: feishu." in steps.nth(2).inner_text()
    page.get_by_role("link", name="To the rings").click()
    page.get_by_role("button", name="Serve “Department” as well").wait_for()


def test_an_administrator_is_led_to_the_first_steps_until_they_have_seen_them(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.locator(".first-run").get_by_role("link", name="First steps").click()
    page.locator(".walk .next", has_text="Ask a question").wait_for()
    page.get_by_role("button", name="New conversation").click()
    page.locator(".empty").wait_for()
    assert page.locator(".first-run").count() == 0


def test_one_part_that_cannot_be_looked_at_does_not_hide_the_others(open_page: Open, api: FakeApi) -> None:
    api.fail("GET /api/doctor", times=5)
    page = open_page(at="#/start")
    page.locator(".walk .badge").first.wait_for()
    assert page.locator(".walk .badge").all_inner_texts() == ["open", "open", "not known", "open", "open"]


def test_without_dead_letters_the_screen_says_what_would_stand_there(open_page: Open) -> None:
    page = open_page(at="#/letters")
    page.get_by_role("heading", name="No dead letters").wait_for()


def test_chosen_dead_letters_are_replayed_after_a_question(open_page: Open, api: FakeApi) -> None:
    api.letters = list(LETTERS)
    page = open_page(at="#/letters")
    page.get_by_label("Select: ").nth(1).check()
    page.get_by_role("button", name="Replay selected (1)").click()
    page.get_by_role("button", name="Cancel").click()
    assert len(api.letters) == 3
    page.get_by_role("button", name="Replay selected (1)").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    page.locator(".verdict", has_text="1 put back into the queue.").wait_for()
    assert [letter["platform"] for letter in api.letters] == ["feishu", "webchat"]
    page.get_by_label("Select all").check()
    page.get_by_role("button", name="Replay selected (2)").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    page.get_by_role("heading", name="No dead letters").wait_for()


def test_a_hostile_reason_is_shown_as_text(open_page: Open, api: FakeApi) -> None:
    api.letters = [{**LETTERS[0], "reason": "<img src=x onerror=alert(1)>", "sender": None, "sent_at": 0}]
    page = open_page(at="#/letters")
    page.get_by_text("<img src=x onerror=alert(1)>").wait_for()
    assert page.locator("main img").count() == 0


def test_a_server_that_refuses_is_quoted(open_page: Open, api: FakeApi) -> None:
    api.fail("GET /api/dead-letters", status=403)
    page = open_page(at="#/letters")
    page.get_by_text("Your key does not allow this.").wait_for()


@pytest.mark.parametrize("name", SIZES)
def test_the_screens_pass_axe_and_fit(open_page: Open, api: FakeApi, axe: str, name: str) -> None:
    api.letters = list(LETTERS)
    api.findings = FINDINGS
    api.gaps.items = [{"id": "g1", "question": "Where is the gym?", "count": 7, "asked": 1_770_000_000.0, "certainty": 0.1}]
    api.knowledge().add([Upload(name="travel.md", content=POLICY)], Filing(folder="hr"))
    api.knowledge().load_graph("teams.json", TEAMS)
    api.rollouts.set(
        {"people": ["slack:U1"], "model": "openai:qwen3@http://127.0.0.1:8000/v1"}, ring="internal", who="Ann", why="first"
    )
    page = open_page(**SIZES[name])
    page.wait_for_selector(".empty")
    problems = []
    for screen, ready in {
        "docs": ".guide-groups",
        "docs/guides/en/connecting.md": ".guide table",
        "docs/guides/zh-CN/plugins.md": ".guide pre",
        "platforms": ".doctor-card",
        "start": ".walk",
        "rings": ".ring-cards",
        "knowledge": ".kb table",
        "knowledge/add": ".drop",
        "knowledge/search?q=How+many+days+of+leave": ".hits",
        "knowledge/versions": ".kb table",
        "knowledge/gaps": ".kb table",
        "letters": ".letters table",
    }.items():
        page.evaluate("where => { location.hash = where }", f"#/{screen}")
        page.wait_for_selector(ready)
        problems += check(page, axe, f"{name}-{screen.partition('?')[0].replace('/', '-').removesuffix('.md')}")
    page.evaluate("location.hash = '#/knowledge/graph'")
    page.get_by_role("button", name="Design").click()
    page.wait_for_selector(".star")
    problems += check(page, axe, f"{name}-knowledge-graph")
    page.evaluate("location.hash = '#/letters'")
    page.get_by_role("button", name="Replay all" if name != "phone" else "全部重新处理").click()
    problems += check(page, axe, f"{name}-letters-question")
    assert problems == []
