"""Leave, asked for in a chat and decided by the one who may: the approver gets a card in private, the asker hears the outcome.

    I need annual leave next Monday to Wednesday · 我要请年假，下周一到周三 · my requests · 待我审批 · reject 3fa2c1d0 because …

Switched on by its configuration: `{"approvals": {"approver": "slack:U0BOSS"}}`, or `{"approvals": {"manager": true, "provider":
"auto"}}` for everybody's own manager. The records are the plug-in's own; each change is a compare-and-set, so that of two clicks
one decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from assistant import (
    Ask,
    BotPlugin,
    Button,
    Flow,
    MenuItem,
    Message,
    NotReached,
    Option,
    PluginContext,
    Reply,
    Span,
    Unfit,
    tool,
)
from assistant_plugins._directory import SCOPES, directory
from assistant_plugins._vendors import Trouble, Where, permissions, said, told

APPROVE, REJECT, CANCEL = "approvals.approve", "approvals.reject", "approvals.cancel"
"""Keys of the buttons; their value names the request."""

Kind = Literal["annual", "sick", "personal", "other"]
State = Literal["open", "approved", "rejected", "cancelled"]

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "annual": "annual leave",
        "sick": "sick leave",
        "personal": "personal leave",
        "other": "leave",
        "request": "**{what}**, {days}{reason}",
        "because": "  \nReason: {reason}",
        "card": "{who} asks for {request}\n\nRequest `{id}`. To give a reason, write `reject {id} because …`.",
        "approve": "Approve",
        "reject": "Reject",
        "cancel": "Take it back",
        "sent": "Your request `{id}` went to {boss}: {request}\n\nI tell you as soon as it is decided.",
        "nobody": "I do not know who decides about your leave. An administrator can name your approver.",
        "yourself": "You are named as your own approver, so nothing was sent. An administrator can name somebody else.",
        "unreachable": "{boss} cannot be reached in this chat, so nothing was sent. An administrator can name somebody else.",
        "past": "These days have passed already: {days}.",
        "overlap": "You have a request for these days already: `{id}`, {request}",
        "approved": "approved",
        "rejected": "rejected",
        "cancelled": "taken back",
        "open": "not decided yet",
        "told_approved": "Your request `{id}` was **approved** by {boss}: {request}{note}",
        "told_rejected": "Your request `{id}` was **rejected** by {boss}: {request}{note}",
        "note": "\n\n> {note}",
        "you_approved": "Approved. {who} is told.",
        "you_rejected": "Rejected. {who} is told.",
        "settled": "{who}: {request}\n\n**{state}**",
        "already": "Request `{id}` is {state} already.",
        "gone": "I do not know a request `{id}` that you could decide.",
        "not_yours": "Only the approver can decide this request.",
        "not_asker": "Only the person who asked can take a request back.",
        "taken_back": "Request `{id}` is taken back; {boss} is told.",
        "told_cancelled": "{who} took back request `{id}`: {request}",
        "mine": "Your requests:",
        "line": "- `{id}` {what}, {days}: {state}",
        "none": "You have no requests.",
        "inbox": "Waiting for you:",
        "inbox_empty": "Nothing waits for your decision.",
        "boss": "your approver",
        "menu": "Request leave",
        "menu_text": "request leave",
        "menu_mine": "My requests",
        "menu_mine_text": "my requests",
    },
    "zh-CN": {
        "annual": "年假",
        "sick": "病假",
        "personal": "事假",
        "other": "休假",
        "request": "**{what}**，{days}{reason}",
        "because": "  \n理由：{reason}",
        "card": "{who}申请{request}\n\n申请编号 `{id}`。如需说明理由，请写“驳回 {id} 理由……”或“批准 {id} ……”。",
        "approve": "批准",
        "reject": "驳回",
        "cancel": "撤回申请",
        "sent": "申请 `{id}` 已发给{boss}：{request}\n\n有结果后我会马上告诉你。",
        "nobody": "我不知道你的休假由谁审批，请管理员指定审批人。",
        "yourself": "你的审批人是你自己，因此没有发送。请管理员指定其他人。",
        "unreachable": "在这个聊天里联系不到{boss}，因此没有发送。请管理员指定其他人。",
        "past": "这些日子已经过去了：{days}。",
        "overlap": "这些日子你已经有一个申请：`{id}`，{request}",
        "approved": "已批准",
        "rejected": "已驳回",
        "cancelled": "已撤回",
        "open": "等待审批",
        "told_approved": "你的申请 `{id}` **已被{boss}批准**：{request}{note}",
        "told_rejected": "你的申请 `{id}` **已被{boss}驳回**：{request}{note}",
        "note": "\n\n> {note}",
        "you_approved": "已批准，已通知{who}。",
        "you_rejected": "已驳回，已通知{who}。",
        "settled": "{who}：{request}\n\n**{state}**",
        "already": "申请 `{id}` {state}。",
        "gone": "没有找到你可以审批的申请 `{id}`。",
        "not_yours": "只有审批人可以决定这个申请。",
        "not_asker": "只有申请人可以撤回申请。",
        "taken_back": "申请 `{id}` 已撤回，已通知{boss}。",
        "told_cancelled": "{who}撤回了申请 `{id}`：{request}",
        "mine": "你的申请：",
        "line": "- `{id}` {what}，{days}：{state}",
        "none": "你没有申请。",
        "inbox": "等待你审批：",
        "inbox_empty": "没有等待你审批的申请。",
        "boss": "你的审批人",
        "menu": "申请休假",
        "menu_text": "申请休假",
        "menu_mine": "我的申请",
        "menu_mine_text": "我的申请",
    },
}
MINE = frozenset({"my requests", "my leave", "my leave requests", "我的申请", "我的假期", "我的请假"})
INBOX = frozenset({"my approvals", "pending approvals", "what waits for me", "待我审批", "我的审批", "待审批"})
_DECIDES = re.compile(
    r"/?(approve|reject|decline|批准|同意|驳回|拒绝)\s*+(?:request|申请)?\s*+#?`?([0-9a-f]{8})`?"
    r"[\s,，:：]*+(?:because(?: of)?|理由[是为]?|因为)?[\s:：]*+(.*)",
    re.IGNORECASE | re.DOTALL,
)
_TAKES_BACK = re.compile(r"/?(?:cancel|take back|withdraw|撤回|取消)\s*+(?:request|申请)?\s*+#?`?([0-9a-f]{8})`?", re.IGNORECASE)
_YES = frozenset({"approve", "批准", "同意"})

LONGEST_NOTE = 500


class ApprovalsConfig(Where):
    """What can be set."""

    approver: str = Field(
        default="",
        description="who decides for everybody without another one: PLATFORM:USER_ID, as slack:U0BOSS",
        json_schema_extra={"zh-CN": {"title": "审批人", "description": "没有另行指定时由谁审批：平台:用户ID，例如 slack:U0BOSS"}},
    )
    approvers: dict[str, str] = Field(
        default_factory=dict,
        description="who decides for whom: PLATFORM:USER_ID → PLATFORM:USER_ID, or the id alone on one platform",
        json_schema_extra={
            "zh-CN": {"title": "各人的审批人", "description": "谁审批谁的申请：平台:用户ID → 平台:用户ID，同一平台上可以只写 ID"}
        },
    )
    manager: bool = Field(
        default=False,
        description="everybody's manager decides, as Feishu's or DingTalk's directory has it",
        json_schema_extra={"zh-CN": {"title": "由上级审批", "description": "按飞书或钉钉通讯录，由每个人的直属上级审批"}},
    )

    @field_validator("approver")
    @classmethod
    def _whole(cls, value: str) -> str:
        return _checked(value)

    @field_validator("approvers")
    @classmethod
    def _all_whole(cls, value: dict[str, str]) -> dict[str, str]:
        return {_checked(asker): _checked(boss) for asker, boss in value.items()}

    @model_validator(mode="after")
    def _manager_known(self) -> Self:
        if self.manager and self.provider not in ("auto", "feishu", "dingtalk"):
            raise ValueError("manager needs provider feishu, dingtalk or auto; name an approver instead")
        return self

    @property
    def on(self) -> bool:
        """Whether anybody could decide."""
        return bool(self.approver or self.approvers or self.manager)


def _checked(person: str) -> str:
    platform, _, user = person.partition(":")
    if person and not (platform and user):
        raise ValueError(f"{person[:60]!r} must be PLATFORM:USER_ID, as slack:U0BOSS")
    return person


class Leave(BaseModel):
    """What a request for leave needs."""

    kind: Annotated[
        Kind,
        Ask(
            {"en": "Which kind of leave?", "zh-CN": "请哪种假？"},
            name={"en": "kind of leave", "zh-CN": "假期类型"},
            options={
                "annual": Option({"en": "Annual leave", "zh-CN": "年假"}, ("vacation", "holiday", "annual", "休年假")),
                "sick": Option({"en": "Sick leave", "zh-CN": "病假"}, ("sick", "ill", "生病", "看病")),
                "personal": Option({"en": "Personal leave", "zh-CN": "事假"}, ("personal", "私事", "事假")),
                "other": Option({"en": "Other leave", "zh-CN": "其他"}, ("other",)),
            },
        ),
    ]
    days: Annotated[
        Span,
        Ask(
            {"en": "From when until when?", "zh-CN": "从哪天到哪天？"},
            name={"en": "days", "zh-CN": "日期"},
            why={"en": "Your approver sees the days.", "zh-CN": "审批人会看到日期。"},
            words=("dates", "time", "时间"),
        ),
    ]
    reason: Annotated[
        str,
        Field(max_length=LONGEST_NOTE),
        Ask({"en": "A reason for your approver?", "zh-CN": "给审批人的理由？"}, name={"en": "reason", "zh-CN": "理由"}),
    ] = ""

    @model_validator(mode="after")
    def _not_for_ever(self) -> Self:
        if self.days.end - self.days.start > timedelta(days=366):
            raise Unfit({"en": "A request can be for a year at most.", "zh-CN": "一次最多申请一年。"})
        return self


FLOWS = (
    Flow(
        name="request_leave",
        form=Leave,
        title={"en": "request leave", "zh-CN": "申请休假"},
        examples=(
            "request leave", "I want to take leave", "I need a day off", "apply for vacation", "I am sick and stay at home",
            "take annual leave next week", "put me down for sick leave", "I would like some days off",
            "I want to take Friday off", "please book my vacation from Monday to Wednesday", "I need personal leave tomorrow",
            "我要请假", "申请年假", "请病假", "我想休假几天", "下周想请两天假", "明天请假一天", "帮我申请休假",
            "我生病了要请假", "申请休假",
            "我要请年假，下周一到周三", "我想请事假",
        ),
        unlike=(
            "how do I request leave?", "how many days of leave do I have?", "what is the leave policy", "who approves my leave",
            "can I carry over my vacation to next year?", "what is the rule for sick leave", "when do I need a doctor's note",
            "how do I apply for parental leave?", "is annual leave paid", "what kinds of leave are there",
            "怎么请假？", "年假有几天？", "请假流程是什么", "病假需要证明吗", "谁审批我的假期", "年假可以结转吗", "请假制度",
            "婚假有多少天",
            "事假扣工资吗", "如何申请休假",
            "my requests", "pending approvals", "what waits for me", "approve 3fa2c1d0", "reject 3fa2c1d0 because of the release",
            "cancel request 3fa2c1d0", "我的申请", "我的审批", "待我审批", "批准 3fa2c1d0", "驳回 3fa2c1d0 理由：项目上线",
            "撤回申请 3fa2c1d0",
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it is kept. People are `PLATFORM:USER_ID`."""

    id: str
    asker: str
    asker_name: str
    conversation: str
    approver: str
    approver_name: str
    kind: str
    start: str
    end: str
    reason: str
    language: str
    state: State = "open"
    note: str = ""
    """What the approver wrote."""
    by: str = ""
    """Key of the turn in which it was decided: the same turn, taken again, finds its own decision."""

    @property
    def place(self) -> str:
        """Under which name it is kept."""
        return f"request/{self.asker}/{self.id}"

    @property
    def box(self) -> str:
        """Under which name the approver finds it."""
        return f"inbox/{self.approver}/{self.id}"


