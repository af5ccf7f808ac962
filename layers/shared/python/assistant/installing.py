"""The app's installation in a further workspace: an administrator's link, consent at Slack, the bot's token into the table.

    assistant oauth install slack → ticket → /oauth/slack-install/start → Slack → /oauth/slack-install/callback

Only who holds a link that an administrator asked for can begin. The state that travels through Slack is signed, bound to the
ticket and to the browser's cookie, lives ten minutes and works once.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets as random_secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from assistant.errors import InvalidSetting, Unavailable
from assistant.oauth.authorisation import STATE_SECONDS, Authorisations, Page
from assistant.oauth.envelope import Unreadable
from assistant.oauth.providers import SKEW, Denied, Slack, s256
from assistant.oauth.vault import Tokens
from assistant.observability import log
from assistant.storage import Conflict, Item, Table, key
from assistant.workspaces import Workspace, Workspaces

logger = logging.getLogger(__name__)

PATH: Final = "slack-install"
"""Stands in the addresses where a provider's name stands otherwise."""

LINK_SECONDS: Final = 3600
"""How long an administrator's link works."""

_TICKET = re.compile(r"[0-9a-f]{32}")
_STATE = re.compile(r"([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{16})([0-9a-f]{40})")


class Installations:
    """Everything about installing. Raises Unavailable where the table or KMS does not answer."""

    def __init__(
        self,
        *,
        table: Table,
        workspaces: Workspaces,
        authorisations: Authorisations,
        scopes: Sequence[str],
        public_url: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.workspaces = workspaces
        self._table = table
        self._authorisations = authorisations
        self._scopes = tuple(scopes)
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    # --- for administrators ---

    def link(self, *, by: str) -> str:
        """An address at which one workspace can be added, once, within LINK_SECONDS. Raises InvalidSetting."""
        self._app()
        ticket = random_secrets.token_hex(16)
        ends = int(self._clock()) + LINK_SECONDS
        self._table.put({"pk": key("Q", ticket), "sk": "install", "by": by, "expires": ends})
        return f"{self._public_url}/oauth/{PATH}/start?ticket={ticket}"

    def remove(self, team: str) -> bool:
        """Deletes the installation here and ends its token at Slack; False where Slack could not be told.

        Raises InvalidSetting where there is none.
        """
        workspace = self.workspaces.of([team])
        if workspace is None:
            raise InvalidSetting(f"the app is not installed in workspace {team[:80]!r}; see: assistant oauth workspaces")
        told = False
        try:
            told = self._slack().revoke(Tokens(access=self.workspaces.token(workspace)))
        except (InvalidSetting, Unavailable, Unreadable) as error:
            log(logger, logging.WARNING, "slack was not told of a removal", event_reason=str(error))
        self.workspaces.delete(team)
        return told

    # --- for the browser ---

    def begin(self, ticket: str, *, browser: str, language: str = "en") -> Page:
        """Sends the browser to Slack."""
        asked = self._asked(ticket)
        if asked is None:
            return _page("page_install_link", language, status=404)
        try:
            app = self._app()
        except InvalidSetting:
            return _page("page_not_configured", language, status=404)
        browser = browser if re.fullmatch(r"[0-9a-f]{64}", browser) else random_secrets.token_hex(32)
        issued, nonce = f"{int(self._clock()):08x}", random_secrets.token_hex(8)
        state = f"{ticket}{issued}{nonce}{self._mac('state', ticket, issued, nonce, browser)}"
        address = app.install_address(
            redirect=self._redirect,
            state=state,
            scopes=self._scopes,
            challenge=s256(self._verifier(nonce, browser)) if app.pkce else "",
        )
        return replace(_page("page_redirect", language, status=302), redirect=address, cookie=browser)

    def finish(self, query: Mapping[str, str], *, browser: str, language: str = "en") -> Page:
        """What the browser is told when it comes back."""
        found = _STATE.fullmatch(query.get("state", ""))
        asked = self._asked(found[1]) if found else None
        if found is None or asked is None:
            return _page("page_install_link", language, status=400)
        ticket, issued, nonce, mac = found.groups()
        if not browser or not hmac.compare_digest(mac, self._mac("state", ticket, issued, nonce, browser)):
            return _page("page_install_browser", language, status=403)
        again = f"{self._public_url}/oauth/{PATH}/start?ticket={ticket}"
        if not -SKEW <= self._clock() - int(issued, 16) <= STATE_SECONDS:
            return _page("page_late", language, status=400, link=again)
        if not self._first(f"used#{nonce}", ticket):
            return _page("page_used", language, status=400)
        if error := query.get("error", ""):
            log(logger, logging.INFO, "installation refused", event_reason=error[:80])
            words = "page_install_denied" if error == "access_denied" else "page_provider_refused"
            return _page(words, language, link=again)
        if not (code := query.get("code", "")):
            return _page("page_no_code", language, status=400, link=again)
        return self._exchange(code, ticket, asked, verifier=self._verifier(nonce, browser), language=language)

    def _exchange(self, code: str, ticket: str, asked: Item, *, verifier: str, language: str) -> Page:
        again = f"{self._public_url}/oauth/{PATH}/start?ticket={ticket}"
        try:
            app = self._app()
            answer = app.install(code, redirect=self._redirect, verifier=verifier if app.pkce else "")
            token = str(answer.get("access_token") or "")
            workspace, words = self._examined(app, answer, token)
        except InvalidSetting:
            return _page("page_not_configured", language, status=404)
        except Denied as error:
            log(logger, logging.WARNING, "an installation was refused", event_reason=error.reason[:80])
            return _page("page_provider_refused", language, status=400, link=again)
        except Unavailable as error:
            log(logger, logging.WARNING, "an installation could not be finished", event_reason=str(error))
            return _page("page_provider_down", language, status=503, link=again)
        if workspace is None:
            log(logger, logging.WARNING, "an installation is not taken", event_reason=words)
            return _page(words, language, status=403)
        if not self._first("installed", ticket):  # a second consent with the same link, begun before the first one ended
            return _page("page_install_link", language, status=400)
        try:
            self.workspaces.store(replace(workspace, by=str(asked.get("by") or ""), since=int(self._clock())), token)
        except Unavailable:
            self._table.delete(key("Q", ticket), "installed")  # the link goes on working
            raise
        log(logger, logging.INFO, "installed in a workspace", event_reason=workspace.team)
        return _page("page_install_done", language, name=workspace.name or workspace.team)

    def _examined(self, app: Slack, answer: Mapping[str, Any], token: str) -> tuple[Workspace | None, str]:
        """The workspace that Slack's answer is about, or None and the words that say why it is not taken.

        Raises Denied for an answer that is none, Unavailable.
        """
        if not token or answer.get("token_type") != "bot":  # Slack's word for the kind of token
            raise Denied("no_bot_token")
        team, enterprise = _named(answer, "team"), _named(answer, "enterprise")
        place = enterprise if answer.get("is_enterprise_install") is True else team
        if not place[0]:
            raise Denied("no_team")
        if answer.get("app_id") != app.config["app_id"]:
            return None, "page_install_app"
        if answer.get("refresh_token") or answer.get("expires_in"):
            return None, "page_install_rotates"
        if place[0] == app.config["team_id"]:
            return None, "page_install_own"
        bot = app.bot(token)
        if str(bot.get("user_id") or "") != str(answer.get("bot_user_id") or ""):
            raise Denied("another_bot")
        return (
            Workspace(
                team=place[0],
                name=place[1],
                app=str(answer["app_id"]),
                bot_user=str(bot["user_id"]),
                bot=str(bot.get("bot_id") or ""),
                enterprise=enterprise[0],
                grant=random_secrets.token_hex(8),
            ),
            "",
        )

    # --- small parts ---

    def _app(self) -> Slack:
        """Our app at Slack, with all that an installation needs. Raises InvalidSetting."""
        if not self._public_url:
            raise InvalidSetting("PUBLIC_URL is not set: there is nowhere to come back to")
        app = self._slack()
        for field in ("app_id", "team_id"):
            if not app.config.get(field):
                raise InvalidSetting(f"the secret slack lacks {field!r}, without which workspaces cannot be told apart; store it")
        return app

    def _slack(self) -> Slack:
        app = self._authorisations.providers.get("slack")
        if not isinstance(app, Slack):
            raise InvalidSetting("the provider slack is not Slack")
        return app

    def _asked(self, ticket: str) -> Item | None:
        """The administrator's request behind a link that still works."""
        if not _TICKET.fullmatch(ticket):
            return None
        item = self._table.get(key("Q", ticket), "install")
        if item is None or int(item.get("expires") or 0) < self._clock() or self._table.get(key("Q", ticket), "installed"):
            return None
        return item

    def _first(self, what: str, ticket: str) -> bool:
        ends = int(self._clock()) + LINK_SECONDS + STATE_SECONDS
        try:
            self._table.put({"pk": key("Q", ticket), "sk": what, "expires": ends}, condition="attribute_not_exists(#pk)")
        except Conflict:
            return False
        return True

    @property
    def _redirect(self) -> str:
        return f"{self._public_url}/oauth/{PATH}/callback"

    def _verifier(self, nonce: str, browser: str) -> str:
        return self._authorisations.sign("install", "verifier", nonce, browser).ljust(43, "0")

    def _mac(self, *parts: str) -> str:
        return self._authorisations.sign("install", *parts)


def _named(answer: Mapping[str, Any], what: str) -> tuple[str, str]:
    """Id and name of the workspace or the organisation."""
    found = answer.get(what)
    return (str(found.get("id") or ""), str(found.get("name") or "")) if isinstance(found, dict) else ("", "")


def _page(words: str, language: str, *, status: int = 200, link: str = "", **values: str) -> Page:
    return Page(words=words, status=status, language=language, values={"title": "Slack", **values}, link=link)
