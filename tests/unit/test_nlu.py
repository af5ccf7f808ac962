"""Intents are learned from examples, "none of these" is honest, and the artefact is compact and safe to load."""

from __future__ import annotations

import json
import random
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.dev.cli import main
from assistant.errors import InvalidSetting
from assistant.nlu import OUT_OF_SCOPE, Understander, train
from assistant.nlu.evaluation import evaluate, plot
from assistant.nlu.linear import SCORE, lanes
from assistant.nlu.linear import train as train_rows

OFFICE = {
    "book_room": [
        "book a room", "I need a meeting room", "reserve a room for tomorrow", "can you get us a room at 3 pm",
        "is there a room free on Friday", "we need a room for six people", "订会议室", "帮我订一间会议室", "我要预订会议室",
        "明天下午需要一个会议室", "约个会议室开会", "周五有空的会议室吗",
    ],
    "request_leave": [
        "I want to take leave", "request leave", "I need a day off", "apply for vacation", "take annual leave next week",
        "put me down for sick leave", "我要请假", "申请年假", "请病假", "我想休假几天", "下周想请两天假", "帮我申请休假",
    ],
    "reset_password": [
        "reset my password", "I forgot my password", "my password does not work", "I cannot log in", "unlock my account",
        "change my password please", "重置密码", "我忘记密码了", "密码不对登录不了", "帮我解锁账号", "账号被锁了", "改一下密码",
    ],
}  # fmt: skip
EXAMPLES = [(text, intent) for intent, texts in OFFICE.items() for text in texts]


@pytest.fixture(scope="module")
def office() -> Understander:
    return train(EXAMPLES)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("could you book us a meeting room for Monday", "book_room"),
        ("我们周一要用会议室", "book_room"),
        ("I'd like to request some leave in May", "request_leave"),
        ("我想请三天年假", "request_leave"),
        ("i've forgotten my password again", "reset_password"),
        ("密码忘记了怎么办", "reset_password"),
    ],
)
def test_what_was_not_among_the_examples_is_understood(office: Understander, text: str, intent: str) -> None:
    understood = office.understand(text)
    assert understood.intent == understood.best == intent
    assert understood.confidence > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "what is the capital of France",
        "hello",
        "the cat sleeps on the sofa",
        "法国的首都是哪里",
        "猫在沙发上睡觉",
        "",
        "   ",
        "？！",
        "𝕏" * 5000,
    ],
)
def test_none_of_these_is_said_when_it_is_none_of_these(office: Understander, text: str) -> None:
    assert office.understand(text).intent == ""


def test_doubt_is_what_lies_between_acting_and_ruling_out(office: Understander) -> None:
    assert not office.understand("reset my password").doubtful
    assert not office.understand("the cat sleeps on the sofa").doubtful
    between = [office.understand(text) for text in ("明天", "a day at the sea", "the week", "free day")]
    assert any(u.doubtful for u in between)
    assert all(u.intent == "" and u.best for u in between if u.doubtful)


def test_full_width_and_capital_letters_make_no_difference(office: Understander) -> None:
    assert office.understand("ＲＥＳＥＴ my PASSWORD！").confidence == office.understand("reset my password!").confidence


def test_a_saved_model_answers_exactly_like_the_trained_one(office: Understander, tmp_path: Path) -> None:
    office.save(tmp_path / "intents.bin")
    loaded = Understander.load(tmp_path / "intents.bin")
    assert [loaded.understand(text) for text, _ in EXAMPLES] == [office.understand(text) for text, _ in EXAMPLES]


def test_the_same_examples_give_the_same_model() -> None:
    assert train(EXAMPLES).to_bytes() == train(EXAMPLES).to_bytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 255))
def test_a_damaged_model_is_refused(place: int, change: int) -> None:
    artefact = bytearray(SMALL)
    artefact[place % len(artefact)] ^= change
    with pytest.raises(ValueError, match=r"checksum|begins with"):
        Understander.from_bytes(bytes(artefact))


SMALL = train(EXAMPLES[:30:3]).to_bytes()


