"""Who somebody is, as the directory of Feishu, Microsoft 365 or DingTalk shows it to the person who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from assistant import PluginContext
from assistant_plugins._vendors import DingTalk, Feishu, Microsoft, Trouble, Where, pages

SCOPES: Mapping[str, tuple[str, ...]] = {
    "feishu": (
        "contact:user:search", "contact:contact.base:readonly", "contact:user.base:readonly", "contact:user.email:readonly",
        "contact:user.department:readonly", "contact:user.employee:readonly", "contact:department.base:readonly",
        "contact:department.organize:readonly",
    ),
    "microsoft": ("User.Read.All",),
    "dingtalk": (),
}  # fmt: skip
"""What the asker allows, by provider. DingTalk's directory asks for none: its rights belong to the app."""

MOST: int = 20
"""People that one name may stand for."""


@dataclass(frozen=True, kw_only=True)
class Somebody:
    """An entry of the directory, as far as the asker may see it."""

    id: str
    name: str
    mail: str = ""
    title: str = ""
    departments: tuple[str, ...] = ()
    """Their names."""
    phone: str = ""
    manager: str = field(default="", repr=False)
    """The manager's id."""

    @property
    def about(self) -> str:
        """What tells two of one name apart."""
        return ", ".join(filter(None, (self.title, "/".join(self.departments), self.mail)))


@dataclass(frozen=True, kw_only=True)
class Led:
    """A department and who leads it (None: the directory does not say)."""

    department: str
    by: Somebody | None


class Directory(Protocol):
    """One vendor's directory, for one asker. Every method raises Trouble and Unavailable."""

    def find(self, name: str) -> list[Somebody]:
        """The people of that name or mail address; one who is called exactly so before those who are called like it."""

    def whole(self, who: Somebody) -> Somebody:
        """The entry with all that the asker may see."""

    def me(self) -> Somebody:
        """The asker."""

    def manager(self, who: Somebody) -> Somebody | None:
        """Whom somebody reports to."""

    def reports(self, who: Somebody) -> list[Somebody]:
        """Who reports to somebody. Raises Trouble("unknown") where the vendor cannot be asked."""

    def leads(self, department: str) -> list[Led]:
        """Departments called so, with their leaders."""


def directory(ctx: PluginContext, where: Where, scopes: Mapping[str, tuple[str, ...]] = SCOPES) -> Directory | None:
    """The directory for the asker; None where their platform has none."""
    provider = where.at(ctx.platform)
    made: Mapping[str, Any] = {"feishu": _Feishu, "microsoft": _Microsoft, "dingtalk": _DingTalk}
    found: Directory | None = made[provider](ctx, where, scopes.get(provider, ())) if provider in made else None
    return found


def best(people: Sequence[Somebody], name: str) -> list[Somebody]:
    """Those called exactly so, where there are any."""
    exact = [p for p in people if name.strip().lower() in (p.name.lower(), p.mail.lower())]
    return exact or list(people)


def _text(data: Mapping[str, Any], *names: str) -> str:
    return next((v for n in names if isinstance(v := data.get(n), str) and v), "")


