"""Three things an office assistant does: what the stories talk about."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from assistant.flows import Ask, Flow, Option, Unfit
from assistant.slots import Money, Person, Span


class RoomBooking(BaseModel):
    room: Annotated[
        Literal["sun", "moon"],
        Ask(
            {"en": "Which room?", "zh-CN": "哪间会议室？"},
            name={"en": "room", "zh-CN": "会议室"},
            why={"en": "The rooms differ in size.", "zh-CN": "会议室大小不同。"},
            options={
                "sun": Option({"en": "Sun", "zh-CN": "太阳厅"}, ("sun room", "太阳")),
                "moon": Option({"en": "Moon", "zh-CN": "月亮厅"}, ("moon room", "月亮")),
            },
        ),
    ]
    time: Annotated[Span, Ask({"en": "When?", "zh-CN": "什么时间？"}, name={"en": "time", "zh-CN": "时间"})]
    people: Annotated[
        int,
        Field(ge=1, le=20),
        Ask({"en": "For how many people?", "zh-CN": "几个人？"}, name={"en": "people", "zh-CN": "人数"}),
    ]

    @model_validator(mode="after")
    def not_for_days(self) -> Self:
        if self.time.end - self.time.start > timedelta(hours=12):
            raise Unfit({"en": "A room can be booked for 12 hours at most.", "zh-CN": "会议室最多预订12小时。"})
        return self


class LeaveRequest(BaseModel):
    kind: Annotated[
        Literal["annual", "sick"],
        Ask(
            {"en": "Which kind of leave?", "zh-CN": "请哪种假？"},
            name={"en": "kind of leave", "zh-CN": "假期类型"},
            options={
                "annual": Option({"en": "Annual leave", "zh-CN": "年假"}, ("vacation", "holiday")),
                "sick": Option({"en": "Sick leave", "zh-CN": "病假"}),
            },
        ),
    ]
    days: Annotated[Span, Ask({"en": "From when until when?", "zh-CN": "从哪天到哪天？"}, name={"en": "dates", "zh-CN": "日期"})]
    stand_in: Annotated[
        Person | None,
        Ask({"en": "Who stands in for you?", "zh-CN": "谁来代班？"}, name={"en": "stand-in", "zh-CN": "代班人"}),
    ] = None


class Expense(BaseModel):
    amount: Annotated[Money, Ask({"en": "How much was it?", "zh-CN": "多少钱？"}, name={"en": "amount", "zh-CN": "金额"})]
    what: Annotated[
        str,
        Field(max_length=60),
        Ask({"en": "What was it for?", "zh-CN": "用途是什么？"}, name={"en": "purpose", "zh-CN": "用途"}),
    ]
    receipt: Annotated[
        bool, Ask({"en": "Do you have a receipt?", "zh-CN": "有发票吗？"}, name={"en": "receipt", "zh-CN": "发票"})
    ]


FLOWS = (
    Flow(
        name="book_room",
        form=RoomBooking,
        title={"en": "book a room", "zh-CN": "订会议室"},
        examples=(
            "book a room", "I need a meeting room", "reserve a room for tomorrow", "can you get us a room at 3 pm",
            "is there a room free on Friday",
            "book the sun room", "we need a room for six people", "get me a meeting room please",
            "订会议室", "帮我订一间会议室", "我要预订会议室", "明天下午需要一个会议室",
            "约个会议室开会", "周五有空的会议室吗",
            "订太阳厅", "给我们订个能坐六个人的会议室",
        ),
    ),
    Flow(
        name="request_leave",
        form=LeaveRequest,
        title={"en": "request leave", "zh-CN": "申请休假"},
        examples=(
            "I want to take leave", "request leave", "I need a day off", "apply for vacation", "I am sick and stay at home",
            "take annual leave next week", "put me down for sick leave", "I would like some days off",
            "我要请假", "申请年假", "请病假", "我想休假几天", "下周想请两天假", "明天请假一天", "帮我申请休假", "我生病了要请假",
        ),
    ),
    Flow(
        name="claim_expense",
        form=Expense,
        title={"en": "claim an expense", "zh-CN": "报销费用"},
        confirm=False,
        examples=(
            "claim an expense", "I want to be reimbursed", "submit my taxi receipt", "expense a lunch", "file an expense report",
            "I paid 30 dollars for a taxi", "reimburse my train ticket", "I have expenses to hand in",
            "我要报销", "报销出租车费", "提交报销单", "帮我报销午饭", "报销一笔费用",
            "打车花了三十块要报销", "火车票怎么报销给我", "有发票要报销",
        ),
    ),
)  # fmt: skip
