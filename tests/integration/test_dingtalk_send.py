"""DingTalk outbound against a strict vendor: what people see, once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from assistant.cache import Cache
from assistant.errors import (
    ContentRefused,
    MissingPermission,
    NotInChat,
    RateLimited,
    SendError,
    TokenDead,
    UnsupportedType,
    VendorUnavailable,
)
from assistant.messages import Button, File, Message, Reply, Source
from assistant.platforms.dingtalk import DingTalk
from assistant.platforms.dingtalk_api import DingTalkApi
from assistant.platforms.outbound import Pace
from tests.simulators.dingtalk import DingTalkSimulator, card_call

SECRETS = {
    "app_key": "dingapp",
    "app_secret": "app-secret",
    "robot_code": "dingbot",
    "event_token": "t",
    "event_aes_key": "1234567890123456789012345678901234567890123",
    "event_owner_key": "dingapp",
    "card_api_secret": "card-secret",
}
TEMPLATE = "template.schema"
KEY = "0123456789abcdef"
PACE = Pace("dingtalk", clock=lambda: 0.0, sleep=lambda seconds: None)


class Clock:
    def __init__(self) -> None:
        self.now = 1_735_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Desk:
    """A vendor, a platform and a clock that they share."""

    def __init__(self, simulator: DingTalkSimulator, clock: Clock) -> None:
        self.vendor = simulator
        self.clock = clock
        self.cache = Cache(clock=clock)
        self.plain = self.instance()
        self.cards = self.instance(card_template_id=TEMPLATE)

    def instance(self, *, cache: Cache | None = None, **secrets: str) -> DingTalk:
        given = SECRETS | {"api_base": self.vendor.base} | secrets
        return DingTalk(given, cache=cache or self.cache, clock=self.clock, sleep=self.clock.sleep)

    def group(self, **changes: Any) -> Message:
        address, until = self.vendor.session("cidAAA==")
        return replace(GROUP, address={**GROUP.address, "session_webhook": address, "session_until": str(until)}, **changes)


@pytest.fixture
def desk() -> Iterator[Desk]:
    clock = Clock()
    with DingTalkSimulator(clock=clock) as simulator:
        yield Desk(simulator, clock)


GROUP = Message(
    kind="text",
    platform="dingtalk",
    channel="robot",
    conversation="cidAAA==",
    sender="staff1",
    dedup_id="msg1",
    message_id="msg1",
    direct=False,
    text="?",
    address={"robot_code": "dingbot", "staff_id": "staff1"},
)
PRIVATE = replace(GROUP, direct=True, conversation="cidPPP==")


# --- forms -----------------------------------------------------------------------------------------


def test_the_asker_is_named_through_the_messages_own_address(desk: Desk) -> None:
    desk.plain.send(Reply(text="Fourteen days."), to=desk.group(), key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["@staff1 Fourteen days."]
    assert desk.vendor.mentioned == ["staff1"]


def test_when_the_address_has_ended_the_robot_writes_to_the_group(desk: Desk) -> None:
    message = desk.group()
    desk.clock.now += 91 * 60
    (sent,) = desk.plain.send(Reply(text="Late."), to=message, key=KEY).ids
    assert desk.vendor.visible("cidAAA==") == ["Late."]
    assert sent.startswith("pq")


def test_an_address_that_ended_before_its_time_is_replaced_by_the_robot(desk: Desk) -> None:
    message = desk.group()
    desk.vendor.sessions.clear()
    desk.plain.send(Reply(text="Late."), to=message, key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["Late."]


@pytest.mark.parametrize(
    "address",
    [
        "http://oapi.dingtalk.com/robot/sendBySession?session=1",
        "https://oapi.dingtalk.com.evil.example/robot/sendBySession",
        "https://169.254.169.254/latest/meta-data",
        "https://user@oapi.dingtalk.com/robot/sendBySession",
        "https://oapi.dingtalk.com:8443/robot/sendBySession",
        "nothing",
    ],
)
def test_a_reply_never_goes_to_an_address_that_is_not_dingtalks(address: str) -> None:
    with pytest.raises(SendError, match="not where DingTalk"):
        DingTalkApi(SECRETS, cache=Cache(), pace=PACE).trusted(address)


def test_dingtalks_own_address_is_taken_as_it_is() -> None:
    address = "https://oapi.dingtalk.com/robot/sendBySession?session=1"
    assert DingTalkApi(SECRETS, cache=Cache(), pace=PACE).trusted(address) == address


def test_a_private_chat_is_answered_to_the_person(desk: Desk) -> None:
    desk.plain.send(Reply(text="**Hi**"), to=PRIVATE, key=KEY)
    assert desk.vendor.visible("staff1") == ["**Hi**"]


def test_a_private_reply_to_a_group_goes_to_the_person(desk: Desk) -> None:
    desk.plain.send(Reply(text="Your balance", private=True), to=desk.group(), key=KEY)
    assert desk.vendor.visible("cidAAA==") == []
    assert desk.vendor.visible("staff1") == ["Your balance"]


def test_an_outsider_is_answered_in_place_or_not_at_all(desk: Desk) -> None:
    outsider = replace(PRIVATE, sender="$:x", address={})
    with pytest.raises(NotInChat):
        desk.plain.send(Reply(text="x"), to=outsider, key=KEY)
    address, until = desk.vendor.session("cidPPP==")
    reachable = replace(outsider, address={"session_webhook": address, "session_until": str(until)})
    desk.plain.send(Reply(text="x"), to=reachable, key=KEY)
    assert desk.vendor.visible("cidPPP==") == ["x"]


def test_markdown_is_drawn_with_what_dingtalk_has(desk: Desk) -> None:
    text = "# Leave\n\n| kind | days |\n|---|---|\n| annual | 14 |\n\none\ntwo <b>"
    desk.plain.send(
        Reply(text=text, sources=(Source(number=1, title="Handbook", url="https://a.example"),)), to=desk.group(), key=KEY
    )
    (seen,) = desk.vendor.visible("cidAAA==")
    assert seen.startswith("@staff1  \n# Leave")
    assert "| annual" not in seen
    assert "annual" in seen
    assert "one  \ntwo &lt;b>" in seen
    assert "[Handbook](https://a.example)" in seen


def test_a_long_answer_comes_in_numbered_parts_and_names_the_asker_once(desk: Desk) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "长文 " * 400 for n in range(20))
    desk.plain.send(Reply(text=text), to=desk.group(), key=KEY)
    seen = desk.vendor.visible("cidAAA==")
    assert len(seen) > 2
    assert [f"({n}/{len(seen)})" in s for n, s in enumerate(seen, 1)] == [True] * len(seen)
    assert sum("@staff1" in s for s in seen) == 1


def test_text_full_of_quotes_still_fits_the_parameters(desk: Desk) -> None:
    desk.plain.send(Reply(text='"\\\n' * 3_000), to=replace(GROUP), key=KEY)
    assert desk.vendor.visible("cidAAA==")


def test_choices_are_listed_where_no_card_can_be_made(desk: Desk) -> None:
    desk.plain.send(Reply(text="Send it?", buttons=(Button(text="Yes", key="y"), Button(text="No", key="n"))), to=GROUP, key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["Send it?\n\n- Yes\n- No"]


def test_a_silent_or_empty_reply_shows_nothing(desk: Desk) -> None:
    assert desk.plain.send(Reply(text="x", silent=True), to=GROUP, key=KEY).ids == ()
    assert desk.plain.send(Reply(text=""), to=GROUP, key=KEY).ids == ()
    assert desk.vendor.visible("cidAAA==") == []


def test_buttons_come_back_as_the_action_they_stand_for_and_the_card_changes(desk: Desk) -> None:
    reply = Reply(text="Send it?", buttons=(Button(text="Yes", key="confirm", value={"id": 7}), Button(text="No", key="no")))
    (track,) = desk.cards.send(reply, to=GROUP, key=KEY).ids
    assert desk.vendor.visible("cidAAA==") == ["Send it?\n[Yes]\n[No]"]
    parameters = desk.vendor.clicks(track)[0]
    content = json.dumps({"cardPrivateData": {"actionIds": ["choice"], "params": parameters}})
    click = {"type": "actionCallback", "outTrackId": track, "corpId": "c", "userId": "staff1", "content": content}
    received = desk.cards.receive(card_call(click, secret="card-secret", stamp=int(desk.clock.now * 1000)))
    (message,) = received.messages
    assert (message.action_key, message.action_value) == ("confirm", {"id": 7})
    assert (message.conversation, message.direct) == ("cidAAA==", False)
    desk.cards.update_card(message, Reply(text="Sent."))
    assert desk.vendor.visible("cidAAA==") == ["Sent."]
    desk.cards.send(Reply(text="Anything else?"), to=message, key="next")
    assert desk.vendor.visible("cidAAA==") == ["Sent.", "Anything else?"]


# --- once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["POST /robot/sendBySession", "POST /v1.0/robot/groupMessages", "POST /v1.0/robot/oToMessages"]
)
def test_an_answer_whose_receipt_is_lost_is_seen_once_also_by_the_next_try(desk: Desk, pattern: str) -> None:
    where = {"sendBySession": desk.group(), "groupMessages": GROUP, "oToMessages": PRIVATE}
    to = next(m for name, m in where.items() if name in pattern)
    desk.vendor.fail(pattern, status=0, after=True)
    for attempt in (1, 2, 3):
        desk.plain.send(Reply(text="Once."), to=to, key=KEY, attempt=attempt)
    assert len(desk.vendor.visible("cidAAA==") + desk.vendor.visible("staff1")) == 1


def test_an_answer_that_was_refused_is_sent_by_the_next_try(desk: Desk) -> None:
    desk.vendor.fail("groupMessages", times=9, status=503)
    with pytest.raises(VendorUnavailable):
        desk.plain.send(Reply(text="Once."), to=GROUP, key=KEY)
    desk.vendor.forgive()
    desk.plain.send(Reply(text="Once."), to=GROUP, key=KEY, attempt=2)
    assert desk.vendor.visible("cidAAA==") == ["Once."]


def test_a_long_answer_is_completed_and_not_repeated(desk: Desk) -> None:
    text = "\n\n".join("word " * 900 for _ in range(8))
    body = {"code": "send.too.fast", "message": "slow down"}
    desk.plain.send(Reply(text=text), to=GROUP, key="other")
    whole = desk.vendor.visible("cidAAA==")
    desk.vendor._shown.clear()
    desk.vendor.fail("groupMessages", times=4, status=400, body=body, headers={"retry-after": "60"})
    with pytest.raises(RateLimited):
        desk.plain.send(Reply(text=text), to=GROUP, key=KEY)
    desk.vendor.forgive()
    desk.clock.now += 61
    for attempt in (2, 3):
        desk.plain.send(Reply(text=text), to=GROUP, key=KEY, attempt=attempt)
    assert desk.vendor.visible("cidAAA==") == whole


def test_a_card_with_buttons_whose_receipt_is_lost_is_seen_once(desk: Desk) -> None:
    reply = Reply(text="?", buttons=(Button(text="Yes", key="y"),))
    desk.vendor.fail("createAndDeliver", status=0, after=True)
    desk.vendor.fail("card/streaming", status=0, after=True)
    for attempt in (1, 2):
        desk.cards.send(reply, to=GROUP, key=KEY, attempt=attempt)
    assert desk.vendor.visible("cidAAA==") == ["?\n[Yes]"]


# --- tokens, limits, errors --------------------------------------------------------------------------


def test_one_token_serves_many_calls_and_is_renewed_early(desk: Desk) -> None:
    for n in range(3):
        desk.instance().send(Reply(text="x"), to=PRIVATE, key=f"k{n}")
    assert desk.vendor.made_tokens == 1
    desk.clock.now += 7200 - 299
    desk.plain.send(Reply(text="x"), to=PRIVATE, key="late")
    assert sum(c.path.endswith("/accessToken") for c in desk.vendor.calls) == 2


def test_a_token_that_died_early_is_renewed_once(desk: Desk) -> None:
    desk.plain.send(Reply(text="x"), to=PRIVATE, key="a")
    desk.vendor.expire_tokens()
    desk.plain.send(Reply(text="y"), to=PRIVATE, key="b")
    assert desk.vendor.visible("staff1") == ["x", "y"]
    desk.vendor.fail("oToMessages", times=9, status=400, body={"code": "InvalidAuthentication", "message": "no"})
    with pytest.raises(TokenDead):
        desk.plain.send(Reply(text="z"), to=PRIVATE, key="c")


def test_a_wrong_secret_is_told_without_showing_it(desk: Desk) -> None:
    with pytest.raises(TokenDead) as dead:
        desk.instance(cache=Cache(clock=desk.clock), app_secret="wrong-secret").send(Reply(text="x"), to=PRIVATE, key="a")
    assert "wrong-secret" not in str(dead.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "Forbidden.AccessDenied.QpsLimitForApi", RateLimited),
        (403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", RateLimited),
        (403, "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", RateLimited),
        (400, "send.too.fast", RateLimited),
        (400, "too.many.group", RateLimited),
        (429, "system.busy", RateLimited),
        (400, "invalidClientIdOrSecret", TokenDead),
        (403, "Forbidden.AccessDenied.AccessTokenPermissionDenied", MissingPermission),
        (403, "Forbidden.AccessDenied.IpNotInWhiteList", MissingPermission),
        (400, "resource.not.found", NotInChat),
        (400, "invalidParameter.robotCode.empty", NotInChat),
        (400, "chatbotNotInstall", NotInChat),
        (400, "bot.stopped", NotInChat),
        (400, "bot.forbidden.sendMessage", NotInChat),
        (400, "chatbotId.notAllow.sendOTO", NotInChat),
        (400, "invalid.openConversationId", NotInChat),
        (400, "group.disbanded", NotInChat),
        (400, "invalidParameter.msgKey.invalid", UnsupportedType),
        (400, "invalidParameter.msg.unsupport", UnsupportedType),
        (400, "invalidParameter.msgParam.tooLong", ContentRefused),
        (400, "contain.notAllowed.content", ContentRefused),
        (400, "something.else", SendError),
        (500, "unknown", VendorUnavailable),
    ],
)
def test_each_code_is_the_error_it_means(desk: Desk, status: int, code: str, kind: type[SendError]) -> None:
    desk.vendor.fail("groupMessages", times=9, status=status, body={"code": code, "message": "no"})
    with pytest.raises(kind) as raised:
        desk.plain.send(Reply(text="x"), to=GROUP, key="a")
    assert type(raised.value) is kind
    assert (raised.value.platform, raised.value.code) == ("dingtalk", code)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (88, RateLimited),
        (90002, RateLimited),
        (143104, RateLimited),
        (130101, RateLimited),
        (60011, MissingPermission),
        (60020, MissingPermission),
    ],
)
def test_the_old_apis_codes_are_read_too(desk: Desk, code: int, kind: type[SendError]) -> None:
    desk.vendor.fail("sendBySession", times=9, status=200, body={"errcode": code, "errmsg": "no"})
    desk.vendor.fail("groupMessages", times=9, status=400, body={"code": "group.disbanded", "message": "no"})
    with pytest.raises((kind, NotInChat)) as raised:
        desk.plain.send(Reply(text="x"), to=desk.group(), key="a")
    if kind is RateLimited:
        assert raised.value.code == str(code)


def test_the_21st_message_of_a_minute_is_kept_back_before_dingtalk_stops_the_robot(desk: Desk) -> None:
    message = desk.group()
    for n in range(20):
        desk.plain.send(Reply(text=str(n)), to=message, key=f"k{n}")
    asked = len(desk.vendor.calls)
    with pytest.raises(RateLimited) as limited:
        desk.plain.send(Reply(text="20"), to=message, key="k20")
    assert 60 < limited.value.retry_after <= 61
    assert len(desk.vendor.calls) == asked
    desk.clock.now += limited.value.retry_after
    desk.plain.send(Reply(text="20"), to=message, key="k20", attempt=2)
    assert len(desk.vendor.visible("cidAAA==")) == 21


def test_what_dingtalk_refuses_for_ten_minutes_is_kept_back_and_not_lost(desk: Desk) -> None:
    message = desk.group()
    for n in range(20):
        desk.instance(cache=desk.cache).send(Reply(text=str(n)), to=message, key=f"k{n}")  # twenty instances, one message each
    for _ in range(2):
        with pytest.raises(RateLimited) as limited:
            desk.plain.send(Reply(text="20"), to=message, key="k20")
        assert limited.value.retry_after == pytest.approx(600)
    assert sum("sendBySession" in call.path for call in desk.vendor.calls) == 21
    desk.clock.now += 600
    desk.plain.send(Reply(text="20"), to=message, key="k20", attempt=2)
    assert len(desk.vendor.visible("cidAAA==")) == 21


@pytest.mark.parametrize("body", ["<html><body>too many requests</body></html>", {"status": 1111}])
def test_a_page_instead_of_json_is_a_ban_of_our_address(desk: Desk, body: Any) -> None:
    desk.vendor.fail("groupMessages", times=9, status=200, body=body)
    with pytest.raises(RateLimited) as banned:
        desk.plain.send(Reply(text="x"), to=GROUP, key="a")
    assert banned.value.retry_after == 300


@pytest.mark.parametrize("name", ["accessdenieddetail", "AccessDeniedDetail"])
def test_a_missing_permission_is_named_with_the_page_that_grants_it(desk: Desk, name: str) -> None:
    body = {"code": "Forbidden.AccessDenied.AccessTokenPermissionDenied", name: {"requiredScopes": ["qyapi_robot_sendmsg"]}}
    desk.vendor.fail("groupMessages", status=403, body=body)
    with pytest.raises(MissingPermission) as missing:
        desk.plain.send(Reply(text="x"), to=GROUP, key="a")
    assert missing.value.scopes == ("qyapi_robot_sendmsg",)
    assert missing.value.console_url.endswith("content=dingapp%23qyapi_robot_sendmsg")


def test_people_who_cannot_be_reached_are_told_apart_from_those_who_get_too_much(desk: Desk) -> None:
    with pytest.raises(NotInChat):
        desk.plain.send(Reply(text="x"), to=replace(PRIVATE, address={"staff_id": "gone"}), key="a")
    desk.vendor.throttled.add("staff1")
    with pytest.raises(RateLimited):
        desk.plain.send(Reply(text="x"), to=PRIVATE, key="b")


# --- streaming ---------------------------------------------------------------------------------------


def test_without_a_template_nothing_streams(desk: Desk) -> None:
    assert desk.plain.open_stream(to=GROUP, key=KEY) is None
    assert desk.cards.open_stream(to=replace(PRIVATE, address={}), key=KEY) is None


@pytest.mark.parametrize(("to", "where"), [(GROUP, "cidAAA=="), (PRIVATE, "staff1")])
def test_an_answer_grows_in_one_card_and_lands(desk: Desk, to: Message, where: str) -> None:
    state = desk.cards.open_stream(to=to, key=KEY)
    assert state is not None
    for text in ("The **an", "The **answer**"):
        state = desk.cards.update_stream(state, text, to=to)
        assert state.shown == text
    assert desk.vendor.visible(where) == ["The **answer** ▍"]
    sent = desk.cards.finish_stream(state, Reply(text="The **answer** is 42."), to=to, key=KEY)
    assert desk.vendor.visible(where) == ["The **answer** is 42."]
    assert sent.ids == (state.id,)


def test_a_lost_receipt_of_any_card_call_leaves_one_finished_answer(desk: Desk) -> None:
    for n, (pattern, skip) in enumerate((("createAndDeliver", 0), ("card/streaming", 0), ("card/streaming", 1))):
        if not skip:
            desk.vendor.fail(pattern, status=0, after=True)
        state = desk.cards.open_stream(to=GROUP, key=f"k{n}")
        assert state is not None
        state = desk.cards.update_stream(state, "grow", to=GROUP)
        if skip:
            desk.vendor.fail(pattern, status=0, after=True)
        desk.cards.finish_stream(state, Reply(text=f"Done {n}."), to=GROUP, key=f"k{n}")
    assert desk.vendor.visible("cidAAA==") == ["Done 0.", "Done 1.", "Done 2."]


def test_a_crash_right_after_the_card_was_shown_lets_the_same_card_grow(desk: Desk) -> None:
    desk.cards.open_stream(to=GROUP, key=KEY)
    state = desk.instance(cache=Cache(clock=desk.clock), card_template_id=TEMPLATE).open_stream(to=GROUP, key=KEY, attempt=2)
    assert state is not None
    desk.cards.finish_stream(state, Reply(text="Done."), to=GROUP, key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["Done."]


def test_a_long_answer_shows_its_head_in_the_card_and_the_rest_as_messages(desk: Desk) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "长文 " * 120 for n in range(12))
    state = desk.cards.open_stream(to=GROUP, key=KEY)
    assert state is not None
    state = desk.cards.update_stream(state, text, to=GROUP)
    for attempt in (1, 2):
        desk.cards.finish_stream(state, Reply(text=text), to=GROUP, key=KEY, attempt=attempt)
    seen = desk.vendor.visible("cidAAA==")
    assert len(seen) == 2
    assert "Paragraph 0" in seen[0]
    assert "Paragraph 11" in seen[1]
    assert all(sum(f"Paragraph {n}:" in s for s in seen) == 1 for n in range(12))


def test_buttons_land_in_the_streamed_card(desk: Desk) -> None:
    state = desk.cards.open_stream(to=GROUP, key=KEY)
    assert state is not None
    desk.cards.finish_stream(state, Reply(text="Well?", buttons=(Button(text="Go", key="go"),)), to=GROUP, key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["Well?\n[Go]"]


def test_a_missing_card_permission_means_one_whole_answer(desk: Desk) -> None:
    desk.vendor.permissions.discard("Card.Instance.Write")
    assert desk.cards.open_stream(to=GROUP, key=KEY) is None
    desk.cards.send(Reply(text="Whole.", buttons=(Button(text="Go", key="go"),)), to=GROUP, key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["Whole.\n\n- Go"]


def test_a_card_that_cannot_be_finished_is_followed_by_the_answer_once(desk: Desk) -> None:
    state = desk.cards.open_stream(to=GROUP, key=KEY)
    assert state is not None
    desk.vendor.cards.clear()
    for attempt in (1, 2):
        desk.cards.finish_stream(state, Reply(text="Done."), to=GROUP, key=KEY, attempt=attempt)
    assert desk.vendor.visible("cidAAA==")[1:] == ["Done."]


def test_a_recalled_question_ends_its_card(desk: Desk) -> None:
    state = desk.cards.open_stream(to=GROUP, key=KEY)
    assert state is not None
    desk.cards.finish_stream(state, Reply(text=""), to=GROUP, key=KEY)
    assert desk.vendor.visible("cidAAA==") == ["—"]


def test_a_rate_limit_while_growing_skips_a_state_and_not_the_answer(desk: Desk) -> None:
    state = desk.cards.open_stream(to=GROUP, key=KEY)
    assert state is not None
    body = {"code": "Forbidden.AccessDenied.QpsLimitForApi", "message": "no"}
    desk.vendor.fail("card/streaming", times=4, status=403, body=body, headers={"retry-after": "60"})
    assert desk.cards.update_stream(state, "x", to=GROUP) == state


# --- files, doctor ---------------------------------------------------------------------------------


def test_files_are_fetched_with_their_real_type_and_a_limit(desk: Desk) -> None:
    desk.vendor.files["code1"] = b"%PDF-1.7 ..."
    message = replace(GROUP, kind="file", file_key="code1", file_name="报告.docx")
    file = desk.plain.fetch(message, limit=1000)
    assert (file.name, file.content_type) == ("报告.docx", "application/pdf")
    with pytest.raises(ContentRefused):
        desk.plain.fetch(message, limit=5)


def test_pictures_and_files_are_sent_once(desk: Desk) -> None:
    desk.vendor.fail("groupMessages", status=0, after=True)
    for attempt in (1, 2):
        desk.plain.upload(File(name="a.png", content=b"\x89PNG\r\n\x1a\n" + b"0" * 20), to=GROUP, key=f"p{attempt // 3}")
    desk.plain.upload(File(name="报告.xlsx", content=b"PK\x03\x04"), to=PRIVATE, key="f")
    assert desk.vendor.visible("cidAAA==") == ["[image @media0]"]
    assert desk.vendor.visible("staff1") == ["[file 报告.xlsx]"]


def test_the_card_address_is_registered_with_its_secret(desk: Desk) -> None:
    desk.cards.register_card_callback("https://bot.example/webhook/dingtalk/cards")
    assert desk.vendor.routes == {"assistant": "https://bot.example/webhook/dingtalk/cards"}
    assert json.loads(desk.vendor.calls[-1].body)["apiSecret"] == "card-secret"


def test_the_doctor_finds_a_healthy_app_healthy_and_names_each_fault(desk: Desk) -> None:
    assert {f.state for f in desk.cards.diagnose()} == {"ok"}
    desk.vendor.permissions.clear()
    found = {f.check: f for f in desk.instance(card_api_secret="", card_template_id=TEMPLATE).diagnose()}
    assert found["card clicks"].state == "fault"
    permission = found["permission: send and recall as the robot"]
    assert permission.state == "fault"
    assert "qyapi_robot_sendmsg" in permission.fix
    assert permission.url
    assert found["permission: stream into cards"].state == "fault"
    assert {f.check: f.state for f in desk.plain.diagnose()}["growing answers"] == "warning"


def test_the_doctor_survives_a_wrong_secret_and_a_dead_vendor(desk: Desk) -> None:
    wrong = desk.instance(cache=Cache(clock=desk.clock), app_secret="wrong").diagnose()
    assert wrong[-1].state == "fault"
    assert "Client Secret" in wrong[-1].fix
    assert desk.instance(cache=Cache(clock=desk.clock), api_base="http://127.0.0.1:9").diagnose()[-1].state == "fault"