@pytest.mark.parametrize("content", [b"", b"INTENTS1", b"not a model at all, only text"])
def test_a_file_that_is_no_model_is_refused_with_the_next_step(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(InvalidSetting, match="assistant nlu train"):
        Understander.load(tmp_path / "other")


@pytest.mark.parametrize("examples", [[], [("hello", OUT_OF_SCOPE)], [("  ", "greet")]])
def test_training_without_any_intent_is_refused(examples: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidSetting, match="no examples"):
        train(examples)


@pytest.mark.parametrize("examples", [[("hello there", "greet")], [("hi", "greet"), ("bye", "leave")]])
def test_one_example_is_enough_to_begin_with(examples: list[tuple[str, str]]) -> None:
    understander = train(examples)
    assert understander.understand(examples[0][0]).best == examples[0][1]


def test_texts_with_two_intents_do_not_break_the_training() -> None:
    understander = train([*EXAMPLES, *(("book a room", "request_leave") for _ in range(30))])
    assert understander.understand("book a room").best in {"book_room", "request_leave"}


def test_packed_training_is_the_same_as_one_class_at_a_time() -> None:
    """All classes stand side by side in one integer: the weights of class 0 must not depend on its neighbours."""
    chance = random.Random(7)
    examples = [(sorted(chance.sample(range(40), 8)), [chance.randrange(40, 90) for _ in range(8)]) for _ in range(60)]
    labels = [chance.randrange(5) for _ in examples]
    together = train_rows(examples, labels, rows=40, classes=5, rounds=4)
    alone = train_rows(examples, [0 if label == 0 else 1 for label in labels], rows=40, classes=2, rounds=4)
    assert [lanes(row, classes=5)[0] for row in together] == pytest.approx(
        [lanes(row, classes=2)[0] for row in alone], abs=SCORE >> 12
    )


def test_an_understanding_takes_about_a_millisecond_at_most(office: Understander) -> None:
    text = "could you book us a meeting room for Monday at three"
    began = process_time()
    for _ in range(50):
        office.understand(text)
    assert (process_time() - began) / 50 < 0.005


# --- measuring --------------------------------------------------------------------------------


def lines(path: Path, examples: list[tuple[str, str]]) -> Path:
    path.write_text("\n".join(json.dumps({"text": t, "intent": i}, ensure_ascii=False) for t, i in examples), "utf-8")
    return path


HELD_OUT = [
    ("please book a meeting room", "book_room"), ("我想订个会议室", "book_room"), ("take a day off", "request_leave"),
    ("password forgotten", "reset_password"), ("book a password", "reset_password"), ("what is a quark", OUT_OF_SCOPE),
    ("企鹅吃什么", OUT_OF_SCOPE),
]  # fmt: skip


def test_a_report_counts_a_rejection_as_an_error(office: Understander) -> None:
    report = evaluate(
        office, [("reset my password", "reset_password"), ("the cat sleeps", "book_room"), ("what is a quark", "oos")]
    )
    assert (report.in_scope, report.out_of_scope) == (2, 1)
    assert report.accuracy_in_scope == 0.5
    assert report.out_of_scope_recall == 1.0
    assert report.out_of_scope_precision == 0.5
    assert [(c.intent, c.taken_for) for c in report.confusion] == [("book_room", "")]


def test_the_order_of_the_examples_does_not_change_the_report(office: Understander) -> None:
    there, back = evaluate(office, HELD_OUT), evaluate(office, HELD_OUT[::-1])
    assert (there.accuracy_in_scope, there.out_of_scope_recall, there.curve) == (
        back.accuracy_in_scope,
        back.out_of_scope_recall,
        back.curve,
    )


def test_the_curve_goes_from_all_accepted_to_all_rejected(office: Understander) -> None:
    curve = evaluate(office, HELD_OUT).curve
    assert curve[0].recall == 0.0
    assert curve[0].accuracy == evaluate(office, HELD_OUT).accuracy_before_rejection
    assert [p.recall for p in curve] == sorted(p.recall for p in curve)
    assert [p.accuracy for p in curve] == sorted((p.accuracy for p in curve), reverse=True)


def test_only_in_scope_examples_leave_the_other_figures_open(office: Understander) -> None:
    report = evaluate(office, [("book a room", "book_room")])
    assert report.out_of_scope_recall is None
    assert report.accuracy_in_scope == 1.0
    assert plot(report).startswith("<svg")


def test_the_command_trains_measures_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = lines(tmp_path / "a.jsonl", EXAMPLES[::2]), lines(tmp_path / "b.jsonl", EXAMPLES[1::2])
    test = lines(tmp_path / "test.jsonl", HELD_OUT)
    model, drawing = tmp_path / "intents.bin", tmp_path / "curve.svg"
    given_paths = ["--train", str(first), "--train", str(second), "--test", str(test)]
    assert main(["nlu", "eval", *given_paths, "--json", "--save", str(model), "--plot", str(drawing)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["in_scope"] == 5
    assert 0.5 <= facts["accuracy_in_scope"] <= 1
    assert facts["ms_per_utterance"] > 0
    assert facts["model_bytes"] == model.stat().st_size
    assert "</svg>" in drawing.read_text()
    assert main(["nlu", "eval", "--model", str(model), "--test", str(test), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy_in_scope"] == facts["accuracy_in_scope"]
    assert main(["nlu", "eval", "--model", str(model), "--test", str(test)]) == 0
    assert "most frequent confusions" in capsys.readouterr().out


def test_a_model_is_trained_saved_and_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "intents.bin"
    assert main(["nlu", "train", "--train", str(lines(tmp_path / "a.jsonl", EXAMPLES)), "--save", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == model.stat().st_size
    assert main(["nlu", "ask", "--model", str(model), "--json", "book a room", "what is a quark"]) == 0
    assert [json.loads(line)["intent"] for line in capsys.readouterr().out.splitlines()] == ["book_room", ""]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "bad.jsonl:1 is not JSON"),
        ('{"text": 1}', "bad.jsonl:1 needs"),
        ("\n\n", "no examples"),
        ('{"text":"a","intent":"b"}\n[]', "bad.jsonl:2 needs"),
    ],
)
def test_a_wrong_example_file_is_refused_with_its_line(
    content: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(content)
    assert main(["nlu", "eval", "--train", str(bad), "--test", str(bad)]) == 2
    assert problem in capsys.readouterr().err


def test_a_missing_file_and_a_missing_choice_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nlu", "eval", "--train", str(tmp_path / "none"), "--test", str(tmp_path / "none")]) == 2
    assert main(["nlu", "eval", "--test", str(tmp_path / "none")]) == 2
    assert "either --train" in capsys.readouterr().err
