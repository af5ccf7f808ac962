"""Slack: events, buttons and commands in; messages, growing messages, cards and files out.

A send call of Slack has no idempotency key. Every message carries one in its metadata instead, and whoever does not know
whether a message was posted reads the conversation back before posting again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar, Final

from assistant.errors import (
    ContentRefused,
    MessageRecalled,
    MissingPermission,
    NotInChat,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SendError,
    TokenDead,
    Unavailable,
    UnsupportedType,
    VendorUnavailable,
    VerificationError,
)
from assistant.messages import Attachment, Button, File, HttpReply, Message, Received, Reply, Sent, Webhook
from assistant.observability import log
from assistant.platforms import Finding, Platform, StreamState
from assistant.platforms.slack_events import (
    INSTALLATION_ENDED,
    NOWHERE,
    REPEATED,
    WORKSPACE,
    Own,
    form,
    from_command,
    from_events,
    from_interactive,
    read,
    told_of,
)
from assistant.platforms.wire import Object, leads_to

if TYPE_CHECKING:
    import httpx

    from assistant.platforms import Workspace
    from assistant.platforms.markdown import Dialect
    from assistant.platforms.outbound import Rate

logger = logging.getLogger(__name__)

WINDOW: Final = 300
"""Seconds by which a signed timestamp may differ from our clock; Slack signs every retry anew."""

HOSTS: Final = ("slack.com",)
DOMAINS: Final = (".slack.com", ".slack-files.com")
"""Where the bot's token may go, over https."""

LONGEST: Final = 11_900
"""Characters of Markdown in one message; Slack refuses more than 12,000."""

FALLBACK: Final = 3_900
"""Characters of the text that notifications and screen readers use."""

GROWS_TO: Final = 11_000
"""Characters up to which a message grows; longer answers land in parts at their end."""

PACE: Final[Mapping[str, float]] = {"stream": 0.9, "edit": 1.9}
"""Least seconds between two states of a growing message."""

SLOWING: Final = 0.25
"""A message that has grown for a while grows in larger steps, this part of its age: Slack allows about 100 additions and 50
edits a minute in a whole workspace, and the last word of every answer must find room among them."""

PATIENT: Final = 25.0
"""Seconds for which the last word of an answer waits for a rate limit to end before the queue tries again."""

GROWING: Final = 0.7
"""Part of a method's calls that replies may use up which still grow."""

BEGUN: Final = 20
"""Messages a minute that begin to grow by edits, of which GROWING are used, as with streams: each of them needs an edit for its
end, beside those by which it grows. Answers beyond that are posted when they are whole: posts are counted by conversation."""

BRISK: Final = 2.0
"""Seconds for which the end of an answer waits for an edit before the draft gives way to a message of its own."""

A_MINUTE: Final[Mapping[str, int]] = {
    "chat.startStream": 20,
    "chat.stopStream": 20,
    "chat.appendStream": 100,
    "chat.update": 50,
    "chat.delete": 50,
    "chat.postEphemeral": 100,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.open": 50,
    "conversations.join": 50,
    "files.info": 100,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
}
"""Calls that Slack takes of a method in a workspace (its tiers); posts are counted by conversation, one a second."""

EVENT: Final = "assistant_reply"
"""Type of the metadata that every reply carries."""

RESPONSE_URL_LIFE: Final = 29 * 60
"""Seconds for which a command's own reply address is used; Slack keeps it 30 minutes, for five replies."""