class Approvals(BotPlugin):
    """Requests for leave, and their decisions."""

    name = "approvals"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "Leave and approvals", "zh-CN": "休假审批"}
    about: ClassVar = {
        "en": "Leave is asked for in the chat; whoever may decide gets a card, and the asker hears the outcome.",
        "zh-CN": "在聊天中申请休假；审批人收到卡片，申请人收到结果。",
    }
    Config = ApprovalsConfig
    seconds: ClassVar[float] = 10.0

    def __init__(self, config: ApprovalsConfig) -> None:
        super().__init__(config)
        self.flows = FLOWS if config.on else ()
        scopes = {p: s for p, s in SCOPES.items() if config.manager and p in ("feishu", "dingtalk")}
        personal = ("request/{platform}:{user}/*", "inbox/{platform}:{user}/*")
        self.permissions = permissions(config, scopes, store=True, tells=True, personal=personal)

    # --- what people see ---

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        """Two entries, where anybody could decide."""
        if not self.config.on:
            return ()
        words = ("menu", "menu_mine")
        return [MenuItem(title=self._say(ctx, w), text=self._say(ctx, f"{w}_text"), key=f"approvals.{w}") for w in words]

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """Decisions, by a button or in words; what is open, for the asker and for the approver."""
        if not self.config.on:
            return None
        if message.kind == "card_action" and message.action_key in (APPROVE, REJECT, CANCEL):
            place = message.action_value
            if not isinstance(place, str) or not place.startswith("request/"):
                return None
            if message.action_key == CANCEL:
                return self._take_back(ctx, place)
            return self._decide(ctx, place, "approved" if message.action_key == APPROVE else "rejected", "")
        text = message.text.strip(" ?？!！。.")
        if text.lower() in MINE:
            return self._mine(ctx)
        if text.lower() in INBOX:
            return self._inbox(ctx)
        if found := _DECIDES.fullmatch(message.text.strip()):
            place = ctx.store.get(f"inbox/{_me(ctx)}/{found[2].lower()}")
            if not isinstance(place, str):
                return Reply(text=self._say(ctx, "gone", id=found[2]), private=True)
            return self._decide(
                ctx, place, "approved" if found[1].lower() in _YES else "rejected", found[3].strip()[:LONGEST_NOTE]
            )
        if found := _TAKES_BACK.fullmatch(text):
            return self._take_back(ctx, f"request/{_me(ctx)}/{found[1].lower()}")
        return None

    def run_flow(self, ctx: PluginContext, flow: str, form: Any) -> Reply | str:
        """Sends the request to whom it concerns."""
        try:
            return self._send(ctx, form)
        except Trouble as trouble:
            return Reply(text=told(trouble, self.config.at(ctx.platform), ctx.language), private=True)

    # --- what the model may call ---

    def get_tools(self) -> Sequence[Any]:
        """One, where anybody could decide; a request itself is made with the form."""
        return super().get_tools() if self.config.on else ()

    @tool
    def my_leave_requests(self, ctx: PluginContext) -> list[dict[str, str]]:
        """The asker's own requests for leave, and what became of them."""
        return [
            {"id": r.id, "kind": r.kind, "from": r.start, "until": r.end, "state": r.state, "note": r.note}
            for r in self._own(ctx)
        ]

    # --- a request ---

    def _send(self, ctx: PluginContext, form: Leave) -> Reply:
        zone = ctx.now.tzinfo
        start, end = form.days.start.astimezone(zone), form.days.end.astimezone(zone)
        if end <= ctx.now:
            return Reply(text=self._say(ctx, "past", days=_days(start, end)), private=True)
        id_ = hashlib.sha256(f"approvals\n{ctx.key}".encode()).hexdigest()[:8]
        before = self._own(ctx)
        for other in before:
            if other.id != id_ and other.state in ("open", "approved") and _meet(other, start, end):
                text = self._say(ctx, "overlap", id=other.id, request=self._told(other, ctx.language))
                return Reply(text=text, private=True)
        approver, name = self._approver(ctx)
        if not approver:
            return Reply(text=self._say(ctx, "nobody"), private=True)
        if approver == _me(ctx):
            return Reply(text=self._say(ctx, "yourself"), private=True)
        request = Request(
            id=id_,
            asker=_me(ctx),
            asker_name=ctx.user_name or ctx.user,
            conversation=ctx.conversation,
            approver=approver,
            approver_name=name,
            kind=form.kind,
            start=start.isoformat(),
            end=end.isoformat(),
            reason=form.reason.strip(),
            language=ctx.language,
        )
        if not any(r.id == id_ for r in before):
            ctx.store.put(request.place, asdict(request))
            ctx.store.put(request.box, request.place)
        try:
            self._tell(ctx, approver, self._card(request), about=f"card {id_}")
        except NotReached:
            ctx.store.delete(request.place)
            ctx.store.delete(request.box)
            return Reply(text=self._say(ctx, "unreachable", boss=name), private=True)
        text = self._say(ctx, "sent", id=id_, boss=name, request=self._told(request, ctx.language))
        return Reply(text=text, buttons=(Button(text=self._say(ctx, "cancel"), key=CANCEL, value=request.place),), private=True)

    def _approver(self, ctx: PluginContext) -> tuple[str, str]:
        """Who decides for the asker, and what they are called; empty where nobody does. Raises Trouble, Unavailable."""
        named = self.config.approvers.get(_me(ctx)) or ""
        if not named and self.config.manager and self.config.at(ctx.platform) == ctx.platform:
            book = directory(ctx, self.config)
            boss = book.manager(book.me()) if book else None
            if boss:
                return f"{ctx.platform}:{boss.id}", boss.name
        return named or self.config.approver, self._say(ctx, "boss")

    def _card(self, request: Request) -> Reply:
        def say(key: str, **values: object) -> str:
            return said(WORDS, key, request.language, **values)

        return Reply(
            text=say("card", who=request.asker_name, request=self._told(request, request.language), id=request.id),
            buttons=(
                Button(text=say("approve"), key=APPROVE, value=request.place, style="primary"),
                Button(text=say("reject"), key=REJECT, value=request.place, style="danger"),
            ),
            private=True,
        )

    # --- its decision ---

    def _decide(self, ctx: PluginContext, place: str, state: State, note: str) -> Reply:
        request = self._request(ctx, place)
        if request is None:
            return Reply(text=self._say(ctx, "gone", id=place.rpartition("/")[2]), private=True)
        ctx = replace(ctx, language=request.language)
        if request.approver != _me(ctx):
            return Reply(text=self._say(ctx, "not_yours"), private=True)
        decided = replace(request, state=state, note=note, by=ctx.key)
        if request.by != ctx.key:
            if request.state != "open" or not ctx.store.swap(place, asdict(request), asdict(decided)):
                return self._already(ctx, place)
        else:
            decided = request  # this very turn, taken again
        ctx.store.delete(request.box)
        more = self._say(ctx, "note", note=_quoted(decided.note)) if decided.note else ""
        text = self._say(
            ctx,
            f"told_{decided.state}",
            id=request.id,
            boss=ctx.user_name or request.approver_name,
            request=self._told(request, ctx.language),
            note=more,
        )
        with suppress(NotReached):  # it is decided all the same; "my requests" shows it
            self._tell(ctx, request.asker, Reply(text=text, private=True), about=f"decided {request.id}", at=request.conversation)
        return Reply(
            text=self._say(ctx, f"you_{decided.state}", who=request.asker_name) + more,
            settled=self._settled(ctx, decided),
            private=True,
        )

    def _take_back(self, ctx: PluginContext, place: str) -> Reply:
        request = self._request(ctx, place)
        if request is None:
            return Reply(text=self._say(ctx, "gone", id=place.rpartition("/")[2]), private=True)
        if request.asker != _me(ctx):
            return Reply(text=self._say(ctx, "not_asker"), private=True)
        ctx = replace(ctx, language=request.language)
        gone = replace(request, state="cancelled", by=ctx.key)
        mine = request.by == ctx.key  # this very turn, taken again
        if not mine and (request.state != "open" or not ctx.store.swap(place, asdict(request), asdict(gone))):
            return self._already(ctx, place)
        ctx.store.delete(request.box)
        text = self._say(ctx, "told_cancelled", id=request.id, who=request.asker_name, request=self._told(request, ctx.language))
        with suppress(NotReached):  # the card says so when it is clicked
            self._tell(ctx, request.approver, Reply(text=text, private=True), about=f"cancelled {request.id}")
        done = self._say(ctx, "taken_back", id=request.id, boss=request.approver_name)
        return Reply(text=done, settled=done, private=True)

    def _already(self, ctx: PluginContext, place: str) -> Reply:
        now = self._request(ctx, place)
        if now is None:
            return Reply(text=self._say(ctx, "gone", id=place.rpartition("/")[2]), private=True)
        text = self._say(ctx, "already", id=now.id, state=self._say(ctx, now.state))
        return Reply(text=text, settled=self._settled(ctx, now) if now.state != "open" else "", private=True)

    def _settled(self, ctx: PluginContext, request: Request) -> str:
        state = self._say(ctx, request.state)
        return self._say(ctx, "settled", who=request.asker_name, request=self._told(request, ctx.language), state=state)

    # --- lists ---

    def _own(self, ctx: PluginContext) -> list[Request]:
        kept = ctx.store.list(f"request/{_me(ctx)}/").values()
        found = [Request(**r) for r in kept if isinstance(r, dict)]  # type: ignore[arg-type]  # as `asdict` wrote it
        return sorted(found, key=lambda r: r.start)

    def _mine(self, ctx: PluginContext) -> Reply:
        own = self._own(ctx)
        if not own:
            return Reply(text=self._say(ctx, "none"), private=True)
        lines = [
            self._say(
                ctx, "line", id=r.id, what=said(WORDS, r.kind, ctx.language), days=_request_days(r), state=self._say(ctx, r.state)
            )
            for r in own[-20:]
        ]
        waiting = [r for r in own if r.state == "open"]
        buttons = tuple(Button(text=f"{self._say(ctx, 'cancel')} {r.id}", key=CANCEL, value=r.place) for r in waiting[:4])
        return Reply(text="\n".join([self._say(ctx, "mine"), "", *lines]), buttons=buttons, private=True)

    def _inbox(self, ctx: PluginContext) -> Reply:
        places = [p for p in ctx.store.list(f"inbox/{_me(ctx)}/", most=10).values() if isinstance(p, str)]
        waiting = [r for p in places if (r := self._request(ctx, p)) and r.state == "open"]
        if not waiting:
            return Reply(text=self._say(ctx, "inbox_empty"), private=True)
        lines = [f"- `{r.id}` {r.asker_name}: {self._told(r, ctx.language)}" for r in waiting]
        buttons = tuple(
            Button(text=f"{self._say(ctx, word)} {r.id}", key=key, value=r.place)
            for r in waiting[:3]
            for word, key in (("approve", APPROVE), ("reject", REJECT))
        )
        return Reply(text="\n".join([self._say(ctx, "inbox"), "", *lines]), buttons=buttons, private=True)

    # --- small things ---

    def _request(self, ctx: PluginContext, place: str) -> Request | None:
        kept = ctx.store.get(place)
        return Request(**kept) if isinstance(kept, dict) else None  # type: ignore[arg-type]  # as `asdict` wrote it

    def _tell(self, ctx: PluginContext, person: str, reply: Reply, *, about: str, at: str = "") -> None:
        platform, _, user = person.partition(":")
        ctx.tell(user, reply, platform=platform, conversation=at if platform == "webchat" else "", about=about)

    def _told(self, request: Request, language: str) -> str:
        reason = said(WORDS, "because", language, reason=_quoted(request.reason)) if request.reason else ""
        what = said(WORDS, request.kind, language)
        return said(WORDS, "request", language, what=what, days=_request_days(request), reason=reason)

    def _say(self, ctx: PluginContext, key: str, **values: object) -> str:
        return said(WORDS, key, ctx.language, **values)


def _me(ctx: PluginContext) -> str:
    return f"{ctx.platform}:{ctx.user}"


def _meet(request: Request, start: datetime, end: datetime) -> bool:
    return datetime.fromisoformat(request.start) < end and datetime.fromisoformat(request.end) > start


def _request_days(request: Request) -> str:
    return _days(datetime.fromisoformat(request.start), datetime.fromisoformat(request.end))


def _days(start: datetime, end: datetime) -> str:
    """Whole days by their dates, the last one included; hours where they are meant."""
    if (start.hour, start.minute, end.hour, end.minute) == (0, 0, 0, 0):
        last = end - timedelta(days=1)
        return f"{start:%Y-%m-%d}" if last <= start else f"{start:%Y-%m-%d} – {last:%Y-%m-%d}"
    tail = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    return f"{start:%Y-%m-%d %H:%M} – {tail}"


def _quoted(text: str) -> str:
    """What somebody wrote, on one line."""
    return " ".join(text.split())
