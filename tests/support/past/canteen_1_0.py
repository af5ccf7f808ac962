"""The example of contract 1.0, with everything that a plug-in of that version could do. Never changed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from assistant import (
    Ask,
    BotPlugin,
    Button,
    Event,
    Flow,
    MenuItem,
    Message,
    Permissions,
    PluginContext,
    Reply,
    ToolFailed,
    tool,
)


class Config(BaseModel):
    """What can be set."""

    dishes: list[str] = ["Noodles", "Soup"]
    greeting: str = "Enjoy"


class Place(BaseModel):
    """A place at the table."""

    people: Annotated[int, Ask({"en": "For how many people?", "zh-CN": "几个人？"})]
    floor: Annotated[Literal["first", "second"], Ask({"en": "On which floor?", "zh-CN": "几楼？"})] = "first"


class Canteen(BotPlugin):
    """Answers "lunch", keeps orders, offers tools, a menu and a form."""

    name = "canteen"
    version = "1.0.0"
    api = "^1.0"
    Config = Config
    permissions = Permissions(
        platforms=("webchat", "slack"),
        secrets=("api_key",),
        store=True,
        personal=("order-{user}",),
        tokens={"okta": ("profile.read",)},
    )
    flows = (
        Flow(
            name="take_place",
            form=Place,
            title={"en": "take a place", "zh-CN": "订座位"},
            examples=("take a place", "a place in the canteen", "I want a seat at the table", "订座位", "我要一个座位"),
        ),
    )
    seconds = 3.0

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.heard: list[str] = []

    def handle_message(self, ctx: PluginContext, message: Message) -> Reply | str | None:
        """Lunch, in the asker's language."""
        match message.text.strip().lower():
            case "lunch" | "午餐":
                count = int(str(ctx.store.get(f"order-{ctx.user}", 0))) + 1
                ctx.store.put(f"order-{ctx.user}", count, days=7)
                words = "第" if ctx.language == "zh-CN" else "Order"
                text = f"{self.config.greeting}: {' or '.join(self.config.dishes)}. {words} {count}."
                return Reply(text=text, buttons=(Button(text="Cancel", key="canteen.cancel", value=count),))
            case "key":
                return ctx.secret("api_key")
            case "who":
                return f"{ctx.account('okta').name} with {ctx.token('okta')}"
            case "menu of all":
                return ", ".join(item.title for item in ctx.menu)
            case "where":
                return f"{ctx.platform} {ctx.conversation} {ctx.direct} {ctx.now:%H:%M} {bool(ctx.key)}"
        if message.action_key == "canteen.cancel":
            ctx.store.delete(f"order-{ctx.user}")
            return "Cancelled."
        return None

    def get_menu(self, ctx: PluginContext) -> list[MenuItem]:
        """One entry."""
        return [MenuItem(title="Lunch", text="lunch", key="LUNCH")]

    def on_event(self, ctx: PluginContext, event: Event) -> None:
        """Remembers what happened."""
        self.heard.append(event.kind)

    @tool
    def dishes_of(self, day: date, kind: Annotated[str, "vegetarian or not"] = "any") -> list[str]:
        """What there is on a day."""
        if day.weekday() > 4:
            raise ToolFailed("the canteen is closed at weekends")
        return [f"{d} ({kind})" for d in self.config.dishes]

    @tool(writes=True, repeatable=True, seconds=10)
    def order(self, ctx: PluginContext, dish: str) -> str:
        """Order a dish"""
        return f"{dish} for {ctx.user}"

    def run_flow(self, ctx: PluginContext, flow: str, form: Place) -> Reply | str:
        """Takes the place."""
        return f"A place for {form.people} on the {form.floor} floor."
