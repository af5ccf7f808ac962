"""What the doctor looks at in Slack, and the scopes that the app asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import SendError, TokenDead, Unavailable
from assistant.platforms import Finding, Told
from assistant.platforms.clock import compared
from assistant.platforms.slack import WINDOW

if TYPE_CHECKING:
    from assistant.platforms.slack import Slack

NEEDED: Final[Mapping[str, str]] = {
    "app_mentions:read": "hear when it is mentioned",
    "chat:write": "answer",
    "im:history": "hear what is written to it",
}
USEFUL: Final[Mapping[str, str]] = {
    "channels:history": "find its own reply again in public channels, so that nothing is posted twice",
    "commands": "offer slash commands and shortcuts",
    "groups:history": "find its own reply again in private channels",
    "mpim:history": "find its own reply again in group conversations",
    "channels:read": "see who reads along in a public channel",
    "groups:read": "see who reads along in a private channel",
    "mpim:read": "see who reads along in a group conversation",
    "usergroups:read": "see who is in a user group, for documents that a group may see",
    "im:write": "write to a person first, and privately to whoever asked in a channel",
    "files:read": "read files that people send",
    "files:write": "send files",
    "assistant:write": "show that it is working on an answer",
}


def diagnose(slack: Slack) -> list[Finding]:
    """Secrets, clock, token, identity, scopes and further workspaces."""
    findings = _secret_findings(slack)
    if not slack.secrets.get("bot_token"):
        return findings
    try:
        told, headers = slack.tested()
    except TokenDead as error:
        fix = "copy the Bot User OAuth Token (xoxb-…) from OAuth & Permissions into the secret field bot_token"
        return [*findings, _finding("token", "fault", Told.reason(error), fix, slack.console("oauth"))]
    except SendError as error:
        fix = "look at https://slack-status.com and at this machine's way out to https://slack.com"
        return [*findings, _finding("reachability", "fault", Told.reason(error), fix)]
    findings.append(
        _finding(
            "token", "ok", Told("{user} in {team}", user=told.get("user"), team=f"{told.get('team')} ({told.get('team_id')})")
        )
    )
    findings.append(compared(headers, now=slack.clock(), vendor="Slack", harms=WINDOW))
    for field, key in (("bot_user_id", "user_id"), ("team_id", "team_id"), ("bot_id", "bot_id")):
        known = slack.secrets.get(field)
        if known and told.get(key) and known != told[key]:
            fix = Told("set {field} to {value} in the secret", field=field, value=told[key])
            detail = Told("the secret says {known}, the token belongs to {theirs}", known=known, theirs=told[key])
            findings.append(_finding(field, "fault", detail, fix))
    findings += _scope_findings(slack, headers.get("x-oauth-scopes", ""))
    fix = "open Event Subscriptions: the request URL must say Verified, and list app_mention and message.im"
    findings.append(
        _finding("events", "unknown", "a bot token cannot read the subscriptions", fix, slack.console("event-subscriptions"))
    )
    return findings + _further_findings(slack)


def _further_findings(slack: Slack) -> list[Finding]:
    """Whether the bot is still let in where the app was installed beside the secret's own; nothing where nowhere."""
    try:
        further = slack.workspaces().list() if slack.workspaces else ()
    except Unavailable as error:
        return [_finding("workspaces", "unknown", Told.reason(error), "look again in a minute")]
    findings, well = [], []
    for workspace in further:
        named = f"{workspace.name or '?'} ({workspace.team})"
        check = Told("workspace {team}", team=workspace.team)
        try:
            slack.tested(workspace.team)
            well.append(named)
        except TokenDead as error:
            fix = "install the app there again (assistant oauth install slack), or forget it (assistant oauth uninstall TEAM)"
            findings.append(_finding(check, "fault", Told("{name}: {reason}", name=named, reason=Told.reason(error)), fix))
        except SendError as error:
            detail = Told("{name}: {reason}", name=named, reason=Told.reason(error))
            findings.append(_finding(check, "unknown", detail, "look again in a minute"))
    if well:
        findings.append(_finding("workspaces", "ok", Told("also installed in {names}", names=", ".join(well))))
    return findings


def _secret_findings(slack: Slack) -> list[Finding]:
    findings = []
    for field, where in (
        ("signing_secret", "Basic Information › App Credentials"),
        ("bot_token", "OAuth & Permissions"),
        ("bot_user_id", "what auth.test gives as user_id"),
    ):
        if slack.secrets.get(field):
            continue
        state: Any = "warning" if field == "bot_user_id" else "fault"  # one of Finding's words
        findings.append(
            _finding(field, state, "not configured", Told("copy it from {place}", place=Told(where)), slack.console("general"))
        )
    if (token := slack.secrets.get("bot_token", "")) and not token.startswith(("xoxb-", "xoxe.xoxb-")):
        fix = "use the Bot User OAuth Token, which begins with xoxb-"
        findings.append(
            _finding(
                "bot_token",
                "fault",
                Told("begins with {start}: no bot token", start=repr(token[:5])),
                fix,
                slack.console("oauth"),
            )
        )
    return findings


def _scope_findings(slack: Slack, header: str) -> list[Finding]:
    granted = {scope.strip() for scope in header.split(",")}
    findings = []
    for scopes, state in ((NEEDED, "fault"), (USEFUL, "warning")):
        for scope, why in scopes.items():
            if scope not in granted:
                fix = Told("OAuth & Permissions › Bot Token Scopes: add {scope}, then install the app again", scope=scope)
                detail = Told("not granted; needed to {why}", why=Told(why))
                findings.append(_finding(Told("scope {scope}", scope=scope), state, detail, fix, slack.console("oauth")))
    return findings or [_finding("scopes", "ok", ", ".join(sorted(granted)))]


def _finding(check: str, state: Any, detail: str, fix: str = "", url: str = "") -> Finding:  # state: one of Finding's words
    return Finding(check=check, state=state, detail=detail, fix=fix, url=url)
