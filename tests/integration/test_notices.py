"""What only an administrator can mend is told to them, once per cause and privately; the chat hears nothing of it."""

from __future__ import annotations

import pytest

from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.notices import administrators
from tests.simulators.slack import SlackSimulator
from tests.support.house import WEBCHAT_KEY, House


def test_a_missing_permission_is_told_once_to_the_administrator_and_not_to_the_group(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, administrators="slack:UADMIN")
        slack.channel("C1", "U1")
        missing = {"ok": False, "error": "missing_scope", "needed": "chat:write.customize", "provided": "im:write"}
        for n in range(2):
            event = slack.mention("C1", "U1", f"How long is my leave? {n}")
            slack.fail("POST /api/chat.postMessage", times=1, status=200, body=missing)
            assert house.receive(slack.event(event)).status == 200
            house.run(house.batch())
        [admin] = [c for c in slack.channels.values() if "UADMIN" in c.members]
        told = slack.visible(admin.id)
        assert len(told) == 1
        assert "chat:write.customize" in told[0]
        assert slack.visible("C1") == []
        house.drain()
        assert len(slack.visible("C1")) == 2, "granted meanwhile, both answers are shown"


def test_doctor_in_the_chat_is_for_administrators(aws: Emulator) -> None:
    with SlackSimulator() as slack:
        house = House(aws, secrets={"slack": slack.secrets}, administrators="slack:UADMIN")
        for user, channel in (("UADMIN", "D1"), ("UOTHER", "D2")):
            house.receive(slack.event(slack.say(channel, user, "/doctor")))
        house.drain()
        assert "slack" in slack.visible("D1", user="UADMIN")[0]
        assert slack.visible("D2") == ["Fourteen days."]


def test_doctor_in_the_chat_speaks_the_language_of_whoever_writes_the_command(aws: Emulator) -> None:
    house = House(aws, administrators="webchat:ann")
    for number, (said, locale) in enumerate([("/doctor", "zh-CN"), ("/doctor", "en"), ("诊断", "en")]):
        body = {"conversation": "c1", "user": "ann", "id": f"m{number}", "text": said, "locale": locale}
        assert house.post("/webchat/messages", body, headers={"authorization": f"Bearer {WEBCHAT_KEY}"}).status == 202
        house.drain()
    chinese, english, again = [turn["text"] for turn in house.turns("c1")]
    assert "**assistant** — 警告" in chinese
    assert "初始数据: 缺少系统参数" in chinese
    assert "first data: the system parameters are missing" in english
    assert "初始数据: 缺少系统参数" in again


@pytest.mark.parametrize("setting", ["slack", "slack:", ":U1"])
def test_an_administrator_without_platform_or_id_is_named(setting: str) -> None:
    with pytest.raises(InvalidSetting, match="PLATFORM:USER_ID"):
        administrators(setting)
    assert administrators("slack:U1, feishu:ou_a:b") == (("slack", "U1"), ("feishu", "ou_a:b"))
