"""What people in WeCom see, against a strict WeCom: app messages through the API, bot replies by being fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from assistant.cache import Cache
from assistant.errors import (
    ContentRefused,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.messages import Button, File, HttpReply, Message, Reply, Source, Webhook
from assistant.platforms import StreamState
from assistant.platforms.wecom import WINDOW, WeCom
from tests.simulators import wecom as vendor
from tests.simulators.base import Call

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class Clock:
    """A clock that only moves when it is told to, or slept on."""

    def __init__(self) -> None:
        self.now = 1_735_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def corp(clock: Clock) -> Iterator[vendor.WeCom]:
    with vendor.WeCom(clock=clock) as simulator:
        yield simulator
        assert simulator.problems == []


@pytest.fixture
def wecom(corp: vendor.WeCom, clock: Clock) -> WeCom:
    return WeCom(corp.secrets, cache=Cache(clock=clock), clock=clock, sleep=clock.sleep)


def asked(wecom: WeCom, webhook: Webhook) -> Message:
    (message,) = wecom.receive(webhook).messages
    return message


def calls(corp: vendor.WeCom, path: str) -> list[Call]:
    return [c for c in corp.calls if c.path.endswith(path)]


# --- the app -----------------------------------------------------------------------------------


def test_plain_text_is_sent_as_text_and_markup_as_markdown(wecom: WeCom, corp: vendor.WeCom) -> None:
    question = asked(wecom, corp.app_text("你好"))
    wecom.send(Reply(text="十五天。"), to=question, key="k1")
    wecom.send(Reply(text="**十五天**，见 [制度](https://hr.example/a)。"), to=question, key="k2")
    assert corp.visible("lin") == ["十五天。", "**十五天**，见 [制度](https://hr.example/a)。"]
    assert [c.json()["msgtype"] for c in calls(corp, "/message/send")] == ["text", "markdown"]


def test_what_the_markdown_subset_lacks_is_written_another_way(wecom: WeCom, corp: vendor.WeCom) -> None:
    text = "# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n\n*soft* ~~gone~~ <@all>"
    wecom.send(Reply(text=text), to=asked(wecom, corp.app_text("?")), key="k")
    (shown,) = corp.visible("lin")
    assert shown.startswith("# T\n\n• **a**: 1 · **b**: 2\n\n> x = 1\n\nsoft gone")
    assert "```" not in shown
    assert "<@all>" not in corp.chats["lin"][-1].text


def test_sources_and_title_are_shown(wecom: WeCom, corp: vendor.WeCom) -> None:
    reply = Reply(text="Fifteen days [1].", title="Leave", sources=(Source(number=1, title="HR", url="https://hr.example/a"),))
    wecom.send(reply, to=asked(wecom, corp.app_text("?")), key="k")
    assert corp.visible("lin")[0].startswith("**Leave**")
    assert "[HR](https://hr.example/a)" in corp.visible("lin")[0]


def test_a_long_reply_comes_in_numbered_parts_that_wecom_does_not_cut(wecom: WeCom, corp: vendor.WeCom) -> None:
    text = "\n\n".join(f"第{n}段：" + "企业微信里的长回答😀" * 12 for n in range(20))
    sent = wecom.send(Reply(text=text), to=asked(wecom, corp.app_text("?")), key="k")
    shown = corp.visible("lin")
    assert len(shown) == len(sent.ids) > 3
    assert [s.partition("\n")[0] for s in shown] == [f"({n}/{len(shown)})" for n in range(1, len(shown) + 1)]
    assert "\n\n".join(s.partition("\n\n")[2] for s in shown) == text
    assert all(len(c.json()["text"]["content"].encode()) <= 2048 for c in calls(corp, "/message/send"))


def test_who_opens_the_app_again_and_again_is_greeted_once_a_day(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    for n in range(3):
        opened = asked(wecom, corp.app_callback(corp.app_xml("event", Event="enter_agent")))
        wecom.send(Reply(text="你好"), to=opened, key=f"k{n}")
        clock.sleep(3600)
    assert corp.visible("lin") == ["你好"]
    clock.sleep(20 * 3600)
    wecom.send(Reply(text="你好"), to=opened, key="k9")
    assert corp.visible("lin") == ["你好", "你好"]


def test_a_menu_entry_that_opens_a_page_is_not_answered(wecom: WeCom, corp: vendor.WeCom) -> None:
    opened = asked(wecom, corp.app_callback(corp.app_xml("event", Event="view", EventKey="https://intranet.example/a")))
    chosen = asked(wecom, corp.app_callback(corp.app_xml("event", Event="click", EventKey="HELP")))
    wecom.send(Reply(text="What did you mean?"), to=opened, key="k1")
    wecom.send(Reply(text="Here is help."), to=chosen, key="k2")
    assert corp.visible("lin") == ["Here is help."]


def test_a_silent_reply_shows_nothing(wecom: WeCom, corp: vendor.WeCom) -> None:
    wecom.send(Reply(text="x", silent=True), to=asked(wecom, corp.app_text("?")), key="k")
    assert corp.visible("lin") == []


@pytest.mark.parametrize("fault", [{"status": 0, "after": True}, {"status": 502, "after": True}, {"status": 0}, {"status": 503}])
def test_a_send_whose_answer_is_lost_is_shown_once(wecom: WeCom, corp: vendor.WeCom, fault: dict[str, Any]) -> None:
    question = asked(wecom, corp.app_text("?"))
    corp.fail("POST /cgi-bin/message/send", times=2, **fault)
    wecom.send(Reply(text="Once."), to=question, key="k")
    assert corp.visible("lin") == ["Once."]


def test_the_same_reply_sent_again_minutes_later_is_shown_once(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    question = asked(wecom, corp.app_text("?"))
    for attempt in (1, 2, 3):
        wecom.send(Reply(text="Once. " * 500), to=question, key="k", attempt=attempt)
        clock.sleep(200)
    assert [s[:5] for s in corp.visible("lin")] == ["(1/2)", "(2/2)"]


def test_two_honest_replies_with_the_same_words_are_both_shown(wecom: WeCom, corp: vendor.WeCom) -> None:
    question = asked(wecom, corp.app_text("早"))
    wecom.send(Reply(text="早上好！"), to=question, key="turn-1")
    wecom.send(Reply(text="早上好！"), to=question, key="turn-2")
    assert corp.visible("lin") == ["早上好！", "早上好！"]


def test_the_token_is_fetched_once_and_renewed_when_wecom_lets_it_die(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    question = asked(wecom, corp.app_text("?"))
    for n in range(3):
        wecom.send(Reply(text=f"{n}"), to=question, key=f"k{n}")
    assert len(calls(corp, "/gettoken")) == 1
    corp.expire_tokens()
    wecom.send(Reply(text="3"), to=question, key="k3")
    assert len(calls(corp, "/gettoken")) == 2
    clock.sleep(7000)
    wecom.send(Reply(text="4"), to=question, key="k4")
    assert corp.visible("lin") == ["0", "1", "2", "3", "4"]
    assert SECRET not in str([c.query for c in calls(corp, "/message/send")])


SECRET = vendor.SECRET


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (40014, TokenDead, "40014"),
        (42001, TokenDead, "42001"),
        (41001, TokenDead, "41001"),
        (40001, TokenDead, "'secret'"),
        (40013, TokenDead, "'corp_id'"),
        (40056, TokenDead, "'agent_id'"),
        (48002, MissingPermission, "接口权限"),
        (301002, MissingPermission, "接口权限"),
        (60011, MissingPermission, "可见范围"),
        (60020, MissingPermission, "add 203.0.113.7"),
        (81013, NotInChat, "81013"),
        (86001, NotInChat, "86001"),
        (40008, UnsupportedType, "40008"),
        (45002, ContentRefused, "45002"),
        (45009, RateLimited, "45009"),
        (-1, VendorUnavailable, "-1"),
        (99999, SendError, "devtool/query?e=99999"),
    ],
)
def test_every_code_is_a_type(wecom: WeCom, corp: vendor.WeCom, code: int, error: type[SendError], said: str) -> None:
    body = {"errcode": code, "errmsg": "the person wrote: secret plan, hint: [1], from ip: 203.0.113.7, more info"}
    corp.fail("POST /cgi-bin/message/send", times=9, status=200, body=body)
    with pytest.raises(error) as raised:
        wecom.send(Reply(text="x"), to=asked(wecom, corp.app_text("?")), key="k")
    assert type(raised.value) is error
    assert (raised.value.platform, raised.value.code) == ("wecom", str(code))
    assert said in str(raised.value)
    assert "secret plan" not in str(raised.value)
    if isinstance(raised.value, MissingPermission):
        assert raised.value.scopes
        assert raised.value.console_url.startswith("https://work.weixin.qq.com/")


def test_a_short_rate_limit_is_waited_out(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    before = clock.now
    corp.fail("POST /cgi-bin/message/send", times=2, status=200, body={"errcode": 45033, "errmsg": "concurrent"})
    wecom.send(Reply(text="x"), to=asked(wecom, corp.app_text("?")), key="k")
    assert corp.visible("lin") == ["x"]
    assert clock.now >= before + 2


def test_what_wecom_would_drop_without_a_word_waits_instead(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    question = asked(wecom, corp.app_text("?"))
    for n in range(30):
        wecom.send(Reply(text=f"{n}"), to=question, key=f"k{n}")
    with pytest.raises(RateLimited) as limited:
        wecom.send(Reply(text="30"), to=question, key="k30")
    assert 0 < limited.value.retry_after <= 61
    other = replace(question, sender="wang")
    wecom.send(Reply(text="for another"), to=other, key="o")
    clock.sleep(limited.value.retry_after)
    wecom.send(Reply(text="30"), to=question, key="k30", attempt=2)
    assert corp.visible("lin") == [f"{n}" for n in range(31)]
    assert corp.visible("wang") == ["for another"]


def test_after_a_refusal_for_frequency_nobody_asks_again_before_its_time(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    question = asked(wecom, corp.app_text("?"))
    corp.fail("POST /cgi-bin/message/send", status=200, body={"errcode": 45009, "errmsg": "api freq out of limit"})
    for _ in range(3):
        with pytest.raises(RateLimited):
            wecom.send(Reply(text="x"), to=question, key="k")
    assert len(calls(corp, "/message/send")) == 1
    clock.sleep(60)
    wecom.send(Reply(text="x"), to=question, key="k")
    assert corp.visible("lin") == ["x"]


def test_a_member_who_cannot_see_the_app_is_no_receiver(wecom: WeCom, corp: vendor.WeCom) -> None:
    stranger = asked(wecom, corp.app_callback(corp.app_xml("text", "stranger", Content="hi")))
    with pytest.raises(NotInChat):
        wecom.send(Reply(text="x"), to=stranger, key="k")


@pytest.mark.parametrize("user", ["@all", "lin|wang", ""])
def test_a_reply_never_goes_to_more_than_its_asker(wecom: WeCom, corp: vendor.WeCom, user: str) -> None:
    question = replace(asked(wecom, corp.app_text("?")), sender=user)
    with pytest.raises(NotInChat):
        wecom.send(Reply(text="x"), to=question, key="k")
    assert calls(corp, "/message/send") == []


# --- cards -------------------------------------------------------------------------------------

CHOICE = Reply(
    text="批准这次请假吗？",
    title="请假申请",
    buttons=(Button(text="批准", key="ok", value={"leave": 7}, style="primary"), Button(text="驳回", key="no", style="danger")),
)


def test_a_card_comes_back_as_an_action_and_is_updated_once(wecom: WeCom, corp: vendor.WeCom) -> None:
    wecom.send(CHOICE, to=asked(wecom, corp.app_text("?")), key="k")
    assert corp.visible("lin") == ["请假申请 — 批准这次请假吗？ [批准] [驳回]"]
    bubble = corp.chats["lin"][-1]
    click = asked(wecom, corp.app_click(bubble, bubble.buttons[0]["key"]))
    assert (click.kind, click.action_key, click.action_value) == ("card_action", "ok", {"leave": 7})
    wecom.update_card(click, Reply(text="已批准"))
    assert corp.visible("lin") == ["请假申请 — 批准这次请假吗？ [已批准]"]
    with pytest.raises(ContentRefused):
        wecom.update_card(click, Reply(text="已批准"))


def test_a_card_is_replaced_by_a_longer_text_or_new_buttons(wecom: WeCom, corp: vendor.WeCom) -> None:
    wecom.send(CHOICE, to=asked(wecom, corp.app_text("?")), key="k")
    bubble = corp.chats["lin"][-1]
    wecom.update_card(
        asked(wecom, corp.app_click(bubble, "ok")),
        Reply(text="已由王经理批准，休假从下周一开始，共三天，请提前交接。", title="结果"),
    )
    assert corp.visible("lin") == ["结果 — 已由王经理批准，休假从下周一开始，共三天，请提前交接。 [✓]"]
    wecom.update_card(asked(wecom, corp.app_click(bubble, "ok")), replace(CHOICE, text="再选一次"))
    assert corp.visible("lin") == ["请假申请 — 再选一次 [批准] [驳回]"]


def test_a_long_text_stands_before_its_buttons_and_seven_buttons_need_two_cards(wecom: WeCom, corp: vendor.WeCom) -> None:
    buttons = tuple(Button(text=f"B{n}", key=f"b{n}") for n in range(7))
    wecom.send(Reply(text="Read this. " * 40, buttons=buttons), to=asked(wecom, corp.app_text("?")), key="k")
    shown = corp.visible("lin")
    assert shown[0].startswith("Read this.")
    assert [s.count("[") for s in shown] == [0, 6, 1]


def test_a_card_whose_answer_is_lost_is_shown_once(wecom: WeCom, corp: vendor.WeCom) -> None:
    corp.fail("POST /cgi-bin/message/send", status=0, after=True)
    wecom.send(CHOICE, to=asked(wecom, corp.app_text("?")), key="k")
    assert len(corp.visible("lin")) == 1


def test_a_value_that_no_button_can_carry_is_refused_before_it_is_sent(wecom: WeCom, corp: vendor.WeCom) -> None:
    button = Button(text="Go", key="go", value="x" * 2000)
    with pytest.raises(ContentRefused, match="1024"):
        wecom.send(Reply(text="?", buttons=(button,)), to=asked(wecom, corp.app_text("?")), key="k")


# --- files -------------------------------------------------------------------------------------


def test_a_picture_and_a_file_are_sent_and_a_repeat_is_not_shown_again(wecom: WeCom, corp: vendor.WeCom) -> None:
    question = asked(wecom, corp.app_text("?"))
    corp.fail("POST /cgi-bin/message/send", status=0, after=True)
    for attempt in (1, 2):
        wecom.upload(File(name="chart.png", content=PNG, content_type="image/png"), to=question, key="k1")
        wecom.upload(File(name="报告.pdf", content=b"%PDF-1.7 x", content_type="application/pdf"), to=question, key="k2")
        assert attempt
    assert corp.visible("lin") == ["[image: chart.png]", "[file: 报告.pdf]"]


@pytest.mark.parametrize("content", [b"12345", b"x" * (20 * 2**20 + 1)])
def test_a_file_that_wecom_does_not_take_is_not_sent(wecom: WeCom, corp: vendor.WeCom, content: bytes) -> None:
    with pytest.raises(ContentRefused):
        wecom.upload(File(name="a.bin", content=content), to=asked(wecom, corp.app_text("?")), key="k")
    assert calls(corp, "/media/upload") == []


def test_an_app_file_is_fetched_with_a_living_token(wecom: WeCom, corp: vendor.WeCom) -> None:
    sent = corp.app_xml("file", MediaId=corp.media(PNG, "发票.png"))
    message = asked(wecom, corp.app_callback(sent))
    wecom.send(Reply(text="x"), to=message, key="k")
    corp.expire_tokens()
    found = wecom.fetch(message, limit=1000)
    assert (found.name, found.content, found.content_type) == ("发票.png", PNG, "image/png")
    with pytest.raises(ContentRefused):
        wecom.fetch(message, limit=10)


def test_a_file_that_is_gone_says_so(wecom: WeCom, corp: vendor.WeCom) -> None:
    message = asked(wecom, corp.app_callback(corp.app_xml("image", MediaId="GONE")))
    with pytest.raises(SendError, match="40007"):
        wecom.fetch(message, limit=1000)


def test_a_bot_file_is_decrypted_and_known_by_its_bytes(wecom: WeCom, corp: vendor.WeCom) -> None:
    url = corp.bot_file(PNG, "../../x.exe")
    message = asked(wecom, corp.bot_callback(corp.bot_data("image", image={"url": url})))
    found = wecom.fetch(message, limit=1000)
    assert (found.name, found.content, found.content_type) == ("x.exe", PNG, "image/png")
    with pytest.raises(ContentRefused):
        wecom.fetch(message, limit=len(PNG) - 1)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "ftp://x/y"])
def test_a_file_is_fetched_over_https_only(wecom: WeCom, corp: vendor.WeCom, url: str) -> None:
    message = asked(wecom, corp.bot_callback(corp.bot_data("image", image={"url": url})))
    with pytest.raises(ContentRefused, match="HTTPS"):
        wecom.fetch(message, limit=1000)


def test_damaged_bot_files_are_refused(wecom: WeCom, corp: vendor.WeCom) -> None:
    url = corp.bot_file(PNG, "x.png")
    id_ = next(iter(corp._files))
    corp._files[id_] = (corp._files[id_][0][:-1], "x.png")
    message = asked(wecom, corp.bot_callback(corp.bot_data("image", image={"url": url})))
    with pytest.raises(ContentRefused, match="decrypted"):
        wecom.fetch(message, limit=1000)


# --- the bot -----------------------------------------------------------------------------------


class Desk:
    """The assistant's HTTP side as the bot sees it, with snapshots in a dict."""

    def __init__(self, wecom: WeCom) -> None:
        self.wecom = wecom
        self.snapshots: dict[str, tuple[str, bool]] = {}
        self.messages: list[Message] = []

    def __call__(self, webhook: Webhook) -> HttpReply:
        received = self.wecom.receive(webhook)
        if received.pull:
            text, final = self.snapshots.get(received.pull, ("", False))
            return self.wecom.answer_pull(webhook, received, text=text, final=final)
        self.messages += received.messages
        return received.reply


