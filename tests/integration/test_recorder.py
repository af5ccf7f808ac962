"""Recordings hold nothing real, mean the same as what was recorded, and fail when the assistant understands it differently."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.dev.cli import main
from assistant.dev.commands.record import Between, api_bases, base_of
from assistant.dev.recorder import HOSTS, Recorder, Redactor, Skipped, replay
from assistant.messages import HttpReply, Reply, Webhook
from assistant.platforms.wecom import WeCom
from tests.simulators import dingtalk, wecom
from tests.simulators.base import Answer, Call, Simulator, route
from tests.simulators.stages import STAGES, Stage

SAID = (
    "Please book flight LH1234 for Katharina Bergmann-Özdemir, 请预订会议室玄武厅, katharina@bergmann.example, "
    "key sk-proj-9f8e7d6c5b4a"
)
PRIVATE = ("Katharina", "Bergmann", "Özdemir", "LH1234", "9f8e7d6c5b4a", "玄武厅")


def recorder(secrets: dict[str, dict[str, str]]) -> tuple[Recorder, io.StringIO]:
    out = io.StringIO()
    return Recorder(secrets, out, redactor=Redactor(b"k" * 32)), out


def webhooks_of(stage: Stage, text: str) -> list[Webhook]:
    """What the platform posts when a person writes `text` in each of its rooms."""
    heard: list[Webhook] = []

    def deliver(webhook: Webhook) -> HttpReply:
        heard.append(webhook)
        return HttpReply(200, "")

    for room in stage.rooms:
        stage.say(room, text, deliver)
    return heard


@pytest.fixture(params=list(STAGES))
def stage(request: pytest.FixtureRequest) -> Any:
    made = STAGES[request.param]()
    made.start()
    yield made
    made.stop()


def test_a_recording_holds_nothing_real_and_replays(stage: Stage) -> None:
    made, out = recorder({stage.name: dict(stage.secrets)})
    heard = webhooks_of(stage, SAID)
    for webhook in heard:
        assert made.webhook(webhook, now=time.time()) is None
    recorded = out.getvalue()
    lines = [json.loads(line) for line in recorded.splitlines()]
    assert len(lines) == len(heard) >= 2
    shown = recorded.encode().decode("unicode_escape", "replace") + recorded
    for private in PRIVATE:
        assert private not in shown
    for name, value in stage.secrets.items():
        if len(value) > 8 and not value.startswith("http"):
            assert value not in recorded, name
    assert list(replay(recorded.splitlines())) == []
    for line in lines:
        (message,) = line["expected"]["messages"]
        assert message["kind"] == "text"
        assert len(message["text"]) == len(SAID)


def test_a_recording_fails_when_it_is_understood_differently(stage: Stage) -> None:
    made, out = recorder({stage.name: dict(stage.secrets)})
    made.webhook(webhooks_of(stage, "Hello there")[0], now=time.time())
    line = json.loads(out.getvalue())
    line["expected"]["messages"][0]["kind"] = "image"
    (difference,) = replay([json.dumps(line)])
    assert difference.line == 1
    assert difference.found["messages"][0]["kind"] == "text"
    line["request"]["headers"] = {k: v for k, v in line["request"]["headers"].items() if "sign" not in k}
    line["request"]["query"] = {}
    if stage.name != "teams":  # its token is made anew for each replay
        (difference,) = replay([json.dumps(line)])
        assert difference.found["verdict"] == "reject"


DING = {
    "app_key": "dingabc123def",
    "app_secret": "robot-secret-robot-secret",
    "robot_code": "dingabc123def",
    "event_token": "event-token",
    "event_aes_key": wecom.APP_KEY,
    "event_owner_key": "dingabc123def",
    "card_api_secret": "card-secret",
}


def test_dingtalks_three_channels_are_recorded() -> None:
    made, out = recorder({"dingtalk": DING})
    now = 1_735_000_000
    robot = {
        "msgId": "msgAbCdEf123",
        "msgtype": "text",
        "text": {"content": f" {SAID} "},
        "conversationId": "cidAbCdEfGh==",
        "conversationType": "1",
        "senderId": "$:LWCP_v1:$abcdef",
        "senderStaffId": "manager0815",
        "senderNick": "Katharina",
        "createAt": now * 1000,
        "robotCode": "dingabc123def",
        "chatbotCorpId": "dingcorp4711",
        "sessionWebhook": "https://oapi.dingtalk.com/robot/sendBySession?session=abcdef1234567890",
        "sessionWebhookExpiredTime": now * 1000 + 5_400_000,
    }
    given: list[Webhook] = [dingtalk.robot_call(robot, secret=DING["app_secret"], stamp=now * 1000)]
    given.append(
        dingtalk.event_call(
            {"EventType": "check_url"}, token="event-token", aes_key=wecom.APP_KEY, owner="dingabc123def", stamp=now * 1000
        )
    )
    for webhook in given:
        assert made.webhook(webhook, now=now) is None
    recorded = out.getvalue()
    assert not [p for p in (*PRIVATE, "manager0815", "dingcorp4711", "robot-secret") if p in recorded]
    assert "https://oapi.dingtalk.com/robot/sendBySession" not in recorded
    assert list(replay(recorded.splitlines())) == []
    assert [json.loads(line)["expected"]["verdict"] for line in recorded.splitlines()] == ["accept", "challenge"]


def test_the_address_check_of_wecom_is_recorded() -> None:
    made, out = recorder({"wecom": {"bot_token": wecom.BOT_TOKEN, "bot_aes_key": wecom.BOT_KEY, "bot_id": wecom.BOT}})
    echo = wecom.seal("1616140317555161061", wecom.BOT_KEY, "")
    query = {"timestamp": "1735000000", "nonce": "n", "echostr": echo}
    query["msg_signature"] = wecom.sign(wecom.BOT_TOKEN, "1735000000", "n", echo)
    assert made.webhook(Webhook(platform="wecom", channel="bot", method="GET", query=query), now=1_735_000_000) is None
    assert json.loads(out.getvalue())["expected"]["verdict"] == "challenge"
    assert list(replay(out.getvalue().splitlines())) == []


def test_what_cannot_be_opened_or_proven_is_left_out() -> None:
    made, out = recorder({"wecom": {"bot_token": "t", "bot_aes_key": wecom.BOT_KEY, "bot_id": wecom.BOT}})
    foreign = wecom.callback("bot", "{}", token="t", key=wecom.APP_KEY, receiver="", now=1_735_000_000)
    assert made.webhook(foreign, now=1_735_000_000) == Skipped(reason="it cannot be opened with the given secrets")
    forged = wecom.callback("bot", "{}", token="other", key=wecom.BOT_KEY, receiver="", now=1_735_000_000)
    assert isinstance(made.webhook(forged, now=1_735_000_000), Skipped)
    assert isinstance(made.webhook(replace(foreign, channel="nowhere"), now=0), Skipped)
    assert out.getvalue() == ""


# --- words -------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
def test_words_keep_their_shape_and_their_identity(text: str) -> None:
    redactor = Redactor(b"k" * 32)
    made = redactor.value(text)
    assert redactor.value(text) == made
    assert not redactor.leaks(made)


def test_the_same_word_is_the_same_everywhere_and_another_recording_maps_it_otherwise() -> None:
    one, two = Redactor(), Redactor()
    text = "<@U08ABCDEF12> tell ou_7d8a6e6df76 and @小助手 in 19:meeting@thread.tacv2"
    made = one.text(text)
    assert re.fullmatch(r"<@U\w{10}> \w{4} ou_\w{11} \w{3} @\w{3} \w{2} 19:\w{7}@thread\.tacv2", made)
    assert one.word("U08ABCDEF12") in made
    assert one.word("小助手") in made
    assert two.text(text) != made


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=SECRETCODE123", "qyapi.weixin.qq.com"),
        ("https://files.slack.com/files-pri/T0123456789-F0123456789/plan.pdf", "files.slack.com"),
        ("https://contoso.sharepoint.com/sites/merger/plan.docx", r"\w{7}\.example\.com"),
    ],
)
def test_only_a_vendors_host_stays(url: str, host: str) -> None:
    made = Redactor(b"k" * 32).text(f"see {url} now")
    found = re.search(r"https://([^/]+)/", made)
    assert found
    assert re.fullmatch(host, found[1])
    assert not [w for w in ("SECRETCODE123", "T0123456789", "contoso", "merger", "plan") if w in made]
    assert not HOSTS.fullmatch("slack.com.evil.example")


# --- replies of vendors ------------------------------------------------------------------------


def test_a_vendors_reply_keeps_its_shape_and_its_reason_but_no_content() -> None:
    made, out = recorder({})
    body = {
        "ok": False,
        "error": "missing_scope",
        "needed": "chat:write",
        "errcode": 60020,
        "errmsg": "not allow to access from your ip, from ip: 203.0.113.77",
        "channel": "C08SECRET99",
        "message": {"text": SAID, "user": "U08ABCDEF12", "ts": "1735000000.000100"},
        "access_token": "xoxb-123456789012-abcdefghijkl",
    }
    given = {"content-type": "application/json", "retry-after": "3", "set-cookie": "session=1", "x-oauth-scopes": "a"}
    path = "/open-apis/im/v1/messages/om_7d8a6e6df7621556ce0d21922b676706/reply"
    assert made.exchange("slack", "POST", path, status=200, headers=given, body=json.dumps(body).encode()) is None
    line = json.loads(out.getvalue())
    assert (line["status"], line["body"]["error"], line["body"]["needed"]) == (200, "missing_scope", "chat:write")
    assert (line["body"]["errcode"], line["body"]["message"]["ts"]) == (60020, "1735000000.000100")
    assert line["headers"] == {"content-type": "application/json", "retry-after": "3"}
    assert line["path"].startswith("/open-apis/im/v1/messages/om_")
    assert line["path"].endswith("/reply")
    hidden = ("C08SECRET99", "abcdefghijkl", "U08ABCDEF12", "7d8a6e6df7621556ce0d21922b676706", *PRIVATE)
    assert not [w for w in hidden if w in out.getvalue()]
    assert list(replay(out.getvalue().splitlines())) == []


def test_a_line_that_is_no_recording_is_named() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(replay(["", json.dumps({"platform": "slack", "request": {}})]))


RECORDED = sorted((Path(__file__).parents[1] / "payloads").glob("*.jsonl"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_every_kept_recording_is_understood_as_it_was(path: Path) -> None:
    assert list(replay(path.read_text(encoding="utf-8").splitlines())) == []


# --- standing between --------------------------------------------------------------------------


class Behind(Simulator):
    """The assistant."""

    @route("POST", r"/webhook/wecom/app")
    def webhook(self, call: Call) -> Answer:
        return Answer(200, "")


def test_everything_passes_through_and_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wecom.WeCom() as corp, Behind() as assistant:
        out = io.StringIO()
        secrets = {"wecom": corp.secrets}
        with Between(assistant.base, Recorder(secrets, out), bases=api_bases(secrets), port=0) as between:
            callback = corp.app_text(SAID)
            answer = httpx.post(
                f"{between.url}/webhook/wecom/app",
                params=dict(callback.query),
                content=callback.body,
                headers=dict(callback.headers),
            )
            assert (answer.status_code, answer.text) == (200, "")
            platform = WeCom({**corp.secrets, "api_base": f"{between.url}/vendor/wecom"})
            (message,) = platform.receive(callback).messages
            platform.send(Reply(text="Fifteen days."), to=message, key="k")
            assert corp.visible("lin") == ["Fifteen days."]
            assert httpx.get(f"{between.url}/vendor/irc/x").status_code == 502
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("vendor", line.get("platform")) for line in lines] == ["wecom", "wecom", "wecom"]
    assert [line.get("path") for line in lines[1:]] == ["/cgi-bin/gettoken", "/cgi-bin/message/send"]
    assert lines[2]["body"]["errcode"] == 0
    assert not [w for w in (*PRIVATE, wecom.SECRET, "Fifteen", "token-1-xxx") if w in out.getvalue()]
    kept = tmp_path / "kept.jsonl"
    kept.write_text(out.getvalue(), encoding="utf-8")
    assert main(["record", "replay", str(kept)]) == 0
    assert "the same as recorded" in capsys.readouterr().out
    kept.write_text(out.getvalue().replace('"kind": "text"', '"kind": "image"'), encoding="utf-8")
    assert main(["record", "replay", "--json", str(kept)]) == 1
    assert json.loads(capsys.readouterr().out)["differences"][0]["line"] == 1
    assert main(["record", "replay", "--accept", str(kept)]) == 0
    assert main(["record", "replay", str(kept)]) == 0
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("platform", "path", "host"),
    [
        ("dingtalk", "/v1.0/oauth2/accessToken", "https://api.dingtalk.com"),
        ("dingtalk", "/topapi/message", "https://oapi.dingtalk.com"),
        ("teams", "/v3/conversations/a/activities", "https://smba.trafficmanager.net/teams"),
        ("teams", "/tenant/oauth2/v2.0/token", "https://login.microsoftonline.com"),
        ("slack", "/api/chat.postMessage", "https://slack.com"),
        ("feishu", "/open-apis/x", "https://lark.example"),
    ],
)
def test_calls_go_on_to_the_right_host(platform: str, path: str, host: str) -> None:
    assert base_of(platform, path, api_bases({"feishu": {"api_base": "https://lark.example/"}})) == host


def test_unusable_recordings_and_ports_are_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{", encoding="utf-8")
    assert main(["record", "replay", str(broken)]) == 2
    assert main(["record", "replay", str(tmp_path / "missing.jsonl")]) == 2
    secrets = tmp_path / "s.json"
    secrets.write_text("{}", encoding="utf-8")
    with Behind() as taken:
        port = taken.base.rpartition(":")[2]
        given = ["record", "run", "--to", taken.base, "--secrets", str(secrets), "--out", str(tmp_path / "o"), "--port", port]
        assert main(given) == 2
    assert f"port {port} is taken" in capsys.readouterr().err
