"""The engine that needs no model: it quotes what answers, says where from, and says so when nothing does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.llm import ChatMessage, ChatRequest, Done, TextDelta
from assistant.llm.builtin import BuiltinModel, sentences, stem, terms
from assistant.messages import Passage

SLACK = Passage(
    id="1",
    title="Connect Slack",
    text=(
        "# Connect Slack\n\nSlack needs an app of your own. To connect it:\n\n1. Open api.slack.com/apps and choose "
        "**Create New App**.\n"
        "2. Paste the manifest.\n3. Copy the signing secret and the bot token into the secrets file.\n\n"
        "Then restart the assistant. Restarting takes about 3 seconds."
    ),
    score=3.2,
)
LEAVE = Passage(
    id="2",
    title="年假制度",
    path="休假",
    text=(
        "员工每年享有15天带薪年假。入职满一年后可以申请年假，未休完的年假最多可以结转5天到下一年度。\n"
        "申请年假需要提前三天在OA系统提交，由直属主管审批。病假需要提供医院证明。"
    ),
    score=3.0,
)
PLANS = Passage(
    id="3",
    title="Plans",
    text=(
        "| Plan | Price | Users |\n|---|---|---|\n| Basic | $10 | 50 |\n| Enterprise | $99 | 200 |\n\n"
        "A plan can be changed at any time."
    ),
    score=2.0,
)
RUN = Passage(
    id="4",
    title="Run it",
    text=(
        "Start the assistant on your machine with one command:\n\n```sh\nmake run\n```\n\n"
        "It listens on port 8080 (e.g. for the console). Stop it with Ctrl-C."
    ),
    score=1.0,
)
ALL = (SLACK, LEAVE, PLANS, RUN)


def ask(*said: str, passages: tuple[Passage, ...] = ALL, language: str = "en") -> str:
    messages = tuple(ChatMessage(role="user" if i % 2 == 0 else "assistant", text=t) for i, t in enumerate(said))
    events = list(BuiltinModel().stream(ChatRequest(system="", messages=messages, passages=passages, language=language)))
    assert isinstance(events[-1], Done)
    assert events[-1].model == "builtin"
    texts = [e.text for e in events[:-1] if isinstance(e, TextDelta)]
    assert len(texts) == len(events) - 1
    assert all(len(t) <= 24 for t in texts), "the pieces are small, so that text is seen to grow"
    return "".join(texts)


@pytest.mark.parametrize(
    ("question", "must", "source", "must_not"),
    [
        ("How do I connect Slack?", "2. Paste the manifest.", "[1]", "年假"),
        ("how long does restarting take", "about 3 seconds", "[1]", "manifest"),
        ("年假有多少天？", "15天", "[2]", "Slack"),
        ("怎么申请年假", "提前三天在OA系统提交", "[2]", "医院"),
        ("未休完的年假怎么办", "结转5天", "[2]", "医院"),
        ("生病请假要什么证明", "医院证明", "[2]", "Slack"),
        ("How many users may the enterprise plan have?", "Users: 200", "[3]", "Users: 50"),
        ("What does the basic plan cost? Its price?", "Price: $10", "[3]", "Slack"),
        ("how to start the assistant on my machine", "make run", "[4]", "年假"),
        ("which port does it listen on", "port 8080", "[4]", "Slack"),
    ],
)
def test_the_answer_is_quoted_with_its_source(question: str, must: str, source: str, must_not: str) -> None:
    text = ask(question)
    assert must in text
    assert source in text
    assert must_not not in text


@pytest.mark.parametrize("question", ["what is the airspeed of an unladen swallow", "量子力学是什么"])
@pytest.mark.parametrize(("language", "word"), [("en", "found n"), ("zh-CN", "没有找到"), ("ja", "found n")])
def test_what_nothing_speaks_of_is_not_made_up(question: str, language: str, word: str) -> None:
    text = ask(question, language=language)
    assert word in text
    assert "[1]" not in text or "Connect Slack" in text
    assert "manifest" not in text


def test_without_passages_it_says_so_and_names_a_way_on() -> None:
    assert "Try other words" in ask("Anything?", passages=())
    assert "知识库管理员" in ask("有什么？", passages=(), language="zh-Hans")


def test_a_weak_match_is_given_with_a_caution() -> None:
    passage = Passage(id="1", title="Travel", text="The travel desk books hotels in Berlin for everyone.", score=1)
    text = ask("Which hotel discount works for partners in Berlin?", passages=(passage,))
    assert "not sure" in text
    assert "[1]" in text


def test_a_passage_in_another_language_is_shown_with_a_caution() -> None:
    text = ask("How many vacation days do I get?", passages=(LEAVE,))
    assert "15天" in text
    assert "not sure" in text


def test_a_page_of_questions_answers_with_the_text_under_the_same_question() -> None:
    near = Passage(
        id="1", title="Guide", path="What can the assistant not do?", text="The assistant does not read other chats.", score=9
    )
    same = Passage(
        id="2", title="Guide", path="What can the assistant do?", text="Answers questions:\n\n- leave\n- travel", score=5
    )
    text = ask("What can the assistant do?", passages=(near, same))
    assert "- leave" in text
    assert "other chats" not in text
    zh = Passage(id="3", title="指南", path="指南 › 助手能做什么？", text="回答问题、查资料。", score=5)
    assert "查资料" in ask("助手能做什么", passages=(near, zh), language="zh-CN")


def test_a_follow_up_leans_on_the_question_before() -> None:
    text = ask("怎么申请年假", "……", "要提前几天？")
    assert "提前三天" in text


def test_two_passages_are_each_cited_for_their_part() -> None:
    other = Passage(id="5", title="Slack limits", text="A Slack workspace on the free plan takes ten apps at most.", score=3)
    text = ask("Connect Slack: what does Slack need, and how many apps does a Slack workspace take?", passages=(SLACK, other))
    assert "[1]" in text
    assert text.rstrip().endswith("[2]")


def test_a_long_list_is_not_poured_out_whole() -> None:
    items = "\n".join(f"- Office {n}: city number {n} has {n} meeting rooms" for n in range(1, 60))
    text = ask(
        "How many meeting rooms has office 37?", passages=(Passage(id="1", title="Offices", text=f"All offices:\n\n{items}"),)
    )
    assert "37 meeting rooms" in text
    assert len(text) < 1500


def test_tool_results_are_shown_as_they_are() -> None:
    messages = (ChatMessage(role="user", text="weather?"), ChatMessage(role="tool", text="sunny, 21 °C", tool_call_id="1"))
    events = list(BuiltinModel().stream(ChatRequest(system="", messages=messages)))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "sunny, 21 °C"


def test_an_abbreviation_ends_no_sentence() -> None:
    assert sentences("Ask Dr. Li, e.g. on Monday. He knows. Really!") == ["Ask Dr. Li, e.g. on Monday.", "He knows.", "Really!"]
    assert sentences("他说：“好。”然后走了！真的？是。") == ["他说：“好。", "”然后走了！", "真的？", "是。"]


@pytest.mark.parametrize(
    ("a", "b"),
    [("restarting", "restart"), ("connected", "connect"), ("policies", "policy"), ("running", "run"), ("users", "user"),
     ("approval", "approve"), ("installation", "install"), ("payments", "pay")],
)  # fmt: skip
def test_forms_of_one_word_meet(a: str, b: str) -> None:
    assert stem(a) == stem(b)


def test_what_only_asks_carries_no_weight() -> None:
    assert terms("How do I get it?", question=True) == []
    assert terms("请问怎么申请年假呢", question=True) == ["申请", "请年", "年假"]


@settings(max_examples=60)
@given(st.text(max_size=80), st.lists(st.text(max_size=200), max_size=3), st.sampled_from(["en", "zh-CN", ""]))
def test_no_question_and_no_passage_breaks_it(question: str, texts: list[str], language: str) -> None:
    passages = tuple(Passage(id=str(i), title=t[:10], text=t) for i, t in enumerate(texts))
    assert ask(question, passages=passages, language=language)


def test_markdown_that_never_closes_is_harmless() -> None:
    for text in ("```\nopen fence restart", "| a |\n|---|", "|", "- ", "1.", "#", "restart:\n\n- one\n- two\n\nend"):
        assert ask("restart one", passages=(Passage(id="1", title="t", text=text),))
