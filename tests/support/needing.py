"""A plug-in that cannot be used without its settings."""

from __future__ import annotations

from pydantic import BaseModel

from assistant import BotPlugin


class Address(BaseModel):
    """What has to be set."""

    address: str


class Needing(BotPlugin):
    """Needs an address."""

    name = "needing"
    Config = Address
