"""`assistant webhook check` keeps its contract for every platform: genuine, forged, damaged and odd requests."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.webhook_lines import (
    DAMAGED,
    NOW,
    Case,
    Line,
    Microsoft,
    bot_asks,
    bot_reply,
    dingtalk,
    feishu,
    odd_but_genuine,
    slack,
    teams,
    wecom,
)

ALWAYS = {"kind", "conversation", "sender", "text", "event_id", "message_id", "dedup_id"}
KINDS = {
    "text", "image", "file", "rich_text", "card_action", "bot_added", "bot_removed", "entered", "menu", "recalled", "slash",
    "stream_refresh", "edited", "other",
}  # fmt: skip
MAKERS = {"feishu": feishu, "dingtalk": dingtalk, "wecom": wecom, "slack": slack}


@pytest.fixture(scope="module")
def microsoft() -> Iterator[Microsoft]:
    with Microsoft() as vendor:
        yield vendor


def cases_of(platform: str, microsoft: Microsoft) -> list[Case]:
    """Every request of one platform that is looked at."""
    return list(teams(microsoft) if platform == "teams" else MAKERS[platform]())


def verdicts(lines: Sequence[Line | str], folder: Path) -> tuple[list[dict[str, Any]], float, int]:
    """What the command prints for `lines`, the processor seconds that it took, and its exit status."""
    file = folder / "recorded.jsonl"
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines) + "\n", encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "assistant.dev.cli", "webhook", "check", str(file)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return [json.loads(found, parse_constant=_refuse) for found in done.stdout.decode().splitlines()], took, done.returncode


def _refuse(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")


def disagreements(case: Case, verdict: dict[str, Any]) -> list[str]:
    """What of `verdict` is not as `case` has it."""
    found = []
    if set(verdict) != {"verdict", "status", "reason", "reply_body", "messages"}:
        found.append(f"fields {sorted(verdict)}")
    if verdict["verdict"] != case.verdict or verdict["status"] not in case.statuses:
        found.append(f"{verdict['verdict']} {verdict['status']} ({verdict['reason']}), not {case.verdict} {case.statuses}")
    if (case.verdict == "reject") != bool(verdict["reason"]):
        found.append(f"reason {verdict['reason']!r}")
    for message in verdict["messages"]:
        if missing := ALWAYS - set(message):
            found.append(f"a message without {sorted(missing)}")
        if message["kind"] not in KINDS or not (message["conversation"] and message["dedup_id"]):
            found.append(f"a message {message}")
    if case.messages is not None:
        if len(verdict["messages"]) != len(case.messages):
            found.append(f"{len(verdict['messages'])} messages, not {len(case.messages)}: {verdict['messages']}")
        for expected, message in zip(case.messages, verdict["messages"], strict=False):
            found += [f"{k} = {message.get(k)!r}, not {v!r}" for k, v in expected.items() if message.get(k, False) != v]
    if case.reply and not found:
        try:
            case.reply(verdict)
        except (AssertionError, ValueError, KeyError) as error:
            found.append(f"reply {verdict['reply_body'][:200]!r}: {error!r}")
    return found


@pytest.mark.parametrize("platform", ["feishu", "dingtalk", "wecom", "slack", "teams"])
def test_every_request_gets_the_verdict_that_the_vendors_descriptions_ask_for(
    platform: str, microsoft: Microsoft, tmp_path: Path
) -> None:
    cases = cases_of(platform, microsoft)
    assert not [name for name, count in Counter(c.name for c in cases).items() if count > 1]
    found, took, status = verdicts([c.line for c in cases], tmp_path)
    assert len(found) == len(cases)
    assert status == 0
    wrong = [
        f"{case.name}: {'; '.join(d)}" for case, verdict in zip(cases, found, strict=True) if (d := disagreements(case, verdict))
    ]
    assert not wrong, "\n".join(wrong)
    assert took < 3 + 0.005 * len(cases)


@pytest.mark.parametrize("platform", ["feishu", "dingtalk", "wecom", "slack", "teams"])
def test_what_is_told_twice_has_one_dedup_id_and_nothing_else_has_it(platform: str, microsoft: Microsoft, tmp_path: Path) -> None:
    cases = [c for c in cases_of(platform, microsoft) if c.verdict == "accept" and c.messages]
    ids: dict[str, set[str]] = {}
    for case, verdict in zip(cases, verdicts([c.line for c in cases], tmp_path)[0], strict=True):
        for number, message in enumerate(verdict["messages"]):
            ids.setdefault(f"{case.twin or case.name} {number}", set()).add(message["dedup_id"])
    assert {name: found for name, found in ids.items() if len(found) != 1} == {}
    alone = Counter(next(iter(found)) for found in ids.values())
    assert {id_: count for id_, count in alone.items() if count > 1} == {}


def test_genuine_requests_with_content_that_nobody_expects_are_read_or_refused(microsoft: Microsoft, tmp_path: Path) -> None:
    lines = list(odd_but_genuine(microsoft, seed=20260101, each=150))
    found, took, status = verdicts(lines, tmp_path)
    assert len(found) == len(lines)
    assert status == 0
    assert {v["status"] for v in found} <= {200, 202, 501, 400, 401}
    assert all(v["messages"] == [] for v in found if v["verdict"] == "reject")
    assert took < 3 + 0.005 * len(lines)


def test_a_wecom_reply_is_fetched_under_the_id_that_the_first_answer_names_until_its_time_is_over(tmp_path: Path) -> None:
    asked = bot_asks({"msgtype": "text", "text": {"content": "hi"}})
    (first, again), _, _ = verdicts([asked, asked], tmp_path)
    stream = bot_reply(first)["stream"]["id"]
    assert bot_reply(again)["stream"]["id"] == stream
    fetched = [bot_asks({"msgid": f"p{n}", "msgtype": "stream", "stream": {"id": stream}}, at=NOW + n) for n in (1, 200, 420)]
    found, _, _ = verdicts(fetched, tmp_path)
    assert [m["kind"] for v in found for m in v["messages"]] == ["stream_refresh"] * 3
    states = [bot_reply(v)["stream"] for v in found]
    assert [s["id"] for s in states] == [stream] * 3
    assert [s["finish"] for s in states] == [False, False, True]


def test_secrets_come_from_the_line_else_from_the_file_and_lines_from_standard_input(tmp_path: Path) -> None:
    given = next(c for c in slack() if c.name == "slack good").line
    bare = {k: v for k, v in given.items() if k != "secrets"}
    wrapped = {**given, "secrets": {"slack": given["secrets"]}}
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"slack": given["secrets"]}), encoding="utf-8")
    lines = "\ufeff" + "\r\n".join(json.dumps(one) for one in (given, wrapped, bare, {**given, "secrets": {}}))
    command = [sys.executable, "-m", "assistant.dev.cli", "webhook", "check", "-"]
    for more, expected in [
        ([], ["accept", "accept", "reject", "reject"]),
        (["--secrets", str(secrets)], ["accept"] * 3 + ["reject"]),
    ]:
        done = subprocess.run([*command, *more], input=lines.encode(), capture_output=True, timeout=60, check=True)
        assert [json.loads(one)["verdict"] for one in done.stdout.splitlines()] == expected


def test_lines_that_are_no_recorded_request_get_a_line_each(tmp_path: Path) -> None:
    found, _, status = verdicts(list(DAMAGED), tmp_path)
    assert len(found) == len(DAMAGED)
    assert {v["verdict"] for v in found} == {"reject"}
    assert all(400 <= v["status"] < 500 and v["reason"] for v in found), found
    assert status == 2
