"""What the doctor looks at in DingTalk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from assistant.errors import (
    AssistantError,
    MissingPermission,
    OutcomeUnknown,
    RateLimited,
    SendError,
    TokenDead,
    VendorUnavailable,
)
from assistant.platforms import Finding, Told
from assistant.platforms.clock import compared

if TYPE_CHECKING:
    from assistant.platforms.dingtalk import DingTalk

CHANNEL_SECRETS: Final = (
    ("robot messages", ("app_secret", "robot_code"), "copy Client Secret and RobotCode from the console"),
    (
        "events",
        ("event_token", "event_aes_key", "event_owner_key"),
        "copy token and aes_key from Event Subscription; event_owner_key is the Client ID (corp id for an address set by API)",
    ),
    ("card clicks", ("card_api_secret",), "choose a long random text, set it, and register the card address with it"),
)
"""Channel, the secret fields it needs, and the fix."""


def diagnose(dingtalk: DingTalk) -> list[Finding]:
    """Credentials, secrets of the three channels, clock, and each permission by one harmless call."""
    found = [_secrets_finding(dingtalk, *c) for c in CHANNEL_SECRETS]
    try:
        dingtalk.api.token()
    except AssistantError as error:
        fix = (
            "copy Client ID and Client Secret from Credentials into app_key and app_secret"
            if isinstance(error, TokenDead)
            else ""
        )
        url = dingtalk.api.console("")
        return [
            *found,
            Finding(check="credentials", state="fault", detail=Told.reason(error), fix=fix or "try again later", url=url),
        ]
    found.append(
        Finding(check="credentials", state="ok", detail=Told("app {app} gets an access token", app=dingtalk.api.app_key))
    )
    try:
        _, headers = dingtalk.api.get_old("/auth/scopes")
        found.append(compared(headers, now=dingtalk.clock(), vendor="DingTalk"))
    except AssistantError as error:
        found.append(Finding(check="clock", state="unknown", detail=Told.reason(error)))
    robot = {"robotCode": dingtalk.secrets.get("robot_code", "")}
    recall = {**robot, "processQueryKeys": ["doctor"]}
    found.append(_permission(dingtalk, "send and recall as the robot", "/v1.0/robot/otoMessages/batchRecall", recall))
    if dingtalk.secrets.get("card_template_id"):
        track = {"outTrackId": "doctor"}
        streaming = {
            **track,
            "guid": "doctor",
            "key": "content",
            "content": "-",
            "isFull": True,
            "isFinalize": True,
            "isError": False,
        }
        found.append(_permission(dingtalk, "stream into cards", "/v1.0/card/streaming", streaming, "PUT"))
        found.append(
            _permission(dingtalk, "change cards", "/v1.0/card/instances", {**track, "cardData": {"cardParamMap": {}}}, "PUT")
        )
    else:
        fix = "make a card template and set card_template_id, or leave it: answers then come whole"
        found.append(Finding(check="growing answers", state="warning", detail="no card template", fix=fix))
    return found


def _secrets_finding(dingtalk: DingTalk, what: str, fields: tuple[str, ...], fix: str) -> Finding:
    missing = [f for f in fields if not dingtalk.secrets.get(f)]
    if not missing:
        return Finding(check=what, state="ok", detail="secrets are set")
    detail = Told("{fields} not set: such call-backs are refused", fields=", ".join(missing))
    return Finding(check=what, state="fault", detail=detail, fix=fix)


def _permission(dingtalk: DingTalk, what: str, path: str, body: Mapping[str, Any], method: str = "POST") -> Finding:
    """Whether a call about something that does not exist is refused for that, and not for a missing permission."""
    check = Told("permission: {what}", what=Told(what))
    try:
        dingtalk.api.send(method, path, body, repeat=True)
    except MissingPermission as error:
        fix = Told("apply for {scopes} and publish a version", scopes=", ".join(error.scopes) or Told("the permission"))
        return Finding(check=check, state="fault", detail=Told.reason(error), fix=fix, url=error.console_url)
    except (RateLimited, VendorUnavailable, OutcomeUnknown, TokenDead) as error:
        return Finding(check=check, state="unknown", detail=Told.reason(error))
    except SendError:
        pass  # refused because "doctor" does not exist: the permission is there
    return Finding(check=check, state="ok", detail="granted")
