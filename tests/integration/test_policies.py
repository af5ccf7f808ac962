"""What a company's policy keeps out of questions and answers: personal data, and whatever its guardrail names."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from assistant.acting import MOST_FAILURES, Desk
from assistant.dev.emulator import Emulator
from assistant.errors import InvalidSetting
from assistant.llm import ToolCall
from assistant.llm.guardrails import Guardrail
from assistant.messages import Message
from assistant.observability import MODERATED
from assistant.plugins import Around, Plugins
from assistant.safety import Guard, redactions, without
from tests.support.house import House, ScriptedModel

ALL = ("email", "phone", "identity", "card")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Write to bob.o'neil+x@mail.example.com today.", "Write to bob.o'[email] today."),
        ("请发到zhang.san@example.cn，谢谢", "请发到[email]，谢谢"),
        ("Call +49 (30) 1234-5678 or 138 1234 5678.", "Call [phone] or [phone]."),
        ("电话13812345678，或8613812345678", "电话[phone]，或[phone]"),
        ("身份证号11010519491231002X。", "身份证号[identity]。"),
        ("Card 4111 1111 1111 1111 expires 12/29.", "Card [card] expires 12/29."),
        ("Order 4111 1111 1111 1112 is no card.", "Order 4111 1111 1111 1112 is no card."),
        (
            "You have 14 days; 1,234,567.89 EUR; 2026-11-18; version 1.22.333.",
            "You have 14 days; 1,234,567.89 EUR; 2026-11-18; version 1.22.333.",
        ),
    ],
)
def test_personal_data_is_named_and_not_shown(text: str, shown: str) -> None:
    assert without(text, ALL) == shown


@given(
    st.lists(
        st.sampled_from(["ask ", "bob@example.com", "138", "1234", "5678", "13812345678", " ", ", ", "中", "x", "."]), max_size=25
    )
)
def test_a_growing_answer_only_grows_and_shows_nothing_that_is_redacted_later(pieces: list[str]) -> None:
    guard = Guard(redacts=ALL)
    text, whole = "", guard.clean("".join(pieces))
    for piece in pieces:
        for character in piece:
            text += character
            assert whole.startswith(guard.growing(text).rstrip())


def test_an_answer_is_redacted_while_it_grows_and_when_it_is_whole(aws: Emulator) -> None:
    model = ScriptedModel(["Ask Bob under +49 30 1234 5678 or bob@example.com today."])
    house = House(aws, model=model, redact_answers="email,phone")
    house.say("Whom do I ask?")
    house.drain()
    assert house.turns()[-1]["text"] == "Ask Bob under [phone] or [email] today."


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(InvalidSetting, match="shoe size"):
        redactions("email, shoe size")


class Bedrock:
    """Bedrock's runtime, as far as guardrails go: `words` are what the policy does not want."""

    def __init__(self, *words: str, masks: str = "", fails: bool = False) -> None:
        self.words, self.masks, self.fails = words, masks, fails
        self.asked: list[dict[str, Any]] = []

    def apply_guardrail(self, **request: Any) -> dict[str, Any]:
        """The service's answer."""
        self.asked.append(request)
        if self.fails:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "ApplyGuardrail")
        text = request["content"][0]["text"]["text"]
        if any(word in text for word in self.words):
            return {"action": "GUARDRAIL_INTERVENED", "outputs": [{"text": "Not here, please."}], "assessments": []}
        if self.masks and self.masks in text:
            return {"action": "GUARDRAIL_INTERVENED", "outputs": [{"text": text.replace(self.masks, "{NAME}")}]}
        return {"action": "NONE", "outputs": [], "assessments": []}


def guarded(aws: Emulator, bedrock: Bedrock, *answers: str) -> House:
    house = House(aws, model=ScriptedModel(list(answers)), guardrail="gr1:3", patience=0)
    clients = house.assistant.client
    house.assistant.client = lambda service: bedrock if service == "bedrock-runtime" else clients(service)  # type: ignore[method-assign]  # a fake service
    return house


def test_a_question_that_the_policy_does_not_want_reaches_no_model(aws: Emulator) -> None:
    bedrock = Bedrock("weapon")
    house = guarded(aws, bedrock, "Fourteen days.")
    house.say("How do I build a weapon?")
    house.drain()
    assert house.turns()[-1]["text"] == "Not here, please."
    assert house.model.asked == []
    assert house.metrics.total(MODERATED) == 1
    assert bedrock.asked[0]["source"] == "INPUT"
    assert (bedrock.asked[0]["guardrailIdentifier"], bedrock.asked[0]["guardrailVersion"]) == ("gr1", "3")


def test_an_answer_that_the_policy_does_not_want_is_never_shown(aws: Emulator) -> None:
    house = guarded(aws, Bedrock("salary"), "The salary of the boss is a million.")
    seen: list[str] = []
    house.model.between = lambda: seen.extend(t["text"] for t in house.turns())
    house.say("What is new?")
    house.drain()
    assert house.turns()[-1]["text"] == "Not here, please."
    assert not any("salary" in text for text in seen)


def test_what_the_policy_masks_is_masked(aws: Emulator) -> None:
    house = guarded(aws, Bedrock(masks="Bob"), "Ask Bob.")
    house.say("Whom do I ask?")
    house.drain()
    assert house.turns()[-1]["text"] == "Ask {NAME}."


def test_a_guardrail_that_does_not_answer_lets_nothing_through(aws: Emulator) -> None:
    bedrock = Bedrock(fails=True)
    house = guarded(aws, bedrock, "Fourteen days.")
    house.say("What is new?")
    house.run(house.batch())
    assert house.model.asked == []
    bedrock.fails = False
    house.drain()
    assert house.turns()[-1]["text"] == "Fourteen days."


@pytest.mark.parametrize("wrong", ["gr1", ":3", "gr1:three"])
def test_a_misspelt_guardrail_is_told(wrong: str) -> None:
    with pytest.raises(InvalidSetting, match="ID:VERSION"):
        Guardrail(wrong, client=lambda: None)


def test_a_model_gets_one_round_to_repair_its_calls() -> None:
    message = Message(kind="text", platform="webchat", channel="messages", conversation="c", sender="u", dedup_id="m")
    desk = Desk(Plugins(), message, Around(language="en", now=_now(), key="k"), {})
    for n in range(1, MOST_FAILURES + 1):
        assert not desk.is_done
        desk.run([ToolCall(id=f"c{n}", name="no_such_tool", arguments="{")])
    assert desk.is_done


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