class _Feishu:
    """Source: open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/reference/contact-v3, and search/v1/user."""

    USER = "/open-apis/contact/v3/users"

    def __init__(self, ctx: PluginContext, where: Where, scopes: tuple[str, ...]) -> None:
        self.at = Feishu(ctx, where, scopes)

    def find(self, name: str) -> list[Somebody]:
        found = pages(self.at, "/open-apis/search/v1/user", {"query": name, "page_size": MOST}, field="users", most=MOST)
        people = [Somebody(id=_text(u, "open_id"), name=_text(u, "name")) for u in found]
        chosen = best(people, name)
        return [self.whole(p) for p in chosen[:5]] if len(chosen) > 1 else chosen

    def whole(self, who: Somebody) -> Somebody:
        found = self._user(who.id)
        return replace(found, name=found.name or who.name) if found else who

    def _user(self, id_: str) -> Somebody | None:
        query = {"user_id_type": "open_id", "department_id_type": "open_department_id"}
        user = self.at.get(f"{self.USER}/{id_}", query).get("user")
        if not isinstance(user, dict):
            return None
        return Somebody(
            id=_text(user, "open_id") or id_,
            name=_text(user, "name"),
            mail=_text(user, "enterprise_email", "email"),
            title=_text(user, "job_title"),
            phone=_text(user, "mobile"),
            departments=tuple(filter(None, (self._department(str(d)) for d in (user.get("department_ids") or ())[:3]))),
            manager=_text(user, "leader_user_id"),
        )

    def _department(self, id_: str) -> str:
        if id_ == "0":  # the whole company
            return ""
        try:
            found = self.at.get(f"/open-apis/contact/v3/departments/{id_}", {"department_id_type": "open_department_id"})
        except Trouble as trouble:
            if trouble.what == "down":
                raise
            return ""  # not among what the asker may see
        return _text(found.get("department") or {}, "name")

    def me(self) -> Somebody:
        return Somebody(id=str(self.at.ctx.account("feishu").id), name=str(self.at.ctx.account("feishu").name))

    def manager(self, who: Somebody) -> Somebody | None:
        whole = who if who.manager else self.whole(who)
        return self._user(whole.manager) if whole.manager else None

    def reports(self, who: Somebody) -> list[Somebody]:
        raise Trouble("unknown")

    def leads(self, department: str) -> list[Led]:
        query = "user_id_type=open_id&department_id_type=open_department_id&page_size=10"
        found = self.at.post(f"/open-apis/contact/v3/departments/search?{query}", {"query": department})
        led = []
        for item in (found.get("items") or ())[:5]:
            leader = _text(item, "leader_user_id")
            led.append(Led(department=_text(item, "name"), by=self._user(leader) if leader else None))
        return led


class _Microsoft:
    """Source: learn.microsoft.com/graph/api/user-list, user-list-manager, user-list-directreports."""

    FIELDS = "id,displayName,mail,userPrincipalName,jobTitle,department,businessPhones"
    EVENTUAL: ClassVar = {"consistencylevel": "eventual"}

    def __init__(self, ctx: PluginContext, where: Where, scopes: tuple[str, ...]) -> None:
        self.at = Microsoft(ctx, where, scopes)

    def find(self, name: str) -> list[Somebody]:
        wanted = name.replace('"', " ").replace("\\", " ").strip()
        search = f'"mail:{wanted}"' if "@" in wanted else f'"displayName:{wanted}"'
        query: dict[str, str | int] = {"$search": search, "$select": self.FIELDS, "$top": MOST, "$count": "true"}
        data = self.at.get("/v1.0/users", query, headers=self.EVENTUAL)
        people = self._people(data)
        while (more := _text(data, "@odata.nextLink")) and len(people) < MOST and more.startswith(self.at.base):
            data = self.at.get(more, headers=self.EVENTUAL)
            people += self._people(data)
        return best(people[:MOST], name)

    def whole(self, who: Somebody) -> Somebody:
        return who if who.mail else self._person(self.at.get(f"/v1.0/users/{who.id}", {"$select": self.FIELDS}))

    def me(self) -> Somebody:
        return self._person(self.at.get("/v1.0/me", {"$select": self.FIELDS}))

    def manager(self, who: Somebody) -> Somebody | None:
        try:
            return self._person(self.at.get(f"/v1.0/users/{who.id}/manager", {"$select": self.FIELDS}))
        except Trouble as trouble:
            if trouble.what == "unknown":  # nobody is above them
                return None
            raise

    def reports(self, who: Somebody) -> list[Somebody]:
        return self._people(self.at.get(f"/v1.0/users/{who.id}/directReports", {"$select": self.FIELDS, "$top": 50}))

    def leads(self, department: str) -> list[Led]:
        """Graph knows departments as a word with each person alone: the leader is who reports to somebody outside."""
        name = department.replace("'", "''")
        query: dict[str, str | int] = {"$filter": f"department eq '{name}'", "$select": self.FIELDS, "$top": 100}
        data = self.at.get("/v1.0/users", query | {"$expand": "manager($select=id)"})
        raw = [u for u in data.get("value") or () if isinstance(u, dict)]
        if not raw:
            return []
        inside = {_text(u, "id") for u in raw}
        heads = [u for u in raw if _text(u.get("manager") or {}, "id") not in inside]
        return [Led(department=department, by=self._person(heads[0]) if len(heads) == 1 else None)]

    def _people(self, data: Mapping[str, Any]) -> list[Somebody]:
        return [self._person(u) for u in data.get("value") or () if isinstance(u, dict)]

    def _person(self, user: Mapping[str, Any]) -> Somebody:
        phones = user.get("businessPhones") or ()
        return Somebody(
            id=_text(user, "id"),
            name=_text(user, "displayName"),
            mail=_text(user, "mail", "userPrincipalName"),
            title=_text(user, "jobTitle"),
            departments=tuple(filter(None, (_text(user, "department"),))),
            phone=str(phones[0]) if phones else "",
        )


