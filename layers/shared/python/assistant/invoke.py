"""Another Lambda function, called and waited for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assistant.errors import AssistantError, Unavailable


class FunctionBroke(AssistantError):
    """The function was called and ended without an answer: out of memory, out of time, or by an error that nobody caught."""


def invoke(client: Any, function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that `function` answers. Raises Unavailable where it cannot be called now, FunctionBroke.

    `client`: a boto3 client of Lambda.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    payload = json.dumps(request, ensure_ascii=False).encode()
    try:
        answer = client.invoke(FunctionName=function, InvocationType="RequestResponse", Payload=payload)
        text = answer["Payload"].read()
    except ClientError as error:
        raise Unavailable(f"function {function}: {error.response.get('Error', {}).get('Code', '')}") from error
    except BotoCoreError as error:
        raise Unavailable(f"function {function}: {type(error).__name__}") from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if answer.get("FunctionError") or not isinstance(data, dict):
        told = data.get("errorType", "") if isinstance(data, dict) else ""
        raise FunctionBroke(f"function {function} ended without an answer{f': {told}' if told else ''}")
    return data
