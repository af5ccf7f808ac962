"""Amazon Bedrock Guardrails: what a company does not want asked or answered, decided by the policy that it keeps there.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ApplyGuardrail.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from assistant.errors import InvalidSetting, Unavailable

LONGEST: int = 20_000
"""Characters that are judged in one call; what is longer is judged in parts."""


class Guardrail:
    """Judges texts by one version of a guardrail. `setting`: `ID:VERSION`; raises InvalidSetting where it is none."""

    def __init__(self, setting: str, *, client: Callable[[], Any]) -> None:
        self._id, _, self._version = setting.rpartition(":")
        if not self._id or not (self._version.isdigit() or self._version == "DRAFT"):
            raise InvalidSetting(f"guardrail {setting!r} must be ID:VERSION, as gr1abcdef:3 or gr1abcdef:DRAFT")
        self._client = client

    def judge(self, text: str, *, source: Literal["question", "answer"]) -> str | None:
        """None where the policy has nothing against `text`, else what to say in its place: the policy's own words, or the text
        with what it masks masked. Raises Unavailable where the service does not answer."""
        parts = [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)]
        judged = [self._judge(part, "INPUT" if source == "question" else "OUTPUT") for part in parts]
        if all(found is None for found in judged):
            return None
        return "".join(part if found is None else found for part, found in zip(parts, judged, strict=True))

    def _judge(self, text: str, source: str) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = self._client().apply_guardrail(
                guardrailIdentifier=self._id,
                guardrailVersion=self._version,
                source=source,
                content=[{"text": {"text": text}}],
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"guardrail {self._id}: {type(error).__name__}") from error
        if answer.get("action") != "GUARDRAIL_INTERVENED":
            return None
        return "".join(str(o.get("text", "")) for o in answer.get("outputs") or ())
