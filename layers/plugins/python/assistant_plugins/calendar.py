"""Who is free when, and a meeting in everybody's calendar: Feishu and Microsoft 365, with the asker's own rights.

    book a meeting with Ann next Friday 10am · 明天下午三点和张三开会 · is Ann free tomorrow afternoon? · 张三明天有空吗

Switched on by its configuration: `{"calendar": {"provider": "auto"}}`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import BaseModel, Field

from assistant import (
    Ask,
    BotPlugin,
    Button,
    Flow,
    MenuItem,
    Message,
    PluginContext,
    Reply,
    Span,
    ToolFailed,
    tool,
)
from assistant_plugins._directory import Directory, Somebody, directory
from assistant_plugins._names import names_in, split_names
from assistant_plugins._vendors import Feishu, Microsoft, Trouble, Where, permissions, said, told

SCOPES: Mapping[str, tuple[str, ...]] = {
    "feishu": (
        "calendar:calendar:read",
        "calendar:calendar.free_busy:read",
        "calendar:calendar.event:create",
        "calendar:calendar.event:update",
        "contact:user:search",
        "contact:contact.base:readonly",
        "contact:user.base:readonly",
        "contact:user.email:readonly",
    ),
    "microsoft": ("Calendars.ReadWrite", "User.ReadBasic.All"),
}
PERSON, BOOK = "calendar.person", "calendar.book"
"""Keys of the buttons: which of several people is meant; what to do about an overlap."""

LENGTH = timedelta(minutes=30)
DRAFT_DAYS = 2
MOST_PEOPLE = 20

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "off": "No calendar is connected for this chat. An administrator can connect Feishu or Microsoft 365.",
        "past": "{when} has passed already. Tell me a time to come, please.",
        "long": "A meeting of more than 24 hours cannot be booked here.",
        "nobody": "The directory has nobody called “{name}” that you may see. Write the full name, or a mail address.",
        "which": "Which {name} do you mean?",
        "no_room": "I do not know a room “{name}”. Rooms: {rooms}.",
        "many": "At most {most} people can be invited here.",
        "busy": "{who}: busy {times}",
        "overlap": "At {when}:\n\n{lines}\n\nBook it all the same?",
        "anyway": "Book it anyway",
        "instead": "At {when} instead",
        "leave": "Leave it",
        "left": "Nothing was booked.",
        "gone": "This question is not open any more.",
        "not_yours": "Only the person who asked can decide this.",
        "booked": "Booked: **{title}**, {when}{who}{room}.",
        "with": ", with {names}",
        "in": ", in {room}",
        "link": "[Open it in the calendar]({url})",
        "free_title": "{when} ({zone}):",
        "free": "{who}: free",
        "all_free": "Everybody is free {times}.",
        "never": "There is no half hour in which everybody is free.",
        "hidden": "{who}: the calendar does not say",
        "me": "You",
        "untitled": "Meeting",
        "menu": "Book a meeting",
        "menu_text": "book a meeting",
        "menu_free": "Who is free?",
        "menu_free_text": "who is free?",
    },
    "zh-CN": {
        "off": "这个聊天还没有连接日历。管理员可以连接飞书或 Microsoft 365。",
        "past": "{when}已经过去了，请说一个将来的时间。",
        "long": "这里不能预订超过24小时的会议。",
        "nobody": "通讯录里没有你可见的“{name}”。请写全名或邮箱。",
        "which": "你指的是哪一位{name}？",
        "no_room": "没有找到会议室“{name}”。会议室有：{rooms}。",
        "many": "这里最多可以邀请{most}人。",
        "busy": "{who}：{times}忙",
        "overlap": "{when}：\n\n{lines}\n\n仍然要预订吗？",
        "anyway": "仍然预订",
        "instead": "改到{when}",
        "leave": "不订了",
        "left": "没有预订。",
        "gone": "这个问题已经结束了。",
        "not_yours": "只有提出请求的人可以决定。",
        "booked": "已预订：**{title}**，{when}{who}{room}。",
        "with": "，参加人：{names}",
        "in": "，地点：{room}",
        "link": "[在日历中打开]({url})",
        "free_title": "{when}（{zone}）：",
        "free": "{who}：空闲",
        "all_free": "大家都有空的时间：{times}。",
        "never": "没有大家都空闲的半小时。",
        "hidden": "{who}：日历没有显示",
        "me": "你",
        "untitled": "会议",
        "menu": "预订会议",
        "menu_text": "预订会议",
        "menu_free": "谁有空？",
        "menu_free_text": "谁有空？",
    },
}

_TOPIC = re.compile(
    r"\babout\s++(.+?)(?<!\s)(?=\s*+(?:[.?!。？！]|$)|\s++(?:with|on|at|tomorrow|today|next|this|from|for|in)\b)"
    r"|(?:关于|讨论|聊聊|主题是)\s*([^，。,.!?？！]+?)(?=的?(?:会议|会)|[，。,.!?？！]|$)",
    re.IGNORECASE,
)
_ROOM = re.compile(
    r"\b(?:in|at)\s+(?:the\s+)?(?:room\s+([\w-]+)|([\w-]+)\s+room)\b|在\s*([\w\u4e00-\u9fff-]{1,12}?(?:会议室|厅))", re.IGNORECASE
)


def topic_in(text: str) -> str:
    """What a sentence says that a meeting is about."""
    found = _TOPIC.search(text[:1000])  # a sentence about a meeting; more would take long to look through
    return (found[1] or found[2]).strip()[:200] if found else ""


def room_in(text: str) -> str:
    """The room that a sentence names."""
    found = _ROOM.search(text)
    return next((g for g in found.groups() if g), "") if found else ""


class CalendarConfig(Where):
    """What can be set."""

    rooms: dict[str, str] = Field(
        default_factory=dict,
        description="meeting rooms by name: Feishu's room id (omm_…), or the room's mail address",
        json_schema_extra={
            "zh-CN": {"title": "会议室", "description": "按名称列出会议室：飞书会议室 ID（omm_…），或会议室的邮箱地址"}
        },
    )
    day_begins: int = Field(
        default=9,
        ge=0,
        le=23,
        description="hour from which free time is offered",
        json_schema_extra={"zh-CN": {"title": "工作开始时间", "description": "从几点起提供空闲时间"}},
    )
    day_ends: int = Field(
        default=18,
        ge=1,
        le=24,
        description="hour until which free time is offered",
        json_schema_extra={"zh-CN": {"title": "工作结束时间", "description": "到几点为止提供空闲时间"}},
    )


_WHO = Ask(
    {"en": "With whom?", "zh-CN": "和谁？"},
    name={"en": "people", "zh-CN": "参加人"},
    why={"en": "They get an invitation.", "zh-CN": "他们会收到邀请。"},
    words=("participants", "attendees", "与会人"),
    find=names_in,
)


class Meeting(BaseModel):
    """What a meeting needs."""

    people: Annotated[str, Field(max_length=400), _WHO]
    time: Annotated[
        Span,
        Ask(
            {
                "en": "When? For example: tomorrow 3 pm, or Friday 10:00–11:30.",
                "zh-CN": "什么时间？例如：明天下午三点，或周五10:00–11:30。",
            },
            name={"en": "time", "zh-CN": "时间"},
            length=LENGTH,
        ),
    ]
    topic: Annotated[str, Ask("", name={"en": "topic", "zh-CN": "主题"}, find=topic_in)] = ""
    room: Annotated[str, Ask("", name={"en": "room", "zh-CN": "会议室"}, find=room_in)] = ""


class FreeBusy(BaseModel):
    """What a look into calendars needs."""

    people: Annotated[
        str,
        Field(max_length=400),
        Ask({"en": "Whose calendar?", "zh-CN": "看谁的日程？"}, name={"en": "people", "zh-CN": "人员"}, find=names_in),
    ]
    time: Annotated[
        Span, Ask({"en": "For which day or time?", "zh-CN": "哪一天或什么时间？"}, name={"en": "time", "zh-CN": "时间"})
    ]


FLOWS = (
    Flow(
        name="book_meeting",
        form=Meeting,
        title={"en": "book a meeting", "zh-CN": "预订会议"},
        examples=(
            "book a meeting", "schedule a meeting with Ann tomorrow at 3pm", "set up a meeting with Bob next Friday 10am",
            "meet with Ann and Bob on Monday at 9", "put a meeting with the design team in my calendar",
            "create a calendar event tomorrow 2 to 3 pm with Tom", "invite Ann to a meeting on Friday",
            "next Friday 10am with Ann", "arrange a call with Li Lei tomorrow morning at ten", "I need a meeting with Ann at 4",
            "预订会议", "约张三明天下午三点开会", "明天下午三点和李四开会", "帮我安排一个和王五的会议",
            "下周五上午十点跟张三开会",
            "约一下李雷和韩梅梅后天上午十点", "明天下午三点 with 张三", "创建一个日程，周一九点和小王", "邀请张三参加周五的会议",
            "和张三约个会，讨论预算",
        ),
        unlike=(
            "how do I book a meeting room?", "what is the rule for meeting rooms", "where is the meeting room?",
            "how do I cancel a meeting?", "how long may a meeting last?", "who may book the large room?",
            "会议室怎么预订？", "会议室在哪里", "怎么取消会议", "会议室使用规定", "如何预约会议",
        ),
    ),
    Flow(
        name="free_busy",
        form=FreeBusy,
        confirm=False,
        title={"en": "see who is free", "zh-CN": "查看忙闲"},
        examples=(
            "who is free?", "is Ann free tomorrow afternoon?", "is Bob busy on Monday", "when is Tom available next week",
            "are Ann and Bob free on Friday", "does Ann have time tomorrow", "check the calendar of Li Lei for today",
            "am I free on Friday", "when can I meet Ann this week", "show me Bob's free time tomorrow",
            "谁有空？", "张三明天有空吗", "李四周一忙吗", "王五下周什么时候有空", "查一下张三和李四明天上午有没有空",
            "看看李雷今天的日程",
            "我明天有空吗", "张三今天下午有时间吗", "这周李四哪天空闲", "周五大家有空吗",
        ),
        unlike=(
            "who is Bob Miller", "who does Ann report to?", "what is Ann's email?", "who leads the design team?",
            "is the canteen free?",
            "is parking free", "who is Ann's manager", "what is the phone number of Bob", "when is the office open?",
            "what are the working hours", "who is responsible for travel?", "who can help me with my laptop",
            "张三是谁", "张三的邮箱是什么", "张三的上级是谁", "设计部的负责人是谁",
            "停车免费吗", "几点上班", "谁负责报销", "王芳的电话是多少",
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Somebody, or a room, at a meeting. `busy` None: the calendar does not say."""

    id: str
    name: str
    mail: str = ""
    room: bool = False


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A meeting that is not booked yet; kept while the asker chooses."""

    title: str
    start: str
    end: str
    names: tuple[str, ...] = ()
    """Those that are still to be found in the directory."""
    guests: tuple[Guest, ...] = ()
    state: str = "open"
    language: str = "en"
    """In which it was asked for; a click has no words."""
    event: str = ""
    url: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Draft:
        """What `asdict` made of one."""
        guests = tuple(Guest(**g) for g in data.get("guests") or ())
        return cls(**{**data, "names": tuple(data.get("names") or ()), "guests": guests})

    def span(self, ctx: PluginContext) -> tuple[datetime, datetime]:
        """From when to when, in the asker's zone."""
        zone = ctx.now.tzinfo
        return datetime.fromisoformat(self.start).astimezone(zone), datetime.fromisoformat(self.end).astimezone(zone)


