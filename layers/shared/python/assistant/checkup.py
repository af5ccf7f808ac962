"""What stands in the way of plug-ins, and of acting as the person who asks: the doctor's findings about both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from assistant.errors import AssistantError, InvalidSetting, Unavailable
from assistant.platforms import Finding, Told

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
        return [Finding(check="plug-ins", state="fault", detail=Told.reason(error), fix="may this function read the table?")]
    found, well = [], 0
    for plugin in assistant.plugins.report():
        name = Told("plug-in {name}", name=f"{plugin.name} {plugin.version}".strip())
        if plugin.state == "quarantined":
            fix = Told("mend the cause, then: assistant plugin restore {name}; a new version works at once", name=plugin.name)
            found.append(Finding(check=name, state="fault", detail=Told("left out: {reason}", reason=plugin.reason), fix=fix))
        elif plugin.state == "refused":
            found.append(Finding(check=name, state="fault", detail=plugin.reason, fix="the reason says what to correct"))
        elif plugin.notes:
            found += [Finding(check=name, state="warning", detail=note, fix="the others go on") for note in plugin.notes]
        else:
            well += 1
    return [*found, Finding(check="plug-ins", state="ok", detail=Told("{count} ready", count=well))]


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
        detail = Told(
            "the public address is {url}; providers send people back over HTTPS alone", url=settings.public_url or Told("not set")
        )
        found.append(
            Finding(check="authorisation address", state="warning", detail=detail, fix="set public_url to the HTTPS address")
        )
    for provider, scopes in sorted(needs.items()):
        findings = _provider(assistant.authorisations, provider, scopes, settings.public_url, assistant.clock())
        if provider not in assistant.plugins.needs_alone() and not _configured(assistant, provider):
            asked = " ".join(sorted(scopes)) or Told("a sign-in")
            detail = Told("not configured; nobody who works there can be asked for {scopes}", scopes=asked)
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
    check = Told("authorisation at {name}", name=name)
    try:
        at = consents.providers.get(name)
        at.check()
        trouble, less = consents.trouble.of(name, "refresh"), consents.trouble.of(name, "scopes")
    except InvalidSetting as error:
        fields = Told("store the secret {secret}; docs/plugins.md says with which fields", secret=f"oauth-{name}")
        return [Finding(check=check, state="fault", detail=Told.reason(error), fix=fields)]
    except Unavailable as error:
        return [
            Finding(
                check=check,
                state="fault",
                detail=Told.reason(error),
                fix=Told("check the secret {secret}, and that it answers", secret=f"oauth-{name}"),
            )
        ]
    redirect = f"{public.rstrip('/')}/oauth/{name}/callback"
    asked = " ".join(sorted({*at.scopes, *scopes})) or Told("no scopes")
    found = [
        Finding(
            check=check,
            state="ok",
            detail=Told("asks for {scopes}; redirect address to register: {url}", scopes=asked, url=redirect),
        )
    ]
    if trouble and now - trouble.at < RECENT:
        fix: str = "the reason names it; nobody's permission is lost meanwhile"
        detail = Told("{when} a token could not be refreshed: {reason}", when=_ago(now - trouble.at), reason=trouble.detail)
        found.append(Finding(check=Told("authorisation at {name}, refresh", name=name), state="warning", detail=detail, fix=fix))
    if less and now - less.at < RECENT:
        fix = Told("allow the app these scopes at {title}: {scopes}", title=at.title, scopes=less.detail)
        detail = Told(
            "{when} it granted less than was asked for; missing: {scopes}", when=_ago(now - less.at), scopes=less.detail
        )
        found.append(Finding(check=Told("authorisation at {name}, scopes", name=name), state="warning", detail=detail, fix=fix))
    return found


def _ago(seconds: float) -> Told:
    minutes = int(seconds / 60)
    return Told("{count} h ago", count=minutes // 60) if minutes >= 120 else Told("{count} min ago", count=max(0, minutes))