def test_a_bot_reply_grows_and_lands(wecom: WeCom, corp: vendor.WeCom) -> None:
    desk = Desk(wecom)
    stream = corp.ask(desk, corp.bot_text("年假几天？", chat="wr1"), chat="wr1")
    assert stream
    question = desk.messages[0]
    key = wecom.stream_id(question)
    assert corp.poll(desk, stream)
    assert corp.visible("wr1") == [""]
    for text in ("十", "十五"):
        desk.snapshots[key] = (text, False)
        assert corp.poll(desk, stream)
        assert corp.visible("wr1") == [text]
    desk.snapshots[key] = ("**十五天**", True)
    assert wecom.send(Reply(text="**十五天**"), to=question, key="k").ids == (key,)
    assert not corp.poll(desk, stream)
    assert corp.visible("wr1") == ["**十五天**"]
    assert calls(corp, "/aibot/response") == calls(corp, "/message/send") == []


def test_an_answer_that_outlives_the_window_comes_once_to_the_response_url(
    wecom: WeCom, corp: vendor.WeCom, clock: Clock
) -> None:
    desk = Desk(wecom)
    stream = corp.ask(desk, corp.bot_text("?", chat="wr1"), chat="wr1")
    assert stream
    question = desk.messages[0]
    clock.sleep(WINDOW + 30)
    assert not corp.poll(desk, stream)
    assert not stream.bubble.growing
    for fault in ({"status": 0, "after": True}, {"status": 500, "after": True}):
        corp.fail("POST /cgi-bin/aibot/response", times=1, **fault)  # type: ignore[arg-type]  # a table of keyword arguments
    wecom.send(Reply(text="At last."), to=question, key="k")
    wecom.send(Reply(text="At last."), to=question, key="k", attempt=2)
    assert corp.visible("wr1") == ["", "At last."]


