"""What Feishu, Microsoft Graph and DingTalk know about a company: its people, departments and calendars.

As strict as they are: the asker's own live token with the scope that each call wants, ids and times in the vendor's form, unknown
fields refused, pages with tokens, limits on rates, idempotency keys that act once. All vendors tell of the same company.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from tests.simulators.base import Answer, BadCall, Call, Simulator, route
from tests.simulators.identity import Identity


@dataclass
class Person:
    """Somebody in the company; `busy` are pairs of aware moments."""

    id: str
    name: str
    mail: str = ""
    title: str = ""
    departments: tuple[str, ...] = ()
    manager: str = ""
    busy: list[tuple[datetime, datetime]] = field(default_factory=list)
    visible: bool = True
    """Whether the asker may see them."""


@dataclass
class Booked:
    """An event that was created."""

    title: str
    start: datetime
    end: datetime
    key: str
    attendees: list[str] = field(default_factory=list)
    zone: str = ""


class Workplace(Simulator):
    """The company's directory and calendars; `identity` knows whose token is whose and what it allows."""

    def __init__(self, identity: Identity, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self.identity = identity
        self.people: dict[str, Person] = {}
        self.departments: dict[str, tuple[str, str]] = {}
        """Name and leader by id."""
        self.rooms: dict[str, list[tuple[datetime, datetime]]] = {}
        self.events: dict[str, Booked] = {}
        self.page = 2
        """People on one page of a search."""
        self.limited = 0
        """Calls that are still answered with the vendor's "too many"."""
        self.app = ("ding-key", "ding-secret")

    def add(self, *people: Person) -> None:
        """Takes people in."""
        self.people |= {p.id: p for p in people}

    def named(self, query: str) -> list[Person]:
        """Those that a search finds."""
        return [p for p in self.people.values() if p.visible and (query.lower() in p.name.lower() or query.lower() == p.mail)]

    # --- Feishu ---

    def _feishu(self, call: Call, *scopes: str) -> str:
        """The asker's id. One of `scopes` has to be allowed."""
        if self.limited:
            self.limited -= 1
            raise BadCall(
                Answer(429, {"code": 99991400, "msg": "request trigger frequency limit"}, {"x-ogw-ratelimit-reset": "1"})
            )
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        known = self.identity.access.get(token)
        if known is None or known.vendor != "feishu" or known.revoked:
            raise BadCall(Answer(400, {"code": 99991668, "msg": "Invalid access token for authorization."}))
        if known.ends < self.clock():
            raise BadCall(Answer(401, {"code": 99991677, "msg": "Authentication token expired"}))
        if not set(scopes) & set(known.scopes):
            violations = [{"type": "action_privilege_required", "subject": s} for s in scopes]
            msg = f"Unauthorized. required one of these privileges: [{', '.join(scopes)}]"
            raise BadCall(Answer(400, {"code": 99991679, "msg": msg, "error": {"permission_violations": violations}}))
        if call.method == "POST" and call.body and "application/json" not in call.headers.get("content-type", ""):
            raise BadCall(Answer(400, {"code": 9499, "msg": "content type"}))
        return self.identity.who.ids["open_id"]

    def _good(self, data: Any) -> Answer:
        return Answer(200, {"code": 0, "msg": "success", "data": data})

    @route("GET", "/open-apis/search/v1/user")
    def feishu_search(self, call: Call) -> Answer:
        self._feishu(call, "contact:user:search")
        size = int(call.query.get("page_size", "20"))
        if not call.query.get("query") or not 1 <= size <= 200:
            return Answer(400, {"code": 48001, "msg": "invalid param"})
        found = [p for p in self.named(call.query["query"]) if p.id.startswith("ou_")]
        begin = int(call.query.get("page_token") or 0)
        end = begin + self.page
        users = [{"name": p.name, "open_id": p.id, "department_ids": list(p.departments)} for p in found[begin:end]]
        return self._good({"has_more": end < len(found), "page_token": str(end) if end < len(found) else "", "users": users})

    @route("GET", r"/open-apis/contact/v3/users/(?P<id>[^/]+)")
    def feishu_user(self, call: Call) -> Answer:
        self._feishu(call, "contact:contact.base:readonly", "contact:contact:readonly")
        granted = self.identity.access[call.headers["authorization"].removeprefix("Bearer ")].scopes
        person = self.people.get(call.params["id"])
        if call.query.get("user_id_type") != "open_id" or person is None:
            return Answer(400, {"code": 41012, "msg": "user id invalid error"})
        if not person.visible:
            return Answer(403, {"code": 41050, "msg": "no user authority error"})
        user: dict[str, Any] = {"open_id": person.id, "union_id": f"on{person.id[2:]}"}
        if "contact:user.base:readonly" in granted:
            user["name"] = person.name
        if "contact:user.email:readonly" in granted:
            user["email"] = person.mail
        if "contact:user.department:readonly" in granted:
            user |= {"department_ids": list(person.departments) or ["0"], "leader_user_id": person.manager}
        if "contact:user.employee:readonly" in granted:
            user["job_title"] = person.title
        return self._good({"user": user})

    @route("POST", "/open-apis/contact/v3/departments/search")
    def feishu_departments(self, call: Call) -> Answer:
        self._feishu(call, "contact:department.organize:readonly", "contact:contact:readonly")
        asked = call.json()
        if set(asked) != {"query"}:
            return Answer(400, {"code": 40001, "msg": "param error"})
        return self._good(
            {
                "items": [
                    {"name": name, "open_department_id": id_, "leader_user_id": leader}
                    for id_, (name, leader) in self.departments.items()
                    if asked["query"].lower() in name.lower()
                ],
                "has_more": False,
            }
        )

    @route("GET", r"/open-apis/contact/v3/departments/(?P<id>[^/]+)")
    def feishu_department(self, call: Call) -> Answer:
        self._feishu(call, "contact:department.base:readonly", "contact:contact:readonly")
        if call.params["id"] not in self.departments:
            return Answer(400, {"code": 43007, "msg": "dept not exist"})
        name, leader = self.departments[call.params["id"]]
        return self._good({"department": {"name": name, "open_department_id": call.params["id"], "leader_user_id": leader}})

    @route("POST", "/open-apis/calendar/v4/freebusy/list")
    def feishu_freebusy(self, call: Call) -> Answer:
        self._feishu(call, "calendar:calendar.free_busy:read", "calendar:calendar", "calendar:calendar:readonly")
        asked = call.json()
        if not {"time_min", "time_max"} <= set(asked) or len({"user_id", "room_id"} & set(asked)) != 1 or len(asked) != 3:
            return Answer(400, {"code": 190002, "msg": "invalid parameters in request"})
        low, high = _rfc3339(asked["time_min"]), _rfc3339(asked["time_max"])
        if "room_id" in asked:
            busy = self.rooms.get(asked["room_id"])
        else:
            person = self.people.get(asked["user_id"])
            if person and not person.visible:
                return Answer(403, {"code": 190006, "msg": "no permission to operate the calendar"})
            busy = person.busy if person else None
        if busy is None:
            return Answer(400, {"code": 191001, "msg": "invalid calendar_id"})
        met = [{"start_time": s.isoformat(), "end_time": e.isoformat()} for s, e in busy if s < high and e > low]
        return self._good({"freebusy_list": met})

    @route("POST", "/open-apis/calendar/v4/calendars/primary")
    def feishu_primary(self, call: Call) -> Answer:
        me = self._feishu(call, "calendar:calendar:read", "calendar:calendar:readonly")
        return self._good({"calendars": [{"calendar": {"calendar_id": f"cal-{me}", "type": "primary"}, "user_id": me}]})

    @route("POST", r"/open-apis/calendar/v4/calendars/(?P<cal>[^/]+)/events")
    def feishu_create(self, call: Call) -> Answer:
        me = self._feishu(call, "calendar:calendar.event:create", "calendar:calendar")
        key, asked = call.query.get("idempotency_key", ""), call.json()
        known = {"summary", "description", "start_time", "end_time", "attendee_ability", "location", "need_notification", "vchat"}
        if call.params["cal"] != f"cal-{me}":
            return Answer(403, {"code": 191002, "msg": "no calendar access_role"})
        if not 32 <= len(key) <= 128 or not set(asked) <= known or len(asked.get("summary", "")) > 1000:
            return Answer(400, {"code": 190002, "msg": "invalid parameters in request"})
        start, end = (self._moment(asked, n) for n in ("start_time", "end_time"))
        if start >= end:
            return Answer(400, {"code": 190002, "msg": "end before start"})
        zone = asked["start_time"].get("timezone", "Asia/Shanghai")
        id_ = self._create(Booked(asked.get("summary", ""), start, end, key, zone=zone))
        return self._good(
            {"event": {"event_id": id_, "summary": asked.get("summary", ""), "app_link": f"https://applink.feishu.cn/{id_}"}}
        )

    def _moment(self, asked: Mapping[str, Any], name: str) -> datetime:
        given = asked.get(name) or {}
        if set(given) - {"timestamp", "timezone"} or not re.fullmatch(r"\d{10}", str(given.get("timestamp", ""))):
            raise BadCall(Answer(400, {"code": 190002, "msg": f"invalid {name}"}))
        return datetime.fromtimestamp(int(given["timestamp"]), UTC)

    def _create(self, booked: Booked) -> str:
        for id_, there in self.events.items():
            if there.key == booked.key:
                return id_
        id_ = f"event-{len(self.events) + 1}"
        self.events[id_] = booked
        return id_

    @route("POST", r"/open-apis/calendar/v4/calendars/(?P<cal>[^/]+)/events/(?P<event>[^/]+)/attendees")
    def feishu_attendees(self, call: Call) -> Answer:
        self._feishu(call, "calendar:calendar.event:update", "calendar:calendar")
        event = self.events.get(call.params["event"])
        if event is None:
            return Answer(400, {"code": 193000, "msg": "invalid event_id"})
        for attendee in call.json().get("attendees") or ():
            wanted = {"user": "user_id", "resource": "room_id", "third_party": "third_party_email"}.get(attendee.get("type"))
            if wanted is None or set(attendee) != {"type", wanted}:
                return Answer(400, {"code": 190002, "msg": "invalid attendee"})
            id_ = attendee[wanted]
            if wanted == "user_id" and id_ not in self.people:
                return Answer(400, {"code": 195100, "msg": "user is dismissed or not exist in the tenant"})
            if id_ not in event.attendees:
                event.attendees.append(id_)
        return self._good({"attendees": []})

    # --- Microsoft Graph ---

    def _graph(self, call: Call, *scopes: str) -> Person:
        """The asker. One of `scopes` has to be allowed."""
        if self.limited:
            self.limited -= 1
            raise BadCall(Answer(429, {"error": {"code": "TooManyRequests"}}, {"retry-after": "1"}))
        known = self.identity.access.get(call.headers.get("authorization", "").removeprefix("Bearer "))
        if known is None or known.vendor != "microsoft" or known.revoked or known.ends < self.clock():
            raise BadCall(Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "Access token has expired."}}))
        if scopes and not set(scopes) & set(known.scopes):
            raise BadCall(Answer(403, {"error": {"code": "ErrorAccessDenied", "message": "Access is denied."}}))
        return self.people[self.identity.who.ids["oid"]]

    def _shown(self, person: Person, call: Call) -> dict[str, Any]:
        whole: dict[str, Any] = {
            "id": person.id, "displayName": person.name, "mail": person.mail, "userPrincipalName": person.mail,
            "jobTitle": person.title, "department": person.departments[0] if person.departments else None, "businessPhones": [],
        }  # fmt: skip
        chosen = call.query.get("$select", "").split(",")
        if unknown := [c for c in chosen if c and c not in whole]:
            raise BadCall(Answer(400, {"error": {"code": "BadRequest", "message": f"no property {unknown[0]}"}}))
        return {k: v for k, v in whole.items() if not call.query.get("$select") or k in chosen}

    @route("GET", r"/v1\.0/me")
    def graph_me(self, call: Call) -> Answer:
        return Answer(200, self._shown(self._graph(call), call))

    @route("GET", r"/v1\.0/users")
    def graph_users(self, call: Call) -> Answer:
        self._graph(call, "User.ReadBasic.All", "User.Read.All")
        people = [p for p in self.people.values() if _at_microsoft(p)]
        if search := call.query.get("$search"):
            if call.headers.get("consistencylevel") != "eventual":
                return Answer(400, {"error": {"code": "Request_UnsupportedQuery", "message": "ConsistencyLevel header"}})
            asked = re.fullmatch(r'"(displayName|mail):([^"]+)"', search)
            if asked is None:
                return Answer(400, {"error": {"code": "BadRequest", "message": "Syntax error in $search"}})
            people = [p for p in self.named(asked[2]) if p in people]
        if wanted := call.query.get("$filter"):
            asked = re.fullmatch(r"department eq '((?:[^']|'')*)'", wanted)
            if asked is None:
                return Answer(400, {"error": {"code": "BadRequest", "message": "Invalid filter clause"}})
            people = [p for p in people if asked[1].replace("''", "'") in p.departments]
        begin = int(call.query.get("$skiptoken") or 0)
        value = [self._shown(p, call) for p in people[begin : begin + self.page]]
        if "$filter" in call.query:
            value = [self._shown(p, call) for p in people]
            for shown, person in zip(value, people, strict=True):
                if person.manager and call.query.get("$expand") == "manager($select=id)":
                    shown["manager"] = {"id": person.manager}
            return Answer(200, {"value": value})
        more: dict[str, Any] = {}
        if begin + self.page < len(people):
            query = {k: v for k, v in call.query.items() if k != "$skiptoken"} | {"$skiptoken": str(begin + self.page)}
            from urllib.parse import urlencode

            more["@odata.nextLink"] = f"{self.base}/v1.0/users?{urlencode(query)}"
        return Answer(200, {"value": value, **more})

    @route("GET", r"/v1\.0/users/(?P<id>[^/]+)(?:/(?P<what>manager|directReports))?")
    def graph_user(self, call: Call) -> Answer:
        self._graph(call, "User.Read.All", *(() if call.params.get("what") else ("User.ReadBasic.All",)))
        person = self.people.get(unquote(call.params["id"]))
        if person is None:
            return Answer(404, {"error": {"code": "Request_ResourceNotFound"}})
        match call.params.get("what"):
            case "manager" if person.manager:
                return Answer(200, self._shown(self.people[person.manager], call))
            case "manager":
                return Answer(404, {"error": {"code": "Request_ResourceNotFound"}})
            case "directReports":
                found = [self._shown(p, call) for p in self.people.values() if p.manager == person.id]
                return Answer(200, {"value": found})
        return Answer(200, self._shown(person, call))

    @route("POST", r"/v1\.0/me/calendar/getSchedule")
    def graph_schedule(self, call: Call) -> Answer:
        self._graph(call, "Calendars.Read", "Calendars.ReadBasic", "Calendars.ReadWrite")
        asked = call.json()
        if set(asked) - {"schedules", "startTime", "endTime", "availabilityViewInterval"} or not asked.get("schedules"):
            return Answer(400, {"error": {"code": "ErrorInvalidRequest"}})
        if len(asked["schedules"]) > 20 or call.headers.get("prefer") != 'outlook.timezone="UTC"':
            return Answer(400, {"error": {"code": "ErrorInvalidRequest"}})
        low, high = _graph_time(asked["startTime"]), _graph_time(asked["endTime"])
        if high - low > timedelta(days=62):
            return Answer(400, {"error": {"code": "ErrorInvalidTimeInterval"}})
        value = []
        for mail in asked["schedules"]:
            person = next((p for p in self.people.values() if p.mail == mail and _at_microsoft(p)), None)
            busy = self.rooms.get(mail) if person is None else person.busy
            if busy is None:
                value.append({"scheduleId": mail, "error": {"responseCode": "ErrorMailRecipientNotFound"}})
                continue
            items = [{"status": "busy", "start": _graph_out(s), "end": _graph_out(e)} for s, e in busy if s < high and e > low]
            value.append({"scheduleId": mail, "scheduleItems": items, "availabilityView": ""})
        return Answer(200, {"value": value})

    @route("POST", r"/v1\.0/me/events")
    def graph_create(self, call: Call) -> Answer:
        self._graph(call, "Calendars.ReadWrite")
        asked = call.json()
        if set(asked) - {"subject", "start", "end", "attendees", "transactionId", "location", "body"}:
            return Answer(400, {"error": {"code": "BadRequest", "message": "unknown property"}})
        start, end = _graph_time(asked["start"]), _graph_time(asked["end"])
        if start >= end:
            return Answer(400, {"error": {"code": "ErrorCalendarEndDateIsEarlierThanStartDate"}})
        for attendee in asked.get("attendees") or ():
            if attendee.get("type") not in ("required", "optional", "resource") or "@" not in attendee["emailAddress"]["address"]:
                return Answer(400, {"error": {"code": "ErrorInvalidRecipients"}})
        booked = Booked(asked.get("subject", ""), start, end, asked.get("transactionId", ""), zone="UTC")
        booked.attendees = [a["emailAddress"]["address"] for a in asked.get("attendees") or ()]
        id_ = self._create(booked)
        return Answer(201, {"id": id_, "subject": booked.title, "webLink": f"https://outlook.office365.com/{id_}"})

    # --- DingTalk ---

    @route("POST", "/v1.0/oauth2/accessToken")
    def dingtalk_app(self, call: Call) -> Answer:
        asked = call.json()
        if (asked.get("appKey"), asked.get("appSecret")) != self.app:
            return Answer(400, {"code": "invalidClientIdOrSecret", "message": "wrong"})
        return Answer(200, {"accessToken": "ding-app-token", "expireIn": 7200})

    def _dingtalk(self, call: Call, *, old: bool) -> dict[str, Any]:
        if self.limited:
            self.limited -= 1
            raise BadCall(Answer(200, {"errcode": 90018}) if old else Answer(429, {"code": "Throttling.Api"}))
        given = call.query.get("access_token") if old else call.headers.get("x-acs-dingtalk-access-token")
        if given != "ding-app-token":
            raise BadCall(Answer(200, {"errcode": 40014}) if old else Answer(401, {"code": "InvalidAuthentication"}))
        asked: dict[str, Any] = call.json()
        return asked

    def _found(self, asked: Mapping[str, Any], ids: list[Any]) -> Answer:
        if set(asked) - {"queryWord", "offset", "size", "fullMatchField"} or not {"queryWord", "offset", "size"} <= set(asked):
            return Answer(400, {"code": "MissingOffset", "message": "offset is mandatory for this action."})
        return Answer(200, {"hasMore": False, "totalCount": len(ids), "list": ids})

    @route("POST", "/v1.0/contact/users/search")
    def dingtalk_search(self, call: Call) -> Answer:
        asked = self._dingtalk(call, old=False)
        return self._found(asked, [p.id for p in self.named(asked.get("queryWord", "")) if p.id.startswith("staff")])

    @route("POST", "/v1.0/contact/departments/search")
    def dingtalk_departments(self, call: Call) -> Answer:
        asked = self._dingtalk(call, old=False)
        found = [int(i) for i, (name, _) in self.departments.items() if i.isdigit() and asked.get("queryWord", "") in name]
        return self._found(asked, found)

    @route("POST", "/topapi/v2/user/get")
    def dingtalk_user(self, call: Call) -> Answer:
        person = self.people.get(self._dingtalk(call, old=True).get("userid", ""))
        if person is None:
            return Answer(200, {"errcode": 60121, "errmsg": "找不到该用户"})
        user = {
            "userid": person.id, "name": person.name, "org_email": person.mail, "title": person.title,
            "dept_id_list": [int(d) for d in person.departments], "manager_userid": person.manager,
        }  # fmt: skip
        return Answer(200, {"errcode": 0, "errmsg": "ok", "result": user})

    @route("POST", "/topapi/v2/department/get")
    def dingtalk_department(self, call: Call) -> Answer:
        id_ = str(self._dingtalk(call, old=True).get("dept_id", ""))
        if id_ not in self.departments:
            return Answer(200, {"errcode": 60003, "errmsg": "部门不存在"})
        name, leader = self.departments[id_]
        result = {"dept_id": int(id_), "name": name, "dept_manager_userid_list": [leader] if leader else []}
        return Answer(200, {"errcode": 0, "result": result})


def _at_microsoft(person: Person) -> bool:
    return not person.id.startswith(("ou_", "staff"))


def _rfc3339(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadCall(Answer(400, {"code": 190002, "msg": "time format"})) from None
    if moment.tzinfo is None or text.endswith("Z"):  # Feishu wants an offset in figures
        raise BadCall(Answer(400, {"code": 190002, "msg": "time format"}))
    return moment


def _graph_time(value: Mapping[str, Any]) -> datetime:
    if set(value) != {"dateTime", "timeZone"} or value["timeZone"] != "UTC":
        raise BadCall(Answer(400, {"error": {"code": "ErrorInvalidRequest", "message": json.dumps(dict(value))}}))
    return datetime.fromisoformat(value["dateTime"]).replace(tzinfo=UTC)


def _graph_out(moment: datetime) -> dict[str, str]:
    return {"dateTime": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": "UTC"}
