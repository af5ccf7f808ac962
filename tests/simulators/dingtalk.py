"""DingTalk as a strict local server, and what it signs: robot messages, events, card clicks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant.messages import Webhook
from assistant.platforms import crypto
from tests.simulators.base import WORLD, Answer, BadCall, Call, Simulator, route


def robot_call(data: Any, *, secret: str, stamp: int | str) -> Webhook:
    """A robot message as DingTalk posts it; `stamp` in ms. `data`: what is encoded as JSON, or bytes as they are."""
    body = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")
    sign = _hmac(secret, f"{stamp}\n{secret}")
    return Webhook(platform="dingtalk", channel="robot", headers={"timestamp": str(stamp), "sign": sign}, body=body)


def card_call(data: Any, *, secret: str, stamp: int | str) -> Webhook:
    """A click on a card as DingTalk posts it."""
    body = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()
    headers = {"x-ddpaas-signature-timestamp": str(stamp), "x-ddpaas-signature": _hmac(secret, str(stamp))}
    return Webhook(platform="dingtalk", channel="cards", headers=headers, body=body)


def event_call(
    data: Any, *, token: str, aes_key: str, owner: str, stamp: int | str, name: str = "signature", stamp_name: str = "timestamp"
) -> Webhook:
    """An event as DingTalk posts it."""
    plain = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()
    sealed = crypto.seal_envelope(plain, key=crypto.key_from_text(aes_key, field="k"), receive_id=owner)
    query = {name: crypto.sorted_sha1(token, str(stamp), "n0nce", sealed), stamp_name: str(stamp), "nonce": "n0nce"}
    body = json.dumps({"encrypt": sealed}).encode()
    return Webhook(platform="dingtalk", channel="events", query=query, body=body)


def _hmac(secret: str, text: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


@dataclass
class Card:
    """A delivered card."""

    track: str
    chat: str
    parameters: dict[str, str]
    guids: set[str] = field(default_factory=set)
    finished: bool = False


@dataclass
class Said:
    """A person's words."""

    who: str
    text: str


def error(status: int, code: str, message: str = "no", **more: Any) -> BadCall:
    return BadCall(Answer(status, {"code": code, "message": message, "requestid": "req-1"} | more))


