"""Microsoft Teams: activities in; messages, growing messages, cards and pictures out.

The Bot Connector has no idempotency key and lets a bot read nothing back. A reply that grew is idempotent all the same: it has
an id from its beginning. A plain post is noted before it is made, and one whose receipt is lost is held to be seen: a second
visible reply is worse than the rare missing one.
"""

from __future__ import annotations

import html
import json
import logging
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, urlsplit

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
    UnsupportedType,
    VendorUnavailable,
    VerificationError,
)
from assistant.messages import Attachment, Button, File, Message, Received, Reply, Sent, Webhook
from assistant.platforms import Finding, Platform, StreamState
from assistant.platforms.teams_events import VALUE, received
from assistant.platforms.teams_token import OPENID_METADATA, Keys, prove
from assistant.platforms.wire import json_object, leads_to, object_at, text_at

if TYPE_CHECKING:
    import httpx

    from assistant.platforms.markdown import Dialect
    from assistant.platforms.outbound import Leaving, Rate

logger = logging.getLogger(__name__)

CHANNEL: Final = "msteams"

LONGEST: Final = 20_000
"""UTF-16 units of Markdown in one message: Teams takes 100 KB of UTF-16, and advises to stay under 80."""

BIGGEST_PICTURE: Final = 48 * 1024
"""Bytes of a picture that is sent inside a message."""

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif"})
"""What Teams shows of pictures inside a message."""

STREAM_LIFE: Final = 110.0
"""Seconds for which a reply is streamed; Teams ends a stream after two minutes."""

GROWING: Final = 0.7
"""Part of a conversation's calls that replies may use up which still grow."""

SERVICE_HOSTS: Final = ("smba.trafficmanager.net",)
SERVICE_DOMAINS: Final = (".botframework.com", ".teams.microsoft.com")
"""Where the bot's token may go, over https."""

CARD: Final = "application/vnd.microsoft.card.adaptive"

AI_LABEL: Final[Mapping[str, Any]] = {
    "type": "https://schema.org/Message",
    "@type": "Message",
    "@context": "https://schema.org",
    "@id": "",
    "additionalType": ["AIGeneratedContent"],
}

ADMIN_CENTER: Final = "https://admin.teams.microsoft.com/policies/manage-apps"


