"""The fault tests' judge notices what is lost, said twice or out of order."""

from __future__ import annotations

from typing import Any, cast

import pytest

from assistant.messages import Webhook
from tests.support.town import Town, Word


class Shown:
    """A crowd of one chat that shows `texts`."""

    name = "shown"

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def seen(self, person: int) -> list[str]:
        """The texts."""
        return self._texts


def town(texts: list[str], taken: list[int]) -> Town:
    """A town in which the questions `taken` were accepted in that order and `texts` are to be seen."""
    chat: Any = Shown(texts)
    made = Town(())
    made.crowds = {"shown": chat}
    made.taken = {("shown", 1): [f"Answer {n}." for n in taken]}
    request = cast(Webhook, None)  # nothing is delivered
    made.words = [Word(chat, 1, request, f"Answer {n}.", (chat, 1), wrote=1.0, accepted=2.0) for n in taken]
    return made


@pytest.mark.parametrize(
    ("texts", "taken", "good"),
    [
        (["Answer 1.", "Answer 2."], [1, 2], True),
        (["Answer 2.", "Answer 1."], [1, 2], False),
        (["Answer 1.", "Answer 2.", "Answer 3."], [1, 3, 2], False),
        (["Answer 1.", "Answer 2. Answer 3."], [1, 3, 2], True),
        (["Answer 1.", "Answer 3. Answer 2."], [1, 3, 2], True),
        (["Answer 2. Answer 3.", "Answer 1."], [1, 3, 2], False),
        (["Answer 1.", "Answer 4. Answer 2. Answer 3."], [1, 2, 3, 4], False),
    ],
)
def test_what_one_message_answers_together_may_stand_as_written_and_all_else_as_accepted(
    texts: list[str], taken: list[int], good: bool
) -> None:
    assert (town(texts, taken).out_of_order() == []) is good


def test_what_is_lost_or_said_twice_is_noticed() -> None:
    judged = town(["Answer 1.", "Answer 2.", "Answer 2."], [1, 2, 3])
    assert [word.promise for word in judged.lost()] == ["Answer 3."]
    assert [word.promise for word in judged.twice()] == ["Answer 2."]
