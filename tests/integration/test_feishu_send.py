"""Feishu outbound against a strict vendor: what people see, once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from assistant.cache import Cache
from assistant.errors import (
    ContentRefused,
    MessageRecalled,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.messages import Button, File, Message, Reply, Source
from assistant.platforms import StreamState
from assistant.platforms.feishu import Feishu
from tests.simulators.feishu import FeishuSimulator, seal, signed

SECRETS = {
    "app_id": "cli_a",
    "app_secret": "s3cr3t-s3cr3t",
    "verification_token": "v",
    "encrypt_key": "k",
    "bot_open_id": "ou_bot",
}
KEY = "0123456789abcdef0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = 1_735_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Desk:
    """A vendor, a platform and a clock that they share."""

    def __init__(self, simulator: FeishuSimulator, clock: Clock) -> None:
        self.vendor = simulator
        self.clock = clock
        self.cache = Cache(clock=clock)
        self.feishu = self.instance()

    def instance(self, *, cache: Cache | None = None, **secrets: str) -> Feishu:
        given = SECRETS | {"api_base": self.vendor.base} | secrets
        return Feishu(given, cache=cache or self.cache, clock=self.clock, sleep=self.clock.sleep)

    def seen(self, chat: str = "oc_1") -> list[str]:
        return self.vendor.visible(chat)


@pytest.fixture
def desk() -> Iterator[Desk]:
    clock = Clock()
    with FeishuSimulator(clock=clock) as simulator:
        simulator.asked("om_1")
        yield Desk(simulator, clock)


def asked(**changes: Any) -> Message:
    message = Message(
        kind="text",
        platform="feishu",
        channel="events",
        conversation="oc_1",
        sender="ou_ann",
        dedup_id="om_1",
        message_id="om_1",
        direct=False,
        text="?",
        address={"receive_id_type": "chat_id", "chat_type": "group"},
    )
    return replace(message, **changes)


PRIVATE = asked(direct=True, address={"receive_id_type": "chat_id", "chat_type": "p2p"})


# --- forms -----------------------------------------------------------------------------------------


def test_a_plain_answer_is_a_text_that_quotes_the_question_and_names_the_asker(desk: Desk) -> None:
    sent = desk.feishu.send(Reply(text="Fourteen days."), to=asked(), key=KEY)
    assert desk.seen() == ['<at user_id="ou_ann"></at> Fourteen days.']
    (shown,) = [desk.vendor.messages[i] for i in sent.ids]
    assert (shown.parent, shown.kind) == ("om_1", "text")


def test_a_private_chat_is_answered_without_ceremony(desk: Desk) -> None:
    desk.feishu.send(Reply(text="Hi"), to=PRIVATE, key=KEY)
    assert desk.seen() == ["Hi"]
    assert desk.vendor.calls[-1].query == {"receive_id_type": "chat_id"}


def test_markdown_becomes_a_card_with_its_table_code_and_sources(desk: Desk) -> None:
    text = (
        "# Leave\n\n| kind | days |\n|---|---|\n| annual | 14 |\n\n```python\nprint(1 < 2)\n```\n\n**Ask** <at id=all></at> 2*3*4"
    )
    reply = Reply(text=text, sources=(Source(number=1, title="Handbook", url="https://a.example/h"),))
    desk.feishu.send(reply, to=PRIVATE, key=KEY)
    (seen,) = desk.seen()
    assert "| annual | 14 |" in seen
    assert "print(1 < 2)" in seen
    assert "[Handbook](https://a.example/h)" in seen
    assert "<at id=all>" not in seen


def test_nobody_is_called_by_words_in_an_answer(desk: Desk) -> None:
    desk.feishu.send(Reply(text='<at user_id="all">everyone</at> hi'), to=PRIVATE, key=KEY)
    desk.feishu.send(Reply(text='**x** <AT id="all"></AT>'), to=PRIVATE, key="b" + KEY)
    assert not any("<at" in seen.lower() for seen in desk.seen())


def test_a_topic_is_answered_in_the_topic(desk: Desk) -> None:
    (sent,) = desk.feishu.send(Reply(text="ok"), to=asked(thread="omt_1"), key=KEY).ids
    assert desk.vendor.messages[sent].thread


def test_a_private_reply_goes_to_the_person_and_not_to_the_group(desk: Desk) -> None:
    desk.feishu.send(Reply(text="Your balance", private=True), to=asked(), key=KEY)
    assert desk.seen("oc_1") == []
    assert desk.seen("ou_ann") == ["Your balance"]


def test_a_menu_click_is_answered_to_the_person(desk: Desk) -> None:
    menu = asked(kind="menu", message_id="", conversation="ou_ann", direct=True, address={"receive_id_type": "open_id"})
    desk.feishu.send(Reply(text="Menu"), to=menu, key=KEY)
    assert desk.seen("ou_ann") == ["Menu"]


def test_a_silent_or_empty_reply_shows_nothing(desk: Desk) -> None:
    assert desk.feishu.send(Reply(text="x", silent=True), to=asked(), key=KEY).ids == ()
    assert desk.feishu.send(Reply(text=" "), to=asked(), key=KEY).ids == ()
    assert desk.seen() == []


def test_buttons_come_back_as_the_action_they_stand_for(desk: Desk) -> None:
    reply = Reply(
        text="Send it?",
        buttons=(Button(text="Yes", key="confirm", value={"id": 7}, style="primary"), Button(text="No", key="no")),
    )
    (sent,) = desk.feishu.send(reply, to=asked(thread="omt_1"), key=KEY).ids
    assert desk.seen() == ["<at id=ou_ann></at>\nSend it?\n[Yes]\n[No]"]
    value = desk.vendor.buttons("oc_1")[0]
    event = {
        "schema": "2.0",
        "header": {"event_id": "ev", "event_type": "card.action.trigger", "create_time": "1735000000000", "token": "v"},
        "event": {
            "operator": {"open_id": "ou_ann"},
            "token": "c-1",
            "action": {"tag": "button", "value": value},
            "context": {"open_message_id": sent, "open_chat_id": "oc_1"},
        },
    }
    now = int(desk.clock.now)
    (click,) = desk.feishu.receive(signed(seal(event, "k"), key="k", stamp=now)).messages
    assert (click.action_key, click.action_value, click.thread) == ("confirm", {"id": 7}, "omt_1")
    desk.feishu.update_card(click, Reply(text="Sent."))
    assert desk.seen() == ["Sent."]


def test_a_card_that_cannot_be_patched_is_updated_by_the_clicks_token(desk: Desk) -> None:
    state = opened(desk)
    desk.feishu.finish_stream(state, Reply(text="Well?", buttons=(Button(text="Go", key="go"),)), to=PRIVATE, key=KEY)
    desk.vendor.clicked(state.data["message"], "c-1")
    click = asked(kind="card_action", message_id=state.data["message"], address={"card_token": "c-1", "chat_type": "p2p"})
    desk.feishu.update_card(click, Reply(text="Gone."))
    assert desk.seen() == ["Gone."]


def test_a_long_answer_comes_in_numbered_parts_with_the_buttons_at_the_end(desk: Desk) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "长文 " * 400 for n in range(30)) + "\n\n```\n" + "x = 1\n" * 3000 + "```"
    ids = desk.feishu.send(Reply(text=text, buttons=(Button(text="More", key="more"),)), to=PRIVATE, key=KEY).ids
    seen = desk.seen()
    assert len(ids) == len(seen) > 2
    assert seen[0].startswith(f"(1/{len(seen)})")
    assert seen[-1].endswith("[More]")
    assert sum("[More]" in s for s in seen) == 1
    assert all("Paragraph" in s or "x = 1" in s for s in seen)


def test_many_tables_are_still_one_card(desk: Desk) -> None:
    text = "\n\n".join(f"| a{n} | b |\n|---|---|\n| 1 | {n} |" for n in range(8))
    desk.feishu.send(Reply(text=text), to=PRIVATE, key=KEY)
    (seen,) = desk.seen()
    assert "a7" in seen


def test_a_card_that_is_refused_is_sent_as_plain_text(desk: Desk) -> None:
    body = {"code": 230099, "msg": "Failed to create card content"}
    desk.vendor.fail("POST /open-apis/im/v1/messages", status=400, body=body)
    desk.feishu.send(Reply(text="**bold** move", buttons=(Button(text="Go", key="go"),)), to=PRIVATE, key=KEY)
    assert desk.seen() == ["bold move\n[Go]"]


# --- once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [Reply(text="Once."), Reply(text="**Once.**", buttons=(Button(text="b", key="b"),))])
def test_an_answer_whose_receipt_is_lost_is_seen_once(desk: Desk, reply: Reply) -> None:
    desk.vendor.fail("POST /open-apis/im/v1/messages", status=0, after=True)
    desk.feishu.send(reply, to=asked(), key=KEY)
    assert len(desk.seen()) == 1


def test_a_second_try_by_another_process_is_seen_once(desk: Desk) -> None:
    desk.vendor.fail("POST /open-apis/im/v1/messages", status=0, after=True, times=9)
    with pytest.raises(OutcomeUnknown):
        desk.feishu.send(Reply(text="Once."), to=asked(), key=KEY)
    desk.vendor.forgive()
    desk.instance(cache=Cache(clock=desk.clock)).send(Reply(text="Once."), to=asked(), key=KEY, attempt=2)
    assert len(desk.seen()) == 1


def test_long_answers_are_completed_and_not_repeated(desk: Desk) -> None:
    text = "\n\n".join("word " * 900 for _ in range(12))
    desk.vendor.fail("POST /open-apis/im/v1/messages", times=1)
    desk.feishu.send(Reply(text=text), to=PRIVATE, key=KEY)
    first = desk.seen()
    desk.feishu.send(Reply(text=text), to=PRIVATE, key=KEY, attempt=2)
    assert desk.seen() == first
    assert len(first) > 1


def test_every_uuid_is_short_enough(desk: Desk) -> None:
    desk.feishu.send(Reply(text="x"), to=asked(), key="k" * 40)
    assert len(json.loads(desk.vendor.calls[-1].body)["uuid"]) <= 50


# --- tokens and limits -------------------------------------------------------------------------------


def test_one_token_serves_many_calls_and_instances(desk: Desk) -> None:
    for n in range(3):
        desk.feishu.send(Reply(text="x"), to=PRIVATE, key=f"{KEY}{n}")
        desk.instance().send(Reply(text="x"), to=PRIVATE, key=f"i{KEY}{n}")
    assert sum(c.path.endswith("/internal") for c in desk.vendor.calls) == 1


def test_the_token_is_renewed_before_it_ends(desk: Desk) -> None:
    desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")
    desk.clock.now += 7200 - 599
    desk.feishu.send(Reply(text="x"), to=PRIVATE, key="b")
    assert desk.vendor.made_tokens == 2


def test_a_token_that_died_early_is_renewed_once(desk: Desk) -> None:
    desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")
    desk.vendor.expire_tokens()
    desk.feishu.send(Reply(text="y"), to=PRIVATE, key="b")
    assert desk.seen() == ["x", "y"]


def test_a_token_that_stays_dead_is_told(desk: Desk) -> None:
    body = {"code": 99991663, "msg": "Invalid access token"}
    desk.vendor.fail("POST /open-apis/im/v1/messages", times=2, status=400, body=body)
    with pytest.raises(TokenDead):
        desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")


def test_a_wrong_secret_is_told_without_showing_it(desk: Desk) -> None:
    with pytest.raises(TokenDead) as dead:
        desk.instance(cache=Cache(clock=desk.clock), app_secret="wrong-secret").send(Reply(text="x"), to=PRIVATE, key="a")
    assert "wrong-secret" not in str(dead.value)
    assert dead.value.code == "10014"


def test_a_rate_limit_is_waited_for_as_long_as_the_vendor_says(desk: Desk) -> None:
    before = desk.clock.now
    headers = {"x-ogw-ratelimit-reset": "3"}
    desk.vendor.fail("POST /open-apis/im/v1/messages", status=429, body={"code": 99991400, "msg": "limit"}, headers=headers)
    desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")
    assert desk.seen() == ["x"]
    assert 3 <= desk.clock.now - before < 4


def test_a_vendor_that_is_down_for_a_moment_does_no_harm(desk: Desk) -> None:
    desk.vendor.fail("POST /open-apis/im/v1/messages", times=2)
    desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")
    assert desk.seen() == ["x"]


# --- errors as types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (99991400, RateLimited), (230020, RateLimited), (11232, RateLimited), (11233, RateLimited), (11247, RateLimited),
        (99991403, MissingPermission), (10003, TokenDead), (10014, TokenDead), (10015, TokenDead), (99991543, TokenDead),
        (99991668, TokenDead), (99991677, TokenDead), (99991672, MissingPermission), (99991676, MissingPermission),
        (99991679, MissingPermission), (99991662, MissingPermission), (99991673, MissingPermission),
        (99991401, MissingPermission), (230002, NotInChat), (232009, NotInChat), (230006, MissingPermission),
        (230013, MissingPermission), (230053, NotInChat), (230035, MissingPermission), (230018, MissingPermission),
        (230027, MissingPermission), (230038, MissingPermission), (230034, NotInChat), (99992361, NotInChat),
        (230001, ContentRefused), (230025, ContentRefused), (230054, UnsupportedType), (230055, UnsupportedType),
        (230022, ContentRefused), (230028, ContentRefused), (230011, MessageRecalled), (230017, ContentRefused),
        (230099, UnsupportedType), (777, SendError),
    ],
)  # fmt: skip
def test_each_code_is_the_error_it_means(desk: Desk, code: int, kind: type[SendError]) -> None:
    desk.vendor.fail("POST /open-apis/im/v1/messages", times=9, status=400, body={"code": code, "msg": "no"})
    with pytest.raises(kind) as raised:
        desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")
    assert type(raised.value) is kind
    assert (raised.value.platform, raised.value.code) == ("feishu", str(code))


def test_a_missing_scope_is_named_with_the_page_that_grants_it(desk: Desk) -> None:
    desk.vendor.scopes.discard("im:message:send_as_bot")
    with pytest.raises(MissingPermission) as missing:
        desk.feishu.send(Reply(text="x"), to=PRIVATE, key="a")
    assert missing.value.scopes == ("im:message:send_as_bot", "im:message")
    assert missing.value.console_url == "https://open.feishu.cn/app/cli_a/auth?q=im:message:send_as_bot,im:message"
    text = {"code": 99991672, "msg": "One of the following scopes is required: [im:chat, im:chat:readonly]."}
    desk.vendor.fail("POST /open-apis/im/v1/messages", status=400, body=text)
    with pytest.raises(MissingPermission) as missing:
        desk.feishu.send(Reply(text="x"), to=PRIVATE, key="b")
    assert missing.value.scopes == ("im:chat", "im:chat:readonly")


def test_a_wrong_address_is_told_as_one(desk: Desk) -> None:
    lost = desk.instance(api_base=desk.vendor.base + "/elsewhere")
    with pytest.raises(SendError, match="api_base"):
        lost.send(Reply(text="x"), to=PRIVATE, key="a")


def test_a_vendor_that_cannot_be_reached_is_unavailable(desk: Desk) -> None:
    with pytest.raises(VendorUnavailable):
        desk.instance(api_base="http://127.0.0.1:9").send(Reply(text="x"), to=PRIVATE, key="a")


def test_an_answer_to_a_recalled_question_is_not_sent(desk: Desk) -> None:
    desk.vendor.messages["om_1"].recalled = True
    with pytest.raises(MessageRecalled):
        desk.feishu.send(Reply(text="x"), to=asked(), key="a")
    assert desk.seen() == []


# --- streaming ---------------------------------------------------------------------------------------


def opened(desk: Desk, to: Message = PRIVATE) -> StreamState:
    state = desk.feishu.open_stream(to=to, key=KEY)
    assert state is not None
    return state


def test_an_answer_grows_in_one_card_and_lands(desk: Desk) -> None:
    state = opened(desk, asked())
    assert desk.seen() == ["… ▍"]
    for text in ("The **an", "The **answer", "The **answer** is"):
        desk.clock.now += 0.25
        state = desk.feishu.update_stream(state, text, to=asked())
        assert state.shown == text
    assert "is" in desk.seen()[0]
    assert desk.seen()[0].endswith("▍")
    sent = desk.feishu.finish_stream(state, Reply(text="The **answer** is 42."), to=asked(), key=KEY)
    assert desk.seen() == ["<at id=ou_ann></at>\nThe **answer** is 42."]
    assert sent.ids == (state.data["message"],)


def test_the_sequence_only_rises_also_from_another_instance_with_an_old_state(desk: Desk) -> None:
    first = opened(desk)
    state = first
    for n in range(5):
        desk.clock.now += 0.2
        state = desk.feishu.update_stream(state, "x" * (n + 1), to=PRIVATE)
    other = desk.instance()
    desk.clock.now += 0.2
    other.finish_stream(first, Reply(text="Done."), to=PRIVATE, key=KEY, attempt=2)
    assert desk.seen() == ["Done."]


def test_even_a_clock_that_is_behind_finishes_the_card(desk: Desk) -> None:
    first = opened(desk)
    desk.clock.now += 30
    desk.feishu.update_stream(first, "far ahead", to=PRIVATE)
    late = Feishu(SECRETS | {"api_base": desk.vendor.base}, cache=desk.cache, clock=lambda: desk.clock.now - 29)
    late.sleep = desk.clock.sleep
    late.finish_stream(first, Reply(text="Done."), to=PRIVATE, key=KEY)
    assert desk.seen() == ["Done."]


def test_a_lost_receipt_of_any_card_call_leaves_one_finished_answer(desk: Desk) -> None:
    calls = ("POST /open-apis/cardkit", "POST /open-apis/im/v1/messages", "/content", "/settings")
    for n, pattern in enumerate(calls):
        desk.vendor.fail(pattern, status=0, after=True)
        state = desk.feishu.open_stream(to=PRIVATE, key=f"{KEY}{n}")
        assert state is not None
        desk.clock.now += 1
        state = desk.feishu.update_stream(state, "grow", to=PRIVATE)
        desk.clock.now += 1
        desk.feishu.finish_stream(state, Reply(text=f"Done {n}."), to=PRIVATE, key=f"{KEY}{n}")
        assert desk.seen() == [f"Done {m}." for m in range(n + 1)], pattern


def test_a_crash_right_after_the_card_was_shown_lets_the_same_card_grow(desk: Desk) -> None:
    opened(desk)  # its state was never stored
    desk.clock.now += 60
    state = opened(desk)
    desk.clock.now += 1
    state = desk.feishu.update_stream(state, "again", to=PRIVATE)
    assert desk.seen() == ["again ▍"]
    desk.feishu.finish_stream(state, Reply(text="Landed."), to=PRIVATE, key=KEY)
    assert desk.seen() == ["Landed."]


def test_an_answer_that_takes_longer_than_the_card_streams_still_lands_in_it(desk: Desk) -> None:
    state = opened(desk)
    state = desk.feishu.update_stream(state, "slow", to=PRIVATE)
    desk.clock.now += 700
    calls = len(desk.vendor.calls)
    assert desk.feishu.update_stream(state, "slower", to=PRIVATE) == state
    assert len(desk.vendor.calls) == calls
    desk.feishu.finish_stream(state, Reply(text="At last."), to=PRIVATE, key=KEY)
    assert desk.seen() == ["At last."]


def test_a_card_that_was_closed_from_outside_is_finished_whole(desk: Desk) -> None:
    state = opened(desk)
    desk.vendor.close_streams()
    state = desk.feishu.update_stream(state, "x", to=PRIVATE)
    assert state.data["closed"]
    desk.feishu.finish_stream(state, Reply(text="Done."), to=PRIVATE, key=KEY)
    assert desk.seen() == ["Done."]


def test_a_card_closed_between_the_last_state_and_the_end_is_finished_whole(desk: Desk) -> None:
    state = opened(desk)
    desk.vendor.close_streams()
    desk.feishu.finish_stream(state, Reply(text="Done."), to=PRIVATE, key=KEY)
    assert desk.seen() == ["Done."]


def test_a_card_that_is_gone_is_taken_back_and_the_answer_sent_once(desk: Desk) -> None:
    state = opened(desk)
    desk.vendor.entities.clear()
    message = desk.vendor.messages[state.data["message"]]
    message.entity, message.content = "", {"schema": "2.0", "config": {}, "body": {"elements": []}}
    state = desk.feishu.update_stream(state, "x", to=PRIVATE)
    for attempt in (1, 2):
        desk.feishu.finish_stream(state, Reply(text="Done."), to=PRIVATE, key=KEY, attempt=attempt)
    assert desk.seen() == ["Done."]


def test_without_the_cardkit_scope_an_ordinary_card_is_replaced(desk: Desk) -> None:
    desk.vendor.scopes.discard("cardkit:card:write")
    state = opened(desk)
    for n in range(8):
        desk.clock.now += 0.25
        state = desk.feishu.update_stream(state, f"text {n}", to=PRIVATE)
    assert desk.seen() == ["text 7"]
    desk.clock.now += 0.25
    desk.feishu.finish_stream(state, Reply(text="Done.", buttons=(Button(text="More", key="m"),)), to=PRIVATE, key=KEY)
    assert desk.seen() == ["Done.\n[More]"]


def test_a_rate_limit_while_growing_skips_a_state_and_not_the_answer(desk: Desk) -> None:
    state = opened(desk)
    body = {"code": 99991400, "msg": "limit"}
    desk.vendor.fail("/content", times=9, status=429, body=body, headers={"x-ogw-ratelimit-reset": "60"})
    assert desk.feishu.update_stream(state, "x", to=PRIVATE) == state


def test_buttons_and_a_long_text_land_with_the_rest_as_messages(desk: Desk) -> None:
    state = opened(desk)
    text = "\n\n".join("word " * 900 for _ in range(12))
    desk.clock.now += 1
    state = desk.feishu.update_stream(state, text, to=PRIVATE)
    desk.clock.now += 1
    reply = Reply(text=text, buttons=(Button(text="Go", key="go"),))
    for attempt in (1, 2):
        desk.clock.now += 1
        desk.feishu.finish_stream(state, reply, to=PRIVATE, key=KEY, attempt=attempt)
    seen = desk.seen()
    assert seen[0].startswith(f"(1/{len(seen)})")
    assert len(seen) > 1
    assert [s.endswith("[Go]") for s in seen] == [False] * (len(seen) - 1) + [True]


def test_a_recalled_question_takes_its_growing_card_away(desk: Desk) -> None:
    state = opened(desk)
    assert desk.feishu.finish_stream(state, Reply(text=""), to=PRIVATE, key=KEY).ids == ()
    assert desk.seen() == []


def test_a_private_answer_does_not_land_in_the_groups_card(desk: Desk) -> None:
    state = opened(desk, asked())
    desk.feishu.finish_stream(state, Reply(text="secret", private=True), to=asked(), key=KEY)
    assert desk.seen("oc_1") == []
    assert desk.seen("ou_ann") == ["secret"]


# --- files -------------------------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64


def test_a_file_is_fetched_with_its_name_and_real_type(desk: Desk) -> None:
    desk.vendor.files[("om_1", "file_9")] = b"%PDF-1.7 ..."
    file = desk.feishu.fetch(asked(kind="file", file_key="file_9"), limit=1000)
    assert (file.name, file.content, file.content_type) == ("报告.pdf", b"%PDF-1.7 ...", "application/pdf")
    desk.vendor.files[("om_1", "img_9")] = PNG
    image = desk.feishu.fetch(asked(kind="image", file_key="img_9", file_name="../../x.exe"), limit=1000)
    assert (image.name, image.content_type) == ("x.exe", "image/png")
    assert desk.vendor.calls[-1].query == {"type": "image"}


def test_a_file_that_is_too_large_is_refused(desk: Desk) -> None:
    desk.vendor.files[("om_1", "file_9")] = b"x" * 1001
    with pytest.raises(ContentRefused):
        desk.feishu.fetch(asked(kind="file", file_key="file_9"), limit=1000)


def test_a_file_is_fetched_with_a_new_token_and_its_errors_are_typed(desk: Desk) -> None:
    desk.vendor.files[("om_1", "file_9")] = b"text"
    desk.feishu.fetch(asked(kind="file", file_key="file_9"), limit=1000)
    desk.vendor.expire_tokens()
    assert desk.feishu.fetch(asked(kind="file", file_key="file_9"), limit=1000).content == b"text"
    desk.vendor.scopes.clear()
    with pytest.raises(MissingPermission):
        desk.feishu.fetch(asked(kind="file", file_key="file_9"), limit=1000)


def test_pictures_and_files_are_sent_once(desk: Desk) -> None:
    desk.vendor.fail("POST /open-apis/im/v1/messages", status=0, after=True)
    desk.feishu.upload(File(name="chart.png", content=PNG), to=asked(), key="a")
    desk.feishu.upload(File(name="报告.xlsx", content=b"PK\x03\x04..."), to=asked(), key="b")
    assert desk.seen() == ["[image img_0]", "[file file_1]"]
    assert desk.vendor.uploads["file_1"] == ("报告.xlsx", b"PK\x03\x04...")


# --- doctor ------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_healthy_app_healthy(desk: Desk) -> None:
    findings = desk.feishu.diagnose()
    assert {f.state for f in findings} == {"ok"}
    assert len(findings) >= 8


def test_the_doctor_names_each_fault_with_its_fix(desk: Desk) -> None:
    desk.vendor.scopes -= {"cardkit:card:write", "offline_access"}
    sick = desk.instance(bot_open_id="ou_other", encrypt_key="")
    found = {f.check: f for f in sick.diagnose()}
    assert found["webhook secrets"].state == "warning"
    assert "ou_bot" in found["bot"].fix
    assert found["scope: act for people"].state == "warning"
    scope = found["scope: show an answer while it grows"]
    assert scope.state == "fault"
    assert scope.url == "https://open.feishu.cn/app/cli_a/auth?q=cardkit:card:write"
    late = Feishu(SECRETS | {"api_base": desk.vendor.base}, cache=desk.cache, clock=lambda: desk.clock.now + 300)
    assert {f.check: f.state for f in late.diagnose()}["clock"] == "fault"


def test_the_doctor_survives_a_wrong_secret_and_a_dead_vendor(desk: Desk) -> None:
    wrong = desk.instance(cache=Cache(clock=desk.clock), app_secret="wrong-secret").diagnose()
    assert wrong[-1].state == "fault"
    assert "App Secret" in wrong[-1].fix
    down = desk.instance(cache=Cache(clock=desk.clock), api_base="http://127.0.0.1:9").diagnose()
    assert down[-1].state == "fault"
