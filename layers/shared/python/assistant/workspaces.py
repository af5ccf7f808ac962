"""The workspaces beside the secret's own in which an administrator installed our app, each with its bot's token.

What the webhook needs to know about one stands readable beside the token, so that receiving asks the table alone; the token
is sealed for its workspace and opened only where something is sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from assistant.storage import Item, Table, Value, key

if TYPE_CHECKING:
    from assistant.oauth.envelope import Envelope

KEEP_SECONDS: Final = 60.0
"""How long a process goes by what it has read about an installed workspace."""

ABSENT_SECONDS: Final = 15.0
"""How long it goes by having found none: who has just installed the app is not kept waiting."""

MOST: Final = 1000
"""Workspaces that a process remembers, and that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One installation, without its token."""

    team: str
    """The workspace's id; the organisation's where the app was installed for all of its workspaces."""
    name: str = ""
    app: str = ""
    bot_user: str = ""
    bot: str = ""
    enterprise: str = ""
    since: int = 0
    """Unix second of the installation."""
    by: str = ""
    """Who asked for the link."""
    grant: str = ""
    """Changes with every installation."""


class Workspaces:
    """The installations of one platform's app. Raises Unavailable where the table or KMS does not answer."""

    def __init__(
        self,
        platform: str,
        table: Table,
        envelope: Callable[[], Envelope],
        *,
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._platform = platform
        self._where = key("WORKSPACES", tenant, platform)
        self._table = table
        self._envelope = envelope
        self._tenant = tenant
        self._clock = clock
        self._known: dict[str, tuple[Item | None, float]] = {}
        self._tokens: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def of(self, teams: Iterable[str]) -> Workspace | None:
        """The first of `teams` in which the app is installed; None where it is in none of them."""
        for team in teams:
            if item := self._item(team):
                return _workspace(item)
        return None

    def token(self, workspace: Workspace) -> str:
        """The bot's token there; empty where the app has been taken out meanwhile. Raises Unreadable for a changed one."""
        known = self._tokens.get(workspace.team)
        if known and known[0] == workspace.grant:
            return known[1]
        item = self._item(workspace.team)
        if item is None:
            return ""
        from assistant.oauth.envelope import Sealed

        token = self._envelope().open(Sealed(str(item["key"]), str(item["sealed"])), self._context(workspace.team))
        self._tokens[workspace.team] = str(item.get("grant", "")), token
        return token

    def list(self) -> list[Workspace]:
        """All of them, by their ids."""
        return [_workspace(item) for item in self._table.query(self._where, limit=MOST)]

    def store(self, workspace: Workspace, token: str) -> None:
        """Keeps an installation, in place of an earlier one there."""
        sealed = self._envelope().seal(token, self._context(workspace.team))
        item: dict[str, Value] = {
            "pk": self._where,
            "sk": workspace.team,
            "name": workspace.name,
            "app": workspace.app,
            "bot_user": workspace.bot_user,
            "bot": workspace.bot,
            "enterprise": workspace.enterprise,
            "since": workspace.since,
            "by": workspace.by,
            "grant": workspace.grant,
            "key": sealed.key,
            "sealed": sealed.value,
        }
        self._table.put(item)
        self.forget(workspace.team)

    def delete(self, team: str, *, before: float | None = None) -> None:
        """Deletes the installation with its token; with `before`, only one that was made by that Unix second."""
        self.forget(team)
        if before is None:
            self._table.delete(self._where, team)
            return
        item = self._table.get(self._where, team)
        if item is None or int(item.get("since") or 0) > before:
            return  # installed again meanwhile: that stands
        self._table.delete(self._where, team)

    def forget(self, team: str) -> None:
        """Reads `team` anew from now on."""
        with self._lock:
            self._known.pop(team, None)
            self._tokens.pop(team, None)

    def _item(self, team: str) -> Item | None:
        known = self._known.get(team)
        if known and known[1] > self._clock():
            return known[0]
        item = self._table.get(self._where, team)
        with self._lock:
            while len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[team] = item, self._clock() + (KEEP_SECONDS if item else ABSENT_SECONDS)
        return item

    def _context(self, team: str) -> Mapping[str, str]:
        return {"tenant": self._tenant, "platform": self._platform, "workspace": team}


def _workspace(item: Item) -> Workspace:
    def text(name: str) -> str:
        return str(item.get(name) or "")

    return Workspace(
        team=str(item["sk"]),
        name=text("name"),
        app=text("app"),
        bot_user=text("bot_user"),
        bot=text("bot"),
        enterprise=text("enterprise"),
        since=int(item.get("since") or 0),
        by=text("by"),
        grant=text("grant"),
    )