class Slack(Platform):
    """`/webhook/slack/events`, `/interactive` and `/commands`; the Web API outwards."""

    name: ClassVar[str] = "slack"
    channels: ClassVar[tuple[str, ...]] = ("events", "interactive", "commands")
    stream_interval: ClassVar[float] = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: handed on to Platform as it is
        super().__init__(*args, **kwargs)
        self._shows_status = True
        self._unbegun: set[str] = set()
        self._further: dict[str, Slack] = {}
        """What speaks in the further workspaces, by their ids."""

    # --- in ---

    def receive(self, webhook: Webhook) -> Received:
        """The messages in a signed request; see `slack_events` for what becomes what."""
        if webhook.channel not in self.channels:
            raise Refused(f"slack has no channel {webhook.channel[:80]!r}; known: {', '.join(self.channels)}", status=404)
        if webhook.channel != "events" and _is_ssl_check(webhook):
            return Received(reply=HttpReply(200, "", content_type="text/plain"))
        self._verify(webhook)
        if webhook.method != "POST":
            raise Refused("slack: requests come with POST", status=405)
        kind = webhook.headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = "application/json" if webhook.channel == "events" else "application/x-www-form-urlencoded"
        if kind != wanted and "content-type" in webhook.headers:
            raise Refused(f"slack: content type {kind[:80]!r} is not {wanted}", status=415)
        data = read(webhook.channel, webhook.body)
        about = told_of(webhook.channel, data) if self.secrets.get("team_id") and self.workspaces else NOWHERE
        further = self._elsewhere(about.teams)
        if further is None and self._strange(about.teams):
            if about.ends:
                return Received()
            raise Refused(
                f"slack: the app is not installed in workspace {about.teams[0][:40]} here; "
                "an administrator gets a link with: assistant oauth install slack",
                status=403,
            )
        user, bot = (further.bot_user, further.bot) if further else (self.secrets.get("bot_user_id"), self.secrets.get("bot_id"))
        received = _received(webhook.channel, data, Own(frozenset({user} if user else ()), bot or ""))
        if further is None:
            if not any(m.action_key == INSTALLATION_ENDED for m in received.messages):
                return received
            # The secret's own token is an administrator's to replace.
            return replace(received, messages=tuple(m for m in received.messages if m.action_key != INSTALLATION_ENDED))
        messages = tuple(replace(m, address={**m.address, WORKSPACE: further.team}) for m in received.messages)
        return replace(received, messages=messages)

    def _strange(self, teams: Sequence[str]) -> bool:
        """Whether the secret's own workspace is not among `teams`; a request that names none is its own."""
        return bool(teams) and self.secrets.get("team_id") not in teams

    def _elsewhere(self, teams: Sequence[str]) -> Workspace | None:
        """The further workspace that comes first in `teams`, before the secret's own; asks nobody where its own is first."""
        before = tuple(takewhile(lambda team: team != self.secrets.get("team_id"), teams))
        return self.workspaces().of(before) if before and self.workspaces else None

    def hear(self, message: Message) -> None:
        """Deletes the token of a further workspace from which the app was removed."""
        if message.action_key == INSTALLATION_ENDED and self.workspaces and (team := message.address.get(WORKSPACE, "")):
            self.workspaces().delete(team, before=message.sent_at / 1000)
            log(logger, logging.WARNING, "the app was removed from a workspace", event_reason=team)

    def private_chat_beside(self, user: str, message: Message) -> Message:
        """The same for somebody in the workspace that `message` came from."""
        made = super().private_chat_beside(user, message)
        team = message.address.get(WORKSPACE, "")
        return replace(made, address={WORKSPACE: team}) if team else made

    def _at(self, to: Message) -> Slack:
        """This, or what speaks with the token of the further workspace that `to` came from. Raises a SendError."""
        team = to.address.get(WORKSPACE, "")
        if not team or team == self.secrets.get("team_id"):
            return self
        try:
            workspaces = self.workspaces() if self.workspaces else None
            workspace = workspaces.of([team]) if workspaces else None
            token = workspaces.token(workspace) if workspaces and workspace else ""
        except Unavailable as error:
            raise VendorUnavailable(f"slack: the token of workspace {team}: {error}", platform=self.name) from error
        if workspace is None or not token:
            said = f"slack: the app is not installed in workspace {team} any more"
            raise NotInChat(said, platform=self.name, code="not_installed")
        known = self._further.get(team)
        if known is None or (known.secrets["bot_token"], known.secrets["bot_user_id"]) != (token, workspace.bot_user):
            own = {"team_id": team, "bot_token": token, "bot_user_id": workspace.bot_user, "bot_id": workspace.bot}
            known = self._further[team] = Slack(
                {**self.secrets, **own},
                cache=self._cache,
                clock=self.clock,
                replay_window=self.replay_window,
                sleep=self.sleep,
            )
        return known

    def _verify(self, webhook: Webhook) -> None:
        """Raises VerificationError unless Slack signed these bytes less than five minutes ago.

        Source: docs.slack.dev/authentication/verifying-requests-from-slack
        """
        secret = self.secret("signing_secret")
        stamp = webhook.headers.get("x-slack-request-timestamp", "")
        given = webhook.headers.get("x-slack-signature", "")
        if not re.fullmatch(r"[0-9]{1,12}", stamp, re.ASCII):
            raise VerificationError("slack: the header X-Slack-Request-Timestamp is missing or no number")
        signed = b"v0:" + stamp.encode() + b":" + webhook.body
        expected = "v0=" + hmac.digest(secret.encode(), signed, "sha256").hex()
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode()):
            raise VerificationError("slack: the signature does not fit the body; compare signing_secret with the app's page")
        if abs(self.clock() - int(stamp)) > WINDOW:
            raise VerificationError(f"slack: signed more than {WINDOW} s from now; compare this machine's clock")

    # --- out ---

    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Posts the reply: in the thread of a channel, plainly in a one-to-one chat, to the asker's eyes only where it is
        private. Repeats are recognised by `key`, except for what only one person sees: Slack cannot be asked for that."""
        if (elsewhere := self._at(to)) is not self:
            return elsewhere.send(reply, to=to, key=key, attempt=attempt)
        pieces = self._pieces(reply)
        if not pieces:
            return Sent()
        if to.kind == "slash" and not to.direct and self._has_response_url(to):
            return self._respond(pieces, reply, to, key=key, attempt=attempt)
        if reply.private and not to.direct:
            return self._whisper(pieces, reply, to, key=key, attempt=attempt)
        return self._post_all(pieces, reply, to, place=self._place(to), key=key, attempt=attempt)

    def _pieces(self, reply: Reply) -> list[str]:
        """The reply's Markdown in as many parts as Slack needs; none where nothing is said."""
        from assistant.platforms.markdown import body, written_parts

        text = body(reply)
        if not text.strip() and not reply.buttons:
            return []
        return written_parts(text, limit=LONGEST, written=self._written)

    def _written(self, markdown: str) -> str:
        from assistant.platforms.markdown import render

        return _harmless(render(markdown, _dialect()))

    def _place(self, to: Message) -> tuple[str, str]:
        """Channel and thread (may be empty) in which `to` is answered."""
        if to.conversation.startswith(("U", "W")):
            return self._chat_with(to.conversation), ""
        return to.conversation, to.address.get("thread_ts", "") or to.thread

    def _chat_with(self, user: str) -> str:
        """The one-to-one conversation with `user`."""

        def load() -> tuple[str, float]:
            opened = self._call("conversations.open", {"users": user})
            return str(opened["channel"]["id"]), 24 * 3600.0

        return self.cache.get(f"slack/im/{self.secrets.get('team_id', '')}/{user}", load)

    def _post_all(
        self,
        pieces: Sequence[str],
        reply: Reply,
        to: Message,
        *,
        place: tuple[str, str],
        key: str,
        attempt: int,
        skip: Mapping[int, str] | None = None,
    ) -> Sent:
        """Posts every piece that is not there yet, in order."""
        there = dict(skip or {})
        if attempt > 1:
            there.update(self._posted(place, to, key))
        for number in range(len(pieces)):
            if number not in there:
                there[number] = self._post(pieces, number, reply, to, place=place, key=key)
        return Sent(ids=tuple(there[number] for number in range(len(pieces))))

    def _post(self, pieces: Sequence[str], number: int, reply: Reply, to: Message, *, place: tuple[str, str], key: str) -> str:
        """Posts one piece once; the id of the message."""
        message = {
            "channel": place[0],
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": _metadata(key, number),
            **({"thread_ts": place[1]} if place[1] else {}),
            **self._shown(pieces, number, reply, mention="" if to.direct or number else to.sender),
        }
        for chance in (1, 2):
            try:
                return self._posting(message)
            except (OutcomeUnknown, VendorUnavailable) as error:
                if (found := self._posted(place, to, key).get(number)) is not None:
                    return found
                # A broken connection was broken before Slack took the message. After a silence it may still be on its way:
                # then only a later delivery of the question may look again.
                if chance == 2 or _silent(error):
                    raise
            except NotInChat as error:
                if chance == 2 or error.code != "not_in_channel" or not self._joined(place[0]):
                    raise
        raise AssertionError("unreachable")

    def _posting(self, message: Mapping[str, Any]) -> str:
        try:
            return str(self._call("chat.postMessage", message, longest=PATIENT)["ts"])
        except UnsupportedType:
            return str(self._call("chat.postMessage", _without_blocks(message), longest=PATIENT)["ts"])

    def _joined(self, channel: str) -> bool:
        """Whether the bot could enter the public channel in which it was asked."""
        try:
            self._call("conversations.join", {"channel": channel})
        except SendError:
            return False
        return True

    def _shown(self, pieces: Sequence[str], number: int, reply: Reply, *, mention: str = "") -> dict[str, Any]:
        """Blocks for the eye, and the plain text that notifications show."""
        from assistant.platforms.markdown import to_plain

        text = self._written(pieces[number])
        blocks: list[dict[str, Any]] = []
        if mention:
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<@{mention}>"}})
        if text.strip():
            blocks.append({"type": "markdown", "text": text})
        if number == len(pieces) - 1:
            blocks += _actions(reply.buttons)
        plain = _escaped(to_plain(pieces[number]) or reply.title or ", ".join(b.text for b in reply.buttons))
        if len(plain) > FALLBACK:
            plain = plain[: plain.rfind(" ", FALLBACK // 2, FALLBACK)] + " …"
        return {"text": f"<@{mention}> {plain}" if mention else plain, "blocks": blocks}

    def _posted(self, place: tuple[str, str], to: Message, key: str) -> dict[int, str]:
        """Which parts of the reply `key` stand in the conversation: number → message id."""
        found: dict[int, str] = {}
        for message in self._read_back(place, to):
            metadata = message.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            if metadata.get("event_type") == EVENT and payload.get("key") == key:
                found[int(payload.get("part", 0))] = str(message["ts"])
        return found

    def _read_back(self, place: tuple[str, str], to: Message) -> list[dict[str, Any]]:
        """The messages since `to`, where `to` is answered; none where the app may not read there."""
        channel, thread = place
        method = "conversations.replies" if thread else "conversations.history"
        asked: dict[str, str] = {"channel": channel, "include_all_metadata": "true", "limit": "100"}
        if thread:
            asked["ts"] = thread
        if to.sent_at:  # of a command or a reminder it is a clock's of ours, not Slack's, and may be ahead
            asked["oldest"] = f"{min(to.sent_at / 1000, self.clock()) - 10:.6f}"
        messages: list[dict[str, Any]] = []
        try:
            for _ in range(10):
                page = self._call(method, asked, as_form=True)
                messages += page.get("messages") or []
                cursor = (page.get("response_metadata") or {}).get("next_cursor")
                if not cursor:
                    break
                asked["cursor"] = cursor
        except (MissingPermission, NotInChat) as error:
            logger.warning("slack replies cannot be read back, so a repeat may show twice: %s", error)
        return messages

    def _whisper(self, pieces: Sequence[str], reply: Reply, to: Message, *, key: str, attempt: int) -> Sent:
        """Shows the reply to the asker alone; where that is impossible in this channel, in the chat with the asker."""
        channel, thread = self._place(to)
        ids = []
        try:
            for number in range(len(pieces)):
                message = {"channel": channel, "user": to.sender, **self._shown(pieces, number, reply)}
                if thread:
                    message["thread_ts"] = thread
                ids.append(str(self._call("chat.postEphemeral", message).get("message_ts", "")))
        except NotInChat:
            if ids:
                raise
            place = (self._chat_with(to.sender), "")
            return self._post_all(pieces, reply, replace(to, direct=True), place=place, key=key, attempt=attempt)
        return Sent(ids=tuple(ids))

    # --- a command's own address ---

    def _has_response_url(self, to: Message) -> bool:
        return bool(to.address.get("response_url")) and self.clock() - to.sent_at / 1000 < RESPONSE_URL_LIFE

    def _respond(self, pieces: Sequence[str], reply: Reply, to: Message, *, key: str, attempt: int) -> Sent:
        """Answers a command where it was typed, for the asker's eyes: works in channels that the bot is no member of."""
        if len(pieces) > 4:  # the address takes five replies
            place = (self._chat_with(to.sender), "")
            return self._post_all(pieces, reply, replace(to, direct=True), place=place, key=key, attempt=attempt)
        for number in range(len(pieces)):
            self._to_response_url(to, {"response_type": "ephemeral", **self._shown(pieces, number, reply)})
        return Sent(ids=tuple(f"{key}-{number}" for number in range(len(pieces))))

    def _to_response_url(self, to: Message, message: Mapping[str, Any]) -> None:
        from assistant.platforms import outbound

        url = to.address["response_url"]
        if not self._trusted(url):
            raise ContentRefused("slack: the reply address of the command is not Slack's", platform=self.name)

        def act() -> None:
            response = outbound.call(self.name, "POST", url, json=dict(message))
            if response.status_code == 429:
                raise RateLimited("slack: rate limited", platform=self.name, retry_after=outbound.retry_after(response.headers))
            if response.status_code >= 500:
                raise VendorUnavailable(f"slack answered {response.status_code}", platform=self.name)
            if response.status_code >= 400:
                code = response.text.strip()[:60]
                raise NotInChat(f"slack does not take replies to this command any more: {code}", platform=self.name, code=code)

        outbound.with_retries(act, sleep=self.sleep)

    # --- a growing reply ---

    def open_stream(self, *, to: Message, key: str, attempt: int = 1) -> StreamState | None:
        """A reply whose first text will be posted when there is some; until then Slack shows that the bot is at work.

        In a thread it grows by Slack's own streaming. A stream hangs under a message, which in a plain one-to-one chat would
        hide the answer in a thread: there one message is posted and edited.
        """
        if (elsewhere := self._at(to)) is not self:
            return elsewhere.open_stream(to=to, key=key, attempt=attempt)
        if to.kind == "slash" and not to.direct:
            return None  # answered for the asker's eyes only, which cannot grow
        place = self._place(to)
        self._show_status(place)
        if attempt == 1:
            self._unbegun.add(key)
        mode = "stream" if place[1] else "edit"
        return StreamState(id="", started_ms=int(self.clock() * 1000), data={"mode": mode, "key": key})

    def _show_status(self, place: tuple[str, str]) -> None:
        if not (place[1] and self._shows_status):
            return
        try:
            status = {"channel_id": place[0], "thread_ts": place[1], "status": "is working on it…"}
            self._call("assistant.threads.setStatus", status, tries=1)
        except MissingPermission:
            self._shows_status = False  # not again in this process
        except SendError as error:
            logger.info("slack shows no status here: %s", error.code)

    def update_stream(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        """Shows the text so far. A moment's trouble is left for the next call: what counts is that the end lands."""
        if (elsewhere := self._at(to)) is not self:
            return elsewhere.update_stream(state, text, to=to)
        text = _harmless(text.lstrip())
        if text.endswith("<"):
            text = text[:-1]  # what follows decides whether it is harmless
        if not text or len(text) > GROWS_TO or state.data.get("doubt") or text == state.shown or not self._due(state):
            return state
        unbegun = state.data["key"] in self._unbegun
        try:
            if state.data["mode"] == "stream":
                return self._stream(state, text, to)
            return self._edit(state, text, to)
        except (RateLimited, VendorUnavailable):
            if unbegun:
                self._unbegun.add(state.data["key"])  # what was refused has begun nothing: nobody need look for it
            return state
        except OutcomeUnknown:
            if not state.id:
                return self._adopted(state, to)
            return _with(state, doubt="1")

    def _due(self, state: StreamState) -> bool:
        """Whether the message has stood still long enough."""
        now = self.clock()
        age = now - state.started_ms / 1000
        return not state.id or now - float(state.data.get("last", 0)) >= max(PACE[state.data["mode"]], age * SLOWING)

    def _grown(self, state: StreamState, text: str) -> StreamState:
        return replace(_with(state, last=f"{self.clock():.3f}"), shown=text)

    def _stream(self, state: StreamState, text: str, to: Message) -> StreamState:
        place = self._place(to)
        if not state.id:
            if self._may_be_started(state) and (adopted := self._adopted(state, to)).id:
                return adopted
            try:
                started = self._call(
                    "chat.startStream",
                    {
                        "channel": place[0],
                        "thread_ts": place[1],
                        "recipient_user_id": to.sender,
                        "recipient_team_id": to.address.get("user_team") or to.tenant,
                        "markdown_text": text,
                    },
                    tries=1,
                )
            except (RateLimited, VendorUnavailable, OutcomeUnknown, TokenDead, NotInChat, MissingPermission):
                raise
            except SendError as error:  # this conversation knows no streams
                logger.info("slack does not stream here: %s", error.code)
                return self._edit(_with(state, mode="edit"), text, to)
            return self._grown(replace(state, id=str(started["ts"])), text)
        if not text.startswith(state.shown):
            return _with(state, doubt="1")  # the model took something back: the end rewrites the whole
        delta = text[len(state.shown) :]
        try:
            self._call("chat.appendStream", {"channel": place[0], "ts": state.id, "markdown_text": delta}, tries=1)
        except (RateLimited, VendorUnavailable, OutcomeUnknown, TokenDead, NotInChat, MissingPermission):
            raise
        except SendError as error:
            if error.code == "stopped_by_user":
                return _with(state, stopped="1", doubt="1")
            return _with(state, mode="edit")  # over after about five minutes; edits go on
        return self._grown(state, text)

    def _edit(self, state: StreamState, text: str, to: Message) -> StreamState:
        place = self._place(to)
        shown = self._shown([text], 0, Reply(text=text))
        if state.id:
            try:
                self._call("chat.update", {"channel": place[0], "ts": state.id, **shown}, tries=1)
            except (MessageRecalled, ContentRefused, UnsupportedType):
                return _with(state, doubt="1")
            return self._grown(state, text)
        if self._may_be_started(state) and (adopted := self._adopted(state, to)).id:
            return adopted
        draft = {"metadata": _metadata(state.data["key"], -1), **({"thread_ts": place[1]} if place[1] else {})}
        ts = self._call("chat.postMessage", {"channel": place[0], **shown, **draft}, tries=1)["ts"]
        return self._grown(replace(state, id=str(ts)), text)

    def _may_be_started(self, state: StreamState) -> bool:
        """True where an earlier try may have posted the beginning and not lived to store its id: always, but for the first try
        to begin what this very process has opened."""
        if state.data["key"] in self._unbegun:
            self._unbegun.discard(state.data["key"])
            return False
        return True

    def _adopted(self, state: StreamState, to: Message) -> StreamState:
        """The state of a beginning that was posted without our hearing of it; unchanged where there is none.

        A draft is known by its metadata. A stream has none until it ends, and is the only message
        of ours, files aside, that has none.
        """
        own_user, own_bot = self._whoami()
        for message in reversed(self._read_back(self._place(to), to)):
            metadata = message.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            ours = message.get("user") == own_user or (own_bot and message.get("bot_id") == own_bot)
            draft = payload.get("key") == state.data["key"] and payload.get("part") == -1
            newer = float(message.get("ts") or 0) * 1000 > to.sent_at
            bare = not metadata.get("event_type") and not message.get("files")
            if draft or (ours and newer and bare and state.data["mode"] == "stream"):
                return replace(_with(state, doubt="1"), id=str(message["ts"]))
        return state

    def _whoami(self) -> tuple[str, str]:
        """The bot's user id and bot id."""
        user, bot = self.secrets.get("bot_user_id", ""), self.secrets.get("bot_id", "")
        if user:
            return user, bot

        def load() -> tuple[str, float]:
            told = self._call("auth.test", {})
            return json.dumps([told.get("user_id", ""), told.get("bot_id", "")]), 24 * 3600.0

        token = hashlib.sha256(self.secrets.get("bot_token", "").encode()).hexdigest()[:16]
        user, bot = json.loads(self.cache.get(f"slack/self/{token}", load))
        return user, bot

    def finish_stream(self, state: StreamState, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Lands the whole reply in the growing message, what is too long for it below; as a new message where it is gone."""
        if (elsewhere := self._at(to)) is not self:
            return elsewhere.finish_stream(state, reply, to=to, key=key, attempt=attempt)
        if not state.id and (self._may_be_started(state) or attempt > 1):
            state = self._adopted(state, to)
        if not state.id:
            return self.send(reply, to=to, key=key, attempt=attempt)
        place = self._place(to)
        if state.data.get("stopped"):
            return Sent(ids=(state.id,))  # the asker pressed stop: what is there is what was wanted
        pieces = self._pieces(reply)
        if not pieces or (reply.private and not to.direct):
            self._delete(state, place)
            return self.send(reply, to=to, key=key, attempt=attempt)
        there = self._posted(place, to, key) if attempt > 1 else {}
        if 0 not in there:
            try:
                there[0] = self._land(state, pieces, reply, to, place=place, key=key)
            except _Stopped:
                return Sent(ids=(state.id,))
            except MessageRecalled:  # somebody deleted it while it grew, or it gave way
                logger.info("the growing slack message is gone; the reply is posted anew")
        return self._post_all(pieces, reply, to, place=place, key=key, attempt=1, skip=there)

    def _land(
        self, state: StreamState, pieces: Sequence[str], reply: Reply, to: Message, *, place: tuple[str, str], key: str
    ) -> str:
        """Makes the growing message say the first piece; its id. Raises MessageRecalled where it is gone."""
        if state.data["mode"] == "stream":
            final = _harmless(pieces[0].strip())
            fits = len(pieces) == 1 and final.startswith(state.shown) and not state.data.get("doubt")
            # Streamed text is shown as the model wrote it; what Slack cannot show that way is rewritten at the end.
            if fits and not _unshown(final) and self._stop(state, place, final[len(state.shown) :], reply, key):
                return state.id
            self._stop(state, place, "", Reply(text=""), "")
        mention = "" if to.direct or state.data["mode"] == "stream" else to.sender
        message = {
            "channel": place[0],
            "ts": state.id,
            "metadata": _metadata(key, 0),
            **self._shown(pieces, 0, reply, mention=mention),
        }
        try:
            self._update(message, longest=PATIENT if state.data["mode"] == "stream" else BRISK)
        except RateLimited as limited:
            if state.data["mode"] == "edit" and self._given_way(state, place):
                raise MessageRecalled(f"{limited}; the draft gave way", platform=self.name, code="ratelimited") from limited
            self._update(message)
        return state.id

    def _given_way(self, state: StreamState, place: tuple[str, str]) -> bool:
        """Takes the draft away, so that the answer can be posted: posts are counted by conversation and not, as edits are, in the
        whole workspace. False where that is impossible too, or cannot be known to have happened."""
        try:
            self._call("chat.delete", {"channel": place[0], "ts": state.id}, longest=BRISK)
        except (RateLimited, OutcomeUnknown, VendorUnavailable):
            return False
        except MessageRecalled:
            pass
        return True

    def _update(self, message: Mapping[str, Any], *, longest: float = PATIENT) -> None:
        """Edits a message; once more where the outcome is unknown, for an edit can be repeated."""
        try:
            self._call("chat.update", message, longest=longest)
        except OutcomeUnknown:
            self._call("chat.update", message, longest=longest)
        except UnsupportedType:
            self._call("chat.update", {**_without_blocks(message), "blocks": []}, longest=longest)

    def _stop(self, state: StreamState, place: tuple[str, str], rest: str, reply: Reply, key: str) -> bool:
        """Ends the stream with the `rest` of its text; False where that cannot be known to have happened."""
        message: dict[str, Any] = {"channel": place[0], "ts": state.id}
        if rest:
            message["markdown_text"] = rest
        if key:
            message["metadata"] = _metadata(key, 0)
        if blocks := _actions(reply.buttons):
            message["blocks"] = blocks
        try:
            self._call("chat.stopStream", message, longest=PATIENT)
        except (RateLimited, TokenDead, MissingPermission, NotInChat, MessageRecalled):
            raise
        except SendError as error:
            if error.code == "stopped_by_user":
                raise _Stopped from error
            logger.info("the slack stream does not end by itself: %s", error.code or type(error).__name__)
            return False
        return True

    def _delete(self, state: StreamState, place: tuple[str, str]) -> None:
        """Takes the growing message away."""
        if state.data["mode"] == "stream":
            with suppress(_Stopped):
                self._stop(state, place, "", Reply(text=""), "")
        try:
            self._call("chat.delete", {"channel": place[0], "ts": state.id})
        except MessageRecalled:
            return

    # --- cards and files ---

    def update_card(self, message: Message, reply: Reply) -> None:
        """Replaces the message whose button was clicked."""
        if (elsewhere := self._at(message)) is not self:
            elsewhere.update_card(message, reply)
            return
        pieces = self._pieces(reply) or [" "]
        shown = self._shown(pieces[:1], 0, reply)
        if message.address.get("ephemeral") and message.address.get("response_url"):
            self._to_response_url(message, {"replace_original": True, **shown})
            return
        self._update({"channel": message.conversation, "ts": message.message_id, **shown})

    def fetch(self, message: Message, *, limit: int) -> File:
        """The file's bytes, asked for with the bot's token, which goes to Slack's own hosts only."""
        if (elsewhere := self._at(message)) is not self:
            return elsewhere.fetch(message, limit=limit)
        from assistant.platforms.files import content_type, safe_name

        url, name = message.file_key, message.file_name
        expected = message.address.get("mimetype", "")
        if not url.startswith(("https://", "http://")):
            facts = self._call("files.info", {"file": url}, as_form=True)["file"]
            url = facts.get("url_private_download") or facts.get("url_private") or ""
            name, expected = name or facts.get("name", ""), facts.get("mimetype", "")
        if not self._trusted(url):
            raise ContentRefused(f"slack: {name!r} is kept outside Slack and cannot be read there", platform=self.name)
        content, kind = self._download(url, limit=limit)
        if kind == "text/html" and expected != "text/html":
            raise self._no_files("html_instead_of_file")
        return File(name=safe_name(name), content=content, content_type=content_type(content, name=name))

    def _download(self, url: str, *, limit: int) -> tuple[bytes, str]:
        """Bytes and declared media type of `url`; raises ContentRefused above `limit` bytes."""
        from assistant.platforms import outbound
        from assistant.platforms.files import download

        headers = {"authorization": f"Bearer {self._token()}"}
        content, response = download(self.name, url, limit=limit, headers=headers)
        match response.status_code:
            case 200:
                return content, response.headers.get("content-type", "").partition(";")[0].strip().lower()
            case 429:
                after = outbound.retry_after(response.headers)
                raise RateLimited("slack: rate limited", platform=self.name, retry_after=after)
            case 301 | 302 | 303 | 307 | 308 | 401 | 403 as status:
                raise self._no_files(str(status))
            case status if status >= 500:
                raise VendorUnavailable(f"slack answered {status} for a file", platform=self.name)
        raise MessageRecalled(f"slack answered {response.status_code} for a file: it is gone", platform=self.name)

    def _no_files(self, code: str) -> MissingPermission:
        return MissingPermission(
            f"slack shows a sign-in page ({code}) instead of the file: the token may not read files",
            platform=self.name,
            code=code,
            scopes=("files:read",),
            console_url=self.console("oauth"),
        )

    # --- who reads along ---

    def members(self, message: Message, *, most: int) -> tuple[str, ...] | None:
        """The channel's members without this bot. Source: docs.slack.dev/reference/methods/conversations.members"""
        if (elsewhere := self._at(message)) is not self:
            return elsewhere.members(message, most=most)
        found: list[str] = []
        cursor = ""
        while len(found) <= most:
            asked = {"channel": message.conversation, "limit": 200} | ({"cursor": cursor} if cursor else {})
            page = self._call("conversations.members", asked, as_form=True, tries=2, longest=1.0)
            found += [str(m) for m in page.get("members") or () if m != self.secrets.get("bot_user_id")]
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return tuple(found) if len(found) <= most else None
        return None

    def belongs(self, user: str) -> tuple[str, ...]:
        """The user groups that the person is in. Source: docs.slack.dev/reference/methods/usergroups.list"""

        def load() -> tuple[str, float]:
            groups = self._call("usergroups.list", {"include_users": "true"}, as_form=True, tries=2, longest=1.0).get(
                "usergroups"
            )
            return json.dumps({str(g["id"]): g.get("users") or [] for g in groups or () if not g.get("date_delete")}), 600.0

        groups: Mapping[str, Sequence[str]] = json.loads(self.cache.get(f"slack/groups/{self.secrets.get('team_id', '')}", load))
        return tuple(f"group:{g}" for g, users in groups.items() if user in users)

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Every file."""
        return file.size > 0

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Shares the file where `to` was said. A repeat is recognised by the file's name, which ends with a mark of `key`.

        What is for the asker alone, and what answers a command in a channel that the bot may be no member of, goes to their
        own chat: files cannot be shown to one person among others.
        """
        if (elsewhere := self._at(to)) is not self:
            return elsewhere.upload(file, to=to, key=key, private=private)
        from assistant.platforms import outbound

        aside = not to.direct and (private or to.kind == "slash")
        place = (self._chat_with(to.sender), "") if aside else self._place(to)
        mark = hashlib.sha256(key.encode()).hexdigest()[:10]
        stem, dot, extension = file.name.rpartition(".")
        named = f"{stem}-{mark}{dot}{extension}" if stem else f"{file.name}-{mark}"
        if (found := self._shared(place, to, named)) is not None:
            return Sent(ids=(found,))
        ticket = self._call("files.getUploadURLExternal", {"filename": named, "length": str(len(file.content))}, as_form=True)
        url = str(ticket["upload_url"])
        if not self._trusted(url):
            raise ContentRefused("slack: the upload address is not Slack's", platform=self.name)

        def put() -> None:
            response = outbound.call(self.name, "POST", url, content=file.content, headers={"content-type": file.content_type})
            if response.status_code != 200:
                raise VendorUnavailable(f"slack answered {response.status_code} to an upload", platform=self.name)

        outbound.with_retries(put, sleep=self.sleep)
        done = {"files": [{"id": ticket["file_id"], "title": file.name}], "channel_id": place[0]}
        if place[1]:
            done["thread_ts"] = place[1]
        try:
            self._call("files.completeUploadExternal", done)
        except OutcomeUnknown:
            if self._shared(place, to, named) is None:
                raise
        return Sent(ids=(str(ticket["file_id"]),))

    def _shared(self, place: tuple[str, str], to: Message, name: str) -> str | None:
        """Id of the file called `name` where it was shared here already."""
        for message in self._read_back(place, to):
            for shared in message.get("files") or []:
                if shared.get("name") == name:
                    return str(shared["id"])
        return None

    # --- the Web API ---

    @property
    def _base(self) -> str:
        return (self.secrets.get("api_base") or "https://slack.com").rstrip("/").removesuffix("/api")

    def _token(self) -> str:
        if token := self.secrets.get("bot_token"):
            return token
        raise TokenDead("slack: secret field 'bot_token' is not configured", platform=self.name, code="not_authed")

    def _trusted(self, url: str) -> bool:
        """Whether `url` is Slack's (or the configured gateway's), so that our token and files may go there."""
        return leads_to(url, HOSTS, DOMAINS, gateway=self.secrets.get("api_base", ""))

    def console(self, page: str) -> str:
        """Address of a page of the app's settings."""
        app = self.secrets.get("app_id", "")
        return f"https://api.slack.com/apps/{app}/{page}" if app else "https://api.slack.com/apps"

    def _call(
        self, method: str, arguments: Mapping[str, Any], *, as_form: bool = False, tries: int = 4, longest: float = 8.0
    ) -> dict[str, Any]:
        """The answer of a Web API method. Raises a SendError; rate limits up to `longest` seconds and refused connections are
        waited out first.

        Slack counts posts by conversation and everything else by method in the whole workspace. What shows a reply that still
        grows (one try) takes no more than its share of that, so that the last word of every answer finds room, and waits for
        nothing: the next state holds its text too.
        """
        from assistant.platforms import outbound

        def act() -> dict[str, Any]:
            return self._answer(method, self._request(method, arguments, as_form=as_form))

        budgets = _budgets(method, str(arguments.get("channel", "")), grows=tries == 1)
        wait, share = (longest, 1.0) if tries > 1 else (0.0, GROWING)
        return outbound.with_retries(
            lambda: self.pace.call(act, budgets, longest=wait, share=share), tries=tries, longest=longest, sleep=self.sleep
        )

    def _request(self, method: str, arguments: Mapping[str, Any], *, as_form: bool = False) -> httpx.Response:
        from assistant.platforms import outbound

        url, headers = f"{self._base}/api/{method}", {"authorization": f"Bearer {self._token()}"}
        if as_form:
            text = {name: str(value).encode("utf-8", "replace").decode() for name, value in arguments.items()}
            return outbound.call(self.name, "POST", url, headers=headers, data=text)
        headers["content-type"] = "application/json; charset=utf-8"
        body = json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace")
        return outbound.call(self.name, "POST", url, headers=headers, content=body)

    def _answer(self, method: str, response: httpx.Response) -> dict[str, Any]:
        from assistant.platforms import outbound

        status = response.status_code
        try:
            data = response.json()
        except ValueError:
            data = {}
        code = str(data.get("error") or "") if isinstance(data, dict) else ""
        if status == 429 or code in ("ratelimited", "rate_limited"):
            after = outbound.retry_after(response.headers)
            raise RateLimited(f"slack limits {method}", platform=self.name, code="ratelimited", retry_after=after)
        if status >= 500 or code in ("internal_error", "fatal_error", "service_unavailable", "request_timeout"):
            # Slack may have acted before it failed; a post is repeated only after a look.
            failed = OutcomeUnknown if method in _POSTS else VendorUnavailable
            raise failed(f"slack answered {status} {code} to {method}", platform=self.name, code=code or str(status))
        if isinstance(data, dict) and data.get("ok") is True:
            return data
        raise self._error(method, code or str(status), data if isinstance(data, dict) else {})

    def _error(self, method: str, code: str, data: Mapping[str, Any]) -> SendError:
        said = f"slack answered {code!r} to {method}"
        if code == "missing_scope":
            scopes = tuple(s.strip() for s in str(data.get("needed") or "").split(",") if s.strip())
            return MissingPermission(
                f"{said}: the app lacks {', '.join(scopes) or 'a scope'}; add it and install the app again",
                platform=self.name,
                code=code,
                scopes=scopes,
                console_url=self.console("oauth"),
            )
        if code in _FORBIDDEN:
            page, why = _FORBIDDEN[code]
            return MissingPermission(f"{said}: {why}", platform=self.name, code=code, console_url=self.console(page))
        kind = next((kind for kind, codes in _CODES.items() if code in codes), SendError)
        return kind(said, platform=self.name, code=code)

    # --- doctor ---

    def diagnose(self) -> list[Finding]:
        """Secrets, clock, token, identity, scopes and further workspaces."""
        from assistant.platforms.slack_doctor import diagnose

        return diagnose(self)

    def tested(self, team: str = "") -> tuple[dict[str, Any], Mapping[str, str]]:
        """What auth.test says of our token, or of further workspace `team`, and its headers. Raises a SendError."""
        to = self.private_chat("")
        at = self._at(replace(to, address={WORKSPACE: team})) if team else self
        response = at._request("auth.test", {})
        return at._answer("auth.test", response), response.headers


def _budgets(method: str, channel: str, *, grows: bool) -> dict[str, tuple[Rate, ...]]:
    """For what a call counts, see A_MINUTE; `grows`: it shows an answer that is not whole yet, see BEGUN."""
    from assistant.platforms.outbound import Rate

    if method == "chat.postMessage":
        return {f"{method} {channel}": (Rate(1, 1.0),), **({"drafts": (Rate(BEGUN, 60.0),)} if grows else {})}
    return {method: (Rate(A_MINUTE[method], 60.0),) if method in A_MINUTE else ()}


class _Stopped(Exception):  # no error: the asker pressed stop
    """The asker ended the stream."""


_POSTS: Final = frozenset({"chat.postMessage", "chat.startStream", "chat.appendStream", "files.completeUploadExternal"})

_FORBIDDEN: Final[Mapping[str, tuple[str, str]]] = {
    "no_permission": ("oauth", "the app may not do this in this workspace"),
    "not_allowed_token_type": ("oauth", "the configured token is no bot token"),
    "restricted_action": ("general", "the workspace lets only some people post here"),
    "restricted_action_read_only_channel": ("general", "the channel is read-only"),
    "restricted_action_thread_only_channel": ("general", "the channel takes replies in threads only"),
    "messages_tab_disabled": ("app-home", "switch the Messages Tab on"),
    "ekm_access_denied": ("general", "the workspace's own encryption keys forbid it"),
    "access_denied": ("general", "the app may not do this here"),
    "team_access_not_granted": ("oauth", "the app is not installed in this workspace of the organisation"),
}

_CODES: Final[Mapping[type[SendError], frozenset[str]]] = {
    TokenDead: frozenset(
        {"invalid_auth", "token_expired", "token_revoked", "account_inactive", "not_authed", "invalid_token", "app_uninstalled"}
    ),
    NotInChat: frozenset(
        {
            "not_in_channel", "channel_not_found", "is_archived", "user_not_in_channel", "user_not_found", "cannot_dm_bot",
            "user_disabled", "users_not_found", "user_not_visible", "not_in_group",
        }
    ),
    MessageRecalled: frozenset({"message_not_found", "thread_not_found", "cant_delete_message", "file_not_found"}),
    UnsupportedType: frozenset(
        {"invalid_blocks", "invalid_blocks_format", "block_mismatch", "unsupported_block_type"}
    ),
    ContentRefused: frozenset(
        {
            "msg_too_long", "msg_blocks_too_long", "no_text", "invalid_arguments", "markdown_text_conflict", "invalid_arg_name",
            "edit_window_closed", "cant_update_message", "as_user_not_supported", "metadata_too_large", "invalid_metadata_format",
            "file_upload_size_restricted", "file_type_blocked", "slack_connect_blocked_file_type",
        }
    ),
}  # fmt: skip


def _received(channel: str, data: Object, own: Own) -> Received:
    match channel:
        case "events":
            return from_events(data, own)
        case "interactive":
            return from_interactive(data)
    return from_command(data, own)


def _is_ssl_check(webhook: Webhook) -> bool:
    """Slack's unsigned look at the certificate. It is answered and means nothing."""
    if "x-slack-signature" in webhook.headers:
        return False
    if webhook.query.get("ssl_check") == "1":
        return True
    try:
        return len(webhook.body) < 4096 and form(webhook.body).get("ssl_check") == "1"
    except Refused:
        return False


def _without_blocks(message: Mapping[str, Any]) -> dict[str, Any]:
    """The same in text alone, for a workspace that does not take the blocks."""
    return {name: value for name, value in message.items() if name != "blocks"}


def _metadata(key: str, part: int) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": {"key": key, "part": part}}


def _with(state: StreamState, **data: str) -> StreamState:
    return replace(state, data={**state.data, **data})


def _silent(error: SendError) -> bool:
    """Whether the call ended by a time-out, so that Slack may still be working on it."""
    import httpx

    return isinstance(error.__cause__, httpx.TimeoutException)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_LOUD: Final = re.compile(r"<(?=[!@#])")


def _harmless(text: str) -> str:
    """Markdown in which nothing calls a channel, a group or a person: what a model writes must not ring everybody's phone."""
    return _LOUD.sub("<\u200b", text)


_UNSHOWN: Final = re.compile(
    r"(?m)^[ >]*+(?:\|?[ :]*+-++[ :]*+\|[ :|-]*+|([-*_])(?: *+\1){2,}+ *+)$|^[ >]*+(?:```+|~~~+) *+\w|!\[[^\[\]]*+\]\("
)


def _unshown(markdown: str) -> bool:
    """Whether `markdown` holds what Slack's streams do not show: tables, rules, languages of code, pictures."""
    return bool(_UNSHOWN.search(markdown))


def _dialect() -> Dialect:
    """What Slack's markdown block shows: no tables, no rules, no language on code.

    Source: docs.slack.dev/reference/block-kit/blocks/markdown-block
    """
    from assistant.platforms.markdown import COMMONMARK, escape_markdown

    return replace(
        COMMONMARK,
        code_block=lambda text, _language: COMMONMARK.code_block(text, ""),
        table="code",
        rule="———",
        hard_break="\n",
        escape=lambda text: escape_markdown(text, html=True),
    )


def _actions(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    """The buttons as blocks; what a button is worth comes back as JSON."""
    elements: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for button in buttons:
        count = seen[button.key] = seen.get(button.key, 0) + 1
        element: dict[str, Any] = {
            "type": "button",
            "text": {"type": "plain_text", "text": button.text[:75] or "…", "emoji": True},
            "action_id": button.key if count == 1 else f"{button.key}{REPEATED}{count}",
        }
        if button.value is not None:
            value = json.dumps(button.value, ensure_ascii=False, separators=(",", ":"))
            if len(value) > 2000:
                raise ContentRefused(
                    f"slack: the value of button {button.key!r} has {len(value)} characters, at most 2000", platform="slack"
                )
            element["value"] = value
        if button.style != "default":
            element["style"] = button.style
        elements.append(element)
    return [{"type": "actions", "elements": elements[n : n + 25]} for n in range(0, len(elements), 25)]
