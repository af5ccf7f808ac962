"""What functions load before they answer for the first time, and how long that takes; printed with every run of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from assistant.platforms import PLATFORMS

HEAVY = {"httpx", "pydantic", "fastapi", "markdown_it", "numpy", "openai", "lark_oapi", "slack_sdk", "wechatpy"}

LOAD = """
import json, os, sys, time
began, before = time.perf_counter(), set(sys.modules)
import assistant.parts.channels, assistant.intake, assistant.queue, assistant.secrets
from assistant.platforms import platform_class
platform_class(sys.argv[1])({})
took = time.perf_counter() - began
new = set(sys.modules) - before
files = [f for n in new if n.startswith("assistant") and (f := getattr(sys.modules[n], "__file__", None))]
print(json.dumps({"ms": took * 1000, "modules": len(new), "own": len(files), "kb": sum(map(os.path.getsize, files)) / 1000,
                  "names": sorted({n.partition(".")[0] for n in new})}))
"""


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
def test_the_webhook_loads_little_for_a_platform(platform: str, show: Callable[[str], None]) -> None:
    ran = subprocess.run([sys.executable, "-c", LOAD, platform], capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    show(
        f"{platform:9} {told['ms']:5.0f} ms to import, {told['modules']:3} modules, "
        f"{told['own']:2} of them ours with {told['kb']:3.0f} kB of source"
    )
    assert not HEAVY & set(told["names"])
    assert told["modules"] < 100
    assert told["kb"] < 220


READY = """
import sys
from {module} import {parts}
env = {{"REGION": "eu-central-1", "TURNS_QUEUE_URL": "http://127.0.0.1:9/1/turns.fifo", "AWS_EC2_METADATA_DISABLED": "true"}}
{parts}.start("f", env).{made}
print(" ".join(sys.modules))
"""


@pytest.mark.parametrize(
    ("module", "parts", "made", "most"),
    [("assistant.parts.channels", "ChannelParts", "ready()", 380), ("assistant.assembly", "Assistant", "worker", 760)],
    ids=["webhook", "dialogue"],
)
def test_a_function_is_ready_without_a_web_framework_and_without_what_boto3_adds(
    module: str, parts: str, made: str, most: int, show: Callable[[str], None]
) -> None:
    code = READY.format(module=module, parts=parts, made=made)
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **keys})
    modules = ran.stdout.split()
    show(f"{parts} is ready with {len(modules)} modules")
    assert not {"fastapi", "starlette", "mangum", "boto3", "s3transfer", "numpy"} & set(modules)
    assert len(modules) < most
