"""What the webhook function loads for each platform, and how long that takes; printed with every run of the tests."""

from __future__ import annotations

import json
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
    assert told["kb"] < 300