Busy = list[tuple[datetime, datetime]]


class Calendars(Protocol):
    """One vendor's calendars, for one asker. Every method raises Trouble and Unavailable."""

    def me(self) -> Guest:
        """The asker."""

    def busy(self, guests: Sequence[Guest], start: datetime, end: datetime) -> dict[str, Busy | None]:
        """When each guest is busy between the two, by id; None where the calendar does not say."""

    def create(self, draft: Draft, *, key: str) -> tuple[str, str]:
        """Books it once under `key` in the asker's calendar, invites the guests; gives the event's id and its address."""


class _Feishu:
    """Source: open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/reference/calendar-v4."""

    ROOT = "/open-apis/calendar/v4"

    def __init__(self, ctx: PluginContext, where: Where) -> None:
        self.at = Feishu(ctx, where, SCOPES["feishu"])

    def me(self) -> Guest:
        account = self.at.ctx.account("feishu")
        return Guest(id=str(account.id), name=str(account.name))

    def busy(self, guests: Sequence[Guest], start: datetime, end: datetime) -> dict[str, Busy | None]:
        found: dict[str, Busy | None] = {}
        for guest in guests:
            if "@" in guest.id:  # somebody outside: Feishu has no calendar of theirs
                found[guest.id] = None
                continue
            asked = {"time_min": _rfc3339(start), "time_max": _rfc3339(end), "room_id" if guest.room else "user_id": guest.id}
            try:
                data = self.at.post(f"{self.ROOT}/freebusy/list?user_id_type=open_id", asked)
            except Trouble as trouble:
                if trouble.what != "forbidden" or trouble.detail:  # this person's alone, not the app's right
                    raise
                found[guest.id] = None
                continue
            found[guest.id] = [
                (datetime.fromisoformat(_iso(b["start_time"])), datetime.fromisoformat(_iso(b["end_time"])))
                for b in data.get("freebusy_list") or ()
            ]
        return found

    def create(self, draft: Draft, *, key: str) -> tuple[str, str]:
        start, end = draft.span(self.at.ctx)
        zone = _zone(self.at.ctx)
        listed = self.at.post(f"{self.ROOT}/calendars/primary", None).get("calendars") or [{}]
        calendar = str((listed[0].get("calendar") or {}).get("calendar_id") or "")
        if not calendar:
            raise Trouble("unknown")
        event = (
            self.at.post(
                f"{self.ROOT}/calendars/{calendar}/events?idempotency_key={key}&user_id_type=open_id",
                {
                    "summary": draft.title,
                    "start_time": {"timestamp": str(int(start.timestamp())), "timezone": zone},
                    "end_time": {"timestamp": str(int(end.timestamp())), "timezone": zone},
                    "attendee_ability": "can_see_others",
                },
                acts=True,
            ).get("event")
            or {}
        )
        id_ = str(event.get("event_id") or "")
        guests = [self._attendee(g) for g in draft.guests]
        if guests:
            me = self.me()
            own = [] if any(g.id == me.id for g in draft.guests) else [{"type": "user", "user_id": me.id}]
            self.at.post(
                f"{self.ROOT}/calendars/{calendar}/events/{id_}/attendees?user_id_type=open_id",
                {"attendees": [*own, *guests], "need_notification": True},
                acts=True,
            )
        return id_, str(event.get("app_link") or "")

    def _attendee(self, guest: Guest) -> dict[str, str]:
        if guest.room:
            return {"type": "resource", "room_id": guest.id}
        if "@" in guest.id:
            return {"type": "third_party", "third_party_email": guest.id}
        return {"type": "user", "user_id": guest.id}


