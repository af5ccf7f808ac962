"""A secret that is rotated is known with the first webhook that is signed with it, and a flood of forgeries asks for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slack_sdk.signature import SignatureVerifier

from assistant.assembly import Assistant
from assistant.errors import VerificationError
from assistant.messages import Webhook
from assistant.secrets import RENEW_SECONDS, StoredSecrets
from assistant.settings import Settings

OLD, NEW = "0ld-0ld-0ld-0ld-0ld", "n3w-n3w-n3w-n3w-n3w"


class Place:
    """Secrets Manager, a clock, and an assistant that asks them."""

    def __init__(self) -> None:
        self.now = 1_735_000_000.0
        self.secret = {"signing_secret": OLD, "bot_token": "xoxb-1", "bot_user_id": "U0BOT", "team_id": "T1"}
        self.asked = 0
        secrets = StoredSecrets("assistant/dev", client=lambda: self, clock=lambda: self.now)
        self.app = Assistant(Settings(), secrets=secrets, clock=lambda: self.now)

    def get_secret_value(self, **given: str) -> dict[str, Any]:
        self.asked += 1
        return {"SecretString": json.dumps(self.secret)}

    def receive(self, secret: str, id_: str = "1") -> int:
        """How many messages come out of an event that Slack signs with `secret`."""
        event = {"type": "message", "channel": "D1", "channel_type": "im", "user": "U1", "text": "Hello", "ts": f"{self.now:.6f}"}
        whole = {"type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": f"Ev{id_}", "event": event}
        body = json.dumps(whole)
        stamp = str(int(self.now))
        signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
        assert signature
        headers = {"x-slack-signature": signature, "x-slack-request-timestamp": stamp, "content-type": "application/json"}
        webhook = Webhook(platform="slack", channel="events", headers=headers, body=body.encode())
        return len(self.app.intake.receive(webhook).messages)


def test_a_webhook_signed_with_the_new_secret_is_taken_at_once() -> None:
    place = Place()
    assert place.receive(OLD) == 1
    place.secret = {**place.secret, "signing_secret": NEW}
    place.now += RENEW_SECONDS
    assert place.receive(NEW, "2") == 1
    assert place.asked == 2
    with pytest.raises(VerificationError):
        place.receive(OLD, "3")


def test_a_flood_of_forgeries_asks_once_in_a_while() -> None:
    place = Place()
    assert place.receive(OLD) == 1
    for number in range(100):
        with pytest.raises(VerificationError):
            place.receive("somebody elses", str(number))
        place.now += RENEW_SECONDS / 50
    assert place.asked <= 3
    assert place.receive(OLD, "later") == 1
