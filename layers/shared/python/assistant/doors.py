"""Who is let in at a route of the HTTP API: holders of a key, and people who have signed in on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, Header, Request

from assistant.access import Identity, NotPermitted, Role

if TYPE_CHECKING:
    from assistant.assembly import Assistant

OURS: Final = "assistant"
"""What our own page sends as `X-Requested-With`: another site's page cannot, so that it cannot use somebody's cookie."""


class Needs:
    """A dependency: somebody whose role reaches at least this far, and whose key is not limited to other areas."""

    def __init__(self, role: Role, area: str = "") -> None:
        self.role = role
        self.area = area

    def __call__(self, request: Request, authorization: Annotated[str, Header()] = "") -> Identity:
        """Who asks; refuses everybody else."""
        assistant: Assistant = request.app.state.assistant
        change = request.method not in ("GET", "HEAD")
        token = request.cookies.get(session_cookie(assistant), "")
        if token and not authorization:
            if change and request.headers.get("x-requested-with") != OURS:
                raise NotPermitted(f"a change by a signed-in browser needs the header 'X-Requested-With: {OURS}'")
            return assistant.sign_in.identify(token, role=self.role, area=self.area, change=change)
        return assistant.access.identify(authorization, role=self.role, area=self.area, change=change)


def session_cookie(assistant: Assistant) -> str:
    """Name of the cookie that holds a session; over HTTPS no other host can set it."""
    return "__Host-assistant" if is_secure(assistant) else "assistant-session"


def begun_cookie(assistant: Assistant) -> str:
    """Name of the cookie that a sign-in under way is bound to."""
    return "__Host-assistant-sign-in" if is_secure(assistant) else "assistant-sign-in"


def is_secure(assistant: Assistant) -> bool:
    """Whether browsers reach the page over HTTPS."""
    return assistant.settings.public_url.startswith("https://")


Somebody = Annotated[Identity, Depends(Needs("user"))]
Chatter = Annotated[Identity, Depends(Needs("user", "chat"))]
Editor = Annotated[Identity, Depends(Needs("editor", "knowledge"))]
Installer = Annotated[Identity, Depends(Needs("operator", "platforms"))]
Initialiser = Annotated[Identity, Depends(Needs("admin", "platforms"))]
Watcher = Annotated[Identity, Depends(Needs("operator", "figures"))]
RolloutReader = Annotated[Identity, Depends(Needs("operator", "rollout"))]
RolloutAdmin = Annotated[Identity, Depends(Needs("admin", "rollout"))]
PluginOperator = Annotated[Identity, Depends(Needs("operator", "plugins"))]
PluginAdmin = Annotated[Identity, Depends(Needs("admin", "plugins"))]
LetterReader = Annotated[Identity, Depends(Needs("operator", "letters"))]
LetterOpener = Annotated[Identity, Depends(Needs("admin", "letters"))]
ConsentReader = Annotated[Identity, Depends(Needs("operator", "authorisations"))]
ConsentAdmin = Annotated[Identity, Depends(Needs("admin", "authorisations"))]
Archivist = Annotated[Identity, Depends(Needs("admin", "conversations"))]
PeopleAdmin = Annotated[Identity, Depends(Needs("admin", "people"))]
KeyAdmin = Annotated[Identity, Depends(Needs("admin", "keys"))]
Auditor = Annotated[Identity, Depends(Needs("admin", "audit"))]
