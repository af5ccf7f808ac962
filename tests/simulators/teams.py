"""Microsoft's side of Teams: sign-in, the keys of the connector, and the connector with its chats, streams, limits."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from assistant.messages import Webhook
from tests.simulators.base import WORLD, Answer, BadCall, Call, Simulator, route

APP = "0a11b22c-3d44-4e55-8f66-777788889999"
BOT = f"28:{APP}"
TENANT = "11112222-3333-4444-5555-666677778888"
ISSUER = "https://api.botframework.com"
KID = "connector-key-1"

STREAM_LIFE = 120.0
SENDS = ((7, 1.0), (8, 2.0), (60, 30.0))


@functools.cache
def rsa_key(name: str = "connector") -> rsa.RSAPrivateKey:
    """A private key, the same for the same name in one process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Post:
    """One message of the bot as people see it."""

    id: str
    text: str
    attachments: list[dict[str, Any]] = field(default_factory=list)
    entities: list[dict[str, Any]] = field(default_factory=list)
    reply_to: str = ""
    edits: int = 0

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """The buttons on its cards."""
        return [action for card in self.attachments for action in (card.get("content") or {}).get("actions", [])]


@dataclass
class Stream:
    """A message that grows."""

    id: str
    started: float
    sequence: int = 1
    text: str = ""
    informative: str = ""
    last: float = 0.0
    state: str = "open"


@dataclass
class Chat:
    """A conversation."""

    id: str
    direct: bool
    posts: list[Post] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    typing: int = 0
    sent_at: list[float] = field(default_factory=list)
    closed: str = ""
    streaming: bool = True
    members: set[str] = field(default_factory=set)
    """Ids as in `from.id`, the bot not among them."""


