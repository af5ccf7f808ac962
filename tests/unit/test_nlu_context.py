"""A follow-up that leans on the question before it finds its context without a model, in both languages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.nlu import contextualise


@pytest.mark.parametrize(
    ("previous", "question", "whole"),
    [
        ("What is the hotel limit in Shanghai?", "and in Beijing?", "What is the hotel limit in Beijing?"),
        ("What is the weather in Paris like today?", "how about Berlin?", "What is the weather in Berlin like today?"),
        ("Who is on duty today?", "And tomorrow?", "Who is on duty tomorrow?"),
        ("Is the canteen open this week?", "what about next week?", "Is the canteen open next week?"),
        ("How many days of leave do interns get?", "what about managers?", "How many days of leave do managers get?"),
        ("What is the travel allowance for interns?", "And for managers?", "What is the travel allowance for managers?"),
        ("How many days of annual leave do I have?", "What about sick leave?", "How many days of sick leave do I have?"),
        (
            "What is the address of the Munich office?",
            "Thanks, and the Berlin office?",
            "What is the address of the Berlin office?",
        ),
        ("Who approves expenses of 2000 yuan?", "and 500 yuan?", "Who approves expenses of 500 yuan?"),
        ("How much is a taxi?", "and in Beijing?", "How much is a taxi, in Beijing?"),
        ("How do I order a laptop?", "How long does it take?", "How long does it take? (How do I order a laptop)"),
        ("北京的差旅补贴是多少？", "那上海呢？", "上海的差旅补贴是多少？"),
        ("去上海出差住宿标准是多少", "深圳呢", "去深圳出差住宿标准是多少"),
        ("今天谁值班？", "那明天呢", "明天谁值班？"),
        ("年假有几天？", "病假呢？", "病假有几天？"),
        ("正式员工的年假有几天？", "那实习生呢？", "实习生的年假有几天？"),
        ("2000元的报销谁审批？", "那500元呢？", "500元的报销谁审批？"),
        ("差旅标准是多少？", "那经理呢", "差旅标准是多少，经理？"),
        ("怎么申请门禁卡？", "它多久有效？", "它多久有效？ (怎么申请门禁卡)"),
    ],
)
def test_a_follow_up_takes_over_what_it_does_not_say(previous: str, question: str, whole: str) -> None:
    assert contextualise(question, previous) == whole


@pytest.mark.parametrize(
    ("previous", "question"),
    [
        ("How do I order a laptop?", "where is the canteen?"),
        ("How do I order a laptop?", "and how do I reset my password?"),
        ("How do I order a laptop?", "thanks"),
        ("年假有几天？", "食堂在哪里呢？"),
        ("电脑坏了找谁", "那怎么办呢"),
        ("年假有几天？", "谢谢"),
        ("", "and in Beijing?"),
    ],
)
def test_a_question_that_stands_by_itself_stays_as_it_is(previous: str, question: str) -> None:
    assert contextualise(question, previous) == question


def test_a_chain_of_follow_ups_leads_back_to_its_beginning() -> None:
    asked = ["What is the hotel limit in Shanghai?", "and in Beijing?", "what about Shenzhen?"]
    assert contextualise("and in Guangzhou?", asked) == "What is the hotel limit in Guangzhou?"
    assert contextualise("广州呢", ["上海的住宿标准是多少", "那北京呢"]) == "广州的住宿标准是多少"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_are_put_together_without_an_error(question: str, previous: str) -> None:
    assert isinstance(contextualise(question, previous), str)
