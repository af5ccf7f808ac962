"""Whatever a model writes, at once or growing, every word of it stands in the chat and the vendor refuses none of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.messages import Message, Reply
from assistant.platforms import Platform
from assistant.platforms.markdown import to_plain
from assistant.platforms.slack import Slack
from assistant.platforms.teams import Teams
from tests.simulators.slack import BOT_USER, SlackSimulator
from tests.simulators.teams import TeamsSimulator

LINES = st.one_of(
    st.text(alphabet="ab cd。 é中😀*_`~#>-|[]()!\\1.<&:", max_size=200),
    st.sampled_from(
        [
            "", "```python", "```", "| a | b |", "|---|---|", "- x", "# H", "> q", "---", "\ud83d", "<!channel> <@U1> <at>x</at>",
            "https://x.example/a_b*c*", "[l](https://x.example)", "![i](https://x.example/i.png)",
        ]
    ),
)  # fmt: skip
TEXTS = st.tuples(st.lists(LINES, max_size=30).map("\n".join), st.integers(1, 12)).map(lambda drawn: drawn[0] * drawn[1])
COUNT = count()
CUTS = st.none() | st.lists(st.integers(0, 2000), max_size=3).map(sorted)


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class SlackRoom:
    """A thread in Slack."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.vendor = SlackSimulator(clock=clock).start()
        self.platform: Platform = Slack(self.vendor.secrets, clock=clock, sleep=clock.sleep)

    def asked(self) -> Message:
        """A new question."""
        self.vendor.channels.clear()
        (message,) = self.platform.receive(self.vendor.event(self.vendor.mention("C1", "U1", "?"))).messages
        return message

    def seen(self) -> list[str]:
        """What the bot wrote, without the name of the asker."""
        posts = self.vendor.channels["C1"].posts
        assert not any(post.streaming for post in posts)
        return [post.shown.removeprefix("<@U1>\n") for post in posts if post.user == BOT_USER]


class TeamsRoom:
    """A one-to-one chat in Teams."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.vendor = TeamsSimulator(clock=clock).start()
        self.platform: Platform = Teams(self.vendor.secrets, clock=clock, sleep=clock.sleep)

    def asked(self) -> Message:
        """A new question."""
        self.vendor.chats.clear()
        (message,) = self.platform.receive(self.vendor.webhook(self.vendor.activity("a:1", "?"))).messages
        return message

    def seen(self) -> list[str]:
        """What the bot wrote."""
        assert all(stream.state != "open" for stream in self.vendor.chats["a:1"].streams)
        return [post.text for post in self.vendor.posts("a:1")]


@pytest.fixture(scope="module", params=[SlackRoom, TeamsRoom])
def room(request: pytest.FixtureRequest) -> Iterator[SlackRoom | TeamsRoom]:
    made: SlackRoom | TeamsRoom = request.param(Clock())
    yield made
    made.vendor.stop()


def words(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


@settings(max_examples=25, deadline=None)
@given(text=TEXTS, cuts=CUTS)
def test_any_text_lands_whole(room: SlackRoom | TeamsRoom, text: str, cuts: Sequence[int] | None) -> None:
    room.clock.now += 60
    to, key, reply = room.asked(), f"turn-{next(COUNT)}", Reply(text=text)
    state = None if cuts is None else room.platform.open_stream(to=to, key=key)
    if state is None:
        room.platform.send(reply, to=to, key=key)
    else:
        for cut in cuts or ():
            state = room.platform.update_stream(state, text[:cut], to=to)
            room.clock.now += 2
        room.platform.finish_stream(state, reply, to=to, key=key)
    seen = room.seen()
    assert not re.search(r"<[!@#]", "".join(seen)) or room.platform.name == "teams"
    letters = iter(words("".join(map(to_plain, seen))))
    assert all(letter in letters for letter in words(to_plain(text)))
