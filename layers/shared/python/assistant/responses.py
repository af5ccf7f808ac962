"""What the HTTP API answers with."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


class Utf8JSONResponse(JSONResponse):
    """JSON that is UTF-8 whatever was asked or answered: half a character, which JSON can spell, is a question mark."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return utf8(json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def utf8(text: str) -> bytes:
    """`text` as a body, half a character in it as a question mark."""
    return text.encode("utf-8", "replace")
