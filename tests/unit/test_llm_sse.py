"""The event stream's parser: no cut, line end or comment changes what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.llm.sse import LONGEST_LINE, ServerEvent, SseParser

STREAM = (
    "\ufeff: welcome\n\n"
    'data: {"a": "年假 🏖️"}\n\n'
    ": keep-alive\n\n"
    "event: note\ndata: first\ndata: second\ndata\nid: 7\nretry: 10\n\n"
    "data:no space\n\n"
    "data:  two spaces\n\n"
    "\n\n"
    "unknown: field\n\n"
    "data: [DONE]\n\n"
)
EVENTS = [
    ServerEvent('{"a": "年假 🏖️"}'),
    ServerEvent("first\nsecond\n", "note"),
    ServerEvent("no space"),
    ServerEvent(" two spaces"),
    ServerEvent("[DONE]"),
]


def read(*chunks: bytes) -> list[ServerEvent]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_single_cut_reads_the_same(newline: str) -> None:
    raw = STREAM.replace("\n", newline).encode()
    for cut in range(len(raw) + 1):
        assert read(raw[:cut], raw[cut:]) == EVENTS, cut


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_pair_of_cuts_around_a_split_sign_reads_the_same(newline: str) -> None:
    raw = STREAM.replace("\n", newline).encode()[:90]
    whole = read(raw)
    for first in range(len(raw)):
        for second in range(first, len(raw)):
            assert read(raw[:first], raw[first:second], raw[second:]) == whole


def test_byte_by_byte_reads_the_same() -> None:
    raw = STREAM.encode()
    assert read(*(raw[i : i + 1] for i in range(len(raw)))) == EVENTS


@given(st.data())
def test_any_cuts_and_mixed_line_ends_read_the_same(data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n"]), min_size=STREAM.count("\n"), max_size=STREAM.count("\n")))
    raw = "".join(a + b for a, b in zip(STREAM.split("\n"), [*ends, ""], strict=True)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    assert read(*(raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True))) == EVENTS


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_break_the_parser_and_a_cut_never_matters(raw: bytes, cut: int) -> None:
    assert read(raw[:cut], raw[cut:]) == read(raw)


def test_an_event_without_its_blank_line_is_not_given() -> None:
    assert read(b"data: half") == []
    assert read(b"data: half\n") == []


def test_a_line_that_never_ends_is_refused_instead_of_kept() -> None:
    parser = SseParser()
    assert parser.feed(b"x" * LONGEST_LINE) == []
    with pytest.raises(ValueError, match="longer than"):
        parser.feed(b"x")


def test_text_that_is_no_utf8_is_replaced() -> None:
    assert read(b"data: \xff\xfe\n\n") == [ServerEvent("\ufffd\ufffd")]
