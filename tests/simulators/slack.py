"""Slack as its Web API and its people see it: tokens and scopes, channels, threads, streams, blocks, limits, life times."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from assistant.messages import Webhook
from tests.simulators.base import WORLD, Answer, BadCall, Call, Simulator, route

TEAM = "T0COMPANY"
BOT_USER = "U0BOT"
BOT_ID = "B0BOT"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-1234567890-the-bot-token"
CLIENT = "1234567890.client"
CLIENT_SECRET = "the-client-secret"

SCOPES = (
    "app_mentions:read", "chat:write", "im:history", "im:write", "channels:history", "groups:history", "mpim:history", "commands",
    "files:read", "files:write", "assistant:write", "channels:read", "groups:read", "mpim:read", "usergroups:read",
)  # fmt: skip

STREAM_LIFE = 300.0

LIMITS: Mapping[str, tuple[int, float]] = {
    "chat.postMessage": (1, 0.9),
    "chat.postEphemeral": (4, 1.0),
    "chat.update": (50, 60.0),
    "chat.delete": (50, 60.0),
    "chat.startStream": (20, 60.0),
    "chat.stopStream": (20, 60.0),
    "chat.appendStream": (100, 60.0),
    "conversations.replies": (50, 60.0),
    "conversations.history": (50, 60.0),
}
"""Calls in so many seconds: posts by channel (about one a second), the rest in the whole workspace."""

FORM_ONLY = frozenset(
    {
        "conversations.replies", "conversations.history", "files.getUploadURLExternal", "files.info", "conversations.members",
        "usergroups.list",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Team:
    """A workspace beside the first in which the app may be installed."""

    id: str
    bot_user: str
    bot_id: str
    token: str
    name: str = ""


@dataclass
class Code:
    """What somebody brings back from the installation page."""

    redirect: str
    scopes: tuple[str, ...]
    team: Team
    ends: float
    used: bool = False


@dataclass
class Post:
    """One message as people see it."""

    ts: str
    user: str
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    thread_ts: str = ""
    metadata: dict[str, Any] | None = None
    only_for: str = ""
    streaming: bool = False
    started: float = 0.0
    files: list[dict[str, Any]] = field(default_factory=list)
    edits: int = 0

    @property
    def shown(self) -> str:
        """What a person reads: the blocks where there are any, else the text."""
        lines = []
        for block in self.blocks:
            match block["type"]:
                case "markdown":
                    lines.append(block["text"])
                case "section":
                    lines.append(block["text"]["text"])
                case "actions":
                    lines.append(" ".join(f"[{e['text']['text']}]" for e in block["elements"]))
        written = self.text if not self.blocks or all(b["type"] == "actions" for b in self.blocks) else ""
        return "\n".join([*([written] if written else []), *lines])

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """The buttons under it."""
        return [e for b in self.blocks if b["type"] == "actions" for e in b["elements"]]


@dataclass
class Channel:
    """A conversation."""

    id: str
    members: set[str]
    posts: list[Post] = field(default_factory=list)
    archived: bool = False
    public: bool = True
    streams: bool = True

    def find(self, ts: str) -> Post | None:
        """The message `ts` that everybody can see."""
        return next((p for p in self.posts if p.ts == ts and not p.only_for), None)


class SlackSimulator(Simulator):
    """`slack.com` for one workspace and one app. `secrets` is what the app would be configured with."""

    def __init__(self, *, clock: Callable[[], float] = WORLD) -> None:
        super().__init__(clock=clock)
        self.scopes = set(SCOPES)
        self.token = TOKEN
        self.token_error = ""
        self.channels: dict[str, Channel] = {}
        self.statuses: list[tuple[str, str, str]] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        """User groups and who is in them."""
        self.used_urls: dict[str, tuple[int, float]] = {}
        self.called: dict[tuple[str, str], list[float]] = {}
        self._count = 0
        self.teams: dict[str, Team] = {}
        """Further workspaces, by their bot's token while the app is installed there."""
        self.redirects: set[str] = set()
        self.codes: dict[str, Code] = {}
        self.chooses: Team | None = None
        """The workspace that whoever sits at the installation page picks; None: they cancel."""
        self.answers: dict[str, Any] = {}
        """What the answer to an installation says otherwise."""
        self.posted_with: list[str] = []
        """The token of every post."""

    @property
    def secrets(self) -> dict[str, str]:
        """The secret fields of the app."""
        return {
            "signing_secret": SECRET,
            "bot_token": self.token,
            "app_id": "A0APP",
            "bot_user_id": BOT_USER,
            "bot_id": BOT_ID,
            "team_id": TEAM,
            "api_base": self.base,
        }

    # --- what people do ---

    def channel(self, id_: str, *members: str, public: bool = True, archived: bool = False, streams: bool = True) -> Channel:
        """A conversation with the bot and `members` in it."""
        made = Channel(id_, {BOT_USER, *members}, public=public, archived=archived, streams=streams)
        self.channels[id_] = made
        return made

    def say(self, channel: str, user: str, text: str, *, thread_ts: str = "", **event: Any) -> dict[str, Any]:
        """A person writes; gives the `message` event that Slack sends for it."""
        place = self.channels.get(channel) or self.channel(channel, user)
        place.members.add(user)
        post = Post(self._ts(), user, text, thread_ts=thread_ts)
        place.posts.append(post)
        made = {
            "type": "message",
            "user": user,
            "text": text,
            "ts": post.ts,
            "event_ts": post.ts,
            "channel": channel,
            "channel_type": "im" if channel.startswith("D") else "channel",
            "team": TEAM,
            "client_msg_id": f"c-{post.ts}",
            **event,
        }
        if thread_ts:
            made["thread_ts"] = thread_ts
        return made

    def mention(self, channel: str, user: str, text: str, *, thread_ts: str = "") -> dict[str, Any]:
        """A person names the bot; gives the `app_mention` event."""
        event = self.say(channel, user, f"<@{BOT_USER}> {text}", thread_ts=thread_ts)
        del event["channel_type"]
        return {**event, "type": "app_mention"}

    def event(self, event: Mapping[str, Any], *, event_id: str = "", team: Team | None = None) -> Webhook:
        """The signed request that carries `event`, of the first workspace or of `team`."""
        self._count += 1
        id_, bot = (team.id, team.bot_user) if team else (TEAM, BOT_USER)
        envelope = {
            "token": "deprecated",
            "team_id": id_,
            "api_app_id": "A0APP",
            "type": "event_callback",
            "event_id": event_id or f"Ev{self._count:08d}",
            "event_time": int(self.clock()),
            "authorizations": [{"team_id": id_, "user_id": bot, "is_bot": True, "is_enterprise_install": False}],
            "event": dict(event),
        }
        return self.signed("events", json.dumps(envelope).encode(), "application/json")

    def interaction(self, payload: Mapping[str, Any]) -> Webhook:
        """The signed request that carries an interaction."""
        return self.signed("interactive", urlencode({"payload": json.dumps(payload)}).encode(), FORM)

    def click(self, channel: str, ts: str, user: str, action_id: str) -> Webhook:
        """A person presses a button of the message `ts`."""
        post = self.channels[channel].find(ts)
        assert post, f"no message {ts} in {channel}"
        button = next(b for b in post.buttons if b["action_id"] == action_id)
        stamp = self._ts()
        action = {"type": "button", "block_id": "b1", "action_ts": stamp, "action_id": action_id, "text": button["text"]}
        if "value" in button:
            action["value"] = button["value"]
        message = {"ts": ts, "user": BOT_USER, "bot_id": BOT_ID}
        if post.thread_ts:
            message["thread_ts"] = post.thread_ts
        return self.interaction(
            {
                "type": "block_actions",
                "user": {"id": user, "username": "ann", "team_id": TEAM},
                "team": {"id": TEAM},
                "api_app_id": "A0APP",
                "trigger_id": f"tr.{stamp}",
                "response_url": f"{self.base}/actions/{stamp}",
                "channel": {"id": channel},
                "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False},
                "message": message,
                "actions": [action],
            }
        )

    def command(self, channel: str, user: str, command: str, text: str) -> Webhook:
        """A person types a slash command."""
        stamp = self._ts()
        form = {
            "command": command,
            "text": text,
            "user_id": user,
            "user_name": "ann",
            "channel_id": channel,
            "team_id": TEAM,
            "trigger_id": f"tr.{stamp}",
            "response_url": f"{self.base}/commands/{channel}/{user}/{stamp}",
        }
        return self.signed("commands", urlencode(form).encode(), FORM)

    def signed(self, channel: str, body: bytes, content_type: str) -> Webhook:
        """A request with Slack's signature."""
        stamp = str(int(self.clock()))
        mac = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"content-type": content_type, "x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}"}
        return Webhook(platform="slack", channel=channel, headers=headers, body=body)

    def press_stop(self, channel: str) -> None:
        """The asker ends every stream in the channel."""
        for post in self.channels[channel].posts:
            if post.streaming:
                post.streaming, post.metadata = False, {"stopped": True}

    def close_streams(self) -> None:
        """Slack ends every stream by itself, as it does after some minutes."""
        for channel in self.channels.values():
            for post in channel.posts:
                post.streaming = False

    # --- what people see ---

    def visible(self, conversation: str, *, user: str = "") -> list[str]:
        """What the bot has written there, in order; with `user`, also what only that person sees."""
        posts = self.channels[conversation].posts
        return [p.shown for p in posts if p.user == BOT_USER and p.only_for in ("", user)]

    def posts(self, conversation: str) -> list[Post]:
        """The bot's messages there."""
        return [p for p in self.channels[conversation].posts if p.user == BOT_USER]

    # --- the Web API ---

    def _ts(self) -> str:
        self._count += 1
        return f"{int(self.clock())}.{self._count:06d}"

    def before(self, call: Call) -> Answer | None:
        """Token, scope and content type of a method call."""
        method = call.path.removeprefix("/api/")
        if method == call.path or method == "oauth.v2.access":
            return None
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            return self._no("not_authed")
        if token not in self.teams and (self.token_error or token != self.token):
            return self._no(self.token_error or "invalid_auth")
        if method == "auth.revoke":
            return None
        kind = call.headers.get("content-type", "")
        if method in FORM_ONLY and not kind.startswith(FORM):
            return self._no("invalid_arguments")
        if method not in FORM_ONLY and kind != "application/json; charset=utf-8":
            return self._no("missing_charset" if kind.startswith("application/json") else "invalid_form_data")
        return self._limited(method, call)

    def _limited(self, method: str, call: Call) -> Answer | None:
        if method not in LIMITS:
            return None
        most, seconds = LIMITS[method]
        counted = method, str(call.json().get("channel", "")) if method.startswith("chat.post") else ""
        now = self.clock()
        recent = self.called[counted] = [at for at in self.called.get(counted, []) if at > now - seconds]
        if len(recent) < most:
            recent.append(now)
            return None
        wait = max(1, math.ceil(recent[0] + seconds - now))
        return Answer(429, {"ok": False, "error": "ratelimited"}, {**self._headers(), "Retry-After": str(wait)})

    def _no(self, error: str, **more: Any) -> Answer:
        return Answer(200, {"ok": False, "error": error, **more}, self._headers())

    def _ok(self, **more: Any) -> Answer:
        return Answer(200, {"ok": True, **more}, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"x-oauth-scopes": ",".join(sorted(self.scopes)), "content-type": "application/json; charset=utf-8"}

    def _need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise BadCall(self._no("missing_scope", needed=scope, provided=",".join(sorted(self.scopes))))

    def _place(self, id_: Any, *, member: bool = True) -> Channel:
        if isinstance(id_, str) and id_.startswith("U"):
            return self._direct(id_)
        place = self.channels.get(id_)
        if place is None or (not place.public and BOT_USER not in place.members):
            raise BadCall(self._no("channel_not_found"))
        if place.archived:
            raise BadCall(self._no("is_archived"))
        if member and BOT_USER not in place.members:
            raise BadCall(self._no("not_in_channel"))
        return place

    def _direct(self, user: str) -> Channel:
        return self.channels.get(f"D{user[1:]}") or self.channel(f"D{user[1:]}", user)

    def _check(self, data: Mapping[str, Any], place: Channel) -> None:
        """Content and thread of a message."""
        blocks = data.get("blocks") or []
        if not (data.get("text") or blocks or data.get("markdown_text")):
            raise BadCall(self._no("no_text"))
        if data.get("markdown_text") and (data.get("text") or blocks):
            raise BadCall(self._no("markdown_text_conflict"))
        if len(data.get("text") or "") > 40_000 or len(data.get("markdown_text") or "") > 12_000:
            raise BadCall(self._no("msg_too_long"))
        self._check_blocks(blocks)
        self._check_metadata(data.get("metadata"))
        if (thread := data.get("thread_ts")) and not place.find(thread):
            raise BadCall(self._no("thread_not_found"))

    def _check_metadata(self, metadata: Any) -> None:
        if metadata is None:
            return
        if set(metadata) != {"event_type", "event_payload"} or not isinstance(metadata["event_payload"], dict):
            raise BadCall(self._no("invalid_metadata_format"))

    def _check_blocks(self, blocks: list[dict[str, Any]]) -> None:
        if sum(len(b.get("text", "")) for b in blocks if b.get("type") == "markdown") > 12_000:
            raise BadCall(self._no("msg_blocks_too_long"))
        if len(blocks) > 50 or not all(self._good(block) for block in blocks):
            raise BadCall(self._no("invalid_blocks"))
        ids = [e["action_id"] for b in blocks if b["type"] == "actions" for e in b["elements"]]
        if len(ids) != len(set(ids)):
            raise BadCall(self._no("invalid_blocks"))

    def _good(self, block: dict[str, Any]) -> bool:
        match block.get("type"):
            case "markdown":
                return isinstance(block.get("text"), str) and bool(block["text"])
            case "section":
                text = block.get("text", {})
                return text.get("type") in ("mrkdwn", "plain_text") and 0 < len(text.get("text", "")) <= 3000
            case "actions":
                return 0 < len(block.get("elements", [])) <= 25 and all(self._good_button(e) for e in block["elements"])
        return False

    def _good_button(self, element: dict[str, Any]) -> bool:
        text = element.get("text", {})
        return (
            element.get("type") == "button"
            and text.get("type") == "plain_text"
            and 0 < len(text.get("text", "")) <= 75
            and 0 < len(element.get("action_id", "")) <= 255
            and ("value" not in element or (isinstance(element["value"], str) and len(element["value"]) <= 2000))
            and element.get("style", "primary") in ("primary", "danger")
        )

    @route("GET", "/oauth/v2/authorize")
    def installation_page(self, call: Call) -> Answer:
        """Somebody picks a workspace, or cancels."""
        asked = call.query
        scopes = tuple(filter(None, asked.get("scope", "").split(",")))
        if asked.get("client_id") != CLIENT or asked.get("redirect_uri") not in self.redirects:
            return Answer(400, "bad client or redirect address")
        if not scopes or not set(scopes) <= self.scopes or asked.get("user_scope"):
            return Answer(400, "invalid_scope")
        if len(asked.get("state", "")) < 16:
            return Answer(400, "no state")
        back = {"error": "access_denied", "state": asked["state"]}
        if self.chooses:
            self._count += 1
            code = f"code-{self._count}-{hashlib.sha256(asked['state'].encode()).hexdigest()[:8]}"
            self.codes[code] = Code(asked["redirect_uri"], scopes, self.chooses, self.clock() + 600)
            back = {"code": code, "state": asked["state"]}
        return Answer(302, None, {"location": f"{asked['redirect_uri']}?{urlencode(back)}"})

    @route("POST", r"/api/oauth\.v2\.access")
    def exchange(self, call: Call) -> Answer:
        """The bot's token for a code, once, to the app that the code was made for."""
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        if call.headers.get("authorization") != basic:
            return self._no("bad_client_secret")
        asked = call.form()
        code = self.codes.get(asked.get("code", ""))
        if code is None or code.ends < self.clock():
            return self._no("invalid_code")
        if code.used:
            return self._no("code_already_used")
        code.used = True
        if asked.get("redirect_uri") != code.redirect:
            return self._no("bad_redirect_uri")
        self.teams[code.team.token] = code.team
        answer = {
            "access_token": code.team.token,
            "token_type": "bot",
            "scope": ",".join(code.scopes),
            "bot_user_id": code.team.bot_user,
            "app_id": "A0APP",
            "team": {"id": code.team.id, "name": code.team.name},
            "enterprise": None,
            "is_enterprise_install": False,
            "authed_user": {"id": "U0INSTALLER"},
        }
        return self._ok(**(answer | self.answers))

    @route("POST", r"/api/auth\.revoke")
    def end_token(self, call: Call) -> Answer:
        """Ends a further workspace's token."""
        if self.teams.pop(call.headers["authorization"].removeprefix("Bearer "), None) is None:
            return self._no("invalid_auth")
        return self._ok(revoked=True)

    @route("POST", "/api/auth.test")
    def auth_test(self, call: Call) -> Answer:
        """Who the token belongs to."""
        if team := self.teams.get(call.headers["authorization"].removeprefix("Bearer ")):
            return self._ok(team=team.name, team_id=team.id, user="bot", user_id=team.bot_user, bot_id=team.bot_id)
        return self._ok(
            url="https://company.slack.com/", team="Company", team_id=TEAM, user="bot", user_id=BOT_USER, bot_id=BOT_ID
        )

    @route("POST", "/api/chat.postMessage")
    def post(self, call: Call) -> Answer:
        """Posts a message."""
        data = call.json()
        self._need("chat:write")
        place = self._place(data.get("channel"))
        self._check(data, place)
        self.posted_with.append(call.headers["authorization"].removeprefix("Bearer "))
        post = Post(
            self._ts(),
            BOT_USER,
            data.get("markdown_text") or data.get("text", ""),
            data.get("blocks") or [],
            thread_ts=data.get("thread_ts", ""),
            metadata=data.get("metadata"),
        )
        place.posts.append(post)
        return self._ok(channel=place.id, ts=post.ts, message={"ts": post.ts, "text": post.text, "bot_id": BOT_ID})

    @route("POST", "/api/chat.postEphemeral")
    def post_ephemeral(self, call: Call) -> Answer:
        """Posts for one person."""
        data = call.json()
        self._need("chat:write")
        place = self._place(data.get("channel"))
        if data.get("user") not in place.members:
            return self._no("user_not_in_channel")
        self._check(data, place)
        post = Post(self._ts(), BOT_USER, data.get("text", ""), data.get("blocks") or [], only_for=data["user"])
        post.thread_ts = data.get("thread_ts", "")
        place.posts.append(post)
        return self._ok(message_ts=post.ts)

    def _own(self, data: Mapping[str, Any]) -> tuple[Channel, Post]:
        place = self._place(data.get("channel"))
        post = place.find(data.get("ts", ""))
        if post is None:
            raise BadCall(self._no("message_not_found"))
        if post.user != BOT_USER:
            raise BadCall(self._no("cant_update_message"))
        return place, post

    @route("POST", "/api/chat.update")
    def update(self, call: Call) -> Answer:
        """Edits one of the bot's messages."""
        data = call.json()
        self._need("chat:write")
        place, post = self._own(data)
        self._expire(post)
        if post.streaming:
            return self._no("streaming_state_conflict")
        self._check({k: v for k, v in data.items() if k != "thread_ts"}, place)
        post.text, post.blocks = data.get("text", ""), data.get("blocks") or []
        post.metadata = data.get("metadata", post.metadata)
        post.edits += 1
        return self._ok(channel=place.id, ts=post.ts, text=post.text)

    @route("POST", "/api/chat.delete")
    def delete(self, call: Call) -> Answer:
        """Takes one of the bot's messages away."""
        place, post = self._own(call.json())
        place.posts.remove(post)
        return self._ok(channel=place.id, ts=post.ts)

    # --- streams ---

    def _expire(self, post: Post) -> None:
        if post.streaming and self.clock() - post.started > STREAM_LIFE:
            post.streaming = False

    @route("POST", "/api/chat.startStream")
    def start_stream(self, call: Call) -> Answer:
        """Begins a message that grows."""
        data = call.json()
        self._need("chat:write")
        place = self._place(data.get("channel"))
        if not place.streams:
            return self._no("method_not_supported_for_channel_type")
        if not data.get("thread_ts"):
            return self._no("invalid_arguments")
        if not place.find(data["thread_ts"]):
            return self._no("thread_not_found")
        if not place.id.startswith("D"):
            for name in ("recipient_user_id", "recipient_team_id"):
                if not data.get(name):
                    return self._no(f"missing_{name}")
        if len(data.get("markdown_text", "")) > 12_000:
            return self._no("msg_too_long")
        post = Post(self._ts(), BOT_USER, data.get("markdown_text", ""), thread_ts=data["thread_ts"], streaming=True)
        post.started = self.clock()
        place.posts.append(post)
        return self._ok(channel=place.id, ts=post.ts)

    def _streaming(self, data: Mapping[str, Any]) -> tuple[Channel, Post]:
        place, post = self._own(data)
        self._expire(post)
        if not post.streaming:
            stopped = post.metadata == {"stopped": True}
            raise BadCall(self._no("stopped_by_user" if stopped else "message_not_in_streaming_state"))
        if len(data.get("markdown_text", "")) > 12_000:
            raise BadCall(self._no("msg_too_long"))
        return place, post

    @route("POST", "/api/chat.appendStream")
    def append_stream(self, call: Call) -> Answer:
        """Adds to a growing message."""
        data = call.json()
        place, post = self._streaming(data)
        if not data.get("markdown_text"):
            return self._no("no_text")
        post.text += data["markdown_text"]
        return self._ok(channel=place.id, ts=post.ts)

    @route("POST", "/api/chat.stopStream")
    def stop_stream(self, call: Call) -> Answer:
        """Ends a growing message."""
        data = call.json()
        place, post = self._streaming(data)
        self._check_blocks(data.get("blocks") or [])
        self._check_metadata(data.get("metadata"))
        post.text += data.get("markdown_text", "")
        post.blocks, post.metadata, post.streaming = data.get("blocks") or [], data.get("metadata"), False
        return self._ok(channel=place.id, ts=post.ts, message={"text": post.text})

    @route("POST", "/api/assistant.threads.setStatus")
    def set_status(self, call: Call) -> Answer:
        """Shows that the bot is at work."""
        data = call.json()
        self._need("assistant:write")
        place = self._place(data.get("channel_id"))
        if not data.get("thread_ts") or "status" not in data:
            return self._no("invalid_arguments")
        self.statuses.append((place.id, data["thread_ts"], data["status"]))
        return self._ok()

    # --- conversations ---

    def _history_scope(self, channel: str) -> str:
        return {"D": "im:history", "G": "groups:history"}.get(channel[:1], "channels:history")

    def _page(self, call: Call, *, thread: bool) -> Answer:
        data = call.form()
        self._need(self._history_scope(data.get("channel", "")))
        place = self._place(data.get("channel"))
        if thread and not place.find(data.get("ts", "")):
            return self._no("thread_not_found")
        root = data.get("ts", "")
        found = [
            p
            for p in place.posts
            if not p.only_for and float(p.ts) >= float(data.get("oldest") or 0) and self._belongs(p, root if thread else None)
        ]
        if not thread:
            found.reverse()
        start, size = int(data.get("cursor") or 0), min(int(data.get("limit") or 100), 999)
        page = found[start : start + size]
        more = str(start + size) if start + size < len(found) else ""
        full = data.get("include_all_metadata") == "true"
        messages = [self._as_json(p, full=full) for p in page]
        return self._ok(messages=messages, has_more=bool(more), response_metadata={"next_cursor": more})

    def _belongs(self, post: Post, root: str | None) -> bool:
        return not post.thread_ts if root is None else root in (post.ts, post.thread_ts)

    def _as_json(self, post: Post, *, full: bool) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "message", "ts": post.ts, "user": post.user, "text": post.text}
        if post.user == BOT_USER:
            made["bot_id"] = BOT_ID
        if post.files:
            made["files"] = post.files
        if full and post.metadata:
            made["metadata"] = post.metadata
        return made

    @route("POST", "/api/conversations.replies")
    def replies(self, call: Call) -> Answer:
        """A thread, oldest first."""
        return self._page(call, thread=True)

    @route("POST", "/api/conversations.history")
    def history(self, call: Call) -> Answer:
        """A channel without its threads, newest first."""
        return self._page(call, thread=False)

    @route("POST", "/api/conversations.open")
    def open(self, call: Call) -> Answer:
        """The one-to-one chat with a person."""
        self._need("im:write")
        user = call.json().get("users", "")
        if not user.startswith("U"):
            return self._no("user_not_found")
        return self._ok(channel={"id": self._direct(user).id})

    @route("POST", "/api/conversations.members")
    def members(self, call: Call) -> Answer:
        """A page of a conversation's members, bots too."""
        asked = call.form()
        place = self._place(asked.get("channel"), member=False)
        self._need("im:read" if place.id.startswith("D") else "channels:read" if place.public else "groups:read")
        every, start, size = sorted(place.members), int(asked.get("cursor") or 0), min(1000, int(asked.get("limit") or 100))
        after = str(start + size) if start + size < len(every) else ""
        return self._ok(members=every[start : start + size], response_metadata={"next_cursor": after})

    @route("POST", "/api/usergroups.list")
    def usergroups(self, call: Call) -> Answer:
        """The workspace's user groups."""
        self._need("usergroups:read")
        with_users = call.form().get("include_users") == "true"
        found = [{"id": g, "handle": g, "date_delete": 0} | ({"users": u} if with_users else {}) for g, u in self.groups.items()]
        return self._ok(usergroups=found)

    @route("POST", "/api/conversations.join")
    def join(self, call: Call) -> Answer:
        """Enters a public channel."""
        self._need("channels:join")
        place = self._place(call.json().get("channel"), member=False)
        place.members.add(BOT_USER)
        return self._ok(channel={"id": place.id})

    # --- reply addresses ---

    @route("POST", "/commands/(?P<channel>[^/]+)/(?P<user>[^/]+)/(?P<stamp>[^/]+)")
    def respond(self, call: Call) -> Answer:
        """A reply to a command: 30 minutes, five times."""
        used, since = self.used_urls.get(call.path, (0, float(call.params["stamp"])))
        if used >= 5 or self.clock() - since > 1800:
            return Answer(404, "expired_url" if used < 5 else "used_url")
        data = call.json()
        self._check_blocks(data.get("blocks") or [])
        self.used_urls[call.path] = (used + 1, since)
        place = self.channels.get(call.params["channel"]) or Channel(call.params["channel"], set())
        self.channels[place.id] = place
        private = data.get("response_type", "ephemeral") == "ephemeral"
        post = Post(self._ts(), BOT_USER, data.get("text", ""), data.get("blocks") or [])
        post.only_for = call.params["user"] if private else ""
        place.posts.append(post)
        return Answer(200, "ok")

    # --- files ---

    def share(self, name: str, content: bytes, mimetype: str) -> dict[str, Any]:
        """A file as it stands in a message."""
        self._count += 1
        id_ = f"F{self._count:08d}"
        url = f"{self.base}/files-pri/{TEAM}-{id_}/download/{name}"
        self.files[id_] = {
            "id": id_, "name": name, "mimetype": mimetype, "size": len(content), "content": content, "url_private_download": url,
        }  # fmt: skip
        return {k: v for k, v in self.files[id_].items() if k != "content"}

    @route("GET", "/files-pri/[^-]+-(?P<id>[^/]+)/download/.+")
    def download(self, call: Call) -> Answer:
        """The bytes for the right token, the sign-in page for any other."""
        allowed = call.headers.get("authorization") == f"Bearer {self.token}" and "files:read" in self.scopes
        if not allowed:
            return Answer(200, b"<!DOCTYPE html><html><title>Slack</title></html>", {"content-type": "text/html; charset=utf-8"})
        found = self.files.get(call.params["id"])
        if not found:
            return Answer(404, "not found")
        return Answer(200, found["content"], {"content-type": found["mimetype"]})

    @route("POST", "/api/files.info")
    def file_info(self, call: Call) -> Answer:
        """What a file is."""
        self._need("files:read")
        found = self.files.get(call.form().get("file", ""))
        return self._ok(file={k: v for k, v in found.items() if k != "content"}) if found else self._no("file_not_found")

    @route("POST", "/api/files.getUploadURLExternal")
    def upload_url(self, call: Call) -> Answer:
        """A place to send bytes to."""
        self._need("files:write")
        data = call.form()
        if not data.get("filename") or int(data.get("length") or 0) <= 0:
            return self._no("invalid_arguments")
        self._count += 1
        id_ = f"F{self._count:08d}"
        self.files[id_] = {"id": id_, "name": data["filename"], "length": int(data["length"]), "content": b"", "shared": False}
        return self._ok(upload_url=f"{self.base}/upload/v1/{id_}", file_id=id_)

    @route("POST", "/upload/v1/(?P<id>[^/]+)")
    def put_bytes(self, call: Call) -> Answer:
        """Takes the bytes; no token belongs here."""
        found = self.files.get(call.params["id"])
        if not found or "authorization" in call.headers or len(call.body) != found["length"]:
            return Answer(400, "bad upload")
        found["content"] = call.body
        return Answer(200, f"OK - {len(call.body)}")

    @route("POST", "/api/files.completeUploadExternal")
    def complete_upload(self, call: Call) -> Answer:
        """Shares uploaded files."""
        data = call.json()
        self._need("files:write")
        place = self._place(data.get("channel_id"))
        if (thread := data.get("thread_ts")) and not place.find(thread):
            return self._no("thread_not_found")
        shared = []
        for entry in data.get("files") or []:
            found = self.files.get(entry.get("id"))
            if not found or not found["content"] or found.get("shared"):
                return self._no("file_not_found")
            found["shared"] = True
            shared.append({"id": found["id"], "name": found["name"], "title": entry.get("title", "")})
        post = Post(self._ts(), BOT_USER, "".join(f"[file {f['title']}]" for f in shared), files=shared)
        post.thread_ts = data.get("thread_ts", "")
        place.posts.append(post)
        return self._ok(files=shared)

    def unknown(self, call: Call) -> Answer:
        """The answer to a method that Slack does not have."""
        return self._no("unknown_method") if call.path.startswith("/api/") else Answer(404, "not found")


FORM = "application/x-www-form-urlencoded"
