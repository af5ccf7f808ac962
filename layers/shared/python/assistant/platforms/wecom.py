"""WeCom (企业微信): an app for one-to-one messages and notices, an AI bot for conversations and groups.

The app's channel speaks XML and is answered through the API. The bot's channel speaks JSON and is answered by being asked:
WeCom fetches the growing text again and again for about six minutes; what comes later goes once to the message's
`response_url`, and as an app message where that is gone too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from assistant.errors import (
    ContentRefused,
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
from assistant.messages import Attachment, Button, File, HttpReply, Message, Received, Reply, Sent, Webhook
from assistant.platforms import Department, Finding, Platform, StreamState
from assistant.platforms.crypto import decrypt, key_from_text, open_envelope, same, seal_envelope, sorted_sha1
from assistant.platforms.wecom_api import Api, result
from assistant.platforms.wecom_events import LOCALE, app_message, bot_message, button_key, json_object, xml_root

if TYPE_CHECKING:
    pass

AHEAD: Final = 300
"""Seconds that a signed time may lie ahead of our clock."""
WINDOW: Final = 330
"""Seconds after a bot message during which its reply is fetched: WeCom's six minutes less a margin."""
GRACE: Final = 20
"""Seconds after the window during which a reply that was decided in it is still handed out."""
URL_LIFE: Final = 3540
"""Seconds after a bot message during which its response_url works: WeCom's hour less a margin."""
STREAM_BYTES: Final = 20480
PART_BYTES: Final = 2048
KEY_BYTES: Final = 1024
CARD_BUTTONS: Final = 6
CARD_TEXT: Final = 160
"""Characters that a card's second line shows."""
UPLOADS: Final[Mapping[str, int]] = {"image": 10 * 2**20, "file": 20 * 2**20}
"""Largest upload of each kind in bytes."""
REPEAT_SECONDS: Final = 4 * 3600
"""How long WeCom drops a second message with equal content: its maximum."""

GREETING_SECONDS: Final = 20 * 3600
"""How long nobody is greeted again."""

_STREAMED: Final = frozenset({"text", "image", "file", "rich_text"})
_STREAM_KEY: Final = 24
"""Characters of a stream's id that name the reply; behind them stands when the question was asked, in hex seconds."""

MENU_HELP = "/help"
"""Key of the menu's last button, by which our own menu is known again."""


