"""What stands in the way of plug-ins, and of acting as the person who asks: the doctor's findings about both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from assistant.errors import AssistantError, InvalidSetting, Unavailable
from assistant.platforms import Finding

if TYPE_CHECKING:
    from assistant.assembly import Assistant
    from assistant.oauth.authorisation import Authorisations

RECENT: Final = 24 * 3600
"""Seconds for which trouble with a provider is told."""


def plugins(assistant: Assistant) -> list[Finding]:
    """Those plug-ins that need a hand, and how many are well."""
    try:
        assistant.plugin_records.read()
    except AssistantError as error:
        return [Finding(check="plug-ins", state="fault", detail=str(error), fix="may this function read the table?")]
    found, well = [], 0
    for plugin in assistant.plugins.report():
        name = f"plug-in {plugin.name} {plugin.version}".strip()
        if plugin.state == "quarantined":
            fix = f"mend the cause, then: assistant plugin restore {plugin.name}; a new version works at once"
            found.append(Finding(check=name, state="fault", detail=f"left out: {plugin.reason}", fix=fix))
        elif plugin.state == "refused":
            found.append(Finding(check=name, state="fault", detail=plugin.reason, fix="the reason says what to correct"))
        elif plugin.notes:
            found += [Finding(check=name, state="warning", detail=note, fix="the others go on") for note in plugin.notes]
        else:
            well += 1
    return [*found, Finding(check="plug-ins", state="ok", detail=f"{well} ready")]


def authorisation(assistant: Assistant) -> list[Finding]:
    """Whether people can allow what plug-ins need, and whether what they allowed is kept alive."""
    needs = assistant.plugins.needs()
    if not needs:
        return []
    settings, found = assistant.settings, []
    if not settings.kms_key_id:
        fix = "set KMS_KEY_ID, or deploy with the infrastructure, which makes a key"
        found.append(Finding(check="authorisation key", state="fault", detail="no KMS key: nothing can be kept safely", fix=fix))
    if not settings.public_url.startswith("https://"):
        detail = f"the public address is {settings.public_url or 'not set'}; providers send people back over HTTPS alone"
        found.append(
            Finding(check="authorisation address", state="warning", detail=detail, fix="set public_url to the HTTPS address")
        )
    for provider, scopes in sorted(needs.items()):
        findings = _provider(assistant.authorisations, provider, scopes, settings.public_url, assistant.clock())
        if provider not in assistant.plugins.needs_alone() and not _configured(assistant, provider):
            detail = f"not configured; nobody who works there can be asked for {' '.join(sorted(scopes)) or 'a sign-in'}"
            findings = [replace(findings[0], state="unknown", detail=detail)]
        found += findings
    return found


def _configured(assistant: Assistant, provider: str) -> bool:
    try:
        assistant.authorisations.providers.get(provider)
    except AssistantError:
        return False
    return True


def _provider(consents: Authorisations, name: str, scopes: set[str], public: str, now: float) -> list[Finding]:
    try:
        at = consents.providers.get(name)
        at.check()
        trouble, less = consents.trouble.of(name, "refresh"), consents.trouble.of(name, "scopes")
    except InvalidSetting as error:
        fix = f"store the secret oauth-{name}; docs/plugins.md says with which fields"
        return [Finding(check=f"authorisation at {name}", state="fault", detail=str(error), fix=fix)]
    except Unavailable as error:
        return [
            Finding(
                check=f"authorisation at {name}",
                state="fault",
                detail=str(error),
                fix=f"check the secret oauth-{name}, and that it answers",
            )
        ]
    redirect = f"{public.rstrip('/')}/oauth/{name}/callback"
    asked = " ".join(sorted({*at.scopes, *scopes})) or "no scopes"
    found = [
        Finding(
            check=f"authorisation at {name}", state="ok", detail=f"asks for {asked}; redirect address to register: {redirect}"
        )
    ]
    if trouble and now - trouble.at < RECENT:
        fix = "the reason names it; nobody's permission is lost meanwhile"
        detail = f"{_ago(now - trouble.at)} a token could not be refreshed: {trouble.detail}"
        found.append(Finding(check=f"authorisation at {name}, refresh", state="warning", detail=detail, fix=fix))
    if less and now - less.at < RECENT:
        fix = f"allow the app these scopes at {at.title}: {less.detail}"
        detail = f"{_ago(now - less.at)} it granted less than was asked for; missing: {less.detail}"
        found.append(Finding(check=f"authorisation at {name}, scopes", state="warning", detail=detail, fix=fix))
    return found


def _ago(seconds: float) -> str:
    minutes = int(seconds / 60)
    return f"{minutes // 60} h ago" if minutes >= 120 else f"{max(0, minutes)} min ago"
