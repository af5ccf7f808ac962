"""A person at work: a whole assistant with bundled plug-ins, the company's directory and calendars, a browser for consents."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

from assistant.dev.emulator import Emulator
from assistant.oauth.vault import Account, Tokens
from assistant.oauth.vault import Person as Chatter
from tests.simulators.identity import CLIENT, SECRET, Identity, Somebody
from tests.simulators.workplace import Person, Workplace
from tests.support.browser import Browser, Shown
from tests.support.house import WEBCHAT_KEY, House

PUBLIC = "https://assistant.example"
ZONE = ZoneInfo("Asia/Shanghai")
OID = "11111111-2222-3333-4444-555555555555"


class Office:
    """Ann's day. `say` and `press` give the newest turn of the web chat."""

    def __init__(
        self,
        aws: Emulator,
        identity: Identity,
        workplace: Workplace,
        *,
        configs: Mapping[str, Mapping[str, Any]],
        desk: Any = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        **more: Any,
    ) -> None:
        self.identity, self.workplace = identity, workplace
        own = {"client_id": CLIENT, "client_secret": SECRET, "api_base": identity.base, "tenant_id": "tenant-1"}
        given = {f"oauth-{p}": own for p in ("feishu", "microsoft", "dingtalk")}
        self.house = House(
            aws,
            public_url=PUBLIC,
            timezone=more.pop("timezone", ZONE.key),
            plugins=",".join([*configs, "help"]),
            plugin_configs=json.dumps(configs),
            secrets={**(desk.secrets if desk else {}), **given, **(secrets or {})},
            **more,
        )
        identity.clock = workplace.clock = self.house.now
        identity.redirects = {f"{PUBLIC}/oauth/{p}/callback" for p in ("feishu", "microsoft", "dingtalk")}

    @property
    def today(self) -> datetime:
        """Now, in the company's zone."""
        return datetime.fromtimestamp(self.house.now(), ZONE)

    def day(self, ahead: int, hour: int, minute: int = 0) -> datetime:
        """A moment so many days from now."""
        return (self.today + timedelta(days=ahead)).replace(hour=hour, minute=minute, second=0, microsecond=0)

    def say(self, text: str, *, user: str = "u", conversation: str = "c") -> dict[str, Any]:
        """The answer to a message."""
        self.house.say(text, user=user, conversation=conversation)
        self.house.drain()
        return self.house.turns(conversation)[-1]

    def press(
        self, button: Mapping[str, Any], *, user: str = "u", conversation: str = "c", of: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer to a click; `of` is the turn with the card."""
        body: dict[str, Any] = {
            "conversation": conversation,
            "user": user,
            "action": {"key": button["key"], "value": button["value"]},
        }
        if of:
            body["message_id"] = of["id"]
        reply = self.house.post("/webchat/messages", body, headers={"authorization": f"Bearer {WEBCHAT_KEY}"})
        assert reply.status == 202, reply
        self.house.drain()
        return self.house.turns(conversation)[-1]

    def choose(self, turn: Mapping[str, Any], label: str, **more: Any) -> dict[str, Any]:
        """The answer to a click on the button of `turn` that is called so."""
        found = [b for b in turn["buttons"] if label in b["text"]]
        assert found, f"no button {label!r} in {[b['text'] for b in turn['buttons']]}; {turn['text']}"
        return self.press(found[0], **more)

    def allow(self, turn: Mapping[str, Any] | str, **browser: Any) -> Shown:
        """Follows the link in a private question to its end, and lets what waited go on."""
        text = turn if isinstance(turn, str) else turn["text"]
        found = re.search(rf"{PUBLIC}/oauth/[^\s)|>\"\]]+", unescape(text))
        assert found, text
        shown = Browser(self.house.assistant, **browser).follow(found[0])
        self.house.drain()
        return shown

    def has_allowed(self, provider: str, *, user: str = "u") -> None:
        """As if `user` had allowed all that the plug-ins want at `provider`: what `allow` leads to, without the way there."""
        scopes = tuple(sorted(self.house.assistant.plugins.needs()[provider]))
        access, refresh = self.identity._issue(provider, scopes)
        ids = self.identity.who.ids
        known = {"feishu": ("open_id",), "microsoft": ("oid", "sub"), "dingtalk": ("dingtalk_union", "staff")}[provider]
        account = Account(id=ids[known[0]], name=self.identity.who.name, ids=tuple(ids[k] for k in known))
        tokens = Tokens(access=access, refresh=refresh, lives=self.identity.lives, scopes=scopes)
        person = Chatter(self.house.settings.tenant, "webchat", user)
        self.house.assistant.authorisations.vault.store(person, provider, tokens, asked=scopes, account=account)

    @property
    def last(self) -> dict[str, Any]:
        """The newest turn of the web chat."""
        return self.house.turns()[-1]


def staff(workplace: Workplace) -> None:
    """Everybody, at Feishu and at Microsoft."""
    workplace.departments = {"od-design": ("Design", "ou_wang"), "od-sales": ("Sales", ""), "7": ("设计部", "staff-wang")}
    workplace.add(
        Person("ou_ann", "Ann", "ann@example.com", "Designer", ("od-design",), "ou_wang"),
        Person("ou_bob", "Bob Miller", "bob@example.com", "Engineer", ("od-sales",), "ou_wang"),
        Person("ou_zhang1", "张三", "zhangsan@example.com", "设计师", ("od-design",), "ou_wang"),
        Person("ou_li", "李四", "lisi@example.com", "销售", ("od-sales",), "ou_wang"),
        Person("ou_wang", "王芳", "wang@example.com", "Head of design", ("od-design",), ""),
        Person(OID, "Ann", "ann@example.com", "Designer", ("Design",), "22222222-0000-0000-0000-00000000000b"),
        Person("22222222-0000-0000-0000-00000000000a", "Bob Miller", "bob@example.com", "Engineer", ("Design",), OID),
        Person("22222222-0000-0000-0000-00000000000b", "Wang Fang", "wang@example.com", "Head of design", ("Design",), ""),
        Person("staff-ann", "Ann", "ann@example.com", "Designer", ("7",), "staff-wang"),
        Person("staff-li", "李四", "lisi@example.com", "销售", ("7",), "staff-wang"),
        Person("staff-wang", "王芳", "wang@example.com", "设计总监", ("7",), ""),
    )


__all__ = ["OID", "PUBLIC", "ZONE", "Office", "Person", "Somebody", "staff"]