class _Microsoft:
    """Source: learn.microsoft.com/graph/api/calendar-getschedule and user-post-events."""

    def __init__(self, ctx: PluginContext, where: Where) -> None:
        self.at = Microsoft(ctx, where, SCOPES["microsoft"])

    def me(self) -> Guest:
        user = self.at.get("/v1.0/me", {"$select": "id,displayName,mail,userPrincipalName"})
        mail = str(user.get("mail") or user.get("userPrincipalName") or "")
        return Guest(id=mail, name=str(user.get("displayName") or ""), mail=mail)

    def busy(self, guests: Sequence[Guest], start: datetime, end: datetime) -> dict[str, Busy | None]:
        asked = {
            "schedules": [g.mail for g in guests],
            "startTime": _utc(start),
            "endTime": _utc(end),
            "availabilityViewInterval": 30,
        }
        data = self.at.post("/v1.0/me/calendar/getSchedule", asked, headers={"prefer": 'outlook.timezone="UTC"'})
        by_mail = {g.mail.lower(): g.id for g in guests}
        found: dict[str, Busy | None] = {g.id: None for g in guests}
        for schedule in data.get("value") or ():
            id_ = by_mail.get(str(schedule.get("scheduleId", "")).lower())
            if id_ is None or schedule.get("error"):
                continue
            found[id_] = [
                (_from_utc(i["start"]), _from_utc(i["end"]))
                for i in schedule.get("scheduleItems") or ()
                if i.get("status") in ("busy", "oof", "tentative")
            ]
        return found

    def create(self, draft: Draft, *, key: str) -> tuple[str, str]:
        start, end = draft.span(self.at.ctx)
        people = [
            {"type": "resource" if g.room else "required", "emailAddress": {"address": g.mail, "name": g.name}}
            for g in draft.guests
        ]
        rooms = [g.name for g in draft.guests if g.room]
        body: dict[str, Any] = {
            "subject": draft.title,
            "start": _utc(start),
            "end": _utc(end),
            "attendees": people,
            "transactionId": key,
        }
        if rooms:
            body["location"] = {"displayName": ", ".join(rooms)}
        event = self.at.post("/v1.0/me/events", body, acts=True)
        return str(event.get("id") or ""), str(event.get("webLink") or "")


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _iso(text: str) -> str:
    """What Python 3.11 and older vendors both understand."""
    return str(text).replace("Z", "+00:00")