class _DingTalk:
    """Source: open.dingtalk.com/document/orgapp/address-book-user-search and query-user-details."""

    def __init__(self, ctx: PluginContext, where: Where, scopes: tuple[str, ...]) -> None:
        self.at = DingTalk(ctx, where, scopes)

    def find(self, name: str) -> list[Somebody]:
        if "@" in name:
            return []  # its search knows names alone
        data = self.at.post("/v1.0/contact/users/search", {"queryWord": name, "offset": 0, "size": 10})
        people = [self._user(str(i)) for i in data.get("list") or ()]
        return best([p for p in people if p], name)

    def whole(self, who: Somebody) -> Somebody:
        found = self._user(who.id) or who
        return replace(found, departments=tuple(filter(None, (self._department(d)[0] for d in found.departments))))

    def _user(self, id_: str) -> Somebody | None:
        try:
            user = self.at.post("/topapi/v2/user/get", {"userid": id_})
        except Trouble as trouble:
            if trouble.what == "unknown":
                return None
            raise
        return Somebody(
            id=_text(user, "userid") or id_,
            name=_text(user, "name"),
            mail=_text(user, "org_email", "email"),
            title=_text(user, "title"),
            phone=_text(user, "telephone", "mobile"),
            departments=tuple(str(d) for d in (user.get("dept_id_list") or ())[:3]),
            manager=_text(user, "manager_userid"),
        )

    def _department(self, id_: str) -> tuple[str, str]:
        """Name and leader."""
        if id_ == "1":  # the whole company
            return "", ""
        found = self.at.post("/topapi/v2/department/get", {"dept_id": int(id_)})
        leaders = found.get("dept_manager_userid_list") or ()
        return _text(found, "name"), str(leaders[0]) if leaders else ""

    def me(self) -> Somebody:
        account = self.at.ctx.account("dingtalk")
        return Somebody(id=str(account.ids[-1] if account.ids else account.id), name=str(account.name))

    def manager(self, who: Somebody) -> Somebody | None:
        whole = who if who.manager else (self._user(who.id) or who)
        found = self._user(whole.manager) if whole.manager else None
        return self.whole(found) if found else None

    def reports(self, who: Somebody) -> list[Somebody]:
        raise Trouble("unknown")

    def leads(self, department: str) -> list[Led]:
        data = self.at.post("/v1.0/contact/departments/search", {"queryWord": department, "offset": 0, "size": 5})
        led = []
        for id_ in data.get("list") or ():
            name, leader = self._department(str(id_))
            led.append(Led(department=name, by=self._user(leader) if leader else None))
        return led
