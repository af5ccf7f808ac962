"""The page of simulated chats in a real browser: written, clicked and walked through with the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from assistant.messages import Button, HttpReply, Reply, Webhook
from assistant.platforms import Platform, platform_class
from tests.e2e.conftest import DESKTOP, PHONE, check
from tests.simulators.base import Answer, Call, Simulator, route
from tests.simulators.page import serve
from tests.simulators.stages import Cast

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]

SAID = "Fifteen days, see the [leave policy](https://hr.example/leave).\n\n- `TR-7` first\n- <b>not bold</b> & more"
CHOICE = (Button(text="Apply", key="apply", style="primary"), Button(text="Not now", key="no"))


class Echo(Simulator):
    """An assistant that answers at once: every question the same, with two buttons where it says "leave"."""

    def __init__(self, platforms: dict[str, Platform]) -> None:
        super().__init__()
        self.platforms = platforms
        self.said: dict[str, str] = {}

    @route("POST", r"/webhook/(?P<platform>\w+)/(?P<channel>\w+)")
    def webhook(self, call: Call) -> Answer:
        platform = self.platforms[call.params["platform"]]
        webhook = Webhook(
            platform=platform.name,
            channel=call.params["channel"],
            headers=dict(call.headers),
            query=dict(call.query),
            body=call.body,
        )
        received = platform.receive(webhook)
        reply: HttpReply = received.reply
        if received.pull:
            reply = platform.answer_pull(webhook, received, text=self.said.get(received.pull, ""), final=True)
        for message in received.messages:
            if message.kind == "text":
                buttons = CHOICE if "leave" in message.text else ()
                self.said[platform.stream_id(message)] = SAID
                platform.send(Reply(text=SAID, buttons=buttons), to=message, key=f"k{len(self.calls)}")
            elif message.kind == "card_action":
                platform.send(Reply(text=f"You chose {message.action_key}."), to=message, key=f"k{len(self.calls)}")
        return Answer(reply.status, reply.body)


@pytest.fixture(scope="module")
def simulated() -> Iterator[str]:
    """Address of the page, over all platforms."""
    cast = Cast()
    secrets = cast.start()
    with Echo({name: platform_class(name)(fields) for name, fields in secrets.items()}) as echo:
        shown = serve(cast.stages, echo.base)
        yield shown.url
        shown.stop()
    cast.stop()


def column(page: Page, title: str) -> Any:
    return page.get_by_role("region", name=title)


def write(page: Page, title: str, text: str) -> None:
    column(page, title).get_by_role("textbox").fill(text)
    page.keyboard.press("Enter")


TITLES = ("飞书 Feishu", "钉钉 DingTalk", "企业微信 WeCom", "Slack", "Microsoft Teams")


def test_every_platform_answers_what_is_written_to_it(open_at: Open, simulated: str, axe: str) -> None:
    page = open_at(simulated)
    for title in TITLES:
        write(page, title, f"How many days in {title}?")
        chat = column(page, title).get_by_role("log")
        chat.get_by_text("Fifteen days").first.wait_for()
        assert chat.get_by_role("link", name="leave policy").first.get_attribute("href") == "https://hr.example/leave"
        assert chat.locator("b").count() == 0
        assert chat.get_by_text("<b>not bold</b> & more").count() == 1
    assert column(page, "Slack").get_by_role("textbox").input_value() == ""
    assert check(page, axe, "simulated-chats") == []


def test_a_button_is_clicked_and_its_answer_shown(open_at: Open, simulated: str) -> None:
    page = open_at(simulated)
    write(page, "企业微信 WeCom", "leave please")
    wecom = column(page, "企业微信 WeCom")
    wecom.get_by_role("button", name="Apply").last.click()
    wecom.get_by_text("You chose apply.").wait_for()


def test_rooms_are_chosen_with_the_keyboard_and_news_elsewhere_is_marked(open_at: Open, simulated: str) -> None:
    page = open_at(simulated)
    slack = column(page, "Slack")
    slack.get_by_role("tab", name="Ann").focus()
    page.keyboard.press("ArrowRight")
    assert slack.get_by_role("tab", name="#team").get_attribute("aria-selected") == "true"
    write(page, "Slack", "in the channel")
    slack.get_by_text("@assistant in the channel").wait_for()
    page.keyboard.press("Shift+Tab")
    other = open_at(simulated)
    column(other, "Slack").get_by_role("tab", name="#team").locator(".new").wait_for()


def test_shift_enter_breaks_the_line_and_markup_stays_text(open_at: Open, simulated: str) -> None:
    page = open_at(simulated)
    teams = column(page, "Microsoft Teams")
    teams.get_by_role("textbox").fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    teams.get_by_text("<img src=x onerror=alert(1)>").wait_for()
    assert teams.locator("img").count() == 0
    teams.get_by_text("second line").wait_for()


@pytest.mark.parametrize(("name", "viewport", "scheme"), [("phone", PHONE, "light"), ("dark", DESKTOP, "dark")])
def test_it_fits_a_phone_and_the_dark(
    open_at: Open, simulated: str, axe: str, name: str, viewport: dict[str, int], scheme: str
) -> None:
    page = open_at(simulated, viewport=viewport, color_scheme=scheme)
    write(page, "飞书 Feishu", "leave please")
    column(page, "飞书 Feishu").get_by_role("button", name="Apply").first.wait_for()
    assert check(page, axe, f"simulated-chats-{name}") == []