def test_after_an_hour_the_app_answers_the_asker(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    question = asked(wecom, corp.bot_text("?", chat="wr1"))
    clock.sleep(3600)
    wecom.send(Reply(text="Very late."), to=question, key="k")
    assert (corp.visible("wr1"), corp.visible("lin")) == ([], ["Very late."])


def test_without_an_app_a_bot_that_may_no_longer_answer_says_why(corp: vendor.WeCom, clock: Clock) -> None:
    lonely = WeCom({k: v for k, v in corp.secrets.items() if k != "secret"}, clock=clock, sleep=clock.sleep)
    question = asked(lonely, corp.bot_text("?", chat="wr1"))
    clock.sleep(3600)
    with pytest.raises(NotInChat, match="agent_id"):
        lonely.send(Reply(text="x"), to=question, key="k")


def test_a_used_response_url_falls_back_to_the_app(wecom: WeCom, corp: vendor.WeCom, clock: Clock) -> None:
    question = asked(wecom, corp.bot_text("?"))
    clock.sleep(WINDOW + 1)
    wecom.send(Reply(text="first"), to=question, key="k1")
    wecom.send(Reply(text="second"), to=question, key="k2")
    assert corp.visible("lin") == ["first", "second"]
    assert len(calls(corp, "/message/send")) == 1


def test_the_buttons_of_a_bot_reply_follow_as_a_card_whose_click_comes_back(wecom: WeCom, corp: vendor.WeCom) -> None:
    question = asked(wecom, corp.bot_text("请假", chat="wr1"))
    wecom.send(CHOICE, to=question, key="k")
    assert corp.visible("wr1") == ["请假申请 [批准] [驳回]"]
    bubble = corp.chats["wr1"][-1]
    click = asked(wecom, corp.bot_click(bubble, bubble.buttons[0]["key"], chat="wr1"))
    assert (click.kind, click.action_key, click.action_value) == ("card_action", "ok", {"leave": 7})
    wecom.update_card(click, Reply(text="done"))
    wecom.send(Reply(text="已批准"), to=click, key="k2")
    assert corp.visible("wr1")[1:] == ["已批准"]


def test_what_no_stream_can_hold_follows_as_a_message(wecom: WeCom, corp: vendor.WeCom) -> None:
    desk = Desk(wecom)
    stream = corp.ask(desk, corp.bot_text("讲个长的"))
    assert stream
    text = "\n".join(f"第{n}行" + "很长" * 40 for n in range(120))
    desk.snapshots[wecom.stream_id(desk.messages[0])] = (text, True)
    wecom.send(Reply(text=text), to=desk.messages[0], key="k")
    corp.poll(desk, stream)
    first, second = corp.visible("lin")
    assert "第0行" in first
    assert "第119行" in second
    assert {n for n in range(120) if f"第{n}行" in first} ^ {n for n in range(120) if f"第{n}行" in second} == set(range(120))


def test_a_private_reply_to_a_group_goes_to_the_asker_alone(wecom: WeCom, corp: vendor.WeCom) -> None:
    question = asked(wecom, corp.bot_text("我的工资？", chat="wr1"))
    wecom.send(Reply(text="秘密", private=True), to=question, key="k")
    wecom.finish_stream(StreamState(id="s"), Reply(text="也是秘密", private=True), to=question, key="k2")
    assert (corp.visible("wr1"), corp.visible("lin")) == ([], ["秘密", "也是秘密"])


def test_the_greeting_is_not_sent_a_second_time(wecom: WeCom, corp: vendor.WeCom) -> None:
    desk = Desk(wecom)
    event = corp.bot_callback(corp.bot_data("event", event={"eventtype": "enter_chat"}))
    corp.ask(desk, event)
    wecom.send(Reply(text="welcome"), to=desk.messages[0], key="k")
    assert len(corp.visible("lin")) == 1


def test_a_file_for_a_group_is_refused_as_unsupported(wecom: WeCom, corp: vendor.WeCom) -> None:
    question = asked(wecom, corp.bot_text("?", chat="wr1"))
    with pytest.raises(UnsupportedType):
        wecom.upload(File(name="a.pdf", content=b"%PDF-1.7 x"), to=question, key="k")


def test_when_wecom_never_answers_the_outcome_is_unknown(wecom: WeCom, corp: vendor.WeCom) -> None:
    corp.fail("POST /cgi-bin/message/send", times=4, status=0)
    with pytest.raises(OutcomeUnknown):
        wecom.send(Reply(text="x"), to=asked(wecom, corp.app_text("?")), key="k")


# --- the doctor --------------------------------------------------------------------------------


def states(wecom: WeCom) -> dict[str, str]:
    return {f.check: f.state for f in wecom.diagnose()}


def test_the_doctor_finds_a_healthy_company(wecom: WeCom) -> None:
    found = states(wecom)
    assert set(found.values()) == {"ok", "warning"}
    assert {k for k, v in found.items() if v == "warning"} == {"trusted domain"}
    assert {"credentials", "clock", "trusted IP", "visibility", "bot callback key", "app callback key"} <= set(found)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"secret": "wrong"}, "credentials"),
        ({"corp_id": "wrong"}, "credentials"),
        ({"agent_id": "1000009"}, "app"),
        ({"agent_id": "x"}, "app"),
        ({"bot_aes_key": "short"}, "bot callback key"),
        ({"bot_id": ""}, "bot settings"),
        ({"agent_id": ""}, "app settings"),
    ],
)
def test_the_doctor_names_what_is_wrong_and_the_fix(
    corp: vendor.WeCom, clock: Clock, changes: dict[str, str], check: str
) -> None:
    secrets = {k: v for k, v in (corp.secrets | changes).items() if v}
    findings = WeCom(secrets, clock=clock, sleep=clock.sleep).diagnose()
    (fault,) = [f for f in findings if f.state == "fault" and f.check == check]
    assert fault.fix
    assert fault.url
    assert SECRET not in fault.detail + fault.fix


def test_the_doctor_finds_an_address_that_wecom_does_not_trust(wecom: WeCom, corp: vendor.WeCom) -> None:
    corp.trusted_ip = False
    (fault,) = [f for f in wecom.diagnose() if f.check == "trusted IP"]
    assert "203.0.113.7" in fault.detail
    assert "可信IP" in fault.fix


def test_the_doctor_finds_an_app_that_nobody_sees(wecom: WeCom, corp: vendor.WeCom) -> None:
    corp.members.clear()
    assert states(wecom)["visibility"] == "fault"


def test_the_doctor_survives_a_vendor_that_is_down(corp: vendor.WeCom, clock: Clock) -> None:
    secrets = corp.secrets
    corp.fail("GET /cgi-bin", times=50, status=503)
    assert "fault" in states(WeCom(secrets, clock=clock, sleep=clock.sleep)).values()
