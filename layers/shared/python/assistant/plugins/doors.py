"""What a plug-in may use, handed to it with each call: every door looks at the permissions first."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

from assistant import web
from assistant.errors import NeedsAuthorisation
from assistant.messages import JSON, Attachment, Message, Passage, Reply
from assistant.plugins.contract import (
    Around,
    Authority,
    BotPlugin,
    Keep,
    MenuItem,
    NotAllowed,
    Permissions,
    PluginContext,
    Search,
    Store,
    Tell,
)
from assistant.plugins.fence import Fence
from assistant.storage import Conflict, Item, Table, key

TOLD_DAYS: Final = 7
"""It is remembered so long that somebody was written to; longer than any delivery comes again."""

MOST_FILES: Final = 10
"""Files that one answer carries."""

Menu = Callable[[], tuple[MenuItem, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Where the doors lead."""

    table: Table | None
    secrets: Callable[[str], Mapping[str, str]]
    tenant: str
    authority: Callable[[], Authority] | None
    tell: Callable[[], Tell] | None
    search: Search | None
    call: Callable[..., web.WebReply]
    files: Callable[[], Keep] | None = None

    def room(self, plugin: str) -> str:
        """The partition of a plug-in's store."""
        return _room(self.tenant, plugin)

    def context(self, plugin: BotPlugin, message: Message, around: Around, menu: Menu, fence: Fence) -> PluginContext:
        """What surrounds one call. Raises Unavailable where a secret cannot be read."""
        allowed = plugin.permissions
        secrets = self.secrets(f"plugin-{plugin.name}") if allowed.secrets else {}
        table = _Doored(self.table, fence) if allowed.store and self.table else None

        def entries() -> tuple[MenuItem, ...]:
            with fence.door():
                return menu()

        return PluginContext(
            language=around.language,
            now=around.now,
            user=message.sender,
            user_name=message.sender_name,
            platform=message.platform,
            conversation=message.conversation,
            direct=message.direct,
            key=around.key,
            store=Store(table, self.room(plugin.name)),  # type: ignore[arg-type]  # as much of a table as a store needs
            _menu=entries,
            _secrets={name: secrets[name] for name in allowed.secrets if name in secrets},
            _as_asker=partial(self._as_asker, allowed, message, fence),
            _call=partial(self._request, allowed, fence),
            _tell=partial(self._told, plugin.name, message, around.key, fence) if allowed.tells and self.tell else None,
            _search=partial(self._searched, message, fence) if allowed.knowledge and self.search else None,
            _attach=partial(self._attached, message, around, fence) if allowed.files and self.files else None,
        )

    def _attached(self, message: Message, around: Around, fence: Fence, name: str, content: bytes) -> Attachment:
        if self.files is None:
            raise NotAllowed("no files are kept here")
        if len(around.attached) >= MOST_FILES:
            raise NotAllowed(f"an answer carries at most {MOST_FILES} files")
        with fence.door():
            kept = self.files().keep(message, str(name), bytes(content))
        around.attached.append(kept)
        return kept

    def _as_asker(
        self,
        allowed: Permissions,
        message: Message,
        fence: Fence,
        what: str,
        provider: str,
        scopes: tuple[str, ...],
        refused: str,
    ) -> Any:
        if provider not in allowed.tokens:
            raise NotAllowed(f"provider {provider!r} is not among this plug-in's permissions; declare Permissions(tokens=…)")
        if more := sorted(set(scopes) - set(allowed.tokens[provider])):
            raise NotAllowed(f"scope {more[0]!r} of {provider} is not among this plug-in's permissions")
        if self.authority is None:
            raise NotAllowed("nobody can be asked for access here")
        with fence.door():  # the provider's time is not the plug-in's
            if what == "account":
                try:
                    return self.authority().account(message, provider)
                except NeedsAuthorisation as need:  # asked once, for all that the plug-in will want there
                    raise NeedsAuthorisation(provider, need.scopes or allowed.tokens[provider]) from need
            again = {"refused": refused} if refused else {}
            token = self.authority().token(message, provider, scopes or allowed.tokens[provider], **again)
        fence.handed.append(token)
        return token

    def _request(
        self,
        allowed: Permissions,
        fence: Fence,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None,
        json_body: JSON,
        body: bytes | None,
        seconds: float,
        most_bytes: int,
    ) -> web.WebReply:
        host = (urlsplit(url).hostname or "").lower()
        if host not in allowed.hosts and host not in allowed.inside:
            raise NotAllowed(f"host {host!r} is not among this plug-in's permissions; declare Permissions(hosts=…)")
        sent = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body, ensure_ascii=False).encode()
            sent.setdefault("content-type", "application/json; charset=utf-8")
        with fence.door():  # the other side's time is not the plug-in's
            return self.call(
                method,
                url,
                headers=sent,
                body=body,
                hosts=[host],
                allow=web.is_no_metadata if host in allowed.inside else web.is_public,
                seconds=min(seconds, 30.0),
                most_bytes=most_bytes,
            )

    def _searched(self, message: Message, fence: Fence, question: str, limit: int) -> tuple[Passage, ...]:
        if self.search is None:
            raise NotAllowed("there is no knowledge here")
        with fence.door():
            return tuple(self.search(message, question, max(1, min(limit, 20))))

    def _told(
        self,
        plugin: str,
        message: Message,
        turn: str,
        fence: Fence,
        user: str,
        reply: Reply,
        *,
        platform: str,
        conversation: str,
        about: str,
    ) -> None:
        """Writes to somebody once, in words: what was sent is noted, so that a turn taken again writes nothing twice."""
        if self.tell is None:
            raise NotAllowed("nobody can be written to here")
        name = hashlib.sha256("\n".join((plugin, turn, platform, user, about)).encode()).hexdigest()[:32]
        where, attempt = self.room(plugin), 1
        with fence.door():
            if self.table is not None:
                ends = int(time.time()) + TOLD_DAYS * 86400
                try:
                    self.table.put(
                        {"pk": where, "sk": f"~told#{name}", "body": '"begun"', "expires": ends},
                        condition="attribute_not_exists(#pk)",
                    )
                except Conflict as met:
                    if met.item.get("body") == '"done"':
                        return
                    attempt = 2
            self.tell().tell(
                replace(reply, attachments=()),
                platform=platform,
                user=user,
                conversation=conversation,
                beside=message,
                key=name,
                attempt=attempt,
            )
            if self.table is not None:
                self.table.put({"pk": where, "sk": f"~told#{name}", "body": '"done"', "expires": ends})


@lru_cache(maxsize=2000)
def _room(tenant: str, plugin: str) -> str:
    return key("X", tenant, plugin)


class _Doored:
    """As much of the table as a store needs, behind the fence's door; its time is the plug-in's."""

    def __init__(self, table: Table, fence: Fence) -> None:
        self._table = table
        self._fence = fence

    def get(self, pk: str, sk: str) -> Item | None:
        with self._fence.door(free=False):
            return self._table.get(pk, sk)

    def put(self, item: Item, *, condition: str = "", values: Item | None = None) -> None:
        with self._fence.door(free=False):
            self._table.put(item, condition=condition, values=values)

    def query(self, pk: str, *, prefix: str = "", limit: int = 0) -> Any:
        with self._fence.door(free=False):
            return self._table.query(pk, prefix=prefix, limit=limit)

    def delete(self, pk: str, sk: str) -> None:
        with self._fence.door(free=False):
            self._table.delete(pk, sk)
