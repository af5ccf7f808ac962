"""What the doctor looks at in Feishu and Lark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import AssistantError, TokenDead
from assistant.platforms import Finding, Told
from assistant.platforms.clock import compared

if TYPE_CHECKING:
    from assistant.platforms.feishu import Feishu

SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    "send messages": ("im:message:send_as_bot", "im:message"),
    "receive private messages": ("im:message.p2p_msg:readonly", "im:message.p2p_msg", "im:message"),
    "receive group messages that name the bot": ("im:message.group_at_msg:readonly", "im:message.group_at_msg", "im:message"),
    "download and upload files": ("im:resource", "im:message", "im:message:readonly"),
    "show an answer while it grows": ("cardkit:card:write",),
}
"""What we do → the scopes of which one is enough."""


def diagnose(feishu: Feishu) -> list[Finding]:
    """Credentials, webhook secrets, clock, bot and scopes; one harmless call each."""
    found = [_webhook_secrets(feishu)]
    try:
        bot, headers = feishu.api.exchange("GET", "/bot/v3/info", repeat=True)
    except AssistantError as error:
        fix = "copy App ID and App Secret from Credentials & Basic Info into the secret" if isinstance(error, TokenDead) else ""
        url = getattr(error, "console_url", "") or feishu.api.console("baseinfo")
        return [
            *found,
            Finding(check="credentials", state="fault", detail=Told.reason(error), fix=fix or "follow the link", url=url),
        ]
    found.append(Finding(check="credentials", state="ok", detail=Told("app {app} gets a tenant token", app=feishu.api.app_id)))
    found.append(compared(headers, now=feishu.clock(), vendor="Feishu"))
    found.append(_bot_finding(feishu, bot))
    return [*found, *_scope_findings(feishu)]


def _webhook_secrets(feishu: Feishu) -> Finding:
    url = feishu.api.console("event")
    if not feishu.secrets.get("verification_token"):
        fix = "copy it from Events & Callbacks › Encryption Strategy into the secret field verification_token"
        return Finding(check="webhook secrets", state="fault", detail="no Verification Token", fix=fix, url=url)
    if not feishu.secrets.get("encrypt_key"):
        fix = "set one in Events & Callbacks › Encryption Strategy and copy it into the secret field encrypt_key"
        return Finding(check="webhook secrets", state="warning", detail="no Encrypt Key: events are not signed", fix=fix, url=url)
    return Finding(check="webhook secrets", state="ok", detail="events are signed and encrypted")


def _bot_finding(feishu: Feishu, answer: Mapping[str, Any]) -> Finding:
    bot = answer.get("bot")
    url = feishu.api.console("bot")
    if not isinstance(bot, Mapping) or not bot.get("open_id"):
        fix = "add the Bot capability and publish a version"
        return Finding(check="bot", state="fault", detail="the app has no bot", fix=fix, url=url)
    theirs, ours = str(bot["open_id"]), feishu.secrets.get("bot_open_id", "")
    if not ours:
        fix = Told("set the secret field bot_open_id to {id}, so that mentions of the bot are told apart", id=theirs)
        return Finding(
            check="bot", state="warning", detail=Told("{name} is {id}", name=bot.get("app_name", ""), id=theirs), fix=fix
        )
    if ours != theirs:
        fix = Told("set the secret field bot_open_id to {id}", id=theirs)
        return Finding(
            check="bot",
            state="fault",
            detail=Told("bot_open_id is {ours}, the bot is {theirs}", ours=ours, theirs=theirs),
            fix=fix,
        )
    return Finding(check="bot", state="ok", detail=Told("{name} is {id}", name=bot.get("app_name", ""), id=theirs))


def _scope_findings(feishu: Feishu) -> list[Finding]:
    try:
        listed = feishu.api.get("/application/v6/scopes").get("scopes")
    except AssistantError as error:
        return [Finding(check="scopes", state="unknown", detail=Told.reason(error), url=feishu.api.console("auth"))]
    granted = {str(s.get("scope_name")) for s in listed or () if isinstance(s, Mapping) and s.get("grant_status") == 1}
    found = [_person_finding(feishu, granted)]
    for what, enough in SCOPES.items():
        check = Told("scope: {what}", what=Told(what))
        if held := [s for s in enough if s in granted]:
            found.append(Finding(check=check, state="ok", detail=held[0]))
        else:
            fix = Told("grant {scope} and publish a version", scope=enough[0])
            url = feishu.api.console(f"auth?q={enough[0]}")
            found.append(
                Finding(check=check, state="fault", detail=Told("{scope} is not granted", scope=enough[0]), fix=fix, url=url)
            )
    return found


def _person_finding(feishu: Feishu, granted: set[str]) -> Finding:
    """Whether tools may act for a person for longer than two hours; only tools need it."""
    check = "scope: act for people"
    if "offline_access" in granted:
        return Finding(check=check, state="ok", detail="offline_access")
    fix = "grant offline_access (a user scope) and publish a version, or leave it where no tool acts for people"
    url = feishu.api.console("auth?q=offline_access")
    return Finding(check=check, state="warning", detail=Told("{scope} is not granted", scope="offline_access"), fix=fix, url=url)
