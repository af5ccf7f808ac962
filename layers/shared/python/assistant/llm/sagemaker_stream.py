"""Chat completions through SageMaker's InvokeEndpointWithResponseStream: the same body, its answer as an AWS event stream.

The parts of the stream are cuts of the container's bytes at any place, so they go through the same reader as HTTP's.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from assistant.errors import ModelError, Unavailable
from assistant.llm import ChatRequest, WarmingUp
from assistant.llm.endpoint import DEFAULT_LIMITS, SLACK, Limits
from assistant.llm.failures import Overloaded, TimedOut, TryAgain
from assistant.llm.openai_http import WAKE_SECONDS, refusal


class SageMakerStream:
    """A Transport to one SageMaker endpoint, or to one inference component of it. Safe for threads."""

    def __init__(
        self,
        endpoint: str,
        *,
        component: str = "",
        region: str,
        client: Callable[[], Any] | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.where = f"sagemaker:{endpoint}/{component}" if component else f"sagemaker:{endpoint}"
        self._names = {"EndpointName": endpoint} | ({"InferenceComponentName": component} if component else {})
        self._make = client or (lambda: runtime_client(region, limits=limits))
        self._client: Any = None  # a botocore client: its class is made at run time
        self._lock = threading.Lock()

    def open(self, body: bytes, *, request: ChatRequest, connect: float, read: float) -> PartStream:
        """The answer's stream; see Transport. Time limits of connecting and reading are the client's own."""
        from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

        names = dict(self._names)
        if request.session:
            # Spreads conversations that begin alike, and keeps each on the copy that holds its cache.
            names["PrefixAwareId"] = hashlib.sha256(f"{request.tenant}\0{request.session}".encode()).hexdigest()[:32]
        try:
            answer = self._runtime().invoke_endpoint_with_response_stream(
                **names, Body=body, ContentType="application/json", Accept="text/event-stream"
            )
        except ClientError as error:
            raise failure(self.where, error.response, request) from error
        except ReadTimeoutError as error:
            raise Unavailable(f"{self.where} gave no answer within {read:g} s") from error
        except BotoCoreError as error:
            raise TryAgain(f"{self.where} cannot be reached ({type(error).__name__})") from error
        return PartStream(answer["Body"], self.where)

    def close(self) -> None:
        """Closes the connections that were kept; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _runtime(self) -> Any:  # a botocore client
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client


def runtime_client(region: str, *, limits: Limits = DEFAULT_LIMITS, **options: Any) -> Any:
    """A `sagemaker-runtime` client without repeats of its own: those are counted here. `options` go to boto3."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=limits.connect,
        read_timeout=max(limits.first_token, limits.gap) + SLACK,
        retries={"total_max_attempts": 1},
        max_pool_connections=64,
        tcp_keepalive=True,
    )
    return boto3.client("sagemaker-runtime", region_name=region, config=config, **options)


class PartStream:
    """The payload parts of one answer as they arrive."""

    def __init__(self, events: Any, where: str) -> None:
        self._events = events  # botocore.eventstream.EventStream, which has no types
        self._where = where

    def __iter__(self) -> Iterator[bytes]:
        """The container's bytes, cut anywhere."""
        from botocore.eventstream import ParserError
        from botocore.exceptions import BotoCoreError, EventStreamError
        from botocore.exceptions import ReadTimeoutError as SdkTimeout
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        try:
            for event in self._events:
                if part := event.get("PayloadPart"):
                    yield part["Bytes"]
        except EventStreamError as error:
            kind = error.response.get("Error", {}).get("Code") or "an error"
            raise TryAgain(f"{self._where} reported {kind} in the stream") from error
        except (SdkTimeout, ReadTimeoutError) as error:
            raise TimedOut(f"{self._where} wrote nothing for too long") from error
        except (BotoCoreError, HTTPError, ParserError, OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: http.client over a socket that the watchdog shut down
            raise TryAgain(f"{self._where} broke the stream ({type(error).__name__})") from error

    def cut(self) -> None:
        """Shuts the socket down, which ends a read that is blocked in another thread."""
        # botocore offers no public way to the connection under an event stream; without it the read ends by its time limit.
        shutdown = getattr(getattr(self._events, "_raw_stream", None), "shutdown", None)
        if shutdown is not None:
            with contextlib.suppress(OSError, ValueError):
                shutdown()

    def close(self) -> None:
        """Closes the connection."""
        with contextlib.suppress(OSError):
            self._events.close()


def failure(where: str, response: dict[str, Any], request: ChatRequest) -> Unavailable | ModelError:
    """The error that a refused call of the SageMaker runtime amounts to; `response` is botocore's parsed error."""
    error = response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if code == "ModelError":  # the container's own answer
        status = int(response.get("OriginalStatusCode") or 500)
        return refusal(where, status, {}, str(response.get("OriginalMessage") or "").encode(), request)
    if "no capacity" in message.lower() or "has no inference component copies" in message.lower():
        return WarmingUp(f"{where} is scaled to nothing and starts now", retry_after=WAKE_SECONDS)
    if code in ("ThrottlingException", "Throttling", "TooManyRequestsException", "ServiceUnavailable", "ModelNotReadyException"):
        return Overloaded(f"{where} answered {code}")
    if code == "ValidationError":
        return Unavailable(f"{where} is not there or not in service; check the endpoint's name and the region in MODEL")
    if code in ("AccessDeniedException", "AccessDenied", "ExpiredTokenException", "UnrecognizedClientException"):
        return Unavailable(f"{where} answered {code}; the role needs sagemaker:InvokeEndpoint on this endpoint")
    return Unavailable(f"{where} answered {code or response.get('ResponseMetadata', {}).get('HTTPStatusCode', 'an error')}")
