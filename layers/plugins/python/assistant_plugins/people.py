"""Who somebody is, how to reach them, whom they report to and who leads a department: the directory with the asker's own rights.

    who is Ann Li? · what is Ann's email? · who does Ann report to? · who leads the design team? · 张三是谁 · 张三的上级是谁

Switched on by its configuration: `{"people": {"provider": "auto"}}`. What is found is for the asker's eyes only, in a group too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from assistant import BotPlugin, Button, MenuItem, Message, PluginContext, Reply, ToolFailed, tool
from assistant_plugins._directory import SCOPES, Directory, Led, Somebody, directory
from assistant_plugins._vendors import Trouble, Where, permissions, said, told

Wish = Literal["who", "mail", "phone", "manager", "reports", "leads"]
WISHES: tuple[Wish, ...] = ("who", "mail", "phone", "manager", "reports", "leads")
CHOSEN = "people.chosen"
"""Key of the buttons where several people have one name."""

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "which": "There are several. Which {name} do you mean?",
        "nobody": "The directory has nobody called “{name}” that you may see.",
        "no_department": "The directory has no department “{name}” that you may see.",
        "mail": "The mail address of {name} is {mail}.",
        "no_mail": "The directory shows you no mail address of {name}.",
        "phone": "The phone number of {name} is {phone}.",
        "no_phone": "The directory shows you no phone number of {name}.",
        "manager": "{name} reports to {boss}.",
        "no_manager": "The directory names nobody that {name} reports to.",
        "reports": "{count} people report to {name}:\n\n{lines}",
        "no_reports": "Nobody reports to {name}, as far as you may see.",
        "cannot_reports": "{title} cannot be asked who reports to somebody.",
        "leads": "**{department}** is led by {boss}.",
        "no_leader": "The directory names nobody who leads **{department}**.",
        "line_mail": "Mail: {mail}",
        "line_phone": "Phone: {phone}",
        "line_manager": "Reports to: {boss}",
        "menu": "Find somebody",
        "menu_text": "find a colleague",
        "how": "Ask for example: *Who is Ann Li?* *What is Ann's email?* *Who does Ann report to?* *Who leads the design team?*",
    },
    "zh-CN": {
        "which": "有好几位。你指的是哪一位{name}？",
        "nobody": "通讯录里没有你可见的“{name}”。",
        "no_department": "通讯录里没有你可见的部门“{name}”。",
        "mail": "{name}的邮箱是 {mail}。",
        "no_mail": "通讯录没有向你显示{name}的邮箱。",
        "phone": "{name}的电话是 {phone}。",
        "no_phone": "通讯录没有向你显示{name}的电话。",
        "manager": "{name}的上级是{boss}。",
        "no_manager": "通讯录里没有写{name}的上级。",
        "reports": "{name}有{count}位下属：\n\n{lines}",
        "no_reports": "在你可见的范围内，{name}没有下属。",
        "cannot_reports": "{title}不提供查询下属的接口。",
        "leads": "**{department}**的负责人是{boss}。",
        "no_leader": "通讯录里没有写**{department}**的负责人。",
        "line_mail": "邮箱：{mail}",
        "line_phone": "电话：{phone}",
        "line_manager": "上级：{boss}",
        "menu": "找同事",
        "menu_text": "找同事",
        "how": "例如可以问：“张三是谁？”“张三的邮箱是什么？”“张三的上级是谁？”“设计部的负责人是谁？”",
    },
}
HOW = frozenset({"find a colleague", "找同事"})

_MAIL = r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}"
_CALLED = rf"(?:{_MAIL}|@?[A-Z][\w'’-]*\.?(?:[ -][A-Z][\w'’-]*){{0,3}}|@?[\u4e00-\u9fff]{{2,4}})"
_ANY = rf"(?:{_MAIL}|@?[\w'’.-]+(?: [\w'’.-]+){{0,3}}|@?[\u4e00-\u9fff]{{2,8}})"
_THEIR = r"(?:['’]s?\s+|\s+)"
_PATTERNS: tuple[tuple[Wish, str], ...] = (
    ("leads", r"(?i:who (?:leads|heads|runs|manages|is (?:the )?(?:head|leader|manager|lead) of)) (?:the )?"
     r"(.{2,40}?)(?: (?:department|team|group))?"),
    ("leads", r"谁(?:负责|领导|管理|带)(.{2,20}?)(?:部门|团队)?"),
    ("leads", r"(.{2,20}?)(?:部门|团队)?的?(?:负责人|部门负责人|部长|部门领导|主任)(?:是谁|是哪位)?"),
    ("manager", rf"(?i:who does) ({_ANY}) (?i:report to)"),
    ("manager", rf"(?i:who(?: is|['’]s|s)) ({_ANY}?){_THEIR}(?i:manager|boss|supervisor|line manager)"),
    ("manager", rf"({_ANY}?)\s*的?(?:直属)?(?:上级|领导|主管|老板|经理)(?:是谁|是哪位)?"),
    ("manager", rf"({_ANY}?)\s*向谁汇报"),
    ("reports", rf"(?i:who (?:reports|report) to) ({_ANY})"),
    ("reports", rf"({_ANY}?)\s*的?(?:直接)?下属(?:有谁|是谁|有哪些)?"),
    ("mail", rf"(?i:what(?: is|['’]s)) ({_ANY}?){_THEIR}(?i:e-?mail(?: address)?|mail(?: address)?)"),
    ("mail", rf"(?i:(?:what(?: is|['’]s) )?(?:the )?e-?mail(?: address)? (?:of|for)) ({_ANY})"),
    ("mail", rf"({_ANY}?)\s*的?(?:邮箱|邮件地址|电子邮箱|email)(?:地址)?(?:是什么|是多少)?"),
    ("phone", rf"(?i:what(?: is|['’]s)) ({_ANY}?){_THEIR}(?i:(?:tele|mobile )?phone(?: number)?|extension)"),
    ("phone", rf"(?i:(?:what(?: is|['’]s) )?(?:the )?phone(?: number)? (?:of|for)) ({_ANY})"),
    ("phone", rf"({_ANY}?)\s*的?(?:电话|手机|手机号|电话号码|分机)(?:号码)?(?:是什么|是多少)?"),
    ("who", rf"(?i:who(?: is|['’]s|s)) ({_CALLED})"),
    ("who", r"([\u4e00-\u9fff]{2,4}|[A-Z]\w+(?: [A-Z]\w+)?)\s*是谁"),
    ("who", r"谁是\s*([\u4e00-\u9fff]{2,4}|[A-Z]\w+(?: [A-Z]\w+)?)"),
)  # fmt: skip
_ASKED = tuple((wish, re.compile(pattern)) for wish, pattern in _PATTERNS)
_OWN = re.compile(r"['’]s?$")
_NOT_NAMES = frozenset(
    {"你", "我", "他", "她", "它", "您", "你们", "我们", "他们", "这个", "那个", "大家", "公司", "负责人", "IT", "HR"}
)
_ME = frozenset({"my", "me", "i", "我", "我自己", "我们", "本人"})


def wish_in(text: str) -> tuple[Wish, str] | None:
    """What a sentence wants to know of the directory, and about whom or what; None for every other sentence."""
    said_ = " ".join(text.strip(" ?？!！。.").split())
    if len(said_) > 90:
        return None
    for wish, pattern in _ASKED:
        found = pattern.fullmatch(said_)
        if found and (name := _OWN.sub("", found[1].strip()).lstrip("@").removesuffix("的").strip()):
            if wish in ("who",) and (name in _NOT_NAMES or name.lower() in _ME):
                return None
            return wish, name
    return None


class People(BotPlugin):
    """Looks people up for the person who asks."""

    name = "people"
    version = "1.0.0"
    api = "^1.1"
    title: ClassVar = {"en": "People", "zh-CN": "找同事"}
    about: ClassVar = {
        "en": "Looks people up in the company's directory for the person who asks.",
        "zh-CN": "在公司通讯录中查找同事，以提问者本人的权限为准。",
    }
    Config = Where
    seconds: ClassVar[float] = 10.0

    def __init__(self, config: Where) -> None:
        super().__init__(config)
        self.permissions = permissions(config, SCOPES)

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        """One entry, where there is a directory."""
        if not self.config.at(ctx.platform):
            return ()
        return [MenuItem(title=self._say(ctx, "menu"), text=self._say(ctx, "menu_text"), key="people.find")]

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | None:
        """What the directory says, or None where it is not asked."""
        if not self.config.at(ctx.platform):
            return None
        if message.kind == "card_action" and message.action_key == CHOSEN:
            return self._clicked(ctx, message)
        if message.text.strip().lower() in HOW:
            return Reply(text=self._say(ctx, "how"))
        wished = wish_in(message.text)
        if wished is None:
            return None
        return self._guarded(ctx, lambda book: self._answer(ctx, book, *wished))

    # --- what the model may call ---

    def get_tools(self) -> Sequence[Any]:
        """Two, where there is a directory."""
        return super().get_tools() if self.config.provider else ()

    @tool
    def find_people(
        self, ctx: PluginContext, name: Annotated[str, "a name, or a mail address; 'me' for the person who asks"]
    ) -> list[dict[str, Any]]:
        """People in the company's directory: title, departments, mail, phone and manager, as the asker may see them."""

        def look(book: Directory) -> list[dict[str, Any]]:
            found = [book.me()] if name.strip().lower() == "me" else book.find(name)
            return [self._facts(book, book.whole(p)) for p in found[:5]]

        return self._for_tool(ctx, look)

    @tool
    def who_leads(self, ctx: PluginContext, department: str) -> list[dict[str, Any]]:
        """Who leads a department of the company."""

        def look(book: Directory) -> list[dict[str, Any]]:
            return [{"department": led.department, "leader": led.by.name if led.by else None} for led in book.leads(department)]

        return self._for_tool(ctx, look)

    def _for_tool(self, ctx: PluginContext, look: Callable[[Directory], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        book = directory(ctx, self.config)
        if book is None:
            raise ToolFailed("no directory is connected for this chat")
        try:
            return look(book)
        except Trouble as trouble:
            raise ToolFailed(told(trouble, self.config.at(ctx.platform), "en")) from trouble

    def _facts(self, book: Directory, who: Somebody) -> dict[str, Any]:
        boss = book.manager(who)
        facts = {
            "name": who.name,
            "title": who.title,
            "departments": list(who.departments),
            "mail": who.mail,
            "phone": who.phone,
            "reports to": boss.name if boss else "",
        }
        return {k: v for k, v in facts.items() if v}

    # --- answers ---

    def _answer(self, ctx: PluginContext, book: Directory, wish: Wish, name: str) -> Reply | None:
        if wish == "leads":
            return self._led(ctx, book.leads(name), name)
        if name.lower() in _ME:
            return self._about(ctx, book, wish, book.whole(book.me()))
        found = book.find(name)
        if not found:  # an unknown word after "who is" is rather a question to the knowledge
            return None if wish == "who" else self._private(self._say(ctx, "nobody", name=name))
        if len(found) > 1:
            buttons = tuple(
                Button(
                    text=f"{p.name} ({p.about})" if p.about else p.name,
                    key=CHOSEN,
                    value={"w": wish, "id": p.id, "name": p.name, "u": ctx.user, "l": ctx.language},
                )
                for p in found[:8]
            )
            return Reply(text=self._say(ctx, "which", name=name), buttons=buttons, private=True)
        return self._about(ctx, book, wish, book.whole(found[0]))

    def _clicked(self, ctx: PluginContext, message: Message) -> Reply | None:
        value = message.action_value
        if not isinstance(value, dict) or value.get("u") != ctx.user or value.get("w") not in WISHES:
            return None
        language, wish = str(value.get("l", ctx.language)), next(w for w in WISHES if w == value["w"])
        who = Somebody(id=str(value.get("id", "")), name=str(value.get("name", "")))
        return self._guarded(ctx, lambda book: self._about(ctx, book, wish, book.whole(who), language=language), language)

    def _about(self, ctx: PluginContext, book: Directory, wish: Wish, who: Somebody, *, language: str = "") -> Reply:
        def say(key: str, **values: object) -> str:
            return said(WORDS, key, language or ctx.language, **values)

        match wish:
            case "mail":
                return self._private(say("mail" if who.mail else "no_mail", name=who.name, mail=who.mail))
            case "phone":
                return self._private(say("phone" if who.phone else "no_phone", name=who.name, phone=who.phone))
            case "manager":
                boss = book.manager(who)
                text = say("manager", name=who.name, boss=_with_title(boss)) if boss else say("no_manager", name=who.name)
                return self._private(text)
            case "reports":
                return self._private(self._team(ctx, book, who, say))
        boss = book.manager(who)
        lines = [f"**{who.name}**" + (f", {who.title}" if who.title else "")]
        lines += [", ".join(who.departments)] if who.departments else []
        lines += [say("line_mail", mail=who.mail)] if who.mail else []
        lines += [say("line_phone", phone=who.phone)] if who.phone else []
        lines += [say("line_manager", boss=_with_title(boss))] if boss else []
        return self._private("  \n".join(lines))

    def _team(self, ctx: PluginContext, book: Directory, who: Somebody, say: Callable[..., str]) -> str:
        try:
            team = book.reports(who)
        except Trouble as trouble:
            if trouble.what != "unknown":
                raise
            return say("cannot_reports", title=self.config.at(ctx.platform).title())
        if not team:
            return say("no_reports", name=who.name)
        return say("reports", name=who.name, count=len(team), lines="\n".join(f"- {_with_title(p)}" for p in team[:50]))

    def _led(self, ctx: PluginContext, found: Sequence[Led], name: str) -> Reply | None:
        if not found:
            return None if len(name) > 20 else self._private(self._say(ctx, "no_department", name=name))
        lines = [
            self._say(ctx, "leads", department=led.department, boss=_with_title(led.by))
            if led.by
            else self._say(ctx, "no_leader", department=led.department)
            for led in found
        ]
        return self._private("\n\n".join(lines))

    def _private(self, text: str) -> Reply:
        return Reply(text=text, private=True)

    def _guarded(self, ctx: PluginContext, act: Callable[[Directory], Reply | None], language: str = "") -> Reply | None:
        book = directory(ctx, self.config)
        if book is None:
            return None
        try:
            return act(book)
        except Trouble as trouble:
            return self._private(told(trouble, self.config.at(ctx.platform), language or ctx.language))

    def _say(self, ctx: PluginContext, key: str, **values: object) -> str:
        return said(WORDS, key, ctx.language, **values)


def _with_title(who: Somebody) -> str:
    return f"{who.name} ({who.title})" if who.title else who.name