class WeCom(Platform):
    """Channels `app` (自建应用) and `bot` (智能机器人), each with a token and a key of its own."""

    name: ClassVar[str] = "wecom"
    channels: ClassVar[tuple[str, ...]] = ("app", "bot")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: handed on to Platform as it is
        super().__init__(*args, **kwargs)
        self.api = Api(self.secrets, cache=lambda: self.cache, pace=lambda: self.pace)

    # --- in ---

    def receive(self, webhook: Webhook) -> Received:
        """The message in a callback, or the opened `echostr` of an address check."""
        if webhook.channel not in self.channels:
            raise Refused(f"wecom has no channel {webhook.channel[:80]!r}; known: {', '.join(self.channels)}", status=404)
        if webhook.method == "GET":
            # A "+" that was not escaped in the address arrives as a blank; base64 has no blanks.
            plain = self._open(webhook, webhook.query.get("echostr", "").replace(" ", "+"))
            return Received(reply=HttpReply(200, _utf8(plain), "text/plain; charset=utf-8"), challenge=True)
        if webhook.method != "POST":
            raise Refused("wecom: callbacks come with POST, address checks with GET", status=405)
        if webhook.channel == "app":
            message = app_message(self._open(webhook, _sealed_xml(webhook.body)), corp_id=self.secrets.get("corp_id", ""))
            return Received((message,) if message else (), _NOTHING)
        return self._receive_bot(webhook)

    def _receive_bot(self, webhook: Webhook) -> Received:
        bot_id = self.secret("bot_id")
        plain = self._open(webhook, _sealed_json(webhook.body))
        try:
            data = json_object(_utf8(plain))
        except ValueError as error:
            raise Refused(f"wecom: the opened callback is not {error}") from None
        if (named := data.get("aibotid")) and named != bot_id:
            raise VerificationError("wecom: the callback is for another bot than secret field 'bot_id' names")
        message = bot_message(
            data,
            bot_name=self.secrets.get("bot_name", ""),
            bot_id=bot_id,
            corp_id=self.secrets.get("corp_id", ""),
            signed_at=webhook.query.get("timestamp", ""),
        )
        if message is None:
            return Received(reply=_NOTHING)
        if message.kind == "stream_refresh":
            return Received((message,), _NOTHING, pull=_shown_stream(message.message_id)[0])
        if message.kind == "entered":
            from assistant.words import say

            return Received((message,), self._seal(webhook, {"msgtype": "text", "text": {"content": say("welcome", LOCALE)}}))
        if stream := self.stream_id(message):
            shown = f"{stream}{message.sent_at // 1000:x}"
            first = _stream(shown, "", finish=False)
            first["stream"]["feedback"] = {"id": shown}  # WeCom shows its thumbs below, and names this
            return Received((message,), self._seal(webhook, first))
        return Received((message,), _NOTHING)

    def answer_pull(self, webhook: Webhook, received: Received, *, text: str, final: bool) -> HttpReply:
        """The sealed state of the stream; it ends when the text is final, the stream is none of ours, or its time is over."""
        shown = received.messages[0].message_id if received.messages else received.pull
        _, began = _shown_stream(shown)
        over = self.clock() - began > WINDOW + GRACE
        return self._seal(webhook, _stream(shown, fitting(text)[0], finish=final or over))

    def stream_id(self, message: Message) -> str:
        """What the reply to a bot message is fetched under; empty for an app message and when the time to fetch is over.

        It is made of the message alone and not of its time: a repeat of the callback must name the same reply.
        """
        if message.channel != "bot" or message.kind not in _STREAMED or self.clock() - message.sent_at / 1000 >= WINDOW:
            return ""
        return _stream_key(message.conversation, message.dedup_id)

    def _open(self, webhook: Webhook, sealed: str) -> bytes:
        """The plain bytes of a callback: signature first, then time, then padding, length and receiver."""
        channel = webhook.channel
        token = self.secret(f"{channel}_token")
        key = key_from_text(self.secret(f"{channel}_aes_key"), field=f"{channel}_aes_key")
        # An app's messages are sealed for the corp id (a suite's for the suite id), a bot's for nobody.
        receiver = self.secrets.get("bot_receive_id", "") if channel == "bot" else self.app_receiver()
        query = webhook.query
        given = query.get("msg_signature") or query.get("msgsignature") or query.get("signature") or ""
        stamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        if not (given and stamp and nonce and sealed):
            raise VerificationError("wecom: the callback lacks msg_signature, timestamp, nonce or its encrypted part")
        if not same(given, sorted_sha1(token, stamp, nonce, sealed)):
            raise VerificationError(f"wecom: the signature does not fit secret field '{channel}_token'")
        if not re.fullmatch(r"\d{1,12}", stamp, re.ASCII) or not -AHEAD <= self.clock() - int(stamp) <= self.replay_window:
            raise VerificationError(f"wecom: the signed time is not within {self.replay_window:.0f} s of now")
        return open_envelope(sealed, key=key, receive_id=receiver)

    def app_receiver(self) -> str:
        """For whom an app's callbacks are sealed."""
        return self.secrets.get("app_receive_id") or self.secret("corp_id")

    def _seal(self, webhook: Webhook, answer: Mapping[str, Any]) -> HttpReply:
        plain = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        key = key_from_text(self.secret("bot_aes_key"), field="bot_aes_key")
        sealed = seal_envelope(plain, key=key, receive_id=self.secrets.get("bot_receive_id", ""))
        stamp, nonce = str(int(self.clock())), webhook.query.get("nonce", "")
        signature = sorted_sha1(self.secret("bot_token"), stamp, nonce, sealed)
        body = {"encrypt": sealed, "msgsignature": signature, "timestamp": stamp, "nonce": nonce}
        return HttpReply(200, json.dumps(body, ensure_ascii=False), "text/plain; charset=utf-8")

    # --- out ---

    def send(self, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """App: messages through the API. Bot: nothing while the reply is fetched (its card, and what no stream can hold,
        follow to the response_url), afterwards one message to the response_url."""
        if reply.silent or (to.kind == "menu" and "://" in to.menu_key):
            return Sent()  # a menu entry that opens a page has answered already
        if to.channel == "app" and to.kind == "entered":
            return self._greet(reply, to=to, key=key)
        if to.channel == "app" or (reply.private and not to.direct):
            return self._push(reply, user=to.sender, key=key)
        if to.kind == "entered":
            return Sent()  # greeted in the HTTP answer, the only way there is
        if stream := self.stream_id(to):
            return self._beside(stream, reply, to=to, key=key, attempt=attempt)
        return self._late(reply, to=to, key=key, attempt=attempt)

    def finish_stream(self, state: StreamState, reply: Reply, *, to: Message, key: str, attempt: int = 1) -> Sent:
        """For a reply that was decided while WeCom still fetched it: only what no stream can hold is sent."""
        if reply.private and not to.direct:
            return self._push(reply, user=to.sender, key=key)
        return self._beside(state.id, reply, to=to, key=key, attempt=attempt)

    def update_stream(self, state: StreamState, text: str, *, to: Message) -> StreamState:
        """The state with `text` in it; WeCom fetches it."""
        return replace(state, sequence=state.sequence + 1, shown=text)

    def _greet(self, reply: Reply, *, to: Message, key: str) -> Sent:
        """A greeting once a day: WeCom reports every opening of the app, of the bot only the first one of a day."""

        def greet() -> tuple[str, float]:
            return " ".join(self._push(reply, user=to.sender, key=key).ids), GREETING_SECONDS

        return Sent(ids=tuple(self.cache.get(f"wecom:greeted:{to.tenant}:{to.sender}", greet).split()))

    def _beside(self, stream: str, reply: Reply, *, to: Message, key: str, attempt: int) -> Sent:
        """What a fetched reply cannot hold: its buttons, and the text beyond the limit."""
        _, rest = fitting(_with_sources(reply))
        if rest or reply.buttons:
            tail = replace(reply, text=rest, title=reply.title or _choose(reply.text), sources=())
            return Sent(ids=(stream, *self._late(tail, to=to, key=key, attempt=attempt).ids))
        return Sent(ids=(stream,))

    def _late(self, reply: Reply, *, to: Message, key: str, attempt: int) -> Sent:
        """One message to the response_url, or an app message to the asker where that is gone."""
        url = to.address.get("response_url", "")
        age = self.clock() - to.sent_at / 1000
        if url and age < URL_LIFE and self._trusted(url):
            shown, rest = fitting(_with_sources(reply))
            cards = self._cards(reply, key=key) if reply.buttons else []
            if len(cards) == 1 and len(_card_text(reply)) <= CARD_TEXT:
                payload: dict[str, Any] = {"msgtype": "template_card", "template_card": cards[0]}
            else:
                options = "".join(f"\n- {b.text}" for b in reply.buttons)
                payload = {"msgtype": "markdown", "markdown": {"content": shown + options}}
            try:
                self._post_once(url, payload, attempt=attempt)
            except (RateLimited, VendorUnavailable, OutcomeUnknown, ContentRefused, UnsupportedType):
                raise
            except SendError:
                if not self._has_app():
                    raise
            else:
                if rest and self._has_app():
                    return Sent(ids=("response_url", *self._push(Reply(text=rest), user=to.sender, key=f"{key}-r").ids))
                return Sent(ids=("response_url",))
        if self._has_app():
            return self._push(reply, user=to.sender, key=key)
        raise NotInChat(
            "wecom: the bot can no longer answer this message; set corp_id, agent_id and secret so that the app can",
            platform=self.name,
        )

    def _post_once(self, url: str, payload: dict[str, Any], *, attempt: int) -> None:
        """Posts to a response_url, which takes one message: a refusal after an unknown outcome says that the first one landed."""
        from assistant.platforms import outbound

        maybe = attempt > 1

        def post() -> None:
            nonlocal maybe
            try:
                result(outbound.call(self.name, "POST", url, json=payload), "response_url")
            except OutcomeUnknown:
                maybe = True
                raise
            except VendorUnavailable as error:
                maybe = maybe or bool(error.code)  # without a code it never got there
                raise
            except (RateLimited, ContentRefused, UnsupportedType, MissingPermission, TokenDead):
                raise
            except SendError:
                if not maybe:
                    raise

        try:
            outbound.with_retries(post, sleep=self.sleep)
        except OutcomeUnknown:
            outbound.with_retries(post, sleep=self.sleep)

    def _trusted(self, url: str) -> bool:
        """Whether an address out of a callback may be called: HTTPS, or the very host that stands in for the vendor's."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        base = urlsplit(self.secrets.get("api_base", ""))
        return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme, parts.netloc) == (base.scheme, base.netloc))

    def _has_app(self) -> bool:
        return all(self.secrets.get(n) for n in ("corp_id", "agent_id", "secret"))

    def _push(self, reply: Reply, *, user: str, key: str) -> Sent:
        """App messages to one member: text or markdown in numbered parts, buttons as cards."""
        ids = []
        for n, message in enumerate(self._messages(reply, key=key)):
            ids.append(self._send_app(message, user=user) or f"{key}-{n}")
        return Sent(ids=tuple(ids))

    def _messages(self, reply: Reply, *, key: str) -> list[dict[str, Any]]:
        cards = self._cards(reply, key=key) if reply.buttons else []
        if cards and len(_card_text(reply)) <= CARD_TEXT and not reply.sources:
            return [{"msgtype": "template_card", "template_card": card} for card in cards]
        from assistant.platforms.markdown import PLAIN, body, parts, render, utf8

        text = body(reply)
        rich, plain = render(text, _subset()), render(text, PLAIN)
        # The WeChat plug-in cannot show Markdown: what needs none goes as plain text.
        kind, written = ("text", plain) if rich == plain else ("markdown", rich)
        messages: list[dict[str, Any]] = []
        for n, part in enumerate(parts(written, limit=PART_BYTES - len(_mark("", 0).encode()), measure=utf8)):
            messages.append({"msgtype": kind, kind: {"content": part + _mark(key, n)}})
        return messages + [{"msgtype": "template_card", "template_card": card} for card in cards]

    def _cards(self, reply: Reply, *, key: str) -> list[dict[str, Any]]:
        """The buttons as cards of at most six; the text goes into the first where it fits."""
        text = _card_text(reply)
        title = reply.title or _choose(reply.text)
        cards = []
        for n, start in enumerate(range(0, len(reply.buttons), CARD_BUTTONS)):
            card: dict[str, Any] = {
                "card_type": "button_interaction",
                "main_title": {"title": title[:36]},
                "task_id": re.sub(r"[^0-9A-Za-z_@-]", "-", f"{key}-{n}")[:128],
                "button_list": [_button(b) for b in reply.buttons[start : start + CARD_BUTTONS]],
            }
            if n == 0 and text and len(text) <= CARD_TEXT:
                card["sub_title_text"] = text
            cards.append(card)
        return cards

    def _send_app(self, message: dict[str, Any], *, user: str) -> str:
        """Sends one message and gives its id. WeCom drops an equal one, so an unknown outcome is repeated."""
        if not user or "|" in user or user.startswith("@"):
            raise NotInChat(f"wecom: {user!r} is no single member", platform=self.name)
        body = {
            "touser": user,
            "agentid": self.api.agent_id(),
            **message,
            "enable_duplicate_check": 1,
            "duplicate_check_interval": REPEAT_SECONDS,
        }
        result = self.api.call("POST", "/message/send", repeat=True, member=user, json=body)
        for field in ("invaliduser", "unlicenseduser"):
            if result.get(field):
                raise NotInChat(f"wecom: the member cannot be reached ({field})", platform=self.name, code="81013")
        return str(result.get("msgid") or "")

    def update_card(self, message: Message, reply: Reply) -> None:
        """Replaces a clicked app card, or greys its buttons with a short text; a bot's card only WeCom itself can change."""
        code = message.address.get("response_code")
        if not code:
            return
        body: dict[str, Any] = {"userids": [message.sender], "agentid": self.api.agent_id(), "response_code": code}
        text = _card_text(reply)
        if len(text) <= 20 and not reply.buttons and not reply.title:
            body["button"] = {"replace_name": text or "✓"}
        else:
            done = (Button(text="✓", key="done"),)
            card = self._cards(replace(reply, buttons=reply.buttons[:CARD_BUTTONS] or done), key=message.message_id or "card")[0]
            card["sub_title_text"] = text[: CARD_TEXT - 1] + "…" if len(text) > CARD_TEXT else text
            if not reply.buttons:
                card["replace_text"] = "✓"
            # A new card needs a task id of its own: the old one is used up.
            card["task_id"] = hashlib.sha256(code.encode()).hexdigest()[:32]
            body["template_card"] = card
        self.api.call("POST", "/message/update_template_card", repeat=False, json=body)

    def belongs(self, user: str) -> tuple[str, ...]:
        """The member's departments and those above them. Who is in a chat WeCom tells no bot.

        Sources: developer.work.weixin.qq.com/document/path/90196 and …/95350
        """
        if not self._has_app():
            return ()
        person = self.api.call("GET", "/user/get", repeat=True, params={"userid": user})
        own = [str(d) for d in person.get("department") or ()]

        def load() -> tuple[str, float]:
            listed = self.api.call("GET", "/department/simplelist", repeat=True).get("department_id")
            return json.dumps({str(d["id"]): str(d.get("parentid", 0)) for d in listed or ()}), 3600.0

        parents: Mapping[str, str] = json.loads(self.cache.get(f"wecom/departments/{self.secrets.get('corp_id', '')}", load))
        every: list[str] = []
        for department in own:
            here = department
            while here and here != "0" and here not in every:
                every.append(here)
                here = parents.get(here, "")
        return tuple(f"department:{d}" for d in every)

    def departments(self) -> Iterator[Department]:
        """The departments in the app's visible range, with their leaders; WeCom gives names to apps that may know them.

        Sources: developer.work.weixin.qq.com/document/path/90208 and …/90196
        """
        listed = self.api.call("GET", "/department/list", repeat=True).get("department") or ()
        names: dict[str, str] = {}
        for leader in dict.fromkeys(str(u) for d in listed for u in d.get("department_leader") or ()):
            names[leader] = str(self.api.call("GET", "/user/get", repeat=True, params={"userid": leader}).get("name") or "")
        for d in listed:
            parent = str(d.get("parentid") or "")
            leaders = [str(u) for u in d.get("department_leader") or ()]
            yield Department(
                id=str(d.get("id", "")),
                name=str(d.get("name") or ""),
                parent="" if parent == "0" else parent,
                leaders=tuple((u, names[u]) for u in leaders if names.get(u)),
            )

    def asks_opinions(self, message: Message) -> bool:
        """Never: buttons are a card of their own, beside the answer; under a bot's answers WeCom shows thumbs itself."""
        return False

    def opinion(self, message: Message, asked: Callable[[], Sequence[str]]) -> tuple[str, bool] | None:
        """What somebody thinks of a bot's answer; taking an opinion back is none.

        Source: developer.work.weixin.qq.com/document/path/101027
        """
        said = message.action_value
        kind = said.get("type") if isinstance(said, dict) else None
        if message.kind != "other" or message.action_key != "feedback" or kind not in (1, 2):
            return None
        for id_ in asked():
            if message.message_id.startswith(_stream_key(message.conversation, id_)):
                return id_, kind == 1
        return None

    def takes(self, file: Attachment, *, to: Message, private: bool = False) -> bool:
        """Files to one member, where there is an app to send them."""
        return (to.direct or private) and self._has_app() and 5 < file.size <= UPLOADS[_kind(file.content_type)]

    def upload(self, file: File, *, to: Message, key: str, private: bool = False) -> Sent:
        """Sends a file or picture as an app message to the asker; a bot's group cannot be sent one."""
        if not (to.direct or private):
            raise UnsupportedType("wecom: files can be sent to one member only, not into a group", platform=self.name)
        if not self._has_app():
            raise UnsupportedType("wecom: files need the app: set corp_id, agent_id and secret", platform=self.name)
        kind = _kind(file.content_type)
        if not 5 < len(file.content) <= UPLOADS[kind]:
            limit = UPLOADS[kind]
            raise ContentRefused(f"wecom: {len(file.content)} bytes; a {kind} has 6 to {limit}", platform=self.name)

        def load() -> tuple[str, float]:
            result = self.api.call(
                "POST",
                "/media/upload",
                repeat=True,  # an upload that nobody sends is seen by nobody
                params={"type": kind},
                files={"media": (file.name, file.content, file.content_type)},
            )
            return str(result.get("media_id") or ""), 2 * 86400

        # The same media id on every try lets WeCom see that the message is the same.
        media_id = self.cache.get(f"wecom:media:{key}", load)
        return Sent(ids=(self._send_app({"msgtype": kind, kind: {"media_id": media_id}}, user=to.sender) or key,))

    def fetch(self, message: Message, *, limit: int) -> File:
        """The file of a message: an app's through the API, a bot's from its address (five minutes long), decrypted."""
        from assistant.platforms.files import content_type, disposition_name, safe_name

        if not message.file_key:
            raise ContentRefused("wecom: the message carries no file", platform=self.name)
        if "://" in message.file_key and not self._trusted(message.file_key):
            raise ContentRefused("wecom: the file's address is not HTTPS", platform=self.name)
        if message.channel == "bot":
            content, headers = self.api.download(message.file_key, limit=limit + 32)  # the padding has at most 32 bytes
            key = key_from_text(self.secret("bot_aes_key"), field="bot_aes_key")
            try:
                content = decrypt(content, key=key, iv=key[:16], block=32)
            except VerificationError:
                raise ContentRefused("wecom: the file cannot be decrypted with 'bot_aes_key'", platform=self.name) from None
            if len(content) > limit:
                raise ContentRefused(f"wecom: the file is larger than {limit} bytes", platform=self.name)
        elif "://" in message.file_key:
            content, headers = self.api.download(message.file_key, limit=limit)
        else:
            content, headers = self.api.media(message.file_key, limit=limit)
        name = disposition_name(headers) or message.file_name
        kind = content_type(content, name=name)
        return File(name=safe_name(name, kind=kind), content=content, content_type=kind)

    # --- doctor ---

    def show_menu(self, entries: Sequence[tuple[str, str]], *, language: str) -> str:
        """Puts the entries below the chat with the app. A menu that somebody made by hand stays as it is.

        Source: developer.work.weixin.qq.com/document/path/90231: three buttons, five entries under each, names of 16 and 40
        bytes, keys of 128.
        """
        if not entries or not self.secrets.get("agent_id"):
            return ""
        agent = {"agentid": str(self.api.agent_id())}
        try:
            there = self.api.call("GET", "/menu/get", repeat=True, params=agent).get("button") or ()
        except SendError as error:
            if error.code != "46003":  # there is none
                raise
            there = ()
        if there and not any(isinstance(b, Mapping) and b.get("key") == MENU_HELP for b in there):
            return "a menu that somebody made by hand stays as it is"
        names = ("菜单", "更多", "帮助") if language.startswith("zh") else ("Menu", "More", "Help")
        listed = [
            {"type": "click", "name": _bytes_of(title, 40), "key": key} for title, key in entries if len(key.encode()) <= 128
        ]
        buttons: list[Mapping[str, Any]] = [
            {"name": name, "sub_button": part} for name, part in zip(names, (listed[:5], listed[5:10]), strict=False) if part
        ]
        buttons.append({"type": "click", "name": names[2], "key": MENU_HELP})
        self.api.call("POST", "/menu/create", repeat=True, params=agent, json={"button": buttons})
        return f"the app's menu shows {min(len(listed), 10)} entries"

    def diagnose(self) -> list[Finding]:
        """Both surfaces: what is configured, whether the API takes it, who can see the app, which address we call from."""
        from assistant.platforms.wecom_doctor import diagnose

        return diagnose(self)


_NOTHING: Final = HttpReply(200, "", "text/plain; charset=utf-8")
"""An empty body: accepted, nothing to say now."""


# --- envelopes ---------------------------------------------------------------------------------


def _sealed_xml(body: bytes) -> str:
    try:
        found = xml_root(body).findall("Encrypt")
    except ValueError:
        raise VerificationError("wecom: the callback is no XML with an Encrypt element") from None
    if len(found) != 1:
        raise VerificationError("wecom: the callback has not exactly one Encrypt element; unencrypted ones are refused")
    return (found[0].text or "").strip()


def _sealed_json(body: bytes) -> str:
    try:
        data = json_object(body)
    except ValueError:
        raise VerificationError("wecom: the callback is no JSON object with 'encrypt'") from None
    sealed = data.get("encrypt", data.get("Encrypt"))
    if not isinstance(sealed, str):
        raise VerificationError("wecom: the callback has no 'encrypt'; unencrypted ones are refused")
    return sealed


def _utf8(plain: bytes) -> str:
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("wecom: the opened callback is not UTF-8") from None


# --- writing -----------------------------------------------------------------------------------


def _stream(id_: str, content: str, *, finish: bool) -> dict[str, Any]:
    return {"msgtype": "stream", "stream": {"id": id_, "finish": finish, "content": content}}


def _stream_key(conversation: str, message_id: str) -> str:
    return hashlib.sha256(f"{conversation}\n{message_id}".encode("utf-8", "replace")).hexdigest()[:_STREAM_KEY]


def _shown_stream(id_: str) -> tuple[str, int]:
    """What a stream's reply is stored under, and when its question was asked: long ago for an id that is none of ours."""
    if not re.fullmatch(rf"[0-9a-f]{{{_STREAM_KEY}}}[0-9a-f]{{1,9}}", id_):
        return id_, 0
    return id_[:_STREAM_KEY], int(id_[_STREAM_KEY:], 16)


_ROOM: Final = 64
"""Bytes kept free for closing a code block and for the mark that says it goes on."""


def fitting(text: str) -> tuple[str, str]:
    """`text` as far as one message of a bot can hold it, and the rest. Where it is cut depends on the text before the cut only,
    so a longer text is cut at the same place."""
    if len(text.encode("utf-8", "replace")) <= STREAM_BYTES:
        return text, ""
    from assistant.platforms.markdown import closed

    head = text.encode("utf-8", "replace")[: STREAM_BYTES - _ROOM].decode("utf-8", "ignore")
    line = head.rfind("\n", len(head) - 2000)
    head = head[: line if line > 0 else len(head.rstrip("\u200d\ufe0f"))]
    return closed(head).rstrip() + "\n\n……", text[len(head) :].lstrip("\n")


def _with_sources(reply: Reply) -> str:
    from assistant.platforms.markdown import body

    return body(reply)


def _card_text(reply: Reply) -> str:
    from assistant.platforms.markdown import to_plain

    return to_plain(reply.text).strip()


def _choose(text: str) -> str:
    from assistant.words import language_of

    return "请选择" if language_of(text, default=LOCALE) == "zh-CN" else "Please choose"


def _button(button: Button) -> dict[str, Any]:
    key = button_key(button.key, button.value)
    if len(key.encode("utf-8", "replace")) > KEY_BYTES:
        raise ContentRefused(f"wecom: the key and value of a button have more than {KEY_BYTES} bytes", platform="wecom")
    return {"text": button.text, "style": {"primary": 1, "danger": 3}.get(button.style, 2), "key": key}


def _kind(content_type: str) -> str:
    """As what WeCom is given a file."""
    return "image" if content_type in ("image/png", "image/jpeg") else "file"


_INVISIBLE: Final = "\u200b\u200c\u2060\ufeff"


def _mark(key: str, part: int) -> str:
    """Eight characters that nobody sees, made of `key`: equal messages of two turns differ, the repeat of one does not.

    WeCom recognises a repeat by its content alone. Without the mark a second honest "Good morning" within hours is dropped.
    """
    digest = int.from_bytes(hashlib.sha256(f"{key}/{part}".encode()).digest()[:2], "big")
    return "".join(_INVISIBLE[digest >> shift & 3] for shift in range(0, 16, 2))


def _subset() -> Any:  # the Dialect's type would load the Markdown module on the webhook's path
    from assistant.platforms.markdown import PLAIN

    def code(text: str) -> str:
        return f"`{text.replace('`', chr(39))}`"

    return replace(
        PLAIN,
        bold=("**", "**"),
        code=code,
        code_block=lambda text, _language: "\n".join(f"> {line}" for line in text.split("\n")),
        link=lambda label, url: f"[{label}]({url})" if label and label != url else url,
        heading=lambda text, level: f"{'#' * level} {text}",
        escape=lambda text: text.replace("<@", "<\u200b@"),  # nobody is mentioned by what a model writes
    )


def _bytes_of(text: str, most: int) -> str:
    """As much of `text` as fits into so many bytes."""
    return text.encode()[:most].decode("utf-8", "ignore")
