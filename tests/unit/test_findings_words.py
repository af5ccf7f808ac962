"""Everything that the doctor can say is there in each language, with the same gaps."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Formatter

import assistant
from assistant.doctor import Line, from_json, sentences, to_json, to_markdown, worded
from assistant.errors import TokenDead
from assistant.platforms import Finding, Told
from assistant.platforms.dingtalk_doctor import CHANNEL_SECRETS
from assistant.platforms.feishu_doctor import SCOPES
from assistant.platforms.slack_doctor import NEEDED, USEFUL

HOUSE = Path(assistant.__file__).parent
CHECKED = ("feishu_doctor", "dingtalk_doctor", "slack_doctor", "teams_doctor", "wecom_doctor", "webchat", "clock")
FILES = ["checks.py", "checkup.py", "doctor.py"] + [f"platforms/{name}.py" for name in CHECKED]
PLACES = {"_finding": (0, 2, 3), "Told": (0,)}
"""Where in a call's arguments stands what is said."""
NAMES = re.compile(r"|[a-z]+(_[a-z]+)+")
"""What is the same in every language: nothing, and the name of a field."""


def literals(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be, a gap in an f-string as `{}`."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=first, orelse=second):
            yield from literals(first)
            yield from literals(second)
        case ast.BoolOp(values=values):
            for value in values:
                yield from literals(value)
        case ast.JoinedStr():
            yield ast.unparse(node)
        case _:
            return


def said_in(path: Path) -> Iterator[str]:
    """Every sentence that is written into the code of the doctor's checks."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="Finding"), keywords=keywords):
                for keyword in keywords:
                    if keyword.arg in ("check", "detail", "fix"):
                        yield from literals(keyword.value)
            case ast.Call(func=ast.Name(id=name), args=args) if name in PLACES:
                for place in PLACES[name]:
                    yield from literals(args[place]) if len(args) > place else ()
            case _:
                pass


def gaps(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_every_sentence_of_a_finding_is_there_in_chinese() -> None:
    said = {text for name in FILES for text in said_in(HOUSE / name)}
    said |= {*SCOPES, *NEEDED.values(), *USEFUL.values(), "queue", "dead letters"}
    said |= {text for channel, _, fix in CHANNEL_SECRETS for text in (channel, fix)}
    assert len(said) > 150
    assert {text for text in said if text not in sentences("zh-CN") and not NAMES.fullmatch(text)} == set()


def test_nothing_is_translated_that_nobody_says() -> None:
    written = "".join(path.read_text() for path in HOUSE.rglob("*.py")).replace('\\"', '"')
    assert [text for text in sentences("zh-CN") if not text.startswith("error ") and text not in written] == []


def test_a_translation_has_the_gaps_of_the_sentence_and_chinese_words() -> None:
    for english, chinese in sentences("zh-CN").items():
        if not english.startswith("error ") and '{"' not in english:
            assert gaps(chinese) == gaps(english), english
        assert re.search("[一-鿿]", re.sub(r"\{\w+\}", "", chinese)) or not re.search("[A-Za-z]{3}", gapless(english)), english


def gapless(text: str) -> str:
    return re.sub(r"\{\w+\}", "", text)


def test_no_translation_is_of_something_that_nobody_says() -> None:
    source = " ".join((HOUSE / name).read_text() for name in [*FILES, "platforms/wecom_api.py", "errors.py", "llm/__init__.py"])
    source = re.sub(r'"\s*\n\s*"', "", source)  # a sentence over several lines
    for english in sentences("zh-CN"):
        name = english.removeprefix("error ")
        assert name in source or name.replace('"', '\\"') in source, english


def test_a_finding_is_said_in_the_readers_language_and_a_vendors_words_stay() -> None:
    dead = TokenDead("slack: invalid_auth", platform="slack", code="invalid_auth")
    found = Finding(check="token", state="fault", detail=Told.reason(dead), fix=Told("copy it from {place}", place=Told("OAuth")))
    assert (found.detail, found.fix) == ("slack: invalid_auth", "copy it from OAuth")
    chinese = worded(found, "zh_TW")
    assert (chinese.check, chinese.detail) == ("令牌", "凭证不被接受（slack: invalid_auth）")
    assert chinese.fix == "请从“OAuth”复制"
    assert worded(found, "fr") == found
    assert replace(chinese, state="ok").state == "ok"


def test_the_report_names_each_check_twice_once_for_programs_and_once_for_people() -> None:
    lines = [Line("assistant", Finding(check="queue", state="warning", detail=Told("{count} messages wait", count=3), fix=""))]
    words = {"title": "队列", "detail": "3 条消息在等待", "fix": "", "url": ""}
    told = {"component": "assistant", "check": "queue", "state": "warning", **words}
    assert to_json(lines, language="zh-CN")["findings"] == [told]
    assert from_json(to_json(lines, language="zh-CN"))[0].finding.check == "队列"
    assert from_json(to_json(lines)) == lines
    assert "队列: 3 条消息在等待" in to_markdown(lines, language="zh-CN")
    assert "queue: 3 messages wait" in to_markdown(lines)