class Teams(Platform):
    """`/webhook/teams/messages`; the Bot Connector outwards."""

    name: ClassVar[str] = "teams"
    channels: ClassVar[tuple[str, ...]] = ("messages",)
    stream_interval: ClassVar[float] = 1.5
    remembers: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: handed on to Platform as it is
        super().__init__(*args, **kwargs)
        self.keys = Keys(self.secrets.get("openid_metadata") or OPENID_METADATA, clock=self.clock)
        """The connector's keys."""

    # --- in ---

    def receive(self, webhook: Webhook) -> Received:
        """The messages in a request that carries the connector's token for this bot; see `teams_events` for what becomes what."""
        app_id = self.secret("app_id")
        proof = prove(webhook.headers.get("authorization", ""), app_id=app_id, keys=self.keys, now=self.clock())
        if webhook.method != "POST":
            raise Refused("teams: activities come with POST", status=405)
        kind = webhook.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and "content-type" in webhook.headers:
            raise Refused(f"teams: content type {kind[:80]!r} is not application/json", status=415)
        activity = json_object(webhook.body, "teams: the body")
        channel, service_url = text_at(activity, "channelId"), text_at(activity, "serviceUrl")
        if channel not in proof.endorsements:
            raise VerificationError("teams: the token's key may not speak for the channel in the body")
        if channel != CHANNEL:  # in Microsoft's web chats anybody can claim to be anybody
            raise VerificationError(f"teams: only the channel {CHANNEL} is served")
        if service_url != proof.service_url:
            raise VerificationError("teams: the service address in the body is not the token's")
        if not self._trusted(service_url):
            raise VerificationError("teams: the service address is not one of Microsoft's; a gateway belongs into api_base")
        return received(activity)

    def _trusted(self, url: str) -> bool:
        """Whether the bot's token may be sent to `url`."""
        return leads_to(url, SERVICE_HOSTS, SERVICE_DOMAINS, gateway=self.secrets.get("api_base", ""))

    # --- out ---

    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Posts the reply where `to` was said; a private one, asked for in a group, in the chat with the asker.

        What was posted of a reply in several parts is remembered under `key`; for a single message there is nothing by which
        a second try could know the first.
        """
        pieces = self._pieces(reply)
        if not pieces:
            return Sent()
        conversation = to.conversation
        if reply.private and not to.direct:
            conversation, to = self._chat_with(to), replace(to, direct=True)
        return self._post_all(pieces, reply, to, conversation=conversation, key=key, attempt=attempt)

    def _pieces(self, reply: Reply) -> list[str]:
        """The reply's Markdown in as many parts as Teams needs; none where nothing is said."""
        from assistant.platforms.markdown import body, utf16, written_parts

        text = body(reply)
        if not text.strip() and not reply.buttons:
            return []
        return written_parts(text, limit=LONGEST, written=_written, measure=utf16)

    def _post_all(
        self,
        pieces: Sequence[str],
        reply: Reply,
        to: Message,
        *,
        conversation: str,
        key: str,
        attempt: int,
        first: str = "",
    ) -> Sent:
        """Posts the pieces in order; the first is skipped where `first`, its id, is given."""
        ids = [first] if first else []
        for number in range(len(ids), len(pieces)):
            activity = self._activity(pieces, number, reply, to)

            ids.append(self.noted(f"{key}/{number}", partial(self._post, to, conversation, activity)))
        return Sent(ids=tuple(i for i in ids if i))

    def _activity(self, pieces: Sequence[str], number: int, reply: Reply, to: Message, *, mention: bool = True) -> dict[str, Any]:
        """One piece as a message; the last carries the buttons, the first calls the asker in a group."""
        text = _written(pieces[number])
        entities: list[Mapping[str, Any]] = [AI_LABEL]
        if mention and number == 0 and not to.direct and to.sender.startswith("29:") and to.sender_name:
            called = f"<at>{html.escape(to.sender_name, quote=False)}</at>"
            entities.append({"type": "mention", "mentioned": {"id": to.sender, "name": to.sender_name}, "text": called})
            text = f"{called} {text}"
        activity: dict[str, Any] = {"type": "message", "textFormat": "markdown", "text": text, "entities": entities}
        if to.address.get("bot_id"):
            activity["from"] = {"id": to.address["bot_id"], "name": to.address.get("bot_name", "")}
        if number == len(pieces) - 1 and reply.buttons:
            activity["attachments"] = [_card(reply.buttons)]
        return activity

    def _post(self, to: Message, conversation: str, activity: Mapping[str, Any], leaving: Leaving) -> str:
        """Posts an activity; its id. In the conversation of `to` it becomes a reply to it."""
        path = f"v3/conversations/{quote(conversation, safe='')}/activities"
        answered = to.address.get("activity_id", "")
        if to.kind in ("text", "image", "file") and answered and conversation == to.conversation:
            path += f"/{quote(answered, safe='')}"
            activity = {**activity, "replyToId": answered}
        return str(self._call("POST", to, path, activity, leaving=leaving).get("id", ""))

    def private_chat_beside(self, user: str, message: Message) -> Message:
        """An address at which a private reply reaches somebody else: their chat is opened at the service that `message` came
        from."""
        known = {name: message.address[name] for name in ("service_url", "bot_id", "bot_name") if message.address.get(name)}
        return replace(super().private_chat_beside(user, message), direct=False, address=known)

    def _chat_with(self, to: Message) -> str:
        """The one-to-one conversation with the sender of `to`."""
        asked = {
            "bot": {"id": to.address.get("bot_id", f"28:{self.secrets.get('app_id', '')}")},
            "members": [{"id": to.sender}],
            "tenantId": to.tenant,
            "channelData": {"tenant": {"id": to.tenant}},
            "isGroup": False,
        }

        def load() -> tuple[str, float]:
            return str(self._call("POST", to, "v3/conversations", asked)["id"]), 24 * 3600.0

        return self.cache.get(f"teams/chat/{to.tenant}/{to.sender}", load)

    # --- a growing reply ---

    def open_stream(self, *, to: Message, key: str, attempt: int = 1) -> StreamState | None:
        """A growing reply in a one-to-one chat; a group sees that the bot is writing, and then one message. What an earlier try
        left open keeps Teams from opening another; then the answer comes whole."""
        path = f"v3/conversations/{quote(to.conversation, safe='')}/activities"
        if not to.direct:
            try:
                self._call("POST", to, path, {"type": "typing"}, tries=1)
            except SendError as error:
                logger.info("teams shows no typing here: %s", error.code)
            return None
        chinese = to.locale.lower().startswith("zh") or bool(re.search("[\u4e00-\u9fff]", to.text))
        info = {"type": "streaminfo", "streamType": "informative", "streamSequence": 1}
        told = {"type": "typing", "text": "正在处理…" if chinese else "Working on it…", "entities": [info]}
        try:
            id_ = str(self._call("POST", to, path, told, tries=1)["id"])
        except (UnsupportedType, ContentRefused, RateLimited, VendorUnavailable, _StreamOver) as error:
            logger.info("teams does not stream here: %s", error.code)
            return None
        return StreamState(id=id_, sequence=1, started_ms=int(self.clock() * 1000))

    def update_stream(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        """Shows the text so far. A moment's trouble is left for the next call: what counts is that the end lands."""
        from assistant.platforms.markdown import utf16

        text = text.lstrip()
        if not text or state.data or not text.startswith(state.shown) or utf16(text) > LONGEST or self._stream_is_old(state):
            return state
        sequence = state.sequence + 1
        info = {"type": "streaminfo", "streamType": "streaming", "streamId": state.id, "streamSequence": sequence}
        path = f"v3/conversations/{quote(to.conversation, safe='')}/activities"
        try:
            self._call("POST", to, path, {"type": "typing", "text": text, "entities": [info]}, tries=1)
        except (RateLimited, VendorUnavailable, OutcomeUnknown):
            return replace(state, sequence=sequence)  # the next text holds this one, whether or not it arrived
        except _StreamOver as over:
            return replace(state, sequence=sequence, data={"over": over.why})
        return replace(state, sequence=sequence, shown=text)

    def _stream_is_old(self, state: StreamState) -> bool:
        return self.clock() - state.started_ms / 1000 > STREAM_LIFE

    def finish_stream(self, state: StreamState, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """Lands the whole reply in the growing message, what is too long for it below it. Can be repeated: a stream ends once,
        and an edit says the same twice."""
        if state.data.get("over") == "cancelled":
            return Sent(ids=(state.id,))  # the asker pressed stop: what is there is what was wanted
        pieces = self._pieces(reply)
        if not pieces or (reply.private and not to.direct):
            self._take_back(state, to)
            return self.send(reply, to=to, key=key, attempt=attempt)
        activity = self._activity(pieces, 0, reply, to)
        try:
            self._land(state, pieces, activity, to)
        except _Cancelled:
            return Sent(ids=(state.id,))
        except (MessageRecalled, ContentRefused) as error:
            if isinstance(error, ContentRefused) and not state.shown:
                raise
            logger.info("the growing teams message is gone; the reply is posted anew: %s", error.code)
            return self.send(reply, to=to, key=key, attempt=attempt)
        return self._post_all(pieces, reply, to, conversation=to.conversation, key=key, attempt=attempt, first=state.id)

    def _land(self, state: StreamState, pieces: Sequence[str], activity: Mapping[str, Any], to: Message) -> None:
        """Makes the growing message say the first piece. Streamed text is shown as the model wrote it and can only grow; where
        the end reads otherwise (tables, parts, words taken back) the finished message is edited."""
        text = pieces[0].strip()
        grows = text.startswith(state.shown) and len(pieces) == 1
        rewritten = not grows or _has_table(text)
        if not state.data and not self._stream_is_old(state):
            final = {"type": "streaminfo", "streamId": state.id, "streamType": "final"}
            ended = {**activity, "text": text if grows else state.shown or "…"}
            ended["entities"] = [*activity["entities"], final]
            path = f"v3/conversations/{quote(to.conversation, safe='')}/activities"
            if self._ends(to, path, ended) and not rewritten:
                return
        self._edit(state.id, activity, to)

    def _ends(self, to: Message, path: str, ended: Mapping[str, Any]) -> bool:
        """Whether the stream ended with this text; False where only an edit can still land it."""
        for _ in range(2):
            try:
                self._call("POST", to, path, ended)
            except OutcomeUnknown:
                continue  # said again, Teams tells whether the first was heard
            except _StreamOver as over:
                if over.why == "cancelled":
                    raise _Cancelled from over
                return False
            except (UnsupportedType, ContentRefused) as error:
                logger.info("the teams stream does not end by itself: %s", error.code)
                return False
            else:
                return True
        return False

    def _edit(self, id_: str, activity: Mapping[str, Any], to: Message) -> None:
        """Replaces the message `id_`; once more where the outcome is unknown."""
        path = f"v3/conversations/{quote(to.conversation, safe='')}/activities/{quote(id_, safe='')}"
        try:
            self._call("PUT", to, path, {**activity, "id": id_})
        except OutcomeUnknown:
            self._call("PUT", to, path, {**activity, "id": id_})

    def _take_back(self, state: StreamState, to: Message) -> None:
        """Takes the growing message away; a stream without an end leaves by itself."""
        path = f"v3/conversations/{quote(to.conversation, safe='')}/activities/{quote(state.id, safe='')}"
        try:
            self._call("DELETE", to, path)
        except (MessageRecalled, ContentRefused, _StreamOver, OutcomeUnknown) as error:
            logger.info("the growing teams message was not taken back: %s", error.code)

    # --- cards and files ---

    def update_card(self, message: Message, reply: Reply) -> None:
        """Replaces the message whose button was clicked."""
        pieces = self._pieces(reply) or [" "]
        self._edit(message.message_id, self._activity(pieces[:1], 0, reply, message, mention=False), message)

    def fetch(self, message: Message, *, limit: int) -> File:
        """The file's bytes. A shared file has an address that needs no token; a picture in the text needs the bot's, which goes
        to Microsoft's service hosts only."""
        from assistant.platforms import outbound
        from assistant.platforms.files import content_type, download, safe_name

        headers = {}
        if message.address.get("file_needs_token"):
            if not self._trusted(message.file_key):
                raise ContentRefused("teams: the picture is kept on a host that is not Teams'", platform=self.name)
            headers["authorization"] = f"Bearer {self._token()}"
        elif not self._public(message.file_key):
            raise ContentRefused("teams: the file's address is not a public https address", platform=self.name)
        content, response = download(self.name, message.file_key, limit=limit, headers=headers)
        match response.status_code:
            case 200:
                kind = content_type(content, name=message.file_name)
                return File(name=safe_name(message.file_name, kind=kind), content=content, content_type=kind)
            case 429:
                raise RateLimited("teams: rate limited", platform=self.name, retry_after=outbound.retry_after(response.headers))
            case 401 | 403 as status:
                raise MissingPermission(f"teams answered {status} for a file", platform=self.name, code=str(status))
            case status if status >= 500:
                raise VendorUnavailable(f"teams answered {status} for a file", platform=self.name)
        raise MessageRecalled(f"teams answered {response.status_code} for a file: its address is over", platform=self.name)

    def _public(self, url: str) -> bool:
        """Whether `url` is an https address by name, or the configured gateway's."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if (own := self.secrets.get("api_base")) and (parts.scheme, parts.netloc) == urlsplit(own)[:2]:
            return True
        host = (parts.hostname or "").lower()
        named = "." in host and not re.fullmatch(r"[0-9.]+|.*:.*|.*\.(local|internal|localhost)", host)
        return parts.scheme == "https" and named and not parts.username

    def members(self, message: Message, *, most: int) -> tuple[str, ...] | None:
        """The conversation's people.

        Source: learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
        """
        found: list[str] = []
        token = ""
        while len(found) <= most:
            more = f"&continuationToken={quote(token, safe='')}" if token else ""
            place = quote(message.conversation.partition(";")[0], safe="")
            page = self._call("GET", message, f"v3/conversations/{place}/pagedmembers?pageSize=500{more}", tries=2)
            found += [str(m.get("id", "")) for m in page.get("members") or ()]
            token = str(page.get("continuationToken") or "")
            if not token:
                return tuple(found) if len(found) <= most else None
        return None

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Small pictures; other files need the asker's consent or a place in SharePoint."""
        return file.content_type in PICTURES and 0 < file.size <= BIGGEST_PICTURE

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Shows a small picture in the chat; for all else UnsupportedType."""
        if file.content_type not in PICTURES or len(file.content) > BIGGEST_PICTURE:
            raise UnsupportedType(
                f"teams: a bot can post pictures up to {BIGGEST_PICTURE} bytes, not {file.content_type} of "
                f"{len(file.content)} bytes; post a link instead",
                platform=self.name,
            )
        inline = f"data:{file.content_type};base64,{b64encode(file.content).decode()}"
        attachment = {"contentType": file.content_type, "contentUrl": inline, "name": file.name}
        activity = {"type": "message", "attachments": [attachment]}
        conversation = self._chat_with(to) if private and not to.direct else to.conversation
        posted = self.noted(f"{key}/u", partial(self._post, to, conversation, activity))
        return Sent(ids=(posted,) if posted else ())

    # --- the connector ---

    def _token(self) -> str:
        """The bot's access token, shared with the other instances and renewed five minutes early."""
        return self.cache.get(self._token_key, self.new_token)

    @property
    def _token_key(self) -> str:
        return f"teams/token/{self.secrets.get('tenant_id', '')}/{self.secrets.get('app_id', '')}"

    def new_token(self) -> tuple[str, float]:
        """A token of the bot and the seconds it may be kept; raises TokenDead where the registration is not taken."""
        from assistant.platforms import outbound

        missing = [name for name in ("app_id", "app_password", "tenant_id") if not self.secrets.get(name)]
        if missing:
            raise TokenDead(f"teams: secret field {missing[0]!r} is not configured", platform=self.name)
        host = (self.secrets.get("api_base") or "https://login.microsoftonline.com").rstrip("/")
        asked = {
            "grant_type": "client_credentials",
            "client_id": self.secrets["app_id"],
            "client_secret": self.secrets["app_password"],
            "scope": "https://api.botframework.com/.default",
        }

        def ask() -> httpx.Response:
            url = f"{host}/{quote(self.secrets['tenant_id'], safe='')}/oauth2/v2.0/token"
            try:
                response = outbound.call(self.name, "POST", url, data=asked)
            except OutcomeUnknown as error:  # asking twice for a token does no harm
                raise VendorUnavailable(str(error), platform=self.name) from error
            if response.status_code == 429:
                after = outbound.retry_after(response.headers)
                raise RateLimited("teams: sign-in is rate limited", platform=self.name, retry_after=after)
            if response.status_code >= 500:
                raise VendorUnavailable(f"teams: sign-in answered {response.status_code}", platform=self.name)
            return response

        response = outbound.with_retries(ask, sleep=self.sleep)
        told = _json(response)
        token = told.get("access_token")
        if response.status_code != 200 or not isinstance(token, str):
            said = re.search(r"AADSTS\d+", str(told.get("error_description", "")))
            code = said[0] if said else str(told.get("error") or response.status_code)
            raise TokenDead(f"teams: no token for the bot: {code}{_HINTS.get(code, '')}", platform=self.name, code=code)
        try:
            seconds = float(told.get("expires_in", 3600))
        except (TypeError, ValueError):
            seconds = 3600.0
        return token, max(seconds - 300, 30.0)

    def _call(
        self,
        method: str,
        to: Message,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        tries: int = 4,
        leaving: Leaving | None = None,
    ) -> dict[str, Any]:
        """The connector's answer. Raises a SendError; rate limits and a busy connector are waited out first, but for what shows
        a reply that still grows (one try): the next state holds its text too."""
        from assistant.platforms import outbound

        url = self._service(to) + path
        body: dict[str, Any] = (
            {} if content is None else {"content": json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")}
        )

        def ask(token: str, line: outbound.Line | None = None) -> httpx.Response:
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json; charset=utf-8"}
            return outbound.call(self.name, method, url, through=line, headers=headers, **body)

        def answer(token: str, line: outbound.Line | None) -> dict[str, Any]:
            response = ask(token, line)
            if response.status_code == 401:
                self.cache.drop(self._token_key)
                response = ask(self._token())
            return self._answer(method, response)

        def act() -> dict[str, Any]:
            token = self._token()
            if leaving is None:
                return answer(token, None)
            with outbound.Line(self.name, url) as line:
                return leaving(lambda: answer(token, line))

        budgets = _budgets(to)
        wait, share = (outbound.LONGEST, 1.0) if tries > 1 else (0.0, GROWING)
        return outbound.with_retries(
            lambda: self.pace.call(act, budgets, longest=wait, share=share), tries=tries, sleep=self.sleep
        )

    def _service(self, to: Message) -> str:
        """Address of the connector that serves the conversation of `to`; ends with a slash."""
        url = to.address.get("service_url", "")
        if base := self.secrets.get("api_base"):
            return f"{base.rstrip('/')}/{urlsplit(url).path.strip('/')}".rstrip("/") + "/"
        if not self._trusted(url):
            raise NotInChat("teams: the conversation has no service address of Microsoft's", platform=self.name)
        return url.rstrip("/") + "/"

    def _answer(self, method: str, response: httpx.Response) -> dict[str, Any]:
        from assistant.platforms import outbound

        status = response.status_code
        told = _json(response)
        error = object_at(told, "error")
        code, words = text_at(error, "code") or str(status), text_at(error, "message")
        said = f"teams answered {status} {code} to {method}"
        if status < 300 and not error:
            return told
        if status < 300:
            return {}  # a stream's text overtook another: the newer one is shown
        match status:
            case 429:
                after = outbound.retry_after(response.headers)
                raise RateLimited(said, platform=self.name, code=code, retry_after=after)
            case 401:
                raise TokenDead(
                    f"{said}: compare app_id, app_password and tenant_id with the bot's registration",
                    platform=self.name,
                    code=code,
                )
            case 403 if "ContentStream" in code:
                raise _StreamOver(said, why=_why(words), code=code)
            case 403 if code in _OUT:
                raise NotInChat(said, platform=self.name, code=code)
            case 403:
                raise MissingPermission(
                    f"{said}: an app policy or a missing consent forbids it",
                    platform=self.name,
                    code=code,
                    console_url=ADMIN_CENTER,
                )
            case 404 | 410:
                gone = MessageRecalled if "Activity" in code or "Message" in code else NotInChat
                raise gone(said, platform=self.name, code=code)
            case 400 if "streaming" in words.lower():
                raise UnsupportedType(said, platform=self.name, code=code)
            case 400 | 413:
                raise ContentRefused(said, platform=self.name, code=code)
        if status == 412 or status >= 500:
            raise VendorUnavailable(said, platform=self.name, code=code)
        raise SendError(said, platform=self.name, code=code)

    # --- doctor ---

    def diagnose(self) -> list[Finding]:
        """Secrets, sign-in, clock and the connector's keys."""
        from assistant.platforms.teams_doctor import diagnose

        return diagnose(self)


_HINTS: Final[Mapping[str, str]] = {
    "AADSTS7000215": ": the client secret is wrong; copy its value, not its id",
    "AADSTS7000222": ": the client secret has expired; make a new one",
    "AADSTS700016": ": there is no such app in this tenant; compare app_id and tenant_id",
    "AADSTS90002": ": there is no such tenant; compare tenant_id",
    "AADSTS900023": ": tenant_id is no tenant",
}

_OUT: Final = frozenset(
    {"BotNotInConversationRoster", "ConversationBlockedByUser", "BotDisabledByAdmin", "BotNotInConversation", "BotBlockedByUser"}
)


def _budgets(to: Message) -> dict[str, tuple[Rate, ...]]:
    """What Teams takes of a bot in one conversation, and of the bot in one company.

    Source: learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit
    """
    from assistant.platforms.outbound import Rate

    chat = (Rate(7, 1.0), Rate(8, 2.0), Rate(60, 30.0), Rate(1800, 3600.0))
    return {f"conversation {to.conversation}": chat, f"tenant {to.tenant}": (Rate(50, 1.0),)}


class _StreamOver(SendError):
    """Teams takes no more text for this stream; `why`: completed, cancelled, exceeded, too_large or other."""

    def __init__(self, reason: str, *, why: str, code: str) -> None:
        super().__init__(reason, platform="teams", code=code)
        self.why = why


class _Cancelled(Exception):  # no error: the asker pressed stop
    """The asker ended the stream."""


def _why(words: str) -> str:
    words = words.lower()
    for why, signs in (
        ("cancelled", ("cancel",)),
        ("completed", ("completed", "already")),
        ("exceeded", ("exceed", "time")),
        ("too_large", ("too large", "size")),
    ):
        if any(sign in words for sign in signs):
            return why
    return "other"


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _has_table(markdown: str) -> bool:
    return bool(re.search(r"(?m)^[ >]*+\|?[ :]*+-++[ :]*+\|[ :|-]*+$", markdown))


def _written(markdown: str) -> str:
    from assistant.platforms.markdown import render

    return render(markdown, _dialect())


def _dialect() -> Dialect:
    """What Teams shows of a bot's Markdown: no tables, pictures as links; a line break needs two blanks before it.

    Source: learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages
    """
    from assistant.platforms.markdown import COMMONMARK, escape_markdown

    return replace(
        COMMONMARK,
        table="code",
        image=lambda alt, url: COMMONMARK.link(alt or url, url),
        soft_break="  \n",
        hard_break="  \n",
        escape=lambda text: escape_markdown(text, html=True),
    )


def _card(buttons: Sequence[Button]) -> dict[str, Any]:
    """The buttons as an Adaptive Card; a click comes back as an invoke, in older clients as a message."""
    styles = {"default": "default", "primary": "positive", "danger": "destructive"}
    actions = [
        {
            "type": "Action.Execute",
            "title": button.text,
            "verb": button.key,
            "style": styles[button.style],
            "data": {VALUE: button.value, "action_key": button.key},
            "fallback": {"type": "Action.Submit", "title": button.text, "data": {VALUE: button.value, "action_key": button.key}},
        }
        for button in buttons
    ]
    content = {
        "type": "AdaptiveCard",
        "version": "1.5",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "body": [],
    }
    return {"contentType": CARD, "content": {**content, "actions": actions}}