class DingTalkSimulator(Simulator):
    """Play with `groups`, `people`, `permissions`, `files`; what people see is in `visible(conversation or staff id)`."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = WORLD,
        app_key: str = "dingapp",
        app_secret: str = "app-secret",
        robot_code: str = "dingbot",
        template: str = "template.schema",
    ) -> None:
        super().__init__(clock=clock)
        self.app = (app_key, app_secret)
        self.robot_code = robot_code
        self.template = template
        self.groups = {"cidAAA=="}
        self.people = {"staff1", "staff2"}
        self.permissions = {"qyapi_robot_sendmsg", "Card.Instance.Write", "Card.Streaming.Write"}
        self.sessions: dict[str, tuple[str, float]] = {}
        self.files: dict[str, bytes] = {}
        self.media: dict[str, bytes] = {}
        self.directory: dict[int, tuple[str, int, list[str]]] = {}
        """Departments: name, the one above, managers."""
        self.departments: dict[str, list[list[int]]] = {}
        """Of people: each of their departments with those above it, up to the company (1)."""
        self.cards: dict[str, Card] = {}
        self.routes: dict[str, str] = {}
        self.tokens: dict[str, float] = {}
        self.made_tokens = 0
        self.throttled: set[str] = set()
        self.mentioned: list[str] = []
        self.private: dict[str, str] = {}
        """Ids of private conversations → the person, whose chat it is."""
        self._shown: dict[str, list[str | Card | Said]] = {}
        self._posted: dict[str, list[float]] = {}
        self.stopped: dict[str, float] = {}
        """Conversations that were written to too often → until when the robot is stopped there."""

    # --- what a test does ---

    def session(self, conversation: str, *, minutes: float = 90) -> tuple[str, int]:
        """A reply address for a conversation, and its end in ms, as they stand in a robot message."""
        name = f"s{len(self.sessions)}"
        until = self.clock() + minutes * 60
        self.sessions[name] = (conversation, until)
        return f"https://oapi.dingtalk.com/robot/sendBySession?session={name}", int(until * 1000)

    def visible(self, conversation: str) -> list[str]:
        """What is read in a conversation (a staff id: the private chat with that person), in order."""
        return [m if isinstance(m, str) else self._read(m) for m in self.everything(conversation) if not isinstance(m, Said)]

    def everything(self, conversation: str) -> list[str | Card | Said]:
        """What stands in a conversation, people's words too."""
        with self.lock:
            return list(self._shown.get(self.private.get(conversation, conversation), ()))

    def said(self, conversation: str, who: str, text: str) -> None:
        """Somebody writes; the robot message for it is made by `robot_call`."""
        self._put(conversation, Said(who, text))

    def _put(self, conversation: str, message: str | Card | Said) -> None:
        with self.lock:
            self._shown.setdefault(self.private.get(conversation, conversation), []).append(message)

    def expire_tokens(self) -> None:
        self.tokens.clear()

    def forgive(self) -> None:
        """Forgets the faults that have not happened yet."""
        with self.lock:
            self._faults.clear()

    def clicks(self, track: str) -> list[dict[str, Any]]:
        """What the buttons of a card send back."""
        return [dict(b) for b in json.loads(self.cards[track].parameters.get("buttons") or "[]")]

    @staticmethod
    def _read(card: Card) -> str:
        buttons = "".join(f"\n[{b['text']}]" for b in json.loads(card.parameters.get("buttons") or "[]"))
        return card.parameters.get("content", "") + buttons + ("" if card.finished else " ▍")

    # --- auth ---

    @route("POST", r"/v1.0/oauth2/accessToken")
    def token(self, call: Call) -> Answer:
        body = call.json()
        if (body.get("appKey"), body.get("appSecret")) != self.app:
            raise error(400, "invalidClientIdOrSecret")
        now = self.clock()
        alive = [t for t, until in self.tokens.items() if until > now]
        if not alive:
            self.made_tokens += 1
            alive = [f"token{self.made_tokens}"]
            self.tokens[alive[0]] = now + 7200
        return Answer(200, {"accessToken": alive[0], "expireIn": int(self.tokens[alive[0]] - now)})

    def before(self, call: Call) -> Answer | None:
        if call.path in ("/v1.0/oauth2/accessToken", "/robot/sendBySession") or call.path.startswith("/store/"):
            return None
        if call.path.startswith("/v1.0/"):
            if self.tokens.get(call.headers.get("x-acs-dingtalk-access-token", ""), 0) <= self.clock():
                raise error(400, "InvalidAuthentication")
        elif self.tokens.get(call.query.get("access_token", ""), 0) <= self.clock():
            return Answer(200, {"errcode": 40014, "errmsg": "invalid access_token"})
        return None

    def _needs(self, permission: str) -> None:
        if permission not in self.permissions:
            detail = {"requiredScopes": [permission]}
            raise error(403, "Forbidden.AccessDenied.AccessTokenPermissionDenied", accessdenieddetail=detail)

    # --- robot ---

    @route("POST", r"/robot/sendBySession")
    def by_session(self, call: Call) -> Answer:
        conversation, until = self.sessions.get(call.query.get("session", ""), ("", 0.0))
        if until <= self.clock():
            return Answer(200, {"errcode": 300001, "errmsg": "session is expired"})
        if self._too_fast(conversation):
            return Answer(200, {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"})
        body = call.json()
        match body.get("msgtype"):
            case "text":
                text = body["text"]["content"]
            case "markdown":
                text = body["markdown"]["text"]
                if not body["markdown"].get("title"):
                    return Answer(200, {"errcode": 40035, "errmsg": "title is missing"})
            case _:
                return Answer(200, {"errcode": 40035, "errmsg": "unknown msgtype"})
        if not text or len(text.encode()) > 20_000:
            return Answer(200, {"errcode": 40035, "errmsg": "bad content"})
        self.mentioned += [u for u in body.get("at", {}).get("atUserIds", ()) if f"@{u}" in text]
        self._put(conversation, text)
        return Answer(200, {"errcode": 0, "errmsg": "ok"})

    @route("POST", r"/v1.0/robot/groupMessages/send")
    def to_group(self, call: Call) -> Answer:
        self._needs("qyapi_robot_sendmsg")
        body = call.json()
        self._robot(body)
        if body.get("openConversationId") not in self.groups:
            raise error(400, "invalid.openConversationId")
        if self._too_fast(body["openConversationId"]):
            raise error(400, "send.too.fast")
        return self._show(body["openConversationId"], body)

    def _too_fast(self, conversation: str) -> bool:
        """Whether the conversation has had its 20 messages of this minute; then it takes none for ten minutes."""
        now = self.clock()
        if self.stopped.get(conversation, 0.0) > now:
            return True
        posted = [t for t in self._posted.get(conversation, ()) if now - t < 60]
        if len(posted) >= 20:
            self.stopped[conversation] = now + 600
            return True
        self._posted[conversation] = [*posted, now]
        return False

    @route("POST", r"/v1.0/robot/oToMessages/batchSend")
    def to_people(self, call: Call) -> Answer:
        self._needs("qyapi_robot_sendmsg")
        body = call.json()
        self._robot(body)
        (user,) = body["userIds"]
        if user not in self.people:
            return Answer(200, {"invalidStaffIdList": [user], "flowControlledStaffIdList": []})
        if user in self.throttled:
            return Answer(200, {"invalidStaffIdList": [], "flowControlledStaffIdList": [user]})
        return self._show(user, body)

    def _robot(self, body: Mapping[str, Any]) -> None:
        if body.get("robotCode") != self.robot_code:
            raise error(400, "resource.not.found")

    def _show(self, conversation: str, body: Mapping[str, Any]) -> Answer:
        raw = body.get("msgParam")
        if not isinstance(raw, str):
            raise error(400, "invalidParameter.msgParam.invalid")
        if len(raw.encode()) > 15_000:
            raise error(400, "invalidParameter.msgParam.tooLong")
        values = json.loads(raw)
        match body.get("msgKey"):
            case "sampleText":
                text = values["content"]
            case "sampleMarkdown" if values.get("title"):
                text = values["text"]
            case "sampleImageMsg" if values["photoURL"] in self.media:
                text = f"[image {values['photoURL']}]"
            case "sampleFile" if values["mediaId"] in self.media and values["fileType"]:
                text = f"[file {values['fileName']}]"
            case _:
                raise error(400, "invalidParameter.msgKey.invalid")
        if not text:
            raise error(400, "invalidParameter.msgParam.invalid")
        self._put(conversation, text)
        return Answer(200, {"processQueryKey": f"pq{sum(map(len, self._shown.values()))}"})

    @route("POST", r"/v1.0/robot/otoMessages/batchRecall")
    def recall(self, call: Call) -> Answer:
        self._needs("qyapi_robot_sendmsg")
        return Answer(200, {"successResult": [], "failedResult": dict.fromkeys(call.json()["processQueryKeys"], "not found")})

    # --- cards ---

    @route("POST", r"/v1.0/card/callbacks/register")
    def register(self, call: Call) -> Answer:
        self._needs("Card.Instance.Write")
        body = call.json()
        if not body.get("apiSecret") or not str(body.get("callbackUrl")).startswith("https://"):
            raise error(400, "param.error")
        self.routes[body["callbackRouteKey"]] = body["callbackUrl"]
        return Answer(200, {"success": True, "result": {"callbackUrl": body["callbackUrl"]}})

    @route("POST", r"/v1.0/card/instances/createAndDeliver")
    def deliver(self, call: Call) -> Answer:
        self._needs("Card.Instance.Write")
        body = call.json()
        track = body.get("outTrackId", "")
        if body.get("cardTemplateId") != self.template or not 0 < len(track) <= 64:
            raise error(400, "param.error")
        if body.get("callbackType") != "HTTP" or not body.get("callbackRouteKey"):
            raise error(400, "param.error")
        kind, _, chat = str(body.get("openSpaceId")).removeprefix("dtv1.card//").partition(".")
        known = {"IM_GROUP": self.groups, "IM_ROBOT": self.people}.get(kind, set())
        model = body.get("imGroupOpenDeliverModel" if kind == "IM_GROUP" else "imRobotOpenDeliverModel", {})
        good = chat in known and model.get("robotCode") == self.robot_code
        good &= kind != "IM_ROBOT" or model.get("spaceType") == "IM_ROBOT"
        if not good:
            results = [{"spaceId": chat, "spaceType": kind, "success": False, "errorMsg": "space not found"}]
            return Answer(200, {"success": True, "result": {"outTrackId": track, "deliverResults": results}})
        self._sizes(body["cardData"]["cardParamMap"])
        if track not in self.cards:
            self.cards[track] = Card(track, chat, dict(body["cardData"]["cardParamMap"]))
            self._put(chat, self.cards[track])
        results = [{"spaceId": chat, "spaceType": kind, "success": True, "carrierId": "c1"}]
        return Answer(200, {"success": True, "result": {"outTrackId": track, "deliverResults": results}})

    @staticmethod
    def _sizes(parameters: Mapping[str, Any]) -> None:
        if any(not isinstance(v, str) or len(v.encode()) > 1024 for v in parameters.values()):
            raise error(400, "param.cardParamMapTooLong")

    def _card(self, track: str) -> Card:
        if track not in self.cards:
            raise error(400, "param.outTrackId.notExist")
        return self.cards[track]

    @route("PUT", r"/v1.0/card/instances")
    def change(self, call: Call) -> Answer:
        self._needs("Card.Instance.Write")
        body = call.json()
        card = self._card(body.get("outTrackId", ""))
        self._sizes(body["cardData"]["cardParamMap"])
        if not body.get("cardUpdateOptions", {}).get("updateCardDataByKey"):
            card.parameters.clear()
        card.parameters |= body["cardData"]["cardParamMap"]
        return Answer(200, {"success": True, "result": True})

    @route("PUT", r"/v1.0/card/streaming")
    def stream(self, call: Call) -> Answer:
        self._needs("Card.Streaming.Write")
        body = call.json()
        card = self._card(body.get("outTrackId", ""))
        if not body.get("guid") or body.get("key") != "content" or body.get("isFull") is not True:
            raise error(400, "param.error")
        if not body.get("content") or len(body["content"].encode()) > 3072:
            raise error(400, "param.content.tooLong")
        if body["guid"] not in card.guids:
            card.guids.add(body["guid"])
            card.parameters["content"] = body["content"]
            card.finished = bool(body.get("isFinalize"))
        return Answer(200, {"success": True, "result": True})

    # --- files ---

    @route("POST", r"/v1.0/robot/messageFiles/download")
    def download(self, call: Call) -> Answer:
        self._needs("qyapi_robot_sendmsg")
        body = call.json()
        self._robot(body)
        if body.get("downloadCode") not in self.files:
            raise error(400, "resource.not.found")
        return Answer(200, {"downloadUrl": f"{self.base}/store/{body['downloadCode']}"})

    @route("GET", r"/store/(?P<code>.+)")
    def store(self, call: Call) -> Answer:
        return Answer(200, self.files[call.params["code"]])

    @route("POST", r"/media/upload")
    def upload(self, call: Call) -> Answer:
        if call.query.get("type") not in ("image", "file", "voice", "video") or b'name="media"' not in call.body:
            return Answer(200, {"errcode": 40035, "errmsg": "bad parameter"})
        name = f"@media{len(self.media)}"
        self.media[name] = call.body
        return Answer(200, {"errcode": 0, "errmsg": "ok", "media_id": name, "type": call.query["type"]})

    @route("POST", r"/topapi/v2/department/listsub")
    def below(self, call: Call) -> Answer:
        """The departments right below one."""
        here = call.json()["dept_id"]
        listed = [{"dept_id": d, "name": n, "parent_id": p} for d, (n, p, _) in self.directory.items() if p == here]
        return Answer(200, {"errcode": 0, "errmsg": "ok", "result": listed})

    @route("POST", r"/topapi/v2/department/get")
    def department(self, call: Call) -> Answer:
        """One department with its managers."""
        name, parent, managers = self.directory[call.json()["dept_id"]]
        about = {"name": name, "parent_id": parent, "dept_manager_userid_list": managers}
        return Answer(200, {"errcode": 0, "errmsg": "ok", "result": about})

    @route("POST", r"/topapi/v2/user/get")
    def person(self, call: Call) -> Answer:
        """One person."""
        user = call.json()["userid"]
        return Answer(200, {"errcode": 0, "errmsg": "ok", "result": {"userid": user, "name": f"Name of {user}"}})

    @route("POST", r"/topapi/v2/department/listparentbyuser")
    def departments_of(self, call: Call) -> Answer:
        """A person's departments, each with those above it."""
        user = call.json().get("userid")
        if user not in self.departments:
            return Answer(200, {"errcode": 60121, "errmsg": "user not found"})
        lists = [{"parent_dept_id_list": line} for line in self.departments[user]]
        return Answer(200, {"errcode": 0, "errmsg": "ok", "result": {"parent_list": lists}})

    @route("GET", r"/auth/scopes")
    def scopes(self, call: Call) -> Answer:
        return Answer(200, {"errcode": 0, "errmsg": "ok", "auth_org_scopes": {"authed_user": [], "authed_dept": [1]}})