class TeamsSimulator(Simulator):
    """`login.microsoftonline.com`, `login.botframework.com` and the connector of one tenant, at one address."""

    def __init__(self, *, clock: Callable[[], float] = WORLD) -> None:
        super().__init__(clock=clock)
        self.password = "the-client-secret"
        self.token_life = 3600
        self.tokens: dict[str, float] = {}
        self.chats: dict[str, Chat] = {}
        self.keys: list[dict[str, Any]] = [self.published(KID)]
        self.files: dict[str, tuple[bytes, str, bool]] = {}
        self._count = 0

    @property
    def secrets(self) -> dict[str, str]:
        """The secret fields of the bot."""
        return {
            "app_id": APP,
            "app_password": self.password,
            "tenant_id": TENANT,
            "api_base": self.base,
            "openid_metadata": f"{self.base}/v1/.well-known/openidconfiguration",
        }

    @property
    def service_url(self) -> str:
        """Address of the connector as activities name it."""
        return f"{self.base}/emea/"

    def published(self, kid: str, *, name: str = "connector", endorsements: tuple[str, ...] = ("msteams",)) -> dict[str, Any]:
        """A public key as Microsoft publishes it."""
        jwk: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(rsa_key(name).public_key()))
        return {**jwk, "kid": kid, "use": "sig", "endorsements": list(endorsements)}

    def expire_tokens(self) -> None:
        """No token given so far is good any more."""
        self.tokens.clear()

    # --- what people do ---

    def chat(self, id_: str, *, direct: bool = True, **more: Any) -> Chat:
        """A conversation with the bot."""
        self.chats[id_] = Chat(id_, direct, **more)
        return self.chats[id_]

    def activity(self, conversation: str, text: str = "", /, *, kind: str = "message", **more: Any) -> dict[str, Any]:
        """What the connector sends when Ann writes; in a group `text` names the bot first."""
        chat = self.chats.get(conversation) or self.chat(conversation, direct="@thread" not in conversation)
        self._count += 1
        named = "<at>Desk</at>"
        mention = {"type": "mention", "mentioned": {"id": BOT, "name": "Desk"}, "text": named}
        made: dict[str, Any] = {
            "type": kind,
            "id": f"17000000{self._count:05d}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.clock())) + ".1234567Z",
            "serviceUrl": self.service_url,
            "channelId": "msteams",
            "from": {"id": "29:ann", "name": "Ann & Co", "aadObjectId": "aad-ann"},
            "recipient": {"id": BOT, "name": "Desk"},
            "conversation": {
                "id": conversation,
                "conversationType": "personal" if chat.direct else "channel",
                "tenantId": TENANT,
            },
            "channelData": {"tenant": {"id": TENANT}},
            "locale": "en-US",
        }
        if kind == "message":
            made |= {"text": text if chat.direct else f"{named} {text}", "textFormat": "plain"}
            made["entities"] = [] if chat.direct else [mention]
        return {**made, **more}

    def click(self, conversation: str, id_: str, title: str, *, execute: bool = True) -> dict[str, Any]:
        """Ann presses the button `title` of the message `id_`."""
        post = next(p for p in self.chats[conversation].posts if p.id == id_)
        button = next(b for b in post.buttons if b["title"] == title)
        if not execute:
            return {**self.activity(conversation, replyToId=id_, value=button["fallback"]["data"]), "text": "", "entities": []}
        action = {"type": "Action.Execute", "verb": button["verb"], "data": button["data"]}
        value = {"action": action, "trigger": "manual"}
        return self.activity(conversation, kind="invoke", name="adaptiveCard/action", value=value, replyToId=id_)

    def token(self, *, key: str = "connector", kid: str = KID, algorithm: str = "RS256", **claims: Any) -> str:
        """A token of the connector; a claim given as None is left out."""
        now = int(self.clock())
        full = {"iss": ISSUER, "aud": APP, "exp": now + 3600, "nbf": now - 10, "serviceurl": self.service_url, **claims}
        told = {name: value for name, value in full.items() if value is not None}
        return jwt.encode(told, rsa_key(key), algorithm=algorithm, headers={"kid": kid})

    def webhook(self, activity: Mapping[str, Any], *, token: str = "") -> Webhook:
        """The request that carries `activity`."""
        headers = {"content-type": "application/json; charset=utf-8", "authorization": f"Bearer {token or self.token()}"}
        return Webhook(platform="teams", channel="messages", headers=headers, body=json.dumps(activity).encode())

    def press_stop(self, conversation: str) -> None:
        """Ann ends the answer that grows."""
        for stream in self.chats[conversation].streams:
            if stream.state == "open":
                stream.state = "cancelled"
                self.chats[conversation].posts.append(Post(stream.id, stream.text))

    def close_streams(self) -> None:
        """Teams ends every stream by itself, as it does after two minutes."""
        for chat in self.chats.values():
            for stream in chat.streams:
                if stream.state == "open":
                    stream.state = "exceeded"

    # --- what people see ---

    def visible(self, conversation: str) -> list[str]:
        """The bot's messages in order, a growing one last."""
        chat = self.chats[conversation]
        growing = [s.text or s.informative for s in chat.streams if s.state == "open"]
        return [p.text or "".join(f"[image {a['name']}]" for a in p.attachments if "name" in a) for p in chat.posts] + growing

    def posts(self, conversation: str) -> list[Post]:
        """The bot's messages."""
        return self.chats[conversation].posts

    # --- sign-in and keys ---

    @route("GET", "/v1/.well-known/openidconfiguration")
    def openid(self, call: Call) -> Answer:
        """Where the keys are."""
        return Answer(200, {"issuer": ISSUER, "jwks_uri": f"{self.base}/v1/.well-known/keys"})

    @route("GET", "/v1/.well-known/keys")
    def jwks(self, call: Call) -> Answer:
        """The keys."""
        return Answer(200, {"keys": self.keys})

    @route("POST", "/(?P<tenant>[^/]+)/oauth2/v2.0/token")
    def sign_in(self, call: Call) -> Answer:
        """A token for the bot."""
        form = call.form()
        if call.params["tenant"] != TENANT:
            return _aadsts(90002, "invalid_request")
        if form.get("grant_type") != "client_credentials" or form.get("scope") != "https://api.botframework.com/.default":
            return _aadsts(900144, "invalid_request")
        if form.get("client_id") != APP:
            return _aadsts(700016, "unauthorized_client")
        if form.get("client_secret") != self.password:
            return _aadsts(7000215, "invalid_client", status=401)
        self._count += 1
        token = f"bot-token-{self._count}"
        self.tokens[token] = self.clock() + self.token_life
        return Answer(200, {"token_type": "Bearer", "expires_in": self.token_life, "access_token": token})

    # --- the connector ---

    def before(self, call: Call) -> Answer | None:
        """Token and content type of a call to the connector."""
        if "/v3/" not in call.path:
            return None
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, 0) <= self.clock():
            return _error(401, "Unauthorized", "Authorization has been denied for this request.")
        if call.method in ("POST", "PUT") and not call.headers.get("content-type", "").startswith("application/json"):
            return _error(415, "UnsupportedMediaType", "")
        return None

    def _chat(self, call: Call) -> Chat:
        chat = self.chats.get(unquote(call.params["cid"]))
        if "/" in call.params["cid"] or ";" in call.params["cid"] or chat is None:
            raise BadCall(_error(404, "ConversationNotFound", "Conversation not found."))
        if chat.closed:
            raise BadCall(_error(403, chat.closed, ""))
        return chat

    def _limited(self, chat: Chat) -> None:
        now = self.clock()
        chat.sent_at = [t for t in chat.sent_at if t > now - 30]
        if any(sum(t > now - seconds for t in chat.sent_at) >= calls for calls, seconds in SENDS):
            raise BadCall(Answer(429, {"error": {"code": "Throttled", "message": "Too many requests"}}, {"Retry-After": "1"}))
        chat.sent_at.append(now)

    def _checked(self, activity: Mapping[str, Any]) -> None:
        text = activity.get("text", "")
        size = len(text.encode("utf-16-le")) + len(json.dumps(activity.get("attachments", [])).encode("utf-16-le")) // 2
        if size > 100 * 1024:
            raise BadCall(_error(413, "MessageSizeTooBig", "Message size too large."))
        if not text and not activity.get("attachments"):
            raise BadCall(_error(400, "BadSyntax", "Activity has no content"))
        for entity in activity.get("entities", []):
            if entity.get("type") == "mention" and entity.get("text", "\x00") not in text:
                raise BadCall(_error(400, "BadArgument", "Mention text is not in the message"))
        for attachment in activity.get("attachments", []):
            content = attachment.get("content") or {}
            if attachment["contentType"].endswith("card.adaptive") and not (
                content.get("type") == "AdaptiveCard" and content.get("version") and "body" in content
            ):
                raise BadCall(_error(400, "BadArgument", "Card is not valid"))

    @route("POST", "(?:/emea)?/v3/conversations")
    def create(self, call: Call) -> Answer:
        """Opens the chat with one person."""
        asked = call.json()
        if asked.get("isGroup") or asked.get("tenantId") != TENANT or not asked.get("members"):
            return _error(400, "BadArgument", "not a one-to-one chat of this tenant")
        id_ = f"a:{asked['members'][0]['id']}"
        if id_ not in self.chats:
            self.chat(id_)
        return Answer(201, {"id": id_})

    @route("POST", "(?:/emea)?/v3/conversations/(?P<cid>[^/]+)/activities(?:/(?P<aid>[^/]+))?")
    def post(self, call: Call) -> Answer:
        """A message, a sign of typing, or a piece of a stream."""
        chat, activity = self._chat(call), call.json()
        info = next((e for e in activity.get("entities", []) if e.get("type") == "streaminfo"), None)
        if info is not None:
            return self._stream(chat, activity, info)
        self._limited(chat)
        if activity.get("type") == "typing":
            chat.typing += 1
            return Answer(201, {"id": self._id()})
        if activity.get("type") != "message":
            return _error(400, "BadSyntax", "unknown activity type")
        self._checked(activity)
        post = Post(self._id(), activity.get("text", ""), activity.get("attachments", []), activity.get("entities", []))
        post.reply_to = unquote(call.params.get("aid") or "")
        chat.posts.append(post)
        return Answer(201, {"id": post.id})

    @route("GET", "(?:/emea)?/v3/conversations/(?P<cid>[^/]+)/pagedmembers")
    def members(self, call: Call) -> Answer:
        """A page of the people in a conversation; the bot is not among them."""
        chat = self._chat(call)
        size = int(call.query.get("pageSize", "200"))
        if not 50 <= size <= 500:
            return _error(400, "BadArgument", "pageSize is outside 50–500")
        every, start = sorted(chat.members), int(call.query.get("continuationToken") or 0)
        page = {"members": [{"id": m, "aadObjectId": m, "name": m} for m in every[start : start + size]]}
        more = {"continuationToken": str(start + size)} if start + size < len(every) else {}
        return Answer(200, page | more)

    @route("PUT", "(?:/emea)?/v3/conversations/(?P<cid>[^/]+)/activities/(?P<aid>[^/]+)")
    def edit(self, call: Call) -> Answer:
        """Replaces a message; a stream that is over becomes one."""
        chat, activity = self._chat(call), call.json()
        id_ = unquote(call.params["aid"])
        self._checked(activity)
        post = next((p for p in chat.posts if p.id == id_), None)
        stream = next((s for s in chat.streams if s.id == id_), None)
        if post is None and stream is not None:
            stream.state = "edited"
            post = Post(id_, "")
            chat.posts.append(post)
        if post is None:
            return _error(404, "ActivityNotFoundInConversation", "The activity was not found")
        post.text, post.attachments = activity.get("text", ""), activity.get("attachments", [])
        post.entities, post.edits = activity.get("entities", []), post.edits + 1
        return Answer(200, {"id": id_})

    @route("DELETE", "(?:/emea)?/v3/conversations/(?P<cid>[^/]+)/activities/(?P<aid>[^/]+)")
    def delete(self, call: Call) -> Answer:
        """Takes a message away."""
        chat, id_ = self._chat(call), unquote(call.params["aid"])
        before = len(chat.posts) + len(chat.streams)
        chat.posts = [p for p in chat.posts if p.id != id_]
        chat.streams = [s for s in chat.streams if s.id != id_]
        if len(chat.posts) + len(chat.streams) == before:
            return _error(404, "ActivityNotFoundInConversation", "The activity was not found")
        return Answer(200)

    def _id(self) -> str:
        self._count += 1
        return f"1:{self._count}"

    def _stream(self, chat: Chat, activity: Mapping[str, Any], info: Mapping[str, Any]) -> Answer:
        now = self.clock()
        if not chat.direct or not chat.streaming:
            return _error(400, "BadArgument", "The streaming API is not enabled for this conversation")
        for stream in chat.streams:
            if stream.state == "open" and now - stream.started > STREAM_LIFE:
                stream.state = "exceeded"
        if not info.get("streamId"):
            if activity.get("type") != "typing" or info.get("streamSequence") != 1 or not activity.get("text"):
                return _error(400, "BadArgument", "a stream begins with typing, text and sequence 1")
            if len(activity["text"]) > 1000:
                return _error(400, "BadArgument", "informative message too long")
            if any(s.state == "open" for s in chat.streams):
                return _error(403, "ContentStreamNotAllowed", "Another content stream is in progress")
            chat.streams.append(Stream(self._id(), now, informative=activity["text"]))
            return Answer(201, {"id": chat.streams[-1].id})
        found = next((s for s in chat.streams if s.id == info["streamId"]), None)
        if found is None:
            return _error(404, "ActivityNotFoundInConversation", "no such stream")
        if found.state != "open":
            said = {
                "completed": "Content stream was already completed",
                "cancelled": "Content stream was canceled by user",
                "exceeded": "Content stream finished due to exceeded streaming time.",
                "edited": "Content stream is not allowed",
            }[found.state]
            return _error(403, "ContentStreamNotAllowed", said)
        text = activity.get("text", "")
        if not text.startswith(found.text):
            return _error(400, "BadArgument", "the text must extend what was sent")
        if info.get("streamType") == "final":
            if activity.get("type") != "message" or "streamSequence" in info:
                return _error(400, "BadArgument", "the end is a message without a sequence")
            self._checked(activity)
            found.state = "completed"
            entities = [e for e in activity.get("entities", []) if e.get("type") != "streaminfo"]
            chat.posts.append(Post(found.id, text, activity.get("attachments", []), entities))
            return Answer(202, {"id": found.id})
        if activity.get("attachments"):
            return _error(400, "BadArgument", "attachments belong to the end")
        if now - found.last < 1:
            return Answer(429, {"error": {"code": "Throttled", "message": "one request a second"}}, {"Retry-After": "1"})
        if info.get("streamSequence", 0) <= found.sequence:
            return _error(202, "ContentStreamSequenceOrderPreConditionFailed", "the sequence is behind")
        found.sequence, found.text, found.last = info["streamSequence"], text, now
        return Answer(202, {})

    # --- files ---

    def shared(self, name: str, content: bytes, *, needs_token: bool) -> str:
        """Address of a file that somebody posted."""
        self.files[name] = (content, name, needs_token)
        return f"{self.base}/files/{name}"

    @route("GET", "/files/(?P<name>[^/]+)")
    def file(self, call: Call) -> Answer:
        """The bytes; a pre-signed address wants no token, a picture in the text wants the bot's."""
        found = self.files.get(call.params["name"])
        if found is None:
            return Answer(404, "gone")
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if found[2] and self.tokens.get(token, 0) <= self.clock():
            return Answer(401, "no token")
        if not found[2] and token:
            return Answer(400, "a token does not belong here")
        return Answer(200, found[0])


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message}})


def _aadsts(number: int, error: str, *, status: int = 400) -> Answer:
    return Answer(
        status, {"error": error, "error_description": f"AADSTS{number}: see the documentation.", "error_codes": [number]}
    )
