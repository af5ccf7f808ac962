"""Plays Lambda for one function: reads events as JSON lines, calls the handler, writes each answer to a descriptor of its own.

Started as a program by `cloud.Function` with the function's environment and with nothing in the path but what was deployed.
"""

import importlib
import json
import os
import sys
import time
import traceback
import typing


class Context:
    """What Lambda tells a handler about the call."""

    function_version = "1"
    memory_limit_in_mb = "1024"
    log_group_name = "log"
    log_stream_name = "stream"

    def __init__(self, *, name: str, arn: str, seconds: float, request: str) -> None:
        self.function_name = name
        self.invoked_function_arn = arn
        self.aws_request_id = request
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is stopped."""
        return max(0, int((self._until - time.monotonic()) * 1000))


def recorded() -> "set[str]":
    """Fills with each AWS call of this process, in the words of a policy."""
    from botocore import handlers

    calls: set[str] = set()

    def note(params: object, model: "typing.Any", **_: object) -> None:  # botocore's model of the operation
        calls.add(f"{model.service_model.signing_name}:{model.name}")

    handlers.BUILTIN_HANDLERS.append(("provide-client-params.*.*", note))  # every session made from now on has it
    return calls


def main() -> None:
    """Serves until standard input ends."""
    module, name = sys.argv[1].rsplit(".", 1)
    calls = recorded()
    answers = os.fdopen(int(sys.argv[2]), "w", encoding="utf-8")
    for line in sys.stdin:
        call = json.loads(line)
        context = Context(name=call["name"], arn=call["arn"], seconds=call["seconds"], request=call["request"])
        try:
            handler = getattr(importlib.import_module(module), name)
            answer = {"answer": handler(call["event"], context)}
        except BaseException as error:  # noqa: BLE001, RUF100  # Lambda reports whatever ended the call
            answer = {"error": type(error).__name__, "trace": traceback.format_exc()}
        answers.write(json.dumps({**answer, "calls": sorted(calls)}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