def _utc(moment: datetime) -> dict[str, str]:
    return {"dateTime": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "timeZone": "UTC"}


def _from_utc(value: Mapping[str, str]) -> datetime:
    """A dateTimeTimeZone of Graph, which was asked for UTC; its seven digits of a second are cut."""
    return datetime.fromisoformat(str(value["dateTime"])[:19]).replace(tzinfo=UTC)


def _zone(ctx: PluginContext) -> str:
    return str(getattr(ctx.now.tzinfo, "key", "UTC"))


class Calendar(BotPlugin):
    """Free and busy, and meetings, in the name of the person who asks."""

    name = "calendar"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "Calendar", "zh-CN": "日历"}
    about: ClassVar = {
        "en": "Free and busy, and meetings, in the name of the person who asks.",
        "zh-CN": "以提问者本人的身份查看忙闲、预订会议。",
    }
    Config = CalendarConfig
    seconds: ClassVar[float] = 10.0

    def __init__(self, config: CalendarConfig) -> None:
        super().__init__(config)
        self.flows = FLOWS if config.provider else ()
        self.permissions = permissions(config, SCOPES, store=True, personal=("draft/{platform}:{user}/*",))

    # --- what people see ---

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        """Two entries, where a calendar is connected."""
        if not self.config.at(ctx.platform) or self.config.at(ctx.platform) not in SCOPES:
            return ()
        words = ("menu", "menu_free")
        return [MenuItem(title=self._say(ctx, w), text=self._say(ctx, f"{w}_text"), key=f"calendar.{w}") for w in words]

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """The answer to a click on one of its buttons."""
        if message.kind != "card_action" or message.action_key not in (PERSON, BOOK):
            return None
        value = message.action_value
        if not isinstance(value, dict):
            return None
        return self._guarded(ctx, lambda: self._chosen(ctx, message.action_key, value))

    def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> Reply | str:
        """Books what was confirmed, or says who is free."""
        if flow == "free_busy":
            return self._guarded(ctx, lambda: self._who_is_free(ctx, form))
        return self._guarded(ctx, lambda: self._begin(ctx, form))

    # --- what the model may call ---

    def get_tools(self) -> Sequence[Any]:
        """Both, where a calendar is connected."""
        return super().get_tools() if self.config.provider else ()

    @tool
    def free_busy(
        self,
        ctx: PluginContext,
        people: Annotated[list[str], "names or mail addresses; 'me' for the person who asks"],
        start: datetime,
        end: datetime,
    ) -> dict[str, Any]:
        """When people or rooms are busy between two moments (with UTC offset)."""
        guests, calendars = self._for_tool(ctx, people)
        zone = ctx.now.tzinfo
        try:
            busy = calendars.busy(guests, _aware(start, ctx), _aware(end, ctx))
        except Trouble as trouble:
            raise ToolFailed(told(trouble, self.config.at(ctx.platform), "en")) from trouble
        return {
            g.name: None
            if (b := busy.get(g.id)) is None
            else [[_rfc3339(s.astimezone(zone)), _rfc3339(e.astimezone(zone))] for s, e in b]
            for g in guests
        }

    @tool(
        writes=True,
        repeatable=True,
        title={"en": "Book a meeting in your calendar and invite people", "zh-CN": "在你的日历中预订会议并邀请参加人"},
        arguments={
            "title": {"en": "title", "zh-CN": "主题"},
            "start": {"en": "start", "zh-CN": "开始"},
            "end": {"en": "end", "zh-CN": "结束"},
            "people": {"en": "people", "zh-CN": "参加人"},
        },
    )
    def create_event(
        self,
        ctx: PluginContext,
        title: str,
        start: datetime,
        end: datetime,
        people: Annotated[list[str], "names or mail addresses of those to invite"],
    ) -> str:
        """Book a meeting in the asker's calendar and invite people"""
        guests, calendars = self._for_tool(ctx, [p for p in people if p.lower() != "me"])
        begins, ends = _aware(start, ctx), _aware(end, ctx)
        if not ctx.now < begins < ends <= begins + timedelta(days=1):
            raise ToolFailed(f"the meeting must lie in the future and end within a day; it is {_rfc3339(ctx.now)} now")
        draft = Draft(title=title[:200], start=_rfc3339(begins), end=_rfc3339(ends), guests=tuple(guests))
        try:
            _, url = calendars.create(draft, key=_key(ctx.key))
        except Trouble as trouble:
            raise ToolFailed(told(trouble, self.config.at(ctx.platform), "en")) from trouble
        names = ", ".join(g.name for g in guests) or "nobody else"
        return f"booked {_rfc3339(begins)} to {_rfc3339(ends)} with {names} {url}".strip()

    def _for_tool(self, ctx: PluginContext, people: Sequence[str]) -> tuple[list[Guest], Calendars]:
        calendars, people_of = self._open(ctx)
        if calendars is None or people_of is None:
            raise ToolFailed("no calendar is connected for this chat")
        guests = []
        try:
            for name in people[:MOST_PEOPLE]:
                found = self._candidates(ctx, name, calendars, people_of)
                if len(found) != 1:
                    names = "; ".join(f"{p.name} ({p.mail})" for p in found)
                    raise ToolFailed(f"{name!r} is not one person in the directory: {names or 'nobody'}; ask which one is meant")
                guests.append(found[0])
        except Trouble as trouble:
            raise ToolFailed(told(trouble, self.config.at(ctx.platform), "en")) from trouble
        return guests, calendars

    # --- free and busy ---

    def _who_is_free(self, ctx: PluginContext, form: FreeBusy) -> Reply:
        calendars, people = self._open(ctx)
        if calendars is None or people is None:
            return Reply(text=self._say(ctx, "off"))
        guests: list[Guest] = []
        for name in split_names(form.people)[:MOST_PEOPLE]:
            found = self._candidates(ctx, name, calendars, people)
            if not found:
                return Reply(text=self._say(ctx, "nobody", name=name))
            guests += found[:3]  # looking is harmless: of several with one name, each is shown
        zone = ctx.now.tzinfo
        start, end = max(form.time.start.astimezone(zone), ctx.now), form.time.end.astimezone(zone)
        if end <= ctx.now:
            return Reply(text=self._say(ctx, "past", when=_when(form.time.start.astimezone(zone), end)))
        busy = calendars.busy(guests, start, min(end, start + timedelta(days=14)))
        lines = [f"- {self._line(ctx, g, busy.get(g.id), start)}" for g in guests]
        text = [self._say(ctx, "free_title", when=_when(start, end), zone=_zone(ctx)), "\n".join(lines)]
        if all(busy.get(g.id) is not None for g in guests):
            free = self._common([b for g in guests for b in busy[g.id] or ()], start, end)
            text.append(self._say(ctx, "all_free", times=_times(free[:6], start)) if free else self._say(ctx, "never"))
        return Reply(text="\n\n".join(text), private=True)

    def _line(self, ctx: PluginContext, guest: Guest, busy: Busy | None, start: datetime) -> str:
        who = self._say(ctx, "me") if guest.name == "me" else guest.name
        if busy is None:
            return self._say(ctx, "hidden", who=who)
        zone = ctx.now.tzinfo
        local = [(s.astimezone(zone), e.astimezone(zone)) for s, e in sorted(busy)]
        return self._say(ctx, "busy", who=who, times=_times(local, start)) if local else self._say(ctx, "free", who=who)

    def _common(self, busy: Busy, start: datetime, end: datetime) -> Busy:
        """Stretches of half an hour and more in the hours of work in which nobody is busy, weekends only if asked for."""
        free: Busy = []
        weekends = end - start <= timedelta(days=2)
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        while day < end and len(free) < 20:
            if day.weekday() >= 5 and not weekends:
                day += timedelta(days=1)
                continue
            begins = max(start, day + timedelta(hours=self.config.day_begins))
            ends = min(end, day + timedelta(hours=self.config.day_ends))
            for s, e in sorted(busy):
                if s < ends and e > begins:
                    if s - begins >= LENGTH:
                        free.append((begins, s.astimezone(start.tzinfo)))
                    begins = max(begins, e.astimezone(start.tzinfo))
            if ends - begins >= LENGTH:
                free.append((begins, ends))
            day += timedelta(days=1)
        return free

    # --- a meeting ---

    def _begin(self, ctx: PluginContext, form: Meeting) -> Reply:
        zone = ctx.now.tzinfo
        start, end = form.time.start.astimezone(zone), form.time.end.astimezone(zone)
        names = [n for n in split_names(form.people) if n != "me"]
        if start < ctx.now:
            return Reply(text=self._say(ctx, "past", when=_when(start, end)))
        if end - start > timedelta(days=1):
            return Reply(text=self._say(ctx, "long"))
        if len(names) > MOST_PEOPLE:
            return Reply(text=self._say(ctx, "many", most=MOST_PEOPLE))
        guests: tuple[Guest, ...] = ()
        if form.room:
            room = self._room(form.room)
            if room is None:
                return Reply(text=self._say(ctx, "no_room", name=form.room, rooms=", ".join(self.config.rooms) or "–"))
            guests = (room,)
        title = form.topic.strip() or self._say(ctx, "untitled")
        draft = Draft(
            title=title, start=_rfc3339(start), end=_rfc3339(end), names=tuple(names), guests=guests, language=ctx.language
        )
        return self._go_on(ctx, _key(ctx.key), draft)

    def _go_on(self, ctx: PluginContext, id_: str, draft: Draft, *, anyway: bool = False) -> Reply:
        """The next question, or the meeting. Nothing is changed before everything is known."""
        calendars, people = self._open(ctx)
        if calendars is None or people is None:
            return Reply(text=self._say(ctx, "off"))
        while draft.names:
            name = draft.names[0]
            found = self._candidates(ctx, name, calendars, people)
            if not found:
                return Reply(text=self._say(ctx, "nobody", name=name))
            if len(found) > 1:
                self._keep(ctx, id_, draft)
                return Reply(
                    text=self._say(ctx, "which", name=name),
                    buttons=tuple(
                        Button(text=_label(f), key=PERSON, value={"d": id_, "u": ctx.user, "n": name, "p": asdict(f)})
                        for f in found[:8]
                    ),
                    private=True,
                )
            draft = replace(draft, names=draft.names[1:], guests=(*draft.guests, found[0]))
        if not anyway and (question := self._overlap(ctx, id_, draft, calendars)):
            return question
        return self._book(ctx, id_, draft, calendars)

    def _overlap(self, ctx: PluginContext, id_: str, draft: Draft, calendars: Calendars) -> Reply | None:
        """The question where somebody is busy at that time, with the next free time as a choice."""
        start, end = draft.span(ctx)
        everybody = [replace(calendars.me(), name="me"), *draft.guests]
        until = start + timedelta(days=1)
        busy = calendars.busy(everybody, start, until)
        met = {
            g.id: [b for b in busy.get(g.id) or () if b[0] < end and b[1] > start]
            for g in everybody
            if busy.get(g.id) is not None
        }
        if not any(met.values()):
            return None
        self._keep(ctx, id_, draft)
        lines = "\n".join(f"- {self._line(ctx, g, met[g.id], start)}" for g in everybody if met.get(g.id))
        value = {"d": id_, "u": ctx.user}
        buttons = [Button(text=self._say(ctx, "anyway"), key=BOOK, value={**value, "do": "anyway"})]
        free = self._common([b for g in everybody for b in busy.get(g.id) or ()], start, until)
        later = next((s for s, e in free if e - s >= end - start and s > start), None)
        if later is not None:
            at = later.strftime("%H:%M") if later.date() == start.date() else later.strftime("%Y-%m-%d %H:%M")
            text = self._say(ctx, "instead", when=at)
            buttons.insert(0, Button(text=text, key=BOOK, value={**value, "do": _rfc3339(later)}, style="primary"))
        buttons.append(Button(text=self._say(ctx, "leave"), key=BOOK, value={**value, "do": "leave"}))
        return Reply(text=self._say(ctx, "overlap", when=_when(start, end), lines=lines), buttons=tuple(buttons), private=True)

    def _book(self, ctx: PluginContext, id_: str, draft: Draft, calendars: Calendars) -> Reply:
        event, url = calendars.create(draft, key=id_)
        self._keep(ctx, id_, replace(draft, state="booked", event=event, url=url))
        return self._booked(ctx, replace(draft, url=url))

    def _booked(self, ctx: PluginContext, draft: Draft) -> Reply:
        start, end = draft.span(ctx)
        people = [g.name for g in draft.guests if not g.room]
        rooms = [g.name for g in draft.guests if g.room]
        text = self._say(
            ctx,
            "booked",
            title=draft.title,
            when=_when(start, end),
            who=self._say(ctx, "with", names=", ".join(people)) if people else "",
            room=self._say(ctx, "in", room=", ".join(rooms)) if rooms else "",
        )
        link = f"\n\n{self._say(ctx, 'link', url=draft.url)}" if draft.url.startswith("https://") else ""
        return Reply(text=text + link, settled=text)

    def _chosen(self, ctx: PluginContext, key: str, value: Mapping[str, Any]) -> Reply:
        if value.get("u") != ctx.user:
            return Reply(text=self._say(ctx, "not_yours"), private=True)
        id_ = str(value.get("d", ""))
        kept = ctx.store.get(self._place(ctx, id_))
        if not isinstance(kept, dict):
            return Reply(text=self._say(ctx, "gone"))
        draft = Draft.from_json(kept)
        ctx = replace(ctx, language=draft.language)
        if draft.state == "booked":
            return self._booked(ctx, draft)
        if draft.state != "open":
            return Reply(text=self._say(ctx, "gone"))
        if key == PERSON:
            name, chosen = value.get("n"), value.get("p")
            if not draft.names or draft.names[0] != name or not isinstance(chosen, dict):
                return Reply(text=self._say(ctx, "gone"))
            known = Guest(**{k: v for k, v in chosen.items() if k in ("id", "name", "mail")})
            return self._go_on(ctx, id_, replace(draft, names=draft.names[1:], guests=(*draft.guests, known)))
        if value.get("do") == "leave":
            self._keep(ctx, id_, replace(draft, state="left"))
            return Reply(text=self._say(ctx, "left"))
        if value.get("do") != "anyway":
            start, end = draft.span(ctx)
            later = datetime.fromisoformat(str(value.get("do")))
            draft = replace(draft, start=_rfc3339(later), end=_rfc3339(later + (end - start)))
        if draft.span(ctx)[0] < ctx.now:
            return Reply(text=self._say(ctx, "past", when=_when(*draft.span(ctx))))
        return self._go_on(ctx, id_, draft, anyway=True)

    # --- small things ---

    def _open(self, ctx: PluginContext) -> tuple[Calendars | None, Directory | None]:
        provider = self.config.at(ctx.platform)
        made: Mapping[str, Any] = {"feishu": _Feishu, "microsoft": _Microsoft}
        if provider not in made:
            return None, None
        calendars: Calendars = made[provider](ctx, self.config)
        return calendars, directory(ctx, self.config, SCOPES)

    def _candidates(self, ctx: PluginContext, name: str, calendars: Calendars, people: Directory) -> list[Guest]:
        if name.lower() == "me":
            return [replace(calendars.me(), name="me")]
        if room := self._room(name):
            return [room]
        found = people.find(name)
        if not found and "@" in name:
            return [Guest(id=name, name=name, mail=name)]
        return [_guest(s) for s in found]

    def _room(self, name: str) -> Guest | None:
        wanted = name.lower().removesuffix("room").removesuffix("会议室").strip()
        for known, id_ in self.config.rooms.items():
            if wanted and wanted == known.lower().removesuffix("room").removesuffix("会议室").strip():
                return Guest(id=id_, name=known, mail=id_, room=True)
        return None

    def _place(self, ctx: PluginContext, id_: str) -> str:
        return f"draft/{ctx.platform}:{ctx.user}/{id_}"

    def _keep(self, ctx: PluginContext, id_: str, draft: Draft) -> None:
        ctx.store.put(self._place(ctx, id_), asdict(draft), days=DRAFT_DAYS)

    def _guarded(self, ctx: PluginContext, act: Any) -> Reply:
        try:
            result: Reply = act()
        except Trouble as trouble:
            return Reply(text=told(trouble, self.config.at(ctx.platform), ctx.language), private=True)
        return result

    def _say(self, ctx: PluginContext, key: str, **values: object) -> str:
        return said(WORDS, key, ctx.language, **values)


def _guest(who: Somebody) -> Guest:
    return Guest(id=who.id if not who.mail or who.id.startswith("ou_") else who.mail, name=who.name, mail=who.mail)


def _label(guest: Guest) -> str:
    return f"{guest.name} ({guest.mail})" if guest.mail else guest.name


def _key(turn: str) -> str:
    """An idempotency key of 32 characters, as Feishu wants at least."""
    return hashlib.sha256(f"calendar\n{turn}".encode()).hexdigest()[:32]


def _aware(moment: datetime, ctx: PluginContext) -> datetime:
    """What a model wrote without an offset is meant in the asker's zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=ctx.now.tzinfo)


def _when(start: datetime, end: datetime) -> str:
    tail = end.strftime("%H:%M") if end.date() == start.date() else end.strftime("%Y-%m-%d %H:%M")
    return f"{start:%Y-%m-%d %H:%M}–{tail}"


def _times(busy: Busy, start: datetime) -> str:
    return ", ".join(f"{s:%H:%M}–{e:%H:%M}" if s.date() == start.date() else _when(s, e) for s, e in busy)
