"""Who asks, proven to AWS's OpenAI-compatible paths: a signed request for Bedrock, a short-lived token for SageMaker."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from assistant.errors import Unavailable

TOKEN_SECONDS: Final = 900
"""Life of a token; it dies earlier with the role's session."""
_RENEW_AFTER: Final = 300.0

Credentials = Callable[[], Any]
"""Gives botocore's frozen credentials; botocore has no types of its own."""


def role_credentials(region: str) -> Credentials:
    """The credentials of the process (the function's role), looked up when first asked for and renewed by botocore."""
    lock = threading.Lock()
    kept: list[Any] = []  # botocore's refreshable credentials, found once

    def frozen() -> Any:  # botocore.credentials.ReadOnlyCredentials
        with lock:
            if not kept:
                import boto3

                found = boto3.Session(region_name=region).get_credentials()
                if found is None:
                    raise Unavailable("no AWS credentials for the model; sign in (aws sso login) or give the function a role")
                kept.append(found)
        return kept[0].get_frozen_credentials()

    return frozen


def signed(credentials: Credentials, *, service: str, region: str) -> Callable[[str, bytes], Mapping[str, str]]:
    """Headers that sign each POST with Signature Version 4."""

    def headers(url: str, body: bytes) -> Mapping[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method="POST", url=url, data=body, headers={"content-type": "application/json"})
        SigV4Auth(credentials(), service, region).add_auth(request)
        return {k.lower(): v for k, v in request.headers.items()}

    return headers


def sagemaker_token(credentials: Any, *, region: str, seconds: int = TOKEN_SECONDS) -> str:
    """A bearer token for SageMaker's `/openai/v1` paths: a presigned call that the service checks. `credentials` are frozen.

    Needs `sagemaker:CallWithBearerToken` and `sagemaker:InvokeEndpoint`.
    """
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    host = "sagemaker.amazonaws.com"
    request = AWSRequest(method="POST", url=f"https://{host}/", headers={"host": host}, params={"Action": "CallWithBearerToken"})
    SigV4QueryAuth(credentials, "sagemaker", region, expires=seconds).add_auth(request)
    presigned = request.url.removeprefix("https://") + "&Version=1"
    return "sagemaker-api-key-" + base64.b64encode(presigned.encode()).decode()


class SageMakerTokens:
    """Gives a token that is at most five minutes old, minting a new one where needed. Safe for threads."""

    def __init__(self, credentials: Credentials, *, region: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._region = region
        self._clock = clock
        self._token = ""
        self._minted = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """The token."""
        with self._lock:
            if not self._token or self._clock() - self._minted > _RENEW_AFTER:
                self._token = sagemaker_token(self._credentials(), region=self._region)
                self._minted = self._clock()
            return self._token
