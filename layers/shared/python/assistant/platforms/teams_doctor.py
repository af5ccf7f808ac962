"""What the doctor looks at in Teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from assistant.errors import SendError, TokenDead, Unavailable
from assistant.platforms import Finding, Told, outbound
from assistant.platforms.clock import compared
from assistant.platforms.teams_token import OPENID_METADATA

if TYPE_CHECKING:
    from assistant.platforms.teams import Teams

REGISTRATIONS: Final = "https://entra.microsoft.com/#view/Microsoft_AAD_RegisteredApps"


def diagnose(teams: Teams) -> list[Finding]:
    """Secrets, sign-in, clock and the connector's keys."""
    findings = []
    for field, fix in (
        ("app_id", "copy the Application (client) ID of the bot's registration"),
        ("app_password", "make a client secret under Certificates & secrets and copy its value"),
        ("tenant_id", "copy the Directory (tenant) ID; a single-tenant bot signs in at its own tenant"),
    ):
        if not teams.secrets.get(field):
            findings.append(_finding(field, "fault", "not configured", fix, REGISTRATIONS))
    if not findings:
        findings += _sign_in_findings(teams)
    try:
        count = teams.keys.count()
    except Unavailable as error:
        findings.append(_finding("keys", "fault", Told.reason(error), "let this machine reach https://login.botframework.com"))
    else:
        findings.append(_finding("keys", "ok" if count else "fault", Told("{count} keys of the connector", count=count)))
    fix = "the bot's Configuration › Messaging endpoint must be https://…/webhook/teams/messages, and its channel Teams on"
    findings.append(_finding("messaging endpoint", "unknown", "only the Azure portal shows it", fix, "https://portal.azure.com"))
    return findings


def _sign_in_findings(teams: Teams) -> list[Finding]:
    try:
        _, seconds = teams.new_token()
    except TokenDead as error:
        fix = "compare app_id, app_password and tenant_id with the registration; a secret's value is shown only once"
        return [_finding("sign-in", "fault", Told.reason(error), fix, REGISTRATIONS)]
    except SendError as error:
        return [_finding("reachability", "fault", Told.reason(error), "let this machine reach https://login.microsoftonline.com")]
    return [
        _finding("sign-in", "ok", Told("a token for {minutes} minutes", minutes=f"{seconds / 60 + 5:.0f}")),
        *_clock_findings(teams),
    ]


def _clock_findings(teams: Teams) -> list[Finding]:
    try:
        headers = outbound.call(teams.name, "GET", teams.secrets.get("openid_metadata") or OPENID_METADATA).headers
    except SendError as error:
        return [_finding("clock", "unknown", Told.reason(error))]
    return [compared(headers, now=teams.clock(), vendor="Microsoft", harms=300)]


def _finding(check: str, state: Any, detail: str, fix: str = "", url: str = "") -> Finding:  # state: one of Finding's words
    return Finding(check=check, state=state, detail=detail, fix=fix, url=url)
