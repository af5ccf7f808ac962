"""What can go wrong, one branch for each answer the house gives.

A message names the wrong value and the next step; it never holds a secret or what a person wrote.
"""

from __future__ import annotations


class AssistantError(Exception):
    """The root of every error that the house raises on purpose."""


class Refused(AssistantError):
    """A request that is answered with a 4xx `status` and goes no further."""

    status = 400

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        if status is not None:
            self.status = status


class VerificationError(Refused):
    """The sender could not be proven genuine → 401, nothing is parsed further or queued."""

    status = 401


class Unavailable(AssistantError):
    """Something we depend on does not answer now → the queue delivers the message again later."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds after which a new try makes sense, where the other side said so."""


class InvalidSetting(AssistantError):
    """A setting or command line value that cannot be used → exit status 2, one line."""


class ModelError(AssistantError):
    """The model refused or broke the request; another try with the same request will not help."""


class ToolFailed(AssistantError):
    """A tool could not do its work → the model is told the reason."""


class NeedsAuthorisation(AssistantError):
    """The person has not allowed this (or not enough, or not any more) → they are asked privately, and it goes on by itself."""

    def __init__(self, provider: str, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(f"the person has to allow access at {provider}")
        self.provider = provider
        self.scopes = scopes


# --- sending -----------------------------------------------------------------------------------


class SendError(AssistantError):
    """A vendor refused an outbound call. `code` is the vendor's own code, `platform` the platform's name."""

    def __init__(self, reason: str, *, platform: str = "", code: str = "") -> None:
        super().__init__(reason)
        self.platform = platform
        self.code = code


class RateLimited(SendError):
    """Too many calls → wait `retry_after` seconds, then try again."""

    def __init__(self, reason: str, *, platform: str = "", code: str = "", retry_after: float = 1.0) -> None:
        super().__init__(reason, platform=platform, code=code)
        self.retry_after = retry_after


class VendorUnavailable(SendError):
    """The vendor answered 5xx or its own "try again" → try again."""


class OutcomeUnknown(SendError):
    """The call left, no answer came: the vendor may or may not have acted on it."""


class TokenDead(SendError):
    """The credentials are wrong, expired or revoked and a fresh token did not help → tell the administrator."""


class MissingPermission(SendError):
    """The app lacks a permission → tell the administrator which, and the console page that grants it."""

    def __init__(
        self, reason: str, *, platform: str = "", code: str = "", scopes: tuple[str, ...] = (), console_url: str = ""
    ) -> None:
        super().__init__(reason, platform=platform, code=code)
        self.scopes = scopes
        self.console_url = console_url


class NotInChat(SendError):
    """The bot is not (or no longer) in the conversation, or it was dissolved → give up quietly, count it."""


class MessageRecalled(SendError):
    """What we answer or edit was recalled → nothing to say any more."""


class ContentRefused(SendError):
    """The vendor refuses this content (too long, sensitive, malformed)."""


class UnsupportedType(SendError):
    """The vendor or the chat's settings refuse this message type → send plain text instead."""
