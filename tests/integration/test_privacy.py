"""One person: everything of them is found, given and erased; nobody else loses anything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from botocore.credentials import Credentials

from assistant.dev.cli import main
from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.errors import Unavailable
from assistant.knowledge.gaps import Gaps
from assistant.logsearch import forget_noted, load, signed
from assistant.messages import Message
from assistant.plugins import BotPlugin, Permissions, PluginContext, Plugins
from assistant.privacy import Privacy
from assistant.queue import Delivery
from tests.integration.test_api import ApiFunction
from tests.integration.test_silence import office
from tests.simulators.opensearch import OpenSearchServer
from tests.support.desks import SlackDesk
from tests.support.house import WEBCHAT_KEY, House, client, down

CONSENT = "Your words are kept for 180 days. /forget erases what I remember."


@pytest.fixture
def house(aws: Emulator) -> House:
    return House(aws)


@pytest.fixture
def base(house: House) -> Iterator[str]:
    listening = listen("127.0.0.1", 0)
    server = serve(listening, ApiFunction(house))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.shutdown()
    server.server_close()
    listening.close()


def stored(aws: Emulator) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client(aws, "dynamodb").scan(TableName="assistant")["Items"]
    return items


def mentions(aws: Emulator, word: str) -> list[tuple[str, str]]:
    """Keys of the items that hold `word`, apart from the audit log."""
    return [
        (i["pk"]["S"], i["sk"]["S"])
        for i in stored(aws)
        if word in json.dumps(i, ensure_ascii=False) and "AUDIT" not in i["pk"]["S"]
    ]


def live(house: House, user: str, word: str) -> None:
    """A person of whom there is something everywhere; `word` stands in all that they write."""
    for conversation in ("shared", f"own-{user}"):
        house.say(f"What about {word}?", user=user, conversation=conversation)
        house.say(f"Remember that {word} matters in {conversation}", user=user, conversation=conversation)
        house.drain()
    Gaps(house.assistant.table, tenant="default", clock=house.now).note(f"What about {word}?")
    house.assistant.table.put({"pk": f"U#default#webchat#{user}", "sk": "wait#feishu#t" + user, "expires": 1})
    house.assistant.table.put({"pk": f"Q#t{user}", "sk": "ask", "body": f"about {word}"})
    house.assistant.table.put({"pk": f"Q#t{user}", "sk": "used#1", "body": f"about {word}"})
    house.assistant.table.put({"pk": f"O#webchat#{user}", "sk": "outside", "told": 1})


def test_erasing_a_person_leaves_nothing_of_them_and_everything_of_the_others(aws: Emulator, house: House) -> None:
    live(house, "ann", "aardvarks")
    live(house, "bob", "badgers")
    before = mentions(aws, "badgers")
    assert len(mentions(aws, "aardvarks")) >= 8
    part = house.assistant.privacy.erase("webchat:ann")
    assert part.cursor == ""
    assert part.erased >= 8
    assert mentions(aws, "aardvarks") == []
    assert [k for k in mentions(aws, "ann") if "own-ann" in str(k) or k[0].startswith(("U#", "Y#", "O#", "Q#"))] == []
    assert mentions(aws, "badgers") == before
    assert house.assistant.privacy.export("webchat:ann").turns == []


def test_an_export_holds_what_was_said_remembered_and_allowed(house: House) -> None:
    live(house, "ann", "aardvarks")
    house.assistant.table.put(
        {"pk": "U#default#webchat#ann", "sk": "token#feishu", "state": "good", "sealed": "SECRET", "key": "K",
         "body": '{"scopes": ["calendar"], "since": 1}'}
    )  # fmt: skip
    part = house.assistant.privacy.export("webchat:ann")
    assert sorted({t["question"] for t in part.turns}) == [
        "Remember that aardvarks matters in own-ann", "Remember that aardvarks matters in shared", "What about aardvarks?",
    ]  # fmt: skip
    assert {t["answer"] for t in part.turns} >= {"Fourteen days."}
    assert len(part.about["facts"]) == 2
    assert part.about["allowed"]["feishu"]["scopes"] == ["calendar"]
    assert "SECRET" not in json.dumps(part.about)


def test_an_export_holds_the_summary_of_the_persons_own_conversation_and_of_no_shared_one(house: House) -> None:
    live(house, "ann", "aardvarks")
    live(house, "bob", "badgers")
    for place in house.assistant.people.places("webchat", "ann"):
        house.assistant.sessions.summarise(place.turns, f"It was about {place.turns}.", upto="turn#1")
    assert house.assistant.privacy.export("webchat:ann").about["summaries"] == ["It was about C#default#webchat#own-ann."]


def test_a_large_life_is_given_and_erased_in_parts(aws: Emulator, house: House) -> None:
    for n in range(12):
        house.say(f"Question {n} of aardvarks", user="ann" if n % 3 else "bob", conversation=f"c{n % 2}")
        house.drain()
    hasty = Privacy(house.assistant.table, people=house.assistant.people, seconds=0, page=2)
    cursor, turns, parts = "", [], 0
    while parts == 0 or cursor:
        part = hasty.export("webchat:ann", cursor=cursor)
        turns += part.turns
        cursor, parts = part.cursor, parts + 1
    assert parts > 2
    assert sorted(t["question"] for t in turns) == sorted(f"Question {n} of aardvarks" for n in range(12) if n % 3)
    cursor, first = "", True
    while first or cursor:
        cursor, first = hasty.erase("webchat:ann", cursor=cursor).cursor, False
    left = [t["user"] for c in ("c0", "c1") for t in house.turns(c)]
    assert left == ["bob"] * 4
    assert mentions(aws, "ann") == []


def test_an_erasure_that_was_cut_off_is_finished_by_the_next(aws: Emulator, house: House) -> None:
    live(house, "ann", "aardvarks")
    table = house.assistant.table
    real, left = table.delete, [9]

    class Failing(type(table)):  # type: ignore[misc]  # the table that stops answering after some deletions
        def delete(self, pk: str, sk: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("the process ends here")
            real(pk, sk)

    failing = Failing(table.name, client=house.assistant.client("dynamodb"))
    with pytest.raises(RuntimeError):
        Privacy(failing, people=house.assistant.people).erase("webchat:ann")
    house.assistant.privacy.erase("webchat:ann")
    assert mentions(aws, "aardvarks") == []


class Diary(BotPlugin):
    """Keeps what people write."""

    name: ClassVar[str] = "diary"
    permissions = Permissions(store=True, personal=("of-{user}", "page/{platform}/{user}/*"))

    def handle_message(self, ctx: PluginContext, message: Message) -> str | None:
        ctx.store.put(f"of-{ctx.user}", message.text)
        ctx.store.put(f"page/{ctx.platform}/{ctx.user}/1", message.text)
        ctx.store.put("shared", 1)
        return "Written."


def test_what_a_plugin_keeps_about_a_person_goes_with_them_where_it_is_declared(aws: Emulator, house: House) -> None:
    house.assistant._plugins = Plugins([Diary(None)], table=house.assistant.table)
    house.say("I like aardvarks", user="ann")
    house.say("I like badgers", user="ann-lee")
    house.drain()
    about = house.assistant.privacy.export("webchat:ann").about
    assert about["plugins"] == {"diary": {"of-ann": "I like aardvarks", "page/webchat/ann/1": "I like aardvarks"}}
    house.assistant.privacy.erase("webchat:ann")
    assert mentions(aws, "aardvarks") == []
    assert len([k for k in mentions(aws, "badgers") if k[0].startswith("X#")]) == 2
    assert ("X#default#diary", "shared") in [(i["pk"]["S"], i["sk"]["S"]) for i in stored(aws)]


def test_a_person_in_slack_is_found_in_every_conversation(aws: Emulator) -> None:
    with SlackDesk() as desk:
        house = House(aws, secrets=desk.secrets)
        desk.ask(house, "About aardvarks")
        house.drain()
        assert [t["question"] for t in house.assistant.privacy.export("slack:U1").turns] == ["About aardvarks"]
        house.assistant.privacy.erase("slack:U1")
        assert mentions(aws, "aardvarks") == []


def test_one_id_in_two_companies_must_be_told_apart(aws: Emulator, house: House) -> None:
    for n, tenant in enumerate(("one", "two")):
        message = Message(
            kind="text", platform="webchat", channel="messages", conversation="c", sender="ann", dedup_id="1", message_id=tenant,
            tenant=tenant, text=f"In {tenant}", sent_at=1_700_000_000_000,
        )  # fmt: skip
        house.assistant.dialogue.take_turn(Delivery(message, f"q{n}", 1, False))
    with pytest.raises(Exception, match="one, two"):
        house.assistant.privacy.export("webchat:ann")
    house.assistant.privacy.erase("webchat:ann", tenant="one")
    assert [t["question"] for t in house.assistant.privacy.export("webchat:ann").turns] == ["In two"]


def test_where_a_person_writes_is_noted_once_in_a_conversation_and_again_after_a_month(house: House) -> None:
    def noted() -> int:
        return len([c for c in house.recorder.take() if c.operation == "put_item" and "Y#" in str(c.request)])

    house.say("One", user="ann")
    house.drain()
    assert noted() == 1
    fresh = house.another()  # knows from the turn
    for day in range(0, 29, 7):
        house.offset = day * 86400
        house.say(f"Day {day}", user="ann")
        house.run(house.batch(), fresh)
    assert noted() == 0
    house.offset = 31 * 86400
    house.say("Later", user="ann")
    house.run(house.batch(), fresh)
    assert noted() == 1


# --- consent -----------------------------------------------------------------------------------


def test_on_first_contact_a_person_is_told_once_what_happens_to_their_words(aws: Emulator) -> None:
    house = House(aws, consent=CONSENT)
    for conversation in ("a", "a", "b"):
        house.say("How long?", user="ann", conversation=conversation)
        house.drain()
    assert [t["text"] for t in house.turns("a")] == [f"{CONSENT}\n\n---\n\nFourteen days.", "Fourteen days."]
    assert [t["text"] for t in house.turns("b")] == ["Fourteen days."]
    house.say("How long?", user="bob", conversation="a")
    house.drain()
    assert house.turns("a")[-1]["text"].startswith(CONSENT)


def test_a_first_answer_that_was_cut_off_still_tells(aws: Emulator) -> None:
    def stop(name: str) -> None:
        if name == "after model":
            raise RuntimeError("the process ends here")

    House(aws, consent=CONSENT)
    house = House(aws, consent=CONSENT, step=stop)
    house.say("How long?", user="ann")
    house.run(house.batch())
    again = House(aws, consent=CONSENT)
    again.drain()
    assert again.turns()[0]["text"].startswith(CONSENT)


# --- the command -------------------------------------------------------------------------------


def test_export_and_erase_from_the_command_line(
    aws: Emulator, house: House, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    live(house, "ann", "aardvarks")
    at = ["--url", base, "--api-key", WEBCHAT_KEY]
    assert main(["privacy", "export", "webchat:ann", *at]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["person"] == "webchat:ann"
    assert len(found["turns"]) == 4
    assert main(["privacy", "erase", "webchat:ann", *at]) == 1
    assert "4 turns, 2 facts" in capsys.readouterr().out
    assert mentions(aws, "aardvarks")
    assert main(["privacy", "erase", "webchat:ann", "--yes", *at]) == 0
    assert "erased" in capsys.readouterr().out
    assert mentions(aws, "aardvarks") == []
    assert main(["privacy", "export", "ann", *at]) == 2
    assert "PLATFORM:USER" in capsys.readouterr().err
    assert [a.what for a in house.assistant.audit.list()].count("erase person") == 1


# --- how long ----------------------------------------------------------------------------------


def test_a_ring_may_keep_turns_for_a_shorter_time_but_never_longer(aws: Emulator, house: House) -> None:
    def days(user: str) -> float:
        house.say("How long?", user=user, conversation=user)
        house.drain()
        [item] = [i for i in stored(aws) if i["pk"]["S"] == f"C#default#webchat#{user}"]
        return round((int(item["expires"]["N"]) - house.now()) / 86400)

    house.assistant.rollouts.set({"people": ["webchat:ann"], "days": 7}, ring="internal", who="ann", why="a test")
    house.assistant.rollouts.set({"days": 10_000}, ring="everyone", who="ann", why="a test")
    assert (days("ann"), days("bob")) == (7, 180)


def test_what_could_not_be_answered_goes_with_its_author(house: House) -> None:
    house.model.answers = [down()]
    for user in ("ann", "bob"):
        house.say("Are you there?", user=user, conversation=user)
    for _ in range(6):
        house.run(house.batch())
    house.assistant.privacy.erase("webchat:ann")
    assert [json.loads(letter["Body"])["sender"] for letter in house.dead_letters()] == ["bob"]


# --- what stands elsewhere -----------------------------------------------------------------------


def test_what_was_passed_on_to_a_person_goes_too_and_the_support_chats_own_words_stay(aws: Emulator) -> None:
    house = office(aws, hand_over="webchat:support")
    for text in ("aardvarks are loose", "can I talk to a human please?", "the aardvarks are in the lift"):
        house.say(text, user="ann", conversation="anns")
        house.drain()
    summary = house.turns("support")[0]["text"]
    case = summary.partition("#")[2][:6]
    house.say(f"#{case} I am on my way", user="sue", conversation="support")
    house.drain()
    house.say("back to the assistant", user="ann", conversation="anns")
    house.drain()
    assert any("aardvarks" in t["text"] for t in house.turns("support"))
    house.assistant.privacy.erase("webchat:ann")
    assert mentions(aws, "aardvarks") == []
    assert [t["question"] for t in house.turns("support") if t["question"].startswith("#")] == [f"#{case} I am on my way"]


def test_a_seat_in_a_ring_is_given_back(aws: Emulator, house: House) -> None:
    house.assistant.rollouts.set({"chats": ["webchat:team"], "capacity": 1}, ring="internal", who="op", why="a test")
    house.say("Hello", user="ann", conversation="team")
    house.drain()
    assert house.assistant.rollouts.taken_seats(house.assistant.rollouts.read())["internal"] == 1
    house.assistant.privacy.erase("webchat:ann")
    assert house.assistant.rollouts.taken_seats(house.assistant.rollouts.read())["internal"] == 0


def test_lines_of_logs_that_name_the_person_are_deleted_and_so_is_the_note_of_it(aws: Emulator) -> None:
    house = House(aws, log_search_stream="assistant-search")

    def line(message: str, **more: str) -> dict[str, str]:
        return {"@timestamp": "2027-01-15T00:00:00Z", "message": message, **more}

    with OpenSearchServer() as search:
        send = signed(search.url, region="us-east-1", credentials=lambda: Credentials("a", "b"), sleep=lambda s: None)
        load(send, days=30)
        for one in (
            line("a turn of ou_ann-1 failed"),
            line("nothing", **{"event.reason": "user ou_ann-1 is not in the chat"}),
            line("nothing", **{"trace.id": "ou_ann-1"}),
            line("a turn of ou_bob failed"),
            line("a turn of ou_ann-11 failed"),
        ):
            search.index(one)
        house.assistant.privacy.erase("feishu:ou_ann-1")
        table = house.assistant.table
        now = time.time()
        assert forget_noted(table, send, tenant="default", now=now) == 3
        assert [len(search.find(message=m)) for m in ("a turn of ou_bob failed", "a turn of ou_ann-11 failed")] == [1, 1]
        search.index(line("late: ou_ann-1"))
        assert forget_noted(table, send, tenant="default", now=now + 7200) == 1, "lines may come late"
        assert mentions(aws, "ou_ann-1") == []
        assert forget_noted(table, send, tenant="default", now=now + 7200) == 0
        search.busy = 9
        house.assistant.privacy.erase("feishu:ou_ann-1")
        with pytest.raises(Unavailable, match="does not answer"):
            forget_noted(table, send, tenant="default", now=now)
        assert mentions(aws, "ou_ann-1"), "it is tried again tomorrow"


def test_the_words_on_first_contact_come_in_every_language_as_they_are_set(aws: Emulator) -> None:
    for consent, question in ((CONSENT, "How long?"), ("你的话会保存 180 天。/forget 可以让我忘记。", "年假有几天？")):
        aws.clear()
        with SlackDesk() as desk:
            house = House(aws, secrets=desk.secrets, consent=consent)
            desk.ask(house, question)
            house.drain()
            assert desk.seen(house)[0].startswith(consent.partition(" /")[0][:12])
            assert "Fourteen days." in desk.seen(house)[0]
